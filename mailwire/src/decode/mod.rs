//! `decode`: raw protocol octets in, one JSON line per event out. It never stops at what it cannot read.
//!
//! A line says what was read and which repairs that needed. Credentials are shown by their length only.

mod imap;
mod smtp;

use std::io::Read;

use serde_json::{Value, json};

use crate::cli::{Decode, DecodeArgs, Output as OutputArgs};
use crate::failure::{Failure, Kind};
use crate::output::Output;

/// The most that is read, in octets: a capture larger than this is not looked at by people.
const MOST: u64 = 256 << 20;

/// Runs the command.
pub(crate) fn run(arguments: &DecodeArgs) -> Result<(), Failure> {
    let mut input = Vec::new();
    std::io::stdin()
        .lock()
        .take(MOST)
        .read_to_end(&mut input)
        .map_err(|error| Failure::new(Kind::Data, format!("standard input: {error}")))?;
    let output = Output::from(OutputArgs { json: true, quiet: false });
    let mut show = |event: Value| output.json_always(&event);
    match arguments.what {
        Decode::ImapResponse => imap::responses(&input, arguments.strict, &mut show),
        Decode::ImapCommand => imap::commands(&input, arguments.strict, &mut show),
        Decode::SmtpReply => smtp::replies(&input, arguments.strict, &mut show),
        Decode::SmtpCommand => smtp::commands(&input, arguments.strict, &mut show),
    }
    Ok(())
}

/// What could not be read: where, counted from the beginning of its message, and why.
fn unparsed(at: usize, why: &str, raw: &[u8]) -> Value {
    /// How much of it is shown, in octets.
    const SHOWN: usize = 256;
    let raw = raw.get(..SHOWN).unwrap_or(raw);
    json!({ "event": "unparsed", "at": at, "why": why, "raw": text(raw), "repairs": [] })
}

/// Octets as text; those that are not UTF-8 are replaced.
fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// The next line, without its end, what follows it, and whether the end was CRLF.
fn split_line(input: &[u8]) -> Option<(&[u8], &[u8], bool)> {
    if input.is_empty() {
        return None;
    }
    let Some(end) = input.iter().position(|&octet| octet == b'\n') else {
        return Some((input, &[], false));
    };
    let (line, rest) = (&input[..end], &input[end + 1..]);
    Some(match line.strip_suffix(b"\r") {
        Some(line) => (line, rest, true),
        None => (line, rest, false),
    })
}
