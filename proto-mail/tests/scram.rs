//! SCRAM: keys from other servers, malformed messages in both roles, and attacks by a man in the middle.
#![allow(clippy::unwrap_used, clippy::panic)]

use proto_mail::sasl::{
    self, ClientExchange, MIN_ITERATIONS, SaslContext, SaslError, ScramHash, ScramKeys, ServerExchange,
    ServerStep,
};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, ChannelBinding, Credentials, Mechanism, Mechanisms, Secret, Secure};

const SALT: &[u8] = b"0123456789abcdef";

fn session(seed: u8, binding: ChannelBinding) -> SaslContext {
    SaslContext::secure(&Secure::tls(binding).with_seed([seed; 32]))
}

fn exporter(byte: u8) -> ChannelBinding {
    ChannelBinding::TlsExporter([byte; 32])
}

fn client_over(
    mechanism: Mechanism,
    binding: ChannelBinding,
    offered: Mechanisms,
) -> Box<dyn ClientExchange> {
    let credentials = Credentials::password("user", &b"pencil"[..]);
    sasl::client_exchange(mechanism, credentials, &mut session(1, binding), offered).unwrap()
}

fn server_over(
    mechanism: Mechanism,
    binding: ChannelBinding,
    offered: Mechanisms,
) -> Box<dyn ServerExchange> {
    sasl::server_exchange(mechanism, &mut session(2, binding), offered).unwrap()
}

fn client() -> Box<dyn ClientExchange> {
    client_over(Mechanism::ScramSha256, ChannelBinding::None, Mechanisms::all())
}

fn server() -> Box<dyn ServerExchange> {
    server_over(Mechanism::ScramSha256, ChannelBinding::None, Mechanisms::all())
}

fn keys(hash: ScramHash) -> AuthVerdict {
    AuthVerdict::Keys(Box::new(ScramKeys::derive(hash, "pencil", SALT, MIN_ITERATIONS).unwrap()))
}

fn text(message: &Secret<Vec<u8>>) -> String {
    String::from_utf8(message.expose().clone()).unwrap()
}

fn challenge(step: ServerStep) -> String {
    let ServerStep::Challenge(challenge) = step else { panic!("{step:?}") };
    String::from_utf8(challenge).unwrap()
}

/// Returns the client's reaction to a server-first message, which is built from the client's nonce.
fn after_first(server_first: impl Fn(&str) -> String) -> Result<Secret<Vec<u8>>, SaslError> {
    let mut client = client();
    let first = text(&client.initial_response().unwrap().unwrap());
    let outcome = client.step(server_first(first.split_once("r=").unwrap().1).as_bytes());
    assert!(!client.is_done());
    if outcome.is_err() {
        assert_eq!(client.step(b"v=AAAA").unwrap_err(), SaslError::AlreadyFinished);
    }
    outcome
}

/// Runs an exchange until the server has processed client-final, as changed by `edit`.
fn run(
    client: &mut dyn ClientExchange,
    server: &mut dyn ServerExchange,
    verdict: AuthVerdict,
    edit: impl Fn(String) -> String,
) -> Result<ServerStep, SaslError> {
    let first = client.initial_response()?.unwrap();
    let ServerStep::Ask(AuthQuestion::Keys { username, .. }) = server.step(Some(first.expose()))? else {
        return Ok(ServerStep::Rejected);
    };
    assert_eq!(username, "user");
    let server_first = challenge(server.answer(verdict));
    let client_final = edit(text(&client.step(server_first.as_bytes())?));
    server.step(Some(client_final.as_bytes()))
}

#[test]
fn authenticates_with_keys_from_another_server() {
    // RFC 7677's example, as other servers store it.
    let kept = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let keys = AuthVerdict::Keys(Box::new(ScramKeys::from_text(kept).unwrap()));
    let (mut client, mut server) = (client(), server());
    let step = run(&mut *client, &mut *server, keys, |message| message).unwrap();
    let ServerStep::Ask(AuthQuestion::Authorize { authorization, username }) = step else {
        panic!("{step:?}")
    };
    assert_eq!((authorization.as_str(), username.as_str()), ("", "user"));
    let server_final = challenge(server.answer(AuthVerdict::Accept));
    assert!(!client.is_done());
    assert_eq!(client.step(server_final.as_bytes()).unwrap().expose(), b"");
    assert!(client.is_done());
    assert!(matches!(server.step(Some(b"")), Ok(ServerStep::Accepted)));
}

#[test]
fn rejects_malformed_server_first() {
    assert!(after_first(|nonce| format!("r={nonce}x,s=c2FsdA==,i=4096")).is_ok());
    assert!(after_first(|nonce| format!("r={nonce}x,s=c2FsdA==,i=4096,x=optional")).is_ok());
    for message in [
        "",
        "r=NONCEx",
        "r=NONCEx,s=c2FsdA==",
        "r=NONCEx,i=4096",
        "s=c2FsdA==,r=NONCEx,i=4096",
        "r=NONCEx,s=c2FsdA==,i=4096,",
        "r=NONCEx,s=c2FsdA==,i=4096,r=NONCE",
        "r=NONCEx,s=c2FsdA==,i=4096,v=c2FsdA==",
        "r=NONCEx,s=c2FsdA,i=4096",
        "r=NONCEx,s=!,i=4096",
        "r=NONCEx,s=,i=4096",
        "r=NONCEx,s=c2FsdA==,i=04096",
        "r=NONCEx,s=c2FsdA==,i=+4096",
        "r=NONCEx,s=c2FsdA==,i=4096 ",
        "r=NONCE x,s=c2FsdA==,i=4096",
        "r=NONCEx,s=c2FsdA==,i=4096,x=a\0b",
        "r=NONCEx,s=c2FsdA==,i=0",
        "e=other-error",
    ] {
        let outcome = after_first(|nonce| message.replace("NONCE", nonce));
        assert_eq!(outcome.unwrap_err(), SaslError::Malformed, "{message:?}");
    }
    let extension = after_first(|nonce| format!("m=must,r={nonce}x,s=c2FsdA==,i=4096"));
    assert_eq!(extension.unwrap_err(), SaslError::UnsupportedExtension);
    let long = after_first(|nonce| format!("r={nonce}{},s=c2FsdA==,i=4096", "x".repeat(4096)));
    assert_eq!(long.unwrap_err(), SaslError::TooLong);
}

#[test]
fn the_server_must_extend_the_clients_nonce() {
    let others: [fn(&str) -> String; 4] = [
        |nonce| nonce.to_owned(),
        |nonce| format!("x{nonce}"),
        |nonce| format!("{}xyz", &nonce[..nonce.len() - 1]),
        |_| "unrelated".to_owned(),
    ];
    for other in others {
        let outcome = after_first(|nonce| format!("r={},s=c2FsdA==,i=4096", other(nonce)));
        assert_eq!(outcome.unwrap_err(), SaslError::NonceMismatch);
    }
}

#[test]
fn rejects_iteration_counts_out_of_range() {
    for count in ["1", "4095", "1000001", "4294967295", "4294967296", "99999999999999999999"] {
        let outcome = after_first(|nonce| format!("r={nonce}x,s=c2FsdA==,i={count}"));
        assert_eq!(outcome.unwrap_err(), SaslError::IterationCount, "{count}");
    }
}

#[test]
fn only_the_right_signature_authenticates_the_server() {
    for (server_final, expected) in [
        ("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", SaslError::ServerNotVerified),
        ("v=AAAA", SaslError::ServerNotVerified),
        ("v=", SaslError::Malformed),
        ("v=!!!!", SaslError::Malformed),
        ("", SaslError::Malformed),
        ("r=abc", SaslError::Malformed),
        ("m=x,v=AAAA", SaslError::UnsupportedExtension),
    ] {
        let (mut client, mut server) = (client(), server());
        run(&mut *client, &mut *server, keys(ScramHash::Sha256), |message| message).unwrap();
        assert_eq!(client.step(server_final.as_bytes()).unwrap_err(), expected, "{server_final}");
        assert!(!client.is_done(), "{server_final}");
        assert!(client.step(b"").is_err());
    }
}

#[test]
fn reports_a_server_error_and_no_success() {
    let (mut client, mut server) = (client(), server());
    run(&mut *client, &mut *server, keys(ScramHash::Sha256), |message| message).unwrap();
    assert_eq!(client.step(b"e=invalid-\x1bproof").unwrap().expose(), b"");
    assert_eq!(client.failure(), Some("invalid-proof"));
    assert!(!client.is_done());
}

#[test]
fn rejects_malformed_client_first() {
    for message in ["n,,n=user,r=abc", "n,a=boss,n=user,r=abc,x=optional"] {
        assert!(matches!(server().step(Some(message.as_bytes())), Ok(ServerStep::Ask(_))), "{message}");
    }
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        ",,n=user,r=abc",
        "x,,n=user,r=abc",
        "n,boss,n=user,r=abc",
        "n,a=,n=user,r=abc",
        "n,a=b=x,n=user,r=abc",
        "n,,n=,r=abc",
        "n,,n=user",
        "n,,n=user,r=",
        "n,,r=abc,n=user",
        "n,,n=us=er,r=abc",
        "n,,n=us\0er,r=abc",
        "n,,n=us\u{7}er,r=abc",
        "n,,n=user,r=a b",
        "n,,n=user,r=a\u{fc}",
        "n,,n=user,r=abc,",
        "n,,n=user,r=abc,p=x",
        "n,,n=user,n=root,r=abc",
        "n,,n=user,r=abc,xx=1",
    ] {
        assert_eq!(server().step(Some(message.as_bytes())).unwrap_err(), SaslError::Malformed, "{message:?}");
    }
    assert_eq!(server().step(Some(b"n,,m=x,n=user,r=abc")).unwrap_err(), SaslError::UnsupportedExtension);
    assert_eq!(server().step(Some(b"n,,n=\xff,r=abc")).unwrap_err(), SaslError::Malformed);
    let long = format!("n,,n=user,r={}", "x".repeat(5000));
    assert_eq!(server().step(Some(long.as_bytes())).unwrap_err(), SaslError::TooLong);
}

#[test]
fn rejects_malformed_client_final() {
    fn cut(message: &str) -> &str {
        message.rsplit_once(",p=").unwrap().0
    }
    let edits: [fn(String) -> String; 15] = [
        |_| String::new(),
        |message| message.replace("c=biws", "c=eSws"),
        |message| message.replace("c=biws,", ""),
        |message| message.replace(",r=", ",r=x"),
        |message| message.replace(",p=", ",m=1,p="),
        |message| message.replace(",p=", ",x=1,p="),
        |message| message.replace(",p=", ",c=biws,p="),
        |message| cut(&message).to_owned(),
        |message| format!("{message},x=1"),
        |message| message.replace('=', ""),
        |message| format!("{},p=", cut(&message)),
        |message| format!("{},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", cut(&message)),
        |message| flip(&message, 0),
        |message| flip(&message, 13),
        |message| flip(&message, 31),
    ];
    fn flip(message: &str, byte: usize) -> String {
        let (signed, proof) = message.rsplit_once(",p=").unwrap();
        let mut proof = sasl::decode_base64(proof.as_bytes()).unwrap().expose().clone();
        proof[byte] ^= 1;
        format!("{signed},p={}", text(&sasl::encode_base64(&proof)))
    }
    for (at, edit) in edits.into_iter().enumerate() {
        let (mut client, mut server) = (client(), server());
        let outcome = run(&mut *client, &mut *server, keys(ScramHash::Sha256), edit);
        assert!(matches!(outcome, Err(_) | Ok(ServerStep::Rejected)), "{at}: {outcome:?}");
        assert!(server.step(Some(b"")).is_err(), "{at} continues");
        assert!(matches!(server.answer(AuthVerdict::Accept), ServerStep::Rejected), "{at} can be accepted");
    }
}

#[test]
fn an_unknown_user_cannot_be_told_from_a_known_one() {
    let secret = Secret::new(vec![5; 32]);
    let decoy = || {
        AuthVerdict::Keys(Box::new(ScramKeys::decoy(ScramHash::Sha256, &secret, "user", 4096, SALT.len())))
    };
    let (mut client, mut server) = (client(), server());
    let step = run(&mut *client, &mut *server, decoy(), |message| message);
    assert!(matches!(step, Ok(ServerStep::Rejected)));

    let first = [decoy(), decoy(), keys(ScramHash::Sha256)].map(|verdict| {
        let mut server = self::server();
        server.step(Some(b"n,,n=user,r=abc")).unwrap();
        challenge(server.answer(verdict))
    });
    assert_eq!(first[0], first[1], "the same name gets the same salt");
    assert_eq!(first[0].len(), first[2].len());
}

#[test]
fn only_keys_answer_the_question_for_keys() {
    for verdict in [AuthVerdict::Accept, AuthVerdict::Reject, keys(ScramHash::Sha1)] {
        let mut server = server();
        server.step(Some(b"n,,n=user,r=abc")).unwrap();
        assert!(matches!(server.answer(verdict), ServerStep::Rejected));
    }
    let (mut client, mut server) = (client(), server());
    run(&mut *client, &mut *server, keys(ScramHash::Sha256), |message| message).unwrap();
    assert!(matches!(server.answer(keys(ScramHash::Sha256)), ServerStep::Rejected));
}

#[test]
fn rejects_a_binding_of_another_channel() {
    let plus = [(Mechanism::ScramSha256Plus, ScramHash::Sha256), (Mechanism::ScramSha1Plus, ScramHash::Sha1)];
    let channels =
        [(exporter(7), true), (exporter(8), false), (ChannelBinding::TlsServerEndPoint(vec![7; 32]), false)];
    for (mechanism, hash) in plus {
        for (theirs, good) in &channels {
            let mut client = client_over(mechanism, exporter(7), Mechanisms::all());
            let mut server = server_over(mechanism, theirs.clone(), Mechanisms::all());
            let step = run(&mut *client, &mut *server, keys(hash), |message| message).unwrap();
            assert_eq!(matches!(step, ServerStep::Ask(_)), *good, "{mechanism}");
        }
    }
}

#[test]
fn detects_that_the_plus_offer_was_removed() {
    let plain = Mechanisms::NONE.with(Mechanism::ScramSha256);
    // The client reports that it saw no -PLUS, but the server did offer it.
    let mut client = client_over(Mechanism::ScramSha256, exporter(7), plain);
    let mut server = server_over(Mechanism::ScramSha256, exporter(7), Mechanisms::all());
    let step = run(&mut *client, &mut *server, keys(ScramHash::Sha256), |message| message).unwrap();
    assert!(matches!(step, ServerStep::Rejected));
    // A server that offered none accepts the flag, and changing the flag breaks the proof.
    for (flag, good) in [("y", true), ("n", false)] {
        let mut client = client_over(Mechanism::ScramSha256, exporter(7), plain);
        let mut server = server_over(Mechanism::ScramSha256, ChannelBinding::None, plain);
        let first = text(&client.initial_response().unwrap().unwrap());
        assert!(first.starts_with("y,,"));
        server.step(Some(first.replacen('y', flag, 1).as_bytes())).unwrap();
        let server_first = challenge(server.answer(keys(ScramHash::Sha256)));
        let client_final = client.step(server_first.as_bytes()).unwrap();
        let step = server.step(Some(client_final.expose())).unwrap();
        assert_eq!(matches!(step, ServerStep::Ask(_)), good, "{flag}");
    }
    // A client that cannot or does not use channel binding sends "n".
    for binding in [ChannelBinding::None, exporter(7)] {
        let mut client = client_over(Mechanism::ScramSha256, binding, Mechanisms::all());
        assert!(text(&client.initial_response().unwrap().unwrap()).starts_with("n,,"));
    }
}

#[test]
fn rejects_a_binding_flag_that_does_not_fit_the_mechanism() {
    let mut server = server_over(Mechanism::ScramSha256, exporter(7), Mechanisms::all());
    assert!(matches!(server.step(Some(b"p=tls-exporter,,n=user,r=abc")), Ok(ServerStep::Rejected)));
    for flag in ["n", "y", "p=tls-unique", "p=tls-server-end-point"] {
        let mut server = server_over(Mechanism::ScramSha256Plus, exporter(7), Mechanisms::all());
        let message = format!("{flag},,n=user,r=abc");
        assert!(matches!(server.step(Some(message.as_bytes())), Ok(ServerStep::Rejected)), "{flag}");
    }
}

#[test]
fn never_uses_a_password_that_saslprep_rejects() {
    for (name, password) in [("user", "a\u{7}b"), ("us\u{7}er", "pencil"), ("user", ""), ("", "pencil")] {
        let credentials = Credentials::password(name, password.as_bytes());
        let (mut session, offered) = (session(1, exporter(1)), Mechanisms::all());
        let mut client =
            sasl::client_exchange(Mechanism::ScramSha256, credentials, &mut session, offered).unwrap();
        assert_eq!(client.initial_response().unwrap_err(), SaslError::UnencodableCredentials);
        assert!(client.step(b"").is_err());
    }
}

#[test]
fn debug_shows_no_name_password_or_proof() {
    let (mut client, mut server) = (client(), server());
    let step = run(&mut *client, &mut *server, keys(ScramHash::Sha256), |message| message);
    let shown = format!("{client:?} {server:?} {step:?}");
    for part in ["pencil", "cGVuY2ls", "user", "p="] {
        assert!(!shown.contains(part), "{shown}");
    }
}
