//! The first characters of a message's text, for a list of messages (PREVIEW, RFC 8970).

use crate::markup::{ElementEdge, Markup, MarkupSink};
use crate::structure::{ByteRange, Part};
use crate::text_decoder::TextDecoder;

/// The most characters of a preview (RFC 8970 §3.3).
const CHARACTERS: usize = 200;

/// The most bytes of a part that are read for a preview.
const INPUT: u64 = 64 * 1024;

/// The most parts that are examined.
const PARTS: usize = 1_000;

/// The elements that do not separate words.
const INLINE: [&str; 13] =
    ["a", "abbr", "b", "big", "code", "em", "font", "i", "s", "small", "span", "strong", "u"];

/// Builds the preview of a message from its first text part: `text/plain`, or `text/html` without its markup. White
/// space is shown as one space, and control characters are left out.
///
/// ```
/// use mailmime::{PreviewBuilder, Structure};
///
/// let message = b"Content-Type: text/html\r\n\r\n<p>Hello&nbsp;<b>Ann</b>,</p><p>how are you?</p>";
/// let mut preview = PreviewBuilder::new(&Structure::parse(message).root).unwrap();
/// preview.push(preview.range().slice(message));
/// assert_eq!(preview.finish(), "Hello Ann, how are you?");
/// ```
#[derive(Debug)]
pub struct PreviewBuilder {
    range: ByteRange,
    decoder: TextDecoder,
    decoded: String,
    markup: Option<Markup>,
    line: Line,
}

/// The text of a preview.
#[derive(Debug, Default)]
struct Line {
    text: String,
    characters: usize,
    /// Whether white space precedes the next character.
    space: bool,
}

impl PreviewBuilder {
    /// Returns a builder for a message with this structure, or `None` if the message has no text to show: the preview is
    /// then empty.
    #[must_use]
    pub fn new(root: &Part) -> Option<Self> {
        let part = find(root)?;
        let body = part.body;
        let markup = (part.media_subtype == "html").then(Markup::default);
        Some(Self {
            range: ByteRange { start: body.start, end: body.start + body.len().min(INPUT) },
            decoder: part.text_decoder(),
            decoded: String::new(),
            markup,
            line: Line::default(),
        })
    }

    /// Returns the bytes of the message that the builder needs: at most 64 KiB.
    #[must_use]
    pub fn range(&self) -> ByteRange {
        self.range
    }

    /// Adds the next bytes of the range.
    pub fn push(&mut self, bytes: &[u8]) {
        self.decoded.clear();
        self.decoder.push(bytes, &mut self.decoded);
        self.add_decoded();
    }

    /// Returns whether no further bytes are needed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.line.characters >= CHARACTERS
    }

    /// Returns the preview: at most 200 characters.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.decoded.clear();
        let decoder = std::mem::replace(&mut self.decoder, TextDecoder::new("7bit", None));
        decoder.finish(&mut self.decoded);
        self.add_decoded();
        if let Some(markup) = &mut self.markup {
            markup.finish(&mut self.line);
        }
        self.line.text
    }

    fn add_decoded(&mut self) {
        for character in self.decoded.chars() {
            if self.line.characters >= CHARACTERS {
                return;
            }
            match &mut self.markup {
                Some(markup) => markup.push(character, &mut self.line),
                None => self.line.push(character),
            }
        }
    }
}

/// Returns the first text part that is shown with the message: `text/plain` if there is one, else `text/html`.
fn find(root: &Part) -> Option<&Part> {
    let mut html = None;
    let mut parts = vec![root];
    for _ in 0..PARTS {
        let Some(part) = parts.pop() else { break };
        if part.disposition.as_ref().is_some_and(|disposition| disposition.kind == "attachment") {
            continue;
        }
        if part.is_multipart() {
            // The parts of an encrypted message show nothing.
            if part.media_subtype != "encrypted" {
                parts.extend(part.children.iter().rev());
            }
            continue;
        }
        match (part.media_type.as_str(), part.media_subtype.as_str()) {
            ("text", "plain") if !part.body.is_empty() => return Some(part),
            ("text", "html") if html.is_none() => html = Some(part),
            _ => {}
        }
    }
    html
}

impl MarkupSink for Line {
    fn character(&mut self, character: char) {
        self.push(character);
    }

    fn element(&mut self, name: &str, _: ElementEdge) {
        if !INLINE.contains(&name) {
            self.push(' ');
        }
    }
}

impl Line {
    fn push(&mut self, character: char) {
        if character.is_whitespace() || character.is_control() {
            self.space = !self.text.is_empty();
            return;
        }
        if is_invisible(character) {
            return;
        }
        if std::mem::take(&mut self.space) {
            self.add(' ');
        }
        self.add(character);
    }

    fn add(&mut self, character: char) {
        if self.characters < CHARACTERS {
            self.text.push(character);
            self.characters += 1;
        }
    }
}

/// Returns whether a character shows nothing. Newsletters fill the place after their preview with such characters.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Structure;

    fn preview_in_pieces(message: &str, length: usize) -> String {
        let message = message.replace('\n', "\r\n");
        let Some(mut preview) = PreviewBuilder::new(&Structure::parse(message.as_bytes()).root) else {
            return String::new();
        };
        let range = preview.range();
        range.slice(message.as_bytes()).chunks(length).for_each(|piece| preview.push(piece));
        preview.finish()
    }

    fn preview(message: &str) -> String {
        let whole = preview_in_pieces(message, usize::MAX);
        for length in [1, 3, 7] {
            assert_eq!(preview_in_pieces(message, length), whole, "in pieces of {length}");
        }
        assert!(whole.chars().count() <= CHARACTERS);
        whole
    }

    fn html(text: &str) -> String {
        preview(&format!("Content-Type: text/html; charset=utf-8\n\n{text}"))
    }

    #[test]
    fn shows_plain_text_on_one_line() {
        assert_eq!(preview("Subject: x\n\n  Hello\tAnn,\n\nhow   are\u{7}you?\n"), "Hello Ann, how are you?");
        assert_eq!(preview("Subject: x\n\n"), "");
        let long = preview(&format!("Subject: x\n\n{}", "é ".repeat(1_000)));
        assert_eq!(long.chars().count(), 200);
        assert_eq!(
            preview(
                "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ncaf=E9="
            ),
            "café"
        );
    }

    #[test]
    fn chooses_the_part_that_a_reader_sees_first() {
        let alternative = "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<b>html</b>\n--b\n\nplain\n--b--\n";
        assert_eq!(preview(alternative), "plain");
        let attached = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\
            Content-Disposition: attachment; filename=a.txt\n\nattached\n--b\nContent-Type: text/html\n\n<p>shown</p>\n--b--\n";
        assert_eq!(preview(attached), "shown");
        assert_eq!(preview("Content-Type: image/png\n\nxx\n"), "");
        let encrypted = "Content-Type: multipart/encrypted; boundary=b\n\n--b\n\nsecret\n--b--\n";
        assert_eq!(preview(encrypted), "");
    }

    #[test]
    fn leaves_out_markup() {
        for (text, shown) in [
            ("<html><head><title>T</title><style>a > b {}</style></head><body>Hi</body></html>", "Hi"),
            ("<head><style>x</style><body class='a>b'>Hi <!-- > not -- this --> there", "Hi there"),
            ("<p>one</p><p>two</p>th<b>re</b>e<br>four", "one two three four"),
            ("<script>if (a<b) { '</p>' }</script>x", "x"),
            ("a &amp; b &lt;c&gt; &#233;&#xe9; &unknown; &", "a & b <c> éé &unknown; &"),
            ("5 < 6 <3 <img alt=\"a > b\">x<a href=it's>y</a>", "5 < 6 <3 xy"),
            ("preview\u{34f} \u{200c}\u{ad}&zwnj;&#8203; end", "preview end"),
            ("<p", ""),
            ("<!--", ""),
            ("&am", "&am"),
        ] {
            assert_eq!(html(text), shown, "{text}");
        }
    }

    #[test]
    fn reads_a_bounded_part_of_a_long_text() {
        let long = format!("Content-Type: text/html\n\n<style>{}</style>shown", "x".repeat(1 << 20));
        let structure = Structure::parse(long.as_bytes());
        assert_eq!(PreviewBuilder::new(&structure.root).unwrap().range().len(), INPUT);
        assert_eq!(preview_in_pieces(&long, 4096), "");
    }
}
