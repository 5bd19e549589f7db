//! What a server answered, or what came in place of an answer.
//!
//! It knows stages, codes and texts, in a form that serialises. What follows from them, the policy knows.

use proto_smtp::{client::Step, types::Response};
use serde::Serialize;

use crate::Error;

/// The most characters of a text in an [`Diagnostic`]. The rest is left out.
pub const DIAGNOSTIC_TEXT_LIMIT: usize = 2_000;

/// Where in the conversation an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryStage {
    /// Before anything was sent: the message or an address was looked at.
    Check,
    /// Before a transaction began: name, TCP, TLS.
    Connect,
    /// The greeting or EHLO.
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

/// What a server answered, or why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// To what.
    pub stage: DeliveryStage,
    /// The reply code; none if there was no reply.
    pub code: Option<u16>,
    /// The enhanced status code (RFC 3463), as "5.1.1".
    pub enhanced: Option<String>,
    /// The reply's text, or what happened instead: [`DIAGNOSTIC_TEXT_LIMIT`] characters, and `…` if there was more.
    pub text: String,
}

impl Diagnostic {
    /// A reply to this.
    #[must_use]
    pub fn from_response(stage: DeliveryStage, response: &Response<'_>) -> Self {
        Self {
            stage,
            code: Some(response.code().get()),
            enhanced: response.enhanced().map(|enhanced| enhanced.to_string()),
            text: shortened(response.text()),
        }
    }

    /// No reply came: this happened instead.
    #[must_use]
    pub fn without_reply(stage: DeliveryStage, text: impl Into<String>) -> Self {
        Self { stage, code: None, enhanced: None, text: shortened(text.into()) }
    }

    /// Whether the server says that the same may succeed later: 4yz (RFC 5321 §4.2.1).
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.code, Some(400..=499))
    }

    /// Subject and detail of the enhanced code: what it says besides its class (RFC 3463 §3).
    pub(super) fn subject(&self) -> Option<&str> {
        self.enhanced.as_deref()?.split_once('.').map(|(_, subject)| subject)
    }
}

/// A report has an answer for each recipient: a long one would be kept as often.
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

/// Why a try came to nothing, as far as trying again depends on it.
pub trait Retryable {
    /// Whether the same may well succeed later.
    fn is_retryable(&self) -> bool;
    /// What happened, in a line. No secret is in it.
    fn description(&self) -> String;
    /// The same for the report: the server's own words, where it had some.
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
    fn shortens_the_text_of_a_long_answer() {
        let long = "é".repeat(DIAGNOSTIC_TEXT_LIMIT + 1);
        let text = Diagnostic::without_reply(DeliveryStage::Connect, long).text;
        assert_eq!(text.chars().count(), DIAGNOSTIC_TEXT_LIMIT + 1);
        assert!(text.ends_with("é…"));
        let short = "x".repeat(DIAGNOSTIC_TEXT_LIMIT);
        assert_eq!(Diagnostic::without_reply(DeliveryStage::Connect, short.clone()).text, short);
    }
}
