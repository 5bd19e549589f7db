//! Every parser alone, on arbitrary bytes: what parses can be encoded, and what was encoded parses and encodes to the
//! same bytes.
//!
//! The first byte of an input chooses the parser, the second its options; the bytes after the first line end are
//! parsed. A capital letter as the second byte repeats the bytes many times, so that a fuzzer's timeout detects work
//! that grows faster than its input.

use std::mem::discriminant;

use proto_imap::encode::{self, CommandBuffer, LiteralMode, Options};
use proto_imap::frame::{self, LineEnd};
use proto_imap::parse::{self, Context};
use proto_imap::types::{NameEncoding, Response as ImapResponse};
use proto_mail::SendBuffer;
use proto_smtp::data::{BareNewline, DotStuffer, DotUnstuffer, LineEndings, Stop};
use proto_smtp::types::{
    Address, BurlSource, Capabilities, Command, DateTime, DeliverBy, Domain, EnvelopeId, EtrnNode, Interval,
    Notify, OriginalRecipient, Priority, PriorityProfile, Response, Solicitation,
};

/// The least number of bytes after repetition.
const MANY: usize = 64 * 1024;

/// Parses arbitrary bytes.
///
/// # Panics
/// If a parsed value cannot be encoded, or does not parse as the same value again.
pub fn parsers(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let bytes = data.get(end + 1..).unwrap_or_default();
    let [which, how] = [0, 1].map(|at| data.get(at).filter(|_| at < end).copied().unwrap_or(b'0'));
    let many = how.is_ascii_uppercase() && !bytes.is_empty();
    let bytes = if many { bytes.repeat(MANY.div_ceil(bytes.len())) } else { bytes.to_vec() };
    match which.wrapping_sub(b'0') % 8 {
        0 => imap_response(&bytes),
        1 => imap_command(&bytes, options(how)),
        2 => imap_append(&bytes, options(how)),
        3 => imap_frames(&bytes),
        4 => smtp_command(&bytes),
        5 => smtp_reply(&bytes),
        6 => smtp_values(&bytes),
        _ => smtp_data(&bytes, how),
    }
}

fn imap_response(bytes: &[u8]) {
    let strict = parse::response(bytes, &Context::strict());
    let tolerant = parse::response(bytes, &Context::tolerant());
    // Views are parsed when they are accessed.
    let _ = (format!("{strict:?}"), format!("{tolerant:?}"));
    // What the lenient parser accepts need not be encodable.
    if matches!(strict, ImapResponse::Unparsed(_)) {
        return;
    }
    let mut written = Vec::new();
    encode::response(&strict, &mut written);
    if written.is_empty() {
        // What cannot be encoded is left out, and here that is everything.
        return;
    }
    let again = parse::response(&written, &Context::strict());
    assert!(!matches!(again, ImapResponse::Unparsed(_)), "{} is {again:?}", written.escape_ascii());
    let mut twice = Vec::new();
    encode::response(&again, &mut twice);
    assert_eq!(written.escape_ascii().to_string(), twice.escape_ascii().to_string());
}

fn options(how: u8) -> Options {
    let literals = match how % 3 {
        0 => LiteralMode::Synchronising,
        1 => LiteralMode::Minus,
        _ => LiteralMode::Plus,
    };
    let names = if how.is_multiple_of(2) { NameEncoding::ModifiedUtf7 } else { NameEncoding::Utf8 };
    Options { literals, names }
}

fn imap_command(bytes: &[u8], options: Options) {
    let _ = parse::command(bytes, &Context::tolerant());
    let _ = parse::authentication(bytes, &Context::strict());
    let Ok((tag, command)) = parse::command(bytes, &Context::strict()) else { return };
    let shown = format!("{command:?}");
    let mut line = CommandBuffer::default();
    if let Err(why) = encode::command(tag, &command, options, &mut line) {
        assert!(line.bytes.is_empty(), "{why}");
        return;
    }
    // A set drops duplicate numbers, for example, so the first encoding is the reference.
    let read = parse::command(&line.bytes, &Context::strict());
    let mut twice = CommandBuffer::default();
    let again = read.as_ref().is_ok_and(|(tag, again)| {
        discriminant(again) == discriminant(&command)
            && encode::command(*tag, again, options, &mut twice).is_ok()
    });
    let written = line.bytes.escape_ascii();
    assert!(again && twice.bytes == line.bytes, "{shown} became {written}, {read:?}");
}

fn imap_append(bytes: &[u8], options: Options) {
    let _ = parse::is_append_payload(bytes);
    let Ok((tag, append, announced)) = parse::append_prefix(bytes, &Context::strict()) else { return };
    let mut line = CommandBuffer::default();
    if encode::append_prefix(tag, &append, announced, options, &mut line).is_err() {
        assert!(line.bytes.is_empty());
        return;
    }
    let read = parse::append_prefix(&line.bytes, &Context::strict());
    let mut twice = CommandBuffer::default();
    let again = read.is_ok_and(|(tag, again, size)| {
        size == announced && encode::append_prefix(tag, &again, size, options, &mut twice).is_ok()
    });
    assert!(again && twice.bytes == line.bytes, "{append:?} became {}", line.bytes.escape_ascii());
    assert!(parse::is_append_payload(&line.bytes), "{}", line.bytes.escape_ascii());
}

/// Finds what announces a literal, whatever precedes it.
fn imap_frames(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        if let LineEnd::Literal(announced) = frame::ending(line) {
            let text = format!("{{{}", announced.size);
            assert!(String::from_utf8_lossy(line).contains(&text) || line.contains(&b'0'), "{announced:?}");
        }
    }
    let mut at = bytes;
    // FETCH item by item, as a client reads it.
    let context = Context::tolerant();
    let Ok((_, start)) = parse::fetch::start(bytes, &context) else { return };
    at = at.get(start..).unwrap_or_default();
    let mut place = parse::fetch::ItemPosition::First;
    while let Ok((used, step)) = parse::fetch::next_item(at, place, &context) {
        let _ = format!("{step:?}");
        assert!(used <= at.len());
        if used == 0 {
            return;
        }
        at = at.get(used..).unwrap_or_default();
        place = parse::fetch::ItemPosition::Later;
    }
}

/// Unknown parameters are encoded after the others, and an initial response that is not base64 is dropped, so the
/// first encoding is the reference.
fn smtp_command(line: &[u8]) {
    let write = |command: &Command<'_>| {
        let mut tx = SendBuffer::new();
        command.encode(&mut tx);
        tx.take()
    };
    let Ok(command) = Command::parse(line) else { return };
    let (shown, written) = (format!("{command:?}"), write(&command));
    let one = written.strip_suffix(b"\r\n").unwrap_or_default();
    assert!(!one.iter().any(|byte| b"\r\n\0".contains(byte)), "{}", written.escape_ascii());
    let again = Command::parse(one);
    let again = again.as_ref().map(|again| (discriminant(again), write(again)));
    assert_eq!(again, Ok((discriminant(&command), written.clone())), "{shown} became {}", one.escape_ascii());
}

fn smtp_reply(bytes: &[u8]) {
    let Ok(read) = Response::parse(bytes) else { return };
    let _ = (format!("{read:?}"), Capabilities::try_from(&read).map(|extensions| format!("{extensions:?}")));
    let mut tx = SendBuffer::new();
    read.encode(&mut tx);
    let written = tx.take();
    let again = Response::parse(&written);
    assert!(again.is_ok(), "{}", written.escape_ascii());
    let Ok(again) = again else { return };
    assert_eq!(
        (again.code(), again.enhanced()),
        (read.code(), read.enhanced()),
        "{}",
        written.escape_ascii()
    );
    let mut tx = SendBuffer::new();
    again.encode(&mut tx);
    assert_eq!(tx.take().escape_ascii().to_string(), written.escape_ascii().to_string());
}

/// Encodes a parsed value and asserts that it parses as the same value.
macro_rules! same {
    ($text:expr, $kind:ident) => {
        if let Ok(value) = $kind::parse($text) {
            let written = value.to_string();
            assert!(!written.contains(['\r', '\n', '\0']), "{written:?}");
            let shown = format!("{value:?}");
            let again = $kind::parse(&written).map(|again| format!("{again:?}"));
            assert_eq!(again.ok(), Some(shown), "written as {written:?}");
        }
    };
}

/// The values that commands are made of.
fn smtp_values(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    same!(text, Address);
    same!(text, Domain);
    same!(text, DeliverBy);
    same!(text, Interval);
    same!(text, Priority);
    same!(text, Notify);
    same!(text, EnvelopeId);
    same!(text, OriginalRecipient);
    same!(text, Solicitation);
    same!(text, PriorityProfile);
    same!(text, BurlSource);
    same!(text, DateTime);
    same!(text, EtrnNode);
}

/// Unstuffing inverts dot-stuffing for every split, and gives the same result for arbitrary bytes in every split.
fn smtp_data(bytes: &[u8], how: u8) {
    let endings = if how.is_multiple_of(2) { LineEndings::Require } else { LineEndings::Normalize };
    let bare = if how % 4 < 2 { BareNewline::Reject } else { BareNewline::Accept };
    let mut stuffed = Vec::new();
    let mut stuffing = DotStuffer::new(endings);
    let (head, tail) = bytes.split_at(usize::from(how) % (bytes.len() + 1));
    let written = [head, tail]
        .into_iter()
        .try_for_each(|part| stuffing.write(part, |piece| stuffed.extend_from_slice(piece)));
    if written.is_ok() && stuffing.finish(|piece| stuffed.extend_from_slice(piece)).is_ok() {
        let (content, stop) = unstuffed(&stuffed, 7, bare);
        assert_eq!(stop, Stop::End, "{}", stuffed.escape_ascii());
        let whole = bytes.is_empty() || bytes.ends_with(b"\r\n");
        if endings == LineEndings::Require {
            let expected = if whole { bytes.to_vec() } else { [bytes, b"\r\n"].concat() };
            assert_eq!(content.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
    }
    assert_eq!(unstuffed(bytes, bytes.len().max(1), bare), unstuffed(bytes, 1, bare));
}

/// Unstuffs bytes that come in pieces.
fn unstuffed(bytes: &[u8], piece: usize, bare: BareNewline) -> (Vec<u8>, Stop) {
    let mut unstuffing = DotUnstuffer::new(bare);
    let (mut content, mut held) = (Vec::new(), Vec::new());
    let mut pieces = bytes.chunks(piece);
    loop {
        let part = unstuffing.unstuff(&mut held);
        content.extend_from_slice(held.get(part.content).unwrap_or_default());
        held.drain(..part.consumed);
        if !matches!(part.stop, Stop::More) {
            return (content, part.stop);
        }
        if part.consumed == 0 || held.is_empty() {
            match pieces.next() {
                Some(more) => held.extend_from_slice(more),
                None => return (content, part.stop),
            }
        }
    }
}
