//! How SASL messages are sent in both protocols: with the command or after it, empty, cancelled, rejected, early.

use std::sync::OnceLock;

use proto_mail::sasl::{self, MIN_ITERATIONS, SaslError, ScramHash, ScramKeys};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, Credentials, Mechanism, Misuse, PeerError, Secret};

use crate::conversation::{BOTH, Conversation, End, How, Protocol, again, joined, scripted};

const PLAIN: &str = "AHVzZXIAc2VjcmV0";

fn known(mechanism: Mechanism) -> How {
    let credentials = match mechanism {
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => Credentials::bearer("user", "ya29.token"),
        Mechanism::External => Credentials::external(),
        Mechanism::Anonymous => Credentials::anonymous("guest"),
        _ => Credentials::password("user", &b"secret"[..]),
    };
    How::Known(mechanism, credentials)
}

/// A server's line: a challenge, or one that ends the exchange.
fn lines(protocol: Protocol, lines: &[&str]) -> Vec<String> {
    let own = |line: &&str| match (protocol, line.split_once(' ').unwrap_or((line, ""))) {
        (Protocol::Imap, ("?", challenge)) => format!("+ {challenge}\r\n"),
        (Protocol::Smtp, ("?", challenge)) => format!("334 {challenge}\r\n"),
        (Protocol::Imap, ("yes", _)) => "TAG OK [CAPABILITY IMAP4rev1] welcome\r\n".into(),
        (Protocol::Smtp, ("yes", _)) => "235 2.7.0 welcome\r\n".into(),
        (Protocol::Imap, ("no", _)) => "TAG NO [AUTHENTICATIONFAILED] no\r\n".into(),
        (Protocol::Smtp, ("no", _)) => "535 5.7.8 no\r\n".into(),
        (Protocol::Imap, ("wrong", _)) => "TAG BAD what is that\r\n".into(),
        (Protocol::Smtp, ("wrong", _)) => "501 5.5.2 what is that\r\n".into(),
        (_, (other, _)) => panic!("unknown kind of line: {other}"),
    };
    lines.iter().map(own).collect()
}

fn against(protocol: Protocol, mechanism: Mechanism, script: &[&str]) -> Conversation {
    let lines = lines(protocol, script);
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    scripted(protocol, mechanism.name(), known(mechanism), &lines)
}

/// The client's lines after the command's name.
fn said(conversation: &Conversation) -> Vec<&str> {
    let (first, rest) = conversation.client.split_first().unwrap();
    let argument = first.split_once("AUTHENTICATE ").or_else(|| first.split_once("AUTH ")).unwrap().1;
    std::iter::once(argument).chain(rest.iter().map(String::as_str)).collect()
}

#[test]
fn sends_an_empty_message_as_equals_sign_or_empty_line() {
    for protocol in BOTH {
        let conversation = against(protocol, Mechanism::External, &["yes"]);
        assert_eq!(
            (said(&conversation), conversation.end.clone()),
            (vec!["EXTERNAL ="], Some(End::Accepted)),
            "{protocol:?}"
        );
        let conversation = against(protocol, Mechanism::External, &["? ", "yes"]);
        assert_eq!(said(&conversation), ["EXTERNAL =", ""], "{protocol:?}");
        assert_eq!(conversation.end, Some(End::Accepted));
    }
}

#[test]
fn repeats_the_initial_response_if_the_server_ignored_it() {
    for protocol in BOTH {
        let conversation = against(protocol, Mechanism::Plain, &["? ", "yes"]);
        assert_eq!(said(&conversation), [&format!("PLAIN {PLAIN}"), PLAIN], "{protocol:?}");
        assert_eq!(conversation.end, Some(End::Accepted));
        // Once only, and only if the server's challenge is empty.
        for script in [&["? ", "? ", "wrong"][..], &["? Z28gb24=", "wrong"]] {
            let conversation = against(protocol, Mechanism::Plain, script);
            assert_eq!(conversation.client.last().unwrap(), "*", "{protocol:?} {script:?}");
            assert_eq!(conversation.end, Some(End::Refused(Some(SaslError::AlreadyFinished.to_string()))));
        }
        // SCRAM continues the same exchange, with the same nonce.
        let conversation = against(protocol, Mechanism::ScramSha256, &["? ", "no"]);
        let said = said(&conversation);
        assert_eq!(said[0], format!("SCRAM-SHA-256 {}", said[1]), "{protocol:?}");
    }
}

#[test]
fn may_retry_without_an_initial_response() {
    for protocol in BOTH {
        let first = lines(protocol, &["wrong"]);
        let second = lines(protocol, &["? ", "yes"]);
        let conversation = again(protocol, || known(Mechanism::Plain), &[&first[0], &second[0], &second[1]]);
        assert_eq!(conversation.end, Some(End::Accepted), "{protocol:?} {conversation:?}");
        assert_eq!(conversation.client.len(), 3);
        assert!(
            conversation.client[0].ends_with(&format!("PLAIN {PLAIN}"))
                && conversation.client[1].ends_with(" PLAIN")
        );
        assert_eq!(conversation.client[2], PLAIN);

        // Wrong credentials are no reason for that, nor is an error after a challenge.
        for script in [&["no"][..], &["? ", "wrong"]] {
            let lines = lines(protocol, script);
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let conversation = again(protocol, || known(Mechanism::Plain), &lines);
            assert!(
                matches!(conversation.end, Some(End::Refused(_))),
                "{protocol:?} {script:?} {conversation:?}"
            );
            assert_eq!(
                conversation.client.iter().filter(|line| line.contains("AUTH")).count(),
                1,
                "{conversation:?}"
            );
        }
    }
}

#[test]
fn sends_a_long_initial_response_only_after_a_challenge() {
    for (len, with_command) in [(363, true), (364, false), (5000, false)] {
        let password = vec![b'p'; len];
        let plain = || How::Known(Mechanism::Plain, Credentials::password("user", password.clone()));
        let script: &[&str] = if with_command { &["yes"] } else { &["? ", "yes"] };
        let lines = lines(Protocol::Smtp, script);
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let conversation = scripted(Protocol::Smtp, "PLAIN", plain(), &lines);
        assert_eq!(conversation.end, Some(End::Accepted), "{len} {conversation:?}");
        assert_eq!(conversation.client.len(), if with_command { 1 } else { 2 }, "{len}");
        assert!(conversation.client[0].len() + 2 <= 512, "{len}");
    }
}

#[test]
fn cancels_on_a_malformed_challenge() {
    for protocol in BOTH {
        for challenge in ["? ***", "? Zg", "? Z g="] {
            let conversation = against(protocol, Mechanism::Login, &[challenge, "wrong"]);
            assert_eq!(said(&conversation), ["LOGIN", "*"], "{protocol:?} {challenge}");
            assert_eq!(conversation.end, Some(End::Refused(Some(SaslError::Malformed.to_string()))));
            let conversation = against(protocol, Mechanism::Login, &[challenge, "yes"]);
            let error = PeerError::AuthenticationNotFinished;
            assert_eq!(conversation.end, Some(End::Failed(error.into())), "{protocol:?} {challenge}");
        }
    }
}

#[test]
fn reports_the_reason_of_a_rejected_token() {
    // {"status":"401"} followed by an escape sequence.
    let json =
        String::from_utf8(sasl::encode_base64(b"{\"status\":\"401\"}\x1b[2J").expose().clone()).unwrap();
    let challenge = format!("? {json}");
    for protocol in BOTH {
        for (mechanism, dance) in [(Mechanism::XOAuth2, ""), (Mechanism::OAuthBearer, "AQ==")] {
            let conversation = against(protocol, mechanism, &[&challenge, "no"]);
            assert_eq!(said(&conversation)[1], dance, "{protocol:?}");
            let reason = "{\"status\":\"401\"}[2J".to_owned();
            assert_eq!(conversation.end, Some(End::Refused(Some(reason))), "{protocol:?} {mechanism}");
            let conversation = against(protocol, mechanism, &[&challenge, "yes"]);
            let error = PeerError::AuthenticationNotFinished;
            assert_eq!(conversation.end, Some(End::Failed(error.into())), "{protocol:?} {mechanism}");
        }
    }
}

#[test]
fn rejects_success_before_scram_has_verified_the_server() {
    for protocol in BOTH {
        for mechanism in Mechanism::ALL.into_iter().filter(|mechanism| mechanism.hash().is_some()) {
            let conversation = against(protocol, mechanism, &["yes"]);
            let error = PeerError::AuthenticationNotFinished;
            assert_eq!(conversation.end, Some(End::Failed(error.into())), "{protocol:?} {mechanism}");
        }
    }
}

/// The iteration count of SCRAM is bounded both ways: the client derives nothing and cancels the exchange.
#[test]
fn rejects_too_few_and_too_many_iterations() {
    let base64 =
        |text: String| String::from_utf8(sasl::encode_base64(text.as_bytes()).expose().clone()).unwrap();
    for protocol in BOTH {
        for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
            let first = against(protocol, mechanism, &[]).client[0].rsplit_once(' ').unwrap().1.to_owned();
            let first =
                String::from_utf8(sasl::decode_base64(first.as_bytes()).unwrap().expose().clone()).unwrap();
            let nonce = first.rsplit_once("r=").unwrap().1;
            for count in ["1", "4095", "1000001", "4294967296"] {
                let challenge = base64(format!("r={nonce}more,s=c2FsdA==,i={count}"));
                let conversation = against(protocol, mechanism, &[&format!("? {challenge}"), "wrong"]);
                assert_eq!(said(&conversation)[1], "*", "{protocol:?} {mechanism} {count}");
                let reason = SaslError::IterationCount.to_string();
                assert_eq!(
                    conversation.end,
                    Some(End::Refused(Some(reason))),
                    "{protocol:?} {mechanism} {count}"
                );
            }
            let challenge = base64(format!("r={nonce}more,s=c2FsdA==,i=4096"));
            let conversation = against(protocol, mechanism, &[&format!("? {challenge}"), "no"]);
            assert_ne!(said(&conversation)[1], "*", "{protocol:?} {mechanism}");
            assert!(
                matches!(conversation.end, Some(End::Refused(_))),
                "{protocol:?} {mechanism}: {conversation:?}"
            );
        }
    }
}

#[test]
fn refuses_unencodable_credentials_before_sending_anything() {
    for protocol in BOTH {
        for (mechanism, name, password) in [
            (Mechanism::Plain, "us\0er", "p"),
            (Mechanism::ScramSha256, "user", "a\u{7}b"),
            (Mechanism::ScramSha256, "\u{627}1", "p"),
        ] {
            let how = How::Known(mechanism, Credentials::password(name, password.as_bytes()));
            let conversation = scripted(protocol, mechanism.name(), how, &[]);
            assert_eq!(
                conversation.end,
                Some(End::NotBegun(Misuse::UnencodableCredentials.into())),
                "{protocol:?} {mechanism}"
            );
            assert!(conversation.client.is_empty());
        }
    }
}

/// Both machines of each protocol, by every mechanism: right credentials are accepted, and wrong ones are rejected
/// after a delay.
#[test]
fn client_and_server_agree_by_every_mechanism() {
    for protocol in BOTH {
        for mechanism in Mechanism::ALL {
            let conversation = joined(protocol, known(mechanism), &[], &|question| accept(question));
            assert_eq!(
                conversation.end,
                Some(End::Accepted),
                "{protocol:?} {mechanism} {:?}",
                conversation.end
            );
            assert_eq!(conversation.delays, 0);
            let conversation = joined(protocol, known(mechanism), &[], &|question| reject(question));
            assert!(
                matches!(conversation.end, Some(End::Refused(_))),
                "{protocol:?} {mechanism} {:?}",
                conversation.end
            );
            assert_eq!(conversation.delays, 1, "{protocol:?} {mechanism}");
            let conversation = joined(protocol, known(mechanism), &[], &|_| AuthVerdict::Unavailable);
            assert!(
                matches!(conversation.end, Some(End::Refused(_))),
                "{protocol:?} {mechanism} {:?}",
                conversation.end
            );
            assert_eq!(conversation.delays, 0, "no attempt was rejected");
        }
    }
}

fn accept(question: &AuthQuestion) -> AuthVerdict {
    static KEPT: OnceLock<[Secret<String>; 2]> = OnceLock::new();
    let AuthQuestion::Keys { hash, .. } = question else { return AuthVerdict::Accept };
    let kept = KEPT.get_or_init(|| {
        [ScramHash::Sha1, ScramHash::Sha256].map(|hash| {
            ScramKeys::derive(hash, "secret", b"sixteen bytes!!!", MIN_ITERATIONS).unwrap().to_text()
        })
    });
    let text = &kept[usize::from(*hash == ScramHash::Sha256)];
    AuthVerdict::Keys(Box::new(ScramKeys::from_text(text.expose()).unwrap()))
}

fn reject(question: &AuthQuestion) -> AuthVerdict {
    match question {
        AuthQuestion::Keys { .. } => accept(question),
        _ => AuthVerdict::Reject,
    }
}
