//! The RCPT command: where a message goes, and which reports are wanted (RFC 5321 §4.1.1.3).
//!
//! This file knows which parameters there are, to which extension each belongs, and the value of `RRVS=` (RFC 7293).
//! Parameters that nobody here knows are kept in [`Rcpt::extra`].

use core::fmt;

use super::{DateTime, Extension, ExtensionSet, Extra, ForwardPath, Notify, OriginalRecipient};
use crate::parse::{SyntaxError, Why};

/// `RCPT TO:<forward-path> [parameters]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rcpt<'i> {
    /// Where the message goes.
    pub to: ForwardPath<'i>,
    /// `NOTIFY=`: which reports are wanted (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// `ORCPT=`: who the recipient was at first (RFC 3461 §4.2).
    pub original: Option<OriginalRecipient<'i>>,
    /// `RRVS=`: since when the mailbox must have had the same owner (RFC 7293).
    pub valid_since: Option<ValidSince>,
    /// `CONNEG`: what the recipient can show is wanted behind the reply (RFC 4141).
    pub conneg: bool,
    /// The parameters that have no field here.
    pub extra: Extra<'i>,
}

/// The value of `RRVS=`: `date-time [ ";" ( "C" / "R" ) ]` (RFC 7293 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValidSince {
    /// The mailbox must have belonged to the same owner without a break since then.
    pub since: DateTime,
    /// What a relay does whose next server does not offer RRVS.
    pub relay: Option<RelayAction>,
}

/// What a relay does with a recipient of RRVS whose next server does not offer it (RFC 7293 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelayAction {
    /// `C`: the message goes on without the question.
    Continue,
    /// `R`: the recipient is refused.
    Reject,
}

/// Every keyword that has a field in [`Rcpt`].
pub(crate) const KNOWN: &[&str] = &["NOTIFY", "ORCPT", "RRVS", "CONNEG"];

impl<'i> Rcpt<'i> {
    /// A recipient, with nothing asked for.
    #[must_use]
    pub fn new(to: impl Into<ForwardPath<'i>>) -> Self {
        Self {
            to: to.into(),
            notify: None,
            original: None,
            valid_since: None,
            conneg: false,
            extra: Extra::none(KNOWN),
        }
    }

    /// Says which reports are wanted.
    #[must_use]
    pub const fn with_notify(mut self, notify: Notify) -> Self {
        self.notify = Some(notify);
        self
    }

    /// Says who the recipient was at first.
    #[must_use]
    pub fn with_original(mut self, original: OriginalRecipient<'i>) -> Self {
        self.original = Some(original);
        self
    }

    /// Says since when the mailbox must have had the same owner.
    #[must_use]
    pub const fn with_valid_since(mut self, valid_since: ValidSince) -> Self {
        self.valid_since = Some(valid_since);
        self
    }

    /// Asks what the recipient can show.
    #[must_use]
    pub const fn with_conneg(mut self) -> Self {
        self.conneg = true;
        self
    }

    /// The extensions that its parameters belong to: a server must have offered them. Those of [`extra`](Self::extra)
    /// are not known.
    #[must_use]
    pub fn extensions(&self) -> ExtensionSet {
        let with = |set: bool, extension| set.then_some(extension);
        [
            with(self.notify.is_some() || self.original.is_some(), Extension::Dsn),
            with(self.valid_since.is_some(), Extension::Rrvs),
            with(self.conneg, Extension::Conneg),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Rcpt<'static> {
        Rcpt {
            to: self.to.into_owned(),
            notify: self.notify,
            original: self.original.map(OriginalRecipient::into_owned),
            valid_since: self.valid_since,
            conneg: self.conneg,
            extra: self.extra.into_owned(),
        }
    }
}

impl ValidSince {
    /// Reads the value.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let (since, relay) = match text.split_once(';') {
            None => (text, None),
            Some((since, "C" | "c")) => (since, Some(RelayAction::Continue)),
            Some((since, "R" | "r")) => (since, Some(RelayAction::Reject)),
            Some(_) => return Err(SyntaxError { at: 0, why: Why::Value }),
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
    fn since_when_and_what_else() {
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
