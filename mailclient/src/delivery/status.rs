//! The result of a message or recipient.

use serde::Serialize;

/// The result of a message or of one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryStatus {
    /// The server accepted it.
    Success,
    /// It failed permanently.
    Failed,
    /// It waits for an attempt.
    Retry,
    /// The message or address is invalid: nothing was sent.
    Invalid,
    /// The server refused the sender or recipient permanently.
    Rejected,
    /// It failed temporarily in every attempt.
    TempFailed,
    /// The whole message was sent and the reply was lost: the server may have accepted it. It is not tried again, because
    /// that may deliver it twice.
    Uncertain,
}
