//! The boundaries of each rule of SASL, secrets and tokens: the last accepted and the first rejected value, in both roles.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;
use std::rc::Rc;

use proto_mail::sasl::{
    self, ClientExchange, MAX_ITERATIONS, MIN_ITERATIONS, NoMechanism, SaslContext, SaslError, ScramHash,
    ScramKeys, ServerExchange, ServerStep,
};
use proto_mail::token::{AuthQuestion, AuthRequest, StartTlsRequest, TokenIssuer};
use proto_mail::{
    AuthVerdict, Channel, ChannelBinding, Cleartext, Credentials, Mechanism, Mechanisms, Secret, Secure,
};
use zeroize::Zeroize;

fn session(seed: u8) -> SaslContext {
    SaslContext::secure(&Secure::tls(ChannelBinding::TlsExporter([9; 32])).with_seed([seed; 32]))
}

fn client(mechanism: Mechanism, credentials: Credentials) -> Box<dyn ClientExchange> {
    sasl::client_exchange(mechanism, credentials, &mut session(1), Mechanisms::all()).unwrap()
}

fn server(mechanism: Mechanism) -> Box<dyn ServerExchange> {
    sasl::server_exchange(mechanism, &mut session(2), Mechanisms::all()).unwrap()
}

/// Returns the client's first message.
fn first_message(mechanism: Mechanism, credentials: Credentials) -> Result<Vec<u8>, SaslError> {
    client(mechanism, credentials).initial_response().map(|first| first.unwrap().expose().clone())
}

/// Returns what a server asks about a client's first message.
fn asked(mechanism: Mechanism, message: &[u8]) -> Result<AuthQuestion, SaslError> {
    match server(mechanism).step(Some(message))? {
        ServerStep::Ask(question) => Ok(question),
        step => panic!("{step:?}"),
    }
}

#[test]
fn anonymous_trace_has_at_most_255_characters_and_no_control_characters() {
    let anonymous = |trace: &str| first_message(Mechanism::Anonymous, Credentials::anonymous(trace));
    let longest = "ü".repeat(255);
    assert_eq!(anonymous(&longest).unwrap(), longest.as_bytes());
    assert!(asked(Mechanism::Anonymous, longest.as_bytes()).is_ok());
    for bad in [&format!("{longest}x"), "a\nb", "a\0b"] {
        assert_eq!(anonymous(bad), Err(SaslError::UnencodableCredentials));
        assert_eq!(asked(Mechanism::Anonymous, bad.as_bytes()).unwrap_err(), SaslError::Malformed);
    }
}

/// An application that mixed up the two questions would let anonymous users act as any user.
#[test]
fn anonymous_and_external_ask_different_questions() {
    let anonymous = asked(Mechanism::Anonymous, b"root").unwrap();
    assert!(matches!(anonymous, AuthQuestion::Verify(Credentials::Anonymous { trace }) if trace == "root"));
    let proved = asked(Mechanism::External, b"root").unwrap();
    let AuthQuestion::Verify(Credentials::External { authorization }) = proved else { panic!("{proved:?}") };
    assert_eq!(authorization, "root");
}

#[test]
fn external_identity_has_at_most_1024_bytes() {
    let external =
        |name: &str| first_message(Mechanism::External, Credentials::External { authorization: name.into() });
    let longest = "x".repeat(1024);
    assert_eq!(external(&longest).unwrap(), longest.as_bytes());
    let question = asked(Mechanism::External, longest.as_bytes()).unwrap();
    assert!(
        matches!(question, AuthQuestion::Verify(Credentials::External { authorization }) if authorization == longest)
    );
    for bad in [&format!("{longest}x"), "a\0b"] {
        assert_eq!(external(bad), Err(SaslError::UnencodableCredentials));
        assert_eq!(asked(Mechanism::External, bad.as_bytes()).unwrap_err(), SaslError::Malformed);
    }
}

#[test]
fn access_tokens_are_printable_ascii() {
    for mechanism in [Mechanism::XOAuth2, Mechanism::OAuthBearer] {
        let bearer = |name: &str, token: &str| first_message(mechanism, Credentials::bearer(name, token));
        assert!(bearer("u", " ~").is_ok());
        for (name, token) in
            [("u", ""), ("u", "a\x1f"), ("u", "a\x7f"), ("u", "ü"), ("u\n", "t"), ("u\x01", "t")]
        {
            assert_eq!(bearer(name, token), Err(SaslError::UnencodableCredentials), "{name:?} {token:?}");
        }
    }
    let bearer = || Credentials::bearer("a,b", "t");
    assert_eq!(first_message(Mechanism::XOAuth2, bearer()).unwrap(), b"user=a,b\x01auth=Bearer t\x01\x01");
    assert_eq!(
        first_message(Mechanism::OAuthBearer, bearer()).unwrap(),
        b"n,a=a=2Cb,\x01auth=Bearer t\x01\x01"
    );
    let without_name = first_message(Mechanism::OAuthBearer, Credentials::bearer("", "t")).unwrap();
    assert_eq!(without_name, b"n,,\x01auth=Bearer t\x01\x01");
}

#[test]
fn parses_oauth_messages_strictly() {
    let read = |mechanism, message: &[u8]| match asked(mechanism, message) {
        Ok(AuthQuestion::Verify(Credentials::Bearer { username, token })) => {
            Some((username, token.expose().clone()))
        }
        Ok(question) => panic!("{question:?}"),
        Err(error) => {
            assert_eq!(error, SaslError::Malformed);
            None
        }
    };
    let of = |name: &str, token: &str| Some((name.to_owned(), token.to_owned()));
    for (mechanism, message, found) in [
        (Mechanism::XOAuth2, &b"user=u\x01auth=Bearer t\x01\x01"[..], of("u", "t")),
        (Mechanism::XOAuth2, b"user=u\x01AUTH=bearer t\x01\x01", of("u", "t")),
        (Mechanism::XOAuth2, b"user=u\x01auth=Bearer t\x01", None),
        (Mechanism::XOAuth2, b"user=u\x01auth=Bearer t\x01x\x01\x01", None),
        (Mechanism::XOAuth2, b"name=u\x01auth=Bearer t\x01\x01", None),
        (Mechanism::XOAuth2, b"user=u\x01auth=Bearer \x01\x01", None),
        (Mechanism::XOAuth2, b"user=u\x01auth=Basic0 t\x01\x01", None),
        (Mechanism::XOAuth2, b"user=\xff\x01auth=Bearer t\x01\x01", None),
        (Mechanism::OAuthBearer, b"n,a=u,\x01auth=Bearer t\x01\x01", of("u", "t")),
        (Mechanism::OAuthBearer, b"y,a=a=2Cb,\x01host=h\x01AUTH=Bearer t\x01\x01", of("a,b", "t")),
        (Mechanism::OAuthBearer, b"n,,\x01auth=Bearer t\x01\x01", of("", "t")),
        (Mechanism::OAuthBearer, b"p,,\x01auth=Bearer t\x01\x01", None),
        (Mechanism::OAuthBearer, b"n,a=u\x01auth=Bearer t\x01\x01", None),
        (Mechanism::OAuthBearer, b"n,u,\x01auth=Bearer t\x01\x01", None),
        (Mechanism::OAuthBearer, b"n,a=,\x01auth=Bearer t\x01\x01", None),
        (Mechanism::OAuthBearer, b"n,,\x01host=h\x01\x01", None),
        (Mechanism::OAuthBearer, b"n,,\x01auth=Bearer t", None),
    ] {
        assert_eq!(read(mechanism, message), found, "{mechanism} {}", message.escape_ascii());
    }
}

#[test]
fn a_rejected_token_is_explained_once_and_stays_rejected() {
    for (mechanism, reason, last_message) in [
        (Mechanism::XOAuth2, &br#"{"status":"401","schemes":"bearer"}"#[..], &b""[..]),
        (Mechanism::OAuthBearer, br#"{"status":"invalid_token"}"#, b"\x01"),
    ] {
        for verdict in [AuthVerdict::Reject, keys()] {
            let mut server = server(mechanism);
            let first = first_message(mechanism, Credentials::bearer("u", "t")).unwrap();
            assert!(matches!(server.step(Some(&first)), Ok(ServerStep::Ask(_))));
            assert!(
                matches!(server.answer(verdict), ServerStep::Challenge(reason_sent) if reason_sent == reason)
            );
            assert!(matches!(server.step(Some(&first)), Ok(ServerStep::Rejected)), "{mechanism}");
        }
        let mut server = server(mechanism);
        assert!(matches!(server.step(None), Ok(ServerStep::Challenge(empty)) if empty.is_empty()));
        assert!(matches!(server.answer(AuthVerdict::Unavailable), ServerStep::Unavailable));
        let mut client = client(mechanism, Credentials::bearer("u", "t"));
        client.initial_response().unwrap();
        assert!(client.is_done() && client.failure().is_none());
        let long = [b'x'; 5000];
        assert_eq!(client.step(&long).unwrap().expose(), last_message);
        assert!(!client.is_done() && client.failure().unwrap().len() == 4096);
        assert_eq!(client.step(b"more").unwrap_err(), SaslError::AlreadyFinished);
        assert_eq!(client.failure().unwrap().len(), 4096, "the first reason is kept");
    }
}

fn keys() -> AuthVerdict {
    let keys = ScramKeys::derive(ScramHash::Sha256, "pencil", b"salt", MIN_ITERATIONS).unwrap();
    AuthVerdict::Keys(Box::new(keys))
}

#[test]
fn scram_keys_answer_no_other_question() {
    for mechanism in [Mechanism::Plain, Mechanism::Login, Mechanism::External, Mechanism::Anonymous] {
        assert!(matches!(server(mechanism).answer(keys()), ServerStep::Rejected), "{mechanism}");
        assert!(matches!(server(mechanism).answer(AuthVerdict::Reject), ServerStep::Rejected));
        assert!(matches!(server(mechanism).answer(AuthVerdict::Unavailable), ServerStep::Unavailable));
        assert!(matches!(server(mechanism).answer(AuthVerdict::Accept), ServerStep::Accepted));
    }
}

#[test]
fn plain_rejects_nul_and_empty_fields() {
    let plain = |authorization: &str, username: &str, password: &[u8]| {
        let (authorization, username) = (authorization.into(), username.into());
        first_message(
            Mechanism::Plain,
            Credentials::Password { authorization, username, password: password.into() },
        )
    };
    assert_eq!(plain("z", "u", b"p").unwrap(), b"z\0u\0p");
    for (authorization, username, password) in
        [("z\0", "u", &b"p"[..]), ("z", "u\0", b"p"), ("z", "u", b"p\0")]
    {
        assert_eq!(plain(authorization, username, password), Err(SaslError::UnencodableCredentials));
    }
    for bad in [&b"z\0\0p"[..], b"z\0u\0", b"\xff\0u\0p", b"z\0\xff\0p"] {
        assert_eq!(asked(Mechanism::Plain, bad).unwrap_err(), SaslError::Malformed, "{}", bad.escape_ascii());
    }
    let question = asked(Mechanism::Plain, b"z\0u\0p").unwrap();
    let AuthQuestion::Verify(Credentials::Password { authorization, username, password }) = question else {
        panic!("{question:?}");
    };
    assert_eq!(
        (authorization.as_str(), username.as_str(), password.expose().as_slice()),
        ("z", "u", &b"p"[..])
    );
}

#[test]
fn login_rejects_an_empty_name_or_password() {
    let mut server = server(Mechanism::Login);
    assert!(matches!(server.step(None), Ok(ServerStep::Challenge(prompt)) if prompt == b"Username:"));
    assert_eq!(server.step(Some(b"")).unwrap_err(), SaslError::Malformed);
    assert!(matches!(server.step(Some(b"u")), Ok(ServerStep::Challenge(prompt)) if prompt == b"Password:"));
    assert_eq!(server.step(Some(b"")).unwrap_err(), SaslError::Malformed);
    assert!(matches!(server.step(Some(b"p")), Ok(ServerStep::Ask(_))));
    let mut client = client(Mechanism::Login, Credentials::password("u", &b"p"[..]));
    assert!(client.initial_response().unwrap().is_none());
    assert_eq!(client.step(b"Username:").unwrap().expose(), b"u");
    assert!(!client.is_done(), "the password was not sent yet");
    assert_eq!(client.step(b"Password:").unwrap().expose(), b"p");
    assert!(client.is_done());
    assert_eq!(client.step(b"Password:").unwrap_err(), SaslError::AlreadyFinished);
}

#[test]
fn scram_names_and_passwords_have_at_most_1024_bytes() {
    for (name, password, fits) in [(1024, 1, true), (1025, 1, false), (1, 1024, true), (1, 1025, false)] {
        let credentials = Credentials::password("u".repeat(name), "p".repeat(password).into_bytes());
        assert_eq!(first_message(Mechanism::ScramSha256, credentials).is_ok(), fits, "{name} {password}");
        let message = format!("n,,n={},r=abc", "u".repeat(name));
        assert_eq!(asked(Mechanism::ScramSha256, message.as_bytes()).is_ok(), fits || name == 1);
    }
}

#[test]
fn scram_client_messages_have_at_most_4096_bytes() {
    let first = |len: usize| {
        let begin = "n,,n=u,r=";
        format!("{begin}{}", "x".repeat(len - begin.len())).into_bytes()
    };
    assert!(asked(Mechanism::ScramSha256, &first(4096)).is_ok());
    assert_eq!(asked(Mechanism::ScramSha256, &first(4097)).unwrap_err(), SaslError::TooLong);
    let last = |len: usize| {
        let mut server = server(Mechanism::ScramSha256);
        let question = server.step(Some(b"n,,n=u,r=abc")).unwrap();
        assert!(matches!(question, ServerStep::Ask(_)));
        assert!(matches!(server.answer(keys()), ServerStep::Challenge(_)));
        server.step(Some(&vec![b'x'; len])).unwrap_err()
    };
    assert_eq!((last(4096), last(4097)), (SaslError::Malformed, SaslError::TooLong));
}

#[test]
fn scram_server_messages_have_at_most_4096_bytes() {
    let answer = |len: usize| {
        let mut client = client(Mechanism::ScramSha1, Credentials::password("u", &b"p"[..]));
        let first = String::from_utf8(client.initial_response().unwrap().unwrap().expose().clone()).unwrap();
        let begin = format!("r={}x,s=c2FsdA==,i=4096,x=", first.split_once("r=").unwrap().1);
        client.step(format!("{begin}{}", "y".repeat(len - begin.len())).as_bytes()).map(|_| ())
    };
    assert_eq!((answer(4096), answer(4097)), (Ok(()), Err(SaslError::TooLong)));
}

#[test]
fn scram_attributes_have_one_letter_and_a_value() {
    assert!(asked(Mechanism::ScramSha256, b"n,,n=u,r=abc,x=y").is_ok());
    for bad in ["1=y", "-=y", "xx=y", "=y", "x=", "x"] {
        let message = format!("n,,n=u,r=abc,{bad}");
        assert_eq!(
            asked(Mechanism::ScramSha256, message.as_bytes()).unwrap_err(),
            SaslError::Malformed,
            "{bad}"
        );
    }
}

#[test]
fn answers_an_empty_challenge_with_the_initial_response() {
    let all: [(Mechanism, fn() -> Credentials); 4] = [
        (Mechanism::ScramSha256Plus, || Credentials::password("u", &b"p"[..])),
        (Mechanism::Plain, || Credentials::password("u", &b"p"[..])),
        (Mechanism::OAuthBearer, || Credentials::bearer("u", "t")),
        (Mechanism::Anonymous, || Credentials::anonymous("u")),
    ];
    for (mechanism, credentials) in all {
        let first = first_message(mechanism, credentials()).unwrap();
        let mut client = client(mechanism, credentials());
        assert_eq!(*client.step(b"").unwrap().expose(), first, "{mechanism}");
        assert!(client.initial_response().ok().flatten().is_none(), "it is sent once");
    }
}

/// Runs SCRAM up to the application's second question.
fn server_with_valid_proof() -> Box<dyn ServerExchange> {
    let mut client = client(Mechanism::ScramSha256, Credentials::password("user", &b"pencil"[..]));
    let mut server = server(Mechanism::ScramSha256);
    let first = client.initial_response().unwrap().unwrap();
    assert!(matches!(server.step(Some(first.expose())), Ok(ServerStep::Ask(AuthQuestion::Keys { .. }))));
    let ServerStep::Challenge(challenge) = server.answer(keys()) else { panic!() };
    let last = client.step(&challenge).unwrap();
    assert!(matches!(server.step(Some(last.expose())), Ok(ServerStep::Ask(AuthQuestion::Authorize { .. }))));
    server
}

#[test]
fn an_unavailable_application_neither_accepts_nor_rejects() {
    let mut asked = server(Mechanism::ScramSha256);
    assert!(matches!(asked.step(Some(b"n,,n=u,r=abc")), Ok(ServerStep::Ask(_))));
    assert!(matches!(asked.answer(AuthVerdict::Unavailable), ServerStep::Unavailable));
    assert_eq!(asked.step(Some(b"")).unwrap_err(), SaslError::AlreadyFinished);
    assert!(matches!(server_with_valid_proof().answer(AuthVerdict::Unavailable), ServerStep::Unavailable));
    assert!(matches!(server_with_valid_proof().answer(AuthVerdict::Reject), ServerStep::Rejected));
}

#[test]
fn the_client_answers_the_servers_proof_with_an_empty_message() {
    for (answer, error) in [(&b"x"[..], Some(SaslError::Malformed)), (b"", None)] {
        let mut server = server_with_valid_proof();
        assert!(matches!(server.answer(AuthVerdict::Accept), ServerStep::Challenge(_)));
        match server.step(Some(answer)) {
            Ok(ServerStep::Accepted) => assert_eq!(error, None),
            other => assert_eq!(other.unwrap_err(), error.unwrap()),
        }
        assert_eq!(server.step(Some(b"")).unwrap_err(), SaslError::AlreadyFinished);
    }
}

/// Returns the client's reaction to a salt of this length and these iterations.
fn answer_to(salt: usize, iterations: u64) -> Result<(), SaslError> {
    let mut client = client(Mechanism::ScramSha1, Credentials::password("u", &b"p"[..]));
    let first = String::from_utf8(client.initial_response()?.unwrap().expose().clone()).unwrap();
    let nonce = first.split_once("r=").unwrap().1;
    let salt = String::from_utf8(sasl::encode_base64(&vec![7; salt]).expose().clone()).unwrap();
    client.step(format!("r={nonce}x,s={salt},i={iterations}").as_bytes()).map(|_| ())
}

#[test]
fn limits_the_iterations_and_salt_of_a_server() {
    let least = u64::from(MIN_ITERATIONS);
    assert_eq!(answer_to(1, least), Ok(()));
    assert_eq!(answer_to(1, least - 1), Err(SaslError::IterationCount));
    assert_eq!(answer_to(1, u64::from(MAX_ITERATIONS) + 1), Err(SaslError::IterationCount));
    assert_eq!(answer_to(1, u64::MAX), Err(SaslError::IterationCount));
    assert_eq!(answer_to(1024, least), Ok(()));
    assert_eq!(answer_to(1025, least), Err(SaslError::Malformed));
}

#[test]
fn stored_salts_have_1_to_64_bytes() {
    for (len, fits) in [(0, false), (1, true), (64, true), (65, false)] {
        let keys = ScramKeys::derive(ScramHash::Sha1, "p", &vec![7; len], MIN_ITERATIONS);
        assert_eq!(keys.is_ok(), fits, "{len}");
    }
    for iterations in [0, MIN_ITERATIONS - 1, MAX_ITERATIONS + 1] {
        assert_eq!(
            ScramKeys::derive(ScramHash::Sha1, "p", b"salt", iterations).unwrap_err(),
            SaslError::IterationCount
        );
    }
}

#[test]
fn decoys_look_like_real_keys() {
    let secret = Secret::new(vec![7; 32]);
    let decoy = |iterations, salt| ScramKeys::decoy(ScramHash::Sha256, &secret, "eve", iterations, salt);
    let shape = |keys: &ScramKeys| {
        let text = keys.to_text();
        let mut parts = text.expose().split(['$', ':']);
        let iterations: u32 = parts.nth(1).unwrap().parse().unwrap();
        (iterations, sasl::decode_base64(parts.next().unwrap().as_bytes()).unwrap().expose().len())
    };
    assert_eq!(shape(&decoy(5000, 16)), (5000, 16));
    assert_eq!(shape(&decoy(1, 0)), (MIN_ITERATIONS, 1));
    assert_eq!(shape(&decoy(u32::MAX, 20)), (MAX_ITERATIONS, 20));
    assert_eq!(decoy(5000, 16).hash(), ScramHash::Sha256);
    assert_eq!(format!("{:?}", decoy(5000, 16)), "ScramKeys { hash: Sha256, .. }");
}

#[test]
fn rejects_keys_of_another_hash() {
    let mut server = server(Mechanism::ScramSha1);
    assert!(matches!(server.step(Some(b"n,,n=u,r=abc")), Ok(ServerStep::Ask(_))));
    assert!(matches!(server.answer(keys()), ServerStep::Rejected), "the keys have another hash");
    assert_eq!(ScramHash::Sha1.output_len() + ScramHash::Sha256.output_len(), 20 + 32);
}

#[test]
fn sets_of_mechanisms_hold_each_once_in_order() {
    let mut set = Mechanisms::NONE;
    assert!(set.is_empty());
    set.insert(Mechanism::Plain);
    set.insert(Mechanism::Plain);
    set.insert(Mechanism::Anonymous);
    assert!(!set.is_empty() && set.contains(Mechanism::Plain) && !set.contains(Mechanism::Login));
    assert_eq!(set.iter().collect::<Vec<_>>(), [Mechanism::Plain, Mechanism::Anonymous]);
    assert_eq!(set.with(Mechanism::Plain), set);
    assert_eq!(
        set.intersection(Mechanisms::NONE.with(Mechanism::Plain).with(Mechanism::Login)).iter().count(),
        1
    );
    assert_eq!(format!("{set:?}"), "{Plain, Anonymous}");
    assert_eq!(Mechanisms::all().iter().count(), Mechanism::ALL.len());
    let revealing = [Mechanism::OAuthBearer, Mechanism::XOAuth2, Mechanism::Plain, Mechanism::Login];
    assert_eq!(Mechanisms::passing_credentials().iter().collect::<Vec<_>>(), revealing);
    assert_eq!(Mechanisms::passing_passwords().iter().collect::<Vec<_>>(), revealing[2..]);
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::from_name(mechanism.to_string().to_lowercase().as_bytes()), Some(mechanism));
        assert_eq!(mechanism.hash().is_some(), mechanism.name().starts_with("SCRAM"));
        assert_eq!(mechanism.uses_channel_binding(), mechanism.name().ends_with("PLUS"));
    }
    assert_eq!(Mechanism::from_name(b"PLAI"), None);
}

#[test]
fn exchanges_report_their_mechanism_and_progress() {
    for mechanism in Mechanism::ALL {
        let credentials = [
            Credentials::password("u", &b"p"[..]),
            Credentials::bearer("u", "t"),
            Credentials::external(),
            Credentials::anonymous("u"),
        ];
        let fitting = credentials.into_iter().find(|credentials| mechanism.accepts(credentials)).unwrap();
        let client = client(mechanism, fitting);
        assert_eq!((client.mechanism(), server(mechanism).mechanism()), (mechanism, mechanism));
        assert!(format!("{client:?}").contains("done: false"), "{client:?}");
        assert!(format!("{:?}", server(mechanism)).len() > 4);
        assert!(client.failure().is_none());
    }
    let wrong = sasl::client_exchange(
        Mechanism::XOAuth2,
        Credentials::password("u", &b"p"[..]),
        &mut session(1),
        Mechanisms::all(),
    );
    assert!(wrong.is_none());
}

#[test]
fn debug_of_questions_shows_their_kind_only() {
    let mut tokens = TokenIssuer::new();
    let request = StartTlsRequest::new(tokens.issue());
    assert!(tokens.is_newest(request.token()));
    let mut ask = |question| {
        let request = AuthRequest::new(tokens.issue(), Mechanism::Plain, question);
        assert!(tokens.is_newest(request.token()));
        assert_eq!(request.mechanism(), Mechanism::Plain);
        format!("{:?}", request.question())
    };
    assert_eq!(
        ask(AuthQuestion::Verify(Credentials::password("alice", &b"p"[..]))),
        "Verify(Credentials::Password([redacted]))"
    );
    assert_eq!(
        ask(AuthQuestion::Keys { hash: ScramHash::Sha1, username: "alice".into() }),
        "Keys { hash: Sha1, .. }"
    );
    let authorize = AuthQuestion::Authorize { authorization: "alice".into(), username: "alice".into() };
    assert_eq!(ask(authorize), "Authorize { .. }");
    for (credentials, shown, name) in [
        (Credentials::bearer("alice", "t"), "Credentials::Bearer([redacted])", "alice"),
        (Credentials::external(), "Credentials::External([redacted])", ""),
        (Credentials::External { authorization: "bob".into() }, "Credentials::External([redacted])", "bob"),
        (Credentials::anonymous("alice"), "Credentials::Anonymous([redacted])", ""),
        (Credentials::password("alice", &b"p"[..]), "Credentials::Password([redacted])", "alice"),
    ] {
        assert_eq!(format!("{credentials:?}"), shown);
        assert_eq!(credentials.username(), name);
    }
}

/// Counts how often it is wiped.
struct Spy(Rc<Cell<u32>>);

impl Zeroize for Spy {
    fn zeroize(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_secret_is_wiped_when_it_is_dropped() {
    let wiped = Rc::new(Cell::new(0));
    let secret = Secret::new(Spy(Rc::clone(&wiped)));
    assert_eq!(format!("{secret:?}"), "[redacted]");
    assert_eq!(wiped.get(), 0);
    drop(secret);
    assert_eq!(wiped.get(), 1);
    assert_eq!(Secret::<String>::from("a").expose(), "a");
    assert_eq!(Secret::<Vec<u8>>::from(&b"a"[..]).expose(), b"a");
}

#[test]
fn a_channel_reports_its_binding_and_verification() {
    assert!(Secure::trusted_local().is_verified() && Secure::tls(ChannelBinding::None).is_verified());
    assert!(!Secure::trusted_local().unverified().is_verified());
    for (binding, name, bytes) in [
        (ChannelBinding::None, None, &b""[..]),
        (ChannelBinding::TlsExporter([5; 32]), Some("tls-exporter"), &[5; 32]),
        (ChannelBinding::TlsServerEndPoint(vec![6; 48]), Some("tls-server-end-point"), &[6; 48]),
    ] {
        let secure = Secure::tls(binding);
        assert_eq!((secure.binding().name(), secure.binding().bytes()), (name, bytes));
    }
}

#[test]
fn each_channel_allows_its_own_values_only() {
    assert_eq!((Cleartext::auth("token"), Cleartext::starttls("offer")), (None, Some("offer")));
    assert_eq!((Secure::auth("token"), Secure::starttls("offer")), (Some("token"), None));
    assert!(Cleartext.secure().is_none());
    let secure = Secure::tls(ChannelBinding::TlsExporter([5; 32]));
    let evidence = Channel::secure(&secure).map(Secure::binding);
    assert_eq!(evidence, Some(&ChannelBinding::TlsExporter([5; 32])));
    assert_eq!((Cleartext::SECURE, Secure::SECURE), (false, true));
}

#[test]
fn rejected_mechanisms_are_explained() {
    let none = |credentials: &Credentials| -> NoMechanism {
        let all = Mechanisms::all();
        let offered = Mechanisms::NONE.with(Mechanism::ScramSha1Plus).with(Mechanism::ScramSha1);
        sasl::choose_mechanism(&Mechanism::ALL, offered, all, &SaslContext::cleartext(), credentials)
            .into_result()
            .unwrap_err()
    };
    let shown = none(&Credentials::password("u", &b"p"[..])).to_string();
    assert_eq!(
        shown,
        "no mechanism can be used: SCRAM-SHA-256-PLUS is not offered, SCRAM-SHA-256 is not offered, \
         SCRAM-SHA-1-PLUS has no TLS channel to be bound to, SCRAM-SHA-1 needs randomness from the driver, \
         PLAIN is not offered, LOGIN is not offered"
    );
    let debug = format!("{:?}", none(&Credentials::anonymous("")));
    assert!(
        debug.contains("Plain: NeedsOtherCredentials") && debug.contains("Anonymous: NotOffered"),
        "{debug}"
    );
    let offered = none(&Credentials::external()).offered();
    assert_eq!(offered.iter().count(), 2);
    // A mechanism that the caller named is listed even if it needs other credentials.
    let named = Mechanisms::NONE.with(Mechanism::XOAuth2);
    let password = Credentials::password("u", &b"p"[..]);
    let error = sasl::choose_mechanism(
        &Mechanism::ALL,
        Mechanisms::all(),
        named,
        &SaslContext::cleartext(),
        &password,
    )
    .into_result();
    let shown = error.unwrap_err().to_string();
    assert!(shown.contains("XOAUTH2 needs other credentials"), "{shown}");
    assert!(!shown.contains("OAUTHBEARER"), "{shown}");
}

#[test]
fn each_sasl_error_has_its_own_text() {
    let all = [
        SaslError::Malformed,
        SaslError::AlreadyFinished,
        SaslError::UnencodableCredentials,
        SaslError::NonceMismatch,
        SaslError::IterationCount,
        SaslError::ServerNotVerified,
        SaslError::UnsupportedExtension,
        SaslError::TooLong,
    ];
    let words: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), all.len());
    assert!(words.iter().all(|words| words.len() > 20));
}
