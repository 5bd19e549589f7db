//! What a server says of its own limits (LIMITS, RFC 9422).
//!
//! This file knows the three limits and how they are written. What follows from them for recipients is the
//! transaction's part.

use crate::types::{Extension, Extensions};

/// The limits that a server has announced; `None` where it has said nothing that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ServerLimits {
    /// How many MAIL commands a session may have (`MAILMAX`).
    pub(super) mails: Option<u64>,
    /// How many RCPT commands a transaction may have (`RCPTMAX`).
    pub(super) recipients: Option<u64>,
    /// How many domains the recipients of a transaction may have (`RCPTDOMAINMAX`).
    pub(super) domains: Option<u64>,
}

impl ServerLimits {
    pub(super) fn of(extensions: &Extensions<'_>) -> Self {
        let mut limits = Self::default();
        if !extensions.contains(Extension::Limits) {
            return limits;
        }
        let announced = extensions.keywords().filter(|(keyword, _)| keyword.eq_ignore_ascii_case(b"LIMITS"));
        for (name, number) in announced.flat_map(|(_, parameters)| words(parameters)) {
            // What is announced twice is no less strict for that.
            let strictest =
                |place: &mut Option<u64>| *place = Some(place.map_or(number, |old| old.min(number)));
            if name.eq_ignore_ascii_case(b"MAILMAX") {
                strictest(&mut limits.mails);
            } else if name.eq_ignore_ascii_case(b"RCPTMAX") {
                strictest(&mut limits.recipients);
            } else if name.eq_ignore_ascii_case(b"RCPTDOMAINMAX") {
                strictest(&mut limits.domains);
            }
        }
        limits
    }
}

/// Each `NAME=number`. A number is 1 to 6 digits and does not begin with 0 (RFC 9422 §3); what is anything else is
/// passed over, as the RFC asks.
fn words(parameters: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    parameters.split(|octet| *octet == b' ').filter_map(|word| {
        let equals = word.iter().position(|octet| *octet == b'=')?;
        let (name, number) = word.split_at_checked(equals)?;
        let digits = number.get(1..).filter(|digits| matches!(digits.len(), 1..=6))?;
        let good = digits.iter().all(u8::is_ascii_digit) && digits.first() != Some(&b'0');
        let value = digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit & 15));
        good.then_some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        let of = |parameters: &str| {
            let lines = alloc::format!("250-mx\r\n250 LIMITS {parameters}\r\n");
            ServerLimits::of(&Extensions::read(lines.as_bytes()))
        };
        let limits = |mails, recipients, domains| ServerLimits { mails, recipients, domains };
        assert_eq!(of("RCPTMAX=20 MAILMAX=3 RCPTDOMAINMAX=1"), limits(Some(3), Some(20), Some(1)));
        assert_eq!(of("rcptmax=999999 OTHER=7"), limits(None, Some(999_999), None));
        assert_eq!(of("RCPTMAX=7 RCPTMAX=5 RCPTMAX=9"), limits(None, Some(5), None));
        for unreadable in
            ["", "RCPTMAX", "RCPTMAX=", "RCPTMAX=0", "RCPTMAX=-1", "RCPTMAX=1000000", "RCPTMAX=1x"]
        {
            assert_eq!(of(unreadable), ServerLimits::default(), "{unreadable}");
        }
    }
}
