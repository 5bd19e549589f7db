//! A server's reply that refuses something: code, text and, in IMAP, the condition.

use std::borrow::Cow;

use proto_imap::types::{Condition, ResponseCode, StatusResponse};
use proto_smtp::types::Response;
use serde::Serialize;

/// The longest server text that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 1000;

/// A reply with which a server refused something. It may hold a user name: show it, never store it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerReply {
    /// IMAP: the response code with its argument (`UNAVAILABLE`). SMTP: the reply code with its enhanced code
    /// (`535 5.7.8`). `None` if the server sent none.
    pub code: Option<String>,
    /// The server's text, without control characters, cut to 1,000 bytes.
    pub text: String,
    /// IMAP: `NO`, `BAD` or `BYE`. SMTP: `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<&'static str>,
}

impl ServerReply {
    /// Converts an IMAP status response.
    pub fn imap(status: &StatusResponse<'_>) -> Self {
        let code = status.code.as_ref().map(|code| sanitize(&imap_code(code)));
        Self { code, text: sanitize(&status.text.to_str_lossy()), condition: Some(status.condition.as_str()) }
    }

    /// Converts an SMTP reply.
    pub fn smtp(response: &Response<'_>) -> Self {
        let code = match response.enhanced() {
            Some(enhanced) => format!("{} {enhanced}", response.code()),
            None => response.code().to_string(),
        };
        Self { code: Some(code), text: sanitize(&response.text()), condition: None }
    }

    /// Parses a complete SMTP reply from its text, such as `535 5.7.8 No.`
    pub(crate) fn from_smtp_text(reply: &str) -> Self {
        match reply.parse::<Response<'static>>() {
            Ok(response) => Self::smtp(&response),
            Err(_) => Self { code: None, text: sanitize(reply), condition: None },
        }
    }

    /// Parses a line of either protocol: `454 4.7.0 Not now`, `a NO [UNAVAILABLE] Not now` or `* BYE`. The condition is
    /// `None` if the line is not an IMAP status response.
    pub(crate) fn from_line(line: &str) -> (Self, Option<Condition>) {
        let mut words = line.splitn(3, ' ');
        let _tag = words.next();
        let word = words.next().unwrap_or_default();
        let conditions = [Condition::No, Condition::Bad, Condition::Bye];
        let Some(condition) = conditions.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(word))
        else {
            return (Self::from_smtp_text(line), None);
        };
        let rest = words.next().unwrap_or_default();
        let (code, text) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((code, text)) => (Some(sanitize(code)), text),
            None => (None, rest),
        };
        (Self { code, text: sanitize(text), condition: Some(condition.as_str()) }, Some(condition))
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

/// Cuts a server's text to [`MAX_TEXT_BYTES`] and replaces its control characters.
fn sanitize(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT_BYTES);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_control_characters_and_cuts_long_text() {
        let (reply, _) = ServerReply::from_line("a NO [UNAVAILABLE] ann@x.example\u{1b}[2J\r\nforged");
        assert_eq!(reply.code.as_deref(), Some("UNAVAILABLE"));
        assert!(!reply.text.chars().any(char::is_control), "{reply:?}");
        assert!(sanitize(&"ä".repeat(5000)).len() <= MAX_TEXT_BYTES);
    }
}
