//! The exchange of each mechanism, by the mechanism or by its name.

use alloc::boxed::Box;

use super::{
    ClientExchange, CustomMechanisms, Mechanism, Mechanisms, SaslContext, ServerExchange, external, login,
    oauth, plain, scram,
};
use crate::{ChannelBinding, Credentials};

/// Creates the client's exchange for these credentials. Returns `None` if the mechanism cannot use them, or needs a nonce
/// or channel binding that `context` does not have.
///
/// `offered` are the mechanisms that the server offers. A client that supports channel binding tells the server if it was
/// not offered; a server that did offer it detects that an attacker removed the offer.
#[must_use]
pub fn client_exchange(
    mechanism: Mechanism,
    credentials: Credentials,
    context: &mut SaslContext,
    offered: Mechanisms,
) -> Option<Box<dyn ClientExchange>> {
    match (mechanism, credentials) {
        (Mechanism::Plain, Credentials::Password { authorization, username, password }) => {
            Some(Box::new(plain::Client::new(authorization, username, password)))
        }
        (Mechanism::Login, Credentials::Password { username, password, .. }) => {
            Some(Box::new(login::Client::new(username, password)))
        }
        (Mechanism::XOAuth2 | Mechanism::OAuthBearer, Credentials::Bearer { username, token }) => {
            Some(Box::new(oauth::Client::new(mechanism, username, token)))
        }
        (Mechanism::External, Credentials::External { authorization: message })
        | (Mechanism::Anonymous, Credentials::Anonymous { trace: message }) => {
            Some(Box::new(external::Client::new(mechanism, message)))
        }
        (_, Credentials::Password { authorization, username, password }) => {
            let (hash, plus) = (mechanism.hash()?, mechanism.plus()?);
            let flag = if mechanism.uses_channel_binding() {
                scram::BindingFlag::Bound
            } else if *context.binding() == ChannelBinding::None || offered.contains(plus) {
                scram::BindingFlag::Unbound
            } else {
                scram::BindingFlag::NotOffered
            };
            if !context.usable_mechanisms().contains(mechanism) {
                return None;
            }
            let nonce = context.next_nonce()?;
            let identity = scram::Identity { authorization, username, password };
            Some(Box::new(scram::Client::new((mechanism, hash), identity, nonce, flag, context.binding())))
        }
        _ => None,
    }
}

/// Creates the server's exchange for the mechanism with this name, in any case. Returns `None` if it is neither in
/// `offered` nor in `custom`.
#[must_use]
pub fn server_exchange_named(
    name: &[u8],
    context: &mut SaslContext,
    offered: Mechanisms,
    custom: &CustomMechanisms,
) -> Option<Box<dyn ServerExchange>> {
    match Mechanism::from_name(name) {
        Some(mechanism) if offered.contains(mechanism) => server_exchange(mechanism, context, offered),
        Some(_) => None,
        None => custom.begin(name, context),
    }
}

/// Creates the server's exchange for this mechanism. Returns `None` if it needs a nonce or channel binding that `context`
/// does not have. `offered` are the mechanisms that the server offers in this session.
#[must_use]
pub fn server_exchange(
    mechanism: Mechanism,
    context: &mut SaslContext,
    offered: Mechanisms,
) -> Option<Box<dyn ServerExchange>> {
    Some(match mechanism {
        Mechanism::Plain => Box::new(plain::Server),
        Mechanism::Login => Box::new(login::Server::default()),
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => Box::new(oauth::Server::new(mechanism)),
        Mechanism::External | Mechanism::Anonymous => Box::new(external::Server::new(mechanism)),
        Mechanism::ScramSha1
        | Mechanism::ScramSha1Plus
        | Mechanism::ScramSha256
        | Mechanism::ScramSha256Plus => {
            let (hash, plus) = (mechanism.hash()?, mechanism.plus()?);
            if !context.usable_mechanisms().contains(mechanism) {
                return None;
            }
            let plus_offered = if offered.intersection(context.usable_mechanisms()).contains(plus) {
                scram::PlusOffered::Yes
            } else {
                scram::PlusOffered::No
            };
            let nonce = context.next_nonce()?;
            Box::new(scram::Server::new((mechanism, hash), nonce, context.binding(), plus_offered))
        }
        Mechanism::Custom(_) => return None,
    })
}
