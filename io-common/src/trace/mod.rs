//! Wire traces: the conversation of a connection with times, without secrets.
//!
//! The machines decide which bytes may be shown ([`proto_mail::trace`]). This module adds the connection, the time and
//! whether TLS was in place. [`TraceWriter`] formats records as text, or as JSON with the feature `trace-json`.

#[cfg(feature = "trace-json")]
mod json;
mod line;
pub(crate) mod record;
pub(crate) mod writer;

pub use record::{ConnectionTrace, RecordItem, Role, Trace, TraceChannel, TraceRecord, Tracer};
pub use writer::{NameVisibility, TraceFormat, TraceWriter};
