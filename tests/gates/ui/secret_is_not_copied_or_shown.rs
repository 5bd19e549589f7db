//! A secret cannot be cloned or displayed by accident.

use proto_core::Secret;

fn copy(secret: &Secret<String>) -> Secret<String> {
    secret.clone()
}

fn show(secret: &Secret<String>) -> String {
    format!("{secret}")
}

fn main() {}
