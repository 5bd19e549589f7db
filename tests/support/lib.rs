//! Shared by fuzz targets and tests: a machine and its application as one player, the conversation that an input
//! encodes, and the invariants of every conversation.
//!
//! Fuzz targets call the same functions as the tests, so that an ordinary test replays every finding.

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// The examples of the guide compile, and those without a server of their own run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
mod guide {}

pub mod careless_mechanism;
pub mod corpus;
pub mod harness;
pub mod imap_client;
pub mod imap_data;
pub mod imap_server;
pub mod invariants;
pub mod joined;
pub mod joined_imap;
pub mod joined_smtp;
pub mod message;
pub mod parsers;
pub mod play;
pub mod proxy;
pub mod sasl;
pub mod smtp_chunks;
pub mod smtp_client;
pub mod smtp_mail;
pub mod smtp_server;
pub mod test_user;
pub mod unattended;
