//! Parses the MIME fields of a part's header: types, parameters, dispositions (RFC 2045 §5.1, RFC 2183).
//!
//! Tolerant: unquoted values, comments in odd places and parameters without a value are accepted.

use crate::field_buffer::{Field, FieldKind};
use crate::limits::{Limits, TOKEN_LIMIT};
use crate::structure::{Disposition, Part};

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
    pub(crate) fn field(&mut self, field: Field, limits: &Limits) {
        self.truncated |= field.cut;
        let (text, cut) = (field.text, field.cut);
        match field.kind {
            FieldKind::Type if self.media_type.is_none() => {
                let (full, parameters) = self.with_parameters(&text, cut, limits);
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
                let (kind, parameters) = self.with_parameters(&text, cut, limits);
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
                self.languages = tags.by_ref().take(limits.languages).map(str::to_owned).collect();
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
    fn with_parameters(&mut self, text: &str, cut: bool, limits: &Limits) -> (String, Vec<(String, String)>) {
        let mut pieces = Pieces::default();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                ';' => pieces.end_piece(limits),
                '(' => skip_comment(&mut chars),
                '"' => {
                    let start = pieces.bare.len();
                    while let Some(c) = chars.next() {
                        match c {
                            '"' => break,
                            '\\' => pieces.bare.extend(chars.next()),
                            c => pieces.bare.push(c),
                        }
                    }
                    let start = pieces.quoted.map_or(start, |(first, _)| first);
                    pieces.quoted = Some((start, pieces.bare.len()));
                }
                '=' if pieces.name.is_none() && pieces.value.is_some() => {
                    pieces.name = Some(std::mem::take(&mut pieces.bare));
                    pieces.quoted = None;
                }
                c => pieces.bare.push(c),
            }
        }
        if !cut || pieces.value.is_none() {
            pieces.end_piece(limits);
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
    /// From the first to the last quoted byte of `bare`: its blanks are kept.
    quoted: Option<(usize, usize)>,
    truncated: bool,
}

impl Pieces {
    fn end_piece(&mut self, limits: &Limits) {
        let (name, bare) = (self.name.take(), std::mem::take(&mut self.bare));
        let value = trim_unquoted(&bare, self.quoted.take());
        if self.value.is_none() {
            self.value = Some(value.to_owned());
            return;
        }
        let Some(name) = name.map(|name| name.trim().to_ascii_lowercase()).and_then(non_empty) else {
            return;
        };
        if self.parameters.len() >= limits.parameters || name.len() > TOKEN_LIMIT {
            self.truncated = true;
        } else {
            self.parameters.push((name, value.to_owned()));
        }
    }
}

/// Returns a text without the blanks around it that are not `quoted`.
fn trim_unquoted(text: &str, quoted: Option<(usize, usize)>) -> &str {
    let Some((first, last)) = quoted else { return text.trim() };
    let start = (text.len() - text.trim_start().len()).min(first);
    let end = text.trim_end().len().max(last);
    text.get(start..end).unwrap_or_default()
}

/// Returns `None` for an empty text.
pub(crate) fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
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
    fn parses_parameters_with_quotes_comments_and_errors() {
        let (mut fields, limits) = (MimeFields::default(), Limits::default());
        let text = r#"Multipart/Mixed (x;y); Boundary="a;\"b" ; name=my file.pdf; =; lone; x=--=_1"#;
        let (value, parameters) = fields.with_parameters(text, false, &limits);
        assert_eq!(value, "Multipart/Mixed");
        let expected = [("boundary", "a;\"b"), ("name", "my file.pdf"), ("x", "--=_1")];
        assert_eq!(parameters, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(fields.with_parameters(text, true, &limits).1.len(), 2, "the last one may be incomplete");
        let many: String = (0..500).map(|n| format!(";n{n}={n};;")).collect();
        assert_eq!(fields.with_parameters(&many, false, &limits).1.len(), limits.parameters);
        assert!(fields.truncated);
    }

    #[test]
    fn keeps_quoted_blanks_of_values() {
        let (mut fields, limits) = (MimeFields::default(), Limits::default());
        let text = "text/plain; a=\" b \" ; c= d ;\te =\t\"\"; f=\" \"g h ; i= j \"k \"";
        let (value, parameters) = fields.with_parameters(text, false, &limits);
        assert_eq!(value, "text/plain");
        let expected = [("a", " b "), ("c", "d"), ("e", ""), ("f", " g h"), ("i", "j k ")];
        assert_eq!(parameters, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn type_without_subtype_is_text_plain() {
        let part = crate::structure::Structure::parse(b"Content-Type: text\r\n\r\n").root;
        assert_eq!((part.media_type.as_str(), part.media_subtype.as_str()), ("text", "plain"));
        assert_eq!(part.parameter("charset"), Some("us-ascii"));
    }
}
