//! The mail server in a program that runs on tokio: `cargo run -p mailserver --features tokio --example on_tokio`.

use std::sync::Arc;

use mailserver::tokio::Server;
use mailserver::{Encryption, Error, Service, TlsServerConfig};
use mailstore::{Accounts, MemoryStore, Store};

/// Starts IMAP and submission, both with implicit TLS, on any free ports of loopback.
pub(crate) async fn start(store: Arc<dyn Store>, tls: TlsServerConfig) -> Result<Server, Error> {
    let any = ([127, 0, 0, 1], 0).into();
    let builder = Server::builder(store, Encryption::Tls(tls));
    builder.listen(Service::Imaps, any).await?.listen(Service::Smtps, any).await?.start()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new()?;
    store.create_account("ann", b"a long password")?;
    let tls = TlsServerConfig::from_files("chain.pem", "key.pem")?;
    let server = start(Arc::new(store), tls).await?;
    println!("{:?}", server.addresses());
    tokio::signal::ctrl_c().await?;
    server.shut_down(std::time::Duration::from_secs(5)).await;
    Ok(())
}
