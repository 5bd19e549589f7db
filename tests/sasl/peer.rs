//! `rsasl` as a client and as a server that knows one user.

use proto_mail::Mechanism;
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms;
use rsasl::mechanisms::anonymous::AnonymousToken;
use rsasl::mechanisms::oauthbearer::properties::{OAuthBearerError, OAuthBearerValidate};
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::mechanisms::xoauth2::properties::XOAuth2Validate;
use rsasl::prelude::{
    ChannelBindingCallback, Mechname, MessageSent, Registry, SASLClient, SASLConfig, SASLServer, Session,
    SessionError, State, Validation,
};
use rsasl::property::{AuthId, AuthzId, OAuthBearerToken, Password};
use rsasl::validate::{NoValidation, Validate, ValidationError};

use crate::{BINDING, Hand, PASSWORD, SALT, TOKEN};

/// A conversation with the peer.
pub(crate) struct Peer(Side);

enum Side {
    Client(Box<Session<NoValidation, Binding>>),
    Server(Box<Session<Verdict, Binding>>),
}

/// The peer's answer to a message.
pub(crate) struct Said {
    pub(crate) message: Option<Vec<u8>>,
    pub(crate) finished: bool,
}

/// Whether the server's application accepted.
struct Verdict;

impl Validation for Verdict {
    type Value = bool;
}

struct Binding;

impl ChannelBindingCallback for Binding {
    fn get_cb_data(&self, name: &str) -> Option<&[u8]> {
        (name == "tls-exporter").then_some(&BINDING[..])
    }
}

/// The peer's application, in both roles.
struct Application {
    name: String,
    hand: Hand,
    mechanism: Mechanism,
}

impl Peer {
    /// As a client the peer supports no `-PLUS`.
    pub(crate) fn client(mechanism: Mechanism, name: &str, hand: Hand) -> Self {
        let config = config(mechanism, name, hand);
        let offered = Mechname::parse(mechanism.name().as_bytes()).unwrap();
        let session = SASLClient::with_cb(config, Binding).start_suggested(&[offered]).unwrap();
        Self(Side::Client(Box::new(session)))
    }

    pub(crate) fn server(mechanism: Mechanism, name: &str) -> Self {
        let config = config(mechanism, name, Hand::Right);
        let chosen = Mechname::parse(mechanism.name().as_bytes()).unwrap();
        let session =
            SASLServer::<Verdict, Binding>::with_cb(config, Binding).start_suggested(chosen).unwrap();
        Self(Side::Server(Box::new(session)))
    }

    /// The client's first message, if its mechanism sends one.
    pub(crate) fn first(&mut self) -> Option<Vec<u8>> {
        match &self.0 {
            Side::Client(session) if session.are_we_first() => self.step(None).unwrap().message,
            _ => None,
        }
    }

    pub(crate) fn step(&mut self, message: Option<&[u8]>) -> Result<Said, SessionError> {
        let mut out = Vec::new();
        let state = match &mut self.0 {
            Side::Client(session) => session.step(message, &mut out),
            Side::Server(session) => session.step(message, &mut out),
        }?;
        let message = (!matches!(state, State::Finished(MessageSent::No))).then_some(out);
        Ok(Said { message, finished: matches!(state, State::Finished(_)) })
    }

    pub(crate) fn accepted(&mut self) -> bool {
        match &mut self.0 {
            Side::Client(_) => false,
            Side::Server(session) => session.validation().unwrap_or(false),
        }
    }
}

/// The mechanisms without channel binding, and those with it. A peer that supports both treats an offer of only the
/// first kind as a downgrade.
static UNBOUND: &[rsasl::prelude::Mechanism] = &[
    mechanisms::plain::PLAIN,
    mechanisms::login::LOGIN,
    mechanisms::external::EXTERNAL,
    mechanisms::anonymous::ANONYMOUS,
    mechanisms::xoauth2::XOAUTH2,
    mechanisms::oauthbearer::OAUTHBEARER,
    mechanisms::scram::SCRAM_SHA1,
    mechanisms::scram::SCRAM_SHA256,
];
static BOUND: &[rsasl::prelude::Mechanism] =
    &[mechanisms::scram::SCRAM_SHA1_PLUS, mechanisms::scram::SCRAM_SHA256_PLUS];

fn config(mechanism: Mechanism, name: &str, hand: Hand) -> std::sync::Arc<SASLConfig> {
    SASLConfig::builder()
        .with_registry(Registry::with_mechanisms(if mechanism.uses_channel_binding() {
            BOUND
        } else {
            UNBOUND
        }))
        .with_callback(Application { name: name.to_owned(), hand, mechanism })
        .unwrap()
}

impl Application {
    /// A name as SCRAM and OAUTHBEARER write it (RFC 5801 §4): the peer's server returns it escaped, and its
    /// OAUTHBEARER client does not escape it.
    fn escaped(&self) -> String {
        self.name.replace('=', "=3D").replace(',', "=2C")
    }

    fn knows(&self, name: Option<&str>) -> bool {
        let escapes = self.mechanism.hash().is_some() || matches!(self.mechanism, Mechanism::OAuthBearer);
        let name_as_it_comes = if escapes { self.escaped() } else { self.name.clone() };
        name.is_some_and(|name| name == name_as_it_comes || name == name_as_it_comes.replace('\u{ad}', ""))
    }

    /// The peer's OAUTHBEARER server keeps the scheme in front of the token.
    fn token_is_good(token: &str) -> bool {
        token.strip_prefix("Bearer ").unwrap_or(token) == TOKEN
    }
}

impl SessionCallback for Application {
    fn callback(
        &self,
        _: &SessionData,
        context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        // As a server.
        if let Some(hash) = self.mechanism.hash().filter(|_| self.knows(context.get_ref::<AuthId>())) {
            let (stored, server) = crate::written_keys(hash);
            request.satisfy::<ScramStoredPassword<'_>>(&ScramStoredPassword::new(
                4096, SALT, &stored, &server,
            ))?;
        }
        if let Some(token) = context.get_ref::<OAuthBearerToken>() {
            let error = OAuthBearerError::new("invalid_token", None, None);
            request.satisfy::<OAuthBearerValidate>(&if Self::token_is_good(token) {
                Ok(())
            } else {
                Err(error)
            })?;
            request.satisfy::<XOAuth2Validate>(&if Self::token_is_good(token) {
                Ok(())
            } else {
                Err(r#"{"status":"401"}"#)
            })?;
        }
        // As a client.
        if matches!(self.mechanism, Mechanism::External) {
            request.satisfy::<AuthzId>(&self.name)?;
        }
        if matches!(self.mechanism, Mechanism::OAuthBearer) {
            request.satisfy::<AuthzId>(&self.escaped())?;
        }
        request
            .satisfy::<AuthId>(&self.name)?
            .satisfy::<Password>(crate::password(self.hand).as_bytes())?
            .satisfy::<OAuthBearerToken>(crate::token(self.hand))?
            .satisfy::<AnonymousToken>(&self.name)?;
        Ok(())
    }

    fn validate(
        &self,
        _: &SessionData,
        context: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        let good = match self.mechanism {
            Mechanism::External => self.knows(context.get_ref::<AuthzId>()),
            Mechanism::Anonymous => self.knows(context.get_ref::<AnonymousToken>()),
            Mechanism::OAuthBearer => {
                self.knows(context.get_ref::<AuthzId>())
                    && context.get_ref::<OAuthBearerToken>().is_some_and(Self::token_is_good)
            }
            Mechanism::XOAuth2 => {
                self.knows(context.get_ref::<AuthId>())
                    && context.get_ref::<OAuthBearerToken>().is_some_and(Self::token_is_good)
            }
            Mechanism::Plain | Mechanism::Login => {
                let password = context.get_ref::<Password>();
                self.knows(context.get_ref::<AuthId>()) && password == Some(PASSWORD.as_bytes())
            }
            // The proof was checked with the keys.
            _ => self.knows(context.get_ref::<AuthId>()),
        };
        validate.with::<Verdict, _>(|| Ok(good))?;
        Ok(())
    }
}
