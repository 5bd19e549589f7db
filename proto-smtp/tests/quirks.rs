//! What deployed servers and clients send, and how the machines handle it. Each row was observed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where something is wrong"
)]

mod support;

use proto_mail::{Credentials, Error, Mechanism, PeerError, Secure, SendBuffer};
use proto_smtp::client::{Client, Event, Step};
use proto_smtp::types::{ClientName, Mail, Rcpt, Response};
use proto_smtp::{Config, InitialResponse, MixedCodes, Pipelining, client::Transaction};
use support::{Record, config, run_client, serve_secure};

fn client(config: Config) -> Client<Secure> {
    Client::<Secure>::new(config, Secure::trusted_local())
}

/// The events of a client that only begins a session.
fn greeted(config: Config, script: &[&[u8]]) -> Record {
    run_client(client(config), script, |_, _, _| {})
}

#[test]
fn takes_a_greeting_with_a_final_rejection_as_rejected() {
    let reply: &[u8] = b"220-mx.example ESMTP\r\n521 5.7.1 blocked, see https://bl.example\r\n";
    let record = greeted(config(), &[reply]);
    assert!(record.has("rejected Greeting 521 "), "{:?}", record.events);
    assert_eq!(record.output, "");
    let strict = greeted(config().mixed_codes(MixedCodes::Refuse), &[reply]);
    assert!(strict.error.is_some() && strict.events.is_empty());
}

/// Each line is a reply of its own: the second one belongs to no command, and ends the session.
#[test]
fn takes_lines_without_hyphens_as_two_replies() {
    let record = greeted(config(), &[b"220 mx\r\n", b"250 mx.example\r\n250 SIZE 1000\r\n"]);
    assert_eq!(record.error, Some(Error::Peer(PeerError::UnexpectedReply)), "{:?}", record.events);
}

#[test]
fn accepts_replies_without_text() {
    for (bytes, text) in [(&b"250\r\n"[..], ""), (b"250 OK dirdel\r\n", "OK dirdel")] {
        let reply = Response::parse(bytes).unwrap();
        assert_eq!((reply.code().get(), reply.enhanced(), reply.text().as_str()), (250, None, text));
    }
    let record = greeted(config(), &[b"220\r\n", b"250\r\n"]);
    assert!(record.error.is_none() && record.has("extensions"), "{:?}", record.events);
}

#[test]
fn accepts_an_empty_challenge_without_space() {
    let config = config().initial_response(InitialResponse::Never);
    let script: [&[u8]; 4] = [b"220 mx\r\n", b"250-mx\r\n250 AUTH PLAIN\r\n", b"334\r\n", b"235 in\r\n"];
    let record = run_client(client(config), &script, |event, client, tx| {
        if matches!(event, Event::Capabilities(_)) {
            client.authenticate(Mechanism::Plain, Credentials::password("u", &b"secret"[..]), tx).unwrap();
        }
    });
    assert!(record.output.ends_with("AUTH PLAIN\r\nAHUAc2VjcmV0\r\n"), "{}", record.output);
    assert!(record.error.is_none(), "{:?}", record.error);
}

/// Some servers reject a second EHLO, or one after AUTH: the client sends one on cleartext and one under TLS.
#[test]
fn sends_ehlo_once() {
    let script: [&[u8]; 6] = [
        b"220 mx\r\n",
        b"250-mx\r\n250 AUTH PLAIN\r\n",
        b"235 in\r\n",
        b"250 reset\r\n",
        b"250 noop\r\n",
        b"221 bye\r\n",
    ];
    let record = run_client(client(config()), &script, |event, client, tx| match event {
        Event::Capabilities(_) => {
            client.authenticate(Mechanism::Plain, Credentials::password("u", &b"secret"[..]), tx).unwrap();
        }
        Event::Auth(_) => client.reset(tx).unwrap(),
        Event::Accepted(Step::Reset, _) => client.noop(tx).unwrap(),
        Event::Accepted(Step::Noop, _) => client.quit(tx).unwrap(),
        _ => {}
    });
    assert_eq!(record.output.matches("EHLO ").count(), 1, "{}", record.output);
    assert!(record.has("closed"), "{:?}", record.events);
}

/// DATA can be held back for servers that do not accept it pipelined.
#[test]
fn can_wait_for_recipients_before_data() {
    for (pipelining, flight) in [
        (Pipelining::WithData, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
        (Pipelining::Envelope, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"),
        (Pipelining::Off, "MAIL FROM:<a@b>\r\n"),
    ] {
        let mut transaction = None;
        let record = run_client(
            client(config().pipelining(pipelining)),
            &[b"220 mx\r\n", b"250-mx\r\n250 PIPELINING\r\n"],
            |event, client, tx: &mut SendBuffer| {
                if matches!(event, Event::Capabilities(_)) {
                    let from = "a@b".parse::<proto_smtp::types::Address<'static>>().unwrap();
                    let to = "c@d".parse::<proto_smtp::types::Address<'static>>().unwrap();
                    let mut begun = Transaction::new(Mail::new(from)).recipient(Rcpt::new(to));
                    let progress = begun.start(client, tx).unwrap();
                    assert!(matches!(progress, proto_smtp::client::Progress::Continue), "{progress:?}");
                    transaction = Some(begun);
                }
            },
        );
        assert!(record.output.ends_with(flight), "{pipelining:?}: {}", record.output);
    }
}

/// A name with an underscore is not a host name: the client does not send it, and the server accepts it.
#[test]
fn accepts_any_word_as_client_name() {
    assert!(!default_name().contains('_'));
    assert_eq!(ClientName::parse("my_host").unwrap().as_str(), "my_host");
    assert!(serve_secure(&config(), &[b"EHLO my_host\r\n"]).codes().ends_with(&[250]));
}

fn default_name() -> String {
    Config::default().name.as_str().to_owned()
}

/// None of these ends a message, and what follows is not parsed as a command.
#[test]
fn what_is_no_end_of_data_ends_nothing() {
    for end in ["x\n.\r\n", "x\r\n.\n", "x\n.\n", "x\r\n.\r\r\n"] {
        let message = format!("{end}MAIL FROM:<evil@x.test>\r\n.\r\n");
        let record = serve_secure(
            &config(),
            &[
                b"EHLO c.test\r\n",
                b"MAIL FROM:<a@b.test>\r\n",
                b"RCPT TO:<c@d.test>\r\n",
                b"DATA\r\n",
                message.as_bytes(),
            ],
        );
        assert!(!record.events.iter().any(|event| event.contains("evil")), "{end:?}: {:?}", record.events);
        assert_eq!(record.codes().len(), 6, "{end:?}: {:?}", record.codes());
    }
}

/// A fragment after the reply to STARTTLS is fatal, although it is not a line.
#[test]
fn rejects_bytes_after_the_reply_to_starttls() {
    let mut client = Client::<proto_mail::Cleartext>::new(config());
    let (mut rx, mut tx) = (proto_mail::RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"220 mx\r\n");
    assert!(client.next_event(&mut rx, &mut tx).unwrap().is_some());
    assert!(client.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert!(tx.take().starts_with(b"EHLO "));
    rx.extend(b"250-mx\r\n250 STARTTLS\r\n");
    assert!(client.next_event(&mut rx, &mut tx).unwrap().is_some());
    let negotiation = client.starttls(&mut tx).unwrap();
    assert!(!tx.take().is_empty());
    rx.extend(b"220 ok\r\n250-AUTH PLAIN");
    assert!(negotiation.advance(&mut rx, &mut tx).is_err());
}
