//! Strings, names and numbers of IMAP responses as JSON.

use proto_imap::types::{IString, MailboxName, NameEncoding, Numbers};
use serde_json::{Value, json};

pub(super) fn string(value: &IString<'_>) -> String {
    value.to_str_lossy().into_owned()
}

pub(super) fn optional(value: Option<&IString<'_>>) -> Value {
    value.map_or(Value::Null, |value| json!(string(value)))
}

pub(super) fn mailbox(name: &IString<'_>) -> String {
    mailbox_name(&MailboxName::from_bytes(&name.as_bytes()))
}

pub(super) fn mailbox_name(name: &MailboxName<'_>) -> String {
    name.to_str_lossy(NameEncoding::ModifiedUtf7).into_owned()
}

pub(super) fn strings<T: std::fmt::Display>(values: impl Iterator<Item = T>) -> Vec<String> {
    values.map(|value| value.to_string()).collect()
}

/// Formats numbers as ranges. One range may cover four billion numbers.
pub(super) fn ranges(numbers: &Numbers<'_>) -> Vec<Value> {
    numbers.ranges().map(|range| json!([range.first(), range.last()])).collect()
}

/// Returns the numbers of a SEARCH response.
pub(super) fn numbers(numbers: &Numbers<'_>) -> Vec<u32> {
    numbers.iter().take(10_000_000).collect()
}
