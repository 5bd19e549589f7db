//! What the tests share: a provider for the test server, and a whole consent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mailclient::oauth::{
    ClientRegistration, Granted, HttpsClient, LoopbackHost, LoopbackReceiver, OAuthError,
    PendingAuthorizations, Provider, ProviderSettings, SecretRequirement, Subject, TokenSet, exchange_code,
};
use mailtest::AuthorizationServer;

/// The account of most tests.
pub(crate) const ACCOUNT: &str = "work";

/// Returns the settings of the test server.
pub(crate) fn settings(server: &AuthorizationServer) -> ProviderSettings {
    ProviderSettings {
        name: "test".to_owned(),
        authorization_endpoint: server.authorization_endpoint(),
        token_endpoint: server.token_endpoint(),
        device_endpoint: Some(server.device_endpoint()),
        scopes: vec![server.scope().to_owned()],
        authorization_parameters: Vec::new(),
        issuer: None,
        client_variables: "TEST".to_owned(),
        client_secret: SecretRequirement::Required,
        loopback_host: LoopbackHost::Address,
    }
}

/// Returns the test server as a provider.
pub(crate) fn provider(server: &AuthorizationServer) -> Provider {
    let secret = Some(server.client_secret().to_owned().into());
    Provider::new(settings(server), ClientRegistration { id: server.client_id().to_owned(), secret }).unwrap()
}

/// Returns an HTTP client with a short timeout.
pub(crate) fn http() -> Arc<HttpsClient> {
    Arc::new(HttpsClient::builder().timeout(Duration::from_secs(2)).build().unwrap())
}

/// A consent up to the checked callback: the browser of the test opens the URL, and the receiver gets the redirect.
pub(crate) fn grant(server: &AuthorizationServer, provider: &Provider) -> Result<Granted, OAuthError> {
    let receiver = LoopbackReceiver::bind(provider.loopback_host())?;
    let (pending, subject) = (PendingAuthorizations::default(), Subject::account(ACCOUNT));
    let url = pending.begin(provider, &subject, receiver.redirect_uri(), None, Instant::now())?;
    std::thread::scope(|scope| {
        let browser = scope.spawn(|| server.browse(&url));
        let granted = receiver.receive(
            Duration::from_secs(10),
            || false,
            |callback| pending.take(provider, callback, &subject, Instant::now()),
        );
        let page = browser.join().unwrap().unwrap();
        assert_eq!(page.status, if granted.is_ok() { 200 } else { 400 });
        granted
    })
}

/// A whole consent.
pub(crate) fn consent(server: &AuthorizationServer, provider: &Provider) -> Result<TokenSet, OAuthError> {
    exchange_code(provider, &*http(), &grant(server, provider)?, Timestamp::now())
}
