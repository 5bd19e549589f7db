//! The names of SMTP's service extensions (RFC 5321 §2.2), and sets of them.

use core::fmt;

/// A service extension that this crate knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Extension {
    /// 8BITMIME (RFC 6152).
    EightBitMime,
    /// AUTH (RFC 4954).
    Auth,
    /// BINARYMIME (RFC 3030).
    BinaryMime,
    /// CHUNKING: BDAT (RFC 3030).
    Chunking,
    /// DSN (RFC 3461).
    Dsn,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    EnhancedStatusCodes,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// PIPELINING (RFC 2920).
    Pipelining,
    /// SIZE (RFC 1870).
    Size,
    /// SMTPUTF8 (RFC 6531).
    SmtpUtf8,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// VRFY.
    Vrfy,
    /// DELIVERBY (RFC 2852).
    DeliverBy,
    /// FUTURERELEASE (RFC 4865).
    FutureRelease,
    /// LIMITS (RFC 9422).
    Limits,
    /// MT-PRIORITY (RFC 6710).
    MtPriority,
    /// REQUIRETLS (RFC 8689).
    RequireTls,
    /// BURL (RFC 4468): message data that the server fetches from an IMAP server.
    Burl,
    /// CONNEG (RFC 4141): content negotiation.
    Conneg,
    /// CONPERM (RFC 4141): permission to convert content.
    ConPerm,
    /// ETRN (RFC 1985).
    Etrn,
    /// NO-SOLICITING (RFC 3865).
    NoSoliciting,
    /// PRDR: a reply for each recipient after the message (draft-hall-prdr).
    Prdr,
    /// RRVS (RFC 7293): deliver only if the mailbox still has the same owner.
    Rrvs,
    /// XCLIENT: a proxy names the client that it acts for (Postfix).
    XClient,
    /// XFORWARD: a proxy names the origin of a message, for logs (Postfix).
    XForward,
}

/// A set of extensions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ExtensionSet(u32);

impl Extension {
    /// Every extension, in the order in which a server lists them.
    pub const ALL: [Self; 27] = [
        Self::Pipelining,
        Self::Size,
        Self::StartTls,
        Self::Auth,
        Self::EnhancedStatusCodes,
        Self::EightBitMime,
        Self::SmtpUtf8,
        Self::Dsn,
        Self::Chunking,
        Self::BinaryMime,
        Self::Vrfy,
        Self::Expn,
        Self::Help,
        Self::DeliverBy,
        Self::FutureRelease,
        Self::Limits,
        Self::MtPriority,
        Self::RequireTls,
        Self::Burl,
        Self::Conneg,
        Self::ConPerm,
        Self::Etrn,
        Self::NoSoliciting,
        Self::Prdr,
        Self::Rrvs,
        Self::XClient,
        Self::XForward,
    ];

    /// Returns the EHLO keyword.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::EightBitMime => "8BITMIME",
            Self::Auth => "AUTH",
            Self::BinaryMime => "BINARYMIME",
            Self::Chunking => "CHUNKING",
            Self::Dsn => "DSN",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::Expn => "EXPN",
            Self::Help => "HELP",
            Self::Pipelining => "PIPELINING",
            Self::Size => "SIZE",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::StartTls => "STARTTLS",
            Self::Vrfy => "VRFY",
            Self::DeliverBy => "DELIVERBY",
            Self::FutureRelease => "FUTURERELEASE",
            Self::Limits => "LIMITS",
            Self::MtPriority => "MT-PRIORITY",
            Self::RequireTls => "REQUIRETLS",
            Self::Burl => "BURL",
            Self::Conneg => "CONNEG",
            Self::ConPerm => "CONPERM",
            Self::Etrn => "ETRN",
            Self::NoSoliciting => "NO-SOLICITING",
            Self::Prdr => "PRDR",
            Self::Rrvs => "RRVS",
            Self::XClient => "XCLIENT",
            Self::XForward => "XFORWARD",
        }
    }

    /// Returns the extension with this keyword, in any letter case.
    #[must_use]
    pub fn from_keyword(keyword: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.keyword().as_bytes().eq_ignore_ascii_case(keyword))
    }
}

impl ExtensionSet {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Returns the set with one more extension.
    #[must_use]
    pub const fn with(self, extension: Extension) -> Self {
        Self(self.0 | 1 << extension as u32)
    }

    /// Returns the set without one extension.
    #[must_use]
    pub const fn without(self, extension: Extension) -> Self {
        Self(self.0 & !(1 << extension as u32))
    }

    /// Whether the set contains the extension.
    #[must_use]
    pub const fn contains(self, extension: Extension) -> bool {
        self.0 & 1 << extension as u32 != 0
    }

    /// Returns the extensions of this set that are not in the other.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the extensions, in the order of [`Extension::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Extension> {
        Extension::ALL.into_iter().filter(move |extension| self.contains(*extension))
    }
}

impl FromIterator<Extension> for ExtensionSet {
    fn from_iter<I: IntoIterator<Item = Extension>>(extensions: I) -> Self {
        extensions.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for ExtensionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_what_was_added() {
        for extension in Extension::ALL {
            let set = ExtensionSet::NONE.with(extension);
            assert!(set.contains(extension));
            assert_eq!(set.iter().collect::<alloc::vec::Vec<_>>(), [extension]);
            assert_eq!(set.without(extension), ExtensionSet::NONE);
            assert_eq!(
                Extension::from_keyword(extension.keyword().to_lowercase().as_bytes()),
                Some(extension)
            );
        }
    }
}
