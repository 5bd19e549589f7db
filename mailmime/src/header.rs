//! Header fields: splits a header block, unfolds values, parses parameters, and selects the subsets of
//! `HEADER.FIELDS`.
//!
//! Parses RFC 5322 §2.2 and RFC 2045 §5.1 tolerantly: bare LF, missing colons and unquoted values are accepted. Every
//! function is linear in its input.

use crate::field::{Field as CompleteField, FieldKind};
use crate::limits::{LANGUAGE_LIMIT, PARAMETER_LIMIT, TOKEN_LIMIT};
use crate::structure::{Disposition, Part};
use memchr::memchr;
use std::collections::BTreeSet;

/// One field of a header, still folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name; empty for a line without a colon.
    pub name: &'a [u8],
    /// Everything after the colon, including the line end.
    pub value: &'a [u8],
    /// The whole field, including name and line end.
    pub raw: &'a [u8],
}

/// An iterator over the fields of a header block. It ends at the empty line.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Creates an iterator over the fields of `header`.
    pub fn new(header: &'a [u8]) -> Self {
        Self { rest: header }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
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
        Some(Field { name, value, raw })
    }
}

/// Returns the subset of `header` that `BODY[HEADER.FIELDS (…)]` or `BODY[HEADER.FIELDS.NOT (…)]` requests.
///
/// The fields keep their order and spelling; an empty line ends the subset (RFC 9051 §6.4.5).
pub fn header_fields(header: &[u8], names: &[impl AsRef<[u8]>], subset: HeaderSubset) -> Vec<u8> {
    let wanted: BTreeSet<Vec<u8>> = names.iter().map(|name| name.as_ref().to_ascii_lowercase()).collect();
    let mut out = Vec::new();
    for field in Fields::new(header) {
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

/// Returns the text of a field value without folding, surrounding blanks, CR, LF and NUL. A value that is not UTF-8 is
/// read as ISO 8859-1.
pub fn unfold(value: &[u8]) -> String {
    let clean: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
    let clean = clean.trim_ascii();
    match std::str::from_utf8(clean) {
        Ok(text) => text.to_owned(),
        Err(_) => clean.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// The MIME fields of a part's header, collected field by field.
#[derive(Debug, Default)]
pub(crate) struct MimeFields {
    /// The type and subtype, once a valid one was read.
    media_type: Option<(String, String)>,
    parameters: Vec<(String, String)>,
    encoding: Option<String>,
    disposition: Option<Disposition>,
    id: Option<String>,
    description: Option<String>,
    md5: Option<String>,
    location: Option<String>,
    languages: Vec<String>,
    truncated: bool,
}

impl MimeFields {
    /// Adds a field of the header. Of several Content-Type fields the first valid one counts, of other fields the last
    /// one.
    pub(crate) fn field(&mut self, field: CompleteField) {
        self.truncated |= field.cut;
        let (text, cut) = (field.text, field.cut);
        match field.kind {
            FieldKind::Type if self.media_type.is_none() => {
                let (full, parameters) = self.with_parameters(&text, cut);
                let Some((media_type, media_subtype)) = full.split_once('/') else { return };
                let (media_type, media_subtype) = (first_token(media_type), first_token(media_subtype));
                if !media_type.is_empty() && !media_subtype.is_empty() {
                    self.media_type =
                        Some((media_type.to_ascii_lowercase(), media_subtype.to_ascii_lowercase()));
                    self.parameters = parameters;
                }
            }
            FieldKind::TransferEncoding => {
                let token = first_token(&text).to_ascii_lowercase();
                self.encoding = non_empty(token).or(self.encoding.take());
            }
            FieldKind::Disposition => {
                let (kind, parameters) = self.with_parameters(&text, cut);
                if !kind.is_empty() {
                    self.disposition =
                        Some(Disposition { kind: clip_token(&kind).to_ascii_lowercase(), parameters });
                }
            }
            FieldKind::Id => self.id = non_empty(text),
            FieldKind::Description => self.description = non_empty(text),
            FieldKind::Md5 => self.md5 = non_empty(text),
            FieldKind::Location => self.location = non_empty(text),
            FieldKind::Language => {
                let mut tags = text.split(',').map(first_token).filter(|tag| !tag.is_empty());
                self.languages = tags.by_ref().take(LANGUAGE_LIMIT).map(str::to_owned).collect();
                self.truncated |= tags.next().is_some();
            }
            _ => {}
        }
    }

    /// Returns the part, without its ranges; `default` is its type if the header does not state one.
    pub(crate) fn into_part(self, default: (&str, &str)) -> Part {
        let mut part = Part {
            encoding: self.encoding.unwrap_or_else(|| "7bit".to_owned()),
            parameters: self.parameters,
            disposition: self.disposition,
            id: self.id,
            description: self.description,
            md5: self.md5,
            location: self.location,
            languages: self.languages,
            truncated: self.truncated,
            ..Part::default()
        };
        match self.media_type {
            Some(full) => (part.media_type, part.media_subtype) = full,
            None => {
                (part.media_type, part.media_subtype) = (default.0.to_owned(), default.1.to_owned());
                if default.0 == "text" {
                    part.parameters.push(("charset".to_owned(), "us-ascii".to_owned()));
                }
            }
        }
        part
    }

    /// Splits `value; name=value; …`, without comments and quoting. If the text was `cut`, the last parameter is
    /// dropped.
    fn with_parameters(&mut self, text: &str, cut: bool) -> (String, Vec<(String, String)>) {
        let mut pieces = Pieces::default();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                ';' => pieces.end_piece(),
                '(' => skip_comment(&mut chars),
                '"' => {
                    while let Some(c) = chars.next() {
                        match c {
                            '"' => break,
                            '\\' => pieces.bare.extend(chars.next()),
                            c => pieces.bare.push(c),
                        }
                    }
                }
                '=' if pieces.name.is_none() && pieces.value.is_some() => {
                    pieces.name = Some(std::mem::take(&mut pieces.bare));
                }
                c => pieces.bare.push(c),
            }
        }
        if !cut || pieces.value.is_none() {
            pieces.end_piece();
        }
        self.truncated |= pieces.truncated;
        (pieces.value.unwrap_or_default(), pieces.parameters)
    }
}

/// The pieces of `value; name=value; …`.
#[derive(Default)]
struct Pieces {
    value: Option<String>,
    parameters: Vec<(String, String)>,
    /// The text before the first `=` of the current piece.
    name: Option<String>,
    /// The text being read: the piece, or the value after its `=`.
    bare: String,
    truncated: bool,
}

impl Pieces {
    fn end_piece(&mut self) {
        let (name, bare) = (self.name.take(), std::mem::take(&mut self.bare));
        if self.value.is_none() {
            self.value = Some(bare.trim().to_owned());
            return;
        }
        let Some(name) = name.map(|name| name.trim().to_ascii_lowercase()).and_then(non_empty) else {
            return;
        };
        if self.parameters.len() >= PARAMETER_LIMIT || name.len() > TOKEN_LIMIT {
            self.truncated = true;
        } else {
            self.parameters.push((name, bare.trim().to_owned()));
        }
    }
}

/// Returns `None` for an empty text.
pub(crate) fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn line_length(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1)
}

/// Returns the text up to a blank or comment, at most [`TOKEN_LIMIT`] bytes.
fn first_token(text: &str) -> &str {
    let text = text.trim();
    clip_token(text.find([' ', '\t', '(', ';']).map_or(text, |end| &text[..end]))
}

fn clip_token(text: &str) -> &str {
    let end = (0..=TOKEN_LIMIT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// Skips to the end of a comment whose `(` was already read. Comments nest.
pub(crate) fn skip_comment(chars: &mut std::str::Chars<'_>) {
    let mut depth = 1_usize;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_folded_fields_up_to_the_empty_line() {
        let header = b"A: 1\r\n 2\r\nbroken\nB : x\n\r\nC: no\r\n";
        let fields: Vec<_> = Fields::new(header).map(|f| (f.name, f.raw)).collect();
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

    #[test]
    fn parses_parameters_with_quotes_comments_and_errors() {
        let mut fields = MimeFields::default();
        let text = r#"Multipart/Mixed (x;y); Boundary="a;\"b" ; name=my file.pdf; =; lone; x=--=_1"#;
        let (value, parameters) = fields.with_parameters(text, false);
        assert_eq!(value, "Multipart/Mixed");
        let expected = [("boundary", "a;\"b"), ("name", "my file.pdf"), ("x", "--=_1")];
        assert_eq!(parameters, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(fields.with_parameters(text, true).1.len(), 2, "the last one may be incomplete");
        let many: String = (0..500).map(|n| format!(";n{n}={n};;")).collect();
        assert_eq!(fields.with_parameters(&many, false).1.len(), PARAMETER_LIMIT);
        assert!(fields.truncated);
    }

    #[test]
    fn unfolding_removes_cr_lf_and_nul() {
        assert_eq!(unfold(b" a\r\n b\0c\r\n"), "a bc");
        assert_eq!(unfold(b"caf\xe9"), "café");
    }

    #[test]
    fn type_without_subtype_is_text_plain() {
        let part = crate::structure::Structure::of(b"Content-Type: text\r\n\r\n").root;
        assert_eq!((part.media_type.as_str(), part.media_subtype.as_str()), ("text", "plain"));
        assert_eq!(part.parameter("charset"), Some("us-ascii"));
    }
}
