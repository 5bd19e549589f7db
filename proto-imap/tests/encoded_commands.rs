//! How a client writes commands, and which arguments it refuses to write.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proto_imap::encode::{self, ArgumentFault, CommandBuffer, LiteralMode, Options};
use proto_imap::types::{
    Capability, Command, FetchAttribute, FetchCommand, FetchModifier, Flag, IString, IdFields, LazyList,
    ListCommand as ListArguments, ListPattern, MailboxName, NameEncoding, Partial, Peek, SearchCommand,
    SearchKey, Section, SelectCommand, SequenceRange, SequenceSet, StoreAction, StoreCommand, Tag,
};

fn written(command: &Command<'_>, options: Options) -> CommandBuffer {
    let mut line = CommandBuffer::default();
    encode::command(Tag::new(b"A1").unwrap(), command, options, &mut line).unwrap();
    line
}

fn refused(command: &Command<'_>) -> (&'static str, ArgumentFault) {
    let mut line = CommandBuffer::default();
    let error =
        encode::command(Tag::new(b"A1").unwrap(), command, Options::default(), &mut line).unwrap_err();
    assert_eq!(line, CommandBuffer::default(), "nothing is written in part");
    (error.argument, error.fault)
}

#[test]
fn refuses_invalid_arguments_by_name() {
    use Command as C;
    let search = |key| refused(&C::Search(SearchCommand::new(&[key])));
    let fetch =
        |attribute| refused(&C::Fetch(FetchCommand::new(SequenceSet::ALL, LazyList::new(&[attribute]))));
    for bad in ["a\r\nb", "a\0", "\u{85}", "\t"] {
        assert_eq!(
            refused(&C::Delete(MailboxName::new(bad))),
            ("mailbox name", ArgumentFault::ForbiddenByte),
            "{bad:?}"
        );
        assert_eq!(
            refused(&C::List(ListArguments::new(&[bad.into()]))),
            ("pattern", ArgumentFault::ForbiddenByte)
        );
    }
    assert_eq!(
        refused(&C::Delete(MailboxName::from_bytes(b"a\nb"))),
        ("mailbox name", ArgumentFault::ForbiddenByte)
    );
    assert_eq!(search(SearchKey::Text(IString::new(b"a\0b"))), ("search text", ArgumentFault::ForbiddenByte));
    assert_eq!(search(SearchKey::Text(IString::new(b"\xff"))), ("search text", ArgumentFault::NotUtf8));
    assert_eq!(search(SearchKey::and(&[])), ("list of search keys", ArgumentFault::Empty));
    assert_eq!(search(SearchKey::Older(0)), ("number of seconds", ArgumentFault::OutOfRange));
    assert_eq!(search(SearchKey::Larger(1 << 63)), ("size", ArgumentFault::OutOfRange));
    assert_eq!(search(SearchKey::EmailId(IString::new(b"a b"))), ("object id", ArgumentFault::NotAnAtom));
    for name in ["", "a b", "a:", "a\r\n", "é"] {
        assert_eq!(
            search(SearchKey::Header { name: name.into(), text: "".into() }).0,
            "header field name",
            "{name:?}"
        );
    }
    assert_eq!(refused(&C::Search(SearchCommand::new(&[]))), ("list of search keys", ArgumentFault::Empty));
    assert_eq!(refused(&C::UidExpunge(SequenceSet::new(&[]))), ("sequence set", ArgumentFault::Empty));
    assert_eq!(refused(&C::UidExpunge(0.into())), ("sequence set", ArgumentFault::OutOfRange));
    assert_eq!(
        refused(&C::Fetch(FetchCommand::new(SequenceSet::ALL, LazyList::EMPTY))),
        ("list of FETCH attributes", ArgumentFault::Empty)
    );
    let piece = |offset, length| FetchAttribute::Section {
        section: Section::TEXT,
        partial: Some(Partial { offset, length }),
        peek: Peek::Yes,
    };
    assert_eq!(fetch(piece(0, 0)), ("length of the piece", ArgumentFault::OutOfRange));
    assert_eq!(fetch(piece(1 << 63, 1)), ("offset of the piece", ArgumentFault::OutOfRange));
    let vanished = FetchCommand {
        modifiers: LazyList::new(&[FetchModifier::Vanished]),
        ..FetchCommand::new(SequenceSet::ALL, LazyList::new(FetchAttribute::FAST))
    };
    assert_eq!(refused(&C::UidFetch(vanished)), ("VANISHED modifier", ArgumentFault::Contradiction));
    let recent = StoreCommand::new(SequenceSet::ALL, StoreAction::Add, LazyList::new(&[Flag::Recent]));
    assert_eq!(refused(&C::Store(recent)), ("flag", ArgumentFault::ServerOnly));
    assert_eq!(refused(&C::Enable(LazyList::new(&[]))), ("list of capabilities", ArgumentFault::Empty));
    assert_eq!(
        refused(&C::Enable(LazyList::new(&[Capability::new("A B")]))),
        ("capability", ArgumentFault::NotAnAtom)
    );
    let mut key = SearchKey::Seen;
    for _ in 0..33 {
        key = SearchKey::not(&Vec::leak(vec![key])[0]);
    }
    assert_eq!(search(key), ("search key", ArgumentFault::TooDeep));
}

#[test]
fn writes_commands_in_their_common_form() {
    let say = |command: Command<'_>, literals, names| {
        let line = written(&command, Options { literals, names });
        (String::from_utf8(line.bytes).unwrap(), line.pauses)
    };
    let plain = |command| say(command, LiteralMode::Synchronising, NameEncoding::ModifiedUtf7).0;
    assert_eq!(plain(Command::Id(IdFields::EMPTY)), "A1 ID NIL\r\n");
    assert_eq!(plain(Command::Select(SelectCommand::new(MailboxName::new("inbox")))), "A1 SELECT INBOX\r\n");
    assert_eq!(plain(Command::List(ListArguments::new(&[ListPattern::ALL]))), "A1 LIST \"\" \"*\"\r\n");
    let unsorted = [SequenceRange::new(9, 1), SequenceRange::one(4), SequenceRange::one(12)];
    assert_eq!(plain(Command::UidExpunge(SequenceSet::new(&unsorted))), "A1 UID EXPUNGE 1:9,12\r\n");
    let attributes =
        [FetchAttribute::Uid, FetchAttribute::peek(Section::body("HEADER.FIELDS (SUBJECT)").unwrap())];
    assert_eq!(
        plain(Command::Fetch(FetchCommand::new(SequenceSet::ALL, LazyList::new(&attributes)))),
        "A1 FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\n"
    );
    let dog = [SearchKey::Subject(IString::new("собака".as_bytes())), SearchKey::Unseen];
    let dog = Command::UidSearch(SearchCommand::new(&dog));
    let (sync, utf7, utf8) = (LiteralMode::Synchronising, NameEncoding::ModifiedUtf7, NameEncoding::Utf8);
    assert_eq!(
        say(dog, sync, utf7),
        (String::from("A1 UID SEARCH CHARSET UTF-8 SUBJECT {12}\r\nсобака UNSEEN\r\n"), vec![42])
    );
    assert_eq!(
        say(dog, LiteralMode::Minus, utf7),
        (String::from("A1 UID SEARCH CHARSET UTF-8 SUBJECT {12+}\r\nсобака UNSEEN\r\n"), vec![])
    );
    assert_eq!(say(dog, sync, utf8), (String::from("A1 UID SEARCH SUBJECT \"собака\" UNSEEN\r\n"), vec![]));
    let long = "x".repeat(4097);
    let long = [SearchKey::Text((&*long).into())];
    let long = Command::Search(SearchCommand::new(&long));
    assert_eq!(say(long, LiteralMode::Minus, utf7).1.len(), 1);
    assert_eq!(say(long, LiteralMode::Plus, utf7).1.len(), 0);
}
