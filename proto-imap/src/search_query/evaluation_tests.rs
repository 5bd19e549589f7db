//! Tests of searches: what matches, what is read, and how long it takes.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;

use proptest::prelude::*;

use super::{
    MessagePart, MessageSearch, ReadProgress, SearchDate, SearchLimits, SearchQuery, SearchQueryError,
    SearchTexts, SearchableMessage, TextScope,
};
use crate::mailbox_view::{MailboxView, UidBitmap};
use crate::types::{Date, Flag, IString, Keyword, LazyList, LazyValue, SearchKey, SequenceSet};

const DAY: i64 = 86_400;

/// A message in memory, which counts how much of it is read.
#[derive(Debug, Clone)]
struct Mail {
    uid: u32,
    flags: Vec<Flag<'static>>,
    internal: SearchDate,
    saved: Option<SearchDate>,
    sent: Option<SearchDate>,
    from: &'static str,
    subject: &'static str,
    body: String,
    /// The number of characters of the body that one read returns.
    piece: usize,
    position: usize,
    reads: Vec<MessagePart>,
    sent_asked: Cell<bool>,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            uid: 7,
            flags: Vec::from([Flag::Seen, Flag::Keyword(Keyword::new("$Junk").unwrap())]),
            internal: SearchDate { timestamp: 10 * DAY, zone: 60 },
            saved: Some(SearchDate { timestamp: 12 * DAY, zone: 0 }),
            sent: Some(SearchDate { timestamp: 10 * DAY - 60, zone: 0 }),
            from: "Ann <ann@example.test>",
            subject: "Lunch on Friday",
            body: "Shall we meet at noon?".to_string(),
            piece: 3,
            position: 0,
            reads: Vec::new(),
            sent_asked: Cell::new(false),
        }
    }
}

impl SearchableMessage for Mail {
    type Error = core::convert::Infallible;

    fn uid(&self) -> u32 {
        self.uid
    }

    fn has_flag(&self, flag: Flag<'_>) -> bool {
        self.flags.contains(&flag)
    }

    fn size(&self) -> u64 {
        100
    }

    fn internal_date(&self) -> SearchDate {
        self.internal
    }

    fn saved_date(&self) -> Option<SearchDate> {
        self.saved
    }

    fn mod_sequence(&self) -> u64 {
        50
    }

    fn has_email_id(&self, id: &str) -> bool {
        id == "M1"
    }

    fn sent_date(&self) -> Option<SearchDate> {
        self.sent_asked.set(true);
        assert!(self.reads.contains(&MessagePart::Envelope), "the envelope is read first");
        self.sent
    }

    fn read(&mut self, part: MessagePart, texts: &mut SearchTexts<'_>) -> Result<ReadProgress, Self::Error> {
        if self.reads.last() != Some(&part) {
            self.reads.push(part);
        }
        match part {
            MessagePart::Attributes => {}
            MessagePart::Envelope => {
                texts.text(TextScope::From, self.from);
                texts.text(TextScope::Subject, self.subject);
            }
            MessagePart::Header => {
                texts.header_field("From", || self.from.to_string());
                texts.header_field("Subject", || self.subject.to_string());
            }
            MessagePart::Text => {
                let piece: String = self.body.chars().skip(self.position).take(self.piece).collect();
                if piece.is_empty() {
                    texts.end_body_part();
                    return Ok(ReadProgress::Complete);
                }
                self.position += self.piece;
                texts.body_piece(&piece);
                return Ok(ReadProgress::More);
            }
        }
        Ok(ReadProgress::Complete)
    }
}

fn view() -> MailboxView {
    let mut view = MailboxView::new([3, 7, 8].into_iter().collect::<UidBitmap>());
    let _ = view.mark_recent_from(8);
    view.save([7].into_iter().collect());
    view
}

fn compile(keys: &[SearchKey<'_>]) -> Result<SearchQuery, SearchQueryError> {
    SearchQuery::new(LazyList::new(keys), &view(), 20 * DAY, &SearchLimits::default())
}

/// Returns whether a message matches, and which parts were read.
fn test(key: SearchKey<'_>) -> (bool, Vec<MessagePart>) {
    let (query, mut mail) = (compile(&[key]).unwrap(), Mail::default());
    let Ok(matches) = query.matches(&mut mail);
    (matches, mail.reads)
}

fn day(days: i64) -> Date {
    Date::from_days_since_epoch(days).unwrap()
}

const fn text(text: &str) -> IString<'_> {
    IString::new(text.as_bytes())
}

#[test]
fn attributes_decide_without_reading() {
    let set = |set| SequenceSet::from_text(set).unwrap();
    for (key, expected) in [
        (SearchKey::All, true),
        (SearchKey::Seen, true),
        (SearchKey::Unseen, false),
        (SearchKey::Keyword(Keyword::new("$JUNK").unwrap()), true),
        (SearchKey::Unkeyword(Keyword::new("$Forwarded").unwrap()), true),
        (SearchKey::Larger(99), true),
        (SearchKey::Smaller(100), false),
        (SearchKey::ModSeq { entry: None, mod_sequence: 50 }, true),
        (SearchKey::ModSeq { entry: None, mod_sequence: 51 }, false),
        (SearchKey::EmailId(text("M1")), true),
        (SearchKey::ThreadId(text("T1")), false),
        (SearchKey::Sequence(set("2")), true),
        (SearchKey::Sequence(set("1,3")), false),
        (SearchKey::Sequence(set("$")), true),
        (SearchKey::Uid(set("4:7")), true),
        (SearchKey::Uid(set("8:*")), false),
        (SearchKey::Recent, false),
        (SearchKey::Old, true),
        (SearchKey::New, false),
        (SearchKey::On(day(10)), true),
        (SearchKey::Before(day(10)), false),
        (SearchKey::Since(day(10)), true),
        (SearchKey::SavedOn(day(12)), true),
        (SearchKey::SavedBefore(day(12)), false),
        (SearchKey::SavedSince(day(11)), true),
        (SearchKey::SaveDateSupported, true),
        (SearchKey::Younger(864_000), true),
        (SearchKey::Younger(863_999), false),
        (SearchKey::Older(864_000), true),
        (SearchKey::Older(864_001), false),
    ] {
        assert_eq!(test(key), (expected, Vec::new()), "{key:?}");
    }
}

#[test]
fn reads_only_the_parts_that_are_needed() {
    use MessagePart::{Envelope, Header, Text};
    let subject = SearchKey::Subject(text("FRIDAY"));
    let body = SearchKey::Body(text("Meet at"));
    let unseen = [body, SearchKey::Unseen];
    let seen = [body, SearchKey::Seen];
    let field = SearchKey::Header { name: text("FROM"), text: text("<ann@") };
    for (key, expected, reads) in [
        (subject, true, &[Envelope][..]),
        (SearchKey::SentOn(day(9)), true, &[Envelope]),
        (field, true, &[Header]),
        (SearchKey::Header { name: text("to"), text: text("") }, false, &[Header]),
        (body, true, &[Text]),
        (SearchKey::Body(text("meet  at")), false, &[Text]),
        (SearchKey::Text(text("subject: lunch")), true, &[Header]),
        (SearchKey::Text(text("NOON?")), true, &[Header, Text]),
        (SearchKey::And(LazyList::new(&unseen)), false, &[]),
        (SearchKey::And(LazyList::new(&seen)), true, &[Text]),
        (SearchKey::Or(LazyValue::new(&body), LazyValue::new(&SearchKey::Seen)), true, &[]),
        (SearchKey::Or(LazyValue::new(&body), LazyValue::new(&subject)), true, &[Envelope]),
        (SearchKey::Fuzzy(LazyValue::new(&subject)), true, &[Envelope]),
        (SearchKey::not(&body), false, &[Text]),
    ] {
        assert_eq!(test(key), (expected, reads.to_vec()), "{key:?}");
    }
}

/// RFC 8514 §4.3
#[test]
fn searches_the_internal_date_of_a_message_without_a_saved_date() {
    let matches = |key| {
        let Ok(matches) = compile(&[key]).unwrap().matches(&mut Mail { saved: None, ..Mail::default() });
        matches
    };
    assert!(matches(SearchKey::SavedOn(day(10))) && !matches(SearchKey::SavedOn(day(12))));
    assert!(!matches(SearchKey::SaveDateSupported));
}

#[test]
fn stops_reading_as_soon_as_the_text_is_found() {
    let query = compile(&[SearchKey::Body(text("shall"))]).unwrap();
    let mut mail = Mail::default();
    assert_eq!(query.matches(&mut mail), Ok(true));
    assert_eq!(mail.position, 6);
}

#[test]
fn tells_what_every_match_has() {
    let set = |set| SequenceSet::from_text(set).unwrap();
    let keys = [SearchKey::EmailId(text("M1")), SearchKey::Uid(set("1:7")), SearchKey::Sequence(set("2:3"))];
    let query = compile(&keys).unwrap();
    assert_eq!(query.uids(), Some(Vec::from([7.into()])));
    assert_eq!((query.email_id(), query.email_ids()), (Some("M1"), Vec::from(["M1"])));
    assert_eq!((query.cost(), query.has_mod_sequence()), (MessagePart::Attributes, false));
    let not = SearchKey::not(&keys[0]);
    let modseq = SearchKey::ModSeq { entry: None, mod_sequence: 1 };
    let query = compile(&[SearchKey::Or(LazyValue::new(&not), LazyValue::new(&modseq))]).unwrap();
    assert_eq!((query.uids(), query.email_id(), query.has_mod_sequence()), (None, None, true));
    assert_eq!(query.email_ids(), ["M1"]);
}

#[test]
fn rejects_what_exceeds_the_limits() {
    let long = "x".repeat(4 * 1024 + 1);
    assert_eq!(compile(&[SearchKey::Body(text(&long))]).unwrap_err(), SearchQueryError::TooLarge);
    let some = "x".repeat(4 * 1024);
    let five: Vec<_> = (0..5).map(|_| SearchKey::Body(text(&some))).collect();
    assert!(compile(&five[..4]).is_ok());
    assert_eq!(compile(&five).unwrap_err(), SearchQueryError::TooLarge);
    let many = alloc::vec![SearchKey::Seen; 1_001];
    assert!(compile(&many[..1_000]).is_ok());
    assert_eq!(compile(&many).unwrap_err(), SearchQueryError::TooLarge);
    let set = SequenceSet::from_text("4").unwrap();
    assert_eq!(compile(&[SearchKey::Sequence(set)]).unwrap_err(), SearchQueryError::NoSuchMessage);
    assert_eq!(compile(&[SearchKey::GmailMessageId(1)]).unwrap_err(), SearchQueryError::Unsupported);
    assert!(nested(32).unwrap());
    assert_eq!(nested(33).unwrap_err(), SearchQueryError::TooLarge);
}

/// Tests a message against SEEN in this many NOT keys.
fn nested(depth: usize) -> Result<bool, SearchQueryError> {
    fn wrap(key: SearchKey<'_>, depth: usize) -> Result<bool, SearchQueryError> {
        if depth > 0 {
            return wrap(SearchKey::not(&key), depth - 1);
        }
        let Ok(matches) = compile(&[key])?.matches(&mut Mail::default());
        Ok(matches)
    }
    wrap(SearchKey::Seen, depth)
}

/// A key as a tree, and whether [`Mail::default`] matches it.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(usize),
    Not(alloc::boxed::Box<Self>),
    Or(alloc::boxed::Box<(Self, Self)>),
    And(Vec<Self>),
}

const LEAVES: [(SearchKey<'static>, bool); 8] = [
    (SearchKey::Seen, true),
    (SearchKey::Draft, false),
    (SearchKey::Subject(text("lunch")), true),
    (SearchKey::From(text("bob")), false),
    (SearchKey::Header { name: text("subject"), text: text("fri") }, true),
    (SearchKey::Text(text("nothing")), false),
    (SearchKey::Body(text("noon")), true),
    (SearchKey::Body(text("night")), false),
];

impl Tree {
    fn matches(&self) -> bool {
        match self {
            Self::Leaf(index) => LEAVES[*index].1,
            Self::Not(tree) => !tree.matches(),
            Self::Or(trees) => trees.0.matches() || trees.1.matches(),
            Self::And(trees) => trees.iter().all(Self::matches),
        }
    }

    fn with_key<R>(&self, then: &mut dyn FnMut(SearchKey<'_>) -> R) -> R {
        match self {
            Self::Leaf(index) => then(LEAVES[*index].0),
            Self::Not(tree) => tree.with_key(&mut |key| then(SearchKey::not(&key))),
            Self::Or(trees) => trees.0.with_key(&mut |one| {
                trees
                    .1
                    .with_key(&mut |other| then(SearchKey::Or(LazyValue::new(&one), LazyValue::new(&other))))
            }),
            Self::And(trees) => with_keys(trees, &[], &mut |keys| then(SearchKey::And(LazyList::new(keys)))),
        }
    }
}

fn with_keys<R>(trees: &[Tree], keys: &[SearchKey<'_>], then: &mut dyn FnMut(&[SearchKey<'_>]) -> R) -> R {
    let Some((first, rest)) = trees.split_first() else { return then(keys) };
    first.with_key(&mut |key| {
        let keys: Vec<_> = keys.iter().copied().chain([key]).collect();
        with_keys(rest, &keys, then)
    })
}

fn trees() -> impl Strategy<Value = Tree> {
    (0..LEAVES.len()).prop_map(Tree::Leaf).prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(tree.into())),
            (inner.clone(), inner.clone()).prop_map(|trees| Tree::Or(trees.into())),
            prop::collection::vec(inner, 1..4).prop_map(Tree::And),
        ]
    })
}

proptest! {
    /// However keys are nested, and however little a message yields at a time, the result is that of plain logic. No
    /// more is read than the costliest key needs.
    #[test]
    fn nested_keys_match_like_plain_logic(tree in trees(), piece in 1_usize..30) {
        tree.with_key(&mut |key| {
            let query = compile(&[key]).unwrap();
            let mut mail = Mail { piece, ..Mail::default() };
            let mut search = MessageSearch::new(&query);
            let mut steps = 0;
            let matches = loop {
                let Ok(result) = search.step(&query, &mut mail);
                if let Some(matches) = result { break matches }
                steps += 1;
                assert!(steps < 40);
            };
            assert_eq!(matches, tree.matches());
            assert!(mail.reads.iter().all(|part| *part <= query.cost()));
            assert!(mail.reads.is_sorted());
        });
    }
}

/// Returns the score of a message that matches; `None` if it does not match.
fn relevancy(keys: &str) -> Option<u8> {
    let query =
        compile(&SearchKey::parse_list(keys).unwrap().iter().collect::<Vec<_>>()).unwrap().with_scores();
    let (mut mail, mut search) = (Mail::default(), MessageSearch::new(&query));
    loop {
        let Ok(step) = search.step(&query, &mut mail);
        match step {
            Some(true) => return Some(search.relevancy(&query, &mail).value()),
            Some(false) => return None,
            None => {}
        }
    }
}

#[test]
fn fuzzy_texts_match_by_their_words() {
    for (keys, expected) in [
        ("FUZZY SUBJECT \"on friday\"", Some(100)),
        ("FUZZY SUBJECT \"friday lunch\"", Some(90)),
        ("FUZZY SUBJECT \"fri lunch\"", Some(80)),
        ("FUZZY SUBJECT \"fridya\"", Some(40)),
        ("FUZZY SUBJECT \"fridya lunch\"", Some(65)),
        ("FUZZY SUBJECT \"saturday lunch\"", None),
        ("FUZZY SUBJECT \"\"", Some(100)),
        ("FUZZY SUBJECT \"--\"", None),
        ("FUZZY FROM \"anne\"", Some(40)),
        ("FUZZY HEADER from \"example-ann\"", Some(90)),
        ("FUZZY BODY \"noon meet\"", Some(72)),
        // One word is in the header, the other one in the body.
        ("FUZZY TEXT \"noon lunch\"", Some(81)),
        ("FUZZY TEXT \"nooon\"", Some(32)),
        ("FUZZY SEEN", Some(100)),
        ("FUZZY UNSEEN", None),
        ("FUZZY NOT SUBJECT fridya", Some(100)),
        ("NOT FUZZY SUBJECT fridya", None),
        ("NOT FUZZY SUBJECT xyz", Some(100)),
        ("SUBJECT lunch FUZZY SUBJECT fridya", Some(40)),
        ("FUZZY (SEEN SUBJECT fridya)", Some(70)),
        ("OR FUZZY SUBJECT fridya FUZZY SUBJECT fri", Some(100)),
        ("SUBJECT lunch", Some(100)),
    ] {
        assert_eq!(relevancy(keys), expected, "{keys}");
    }
}

#[test]
fn a_score_does_not_depend_on_the_order_of_words() {
    for body in ["fridya friday", "friday fridya", "friday"] {
        let key = SearchKey::Body(text("friday x"));
        let query = compile(&[SearchKey::Fuzzy(LazyValue::new(&key))]).unwrap().with_scores();
        let mut mail = Mail { body: alloc::format!("x {body}"), ..Mail::default() };
        let mut search = MessageSearch::new(&query);
        let Ok(matches) = loop {
            match search.step(&query, &mut mail) {
                Ok(None) => {}
                step => break step,
            }
        };
        assert_eq!((matches, search.relevancy(&query, &mail).value()), (Some(true), 72), "{body}");
    }
}

#[test]
fn limits_the_words_of_fuzzy_texts() {
    let words = |count: usize| (0..count).map(|number| alloc::format!("w{number} ")).collect::<String>();
    for (count, error) in [(32, None), (33, Some(SearchQueryError::TooLarge))] {
        let words = words(count);
        let subject = SearchKey::Subject(text(&words));
        let key = SearchKey::Fuzzy(LazyValue::new(&subject));
        assert_eq!(compile(&[key]).err(), error, "{count}");
    }
}
