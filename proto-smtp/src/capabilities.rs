//! Capabilities: the extensions that a server offers in its reply to EHLO, with their parameters (RFC 5321 §4.1.1.1).
//!
//! To read the parameters of another extension, add a method here.

use alloc::borrow::Cow;
use core::fmt;

use proto_mail::{Mechanism, Mechanisms};

use crate::ascii;
use crate::attributes::Attribute;
use crate::burl::BurlSource;
use crate::date_time::DateTime;
use crate::extension::{Extension, ExtensionSet};
use crate::future_release::{FutureRelease, Interval};
use crate::priority::PriorityProfile;
use crate::response::Response;
use crate::server_limits::ServerLimits;
use crate::solicitation::Solicitation;

/// What a server offers: its reply to EHLO.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Capabilities<'i> {
    set: ExtensionSet,
    size: Option<u64>,
    mechanisms: Mechanisms,
    /// The lines as received, with codes and CRLF.
    lines: Cow<'i, [u8]>,
}

impl<'i> Capabilities<'i> {
    /// Parses the lines of a positive reply to EHLO: `ehlo-keyword *( SP ehlo-param )` on each line but the first. A
    /// malformed line is ignored.
    pub(crate) fn parse(lines: &'i [u8]) -> Self {
        let mut capabilities = Self { lines: Cow::Borrowed(lines), ..Self::default() };
        for (keyword, parameters) in keywords(lines) {
            // Old servers write "AUTH=LOGIN PLAIN", often in addition to the standard form.
            if let Some(first) = strip_prefix_ignore_case(keyword, b"AUTH=") {
                capabilities.add_mechanisms(first, parameters);
                continue;
            }
            let Some(extension) = Extension::from_keyword(keyword) else { continue };
            capabilities.set = capabilities.set.with(extension);
            match extension {
                Extension::Auth => capabilities.add_mechanisms(b"", parameters),
                Extension::Size => capabilities.size = words(parameters).next().and_then(ascii::number),
                _ => {}
            }
        }
        capabilities
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

    /// Returns the set of the known extensions that are offered.
    #[must_use]
    pub const fn extensions(&self) -> ExtensionSet {
        self.set
    }

    /// SIZE: the largest message in bytes. `None` if there is no limit, or none is announced (RFC 1870 §4).
    #[must_use]
    pub const fn size_limit(&self) -> Option<u64> {
        match self.size {
            Some(0) | None => None,
            limit => limit,
        }
    }

    /// AUTH: the known SASL mechanisms that are offered.
    #[must_use]
    pub const fn mechanisms(&self) -> Mechanisms {
        self.mechanisms
    }

    /// AUTH: whether a SASL mechanism is offered, by its name in any letter case. It need not be known to this crate.
    #[must_use]
    pub fn offers_mechanism(&self, mechanism: &str) -> bool {
        let matches = |name: &[u8]| name.eq_ignore_ascii_case(mechanism.as_bytes());
        self.keywords().any(|(keyword, rest)| {
            let first = strip_prefix_ignore_case(keyword, b"AUTH=");
            (first.is_some() || keyword.eq_ignore_ascii_case(b"AUTH"))
                && first.into_iter().chain(words(rest)).any(matches)
        })
    }

    /// Iterates over the keywords with their parameters, known or not, as received.
    pub fn keywords(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        keywords(&self.lines)
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Capabilities<'static> {
        Capabilities {
            set: self.set,
            size: self.size,
            mechanisms: self.mechanisms,
            lines: Cow::Owned(self.lines.into_owned()),
        }
    }
}

/// The parameters of the extensions. A malformed parameter counts as missing.
impl Capabilities<'_> {
    /// LIMITS: the announced limits.
    #[must_use]
    pub fn limits(&self) -> ServerLimits {
        let mut limits = ServerLimits::NONE;
        for (name, value) in self.limit_words() {
            limits.store(name, value);
        }
        limits
    }

    /// LIMITS: the limits whose names are not known, as received.
    pub fn unknown_limits(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.limit_words().filter_map(|(name, value)| {
            let value = match value {
                Some(value) => Some(ascii::printable(value)?),
                None => None,
            };
            let known = ServerLimits::default().store(name, None);
            Some((ascii::printable(name)?, value)).filter(|_| !known)
        })
    }

    fn limit_words(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.words_of(Extension::Limits).map(|word| {
            match word.iter().position(|byte| *byte == b'=').and_then(|at| word.split_at_checked(at)) {
                Some((name, value)) => (name, value.get(1..)),
                None => (word, None),
            }
        })
    }

    /// DELIVERBY: the shortest time that a client can request with return, in seconds.
    #[must_use]
    pub fn min_by_time(&self) -> Option<u32> {
        let word = self.words_of(Extension::DeliverBy).next()?;
        // Later versions may add values after a comma.
        let digits = word.split(|byte| *byte == b',').next().filter(|digits| digits.len() <= 9)?;
        u32::try_from(ascii::number(digits)?).ok()
    }

    /// MT-PRIORITY: the priority assignment policy.
    #[must_use]
    pub fn priority_profile(&self) -> Option<PriorityProfile<'_>> {
        PriorityProfile::parse(self.texts_of(Extension::MtPriority).next()?).ok()
    }

    /// FUTURERELEASE: the longest time for which messages are held.
    #[must_use]
    pub fn future_release(&self) -> Option<FutureRelease> {
        let mut words = self.texts_of(Extension::FutureRelease);
        let interval = Interval::parse(words.next()?).ok()?;
        Some(FutureRelease { interval, until: DateTime::parse(words.next()?).ok()? })
    }

    /// NO-SOLICITING: the keywords of messages that the server rejects.
    #[must_use]
    pub fn no_soliciting(&self) -> Option<Solicitation<'_>> {
        Solicitation::parse(self.texts_of(Extension::NoSoliciting).next()?).ok()
    }

    /// BURL: the sources that the server fetches from. Other words are ignored.
    pub fn burl(&self) -> impl Iterator<Item = BurlSource<'_>> {
        self.texts_of(Extension::Burl).filter_map(|word| BurlSource::parse(word).ok())
    }

    /// XCLIENT: the attributes that the server accepts. Unknown ones are ignored.
    pub fn xclient(&self) -> impl Iterator<Item = Attribute> {
        self.texts_of(Extension::XClient).filter_map(|word| find(&Attribute::XCLIENT, word))
    }

    /// XFORWARD: the attributes that the server accepts. Unknown ones are ignored.
    pub fn xforward(&self) -> impl Iterator<Item = Attribute> {
        self.texts_of(Extension::XForward).filter_map(|word| find(&Attribute::XFORWARD, word))
    }

    /// The parameters of all lines with the keyword.
    fn words_of(&self, extension: Extension) -> impl Iterator<Item = &[u8]> {
        self.keywords()
            .filter(move |(keyword, _)| keyword.eq_ignore_ascii_case(extension.keyword().as_bytes()))
            .flat_map(|(_, parameters)| parameters.split(|byte| *byte == b' '))
            .filter(|word| !word.is_empty())
    }

    /// The printable parameters of all lines with the keyword.
    fn texts_of(&self, extension: Extension) -> impl Iterator<Item = &str> {
        self.words_of(extension).filter_map(ascii::printable)
    }
}

impl<'i> TryFrom<&'i Response<'_>> for Capabilities<'i> {
    type Error = ();

    /// Parses a reply to EHLO. Fails if the reply is negative, or was not received.
    fn try_from(response: &'i Response<'_>) -> Result<Self, ()> {
        match response.wire_lines() {
            Some(lines) if response.is_positive() => Ok(Self::parse(lines)),
            _ => Err(()),
        }
    }
}

impl fmt::Debug for Capabilities<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capabilities")
            .field("set", &self.set)
            .field("size", &self.size)
            .field("mechanisms", &self.mechanisms)
            .finish_non_exhaustive()
    }
}

/// The lines after the first, each as its first word and the rest.
fn keywords(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
        let line = line.get(4..)?.trim_ascii();
        let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
        let (keyword, rest) = line.split_at_checked(end)?;
        (!keyword.is_empty()).then_some((keyword, rest.trim_ascii()))
    })
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b' ').filter(|word| !word.is_empty())
}

fn strip_prefix_ignore_case<'t>(text: &'t [u8], prefix: &[u8]) -> Option<&'t [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn find(attributes: &[Attribute], name: &str) -> Option<Attribute> {
    attributes.iter().copied().find(|attribute| attribute.name().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use core::num::NonZeroU32;

    #[test]
    fn matches_keywords_as_whole_words_in_any_letter_case() {
        let capabilities = Capabilities::parse(
            b"250-mx.example STARTTLS\r\n250-XSTARTTLS\r\n250-size 1000 STARTTLS\r\n250-auth=LOGIN\r\n\
              250-Auth plain X-OTHER\r\n250-\r\n250 pipelining\r\n",
        );
        assert!(!capabilities.contains(Extension::StartTls));
        assert!(capabilities.contains(Extension::Pipelining));
        assert_eq!(capabilities.size_limit(), Some(1000));
        assert_eq!(capabilities.mechanisms(), Mechanisms::NONE.with(Mechanism::Plain).with(Mechanism::Login));
        assert_eq!(capabilities.keywords().count(), 5);
        assert!(capabilities.keywords().any(|(keyword, _)| keyword == b"XSTARTTLS"));
    }

    #[test]
    fn has_no_size_limit_without_a_number() {
        for lines in [&b"250-x\r\n250 SIZE\r\n"[..], b"250-x\r\n250 SIZE 0\r\n", b"250-x\r\n250 SIZE abc\r\n"]
        {
            let capabilities = Capabilities::parse(lines);
            assert!(capabilities.contains(Extension::Size));
            assert_eq!(capabilities.size_limit(), None);
        }
    }

    #[test]
    fn parses_parameters_of_keywords() {
        let capabilities = Capabilities::parse(
            b"250-mx.example LIMITS MAILMAX=1\r\n250-DELIVERBY 240,NEW\r\n250-MT-PRIORITY MIXER\r\n\
              250-FUTURERELEASE 86400 2030-01-01T00:00:00Z\r\n250-NO-SOLICITING org.example:ADV,b\r\n\
              250-BURL imap http://x imap:// IMAP://imap.example:143 imap://a/b\r\n250-XCLIENT NAME addr OTHER\r\n\
              250-XCLIENT  LOGIN SOURCE\r\n250 XFORWARD SOURCE LOGIN\r\n",
        );
        assert_eq!(capabilities.limits(), ServerLimits::NONE);
        assert_eq!(capabilities.min_by_time(), Some(240));
        assert_eq!(capabilities.priority_profile().unwrap().as_str(), "MIXER");
        let release = capabilities.future_release().unwrap();
        assert_eq!((release.interval.seconds(), release.until.unix_seconds()), (86_400, 1_893_456_000));
        assert_eq!(capabilities.no_soliciting().unwrap().keywords().count(), 2);
        let sources: Vec<_> = capabilities.burl().map(|source| source.to_string()).collect();
        assert_eq!(sources, ["imap", "imap://imap.example:143"]);
        let attributes = [Attribute::Name, Attribute::Addr, Attribute::Login];
        assert_eq!(capabilities.xclient().collect::<Vec<_>>(), attributes);
        assert_eq!(capabilities.xforward().collect::<Vec<_>>(), [Attribute::Source]);
    }

    #[test]
    fn ignores_malformed_parameters() {
        let capabilities = Capabilities::parse(
            b"250-mx\r\n250-DELIVERBY 1000000000\r\n250-MT-PRIORITY a=b\r\n250-FUTURERELEASE 0 2030-01-01T00:00:00Z\r\n\
              250-NO-SOLICITING 1\r\n250-LIMITS \xff=1\r\n250 XCLIENT \xff\r\n",
        );
        assert_eq!((capabilities.min_by_time(), capabilities.priority_profile()), (None, None));
        assert_eq!((capabilities.future_release(), capabilities.no_soliciting()), (None, None));
        assert_eq!((capabilities.xclient().count(), capabilities.unknown_limits().count()), (0, 0));
        for extension in [Extension::DeliverBy, Extension::FutureRelease, Extension::XClient] {
            assert!(capabilities.contains(extension), "a malformed parameter does not hide the extension");
        }
    }

    #[test]
    fn ignores_malformed_limits() {
        let of = |parameters: &str| {
            let lines = alloc::format!("250-mx\r\n250 LIMITS {parameters}\r\n");
            let limits = Capabilities::parse(lines.as_bytes()).limits();
            [limits.mails, limits.recipients, limits.recipient_domains]
                .map(|limit| limit.map_or(0, NonZeroU32::get))
        };
        assert_eq!(of("RCPTMAX=20 MAILMAX=3 RCPTDOMAINMAX=1"), [3, 20, 1]);
        assert_eq!(of("rcptmax=999999 OTHER=7"), [0, 999_999, 0]);
        assert_eq!(of("RCPTMAX=7 RCPTMAX=5 RCPTMAX=9"), [0, 5, 0]);
        for unreadable in [
            "",
            "RCPTMAX",
            "RCPTMAX=",
            "RCPTMAX=0",
            "RCPTMAX=-1",
            "RCPTMAX=1000000",
            "RCPTMAX=1x",
            "RCPTMAX=012",
        ] {
            assert_eq!(of(unreadable), [0; 3], "{unreadable}");
        }
    }

    #[test]
    fn keeps_unknown_limits() {
        let capabilities = Capabilities::parse(
            b"250-mx\r\n250-LIMITS MAILMAX=3 SIZEMAX=a=b\r\n250 limits FLAG RCPTMAX=x\r\n",
        );
        let others: Vec<_> = capabilities.unknown_limits().collect();
        assert_eq!(others, [("SIZEMAX", Some("a=b")), ("FLAG", None)]);
    }
}
