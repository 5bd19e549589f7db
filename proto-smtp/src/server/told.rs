//! What a trace may show of a command.
//!
//! A line of AUTH or BURL is a secret behind its first words. A line that is not understood may be one that went astray,
//! so that no more of it is shown than a verb that is known. Only called while somebody traces.

use proto_mail::{Mechanism, RecvBuffer, trace::Kind};

use crate::parse;
use crate::types::{Command, Verb};

/// Tells of the line of `len` octets, `whole` with its end.
#[cold]
pub(super) fn line((len, whole): (usize, usize), rx: &mut RecvBuffer) {
    let (shown, hidden) = judge(rx.bytes().get(..len).unwrap_or_default());
    rx.tell(shown, Kind::Text);
    rx.tell(len, hidden);
    rx.tell(whole, Kind::Text);
}

/// Tells of a line of a SASL exchange.
#[cold]
pub(super) fn sasl((len, whole): (usize, usize), rx: &mut RecvBuffer) {
    let cancelled = rx.bytes().get(..len) == Some(b"*");
    rx.tell(len, if cancelled { Kind::Text } else { Kind::Secret });
    rx.tell(whole, Kind::Text);
}

/// How much of a line may be shown, and what the rest is.
fn judge(line: &[u8]) -> (usize, Kind) {
    let (verb, rest) = parse::split_verb(line);
    let name = line.len() - rest.len();
    match verb {
        Verb::Other => (0, Kind::Unknown),
        Verb::Auth => (name + mechanism(rest), Kind::Secret),
        Verb::Burl => (name, Kind::Secret),
        // What follows these is any text, and so may be anything.
        Verb::Noop | Verb::Help => (name, Kind::Unknown),
        _ => match parse::arguments(verb, line, rest) {
            Ok(Command::Other { .. }) | Err(_) => (name, Kind::Unknown),
            Ok(_) => (line.len(), Kind::Text),
        },
    }
}

/// How many octets of what follows AUTH name a mechanism that is known.
fn mechanism(rest: &[u8]) -> usize {
    let Some(behind) = rest.strip_prefix(b" ") else { return 0 };
    let name = behind.split(|octet| *octet == b' ').next().unwrap_or_default();
    if Mechanism::from_name(name).is_some() { 1 + name.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_shown_than_was_understood() {
        for (line, shown, hidden) in [
            (&b"MAIL FROM:<a@example.org> SIZE=5"[..], 32, Kind::Text),
            (b"MAIL FROM: hunter2", 4, Kind::Unknown),
            (b"AUTH PLAIN AGEAaHVudGVyMg==", 10, Kind::Secret),
            (b"auth plain", 10, Kind::Secret),
            (b"AUTH AGEAaHVudGVyMg==", 4, Kind::Secret),
            (b"AUTH  PLAIN AGEAaHVudGVyMg==", 4, Kind::Secret),
            (b"AUTHAGEAaHVudGVyMg==", 0, Kind::Unknown),
            (b"AGEAaHVudGVyMg==", 0, Kind::Unknown),
            (b"BURL imap://joe;urlauth=x LAST", 4, Kind::Secret),
            (b"NOOP hunter2", 4, Kind::Unknown),
            (b"DATA hunter2", 4, Kind::Unknown),
            (b"EHLO client.example", 19, Kind::Text),
            (b"STARTTLS", 8, Kind::Text),
            (b"", 0, Kind::Unknown),
        ] {
            let (told, kind) = judge(line);
            let all = told == line.len();
            assert!(told == shown && (all || kind == hidden), "{}: {told} {kind:?}", line.escape_ascii());
        }
    }
}
