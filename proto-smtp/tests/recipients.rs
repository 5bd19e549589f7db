//! A hundred recipients in one transaction: the outcome of each is right, wherever the server's bytes are split or
//! end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proto_mail::{RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event, NotSent, Outcome, Progress, Step, Transaction};
use proto_smtp::types::{Address, Mail, Rcpt};
use proto_smtp::{Config, Dialect};
use support::every_split;

const BODY: &[u8] = b".body\r\n";
const RECIPIENTS: usize = 100;
const GREETING: &[u8] = b"220 mx\r\n";

/// How a message is sent.
#[derive(Debug, Clone, Copy)]
struct Way {
    dialect: Dialect,
    hello: &'static [u8],
    chunked: bool,
}

const WAYS: [Way; 4] = [
    Way { dialect: Dialect::Smtp, hello: b"250-mx\r\n250 PIPELINING\r\n", chunked: false },
    Way { dialect: Dialect::Lmtp, hello: b"250-mx\r\n250 PIPELINING\r\n", chunked: false },
    Way { dialect: Dialect::Smtp, hello: b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n", chunked: true },
    Way { dialect: Dialect::Lmtp, hello: b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n", chunked: true },
];

fn address(text: &str) -> Address<'static> {
    text.parse().unwrap()
}

/// The outcome of each recipient in short form, and what the client has sent.
fn converse(way: Way, recipients: usize, script: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut transaction = (0..recipients)
        .fold(Transaction::new(Mail::new(address("a@b.example"))), |transaction, number| {
            transaction.recipient(Rcpt::new(address(&format!("r{number}@x.example"))))
        })
        .in_one_chunk(BODY.len() as u64);
    let (mut rx, mut tx, mut output) = (RecvBuffer::new(), SendBuffer::new(), Vec::new());
    let mut client = Client::<Secure>::new(Config::default().dialect(way.dialect), Secure::trusted_local());
    let mut script = [GREETING, way.hello].into_iter().chain(script.iter().copied());
    loop {
        let progress = match client.next_event(&mut rx, &mut tx) {
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
                client.data_writer().unwrap().write(BODY, &mut tx).unwrap();
                client.data_writer().unwrap().finish(&mut tx).unwrap();
            }
            Progress::Done => {
                output.extend(tx.take());
                return (transaction.recipients().iter().map(|one| text(one.outcome())).collect(), output);
            }
            Progress::Continue => {}
        }
    }
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(response) => format!("delivered {}", response.code()),
        Outcome::Refused(step, response) => format!("{step:?} {}", response.code()),
        other => format!("{other:?}"),
    }
}

/// The replies of a server, and the outcome that they mean for each recipient.
struct Verdicts {
    /// The replies before the message: to MAIL, to each RCPT, and 354.
    envelope: Vec<Vec<u8>>,
    /// The replies after it.
    end: Vec<Vec<u8>>,
    expected: Vec<String>,
}

/// Thirty-seven are rejected, in LMTP about half of them after the message.
fn thirty_seven(way: Way) -> Verdicts {
    let mut verdicts =
        Verdicts { envelope: vec![b"250 a\r\n".to_vec()], end: Vec::new(), expected: Vec::new() };
    for number in 0..RECIPIENTS {
        let refused = (number * 37) % RECIPIENTS < 37;
        let late = refused && way.dialect == Dialect::Lmtp && (number * 31) % 7 < 4;
        let (line, code) = match (refused, number % 3) {
            (false, _) => ("250 k\r\n", 250),
            (true, 0) => ("550-a\r\n550 b\r\n", 550),
            (true, 1) => ("452 m\r\n", 452),
            (true, _) => ("553 n\r\n", 553),
        };
        let early: &str = if late { "250 k\r\n" } else { line };
        verdicts.envelope.push(early.into());
        if way.dialect == Dialect::Lmtp && early.starts_with("250") {
            verdicts.end.push(line.into());
        }
        verdicts.expected.push(match (refused, late) {
            (false, _) => format!("delivered {code}"),
            (true, false) => format!("Rcpt({number}) {code}"),
            (true, true) => format!("{:?} {code}", Step::Message(Some(number))),
        });
    }
    if way.dialect == Dialect::Smtp {
        verdicts.end.push(b"250 2.0.0 queued\r\n".to_vec());
    }
    if !way.chunked {
        verdicts.envelope.push(b"354 go\r\n".to_vec());
    }
    verdicts
}

#[test]
fn matches_rejections_of_many_recipients_in_every_split() {
    for way in WAYS {
        let verdicts = thirty_seven(way);
        let (envelope, end) = (verdicts.envelope.concat(), verdicts.end.concat());
        let cut_before = every_split(&envelope, |pieces| {
            let script: Vec<&[u8]> = pieces.iter().copied().chain([&end[..]]).collect();
            converse(way, RECIPIENTS, &script)
        });
        let cut_behind = every_split(&end, |pieces| {
            let script: Vec<&[u8]> = [&envelope[..]].into_iter().chain(pieces.iter().copied()).collect();
            converse(way, RECIPIENTS, &script)
        });
        assert_eq!(cut_before, cut_behind);
        let (outcomes, sent) = cut_before;
        assert_eq!(outcomes, verdicts.expected, "{way:?}");
        assert_eq!(outcomes.iter().filter(|outcome| !outcome.starts_with("delivered")).count(), 37);
        let message: &[u8] =
            if way.chunked { b"BDAT 7 LAST\r\n.body\r\n" } else { b"DATA\r\n..body\r\n.\r\n" };
        assert!(sent.ends_with(message), "{}", sent.escape_ascii());
    }
}

/// The outcome of each recipient if only so many replies came, and then nothing or 421.
fn expected_after(way: Way, verdicts: &Verdicts, came: usize, word: Option<u16>) -> Vec<String> {
    let before_message = verdicts.envelope.len();
    let mut ends = 0;
    (0..RECIPIENTS)
        .map(|number| {
            let accepted = verdicts.envelope[number + 1].starts_with(b"250");
            let answered = came > number + 1;
            let own_end = if way.dialect == Dialect::Lmtp { ends } else { 0 };
            ends += usize::from(accepted);
            match (answered, word) {
                (true, _) if !accepted => verdicts.expected[number].clone(),
                (true, _) if came > before_message + own_end => verdicts.expected[number].clone(),
                (_, None) if came >= before_message => "Uncertain".into(),
                (_, None) => format!("{:?}", Outcome::NotSent(NotSent::Lost)),
                (true, Some(_)) if came >= before_message && came < before_message + own_end => {
                    // In LMTP 421 was the reply for another recipient.
                    "Uncertain".into()
                }
                (true, Some(code)) if came >= before_message => {
                    let own = (way.dialect == Dialect::Lmtp).then_some(number);
                    format!("{:?} {code}", Step::Message(own))
                }
                (true, Some(code)) => format!("Data {code}"),
                (false, Some(code)) => format!("Rcpt({number}) {code}"),
            }
        })
        .collect()
}

#[test]
fn reports_outcomes_when_the_server_closes_after_any_reply() {
    for way in WAYS {
        let verdicts = thirty_seven(way);
        let replies: Vec<&[u8]> = verdicts.envelope.iter().chain(&verdicts.end).map(Vec::as_slice).collect();
        for came in 0..replies.len() {
            let mut script = replies[..came].to_vec();
            let (outcomes, _) = converse(way, RECIPIENTS, &script);
            assert_eq!(outcomes, expected_after(way, &verdicts, came, None), "{way:?}, lost after {came}");
            script.push(b"421 4.3.2 going down\r\n");
            let (outcomes, _) = converse(way, RECIPIENTS, &script);
            assert_eq!(
                outcomes,
                expected_after(way, &verdicts, came, Some(421)),
                "{way:?}, 421 after {came}"
            );
        }
    }
}

#[test]
fn applies_a_rejection_of_the_message_to_all_recipients() {
    for way in WAYS {
        let rcpts = b"503 5.5.1 no\r\n".repeat(3);
        let data: &[u8] = if way.chunked { b"" } else { b"503 5.5.1 no\r\n" };
        let script: &[&[u8]] = &[b"451 4.7.1 later\r\n", &rcpts, data];
        assert_eq!(converse(way, 3, script).0, ["Mail 451"; 3], "{way:?}");
        if way.chunked {
            continue;
        }
        let script: &[&[u8]] = &[b"250 a\r\n", b"250 b\r\n550 c\r\n250 d\r\n", b"452 4.3.1 full\r\n"];
        assert_eq!(converse(way, 3, script).0, ["Data 452", "Rcpt(1) 550", "Data 452"], "{way:?}");
    }
}

#[test]
fn assigns_recipients_to_the_accepted_transaction() {
    let mail = Mail::new(address("a@b.example"));
    let rcpt = Rcpt::new(address("r@x.example"));
    // Given at once, so that the reply to the first recipient arrives after the second transaction was given.
    let cases: [(bool, &[u8], usize); 4] = [
        (true, b"250 m\r\n250 r\r\n250 reset\r\n250 m\r\n250 r\r\n354 go\r\n", 1),
        (false, b"250 m\r\n250 r\r\n250 m\r\n250 r\r\n354 go\r\n", 1),
        (false, b"250 m\r\n250 r\r\n503 nested\r\n250 r\r\n354 go\r\n", 2),
        (false, b"250 m\r\n250 r\r\n503 nested\r\n550 r\r\n354 go\r\n", 1),
    ];
    for (resets, replies, ends) in cases {
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        let mut client =
            Client::<Secure>::new(Config::default().dialect(Dialect::Lmtp), Secure::trusted_local());
        let mut delivered = 0;
        for came in [GREETING, b"250-mx\r\n250 PIPELINING\r\n", replies, &b"250 kept\r\n".repeat(ends)] {
            rx.extend(came);
            while let Some(event) = client.next_event(&mut rx, &mut tx).unwrap() {
                match event {
                    Event::Capabilities(_) => {
                        client.mail(&mail, &mut tx).unwrap();
                        client.rcpt(&rcpt, &mut tx).unwrap();
                        if resets {
                            client.reset(&mut tx).unwrap();
                        }
                        client.mail(&mail, &mut tx).unwrap();
                        client.rcpt(&rcpt, &mut tx).unwrap();
                        client.data(&mut tx).unwrap();
                    }
                    Event::SendData(_) => client.data_writer().unwrap().finish(&mut tx).unwrap(),
                    Event::Delivered(..) => delivered += 1,
                    _ => {}
                }
            }
            let _ = tx.take();
        }
        assert!(delivered == ends && client.is_idle(), "{delivered} of {ends}: {}", replies.escape_ascii());
    }
}
