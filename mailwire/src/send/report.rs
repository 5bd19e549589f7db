//! Prints the result of each message as a line or a JSON object, and a summary of many messages at the end.

use std::collections::BTreeMap;

use mailclient::delivery::{DeliveryReport, DeliveryStatus, Diagnostic, RecipientReport};
use serde::Serialize;

use crate::command_error::{CommandError, ExitCode};
use crate::output::{Mark, Output};

/// The advice for an uncertain message.
pub(super) const CHECK_FIRST: &str =
    "before you send the message again, ask the recipient whether it arrived, or check the server's log";

/// The number of messages and recipients with each status.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counters {
    /// Messages by status.
    messages: BTreeMap<&'static str, u64>,
    /// Recipients of all messages by status.
    recipients: BTreeMap<&'static str, u64>,
    /// Whether there are messages that were not tried.
    #[serde(rename = "incomplete")]
    pub(super) is_incomplete: bool,
    /// Why the run ended early.
    #[serde(skip)]
    pub(super) failure: Option<CommandError>,
}

impl Counters {
    /// Counts a message.
    pub(super) fn count(&mut self, report: &DeliveryReport) {
        *self.messages.entry(name(report.status)).or_default() += 1;
        for recipient in &report.recipients {
            *self.recipients.entry(name(recipient.status)).or_default() += 1;
        }
    }

    /// Returns whether the server accepted every message for every recipient.
    pub(super) fn is_success(&self) -> bool {
        !self.is_incomplete && self.messages.keys().all(|status| *status == name(DeliveryStatus::Success))
    }

    /// Returns how many messages the server accepted for every recipient.
    pub(super) fn successes(&self) -> u64 {
        self.messages.get(name(DeliveryStatus::Success)).copied().unwrap_or_default()
    }

    /// Returns whether no message was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn has(&self, status: DeliveryStatus) -> bool {
        self.messages.contains_key(name(status))
    }

    /// Returns the result of the command: the worst result of any message.
    pub(super) fn result(&self) -> Result<(), CommandError> {
        // This check comes first: on another exit code, a program may repeat the command and send the message twice.
        if self.has(DeliveryStatus::Uncertain) {
            return Err(CommandError::new(
                ExitCode::Uncertain,
                "the server may have accepted a message, but did not reply",
            )
            .advise(CHECK_FIRST)
            .remote());
        }
        if let Some(failure) = self.failure.clone().filter(|_| self.is_incomplete) {
            return Err(failure);
        }
        if self.has(DeliveryStatus::Failed) || self.has(DeliveryStatus::Rejected) {
            return Err(CommandError::new(
                ExitCode::Unavailable,
                "the server did not accept the message for every recipient",
            )
            .remote());
        }
        if self.has(DeliveryStatus::TempFailed) || self.has(DeliveryStatus::Retry) {
            return Err(CommandError::new(
                ExitCode::TryAgain,
                "the server did not accept the message for every recipient",
            )
            .advise("send it to the other recipients later")
            .remote());
        }
        if self.has(DeliveryStatus::Invalid) {
            return Err(CommandError::new(ExitCode::Data, "the message is invalid"));
        }
        Ok(())
    }

    /// Prints the summary.
    pub(super) fn print(&self, output: Output) {
        output.json(&serde_json::json!({ "summary": self }));
        let part = |(status, count): (&&str, &u64)| format!("{count} {}", status.replace('_', " "));
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
                "uncertain messages are not sent again without --resend-uncertain, since they may arrive twice",
            );
        }
    }
}

/// Prints the report of a single message: a line for each recipient.
pub(super) fn print_single(report: &DeliveryReport, output: Output) {
    output.json(report);
    for recipient in &report.recipients {
        let prefix = match recipient.status {
            DeliveryStatus::Uncertain => "uncertain, the server may have accepted it: ",
            _ => "",
        };
        let text = format!("{}: {prefix}{}", recipient.address, diagnostic(recipient));
        let mark = if recipient.status == DeliveryStatus::Success { Mark::Ok } else { Mark::Fail };
        output.marked(mark, text);
    }
}

/// Prints the report of one of many messages: a line for each recipient for which the server did not accept it.
pub(super) fn print_one_of_many(source: &str, report: &DeliveryReport, output: Output) {
    #[derive(Serialize)]
    struct Sourced<'a> {
        source: &'a str,
        #[serde(flatten)]
        report: &'a DeliveryReport,
    }
    output.json(&Sourced { source, report });
    let count = report.recipients.len();
    let accepted = report.recipients.iter().filter(|one| one.status == DeliveryStatus::Success).count();
    if accepted == count {
        output.marked(Mark::Ok, format!("{source}: {count} recipient{}", if count == 1 { "" } else { "s" }));
    }
    for recipient in report.recipients.iter().filter(|one| one.status != DeliveryStatus::Success) {
        let status = name(recipient.status).replace('_', " ");
        output.marked(
            Mark::Fail,
            format!("{source}: {}: {status}: {}", recipient.address, diagnostic(recipient)),
        );
    }
}

fn diagnostic(recipient: &RecipientReport) -> String {
    recipient.diagnostic.as_ref().map(one_line).unwrap_or_default()
}

/// Formats a diagnostic as one line with its codes.
pub(super) fn one_line(diagnostic: &Diagnostic) -> String {
    let code = diagnostic.code.map(|code| format!("{code} ")).unwrap_or_default();
    let enhanced = diagnostic.enhanced.as_ref().map(|enhanced| format!("{enhanced} ")).unwrap_or_default();
    format!("{code}{enhanced}{}", diagnostic.text)
}

/// Returns the status in JSON.
const fn name(status: DeliveryStatus) -> &'static str {
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
