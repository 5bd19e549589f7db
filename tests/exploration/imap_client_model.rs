//! An independent model of an IMAP client: what it may send, and what it may believe of a server. It uses only the
//! bytes of the conversation and the order in which they were queued, sent and received.
//!
//! It follows RFC 9051, 2177, 4959 and 7888 and shares no code with the client.

use std::collections::{BTreeSet, VecDeque};

use crate::imap_server_model::announced;

/// Both sides of a conversation on one channel.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    /// How many bytes were queued, and how many of them were sent.
    said: u64,
    left: u64,
    /// Queued bytes that are not a whole line yet.
    begun: Vec<u8>,
    commands: Vec<Command>,
    /// The number of the last command that was queued.
    pub(crate) last: u32,
    floor: Floor,
    /// Received bytes that are not a whole line yet, and how many bytes came before them.
    heard: Vec<u8>,
    before: u64,
    greeted: bool,
    /// Whether the greeting may authenticate the client (PREAUTH).
    trusted: bool,
    authenticated: bool,
    /// Whether the client has tried to authenticate.
    offered_proof: bool,
    offered: BTreeSet<String>,
    /// Whether LOGIN is allowed.
    login: bool,
    /// The completions that the client must report to the application.
    pub(crate) due: VecDeque<(String, String)>,
    /// How the session must continue after this input.
    pub(crate) verdict: Verdict,
    /// What the client should not have sent.
    pub(crate) broken: Option<String>,
    /// The number of checks.
    pub(crate) statements: usize,
}

/// Whether the input ends a session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    #[default]
    GoesOn,
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
    heard: u64,
    whole: bool,
    /// Whether the client has sent a SASL message.
    proves: bool,
    cancelled: bool,
}

/// Which side may send.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Floor {
    #[default]
    Free,
    /// The server: this literal waits for its continuation request.
    Waits(String, usize),
    /// The client: this many bytes of a literal are missing.
    Bytes(String, usize),
    /// The client: the line after a literal is missing.
    Rest(String),
    /// The server, or the client once it was asked.
    Exchange(String, Asked),
    /// The same for IDLE: the client sends DONE.
    Idle(String, Asked),
    /// The server. If it agrees to start TLS, the client sends no more cleartext.
    Tls(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Yes,
    No,
}

impl Floor {
    fn tag(&self) -> Option<&str> {
        match self {
            Self::Free => None,
            Self::Waits(tag, _) | Self::Bytes(tag, _) | Self::Rest(tag) => Some(tag),
            Self::Exchange(tag, _) | Self::Idle(tag, _) | Self::Tls(tag) => Some(tag),
        }
    }
}

impl Hearing {
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
    pub(crate) fn leave(&mut self) {
        self.left = self.said;
    }

    /// The client queues more output.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        while let Some(len) = self.part() {
            let part: Vec<u8> = self.begun.drain(..len).collect();
            self.said += len as u64;
            self.statements += 1;
            let floor = std::mem::take(&mut self.floor);
            if let Err(why) = self.take(floor, &part) {
                let shown = part.escape_ascii().to_string();
                self.broken.get_or_insert(format!("{why}: {shown:?}"));
            }
        }
    }

    /// Returns the length of the next part of the output: a line, or bytes of a literal.
    fn part(&self) -> Option<usize> {
        match self.floor {
            Floor::Bytes(_, size) => Some(size.min(self.begun.len())).filter(|len| *len > 0),
            _ => self.begun.windows(2).position(|two| two == b"\r\n").map(|at| at + 2),
        }
    }

    fn take(&mut self, floor: Floor, part: &[u8]) -> Result<(), &'static str> {
        match floor {
            Floor::Free => {
                let line = String::from_utf8_lossy(part).into_owned();
                let mut words = line.split_ascii_whitespace().map(str::to_owned);
                let tag = words.next().ok_or("an empty line")?;
                let verb = words.next().ok_or("a line that is no command")?;
                let number = number(&tag).ok_or("a tag that is no M and a number")?;
                if number != self.last + 1 {
                    return Err("a number that is not the next");
                }
                self.last = number;
                self.allowed(&verb, words.next().as_deref())?;
                self.offered_proof |= ["AUTHENTICATE", "LOGIN"].contains(&verb.as_str());
                let proves = verb == "AUTHENTICATE" && words.next().is_some();
                self.commands.push(Command {
                    tag: tag.clone(),
                    verb,
                    end: 0,
                    heard: 0,
                    whole: false,
                    proves,
                    cancelled: false,
                });
                self.line(tag, part)
            }
            Floor::Rest(tag) => self.line(tag, part),
            Floor::Bytes(tag, size) => {
                let left = size - part.len();
                self.floor = if left > 0 { Floor::Bytes(tag, left) } else { Floor::Rest(tag) };
                Ok(())
            }
            Floor::Exchange(tag, Asked::Yes) => {
                if let Some(command) = self.spoken(&tag) {
                    (command.proves, command.cancelled) = (true, part == b"*\r\n");
                }
                self.floor = Floor::Exchange(tag, Asked::No);
                Ok(())
            }
            Floor::Idle(tag, Asked::Yes) if part == b"DONE\r\n" => {
                self.spoken(&tag).map(drop).ok_or("DONE for nothing")
            }
            Floor::Idle(_, Asked::Yes) => Err("something else than DONE is said to a server that idles"),
            Floor::Tls(_) => Err("something is said behind STARTTLS"),
            Floor::Waits(..) | Floor::Exchange(..) | Floor::Idle(..) => Err("it was not asked for"),
        }
    }

    /// Reads a line of a command: the first one, or one after a literal.
    fn line(&mut self, tag: String, part: &[u8]) -> Result<(), &'static str> {
        let announced = announced(part.strip_suffix(b"\r\n").unwrap_or(part));
        // The client also finishes a rejected command whose literal it has announced.
        let verb = self.spoken(&tag).map(|command| {
            command.whole = announced.is_none();
            command.verb.clone()
        });
        match (announced, verb.as_deref()) {
            (Some((size, true)), _) => {
                let small = self.offers("LITERAL-") || self.offers("IMAP4rev2");
                if !(self.offers("LITERAL+") || small && size <= 4096) {
                    return Err("a literal comes unasked, and that was not offered");
                }
                self.floor = Floor::Bytes(tag, size);
            }
            (Some((size, false)), _) => self.floor = Floor::Waits(tag, size),
            (None, Some("AUTHENTICATE")) => self.floor = Floor::Exchange(tag, Asked::No),
            (None, Some("IDLE")) => self.floor = Floor::Idle(tag, Asked::No),
            (None, Some("STARTTLS")) => self.floor = Floor::Tls(tag),
            (None, _) => {}
        }
        Ok(())
    }

    /// Returns the command to which the current output belongs.
    fn spoken(&mut self, tag: &str) -> Option<&mut Command> {
        let (said, heard) = (self.said, self.before + self.heard.len() as u64);
        let command = self.commands.iter_mut().find(|command| command.tag == tag)?;
        (command.end, command.heard) = (said, heard);
        Some(command)
    }

    /// Returns whether the current line can reply to what was sent of a command.
    fn answers(&self, command: &Command, at: u64) -> bool {
        command.end <= self.left && command.heard <= at
    }

    fn offers(&self, name: &str) -> bool {
        self.offered.contains(name)
    }

    /// Returns whether the client may send a command, given what the server has sent on this channel.
    fn allowed(&self, verb: &str, argument: Option<&str>) -> Result<(), &'static str> {
        let proof = |command: &Command| ["AUTHENTICATE", "LOGIN"].contains(&command.verb.as_str());
        let hopes = self.authenticated || self.commands.iter().any(proof);
        match verb {
            _ if !self.greeted => Err("a command before the greeting"),
            "CAPABILITY" | "NOOP" | "LOGOUT" => Ok(()),
            "STARTTLS" if self.trusted && self.authenticated => Err("STARTTLS by who has authenticated"),
            "STARTTLS" if !self.offers("STARTTLS") => Err("STARTTLS was not offered"),
            "STARTTLS" if !self.commands.is_empty() => Err("STARTTLS behind a command"),
            "STARTTLS" => Ok(()),
            _ if !self.trusted => Err("more is said than leads to TLS"),
            "AUTHENTICATE" | "LOGIN" if hopes => Err("a second proof"),
            "AUTHENTICATE" if argument == Some("PLAIN") && self.offers("AUTH=PLAIN") => Ok(()),
            "LOGIN" if self.login => Ok(()),
            "AUTHENTICATE" | "LOGIN" => Err("a proof that was not offered"),
            // A waiting command is also sent if the login has failed meanwhile: the server rejects it.
            _ if hopes || self.offered_proof => Ok(()),
            _ => Err("it needs an identity"),
        }
    }

    /// The server sends more.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        let (left, heard) = (self.left, self.before + self.heard.len() as u64);
        // A response that began before all of the command was sent is no reply either.
        self.commands
            .iter_mut()
            .filter(|command| command.end > left)
            .for_each(|command| command.heard = heard);
        // A byte that may begin a TLS record is invalid here.
        let tls = self.heard.first().is_some_and(|byte| [0x15, 0x16].contains(byte));
        self.verdict = if tls { Verdict::MayEnd } else { Verdict::GoesOn };
        while let Some(end) = self.heard.windows(2).position(|two| two == b"\r\n") {
            let line = self.heard[..end].to_vec();
            let mut len = end + 2;
            if line.starts_with(b"* 1 FETCH")
                && let Some((size, _)) = announced(&line)
            {
                let behind = self.heard.get(len + size..).unwrap_or_default();
                let Some(rest) = behind.windows(2).position(|two| two == b"\r\n") else { return };
                len += size + rest + 2;
            }
            self.heard.drain(..len);
            let at = self.before;
            self.before += len as u64;
            self.statements += 1;
            let verdict = self.believe(&String::from_utf8_lossy(&line), at);
            self.verdict = self.verdict.max(verdict);
        }
    }

    /// Judges a line of the server, which begins at this offset.
    fn believe(&mut self, line: &str, at: u64) -> Verdict {
        let mut words = line.split(' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !self.greeted {
            self.greeted = true;
            let welcome = second == "OK" || (second == "PREAUTH" && self.trusted);
            self.authenticated = second == "PREAUTH";
            self.learn(line);
            return if first == "*" && welcome { Verdict::GoesOn } else { Verdict::MustEnd };
        }
        match (first, second) {
            ("+", _) => self.asked(at),
            ("*", "PREAUTH") => Verdict::MustEnd,
            ("*", "BYE") => {
                let logout = self.commands.iter().find(|command| command.verb == "LOGOUT");
                let leaves = logout.is_some_and(|command| self.answers(command, at));
                if leaves { Verdict::GoesOn } else { Verdict::MustEnd }
            }
            ("*", "") => Verdict::MayEnd,
            _ if first.starts_with('*') && first.len() > 1 => Verdict::MayEnd,
            _ if first.is_empty() || first.contains(|c: char| !c.is_ascii_graphic()) => Verdict::MayEnd,
            ("*", _) => {
                self.learn(line);
                Verdict::GoesOn
            }
            _ => self.completed(first, second, line, at),
        }
    }

    /// Handles a continuation request (`+`).
    fn asked(&mut self, at: u64) -> Verdict {
        let Some(tag) = self.floor.tag().map(str::to_owned) else { return Verdict::MustEnd };
        let command = self.commands.iter().find(|command| command.tag == tag);
        if !command.is_some_and(|command| self.answers(command, at) && !command.cancelled) {
            return Verdict::MustEnd;
        }
        self.floor = match &self.floor {
            Floor::Waits(_, size) => Floor::Bytes(tag, *size),
            Floor::Exchange(_, Asked::No) => Floor::Exchange(tag, Asked::Yes),
            Floor::Idle(_, Asked::No) => Floor::Idle(tag, Asked::Yes),
            _ => return Verdict::MustEnd,
        };
        Verdict::GoesOn
    }

    /// Handles a tagged line.
    fn completed(&mut self, tag: &str, condition: &str, line: &str, at: u64) -> Verdict {
        if !["OK", "NO", "BAD", "BYE", "PREAUTH"].contains(&condition) {
            return Verdict::MayEnd;
        }
        let Some(place) = self.commands.iter().position(|command| command.tag == tag) else {
            return Verdict::MustEnd;
        };
        let command = &self.commands[place];
        let refused = ["NO", "BAD"].contains(&condition);
        let believed = match condition {
            "OK" => command.whole && (command.verb != "AUTHENTICATE" || command.proves && !command.cancelled),
            _ => refused,
        };
        if !believed || !self.answers(command, at) {
            return Verdict::MustEnd;
        }
        let command = self.commands.remove(place);
        if self.floor.tag() == Some(tag) && !matches!(self.floor, Floor::Bytes(..) | Floor::Rest(_)) {
            self.floor = Floor::Free;
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
            self.learn(line);
        }
        if command.verb != "CAPABILITY" {
            self.due.push_back((tag.to_owned(), condition.to_owned()));
        }
        if command.verb == "STARTTLS" && condition == "OK" && !self.heard.is_empty() {
            return Verdict::MustEnd;
        }
        Verdict::GoesOn
    }

    /// Records the capabilities in a line.
    fn learn(&mut self, line: &str) {
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
