//! The keys of a search (RFC 9051 §6.4.4, WITHIN of RFC 5032), independent of IMAP's syntax.

use mailstore::{Columns, ContentId, Flags, UidSet};

use super::search_terms::Scope;
use super::uid_windows::{intersection, union};

/// A search key. Texts are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// Matches if all of these match. An empty list matches every message.
    All(Vec<Self>),
    Or(Box<(Self, Self)>),
    Not(Box<Self>),
    Uids(UidSet),
    /// A system flag, by its bit.
    Flag(u8),
    Keyword(String),
    Larger(u64),
    Smaller(u64),
    /// INTERNALDATE by day since 1970, in the time zone stored with the message.
    Internal(Days),
    /// INTERNALDATE at or after this second.
    InternalSince(i64),
    /// The Date field by day, in its own time zone.
    Sent(Days),
    ModSeq(u64),
    EmailId(i64),
    Address(AddressField, String),
    Subject(String),
    /// A header field, by name, that contains this text. An empty text matches any field of that name.
    Header(String, String),
    Body(String),
    Text(String),
    /// Matches nothing: a keyword or identifier that no message can have.
    Never,
}

/// A condition on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Days {
    Before(i64),
    On(i64),
    Since(i64),
}

/// The envelope fields that contain addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressField {
    From,
    To,
    Cc,
    Bcc,
}

impl Days {
    pub(super) const fn holds(self, day: i64) -> bool {
        match self {
            Self::Before(limit) => day < limit,
            Self::On(limit) => day == limit,
            Self::Since(limit) => day >= limit,
        }
    }
}

impl Key {
    pub(super) fn cost(&self) -> Cost {
        match self {
            Self::All(keys) => keys.iter().map(Self::cost).max().unwrap_or(Cost::Row),
            Self::Or(keys) => keys.0.cost().max(keys.1.cost()),
            Self::Not(key) => key.cost(),
            Self::Sent(_) | Self::Address(..) | Self::Subject(_) => Cost::Envelope,
            Self::Header(..) => Cost::Header,
            Self::Body(_) | Self::Text(_) => Cost::Body,
            _ => Cost::Row,
        }
    }

    /// Returns UIDs that contain every match; `None` if any message may match.
    pub(super) fn bounds(&self) -> Option<UidSet> {
        match self {
            Self::Uids(uids) => Some(uids.clone()),
            Self::Never => Some(UidSet::default()),
            Self::All(keys) => {
                keys.iter().filter_map(Self::bounds).reduce(|one, other| intersection(&one, &other))
            }
            Self::Or(keys) => Some(union(&keys.0.bounds()?, &keys.1.bounds()?)),
            _ => None,
        }
    }

    /// Returns the content that every match has; `None` if matches may have any content.
    pub(super) fn content(&self) -> Option<ContentId> {
        match self {
            Self::EmailId(id) => Some(ContentId(*id)),
            Self::All(keys) => keys.iter().find_map(Self::content),
            _ => None,
        }
    }

    /// Sorts the keys by cost, so that costly keys are tested only if the cheap ones do not decide.
    pub(super) fn cheap_first(self) -> Self {
        match self {
            Self::All(keys) => {
                let mut keys: Vec<Self> = keys.into_iter().map(Self::cheap_first).collect();
                keys.sort_by_key(Self::cost);
                Self::All(keys)
            }
            Self::Or(keys) => {
                let (a, b) = (keys.0.cheap_first(), keys.1.cheap_first());
                Self::Or(Box::new(if a.cost() <= b.cost() { (a, b) } else { (b, a) }))
            }
            Self::Not(key) => Self::Not(Box::new(key.cheap_first())),
            other => other,
        }
    }

    /// Returns whether the response includes mod-sequences (RFC 7162 §3.1.5).
    pub(super) fn has_modseq(&self) -> bool {
        match self {
            Self::All(keys) => keys.iter().any(Self::has_modseq),
            Self::Or(keys) => keys.0.has_modseq() || keys.1.has_modseq(),
            Self::Not(key) => key.has_modseq(),
            Self::ModSeq(_) => true,
            _ => false,
        }
    }

    pub(super) fn columns(&self) -> Columns {
        let columns = Columns::summary();
        match self.cost() {
            Cost::Row => columns,
            Cost::Envelope => columns.with_envelope(),
            Cost::Header | Cost::Body => columns.with_envelope().with_structure().with_small_bodies(),
        }
    }
}

/// The part of a message that a key needs, from cheap to costly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    Row,
    Envelope,
    Header,
    Body,
}

impl AddressField {
    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::From => Scope::From,
            Self::To => Scope::To,
            Self::Cc => Scope::Cc,
            Self::Bcc => Scope::Bcc,
        }
    }
}

/// Returns the bit of a system flag.
pub(super) fn flag_bit(name: &str) -> Option<u8> {
    let flags = Flags::parse([name]).ok()?;
    (flags.system_bits() != 0).then(|| flags.system_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_keys_by_cost() {
        let key = Key::All(vec![Key::Text("x".into()), Key::Subject("y".into()), Key::Flag(1)]);
        let Key::All(keys) = key.cheap_first() else { panic!() };
        assert_eq!(keys, [Key::Flag(1), Key::Subject("y".into()), Key::Text("x".into())]);
    }

    #[test]
    fn a_search_by_uid_reads_only_its_range() {
        let uids = |first, last| Key::Uids(std::iter::once(first..=last).collect());
        let bounds = |key: Key| key.bounds().map(|bounds| bounds.ranges().to_vec());
        assert_eq!(bounds(uids(1, 10)), Some(vec![1..=10]));
        let nested = Key::All(vec![Key::Flag(1), Key::All(vec![uids(1, 10), uids(5, 20)])]);
        assert_eq!(bounds(nested), Some(vec![5..=10]));
        let either = Key::Or(Box::new((uids(1, 3), uids(8, 9))));
        assert_eq!(bounds(either), Some(vec![1..=3, 8..=9]));
        assert_eq!(bounds(Key::Or(Box::new((uids(1, 3), Key::Flag(1))))), None);
        assert_eq!(bounds(Key::Not(Box::new(uids(1, 3)))), None);
    }
}
