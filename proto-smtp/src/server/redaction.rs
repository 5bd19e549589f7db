//! What a trace may show of a command.
//!
//! A line of AUTH or BURL is a secret behind its first words. A line that is not understood may be one that went astray,
//! so that no more of it is shown than a verb that is known. Only called while somebody traces.

use proto_mail::{Mechanism, RecvBuffer, trace::TraceKind};

use crate::command::{Command, Verb, split_verb};

/// Tells of the line of `len` bytes, `whole` with its end.
#[cold]
pub(super) fn line((len, whole): (usize, usize), rx: &mut RecvBuffer) {
    let (shown, hidden) = judge(rx.bytes().get(..len).unwrap_or_default());
    rx.trace_span(shown, TraceKind::Text);
    rx.trace_span(len, hidden);
    rx.trace_span(whole, TraceKind::Text);
}

/// Tells of a line of a SASL exchange.
#[cold]
pub(super) fn sasl((len, whole): (usize, usize), rx: &mut RecvBuffer) {
    let cancelled = rx.bytes().get(..len) == Some(b"*");
    rx.trace_span(len, if cancelled { TraceKind::Text } else { TraceKind::Secret });
    rx.trace_span(whole, TraceKind::Text);
}

/// How much of a line may be shown, and what the rest is.
fn judge(line: &[u8]) -> (usize, TraceKind) {
    let (verb, rest) = split_verb(line);
    let name = line.len() - rest.len();
    match verb {
        Verb::Other => (0, TraceKind::Unknown),
        Verb::Auth => (name + mechanism(rest), TraceKind::Secret),
        Verb::Burl => (name, TraceKind::Secret),
        // What follows these is any text, and so may be anything.
        Verb::Noop | Verb::Help => (name, TraceKind::Unknown),
        _ => match Command::parse_arguments(verb, line, rest) {
            Ok(Command::Other { .. }) | Err(_) => (name, TraceKind::Unknown),
            Ok(_) => (line.len(), TraceKind::Text),
        },
    }
}

/// How many bytes of what follows AUTH name a mechanism that is known.
fn mechanism(rest: &[u8]) -> usize {
    let Some(behind) = rest.strip_prefix(b" ") else { return 0 };
    let name = behind.split(|byte| *byte == b' ').next().unwrap_or_default();
    if Mechanism::from_name(name).is_some() { 1 + name.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_shown_than_was_understood() {
        for (line, shown, hidden) in [
            (&b"MAIL FROM:<a@example.org> SIZE=5"[..], 32, TraceKind::Text),
            (b"MAIL FROM: hunter2", 4, TraceKind::Unknown),
            (b"AUTH PLAIN AGEAaHVudGVyMg==", 10, TraceKind::Secret),
            (b"auth plain", 10, TraceKind::Secret),
            (b"AUTH AGEAaHVudGVyMg==", 4, TraceKind::Secret),
            (b"AUTH  PLAIN AGEAaHVudGVyMg==", 4, TraceKind::Secret),
            (b"AUTHAGEAaHVudGVyMg==", 0, TraceKind::Unknown),
            (b"AGEAaHVudGVyMg==", 0, TraceKind::Unknown),
            (b"BURL imap://joe;urlauth=x LAST", 4, TraceKind::Secret),
            (b"NOOP hunter2", 4, TraceKind::Unknown),
            (b"DATA hunter2", 4, TraceKind::Unknown),
            (b"EHLO client.example", 19, TraceKind::Text),
            (b"STARTTLS", 8, TraceKind::Text),
            (b"", 0, TraceKind::Unknown),
        ] {
            let (told, kind) = judge(line);
            let all = told == line.len();
            assert!(told == shown && (all || kind == hidden), "{}: {told} {kind:?}", line.escape_ascii());
        }
    }
}
