//! What a server tells its client about changes of the selected mailbox.

use alloc::vec::Vec;

use crate::types::{
    Condition, NumberRange, Numbers, PlainCode, ResponseCode, StatusResponse, Text, Untagged, VanishedWhen,
};

/// One change that a view has recorded, and that the server must now send to the client.
///
/// The updates of a view are sent in the order in which the view returns them, before anything else that has a
/// sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewUpdate {
    /// `OK [CLOSED]`: the mailbox is no longer selected, because another one is being selected (RFC 7162 §3.2.11).
    Closed,
    /// `EXPUNGE`: the message with this sequence number is gone. The numbers above it decrease by one.
    Expunge(u32),
    /// `VANISHED`: the messages with these UIDs are gone (RFC 7162 §3.2.10).
    Vanished(Vec<NumberRange>),
    /// `EXISTS`: the number of messages.
    Exists(u32),
    /// `RECENT`: the number of recent messages (RFC 3501 §7.3.2).
    Recent(u32),
    /// The flags of this message have changed. The server reads them and sends a `FETCH` response.
    Flags {
        /// The message's sequence number.
        sequence: u32,
        /// The message's UID.
        uid: u32,
    },
}

impl ViewUpdate {
    /// Returns the response to send. `None` for [`Flags`](Self::Flags), whose response needs the flags.
    #[must_use]
    pub fn response(&self) -> Option<Untagged<'_>> {
        Some(match self {
            Self::Closed => {
                let text = Text::first_line("the previous mailbox is closed");
                let code = ResponseCode::Plain(PlainCode::Closed);
                Untagged::Status(StatusResponse::new(Condition::Ok, text).with_code(code))
            }
            Self::Expunge(sequence) => Untagged::Expunge(*sequence),
            Self::Vanished(uids) => Untagged::Vanished { when: VanishedWhen::Now, uids: Numbers::new(uids) },
            Self::Exists(count) => Untagged::Exists(*count),
            Self::Recent(count) => Untagged::Recent(*count),
            Self::Flags { .. } => return None,
        })
    }
}

/// How a client is told that messages are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpungeForm {
    /// One `EXPUNGE` for each message.
    #[default]
    Expunge,
    /// `VANISHED`, for a client that has enabled QRESYNC (RFC 7162 §3.2.10).
    Vanished,
}
