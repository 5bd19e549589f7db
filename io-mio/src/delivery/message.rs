//! What is delivered: an envelope, and where the octets come from.
//!
//! It knows what a caller says of a message. It does not know how it is sent.

use std::io::{self, Read, Seek, SeekFrom};

use proto_smtp::{
    client::Transaction,
    types::{BodyType, Mail, Rcpt},
};

use super::DeliveryReport;

/// A message to deliver: its envelope, and its octets, which are read again for each try.
///
/// The octets have CRLF line ends. They go from where the source begins to where it ends; about 384 KiB of them
/// are in memory at most.
#[derive(Debug)]
pub struct Message<S> {
    pub(super) mail: Mail<'static>,
    pub(super) recipients: Vec<Rcpt<'static>>,
    message_id: Option<String>,
    chunking: Chunking,
    pub(super) source: S,
}

/// Whether a message may go as one chunk, by BDAT (RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Chunking {
    /// By DATA; only a message of [`BodyType::BinaryMime`] goes by BDAT, since it can go no other way.
    #[default]
    WhereNeeded,
    /// By BDAT where the server offers CHUNKING: octet by octet as it is, and no dots are looked for.
    WhereOffered,
}

impl<S: Read + Seek> Message<S> {
    /// A message from there, to nobody yet. `mail` says what the octets need (SIZE, 8BITMIME, SMTPUTF8): a server that
    /// does not offer it is not sent the message.
    pub const fn new(mail: Mail<'static>, source: S) -> Self {
        Self { mail, recipients: Vec::new(), message_id: None, chunking: Chunking::WhereNeeded, source }
    }

    /// Adds a recipient. They keep their order.
    #[must_use]
    pub fn recipient(mut self, rcpt: Rcpt<'static>) -> Self {
        self.recipients.push(rcpt);
        self
    }

    /// The identifier that the report is to show.
    #[must_use]
    pub fn message_id(mut self, message_id: Option<String>) -> Self {
        self.message_id = message_id;
        self
    }

    /// Whether it may go as one chunk. [`Chunking::WhereNeeded`] unless set.
    #[must_use]
    pub const fn chunking(mut self, chunking: Chunking) -> Self {
        self.chunking = chunking;
        self
    }

    /// How many octets it has, if that was said (SIZE).
    #[must_use]
    pub const fn octets(&self) -> Option<u64> {
        self.mail.size
    }

    /// A report of this message before it is tried: every recipient waits.
    #[must_use]
    pub fn report(&self) -> DeliveryReport {
        let address =
            |rcpt: &Rcpt<'_>| rcpt.to.address().map_or_else(|| "Postmaster".to_owned(), ToString::to_string);
        DeliveryReport::new(self.message_id.clone(), self.recipients.iter().map(address))
    }

    /// The transaction for these recipients, and how many octets it has at most; the source stands at its beginning.
    pub(super) fn transaction(&mut self, numbers: &[usize]) -> io::Result<(Transaction, u64)> {
        let mut transaction = Transaction::new(self.mail.clone());
        let mut octets = u64::MAX;
        if self.chunking == Chunking::WhereOffered || self.mail.body == Some(BodyType::BinaryMime) {
            octets = self.source.seek(SeekFrom::End(0))?;
            transaction = transaction.in_one_chunk(octets);
        }
        self.source.seek(SeekFrom::Start(0))?;
        let recipients = numbers.iter().filter_map(|number| self.recipients.get(*number));
        let transaction =
            recipients.fold(transaction, |transaction, rcpt| transaction.recipient(rcpt.clone()));
        Ok((transaction, octets))
    }

    /// Whether nothing but recipients asks for SMTPUTF8: the others can do without it.
    pub(super) fn is_ascii_without_recipients(&self) -> bool {
        !self.mail.utf8 && self.mail.from.address().is_none_or(|address| address.is_ascii())
    }
}
