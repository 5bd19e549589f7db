//! IMAP as pure state machines, client and server: bytes in, events out; commands in, bytes out.
//!
//! # Map
//!
//! | room | what is in it |
//! |---|---|
//! | [`types`] | the nouns of the protocol: flags, mailboxes, envelopes, …, as views that borrow what was received |
//! | [`parse`] | the grammar, one function for each element of it |
//! | [`encode`] | the same in the other direction, always strict |
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

extern crate alloc;

pub mod encode;
pub mod frame;
pub mod parse;
pub mod types;
