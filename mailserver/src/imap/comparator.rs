//! COMPARATOR: how SEARCH, SORT and THREAD compare texts (RFC 5255 §4).

use io_common::Next;
use proto_imap::server::Reply;
use proto_imap::sort_order::Collation;
use proto_imap::types::{ComparatorResponse, IString, LazyList, PlainCode, Untagged};

use super::{Session, Turn, next_or_close, no_status, reply_ok};

impl Session {
    /// Returns or chooses how SEARCH, SORT and THREAD compare texts.
    pub(super) fn comparator(
        &mut self,
        reply: Reply,
        patterns: LazyList<'_, IString<'_>>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let mut matching = Vec::new();
        for pattern in patterns.iter() {
            let pattern = pattern.to_str_lossy();
            let new = Collation::ALL.iter().filter(|one| matches_pattern(&pattern, **one));
            let new: Vec<Collation> = new.copied().filter(|one| !matching.contains(one)).collect();
            matching.extend(new);
        }
        match matching.first() {
            Some(first) => self.comparator = *first,
            None if patterns.is_empty() => {}
            None => {
                let status = no_status(PlainCode::BadComparator, "unknown comparator");
                return next_or_close(turn.machine.reply(reply, &status, turn.tx));
            }
        }
        let names: Vec<IString<'_>> = matching.iter().map(|one| IString::from(one.as_str())).collect();
        let matching = if names.len() > 1 { LazyList::new(&names) } else { LazyList::EMPTY };
        let active = IString::from(self.comparator.as_str());
        match turn.machine.data(&Untagged::Comparator(ComparatorResponse { active, matching }), turn.tx) {
            Ok(()) => reply_ok(reply, "completed", turn),
            Err(error) => next_or_close(Err(error)),
        }
    }
}

/// Returns whether a pattern matches the name of a comparator. `*` matches any characters (RFC 4790 §3.2).
fn matches_pattern(pattern: &str, comparator: Collation) -> bool {
    if pattern.eq_ignore_ascii_case("default") {
        return comparator == Collation::default();
    }
    let name = comparator.as_str();
    let Some((start, rest)) = pattern.split_once('*') else { return pattern.eq_ignore_ascii_case(name) };
    let begins = |name: &str, start: &str| {
        name.get(..start.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(start))
    };
    let Some(mut name) = name.get(start.len()..).filter(|_| begins(name, start)) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        let places = 0..=name.len().saturating_sub(part.len());
        let found = match parts.peek() {
            // The last part is at the end.
            None => name
                .len()
                .checked_sub(part.len())
                .filter(|at| name.get(*at..).is_some_and(|end| begins(end, part))),
            Some(_) => places.into_iter().find(|at| name.get(*at..).is_some_and(|rest| begins(rest, part))),
        };
        let Some(rest) = found.and_then(|at| name.get(at + part.len()..)) else { return false };
        name = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        let matching = |pattern: &str| {
            Collation::ALL
                .iter()
                .filter(|one| matches_pattern(pattern, **one))
                .map(|one| one.as_str())
                .collect::<Vec<_>>()
        };
        let all = ["i;unicode-casemap", "i;ascii-casemap", "i;octet"];
        for (pattern, names) in [
            ("*", &all[..]),
            ("i;*", &all),
            ("I;*-casemap", &all[..2]),
            ("i;*c*t*", &all[2..]),
            ("default", &all[..1]),
            ("i;octet", &all[2..]),
            ("*;oct*", &all[2..]),
            ("i;octet*x", &[]),
            ("i;octets", &[]),
            ("cz;*", &[]),
            ("", &[]),
            ("**", &all),
            ("*é*", &[]),
        ] {
            assert_eq!(matching(pattern), names, "{pattern}");
        }
        let stars = "*a".repeat(20_000);
        assert!(matching(&stars).is_empty());
    }
}
