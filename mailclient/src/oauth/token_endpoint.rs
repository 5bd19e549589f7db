//! Requests to the token endpoint: exchanging a code, and refreshing (RFC 6749 §4.1.3 and §6).

use std::borrow::Cow;
use std::sync::Mutex;

use jiff::Timestamp;
use oauth2::basic::{BasicErrorResponse, BasicErrorResponseType, BasicTokenResponse, BasicTokenType};
use oauth2::{
    AuthorizationCode, HttpRequest, HttpResponse as ProtocolResponse, PkceCodeVerifier, RedirectUrl,
    RefreshToken, RequestTokenError, TokenResponse,
};
use proto_mail::Secret;

use super::authorization::Granted;
use super::error::{OAuthError, OAuthErrorCode};
use super::http::{FormRequest, HttpClient, HttpError, HttpResponse};
use super::provider::Provider;
use super::token_set::{AccessToken, TokenSet};

/// The longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Exchanges the code of a checked callback for tokens.
///
/// # Errors
/// [`OAuthErrorCode::Expired`]: the provider does not accept the code, for example because it was used before.
/// [`OAuthErrorCode::TokenMissing`]: the provider issued no refresh token. [`OAuthErrorCode::ScopeMissing`]: the user did
/// not grant all scopes. The other codes say what is wrong with the provider or its settings.
pub fn exchange_code(
    provider: &Provider,
    http: &dyn HttpClient,
    granted: &Granted,
    now: Timestamp,
) -> Result<TokenSet, OAuthError> {
    let redirect = RedirectUrl::new(granted.redirect_uri.clone())
        .map_err(|_| OAuthError::new(OAuthErrorCode::ProviderInvalid, "the redirect address is not a URL"))?;
    let transport = Transport::new(http);
    let answer = provider
        .client()
        .exchange_code(AuthorizationCode::new(granted.code.expose().clone()))
        .set_pkce_verifier(PkceCodeVerifier::new(granted.verifier.expose().clone()))
        .set_redirect_uri(Cow::Owned(redirect))
        .request(&|request: HttpRequest| transport.send(request));
    let response = answer.map_err(|error| match transport.failure(error) {
        Failure::Other(error) => error,
        Failure::InvalidGrant => {
            OAuthError::new(OAuthErrorCode::Expired, "the provider does not accept the code of this consent")
        }
    })?;
    let tokens = token_set(provider, &response, now)?;
    if tokens.refresh.is_none() {
        let what =
            "the provider issued no refresh token, so that the account would work for a short time only";
        return Err(OAuthError::new(OAuthErrorCode::TokenMissing, what));
    }
    Ok(tokens)
}

/// Gets a new access token. If the provider rotates refresh tokens, the result has the next one, and the old one must not
/// be used any more.
///
/// # Errors
/// [`OAuthErrorCode::RefreshFailed`]: the provider does not accept the refresh token (`invalid_grant`), so the user must
/// consent again. Other errors leave the refresh token valid.
pub fn refresh(
    provider: &Provider,
    http: &dyn HttpClient,
    refresh_token: &Secret<String>,
    now: Timestamp,
) -> Result<TokenSet, OAuthError> {
    let transport = Transport::new(http);
    let token = RefreshToken::new(refresh_token.expose().clone());
    // Without a scope the grant stays as it is (RFC 6749 §6).
    let answer = provider
        .client()
        .exchange_refresh_token(&token)
        .request(&|request: HttpRequest| transport.send(request));
    let response = answer.map_err(|error| match transport.failure(error) {
        Failure::Other(error) => error,
        Failure::InvalidGrant => OAuthError::new(
            OAuthErrorCode::RefreshFailed,
            "the provider no longer accepts the consent to this account",
        ),
    })?;
    token_set(provider, &response, now)
}

/// Checks an answer with tokens.
pub(super) fn token_set(
    provider: &Provider,
    response: &BasicTokenResponse,
    now: Timestamp,
) -> Result<TokenSet, OAuthError> {
    if *response.token_type() != BasicTokenType::Bearer {
        return Err(invalid("the provider issued a token of another type than Bearer"));
    }
    let access = response.access_token().secret();
    let refresh = response.refresh_token().map(|token| token.secret()).filter(|token| !token.is_empty());
    for token in std::iter::once(access).chain(refresh) {
        // RFC 6749, Appendix A.12 and A.17. Other bytes could not be sent in a login either.
        if token.is_empty()
            || token.len() > MAX_TOKEN
            || !token.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        {
            return Err(invalid(
                "the provider issued a token that is empty, too long or has other bytes than ASCII",
            ));
        }
    }
    if let Some(scopes) = response.scopes() {
        let granted: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        if let Some(missing) = provider.missing_scope(&granted) {
            let what = format!("the user did not grant {missing}");
            return Err(OAuthError::new(OAuthErrorCode::ScopeMissing, what));
        }
    }
    let tokens = TokenSet {
        access: AccessToken::new(Secret::new(access.clone())),
        refresh: refresh.map(|token| Secret::new(token.clone())),
        issued: now,
        expires: None,
    };
    Ok(tokens.expiring_in(response.expires_in()))
}

fn invalid(what: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidResponse, what)
}

/// Why a request gave no tokens.
#[derive(Debug)]
pub(super) enum Failure {
    /// The provider does not accept the code or the refresh token.
    InvalidGrant,
    /// Anything else.
    Other(OAuthError),
}

/// Carries the requests of `oauth2` to an [`HttpClient`], and keeps what it cannot express: why an answer is unusable.
pub(super) struct Transport<'h> {
    http: &'h dyn HttpClient,
    failure: Mutex<Option<OAuthError>>,
}

/// An error that `oauth2` passes on. The cause is in [`Transport`].
#[derive(Debug)]
pub(super) struct TransportError;

impl std::fmt::Display for TransportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request failed")
    }
}

impl std::error::Error for TransportError {}

impl<'h> Transport<'h> {
    pub(super) fn new(http: &'h dyn HttpClient) -> Self {
        Self { http, failure: Mutex::default() }
    }

    /// Sends a request, and returns an answer with a status of 200 or 4xx.
    pub(super) fn send(&self, request: HttpRequest) -> Result<ProtocolResponse, TransportError> {
        let (head, body) = request.into_parts();
        let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
        let form = FormRequest {
            url: head.uri.to_string(),
            authorization: authorization.map(|value| Secret::new(value.to_owned())),
            body: Secret::new(body),
        };
        self.http.post(&form).map_err(unavailable).and_then(usable).map_err(|error| {
            *self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
            TransportError
        })
    }

    /// Returns the reason of a failed request.
    pub(super) fn failure(&self, error: RequestTokenError<TransportError, BasicErrorResponse>) -> Failure {
        let own = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match (own, error) {
            (Some(own), _) => Failure::Other(own),
            (None, RequestTokenError::ServerResponse(answer)) => refusal(answer.error()),
            (None, _) => Failure::Other(invalid("the answer of the provider is not the expected JSON")),
        }
    }
}

/// Describes a transport failure.
pub(super) fn unavailable(error: HttpError) -> OAuthError {
    let what = format!("the provider cannot be asked: {error}");
    if error.is_retryable() {
        OAuthError::new(OAuthErrorCode::Unavailable, what)
    } else {
        OAuthError::new(OAuthErrorCode::InvalidResponse, what)
    }
}

/// Converts an answer of the provider, unless its status says that it has no token and no OAuth error.
fn usable(response: HttpResponse) -> Result<ProtocolResponse, OAuthError> {
    check_status(&response)?;
    let mut usable = ProtocolResponse::new(response.body.expose().clone());
    if let Ok(status) = oauth2::http::StatusCode::from_u16(response.status) {
        *usable.status_mut() = status;
    }
    if let Some(value) = response.content_type.and_then(|value| value.parse().ok()) {
        usable.headers_mut().insert("content-type", value);
    }
    Ok(usable)
}

/// Checks the status of an answer: 200 or a 4xx that has an OAuth error.
pub(super) fn check_status(response: &HttpResponse) -> Result<(), OAuthError> {
    let status = response.status;
    match status {
        200 | 400..=407 | 409..=424 | 426..=428 | 430..=499 => Ok(()),
        408 | 425 | 429 | 500..=599 => {
            let what = format!("the provider answers with status {status}");
            Err(OAuthError::new(OAuthErrorCode::Unavailable, what).after(response.retry_after))
        }
        300..=399 => Err(invalid("the token endpoint redirects elsewhere, which is not followed")),
        _ => Err(OAuthError::new(
            OAuthErrorCode::InvalidResponse,
            format!("the provider answers with status {status}"),
        )),
    }
}

/// Classifies an error of RFC 6749 §5.2. The server's descriptions are not repeated: they may hold names.
pub(super) fn refusal(error: &BasicErrorResponseType) -> Failure {
    use BasicErrorResponseType as Type;
    let refused = |name: &'static str| {
        OAuthError::new(OAuthErrorCode::RequestRefused, format!("the provider reports {name}"))
    };
    Failure::Other(match error {
        Type::InvalidGrant => return Failure::InvalidGrant,
        // Microsoft's and OpenID Connect's names for a consent that is no longer enough.
        Type::Extension(name)
            if ["interaction_required", "consent_required", "login_required"].contains(&name.as_str()) =>
        {
            return Failure::InvalidGrant;
        }
        Type::InvalidClient | Type::UnauthorizedClient => OAuthError::new(
            OAuthErrorCode::ClientNotConfigured,
            "the provider does not accept the client ID and the client secret",
        ),
        Type::InvalidRequest => refused("invalid_request"),
        Type::InvalidScope => refused("invalid_scope"),
        Type::UnsupportedGrantType => refused("unsupported_grant_type"),
        Type::Extension(name) if name == "temporarily_unavailable" || name == "server_error" => {
            OAuthError::new(OAuthErrorCode::Unavailable, "the provider is temporarily unavailable")
        }
        Type::Extension(name) if name == "access_denied" => {
            OAuthError::new(OAuthErrorCode::AccessDenied, "the provider or the user refused")
        }
        Type::Extension(_) => refused("another error"),
    })
}
