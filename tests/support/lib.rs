//! What fuzz targets and tests share: a machine and its application as one player, the conversation that a string of
//! bytes stands for, and the invariants that hold for every one.
//!
//! Fuzz targets call the same functions as the tests, so that what they find is replayed by an ordinary test.

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

pub mod corpus;
pub mod harness;
pub mod imap_client;
pub mod imap_server;
pub mod invariants;
pub mod joined;
pub mod joined_imap;
pub mod joined_smtp;
pub mod own;
pub mod parsers;
pub mod play;
pub mod proxy;
pub mod sasl;
pub mod smtp_client;
pub mod smtp_mail;
pub mod smtp_server;
pub mod who;
