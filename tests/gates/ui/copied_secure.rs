//! The evidence of TLS is valid for one session: it cannot be copied or defaulted.

use proto_mail::Secure;

fn copy(secure: &Secure) -> Secure {
    Clone::clone(secure)
}

fn invent() -> Secure {
    Secure::default()
}

fn main() {}
