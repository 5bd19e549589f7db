//! Authentication for both protocols: answers the questions of the SASL exchange on worker threads.
//!
//! The store keeps SCRAM keys beside each password hash. They are derived when the password is set, or at the next
//! login by PLAIN or LOGIN if the password is older than that. An unknown name is answered with decoy keys, at the
//! same cost.

use std::sync::Arc;
use std::time::Duration;

use io_common::{Context, Next};
use mailstore::{AccountId, Store};
use proto_mail::sasl::ScramHash;
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthRequest, AuthVerdict, Credentials, Mechanism, Mechanisms, Secret};

use super::failed_logins::LoginAttempt;
use super::login_queue::{CostlyStep, LoginAnswer, PendingLogin, QuickStep};
use super::pending_result::{PendingResult, Turn};
use super::scram_keys;
use super::server_context::ServerContext;
use super::settings::{TokenCheck, TokenVerdict};

/// Returns the offered mechanisms. Those with tokens are offered if the program checks tokens. SCRAM proves that both sides know the password. It is left out if every login is
/// accepted, and if the store keeps no keys for it.
pub(super) fn mechanisms(context: &ServerContext) -> Mechanisms {
    let scram =
        [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::ScramSha1Plus, Mechanism::ScramSha1];
    let tokens = [Mechanism::OAuthBearer, Mechanism::XOAuth2];
    scram
        .into_iter()
        .filter(|_| context.any_login.is_none() && context.store.has_login_keys())
        .chain([Mechanism::Plain, Mechanism::Login])
        .chain(tokens.into_iter().filter(|_| context.token_check.is_some()))
        .collect()
}

/// A session of either protocol, as far as it logs in.
pub(super) trait LoginSession: Sized + 'static {
    /// The session's state machine.
    type Machine: 'static;

    /// Returns the server's context, and the authentication in progress.
    fn attempt(&mut self) -> (&ServerContext, &mut Option<LoginAttempt>);

    /// Returns the protocol and the session's number, for the log.
    fn label(&self) -> SessionLabel;

    /// Keeps a result that is not available yet.
    fn wait_for_login(&mut self, pending: PendingResult<Self, Self::Machine>);

    /// Answers the client. `answer` has the account if the client has logged in.
    fn answer_login(
        &mut self,
        request: AuthRequest,
        answer: LoginAnswer,
        turn: &mut Turn<'_, '_, Self::Machine>,
    ) -> Next;

    /// Starts to check credentials on a worker.
    fn start_login(&mut self, request: AuthRequest, turn: &mut Turn<'_, '_, Self::Machine>) -> Next {
        let label = self.label();
        let (context, attempt) = self.attempt();
        match context.begin_login(&request, attempt, label, turn.cx) {
            Err(answer) => self.finish_login(request, answer, turn),
            Ok(pending) => {
                self.wait_for_login(PendingResult::login(pending, |session: &mut Self, answer, turn| {
                    session.finish_login(request, answer, turn)
                }));
                Next::Continue
            }
        }
    }

    /// Counts the outcome, and answers the client.
    fn finish_login(
        &mut self,
        request: AuthRequest,
        answer: LoginAnswer,
        turn: &mut Turn<'_, '_, Self::Machine>,
    ) -> Next {
        let label = self.label();
        let (context, attempt) = self.attempt();
        context.end_login(&answer, attempt, label, turn.cx);
        self.answer_login(request, answer, turn)
    }
}

/// How the log names a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionLabel {
    pub(super) protocol: &'static str,
    pub(super) session: u64,
}

impl ServerContext {
    /// Starts to answer a question of an authentication. `attempt` belongs to the session, and lasts from the first
    /// question to the outcome.
    ///
    /// # Errors
    /// The answer, if it is known at once.
    fn begin_login(
        &self,
        request: &AuthRequest,
        attempt: &mut Option<LoginAttempt>,
        label: SessionLabel,
        cx: &Context<'_>,
    ) -> Result<PendingLogin, LoginAnswer> {
        let question = request.question();
        let goes_on = matches!(question, AuthQuestion::Authorize { .. });
        if !goes_on {
            self.abandon_login(attempt, label);
        }
        let new = self.failed_logins.attempt(username(question), cx.peer().address.ip());
        let current = match *attempt {
            Some(old) if goes_on && old.is_same(&new) => old,
            _ => new,
        };
        *attempt = Some(current);
        let (quick, costly) = match (request.question(), &self.token_check) {
            (AuthQuestion::Verify(Credentials::Bearer { username, token }), Some(check)) => {
                token_steps(&self.store, check, username, token)
            }
            _ => steps(&self.store, request, self.any_login).ok_or(LoginAnswer::REJECT)?,
        };
        let history = self.failed_logins.history(&current, cx.now());
        self.logins
            .submit(&current, history, cx.session_handle(), quick, costly)
            .ok_or(LoginAnswer::UNAVAILABLE)
    }

    /// Records the outcome for the account and the address, and delays the answer to a failure.
    fn end_login(
        &self,
        answer: &LoginAnswer,
        attempt: &mut Option<LoginAttempt>,
        label: SessionLabel,
        cx: &mut Context<'_>,
    ) {
        let Some(current) = attempt else { return };
        match answer.verdict {
            AuthVerdict::Accept => {
                self.failed_logins.succeeded(current, cx.now());
                cx.extend_login_delay(Duration::ZERO);
                cx.logged_in();
            }
            // With keys the state machine decides by itself, and delays its reply only if the proof is wrong.
            AuthVerdict::Reject | AuthVerdict::Keys(_) => {
                let delay = self.failed_logins.failed(current, cx.now());
                cx.extend_login_delay(delay);
            }
            _ => {}
        }
        if !matches!(answer.verdict, AuthVerdict::Keys(_)) {
            self.report_login(current, answer, label);
            *attempt = None;
        }
    }

    /// Reports an authentication that got keys as rejected if nothing came of it: its proof was wrong, or the client left.
    pub(super) fn abandon_login(&self, attempt: &mut Option<LoginAttempt>, label: SessionLabel) {
        if let Some(attempt) = attempt.take() {
            self.report_login(&attempt, &LoginAnswer::REJECT, label);
        }
    }

    /// Counts an outcome and writes it to the log, with the number of the account, never its name.
    fn report_login(&self, attempt: &LoginAttempt, answer: &LoginAnswer, label: SessionLabel) {
        self.counters.login(&answer.verdict);
        let SessionLabel { protocol, session } = label;
        let peer = self.logs_peers.then(|| tracing::field::display(attempt.peer));
        let account = answer.account.map(|account| account.0);
        let outcome = match answer.verdict {
            AuthVerdict::Accept => "accepted",
            AuthVerdict::Unavailable => "unavailable",
            _ => "rejected",
        };
        tracing::info!(protocol, session, peer, account, outcome, "login");
    }
}

/// Returns the user name in a question; empty if it contains none.
fn username(question: &AuthQuestion) -> &str {
    match question {
        AuthQuestion::Verify(
            Credentials::Password { username, .. } | Credentials::Bearer { username, .. },
        )
        | AuthQuestion::Keys { username, .. }
        | AuthQuestion::Authorize { username, .. } => username,
        _ => "",
    }
}

/// Returns the two steps that answer a question; `None` if only a rejection is possible.
pub(super) fn steps(
    store: &Arc<dyn Store>,
    request: &AuthRequest,
    any_login: Option<AccountId>,
) -> Option<(QuickStep, CostlyStep)> {
    let store = Arc::clone(store);
    // Never called: the quick step always answers.
    let nothing: CostlyStep = Box::new(|| LoginAnswer::UNAVAILABLE);
    match request.question() {
        AuthQuestion::Verify(Credentials::Password { .. }) if any_login.is_some() => Some((
            Box::new(move || Some(LoginAnswer { verdict: AuthVerdict::Accept, account: any_login })),
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
                    |error| Some(LoginAnswer::of(Err(error))),
                    |found| found.map(|account| LoginAnswer::of(Ok(Some(account)))),
                )
            };
            Some((Box::new(quick), Box::new(move || verify(&*store, &question.0, question.1.expose()))))
        }
        AuthQuestion::Keys { hash, username } => {
            let (hash, username) = (*hash, username.clone());
            let quick = move || {
                Some(match scram_keys::keys_or_decoy(&*store, hash, &username) {
                    Ok(keys) => LoginAnswer { verdict: AuthVerdict::Keys(Box::new(keys)), account: None },
                    Err(error) => LoginAnswer::of(Err(error)),
                })
            };
            Some((Box::new(quick), nothing))
        }
        AuthQuestion::Authorize { authorization, username } if are_same(authorization, username) => {
            let username = username.clone();
            let found = move || store.account(&username).map(|found| found.map(|account| account.id));
            Some((Box::new(move || Some(LoginAnswer::of(found()))), nothing))
        }
        _ => None,
    }
}

/// Returns the two steps that check a token. Both run apart from the sessions.
fn token_steps(
    store: &Arc<dyn Store>,
    check: &TokenCheck,
    username: &str,
    token: &Secret<String>,
) -> (QuickStep, CostlyStep) {
    let (store, check) = (Arc::clone(store), check.clone());
    let (username, token) = (username.to_owned(), Secret::new(token.expose().clone()));
    let costly = move || match check.check(&username, token.expose()) {
        TokenVerdict::Account(name) => {
            LoginAnswer::of(store.account(&name).map(|found| found.map(|account| account.id)))
        }
        TokenVerdict::Rejected => LoginAnswer::REJECT,
        TokenVerdict::Unavailable => LoginAnswer::UNAVAILABLE,
    };
    (Box::new(|| None), Box::new(costly))
}

/// Verifies a password. The SCRAM keys reveal a wrong one at a tenth of the cost of the password hash.
fn verify(store: &dyn Store, username: &str, password: &[u8]) -> LoginAnswer {
    match is_wrong(store, username, password) {
        Ok(true) => LoginAnswer::REJECT,
        Ok(false) => LoginAnswer::of(store.verify_password(username, password)),
        Err(error) => LoginAnswer::of(Err(error)),
    }
}

/// Returns whether the SCRAM keys show that the password is wrong. An unknown name costs the same. An account without
/// keys is left to the password hash.
fn is_wrong(store: &dyn Store, username: &str, password: &[u8]) -> mailstore::Result<bool> {
    if store.login_keys(username, mailstore::scram_keys::kind(ScramHash::Sha256))?.is_none()
        && store.account(username)?.is_some()
    {
        return Ok(false);
    }
    let keys = scram_keys::keys_or_decoy(store, ScramHash::Sha256, username)?;
    // The account has keys, so that its password is one that SCRAM can carry.
    Ok(!std::str::from_utf8(password).is_ok_and(|password| keys.verify_password(password) == Ok(true)))
}

/// Returns whether the authorization identity is the user's own. No user may act for another.
fn are_same(authorization: &str, username: &str) -> bool {
    authorization.is_empty() || authorization == username
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mailstore::{Accounts, MemoryStore, SqliteStore};
    use proto_mail::token::TokenIssuer;

    use super::*;

    /// Returns the ratio of the times that two questions take: of the medians of alternating tries.
    fn ratio(store: &Arc<dyn Store>, tries: usize, questions: [&dyn Fn() -> AuthQuestion; 2]) -> f64 {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..tries {
            for (took, question) in took.iter_mut().zip(questions) {
                let request = AuthRequest::new(TokenIssuer::new().issue(), Mechanism::Plain, question());
                let (quick, costly) = steps(store, &request, None).unwrap();
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

    #[test]
    fn offers_scram_only_with_keys() {
        use crate::settings::{Options, Settings};
        let keyless = MemoryStore::new().unwrap().without_login_keys();
        let keyed = MemoryStore::new().unwrap();
        for (store, offered) in [(keyless, false), (keyed, true)] {
            let context =
                ServerContext::new(Arc::new(store), &Settings::default(), Options::default()).unwrap();
            let offers = mechanisms(&context);
            assert_eq!(offers.contains(Mechanism::ScramSha256), offered);
            assert!(offers.contains(Mechanism::Plain));
        }
    }

    /// The bounds are wide, because a test shares its machine with others: a name answered without hashing would
    /// exceed them by a factor of a thousand. Tests in `mailstore` count that both cases run Argon2 once, with the
    /// same parameters.
    #[test]
    fn timing_does_not_reveal_which_accounts_exist() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
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
        let store = SqliteStore::open(directory.path()).unwrap();
        store.create_account("ann", b"a password").unwrap();
        store.create_account("bob", b"\xff\xfe no text").unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let ask = |name: &str, password: &[u8]| {
            let request = AuthRequest::new(
                TokenIssuer::new().issue(),
                Mechanism::Plain,
                AuthQuestion::Verify(Credentials::password(name, password)),
            );
            steps(&store, &request, None).unwrap()
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
}
