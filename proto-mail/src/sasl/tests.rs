//! Both roles of every mechanism against each other.

use alloc::boxed::Box;
use alloc::string::String;

use super::context::tests::bound;
use super::*;
use crate::token::{AuthQuestion, AuthVerdict};
use crate::{Credentials, Secret};

/// Not ASCII, if SCRAM supports that.
const USER: &str = if cfg!(feature = "saslprep") { "jürgen" } else { "jorgen" };
const PASSWORD: &str = if cfg!(feature = "saslprep") { "pass wörd" } else { "pass word" };

/// Runs both sides against each other. `verdict` answers the server's questions.
fn converse(
    mechanism: Mechanism,
    credentials: Credentials,
    initial_response: bool,
    verdict: impl Fn(&AuthQuestion) -> AuthVerdict,
) -> (Box<dyn ClientExchange>, bool) {
    let mut client = client_exchange(mechanism, credentials, &mut bound(1), Mechanisms::all()).unwrap();
    let mut server = server_exchange(mechanism, &mut bound(2), Mechanisms::all()).unwrap();
    let mut kept = client.initial_response().unwrap();
    let mut step = match (&kept, initial_response) {
        (Some(first), true) => server.step(Some(first.expose())).unwrap(),
        _ => server.step(None).unwrap(),
    };
    if initial_response {
        kept = None;
    }
    for _ in 0..8 {
        step = match step {
            ServerStep::Challenge(challenge) => {
                let answer = match kept.take() {
                    Some(first) => first,
                    None => client.step(&challenge).unwrap(),
                };
                server.step(Some(answer.expose())).unwrap()
            }
            ServerStep::Ask(question) => server.answer(verdict(&question)),
            ServerStep::Accepted => return (client, true),
            ServerStep::Rejected | ServerStep::Unavailable => return (client, false),
        };
    }
    panic!("{mechanism} does not end");
}

fn credentials(mechanism: Mechanism) -> Credentials {
    match mechanism {
        Mechanism::External => Credentials::External { authorization: USER.into() },
        Mechanism::Anonymous => Credentials::anonymous(USER),
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => {
            Credentials::bearer("a,l=ice@example.test", "ya29.abc")
        }
        _ => Credentials::password(USER, PASSWORD.as_bytes()),
    }
}

fn expected(question: &AuthQuestion) -> AuthVerdict {
    let credentials = match question {
        AuthQuestion::Verify(credentials) => credentials,
        AuthQuestion::Keys { hash, username } if username == USER => {
            let keys = ScramKeys::derive(*hash, PASSWORD, b"salt", MIN_ITERATIONS).unwrap();
            return AuthVerdict::Keys(Box::new(keys));
        }
        AuthQuestion::Authorize { authorization, username } if username == USER => {
            return if authorization.is_empty() { AuthVerdict::Accept } else { AuthVerdict::Reject };
        }
        _ => return AuthVerdict::Reject,
    };
    let good = match credentials {
        Credentials::Password { username, password, .. } => {
            username == USER && password.expose() == PASSWORD.as_bytes()
        }
        Credentials::External { authorization: name } | Credentials::Anonymous { trace: name } => {
            name == USER
        }
        Credentials::Bearer { username, token } => {
            username == "a,l=ice@example.test" && token.expose() == "ya29.abc"
        }
    };
    if good { AuthVerdict::Accept } else { AuthVerdict::Reject }
}

#[test]
fn both_roles_complete_every_mechanism() {
    for mechanism in Mechanism::ALL {
        for initial_response in [false, true] {
            let (client, accepted) = converse(mechanism, credentials(mechanism), initial_response, expected);
            assert!(accepted, "{mechanism} {initial_response}");
            assert!(client.is_done(), "{mechanism} {initial_response}");
        }
    }
}

#[test]
fn a_rejected_token_ends_with_the_servers_reason() {
    for mechanism in [Mechanism::XOAuth2, Mechanism::OAuthBearer] {
        let (client, accepted) = converse(mechanism, credentials(mechanism), true, |_| AuthVerdict::Reject);
        assert!(!accepted);
        assert!(client.failure().is_some_and(|reason| reason.contains("status")), "{client:?}");
    }
}

#[test]
fn rejects_a_challenge_after_the_end() {
    for mechanism in Mechanism::ALL {
        let mut client =
            client_exchange(mechanism, credentials(mechanism), &mut bound(1), Mechanisms::all()).unwrap();
        let _ = client.initial_response().unwrap();
        let mut refused = false;
        for _ in 0..4 {
            refused |= client.step(b"again").is_err();
        }
        assert!(refused, "{mechanism} never ends");
    }
}

#[test]
fn rejects_nul_and_other_separators_in_names() {
    let mut client = client_exchange(
        Mechanism::Plain,
        Credentials::password("al\0ice", &b"x"[..]),
        &mut bound(1),
        Mechanisms::all(),
    )
    .unwrap();
    assert_eq!(client.initial_response().unwrap_err(), SaslError::UnencodableCredentials);
    for bad in [&b"no-nul"[..], b"a\0b", b"a\0b\0c\0d", b"\0\0p", b"\0u\0"] {
        assert!(
            server_exchange(Mechanism::Plain, &mut bound(2), Mechanisms::all())
                .unwrap()
                .step(Some(bad))
                .is_err(),
            "{bad:?}"
        );
    }
    let mut client = super::client_exchange(
        Mechanism::XOAuth2,
        Credentials::bearer("a\x01b", "t"),
        &mut bound(1),
        Mechanisms::all(),
    )
    .unwrap();
    assert_eq!(client.initial_response().unwrap_err(), SaslError::UnencodableCredentials);
}

#[test]
fn debug_shows_no_secret() {
    for mechanism in Mechanism::ALL {
        let mut client =
            client_exchange(mechanism, credentials(mechanism), &mut bound(1), Mechanisms::all()).unwrap();
        let mut server = server_exchange(mechanism, &mut bound(2), Mechanisms::all()).unwrap();
        let first = client.initial_response().unwrap();
        let _ = server.step(None);
        let step = first.as_ref().map(|first| server.step(Some(first.expose())));
        let shown = alloc::format!("{client:?} {server:?} {first:?} {step:?}");
        for part in ["rgen", "pass", "ya29", "ice"] {
            assert!(!shown.contains(part), "{mechanism}: {shown}");
        }
    }
}

#[test]
fn chooses_the_strongest_fitting_mechanism() {
    let offered = Mechanisms::NONE.with(Mechanism::Login).with(Mechanism::Plain).with(Mechanism::XOAuth2);
    let password = Credentials::password("u", &b"p"[..]);
    assert_eq!(offered.choose(Mechanisms::all(), &password), Some(Mechanism::Plain));
    let only_login = Mechanisms::NONE.with(Mechanism::Login);
    assert_eq!(offered.choose(only_login, &password), Some(Mechanism::Login));
    assert_eq!(only_login.choose(Mechanisms::all(), &Credentials::bearer("u", "t")), None);
}

/// Otherwise the client would authenticate with another name or password.
#[test]
fn scram_sends_nothing_that_saslprep_rejects() {
    let beyond = if cfg!(feature = "saslprep") { "a\u{7}b" } else { "jürgen" };
    for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256Plus] {
        for (name, password) in [(beyond, "good"), ("good", beyond)] {
            let credentials = Credentials::password(name, password.as_bytes());
            let mut client =
                client_exchange(mechanism, credentials, &mut bound(1), Mechanisms::all()).unwrap();
            assert_eq!(
                client.initial_response().unwrap_err(),
                SaslError::UnencodableCredentials,
                "{mechanism}"
            );
            assert!(!client.is_done());
        }
        // No user has such a name.
        let first = alloc::format!("n,,n={beyond},r=abc");
        let mut server = server_exchange(mechanism, &mut bound(2), Mechanisms::NONE).unwrap();
        let step = server.step(Some(first.as_bytes()));
        assert!(matches!(step, Err(SaslError::Malformed) | Ok(ServerStep::Rejected)), "{mechanism} {step:?}");
    }
}

/// The computations for a decoy and for real keys are the same, step by step.
#[test]
fn an_unknown_user_costs_the_same_work() {
    let secret = Secret::new(alloc::vec![7; 32]);
    for mechanism in Mechanism::ALL.into_iter().filter(|mechanism| mechanism.hash().is_some()) {
        let hash = mechanism.hash().unwrap();
        let known = || ScramKeys::derive(hash, PASSWORD, b"sixteen bytes!!!", MIN_ITERATIONS).unwrap();
        let unknown = || ScramKeys::decoy(hash, &secret, "unknown", MIN_ITERATIONS, 16);
        let flag = if mechanism.uses_channel_binding() { "p=tls-exporter" } else { "n" };
        let work = |keys: ScramKeys, name: &str, proof: usize| {
            let mut server = server_exchange(mechanism, &mut bound(2), Mechanisms::all()).unwrap();
            let first = alloc::format!("{flag},,n={name},r=abc");
            super::hash::work::take();
            let _ = server.step(Some(first.as_bytes())).unwrap();
            let ServerStep::Challenge(challenge) = server.answer(AuthVerdict::Keys(Box::new(keys))) else {
                panic!("{mechanism} asks for keys")
            };
            let asked = super::hash::work::take();
            let challenge = String::from_utf8(challenge).unwrap();
            let nonce = challenge.split_once(",s=").unwrap().0;
            let proof = encode_base64(&alloc::vec![1; proof]);
            let last = [b"c=biws,", nonce.as_bytes(), b",p=", proof.expose()].concat();
            let step = server.step(Some(&last)).unwrap();
            assert!(matches!(step, ServerStep::Rejected), "{mechanism}");
            (asked, super::hash::work::take())
        };
        for proof in [hash.output_len(), 1] {
            // Names of the same length, because the name is hashed too.
            let (real, decoy) = (work(known(), "present", proof), work(unknown(), "unknown", proof));
            assert_eq!(real, decoy, "{mechanism}");
            assert!(!real.1.is_empty() && real.0.is_empty(), "{mechanism}: {real:?}");
        }
    }
}
