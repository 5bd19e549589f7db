//! The mail server in a program that runs on tokio: `cargo run -p mailserver --example on_tokio`.
//!
//! `ServerContext` is what the sessions share. It makes the sessions of each listener for the sockets of any driver.

use std::net::SocketAddr;
use std::sync::Arc;

use io_common::TlsServerConfig;
use io_tokio::{Server, server::BoundPort};
use mailserver::{Encryption, ListenerOptions, Options, ServerContext, Service, Settings};
use mailstore::{Accounts, MemoryStore, Store};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Starts IMAP and submission, both with implicit TLS, on any free ports of loopback, and returns the addresses in this order.
pub(crate) async fn start(store: Arc<dyn Store>, tls: TlsServerConfig) -> Result<(Server, Vec<SocketAddr>)> {
    let settings = Settings::default();
    let context = ServerContext::new(store, &settings, Options::default())?;
    let mut server = Server::new(settings.connections.clone());
    let mut addresses = Vec::new();
    for service in [Service::Imaps, Service::Smtps] {
        let listener =
            context.listener(&settings, ListenerOptions::new(service, Encryption::Tls(tls.clone())));
        let port = BoundPort::bind(([127, 0, 0, 1], 0).into()).await?;
        addresses.extend(port.address().as_socket_addr());
        server.listen_with(port, listener.sessions)?;
    }
    Ok((server, addresses))
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = MemoryStore::new()?;
    store.create_account("ann", b"a long password")?;
    let tls = TlsServerConfig::from_files("chain.pem", "key.pem")?;
    let (_server, addresses) = start(Arc::new(store), tls).await?;
    println!("IMAP and submission: {addresses:?}");
    std::future::pending().await
}
