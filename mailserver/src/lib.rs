#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod account_notifier;
#[cfg(feature = "certificates")]
pub mod certificate;
mod change_notifier;
mod committer;
mod compressed_sessions;
mod copies_to_undo;
mod dialect;
mod error;
mod failed_logins;
pub mod faults;
mod host_name;
mod imap;
mod listener;
mod login;
mod login_queue;
mod measured;
pub mod metrics;
mod pending_result;
mod recipients;
pub mod scram_keys;
mod search_memory;
#[cfg(feature = "mio")]
mod server;
mod server_context;
mod service;
mod settings;
mod smtp;
mod spool;
mod text_indexer;
#[cfg(feature = "tokio")]
pub mod tokio;

/// Searches a mailbox of a store without a session.
pub mod search {
    pub use crate::imap::local_search::{FoundMessages, SearchError, find_messages};
}

pub use dialect::Dialect;
pub use error::Error;
pub use failed_logins::FailedLoginLimits;
pub use host_name::HostName;
pub use io_common::{ConnectionLimits, Deadlines, TlsServerConfig, TlsVersions, TrustedProxies};
pub use listener::{Encryption, Listener, ListenerOptions, ListenerReload};
pub use mailstore;
pub use metrics::Metrics;
#[cfg(feature = "mio")]
pub use server::{Server, ServerBuilder, ServerHandle};
pub use server_context::ServerContext;
pub use service::Service;
pub use settings::{AcceptedMessage, MessageCallback, Options, Settings, TokenCheck, TokenVerdict};
