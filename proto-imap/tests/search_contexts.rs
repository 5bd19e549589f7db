//! Changes of results, applied as a client applies them, give the new result (RFC 5267 §4.3); and pages of results (RFC
//! 5267 §4.4, RFC 9394).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

use proptest::prelude::*;
use proto_imap::mailbox_view::UidBitmap;
use proto_imap::search_query::{
    ContextDifference, ContextLimits, ContextResult, ContextRun, NoContext, SearchContexts,
};
use proto_imap::types::{NumberRange, PartialRange};

/// Applies changes as RFC 5267 §4.3.3 and §4.3.4 say.
fn apply(result: &mut Vec<u32>, difference: &ContextDifference) {
    for ContextRun { position, uids } in &difference.removed {
        match position {
            0 => result.retain(|uid| !uids.contains(uid)),
            position => {
                let begin = *position as usize - 1;
                let gone: Vec<u32> = result.drain(begin..begin + uids.len()).collect();
                assert_eq!(&gone, uids);
            }
        }
    }
    for ContextRun { position, uids } in &difference.added {
        match position {
            0 => {
                result.extend(uids);
                result.sort_unstable();
            }
            position => {
                let at = *position as usize - 1;
                result.splice(at..at, uids.iter().copied());
            }
        }
    }
}

fn uids() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(1_u32..30, 0..20).prop_map(|mut uids| {
        let mut seen = std::collections::BTreeSet::new();
        uids.retain(|uid| seen.insert(*uid));
        uids
    })
}

/// The length of the longest common subsequence, naively.
fn common(a: &[u32], b: &[u32]) -> usize {
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, one) in a.iter().enumerate() {
        for (j, other) in b.iter().enumerate() {
            table[i + 1][j + 1] =
                if one == other { table[i][j] + 1 } else { table[i][j + 1].max(table[i + 1][j]) };
        }
    }
    table[a.len()][b.len()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_of_a_sorted_result_give_the_new_one(results in prop::collection::vec(uids(), 2..5)) {
        let mut contexts = SearchContexts::new(ContextLimits::default());
        let mut known = results[0].clone();
        contexts.open(b"a", ContextResult::Sorted(known.clone())).unwrap();
        for new in &results[1..] {
            let difference = contexts.update(b"a", ContextResult::Sorted(new.clone())).unwrap();
            let removed: usize = difference.removed.iter().map(|run| run.uids.len()).sum();
            prop_assert_eq!(removed, known.len() - common(&known, new), "no more than necessary");
            apply(&mut known, &difference);
            prop_assert_eq!(&known, new);
            prop_assert_eq!(contexts.result(b"a"), Some(&ContextResult::Sorted(new.clone())));
            prop_assert!(contexts.update(b"a", ContextResult::Sorted(new.clone())).unwrap().is_empty());
        }
    }

    #[test]
    fn changes_of_an_unsorted_result_give_the_new_one(results in prop::collection::vec(uids(), 2..5)) {
        let bitmap = |uids: &[u32]| ContextResult::MailboxOrder(uids.iter().copied().collect::<UidBitmap>());
        let mut contexts = SearchContexts::new(ContextLimits::default());
        let mut known = results[0].clone();
        known.sort_unstable();
        contexts.open(b"a", bitmap(&known)).unwrap();
        for new in &results[1..] {
            apply(&mut known, &contexts.update(b"a", bitmap(new)).unwrap());
            let mut new = new.clone();
            new.sort_unstable();
            prop_assert_eq!(&known, &new);
        }
    }

    #[test]
    fn a_page_has_the_results_of_the_rfc(first in 1_u32..40, last in 1_u32..40, count in 0_u32..30) {
        let range = NumberRange::new(first, last);
        let results: Vec<u32> = (1..=count).collect();
        let from_first: Vec<u32> =
            results.iter().copied().filter(|place| (range.first()..=range.last()).contains(place)).collect();
        let from_last: Vec<u32> = results
            .iter()
            .copied()
            .filter(|place| (range.first()..=range.last()).contains(&(count - place + 1)))
            .collect();
        for (page, expected) in [(PartialRange::FromFirst(range), from_first), (PartialRange::FromLast(range), from_last)] {
            let places = page.places(count);
            prop_assert_eq!(results[places.start as usize..places.end as usize].to_vec(), expected, "{:?}", page);
        }
    }
}

#[test]
fn pages_beyond_the_results_are_empty() {
    let huge = NumberRange::new(4_000_000_000, u32::MAX);
    for count in [0, 1, u32::MAX] {
        let places = PartialRange::FromFirst(huge).places(count);
        assert_eq!(places.is_empty(), count < 4_000_000_000);
        assert!(PartialRange::FromLast(huge).places(count).end <= count);
    }
    assert_eq!(PartialRange::FromLast(NumberRange::new(1, 100)).places(250), 150..250);
    assert_eq!(PartialRange::FromLast(NumberRange::new(201, 300)).places(250), 0..50);
    assert_eq!(PartialRange::FromFirst(NumberRange::new(201, 300)).places(250), 200..250);
}

#[test]
fn contexts_are_limited_and_have_different_tags() {
    let mut limits = ContextLimits::default();
    (limits.contexts, limits.sorted) = (2, 5);
    let mut contexts = SearchContexts::new(limits);
    let sorted = |count: u32| ContextResult::Sorted((1..=count).collect());
    let unsorted = || ContextResult::MailboxOrder((1..1000).collect::<UidBitmap>());
    contexts.open(b"a", sorted(3)).unwrap();
    assert_eq!(contexts.open(b"a", sorted(1)), Err(NoContext::TagInUse));
    assert_eq!(contexts.check(b"a"), Err(NoContext::TagInUse));
    assert_eq!(contexts.open(b"b", sorted(3)), Err(NoContext::TooMany));
    contexts.open(b"b", unsorted()).unwrap();
    assert_eq!(contexts.open(b"c", unsorted()), Err(NoContext::TooMany));
    assert_eq!(contexts.tags().collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(contexts.update(b"b", sorted(1)), Err(NoContext::Unknown), "a command keeps its order");
    // A result that grows too large ends its context.
    assert!(contexts.update(b"a", sorted(5)).is_ok());
    assert_eq!(contexts.update(b"a", sorted(6)), Err(NoContext::TooMany));
    assert_eq!(contexts.update(b"a", sorted(1)), Err(NoContext::Unknown));
    assert!(contexts.cancel(b"b"));
    assert!(!contexts.cancel(b"b"));
    contexts.open(b"b", sorted(5)).unwrap();
    contexts.clear();
    assert_eq!(contexts.tags().count(), 0);
}

#[test]
fn large_changes_take_little_time() {
    let before = std::time::Instant::now();
    let mut contexts = SearchContexts::new(ContextLimits::default());
    contexts.open(b"a", ContextResult::Sorted((1..=200_000).collect())).unwrap();
    let difference = contexts.update(b"a", ContextResult::Sorted((1..=200_000).rev().collect())).unwrap();
    assert_eq!(difference.removed.iter().map(|run| run.uids.len()).sum::<usize>(), 199_999);
    assert!(before.elapsed().as_secs() < 20);
}
