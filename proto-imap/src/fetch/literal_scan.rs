//! Decides which literals of a FETCH response are the contents of a section, by their place in the grammar.
//!
//! A framer finds the announcement of a literal at the end of a line. It must know whether the literal is a string of
//! an envelope, to be buffered, or the contents of a section, to be streamed. The place decides, not the size.

use crate::fetch::parse::{start, uid_start};
use crate::grammar::Context;
use crate::grammar::repair::Strictness;
use crate::grammar::string::parse::{literal_size, quoted};

/// Scans the frame of a FETCH response once, however many literals it has.
#[derive(Debug, Clone, Default)]
pub struct LiteralScan {
    /// The offset up to which the frame was scanned.
    at: usize,
    depth: u32,
    in_section: bool,
    /// The start and the end of the name of the current top-level item, and the start of the token after it.
    name: (usize, usize),
    token: usize,
    /// No quoted string can close before this offset, so that a quote before it is an ordinary character.
    unquoted: usize,
    no_fetch: bool,
}

impl LiteralScan {
    /// Creates a scan for a new frame.
    #[must_use]
    pub const fn new() -> Self {
        Self { at: 0, depth: 0, in_section: false, name: (0, 0), token: 0, unquoted: 0, no_fetch: false }
    }

    /// Creates a scan for the bytes after a section's contents. The frame starts anew, inside the FETCH list.
    #[must_use]
    pub const fn continued() -> Self {
        Self { at: 0, depth: 1, in_section: false, name: (0, 0), token: 0, unquoted: 0, no_fetch: false }
    }

    /// Returns whether the literal announced at the end of `frame` is the contents of a section. `frame` is the
    /// message so far: the bytes of the last call, that literal's bytes, and the bytes after them up to the next
    /// announcement.
    pub fn is_section_contents(&mut self, frame: &[u8], reading: Strictness) -> bool {
        let cx = Context::new(reading);
        if self.at == 0 && self.depth == 0 {
            match start(frame, &cx).or_else(|_| uid_start(frame, &cx)) {
                Ok((_, offset)) => (self.at, self.token, self.depth) = (offset, offset, 1),
                Err(_) => self.no_fetch = true,
            }
        }
        !self.no_fetch && self.walk(frame, &cx)
    }

    fn walk(&mut self, frame: &[u8], cx: &Context) -> bool {
        while let Some(rest) = frame.get(self.at..).filter(|rest| !rest.is_empty()) {
            let first = rest.first().copied().unwrap_or_default();
            let first_level = self.depth == 1 && !self.in_section;
            let mut used = 1;
            match first {
                b'"' if self.at >= self.unquoted => match quoted(rest, cx) {
                    Ok((behind, _)) => used = rest.len() - behind.len(),
                    Err(_) => {
                        let line = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                        self.unquoted = self.at.saturating_add(line);
                    }
                },
                b'{' => {
                    if let Ok((behind, size)) = literal_size(rest, cx) {
                        if behind.is_empty() {
                            return first_level && self.follows_section(frame);
                        }
                        let size = usize::try_from(size).unwrap_or(usize::MAX);
                        used = (rest.len() - behind.len()).saturating_add(size);
                    }
                }
                b'(' => self.depth = self.depth.saturating_add(1),
                b')' => self.depth = self.depth.saturating_sub(1).max(1),
                b'[' if first_level => self.in_section = true,
                b']' if self.depth == 1 => self.in_section = false,
                b' ' | b'\r' | b'\n' if first_level => {
                    if self.at > self.token {
                        self.name = (self.token, self.at);
                    }
                    self.token = self.at + 1;
                }
                _ => {}
            }
            self.at = self.at.saturating_add(used);
        }
        false
    }

    /// Returns whether the token before this one is the name of a section.
    fn follows_section(&self, frame: &[u8]) -> bool {
        if !matches!(frame.get(self.token..self.at), Some(b"" | b"~")) {
            return false;
        }
        let name = frame.get(self.name.0..self.name.1).unwrap_or_default();
        let begins =
            |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
        begins(b"BODY[")
            || begins(b"BINARY[")
            || [&b"RFC822"[..], b"RFC822.HEADER", b"RFC822.TEXT"]
                .iter()
                .any(|item| name.eq_ignore_ascii_case(item))
    }
}

/// Returns whether the literal announced at the end of `line_so_far` is the contents of a section. `line_so_far` is a
/// FETCH response from its start. For several literals use a [`LiteralScan`].
#[must_use]
pub fn is_body_literal(line_so_far: &[u8]) -> bool {
    LiteralScan::new().is_section_contents(line_so_far, Strictness::Tolerant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_by_position() {
        let cases: &[(&[u8], bool)] = &[
            (b"* 1 FETCH (BODY[] {5}\r\n", true),
            (b"* 1 FETCH (UID 1 BODY[1.2.MIME]<0> {5}\r\n", true),
            (b"* 1 FETCH (BODY[HEADER.FIELDS (\"a\" b)] {5}\r\n", true),
            (b"* 1 fetch (FLAGS (\\Seen) rfc822.header {5}\r\n", true),
            (b"* 1 FETCH (BINARY[1] ~{5}\r\n", true),
            (b"* 1 FETCH (ENVELOPE (NIL {2}\r\nab NIL) BODY[] {5}\r\n", true),
            (b"* 1 FETCH (ENVELOPE (NIL {5}\r\n", false),
            (b"* 1 FETCH (BODY ({5}\r\n", false),
            (b"* 1 FETCH (X-NEW[1] {5}\r\n", false),
            (b"* 1 FETCH (BODY[HEADER.FIELDS ({4}\r\n", false),
            (b"* 1 FETCH (ENVELOPE (NIL \" BODY[] (\" {5}\r\n", false),
            (b"* 1 FETCH (ENVELOPE (BODY[] {5}\r\n", false),
            (b"* 1 FETCH (PREVIEW {5}\r\n", false),
            (b"* 1 FETCH (X (BODY[] {5}\r\n", false),
            (b"* 1 FETCH (X ([) BODY[] {5}\r\n", true),
            (b"* 1 FETCH (BODY[HEADER.FIELDS (A]) B] {5}\r\n", true),
            (b"* 1 FETCH (BODY[]  {5}\r\n", true),
            (b"* 1 FETCH (X \"a b [\" BODY[] {5}\r\n", true),
            (b"* 1 FETCH (X {5}\r\n) [(\" BODY[] {5}\r\n", true),
            (b"* LIST () \"/\" {5}\r\n", false),
            (b"BODY[] {5}\r\n", false),
            (b"", false),
        ];
        for (line, expected) in cases {
            assert_eq!(
                is_body_literal(line),
                *expected,
                "{:?}",
                alloc::string::String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn scans_many_literals_once() {
        let mut scan = LiteralScan::new();
        let mut frame = b"* 1 FETCH (X (".to_vec();
        for _ in 0..100 {
            frame.extend_from_slice(b"{9}\r\n");
            assert!(!scan.is_section_contents(&frame, Strictness::Strict));
            frame.extend_from_slice(b"BODY[] {5 ");
        }
        frame.extend_from_slice(b") BODY[1] {5}\r\n");
        assert!(scan.is_section_contents(&frame, Strictness::Strict));
        let mut scan = LiteralScan::continued();
        assert!(scan.is_section_contents(b" UID 5 BODY[2] {7}\r\n", Strictness::Strict));
    }
}
