//! What this server says in SMTP and LMTP beyond the replies that every server gives.

use proto_smtp::types::{Code, EnhancedCode, Response, Severity};

/// What is answered where a fault is wanted.
pub(super) fn as_wanted(code: Code) -> Response<'static> {
    let class = if code.severity() == Severity::Transient { 4 } else { 5 };
    response(code, (class, 0, 0), "This server was told to fail here")
}

/// What a sender is told when the store did not take the message: try again, unless that can never help.
pub(super) fn refusal(error: &mailstore::Error) -> Response<'static> {
    if let mailstore::Error::OverQuota { permanent, .. } = error {
        tracing::info!(%error, "a message was not taken");
        return over_quota(*permanent);
    }
    tracing::error!(%error, "a message was not taken");
    match error {
        mailstore::Error::Full => response(
            Code::INSUFFICIENT_STORAGE,
            (4, 3, 1),
            "There is no room for the message: try again later",
        ),
        mailstore::Error::NotFound(_) | mailstore::Error::NoSelect => Response::no_such_mailbox(),
        _ => Response::try_again(),
    }
}

/// The mailbox may not have the message: ever, or until its owner deletes something (RFC 3463 §3.3, X.2.2).
fn over_quota(permanent: bool) -> Response<'static> {
    if permanent {
        return response(Code::TOO_LARGE, (5, 2, 2), "The message is larger than the mailbox may be");
    }
    response(Code::INSUFFICIENT_STORAGE, (4, 2, 2), "The mailbox is full: try again later")
}

/// A reply with an enhanced code (RFC 3463).
pub(super) fn response(
    code: Code,
    (class, subject, detail): (u8, u16, u16),
    text: &'static str,
) -> Response<'static> {
    let response = Response::new(code, text);
    match EnhancedCode::new(class, subject, detail) {
        Some(enhanced) => response.with_enhanced(enhanced),
        None => response,
    }
}
