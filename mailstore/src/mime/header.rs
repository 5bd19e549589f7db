//! Header fields: splitting a header block, unfolding, parameters, and the subsets that `HEADER.FIELDS` asks for.
//!
//! Knows RFC 5322 §2.2 and RFC 2045 §5.1, read tolerantly (bare LF, missing colon, unquoted values). Does not know
//! what any field means. Every function is linear in its input.

use super::{Disposition, Part};
use memchr::memchr;
use std::collections::BTreeSet;

/// One field of a header, its folding still in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, or the empty string for a line that has no colon.
    pub name: &'a [u8],
    /// Everything behind the colon, line end included.
    pub value: &'a [u8],
    /// The whole field with its name and line end.
    pub raw: &'a [u8],
}

/// The fields of a header block, in order; ends at the empty line.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads the fields of `header`.
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

/// The subset of `header` that `BODY[HEADER.FIELDS (…)]` or its `.NOT` returns.
///
/// The fields come in the order and spelling of the message; an empty line ends the subset (RFC 9051 §6.4.5).
pub fn header_fields(header: &[u8], names: &[impl AsRef<[u8]>], subset: Subset) -> Vec<u8> {
    let wanted: BTreeSet<Vec<u8>> = names.iter().map(|name| name.as_ref().to_ascii_lowercase()).collect();
    let mut out = Vec::new();
    for field in Fields::new(header) {
        if wanted.contains(&field.name.to_ascii_lowercase()) == (subset == Subset::Listed) {
            out.extend_from_slice(field.raw);
            if !field.raw.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Which fields [`header_fields`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subset {
    /// Those that are listed: `HEADER.FIELDS`.
    Listed,
    /// Those that are not: `HEADER.FIELDS.NOT`.
    NotListed,
}

/// The text of a field: folding undone, surrounding blanks, CR, LF and NUL removed, ISO 8859-1 where it is not UTF-8.
pub fn unfold(value: &[u8]) -> String {
    let clean: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
    let clean = clean.trim_ascii();
    match std::str::from_utf8(clean) {
        Ok(text) => text.to_owned(),
        Err(_) => clean.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// Fills the MIME fields of a part from its header; `default` is the type of a part that does not say.
pub(super) fn read_mime_fields(header: &[u8], default: (&str, &str), part: &mut Part) {
    let mut typed = false;
    part.encoding = "7bit".to_owned();
    for field in Fields::new(header) {
        let Some(name) = field.name.get(..8).filter(|head| head.eq_ignore_ascii_case(b"content-")) else {
            continue;
        };
        let text = unfold(field.value);
        let name = field.name.get(name.len()..).unwrap_or_default().to_ascii_lowercase();
        match name.as_slice() {
            b"type" if !typed => typed = read_content_type(&text, part),
            b"transfer-encoding" => {
                let token = first_token(&text).to_ascii_lowercase();
                if !token.is_empty() {
                    part.encoding = token;
                }
            }
            b"disposition" => {
                let (kind, parameters) = with_parameters(&text);
                if !kind.is_empty() {
                    part.disposition = Some(Disposition { kind: kind.to_ascii_lowercase(), parameters });
                }
            }
            b"id" => part.id = filled(text),
            b"description" => part.description = filled(text),
            b"md5" => part.md5 = filled(text),
            b"location" => part.location = filled(text),
            b"language" => {
                part.languages = text.split(',').map(first_token).filter(|tag| !tag.is_empty()).collect();
            }
            _ => {}
        }
    }
    if !typed {
        (part.media_type, part.media_subtype) = (default.0.to_owned(), default.1.to_owned());
        part.parameters.clear();
        if default.0 == "text" {
            part.parameters.push(("charset".to_owned(), "us-ascii".to_owned()));
        }
    }
}

/// `None` for a text that is empty.
pub(super) fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn line_length(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1)
}

fn read_content_type(text: &str, part: &mut Part) -> bool {
    let (full, parameters) = with_parameters(text);
    let Some((media_type, media_subtype)) = full.split_once('/') else { return false };
    let (media_type, media_subtype) = (first_token(media_type), first_token(media_subtype));
    if media_type.is_empty() || media_subtype.is_empty() {
        return false;
    }
    part.media_type = media_type.to_ascii_lowercase();
    part.media_subtype = media_subtype.to_ascii_lowercase();
    part.parameters = parameters;
    true
}

/// The text up to a blank or a comment.
fn first_token(text: &str) -> String {
    let text = text.trim();
    text.find([' ', '\t', '(', ';']).map_or(text, |end| &text[..end]).to_owned()
}

/// Splits `value; name=value; …`. Comments between the pieces are dropped, quoting is undone.
fn with_parameters(text: &str) -> (String, Vec<(String, String)>) {
    let mut pieces = split_pieces(text).into_iter();
    let value = pieces.next().unwrap_or_default().bare;
    let parameters = pieces
        .filter_map(|piece| {
            let name = piece.name?.trim().to_ascii_lowercase();
            (!name.is_empty()).then(|| (name, piece.bare.trim().to_owned()))
        })
        .collect();
    (value.trim().to_owned(), parameters)
}

#[derive(Default)]
struct Piece {
    /// What stood in front of the first `=`.
    name: Option<String>,
    /// The text, or the value behind the `=`.
    bare: String,
}

/// One pass over `a; b=c; d="e;f" (comment)`.
fn split_pieces(text: &str) -> Vec<Piece> {
    let mut pieces = vec![Piece::default()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let first = pieces.len() == 1;
        let Some(piece) = pieces.last_mut() else { break };
        match c {
            ';' => pieces.push(Piece::default()),
            '(' => skip_comment(&mut chars),
            '"' => {
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => piece.bare.extend(chars.next()),
                        c => piece.bare.push(c),
                    }
                }
            }
            '=' if piece.name.is_none() && !first => piece.name = Some(std::mem::take(&mut piece.bare)),
            c => piece.bare.push(c),
        }
    }
    pieces
}

/// Reads to the end of a comment whose `(` is read already; comments nest.
pub(super) fn skip_comment(chars: &mut std::str::Chars<'_>) {
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
    fn fields_fold_and_end_at_the_empty_line() {
        let header = b"A: 1\r\n 2\r\nbroken\nB : x\n\r\nC: no\r\n";
        let fields: Vec<_> = Fields::new(header).map(|f| (f.name, f.raw)).collect();
        let expected: Vec<(&[u8], &[u8])> =
            vec![(b"A", b"A: 1\r\n 2\r\n"), (b"", b"broken\n"), (b"B", b"B : x\n")];
        assert_eq!(fields, expected);
    }

    #[test]
    fn subset_keeps_spelling_and_ends_with_an_empty_line() {
        let header = b"From: a\r\nTO: b\r\n c\r\nX: y";
        assert_eq!(header_fields(header, &["to"], Subset::Listed), b"TO: b\r\n c\r\n\r\n");
        assert_eq!(header_fields(header, &["to", "from"], Subset::NotListed), b"X: y\r\n\r\n");
        assert_eq!(header_fields(b"", &["to"], Subset::Listed), b"\r\n");
    }

    #[test]
    fn parameters_survive_quotes_comments_and_sloppiness() {
        let (value, parameters) = with_parameters(
            r#"Multipart/Mixed (x;y); Boundary="a;\"b" ; name=my file.pdf; =; lone; x=--=_1"#,
        );
        assert_eq!(value, "Multipart/Mixed");
        let expected = [("boundary", "a;\"b"), ("name", "my file.pdf"), ("x", "--=_1")];
        assert_eq!(parameters, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn unfolding_leaves_no_control_character_that_could_be_smuggled() {
        assert_eq!(unfold(b" a\r\n b\0c\r\n"), "a bc");
        assert_eq!(unfold(b"caf\xe9"), "café");
    }

    #[test]
    fn a_type_without_subtype_is_plain_text() {
        let mut part = Part::default();
        read_mime_fields(b"Content-Type: text\r\n", ("text", "plain"), &mut part);
        assert_eq!((part.media_type.as_str(), part.media_subtype.as_str()), ("text", "plain"));
        assert_eq!(part.parameter("charset"), Some("us-ascii"));
    }
}
