//! Who may log in: what a worker answers to the questions of an authentication, for both protocols alike.
//!
//! Beside its verifier, each password leaves SCRAM keys in the store, derived when it is set or, if it is older than
//! that, at its next login by PLAIN or LOGIN. A name that nobody has is answered with decoy keys, at the same cost. This
//! file knows nothing of what happens behind a login.

use std::sync::Arc;

use mailstore::{AccountId, LoginKeys, Store};
use proto_core::sasl::{ScramHash, ScramKeys};
use proto_core::token::AuthQuestion;
use proto_core::{AuthRequest, AuthVerdict, Credentials, Mechanism, Mechanisms, Secret};

/// Iterations of the keys that are made here. RFC 7677 §4 asks for 4096 at least; these cost a phone some tens of
/// milliseconds.
const ITERATIONS: u32 = 10_000;

/// How many random octets a salt has.
const SALT: usize = 16;

/// The answer, and who is logged in with it.
pub(super) struct Answer {
    pub(super) verdict: AuthVerdict,
    pub(super) account: Option<AccountId>,
}

impl Answer {
    const REJECT: Self = Self { verdict: AuthVerdict::Reject, account: None };
    const UNAVAILABLE: Self = Self { verdict: AuthVerdict::Unavailable, account: None };

    fn of(found: mailstore::Result<Option<AccountId>>) -> Self {
        match found {
            Ok(Some(account)) => Self { verdict: AuthVerdict::Accept, account: Some(account) },
            Ok(None) => Self::REJECT,
            Err(error) => {
                tracing::error!(%error, "nobody can log in");
                Self::UNAVAILABLE
            }
        }
    }
}

/// The ways to log in that this server can verify.
pub(super) fn mechanisms() -> Mechanisms {
    [
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha1,
        Mechanism::Plain,
        Mechanism::Login,
    ]
    .into_iter()
    .collect()
}

/// What is kept of a password for SCRAM. Nothing for one that SASLprep forbids: it still logs in by PLAIN.
pub(super) fn keys(password: &[u8]) -> Vec<LoginKeys> {
    let Ok(password) = std::str::from_utf8(password) else { return Vec::new() };
    let mut made = Vec::new();
    for hash in [ScramHash::Sha256, ScramHash::Sha1] {
        let mut salt = [0; SALT];
        if getrandom::fill(&mut salt).is_err() {
            return Vec::new();
        }
        if let Ok(keys) = ScramKeys::derive(hash, password, &salt, ITERATIONS) {
            made.push(LoginKeys { kind: kind(hash), text: keys.to_text().expose().clone() });
        }
    }
    made
}

/// What a worker computes to answer.
pub(super) fn answer(
    store: &Arc<dyn Store>,
    request: &AuthRequest,
) -> Option<Box<dyn FnOnce() -> Answer + Send>> {
    let store = Arc::clone(store);
    match request.question() {
        AuthQuestion::Verify(Credentials::Password { authorization, username, password })
            if are_same(authorization, username) =>
        {
            let (username, password) = (username.clone(), Secret::new(password.expose().clone()));
            Some(Box::new(move || Answer::of(store.verify_password(&username, password.expose()))))
        }
        AuthQuestion::Keys { hash, username } => {
            let (hash, username) = (*hash, username.clone());
            Some(Box::new(move || match kept(&*store, hash, &username) {
                Ok(keys) => Answer { verdict: AuthVerdict::Keys(Box::new(keys)), account: None },
                Err(error) => Answer::of(Err(error)),
            }))
        }
        AuthQuestion::Authorize { authorization, username } if are_same(authorization, username) => {
            let username = username.clone();
            Some(Box::new(move || {
                Answer::of(store.account(&username).map(|found| found.map(|account| account.id)))
            }))
        }
        _ => None,
    }
}

/// Nobody acts for somebody else here.
fn are_same(authorization: &str, username: &str) -> bool {
    authorization.is_empty() || authorization == username
}

/// The keys of that user, or a decoy. The decoy is always made, so that time does not tell.
fn kept(store: &dyn Store, hash: ScramHash, username: &str) -> mailstore::Result<ScramKeys> {
    let secret = Secret::new(store.own_secret()?);
    let found = store.login_keys(username, kind(hash))?;
    // Names are the same in any case, and so their decoys are.
    let decoy = ScramKeys::decoy(hash, &secret, &username.to_ascii_lowercase(), ITERATIONS, SALT);
    let real = found.and_then(|text| {
        let text = Secret::new(text);
        ScramKeys::from_text(text.expose())
            .inspect_err(|error| tracing::error!(%error, "keys in the store cannot be read"))
            .ok()
    });
    Ok(real.unwrap_or(decoy))
}

const fn kind(hash: ScramHash) -> &'static str {
    match hash {
        ScramHash::Sha1 => "SCRAM-SHA-1",
        _ => "SCRAM-SHA-256",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mailstore::SqliteStore;

    use super::*;

    /// Salt and iterations: what a stranger sees of keys.
    fn seen(store: &dyn Store, name: &str) -> String {
        let text = kept(store, ScramHash::Sha256, name).unwrap().to_text();
        text.expose().rsplit_once('$').unwrap().0.to_owned()
    }

    #[test]
    fn a_stranger_cannot_tell_who_has_an_account() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap().deriving_keys(Arc::new(keys));
        store.create_account("ann", b"a password").unwrap();
        assert!(store.login_keys("ann", "SCRAM-SHA-1").unwrap().unwrap().starts_with("SCRAM-SHA-1$10000:"));
        for (name, written_otherwise) in [("ann", "ANN"), ("bob", "Bob")] {
            let shown = seen(&store, name);
            assert!(shown.starts_with("SCRAM-SHA-256$10000:") && shown.len() == 44, "{shown}");
            assert_eq!(shown, seen(&store, name), "asked twice");
            assert_eq!(shown, seen(&store, written_otherwise));
        }
        assert_ne!(seen(&store, "ann"), seen(&store, "bob"));
        let bob = seen(&store, "bob");
        drop(store);
        assert_eq!(bob, seen(&SqliteStore::open(directory.path()).unwrap(), "bob"), "after a restart");
    }

    /// How much longer the one question takes than the other, by the medians of tries that take turns.
    fn ratio(store: &Arc<dyn Store>, tries: usize, questions: [&dyn Fn() -> AuthQuestion; 2]) -> f64 {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..tries {
            for (took, question) in took.iter_mut().zip(questions) {
                let request = AuthRequest::new(1, Mechanism::Plain, question());
                let job = answer(store, &request).unwrap();
                let begun = Instant::now();
                let answer = job();
                took.push(begun.elapsed());
                assert!(answer.account.is_none() && !matches!(answer.verdict, AuthVerdict::Accept));
            }
        }
        let [one, other] = took.map(|mut took| {
            took.sort_unstable();
            took[tries / 2].as_secs_f64()
        });
        one / other
    }

    /// The bounds are wide, since a test shares its machine with others: what a name that nobody has costs nothing for
    /// would be beyond them by a thousand. That both run Argon2 once, and the same, `mailstore` counts.
    #[test]
    fn time_does_not_tell_who_has_an_account() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap().deriving_keys(Arc::new(keys));
        store.create_account("ann", b"a password").unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let verify = |name: &'static str| {
            move || AuthQuestion::Verify(Credentials::password(name, &b"not that one"[..]))
        };
        let asked = |name: &'static str| {
            move || AuthQuestion::Keys { hash: ScramHash::Sha256, username: name.to_owned() }
        };
        let passwords = ratio(&store, 7, [&verify("ann"), &verify("bob")]);
        let keys = ratio(&store, 201, [&asked("ann"), &asked("bob")]);
        println!("known to unknown: a wrong password {passwords:.2}, SCRAM keys {keys:.2}");
        for ratio in [passwords, keys] {
            assert!((0.3..3.0).contains(&ratio), "{passwords:.2} {keys:.2}");
        }
    }

    #[test]
    fn a_password_that_scram_cannot_carry_has_no_keys() {
        assert!(keys(b"\xff\xfe").is_empty() && keys(b"").is_empty() && keys("a\u{7}".as_bytes()).is_empty());
        assert_eq!(keys(b"good").len(), 2);
    }
}
