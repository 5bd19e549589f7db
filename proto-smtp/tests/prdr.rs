//! PRDR: a reply for each recipient after a message in SMTP, on both sides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proto_mail::{Error, PeerError, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event, Outcome, Progress, Transaction};
use proto_smtp::server::{Event as ServerEvent, Server};
use proto_smtp::types::{Address, Extension, Mail, Rcpt, Response};
use proto_smtp::{Config, Dialect};
use support::{config, every_split};

const HELLO: &[u8] = b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250 PRDR\r\n";
const ENVELOPE: &str = "250 a\r\n250 b\r\n550 c\r\n250 d\r\n354 go\r\n";

/// The outcomes of three recipients, of which the second is rejected with RCPT, and what the client has sent.
fn converse(hello: &[u8], replies: &str) -> (Vec<String>, String, Option<Error>) {
    let address = |text: &str| text.parse::<Address<'static>>().unwrap();
    let mail = Mail::new(address("a@b.example")).with_prdr();
    let mut transaction = (0..3).fold(Transaction::new(mail), |transaction, number| {
        transaction.recipient(Rcpt::new(address(&format!("r{number}@x.example"))))
    });
    let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
    let (mut rx, mut tx, mut output, mut failed) = (RecvBuffer::new(), SendBuffer::new(), Vec::new(), None);
    let hello = hello.split_inclusive(|byte| *byte == b'\n');
    let mut script = hello.chain(replies.as_bytes().split_inclusive(|byte| *byte == b'\n'));
    loop {
        let progress = match client.next_event(&mut rx, &mut tx) {
            Ok(Some(Event::Capabilities(_))) => transaction.start(&mut client, &mut tx).unwrap(),
            Ok(Some(event)) => transaction.event(&event, &mut client, &mut tx).unwrap(),
            Ok(None) => {
                output.extend(tx.take());
                match script.next() {
                    Some(line) => rx.extend(line),
                    None => rx.close(),
                }
                Progress::Continue
            }
            Err(error) => {
                failed = Some(error);
                transaction.lost(&client, &tx)
            }
        };
        match progress {
            Progress::SendData => {
                client.data_writer().unwrap().write(b"x\r\n", &mut tx).unwrap();
                client.data_writer().unwrap().finish(&mut tx).unwrap();
            }
            Progress::Done => {
                output.extend(tx.take());
                let outcomes = transaction.recipients().iter().map(|one| text(one.outcome())).collect();
                return (outcomes, String::from_utf8(output).unwrap(), failed);
            }
            Progress::Continue => {}
        }
    }
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(response) => format!("delivered {response}"),
        Outcome::Refused(step, response) => format!("{step:?} {response}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn client_reports_prdr_outcomes_for_each_recipient() {
    for (behind, expected) in [
        (
            "353 wait\r\n250 first\r\n550 5.7.1 third\r\n250 queued\r\n",
            ["delivered 250 queued", "Message(Some(2)) 550 5.7.1 third"],
        ),
        (
            "353 wait\r\n452 4.2.2 full\r\n250 x\r\n250 queued\r\n",
            ["Message(Some(0)) 452 4.2.2 full", "delivered 250 queued"],
        ),
        // The reply for one recipient counts only with the final reply.
        ("353 wait\r\n250 x\r\n550 y\r\n554 none\r\n", ["Message(None) 554 none", "Message(Some(2)) 550 y"]),
        ("353 wait\r\n250 x\r\n250 y\r\n421 bye\r\n", ["Message(None) 421 bye", "Message(None) 421 bye"]),
        ("353 wait\r\n550 x\r\n421 bye\r\n", ["Message(Some(0)) 550 x", "Message(None) 421 bye"]),
        // The server may reply once, as without PRDR.
        ("250 queued\r\n", ["delivered 250 queued", "delivered 250 queued"]),
        ("554 none\r\n", ["Message(None) 554 none", "Message(None) 554 none"]),
        // The connection is lost in the middle: the message may have been accepted for recipients that were not
        // rejected.
        ("353 wait\r\n", ["Uncertain", "Uncertain"]),
        ("353 wait\r\n250 x\r\n550 y\r\n", ["Uncertain", "Message(Some(2)) 550 y"]),
    ] {
        let (outcomes, output, _) = converse(HELLO, &format!("{ENVELOPE}{behind}"));
        assert_eq!(outcomes, [expected[0], "Rcpt(1) 550 c", expected[1]], "{behind:?}");
        assert!(output.contains("MAIL FROM:<a@b.example> PRDR\r\n"), "{output}");
    }
}

#[test]
fn client_drops_prdr_that_is_not_offered() {
    let hello = b"220 mx\r\n250-mx\r\n250 PIPELINING\r\n";
    let (outcomes, output, _) = converse(hello, &format!("{ENVELOPE}250 queued\r\n"));
    assert_eq!(outcomes[0], "delivered 250 queued");
    assert!(!output.contains("PRDR"), "{output}");
    // Then 353 is not a valid reply.
    let (outcomes, _, error) = converse(hello, &format!("{ENVELOPE}353 wait\r\n250 x\r\n250 y\r\n250 z\r\n"));
    assert_eq!((&*outcomes[0], error), ("Uncertain", Some(PeerError::UnexpectedReply.into())));
    let (outcomes, _, error) = converse(HELLO, &format!("{ENVELOPE}353 wait\r\n353 wait\r\n"));
    assert_eq!((&*outcomes[0], error), ("Uncertain", Some(PeerError::UnexpectedReply.into())));
}

/// The server's replies if the application answers each message with these.
fn serve(config: &Config, each: &[&str], pieces: &[&[u8]]) -> String {
    let (mut rx, mut tx, mut output) = (RecvBuffer::new(), SendBuffer::new(), Vec::new());
    let mut server = Server::<Secure>::new(config.clone(), Secure::trusted_local(), &mut tx);
    let each: Vec<Response<'static>> = each.iter().map(|text| text.parse().unwrap()).collect();
    output.extend(tx.take());
    for piece in pieces {
        rx.extend(piece);
        while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
            match event {
                ServerEvent::Mail(_, reply) | ServerEvent::Rcpt(_, reply) | ServerEvent::Data(reply) => {
                    server.reply(reply, &Response::ok(), &mut tx).unwrap();
                }
                ServerEvent::DataEnd(reply) => match &each[..] {
                    [all] => server.reply(reply, all, &mut tx).unwrap(),
                    each => server.reply_each(reply, each, &mut tx).unwrap(),
                },
                _ => {}
            }
        }
        output.extend(tx.take());
    }
    String::from_utf8(output).unwrap()
}

const TALK: &[u8] =
    b"EHLO c\r\nMAIL FROM:<a@b> PRDR\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n";

#[test]
fn server_replies_for_each_recipient() {
    let extensions = config().extensions.with(Extension::Prdr);
    let config = config().extensions(extensions);
    let behind = |each: &[&str]| {
        let output = every_split(TALK, |pieces| serve(&config, each, pieces));
        assert!(output.contains("\r\n250-PRDR\r\n") || output.contains("\r\n250 PRDR\r\n"), "{output}");
        let (_, behind) = output.split_once("\r\n354 ").unwrap();
        behind.split_terminator("\r\n").skip(1).map(|line| line[..9].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        behind(&["250 2.1.5 a", "550 5.7.1 b"]),
        ["353 Conte", "250 2.1.5", "550 5.7.1", "250 2.0.0", "250 2.0.0"]
    );
    assert_eq!(
        behind(&["552 5.2.2 a", "550 5.7.1 b"]),
        ["353 Conte", "552 5.2.2", "550 5.7.1", "550 5.0.0", "250 2.0.0"]
    );
    // 421 would apply to the session.
    assert_eq!(
        behind(&["421 4.3.2 a", "550 5.7.1 b"]),
        ["353 Conte", "451 4.3.2", "550 5.7.1", "450 4.0.0", "250 2.0.0"]
    );
    assert_eq!(behind(&["554 5.6.0 all"]), ["554 5.6.0", "250 2.0.0"]);
}

#[test]
fn server_rejects_prdr_that_is_not_offered() {
    let output = serve(&config(), &["250 2.0.0 ok"], &[TALK]);
    assert!(output.contains("\r\n555 5.5.4 ") && !output.contains("353"), "{output}");
    // LMTP replies for each recipient anyway.
    let extensions = config().extensions.with(Extension::Prdr);
    let lmtp = config().extensions(extensions).dialect(Dialect::Lmtp);
    let output = serve(&lmtp, &["250 2.0.0 ok"], &[b"LHLO c\r\nMAIL FROM:<a@b> PRDR\r\n"]);
    assert!(!output.contains("PRDR") && output.contains("\r\n555 5.5.4 "), "{output}");
}

#[test]
fn answers_451_for_a_wrong_number_of_replies() {
    let extensions = config().extensions.with(Extension::Prdr);
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(config().extensions(extensions), Secure::trusted_local(), &mut tx);
    let _ = tx.take();
    rx.extend(TALK);
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        match event {
            ServerEvent::Mail(_, reply) | ServerEvent::Rcpt(_, reply) | ServerEvent::Data(reply) => {
                server.reply(reply, &Response::ok(), &mut tx).unwrap();
            }
            ServerEvent::DataEnd(reply) => {
                let _ = tx.take();
                let three = [Response::ok(), Response::ok(), Response::ok()];
                assert!(server.reply_each(reply, &three, &mut tx).is_err());
            }
            _ => {}
        }
    }
    assert!(tx.take().starts_with(b"451 4.3.0 "));
}
