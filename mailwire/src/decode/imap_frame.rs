//! Splits IMAP input into complete messages with their literals, and adds repairs to events.

use proto_imap::parse::{self, Context};
use serde_json::{Value, json};

use super::arguments::Strictness;
use super::lines::unparsed;

/// Whether a quoted string may contain a bare line feed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// Allowed, for input from a server.
    Span,
    /// Each line feed ends a line, for input from a client.
    End,
}

/// Splits off the first message: the line with every literal that it announces, as far as the input has them.
pub(super) fn split_message(
    input: &[u8],
    has_literals: impl Fn(&[u8]) -> bool,
    quotes: Quotes,
) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(end) = line_end(input.get(at..).unwrap_or_default(), &has_literals, quotes) {
        let line_end = at + end;
        let line = &input[at..line_end];
        match announced(line).filter(|_| has_literals(&input[..line_end])) {
            Some(size) if size <= input.len() - line_end => at = line_end + size,
            Some(_) => return (input, &[]),
            None => return input.split_at(line_end),
        }
    }
    (input, &[])
}

/// Returns the length of the first line, including its line feed.
///
/// A bare line feed ends a line, too, but not inside a quoted string that is closed before the next CRLF.
fn line_end(input: &[u8], is_data: impl Fn(&[u8]) -> bool, quotes: Quotes) -> Option<usize> {
    let first = input.iter().position(|&byte| byte == b'\n')? + 1;
    let line = input.get(..first)?;
    if quotes == Quotes::End || line.ends_with(b"\r\n") || !is_data(line) || !is_in_quotes(line) {
        return Some(first);
    }
    let crlf = input.windows(2).position(|window| window == b"\r\n").map(|at| at + 2);
    Some(crlf.filter(|end| input.get(..*end).is_some_and(|line| !is_in_quotes(line))).unwrap_or(first))
}

/// Returns whether a quoted string is open at the end of a line. As in the tolerant parser, a quote closes the string
/// only before a space, a parenthesis, a bracket or a line end.
fn is_in_quotes(line: &[u8]) -> bool {
    let (mut is_open, mut at) = (false, 0);
    while let Some(byte) = line.get(at) {
        match byte {
            b'\\' if is_open => at += 1,
            b'"' if !is_open => is_open = true,
            b'"' => is_open = !matches!(line.get(at + 1), None | Some(b' ' | b')' | b']' | b'\r' | b'\n')),
            _ => {}
        }
        at += 1;
    }
    is_open
}

/// Returns the size in `{n}`, `{n+}` or `~{n}` at the end of a line.
fn announced(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let inner = line.strip_suffix(b"}")?;
    let inner = inner.strip_suffix(b"+").or_else(|| inner.strip_suffix(b"-")).unwrap_or(inner);
    let open = inner.iter().rposition(|&byte| byte == b'{')?;
    let digits =
        inner.get(open + 1..).filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns the event for a command that cannot be parsed.
pub(super) fn unparsed_command(error: parse::UnparsedCommand<'_>) -> Value {
    let mut event = unparsed(error.offset, error.expected, error.found);
    if let Value::Object(fields) = &mut event {
        fields.insert("tag".to_owned(), json!(error.tag.map(|tag| tag.as_str().to_owned())));
    }
    event
}

/// Returns the names of the repairs that the last message needed.
pub(super) fn repairs(cx: &Context) -> Value {
    json!(cx.repairs.recent().iter().map(|repair| repair.name()).collect::<Vec<_>>())
}

/// Returns a strict or a tolerant parse context.
pub(super) fn context(strictness: Strictness) -> Context {
    match strictness {
        Strictness::Strict => Context::strict(),
        Strictness::Tolerant => Context::tolerant(),
    }
}

/// Adds the repairs to an event.
pub(super) fn with_repairs(mut event: Value, repairs: Value) -> Value {
    if let Value::Object(fields) = &mut event {
        fields.insert("repairs".to_owned(), repairs);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_includes_its_literals() {
        let input = b"* LIST () \"/\" {5}\r\nhello\r\n* OK x\r\n";
        let (first, rest) = split_message(input, |_| true, Quotes::Span);
        assert_eq!(first, b"* LIST () \"/\" {5}\r\nhello\r\n");
        assert_eq!(rest, b"* OK x\r\n");
        assert_eq!(split_message(b"* X {9}\r\nshort", |_| true, Quotes::Span).1, b"");
        assert_eq!(announced(b"a {12+}\r\n"), Some(12));
        assert_eq!(announced(b"a {-1}\r\n"), None);
    }
}
