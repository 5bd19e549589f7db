//! The typed clients of io-mio and io-tokio have the same results in the same conversations. `conversations.rs` is compiled
//! twice: once with methods that block, and once with methods that are awaited.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

use std::net::SocketAddr;

use io_common::{Security, Target};
use mailtest::{FakeServer, Server};

const MESSAGE: &str = "From: a@example.com\r\nSubject: Hello\r\n\r\n.Hello\r\n";

fn target(address: SocketAddr, security: Security) -> Target {
    Target::new("localhost", address.port(), security).dial_to("127.0.0.1", address.port())
}

/// What a conversation brought, line by line.
#[derive(Default)]
struct Results(Vec<String>);

impl Results {
    fn add(&mut self, what: &str, result: impl std::fmt::Debug) {
        self.0.push(format!("{what}: {result:?}"));
    }
}

/// A server for one conversation.
struct Scene {
    server: Server,
    /// A server that plays the conversation's script, if it has one.
    fake: Option<FakeServer>,
}

impl Scene {
    fn new(script: Option<&str>) -> Self {
        let server = Server::builder()
            .account("alice", "secret")
            .fault("rcpt=550,bad*")
            .fault("dot=452,late*")
            .start()
            .unwrap();
        server.append("INBOX", b"Subject: first\r\n\r\none\r\n").unwrap();
        server
            .append("INBOX", &[b"Subject: large\r\n\r\n", &*b"0123456789abcdef\r\n".repeat(20_000)].concat())
            .unwrap();
        server.append("Archive/2026", b"Subject: old\r\n\r\nold\r\n").unwrap();
        Self { server, fake: script.map(|script| FakeServer::start(script).unwrap()) }
    }

    /// Where the script is played, under TLS from the first byte.
    fn fake(&self) -> Target {
        target(self.fake.as_ref().unwrap().address(), Security::ImplicitTls)
    }
}

/// The scripts of the conversations that no real server has.
fn script(name: &str) -> Option<&'static str> {
    match name {
        "imap_refusals" => Some(
            "tls\nS: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\nC: $a AUTHENTICATE PLAIN *\nS: $a NO [AUTHENTICATIONFAILED] no\n\
             C: $b AUTHENTICATE PLAIN *\nS: * CAPABILITY IMAP4rev1\nS: $b OK in\nC: $c SELECT *\nS: * 3 EXISTS\n\
             S: * OK [UIDVALIDITY 7] fine\nS: * OK [UIDNEXT 9] fine\nS: $c OK [READ-ONLY] open\nC: $d NOOP\nS: * 4 EXISTS\n\
             S: $d NO [INUSE] later\nC: $e LIST * *\nS: * LIST () \"/\" a\nS: * 5 EXISTS\nS: $e OK done\nC: $f NOOP\n\
             S: * BYE [UNAVAILABLE] gone\n",
        ),
        "imap_initial_response" => Some(
            "tls\nS: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\nC: $a AUTHENTICATE PLAIN *\nS: $a BAD what\n\
             C: $b AUTHENTICATE PLAIN\nS: +\nC: *\nS: $b OK [CAPABILITY IMAP4rev1] in\nC: $c LOGOUT\nS: * BYE bye\nS: $c OK bye\n",
        ),
        "smtp_refused" => Some("tls\nS: 554 5.7.1 go away\n"),
        "smtp_initial_response" => Some(
            "tls\nS: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 AUTH PLAIN\nC: AUTH PLAIN *\nS: 501 5.5.2 what\nC: AUTH PLAIN\nS: 334 \n\
             C: *\nS: 235 in\nC: QUIT\nS: 221 bye\n",
        ),
        "smtp_lost" => Some(
            "tls\nS: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: DATA\nS: 354 go\nclose\n",
        ),
        _ => None,
    }
}

macro_rules! wait {
    ($call:expr) => {
        $call
    };
}

macro_rules! conversations {
    ($(fn $name:ident($scene:ident, $results:ident) $body:block)*) => {
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        $(fn $name($scene: &Scene, $results: &mut Results) -> Result<(), ClientError> $body)*

        pub fn run(name: &str, scene: &Scene, results: &mut Results) -> Result<(), ClientError> {
            match name {
                $(stringify!($name) => $name(scene, results),)*
                _ => panic!("there is no conversation {name}"),
            }
        }
    };
}

mod blocking {
    use std::io::{Read as _, Write as _};

    use io_mio::{
        ClientError, Connector, ImapClient, SmtpClient,
        imap::FetchPart,
        smtp::{Envelope, EnvelopeOutcome},
    };

    include!("conversations.rs");
}

macro_rules! wait {
    ($call:expr) => {
        $call.await
    };
}

macro_rules! conversations {
    ($(fn $name:ident($scene:ident, $results:ident) $body:block)*) => {
        $(async fn $name($scene: &Scene, $results: &mut Results) -> Result<(), ClientError> $body)*

        pub async fn run(name: &str, scene: &Scene, results: &mut Results) -> Result<(), ClientError> {
            match name {
                $(stringify!($name) => $name(scene, results).await,)*
                _ => panic!("there is no conversation {name}"),
            }
        }
    };
}

mod awaiting {
    use io_tokio::{
        Connector, Error as ClientError, ImapClient, SmtpClient,
        imap::FetchPart,
        smtp::{Envelope, EnvelopeOutcome},
    };
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    include!("conversations.rs");
}

#[test]
fn blocking_and_async_clients_have_the_same_results() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(blocking::NAMES.len() >= 8);
    for name in blocking::NAMES {
        let mut blocked = Results::default();
        let scene = Scene::new(script(name));
        let end = blocking::run(name, &scene, &mut blocked);
        blocked.add("end", &end);
        blocked.add("messages", bodies(&scene));
        let mut awaited = Results::default();
        let scene = Scene::new(script(name));
        let end = runtime.block_on(awaiting::run(name, &scene, &mut awaited));
        awaited.add("end", &end);
        awaited.add("messages", bodies(&scene));
        assert!(end.is_ok(), "{name}: {end:?}\n{:#?}", awaited.0);
        assert!(blocked.0.len() > 3, "{name} has results: {:#?}", blocked.0);
        assert_eq!(blocked.0, awaited.0, "{name}");
    }
}

/// What the server has received.
fn bodies(scene: &Scene) -> Vec<String> {
    scene.server.messages().iter().map(|one| String::from_utf8_lossy(one.bytes()).into_owned()).collect()
}
