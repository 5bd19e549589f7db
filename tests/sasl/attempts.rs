//! What counts as a failed attempt: a server counts it and delays its answer, however the client ends the exchange.
//! An exchange that the client cancels before a rejection does not count.

use proto_mail::sasl::{self, MIN_ITERATIONS, ScramKeys};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, Error, Limit, Limits, Mechanism, Secret};

use crate::conversation::{BOTH, Protocol};
use crate::raw::{Ended, Raw};

const XOAUTH2: &str = "user=ann\x01auth=Bearer ya29.guessed\x01\x01";
const OAUTHBEARER: &str = "n,a=ann,\x01auth=Bearer ya29.guessed\x01\x01";

fn base64(text: &str) -> String {
    String::from_utf8(sasl::encode_base64(text.as_bytes()).expose().clone()).unwrap()
}

fn no(_: &AuthQuestion) -> AuthVerdict {
    AuthVerdict::Reject
}

/// The ways to end an exchange after a rejected token, and the server's answer to each.
fn ends(protocol: Protocol) -> Vec<(String, Ended)> {
    let mut ends = vec![
        (String::new(), Ended::Rejected),
        ("AQ==".into(), Ended::Rejected),
        ("Zm9v".into(), Ended::Rejected),
        ("*".into(), Ended::Wrong),
    ];
    // Not a valid message.
    ends.extend(["!", "**", "Zg", "Z\0g="].map(|line| (line.into(), Ended::Wrong)));
    if protocol == Protocol::Smtp {
        // Not a valid line; the server discards it.
        ends.extend(["*\n", "*\r*", &"A".repeat(13_000)].map(|line| (line.into(), Ended::Wrong)));
    }
    ends
}

#[test]
fn a_rejected_token_counts_as_an_attempt_however_the_exchange_ends() {
    for protocol in BOTH {
        for (mechanism, token) in [("XOAUTH2", XOAUTH2), ("OAUTHBEARER", OAUTHBEARER)] {
            for (end, expected) in ends(protocol) {
                let what = format!("{protocol:?} {mechanism} {:?}", end.get(..8).unwrap_or(&end));
                let mut raw = Raw::new(protocol, Limits::default(), no);
                for count in 1..=Limits::default().auth_attempts as usize {
                    let told = raw.exchange(mechanism, &[&base64(token), &end]);
                    assert_eq!(raw.answer(&told), expected, "{what}: {told}");
                    assert_eq!((raw.counts.delays, raw.counts.questions), (count, count), "{what}: {told}");
                }
                assert_eq!(raw.error, Some(Error::Limit(Limit::AuthAttempts)), "{what}");
            }
        }
    }
}

/// The client's messages of each mechanism before the last one, as far as the server needs them.
fn steps(mechanism: Mechanism) -> Vec<String> {
    match mechanism {
        Mechanism::Login => vec![base64("ann")],
        Mechanism::ScramSha1 | Mechanism::ScramSha256 => vec![base64("n,,n=ann,r=abc")],
        Mechanism::ScramSha1Plus | Mechanism::ScramSha256Plus => {
            vec![base64("p=tls-exporter,,n=ann,r=abc")]
        }
        _ => vec![],
    }
}

/// Accepts every client, with keys that match no password.
fn yes(question: &AuthQuestion) -> AuthVerdict {
    match question {
        AuthQuestion::Keys { hash, username } => {
            let secret = Secret::new(b"of decoys".to_vec());
            AuthVerdict::Keys(Box::new(ScramKeys::decoy(*hash, &secret, username, MIN_ITERATIONS, 16)))
        }
        _ => AuthVerdict::Accept,
    }
}

#[test]
fn a_cancelled_exchange_is_no_attempt_and_may_be_restarted() {
    for protocol in BOTH {
        let mut raw = Raw::new(protocol, Limits::default(), yes);
        let mut cancelled = 0;
        for mechanism in Mechanism::ALL {
            let steps = steps(mechanism);
            for before in 0..=steps.len() {
                let messages: Vec<_> = steps[..before].iter().map(String::as_str).chain(["*"]).collect();
                let told = raw.exchange(mechanism.name(), &messages);
                assert_eq!(raw.answer(&told), Ended::Wrong, "{protocol:?} {mechanism} {messages:?}: {told}");
                assert!(raw.is_open(), "{protocol:?} {mechanism} {messages:?}: {:?}", raw.error);
                cancelled += 1;
            }
        }
        assert!(cancelled > Limits::default().auth_attempts, "no attempt is counted");
        assert_eq!(raw.counts.delays, 0);
        let told = raw.exchange("PLAIN", &[&base64("\0ann\0secret")]);
        assert_eq!(raw.answer(&told), Ended::Accepted, "{protocol:?} {told}");
    }
}

/// Cancelling counts as an error, so no client can request keys endlessly.
#[test]
fn limits_cancelled_exchanges() {
    for protocol in BOTH {
        let mut raw = Raw::new(protocol, Limits::default(), yes);
        while raw.error.is_none() {
            let told = raw.exchange("SCRAM-SHA-256", &[&base64("n,,n=ann,r=abc"), "*"]);
            assert_eq!(raw.answer(&told), Ended::Wrong, "{protocol:?} {told}");
        }
        assert_eq!(raw.error, Some(Error::Limit(Limit::Errors)), "{protocol:?}");
        assert_eq!(raw.counts.questions, Limits::default().errors as usize, "{protocol:?}");
    }
}

/// Whatever a client gets wrong, it is rejected a bounded number of times; neither an unknown user nor its further
/// messages make a difference.
#[test]
fn limits_attempts_in_every_mechanism() {
    for protocol in BOTH {
        for mechanism in Mechanism::ALL {
            let mut raw = Raw::new(protocol, Limits::default(), refusing);
            let mut told = String::new();
            for _ in 0..Limits::default().auth_attempts {
                assert_eq!(raw.error, None, "{protocol:?} {mechanism}: {told}");
                told = attempt(&mut raw, mechanism);
                assert_eq!(raw.answer(&told), Ended::Rejected, "{protocol:?} {mechanism}: {told}");
            }
            assert_eq!(raw.error, Some(Error::Limit(Limit::AuthAttempts)), "{protocol:?} {mechanism}");
            assert_eq!(raw.counts.delays, Limits::default().auth_attempts as usize);
        }
    }
}

/// Decoy keys if the mechanism asks for keys, and a rejection otherwise.
fn refusing(question: &AuthQuestion) -> AuthVerdict {
    if matches!(question, AuthQuestion::Keys { .. }) { yes(question) } else { AuthVerdict::Reject }
}

/// A whole exchange whose last message is wrong.
fn attempt(raw: &mut Raw, mechanism: Mechanism) -> String {
    let mut told = raw.begin(mechanism.name());
    for step in steps(mechanism) {
        told = raw.say(&format!("{step}\r\n"));
    }
    let last = match mechanism {
        Mechanism::Plain => "\0ann\0guessed".into(),
        Mechanism::XOAuth2 => XOAUTH2.into(),
        Mechanism::OAuthBearer => OAUTHBEARER.into(),
        _ if mechanism.hash().is_some() => {
            let challenge = raw.challenge(&told).unwrap();
            let nonce = challenge.split_once(",s=").unwrap().0;
            let proof = base64(&"x".repeat(mechanism.hash().unwrap().output_len()));
            format!("c=biws,{nonce},p={proof}")
        }
        _ => "guessed".into(),
    };
    told = raw.say(&format!("{}\r\n", base64(&last)));
    if raw.challenge(&told).is_some() {
        told = raw.say("AQ==\r\n");
    }
    told
}
