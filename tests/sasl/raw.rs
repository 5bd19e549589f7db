//! A server of either protocol under TLS, and a client that says whatever bytes it likes.
//!
//! It knows how an exchange is begun, goes on and ends on the wire, and no mechanism.

use proto_mail::sasl;
use proto_mail::token::AuthQuestion;
use proto_mail::{
    AuthVerdict, ChannelBinding, Error, Limits, Mechanisms, RecvBuffer, Secure, SendBuffer, Wait, WaitFor,
};

use crate::talk::Protocol;

/// A server's application.
pub(crate) type Answer = fn(&AuthQuestion) -> AuthVerdict;

/// What a server does with what has come: it asks its application, and waits where it wants to.
type Serve = dyn FnMut(&mut RecvBuffer, &mut SendBuffer, &mut Counts) -> Result<Wait, Error>;

/// What happened beside what was said.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// How often an answer was held back.
    pub(crate) delays: usize,
    /// How often the application was asked.
    pub(crate) questions: usize,
}

/// The server, and what is on its way.
pub(crate) struct Raw {
    protocol: Protocol,
    serve: Box<Serve>,
    rx: RecvBuffer,
    tx: SendBuffer,
    pub(crate) counts: Counts,
    /// What the server awaits.
    pub(crate) wait: Option<Wait>,
    /// What the session ended with.
    pub(crate) error: Option<Error>,
}

impl Raw {
    /// A server whose channel can be bound to and has nonces, that has greeted.
    pub(crate) fn new(protocol: Protocol, limits: Limits, answer: Answer) -> Self {
        let binding = ChannelBinding::TlsExporter([9; 32]);
        Self::over(protocol, limits, (binding, Mechanisms::all()), answer)
    }

    /// A server over a channel with this to be bound to, that serves these mechanisms.
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

    /// Says this; what the server says to it.
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

    /// Begins an exchange, by a mechanism's name and perhaps an initial response.
    pub(crate) fn begin(&mut self, mechanism: &str) -> String {
        self.say(&match self.protocol {
            Protocol::Imap => format!("a AUTHENTICATE {mechanism}\r\n"),
            Protocol::Smtp => format!("AUTH {mechanism}\r\n"),
        })
    }

    /// Begins an exchange and says these messages, as long as the server goes on. What it says to the last.
    pub(crate) fn exchange(&mut self, mechanism: &str, messages: &[&str]) -> String {
        let mut told = self.begin(mechanism);
        for message in messages {
            assert!(self.challenge(&told).is_some(), "{mechanism}: {message:?} is not awaited: {told}");
            told = self.say(&format!("{message}\r\n"));
        }
        told
    }

    /// What the server's challenge holds, if it is one.
    pub(crate) fn challenge(&self, told: &str) -> Option<String> {
        let prompt = if self.protocol == Protocol::Imap { "+ " } else { "334 " };
        let challenge = sasl::decode_base64(told.strip_prefix(prompt)?.trim_end().as_bytes()).unwrap();
        Some(String::from_utf8(challenge.expose().clone()).unwrap())
    }

    /// Which answer this is that ends an exchange.
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

    /// Whether the server lets anybody begin now.
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
    /// There is no such mechanism.
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
