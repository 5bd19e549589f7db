//! A server that may serve an address, and where the suggestion comes from.

use std::fmt;

use serde::Serialize;

use crate::account::settings::{AuthMode, ServerSettings};
use crate::endpoint::Protocol;

/// The most suggestions for one address.
pub const SUGGESTION_LIMIT: usize = 20;

/// A server that may serve an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The protocol.
    pub protocol: Protocol,
    /// The server and the user who logs in.
    pub server: ServerSettings,
    /// The modes that the source names, the preferred one first. Empty if it names none that is known.
    pub auth_modes: Vec<AuthMode>,
    /// Where the suggestion comes from.
    pub source: Source,
    /// Whether the source is authenticated: the table, HTTPS of the domain itself, or a DNS name within the domain. A user
    /// must confirm another one (RFC 6186 §6).
    pub is_authenticated: bool,
}

/// Where a suggestion comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "from")]
#[non_exhaustive]
pub enum Source {
    /// The table of providers: the provider's name.
    Provider(&'static str),
    /// An autoconfig file: its URL without the address.
    Autoconfig(String),
    /// A SRV record: its name.
    Srv(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(name) => write!(f, "the settings of {name}"),
            Self::Autoconfig(url) => f.write_str(url),
            Self::Srv(name) => write!(f, "the SRV record {name}"),
        }
    }
}
