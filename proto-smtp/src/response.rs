//! Replies (RFC 5321 §4.2): a code, an optional enhanced code and text. A client parses them, a server writes them.
//!
//! `Reply = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF`. The token for a reply that a
//! server owes is [`Reply`](crate::server::Reply).

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use proto_mail::{EnhancedCode, ErrorCode, Rejection, RejectionKind, SendBuffer};

use crate::reply_code::{Code, Severity};
use crate::syntax::{SyntaxError, SyntaxFault};

/// The longest text of one line of a reply in bytes: a line has at most 512 bytes with code and CRLF
/// (RFC 5321 §4.5.3.1.5).
const MAX_TEXT: usize = 480;

/// A reply: a code, an optional enhanced code, and text of one or more lines.
///
/// Any text can be written without breaking out of the reply: line ends start further lines of the same reply, other
/// control characters and bytes outside US-ASCII become `?`, and long lines are broken.
#[derive(Clone, PartialEq, Eq)]
pub struct Response<'i> {
    code: Code,
    enhanced: Option<EnhancedCode>,
    text: Text<'i>,
}

#[derive(Clone, PartialEq, Eq)]
enum Text<'i> {
    /// Lines as sent on the wire, with codes and CRLF.
    Wire(Cow<'i, [u8]>),
    /// Lines separated by LF.
    Plain(Cow<'i, str>),
}

impl<'i> Response<'i> {
    /// A reply with a code and a text. Line ends in the text start further lines.
    #[must_use]
    pub fn new(code: Code, text: impl Into<Cow<'i, str>>) -> Self {
        Self { code, enhanced: None, text: Text::Plain(text.into()) }
    }

    /// Adds an enhanced code. It is ignored if its class contradicts the reply code.
    #[must_use]
    pub const fn with_enhanced(mut self, enhanced: EnhancedCode) -> Self {
        if enhanced.class() as u16 == self.code.get() / 100 {
            self.enhanced = Some(enhanced);
        }
        self
    }

    /// For constant tables.
    pub(crate) const fn fixed(code: Code, enhanced: (u16, u16), text: &'static str) -> Self {
        let enhanced = EnhancedCode::new((code.get() / 100) as u8, enhanced.0, enhanced.1);
        Self { code, enhanced, text: Text::Plain(Cow::Borrowed(text)) }
    }

    /// Replaces the text.
    pub(crate) fn with_text(self, text: &str) -> Response<'_> {
        Response { code: self.code, enhanced: self.enhanced, text: Text::Plain(text.into()) }
    }

    /// `250 2.0.0 OK`.
    #[must_use]
    pub const fn ok() -> Self {
        Self::fixed(Code::OK, (0, 0), "OK")
    }

    /// `354`: the client may send the message.
    #[must_use]
    pub const fn start_data() -> Self {
        Self::fixed(Code::START_DATA, (0, 0), "End data with <CR><LF>.<CR><LF>")
    }

    /// `214 2.0.0`: a reference to the RFC.
    #[must_use]
    pub const fn help() -> Self {
        Self::fixed(Code::HELP, (0, 0), "See RFC 5321")
    }

    /// `502 5.5.1`: the command is not implemented.
    #[must_use]
    pub const fn not_implemented() -> Self {
        Self::fixed(Code::NOT_IMPLEMENTED, (5, 1), "Command not implemented")
    }

    /// `550 5.1.1`: the mailbox does not exist.
    #[must_use]
    pub const fn no_such_mailbox() -> Self {
        Self::fixed(Code::MAILBOX_UNAVAILABLE, (1, 1), "There is no such mailbox here")
    }

    /// `451 4.3.0`: a local error; the client should retry later.
    #[must_use]
    pub const fn try_again() -> Self {
        Self::fixed(Code::LOCAL_ERROR, (3, 0), "A local error occurred; try again later")
    }

    /// Parses one complete reply, with the CRLF of its last line and nothing after it.
    ///
    /// # Errors
    /// The bytes are not a complete reply, the lines have different codes, or bytes follow the reply.
    pub fn parse(bytes: &'i [u8]) -> Result<Self, SyntaxError> {
        let mut at = 0;
        let mut first = None;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let head = line_head(rest).ok_or_else(|| SyntaxError::at(bytes, rest, SyntaxFault::Code))?;
            let Some(end) = memchr::memchr(b'\n', rest) else {
                return Err(SyntaxError::at(bytes, b"", SyntaxFault::Length));
            };
            let (LineHead::Continued(code) | LineHead::Last(code)) = head;
            if *first.get_or_insert(code) != code {
                return Err(SyntaxError::at(bytes, rest, SyntaxFault::MixedCodes));
            }
            at += end + 1;
            if let LineHead::Last(code) = head {
                return if at == bytes.len() {
                    Ok(Self::wire(code, enhanced_of(code, bytes), bytes))
                } else {
                    Err(SyntaxError::at(bytes, bytes.get(at..).unwrap_or_default(), SyntaxFault::Length))
                };
            }
        }
    }

    /// Writes the reply: each line of its text with the code, and `-` after the code on all lines but the last.
    pub fn encode(&self, tx: &mut SendBuffer) {
        let mut lines = self.lines();
        let mut line = lines.next().unwrap_or_default();
        loop {
            let (piece, rest) = line.split_at_checked(MAX_TEXT).unwrap_or((line, b""));
            let next = if rest.is_empty() { lines.next() } else { Some(rest) };
            let separator = if next.is_some() { b'-' } else { b' ' };
            reply_line(self.code(), separator, self.enhanced(), piece, tx);
            match next {
                Some(next) => line = next,
                None => return,
            }
        }
    }

    /// Wraps a complete reply that was checked.
    pub(crate) const fn wire(code: Code, enhanced: Option<EnhancedCode>, lines: &'i [u8]) -> Self {
        Self { code, enhanced, text: Text::Wire(Cow::Borrowed(lines)) }
    }

    /// Wraps a complete reply whose end and code the framer has found.
    pub(crate) fn framed(code: Code, lines: &'i [u8]) -> Self {
        Self::wire(code, enhanced_of(code, lines), lines)
    }

    /// Returns the lines as received, with codes and CRLF. `None` if the reply was made here.
    pub(crate) fn wire_lines(&self) -> Option<&[u8]> {
        match &self.text {
            Text::Wire(lines) => Some(lines),
            Text::Plain(_) => None,
        }
    }

    /// Returns the reply code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Returns the enhanced status code, if there is one that agrees with the reply code.
    #[must_use]
    pub const fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// Whether the command succeeded (2yz) or may continue (3yz).
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        matches!(self.code.severity(), Severity::Completed | Severity::Intermediate)
    }

    /// Whether the failure is transient (4yz): the same command may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.code.severity(), Severity::Transient)
    }

    /// Returns the reply as the reason why the session ended.
    #[cold]
    pub(crate) fn rejection(&self, kind: RejectionKind) -> Rejection {
        Rejection::new(kind, Some(ErrorCode::Smtp(self.code.get())), self.enhanced, &self.text())
    }

    /// Iterates over the lines of the text, without codes. The RFC requires US-ASCII, which is not checked.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let (bytes, prefix) = match &self.text {
            Text::Wire(bytes) => (&**bytes, 4),
            Text::Plain(text) => (text.as_bytes(), 0),
        };
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes.split(|&byte| byte == b'\n').map(move |line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = line.get(prefix..).unwrap_or_default();
            if prefix == 0 { line } else { self.without_enhanced(line) }
        })
    }

    /// Returns the whole text, lines joined by LF. Invalid UTF-8 and control characters are replaced, so that the text is
    /// safe to print; its content is still untrusted.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (n, line) in self.lines().enumerate() {
            if n > 0 {
                text.push('\n');
            }
            text.extend(
                String::from_utf8_lossy(line)
                    .chars()
                    .map(|character| if character.is_control() { '\u{fffd}' } else { character }),
            );
        }
        text
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Response<'static> {
        let text = match self.text {
            Text::Wire(lines) => Text::Wire(Cow::Owned(lines.into_owned())),
            Text::Plain(text) => Text::Plain(Cow::Owned(text.into_owned())),
        };
        Response { code: self.code, enhanced: self.enhanced, text }
    }

    fn without_enhanced<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        match (self.enhanced, EnhancedCode::parse_prefix(line)) {
            (Some(enhanced), Some((same, len))) if enhanced == same => {
                let rest = line.get(len..).unwrap_or_default();
                rest.strip_prefix(b" ").unwrap_or(rest)
            }
            _ => line,
        }
    }
}

impl FromStr for Response<'static> {
    type Err = SyntaxError;

    /// Parses one line such as `550 5.1.1 There is no such mailbox`.
    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let mut line = Vec::with_capacity(text.len() + 2);
        line.extend_from_slice(text.as_bytes());
        line.extend_from_slice(b"\r\n");
        Response::parse(&line).map(Response::into_owned)
    }
}

impl fmt::Display for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.text())
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Response").field(&self.to_string()).finish()
    }
}

/// The beginning of a line of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineHead {
    /// `250-`: more lines follow.
    Continued(Code),
    /// `250 ` or `250`: the last line.
    Last(Code),
}

/// Parses the beginning of a line of a reply.
pub(crate) fn line_head(line: &[u8]) -> Option<LineHead> {
    let (digits, rest) = line.split_first_chunk::<3>()?;
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = digits.map(|byte| byte) else {
        return None;
    };
    let code = Code::new(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))?;
    match rest.first() {
        Some(b'-') => Some(LineHead::Continued(code)),
        // A code without a space and text must be accepted (RFC 5321 §4.2).
        None | Some(b' ' | b'\r' | b'\n') => Some(LineHead::Last(code)),
        _ => None,
    }
}

/// The enhanced code at the beginning of the text of the first line, or else of the last line, if its class is that of
/// the code (RFC 2034 §4).
fn enhanced_of(code: Code, bytes: &[u8]) -> Option<EnhancedCode> {
    let of_line = |line: &[u8]| {
        let (enhanced, _) = EnhancedCode::parse_prefix(line.get(4..)?)?;
        (u16::from(enhanced.class()) == code.get() / 100).then_some(enhanced)
    };
    of_line(bytes).or_else(|| {
        let last = memchr::memrchr(b'\n', bytes.get(..bytes.len().checked_sub(1)?)?)?;
        of_line(bytes.get(last + 1..)?)
    })
}

/// Writes one line of a reply. The text is at most [`MAX_TEXT`] bytes long.
pub(crate) fn reply_line(
    code: Code,
    separator: u8,
    enhanced: Option<EnhancedCode>,
    text: &[u8],
    tx: &mut SendBuffer,
) {
    let mut line = LineBuffer { bytes: [0; 512], len: 0 };
    line.put(&code.digits());
    line.put(&[separator]);
    if let Some(enhanced) = enhanced {
        line.number(u16::from(enhanced.class()));
        for part in [enhanced.subject(), enhanced.detail()] {
            line.put(b".");
            line.number(part);
        }
        if !text.is_empty() {
            line.put(b" ");
        }
    }
    let start = line.len;
    line.put(text);
    line.clean(start);
    line.put(b"\r\n");
    tx.put(line.bytes.get(..line.len).unwrap_or_default());
}

/// A line that is assembled before it is queued.
struct LineBuffer {
    bytes: [u8; 512],
    len: usize,
}

impl LineBuffer {
    /// Appends bytes that fit. With [`MAX_TEXT`] and the longest codes every line does.
    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    /// Appends a number below 1000.
    fn number(&mut self, number: u16) {
        let digits = [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8);
        let skip = usize::from(number < 100) + usize::from(number < 10);
        self.put(digits.get(skip..).unwrap_or_default());
    }

    /// Replaces the bytes from `start` on that are not printable US-ASCII.
    fn clean(&mut self, start: usize) {
        for byte in self.bytes.get_mut(start..self.len).unwrap_or_default() {
            if !(b' '..=b'~').contains(byte) {
                *byte = b'?';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    #[test]
    fn parses_replies() {
        for (bytes, code, enhanced, text) in [
            (&b"250\r\n"[..], 250, None, ""),
            (b"250 \r\n", 250, None, ""),
            (b"250 OK dirdel\r\n", 250, None, "OK dirdel"),
            (b"334 VXNlcm5hbWU6\r\n", 334, None, "VXNlcm5hbWU6"),
            (b"250 2.1.5 fine\r\n", 250, Some("2.1.5"), "fine"),
            (b"550 5.7.509 no\r\n", 550, Some("5.7.509"), "no"),
            (b"550-5.1.1 no such\r\n550 5.1.1 user\r\n", 550, Some("5.1.1"), "no such\nuser"),
            (b"220-a\r\n220-\r\n220 c\r\n", 220, None, "a\n\nc"),
            // A class that contradicts the code is text.
            (b"250 5.1.1 odd\r\n", 250, None, "5.1.1 odd"),
            (b"550 2.0.0\r\n", 550, None, "2.0.0"),
            (b"500 5.5.2\r\n", 500, Some("5.5.2"), ""),
        ] {
            let response = Response::parse(bytes).unwrap();
            assert_eq!(response.code().get(), code);
            assert_eq!(response.enhanced().map(|enhanced| alloc::format!("{enhanced}")).as_deref(), enhanced);
            assert_eq!(response.text(), text);
            assert_eq!(response.clone().into_owned(), response);
        }
    }

    #[test]
    fn rejects_malformed_replies() {
        let fault_of = |bytes: &'static [u8]| Response::parse(bytes).unwrap_err().fault();
        for bad in [
            "2x0 a\r\n",
            "25\r\n",
            "600 a\r\n",
            "150 a\r\n",
            "* OK\r\n",
            "\r\n",
            "",
            "2500 a\r\n",
            "-250 a\r\n",
        ] {
            assert_eq!(fault_of(bad.as_bytes()), SyntaxFault::Code, "{bad}");
        }
        assert_eq!(fault_of(b"250-a\r\n550 b\r\n"), SyntaxFault::MixedCodes);
        assert_eq!(fault_of(b"250 a"), SyntaxFault::Length);
        assert_eq!(fault_of(b"250-a\r\n"), SyntaxFault::Code);
        assert_eq!(fault_of(b"250 a\r\n250 b\r\n"), SyntaxFault::Length);
    }

    #[test]
    fn replaces_control_characters_in_text() {
        let response = Response::parse(b"550 evil\x1b[2J\0\xff\r\n").unwrap();
        assert!(!response.text().chars().any(char::is_control));
        assert_eq!(response.lines().collect::<Vec<_>>(), [&b"evil\x1b[2J\0\xff"[..]]);
    }

    fn written(what: &Response<'_>) -> String {
        let mut tx = SendBuffer::new();
        what.encode(&mut tx);
        String::from_utf8(tx.take()).unwrap()
    }

    #[test]
    fn writes_one_reply_whatever_the_text() {
        let all: String = (0..=0x1ff_u32).filter_map(char::from_u32).collect();
        for text in ["", "\n", "a\nb", "a\r\n250 b\r\n", "x\0y", &all, &"long ".repeat(500)] {
            let reply = written(
                &Response::new(Code::FAILED, text).with_enhanced(EnhancedCode::new(5, 0, 0).unwrap()),
            );
            let read = Response::parse(reply.as_bytes()).unwrap();
            assert_eq!(read.code(), Code::FAILED);
            assert!(reply.split("\r\n").all(|line| line.len() <= 510 && !line.contains(['\r', '\n', '\0'])));
        }
        assert_eq!(written(&Response::new(Code::OK, "a\r\n550 b")), "250-a\r\n250 550 b\r\n");
        assert_eq!(written(&Response::start_data()), "354 End data with <CR><LF>.<CR><LF>\r\n");
        assert_eq!(written(&Response::ok()), "250 2.0.0 OK\r\n");
    }

    #[test]
    fn parses_and_writes_replies() {
        for bytes in [
            &b"250 2.0.0 OK\r\n"[..],
            b"550-5.1.1 No such\r\n550-5.1.1 user\r\n550 5.1.1 here\r\n",
            b"334 \r\n",
            b"500 5.5.2\r\n",
        ] {
            let mut tx = SendBuffer::new();
            Response::parse(bytes).unwrap().encode(&mut tx);
            assert_eq!(tx.take(), bytes);
        }
        assert_eq!(written(&"550 5.7.509 Access denied".parse().unwrap()), "550 5.7.509 Access denied\r\n");
    }
}
