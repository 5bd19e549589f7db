//! The checks on custom mechanisms.

use alloc::vec;

use super::*;
use crate::Credentials;
use crate::sasl::{CleartextRisk, Mechanisms, client_exchange, server_exchange, server_exchange_named};

const TOY: CustomMechanism = CustomMechanism::new("X-TOY", CleartextRisk::AllowsGuessing).unwrap();

#[test]
fn accepts_free_names_of_rfc_4422_only() {
    let new = |name| CustomMechanism::new(name, CleartextRisk::None);
    for good in ["X", "GS2-KRB5", "A_B-C9", "ABCDEFGHIJKLMNOPQRST"] {
        assert_eq!(new(good).map(CustomMechanism::name), Some(good));
    }
    for bad in
        ["", "ABCDEFGHIJKLMNOPQRSTU", "x-toy", "X TOY", "X\r\nY", "X\0", "X,Y", "É", "PLAIN", "SCRAM-SHA-1"]
    {
        assert_eq!(new(bad), None, "{bad:?}");
    }
}

#[test]
fn a_custom_mechanism_is_in_no_set() {
    let toy = Mechanism::Custom(TOY);
    assert!(!Mechanisms::all().with(toy).contains(toy) && Mechanisms::NONE.with(toy).is_empty());
    assert!(!toy.accepts(&Credentials::external()) && !toy.uses_channel_binding() && toy.hash().is_none());
    let exposed = |cleartext_risk| Mechanism::Custom(CustomMechanism::new("X-TOY", cleartext_risk).unwrap());
    assert!(exposed(CleartextRisk::RevealsCredentials).reveals_credentials() && !toy.reveals_credentials());
    assert!(
        client_exchange(toy, Credentials::external(), &mut SaslContext::cleartext(), Mechanisms::all())
            .is_none()
    );
    assert!(server_exchange(toy, &mut SaslContext::cleartext(), Mechanisms::all()).is_none());
}

/// A client whose messages have these lengths, in turn.
#[derive(Debug)]
struct Client {
    first: Option<usize>,
    says: Vec<Result<usize, SaslError>>,
    done: bool,
}

impl ClientExchange for Client {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(TOY)
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(self.first.take().map(|len| Secret::new(vec![b'x'; len])))
    }

    fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        let len = if self.says.is_empty() { Ok(1) } else { self.says.remove(0) };
        len.map(|len| Secret::new(vec![b'x'; len]))
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn failure(&self) -> Option<&str> {
        Some("\x1b[2Jno\r\n")
    }
}

fn checked(first: Option<usize>, says: &[Result<usize, SaslError>]) -> Box<dyn ClientExchange> {
    checked_exchange(Box::new(Client { first, says: says.into(), done: true })).unwrap()
}

#[test]
fn a_client_without_a_message_is_not_done() {
    let mut silent = checked(None, &[]);
    assert!(!silent.is_done());
    assert!(silent.initial_response().unwrap().is_none() && !silent.is_done());
    silent.step(b"").unwrap();
    assert!(silent.is_done());
    assert_eq!(silent.failure(), Some("[2Jno"));
    let shown = alloc::format!("{silent:?} {:?}", server_that(&[ask_identity], |_| ask_identity()));
    assert_eq!(shown.matches("X-TOY").count(), 2, "{shown}");
}

#[test]
fn a_client_ends_after_an_error_and_is_not_done() {
    let cases = [
        (None, vec![Ok(1), Err(SaslError::Malformed)]),
        (None, vec![Ok(1), Ok(MAX_MESSAGE_LEN + 1)]),
        (Some(MAX_MESSAGE_LEN + 1), vec![]),
    ];
    for (first, says) in cases {
        let mut client = checked(first, &says);
        let failed = client.initial_response().is_err() || {
            client.step(b"").unwrap();
            client.step(b"").is_err()
        };
        assert!(failed && !client.is_done(), "{first:?} {says:?}");
        assert_eq!(client.step(b"").unwrap_err(), SaslError::AlreadyFinished);
    }
    assert!(checked(Some(MAX_MESSAGE_LEN), &[]).initial_response().is_ok());
}

#[test]
fn limits_the_number_of_messages() {
    let mut client = checked(None, &[]);
    let sent = (0..1000).take_while(|_| client.step(b"").is_ok()).count();
    assert_eq!(sent, MAX_MESSAGES as usize);
    let mut server = server_that(&[], |_| ServerStep::Challenge(Vec::new()));
    let sent = (0..1000).take_while(|_| server.step(Some(b"")).is_ok()).count();
    assert_eq!(sent, MAX_MESSAGES as usize);
}

#[test]
fn an_exchange_with_a_known_name_is_refused() {
    #[derive(Debug)]
    struct Known;
    impl ClientExchange for Known {
        fn mechanism(&self) -> Mechanism {
            Mechanism::Plain
        }
        fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
            Ok(None)
        }
        fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
            Err(SaslError::Malformed)
        }
        fn is_done(&self) -> bool {
            true
        }
    }
    assert!(checked_exchange(Box::new(Known)).is_none());
}

/// A server with these steps in turn, and with any reaction to a verdict.
#[derive(Debug)]
struct Steps {
    steps: Vec<fn() -> ServerStep>,
    verdict: fn(AuthVerdict) -> ServerStep,
}

impl ServerExchange for Steps {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Plain
    }

    fn step(&mut self, _: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        let next: fn() -> ServerStep =
            if self.steps.is_empty() { || ServerStep::Challenge(Vec::new()) } else { self.steps.remove(0) };
        Ok(next())
    }

    fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
        (self.verdict)(verdict)
    }
}

#[derive(Debug)]
struct Scripted(Vec<fn() -> ServerStep>, fn(AuthVerdict) -> ServerStep);

impl ServerMechanism for Scripted {
    fn mechanism(&self) -> CustomMechanism {
        TOY
    }

    fn begin(&self, _: &mut SaslContext) -> Box<dyn ServerExchange> {
        Box::new(Steps { steps: self.0.clone(), verdict: self.1 })
    }
}

fn server_that(
    steps: &[fn() -> ServerStep],
    verdict: fn(AuthVerdict) -> ServerStep,
) -> Box<dyn ServerExchange> {
    let mut others = CustomMechanisms::new();
    others.add(Arc::new(Scripted(steps.into(), verdict)));
    server_exchange_named(b"x-toy", &mut SaslContext::cleartext(), Mechanisms::all(), &others).unwrap()
}

fn ask_identity() -> ServerStep {
    ServerStep::Ask(AuthQuestion::Authorize { authorization: String::new(), username: "ann".into() })
}

fn ask_stored() -> ServerStep {
    ServerStep::Ask(AuthQuestion::Stored { username: "ann".into() })
}

#[test]
fn only_the_application_can_accept_a_client() {
    let accepts = |_| ServerStep::Accepted;
    let mut unasked = server_that(&[|| ServerStep::Accepted], accepts);
    assert!(matches!(unasked.step(None), Ok(ServerStep::Rejected)));
    assert!(unasked.step(None).is_err());
    let keys = || Secret::new(vec![1]);
    let verdicts: [(fn() -> ServerStep, AuthVerdict); 4] = [
        (ask_identity, AuthVerdict::Reject),
        (ask_identity, AuthVerdict::Stored(keys())),
        (ask_stored, AuthVerdict::Accept),
        (ask_stored, AuthVerdict::Stored(keys())),
    ];
    for (question, verdict) in verdicts {
        let mut server = server_that(&[question], accepts);
        assert!(matches!(server.step(None), Ok(ServerStep::Ask(_))));
        let sent = alloc::format!("{verdict:?}");
        assert!(matches!(server.answer(verdict), ServerStep::Rejected), "{sent}");
    }
    let mut server = server_that(&[ask_identity], accepts);
    let _ = server.step(None);
    assert!(matches!(server.answer(AuthVerdict::Accept), ServerStep::Accepted));
    assert!(matches!(server.answer(AuthVerdict::Accept), ServerStep::Rejected), "once");
}

#[test]
fn a_mechanism_may_ask_for_a_stored_value_first() {
    let mut server = server_that(&[ask_stored], |verdict| match verdict {
        AuthVerdict::Stored(_) => ask_identity(),
        _ => ServerStep::Accepted,
    });
    let _ = server.step(None);
    assert!(matches!(server.answer(AuthVerdict::Stored(Secret::new(vec![1]))), ServerStep::Ask(_)));
    assert!(matches!(server.answer(AuthVerdict::Accept), ServerStep::Accepted));
}

#[test]
fn a_rejection_is_final() {
    // The mechanism sends a message first, as OAuth does, and then tries to accept the client.
    let mut server =
        server_that(&[ask_identity, || ServerStep::Accepted], |_| ServerStep::Challenge(b"no".to_vec()));
    let _ = server.step(None);
    assert!(matches!(server.answer(AuthVerdict::Reject), ServerStep::Challenge(_)));
    assert!(matches!(server.step(Some(b"")), Ok(ServerStep::Rejected)));
    // The mechanism asks again.
    let mut server = server_that(&[ask_identity], |_| ask_identity());
    let _ = server.step(None);
    assert!(matches!(server.answer(AuthVerdict::Reject), ServerStep::Rejected));
    let mut server = server_that(&[ask_identity], |_| ask_identity());
    let _ = server.step(None);
    assert!(matches!(server.answer(AuthVerdict::Unavailable), ServerStep::Unavailable));
}

#[test]
fn limits_the_length_of_a_challenge() {
    let mut server =
        server_that(&[|| ServerStep::Challenge(vec![0; MAX_MESSAGE_LEN + 1])], |_| ask_identity());
    assert!(matches!(server.step(None), Ok(ServerStep::Unavailable)));
    let mut server = server_that(&[|| ServerStep::Challenge(vec![0; MAX_MESSAGE_LEN])], |_| ask_identity());
    assert!(matches!(server.step(None), Ok(ServerStep::Challenge(_))));
    assert!(crate::sasl::encode_base64(&[0; MAX_MESSAGE_LEN]).expose().len() + 2 <= 12_288);
}

#[test]
fn a_name_cannot_be_added_twice_or_replace_a_known_mechanism() {
    let mut others = CustomMechanisms::new();
    assert!(others.is_empty());
    others.add(Arc::new(Scripted(vec![ask_stored], |_| ask_identity())));
    others.add(Arc::new(Scripted(vec![ask_identity], |_| ask_identity())));
    assert_eq!((others.is_empty(), others.iter().collect::<Vec<_>>()), (false, vec![TOY]));
    let session = &mut SaslContext::cleartext();
    let mut exchange = server_exchange_named(b"X-TOY", session, Mechanisms::NONE, &others).unwrap();
    assert_eq!(exchange.mechanism(), Mechanism::Custom(TOY), "whatever the exchange claims");
    let step = exchange.step(None).unwrap();
    assert!(matches!(step, ServerStep::Ask(AuthQuestion::Stored { .. })), "{step:?}");
    assert!(server_exchange_named(b"X-TO", session, Mechanisms::all(), &others).is_none());
    assert!(server_exchange_named(b"PLAIN", session, Mechanisms::NONE, &others).is_none());
    assert!(server_exchange_named(b"plain", session, Mechanisms::all(), &others).is_some());
}
