//! What Mailwire promises of the two gates, and of the protocol crates: it does not compile, or it is not there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod injection;
mod misuse;
mod purity;
