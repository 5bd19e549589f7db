//! SMTP as pure state machines, client and server: bytes in, events out; commands in, bytes out.
//!
//! This crate knows SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033): their grammar, their order, and who
//! owes what to whom. It knows no socket, no clock, no thread and no TLS: a driver moves octets between the network
//! and two buffers, keeps the time that [`Wait`](proto_mail::Wait) names, and vouches for TLS with a
//! [`Secure`](proto_mail::Secure).
//!
//! ```text
//!   octets ─► RecvBuffer ─► line      where a line or reply ends; what is refused is swallowed whole
//!                            │ parse  what it says: borrowed, without allocating
//!                            ▼ state  whether it may come now
//!                     Client / Server ─► Event ─► the application
//!                            │                         │ replies, commands, the message
//!   octets ◄─ SendBuffer ◄─ encode ◄───────────────────┘
//!                            data     the dots of DATA, both ways
//! ```
//!
//! * [`client::Client`] and [`server::Server`] bear the contract, each with a loop that runs.
//! * [`client::Transaction`] carries one message to the truth about every recipient.
//! * [`types`] holds what commands and replies are made of; none of its values has a CR, LF or NUL in it.
//! * [`parse`] and [`encode`] read and write; [`data`] knows the transparency of DATA; [`state`] the order of commands.
//!
//! # What cannot happen
//!
//! * On cleartext no event holds a credential and no method takes one, but for one whose name begins with `danger_`.
//! * Nothing that came before TLS is there after it: neither octets nor what was learnt.
//! * Nothing but CRLF "." CRLF ends a message, however the octets are cut.
//! * A reply counts only for a command whose last octet was sent.
//! * No address, parameter or text becomes a line of its own.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

extern crate alloc;

mod ascii;
pub mod client;
mod config;
pub mod data;
pub mod encode;
mod line;
pub mod parse;
mod scan;
pub mod server;
pub mod state;
pub mod types;

pub use config::{
    Config, Dialect, EarlyTalker, InitialResponse, MixedCodes, Pipelining, UnknownParameters, Waits,
};
