//! Servers on loopback: their certificates, their users, and how they are reached.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../../../io-mio/tests/toy/certificates.rs"]
mod certificates;
#[path = "../../../io-mio/tests/toy/users.rs"]
pub mod users;

use std::net::SocketAddr;

use io_mio::{Security, Target};

pub use certificates::localhost;

pub fn target(address: SocketAddr, security: Security) -> Target {
    Target::new("localhost", address.port(), security).dial_to(address.ip().to_string(), address.port())
}
