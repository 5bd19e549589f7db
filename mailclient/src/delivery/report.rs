//! The result of a delivery for each recipient, in a form that serialises.

use std::time::Duration;

use jiff::Timestamp;
use proto_smtp::{
    client::{NotSent, Outcome, Step},
    types::Extension,
};
use serde::Serialize;

use super::{
    diagnostic::{DeliveryStage, Diagnostic, Retryable},
    retry::{RetryCodes, RetryDecision},
    status::DeliveryStatus,
};

/// The result of one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecipientReport {
    /// The recipient's address.
    pub address: String,
    /// The result.
    pub status: DeliveryStatus,
    /// The reply that decided the status, or the reason why no reply came.
    #[serde(flatten)]
    pub diagnostic: Option<Diagnostic>,
    /// A server's reply in an earlier attempt, if later attempts reached no server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Diagnostic>,
    /// The number of attempts, including those that reached no server.
    pub attempts: u32,
    /// Whether it makes sense to send to it again later.
    pub is_retryable: bool,
    /// The duration of the last transaction, from MAIL to its outcome, in milliseconds.
    pub took_ms: u64,
    /// When it was decided, in milliseconds since the delivery started.
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

    /// Sets the result. An earlier reply is kept if the new diagnostic has none.
    fn set(&mut self, status: DeliveryStatus, diagnostic: Diagnostic) {
        self.status = status;
        let before = self.diagnostic.replace(diagnostic);
        let replied = |diagnostic: &Diagnostic| diagnostic.code.is_some();
        if self.diagnostic.as_ref().is_some_and(replied) {
            self.earlier = None;
        } else if before.as_ref().is_some_and(replied) {
            self.earlier = before;
        }
    }
}

/// The result of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryReport {
    /// The overall result: success only if every recipient was accepted, otherwise the worst result.
    pub status: DeliveryStatus,
    /// The message's identifier, if the caller set it.
    pub message_id: Option<String>,
    /// Every recipient, in the order of the message.
    pub recipients: Vec<RecipientReport>,
    /// When the last recipient was accepted; serialised as RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub sent_at: Option<Timestamp>,
    /// The number of retries.
    pub retry_count: u32,
    /// Whether it makes sense to send it again later, to recipients with [`DeliveryStatus::TempFailed`].
    pub is_retryable: bool,
    /// The whole duration with all delays, in milliseconds.
    pub duration_ms: u64,
    /// The TLS version of the last connection; `None` without TLS.
    pub tls: Option<String>,
}

impl DeliveryReport {
    /// The report of a message before its first attempt.
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

    /// Returns the numbers of the recipients that wait for an attempt.
    #[must_use]
    pub fn pending(&self) -> Vec<usize> {
        let is_waiting = |(number, recipient): (usize, &RecipientReport)| {
            (recipient.status == DeliveryStatus::Retry).then_some(number)
        };
        self.recipients.iter().enumerate().filter_map(is_waiting).collect()
    }

    /// Returns whether a recipient waits for an attempt.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.recipients.iter().any(|recipient| recipient.status == DeliveryStatus::Retry)
    }

    /// Returns whether any recipient has a diagnostic.
    #[must_use]
    pub fn has_diagnostic(&self) -> bool {
        self.recipients.iter().any(|recipient| recipient.diagnostic.is_some())
    }

    /// Counts an attempt for all waiting recipients.
    pub(super) fn count_attempt(&mut self) {
        let mut again = false;
        for recipient in self.recipients.iter_mut().filter(|one| one.status == DeliveryStatus::Retry) {
            again |= recipient.attempts > 0;
            recipient.attempts = recipient.attempts.saturating_add(1);
        }
        self.retry_count = self.retry_count.saturating_add(u32::from(again));
    }

    /// Records the error of an attempt, if any. Returns whether another attempt makes sense.
    pub(super) fn record_error(&mut self, error: Option<&dyn Retryable>, elapsed: Duration) -> RetryDecision {
        let Some(error) = error else { return RetryDecision::Retry };
        let decision = if error.is_retryable() { RetryDecision::Retry } else { RetryDecision::GiveUp };
        self.postpone(&error.diagnostic(), elapsed, decision.status_without_reply());
        decision
    }

    /// Records a diagnostic for all waiting recipients. Those without an earlier diagnostic get the status
    /// `without_reply`.
    pub(super) fn postpone(
        &mut self,
        diagnostic: &Diagnostic,
        elapsed: Duration,
        without_reply: DeliveryStatus,
    ) {
        for recipient in &mut self.recipients {
            if recipient.status == DeliveryStatus::Retry {
                let status =
                    if recipient.diagnostic.is_none() { without_reply } else { DeliveryStatus::Retry };
                recipient.decided_ms = milliseconds(elapsed);
                recipient.set(status, diagnostic.clone());
            }
        }
    }

    /// Records the outcome of an attempt for one recipient.
    pub(super) fn decide(&mut self, number: usize, outcome: &Outcome, of: &TransactionContext<'_>) {
        let Some(recipient) = self.recipients.get_mut(number) else { return };
        if matches!(outcome, Outcome::Delivered(_)) {
            self.sent_at = Some(of.now);
        }
        recipient.took_ms = milliseconds(of.took);
        recipient.decided_ms = milliseconds(of.elapsed);
        let (status, answer) = classify(outcome, of);
        recipient.set(status, answer);
    }

    /// Decides a recipient without an attempt.
    pub(super) fn exclude(&mut self, number: usize, status: DeliveryStatus, diagnostic: Diagnostic) {
        if let Some(recipient) = self.recipients.get_mut(number) {
            recipient.set(status, diagnostic);
        }
    }

    pub(super) fn conclude_after(&mut self, elapsed: Duration) {
        self.duration_ms = milliseconds(elapsed);
        self.conclude();
    }

    /// Ends the delivery: recipients that still wait have failed temporarily.
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

/// The context of an outcome: the transaction that led to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransactionContext<'t> {
    /// The replies after which a recipient is tried again.
    pub(super) codes: RetryCodes,
    /// Why the connection was lost, if it was.
    pub(super) lost: Option<&'t str>,
    /// The time of day.
    pub(super) now: Timestamp,
    /// How long the transaction took.
    pub(super) took: Duration,
    /// The time since the delivery started.
    pub(super) elapsed: Duration,
}

fn classify(outcome: &Outcome, of: &TransactionContext<'_>) -> (DeliveryStatus, Diagnostic) {
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
            let text = format!("the server accepts messages of at most {limit} bytes");
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
            Diagnostic::without_reply(DeliveryStage::Mail, "the server accepts no message of this kind"),
        ),
        Outcome::NotSent(NotSent::LeftOver | NotSent::SessionUsedUp) => (
            DeliveryStatus::Retry,
            Diagnostic::without_reply(DeliveryStage::Mail, "the server accepts no more recipients at once"),
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

    const OF: TransactionContext<'_> = TransactionContext {
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
    fn retries_only_waiting_recipients() {
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
    fn the_overall_result_is_the_worst() {
        let accepted = || Outcome::Delivered(Response::ok());
        let overall = |outcomes: &[Outcome]| {
            let mut report = report(outcomes);
            report.conclude();
            (report.status, report.is_retryable)
        };
        assert_eq!(overall(&[accepted(), accepted()]), (DeliveryStatus::Success, false));
        assert_eq!(overall(&[accepted(), refused(Step::Rcpt(1), 452)]), (DeliveryStatus::TempFailed, true));
        assert_eq!(overall(&[accepted(), refused(Step::Mail, 550)]), (DeliveryStatus::Rejected, false));
    }

    #[test]
    fn serialises_reports() {
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
