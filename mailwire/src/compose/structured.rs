//! Scans structured header fields: finds separators outside quoted strings, comments and angle brackets.

/// Returns the end of a comment whose opening parenthesis precedes this text.
pub(super) fn comment_end(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth == 0 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Splits a text at the first such byte outside quoted strings, comments and angle brackets.
pub(super) fn top_level(text: &str, wanted: u8) -> Option<(&str, &str)> {
    let at = TopLevel::new(text).find(|(_, byte)| *byte == wanted)?.0;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Splits a text at such bytes, trims the parts and drops empty ones.
pub(super) fn split<'t>(text: &'t str, at: &[u8]) -> Vec<&'t str> {
    split_at(text, at).into_iter().map(|(part, _)| part).filter(|part| !part.is_empty()).collect()
}

/// Splits a text at such bytes. Returns the trimmed parts, each with the byte that ends it.
pub(super) fn split_at<'t>(text: &'t str, at: &[u8]) -> Vec<(&'t str, Option<u8>)> {
    let part = |from, to| text.get(from..to).unwrap_or_default().trim_matches([' ', '\t']);
    let (mut parts, mut begin) = (Vec::new(), 0);
    for (end, byte) in TopLevel::new(text).filter(|(_, byte)| at.contains(byte)) {
        parts.push((part(begin, end), Some(byte)));
        begin = end + 1;
    }
    parts.push((part(begin, text.len()), None));
    parts
}

/// Removes the comments from a text.
pub(super) fn without_comments(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, comment)) = top_level(rest, b'(') {
        plain.push_str(before);
        rest = comment_end(comment).and_then(|end| comment.get(end + 1..)).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

/// Iterates over the bytes of a text outside quoted strings, comments and angle brackets, with their offsets. The opening
/// bytes of these are included.
struct TopLevel<'t> {
    bytes: std::iter::Enumerate<std::str::Bytes<'t>>,
    quoted: bool,
    comments: usize,
    angle: bool,
}

impl<'t> TopLevel<'t> {
    fn new(text: &'t str) -> Self {
        Self { bytes: text.bytes().enumerate(), quoted: false, comments: 0, angle: false }
    }
}

impl Iterator for TopLevel<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<(usize, u8)> {
        loop {
            let (at, byte) = self.bytes.next()?;
            let inside = self.quoted || self.comments > 0 || self.angle;
            match byte {
                b'\\' if self.quoted || self.comments > 0 => {
                    self.bytes.next();
                }
                b'"' if self.comments == 0 => self.quoted = !self.quoted,
                _ if self.quoted => {}
                b'(' => self.comments += 1,
                b')' if self.comments > 0 => self.comments -= 1,
                _ if self.comments > 0 => {}
                b'<' => self.angle = true,
                b'>' => self.angle = false,
                _ => {}
            }
            if !inside {
                return Some((at, byte));
            }
        }
    }
}
