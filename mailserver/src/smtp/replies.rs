//! SMTP and LMTP replies that only this server sends.

use proto_smtp::types::{Code, EnhancedCode, Response, Severity};

/// Returns the reply of an injected fault.
pub(super) fn injected(code: Code) -> Response<'static> {
    let class = if code.severity() == Severity::Transient { 4 } else { 5 };
    response(code, (class, 0, 0), "Injected fault")
}

/// Returns the reply for an error of the store: temporary, unless retrying cannot help.
pub(super) fn store_error(error: &mailstore::Error) -> Response<'static> {
    if let mailstore::Error::OverQuota { permanent, .. } = error {
        tracing::info!(%error, "rejected a message");
        return over_quota(*permanent);
    }
    tracing::error!(%error, "rejected a message");
    match error {
        mailstore::Error::Full => {
            response(Code::INSUFFICIENT_STORAGE, (4, 3, 1), "Insufficient storage: try again later")
        }
        mailstore::Error::NotFound(_) | mailstore::Error::NoSelect => Response::no_such_mailbox(),
        _ => Response::try_again(),
    }
}

/// The mailbox may not accept the message: never, or until its owner deletes something (RFC 3463 §3.3, X.2.2).
fn over_quota(permanent: bool) -> Response<'static> {
    if permanent {
        return response(Code::TOO_LARGE, (5, 2, 2), "The message is larger than the mailbox's quota");
    }
    response(Code::INSUFFICIENT_STORAGE, (4, 2, 2), "The mailbox is full: try again later")
}

/// Returns a reply with an enhanced status code (RFC 3463).
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
