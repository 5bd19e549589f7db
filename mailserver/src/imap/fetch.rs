//! FETCH (RFC 9051 §6.4.5).
//!
//! A [`FetchProducer`] on a worker yields pieces of the response. The session writes them until so much output is
//! pending that the client must read first. Whatever is fetched, a session holds one batch of pieces and its pending
//! output.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bumpalo::Bump;
use io_common::{JobStep, Next};
use mailstore::{Message, Rights, UidSet};
use proto_imap::server::{FetchWriter, Reply};
use proto_imap::types::{FetchCommand, FetchModifier};
use proto_imap::types::{FetchItem, IString, LazyValue, NumberKind, PlainCode};
use proto_mail::Error;

use super::changed_messages::ChangedFetch;
use super::changed_since::used_uids;
use super::command_state::{FetchEnd, FetchInProgress, FetchState, MessageWriter};
use super::fetch_items::{FetchRequest, Item, RejectedFetch};
use super::fetch_producer::{BecameSeen, Piece, SectionContent};
use super::output_limits::HIGH_WATER;
use super::translate;
use super::{
    AfterFetch, Continuation, InProgress, Selected, Session, Turn, mailbox, next_or_close, reply_bad,
    reply_limit, reply_no, reply_store_error, reply_unresolved,
};

/// How long one session writes before it yields to the others.
const WRITE_TIME: Duration = Duration::from_millis(4);

impl Session {
    pub(super) fn fetch(
        &mut self,
        reply: Reply,
        arguments: FetchCommand<'_>,
        numbering: NumberKind,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return reply_bad(reply, "select a mailbox first", turn) };
        let mut uids = match selected.resolve(arguments.messages, numbering) {
            Ok(uids) => uids,
            Err(error) => return reply_unresolved(reply, error, turn),
        };
        let mut request = match FetchRequest::new(arguments.attributes.iter()) {
            Ok(request) => request,
            Err(RejectedFetch::TooMany) => return reply_limit(reply, "too many items in one FETCH", turn),
            Err(RejectedFetch::Unsupported) => {
                return reply_no(reply, PlainCode::Cannot, "unsupported FETCH item", turn);
            }
        };
        // UIDFETCH responses name the message by its UID anyway.
        let names_uids = selected.named_by == NumberKind::SequenceNumbers;
        if numbering == NumberKind::Uids && names_uids {
            request.add(Item::Uid);
        }
        request.sets_seen &= selected.check(Rights::SEEN).is_ok();
        let (mut changed_since, mut vanished_among) = (None, None);
        for modifier in arguments.modifiers.iter() {
            match modifier {
                FetchModifier::ChangedSince(modseq) => {
                    changed_since = Some(modseq);
                    request.add(Item::ModSeq);
                }
                // The page is taken first, then CHANGEDSINCE selects messages of it (RFC 9394 §3.4).
                FetchModifier::Partial(page) => uids = selected.page(&uids, page),
                FetchModifier::Vanished => {
                    vanished_among = Some(used_uids(arguments.messages, selected.cursor.uid_next));
                }
                _ => return reply_bad(reply, "unsupported modifier", turn),
            }
        }
        if request.items.contains(&Item::ModSeq)
            && let Err(error) = self.enable_condstore(turn)
        {
            return next_or_close(Err(error));
        }
        if self.condstore && (request.sets_seen || request.items.contains(&Item::Flags)) {
            request.add(Item::ModSeq);
        }
        // A response that reports `\Seen` (RFC 7162 §3.2.4).
        if self.condstore && request.sets_seen && names_uids {
            request.add(Item::Uid);
        }
        let end = FetchEnd::Reply(reply);
        if let Some(since) = changed_since {
            return self.fetch_changed(ChangedFetch { end, request, uids, since, vanished_among }, turn);
        }
        let Some(selected) = &self.selected else { return Next::Close };
        self.in_progress =
            InProgress::Fetch(FetchInProgress::new(end, (selected.fetch_source(), &uids), request, None));
        self.write_fetch(turn)
    }

    /// Returns what the client has asked for of new messages (RFC 5465 §5.2), then calls `then`.
    pub(super) fn fetch_new(
        &mut self,
        uids: UidSet,
        request: &FetchRequest,
        then: Continuation,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return then(self, turn) };
        let mut request = request.clone();
        if self.condstore && request.items.contains(&Item::Flags) {
            request.add(Item::ModSeq);
        }
        let before = std::mem::replace(&mut self.in_progress, InProgress::None);
        self.after_fetch = Some(Box::new(AfterFetch { before, then }));
        let of = selected.fetch_source();
        self.in_progress =
            InProgress::Fetch(FetchInProgress::new(FetchEnd::NewMessages, (of, &uids), request, None));
        self.write_fetch(turn)
    }

    /// Writes pieces until none is left, too much output is pending, or the session has used its time.
    pub(super) fn write_fetch(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let start = Instant::now();
        let mut arena = Bump::new();
        loop {
            let (InProgress::Fetch(fetch), Some(selected)) = (&mut self.in_progress, &mut self.selected)
            else {
                return Next::Close;
            };
            if turn.tx.len() >= HIGH_WATER || start.elapsed() >= WRITE_TIME {
                fetch.state = FetchState::Full;
                return Next::More;
            }
            fetch.state = FetchState::Waiting;
            let Some(piece) = fetch.pieces.pop_front() else {
                return if fetch.complete { self.end_fetch(turn) } else { self.request_pieces(turn) };
            };
            if let Err(error) = fetch.write(piece, selected, &arena, turn) {
                return next_or_close(Err(error));
            }
            arena.reset();
        }
    }

    fn request_pieces(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Fetch(fetch) = &mut self.in_progress else { return Next::Close };
        let mut producer = fetch.producer.take();
        self.run_in_slices(
            turn,
            move |store, slice| {
                let Some(mut running) = producer.take() else { return JobStep::More };
                match running.produce(store, slice) {
                    Ok(batch) if batch.pieces.is_empty() && !batch.complete => {
                        producer = Some(running);
                        JobStep::More
                    }
                    Ok(batch) => JobStep::Done(Ok((running, batch))),
                    Err(error) => JobStep::Done(Err(error)),
                }
            },
            |session, produced, turn| {
                let InProgress::Fetch(fetch) = &mut session.in_progress else { return Next::Close };
                match produced {
                    Ok((producer, batch)) => {
                        fetch.producer = Some(producer);
                        fetch.pieces = batch.pieces;
                        fetch.complete = batch.complete;
                        session.write_fetch(turn)
                    }
                    // The size was already announced, so that the error can only be signalled by closing the session.
                    Err(error) if fetch.message.as_ref().is_some_and(|message| !message.is_finished) => {
                        tracing::error!(session = session.number, %error, "cannot read a message");
                        Next::Close
                    }
                    // The mailbox was deleted, and its messages with it.
                    Err(mailstore::Error::NotFound(_)) => session.end_fetch(turn),
                    Err(error) => session.fail_fetch(&error, turn),
                }
            },
        )
    }

    /// Answers NO for an error of the store. Some messages may have become `\Seen` without a response: the
    /// next changes report them.
    fn fail_fetch(&mut self, error: &mailstore::Error, turn: &mut Turn<'_, '_>) -> Next {
        if let Some(selected) = &mut self.selected {
            selected.view.forget_own_changes(u64::MAX);
            selected.watch.mark_changed();
        }
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::Fetch(fetch) => self.reject_fetch(fetch.end, error, turn),
            _ => Next::Close,
        }
    }

    /// Answers NO for an error of the store. A SELECT that fails selects no mailbox.
    pub(super) fn reject_fetch(
        &mut self,
        end: FetchEnd,
        error: &mailstore::Error,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        match end {
            FetchEnd::Reply(reply) => reply_store_error(reply, error, turn),
            FetchEnd::Select(reply) => {
                self.selected = None;
                reply_store_error(reply, error, turn)
            }
            FetchEnd::NewMessages => {
                tracing::info!(session = self.number, %error, "cannot read new messages");
                self.continue_after_fetch(turn)
            }
        }
    }

    /// Continues what was in progress before new messages were fetched.
    fn continue_after_fetch(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let Some(after_fetch) = self.after_fetch.take() else { return Next::Close };
        let AfterFetch { before, then } = *after_fetch;
        self.in_progress = before;
        then(self, turn)
    }

    fn end_fetch(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Fetch(fetch) = std::mem::replace(&mut self.in_progress, InProgress::None) else {
            return Next::Close;
        };
        let FetchInProgress { end, producer, undecodable, .. } = *fetch;
        let reply = match end {
            FetchEnd::Reply(reply) => reply,
            FetchEnd::Select(reply) => return self.end_select(reply, turn),
            FetchEnd::NewMessages => return self.continue_after_fetch(turn),
        };
        let failed = producer.as_ref().and_then(|producer| producer.failed);
        match failed {
            Some(code) => reply_no(reply, code, "some messages could not be read", turn),
            _ if undecodable => reply_no(reply, PlainCode::UnknownCte, "a part could not be decoded", turn),
            None => self.finish_with_updates(reply, "fetch completed", turn),
        }
    }
}

impl FetchInProgress {
    fn write(
        &mut self,
        piece: Piece,
        selected: &mut Selected,
        arena: &Bump,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Error> {
        if let Piece::Keywords(keywords) = piece {
            return mailbox::write_flags(selected, &keywords, turn);
        }
        if let Piece::Message(message, became_seen) = piece {
            self.message = MessageWriter::new(message, became_seen, selected);
            let Some(message) = &mut self.message else { return Ok(()) };
            let writer = selected.begin_fetch(message.sequence, message.message.uid, turn)?;
            message.write_items(&self.request, arena, writer);
            return Ok(());
        }
        let Some(message) = &mut self.message else { return Ok(()) };
        if let Piece::Bytes(bytes) = piece {
            if turn.machine.write_body(bytes, turn.tx)? == 0 {
                let writer = turn.machine.resume_fetch(turn.tx)?;
                message.write_items(&self.request, arena, writer);
            }
            return Ok(());
        }
        let (Some(Item::Section(section_name) | Item::BinarySize(section_name)), Piece::Section(content)) =
            (self.request.items.get(message.item), piece)
        else {
            return Err(proto_mail::Misuse::WrongState.into());
        };
        message.item += 1;
        let mut writer = turn.machine.resume_fetch(turn.tx)?;
        if let Some(section) = section_name.section() {
            let origin = section_name.partial.map(|(offset, _)| offset);
            match content {
                SectionContent::Missing => {
                    writer.item(&FetchItem::Section { section, origin, value: None });
                }
                SectionContent::UnknownEncoding => self.undecodable = true,
                SectionContent::Unreadable => {}
                SectionContent::Size(size) => {
                    writer.item(&FetchItem::BinarySize { section, size });
                }
                SectionContent::Whole(bytes) => {
                    writer.body(section, origin, bytes);
                }
                SectionContent::Announced(size) => {
                    writer.stream_body(section, origin, size);
                    return Ok(());
                }
            }
        }
        message.write_items(&self.request, arena, writer);
        Ok(())
    }
}

impl MessageWriter {
    /// Starts a message, unless it is not in this session's view.
    fn new(message: Arc<Message>, became_seen: BecameSeen, selected: &mut Selected) -> Option<Self> {
        let uid = message.uid;
        let sequence = selected.view.sequence_number(uid)?;
        if became_seen {
            selected.view.record_own_change(message.modseq);
        }
        let recency = selected.recency(uid);
        Some(Self { message, became_seen, sequence, recency, item: 0, is_finished: false })
    }

    /// Writes the items up to the next section, or to the end.
    fn write_items(&mut self, request: &FetchRequest, arena: &Bump, mut writer: FetchWriter<'_>) {
        while let Some(item) = request.items.get(self.item) {
            if matches!(item, Item::Section(_) | Item::BinarySize(_)) {
                return;
            }
            self.item += 1;
            self.write_item(item, arena, &mut writer);
        }
        if self.became_seen && !request.items.contains(&Item::Flags) {
            let flags = translate::flags(arena, &self.message.flags, self.recency);
            writer.item(&FetchItem::Flags(flags));
        }
        // A response without items is discarded.
        let _ = writer.finish();
        self.is_finished = true;
    }

    fn write_item(&self, item: &Item, arena: &Bump, writer: &mut FetchWriter<'_>) {
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
            Item::SaveDate => FetchItem::SaveDate(message.saved_date.and_then(translate::utc_date_time)),
            Item::Preview => FetchItem::Preview(message.preview.as_deref().map(IString::from)),
            Item::Section(_) | Item::BinarySize(_) => return,
        };
        writer.item(&item);
    }
}
