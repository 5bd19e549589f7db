//! Secrets on every way out that is not the wire: whole sessions of both protocols and both roles, every mechanism,
//! every outcome, several chunkings. What `Debug` and `Display` say of every event, error, request, setting, buffer and
//! machine, and what a trace writes, is searched for every piece of every secret.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod hunt;
mod imap;
mod session;
mod smtp;

use proto_core::{AuthRequest, AuthVerdict, Credentials, Mechanism};

/// Who logs in: a user name is personal data, and is hunted as the rest is.
const USER: &str = "wilhelmine.quast";
/// A password that needs no quoting, one that must be escaped, and one that only a literal can carry.
const PASSWORDS: [&str; 3] = ["Xq7-zTvK2~mW9p", "Xq7\"zT\\vK2 mW9p", "Xq7zT\u{e4}vK2\u{df}mW9p"];
const TOKEN: &str = "ya29.QzT7vK2-mW9pLx4_Rj";

/// What a server's application says of everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accept,
    Reject,
    Unavailable,
}

impl Answer {
    const ALL: [Self; 3] = [Self::Accept, Self::Reject, Self::Unavailable];

    /// The verdict on this request.
    fn verdict(self, _: &AuthRequest) -> AuthVerdict {
        match self {
            Self::Accept => AuthVerdict::Accept,
            Self::Reject => AuthVerdict::Reject,
            Self::Unavailable => AuthVerdict::Unavailable,
        }
    }
}

const SIZES: [usize; 5] = [1, 2, 5, 64, usize::MAX];

fn secrets() -> Vec<&'static [u8]> {
    PASSWORDS.iter().chain([&USER, &TOKEN]).map(|text| text.as_bytes()).collect()
}

/// The mechanisms in which a password or a token itself travels.
fn mechanisms() -> impl Iterator<Item = Mechanism> {
    Mechanism::ALL.into_iter().filter(|mechanism| mechanism.reveals_password())
}

/// What a mechanism wants.
fn credentials(mechanism: Mechanism, password: &str) -> Credentials {
    match mechanism {
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => Credentials::bearer(USER, TOKEN),
        _ => Credentials::password(USER, password.as_bytes()),
    }
}

#[test]
fn every_mechanism_in_which_a_secret_travels_is_tried() {
    assert!(mechanisms().count() >= 4);
    assert!(mechanisms().all(|mechanism| mechanism.takes(&credentials(mechanism, PASSWORDS[0]))));
}
