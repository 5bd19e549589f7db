//! FETCH (RFC 9051 §6.4.5).
//!
//! A [`FetchProducer`] on a worker yields pieces of the response. The session writes them until so much output is
//! pending that the client must read first. Whatever is fetched, a session holds one batch of pieces and its pending
//! output.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bumpalo::Bump;
use io_mio::{JobStep, Next};
use mailstore::Message;
use proto_imap::Access;
use proto_imap::server::{FetchWriter, Reply};
use proto_imap::types::{FetchCommand, FetchModifier};
use proto_imap::types::{FetchItem, IString, LazyValue, PlainCode};
use proto_mail::Error;

use super::content::{Item, Unwanted, Wanted};
use super::produce::{BecameSeen, Contents, Piece, Producer};
use super::translate::{self, Recency};
use super::view::Numbering;
use super::{Selected, Session, Turn, Work, bad, done, go_on, mailbox, refuse, refuse_for, too_much};

/// Once this many bytes of output are pending, nothing more is written until the client reads.
const HIGH_WATER: usize = 128 * 1024;

/// How long one session writes before it yields to the others.
const TURN: Duration = Duration::from_millis(4);

/// A FETCH whose response is being written.
pub(super) struct Fetching {
    reply: Reply,
    wanted: Arc<Wanted>,
    numbering: Numbering,
    /// `None` while it is on a worker.
    producer: Option<Box<Producer>>,
    pieces: VecDeque<Piece>,
    /// Whether the producer has no more pieces.
    complete: bool,
    /// The message being written. `None` before the first message, and for a message that is not in this session's
    /// view.
    message: Option<Writing>,
    state: State,
    /// Whether a section could not be decoded.
    undecodable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waiting for pieces from a worker.
    Waiting,
    /// Waiting for the client to read, or for other sessions to take their turn.
    Full,
}

/// A partially written message.
struct Writing {
    message: Arc<Message>,
    became_seen: BecameSeen,
    sequence: u32,
    recency: Recency,
    /// The index of the next item.
    item: usize,
    is_finished: bool,
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
        arguments: FetchCommand<'_>,
        numbering: Numbering,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return bad(reply, "select a mailbox first", turn) };
        let Ok(uids) = selected.resolve(arguments.messages, numbering) else {
            return bad(reply, "no message has that number", turn);
        };
        let mut wanted = match Wanted::new(arguments.attributes.iter()) {
            Ok(wanted) => wanted,
            Err(Unwanted::TooMany) => return too_much(reply, "too many items in one FETCH", turn),
            Err(Unwanted::Unsupported) => {
                return refuse(reply, PlainCode::Cannot, "unsupported FETCH item", turn);
            }
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
                _ => return bad(reply, "unsupported modifier", turn),
            }
        }
        let (mailbox, keywords) = (selected.mailbox, selected.keywords);
        if wanted.items.contains(&Item::ModSeq)
            && let Err(error) = self.enable_condstore(turn)
        {
            return go_on(Err(error));
        }
        if self.modseqs && (wanted.sets_seen || wanted.items.contains(&Item::Flags)) {
            wanted.add(Item::ModSeq);
        }
        let wanted = Arc::new(wanted);
        let producer = Producer::new(mailbox, &uids, Arc::clone(&wanted), changed_since, keywords);
        self.work = Work::Fetch(Box::new(Fetching {
            reply,
            wanted,
            numbering,
            producer: Some(Box::new(producer)),
            pieces: VecDeque::new(),
            complete: false,
            message: None,
            state: State::Waiting,
            undecodable: false,
        }));
        self.write_fetch(turn)
    }

    /// Writes pieces until none is left, too much output is pending, or the session has used its time.
    pub(super) fn write_fetch(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let start = Instant::now();
        let mut arena = Bump::new();
        loop {
            let (Work::Fetch(fetching), Some(selected)) = (&mut self.work, &mut self.selected) else {
                return Next::Close;
            };
            if turn.tx.len() >= HIGH_WATER || start.elapsed() >= TURN {
                fetching.state = State::Full;
                return Next::More;
            }
            fetching.state = State::Waiting;
            let Some(piece) = fetching.pieces.pop_front() else {
                return if fetching.complete { self.end_fetch(turn) } else { self.ask_for_pieces(turn) };
            };
            if let Err(error) = fetching.write(piece, selected, &arena, turn) {
                return go_on(Err(error));
            }
            arena.reset();
        }
    }

    fn ask_for_pieces(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let Work::Fetch(fetching) = &mut self.work else { return Next::Close };
        let mut producer = fetching.producer.take();
        self.ask_in_slices(
            turn,
            move |store, slice| {
                let Some(mut going) = producer.take() else { return JobStep::More };
                match going.produce(store, slice) {
                    Ok(batch) if batch.pieces.is_empty() && !batch.complete => {
                        producer = Some(going);
                        JobStep::More
                    }
                    Ok(batch) => JobStep::Done(Ok((going, batch))),
                    Err(error) => JobStep::Done(Err(error)),
                }
            },
            |session, produced, turn| {
                let Work::Fetch(fetching) = &mut session.work else { return Next::Close };
                match produced {
                    Ok((producer, batch)) => {
                        fetching.producer = Some(producer);
                        fetching.pieces = batch.pieces;
                        fetching.complete = batch.complete;
                        session.write_fetch(turn)
                    }
                    // The size was already announced, so that the error can only be signalled by closing the session.
                    Err(error) if fetching.message.as_ref().is_some_and(|message| !message.is_finished) => {
                        tracing::error!(session = session.number, %error, "cannot read a message");
                        Next::Close
                    }
                    // The mailbox was deleted, and its messages with it.
                    Err(mailstore::Error::NotFound(_)) => session.end_fetch(turn),
                    Err(error) => match std::mem::replace(&mut session.work, Work::None) {
                        Work::Fetch(fetching) => refuse_for(fetching.reply, &error, turn),
                        _ => Next::Close,
                    },
                }
            },
        )
    }

    fn end_fetch(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let Work::Fetch(fetching) = std::mem::replace(&mut self.work, Work::None) else {
            return Next::Close;
        };
        let failed = fetching.producer.as_ref().and_then(|producer| producer.failed);
        match (failed, fetching.numbering) {
            (Some(code), _) => refuse(fetching.reply, code, "some messages could not be read", turn),
            _ if fetching.undecodable => {
                refuse(fetching.reply, PlainCode::UnknownCte, "a part could not be decoded", turn)
            }
            // An EXPUNGE would renumber the messages that this FETCH reported (RFC 9051 §7.5.1).
            (None, Numbering::Sequence) => done(fetching.reply, "fetch completed", turn),
            (None, Numbering::Uid) => self.finish(fetching.reply, "fetch completed", turn),
        }
    }
}

impl Fetching {
    fn write(
        &mut self,
        piece: Piece,
        selected: &mut Selected,
        arena: &Bump,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Error> {
        if let Piece::Keywords(keywords) = piece {
            return mailbox::put_keywords(selected, &keywords, turn);
        }
        if let Piece::Message(message, became_seen) = piece {
            self.message = Writing::of(message, became_seen, selected);
            let Some(message) = &mut self.message else { return Ok(()) };
            let writer = turn.machine.fetch(message.sequence, turn.tx)?;
            message.write_items(&self.wanted, arena, writer);
            return Ok(());
        }
        let Some(message) = &mut self.message else { return Ok(()) };
        if let Piece::Bytes(bytes) = piece {
            if turn.machine.write_body(bytes, turn.tx)? == 0 {
                let writer = turn.machine.resume_fetch(turn.tx)?;
                message.write_items(&self.wanted, arena, writer);
            }
            return Ok(());
        }
        let (Some(Item::Section(named) | Item::BinarySize(named)), Piece::Section(contents)) =
            (self.wanted.items.get(message.item), piece)
        else {
            return Err(proto_mail::Misuse::WrongState.into());
        };
        message.item += 1;
        let mut writer = turn.machine.resume_fetch(turn.tx)?;
        if let Some(section) = named.section() {
            let origin = named.partial.map(|(offset, _)| offset);
            match contents {
                Contents::Missing => {
                    writer.item(&FetchItem::Section { section, origin, value: None });
                }
                Contents::UnknownEncoding => self.undecodable = true,
                Contents::Unreadable => {}
                Contents::Size(size) => {
                    writer.item(&FetchItem::BinarySize { section, size });
                }
                Contents::Whole(bytes) => {
                    writer.body(section, origin, bytes);
                }
                Contents::Announced(size) => {
                    writer.stream_body(section, origin, size);
                    return Ok(());
                }
            }
        }
        message.write_items(&self.wanted, arena, writer);
        Ok(())
    }
}

impl Writing {
    /// Starts a message, unless it is not in this session's view.
    fn of(message: Arc<Message>, became_seen: BecameSeen, selected: &mut Selected) -> Option<Self> {
        let uid = message.uid;
        let sequence = selected.view.sequence(uid)?;
        if became_seen {
            selected.own.insert(message.modseq);
        }
        let recency = selected.recency(uid);
        Some(Self { message, became_seen, sequence, recency, item: 0, is_finished: false })
    }

    /// Writes the items up to the next section, or to the end.
    fn write_items(&mut self, wanted: &Wanted, arena: &Bump, mut writer: FetchWriter<'_>) {
        while let Some(item) = wanted.items.get(self.item) {
            if matches!(item, Item::Section(_) | Item::BinarySize(_)) {
                return;
            }
            self.item += 1;
            self.put(item, arena, &mut writer);
        }
        if self.became_seen && !wanted.items.contains(&Item::Flags) {
            let flags = translate::flags(arena, &self.message.flags, self.recency);
            writer.item(&FetchItem::Flags(flags));
        }
        // A response without items is discarded.
        let _ = writer.finish();
        self.is_finished = true;
    }

    fn put(&self, item: &Item, arena: &Bump, writer: &mut FetchWriter<'_>) {
        let message = &self.message;
        let item = match item {
            Item::Flags => FetchItem::Flags(translate::flags(arena, &message.flags, self.recency)),
            Item::Uid => FetchItem::Uid(message.uid),
            Item::Size => FetchItem::Size(message.size),
            Item::InternalDate => FetchItem::InternalDate {
                date: translate::date_time(message.internal_date),
                raw: IString::EMPTY,
            },
            Item::Envelope => match &message.envelope {
                Some(envelope) => {
                    FetchItem::Envelope(LazyValue::new(arena.alloc(translate::envelope(arena, envelope))))
                }
                None => return,
            },
            Item::Body | Item::BodyStructure => match &message.structure {
                Some(root) if *item == Item::Body => {
                    FetchItem::Body(LazyValue::new(arena.alloc(translate::structure(arena, root))))
                }
                Some(root) => {
                    FetchItem::BodyStructure(LazyValue::new(arena.alloc(translate::structure(arena, root))))
                }
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
