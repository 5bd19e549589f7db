//! Client and server joined by a wire that splits at random.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proto_mail::machine::Negotiation;
use proto_mail::{Channel, Cleartext, Credentials, Mechanism, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{AuthOutcome, Client, Event, Outcome, Progress, Transaction};
use proto_smtp::server::{Event as ServerEvent, Server};
use proto_smtp::types::{Address, BodyType, Extension, Mail, Rcpt, Response};
use proto_smtp::{Config, Dialect, Pipelining};
use support::config;

/// One direction of the wire: a limited number of bytes at a time.
fn carry(tx: &mut SendBuffer, rx: &mut RecvBuffer, most: usize) -> bool {
    let Some(piece) = tx.chunks().find(|chunk| !chunk.bytes.is_empty()) else { return false };
    let piece = &piece.bytes[..piece.bytes.len().min(most)];
    rx.extend(piece);
    let len = piece.len();
    tx.sent(len);
    true
}

/// Both ends of a wire.
#[derive(Default)]
struct Wire {
    client_rx: RecvBuffer,
    client_tx: SendBuffer,
    server_rx: RecvBuffer,
    server_tx: SendBuffer,
    /// The messages that the server has accepted.
    messages: Vec<Vec<u8>>,
    message: Vec<u8>,
    most: usize,
}

impl Wire {
    fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    fn carry(&mut self) -> bool {
        let there = carry(&mut self.client_tx, &mut self.server_rx, self.most);
        let back = carry(&mut self.server_tx, &mut self.client_rx, self.most);
        there || back
    }

    /// The server's application: it accepts everything that does not begin with "no".
    fn serve<C: Channel>(
        &mut self,
        server: &mut Server<C>,
        mut gate: impl FnMut(&mut Server<C>, ServerEvent<'_, C>, &mut SendBuffer),
    ) {
        while let Some(event) = server.next_event(&mut self.server_rx, &mut self.server_tx).unwrap() {
            let tx = &mut self.server_tx;
            match event {
                ServerEvent::Rcpt(rcpt, reply) if rcpt.to.as_str().starts_with("no") => {
                    server.reply(reply, &Response::no_such_mailbox(), tx).unwrap();
                }
                ServerEvent::Mail(_, reply)
                | ServerEvent::Rcpt(_, reply)
                | ServerEvent::Data(reply)
                | ServerEvent::Vrfy(_, reply)
                | ServerEvent::Expn(_, reply) => server.reply(reply, &Response::ok(), tx).unwrap(),
                ServerEvent::DataChunk(bytes) => self.message.extend_from_slice(&bytes),
                ServerEvent::DataEnd(reply) => {
                    self.messages.push(std::mem::take(&mut self.message));
                    server.reply(reply, &Response::ok(), tx).unwrap();
                }
                ServerEvent::Reset | ServerEvent::Closed => self.message.clear(),
                ServerEvent::Hello(..) | ServerEvent::Refused(..) => {}
                event => gate(server, event, tx),
            }
        }
    }
}

fn transaction(recipients: &[&str]) -> Transaction {
    let address = |text: &str| text.parse::<Address<'static>>().unwrap();
    recipients.iter().fold(
        Transaction::new(
            Mail::new(address("sender@example.com")).with_size(99).with_body(BodyType::EightBitMime),
        ),
        |transaction, recipient| transaction.recipient(Rcpt::new(address(recipient))),
    )
}

/// Sends one message and returns the outcomes of its recipients.
fn deliver<C: Channel>(
    wire: &mut Wire,
    client: &mut Client<C>,
    server: &mut Server<C>,
    recipients: &[&str],
    message: &[u8],
    gate: fn(&mut Server<C>, ServerEvent<'_, C>, &mut SendBuffer),
) -> Vec<Outcome> {
    let mut transaction = transaction(recipients);
    let mut progress = if client.is_idle()
        && client.capabilities().is_some_and(|offered| offered.contains(Extension::EightBitMime))
    {
        transaction.start(client, &mut wire.client_tx).unwrap()
    } else {
        Progress::Continue
    };
    for _ in 0..1_000_000 {
        while let Some(event) = client.next_event(&mut wire.client_rx, &mut wire.client_tx).unwrap() {
            progress = match event {
                Event::Capabilities(_) => transaction.start(client, &mut wire.client_tx).unwrap(),
                event => transaction.event(&event, client, &mut wire.client_tx).unwrap(),
            };
            if progress == Progress::SendData {
                for piece in message.chunks(7) {
                    client.data_writer().unwrap().write(piece, &mut wire.client_tx).unwrap();
                }
                client.data_writer().unwrap().finish(&mut wire.client_tx).unwrap();
            }
        }
        if progress == Progress::Done {
            return transaction.recipients().iter().map(|recipient| recipient.outcome().clone()).collect();
        }
        wire.serve(server, gate);
        wire.carry();
    }
    panic!("it never ends");
}

const MESSAGE: &[u8] = b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n\r\n.\r\nMAIL FROM:<e@e>\r\n";

#[test]
fn delivers_messages_unchanged_in_every_split() {
    for most in [1, 2, 3, 7, 64, 4096] {
        for pipelining in [Pipelining::WithData, Pipelining::Envelope, Pipelining::Off] {
            let mut wire = Wire::new(most);
            let settings = config().pipelining(pipelining);
            let mut server =
                Server::<Secure>::new(settings.clone(), Secure::trusted_local(), &mut wire.server_tx);
            let mut client = Client::<Secure>::new(settings, Secure::trusted_local());
            for _ in 0..3 {
                let outcomes = deliver(
                    &mut wire,
                    &mut client,
                    &mut server,
                    &["a@x.example", "no@x.example", "b@x.example"],
                    MESSAGE,
                    |_, event, _| panic!("{event:?}"),
                );
                assert!(matches!(
                    &outcomes[..],
                    [Outcome::Delivered(_), Outcome::Refused(..), Outcome::Delivered(_)]
                ));
            }
            let outcomes =
                deliver(&mut wire, &mut client, &mut server, &["no@x.example"], MESSAGE, |_, event, _| {
                    panic!("{event:?}")
                });
            assert!(matches!(&outcomes[..], [Outcome::Refused(..)]));
            assert_eq!(wire.messages, [MESSAGE, MESSAGE, MESSAGE], "{most} {pipelining:?}");
        }
    }
}

#[test]
fn delivers_by_lmtp() {
    let mut wire = Wire::new(5);
    let settings = config().dialect(Dialect::Lmtp).danger_cleartext();
    let mut server = Server::<Cleartext>::new(settings.clone(), &mut wire.server_tx);
    let mut client = Client::<Cleartext>::new(settings);
    let outcomes =
        deliver(&mut wire, &mut client, &mut server, &["a@x", "no@x", "b@x"], MESSAGE, |_, event, _| {
            panic!("{event:?}")
        });
    assert!(matches!(&outcomes[..], [Outcome::Delivered(_), Outcome::Refused(..), Outcome::Delivered(_)]));
    assert_eq!(wire.messages, [MESSAGE]);
}

/// Runs the session until the client knows the capabilities.
fn introduce<C: Channel>(wire: &mut Wire, client: &mut Client<C>, server: &mut Server<C>) {
    for _ in 0..10_000 {
        while let Some(event) = client.next_event(&mut wire.client_rx, &mut wire.client_tx).unwrap() {
            if matches!(event, Event::Capabilities(_)) {
                return;
            }
        }
        wire.serve(server, |_, event, _| panic!("{event:?}"));
        wire.carry();
    }
    panic!("they do not understand each other");
}

#[test]
fn sends_mail_after_starttls_and_authentication() {
    for (most, mechanism) in [
        (1, Mechanism::Plain),
        (3, Mechanism::Login),
        (4096, Mechanism::XOAuth2),
        (2, Mechanism::OAuthBearer),
    ] {
        let mut wire = Wire::new(most);
        let tokens_too = proto_mail::Mechanisms::passing_credentials();
        let server_config = config().require_authentication().offered_mechanisms(tokens_too);
        let mut server = Server::<Cleartext>::new(server_config, &mut wire.server_tx);
        let mut client = Client::<Cleartext>::new(Config::default());
        introduce(&mut wire, &mut client, &mut server);

        let mut negotiation = client.starttls(&mut wire.client_tx).unwrap();
        let request = loop {
            match server.next_event(&mut wire.server_rx, &mut wire.server_tx).unwrap() {
                Some(ServerEvent::StartTls(request)) => break request,
                Some(event) => panic!("{event:?}"),
                None => assert!(wire.carry()),
            }
        };
        let server_upgrade = server.accept_starttls(request, &mut wire.server_tx).unwrap();
        let client_upgrade = loop {
            wire.carry();
            negotiation = match negotiation.advance(&mut wire.client_rx, &mut wire.client_tx).unwrap() {
                Negotiation::Pending(more) => more,
                Negotiation::Ready(upgrade) => break upgrade,
                Negotiation::Refused(_) => panic!("refused"),
            };
        };
        // The TLS handshake would take place here.
        let mut server = server_upgrade.complete(Secure::trusted_local(), &mut wire.server_rx).unwrap();
        let mut client = client_upgrade.complete(Secure::trusted_local(), &mut wire.client_rx).unwrap();
        introduce(&mut wire, &mut client, &mut server);
        assert!(client.capabilities().is_none_or(|offered| !offered.contains(Extension::StartTls)));

        let credentials = match mechanism {
            Mechanism::Plain | Mechanism::Login => Credentials::password("alice", &b"secret"[..]),
            _ => Credentials::bearer("alice", "token"),
        };
        client.authenticate(mechanism, credentials, &mut wire.client_tx).unwrap();
        let accepted = 'accepted: loop {
            while let Some(event) = client.next_event(&mut wire.client_rx, &mut wire.client_tx).unwrap() {
                if let Event::Auth(outcome) = event {
                    break 'accepted matches!(outcome, AuthOutcome::Accepted(_));
                }
            }
            wire.serve(&mut server, |server, event, tx| {
                let ServerEvent::Auth(request) = event else { panic!("{event:?}") };
                let proto_mail::token::AuthQuestion::Verify(credentials) = request.question() else {
                    panic!("not asked")
                };
                assert_eq!(
                    (credentials.username(), request.mechanism().reveals_credentials()),
                    ("alice", true)
                );
                server.answer_auth(request, proto_mail::AuthVerdict::Accept, tx).unwrap();
            });
            wire.carry();
        };
        assert!(accepted && server.is_authenticated());
        let outcomes = deliver(&mut wire, &mut client, &mut server, &["b@x"], MESSAGE, |_, event, _| {
            panic!("{event:?}")
        });
        assert!(matches!(&outcomes[..], [Outcome::Delivered(_)]) && wire.messages == [MESSAGE]);

        client.quit(&mut wire.client_tx).unwrap();
        while !client.is_closed() {
            let _ = client.next_event(&mut wire.client_rx, &mut wire.client_tx).unwrap();
            wire.serve(&mut server, |_, event, _| panic!("{event:?}"));
            wire.carry();
        }
        assert!(server.is_closed());
    }
}
