//! IMAP as pure state machines, client and server. They turn received bytes into events, and commands into bytes to
//! send.
//!
//! This crate opens no sockets, reads no clock, starts no threads and does not implement TLS. A driver reads into a
//! [`RecvBuffer`](proto_mail::RecvBuffer), pulls events from a machine, and writes the contents of the
//! [`SendBuffer`](proto_mail::SendBuffer). See [`client::Client`] and [`server::Server`] for the complete loops.
//!
//! # A session
//!
//! ```text
//!   Client<Cleartext> ── starttls ─► StartTls ─► Upgrade ── complete(Secure) ─► Client<Secure>
//!   Server<Cleartext> ── StartTls(request) ── accept ─► Upgrade ── complete(Secure) ─► Server<Secure>
//!
//!                     ┌──────────────────┐  LOGIN, AUTHENTICATE   ┌───────────────┐  SELECT, EXAMINE   ┌──────────┐
//!   greeting OK ────► │ NotAuthenticated │ ──── OK ─────────────► │ Authenticated │ ──── OK ─────────► │ Selected │
//!   PREAUTH ──────────┼──────────────────┼──────────────────────► │               │ ◄── CLOSE, NO ──── │          │
//!                     └────────┬─────────┘                        └───────┬───────┘                    └────┬─────┘
//!                              └────────────────── LOGOUT, BYE ───────────┴──────────────────────────────┬─┘
//!                                                                                                        ▼ Logout
//! ```
//!
//! In cleartext no value can hold a credential, and the client does not trust the server's data. The upgrade to TLS
//! discards all data received in cleartext. The states are those of RFC 9051 §3, see [`State`].
//!
//! # Map
//!
//! | module | contents |
//! |---|---|
//! | [`client`], [`server`] | the two machines, each a thin shell for both channels over one core |
//! | [`state`] | the session states, and the table of the commands that each allows |
//! | [`frame`] | where one message ends: the only module that knows how literals are announced |
//! | [`config`] | the settings |
//! | [`types`] | the types of commands and responses |
//! | [`parse`] | the functions that parse them |
//! | [`encode`] | the functions that write them |
//! | [`list_matcher`] | for servers: which mailbox names a LIST selects |
//! | `resync` | for clients (feature `resync`): what has changed in a mailbox since an earlier session |
//! | `mailbox_view` | for servers (feature `mailbox-view`): sequence numbers, and what each client must be told |
//! | `search_query` | for servers (feature `mailbox-view`): which messages a SEARCH finds, and how its result changes |
//! | `sort_order` | for servers (feature `mailbox-view`): the order of a SORT |
//! | `threading` | for servers (feature `mailbox-view`): the algorithms of THREAD |
//!
//! The source has one module for each part of the protocol, with its types, its parser, its encoder and its tests:
//! `fetch`, `envelope`, `quota` and so on. They build on `grammar` and do not depend on each other's commands. Only
//! the tables in `command` and `response` know all of them. `CONTRIBUTING.md` shows how to add an extension.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod client;
pub mod config;
pub mod encode;
pub mod frame;
pub mod list_matcher;
#[cfg(feature = "mailbox-view")]
pub mod mailbox_view;
pub mod parse;
mod redaction;
#[cfg(feature = "resync")]
pub mod resync;
#[cfg(feature = "mailbox-view")]
pub mod search_query;
pub mod server;
#[cfg(feature = "mailbox-view")]
pub mod sort_order;
pub mod state;
#[cfg(feature = "mailbox-view")]
pub mod threading;
pub mod types;

mod acl;
mod annotation;
mod append;
mod authenticate;
mod body_structure;
mod cancel_update;
mod capability;
mod command;
mod command_name;
mod copy;
mod create;
mod date_time;
mod envelope;
mod fetch;
mod fetch_command;
mod flags;
mod grammar;
mod id;
mod imap_url;
mod language;
mod list;
mod mailbox_filter;
mod mailbox_name;
mod metadata;
mod multi_search;
mod namespace;
mod notify;
mod numbers;
mod partial_range;
mod quota;
mod rename;
mod required_capabilities;
mod response;
mod search;
mod search_key;
mod section;
mod select;
mod sequence_set;
mod sort;
mod status;
mod status_response;
mod store;
mod tag;
mod thread;
mod uid_batches;
#[cfg(feature = "resync")]
mod uid_bitmap;
mod uid_only;
mod url_auth;
mod vanished;

pub use config::{Config, NonSyncLiterals, SaslIr, Waits};
pub use state::{Access, State};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
