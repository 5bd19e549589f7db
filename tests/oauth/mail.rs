//! Logins to a mail server with tokens of the authorization server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mailclient::Endpoint;
use mailclient::diagnosis::{Diagnosis, Stage, diagnose};
use mailclient::endpoint::CredentialSource;
use mailclient::oauth::{AccessTokens, MemoryTokenStore, OAuthCredentials};
use mailtest::{AuthorizationServer, Server};
use proto_mail::{Credentials, Mechanism};

use crate::setup::{ACCOUNT, consent, http, provider};

const USER: &str = "ann";

struct Mail {
    authorization: AuthorizationServer,
    mail: Server,
    source: OAuthCredentials,
}

impl Mail {
    fn start(lifetime: Duration) -> Self {
        let authorization = AuthorizationServer::builder().lifetime(lifetime).start().unwrap();
        let mail =
            Server::builder().account(USER, "password").accept_tokens_of(&authorization).start().unwrap();
        let provider = provider(&authorization);
        let tokens = AccessTokens::new(Arc::<MemoryTokenStore>::default(), http());
        tokens.connected(ACCOUNT, &consent(&authorization, &provider).unwrap()).unwrap();
        let source = OAuthCredentials::new(Arc::new(tokens), Arc::new(provider), ACCOUNT, USER);
        Self { authorization, mail, source }
    }

    fn diagnose(
        &self,
        scheme: &str,
        address: SocketAddr,
        mechanism: Mechanism,
        source: &dyn CredentialSource,
    ) -> Diagnosis {
        let url = format!("{scheme}://{USER}@localhost:{}", address.port()).parse().unwrap();
        let endpoint = Endpoint::new(url, self.mail.tls().unwrap()).mechanisms([mechanism]);
        diagnose(&endpoint, Some(source), Stage::Login, |_| ())
    }
}

#[test]
fn both_mechanisms_log_in_to_both_protocols() {
    let mail = Mail::start(Duration::from_secs(3600));
    for mechanism in [Mechanism::OAuthBearer, Mechanism::XOAuth2] {
        for (scheme, address) in [("imaps", mail.mail.imaps()), ("smtp", mail.mail.smtp())] {
            let diagnosis = mail.diagnose(scheme, address, mechanism, &mail.source);
            assert!(diagnosis.error().is_none(), "{scheme} {mechanism}: {:?}", diagnosis.error());
        }
    }
    assert_eq!(mail.authorization.counts().refreshed, 0);
}

#[test]
fn a_token_that_the_server_refuses_is_renewed_once() {
    let mail = Mail::start(Duration::from_secs(3600));
    for (scheme, address) in [("imaps", mail.mail.imaps()), ("smtp", mail.mail.smtp())] {
        mail.authorization.expire_access_tokens();
        let diagnosis = mail.diagnose(scheme, address, Mechanism::OAuthBearer, &mail.source);
        assert!(diagnosis.error().is_none(), "{scheme}: {:?}", diagnosis.error());
    }
    assert_eq!(mail.authorization.counts().refreshed, 2);
    // When the consent is withdrawn, the error says what to do.
    mail.authorization.revoke_all();
    let diagnosis = mail.diagnose("imaps", mail.mail.imaps(), Mechanism::OAuthBearer, &mail.source);
    let error = diagnosis.error().unwrap().to_string();
    assert!(error.contains("oauth_refresh_failed") && error.contains("connect the account again"), "{error}");
}

#[test]
fn a_mail_server_refuses_other_tokens_and_other_names() {
    let mail = Mail::start(Duration::from_secs(3600));
    let provider = provider(&mail.authorization);
    let valid = consent(&mail.authorization, &provider).unwrap();
    assert!(!valid.has_expired(Timestamp::now()));
    let token = valid.access.expose();
    for (user, token) in [(USER, "another token"), ("nemo", token)] {
        let wrong = Credentials::bearer(user, token);
        let diagnosis = mail.diagnose("imaps", mail.mail.imaps(), Mechanism::OAuthBearer, &wrong);
        let error = diagnosis.error().unwrap();
        assert_eq!(error.kind(), mailclient::ErrorKind::Refused, "{error}");
    }
    // A server that checks no tokens does not offer the mechanisms.
    let other = Server::start().unwrap();
    let diagnosis = mail.diagnose("imaps", other.imaps(), Mechanism::XOAuth2, &mail.source);
    assert!(diagnosis.error().unwrap().to_string().contains("XOAUTH2"), "{:?}", diagnosis.error());
}
