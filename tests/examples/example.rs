//! The examples, as modules. Their `main` functions are not called: they name servers on the internet.

#[path = "../../io-mio/examples/imap_client.rs"]
pub mod mio_imap_client;
#[path = "../../io-mio/examples/smtp_client.rs"]
pub mod mio_smtp_client;
#[path = "../../io-mio/examples/smtp_server.rs"]
pub mod mio_smtp_server;
#[path = "../../mailserver/examples/on_tokio.rs"]
pub mod on_tokio;
#[path = "../../mailserver/examples/own_storage.rs"]
pub mod own_storage;
#[path = "../../io-tokio/examples/probe.rs"]
pub mod probe;
#[path = "../../io-tokio/examples/relay.rs"]
pub mod relay;
#[path = "../../proto-imap/examples/blocking.rs"]
pub mod std_imap_client;
#[path = "../../proto-smtp/examples/blocking_client.rs"]
pub mod std_smtp_client;
#[path = "../../proto-smtp/examples/blocking.rs"]
pub mod std_smtp_server;
#[path = "../../io-tokio/examples/imap_client.rs"]
pub mod tokio_imap_client;
#[path = "../../io-tokio/examples/smtp_client.rs"]
pub mod tokio_smtp_client;
#[path = "../../io-tokio/examples/smtp_server.rs"]
pub mod tokio_smtp_server;
