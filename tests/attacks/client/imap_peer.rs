//! An IMAP server for the rows: it answers each command normally, or as the row says.
//!
//! This module frames commands and literals and answers them; it does not know the attack.

use super::sasl::{Exchange, Turn};
use super::{Answer, Server};
use crate::script::Serve;
use crate::verdict::Observed;

/// What the client has sent, and how much of it was read.
#[derive(Debug, Default)]
pub(crate) struct ImapPeer {
    heard: Vec<u8>,
    /// The command that is being read: its lines, without literals.
    command: String,
    tag: String,
    /// What `next` found and `answer` has not answered.
    found: Option<String>,
    exchange: Option<Exchange>,
    said: Vec<String>,
    commands: Vec<u8>,
}

impl Server for ImapPeer {
    fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend(bytes);
    }

    fn secured(&mut self) {
        let commands = std::mem::take(&mut self.commands);
        *self = Self { tag: std::mem::take(&mut self.tag), commands, ..Self::default() };
    }

    fn next(&mut self) -> Option<String> {
        if self.found.is_none() {
            self.found = self.read();
        }
        self.found.clone()
    }

    fn leave(&mut self) {
        self.found = None;
    }

    fn answer(&mut self, serve: &Serve) -> Answer {
        let verb = self.found.take().unwrap_or_default();
        if verb.is_empty() {
            let message = std::mem::take(&mut self.command);
            let turn = self.exchange.as_mut().map(|exchange| exchange.hear(&message, serve.sasl.as_ref()));
            return self.turn(turn.unwrap_or(Turn::Refused));
        }
        let other = Answer::overridden(serve, &verb, &mut self.said);
        if let Some(other) = other {
            if verb == "LITERAL" {
                self.command.clear();
            }
            return other;
        }
        let text = match verb.as_str() {
            "LITERAL" => "+ go on\r\n".to_owned(),
            "AUTHENTICATE" => return self.authenticate(serve),
            "CAPABILITY" => format!("* CAPABILITY {}\r\n{{tag}} OK done\r\n", serve.capabilities.join(" ")),
            "SELECT" | "EXAMINE" => {
                "* 1 EXISTS\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 1] valid\r\n{tag} OK [READ-ONLY] done\r\n".into()
            }
            "FETCH" => "* 1 FETCH (BODY[] {5}\r\nhello)\r\n{tag} OK done\r\n".into(),
            "LOGOUT" => "* BYE until later\r\n{tag} OK done\r\n".into(),
            _ => "{tag} OK done\r\n".into(),
        };
        Answer::of(text)
    }

    fn tag(&self) -> String {
        self.tag.clone()
    }

    fn told(&mut self, seen: &mut Observed) {
        seen.commands = std::mem::take(&mut self.commands);
    }
}

impl ImapPeer {
    /// The next command, the empty string for a line inside AUTHENTICATE, or `LITERAL` if one waits for a
    /// continuation request.
    fn read(&mut self) -> Option<String> {
        loop {
            let end = self.heard.windows(2).position(|pair| pair == b"\r\n")?;
            let line = String::from_utf8_lossy(&self.heard[..end]).into_owned();
            let literal = literal(&line);
            if let Some((size, false)) = literal {
                self.heard.drain(..end + 2);
                self.begin(&line);
                // Its bytes come after the continuation request.
                self.skip(size);
                return Some("LITERAL".into());
            }
            if let Some((size, true)) = literal {
                self.heard.get(end + 2 + size..)?;
                self.heard.drain(..end + 2 + size);
                self.begin(&line);
                continue;
            }
            self.heard.drain(..end + 2);
            if self.exchange.is_some() {
                self.command = line;
                return Some(String::new());
            }
            self.begin(&line);
            let command = std::mem::take(&mut self.command);
            self.commands.extend(format!("{command}\r\n").into_bytes());
            let verb = command.split(' ').nth(1).unwrap_or_default().to_ascii_uppercase();
            if verb == "AUTHENTICATE" {
                self.command = command;
            }
            return Some(verb);
        }
    }

    /// A line of a command. The first line has the tag.
    fn begin(&mut self, line: &str) {
        if self.command.is_empty() {
            self.tag = line.split(' ').next().unwrap_or_default().to_owned();
        }
        self.command.push_str(line);
    }

    fn skip(&mut self, size: usize) {
        // A client that does not wait has already sent its literal.
        let there = size.min(self.heard.len());
        self.heard.drain(..there);
    }

    fn authenticate(&mut self, serve: &Serve) -> Answer {
        let command = std::mem::take(&mut self.command);
        let mut words = command.split(' ').skip(2);
        let mut exchange = Exchange::new(words.next().unwrap_or_default());
        let turn = match words.next() {
            Some(message) => exchange.hear(if message == "=" { "" } else { message }, serve.sasl.as_ref()),
            None => exchange.begin(serve.sasl.as_ref()),
        };
        self.exchange = Some(exchange);
        self.turn(turn)
    }

    fn turn(&mut self, turn: Turn) -> Answer {
        let proved = self.exchange.as_ref().is_some_and(|exchange| exchange.proved);
        let mark = proved.then_some("scram-final-sent");
        let text = match turn {
            Turn::Challenge(challenge) => format!("+ {challenge}\r\n"),
            Turn::End(end) => {
                self.exchange = None;
                end.unwrap_or_else(|| "{tag} OK in\r\n".to_owned())
            }
            Turn::Refused => {
                self.exchange = None;
                "{tag} BAD cancelled\r\n".to_owned()
            }
        };
        Answer { text, stop: false, mark }
    }
}

/// A literal at the end of a line: its size, and whether it is non-synchronising.
fn literal(line: &str) -> Option<(usize, bool)> {
    let inner = line.strip_suffix('}')?.rsplit_once('{')?.1;
    let unasked = inner.ends_with('+');
    Some((inner.trim_end_matches('+').parse().ok()?, unasked))
}
