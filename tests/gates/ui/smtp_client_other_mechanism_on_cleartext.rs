//! A mechanism that the application brings along is not spoken on cleartext, either.

use proto_core::sasl::Exchange;
use proto_core::{Cleartext, SendBuffer};
use proto_smtp::client::Client;

fn log_in(client: &mut Client<Cleartext>, exchange: Box<dyn Exchange>, tx: &mut SendBuffer) {
    let _ = client.authenticate_with(exchange, tx);
}

fn main() {}
