//! OAuth 2.0 of the mail client against an authorization server that checks every parameter, and misbehaves on request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test must fail")]

mod accounts;
mod consent;
mod device;
mod mail;
mod refresh;
mod setup;
mod token_endpoint;
