//! Enhanced status codes (RFC 3463).

use core::fmt;
use core::str::FromStr;

/// An enhanced status code: `class "." subject "." detail`, each of the latter two up to 999 (RFC 3463 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedCode {
    class: u8,
    subject: u16,
    detail: u16,
}

/// The text is not an enhanced status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InvalidEnhancedCode;

impl EnhancedCode {
    /// Creates a code. The class is 2, 4 or 5; subject and detail are below 1000. `None` for other numbers.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Option<Self> {
        if matches!(class, 2 | 4 | 5) && subject < 1000 && detail < 1000 {
            Some(Self { class, subject, detail })
        } else {
            None
        }
    }

    /// Returns the class: 2 success, 4 transient failure, 5 permanent failure.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.class
    }

    /// Returns the subject: 1 address, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 security.
    #[must_use]
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// Returns the detail.
    #[must_use]
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// Parses a code at the beginning of a reply's text, where a space or the line end follows it. Returns the code
    /// with its length in bytes; `None` if the text begins with something else.
    #[must_use]
    pub fn parse_prefix(text: &[u8]) -> Option<(Self, usize)> {
        let class = match text {
            [class @ (b'2' | b'4' | b'5'), b'.', ..] => class - b'0',
            _ => return None,
        };
        let (subject, subject_len) = part(text.get(2..)?)?;
        let dot = 2 + subject_len;
        if text.get(dot) != Some(&b'.') {
            return None;
        }
        let (detail, detail_len) = part(text.get(dot + 1..)?)?;
        let len = dot + 1 + detail_len;
        matches!(text.get(len), None | Some(b' ' | b'\r' | b'\n'))
            .then_some((Self { class, subject, detail }, len))
    }
}

/// `1*3digit`
fn part(text: &[u8]) -> Option<(u16, usize)> {
    let len = text.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 || len > 3 {
        return None;
    }
    let number = text.iter().take(len).fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some((number, len))
}

impl FromStr for EnhancedCode {
    type Err = InvalidEnhancedCode;

    fn from_str(text: &str) -> Result<Self, InvalidEnhancedCode> {
        match Self::parse_prefix(text.as_bytes()) {
            Some((code, len)) if len == text.len() => Ok(code),
            _ => Err(InvalidEnhancedCode),
        }
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Display for InvalidEnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an enhanced status code is expected: 2, 4 or 5, a subject and a detail, for example 5.7.8",
        )
    }
}

impl core::error::Error for InvalidEnhancedCode {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn parses_enhanced_codes() {
        for (text, expected) in [
            ("5.7.509", (5, 7, 509)),
            ("2.0.0", (2, 0, 0)),
            ("4.999.999", (4, 999, 999)),
            ("5.7.1 no", (5, 7, 1)),
        ] {
            let (code, len) = EnhancedCode::parse_prefix(text.as_bytes()).unwrap();
            assert_eq!((code.class(), code.subject(), code.detail()), expected);
            assert_eq!(code.to_string(), text[..len]);
            assert_eq!(text[..len].parse(), Ok(code));
        }
        for bad in ["", "5", "5.", "5.7", "5.7.", "3.1.1", "5.1000.1", "5.1.1000", "5.1.1x", "5..1", "55.1.1"]
        {
            assert_eq!(EnhancedCode::parse_prefix(bad.as_bytes()), None, "{bad}");
            assert_eq!(bad.parse::<EnhancedCode>(), Err(InvalidEnhancedCode), "{bad}");
        }
        assert_eq!("5.7.1 no".parse::<EnhancedCode>(), Err(InvalidEnhancedCode));
    }

    #[test]
    fn rejects_numbers_that_are_out_of_range() {
        assert_eq!(EnhancedCode::new(5, 999, 999).map(EnhancedCode::detail), Some(999));
        for (class, subject, detail) in [(1, 0, 0), (3, 0, 0), (6, 0, 0), (5, 1000, 0), (5, 0, 1000)] {
            assert_eq!(EnhancedCode::new(class, subject, detail), None);
        }
    }
}
