//! An HTTP answer.

use std::time::Duration;

/// What to answer.
pub(super) struct Answer {
    /// `None` closes the connection.
    pub(super) status: Option<u16>,
    pub(super) content_type: &'static str,
    pub(super) location: Option<String>,
    pub(super) body: String,
    pub(super) pause: Duration,
}

impl Answer {
    pub(super) fn new(status: u16, content_type: &'static str, body: impl Into<String>) -> Self {
        Self { status: Some(status), content_type, location: None, body: body.into(), pause: Duration::ZERO }
    }

    pub(super) fn text(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain", body)
    }

    pub(super) fn redirect(to: String) -> Self {
        Self { location: Some(to), ..Self::text(302, "") }
    }

    /// An error of RFC 6749 §5.2.
    pub(super) fn error(error: &str, description: &str) -> Self {
        let status = if error == "invalid_client" { 401 } else { 400 };
        let body = format!("{{\"error\":\"{error}\",\"error_description\":\"{description}\"}}");
        Self::new(status, "application/json", body)
    }
}

/// Writes an answer as text. `None` closes the connection.
pub(super) fn render(answer: &Answer) -> Option<String> {
    let status = answer.status?;
    let location = answer.location.as_ref().map_or_else(String::new, |to| format!("Location: {to}\r\n"));
    Some(format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{location}\
         Connection: close\r\n\r\n{}",
        answer.content_type,
        answer.body.len(),
        answer.body
    ))
}
