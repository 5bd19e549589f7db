//! UIDONLY in both roles (RFC 9586): after ENABLE there are no sequence numbers, in commands and in responses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod common;

use bytes::Bytes;
use common::talk::Talk;
use proptest::prelude::*;
use proto_imap::Config;
use proto_imap::encode;
use proto_imap::parse::{self, Context};
use proto_imap::server::{Event, Reply, Server};
use proto_imap::types::{
    Capability, CapabilityList, Command, Condition, FetchItem, FetchResponse, Flag, FlagList, LazyList,
    MailboxName, NumberRange, Numbers, PlainCode, Response, ResponseCode, Section, SelectCommand,
    StatusResponse, Text, Untagged, VanishedWhen,
};
use proto_mail::{AuthVerdict, Error, Misuse, RecvBuffer, Secure, SendBuffer};

/// Commands that use sequence numbers.
const NUMBERED: &[&str] = &[
    "FETCH 1 FLAGS",
    "STORE 1 FLAGS ()",
    "COPY 1 x",
    "MOVE 1 x",
    "SEARCH ALL",
    "SORT (DATE) UTF-8 ALL",
    "THREAD REFS UTF-8 ALL",
    "UID SEARCH 1:5",
    "UID SEARCH NOT (SEEN OR UNSEEN 7)",
    "UID SORT (DATE) UTF-8 1",
    "UID THREAD REFS UTF-8 FUZZY 1",
    "ESEARCH IN (selected) 1",
    "SELECT INBOX (QRESYNC (1 1 1:3 (1:3 1:3)))",
];

/// Commands that do not.
const UNNUMBERED: &[&str] = &[
    "UID FETCH 1 FLAGS",
    "UID STORE 1 FLAGS ()",
    "UID COPY 1 x",
    "UID MOVE 1 x",
    "UID EXPUNGE 1",
    "UID SEARCH ALL",
    "UID SEARCH $ UID 1:5",
    "UID SORT (DATE) UTF-8 SEEN",
    "EXPUNGE",
    "SELECT INBOX (QRESYNC (1 1 1:3))",
    "NOOP",
];

const EXTENSIONS: &str =
    "UIDONLY MOVE UIDPLUS SORT THREAD=REFS ESEARCH SEARCHRES MULTISEARCH QRESYNC SEARCH=FUZZY ENABLE";

/// A client with a selected mailbox.
fn client() -> Talk {
    let mut talk = Talk::greeted("PREAUTH", EXTENSIONS);
    talk.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)));
    talk.said();
    talk.hear("* 7 EXISTS\r\nM1 OK [READ-WRITE] selected\r\n").unwrap();
    talk
}

fn enable(talk: &mut Talk) {
    talk.send(&Command::Enable(CapabilityList::new(&[Capability::new("UIDONLY")])));
    talk.said();
    talk.hear("* ENABLED UIDONLY\r\nM2 OK done\r\n").unwrap();
}

#[test]
fn the_client_sends_no_sequence_numbers_after_enable() {
    let sent = |line: &str, is_enabled: bool| {
        let mut talk = client();
        if is_enabled {
            enable(&mut talk);
        }
        let frame = format!("a {line}\r\n");
        let (_, command) = parse::command(frame.as_bytes(), &Context::strict()).unwrap();
        let sent = talk.client.send(&command, &mut talk.tx).map(|_| ());
        assert_eq!(sent.is_err(), talk.said().is_empty(), "{line}");
        sent
    };
    for line in NUMBERED {
        assert_eq!(sent(line, false), Ok(()), "{line}");
        assert_eq!(sent(line, true), Err(Error::Misuse(Misuse::WrongState)), "{line}");
    }
    for line in UNNUMBERED {
        assert_eq!(sent(line, true), Ok(()), "{line}");
    }
}

#[test]
fn the_client_reports_uidfetch_with_streamed_bodies() {
    let mut talk = client();
    enable(&mut talk);
    let body = "x\r\n* 1 FETCH (".repeat(10);
    let response = format!(
        "* 4294967295 UIDFETCH (FLAGS (\\Seen) BODY[] {{{}}}\r\n{body} MODSEQ (7))\r\n* 8 uidfetch (UID 8)\r\n* VANISHED 9\r\n",
        body.len()
    );
    let expected = [
        "UidFetchStart { uid: 4294967295 }",
        "FetchItem(Flags",
        "BodyStart",
        "FetchItem(ModSeq(7))",
        "FetchEnd",
    ];
    for size in [1, 7, response.len()] {
        let mut events = Vec::new();
        for piece in response.as_bytes().chunks(size) {
            events.extend(talk.hear(std::str::from_utf8(piece).unwrap()).unwrap());
        }
        let mut rest = events.iter();
        for wanted in
            expected.iter().chain(&["UidFetchStart { uid: 8 }", "FetchItem(Uid(8))", "FetchEnd", "Vanished"])
        {
            assert!(rest.any(|event| event.contains(wanted)), "{wanted} in {events:?}");
        }
        assert!(!events.iter().any(|event| event.starts_with("FetchStart")), "{events:?}");
    }
}

/// A server whose client has selected a mailbox of 10 messages.
struct Session {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Session {
    fn selected() -> Self {
        let mut tx = SendBuffer::new();
        let config = Config::default().extensions(EXTENSIONS.split(' ')).enableable(["UIDONLY", "QRESYNC"]);
        let server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        let mut session = Self { server, rx: RecvBuffer::new(), tx };
        session.rx.extend(b"a LOGIN user password\r\n");
        match session.server.next_event(&mut session.rx, &mut session.tx).unwrap() {
            Some(Event::Auth(request)) => {
                session.server.answer_auth(request, AuthVerdict::Accept, &mut session.tx).unwrap();
            }
            other => panic!("{other:?}"),
        }
        let reply = session.command("SELECT INBOX").unwrap();
        session.server.data(&Untagged::Exists(10), &mut session.tx).unwrap();
        session.answer(reply);
        session
    }

    /// Receives a command. Returns the reply to give, or what the machine has answered.
    fn command(&mut self, line: &str) -> Result<Reply, String> {
        self.sent();
        self.rx.extend(format!("c {line}\r\n").as_bytes());
        match self.server.next_event(&mut self.rx, &mut self.tx).unwrap() {
            Some(Event::Command(_, reply)) => Ok(reply),
            None => Err(self.sent()),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, reply: Reply) {
        let status = StatusResponse::new(Condition::Ok, Text::first_line("x"));
        self.server.reply(reply, &status, &mut self.tx).unwrap();
    }

    fn sent(&mut self) -> String {
        String::from_utf8(self.tx.take()).unwrap()
    }
}

#[test]
fn the_server_rejects_sequence_numbers_after_enable() {
    for line in NUMBERED {
        let mut session = Session::selected();
        assert!(session.command("ENABLE QRESYNC").is_err());
        let reply = session.command(line).unwrap();
        session.answer(reply);
        assert_eq!(
            session.command("ENABLE UIDONLY").unwrap_err(),
            "* ENABLED UIDONLY\r\nc OK ENABLE completed\r\n"
        );
        let answer = session.command(line).unwrap_err();
        assert!(answer.starts_with("c BAD [UIDREQUIRED] "), "{line}: {answer}");
        assert!(session.server.state().is_selected(), "{line}");
    }
    let mut session = Session::selected();
    assert!(session.command("ENABLE UIDONLY QRESYNC").is_err());
    for line in UNNUMBERED {
        let reply = session.command(line).unwrap_or_else(|answer| panic!("{line}: {answer}"));
        session.answer(reply);
    }
}

#[test]
fn the_server_names_messages_by_their_uids_after_enable() {
    const WRONG: Result<(), Error> = Err(Error::Misuse(Misuse::WrongState));
    let flags = FlagList::new(&[Flag::Seen]);
    let items = [FetchItem::Flags(flags)];
    let by_number = Untagged::Fetch(FetchResponse { sequence: 1, items: LazyList::new(&items) });
    let by_uid = Untagged::UidFetch { uid: 700, items: LazyList::new(&items) };
    let gone = [NumberRange::new(5, 5)];
    let vanished = Untagged::Vanished { when: VanishedWhen::Now, uids: Numbers::new(&gone) };
    let mut session = Session::selected();
    let reply = session.command("NOOP").unwrap();
    assert_eq!(session.server.data(&by_uid, &mut session.tx), WRONG, "not enabled");
    assert_eq!(session.server.uid_fetch(700, &mut session.tx).map(|_| ()), WRONG, "not enabled");
    assert!(session.server.data(&by_number, &mut session.tx).is_ok());
    session.answer(reply);
    assert!(session.command("ENABLE UIDONLY").is_err());
    let reply = session.command("NOOP").unwrap();
    for data in [by_number, Untagged::Expunge(1)] {
        assert_eq!(session.server.data(&data, &mut session.tx), WRONG, "{data:?}");
    }
    assert_eq!(session.server.fetch(1, &mut session.tx).map(|_| ()), WRONG);
    assert_eq!(
        session.server.uid_fetch(0, &mut session.tx).map(|_| ()),
        Err(Error::Misuse(Misuse::InvalidArgument))
    );
    let empty = Untagged::UidFetch { uid: 1, items: LazyList::EMPTY };
    assert_eq!(session.server.data(&empty, &mut session.tx), Err(Error::Misuse(Misuse::InvalidArgument)));
    assert_eq!(session.sent(), "");
    session.server.data(&by_uid, &mut session.tx).unwrap();
    session.server.data(&vanished, &mut session.tx).unwrap();
    let mut writer = session.server.uid_fetch(701, &mut session.tx).unwrap();
    writer.item(&items[0]).body(Section::body("").unwrap(), None, Bytes::from_static(b"abc"));
    writer.finish().unwrap();
    session.server.uid_fetch(702, &mut session.tx).unwrap().stream_body(Section::body("").unwrap(), None, 2);
    session.server.write_body(Bytes::from_static(b"xy"), &mut session.tx).unwrap();
    session.server.resume_fetch(&mut session.tx).unwrap().finish().unwrap();
    session.answer(reply);
    assert_eq!(
        session.sent(),
        "* 700 UIDFETCH (FLAGS (\\Seen))\r\n* VANISHED 5\r\n* 701 UIDFETCH (FLAGS (\\Seen) BODY[] {3}\r\nabc)\r\n\
         * 702 UIDFETCH (BODY[] {2}\r\nxy)\r\nc OK x\r\n"
    );
}

#[test]
fn vanished_takes_the_place_of_expunge_after_enable_qresync() {
    const WRONG: Result<(), Error> = Err(Error::Misuse(Misuse::WrongState));
    let gone = [NumberRange::new(5, 5)];
    let vanished = |when| Untagged::Vanished { when, uids: Numbers::new(&gone) };
    let mut session = Session::selected();
    for line in ["SELECT INBOX (QRESYNC (1 1))", "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)"] {
        session.sent();
        session.rx.extend(format!("c {line}\r\n").as_bytes());
        let event = session.server.next_event(&mut session.rx, &mut session.tx).unwrap();
        assert!(matches!(event, Some(Event::Unparsed(_))), "{event:?}");
        assert!(session.sent().starts_with("c BAD "), "{line}");
    }
    let reply = session.command("NOOP").unwrap();
    for when in [VanishedWhen::Now, VanishedWhen::Earlier] {
        assert_eq!(session.server.data(&vanished(when), &mut session.tx), WRONG);
    }
    session.server.data(&Untagged::Expunge(1), &mut session.tx).unwrap();
    session.answer(reply);
    assert!(session.command("ENABLE QRESYNC").unwrap_err().starts_with("* ENABLED QRESYNC\r\n"));
    assert!(session.server.is_enabled("CONDSTORE"), "QRESYNC implies CONDSTORE");
    let reply = session.command("UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)").unwrap();
    assert_eq!(session.server.data(&Untagged::Expunge(1), &mut session.tx), WRONG);
    for when in [VanishedWhen::Earlier, VanishedWhen::Now] {
        session.server.data(&vanished(when), &mut session.tx).unwrap();
    }
    session.answer(reply);
    // A mailbox without mod-sequences keeps EXPUNGE.
    let reply = session.command("SELECT INBOX (QRESYNC (1 1))").unwrap();
    session.server.data(&Untagged::Exists(3), &mut session.tx).unwrap();
    let code = ResponseCode::Plain(PlainCode::NoModSeq);
    let status = StatusResponse::new(Condition::Ok, Text::first_line("x")).with_code(code);
    session.server.data(&Untagged::Status(status), &mut session.tx).unwrap();
    session.answer(reply);
    let reply = session.command("NOOP").unwrap();
    assert_eq!(session.server.data(&vanished(VanishedWhen::Now), &mut session.tx), WRONG);
    session.server.data(&Untagged::Expunge(1), &mut session.tx).unwrap();
    session.answer(reply);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_written_response_is_parsed_as_the_same(uid in 1_u32.., size in any::<u32>(), seen in any::<bool>()) {
        let flags = [Flag::Seen];
        let flags = FlagList::new(if seen { &flags } else { &[] });
        let items = [FetchItem::Flags(flags), FetchItem::Uid(uid), FetchItem::Size(size.into())];
        let given = Response::Untagged(Untagged::UidFetch { uid, items: LazyList::new(&items) });
        let mut out = Vec::new();
        encode::response(&given, &mut out);
        for cx in [Context::strict(), Context::tolerant()] {
            let read = parse::response(&out, &cx);
            prop_assert_eq!(&read, &given);
            let owned = read.into_owned();
            prop_assert_eq!(owned.view(), given);
            prop_assert!(parse::fetch::start(&out, &cx).is_err());
            prop_assert_eq!(parse::fetch::uid_start(&out, &cx).unwrap().0, uid);
        }
    }
}
