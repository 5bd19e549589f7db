//! Drives one machine of either protocol through a conversation: bytes in, output and events out, and the upgrade to
//! TLS.
//!
//! This module knows the two roles of a driver. `imap` and `smtp` know the meaning of actions.

use std::time::Duration;

use io_mio::{ClientProtocol, ServerProtocol};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{Error, Machine, RecvBuffer, Secure, SendBuffer, StartTlsRequest, Upgrade, WaitFor};

use crate::Cut;

/// A machine with its buffers.
pub(crate) trait Role {
    /// The connection is open.
    fn start(&mut self);
    /// The peer sends bytes; `goes_on` if the next line is in the same segment.
    fn hear(&mut self, bytes: &[u8], cut: Cut, goes_on: bool);
    /// The application does something.
    fn act(&mut self, action: &str, more: &[&str]) -> Result<(), String>;
    /// The handshake is done.
    fn upgrade(&mut self) -> Result<(), String>;
    /// The peer closes the connection.
    fn closed(&mut self);
    /// The results so far.
    fn notes(&mut self) -> &mut Notes;
    /// Whether the results may still change without a call, so long after the last one. Waits a moment then.
    fn may_change(&mut self, _since: Duration) -> bool {
        false
    }
}

/// What an application receives.
pub(crate) enum Seen {
    Event(String),
    /// Bytes of a body or message.
    Payload(Vec<u8>),
}

/// Results that were not checked yet.
#[derive(Default)]
pub(crate) struct Notes {
    output: Vec<u8>,
    events: Vec<String>,
    payload: Vec<u8>,
}

impl Notes {
    /// Adds output.
    pub(crate) fn sent(&mut self, bytes: Vec<u8>) {
        self.output.extend(bytes);
    }

    pub(crate) fn note(&mut self, seen: Seen) {
        match seen {
            Seen::Event(event) => self.events.push(event),
            Seen::Payload(bytes) => self.payload.extend(bytes),
        }
    }

    /// Checks that the next line of output is this one.
    pub(crate) fn says(&mut self, line: &str) -> Result<(), String> {
        next_line(&mut self.output, line, "it should say")
            .map_err(|why| format!("{why}; it saw {:?}", self.events))
    }

    /// Checks that the next line of a body or message is this one.
    pub(crate) fn given(&mut self, line: &str) -> Result<(), String> {
        next_line(&mut self.payload, line, "it should be given")
    }

    /// Checks that an event that begins so was received.
    pub(crate) fn sees(&mut self, event: &str) -> Result<(), String> {
        let found = self.events.iter().position(|seen| seen.starts_with(event));
        let found =
            found.ok_or_else(|| format!("expected the event {event:?}, received {:?}", self.events))?;
        self.events.drain(..=found);
        Ok(())
    }

    /// Checks that there is no further output.
    pub(crate) fn all_said(&self) -> Result<(), String> {
        match self.output.as_slice() {
            [] => Ok(()),
            output => Err(format!("unexpected output: \"{}\"", output.escape_ascii())),
        }
    }

    pub(crate) fn end(&self) -> Result<(), String> {
        match self.payload.as_slice() {
            [] => self.all_said(),
            payload => Err(format!("unexpected body line: \"{}\"", payload.escape_ascii())),
        }
    }
}

fn next_line(bytes: &mut Vec<u8>, line: &str, should: &str) -> Result<(), String> {
    let expected = [line.as_bytes(), b"\r\n"].concat();
    if bytes.starts_with(&expected) {
        bytes.drain(..expected.len());
        return Ok(());
    }
    let found = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let found = if found.is_empty() { "nothing".into() } else { format!("\"{}\"", found.escape_ascii()) };
    Err(format!("{should} {line:?}, found {found}"))
}

/// Bytes on their way to a machine.
#[derive(Default)]
struct Wire {
    rx: RecvBuffer,
    tx: SendBuffer,
    /// Lines of an incomplete segment.
    segment: Vec<u8>,
}

impl Wire {
    /// The segments that arrive now.
    fn arrive(&mut self, bytes: &[u8], cut: Cut, goes_on: bool) -> Vec<Vec<u8>> {
        match cut {
            Cut::Bytes => bytes.iter().map(|byte| vec![*byte]).collect(),
            Cut::Whole => {
                self.segment.extend_from_slice(bytes);
                if goes_on { Vec::new() } else { vec![std::mem::take(&mut self.segment)] }
            }
        }
    }
}

/// The next event, and the result of `look`.
fn step<M: Machine, T>(
    machine: &mut M,
    wire: &mut Wire,
    look: impl FnOnce(M::Event<'_>) -> T,
) -> Result<Option<T>, Error> {
    let Wire { rx, tx, .. } = wire;
    let seen = machine.next_event(rx, tx)?.map(look);
    if seen.is_none() && machine.wait().awaited == WaitFor::Delay {
        machine.timed_out(tx)?;
    }
    Ok(seen)
}

/// A client's machine, and its application's actions.
pub(crate) trait ClientMachine: Machine + Send {
    fn look(event: Self::Event<'_>) -> Seen;
    fn act(&mut self, action: &str, more: &[&str], tx: &mut SendBuffer) -> Result<(), String>;
}

pub(crate) struct ClientRole<P: ClientProtocol> {
    state: ClientState<P>,
    wire: Wire,
    notes: Notes,
}

enum ClientState<P: ClientProtocol> {
    Cleartext(P::Cleartext),
    Asked(P::Negotiation),
    Agreed(P::Upgrade),
    Secure(P::Secure),
    Over,
}

impl<P: ClientProtocol<Cleartext: ClientMachine, Secure: ClientMachine>> ClientRole<P> {
    pub(crate) fn new(config: &P::Config, cleartext: bool) -> Self {
        let mut wire = Wire::default();
        let state = if cleartext {
            ClientState::Cleartext(P::open(config, &mut wire.tx))
        } else {
            ClientState::Secure(P::open_secure(config, Secure::trusted_local(), &mut wire.tx))
        };
        Self { state, wire, notes: Notes::default() }
    }

    fn pump(&mut self) {
        loop {
            let seen = match &mut self.state {
                ClientState::Cleartext(machine) => step(machine, &mut self.wire, P::Cleartext::look),
                ClientState::Secure(machine) => step(machine, &mut self.wire, P::Secure::look),
                ClientState::Asked(_) => self.advance(),
                ClientState::Agreed(_) | ClientState::Over => Ok(None),
            };
            let sent = self.wire.tx.take();
            let quiet = sent.is_empty();
            self.notes.output.extend(sent);
            match seen {
                Ok(Some(seen)) => self.notes.note(seen),
                Ok(None) if quiet => return,
                Ok(None) => {}
                Err(error) => {
                    self.notes.events.push(format!("{error:?}"));
                    self.state = ClientState::Over;
                }
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Seen>, Error> {
        let ClientState::Asked(negotiation) = std::mem::replace(&mut self.state, ClientState::Over) else {
            return Ok(None);
        };
        let (state, seen) = match negotiation.advance(&mut self.wire.rx, &mut self.wire.tx)? {
            Negotiation::Pending(negotiation) => (ClientState::Asked(negotiation), None),
            Negotiation::Refused(machine) => (ClientState::Cleartext(machine), Some("StartTls refused")),
            Negotiation::Ready(upgrade) => (ClientState::Agreed(upgrade), Some("StartTls agreed")),
        };
        self.state = state;
        Ok(seen.map(|seen| Seen::Event(seen.into())))
    }
}

impl<P: ClientProtocol<Cleartext: ClientMachine, Secure: ClientMachine>> Role for ClientRole<P> {
    fn start(&mut self) {
        self.pump();
    }

    fn hear(&mut self, bytes: &[u8], cut: Cut, goes_on: bool) {
        for piece in self.wire.arrive(bytes, cut, goes_on) {
            self.wire.rx.extend(&piece);
            self.pump();
        }
    }

    fn act(&mut self, action: &str, more: &[&str]) -> Result<(), String> {
        let said = |error: Error| format!("{error:?}");
        match std::mem::replace(&mut self.state, ClientState::Over) {
            ClientState::Cleartext(machine) if action == "starttls" => {
                self.state = ClientState::Asked(P::starttls(machine, &mut self.wire.tx).map_err(said)?);
            }
            ClientState::Cleartext(mut machine) => {
                let acted = machine.act(action, more, &mut self.wire.tx);
                self.state = ClientState::Cleartext(machine);
                acted?;
            }
            ClientState::Secure(mut machine) => {
                let acted = machine.act(action, more, &mut self.wire.tx);
                self.state = ClientState::Secure(machine);
                acted?;
            }
            _ => return Err(format!("the session is over or upgrading: {:?}", self.notes.events)),
        }
        self.pump();
        Ok(())
    }

    fn upgrade(&mut self) -> Result<(), String> {
        let ClientState::Agreed(upgrade) = std::mem::replace(&mut self.state, ClientState::Over) else {
            return Err(format!("STARTTLS was not accepted: {:?}", self.notes.events));
        };
        let machine = upgrade.complete(Secure::trusted_local(), &mut self.wire.rx);
        self.state = ClientState::Secure(machine.map_err(|error| format!("{error:?}"))?);
        self.pump();
        Ok(())
    }

    fn closed(&mut self) {
        self.wire.rx.close();
        self.pump();
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}

/// A server's machine, and its application's answers.
pub(crate) trait ServerMachine: Machine + Send {
    /// What must be answered.
    type Token: Send + 'static;

    fn look(event: Self::Event<'_>) -> (Seen, Option<Asked<Self::Token>>);

    /// Answers, or sends something and returns the token.
    fn answer(
        &mut self,
        token: Option<Self::Token>,
        action: &str,
        more: &[&str],
        tx: &mut SendBuffer,
    ) -> Result<Option<Self::Token>, String>;

    /// Refuses STARTTLS.
    fn refuse(&mut self, _: StartTlsRequest, _: &mut SendBuffer) -> Result<(), String> {
        Err("there is no STARTTLS under TLS".into())
    }
}

pub(crate) enum Asked<T> {
    StartTls(StartTlsRequest),
    Other(T),
}

pub(crate) struct ServerRole<P: ServerProtocol>
where
    P::Cleartext: ServerMachine,
    P::Secure: ServerMachine,
{
    state: ServerState<P>,
    cleartext_token: Option<Asked<<P::Cleartext as ServerMachine>::Token>>,
    token: Option<<P::Secure as ServerMachine>::Token>,
    wire: Wire,
    notes: Notes,
}

enum ServerState<P: ServerProtocol> {
    Cleartext(P::Cleartext),
    Agreed(P::Upgrade),
    Secure(P::Secure),
    Over,
}

impl<P: ServerProtocol<Cleartext: ServerMachine, Secure: ServerMachine>> ServerRole<P> {
    pub(crate) fn new(config: &P::Config, cleartext: bool) -> Self {
        let mut wire = Wire::default();
        let state = if cleartext {
            ServerState::Cleartext(P::open(config, &mut wire.tx))
        } else {
            ServerState::Secure(P::open_secure(config, Secure::trusted_local(), &mut wire.tx))
        };
        Self { state, cleartext_token: None, token: None, wire, notes: Notes::default() }
    }

    fn pump(&mut self) {
        loop {
            let happened = match &mut self.state {
                ServerState::Cleartext(machine) => {
                    step(machine, &mut self.wire, P::Cleartext::look).map(|happened| {
                        happened.map(|(seen, token)| {
                            self.cleartext_token = token.or(self.cleartext_token.take());
                            seen
                        })
                    })
                }
                ServerState::Secure(machine) => {
                    step(machine, &mut self.wire, P::Secure::look).map(|happened| {
                        happened.map(|(seen, token)| {
                            if let Some(Asked::Other(token)) = token {
                                self.token = Some(token);
                            }
                            seen
                        })
                    })
                }
                ServerState::Agreed(_) | ServerState::Over => Ok(None),
            };
            let sent = self.wire.tx.take();
            let quiet = sent.is_empty();
            self.notes.output.extend(sent);
            match happened {
                Ok(Some(seen)) => self.notes.note(seen),
                Ok(None) if quiet => return,
                Ok(None) => {}
                Err(error) => {
                    self.notes.events.push(format!("{error:?}"));
                    self.state = ServerState::Over;
                }
            }
        }
    }

    fn act_cleartext(
        &mut self,
        mut machine: P::Cleartext,
        action: &str,
        more: &[&str],
    ) -> Result<(), String> {
        let tx = &mut self.wire.tx;
        match (self.cleartext_token.take(), action) {
            (Some(Asked::StartTls(request)), "accept") => {
                let upgrade = P::accept(machine, request, tx).map_err(|error| format!("{error:?}"))?;
                self.state = ServerState::Agreed(upgrade);
                return Ok(());
            }
            (Some(Asked::StartTls(request)), _) => machine.refuse(request, tx)?,
            (Some(Asked::Other(token)), _) => {
                self.cleartext_token = machine.answer(Some(token), action, more, tx)?.map(Asked::Other);
            }
            (None, _) => drop(machine.answer(None, action, more, tx)?),
        }
        self.state = ServerState::Cleartext(machine);
        Ok(())
    }
}

impl<P: ServerProtocol<Cleartext: ServerMachine, Secure: ServerMachine>> Role for ServerRole<P> {
    fn start(&mut self) {
        self.pump();
    }

    fn hear(&mut self, bytes: &[u8], cut: Cut, goes_on: bool) {
        for piece in self.wire.arrive(bytes, cut, goes_on) {
            self.wire.rx.extend(&piece);
            self.pump();
        }
    }

    fn act(&mut self, action: &str, more: &[&str]) -> Result<(), String> {
        match std::mem::replace(&mut self.state, ServerState::Over) {
            ServerState::Cleartext(machine) => self.act_cleartext(machine, action, more)?,
            ServerState::Secure(mut machine) => {
                self.token = machine.answer(self.token.take(), action, more, &mut self.wire.tx)?;
                self.state = ServerState::Secure(machine);
            }
            _ => return Err(format!("the session is over or upgrading: {:?}", self.notes.events)),
        }
        self.pump();
        Ok(())
    }

    fn upgrade(&mut self) -> Result<(), String> {
        let ServerState::Agreed(upgrade) = std::mem::replace(&mut self.state, ServerState::Over) else {
            return Err(format!("STARTTLS was not accepted: {:?}", self.notes.events));
        };
        let machine = upgrade.complete(Secure::trusted_local(), &mut self.wire.rx);
        self.state = ServerState::Secure(machine.map_err(|error| format!("{error:?}"))?);
        self.pump();
        Ok(())
    }

    fn closed(&mut self) {
        self.wire.rx.close();
        self.pump();
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}
