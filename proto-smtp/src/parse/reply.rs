//! Replies (RFC 5321 §4.2): `*( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF`.

use super::{SyntaxError, Why};
use crate::types::{Code, EnhancedCode, Response};

/// The beginning of a reply's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineHead {
    /// `250-`: more lines follow.
    Continued(Code),
    /// `250 ` or `250`: the last line.
    Last(Code),
}

/// Looks at the beginning of one line of a reply.
pub(crate) fn line_head(line: &[u8]) -> Option<LineHead> {
    let (digits, rest) = line.split_first_chunk::<3>()?;
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = digits.map(|octet| octet) else {
        return None;
    };
    let code = Code::new(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))?;
    match rest.first() {
        Some(b'-') => Some(LineHead::Continued(code)),
        // A code without a space and text must be accepted (§4.2).
        None | Some(b' ' | b'\r' | b'\n') => Some(LineHead::Last(code)),
        _ => None,
    }
}

/// Reads one complete reply, the CRLF of its last line included, and nothing behind it.
///
/// # Errors
/// It is no reply, it is not complete, its lines bear different codes, or more follows.
pub fn reply(octets: &[u8]) -> Result<Response<'_>, SyntaxError> {
    let mut at = 0;
    let mut first = None;
    loop {
        let rest = octets.get(at..).unwrap_or_default();
        let head = line_head(rest).ok_or(SyntaxError { at, why: Why::Code })?;
        let Some(end) = memchr::memchr(b'\n', rest) else {
            return Err(SyntaxError { at: octets.len(), why: Why::Length });
        };
        let (LineHead::Continued(code) | LineHead::Last(code)) = head;
        if *first.get_or_insert(code) != code {
            return Err(SyntaxError { at, why: Why::MixedCodes });
        }
        at += end + 1;
        if let LineHead::Last(code) = head {
            return if at == octets.len() {
                Ok(Response::wire(code, enhanced(code, octets), octets))
            } else {
                Err(SyntaxError { at, why: Why::Length })
            };
        }
    }
}

/// The enhanced code at the beginning of the first line's text, or else of the last line's, if its class is that of
/// the code (RFC 2034 §4).
fn enhanced(code: Code, octets: &[u8]) -> Option<EnhancedCode> {
    let of_line = |line: &[u8]| {
        let (enhanced, _) = EnhancedCode::read(line.get(4..)?)?;
        (u16::from(enhanced.class()) == code.get() / 100).then_some(enhanced)
    };
    of_line(octets).or_else(|| {
        let last = memchr::memrchr(b'\n', octets.get(..octets.len().checked_sub(1)?)?)?;
        of_line(octets.get(last + 1..)?)
    })
}

/// A reply whose frame was looked at already: its last code counts.
pub(crate) fn framed(code: Code, octets: &[u8]) -> Response<'_> {
    Response::wire(code, enhanced(code, octets), octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn replies_are_read() {
        for (octets, code, enhanced, text) in [
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
            let response = reply(octets).unwrap();
            assert_eq!(response.code().get(), code);
            assert_eq!(response.enhanced().map(|enhanced| alloc::format!("{enhanced}")).as_deref(), enhanced);
            assert_eq!(response.text(), text);
            assert_eq!(response.clone().into_owned(), response);
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let why = |octets: &'static [u8]| reply(octets).unwrap_err().why;
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
            assert_eq!(why(bad.as_bytes()), Why::Code, "{bad}");
        }
        assert_eq!(why(b"250-a\r\n550 b\r\n"), Why::MixedCodes);
        assert_eq!(why(b"250 a"), Why::Length);
        assert_eq!(why(b"250-a\r\n"), Why::Code);
        assert_eq!(why(b"250 a\r\n250 b\r\n"), Why::Length);
    }

    #[test]
    fn a_reply_can_be_shown() {
        let response = reply(b"550 evil\x1b[2J\0\xff\r\n").unwrap();
        assert!(!response.text().chars().any(char::is_control));
        assert_eq!(response.lines().collect::<Vec<_>>(), [&b"evil\x1b[2J\0\xff"[..]]);
    }
}
