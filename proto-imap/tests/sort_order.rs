//! The order of SORT against a naive comparison of the attributes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

use std::cmp::Ordering;

use proptest::prelude::*;
use proto_imap::sort_order::{BaseSubject, Collation, SortOrder, SortableMessage, TooManyCriteria};
use proto_imap::types::{LazyList, SortCriterion, SortDirection, SortKey};

#[derive(Debug, Clone)]
struct Mail {
    sequence: u32,
    internal_date: i64,
    sent_date: Option<i64>,
    size: u64,
    texts: Vec<String>,
    relevancy: u8,
}

const TEXTS: [SortKey; 6] =
    [SortKey::Subject, SortKey::From, SortKey::To, SortKey::Cc, SortKey::DisplayFrom, SortKey::DisplayTo];

impl SortableMessage for Mail {
    fn sequence(&self) -> u32 {
        self.sequence
    }
    fn internal_date(&self) -> i64 {
        self.internal_date
    }
    fn sent_date(&self) -> Option<i64> {
        self.sent_date
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn text(&self, key: SortKey) -> &str {
        &self.texts[TEXTS.iter().position(|one| *one == key).unwrap()]
    }
    fn relevancy(&self) -> u8 {
        self.relevancy
    }
}

fn mail() -> impl Strategy<Value = Mail> {
    let text = prop_oneof![
        "[abAB]{0,3}",
        Just(String::from("Re: a")),
        Just(String::from("é")),
        Just(String::from("É")),
        Just(String::from("a\0")),
        Just(String::from("a\u{1}")),
        "\\PC{0,5}",
    ];
    let date = || prop_oneof![-3_i64..3, any::<i64>()];
    (
        date(),
        prop::option::of(date()),
        prop_oneof![0_u64..3, any::<u64>()],
        prop::collection::vec(text, 6),
        1_u8..=100,
    )
        .prop_map(|(internal_date, sent_date, size, texts, relevancy)| Mail {
            sequence: 0,
            internal_date,
            sent_date,
            size,
            texts,
            relevancy,
        })
}

/// RFC 5256 §3, word by word.
fn compare(a: &Mail, b: &Mail, criteria: &[SortCriterion], collation: Collation) -> Ordering {
    let sent = |mail: &Mail| mail.sent_date.unwrap_or(mail.internal_date);
    let by = |key: SortKey| match key {
        SortKey::Arrival => a.internal_date.cmp(&b.internal_date),
        SortKey::Date => sent(a).cmp(&sent(b)),
        SortKey::Size => a.size.cmp(&b.size),
        SortKey::Relevancy => b.relevancy.cmp(&a.relevancy),
        SortKey::Subject => {
            let base = |mail: &Mail| collation.key(BaseSubject::new(mail.text(key)).text());
            base(a).cmp(&base(b))
        }
        key => collation.key(a.text(key)).cmp(&collation.key(b.text(key))),
    };
    let mut order = Ordering::Equal;
    for criterion in criteria {
        order = order.then(match criterion.direction {
            SortDirection::Ascending => by(criterion.key),
            SortDirection::Reverse => by(criterion.key).reverse(),
        });
    }
    order.then(a.sequence.cmp(&b.sequence))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_have_the_order_of_the_rfc(
        mut mails in prop::collection::vec(mail(), 0..20),
        criteria in prop::collection::vec((prop::sample::select(SortKey::ALL), any::<bool>()), 1..5),
        ascii in any::<bool>(),
    ) {
        let criteria: Vec<_> = criteria
            .into_iter()
            .map(|(key, reverse)| if reverse { SortCriterion::reverse(key) } else { SortCriterion::new(key) })
            .collect();
        let collation = if ascii { Collation::AsciiCasemap } else { Collation::UnicodeCasemap };
        for (index, mail) in mails.iter_mut().enumerate() {
            mail.sequence = u32::try_from(index).unwrap() + 1;
        }
        let order = SortOrder::new(LazyList::new(&criteria), collation).unwrap();
        let mut entries: Vec<_> = mails.iter().map(|mail| order.entry(mail)).collect();
        entries.sort_unstable();
        mails.sort_by(|a, b| compare(a, b, &criteria, collation));
        let expected: Vec<u32> = mails.iter().map(|mail| mail.sequence).collect();
        prop_assert_eq!(entries.iter().map(|entry| entry.sequence()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_base_subject_is_its_own(subject in "((re|fwd?|FW)? ?(\\[[a-z]{0,3}\\])? ?:? ?|\\[fwd:|\\]|\\(fwd\\)| |[a-c]){0,12}") {
        let base = BaseSubject::new(&subject);
        let again = BaseSubject::new(base.text());
        prop_assert_eq!(again.text(), base.text());
        prop_assert!(!again.is_reply());
    }
}

#[test]
fn limits_criteria_and_texts() {
    let criteria = [SortCriterion::new(SortKey::From); 17];
    assert!(SortOrder::new(LazyList::new(&criteria[..16]), Collation::default()).is_ok());
    assert_eq!(SortOrder::new(LazyList::new(&criteria), Collation::default()), Err(TooManyCriteria));
    let order = SortOrder::new(LazyList::new(&criteria[..1]), Collation::default()).unwrap();
    assert!(order.uses(SortKey::From) && !order.uses(SortKey::Subject));
    let mail = |text: String| Mail {
        sequence: 1,
        internal_date: 0,
        sent_date: None,
        size: 0,
        texts: vec![text; 6],
        relevancy: 1,
    };
    for text in ["a".repeat(100_000), "\0".repeat(100_000), "ﷺ".repeat(100_000), "é".repeat(100_000)] {
        let entry = order.entry(&mail(text));
        assert!(entry.memory() < 1200, "{}", entry.memory());
    }
    // Long subjects take linear time.
    let order =
        SortOrder::new(LazyList::new(&[SortCriterion::new(SortKey::Subject)]), Collation::default()).unwrap();
    for piece in ["[fwd:", "[a]", "re: ", "(fwd)", "[", "re[a] ", " "] {
        let before = std::time::Instant::now();
        order.entry(&mail(piece.repeat(20_000)));
        assert!(before.elapsed().as_secs() < 5, "{piece}");
    }
}
