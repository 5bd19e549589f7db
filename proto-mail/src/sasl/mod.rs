//! SASL (RFC 4422): mechanisms, and the exchanges of both roles.
//!
//! An exchange knows the messages of a mechanism and their order. How the messages are sent (base64 lines with `+` or
//! `334`) is the protocols' part.
//!
//! Each mechanism has one file with both roles. To add one, add a file, a variant of [`Mechanism`], and an arm in
//! [`client_exchange`] and [`server_exchange`]. An application can add a mechanism without changing this crate: as a
//! [`ClientExchange`] and a [`ServerMechanism`].
//!
//! Imports go one way: the mechanisms import the types in `mechanism.rs`, `error.rs` and `exchange.rs`, and only
//! `constructors.rs` imports the mechanisms.

mod base64_text;
mod choice;
mod constructors;
mod context;
mod custom;
mod derivation;
mod error;
mod exchange;
mod external;
mod hash;
mod keys;
mod login;
mod mechanism;
mod oauth;
mod plain;
mod saslname;
mod scram;
mod scram_attributes;
mod text;

pub use base64_text::{decode_base64, encode_base64};
pub use choice::{MechanismChoice, NoMechanism, RejectedMechanism, choose_mechanism};
pub use constructors::{client_exchange, server_exchange, server_exchange_named};
pub use context::SaslContext;
pub use custom::{CustomMechanisms, MAX_MESSAGE_LEN, MAX_MESSAGES, ServerMechanism, checked_exchange};
pub use error::SaslError;
pub use exchange::{ClientExchange, ServerExchange, ServerStep};
pub use hash::ScramHash;
pub use keys::{MAX_ITERATIONS, MIN_ITERATIONS, ScramKeys};
pub use mechanism::{CleartextRisk, CustomMechanism, Mechanism, Mechanisms};

#[cfg(test)]
mod tests;
