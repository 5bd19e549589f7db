//! What Mailwire promises of the two gates, and of the protocol crates: it does not compile, or it is not there.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the sources must fail")]

mod misuse;
mod purity;
