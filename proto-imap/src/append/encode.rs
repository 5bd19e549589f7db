//! Writes APPEND up to the header of its message literal.

use crate::append::AppendCommand;
use crate::frame::{Binary, LiteralHeader};
use crate::grammar::command_writer::{
    ArgumentFault, CommandSink, InvalidArgument, NullSink, Options, Writer, Written, fault,
};
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

impl<S: CommandSink> Writer<'_, S> {
    pub(crate) fn append(&mut self, append: &AppendCommand<'_>, announced: LiteralHeader) -> Written {
        self.put(b"APPEND ");
        self.mailbox(append.mailbox)?;
        self.put(b" ");
        if !append.flags.is_empty() {
            self.flags(append.flags)?;
            self.put(b" ");
        }
        if let Some(date) = append.date {
            crate::date_time::encode::date_time(date, self.out);
            self.put(b" ");
        }
        if i64::try_from(announced.size).is_err() {
            return fault("size of the message", ArgumentFault::OutOfRange);
        }
        if announced.binary == Binary::Yes {
            self.put(b"~");
        }
        self.literal_header(announced.size, announced.sync);
        Ok(())
    }
}
