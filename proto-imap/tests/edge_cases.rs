//! Edge cases of logging in: when a client may log in, with LOGIN or with SASL, and when the server's success counts.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::ok;
use common::talk::Talk;
use proto_imap::client::LoginMethod;
use proto_imap::server::{Event, Server};
use proto_imap::types::Command;
use proto_imap::{Config, State};
use proto_mail::{
    AuthRequest, AuthVerdict, Credentials, Error, Mechanism, Misuse, PeerError, RecvBuffer, Secure,
    SendBuffer, WaitFor,
};

fn password() -> Credentials {
    Credentials::password("u", &b"p"[..])
}

#[test]
fn allows_one_login_at_a_time() {
    for (capabilities, choice) in [
        ("", LoginMethod::Strongest),
        ("AUTH=PLAIN SASL-IR", LoginMethod::Strongest),
        ("AUTH=PLAIN", LoginMethod::Strongest),
    ] {
        let mut talk = Talk::greeted("OK", capabilities);
        talk.authenticate(password(), choice).unwrap();
        let first = talk.said();
        assert_eq!(talk.authenticate(password(), choice), Err(Misuse::WrongState.into()));
        assert_eq!(talk.said(), "", "nothing is said behind {first}");
        // After a rejection the client may try again; after success it may not.
        talk.hear("M1 NO no\r\n").unwrap();
        talk.authenticate(password(), choice).unwrap();
        let second = talk.said();
        assert_eq!(first.replace("M1", "M2"), second);
        if capabilities.contains("AUTH") && !capabilities.contains("SASL-IR") {
            talk.hear("+ \r\n").unwrap();
            assert_eq!(talk.said(), "AHUAcA==\r\n");
        }
        talk.hear("M2 OK [CAPABILITY IMAP4rev1] in\r\n").unwrap();
        assert_eq!(talk.authenticate(password(), choice), Err(Misuse::WrongState.into()), "once is enough");
        assert_eq!(talk.said(), "");
    }
}

#[test]
fn strongest_method_falls_back_to_login() {
    let login = "M1 LOGIN \"u\" \"p\"\r\n";
    let mut talk = Talk::greeted("OK", "");
    talk.authenticate(password(), LoginMethod::Strongest).unwrap();
    assert_eq!(talk.said(), login);
    for (capabilities, choice) in [
        ("LOGINDISABLED", LoginMethod::Strongest),
        ("", LoginMethod::Mechanism(Mechanism::Plain)),
        ("", LoginMethod::Order(&[Mechanism::Plain, Mechanism::Login])),
        ("AUTH=ANONYMOUS", LoginMethod::Mechanism(Mechanism::ScramSha256)),
    ] {
        let mut talk = Talk::greeted("OK", capabilities);
        let refused = talk.authenticate(password(), choice);
        assert!(matches!(refused, Err(Error::Misuse(Misuse::NoMechanism(_)))), "{refused:?}");
        assert_eq!(talk.said(), "");
    }
    let mut talk = Talk::greeted("OK", "");
    let refused = talk.authenticate(Credentials::bearer("u", "t"), LoginMethod::Strongest);
    assert_eq!(refused, Err(Misuse::WrongMechanism.into()), "a token is no password");
    assert_eq!(talk.said(), "");
}

/// LOGIN carries one name, so a client with an authorization identity must not use it.
#[test]
fn login_cannot_act_for_another_user() {
    let acting = |authorization: &str| {
        let (authorization, username) = (authorization.into(), "u".into());
        Credentials::Password { authorization, username, password: b"p".to_vec().into() }
    };
    for own in ["", "u"] {
        let mut talk = Talk::greeted("OK", "");
        talk.authenticate(acting(own), LoginMethod::Strongest).unwrap();
        assert_eq!(talk.said(), "M1 LOGIN \"u\" \"p\"\r\n");
    }
    let mut talk = Talk::greeted("OK", "");
    assert_eq!(talk.authenticate(acting("root"), LoginMethod::Strongest), Err(Misuse::WrongMechanism.into()));
    assert_eq!(talk.said(), "");
}

#[test]
fn writes_login_arguments_as_strings() {
    let login = |capabilities: &str, name: &str, password: &[u8]| {
        let mut talk = Talk::greeted("OK", capabilities);
        talk.authenticate(Credentials::password(name, password), LoginMethod::Strongest).map(|()| talk.said())
    };
    assert_eq!(login("", "a\"b", b"c\\d ~").unwrap(), "M1 LOGIN \"a\\\"b\" \"c\\\\d ~\"\r\n");
    assert_eq!(login("", "u", b"a\0b"), Err(Misuse::ForbiddenByte.into()));
    assert_eq!(login("LITERAL+", "u", "ü".as_bytes()).unwrap(), "M1 LOGIN \"u\" {2+}\r\nü\r\n");
    for plain in [b"a\x1fb", b"a\x7fb"] {
        let said = login("LITERAL+", "u", plain).unwrap();
        assert!(said.contains("{3+}\r\n"), "{said:?}");
    }
    let (fits, long) = ("x".repeat(1024), "x".repeat(1025));
    assert_eq!(login("", "u", fits.as_bytes()).unwrap(), format!("M1 LOGIN \"u\" \"{fits}\"\r\n"));
    assert_eq!(
        login("LITERAL+", "u", long.as_bytes()).unwrap(),
        format!("M1 LOGIN \"u\" {{1025+}}\r\n{long}\r\n")
    );
    // Literals of up to 4096 bytes are sent without waiting (RFC 7888 §5), larger ones only after the server has
    // asked.
    for (capabilities, size, unasked) in [
        ("LITERAL-", 4096, true),
        ("LITERAL-", 4097, false),
        ("IMAP4rev2", 4096, true),
        ("IMAP4rev2", 4097, false),
        ("LITERAL+", 4097, true),
        ("", 1025, false),
    ] {
        let (long, plus) = ("x".repeat(size), if unasked { "+" } else { "" });
        let said = login(capabilities, "u", long.as_bytes()).unwrap();
        let rest = if unasked { format!("{long}\r\n") } else { String::new() };
        assert_eq!(said, format!("M1 LOGIN \"u\" {{{size}{plus}}}\r\n{rest}"), "{capabilities}");
    }
    let mut talk = Talk::greeted("OK", "");
    talk.authenticate(Credentials::password("ü", "ö".as_bytes()), LoginMethod::Strongest).unwrap();
    assert_eq!(talk.said(), "M1 LOGIN {2}\r\n");
    talk.hear("+ go on\r\n").unwrap();
    assert_eq!(talk.said(), "ü {2}\r\n");
    talk.hear("+ go on\r\n").unwrap();
    assert_eq!(talk.said(), "ö\r\n");
    assert!(talk.hear("M1 OK in\r\n").unwrap().iter().any(|event| event.starts_with("Auth(Accepted")));
}

/// Success counts only after the mechanism is complete and all its messages were sent. A rejection always counts.
#[test]
fn rejects_success_before_the_exchange_ends() {
    let begun = || {
        let mut talk = Talk::greeted("OK", "AUTH=PLAIN");
        talk.authenticate(password(), LoginMethod::Strongest).unwrap();
        assert_eq!(talk.said(), "M1 AUTHENTICATE PLAIN\r\n");
        talk
    };
    assert_eq!(begun().hear("M1 OK in\r\n"), Err(PeerError::AuthenticationNotFinished.into()));
    assert!(begun().hear("M1 NO no\r\n").unwrap()[0].starts_with("Auth(Rejected"));
    let mut talk = begun();
    talk.hear("+ \r\n").unwrap();
    // The answer is queued but not sent.
    assert_eq!(talk.hear("M1 OK in\r\n"), Err(PeerError::UnexpectedReply.into()));
    let mut talk = begun();
    talk.hear("+ !\r\n").unwrap();
    assert_eq!(talk.said(), "*\r\n", "a challenge that is no base64 is not answered");
    assert_eq!(talk.hear("M1 OK in\r\n"), Err(PeerError::AuthenticationNotFinished.into()));
    let mut talk = begun();
    talk.hear("+ !\r\n").unwrap();
    assert_eq!(talk.said(), "*\r\n");
    assert_eq!(talk.hear("+ \r\n"), Err(PeerError::UnexpectedContinuation.into()), "it had its answer");
    let mut talk = begun();
    talk.hear("+ !\r\n").unwrap();
    talk.said();
    let events = talk.hear("M1 BAD cancelled\r\n").unwrap();
    assert!(events[0].starts_with("Auth(Cancelled") && events[0].contains("SASL message"), "{events:?}");
}

/// A continuation request that arrives before its command was sent is not the server's answer to that command.
#[test]
fn rejects_continuations_before_the_command_was_sent() {
    let mut talk = Talk::greeted("OK", "AUTH=PLAIN");
    talk.authenticate(password(), LoginMethod::Strongest).unwrap();
    let written = talk.tx.len();
    talk.tx.sent(written - 1);
    assert_eq!(talk.hear("+ \r\n"), Err(PeerError::UnexpectedContinuation.into()));
    let mut talk = Talk::greeted("OK", "");
    talk.client.send(&Command::Noop, &mut talk.tx).unwrap();
    let written = talk.tx.len();
    talk.tx.sent(written - 1);
    assert_eq!(talk.hear("M1 OK done\r\n"), Err(PeerError::UnexpectedReply.into()));
    let mut talk = Talk::greeted("OK", "");
    talk.client.send(&Command::Noop, &mut talk.tx).unwrap();
    let written = talk.tx.len();
    talk.tx.sent(written);
    assert!(talk.hear("M1 OK done\r\n").unwrap()[0].starts_with("Completed"));
    assert_eq!(talk.hear("M1 OK again\r\n"), Err(PeerError::UnknownTag.into()));
}

#[test]
fn sends_initial_responses_only_where_offered() {
    for (capabilities, said) in [
        ("AUTH=EXTERNAL SASL-IR", "M1 AUTHENTICATE EXTERNAL =\r\n"),
        ("AUTH=EXTERNAL", "M1 AUTHENTICATE EXTERNAL\r\n"),
    ] {
        let mut talk = Talk::greeted("OK", capabilities);
        talk.authenticate(Credentials::external(), LoginMethod::Strongest).unwrap();
        assert_eq!(talk.tx.chunks().any(|chunk| chunk.secret), said.contains('='));
        assert_eq!(talk.said(), said);
    }
}

/// A server under TLS that has received nothing yet.
struct Serving {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Serving {
    fn new(config: Config) -> Self {
        let mut tx = SendBuffer::new();
        let server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        let mut serving = Self { server, rx: RecvBuffer::new(), tx };
        assert!(serving.server.next_event(&mut serving.rx, &mut serving.tx).unwrap().is_none());
        serving.said();
        serving
    }

    fn asked(&mut self, text: &str) -> AuthRequest {
        self.rx.extend(text.as_bytes());
        match self.server.next_event(&mut self.rx, &mut self.tx).unwrap() {
            Some(Event::Auth(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn said(&mut self) -> String {
        String::from_utf8(self.tx.take()).unwrap()
    }
}

/// A verdict on another request does not answer this one, and does not log the client in.
#[test]
fn rejects_a_verdict_for_another_request() {
    for question in ["a LOGIN u p\r\n", "a AUTHENTICATE PLAIN AHUAcA==\r\n"] {
        let mut other = Serving::new(Config::default());
        let first = other.asked(question);
        other.server.answer_auth(first, AuthVerdict::Unavailable, &mut other.tx).unwrap();
        let second = other.asked(question);
        let mut serving = Serving::new(Config::default());
        let own = serving.asked(question);
        let stale = serving.server.answer_auth(second, AuthVerdict::Accept, &mut serving.tx);
        assert_eq!(stale, Err(Misuse::StaleToken.into()), "{question}");
        assert_eq!((serving.said().as_str(), serving.server.state()), ("", State::NotAuthenticated));
        serving.server.answer_auth(own, AuthVerdict::Accept, &mut serving.tx).unwrap();
        assert!(serving.said().starts_with("a OK ") && serving.server.state() == State::Authenticated);
    }
}

#[test]
fn unavailable_verdicts_are_not_failed_attempts() {
    let mut serving = Serving::new(Config::default());
    for question in ["a LOGIN u p\r\n", "a AUTHENTICATE PLAIN AHUAcA==\r\n"].into_iter().cycle().take(10) {
        let request = serving.asked(question);
        serving.server.answer_auth(request, AuthVerdict::Unavailable, &mut serving.tx).unwrap();
        assert!(serving.said().starts_with("a NO [UNAVAILABLE] "));
        assert_ne!(serving.server.wait().awaited, WaitFor::Delay);
    }
}

#[test]
fn server_sends_one_bye_on_shutdown() {
    let mut serving = Serving::new(Config::default());
    assert!(serving.server.wants_read(&serving.tx));
    serving.server.shutdown("going\r\ndown", &mut serving.tx);
    serving.server.shutdown("twice", &mut serving.tx);
    assert_eq!(serving.said(), "* BYE going\r\n");
    assert!(!serving.server.wants_read(&serving.tx) && !serving.server.is_closed());
    let event = serving.server.next_event(&mut serving.rx, &mut serving.tx).unwrap();
    assert!(matches!(event, Some(Event::Closed)));
    assert!(serving.server.is_closed());
}

/// The server stops reading when the output that its peer does not read exceeds the limit.
#[test]
fn server_stops_reading_when_its_output_is_full() {
    let mut config = Config::default();
    config.limits.output_high_water = 200;
    let mut serving = Serving::new(config);
    serving.tx.put(&[b'x'; 199]);
    assert!(serving.server.wants_read(&serving.tx));
    serving.tx.put(b"x");
    assert!(!serving.server.wants_read(&serving.tx));
    serving.rx.extend(b"a CAPABILITY\r\n");
    assert!(serving.server.next_event(&mut serving.rx, &mut serving.tx).unwrap().is_none());
    assert_eq!(serving.said().len(), 200, "nothing is answered");
    assert!(serving.server.next_event(&mut serving.rx, &mut serving.tx).unwrap().is_none());
    assert!(serving.said().contains("a OK "));
}

/// IDLE is answered after DONE. A later answer returns the error that ended the session.
#[test]
fn completes_idle_after_done() {
    let idling = || {
        let mut serving = Serving::new(Config::default());
        let request = serving.asked("a LOGIN u p\r\n");
        serving.server.answer_auth(request, AuthVerdict::Accept, &mut serving.tx).unwrap();
        serving.rx.extend(b"b IDLE\r\n");
        match serving.server.next_event(&mut serving.rx, &mut serving.tx).unwrap() {
            Some(Event::Idle(reply)) => {
                serving.said();
                (serving, reply)
            }
            other => panic!("{other:?}"),
        }
    };
    let done = ok("done");
    let (mut early, reply) = idling();
    assert_eq!(early.server.reply(reply, &done, &mut early.tx), Err(Misuse::WrongState.into()));
    assert_eq!(early.said(), "", "DONE has not come");

    let (mut serving, reply) = idling();
    serving.rx.extend(b"done\r\n");
    let event = serving.server.next_event(&mut serving.rx, &mut serving.tx).unwrap();
    assert!(matches!(event, Some(Event::Done)));
    assert_eq!(serving.server.reply(reply, &done, &mut serving.tx), Ok(()));
    assert_eq!(serving.said(), "b OK done\r\n");

    let (mut late, reply) = idling();
    let error = late.server.timed_out(&mut late.tx).unwrap_err();
    late.said();
    assert_eq!(late.server.reply(reply, &done, &mut late.tx), Err(error));
    assert_eq!(late.said(), "");
}

/// A client can enable only the capabilities that the application has listed. Each is stored once, even if it is
/// enabled several times.
#[test]
fn enables_only_known_capabilities() {
    let mut serving = Serving::new(Config::default().enableable(["CONDSTORE", "UTF8=ACCEPT"]));
    let request = serving.asked("a LOGIN u p\r\n");
    serving.server.answer_auth(request, AuthVerdict::Accept, &mut serving.tx).unwrap();
    serving.said();
    for (line, answer) in [
        ("b ENABLE X-NONE\r\n", "* ENABLED\r\nb OK ENABLE completed\r\n"),
        ("c ENABLE condstore X-NONE\r\n", "* ENABLED CONDSTORE\r\nc OK ENABLE completed\r\n"),
        ("d ENABLE CONDSTORE\r\n", "* ENABLED CONDSTORE\r\nd OK ENABLE completed\r\n"),
    ] {
        serving.rx.extend(line.as_bytes());
        assert!(serving.server.next_event(&mut serving.rx, &mut serving.tx).unwrap().is_none());
        assert_eq!(serving.said(), answer);
    }
    assert!(serving.server.is_enabled("CONDSTORE") && !serving.server.is_enabled("X-NONE"));
    assert!(!serving.server.is_enabled("UTF8=ACCEPT"), "the client has not asked");
    let shown = format!("{:?}", serving.server);
    assert!(shown.contains("enabled: \"CONDSTORE \""), "{shown}");
}
