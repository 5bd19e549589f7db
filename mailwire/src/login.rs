//! Logging in, for both protocols: which mechanism, what to try after a refusal, and how often.
//!
//! * A server that does not understand an initial response is asked once more without one.
//! * A server that refuses a *mechanism* that reveals nothing (SCRAM) is asked once more with the next one that reveals
//!   nothing. The password is never revealed to a server because it refused to prove that it knows it: after SCRAM
//!   there is no PLAIN and no LOGIN. SCRAM without `-PLUS` then says `n` (RFC 5802 §6), since the client has seen that
//!   the server offers `-PLUS`; `y` would claim the opposite. What is lost is the binding to the TLS channel, which the
//!   report says; `--mechanism SCRAM-SHA-256-PLUS` alone insists on it.
//! * `--token-command` is asked once more after the server refused a token.
//! * A refused password is never tried twice.

use proto_mail::sasl::MechanismChoice;
use proto_mail::{Credentials, Mechanism};

use crate::check::LoggedIn;
use crate::classify::{During, Proof, ServerReply, Verdict, log_in_failure};
use crate::connect::Way;
use crate::failure::{Failure, Kind};

/// A session that can log in.
pub(crate) trait Prover {
    /// Which mechanism fits, and why no other one.
    fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice;

    /// Whether there is a command beside SASL that takes the password (LOGIN of IMAP).
    fn has_login_command(&self) -> bool;

    /// Whether the server did not understand an initial response.
    fn has_refused_initial_response(&self) -> bool;

    /// Tries once; without a mechanism by the command beside SASL. Returns what the server said against it.
    fn prove(&mut self, by: Option<Mechanism>, credentials: Credentials) -> Result<Option<Refusal>, Failure>;
}

/// What a server said against a log-in.
pub(crate) struct Refusal {
    pub(crate) verdict: Verdict,
    pub(crate) reply: ServerReply,
}

impl Refusal {
    /// Adds what the mechanism itself learnt: the reason in SCRAM's last message, the JSON of OAuth, or why the client
    /// cancelled.
    pub(crate) fn with_reason(mut self, reason: Option<&str>) -> Self {
        let Some(reason) = reason else { return self };
        self.verdict = by_reason(reason).unwrap_or(self.verdict);
        let reason: String = reason.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        self.reply.text = format!("{} ({reason})", self.reply.text);
        self
    }
}

/// During which kind of log-in.
pub(crate) const fn during(by: Option<Mechanism>) -> During {
    match by {
        Some(mechanism) if !mechanism.reveals_credentials() => During::SecretLogIn,
        _ => During::LogIn,
    }
}

/// What the reason of a mechanism means (RFC 5802 §7, RFC 7628 §3.2.2, and the texts of `SaslError`).
fn by_reason(reason: &str) -> Option<Verdict> {
    const REASONS: &[(&str, Verdict)] = &[
        ("invalid-proof", Verdict::WrongCredentials),
        ("unknown-user", Verdict::WrongCredentials),
        ("no-resources", Verdict::Temporary),
        // The server sees another channel than the client, or a list of mechanisms that was changed on the way.
        ("channel-bindings-dont-match", Verdict::Refused),
        ("server-does-support-channel-binding", Verdict::Refused),
        ("channel-binding-not-supported", Verdict::Mechanism),
        ("unsupported-channel-binding-type", Verdict::Mechanism),
        ("extensions-not-supported", Verdict::Mechanism),
        ("invalid-encoding", Verdict::Mechanism),
        // The client cancelled.
        ("could not prove that it knows the password", Verdict::Refused),
        ("may be replayed", Verdict::Refused),
        ("iteration count", Verdict::Mechanism),
        ("demands an extension", Verdict::Mechanism),
        ("is not what its mechanism says", Verdict::Mechanism),
        ("is longer than any", Verdict::Mechanism),
        // OAuth.
        ("invalid_token", Verdict::Expired),
        ("\"401\"", Verdict::Expired),
        ("\"400\"", Verdict::WrongCredentials),
    ];
    REASONS.iter().find(|(part, _)| reason.contains(part)).map(|(_, verdict)| *verdict)
}

/// Logs in.
///
/// # Errors
/// No mechanism fits, the server says no, or the connection is lost.
pub(crate) fn log_in(
    prover: &mut impl Prover,
    way: &Way,
    credentials: &Credentials,
) -> Result<LoggedIn, Failure> {
    let credentials = way.session_credentials(credentials)?;
    let proof = match credentials {
        Credentials::Bearer { .. } => Proof::Token,
        _ => Proof::Password,
    };
    let tried = attempt(prover, way.order(), &credentials)?;
    let refused_token = |refusal: &Refused| {
        use Verdict::{Expired, Refused, WrongCredentials};
        proof == Proof::Token && matches!(refusal.refusal.verdict, WrongCredentials | Expired | Refused)
    };
    let tried = match tried {
        Err(refused) if refused_token(&refused) => match way.renewed_token()? {
            Some(renewed) => attempt(prover, way.order(), &renewed)?,
            None => Err(refused),
        },
        tried => tried,
    };
    tried.map_err(|refused| refused.failure(proof))
}

/// A log-in that the server refused, and what was refused before it.
struct Refused {
    refusal: Refusal,
    before: Option<(Mechanism, ServerReply)>,
    /// Nothing else that keeps the password secret could be tried.
    only: Option<Mechanism>,
}

impl Refused {
    fn failure(self, proof: Proof) -> Failure {
        let failure = log_in_failure(self.refusal.verdict, self.refusal.reply, proof);
        match (self.before, self.only) {
            (Some((mechanism, reply)), _) => {
                failure.adding(&format!(" (before that it refused {mechanism}: {reply})"))
            }
            (None, Some(mechanism)) => failure.adding(&format!(
                " ({mechanism} was refused, and no other mechanism that keeps the password secret can be used)"
            )),
            (None, None) => failure,
        }
    }
}

fn attempt(
    prover: &mut impl Prover,
    order: &[Mechanism],
    credentials: &Credentials,
) -> Result<Result<LoggedIn, Refused>, Failure> {
    let weighed = prover.choose_mechanism(order, credentials);
    let by = match weighed.into_result() {
        Ok(mechanism) => Some(mechanism),
        // The LOGIN command may do, unless the user wants something else.
        Err(_) if order == Mechanism::ALL && prover.has_login_command() => None,
        Err(reasons) => return Err(cannot_prove(&reasons)),
    };
    let name = |by: Option<Mechanism>| by.map_or("the LOGIN command", Mechanism::name);
    let Some(refusal) = prove(prover, by, credentials)? else {
        return Ok(Ok(LoggedIn { by: name(by), weighed, refused: None }));
    };
    let refused = |refusal, before, only| Ok(Err(Refused { refusal, before, only }));
    let Some(mechanism) = by.filter(|_| refusal.verdict == Verdict::Mechanism) else {
        return refused(refusal, None, None);
    };
    if mechanism.reveals_credentials() {
        return refused(refusal, None, None);
    }
    let rest: Vec<Mechanism> =
        order.iter().copied().filter(|other| *other != mechanism && !other.reveals_credentials()).collect();
    let Some(next) = prover.choose_mechanism(&rest, credentials).chosen() else {
        return refused(refusal, None, Some(mechanism));
    };
    let before = Some((mechanism, refusal.reply));
    match prove(prover, Some(next), credentials)? {
        None => Ok(Ok(LoggedIn { by: next.name(), weighed, refused: before })),
        Some(refusal) => refused(refusal, before, None),
    }
}

/// Tries, and once more without an initial response where the server did not understand it.
fn prove(
    prover: &mut impl Prover,
    by: Option<Mechanism>,
    credentials: &Credentials,
) -> Result<Option<Refusal>, Failure> {
    let refused_before = prover.has_refused_initial_response();
    let refusal = prover.prove(by, credentials.duplicate())?;
    if refusal.is_some() && !refused_before && prover.has_refused_initial_response() {
        return prover.prove(by, credentials.duplicate());
    }
    Ok(refusal)
}

/// Why no mechanism could be begun.
pub(crate) fn cannot_prove(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Refused, format!("the user cannot be authenticated here: {error}"))
        .advise(
            "look at what the server offers and at --mechanism; --token-command is for a server that wants an OAuth token",
        )
        .remote()
}

/// Logging in without TLS has to be asked for.
pub(crate) fn not_without_tls() -> Failure {
    Failure::new(Kind::Refused, "logging in without TLS would show the password to anyone on the way")
        .advise("leave --danger-cleartext out, or add --danger-cleartext-login")
}

#[cfg(test)]
mod tests {
    use proto_mail::sasl::{SaslContext, choose_mechanism};
    use proto_mail::{ChannelBinding, Mechanisms, Secure};

    use super::*;
    use crate::cli::Connection;

    /// A server that answers each mechanism in its way, and remembers what it was asked for.
    struct Fake {
        answer: fn(Option<Mechanism>) -> Option<Verdict>,
        asked: Vec<Option<Mechanism>>,
    }

    const OFFERED: [Mechanism; 4] =
        [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::ScramSha1, Mechanism::Plain];

    impl Prover for Fake {
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

        fn prove(&mut self, by: Option<Mechanism>, _: Credentials) -> Result<Option<Refusal>, Failure> {
            self.asked.push(by);
            let reply =
                ServerReply { code: None, text: "bad protocol / cancel".into(), condition: Some("NO") };
            Ok((self.answer)(by).map(|verdict| Refusal { verdict, reply }))
        }
    }

    fn try_it(
        answer: fn(Option<Mechanism>) -> Option<Verdict>,
    ) -> (Result<LoggedIn, Failure>, Vec<Mechanism>) {
        let way = Way::new(&"imaps://u@h".parse().unwrap(), &Connection::default()).unwrap();
        let mut fake = Fake { answer, asked: Vec::new() };
        let done = log_in(&mut fake, &way, &Credentials::password("u", &b"p"[..]));
        (done, fake.asked.into_iter().flatten().collect())
    }

    #[test]
    fn a_refused_mechanism_is_named_when_the_next_one_worked() {
        let (done, asked) =
            try_it(|by| by.filter(|mechanism| mechanism.uses_channel_binding()).map(|_| Verdict::Mechanism));
        assert_eq!(asked, [Mechanism::ScramSha256Plus, Mechanism::ScramSha256]);
        let text = done.unwrap().describe();
        for part in ["SCRAM-SHA-256 (", "refused SCRAM-SHA-256-PLUS", "not bound", "bad protocol / cancel"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_password_is_never_revealed_after_a_refused_proof() {
        let (done, asked) = try_it(|_| Some(Verdict::Mechanism));
        assert_eq!(asked, [Mechanism::ScramSha256Plus, Mechanism::ScramSha256]);
        let failure = done.unwrap_err();
        assert!(failure.what.contains("SCRAM-SHA-256-PLUS"), "{failure}");
        let (done, asked) = try_it(|_| Some(Verdict::WrongCredentials));
        assert_eq!((asked.len(), done.unwrap_err().kind), (1, Kind::Refused));
        let (done, asked) = try_it(|_| Some(Verdict::Temporary));
        assert_eq!((asked.len(), done.unwrap_err().kind), (1, Kind::TryAgain));
    }

    #[test]
    fn the_reason_of_a_mechanism_decides() {
        for (reason, verdict) in [
            ("invalid-proof", Verdict::WrongCredentials),
            ("channel-bindings-dont-match", Verdict::Refused),
            ("channel-binding-not-supported", Verdict::Mechanism),
            ("the server could not prove that it knows the password: x", Verdict::Refused),
            ("{\"status\":\"401\",\"schemes\":\"bearer\"}", Verdict::Expired),
        ] {
            assert_eq!(by_reason(reason), Some(verdict), "{reason}");
        }
        assert_eq!(by_reason("other-error"), None);
    }
}
