//! Reading commands and answering them (RFC 9051 §6, §7.1).
//!
//! State first, arguments second: a command that may not be given now is refused before its arguments or its
//! literals are looked at. What is refused is swallowed whole, never obeyed.

use alloc::vec::Vec;

use proto_mail::trace::TraceKind;
use proto_mail::{Error, Limit, Misuse, PeerError, RecvBuffer, SendBuffer, StartTlsRequest};

use super::core::{Core, Expunge, Found, Input, Owed, Phase};
use super::event::{Happened, Reply};
use super::fetch::Writing;
use crate::client::Trust;
use crate::encode;
use crate::frame::{self, FrameStep, LineEnd, LiteralHeader, Sync};
use crate::parse;
use crate::state::{Allowed, Effect, Outcome, State};
use crate::types::command::CommandName;
use crate::types::{Command, Condition, Response, StatusResponse, Tag};

/// Why a command is refused by the machine.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The condition and perhaps a code: `BAD`, `NO [PRIVACYREQUIRED]`.
    condition: &'static str,
    text: &'static str,
}

impl Refusal {
    pub(super) const fn bad(text: &'static str) -> Self {
        Self { condition: "BAD", text }
    }

    pub(super) const fn no(condition: &'static str, text: &'static str) -> Self {
        Self { condition, text }
    }
}

impl Core {
    /// Greets the client.
    pub(super) fn greet(&mut self, tx: &mut SendBuffer) {
        self.phase = Phase::Session(State::NotAuthenticated);
        tx.put(b"* OK [CAPABILITY");
        super::capability::put(self.state(), self.mechanisms(), self.trust, &self.config, tx);
        tx.put(b"] ");
        let name = self.config.server_name.bytes().filter(|octet| matches!(octet, 0x20..=0x7e));
        tx.put(&name.collect::<Vec<u8>>());
        tx.put(b" ready\r\n");
        self.stepped();
    }

    /// Finds the next command, asking for its literals.
    pub(super) fn command_frame(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Found, Error> {
        if self.trust == Trust::Cleartext && self.commands == 0 && matches!(rx.bytes(), [0x16, 0x03, ..]) {
            let farewell = "this port speaks IMAP with STARTTLS, not TLS";
            return Err(self.fail(PeerError::TlsInCleartext.into(), farewell, tx));
        }
        loop {
            let step = self.step(rx, tx)?;
            let end = match step {
                FrameStep::More => return Ok(Found::More),
                FrameStep::Complete(end) | FrameStep::Literal(end, _) | FrameStep::Endless(end, _) => end,
            };
            if end == 2 && self.framer.is_first_line() {
                return self.empty_line(tx);
            }
            let judged = self.judge(end, rx, tx)?;
            let announced = match step {
                FrameStep::Literal(_, announced) => announced,
                FrameStep::Endless(_, Sync::NonSynchronising) => {
                    return Err(self.fail(Limit::Literal.into(), "a literal that long has no end", tx));
                }
                FrameStep::Endless(..) => {
                    let refusal = judged.err().unwrap_or(Refusal::bad("the literal is too long"));
                    return self.refuse_command(end, refusal, tx);
                }
                _ => match judged {
                    Ok(name) => return self.whole_command(end, name, rx, tx),
                    Err(refusal) => return self.refuse_command(end, refusal, tx),
                },
            };
            let refusal = match judged {
                Err(refusal) => refusal,
                Ok(name) => {
                    let line = rx.bytes().get(..end).unwrap_or_default();
                    let is_message = name == CommandName::Append && parse::is_append_payload(line);
                    let takes_it = is_message && announced.size <= self.config.limits.message;
                    if takes_it || (!is_message && name == CommandName::Append && !is_mailbox(line)) {
                        return Ok(Found::Append(end, announced));
                    }
                    match self.literal_refusal(announced) {
                        _ if is_message => Refusal::no("NO [TOOBIG]", "the message is too large"),
                        Some(refusal) => refusal,
                        None => match self.framer.keep(end, announced, &self.config.limits) {
                            Ok(()) => {
                                if announced.sync == Sync::Synchronising {
                                    tx.put(b"+ go on\r\n");
                                }
                                continue;
                            }
                            Err(_) => Refusal::no("NO [LIMIT]", "the command is too long"),
                        },
                    }
                }
            };
            return self.refuse_at_literal(end, announced, refusal, tx);
        }
    }

    /// An empty line between commands, which some clients send behind a literal: it is ignored. Many of them without a
    /// command in between are errors like any other.
    fn empty_line(&mut self, tx: &mut SendBuffer) -> Result<Found, Error> {
        self.consume = 2;
        self.command_ended();
        self.empty_lines = self.empty_lines.saturating_add(1);
        if self.empty_lines >= self.config.limits.errors {
            return Err(self.fail(Limit::Errors.into(), "too many empty lines", tx));
        }
        Ok(Found::Silent)
    }

    /// Whether a literal of a command may come.
    fn literal_refusal(&self, announced: LiteralHeader) -> Option<Refusal> {
        let held = usize::try_from(announced.size).unwrap_or(usize::MAX);
        let authenticated = self.state().is_authenticated();
        if held > self.config.limits.literal || (!authenticated && announced.size > frame::LITERAL_MINUS) {
            return Some(Refusal::no("NO [LIMIT]", "the literal is too long"));
        }
        None
    }

    /// Judges the line that ends at `end` before anything is made of it.
    fn judge(
        &mut self,
        end: usize,
        rx: &RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Result<CommandName, Refusal>, Error> {
        let bytes = rx.bytes().get(..end).unwrap_or_default();
        let line = self.framer.line(bytes);
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        let forbidden = frame::has_forbidden(line);
        if forbidden
            && line.split(|octet| *octet == b'\n').any(|part| announces(part) && part.len() < line.len())
        {
            // Whoever takes the LF for a line end sees a literal here: nobody can say what follows.
            let farewell = "a line end that is none, behind a literal";
            return Err(self.fail(PeerError::ForbiddenByte.into(), farewell, tx));
        }
        if self.framer.is_first_line() {
            self.begin_command(bytes);
            self.count_command(tx)?;
        }
        if forbidden {
            return Ok(Err(Refusal::bad("CR, LF and NUL cannot stand in a line")));
        }
        if self.tag.is_empty() {
            return Ok(Err(Refusal::bad("a command begins with a tag")));
        }
        let name = parse::command_name(bytes).map_or(CommandName::Other, |(_, name, _)| name);
        if name != CommandName::Other && !self.awaits_identity && self.framer.is_first_line() {
            self.tag_is = TraceKind::Text;
        }
        self.awaits_identity |= matches!(name, CommandName::Login | CommandName::Authenticate);
        if let (CommandName::Other, Phase::Session(State::NotAuthenticated)) = (name, self.phase)
            && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
        {
            return Err(self.fail(PeerError::Malformed.into(), "this is no web server", tx));
        }
        Ok(self.allows(name).map_or(Ok(name), Err))
    }

    /// Why the command of this name may not be given now.
    fn allows(&self, name: CommandName) -> Option<Refusal> {
        let Some(allowed) = Allowed::of(name) else { return Some(Refusal::bad("there is no such command")) };
        let state = self.state();
        match name {
            CommandName::StartTls if self.trust == Trust::Secure => {
                return Some(Refusal::bad("TLS is in place"));
            }
            CommandName::Login | CommandName::Authenticate
                if self.trust == Trust::Cleartext && state == State::NotAuthenticated =>
            {
                return Some(Refusal::no("NO [PRIVACYREQUIRED]", "begin TLS first: STARTTLS"));
            }
            _ => {}
        }
        if allowed.holds_in(state) {
            return None;
        }
        Some(Refusal::bad(match allowed {
            Allowed::NotAuthenticated => "you have authenticated",
            Allowed::Selected if state.is_authenticated() => "select a mailbox first",
            _ => "authenticate first",
        }))
    }

    /// Remembers the tag.
    fn begin_command(&mut self, bytes: &[u8]) {
        let tag = bytes.split(|octet| matches!(octet, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
        self.empty_lines = 0;
        self.tag.clear();
        self.tag_is = TraceKind::Unknown;
        if tag.len() <= 256 && Tag::new(tag).is_ok() {
            self.tag.extend_from_slice(tag);
        }
    }

    /// A whole command that may be given now: those that are the machine's own are dealt with here.
    fn whole_command(
        &mut self,
        len: usize,
        name: CommandName,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        match name {
            CommandName::Login | CommandName::Authenticate => {
                self.tell(len, rx);
                let found = self.identity_command(len, rx, tx);
                rx.consume_wiping(len);
                self.framer.reset();
                self.command_ended();
                found
            }
            CommandName::StartTls => {
                let bytes = rx.bytes().get(..len).unwrap_or_default();
                let behind = rx.len() > len;
                if parse::no_arguments(bytes, &self.context).is_err() {
                    return self.refuse_command(len, Refusal::bad("STARTTLS has no arguments"), tx);
                }
                if behind {
                    let farewell = "nothing may stand behind STARTTLS";
                    return Err(self.fail(PeerError::PlaintextAfterStartTls.into(), farewell, tx));
                }
                self.tell(len, rx);
                rx.consume(len);
                self.framer.reset();
                self.owed = Owed::StartTls;
                let request = StartTlsRequest::new(self.next_serial());
                Ok(Found::Happened(Happened::StartTls(request)))
            }
            CommandName::Capability | CommandName::Logout | CommandName::Idle | CommandName::Enable => {
                self.own_command(len, rx, tx)
            }
            _ => Ok(Found::Command(len)),
        }
    }

    /// A command that the machine carries out.
    fn own_command(&mut self, len: usize, rx: &RecvBuffer, tx: &mut SendBuffer) -> Result<Found, Error> {
        let bytes = rx.bytes().get(..len).unwrap_or_default();
        let Ok((_, command)) = parse::command(bytes, &self.context) else {
            return self.refuse_command(len, Refusal::bad("the command has no such arguments"), tx);
        };
        match command {
            Command::Capability => {
                tx.put(b"* CAPABILITY");
                super::capability::put(self.state(), self.mechanisms(), self.trust, &self.config, tx);
                tx.put(b"\r\n");
                self.put_tagged("OK", "CAPABILITY completed", tx);
            }
            Command::Logout => {
                tx.put(b"* BYE good-bye\r\n");
                self.put_tagged("OK", "LOGOUT completed", tx);
                self.phase = Phase::Leaving;
            }
            Command::Enable(names) => {
                tx.put(b"* ENABLED");
                for name in names.iter() {
                    let known = self.config.enableable.iter().find(|known| name.is(known));
                    let Some(known) = known else { continue };
                    tx.put(b" ");
                    tx.put(known.as_bytes());
                    if !super::is_listed(&self.enabled, known) {
                        self.enabled.extend_from_slice(known.as_bytes());
                        self.enabled.push(b' ');
                    }
                }
                tx.put(b"\r\n");
                self.put_tagged("OK", "ENABLE completed", tx);
            }
            Command::Idle => {
                tx.put(b"+ idling\r\n");
                self.consume = len;
                self.command_ended();
                self.input = Input::Idle;
                self.owed = Owed::Idle;
                self.expunge = Expunge::Allowed;
                let reply = Reply { serial: self.next_serial() };
                return Ok(Found::Happened(Happened::Idle(reply)));
            }
            _ => return self.refuse_command(len, Refusal::bad("the command has no such arguments"), tx),
        }
        self.consume = len;
        self.command_ended();
        Ok(Found::Silent)
    }

    /// A command for the application.
    pub(super) fn command<'i>(
        &mut self,
        bytes: &'i [u8],
        tx: &mut SendBuffer,
    ) -> Result<Happened<'i>, Error> {
        self.consume = bytes.len();
        self.command_ended();
        match parse::command(bytes, &self.context) {
            Ok((_, command)) => {
                let name = command.name();
                self.owed = Owed::Reply(Effect::of(name));
                self.expunge = match name {
                    CommandName::Fetch | CommandName::Store | CommandName::Search => Expunge::Forbidden,
                    _ => Expunge::Allowed,
                };
                Ok(Happened::Command(Reply { serial: self.next_serial() }, command))
            }
            Err(unparsed) => {
                // A limit is told by its code (RFC 9051 §7.1).
                let code = if unparsed.why == parse::TOO_DEEP { "[LIMIT] " } else { "" };
                self.put_bad(&format_args!("{code}{unparsed}"), tx)?;
                Ok(Happened::Unparsed(unparsed))
            }
        }
    }

    /// A line end instead of DONE, or DONE.
    pub(super) fn idle_line(
        &mut self,
        end: usize,
        rx: &RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        let line = rx.bytes().get(..end).unwrap_or_default();
        if !line.eq_ignore_ascii_case(b"DONE\r\n") {
            return Err(self.fail(PeerError::Malformed.into(), "DONE was expected", tx));
        }
        self.input = Input::Command;
        Ok(Found::Happened(Happened::Done))
    }

    /// Counts a command of somebody who has not authenticated.
    fn count_command(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if self.state() == State::NotAuthenticated {
            self.commands = self.commands.saturating_add(1);
            if self.commands > self.config.limits.commands_before_auth {
                let farewell = "too many commands without authentication";
                return Err(self.fail(Limit::CommandsBeforeAuth.into(), farewell, tx));
            }
        }
        Ok(())
    }

    /// Refuses a command whose octets end here.
    pub(super) fn refuse_command(
        &mut self,
        len: usize,
        refusal: Refusal,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        self.consume = len;
        self.command_ended();
        self.put_refusal(&refusal, tx)?;
        Ok(Found::Silent)
    }

    /// Refuses a command at a literal. One that the client sends without asking is swallowed first.
    pub(super) fn refuse_at_literal(
        &mut self,
        len: usize,
        announced: LiteralHeader,
        refusal: Refusal,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        if announced.sync == Sync::Synchronising {
            return self.refuse_command(len, refusal, tx);
        }
        self.consume = len;
        self.command_ended();
        self.count_error(&refusal, tx)?;
        self.refusal = self.line(refusal.condition, refusal.text);
        self.input = Input::Refused(announced.size);
        Ok(Found::Silent)
    }

    /// The line behind a literal of a refused command: the end of it, or another literal.
    pub(super) fn refused_line(&mut self, announced: Option<LiteralHeader>, tx: &mut SendBuffer) -> Found {
        if let Some(LiteralHeader { size, sync: Sync::NonSynchronising, .. }) = announced {
            self.input = Input::Refused(size);
            return Found::Silent;
        }
        let refusal = core::mem::take(&mut self.refusal);
        let (tag, rest) = refusal.split_at(self.shown_tag().len().min(refusal.len()));
        tx.put_as(tag, self.tag_is);
        tx.put(rest);
        self.input = Input::Command;
        Found::Silent
    }

    pub(super) fn put_refusal(&mut self, refusal: &Refusal, tx: &mut SendBuffer) -> Result<(), Error> {
        self.put_tagged(refusal.condition, refusal.text, tx);
        self.count_error(refusal, tx)
    }

    /// Refuses a command that makes no sense.
    pub(super) fn put_bad(&mut self, why: &dyn core::fmt::Display, tx: &mut SendBuffer) -> Result<(), Error> {
        // What is shown of the command is an atom: no CR, no LF, no NUL.
        tx.put_as(self.shown_tag(), self.tag_is);
        tx.put(b" BAD ");
        tx.put_as(alloc::format!("{why}").as_bytes(), TraceKind::Unknown);
        tx.put(b"\r\n");
        self.count_error(&Refusal::bad(""), tx)
    }

    pub(super) fn count_error(&mut self, refusal: &Refusal, tx: &mut SendBuffer) -> Result<(), Error> {
        if refusal.condition == "BAD" {
            self.errors = self.errors.saturating_add(1);
            if self.errors >= self.config.limits.errors {
                return Err(self.fail(Limit::Errors.into(), "too many errors", tx));
            }
        }
        Ok(())
    }

    fn shown_tag(&self) -> &[u8] {
        if self.tag.is_empty() { b"*" } else { &self.tag }
    }

    /// A tagged line of the machine's own making.
    pub(super) fn line(&self, condition: &str, text: &str) -> Vec<u8> {
        let mut line = self.shown_tag().to_vec();
        for part in [" ", condition, " ", text, "\r\n"] {
            line.extend_from_slice(part.as_bytes());
        }
        line
    }

    pub(super) fn put_tagged(&self, condition: &str, text: &str, tx: &mut SendBuffer) {
        tx.put_as(self.shown_tag(), self.tag_is);
        for part in [" ", condition, " ", text, "\r\n"] {
            tx.put(part.as_bytes());
        }
    }

    /// The application answers a command.
    pub(super) fn reply(
        &mut self,
        reply: &Reply,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.check(reply.serial)?;
        let outcome = outcome(status)?;
        let effect = match (&self.owed, &self.input) {
            (Owed::Reply(effect), _) => *effect,
            (Owed::Idle, Input::Command) => Effect::None,
            (Owed::Idle, _) => return Err(Misuse::WrongState.into()),
            _ => return Err(Misuse::StaleToken.into()),
        };
        self.put_status(status, tx)?;
        self.refusals.count(outcome);
        if let Phase::Session(state) = self.phase {
            self.phase = Phase::Session(state.after(effect, outcome));
        }
        self.owed = Owed::Nothing;
        self.expunge = Expunge::Forbidden;
        self.command_ended();
        Ok(())
    }

    /// Writes the answer under the tag of the command in progress.
    pub(super) fn put_status(
        &mut self,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        if self.writing != Writing::Nothing {
            return Err(Misuse::WrongLength.into());
        }
        let tag = Tag::new(&self.tag).map_err(|_| Misuse::WrongState)?;
        let response = Response::Tagged { tag, status: *status };
        if self.tag_is == TraceKind::Text {
            encode::response(&response, tx);
            return Ok(());
        }
        let mut line = SendBuffer::new();
        encode::response(&response, &mut line);
        let line = line.take();
        let (tag, rest) = line.split_at(self.tag.len().min(line.len()));
        tx.put_as(tag, self.tag_is);
        tx.put(rest);
        Ok(())
    }

    /// Whether a token of this number answers what is open now.
    pub(super) fn check(&self, serial: u32) -> Result<(), Error> {
        match self.phase {
            Phase::Failed(error) => Err(error),
            Phase::Session(_) if serial == self.serial => Ok(()),
            _ => Err(Misuse::StaleToken.into()),
        }
    }
}

/// Whether the literal that ends this APPEND is its mailbox's name.
fn is_mailbox(line: &[u8]) -> bool {
    matches!(parse::command_name(line), Ok((_, _, [b' ', b'{', ..])))
        && memchr::memchr(b'\n', line).is_some_and(|end| end + 1 == line.len())
}

/// How a command ends, by its status: only OK, NO and BAD end one.
pub(super) fn outcome(status: &StatusResponse<'_>) -> Result<Outcome, Error> {
    match status.condition {
        Condition::Ok => Ok(Outcome::Success),
        Condition::No => Ok(Outcome::Failure),
        Condition::Bad => Ok(Outcome::Refused),
        Condition::PreAuth | Condition::Bye => Err(Misuse::WrongState.into()),
    }
}

/// Whether a line, taken by itself, announces a literal.
fn announces(part: &[u8]) -> bool {
    frame::ending(part.strip_suffix(b"\r").unwrap_or(part)) != LineEnd::Plain
}
