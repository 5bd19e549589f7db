//! SCRAM's channel binding flags (RFC 5802 §6) in both roles of both protocols: which one a client sends, and which
//! one a server accepts.

use proto_mail::sasl::{self, MIN_ITERATIONS, SaslContext, ScramHash, ScramKeys};
use proto_mail::token::AuthQuestion;
use proto_mail::{
    AuthVerdict, ChannelBinding, Credentials, Error, Limits, Mechanism, Mechanisms, Misuse, Secret, Secure,
};

use crate::conversation::{BOTH, End, How, scripted_over};
use crate::raw::{Ended, Raw};

fn base64(bytes: &[u8]) -> String {
    String::from_utf8(sasl::encode_base64(bytes).expose().clone()).unwrap()
}

/// The keys of the user's password, which is "secret".
fn keys(question: &AuthQuestion) -> AuthVerdict {
    let AuthQuestion::Keys { hash, .. } = question else { return AuthVerdict::Accept };
    let keys = ScramKeys::derive(*hash, "secret", b"sixteen bytes!!!", MIN_ITERATIONS).unwrap();
    AuthVerdict::Keys(Box::new(keys))
}

fn decoys(question: &AuthQuestion) -> AuthVerdict {
    let AuthQuestion::Keys { hash, username } = question else { return AuthVerdict::Reject };
    let secret = Secret::new(vec![3; 32]);
    AuthVerdict::Keys(Box::new(ScramKeys::decoy(*hash, &secret, username, MIN_ITERATIONS, 16)))
}

const NONE: ChannelBinding = ChannelBinding::None;
const EXPORTER: ChannelBinding = ChannelBinding::TlsExporter([9; 32]);

fn end_point() -> ChannelBinding {
    ChannelBinding::TlsServerEndPoint(vec![5; 32])
}

/// The server's answer to client-first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The server sends its part of the nonce.
    GoesOn,
    Ends(Ended),
}

const REFUSED: Outcome = Outcome::Ends(Ended::Rejected);
const ABSENT: Outcome = Outcome::Ends(Ended::Absent);

#[test]
fn server_accepts_only_the_flag_that_fits_channel_and_offer() {
    use Outcome::GoesOn;
    // The channel, whether -PLUS is offered, whether it is requested, the flag.
    let rows = [
        (NONE, true, false, "n", GoesOn),
        (NONE, true, false, "y", GoesOn),
        (NONE, true, false, "p=tls-exporter", REFUSED),
        (NONE, true, true, "p=tls-exporter", ABSENT),
        (NONE, true, true, "n", ABSENT),
        (EXPORTER, true, false, "n", GoesOn),
        (EXPORTER, true, false, "y", REFUSED),
        (EXPORTER, true, false, "p=tls-exporter", REFUSED),
        (EXPORTER, true, true, "p=tls-exporter", GoesOn),
        (EXPORTER, true, true, "p=TLS-EXPORTER", REFUSED),
        (EXPORTER, true, true, "p=tls-server-end-point", REFUSED),
        (EXPORTER, true, true, "p=tls-unique", REFUSED),
        (EXPORTER, true, true, "p=", REFUSED),
        (EXPORTER, true, true, "n", REFUSED),
        (EXPORTER, true, true, "y", REFUSED),
        (EXPORTER, true, true, "z", Outcome::Ends(Ended::Wrong)),
        (EXPORTER, false, false, "n", GoesOn),
        (EXPORTER, false, false, "y", GoesOn),
        (EXPORTER, false, false, "p=tls-exporter", REFUSED),
        (EXPORTER, false, true, "p=tls-exporter", ABSENT),
        (end_point(), true, true, "p=tls-server-end-point", GoesOn),
        (end_point(), true, true, "p=tls-exporter", REFUSED),
        (end_point(), true, false, "y", REFUSED),
    ];
    for protocol in BOTH {
        for (binding, plus, bound, flag, expected) in &rows {
            for hash in ["SCRAM-SHA-1", "SCRAM-SHA-256"] {
                let served =
                    Mechanism::ALL.into_iter().filter(|mechanism| *plus || !mechanism.uses_channel_binding());
                let over = (binding.clone(), served.collect::<Mechanisms>());
                let mut raw = Raw::over(protocol, Limits::default(), over, keys);
                let name = format!("{hash}{}", if *bound { "-PLUS" } else { "" });
                let mut told = raw.begin(&name);
                if raw.challenge(&told).is_some() {
                    told = raw.say(&format!("{}\r\n", base64(format!("{flag},,n=user,r=abc").as_bytes())));
                }
                let outcome = match raw.challenge(&told) {
                    Some(first) if first.starts_with("r=abc") => Outcome::GoesOn,
                    _ => Outcome::Ends(raw.answer(&told)),
                };
                assert_eq!(outcome, *expected, "{protocol:?} {name} {flag} over {binding:?}: {told}");
                assert_eq!(raw.counts.questions, usize::from(outcome == GoesOn), "{name} {flag}");
                assert_eq!(raw.counts.delays, usize::from(outcome == REFUSED), "{name} {flag}");
            }
        }
    }
}

#[test]
fn rejects_a_proof_bound_to_another_channel() {
    let plus = |hash| match hash {
        ScramHash::Sha1 => Mechanism::ScramSha1Plus,
        _ => Mechanism::ScramSha256Plus,
    };
    for protocol in BOTH {
        for mechanism in [ScramHash::Sha1, ScramHash::Sha256].map(plus) {
            for (byte, expected) in [(9, Ended::Accepted), (8, Ended::Rejected)] {
                let mut raw = Raw::new(protocol, Limits::default(), keys);
                let secure = Secure::tls(ChannelBinding::TlsExporter([byte; 32])).with_seed([1; 32]);
                let credentials = Credentials::password("user", &b"secret"[..]);
                let (mut session, offered) = (SaslContext::secure(&secure), Mechanisms::all());
                let mut client =
                    sasl::client_exchange(mechanism, credentials, &mut session, offered).unwrap();
                raw.begin(mechanism.name());
                let first = client.initial_response().unwrap().unwrap();
                let mut told = raw.say(&format!("{}\r\n", base64(first.expose())));
                while let Some(challenge) = raw.challenge(&told) {
                    let message = client.step(challenge.as_bytes()).unwrap();
                    told = raw.say(&format!("{}\r\n", base64(message.expose())));
                }
                assert_eq!(raw.answer(&told), expected, "{protocol:?} {mechanism} {byte}: {told}");
                assert_eq!(client.is_done(), expected == Ended::Accepted);
            }
        }
    }
}

#[test]
fn client_reports_whether_it_supports_channel_binding() {
    use Mechanism::{ScramSha1, ScramSha256, ScramSha256Plus};
    let both = "SCRAM-SHA-256 SCRAM-SHA-256-PLUS SCRAM-SHA-1 SCRAM-SHA-1-PLUS";
    let rows = [
        (NONE, "SCRAM-SHA-256", ScramSha256, Some("n,,")),
        (NONE, both, ScramSha256, Some("n,,")),
        (NONE, both, ScramSha256Plus, None),
        (EXPORTER, "SCRAM-SHA-256", ScramSha256, Some("y,,")),
        (EXPORTER, "SCRAM-SHA-1 PLAIN", ScramSha1, Some("y,,")),
        (EXPORTER, both, ScramSha256, Some("n,,")),
        (EXPORTER, both, ScramSha256Plus, Some("p=tls-exporter,,")),
        (EXPORTER, "SCRAM-SHA-256", ScramSha256Plus, None),
        (end_point(), both, ScramSha256Plus, Some("p=tls-server-end-point,,")),
        (end_point(), "SCRAM-SHA-256", ScramSha256, Some("y,,")),
    ];
    for protocol in BOTH {
        for (binding, offered, mechanism, expected) in &rows {
            let how = How::Known(*mechanism, Credentials::password("user", &b"secret"[..]));
            let conversation = scripted_over(protocol, binding.clone(), offered, how);
            let what = format!("{protocol:?} {mechanism} of {offered} over {binding:?}");
            let Some(expected) = expected else {
                let Some(End::NotBegun(Error::Misuse(misuse))) = &conversation.end else {
                    panic!("{what}: {conversation:?}")
                };
                let none = matches!(misuse, Misuse::WrongMechanism | Misuse::NoMechanism(_));
                assert!(none && conversation.client.is_empty(), "{what}: {conversation:?}");
                continue;
            };
            let first = conversation.client[0].rsplit_once(' ').unwrap().1;
            let first =
                String::from_utf8(sasl::decode_base64(first.as_bytes()).unwrap().expose().clone()).unwrap();
            assert!(first.starts_with(&format!("{expected}n=user,r=")), "{what}: {first}");
        }
    }
}

/// An unknown user gets the same challenge at every attempt, and is rejected after the same delay as a known one.
#[test]
fn known_and_unknown_users_look_the_same() {
    for protocol in BOTH {
        for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
            let attempt = |answer: crate::raw::Answer, name: &str| {
                let mut raw = Raw::new(protocol, Limits::default(), answer);
                let first = format!("n,,n={name},r=abc");
                raw.begin(mechanism.name());
                let told = raw.say(&format!("{}\r\n", base64(first.as_bytes())));
                let challenge = raw.challenge(&told).unwrap();
                let (nonce, rest) = challenge.split_once(",s=").unwrap();
                let proof = vec![b'x'; mechanism.hash().unwrap().output_len()];
                let last = format!("c=biws,{nonce},p={}", base64(&proof));
                let told = raw.say(&format!("{}\r\n", base64(last.as_bytes())));
                (rest.to_owned(), told, raw.counts.questions, raw.counts.delays, raw.wait)
            };
            let (known, unknown) = (attempt(keys, "user"), attempt(decoys, "unknown"));
            assert_eq!(unknown, attempt(decoys, "unknown"), "{protocol:?}: a second attempt reveals nothing");
            assert_ne!(
                unknown.0,
                attempt(decoys, "no-one").0,
                "{protocol:?}: every user has a different salt"
            );
            let shape = |rest: &str| (rest.len(), rest.split_once(",i=").unwrap().1.to_owned());
            assert_eq!(shape(&known.0), shape(&unknown.0), "{protocol:?}: {} {}", known.0, unknown.0);
            assert_eq!((known.1, known.2, known.3, known.4), (unknown.1, unknown.2, unknown.3, unknown.4));
        }
    }
}
