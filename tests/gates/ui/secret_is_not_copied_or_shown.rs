//! A secret cannot be copied or displayed by accident.

use proto_mail::Secret;

fn copy(secret: Secret<String>) -> (Secret<String>, Secret<String>) {
    (Clone::clone(&secret), secret)
}

fn show(secret: &Secret<String>) -> String {
    format!("{secret}")
}

fn main() {}
