//! An SMTP server for the rows: it answers each command normally, or as the row says.
//!
//! This module frames commands and messages and answers them; it does not know the attack.

use super::sasl::{Exchange, Turn};
use super::{Answer, Server};
use crate::script::Serve;
use crate::verdict::Observed;

/// What the client has sent, and how much of it was read.
#[derive(Debug, Default)]
pub(crate) struct SmtpPeer {
    heard: Vec<u8>,
    line: String,
    found: Option<String>,
    reading: Reading,
    exchange: Option<Exchange>,
    said: Vec<String>,
    commands: Vec<u8>,
    message: Vec<u8>,
}

/// What is expected next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Reading {
    #[default]
    Commands,
    /// Up to the line with a single dot.
    Data,
    /// This many bytes.
    Chunk(usize),
}

/// Stands for the end of a message.
const MESSAGE: &str = "the message";

impl Server for SmtpPeer {
    fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend(bytes);
    }

    fn secured(&mut self) {
        let commands = std::mem::take(&mut self.commands);
        *self = Self { commands, ..Self::default() };
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
        if self.exchange.is_some() {
            let message = std::mem::take(&mut self.line);
            let turn = self.exchange.as_mut().map(|exchange| exchange.hear(&message, serve.sasl.as_ref()));
            return self.turn(turn.unwrap_or(Turn::Refused));
        }
        if let Some(other) = Answer::overridden(serve, &verb, &mut self.said) {
            return other;
        }
        let text = match verb.as_str() {
            "EHLO" | "LHLO" => hello(&serve.capabilities),
            "AUTH" => return self.authenticate(serve),
            "DATA" => {
                self.reading = Reading::Data;
                format!("354 go on\r\n{}", serve.data_early.as_deref().unwrap_or_default())
            }
            MESSAGE => serve.data_final.clone().unwrap_or_else(|| "250 2.0.0 queued\r\n".into()),
            "QUIT" => "221 2.0.0 bye\r\n".into(),
            "STARTTLS" => "220 2.0.0 go on\r\n".into(),
            _ => "250 2.0.0 ok\r\n".into(),
        };
        Answer::of(text)
    }

    fn told(&mut self, seen: &mut Observed) {
        seen.commands = std::mem::take(&mut self.commands);
        seen.message = std::mem::take(&mut self.message);
    }
}

impl SmtpPeer {
    /// The verb of the next command, or [`MESSAGE`].
    fn read(&mut self) -> Option<String> {
        match self.reading {
            Reading::Commands => {}
            Reading::Data => {
                let line = self.line()?;
                if line != "." {
                    let bytes = line.strip_prefix('.').unwrap_or(&line).bytes();
                    self.message.extend(bytes.chain(*b"\r\n"));
                    return self.read();
                }
                self.reading = Reading::Commands;
                return Some(MESSAGE.into());
            }
            Reading::Chunk(size) => {
                self.heard.get(..size)?;
                self.message.extend(self.heard.drain(..size));
                self.reading = Reading::Commands;
                return Some(MESSAGE.into());
            }
        }
        let line = self.line()?;
        self.line.clone_from(&line);
        if self.exchange.is_none() {
            self.commands.extend(format!("{line}\r\n").into_bytes());
        }
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        if verb == "BDAT" {
            let size = line.split(' ').nth(1).and_then(|size| size.parse().ok());
            self.reading = Reading::Chunk(size.unwrap_or_default());
            return self.read();
        }
        Some(verb)
    }

    fn line(&mut self) -> Option<String> {
        let end = self.heard.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.heard[..end]).into_owned();
        self.heard.drain(..end + 2);
        Some(line)
    }

    fn authenticate(&mut self, serve: &Serve) -> Answer {
        let line = std::mem::take(&mut self.line);
        let mut words = line.split(' ').skip(1);
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
            Turn::Challenge(challenge) => format!("334 {challenge}\r\n"),
            Turn::End(end) => {
                self.exchange = None;
                end.unwrap_or_else(|| "235 2.7.0 in\r\n".to_owned())
            }
            Turn::Refused => {
                self.exchange = None;
                "501 5.7.0 cancelled\r\n".to_owned()
            }
        };
        Answer { text, stop: false, mark }
    }
}

fn hello(keywords: &[String]) -> String {
    let lines: Vec<&str> =
        std::iter::once("mx.example.test").chain(keywords.iter().map(String::as_str)).collect();
    let last = lines.len() - 1;
    let each = lines.iter().enumerate();
    each.map(|(at, line)| format!("250{}{line}\r\n", if at == last { ' ' } else { '-' })).collect()
}
