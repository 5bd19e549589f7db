//! HELP with a topic, ETRN, BURL, XCLIENT and XFORWARD: what they change and what they do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proto_mail::token::AuthVerdict;
use proto_mail::{Cleartext, Error, Limits, Misuse, PeerError, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event as ClientEvent, Step};
use proto_smtp::server::{Event, Server};
use proto_smtp::types::{
    Attribute, AttributeValue, Attributes, ChunkEnd, EtrnNode, Extension, ExtensionSet, Response,
};
use proto_smtp::{Config, Dialect};
use support::{config, every_split};

const URL: &str = "imap://h/a;uid=1;urlauth=submit+x:internal:4711";
const AUTH: &str = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";

/// A server under TLS whose application accepts everything that does not begin with "no", and a record of its events.
struct Session {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
    events: Vec<String>,
    /// The login of XCLIENT is trusted.
    believes: bool,
}

fn offered() -> ExtensionSet {
    [Extension::Etrn, Extension::Expn, Extension::Burl, Extension::XClient, Extension::XForward]
        .into_iter()
        .fold(config().extensions, ExtensionSet::with)
}

impl Session {
    fn new(config: Config) -> Self {
        let mut tx = SendBuffer::new();
        let mut server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        server.offer(offered());
        let _ = tx.take();
        Self { server, rx: RecvBuffer::new(), tx, events: Vec::new(), believes: false }
    }

    /// Sends input to the server and returns its replies.
    fn say(&mut self, bytes: &[u8]) -> String {
        self.rx.extend(bytes);
        while let Ok(Some(event)) = self.server.next_event(&mut self.rx, &mut self.tx) {
            let shown = format!("{event:?}");
            assert!(!shown.contains("4711"), "{shown}");
            let (text, reply) = match event {
                Event::Auth(request) => {
                    self.server.answer_auth(request, AuthVerdict::Accept, &mut self.tx).unwrap();
                    continue;
                }
                Event::Mail(mail, reply) => (format!("mail {}", mail.from), reply),
                Event::Rcpt(rcpt, reply) => (format!("rcpt {}", rcpt.to), reply),
                Event::Data(reply) => ("data".into(), reply),
                Event::DataEnd(reply) => ("end".into(), reply),
                Event::Help(topic, reply) => (format!("help {topic}"), reply),
                Event::Etrn(node, reply) => (format!("etrn {node:?}"), reply),
                Event::Burl(url, end, reply) => (format!("burl {} {end:?}", url.expose()), reply),
                Event::XForward(said, reply) => (format!("xforward {said:?}"), reply),
                Event::XClient(said, reply) => {
                    let no = said.text(Attribute::Name) == Some("no.example");
                    self.events.push(format!("xclient {said:?}"));
                    if self.believes && !no {
                        self.server.trust_login(reply, &mut self.tx).unwrap();
                        continue;
                    }
                    (if no { "no.example" } else { "yes" }.to_owned(), reply)
                }
                Event::DataChunk(bytes) => {
                    match self.events.last_mut() {
                        Some(last) if last.starts_with("chunk ") => {
                            last.push_str(&bytes.escape_ascii().to_string())
                        }
                        _ => self.events.push(format!("chunk {}", bytes.escape_ascii())),
                    }
                    continue;
                }
                Event::Reset => {
                    self.events.push("reset".into());
                    continue;
                }
                _ => continue,
            };
            let no = text.split(' ').any(|word| word.contains("no.example"));
            self.events.push(text);
            let response = if no { "550 5.7.1 no".parse().unwrap() } else { Response::ok() };
            self.server.reply(reply, &response, &mut self.tx).unwrap();
        }
        String::from_utf8(self.tx.take()).unwrap()
    }

    fn codes(&mut self, bytes: &str) -> Vec<u16> {
        let output = self.say(bytes.as_bytes());
        let last = |line: &&str| line.as_bytes()[3] == b' ';
        output.split_terminator("\r\n").filter(last).map(|line| line[..3].parse().unwrap()).collect()
    }
}

#[test]
fn xclient_restarts_the_session() {
    for login in ["", " LOGIN=alice"] {
        let mut session = Session::new(config().require_authentication());
        assert_eq!(session.codes(&format!("EHLO c\r\n{AUTH}")), [250, 235]);
        assert!(session.server.is_authenticated());
        let output = session.say(format!("XCLIENT NAME=a.example ADDR=192.0.2.1{login}\r\n").as_bytes());
        assert!(output.starts_with("220 localhost ESMTP "), "{output}");
        assert!(!session.server.is_authenticated(), "the identity was that of another client");
        assert_eq!(session.codes("MAIL FROM:<a@b>\r\n"), [503], "EHLO must be said again");
        let hello = session.say(b"EHLO d\r\n");
        assert!(
            !hello.contains("XCLIENT") && !hello.contains("XFORWARD") && hello.contains("AUTH"),
            "{hello}"
        );
        assert_eq!(session.codes("XCLIENT NAME=b\r\nMAIL FROM:<a@b>\r\n"), [502, 530]);
        assert_eq!(session.codes(&format!("{AUTH}MAIL FROM:<a@b>\r\n")), [235, 250]);
    }
}

#[test]
fn trusts_the_login_of_xclient_only_if_told() {
    let mut session = Session::new(config().require_authentication());
    session.believes = true;
    assert_eq!(session.codes("EHLO c\r\nXCLIENT LOGIN=alice\r\n"), [250, 220]);
    assert!(session.server.is_authenticated());
    assert_eq!(session.codes("MAIL FROM:<a@b>\r\n"), [503], "EHLO must be said all the same");
    assert_eq!(session.codes(&format!("EHLO c\r\n{AUTH}MAIL FROM:<a@b>\r\n")), [250, 503, 250]);
    // A rejection has no effect.
    let mut session = Session::new(config());
    session.believes = true;
    let codes = session.codes("EHLO c\r\nXCLIENT NAME=no.example LOGIN=alice\r\nMAIL FROM:<a@b>\r\n");
    assert_eq!((codes, session.server.is_authenticated()), (vec![250, 550, 250], false));
}

#[test]
fn rejects_trust_in_a_missing_login() {
    for line in ["XCLIENT LOGIN=[UNAVAILABLE]\r\n", "XCLIENT NAME=a\r\n", "XFORWARD NAME=a\r\n"] {
        let mut session = Session::new(config());
        assert_eq!(session.codes("EHLO c\r\n"), [250]);
        session.rx.extend(line.as_bytes());
        let event = session.server.next_event(&mut session.rx, &mut session.tx).unwrap().unwrap();
        let (Event::XClient(_, reply) | Event::XForward(_, reply)) = event else { panic!() };
        let error = session.server.trust_login(reply, &mut session.tx).unwrap_err();
        let output = String::from_utf8(session.tx.take()).unwrap();
        assert_eq!((error, &output[..4]), (Misuse::WrongState.into(), "451 "), "{line}");
        assert!(!session.server.is_authenticated());
        assert_eq!(session.codes("MAIL FROM:<a@b>\r\n"), [250], "nothing has changed");
    }
}

#[test]
fn keeps_counters_across_xclient() {
    let mut limits = Limits::default();
    limits.errors = 4;
    let mut session = Session::new(config().limits(limits));
    assert_eq!(
        session.codes("EHLO c\r\nX\r\nX\r\nXCLIENT NAME=a\r\nEHLO c\r\nX\r\n"),
        [250, 500, 500, 220, 250, 500]
    );
    assert_eq!(session.codes("X\r\n"), [500, 421]);
}

#[test]
fn applies_xforward_to_one_transaction() {
    let mut session = Session::new(config());
    let said = |session: &Session, attribute| {
        session.server.forwarded().and_then(|said| said.value(attribute).cloned())
    };
    let known = |text: &'static str| Some(AttributeValue::from(text));
    assert_eq!(
        session
            .codes("EHLO c\r\nXFORWARD NAME=a.example IDENT=1\r\nXFORWARD NAME=b.example SOURCE=LOCAL\r\n"),
        [250; 3]
    );
    assert_eq!(session.codes("XFORWARD NAME=no.example IDENT=2\r\n"), [550]);
    assert_eq!(said(&session, Attribute::Name), known("b.example"));
    assert_eq!(said(&session, Attribute::Ident), known("1"));
    assert_eq!((said(&session, Attribute::Source), said(&session, Attribute::Addr)), (known("LOCAL"), None));
    // It applies until the end of the transaction.
    assert_eq!(session.codes("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"), [250; 2]);
    assert_eq!(said(&session, Attribute::Ident), known("1"));
    assert_eq!(session.codes("DATA\r\n.\r\n"), [354, 250]);
    assert!(session.server.forwarded().is_none());
    for end in ["RSET\r\n", "EHLO c\r\n", "MAIL FROM:<a@b>\r\nRSET\r\n", "XCLIENT NAME=a\r\n"] {
        let mut session = Session::new(config());
        let _ = session.say(b"EHLO c\r\nXFORWARD NAME=a.example\r\n");
        assert!(session.server.forwarded().is_some());
        let _ = session.say(end.as_bytes());
        assert!(session.server.forwarded().is_none(), "{end}");
    }
}

#[test]
fn combines_chunks_and_urls() {
    let input = format!(
        "EHLO c\r\n{AUTH}MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBURL {URL}\r\nBDAT 6\r\nQUIT\r\nBURL {URL} LAST\r\nNOOP\r\n"
    );
    let run = |dialect: Dialect, input: &str| {
        every_split(input.as_bytes(), |pieces| {
            let mut session = Session::new(config().dialect(dialect));
            let output: String = pieces.iter().map(|piece| session.say(piece)).collect();
            (output, session.events)
        })
    };
    let (output, events) = run(Dialect::Smtp, &input);
    assert_eq!(
        events,
        [
            "mail <a@b>",
            "rcpt <c@d>",
            &format!("burl {URL} More"),
            "chunk QUIT\\r\\n",
            &format!("burl {URL} Last")
        ]
    );
    assert_eq!(output.matches("\r\n250 2.0.0 ").count(), 6, "{output}");
    // In LMTP each recipient has a reply.
    let lmtp = input.replace("EHLO", "LHLO").replace("BDAT", "RCPT TO:<e@f>\r\nBDAT");
    let (output, _) = run(Dialect::Lmtp, &lmtp.replace(&format!("BURL {URL}\r\n"), ""));
    assert_eq!(output.matches("\r\n250 2.0.0 ").count(), 7, "{output}");
}

#[test]
fn ends_the_message_when_a_part_is_rejected() {
    for (refused, reset) in [
        ("BURL imap://no.example/a\r\n", false),
        ("BURL here\r\n", true),
        ("BURL imap://h/a LASTLY\r\n", true),
    ] {
        let mut session = Session::new(config());
        let _ = session
            .say(format!("EHLO c\r\n{AUTH}MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1\r\nx").as_bytes());
        let codes = session.codes(&format!("{refused}BDAT 1 LAST\r\ny"));
        assert!(matches!(codes[..], [550 | 501, 503]), "{refused}: {codes:?}");
        assert_eq!(session.events.contains(&"reset".to_owned()), reset, "{refused}: {:?}", session.events);
        assert!(!session.events.contains(&"end".to_owned()));
    }
}

#[test]
fn asks_the_application_about_help_and_etrn() {
    let mut session = Session::new(config());
    assert_eq!(
        session.codes("HELP\r\nHELP DATA\r\nEHLO c\r\nETRN @a.example\r\nETRN #q\r\nETRN no.example\r\n"),
        [214, 250, 250, 250, 250, 550]
    );
    assert_eq!(session.events[..2], ["help DATA", "etrn Subdomains(Domain(\"a.example\"))"]);
}

/// A client with these capabilities.
struct Asker {
    client: Client<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

const OFFERED: &str = "250-mx\r\n250-ETRN\r\n250-CHUNKING\r\n250-BURL imap\r\n250-XFORWARD NAME ADDR\r\n250 XCLIENT name ADDR LOGIN\r\n";

impl Asker {
    fn new(offered: &str) -> Self {
        let client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
        let mut asker = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
        for reply in ["220 mx\r\n", offered] {
            asker.hear(reply).unwrap();
            let _ = asker.tx.take();
        }
        asker
    }

    fn hear(&mut self, reply: &str) -> Result<Vec<String>, Error> {
        self.rx.extend(reply.as_bytes());
        let mut events = Vec::new();
        while let Some(event) = self.client.next_event(&mut self.rx, &mut self.tx)? {
            events.push(support::describe(&event));
            assert!(!matches!(event, ClientEvent::Accepted(Step::XClient, _)) || !self.client.is_idle());
        }
        Ok(events)
    }

    fn sent(&mut self) -> String {
        String::from_utf8(self.tx.take()).unwrap()
    }
}

#[test]
fn client_sends_offered_commands() {
    let mut asker = Asker::new(OFFERED);
    asker.client.etrn(&EtrnNode::parse("@a.example").unwrap(), &mut asker.tx).unwrap();
    assert_eq!(asker.sent(), "ETRN @a.example\r\n");
    assert_eq!(asker.hear("253 2.0.0 7 messages\r\n").unwrap(), ["accepted Etrn 253 2.0.0 7 messages"]);
    asker.client.help("ETRN", &mut asker.tx).unwrap();
    assert_eq!(asker.sent(), "HELP ETRN\r\n");
    assert_eq!(asker.hear("214 ask\r\n").unwrap(), ["accepted Help 214 ask"]);
    let said = Attributes::xforward().with(Attribute::Name, AttributeValue::Unavailable).unwrap();
    asker.client.xforward(&said, &mut asker.tx).unwrap();
    assert_eq!(asker.sent(), "XFORWARD NAME=[UNAVAILABLE]\r\n");
    assert_eq!(asker.hear("550 no\r\n").unwrap(), ["rejected XForward 550 no"]);
    asker.client.burl(URL, ChunkEnd::More, &mut asker.tx).unwrap();
    assert!(asker.tx.chunks().all(|chunk| chunk.secret == (chunk.bytes == URL.as_bytes())));
    assert_eq!(asker.sent(), format!("BURL {URL}\r\n"));
    assert_eq!(asker.hear("250 more\r\n").unwrap(), ["accepted Chunk 250 more"]);
    asker.client.burl(URL, ChunkEnd::Last, &mut asker.tx).unwrap();
    assert!(!asker.client.is_message_sent(&asker.tx));
    assert_eq!(asker.sent(), format!("BURL {URL} LAST\r\n"));
    assert!(asker.client.is_message_sent(&asker.tx));
    assert_eq!(asker.hear("250 queued\r\n").unwrap(), ["delivered None 250 queued"]);
}

#[test]
fn client_sends_ehlo_after_xclient() {
    let said = Attributes::xclient().with(Attribute::Login, "a b").unwrap();
    let mut asker = Asker::new(OFFERED);
    asker.client.xclient(&said, &mut asker.tx).unwrap();
    assert_eq!(asker.client.noop(&mut asker.tx), Err(Misuse::WrongState.into()), "nothing goes with it");
    assert_eq!(asker.sent(), "XCLIENT LOGIN=a+20b\r\n");
    assert_eq!(asker.hear("220 again\r\n").unwrap(), ["accepted XClient 220 again"]);
    assert_eq!(asker.sent(), "EHLO localhost\r\n");
    assert!(
        asker.client.capabilities().is_none_or(|offered| !offered.contains(Extension::Etrn)),
        "what was offered is forgotten"
    );
    assert_eq!(asker.hear("250 mx\r\n").unwrap(), ["extensions {}"]);
    assert_eq!(asker.client.xclient(&said, &mut asker.tx), Err(Misuse::NotOffered.into()));
    // A rejection has no effect; another positive code leaves the state of the session unknown.
    let mut asker = Asker::new(OFFERED);
    asker.client.xclient(&said, &mut asker.tx).unwrap();
    let _ = asker.sent();
    assert_eq!(asker.hear("550 no\r\n").unwrap(), ["rejected XClient 550 no"]);
    asker.client.xclient(&said, &mut asker.tx).unwrap();
    let _ = asker.sent();
    assert_eq!(asker.hear("250 ok\r\n"), Err(PeerError::UnexpectedReply.into()));
}

#[test]
fn client_rejects_commands_that_are_not_allowed() {
    let node = EtrnNode::parse("a.example").unwrap();
    let name = Attributes::xclient().with(Attribute::Name, "a").unwrap();
    let forward = Attributes::xforward().with(Attribute::Name, "a").unwrap();
    let mut asker = Asker::new("250 mx\r\n");
    let Asker { client, tx, .. } = &mut asker;
    let no = |error: Misuse| Err(Error::from(error));
    assert_eq!(client.etrn(&node, tx), no(Misuse::NotOffered));
    assert_eq!(client.burl(URL, ChunkEnd::Last, tx), no(Misuse::NotOffered));
    assert_eq!(client.xclient(&name, tx), no(Misuse::NotOffered));
    assert_eq!(client.xforward(&forward, tx), no(Misuse::NotOffered));
    let mut asker = Asker::new(OFFERED);
    let Asker { client, tx, .. } = &mut asker;
    for url in ["", "here", "imap://h/a b", "imap://h/\r\nRSET", "imap://h/é"] {
        assert_eq!(client.burl(url, ChunkEnd::Last, tx), no(Misuse::InvalidArgument), "{url:?}");
    }
    assert_eq!(client.help("a\r\nRSET", tx), no(Misuse::InvalidArgument));
    // An attribute that is not announced, one of the other command, none at all, or a line that is too long.
    let helo = Attributes::xclient().with(Attribute::Helo, "a").unwrap();
    let long = "+".repeat(200);
    let long = Attributes::xclient().with(Attribute::Name, &*long).unwrap();
    for bad in [&helo, &forward, &Attributes::xclient(), &long] {
        assert_eq!(client.xclient(bad, tx), no(Misuse::InvalidArgument), "{bad:?}");
    }
    assert!(tx.is_empty());
    // During a transaction.
    let address = "a@b.example".parse::<proto_smtp::types::Address<'static>>().unwrap();
    client.mail(&proto_smtp::types::Mail::new(address), tx).unwrap();
    let _ = tx.take();
    asker.hear("250 ok\r\n").unwrap();
    let Asker { client, tx, .. } = &mut asker;
    assert_eq!(client.etrn(&node, tx), no(Misuse::WrongState));
    assert_eq!(client.xclient(&name, tx), no(Misuse::WrongState));
    assert_eq!(client.xforward(&forward, tx), no(Misuse::WrongState));
    assert!(tx.is_empty());
}

type Giving<'g> = &'g dyn Fn(&mut Client<Cleartext>, &mut SendBuffer) -> Result<(), Error>;

/// The URL is a secret, and the clients of a proxy are private: an attacker may offer these commands on cleartext.
#[test]
fn client_sends_no_proxy_commands_on_cleartext() {
    let name = Attributes::xclient().with(Attribute::Name, "a").unwrap();
    let forward = Attributes::xforward().with(Attribute::Name, "a").unwrap();
    for danger in [false, true] {
        let config = if danger { Config::default().danger_cleartext() } else { Config::default() };
        let given = |give: Giving<'_>| {
            let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
            let mut client = Client::<Cleartext>::new(config.clone());
            for reply in ["220 mx\r\n", OFFERED] {
                rx.extend(reply.as_bytes());
                while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
                let _ = tx.take();
            }
            let outcome = give(&mut client, &mut tx);
            assert_eq!(tx.is_empty(), outcome.is_err());
            outcome
        };
        let expected = if danger { Ok(()) } else { Err(Misuse::WrongState.into()) };
        assert_eq!(given(&|client, tx| client.burl(URL, ChunkEnd::Last, tx)), expected);
        assert_eq!(given(&|client, tx| client.burl(URL, ChunkEnd::More, tx)), expected);
        assert_eq!(given(&|client, tx| client.xclient(&name, tx)), expected);
        assert_eq!(given(&|client, tx| client.xforward(&forward, tx)), expected);
    }
}

#[test]
fn offers_no_burl_on_cleartext() {
    let mut tx = SendBuffer::new();
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    server.offer(offered());
    let mut rx = RecvBuffer::new();
    let _ = tx.take();
    rx.extend(b"EHLO c\r\nBURL imap://h/a\r\n");
    while server.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    let output = String::from_utf8(tx.take()).unwrap();
    assert!(!output.contains("BURL") && output.contains("\r\n502 "), "{output}");
    assert!(output.contains("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"), "{output}");
    assert!(output.contains("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n"), "{output}");
}
