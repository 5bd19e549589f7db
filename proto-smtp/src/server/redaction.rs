//! What a wire trace may show of a command line.
//!
//! The arguments of AUTH and BURL are secrets. A line that cannot be parsed may hold a password that was sent by mistake:
//! only a known verb of it is shown. These functions are called only while the session is traced.

use proto_mail::{Mechanism, RecvBuffer, trace::TraceKind};

use crate::command::{Command, Verb, split_verb};

/// Traces a command line of `len` bytes, `whole` bytes with its end.
#[cold]
pub(super) fn trace_line((len, whole): (usize, usize), rx: &mut RecvBuffer) {
    let (shown, hidden) = visible_part(rx.bytes().get(..len).unwrap_or_default());
    rx.trace_span(shown, TraceKind::Text);
    rx.trace_span(len, hidden);
    rx.trace_span(whole, TraceKind::Text);
}

/// Traces a line of a SASL exchange.
#[cold]
pub(super) fn trace_sasl_line((len, whole): (usize, usize), rx: &mut RecvBuffer) {
    let cancelled = rx.bytes().get(..len) == Some(b"*");
    rx.trace_span(len, if cancelled { TraceKind::Text } else { TraceKind::Secret });
    rx.trace_span(whole, TraceKind::Text);
}

/// Returns how many bytes of a line may be shown, and what the rest is.
fn visible_part(line: &[u8]) -> (usize, TraceKind) {
    let (verb, rest) = split_verb(line);
    let name = line.len() - rest.len();
    match verb {
        Verb::Other => (0, TraceKind::Unknown),
        Verb::Auth => (name + mechanism_len(rest), TraceKind::Secret),
        Verb::Burl => (name, TraceKind::Secret),
        // Their argument is free text, and so may be anything.
        Verb::Noop | Verb::Help => (name, TraceKind::Unknown),
        _ => match Command::parse_arguments(verb, line, rest) {
            Ok(Command::Other { .. }) | Err(_) => (name, TraceKind::Unknown),
            Ok(_) => (line.len(), TraceKind::Text),
        },
    }
}

/// Returns how many bytes after AUTH name a known mechanism.
fn mechanism_len(rest: &[u8]) -> usize {
    let Some(tail) = rest.strip_prefix(b" ") else { return 0 };
    let name = tail.split(|byte| *byte == b' ').next().unwrap_or_default();
    if Mechanism::from_name(name).is_some() { 1 + name.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_only_what_was_parsed() {
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
            let (visible, kind) = visible_part(line);
            let all = visible == line.len();
            assert!(
                visible == shown && (all || kind == hidden),
                "{}: {visible} {kind:?}",
                line.escape_ascii()
            );
        }
    }
}
