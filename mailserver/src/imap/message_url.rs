//! The message, or the part of one, that an IMAP URL names (RFC 5092), for CATENATE and URLFETCH.
//!
//! A URL names a message of one account. It is resolved on a worker.

use bytes::Bytes;
use mailmime::{ByteRange, HeaderFilter, Part, Section, SectionLocation, SectionText};
use mailstore::{AccountId, Columns, Error, MailboxId, Message, Rights, Store, UidSet};
use proto_imap::types::ImapUrl;

use super::mailbox_access::MailboxAccess;
use super::section_reader::{
    InvalidEncoding, MessageContent, SizeCounter, Transform, TransformedRange, clip,
};

/// The mailbox of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
enum UrlMailbox {
    Named(String),
    /// The selected mailbox, and its owner.
    Selected(AccountId, MailboxId),
}

/// A message, or a part of one, in the mailboxes of an account.
#[derive(Debug, Clone)]
pub(super) struct MessageUrl {
    mailbox: UrlMailbox,
    uid_validity: Option<u32>,
    uid: u32,
    section: Section,
    partial: Option<(u64, Option<u64>)>,
}

/// Why a URL yields no bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UrlError {
    /// It names nothing that this account has.
    Bad,
    /// Its contents are larger than what may be read.
    TooLarge,
}

/// Returns whether a URL's host is this server: by its name, or as this machine.
pub(super) fn is_this_server(host: &str, name: &str) -> bool {
    [name, "localhost", "127.0.0.1", "[::1]"].iter().any(|one| host.eq_ignore_ascii_case(one))
}

impl MessageUrl {
    /// Interprets a URL that is relative to the selected mailbox, if there is one. Returns `None` if it names no message.
    pub(super) fn new(url: ImapUrl, selected: Option<(AccountId, MailboxId)>) -> Option<Self> {
        let mailbox = match (url.mailbox, selected) {
            (name, None) if name.is_empty() => return None,
            (name, Some((owner, selected))) if name.is_empty() => UrlMailbox::Selected(owner, selected),
            (name, _) => UrlMailbox::Named(name),
        };
        let section = match url.section {
            Some(section) => section.parse().ok()?,
            None => Section::default(),
        };
        let (uid_validity, uid, partial) = (url.uid_validity, url.uid?, url.partial);
        Some(Self { mailbox, uid_validity, uid, section, partial })
    }

    /// Opens the contents.
    ///
    /// # Errors
    /// The store failed. The inner error: the URL names nothing that the account has.
    pub(super) fn open(
        &self,
        store: &dyn Store,
        account: AccountId,
    ) -> mailstore::Result<Result<UrlContents, UrlError>> {
        let opened = self.open_message(store, account)?;
        Ok(opened.and_then(|opened| self.stored(opened).ok_or(UrlError::Bad)))
    }

    /// Opens the message.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) fn open_message(
        &self,
        store: &dyn Store,
        account: AccountId,
    ) -> mailstore::Result<Result<OpenMessage, UrlError>> {
        match self.try_open(store, account) {
            Err(Error::NotFound(_) | Error::NoSelect | Error::NoRight) => Ok(Err(UrlError::Bad)),
            opened => opened,
        }
    }

    fn try_open(
        &self,
        store: &dyn Store,
        account: AccountId,
    ) -> mailstore::Result<Result<OpenMessage, UrlError>> {
        let mailbox = match &self.mailbox {
            UrlMailbox::Named(name) => {
                MailboxAccess::new(account).find(store, name, Rights::READ)?.mailbox.id
            }
            UrlMailbox::Selected(owner, mailbox) => {
                MailboxAccess::new(account).check(store, *owner, *mailbox, Rights::READ)?;
                *mailbox
            }
        };
        if let Some(expected) = self.uid_validity
            && store.status(mailbox)?.uid_validity != expected
        {
            return Ok(Err(UrlError::Bad));
        }
        let columns = Columns::summary().with_structure().with_small_bodies();
        let mut page = store.fetch_page(mailbox, &UidSet::one(self.uid), columns, 1)?;
        let Some(mut message) = page.messages.pop() else { return Ok(Err(UrlError::Bad)) };
        let source = match message.body.take() {
            Some(body) => MessageContent::Memory(Bytes::from(body)),
            None => MessageContent::File(store.open_content(message.content)?),
        };
        Ok(Ok(OpenMessage { message, source }))
    }

    /// Returns the part that has the section, or `None` if no part has it.
    pub(super) fn part<'m>(&self, opened: &'m OpenMessage) -> Option<&'m Part> {
        let root = opened.message.structure.as_ref()?;
        root.locate(&self.section.path, &self.section.text)?;
        root.part(&self.section.path)
    }

    /// Returns the contents as they are stored. Returns `None` if the message has no such section.
    pub(super) fn stored(&self, opened: OpenMessage) -> Option<UrlContents> {
        let OpenMessage { message, source } = opened;
        let root = message.structure.as_ref()?;
        let everything = (0, None);
        let (input, skip, left, is_filtered) = match root.locate(&self.section.path, &self.section.text)? {
            SectionLocation::Range(range) => {
                let (offset, length) = self.partial.unwrap_or(everything);
                let range = clip(range, Some((offset, length.unwrap_or(u64::MAX))));
                (TransformedRange::new(range, Transform::None), 0, range.len(), false)
            }
            SectionLocation::Fields { header, names, subset } => {
                let (offset, length) = self.partial.unwrap_or(everything);
                let filter = Transform::Fields(HeaderFilter::new(names, subset));
                let left = length.unwrap_or(u64::MAX).min(header.len());
                (TransformedRange::new(header, filter), offset, left, true)
            }
        };
        Some(UrlContents { source, input, skip, left, is_filtered })
    }

    /// Returns the contents without their content transfer encoding. Only the body of a part has one; other sections, and
    /// a whole message, stay as they are stored. Returns `None` if the message has no such section.
    pub(super) fn decoded(&self, opened: OpenMessage) -> Option<DecodedContents> {
        let root = opened.message.structure.as_ref()?;
        let part = match (&self.section.text, &*self.section.path) {
            (SectionText::Text, []) => Some(root),
            (SectionText::Text, path) => Some(&root.part(path)?.message.as_deref()?.root),
            (SectionText::Whole, path @ [_, ..]) => Some(root.part(path)?),
            _ => None,
        };
        let Some(part) = part else { return self.stored(opened).map(DecodedContents::Stored) };
        match Transform::decoding(part) {
            None => Some(DecodedContents::UnknownEncoding),
            Some(Transform::None) => self.stored(opened).map(DecodedContents::Stored),
            Some(transform) => {
                let input = TransformedRange::new(part.body, transform.clone());
                let counter = SizeCounter::new(part.body, transform);
                let (source, partial) = (opened.source, self.partial);
                Some(DecodedContents::Encoded(Box::new(EncodedContents { source, input, counter, partial })))
            }
        }
    }
}

/// A message that a URL names.
#[derive(Debug)]
pub(super) struct OpenMessage {
    message: Message,
    source: MessageContent,
}

/// The contents of a URL without their content transfer encoding.
#[derive(Debug)]
pub(super) enum DecodedContents {
    /// They have none.
    Stored(UrlContents),
    UnknownEncoding,
    /// They are counted first.
    Encoded(Box<EncodedContents>),
}

/// Encoded contents of a URL while their decoded bytes are counted.
#[derive(Debug)]
pub(super) struct EncodedContents {
    source: MessageContent,
    input: TransformedRange,
    counter: SizeCounter,
    partial: Option<(u64, Option<u64>)>,
}

impl EncodedContents {
    /// Counts a little further. Returns `None` while there is more to count, and then the number of decoded bytes.
    ///
    /// # Errors
    /// The message cannot be read.
    pub(super) fn step(&mut self) -> mailstore::Result<Option<Result<u64, InvalidEncoding>>> {
        let counted = self.counter.step(&self.source)?;
        Ok(counted.map(|counted| counted.map(|counted| counted.size)))
    }

    /// Returns the decoded contents, of which `size` bytes were counted. `;PARTIAL=` selects from the decoded bytes.
    pub(super) fn into_contents(self, size: u64) -> UrlContents {
        let (skip, length) = self.partial.unwrap_or((0, None));
        let range = clip(ByteRange { start: 0, end: size }, Some((skip, length.unwrap_or(u64::MAX))));
        UrlContents { source: self.source, input: self.input, skip, left: range.len(), is_filtered: false }
    }
}

/// The bytes that a URL names.
#[derive(Debug)]
pub(super) struct UrlContents {
    source: MessageContent,
    input: TransformedRange,
    /// The bytes before those that `;PARTIAL=` names.
    skip: u64,
    /// The most bytes that are left.
    left: u64,
    /// Whether header fields are selected, so that there may be fewer bytes.
    is_filtered: bool,
}

impl UrlContents {
    /// Returns the most bytes that are left. A section of header fields may have fewer.
    pub(super) const fn at_most(&self) -> u64 {
        self.left
    }

    /// Returns contents whose size is known: a section of header fields is read into memory. Returns `None` if it has
    /// more than `limit` bytes.
    ///
    /// # Errors
    /// The message cannot be read.
    pub(super) fn measured(mut self, limit: usize) -> mailstore::Result<Option<Self>> {
        if !self.is_filtered {
            return Ok(Some(self));
        }
        let mut bytes = Vec::new();
        while self.step(&mut bytes)? {
            if bytes.len() > limit {
                return Ok(None);
            }
        }
        let range = ByteRange { start: 0, end: bytes.len() as u64 };
        let input = TransformedRange::new(range, Transform::None);
        let source = MessageContent::Memory(Bytes::from(bytes));
        Ok(Some(Self { source, input, skip: 0, left: range.len(), is_filtered: false }))
    }

    /// Appends the next bytes to `out`. Returns false at the end.
    ///
    /// # Errors
    /// The message cannot be read.
    pub(super) fn step(&mut self, out: &mut Vec<u8>) -> mailstore::Result<bool> {
        let start = out.len();
        if self.left == 0 || !matches!(self.input.step(&self.source, out)?, Ok(true)) {
            return Ok(false);
        }
        let added = out.len() - start;
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(added);
        out.drain(start..start + skipped);
        self.skip -= skipped as u64;
        let kept = usize::try_from(self.left).unwrap_or(usize::MAX).min(added - skipped);
        out.truncate(start + kept);
        self.left -= kept as u64;
        Ok(true)
    }
}
