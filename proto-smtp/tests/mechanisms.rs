//! Mechanisms of the application, servers that do not accept an initial response, and traces of both.
#![allow(clippy::unwrap_used, clippy::panic)]

use proto_mail::sasl::{CleartextRisk, ClientExchange, CustomMechanism, SaslError};
use proto_mail::trace::TraceSpan;
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Mechanism, Misuse, PeerError, RecvBuffer, Secret, Secure,
    SendBuffer,
};
use proto_smtp::Config;
use proto_smtp::client::Client;
use proto_smtp::server::Server;

/// A mechanism with one message.
#[derive(Debug)]
struct Toy {
    exposure: CleartextRisk,
    first: Option<&'static [u8]>,
}

impl ClientExchange for Toy {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(CustomMechanism::new("X-TOY", self.exposure).unwrap())
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(self.first.map(|first| Secret::new(first.to_vec())))
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        Ok(Secret::new([b"to ", challenge].concat()))
    }

    fn is_done(&self) -> bool {
        true
    }
}

fn toy(exposure: CleartextRisk) -> Box<dyn ClientExchange> {
    Box::new(Toy { exposure, first: Some(b"first") })
}

const WRONG: Error = Error::Misuse(Misuse::WrongMechanism);

/// A client of a server that offers these mechanisms.
struct Talk<C: Channel> {
    client: Client<C>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl<C: Channel> Talk<C> {
    fn greeted(client: Client<C>, auth: &str) -> Self {
        let mut talk = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
        talk.hear("220 mx ESMTP\r\n");
        talk.said();
        talk.hear(&format!("250-mx\r\n250 AUTH {auth}\r\n"));
        talk
    }

    fn hear(&mut self, text: &str) {
        self.rx.extend(text.as_bytes());
        while self.client.next_event(&mut self.rx, &mut self.tx).unwrap().is_some() {}
    }

    fn said(&mut self) -> String {
        String::from_utf8(self.tx.take()).unwrap()
    }

    /// The trace of the server's replies.
    fn told(&mut self, text: &str) -> String {
        self.rx.extend(text.as_bytes());
        while let Ok(Some(_)) = self.client.next_event(&mut self.rx, &mut self.tx) {}
        shown(&mut self.rx)
    }
}

/// The trace, each span with its kind.
fn shown(rx: &mut RecvBuffer) -> String {
    let piece = |what: TraceSpan| match what {
        TraceSpan::Text(text) => String::from_utf8(text).unwrap(),
        other => format!("{other:?}"),
    };
    rx.take_trace().into_iter().map(piece).collect()
}

fn secure(auth: &str) -> Talk<Secure> {
    Talk::greeted(Client::<Secure>::new(Config::default(), Secure::trusted_local()), auth)
}

#[test]
fn uses_custom_mechanisms_that_are_offered() {
    for (offered, expected) in [("PLAIN X-TOY", Ok(())), ("X-TOYS", Err(WRONG)), ("PLAIN", Err(WRONG))] {
        for exposure in
            [CleartextRisk::RevealsCredentials, CleartextRisk::AllowsGuessing, CleartextRisk::None]
        {
            let mut talk = secure(offered);
            let begun = talk.client.authenticate_with(toy(exposure), &mut talk.tx);
            assert_eq!(begun, expected, "{offered} {exposure:?}");
            assert_eq!(talk.said(), if begun.is_ok() { "AUTH X-TOY Zmlyc3Q=\r\n" } else { "" });
        }
    }
}

/// On cleartext only mechanisms that reveal nothing are allowed, and only if the settings allow it.
#[test]
fn allows_harmless_custom_mechanisms_on_cleartext_only() {
    let begun = |config: Config, exposure| {
        let mut talk = Talk::greeted(Client::<Cleartext>::new(config), "X-TOY");
        talk.client.danger_cleartext_authenticate_with(toy(exposure), &mut talk.tx).map(|()| talk.said())
    };
    let danger = || Config::default().danger_cleartext();
    assert_eq!(begun(danger(), CleartextRisk::None).unwrap(), "AUTH X-TOY Zmlyc3Q=\r\n");
    assert_eq!(begun(danger(), CleartextRisk::AllowsGuessing), Err(WRONG));
    assert_eq!(begun(danger(), CleartextRisk::RevealsCredentials), Err(WRONG));
    assert_eq!(begun(Config::default(), CleartextRisk::None), Err(Misuse::WrongState.into()));
}

/// A mechanism without a first message waits for a challenge; an empty message is sent as `=`.
#[test]
fn sends_the_first_message_of_a_custom_mechanism() {
    for (first, said) in [(None, "AUTH X-TOY\r\n"), (Some(&b""[..]), "AUTH X-TOY =\r\n")] {
        let mut talk = secure("X-TOY");
        let exchange = Box::new(Toy { exposure: CleartextRisk::AllowsGuessing, first });
        talk.client.authenticate_with(exchange, &mut talk.tx).unwrap();
        assert_eq!(talk.said(), said);
    }
}

/// An empty challenge before the reply to PLAIN asks for the message that was sent already. A custom mechanism
/// receives the challenge.
#[test]
fn passes_an_empty_challenge_to_custom_mechanisms() {
    let mut talk = secure("PLAIN");
    let password = Credentials::password("u", &b"p"[..]);
    talk.client.authenticate(Mechanism::Plain, password, &mut talk.tx).unwrap();
    assert_eq!(talk.said(), "AUTH PLAIN AHUAcA==\r\n");
    talk.hear("334 \r\n");
    assert_eq!(talk.said(), "AHUAcA==\r\n");
    let mut talk = secure("X-TOY");
    talk.client.authenticate_with(toy(CleartextRisk::AllowsGuessing), &mut talk.tx).unwrap();
    talk.said();
    talk.hear("334 \r\n");
    assert_eq!(talk.said(), "dG8g\r\n", "\"to \"");
}

/// A server that rejects the initial response as a syntax error gets none the next time. Another rejection, or one
/// after a challenge, has no such effect.
#[test]
fn does_not_repeat_a_rejected_initial_response() {
    let begin = |talk: &mut Talk<Secure>| {
        let password = Credentials::password("u", &b"p"[..]);
        talk.client.authenticate(Mechanism::Plain, password, &mut talk.tx).unwrap();
        talk.said()
    };
    for (answers, refused) in [
        (&["500 what?\r\n"][..], true),
        (&["501 no\r\n"], true),
        (&["535 wrong\r\n"], false),
        (&["504 unknown\r\n"], false),
        (&["334 \r\n", "501 no\r\n"], false),
    ] {
        let mut talk = secure("PLAIN");
        assert_eq!(begin(&mut talk), "AUTH PLAIN AHUAcA==\r\n");
        for answer in answers {
            talk.hear(answer);
            talk.said();
        }
        assert_eq!(talk.client.has_refused_initial_response(), refused, "{answers:?}");
        let again = begin(&mut talk);
        assert_eq!(again, if refused { "AUTH PLAIN\r\n" } else { "AUTH PLAIN AHUAcA==\r\n" }, "{answers:?}");
    }
}

/// The choice is among offered mechanisms that are supported; the chosen one is allowed and fits the credentials.
#[test]
fn chooses_among_offered_mechanisms() {
    let talk = secure("PLAIN LOGIN XOAUTH2");
    let password = Credentials::password("u", &b"p"[..]);
    let weighed = talk.client.choose_mechanism(&Mechanism::ALL, &password);
    assert_eq!(weighed.chosen(), Some(Mechanism::Plain));
    assert_eq!(
        talk.client.choose_mechanism(&[Mechanism::Login, Mechanism::Plain], &password).into_result(),
        Ok(Mechanism::Login)
    );
    assert!(
        talk.client
            .choose_mechanism(&[Mechanism::XOAuth2, Mechanism::ScramSha256], &password)
            .into_result()
            .is_err()
    );
}

/// Challenges are secrets, and malformed replies during an exchange may be.
#[test]
fn hides_challenges_in_traces() {
    let begun = || {
        let mut talk = secure("X-TOY");
        talk.rx.trace(100);
        talk.client.authenticate_with(toy(CleartextRisk::AllowsGuessing), &mut talk.tx).unwrap();
        talk.said();
        talk
    };
    let mut talk = begun();
    assert_eq!(talk.told("334 Y2hhbGxlbmdl\r\n"), "334 Secret(12)\r\n");
    talk.said();
    assert_eq!(talk.told("235 in\r\n"), "235 in\r\n");
    assert_eq!(begun().told("AHUAcA==\r\n"), "Unknown(10)");
    let mut talk = secure("X-TOY");
    talk.rx.trace(100);
    talk.client.noop(&mut talk.tx).unwrap();
    talk.said();
    assert_eq!(talk.told("nonsense\r\n"), "nonsense\r\n", "it says what is wrong with the server");
}

/// Of a line that is too long only the end is shown.
#[test]
fn hides_skipped_lines_in_traces() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server =
        Server::<Secure>::new(Config::default().optional_authentication(), Secure::trusted_local(), &mut tx);
    let _ = tx.take();
    rx.trace(100);
    rx.extend(format!("{}\r\nNOOP\r\n", "hunter2 ".repeat(2000)).as_bytes());
    while server.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    assert_eq!(shown(&mut rx), "Unknown(16001)\nNOOP\r\n");
}

/// A reply that was received before the command is rejected, also if the command is sent before the reply is
/// processed.
#[test]
fn requires_the_challenge_after_the_message_was_sent() {
    for (early, late) in [("", "250 ok\r\n"), ("250 ok\r\n", ""), ("250 o", "k\r\n")] {
        let mut talk = secure("PLAIN");
        talk.client.noop(&mut talk.tx).unwrap();
        talk.said();
        talk.rx.extend(format!("250 first\r\n{early}").as_bytes());
        assert!(talk.client.next_event(&mut talk.rx, &mut talk.tx).unwrap().is_some());
        talk.client.noop(&mut talk.tx).unwrap();
        assert_eq!(talk.said(), "NOOP\r\n", "it has left");
        talk.rx.extend(late.as_bytes());
        let heard = talk.client.next_event(&mut talk.rx, &mut talk.tx).map(|event| event.is_some());
        let expected = if early.is_empty() { Ok(true) } else { Err(PeerError::UnexpectedReply.into()) };
        assert_eq!(heard, expected, "{early} {late}");
    }
}

/// A mechanism that computes its answer in three slices.
#[derive(Debug)]
struct Slow {
    slices_left: u32,
}

impl ClientExchange for Slow {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(CustomMechanism::new("X-SLOW", CleartextRisk::AllowsGuessing).unwrap())
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(None)
    }

    fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        self.slices_left = 3;
        Ok(Secret::new(Vec::new()))
    }

    fn is_computing(&self) -> bool {
        self.slices_left > 0
    }

    fn compute(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        self.slices_left -= 1;
        Ok((self.slices_left == 0).then(|| Secret::new(b"computed".to_vec())))
    }

    fn is_done(&self) -> bool {
        self.slices_left == 0
    }
}

#[test]
fn a_mechanism_of_the_application_may_compute_its_answer_in_slices() {
    let secure = Secure::tls(proto_mail::ChannelBinding::None);
    let mut talk = Talk::greeted(Client::<Secure>::new(Config::default(), secure), "X-SLOW");
    talk.client.authenticate_with(Box::new(Slow { slices_left: 0 }), &mut talk.tx).unwrap();
    let _ = talk.tx.take();
    talk.rx.extend(b"334 \r\n");
    for _ in 0..3 {
        assert!(talk.client.next_event(&mut talk.rx, &mut talk.tx).unwrap().is_none());
        assert!(talk.tx.is_empty() && !talk.client.wants_read(&talk.tx));
    }
    assert!(talk.client.next_event(&mut talk.rx, &mut talk.tx).unwrap().is_none());
    assert_eq!(talk.tx.take(), b"Y29tcHV0ZWQ=\r\n");
}
