//! Providers: the endpoints, scopes and client registration of an authorization server.

use std::fmt;

use oauth2::basic::BasicClient;
use oauth2::{AuthType, AuthUrl, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointSet, TokenUrl};
use proto_mail::Secret;
use serde::{Deserialize, Serialize};

use super::error::{OAuthError, OAuthErrorCode};

/// The longest setting, in bytes.
const MAX_SETTING: usize = 2048;
/// The most scopes, and the most parameters.
const MAX_ITEMS: usize = 32;

/// The client of `oauth2`, with its authorization and token endpoints.
pub(super) type ProtocolClient = BasicClient<
    EndpointSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    EndpointSet,
>;

/// Whether the provider requires a client secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRequirement {
    /// A client without a secret is a public client (RFC 6749 §2.1).
    #[default]
    Optional,
    /// There must be a secret.
    Required,
}

/// The host in the loopback redirect (RFC 8252 §7.3), as the provider's registration requires it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopbackHost {
    /// `http://127.0.0.1:PORT/`, as RFC 8252 recommends.
    #[default]
    Address,
    /// `http://localhost:PORT`, for providers that register no address with a variable port.
    Localhost,
}

/// The settings of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// A name for messages, such as `google`.
    pub name: String,
    /// Where the user consents.
    pub authorization_endpoint: String,
    /// Where codes and refresh tokens are exchanged.
    pub token_endpoint: String,
    /// Where the flow for devices begins (RFC 8628), if the provider has it.
    #[serde(default)]
    pub device_endpoint: Option<String>,
    /// The scopes to ask for.
    pub scopes: Vec<String>,
    /// More parameters of the authorization request, as pairs of name and value.
    #[serde(default)]
    pub authorization_parameters: Vec<(String, String)>,
    /// The issuer that the provider names in its callback (RFC 9207), if it is known.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The prefix of the environment variables with the client registration: `EXAMPLE` for `EXAMPLE_CLIENT_ID` and
    /// `EXAMPLE_CLIENT_SECRET`.
    pub client_variables: String,
    /// Whether a client secret is required.
    #[serde(default)]
    pub client_secret: SecretRequirement,
    /// The host in the loopback redirect.
    #[serde(default)]
    pub loopback_host: LoopbackHost,
}

impl ProviderSettings {
    /// Returns the settings of Google, with access to Gmail by IMAP and SMTP. The client registration comes from
    /// `GOOGLE_CLIENT_ID` and `GOOGLE_CLIENT_SECRET`.
    ///
    /// Google does not allow the mail scope in its flow for devices, so there is no device endpoint.
    #[must_use]
    pub fn google() -> Self {
        Self {
            name: "google".to_owned(),
            authorization_endpoint: "https://accounts.google.com/o/oauth2/v2/auth".to_owned(),
            token_endpoint: "https://oauth2.googleapis.com/token".to_owned(),
            device_endpoint: None,
            scopes: vec!["https://mail.google.com/".to_owned()],
            // Without these, Google issues no refresh token, or only at the first consent.
            authorization_parameters: vec![
                ("access_type".to_owned(), "offline".to_owned()),
                ("prompt".to_owned(), "consent".to_owned()),
            ],
            issuer: Some("https://accounts.google.com".to_owned()),
            client_variables: "GOOGLE".to_owned(),
            client_secret: SecretRequirement::Required,
            loopback_host: LoopbackHost::Address,
        }
    }

    /// Returns the settings of Microsoft 365 and Outlook.com, with IMAP and SMTP. The client registration comes from
    /// `MICROSOFT_CLIENT_ID` and, for a confidential client, `MICROSOFT_CLIENT_SECRET`.
    ///
    /// `tenant` is a directory's ID or domain, or `common`, `organizations` or `consumers`.
    ///
    /// # Errors
    /// [`OAuthErrorCode::ProviderInvalid`] if the tenant has other characters than letters, digits, `.` and `-`.
    pub fn microsoft(tenant: &str) -> Result<Self, OAuthError> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if tenant.is_empty() || tenant.len() > 253 || tenant.starts_with('.') || !tenant.bytes().all(is_valid)
        {
            return Err(invalid("the tenant is not the ID or the domain of a directory"));
        }
        let endpoint = |name| format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/{name}");
        Ok(Self {
            name: "microsoft".to_owned(),
            authorization_endpoint: endpoint("authorize"),
            token_endpoint: endpoint("token"),
            device_endpoint: Some(endpoint("devicecode")),
            scopes: [
                "https://outlook.office.com/IMAP.AccessAsUser.All",
                "https://outlook.office.com/SMTP.Send",
                "offline_access",
            ]
            .map(str::to_owned)
            .to_vec(),
            authorization_parameters: Vec::new(),
            issuer: None,
            client_variables: "MICROSOFT".to_owned(),
            client_secret: SecretRequirement::Optional,
            loopback_host: LoopbackHost::Localhost,
        })
    }
}

/// What the provider has registered for this program. `Debug` does not show the secret.
#[derive(Debug)]
pub struct ClientRegistration {
    /// The client ID. It is not secret.
    pub id: String,
    /// The client secret. A public client has none.
    pub secret: Option<Secret<String>>,
}

impl ClientRegistration {
    /// Reads the registration from the environment variables of the settings.
    ///
    /// # Errors
    /// [`OAuthErrorCode::ClientNotConfigured`] names the variable that is missing or empty.
    pub fn from_environment(settings: &ProviderSettings) -> Result<Self, OAuthError> {
        Self::from_variables(settings, |name| std::env::var(name).ok())
    }

    /// Reads the registration from variables that `lookup` returns.
    ///
    /// # Errors
    /// [`OAuthErrorCode::ClientNotConfigured`] names the variable that is missing or empty.
    pub fn from_variables(
        settings: &ProviderSettings,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OAuthError> {
        let name = |part: &str| format!("{}_CLIENT_{part}", settings.client_variables);
        let find = |part| lookup(&name(part)).filter(|value| !value.trim().is_empty());
        let missing = |part| {
            let what = format!(
                "{} is not set, so that no account of {} can be connected",
                name(part),
                settings.name
            );
            OAuthError::new(OAuthErrorCode::ClientNotConfigured, what)
        };
        let id = find("ID").ok_or_else(|| missing("ID"))?;
        let secret = find("SECRET").map(Secret::new);
        if secret.is_none() && settings.client_secret == SecretRequirement::Required {
            return Err(missing("SECRET"));
        }
        Ok(Self { id, secret })
    }
}

/// A provider with valid settings and a client registration.
pub struct Provider {
    settings: ProviderSettings,
    id: String,
    secret: Option<Secret<String>>,
    client: ProtocolClient,
    device: Option<DeviceAuthorizationUrl>,
}

impl Provider {
    /// Checks the settings. Each endpoint must be an `https` URL, or an `http` URL of loopback, without a user and a
    /// fragment.
    ///
    /// # Errors
    /// [`OAuthErrorCode::ProviderInvalid`] names the setting that cannot be used.
    /// [`OAuthErrorCode::ClientNotConfigured`]: the client ID is empty, or a required secret is missing.
    pub fn new(settings: ProviderSettings, client: ClientRegistration) -> Result<Self, OAuthError> {
        let ClientRegistration { id, secret } = client;
        check_endpoint("authorization_endpoint", &settings.authorization_endpoint)?;
        check_endpoint("token_endpoint", &settings.token_endpoint)?;
        settings.device_endpoint.as_deref().map(|url| check_endpoint("device_endpoint", url)).transpose()?;
        check_items(&settings)?;
        let is_missing = secret.is_none() && settings.client_secret == SecretRequirement::Required;
        if id.trim().is_empty() || is_missing {
            let what = format!("the client ID or the client secret for {} is missing", settings.name);
            return Err(OAuthError::new(OAuthErrorCode::ClientNotConfigured, what));
        }
        let broken = |_| invalid("an endpoint is not a URL");
        let authorization = AuthUrl::new(settings.authorization_endpoint.clone()).map_err(broken)?;
        let token = TokenUrl::new(settings.token_endpoint.clone()).map_err(broken)?;
        let device = settings.device_endpoint.clone().map(DeviceAuthorizationUrl::new).transpose();
        let mut client = BasicClient::new(ClientId::new(id.clone()))
            // Every provider accepts this, and no encoding of the secret can go wrong.
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(authorization)
            .set_token_uri(token);
        if let Some(secret) = &secret {
            client = client.set_client_secret(ClientSecret::new(secret.expose().clone()));
        }
        Ok(Self { settings, id, secret, client, device: device.map_err(broken)? })
    }

    /// Returns the settings.
    #[must_use]
    pub const fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// Returns the host in the loopback redirect.
    #[must_use]
    pub const fn loopback_host(&self) -> LoopbackHost {
        self.settings.loopback_host
    }

    pub(super) const fn client(&self) -> &ProtocolClient {
        &self.client
    }

    pub(super) const fn device_url(&self) -> Option<&DeviceAuthorizationUrl> {
        self.device.as_ref()
    }

    pub(super) fn client_id(&self) -> &str {
        &self.id
    }

    pub(super) const fn client_secret(&self) -> Option<&Secret<String>> {
        self.secret.as_ref()
    }

    /// Returns the first scope that was asked for and not granted. `offline_access` is a request for a refresh token, and
    /// providers do not list it.
    pub(super) fn missing_scope(&self, granted: &[&str]) -> Option<&str> {
        let is_granted = |scope: &String| {
            scope == "offline_access" || granted.iter().any(|granted| granted.eq_ignore_ascii_case(scope))
        };
        self.settings.scopes.iter().find(|scope| !is_granted(scope)).map(String::as_str)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn invalid(what: impl Into<String>) -> OAuthError {
    OAuthError::new(OAuthErrorCode::ProviderInvalid, what.into())
}

/// Checks the number and the characters of scopes and parameters.
fn check_items(settings: &ProviderSettings) -> Result<(), OAuthError> {
    // RFC 6749 §3.3.
    let is_scope =
        |scope: &String| scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    let scopes = &settings.scopes;
    if scopes.is_empty() || scopes.len() > MAX_ITEMS {
        return Err(invalid(format!("scopes: there must be 1 to {MAX_ITEMS}")));
    }
    if !scopes.iter().all(|scope| !scope.is_empty() && scope.len() <= MAX_SETTING && is_scope(scope)) {
        return Err(invalid("scopes: a scope has a character that is not allowed"));
    }
    let parameters = &settings.authorization_parameters;
    if parameters.len() > MAX_ITEMS || parameters.iter().any(|(_, value)| value.len() > MAX_SETTING) {
        return Err(invalid("authorization_parameters: there are too many, or one is too long"));
    }
    const OWN: [&str; 8] = [
        "client_id",
        "response_type",
        "redirect_uri",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
        "client_secret",
    ];
    match parameters.iter().find(|(name, _)| OWN.contains(&name.as_str())) {
        Some((name, _)) => Err(invalid(format!("authorization_parameters: {name} cannot be set"))),
        None => Ok(()),
    }
}

/// Checks an endpoint: `https`, or `http` on loopback; no user, password or fragment.
pub(super) fn check_endpoint(setting: &str, text: &str) -> Result<oauth2::url::Url, OAuthError> {
    if text.len() > MAX_SETTING {
        return Err(invalid(format!("{setting}: the URL has more than {MAX_SETTING} bytes")));
    }
    let url: oauth2::url::Url = text.parse().map_err(|_| invalid(format!("{setting}: this is not a URL")))?;
    let is_secure = match url.scheme() {
        "https" => url.host().is_some(),
        "http" => is_loopback(&url),
        _ => false,
    };
    if !is_secure {
        return Err(invalid(format!(
            "{setting}: the URL must begin with https:// (http:// on loopback only)"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(invalid(format!("{setting}: the URL must have no user, password or fragment")));
    }
    Ok(url)
}

/// Returns whether the host is a loopback address or `localhost`.
fn is_loopback(url: &oauth2::url::Url) -> bool {
    use oauth2::url::Host;
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Returns whether a URL's host is a loopback address or `localhost`.
pub(super) fn is_loopback_url(text: &str) -> bool {
    text.parse().is_ok_and(|url| is_loopback(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> ClientRegistration {
        ClientRegistration { id: "id".into(), secret: Some("hunter2".to_owned().into()) }
    }

    #[test]
    fn presets_are_valid_and_hide_the_secret() {
        for settings in [ProviderSettings::google(), ProviderSettings::microsoft("common").unwrap()] {
            let provider = Provider::new(settings, registration()).unwrap();
            assert!(!format!("{provider:?} {:?}", registration()).contains("hunter2"));
        }
    }

    #[test]
    fn endpoints_are_https_or_loopback() {
        for (endpoint, is_valid) in [
            ("https://login.example/token", true),
            ("http://127.0.0.1:8080/token", true),
            ("http://[::1]:8080/token", true),
            ("http://localhost/token", true),
            ("http://login.example/token", false),
            ("http://127.0.0.1.example/token", false),
            ("http://localhost.example/token", false),
            ("ftp://127.0.0.1/token", false),
            ("https://user@login.example/token", false),
            ("https://login.example/token#part", false),
            ("login.example/token", false),
            ("", false),
        ] {
            for device in [false, true] {
                let mut settings = ProviderSettings::google();
                match device {
                    true => settings.device_endpoint = Some(endpoint.to_owned()),
                    false => settings.token_endpoint = endpoint.to_owned(),
                }
                let provider = Provider::new(settings, registration());
                assert_eq!(provider.is_ok(), is_valid, "{endpoint}: {provider:?}");
                if let Err(error) = provider {
                    assert_eq!(error.code(), OAuthErrorCode::ProviderInvalid);
                }
            }
        }
    }

    #[test]
    fn tenants_cannot_change_the_endpoint() {
        for tenant in ["common", "contoso.onmicrosoft.com", "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"] {
            assert!(ProviderSettings::microsoft(tenant).is_ok(), "{tenant}");
        }
        for tenant in ["", "..", "a/b", "a?b", "a#b", "a@b", "a b", "ä", "%2f"] {
            let refused = ProviderSettings::microsoft(tenant).unwrap_err();
            assert_eq!(refused.code(), OAuthErrorCode::ProviderInvalid, "{tenant}");
        }
    }

    #[test]
    fn parameters_of_the_protocol_cannot_be_replaced() {
        let mut settings = ProviderSettings::google();
        settings.authorization_parameters.push(("state".into(), "fixed".into()));
        assert_eq!(
            Provider::new(settings, registration()).unwrap_err().code(),
            OAuthErrorCode::ProviderInvalid
        );
    }

    #[test]
    fn names_the_variable_that_is_missing() {
        let google = ProviderSettings::google();
        let with_id = |name: &str| (name == "GOOGLE_CLIENT_ID").then(|| "id".to_owned());
        for (lookup, named) in [
            (&(|_: &str| None) as &dyn Fn(&str) -> Option<String>, "GOOGLE_CLIENT_ID"),
            (&|_: &str| Some(" ".to_owned()), "GOOGLE_CLIENT_ID"),
            (&with_id, "GOOGLE_CLIENT_SECRET"),
        ] {
            let missing = ClientRegistration::from_variables(&google, lookup).unwrap_err();
            assert_eq!(missing.code(), OAuthErrorCode::ClientNotConfigured);
            assert!(missing.message().contains(named), "{missing}");
        }
        // A public client has no secret.
        let microsoft = ProviderSettings::microsoft("common").unwrap();
        let public = |name: &str| (name == "MICROSOFT_CLIENT_ID").then(|| "id".to_owned());
        assert!(ClientRegistration::from_variables(&microsoft, public).unwrap().secret.is_none());
    }
}
