//! Receives commands: which are allowed in which state, and which the machine carries out itself (RFC 9051 §6).
//!
//! The state is checked before the arguments: a command that is not allowed is rejected before its arguments or
//! literals are parsed. A rejected command is discarded completely and never parsed as other commands.

use alloc::sync::Arc;

use proto_mail::{Error, Limit, PeerError, RecvBuffer, SendBuffer, StartTlsRequest};

use super::compression::Compression;
use super::event::{CompressRequest, CoreEvent, Reply};
use super::expunges::Expunges;
use super::refusal::Refusal;
use super::session::{Found, Session, Turn};
use crate::append::elements;
use crate::client::Trust;
use crate::frame::{self, FrameStep, LineEnd, LiteralHeader, Sync};
use crate::grammar::Expected;
use crate::parse::{self, UnparsedCommand};
use crate::required_capabilities::is_command_offered;
use crate::state::{Allowed, Effect, State};
use crate::types::{Command, CommandName, FetchModifier, SelectParameter};
use crate::uid_only::{names_sequence_numbers, uses_sequence_numbers};

/// The capability of RFC 9586.
pub(super) const UID_ONLY: &str = "UIDONLY";

/// The capability of RFC 7162 §3.2.
pub(super) const QRESYNC: &str = "QRESYNC";

const UIDS_ONLY: &str = "the client has enabled UIDONLY: use UIDs";

const SELECT_FIRST: &str = "select a mailbox first";

impl Session {
    /// Finds the next command, and asks for its literals.
    pub(super) fn next_command(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Found, Error> {
        if self.trust == Trust::Cleartext
            && self.counters.commands_before_login == 0
            && matches!(rx.bytes(), [0x16, 0x03, ..])
        {
            let farewell = "this port speaks IMAP with STARTTLS, not TLS";
            return Err(self.fail(PeerError::TlsInCleartext.into(), farewell, tx));
        }
        loop {
            let step = match self.reader.framer.step(rx, self.config.limits.line, self.config.limits.frame) {
                Err(Limit::Line) => return self.begin_long_line(rx, tx),
                Err(limit) => return Err(self.fail(limit.into(), "a command is too long", tx)),
                Ok(step) => step,
            };
            let end = match step {
                FrameStep::More => return Ok(Found::More),
                FrameStep::Complete(end) | FrameStep::Literal(end, _) | FrameStep::Endless(end, _) => end,
            };
            if end == 2 && self.reader.framer.is_first_line() {
                return self.empty_line(tx);
            }
            let checked = self.check_line(end, rx, tx)?;
            let announced = match step {
                FrameStep::Literal(_, announced) => announced,
                FrameStep::Endless(_, Sync::NonSynchronising) => {
                    return Err(self.fail(
                        Limit::Literal.into(),
                        "the literal is larger than the limit to skip",
                        tx,
                    ));
                }
                FrameStep::Endless(..) => {
                    let refusal =
                        checked.err().unwrap_or(Refusal::bad("the literal is larger than the limit"));
                    return self.refuse_command(end, refusal, tx);
                }
                _ => match checked {
                    Ok(name) => return self.whole_command(end, name, rx, tx),
                    Err(refusal) => return self.refuse_command(end, refusal, tx),
                },
            };
            let refusal = match checked {
                Err(refusal) => refusal,
                Ok(name) => {
                    let line = rx.bytes().get(..end).unwrap_or_default();
                    if is_append(name) && !elements::announces_mailbox(line) {
                        return Ok(Found::Append(end, Some(announced)));
                    }
                    match self.literal_refusal(announced) {
                        Some(refusal) => refusal,
                        None => match self.reader.framer.keep(end, announced, &self.config.limits) {
                            Ok(()) => {
                                if announced.sync == Sync::Synchronising {
                                    tx.put(b"+ go on\r\n");
                                }
                                continue;
                            }
                            Err(_) => Refusal::no("NO [LIMIT]", "the command is larger than the limit"),
                        },
                    }
                }
            };
            return self.refuse_at_literal(end, announced, refusal, tx);
        }
    }

    /// Ignores an empty line between commands, because some clients send one after a literal. Too many empty lines in
    /// a row count as an error.
    fn empty_line(&mut self, tx: &mut SendBuffer) -> Result<Found, Error> {
        self.reader.borrowed = 2;
        self.command_ended();
        self.counters.empty_lines = self.counters.empty_lines.saturating_add(1);
        if self.counters.empty_lines >= self.config.limits.errors {
            return Err(self.fail(Limit::Errors.into(), "too many empty lines", tx));
        }
        Ok(Found::Silent)
    }

    /// Returns why a literal of a command is rejected; `None` if it is accepted.
    pub(super) fn literal_refusal(&self, announced: LiteralHeader) -> Option<Refusal> {
        let held = usize::try_from(announced.size).unwrap_or(usize::MAX);
        let authenticated = self.state.is_authenticated();
        if held > self.config.limits.literal || (!authenticated && announced.size > frame::LITERAL_MINUS) {
            return Some(Refusal::no("NO [LIMIT]", "the literal is larger than the limit"));
        }
        None
    }

    /// Checks the line that ends at `end`, before it is parsed.
    fn check_line(
        &mut self,
        end: usize,
        rx: &RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Result<CommandName, Refusal>, Error> {
        let bytes = rx.bytes().get(..end).unwrap_or_default();
        let line = self.reader.framer.line(bytes);
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        let forbidden = frame::has_forbidden(line);
        if forbidden
            && line.split(|byte| *byte == b'\n').any(|part| announces(part) && part.len() < line.len())
        {
            // A client that takes the LF for a line end sees a literal here, so the meaning of the following bytes is
            // ambiguous.
            let farewell = "a bare LF after the announcement of a literal";
            return Err(self.fail(PeerError::ForbiddenByte.into(), farewell, tx));
        }
        if self.reader.framer.is_first_line() {
            self.counters.empty_lines = 0;
            self.tag.begin(bytes);
            self.count_command(tx)?;
        }
        if forbidden {
            return Ok(Err(Refusal::bad("CR, LF and NUL are not allowed in a command line")));
        }
        if self.tag.is_empty() {
            return Ok(Err(Refusal::bad("a command must begin with a tag")));
        }
        let name = parse::command_name(bytes).map_or(CommandName::Other, |(_, name, _)| name);
        if self.reader.framer.is_first_line() {
            self.tag.show_for(name);
        }
        self.tag.named(name);
        if name == CommandName::Other
            && self.state == State::NotAuthenticated
            && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
        {
            return Err(self.fail(
                PeerError::Malformed.into(),
                "this is an IMAP server, not a web server",
                tx,
            ));
        }
        Ok(self.allows(name).map_or(Ok(name), Err))
    }

    /// Returns why the command of this name is not allowed now; `None` if it is allowed.
    fn allows(&self, name: CommandName) -> Option<Refusal> {
        let unknown = Some(Refusal::bad("unknown command"));
        let Some(allowed) = Allowed::of(name) else { return unknown };
        if !is_command_offered(name, |capability| self.config.offers(capability)) {
            return unknown;
        }
        let state = self.state;
        match name {
            // No credentials are compressed, so a compressed session keeps its login.
            CommandName::Unauthenticate if self.compression != Compression::Off => {
                return Some(Refusal::bad("the session is compressed"));
            }
            CommandName::StartTls if self.trust == Trust::Secure => {
                return Some(Refusal::bad("TLS is already active"));
            }
            CommandName::Login | CommandName::Authenticate
                if self.trust == Trust::Cleartext && state == State::NotAuthenticated =>
            {
                return Some(Refusal::no("NO [PRIVACYREQUIRED]", "use STARTTLS first"));
            }
            _ => {}
        }
        if self.is_enabled(UID_ONLY) && uses_sequence_numbers(name) {
            return Some(Refusal::no("BAD [UIDREQUIRED]", UIDS_ONLY));
        }
        if allowed.holds_in(state) {
            return None;
        }
        Some(Refusal::bad(match allowed {
            Allowed::NotAuthenticated => "already authenticated",
            Allowed::Selected if state.is_authenticated() => SELECT_FIRST,
            _ => "authenticate first",
        }))
    }

    /// Handles a complete command that is allowed. Carries out the machine's own commands.
    fn whole_command(
        &mut self,
        len: usize,
        name: CommandName,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        match name {
            CommandName::Login | CommandName::Authenticate => {
                self.trace(len, rx);
                let found = self.identity_command(len, rx, tx);
                rx.consume_wiping(len);
                self.reader.framer.reset();
                self.command_ended();
                found
            }
            CommandName::StartTls => {
                let bytes = rx.bytes().get(..len).unwrap_or_default();
                let behind = rx.len() > len;
                if parse::no_arguments(bytes, &self.context).is_err() {
                    return self.refuse_command(len, Refusal::bad("STARTTLS takes no arguments"), tx);
                }
                if behind {
                    let farewell = "no bytes may follow STARTTLS before TLS begins";
                    return Err(self.fail(PeerError::PlaintextAfterStartTls.into(), farewell, tx));
                }
                self.trace(len, rx);
                rx.consume(len);
                self.reader.framer.reset();
                self.turn = Turn::StartTls;
                let request = StartTlsRequest::new(self.tokens.issue());
                Ok(Found::Event(CoreEvent::StartTls(request)))
            }
            CommandName::Compress => self.compress_command(len, rx, tx),
            CommandName::Capability | CommandName::Logout | CommandName::Idle | CommandName::Enable => {
                self.own_command(len, rx, tx)
            }
            CommandName::UidSearch
            | CommandName::UidSort
            | CommandName::UidThread
            | CommandName::Esearch
            | CommandName::Select
            | CommandName::Examine
                if self.is_enabled(UID_ONLY) && self.is_numbered(len, rx) =>
            {
                self.refuse_command(len, Refusal::no("BAD [UIDREQUIRED]", UIDS_ONLY), tx)
            }
            _ if is_append(name) => Ok(Found::Append(len, None)),
            CommandName::Esearch if !self.state.is_selected() => {
                let bytes = rx.bytes().get(..len).unwrap_or_default();
                match parse::command(bytes, &self.context) {
                    Ok((_, Command::Esearch(search))) if search.needs_selected_mailbox() => {
                        self.refuse_command(len, Refusal::bad(SELECT_FIRST), tx)
                    }
                    _ => Ok(Found::Command(len)),
                }
            }
            _ => Ok(Found::Command(len)),
        }
    }

    /// Returns whether this command uses sequence numbers.
    fn is_numbered(&self, len: usize, rx: &RecvBuffer) -> bool {
        let bytes = rx.bytes().get(..len).unwrap_or_default();
        parse::command(bytes, &self.context).is_ok_and(|(_, command)| names_sequence_numbers(&command))
    }

    /// Handles COMPRESS. Bytes behind it could be meant as commands or as compressed data, so they end the session.
    fn compress_command(
        &mut self,
        len: usize,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        let bytes = rx.bytes().get(..len).unwrap_or_default();
        let behind = rx.len() > len;
        let argument = parse::command_name(bytes).map_or(&b""[..], |(_, _, rest)| rest);
        if !argument.eq_ignore_ascii_case(b" DEFLATE\r\n") {
            return self.refuse_command(len, Refusal::bad("the only mechanism of COMPRESS is DEFLATE"), tx);
        }
        if self.compression != Compression::Off {
            return self.refuse_command(len, Refusal::bad("the session is compressed already"), tx);
        }
        if behind {
            let farewell = "no bytes may follow COMPRESS before its reply";
            return Err(self.fail(PeerError::DataAfterCompress.into(), farewell, tx));
        }
        self.trace(len, rx);
        rx.consume(len);
        self.reader.framer.reset();
        self.turn = Turn::Compress;
        self.command_ended();
        Ok(Found::Event(CoreEvent::Compress(CompressRequest { token: self.tokens.issue() })))
    }

    /// Carries out a command of the machine's own.
    fn own_command(&mut self, len: usize, rx: &RecvBuffer, tx: &mut SendBuffer) -> Result<Found, Error> {
        let bytes = rx.bytes().get(..len).unwrap_or_default();
        let Ok((_, command)) = parse::command(bytes, &self.context) else {
            return self.refuse_command(
                len,
                Refusal::bad("the arguments are not valid for this command"),
                tx,
            );
        };
        match command {
            Command::Capability => {
                tx.put(b"* CAPABILITY");
                super::capability::put(self.state, self.mechanisms(), self.trust, &self.config, tx);
                tx.put(b"\r\n");
                self.put_tagged("OK", "CAPABILITY completed", tx);
            }
            Command::Logout => {
                tx.put(b"* BYE good-bye\r\n");
                self.put_tagged("OK", "LOGOUT completed", tx);
                self.state = State::Logout;
            }
            Command::Enable(names) => {
                tx.put(b"* ENABLED");
                for name in names.iter() {
                    let config = Arc::clone(&self.config);
                    let known = config.enableable.iter().find(|known| name.is(known));
                    let Some(known) = known else { continue };
                    tx.put(b" ");
                    tx.put(known.as_bytes());
                    self.enable(known);
                    if known.eq_ignore_ascii_case(QRESYNC) {
                        // RFC 7162 §3.2.3.
                        self.enable("CONDSTORE");
                    }
                }
                tx.put(b"\r\n");
                self.put_tagged("OK", "ENABLE completed", tx);
            }
            Command::Idle => {
                tx.put(b"+ idling\r\n");
                self.reader.borrowed = len;
                self.command_ended();
                self.turn = Turn::Idling;
                let reply = Reply { token: self.tokens.issue() };
                return Ok(Found::Event(CoreEvent::Idle(reply)));
            }
            _ => {
                return self.refuse_command(
                    len,
                    Refusal::bad("the arguments are not valid for this command"),
                    tx,
                );
            }
        }
        self.reader.borrowed = len;
        self.command_ended();
        Ok(Found::Silent)
    }

    fn enable(&mut self, capability: &str) {
        if !self.is_enabled(capability) {
            self.enabled.extend_from_slice(capability.as_bytes());
            self.enabled.push(b' ');
        }
    }

    /// Returns whether a command has a parameter or modifier that is valid only after `ENABLE QRESYNC` (RFC 7162 §3.2.5,
    /// §3.2.6).
    fn needs_qresync(&self, command: &Command<'_>) -> bool {
        let needs = match command {
            Command::Select(select) | Command::Examine(select) => {
                select.parameters.iter().any(|one| matches!(one, SelectParameter::QResync(_)))
            }
            Command::UidFetch(fetch) => fetch.modifiers.iter().any(|one| one == FetchModifier::Vanished),
            _ => false,
        };
        needs && !self.is_enabled(QRESYNC)
    }

    /// Parses a command for the application.
    pub(super) fn command<'i>(
        &mut self,
        bytes: &'i [u8],
        tx: &mut SendBuffer,
    ) -> Result<CoreEvent<'i>, Error> {
        self.reader.borrowed = bytes.len();
        self.command_ended();
        let parsed = match parse::command(bytes, &self.context) {
            Ok((tag, command)) if self.needs_qresync(&command) => {
                let error = Expected { rest: b"", what: "ENABLE QRESYNC before this parameter" };
                Err(UnparsedCommand::new(bytes, Some(tag), nom::Err::Error(error)))
            }
            parsed => parsed,
        };
        match parsed {
            Ok((_, command)) => {
                self.notify.begin(&command);
                let name = command.name();
                let effect = Effect::of(name);
                if matches!(effect, Effect::Select(_)) {
                    self.messages.begin_select();
                }
                self.turn = Turn::Reply { effect, expunges: Expunges::during(name) };
                Ok(CoreEvent::Command(command, Reply { token: self.tokens.issue() }))
            }
            Err(unparsed) => {
                // A response code reports the limit (RFC 9051 §7.1).
                let code =
                    if unparsed.expected == crate::search_key::parse::TOO_DEEP { "[LIMIT] " } else { "" };
                self.put_bad(&format_args!("{code}{unparsed}"), tx)?;
                Ok(CoreEvent::Unparsed(unparsed))
            }
        }
    }

    /// Handles a line while the client is idling: DONE, or an error.
    pub(super) fn idle_line(
        &mut self,
        end: usize,
        rx: &RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        let line = rx.bytes().get(..end).unwrap_or_default();
        if !line.eq_ignore_ascii_case(b"DONE\r\n") {
            return Err(self.fail(PeerError::Malformed.into(), "expected DONE", tx));
        }
        self.turn = Turn::IdleReply;
        Ok(Found::Event(CoreEvent::Done))
    }

    /// Counts a command of a client that has not logged in.
    pub(super) fn count_command(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if self.state == State::NotAuthenticated {
            self.counters.commands_before_login = self.counters.commands_before_login.saturating_add(1);
            if self.counters.commands_before_login > self.config.limits.commands_before_auth {
                let farewell = "too many commands without authentication";
                return Err(self.fail(Limit::CommandsBeforeAuth.into(), farewell, tx));
            }
        }
        Ok(())
    }

    /// Rejects a command that ends here.
    pub(super) fn refuse_command(
        &mut self,
        len: usize,
        refusal: Refusal,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        self.reader.borrowed = len;
        self.command_ended();
        self.put_refusal(&refusal, tx)?;
        Ok(Found::Silent)
    }

    /// Rejects a command at a literal. If the client sends the literal without waiting, it is discarded first.
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
        self.reader.borrowed = len;
        self.command_ended();
        self.count_error(&refusal, tx)?;
        let refusal = self.line(refusal.condition, refusal.text);
        self.turn = Turn::Discarding { left: announced.size, refusal };
        Ok(Found::Silent)
    }

    /// Handles the line after a literal of a rejected command: the end of the command, or another literal.
    pub(super) fn discard_line(&mut self, announced: Option<LiteralHeader>, tx: &mut SendBuffer) -> Found {
        let Turn::Discarding { left, refusal } = &mut self.turn else { return Found::Silent };
        if let Some(LiteralHeader { size, sync: Sync::NonSynchronising, .. }) = announced {
            *left = size;
            return Found::Silent;
        }
        let refusal = core::mem::take(refusal);
        self.tag.put_line(&refusal, tx);
        self.turn = Turn::Command;
        Found::Silent
    }
}

/// Returns whether the command appends messages, which are not kept in memory.
const fn is_append(name: CommandName) -> bool {
    matches!(name, CommandName::Append | CommandName::Replace | CommandName::UidReplace)
}

/// Returns whether a line, seen alone, announces a literal.
fn announces(part: &[u8]) -> bool {
    frame::ending(part.strip_suffix(b"\r").unwrap_or(part)) != LineEnd::Plain
}
