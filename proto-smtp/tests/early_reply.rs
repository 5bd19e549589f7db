//! A reply in the middle of the message: a rejection is an outcome with the server's text, and the rest of the
//! message is not sent; any other reply is an error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_mail::{Error, PeerError, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event, Outcome, Progress, Transaction};
use proto_smtp::types::{Address, Mail, Rcpt};
use proto_smtp::{Config, Dialect};

const BODY: &[u8] = b"Subject: x\r\n\r\n.dot\r\n";

/// How a message is sent, and its bytes on the wire.
#[derive(Debug, Clone, Copy)]
struct Way {
    dialect: Dialect,
    hello: &'static str,
    wire: &'static str,
}

const DATA: &str = "Subject: x\r\n\r\n..dot\r\n.\r\n";
const BDAT: &str = "BDAT 20 LAST\r\nSubject: x\r\n\r\n.dot\r\n";
const WAYS: [Way; 4] = [
    Way { dialect: Dialect::Smtp, hello: "250 mx\r\n", wire: DATA },
    Way { dialect: Dialect::Lmtp, hello: "250 mx\r\n", wire: DATA },
    Way { dialect: Dialect::Smtp, hello: "250-mx\r\n250 CHUNKING\r\n", wire: BDAT },
    Way { dialect: Dialect::Lmtp, hello: "250-mx\r\n250 CHUNKING\r\n", wire: BDAT },
];

/// Whether the application writes the message at once, or byte by byte.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Program {
    AtOnce,
    Drop,
}

struct Session {
    client: Client<Secure>,
    transaction: Transaction,
    rx: RecvBuffer,
    tx: SendBuffer,
    written: usize,
    program: Program,
}

impl Session {
    /// A session at the beginning of a message, with two recipients of which the second was rejected.
    fn new(way: Way, program: Program) -> Self {
        let address = |text: &str| text.parse::<Address<'static>>().unwrap();
        let mut session = Self {
            client: Client::<Secure>::new(Config::default().dialect(way.dialect), Secure::trusted_local()),
            transaction: Transaction::new(Mail::new(address("a@b.example")))
                .recipient(Rcpt::new(address("c@d.example")))
                .recipient(Rcpt::new(address("e@f.example")))
                .in_one_chunk(BODY.len() as u64),
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            written: usize::MAX,
            program,
        };
        for reply in ["220 mx\r\n", way.hello, "250 a\r\n", "250 b\r\n", "550 c\r\n", "354 go\r\n"] {
            if session.written == usize::MAX {
                let _ = session.hear(reply).unwrap();
                if session.written == usize::MAX {
                    let _ = session.tx.take();
                }
            }
        }
        assert_eq!(session.written, 0, "{way:?}");
        // DATA was sent; BDAT waits with the chunk.
        session
    }

    fn hear(&mut self, reply: &str) -> Result<Progress, Error> {
        self.rx.extend(reply.as_bytes());
        let mut last = Progress::Continue;
        while let Some(event) = self.client.next_event(&mut self.rx, &mut self.tx)? {
            last = match event {
                Event::Capabilities(_) => self.transaction.start(&mut self.client, &mut self.tx)?,
                event => self.transaction.event(&event, &mut self.client, &mut self.tx)?,
            };
            if last == Progress::SendData {
                self.written = 0;
            }
        }
        Ok(last)
    }

    /// Writes the next part of the message, and sends one byte.
    fn send_one(&mut self) -> u8 {
        while self.written <= BODY.len() && (self.program == Program::AtOnce || self.tx.is_empty()) {
            let mut writer = self.client.data_writer().unwrap();
            match BODY.get(self.written) {
                Some(byte) => writer.write(&[*byte], &mut self.tx).unwrap(),
                None => writer.finish(&mut self.tx).unwrap(),
            }
            self.written += 1;
        }
        let byte = self.tx.chunks().next().unwrap().bytes[0];
        self.tx.sent(1);
        byte
    }

    fn outcomes(&self) -> Vec<String> {
        let text = |outcome: &Outcome| match outcome {
            Outcome::Delivered(response) => format!("delivered {response}"),
            Outcome::Refused(step, response) => format!("{step:?} {response}"),
            other => format!("{other:?}"),
        };
        self.transaction.recipients().iter().map(|one| text(one.outcome())).collect()
    }
}

/// Every place in the message where a reply may arrive, for every way to send the message.
fn everywhere(mut check: impl FnMut(Session, Way, usize)) {
    for way in WAYS {
        for program in [Program::AtOnce, Program::Drop] {
            for place in 0..way.wire.len() {
                let mut session = Session::new(way, program);
                let left: Vec<u8> = (0..place).map(|_| session.send_one()).collect();
                assert_eq!(left, &way.wire.as_bytes()[..place], "{way:?}");
                check(session, way, place);
            }
        }
    }
}

#[test]
fn applies_an_early_rejection_to_all_recipients_and_stops_sending() {
    for (reply, said) in [
        ("552-5.3.4 Larger than\r\n552 5.3.4 we take\r\n", "552 5.3.4 Larger than\nwe take"),
        ("451 4.3.1 Disk full\r\n", "451 4.3.1 Disk full"),
        ("421 4.3.2 Going down\r\n", "421 4.3.2 Going down"),
    ] {
        everywhere(|mut session, way, place| {
            assert_eq!(session.hear(reply).unwrap(), Progress::Done, "{way:?} at {place}");
            let [first, second] = &session.outcomes()[..] else { panic!() };
            assert_eq!(
                (&**first, &**second),
                (&*format!("Data {said}"), "Rcpt(1) 550 c"),
                "{way:?} at {place}"
            );
            assert!(session.tx.is_empty() && session.client.is_closed() && !session.client.is_idle());
            assert!(session.client.data_writer().is_err());
            assert!(session.client.noop(&mut session.tx).is_err());
            assert!(session.tx.is_empty());
        });
    }
}

#[test]
fn rejects_other_replies_during_the_message() {
    for reply in ["250 queued\r\n", "354 go\r\n", "220 mx\r\n"] {
        everywhere(|mut session, way, place| {
            let error = session.hear(reply).unwrap_err();
            assert_eq!(error, PeerError::UnexpectedReply.into(), "{way:?} at {place}");
            let progress = session.transaction.lost(&session.client, &session.tx);
            assert_eq!((progress, &*session.outcomes()[0]), (Progress::Done, "NotSent(Lost)"));
        });
    }
}

#[test]
fn takes_a_rejection_after_the_last_byte_as_the_reply() {
    for way in WAYS {
        let mut session = Session::new(way, Program::Drop);
        assert_eq!((0..way.wire.len()).map(|_| session.send_one()).count(), way.wire.len());
        if session.written == BODY.len() {
            // A chunk ends without further bytes.
            session.client.data_writer().unwrap().finish(&mut session.tx).unwrap();
        }
        assert_eq!(session.hear("552 5.3.4 Larger\r\n").unwrap(), Progress::Done);
        let step = if way.dialect == Dialect::Lmtp { "Some(0)" } else { "None" };
        assert_eq!(session.outcomes()[0], format!("Message({step}) 552 5.3.4 Larger"));
        assert!(session.client.is_idle(), "the session goes on");
    }
}

#[test]
fn reports_an_uncertain_outcome_after_an_unexpected_reply() {
    for reply in ["354 go\r\n", "353 wait\r\n", "334 \r\n", "220 mx\r\n", "221 bye\r\n", "235 ok\r\n"] {
        let mut session = Session::new(WAYS[0], Program::AtOnce);
        assert_eq!((0..DATA.len()).map(|_| session.send_one()).count(), DATA.len());
        assert_eq!(session.hear(reply), Err(PeerError::UnexpectedReply.into()), "{reply}");
        assert_eq!(session.transaction.lost(&session.client, &session.tx), Progress::Done);
        assert_eq!(session.outcomes()[0], "Uncertain", "{reply}");
    }
}

#[test]
fn continues_after_a_rejection_between_chunks() {
    use proto_smtp::client::Step;
    use proto_smtp::types::ChunkEnd;
    let mut session = Session::new(WAYS[0], Program::Drop);
    let (client, tx, rx) = (&mut session.client, &mut session.tx, &mut session.rx);
    *client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
    for line in ["220 mx\r\n", "250-mx\r\n250 CHUNKING\r\n"] {
        rx.extend(line.as_bytes());
        while client.next_event(rx, tx).unwrap().is_some() {}
        let _ = tx.take();
    }
    client.bdat(2, ChunkEnd::More, tx).unwrap();
    client.data_writer().unwrap().write(b"ab", tx).unwrap();
    client.data_writer().unwrap().finish(tx).unwrap();
    let _ = tx.take();
    rx.extend(b"552 5.3.4 Larger\r\n");
    let event = client.next_event(rx, tx).unwrap().unwrap();
    assert!(matches!(event, Event::Rejected(Step::Chunk, _)), "{event:?}");
    client.reset(tx).unwrap();
    assert_eq!(tx.take(), b"RSET\r\n");
}
