//! The keys of a search as conditions that a message meets, does not meet, or may meet as far as it has been read.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::fuzzy::WordMatch;
use super::message::{MessagePart, SearchableMessage};
use super::terms::{FoundTerms, SearchTerms, TermId, WordId};
use crate::mailbox_view::resolve::merged;
use crate::types::{Flag, Keyword, NumberRange};

/// A condition on a message. Texts are replaced by search terms, and sequence numbers by UIDs.
#[derive(Debug)]
pub(super) enum Condition {
    /// All of these. An empty list is met by every message.
    All(Vec<Self>),
    Or(Box<(Self, Self)>),
    Not(Box<Self>),
    /// Ascending ranges that neither overlap nor touch.
    Uids(Vec<NumberRange>),
    Flag(Flag<'static>),
    Keyword(String),
    Larger(u64),
    Smaller(u64),
    /// The internal date by day, in its own time zone.
    InternalDay(Days),
    /// The internal date is this second or later.
    InternalSince(i64),
    /// The saved date by day, in its own time zone; the internal date of a message without one.
    SavedDay(Days),
    /// The saved date is known.
    HasSavedDate,
    /// The `Date:` field by day, in its own time zone.
    SentDay(Days),
    ModSeq(u64),
    EmailId(String),
    ThreadId(String),
    /// A term that occurs in this part of the message.
    Term(MessagePart, TermId),
    /// A word that occurs in this part of the message approximately.
    Word(MessagePart, WordId),
    /// A condition that messages meet more or less well.
    Fuzzy(Box<Self>),
}

/// A condition on a day, counted since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Days {
    Before(i64),
    On(i64),
    Since(i64),
}

impl Days {
    const fn contains(self, day: i64) -> bool {
        match self {
            Self::Before(limit) => day < limit,
            Self::On(limit) => day == limit,
            Self::Since(limit) => day >= limit,
        }
    }
}

impl Condition {
    pub(super) fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    pub(super) fn keyword(keyword: Keyword<'_>) -> Self {
        Self::Keyword(String::from_utf8_lossy(keyword.as_bytes()).into_owned())
    }

    /// Returns a condition that is met if one of these is.
    pub(super) fn either(conditions: impl IntoIterator<Item = Self>) -> Self {
        let either = conditions.into_iter().reduce(|one, other| Self::Or(Box::new((one, other))));
        either.unwrap_or_else(|| Self::All(Vec::new()).not())
    }

    /// Returns whether the condition contains no other conditions.
    pub(super) const fn is_test(&self) -> bool {
        !matches!(self, Self::All(_) | Self::Or(_) | Self::Not(_) | Self::Fuzzy(_))
    }

    /// Returns whether the message meets the condition, or `None` if the parts read so far do not decide it. The
    /// nesting depth is limited when a query is compiled.
    pub(super) fn holds(
        &self,
        message: &impl SearchableMessage,
        read: MessagePart,
        found: &FoundTerms,
    ) -> Option<bool> {
        match self {
            Self::All(conditions) => {
                let mut all = Some(true);
                for condition in conditions {
                    match condition.holds(message, read, found) {
                        Some(true) => {}
                        Some(false) => return Some(false),
                        None => all = None,
                    }
                }
                all
            }
            Self::Or(conditions) => {
                let one = conditions.0.holds(message, read, found);
                if one == Some(true) {
                    return one;
                }
                match (one, conditions.1.holds(message, read, found)) {
                    (_, Some(true)) => Some(true),
                    (Some(false), other) => other,
                    _ => None,
                }
            }
            Self::Not(condition) => condition.holds(message, read, found).map(|holds| !holds),
            Self::Fuzzy(condition) => condition.holds(message, read, found),
            Self::Word(_, word) if found.word(*word) > WordMatch::None => Some(true),
            Self::Word(part, _) => (read >= *part).then_some(false),
            Self::Term(_, term) if found.contains(*term) => Some(true),
            Self::Term(part, _) => (read >= *part).then_some(false),
            Self::SentDay(_) if read < MessagePart::Envelope => None,
            Self::SentDay(days) => Some(message.sent_date().is_some_and(|date| days.contains(date.day()))),
            Self::Uids(uids) => Some(contains(uids, message.uid())),
            Self::Flag(flag) => Some(message.has_flag(*flag)),
            Self::Keyword(keyword) => {
                Some(message.has_flag(Flag::Keyword(Keyword::checked(keyword.as_bytes()))))
            }
            Self::Larger(size) => Some(message.size() > *size),
            Self::Smaller(size) => Some(message.size() < *size),
            Self::InternalDay(days) => Some(days.contains(message.internal_date().day())),
            Self::SavedDay(days) => {
                let date = message.saved_date().unwrap_or_else(|| message.internal_date());
                Some(days.contains(date.day()))
            }
            Self::HasSavedDate => Some(message.saved_date().is_some()),
            Self::InternalSince(second) => Some(message.internal_date().timestamp >= *second),
            Self::ModSeq(least) => Some(message.mod_sequence() >= *least),
            Self::EmailId(id) => Some(message.has_email_id(id)),
            Self::ThreadId(id) => Some(message.has_thread_id(id)),
        }
    }

    /// Returns the costliest part of a message that the condition depends on.
    pub(super) fn cost(&self) -> MessagePart {
        match self {
            Self::All(conditions) => {
                conditions.iter().map(Self::cost).max().unwrap_or(MessagePart::Attributes)
            }
            Self::Or(conditions) => conditions.0.cost().max(conditions.1.cost()),
            Self::Not(condition) | Self::Fuzzy(condition) => condition.cost(),
            Self::SentDay(_) => MessagePart::Envelope,
            Self::Term(part, _) | Self::Word(part, _) => *part,
            _ => MessagePart::Attributes,
        }
    }

    /// Returns about how many bytes of memory the condition takes.
    pub(super) fn memory(&self) -> usize {
        let inner = match self {
            Self::All(conditions) => conditions.iter().map(Self::memory).sum(),
            Self::Or(conditions) => conditions.0.memory() + conditions.1.memory(),
            Self::Not(condition) | Self::Fuzzy(condition) => condition.memory(),
            Self::Uids(ranges) => ranges.len() * size_of::<NumberRange>(),
            Self::Keyword(text) | Self::EmailId(text) | Self::ThreadId(text) => text.len(),
            _ => 0,
        };
        size_of::<Self>() + inner
    }

    /// Returns whether the condition, or one in it, has this property.
    pub(super) fn any(&self, is: &dyn Fn(&Self) -> bool) -> bool {
        is(self)
            || match self {
                Self::All(conditions) => conditions.iter().any(|condition| condition.any(is)),
                Self::Or(conditions) => conditions.0.any(is) || conditions.1.any(is),
                Self::Not(condition) | Self::Fuzzy(condition) => condition.any(is),
                _ => false,
            }
    }

    /// Returns how well a message that meets the condition matches its fuzzy parts, from 1 to 100; `None` if it meets none.
    ///
    /// Several keys count equally, and of two in an OR the better one. A text counts 100 if it occurs as a whole, and
    /// otherwise as its words do on average, a little less in the body.
    pub(super) fn relevancy(
        &self,
        message: &impl SearchableMessage,
        read: MessagePart,
        found: &FoundTerms,
    ) -> Option<u32> {
        match self {
            Self::All(conditions) => {
                average(conditions.iter().map(|one| one.relevancy(message, read, found)))
            }
            Self::Or(conditions) => {
                conditions.0.relevancy(message, read, found).max(conditions.1.relevancy(message, read, found))
            }
            Self::Fuzzy(condition) if condition.holds(message, read, found) == Some(true) => {
                Some(condition.score(message, read, found).clamp(1, 100))
            }
            _ => None,
        }
    }

    /// Returns how well a part of a fuzzy condition is met: 0 to 100.
    fn score(&self, message: &impl SearchableMessage, read: MessagePart, found: &FoundTerms) -> u32 {
        match self {
            Self::All(conditions) => {
                average(conditions.iter().map(|one| Some(one.score(message, read, found)))).unwrap_or(100)
            }
            Self::Or(conditions) => {
                conditions.0.score(message, read, found).max(conditions.1.score(message, read, found))
            }
            Self::Fuzzy(condition) => condition.score(message, read, found),
            Self::Word(MessagePart::Text, word) => found.word(*word).score() * 4 / 5,
            Self::Word(_, word) => found.word(*word).score(),
            other => 100 * u32::from(other.holds(message, read, found) == Some(true)),
        }
    }

    /// Returns UIDs that contain every match; `None` if any message may match.
    pub(super) fn uids(&self) -> Option<Vec<NumberRange>> {
        match self {
            Self::Uids(uids) => Some(uids.clone()),
            Self::Fuzzy(condition) => condition.uids(),
            Self::All(conditions) => {
                conditions.iter().filter_map(Self::uids).reduce(|one, other| intersection(&one, &other))
            }
            Self::Or(conditions) => {
                let mut both = conditions.0.uids()?;
                both.extend(conditions.1.uids()?);
                Some(merged(both))
            }
            _ => None,
        }
    }

    /// Returns UIDs that contain every match, given those of the messages that may contain a text; `None` if any message
    /// may match.
    pub(super) fn candidates<E>(
        &self,
        terms: &SearchTerms,
        find: &mut impl FnMut(&str) -> Result<Option<Vec<NumberRange>>, E>,
    ) -> Result<Option<Vec<NumberRange>>, E> {
        Ok(match self {
            Self::Term(_, term) => match terms.index_text(*term) {
                Some(text) => find(&text)?,
                None => None,
            },
            Self::Fuzzy(condition) => condition.candidates(terms, find)?,
            Self::All(conditions) => {
                let mut all: Option<Vec<NumberRange>> = None;
                for condition in conditions {
                    let Some(one) = condition.candidates(terms, find)? else { continue };
                    all = Some(all.map_or_else(|| one.clone(), |all| intersection(&all, &one)));
                }
                all
            }
            Self::Or(conditions) => {
                let Some(mut both) = conditions.0.candidates(terms, find)? else { return Ok(None) };
                let Some(other) = conditions.1.candidates(terms, find)? else { return Ok(None) };
                both.extend(other);
                Some(merged(both))
            }
            _ => None,
        })
    }

    /// Returns the identifier that every match has; `None` if matches may have any.
    pub(super) fn email_id(&self) -> Option<&str> {
        match self {
            Self::EmailId(id) => Some(id),
            Self::All(conditions) => conditions.iter().find_map(Self::email_id),
            _ => None,
        }
    }

    /// Collects all identifiers.
    pub(super) fn collect_email_ids<'a>(&'a self, ids: &mut Vec<&'a str>) {
        match self {
            Self::EmailId(id) => ids.push(id),
            Self::All(conditions) => conditions.iter().for_each(|one| one.collect_email_ids(ids)),
            Self::Or(conditions) => {
                conditions.0.collect_email_ids(ids);
                conditions.1.collect_email_ids(ids);
            }
            Self::Not(condition) | Self::Fuzzy(condition) => condition.collect_email_ids(ids),
            _ => {}
        }
    }

    /// Sorts the conditions by cost, so that costly ones are tested only if the cheap ones do not decide.
    pub(super) fn cheap_first(self) -> Self {
        match self {
            Self::All(conditions) => {
                let mut conditions: Vec<_> = conditions.into_iter().map(Self::cheap_first).collect();
                conditions.sort_by_key(Self::cost);
                Self::All(conditions)
            }
            Self::Or(conditions) => {
                let (a, b) = (conditions.0.cheap_first(), conditions.1.cheap_first());
                Self::Or(Box::new(if a.cost() <= b.cost() { (a, b) } else { (b, a) }))
            }
            Self::Not(condition) => condition.cheap_first().not(),
            Self::Fuzzy(condition) => Self::Fuzzy(Box::new(condition.cheap_first())),
            other => other,
        }
    }
}

/// Returns the average of the scores, rounded down; `None` if there are none.
fn average(scores: impl Iterator<Item = Option<u32>>) -> Option<u32> {
    let (sum, count) = scores.flatten().fold((0, 0), |(sum, count), score| (sum + score, count + 1));
    u32::checked_div(sum, count)
}

/// Returns whether a number is in ascending ranges.
fn contains(ranges: &[NumberRange], number: u32) -> bool {
    let next = ranges.partition_point(|range| range.last() < number);
    ranges.get(next).is_some_and(|range| range.first() <= number)
}

/// Returns the numbers that are in both lists of ascending ranges.
fn intersection(one: &[NumberRange], other: &[NumberRange]) -> Vec<NumberRange> {
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    let mut both = Vec::new();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let (first, last) = (a.first().max(b.first()), a.last().min(b.last()));
        if first <= last {
            both.push(NumberRange::new(first, last));
        }
        if a.last() < b.last() {
            left.next();
        } else {
            right.next();
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ranges: &[(u32, u32)]) -> Vec<NumberRange> {
        ranges.iter().map(|&(first, last)| NumberRange::new(first, last)).collect()
    }

    #[test]
    fn intersects_ranges() {
        let (one, other) = (ranges(&[(1, 5), (9, 12), (20, 20)]), ranges(&[(4, 10), (12, 30)]));
        assert_eq!(intersection(&one, &other), ranges(&[(4, 5), (9, 10), (12, 12), (20, 20)]));
        assert!(intersection(&one, &[]).is_empty());
        assert!(contains(&one, 5) && !contains(&one, 6) && contains(&one, 20) && !contains(&one, 21));
    }

    #[test]
    fn a_search_by_uid_covers_only_its_ranges() {
        let uids = |first, last| Condition::Uids(ranges(&[(first, last)]));
        assert_eq!(uids(1, 10).uids(), Some(ranges(&[(1, 10)])));
        let inner = Condition::All(Vec::from([uids(1, 10), uids(5, 20)]));
        let nested = Condition::All(Vec::from([Condition::Larger(1), inner]));
        assert_eq!(nested.uids(), Some(ranges(&[(5, 10)])));
        let or = |one, other| Condition::Or(Box::new((one, other)));
        assert_eq!(or(uids(1, 3), uids(8, 9)).uids(), Some(ranges(&[(1, 3), (8, 9)])));
        assert_eq!(or(uids(1, 3), Condition::Larger(1)).uids(), None);
        assert_eq!(uids(1, 3).not().uids(), None);
    }
}
