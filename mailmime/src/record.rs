//! Records: a compact text form of envelopes and trees of parts, for stores. It is written while the message arrives.
//!
//! A *text* is `=` and its characters up to a line feed (no value contains one), or one letter for a common word. `-`
//! is an absent text and `.` ends a list. A *number* is hexadecimal and ends with a space.
//!
//! | record | form |
//! |---|---|
//! | envelope | `d`ate, `s`ubject, `i`n-reply-to, `m`essage-id, each with a text; `f`rom, se`n`der, `r`eply-to, `t`o, `c`c, `b`cc, each with an address list; `T` where it was cut; `.` |
//! | address list | `a` name, route, mailbox, host, or `g` and the name of a group, or `e` at a group's end; `.` |
//! | part | `P`, type, subtype, parameters, encoding, id, description, md5, location, disposition, languages; start and length of the header; parts, or `M` with an envelope and a part; `)`, `T` where it was cut, lines, length of the body |
//!
//! The format does not change: a later version reads what this one wrote. No record starts with `{`.

use crate::limits::Limits;
use crate::structure::{Address, ByteRange, Disposition, Envelope, Part, Structure};

/// The structure of a message as a store keeps it. [`Scanner::finish_record`](crate::Scanner::finish_record) writes it.
///
/// The two texts can be stored and read apart. Together they take at most [`Limits::record`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StructureRecord {
    /// The record of the envelope: see [`Envelope::from_record`].
    pub envelope: String,
    /// The record of the tree of parts: see [`Part::from_record`].
    pub root: String,
    /// The text of Date, for a column of its own: at most 256 bytes.
    pub date: Option<String>,
}

impl StructureRecord {
    /// Reads the structure.
    ///
    /// # Errors
    /// One of the records is damaged.
    pub fn decode(&self, limits: &Limits) -> Result<Structure, InvalidRecord> {
        Ok(Structure {
            envelope: Envelope::from_record(&self.envelope, limits)?,
            root: Part::from_record(&self.root, limits)?,
        })
    }
}

impl Envelope {
    /// Reads an envelope from its record. Its size as IMAP writes it is limited by [`Limits::envelope`].
    ///
    /// # Errors
    /// The record is damaged.
    pub fn from_record(record: &str, limits: &Limits) -> Result<Self, InvalidRecord> {
        RecordReader::new(record, limits).whole_envelope().ok_or(InvalidRecord)
    }
}

impl Part {
    /// Reads a tree of parts from its record. The size of each enclosed envelope is limited by [`Limits::envelope`].
    ///
    /// # Errors
    /// The record is damaged.
    pub fn from_record(record: &str, limits: &Limits) -> Result<Self, InvalidRecord> {
        RecordReader::new(record, limits).whole_part().ok_or(InvalidRecord)
    }
}

/// A record is damaged: no scanner wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRecord;

impl std::fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the record of a message's structure is damaged: scan the message again")
    }
}

impl std::error::Error for InvalidRecord {}

/// Common words, one letter each. Append only: records store the position.
const WORDS: [&str; 50] = [
    "text",
    "plain",
    "html",
    "multipart",
    "mixed",
    "alternative",
    "related",
    "application",
    "octet-stream",
    "pdf",
    "image",
    "jpeg",
    "png",
    "gif",
    "message",
    "rfc822",
    "7bit",
    "8bit",
    "binary",
    "base64",
    "quoted-printable",
    "charset",
    "us-ascii",
    "utf-8",
    "UTF-8",
    "iso-8859-1",
    "ISO-8859-1",
    "windows-1252",
    "name",
    "filename",
    "boundary",
    "attachment",
    "inline",
    "format",
    "flowed",
    "delsp",
    "yes",
    "type",
    "signed",
    "encrypted",
    "report",
    "delivery-status",
    "calendar",
    "audio",
    "video",
    "size",
    "zip",
    "protocol",
    "micalg",
    "digest",
];

/// The size of a piece of a record.
const PIECE: usize = 8 * 1024;

/// The size of the first piece, which is enough for most messages.
const FIRST_PIECE: usize = 1_024;

/// A record that is being written. It grows in pieces, without being copied.
#[derive(Debug, Default)]
pub(crate) struct RecordWriter {
    pieces: Vec<Vec<u8>>,
    length: usize,
    texts: usize,
}

impl RecordWriter {
    /// The number of bytes written.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The number of texts written.
    pub(crate) fn texts(&self) -> usize {
        self.texts
    }

    /// Writes a mark.
    pub(crate) fn mark(&mut self, mark: u8) {
        self.push(&[mark]);
    }

    /// Writes a text.
    pub(crate) fn text(&mut self, text: &str) {
        self.texts += 1;
        match word_letter(text) {
            Some(letter) => self.mark(letter),
            None => {
                self.mark(b'=');
                text.split('\n').for_each(|line| self.push(line.as_bytes()));
                self.mark(b'\n');
            }
        }
    }

    /// Writes a text that may be absent.
    pub(crate) fn optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.mark(b'-'),
        }
    }

    /// Writes a number.
    pub(crate) fn number(&mut self, number: u64) {
        self.push(format!("{number:x} ").as_bytes());
    }

    /// Returns the whole record as one text.
    pub(crate) fn finish(self) -> String {
        let mut whole = Vec::with_capacity(self.length);
        for piece in self.pieces {
            whole.extend_from_slice(&piece);
        }
        // The pieces of valid texts are joined again, so this is valid UTF-8.
        String::from_utf8(whole).unwrap_or_default()
    }

    fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            let room = self.pieces.last().map_or(0, |piece| piece.capacity() - piece.len());
            if room == 0 {
                let size = if self.pieces.is_empty() { FIRST_PIECE } else { PIECE };
                self.pieces.push(Vec::with_capacity(size));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(piece) = self.pieces.last_mut() {
                piece.extend_from_slice(now);
            }
            bytes = later;
        }
    }
}

/// Returns the most bytes that [`RecordWriter::text`] writes for a text.
pub(crate) fn text_size(text: &str) -> usize {
    if word_letter(text).is_some() { 1 } else { text.len() + 2 }
}

fn word_letter(text: &str) -> Option<u8> {
    let at = WORDS.iter().position(|word| *word == text)?;
    match u8::try_from(at).ok()? {
        at @ 0..26 => Some(b'A' + at),
        at => Some(b'a' + (at - 26)),
    }
}

fn word(letter: u8) -> Option<&'static str> {
    let at = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        _ => return None,
    };
    WORDS.get(usize::from(at)).copied()
}

struct RecordReader<'r> {
    rest: &'r str,
    /// The most bytes of an envelope, as IMAP writes it.
    envelope_limit: usize,
}

impl<'r> RecordReader<'r> {
    fn new(record: &'r str, limits: &Limits) -> Self {
        Self { rest: record, envelope_limit: limits.envelope }
    }

    fn whole_envelope(mut self) -> Option<Envelope> {
        let envelope = self.envelope()?;
        self.rest.is_empty().then_some(envelope)
    }

    fn whole_part(mut self) -> Option<Part> {
        (self.mark()? == b'P').then_some(())?;
        let part = self.part(0)?;
        self.rest.is_empty().then_some(part)
    }

    fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    fn mark(&mut self) -> Option<u8> {
        let mark = self.peek()?;
        self.rest = self.rest.get(1..)?;
        Some(mark)
    }

    /// Reads the next mark if it is this one, and returns whether it was.
    fn reads(&mut self, mark: u8) -> bool {
        self.peek() == Some(mark) && self.mark().is_some()
    }

    fn text(&mut self) -> Option<String> {
        match self.mark()? {
            b'=' => {
                let (text, rest) = self.rest.split_once('\n')?;
                self.rest = rest;
                Some(text.to_owned())
            }
            letter => word(letter).map(str::to_owned),
        }
    }

    fn optional(&mut self) -> Option<Option<String>> {
        if self.reads(b'-') { Some(None) } else { self.text().map(Some) }
    }

    fn number(&mut self) -> Option<u64> {
        let (digits, rest) = self.rest.split_once(' ')?;
        self.rest = rest;
        u64::from_str_radix(digits, 16).ok()
    }

    fn envelope(&mut self) -> Option<Envelope> {
        let mut envelope = Envelope::default();
        loop {
            match self.mark()? {
                b'.' => break,
                b'T' => envelope.truncated = true,
                b'd' => envelope.date = Some(self.text()?),
                b's' => envelope.subject = Some(self.text()?),
                b'i' => envelope.in_reply_to = Some(self.text()?),
                b'm' => envelope.message_id = Some(self.text()?),
                b'f' => self.addresses(&mut envelope.from)?,
                b'n' => self.addresses(&mut envelope.sender)?,
                b'r' => self.addresses(&mut envelope.reply_to)?,
                b't' => self.addresses(&mut envelope.to)?,
                b'c' => self.addresses(&mut envelope.cc)?,
                b'b' => self.addresses(&mut envelope.bcc)?,
                _ => return None,
            }
        }
        for repeated in [&mut envelope.sender, &mut envelope.reply_to] {
            if repeated.is_empty() {
                repeated.clone_from(&envelope.from);
            }
        }
        envelope.limit_size(self.envelope_limit);
        Some(envelope)
    }

    fn addresses(&mut self, list: &mut Vec<Address>) -> Option<()> {
        loop {
            list.push(match self.mark()? {
                b'.' => return Some(()),
                b'a' => Address {
                    name: self.optional()?,
                    adl: self.optional()?,
                    mailbox: self.optional()?,
                    host: self.optional()?,
                },
                b'g' => Address { mailbox: Some(self.text()?), ..Address::default() },
                b'e' => Address::default(),
                _ => return None,
            });
        }
    }

    fn parameters(&mut self) -> Option<Vec<(String, String)>> {
        let mut parameters = Vec::new();
        while !self.reads(b'.') {
            parameters.push((self.text()?, self.text()?));
        }
        Some(parameters)
    }

    fn part(&mut self, depth: usize) -> Option<Part> {
        if depth > Limits::MAX_DEPTH {
            return None;
        }
        let mut part = Part {
            media_type: self.text()?,
            media_subtype: self.text()?,
            parameters: self.parameters()?,
            encoding: self.text()?,
            id: self.optional()?,
            description: self.optional()?,
            md5: self.optional()?,
            location: self.optional()?,
            ..Part::default()
        };
        if let Some(kind) = self.optional()? {
            part.disposition = Some(Disposition { kind, parameters: self.parameters()? });
        }
        while !self.reads(b'.') {
            part.languages.push(self.text()?);
        }
        let start = self.number()?;
        let end = start.checked_add(self.number()?)?;
        part.header = ByteRange { start, end };
        loop {
            match self.mark()? {
                b'P' => part.children.push(self.part(depth + 1)?),
                b'M' => {
                    let envelope = self.envelope()?;
                    (self.mark()? == b'P').then_some(())?;
                    let root = self.part(depth + 1)?;
                    part.message = Some(Box::new(Structure { envelope, root }));
                }
                b')' => break,
                _ => return None,
            }
        }
        part.children.shrink_to_fit();
        part.truncated = self.reads(b'T');
        part.lines = self.number()?;
        part.body = ByteRange { start: end, end: end.checked_add(self.number()?)? };
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_common_words_as_one_letter_and_reads_all_texts_back() {
        let mut seen = std::collections::BTreeSet::new();
        for text in WORDS {
            let letter = word_letter(text).unwrap();
            assert!(letter.is_ascii_alphabetic() && seen.insert(letter), "{text}");
            assert_eq!(word(letter), Some(text));
        }
        let long = "ü".repeat(20_000);
        let mut writer = RecordWriter::default();
        for text in ["", "text", "=", "-", "Text", &long] {
            writer.text(text);
        }
        let (length, texts) = (writer.len(), writer.texts());
        let record = writer.finish();
        assert_eq!((record.len(), 6), (length, texts));
        let mut reader = RecordReader::new(&record, &Limits::default());
        for text in ["", "text", "=", "-", "Text", &long] {
            assert_eq!(reader.text().as_deref(), Some(text));
        }
    }

    #[test]
    fn rejects_damaged_records() {
        let limits = Limits::default();
        let message = b"From: a@b\r\nContent-Type: text/html\r\n\r\nx";
        let mut writer = crate::scanner::Scanner::new(limits.clone());
        writer.push(message);
        let record = writer.finish_record();
        assert_eq!(record.decode(&limits), Ok(Structure::parse(message)));
        for cut in 0..record.root.len() {
            assert_eq!(Part::from_record(&record.root[..cut], &limits), Err(InvalidRecord));
        }
        for bad in ["", "x", "P", "é", "f", "fa", "..", "sé."] {
            assert_eq!(Envelope::from_record(bad, &limits), Err(InvalidRecord), "{bad}");
        }
        let deep = "PAB.Q-----.0 0 ".repeat(5_000);
        assert_eq!(Part::from_record(&deep, &limits), Err(InvalidRecord));
    }
}
