//! What an IMAP client may say, and what of a server it may believe: a second reading of the conversation, from its
//! bytes alone and in the order in which they were said, left and came.
//!
//! It is written from RFC 9051, 2177, 4959 and 7888 and shares nothing with the client.

use std::collections::{BTreeSet, VecDeque};

use crate::imap_server_model::announced;

/// Both sides of a conversation on one channel.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    /// How many bytes were said, and how many of them have left.
    said: u64,
    left: u64,
    /// What was said and is no whole line.
    begun: Vec<u8>,
    commands: Vec<Command>,
    /// The number of the last that was said.
    pub(crate) last: u32,
    floor: Floor,
    /// What was heard and is no whole line, and how many bytes stood before it.
    heard: Vec<u8>,
    before: u64,
    greeted: bool,
    /// Whether a server may say in its greeting who we are.
    trusted: bool,
    authenticated: bool,
    /// Whether we have tried to be.
    offered_proof: bool,
    offered: BTreeSet<String>,
    /// Whether the command LOGIN is not forbidden.
    login: bool,
    /// The answers that the application is to hear of.
    pub(crate) due: VecDeque<(String, String)>,
    /// How the session must go on behind what was heard.
    pub(crate) verdict: Verdict,
    /// What the client should not have said.
    pub(crate) broken: Option<String>,
    /// How much was looked at.
    pub(crate) statements: usize,
}

/// Whether what was heard ends a session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    #[default]
    GoesOn,
    /// It is invalid; no result is defined.
    MayEnd,
    /// It cannot be believed, or says so.
    MustEnd,
}

#[derive(Debug)]
struct Command {
    tag: String,
    verb: String,
    /// Where what was said of it begins to wait, or ends.
    end: u64,
    /// How much had been heard then: what had begun to come is no answer.
    heard: u64,
    whole: bool,
    /// Whether a SASL message of ours was said.
    proves: bool,
    cancelled: bool,
}

/// Who may speak.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Floor {
    #[default]
    Free,
    /// The server: this literal waits to be asked for.
    Waits(String, usize),
    /// The client: so many bytes of a literal are missing.
    Bytes(String, usize),
    /// The client: the line behind a literal is.
    Rest(String),
    /// The server, or the client when it was asked.
    Exchange(String, Asked),
    /// As before: DONE.
    Idle(String, Asked),
    /// The server, for ever if it agrees.
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
    /// Before the greeting. `trusted`: the server can be believed, or the program has said that it wants to.
    pub(crate) fn new(trusted: bool) -> Self {
        Self { trusted, ..Self::default() }
    }

    /// Behind STARTTLS: nothing is known.
    pub(crate) fn under_tls() -> Self {
        Self { trusted: true, greeted: true, ..Self::default() }
    }

    /// The numbers of the commands that await an answer, oldest first.
    pub(crate) fn numbers(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.commands.iter().filter_map(|command| number(&command.tag))
    }

    /// All that was said has left.
    pub(crate) fn leave(&mut self) {
        self.left = self.said;
    }

    /// The client says more.
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

    /// How long the next part is of what was said: a line, or bytes of a literal.
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

    /// A line of a command: the first, or one behind a literal.
    fn line(&mut self, tag: String, part: &[u8]) -> Result<(), &'static str> {
        let announced = announced(part.strip_suffix(b"\r\n").unwrap_or(part));
        // One that was refused is still said to its end, where its literal was announced.
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

    /// The command of which something was said now.
    fn spoken(&mut self, tag: &str) -> Option<&mut Command> {
        let (said, heard) = (self.said, self.before + self.heard.len() as u64);
        let command = self.commands.iter_mut().find(|command| command.tag == tag)?;
        (command.end, command.heard) = (said, heard);
        Some(command)
    }

    /// Whether the line that is read can be about what was said of a command.
    fn answers(&self, command: &Command, at: u64) -> bool {
        command.end <= self.left && command.heard <= at
    }

    fn offers(&self, name: &str) -> bool {
        self.offered.contains(name)
    }

    /// Whether a command may be said, by what the server has said on this channel.
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
            // One that waited is said even if the proof has failed meanwhile: the server refuses it.
            _ if hopes || self.offered_proof => Ok(()),
            _ => Err("it needs an identity"),
        }
    }

    /// The server says more.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        let (left, heard) = (self.left, self.before + self.heard.len() as u64);
        // Nor is what began to come before all of it had left.
        self.commands
            .iter_mut()
            .filter(|command| command.end > left)
            .for_each(|command| command.heard = heard);
        // What may be TLS makes no sense here.
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

    /// A line of the server, behind so many bytes.
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

    /// `+`
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

    /// A tagged line.
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

    /// What a server says that it can do.
    fn learn(&mut self, line: &str) {
        let Some((_, list)) = line.split_once("CAPABILITY ") else { return };
        let list = list.split(']').next().unwrap_or_default();
        self.login |= !list.contains("LOGINDISABLED");
        self.offered.extend(list.split(' ').map(str::to_owned));
    }
}

/// What a tag counts.
fn number(tag: &str) -> Option<u32> {
    tag.strip_prefix('M')?.parse().ok()
}
