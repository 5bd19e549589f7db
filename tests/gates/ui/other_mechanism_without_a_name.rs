//! A mechanism's name that could end a line, or is somebody else's, is none.

use proto_mail::sasl::{Exposure, OtherMechanism};

const INJECTING: OtherMechanism = OtherMechanism::new("X\r\nQUIT", Exposure::Guess).unwrap();
const POSING: OtherMechanism = OtherMechanism::new("SCRAM-SHA-256", Exposure::Nothing).unwrap();

fn main() {
    let _ = (INJECTING, POSING);
}
