//! The errors for a server's refusals: exit code, text and advice.
//!
//! [`refusal`](crate::refusal) decides what a refusal means.

use std::borrow::Cow;

use proto_imap::types::{Condition, StatusResponse};
use proto_smtp::types::Response;

use crate::error::{Error, ErrorKind, Hint};
use crate::refusal::{RefusalReason, RefusedStep, imap_refusal_reason, smtp_refusal_reason};
use crate::server_reply::ServerReply;

/// The kind of credentials that were used. It decides the advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialKind {
    Password,
    Token,
}

/// Returns the error for a refused login.
pub(crate) fn login_error(reason: RefusalReason, reply: ServerReply, credentials: CredentialKind) -> Error {
    let text = |text| Hint::Text(Cow::Borrowed(text));
    let (kind, what, advice) = match (reason, credentials) {
        (RefusalReason::Temporary, _) => {
            (ErrorKind::Temporary, "the server cannot log the user in at the moment", Hint::TRY_LATER)
        }
        (RefusalReason::WrongCredentials, CredentialKind::Password) => {
            (ErrorKind::Refused, "the server refused the login", Hint::CheckPassword)
        }
        (RefusalReason::WrongCredentials | RefusalReason::Expired, CredentialKind::Token) => {
            (ErrorKind::Refused, "the server refused the access token: it may have expired", Hint::RenewToken)
        }
        (RefusalReason::Expired, CredentialKind::Password) => {
            (ErrorKind::Refused, "the password has expired", text("set a new password with the provider"))
        }
        (RefusalReason::NotAuthorized, _) => (
            ErrorKind::Refused,
            "the server does not let this user log in",
            text("ask the provider whether this account may use IMAP or SMTP"),
        ),
        (RefusalReason::NeedsTls, _) => {
            (ErrorKind::Refused, "the server accepts no login without TLS", Hint::NeedsTls)
        }
        (RefusalReason::NeedsAdministrator, _) => (
            ErrorKind::Refused,
            "the server refused the login",
            text("ask the server's administrator: the reply says that only they can help"),
        ),
        (RefusalReason::NeedsBrowser, _) => (
            ErrorKind::Refused,
            "the server requires a login with a browser first",
            text("follow the instructions in the server's reply, then try again"),
        ),
        (RefusalReason::Mechanism, _) => {
            (ErrorKind::Refused, "the server refused the authentication mechanism", Hint::ChooseMechanism)
        }
        (RefusalReason::NotUnderstood, _) => {
            (ErrorKind::Protocol, "the server does not understand the login", Hint::ChooseOtherMechanism)
        }
        (RefusalReason::Refused, _) => (
            ErrorKind::Refused,
            "the server refused the login",
            text("see the reason in the server's reply above"),
        ),
    };
    Error::refused(kind, what, reply).with_hint(advice)
}

/// Returns the error for a refused IMAP command. `what` says what the server refused.
#[must_use]
pub fn imap_command_error(status: &StatusResponse<'_>, what: &str) -> Error {
    let reply = ServerReply::imap(status);
    let reason = imap_refusal_reason(&reply, status.condition, RefusedStep::Command);
    error_for(reason, what, reply)
}

/// Returns the error for BYE. `what` says what the server did.
pub(crate) fn imap_bye_error(reply: ServerReply, what: &str) -> Error {
    let reason = imap_refusal_reason(&reply, Condition::Bye, RefusedStep::Session);
    error_for(reason, what, reply)
}

/// Returns the error for an SMTP server that ends the session: in its greeting, after EHLO, or with 421.
pub(crate) fn smtp_session_error(response: &Response<'_>) -> Error {
    smtp_reply_error(response, RefusedStep::Session, "the server refuses to serve")
}

/// Returns the error for a refused SMTP command. `what` says what the server refused.
#[must_use]
pub fn smtp_reply_error(response: &Response<'_>, step: RefusedStep, what: &str) -> Error {
    error_for(smtp_refusal_reason(response, step), what, ServerReply::smtp(response))
}

fn error_for(reason: RefusalReason, what: &str, reply: ServerReply) -> Error {
    let (kind, advice) = match reason {
        RefusalReason::Temporary => (ErrorKind::Temporary, Some("try again later")),
        RefusalReason::NotUnderstood | RefusalReason::Mechanism => (ErrorKind::Protocol, None),
        RefusalReason::NeedsAdministrator => (ErrorKind::Unavailable, Some("ask the server's administrator")),
        RefusalReason::NeedsBrowser => {
            (ErrorKind::Refused, Some("follow the instructions in the server's reply, then try again"))
        }
        RefusalReason::NeedsTls => (ErrorKind::Refused, Some("use imaps:// or smtps://")),
        RefusalReason::WrongCredentials | RefusalReason::Expired => {
            (ErrorKind::Refused, Some("log in again"))
        }
        RefusalReason::NotAuthorized => {
            (ErrorKind::Unavailable, Some("ask for the right to do this on the server"))
        }
        RefusalReason::Refused => (ErrorKind::Unavailable, None),
    };
    let failure = Error::refused(kind, what, reply);
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
            login_error(RefusalReason::Temporary, reply(), CredentialKind::Token).kind(),
            ErrorKind::Temporary
        );
    }

    #[test]
    fn stored_text_omits_the_server_reply_except_known_codes() {
        let (reply, _) = ServerReply::from_line("a NO [UNAVAILABLE] ann@x.example\u{1b}[2J\r\nforged");
        let failure = error_for(RefusalReason::Temporary, "the server refused LIST", reply);
        assert!(failure.message().contains("[UNAVAILABLE] ann@x.example"), "{failure}");
        assert!(!failure.message().chars().any(char::is_control), "{failure:?}");
        assert_eq!(failure.storable(), "the server refused LIST (UNAVAILABLE)");
        let own = ServerReply { code: Some("ann".into()), text: String::new(), condition: Some("NO") };
        assert_eq!(error_for(RefusalReason::Refused, "refused", own).storable(), "refused");
    }
}
