//! RRVS (RFC 7293): deliver only if the mailbox has had the same owner since a given time, the value of `RRVS=`.

use core::fmt;

use crate::date_time::DateTime;
use crate::syntax::{SyntaxError, SyntaxFault};

/// The value of `RRVS=`: `date-time [ ";" ( "C" / "R" ) ]` (RFC 7293 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValidSince {
    /// The time since which the mailbox must have had the same owner.
    pub since: DateTime,
    /// What a relay does if the next server does not offer RRVS.
    pub relay: Option<RelayAction>,
}

/// What a relay does if the next server does not offer RRVS (RFC 7293 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelayAction {
    /// `C`: it relays without RRVS.
    Continue,
    /// `R`: it rejects the recipient.
    Reject,
}

impl ValidSince {
    /// Parses the value.
    ///
    /// # Errors
    /// The value is malformed.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let (since, relay) = match text.split_once(';') {
            None => (text, None),
            Some((since, "C" | "c")) => (since, Some(RelayAction::Continue)),
            Some((since, "R" | "r")) => (since, Some(RelayAction::Reject)),
            Some(_) => return Err(SyntaxError::in_text(text, 0, SyntaxFault::Value)),
        };
        Ok(Self { since: DateTime::parse(since)?, relay })
    }
}

impl fmt::Display for ValidSince {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.since.fmt(f)?;
        f.write_str(match self.relay {
            None => "",
            Some(RelayAction::Continue) => ";C",
            Some(RelayAction::Reject) => ";R",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn parses_times_with_relay_actions() {
        for (text, relay) in [
            ("2014-04-03T23:01:00Z", None),
            ("2014-04-03T23:01:00Z;C", Some(RelayAction::Continue)),
            ("2014-04-03T23:01:00-07:30;R", Some(RelayAction::Reject)),
        ] {
            let read = ValidSince::parse(text).unwrap();
            assert_eq!((read.relay, read.to_string().as_str()), (relay, text));
        }
        for bad in
            ["", "x", "2014-04-03T23:01:00Z;", "2014-04-03T23:01:00Z;X", "2014-04-03T23:01:00Z;C;R", ";C"]
        {
            assert!(ValidSince::parse(bad).is_err(), "{bad:?}");
        }
    }
}
