//! IMAP as pure state machines, client and server: bytes in, events out; commands in, bytes out.
//!
//! Nothing here opens a socket, reads a clock, starts a thread or knows TLS. A driver reads into a
//! [`RecvBuffer`](proto_mail::RecvBuffer), pulls events from a machine, and writes what is in the
//! [`SendBuffer`](proto_mail::SendBuffer); the loops in [`client::Client`] and [`server::Server`] are all there is to it.
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
//! On cleartext no value can hold a credential, and what a server says there is not believed; under TLS nothing of
//! it is left. The states are those of RFC 9051 §3, see [`State`].
//!
//! # Map
//!
//! | room | what is in it |
//! |---|---|
//! | [`client`], [`server`] | the two machines, each a thin shell for both channels over one core |
//! | [`state`] | the states and the table by which both move |
//! | [`frame`] | where one message ends: the only place that knows how literals are announced |
//! | [`config`] | what can be set |
//! | [`types`] | the nouns of the protocol: flags, mailboxes, envelopes, …, as views that borrow what was received |
//! | [`parse`] | the grammar, one function for each element of it |
//! | [`encode`] | the same in the other direction, always strict |
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
pub mod parse;
mod redaction;
pub mod server;
pub mod state;
pub mod types;

pub use config::{Config, SaslIr, Waits};
pub use state::{Access, State};
