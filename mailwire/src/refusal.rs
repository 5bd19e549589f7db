//! Turns a server's refusal into a [`Failure`]: exit code, text and advice.
//!
//! `check`, `folders`, `sync` and `send` all use it. [`verdict`](crate::verdict) decides what a refusal means.

use proto_imap::types::{Condition, StatusResponse};
use proto_smtp::types::Response;

use crate::failure::{Failure, Kind};
use crate::server_reply::ServerReply;
use crate::verdict::{During, Verdict, imap_verdict, smtp_verdict};

/// The kind of credentials that were used. It decides the advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialKind {
    Password,
    Token,
}

/// Returns the failure for a refused login.
pub(crate) fn login_failure(verdict: Verdict, reply: ServerReply, credentials: CredentialKind) -> Failure {
    let (kind, what, advice) = match (verdict, credentials) {
        (Verdict::Temporary, _) => {
            (Kind::TryAgain, "the server cannot log the user in at the moment", "try again later")
        }
        (Verdict::WrongCredentials, CredentialKind::Password) => (
            Kind::Refused,
            "the server refused the login",
            "check the user name and the password; many providers require an app password or an OAuth token (--token-command)",
        ),
        (Verdict::WrongCredentials | Verdict::Expired, CredentialKind::Token) => (
            Kind::Refused,
            "the server refused the access token: it may have expired",
            "sign in again, so that --token-command prints a new token; the token must be for this user and allow mail access",
        ),
        (Verdict::Expired, CredentialKind::Password) => {
            (Kind::Refused, "the password has expired", "set a new password with the provider")
        }
        (Verdict::NotAuthorized, _) => (
            Kind::Refused,
            "the server does not let this user log in",
            "ask the provider whether this account may use IMAP or SMTP",
        ),
        (Verdict::NeedsTls, _) => (
            Kind::Refused,
            "the server accepts no login without TLS",
            "remove --danger-cleartext, or use imaps:// or smtps://",
        ),
        (Verdict::NeedsAdministrator, _) => (
            Kind::Refused,
            "the server refused the login",
            "ask the server's administrator: the reply says that only they can help",
        ),
        (Verdict::NeedsBrowser, _) => (
            Kind::Refused,
            "the server requires a login with a browser first",
            "follow the instructions in the server's reply, then try again",
        ),
        (Verdict::Mechanism, _) => (
            Kind::Refused,
            "the server refused the authentication mechanism",
            "choose another one with --mechanism; PLAIN and LOGIN reveal the password to the server",
        ),
        (Verdict::NotUnderstood, _) => {
            (Kind::Protocol, "the server does not understand the login", "choose another --mechanism")
        }
        (Verdict::Refused, _) => {
            (Kind::Refused, "the server refused the login", "see the reason in the server's reply above")
        }
    };
    Failure::refused(kind, what, reply).advise(advice)
}

/// Returns the failure for a refused IMAP command. `what` says what the server refused.
pub(crate) fn imap_command(status: &StatusResponse<'_>, what: &str) -> Failure {
    let reply = ServerReply::imap(status);
    let verdict = imap_verdict(&reply, status.condition, During::Command);
    command_failure(verdict, what, reply)
}

/// Returns the failure for BYE, in the greeting or later.
pub(crate) fn imap_bye(reply: ServerReply, at_greeting: bool) -> Failure {
    let verdict = imap_verdict(&reply, Condition::Bye, During::Session);
    let what = if at_greeting { "the server refuses the connection" } else { "the server ended the session" };
    command_failure(verdict, what, reply)
}

/// Returns the failure for an SMTP server that ends the session: in its greeting, after EHLO, or with 421.
pub(crate) fn smtp_session(response: &Response<'_>) -> Failure {
    smtp_reply(response, During::Session, "the server refuses to serve")
}

/// Returns the failure for a refused SMTP command. `what` says what the server refused.
pub(crate) fn smtp_reply(response: &Response<'_>, during: During, what: &str) -> Failure {
    command_failure(smtp_verdict(response, during), what, ServerReply::smtp(response))
}

fn command_failure(verdict: Verdict, what: &str, reply: ServerReply) -> Failure {
    let (kind, advice) = match verdict {
        Verdict::Temporary => (Kind::TryAgain, Some("try again later")),
        Verdict::NotUnderstood | Verdict::Mechanism => (Kind::Protocol, None),
        Verdict::NeedsAdministrator => (Kind::Unavailable, Some("ask the server's administrator")),
        Verdict::NeedsBrowser => {
            (Kind::Refused, Some("follow the instructions in the server's reply, then try again"))
        }
        Verdict::NeedsTls => (Kind::Refused, Some("use imaps:// or smtps://")),
        Verdict::WrongCredentials | Verdict::Expired => (Kind::Refused, Some("log in again")),
        Verdict::NotAuthorized => (Kind::Unavailable, Some("ask for the right to do this on the server")),
        Verdict::Refused => (Kind::Unavailable, None),
    };
    let failure = Failure::refused(kind, what, reply);
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advises_about_the_password_only_if_the_server_says_it_is_wrong() {
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
            let failure = login_failure(verdict, reply(), CredentialKind::Password);
            assert!(!failure.to_string().contains("password"), "{verdict:?}: {failure}");
        }
        let failure = login_failure(Verdict::WrongCredentials, reply(), CredentialKind::Password);
        assert!(failure.to_string().contains("app password"), "{failure}");
        assert_eq!(login_failure(Verdict::Temporary, reply(), CredentialKind::Token).kind, Kind::TryAgain);
    }

    #[test]
    fn stored_text_omits_the_server_reply_except_known_codes() {
        let (reply, _) = ServerReply::from_line("a NO [UNAVAILABLE] ann@x.example\u{1b}[2J\r\nforged");
        let failure = command_failure(Verdict::Temporary, "the server refused LIST", reply);
        assert!(failure.what.contains("[UNAVAILABLE] ann@x.example"), "{failure}");
        assert!(!failure.what.chars().any(char::is_control), "{failure:?}");
        assert_eq!(failure.storable(), "the server refused LIST (UNAVAILABLE)");
        let own = ServerReply { code: Some("ann".into()), text: String::new(), condition: Some("NO") };
        assert_eq!(command_failure(Verdict::Refused, "refused", own).storable(), "refused");
    }
}
