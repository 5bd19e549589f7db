//! What the connections of the server share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::grants::Grants;
use super::misbehaviour::Rotation;

pub(super) const CLIENT_ID: &str = "test-client";
pub(super) const CLIENT_SECRET: &str = "test-client-secret";
pub(super) const SCOPE: &str = "https://mail.test/all";

/// What a test can set before the server starts.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) redirect_uris: Vec<String>,
    pub(super) lifetime: Duration,
    pub(super) rotation: Rotation,
    pub(super) device_interval: Duration,
    pub(super) device_lifetime: Duration,
}

/// What the connections share.
pub(super) struct Shared {
    pub(super) address: SocketAddr,
    pub(super) settings: Settings,
    pub(super) stopped: AtomicBool,
    pub(super) connections: AtomicUsize,
    grants: Mutex<Grants>,
}

impl Shared {
    pub(super) fn new(address: SocketAddr, settings: Settings) -> Self {
        let (stopped, connections) = (AtomicBool::new(false), AtomicUsize::new(0));
        Self { address, settings, stopped, connections, grants: Mutex::default() }
    }

    pub(super) fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
