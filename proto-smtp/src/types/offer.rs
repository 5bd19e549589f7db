//! What stands behind the keywords in the answer to EHLO.
//!
//! This file knows the parameters of DELIVERBY (RFC 2852), FUTURERELEASE (RFC 4865), LIMITS (RFC 9422), MT-PRIORITY
//! (RFC 6710), NO-SOLICITING (RFC 3865), BURL (RFC 4468), XCLIENT and XFORWARD, on both sides: a client reads them, a
//! server is set up with some. Those of SIZE and AUTH follow from other settings.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::{Attribute, DateTime, Extension, Extensions, Hold, Interval, ServerLimits, Solicitation};
use crate::ascii;
use crate::parse::{SyntaxError, Why};

/// What a server says of the extensions that it offers, beyond their names.
///
/// ```
/// use proto_smtp::types::{Extension, Offers, Solicitation};
/// let unwanted = Solicitation::parse("org.example:ADV")?.into_owned();
/// let offers = Offers::default().min_by_time(60).no_soliciting(unwanted);
/// let config = proto_smtp::Config::default();
/// let extensions = config.extensions.with(Extension::DeliverBy).with(Extension::NoSoliciting);
/// let config = config.extensions(extensions).offers(offers);
/// # Ok::<(), proto_smtp::parse::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Offers {
    /// LIMITS: what is kept to in any case, and announced where that extension is offered. `RCPTMAX` is at most
    /// [`recipients`](proto_mail::Limits::recipients).
    pub limits: ServerLimits,
    /// DELIVERBY: the fewest seconds within which a message can be asked to be delivered or returned.
    pub min_by_time: Option<u32>,
    /// MT-PRIORITY: by which policy priorities are told apart.
    pub priority_profile: Option<PriorityProfile<'static>>,
    /// FUTURERELEASE: how long a message can be held. Without it that extension is not offered.
    pub future_release: Option<FutureRelease>,
    /// BURL: from where messages are fetched; if nothing is said, from [`Any`](BurlSource::Any).
    pub burl: Vec<BurlSource<'static>>,
    /// NO-SOLICITING: what is not wanted. A message that says to be of these is refused.
    pub no_soliciting: Option<Solicitation<'static>>,
}

/// How long a server holds a message: the parameters of FUTURERELEASE (RFC 4865 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FutureRelease {
    /// For so long at most.
    pub interval: Interval,
    /// Until then at most.
    pub until: DateTime,
}

/// From where a server fetches the messages of BURL: `burl-param` (RFC 4468 §3.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BurlSource<'i> {
    /// `imap`: from any IMAP server, by URLs that authorize their reader.
    Any,
    /// `imap://authority`: from this one, which trusts the server.
    Server(Authority<'i>),
}

/// The `authority` of a URL (RFC 3986 §3.2): a host, perhaps with a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority<'i>(Cow<'i, str>);

/// The name of a policy: `priority-profile` (RFC 6710 §7), such as `MIXER`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PriorityProfile<'i>(Cow<'i, str>);

impl Offers {
    /// Sets what is kept to.
    #[must_use]
    pub const fn limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the fewest seconds within which a message can be asked to be delivered or returned; at most nine digits are
    /// said.
    #[must_use]
    pub const fn min_by_time(mut self, seconds: u32) -> Self {
        self.min_by_time = Some(if seconds > 999_999_999 { 999_999_999 } else { seconds });
        self
    }

    /// Sets by which policy priorities are told apart.
    #[must_use]
    pub fn priority_profile(mut self, profile: PriorityProfile<'static>) -> Self {
        self.priority_profile = Some(profile);
        self
    }

    /// Sets how long a message can be held.
    #[must_use]
    pub const fn future_release(mut self, most: FutureRelease) -> Self {
        self.future_release = Some(most);
        self
    }

    /// Adds a place from where messages are fetched.
    #[must_use]
    pub fn burl(mut self, source: BurlSource<'static>) -> Self {
        self.burl.push(source);
        self
    }

    /// Sets what is not wanted.
    #[must_use]
    pub fn no_soliciting(mut self, unwanted: Solicitation<'static>) -> Self {
        self.no_soliciting = Some(unwanted);
        self
    }
}

impl FutureRelease {
    /// Whether a message can be held so long. The two limits are looked at apart: no machine knows what time it is.
    #[must_use]
    pub fn admits(&self, hold: Hold) -> bool {
        match hold {
            Hold::For(interval) => interval <= self.interval,
            Hold::Until(time) => time.unix_seconds() <= self.until.unix_seconds(),
        }
    }
}

impl<'i> BurlSource<'i> {
    /// Reads `"imap" / ("imap://" authority)`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if text.eq_ignore_ascii_case("imap") {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_at_checked(7).unwrap_or_default();
        if scheme.eq_ignore_ascii_case("imap://") {
            Authority::parse(authority).map(Self::Server)
        } else {
            Err(SyntaxError { at: 0, why: Why::Value })
        }
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> BurlSource<'static> {
        match self {
            Self::Any => BurlSource::Any,
            Self::Server(authority) => BurlSource::Server(authority.into_owned()),
        }
    }
}

impl<'i> Authority<'i> {
    /// Reads an authority: graphic US-ASCII but what ends it (`/`, `?`, `#`).
    ///
    /// # Errors
    /// It is none, or longer than 255 octets.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        let good = text.bytes().all(|octet| octet.is_ascii_graphic() && !b"/?#".contains(&octet));
        if good && (1..=255).contains(&text.len()) {
            Ok(Self(Cow::Borrowed(text)))
        } else {
            Err(SyntaxError { at: 0, why: Why::Value })
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Authority<'static> {
        Authority(Cow::Owned(self.0.into_owned()))
    }
}

impl<'i> PriorityProfile<'i> {
    /// Reads `1*20(ALPHA / DIGIT / "-" / "_" / ".")`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        let good = text.bytes().all(|octet| ascii::is(octet, ascii::ALNUM) || b"-_.".contains(&octet));
        if good && (1..=20).contains(&text.len()) {
            Ok(Self(Cow::Borrowed(text)))
        } else {
            Err(SyntaxError { at: 0, why: Why::Value })
        }
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> PriorityProfile<'static> {
        PriorityProfile(Cow::Owned(self.0.into_owned()))
    }
}

/// What a client reads. A parameter that makes no sense counts as none.
impl Extensions<'_> {
    /// LIMITS: what the server says of its limits.
    #[must_use]
    pub fn limits(&self) -> ServerLimits {
        let mut limits = ServerLimits::NONE;
        for (name, value) in self.limit_words() {
            limits.note(name, value);
        }
        limits
    }

    /// LIMITS: those whose names are not known here, as they stand there.
    pub fn unknown_limits(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.limit_words().filter_map(|(name, value)| {
            let value = match value {
                Some(value) => Some(ascii::printable(value)?),
                None => None,
            };
            let known = ServerLimits::default().note(name, None);
            Some((ascii::printable(name)?, value)).filter(|_| !known)
        })
    }

    fn limit_words(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.words_behind(Extension::Limits).map(|word| {
            match word.iter().position(|octet| *octet == b'=').and_then(|at| word.split_at_checked(at)) {
                Some((name, value)) => (name, value.get(1..)),
                None => (word, None),
            }
        })
    }

    /// DELIVERBY: the fewest seconds within which a message can be asked to be delivered or returned.
    #[must_use]
    pub fn min_by_time(&self) -> Option<u32> {
        let word = self.words_behind(Extension::DeliverBy).next()?;
        // Behind a comma stands what later versions may say.
        let digits = word.split(|octet| *octet == b',').next().filter(|digits| digits.len() <= 9)?;
        u32::try_from(ascii::number(digits)?).ok()
    }

    /// MT-PRIORITY: by which policy priorities are told apart.
    #[must_use]
    pub fn priority_profile(&self) -> Option<PriorityProfile<'_>> {
        PriorityProfile::parse(self.texts_behind(Extension::MtPriority).next()?).ok()
    }

    /// FUTURERELEASE: how long a message can be held.
    #[must_use]
    pub fn future_release(&self) -> Option<FutureRelease> {
        let mut words = self.texts_behind(Extension::FutureRelease);
        let interval = Interval::parse(words.next()?).ok()?;
        Some(FutureRelease { interval, until: DateTime::parse(words.next()?).ok()? })
    }

    /// NO-SOLICITING: what is not wanted.
    #[must_use]
    pub fn no_soliciting(&self) -> Option<Solicitation<'_>> {
        Solicitation::parse(self.texts_behind(Extension::NoSoliciting).next()?).ok()
    }

    /// BURL: from where messages are fetched. Other words are passed over.
    pub fn burl(&self) -> impl Iterator<Item = BurlSource<'_>> {
        self.texts_behind(Extension::Burl).filter_map(|word| BurlSource::parse(word).ok())
    }

    /// XCLIENT: the attributes that may be given. Those that are not known here are passed over.
    pub fn xclient(&self) -> impl Iterator<Item = Attribute> {
        self.texts_behind(Extension::XClient).filter_map(|word| find(&Attribute::XCLIENT, word))
    }

    /// XFORWARD: the attributes that may be given. Those that are not known here are passed over.
    pub fn xforward(&self) -> impl Iterator<Item = Attribute> {
        self.texts_behind(Extension::XForward).filter_map(|word| find(&Attribute::XFORWARD, word))
    }

    /// The words behind every line of a keyword.
    fn words_behind(&self, extension: Extension) -> impl Iterator<Item = &[u8]> {
        self.keywords()
            .filter(move |(keyword, _)| keyword.eq_ignore_ascii_case(extension.keyword().as_bytes()))
            .flat_map(|(_, parameters)| parameters.split(|octet| *octet == b' '))
            .filter(|word| !word.is_empty())
    }

    /// The same, so far as they are printable.
    fn texts_behind(&self, extension: Extension) -> impl Iterator<Item = &str> {
        self.words_behind(extension).filter_map(ascii::printable)
    }
}

fn find(attributes: &[Attribute], name: &str) -> Option<Attribute> {
    attributes.iter().copied().find(|attribute| attribute.name().eq_ignore_ascii_case(name))
}

impl fmt::Display for BurlSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("imap"),
            Self::Server(authority) => write!(f, "imap://{}", authority.as_str()),
        }
    }
}

impl fmt::Display for FutureRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.interval, self.until)
    }
}

impl fmt::Display for PriorityProfile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn what_stands_behind_a_keyword_is_read() {
        let extensions = Extensions::read(
            b"250-mx.example LIMITS MAILMAX=1\r\n250-DELIVERBY 240,NEW\r\n250-MT-PRIORITY MIXER\r\n\
              250-FUTURERELEASE 86400 2030-01-01T00:00:00Z\r\n250-NO-SOLICITING org.example:ADV,b\r\n\
              250-BURL imap http://x imap:// IMAP://imap.example:143 imap://a/b\r\n250-XCLIENT NAME addr OTHER\r\n\
              250-XCLIENT  LOGIN SOURCE\r\n250 XFORWARD SOURCE LOGIN\r\n",
        );
        assert_eq!(extensions.limits(), ServerLimits::NONE);
        assert_eq!(extensions.min_by_time(), Some(240));
        assert_eq!(extensions.priority_profile().unwrap().as_str(), "MIXER");
        let release = extensions.future_release().unwrap();
        assert_eq!((release.interval.seconds(), release.until.unix_seconds()), (86_400, 1_893_456_000));
        assert_eq!(extensions.no_soliciting().unwrap().keywords().count(), 2);
        let sources: Vec<_> = extensions.burl().map(|source| source.to_string()).collect();
        assert_eq!(sources, ["imap", "imap://imap.example:143"]);
        let attributes = [Attribute::Name, Attribute::Addr, Attribute::Login];
        assert_eq!(extensions.xclient().collect::<Vec<_>>(), attributes);
        assert_eq!(extensions.xforward().collect::<Vec<_>>(), [Attribute::Source]);
    }

    #[test]
    fn what_makes_no_sense_is_as_if_it_were_not_there() {
        let extensions = Extensions::read(
            b"250-mx\r\n250-DELIVERBY 1000000000\r\n250-MT-PRIORITY a=b\r\n250-FUTURERELEASE 0 2030-01-01T00:00:00Z\r\n\
              250-NO-SOLICITING 1\r\n250-LIMITS \xff=1\r\n250 XCLIENT \xff\r\n",
        );
        assert_eq!((extensions.min_by_time(), extensions.priority_profile()), (None, None));
        assert_eq!((extensions.future_release(), extensions.no_soliciting()), (None, None));
        assert_eq!((extensions.xclient().count(), extensions.unknown_limits().count()), (0, 0));
        for extension in [Extension::DeliverBy, Extension::FutureRelease, Extension::XClient] {
            assert!(extensions.contains(extension), "it is offered all the same");
        }
    }

    #[test]
    fn a_message_is_held_as_long_as_the_server_says() {
        let date = |text| DateTime::parse(text).unwrap();
        let most =
            FutureRelease { interval: Interval::new(60).unwrap(), until: date("2030-01-01T00:00:00Z") };
        for (hold, admitted) in [
            (Hold::For(Interval::new(60).unwrap()), true),
            (Hold::For(Interval::new(61).unwrap()), false),
            (Hold::Until(date("2030-01-01T01:00:00+01:00")), true),
            (Hold::Until(date("2030-01-01T00:00:01Z")), false),
        ] {
            assert_eq!(most.admits(hold), admitted, "{hold}");
        }
    }
}
