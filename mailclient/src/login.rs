//! Login for both protocols, without I/O: which mechanism to use, and what to try after a refusal.
//!
//! * If the server does not understand an initial response, the client retries once without one.
//! * If the server refuses a *mechanism* that keeps the password secret (SCRAM), the client retries once with the next
//!   such mechanism. It never falls back to PLAIN or LOGIN after SCRAM: a server must not learn the password by refusing
//!   to prove that it knows it. SCRAM without `-PLUS` then sends the flag `n` (RFC 5802 §6): `y` would claim that the
//!   server does not offer `-PLUS`. The login is then not bound to the TLS channel, and [`LoggedIn`] says so. To require
//!   the binding, allow SCRAM-SHA-256-PLUS only.
//! * If the server refuses a token, the client asks its caller once for a new one.
//! * The client never tries a refused password twice.
//!
//! [`Login`] is the state machine. A driver gives it each event of the client machine, and it sends the commands.

use proto_mail::sasl::{MechanismChoice, SaslError};
use proto_mail::{Credentials, Machine, Mechanism, SendBuffer};

use crate::error::{Error, ErrorKind, Hint};
use crate::refusal::{RefusalReason, RefusedStep};
use crate::refusal_error::{CredentialKind, login_error};
use crate::server_reply::ServerReply;

/// A client machine that can log in.
pub trait LoginClient: Machine {
    /// Chooses the first usable mechanism from `order`, and says why the others were rejected.
    fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice;

    /// Returns whether the protocol has a login command besides SASL (IMAP's LOGIN).
    fn has_login_command(&self) -> bool;

    /// Returns whether the server did not understand an initial response.
    fn has_refused_initial_response(&self) -> bool;

    /// Sends the first command of one login attempt. `None` is the login command.
    ///
    /// # Errors
    /// The attempt cannot begin.
    fn start_login(
        &mut self,
        mechanism: Option<Mechanism>,
        credentials: &Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error>;

    /// Returns the server's decision about the attempt, if the event is it.
    ///
    /// # Errors
    /// The session is over.
    fn login_outcome(
        &self,
        event: &Self::Event<'_>,
        mechanism: Option<Mechanism>,
    ) -> Result<Option<AttemptOutcome>, Error>;
}

/// A server's decision about one login attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The user is logged in.
    Accepted,
    /// The server refused.
    Refused(LoginRefusal),
}

/// A server's refusal of one login attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRefusal {
    /// Why, as far as the reply says.
    pub reason: RefusalReason,
    /// The reply.
    pub reply: ServerReply,
}

impl LoginRefusal {
    /// Adds what the mechanism says: the error in SCRAM's last message, OAuth's JSON, or why the client cancelled.
    #[must_use]
    pub fn with_details(mut self, details: Option<&str>) -> Self {
        let Some(details) = details else { return self };
        self.reason = reason_by_details(details).unwrap_or(self.reason);
        let details: String =
            details.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        self.reply.text = format!("{} ({details})", self.reply.text);
        self
    }
}

/// How the user logged in.
#[derive(Debug)]
pub struct LoggedIn {
    /// The mechanism's name, or "the LOGIN command".
    pub method: &'static str,
    /// The mechanism choice, which says why others were rejected.
    pub choice: MechanismChoice,
    /// The mechanism that the server refused before, and its reply.
    pub refused: Option<(Mechanism, ServerReply)>,
}

impl LoggedIn {
    /// Describes the method, and the mechanism that the server refused before.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.refused {
            None => self.method.to_owned(),
            Some((mechanism, reply)) => {
                let unbound = if mechanism.uses_channel_binding() && !self.method.ends_with("-PLUS") {
                    ", so the login is not bound to the TLS channel"
                } else {
                    ""
                };
                format!("{} (the server refused {mechanism}{unbound}: {reply})", self.method)
            }
        }
    }
}

impl LoggedIn {
    /// Returns each mechanism that was not used, with the reason: first the one that the server refused.
    #[must_use]
    pub fn not_used(&self) -> Vec<(Mechanism, String)> {
        let refused = self.refused.as_ref().map(|(mechanism, _)| *mechanism);
        let by_server = self
            .refused
            .iter()
            .map(|(mechanism, reply)| (*mechanism, format!("was refused by the server: {reply}")));
        let by_choice = self.choice.rejections().filter(|(mechanism, _)| Some(*mechanism) != refused);
        by_server.chain(by_choice.map(|(mechanism, why)| (mechanism, why.to_string()))).collect()
    }
}

/// Returns the step that a login with this mechanism is. `None` is the login command.
#[must_use]
pub const fn refused_step(mechanism: Option<Mechanism>) -> RefusedStep {
    match mechanism {
        Some(mechanism) if !mechanism.reveals_credentials() => RefusedStep::SecretLogin,
        _ => RefusedStep::RevealingLogin,
    }
}

/// Classifies what a mechanism says: the server's error (RFC 5802 §7, RFC 7628 §3.2.2), or why the client cancelled.
fn reason_by_details(details: &str) -> Option<RefusalReason> {
    const SERVER: &[(&str, RefusalReason)] = &[
        ("invalid-proof", RefusalReason::WrongCredentials),
        ("unknown-user", RefusalReason::WrongCredentials),
        ("no-resources", RefusalReason::Temporary),
        // The server sees another TLS channel, or an attacker changed the list of mechanisms.
        ("channel-bindings-dont-match", RefusalReason::Refused),
        ("server-does-support-channel-binding", RefusalReason::Refused),
        ("channel-binding-not-supported", RefusalReason::Mechanism),
        ("unsupported-channel-binding-type", RefusalReason::Mechanism),
        ("extensions-not-supported", RefusalReason::Mechanism),
        ("invalid-encoding", RefusalReason::Mechanism),
        // OAuth.
        ("invalid_token", RefusalReason::Expired),
        ("\"401\"", RefusalReason::Expired),
        ("\"400\"", RefusalReason::WrongCredentials),
    ];
    const CLIENT: &[(SaslError, RefusalReason)] = &[
        (SaslError::ServerNotVerified, RefusalReason::Refused),
        (SaslError::NonceMismatch, RefusalReason::Refused),
        (SaslError::IterationCount, RefusalReason::Mechanism),
        (SaslError::UnsupportedExtension, RefusalReason::Mechanism),
        (SaslError::Malformed, RefusalReason::Mechanism),
        (SaslError::TooLong, RefusalReason::Mechanism),
    ];
    let by_server = SERVER.iter().find(|(part, _)| details.contains(part)).map(|(_, reason)| *reason);
    let by_client = || CLIENT.iter().find(|(error, _)| details.contains(&error.to_string()));
    by_server.or_else(|| by_client().map(|(_, reason)| *reason))
}

/// Whether the caller can supply a new token after the server refused one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It can: [`LoginStep::RenewCredentials`] asks for it.
    Possible,
    /// It cannot.
    Impossible,
}

/// What a login needs next.
#[derive(Debug)]
pub enum LoginStep {
    /// The next event of the machine.
    Event,
    /// New credentials, or none: call [`Login::renewed`]. The server refused the token.
    RenewCredentials,
    /// Nothing: the user is logged in.
    Done(LoggedIn),
}

/// One attempt that waits for the server's decision.
#[derive(Debug)]
struct Attempt {
    /// `None` is the login command.
    mechanism: Option<Mechanism>,
    /// Whether the server had refused an initial response before this attempt.
    refused_initial_response: bool,
    choice: MechanismChoice,
    /// The mechanism that the server refused before, and its reply.
    before: Option<(Mechanism, ServerReply)>,
}

/// What a [`Login`] waits for.
#[derive(Debug)]
enum State {
    Start,
    Attempting(Attempt),
    Renewing(FailedLogin),
    Over,
}

/// A login as a state machine over a client machine.
///
/// Call [`start`](Self::start) when the server's capabilities are known, and then [`event`](Self::event) with each event.
pub struct Login {
    order: Vec<Mechanism>,
    credentials: Credentials,
    renewal: Renewal,
    state: State,
}

impl Login {
    /// A login with the first of these mechanisms that fits. The login command is a fallback if the order is
    /// [`Mechanism::ALL`].
    #[must_use]
    pub fn new(order: &[Mechanism], credentials: Credentials, renewal: Renewal) -> Self {
        Self { order: order.to_vec(), credentials, renewal, state: State::Start }
    }

    /// Sends the first command.
    ///
    /// # Errors
    /// No mechanism is usable, or the login has started already.
    pub fn start<M: LoginClient>(&mut self, client: &mut M, tx: &mut SendBuffer) -> Result<LoginStep, Error> {
        let choice = client.choose_mechanism(&self.order, &self.credentials);
        let mechanism = match choice.into_result() {
            Ok(mechanism) => Some(mechanism),
            // The LOGIN command is a fallback, unless the caller named the mechanisms.
            Err(_) if self.order == Mechanism::ALL && client.has_login_command() => None,
            Err(reasons) => return Err(cannot_log_in(&reasons)),
        };
        self.attempt(client, tx, mechanism, choice, None)
    }

    /// Handles an event of the machine.
    ///
    /// # Errors
    /// The server refused for good, or the session is over.
    pub fn event<M: LoginClient>(
        &mut self,
        event: &M::Event<'_>,
        client: &mut M,
        tx: &mut SendBuffer,
    ) -> Result<LoginStep, Error> {
        let State::Attempting(attempt) = &self.state else { return Ok(LoginStep::Event) };
        let Some(outcome) = client.login_outcome(event, attempt.mechanism)? else {
            return Ok(LoginStep::Event);
        };
        let State::Attempting(attempt) = std::mem::replace(&mut self.state, State::Over) else {
            return Ok(LoginStep::Event);
        };
        match outcome {
            AttemptOutcome::Accepted => {
                let Attempt { mechanism, choice, before, .. } = attempt;
                let method = mechanism.map_or("the LOGIN command", Mechanism::name);
                Ok(LoginStep::Done(LoggedIn { method, choice, refused: before }))
            }
            AttemptOutcome::Refused(refusal) => self.refused(refusal, attempt, client, tx),
        }
    }

    /// Continues with new credentials after [`LoginStep::RenewCredentials`]. `None`: there are none.
    ///
    /// # Errors
    /// There are none, or no mechanism is usable with them.
    pub fn renewed<M: LoginClient>(
        &mut self,
        credentials: Option<Credentials>,
        client: &mut M,
        tx: &mut SendBuffer,
    ) -> Result<LoginStep, Error> {
        let kind = self.credential_kind();
        match (std::mem::replace(&mut self.state, State::Over), credentials) {
            (State::Renewing(_), Some(credentials)) => {
                self.credentials = credentials;
                self.renewal = Renewal::Impossible;
                self.start(client, tx)
            }
            (State::Renewing(failed), None) => Err(failed.into_error(kind)),
            (state, _) => {
                self.state = state;
                Ok(LoginStep::Event)
            }
        }
    }

    fn credential_kind(&self) -> CredentialKind {
        match self.credentials {
            Credentials::Bearer { .. } => CredentialKind::Token,
            _ => CredentialKind::Password,
        }
    }

    fn attempt<M: LoginClient>(
        &mut self,
        client: &mut M,
        tx: &mut SendBuffer,
        mechanism: Option<Mechanism>,
        choice: MechanismChoice,
        before: Option<(Mechanism, ServerReply)>,
    ) -> Result<LoginStep, Error> {
        let refused_initial_response = client.has_refused_initial_response();
        client.start_login(mechanism, &self.credentials, tx)?;
        self.state = State::Attempting(Attempt { mechanism, refused_initial_response, choice, before });
        Ok(LoginStep::Event)
    }

    /// Decides what follows a refusal.
    fn refused<M: LoginClient>(
        &mut self,
        refusal: LoginRefusal,
        attempt: Attempt,
        client: &mut M,
        tx: &mut SendBuffer,
    ) -> Result<LoginStep, Error> {
        let Attempt { mechanism, refused_initial_response, choice, before } = attempt;
        if !refused_initial_response && client.has_refused_initial_response() {
            // The machine now omits it.
            return self.attempt(client, tx, mechanism, choice, before);
        }
        let secret = mechanism.filter(|mechanism| {
            refusal.reason == RefusalReason::Mechanism && !mechanism.reveals_credentials() && before.is_none()
        });
        let Some(mechanism) = secret else {
            return self.fail(FailedLogin { refusal, before, last_secret: None });
        };
        let is_next = |other: &Mechanism| *other != mechanism && !other.reveals_credentials();
        let rest: Vec<Mechanism> = self.order.iter().copied().filter(is_next).collect();
        match client.choose_mechanism(&rest, &self.credentials).chosen() {
            Some(next) => {
                let before = Some((mechanism, refusal.reply));
                self.attempt(client, tx, Some(next), choice, before)
            }
            None => self.fail(FailedLogin { refusal, before: None, last_secret: Some(mechanism) }),
        }
    }

    fn fail(&mut self, failed: FailedLogin) -> Result<LoginStep, Error> {
        use RefusalReason::{Expired, Refused, WrongCredentials};
        let kind = self.credential_kind();
        if kind == CredentialKind::Token
            && self.renewal == Renewal::Possible
            && matches!(failed.refusal.reason, WrongCredentials | Expired | Refused)
        {
            self.state = State::Renewing(failed);
            return Ok(LoginStep::RenewCredentials);
        }
        Err(failed.into_error(kind))
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("order", &self.order)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A login that failed because the server refused its attempts.
#[derive(Debug)]
struct FailedLogin {
    refusal: LoginRefusal,
    /// The mechanism that the server refused before, and its reply.
    before: Option<(Mechanism, ServerReply)>,
    /// The refused mechanism, if no other one that keeps the password secret is usable.
    last_secret: Option<Mechanism>,
}

impl FailedLogin {
    fn into_error(self, credentials: CredentialKind) -> Error {
        let failure = login_error(self.refusal.reason, self.refusal.reply, credentials);
        match (self.before, self.last_secret) {
            (Some((mechanism, reply)), _) => {
                failure.append(&format!(" (before that, the server refused {mechanism}: {reply})"))
            }
            (None, Some(mechanism)) => failure.append(&format!(
                " (the server refused {mechanism}, and no other mechanism that keeps the password secret is usable)"
            )),
            (None, None) => failure,
        }
    }
}

/// Returns the error for a login that cannot begin with any mechanism.
pub(crate) fn cannot_log_in(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Refused, format!("the user cannot log in: {error}"))
        .with_hint(Hint::CompareMechanisms)
        .remote()
}

/// Returns the error for a login without TLS that was not explicitly allowed.
pub(crate) fn needs_tls() -> Error {
    Error::new(
        ErrorKind::Refused,
        "a login without TLS would reveal the password to an attacker on the network",
    )
    .with_hint(Hint::AllowCleartextLogin)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto_mail::sasl::{SaslContext, choose_mechanism};
    use proto_mail::{ChannelBinding, Mechanisms, RecvBuffer, Secure, Wait, WaitFor};

    use super::*;

    /// A client whose server answers by the mechanism. It records the mechanisms tried.
    #[derive(Debug, Default)]
    struct FakeClient {
        tried: Vec<Option<Mechanism>>,
    }

    const OFFERED: [Mechanism; 4] =
        [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::ScramSha1, Mechanism::Plain];

    impl Machine for FakeClient {
        type Event<'i> = Option<RefusalReason>;

        fn next_event<'i>(
            &mut self,
            _: &'i mut RecvBuffer,
            _: &mut SendBuffer,
        ) -> Result<Option<Self::Event<'i>>, proto_mail::Error> {
            Ok(None)
        }

        fn wants_read(&self, _: &SendBuffer) -> bool {
            true
        }

        fn wait(&self) -> Wait {
            Wait::new(WaitFor::Reply, Duration::MAX, 0)
        }

        fn timed_out(&mut self, _: &mut SendBuffer) -> Result<(), proto_mail::Error> {
            Ok(())
        }

        fn is_closed(&self) -> bool {
            false
        }
    }

    impl LoginClient for FakeClient {
        fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
            let secure = Secure::tls(ChannelBinding::TlsExporter([1; 32])).with_seed([1; 32]);
            let mut offered: Mechanisms = OFFERED.into_iter().collect();
            offered.insert(Mechanism::OAuthBearer);
            choose_mechanism(order, offered, Mechanisms::all(), &SaslContext::secure(&secure), credentials)
        }

        fn has_login_command(&self) -> bool {
            true
        }

        fn has_refused_initial_response(&self) -> bool {
            false
        }

        fn start_login(
            &mut self,
            mechanism: Option<Mechanism>,
            _: &Credentials,
            _: &mut SendBuffer,
        ) -> Result<(), Error> {
            self.tried.push(mechanism);
            Ok(())
        }

        fn login_outcome(
            &self,
            event: &Option<RefusalReason>,
            _: Option<Mechanism>,
        ) -> Result<Option<AttemptOutcome>, Error> {
            let reply =
                ServerReply { code: None, text: "bad protocol / cancel".into(), condition: Some("NO") };
            Ok(Some(match event {
                None => AttemptOutcome::Accepted,
                Some(reason) => AttemptOutcome::Refused(LoginRefusal { reason: *reason, reply }),
            }))
        }
    }

    /// Logs in to a server that answers like this. `renewed` are the tokens that the caller can supply. Returns the
    /// result and the mechanisms tried.
    fn log_in_with(
        credentials: Credentials,
        mut renewed: Vec<Credentials>,
        answer: fn(Option<Mechanism>) -> Option<RefusalReason>,
    ) -> (Result<LoggedIn, Error>, Vec<Mechanism>) {
        let (mut client, mut tx) = (FakeClient::default(), SendBuffer::new());
        let mut login = Login::new(&Mechanism::ALL, credentials, Renewal::Possible);
        let mut step = login.start(&mut client, &mut tx);
        let result = loop {
            step = match step {
                Ok(LoginStep::Event) => {
                    let reason = answer(client.tried.last().copied().flatten());
                    login.event(&reason, &mut client, &mut tx)
                }
                Ok(LoginStep::RenewCredentials) => login.renewed(renewed.pop(), &mut client, &mut tx),
                Ok(LoginStep::Done(logged_in)) => break Ok(logged_in),
                Err(error) => break Err(error),
            };
        };
        (result, client.tried.into_iter().flatten().collect())
    }

    fn log_in_to(
        answer: fn(Option<Mechanism>) -> Option<RefusalReason>,
    ) -> (Result<LoggedIn, Error>, Vec<Mechanism>) {
        log_in_with(Credentials::password("u", &b"p"[..]), Vec::new(), answer)
    }

    #[test]
    fn asks_once_for_a_new_token_after_a_refused_one() {
        let token = || Credentials::bearer("u", "t".to_owned());
        let refuse = |_| Some(RefusalReason::Expired);
        let (result, tried) = log_in_with(token(), vec![token(), token()], refuse);
        assert_eq!((tried.len(), result.unwrap_err().kind()), (2, ErrorKind::Refused));
        let (result, tried) = log_in_with(token(), Vec::new(), refuse);
        assert_eq!((tried.len(), result.unwrap_err().hint()), (1, Some(&Hint::RenewToken)));
        // A password is not asked for again.
        let (result, tried) = log_in_with(
            Credentials::password("u", &b"p"[..]),
            vec![Credentials::password("u", &b"p"[..])],
            |_| Some(RefusalReason::WrongCredentials),
        );
        assert_eq!((tried.len(), result.unwrap_err().hint()), (1, Some(&Hint::CheckPassword)));
    }

    #[test]
    fn names_the_refused_mechanism_after_the_next_one_succeeded() {
        let (result, tried) = log_in_to(|tried| {
            tried.filter(|mechanism| mechanism.uses_channel_binding()).map(|_| RefusalReason::Mechanism)
        });
        assert_eq!(tried, [Mechanism::ScramSha256Plus, Mechanism::ScramSha256]);
        let text = result.unwrap().describe();
        for part in ["SCRAM-SHA-256 (", "refused SCRAM-SHA-256-PLUS", "not bound", "bad protocol / cancel"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn never_reveals_the_password_after_refused_scram() {
        let (result, tried) = log_in_to(|_| Some(RefusalReason::Mechanism));
        assert_eq!(tried, [Mechanism::ScramSha256Plus, Mechanism::ScramSha256]);
        let failure = result.unwrap_err();
        assert!(failure.message().contains("SCRAM-SHA-256-PLUS"), "{failure}");
        let (result, tried) = log_in_to(|_| Some(RefusalReason::WrongCredentials));
        assert_eq!((tried.len(), result.unwrap_err().kind()), (1, ErrorKind::Refused));
        let (result, tried) = log_in_to(|_| Some(RefusalReason::Temporary));
        assert_eq!((tried.len(), result.unwrap_err().kind()), (1, ErrorKind::Temporary));
    }

    #[test]
    fn mechanism_details_decide_the_reason() {
        for (details, reason) in [
            ("invalid-proof", RefusalReason::WrongCredentials),
            ("channel-bindings-dont-match", RefusalReason::Refused),
            ("channel-binding-not-supported", RefusalReason::Mechanism),
            (&SaslError::ServerNotVerified.to_string(), RefusalReason::Refused),
            (&SaslError::IterationCount.to_string(), RefusalReason::Mechanism),
            ("{\"status\":\"401\",\"schemes\":\"bearer\"}", RefusalReason::Expired),
        ] {
            assert_eq!(reason_by_details(details), Some(reason), "{details}");
        }
        assert_eq!(reason_by_details("other-error"), None);
    }
}
