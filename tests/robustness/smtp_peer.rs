//! An SMTP or LMTP server that follows its client's conversation and answers correctly or incorrectly.
//!
//! It knows the correct reply, and names in each reply the command that it belongs to. It is written from RFC 5321,
//! 2033, 3030 and 4954 and shares nothing with the machines.

use std::collections::VecDeque;

use proto_smtp::Dialect;

use crate::adversary::{Peer, Wrong};

/// The server.
pub(crate) struct SmtpPeer {
    dialect: Dialect,
    unread: Vec<u8>,
    mode: Mode,
    /// The commands that wait for a reply, and the correct replies.
    owed: VecDeque<(&'static str, u16)>,
    /// The number of accepted recipients in this transaction.
    accepted: usize,
    /// The number of bytes of a chunk still to come.
    chunk: usize,
    /// The number of further challenges in this exchange.
    challenges: usize,
    channel: &'static str,
}

/// What the client may send next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Command,
    /// Nothing until it has an answer.
    Silence,
    Exchange,
    Message,
}

impl SmtpPeer {
    /// Starts before the greeting.
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            unread: Vec::new(),
            mode: Mode::Command,
            owed: VecDeque::from([("GREETING", 220)]),
            accepted: 0,
            chunk: 0,
            challenges: 0,
            channel: "first",
        }
    }

    /// Reads the client's bytes, as far as the client may have sent them.
    fn read(&mut self) {
        loop {
            let taken = self.chunk.min(self.unread.len());
            self.unread.drain(..taken);
            self.chunk -= taken;
            let end: &[u8] = if self.mode == Mode::Message { b"\r\n.\r\n" } else { b"\r\n" };
            let found = self.unread.windows(end.len()).position(|window| window == end);
            // Without a recipient the client sends only the end of data.
            let empty = self.mode == Mode::Message && self.unread.starts_with(b".\r\n");
            let found = if empty { Some(3) } else { found.map(|at| at + end.len()) };
            let Some(end) = found.filter(|_| self.mode != Mode::Silence) else { return };
            let line: Vec<u8> = self.unread.drain(..end).collect();
            match self.mode {
                Mode::Command => self.command(&String::from_utf8_lossy(&line).to_ascii_uppercase()),
                Mode::Message => {
                    self.mode = Mode::Command;
                    self.message();
                }
                _ => {
                    self.mode = Mode::Silence;
                    let code = match (line.as_slice(), self.challenges) {
                        (b"*\r\n", _) => 501,
                        (_, 0) => 235,
                        _ => 334,
                    };
                    self.owed.push_back(("AUTH", code));
                }
            }
        }
    }

    fn message(&mut self) {
        let replies = if self.dialect == Dialect::Lmtp { self.accepted } else { 1 };
        self.owed.extend(std::iter::repeat_n(("MESSAGE", 250), replies));
    }

    fn command(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let reply = match words.next().unwrap_or_default() {
            "EHLO" | "LHLO" => ("EHLO", 250),
            "HELO" => ("HELO", 250),
            "STARTTLS" => ("STARTTLS", 220),
            "AUTH" => {
                let initial = words.nth(1).is_some();
                self.challenges = if line.contains(" LOGIN") { 2 } else { usize::from(!initial) };
                ("AUTH", if self.challenges == 0 { 235 } else { 334 })
            }
            "MAIL" => {
                self.accepted = 0;
                ("MAIL", 250)
            }
            "RCPT" => ("RCPT", 250),
            "DATA" => ("DATA", 354),
            "BDAT" => return self.chunk(words.next(), words.next()),
            "RSET" => ("RSET", 250),
            "NOOP" => ("NOOP", 250),
            "VRFY" => ("VRFY", 252),
            "HELP" => ("HELP", 214),
            "QUIT" => ("QUIT", 221),
            _ => ("NOTHING", 500),
        };
        if matches!(reply.0, "DATA" | "AUTH" | "STARTTLS" | "EHLO" | "QUIT") {
            self.mode = Mode::Silence;
        }
        self.owed.push_back(reply);
    }

    fn chunk(&mut self, size: Option<&str>, last: Option<&str>) {
        let size: usize = size.and_then(|size| size.parse().ok()).unwrap_or_default();
        self.chunk = size;
        match last {
            Some(_) if self.dialect == Dialect::Lmtp => self.message(),
            _ => self.owed.push_back(("BDAT", 250)),
        }
    }

    /// The reply with this code; its text names the command.
    fn reply(&mut self, code: u16) -> Vec<u8> {
        let to = self.owed.pop_front().map_or("NOTHING", |(to, _)| to);
        let channel = self.channel;
        match (to, code) {
            ("RCPT", 200..300) => self.accepted += 1,
            ("DATA", 354) => self.mode = Mode::Message,
            ("AUTH", 334) => {
                self.mode = Mode::Exchange;
                self.challenges = self.challenges.saturating_sub(1);
                return b"334 VXNlcm5hbWU6\r\n".to_vec();
            }
            ("EHLO", 250) => {
                self.mode = Mode::Command;
                let mechanisms = "PLAIN LOGIN XOAUTH2 OAUTHBEARER EXTERNAL ANONYMOUS SCRAM-SHA-256";
                let tls = if channel == "first" { "250-STARTTLS\r\n" } else { "" };
                return format!(
                    "250-to-EHLO on-{channel}\r\n250-PIPELINING\r\n{tls}250-CHUNKING\r\n250 AUTH {mechanisms}\r\n"
                )
                .into_bytes();
            }
            ("DATA" | "AUTH" | "EHLO" | "STARTTLS", _) => self.mode = Mode::Command,
            _ => {}
        }
        format!("{code} to-{to} on-{channel}\r\n").into_bytes()
    }
}

impl Peer for SmtpPeer {
    fn hear(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.read();
    }

    fn secured(&mut self) {
        *self = Self { owed: VecDeque::new(), channel: "second", ..Self::new(self.dialect) };
    }

    fn right(&mut self) -> Option<Vec<u8>> {
        let code = self.owed.front()?.1;
        let reply = self.reply(code);
        self.read();
        Some(reply)
    }

    fn wrong(&mut self, how: Wrong, which: usize) -> Vec<u8> {
        const CODES: [u16; 14] = [250, 220, 221, 354, 334, 235, 421, 450, 452, 501, 503, 535, 550, 554];
        const NONSENSE: [&[u8]; 10] = [
            b"250-continued\r\n",
            b"250-STARTTLS\r\n",
            b"354-\r\n",
            b"999 x\r\n",
            b"25\r\n",
            b"\r\n",
            b"250 bare\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
            b"* OK x\r\n",
            b"EHLO x\r\n",
        ];
        let nonsense = NONSENSE[which % NONSENSE.len()];
        let other = CODES[which % CODES.len()];
        let bytes = match how {
            Wrong::Answer => self.reply(other),
            Wrong::Nonsense => nonsense.to_vec(),
            Wrong::Order => {
                // The reply to the second command comes first.
                let code = self.owed.get(1).map_or(other, |(_, code)| *code);
                self.reply(code)
            }
        };
        self.read();
        bytes
    }
}
