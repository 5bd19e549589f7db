//! Commands that a client writes are parsed by a server as the same commands. Commands that cannot be written write
//! nothing.
//!
//! The tests generate commands of every kind, write them with each form of literals and mailbox names, frame them as
//! a server does, and parse them strictly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(unreachable_pub, reason = "the items of a test's module")]
#[path = "command_round_trips/arguments.rs"]
mod arguments;

use arguments::{
    day, fetch, flags, keep, list, mailbox, multi_search, search, select_arguments, set, sort,
    status_attributes, store, text, thread,
};
use proptest::prelude::*;
use proptest::sample::select;
use proto_imap::encode::{self, CommandBuffer, LiteralMode, Options};
use proto_imap::frame::{self, Binary, LineEnd, LiteralHeader, Sync};
use proto_imap::parse::{self, Context};
use proto_imap::types::{
    AppendCommand, CancelUpdateCommand, Capability, Command, CopyCommand, CreateCommand, DateTime, IString,
    IdField, IdFields, LazyList, LsubCommand, MailboxAttribute, MailboxName, NameEncoding, NumberRange,
    RawCommand, RenameCommand, SequenceRange, SequenceSet, StatusCommand, Tag, UidBatchesCommand,
};

fn command() -> impl Strategy<Value = Command<'static>> {
    use Command as C;
    let copy = || (set(), mailbox()).prop_map(|(messages, mailbox)| CopyCommand { messages, mailbox });
    let attributes = select(vec![
        vec![],
        vec![MailboxAttribute::Sent],
        vec![MailboxAttribute::Drafts, MailboxAttribute::Archive],
    ]);
    let field = (text(), prop::option::of(text())).prop_filter("RFC 2971 §3.3", |(name, value)| {
        name.raw().len() <= 30 && value.is_none_or(|value| value.raw().len() <= 1024)
    });
    prop_oneof![
        select(vec![
            C::Capability,
            C::Noop,
            C::Logout,
            C::Namespace,
            C::Idle,
            C::Close,
            C::Unselect,
            C::Unauthenticate,
            C::Check,
            C::Expunge,
            C::Enable(LazyList::new(keep(vec![Capability::new("CONDSTORE"), Capability::new("IMAP4rev2")]))),
            C::Raw(RawCommand::new("X-QUOTAROOT \"a b\"").unwrap()),
        ]),
        prop::collection::vec(field.prop_map(|(name, value)| IdField { name, value }), 0..3)
            .prop_map(|fields| C::Id(IdFields::new(keep(fields)))),
        (select_arguments(), any::<bool>()).prop_map(|(it, select)| if select {
            C::Select(it)
        } else {
            C::Examine(it)
        }),
        (mailbox(), attributes).prop_map(|(mailbox, special_use)| C::Create(CreateCommand {
            mailbox,
            special_use: LazyList::new(keep(special_use))
        })),
        (mailbox(), 0_u8..3).prop_map(|(mailbox, kind)| match kind {
            0 => C::Delete(mailbox),
            1 => C::Subscribe(mailbox),
            _ => C::Unsubscribe(mailbox),
        }),
        (mailbox(), mailbox()).prop_map(|(from, to)| C::Rename(RenameCommand { from, to })),
        list().prop_map(C::List),
        (mailbox(), mailbox())
            .prop_map(|(reference, pattern)| C::Lsub(LsubCommand { reference, pattern: pattern.into() })),
        (mailbox(), status_attributes())
            .prop_map(|(mailbox, attributes)| C::Status(StatusCommand { mailbox, attributes })),
        set().prop_map(C::UidExpunge),
        (1_u32.., prop::option::of((1_u32.., 1_u32..))).prop_map(|(size, range)| {
            let batches = range.map(|(first, last)| NumberRange::new(first, last));
            C::UidBatches(UidBatchesCommand { size, batches })
        }),
        (search(), any::<bool>()).prop_map(|(it, uid)| if uid { C::UidSearch(it) } else { C::Search(it) }),
        multi_search().prop_map(C::Esearch),
        (sort(), any::<bool>()).prop_map(|(it, uid)| if uid { C::UidSort(it) } else { C::Sort(it) }),
        (thread(), any::<bool>()).prop_map(|(it, uid)| if uid { C::UidThread(it) } else { C::Thread(it) }),
        prop::collection::vec(
            "[!#$&'+,./0-9:;<=>?@A-Z^_`a-z|~-]{1,9}".prop_filter("+", |tag| !tag.contains('+')),
            1..4
        )
        .prop_map(|tags| {
            let tags = tags.into_iter().map(|tag| IString::new(keep(tag.into_bytes()))).collect();
            C::CancelUpdate(CancelUpdateCommand::new(keep(tags)))
        }),
        (fetch(), any::<bool>()).prop_map(|(it, uid)| if uid { C::UidFetch(it) } else { C::Fetch(it) }),
        (store(), any::<bool>()).prop_map(|(it, uid)| if uid { C::UidStore(it) } else { C::Store(it) }),
        (copy(), 0_u8..4).prop_map(|(it, kind)| match kind {
            0 => C::Copy(it),
            1 => C::UidCopy(it),
            2 => C::Move(it),
            _ => C::UidMove(it),
        }),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let literals = select(vec![LiteralMode::Synchronising, LiteralMode::Minus, LiteralMode::Plus]);
    (literals, select(vec![NameEncoding::ModifiedUtf7, NameEncoding::Utf8]))
        .prop_map(|(literals, names)| Options { literals, names })
}

/// Frames the first command as a server does. Returns its length and the positions where the server would ask for a
/// literal.
fn framed(bytes: &[u8]) -> (usize, Vec<usize>) {
    let (mut begin, mut asked) = (0, Vec::new());
    loop {
        let line = bytes[begin..].windows(2).position(|pair| pair == b"\r\n").expect("a line end") + begin;
        match frame::ending(&bytes[begin..line]) {
            LineEnd::Plain => return (line + 2, asked),
            LineEnd::Literal(announced) => {
                if announced.sync == Sync::Synchronising {
                    asked.push(line + 2);
                }
                begin = line + 2 + usize::try_from(announced.size).unwrap();
            }
            LineEnd::Endless(_) => panic!("endless"),
        }
    }
}

fn written(command: &Command<'_>, options: Options) -> CommandBuffer {
    let mut line = CommandBuffer::default();
    encode::command(Tag::new(b"A1").unwrap(), command, options, &mut line).unwrap();
    line
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_said_is_what_is_read(command in command(), options in options()) {
        let line = written(&command, options);
        // It is exactly one command, and the server asks for literals where the client waits for it.
        prop_assert_eq!(framed(&line.bytes), (line.bytes.len(), line.pauses.clone()));
        let (tag, read) = parse::command(&line.bytes, &Context::strict()).unwrap();
        prop_assert_eq!(tag.as_bytes(), b"A1");
        // If the texts are not ASCII the charset is added; in UTF-8 mode names have other bytes.
        let same = match (&command, &read) {
            (Command::Search(said) | Command::UidSearch(said), Command::Search(read) | Command::UidSearch(read)) => {
                said.keys == read.keys && said.returns == read.returns
            }
            (Command::Esearch(said), Command::Esearch(read)) => {
                said.search.keys == read.search.keys
                    && said.search.returns == read.search.returns
                    && (said.sources, said.scope_options) == (read.sources, read.scope_options)
            }
            _ => command == read,
        };
        prop_assert!(same || options.names == NameEncoding::Utf8, "{:?} {:?}", command, read);
        // Writing the parsed command gives the same bytes.
        prop_assert_eq!(written(&read, options), line);
    }

    #[test]
    fn names_come_back_in_both_encodings(name in "\\PC{0,20}", options in options()) {
        let line = written(&Command::Delete(MailboxName::new(&name)), options);
        let (_, read) = parse::command(&line.bytes, &Context::strict()).unwrap();
        let Command::Delete(mailbox) = read else { panic!("{read:?}") };
        let inbox = name.eq_ignore_ascii_case("INBOX");
        prop_assert_eq!(mailbox.decode(options.names).unwrap(), if inbox { "INBOX" } else { &*name });
    }

    #[test]
    fn an_append_is_read_up_to_its_message(
        mailbox in mailbox(), flags in flags(), date in prop::option::of((day(), 0_u8..24, -5999_i16..6000)),
        size in 0..=i64::MAX as u64, plus in any::<bool>(), text in any::<bool>(), options in options(),
    ) {
        let date = date.map(|(day, hour, zone)| DateTime::new(day, hour, 5, 9, zone).unwrap());
        let sync = if plus { Sync::NonSynchronising } else { Sync::Synchronising };
        let announced = LiteralHeader { size, sync, binary: if text { Binary::No } else { Binary::Yes } };
        let append = AppendCommand { mailbox, flags, date };
        let mut line = CommandBuffer::default();
        encode::append_prefix(Tag::new(b"A1").unwrap(), &append, announced, options, &mut line).unwrap();
        prop_assert!(parse::is_append_payload(&line.bytes));
        let (_, read, same) = parse::append_prefix(&line.bytes, &Context::strict()).unwrap();
        prop_assert_eq!(same, announced);
        prop_assert_eq!((read.flags, read.date), (append.flags, append.date));
        prop_assert_eq!(read.mailbox.decode(options.names), append.mailbox.decode(options.names));
        // The command's own literals do not announce the message.
        for pause in line.pauses {
            prop_assert!(!parse::is_append_payload(&line.bytes[..pause]));
        }
    }

    #[test]
    fn any_set_is_written_ascending_and_stays_the_same_set(
        ranges in prop::collection::vec((1_u32..40, prop::option::of(1_u32..40)), 1..8), largest in 0_u32..50,
    ) {
        let ranges: Vec<_> = ranges.into_iter().map(|(first, last)| match last {
            Some(last) => SequenceRange::new(first, last),
            None => SequenceRange::from_number_on(first),
        }).collect();
        let set = SequenceSet::new(&ranges);
        let line = written(&Command::UidExpunge(set), Options::default());
        let (_, read) = parse::command(&line.bytes, &Context::strict()).unwrap();
        let Command::UidExpunge(read) = read else { panic!("{read:?}") };
        prop_assert_eq!(read.resolve(largest), set.resolve(largest));
        let members: Vec<u32> = (1..=largest).filter(|number| set.contains(*number, largest)).collect();
        prop_assert_eq!(set.resolve(largest).into_iter().flatten().collect::<Vec<_>>(), members);
        let firsts: Vec<_> = read.ranges().map(|range| range.first.resolve(u32::MAX)).collect();
        prop_assert!(firsts.is_sorted());
    }
}
