//! What a server answered, or what came in place of an answer.
//!
//! It knows stages, codes and texts, in a form that serialises. What follows from them, the policy knows.

use proto_smtp::{client::Step, types::Response};
use serde::Serialize;

use crate::Error;

/// The most characters of a text in an [`Answer`]. The rest is left out.
pub const ANSWER_TEXT_LIMIT: usize = 2_000;

/// Where in the conversation an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
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
pub struct Answer {
    /// To what.
    pub stage: Stage,
    /// The reply code; none if there was no reply.
    pub code: Option<u16>,
    /// The enhanced status code (RFC 3463), as "5.1.1".
    pub enhanced: Option<String>,
    /// The reply's text, or what happened instead: [`ANSWER_TEXT_LIMIT`] characters, and `…` if there was more.
    pub text: String,
}

impl Answer {
    /// A reply to this.
    #[must_use]
    pub fn of(stage: Stage, response: &Response<'_>) -> Self {
        Self {
            stage,
            code: Some(response.code().get()),
            enhanced: response.enhanced().map(|enhanced| enhanced.to_string()),
            text: shortened(response.text()),
        }
    }

    /// No reply came: this happened instead.
    #[must_use]
    pub fn none(stage: Stage, text: impl Into<String>) -> Self {
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
    if let Some((end, _)) = text.char_indices().nth(ANSWER_TEXT_LIMIT) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl From<Step> for Stage {
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
pub trait Obstacle {
    /// Whether the same may well succeed later.
    fn is_transient(&self) -> bool;
    /// What happened, in a line. No secret is in it.
    fn what(&self) -> String;
    /// The same for the report: the server's own words, where it had some.
    fn answer(&self) -> Answer {
        Answer::none(Stage::Connect, self.what())
    }
}

impl Obstacle for Error {
    fn is_transient(&self) -> bool {
        self.is_retryable()
    }

    fn what(&self) -> String {
        self.to_string()
    }

    fn answer(&self) -> Answer {
        match self {
            Self::Unwilling { code, .. } => {
                Answer { code: Some(*code), ..Answer::none(Stage::Greeting, self.to_string()) }
            }
            Self::Unauthenticated { code, .. } => {
                Answer { code: *code, ..Answer::none(Stage::Auth, self.to_string()) }
            }
            _ => Answer::none(Stage::Connect, self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortens_the_text_of_a_long_answer() {
        let long = "é".repeat(ANSWER_TEXT_LIMIT + 1);
        let text = Answer::none(Stage::Connect, long).text;
        assert_eq!(text.chars().count(), ANSWER_TEXT_LIMIT + 1);
        assert!(text.ends_with("é…"));
        let short = "x".repeat(ANSWER_TEXT_LIMIT);
        assert_eq!(Answer::none(Stage::Connect, short.clone()).text, short);
    }
}
