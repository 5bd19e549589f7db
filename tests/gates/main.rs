//! The promises about TLS, credentials and the protocol crates: misuse does not compile, and injected bytes have no
//! effect.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue must fail")]

mod injection;
mod misuse;
mod purity;
