//! FETCH (RFC 9051 §6.4.5): a page of messages at a time, written as the client takes them.
//!
//! A worker brings a page; the loop writes it until so much waits to be sent that the client must catch up. A large
//! body is opened before its message is begun, so that nothing is announced that is not there, and is then read chunk by
//! chunk: whatever is fetched, a session holds little of it.

use std::sync::Arc;

use bumpalo::Bump;
use bytes::Bytes;
use io_mio::Next;
use mailstore::mime::ByteRange;
use mailstore::{Body, UidSet};
use proto_core::Error;
use proto_imap::Access;
use proto_imap::server::{FetchWriter, Reply};
use proto_imap::types::arguments::{Fetch, FetchModifier};
use proto_imap::types::{FetchItem, IString, PlainCode};

use super::content::{self, Contents, Item, Prepared, Wanted};
use super::translate::{self, Recency};
use super::update::new_keywords;
use super::view::Numbering;
use super::{Selected, Session, Turn, Work, bad, done, go_on, mailbox, refuse, refuse_for};

/// Above this much waiting output nothing more is written, in octets.
const HIGH_WATER: usize = 256 * 1024;

/// What is read of a large body at a time, in octets.
const CHUNK: usize = 256 * 1024;

/// A FETCH on its way.
pub(super) struct Fetching {
    reply: Reply,
    wanted: Arc<Wanted>,
    changed_since: Option<u64>,
    /// What no page was asked for yet.
    rest: UidSet,
    page: std::vec::IntoIter<Prepared>,
    message: Option<Writing>,
    numbering: Numbering,
    state: State,
    /// A section could not be decoded.
    undecodable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A worker brings something.
    Waiting,
    /// The client must read first.
    Full,
}

/// A message of which a part was written.
struct Writing {
    prepared: Prepared,
    sequence: u32,
    recency: Recency,
    /// The next item, and the next of the sections among them.
    item: usize,
    section: usize,
    begun: Begun,
    body: Option<Arc<Body>>,
    /// What is still to be read of a body whose size was announced.
    streaming: ByteRange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    Yes,
    /// The octets of a section are being written.
    Body,
}

/// What writing came to.
enum Step {
    /// The message is complete.
    Complete,
    /// The message's octets must be opened.
    Open,
    /// More octets of the body must be read.
    Read,
}

impl Fetching {
    pub(super) const fn resting(&self) -> Next {
        match self.state {
            State::Waiting => Next::Continue,
            State::Full => Next::More,
        }
    }
}

impl Session {
    pub(super) fn fetch(
        &mut self,
        reply: Reply,
        arguments: Fetch<'_>,
        numbering: Numbering,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return bad(reply, "select a mailbox first", turn) };
        let Ok(uids) = selected.resolve(arguments.messages, numbering) else {
            return bad(reply, "there is no message with that number", turn);
        };
        let Some(mut wanted) = Wanted::new(arguments.attributes.iter()) else {
            return refuse(reply, PlainCode::Cannot, "that cannot be fetched here", turn);
        };
        if numbering == Numbering::Uid {
            wanted.add(Item::Uid);
        }
        wanted.sets_seen &= selected.access == Access::ReadWrite;
        let mut changed_since = None;
        for modifier in arguments.modifiers.iter() {
            match modifier {
                FetchModifier::ChangedSince(modseq) => {
                    changed_since = Some(modseq);
                    wanted.add(Item::ModSeq);
                }
                _ => return bad(reply, "there is no such modifier here", turn),
            }
        }
        if wanted.items.contains(&Item::ModSeq)
            && let Err(error) = self.enable_condstore(turn)
        {
            return go_on(Err(error));
        }
        if self.modseqs && (wanted.sets_seen || wanted.items.contains(&Item::Flags)) {
            wanted.add(Item::ModSeq);
        }
        self.work = Work::Fetch(Box::new(Fetching {
            reply,
            wanted: Arc::new(wanted),
            changed_since,
            rest: uids,
            page: Vec::new().into_iter(),
            message: None,
            numbering,
            state: State::Waiting,
            undecodable: false,
        }));
        self.write_fetch(turn)
    }

    /// Writes as much as there is and as the client takes.
    pub(super) fn write_fetch(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let mut arena = Bump::new();
        loop {
            let (Work::Fetch(fetching), Some(selected)) = (&mut self.work, &mut self.selected) else {
                return Next::Close;
            };
            if turn.tx.len() >= HIGH_WATER {
                fetching.state = State::Full;
                return Next::More;
            }
            fetching.state = State::Waiting;
            if let Some(message) = &mut fetching.message {
                match message.write(&fetching.wanted, &mut fetching.undecodable, &arena, turn) {
                    Ok(Step::Complete) => fetching.message = None,
                    Ok(Step::Open) => return self.open_body(turn),
                    Ok(Step::Read) => return self.read_body(turn),
                    Err(error) => return go_on(Err(error)),
                }
                arena.reset();
                continue;
            }
            match fetching.page.next() {
                Some(prepared) => fetching.message = Writing::of(prepared, selected),
                None if fetching.rest.is_empty() => return self.end_fetch(turn),
                None => return self.ask_for_page(turn),
            }
        }
    }

    fn ask_for_page(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let (Work::Fetch(fetching), Some(selected)) = (&mut self.work, &self.selected) else {
            return Next::Close;
        };
        let (mailbox, known) = (selected.mailbox, selected.keywords);
        let rest = std::mem::take(&mut fetching.rest);
        let wanted = Arc::clone(&fetching.wanted);
        let changed_since = fetching.changed_since;
        self.ask(
            turn,
            move |store| {
                let (messages, next) = content::page(store, mailbox, &rest, &wanted, changed_since)?;
                let flags = messages.iter().map(|prepared| &prepared.message.flags);
                let keywords = new_keywords(store, mailbox, known, flags)?;
                Ok((messages, next.map(|next| rest.starting_at(next)).unwrap_or_default(), keywords))
            },
            |session, page, turn| {
                let Work::Fetch(fetching) = &mut session.work else { return Next::Close };
                match page {
                    Ok((messages, rest, keywords)) => {
                        if let (Some(keywords), Some(selected)) = (keywords, &mut session.selected)
                            && let Err(error) = mailbox::put_keywords(selected, &keywords, turn)
                        {
                            return go_on(Err(error));
                        }
                        fetching.page = messages.into_iter();
                        fetching.rest = rest;
                        session.write_fetch(turn)
                    }
                    // The mailbox was deleted: none of its messages is there.
                    Err(mailstore::Error::NotFound(_)) => session.end_fetch(turn),
                    Err(error) => match std::mem::replace(&mut session.work, Work::None) {
                        Work::Fetch(fetching) => refuse_for(fetching.reply, &error, turn),
                        _ => Next::Close,
                    },
                }
            },
        )
    }

    /// Opens a large message before anything of it is announced.
    fn open_body(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let Work::Fetch(fetching) = &self.work else { return Next::Close };
        let Some(content) = fetching.message.as_ref().and_then(|message| message.prepared.streams()) else {
            return Next::Close;
        };
        self.ask(
            turn,
            move |store| store.open_content(content),
            |session, body, turn| {
                let Work::Fetch(fetching) = &mut session.work else { return Next::Close };
                let Some(message) = &mut fetching.message else { return Next::Close };
                match body {
                    Ok(body) => message.body = Some(Arc::new(body)),
                    // It was expunged meanwhile, or cannot be read: its sections are not there.
                    Err(error) => {
                        tracing::info!(session = session.number, %error, "a message could not be opened");
                        message.forget_streams();
                    }
                }
                session.write_fetch(turn)
            },
        )
    }

    fn read_body(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let Work::Fetch(fetching) = &self.work else { return Next::Close };
        let Some(message) = &fetching.message else { return Next::Close };
        let Some(body) = message.body.clone() else { return Next::Close };
        let range = message.streaming;
        let length = usize::try_from(range.len()).unwrap_or(usize::MAX).min(CHUNK);
        self.ask(
            turn,
            move |_| body.read(range.start, length),
            |session, octets, turn| {
                let Work::Fetch(fetching) = &mut session.work else { return Next::Close };
                let Some(message) = &mut fetching.message else { return Next::Close };
                match octets {
                    Ok(octets) if !octets.is_empty() => {
                        message.streaming.start += octets.len() as u64;
                        match turn.machine.body(Bytes::from(octets), turn.tx) {
                            Ok(_) => session.write_fetch(turn),
                            Err(error) => go_on(Err(error)),
                        }
                    }
                    // So many octets were announced: only the end of the session can take that back.
                    _ => {
                        tracing::error!(session = session.number, "a message could not be read");
                        Next::Close
                    }
                }
            },
        )
    }

    fn end_fetch(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        match std::mem::replace(&mut self.work, Work::None) {
            Work::Fetch(fetching) if fetching.undecodable => {
                refuse(fetching.reply, PlainCode::UnknownCte, "a part could not be decoded", turn)
            }
            // Sequence numbers may not change while a FETCH that uses them is answered.
            Work::Fetch(fetching) if fetching.numbering == Numbering::Sequence => {
                done(fetching.reply, "fetched", turn)
            }
            Work::Fetch(fetching) => self.finish(fetching.reply, "fetched", turn),
            _ => Next::Close,
        }
    }
}

impl Writing {
    /// A message that this session knows of; others do not exist here.
    fn of(prepared: Prepared, selected: &mut Selected) -> Option<Self> {
        let uid = prepared.message.uid;
        let sequence = selected.view.sequence(uid)?;
        if prepared.became_seen {
            selected.own.insert(prepared.message.modseq);
        }
        Some(Self {
            sequence,
            recency: selected.recency(uid),
            prepared,
            item: 0,
            section: 0,
            begun: Begun::No,
            body: None,
            streaming: ByteRange::default(),
        })
    }

    fn forget_streams(&mut self) {
        for contents in &mut self.prepared.contents {
            if matches!(contents, Contents::Stream(_)) {
                *contents = Contents::Missing;
            }
        }
    }

    fn write(
        &mut self,
        wanted: &Wanted,
        undecodable: &mut bool,
        arena: &Bump,
        turn: &mut Turn<'_, '_>,
    ) -> Result<Step, Error> {
        if self.body.is_none() && self.prepared.streams().is_some() {
            return Ok(Step::Open);
        }
        if !self.streaming.is_empty() {
            return Ok(Step::Read);
        }
        let mut writer = match self.begun {
            Begun::No => turn.machine.fetch(self.sequence, turn.tx)?,
            Begun::Yes | Begun::Body => turn.machine.resume_fetch(turn.tx)?,
        };
        self.begun = Begun::Yes;
        while let Some(item) = wanted.items.get(self.item) {
            self.item += 1;
            let (Item::Section(named) | Item::BinarySize(named)) = item else {
                self.put(item, arena, &mut writer);
                continue;
            };
            let contents = self.prepared.contents.get(self.section).cloned().unwrap_or(Contents::Missing);
            self.section += 1;
            let Some(section) = named.section() else { continue };
            let origin = named.partial.map(|(offset, _)| offset);
            match contents {
                Contents::Missing => {
                    writer.item(&FetchItem::Section { section, origin, value: None });
                }
                Contents::UnknownEncoding => *undecodable = true,
                Contents::Size(size) => {
                    writer.item(&FetchItem::BinarySize { section, size });
                }
                Contents::Octets(octets) => {
                    writer.body(section, origin, octets);
                }
                Contents::Stream(range) => {
                    self.streaming = range;
                    self.begun = Begun::Body;
                    writer.stream_body(section, origin, range.len());
                    return Ok(Step::Read);
                }
            }
        }
        if self.prepared.became_seen && !wanted.items.contains(&Item::Flags) {
            let flags = translate::flags(arena, &self.prepared.message.flags, self.recency);
            writer.item(&FetchItem::Flags(flags));
        }
        writer.finish();
        Ok(Step::Complete)
    }

    fn put(&self, item: &Item, arena: &Bump, writer: &mut FetchWriter<'_>) {
        let message = &self.prepared.message;
        let item = match item {
            Item::Flags => FetchItem::Flags(translate::flags(arena, &message.flags, self.recency)),
            Item::Uid => FetchItem::Uid(message.uid),
            Item::Size => FetchItem::Size(message.size),
            Item::InternalDate => FetchItem::InternalDate {
                date: translate::date_time(message.internal_date),
                raw: IString::EMPTY,
            },
            Item::Envelope => match &message.envelope {
                Some(envelope) => FetchItem::Envelope(translate::envelope(arena, envelope)),
                None => return,
            },
            Item::Body | Item::BodyStructure => match &message.structure {
                Some(root) if *item == Item::Body => FetchItem::Body(translate::structure(arena, root)),
                Some(root) => FetchItem::BodyStructure(translate::structure(arena, root)),
                None => return,
            },
            Item::ModSeq => FetchItem::ModSeq(message.modseq),
            Item::EmailId => match &message.email_id {
                Some(id) => FetchItem::EmailId(IString::from(id.as_str())),
                None => return,
            },
            Item::ThreadId => FetchItem::ThreadId(None),
            Item::Section(_) | Item::BinarySize(_) => return,
        };
        writer.item(&item);
    }
}
