//! Header fields: splits a header block, unfolds values, and selects the subsets of `HEADER.FIELDS`.
//!
//! Parses RFC 5322 §2.2 tolerantly: bare LF and missing colons are accepted. Every function is linear in its input.

use crate::decode;
use crate::unfold::unfold;
use memchr::memchr;
use std::collections::BTreeSet;

/// One field of a header, as sent: folded and encoded. [`decode::encoded_words`](crate::decode::encoded_words) decodes
/// its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderField<'a> {
    /// The name; empty for a line without a colon.
    pub name: &'a [u8],
    /// Everything after the colon, including the line end.
    pub value: &'a [u8],
    /// The whole field, including name and line end.
    pub raw: &'a [u8],
}

impl HeaderField<'_> {
    /// Returns the value without folding and surrounding blanks, with encoded words as sent. A value that is not UTF-8 is
    /// read as ISO 8859-1.
    pub fn unfolded(&self) -> String {
        unfold(self.value)
    }

    /// Returns the text of the value: unfolded, with encoded words decoded (RFC 2047).
    pub fn text(&self) -> String {
        decode::encoded_words(self.value)
    }
}

/// An iterator over the fields of a header block. It ends at the empty line.
#[derive(Clone, Debug)]
pub struct HeaderFields<'a> {
    rest: &'a [u8],
}

impl<'a> HeaderFields<'a> {
    /// Creates an iterator over the fields of `header`.
    pub fn new(header: &'a [u8]) -> Self {
        Self { rest: header }
    }
}

impl<'a> Iterator for HeaderFields<'a> {
    type Item = HeaderField<'a>;

    fn next(&mut self) -> Option<HeaderField<'a>> {
        let mut end = line_length(self.rest);
        if end == 0 || matches!(self.rest.get(..end), Some(b"\n" | b"\r\n" | b"\r")) {
            return None;
        }
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end += line_length(self.rest.get(end..).unwrap_or_default());
        }
        let (raw, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        let first = raw.get(..line_length(raw)).unwrap_or(raw);
        let (name, value) = match memchr(b':', first) {
            Some(colon) => (raw.get(..colon)?.trim_ascii_end(), raw.get(colon + 1..)?),
            None => (&raw[..0], raw),
        };
        Some(HeaderField { name, value, raw })
    }
}

/// Returns the subset of `header` that `BODY[HEADER.FIELDS (…)]` or `BODY[HEADER.FIELDS.NOT (…)]` requests.
///
/// The fields keep their order and spelling; an empty line ends the subset (RFC 9051 §6.4.5).
pub fn header_fields(header: &[u8], names: &[impl AsRef<[u8]>], subset: HeaderSubset) -> Vec<u8> {
    let wanted: BTreeSet<Vec<u8>> = names.iter().map(|name| name.as_ref().to_ascii_lowercase()).collect();
    let mut out = Vec::new();
    for field in HeaderFields::new(header) {
        if wanted.contains(&field.name.to_ascii_lowercase()) == (subset == HeaderSubset::Listed) {
            out.extend_from_slice(field.raw);
            if !field.raw.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The fields that [`header_fields`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderSubset {
    /// The listed fields: `HEADER.FIELDS`.
    Listed,
    /// All other fields: `HEADER.FIELDS.NOT`.
    NotListed,
}

fn line_length(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_folded_fields_up_to_the_empty_line() {
        let header = b"A: 1\r\n 2\r\nbroken\nB : x\n\r\nC: no\r\n";
        let fields: Vec<_> = HeaderFields::new(header).map(|f| (f.name, f.raw)).collect();
        let expected: Vec<(&[u8], &[u8])> =
            vec![(b"A", b"A: 1\r\n 2\r\n"), (b"", b"broken\n"), (b"B", b"B : x\n")];
        assert_eq!(fields, expected);
    }

    #[test]
    fn header_subset_keeps_spelling_and_ends_with_an_empty_line() {
        let header = b"From: a\r\nTO: b\r\n c\r\nX: y";
        assert_eq!(header_fields(header, &["to"], HeaderSubset::Listed), b"TO: b\r\n c\r\n\r\n");
        assert_eq!(header_fields(header, &["to", "from"], HeaderSubset::NotListed), b"X: y\r\n\r\n");
        assert_eq!(header_fields(b"", &["to"], HeaderSubset::Listed), b"\r\n");
    }
}
