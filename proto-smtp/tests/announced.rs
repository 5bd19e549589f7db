//! A client adapts to what a server announces: the number of recipients and messages, the body type, DATA or BDAT.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_mail::{Error, Misuse, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event, NotSent, Outcome, Progress, Step, Transaction};
use proto_smtp::types::{Address, BodyType, ChunkEnd, Extension, Mail, Rcpt};
use proto_smtp::{Config, Dialect};

const MESSAGE: &[u8] = b"a\0\r.\n";

fn address(text: &str) -> Address<'static> {
    text.parse().unwrap()
}

fn transaction(recipients: &[&str]) -> Transaction {
    recipients.iter().fold(Transaction::new(Mail::new(address("a@b.example"))), |transaction, recipient| {
        transaction.recipient(Rcpt::new(address(recipient)))
    })
}

/// A client that knows the server's capabilities.
struct Session {
    client: Client<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Session {
    fn new(dialect: Dialect, offered: &[&str]) -> Self {
        let client = Client::<Secure>::new(Config::default().dialect(dialect), Secure::trusted_local());
        let mut session = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
        session.rx.extend(b"220 mx\r\n");
        assert!(matches!(session.next(), Some(Event::Greeting(_))));
        assert!(session.next().is_none());
        let _ = session.tx.take();
        let lines: String = offered.iter().map(|line| format!("250-{line}\r\n")).collect();
        session.rx.extend(format!("250-mx\r\n{lines}250 HELP\r\n").as_bytes());
        assert!(matches!(session.next(), Some(Event::Capabilities(_))));
        session
    }

    fn next(&mut self) -> Option<Event<'_>> {
        self.client.next_event(&mut self.rx, &mut self.tx).unwrap()
    }

    /// Sends a message to a server that accepts everything. Returns what was sent.
    fn send(&mut self, transaction: &mut Transaction, message: &[u8]) -> String {
        let (mut output, mut written) = (Vec::new(), false);
        let mut progress = transaction.start(&mut self.client, &mut self.tx).unwrap();
        while progress != Progress::Done {
            if progress == Progress::SendData {
                self.client.data_writer().unwrap().write(message, &mut self.tx).unwrap();
                self.client.data_writer().unwrap().finish(&mut self.tx).unwrap();
                written = true;
            }
            progress = match self.client.next_event(&mut self.rx, &mut self.tx).unwrap() {
                Some(event) => transaction.event(&event, &mut self.client, &mut self.tx).unwrap(),
                None => {
                    let sent = self.tx.take();
                    let commands = if std::mem::take(&mut written) { &b"\n"[..] } else { &sent };
                    for line in commands.split_inclusive(|&byte| byte == b'\n') {
                        self.rx.extend(if *line == *b"DATA\r\n" { b"354 go\r\n" } else { b"250 ok\r\n" });
                    }
                    assert!(!sent.is_empty(), "nothing to wait for");
                    output.extend(sent);
                    Progress::Continue
                }
            };
        }
        String::from_utf8(output).unwrap()
    }
}

/// The outcomes in short form.
fn outcomes(transaction: &Transaction) -> Vec<Option<NotSent>> {
    let short = |outcome: &Outcome| match outcome {
        Outcome::Delivered(_) => None,
        Outcome::NotSent(why) => Some(*why),
        other => panic!("{other:?}"),
    };
    transaction.recipients().iter().map(|recipient| short(recipient.outcome())).collect()
}

#[test]
fn leaves_surplus_recipients_for_the_next_transaction() {
    const LEFT: Option<NotSent> = Some(NotSent::LeftOver);
    let all = ["1@a", "2@b", "3@A", "4@c", "5@b", "6@c"];
    for (limits, expected) in [
        ("LIMITS RCPTMAX=4", vec![vec![None, None, None, None, LEFT, LEFT], vec![None, None]]),
        ("LIMITS RCPTDOMAINMAX=2", vec![vec![None, None, None, LEFT, None, LEFT], vec![None, None]]),
        (
            "LIMITS RCPTMAX=3 RCPTDOMAINMAX=1",
            vec![vec![None, LEFT, None, LEFT, LEFT, LEFT], vec![None, LEFT, None, LEFT], vec![None, None]],
        ),
        ("LIMITS", vec![vec![None; 6]]),
    ] {
        for pipelining in ["PIPELINING", "XYZZY"] {
            let mut session = Session::new(Dialect::Smtp, &[limits, pipelining]);
            let mut next = Some(transaction(&all));
            let (mut seen, mut sent) = (Vec::new(), String::new());
            while let Some(mut transaction) = next {
                sent += &session.send(&mut transaction, b"x\r\n");
                seen.push(outcomes(&transaction));
                next = transaction.rest();
            }
            assert_eq!(seen, expected, "{limits} {pipelining}");
            for recipient in all {
                assert_eq!(sent.matches(&format!("RCPT TO:<{recipient}>")).count(), 1, "{sent}");
            }
        }
    }
}

#[test]
fn matches_rejections_to_recipients_after_some_were_left_over() {
    let mut session = Session::new(Dialect::Lmtp, &["LIMITS RCPTDOMAINMAX=1", "PIPELINING"]);
    let mut transaction = transaction(&["1@a", "2@b", "3@a", "4@b", "5@a"]);
    let _ = transaction.start(&mut session.client, &mut session.tx).unwrap();
    let _ = session.tx.take();
    session.rx.extend(b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n");
    loop {
        let event = session.client.next_event(&mut session.rx, &mut session.tx).unwrap().unwrap();
        match transaction.event(&event, &mut session.client, &mut session.tx).unwrap() {
            Progress::SendData => {
                session.client.data_writer().unwrap().finish(&mut session.tx).unwrap();
                let _ = session.tx.take();
                session.rx.extend(b"250 ok\r\n452 full\r\n");
            }
            Progress::Continue => {}
            Progress::Done => break,
        }
    }
    let text = |outcome: &Outcome| match outcome {
        Outcome::Delivered(_) => "yes".to_owned(),
        Outcome::Refused(step, response) => format!("{step:?} {}", response.code()),
        other => format!("{other:?}"),
    };
    assert_eq!(
        transaction.recipients().iter().map(|one| text(one.outcome())).collect::<Vec<_>>(),
        [
            "yes".to_owned(),
            "NotSent(LeftOver)".into(),
            format!("{:?} 550", Step::Rcpt(2)),
            "NotSent(LeftOver)".into(),
            format!("{:?} 452", Step::Message(Some(4))),
        ]
    );
}

#[test]
fn reports_a_session_without_messages_left() {
    let mut session = Session::new(Dialect::Smtp, &["LIMITS MAILMAX=2", "PIPELINING"]);
    for expected in [None, None, Some(NotSent::SessionUsedUp)] {
        let mut transaction = transaction(&["1@a", "2@b"]);
        let sent = session.send(&mut transaction, b"x\r\n");
        assert_eq!(outcomes(&transaction), [expected; 2]);
        assert_eq!(sent.is_empty(), expected.is_some());
        assert!(transaction.rest().is_none(), "another session is needed, not another transaction");
        assert_eq!(transaction.recipients()[0].outcome().is_retryable(), expected.is_some());
    }
}

#[test]
fn chooses_data_or_bdat_by_capabilities() {
    let binary = |size| {
        let mail = Mail::new(address("a@b.example")).with_body(BodyType::BinaryMime);
        let transaction = Transaction::new(mail).recipient(Rcpt::new(address("1@a")));
        if size { transaction.in_one_chunk(MESSAGE.len() as u64) } else { transaction }
    };
    for (offered, chunked, expected) in [
        (&["CHUNKING", "BINARYMIME"][..], true, None),
        (&["CHUNKING", "BINARYMIME", "PIPELINING"], true, None),
        // Only BDAT sends bytes unchanged: the message is not begun.
        (&["CHUNKING", "8BITMIME"], true, Some(Extension::BinaryMime)),
        (&["BINARYMIME"], true, Some(Extension::Chunking)),
        (&["CHUNKING", "BINARYMIME"], false, Some(Extension::Chunking)),
    ] {
        let mut session = Session::new(Dialect::Smtp, offered);
        let mut transaction = binary(chunked);
        let sent = session.send(&mut transaction, MESSAGE);
        assert_eq!(outcomes(&transaction), [expected.map(NotSent::NotOffered)], "{offered:?}");
        match expected {
            Some(_) => assert_eq!(sent, ""),
            None => assert!(
                sent.contains(" BODY=BINARYMIME\r\n") && sent.ends_with("BDAT 5 LAST\r\na\0\r.\n"),
                "{sent:?}"
            ),
        }
    }
    // A message that may be sent by DATA is sent so if nothing else is offered.
    let mut plain = transaction(&["1@a"]).in_one_chunk(3);
    let sent = Session::new(Dialect::Smtp, &["PIPELINING"]).send(&mut plain, b"x\r\n");
    assert!(sent.ends_with("DATA\r\nx\r\n.\r\n"), "{sent:?}");
}

#[test]
fn lmtp_client_waits_for_recipients_before_the_last_chunk() {
    let wrong = Err(Error::from(Misuse::WrongState));
    let mut session = Session::new(Dialect::Lmtp, &["CHUNKING", "PIPELINING"]);
    let Session { client, rx, tx } = &mut session;
    client.mail(&Mail::new(address("a@b.example")), tx).unwrap();
    client.rcpt(&Rcpt::new(address("1@a")), tx).unwrap();
    assert_eq!(client.bdat(0, ChunkEnd::Last, tx), wrong, "the number of replies is unknown");
    client.bdat(1, ChunkEnd::More, tx).unwrap();
    client.data_writer().unwrap().write(b"x", tx).unwrap();
    client.data_writer().unwrap().finish(tx).unwrap();
    let _ = tx.take();
    rx.extend(b"250 ok\r\n250 ok\r\n552 large\r\n");
    while client.next_event(rx, tx).unwrap().is_some() {}
    assert_eq!(client.bdat(0, ChunkEnd::Last, tx), wrong, "the message was refused already");
    client.reset(tx).unwrap();
    client.mail(&Mail::new(address("a@b.example")), tx).unwrap();
    client.rcpt(&Rcpt::new(address("1@a")), tx).unwrap();
    let _ = tx.take();
    rx.extend(b"250 ok\r\n250 ok\r\n250 ok\r\n");
    while client.next_event(rx, tx).unwrap().is_some() {}
    client.bdat(0, ChunkEnd::Last, tx).unwrap();
    client.data_writer().unwrap().finish(tx).unwrap();
    assert_eq!(tx.take(), b"BDAT 0 LAST\r\n");
    rx.extend(b"250 ok\r\n");
    assert!(matches!(client.next_event(rx, tx), Ok(Some(Event::Delivered(Some(0), _)))));
}
