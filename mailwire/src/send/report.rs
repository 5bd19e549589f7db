//! What became of a message, per recipient, in a form that serialises.
//!
//! It knows outcomes and nothing of how they came about.

use serde::Serialize;

/// What became of a message or of one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The server took it.
    Success,
    /// It failed for good.
    Failed,
    /// It failed for now and will be tried again.
    Retry,
    /// The message or address is not valid: nothing was sent.
    Invalid,
    /// The server refused the sender or recipient for good.
    Rejected,
    /// It failed for now, and every try is used up.
    TempFailed,
    /// The whole message was sent and the answer was lost: it may or may not have been taken.
    Uncertain,
}

/// Where in the conversation an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Before anything was said: name, TCP, TLS.
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

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    pub(crate) stage: Stage,
    /// The reply code; none if there was no reply.
    pub(crate) code: Option<u16>,
    /// The enhanced status code (RFC 3463), as "5.1.1".
    pub(crate) enhanced: Option<String>,
    pub(crate) text: String,
}

impl Answer {
    /// No answer, and why.
    pub(crate) fn none(stage: Stage, text: impl Into<String>) -> Self {
        Self { stage, code: None, enhanced: None, text: text.into() }
    }

    /// Whether the server says to try again later. 421, 450, 451 and 452 do; 4xx as a class does (RFC 5321 §4.2.1).
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(self.code, Some(400..=499))
    }
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RecipientReport {
    pub(crate) address: String,
    pub(crate) status: Status,
    /// The answer that decided.
    #[serde(flatten)]
    pub(crate) answer: Option<Answer>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DeliveryReport {
    pub(crate) status: Status,
    pub(crate) message_id: Option<String>,
    pub(crate) recipients: Vec<RecipientReport>,
    /// When the last recipient was taken, RFC 3339.
    pub(crate) sent_at: Option<String>,
    /// How often it was tried again.
    pub(crate) retry_count: u32,
    /// Whether sending it again later makes sense.
    pub(crate) is_retryable: bool,
    pub(crate) duration_ms: u64,
    /// The TLS version of the last connection.
    pub(crate) tls: Option<String>,
}

impl DeliveryReport {
    /// The status of the whole: success only if every recipient was taken, and otherwise the worst that happened.
    ///
    /// Nothing is tried any more: what was to be tried again has failed for now.
    pub(crate) fn conclude(&mut self) {
        for recipient in &mut self.recipients {
            if recipient.status == Status::Retry {
                recipient.status = Status::TempFailed;
            }
        }
        let has = |status| self.recipients.iter().any(|recipient| recipient.status == status);
        let worst =
            [Status::Uncertain, Status::Failed, Status::Rejected, Status::Invalid, Status::TempFailed];
        self.status = worst.into_iter().find(|status| has(*status)).unwrap_or(Status::Success);
        self.is_retryable = has(Status::TempFailed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(statuses: &[Status]) -> DeliveryReport {
        let recipient = |status: &Status| RecipientReport {
            address: "a@example.com".into(),
            status: *status,
            answer: Some(Answer {
                stage: Stage::Rcpt,
                code: Some(450),
                enhanced: Some("4.2.1".into()),
                text: "busy".into(),
            }),
        };
        let mut report = DeliveryReport {
            status: Status::Retry,
            message_id: None,
            recipients: statuses.iter().map(recipient).collect(),
            sent_at: None,
            retry_count: 0,
            is_retryable: false,
            duration_ms: 1,
            tls: None,
        };
        report.conclude();
        report
    }

    #[test]
    fn the_whole_is_as_good_as_its_worst_part() {
        assert_eq!(report(&[Status::Success, Status::Success]).status, Status::Success);
        let mixed = report(&[Status::Success, Status::TempFailed]);
        assert_eq!((mixed.status, mixed.is_retryable), (Status::TempFailed, true));
        let rejected = report(&[Status::Success, Status::Rejected]);
        assert_eq!((rejected.status, rejected.is_retryable), (Status::Rejected, false));
        assert_eq!(report(&[Status::Uncertain, Status::Failed]).status, Status::Uncertain);
    }

    #[test]
    fn a_report_serialises() {
        let text = serde_json::to_string(&report(&[Status::TempFailed])).unwrap();
        for part in [
            "\"temp_failed\"",
            "\"stage\":\"rcpt\"",
            "\"code\":450",
            "\"enhanced\":\"4.2.1\"",
            "\"text\":\"busy\"",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
