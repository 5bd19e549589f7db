//! Why a server refused something: retry later, wrong credentials, another mechanism, or a final no.
//!
//! The response code decides (RFC 5530, RFC 4954 §6, RFC 3463). The server's text counts only if there is no code.

use proto_imap::types::Condition;
use proto_smtp::types::Response;

use crate::server_reply::ServerReply;

/// The step that the server refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedStep {
    /// The session: in the greeting, after EHLO, or with BYE or 421 later.
    Session,
    /// A login that reveals the password or token to the server.
    RevealingLogin,
    /// A login that keeps the password secret from the server.
    SecretLogin,
    /// Any other command.
    Command,
}

impl RefusedStep {
    const fn is_login(self) -> bool {
        matches!(self, Self::RevealingLogin | Self::SecretLogin)
    }
}

/// Why a server refused something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReason {
    /// A retry may succeed later.
    Temporary,
    /// The user name, password or token is wrong.
    WrongCredentials,
    /// The password or token has expired.
    Expired,
    /// The user is not allowed to do this.
    NotAuthorized,
    /// The server requires TLS.
    NeedsTls,
    /// The server's administrator must act.
    NeedsAdministrator,
    /// The user must log in with a browser first.
    NeedsBrowser,
    /// The server refused the mechanism and did not judge the credentials.
    Mechanism,
    /// The server refused for good, as far as the client can tell.
    Refused,
    /// The server does not understand the command.
    NotUnderstood,
}

/// The meanings of IMAP response codes. `ALERT` and unlisted codes leave the decision to the text.
const IMAP_CODES: &[(&str, Option<RefusalReason>)] = &[
    ("UNAVAILABLE", Some(RefusalReason::Temporary)),
    ("INUSE", Some(RefusalReason::Temporary)),
    ("LIMIT", Some(RefusalReason::Temporary)),
    ("SERVERBUG", Some(RefusalReason::Temporary)),
    ("TEMPFAIL", Some(RefusalReason::Temporary)),
    ("THROTTLED", Some(RefusalReason::Temporary)),
    ("EXPUNGEISSUED", Some(RefusalReason::Temporary)),
    // No command that is classified here stores anything, so this is a quota on commands or bytes (Gmail).
    ("OVERQUOTA", Some(RefusalReason::Temporary)),
    ("AUTHENTICATIONFAILED", Some(RefusalReason::WrongCredentials)),
    ("AUTHORIZATIONFAILED", Some(RefusalReason::NotAuthorized)),
    ("NOPERM", Some(RefusalReason::NotAuthorized)),
    ("EXPIRED", Some(RefusalReason::Expired)),
    ("PRIVACYREQUIRED", Some(RefusalReason::NeedsTls)),
    ("CONTACTADMIN", Some(RefusalReason::NeedsAdministrator)),
    ("CORRUPTION", Some(RefusalReason::NeedsAdministrator)),
    ("WEBALERT", Some(RefusalReason::NeedsBrowser)),
    ("NONEXISTENT", Some(RefusalReason::Refused)),
    ("CANNOT", Some(RefusalReason::Refused)),
    ("TOOBIG", Some(RefusalReason::Refused)),
    ("CLIENTBUG", Some(RefusalReason::NotUnderstood)),
    ("ALERT", None),
    ("PARSE", None),
];

/// Classifies an IMAP server's NO, BAD or BYE.
pub fn imap_refusal_reason(reply: &ServerReply, condition: Condition, step: RefusedStep) -> RefusalReason {
    let name = reply.code.as_deref().and_then(|code| code.split(' ').next()).unwrap_or_default();
    let by_code = IMAP_CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    if let Some((_, Some(reason))) = by_code {
        return *reason;
    }
    if condition == Condition::Bye {
        return RefusalReason::Temporary;
    }
    match by_text(&reply.text, step) {
        Some(reason) => reason,
        None if condition != Condition::Bad => RefusalReason::Refused,
        None if step == RefusedStep::SecretLogin => RefusalReason::Mechanism,
        None => RefusalReason::NotUnderstood,
    }
}

/// Classifies a 4yz or 5yz reply by its codes and text.
fn smtp_code_reason(code: u16, enhanced: Option<(u16, u16)>, text: &str, step: RefusedStep) -> RefusalReason {
    if code < 500 {
        return RefusalReason::Temporary;
    }
    if step.is_login() {
        let by_code = match (code, enhanced) {
            (_, Some((7, 8))) => Some(RefusalReason::WrongCredentials),
            (_, Some((7, 11))) | (538, _) => Some(RefusalReason::NeedsTls),
            (_, Some((7, 13))) => Some(RefusalReason::NeedsAdministrator),
            // 504 and 5.5.4: unknown mechanism. 500 to 503: the server does not understand the exchange.
            (500..=504, _) | (_, Some((5, _))) => Some(RefusalReason::Mechanism),
            // 5.7.9: the mechanism is too weak. For PLAIN, the text says what else the account needs.
            (_, Some((7, 9))) | (534, _) if step == RefusedStep::SecretLogin => {
                Some(RefusalReason::Mechanism)
            }
            _ => None,
        };
        let by_code = by_code.or_else(|| by_text(text, step));
        // RFC 4954 §6: without an enhanced code, 535 says that the credentials are not valid.
        return by_code.unwrap_or(match (code, enhanced) {
            (535, None) => RefusalReason::WrongCredentials,
            _ => RefusalReason::Refused,
        });
    }
    by_text(text, step).filter(|reason| *reason == RefusalReason::Temporary).unwrap_or(RefusalReason::Refused)
}

/// Classifies a refusal by its text. Servers report throttling as NO, BAD or 5yz with text only.
fn by_text(text: &str, step: RefusedStep) -> Option<RefusalReason> {
    const TEMPORARY: &[&str] = &[
        "temporar",
        "too many",
        "throttl",
        "rate limit",
        "ratelimit",
        "simultaneous",
        "maximum number of connections",
        "connection limit",
        "bandwidth",
        "backoff",
        "back off",
        "overload",
        "unavailable",
        "not available",
        "busy",
        "not connected",
        "internal error",
        "system error",
        "server error",
        "internal server",
        "timed out",
        "timeout",
        "maintenance",
        "shutting down",
        "shutdown",
        "mailbox is locked",
        "in use",
    ];
    const MECHANISM: &[&str] = &[
        "mechanism",
        "bad protocol",
        "channel binding",
        "channel-binding",
        "not supported",
        "unsupported",
        "not implemented",
        "unrecognized authentication",
        "unknown authentication",
    ];
    const WRONG: &[&str] = &[
        "invalid credentials",
        "bad credentials",
        "authentication failed",
        "authentication credentials invalid",
        "login failed",
        "login incorrect",
        "logon failure",
        "wrong password",
        "bad password",
        "invalid password",
        "incorrect password",
        "incorrect username",
        "password incorrect",
        "bad username",
        "invalid username",
        "invalid user",
        "invalid login",
        "username and password not accepted",
        "user name or password",
        "username or password",
        "application-specific password",
        "app password",
        "invalid_token",
        "invalid token",
        "password error",
    ];
    const BROWSER: &[&str] = &["web browser", "web login", "webmail"];
    const LATER: &[&str] = &["try again", "try later", "retry", "later"];
    let text = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(TEMPORARY) {
        Some(RefusalReason::Temporary)
    } else if step == RefusedStep::SecretLogin && says(MECHANISM) {
        Some(RefusalReason::Mechanism)
    } else if step.is_login() && says(BROWSER) {
        Some(RefusalReason::NeedsBrowser)
    } else if step.is_login() && text.contains("expired") {
        Some(RefusalReason::Expired)
    } else if step.is_login() && says(WRONG) {
        Some(RefusalReason::WrongCredentials)
    } else if says(LATER) {
        Some(RefusalReason::Temporary)
    } else {
        None
    }
}

/// Parses a refusal from its line, and returns whether a retry may succeed.
pub fn parse_refusal_line(line: &str) -> (ServerReply, bool) {
    let (reply, condition) = ServerReply::from_line(line);
    let is_temporary = match condition {
        Some(condition) => {
            imap_refusal_reason(&reply, condition, RefusedStep::Command) == RefusalReason::Temporary
        }
        None => line.starts_with('4'),
    };
    (reply, is_temporary)
}

/// Returns the name of the reply's code, without its argument, if it is a known code. This is the only part of a reply
/// that says nothing about the user.
pub fn known_code(reply: &ServerReply) -> Option<&str> {
    let code = reply.code.as_deref()?;
    if reply.condition.is_none() {
        return Some(code);
    }
    let name = code.split(' ').next().unwrap_or_default();
    IMAP_CODES.iter().map(|(known, _)| *known).find(|known| known.eq_ignore_ascii_case(name))
}

/// Classifies an SMTP reply.
pub fn smtp_refusal_reason(response: &Response<'_>, step: RefusedStep) -> RefusalReason {
    let enhanced = response.enhanced().map(|enhanced| (enhanced.subject(), enhanced.detail()));
    smtp_code_reason(response.code().get(), enhanced, &response.text(), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imap(condition: Condition, code: &str, text: &str, step: RefusedStep) -> RefusalReason {
        let code = (!code.is_empty()).then(|| code.to_owned());
        let reply = ServerReply { code, text: text.to_owned(), condition: Some(condition.as_str()) };
        imap_refusal_reason(&reply, condition, step)
    }

    #[test]
    fn imap_reason_follows_the_code_before_the_text() {
        use Condition::{Bad, Bye, No};
        use RefusalReason::*;
        use RefusedStep::{Command, RevealingLogin, SecretLogin, Session};
        for (condition, code, text, step, reason) in [
            (No, "UNAVAILABLE", "Temporary authentication failure", RevealingLogin, Temporary),
            (No, "UNAVAILABLE", "Authentication failed", RevealingLogin, Temporary),
            (No, "INUSE", "x", Command, Temporary),
            (No, "LIMIT", "LOGIN Rate limit hit", RevealingLogin, Temporary),
            (No, "SERVERBUG", "Authentication failed", RevealingLogin, Temporary),
            (No, "OVERQUOTA", "Account exceeded command or bandwidth limits", Command, Temporary),
            (No, "AUTHENTICATIONFAILED", "try again later", RevealingLogin, WrongCredentials),
            (No, "authenticationfailed", "x", SecretLogin, WrongCredentials),
            (No, "AUTHORIZATIONFAILED", "x", RevealingLogin, NotAuthorized),
            (No, "EXPIRED", "x", RevealingLogin, Expired),
            (No, "PRIVACYREQUIRED", "x", RevealingLogin, NeedsTls),
            (No, "CONTACTADMIN", "x", RevealingLogin, NeedsAdministrator),
            (No, "WEBALERT https://x.example", "Web login required.", RevealingLogin, NeedsBrowser),
            (No, "ALERT", "Too many simultaneous connections. (CommandError)", RevealingLogin, Temporary),
            (No, "ALERT", "Invalid credentials (CommandError)", RevealingLogin, WrongCredentials),
            (
                No,
                "ALERT",
                "Application-specific password required: https://x",
                RevealingLogin,
                WrongCredentials,
            ),
            (No, "ALERT", "Please log in via your web browser", RevealingLogin, NeedsBrowser),
            (No, "", "LOGIN failed.", RevealingLogin, WrongCredentials),
            (No, "", "no", RevealingLogin, Refused),
            (No, "", "bad protocol / cancel", SecretLogin, Mechanism),
            (No, "", "bad protocol / cancel", RevealingLogin, Refused),
            (Bad, "", "unknown", SecretLogin, Mechanism),
            (Bad, "", "unknown", RevealingLogin, NotUnderstood),
            (Bad, "", "Request is throttled. Suggested Backoff Time: 299 milliseconds", Command, Temporary),
            (Bad, "", "User is authenticated but not connected.", Command, Temporary),
            (No, "", "Server Unavailable. 15", Command, Temporary),
            (No, "", "no such mailbox", Command, Refused),
            (Bad, "", "syntax", Command, NotUnderstood),
            (Bye, "", "", Session, Temporary),
            (Bye, "ALERT", "Too many simultaneous connections. (CommandError)", Session, Temporary),
            (Bye, "AUTHENTICATIONFAILED", "x", Session, WrongCredentials),
        ] {
            assert_eq!(imap(condition, code, text, step), reason, "{condition:?} [{code}] {text}");
        }
    }

    #[test]
    fn smtp_reason_follows_the_codes_before_the_text() {
        use RefusalReason::*;
        use RefusedStep::{Command, RevealingLogin, SecretLogin, Session};
        for (reply, step, reason) in [
            ("454 4.7.0 Temporary authentication failure", RevealingLogin, Temporary),
            ("421 4.7.0 Too many connections", Session, Temporary),
            ("432 4.7.12 A password transition is needed", RevealingLogin, Temporary),
            ("535 5.7.8 Authentication credentials invalid", RevealingLogin, WrongCredentials),
            ("535 Error: authentication failed", RevealingLogin, WrongCredentials),
            ("535 no", RevealingLogin, WrongCredentials),
            ("535 5.7.0 no", RevealingLogin, Refused),
            ("535 5.7.0 too many failed attempts, try again later", RevealingLogin, Temporary),
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled",
                RevealingLogin,
                Refused,
            ),
            ("538 5.7.11 Encryption required", RevealingLogin, NeedsTls),
            ("525 5.7.13 User account disabled", RevealingLogin, NeedsAdministrator),
            ("534 5.7.9 Mechanism is too weak", SecretLogin, Mechanism),
            ("534 5.7.9 Application-specific password required.", RevealingLogin, WrongCredentials),
            ("534 5.7.14 Please log in via your web browser", RevealingLogin, NeedsBrowser),
            ("534 5.7.9 Mechanism is too weak", RevealingLogin, Refused),
            ("504 5.5.4 Unrecognized authentication type", SecretLogin, Mechanism),
            ("501 5.5.2 Cannot decode", SecretLogin, Mechanism),
            ("535 5.7.0 bad protocol / cancel", SecretLogin, Mechanism),
            ("554 5.7.1 Service unavailable; Client host blocked", Session, Temporary),
            ("554 5.7.1 not you", Session, Refused),
            ("550 5.1.1 no such user", Command, Refused),
        ] {
            let response: Response<'static> = reply.parse().unwrap();
            assert_eq!(smtp_refusal_reason(&response, step), reason, "{reply}");
        }
    }
}
