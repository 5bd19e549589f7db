//! Helpers for both protocols: text, lines, and the event for input that cannot be parsed.

use serde_json::{Value, json};

/// Returns the event for input that cannot be parsed: the offset in its message, and why.
pub(super) fn unparsed(at: usize, why: &str, raw: &[u8]) -> Value {
    /// How many bytes of the input to show.
    const SHOWN: usize = 256;
    let raw = raw.get(..SHOWN).unwrap_or(raw);
    json!({ "event": "unparsed", "at": at, "why": why, "raw": text(raw), "repairs": [] })
}

/// Converts bytes to text, and replaces invalid UTF-8.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Splits off the next line. Returns the line without its end, the rest, and whether the line ended with CRLF.
pub(super) fn split_line(input: &[u8]) -> Option<(&[u8], &[u8], bool)> {
    if input.is_empty() {
        return None;
    }
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
        return Some((input, &[], false));
    };
    let (line, rest) = (&input[..end], &input[end + 1..]);
    Some(match line.strip_suffix(b"\r") {
        Some(line) => (line, rest, true),
        None => (line, rest, false),
    })
}
