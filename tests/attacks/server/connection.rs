//! A connection to a server: its machine before and under TLS, its application, and the wire.
//!
//! This module delivers bytes, TLS and time to a server. It knows no protocol and no row.

use std::mem;
use std::time::Duration;

use io_mio::{Deadlines, MachineMut, ServerProtocol};
use mailwire_tests::play::channel;
use proto_mail::{Error, Machine, RecvBuffer, SendBuffer, StartTlsRequest, Upgrade, Wait, WaitFor};

use super::{Application, Clock, PASSWORD, Pace, Service, Way};
use crate::script::{USER, filled};
use crate::splits::Split;
use crate::verdict::{Piece, base64};

/// A connection to a server.
pub(super) struct Connection<A: Application> {
    stage: Stage<A::Protocol>,
    pub(super) application: A,
    pace: Pace,
    rx: RecvBuffer,
    tx: SendBuffer,
    /// The bytes that came in place of a handshake.
    in_place_of_tls: Vec<u8>,
    /// The machine's current wait: its generation and duration.
    waited: (u32, Duration),
    /// Whether the peer reads the server's output.
    pub(super) reads: bool,
    pub(super) closed: bool,
    pub(super) output: Vec<Piece>,
    pub(super) held: usize,
}

/// The stages of a session.
enum Stage<P: ServerProtocol> {
    Cleartext(P::Cleartext),
    /// The client has requested TLS, and has no answer yet.
    Asked(P::Cleartext, StartTlsRequest),
    /// TLS is about to begin.
    Gate(P::Upgrade),
    Secure(P::Secure),
    Gone,
}

impl<A: Application> Connection<A> {
    pub(super) fn open(way: Way, clock: Clock, application: A) -> Self {
        let mut tx = SendBuffer::new();
        let machine = <A::Protocol as ServerProtocol>::open(&A::config(way.service, clock), &mut tx);
        let mut connection = Self {
            stage: Stage::Cleartext(machine),
            application,
            pace: way.pace,
            rx: RecvBuffer::new(),
            tx,
            in_place_of_tls: Vec::new(),
            waited: (0, Duration::ZERO),
            reads: true,
            closed: false,
            output: Vec::new(),
            held: 0,
        };
        connection.settle();
        connection
    }

    /// A connection in this state.
    pub(super) fn at(place: &str, service: Service) -> Self {
        let way = Way { split: Split::Whole, pace: Pace::AtOnce, service };
        let mut connection = Self::open(way, Clock::Usual, A::default());
        let plain = base64(format!("\0{USER}\0{PASSWORD}").as_bytes());
        let values = [
            ("{user}", USER),
            ("{pass}", PASSWORD),
            ("{from}", "alice@example.test"),
            ("{rcpt}", "bob@example.test"),
            ("{mailbox}", "INBOX"),
            ("{plain}", &plain),
        ];
        for (text, answer) in A::preparation(service, place) {
            if text == "TLS" {
                assert!(connection.shake_hands(), "{place}");
                continue;
            }
            let said = connection.say(filled(text, &values).as_bytes(), Split::Whole);
            let said = String::from_utf8_lossy(&said);
            assert!(text.is_empty() || said.lines().any(|line| line.starts_with(answer)), "{place}: {said}");
        }
        connection
    }

    /// Sends a text and returns the server's output.
    pub(super) fn say(&mut self, text: &[u8], split: Split) -> Vec<u8> {
        let before = self.said().len();
        for piece in split.answer(text) {
            self.receive(&piece);
        }
        self.settle();
        self.said().split_off(before)
    }

    /// Whether the session is in order: this command gets exactly this answer, or the session is closed.
    pub(super) fn is_in_step_or_closed(&mut self, text: &str, answer: &str) -> bool {
        let said = self.say(text.as_bytes(), Split::Whole);
        self.closed
            || said.starts_with(answer.as_bytes()) && said.iter().filter(|&&byte| byte == b'\n').count() == 1
    }

    /// Bytes arrive on the wire.
    pub(super) fn receive(&mut self, piece: &[u8]) {
        if self.closed {
            return;
        }
        if matches!(self.stage, Stage::Gate(_)) && self.pace == Pace::AtOnce {
            self.in_place_of_tls.extend(piece);
            if is_no_handshake(&self.in_place_of_tls) {
                self.stage = Stage::Gone;
                self.closed = true;
            }
            return;
        }
        // A driver that checks nothing puts early bytes into the same buffer.
        self.rx.extend(piece);
        if self.pace == Pace::Late {
            self.answer();
        }
        self.pump();
        let held = self.rx.len() + self.application.log().coming.len();
        self.held = self.held.max(held + if self.reads { 0 } else { self.tx.len() });
    }

    /// No more input for now: late answers are given.
    pub(super) fn settle(&mut self) {
        self.pump();
        while !self.closed && self.answer() {
            self.pump();
        }
    }

    /// Handles all pending events.
    fn pump(&mut self) {
        while !self.closed {
            let outcome = self.step();
            let sent = self.send();
            match outcome {
                Ok(moved) if moved || sent => {}
                Ok(_) => break,
                Err(_) => {
                    self.stage = Stage::Gone;
                    self.closed = true;
                }
            }
        }
    }

    /// Handles the next event, or gives an answer if there is none.
    fn step(&mut self) -> Result<bool, Error> {
        let (rx, tx, application) = (&mut self.rx, &mut self.tx, &mut self.application);
        match &mut self.stage {
            Stage::Cleartext(machine) => {
                if let Some(event) = machine.next_event(rx, tx)? {
                    let request = application.cleartext(event);
                    if let Some(request) = request
                        && let Stage::Cleartext(machine) = mem::replace(&mut self.stage, Stage::Gone)
                    {
                        self.stage = Stage::Asked(machine, request);
                    }
                    return Ok(true);
                }
                if machine.is_closed() {
                    self.closed = true;
                } else if machine.wait().awaited == WaitFor::Delay {
                    return machine.timed_out(tx).map(|()| true);
                }
            }
            Stage::Secure(machine) => {
                if let Some(event) = machine.next_event(rx, tx)? {
                    application.secure(event);
                    return Ok(true);
                }
                if machine.is_closed() {
                    self.closed = true;
                } else if machine.wait().awaited == WaitFor::Delay {
                    return machine.timed_out(tx).map(|()| true);
                }
            }
            Stage::Asked(..) | Stage::Gate(_) | Stage::Gone => {}
        }
        Ok(self.pace == Pace::AtOnce && self.answer())
    }

    /// Gives the answer that is owed.
    fn answer(&mut self) -> bool {
        match mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Asked(machine, request) => {
                self.application.log().ask("STARTTLS");
                match <A::Protocol as ServerProtocol>::accept(machine, request, &mut self.tx) {
                    Ok(upgrade) => self.stage = Stage::Gate(upgrade),
                    Err(_) => self.closed = true,
                }
                true
            }
            Stage::Cleartext(mut machine) => {
                let given = self.application.answer(MachineMut::Cleartext(&mut machine), &mut self.tx);
                self.stage = Stage::Cleartext(machine);
                given
            }
            Stage::Secure(mut machine) => {
                let given = self.application.answer(MachineMut::Secure(&mut machine), &mut self.tx);
                self.stage = Stage::Secure(machine);
                given
            }
            other => {
                self.stage = other;
                false
            }
        }
    }

    /// Takes the pending output, if the peer reads.
    pub(super) fn send(&mut self) -> bool {
        if self.tx.is_empty() || !self.reads {
            return false;
        }
        let under_tls = matches!(self.stage, Stage::Secure(_));
        self.output.push(Piece { bytes: self.tx.take(), under_tls });
        true
    }

    /// The client starts TLS. Returns whether TLS is established.
    pub(super) fn shake_hands(&mut self) -> bool {
        self.settle();
        match mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Gate(upgrade) if self.in_place_of_tls.is_empty() => {
                match upgrade.complete(channel(), &mut self.rx) {
                    Ok(machine) => {
                        self.stage = Stage::Secure(machine);
                        self.settle();
                        return true;
                    }
                    Err(_) => self.closed = true,
                }
            }
            Stage::Gate(_) => self.closed = true,
            other => {
                self.stage = other;
                // A server that does not start TLS reads the ClientHello as commands.
                self.receive(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03");
                self.settle();
            }
        }
        false
    }

    /// The peer closes.
    pub(super) fn end(&mut self) {
        self.settle();
        self.rx.close();
        self.settle();
        self.closed = true;
    }

    fn wait(&self) -> Wait {
        match &self.stage {
            Stage::Cleartext(machine) | Stage::Asked(machine, _) => machine.wait(),
            Stage::Secure(machine) => machine.wait(),
            Stage::Gate(_) => Wait::new(WaitFor::TlsHandshake, Deadlines::default().tls, 0),
            Stage::Gone => Wait::forever(WaitFor::Nothing, 0),
        }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, time: Duration) {
        self.settle();
        let wait = self.wait();
        let before = if self.waited.0 == wait.generation { self.waited.1 } else { Duration::ZERO };
        self.waited = (wait.generation, before.saturating_add(time));
        if wait.after.is_none_or(|after| self.waited.1 < after) {
            return;
        }
        let outcome = match &mut self.stage {
            Stage::Cleartext(machine) | Stage::Asked(machine, _) => machine.timed_out(&mut self.tx),
            Stage::Secure(machine) => machine.timed_out(&mut self.tx),
            Stage::Gate(_) | Stage::Gone => {
                self.closed = true;
                Ok(())
            }
        };
        self.send();
        self.closed |= outcome.is_err();
        self.settle();
    }

    pub(super) fn wants_read(&self) -> bool {
        match &self.stage {
            Stage::Cleartext(machine) => machine.wants_read(&self.tx),
            Stage::Secure(machine) => machine.wants_read(&self.tx),
            Stage::Asked(..) | Stage::Gate(_) | Stage::Gone => false,
        }
    }

    pub(super) fn said(&self) -> Vec<u8> {
        self.output.iter().flat_map(|piece| &piece.bytes).copied().collect()
    }
}

/// Whether TLS fails on these bytes: they do not begin a record with a ClientHello.
fn is_no_handshake(bytes: &[u8]) -> bool {
    [(0, 0x16), (1, 3), (5, 1)].iter().any(|&(at, byte)| bytes.get(at).is_some_and(|&found| found != byte))
}
