//! Reply codes (RFC 5321 §4.2.1) and enhanced status codes (RFC 3463).
//!
//! This file knows numbers and their classes. It does not know who answers what.

use core::fmt;
use core::str::FromStr;

/// A reply code: three digits, the first 2 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

/// What the first digit of a code says (RFC 5321 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// 2yz: done.
    Completed,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: not now.
    Transient,
    /// 5yz: no.
    Permanent,
}

impl Code {
    /// 214: help.
    pub const HELP: Self = Self(214);
    /// 220: the service is ready.
    pub const READY: Self = Self(220);
    /// 221: good-bye.
    pub const CLOSING: Self = Self(221);
    /// 235: authenticated.
    pub const AUTHENTICATED: Self = Self(235);
    /// 250: done.
    pub const OK: Self = Self(250);
    /// 252: cannot verify, will try.
    pub const CANNOT_VERIFY: Self = Self(252);
    /// 334: a SASL challenge.
    pub const CHALLENGE: Self = Self(334);
    /// 353: a reply for each recipient follows, and one for all (PRDR).
    pub const CONTENT_ANALYSIS: Self = Self(353);
    /// 354: send the message.
    pub const START_DATA: Self = Self(354);
    /// 421: the service closes the connection.
    pub const UNAVAILABLE: Self = Self(421);
    /// 450: the mailbox is busy.
    pub const MAILBOX_BUSY: Self = Self(450);
    /// 451: an error here.
    pub const LOCAL_ERROR: Self = Self(451);
    /// 452: no room now.
    pub const INSUFFICIENT_STORAGE: Self = Self(452);
    /// 454: cannot now (TLS, authentication).
    pub const TEMPORARILY_UNAVAILABLE: Self = Self(454);
    /// 500: the line was not understood.
    pub const SYNTAX: Self = Self(500);
    /// 501: the arguments were not understood.
    pub const ARGUMENTS: Self = Self(501);
    /// 502: the command is not implemented.
    pub const NOT_IMPLEMENTED: Self = Self(502);
    /// 503: the command is out of order.
    pub const BAD_SEQUENCE: Self = Self(503);
    /// 504: the parameter is not implemented.
    pub const PARAMETER: Self = Self(504);
    /// 521: no mail is taken here.
    pub const NO_MAIL: Self = Self(521);
    /// 530: authenticate, or begin TLS, first.
    pub const REQUIRED: Self = Self(530);
    /// 535: the credentials are not good.
    pub const CREDENTIALS: Self = Self(535);
    /// 538: this mechanism needs encryption.
    pub const ENCRYPTION: Self = Self(538);
    /// 550: no such mailbox, or a policy.
    pub const MAILBOX_UNAVAILABLE: Self = Self(550);
    /// 552: too large.
    pub const TOO_LARGE: Self = Self(552);
    /// 553: the mailbox name is not allowed.
    pub const MAILBOX_NAME: Self = Self(553);
    /// 554: the transaction failed.
    pub const FAILED: Self = Self(554);
    /// 555: MAIL or RCPT has a parameter that is not known.
    pub const UNKNOWN_PARAMETER: Self = Self(555);

    /// A code from 200 to 599.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 { Some(Self(code)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What the first digit says.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self.0 / 100 {
            2 => Severity::Completed,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }

    /// The three digits.
    pub(crate) const fn digits(self) -> [u8; 3] {
        [b'0' + (self.0 / 100) as u8, b'0' + (self.0 / 10 % 10) as u8, b'0' + (self.0 % 10) as u8]
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An enhanced status code: `class "." subject "." detail`, each of the latter two up to 999 (RFC 3463 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedCode {
    class: u8,
    subject: u16,
    detail: u16,
}

impl EnhancedCode {
    /// A code whose class is 2, 4 or 5 and whose other parts are below 1000.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Option<Self> {
        if matches!(class, 2 | 4 | 5) && subject < 1000 && detail < 1000 {
            Some(Self { class, subject, detail })
        } else {
            None
        }
    }

    /// For this crate's own tables, whose rows a test looks at.
    pub(crate) const fn fixed(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// 2 success, 4 not now, 5 no.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.class
    }

    /// What it is about: 1 address, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 security.
    #[must_use]
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// What exactly.
    #[must_use]
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// Reads one at the beginning of a reply's text; gives it and its length.
    pub(crate) fn read(text: &[u8]) -> Option<(Self, usize)> {
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
    let len = text.iter().take(4).take_while(|octet| octet.is_ascii_digit()).count();
    if len == 0 || len > 3 {
        return None;
    }
    let number = text.iter().take(len).fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some((number, len))
}

impl FromStr for EnhancedCode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match Self::read(text.as_bytes()) {
            Some((code, len)) if len == text.len() => Ok(code),
            _ => Err(()),
        }
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn enhanced_codes_have_their_full_range() {
        for (text, expected) in [
            ("5.7.509", (5, 7, 509)),
            ("2.0.0", (2, 0, 0)),
            ("4.999.999", (4, 999, 999)),
            ("5.7.1 no", (5, 7, 1)),
        ] {
            let (code, len) = EnhancedCode::read(text.as_bytes()).unwrap();
            assert_eq!((code.class(), code.subject(), code.detail()), expected);
            assert_eq!(code.to_string(), text[..len]);
        }
        for bad in ["", "5", "5.", "5.7", "5.7.", "3.1.1", "5.1000.1", "5.1.1000", "5.1.1x", "5..1", "55.1.1"]
        {
            assert_eq!(EnhancedCode::read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn codes_have_three_digits_and_a_severity() {
        assert_eq!(Code::new(199), None);
        assert_eq!(Code::new(600), None);
        assert_eq!(Code::OK.digits(), *b"250");
        assert_eq!(Code::START_DATA.severity(), Severity::Intermediate);
        assert_eq!(Code::UNAVAILABLE.severity(), Severity::Transient);
        assert_eq!(Code::FAILED.severity(), Severity::Permanent);
    }
}
