//! A server of either protocol under TLS, and a client that sends arbitrary bytes.
//!
//! This module knows the framing of an exchange, and no mechanism.

use proto_mail::sasl;
use proto_mail::token::AuthQuestion;
use proto_mail::{
    AuthVerdict, ChannelBinding, Error, Limits, Mechanisms, RecvBuffer, Secure, SendBuffer, Wait, WaitFor,
};

use crate::conversation::Protocol;

/// A server's application.
pub(crate) type Answer = fn(&AuthQuestion) -> AuthVerdict;

/// How a server handles its input: it asks its application, and may wait.
type Serve = dyn FnMut(&mut RecvBuffer, &mut SendBuffer, &mut Counts) -> Result<Wait, Error>;

/// Counters beside the conversation.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// How often an answer was delayed.
    pub(crate) delays: usize,
    /// How often the application was asked.
    pub(crate) questions: usize,
}

/// The server and its buffers.
pub(crate) struct Raw {
    protocol: Protocol,
    serve: Box<Serve>,
    rx: RecvBuffer,
    tx: SendBuffer,
    pub(crate) counts: Counts,
    /// The server's current wait.
    pub(crate) wait: Option<Wait>,
    /// The error that ended the session.
    pub(crate) error: Option<Error>,
}

impl Raw {
    /// A server with a channel binding and nonces, after its greeting.
    pub(crate) fn new(protocol: Protocol, limits: Limits, answer: Answer) -> Self {
        let binding = ChannelBinding::TlsExporter([9; 32]);
        Self::over(protocol, limits, (binding, Mechanisms::all()), answer)
    }

    /// A server with this channel binding that offers these mechanisms.
    pub(crate) fn over(
        protocol: Protocol,
        limits: Limits,
        (binding, served): (ChannelBinding, Mechanisms),
        answer: Answer,
    ) -> Self {
        let secure = Secure::tls(binding).with_seed([2; 32]);
        let mut raw = Self {
            protocol,
            serve: serve(protocol, limits, (secure, served), answer),
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            counts: Counts::default(),
            wait: None,
            error: None,
        };
        raw.say("");
        if protocol == Protocol::Smtp {
            raw.say("EHLO c.example\r\n");
        }
        raw
    }

    /// Sends this and returns the server's answer.
    pub(crate) fn say(&mut self, bytes: &str) -> String {
        self.rx.extend(bytes.as_bytes());
        while self.error.is_none() {
            let before = self.counts.delays;
            match (self.serve)(&mut self.rx, &mut self.tx, &mut self.counts) {
                Ok(wait) => self.wait = Some(wait),
                Err(error) => self.error = Some(error),
            }
            if self.counts.delays == before {
                break;
            }
        }
        let told: Vec<u8> = self.tx.chunks().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        self.tx.sent(told.len());
        String::from_utf8(told).unwrap()
    }

    /// Starts an exchange by a mechanism's name and perhaps an initial response.
    pub(crate) fn begin(&mut self, mechanism: &str) -> String {
        self.say(&match self.protocol {
            Protocol::Imap => format!("a AUTHENTICATE {mechanism}\r\n"),
            Protocol::Smtp => format!("AUTH {mechanism}\r\n"),
        })
    }

    /// Starts an exchange and sends these messages while the server continues. Returns its last answer.
    pub(crate) fn exchange(&mut self, mechanism: &str, messages: &[&str]) -> String {
        let mut told = self.begin(mechanism);
        for message in messages {
            assert!(self.challenge(&told).is_some(), "{mechanism}: {message:?} is not expected: {told}");
            told = self.say(&format!("{message}\r\n"));
        }
        told
    }

    /// The content of a challenge; `None` for other answers.
    pub(crate) fn challenge(&self, told: &str) -> Option<String> {
        let prompt = if self.protocol == Protocol::Imap { "+ " } else { "334 " };
        let challenge = sasl::decode_base64(told.strip_prefix(prompt)?.trim_end().as_bytes()).unwrap();
        Some(String::from_utf8(challenge.expose().clone()).unwrap())
    }

    /// Which result this answer stands for.
    pub(crate) fn answer(&self, told: &str) -> Ended {
        let known: &[(&str, Ended)] = match self.protocol {
            Protocol::Imap => &[
                ("a OK ", Ended::Accepted),
                ("a NO [AUTHENTICATIONFAILED] ", Ended::Rejected),
                ("a NO [CANNOT] ", Ended::Absent),
                ("a BAD ", Ended::Wrong),
            ],
            Protocol::Smtp => &[
                ("235 ", Ended::Accepted),
                ("535 ", Ended::Rejected),
                ("504 ", Ended::Absent),
                ("50", Ended::Wrong),
            ],
        };
        known.iter().find(|(begin, _)| told.starts_with(begin)).map_or(Ended::Otherwise, |(_, ended)| *ended)
    }

    /// Whether the server accepts a new exchange now.
    pub(crate) fn is_open(&self) -> bool {
        self.error.is_none() && self.wait.is_some_and(|wait| wait.awaited == WaitFor::Command)
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Accepted,
    /// NO, or 535.
    Rejected,
    /// The mechanism is not offered.
    Absent,
    /// BAD, or 500 and 501.
    Wrong,
    Otherwise,
}

fn serve(
    protocol: Protocol,
    limits: Limits,
    (secure, served): (Secure, Mechanisms),
    answer: Answer,
) -> Box<Serve> {
    match protocol {
        Protocol::Imap => {
            let config = proto_imap::Config::default().offered_mechanisms(served).limits(limits);
            let mut greeting = SendBuffer::new();
            let mut server = proto_imap::server::Server::<Secure>::new(config, secure, &mut greeting);
            Box::new(move |rx, tx, counts| {
                tx.put(&greeting.take());
                while let Some(event) = server.next_event(rx, tx)? {
                    if let proto_imap::server::Event::Auth(request) = event {
                        counts.questions += 1;
                        let verdict = answer(request.question());
                        server.answer_auth(request, verdict, tx)?;
                    }
                }
                if server.wait().awaited == WaitFor::Delay {
                    counts.delays += 1;
                    server.timed_out(tx)?;
                }
                Ok(server.wait())
            })
        }
        Protocol::Smtp => {
            let config = proto_smtp::Config::default().offered_mechanisms(served).limits(limits);
            let mut begun = Some((config, secure));
            let mut server = None;
            Box::new(move |rx, tx, counts| {
                if let Some((config, secure)) = begun.take() {
                    server = Some(proto_smtp::server::Server::<Secure>::new(config, secure, tx));
                }
                let server = server.as_mut().unwrap();
                while let Some(event) = server.next_event(rx, tx)? {
                    if let proto_smtp::server::Event::Auth(request) = event {
                        counts.questions += 1;
                        let verdict = answer(request.question());
                        server.answer_auth(request, verdict, tx)?;
                    }
                }
                if server.wait().awaited == WaitFor::Delay {
                    counts.delays += 1;
                    server.timed_out(tx)?;
                }
                Ok(server.wait())
            })
        }
    }
}
