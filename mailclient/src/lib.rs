#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "accounts")]
pub mod account;
#[cfg(feature = "mio")]
pub mod blocking;
mod channel;
mod connection_error;
pub mod delivery;
pub mod diagnosis;
pub mod endpoint;
mod error;
mod folder;
pub mod imap;
pub mod login;
#[cfg(feature = "oauth")]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
pub mod oauth;
pub mod refusal;
mod refusal_error;
mod server_reply;
#[cfg(any(feature = "mio", feature = "tokio"))]
mod session_run;
pub mod smtp;
pub mod sync;
mod task;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use channel::ClientChannel;
pub use endpoint::Endpoint;
pub use error::{Error, ErrorKind, Hint, SyncLimit};
pub use folder::Folder;
pub use refusal_error::{imap_command_error, smtp_reply_error};
pub use server_reply::ServerReply;
pub use task::{Task, TaskStep};
