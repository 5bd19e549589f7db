//! A stream whose other end is a server in the same task. It passes one byte at a time and waits after each, so that a
//! future that uses it can be dropped between any two bytes.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The server: it takes what the client has sent and returns what it says.
pub trait Script: Send + 'static {
    fn greeting(&mut self) -> Vec<u8>;
    /// Takes complete lines, or whatever it waits for, out of `received`.
    fn answer(&mut self, received: &mut Vec<u8>) -> Vec<u8>;
}

/// What passed, as the server saw it.
pub type Log = Arc<Mutex<Vec<String>>>;

pub struct Scripted<S> {
    script: S,
    received: Vec<u8>,
    output: VecDeque<u8>,
    /// Whether the last call has passed a byte: the next one waits.
    passed: bool,
    is_closed: bool,
}

impl<S: Script> Scripted<S> {
    pub fn new(mut script: S) -> Self {
        let output = script.greeting().into();
        Self { script, received: Vec::new(), output, passed: false, is_closed: false }
    }

    /// Whether this call has to wait.
    fn waits(&mut self, cx: &Context<'_>) -> bool {
        self.passed = !self.passed;
        if !self.passed {
            cx.waker().wake_by_ref();
        }
        !self.passed
    }
}

impl<S: Script + Unpin> AsyncRead for Scripted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.output.is_empty() && this.is_closed {
            return Poll::Ready(Ok(()));
        }
        if this.output.is_empty() {
            return Poll::Pending;
        }
        if this.waits(cx) {
            return Poll::Pending;
        }
        buffer.put_slice(&[this.output.pop_front().unwrap_or_default()]);
        Poll::Ready(Ok(()))
    }
}

impl<S: Script + Unpin> AsyncWrite for Scripted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.waits(cx) {
            return Poll::Pending;
        }
        this.received.extend(bytes.first());
        let answer = this.script.answer(&mut this.received);
        this.output.extend(answer);
        Poll::Ready(Ok(1))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().is_closed = true;
        Poll::Ready(Ok(()))
    }
}

/// Takes a line with its CRLF, if one is complete.
pub fn line(received: &mut Vec<u8>) -> Option<String> {
    let end = received.windows(2).position(|two| two == b"\r\n")? + 2;
    let line = received.drain(..end).collect();
    Some(String::from_utf8(line).unwrap())
}

/// An IMAP server. A mailbox `box7` has seven messages.
pub struct ImapScript {
    pub log: Log,
    literal: Option<(String, usize)>,
    idle: Option<String>,
}

impl ImapScript {
    pub fn new(log: &Log) -> Self {
        Self { log: log.clone(), literal: None, idle: None }
    }

    fn command(&mut self, line: &str) -> String {
        let (tag, command) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        if let Some(tag) = self.idle.take() {
            assert_eq!(tag_of_done(line), "DONE");
            self.log.lock().unwrap().push("DONE".into());
            return format!("{tag} OK idle is over\r\n");
        }
        self.log.lock().unwrap().push(command.into());
        let words: Vec<&str> = command.split(' ').collect();
        let done = format!("{tag} OK {} done\r\n", words[0]);
        match words.as_slice() {
            ["CAPABILITY"] => format!("* CAPABILITY {CAPABILITIES}\r\n{done}"),
            ["LIST", ..] => format!("* LIST () \"/\" one\r\n* LIST () \"/\" two\r\n{done}"),
            ["SELECT" | "EXAMINE", name] => {
                let count = name.trim_start_matches("box");
                format!(
                    "* {count} EXISTS\r\n* OK [UIDVALIDITY {count}] good\r\n{tag} OK [READ-WRITE] open\r\n"
                )
            }
            ["FETCH" | "UID", "FETCH", ..] | ["FETCH", ..] => format!(
                "* 1 FETCH (UID 5 BODY[] {{11}}\r\nhello\r\nyou\r\n)\r\n* 2 FETCH (UID 6 BODY[] \"a \\\"b\\\" c\")\r\n{done}"
            ),
            ["UID", "SEARCH", ..] => format!("* SEARCH 3 4\r\n{done}"),
            ["STATUS", ..] => format!("* STATUS one (MESSAGES 3)\r\n{done}"),
            ["NOOP"] => format!("* 9 EXISTS\r\n{done}"),
            ["IDLE"] => {
                self.idle = Some(tag.into());
                "+ idling\r\n* 5 EXISTS\r\n* 6 EXISTS\r\n".into()
            }
            ["APPEND", _, size] => {
                let size = size.trim_matches(['{', '}']).parse().unwrap();
                self.literal = Some((tag.into(), size));
                "+ go\r\n".into()
            }
            ["AUTHENTICATE", ..] => format!("{tag} OK [CAPABILITY {CAPABILITIES}] welcome\r\n"),
            ["LOGOUT"] => format!("* BYE see you\r\n{done}"),
            ["DELETE", name] => format!("{tag} NO there is no {name}\r\n"),
            _ => done,
        }
    }
}

fn tag_of_done(line: &str) -> &str {
    line.trim_end()
}

const CAPABILITIES: &str = "IMAP4rev1 IDLE UIDPLUS AUTH=PLAIN SASL-IR";

impl Script for ImapScript {
    fn greeting(&mut self) -> Vec<u8> {
        format!("* OK [CAPABILITY {CAPABILITIES}] hello\r\n").into()
    }

    fn answer(&mut self, received: &mut Vec<u8>) -> Vec<u8> {
        if let Some((tag, size)) = &self.literal {
            if received.len() < size + 2 {
                return Vec::new();
            }
            let message: Vec<u8> = received.drain(..size + 2).collect();
            self.log.lock().unwrap().push(format!("message {:?}", String::from_utf8(message).unwrap()));
            let answer = format!("{tag} OK [APPENDUID 1 9] stored\r\n");
            self.literal = None;
            return answer.into();
        }
        line(received).map(|line| self.command(&line)).unwrap_or_default().into()
    }
}

/// An SMTP server. Each reply names the command that it answers.
pub struct SmtpScript {
    pub log: Log,
    in_message: bool,
    recipients: usize,
}

impl SmtpScript {
    pub fn new(log: &Log) -> Self {
        Self { log: log.clone(), in_message: false, recipients: 0 }
    }
}

impl Script for SmtpScript {
    fn greeting(&mut self) -> Vec<u8> {
        b"220 mx.example ready\r\n".to_vec()
    }

    fn answer(&mut self, received: &mut Vec<u8>) -> Vec<u8> {
        if self.in_message {
            let Some(end) = received.windows(5).position(|five| five == b"\r\n.\r\n") else {
                return Vec::new();
            };
            let message: Vec<u8> = received.drain(..end + 5).collect();
            self.log.lock().unwrap().push(format!("message {:?}", String::from_utf8(message).unwrap()));
            self.in_message = false;
            return b"250 2.0.0 message queued\r\n".to_vec();
        }
        let Some(line) = line(received) else { return Vec::new() };
        let line = line.trim_end();
        self.log.lock().unwrap().push(line.into());
        let reply = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-mx.example\r\n250-AUTH PLAIN\r\n250-PIPELINING\r\n250 8BITMIME\r\n".into(),
            "AUTH" => "235 2.7.0 welcome\r\n".into(),
            "DATA" if self.recipients == 0 => "554 5.5.1 no valid recipients\r\n".into(),
            "DATA" => {
                self.in_message = true;
                "354 go\r\n".into()
            }
            "QUIT" => "221 2.0.0 bye\r\n".into(),
            "RCPT" if line.contains("unknown") => "550 5.1.1 no such user\r\n".into(),
            word => {
                self.recipients = if word == "RCPT" { self.recipients + 1 } else { 0 };
                format!("250 2.0.0 {line}\r\n")
            }
        };
        reply.into_bytes()
    }
}
