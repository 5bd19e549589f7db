//! What a server's refusal means: try again later, wrong credentials, another mechanism, or no.
//!
//! The response code decides (RFC 5530, RFC 4954 §6, RFC 3463); only where a server sends none do its words count.
//! `check`, `folders`, `sync` and `send` all ask here.

use std::borrow::Cow;

use proto_imap::types::{Condition, ResponseCode, StatusResponse};
use proto_smtp::types::Response;
use serde::Serialize;

use crate::failure::{Failure, Kind};

/// The longest text of a server that is kept, in bytes.
const LONGEST_TEXT: usize = 1000;

/// What a server said when it refused something. It may hold a user name: it is shown and never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ServerReply {
    /// The response code with its argument (`UNAVAILABLE`), or the reply code of SMTP with its enhanced code
    /// (`535 5.7.8`); none if the server sent none.
    pub(crate) code: Option<String>,
    /// The server's words, without control characters.
    pub(crate) text: String,
    /// `NO`, `BAD` or `BYE` of IMAP; absent in SMTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) condition: Option<&'static str>,
}

impl ServerReply {
    /// What an IMAP status response says.
    pub(crate) fn imap(status: &StatusResponse<'_>) -> Self {
        let code = status.code.as_ref().map(|code| readable(&imap_code(code)));
        Self { code, text: readable(&status.text.to_str_lossy()), condition: Some(status.condition.as_str()) }
    }

    /// What an SMTP reply says.
    pub(crate) fn smtp(response: &Response<'_>) -> Self {
        let code = match response.enhanced() {
            Some(enhanced) => format!("{} {enhanced}", response.code()),
            None => response.code().to_string(),
        };
        Self { code: Some(code), text: readable(&response.text()), condition: None }
    }

    /// What a whole SMTP reply says that is kept as text, `535 5.7.8 No.`
    pub(crate) fn from_smtp_text(reply: &str) -> Self {
        match reply.parse::<Response<'static>>() {
            Ok(response) => Self::smtp(&response),
            Err(_) => Self { code: None, text: readable(reply), condition: None },
        }
    }

    /// What a line of a server says that no machine has read, and whether it means that trying again later may help:
    /// `454 4.7.0 Not now`, `a NO [UNAVAILABLE] Not now` or `* BYE`.
    pub(crate) fn from_line(line: &str) -> (Self, bool) {
        let mut words = line.splitn(3, ' ');
        let _tag = words.next();
        let named = words.next().unwrap_or_default();
        let conditions = [Condition::No, Condition::Bad, Condition::Bye];
        let Some(condition) = conditions.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(named))
        else {
            return (Self::from_smtp_text(line), line.starts_with('4'));
        };
        let rest = words.next().unwrap_or_default();
        let (code, text) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((code, text)) => (Some(readable(code)), text),
            None => (None, rest),
        };
        let reply = Self { code, text: readable(text), condition: Some(condition.as_str()) };
        let says_later = imap_verdict(&reply, condition, During::Command) == Verdict::Temporary;
        (reply, says_later)
    }

    /// The name of the response code, without its argument, if it is one of the known ones: the only part that says
    /// nothing about the user.
    pub(crate) fn known_code(&self) -> Option<&str> {
        let code = self.code.as_deref()?;
        if self.condition.is_none() {
            return Some(code);
        }
        let name = code.split(' ').next().unwrap_or_default();
        IMAP_CODES.iter().map(|(known, _)| *known).find(|known| known.eq_ignore_ascii_case(name))
    }
}

impl std::fmt::Display for ServerReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(condition) = self.condition {
            write!(f, "{condition} ")?;
        }
        match (&self.code, self.condition) {
            (Some(code), Some(_)) => write!(f, "[{code}] ")?,
            (Some(code), None) => write!(f, "{code} ")?,
            (None, _) => {}
        }
        f.write_str(&self.text)
    }
}

/// Text of a server with its control characters replaced, and not too long.
fn readable(text: &str) -> String {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = text.get(..end).unwrap_or_default().trim();
    kept.chars()
        .map(|char| match char {
            '\n' | '\t' => ' ',
            char if char.is_control() => char::REPLACEMENT_CHARACTER,
            char => char,
        })
        .collect()
}

fn imap_code<'c>(code: &ResponseCode<'c>) -> Cow<'c, str> {
    match code {
        ResponseCode::Plain(code) => Cow::Borrowed(code.as_str()),
        ResponseCode::Other { name, argument } => {
            let argument = argument.map(|text| format!(" {}", text.to_str_lossy())).unwrap_or_default();
            Cow::Owned(format!("{}{argument}", name.to_str_lossy()))
        }
        ResponseCode::Capability(_) => Cow::Borrowed("CAPABILITY"),
        ResponseCode::Referral(url) => Cow::Owned(format!("REFERRAL {}", url.to_str_lossy())),
        _ => Cow::Borrowed("OTHER"),
    }
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    /// The connection: greeting, EHLO, or a good-bye in the middle.
    Session,
    /// A log-in by something that reveals the password or token to the server.
    LogIn,
    /// A log-in by a mechanism that reveals nothing.
    SecretLogIn,
    /// Any other command.
    Command,
}

impl During {
    const fn is_log_in(self) -> bool {
        matches!(self, Self::LogIn | Self::SecretLogIn)
    }
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same may well succeed later.
    Temporary,
    /// The server says that user name, password or token are wrong.
    WrongCredentials,
    /// The password or token has expired.
    Expired,
    /// The user may not do this.
    NotAuthorized,
    /// Only over TLS.
    NeedsTls,
    /// The administrator of the server has to do something.
    NeedsAdministrator,
    /// The user has to log in with a browser first.
    NeedsBrowser,
    /// The mechanism was refused, and nothing was said of the password.
    Mechanism,
    /// No, for good as far as is known.
    Refused,
    /// The server does not understand the command.
    NotUnderstood,
}

/// What the response codes of IMAP mean. `ALERT` and those that are not here leave it to the words.
const IMAP_CODES: &[(&str, Option<Verdict>)] = &[
    ("UNAVAILABLE", Some(Verdict::Temporary)),
    ("INUSE", Some(Verdict::Temporary)),
    ("LIMIT", Some(Verdict::Temporary)),
    ("SERVERBUG", Some(Verdict::Temporary)),
    ("TEMPFAIL", Some(Verdict::Temporary)),
    ("THROTTLED", Some(Verdict::Temporary)),
    ("EXPUNGEISSUED", Some(Verdict::Temporary)),
    // Nothing is stored by the commands that ask here: it is a quota of commands or bytes (Gmail).
    ("OVERQUOTA", Some(Verdict::Temporary)),
    ("AUTHENTICATIONFAILED", Some(Verdict::WrongCredentials)),
    ("AUTHORIZATIONFAILED", Some(Verdict::NotAuthorized)),
    ("NOPERM", Some(Verdict::NotAuthorized)),
    ("EXPIRED", Some(Verdict::Expired)),
    ("PRIVACYREQUIRED", Some(Verdict::NeedsTls)),
    ("CONTACTADMIN", Some(Verdict::NeedsAdministrator)),
    ("CORRUPTION", Some(Verdict::NeedsAdministrator)),
    ("WEBALERT", Some(Verdict::NeedsBrowser)),
    ("NONEXISTENT", Some(Verdict::Refused)),
    ("CANNOT", Some(Verdict::Refused)),
    ("TOOBIG", Some(Verdict::Refused)),
    ("CLIENTBUG", Some(Verdict::NotUnderstood)),
    ("ALERT", None),
    ("PARSE", None),
];

/// What an IMAP server means by NO, BAD or BYE.
pub(crate) fn imap_verdict(reply: &ServerReply, condition: Condition, during: During) -> Verdict {
    let name = reply.code.as_deref().and_then(|code| code.split(' ').next()).unwrap_or_default();
    let by_code = IMAP_CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    if let Some((_, Some(verdict))) = by_code {
        return *verdict;
    }
    if condition == Condition::Bye {
        return Verdict::Temporary;
    }
    match by_words(&reply.text, during) {
        Some(verdict) => verdict,
        None if condition != Condition::Bad => Verdict::Refused,
        None if during == During::SecretLogIn => Verdict::Mechanism,
        None => Verdict::NotUnderstood,
    }
}

/// What an SMTP server means by a reply of 4yz or 5yz.
pub(crate) fn smtp_verdict(code: u16, enhanced: Option<(u16, u16)>, text: &str, during: During) -> Verdict {
    if code < 500 {
        return Verdict::Temporary;
    }
    if during.is_log_in() {
        let by_code = match (code, enhanced) {
            (_, Some((7, 8))) => Some(Verdict::WrongCredentials),
            (_, Some((7, 11))) | (538, _) => Some(Verdict::NeedsTls),
            (_, Some((7, 13))) => Some(Verdict::NeedsAdministrator),
            // 504 and 5.5.4: unknown; 500 to 503: the exchange makes no sense to it.
            (500..=504, _) | (_, Some((5, _))) => Some(Verdict::Mechanism),
            // 5.7.9: too weak. With PLAIN it says what else the account needs, in words.
            (_, Some((7, 9))) | (534, _) if during == During::SecretLogIn => Some(Verdict::Mechanism),
            _ => None,
        };
        let by_code = by_code.or_else(|| by_words(text, during));
        // RFC 4954 §6: without an enhanced code, 535 says that the credentials are not valid.
        return by_code.unwrap_or(match (code, enhanced) {
            (535, None) => Verdict::WrongCredentials,
            _ => Verdict::Refused,
        });
    }
    by_words(text, during).filter(|verdict| *verdict == Verdict::Temporary).unwrap_or(Verdict::Refused)
}

/// What is said where no code says it, in lower case. Throttling comes as NO, BAD or 5yz with words only.
fn by_words(text: &str, during: During) -> Option<Verdict> {
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
        Some(Verdict::Temporary)
    } else if during == During::SecretLogIn && says(MECHANISM) {
        Some(Verdict::Mechanism)
    } else if during.is_log_in() && says(BROWSER) {
        Some(Verdict::NeedsBrowser)
    } else if during.is_log_in() && text.contains("expired") {
        Some(Verdict::Expired)
    } else if during.is_log_in() && says(WRONG) {
        Some(Verdict::WrongCredentials)
    } else if says(LATER) {
        Some(Verdict::Temporary)
    } else {
        None
    }
}

/// What the proof of a user was: it decides the advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Password,
    Token,
}

/// A refused log-in as the user sees it.
pub(crate) fn log_in_failure(verdict: Verdict, reply: ServerReply, proof: Proof) -> Failure {
    let (kind, what, advice) = match (verdict, proof) {
        (Verdict::Temporary, _) => {
            (Kind::TryAgain, "the server cannot log the user in now", "try again later")
        }
        (Verdict::WrongCredentials, Proof::Password) => (
            Kind::Refused,
            "the server refused the log-in",
            "check user name and password; many providers want an app password, or an OAuth token (--token-command)",
        ),
        (Verdict::WrongCredentials | Verdict::Expired, Proof::Token) => (
            Kind::Refused,
            "the server refused the access token: it may have expired",
            "sign in again, so that --token-command prints a new token; it must be for this user and allow mail",
        ),
        (Verdict::Expired, Proof::Password) => {
            (Kind::Refused, "the password has expired", "set a new password at the provider")
        }
        (Verdict::NotAuthorized, _) => (
            Kind::Refused,
            "the server does not let this user in",
            "check with the provider that this account may use IMAP or SMTP",
        ),
        (Verdict::NeedsTls, _) => (
            Kind::Refused,
            "the server takes no log-in without TLS",
            "leave --danger-cleartext out, or use imaps:// or smtps://",
        ),
        (Verdict::NeedsAdministrator, _) => (
            Kind::Refused,
            "the server refused the log-in",
            "ask the administrator of the server: it says that only they can help",
        ),
        (Verdict::NeedsBrowser, _) => (
            Kind::Refused,
            "the server wants a log-in with a browser first",
            "follow the address or the words of the server, then try again",
        ),
        (Verdict::Mechanism, _) => (
            Kind::Refused,
            "the server refused the mechanism",
            "name another one with --mechanism; PLAIN and LOGIN reveal the password to the server",
        ),
        (Verdict::NotUnderstood, _) => {
            (Kind::Protocol, "the server does not understand the log-in", "another --mechanism")
        }
        (Verdict::Refused, _) => (
            Kind::Refused,
            "the server refused the log-in",
            "the server gives no reason that a program knows: its words are above",
        ),
    };
    Failure::said(kind, what, reply).advise(advice)
}

/// A refused command of IMAP as the user sees it.
pub(crate) fn imap_command(status: &StatusResponse<'_>, what: &str) -> Failure {
    let reply = ServerReply::imap(status);
    let verdict = imap_verdict(&reply, status.condition, During::Command);
    command_failure(verdict, what, reply)
}

/// The server says good-bye, in its greeting or later.
pub(crate) fn imap_bye(reply: ServerReply, at_greeting: bool) -> Failure {
    let verdict = imap_verdict(&reply, Condition::Bye, During::Session);
    let what = if at_greeting { "the server refuses the connection" } else { "the server ended the session" };
    command_failure(verdict, what, reply)
}

/// An SMTP server does not go on: in its greeting, after EHLO, or with 421 at any time.
pub(crate) fn smtp_session(response: &Response<'_>) -> Failure {
    smtp_reply(response, During::Session, "the server refuses to serve")
}

/// A refused command of SMTP as the user sees it.
pub(crate) fn smtp_reply(response: &Response<'_>, during: During, what: &str) -> Failure {
    command_failure(smtp_response_verdict(response, during), what, ServerReply::smtp(response))
}

/// What an SMTP server means by a reply.
pub(crate) fn smtp_response_verdict(response: &Response<'_>, during: During) -> Verdict {
    let enhanced = response.enhanced().map(|enhanced| (enhanced.subject(), enhanced.detail()));
    smtp_verdict(response.code().get(), enhanced, &response.text(), during)
}

fn command_failure(verdict: Verdict, what: &str, reply: ServerReply) -> Failure {
    let (kind, advice) = match verdict {
        Verdict::Temporary => (Kind::TryAgain, Some("try again later")),
        Verdict::NotUnderstood | Verdict::Mechanism => (Kind::Protocol, None),
        Verdict::NeedsAdministrator => (Kind::Unavailable, Some("ask the administrator of the server")),
        Verdict::NeedsBrowser => (Kind::Refused, Some("follow the words of the server, then try again")),
        Verdict::NeedsTls => (Kind::Refused, Some("use imaps:// or smtps://")),
        Verdict::WrongCredentials | Verdict::Expired => (Kind::Refused, Some("log in again")),
        Verdict::NotAuthorized => {
            (Kind::Unavailable, Some("the user's rights on the server do not allow it"))
        }
        Verdict::Refused => (Kind::Unavailable, None),
    };
    let failure = Failure::said(kind, what, reply);
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imap(condition: Condition, code: &str, text: &str, during: During) -> Verdict {
        let code = (!code.is_empty()).then(|| code.to_owned());
        let reply = ServerReply { code, text: text.to_owned(), condition: Some(condition.as_str()) };
        imap_verdict(&reply, condition, during)
    }

    #[test]
    fn the_code_of_imap_decides_and_words_only_without_one() {
        use Condition::{Bad, Bye, No};
        use During::{Command, LogIn, SecretLogIn, Session};
        use Verdict::*;
        for (condition, code, text, during, verdict) in [
            (No, "UNAVAILABLE", "Temporary authentication failure", LogIn, Temporary),
            (No, "UNAVAILABLE", "Authentication failed", LogIn, Temporary),
            (No, "INUSE", "x", Command, Temporary),
            (No, "LIMIT", "LOGIN Rate limit hit", LogIn, Temporary),
            (No, "SERVERBUG", "Authentication failed", LogIn, Temporary),
            (No, "OVERQUOTA", "Account exceeded command or bandwidth limits", Command, Temporary),
            (No, "AUTHENTICATIONFAILED", "try again later", LogIn, WrongCredentials),
            (No, "authenticationfailed", "x", SecretLogIn, WrongCredentials),
            (No, "AUTHORIZATIONFAILED", "x", LogIn, NotAuthorized),
            (No, "EXPIRED", "x", LogIn, Expired),
            (No, "PRIVACYREQUIRED", "x", LogIn, NeedsTls),
            (No, "CONTACTADMIN", "x", LogIn, NeedsAdministrator),
            (No, "WEBALERT https://x.example", "Web login required.", LogIn, NeedsBrowser),
            (No, "ALERT", "Too many simultaneous connections. (Failure)", LogIn, Temporary),
            (No, "ALERT", "Invalid credentials (Failure)", LogIn, WrongCredentials),
            (No, "ALERT", "Application-specific password required: https://x", LogIn, WrongCredentials),
            (No, "ALERT", "Please log in via your web browser", LogIn, NeedsBrowser),
            (No, "", "LOGIN failed.", LogIn, WrongCredentials),
            (No, "", "no", LogIn, Refused),
            (No, "", "bad protocol / cancel", SecretLogIn, Mechanism),
            (No, "", "bad protocol / cancel", LogIn, Refused),
            (Bad, "", "unknown", SecretLogIn, Mechanism),
            (Bad, "", "unknown", LogIn, NotUnderstood),
            (Bad, "", "Request is throttled. Suggested Backoff Time: 299 milliseconds", Command, Temporary),
            (Bad, "", "User is authenticated but not connected.", Command, Temporary),
            (No, "", "Server Unavailable. 15", Command, Temporary),
            (No, "", "no such mailbox", Command, Refused),
            (Bad, "", "syntax", Command, NotUnderstood),
            (Bye, "", "", Session, Temporary),
            (Bye, "ALERT", "Too many simultaneous connections. (Failure)", Session, Temporary),
            (Bye, "AUTHENTICATIONFAILED", "x", Session, WrongCredentials),
        ] {
            assert_eq!(imap(condition, code, text, during), verdict, "{condition:?} [{code}] {text}");
        }
    }

    #[test]
    fn the_codes_of_smtp_decide_and_words_only_without_one() {
        use During::{Command, LogIn, SecretLogIn, Session};
        use Verdict::*;
        for (reply, during, verdict) in [
            ("454 4.7.0 Temporary authentication failure", LogIn, Temporary),
            ("421 4.7.0 Too many connections", Session, Temporary),
            ("432 4.7.12 A password transition is needed", LogIn, Temporary),
            ("535 5.7.8 Authentication credentials invalid", LogIn, WrongCredentials),
            ("535 Error: authentication failed", LogIn, WrongCredentials),
            ("535 no", LogIn, WrongCredentials),
            ("535 5.7.0 no", LogIn, Refused),
            ("535 5.7.0 too many failed attempts, try again later", LogIn, Temporary),
            ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled", LogIn, Refused),
            ("538 5.7.11 Encryption required", LogIn, NeedsTls),
            ("525 5.7.13 User account disabled", LogIn, NeedsAdministrator),
            ("534 5.7.9 Mechanism is too weak", SecretLogIn, Mechanism),
            ("534 5.7.9 Application-specific password required.", LogIn, WrongCredentials),
            ("534 5.7.14 Please log in via your web browser", LogIn, NeedsBrowser),
            ("534 5.7.9 Mechanism is too weak", LogIn, Refused),
            ("504 5.5.4 Unrecognized authentication type", SecretLogIn, Mechanism),
            ("501 5.5.2 Cannot decode", SecretLogIn, Mechanism),
            ("535 5.7.0 bad protocol / cancel", SecretLogIn, Mechanism),
            ("554 5.7.1 Service unavailable; Client host blocked", Session, Temporary),
            ("554 5.7.1 not you", Session, Refused),
            ("550 5.1.1 no such user", Command, Refused),
        ] {
            let response: Response<'static> = reply.parse().unwrap();
            assert_eq!(smtp_response_verdict(&response, during), verdict, "{reply}");
        }
    }

    #[test]
    fn advice_about_the_password_needs_the_server_to_say_that_it_is_wrong() {
        let reply = || ServerReply { code: None, text: "no".to_owned(), condition: Some("NO") };
        for verdict in [
            Verdict::Temporary,
            Verdict::NotAuthorized,
            Verdict::NeedsTls,
            Verdict::NeedsAdministrator,
            Verdict::NeedsBrowser,
            Verdict::Refused,
            Verdict::NotUnderstood,
        ] {
            let failure = log_in_failure(verdict, reply(), Proof::Password);
            assert!(!failure.to_string().contains("password"), "{verdict:?}: {failure}");
        }
        let failure = log_in_failure(Verdict::WrongCredentials, reply(), Proof::Password);
        assert!(failure.to_string().contains("app password"), "{failure}");
        assert_eq!(log_in_failure(Verdict::Temporary, reply(), Proof::Token).kind, Kind::TryAgain);
    }

    #[test]
    fn words_are_shown_without_control_characters_and_never_kept() {
        let text = "ann@x.example\u{1b}[2J\r\nforged";
        let reply =
            ServerReply { code: Some("UNAVAILABLE".into()), text: readable(text), condition: Some("NO") };
        let failure = command_failure(Verdict::Temporary, "the server refused LIST", reply);
        assert!(failure.what.contains("[UNAVAILABLE] ann@x.example"), "{failure}");
        assert!(!failure.what.chars().any(char::is_control), "{failure:?}");
        assert_eq!(failure.to_keep(), "the server refused LIST (UNAVAILABLE)");
        let own = ServerReply { code: Some("ann".into()), text: String::new(), condition: Some("NO") };
        assert_eq!(command_failure(Verdict::Refused, "refused", own).to_keep(), "refused");
        assert!(readable(&"ä".repeat(5000)).len() <= LONGEST_TEXT);
    }
}
