//! LIMITS (RFC 9422): the limits that a server announces.

use core::fmt;
use core::num::NonZeroU32;

/// The greatest limit that can be announced: six digits (RFC 9422 §3).
const MAX: u32 = 999_999;

/// The limits of a server. `None` if a limit is not announced, or is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct ServerLimits {
    /// The most MAIL commands of a session, accepted or not (`MAILMAX`).
    pub mails: Option<NonZeroU32>,
    /// The most RCPT commands of a transaction (`RCPTMAX`).
    pub recipients: Option<NonZeroU32>,
    /// The most domains that the recipients of a transaction have (`RCPTDOMAINMAX`).
    pub recipient_domains: Option<NonZeroU32>,
}

impl ServerLimits {
    /// No limits.
    pub const NONE: Self = Self { mails: None, recipients: None, recipient_domains: None };

    /// Sets the most MAIL commands of a session.
    #[must_use]
    pub const fn with_mails(mut self, most: NonZeroU32) -> Self {
        self.mails = Some(most);
        self
    }

    /// Sets the most RCPT commands of a transaction.
    #[must_use]
    pub const fn with_recipients(mut self, most: NonZeroU32) -> Self {
        self.recipients = Some(most);
        self
    }

    /// Sets the most domains that the recipients of a transaction have.
    #[must_use]
    pub const fn with_recipient_domains(mut self, most: NonZeroU32) -> Self {
        self.recipient_domains = Some(most);
        self
    }

    /// Stores an announced limit. Returns false if its name is not known.
    pub(crate) fn store(&mut self, name: &[u8], value: Option<&[u8]>) -> bool {
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
            // Of a limit that is announced twice the stricter one counts.
            *place = Some(place.map_or(number, |old| old.min(number)));
        }
        true
    }

    /// Whether there is a limit that can be announced.
    pub(crate) fn can_be_announced(&self) -> bool {
        self.named().next().is_some()
    }

    /// The limits that can be announced, with their names.
    fn named(&self) -> impl Iterator<Item = (&'static str, NonZeroU32)> {
        [("MAILMAX", self.mails), ("RCPTMAX", self.recipients), ("RCPTDOMAINMAX", self.recipient_domains)]
            .into_iter()
            .filter_map(|(name, limit)| limit.filter(|limit| limit.get() <= MAX).map(|limit| (name, limit)))
    }
}

impl fmt::Display for ServerLimits {
    /// Writes the EHLO parameters of LIMITS. Limits of more than six digits are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named().enumerate().try_for_each(|(place, (name, limit))| {
            write!(f, "{}{name}={limit}", if place == 0 { "" } else { " " })
        })
    }
}

/// A number of 1 to 6 digits that does not begin with 0 (RFC 9422 §3). The RFC requires clients to ignore other values.
fn number(digits: &[u8]) -> Option<NonZeroU32> {
    let good = digits.len() <= 6 && digits.first() != Some(&b'0');
    let number = good.then(|| crate::ascii::number(digits)).flatten()?;
    NonZeroU32::new(u32::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn writes_limits_of_at_most_six_digits() {
        let some = |number| NonZeroU32::new(number).unwrap();
        let limits = ServerLimits::NONE.with_mails(some(5)).with_recipient_domains(some(999_999));
        assert_eq!(limits.to_string(), "MAILMAX=5 RCPTDOMAINMAX=999999");
        let beyond = ServerLimits::NONE.with_recipients(some(1_000_000));
        assert_eq!((beyond.to_string().as_str(), beyond.can_be_announced()), ("", false));
    }
}
