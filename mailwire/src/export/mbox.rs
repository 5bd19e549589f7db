//! mbox files (mboxrd): one for each folder. Lines end with LF, and a line of a message that begins with `From `, with or
//! without `>` before it, gets one more `>`.
//!
//! A file is written anew and replaces the earlier one when it is complete.

use std::path::Path;

use mailstore::{Columns, Flags, Message, UidSet};

use super::output_file::{OutputFile, create_levels};
use super::source::{Exported, Source};
use super::status_fields::status_fields;
use crate::command_error::CommandError;
use crate::local::mailbox_reader::{for_each_message, for_each_piece};

/// Exports a folder.
pub(super) fn export(source: &Source<'_>, root: &Path, levels: &[String]) -> Result<Exported, CommandError> {
    let Some((name, parents)) = levels.split_last() else { return Ok(Exported::default()) };
    let directory = create_levels(root, parents)?;
    let mut file = OutputFile::create(directory.join(format!(".{name}.part")))?;
    let mut exported = Exported::default();
    for_each_message(source.store, source.mailbox, &UidSet::all(), Columns::summary(), |message| {
        let Some(body) = source.open(&message)? else {
            exported.failed += 1;
            return Ok(());
        };
        file.write(head(&message).as_bytes())?;
        let mut lines = LineQuoter::default();
        let mut out = Vec::new();
        for_each_piece(&body, (0, body.size()), |piece| {
            lines.push(piece, &mut out);
            file.write(&out)?;
            out.clear();
            Ok(())
        })?;
        lines.finish(&mut out);
        file.write(&out)?;
        exported.written += 1;
        Ok(())
    })?;
    file.keep(&directory.join(format!("{name}.mbox")))?;
    Ok(exported)
}

/// Returns the line before a message, and the header fields with its flags.
fn head(message: &Message) -> String {
    let date = jiff::Timestamp::from_second(message.internal_date.seconds).unwrap_or_default();
    let date = date.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a %b %e %H:%M:%S %Y");
    let flags = &message.flags;
    let status = if flags.contains(Flags::SEEN) { "RO" } else { "O" };
    format!("From MAILER-DAEMON {date}\nStatus: {status}\n{}", status_fields(flags, "\n"))
}

/// Quotes lines and converts their ends, piece by piece.
#[derive(Debug, Default)]
struct LineQuoter {
    /// The part of `From ` that the line has so far. Every `>` before it is already written.
    start: Vec<u8>,
    is_within_line: bool,
    has_cr: bool,
}

impl LineQuoter {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        piece.iter().for_each(|byte| self.byte(*byte, out));
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.has_cr) && byte != b'\n' {
            self.plain(b'\r', out);
        }
        match byte {
            b'\r' => self.has_cr = true,
            b'\n' => {
                out.append(&mut self.start);
                out.push(b'\n');
                self.is_within_line = false;
            }
            byte => self.plain(byte, out),
        }
    }

    /// Takes a byte that does not end a line.
    fn plain(&mut self, byte: u8, out: &mut Vec<u8>) {
        const FROM: &[u8] = b"From ";
        if self.is_within_line {
            out.push(byte);
            return;
        }
        let matched = self.start.len();
        if byte == b'>' && matched == 0 {
            out.push(byte);
            return;
        }
        if FROM.get(matched) == Some(&byte) {
            self.start.push(byte);
            if self.start.len() == FROM.len() {
                out.push(b'>');
                out.append(&mut self.start);
                self.is_within_line = true;
            }
            return;
        }
        out.append(&mut self.start);
        out.push(byte);
        self.is_within_line = true;
    }

    /// Ends the message with an empty line.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.has_cr) {
            self.plain(b'\r', out);
        }
        let has_rest = self.is_within_line || !self.start.is_empty();
        out.append(&mut self.start);
        if has_rest {
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(message: &[u8], piece: usize) -> String {
        let (mut lines, mut out) = (LineQuoter::default(), Vec::new());
        message.chunks(piece).for_each(|piece| lines.push(piece, &mut out));
        lines.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn quotes_from_lines_in_any_pieces() {
        let message = b"From: a\r\nFrom \r\n\r\n>From x\r\n>>From y\r\n>Frox\r\n>>\r\nFrom\r\nFro\rm\nFrom z";
        let expected = "From: a\n>From \n\n>>From x\n>>>From y\n>Frox\n>>\nFrom\nFro\rm\n>From z\n\n";
        for piece in 1..message.len() {
            assert_eq!(quoted(message, piece), expected, "pieces of {piece}");
        }
        assert_eq!(quoted(b"", 1), "\n");
        assert_eq!(quoted(b"a\r", 1), "a\r\n\n");
    }
}
