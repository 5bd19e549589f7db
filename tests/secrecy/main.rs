//! Secrets in everything that is shown outside the wire: whole sessions of both protocols and both roles, every
//! mechanism, every outcome, several chunkings. The output of `Debug` and `Display` of every event, error, request,
//! setting, buffer and machine, and every trace, is searched for every piece of every secret.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue must fail")]

mod careless_mechanism;
mod imap;
mod panics;
mod search;
mod session;
mod smtp;
mod splits;

use std::sync::LazyLock;

use search::SecretSearch;

use proto_mail::sasl::{MIN_ITERATIONS, ScramHash, ScramKeys};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthRequest, AuthVerdict, ChannelBinding, Credentials, Mechanism, Secret, Secure};

/// The user: a user name is personal data, and is searched for like a secret.
const USER: &str = "wilhelmine.quast";
/// A password that needs no quoting, one that must be escaped, and one that only a literal can carry.
const PASSWORDS: [&str; 3] = ["Xq7-zTvK2~mW9p", "Xq7\"zT\\vK2 mW9p", "Xq7zT\u{e4}vK2\u{df}mW9p"];
const TOKEN: &str = "ya29.QzT7vK2-mW9pLx4_Rj";

/// How a server's application answers every client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accept,
    Reject,
    Unavailable,
}

impl Answer {
    const ALL: [Self; 3] = [Self::Accept, Self::Reject, Self::Unavailable];

    /// The verdict on this request, or the keys that it asks for: decoys if it is to be rejected.
    fn verdict(self, request: &AuthRequest) -> AuthVerdict {
        match (self, request.question()) {
            (Self::Unavailable, _) => AuthVerdict::Unavailable,
            (Self::Accept, AuthQuestion::Keys { hash, .. }) => AuthVerdict::Keys(Box::new(keys(*hash))),
            (Self::Reject, AuthQuestion::Keys { hash, username }) => {
                let secret = Secret::new(b"the secret of decoys".to_vec());
                AuthVerdict::Keys(Box::new(ScramKeys::decoy(*hash, &secret, username, MIN_ITERATIONS, 16)))
            }
            (Self::Accept, _) => AuthVerdict::Accept,
            (Self::Reject, _) => AuthVerdict::Reject,
        }
    }
}

const SIZES: [usize; 5] = [1, 2, 5, 64, usize::MAX];

/// The sizes of pieces for this mechanism: fewer where each session derives keys, or has little to hide.
fn sizes(mechanism: Mechanism) -> &'static [usize] {
    let travels = mechanism.reveals_credentials() && !matches!(mechanism, Mechanism::Custom(_));
    if travels { &SIZES } else { &[1, usize::MAX] }
}

/// The salt of the stored keys, and the source of nonces.
const SALT: &[u8; 16] = b"q8Zr-salt-W4yTk2";
const SEED: [u8; 32] = *b"Kd93-seed-of-all-nonces-Vb71xQ0z";

/// The search for all secrets.
fn search() -> &'static SecretSearch {
    static HUNT: LazyLock<SecretSearch> = LazyLock::new(|| SecretSearch::new(&secrets()));
    &HUNT
}

fn secrets() -> Vec<&'static [u8]> {
    PASSWORDS.iter().chain([&USER, &TOKEN]).map(|text| text.as_bytes()).chain([&SEED[..]]).collect()
}

/// Every mechanism, and one that an application provides. A mechanism without a secret has a user name.
fn mechanisms() -> impl Iterator<Item = Mechanism> {
    Mechanism::ALL.into_iter().chain([Mechanism::Custom(careless_mechanism::CARELESS)])
}

/// The channel of every session, with a channel binding and nonces.
fn channel() -> Secure {
    Secure::tls(ChannelBinding::TlsExporter([9; 32])).with_seed(SEED)
}

/// The stored keys of the last password.
fn keys(hash: ScramHash) -> ScramKeys {
    static SHA_1: LazyLock<Secret<String>> = LazyLock::new(|| derived(ScramHash::Sha1));
    static SHA_256: LazyLock<Secret<String>> = LazyLock::new(|| derived(ScramHash::Sha256));
    let text = if hash == ScramHash::Sha1 { &SHA_1 } else { &SHA_256 };
    ScramKeys::from_text(text.expose()).unwrap()
}

fn derived(hash: ScramHash) -> Secret<String> {
    ScramKeys::derive(hash, PASSWORDS[2], SALT, MIN_ITERATIONS).unwrap().to_text()
}

/// How a client authenticates.
enum How {
    Known(Credentials),
    Custom,
}

/// The credentials for a mechanism.
fn how(mechanism: Mechanism, password: &str) -> How {
    How::Known(match mechanism {
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => Credentials::bearer(USER, TOKEN),
        Mechanism::External => Credentials::External { authorization: USER.into() },
        Mechanism::Anonymous => Credentials::anonymous(USER),
        Mechanism::Custom(_) => return How::Custom,
        _ => Credentials::password(USER, password.as_bytes()),
    })
}
