//! Redacts traces: decides which bytes of a command or a response a trace may show.
//!
//! The arguments of LOGIN and AUTHENTICATE are secret, regardless of their outcome. A command that does not parse may
//! be a secret that was sent in the wrong place, so only its tag and a known name are shown. These functions are
//! called only while a trace is recorded.

use proto_mail::{Mechanism, RecvBuffer, trace::TraceKind};

use crate::frame::{LineEnd, ending};
use crate::parse::{self, Context};
use crate::types::CommandName;

/// How much of a command may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VisiblePart {
    /// All of it: it was parsed and takes no credentials.
    Whole,
    /// Only this many bytes; the rest is of this kind.
    Prefix(usize, TraceKind),
}

/// Traces a command's frame, or an APPEND up to its message. If the tag is of an unknown kind, only the command's
/// name is shown.
#[cold]
pub(crate) fn trace_command(len: usize, tag: TraceKind, context: &Context, rx: &mut RecvBuffer) {
    let bytes = rx.bytes().get(..len).unwrap_or_default();
    let tag_len = bytes.iter().position(|byte| *byte == b' ').unwrap_or(0);
    let name_end = parse::command_name(bytes).map_or(0, |(_, _, rest)| len - rest.len());
    match visible_part(bytes, context) {
        VisiblePart::Whole if tag == TraceKind::Text => trace_frame(len, rx),
        VisiblePart::Whole => {
            rx.trace_span(tag_len, tag);
            rx.trace_span(name_end, TraceKind::Text);
            trace_line(len, TraceKind::Unknown, rx);
        }
        VisiblePart::Prefix(shown, hidden) => {
            rx.trace_span(tag_len.min(shown), tag);
            rx.trace_span(shown, TraceKind::Text);
            trace_line(len, hidden, rx);
        }
    }
}

/// Traces bytes of this kind that end with a line end, and the line end.
#[cold]
pub(crate) fn trace_line(len: usize, kind: TraceKind, rx: &mut RecvBuffer) {
    let ended = rx.bytes().get(..len).is_some_and(|line| line.ends_with(b"\r\n"));
    rx.trace_span(len - if ended { 2 } else { 0 }, kind);
    rx.trace_span(len, if ended { TraceKind::Text } else { kind });
}

/// Traces lines and the literals between them.
#[cold]
pub(crate) fn trace_frame(len: usize, rx: &mut RecvBuffer) {
    let mut at = 0;
    while at < len {
        let rest = rx.bytes().get(at..len).unwrap_or_default();
        let end = memchr::memmem::find(rest, b"\r\n").map_or(rest.len(), |found| found + 2);
        let line = rest.get(..end).unwrap_or_default();
        let literal = match ending(line.strip_suffix(b"\r\n").unwrap_or(line)) {
            LineEnd::Literal(announced) => usize::try_from(announced.size).unwrap_or(usize::MAX),
            LineEnd::Plain | LineEnd::Endless(_) => 0,
        };
        at += end;
        rx.trace_span(at, TraceKind::Text);
        at = at.saturating_add(literal).min(len);
        rx.trace_span(at, TraceKind::Literal);
    }
}

/// The responses whose arguments hold URLs with tokens (RFC 4467).
const SECRET_RESPONSES: [&[u8]; 2] = [b"* GENURLAUTH ", b"* URLFETCH "];

/// Returns how many bytes of a response may be shown.
pub(crate) fn visible_response(response: &[u8]) -> usize {
    let begins =
        |name: &&[u8]| response.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    SECRET_RESPONSES.iter().copied().find(begins).map_or(response.len(), <[u8]>::len)
}

/// Traces a continuation request whose text is part of a SASL exchange.
#[cold]
pub(crate) fn trace_challenge(len: usize, rx: &mut RecvBuffer) {
    let mark =
        rx.bytes().get(..len).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'+' | b' '));
    rx.trace_span(mark.count(), TraceKind::Text);
    trace_line(len, TraceKind::Secret, rx);
}

/// Returns how many bytes of a command may be shown, and what the rest is.
fn visible_part(frame: &[u8], context: &Context) -> VisiblePart {
    let Ok((_, name, rest)) = parse::command_name(frame) else {
        return VisiblePart::Prefix(0, TraceKind::Unknown);
    };
    let name_end = frame.len() - rest.len();
    let is_parsed = match name {
        CommandName::Other => return VisiblePart::Prefix(0, TraceKind::Unknown),
        CommandName::Login => return VisiblePart::Prefix(name_end, TraceKind::Secret),
        // A URL with a token lets its bearer read the message (RFC 4467 §8).
        CommandName::UrlFetch => return VisiblePart::Prefix(name_end, TraceKind::Secret),
        CommandName::Authenticate => {
            return VisiblePart::Prefix(name_end + mechanism_len(rest), TraceKind::Secret);
        }
        CommandName::Append | CommandName::Replace | CommandName::UidReplace => {
            let shown = append_len(frame, context);
            if shown < frame.len() {
                return VisiblePart::Prefix(shown.max(name_end), TraceKind::Unknown);
            }
            true
        }
        CommandName::StartTls => parse::no_arguments(frame, context).is_ok(),
        _ => parse::command(frame, context).is_ok(),
    };
    if is_parsed { VisiblePart::Whole } else { VisiblePart::Prefix(name_end, TraceKind::Unknown) }
}

/// Returns how many bytes of the first line of APPEND or REPLACE were parsed: up to its first message, or to the first
/// part of it. A URL may hold a token that authorizes its bearer (RFC 4467), so it is not shown.
fn append_len(frame: &[u8], context: &Context) -> usize {
    parse::append_start(frame, context).map_or(0, |(_, start)| start.len)
}

/// Returns how many bytes after AUTHENTICATE name a known mechanism.
fn mechanism_len(rest: &[u8]) -> usize {
    let Some(tail) = rest.strip_prefix(b" ") else { return 0 };
    let name = tail.split(|byte| matches!(byte, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
    if Mechanism::from_name(name).is_some() { 1 + name.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_only_what_was_parsed() {
        let context = Context::strict();
        for (frame, expected) in [
            (&b"a SELECT INBOX\r\n"[..], VisiblePart::Whole),
            (b"a STARTTLS\r\n", VisiblePart::Whole),
            (b"a APPEND INBOX {5}\r\n", VisiblePart::Whole),
            (b"a UID REPLACE 3 INBOX (\\Seen) {5}\r\n", VisiblePart::Whole),
            (b"a APPEND INBOX CATENATE (URL hunter2)\r\n", VisiblePart::Prefix(25, TraceKind::Unknown)),
            (b"a APPEND INBOX hunter2\r\n", VisiblePart::Prefix(8, TraceKind::Unknown)),
            (b"a SELECT hunter2 hunter2\r\n", VisiblePart::Prefix(8, TraceKind::Unknown)),
            (b"a LOGIN bob hunter2\r\n", VisiblePart::Prefix(7, TraceKind::Secret)),
            (b"a login bob hunter2 extra\r\n", VisiblePart::Prefix(7, TraceKind::Secret)),
            (b"a LOGIN {3}\r\nbob {7}\r\nhunter2\r\n", VisiblePart::Prefix(7, TraceKind::Secret)),
            (b"a AUTHENTICATE PLAIN AGEAaHVudGVyMg==\r\n", VisiblePart::Prefix(20, TraceKind::Secret)),
            (b"a AUTHENTICATE AGEAaHVudGVyMg==\r\n", VisiblePart::Prefix(14, TraceKind::Secret)),
            (
                b"a URLFETCH imap://x/;UID=1;URLAUTH=a:internal:hunter2\r\n",
                VisiblePart::Prefix(10, TraceKind::Secret),
            ),
            (b"AGEAaHVudGVyMg==\r\n", VisiblePart::Prefix(0, TraceKind::Unknown)),
            (b"bob hunter2\r\n", VisiblePart::Prefix(0, TraceKind::Unknown)),
            (b"a  LOGIN bob hunter2\r\n", VisiblePart::Prefix(0, TraceKind::Unknown)),
            (b"\r\n", VisiblePart::Prefix(0, TraceKind::Unknown)),
        ] {
            assert_eq!(visible_part(frame, &context), expected, "{}", frame.escape_ascii());
        }
    }
}
