//! Server replies and other results in a form that serialises.

use proto_smtp::{client::Step, types::Response};
use serde::Serialize;

use io_common::Error;

/// The maximum number of characters of a text in a [`Diagnostic`]. The rest is cut off.
pub const DIAGNOSTIC_TEXT_LIMIT: usize = 2_000;

/// The step of a delivery to which a diagnostic belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryStage {
    /// Checking the message and its addresses, before anything is sent.
    Check,
    /// Connecting: name, TCP, TLS.
    Connect,
    /// The greeting, EHLO or STARTTLS.
    Greeting,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, before the message.
    Data,
    /// The message and its end.
    Message,
}

/// A server's reply, or why there was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The step that it belongs to.
    pub stage: DeliveryStage,
    /// The reply code; `None` without a reply.
    pub code: Option<u16>,
    /// The enhanced status code (RFC 3463), as "5.1.1".
    pub enhanced: Option<String>,
    /// The reply's text, or what happened instead; at most [`DIAGNOSTIC_TEXT_LIMIT`] characters, and `…` if it was longer.
    pub text: String,
}

impl Diagnostic {
    /// A diagnostic of a reply.
    #[must_use]
    pub fn from_response(stage: DeliveryStage, response: &Response<'_>) -> Self {
        Self {
            stage,
            code: Some(response.code().get()),
            enhanced: response.enhanced().map(|enhanced| enhanced.to_string()),
            text: shortened(response.text()),
        }
    }

    /// A diagnostic without a reply: `text` says what happened instead.
    #[must_use]
    pub fn without_reply(stage: DeliveryStage, text: impl Into<String>) -> Self {
        Self { stage, code: None, enhanced: None, text: shortened(text.into()) }
    }

    /// Returns whether the reply is a temporary refusal: 4yz (RFC 5321 §4.2.1).
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.code, Some(400..=499))
    }

    /// Returns subject and detail of the enhanced code, without its class (RFC 3463 §3).
    pub(super) fn subject(&self) -> Option<&str> {
        self.enhanced.as_deref()?.split_once('.').map(|(_, subject)| subject)
    }
}

/// Cuts a text off at the limit: a report holds one for each recipient.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(DIAGNOSTIC_TEXT_LIMIT) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl From<Step> for DeliveryStage {
    fn from(step: Step) -> Self {
        match step {
            Step::Greeting | Step::Hello | Step::StartTls => Self::Greeting,
            Step::Auth => Self::Auth,
            Step::Mail => Self::Mail,
            Step::Rcpt(_) => Self::Rcpt,
            Step::Data => Self::Data,
            _ => Self::Message,
        }
    }
}

/// An error of an attempt, as retries and reports see it.
pub trait Retryable {
    /// Returns whether the same attempt may succeed later.
    fn is_retryable(&self) -> bool;
    /// Returns what happened, in one line without secrets.
    fn description(&self) -> String;
    /// Returns the same for the report, with the server's own words if there are some.
    fn diagnostic(&self) -> Diagnostic {
        Diagnostic::without_reply(DeliveryStage::Connect, self.description())
    }
}

impl Retryable for Error {
    fn is_retryable(&self) -> bool {
        Self::is_retryable(self)
    }

    fn description(&self) -> String {
        self.to_string()
    }

    fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::ServiceRefused { code, .. } => Diagnostic {
                code: Some(*code),
                ..Diagnostic::without_reply(DeliveryStage::Greeting, self.to_string())
            },
            Self::AuthenticationFailed { code, .. } => {
                Diagnostic { code: *code, ..Diagnostic::without_reply(DeliveryStage::Auth, self.to_string()) }
            }
            _ => Diagnostic::without_reply(DeliveryStage::Connect, self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_off_long_texts() {
        let long = "é".repeat(DIAGNOSTIC_TEXT_LIMIT + 1);
        let text = Diagnostic::without_reply(DeliveryStage::Connect, long).text;
        assert_eq!(text.chars().count(), DIAGNOSTIC_TEXT_LIMIT + 1);
        assert!(text.ends_with("é…"));
        let short = "x".repeat(DIAGNOSTIC_TEXT_LIMIT);
        assert_eq!(Diagnostic::without_reply(DeliveryStage::Connect, short.clone()).text, short);
    }
}
