//! Each SASL mechanism against `rsasl`, an independent library, in both roles; and logins in both protocols, by
//! built-in mechanisms and by those that an application provides.
//!
//! This file speaks no protocol: it passes messages from one side to the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test stops")]

mod attempts;
mod binding;
mod conversation;
mod custom_mechanisms;
mod lines;
mod peer;
mod raw;
mod toy_mechanism;

use peer::Peer;
use proto_mail::sasl::{self, ClientExchange, SaslContext, ScramHash, ScramKeys, ServerExchange, ServerStep};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, ChannelBinding, Credentials, Mechanism, Mechanisms, Secret, Secure};

/// Names that need escaping or preparing in some mechanism, and plain ones.
const NAMES: [&str; 4] = ["user", "jane=doe,esq", "Grüße", "i\u{ad}x"];
const PASSWORD: &str = "p\u{e9}ncil =,";
const TOKEN: &str = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
const BINDING: [u8; 32] = [7; 32];
const SALT: &[u8] = b"sixteen bytes!!!";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Refused,
}

/// The credentials of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hand {
    Right,
    Wrong,
}

#[test]
fn our_client_works_with_rsasl_servers() {
    each_case(Mechanism::ALL, |mechanism, name, hand| {
        let mut ours = sasl::client_exchange(
            mechanism,
            credentials(mechanism, name, hand),
            &mut session(),
            offered(mechanism),
        )
        .unwrap();
        let mut theirs = Peer::server(mechanism, name);
        client_against(&mut *ours, &mut theirs)
    });
}

#[test]
fn our_server_works_with_rsasl_clients() {
    let spoken = Mechanism::ALL.into_iter().filter(|mechanism| !mechanism.uses_channel_binding());
    each_case(spoken, |mechanism, name, hand| {
        let mut ours = sasl::server_exchange(mechanism, &mut session(), offered(mechanism)).unwrap();
        let mut theirs = Peer::client(mechanism, name, hand);
        server_against(&mut *ours, &mut theirs, name)
    });
}

/// A proof that is bound to another channel is rejected.
#[test]
fn rejects_a_proof_for_another_channel() {
    for mechanism in [Mechanism::ScramSha1Plus, Mechanism::ScramSha256Plus] {
        let elsewhere =
            || SaslContext::secure(&Secure::tls(ChannelBinding::TlsExporter([8; 32])).with_seed([1; 32]));
        let credentials = credentials(mechanism, "user", Hand::Right);
        let mut ours =
            sasl::client_exchange(mechanism, credentials, &mut elsewhere(), offered(mechanism)).unwrap();
        assert_eq!(
            client_against(&mut *ours, &mut Peer::server(mechanism, "user")),
            Outcome::Refused,
            "{mechanism:?}"
        );
    }
}

fn each_case(
    mechanisms: impl IntoIterator<Item = Mechanism>,
    outcome: impl Fn(Mechanism, &str, Hand) -> Outcome,
) {
    for mechanism in mechanisms {
        for name in NAMES {
            assert_eq!(outcome(mechanism, name, Hand::Right), Outcome::Accepted, "{mechanism:?} {name:?}");
            if !matches!(mechanism, Mechanism::External | Mechanism::Anonymous) {
                assert_eq!(outcome(mechanism, name, Hand::Wrong), Outcome::Refused, "{mechanism:?} {name:?}");
            }
        }
    }
}

fn session() -> SaslContext {
    SaslContext::secure(&Secure::tls(ChannelBinding::TlsExporter(BINDING)).with_seed([3; 32]))
}

/// The mechanisms of a server that offers this one; without channel binding it offers no `-PLUS`.
fn offered(mechanism: Mechanism) -> Mechanisms {
    [mechanism].into_iter().collect()
}

fn credentials(mechanism: Mechanism, name: &str, hand: Hand) -> Credentials {
    match mechanism {
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => Credentials::bearer(name, token(hand).to_owned()),
        Mechanism::External => Credentials::External { authorization: name.to_owned() },
        Mechanism::Anonymous => Credentials::anonymous(name),
        _ => Credentials::password(name, password(hand).as_bytes().to_vec()),
    }
}

const fn password(hand: Hand) -> &'static str {
    match hand {
        Hand::Right => PASSWORD,
        Hand::Wrong => "something else",
    }
}

const fn token(hand: Hand) -> &'static str {
    match hand {
        Hand::Right => TOKEN,
        Hand::Wrong => "expired",
    }
}

/// Runs our client's side. It accepts success only when its mechanism has finished.
fn client_against(ours: &mut dyn ClientExchange, theirs: &mut Peer) -> Outcome {
    let mut message = ours.initial_response().unwrap().map(|secret| secret.expose().clone());
    for _ in 0..6 {
        let Ok(said) = theirs.step(message.as_deref()) else { return Outcome::Refused };
        if let Some(challenge) = &said.message {
            match ours.step(challenge) {
                Ok(response) => message = Some(response.expose().clone()),
                Err(_) => return Outcome::Refused,
            }
        }
        if said.finished {
            return if theirs.accepted() && ours.is_done() { Outcome::Accepted } else { Outcome::Refused };
        }
    }
    panic!("{ours:?} and its peer never finish");
}

/// Runs our server's side, with an application that knows one user.
fn server_against(ours: &mut dyn ServerExchange, theirs: &mut Peer, name: &str) -> Outcome {
    let mut message = theirs.first();
    for _ in 0..6 {
        let Ok(mut step) = ours.step(message.as_deref()) else { return Outcome::Refused };
        while let ServerStep::Ask(question) = step {
            step = ours.answer(answer(&question, name));
        }
        match step {
            ServerStep::Challenge(challenge) => match theirs.step(Some(&challenge)) {
                Ok(said) => message = Some(said.message.unwrap_or_default()),
                Err(_) => return Outcome::Refused,
            },
            ServerStep::Accepted => return Outcome::Accepted,
            _ => return Outcome::Refused,
        }
    }
    panic!("{ours:?} and its peer never finish");
}

fn answer(question: &AuthQuestion, name: &str) -> AuthVerdict {
    let prepared = name.replace('\u{ad}', "");
    let known = |username: &str| username == name || username == prepared;
    let yes = match question {
        AuthQuestion::Keys { hash, username } if known(username) => {
            return AuthVerdict::Keys(Box::new(keys(*hash)));
        }
        AuthQuestion::Verify(Credentials::Password { username, password, .. }) => {
            known(username) && password.expose() == PASSWORD.as_bytes()
        }
        AuthQuestion::Verify(Credentials::Bearer { username, token }) => {
            known(username) && token.expose() == TOKEN
        }
        AuthQuestion::Verify(Credentials::External { authorization }) => known(authorization),
        AuthQuestion::Verify(Credentials::Anonymous { trace }) => trace == name,
        AuthQuestion::Authorize { authorization, username } => authorization.is_empty() && known(username),
        _ => false,
    };
    if yes { AuthVerdict::Accept } else { AuthVerdict::Reject }
}

fn keys(hash: ScramHash) -> ScramKeys {
    ScramKeys::derive(hash, PASSWORD, SALT, 4096).unwrap()
}

/// The stored keys as bytes, for the peer.
fn written_keys(hash: ScramHash) -> (Vec<u8>, Vec<u8>) {
    let text = keys(hash).to_text();
    let (_, both) = text.expose().rsplit_once('$').unwrap();
    let (stored, server) = both.split_once(':').unwrap();
    let bytes =
        |line: &str| -> Vec<u8> { Secret::expose(&sasl::decode_base64(line.as_bytes()).unwrap()).clone() };
    (bytes(stored), bytes(server))
}
