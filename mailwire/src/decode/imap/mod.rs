//! IMAP: responses and commands, one complete message after the other.

mod command;
mod response;

use proto_imap::parse::Context;
use serde_json::{Value, json};

pub(super) use command::commands;
pub(super) use response::responses;

/// A message at the front of `input`: the line and every literal that it announces, as far as they are there.
fn split_message(input: &[u8], has_literals: impl Fn(&[u8]) -> bool) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(end) = input.get(at..).and_then(|rest| rest.iter().position(|&octet| octet == b'\n')) {
        let line_end = at + end + 1;
        let line = &input[at..line_end];
        match announced(line).filter(|_| has_literals(&input[..line_end])) {
            Some(size) if size <= input.len() - line_end => at = line_end + size,
            Some(_) => return (input, &[]),
            None => return input.split_at(line_end),
        }
    }
    (input, &[])
}

/// The size in `{n}`, `{n+}` or `~{n}` at the end of a line.
fn announced(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let inner = line.strip_suffix(b"}")?;
    let inner = inner.strip_suffix(b"+").or_else(|| inner.strip_suffix(b"-")).unwrap_or(inner);
    let open = inner.iter().rposition(|&octet| octet == b'{')?;
    let digits =
        inner.get(open + 1..).filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The names of the repairs that the last message needed.
fn repairs(cx: &Context) -> Value {
    json!(cx.repairs.recent().iter().map(|repair| repair.name()).collect::<Vec<_>>())
}

fn context(strict: bool) -> Context {
    if strict { Context::strict() } else { Context::tolerant() }
}

/// Adds the repairs to an event.
fn with_repairs(mut event: Value, repairs: Value) -> Value {
    if let Value::Object(fields) = &mut event {
        fields.insert("repairs".to_owned(), repairs);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_literals() {
        let input = b"* LIST () \"/\" {5}\r\nhello\r\n* OK x\r\n";
        let (first, rest) = split_message(input, |_| true);
        assert_eq!(first, b"* LIST () \"/\" {5}\r\nhello\r\n");
        assert_eq!(rest, b"* OK x\r\n");
        assert_eq!(split_message(b"* X {9}\r\nshort", |_| true).1, b"");
        assert_eq!(announced(b"a {12+}\r\n"), Some(12));
        assert_eq!(announced(b"a {-1}\r\n"), None);
    }
}
