//! The IMAP client of a joined conversation. Its application wants to start TLS, log in, select a mailbox and append a
//! message. It also tries all of that in cleartext, unless the machine prevents it.

use std::sync::Arc;

use bytes::Bytes;
use proto_imap::Config;
use proto_imap::client::{AuthOutcome, Client, CommandId, Event, LoginMethod, StartTls};
use proto_imap::types::{AppendCommand, Command, Condition, MailboxName, SelectCommand};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{Cleartext, Credentials, Error, Mechanism, Secure, Upgrade};

use mailwire_tests::invariants::{PASSWORD, Side};
use mailwire_tests::play::{Entry, channel};

use crate::automaton::{Belief, Endpoint, EndpointView, Stage};
use crate::endpoint::{EndpointCommon, next};
use crate::explore::describe;
use crate::imap_joined_server::MESSAGE;

/// What an attacker sends to a client. Offers carry a mark: the client must not know them under TLS.
pub(crate) const TO_CLIENT: &[&str] = &[
    "* OK [CAPABILITY IMAP4rev2 STARTTLS AUTH=PLAIN X-MARK] x\r\n",
    "* CAPABILITY IMAP4rev2 AUTH=PLAIN X-MARK\r\n",
    "* PREAUTH x\r\n",
    "M1 OK x\r\n",
    "M2 OK x\r\n",
    "+ \r\n",
    "\u{16}\u{3}\u{1}",
];

/// The client, its application and everything that was sent.
pub(crate) struct JoinedClient {
    session: Session,
    common: EndpointCommon,
    /// The commands in progress, each with the word that its reply contains.
    given: Vec<(CommandId, &'static str)>,
}

enum Session {
    Cleartext(Client<Cleartext>),
    Negotiating(StartTls),
    HandshakePending(<StartTls as StartTlsNegotiation>::Ready),
    Secure(Client<Secure>),
    Gone,
}

impl JoinedClient {
    pub(crate) fn new() -> Self {
        let session = Session::Cleartext(Client::<Cleartext>::new(Arc::new(Config::default())));
        let mut client = Self { session, common: EndpointCommon::new(), given: Vec::new() };
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
                        if matches!(event, Event::Data(_)) {
                            record.entries.push(Entry::RequiresTls("data"));
                        }
                        matches!(event, Event::Capabilities)
                    })
                }),
                Session::Secure(_) => self.under_tls(),
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
                if client.capabilities().is_some_and(|known| known.has("STARTTLS")) =>
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
        record
            .given("AUTHENTICATE", tx, |tx| client.danger_cleartext_authenticate(PLAIN, &credentials(), tx));
        if record.given("SELECT", tx, |tx| client.send(&select(), tx)).is_some() {
            record.entries.push(Entry::RequiresTls("SELECT"));
        }
        if record.given("APPEND", tx, |tx| client.append(&append(), MESSAGE.len() as u64, tx)).is_some() {
            record.entries.push(Entry::RequiresTls("APPEND"));
        }
        record.given("LOGOUT", tx, |tx| client.logout(tx));
        self.session = Session::Cleartext(client);
    }

    fn negotiate(&mut self) {
        let Session::Negotiating(negotiation) = std::mem::replace(&mut self.session, Session::Gone) else {
            return;
        };
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

    /// Takes one event.
    fn under_tls(&mut self) -> Result<Option<bool>, Error> {
        let Session::Secure(client) = &mut self.session else { return Ok(None) };
        let EndpointCommon { rx, tx, record, beliefs, broken, .. } = &mut self.common;
        let Some(event) = client.next_event(rx, tx)? else { return Ok(None) };
        record.event(&event);
        match &event {
            Event::Capabilities if beliefs.identity == Belief::No => {
                beliefs.identity = Belief::Asked;
                record.given("AUTHENTICATE", tx, |tx| client.authenticate(PLAIN, &credentials(), tx));
            }
            Event::Auth(AuthOutcome::Accepted { .. }) => {
                record.entries.push(Entry::Authenticated);
                beliefs.identity = Belief::Yes;
                let given = record.given("SELECT", tx, |tx| client.send(&select(), tx));
                self.given.extend(given.map(|id| (id, "SELECT")));
            }
            Event::Auth(_) => drop(record.given("LOGOUT", tx, |tx| client.logout(tx))),
            Event::AppendReady(_) => {
                record.entries.push(Entry::CommandGiven("a message", 1));
                record.tried("payload", tx, |tx| client.write_payload(Bytes::from_static(MESSAGE), tx));
                beliefs.message = Belief::Asked;
            }
            Event::Completed { id, status } => {
                let at = self.given.iter().position(|(given, _)| given == id);
                let word = at.map(|at| self.given.remove(at).1);
                let fits = word.is_some_and(|word| status.text.to_string().contains(word));
                let yes = status.condition == Condition::Ok;
                match word {
                    Some(word) if !fits => *broken = Some(format!("an answer to {word}: {event:?}")),
                    Some("SELECT") if yes => {
                        let given = record
                            .given("APPEND", tx, |tx| client.append(&append(), MESSAGE.len() as u64, tx));
                        self.given.extend(given.map(|id| (id, "APPEND")));
                    }
                    Some("APPEND") if yes => {
                        beliefs.message = Belief::Yes;
                        record.given("LOGOUT", tx, |tx| client.logout(tx));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(Some(false))
    }

    /// Handles an error: calls the client again, also with more input. The outcome goes to the record.
    fn fail(&mut self, error: Error) {
        self.common.fail(&error, "* OK x\r\nM1 OK x\r\nM2 OK x\r\n", |rx, tx| match &mut self.session {
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
            // The reply that starts TLS must be the last line, and the only one with a tag.
            let last = unread.split_inclusive(|&byte| byte == b'\n').next_back().unwrap_or_default();
            let tagged =
                unread.split_inclusive(|&byte| byte == b'\n').filter(|line| line.starts_with(b"M")).count();
            self.common.cleartext_after_agreement =
                tagged > 1 || !last.starts_with(b"M") || !last.ends_with(b"\r\n");
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
        let Session::HandshakePending(upgrade) = std::mem::replace(&mut self.session, Session::Gone) else {
            return;
        };
        match upgrade.complete(channel(), &mut self.common.rx) {
            Ok(client) => {
                self.common.secured();
                self.given.clear();
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
        const LEFT_OUT: [&str; 5] = ["generation", "received", "head", "received_at", "queued_at"];
        let (stage, machine) = match &self.session {
            Session::Gone => (Stage::Ended, String::new()),
            Session::HandshakePending(upgrade) => (Stage::HandshakePending, describe(upgrade, &LEFT_OUT)),
            Session::Negotiating(negotiation) => (Stage::Cleartext, describe(negotiation, &LEFT_OUT)),
            Session::Cleartext(client) if client.is_closed() => (Stage::Ended, String::new()),
            Session::Secure(client) if client.is_closed() => (Stage::Ended, String::new()),
            Session::Cleartext(client) => (Stage::Cleartext, describe(client, &LEFT_OUT)),
            Session::Secure(client) => {
                (Stage::Secure, format!("{} {:?}", describe(client, &LEFT_OUT), self.given))
            }
        };
        self.common.view(stage, machine)
    }

    fn check_invariants(&self) -> Result<usize, String> {
        self.common.check_invariants(Side::ImapClient)
    }
}

const PLAIN: LoginMethod = LoginMethod::Mechanism(Mechanism::Plain);

fn credentials() -> Credentials {
    Credentials::password("x", PASSWORD.as_bytes())
}

const fn select() -> Command<'static> {
    Command::Select(SelectCommand::new(MailboxName::INBOX))
}

const fn append() -> AppendCommand<'static> {
    AppendCommand::new(MailboxName::INBOX)
}
