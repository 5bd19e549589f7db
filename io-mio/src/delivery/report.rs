//! What became of a message, per recipient, in a form that serialises.
//!
//! It knows outcomes and what they mean for a further try. It does not know how they came about.

use jiff::Timestamp;
use proto_smtp::{
    client::{NotSent, Outcome, Step},
    types::Response,
};
use serde::Serialize;

/// What became of a message or of one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// The server took it.
    Success,
    /// It failed for good.
    Failed,
    /// It waits for a try, the first or another.
    Retry,
    /// The message or address is not valid: nothing was sent.
    Invalid,
    /// The server refused the sender or recipient for good.
    Rejected,
    /// It failed for now, and every try is used up.
    TempFailed,
    /// The whole message was sent and the answer was lost: it may or may not have been taken. It is not tried again,
    /// since that may deliver it twice.
    Uncertain,
}

/// Where in the conversation an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
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
    /// The reply's text, or what happened instead.
    pub text: String,
}

impl Answer {
    fn of(step: Step, response: &Response<'_>) -> Self {
        Self {
            stage: stage(step),
            code: Some(response.code().get()),
            enhanced: response.enhanced().map(|enhanced| enhanced.to_string()),
            text: response.text(),
        }
    }

    fn none(stage: Stage, text: impl Into<String>) -> Self {
        Self { stage, code: None, enhanced: None, text: text.into() }
    }

    /// Whether the server says to try again later. 421, 450, 451 and 452 do; 4yz as a class does (RFC 5321 §4.2.1).
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.code, Some(400..=499))
    }
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecipientReport {
    /// Who it is.
    pub address: String,
    /// What became of it.
    pub status: Status,
    /// The answer that decided.
    #[serde(flatten)]
    pub answer: Option<Answer>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryReport {
    /// That of the whole: success only if every recipient was taken, and otherwise the worst that happened.
    pub status: Status,
    /// The message's own identifier, if the caller named it.
    pub message_id: Option<String>,
    /// Every recipient, in the order of the message.
    pub recipients: Vec<RecipientReport>,
    /// When the last recipient was taken; RFC 3339 where it is serialised.
    #[serde(serialize_with = "rfc3339")]
    pub sent_at: Option<Timestamp>,
    /// How often it was tried again.
    pub retry_count: u32,
    /// Whether sending it again later makes sense, to those that have [`Status::TempFailed`].
    pub is_retryable: bool,
    /// How long it took with all pauses, in milliseconds.
    pub duration_ms: u64,
    /// The TLS version of the last connection; none without TLS.
    pub tls: Option<String>,
}

impl DeliveryReport {
    /// Of a message that was not tried yet.
    #[must_use]
    pub fn new(message_id: Option<String>, addresses: impl IntoIterator<Item = String>) -> Self {
        let recipient = |address| RecipientReport { address, status: Status::Retry, answer: None };
        Self {
            status: Status::Retry,
            message_id,
            recipients: addresses.into_iter().map(recipient).collect(),
            sent_at: None,
            retry_count: 0,
            is_retryable: false,
            duration_ms: 0,
            tls: None,
        }
    }

    /// The numbers of the recipients that wait for a try.
    #[must_use]
    pub fn pending(&self) -> Vec<usize> {
        let waits = |(number, recipient): (usize, &RecipientReport)| {
            (recipient.status == Status::Retry).then_some(number)
        };
        self.recipients.iter().enumerate().filter_map(waits).collect()
    }

    /// Whether something is known of anybody.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.recipients.iter().any(|recipient| recipient.answer.is_some())
    }

    /// Nothing was said about anybody: what happened stands for all that wait.
    pub fn postpone(&mut self, text: &str) {
        for recipient in &mut self.recipients {
            if recipient.status == Status::Retry {
                recipient.answer = Some(Answer::none(Stage::Connect, text));
            }
        }
    }

    /// What became of one recipient in this try; `lost` is why the connection was lost, if it was.
    pub(super) fn decide(&mut self, number: usize, outcome: &Outcome, lost: Option<&str>, now: Timestamp) {
        let Some(recipient) = self.recipients.get_mut(number) else { return };
        if matches!(outcome, Outcome::Delivered(_)) {
            self.sent_at = Some(now);
        }
        let (status, answer) = judge(outcome, lost.unwrap_or("the connection was lost"));
        recipient.status = status;
        recipient.answer = Some(answer);
    }

    /// Nothing is tried any more: what was to be tried again has failed for now.
    pub fn conclude(&mut self) {
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

fn judge(outcome: &Outcome, lost: &str) -> (Status, Answer) {
    match outcome {
        Outcome::Delivered(response) => (Status::Success, Answer::of(Step::Message(None), response)),
        Outcome::Refused(step, response) => {
            let answer = Answer::of(*step, response);
            let status = match step {
                _ if answer.is_transient() => Status::Retry,
                Step::Mail | Step::Rcpt(_) => Status::Rejected,
                _ => Status::Failed,
            };
            (status, answer)
        }
        Outcome::Uncertain => (Status::Uncertain, Answer::none(Stage::Message, lost)),
        Outcome::NotSent(NotSent::TooLarge(limit)) => {
            let text = format!("the server takes messages of at most {limit} octets");
            (Status::Failed, Answer::none(Stage::Mail, text))
        }
        Outcome::NotSent(NotSent::NotOffered(extension)) => {
            let text = format!("the message needs {}, which the server does not offer", extension.keyword());
            (Status::Failed, Answer::none(Stage::Mail, text))
        }
        Outcome::NotSent(NotSent::TimeTooShort(least)) => {
            let text = format!("the server promises delivery within {least} seconds at the earliest");
            (Status::Failed, Answer::none(Stage::Mail, text))
        }
        Outcome::NotSent(NotSent::HeldTooLong(most)) => {
            let (interval, until) = (most.interval, most.until);
            let text = format!("the server holds messages for {interval} seconds and until {until} at most");
            (Status::Failed, Answer::none(Stage::Mail, text))
        }
        Outcome::NotSent(NotSent::Unwanted) => {
            (Status::Failed, Answer::none(Stage::Mail, "the server takes no message of this kind"))
        }
        Outcome::NotSent(NotSent::LeftOver | NotSent::SessionUsedUp) => {
            (Status::Retry, Answer::none(Stage::Mail, "the server takes no more of them at once"))
        }
        _ => (Status::Retry, Answer::none(Stage::Message, lost)),
    }
}

const fn stage(step: Step) -> Stage {
    match step {
        Step::Greeting | Step::Hello | Step::StartTls => Stage::Greeting,
        Step::Auth => Stage::Auth,
        Step::Mail => Stage::Mail,
        Step::Rcpt(_) => Stage::Rcpt,
        Step::Data => Stage::Data,
        _ => Stage::Message,
    }
}

fn rfc3339<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto_smtp::types::Code;

    use super::*;

    fn refused(step: Step, code: u16) -> Outcome {
        Outcome::Refused(step, Response::new(Code::new(code).unwrap(), "busy").into_owned())
    }

    fn report(outcomes: &[Outcome]) -> DeliveryReport {
        let addresses = (0..outcomes.len()).map(|number| format!("{number}@x.example"));
        let mut report = DeliveryReport::new(None, addresses);
        for (number, outcome) in outcomes.iter().enumerate() {
            report.decide(number, outcome, None, Timestamp::UNIX_EPOCH);
        }
        report
    }

    #[test]
    fn only_those_that_wait_are_tried_again() {
        let mut report = report(&[
            refused(Step::Rcpt(0), 450),
            refused(Step::Rcpt(1), 550),
            Outcome::Uncertain,
            refused(Step::Message(None), 554),
            Outcome::NotSent(NotSent::Lost),
        ]);
        assert_eq!(report.pending(), [0, 4]);
        report.conclude();
        let statuses: Vec<_> = report.recipients.iter().map(|recipient| recipient.status).collect();
        assert_eq!(
            statuses,
            [Status::TempFailed, Status::Rejected, Status::Uncertain, Status::Failed, Status::TempFailed]
        );
        assert_eq!((report.status, report.is_retryable), (Status::Uncertain, true));
    }

    #[test]
    fn the_whole_is_as_good_as_its_worst_part() {
        let taken = || Outcome::Delivered(Response::ok());
        let whole = |outcomes: &[Outcome]| {
            let mut report = report(outcomes);
            report.conclude();
            (report.status, report.is_retryable)
        };
        assert_eq!(whole(&[taken(), taken()]), (Status::Success, false));
        assert_eq!(whole(&[taken(), refused(Step::Rcpt(1), 452)]), (Status::TempFailed, true));
        assert_eq!(whole(&[taken(), refused(Step::Mail, 550)]), (Status::Rejected, false));
    }

    #[test]
    fn a_report_serialises() {
        let report = report(&[refused(Step::Rcpt(0), 450), Outcome::Delivered(Response::ok())]);
        let text = serde_json::to_string(&report).unwrap();
        for part in [
            "\"status\":\"retry\"",
            "\"stage\":\"rcpt\"",
            "\"code\":450",
            "\"text\":\"busy\"",
            "\"sent_at\":\"1970-01-01T00:00:00Z\"",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
