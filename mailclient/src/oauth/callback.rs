//! The callback: the parameters with which the provider sends the browser back (RFC 6749 §4.1.2).

use std::fmt;

use oauth2::url::form_urlencoded;
use proto_mail::Secret;

use super::error::{OAuthError, OAuthErrorCode};

/// The longest query, in bytes.
const MAX_QUERY: usize = 8 * 1024;
/// The most parameters.
const MAX_PARAMETERS: usize = 32;

/// The parameters of a callback. `Debug` shows none of them.
pub struct Callback {
    pub(super) state: Secret<String>,
    pub(super) answer: Answer,
    /// Who answered (RFC 9207).
    pub(super) issuer: Option<String>,
}

/// What the provider answered.
pub(super) enum Answer {
    /// A code to exchange.
    Code(Secret<String>),
    /// The user or the provider refused.
    Denied,
    /// Another error. The name is one of RFC 6749 §4.1.2.1, or "another error".
    Error { name: &'static str, is_retryable: bool },
}

impl Callback {
    /// Parses the query of the redirect, without the `?`.
    ///
    /// # Errors
    /// [`OAuthErrorCode::InvalidResponse`]: the query is longer than 8 KiB, a parameter is repeated (RFC 6749 §3.1), or
    /// `state` or both `code` and `error` are missing.
    pub fn from_query(query: &str) -> Result<Self, OAuthError> {
        if query.len() > MAX_QUERY {
            return Err(invalid("the callback is too long"));
        }
        let (mut state, mut code, mut error, mut issuer) = (None, None, None, None);
        for (count, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
            if count >= MAX_PARAMETERS {
                return Err(invalid("the callback has too many parameters"));
            }
            let value = Secret::new(value.into_owned());
            let place = match &*name {
                "state" => &mut state,
                "code" => &mut code,
                "error" => &mut error,
                "iss" => &mut issuer,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(invalid("the callback repeats a parameter"));
            }
        }
        let state = state.ok_or_else(|| invalid("the callback has no state"))?;
        let answer = match (code, error) {
            (Some(_), Some(_)) => return Err(invalid("the callback has both a code and an error")),
            (None, None) => return Err(invalid("the callback has neither a code nor an error")),
            (Some(code), None) if code.expose().is_empty() => {
                return Err(invalid("the callback has an empty code"));
            }
            (Some(code), None) => Answer::Code(code),
            (None, Some(error)) => classify(error.expose()),
        };
        Ok(Self { state, answer, issuer: issuer.map(|issuer| issuer.expose().clone()) })
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").finish_non_exhaustive()
    }
}

/// Classifies an error of RFC 6749 §4.1.2.1. No other text of the callback is repeated: an attacker may have written the link.
fn classify(error: &str) -> Answer {
    const KNOWN: [&str; 5] = [
        "invalid_request",
        "unauthorized_client",
        "unsupported_response_type",
        "invalid_scope",
        "interaction_required",
    ];
    match error {
        "access_denied" | "consent_required" | "login_required" => Answer::Denied,
        "server_error" => Answer::Error { name: "server_error", is_retryable: true },
        "temporarily_unavailable" => Answer::Error { name: "temporarily_unavailable", is_retryable: true },
        other => {
            let name = KNOWN.into_iter().find(|known| *known == other).unwrap_or("another error");
            Answer::Error { name, is_retryable: false }
        }
    }
}

fn invalid(what: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidResponse, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_code() {
        let callback =
            Callback::from_query("state=s%20t&code=a%2Fb&scope=x&iss=https%3A%2F%2Fa.example").unwrap();
        assert_eq!(callback.state.expose(), "s t");
        assert!(matches!(&callback.answer, Answer::Code(code) if code.expose() == "a/b"));
        assert_eq!(callback.issuer.as_deref(), Some("https://a.example"));
        assert_eq!(format!("{callback:?}"), "Callback { .. }");
    }

    #[test]
    fn classifies_errors_and_repeats_no_other_text() {
        let answer = |error: &str| Callback::from_query(&format!("state=s&error={error}")).unwrap().answer;
        assert!(matches!(answer("access_denied"), Answer::Denied));
        assert!(matches!(answer("server_error"), Answer::Error { is_retryable: true, .. }));
        assert!(matches!(answer("invalid_scope"), Answer::Error { name: "invalid_scope", .. }));
        assert!(matches!(answer("%3Cscript%3E"), Answer::Error { name: "another error", .. }));
    }

    #[test]
    fn rejects_ambiguous_and_oversized_callbacks() {
        let long = format!("state=s&code={}", "x".repeat(MAX_QUERY));
        let many = format!("state=s&code=c{}", "&a=b".repeat(MAX_PARAMETERS));
        for query in [
            "",
            "code=c",
            "state=s",
            "state=s&code=",
            "state=s&state=t&code=c",
            "state=s&code=c&code=d",
            "state=s&code=c&error=access_denied",
            &long,
            &many,
        ] {
            let error = Callback::from_query(query).unwrap_err();
            assert_eq!(error.code(), OAuthErrorCode::InvalidResponse, "{}", &query[..query.len().min(40)]);
        }
    }
}
