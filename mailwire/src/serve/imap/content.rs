//! What a FETCH wants of each message, and how a worker brings it: rows, sections, decoded parts.
//!
//! This file knows sections as ranges of a message. A small message comes with its row; of a large one only headers are
//! read here, and its other sections are left to be streamed. It does not know how anything is written.

use bytes::Bytes;
use mailstore::mime::{self, ByteRange, Located, Part, SectionText, decode, header_fields};
use mailstore::{Body, Columns, ContentId, Flags, MailboxId, Message, Store, StoreMode, UidSet};
use proto_imap::types::{FetchAttribute, Partial, Section, SectionItem};

use super::translate;

/// The most messages of one page.
const PAGE: usize = 256;

/// The largest part, in octets, that is decoded for `BINARY`, and the largest header that is read.
const DECODE_LIMIT: u64 = 64 * 1024 * 1024;
const HEADER_LIMIT: u64 = 16 * 1024 * 1024;

/// The most different things that one FETCH may ask for.
pub(super) const ITEM_LIMIT: usize = 256;

/// What a FETCH wants of each message.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) items: Vec<Item>,
    pub(super) sets_seen: bool,
}

/// One thing that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Flags,
    Uid,
    Size,
    InternalDate,
    Envelope,
    Body,
    BodyStructure,
    ModSeq,
    EmailId,
    ThreadId,
    Section(Named),
    BinarySize(Named),
}

/// A section, by the name that it is answered with and by what the store calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    item: SectionItem,
    spec: String,
    path: Vec<u32>,
    text: SectionText,
    pub(super) partial: Option<(u64, u64)>,
}

/// The contents of a section.
#[derive(Debug, Clone)]
pub(super) enum Contents {
    /// There is no such section: NIL.
    Missing,
    /// The encoding of the part cannot be undone.
    UnknownEncoding,
    Octets(Bytes),
    /// These octets of a large message.
    Stream(ByteRange),
    /// For `BINARY.SIZE`.
    Size(u64),
}

/// A message that is ready to be written.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) message: Message,
    /// The flags changed by its being fetched.
    pub(super) became_seen: bool,
    /// For each section item, in order.
    pub(super) contents: Vec<Contents>,
}

impl Prepared {
    /// The message, if octets of it are to be streamed.
    pub(super) fn streams(&self) -> Option<ContentId> {
        let streams = self.contents.iter().any(|contents| matches!(contents, Contents::Stream(_)));
        streams.then_some(self.message.content)
    }
}

impl Named {
    /// The section that the client asked for; `None` for one that cannot be named in an answer.
    fn new(section: Section<'_>, partial: Option<Partial>) -> Option<Self> {
        let (path, text) = translate::section(section);
        let named = Self {
            item: section.item(),
            spec: String::from_utf8_lossy(section.spec()).into_owned(),
            path,
            text,
            partial: partial.map(|partial| (partial.offset, partial.length)),
        };
        named.section()?;
        Some(named)
    }

    /// The name to answer with.
    pub(super) fn section(&self) -> Option<Section<'_>> {
        match self.item {
            SectionItem::Body => Section::body(&self.spec).ok(),
            SectionItem::Binary => Section::binary(&self.spec).ok(),
            SectionItem::Rfc822 => Some(Section::RFC822),
            SectionItem::Rfc822Header => Some(Section::RFC822_HEADER),
            SectionItem::Rfc822Text => Some(Section::RFC822_TEXT),
        }
    }
}

impl Wanted {
    /// What these attributes ask for; `None` for what this server does not have.
    pub(super) fn new<'i>(attributes: impl Iterator<Item = FetchAttribute<'i>>) -> Option<Self> {
        let mut wanted = Self { items: Vec::new(), sets_seen: false };
        for attribute in attributes {
            wanted.sets_seen |= attribute.sets_seen();
            wanted.add(match attribute {
                FetchAttribute::Flags => Item::Flags,
                FetchAttribute::Uid => Item::Uid,
                FetchAttribute::Size => Item::Size,
                FetchAttribute::InternalDate => Item::InternalDate,
                FetchAttribute::Envelope => Item::Envelope,
                FetchAttribute::Body => Item::Body,
                FetchAttribute::BodyStructure => Item::BodyStructure,
                FetchAttribute::ModSeq => Item::ModSeq,
                FetchAttribute::EmailId => Item::EmailId,
                FetchAttribute::ThreadId => Item::ThreadId,
                FetchAttribute::Section { section, partial, .. } => {
                    Item::Section(Named::new(section, partial)?)
                }
                FetchAttribute::BinarySize(section) => Item::BinarySize(Named::new(section, None)?),
                _ => return None,
            });
        }
        (wanted.items.len() <= ITEM_LIMIT).then_some(wanted)
    }

    /// Adds an item, unless it is wanted already.
    pub(super) fn add(&mut self, item: Item) {
        if !self.items.contains(&item) {
            self.items.push(item);
        }
    }

    fn sections(&self) -> impl Iterator<Item = (&Named, Purpose)> {
        self.items.iter().filter_map(|item| match item {
            Item::Section(named) => Some((named, Purpose::Contents)),
            Item::BinarySize(named) => Some((named, Purpose::Size)),
            _ => None,
        })
    }

    fn columns(&self) -> Columns {
        let mut columns = Columns::summary();
        for item in &self.items {
            columns = match item {
                Item::Envelope => columns.with_envelope(),
                Item::EmailId => columns.with_email_id(),
                Item::Body | Item::BodyStructure => columns.with_structure(),
                Item::Section(_) | Item::BinarySize(_) => columns.with_structure().with_small_bodies(),
                _ => columns,
            };
        }
        columns
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Contents,
    Size,
}

/// One page of messages, and where the next one starts.
pub(super) type Page = (Vec<Prepared>, Option<u32>);

/// Brings a page, on a worker.
pub(super) fn page(
    store: &dyn Store,
    mailbox: MailboxId,
    uids: &UidSet,
    wanted: &Wanted,
    changed_since: Option<u64>,
) -> mailstore::Result<Page> {
    let mut page = store.fetch_page(mailbox, uids, wanted.columns(), PAGE)?;
    if let Some(since) = changed_since {
        page.messages.retain(|message| message.modseq > since);
    }
    let mut prepared = Vec::with_capacity(page.messages.len());
    for message in page.messages {
        prepared.push(prepare(store, message, wanted)?);
    }
    if wanted.sets_seen {
        see(store, mailbox, &mut prepared)?;
    }
    Ok((prepared, page.next))
}

/// Sets `\Seen` where it is not.
fn see(store: &dyn Store, mailbox: MailboxId, prepared: &mut [Prepared]) -> mailstore::Result<()> {
    let unseen: UidSet = prepared
        .iter()
        .filter(|one| !one.message.flags.contains(Flags::SEEN))
        .map(|one| one.message.uid)
        .collect();
    if unseen.is_empty() {
        return Ok(());
    }
    let seen = Flags::system(Flags::SEEN);
    let stored = store.store_flags(mailbox, &unseen, StoreMode::Add, &seen, None, usize::MAX)?;
    for changed in stored.changed {
        if let Ok(index) = prepared.binary_search_by_key(&changed.uid, |one| one.message.uid)
            && let Some(one) = prepared.get_mut(index)
        {
            one.message.flags = changed.flags;
            one.message.modseq = changed.modseq;
            one.became_seen = true;
        }
    }
    Ok(())
}

fn prepare(store: &dyn Store, mut message: Message, wanted: &Wanted) -> mailstore::Result<Prepared> {
    let small = message.body.take().map(Bytes::from);
    let mut source = Source { store, content: message.content, small, large: None };
    let mut contents = Vec::new();
    for (named, purpose) in wanted.sections() {
        let root = message.structure.as_ref();
        contents.push(match root {
            None => Contents::Missing,
            Some(root) => match locate(&mut source, root, named, purpose) {
                // It was expunged meanwhile.
                Err(mailstore::Error::NotFound(_)) => Contents::Missing,
                located => located?,
            },
        });
    }
    Ok(Prepared { message, became_seen: false, contents })
}

fn locate(
    source: &mut Source<'_>,
    root: &Part,
    named: &Named,
    purpose: Purpose,
) -> mailstore::Result<Contents> {
    if named.item == SectionItem::Binary && !named.path.is_empty() {
        return decoded(source, root, named, purpose);
    }
    Ok(match mime::section(root, &named.path, &named.text) {
        None => Contents::Missing,
        Some(Located::Range(range)) if purpose == Purpose::Size => Contents::Size(range.len()),
        Some(Located::Range(range)) => source.range(cut(range, named.partial)),
        Some(Located::Fields { header, names, subset }) => {
            let header = source.read(header, HEADER_LIMIT)?;
            Contents::Octets(slice(&Bytes::from(header_fields(&header, names, subset)), named.partial))
        }
    })
}

/// A part with its Content-Transfer-Encoding undone (RFC 3516).
fn decoded(
    source: &mut Source<'_>,
    root: &Part,
    named: &Named,
    purpose: Purpose,
) -> mailstore::Result<Contents> {
    let Some(part) = root.part(&named.path) else { return Ok(Contents::Missing) };
    let identity = matches!(part.encoding.as_str(), "7bit" | "8bit" | "binary") || part.is_multipart();
    if identity {
        return Ok(match purpose {
            Purpose::Size => Contents::Size(part.body.len()),
            Purpose::Contents => source.range(cut(part.body, named.partial)),
        });
    }
    if part.body.len() > DECODE_LIMIT {
        return Ok(Contents::UnknownEncoding);
    }
    let octets = source.read(part.body, DECODE_LIMIT)?;
    Ok(match (decode::transfer_decoded(&part.encoding, &octets), purpose) {
        (None, _) => Contents::UnknownEncoding,
        (Some(decoded), Purpose::Size) => Contents::Size(decoded.len() as u64),
        (Some(decoded), Purpose::Contents) => Contents::Octets(slice(&Bytes::from(decoded), named.partial)),
    })
}

/// Where a message's octets come from.
struct Source<'s> {
    store: &'s dyn Store,
    content: ContentId,
    small: Option<Bytes>,
    large: Option<Body>,
}

impl Source<'_> {
    /// A range: at hand if the message is small.
    fn range(&self, range: ByteRange) -> Contents {
        match &self.small {
            Some(octets) => Contents::Octets(within(octets, range)),
            None if range.is_empty() => Contents::Octets(Bytes::new()),
            None => Contents::Stream(range),
        }
    }

    /// The octets of a range, at most so many.
    fn read(&mut self, range: ByteRange, limit: u64) -> mailstore::Result<Bytes> {
        if let Some(octets) = &self.small {
            return Ok(within(octets, range));
        }
        let length = usize::try_from(range.len().min(limit)).unwrap_or(usize::MAX);
        let body = match self.large.take() {
            Some(body) => body,
            None => self.store.open_content(self.content)?,
        };
        let octets = body.read(range.start, length);
        self.large = Some(body);
        Ok(Bytes::from(octets?))
    }
}

fn within(octets: &Bytes, range: ByteRange) -> Bytes {
    let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(octets.len());
    let (start, end) = (bound(range.start), bound(range.end));
    octets.slice(start..end.max(start))
}

/// The piece of a range that a partial fetch asks for.
fn cut(range: ByteRange, partial: Option<(u64, u64)>) -> ByteRange {
    let Some((offset, length)) = partial else { return range };
    let start = range.start.saturating_add(offset).min(range.end);
    ByteRange { start, end: start.saturating_add(length).min(range.end) }
}

fn slice(octets: &Bytes, partial: Option<(u64, u64)>) -> Bytes {
    within(octets, cut(ByteRange { start: 0, end: octets.len() as u64 }, partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_never_leaves_its_section() {
        let range = ByteRange { start: 10, end: 20 };
        let cut = |offset, length| {
            let piece = cut(range, Some((offset, length)));
            (piece.start, piece.end)
        };
        assert_eq!(cut(0, 5), (10, 15));
        assert_eq!(cut(5, 100), (15, 20));
        assert_eq!(cut(10, 1), (20, 20));
        assert_eq!(cut(u64::MAX, u64::MAX), (20, 20));
    }

    #[test]
    fn what_is_asked_for_twice_is_answered_once() {
        let one = FetchAttribute::read(Section::FULL);
        let wanted = Wanted::new([one, FetchAttribute::Uid, one].into_iter()).unwrap();
        assert_eq!(wanted.items.len(), 2);
        assert!(wanted.sets_seen);
        assert!(Wanted::new([FetchAttribute::Preview].into_iter()).is_none());
    }
}
