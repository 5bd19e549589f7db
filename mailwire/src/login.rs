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

use crate::endpoint::Endpoint;
use crate::failure::{Failure, Kind};
use crate::refusal::{CredentialKind, login_failure};
use crate::server_reply::ServerReply;
use crate::verdict::{During, Verdict};

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
    ) -> Result<Option<Refusal>, Failure>;
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

/// A server's refusal of a login.
pub(crate) struct Refusal {
    pub(crate) verdict: Verdict,
    pub(crate) reply: ServerReply,
}

impl Refusal {
    /// Adds the mechanism's own reason: the error in SCRAM's last message, OAuth's JSON, or why the client cancelled.
    pub(crate) fn with_reason(mut self, reason: Option<&str>) -> Self {
        let Some(reason) = reason else { return self };
        self.verdict = verdict_by_reason(reason).unwrap_or(self.verdict);
        let reason: String = reason.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        self.reply.text = format!("{} ({reason})", self.reply.text);
        self
    }
}

/// Returns whether a login with this mechanism reveals the credentials. `None` is the login command.
pub(crate) const fn during(mechanism: Option<Mechanism>) -> During {
    match mechanism {
        Some(mechanism) if !mechanism.reveals_credentials() => During::SecretLogin,
        _ => During::RevealingLogin,
    }
}

/// Classifies a mechanism's reason: the server's (RFC 5802 §7, RFC 7628 §3.2.2), or why the client cancelled.
fn verdict_by_reason(reason: &str) -> Option<Verdict> {
    const SERVER: &[(&str, Verdict)] = &[
        ("invalid-proof", Verdict::WrongCredentials),
        ("unknown-user", Verdict::WrongCredentials),
        ("no-resources", Verdict::Temporary),
        // The server sees another TLS channel, or an attacker changed the list of mechanisms.
        ("channel-bindings-dont-match", Verdict::Refused),
        ("server-does-support-channel-binding", Verdict::Refused),
        ("channel-binding-not-supported", Verdict::Mechanism),
        ("unsupported-channel-binding-type", Verdict::Mechanism),
        ("extensions-not-supported", Verdict::Mechanism),
        ("invalid-encoding", Verdict::Mechanism),
        // OAuth.
        ("invalid_token", Verdict::Expired),
        ("\"401\"", Verdict::Expired),
        ("\"400\"", Verdict::WrongCredentials),
    ];
    const CLIENT: &[(SaslError, Verdict)] = &[
        (SaslError::ServerNotVerified, Verdict::Refused),
        (SaslError::NonceMismatch, Verdict::Refused),
        (SaslError::IterationCount, Verdict::Mechanism),
        (SaslError::UnsupportedExtension, Verdict::Mechanism),
        (SaslError::Malformed, Verdict::Mechanism),
        (SaslError::TooLong, Verdict::Mechanism),
    ];
    let by_server = SERVER.iter().find(|(part, _)| reason.contains(part)).map(|(_, verdict)| *verdict);
    let by_client = || CLIENT.iter().find(|(error, _)| reason.contains(&error.to_string()));
    by_server.or_else(|| by_client().map(|(_, verdict)| *verdict))
}

/// Logs in.
///
/// # Errors
/// No mechanism is usable, the server refuses the login, or the connection is lost.
pub(crate) fn log_in(
    session: &mut impl LoginSession,
    endpoint: &Endpoint,
    credentials: &Credentials,
) -> Result<LoggedIn, Failure> {
    let credentials = endpoint.session_credentials(credentials)?;
    let kind = match credentials {
        Credentials::Bearer { .. } => CredentialKind::Token,
        _ => CredentialKind::Password,
    };
    let result = attempt(session, endpoint.mechanisms(), &credentials)?;
    let is_token_refused = |refused: &RefusedLogin| {
        use Verdict::{Expired, Refused, WrongCredentials};
        kind == CredentialKind::Token
            && matches!(refused.refusal.verdict, WrongCredentials | Expired | Refused)
    };
    let result = match result {
        Err(refused) if is_token_refused(&refused) => match endpoint.renewed_token()? {
            Some(renewed) => attempt(session, endpoint.mechanisms(), &renewed)?,
            None => Err(refused),
        },
        result => result,
    };
    result.map_err(|refused| refused.failure(kind))
}

/// A login that the server refused.
struct RefusedLogin {
    refusal: Refusal,
    /// The mechanism that the server refused before, and its reply.
    before: Option<(Mechanism, ServerReply)>,
    /// The refused mechanism, if no other one that keeps the password secret is usable.
    last_secret: Option<Mechanism>,
}

impl RefusedLogin {
    fn failure(self, credentials: CredentialKind) -> Failure {
        let failure = login_failure(self.refusal.verdict, self.refusal.reply, credentials);
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
) -> Result<Result<LoggedIn, RefusedLogin>, Failure> {
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
    let refused = |refusal, before, last_secret| Ok(Err(RefusedLogin { refusal, before, last_secret }));
    let Some(mechanism) = first.filter(|_| refusal.verdict == Verdict::Mechanism) else {
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
) -> Result<Option<Refusal>, Failure> {
    let refused_before = session.has_refused_initial_response();
    let refusal = session.try_login(mechanism, credentials.duplicate())?;
    if refusal.is_some() && !refused_before && session.has_refused_initial_response() {
        return session.try_login(mechanism, credentials.duplicate());
    }
    Ok(refusal)
}

/// Returns the failure for a login that cannot begin with any mechanism.
pub(crate) fn cannot_log_in(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Refused, format!("the user cannot log in: {error}"))
        .advise(
            "compare what the server offers with --mechanism; use --token-command if the server requires an OAuth token",
        )
        .remote()
}

/// Returns the failure for a login without TLS that was not explicitly allowed.
pub(crate) fn needs_tls() -> Failure {
    Failure::new(Kind::Refused, "a login without TLS would reveal the password to an attacker on the network")
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
        answer: fn(Option<Mechanism>) -> Option<Verdict>,
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
        ) -> Result<Option<Refusal>, Failure> {
            self.tried.push(mechanism);
            let reply =
                ServerReply { code: None, text: "bad protocol / cancel".into(), condition: Some("NO") };
            Ok((self.answer)(mechanism).map(|verdict| Refusal { verdict, reply }))
        }
    }

    /// Logs in to a server that answers like this. Returns the result and the mechanisms tried.
    fn log_in_to(
        answer: fn(Option<Mechanism>) -> Option<Verdict>,
    ) -> (Result<LoggedIn, Failure>, Vec<Mechanism>) {
        let endpoint = Endpoint::new(&"imaps://u@h".parse().unwrap(), &ConnectionOptions::default()).unwrap();
        let mut session = FakeSession { answer, tried: Vec::new() };
        let result = log_in(&mut session, &endpoint, &Credentials::password("u", &b"p"[..]));
        (result, session.tried.into_iter().flatten().collect())
    }

    #[test]
    fn names_the_refused_mechanism_after_the_next_one_succeeded() {
        let (result, tried) = log_in_to(|tried| {
            tried.filter(|mechanism| mechanism.uses_channel_binding()).map(|_| Verdict::Mechanism)
        });
        assert_eq!(tried, [Mechanism::ScramSha256Plus, Mechanism::ScramSha256]);
        let text = result.unwrap().describe();
        for part in ["SCRAM-SHA-256 (", "refused SCRAM-SHA-256-PLUS", "not bound", "bad protocol / cancel"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn never_reveals_the_password_after_refused_scram() {
        let (result, tried) = log_in_to(|_| Some(Verdict::Mechanism));
        assert_eq!(tried, [Mechanism::ScramSha256Plus, Mechanism::ScramSha256]);
        let failure = result.unwrap_err();
        assert!(failure.what.contains("SCRAM-SHA-256-PLUS"), "{failure}");
        let (result, tried) = log_in_to(|_| Some(Verdict::WrongCredentials));
        assert_eq!((tried.len(), result.unwrap_err().kind), (1, Kind::Refused));
        let (result, tried) = log_in_to(|_| Some(Verdict::Temporary));
        assert_eq!((tried.len(), result.unwrap_err().kind), (1, Kind::TryAgain));
    }

    #[test]
    fn mechanism_reasons_decide_the_verdict() {
        for (reason, verdict) in [
            ("invalid-proof", Verdict::WrongCredentials),
            ("channel-bindings-dont-match", Verdict::Refused),
            ("channel-binding-not-supported", Verdict::Mechanism),
            (&SaslError::ServerNotVerified.to_string(), Verdict::Refused),
            (&SaslError::IterationCount.to_string(), Verdict::Mechanism),
            ("{\"status\":\"401\",\"schemes\":\"bearer\"}", Verdict::Expired),
        ] {
            assert_eq!(verdict_by_reason(reason), Some(verdict), "{reason}");
        }
        assert_eq!(verdict_by_reason("other-error"), None);
    }
}
