//! The structure of messages: arbitrary bytes are scanned with two sets of limits and in many splits.
//!
//! The whole input is the message, so that the inputs in `tests/corpus/message` are messages which other tests read too.

use mailmime::{
    Address, ByteRange, Envelope, HeaderFields, HeaderFilter, HeaderSubset, Limits, Part, Scanner, Section,
    SectionText, Structure, StructureRecord, TextDecoder, TransferDecoder, decode, header_fields,
};

/// The longest message that is split at every byte.
const SPLIT_EVERYWHERE: usize = 200;

/// The bytes that are scanned to try splits of a longer message.
const SPLIT_BYTES: usize = 128 * 1024;

/// The number of places at which a record is damaged.
const DAMAGES: usize = 12;

/// The number of parts whose texts and fields are decoded.
const DECODED_PARTS: usize = 50;

/// Scans a message and uses everything that was found.
///
/// # Panics
/// If a split changes the result, a limit is exceeded, a range lies outside of its parent, or decoded text is too long.
pub fn message(bytes: &[u8]) {
    for limits in [Limits::default(), low_limits()] {
        let record = scan(bytes, [bytes.len()].into_iter(), &limits);
        check_splits(bytes, &limits, &record);
        let decoded = record.decode(&limits);
        assert!(decoded.is_ok(), "a scanner wrote this record: {record:?}");
        let structure = decoded.unwrap_or_default();
        let base = limits.record_base.saturating_add(bytes.len() / 10).min(limits.record);
        assert!(record.envelope.len() + record.root.len() <= base, "the record is too long");
        check_structure(&structure, ByteRange { start: 0, end: bytes.len() as u64 }, &limits);
        check_damaged_records(&record, &limits);
        check_numbers(&structure, bytes, &limits);
        for (_, part) in structure.numbered_parts().take(DECODED_PARTS) {
            check_header(part.header.slice(bytes));
            check_text(part, part.body.slice(bytes));
        }
        check_header(structure.root.header.slice(bytes));
    }
}

/// Limits that small inputs exceed.
fn low_limits() -> Limits {
    let mut limits = Limits::default();
    (limits.parts, limits.depth, limits.texts) = (6, 4, 64);
    (limits.parameters, limits.languages, limits.word) = (2, 2, 12);
    (limits.addresses, limits.envelope_addresses) = (4, 6);
    (limits.address_field, limits.field) = (80, 40);
    // The lowest values that count: see `Limits`.
    (limits.envelope, limits.record_base, limits.record) = (6 * 1024, 6 * 1024, 7 * 1024);
    limits
}

/// Scans in pieces of these lengths; the last one is repeated.
fn scan(bytes: &[u8], mut lengths: impl Iterator<Item = usize>, limits: &Limits) -> StructureRecord {
    let mut scanner = Scanner::new(limits.clone());
    let (mut rest, mut length) = (bytes, 1);
    while !rest.is_empty() {
        length = lengths.next().unwrap_or(length);
        let (piece, more) = rest.split_at(length.min(rest.len()));
        scanner.push(piece);
        // An empty piece changes nothing.
        scanner.push(b"");
        rest = if length == 0 { rest } else { more };
        length = length.max(1);
    }
    scanner.finish_record()
}

fn check_splits(bytes: &[u8], limits: &Limits, whole: &StructureRecord) {
    let splits = SPLIT_BYTES / bytes.len().max(1);
    let step = if bytes.len() <= SPLIT_EVERYWHERE { 1 } else { bytes.len() / splits.clamp(1, 32) };
    for at in (1..bytes.len()).step_by(step) {
        let split = scan(bytes, [at, bytes.len()].into_iter(), limits);
        assert_eq!(&split, whole, "split at {at}");
    }
    for length in [1, 2, 7] {
        assert_eq!(&scan(bytes, [length].into_iter(), limits), whole, "in pieces of {length}");
    }
}

fn check_structure(structure: &Structure, within: ByteRange, limits: &Limits) {
    let mut counts = Counts::default();
    check_message(structure, within, limits, 1, &mut counts);
    assert_eq!(structure.root.header.start, 0);
    assert_eq!(structure.root.body.end, within.end, "the message ends with its body");
    assert!(counts.parts <= limits.parts, "{} parts", counts.parts);
    assert!(counts.texts <= limits.texts, "{} texts", counts.texts);
}

#[derive(Default)]
struct Counts {
    parts: usize,
    texts: usize,
}

fn check_message(
    structure: &Structure,
    within: ByteRange,
    limits: &Limits,
    depth: usize,
    counts: &mut Counts,
) {
    check_envelope(&structure.envelope, limits);
    check_part(&structure.root, within, limits, depth, counts);
}

fn check_part(part: &Part, within: ByteRange, limits: &Limits, depth: usize, counts: &mut Counts) {
    counts.parts += 1;
    counts.texts += 2 + 2 * part.parameters.len() + part.languages.len();
    assert!(depth <= limits.depth, "{depth} levels");
    assert!(part.header.start >= within.start && part.header.start <= part.header.end);
    assert_eq!(part.header.end, part.body.start, "the body follows the header");
    assert!(part.body.start <= part.body.end && part.body.end <= within.end);
    assert!(part.lines <= part.body.len(), "each line has a byte");
    assert!(!part.media_type.is_empty() && !part.media_subtype.is_empty() && !part.encoding.is_empty());
    let disposition = part.disposition.as_ref();
    let parameters =
        [part.parameters.as_slice(), disposition.map_or(&[][..], |one| one.parameters.as_slice())];
    for list in parameters {
        // A default charset is added to a part without Content-Type.
        assert!(list.len() <= limits.parameters.max(1), "{} parameters", list.len());
        list.iter().for_each(|(name, value)| check_texts([name, value]));
    }
    assert!(part.languages.len() <= limits.languages);
    check_texts([&part.media_type, &part.media_subtype, &part.encoding].into_iter().chain(&part.languages));
    check_texts([&part.id, &part.description, &part.md5, &part.location].into_iter().flatten());
    let mut start = part.body.start;
    for child in &part.children {
        assert_eq!(part.media_type, "multipart");
        check_part(child, ByteRange { start, end: part.body.end }, limits, depth + 1, counts);
        start = child.body.end;
    }
    assert_eq!(part.children.is_empty(), part.media_type != "multipart", "a multipart has a part");
    if let Some(message) = &part.message {
        assert_eq!((message.root.header.start, message.root.body.end), (part.body.start, part.body.end));
        check_message(message, part.body, limits, depth + 1, counts);
    }
}

/// No text of a header has a character that IMAP could not quote or that would end a record.
fn check_texts<'t>(texts: impl IntoIterator<Item = &'t String>) {
    for text in texts {
        assert!(!text.contains(['\r', '\n', '\0']), "{text:?}");
    }
}

fn check_envelope(envelope: &Envelope, limits: &Limits) {
    let texts = [&envelope.date, &envelope.subject, &envelope.in_reply_to, &envelope.message_id];
    check_texts(texts.into_iter().flatten());
    let own = [&envelope.from, &envelope.to, &envelope.cc, &envelope.bcc];
    assert!(own.into_iter().map(Vec::len).sum::<usize>() <= limits.envelope_addresses);
    for list in own.into_iter().chain([&envelope.sender, &envelope.reply_to]) {
        assert!(list.len() <= limits.addresses, "{} addresses", list.len());
        check_addresses(list, limits);
    }
    let written =
        [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
    let size =
        written.into_iter().flatten().map(|one| 17 + address_texts(one).map(String::len).sum::<usize>());
    assert!(size.sum::<usize>() <= limits.envelope, "IMAP writes a longer envelope");
}

fn address_texts(address: &Address) -> impl Iterator<Item = &String> {
    [&address.name, &address.adl, &address.mailbox, &address.host].into_iter().flatten()
}

fn check_addresses(list: &[Address], limits: &Limits) {
    let mut in_group = false;
    for address in list {
        assert!(address_texts(address).all(|text| text.len() <= limits.word));
        check_texts(address_texts(address));
        if address.host.is_none() {
            assert_eq!(in_group, address.mailbox.is_none(), "groups start and end in turn");
            in_group = !in_group;
        } else {
            assert!(address.mailbox.is_some());
        }
        assert_ne!((address.envelope_mailbox(), address.envelope_host()), (Some(""), Some("")));
    }
    assert!(!in_group, "each group is ended");
}

/// Damaged records are errors or other structures, and never panic.
fn check_damaged_records(record: &StructureRecord, limits: &Limits) {
    for text in [&record.envelope, &record.root] {
        let step = text.len() / DAMAGES + 1;
        for at in (0..text.len()).step_by(step).filter(|at| text.is_char_boundary(*at)) {
            let (before, from) = text.split_at(at);
            let after = from.chars().next().map_or("", |first| &from[first.len_utf8()..]);
            for damaged in [format!("{before}{after}"), format!("{before}.{from}"), before.to_owned()] {
                let _ = (Envelope::from_record(&damaged, limits), Part::from_record(&damaged, limits));
            }
        }
    }
}

/// Each numbered part is found by its number, and its sections lie inside the message.
fn check_numbers(structure: &Structure, bytes: &[u8], limits: &Limits) {
    let mut count = 0;
    for (path, part) in structure.numbered_parts() {
        count += 1;
        assert!(structure.root.part(&path).is_some_and(|found| std::ptr::eq(found, part)), "{path:?}");
        let number = path.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        let of = |spec: &str| {
            let section = spec.parse::<Section>();
            assert!(section.is_ok(), "{spec} is a section");
            structure.section(bytes, &section.unwrap_or_default())
        };
        assert_eq!(of(&number).as_deref(), Some(part.body.slice(bytes)));
        assert_eq!(of(&format!("{number}.MIME")).as_deref(), Some(part.header.slice(bytes)));
        let has_header = of(&format!("{number}.HEADER")).is_some();
        assert_eq!(has_header, part.message.is_some());
        assert_eq!(of(&format!("{number}.text")).is_some(), part.message.is_some());
    }
    assert!((1..=limits.parts).contains(&count));
    let whole = structure.section(bytes, &Section { path: Vec::new(), text: SectionText::Whole });
    assert_eq!(whole.as_deref(), Some(bytes));
}

/// A header is divided into fields without a gap, and subsets are the same whole and in pieces.
fn check_header(header: &[u8]) {
    let mut at = 0;
    for field in HeaderFields::new(header) {
        assert_eq!(header.get(at..at + field.raw.len()), Some(field.raw));
        at += field.raw.len();
        assert!(
            field.text().len() <= 4 * field.value.len() && field.unfolded().len() <= 2 * field.value.len()
        );
    }
    for subset in [HeaderSubset::Listed, HeaderSubset::NotListed] {
        let names = ["subject", "Content-Type", ""];
        let whole = header_fields(header, &names, subset);
        for length in [1, 5, 64] {
            let (mut filter, mut pieces) = (HeaderFilter::new(&names, subset), Vec::new());
            header.chunks(length).for_each(|piece| filter.push(piece, &mut pieces));
            filter.finish(&mut pieces);
            assert_eq!(pieces, whole, "in pieces of {length}");
        }
    }
}

/// A part is decoded to the same bytes and text in any pieces, and its text is at most four times as long.
fn check_text(part: &Part, body: &[u8]) {
    let decoded = [body.len().max(1), 1, 3, 64].map(|length| {
        let (mut decoder, mut text) = (part.text_decoder(), String::new());
        body.chunks(length).for_each(|piece| decoder.push(piece, &mut text));
        TextDecoder::finish(decoder, &mut text);
        text
    });
    assert!(decoded.iter().all(|text| *text == decoded[0]), "{decoded:?}");
    assert!(decoded[0].len() <= 4 * body.len(), "{} bytes of text from {}", decoded[0].len(), body.len());
    assert!(part.decode_text(body).len() <= 4 * body.len());
    if TransferDecoder::new(&part.encoding).is_some() {
        let pieces = [body.len().max(1), 1, 5].map(|length| transfer_decode(&part.encoding, body, length));
        assert!(pieces.iter().all(|one| *one == pieces[0]));
        assert!(pieces[0].as_ref().is_none_or(|bytes| bytes.len() <= body.len() + body.len() / 2));
    }
    let stated = part.parameters.iter().chain(part.disposition.iter().flat_map(|one| &one.parameters));
    let longest: usize = stated.map(|(_, value)| value.len()).sum();
    assert!(part.file_name().is_none_or(|name| name.len() <= 4 * longest));
    let date = part.message.as_ref().and_then(|message| message.envelope.date.as_deref());
    let _ = date.and_then(decode::date);
}

fn transfer_decode(encoding: &str, body: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut decoder = TransferDecoder::new(encoding)?;
    let mut bytes = Vec::new();
    for piece in body.chunks(length) {
        decoder.push(piece, &mut bytes).ok()?;
    }
    decoder.finish(&mut bytes);
    Some(bytes)
}
