//! The users of the test servers, and how they log in.

use proto_mail::sasl::ScramKeys;
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthRequest, AuthVerdict, Credentials, Mechanism, Secret};

/// Answers a login. There is one user, alice, with the password hunter2; anonymous clients are accepted as well.
pub fn verdict(request: &AuthRequest) -> AuthVerdict {
    let good = match request.question() {
        AuthQuestion::Verify(Credentials::Password { username, password, .. }) => {
            username == "alice" && password.expose() == b"hunter2"
        }
        AuthQuestion::Verify(Credentials::Anonymous { .. }) => true,
        AuthQuestion::Keys { hash, username } if username == "alice" => {
            let keys = ScramKeys::derive(*hash, "hunter2", b"0123456789abcdef", 4096).unwrap();
            return AuthVerdict::Keys(Box::new(keys));
        }
        AuthQuestion::Keys { hash, username } => {
            let secret = Secret::new(vec![1; 32]);
            return AuthVerdict::Keys(Box::new(ScramKeys::decoy(*hash, &secret, username, 4096, 16)));
        }
        AuthQuestion::Authorize { authorization, username } => {
            username == "alice" && authorization.is_empty()
        }
        _ => false,
    };
    if good { AuthVerdict::Accept } else { AuthVerdict::Reject }
}

/// The mechanisms that prove a password.
pub const BY_PASSWORD: [Mechanism; 6] = [
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha1,
    Mechanism::Plain,
    Mechanism::Login,
];
