//! Mechanisms that an application provides, in both roles of both protocols: the rules of TLS and authentication hold
//! for them, too.

use std::sync::Arc;

use proto_mail::sasl::{self, ClientExchange, SaslContext, SaslError, ServerMechanism};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, Credentials, Error, Mechanism, Misuse, PeerError, Secret};

use crate::conversation::{BOTH, End, How, Protocol, joined, scripted, scripted_in_cleartext};
use crate::toy_mechanism::{Client, TOY, Toy, mac};

const KEY: &str = "correct-horse-battery";

fn own(exchange: impl ClientExchange + 'static) -> How {
    How::Own(Box::new(exchange))
}

fn toy() -> [Arc<dyn ServerMechanism>; 1] {
    [Arc::new(Toy)]
}

/// Knows the user ann and her key.
fn application(question: &AuthQuestion) -> AuthVerdict {
    match question {
        AuthQuestion::Stored { username } => {
            let key = if username == "ann" { KEY } else { "a decoy" };
            AuthVerdict::Stored(Secret::new(key.as_bytes().to_vec()))
        }
        AuthQuestion::Authorize { username, .. } if username == "ann" => AuthVerdict::Accept,
        _ => AuthVerdict::Reject,
    }
}

fn base64(text: &str) -> String {
    String::from_utf8(sasl::encode_base64(text.as_bytes()).expose().clone()).unwrap()
}

#[test]
fn client_and_server_agree() {
    for protocol in BOTH {
        let conversation = joined(protocol, own(Client::new("ann", KEY)), &toy(), &application);
        assert_eq!(conversation.end, Some(End::Accepted), "{protocol:?} {conversation:?}");
        assert_eq!(conversation.client.len(), 3, "{conversation:?}");
        assert!(conversation.client[0].ends_with("X-TOY"), "{conversation:?}");
        assert_eq!((conversation.client[2].as_str(), conversation.delays), ("", 0));
        // None of the mechanism's messages may be shown.
        let nonce = SaslContext::secure(&proto_mail::Secure::trusted_local().with_seed([2; 32]))
            .next_nonce()
            .unwrap();
        let shown = String::from_utf8_lossy(&conversation.shown);
        for said in [conversation.client[1].as_str(), &base64(&nonce), &base64(&mac(KEY.as_bytes(), b"ann"))]
        {
            assert!(said.len() > 8 && !shown.contains(said), "{protocol:?} {said}: {shown}");
        }
    }
}

#[test]
fn is_offered_under_tls_beside_built_in_mechanisms() {
    for protocol in BOTH {
        let plain = How::Known(Mechanism::Plain, Credentials::password("ann", KEY.as_bytes()));
        let conversation = joined(protocol, plain, &toy(), &|_| AuthVerdict::Accept);
        assert_eq!(conversation.end, Some(End::Accepted), "{conversation:?}");
        let shown = String::from_utf8_lossy(&conversation.shown);
        let line = shown.lines().find(|line| line.contains("X-TOY")).unwrap();
        assert!(line.contains("PLAIN"), "{line}");
    }
}

#[test]
fn rejects_wrong_or_unknown_users_after_a_delay() {
    let cases: [(&'static str, &'static str); 2] = [("ann", "wrong"), ("bob", KEY)];
    for protocol in BOTH {
        for (name, key) in cases {
            let conversation = joined(protocol, own(Client::new(name, key)), &toy(), &application);
            assert!(matches!(conversation.end, Some(End::Refused(_))), "{protocol:?} {conversation:?}");
            assert_eq!(conversation.delays, 1, "{protocol:?} {name}");
        }
        let conversation =
            joined(protocol, own(Client::new("ann", KEY)), &toy(), &|question| match question {
                AuthQuestion::Authorize { .. } => AuthVerdict::Reject,
                other => application(other),
            });
        assert!(matches!(conversation.end, Some(End::Refused(_))), "{protocol:?} {conversation:?}");
        let conversation =
            joined(protocol, own(Client::new("ann", KEY)), &toy(), &|_| AuthVerdict::Unavailable);
        assert!(matches!(conversation.end, Some(End::Refused(_))), "{protocol:?} {conversation:?}");
        assert_eq!(conversation.delays, 0);
    }
}

#[test]
fn client_does_not_request_a_mechanism_that_is_not_offered() {
    for protocol in BOTH {
        for offered in ["PLAIN", "X-TOY2 X-TO", "AX-TOY"] {
            let conversation = scripted(protocol, offered, own(Client::new("ann", KEY)), &[]);
            assert_eq!(
                conversation.end,
                Some(End::NotBegun(Misuse::WrongMechanism.into())),
                "{protocol:?} {offered}"
            );
            assert!(conversation.client.is_empty());
        }
    }
}

/// The lines of a server with this proof, which may be wrong.
fn served(protocol: Protocol, proof: &str, success: &str) -> Vec<String> {
    let (prompt, end) = match protocol {
        Protocol::Imap => ("+ ", format!("TAG {success}\r\n")),
        Protocol::Smtp => ("334 ", format!("{success}\r\n")),
    };
    let mut lines = vec![format!("{prompt}{}\r\n", base64("nonce"))];
    if !proof.is_empty() {
        lines.push(format!("{prompt}{}\r\n", base64(proof)));
    }
    lines.push(end);
    lines
}

fn success(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Imap { "OK welcome" } else { "235 welcome" }
}

#[test]
fn success_counts_only_after_the_mechanism_has_finished() {
    for protocol in BOTH {
        let right = mac(KEY.as_bytes(), b"ann");
        let lines = served(protocol, &right, success(protocol));
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let conversation = scripted(protocol, "X-TOY", own(Client::new("ann", KEY)), &lines);
        assert_eq!(conversation.end, Some(End::Accepted), "{protocol:?} {conversation:?}");

        let early = served(protocol, "", success(protocol));
        let early: Vec<_> = early.iter().map(String::as_str).collect();
        for lines in [&early[..], &early[1..]] {
            let conversation = scripted(protocol, "X-TOY", own(Client::new("ann", KEY)), lines);
            let error = PeerError::AuthenticationNotFinished;
            assert_eq!(conversation.end, Some(End::Failed(error.into())), "{protocol:?} {conversation:?}");
        }
    }
}

#[test]
fn cancels_when_the_server_cannot_prove_itself() {
    for protocol in BOTH {
        for (end, believed) in [
            (if protocol == Protocol::Imap { "BAD cancelled" } else { "501 cancelled" }, false),
            (success(protocol), true),
        ] {
            let lines = served(protocol, "another server", end);
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let conversation = scripted(protocol, "X-TOY", own(Client::new("ann", KEY)), &lines);
            assert_eq!(conversation.client.last().unwrap(), "*", "{conversation:?}");
            if believed {
                let error = PeerError::AuthenticationNotFinished;
                assert_eq!(
                    conversation.end,
                    Some(End::Failed(error.into())),
                    "{protocol:?} {conversation:?}"
                );
            } else {
                let Some(End::Refused(Some(reason))) = conversation.end else {
                    panic!("{protocol:?} {conversation:?}")
                };
                assert_eq!(reason, SaslError::ServerNotVerified.to_string());
            }
        }
    }
}

#[test]
fn cleartext_allows_only_mechanisms_that_reveal_nothing() {
    for protocol in BOTH {
        let right = mac(KEY.as_bytes(), b"ann");
        let lines = served(protocol, &right, success(protocol));
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let conversation =
            scripted_in_cleartext(protocol, "X-TOY", Box::new(Client::new("ann", KEY)), &lines);
        assert_eq!(conversation.end, Some(End::NotBegun(Misuse::WrongMechanism.into())), "{protocol:?}");
        let conversation =
            scripted_in_cleartext(protocol, "X-TOY", Box::new(Client::open("ann", KEY)), &lines);
        assert_eq!(conversation.end, Some(End::Accepted), "{protocol:?} {conversation:?}");
    }
}

/// Claims to have finished from the beginning, and answers every challenge with an endless message.
#[derive(Debug)]
struct Careless {
    first: Option<usize>,
    len: usize,
    known: bool,
}

impl ClientExchange for Careless {
    fn mechanism(&self) -> Mechanism {
        if self.known { Mechanism::Plain } else { Mechanism::Custom(TOY) }
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(self.first.take().map(|len| Secret::new(vec![b'a'; len])))
    }

    fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        Ok(Secret::new(vec![b'a'; self.len]))
    }

    fn is_done(&self) -> bool {
        true
    }
}

#[test]
fn a_careless_mechanism_bypasses_no_check() {
    for protocol in BOTH {
        // Success before the client sent anything.
        let early = served(protocol, "", success(protocol));
        let careless = Careless { first: None, len: 1, known: false };
        let conversation = scripted(protocol, "X-TOY", own(careless), &[early[1].as_str()]);
        let error = PeerError::AuthenticationNotFinished;
        assert_eq!(conversation.end, Some(End::Failed(error.into())), "{protocol:?} {conversation:?}");

        // A message that fits into no line.
        let careless = Careless { first: None, len: sasl::MAX_MESSAGE_LEN + 1, known: false };
        let bad = if protocol == Protocol::Imap { "TAG BAD no\r\n" } else { "501 no\r\n" };
        let conversation = scripted(protocol, "X-TOY", own(careless), &[early[0].as_str(), bad]);
        assert_eq!(conversation.client.last().unwrap(), "*", "{protocol:?}");
        assert_eq!(
            conversation.end,
            Some(End::Refused(Some(SaslError::TooLong.to_string()))),
            "{protocol:?}"
        );
        let careless = Careless { first: Some(sasl::MAX_MESSAGE_LEN + 1), len: 1, known: false };
        let conversation = scripted(protocol, "X-TOY", own(careless), &[]);
        assert!(
            matches!(conversation.end, Some(End::NotBegun(Error::Misuse(_)))),
            "{protocol:?} {conversation:?}"
        );

        // A server that sends challenges endlessly.
        let careless = Careless { first: None, len: 1, known: false };
        let endless = vec![early[0].as_str(); 200];
        let conversation = scripted(protocol, "X-TOY", own(careless), &endless);
        let said = conversation.client.iter().filter(|line| *line == "YQ==").count();
        assert_eq!(said, sasl::MAX_MESSAGES as usize, "{protocol:?} {:?}", conversation.end);

        // A mechanism that takes the name of a built-in one.
        let careless = Careless { first: None, len: 1, known: true };
        let conversation = scripted(protocol, "PLAIN X-TOY", own(careless), &[]);
        assert_eq!(conversation.end, Some(End::NotBegun(Misuse::WrongMechanism.into())), "{protocol:?}");
    }
}
