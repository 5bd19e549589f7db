//! The RCPT command: where a message goes, and which reports are wanted (RFC 5321 §4.1.1.3).
//!
//! This file knows the parameters of DSN (RFC 3461). Others are kept in [`Rcpt::extra`].

use alloc::borrow::Cow;

use super::{Extra, ForwardPath, Xtext};
use crate::parse::{SyntaxError, Why, parameter};

/// `RCPT TO:<forward-path> [parameters]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rcpt<'i> {
    /// Where the message goes.
    pub to: ForwardPath<'i>,
    /// `NOTIFY=`: which reports are wanted.
    pub notify: Option<Notify>,
    /// `ORCPT=`: who the recipient was at first.
    pub original: Option<OriginalRecipient<'i>>,
    /// The parameters that have no field here.
    pub extra: Extra<'i>,
}

/// The value of `NOTIFY=`: `NEVER`, or one or more of three reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notify(u8);

/// The value of `ORCPT=`: `addr-type ";" xtext`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginalRecipient<'i> {
    kind: Cow<'i, str>,
    address: Xtext<'i>,
}

/// Every keyword that has a field in [`Rcpt`].
pub(crate) const KNOWN: &[&str] = &["NOTIFY", "ORCPT"];

impl<'i> Rcpt<'i> {
    /// A recipient, with nothing asked for.
    #[must_use]
    pub fn new(to: impl Into<ForwardPath<'i>>) -> Self {
        Self { to: to.into(), notify: None, original: None, extra: Extra::none(KNOWN) }
    }

    /// Says which reports are wanted.
    #[must_use]
    pub const fn with_notify(mut self, notify: Notify) -> Self {
        self.notify = Some(notify);
        self
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Rcpt<'static> {
        Rcpt {
            to: self.to.into_owned(),
            notify: self.notify,
            original: self.original.map(OriginalRecipient::into_owned),
            extra: self.extra.into_owned(),
        }
    }
}

impl Notify {
    /// No report at all.
    pub const NEVER: Self = Self(0);
    /// When it was delivered.
    pub const SUCCESS: Self = Self(1);
    /// When it could not be delivered.
    pub const FAILURE: Self = Self(2);
    /// When it takes long.
    pub const DELAY: Self = Self(4);

    /// This and another reason.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a report is wanted for that reason; for [`NEVER`](Self::NEVER), whether none is wanted at all.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        if other.0 == 0 { self.0 == 0 } else { self.0 & other.0 == other.0 }
    }
}

impl<'i> OriginalRecipient<'i> {
    /// Who the recipient was at first: the address type (`rfc822`, `utf-8`) and the address in xtext.
    ///
    /// # Errors
    /// The type is no atom.
    pub fn new(kind: &'i str, address: Xtext<'i>) -> Result<Self, SyntaxError> {
        if parameter::is_keyword(kind.as_bytes()) {
            Ok(Self { kind: Cow::Borrowed(kind), address })
        } else {
            Err(SyntaxError { at: 0, why: Why::Value })
        }
    }

    /// The address type, in any case.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> &Xtext<'i> {
        &self.address
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> OriginalRecipient<'static> {
        OriginalRecipient { kind: Cow::Owned(self.kind.into_owned()), address: self.address.into_owned() }
    }
}
