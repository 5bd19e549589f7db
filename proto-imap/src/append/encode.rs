//! Writes APPEND and REPLACE without their messages: up to the header of a message, or with a gap for each message.

use crate::append::{
    AppendCommand, AppendData, AppendMessage, CatenatePart, MAX_APPEND_PARTS, ReplacedMessage,
};
use crate::date_time::DateTime;
use crate::flags::FlagList;
use crate::frame::{Binary, LiteralHeader};
use crate::grammar::command_writer::{
    ArgumentFault, CommandSink, InvalidArgument, NullSink, Options, Writer, Written, fault,
};
use crate::mailbox_name::MailboxName;
use crate::tag::Tag;

/// Writes `append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal`, up to and including the
/// announcement of the message.
///
/// The caller sends the message and a line end. If `announced` is synchronising, it waits for a continuation request
/// before the message.
///
/// # Errors
/// [`InvalidArgument`] names the argument that cannot be written; then nothing was written.
pub fn append_prefix<S: CommandSink>(
    tag: Tag<'_>,
    append: &AppendCommand<'_>,
    announced: LiteralHeader,
    options: Options,
    out: &mut S,
) -> Result<(), InvalidArgument> {
    Writer::new(&mut NullSink, options).append(append, announced)?;
    out.put(tag.as_bytes());
    out.put(b" ");
    Writer::new(out, options).append(append, announced)
}

/// Writes `append = "APPEND" SP mailbox 1*append-message` (RFC 3502), or `REPLACE` with its only message (RFC 8508), with
/// the line end. The sink is told of each place where a message or a part of one belongs
/// ([`CommandSink::payload`]).
///
/// # Errors
/// [`InvalidArgument`] names the argument that cannot be written; then nothing was written.
pub fn append<S: CommandSink>(
    tag: Tag<'_>,
    replaced: Option<ReplacedMessage>,
    mailbox: MailboxName<'_>,
    messages: &[AppendMessage<'_>],
    options: Options,
    out: &mut S,
) -> Result<(), InvalidArgument> {
    Writer::new(&mut NullSink, options).append_messages(replaced, mailbox, messages)?;
    out.put(tag.as_bytes());
    out.put(b" ");
    Writer::new(out, options).append_messages(replaced, mailbox, messages)?;
    out.put(b"\r\n");
    Ok(())
}

impl<S: CommandSink> Writer<'_, S> {
    pub(crate) fn append(&mut self, append: &AppendCommand<'_>, announced: LiteralHeader) -> Written {
        self.put(b"APPEND ");
        self.mailbox(append.mailbox)?;
        self.put(b" ");
        self.append_options(append.flags, append.date)?;
        if i64::try_from(announced.size).is_err() {
            return fault("size of the message", ArgumentFault::OutOfRange);
        }
        if announced.binary == Binary::Yes {
            self.put(b"~");
        }
        self.literal_header(announced.size, announced.sync);
        Ok(())
    }

    /// `[flag-list SP] [date-time SP]`
    fn append_options(&mut self, flags: FlagList<'_>, date: Option<DateTime>) -> Written {
        if !flags.is_empty() {
            self.flags(flags)?;
            self.put(b" ");
        }
        if let Some(date) = date {
            crate::date_time::encode::date_time(date, self.out);
            self.put(b" ");
        }
        Ok(())
    }

    fn append_messages(
        &mut self,
        replaced: Option<ReplacedMessage>,
        mailbox: MailboxName<'_>,
        messages: &[AppendMessage<'_>],
    ) -> Written {
        let number = match replaced {
            None => {
                self.put(b"APPEND ");
                None
            }
            Some(ReplacedMessage::Sequence(number)) => {
                self.put(b"REPLACE ");
                Some(number)
            }
            Some(ReplacedMessage::Uid(number)) => {
                self.put(b"UID REPLACE ");
                Some(number)
            }
        };
        if let Some(number) = number {
            self.nz_number64("message to replace", number.into())?;
            self.put(b" ");
        }
        self.mailbox(mailbox)?;
        let mut parts = 0_usize;
        for message in messages {
            self.put(b" ");
            self.append_options(message.flags, message.date)?;
            parts += self.append_data(message.data)?;
        }
        if messages.is_empty() {
            return fault("list of messages", ArgumentFault::Empty);
        }
        if parts > MAX_APPEND_PARTS as usize || (number.is_some() && messages.len() > 1) {
            return fault("list of messages", ArgumentFault::OutOfRange);
        }
        Ok(())
    }

    /// Writes `append-data`. Returns the number of its parts.
    fn append_data(&mut self, data: AppendData<'_>) -> Result<usize, InvalidArgument> {
        match data {
            AppendData::Literal(size) => self.payload(size, Binary::No)?,
            AppendData::Literal8(size) => self.payload(size, Binary::Yes)?,
            AppendData::Utf8(size) => self.utf8_payload(size)?,
            AppendData::Catenate(parts) => {
                self.put(b"CATENATE ");
                self.one_or_more("list of parts", parts, |writer, part| match *part {
                    CatenatePart::Text(size) => {
                        writer.put(b"TEXT ");
                        writer.payload(size, Binary::No)
                    }
                    CatenatePart::Utf8(size) => writer.utf8_payload(size),
                    CatenatePart::Url(url) => {
                        writer.put(b"URL ");
                        writer.astring("URL", url)
                    }
                })?;
                return Ok(parts.len() + 1);
            }
        }
        Ok(1)
    }

    fn utf8_payload(&mut self, size: u64) -> Written {
        self.put(b"UTF8 (");
        self.payload(size, Binary::Yes)?;
        self.put(b")");
        Ok(())
    }

    /// Announces a literal whose bytes the caller sends.
    fn payload(&mut self, size: u64, binary: Binary) -> Written {
        if i64::try_from(size).is_err() {
            return fault("size of the message", ArgumentFault::OutOfRange);
        }
        if binary == Binary::Yes {
            self.put(b"~");
        }
        let sync = self.options.literals.sync(size);
        self.literal_header(size, sync);
        self.out.payload(size, sync);
        Ok(())
    }
}
