//! An independent model of an IMAP client: what it may send, and which responses of a server it may accept. It uses only the
//! bytes of the conversation and the order in which they were queued, sent and received.
//!
//! It follows RFC 9051, 2177, 4959 and 7888 and shares no code with the client.

use std::collections::{BTreeSet, VecDeque};

use crate::imap_server_model::announced;

/// What a client may do next, from the conversation on one channel so far.
#[derive(Debug, Default)]
pub(crate) struct ClientModel {
    /// How many bytes were queued, and how many of them were sent.
    queued: u64,
    sent: u64,
    /// Queued bytes that are not a whole line yet.
    partial_output: Vec<u8>,
    commands: Vec<Command>,
    /// The number of the last command that was queued.
    pub(crate) last: u32,
    turn: Turn,
    /// Received bytes that are not a whole line yet, and how many bytes came before them.
    partial_input: Vec<u8>,
    consumed: u64,
    greeted: bool,
    /// Whether the greeting may authenticate the client (PREAUTH).
    trusted: bool,
    authenticated: bool,
    /// Whether the client has tried to authenticate.
    tried_login: bool,
    offered: BTreeSet<String>,
    /// Whether LOGIN is allowed.
    login: bool,
    /// The completions that the client must report to the application.
    pub(crate) expected_completions: VecDeque<(String, String)>,
    /// How the session must continue after this input.
    pub(crate) expected_end: ExpectedEnd,
    /// What the client should not have sent.
    pub(crate) broken: Option<String>,
    /// The number of checks.
    pub(crate) checks: usize,
}

/// Whether the input ends a session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ExpectedEnd {
    #[default]
    Continues,
    /// The input is invalid; the specification defines no result.
    MayEnd,
    /// The input cannot be trusted, or ends the session itself.
    MustEnd,
}

#[derive(Debug)]
struct Command {
    tag: String,
    verb: String,
    /// The offset where the command begins to wait for the server, or ends.
    end: u64,
    /// How many bytes had been received then. A response that began before is no reply.
    received: u64,
    /// The same two numbers for the announcement of its first literal. From then on the server may reject it.
    announced: Option<(u64, u64)>,
    /// Whether the client has queued all of it.
    whole: bool,
    /// Whether the client has sent a SASL message.
    sent_sasl_message: bool,
    cancelled: bool,
}

/// Which side may send.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Turn {
    #[default]
    AnyCommand,
    /// The server: this literal waits for its continuation request.
    AwaitsContinuation(String, usize),
    /// The client: this many bytes of a literal are missing.
    Bytes(String, usize),
    /// The client: the line after a literal is missing.
    LineAfterLiteral(String),
    /// The server, or the client once it was asked.
    Exchange(String, Requested),
    /// The same for IDLE: the client sends DONE.
    Idle(String, Requested),
    /// The server. If it agrees to start TLS, the client sends no more cleartext.
    Tls(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requested {
    Yes,
    No,
}

impl Turn {
    fn tag(&self) -> Option<&str> {
        match self {
            Self::AnyCommand => None,
            Self::AwaitsContinuation(tag, _) | Self::Bytes(tag, _) | Self::LineAfterLiteral(tag) => Some(tag),
            Self::Exchange(tag, _) | Self::Idle(tag, _) | Self::Tls(tag) => Some(tag),
        }
    }
}

impl ClientModel {
    /// Creates a model before the greeting. `trusted`: the server can be trusted, or the program has allowed trusting
    /// it.
    pub(crate) fn new(trusted: bool) -> Self {
        Self { trusted, ..Self::default() }
    }

    /// Creates a model after STARTTLS: nothing is known.
    pub(crate) fn under_tls() -> Self {
        Self { trusted: true, greeted: true, ..Self::default() }
    }

    /// Returns the numbers of the commands that await a reply, oldest first.
    pub(crate) fn numbers(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.commands.iter().filter_map(|command| number(&command.tag))
    }

    /// All output was sent.
    pub(crate) fn client_sent(&mut self) {
        self.sent = self.queued;
    }

    /// The client queues more output.
    pub(crate) fn client_queued(&mut self, bytes: &[u8]) {
        self.partial_output.extend_from_slice(bytes);
        while let Some(len) = self.part() {
            let part: Vec<u8> = self.partial_output.drain(..len).collect();
            self.queued += len as u64;
            self.checks += 1;
            let turn = std::mem::take(&mut self.turn);
            if let Err(fault) = self.read_output(turn, &part) {
                let shown = part.escape_ascii().to_string();
                self.broken.get_or_insert(format!("{fault}: {shown:?}"));
            }
        }
    }

    /// Returns the length of the next part of the output: a line, or bytes of a literal.
    fn part(&self) -> Option<usize> {
        match self.turn {
            Turn::Bytes(_, size) => Some(size.min(self.partial_output.len())).filter(|len| *len > 0),
            _ => self.partial_output.windows(2).position(|two| two == b"\r\n").map(|at| at + 2),
        }
    }

    /// Reads one part of the output.
    fn read_output(&mut self, turn: Turn, part: &[u8]) -> Result<(), &'static str> {
        match turn {
            Turn::AnyCommand => {
                let line = String::from_utf8_lossy(part).into_owned();
                let mut words = line.split_ascii_whitespace().map(str::to_owned);
                let tag = words.next().ok_or("an empty line")?;
                let verb = words.next().ok_or("a line that is no command")?;
                let number = number(&tag).ok_or("a tag that is not M and a number")?;
                if number != self.last + 1 {
                    return Err("the number in the tag is not the next one");
                }
                self.last = number;
                self.allowed(&verb, words.next().as_deref())?;
                self.tried_login |= ["AUTHENTICATE", "LOGIN"].contains(&verb.as_str());
                let sent_sasl_message = verb == "AUTHENTICATE" && words.next().is_some();
                self.commands.push(Command {
                    tag: tag.clone(),
                    verb,
                    end: 0,
                    received: 0,
                    announced: None,
                    whole: false,
                    sent_sasl_message,
                    cancelled: false,
                });
                self.line(tag, part)
            }
            Turn::LineAfterLiteral(tag) => self.line(tag, part),
            Turn::Bytes(tag, size) => {
                let missing = size - part.len();
                self.turn = if missing > 0 { Turn::Bytes(tag, missing) } else { Turn::LineAfterLiteral(tag) };
                Ok(())
            }
            Turn::Exchange(tag, Requested::Yes) => {
                if let Some(command) = self.current_command(&tag) {
                    (command.sent_sasl_message, command.cancelled) = (true, part == b"*\r\n");
                }
                self.turn = Turn::Exchange(tag, Requested::No);
                Ok(())
            }
            Turn::Idle(tag, Requested::Yes) if part == b"DONE\r\n" => {
                self.current_command(&tag).map(drop).ok_or("DONE without IDLE")
            }
            Turn::Idle(_, Requested::Yes) => Err("a line other than DONE during IDLE"),
            Turn::Tls(_) => Err("output after STARTTLS"),
            Turn::AwaitsContinuation(..) | Turn::Exchange(..) | Turn::Idle(..) => {
                Err("output that the server has not requested")
            }
        }
    }

    /// Reads a line of a command: the first one, or one after a literal.
    fn line(&mut self, tag: String, part: &[u8]) -> Result<(), &'static str> {
        let announced = announced(part.strip_suffix(b"\r\n").unwrap_or(part));
        // The client also finishes a rejected command whose literal it has announced.
        let verb = self.current_command(&tag).map(|command| {
            command.whole = announced.is_none();
            if announced.is_some() {
                command.announced.get_or_insert((command.end, command.received));
            }
            command.verb.clone()
        });
        match (announced, verb.as_deref()) {
            (Some((size, true)), _) => {
                let small = self.offers("LITERAL-") || self.offers("IMAP4rev2");
                if !(self.offers("LITERAL+") || small && size <= 4096) {
                    return Err("a non-synchronizing literal, which was not offered");
                }
                self.turn = Turn::Bytes(tag, size);
            }
            (Some((size, false)), _) => self.turn = Turn::AwaitsContinuation(tag, size),
            (None, Some("AUTHENTICATE")) => self.turn = Turn::Exchange(tag, Requested::No),
            (None, Some("IDLE")) => self.turn = Turn::Idle(tag, Requested::No),
            (None, Some("STARTTLS")) => self.turn = Turn::Tls(tag),
            (None, _) => {}
        }
        Ok(())
    }

    /// Returns the command to which the current output belongs.
    fn current_command(&mut self, tag: &str) -> Option<&mut Command> {
        let (queued, received) = (self.queued, self.consumed + self.partial_input.len() as u64);
        let command = self.commands.iter_mut().find(|command| command.tag == tag)?;
        (command.end, command.received) = (queued, received);
        Some(command)
    }

    /// Returns whether the current line can reply to what was sent of a command.
    fn answers(&self, command: &Command, at: u64) -> bool {
        command.end <= self.sent && command.received <= at
    }

    /// Returns whether the current line can reject a command with literals: only the announcement of the first one must
    /// have been sent (RFC 7888 §4).
    fn rejects(&self, command: &Command, at: u64) -> bool {
        command.announced.is_some_and(|(end, received)| end <= self.sent && received <= at)
    }

    fn offers(&self, name: &str) -> bool {
        self.offered.contains(name)
    }

    /// Returns whether the client may send a command, given what the server has sent on this channel.
    fn allowed(&self, verb: &str, argument: Option<&str>) -> Result<(), &'static str> {
        let is_login = |command: &Command| ["AUTHENTICATE", "LOGIN"].contains(&command.verb.as_str());
        let login_pending_or_done = self.authenticated || self.commands.iter().any(is_login);
        match verb {
            _ if !self.greeted => Err("a command before the greeting"),
            "CAPABILITY" | "NOOP" | "LOGOUT" => Ok(()),
            "STARTTLS" if self.trusted && self.authenticated => Err("STARTTLS after the login"),
            "STARTTLS" if !self.offers("STARTTLS") => Err("STARTTLS was not offered"),
            "STARTTLS" if !self.commands.is_empty() => Err("STARTTLS while a command is in progress"),
            "STARTTLS" => Ok(()),
            _ if !self.trusted => Err("a command in cleartext that does not lead to TLS"),
            "AUTHENTICATE" | "LOGIN" if login_pending_or_done => Err("a second login"),
            "AUTHENTICATE" if argument == Some("PLAIN") && self.offers("AUTH=PLAIN") => Ok(()),
            "LOGIN" if self.login => Ok(()),
            "AUTHENTICATE" | "LOGIN" => Err("a login that was not offered"),
            // A waiting command is also sent if the login has failed meanwhile: the server rejects it.
            _ if login_pending_or_done || self.tried_login => Ok(()),
            _ => Err("a command before the login"),
        }
    }

    /// The server sends more.
    pub(crate) fn server_sent(&mut self, bytes: &[u8]) {
        self.partial_input.extend_from_slice(bytes);
        let (sent, received) = (self.sent, self.consumed + self.partial_input.len() as u64);
        // A response that began before all of the command was sent is no reply either.
        self.commands.iter_mut().filter(|command| command.end > sent).for_each(|command| {
            command.received = received;
            if let Some((end, until)) = &mut command.announced
                && *end > sent
            {
                *until = received;
            }
        });
        // A byte that may begin a TLS record is invalid here.
        let tls = self.partial_input.first().is_some_and(|byte| [0x15, 0x16].contains(byte));
        self.expected_end = if tls { ExpectedEnd::MayEnd } else { ExpectedEnd::Continues };
        while let Some(end) = self.partial_input.windows(2).position(|two| two == b"\r\n") {
            let line = self.partial_input[..end].to_vec();
            let mut len = end + 2;
            if line.starts_with(b"* 1 FETCH")
                && let Some((size, _)) = announced(&line)
            {
                let behind = self.partial_input.get(len + size..).unwrap_or_default();
                let Some(rest) = behind.windows(2).position(|two| two == b"\r\n") else { return };
                len += size + rest + 2;
            }
            self.partial_input.drain(..len);
            let at = self.consumed;
            self.consumed += len as u64;
            self.checks += 1;
            let expected_end = self.read_response(&String::from_utf8_lossy(&line), at);
            self.expected_end = self.expected_end.max(expected_end);
        }
    }

    /// Reads a line of the server, which begins at this offset.
    fn read_response(&mut self, line: &str, at: u64) -> ExpectedEnd {
        let mut words = line.split(' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !self.greeted {
            self.greeted = true;
            let welcome = second == "OK" || (second == "PREAUTH" && self.trusted);
            self.authenticated = second == "PREAUTH";
            self.learn_capabilities(line);
            return if first == "*" && welcome { ExpectedEnd::Continues } else { ExpectedEnd::MustEnd };
        }
        match (first, second) {
            ("+", _) => self.continuation(at),
            ("*", "PREAUTH") => ExpectedEnd::MustEnd,
            ("*", "BYE") => {
                let logout = self.commands.iter().find(|command| command.verb == "LOGOUT");
                let leaves = logout.is_some_and(|command| self.answers(command, at));
                if leaves { ExpectedEnd::Continues } else { ExpectedEnd::MustEnd }
            }
            ("*", "") => ExpectedEnd::MayEnd,
            _ if first.starts_with('*') && first.len() > 1 => ExpectedEnd::MayEnd,
            _ if first.is_empty() || first.contains(|c: char| !c.is_ascii_graphic()) => ExpectedEnd::MayEnd,
            ("*", _) => {
                self.learn_capabilities(line);
                ExpectedEnd::Continues
            }
            _ => self.completed(first, second, line, at),
        }
    }

    /// Handles a continuation request (`+`).
    fn continuation(&mut self, at: u64) -> ExpectedEnd {
        let Some(tag) = self.turn.tag().map(str::to_owned) else { return ExpectedEnd::MustEnd };
        let command = self.commands.iter().find(|command| command.tag == tag);
        if !command.is_some_and(|command| self.answers(command, at) && !command.cancelled) {
            return ExpectedEnd::MustEnd;
        }
        self.turn = match &self.turn {
            Turn::AwaitsContinuation(_, size) => Turn::Bytes(tag, *size),
            Turn::Exchange(_, Requested::No) => Turn::Exchange(tag, Requested::Yes),
            Turn::Idle(_, Requested::No) => Turn::Idle(tag, Requested::Yes),
            _ => return ExpectedEnd::MustEnd,
        };
        ExpectedEnd::Continues
    }

    /// Handles a tagged line.
    fn completed(&mut self, tag: &str, condition: &str, line: &str, at: u64) -> ExpectedEnd {
        if !["OK", "NO", "BAD", "BYE", "PREAUTH"].contains(&condition) {
            return ExpectedEnd::MayEnd;
        }
        let Some(place) = self.commands.iter().position(|command| command.tag == tag) else {
            return ExpectedEnd::MustEnd;
        };
        let command = &self.commands[place];
        let refused = ["NO", "BAD"].contains(&condition);
        let is_acceptable = match condition {
            "OK" => {
                command.whole
                    && (command.verb != "AUTHENTICATE" || command.sent_sasl_message && !command.cancelled)
            }
            _ => refused,
        };
        let is_in_time = self.answers(command, at) || (refused && self.rejects(command, at));
        if !is_acceptable || !is_in_time {
            return ExpectedEnd::MustEnd;
        }
        let command = self.commands.remove(place);
        if self.turn.tag() == Some(tag) && !matches!(self.turn, Turn::Bytes(..) | Turn::LineAfterLiteral(_)) {
            self.turn = Turn::AnyCommand;
        }
        match (command.verb.as_str(), condition) {
            ("CAPABILITY", _) => self.login = true,
            ("AUTHENTICATE" | "LOGIN", "OK") => {
                self.authenticated = true;
                (self.offered, self.login) = (BTreeSet::new(), false);
            }
            _ => {}
        }
        if command.verb != "STARTTLS" {
            self.learn_capabilities(line);
        }
        if command.verb != "CAPABILITY" {
            self.expected_completions.push_back((tag.to_owned(), condition.to_owned()));
        }
        if command.verb == "STARTTLS" && condition == "OK" && !self.partial_input.is_empty() {
            return ExpectedEnd::MustEnd;
        }
        ExpectedEnd::Continues
    }

    /// Records the capabilities in a line.
    fn learn_capabilities(&mut self, line: &str) {
        let Some((_, list)) = line.split_once("CAPABILITY ") else { return };
        let list = list.split(']').next().unwrap_or_default();
        self.login |= !list.contains("LOGINDISABLED");
        self.offered.extend(list.split(' ').map(str::to_owned));
    }
}

/// Returns the number in a tag.
fn number(tag: &str) -> Option<u32> {
    tag.strip_prefix('M')?.parse().ok()
}
