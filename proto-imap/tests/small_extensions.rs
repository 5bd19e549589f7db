//! Small extensions in both roles: INPROGRESS, MESSAGELIMIT, JMAPACCESS, LANGUAGE, I18NLEVEL, MAILBOX-REFERRALS and
//! UIDBATCHES (RFC 2193, 5255, 9585, 9698, 9738, 10022); the capabilities that a client ignores, and raw commands
//! with literals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod common;
#[path = "small_extensions/url_auth.rs"]
mod url_auth;

use std::num::NonZeroU32;
use std::sync::Arc;

use common::talk::Talk;
use common::{ServerSide, in_every_split, ok};
use proptest::prelude::*;
use proptest::sample::select;
use proto_imap::Config;
use proto_imap::client::Client;
use proto_imap::encode::{self, CommandBuffer, Options};
use proto_imap::parse::{self, Context};
use proto_imap::server::{Event, Server};
use proto_imap::types::{
    Command, ComparatorResponse, Condition, IString, InvalidCommand, LazyList, LsubCommand, MailboxName,
    NumberRange, Numbers, Progress, RawCommand, Response, ResponseCode, SelectCommand, StatusResponse, Tag,
    Text, UidBatchesCommand, UidBatchesResponse, Untagged,
};
use proto_mail::{AuthVerdict, Error, Misuse, RecvBuffer, Secure, SendBuffer};

fn keep<T>(values: Vec<T>) -> &'static [T] {
    Vec::leak(values)
}

fn strings(least: usize) -> impl Strategy<Value = LazyList<'static, IString<'static>>> {
    let string = prop_oneof![
        "[a-z]{2}(-[A-Z]{2})?",
        select(vec!["i;unicode-casemap", "*", "i;as\"ci", ""]).prop_map(String::from)
    ];
    prop::collection::vec(string.prop_map(|text| IString::from(&*text.leak())), least..4)
        .prop_map(|all| LazyList::new(keep(all)))
}

fn command() -> impl Strategy<Value = Command<'static>> {
    let lsub = || {
        ("[ -~]{0,9}", "[ -~]{0,9}").prop_map(|(reference, pattern)| LsubCommand {
            reference: MailboxName::new(reference.leak()),
            pattern: MailboxName::new(pattern.leak()).into(),
        })
    };
    prop_oneof![
        strings(0).prop_map(Command::Language),
        strings(0).prop_map(Command::Comparator),
        Just(Command::GetJmapAccess),
        lsub().prop_map(Command::Rlist),
        lsub().prop_map(Command::Rlsub),
    ]
}

fn code() -> impl Strategy<Value = ResponseCode<'static>> {
    let number = || (1_u32..).prop_map(NonZeroU32::new);
    let tag = prop::option::of("[A-Za-z0-9]{1,6}".prop_map(|tag| IString::from(&*tag.leak())));
    let done = prop_oneof![
        Just((None, None)),
        any::<u32>().prop_map(|done| (Some(done), None)),
        (any::<u32>(), number()).prop_map(|(done, goal)| (Some(done), goal)),
    ];
    prop_oneof![
        (tag, done).prop_map(|(tag, (done, goal))| ResponseCode::InProgress(Progress { tag, done, goal })),
        (1_u32.., prop_oneof![Just(None), number()])
            .prop_map(|(limit, lowest_uid)| ResponseCode::MessageLimit { limit, lowest_uid }),
    ]
}

fn untagged() -> impl Strategy<Value = Untagged<'static>> {
    prop_oneof![
        strings(1).prop_map(Untagged::Language),
        ("[a-z;-]{0,9}", strings(0)).prop_map(|(active, matching)| Untagged::Comparator(
            ComparatorResponse { active: IString::from(&*active.leak()), matching }
        )),
        "[!-~]{0,20}".prop_map(|url| Untagged::JmapAccess(IString::from(&*url.leak()))),
        ("[ -~]{0,9}", prop::collection::vec((1_u32.., 1_u32..), 0..5)).prop_map(|(tag, ranges)| {
            let ranges: Vec<_> =
                ranges.into_iter().map(|(first, last)| NumberRange::new(first, last)).collect();
            let batches = Numbers::new(ranges.leak());
            Untagged::UidBatches(UidBatchesResponse { tag: IString::from(&*tag.leak()), batches })
        }),
        code().prop_map(|code| {
            Untagged::Status(StatusResponse::new(Condition::Ok, Text::first_line("x")).with_code(code))
        }),
    ]
}

fn written(command: &Command<'_>) -> Vec<u8> {
    let mut line = CommandBuffer::default();
    encode::command(Tag::new(b"a").unwrap(), command, Options::default(), &mut line).unwrap();
    line.bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_written_command_is_parsed_as_the_same(command in command()) {
        let line = written(&command);
        for cx in [Context::strict(), Context::tolerant()] {
            let (_, read) = parse::command(&line, &cx).unwrap();
            prop_assert_eq!(read, command);
            let owned = read.into_owned();
            prop_assert_eq!(owned.view(), command);
            prop_assert_eq!(written(&read), line.clone());
        }
    }

    #[test]
    fn a_written_response_is_parsed_as_the_same(data in untagged()) {
        let given = Response::Untagged(data);
        let mut out = Vec::new();
        encode::response(&given, &mut out);
        for cx in [Context::strict(), Context::tolerant()] {
            let read = parse::response(&out, &cx);
            prop_assert_eq!(&read, &given, "{}", out.escape_ascii());
            prop_assert_eq!(cx.repairs.total(), 0);
            let owned = read.into_owned();
            prop_assert_eq!(owned.view(), given);
        }
    }
}

#[test]
fn parses_responses_and_commands_of_the_rfcs() {
    let done = |tag: Option<&'static str>, done, goal| {
        let (tag, goal) = (tag.map(IString::from), NonZeroU32::new(goal));
        Some(ResponseCode::InProgress(Progress { tag, done, goal }))
    };
    let limit = |lowest_uid| {
        Some(ResponseCode::MessageLimit { limit: 1000, lowest_uid: NonZeroU32::new(lowest_uid) })
    };
    for (code, expected) in [
        ("INPROGRESS", done(None, None, 0)),
        ("inprogress (NIL NIL NIL)", done(None, None, 0)),
        ("INPROGRESS (\"A001\" 175 NIL)", done(Some("A001"), Some(175), 0)),
        ("INPROGRESS (\"A001\" 454 1000)", done(Some("A001"), Some(454), 1000)),
        ("MESSAGELIMIT 1000 23221", limit(23221)),
        ("MESSAGELIMIT 1000", limit(0)),
        ("INPROGRESS (\"A001\" NIL 1000)", None),
        ("INPROGRESS ()", None),
        ("MESSAGELIMIT 0", None),
    ] {
        let line = format!("* OK [{code}] x\r\n");
        match parse::response(line.as_bytes(), &Context::strict()) {
            Response::Untagged(Untagged::Status(status)) => assert_eq!(status.code, expected, "{code}"),
            _ => assert_eq!(expected, None, "{code}"),
        }
    }
    for (line, expected) in [
        ("a LANGUAGE", "Language([])"),
        ("a LANGUAGE FR-CA EN-CA", "Language([\"FR-CA\", \"EN-CA\"])"),
        ("a COMPARATOR \"cz;*\" i;basic", "Comparator([\"cz;*\", \"i;basic\"])"),
        ("a GETJMAPACCESS", "GetJmapAccess"),
        ("a RLIST \"\" \"#SHARED/%\"", "Rlist(LsubCommand { reference: \"\", pattern: \"#SHARED/%\" })"),
        ("a LANGUAGE ", ""),
        ("a LANGUAGE  x", ""),
        ("a LANGUAGE (x)", ""),
        ("a GETJMAPACCESS x", ""),
    ] {
        let frame = format!("{line}\r\n");
        let read = parse::command(frame.as_bytes(), &Context::strict());
        assert_eq!(read.map_or(String::new(), |(_, command)| format!("{command:?}")), expected, "{line}");
    }
}

#[test]
fn the_client_sends_what_the_server_offers_and_shows_the_answer() {
    let mut talk = Talk::greeted("PREAUTH", "LANGUAGE I18NLEVEL=2 JMAPACCESS MAILBOX-REFERRALS");
    let german = [IString::from("de")];
    talk.send(&Command::Language(LazyList::new(&german)));
    talk.send(&Command::Comparator(LazyList::EMPTY));
    talk.send(&Command::GetJmapAccess);
    let lsub = LsubCommand { reference: MailboxName::new(""), pattern: MailboxName::new("*").into() };
    talk.send(&Command::Rlist(lsub));
    assert_eq!(talk.said(), "M1 LANGUAGE de\r\nM2 COMPARATOR\r\nM3 GETJMAPACCESS\r\nM4 RLIST \"\" \"*\"\r\n");
    let events = talk
        .hear(
            "* LANGUAGE (DE)\r\nM1 OK x\r\n* COMPARATOR i;basic\r\nM2 OK x\r\n* OK [INPROGRESS (\"M3\" 1 NIL)] x\r\n\
             * JMAPACCESS \"https://jmap.example.test/session\"\r\nM3 OK x\r\n\
             M4 NO [REFERRAL imap://user;AUTH=*@other.example.test/x] elsewhere\r\n",
        )
        .unwrap();
    for shown in ["Language([\"DE\"])", "i;basic", "InProgress", "JmapAccess", "Referral(\"imap://"] {
        assert!(events.iter().any(|event| event.contains(shown)), "{shown} in {events:?}");
    }
    // The client follows no referral and opens no URL.
    assert_eq!(talk.said(), "");
}

#[test]
fn a_client_gets_the_batches_of_the_selected_mailbox() {
    let command = Command::UidBatches(UidBatchesCommand::new(500));
    let mut talk = Talk::greeted("PREAUTH", "UIDBATCHES");
    let refused = talk.client.send(&command, &mut talk.tx);
    assert_eq!(refused, Err(Error::Misuse(Misuse::WrongState)), "no mailbox is selected");
    talk.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)));
    talk.said();
    talk.hear("* 1201 EXISTS\r\nM1 OK x\r\n").unwrap();
    talk.send(&command);
    let batches = Some(NumberRange::new(201, 203));
    talk.send(&Command::UidBatches(UidBatchesCommand { size: 100, batches }));
    assert_eq!(talk.said(), "M2 UIDBATCHES 500\r\nM3 UIDBATCHES 100 201:203\r\n");
    let events = talk
        .hear(
            "* UIDBATCHES (TAG \"M2\") 1201:702,701:202,201:1\r\nM2 OK x\r\nM3 NO [TOOFEW] at least 500\r\n",
        )
        .unwrap();
    for shown in ["UidBatches", "[702..=1201, 202..=701, 1..=201]", "TooFew"] {
        assert!(events.iter().any(|event| event.contains(shown)), "{shown} in {events:?}");
    }
}

#[test]
fn a_server_accepts_language_before_the_login_if_it_offers_it() {
    let run = |extensions: &[&str]| {
        let config = Arc::new(Config::default().extensions(extensions.iter().copied()));
        in_every_split(
            "a LANGUAGE de\r\nb COMPARATOR\r\nc GETJMAPACCESS\r\nd RLSUB \"\" *\r\n",
            false,
            || {
                let mut greeting = SendBuffer::new();
                let server =
                    Server::<Secure>::new(Arc::clone(&config), Secure::trusted_local(), &mut greeting);
                Box::new(ServerSide {
                    server,
                    greeting,
                    answer: Box::new(move |event, server, tx| match event {
                        Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
                        Event::Command(_, reply) => server.reply(reply, &ok("done"), tx).unwrap(),
                        _ => {}
                    }),
                })
            },
        )
        .output
    };
    let output = run(&["LANGUAGE", "I18NLEVEL=2", "JMAPACCESS", "MAILBOX-REFERRALS"]);
    assert!(output.contains("a OK done\r\n"), "{output}");
    for tag in ["b", "c", "d"] {
        assert!(output.contains(&format!("{tag} BAD authenticate first\r\n")), "{output}");
    }
    assert_eq!(run(&[]).matches(" BAD unknown command\r\n").count(), 4);
}

/// A client whose configuration hides these capabilities, after a greeting that lists them.
fn hiding(hidden: &[&str], greeting: &str) -> (Client<Secure>, RecvBuffer, SendBuffer) {
    let config = Config::default().hide_capabilities(hidden.iter().copied());
    let mut client = Client::<Secure>::new(Arc::new(config), Secure::trusted_local());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(greeting.as_bytes());
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    (client, rx, tx)
}

#[test]
fn hidden_capabilities_are_not_offered() {
    const LISTED: &str =
        "CAPABILITY IMAP4rev1 JMAPACCESS LANGUAGE QUOTA=RES-STORAGE AUTH=PLAIN LOGINDISABLED";
    let hidden = ["jmapaccess", "QUOTA=", "AUTH=", "LOGINDISABLED"];
    // Listed in the greeting, and in the answer to the machine's own request.
    for asked in [false, true] {
        let greeting =
            if asked { "* PREAUTH x\r\n".to_owned() } else { format!("* PREAUTH [{LISTED}] x\r\n") };
        let (mut client, mut rx, mut tx) = hiding(&hidden, &greeting);
        if asked {
            assert_eq!(tx.take(), b"M1 CAPABILITY\r\n");
            rx.extend(format!("* {LISTED}\r\nM1 OK x\r\n").as_bytes());
            while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        }
        let listed = client.capabilities().unwrap();
        assert!(!listed.has("JMAPACCESS") && !listed.has("QUOTA=RES-STORAGE") && listed.has("LANGUAGE"));
        assert!(listed.mechanisms().is_empty(), "{:?}", listed.mechanisms());
        assert!(listed.login_disabled(), "a server that forbids LOGIN is obeyed");
        let refused = Err(Error::Misuse(Misuse::NotOffered));
        assert_eq!(client.send(&Command::GetJmapAccess, &mut tx), refused);
        assert_eq!(client.send(&Command::GetQuota(IString::EMPTY), &mut tx), refused);
        assert!(client.send(&Command::Language(LazyList::EMPTY), &mut tx).is_ok());
    }
    let (client, ..) = hiding(&[], &format!("* PREAUTH [{LISTED}] x\r\n"));
    assert!(client.capabilities().unwrap().has("JMAPACCESS"), "nothing is hidden by default");
}

#[test]
fn a_raw_command_has_literals() {
    let bytes = b"X-NOTE {3+}\r\na\r\n (~{2}\r\n\0) x)";
    let command = Command::Raw(RawCommand::with_literals(bytes).unwrap());
    let mut talk = Talk::greeted("PREAUTH", "");
    talk.send(&command);
    assert_eq!(talk.said(), "M1 X-NOTE {3}\r\n");
    talk.hear("+ go on\r\n").unwrap();
    assert_eq!(talk.said(), "a\r\n (~{2}\r\n");
    talk.hear("+ go on\r\n").unwrap();
    assert_eq!(talk.said(), "\0) x)\r\n");
    let mut talk = Talk::greeted("PREAUTH", "LITERAL+");
    talk.send(&command);
    let sent = talk.said();
    assert_eq!(sent, "M1 X-NOTE {3+}\r\na\r\n (~{2+}\r\n\0) x)\r\n");
    // A server keeps the command with its literals, and a client can pass it on.
    let (_, read) = parse::command(sent.as_bytes(), &Context::strict()).unwrap();
    let Command::Raw(raw) = read else { panic!("{read:?}") };
    let passed_on = [raw.raw_name(), raw.arguments()].concat();
    assert!(RawCommand::with_literals(&passed_on).is_ok());
    for (bad, fault) in [
        (&b""[..], InvalidCommand::Name),
        (b"(x", InvalidCommand::Name),
        (b"X\r\nA NOOP", InvalidCommand::Name),
        (b"X a\r\nA NOOP", InvalidCommand::ForbiddenByte),
        (b"X {1}\r\na\r\nA NOOP", InvalidCommand::ForbiddenByte),
        (b"X {1}\r\n\0", InvalidCommand::ForbiddenByte),
        (b"X \n{1}\r\na", InvalidCommand::ForbiddenByte),
        (b"X {2}\r\na", InvalidCommand::Literal),
        (b"X {2}", InvalidCommand::Literal),
        (b"X {1}\r\na {2+}", InvalidCommand::Literal),
        (b"X {99999999999999999999}\r\na", InvalidCommand::ForbiddenByte),
        (b"LOGIN {1}\r\na {1}\r\nb", InvalidCommand::HasItsOwn),
        (b"AUTHENTICATE X", InvalidCommand::HasItsOwn),
    ] {
        assert_eq!(RawCommand::with_literals(bad), Err(fault), "{}", bad.escape_ascii());
    }
}
