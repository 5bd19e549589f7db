//! What a FETCH answers, produced on worker threads in pieces that the session writes.
//!
//! A [`Producer`] reads messages page by page, opens their contents before anything of them is answered, sets `\Seen`,
//! and yields each section as bytes, or as a size with the bytes behind it. However many sections are fetched, and
//! however large they are, it holds one page of rows, a few open files, and one batch of pieces. It does not know how
//! anything is written.

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

/// The most messages of one page.
const PAGE: usize = 256;

/// The most messages that are open at the same time. Small messages need not be opened.
const OPEN_LIMIT: usize = 4;

/// A batch of pieces ends once it has this many bytes.
const BATCH: usize = 192 * 1024;

/// One thing to write.
#[derive(Debug)]
pub(super) enum Piece {
    /// The messages behind it have keywords that the session was not told of.
    Keywords(Box<KeywordsInUse>),
    /// A message begins.
    Message(Arc<Message>, BecameSeen),
    /// What the next section of the message is.
    Section(Contents),
    /// The next bytes of the section that was announced.
    Bytes(Bytes),
}

/// Whether the flags of a message changed by its being fetched.
pub(super) type BecameSeen = bool;

/// The contents of a section.
#[derive(Debug)]
pub(super) enum Contents {
    /// There is no such section: NIL.
    Missing,
    /// The encoding of the part is unknown or broken.
    UnknownEncoding,
    /// It could not be read.
    Unreadable,
    Whole(Bytes),
    /// So many bytes follow.
    Announced(u64),
    /// For `BINARY.SIZE`.
    Size(u64),
}

/// Some pieces.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) pieces: VecDeque<Piece>,
    /// There are no more.
    pub(super) complete: bool,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, piece: Piece) {
        // What else a piece takes in memory, roughly.
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

/// Produces the answer of one FETCH.
#[derive(Debug)]
pub(super) struct Producer {
    mailbox: MailboxId,
    wanted: Arc<Wanted>,
    changed_since: Option<u64>,
    /// Up to which number the session was told the mailbox's keywords.
    keywords: u32,
    pending: Pending,
    window: UidSet,
    page: VecDeque<Message>,
    ready: VecDeque<Ready>,
    current: Option<Current>,
    /// Why the first of the messages that could not be read could not.
    pub(super) failed: Option<PlainCode>,
}

/// A message that can be answered.
#[derive(Debug)]
struct Ready {
    message: Message,
    source: Option<Source>,
    became_seen: BecameSeen,
}

/// The message that is being answered.
#[derive(Debug)]
struct Current {
    message: Arc<Message>,
    source: Source,
    /// The next item.
    item: usize,
    counting: Option<Count>,
    sending: Option<Sending>,
    /// The decoded parts that were counted.
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
    /// The store failed, or a section could not be read behind its announcement.
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

    /// Reads the next messages. False: there are none.
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

    /// Opens the next messages and marks them as seen. Those that cannot be opened are left out, and stay as they are.
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

    /// Opens a message. `None`: it was expunged, or it cannot be read, which is remembered.
    fn open(&mut self, store: &dyn Store, message: &Message) -> mailstore::Result<Option<Source>> {
        let opened = store.open_content(message.content).and_then(|body| {
            // A file may be there and not be readable.
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
        tracing::error!(mailbox = self.mailbox.0, uid = message.uid, %error, "a message cannot be opened");
        self.failed.get_or_insert(code_of(&error));
        Ok(None)
    }
}

/// Whether the client may try again later.
fn code_of(error: &mailstore::Error) -> PlainCode {
    if error.is_retryable() { PlainCode::Unavailable } else { PlainCode::ServerBug }
}

/// Sets `\Seen` where it is not.
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

/// What a section is, before any of it is read.
enum Plan {
    Contents(Contents),
    Range(mime::ByteRange),
    Counted(mime::ByteRange, Transform),
}

impl Current {
    fn new(message: Arc<Message>, source: Source) -> Self {
        Self { message, source, item: 0, counting: None, sending: None, decoded: HashMap::new() }
    }

    /// Does a little. False: the message is complete.
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
                tracing::error!(uid = self.message.uid, %error, "a message cannot be read");
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

    /// What a section is; `None`: its bytes are still being counted.
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

    /// Reads the first bytes before they are announced: a message that cannot be read is not begun.
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

/// What is known of a section.
enum Answer {
    Contents(Contents),
    /// Its size, and the first bytes.
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
