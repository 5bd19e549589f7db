//! Access control lists of mailboxes (RFC 4314).

use crate::error::{Error, Result};

/// The maximum number of entries in the list of one mailbox.
pub const ACL_ENTRY_LIMIT: usize = 64;

/// The maximum number of entries in the lists of all mailboxes of an account.
pub const ACL_ACCOUNT_LIMIT: usize = 1_000;

/// The maximum length of an identifier in bytes.
pub const ACL_IDENTIFIER_LIMIT: usize = 256;

/// The identifier to which every account belongs.
const ANYONE: &str = "anyone";

/// A set of rights (RFC 4314 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Rights(u16);

/// The letters of the rights. The position of a letter is the number of its bit.
const LETTERS: &[u8] = b"lrswipkxtea";

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// `l`: the mailbox is visible to LIST and SUBSCRIBE.
    pub const LOOKUP: Self = Self(1);
    /// `r`: SELECT, STATUS, and everything that reads messages.
    pub const READ: Self = Self(1 << 1);
    /// `s`: change `\Seen`.
    pub const SEEN: Self = Self(1 << 2);
    /// `w`: change other flags than `\Seen` and `\Deleted`.
    pub const WRITE: Self = Self(1 << 3);
    /// `i`: add messages.
    pub const INSERT: Self = Self(1 << 4);
    /// `p`: send mail to the mailbox.
    pub const POST: Self = Self(1 << 5);
    /// `k`: create mailboxes below this one.
    pub const CREATE: Self = Self(1 << 6);
    /// `x`: delete or rename the mailbox.
    pub const DELETE_MAILBOX: Self = Self(1 << 7);
    /// `t`: change `\Deleted`.
    pub const DELETE_MESSAGES: Self = Self(1 << 8);
    /// `e`: expunge.
    pub const EXPUNGE: Self = Self(1 << 9);
    /// `a`: read and change the list.
    pub const ADMINISTER: Self = Self(1 << 10);
    /// All rights.
    pub const ALL: Self = Self((1 << 11) - 1);

    /// Returns the right with this letter, or the rights of the obsolete letters: `k` and `x` for `c`, `t` and `e` for `d`
    /// (RFC 4314 §2.1.1). Returns `None` for other letters.
    pub fn from_letter(letter: char) -> Option<Self> {
        match letter {
            'c' => Some(Self::CREATE.or(Self::DELETE_MAILBOX)),
            'd' => Some(Self::DELETE_MESSAGES.or(Self::EXPUNGE)),
            _ => LETTERS.iter().position(|known| char::from(*known) == letter).map(|bit| Self(1 << bit)),
        }
    }

    /// Returns the letters of the rights, without the obsolete ones.
    pub fn letters(self) -> String {
        let has = |bit: usize| self.0 & (1 << bit) != 0;
        LETTERS
            .iter()
            .enumerate()
            .filter(|(bit, _)| has(*bit))
            .map(|(_, letter)| char::from(*letter))
            .collect()
    }

    /// Returns the rights that at least one of both sets has.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the rights of this set that the other one does not have.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether this set has all rights of the other one.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether the sets have a right in common.
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns whether there is no right.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the set as a number, for a storage.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Returns the set with these [`bits`](Self::bits). Bits without a right are ignored.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }
}

/// An entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AclEntry {
    /// The name of an account or `anyone`, with its ASCII letters in lower case. With `-` before it, the entry takes rights
    /// away.
    pub identifier: String,
    /// The rights that are given or taken away. At least one.
    pub rights: Rights,
}

impl AclEntry {
    /// Creates an entry.
    pub fn new(identifier: impl Into<String>, rights: Rights) -> Self {
        Self { identifier: identifier.into(), rights }
    }
}

/// How SETACL changes the rights of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclChange {
    /// The identifier has these rights.
    Replace,
    /// It has these rights, too.
    Add,
    /// It does not have these rights any more.
    Remove,
}

/// Returns the identifiers whose entries concern an account: its name, `anyone`, and both with `-`. Names that start with
/// `-` have no identifier of their own.
pub(crate) fn identifiers_of(account: &str) -> Vec<String> {
    let mut identifiers = vec![ANYONE.to_owned(), format!("-{ANYONE}")];
    if !account.starts_with('-') {
        let name = account.to_ascii_lowercase();
        identifiers.push(format!("-{name}"));
        identifiers.push(name);
    }
    identifiers
}

/// Returns the rights that a list gives to an account which does not own the mailbox (RFC 4314 §2).
pub fn rights_of(account: &str, entries: &[AclEntry]) -> Rights {
    let identifiers = identifiers_of(account);
    let (mut given, mut taken) = (Rights::NONE, Rights::NONE);
    for entry in entries.iter().filter(|entry| identifiers.contains(&entry.identifier)) {
        match entry.identifier.starts_with('-') {
            true => taken = taken.or(entry.rights),
            false => given = given.or(entry.rights),
        }
    }
    given.without(taken)
}

/// Returns an identifier as it is kept.
pub(crate) fn canonical_identifier(identifier: &str) -> Result<String> {
    let name = identifier.strip_prefix('-').unwrap_or(identifier);
    if name.is_empty() || name.starts_with('-') || name.chars().any(char::is_control) {
        return Err(Error::InvalidName("an identifier is the name of an account, or anyone"));
    }
    if identifier.len() > ACL_IDENTIFIER_LIMIT {
        return Err(Error::Limit("the length of an identifier"));
    }
    Ok(identifier.to_ascii_lowercase())
}

/// Returns the rights of an entry after a change.
pub(crate) fn changed(before: Rights, change: AclChange, rights: Rights) -> Rights {
    match change {
        AclChange::Replace => rights,
        AclChange::Add => before.or(rights),
        AclChange::Remove => before.without(rights),
    }
}

/// Checks the numbers of entries after one was added.
pub(crate) fn check_counts(of_mailbox: usize, of_account: usize) -> Result<()> {
    if of_mailbox > ACL_ENTRY_LIMIT {
        return Err(Error::Limit("the entries of the mailbox's access control list"));
    }
    if of_account > ACL_ACCOUNT_LIMIT {
        return Err(Error::Limit("the entries of the account's access control lists"));
    }
    Ok(())
}

/// Sets an entry of a list that is ordered by identifier, or removes it if it has no rights.
pub(crate) fn set_entry(entries: &mut Vec<AclEntry>, identifier: String, rights: Rights) {
    let found = entries.binary_search_by(|entry| entry.identifier.cmp(&identifier));
    match (found, rights.is_empty()) {
        (Ok(at), true) => drop(entries.remove(at)),
        (Ok(at), false) => entries.splice(at..=at, [AclEntry { identifier, rights }]).for_each(drop),
        (Err(_), true) => {}
        (Err(at), false) => entries.insert(at, AclEntry { identifier, rights }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(letters: &str) -> Rights {
        letters.chars().fold(Rights::NONE, |all, letter| all.or(Rights::from_letter(letter).unwrap()))
    }

    #[test]
    fn letters_and_sets_correspond() {
        assert_eq!(rights("lrswipkxtea"), Rights::ALL);
        assert_eq!(Rights::ALL.letters(), "lrswipkxtea");
        assert_eq!((rights("cd").letters(), rights("xkl").letters()), ("kxte".into(), "lkx".into()));
        assert_eq!(Rights::from_letter('q'), None);
        assert_eq!(Rights::from_bits(u16::MAX), Rights::ALL);
    }

    #[test]
    fn negative_rights_win() {
        let entries = [
            AclEntry::new("-bob", rights("w")),
            AclEntry::new("anyone", rights("lrw")),
            AclEntry::new("bob", rights("i")),
        ];
        assert_eq!(rights_of("Bob", &entries), rights("lri"));
        assert_eq!(rights_of("carol", &entries), rights("lrw"));
        assert_eq!(rights_of("-bob", &entries), rights("lrw"));
        let without_all = [AclEntry::new("-anyone", Rights::ALL), AclEntry::new("bob", Rights::ALL)];
        assert_eq!(rights_of("bob", &without_all), Rights::NONE);
    }
}
