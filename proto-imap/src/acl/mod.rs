//! Access control lists (RFC 4314): `SETACL`, `DELETEACL`, `GETACL`, `LISTRIGHTS` and `MYRIGHTS`, and their responses.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::{owned_struct, plain};
use crate::grammar::string::IString;
use crate::mailbox_name::MailboxName;
use core::fmt;
use proto_mail::error::ErrorDetails;

/// A set of rights (RFC 4314 §2.1): lowercase letters and digits, one for each right, in any order.
///
/// The standard rights are `l` (lookup), `r` (read), `s` (keep `\Seen`), `w` (write flags), `i` (insert), `p` (post),
/// `k` (create mailboxes), `x` (delete the mailbox), `t` (delete messages), `e` (expunge) and `a` (administer). `c` and
/// `d` are those of RFC 2086.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rights<'i>(IString<'i>);

/// The error for rights that are neither lowercase letters nor digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRights;

impl fmt::Display for InvalidRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rights are lowercase letters and digits")
    }
}

impl core::error::Error for InvalidRights {}

impl ErrorDetails for InvalidRights {}

impl<'i> Rights<'i> {
    /// No rights.
    pub const NONE: Rights<'static> = Rights(IString::EMPTY);

    /// Creates a set of rights.
    ///
    /// # Errors
    /// [`InvalidRights`] if there is anything but lowercase ASCII letters and digits.
    pub fn new(rights: &'i str) -> Result<Self, InvalidRights> {
        let rights = Self(IString::from(rights));
        if rights.is_valid() { Ok(rights) } else { Err(InvalidRights) }
    }

    /// Creates a set of rights as received. A server can send other characters if it was parsed tolerantly.
    pub(crate) const fn wire(rights: IString<'i>) -> Self {
        Self(rights)
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.0.iter().all(|right| matches!(right, b'a'..=b'z' | b'0'..=b'9'))
    }

    /// Returns the rights as one string.
    #[must_use]
    pub const fn as_string(&self) -> IString<'i> {
        self.0
    }

    /// Returns whether this right is in the set.
    #[must_use]
    pub fn contains(&self, right: char) -> bool {
        self.iter().any(|one| one == right)
    }

    /// Returns the rights in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = char> + use<'i> {
        self.0.iter().map(char::from)
    }
}

impl fmt::Debug for Rights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Rights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What `SETACL` does with the rights that the identifier has (RFC 4314 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightsChange {
    /// The given rights replace them.
    Replace,
    /// `+`: the given rights are added.
    Add,
    /// `-`: the given rights are removed.
    Remove,
}

/// `SETACL`: changes the rights of an identifier on a mailbox (RFC 4314 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetAclCommand<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// The user, group or `anyone`, in UTF-8. A leading `-` stands for negative rights.
    pub identifier: IString<'i>,
    /// What is done with the rights.
    pub change: RightsChange,
    /// The rights.
    pub rights: Rights<'i>,
}

/// The arguments of `DELETEACL` and `LISTRIGHTS` (RFC 4314 §3.2, §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxIdentifier<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// The user, group or `anyone`, in UTF-8.
    pub identifier: IString<'i>,
}

/// `ACL`: who has which rights on a mailbox (RFC 4314 §3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclResponse<'i> {
    /// The mailbox's name, as received.
    pub mailbox: IString<'i>,
    /// The identifiers and their rights.
    pub entries: LazyList<'i, AclEntry<'i>>,
}

/// An entry of an access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclEntry<'i> {
    /// The user, group or `anyone`, in UTF-8. A leading `-` stands for negative rights.
    pub identifier: IString<'i>,
    /// Its rights.
    pub rights: Rights<'i>,
}

/// `LISTRIGHTS`: the rights that an identifier can be given (RFC 4314 §3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRightsResponse<'i> {
    /// The mailbox's name, as received.
    pub mailbox: IString<'i>,
    /// The identifier.
    pub identifier: IString<'i>,
    /// The rights that the identifier always has.
    pub required: Rights<'i>,
    /// The rights that it can be given. The rights of one element are given or withheld together.
    pub optional: LazyList<'i, Rights<'i>>,
}

/// `MYRIGHTS`: the user's own rights on a mailbox (RFC 4314 §3.8, RFC 8440).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MyRightsResponse<'i> {
    /// The mailbox's name, as received.
    pub mailbox: IString<'i>,
    /// The rights.
    pub rights: Rights<'i>,
}

impl Sealed for Rights<'_> {}

impl Sealed for AclEntry<'_> {}

plain!(RightsChange);

owned_struct!(Rights { 0 });

owned_struct!(SetAclCommand { mailbox, identifier, change, rights });

owned_struct!(MailboxIdentifier { mailbox, identifier });

owned_struct!(AclResponse { mailbox, entries });

owned_struct!(AclEntry { identifier, rights });

owned_struct!(ListRightsResponse { mailbox, identifier, required, optional });

owned_struct!(MyRightsResponse { mailbox, rights });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_lowercase_letters_and_digits() {
        let rights = Rights::new("lrs9").unwrap();
        assert!(rights.contains('r') && rights.contains('9') && !rights.contains('w'));
        assert!(Rights::NONE.iter().next().is_none());
        for bad in ["R", "l r", "+l", "é", "l\r\n"] {
            assert_eq!(Rights::new(bad), Err(InvalidRights), "{bad:?}");
        }
    }
}
