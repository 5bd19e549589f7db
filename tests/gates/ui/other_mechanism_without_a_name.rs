//! A mechanism's name that could end a line, or is somebody else's, is none.

use proto_mail::sasl::{CleartextRisk, CustomMechanism};

const INJECTING: CustomMechanism = CustomMechanism::new("X\r\nQUIT", CleartextRisk::AllowsGuessing).unwrap();
const POSING: CustomMechanism = CustomMechanism::new("SCRAM-SHA-256", CleartextRisk::None).unwrap();

fn main() {
    let _ = (INJECTING, POSING);
}
