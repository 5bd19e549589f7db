//! Produces the response to a FETCH on worker threads, in pieces that the session writes.
//!
//! A [`FetchProducer`] reads messages page by page. It opens the content of a message before any of it is sent, sets
//! `\Seen`, and yields each section either whole or as a size followed by the bytes. Memory is bounded, whatever is
//! fetched: one page of rows, a few open files and one batch of pieces. This module does not encode responses.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use io_mio::Slice;
use mailstore::mime::{self, HeaderFilter, Located, Part, TransferDecoder};
use mailstore::{Flags, KeywordsInUse, MailboxId, Message, Store, StoreMode, UidSet};
use proto_imap::types::PlainCode;

use super::content::{Item, Named, Wanted};
use super::paging::Pending;
use super::stream::{Broken, Count, Counted, Sending, Source, Transform, cut};
use super::update::new_keywords;

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
    Section(Contents),
    /// The next bytes of the announced section.
    Bytes(Bytes),
}

/// Whether this FETCH set `\Seen` on a message.
pub(super) type BecameSeen = bool;

/// The content of a section.
#[derive(Debug)]
pub(super) enum Contents {
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
                Piece::Section(Contents::Whole(bytes)) | Piece::Bytes(bytes) => bytes.len(),
                Piece::Message(message, _) => weight(message),
                Piece::Keywords(keywords) => keywords.names.iter().map(|name| name.len() + 32).sum(),
                Piece::Section(_) => 0,
            };
        self.pieces.push_back(piece);
    }
}

fn weight(message: &Message) -> usize {
    message.envelope.as_ref().map_or(0, mime::Envelope::weight)
        + message.structure.as_ref().map_or(0, Part::weight)
        + message.flags.names().map(|name| name.len() + 1).sum::<usize>()
}

/// Produces the response to one FETCH.
#[derive(Debug)]
pub(super) struct Producer {
    mailbox: MailboxId,
    wanted: Arc<Wanted>,
    changed_since: Option<u64>,
    /// The newest keyword that the client has been told about.
    keywords: u32,
    pending: Pending,
    window: UidSet,
    page: VecDeque<Message>,
    ready: VecDeque<Ready>,
    current: Option<Current>,
    /// The response code for the first message that could not be read.
    pub(super) failed: Option<PlainCode>,
}

/// A message that is open and ready to be sent.
#[derive(Debug)]
struct Ready {
    message: Message,
    source: Option<Source>,
    became_seen: BecameSeen,
}

/// The message that is being sent.
#[derive(Debug)]
struct Current {
    message: Arc<Message>,
    source: Source,
    /// The index of the next item.
    item: usize,
    counting: Option<Count>,
    sending: Option<Sending>,
    /// The decoded parts whose size is known.
    decoded: HashMap<Vec<u32>, Result<Counted, Broken>>,
}

impl Producer {
    pub(super) fn new(
        mailbox: MailboxId,
        uids: &UidSet,
        wanted: Arc<Wanted>,
        changed_since: Option<u64>,
        keywords: u32,
    ) -> Self {
        Self {
            mailbox,
            wanted,
            changed_since,
            keywords,
            pending: Pending::new(uids),
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
                if !current.step(&self.wanted, &mut self.failed, &mut batch)? {
                    self.current = None;
                }
            } else if let Some(ready) = self.ready.pop_front() {
                let message = Arc::new(ready.message);
                batch.push(Piece::Message(Arc::clone(&message), ready.became_seen));
                self.current = ready.source.map(|source| Current::new(message, source));
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
        let page = store.fetch_page(self.mailbox, &self.window, self.wanted.columns(), PAGE)?;
        self.window = page.next.map(|next| self.window.starting_at(next)).unwrap_or_default();
        self.page = page.messages.into();
        if let Some(since) = self.changed_since {
            self.page.retain(|message| message.modseq > since);
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
            if self.wanted.has_sections() {
                source = match message.body.take() {
                    Some(body) => Some(Source::Memory(Bytes::from(body))),
                    None => {
                        open += 1;
                        match self.open(store, &message)? {
                            Some(source) => Some(source),
                            None => continue,
                        }
                    }
                };
            }
            self.ready.push_back(Ready { message, source, became_seen: false });
        }
        if self.wanted.sets_seen {
            see(store, self.mailbox, &mut self.ready)?;
        }
        Ok(())
    }

    /// Opens a message. Returns `None` if it was expunged, or if it cannot be read; the latter is recorded in
    /// `failed`.
    fn open(&mut self, store: &dyn Store, message: &Message) -> mailstore::Result<Option<Source>> {
        let opened = store.open_content(message.content).and_then(|body| {
            // A file can exist and still be unreadable.
            body.read(0, 1)?;
            Ok(Source::File(body))
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
        self.failed.get_or_insert(code_of(&error));
        Ok(None)
    }
}

/// Returns UNAVAILABLE if the client may retry, SERVERBUG otherwise.
fn code_of(error: &mailstore::Error) -> PlainCode {
    if error.is_retryable() { PlainCode::Unavailable } else { PlainCode::ServerBug }
}

/// Sets `\Seen` on the messages that do not have it.
fn see(store: &dyn Store, mailbox: MailboxId, ready: &mut VecDeque<Ready>) -> mailstore::Result<()> {
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
enum Plan {
    Contents(Contents),
    Range(mime::ByteRange),
    Counted(mime::ByteRange, Transform),
}

impl Current {
    fn new(message: Arc<Message>, source: Source) -> Self {
        Self { message, source, item: 0, counting: None, sending: None, decoded: HashMap::new() }
    }

    /// Does one step. Returns false once the message is complete.
    fn step(
        &mut self,
        wanted: &Wanted,
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
        let (named, is_size) = loop {
            match wanted.items.get(self.item) {
                None => return Ok(false),
                Some(Item::Section(named)) => break (named, false),
                Some(Item::BinarySize(named)) => break (named, true),
                Some(_) => self.item += 1,
            }
        };
        let contents = match self.section(named, is_size) {
            Ok(Some(contents)) => contents,
            Ok(None) => return Ok(true),
            Err(error) => {
                tracing::error!(uid = self.message.uid, %error, "cannot read a message");
                failed.get_or_insert(code_of(&error));
                (self.counting, self.sending) = (None, None);
                Answer::Contents(Contents::Unreadable)
            }
        };
        self.item += 1;
        match contents {
            Answer::Contents(contents) => batch.push(Piece::Section(contents)),
            Answer::First(size, bytes) => {
                batch.push(Piece::Section(Contents::Announced(size)));
                if !bytes.is_empty() {
                    batch.push(Piece::Bytes(bytes));
                }
            }
        }
        Ok(true)
    }

    /// Starts a section. Returns `None` while its bytes are still being counted.
    fn section(&mut self, named: &Named, is_size: bool) -> mailstore::Result<Option<Answer>> {
        if let Some(counting) = &mut self.counting {
            let Some(counted) = counting.step(&self.source)? else { return Ok(None) };
            self.counting = None;
            if named.is_decoded() {
                self.decoded.insert(named.path.clone(), counted.clone());
            }
            return self.counted(&counted, named, is_size).map(Some);
        }
        if let Some(counted) = self.decoded.get(&named.path).filter(|_| named.is_decoded()).cloned() {
            return self.counted(&counted, named, is_size).map(Some);
        }
        match plan(self.message.structure.as_ref(), named) {
            Plan::Contents(contents) => Ok(Some(Answer::Contents(contents))),
            Plan::Range(range) if is_size => Ok(Some(Answer::Contents(Contents::Size(range.len())))),
            Plan::Range(range) => self.begin(Sending::range(cut(range, named.partial))).map(Some),
            Plan::Counted(range, transform) => {
                self.counting = Some(Count::new(range, transform));
                Ok(None)
            }
        }
    }

    fn counted(
        &mut self,
        counted: &Result<Counted, Broken>,
        named: &Named,
        is_size: bool,
    ) -> mailstore::Result<Answer> {
        Ok(Answer::Contents(match counted {
            Err(Broken) => Contents::UnknownEncoding,
            Ok(counted) if is_size => Contents::Size(counted.size),
            Ok(counted) => match counted.piece(named.partial) {
                Ok(bytes) => Contents::Whole(bytes),
                Err(sending) => return self.begin(sending),
            },
        }))
    }

    /// Reads the first bytes before the size is announced, so that an unreadable message is never started.
    fn begin(&mut self, mut sending: Sending) -> mailstore::Result<Answer> {
        let size = sending.left;
        let bytes = sending.step(&self.source)?;
        if sending.left == 0 {
            return Ok(Answer::Contents(Contents::Whole(bytes)));
        }
        self.sending = Some(sending);
        Ok(Answer::First(size, bytes))
    }
}

/// The start of a section.
enum Answer {
    Contents(Contents),
    /// The size of the section, and its first bytes.
    First(u64, Bytes),
}

fn plan(root: Option<&Part>, named: &Named) -> Plan {
    let Some(root) = root else { return Plan::Contents(Contents::Missing) };
    if named.is_decoded() {
        let Some(part) = root.part(&named.path) else { return Plan::Contents(Contents::Missing) };
        if part.is_multipart() {
            return Plan::Range(part.body);
        }
        return match TransferDecoder::new(&part.encoding) {
            None => Plan::Contents(Contents::UnknownEncoding),
            Some(decoder) if decoder.is_identity() => Plan::Range(part.body),
            Some(decoder) => Plan::Counted(part.body, Transform::Decode(decoder)),
        };
    }
    match mime::section(root, &named.path, &named.text) {
        None => Plan::Contents(Contents::Missing),
        Some(Located::Range(range)) => Plan::Range(range),
        Some(Located::Fields { header, names, subset }) => {
            Plan::Counted(header, Transform::Fields(HeaderFilter::new(names, subset)))
        }
    }
}
