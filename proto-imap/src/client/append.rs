//! Sends APPEND and REPLACE: which forms of messages the server offers, and the messages in chunks, as the application
//! provides them (RFC 9051 §6.3.12, RFC 7888, 3502, 4469, 7889, 8508).
//!
//! A message is never buffered as a whole. The client counts its bytes, and sends the rest of the command after the last
//! announced byte.

use bytes::Bytes;
use proto_mail::{Error, Misuse, SendBuffer};

use super::capabilities::Capabilities;
use super::command::misuse;
use super::command_id::CommandId;
use super::outgoing::{
    ActiveCommand, AppendBuffer, Notified, OutgoingCommand, OutgoingLine, PayloadProgress,
};
use super::session::{PendingEvent, Session};
use crate::encode;
use crate::required_capabilities::is_command_offered;
use crate::types::{
    AppendData, AppendMessage, CatenatePart, CommandName, MailboxName, NameEncoding, ReplacedMessage, Tag,
};

impl Session {
    /// Starts an APPEND or REPLACE: sends everything up to the first message.
    pub(super) fn append(
        &mut self,
        replaced: Option<ReplacedMessage>,
        mailbox: MailboxName<'_>,
        messages: &[AppendMessage<'_>],
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        let name = match replaced {
            None => CommandName::Append,
            Some(ReplacedMessage::Sequence(_)) => CommandName::Replace,
            Some(ReplacedMessage::Uid(_)) => CommandName::UidReplace,
        };
        self.check(name)?;
        let id = self.commands.next_id();
        let text = alloc::format!("{id}");
        let tag = Tag::new(text.as_bytes()).map_err(|_| Misuse::InvalidArgument)?;
        let mut buffer = AppendBuffer::default();
        encode::append(tag, replaced, mailbox, messages, self.options(), &mut buffer).map_err(misuse)?;
        if !is_command_offered(name, |capability| self.offers(capability))
            || (messages.len() > 1 && !self.offers("MULTIAPPEND"))
            || !messages.iter().all(|message| self.is_form_offered(message.data))
        {
            return Err(Misuse::NotOffered.into());
        }
        self.check_append_limit(messages)?;
        self.done(tx)?;
        self.submit(id, OutgoingCommand::Append, OutgoingLine::append(buffer), tx);
        Ok(id)
    }

    /// Returns whether the server takes a message in this form.
    fn is_form_offered(&self, data: AppendData<'_>) -> bool {
        // RFC 6855 §3: the client has to enable UTF-8 before it uses it.
        let utf8 =
            || self.names == NameEncoding::Utf8 && (self.offers("UTF8=ACCEPT") || self.offers("UTF8=ONLY"));
        match data {
            AppendData::Literal(_) => true,
            AppendData::Literal8(_) => self.offers("BINARY"),
            AppendData::Utf8(_) => utf8(),
            AppendData::Catenate(parts) => {
                self.offers("CATENATE")
                    && parts.iter().all(|part| !matches!(part, CatenatePart::Utf8(_)) || utf8())
            }
        }
    }

    /// Checks the sizes of the messages against the server's `APPENDLIMIT=` (RFC 7889). The contents of URLs are not
    /// counted, because the client does not know their size.
    fn check_append_limit(&self, messages: &[AppendMessage<'_>]) -> Result<(), Error> {
        let Some(limit) = self.capabilities.get().and_then(Capabilities::append_limit) else { return Ok(()) };
        let size = |message: &AppendMessage<'_>| match message.data {
            AppendData::Literal(size) | AppendData::Literal8(size) | AppendData::Utf8(size) => size,
            AppendData::Catenate(parts) => parts.iter().fold(0, |sum: u64, part| match part {
                CatenatePart::Text(size) | CatenatePart::Utf8(size) => sum.saturating_add(*size),
                CatenatePart::Url(_) => sum,
            }),
        };
        if messages.iter().any(|message| size(message) > limit) {
            return Err(Misuse::TooLarge.into());
        }
        Ok(())
    }

    /// Handles the server's request for the message.
    pub(super) fn begin_payload(&mut self, tx: &mut SendBuffer) {
        self.commands.continue_command(tx);
        self.step_done();
        self.end_payload(tx);
    }

    /// Reports to the application that it may write an APPEND's message.
    pub(super) fn announce_append(&mut self, tx: &mut SendBuffer) {
        if self.commands.active.is_unannounced() {
            self.note_announced();
            self.end_payload(tx);
        }
    }

    fn note_announced(&mut self) {
        if let ActiveCommand::AppendPayload(progress) = &mut self.commands.active
            && progress.announced == Notified::No
        {
            progress.announced = Notified::Yes;
            self.pending.push_back(PendingEvent::AppendReady(progress.outgoing.id));
        }
    }

    /// Sends the next bytes of the message. Returns how many are still missing.
    pub(super) fn payload(&mut self, payload: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.count_payload(payload.len() as u64)?;
        tx.put_payload(payload);
        Ok(self.end_payload(tx))
    }

    /// Counts the next bytes of the message, which the driver writes itself. Returns how many are still missing.
    pub(super) fn written_externally(&mut self, count: u64, tx: &mut SendBuffer) -> Result<u64, Error> {
        if !tx.is_empty() {
            // These bytes would overtake the ones in the buffer.
            return Err(Misuse::WrongState.into());
        }
        self.count_payload(count)?;
        Ok(self.end_payload(tx))
    }

    fn count_payload(&mut self, count: u64) -> Result<(), Error> {
        let ActiveCommand::AppendPayload(PayloadProgress { left, .. }) = &mut self.commands.active else {
            return Err(Misuse::WrongState.into());
        };
        *left = left.checked_sub(count).ok_or(Misuse::WrongLength)?;
        self.step_done();
        Ok(())
    }

    /// Continues the command after the message's last byte. Returns how many bytes of the message are missing.
    fn end_payload(&mut self, tx: &mut SendBuffer) -> u64 {
        let ActiveCommand::AppendPayload(PayloadProgress { left, .. }) = self.commands.active else {
            return 0;
        };
        if left == 0 {
            self.note_announced();
            self.commands.continue_command(tx);
        }
        left
    }
}
