//! Reply codes (RFC 5321 §4.2.1) and enhanced status codes (RFC 3463).

use core::fmt;
use core::str::FromStr;

/// A reply code: three digits, the first 2 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

/// The meaning of the first digit of a reply code (RFC 5321 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// 2yz: the command succeeded.
    Completed,
    /// 3yz: more input is expected.
    Intermediate,
    /// 4yz: the command failed for now.
    Transient,
    /// 5yz: the command failed.
    Permanent,
}

impl Code {
    /// 214: help.
    pub const HELP: Self = Self(214);
    /// 220: the service is ready.
    pub const READY: Self = Self(220);
    /// 221: the server closes the connection after QUIT.
    pub const CLOSING: Self = Self(221);
    /// 235: authenticated.
    pub const AUTHENTICATED: Self = Self(235);
    /// 250: the command succeeded.
    pub const OK: Self = Self(250);
    /// 252: the server cannot verify the address but will try to deliver.
    pub const CANNOT_VERIFY: Self = Self(252);
    /// 334: a SASL challenge.
    pub const CHALLENGE: Self = Self(334);
    /// 353: a reply for each recipient follows, then one for the message (PRDR).
    pub const CONTENT_ANALYSIS: Self = Self(353);
    /// 354: send the message.
    pub const START_DATA: Self = Self(354);
    /// 421: the service closes the connection.
    pub const UNAVAILABLE: Self = Self(421);
    /// 450: the mailbox is busy.
    pub const MAILBOX_BUSY: Self = Self(450);
    /// 451: a local error.
    pub const LOCAL_ERROR: Self = Self(451);
    /// 452: insufficient storage.
    pub const INSUFFICIENT_STORAGE: Self = Self(452);
    /// 454: TLS or authentication is temporarily unavailable.
    pub const TEMPORARILY_UNAVAILABLE: Self = Self(454);
    /// 500: syntax error, or unknown command.
    pub const SYNTAX: Self = Self(500);
    /// 501: syntax error in the arguments.
    pub const ARGUMENTS: Self = Self(501);
    /// 502: the command is not implemented.
    pub const NOT_IMPLEMENTED: Self = Self(502);
    /// 503: the command is out of order.
    pub const BAD_SEQUENCE: Self = Self(503);
    /// 504: the parameter is not implemented.
    pub const PARAMETER: Self = Self(504);
    /// 521: the host accepts no mail.
    pub const NO_MAIL: Self = Self(521);
    /// 530: authentication or TLS is required.
    pub const REQUIRED: Self = Self(530);
    /// 535: the credentials are not valid.
    pub const CREDENTIALS: Self = Self(535);
    /// 538: the mechanism requires encryption.
    pub const ENCRYPTION: Self = Self(538);
    /// 550: the mailbox does not exist, or a policy rejects it.
    pub const MAILBOX_UNAVAILABLE: Self = Self(550);
    /// 552: the message is too large.
    pub const TOO_LARGE: Self = Self(552);
    /// 553: the mailbox name is not allowed.
    pub const MAILBOX_NAME: Self = Self(553);
    /// 554: the transaction failed.
    pub const FAILED: Self = Self(554);
    /// 555: MAIL or RCPT has an unknown parameter.
    pub const UNKNOWN_PARAMETER: Self = Self(555);

    /// Makes a code from 200 to 599.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 { Some(Self(code)) } else { None }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the meaning of the first digit.
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
    /// Makes a code. The class is 2, 4 or 5; subject and detail are below 1000.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Option<Self> {
        if matches!(class, 2 | 4 | 5) && subject < 1000 && detail < 1000 {
            Some(Self { class, subject, detail })
        } else {
            None
        }
    }

    /// For constant tables; a test checks their rows.
    pub(crate) const fn fixed(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
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

    /// Parses a code at the beginning of a reply's text. Returns it with its length in bytes.
    pub(crate) fn parse_prefix(text: &[u8]) -> Option<(Self, usize)> {
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
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match Self::parse_prefix(text.as_bytes()) {
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
        }
        for bad in ["", "5", "5.", "5.7", "5.7.", "3.1.1", "5.1000.1", "5.1.1000", "5.1.1x", "5..1", "55.1.1"]
        {
            assert_eq!(EnhancedCode::parse_prefix(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn accepts_codes_from_200_to_599() {
        assert_eq!(Code::new(199), None);
        assert_eq!(Code::new(600), None);
        assert_eq!(Code::OK.digits(), *b"250");
        assert_eq!(Code::START_DATA.severity(), Severity::Intermediate);
        assert_eq!(Code::UNAVAILABLE.severity(), Severity::Transient);
        assert_eq!(Code::FAILED.severity(), Severity::Permanent);
    }
}
