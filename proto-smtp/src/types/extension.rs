//! Service extensions (RFC 5321 §2.2): what a server offers in answer to EHLO.
//!
//! This file knows keywords and their parameters. What an extension changes stands where it is used.

use alloc::borrow::Cow;
use core::fmt;

use proto_mail::{Mechanism, Mechanisms};

use crate::ascii;
use crate::types::Response;

/// A service extension that this crate knows by name.
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
    /// BURL (RFC 4468): a message that stands on an IMAP server.
    Burl,
    /// CONNEG (RFC 4141): content negotiation.
    Conneg,
    /// CONPERM (RFC 4141): permission to convert content.
    ConPerm,
    /// ETRN (RFC 1985).
    Etrn,
    /// NO-SOLICITING (RFC 3865).
    NoSoliciting,
    /// PRDR: a reply for each recipient behind DATA (draft-hall-prdr).
    Prdr,
    /// RRVS (RFC 7293): whether a recipient is still the same.
    Rrvs,
    /// XCLIENT: a proxy says whom it speaks for (Postfix).
    XClient,
    /// XFORWARD: a proxy says where a message came from, for the log (Postfix).
    XForward,
}

/// A set of extensions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ExtensionSet(u32);

/// What a server offers: the answer to EHLO.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Extensions<'i> {
    set: ExtensionSet,
    size: Option<u64>,
    mechanisms: Mechanisms,
    /// The lines as they stand on the wire, codes and CRLF included.
    lines: Cow<'i, [u8]>,
}

impl Extension {
    /// Every extension that is known by name.
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

    /// The EHLO keyword.
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

    /// The extension of that keyword, in any case. Whole words only: `XSTARTTLS` is not STARTTLS.
    #[must_use]
    pub fn from_keyword(keyword: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.keyword().as_bytes().eq_ignore_ascii_case(keyword))
    }
}

impl ExtensionSet {
    /// No extension.
    pub const NONE: Self = Self(0);

    /// This set and one more.
    #[must_use]
    pub const fn with(self, extension: Extension) -> Self {
        Self(self.0 | 1 << extension as u32)
    }

    /// This set without one.
    #[must_use]
    pub const fn without(self, extension: Extension) -> Self {
        Self(self.0 & !(1 << extension as u32))
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn contains(self, extension: Extension) -> bool {
        self.0 & 1 << extension as u32 != 0
    }

    /// Those of this set that are not in the other.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The extensions of the set.
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

impl<'i> Extensions<'i> {
    /// Reads the lines of a positive answer to EHLO: `ehlo-keyword *( SP ehlo-param )` on each but the first.
    /// `lines` are those of the wire; a line that makes no sense costs itself only.
    pub(crate) fn read(lines: &'i [u8]) -> Self {
        let mut extensions = Self { lines: Cow::Borrowed(lines), ..Self::default() };
        for (keyword, parameters) in keywords(lines) {
            // Old servers write "AUTH=LOGIN PLAIN", often beside the right form.
            if let Some(first) = strip_prefix_ignore_case(keyword, b"AUTH=") {
                extensions.add_mechanisms(first, parameters);
                continue;
            }
            let Some(extension) = Extension::from_keyword(keyword) else { continue };
            extensions.set = extensions.set.with(extension);
            match extension {
                Extension::Auth => extensions.add_mechanisms(b"", parameters),
                Extension::Size => extensions.size = words(parameters).next().and_then(ascii::number),
                _ => {}
            }
        }
        extensions
    }

    fn add_mechanisms(&mut self, first: &[u8], rest: &[u8]) {
        self.set = self.set.with(Extension::Auth);
        for name in core::iter::once(first).chain(words(rest)) {
            if let Some(mechanism) = Mechanism::from_name(name) {
                self.mechanisms.insert(mechanism);
            }
        }
    }

    /// Whether an extension is offered.
    #[must_use]
    pub const fn contains(&self, extension: Extension) -> bool {
        self.set.contains(extension)
    }

    /// Every extension that is offered and known by name.
    #[must_use]
    pub const fn set(&self) -> ExtensionSet {
        self.set
    }

    /// The largest message that is taken, in octets; `None` if nothing is said, or SIZE is 0 (RFC 1870 §4).
    #[must_use]
    pub const fn size_limit(&self) -> Option<u64> {
        match self.size {
            Some(0) | None => None,
            limit => limit,
        }
    }

    /// The SASL mechanisms that are offered and known.
    #[must_use]
    pub const fn mechanisms(&self) -> Mechanisms {
        self.mechanisms
    }

    /// Whether the SASL mechanism of this name, in any case, is offered, be it spoken here or not.
    #[must_use]
    pub fn offers(&self, mechanism: &str) -> bool {
        let is_it = |name: &[u8]| name.eq_ignore_ascii_case(mechanism.as_bytes());
        self.keywords().any(|(keyword, rest)| {
            let first = strip_prefix_ignore_case(keyword, b"AUTH=");
            (first.is_some() || keyword.eq_ignore_ascii_case(b"AUTH"))
                && first.into_iter().chain(words(rest)).any(is_it)
        })
    }

    /// Every keyword with its parameters as they stand there, known or not.
    pub fn keywords(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        keywords(&self.lines)
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Extensions<'static> {
        Extensions {
            set: self.set,
            size: self.size,
            mechanisms: self.mechanisms,
            lines: Cow::Owned(self.lines.into_owned()),
        }
    }
}

impl<'i> TryFrom<&'i Response<'_>> for Extensions<'i> {
    type Error = ();

    /// Reads an answer to EHLO that came from the wire.
    fn try_from(response: &'i Response<'_>) -> Result<Self, ()> {
        match response.wire_lines() {
            Some(lines) if response.is_positive() => Ok(Self::read(lines)),
            _ => Err(()),
        }
    }
}

impl fmt::Debug for Extensions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions")
            .field("set", &self.set)
            .field("size", &self.size)
            .field("mechanisms", &self.mechanisms)
            .finish_non_exhaustive()
    }
}

/// The lines behind the first, each as its first word and the rest.
fn keywords(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|&octet| octet == b'\n').skip(1).filter_map(|line| {
        let line = line.get(4..)?.trim_ascii();
        let end = line.iter().position(|&octet| octet == b' ').unwrap_or(line.len());
        let (keyword, rest) = line.split_at_checked(end)?;
        (!keyword.is_empty()).then_some((keyword, rest.trim_ascii()))
    })
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&octet| octet == b' ').filter(|word| !word.is_empty())
}

fn strip_prefix_ignore_case<'t>(text: &'t [u8], prefix: &[u8]) -> Option<&'t [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_whole_words_in_any_case() {
        let extensions = Extensions::read(
            b"250-mx.example STARTTLS\r\n250-XSTARTTLS\r\n250-size 1000 STARTTLS\r\n250-auth=LOGIN\r\n\
              250-Auth plain X-OTHER\r\n250-\r\n250 pipelining\r\n",
        );
        assert!(!extensions.contains(Extension::StartTls));
        assert!(extensions.contains(Extension::Pipelining));
        assert_eq!(extensions.size_limit(), Some(1000));
        assert_eq!(extensions.mechanisms(), Mechanisms::NONE.with(Mechanism::Plain).with(Mechanism::Login));
        assert_eq!(extensions.keywords().count(), 5);
        assert!(extensions.keywords().any(|(keyword, _)| keyword == b"XSTARTTLS"));
    }

    #[test]
    fn no_size_is_no_limit() {
        for lines in [&b"250-x\r\n250 SIZE\r\n"[..], b"250-x\r\n250 SIZE 0\r\n", b"250-x\r\n250 SIZE abc\r\n"]
        {
            let extensions = Extensions::read(lines);
            assert!(extensions.contains(Extension::Size));
            assert_eq!(extensions.size_limit(), None);
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
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
