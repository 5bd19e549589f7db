//! A message as one line, for people or as JSON.

use mailmime::{Address, decode};
use mailstore::Message;
use serde::Serialize;

/// A message in a folder.
#[derive(Debug, Serialize)]
pub(crate) struct MessageLine {
    pub(crate) folder: String,
    pub(crate) uid: u32,
    /// When the server received it (INTERNALDATE), in UTC.
    pub(crate) internal_date: String,
    /// Its Date field, in UTC.
    pub(crate) sent_date: Option<String>,
    pub(crate) flags: Vec<String>,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) from: Vec<String>,
    pub(crate) to: Vec<String>,
    pub(crate) subject: Option<String>,
    pub(crate) message_id: Option<String>,
}

impl MessageLine {
    /// Describes a message that was read with its envelope.
    pub(crate) fn new(folder: &str, message: &Message) -> Self {
        let envelope = message.envelope.as_ref();
        let addresses = |list: Option<&Vec<Address>>| list.into_iter().flatten().map(address).collect();
        Self {
            folder: folder.to_owned(),
            uid: message.uid,
            internal_date: utc(message.internal_date.seconds),
            sent_date: message.sent_date.map(utc),
            flags: message.flags.names().map(str::to_owned).collect(),
            size: message.size,
            from: addresses(envelope.map(|envelope| &envelope.from)),
            to: addresses(envelope.map(|envelope| &envelope.to)),
            subject: envelope.and_then(mailmime::Envelope::decoded_subject),
            message_id: envelope.and_then(|envelope| envelope.message_id.clone()),
        }
    }

    /// Returns the line for people: UID, date, marks, sender, subject. The marks are `N` for unseen, `F` for flagged, `A`
    /// for answered, `D` for deleted, `T` for draft, and `R` for removed by the server.
    pub(crate) fn text(&self) -> String {
        let has = |name: &str| self.flags.iter().any(|flag| flag.eq_ignore_ascii_case(name));
        let marks = [
            (!has("\\Seen"), 'N'),
            (has("\\Flagged"), 'F'),
            (has("\\Answered"), 'A'),
            (has("\\Deleted"), 'D'),
            (has("\\Draft"), 'T'),
            (has(mailclient::sync::REMOVED_KEYWORD), 'R'),
        ];
        let marks: String = marks.into_iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| mark).collect();
        let from = self.from.first().map_or("", String::as_str);
        let subject = self.subject.as_deref().unwrap_or("(no subject)");
        let date = self.internal_date.get(..10).unwrap_or_default();
        format!("{:>6}  {date}  {marks:<3}  {from}  {subject}", self.uid)
    }
}

/// Formats an address as in a header field, decoded.
pub(crate) fn address(address: &Address) -> String {
    let name = address.name.as_deref().map(|name| decode::encoded_words(name.as_bytes()));
    let mailbox = address.mailbox.as_deref().unwrap_or_default();
    let plain = match address.host.as_deref() {
        Some(host) if !host.is_empty() => format!("{mailbox}@{host}"),
        _ => mailbox.to_owned(),
    };
    match name {
        Some(name) if !name.is_empty() => format!("{name} <{plain}>"),
        _ => plain,
    }
}

/// Formats seconds since 1970 as a date and time in UTC.
pub(crate) fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
