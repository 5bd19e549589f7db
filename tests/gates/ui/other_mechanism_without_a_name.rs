//! A mechanism's name must not end a line or equal a built-in mechanism's name.

use proto_mail::sasl::{CleartextRisk, CustomMechanism};

const INJECTING: CustomMechanism = CustomMechanism::new("X\r\nQUIT", CleartextRisk::AllowsGuessing).unwrap();
const POSING: CustomMechanism = CustomMechanism::new("SCRAM-SHA-256", CleartextRisk::None).unwrap();

fn main() {
    let _ = (INJECTING, POSING);
}
