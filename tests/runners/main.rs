//! The runners of `mailclient` do the same on blocking threads and on tokio: each test runs the same work with both
//! against the same server, and compares the results.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod diagnosis;
mod limits;
mod mirror;
mod sync;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use io_common::TlsClientConfig;
use mailclient::Endpoint;
use mailclient::tokio::SharedCredentials;
use proto_mail::Credentials;

const USER: &str = "alice";
const PASSWORD: &str = "secret";

/// Which runner does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    Blocking,
    Tokio,
}

impl Runner {
    const BOTH: [Self; 2] = [Self::Blocking, Self::Tokio];
}

fn server() -> mailtest::Server {
    mailtest::Server::builder().account(USER, PASSWORD).start().unwrap()
}

fn endpoint(scheme: &str, address: SocketAddr, tls: TlsClientConfig) -> Endpoint {
    Endpoint::new(format!("{scheme}://{USER}@localhost:{}", address.port()).parse().unwrap(), tls)
}

fn credentials(password: &str) -> Credentials {
    Credentials::password(USER, password.as_bytes().to_vec())
}

fn shared(password: &str) -> SharedCredentials {
    Arc::new(credentials(password))
}

/// Runs a future on a loop of one thread, as a program with a user interface does.
fn on_tokio<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
