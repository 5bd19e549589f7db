//! The SMTP client of a joined conversation. Its application wants to start TLS, log in if configured, and send a
//! message. It also tries that in cleartext, unless the machine prevents it.

use proto_mail::machine::Negotiation;
use proto_mail::{Cleartext, Credentials, Error, Mechanism, Secure};
use proto_smtp::Config;
use proto_smtp::client::{self, AuthOutcome, Client, Progress, StartTls, Step, Transaction};
use proto_smtp::types::{Address, Extension, Mail, Rcpt};

use mailwire_tests::invariants::{PASSWORD, Side};
use mailwire_tests::play::{Entry, channel};

use crate::automaton::{Belief, Endpoint, EndpointView, Stage};
use crate::endpoint::{EndpointCommon, next};
use crate::explore::{cap_numbers, describe};
use crate::smtp_joined_server::{MESSAGE, ends_reply};

/// What an attacker sends to a client. Offers carry a mark: the client must not know them under TLS.
pub(crate) const TO_CLIENT: &[&str] = &[
    "220 x\r\n",
    "250 x\r\n",
    "250-x\r\n250-STARTTLS\r\n250-X-MARK\r\n250 AUTH LOGIN PLAIN\r\n",
    "250-x\r\n250 AUTH PLAIN\r\n",
    "235 x\r\n",
    "334 \r\n",
    "354 x\r\n",
    "421 x\r\n",
    "500 x\r\n",
    "\u{16}\u{3}\u{1}",
];

/// A client that wants to start TLS, log in if configured, and send a message. It also tries that in cleartext, unless
/// the machine prevents it.
pub(crate) struct JoinedClient {
    session: Session,
    common: EndpointCommon,
    logs_in: bool,
    transaction: Option<Transaction>,
}

enum Session {
    Cleartext(Client<Cleartext>),
    Negotiating(StartTls),
    HandshakePending(client::Upgrade),
    Secure(Client<Secure>),
    Gone,
}

impl JoinedClient {
    pub(crate) fn new(logs_in: bool) -> Self {
        let session = Session::Cleartext(Client::<Cleartext>::new(Config::default()));
        let mut client = Self { session, common: EndpointCommon::new(), logs_in, transaction: None };
        client.pump();
        client
    }

    fn pump(&mut self) {
        loop {
            let EndpointCommon { rx, tx, record, .. } = &mut self.common;
            let seen = match &mut self.session {
                Session::HandshakePending(_) | Session::Gone => return,
                Session::Negotiating(_) => return self.negotiate(),
                Session::Cleartext(client) => client.next_event(rx, tx).map(|event| {
                    event.map(|event| {
                        record.event(&event);
                        matches!(event, client::Event::Capabilities(_))
                    })
                }),
                Session::Secure(_) => match self.under_tls() {
                    Ok(true) => continue,
                    Ok(false) => Ok(None),
                    Err(error) => Err(error),
                },
            };
            match seen {
                Ok(Some(true)) => self.starttls(),
                Ok(Some(false)) => {}
                Ok(None) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Starts TLS if the server offers it; otherwise continues without.
    fn starttls(&mut self) {
        match std::mem::replace(&mut self.session, Session::Gone) {
            Session::Cleartext(client)
                if client.capabilities().is_some_and(|known| known.contains(Extension::StartTls)) =>
            {
                match client.starttls(&mut self.common.tx) {
                    Ok(negotiation) => {
                        self.common.record.entries.push(Entry::CommandGiven("STARTTLS", 1));
                        self.session = Session::Negotiating(negotiation);
                    }
                    Err(error) => self.fail(error),
                }
            }
            Session::Cleartext(client) => self.go_on_in_clear(client),
            other => self.session = other,
        }
    }

    fn go_on_in_clear(&mut self, mut client: Client<Cleartext>) {
        let EndpointCommon { tx, record, .. } = &mut self.common;
        let credentials = Credentials::password("x", PASSWORD.as_bytes());
        record.given("AUTHENTICATE", tx, |tx| {
            client.danger_cleartext_authenticate(Mechanism::Plain, credentials, tx)
        });
        if record.given("MAIL", tx, |tx| client.mail(&Mail::new(address()), tx)).is_some() {
            record.entries.push(Entry::RequiresTls("MAIL"));
        }
        record.given("QUIT", tx, |tx| client.quit(tx));
        self.session = Session::Cleartext(client);
    }

    fn negotiate(&mut self) {
        let over = Session::Gone;
        let Session::Negotiating(negotiation) = std::mem::replace(&mut self.session, over) else { return };
        match negotiation.advance(&mut self.common.rx, &mut self.common.tx) {
            Ok(Negotiation::Pending(negotiation)) => self.session = Session::Negotiating(negotiation),
            Ok(Negotiation::Refused(client)) => {
                self.common.record.event(&"refused");
                self.go_on_in_clear(client);
                self.pump();
            }
            Ok(Negotiation::Ready(upgrade)) => self.session = Session::HandshakePending(upgrade),
            Err(error) => self.fail(error),
        }
    }

    /// Takes one event. Returns false if there was none.
    fn under_tls(&mut self) -> Result<bool, Error> {
        let Session::Secure(client) = &mut self.session else { return Ok(false) };
        let EndpointCommon { rx, tx, record, beliefs, progress, broken, .. } = &mut self.common;
        let Some(event) = client.next_event(rx, tx)? else { return Ok(false) };
        record.event(&event);
        progress.push(event_name(&event));
        if let Some(word) = wrong_answer(&event) {
            *broken = Some(format!("an answer without {word}: {event:?}"));
        }
        if let Some(transaction) = &mut self.transaction {
            match record.noted("transaction", transaction.event(&event, client, tx)) {
                Some(Progress::SendData) => {
                    record.entries.push(Entry::CommandGiven("a message", 1));
                    let mut writer = client.data_writer()?;
                    writer.write(MESSAGE, tx)?;
                    writer.finish(tx)?;
                    beliefs.message = Belief::Asked;
                }
                Some(Progress::Done) => drop(record.given("QUIT", tx, |tx| client.quit(tx))),
                _ => {}
            }
        }
        let ready = match event {
            client::Event::Capabilities(_) if self.logs_in => {
                beliefs.identity = Belief::Asked;
                let credentials = Credentials::password("x", PASSWORD.as_bytes());
                record.given("AUTHENTICATE", tx, |tx| client.authenticate(Mechanism::Plain, credentials, tx));
                false
            }
            client::Event::Capabilities(_) => true,
            client::Event::Auth(AuthOutcome::Accepted(_)) => {
                record.entries.push(Entry::Authenticated);
                beliefs.identity = Belief::Yes;
                true
            }
            client::Event::Auth(_) => {
                record.given("QUIT", tx, |tx| client.quit(tx));
                false
            }
            client::Event::Delivered(..) => {
                beliefs.message = Belief::Yes;
                false
            }
            _ => false,
        };
        if ready {
            let mut transaction = Transaction::new(Mail::new(address())).recipient(Rcpt::new(address()));
            record.entries.extend(["MAIL", "RCPT", "DATA"].map(|verb| Entry::CommandGiven(verb, 1)));
            record.noted("transaction", transaction.start(client, tx));
            self.transaction = Some(transaction);
        }
        Ok(true)
    }

    /// Handles an error: calls the client again, also with more input. The outcome goes to the record.
    fn fail(&mut self, error: Error) {
        self.common.fail(&error, "220 x\r\n250 x\r\n", |rx, tx| match &mut self.session {
            Session::Cleartext(client) => next(client, rx, tx),
            Session::Secure(client) => next(client, rx, tx),
            _ => Err(error.clone()),
        });
        self.session = Session::Gone;
    }
}

impl Endpoint for JoinedClient {
    fn receive(&mut self, bytes: &[u8]) {
        self.common.receive(bytes);
        if matches!(self.session, Session::HandshakePending(_)) {
            self.common.cleartext_after_agreement = true;
            return;
        }
        let unread = self.common.rx.bytes().to_vec();
        self.pump();
        if matches!(self.session, Session::HandshakePending(_)) {
            let replies =
                unread.split_inclusive(|&byte| byte == b'\n').filter(|line| ends_reply(line)).count();
            self.common.cleartext_after_agreement = replies > 1 || !unread.ends_with(b"\r\n");
        }
    }

    fn close_peer(&mut self) {
        self.common.record.heard(0);
        self.common.rx.close();
        match self.session {
            Session::HandshakePending(_) => self.session = Session::Gone,
            _ => self.pump(),
        }
    }

    fn complete_handshake(&mut self) {
        let over = Session::Gone;
        let Session::HandshakePending(upgrade) = std::mem::replace(&mut self.session, over) else { return };
        match upgrade.complete(channel(), &mut self.common.rx) {
            Ok(client) => {
                self.common.secured();
                self.session = Session::Secure(client);
                self.pump();
            }
            Err(error) => self.fail(error),
        }
    }

    fn take_output(&mut self) -> Vec<Vec<u8>> {
        let clear = !matches!(self.session, Session::Secure(_));
        self.common.take_output(clear, |_| true)
    }

    fn view(&self) -> EndpointView {
        // All output is sent before any input is read.
        const LEFT_OUT: [&str; 7] =
            ["generation", "mixed_codes", "count", "received", "head", "received_at", "queued_at"];
        let (stage, machine) = match &self.session {
            Session::Gone => (Stage::Ended, String::new()),
            Session::HandshakePending(upgrade) => (Stage::HandshakePending, describe(upgrade, &LEFT_OUT)),
            Session::Negotiating(negotiation) => (Stage::Cleartext, describe(negotiation, &LEFT_OUT)),
            Session::Cleartext(client) if client.is_closed() => (Stage::Ended, String::new()),
            Session::Secure(client) if client.is_closed() => (Stage::Ended, String::new()),
            Session::Cleartext(client) => (Stage::Cleartext, describe(client, &LEFT_OUT)),
            Session::Secure(client) => (Stage::Secure, describe(client, &LEFT_OUT)),
        };
        self.common.view(stage, cap_numbers(machine, "mails", 1))
    }

    fn check_invariants(&self) -> Result<usize, String> {
        self.common.check_invariants(Side::SmtpClient)
    }
}

fn address() -> Address<'static> {
    Address::parse("x@x.example").unwrap()
}

/// Returns the kind of an event. The text of a reply does not matter.
fn event_name(event: &client::Event<'_>) -> String {
    let text = format!("{event:?}");
    text.split(['{', '"']).next().unwrap_or_default().to_owned()
}

/// Returns the word that the server puts into its reply to this command, if the reply lacks it.
fn wrong_answer(event: &client::Event<'_>) -> Option<&'static str> {
    let (word, response) = match event {
        client::Event::Accepted(Step::Mail, response) => ("MAIL", response),
        client::Event::Accepted(Step::Rcpt(_), response) => ("RCPT", response),
        client::Event::Delivered(_, response) => ("message", response),
        _ => return None,
    };
    (!response.text().contains(word)).then_some(word)
}
