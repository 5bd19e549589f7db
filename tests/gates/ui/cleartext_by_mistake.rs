//! A connection without TLS has to be asked for by name, and what it opens is no way for mail that wants TLS.

use io_mio::delivery::Route;
use io_mio::{Connector, Security, SmtpClient, Target};
use proto_core::{Cleartext, Secure};
use proto_smtp::client::Client;

fn connect(connector: &Connector, target: &Target, config: &std::sync::Arc<proto_smtp::Config>) {
    let _: Result<io_mio::Connection<Client<Cleartext>>, _> = connector.connect::<SmtpClient>(target, config);
}

fn deliver(route: Route<Cleartext>) -> Route<Secure> {
    route
}

fn unwrapped() -> Security {
    Security::Cleartext
}

fn main() {}
