//! The replies that the server gives without asking the application.

use proto_mail::{Error, Limit, PeerError};

use crate::command::Verb;
use crate::reply_code::{Code, Severity};
use crate::response::Response;
use crate::syntax::{SyntaxError, SyntaxFault};

pub(super) const ORDER: (u16, u16) = (5, 1);
pub(super) const NOT_RECOGNIZED: Response<'static> =
    Response::fixed(Code::SYNTAX, ORDER, "Command not recognized");
pub(super) const NOT_IMPLEMENTED: Response<'static> = Response::not_implemented();
pub(super) const LINE_TOO_LONG: Response<'static> = Response::fixed(Code::SYNTAX, (5, 2), "Line too long");
pub(super) const BARE_NEWLINE: Response<'static> =
    Response::fixed(Code::SYNTAX, (5, 2), "A bare CR, a bare LF or a NUL is not allowed");
pub(super) const BARE_NEWLINE_IN_DATA: Response<'static> =
    Response::fixed(Code::FAILED, (6, 0), "The message holds a bare CR, a bare LF or a NUL");
pub(super) const MESSAGE_TOO_LARGE: Response<'static> =
    Response::fixed(Code::TOO_LARGE, (3, 4), "The message is larger than the limit");
pub(super) const TOO_MANY_RECIPIENTS: Response<'static> =
    Response::fixed(Code::INSUFFICIENT_STORAGE, (5, 3), "Too many recipients in one transaction");
pub(super) const TOO_MANY_DOMAINS: Response<'static> =
    Response::fixed(Code::INSUFFICIENT_STORAGE, (5, 3), "Recipients of too many domains in one transaction");
pub(super) const TOO_MANY_MAILS: Response<'static> =
    Response::fixed(Code::UNAVAILABLE, (7, 0), "Too many messages in one session; open another");
pub(super) const TIME_TOO_SHORT: Response<'static> =
    Response::fixed(Code::FAILED, (4, 7), "The delivery time limit is too short");
pub(super) const HELD_TOO_LONG: Response<'static> =
    Response::fixed(Code::ARGUMENTS, (5, 4), "The hold time exceeds the limit");
pub(super) const UNWANTED: Response<'static> =
    Response::fixed(Code::MAILBOX_UNAVAILABLE, (7, 1), "No soliciting");
pub(super) const NEEDS_UTF8: Response<'static> =
    Response::fixed(Code::MAILBOX_NAME, (6, 7), "The address needs SMTPUTF8 with MAIL");
pub(super) const UNKNOWN_PARAMETER: Response<'static> =
    Response::fixed(Code::UNKNOWN_PARAMETER, (5, 4), "A parameter is not known or not offered here");
pub(super) const NEEDS_TLS: Response<'static> = Response::fixed(Code::REQUIRED, (7, 0), "Use STARTTLS first");
pub(super) const NEEDS_AUTHENTICATION: Response<'static> =
    Response::fixed(Code::REQUIRED, (7, 0), "Authentication required");
pub(super) const BINARY_NEEDS_CHUNKS: Response<'static> =
    Response::fixed(Code::BAD_SEQUENCE, ORDER, "A BINARYMIME message must be sent with BDAT");
pub(super) const CANNOT_VERIFY: Response<'static> = Response::fixed(
    Code::CANNOT_VERIFY,
    (5, 0),
    "Cannot verify the address; send the message to attempt delivery",
);
pub(super) const OK: Response<'static> = Response::ok();
pub(super) const CONTENT_ANALYSIS: Response<'static> =
    Response::fixed(Code::CONTENT_ANALYSIS, (0, 0), "Content analysis has started");
pub(super) const ACCEPTED: Response<'static> =
    Response::fixed(Code::OK, (0, 0), "Accepted for the recipients that were accepted above");
pub(super) const ACCEPTED_FOR_NONE: Response<'static> =
    Response::fixed(Code::MAILBOX_UNAVAILABLE, (0, 0), "Accepted for no recipient");
pub(super) const ACCEPTED_FOR_NONE_NOW: Response<'static> =
    Response::fixed(Code::MAILBOX_BUSY, (0, 0), "Accepted for no recipient now");
pub(super) const NO_SERVICE: Response<'static> = Response::fixed(Code::FAILED, (3, 2), "No service here");
pub(super) const CLOSING: Response<'static> = Response::fixed(Code::CLOSING, (0, 0), "Good-bye");

/// The last reply of a session that ends with an error.
pub(super) const FATAL_REPLIES: &[(Error, Response<'static>)] = &[
    (
        Error::Limit(Limit::Errors),
        Response::fixed(Code::UNAVAILABLE, (7, 0), "Too many errors; closing the connection"),
    ),
    (
        Error::Limit(Limit::AuthAttempts),
        Response::fixed(Code::UNAVAILABLE, (7, 0), "Too many failed authentications; closing the connection"),
    ),
    (
        Error::Limit(Limit::CommandsBeforeAuth),
        Response::fixed(Code::UNAVAILABLE, (7, 0), "Too many commands without authentication"),
    ),
    (
        Error::Limit(Limit::IdleCommands),
        Response::fixed(
            Code::UNAVAILABLE,
            (7, 0),
            "Too many commands without progress; closing the connection",
        ),
    ),
    (Error::Limit(Limit::Line), LINE_TOO_LONG),
    (
        Error::Peer(PeerError::PlaintextAfterStartTls),
        Response::fixed(Code::FAILED, ORDER, "Nothing may follow STARTTLS before TLS"),
    ),
    (
        Error::Peer(PeerError::EarlyTalker),
        Response::fixed(Code::FAILED, ORDER, "A command was sent before the greeting"),
    ),
    (
        Error::Peer(PeerError::Malformed),
        Response::fixed(Code::FAILED, ORDER, "This is an SMTP server; closing the connection"),
    ),
    (
        Error::Peer(PeerError::TlsInCleartext),
        Response::fixed(Code::FAILED, ORDER, "This port requires STARTTLS before TLS"),
    ),
];

pub(super) const SHUTDOWN: Response<'static> =
    Response::fixed(Code::UNAVAILABLE, (3, 2), "The server is shutting down");
pub(super) const TIMEOUT: Response<'static> =
    Response::fixed(Code::UNAVAILABLE, (4, 2), "Timeout; closing the connection");

/// Returns the rejection of a session or of EHLO: the application's reply, if it is one.
pub(super) fn as_rejection<'r>(response: &Response<'r>) -> Response<'r> {
    match response.code().severity() {
        Severity::Transient | Severity::Permanent => response.clone(),
        Severity::Completed | Severity::Intermediate => NO_SERVICE,
    }
}

/// The reply to arguments with a syntax error.
pub(super) fn syntax(verb: Verb, error: SyntaxError) -> Response<'static> {
    use SyntaxFault as F;
    let is_path = matches!(
        error.fault(),
        F::Path
            | F::NullRecipient
            | F::LocalPart
            | F::MissingDomain
            | F::Domain
            | F::LocalPartTooLong
            | F::DomainTooLong
            | F::PathTooLong
    );
    let (code, enhanced) = match (error.fault(), verb) {
        (F::NotAscii, _) => (Code::MAILBOX_NAME, (6, 7)),
        (F::Control | F::Encoding, _) => (Code::SYNTAX, (5, 2)),
        (_, Verb::Mail) if is_path => (Code::ARGUMENTS, (1, 7)),
        (_, Verb::Rcpt) if is_path => (Code::ARGUMENTS, (1, 3)),
        (F::Mechanism, _) => (Code::PARAMETER, (5, 4)),
        _ => (Code::ARGUMENTS, (5, 4)),
    };
    Response::fixed(code, enhanced, error.fault().text())
}

#[cfg(test)]
mod tests {
    use proto_mail::SendBuffer;

    use super::*;

    #[test]
    fn writes_fixed_replies_with_consistent_codes() {
        let all = [
            NOT_RECOGNIZED,
            NOT_IMPLEMENTED,
            LINE_TOO_LONG,
            BARE_NEWLINE,
            BARE_NEWLINE_IN_DATA,
            MESSAGE_TOO_LARGE,
            TOO_MANY_RECIPIENTS,
            TOO_MANY_DOMAINS,
            TOO_MANY_MAILS,
            TIME_TOO_SHORT,
            HELD_TOO_LONG,
            UNWANTED,
            NEEDS_UTF8,
            UNKNOWN_PARAMETER,
            NEEDS_TLS,
            NEEDS_AUTHENTICATION,
            BINARY_NEEDS_CHUNKS,
            CANNOT_VERIFY,
            OK,
            ACCEPTED,
            ACCEPTED_FOR_NONE,
            ACCEPTED_FOR_NONE_NOW,
            Response::help(),
            NO_SERVICE,
            CLOSING,
            TIMEOUT,
        ];
        for response in all.iter().chain(FATAL_REPLIES.iter().map(|(_, response)| response)) {
            let mut tx = SendBuffer::new();
            response.encode(&mut tx);
            let bytes = tx.take();
            let read = Response::parse(&bytes).unwrap();
            assert_eq!((read.code(), read.enhanced()), (response.code(), response.enhanced()));
            assert!(read.enhanced().is_some(), "{response}");
            assert_eq!(read.text(), response.text());
        }
    }
}
