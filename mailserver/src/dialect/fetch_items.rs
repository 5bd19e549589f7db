//! The items of a FETCH response, as they are sent. Only ENVELOPE, BODY and BODYSTRUCTURE are kept until they are complete.

use super::profile::{Defect, Profile};
use super::value::{Value, quoted_end};
use super::value_defects;

/// The longest value that is changed, in bytes.
const VALUE_LIMIT: usize = 512 * 1024;

/// The position within a FETCH response.
#[derive(Debug)]
pub(super) struct FetchItems {
    place: Place,
    /// The name of the current item.
    name: Vec<u8>,
    /// The value of the current item, if it is changed.
    value: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Name,
    Value,
    /// In this many lists of a value.
    List(usize),
    AfterValue,
    /// After the closing parenthesis.
    End,
}

impl FetchItems {
    pub(super) fn new() -> Self {
        Self { place: Place::Name, name: Vec::new(), value: None }
    }

    /// Takes the bytes of a literal.
    pub(super) fn literal(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.put(bytes, out);
    }

    /// Takes text up to a line end, which may be the header of a literal.
    pub(super) fn text(&mut self, mut text: &[u8], profile: &Profile, out: &mut Vec<u8>) {
        while !text.is_empty() {
            let taken = match self.place {
                Place::Name => self.name(text, profile, out),
                Place::Value => self.start_value(text, profile, out),
                Place::List(depth) => self.list(depth, text, profile, out),
                Place::AfterValue => self.separator(text, profile, out),
                Place::End => {
                    out.extend_from_slice(text);
                    text.len()
                }
            };
            text = text.get(taken.max(1)..).unwrap_or_default();
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if let Some(value) = &mut self.value {
            value.extend_from_slice(bytes);
            if value.len() <= VALUE_LIMIT {
                return;
            }
            // Too long: it is sent as it is.
            if let Some(value) = self.value.take() {
                out.extend_from_slice(&value);
            }
            return;
        }
        out.extend_from_slice(bytes);
    }

    fn name(&mut self, text: &[u8], profile: &Profile, out: &mut Vec<u8>) -> usize {
        if text.starts_with(b")") {
            return self.separator(text, profile, out);
        }
        let mut brackets = 0_usize;
        let end = text.iter().position(|byte| {
            match byte {
                b'[' => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            brackets == 0 && matches!(byte, b' ' | b')' | b'\r')
        });
        let end = end.unwrap_or(text.len());
        self.name = text.get(..end).unwrap_or_default().to_vec();
        out.extend_from_slice(&self.name);
        if text.get(end) != Some(&b' ') {
            self.place = Place::AfterValue;
            return end;
        }
        out.push(b' ');
        self.place = Place::Value;
        end + 1
    }

    fn start_value(&mut self, text: &[u8], profile: &Profile, out: &mut Vec<u8>) -> usize {
        let is = |name: &[u8]| self.name.eq_ignore_ascii_case(name);
        match text.first() {
            Some(b'(') => {
                if is(b"ENVELOPE") || is(b"BODY") || is(b"BODYSTRUCTURE") {
                    self.value = Some(Vec::new());
                }
                self.place = Place::List(0);
                self.list(0, text, profile, out)
            }
            Some(b'"') => {
                let end = quoted_end(text).unwrap_or(text.len());
                let quoted = text.get(..end).unwrap_or_default();
                let is_epoch = quoted.windows(6).any(|word| word == b"-1970 ");
                if is(b"INTERNALDATE") && is_epoch && profile.has(Defect::InvalidDate) {
                    out.extend_from_slice(b"\"00-Jan-0000 00:00:00 +0000\"");
                } else {
                    out.extend_from_slice(quoted);
                }
                self.place = Place::AfterValue;
                end
            }
            _ => {
                let end = text.iter().position(|byte| matches!(byte, b' ' | b')')).unwrap_or(text.len());
                let word = text.get(..end).unwrap_or_default();
                let is_section = self.name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"BODY["));
                if !(word == b"NIL" && is_section && profile.has(Defect::MissingSectionValue)) {
                    out.extend_from_slice(word);
                }
                self.place = Place::AfterValue;
                end
            }
        }
    }

    /// Takes a list up to its end or the end of the text.
    fn list(&mut self, mut depth: usize, text: &[u8], profile: &Profile, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            match byte {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b'"' => {
                    at += quoted_end(text.get(at..).unwrap_or_default()).unwrap_or(text.len() - at);
                    continue;
                }
                _ => {}
            }
            at += 1;
            if depth == 0 {
                self.put(text.get(..at).unwrap_or_default(), out);
                self.end_value(profile, out);
                self.place = Place::AfterValue;
                return at;
            }
        }
        self.put(text, out);
        self.place = Place::List(depth);
        text.len()
    }

    fn end_value(&mut self, profile: &Profile, out: &mut Vec<u8>) {
        let Some(bytes) = self.value.take() else { return };
        let Some(mut value) = Value::read(&bytes) else {
            out.extend_from_slice(&bytes);
            return;
        };
        if self.name.eq_ignore_ascii_case(b"ENVELOPE") {
            value_defects::envelope(&mut value, profile);
        } else {
            value_defects::structure(&mut value, profile);
        }
        value.write(out);
    }

    fn separator(&mut self, text: &[u8], profile: &Profile, out: &mut Vec<u8>) -> usize {
        match text.first() {
            Some(b' ') => {
                out.push(b' ');
                if profile.has(Defect::TwoSpacesBetweenItems) {
                    out.push(b' ');
                }
                self.place = Place::Name;
            }
            Some(b')') => {
                if profile.has(Defect::SpaceAfterLastItem) {
                    out.push(b' ');
                }
                out.push(b')');
                self.place = Place::End;
            }
            // The line end after the header of a literal.
            Some(other) => out.push(*other),
            None => {}
        }
        1
    }
}
