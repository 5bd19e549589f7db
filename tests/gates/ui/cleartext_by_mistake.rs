//! A connection without TLS must be requested by its name; no setting disables TLS.

use std::sync::Arc;

use io_mio::{Connector, Security, SmtpClientProtocol, Target};

fn connect(connector: &Connector, target: &Target, config: &Arc<proto_smtp::Config>) {
    let _ = connector.connect_cleartext::<SmtpClientProtocol>(target, config);
}

fn unwrapped() -> Security {
    Security::Cleartext
}

fn main() {}
