//! Login for both protocols: which mechanism to use, and what to try after a refusal.
//!
//! * If the server does not understand an initial response, the client retries once without one.
//! * If the server refuses a *mechanism* that keeps the password secret (SCRAM), the client retries once with the next
//!   such mechanism. It never falls back to PLAIN or LOGIN after SCRAM: a server must not learn the password by refusing
//!   to prove that it knows it. SCRAM without `-PLUS` then sends the flag `n` (RFC 5802 §6): `y` would claim that the
//!   server does not offer `-PLUS`. The login is then not bound to the TLS channel, and the report says so;
//!   `--mechanism SCRAM-SHA-256-PLUS` alone requires the binding.
//! * If the server refuses a token, the client runs `--token-command` once more.
//! * The client never tries a refused password twice.

use proto_mail::sasl::{MechanismChoice, SaslError};
use proto_mail::{Credentials, Mechanism};

use crate::command_error::{CommandError, ExitCode};
use crate::endpoint::Endpoint;
use crate::refusal_errors::{CredentialKind, login_error};
use crate::refusal_reason::{RefusalReason, RefusedStep};
use crate::server_reply::ServerReply;

/// A session that can log in.
pub(crate) trait LoginSession {
    /// Chooses the first usable mechanism from `order`, and says why the others were rejected.
    fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice;

    /// Returns whether the protocol has a login command besides SASL (IMAP's LOGIN).
    fn has_login_command(&self) -> bool;

    /// Returns whether the server did not understand an initial response.
    fn has_refused_initial_response(&self) -> bool;

    /// Tries to log in once. Without a mechanism, uses the login command. Returns the server's refusal, if any.
    fn try_login(
        &mut self,
        mechanism: Option<Mechanism>,
        credentials: Credentials,
    ) -> Result<Option<LoginRefusal>, CommandError>;
}

/// How the user logged in.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    /// The mechanism's name, or "the LOGIN command".
    pub(crate) method: &'static str,
    /// The mechanism choice, which says why others were rejected.
    pub(crate) choice: MechanismChoice,
    /// The mechanism that the server refused before, and its reply.
    pub(crate) refused: Option<(Mechanism, ServerReply)>,
}

impl LoggedIn {
    /// Describes the method, and the mechanism that the server refused before.
    pub(crate) fn describe(&self) -> String {
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

/// A server's refusal of one login attempt.
pub(crate) struct LoginRefusal {
    pub(crate) reason: RefusalReason,
    pub(crate) reply: ServerReply,
}

impl LoginRefusal {
    /// Adds what the mechanism says: the error in SCRAM's last message, OAuth's JSON, or why the client cancelled.
    pub(crate) fn with_details(mut self, details: Option<&str>) -> Self {
        let Some(details) = details else { return self };
        self.reason = reason_by_details(details).unwrap_or(self.reason);
        let details: String =
            details.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        self.reply.text = format!("{} ({details})", self.reply.text);
        self
    }
}

/// Returns the step that a login with this mechanism is. `None` is the login command.
pub(crate) const fn refused_step(mechanism: Option<Mechanism>) -> RefusedStep {
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

/// Logs in.
///
/// # Errors
/// No mechanism is usable, the server refuses the login, or the connection is lost.
pub(crate) fn log_in(
    session: &mut impl LoginSession,
    endpoint: &Endpoint,
    credentials: &Credentials,
) -> Result<LoggedIn, CommandError> {
    let credentials = endpoint.session_credentials(credentials)?;
    let kind = match credentials {
        Credentials::Bearer { .. } => CredentialKind::Token,
        _ => CredentialKind::Password,
    };
    let result = attempt(session, endpoint.mechanisms(), &credentials)?;
    let is_token_refused = |refused: &FailedLogin| {
        use RefusalReason::{Expired, Refused, WrongCredentials};
        kind == CredentialKind::Token
            && matches!(refused.refusal.reason, WrongCredentials | Expired | Refused)
    };
    let result = match result {
        Err(refused) if is_token_refused(&refused) => match endpoint.renewed_token()? {
            Some(renewed) => attempt(session, endpoint.mechanisms(), &renewed)?,
            None => Err(refused),
        },
        result => result,
    };
    result.map_err(|refused| refused.into_error(kind))
}

/// A login that failed because the server refused its attempts.
struct FailedLogin {
    refusal: LoginRefusal,
    /// The mechanism that the server refused before, and its reply.
    before: Option<(Mechanism, ServerReply)>,
    /// The refused mechanism, if no other one that keeps the password secret is usable.
    last_secret: Option<Mechanism>,
}

impl FailedLogin {
    fn into_error(self, credentials: CredentialKind) -> CommandError {
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

fn attempt(
    session: &mut impl LoginSession,
    order: &[Mechanism],
    credentials: &Credentials,
) -> Result<Result<LoggedIn, FailedLogin>, CommandError> {
    let choice = session.choose_mechanism(order, credentials);
    let first = match choice.into_result() {
        Ok(mechanism) => Some(mechanism),
        // The LOGIN command is a fallback, unless the user named the mechanisms.
        Err(_) if order == Mechanism::ALL && session.has_login_command() => None,
        Err(reasons) => return Err(cannot_log_in(&reasons)),
    };
    let method = first.map_or("the LOGIN command", Mechanism::name);
    let Some(refusal) = try_login(session, first, credentials)? else {
        return Ok(Ok(LoggedIn { method, choice, refused: None }));
    };
    let refused = |refusal, before, last_secret| Ok(Err(FailedLogin { refusal, before, last_secret }));
    let Some(mechanism) = first.filter(|_| refusal.reason == RefusalReason::Mechanism) else {
        return refused(refusal, None, None);
    };
    if mechanism.reveals_credentials() {
        return refused(refusal, None, None);
    }
    let rest: Vec<Mechanism> =
        order.iter().copied().filter(|other| *other != mechanism && !other.reveals_credentials()).collect();
    let Some(next) = session.choose_mechanism(&rest, credentials).chosen() else {
        return refused(refusal, None, Some(mechanism));
    };
    let before = Some((mechanism, refusal.reply));
    match try_login(session, Some(next), credentials)? {
        None => Ok(Ok(LoggedIn { method: next.name(), choice, refused: before })),
        Some(refusal) => refused(refusal, before, None),
    }
}

/// Tries to log in, and once more without an initial response if the server did not understand it.
fn try_login(
    session: &mut impl LoginSession,
    mechanism: Option<Mechanism>,
    credentials: &Credentials,
) -> Result<Option<LoginRefusal>, CommandError> {
    let refused_before = session.has_refused_initial_response();
    let refusal = session.try_login(mechanism, credentials.duplicate())?;
    if refusal.is_some() && !refused_before && session.has_refused_initial_response() {
        return session.try_login(mechanism, credentials.duplicate());
    }
    Ok(refusal)
}

/// Returns the error for a login that cannot begin with any mechanism.
pub(crate) fn cannot_log_in(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::new(ExitCode::Refused, format!("the user cannot log in: {error}"))
        .advise(
            "compare what the server offers with --mechanism; use --token-command if the server requires an OAuth token",
        )
        .remote()
}

/// Returns the error for a login without TLS that was not explicitly allowed.
pub(crate) fn needs_tls() -> CommandError {
    CommandError::new(
        ExitCode::Refused,
        "a login without TLS would reveal the password to an attacker on the network",
    )
    .advise("remove --danger-cleartext, or add --danger-cleartext-login")
}

#[cfg(test)]
mod tests {
    use proto_mail::sasl::{SaslContext, choose_mechanism};
    use proto_mail::{ChannelBinding, Mechanisms, Secure};

    use super::*;
    use crate::options::ConnectionOptions;

    /// A session whose server answers by the mechanism. It records the mechanisms tried.
    struct FakeSession {
        answer: fn(Option<Mechanism>) -> Option<RefusalReason>,
        tried: Vec<Option<Mechanism>>,
    }

    const OFFERED: [Mechanism; 4] =
        [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::ScramSha1, Mechanism::Plain];

    impl LoginSession for FakeSession {
        fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
            let secure = Secure::tls(ChannelBinding::TlsExporter([1; 32])).with_seed([1; 32]);
            let offered = OFFERED.into_iter().collect();
            choose_mechanism(order, offered, Mechanisms::all(), &SaslContext::secure(&secure), credentials)
        }

        fn has_login_command(&self) -> bool {
            true
        }

        fn has_refused_initial_response(&self) -> bool {
            false
        }

        fn try_login(
            &mut self,
            mechanism: Option<Mechanism>,
            _: Credentials,
        ) -> Result<Option<LoginRefusal>, CommandError> {
            self.tried.push(mechanism);
            let reply =
                ServerReply { code: None, text: "bad protocol / cancel".into(), condition: Some("NO") };
            Ok((self.answer)(mechanism).map(|reason| LoginRefusal { reason, reply }))
        }
    }

    /// Logs in to a server that answers like this. Returns the result and the mechanisms tried.
    fn log_in_to(
        answer: fn(Option<Mechanism>) -> Option<RefusalReason>,
    ) -> (Result<LoggedIn, CommandError>, Vec<Mechanism>) {
        let endpoint = Endpoint::new(&"imaps://u@h".parse().unwrap(), &ConnectionOptions::default()).unwrap();
        let mut session = FakeSession { answer, tried: Vec::new() };
        let result = log_in(&mut session, &endpoint, &Credentials::password("u", &b"p"[..]));
        (result, session.tried.into_iter().flatten().collect())
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
        assert!(failure.what.contains("SCRAM-SHA-256-PLUS"), "{failure}");
        let (result, tried) = log_in_to(|_| Some(RefusalReason::WrongCredentials));
        assert_eq!((tried.len(), result.unwrap_err().exit_code), (1, ExitCode::Refused));
        let (result, tried) = log_in_to(|_| Some(RefusalReason::Temporary));
        assert_eq!((tried.len(), result.unwrap_err().exit_code), (1, ExitCode::TryAgain));
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
