//! An accepted STARTTLS cannot be constructed by hand.

use proto_imap::{Config, client, server};

fn agreed(config: std::sync::Arc<Config>) -> (client::Upgrade, server::Upgrade) {
    (client::Upgrade { config: config.clone() }, server::Upgrade { config })
}

fn main() {}
