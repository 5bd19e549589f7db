//! An IMAP server that follows its client's conversation and answers correctly or incorrectly.
//!
//! It knows the correct response, and names in each the command that it belongs to. It is written from RFC 9051 and
//! shares nothing with the machines.

use std::collections::VecDeque;

use crate::adversary::{Peer, Wrong};

/// The server.
pub(crate) struct ImapPeer {
    unread: Vec<u8>,
    /// The command that is being read, with its literals.
    command: Vec<u8>,
    /// The number of bytes of a literal still to come.
    literal: usize,
    mode: Mode,
    owed: VecDeque<Owed>,
    channel: &'static str,
}

/// What the client may send next.
#[derive(Clone, PartialEq, Eq)]
enum Mode {
    Command,
    /// Nothing until it has an answer.
    Silence,
    /// Its part of the exchange with this tag.
    Exchange(String),
    Idling(String),
}

/// What the server still has to send.
#[derive(Clone)]
enum Owed {
    Greeting,
    /// A continuation request, and what the client sends then.
    Continue(Mode),
    /// The completion of the command with this tag and name.
    End(String, String),
}

impl ImapPeer {
    /// Starts before the greeting.
    pub(crate) fn new() -> Self {
        Self {
            unread: Vec::new(),
            command: Vec::new(),
            literal: 0,
            mode: Mode::Command,
            owed: VecDeque::from([Owed::Greeting]),
            channel: "first",
        }
    }

    /// Reads the client's bytes, as far as the client may have sent them.
    fn read(&mut self) {
        while self.mode != Mode::Silence {
            if self.literal > 0 {
                let taken = self.literal.min(self.unread.len());
                self.command.extend(self.unread.drain(..taken));
                self.literal -= taken;
                if self.literal > 0 {
                    return;
                }
            }
            let Some(at) = self.unread.windows(2).position(|window| window == b"\r\n") else { return };
            let line: Vec<u8> = self.unread.drain(..at + 2).collect();
            match self.mode.clone() {
                Mode::Exchange(tag) => self.end(tag, "AUTHENTICATE"),
                Mode::Idling(tag) => self.end(tag, "IDLE"),
                _ => self.line(&line),
            }
        }
    }

    fn end(&mut self, tag: String, verb: &str) {
        self.mode = Mode::Silence;
        self.owed.push_back(Owed::End(tag, verb.to_owned()));
    }

    fn line(&mut self, line: &[u8]) {
        self.command.extend_from_slice(line);
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        if let Some((_, size)) = text.strip_suffix('}').and_then(|text| text.rsplit_once('{')) {
            let at_once = size.ends_with('+');
            self.literal = size.trim_end_matches('+').parse().unwrap_or_default();
            if !at_once {
                self.mode = Mode::Silence;
                self.owed.push_back(Owed::Continue(Mode::Command));
            }
            return;
        }
        let command = String::from_utf8_lossy(&std::mem::take(&mut self.command)).to_ascii_uppercase();
        let mut words = command.split_ascii_whitespace();
        let (tag, verb) = (words.next().unwrap_or("?").to_owned(), words.next().unwrap_or_default());
        match verb {
            "AUTHENTICATE" if words.nth(1).is_none() => {
                self.mode = Mode::Silence;
                self.owed.push_back(Owed::Continue(Mode::Exchange(tag)));
            }
            "IDLE" => {
                self.mode = Mode::Silence;
                self.owed.push_back(Owed::Continue(Mode::Idling(tag)));
            }
            "STARTTLS" | "AUTHENTICATE" | "LOGOUT" => self.end(tag, verb),
            _ => self.owed.push_back(Owed::End(tag, verb.to_owned())),
        }
    }

    /// Sends this, with `OK` or another condition.
    fn say(&mut self, owed: Owed, condition: &str) -> Vec<u8> {
        let channel = self.channel;
        match owed {
            Owed::Greeting => format!("* {condition} to-none on-{channel}\r\n").into_bytes(),
            Owed::Continue(mode) => {
                self.mode = mode;
                b"+ \r\n".to_vec()
            }
            Owed::End(tag, verb) => {
                if self.mode == Mode::Silence {
                    self.mode = Mode::Command;
                }
                let data = self.data(&verb);
                format!("{data}{tag} {condition} to-{tag} on-{channel}\r\n").into_bytes()
            }
        }
    }

    /// The untagged responses of a command.
    fn data(&self, verb: &str) -> String {
        let tls = if self.channel == "first" { " STARTTLS" } else { "" };
        match verb {
            "CAPABILITY" => format!(
                "* CAPABILITY IMAP4rev1{tls} AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=SCRAM-SHA-256 IDLE LITERAL-\r\n"
            ),
            "SELECT" | "EXAMINE" => "* 3 EXISTS\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 1] x\r\n".to_owned(),
            "FETCH" | "UID" => {
                "* 1 FETCH (UID 1 FLAGS () BODY[] {5}\r\nhello)\r\n* 2 FETCH (FLAGS (\\Seen))\r\n".to_owned()
            }
            "SEARCH" => "* SEARCH 1 2\r\n".to_owned(),
            "LIST" => "* LIST () \"/\" x\r\n".to_owned(),
            "EXPUNGE" => "* 1 EXPUNGE\r\n".to_owned(),
            "LOGOUT" => "* BYE x\r\n".to_owned(),
            _ => String::new(),
        }
    }
}

impl Peer for ImapPeer {
    fn hear(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.read();
    }

    fn secured(&mut self) {
        *self = Self { owed: VecDeque::new(), channel: "second", ..Self::new() };
    }

    fn right(&mut self) -> Option<Vec<u8>> {
        let owed = self.owed.pop_front()?;
        let bytes = self.say(owed, "OK");
        self.read();
        Some(bytes)
    }

    fn wrong(&mut self, how: Wrong, which: usize) -> Vec<u8> {
        const CONDITIONS: [&str; 6] = ["NO", "BAD", "PREAUTH", "BYE", "OK [CAPABILITY IMAP4rev1]", "ok"];
        const NONSENSE: [&[u8]; 20] = [
            b"* PREAUTH x\r\n",
            b"* OK x\r\n",
            b"* BYE x\r\n",
            b"* NO [ALERT] x\r\n",
            b"+ \r\n",
            b"+ go\r\n",
            b"+ VXNlcm5hbWU6\r\n",
            b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n",
            b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LITERAL+\r\n",
            b"* 3 EXISTS\r\n",
            b"* 1 FETCH (BODY[] {3}\r\nabc)\r\n",
            b"* 1 FETCH (BODY[] {99999}\r\nabc\r\n",
            b"* 1 FETCH (FLAGS ((((\r\n",
            b"M1 OK to-M1 on-nothing\r\n",
            b"M2 OK to-M2 on-nothing\r\n",
            b"M99 OK to-M99 on-nothing\r\n",
            b"a001 OK x\r\n",
            b"* LIST () \"/\" {4294967296}\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
            b"* OK bare\n",
        ];
        let bytes = match (how, self.owed.pop_front()) {
            (Wrong::Answer, Some(owed)) => self.say(owed, CONDITIONS[which % CONDITIONS.len()]),
            (Wrong::Order, Some(first)) => {
                let second = self.owed.pop_front();
                self.owed.push_front(first.clone());
                match second {
                    Some(second) => self.say(second, "OK"),
                    // The completion of a command before the continuation request that it waits for.
                    None => b"M3 OK to-M3 on-nothing\r\n".to_vec(),
                }
            }
            (_, owed) => {
                owed.into_iter().for_each(|owed| self.owed.push_front(owed));
                NONSENSE[which % NONSENSE.len()].to_vec()
            }
        };
        self.read();
        bytes
    }
}
