//! A custom mechanism cannot be used on cleartext either.

use proto_mail::sasl::ClientExchange;
use proto_mail::{Cleartext, SendBuffer};
use proto_smtp::client::Client;

fn log_in(client: &mut Client<Cleartext>, exchange: Box<dyn ClientExchange>, tx: &mut SendBuffer) {
    let _ = client.authenticate_with(exchange, tx);
}

fn main() {}
