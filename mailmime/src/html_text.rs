//! HTML as plain text, for a reader on a terminal.

use crate::markup::{ElementEdge, Markup, MarkupSink};

/// The elements that stand on lines of their own.
const BLOCKS: [&str; 27] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "fieldset",
    "footer",
    "form",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "nav",
    "ol",
    "option",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
    "caption",
];

/// The elements with an empty line before and after them.
const PARAGRAPHS: [&str; 7] = ["h1", "h2", "h3", "h4", "h5", "h6", "p"];

/// Converts HTML to plain text, piece by piece: paragraphs and other blocks are lines, white space is one space, items of lists
/// begin with `* `. Markup, scripts, styles, addresses of links and images are left out, and nothing is loaded.
///
/// The memory does not depend on the input, and the text is never longer than the input by more than a few bytes for each
/// element. Control characters are not escaped.
///
/// ```
/// let mut html = mailmime::HtmlText::default();
/// let mut text = String::new();
/// html.push("<p>Hello <b>Ann</b>,</p><ul><li>one<li>t", &mut text);
/// html.push("wo</ul>Bye &lt;Bob&gt;", &mut text);
/// html.finish(&mut text);
/// assert_eq!(text, "Hello Ann,\n\n* one\n* two\nBye <Bob>\n");
/// ```
#[derive(Debug, Default)]
pub struct HtmlText {
    markup: Markup,
    lines: Lines,
}

/// The text so far.
#[derive(Debug, Default)]
struct Lines {
    text: String,
    /// Whether something was written, and whether the present line has text.
    has_text: bool,
    has_line: bool,
    /// The line ends before the next character.
    breaks: u8,
    has_space: bool,
    /// Whether the next line begins an item of a list.
    is_item: bool,
    /// How many `pre` elements are open.
    preformatted: u8,
}

impl HtmlText {
    /// Converts the next piece, and appends its text.
    pub fn push(&mut self, html: &str, text: &mut String) {
        html.chars().for_each(|character| self.markup.push(character, &mut self.lines));
        text.push_str(&std::mem::take(&mut self.lines.text));
    }

    /// Converts the end, and appends a line end if the last line has none.
    pub fn finish(mut self, text: &mut String) {
        self.markup.finish(&mut self.lines);
        text.push_str(&self.lines.text);
        if self.lines.has_line {
            text.push('\n');
        }
    }
}

impl Lines {
    /// Ends the line, and adds empty lines up to `breaks` line ends.
    fn end_line(&mut self, breaks: u8) {
        self.has_space = false;
        if self.has_text {
            self.breaks = self.breaks.max(breaks);
        }
    }

    fn add(&mut self, character: char) {
        if self.breaks > 0 {
            let ends = std::mem::take(&mut self.breaks);
            (0..ends).for_each(|_| self.text.push('\n'));
            self.has_line = false;
        }
        if std::mem::take(&mut self.is_item) {
            self.text.push_str("* ");
        } else if self.has_space && self.has_line {
            self.text.push(' ');
        }
        self.has_space = false;
        self.text.push(character);
        (self.has_text, self.has_line) = (true, true);
    }
}

impl MarkupSink for Lines {
    fn character(&mut self, character: char) {
        match character {
            '\n' if self.preformatted > 0 => {
                self.end_line(1);
                // An empty line of preformatted text stays one.
                if !self.has_line && self.has_text {
                    self.breaks = 2;
                }
            }
            ' ' | '\t' if self.preformatted > 0 && self.has_line && self.breaks == 0 => {
                self.text.push(character)
            }
            character if character.is_whitespace() => self.has_space = true,
            character => self.add(character),
        }
    }

    fn element(&mut self, name: &str, edge: ElementEdge) {
        match (name, edge) {
            // Two of them are an empty line.
            ("br", _) => {
                let breaks = if self.breaks > 0 { 2 } else { 1 };
                self.end_line(breaks);
            }
            ("pre", ElementEdge::Start) => self.preformatted = self.preformatted.saturating_add(1),
            ("pre", ElementEdge::End) => self.preformatted = self.preformatted.saturating_sub(1),
            ("td" | "th", _) => self.has_space = true,
            _ => {}
        }
        if PARAGRAPHS.contains(&name) {
            self.end_line(2);
        } else if BLOCKS.contains(&name) {
            self.end_line(1);
        }
        if name == "li" {
            self.is_item = edge == ElementEdge::Start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(html: &str, piece: usize) -> String {
        let (mut converter, mut text) = (HtmlText::default(), String::new());
        let characters: Vec<char> = html.chars().collect();
        for piece in characters.chunks(piece) {
            converter.push(&piece.iter().collect::<String>(), &mut text);
        }
        converter.finish(&mut text);
        text
    }

    #[test]
    fn shows_blocks_as_lines() {
        for (html, text) in [
            ("", ""),
            ("plain\n text", "plain text\n"),
            ("<h1>Title</h1>\n<p>one</p>\n<p>two</p>", "Title\n\none\n\ntwo\n"),
            ("a<br>b<br><br>c<br/>", "a\nb\n\nc\n"),
            ("<div><div>a</div></div><div>b</div>", "a\nb\n"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></table>d", "a b\nc\nd\n"),
            ("x<ul><li>one</li><li> two<ol><li>three</ol></ul>y", "x\n* one\n* two\n* three\ny\n"),
            ("<pre>a\n  b  c</pre>", "a\nb  c\n"),
            (
                "<style>p { }</style><script>1 < 2</script>a <a href='http://x'>link</a><img src=y>",
                "a link\n",
            ),
            ("&lt;b&gt; &amp; &#27;[2J", "<b> & \u{1b}[2J\n"),
        ] {
            for piece in [usize::MAX, 1, 3] {
                assert_eq!(converted(html, piece), text, "{html} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn takes_a_long_or_deep_input_piece_by_piece() {
        let deep = format!("{}x", "<div><pre><li>".repeat(100_000));
        assert_eq!(converted(&deep, 1000), "* x\n");
        let breaks = format!("a{}b", "<br>".repeat(100_000));
        assert_eq!(converted(&breaks, 1000), "a\n\nb\n");
    }
}
