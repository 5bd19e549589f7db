//! Plays a conversation: bytes arrive in pieces, a player handles them, and a record lists what happened in order.
//!
//! This module knows no protocol. A player is a machine with an application, on either channel, and upgrades itself
//! by STARTTLS.

use std::fmt::{self, Debug};

use proto_mail::trace::TraceSpan;
use proto_mail::{ChannelBinding, Error, RecvBuffer, Secure, SendBuffer};

use crate::unattended::DrivenBy;

/// The application's decisions, as a string of bytes. When it is used up, every choice is 0.
#[derive(Debug, Clone)]
pub struct Choices {
    bytes: Vec<u8>,
    at: usize,
}

impl Choices {
    /// The choices that these bytes encode: `0` is the first, `1` the second and so on.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0 }
    }

    /// The next choice among `of`.
    pub fn pick(&mut self, of: u8) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(b'0');
        self.at += 1;
        byte.wrapping_sub(b'0') % of.max(1)
    }
}

/// One thing that happened in a conversation.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// The peer sent bytes with this many line ends.
    Received(usize),
    /// The application received an event, described.
    Event(String),
    /// The machine's `Debug` output.
    DebugOutput(String),
    /// The application received a piece of a body.
    Piece(Vec<u8>),
    /// Bytes were sent; whether the machine marked them as secret.
    Sent(Vec<u8>, bool),
    /// A client's application gave a command that takes this many lines of this name.
    CommandGiven(&'static str, usize),
    /// A server owes this many additional answers: LMTP has one for each recipient.
    OwesReplies(usize),
    /// An identity was proved: the peer's to a server, or the client's own to its server.
    Authenticated,
    /// A server's application rejected credentials.
    AuthRejected,
    /// A proxy speaks for another client from here on, so earlier proofs no longer count.
    IdentityReset,
    /// Something took effect that requires authentication.
    RequiresAuth(&'static str),
    /// Something was reported or done that must not happen on cleartext.
    RequiresTls(&'static str),
    /// TLS is in place; what follows is a new session.
    TlsEstablished,
    /// This many cleartext bytes were still buffered when TLS began.
    CrossedIntoTls(usize),
    /// The session failed.
    Failed(Error),
    /// A call did not do what its documentation says.
    Broken(String),
}

/// Readable and on one line, for the report of a broken invariant.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received(lines) => write!(f, "heard {lines} lines"),
            Self::Event(event) => write!(f, "saw {event}"),
            Self::DebugOutput(machine) => write!(f, "is {machine}"),
            Self::Piece(bytes) => write!(f, "saw a piece {}", bytes.escape_ascii()),
            Self::Sent(bytes, secret) => {
                write!(f, "told {}{}", bytes.escape_ascii(), if *secret { " (secret)" } else { "" })
            }
            Self::CommandGiven(verb, lines) => write!(f, "gave {lines} {verb}"),
            Self::OwesReplies(answers) => write!(f, "owes {answers} answers more"),
            Self::Authenticated => f.write_str("proved an identity"),
            Self::AuthRejected => f.write_str("rejected credentials"),
            Self::IdentityReset => f.write_str("speaks for another client"),
            Self::RequiresAuth(what) => write!(f, "needs proof: {what}"),
            Self::RequiresTls(what) => write!(f, "needs TLS: {what}"),
            Self::TlsEstablished => f.write_str("TLS"),
            Self::CrossedIntoTls(bytes) => write!(f, "{bytes} bytes of cleartext under TLS"),
            Self::Failed(error) => write!(f, "failed: {error:?}"),
            Self::Broken(how) => write!(f, "broke its contract: {how}"),
        }
    }
}

/// The channel on which a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstChannel {
    /// It may be upgraded by STARTTLS.
    Cleartext,
    /// TLS from the first byte.
    Secure,
}

/// The result of a conversation.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Everything that happened, in order.
    pub entries: Vec<Entry>,
    /// How many bytes had been received when TLS began.
    pub secured_at: Option<usize>,
    /// The most bytes from the peer that remained unread after a step.
    pub held: usize,
    /// The most bytes that one step output.
    pub put_out: usize,
    /// The machine was not closed but did not want to read.
    pub stuck: bool,
    /// The trace of both directions, if one was taken.
    pub traced: Vec<u8>,
    /// The machine's `Debug` output at the end.
    pub shown: String,
}

impl Record {
    /// Records bytes from the peer.
    pub fn heard(&mut self, more: usize) {
        match self.entries.last_mut() {
            Some(Entry::Received(lines)) => *lines += more,
            _ => self.entries.push(Entry::Received(more)),
        }
    }

    /// Records an event.
    pub fn event(&mut self, event: &impl Debug) {
        self.entries.push(Entry::Event(format!("{event:?}")));
    }

    /// Records a piece of a body.
    pub fn piece(&mut self, bytes: &[u8]) {
        self.entries.push(Entry::Piece(bytes.to_vec()));
    }

    /// Records an event that the application receives as an owned copy. `Debug` shows both in the same way.
    pub fn copied(&mut self, borrowed: &str, owned: &impl Debug) {
        let owned = format!("{owned:?}");
        self.requires(borrowed == owned, || format!("the copy of {borrowed} is {owned}"));
    }

    /// Records a broken contract unless `holds`.
    pub fn requires(&mut self, holds: bool, broken: impl FnOnce() -> String) {
        if !holds {
            self.entries.push(Entry::Broken(broken()));
        }
    }

    /// Makes an attempt by the application, and records its outcome if it was refused. A refused attempt that the
    /// application is to blame for outputs nothing.
    pub fn tried<T>(
        &mut self,
        what: &'static str,
        tx: &mut SendBuffer,
        attempt: impl FnOnce(&mut SendBuffer) -> Result<T, Error>,
    ) -> Option<T> {
        let before = Queued::of(tx);
        let outcome = attempt(tx);
        self.check_refusal(what, &outcome, before, tx);
        self.noted(what, outcome)
    }

    /// Checks that a call which the application is to blame for has output nothing. `before` was taken before the call.
    pub fn check_refusal<T>(
        &mut self,
        what: &'static str,
        outcome: &Result<T, Error>,
        before: Queued,
        tx: &SendBuffer,
    ) {
        let after = Queued::of(tx);
        let is_misuse = matches!(outcome, Err(Error::Misuse(_)));
        self.requires(!is_misuse || before == after, || {
            format!("{what} was refused and changed the output: {before:?}, {after:?}")
        });
    }

    /// Records the outcome of several calls as one, if it is an error.
    pub fn noted<T>(&mut self, what: &'static str, outcome: Result<T, Error>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.entries.push(Entry::Event(format!("{what} refused: {error:?}")));
                None
            }
        }
    }

    /// Gives a command, and records it if the machine accepted it.
    pub fn given<T>(
        &mut self,
        verb: &'static str,
        tx: &mut SendBuffer,
        give: impl FnOnce(&mut SendBuffer) -> Result<T, Error>,
    ) -> Option<T> {
        let before = Queued::of(tx);
        let outcome = give(tx);
        self.given_since(verb, outcome, before, tx)
    }

    /// Records a command that the application gave, if the machine accepted it. `before` was taken before the call.
    pub fn given_since<T>(
        &mut self,
        verb: &'static str,
        outcome: Result<T, Error>,
        before: Queued,
        tx: &SendBuffer,
    ) -> Option<T> {
        self.check_refusal(verb, &outcome, before, tx);
        let given = self.noted(verb, outcome)?;
        self.entries.push(Entry::CommandGiven(verb, 1));
        Some(given)
    }

    /// Takes the pending output. Returns false if there was none.
    pub fn send(&mut self, tx: &mut SendBuffer) -> bool {
        self.put_out = self.put_out.max(tx.len());
        for chunk in tx.chunks() {
            self.entries.push(Entry::Sent(chunk.bytes.to_vec(), chunk.secret));
        }
        let sent = tx.len();
        tx.sent(sent);
        sent > 0
    }

    /// Takes what was traced since the last call.
    fn take_trace(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) {
        for what in rx.take_trace().into_iter().chain(tx.take_trace()) {
            if let TraceSpan::Text(text) = what {
                self.traced.extend(text);
            }
        }
    }

    /// Records the upgrade to TLS.
    pub fn secured(&mut self, rx: &RecvBuffer) {
        self.secured_at = Some(rx.received_total() as usize);
        self.entries.push(Entry::TlsEstablished);
        if !rx.is_empty() {
            self.entries.push(Entry::CrossedIntoTls(rx.len()));
        }
    }

    /// What the application received, independent of the split: neighbouring pieces are joined.
    #[must_use]
    pub fn seen(&self) -> Vec<Entry> {
        let mut seen: Vec<Entry> = Vec::new();
        for entry in &self.entries {
            match (seen.last_mut(), entry) {
                (_, Entry::Received(_) | Entry::Sent(..) | Entry::DebugOutput(_)) => {}
                (Some(Entry::Piece(before)), Entry::Piece(more)) => before.extend(more),
                _ => seen.push(entry.clone()),
            }
        }
        seen
    }

    /// Every byte that was sent.
    #[must_use]
    pub fn output(&self) -> Vec<u8> {
        let told = self.entries.iter().filter_map(|entry| match entry {
            Entry::Sent(bytes, _) => Some(bytes.as_slice()),
            _ => None,
        });
        told.collect::<Vec<_>>().concat()
    }

    /// The part of the record after the upgrade to TLS.
    #[must_use]
    pub fn under_tls(&self) -> Self {
        let at = self.entries.iter().position(|entry| *entry == Entry::TlsEstablished);
        let entries = self.entries.iter().skip(at.map_or(self.entries.len(), |at| at + 1));
        Self { entries: entries.cloned().collect(), ..Self::default() }
    }
}

/// How much output waits and was ever queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    waiting: usize,
    ever: u64,
}

impl Queued {
    /// The output of this buffer.
    #[must_use]
    pub const fn of(tx: &SendBuffer) -> Self {
        Self { waiting: tx.len(), ever: tx.queued_total() }
    }
}

/// The channel of every session under TLS here: always the same, nonces included, so that runs can be compared.
#[must_use]
pub fn channel() -> Secure {
    Secure::tls(ChannelBinding::TlsExporter([b'c'; 32])).with_seed([b's'; 32])
}

/// How the application receives events, which must not change the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As the machine returns them.
    Borrowed,
    /// As owned copies.
    Owned,
}

/// A machine and its application.
pub trait Player {
    /// Sets how the application receives events.
    fn deliver(&mut self, how: Delivery);

    /// Runs the machine without an application, which drops every event and its token.
    fn unattended(self, by: DrivenBy, pieces: &[&[u8]], ending: Ending) -> Record;

    /// Takes the next event and lets the application act on it. Returns false if there is none for now.
    ///
    /// # Errors
    /// The session is over.
    fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer, record: &mut Record) -> Result<bool, Error>;

    /// Gives deferred answers and ends delays when nothing else happens. Returns false if there are none.
    ///
    /// # Errors
    /// The session is over.
    fn rest(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer, record: &mut Record) -> Result<bool, Error>;

    /// The machine's timeout expires.
    ///
    /// # Errors
    /// The session is over.
    fn time_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error>;

    /// Shuts a server down; clients do nothing.
    fn go_down(&mut self, _: &mut SendBuffer) {}

    /// Whether the session has ended in order.
    fn is_closed(&self) -> bool;

    /// Whether the machine wants more input.
    fn wants_read(&self, tx: &SendBuffer) -> bool;

    /// The machine's `Debug` output.
    fn show(&self) -> String;
}

/// Whether a trace is taken, which must not change the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Both buffers trace.
    Taken,
    /// No trace.
    None,
}

/// The most bytes of a line that a trace shows.
const TRACED: usize = 1024;

/// What happens when the peer's input is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The peer closes.
    Closed,
    /// The peer is silent, and the timeout expires.
    TimedOut,
    /// The server shuts down.
    GoingDown,
}

/// Feeds the pieces, one per read, and then ends the session. Output is taken at once.
pub fn play<'p>(
    player: impl Player,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    ending: Ending,
    trace: Trace,
) -> Record {
    let mut pieces = pieces.into_iter();
    converse(player, |_| pieces.next(), ending, trace)
}

/// Plays with a peer that reacts: it receives the new output since its last turn and returns its next piece, one per
/// read. When it returns `None` the session ends.
pub fn converse<P: AsRef<[u8]>>(
    mut player: impl Player,
    peer: impl FnMut(&[Entry]) -> Option<P>,
    ending: Ending,
    trace: Trace,
) -> Record {
    let mut record = Record::default();
    talk(&mut player, peer, ending, trace, &mut record);
    record.shown = player.show();
    record
}

fn talk<P: AsRef<[u8]>>(
    player: &mut impl Player,
    mut peer: impl FnMut(&[Entry]) -> Option<P>,
    ending: Ending,
    trace: Trace,
    record: &mut Record,
) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    if trace == Trace::Taken {
        rx.trace(TRACED);
        tx.trace(TRACED);
    }
    if pump(player, &mut rx, &mut tx, record).is_err() {
        return;
    }
    let mut known = 0;
    while let Some(piece) = peer(record.entries.get(known..).unwrap_or_default()) {
        known = record.entries.len();
        let piece = piece.as_ref();
        if player.is_closed() {
            return;
        }
        record.stuck |= !player.wants_read(&tx);
        rx.extend(piece);
        record.heard(piece.iter().filter(|&&byte| byte == b'\n').count());
        if pump(player, &mut rx, &mut tx, record).is_err() {
            ask_again(player, &mut rx, &mut tx, record);
            return;
        }
        if !player.is_closed() {
            record.held = record.held.max(rx.len());
        }
    }
    record.entries.push(Entry::DebugOutput(player.show()));
    record.heard(0);
    let ended = match ending {
        Ending::GoingDown => {
            player.go_down(&mut tx);
            Ok(())
        }
        Ending::TimedOut if !player.is_closed() => player.time_out(&mut tx),
        Ending::TimedOut | Ending::Closed => Ok(()),
    };
    if let Err(error) = ended {
        record.send(&mut tx);
        record.entries.push(Entry::Failed(error.clone()));
        ask_again(player, &mut rx, &mut tx, record);
        return;
    }
    if ending == Ending::Closed {
        rx.close();
    }
    if pump(player, &mut rx, &mut tx, record).is_err() {
        ask_again(player, &mut rx, &mut tx, record);
    }
}

/// Handles all pending events.
fn pump(
    player: &mut impl Player,
    rx: &mut RecvBuffer,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Result<(), Error> {
    loop {
        let outcome = match player.step(rx, tx, record) {
            Ok(false) => player.rest(rx, tx, record),
            other => other,
        };
        let sent = record.send(tx);
        record.take_trace(rx, tx);
        match outcome {
            Ok(moved) if moved || sent => {}
            Ok(_) => return Ok(()),
            Err(error) => {
                record.entries.push(Entry::Failed(error.clone()));
                return Err(error);
            }
        }
    }
}

/// Calls a failed machine again. It must return the same error and output nothing.
fn ask_again(player: &mut impl Player, rx: &mut RecvBuffer, tx: &mut SendBuffer, record: &mut Record) {
    for more in [&b""[..], b"\r\n", b"220 again\r\n* OK again\r\nM1 OK again\r\nEHLO again\r\n"] {
        rx.extend(more);
        match player.step(rx, tx, record) {
            Ok(_) => record.event(&"went on after an error"),
            Err(error) if record.entries.contains(&Entry::Failed(error.clone())) => {}
            Err(error) => record.entries.push(Entry::Failed(error)),
        }
        record.send(tx);
        record.take_trace(rx, tx);
    }
}
