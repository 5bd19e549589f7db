//! NOTIFY in both roles (RFC 5465): the command, its rules, and what a server may then send at any time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod common;

use common::talk::Talk;
use proptest::prelude::*;
use proptest::sample::select;
use proto_imap::Config;
use proto_imap::encode::{self, CommandBuffer, Options};
use proto_imap::mailbox_view::Expunges;
use proto_imap::parse::{self, Context};
use proto_imap::server::{Event, Reply, Server};
use proto_imap::types::{
    Command, Condition, EventGroup, FetchAttribute, IString, LazyList, MailboxFilter, MailboxName,
    MultiSearchCommand, NotifyCommand, NotifyEvent, PlainCode, ResponseCode, SearchCommand, SearchKey,
    SelectCommand, StatusResponse, Tag, Text, Untagged,
};
use proto_mail::{AuthVerdict, Error, Misuse, RecvBuffer, Secure, SendBuffer};

fn keep<T>(values: Vec<T>) -> &'static [T] {
    Vec::leak(values)
}

fn mailboxes() -> impl Strategy<Value = MailboxFilter<'static>> {
    let names = || {
        prop::collection::vec("[a-zA-Z /\"]{1,8}".prop_map(|name| MailboxName::new(name.leak())), 1..4)
            .prop_map(|names| LazyList::new(keep(names)))
    };
    prop_oneof![
        select(vec![MailboxFilter::Inboxes, MailboxFilter::Personal, MailboxFilter::Subscribed]),
        names().prop_map(MailboxFilter::Subtree),
        names().prop_map(MailboxFilter::SubtreeOne),
        names().prop_map(MailboxFilter::Mailboxes),
    ]
}

fn group() -> impl Strategy<Value = EventGroup<'static>> {
    use NotifyEvent as E;
    let messages = select(vec![
        vec![],
        vec![E::MessageNew(LazyList::EMPTY), E::MessageExpunge],
        vec![E::FlagChange, E::MessageNew(LazyList::EMPTY), E::MessageExpunge, E::AnnotationChange],
    ]);
    let others = prop::collection::vec(
        select(vec![
            E::MailboxName,
            E::SubscriptionChange,
            E::MailboxMetadataChange,
            E::ServerMetadataChange,
            E::Other(IString::from("X-New")),
        ]),
        0..4,
    );
    (mailboxes(), messages, others).prop_map(|(mailboxes, messages, others)| EventGroup {
        mailboxes,
        events: LazyList::new(keep([messages, others].concat())),
    })
}

fn command() -> impl Strategy<Value = NotifyCommand<'static>> {
    use FetchAttribute as A;
    let selected = (
        select(vec![MailboxFilter::Selected, MailboxFilter::SelectedDelayed]),
        prop::collection::vec(select(vec![A::Uid, A::Flags, A::Envelope, A::PreviewLazy]), 0..3),
    );
    let selected = prop::option::of(selected.prop_map(|(mailboxes, attributes)| {
        let attributes = LazyList::new(keep(attributes));
        let events = vec![NotifyEvent::MessageNew(attributes), NotifyEvent::MessageExpunge];
        EventGroup { mailboxes, events: LazyList::new(keep(events)) }
    }));
    (selected, prop::collection::vec(group(), 1..4), 0_u8..5).prop_map(|(selected, mut groups, kind)| {
        groups.extend(selected);
        let groups = LazyList::new(keep(groups));
        match kind {
            0 => NotifyCommand::None,
            1 | 2 => NotifyCommand::Set(groups),
            _ => NotifyCommand::SetStatus(groups),
        }
    })
}

fn written(command: &Command<'_>) -> Option<Vec<u8>> {
    let mut line = CommandBuffer::default();
    encode::command(Tag::new(b"a").unwrap(), command, Options::default(), &mut line).ok()?;
    Some(line.bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_written_command_is_parsed_as_the_same(notify in command()) {
        let command = Command::Notify(notify);
        let line = written(&command).unwrap();
        for cx in [Context::strict(), Context::tolerant()] {
            let (_, read) = parse::command(&line, &cx).unwrap();
            prop_assert_eq!(read, command);
            let owned = read.into_owned();
            prop_assert_eq!(owned.view(), command);
        }
        for cut in 0..line.len() {
            prop_assert!(parse::command(&line[..cut], &Context::strict()).is_err());
        }
    }
}

/// The examples of the RFC, and commands that break its rules: those have the expected element instead.
#[rustfmt::skip]
const COMMANDS: &[(&str, Result<&str, &str>)] = &[
    ("NOTIFY NONE", Ok("None")),
    ("notify set status (selected MessageNew (uid))", Err("an opening parenthesis")),
    ("notify set status (selected (messagenew (uid body.peek[header.fields (From To)]) MessageExpunge)) (subtree Lists/Lemonade (FlagChange MessageExpunge MessageNew))",
     Ok("SetStatus([EventGroup { mailboxes: Selected, events: [MessageNew([Uid, Section { section: BODY[header.fields (From To)], partial: None, peek: Yes }]), MessageExpunge] }, EventGroup { mailboxes: Subtree([\"Lists/Lemonade\"]), events: [FlagChange, MessageExpunge, MessageNew([])] }])")),
    ("NOTIFY SET (mailboxes (INBOX \"a b\") NONE) (selected-delayed NONE)",
     Ok("Set([EventGroup { mailboxes: Mailboxes([\"INBOX\", \"a b\"]), events: [] }, EventGroup { mailboxes: SelectedDelayed, events: [] }])")),
    ("NOTIFY SET (personal (MailboxName SubscriptionChange X-New))",
     Ok("Set([EventGroup { mailboxes: Personal, events: [MailboxName, SubscriptionChange, Other(\"X-New\")] }])")),
    ("NOTIFY", Err("a space and arguments")),
    ("NOTIFY SET", Err("a space")),
    ("NOTIFY SET STATUS", Err("a space")),
    ("NOTIFY SET (personal ())", Err("at least one element in the parentheses")),
    ("NOTIFY SET (personal (MessageNew))", Err("MessageNew and MessageExpunge together")),
    ("NOTIFY SET (personal (MessageExpunge))", Err("MessageNew and MessageExpunge together")),
    ("NOTIFY SET (personal (FlagChange))", Err("MessageNew and MessageExpunge together")),
    ("NOTIFY SET (personal (MessageNew (UID) MessageExpunge))", Err("attributes of messages only for the selected mailbox")),
    ("NOTIFY SET (selected (MailboxName))", Err("only events of messages for the selected mailbox")),
    ("NOTIFY SET (selected NONE) (selected-delayed NONE)", Err("the selected mailbox only once")),
    ("NOTIFY SET (nowhere NONE)", Err("a set of mailboxes")),
    ("NOTIFY SET (personal NONE)(personal NONE)", Err("the end of the line")),
];

#[test]
fn parses_commands_and_checks_their_rules() {
    for (line, expected) in COMMANDS {
        let frame = format!("a {line}\r\n");
        match parse::command(frame.as_bytes(), &Context::strict()) {
            Ok((_, command)) => {
                assert_eq!(Ok(format!("{command:?}")), expected.map(|it| format!("Notify({it})")), "{line}")
            }
            Err(error) => assert_eq!(Err(error.expected), *expected, "{line}"),
        }
    }
}

#[test]
fn a_contradictory_command_is_not_written() {
    let new = [NotifyEvent::MessageNew(LazyList::EMPTY)];
    let with_attributes =
        [NotifyEvent::MessageNew(LazyList::new(&[FetchAttribute::Uid])), NotifyEvent::MessageExpunge];
    for groups in [
        vec![],
        vec![EventGroup { mailboxes: MailboxFilter::Personal, events: LazyList::new(&new) }],
        vec![EventGroup { mailboxes: MailboxFilter::Personal, events: LazyList::new(&with_attributes) }],
        vec![EventGroup { mailboxes: MailboxFilter::Selected, events: LazyList::EMPTY }; 2],
        vec![EventGroup { mailboxes: MailboxFilter::Mailboxes(LazyList::EMPTY), events: LazyList::EMPTY }],
    ] {
        let command = Command::Notify(NotifyCommand::Set(LazyList::new(&groups)));
        assert_eq!(written(&command), None, "{command:?}");
    }
    // This set of mailboxes belongs to NOTIFY alone.
    let sources = [MailboxFilter::SelectedDelayed];
    let search = MultiSearchCommand::new(&sources, SearchCommand::new(&[SearchKey::All]));
    assert_eq!(written(&Command::Esearch(search)), None);
    assert!(parse::command(b"a ESEARCH IN (selected-delayed) ALL\r\n", &Context::strict()).is_err());
}

#[test]
fn hostile_commands_are_bounded() {
    let deep = "(".repeat(1000);
    for line in [
        format!("a NOTIFY SET {deep}"),
        format!("a NOTIFY SET (personal {deep}"),
        format!("a NOTIFY SET (mailboxes {deep}"),
    ] {
        assert!(parse::command(format!("{line}\r\n").as_bytes(), &Context::strict()).is_err());
    }
    let begun = std::time::Instant::now();
    let line = format!("a NOTIFY SET{}\r\n", " (mailboxes x (MessageNew MessageExpunge))".repeat(50_000));
    let (_, Command::Notify(read)) = parse::command(line.as_bytes(), &Context::strict()).unwrap() else {
        panic!("not a NOTIFY")
    };
    assert_eq!(read.groups().iter().count(), 50_000);
    assert!(begun.elapsed().as_secs() < 20);
}

const SELECTED: &[EventGroup<'static>] = &[EventGroup {
    mailboxes: MailboxFilter::Selected,
    events: LazyList::new(&[
        NotifyEvent::MessageNew(LazyList::new(&[FetchAttribute::Uid, FetchAttribute::Preview])),
        NotifyEvent::MessageExpunge,
    ]),
}];

#[test]
fn the_client_receives_what_it_asked_for_at_any_time() {
    let notify = Command::Notify(NotifyCommand::SetStatus(LazyList::new(SELECTED)));
    for listed in ["", "PREVIEW", "NOTIFY"] {
        let mut talk = Talk::greeted("PREAUTH", listed);
        let sent = talk.client.send(&notify, &mut talk.tx);
        assert_eq!(sent, Err(Error::Misuse(Misuse::NotOffered)), "{listed}");
    }
    let mut talk = Talk::greeted("PREAUTH", "NOTIFY PREVIEW");
    talk.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)));
    talk.said();
    talk.hear("* 3 EXISTS\r\nM1 OK [READ-WRITE] selected\r\n").unwrap();
    talk.send(&notify);
    assert_eq!(talk.said(), "M2 NOTIFY SET STATUS (selected (MessageNew (UID PREVIEW) MessageExpunge))\r\n");
    talk.hear("* STATUS INBOX (MESSAGES 3)\r\nM2 OK done\r\n").unwrap();
    for (line, event) in [
        ("* STATUS Lists/x (UIDNEXT 10002 MESSAGES 503)\r\n", "MailboxStatus"),
        ("* LIST () \"/\" \"New\" (\"OLDNAME\" (\"Old\"))\r\n", "OLDNAME"),
        ("* METADATA \"\" /shared/comment\r\n", "Changed"),
        ("* 4 EXISTS\r\n", "Exists(4)"),
        ("* 4 FETCH (UID 9 PREVIEW \"x\")\r\n", "Preview"),
        ("* 2 EXPUNGE\r\n", "Expunge(2)"),
        ("* VANISHED 9\r\n", "Vanished"),
        ("* OK [NOTIFICATIONOVERFLOW] too many\r\n", "NotificationOverflow"),
    ] {
        let events = talk.hear(line).unwrap();
        assert!(events.iter().any(|one| one.contains(event)), "{line}: {events:?}");
    }
    talk.send(&Command::Notify(NotifyCommand::None));
    assert_eq!(talk.said(), "M3 NOTIFY NONE\r\n");
    let events = talk.hear("M3 NO [BADEVENT (MessageNew MessageExpunge)] no\r\n").unwrap();
    assert!(events[0].contains(r#"BadEvent(["MessageNew", "MessageExpunge"])"#), "{events:?}");
}

/// A server and its buffers, with a selected mailbox of 100 messages.
struct Session {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Session {
    fn selected(config: Config) -> Self {
        let mut tx = SendBuffer::new();
        let server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        let mut session = Self { server, rx: RecvBuffer::new(), tx };
        session.rx.extend(b"a LOGIN user password\r\n");
        match session.server.next_event(&mut session.rx, &mut session.tx).unwrap() {
            Some(Event::Auth(request)) => {
                session.server.answer_auth(request, AuthVerdict::Accept, &mut session.tx).unwrap();
            }
            other => panic!("{other:?}"),
        }
        let reply = session.command("b SELECT INBOX\r\n");
        session.server.data(&Untagged::Exists(100), &mut session.tx).unwrap();
        session.answer(reply, Condition::Ok);
        session
    }

    fn command(&mut self, line: &str) -> Reply {
        self.rx.extend(line.as_bytes());
        match self.server.next_event(&mut self.rx, &mut self.tx).unwrap() {
            Some(Event::Command(_, reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, reply: Reply, condition: Condition) {
        let status = StatusResponse::new(condition, Text::first_line("x"));
        self.server.reply(reply, &status, &mut self.tx).unwrap();
        assert!(self.tx.take().ends_with(b" x\r\n"));
    }

    fn completed(&mut self, line: &str, condition: Condition) {
        let reply = self.command(line);
        self.answer(reply, condition);
    }

    fn expunges(&mut self) -> bool {
        let sent = self.server.data(&Untagged::Expunge(1), &mut self.tx);
        let allowed = self.server.expunges() == Expunges::Allowed;
        assert_eq!(sent.is_ok(), allowed);
        allowed
    }
}

#[test]
fn the_server_sends_expunges_between_commands_only_after_notify() {
    const NOW: &str = "n NOTIFY SET (selected (MessageNew MessageExpunge))\r\n";
    let offering = || Session::selected(Config::default().extensions(["NOTIFY"]));
    let mut session = offering();
    assert!(!session.expunges());
    session.completed(NOW, Condition::No);
    assert!(!session.expunges(), "the command failed");
    let reply = session.command(NOW);
    assert!(session.expunges(), "NOTIFY uses no sequence numbers");
    session.answer(reply, Condition::Ok);
    assert!(session.expunges());
    let reply = session.command("f FETCH 1 FLAGS\r\n");
    assert!(!session.expunges(), "FETCH uses sequence numbers");
    session.answer(reply, Condition::Ok);
    assert!(session.expunges());
    for end in [
        "n NOTIFY NONE\r\n",
        "n NOTIFY SET (selected-delayed (MessageNew MessageExpunge))\r\n",
        "n NOTIFY SET (selected NONE)\r\n",
        "n NOTIFY SET (personal (MessageNew MessageExpunge))\r\n",
    ] {
        session.completed(NOW, Condition::Ok);
        assert!(session.expunges());
        session.completed(end, Condition::No);
        assert!(session.expunges(), "{end} failed");
        session.completed(end, Condition::Ok);
        assert!(!session.expunges(), "{end}");
    }
    session.completed(NOW, Condition::Ok);
    let overflow = StatusResponse::new(Condition::Ok, Text::first_line("x"))
        .with_code(ResponseCode::Plain(PlainCode::NotificationOverflow));
    session.server.data(&Untagged::Status(overflow), &mut session.tx).unwrap();
    assert!(!session.expunges(), "the server has ended the notifications");
    // A dropped answer is a failure.
    let mut session = offering();
    drop(session.command(NOW));
    assert!(session.server.next_event(&mut session.rx, &mut session.tx).unwrap().is_none());
    assert!(!session.expunges());
}

#[test]
fn an_unauthenticated_session_forgets_notify() {
    let mut session = Session::selected(Config::default().extensions(["NOTIFY", "UNAUTHENTICATE"]));
    session.completed("n NOTIFY SET (selected (MessageNew MessageExpunge))\r\n", Condition::Ok);
    assert!(session.expunges());
    session.completed("u UNAUTHENTICATE\r\n", Condition::Ok);
    session.rx.extend(b"a LOGIN user password\r\n");
    let Some(Event::Auth(request)) = session.server.next_event(&mut session.rx, &mut session.tx).unwrap()
    else {
        panic!("no login")
    };
    session.server.answer_auth(request, AuthVerdict::Accept, &mut session.tx).unwrap();
    let reply = session.command("s SELECT INBOX\r\n");
    session.server.data(&Untagged::Exists(1), &mut session.tx).unwrap();
    session.answer(reply, Condition::Ok);
    assert!(!session.expunges());
}
