//! Authentication for both protocols: answers the questions of the SASL exchange on worker threads.
//!
//! The store keeps SCRAM keys beside each password hash. They are derived when the password is set, or at the next
//! log-in by PLAIN or LOGIN if the password is older than that. An unknown name is answered with decoy keys, at the
//! same cost.

use std::sync::Arc;
use std::time::Duration;

use io_mio::Context;
use mailstore::{AccountId, LoginKeys, Store};
use proto_mail::sasl::{ScramHash, ScramKeys};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthRequest, AuthVerdict, Credentials, Mechanism, Mechanisms, Secret};

use super::Site;
use super::guesses::Attempt;
use super::login_queue::{Costly, Quick, Ticket};

/// The iterations of new keys. RFC 7677 §4 requires at least 4096; these take some tens of milliseconds on a phone.
const ITERATIONS: u32 = 10_000;

/// The length of a salt in bytes.
const SALT: usize = 16;

/// The answer to a question, and the account that is logged in by it.
pub(super) struct Answer {
    pub(super) verdict: AuthVerdict,
    pub(super) account: Option<AccountId>,
}

impl Answer {
    pub(super) const REJECT: Self = Self { verdict: AuthVerdict::Reject, account: None };
    pub(super) const UNAVAILABLE: Self = Self { verdict: AuthVerdict::Unavailable, account: None };

    fn of(found: mailstore::Result<Option<AccountId>>) -> Self {
        match found {
            Ok(Some(account)) => Self { verdict: AuthVerdict::Accept, account: Some(account) },
            Ok(None) => Self::REJECT,
            Err(error) => {
                tracing::error!(%error, "cannot check a log-in");
                Self::UNAVAILABLE
            }
        }
    }
}

/// Returns the offered mechanisms. With `--any-login` only those that send the password: SCRAM proves that both sides
/// know it.
pub(super) fn mechanisms(any_login: bool) -> Mechanisms {
    let scram =
        [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::ScramSha1Plus, Mechanism::ScramSha1];
    scram.into_iter().filter(|_| !any_login).chain([Mechanism::Plain, Mechanism::Login]).collect()
}

impl Site {
    /// Starts to answer a question of an authentication. `attempt` belongs to the session, and lasts from the first
    /// question to the outcome.
    ///
    /// # Errors
    /// The answer, if it is known at once.
    pub(super) fn begin_login(
        &self,
        request: &AuthRequest,
        attempt: &mut Option<Attempt>,
        cx: &Context<'_>,
    ) -> Result<Ticket, Answer> {
        let question = request.question();
        let goes_on = matches!(question, AuthQuestion::Authorize { .. });
        let new = self.guesses.attempt(username(question), cx.peer().address.ip());
        let current = match *attempt {
            Some(old) if goes_on && old.is_same(&new) => old,
            _ => new,
        };
        *attempt = Some(current);
        let (quick, costly) = answer(&self.store, request, self.any_login).ok_or(Answer::REJECT)?;
        let standing = self.guesses.standing(&current, cx.now());
        self.logins.submit(&current, standing, cx.session_handle(), quick, costly).ok_or(Answer::UNAVAILABLE)
    }

    /// Records the outcome for the account and the address, and delays the answer to a failure.
    pub(super) fn end_login(
        &self,
        verdict: &AuthVerdict,
        attempt: &mut Option<Attempt>,
        cx: &mut Context<'_>,
    ) {
        let Some(current) = attempt else { return };
        match verdict {
            AuthVerdict::Accept => {
                self.guesses.succeeded(current, cx.now());
                cx.extend_login_delay(Duration::ZERO);
                cx.logged_in();
                *attempt = None;
            }
            // With keys the state machine decides by itself, and delays its reply only if the proof is wrong.
            AuthVerdict::Reject | AuthVerdict::Keys(_) => {
                let delay = self.guesses.failed(current, cx.now());
                cx.extend_login_delay(delay);
            }
            _ => {}
        }
    }
}

/// Returns the user name in a question; empty if it contains none.
fn username(question: &AuthQuestion) -> &str {
    match question {
        AuthQuestion::Verify(Credentials::Password { username, .. })
        | AuthQuestion::Keys { username, .. }
        | AuthQuestion::Authorize { username, .. } => username,
        _ => "",
    }
}

/// Returns the SCRAM keys of a password. Returns none for a password that SASLprep forbids, which can still log in by
/// PLAIN.
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

/// Returns the two steps that answer a question; `None` if only a rejection is possible.
pub(super) fn answer(
    store: &Arc<dyn Store>,
    request: &AuthRequest,
    any_login: Option<AccountId>,
) -> Option<(Quick, Costly)> {
    let store = Arc::clone(store);
    // Never called: the quick step always answers.
    let nothing: Costly = Box::new(|| Answer::UNAVAILABLE);
    match request.question() {
        AuthQuestion::Verify(Credentials::Password { .. }) if any_login.is_some() => Some((
            Box::new(move || Some(Answer { verdict: AuthVerdict::Accept, account: any_login })),
            nothing,
        )),
        AuthQuestion::Verify(Credentials::Password { authorization, username, password })
            if are_same(authorization, username) =>
        {
            let question = Arc::new((username.clone(), Secret::new(password.expose().clone())));
            let (recalled, for_recall) = (Arc::clone(&question), Arc::clone(&store));
            let quick = move || {
                let (username, password) = &*recalled;
                for_recall.verify_cached_password(username, password.expose()).map_or_else(
                    |error| Some(Answer::of(Err(error))),
                    |found| found.map(|account| Answer::of(Ok(Some(account)))),
                )
            };
            Some((Box::new(quick), Box::new(move || verify(&*store, &question.0, question.1.expose()))))
        }
        AuthQuestion::Keys { hash, username } => {
            let (hash, username) = (*hash, username.clone());
            let quick = move || {
                Some(match kept(&*store, hash, &username) {
                    Ok(keys) => Answer { verdict: AuthVerdict::Keys(Box::new(keys)), account: None },
                    Err(error) => Answer::of(Err(error)),
                })
            };
            Some((Box::new(quick), nothing))
        }
        AuthQuestion::Authorize { authorization, username } if are_same(authorization, username) => {
            let username = username.clone();
            let found = move || store.account(&username).map(|found| found.map(|account| account.id));
            Some((Box::new(move || Some(Answer::of(found()))), nothing))
        }
        _ => None,
    }
}

/// Verifies a password. The SCRAM keys reveal a wrong one at a tenth of the cost of the password hash.
fn verify(store: &dyn Store, username: &str, password: &[u8]) -> Answer {
    match is_wrong(store, username, password) {
        Ok(true) => Answer::REJECT,
        Ok(false) => Answer::of(store.verify_password(username, password)),
        Err(error) => Answer::of(Err(error)),
    }
}

/// Returns whether the SCRAM keys show that the password is wrong. An unknown name costs the same. An account without
/// keys is left to the password hash.
fn is_wrong(store: &dyn Store, username: &str, password: &[u8]) -> mailstore::Result<bool> {
    if store.login_keys(username, kind(ScramHash::Sha256))?.is_none() && store.account(username)?.is_some() {
        return Ok(false);
    }
    let keys = kept(store, ScramHash::Sha256, username)?;
    // The account has keys, so that its password is one that SCRAM can carry.
    Ok(!std::str::from_utf8(password).is_ok_and(|password| keys.verify_password(password) == Ok(true)))
}

/// Returns whether the authorization identity is the user's own. No user may act for another.
fn are_same(authorization: &str, username: &str) -> bool {
    authorization.is_empty() || authorization == username
}

/// Returns the keys of a user, or a decoy. The decoy is computed in any case, so that timing does not reveal which.
fn kept(store: &dyn Store, hash: ScramHash, username: &str) -> mailstore::Result<ScramKeys> {
    let secret = Secret::new(store.store_secret()?);
    let found = store.login_keys(username, kind(hash))?;
    // Names are case-insensitive, and so must be their decoys.
    let decoy = ScramKeys::decoy(hash, &secret, &username.to_ascii_lowercase(), ITERATIONS, SALT);
    let real = found.and_then(|text| {
        let text = Secret::new(text);
        ScramKeys::from_text(text.expose())
            .inspect_err(|error| tracing::error!(%error, "cannot read keys in the store"))
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
    use proto_mail::token::TokenIssuer;

    use super::*;

    /// Returns the salt and the iterations: the part of the keys that a client sees before it logs in.
    fn seen(store: &dyn Store, name: &str) -> String {
        let text = kept(store, ScramHash::Sha256, name).unwrap().to_text();
        text.expose().rsplit_once('$').unwrap().0.to_owned()
    }

    #[test]
    fn scram_keys_do_not_reveal_which_accounts_exist() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap().with_key_maker(Arc::new(keys));
        store.create_account("ann", b"a password").unwrap();
        assert!(store.login_keys("ann", "SCRAM-SHA-1").unwrap().unwrap().starts_with("SCRAM-SHA-1$10000:"));
        for (name, written_otherwise) in [("ann", "ANN"), ("bob", "Bob")] {
            let shown = seen(&store, name);
            assert!(shown.starts_with("SCRAM-SHA-256$10000:") && shown.len() == 44, "{shown}");
            assert_eq!(shown, seen(&store, name), "the same keys again");
            assert_eq!(shown, seen(&store, written_otherwise));
        }
        assert_ne!(seen(&store, "ann"), seen(&store, "bob"));
        let bob = seen(&store, "bob");
        drop(store);
        assert_eq!(bob, seen(&SqliteStore::open(directory.path()).unwrap(), "bob"), "after a restart");
    }

    /// Returns the ratio of the times that two questions take: of the medians of alternating tries.
    fn ratio(store: &Arc<dyn Store>, tries: usize, questions: [&dyn Fn() -> AuthQuestion; 2]) -> f64 {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..tries {
            for (took, question) in took.iter_mut().zip(questions) {
                let request = AuthRequest::new(TokenIssuer::new().issue(), Mechanism::Plain, question());
                let (quick, costly) = answer(store, &request, None).unwrap();
                let begun = Instant::now();
                let answer = quick().unwrap_or_else(costly);
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

    /// The bounds are wide, because a test shares its machine with others: a name answered without hashing would
    /// exceed them by a factor of a thousand. Tests in `mailstore` count that both cases run Argon2 once, with the
    /// same parameters.
    #[test]
    fn timing_does_not_reveal_which_accounts_exist() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap().with_key_maker(Arc::new(keys));
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
    fn accepts_the_correct_password_with_and_without_keys_and_caches_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap().with_key_maker(Arc::new(keys));
        store.create_account("ann", b"a password").unwrap();
        store.create_account("bob", b"\xff\xfe no text").unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let ask = |name: &str, password: &[u8]| {
            let request = AuthRequest::new(
                TokenIssuer::new().issue(),
                Mechanism::Plain,
                AuthQuestion::Verify(Credentials::password(name, password)),
            );
            answer(&store, &request, None).unwrap()
        };
        for (name, right) in [("ann", &b"a password"[..]), ("bob", b"\xff\xfe no text")] {
            for wrong in [&b"a passwore"[..], b"", b"\xff", b"a\x07"] {
                let (quick, costly) = ask(name, wrong);
                assert!(quick().is_none() && costly().account.is_none(), "{name} {wrong:?}");
            }
            let (quick, costly) = ask(name, right);
            assert!(quick().is_none() && costly().account.is_some(), "{name}");
            assert!(ask(name, right).0().is_some_and(|answer| answer.account.is_some()), "{name}");
        }
        let account = store.account("ann").unwrap().unwrap();
        store.set_password(account.id, b"another").unwrap();
        assert!(ask("ann", b"a password").0().is_none(), "an old password is forgotten");
    }

    #[test]
    fn derives_no_keys_from_a_password_that_scram_cannot_carry() {
        assert!(keys(b"\xff\xfe").is_empty() && keys(b"").is_empty() && keys("a\u{7}".as_bytes()).is_empty());
        assert_eq!(keys(b"good").len(), 2);
    }
}
