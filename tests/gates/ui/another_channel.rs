//! A third kind of channel cannot be defined.

use proto_mail::{Channel, Secure};

#[derive(Debug)]
struct Tunnel;

impl Channel for Tunnel {
    type Auth<T: core::fmt::Debug> = T;
    type StartTls<T: core::fmt::Debug> = T;

    const SECURE: bool = true;

    fn auth<T: core::fmt::Debug>(value: T) -> Option<T> {
        Some(value)
    }

    fn starttls<T: core::fmt::Debug>(value: T) -> Option<T> {
        Some(value)
    }

    fn secure(&self) -> Option<&Secure> {
        None
    }
}

fn main() {}
