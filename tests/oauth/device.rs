//! The flow for devices (RFC 8628).

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mailclient::oauth::{DeviceAuthorization, DevicePoll, OAuthErrorCode, Provider};
use mailtest::{AuthorizationServer, DeviceDecision, Misbehaviour};

use crate::setup::{http, provider, settings};

struct Device {
    server: AuthorizationServer,
    provider: Provider,
    authorization: DeviceAuthorization,
    now: Instant,
}

impl Device {
    /// The interval of the server has no effect, so that the tests need not wait: the time of the client is made up.
    fn begin() -> Self {
        let server = AuthorizationServer::builder()
            .device_times(Duration::ZERO, Duration::from_secs(600))
            .start()
            .unwrap();
        let provider = provider(&server);
        let now = Instant::now();
        let authorization = DeviceAuthorization::begin(&provider, &*http(), now).unwrap();
        Self { server, provider, authorization, now }
    }

    /// Polls after so many seconds. Returns the next wait in seconds, or `None` for tokens.
    fn poll(&mut self, after: u64) -> Result<Option<u64>, OAuthErrorCode> {
        self.now += Duration::from_secs(after);
        let polled = self.authorization.poll(&self.provider, &*http(), self.now, Timestamp::now());
        match polled.map_err(|error| error.code())? {
            DevicePoll::Wait(wait) => Ok(Some(wait.as_secs())),
            DevicePoll::Tokens(tokens) => {
                assert!(self.server.accepts(tokens.access.expose()) && tokens.refresh.is_some());
                Ok(None)
            }
        }
    }
}

#[test]
fn a_user_consents_on_another_device() {
    let mut device = Device::begin();
    let code = device.authorization.user_code().to_owned();
    assert_eq!(code, "TEST-0000");
    assert!(device.authorization.verification_uri().ends_with("/activate"));
    assert_eq!(device.poll(0), Ok(Some(1)), "too early: the provider is not asked");
    assert_eq!(device.server.counts().token_requests, 0);
    assert_eq!(device.poll(1), Ok(Some(1)));
    assert!(device.server.decide(&code, DeviceDecision::Allow));
    assert_eq!(device.poll(1), Ok(None));
    let shown = format!("{:?}", device.authorization);
    assert!(device.server.secrets().iter().all(|secret| !shown.contains(secret)), "{shown}");
}

#[test]
fn the_interval_grows_when_the_provider_asks_for_it() {
    let mut device = Device::begin();
    device.server.misbehave(Misbehaviour::Error("slow_down"));
    assert_eq!(device.poll(1), Ok(Some(6)));
    assert_eq!(device.poll(5), Ok(Some(1)), "too early by a second");
    assert_eq!(device.poll(1), Ok(Some(6)), "the longer interval stays");
    device.server.misbehave(Misbehaviour::Status(503));
    assert_eq!(device.poll(6), Ok(Some(12)), "a failure doubles it");
    for _ in 0..5 {
        device.server.misbehave(Misbehaviour::Status(503));
        device.poll(60).unwrap();
    }
    assert_eq!(device.poll(60), Ok(Some(60)));
}

#[test]
fn a_refusal_and_an_expiry_end_it() {
    let mut device = Device::begin();
    let code = device.authorization.user_code().to_owned();
    device.server.decide(&code, DeviceDecision::Deny);
    assert_eq!(device.poll(1), Err(OAuthErrorCode::AccessDenied));

    let mut device = Device::begin();
    device.server.misbehave(Misbehaviour::Error("expired_token"));
    assert_eq!(device.poll(1), Err(OAuthErrorCode::Expired));

    let mut device = Device::begin();
    let requests = device.server.counts().token_requests;
    assert_eq!(device.poll(601), Err(OAuthErrorCode::Expired));
    assert_eq!(device.server.counts().token_requests, requests);
}

#[test]
fn wrong_answers_end_it() {
    for (misbehaviour, code) in [
        (Misbehaviour::Html, OAuthErrorCode::InvalidResponse),
        (Misbehaviour::Error("invalid_client"), OAuthErrorCode::ClientNotConfigured),
        (Misbehaviour::Error("invalid_grant"), OAuthErrorCode::Expired),
        (Misbehaviour::NoRefreshToken, OAuthErrorCode::TokenMissing),
    ] {
        let mut device = Device::begin();
        let code_of_user = device.authorization.user_code().to_owned();
        device.server.decide(&code_of_user, DeviceDecision::Allow);
        device.server.misbehave(misbehaviour);
        assert_eq!(device.poll(1), Err(code));
    }
}

#[test]
fn a_provider_without_the_flow_is_named() {
    let server = AuthorizationServer::start().unwrap();
    let mut settings = settings(&server);
    settings.device_endpoint = None;
    let client = mailclient::oauth::ClientRegistration {
        id: server.client_id().to_owned(),
        secret: Some(server.client_secret().to_owned().into()),
    };
    let provider = Provider::new(settings, client).unwrap();
    let error = DeviceAuthorization::begin(&provider, &*http(), Instant::now()).unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::ProviderInvalid);
}
