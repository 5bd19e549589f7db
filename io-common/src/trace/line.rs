//! The lines of a trace, before they are formatted.

use super::record::{Role, TraceChannel};
use crate::address::Address;

/// What a line says besides its text.
#[derive(Clone, Copy)]
pub(super) struct LineContext {
    pub(super) connection: u64,
    pub(super) protocol: &'static str,
    #[cfg_attr(not(feature = "trace-json"), allow(dead_code, reason = "only JSON shows the role"))]
    pub(super) role: Role,
    pub(super) at: f64,
    pub(super) channel: TraceChannel,
}

/// A part of a line.
pub(super) enum LinePart {
    Text(Vec<u8>),
    Count(&'static str, u64),
}

/// The side that sent a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// A line about the connection itself.
pub(super) enum Note<'n> {
    /// The connection is established; with the peer's address if it is shown.
    Connected(Option<&'n Address>),
    TlsStarted,
    Closed,
    Text(&'n str),
}

impl Note<'_> {
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Connected(Some(peer)) => format!("connected: {peer}"),
            Self::Connected(None) => "connected".into(),
            Self::TlsStarted => "TLS".into(),
            Self::Closed => "closed".into(),
            Self::Text(text) => (*text).into(),
        }
    }
}

impl LinePart {
    pub(super) fn to_text(&self) -> String {
        let (what, count) = match self {
            Self::Text(text) => return text.escape_ascii().to_string(),
            Self::Count(what, count) => (*what, count),
        };
        match what {
            "secret" => format!("[{count} bytes redacted]"),
            "message" => format!("[{count} bytes of a message]"),
            "literal" => format!("[a literal of {count} bytes]"),
            "elided" => format!("[{count} bytes elided]"),
            "hidden" => format!("[{count} bytes hidden]"),
            _ => format!("[{count} bytes not understood]"),
        }
    }

    pub(super) const fn byte_count(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Count(_, count) => *count,
        }
    }
}
