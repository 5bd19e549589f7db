//! A client under attack: its machine, its application, the server that the row describes, and the channel between
//! them.
//!
//! This module moves bytes and TLS in both directions, in pieces of any size; it knows no protocol. There is no
//! network: a handshake succeeds unless cleartext bytes arrive in its place, which the machine must detect.

mod arguments;
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
use crate::script::{Config, Ending, Row, Security, Serve, Step, Then, bytes, filled_for};
use crate::splits::{self, Split};
use crate::verdict::{Observed, Piece, judge};

/// A client's program: it logs in, fetches or sends a message, and ends the session.
pub(crate) trait Application: Sized {
    type Protocol: ClientProtocol;

    /// Sets up the program. `None`: it refuses the row's arguments before it connects.
    fn new(config: &Config) -> Option<(Self, <Self::Protocol as io_mio::Protocol>::Config)>;

    /// Handles an event on cleartext, if the user allowed cleartext.
    fn cleartext(
        &mut self,
        event: EventOf<'_, <Self::Protocol as io_mio::Protocol>::Cleartext>,
        machine: &mut <Self::Protocol as io_mio::Protocol>::Cleartext,
        tx: &mut SendBuffer,
    ) -> Next;

    /// Handles an event under TLS.
    fn secure(
        &mut self,
        event: EventOf<'_, <Self::Protocol as io_mio::Protocol>::Secure>,
        machine: &mut <Self::Protocol as io_mio::Protocol>::Secure,
        tx: &mut SendBuffer,
    ) -> Next;

    /// Everything that the program received and might show.
    fn shown(&mut self) -> Vec<u8>;

    /// Continues with deferred work while the server is silent. `None`: there is none.
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
    /// The application did its task.
    Done,
    /// The application gives up.
    Fail,
}

/// A server that answers commands.
pub(crate) trait Server: Default {
    /// Receives the client's output.
    fn hear(&mut self, bytes: &[u8]);

    /// TLS begins: a new session starts.
    fn secured(&mut self);

    /// The next command, or the next part that needs an answer. It is still unanswered.
    fn next(&mut self) -> Option<String>;

    /// Leaves the command unanswered, since the row answers it.
    fn leave(&mut self);

    /// The answer to the last command or part.
    fn answer(&mut self, serve: &Serve) -> Answer;

    /// The tag of the last command, if the protocol has tags.
    fn tag(&self) -> String {
        String::new()
    }

    /// Moves what was received into the record.
    fn told(&mut self, seen: &mut Observed);
}

/// A server's answer to a command.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) stop: bool,
    /// The script has reached this mark.
    pub(crate) mark: Option<&'static str>,
}

impl Answer {
    /// The row's own answer to this command, if it has one.
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

/// The stages up to TLS.
enum Session<P: ClientProtocol> {
    /// TLS comes first.
    Connected,
    Cleartext(P::Cleartext),
    Negotiating(P::Negotiation),
    /// The handshake is still to come.
    Upgrading(P::Upgrade),
    Secure(P::Secure),
    Over {
        done: bool,
    },
}

/// Up to this size repeated data has exactly the length that the row gives.
const MOST_EXACT: usize = 1_200_000;
/// A longer repetition is a flood, and is limited to this many bytes: six times the limit of a line.
const FLOOD: usize = 400_000;

/// One run of a row.
struct Run<'r, A: Application, S> {
    row: &'r Row,
    session: Session<A::Protocol>,
    application: A,
    config: <A::Protocol as io_mio::Protocol>::Config,
    server: S,
    split: Split,
    /// The length of each text that the server sent unasked.
    said: Vec<usize>,
    rx: RecvBuffer,
    tx: SendBuffer,
    /// The number of bytes output, in total and before the last command.
    put_out: usize,
    pending_at: usize,
    seen: Observed,
}

/// What happens to a connection at the end of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closes.
    Closed,
    /// The server is silent, and the timeout expires.
    TimedOut,
}

/// Runs a row against the client that it attacks: whole, and with every split.
///
/// # Panics
/// If the result is not what the row requires.
pub(crate) fn run(row: &Row) {
    let [Step::Act { name, args }] = row.steps.as_slice() else {
        return match row.role.as_str() {
            "imap-client" => every_way(row, play::<ImapProgram, ImapPeer>),
            "smtp-client" => every_way(row, play::<SmtpProgram, SmtpPeer>),
            other => panic!("{}: {other} is not a client", row.id),
        };
    };
    let seen = Observed { notes: Some(arguments::act(&row.role, name, args)), ..Observed::default() };
    judge(row, &seen).unwrap_or_else(|why| panic!("{}, {}: {why}", row.id, row.title));
}

fn every_way(row: &Row, play: fn(&Row, Split, End) -> (Observed, Vec<usize>)) {
    let one = |split, end| {
        let (mut seen, texts) = play(row, split, end);
        seen.notes = notes(row, &seen);
        judge(row, &seen).unwrap_or_else(|why| {
            panic!("{}, {}: {split:?}, {end:?}: {why}\n{seen:?}", row.id, row.title);
        });
        texts
    };
    let texts = one(Split::Whole, End::Closed);
    one(Split::Whole, End::TimedOut);
    one(Split::Bytes, End::TimedOut);
    for split in splits::ways(row, &texts) {
        one(split, End::Closed);
    }
}

/// Checks the notes of a few rows in terms of the observations.
fn notes(row: &Row, seen: &Observed) -> Option<bool> {
    let contains = |text: &[u8], part: &str| String::from_utf8_lossy(text).contains(part);
    match row.id.as_str() {
        // The greeting is reported, and a client with this setting refuses to continue without it.
        "IC-PRE-06" => Some(contains(&seen.shown, "PreAuth") && seen.client == Some(false)),
        // `y,,`: the client supports channel binding, but the server did not offer it.
        "IC-AUTH-12" => Some(contains(&seen.data("tls"), " eSws")),
        "SC-DATA-19" => Some(seen.message.ends_with(&row.config.body) || seen.client == Some(false)),
        _ => None,
    }
}

/// Plays a row against a client. Returns the observations and the length of each text that was sent unasked.
pub(crate) fn play<A: Application, S: Server>(row: &Row, split: Split, end: End) -> (Observed, Vec<usize>) {
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
        split,
        said: Vec::new(),
        rx: RecvBuffer::new(),
        tx,
        put_out: 0,
        pending_at: 0,
        // There is only one connection here; rows that offer a second one also run over sockets.
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
                // Nothing happens by itself here.
                Step::Sleep(_) => {}
                Step::End(Ending::Closed) => {
                    self.rx.close();
                    self.pump();
                }
                other => panic!("{}: no step for a client: {other:?}", row.id),
            }
        }
    }

    fn receive(&mut self, template: &str) {
        let text = self.filled(template);
        let pieces = self.split.pieces(self.said.len(), &text);
        self.said.push(text.len());
        self.say(&pieces);
    }

    /// Bytes on the TCP stream, below TLS. Under TLS they end the session.
    fn receive_raw(&mut self, template: &str) {
        if let Session::Secure(_) = self.session {
            panic!("{}: only real TLS shows that", self.row.id);
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
            let len = self.split.repeated(sent).min(all - sent);
            self.say(&[flood[sent..sent + len].to_vec()]);
            sent += len;
        }
    }

    fn filled(&self, template: &str) -> Vec<u8> {
        filled_for(self.row, &self.server.tag(), template)
    }

    /// The client receives these pieces, one per read.
    fn say(&mut self, pieces: &[Vec<u8>]) {
        for piece in pieces {
            if matches!(self.session, Session::Over { .. }) {
                return;
            }
            self.rx.extend(piece);
            if matches!(self.session, Session::Upgrading(_)) {
                // Cleartext in place of a handshake.
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
            let pieces = self.split.answer(&text);
            self.say(&pieces);
            if let Some(mark) = answer.mark {
                self.seen.marks.push((mark.to_owned(), self.put_out));
            }
            if answer.stop {
                return;
            }
        }
    }

    /// Whether the client waits for a handshake and therefore answers nothing.
    const fn is_deaf(&self) -> bool {
        matches!(self.session, Session::Over { .. } | Session::Upgrading(_) | Session::Connected)
    }

    /// The peer does its part of the handshake.
    fn handshake(&mut self) {
        // A peer that continues in cleartext does not answer a ServerHello.
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

    /// Handles all pending events.
    fn pump(&mut self) {
        while self.step() {}
        self.flush();
    }

    /// Takes the pending output. Returns false if there was none.
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

    /// Handles the next event. Returns false if there is none for now.
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
                // The session cannot continue without it.
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
        // The machine may wait for its output to be sent.
        let sent = self.flush();
        let over = matches!(self.session, Session::Over { .. } | Session::Upgrading(_) | Session::Connected);
        (moved || sent) && !over
    }

    /// Ends a client that is still active.
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
        // A handshake, or a reply to STARTTLS, that never comes also ends the session.
        self.seen.client = Some(matches!(self.session, Session::Over { done: true }));
        let shown = self.application.shown();
        self.seen.shown.extend(shown);
    }
}

/// Tells the client why the session ended.
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

/// The channel of every session under TLS here. It has a channel binding, and nonces are the same each time.
pub(crate) fn channel() -> Secure {
    Secure::tls(ChannelBinding::TlsExporter([7; 32])).with_seed([9; 32])
}
