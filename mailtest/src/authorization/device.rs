//! Consents on another device (RFC 8628).

use std::time::{Duration, Instant};

/// What the user decides on the other device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceDecision {
    /// The user consents.
    Allow,
    /// The user refuses.
    Deny,
}

/// A consent on another device.
pub(super) struct Device {
    device_code: String,
    user_code: String,
    expires: Instant,
    interval: Duration,
    last_poll: Option<Instant>,
    decision: Option<DeviceDecision>,
}

impl Device {
    pub(super) const fn new(
        device_code: String,
        user_code: String,
        interval: Duration,
        expires: Instant,
    ) -> Self {
        Self { device_code, user_code, expires, interval, last_poll: None, decision: None }
    }

    pub(super) fn has_device_code(&self, code: &str) -> bool {
        self.device_code == code
    }

    pub(super) fn has_user_code(&self, code: &str) -> bool {
        self.user_code == code
    }

    /// Keeps the user's decision. Returns whether it is the first one.
    pub(super) fn decide(&mut self, decision: DeviceDecision) -> bool {
        self.decision.replace(decision).is_none()
    }

    /// Answers a poll.
    ///
    /// # Errors
    /// The error code of RFC 8628 §3.5.
    pub(super) fn poll(&mut self, now: Instant) -> Result<(), &'static str> {
        if now >= self.expires {
            return Err("expired_token");
        }
        let early = self.last_poll.is_some_and(|last| now.duration_since(last) < self.interval);
        self.last_poll = Some(now);
        if early {
            self.interval += Duration::from_secs(5);
            return Err("slow_down");
        }
        match self.decision {
            None => Err("authorization_pending"),
            Some(DeviceDecision::Deny) => Err("access_denied"),
            Some(DeviceDecision::Allow) => Ok(()),
        }
    }
}
