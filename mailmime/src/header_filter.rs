//! `HEADER.FIELDS` and `HEADER.FIELDS.NOT` for a header that is read piece by piece (RFC 9051 §6.4.5).
//!
//! A [`HeaderFilter`] holds at most the start of one line, for a header of any size. Its result is that of
//! [`header_fields`](crate::header_fields).

use std::collections::BTreeSet;
use std::sync::Arc;

use memchr::{memchr, memchr2};

use crate::header::HeaderSubset;

/// The longest field name that is compared, in bytes. A longer name never matches the list.
const NAME_LIMIT: usize = 4 * 1024;

/// A filter that passes on the fields of a header subset.
#[derive(Debug, Clone)]
pub struct HeaderFilter {
    names: Arc<BTreeSet<Vec<u8>>>,
    subset: HeaderSubset,
    state: FilterState,
    /// The start of a line whose field name is not complete yet.
    held: Vec<u8>,
    /// Whether there was a field, and whether the last one passes.
    has_field: bool,
    passes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterState {
    LineStart,
    Name,
    /// After the name, on any line of the field.
    Value,
    /// After the empty line.
    End,
}

impl HeaderFilter {
    /// Creates a filter for fields with these names (in any case), or for all others.
    pub fn new(names: &[impl AsRef<[u8]>], subset: HeaderSubset) -> Self {
        Self {
            names: Arc::new(names.iter().map(|name| name.as_ref().to_ascii_lowercase()).collect()),
            subset,
            state: FilterState::LineStart,
            held: Vec::new(),
            has_field: false,
            passes: false,
        }
    }

    /// Filters the next piece of the header and appends the passing fields to `out`.
    pub fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while !piece.is_empty() {
            let used = match self.state {
                FilterState::LineStart => self.line_start(piece),
                FilterState::Name => self.name(piece, out),
                FilterState::Value => self.value(piece, out),
                FilterState::End => return,
            };
            piece = piece.get(used..).unwrap_or_default();
        }
    }

    /// Ends the header: appends the remaining bytes and the empty line to `out`.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == FilterState::Name {
            // The last line has neither a colon nor a line end.
            self.decide(false, out);
            self.state = FilterState::Value;
        }
        if self.state == FilterState::Value && self.passes {
            out.extend_from_slice(b"\r\n");
        }
        self.state = FilterState::End;
        out.extend_from_slice(b"\r\n");
    }

    fn line_start(&mut self, piece: &[u8]) -> usize {
        let after_cr = !self.held.is_empty();
        match piece.first() {
            Some(b'\n') => {
                self.state = FilterState::End;
                1
            }
            Some(b'\r') if !after_cr => {
                self.held.push(b'\r');
                1
            }
            Some(b' ' | b'\t') if self.has_field && !after_cr => {
                self.state = FilterState::Value;
                0
            }
            _ => {
                self.state = FilterState::Name;
                0
            }
        }
    }

    fn name(&mut self, piece: &[u8], out: &mut Vec<u8>) -> usize {
        let room = NAME_LIMIT.saturating_sub(self.held.len());
        let piece = piece.get(..room.min(piece.len())).unwrap_or_default();
        let end = memchr2(b':', b'\n', piece);
        let used = end.map_or(piece.len(), |end| end + 1);
        let is_colon = end.and_then(|end| piece.get(end)) == Some(&b':');
        self.held.extend_from_slice(piece.get(..used).unwrap_or_default());
        if end.is_some() || self.held.len() >= NAME_LIMIT {
            let ends_line = end.is_some() && !is_colon;
            self.decide(is_colon, out);
            self.state = if ends_line { FilterState::LineStart } else { FilterState::Value };
        }
        used
    }

    /// Decides whether the field passes. Its name is in `held`, or the line has none.
    fn decide(&mut self, has_colon: bool, out: &mut Vec<u8>) {
        let name = match self.held.split_last() {
            Some((_, name)) if has_colon => name.trim_ascii_end().to_ascii_lowercase(),
            _ => Vec::new(),
        };
        self.has_field = true;
        self.passes = self.names.contains(&name) == (self.subset == HeaderSubset::Listed);
        if self.passes {
            out.extend_from_slice(&self.held);
        }
        self.held.clear();
    }

    fn value(&mut self, piece: &[u8], out: &mut Vec<u8>) -> usize {
        let end = memchr(b'\n', piece).map(|end| end + 1);
        let used = end.unwrap_or(piece.len());
        if self.passes {
            out.extend_from_slice(piece.get(..used).unwrap_or_default());
        }
        if end.is_some() {
            self.state = FilterState::LineStart;
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::header_fields;

    fn filter(header: &[u8], names: &[&str], subset: HeaderSubset, length: usize) -> Vec<u8> {
        let mut filter = HeaderFilter::new(names, subset);
        let mut out = Vec::new();
        header.chunks(length).for_each(|piece| filter.push(piece, &mut out));
        filter.finish(&mut out);
        out
    }

    #[test]
    fn filters_header_in_pieces_of_any_length() {
        let header = b"From: a\r\nTO : b\r\n c\r\nno colon\r\nX: y\r\n\r\nTo: after the header\r\n";
        for length in 1..10 {
            let of = |names: &[&str], subset| filter(header, names, subset, length);
            assert_eq!(of(&["to"], HeaderSubset::Listed), b"TO : b\r\n c\r\n\r\n");
            assert_eq!(of(&["to", "from"], HeaderSubset::NotListed), b"no colon\r\nX: y\r\n\r\n");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_filtering_in_one_piece(header in "[aB: \t\r\n]{0,40}", length in 1_usize..7) {
            for subset in [HeaderSubset::Listed, HeaderSubset::NotListed] {
                for names in [&["a"][..], &["b", "ab"], &[""], &[]] {
                    let whole = header_fields(header.as_bytes(), names, subset);
                    prop_assert_eq!(filter(header.as_bytes(), names, subset, length), whole);
                }
            }
        }
    }
}
