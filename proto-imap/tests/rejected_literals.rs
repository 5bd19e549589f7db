//! Literals that the server rejects, in both roles: the command fails, the session goes on, and no byte of a literal is
//! taken for a command (RFC 9051 §4.3, RFC 7888 §4).

#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use proptest::prelude::*;
use proto_imap::client::{Client, Event, LoginMethod};
use proto_imap::server::{self, Server};
use proto_imap::types::{
    AppendCommand, Command, Condition, CreateCommand, MailboxName, SearchCommand, SearchKey, SelectCommand,
    StatusResponse, Text,
};
use proto_imap::{Config, NonSyncLiterals};
use proto_mail::{Credentials, Error, PeerError, RecvBuffer, Secure, SendBuffer};

/// Text that a server must not take for commands.
const TRAP: &str = "\r\nM2 DELETE INBOX\r\nM2 OK no\r\nx LOGOUT\r\n";

/// The commands with literals under test.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Append,
    Create,
    Search,
    Login,
}

const KINDS: [Kind; 4] = [Kind::Append, Kind::Create, Kind::Search, Kind::Login];

/// A mailbox name that is a literal because of its length.
fn long_name() -> String {
    "M2 DELETE INBOX ".repeat(65)
}

/// A client after its greeting, and its buffers.
struct Session {
    client: Client<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Session {
    fn new(kind: Kind, capability: &str) -> Self {
        Self::with(kind, capability, Config::default())
    }

    fn with(kind: Kind, capability: &str, config: Config) -> Self {
        let client = Client::<Secure>::new(config, Secure::trusted_local());
        let mut session = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
        let greeting = if matches!(kind, Kind::Login) { "OK" } else { "PREAUTH" };
        session.hear(&format!("* {greeting} [CAPABILITY IMAP4rev1 {capability}] hi\r\n")).unwrap();
        if matches!(kind, Kind::Search) {
            session
                .client
                .send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), &mut session.tx)
                .unwrap();
            session.said();
            session.hear("M1 OK selected\r\n").unwrap();
        }
        session
    }

    /// Receives this text. Returns the application's events.
    fn hear(&mut self, text: &str) -> Result<Vec<String>, Error> {
        self.rx.extend(text.as_bytes());
        let mut events = Vec::new();
        loop {
            match self.client.next_event(&mut self.rx, &mut self.tx)? {
                None => return Ok(events),
                Some(Event::AppendReady(_)) => {
                    let left = self.client.write_payload(Bytes::from(TRAP), &mut self.tx).unwrap();
                    assert_eq!(left, 0);
                    events.push("AppendReady".into());
                }
                Some(event) => events.push(format!("{event:?}")),
            }
        }
    }

    fn said(&mut self) -> String {
        String::from_utf8_lossy(&self.tx.take()).into_owned()
    }

    /// Sends the command. Returns its tag.
    fn command(&mut self, kind: Kind) -> &'static str {
        let (client, tx) = (&mut self.client, &mut self.tx);
        match kind {
            Kind::Append => client.append(&AppendCommand::from("INBOX"), TRAP.len() as u64, tx).unwrap(),
            Kind::Create => {
                let name = long_name();
                client.send(&Command::Create(CreateCommand::new(MailboxName::new(&name))), tx).unwrap()
            }
            Kind::Search => {
                let keys = [SearchKey::Body(TRAP.into()), SearchKey::From("a\nb".into())];
                client.send(&Command::Search(SearchCommand::new(&keys)), tx).unwrap()
            }
            Kind::Login => {
                let credentials = Credentials::password("u\r\nv", TRAP.as_bytes());
                client.authenticate(LoginMethod::Strongest, &credentials, tx).unwrap()
            }
        };
        // An APPEND without a pause reports at once that its message may be written.
        self.hear("").unwrap();
        if matches!(kind, Kind::Search) { "M2" } else { "M1" }
    }
}

/// Returns the lengths of the command's first line and of the whole command without pauses.
fn lengths(kind: Kind) -> (usize, usize) {
    let mut session = Session::new(kind, "LITERAL+");
    session.command(kind);
    let output = session.said();
    (output.find("\r\n").unwrap() + 2, output.len())
}

#[test]
fn accepts_a_rejection_once_the_first_literal_was_announced() {
    for kind in KINDS {
        let (first_line, whole) = lengths(kind);
        for condition in ["NO [LIMIT]", "BAD", "OK"] {
            let near = first_line.saturating_sub(3)..first_line + 4;
            for sent in (0..whole).step_by(11).chain(near).chain([whole - 1, whole]) {
                for cut in [0, 1, 5] {
                    let mut session = Session::new(kind, "LITERAL+");
                    let reply = format!("{} {condition} done\r\n", session.command(kind));
                    let early = session.hear(&reply[..cut]);
                    session.tx.sent(sent);
                    let result = early.and_then(|_| session.hear(&reply[cut..]));
                    let in_time = cut == 0 && sent >= if condition == "OK" { whole } else { first_line };
                    assert_eq!(
                        result.is_ok(),
                        in_time,
                        "{kind:?} {condition} {sent} of {whole}, {cut}: {result:?}"
                    );
                    if let Err(error) = result {
                        assert_eq!(error, PeerError::UnexpectedReply.into());
                    }
                }
            }
        }
    }
}

#[test]
fn completes_the_literals_that_it_announced_without_waiting() {
    for kind in KINDS {
        let (first_line, whole) = lengths(kind);
        for sent in first_line..whole {
            let mut session = Session::new(kind, "LITERAL+");
            let tag = session.command(kind);
            session.tx.sent(sent);
            session.hear(&format!("{tag} NO [TOOBIG] too large\r\n")).unwrap();
            assert_eq!(session.tx.len(), whole - sent, "the announced bytes follow");
            session.said();
            let next = if tag == "M1" { 2 } else { 3 };
            session.client.send(&Command::Noop, &mut session.tx).unwrap();
            assert_eq!(session.said(), format!("M{next} NOOP\r\n"));
            session.hear(&format!("M{next} OK done\r\n")).unwrap();
        }
    }
}

#[test]
fn sends_nothing_of_a_literal_that_is_rejected_instead_of_requested() {
    let setups = [("", Config::default()), ("LITERAL+", Config::default().literals(NonSyncLiterals::Never))];
    for (capability, config) in setups {
        for kind in KINDS {
            for requested in [0, 1] {
                let mut session = Session::with(kind, capability, config.clone());
                let tag = session.command(kind);
                let first = session.said();
                assert!(first.ends_with("}\r\n") && !first.contains("+}"), "{first:?}");
                if requested == 1 {
                    session.hear("+ go on\r\n").unwrap();
                    let literal = session.said();
                    match kind {
                        // The last literal ends the command.
                        Kind::Append => assert_eq!(literal, format!("{TRAP}\r\n")),
                        Kind::Create => assert_eq!(literal, format!("{}\r\n", long_name())),
                        Kind::Search | Kind::Login => assert!(literal.ends_with("}\r\n"), "{literal:?}"),
                    }
                }
                for condition in ["NO", "BAD"] {
                    let events = session.hear(&format!("{tag} {condition} not today\r\n"));
                    if condition == "NO" {
                        assert_eq!(events.unwrap().len(), 1);
                        assert_eq!(session.said(), "", "{kind:?}: nothing of the literal is sent");
                    } else {
                        assert_eq!(events, Err(PeerError::UnknownTag.into()), "it was answered before");
                    }
                }
            }
        }
    }
}

#[test]
fn finishes_a_message_that_is_rejected_while_it_is_written() {
    for capability in ["", "LITERAL+"] {
        let mut session = Session::new(Kind::Append, capability);
        let (client, tx) = (&mut session.client, &mut session.tx);
        client.append(&AppendCommand::from("INBOX"), 10, tx).unwrap();
        client.send(&Command::Noop, tx).unwrap();
        let _ = tx.take();
        session.rx.extend(if capability.is_empty() { b"+ go on\r\n" } else { b"" });
        let ready = session.client.next_event(&mut session.rx, &mut session.tx).unwrap();
        assert!(matches!(ready, Some(Event::AppendReady(_))));
        let write = |session: &mut Session, part: &'static [u8]| {
            session.client.write_payload(Bytes::from_static(part), &mut session.tx)
        };
        assert_eq!(write(&mut session, b"M2 DE"), Ok(5));
        assert_eq!(session.hear("M1 NO [OVERQUOTA] no\r\n").unwrap().len(), 1);
        assert_eq!(session.said(), "M2 DE", "the NOOP waits for the rest of the message");
        assert_eq!(write(&mut session, b"LETE"), Ok(1));
        assert_eq!(write(&mut session, b"x"), Ok(0));
        assert_eq!(session.said(), "LETEx\r\nM2 NOOP\r\n");
        assert_eq!(session.hear("M2 OK done\r\n").unwrap().len(), 1);
    }
}

/// A server that discards nothing answers the bytes of a literal. The client closes then, because no command of it has
/// such a tag.
#[test]
fn stops_at_a_server_that_takes_a_literal_for_commands() {
    let mut session = Session::new(Kind::Append, "LITERAL+");
    session.command(Kind::Append);
    session.said();
    session.hear("M1 NO no\r\n").unwrap();
    assert_eq!(session.hear("x OK LOGOUT completed\r\n"), Err(PeerError::UnknownTag.into()));
}

/// Runs a server that rejects every message, over `input` in these pieces. Returns its events and its output.
fn serve<'p>(config: &Config, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<String>, String) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(config.clone(), Secure::trusted_local(), &mut tx);
    let (mut events, mut output) = (Vec::new(), Vec::new());
    for piece in pieces {
        rx.extend(piece);
        while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
            match event {
                server::Event::Auth(request) => {
                    server.answer_auth(request, proto_mail::AuthVerdict::Accept, &mut tx).unwrap();
                }
                server::Event::Append { offer, .. } => {
                    let over = StatusResponse::new(Condition::No, Text::first_line("over quota"));
                    server.reject_literal(offer, &over, &mut tx).unwrap();
                    events.push("Append".to_owned());
                }
                server::Event::Command(command, reply) => {
                    events.push(command.name().to_string());
                    let done = StatusResponse::new(Condition::Ok, Text::first_line("done"));
                    server.reply(reply, &done, &mut tx).unwrap();
                }
                other => events.push(format!("{other:?}")),
            }
        }
        output.extend(tx.take());
    }
    (events, String::from_utf8(output).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the input is split, the server answers a rejected command once, and then the next command.
    #[test]
    fn a_server_discards_what_it_rejects(
        body in prop::collection::vec(any::<u8>(), 0..60),
        size in 1_usize..40,
        form in 0_usize..6,
    ) {
        let body = [TRAP.as_bytes(), &body].concat();
        let mut config = Config::default().extensions(["BINARY"]);
        (config.limits.literal, config.limits.message) = (16, 4096);
        let (command, announcement, expected) = [
            ("APPEND INBOX", "{N+}", "a NO over quota\r\n"),
            ("APPEND INBOX", "~{N+}", "a NO over quota\r\n"),
            ("CREATE", "{N+}", "a NO [LIMIT] "),
            ("APPEND", "{N+}", "a NO [LIMIT] "),
            ("NOOP", "{N+}", "a NO [LIMIT] "),
            ("LOGIN", "{N+}", "a BAD already authenticated\r\n"),
        ][form];
        let announcement = announcement.replace('N', &body.len().to_string());
        let mut input = b"l LOGIN u p\r\n".to_vec();
        input.extend_from_slice(format!("a {command} {announcement}\r\n").as_bytes());
        input.extend_from_slice(&body);
        input.extend_from_slice(b"\r\nb NOOP\r\n");
        let (events, output) = serve(&config, input.chunks(size));
        let (_, answers) = output.split_once("l OK").unwrap();
        let (_, answers) = answers.split_once("\r\n").unwrap();
        prop_assert!(answers.starts_with(expected), "{answers}");
        prop_assert!(answers.ends_with("\r\nb OK done\r\n") && answers.lines().count() == 2, "{answers}");
        let expected: &[&str] = if form < 2 { &["Append", "NOOP"] } else { &["NOOP"] };
        prop_assert_eq!(events, expected);
    }
}

/// A client that waits sends the next command after a rejection.
#[test]
fn a_server_reads_the_next_command_after_it_refuses_to_ask_for_a_literal() {
    let mut config = Config::default().extensions(["BINARY"]);
    (config.limits.literal, config.limits.message) = (16, 4096);
    for (command, expected) in [
        ("APPEND INBOX {100}", "a NO over quota\r\n"),
        ("APPEND INBOX ~{100}", "a NO over quota\r\n"),
        ("APPEND INBOX {5000}", "a NO [TOOBIG] "),
        ("APPEND INBOX ~{5000}", "a NO [TOOBIG] "),
        ("APPEND {100}", "a NO [LIMIT] "),
        ("CREATE {17}", "a NO [LIMIT] "),
        ("CREATE {99999999999999999999}", "a BAD the literal is larger than the limit\r\n"),
    ] {
        let input = format!("l LOGIN u p\r\na {command}\r\nb NOOP\r\n");
        let (_, output) = serve(&config, [input.as_bytes()]);
        let (_, answers) = output.split_once("\r\na ").unwrap();
        assert!(format!("a {answers}").starts_with(expected), "{command}: {answers}");
        assert!(answers.ends_with("\r\nb OK done\r\n") && !output.contains("\r\n+"), "{command}: {answers}");
    }
}
