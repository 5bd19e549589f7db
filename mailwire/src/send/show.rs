//! What is told of messages: a line or an object for each as its fate is known, and of many a sum at the end.

use std::collections::BTreeMap;

use io_mio::delivery::{DeliveryReport, DeliveryStatus, Diagnostic, RecipientReport};
use serde::Serialize;

use crate::failure::{Failure, Kind};
use crate::output::Output;

/// What to do where it is not known whether the server has a message.
pub(super) const LOOK_FIRST: &str =
    "ask the recipient whether it arrived, or look into the server's log, before it is sent again";

/// How many messages met which fate.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    /// Messages by the fate of the whole.
    messages: BTreeMap<&'static str, u64>,
    /// Recipients of all of them, by the fate of each.
    recipients: BTreeMap<&'static str, u64>,
    /// There are messages that were not tried.
    #[serde(rename = "incomplete")]
    pub(super) is_incomplete: bool,
    /// Why nothing was tried any more.
    #[serde(skip)]
    pub(super) obstacle: Option<Failure>,
}

impl Tally {
    /// One more message has met its fate.
    pub(super) fn count(&mut self, report: &DeliveryReport) {
        *self.messages.entry(word(report.status)).or_default() += 1;
        for recipient in &report.recipients {
            *self.recipients.entry(word(recipient.status)).or_default() += 1;
        }
    }

    /// Whether every recipient of every message was taken.
    pub(super) fn is_success(&self) -> bool {
        !self.is_incomplete && self.messages.keys().all(|fate| *fate == word(DeliveryStatus::Success))
    }

    /// The number of messages that were taken for every recipient.
    pub(super) fn successes(&self) -> u64 {
        self.messages.get(word(DeliveryStatus::Success)).copied().unwrap_or_default()
    }

    /// Whether no message has met its fate.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn has(&self, status: DeliveryStatus) -> bool {
        self.messages.contains_key(word(status))
    }

    /// What the command has to say in the end: the worst that happened to any message.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        // Whatever else happened: a program that repeats the command on another code would send this again.
        if self.has(DeliveryStatus::Uncertain) {
            return Err(Failure::new(
                Kind::Uncertain,
                "the server may have taken a message whose answer did not come",
            )
            .advise(LOOK_FIRST)
            .remote());
        }
        if let Some(failure) = self.obstacle.clone().filter(|_| self.is_incomplete) {
            return Err(failure);
        }
        if self.has(DeliveryStatus::Failed) || self.has(DeliveryStatus::Rejected) {
            return Err(Failure::new(Kind::Unavailable, "not every recipient got the message").remote());
        }
        if self.has(DeliveryStatus::TempFailed) || self.has(DeliveryStatus::Retry) {
            return Err(Failure::new(Kind::TryAgain, "not every recipient got the message")
                .advise("send it to the rest later")
                .remote());
        }
        if self.has(DeliveryStatus::Invalid) {
            return Err(Failure::new(Kind::Data, "the message is not valid"));
        }
        Ok(())
    }

    /// The sum of many messages.
    pub(super) fn show(&self, output: Output) {
        output.json(&serde_json::json!({ "summary": self }));
        let part = |(word, count): (&&str, &u64)| format!("{count} {}", word.replace('_', " "));
        let list = |counts: &BTreeMap<&'static str, u64>| {
            if counts.is_empty() {
                return "none".to_owned();
            }
            counts.iter().map(part).collect::<Vec<_>>().join(", ")
        };
        output.line(format!("messages: {}", list(&self.messages)));
        output.line(format!("recipients: {}", list(&self.recipients)));
        if self.is_incomplete {
            output.line("the rest was not tried");
        }
        if self.has(DeliveryStatus::Uncertain) {
            output.hint(
                "what is uncertain is not sent again, unless with --resend-uncertain: it may arrive twice",
            );
        }
    }
}

/// A message that was sent alone: each recipient has a line.
pub(super) fn alone(report: &DeliveryReport, output: Output) {
    output.json(report);
    for recipient in &report.recipients {
        let fate = match recipient.status {
            DeliveryStatus::Uncertain => "uncertain, it may have been taken: ",
            _ => "",
        };
        let text = format!("{}: {fate}{}", recipient.address, answer(recipient));
        output.marked(recipient.status == DeliveryStatus::Success, text);
    }
}

/// One of many messages: who got it needs no line.
pub(super) fn one_of_many(source: &str, report: &DeliveryReport, output: Output) {
    #[derive(Serialize)]
    struct Sourced<'a> {
        source: &'a str,
        #[serde(flatten)]
        report: &'a DeliveryReport,
    }
    output.json(&Sourced { source, report });
    let count = report.recipients.len();
    let taken = report.recipients.iter().filter(|one| one.status == DeliveryStatus::Success).count();
    if taken == count {
        output.marked(true, format!("{source}: {count} recipient{}", if count == 1 { "" } else { "s" }));
    }
    for recipient in report.recipients.iter().filter(|one| one.status != DeliveryStatus::Success) {
        let fate = word(recipient.status).replace('_', " ");
        output.marked(false, format!("{source}: {}: {fate}: {}", recipient.address, answer(recipient)));
    }
}

fn answer(recipient: &RecipientReport) -> String {
    recipient.diagnostic.as_ref().map(said).unwrap_or_default()
}

/// An answer in one line, with its codes.
pub(super) fn said(answer: &Diagnostic) -> String {
    let code = answer.code.map(|code| format!("{code} ")).unwrap_or_default();
    let enhanced = answer.enhanced.as_ref().map(|enhanced| format!("{enhanced} ")).unwrap_or_default();
    format!("{code}{enhanced}{}", answer.text)
}

const fn word(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Success => "success",
        DeliveryStatus::Failed => "failed",
        DeliveryStatus::Retry => "retry",
        DeliveryStatus::Invalid => "invalid",
        DeliveryStatus::Rejected => "rejected",
        DeliveryStatus::TempFailed => "temp_failed",
        _ => "uncertain",
    }
}
