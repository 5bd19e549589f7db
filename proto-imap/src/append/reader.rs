//! Reads APPEND and REPLACE from bytes that are in memory, behind the start of the command.

use crate::append::AppendForm;
use crate::append::elements::{AppendElement, AppendStart, Place, announces_url, element};
use crate::command_name::UnparsedCommand;
use crate::frame::{self, LineEnd, LiteralHeader};
use crate::grammar::Context;

/// Parses the rest of an APPEND or REPLACE whose bytes are in memory: parts of a message, and further messages (RFC 3502,
/// 4469 and 6855). A server that receives the command piece by piece uses [`Server`](crate::server::Server).
///
/// The contents of messages and parts are literals, which the caller skips.
#[derive(Debug, Clone)]
pub struct AppendElements {
    place: Place,
}

/// An element, the literal that it announces, and how many bytes of the line it is. If there is a literal, the line ends
/// with its announcement.
pub type ParsedElement<'i> = (AppendElement<'i>, Option<LiteralHeader>, usize);

impl AppendElements {
    /// Creates a parser of what follows the start of a command, and its first literal if there is one.
    #[must_use]
    pub const fn after(start: &AppendStart<'_>) -> Self {
        let place = match start.form {
            AppendForm::Catenate => Place::FirstPart,
            AppendForm::Utf8 => Place::InUtf8Message,
            AppendForm::Literal | AppendForm::Literal8 => Place::BehindMessage,
        };
        Self { place }
    }

    /// Returns the first line of the input. A literal that is a URL, and the line behind it, belong to the line. It has no
    /// line end if the input has none.
    #[must_use]
    pub fn line(input: &[u8]) -> &[u8] {
        let mut start = 0;
        while let Some(length) = input.get(start..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let end = start + length + 1;
            let line = input.get(start..end).unwrap_or_default();
            let literal = match frame::ending(line.strip_suffix(b"\r\n").unwrap_or(line)) {
                LineEnd::Literal(announced) if announces_url(line) => announced.size,
                _ => return input.get(..end).unwrap_or(input),
            };
            start = usize::try_from(literal).map_or(usize::MAX, |literal| end.saturating_add(literal));
        }
        input
    }

    /// Parses the next element of a line from [`line`](Self::line). After a literal the next line begins behind it;
    /// otherwise the next element is in the same line.
    ///
    /// # Errors
    /// [`UnparsedCommand`] if the line has no element that the command can have here. Its offset counts from the start of
    /// `line`.
    pub fn next<'i>(
        &mut self,
        line: &'i [u8],
        cx: &Context,
    ) -> Result<ParsedElement<'i>, UnparsedCommand<'i>> {
        match element(line, self.place, cx) {
            Ok((rest, (element, announced, place))) => {
                self.place = place;
                Ok((element, announced, line.len() - rest.len()))
            }
            Err(error) => Err(UnparsedCommand::new(line, None, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use super::*;
    use crate::append::elements::append_start;

    /// Parses a whole command. Returns its elements, each with the contents of its literal.
    fn elements(input: &[u8]) -> Vec<alloc::string::String> {
        let cx = Context::strict();
        let first = input.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let (_, start) = append_start(&input[..first], &cx).unwrap();
        let mut rest = &input[start.len..];
        let mut parser = AppendElements::after(&start);
        let skip =
            |announced: Option<LiteralHeader>| announced.map_or(0, |announced| announced.size as usize);
        rest = &rest[skip(start.announced)..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let (element, announced, length) = parser.next(AppendElements::line(rest), &cx).unwrap();
            let contents = skip(announced);
            found.push(format!("{element:?} {}", rest[length..length + contents].escape_ascii()));
            rest = &rest[length + contents..];
        }
        found
    }

    #[test]
    fn reads_messages_and_parts_to_the_end() {
        let message =
            |form, contents| format!("Message {{ flags: [], date: None, form: {form} }} {contents}");
        let several = b"a APPEND x {3}\r\n {9 {2+}\r\nab UTF8 (~{1}\r\n\0)\r\n";
        assert_eq!(elements(several), [message("Literal", "ab"), message("Utf8", "\\x00"), "End ".into()]);
        let parts = b"a APPEND x CATENATE (URL {5}\r\na\r\nb\n TEXT {3}\r\n)\r\n UTF8 (~{1}\r\nz) URL u) {1}\r\n.\r\n";
        assert_eq!(
            elements(parts),
            [
                "Part(Url(\"a\\r\\nb\\n\")) ".into(),
                "Part(Text(3)) )\\r\\n".into(),
                "Part(Utf8(1)) z".into(),
                "Part(Url(\"u\")) ".into(),
                message("Literal", "."),
                "End ".into(),
            ]
        );
        assert_eq!(AppendElements::line(b"URL {9}\r\nshort"), b"URL {9}\r\nshort");
        assert_eq!(AppendElements::line(b" TEXT {9}\r\nlong"), b" TEXT {9}\r\n");
    }
}
