//! The application of an SMTP server under attack: it accepts mail for one domain, and keeps it.
//!
//! This module knows events and answers; when an answer is given is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use io_mio::{MachineMut, SmtpServer};
use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Mechanisms, Secure, SendBuffer, StartTlsRequest,
};
use proto_smtp::server::{Event, Reply};
use proto_smtp::types::{Code, Domain, Response};
use proto_smtp::{Config, Waits};

use super::{Application, Clock, LARGEST, Log, Service, verdict};

/// The application.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) log: Log,
    owed: Option<Owed>,
    /// The sender and the recipients of the message.
    envelope: String,
}

#[derive(Debug)]
enum Owed {
    Reply(Reply, Response<'static>),
    Verdict(AuthRequest, AuthVerdict),
}

impl Application for Exchange {
    type Protocol = SmtpServer;

    fn config(service: Service, clock: Clock) -> Arc<Config> {
        let mut config = Config::default()
            .name(Domain::parse("mail.example.test").unwrap().into_owned())
            .offered_mechanisms(Mechanisms::all());
        config.limits.message = LARGEST;
        if clock == Clock::Short {
            let mut waits = Waits::default();
            (waits.command, waits.data) = (Duration::from_secs(30), Duration::from_secs(30));
            config = config.waits(waits);
        }
        if service != Service::Submission {
            config = config.optional_authentication();
        }
        Arc::new(config)
    }

    fn preparation(service: Service, place: &str) -> Vec<(&'static str, &'static str)> {
        if place == "cleartext" {
            return vec![("", "220 "), ("EHLO client.example.test\r\n", "250 ")];
        }
        let mut way = vec![
            ("", "220 "),
            ("EHLO client.example.test\r\n", "250 "),
            ("STARTTLS\r\n", "220 "),
            ("TLS", ""),
            ("EHLO client.example.test\r\n", "250 "),
        ];
        if place == "auth" || place != "tls" && service == Service::Submission {
            way.push(("AUTH PLAIN {plain}\r\n", "235 "));
        }
        let further =
            [("MAIL FROM:<{from}>\r\n", "250 "), ("RCPT TO:<{rcpt}>\r\n", "250 "), ("DATA\r\n", "354 ")];
        let further = match place {
            "tls" | "auth" => &further[..0],
            "mail" => &further[..1],
            "rcpt" => &further[..2],
            "data" => &further[..],
            other => panic!("unknown state {other}"),
        };
        way.extend(further);
        way
    }

    fn sign_of_life() -> [(&'static str, &'static str); 2] {
        [("EHLO other.example.test\r\n", "250 "), ("NOOP\r\n", "\r\n250 2.0.0 ")]
    }

    fn cleartext(&mut self, event: Event<'_, Cleartext>) -> Option<StartTlsRequest> {
        match event {
            Event::StartTls(request) => return Some(request),
            event => self.event(event),
        }
        None
    }

    fn secure(&mut self, event: Event<'_, Secure>) {
        match event {
            Event::Auth(request) => {
                let verdict = verdict(&request, &mut self.log);
                self.owed = Some(Owed::Verdict(request, verdict));
            }
            event => self.event(event),
        }
    }

    fn answer(&mut self, machine: MachineMut<'_, SmtpServer>, tx: &mut SendBuffer) -> bool {
        match (self.owed.take(), machine) {
            (None, _) => return false,
            (Some(Owed::Reply(reply, response)), MachineMut::Cleartext(server)) => {
                server.reply(reply, &response, tx).unwrap();
            }
            (Some(Owed::Reply(reply, response)), MachineMut::Secure(server)) => {
                server.reply(reply, &response, tx).unwrap();
            }
            (Some(Owed::Verdict(request, verdict)), MachineMut::Secure(server)) => {
                server.answer_auth(request, verdict, tx).unwrap();
            }
            (Some(Owed::Verdict(..)), MachineMut::Cleartext(_)) => panic!("a verdict on cleartext"),
        }
        true
    }

    fn log(&mut self) -> &mut Log {
        &mut self.log
    }
}

impl Exchange {
    fn event<C: Channel>(&mut self, event: Event<'_, C>) {
        match event {
            Event::Hello(_, name) => self.log.ask(&format!("HELLO {}", name.as_str())),
            Event::Mail(mail, reply) => {
                self.envelope = format!("MAIL {}", mail.from.as_str());
                self.ask_and_reply(&format!("MAIL {}", mail.from.as_str()), reply, Response::ok());
            }
            Event::Rcpt(rcpt, reply) => {
                let to = rcpt.to.as_str();
                let ours = to.ends_with("@example.test");
                if ours {
                    self.envelope += &format!(" RCPT {to}");
                }
                let response = if ours { Response::ok() } else { Response::no_such_mailbox() };
                self.ask_and_reply(&format!("RCPT {to}"), reply, response);
            }
            Event::Data(reply) => self.ask_and_reply("DATA", reply, Response::start_data()),
            Event::DataChunk(bytes) => self.log.coming.extend_from_slice(&bytes),
            Event::DataEnd(reply) => {
                self.log.deliveries.extend(format!("{}\n", self.envelope).into_bytes());
                self.log.deliveries.append(&mut self.log.coming);
                self.ask_and_reply("END", reply, Response::ok());
            }
            // A careless application echoes its argument.
            Event::Vrfy(text, reply) | Event::Expn(text, reply) => {
                let response = Response::new(Code::CANNOT_VERIFY, format!("I do not know {text}"));
                self.ask_and_reply(&format!("VRFY {text}"), reply, response);
            }
            Event::Reset => {
                self.log.ask("RESET");
                self.log.coming.clear();
            }
            _ => {}
        }
    }

    fn ask_and_reply(&mut self, what: &str, reply: Reply, response: Response<'static>) {
        self.log.ask(what);
        self.owed = Some(Owed::Reply(reply, response));
    }
}
