//! The errors for a server's refusals: exit code, text and advice.
//!
//! `check`, `folders`, `sync` and `send` all use it. [`refusal_reason`](crate::refusal_reason) decides what a refusal means.

use proto_imap::types::{Condition, StatusResponse};
use proto_smtp::types::Response;

use crate::command_error::{CommandError, ExitCode};
use crate::refusal_reason::{RefusalReason, RefusedStep, imap_refusal_reason, smtp_refusal_reason};
use crate::server_reply::ServerReply;

/// The kind of credentials that were used. It decides the advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialKind {
    Password,
    Token,
}

/// Returns the error for a refused login.
pub(crate) fn login_error(
    reason: RefusalReason,
    reply: ServerReply,
    credentials: CredentialKind,
) -> CommandError {
    let (exit_code, what, advice) = match (reason, credentials) {
        (RefusalReason::Temporary, _) => {
            (ExitCode::TryAgain, "the server cannot log the user in at the moment", "try again later")
        }
        (RefusalReason::WrongCredentials, CredentialKind::Password) => (
            ExitCode::Refused,
            "the server refused the login",
            "check the user name and the password; many providers require an app password or an OAuth token (--token-command)",
        ),
        (RefusalReason::WrongCredentials | RefusalReason::Expired, CredentialKind::Token) => (
            ExitCode::Refused,
            "the server refused the access token: it may have expired",
            "sign in again, so that --token-command prints a new token; the token must be for this user and allow mail access",
        ),
        (RefusalReason::Expired, CredentialKind::Password) => {
            (ExitCode::Refused, "the password has expired", "set a new password with the provider")
        }
        (RefusalReason::NotAuthorized, _) => (
            ExitCode::Refused,
            "the server does not let this user log in",
            "ask the provider whether this account may use IMAP or SMTP",
        ),
        (RefusalReason::NeedsTls, _) => (
            ExitCode::Refused,
            "the server accepts no login without TLS",
            "remove --danger-cleartext, or use imaps:// or smtps://",
        ),
        (RefusalReason::NeedsAdministrator, _) => (
            ExitCode::Refused,
            "the server refused the login",
            "ask the server's administrator: the reply says that only they can help",
        ),
        (RefusalReason::NeedsBrowser, _) => (
            ExitCode::Refused,
            "the server requires a login with a browser first",
            "follow the instructions in the server's reply, then try again",
        ),
        (RefusalReason::Mechanism, _) => (
            ExitCode::Refused,
            "the server refused the authentication mechanism",
            "choose another one with --mechanism; PLAIN and LOGIN reveal the password to the server",
        ),
        (RefusalReason::NotUnderstood, _) => {
            (ExitCode::Protocol, "the server does not understand the login", "choose another --mechanism")
        }
        (RefusalReason::Refused, _) => {
            (ExitCode::Refused, "the server refused the login", "see the reason in the server's reply above")
        }
    };
    CommandError::refused(exit_code, what, reply).advise(advice)
}

/// Returns the error for a refused IMAP command. `what` says what the server refused.
pub(crate) fn imap_command_error(status: &StatusResponse<'_>, what: &str) -> CommandError {
    let reply = ServerReply::imap(status);
    let reason = imap_refusal_reason(&reply, status.condition, RefusedStep::Command);
    error_for(reason, what, reply)
}

/// Returns the error for BYE. `what` says what the server did.
pub(crate) fn imap_bye_error(reply: ServerReply, what: &str) -> CommandError {
    let reason = imap_refusal_reason(&reply, Condition::Bye, RefusedStep::Session);
    error_for(reason, what, reply)
}

/// Returns the error for an SMTP server that ends the session: in its greeting, after EHLO, or with 421.
pub(crate) fn smtp_session_error(response: &Response<'_>) -> CommandError {
    smtp_reply_error(response, RefusedStep::Session, "the server refuses to serve")
}

/// Returns the error for a refused SMTP command. `what` says what the server refused.
pub(crate) fn smtp_reply_error(response: &Response<'_>, step: RefusedStep, what: &str) -> CommandError {
    error_for(smtp_refusal_reason(response, step), what, ServerReply::smtp(response))
}

fn error_for(reason: RefusalReason, what: &str, reply: ServerReply) -> CommandError {
    let (exit_code, advice) = match reason {
        RefusalReason::Temporary => (ExitCode::TryAgain, Some("try again later")),
        RefusalReason::NotUnderstood | RefusalReason::Mechanism => (ExitCode::Protocol, None),
        RefusalReason::NeedsAdministrator => (ExitCode::Unavailable, Some("ask the server's administrator")),
        RefusalReason::NeedsBrowser => {
            (ExitCode::Refused, Some("follow the instructions in the server's reply, then try again"))
        }
        RefusalReason::NeedsTls => (ExitCode::Refused, Some("use imaps:// or smtps://")),
        RefusalReason::WrongCredentials | RefusalReason::Expired => (ExitCode::Refused, Some("log in again")),
        RefusalReason::NotAuthorized => {
            (ExitCode::Unavailable, Some("ask for the right to do this on the server"))
        }
        RefusalReason::Refused => (ExitCode::Unavailable, None),
    };
    let failure = CommandError::refused(exit_code, what, reply);
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
        for reason in [
            RefusalReason::Temporary,
            RefusalReason::NotAuthorized,
            RefusalReason::NeedsTls,
            RefusalReason::NeedsAdministrator,
            RefusalReason::NeedsBrowser,
            RefusalReason::Refused,
            RefusalReason::NotUnderstood,
        ] {
            let failure = login_error(reason, reply(), CredentialKind::Password);
            assert!(!failure.to_string().contains("password"), "{reason:?}: {failure}");
        }
        let failure = login_error(RefusalReason::WrongCredentials, reply(), CredentialKind::Password);
        assert!(failure.to_string().contains("app password"), "{failure}");
        assert_eq!(
            login_error(RefusalReason::Temporary, reply(), CredentialKind::Token).exit_code,
            ExitCode::TryAgain
        );
    }

    #[test]
    fn stored_text_omits_the_server_reply_except_known_codes() {
        let (reply, _) = ServerReply::from_line("a NO [UNAVAILABLE] ann@x.example\u{1b}[2J\r\nforged");
        let failure = error_for(RefusalReason::Temporary, "the server refused LIST", reply);
        assert!(failure.what.contains("[UNAVAILABLE] ann@x.example"), "{failure}");
        assert!(!failure.what.chars().any(char::is_control), "{failure:?}");
        assert_eq!(failure.storable(), "the server refused LIST (UNAVAILABLE)");
        let own = ServerReply { code: Some("ann".into()), text: String::new(), condition: Some("NO") };
        assert_eq!(error_for(RefusalReason::Refused, "refused", own).storable(), "refused");
    }
}
