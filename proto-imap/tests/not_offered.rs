//! Commands and arguments of extensions that the server does not offer, in both roles.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod common;

use std::num::NonZeroU32;
use std::sync::Arc;

use common::talk::Talk;
use common::{ServerSide, in_every_split, ok};
use proto_imap::Config;
use proto_imap::server::{Event, Server};
use proto_imap::types::{
    AnnotationPattern, CancelUpdateCommand, Capability, CapabilityList, Command, CopyCommand, CreateCommand,
    FetchAttribute, FetchCommand, FetchModifier, IString, IdFields, LazyList, ListCommand, ListPattern,
    ListReturn, ListSelection, MailboxAttribute, MailboxFilter, MailboxName, MultiSearchCommand, NumberRange,
    PartialRange, QResync, RawCommand, RenameCommand, SearchCommand, SearchKey, SearchReturnOption, Section,
    SelectCommand, SelectParameter, SequenceSet, SortCommand, SortCriterion, SortKey, StatusAttribute,
    StatusCommand, StoreAction, StoreCommand, ThreadAlgorithm, ThreadCommand, UidBatchesCommand,
};
use proto_mail::{AuthVerdict, Error, Misuse, Secure, SendBuffer};

const NOT_OFFERED: Error = Error::Misuse(Misuse::NotOffered);

/// Creates a client with a selected mailbox. Its server lists these capabilities.
fn selected(capabilities: &str) -> Talk {
    let mut talk = Talk::greeted("PREAUTH", capabilities);
    talk.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)));
    talk.said();
    talk.hear("M1 OK [READ-WRITE] selected\r\n").unwrap();
    talk
}

/// Checks that the client sends the command only where the server lists all capabilities of one of the rows.
fn requires(command: &Command<'_>, rows: &[&str]) {
    let mut talk = selected("X-OTHER UNAUTHENTICATE");
    assert_eq!(talk.client.send(command, &mut talk.tx), Err(NOT_OFFERED), "{command:?}");
    assert_eq!(talk.said(), "", "{command:?}");
    for row in rows {
        let mut talk = selected(row);
        assert!(talk.client.send(command, &mut talk.tx).is_ok(), "{command:?} with {row}");
        assert!(talk.said().starts_with("M2 "), "{command:?} with {row}");
        for (index, _) in row.split(' ').enumerate().filter(|_| row.contains(' ')) {
            let rest: Vec<_> = row
                .split(' ')
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, name)| name)
                .collect();
            let mut talk = selected(&rest.join(" "));
            assert_eq!(
                talk.client.send(command, &mut talk.tx),
                Err(NOT_OFFERED),
                "{command:?} with {rest:?}"
            );
        }
    }
}

const PAGE: NumberRange = NumberRange::new(1, 9);

const SORT: SortCommand<'_> = SortCommand::new(&[SortCriterion::new(SortKey::Date)], &[SearchKey::All]);

const fn thread(algorithm: ThreadAlgorithm<'_>) -> ThreadCommand<'_> {
    ThreadCommand::new(algorithm, &[SearchKey::All])
}

const COPY: CopyCommand<'_> = CopyCommand { messages: SequenceSet::ALL, mailbox: MailboxName::INBOX };

#[test]
fn the_client_sends_commands_only_where_they_are_offered() {
    for (command, rows) in [
        (Command::Enable(CapabilityList::new(&[Capability::new("X")])), &["ENABLE X", "IMAP4rev2 X"][..]),
        (Command::Id(IdFields::EMPTY), &["ID", "id"]),
        (Command::Idle, &["IDLE", "IMAP4rev2"]),
        (Command::Namespace, &["NAMESPACE", "IMAP4rev2"]),
        (Command::Move(COPY), &["MOVE", "IMAP4rev2"]),
        (Command::UidMove(COPY), &["MOVE", "IMAP4rev2"]),
        (Command::Unselect, &["UNSELECT", "IMAP4rev2"]),
        (Command::UidExpunge(SequenceSet::ALL), &["UIDPLUS", "IMAP4rev2"]),
        (Command::UidBatches(UidBatchesCommand::new(500)), &["UIDBATCHES"]),
        (Command::Sort(SORT), &["SORT"]),
        (Command::UidSort(SORT), &["SORT"]),
        (Command::Thread(thread(ThreadAlgorithm::OrderedSubject)), &["THREAD=ORDEREDSUBJECT"]),
        (Command::UidThread(thread(ThreadAlgorithm::References)), &["thread=references"]),
        (Command::Thread(thread(ThreadAlgorithm::Refs)), &["THREAD=REFS"]),
        (Command::Thread(thread(ThreadAlgorithm::Other(IString::new(b"X-NEW")))), &["THREAD=X-NEW"]),
        (
            Command::CancelUpdate(CancelUpdateCommand::new(&[IString::new(b"M1")])),
            &["CONTEXT=SEARCH", "CONTEXT=SORT"],
        ),
        (
            Command::Esearch(MultiSearchCommand::new(
                &[MailboxFilter::Personal],
                SearchCommand::new(&[SearchKey::Unseen]),
            )),
            &["MULTISEARCH"],
        ),
    ] {
        requires(&command, rows);
    }
    let mut talk = selected("X-OTHER");
    assert_eq!(talk.client.idle(&mut talk.tx), Err(NOT_OFFERED));
}

#[test]
fn the_client_sends_commands_of_imap4rev1_anywhere() {
    let mut talk = selected("X-OTHER");
    for command in [
        Command::Noop,
        Command::Check,
        Command::Expunge,
        Command::Copy(COPY),
        Command::Create(CreateCommand::new(MailboxName::new("x"))),
        Command::List(ListCommand::new(&[ListPattern::ALL])),
        Command::Fetch(FetchCommand::new(SequenceSet::ALL, LazyList::new(FetchAttribute::ALL))),
        Command::Search(SearchCommand::new(&[SearchKey::Unseen, SearchKey::not(&SearchKey::Seen)])),
        Command::Raw(RawCommand::new("MOVE 1 x").unwrap()),
        Command::Raw(RawCommand::new("ID NIL").unwrap()),
    ] {
        assert!(talk.client.send(&command, &mut talk.tx).is_ok(), "{command:?}");
    }
}

#[test]
fn the_client_sends_nothing_of_an_extension_before_capabilities_are_known() {
    let mut talk = Talk::silent();
    talk.hear("* PREAUTH ready\r\n").unwrap();
    talk.said();
    assert!(talk.client.capabilities().is_none());
    assert_eq!(talk.client.send(&Command::Namespace, &mut talk.tx), Err(NOT_OFFERED));
    assert_eq!(talk.client.idle(&mut talk.tx), Err(NOT_OFFERED));
    talk.hear("* CAPABILITY IMAP4rev1 NAMESPACE IDLE\r\nM1 OK done\r\n").unwrap();
    talk.send(&Command::Namespace);
    talk.client.idle(&mut talk.tx).unwrap();
}

#[test]
fn the_client_sends_list_options_only_where_they_are_offered() {
    let list = ListCommand::new(&[ListPattern::ALL]);
    let select = |selection| Command::List(ListCommand { selection, ..list });
    let returning = |returns| Command::List(ListCommand { returns, ..list });
    let extended = ["LIST-EXTENDED", "IMAP4rev2"];
    requires(&Command::List(ListCommand::new(&[ListPattern::ALL, ListPattern::ALL])), &extended);
    requires(&select(LazyList::new(&[ListSelection::Subscribed])), &extended);
    let use_rows = ["LIST-EXTENDED SPECIAL-USE", "IMAP4rev2 SPECIAL-USE"];
    requires(&select(LazyList::new(&[ListSelection::SpecialUse])), &use_rows);
    requires(&returning(LazyList::new(&[ListReturn::Children])), &extended);
    requires(&returning(LazyList::new(&[ListReturn::SpecialUse])), &use_rows);
    requires(&returning(LazyList::new(&[ListReturn::MyRights])), &["LIST-MYRIGHTS"]);
    let messages = [ListReturn::Status(LazyList::new(&[StatusAttribute::Messages]))];
    requires(&returning(LazyList::new(&messages)), &["LIST-STATUS", "IMAP4rev2"]);
    let size = [ListReturn::Status(LazyList::new(&[StatusAttribute::Size]))];
    requires(&returning(LazyList::new(&size)), &["LIST-STATUS STATUS=SIZE", "IMAP4rev2"]);
}

#[test]
fn the_client_sends_mailbox_arguments_only_where_they_are_offered() {
    let select = |parameters| Command::Select(SelectCommand { mailbox: MailboxName::INBOX, parameters });
    requires(&select(LazyList::new(&[SelectParameter::CondStore])), &["CONDSTORE", "QRESYNC"]);
    let known =
        QResync { uid_validity: NonZeroU32::MIN, mod_sequence: 1, known_uids: None, known_pairs: None };
    requires(&select(LazyList::new(&[SelectParameter::Annotate])), &["ANNOTATE-EXPERIMENT-1"]);
    requires(&select(LazyList::new(&[SelectParameter::QResync(known)])), &["QRESYNC"]);
    let special_use = LazyList::new(&[MailboxAttribute::Sent]);
    let create = CreateCommand { mailbox: MailboxName::new("x"), special_use };
    requires(&Command::Create(create), &["CREATE-SPECIAL-USE"]);
    for (attributes, rows) in [
        (LazyList::new(&[StatusAttribute::Size]), &["STATUS=SIZE", "IMAP4rev2"][..]),
        (LazyList::new(&[StatusAttribute::HighestModSeq]), &["CONDSTORE"]),
        (LazyList::new(&[StatusAttribute::MailboxId]), &["OBJECTID"]),
        (LazyList::new(&[StatusAttribute::AppendLimit]), &["APPENDLIMIT", "appendlimit=257890"]),
        (LazyList::new(&[StatusAttribute::Deleted]), &["QUOTA=RES-MESSAGE", "IMAP4rev2"]),
        (LazyList::new(&[StatusAttribute::DeletedStorage]), &["QUOTA=RES-STORAGE"]),
    ] {
        requires(&Command::Status(StatusCommand { mailbox: MailboxName::INBOX, attributes }), rows);
    }
}

#[test]
fn the_client_enables_only_what_the_server_lists() {
    fn enable<'i>(names: &'i [Capability<'i>]) -> Command<'i> {
        Command::Enable(CapabilityList::new(names))
    }
    let (utf8, condstore) = (Capability::new("UTF8=ACCEPT"), Capability::new("CONDSTORE"));
    let (one, both) = ([utf8], [condstore, utf8]);
    requires(&enable(&one), &["ENABLE UTF8=ACCEPT", "ENABLE utf8=accept", "ENABLE UTF8=ONLY"]);
    requires(&enable(&both), &["ENABLE UTF8=ACCEPT CONDSTORE"]);
    let mut talk = selected("ENABLE UTF8 APPENDLIMIT");
    assert_eq!(talk.client.send(&enable(&one), &mut talk.tx), Err(NOT_OFFERED));
}

#[test]
fn the_client_creates_names_in_utf8_only_where_utf8_is_enabled() {
    let raw = MailboxName::from_bytes("Entwürfe".as_bytes());
    let new = [
        Command::Create(CreateCommand::new(raw)),
        Command::Rename(RenameCommand { from: MailboxName::new("x"), to: raw }),
    ];
    let utf7 = "ENABLE UTF8=ACCEPT";
    for command in &new {
        let mut talk = selected(utf7);
        assert_eq!(talk.client.send(command, &mut talk.tx), Err(NOT_OFFERED), "{command:?}");
        assert_eq!(talk.said(), "");
        talk.send(&Command::Enable(CapabilityList::new(&[Capability::new("UTF8=ACCEPT")])));
        talk.said();
        assert_eq!(talk.client.send(command, &mut talk.tx), Err(NOT_OFFERED), "{command:?} before ENABLED");
        talk.hear("* ENABLED UTF8=ACCEPT\r\nM3 OK\r\n").unwrap();
        talk.send(command);
    }
    // The application's text is encoded, and a name that the server has listed is sent back as it is.
    let mut talk = selected(utf7);
    talk.send(&Command::Create(CreateCommand::new(MailboxName::new("Entwürfe"))));
    assert_eq!(talk.said(), "M2 CREATE \"Entw&APw-rfe\"\r\n");
    talk.send(&Command::Delete(raw));
    talk.send(&Command::Rename(RenameCommand { from: raw, to: MailboxName::new("x") }));
}

#[test]
fn the_client_sends_search_options_and_keys_only_where_they_are_offered() {
    let returning = |options| {
        let search = SearchCommand::new(&[SearchKey::All]);
        Command::UidSearch(SearchCommand { returns: Some(options), ..search })
    };
    requires(&returning(LazyList::EMPTY), &["ESEARCH", "IMAP4rev2"]);
    requires(&returning(LazyList::new(&[SearchReturnOption::Save])), &["ESEARCH SEARCHRES", "IMAP4rev2"]);
    requires(&returning(LazyList::new(&[SearchReturnOption::Update])), &["ESEARCH CONTEXT=SEARCH"]);
    requires(&returning(LazyList::new(&[SearchReturnOption::Relevancy])), &["ESEARCH SEARCH=FUZZY"]);
    requires(
        &returning(LazyList::new(&[SearchReturnOption::Partial(PartialRange::FromFirst(PAGE))])),
        &["ESEARCH PARTIAL", "ESEARCH CONTEXT=SEARCH"],
    );
    requires(
        &returning(LazyList::new(&[SearchReturnOption::Partial(PartialRange::FromLast(PAGE))])),
        &["ESEARCH PARTIAL"],
    );
    let nested = SearchKey::Younger(60);
    for (key, rows) in [
        (SearchKey::Older(60), &["WITHIN"][..]),
        (SearchKey::not(&nested), &["WITHIN"]),
        (SearchKey::or(&SearchKey::All, &nested), &["WITHIN"]),
        (SearchKey::ModSeq { entry: None, mod_sequence: 1 }, &["CONDSTORE"]),
        (SearchKey::GmailMessageId(1), &["X-GM-EXT-1"]),
        (SearchKey::SaveDateSupported, &["SAVEDATE"]),
        (SearchKey::Filter(IString::new(b"x")), &["FILTERS"]),
        (SearchKey::Uid(SequenceSet::SAVED), &["SEARCHRES", "IMAP4rev2"]),
    ] {
        requires(&Command::Search(SearchCommand::new(&[key])), rows);
        requires(&Command::Search(SearchCommand::new(&[SearchKey::and(&[key])])), rows);
    }
}

#[test]
fn the_client_sends_sort_options_and_keys_only_where_they_are_offered() {
    const BY_NAME: &[SortCriterion] = &[SortCriterion::reverse(SortKey::DisplayFrom)];
    const BY_SIZE_AND_NAME: &[SortCriterion] =
        &[SortCriterion::new(SortKey::Size), SortCriterion::new(SortKey::DisplayTo)];
    const BY_RELEVANCY: &[SortCriterion] = &[SortCriterion::new(SortKey::Relevancy)];
    let by = |criteria| Command::Sort(SortCommand { criteria: LazyList::new(criteria), ..SORT });
    requires(&by(BY_NAME), &["SORT SORT=DISPLAY"]);
    requires(&by(BY_SIZE_AND_NAME), &["SORT SORT=DISPLAY"]);
    requires(&by(BY_RELEVANCY), &["SORT SEARCH=FUZZY"]);
    let returning = |options| Command::UidSort(SortCommand { returns: Some(options), ..SORT });
    requires(&returning(LazyList::EMPTY), &["SORT ESORT", "SORT CONTEXT=SORT"]);
    requires(&returning(LazyList::new(&[SearchReturnOption::Update])), &["SORT CONTEXT=SORT"]);
    requires(&returning(LazyList::new(&[SearchReturnOption::Save])), &["SORT ESORT SEARCHRES"]);
    requires(
        &returning(LazyList::new(&[SearchReturnOption::Partial(PartialRange::FromFirst(PAGE))])),
        &["SORT ESORT PARTIAL", "SORT CONTEXT=SORT"],
    );
    requires(
        &Command::Sort(SortCommand::new(&[SortCriterion::new(SortKey::To)], &[SearchKey::Older(1)])),
        &["SORT WITHIN"],
    );
    let within = ThreadCommand::new(ThreadAlgorithm::Refs, &[SearchKey::Older(1)]);
    requires(&Command::Thread(within), &["THREAD=REFS WITHIN"]);
    let multi = |search| Command::Esearch(MultiSearchCommand::new(&[MailboxFilter::Selected], search));
    requires(&multi(SearchCommand::new(&[SearchKey::Older(1)])), &["MULTISEARCH WITHIN"]);
    let save = SearchCommand {
        returns: Some(LazyList::new(&[SearchReturnOption::Save])),
        ..SearchCommand::new(&[SearchKey::All])
    };
    requires(&multi(save), &["MULTISEARCH SEARCHRES"]);
}

#[test]
fn a_search_of_the_selected_mailbox_needs_one() {
    let search = SearchCommand::new(&[SearchKey::Unseen]);
    let update = SearchCommand { returns: Some(LazyList::new(&[SearchReturnOption::Update])), ..search };
    for (sources, search, needs_mailbox) in [
        (&[][..], search, true),
        (&[MailboxFilter::Personal, MailboxFilter::Selected], search, true),
        (&[MailboxFilter::Personal], search, false),
        (&[MailboxFilter::Personal], update, true),
    ] {
        let command = Command::Esearch(MultiSearchCommand::new(sources, search));
        let mut talk = Talk::greeted("PREAUTH", "MULTISEARCH CONTEXT=SEARCH");
        let sent = talk.client.send(&command, &mut talk.tx);
        assert_eq!(sent.is_err(), needs_mailbox, "{command:?}");
        if needs_mailbox {
            assert_eq!(sent, Err(Error::Misuse(Misuse::WrongState)));
        }
        let mut talk = selected("MULTISEARCH CONTEXT=SEARCH");
        assert!(talk.client.send(&command, &mut talk.tx).is_ok());
    }
}

#[test]
fn a_server_accepts_searches_only_in_the_states_of_the_rfcs() {
    let config = || Config::default().extensions(["SORT", "THREAD=REFS", "MULTISEARCH", "CONTEXT=SORT"]);
    let commands = "a SORT (DATE) UTF-8 ALL\r\nb UID THREAD REFS UTF-8 ALL\r\nc CANCELUPDATE \"a\"\r\nd ESEARCH ALL\r\n\
                    e ESEARCH IN (selected personal) ALL\r\nf ESEARCH IN (personal) RETURN (UPDATE) ALL\r\n\
                    g ESEARCH IN (personal) RETURN (SAVE) ALL\r\nh ESEARCH IN (personal) ALL\r\n";
    let answered = answers(config(), commands);
    assert_eq!(
        answered,
        [
            "a OK SORT",
            "b OK UID THREAD",
            "c OK CANCELUPDATE",
            "d OK ESEARCH",
            "e OK ESEARCH",
            "f OK ESEARCH",
            "g BAD Expected no mailbox but the selected one with SAVE at byte 10, found IN",
            "h OK ESEARCH"
        ]
    );
    let unselected = answers(config(), &format!("u CLOSE\r\n{commands}"));
    assert_eq!(unselected[0], "u OK CLOSE");
    for answer in &unselected[1..7] {
        assert!(answer.ends_with(" BAD select a mailbox first"), "{answer}");
    }
    assert!(unselected[7].starts_with("g BAD Expected"), "{unselected:?}");
    assert_eq!(unselected[8], "h OK ESEARCH");
    for answer in answers(Config::default(), commands) {
        assert!(answer.ends_with(" BAD unknown command"), "{answer}");
    }
}

#[test]
fn the_client_sends_message_arguments_only_where_they_are_offered() {
    let section = Section::binary("1").unwrap();
    let (entries, attributes) = ([AnnotationPattern("/*".into())], ["value".into()]);
    let annotation = FetchAttribute::Annotation {
        entries: LazyList::new(&entries),
        attributes: LazyList::new(&attributes),
    };
    for (attribute, rows) in [
        (FetchAttribute::peek(section), &["BINARY", "IMAP4rev2"][..]),
        (FetchAttribute::BinarySize(section), &["BINARY", "IMAP4rev2"]),
        (FetchAttribute::ModSeq, &["CONDSTORE"]),
        (FetchAttribute::EmailId, &["OBJECTID"]),
        (FetchAttribute::Preview, &["PREVIEW"]),
        (FetchAttribute::SaveDate, &["SAVEDATE"]),
        (annotation, &["ANNOTATE-EXPERIMENT-1"]),
        (FetchAttribute::GmailLabels, &["X-GM-EXT-1"]),
    ] {
        requires(&Command::Fetch(FetchCommand::new(SequenceSet::ALL, LazyList::new(&[attribute]))), rows);
    }
    let page = PartialRange::FromFirst(NumberRange::new(1, 100));
    for (modifiers, rows) in [
        (LazyList::new(&[FetchModifier::ChangedSince(1)]), &["CONDSTORE", "QRESYNC"][..]),
        (LazyList::new(&[FetchModifier::ChangedSince(1), FetchModifier::Vanished]), &["QRESYNC"]),
        (LazyList::new(&[FetchModifier::Partial(page)]), &["PARTIAL"]),
    ] {
        let fetch = FetchCommand::new(SequenceSet::ALL, LazyList::new(&[FetchAttribute::Flags]));
        requires(&Command::UidFetch(FetchCommand { modifiers, ..fetch }), rows);
    }
    let store = StoreCommand::new(SequenceSet::ALL, StoreAction::Add, LazyList::EMPTY);
    requires(&Command::Store(StoreCommand { unchanged_since: Some(1), ..store }), &["CONDSTORE"]);
    requires(
        &Command::Copy(CopyCommand { messages: SequenceSet::SAVED, ..COPY }),
        &["SEARCHRES", "IMAP4rev2"],
    );
}

/// Returns the server's answers to these commands after a login and SELECT, without untagged responses.
fn answers(config: Config, script: &str) -> Vec<String> {
    let mut waits = proto_imap::Waits::default();
    waits.delay = std::time::Duration::ZERO;
    let config = Arc::new(config.waits(waits));
    let record = in_every_split(format!("l LOGIN alice secret\r\ns SELECT INBOX\r\n{script}"), false, || {
        let mut greeting = SendBuffer::new();
        let server = Server::<Secure>::new(Arc::clone(&config), Secure::trusted_local(), &mut greeting);
        Box::new(ServerSide {
            server,
            greeting,
            answer: Box::new(move |event, server, tx| match event {
                Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
                Event::Command(command, reply) => {
                    server.reply(reply, &ok(command.name().as_str()), tx).unwrap();
                }
                _ => {}
            }),
        })
    });
    assert_eq!(record.error, None, "{record:#?}");
    record.output.lines().filter(|line| !line.starts_with('*')).skip(2).map(str::to_owned).collect()
}

const EXTENSIONS: &str =
    "a ID NIL\r\nb NAMESPACE\r\nc UID MOVE 1 x\r\nd UID EXPUNGE 1\r\ne MOVE 1 x\r\nf UNSELECT\r\n";

#[test]
fn a_server_knows_no_extension_by_default_that_needs_its_application() {
    let answers = answers(Config::default(), EXTENSIONS);
    assert_eq!(answers.len(), 6, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.ends_with(" BAD unknown command")), "{answers:?}");
}

#[test]
fn a_server_knows_the_commands_of_its_extensions_in_any_case() {
    let config = Config::default().extensions(["ID", "namespace", "MOVE", "UIDPLUS", "UNSELECT"]);
    let answers = answers(config, EXTENSIONS);
    assert_eq!(
        answers,
        ["a OK ID", "b OK NAMESPACE", "c OK UID MOVE", "d OK UID EXPUNGE", "e OK MOVE", "f OK UNSELECT"]
    );
}

#[test]
fn a_server_of_imap4rev2_knows_what_that_includes() {
    let answers = answers(Config::default().enableable(["IMAP4rev2"]), EXTENSIONS);
    assert_eq!(answers.first().map(String::as_str), Some("a BAD unknown command"));
    assert_eq!(
        answers.get(1..).unwrap(),
        ["b OK NAMESPACE", "c OK UID MOVE", "d OK UID EXPUNGE", "e OK MOVE", "f OK UNSELECT"]
    );
}

#[test]
fn a_server_announces_by_default_only_what_the_machine_does() {
    let mut greeting = SendBuffer::new();
    let _server = Server::<Secure>::new(Config::default(), Secure::trusted_local(), &mut greeting);
    assert_eq!(
        String::from_utf8(greeting.take()).unwrap(),
        "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN SASL-IR LITERAL- ENABLE IDLE] \
         Mailwire ready\r\n"
    );
}
