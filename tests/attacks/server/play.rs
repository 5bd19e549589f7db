//! Plays a row to a server, step by step.
//!
//! This module knows the meaning of each step for a server, and collects the observations.

use std::mem;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::{Application, Clock, Way};
use crate::script::{Ending, Need, Row, Step, USER, bytes, filled};
use crate::verdict::{Observed, base64};

/// Runs a row in one way. Also returns the length of each text that was sent.
pub(super) fn play<A: Application>(row: &Row, way: Way) -> (Observed, Vec<usize>) {
    let began = Instant::now();
    let clock =
        if row.requires.iter().any(|what| what == "short-timeout") { Clock::Short } else { Clock::Usual };
    let connection = Connection::open(way, clock, A::default());
    let mut play = Play {
        row,
        way,
        connection,
        texts: Vec::new(),
        looked: 0,
        marks: Vec::new(),
        tls: None,
        notes: None,
    };
    play.steps(&row.steps);
    play.connection.settle();
    let seconds = began.elapsed().as_secs_f64();
    let Play { connection, texts, marks, tls, notes, .. } = play;
    let Connection { mut application, output, closed, held, .. } = connection;
    let log = mem::take(application.log());
    let seen = Observed {
        output,
        marks,
        asked: log.asked,
        identities: log.identities,
        deliveries: log.deliveries,
        closed,
        tls,
        alive: Some(serves(Connection::open(way, clock, application))),
        seconds,
        held,
        notes,
        ..Observed::default()
    };
    (seen, texts)
}

/// A row in progress.
struct Play<'r, A: Application> {
    row: &'r Row,
    way: Way,
    connection: Connection<A>,
    /// The length of each text that was sent.
    texts: Vec<usize>,
    /// The offset up to which the output was checked.
    looked: usize,
    marks: Vec<(String, usize)>,
    tls: Option<bool>,
    notes: Option<bool>,
}

/// Whether the script continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Over,
}

impl<A: Application> Play<'_, A> {
    fn steps(&mut self, steps: &[Step]) -> Goes {
        for step in steps {
            if self.step(step) == Goes::Over {
                return Goes::Over;
            }
        }
        Goes::On
    }

    fn step(&mut self, step: &Step) -> Goes {
        match step {
            Step::Receive(text) => {
                let text = self.fill(text);
                for piece in self.way.split.pieces(self.texts.len(), &text) {
                    self.connection.receive(&piece);
                }
                self.texts.push(text.len());
            }
            Step::Raw(text) => self.connection.receive(&bytes(text)),
            Step::Repeat { bytes, count, drip } => self.repeat(bytes, *count, *drip),
            Step::Expect { pattern, need } => {
                self.connection.settle();
                let said = self.connection.said();
                match (pattern.find_at(&said, self.looked), need) {
                    (Some(found), _) => self.looked = found.end(),
                    (None, Need::Optional) => {}
                    (None, Need::Expected) => return Goes::Over,
                    (None, Need::SetUp) => self.lost(&format!("{pattern}")),
                }
            }
            Step::Sleep(seconds) => self.connection.pass(Duration::from_secs_f64(*seconds)),
            Step::Mark { name, with_pending } => {
                self.connection.settle();
                let length = self.connection.said().len();
                self.marks.push((name.clone(), if *with_pending { self.looked } else { length }));
                self.looked = length.max(self.looked);
            }
            Step::Tls(tls) => {
                let done = self.connection.shake_hands();
                self.tls = Some(done);
                if !done && tls.needed {
                    return Goes::Over;
                }
            }
            Step::Prepare(place) => self.prepare(place),
            Step::Loop { times, steps } => {
                for _ in 0..*times {
                    if self.steps(steps) == Goes::Over {
                        return Goes::Over;
                    }
                }
            }
            Step::End(Ending::Closed | Ending::TlsClosed) => self.connection.end(),
            Step::Act { name, args } if name == "do-not-read" => {
                let text = args["send"].as_str().unwrap();
                let (text, count) = text.rsplit_once(" x ").unwrap();
                self.flood_unread(&bytes(text), count.parse().unwrap());
            }
            Step::Act { name, .. } => panic!("{}: unknown act {name}", self.row.id),
            Step::Serve(_) => panic!("{}: the step is for clients", self.row.id),
        }
        Goes::On
    }

    fn repeat(&mut self, text: &str, count: usize, drip: bool) {
        let text = self.fill(text);
        if drip {
            for _ in 0..count {
                self.connection.receive(&text);
                self.connection.pass(Duration::from_secs(1));
            }
            return;
        }
        let flood = text.repeat(count);
        let mut sent = 0;
        while sent < flood.len() && !self.connection.closed {
            let end = flood.len().min(sent + self.way.split.repeated(sent));
            self.connection.receive(&flood[sent..end]);
            sent = end;
        }
    }

    /// Sends much and reads no answer. The server must stop reading, hold a bounded amount, and continue once its
    /// output is read, with an answer to everything.
    fn flood_unread(&mut self, text: &[u8], count: usize) {
        self.connection.settle();
        let (before, many) = (self.connection.said().len(), 4096_usize.div_ceil(text.len()));
        let mut given = 0;
        self.connection.reads = false;
        while given < count && self.connection.wants_read() {
            self.connection.receive(&text.repeat(many));
            given += many;
            // The application answers as well as it can.
            self.connection.settle();
        }
        let stopped = given < count && !self.connection.wants_read();
        let bound = proto_mail::Limits::default().output_high_water + 64 * 1024;
        let bounded = self.connection.held <= bound;
        self.connection.reads = true;
        self.connection.send();
        self.connection.settle();
        let said = self.connection.said();
        let answers = said[before..].split(|&byte| byte == b'\n').filter(|line| is_answer(line)).count();
        // A server that requires authentication need not have read on for so long.
        self.notes = Some(bounded && (self.connection.closed || stopped && answers == given));
    }

    fn prepare(&mut self, place: &str) {
        for (text, answer) in A::preparation(self.way.service, place) {
            if text == "TLS" {
                assert!(self.connection.shake_hands(), "{}: {place}", self.row.id);
                continue;
            }
            let text = self.fill(text);
            self.connection.receive(&text);
            self.connection.settle();
            let said = self.connection.said();
            let last = said.strip_suffix(b"\r\n").and_then(|said| said.rsplit(|&byte| byte == b'\n').next());
            if !last.is_some_and(|last| last.starts_with(answer.as_bytes())) {
                self.lost(answer);
            }
        }
        self.looked = self.connection.said().len();
    }

    fn fill(&self, text: &str) -> Vec<u8> {
        let config = &self.row.config;
        let plain = base64(format!("\0{USER}\0{}", config.password).as_bytes());
        let bad = base64(format!("\0{USER}\0not the password").as_bytes());
        let values = [
            ("{user}", USER),
            ("{pass}", &config.password),
            ("{from}", &config.from),
            ("{rcpt}", &config.rcpt),
            ("{mailbox}", &config.mailbox),
            ("{plain}", &plain),
            ("{badplain}", &bad),
        ];
        bytes(&filled(text, &values))
    }

    fn lost(&self, expected: &str) -> ! {
        let said = String::from_utf8_lossy(&self.connection.said()).into_owned();
        panic!(
            "{} {:?}: the row never comes to itself: expected {expected}, heard {said}",
            self.row.id, self.way
        )
    }
}

/// Whether a line is the answer to a command, and not a part of one.
fn is_answer(line: &[u8]) -> bool {
    line.starts_with(b"250 ") || line.starts_with(b"a OK")
}

/// Whether a server greets and answers.
fn serves<A: Application>(mut connection: Connection<A>) -> bool {
    A::sign_of_life().into_iter().all(|(text, answer)| {
        connection.receive(text.as_bytes());
        connection.settle();
        String::from_utf8_lossy(&connection.said()).contains(answer)
    })
}
