//! The session between two commands, and the open mail transaction (RFC 5321 §3.3).

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;

use crate::address::Address;
use crate::attributes::Attributes;
use crate::command_order::Phase;

/// What the client has said and begun, between two commands.
#[derive(Debug)]
pub(super) enum Session {
    /// The greeting was a rejection: only QUIT is accepted (RFC 5321 §3.1).
    Rejected,
    /// The client has not sent EHLO.
    Start,
    /// The client has sent EHLO; no transaction is open.
    Ready,
    /// MAIL was accepted.
    Transaction(Transaction),
}

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) options: MailOptions,
    /// The number of accepted recipients.
    pub(super) recipients: usize,
    /// The bytes received by BDAT; `None` before the first chunk.
    pub(super) chunked: Option<u64>,
    pub(super) domains: RecipientDomains,
    /// What XFORWARD has said about this transaction.
    pub(super) forwarded: Option<Box<Attributes<'static>>>,
}

/// The parameters of MAIL that the machine must remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MailOptions {
    pub(super) utf8: bool,
    pub(super) is_binary: bool,
    /// The client requests a reply for each recipient after the message.
    pub(super) prdr: bool,
}

/// The domains of the recipients of a transaction. Nothing is stored if their number is not limited.
#[derive(Debug, Default)]
pub(super) struct RecipientDomains {
    accepted: BTreeSet<String>,
    /// The domain of the recipient that the application is asked about.
    pending: Option<String>,
}

impl RecipientDomains {
    /// Stores the domain of a new recipient. Returns false if it would exceed the limit.
    pub(super) fn propose(&mut self, address: Option<&Address<'_>>, limit: u32) -> bool {
        self.pending = address.map(|address| address.domain().as_str().to_ascii_lowercase());
        let is_new = self.pending.as_ref().is_some_and(|domain| !self.accepted.contains(domain));
        !is_new || self.accepted.len() < usize::try_from(limit).unwrap_or(usize::MAX)
    }
}

impl Session {
    /// The row of the table of allowed commands.
    pub(super) const fn phase(&self) -> Phase {
        match self {
            Self::Rejected | Self::Start => Phase::Start,
            Self::Ready => Phase::Ready,
            Self::Transaction(Transaction { chunked: Some(_), .. }) => Phase::Chunk,
            Self::Transaction(Transaction { recipients: 0, .. }) => Phase::Mail,
            Self::Transaction(_) => Phase::Rcpt,
        }
    }

    pub(super) const fn has_hello(&self) -> bool {
        matches!(self, Self::Ready | Self::Transaction(_))
    }

    pub(super) const fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Transaction(transaction) => Some(transaction),
            Self::Rejected | Self::Start | Self::Ready => None,
        }
    }

    pub(super) const fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Transaction(transaction) => Some(transaction),
            Self::Rejected | Self::Start | Self::Ready => None,
        }
    }

    /// MAIL was accepted.
    pub(super) fn begin_transaction(
        &mut self,
        options: MailOptions,
        forwarded: Option<Box<Attributes<'static>>>,
    ) {
        let domains = RecipientDomains::default();
        *self = Self::Transaction(Transaction { options, recipients: 0, chunked: None, domains, forwarded });
    }

    /// Ends an open transaction. Returns whether there was one.
    pub(super) fn end_transaction(&mut self) -> bool {
        let is_open = self.transaction().is_some();
        if is_open {
            *self = Self::Ready;
        }
        is_open
    }
}

impl Transaction {
    /// RCPT was accepted.
    pub(super) fn add_recipient(&mut self) {
        self.domains.accepted.extend(self.domains.pending.take());
        self.recipients += 1;
    }
}
