//! Generates the arguments of commands.

use std::num::NonZeroU32;

use proptest::prelude::*;
use proptest::sample::select;
use proto_imap::types::{
    AnnotationPattern, Date, EntryKind, FetchAttribute, FetchCommand, FetchModifier, Flag, IString, Keyword,
    LazyList, ListCommand as ListArguments, ListPattern, ListReturn, ListSelection, MailboxFilter,
    MailboxName, ModSeqEntry, MultiSearchCommand, Partial, PartialRange, Peek, QResync, SearchCommand,
    SearchKey, SearchReturnOption, Section, SelectCommand, SelectParameter, SequenceRange, SequenceSet,
    SortCommand, SortCriterion, SortDirection, SortKey, StatusAttribute, StoreAction, StoreCommand,
    StoreResponse, ThreadAlgorithm, ThreadCommand,
};

/// Leaks a generated value, so that it lives as long as the test.
pub fn keep<T>(values: Vec<T>) -> &'static [T] {
    Vec::leak(values)
}

pub fn text() -> impl Strategy<Value = IString<'static>> {
    prop_oneof![
        "[ -~]{0,12}",
        "[a-zA-Z0-9]{1,8}",
        select(vec![
            "",
            "NIL",
            "\"",
            "\\",
            "a\\\"b",
            "a\r\nA NOOP\r\n",
            "\n",
            "{5}",
            "{5+}\r\n",
            "собака",
            "a]",
            "*",
            "(",
            " "
        ])
        .prop_map(String::from),
        "\\PC{0,12}",
        "x{1020,1030}",
    ]
    .prop_map(|text| IString::new(keep(text.into_bytes())))
}

/// Generates a name without control characters.
pub fn mailbox() -> impl Strategy<Value = MailboxName<'static>> {
    prop_oneof!["[a-zA-Z/.]{1,8}", "[ -~]{0,12}", "\\PC{0,8}", Just(String::from("inbox")), "ü{500,520}"]
        .prop_map(|name| MailboxName::new(String::leak(name)))
}

pub fn keyword() -> impl Strategy<Value = Keyword<'static>> {
    "[a-zA-Z$_][a-zA-Z0-9.]{0,6}".prop_map(|name| Keyword::new(String::leak(name)).unwrap())
}

pub fn flags() -> impl Strategy<Value = LazyList<'static, Flag<'static>>> {
    let flag = prop_oneof![
        select(vec![Flag::Seen, Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Draft]),
        keyword().prop_map(Flag::Keyword),
        "X-[a-z]{1,4}".prop_map(|name| Flag::Extension(Keyword::new(String::leak(name)).unwrap())),
    ];
    prop::collection::vec(flag, 0..4).prop_map(|flags| LazyList::new(keep(flags)))
}

/// Generates ranges in ascending order, as a client writes them.
pub fn numbers() -> impl Strategy<Value = SequenceSet<'static>> {
    prop::collection::btree_set(1_u32.., 2..6).prop_map(|numbers| {
        let numbers: Vec<u32> = numbers.into_iter().collect();
        let ranges = numbers.chunks(2).map(|pair| SequenceRange::new(pair[0], pair[pair.len() - 1]));
        SequenceSet::new(keep(ranges.collect()))
    })
}

pub fn set() -> impl Strategy<Value = SequenceSet<'static>> {
    prop_oneof![
        numbers(),
        Just(SequenceSet::ALL),
        Just(SequenceSet::SAVED),
        (1_u32..100, 100_u32..).prop_map(|(one, from)| {
            SequenceSet::new(keep(vec![SequenceRange::one(one), SequenceRange::from_number_on(from)]))
        }),
    ]
}

pub fn page() -> impl Strategy<Value = PartialRange> {
    (1_u32.., 1_u32.., any::<bool>()).prop_map(|(first, last, from_first)| {
        let range = (first.min(last)..=first.max(last)).into();
        if from_first { PartialRange::FromFirst(range) } else { PartialRange::FromLast(range) }
    })
}

pub fn section() -> impl Strategy<Value = Section<'static>> {
    prop_oneof![
        select(vec![
            "",
            "HEADER",
            "TEXT",
            "1",
            "1.2.3",
            "4.MIME",
            "4.1.TEXT",
            "7.HEADER",
            "HEADER.FIELDS (FROM To)",
            "2.HEADER.FIELDS.NOT (\"X-Spam\")"
        ])
        .prop_map(|spec| Section::body(spec).unwrap()),
        select(vec!["", "1", "4294967295.1"]).prop_map(|spec| Section::binary(spec).unwrap()),
    ]
}

pub fn attribute() -> impl Strategy<Value = FetchAttribute<'static>> {
    use FetchAttribute as A;
    let partial = prop::option::of((0..=i64::MAX as u64, 1..=i64::MAX as u64));
    prop_oneof![
        select(vec![
            A::Flags,
            A::Uid,
            A::Size,
            A::InternalDate,
            A::Envelope,
            A::Body,
            A::BodyStructure,
            A::ModSeq,
            A::EmailId,
            A::ThreadId,
            A::Preview,
            A::PreviewLazy,
            A::SaveDate,
            A::GmailMessageId,
            A::GmailThreadId,
            A::GmailLabels,
        ]),
        (section(), partial, select(vec![Peek::Yes, Peek::No])).prop_map(|(section, partial, peek)| {
            A::Section { section, partial: partial.map(|(offset, length)| Partial { offset, length }), peek }
        }),
        (
            prop::collection::vec(select(vec!["/*", "/comment", "/1.2/a \"b\"", "%"]), 1..3),
            prop::collection::vec(select(vec!["value", "size.shared"]), 1..3),
        )
            .prop_map(|(entries, attributes)| {
                let pattern = |entry| AnnotationPattern(IString::from(entry));
                let attributes = attributes.into_iter().map(IString::from).collect();
                A::Annotation {
                    entries: LazyList::new(keep(entries.into_iter().map(pattern).collect())),
                    attributes: LazyList::new(keep(attributes)),
                }
            }),
        select(vec!["", "1.2"]).prop_map(|spec| A::BinarySize(Section::binary(spec).unwrap())),
    ]
}

pub fn day() -> impl Strategy<Value = Date> {
    (0_u16..10_000, 1_u8..13, 1_u8..29).prop_map(|(year, month, day)| Date::new(year, month, day).unwrap())
}

pub fn key() -> impl Strategy<Value = SearchKey<'static>> {
    use SearchKey as K;
    let id = || "[a-zA-Z0-9_-]{1,9}".prop_map(|id| IString::new(keep(id.into_bytes())));
    let number = 0..=i64::MAX as u64;
    let leaf = prop_oneof![
        select(vec![
            K::All,
            K::Answered,
            K::Deleted,
            K::Draft,
            K::Flagged,
            K::Seen,
            K::Recent,
            K::Unanswered,
            K::Undeleted,
            K::Undraft,
            K::Unflagged,
            K::Unseen,
            K::New,
            K::Old,
            K::SaveDateSupported,
        ]),
        (text(), 0_u8..10).prop_map(|(text, kind)| match kind {
            0 => K::Bcc(text),
            1 => K::Cc(text),
            2 => K::From(text),
            3 => K::To(text),
            4 => K::Subject(text),
            5 => K::Body(text),
            6 => K::Text(text),
            7 => K::GmailRaw(text),
            8 => K::GmailLabel(text),
            _ => K::Header { name: IString::new(b"X-Spam"), text },
        }),
        (keyword(), any::<bool>()).prop_map(|(name, with)| if with {
            K::Keyword(name)
        } else {
            K::Unkeyword(name)
        }),
        (day(), 0_u8..9).prop_map(|(day, kind)| match kind {
            0 => K::Before(day),
            1 => K::On(day),
            2 => K::Since(day),
            3 => K::SentBefore(day),
            4 => K::SentOn(day),
            5 => K::SentSince(day),
            6 => K::SavedBefore(day),
            7 => K::SavedOn(day),
            _ => K::SavedSince(day),
        }),
        (1_u32.., any::<bool>()).prop_map(|(seconds, older)| if older {
            K::Older(seconds)
        } else {
            K::Younger(seconds)
        }),
        (number.clone(), 0_u8..5).prop_map(|(number, kind)| match kind {
            0 => K::Larger(number),
            1 => K::Smaller(number),
            2 => K::GmailMessageId(number),
            3 => K::GmailThreadId(number),
            _ => K::ModSeq { entry: None, mod_sequence: number },
        }),
        (select(vec![EntryKind::All, EntryKind::Private, EntryKind::Shared]), number).prop_map(
            |(kind, mod_sequence)| {
                let entry = Some(ModSeqEntry { name: IString::new(b"/flags/\\Seen"), kind });
                K::ModSeq { entry, mod_sequence }
            }
        ),
        (id(), 0_u8..3).prop_map(|(id, kind)| match kind {
            0 => K::EmailId(id),
            1 => K::ThreadId(id),
            _ => K::Filter(id),
        }),
        (set(), any::<bool>()).prop_map(|(set, uid)| if uid { K::Uid(set) } else { K::Sequence(set) }),
    ];
    leaf.prop_recursive(4, 16, 3, |key| {
        let one = |key| &keep(vec![key])[0];
        prop_oneof![
            key.clone().prop_map(move |key| K::not(one(key))),
            (key.clone(), key.clone()).prop_map(move |(a, b)| K::or(one(a), one(b))),
            prop::collection::vec(key.clone(), 1..4).prop_map(|keys| K::and(keep(keys))),
            key.prop_map(move |key| K::Fuzzy(proto_imap::types::LazyValue::new(one(key)))),
        ]
    })
}

pub fn returns() -> impl Strategy<Value = Option<LazyList<'static, SearchReturnOption>>> {
    use SearchReturnOption as R;
    let option = prop_oneof![
        select(vec![R::Min, R::Max, R::All, R::Count, R::Save, R::Update, R::Context, R::Relevancy]),
        page().prop_map(R::Partial),
    ];
    prop::option::of(prop::collection::vec(option, 0..4))
        .prop_map(|returns| returns.map(|returns| LazyList::new(keep(returns))))
}

pub fn charset() -> impl Strategy<Value = IString<'static>> {
    select(vec![IString::new(b"UTF-8"), IString::new(b"ISO-8859-1")])
}

pub fn keys() -> impl Strategy<Value = LazyList<'static, SearchKey<'static>>> {
    prop::collection::vec(key(), 1..4).prop_map(|keys| LazyList::new(keep(keys)))
}

pub fn search() -> impl Strategy<Value = SearchCommand<'static>> {
    (returns(), prop::option::of(charset()), keys()).prop_map(|(returns, charset, keys)| SearchCommand {
        returns,
        charset,
        keys,
    })
}

pub fn sort() -> impl Strategy<Value = SortCommand<'static>> {
    let direction = select(vec![SortDirection::Ascending, SortDirection::Reverse]);
    let criterion =
        (select(SortKey::ALL), direction).prop_map(|(key, direction)| SortCriterion { key, direction });
    (returns(), prop::collection::vec(criterion, 1..5), charset(), keys()).prop_map(
        |(returns, criteria, charset, keys)| SortCommand {
            returns,
            criteria: LazyList::new(keep(criteria)),
            charset,
            keys,
        },
    )
}

pub fn thread() -> impl Strategy<Value = ThreadCommand<'static>> {
    let algorithm = select(vec![
        ThreadAlgorithm::OrderedSubject,
        ThreadAlgorithm::References,
        ThreadAlgorithm::Refs,
        ThreadAlgorithm::Other(IString::new(b"X-NEW")),
    ]);
    (algorithm, charset(), keys()).prop_map(|(algorithm, charset, keys)| ThreadCommand {
        algorithm,
        charset,
        keys,
    })
}

pub fn multi_search() -> impl Strategy<Value = MultiSearchCommand<'static>> {
    use MailboxFilter as F;
    let names = || prop::collection::vec(mailbox(), 1..4).prop_map(|names| LazyList::new(keep(names)));
    let filter = prop_oneof![
        select(vec![F::Selected, F::Inboxes, F::Personal, F::Subscribed]),
        names().prop_map(F::Subtree),
        names().prop_map(F::SubtreeOne),
        names().prop_map(F::Mailboxes),
    ];
    let options = select(vec!["", "X-DEPTH 3", "X-A (1 \"b\") X-B 1:2"]);
    (prop::collection::vec(filter, 0..4), options, search())
        .prop_filter("saves other mailboxes", |(sources, _, search)| {
            sources.iter().all(|source| *source == F::Selected)
                || search
                    .returns
                    .is_none_or(|all| all.iter().all(|option| option != SearchReturnOption::Save))
        })
        .prop_map(|(sources, options, search)| MultiSearchCommand {
            scope_options: if sources.is_empty() { b"" } else { options.as_bytes() },
            sources: LazyList::new(keep(sources)),
            search,
        })
}

pub fn fetch() -> impl Strategy<Value = FetchCommand<'static>> {
    let modifiers = prop_oneof![
        Just(vec![]),
        (1..=i64::MAX as u64).prop_map(|since| vec![FetchModifier::ChangedSince(since)]),
        page().prop_map(|page| vec![FetchModifier::Partial(page), FetchModifier::ChangedSince(1)]),
    ];
    (set(), prop::collection::vec(attribute(), 1..5), modifiers).prop_map(
        |(messages, attributes, modifiers)| FetchCommand {
            messages,
            attributes: LazyList::new(keep(attributes)),
            modifiers: LazyList::new(keep(modifiers)),
        },
    )
}

pub fn select_arguments() -> impl Strategy<Value = SelectCommand<'static>> {
    let known =
        (1_u32.., 1..=i64::MAX as u64, prop::option::of(numbers()), prop::option::of((numbers(), numbers())));
    let qresync = known.prop_map(|(uid_validity, mod_sequence, known_uids, known_pairs)| {
        let uid_validity = NonZeroU32::new(uid_validity).unwrap();
        SelectParameter::QResync(QResync { uid_validity, mod_sequence, known_uids, known_pairs })
    });
    let parameters = prop::collection::vec(
        prop_oneof![Just(SelectParameter::CondStore), Just(SelectParameter::Annotate), qresync],
        0..3,
    );
    (mailbox(), parameters).prop_map(|(mailbox, parameters)| SelectCommand {
        mailbox,
        parameters: LazyList::new(keep(parameters)),
    })
}

pub fn status_attributes() -> impl Strategy<Value = LazyList<'static, StatusAttribute>> {
    use StatusAttribute as S;
    let all = vec![
        S::Messages,
        S::Recent,
        S::UidNext,
        S::UidValidity,
        S::Unseen,
        S::Deleted,
        S::Size,
        S::HighestModSeq,
        S::AppendLimit,
        S::DeletedStorage,
        S::MailboxId,
    ];
    prop::collection::vec(select(all), 1..4).prop_map(|all| LazyList::new(keep(all)))
}

pub fn list() -> impl Strategy<Value = ListArguments<'static>> {
    let selection = select(vec![
        vec![],
        vec![ListSelection::Subscribed, ListSelection::RecursiveMatch],
        vec![ListSelection::SpecialUse, ListSelection::Remote],
    ]);
    let returned = prop_oneof![
        select(vec![
            ListReturn::Subscribed,
            ListReturn::Children,
            ListReturn::SpecialUse,
            ListReturn::MyRights
        ]),
        status_attributes().prop_map(ListReturn::Status),
    ];
    let patterns = prop::collection::vec(mailbox().prop_map(ListPattern::from), 1..3);
    (selection, mailbox(), patterns, prop::collection::vec(returned, 0..3)).prop_map(
        |(selection, reference, patterns, returns)| ListArguments {
            selection: LazyList::new(keep(selection)),
            reference,
            patterns: LazyList::new(keep(patterns)),
            returns: LazyList::new(keep(returns)),
        },
    )
}

pub fn store() -> impl Strategy<Value = StoreCommand<'static>> {
    let action = select(vec![StoreAction::Replace, StoreAction::Add, StoreAction::Remove]);
    let answer = select(vec![StoreResponse::Flags, StoreResponse::Silent]);
    (set(), prop::option::of(0..=i64::MAX as u64), action, answer, flags()).prop_map(
        |(messages, unchanged_since, action, answer, flags)| StoreCommand {
            messages,
            unchanged_since,
            action,
            answer,
            flags,
        },
    )
}
