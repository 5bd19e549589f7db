//! Writing to the send buffer: numbers, cleaned text, and values that have their wire format as `Display`.

use core::fmt::{self, Write as _};

use proto_mail::SendBuffer;

use crate::ascii;

/// Writes a verb, its argument and the end of the line. Bytes of a caller's argument that are not printable US-ASCII
/// become `?`.
pub(crate) fn line(verb: &str, argument: &str, tx: &mut SendBuffer) {
    clean(verb.as_bytes(), tx);
    clean(argument.as_bytes(), tx);
    tx.put(b"\r\n");
}

/// Writes a number in decimal digits.
pub(crate) fn number(value: u64, tx: &mut SendBuffer) {
    tx.put(ascii::digits(value, &mut [0; 20]));
}

/// Writes a value by its `Display`.
pub(crate) fn display(value: impl fmt::Display, tx: &mut SendBuffer) {
    // Writing to a send buffer cannot fail.
    let _ = write!(BufferWriter(tx), "{value}");
}

/// Writes text; bytes that are not printable US-ASCII become `?`.
pub(crate) fn clean(text: &[u8], tx: &mut SendBuffer) {
    let is_clean = |byte: u8| (b' '..=b'~').contains(&byte);
    for run in text.split_inclusive(|&byte| !is_clean(byte)) {
        match run.split_last() {
            Some((&last, head)) if !is_clean(last) => {
                tx.put(head);
                tx.put(b"?");
            }
            _ => tx.put(run),
        }
    }
}

struct BufferWriter<'t>(&'t mut SendBuffer);

impl fmt::Write for BufferWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.put(text.as_bytes());
        Ok(())
    }
}
