//! What became of a message, per recipient, in a form that serialises.
//!
//! It knows outcomes and what they mean for a further try. It does not know how they came about.

use std::time::Duration;

use jiff::Timestamp;
use proto_smtp::{
    client::{NotSent, Outcome, Step},
    types::Extension,
};
use serde::Serialize;

use super::{DeliveryStage, Diagnostic, RetryCodes, Retryable, queue::RetryDecision};

/// What became of a message or of one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryStatus {
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

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecipientReport {
    /// Who it is.
    pub address: String,
    /// What became of it.
    pub status: DeliveryStatus,
    /// The answer that decided, or why there was none.
    #[serde(flatten)]
    pub diagnostic: Option<Diagnostic>,
    /// What a server answered in an earlier try, where none was reached after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Diagnostic>,
    /// How many tries were made for it, those included that reached no server.
    pub attempts: u32,
    /// Whether sending to it again later makes sense.
    pub is_retryable: bool,
    /// How long the last transaction for it took, from MAIL to its outcome, in milliseconds.
    pub took_ms: u64,
    /// When it was decided, in milliseconds since the delivery began.
    pub decided_ms: u64,
}

impl RecipientReport {
    const fn new(address: String) -> Self {
        Self {
            address,
            status: DeliveryStatus::Retry,
            diagnostic: None,
            earlier: None,
            attempts: 0,
            is_retryable: false,
            took_ms: 0,
            decided_ms: 0,
        }
    }

    /// What became of it now. What a server said before is kept beside what no server said.
    fn set(&mut self, status: DeliveryStatus, answer: Diagnostic) {
        self.status = status;
        let before = self.diagnostic.replace(answer);
        let replied = |answer: &Diagnostic| answer.code.is_some();
        if self.diagnostic.as_ref().is_some_and(replied) {
            self.earlier = None;
        } else if before.as_ref().is_some_and(replied) {
            self.earlier = before;
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryReport {
    /// That of the whole: success only if every recipient was taken, and otherwise the worst that happened.
    pub status: DeliveryStatus,
    /// The message's own identifier, if the caller named it.
    pub message_id: Option<String>,
    /// Every recipient, in the order of the message.
    pub recipients: Vec<RecipientReport>,
    /// When the last recipient was taken; RFC 3339 where it is serialised.
    #[serde(serialize_with = "rfc3339")]
    pub sent_at: Option<Timestamp>,
    /// How often it was tried again.
    pub retry_count: u32,
    /// Whether sending it again later makes sense, to those that have [`DeliveryStatus::TempFailed`].
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
        Self {
            status: DeliveryStatus::Retry,
            message_id,
            recipients: addresses.into_iter().map(RecipientReport::new).collect(),
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
            (recipient.status == DeliveryStatus::Retry).then_some(number)
        };
        self.recipients.iter().enumerate().filter_map(waits).collect()
    }

    /// Whether something is known of anybody.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.recipients.iter().any(|recipient| recipient.diagnostic.is_some())
    }

    /// A try begins for all that wait.
    pub(super) fn count_try(&mut self) {
        let mut again = false;
        for recipient in self.recipients.iter_mut().filter(|one| one.status == DeliveryStatus::Retry) {
            again |= recipient.attempts > 0;
            recipient.attempts = recipient.attempts.saturating_add(1);
        }
        self.retry_count = self.retry_count.saturating_add(u32::from(again));
    }

    /// Something stood in the way of a try, or nothing did: says whether another one makes sense.
    pub(super) fn meet(&mut self, obstacle: Option<&dyn Retryable>, elapsed: Duration) -> RetryDecision {
        let Some(obstacle) = obstacle else { return RetryDecision::Some };
        let hope = if obstacle.is_retryable() { RetryDecision::Some } else { RetryDecision::None };
        self.put_off(&obstacle.diagnostic(), elapsed, hope.of_the_unknown());
        hope
    }

    /// Nothing was said about anybody: what happened stands for all that wait. Those of whom nothing was known before
    /// are `unknown` now.
    pub(super) fn put_off(&mut self, answer: &Diagnostic, elapsed: Duration, unknown: DeliveryStatus) {
        for recipient in &mut self.recipients {
            if recipient.status == DeliveryStatus::Retry {
                let status = if recipient.diagnostic.is_none() { unknown } else { DeliveryStatus::Retry };
                recipient.decided_ms = milliseconds(elapsed);
                recipient.set(status, answer.clone());
            }
        }
    }

    /// What became of one recipient in this try.
    pub(super) fn decide(&mut self, number: usize, outcome: &Outcome, of: &Transacted<'_>) {
        let Some(recipient) = self.recipients.get_mut(number) else { return };
        if matches!(outcome, Outcome::Delivered(_)) {
            self.sent_at = Some(of.now);
        }
        recipient.took_ms = milliseconds(of.took);
        recipient.decided_ms = milliseconds(of.elapsed);
        let (status, answer) = judge(outcome, of);
        recipient.set(status, answer);
    }

    /// This recipient is not tried, and why.
    pub(super) fn exclude(&mut self, number: usize, status: DeliveryStatus, answer: Diagnostic) {
        if let Some(recipient) = self.recipients.get_mut(number) {
            recipient.set(status, answer);
        }
    }

    pub(super) fn conclude_after(&mut self, elapsed: Duration) {
        self.duration_ms = milliseconds(elapsed);
        self.conclude();
    }

    /// Nothing is tried any more: what was to be tried again has failed for now.
    pub fn conclude(&mut self) {
        for recipient in &mut self.recipients {
            if recipient.status == DeliveryStatus::Retry {
                recipient.status = DeliveryStatus::TempFailed;
            }
            recipient.is_retryable = recipient.status == DeliveryStatus::TempFailed;
        }
        let has = |status| self.recipients.iter().any(|recipient| recipient.status == status);
        let worst = [
            DeliveryStatus::Uncertain,
            DeliveryStatus::Failed,
            DeliveryStatus::Rejected,
            DeliveryStatus::Invalid,
            DeliveryStatus::TempFailed,
        ];
        self.status = worst.into_iter().find(|status| has(*status)).unwrap_or(DeliveryStatus::Success);
        self.is_retryable = has(DeliveryStatus::TempFailed);
    }
}

/// The transaction that an outcome is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transacted<'t> {
    /// Which answers are worth another try.
    pub(super) codes: RetryCodes,
    /// Why the connection was lost, if it was.
    pub(super) lost: Option<&'t str>,
    /// The time of day.
    pub(super) now: Timestamp,
    /// How long the transaction took.
    pub(super) took: Duration,
    /// How long ago the delivery began.
    pub(super) elapsed: Duration,
}

fn judge(outcome: &Outcome, of: &Transacted<'_>) -> (DeliveryStatus, Diagnostic) {
    let lost = of.lost.unwrap_or("the connection was lost");
    match outcome {
        Outcome::Delivered(response) => {
            (DeliveryStatus::Success, Diagnostic::from_response(DeliveryStage::Message, response))
        }
        Outcome::Refused(step, response) => {
            let answer = Diagnostic::from_response(DeliveryStage::from(*step), response);
            let status = match step {
                _ if of.codes.include(&answer) => DeliveryStatus::Retry,
                _ if answer.is_transient() => DeliveryStatus::TempFailed,
                Step::Mail | Step::Rcpt(_) => DeliveryStatus::Rejected,
                _ => DeliveryStatus::Failed,
            };
            (status, answer)
        }
        Outcome::Uncertain => {
            (DeliveryStatus::Uncertain, Diagnostic::without_reply(DeliveryStage::Message, lost))
        }
        Outcome::NotSent(NotSent::TooLarge(limit)) => {
            let text = format!("the server takes messages of at most {limit} octets");
            (DeliveryStatus::Failed, Diagnostic::without_reply(DeliveryStage::Mail, text))
        }
        Outcome::NotSent(NotSent::NotOffered(extension)) => {
            let advice = match extension {
                Extension::EightBitMime => {
                    ": write its header with encoded words (RFC 2047) and its body in quoted-printable or base64"
                }
                _ => "",
            };
            let text =
                format!("the message needs {}, which the server does not offer{advice}", extension.keyword());
            (DeliveryStatus::Failed, Diagnostic::without_reply(DeliveryStage::Mail, text))
        }
        Outcome::NotSent(NotSent::TimeTooShort(least)) => {
            let text = format!("the server promises delivery within {least} seconds at the earliest");
            (DeliveryStatus::Failed, Diagnostic::without_reply(DeliveryStage::Mail, text))
        }
        Outcome::NotSent(NotSent::HeldTooLong(most)) => {
            let (interval, until) = (most.interval, most.until);
            let text = format!("the server holds messages for {interval} seconds and until {until} at most");
            (DeliveryStatus::Failed, Diagnostic::without_reply(DeliveryStage::Mail, text))
        }
        Outcome::NotSent(NotSent::Unwanted) => (
            DeliveryStatus::Failed,
            Diagnostic::without_reply(DeliveryStage::Mail, "the server takes no message of this kind"),
        ),
        Outcome::NotSent(NotSent::LeftOver | NotSent::SessionUsedUp) => (
            DeliveryStatus::Retry,
            Diagnostic::without_reply(DeliveryStage::Mail, "the server takes no more of them at once"),
        ),
        _ => (DeliveryStatus::Retry, Diagnostic::without_reply(DeliveryStage::Message, lost)),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
    use proto_smtp::types::{Code, Response};

    use super::*;

    fn refused(step: Step, code: u16) -> Outcome {
        Outcome::Refused(step, Response::new(Code::new(code).unwrap(), "busy").into_owned())
    }

    const OF: Transacted<'_> = Transacted {
        codes: RetryCodes::Usual,
        lost: None,
        now: Timestamp::UNIX_EPOCH,
        took: Duration::from_millis(3),
        elapsed: Duration::from_millis(5),
    };

    fn report(outcomes: &[Outcome]) -> DeliveryReport {
        let addresses = (0..outcomes.len()).map(|number| format!("{number}@x.example"));
        let mut report = DeliveryReport::new(None, addresses);
        for (number, outcome) in outcomes.iter().enumerate() {
            report.decide(number, outcome, &OF);
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
            [
                DeliveryStatus::TempFailed,
                DeliveryStatus::Rejected,
                DeliveryStatus::Uncertain,
                DeliveryStatus::Failed,
                DeliveryStatus::TempFailed
            ]
        );
        assert_eq!((report.status, report.is_retryable), (DeliveryStatus::Uncertain, true));
    }

    #[test]
    fn the_whole_is_as_good_as_its_worst_part() {
        let taken = || Outcome::Delivered(Response::ok());
        let whole = |outcomes: &[Outcome]| {
            let mut report = report(outcomes);
            report.conclude();
            (report.status, report.is_retryable)
        };
        assert_eq!(whole(&[taken(), taken()]), (DeliveryStatus::Success, false));
        assert_eq!(whole(&[taken(), refused(Step::Rcpt(1), 452)]), (DeliveryStatus::TempFailed, true));
        assert_eq!(whole(&[taken(), refused(Step::Mail, 550)]), (DeliveryStatus::Rejected, false));
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
