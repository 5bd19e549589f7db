//! Produces the response to a FETCH on worker threads, in pieces that the session writes.
//!
//! A [`FetchProducer`] reads messages page by page. It opens the content of a message before any of it is sent, sets
//! `\Seen`, and yields each section either whole or as a size followed by the bytes. Memory is bounded, whatever is
//! fetched: one page of rows, a few open files and one batch of pieces. This module does not encode responses.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use io_common::Slice;
use mailmime::{HeaderFilter, Part, SectionLocation};
use mailstore::{Flags, KeywordsInUse, MailboxId, Message, Store, StoreMode, UidSet};
use proto_imap::types::PlainCode;

use super::fetch_items::{FetchRequest, Item, RequestedSection};
use super::keywords::new_keywords;
use super::previews;
use super::section_reader::{
    CountedSection, InvalidEncoding, MessageContent, SectionReader, SizeCounter, Transform, clip,
};
use super::uid_windows::PendingUids;

/// The maximum number of messages in one page.
const PAGE: usize = 256;

/// The maximum number of message files open at the same time. Small messages are stored in the database and need no
/// file.
const OPEN_LIMIT: usize = 4;

/// The size at which a batch is complete, in bytes.
const BATCH: usize = 192 * 1024;

/// One piece of the response.
#[derive(Debug)]
pub(super) enum Piece {
    /// The keywords of the mailbox. The following messages have a keyword that the client has not been told about.
    Keywords(Box<KeywordsInUse>),
    /// The start of a message.
    Message(Arc<Message>, BecameSeen),
    /// The next section of the message.
    Section(SectionContent),
    /// The next bytes of the announced section.
    Bytes(Bytes),
}

/// Whether this FETCH set `\Seen` on a message.
pub(super) type BecameSeen = bool;

/// The content of a section.
#[derive(Debug)]
pub(super) enum SectionContent {
    /// The section does not exist: NIL.
    Missing,
    /// The transfer encoding of the part is unknown or invalid.
    UnknownEncoding,
    /// The message could not be read.
    Unreadable,
    Whole(Bytes),
    /// The size of a section whose bytes follow.
    Announced(u64),
    /// The result of `BINARY.SIZE`.
    Size(u64),
}

/// Several pieces of the response.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) pieces: VecDeque<Piece>,
    /// Whether these are the last pieces.
    pub(super) complete: bool,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, piece: Piece) {
        // Other memory that a piece takes, approximately.
        self.bytes += 64
            + match &piece {
                Piece::Section(SectionContent::Whole(bytes)) | Piece::Bytes(bytes) => bytes.len(),
                Piece::Message(message, _) => memory_size(message),
                Piece::Keywords(keywords) => keywords.names.iter().map(|name| name.len() + 32).sum(),
                Piece::Section(_) => 0,
            };
        self.pieces.push_back(piece);
    }
}

fn memory_size(message: &Message) -> usize {
    message.envelope.as_ref().map_or(0, mailmime::Envelope::memory_size)
        + message.structure.as_ref().map_or(0, Part::memory_size)
        + message.flags.names().map(|name| name.len() + 1).sum::<usize>()
}

/// Produces the response to one FETCH.
#[derive(Debug)]
pub(super) struct FetchProducer {
    mailbox: MailboxId,
    request: Arc<FetchRequest>,
    changed_since: Option<u64>,
    /// The newest keyword that the client has been told about.
    keywords: u32,
    pending: PendingUids,
    window: UidSet,
    page: VecDeque<Message>,
    ready: VecDeque<ReadyMessage>,
    current: Option<CurrentMessage>,
    /// The response code for the first message that could not be read.
    pub(super) failed: Option<PlainCode>,
}

/// A message that is open and ready to be sent.
#[derive(Debug)]
struct ReadyMessage {
    message: Message,
    source: Option<MessageContent>,
    became_seen: BecameSeen,
}

/// The message that is being sent.
#[derive(Debug)]
struct CurrentMessage {
    message: Arc<Message>,
    source: MessageContent,
    /// The index of the next item.
    item: usize,
    counting: Option<SizeCounter>,
    sending: Option<SectionReader>,
    /// The decoded parts whose size is known.
    decoded: HashMap<Vec<u32>, Result<CountedSection, InvalidEncoding>>,
}

impl FetchProducer {
    pub(super) fn new(
        mailbox: MailboxId,
        uids: &UidSet,
        request: Arc<FetchRequest>,
        changed_since: Option<u64>,
        keywords: u32,
    ) -> Self {
        Self {
            mailbox,
            request,
            changed_since,
            keywords,
            pending: PendingUids::new(uids),
            window: UidSet::default(),
            page: VecDeque::new(),
            ready: VecDeque::new(),
            current: None,
            failed: None,
        }
    }

    /// Produces pieces until the batch is full, the slice is over, or the FETCH is complete. The batch may be empty.
    ///
    /// # Errors
    /// The store failed, or a section could not be read after its size was announced.
    pub(super) fn produce(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<Batch> {
        let mut batch = Batch::default();
        loop {
            if let Some(current) = &mut self.current {
                if !current.step(&self.request, &mut self.failed, &mut batch)? {
                    self.current = None;
                }
            } else if let Some(ready) = self.ready.pop_front() {
                let message = Arc::new(ready.message);
                batch.push(Piece::Message(Arc::clone(&message), ready.became_seen));
                self.current = ready.source.map(|source| CurrentMessage::new(message, source));
            } else if !self.page.is_empty() {
                self.make_ready(store)?;
            } else if !self.read_page(store, &mut batch)? {
                batch.complete = true;
                return Ok(batch);
            }
            if batch.bytes >= BATCH || slice.is_over() {
                return Ok(batch);
            }
        }
    }

    /// Reads the next page of messages. Returns false if there are none.
    fn read_page(&mut self, store: &dyn Store, batch: &mut Batch) -> mailstore::Result<bool> {
        if self.window.is_empty() {
            if self.pending.is_empty() {
                return Ok(false);
            }
            self.window = self.pending.take_first();
        }
        let limit = self.request.preview.map_or(PAGE, |_| previews::PAGE);
        let page = store.fetch_page(self.mailbox, &self.window, self.request.columns(), limit)?;
        self.window = page.next.map(|next| self.window.starting_at(next)).unwrap_or_default();
        self.page = page.messages.into();
        if let Some(since) = self.changed_since {
            self.page.retain(|message| message.modseq > since);
        }
        if let Some(effort) = self.request.preview {
            let (mailbox, failed) = (self.mailbox, &mut self.failed);
            previews::complete(store, mailbox, &mut self.page, effort, |message, error| {
                tracing::error!(mailbox = mailbox.0, uid = message.uid, %error, "cannot read a message");
                failed.get_or_insert(failure_code(error));
            })?;
        }
        let flags = self.page.iter().map(|message| &message.flags);
        if let Some(keywords) = new_keywords(store, self.mailbox, self.keywords, flags)? {
            self.keywords = keywords.newest;
            batch.push(Piece::Keywords(Box::new(keywords)));
        }
        Ok(true)
    }

    /// Opens the next messages and marks them as seen. Messages that cannot be opened are skipped and stay unchanged.
    fn make_ready(&mut self, store: &dyn Store) -> mailstore::Result<()> {
        let mut open = 0;
        while open < OPEN_LIMIT
            && let Some(mut message) = self.page.pop_front()
        {
            let mut source = None;
            if self.request.has_sections() {
                source = match message.body.take() {
                    Some(body) => Some(MessageContent::Memory(Bytes::from(body))),
                    None => {
                        open += 1;
                        match self.open(store, &message)? {
                            Some(source) => Some(source),
                            None => continue,
                        }
                    }
                };
            }
            self.ready.push_back(ReadyMessage { message, source, became_seen: false });
        }
        if self.request.sets_seen {
            mark_seen(store, self.mailbox, &mut self.ready)?;
        }
        Ok(())
    }

    /// Opens a message. Returns `None` if it was expunged, or if it cannot be read; the latter is recorded in
    /// `failed`.
    fn open(&mut self, store: &dyn Store, message: &Message) -> mailstore::Result<Option<MessageContent>> {
        let opened = store.open_content(message.content).and_then(|body| {
            // A file can exist and still be unreadable.
            body.read(0, 1)?;
            Ok(MessageContent::File(body))
        });
        let error = match opened {
            Ok(source) => return Ok(Some(source)),
            Err(error) => error,
        };
        if matches!(error, mailstore::Error::NotFound(_)) {
            let row = store.fetch_page(
                self.mailbox,
                &UidSet::one(message.uid),
                mailstore::Columns::summary(),
                1,
            )?;
            if row.messages.first().is_none_or(|row| row.content != message.content) {
                return Ok(None);
            }
        }
        tracing::error!(mailbox = self.mailbox.0, uid = message.uid, %error, "cannot open a message");
        self.failed.get_or_insert(failure_code(&error));
        Ok(None)
    }
}

/// Returns UNAVAILABLE if the client may retry, SERVERBUG otherwise.
fn failure_code(error: &mailstore::Error) -> PlainCode {
    if error.is_retryable() { PlainCode::Unavailable } else { PlainCode::ServerBug }
}

/// Sets `\Seen` on the messages that do not have it.
fn mark_seen(
    store: &dyn Store,
    mailbox: MailboxId,
    ready: &mut VecDeque<ReadyMessage>,
) -> mailstore::Result<()> {
    let unseen = ready.iter().filter(|one| !one.message.flags.contains(Flags::SEEN));
    let unseen: UidSet = unseen.map(|one| one.message.uid).collect();
    if unseen.is_empty() {
        return Ok(());
    }
    let seen = Flags::system(Flags::SEEN);
    let stored = store.store_flags(mailbox, &unseen, StoreMode::Add, &seen, None, usize::MAX)?;
    for changed in stored.changed {
        if let Ok(index) = ready.binary_search_by_key(&changed.uid, |one| one.message.uid)
            && let Some(one) = ready.get_mut(index)
        {
            one.message.flags = changed.flags;
            one.message.modseq = changed.modseq;
            one.became_seen = true;
        }
    }
    Ok(())
}

/// How to produce a section.
enum SectionPlan {
    Content(SectionContent),
    Range(mailmime::ByteRange),
    Counted(mailmime::ByteRange, Transform),
}

impl CurrentMessage {
    fn new(message: Arc<Message>, source: MessageContent) -> Self {
        Self { message, source, item: 0, counting: None, sending: None, decoded: HashMap::new() }
    }

    /// Does one step. Returns false once the message is complete.
    fn step(
        &mut self,
        request: &FetchRequest,
        failed: &mut Option<PlainCode>,
        batch: &mut Batch,
    ) -> mailstore::Result<bool> {
        if let Some(sending) = &mut self.sending {
            let bytes = sending.step(&self.source)?;
            if sending.left == 0 {
                self.sending = None;
            }
            if !bytes.is_empty() {
                batch.push(Piece::Bytes(bytes));
            }
            return Ok(true);
        }
        let (section_name, is_size) = loop {
            match request.items.get(self.item) {
                None => return Ok(false),
                Some(Item::Section(section_name)) => break (section_name, false),
                Some(Item::BinarySize(section_name)) => break (section_name, true),
                Some(_) => self.item += 1,
            }
        };
        let content = match self.section(section_name, is_size) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(true),
            Err(error) => {
                tracing::error!(uid = self.message.uid, %error, "cannot read a message");
                failed.get_or_insert(failure_code(&error));
                (self.counting, self.sending) = (None, None);
                SectionStart::Content(SectionContent::Unreadable)
            }
        };
        self.item += 1;
        match content {
            SectionStart::Content(content) => batch.push(Piece::Section(content)),
            SectionStart::First(size, bytes) => {
                batch.push(Piece::Section(SectionContent::Announced(size)));
                if !bytes.is_empty() {
                    batch.push(Piece::Bytes(bytes));
                }
            }
        }
        Ok(true)
    }

    /// Starts a section. Returns `None` while its bytes are still being counted.
    fn section(
        &mut self,
        section_name: &RequestedSection,
        is_size: bool,
    ) -> mailstore::Result<Option<SectionStart>> {
        if let Some(counting) = &mut self.counting {
            let Some(counted) = counting.step(&self.source)? else { return Ok(None) };
            self.counting = None;
            if section_name.is_decoded() {
                self.decoded.insert(section_name.path.clone(), counted.clone());
            }
            return self.counted(&counted, section_name, is_size).map(Some);
        }
        if let Some(counted) =
            self.decoded.get(&section_name.path).filter(|_| section_name.is_decoded()).cloned()
        {
            return self.counted(&counted, section_name, is_size).map(Some);
        }
        match plan(self.message.structure.as_ref(), section_name) {
            SectionPlan::Content(content) => Ok(Some(SectionStart::Content(content))),
            SectionPlan::Range(range) if is_size => {
                Ok(Some(SectionStart::Content(SectionContent::Size(range.len()))))
            }
            SectionPlan::Range(range) => {
                self.begin(SectionReader::range(clip(range, section_name.partial))).map(Some)
            }
            SectionPlan::Counted(range, transform) => {
                self.counting = Some(SizeCounter::new(range, transform));
                Ok(None)
            }
        }
    }

    fn counted(
        &mut self,
        counted: &Result<CountedSection, InvalidEncoding>,
        section_name: &RequestedSection,
        is_size: bool,
    ) -> mailstore::Result<SectionStart> {
        Ok(SectionStart::Content(match counted {
            Err(InvalidEncoding) => SectionContent::UnknownEncoding,
            Ok(counted) if is_size => SectionContent::Size(counted.size),
            Ok(counted) => match counted.piece(section_name.partial) {
                Ok(bytes) => SectionContent::Whole(bytes),
                Err(sending) => return self.begin(sending),
            },
        }))
    }

    /// Reads the first bytes before the size is announced, so that an unreadable message is never started.
    fn begin(&mut self, mut sending: SectionReader) -> mailstore::Result<SectionStart> {
        let size = sending.left;
        let bytes = sending.step(&self.source)?;
        if sending.left == 0 {
            return Ok(SectionStart::Content(SectionContent::Whole(bytes)));
        }
        self.sending = Some(sending);
        Ok(SectionStart::First(size, bytes))
    }
}

/// The start of a section.
enum SectionStart {
    Content(SectionContent),
    /// The size of the section, and its first bytes.
    First(u64, Bytes),
}

fn plan(root: Option<&Part>, section_name: &RequestedSection) -> SectionPlan {
    let Some(root) = root else { return SectionPlan::Content(SectionContent::Missing) };
    if section_name.is_decoded() {
        let Some(part) = root.part(&section_name.path) else {
            return SectionPlan::Content(SectionContent::Missing);
        };
        return match Transform::decoding(part) {
            None => SectionPlan::Content(SectionContent::UnknownEncoding),
            Some(Transform::None) => SectionPlan::Range(part.body),
            Some(transform) => SectionPlan::Counted(part.body, transform),
        };
    }
    match root.locate(&section_name.path, &section_name.text) {
        None => SectionPlan::Content(SectionContent::Missing),
        Some(SectionLocation::Range(range)) => SectionPlan::Range(range),
        Some(SectionLocation::Fields { header, names, subset }) => {
            SectionPlan::Counted(header, Transform::Fields(HeaderFilter::new(names, subset)))
        }
    }
}
