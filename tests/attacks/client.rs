//! A client under attack: its machine, its application, the server that the row makes of us, and the channel between.
//!
//! This file knows how bytes and TLS go to and fro, in whatever pieces; it knows no protocol. There is no network: a
//! handshake succeeds unless there are cleartext bytes in its place, which is for the machine to see.

mod acts;
pub(crate) mod imap_peer;
pub(crate) mod imap_program;
mod sasl;
pub(crate) mod smtp_peer;
pub(crate) mod smtp_program;

use std::fmt;
use std::time::Instant;

use io_mio::{ClientProtocol, StartTlsReadiness};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{ChannelBinding, Machine, RecvBuffer, Secure, SendBuffer, Upgrade};

use self::imap_peer::ImapPeer;
use self::imap_program::ImapProgram;
use self::smtp_peer::SmtpPeer;
use self::smtp_program::SmtpProgram;
use crate::cuts::{self, Cut};
use crate::script::{Config, Ending, Row, Security, Serve, Step, Then, bytes, filled_for};
use crate::verdict::{Observed, Piece, judge};

/// What a client's program does: it logs in, takes or sends a message, and leaves.
pub(crate) trait Application: Sized {
    type Protocol: ClientProtocol;

    /// Sets up. `None`: the program refuses what the row gives it, before it connects.
    fn new(config: &Config) -> Option<(Self, <Self::Protocol as io_mio::Protocol>::Config)>;

    /// An event on cleartext, where the user chose that.
    fn cleartext(
        &mut self,
        event: EventOf<'_, <Self::Protocol as io_mio::Protocol>::Cleartext>,
        machine: &mut <Self::Protocol as io_mio::Protocol>::Cleartext,
        tx: &mut SendBuffer,
    ) -> Next;

    /// An event under TLS.
    fn secure(
        &mut self,
        event: EventOf<'_, <Self::Protocol as io_mio::Protocol>::Secure>,
        machine: &mut <Self::Protocol as io_mio::Protocol>::Secure,
        tx: &mut SendBuffer,
    ) -> Next;

    /// All that it was told and might show.
    fn shown(&mut self) -> Vec<u8>;

    /// The server is silent: goes on with what takes long. `None`: there is nothing.
    fn rest(
        &mut self,
        machine: &mut <Self::Protocol as io_mio::Protocol>::Secure,
        tx: &mut SendBuffer,
    ) -> Option<Next>;
}

pub(crate) type EventOf<'e, M> = <M as Machine>::Event<'e>;

/// What an application wants after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    /// It did what it was to do.
    Done,
    /// It gives up.
    Fail,
}

/// A server that answers commands.
pub(crate) trait Server: Default {
    /// The client put this out.
    fn hear(&mut self, bytes: &[u8]);

    /// TLS begins: what was said before is another session's.
    fn secured(&mut self);

    /// The next command, or part of one that wants an answer. It is not answered yet.
    fn next(&mut self) -> Option<String>;

    /// It will not be answered: the row does that itself.
    fn leave(&mut self);

    /// What the last command or part is answered with.
    fn answer(&mut self, serve: &Serve) -> Answer;

    /// The tag of the last command, where there are any.
    fn tag(&self) -> String {
        String::new()
    }

    /// Moves what was heard into the record.
    fn told(&mut self, seen: &mut Observed);
}

/// What a server says to a command.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) stop: bool,
    /// The script has come to this mark.
    pub(crate) mark: Option<&'static str>,
}

impl Answer {
    /// The answer that the row has for this command, if it has one.
    pub(crate) fn overridden(serve: &Serve, verb: &str, said: &mut Vec<String>) -> Option<Self> {
        let other = serve.overrides.get(verb)?;
        if other.once && said.iter().any(|before| before == verb) {
            return None;
        }
        said.push(verb.to_owned());
        Some(Self { text: other.send.clone(), stop: other.then == Then::Stop, mark: None })
    }

    pub(crate) fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// The way to TLS.
enum Session<P: ClientProtocol> {
    /// TLS comes first.
    Connected,
    Cleartext(P::Cleartext),
    Negotiating(P::Negotiation),
    /// The handshake is to come.
    Upgrading(P::Upgrade),
    Secure(P::Secure),
    Over {
        done: bool,
    },
}

/// What is repeated is as long as the row says, up to here.
const MOST_EXACT: usize = 1_200_000;
/// More than that is a flood, and goes on for so many bytes: past the limit of a line, six times.
const FLOOD: usize = 400_000;

/// One run of a row.
struct Run<'r, A: Application, S> {
    row: &'r Row,
    session: Session<A::Protocol>,
    application: A,
    config: <A::Protocol as io_mio::Protocol>::Config,
    server: S,
    cut: Cut,
    /// How long each of the texts was that the server said unasked.
    said: Vec<usize>,
    rx: RecvBuffer,
    tx: SendBuffer,
    /// Bytes put out, in all and before the last command.
    put_out: usize,
    pending_at: usize,
    seen: Observed,
}

/// What becomes of a connection when the script has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closes.
    Closed,
    /// It is silent, and time runs out.
    TimedOut,
}

/// Runs a row against the client that it attacks: whole, and cut in every way.
///
/// # Panics
/// If something comes of it that the row does not allow.
pub(crate) fn run(row: &Row) {
    let [Step::Act { name, args }] = row.steps.as_slice() else {
        return match row.role.as_str() {
            "imap-client" => every_way(row, play::<ImapProgram, ImapPeer>),
            "smtp-client" => every_way(row, play::<SmtpProgram, SmtpPeer>),
            other => panic!("{}: {other} is no client", row.id),
        };
    };
    let seen = Observed { notes: Some(acts::act(&row.role, name, args)), ..Observed::default() };
    judge(row, &seen).unwrap_or_else(|why| panic!("{}, {}: {why}", row.id, row.title));
}

fn every_way(row: &Row, play: fn(&Row, Cut, End) -> (Observed, Vec<usize>)) {
    let one = |cut, end| {
        let (mut seen, texts) = play(row, cut, end);
        seen.notes = notes(row, &seen);
        judge(row, &seen).unwrap_or_else(|why| {
            panic!("{}, {}: {cut:?}, {end:?}: {why}\n{seen:?}", row.id, row.title);
        });
        texts
    };
    let texts = one(Cut::Whole, End::Closed);
    one(Cut::Whole, End::TimedOut);
    one(Cut::Bytes, End::TimedOut);
    for cut in cuts::ways(row, &texts) {
        one(cut, End::Closed);
    }
}

/// What the notes of a few rows ask, in terms of what was seen.
fn notes(row: &Row, seen: &Observed) -> Option<bool> {
    let contains = |text: &[u8], part: &str| String::from_utf8_lossy(text).contains(part);
    match row.id.as_str() {
        // The greeting is surfaced, and the client that has a name refuses to go on without saying it.
        "IC-PRE-06" => Some(contains(&seen.shown, "PreAuth") && seen.client == Some(false)),
        // `y,,`: the client could bind the channel, and nobody offered it.
        "IC-AUTH-12" => Some(contains(&seen.data("tls"), " eSws")),
        "SC-DATA-19" => Some(seen.message.ends_with(&row.config.body) || seen.client == Some(false)),
        _ => None,
    }
}

/// Plays a row against a client. Says what was seen, and how long each text was that was said unasked.
pub(crate) fn play<A: Application, S: Server>(row: &Row, cut: Cut, end: End) -> (Observed, Vec<usize>) {
    let begun = Instant::now();
    let Some((application, config)) = A::new(&row.config) else {
        let refused = Observed { closed: true, client: Some(false), ..Observed::default() };
        return (refused, Vec::new());
    };
    let mut tx = SendBuffer::new();
    let session = match row.config.security {
        Security::ImplicitTls => Session::Connected,
        _ => Session::Cleartext(A::Protocol::open(&config, &mut tx)),
    };
    let mut run = Run::<A, S> {
        row,
        session,
        application,
        config,
        server: S::default(),
        cut,
        said: Vec::new(),
        rx: RecvBuffer::new(),
        tx,
        put_out: 0,
        pending_at: 0,
        // There is one connection here and no way to another: those that are offered one go over sockets, too.
        seen: Observed { second_listener: Some(false), ..Observed::default() },
    };
    run.script();
    run.end(end);
    run.server.told(&mut run.seen);
    run.seen.seconds = begun.elapsed().as_secs_f64();
    (run.seen, run.said)
}

impl<A: Application, S: Server> Run<'_, A, S> {
    fn script(&mut self) {
        let row = self.row;
        for step in &row.steps {
            match step {
                Step::Receive(bytes) => self.receive(bytes),
                Step::Raw(bytes) => self.receive_raw(bytes),
                Step::Repeat { bytes, count, .. } => self.repeat(bytes, *count),
                Step::Mark { name, with_pending } => {
                    let at = if *with_pending { self.pending_at } else { self.put_out };
                    self.seen.marks.push((name.clone(), at));
                }
                Step::Tls(_) => self.handshake(),
                Step::Serve(serve) => self.serve(serve),
                // Nothing moves by itself here.
                Step::Sleep(_) => {}
                Step::End(Ending::Closed) => {
                    self.rx.close();
                    self.pump();
                }
                other => panic!("{}: nobody can do that to a client: {other:?}", row.id),
            }
        }
    }

    fn receive(&mut self, template: &str) {
        let text = self.filled(template);
        let pieces = self.cut.pieces(self.said.len(), &text);
        self.said.push(text.len());
        self.say(&pieces);
    }

    /// Bytes below TLS. Above it they are the end.
    fn receive_raw(&mut self, template: &str) {
        if let Session::Secure(_) = self.session {
            panic!("{}: that is seen with real TLS only", self.row.id);
        }
        self.receive(template);
    }

    fn repeat(&mut self, text: &str, count: usize) {
        let unit = bytes(text);
        let whole = unit.len() * count;
        let all = if whole <= MOST_EXACT { whole } else { FLOOD };
        let flood = unit.repeat(all.div_ceil(unit.len()));
        let mut sent = 0;
        while sent < all && !matches!(self.session, Session::Over { .. }) {
            let len = self.cut.repeated(sent).min(all - sent);
            self.say(&[flood[sent..sent + len].to_vec()]);
            sent += len;
        }
    }

    fn filled(&self, template: &str) -> Vec<u8> {
        filled_for(self.row, &self.server.tag(), template)
    }

    /// The client receives these pieces, one read each.
    fn say(&mut self, pieces: &[Vec<u8>]) {
        for piece in pieces {
            if matches!(self.session, Session::Over { .. }) {
                return;
            }
            self.rx.extend(piece);
            if matches!(self.session, Session::Upgrading(_)) {
                // Cleartext in the place of a handshake.
                self.handshake();
            } else {
                self.pump();
            }
            self.seen.held = self.seen.held.max(self.rx.len());
        }
    }

    /// Answers commands until there are none.
    fn serve(&mut self, serve: &Serve) {
        if serve.silent {
            return;
        }
        loop {
            if self.is_deaf() {
                return;
            }
            let Some(verb) = self.server.next() else { if self.rest() { continue } else { return } };
            if serve.until.as_ref() == Some(&verb) {
                self.server.leave();
                return;
            }
            let answer = self.server.answer(serve);
            let text = self.filled(&answer.text);
            let pieces = self.cut.answer(&text);
            self.say(&pieces);
            if let Some(mark) = answer.mark {
                self.seen.marks.push((mark.to_owned(), self.put_out));
            }
            if answer.stop {
                return;
            }
        }
    }

    /// Nobody answers who waits for a handshake.
    const fn is_deaf(&self) -> bool {
        matches!(self.session, Session::Over { .. } | Session::Upgrading(_) | Session::Connected)
    }

    /// The peer does its part of the handshake.
    fn handshake(&mut self) {
        // Whoever goes on in cleartext does not answer a ServerHello.
        let session = std::mem::replace(&mut self.session, Session::Over { done: false });
        self.session = match session {
            Session::Connected => {
                self.seen.tls = Some(true);
                Session::Secure(A::Protocol::open_secure(&self.config, channel(), &mut self.tx))
            }
            Session::Upgrading(upgrade) => match upgrade.complete(channel(), &mut self.rx) {
                Ok(machine) => {
                    self.seen.tls = Some(true);
                    Session::Secure(machine)
                }
                Err(error) => {
                    self.seen.tls = Some(false);
                    failed(error, &mut self.seen.shown)
                }
            },
            other => other,
        };
        if let Session::Secure(_) = self.session {
            self.server.secured();
        }
        self.pump();
    }

    fn rest(&mut self) -> bool {
        let Session::Secure(machine) = &mut self.session else { return false };
        let Some(next) = self.application.rest(machine, &mut self.tx) else { return false };
        if next != Next::GoOn {
            self.session = Session::Over { done: next == Next::Done };
        }
        self.pump();
        true
    }

    /// Takes everything that there is.
    fn pump(&mut self) {
        while self.step() {}
        self.flush();
    }

    /// What was put out leaves. False: there was nothing.
    fn flush(&mut self) -> bool {
        let bytes = self.tx.take();
        if bytes.is_empty() {
            return false;
        }
        self.pending_at = self.put_out;
        self.put_out += bytes.len();
        self.server.hear(&bytes);
        self.seen.output.push(Piece { bytes, under_tls: self.seen.tls == Some(true) });
        true
    }

    /// The next event. False: nothing more for now.
    fn step(&mut self) -> bool {
        let (rx, tx) = (&mut self.rx, &mut self.tx);
        let session = std::mem::replace(&mut self.session, Session::Over { done: false });
        let (session, moved) = match session {
            Session::Cleartext(mut machine) => match machine.next_event(rx, tx) {
                Ok(Some(event)) if self.row.config.security == Security::Plaintext => {
                    let next = self.application.cleartext(event, &mut machine, tx);
                    (next.session(Session::Cleartext(machine)), true)
                }
                Ok(Some(event)) => {
                    self.seen.shown.extend(format!("{event:?}\n").into_bytes());
                    let ready = A::Protocol::prepare_starttls(event, &mut machine, tx);
                    match ready {
                        Ok(StartTlsReadiness::Continue) => (Session::Cleartext(machine), true),
                        Ok(StartTlsReadiness::Ready) => match A::Protocol::starttls(machine, tx) {
                            Ok(negotiation) => (Session::Negotiating(negotiation), true),
                            Err(error) => (failed(error, &mut self.seen.shown), false),
                        },
                        Err(error) => (failed(error, &mut self.seen.shown), false),
                    }
                }
                Ok(None) => (Session::Cleartext(machine), false),
                Err(error) => (failed(error, &mut self.seen.shown), false),
            },
            Session::Negotiating(negotiation) => match negotiation.advance(rx, tx) {
                Ok(Negotiation::Pending(negotiation)) => (Session::Negotiating(negotiation), false),
                Ok(Negotiation::Ready(upgrade)) => (Session::Upgrading(upgrade), false),
                // There is no going on without.
                Ok(Negotiation::Refused(_)) => (Session::Over { done: false }, false),
                Err(error) => (failed(error, &mut self.seen.shown), false),
            },
            Session::Secure(mut machine) => match machine.next_event(rx, tx) {
                Ok(Some(event)) => {
                    let next = self.application.secure(event, &mut machine, tx);
                    (next.session(Session::Secure(machine)), true)
                }
                Ok(None) => (Session::Secure(machine), false),
                Err(error) => (failed(error, &mut self.seen.shown), false),
            },
            other => (other, false),
        };
        self.session = session;
        // What is sent may be what a machine waits for.
        let sent = self.flush();
        let over = matches!(self.session, Session::Over { .. } | Session::Upgrading(_) | Session::Connected);
        (moved || sent) && !over
    }

    /// What becomes of a client that is not over yet.
    fn end(&mut self, end: End) {
        self.seen.closed = matches!(self.session, Session::Over { .. });
        if end == End::Closed && !self.is_deaf() {
            self.rx.close();
            self.pump();
        }
        let late = match &mut self.session {
            Session::Cleartext(machine) => machine.timed_out(&mut self.tx),
            Session::Secure(machine) => machine.timed_out(&mut self.tx),
            _ => Ok(()),
        };
        if let Err(error) = late {
            self.session = failed(error, &mut self.seen.shown);
        }
        self.flush();
        // A handshake, or an answer to STARTTLS, that never comes is an end, too.
        self.seen.client = Some(matches!(self.session, Session::Over { done: true }));
        let shown = self.application.shown();
        self.seen.shown.extend(shown);
    }
}

/// The client is told why it is over.
fn failed<P: ClientProtocol>(error: impl fmt::Display + fmt::Debug, shown: &mut Vec<u8>) -> Session<P> {
    shown.extend(format!("{error}\n{error:?}\n").into_bytes());
    Session::Over { done: false }
}

impl Next {
    fn session<P: ClientProtocol>(self, going_on: Session<P>) -> Session<P> {
        match self {
            Self::GoOn => going_on,
            Self::Done => Session::Over { done: true },
            Self::Fail => Session::Over { done: false },
        }
    }
}

/// The channel of every session under TLS here. It can be bound to, and nonces are the same each time.
pub(crate) fn channel() -> Secure {
    Secure::tls(ChannelBinding::TlsExporter([7; 32])).with_seed([9; 32])
}
