//! What a server says of its own limits (LIMITS, RFC 9422).
//!
//! This file knows the three limits and how they are written. What follows from them for recipients is the
//! transaction's part.

use core::fmt;
use core::num::NonZeroU32;

/// The most that a limit on the wire can say: six digits (RFC 9422 §3).
const MOST: u32 = 999_999;

/// The limits of a server; `None` where there is none, or none that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct ServerLimits {
    /// How many MAIL commands a session may have, whatever becomes of them (`MAILMAX`).
    pub mails: Option<NonZeroU32>,
    /// How many RCPT commands a transaction may have (`RCPTMAX`).
    pub recipients: Option<NonZeroU32>,
    /// How many domains the recipients of a transaction may have (`RCPTDOMAINMAX`).
    pub recipient_domains: Option<NonZeroU32>,
}

impl ServerLimits {
    /// No limit.
    pub const NONE: Self = Self { mails: None, recipients: None, recipient_domains: None };

    /// Sets how many MAIL commands a session may have.
    #[must_use]
    pub const fn with_mails(mut self, most: NonZeroU32) -> Self {
        self.mails = Some(most);
        self
    }

    /// Sets how many RCPT commands a transaction may have.
    #[must_use]
    pub const fn with_recipients(mut self, most: NonZeroU32) -> Self {
        self.recipients = Some(most);
        self
    }

    /// Sets how many domains the recipients of a transaction may have.
    #[must_use]
    pub const fn with_recipient_domains(mut self, most: NonZeroU32) -> Self {
        self.recipient_domains = Some(most);
        self
    }

    /// Takes note of one limit; `false` if its name is not known.
    pub(crate) fn note(&mut self, name: &[u8], value: Option<&[u8]>) -> bool {
        let place = if name.eq_ignore_ascii_case(b"MAILMAX") {
            &mut self.mails
        } else if name.eq_ignore_ascii_case(b"RCPTMAX") {
            &mut self.recipients
        } else if name.eq_ignore_ascii_case(b"RCPTDOMAINMAX") {
            &mut self.recipient_domains
        } else {
            return false;
        };
        if let Some(number) = value.and_then(number) {
            // What is announced twice is no less strict for that.
            *place = Some(place.map_or(number, |old| old.min(number)));
        }
        true
    }

    /// Whether there is any that can be announced.
    pub(crate) fn can_be_announced(&self) -> bool {
        self.named().next().is_some()
    }

    /// Those that can be announced, with their names.
    fn named(&self) -> impl Iterator<Item = (&'static str, NonZeroU32)> {
        [("MAILMAX", self.mails), ("RCPTMAX", self.recipients), ("RCPTDOMAINMAX", self.recipient_domains)]
            .into_iter()
            .filter_map(|(name, limit)| limit.filter(|limit| limit.get() <= MOST).map(|limit| (name, limit)))
    }
}

impl fmt::Display for ServerLimits {
    /// As they stand behind LIMITS. Limits beyond six digits cannot be said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named().enumerate().try_for_each(|(place, (name, limit))| {
            write!(f, "{}{name}={limit}", if place == 0 { "" } else { " " })
        })
    }
}

/// A number of 1 to 6 digits that does not begin with 0 (RFC 9422 §3); what is anything else is passed over, as the RFC
/// asks.
fn number(digits: &[u8]) -> Option<NonZeroU32> {
    let good = digits.len() <= 6 && digits.first() != Some(&b'0');
    let number = good.then(|| crate::ascii::number(digits)).flatten()?;
    NonZeroU32::new(u32::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Extensions;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        let of = |parameters: &str| {
            let lines = alloc::format!("250-mx\r\n250 LIMITS {parameters}\r\n");
            let limits = Extensions::read(lines.as_bytes()).limits();
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
    fn what_is_not_known_is_kept() {
        let extensions =
            Extensions::read(b"250-mx\r\n250-LIMITS MAILMAX=3 SIZEMAX=a=b\r\n250 limits FLAG RCPTMAX=x\r\n");
        let others: Vec<_> = extensions.unknown_limits().collect();
        assert_eq!(others, [("SIZEMAX", Some("a=b")), ("FLAG", None)]);
    }

    #[test]
    fn what_is_said_is_read() {
        let some = |number| NonZeroU32::new(number).unwrap();
        let limits = ServerLimits::NONE.with_mails(some(5)).with_recipient_domains(some(999_999));
        assert_eq!(limits.to_string(), "MAILMAX=5 RCPTDOMAINMAX=999999");
        let beyond = ServerLimits::NONE.with_recipients(some(1_000_000));
        assert_eq!((beyond.to_string().as_str(), beyond.can_be_announced()), ("", false));
    }
}
