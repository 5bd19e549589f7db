//! FETCH (RFC 9051 §6.4.5), written as the client takes it.
//!
//! A [`Producer`] brings pieces of the answer from a worker; the loop writes them until so much waits to be sent that
//! the client must catch up. Whatever is fetched, a session holds one batch of pieces and what waits for the socket.

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

/// Above this much waiting output nothing more is written, in bytes.
const HIGH_WATER: usize = 128 * 1024;

/// How long a session writes before the others have their turn.
const TURN: Duration = Duration::from_millis(4);

/// A FETCH on its way.
pub(super) struct Fetching {
    reply: Reply,
    wanted: Arc<Wanted>,
    numbering: Numbering,
    /// None while it is on a worker.
    producer: Option<Box<Producer>>,
    pieces: VecDeque<Piece>,
    /// The producer has no more pieces.
    complete: bool,
    /// The message that is being written; none before the first, and for one that does not exist in this session.
    message: Option<Writing>,
    state: State,
    /// A section could not be decoded.
    undecodable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A worker brings something.
    Waiting,
    /// The client must read first, or other sessions have their turn.
    Full,
}

/// A message of which a part was written.
struct Writing {
    message: Arc<Message>,
    became_seen: BecameSeen,
    sequence: u32,
    recency: Recency,
    /// The next item.
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
            return bad(reply, "there is no message with that number", turn);
        };
        let mut wanted = match Wanted::new(arguments.attributes.iter()) {
            Ok(wanted) => wanted,
            Err(Unwanted::TooMany) => return too_much(reply, "too many items in one FETCH", turn),
            Err(Unwanted::Unsupported) => {
                return refuse(reply, PlainCode::Cannot, "that cannot be fetched here", turn);
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
                _ => return bad(reply, "there is no such modifier here", turn),
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

    /// Writes as much as there is, as the client takes, and as fits a turn.
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
                    // So many bytes were announced: only the end of the session can take that back.
                    Err(error) if fetching.message.as_ref().is_some_and(|message| !message.is_finished) => {
                        tracing::error!(session = session.number, %error, "a message could not be read");
                        Next::Close
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
            // Sequence numbers may not change while a FETCH that uses them is answered.
            (None, Numbering::Sequence) => done(fetching.reply, "fetched", turn),
            (None, Numbering::Uid) => self.finish(fetching.reply, "fetched", turn),
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
    /// A message that this session knows of; others do not exist here.
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
        // A message of which nothing can be said is left out.
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
