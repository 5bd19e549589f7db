//! Servers on loopback: their certificates, their users, and how they are reached.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::net::SocketAddr;

use io_mio::{Security, Target};

pub use mailwire_fixtures::{certificates::localhost, users};

pub fn target(address: SocketAddr, security: Security) -> Target {
    Target::new("localhost", address.port(), security).dial_to(address.ip().to_string(), address.port())
}
