//! Reply codes (RFC 5321 §4.2.1).

use core::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

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
