//! Callbacks that a caller gives to a store.

use crate::types::{Change, LoginKeys};
use std::sync::Arc;

/// A function that the store calls after a mailbox changed, once the change is durable. It runs on the thread that made
/// the change, so it should only wake another thread or set a flag.
pub type ChangeCallback = dyn Fn(Change) + Send + Sync;

/// Keeps a [`ChangeCallback`] registered. The store stops calling it when this is dropped.
pub struct ChangeSubscription(
    #[allow(dead_code, reason = "owned to keep the callback alive")] pub(crate) Arc<ChangeCallback>,
);

impl std::fmt::Debug for ChangeSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChangeSubscription")
    }
}

/// A function that derives login keys from a password, for mechanisms that never send the password (SCRAM, RFC 5802).
/// It returns at most one entry of each kind, and may return none. The store keeps the texts and does not read them. Default:
/// [`scram_keys::derive`](crate::scram_keys::derive).
pub type KeyMaker = dyn Fn(&[u8]) -> Vec<LoginKeys> + Send + Sync;
