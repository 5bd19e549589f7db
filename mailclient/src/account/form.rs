//! [`AccountForm`]: what a user has entered, and the check of all of its fields.

use serde::{Deserialize, Deserializer};

use super::address::{check_address, check_endpoint, check_host, check_text, check_user};
use super::field_error::{FieldError, InvalidFields};
use super::settings::{AccountSettings, AuthMode, IDENTITY_LIMIT, Identity, OAuthProvider, ServerSettings};
use crate::endpoint::{Protocol, TlsMode, default_port};

/// The most bytes of a display name.
const DISPLAY_NAME_LIMIT: usize = 256;

/// The most scopes of an OAuth 2.0 provider.
const SCOPE_LIMIT: usize = 32;

/// An account as a user enters it. All texts may be empty or wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountForm {
    /// The name of the account. Default: the address.
    pub name: String,
    /// The address.
    pub address: String,
    /// The name of an [`AuthMode`]. Default: `password`.
    pub auth_mode: String,
    /// The IMAP server.
    pub imap: Option<ServerForm>,
    /// The submission server.
    pub smtp: Option<ServerForm>,
    /// The senders. Default: the address.
    pub identities: Vec<Identity>,
    /// The provider of `oauth_custom`.
    pub oauth: Option<OAuthProvider>,
}

/// A server as a user enters it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerForm {
    /// The host name or IP address.
    pub host: String,
    /// The port, a number from 1 to 65535. Default: the usual one.
    #[serde(deserialize_with = "text_or_number")]
    pub port: String,
    /// `tls` from the first byte (the default), or `starttls`.
    pub security: String,
    /// The user who logs in. Default: the address.
    pub user: String,
}

impl AccountForm {
    /// Checks all fields, and returns the name and the settings of the account.
    ///
    /// # Errors
    /// The errors of all invalid fields.
    pub fn check(&self) -> Result<(String, AccountSettings), InvalidFields> {
        let mut errors = Errors::default();
        let address = self.address.trim().to_owned();
        errors.check("address", check_address(&address));
        let name = Some(self.name.trim()).filter(|name| !name.is_empty()).unwrap_or(&address).to_owned();
        errors.check("name", check_text(&name, mailstore::CLIENT_ACCOUNT_NAME_LIMIT));
        let auth_mode = self.auth_mode(&mut errors);
        if self.imap.is_none() && self.smtp.is_none() {
            errors.add("imap.host", "is missing");
        }
        let server = |form: &Option<ServerForm>, protocol, errors: &mut Errors| {
            form.as_ref().and_then(|form| form.check(protocol, &address, errors))
        };
        let imap = server(&self.imap, Protocol::Imap, &mut errors);
        let smtp = server(&self.smtp, Protocol::Smtp, &mut errors);
        let identities = self.identities(&address, &mut errors);
        let oauth = self.oauth(auth_mode, &mut errors);
        if !errors.0.is_empty() {
            return Err(InvalidFields(errors.0));
        }
        Ok((name, AccountSettings { address, auth_mode, imap, smtp, identities, oauth }))
    }

    fn auth_mode(&self, errors: &mut Errors) -> AuthMode {
        let mode = match self.auth_mode.trim() {
            "" => Some(AuthMode::Password),
            name => AuthMode::from_name(name),
        };
        mode.unwrap_or_else(|| {
            errors.add("auth_mode", "must be password, oauth_google, oauth_microsoft or oauth_custom");
            AuthMode::Password
        })
    }

    fn identities(&self, address: &str, errors: &mut Errors) -> Vec<Identity> {
        if self.identities.is_empty() {
            return vec![Identity { name: String::new(), address: address.to_owned() }];
        }
        if self.identities.len() > IDENTITY_LIMIT {
            errors.add("identities", format!("are {}; {IDENTITY_LIMIT} are allowed", self.identities.len()));
            return Vec::new();
        }
        for (index, identity) in self.identities.iter().enumerate() {
            errors.check(&format!("identities[{index}].address"), check_address(&identity.address));
            errors
                .check(&format!("identities[{index}].name"), check_text(&identity.name, DISPLAY_NAME_LIMIT));
        }
        self.identities.clone()
    }

    fn oauth(&self, mode: AuthMode, errors: &mut Errors) -> Option<OAuthProvider> {
        if mode != AuthMode::OauthCustom {
            if self.oauth.is_some() {
                errors.add("oauth", "is for the mode oauth_custom only");
            }
            return None;
        }
        let provider = self.oauth.clone().unwrap_or_default();
        let device = provider.device_authorization_endpoint.as_deref();
        if device.is_none() || !provider.authorization_endpoint.is_empty() {
            errors.check("oauth.authorization_endpoint", check_endpoint(&provider.authorization_endpoint));
        }
        errors.check("oauth.token_endpoint", check_endpoint(&provider.token_endpoint));
        if let Some(device) = device {
            errors.check("oauth.device_authorization_endpoint", check_endpoint(device));
        }
        match provider.client_id.as_str() {
            "" => errors.add("oauth.client_id", "is missing"),
            client_id => errors.check("oauth.client_id", check_text(client_id, 1_000)),
        }
        // RFC 6749 §3.3: printable ASCII without space, quotation mark and backslash.
        let is_scope = |scope: &String| {
            !scope.is_empty()
                && scope.len() <= 1_000
                && scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
        };
        if provider.scopes.len() > SCOPE_LIMIT || !provider.scopes.iter().all(is_scope) {
            errors.add("oauth.scopes", format!("must be at most {SCOPE_LIMIT} words of printable ASCII"));
        }
        Some(provider)
    }
}

impl ServerForm {
    fn check(&self, protocol: Protocol, address: &str, errors: &mut Errors) -> Option<ServerSettings> {
        let name = match protocol {
            Protocol::Imap => "imap",
            Protocol::Smtp => "smtp",
        };
        let host = self.host.trim();
        errors.check(&format!("{name}.host"), check_host(host));
        let tls = match self.security.trim() {
            "" | "tls" => Some(TlsMode::Implicit),
            "starttls" => Some(TlsMode::StartTls),
            "none" | "plain" => {
                errors.add(&format!("{name}.security"), "must be tls or starttls: accounts always use TLS");
                None
            }
            _ => {
                errors.add(&format!("{name}.security"), "must be tls or starttls");
                None
            }
        };
        let port = match self.port.trim() {
            "" => tls.map(|tls| default_port(protocol, tls)),
            text => {
                let port = text.parse::<u16>().ok().filter(|port| *port != 0);
                if port.is_none() {
                    errors.add(&format!("{name}.port"), "must be a number from 1 to 65535");
                }
                port
            }
        };
        let user = Some(self.user.trim()).filter(|user| !user.is_empty()).unwrap_or(address);
        errors.check(&format!("{name}.user"), check_user(user));
        Some(ServerSettings {
            host: host.to_ascii_lowercase(),
            port: port?,
            tls: tls?,
            user: user.to_owned(),
        })
    }
}

/// The errors found so far.
#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, field: &str, problem: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), problem: problem.into() });
    }

    fn check(&mut self, field: &str, outcome: Result<(), String>) {
        if let Err(problem) = outcome {
            self.add(field, problem);
        }
    }
}

/// Reads a text, or a number as text.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Text(String),
        Number(i64),
    }
    Ok(match Value::deserialize(deserializer)? {
        Value::Text(text) => text,
        Value::Number(number) => number.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> AccountForm {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn fills_in_what_is_usual() {
        let form = parse(
            r#"{"address": "ann@example.org", "imap": {"host": "IMAP.example.org"},
                "smtp": {"host": "::1", "port": 2587, "security": "starttls", "user": "ann"}}"#,
        );
        let (name, settings) = form.check().unwrap();
        assert_eq!(name, "ann@example.org");
        let imap = settings.url(Protocol::Imap).unwrap();
        assert_eq!(
            (imap.to_string().as_str(), imap.user.as_deref()),
            ("imaps://imap.example.org:993", Some("ann@example.org"))
        );
        let smtp = settings.url(Protocol::Smtp).unwrap();
        assert_eq!((smtp.to_string().as_str(), smtp.user.as_deref()), ("smtp://[::1]:2587", Some("ann")));
        assert_eq!(
            settings.identities,
            [Identity { name: String::new(), address: "ann@example.org".to_owned() }]
        );
        let json = serde_json::to_value(&settings).unwrap();
        assert_eq!((&json["auth_mode"], &json["smtp"]["security"]), (&"password".into(), &"starttls".into()));
        assert_eq!(serde_json::from_value::<AccountSettings>(json).unwrap(), settings);
    }

    #[test]
    fn reports_the_errors_of_all_fields() {
        let form = parse(
            r#"{"name": "a\nb", "address": "@example.org", "auth_mode": "oauth", "oauth": {},
                "imap": {"host": "imaps://h", "port": 70000, "security": "none"},
                "smtp": {"port": "0", "user": "a\u0000b"},
                "identities": [{"address": "a@b", "name": "\r\nBcc: x"}, {"address": ""}]}"#,
        );
        let InvalidFields(errors) = form.check().unwrap_err();
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        let expected = [
            "address",
            "name",
            "auth_mode",
            "imap.host",
            "imap.security",
            "imap.port",
            "smtp.host",
            "smtp.port",
            "smtp.user",
            "identities[0].name",
            "identities[1].address",
            "oauth",
        ];
        assert_eq!(fields, expected);
        assert_eq!(errors[6].to_string(), "smtp.host: is missing");
        let json = serde_json::to_value(InvalidFields(errors)).unwrap();
        assert_eq!(
            json[3],
            serde_json::json!({"field": "imap.host", "problem": "must be a host name, not a URL"})
        );
    }

    #[test]
    fn requires_a_server_and_limits_identities() {
        let one = Identity { name: String::new(), address: "a@b.example".to_owned() };
        let form = AccountForm {
            address: "a@b.example".to_owned(),
            identities: vec![one; IDENTITY_LIMIT + 1],
            ..AccountForm::default()
        };
        let text = form.check().unwrap_err().to_string();
        assert_eq!(text, "imap.host: is missing; identities: are 21; 20 are allowed");
        assert!(
            serde_json::from_str::<AccountForm>(r#"{"password": "x"}"#).is_err(),
            "a secret is not a setting"
        );
    }

    #[test]
    fn a_provider_of_ones_own_has_https_endpoints() {
        let form = |oauth: &str| {
            parse(&format!(
                r#"{{"address": "a@b.example", "auth_mode": "oauth_custom", "imap": {{"host": "h"}}, "oauth": {oauth}}}"#
            ))
        };
        let good = form(
            r#"{"authorization_endpoint": "https://a.example/auth", "token_endpoint": "https://a.example/token",
                "client_id": "x", "scopes": ["mail.read"]}"#,
        );
        assert!(good.check().unwrap().1.oauth.is_some());
        let bad = form(r#"{"token_endpoint": "http://a.example", "scopes": ["a b"]}"#).check().unwrap_err();
        let fields: Vec<&str> = bad.0.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            ["oauth.authorization_endpoint", "oauth.token_endpoint", "oauth.client_id", "oauth.scopes"]
        );
    }
}
