//! Which rights change flags and messages (RFC 4314 §4, §5.2).

use mailstore::{Flags, Rights};
use proto_imap::Access;

/// The rights to change flags.
pub(super) const FLAG_RIGHTS: Rights = Rights::SEEN.or(Rights::WRITE).or(Rights::DELETE_MESSAGES);

/// The rights of which one makes a mailbox READ-WRITE (RFC 4314 §5.2).
pub(super) const CHANGING_RIGHTS: Rights = FLAG_RIGHTS.or(Rights::INSERT).or(Rights::EXPUNGE);

/// Returns how a mailbox is opened by SELECT, or by EXAMINE, which asks for read-only access.
pub(super) fn access_with(asked: Access, rights: Rights) -> Access {
    if rights.has_any(CHANGING_RIGHTS) { asked } else { Access::ReadOnly }
}

/// Returns the flags that an account with these rights may set (RFC 4314 §4).
pub(super) fn permitted(flags: &Flags, rights: Rights) -> Flags {
    if rights.contains(FLAG_RIGHTS) {
        return flags.clone();
    }
    let bit = |right, bit| if rights.contains(right) { bit } else { 0 };
    let mut bits = bit(Rights::SEEN, Flags::SEEN) | bit(Rights::DELETE_MESSAGES, Flags::DELETED);
    if !rights.contains(Rights::WRITE) {
        return Flags::system(flags.system_bits() & bits);
    }
    bits |= Flags::ANSWERED | Flags::FLAGGED | Flags::DRAFT;
    let mut kept = flags.clone();
    kept.remove(&Flags::system(!bits));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_select_flags() {
        let all = Flags::parse(["\\Seen", "\\Deleted", "\\Draft", "$Forwarded"]).unwrap();
        for (rights, kept) in [
            (FLAG_RIGHTS, &["\\Deleted", "\\Seen", "\\Draft", "$Forwarded"][..]),
            (Rights::WRITE, &["\\Draft", "$Forwarded"]),
            (Rights::SEEN.or(Rights::DELETE_MESSAGES), &["\\Deleted", "\\Seen"]),
            (Rights::WRITE.or(Rights::SEEN), &["\\Seen", "\\Draft", "$Forwarded"]),
            (Rights::READ, &[]),
        ] {
            assert_eq!(permitted(&all, rights).names().collect::<Vec<_>>(), kept, "{rights:?}");
        }
    }
}
