//! Outcomes of a transaction in words, for logs and users.

use core::fmt;

use super::transaction::{NotSent, Outcome, Recipient};

/// `bob@example.org: delivered: 250 2.0.0 accepted`. Control characters in the server's text are replaced.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rcpt.to.as_str(), self.outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("pending"),
            Self::Delivered(response) => write!(f, "delivered: {response}"),
            Self::Refused(_, response) => write!(f, "rejected: {response}"),
            Self::Uncertain => f.write_str("uncertain: sent completely, and no reply was received"),
            Self::NotSent(reason) => write!(f, "not sent: {reason}"),
        }
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the server accepts at most {limit} bytes"),
            Self::NotOffered(extension) => write!(f, "the server does not offer {}", extension.keyword()),
            Self::TimeTooShort(minimum) => {
                write!(f, "the server needs at least {minimum} s for the delivery")
            }
            Self::HeldTooLong(_) => f.write_str("the server does not hold a message that long"),
            Self::Unwanted => f.write_str("the server does not want such solicitations"),
            Self::LeftOver => f.write_str("too many recipients for one transaction"),
            Self::SessionUsedUp => f.write_str("the server accepts no more messages in this session"),
            Self::InvalidMessage => {
                f.write_str("the message holds a NUL, or a CR or LF that is not part of a CRLF")
            }
            Self::Lost => f.write_str("the connection was lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::extension::Extension;
    use crate::response::Response;

    #[test]
    fn outcomes_name_the_reply_or_the_reason() {
        let delivered = Outcome::Delivered(Response::ok());
        assert!(delivered.to_string().starts_with("delivered: 250"), "{delivered}");
        let not_sent = Outcome::NotSent(NotSent::NotOffered(Extension::SmtpUtf8));
        assert_eq!(not_sent.to_string(), "not sent: the server does not offer SMTPUTF8");
        assert_eq!(Outcome::NotSent(NotSent::Lost).to_string(), "not sent: the connection was lost");
    }
}
