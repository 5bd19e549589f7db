//! A whole transaction: what is pipelined, and the outcome for every recipient.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_mail::{RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event, NotSent, Outcome, Progress, Transaction};
use proto_smtp::types::{Address, BodyType, Extension, Mail, Notify, Rcpt};
use proto_smtp::{Config, Dialect, Pipelining};

fn address(text: &str) -> Address<'static> {
    text.parse().unwrap()
}

fn transaction(recipients: usize) -> Transaction {
    (0..recipients).fold(
        Transaction::new(Mail::new(address("a@b.example")).with_size(20)),
        |transaction, number| {
            transaction
                .recipient(Rcpt::new(address(&format!("r{number}@x.example"))).with_notify(Notify::NEVER))
        },
    )
}

/// Runs a transaction. The pieces of `script` are received one by one, whenever the client has nothing more to do.
fn run(config: Config, mut transaction: Transaction, script: &[&[u8]]) -> (Vec<Outcome>, String) {
    let (mut rx, mut tx, mut output) = (RecvBuffer::new(), SendBuffer::new(), Vec::new());
    let mut client = Client::<Secure>::new(config, Secure::trusted_local());
    let mut script = script.iter();
    loop {
        let event = client.next_event(&mut rx, &mut tx);
        let progress = match event {
            Ok(Some(Event::Capabilities(_))) => transaction.start(&mut client, &mut tx).unwrap(),
            Ok(Some(event)) => transaction.event(&event, &mut client, &mut tx).unwrap(),
            Ok(None) => {
                output.extend(tx.take());
                match script.next() {
                    Some(piece) => rx.extend(piece),
                    None => rx.close(),
                }
                Progress::Continue
            }
            Err(_) => transaction.lost(&client, &tx),
        };
        match progress {
            Progress::SendData => {
                client.data_writer().unwrap().write(b".body\r\n", &mut tx).unwrap();
                client.data_writer().unwrap().finish(&mut tx).unwrap();
            }
            Progress::Done => {
                output.extend(tx.take());
                let outcomes = transaction.recipients().iter().map(|one| one.outcome().clone()).collect();
                return (outcomes, String::from_utf8(output).unwrap());
            }
            Progress::Continue => {}
        }
    }
}

const PIPELINED: &[u8] = b"250-mx\r\n250-SIZE 1000\r\n250-DSN\r\n250 PIPELINING\r\n";

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(response) => format!("delivered {}", response.code()),
        Outcome::Refused(step, response) => format!("{step:?} {}", response.code()),
        other => format!("{other:?}"),
    }
}

fn outcomes(config: Config, recipients: usize, script: &[&[u8]]) -> Vec<String> {
    run(config, transaction(recipients), script).0.iter().map(text).collect()
}

#[test]
fn pipelines_the_envelope_and_data() {
    let script: &[&[u8]] =
        &[b"220 mx\r\n", PIPELINED, b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n", b"250 queued\r\n"];
    let (outcomes, output) = run(Config::default(), transaction(2), script);
    assert!(outcomes.iter().all(|outcome| text(outcome) == "delivered 250"));
    assert_eq!(
        output,
        "EHLO localhost\r\nMAIL FROM:<a@b.example> SIZE=20\r\nRCPT TO:<r0@x.example> NOTIFY=NEVER\r\n\
         RCPT TO:<r1@x.example> NOTIFY=NEVER\r\nDATA\r\n..body\r\n.\r\n"
    );
}

#[test]
fn sends_commands_one_by_one_without_pipelining() {
    let script: &[&[u8]] = &[
        b"220 mx\r\n",
        b"250 mx\r\n",
        b"250 a\r\n",
        b"550 no\r\n",
        b"250 c\r\n",
        b"354 go\r\n",
        b"250 queued\r\n",
    ];
    let (outcomes, output) = run(Config::default(), transaction(2), script);
    assert_eq!(outcomes.iter().map(text).collect::<Vec<_>>(), ["Rcpt(0) 550", "delivered 250"]);
    assert!(
        !output.contains("SIZE") && !output.contains("NOTIFY"),
        "what is not offered is left out: {output}"
    );
    let envelope = Config::default().pipelining(Pipelining::Envelope);
    let script: &[&[u8]] =
        &[b"220 mx\r\n", PIPELINED, b"250 a\r\n250 b\r\n", b"354 go\r\n", b"250 queued\r\n"];
    assert_eq!(self::outcomes(envelope, 1, script), ["delivered 250"]);
}

#[test]
fn reports_the_outcome_for_each_recipient() {
    for (replies, last, expected) in [
        // All are rejected; the server expects a message all the same, and gets an empty one.
        ("250 a\r\n550 b\r\n550 c\r\n354 go\r\n", "554 none\r\n", ["Rcpt(0) 550", "Rcpt(1) 550"]),
        ("250 a\r\n550 b\r\n451 c\r\n554 none\r\n", "", ["Rcpt(0) 550", "Rcpt(1) 451"]),
        ("550 a\r\n503 b\r\n503 c\r\n503 d\r\n", "", ["Mail 550", "Mail 550"]),
        ("250 a\r\n250 b\r\n550 c\r\n354 go\r\n", "552 large\r\n", ["Message(None) 552", "Rcpt(1) 550"]),
        ("250 a\r\n250 b\r\n250 c\r\n451 later\r\n", "", ["Data 451", "Data 451"]),
        ("250 a\r\n250 b\r\n421 bye\r\n", "", ["Data 421", "Rcpt(1) 421"]),
        ("250 a\r\n250 b\r\n550 c\r\n354 go\r\n", "421 bye\r\n", ["Message(None) 421", "Rcpt(1) 550"]),
    ] {
        let script: &[&[u8]] = &[b"220 mx\r\n", PIPELINED, replies.as_bytes(), last.as_bytes()];
        assert_eq!(outcomes(Config::default(), 2, script), expected, "{replies:?}");
    }
}

#[test]
fn reports_a_lost_reply_as_uncertain() {
    let script: &[&[u8]] = &[b"220 mx\r\n", PIPELINED, b"250 a\r\n250 b\r\n550 c\r\n354 go\r\n"];
    assert_eq!(outcomes(Config::default(), 2, script), ["Uncertain", "Rcpt(1) 550"]);
    assert_eq!(outcomes(Config::default(), 1, &script[..2]), ["NotSent(Lost)"]);
    let half: &[&[u8]] = &[b"220 mx\r\n", PIPELINED, b"250 a\r\n250 b\r\n354 go\r\n", b"25"];
    assert_eq!(outcomes(Config::default(), 1, half), ["Uncertain"]);
}

#[test]
fn does_not_begin_messages_that_cannot_be_accepted() {
    let hello: &[&[u8]] = &[b"220 mx\r\n", b"250-mx\r\n250 SIZE 1000\r\n"];
    let mail = || Mail::new(address("a@b.example"));
    let to = || Rcpt::new(address("c@d.example"));
    for (transaction, why) in [
        (Transaction::new(mail().with_size(1001)).recipient(to()), NotSent::TooLarge(1000)),
        (Transaction::new(mail().with_utf8()).recipient(to()), NotSent::NotOffered(Extension::SmtpUtf8)),
        (
            Transaction::new(mail()).recipient(Rcpt::new(address("é@d.example"))),
            NotSent::NotOffered(Extension::SmtpUtf8),
        ),
        (
            Transaction::new(mail().with_body(BodyType::EightBitMime)).recipient(to()),
            NotSent::NotOffered(Extension::EightBitMime),
        ),
    ] {
        let (outcomes, output) = run(Config::default(), transaction, hello);
        assert_eq!(outcomes, [Outcome::NotSent(why)]);
        assert_eq!(output, "EHLO localhost\r\n");
        assert!(!outcomes[0].is_retryable());
    }
}

#[test]
fn lmtp_reports_outcomes_for_each_recipient() {
    let script: &[&[u8]] = &[
        b"220 mx\r\n",
        PIPELINED,
        b"250 a\r\n250 b\r\n550 c\r\n250 d\r\n354 go\r\n",
        b"250 first\r\n",
        b"452 third\r\n",
    ];
    let lmtp = || Config::default().dialect(Dialect::Lmtp);
    assert_eq!(outcomes(lmtp(), 3, script), ["delivered 250", "Rcpt(1) 550", "Message(Some(2)) 452"]);
    assert_eq!(outcomes(lmtp(), 3, &script[..4]), ["delivered 250", "Rcpt(1) 550", "Uncertain"]);
    let rejected: &[&[u8]] = &[b"220 mx\r\n", PIPELINED, b"250 a\r\n550 b\r\n503 none\r\n"];
    assert_eq!(outcomes(lmtp(), 1, rejected), ["Rcpt(0) 550"]);
}

#[test]
fn resets_an_open_transaction_before_the_next() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
    let mut output = Vec::new();
    let mut transactions = [transaction(1), transaction(1)];
    let mut current = 0;
    let replies: [&[u8]; 4] =
        [b"220 mx\r\n", b"250 mx\r\n", b"250 a\r\n550 b\r\n", b"250 reset\r\n250 a\r\n250 b\r\n354 go\r\n"];
    for line in replies.iter().flat_map(|piece| piece.split_inclusive(|&byte| byte == b'\n')) {
        rx.extend(line);
        while let Some(event) = client.next_event(&mut rx, &mut tx).unwrap() {
            let progress = match &event {
                Event::Capabilities(_) => transactions[0].start(&mut client, &mut tx).unwrap(),
                event => transactions[current].event(event, &mut client, &mut tx).unwrap(),
            };
            if progress == Progress::Done {
                current += 1;
                let progress = transactions[current].start(&mut client, &mut tx).unwrap();
                assert_eq!(progress, Progress::Continue);
            }
        }
        output.extend(tx.take());
    }
    assert!(String::from_utf8(output).unwrap().ends_with(
        "RCPT TO:<r0@x.example>\r\nRSET\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<r0@x.example>\r\nDATA\r\n"
    ));
}
