//! The flow for devices (RFC 8628): the user consents on another device, and this program asks until that is done.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use oauth2::basic::BasicTokenResponse;
use oauth2::url::form_urlencoded;
use oauth2::{
    DeviceCodeErrorResponse, DeviceCodeErrorResponseType, HttpRequest, Scope,
    StandardDeviceAuthorizationResponse,
};
use proto_mail::Secret;

use super::error::{OAuthError, OAuthErrorCode};
use super::http::{FormRequest, HttpClient, HttpResponse};
use super::provider::{Provider, check_endpoint};
use super::token_endpoint::{Failure, Transport, check_status, refusal, token_set, unavailable};
use super::token_set::TokenSet;

/// By how much `slow_down` lengthens the interval (RFC 8628 §3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// The shortest and the longest interval.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The longest time for a consent.
const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The longest user code, in bytes.
const MAX_USER_CODE: usize = 64;

/// What a poll gave.
#[derive(Debug)]
pub enum DevicePoll {
    /// The user has not consented yet. Poll again after this time.
    Wait(Duration),
    /// The tokens.
    Tokens(TokenSet),
}

/// A consent on another device. `Debug` does not show the codes.
pub struct DeviceAuthorization {
    device_code: Secret<String>,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    interval: Duration,
    next_poll: Instant,
    expires: Instant,
}

impl DeviceAuthorization {
    /// Asks the provider for a user code.
    ///
    /// # Errors
    /// [`OAuthErrorCode::ProviderInvalid`]: the provider has no flow for devices. [`OAuthErrorCode::InvalidResponse`]: the
    /// answer is not valid, or the address to open is not safe to show. Otherwise as [`refresh`](super::refresh).
    pub fn begin(provider: &Provider, http: &dyn HttpClient, now: Instant) -> Result<Self, OAuthError> {
        let Some(url) = provider.device_url() else {
            let what = format!("{} has no consent on another device for mail", provider.settings().name);
            return Err(OAuthError::new(OAuthErrorCode::ProviderInvalid, what));
        };
        let transport = Transport::new(http);
        let client = provider.client().clone().set_device_authorization_url(url.clone());
        let answer = client
            .exchange_device_code()
            .add_scopes(provider.settings().scopes.iter().cloned().map(Scope::new))
            .request(&|request: HttpRequest| transport.send(request));
        let response: StandardDeviceAuthorizationResponse =
            answer.map_err(|error| match transport.failure(error) {
                Failure::Other(error) => error,
                Failure::InvalidGrant => invalid("the provider reports invalid_grant"),
            })?;
        Self::new(&response, now)
    }

    fn new(response: &StandardDeviceAuthorizationResponse, now: Instant) -> Result<Self, OAuthError> {
        let user_code = response.user_code().secret();
        let is_shown = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if user_code.is_empty() || user_code.len() > MAX_USER_CODE || !user_code.bytes().all(is_shown) {
            return Err(invalid("the code for the user is empty, too long or not ASCII"));
        }
        let unsafe_address = |_| invalid("the address to open is not an https URL");
        let uri: &str = response.verification_uri();
        let uri = check_endpoint("verification_uri", uri).map_err(unsafe_address)?;
        let complete = response
            .verification_uri_complete()
            .map(|uri| check_endpoint("verification_uri_complete", uri.secret()).map_err(unsafe_address));
        let lifetime = response.expires_in().min(MAX_LIFETIME);
        let interval = response.interval().clamp(INTERVALS.0, INTERVALS.1);
        Ok(Self {
            device_code: Secret::new(response.device_code().secret().clone()),
            user_code: user_code.clone(),
            verification_uri: uri.into(),
            verification_uri_complete: complete.transpose()?.map(String::from),
            interval,
            next_poll: now + interval,
            expires: now + lifetime,
        })
    }

    /// Returns the code that the user types.
    #[must_use]
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// Returns the address that the user opens.
    #[must_use]
    pub fn verification_uri(&self) -> &str {
        &self.verification_uri
    }

    /// Returns an address that already has the code, if the provider has one.
    #[must_use]
    pub fn verification_uri_complete(&self) -> Option<&str> {
        self.verification_uri_complete.as_deref()
    }

    /// Asks whether the user has consented. Called too early, it does not ask and says how long to wait.
    ///
    /// # Errors
    /// [`OAuthErrorCode::AccessDenied`]: the user refused. [`OAuthErrorCode::Expired`]: the consent took too long. The other
    /// codes say what is wrong with the provider; a provider that cannot be reached is asked again, in growing intervals.
    pub fn poll(
        &mut self,
        provider: &Provider,
        http: &dyn HttpClient,
        now: Instant,
        time_of_day: Timestamp,
    ) -> Result<DevicePoll, OAuthError> {
        if now >= self.expires {
            return Err(expired());
        }
        if let Some(left) = self.next_poll.checked_duration_since(now).filter(|left| !left.is_zero()) {
            return Ok(DevicePoll::Wait(left));
        }
        let answer = http.post(&self.request(provider)).map_err(unavailable);
        match answer.and_then(|response| read(&response)) {
            Ok(Answer::Tokens(response)) => {
                let tokens = token_set(provider, &response, time_of_day)?;
                if tokens.refresh.is_none() {
                    let what = "the provider issued no refresh token, so that the account would work for a short time only";
                    return Err(OAuthError::new(OAuthErrorCode::TokenMissing, what));
                }
                return Ok(DevicePoll::Tokens(tokens));
            }
            Ok(Answer::Pending) => {}
            Ok(Answer::SlowDown) => self.interval += SLOW_DOWN,
            Err(error) if error.is_retryable() => {
                self.interval = (self.interval * 2).max(error.retry_after().unwrap_or_default());
            }
            Err(error) => return Err(error),
        }
        self.interval = self.interval.min(INTERVALS.1);
        self.next_poll = now + self.interval;
        Ok(DevicePoll::Wait(self.interval))
    }

    /// The request of RFC 8628 §3.4. `oauth2` only has a loop that blocks until the end, so it is built here.
    fn request(&self, provider: &Provider) -> FormRequest {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:device_code")
            .append_pair("device_code", self.device_code.expose())
            .append_pair("client_id", provider.client_id());
        if let Some(secret) = provider.client_secret() {
            form.append_pair("client_secret", secret.expose());
        }
        FormRequest {
            url: provider.settings().token_endpoint.clone(),
            authorization: None,
            body: Secret::new(form.finish().into_bytes()),
        }
    }
}

impl fmt::Debug for DeviceAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAuthorization")
            .field("verification_uri", &self.verification_uri)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

enum Answer {
    Pending,
    SlowDown,
    Tokens(Box<BasicTokenResponse>),
}

/// Reads an answer of RFC 8628 §3.5.
fn read(response: &HttpResponse) -> Result<Answer, OAuthError> {
    check_status(response)?;
    let body = response.body.expose();
    let unexpected = |_| invalid("the answer of the provider is not the expected JSON");
    if response.status == 200 {
        return serde_json::from_slice(body).map(Box::new).map(Answer::Tokens).map_err(unexpected);
    }
    let refused: DeviceCodeErrorResponse = serde_json::from_slice(body).map_err(unexpected)?;
    use DeviceCodeErrorResponseType as Type;
    Err(match refused.error() {
        Type::AuthorizationPending => return Ok(Answer::Pending),
        Type::SlowDown => return Ok(Answer::SlowDown),
        Type::AccessDenied => OAuthError::new(OAuthErrorCode::AccessDenied, "the user did not consent"),
        Type::ExpiredToken => expired(),
        Type::Basic(other) => match refusal(other) {
            Failure::Other(error) => error,
            Failure::InvalidGrant => expired(),
        },
    })
}

fn expired() -> OAuthError {
    OAuthError::new(OAuthErrorCode::Expired, "the consent took too long")
}

fn invalid(what: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidResponse, what)
}
