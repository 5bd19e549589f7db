//! The table of `command_order.rs`, cell by cell: every command in every phase has the reply and leads to the phase
//! of its cell.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_mail::token::AuthVerdict;
use proto_mail::{Channel, Cleartext, Limits, RecvBuffer, Secure, SendBuffer};
use proto_smtp::server::{Event, Server};
use proto_smtp::types::{Code, Extension, ExtensionSet, Response};
use proto_smtp::{Config, Dialect, Waits};

const STATES: [&str; 5] = ["Start", "Ready", "Mail", "Rcpt", "Chunk"];

/// The input that leads to the phase. In LMTP two recipients are accepted.
fn road(row: &str, state: &str, dialect: Dialect) -> String {
    let lmtp = dialect == Dialect::Lmtp;
    let hello = if lmtp { "LHLO c\r\n" } else { "EHLO c\r\n" };
    let auth = if row.starts_with("BURL") { AUTH } else { "" };
    let second = if lmtp { "RCPT TO:<c2@d>\r\n" } else { "" };
    match state {
        "Start" => String::new(),
        "Ready" => format!("{hello}{auth}"),
        "Mail" => format!("{hello}{auth}MAIL FROM:<a@b>\r\n"),
        "Rcpt" => format!("{hello}{auth}MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n{second}"),
        "Chunk" => format!("{hello}{auth}MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n{second}BDAT 2\r\nab"),
        other => panic!("no such state: {other}"),
    }
}

const AUTH: &str = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";

/// The input for a row; the message follows only after 354.
fn bytes(row: &str, state: &str) -> String {
    let word = row.split(' ').next().unwrap();
    match word {
        "EHLO" | "HELO" | "LHLO" => format!("{word} d\r\n"),
        "AUTH" => AUTH.into(),
        "MAIL" => "MAIL FROM:<e@f>\r\n".into(),
        "RCPT" => "RCPT TO:<g@h>\r\n".into(),
        "DATA" if state == "Rcpt" && row != "DATA no" => "DATA\r\nx\r\n.\r\n".into(),
        "BDAT" if row == "BDAT large" => format!("BDAT 200\r\n{}", "Q".repeat(200)),
        "BDAT" => "BDAT 6\r\nQUIT\r\n".into(),
        "LAST" => "BDAT 6 LAST\r\nQUIT\r\n".into(),
        "BURL" if row == "BURL bad" => "BURL here\r\n".into(),
        "BURL" if row.contains("LAST") => "BURL imap://h/a;uid=1 LAST\r\n".into(),
        "BURL" => "BURL imap://h/a;uid=1\r\n".into(),
        "HELP" if row.contains("MAIL") => "HELP MAIL\r\n".into(),
        "VRFY" | "EXPN" => format!("{word} someone\r\n"),
        "ETRN" => "ETRN node.example\r\n".into(),
        "XCLIENT" | "XFORWARD" => format!("{word} ADDR=192.0.2.1\r\n"),
        word => format!("{word}\r\n"),
    }
}

/// The extensions that are offered beyond the default.
const EXTRA: [Extension; 5] =
    [Extension::Expn, Extension::Etrn, Extension::Burl, Extension::XClient, Extension::XForward];

struct Session<C: Channel> {
    server: Option<Server<C>>,
    rx: RecvBuffer,
    tx: SendBuffer,
    /// The command that the application rejects, and whether it does so after the message.
    refuses: String,
    /// STARTTLS was accepted.
    upgraded: bool,
}

trait Gate: Channel {
    /// Answers the events of one channel.
    fn gate(session: &mut Session<Self>, event: Asked<Self>)
    where
        Self: Sized;
}

enum Asked<C: Channel> {
    Auth(C::Auth<proto_mail::AuthRequest>),
    StartTls(C::StartTls<proto_mail::StartTlsRequest>),
}

impl Gate for Cleartext {
    fn gate(session: &mut Session<Self>, event: Asked<Self>) {
        let Asked::StartTls(request) = event;
        if session.refuses == "STARTTLS" {
            session.server.as_mut().unwrap().refuse_starttls(request, &mut session.tx).unwrap();
        } else {
            let _ = session.server.take().unwrap().accept_starttls(request, &mut session.tx).unwrap();
            session.upgraded = true;
        }
    }
}

impl Gate for Secure {
    fn gate(session: &mut Session<Self>, event: Asked<Self>) {
        let Asked::Auth(request) = event;
        let verdict = if session.refuses == "AUTH" { AuthVerdict::Reject } else { AuthVerdict::Accept };
        session.server.as_mut().unwrap().answer_auth(request, verdict, &mut session.tx).unwrap();
    }
}

fn config() -> Config {
    let (mut waits, mut limits) = (Waits::default(), Limits::default());
    waits.delay = std::time::Duration::ZERO;
    limits.message = 100;
    Config::default().waits(waits).limits(limits).optional_authentication()
}

impl<C: Gate> Session<C> {
    fn new(offered: ExtensionSet, open: impl FnOnce(&mut SendBuffer) -> Server<C>) -> Self {
        let mut tx = SendBuffer::new();
        let mut server = open(&mut tx);
        server.offer(offered);
        let (rx, refuses) = (RecvBuffer::new(), String::new());
        let mut session = Self { server: Some(server), rx, tx, refuses, upgraded: false };
        let _ = session.say("");
        session
    }

    /// The codes of the replies.
    fn say(&mut self, bytes: &str) -> Vec<u16> {
        self.rx.extend(bytes.as_bytes());
        while let Some(server) = &mut self.server {
            let Some(event) = server.next_event(&mut self.rx, &mut self.tx).unwrap() else { break };
            let no = Response::new(Code::MAILBOX_UNAVAILABLE, "no");
            let answer = |word: &str| if self.refuses == word { no.clone() } else { Response::ok() };
            let (reply, response) = match event {
                Event::Hello(..) if self.refuses == "EHLO" => {
                    server.refuse_hello(&no, &mut self.tx).unwrap();
                    continue;
                }
                Event::Mail(_, reply) => (reply, answer("MAIL")),
                Event::Rcpt(_, reply) => (reply, answer("RCPT")),
                Event::Data(reply) => (reply, answer("DATA")),
                Event::DataEnd(reply) => (reply, answer("end")),
                Event::Expn(_, reply) => (reply, answer("EXPN")),
                Event::Help(_, reply) => (reply, answer("HELP MAIL")),
                Event::Etrn(_, reply) => (reply, answer("ETRN")),
                Event::Burl(_, _, reply) => (reply, answer("BURL")),
                Event::XClient(_, reply) => (reply, answer("XCLIENT")),
                Event::XForward(_, reply) => (reply, answer("XFORWARD")),
                Event::Auth(request) => {
                    C::gate(self, Asked::Auth(request));
                    continue;
                }
                Event::StartTls(request) => {
                    C::gate(self, Asked::StartTls(request));
                    continue;
                }
                _ => continue,
            };
            server.reply(reply, &response, &mut self.tx).unwrap();
        }
        String::from_utf8(self.tx.take())
            .unwrap()
            .split_terminator("\r\n")
            .filter(|line| line.as_bytes()[3] == b' ')
            .map(|line| line[..3].parse().unwrap())
            .collect()
    }

    /// The phase, as shown by DATA and its rejection, which change it.
    fn state(mut self) -> &'static str {
        let Some(server) = &self.server else {
            assert!(self.upgraded);
            return "TLS";
        };
        if server.is_closed() {
            return "End";
        }
        self.refuses.clear();
        self.rx.extend(b"DATA\r\n");
        match self.server.as_mut().unwrap().next_event(&mut self.rx, &mut self.tx).unwrap().unwrap() {
            Event::Data(_) => "Rcpt",
            Event::Refused(_, response) => match &*response.text() {
                "Say EHLO first" => "Start",
                "Say MAIL first" => "Ready",
                "There is no recipient yet" => "Mail",
                "The message has begun by BDAT" => "Chunk",
                other => panic!("{other}"),
            },
            event => panic!("{event:?}"),
        }
    }
}

/// The result of a row in a phase: the code, and the next phase if it changes.
fn try_cell<C: Gate>(mut session: Session<C>, row: &str, state: &'static str, dialect: Dialect) -> String {
    let _ = session.say(&road(row, state, dialect));
    session.refuses = match row.rsplit_once(' ') {
        Some(("BDAT", "no")) => "DATA",
        Some(("DATA end" | "LAST end", "no")) => "end",
        Some(("LHLO", "no")) => "EHLO",
        Some(("BURL LAST", "no")) => "BURL",
        Some((command, "no")) => command,
        _ => "",
    }
    .to_owned();
    let mut codes = session.say(&bytes(row, state));
    if row.starts_with("DATA") && codes.len() > 1 {
        assert_eq!(codes.remove(0), 354, "{row} in {state}");
    }
    let whole = ["DATA", "DATA end no", "LAST", "LAST end no", "BURL LAST", "BURL LAST no"].contains(&row);
    let taken = state == "Rcpt" || (state == "Chunk" && !row.starts_with("DATA"));
    let replies = if whole && taken && dialect == Dialect::Lmtp { 2 } else { 1 };
    if dialect == Dialect::Lmtp && state == "Mail" && row.starts_with("LAST") {
        // No recipient was accepted, so there is no reply.
        assert_eq!((&codes[..], session.state()), (&[][..], "Mail"));
        return "503".into();
    }
    assert_eq!(codes, vec![codes[0]; replies], "{row} in {state}");
    match session.state() {
        after if after == state => codes[0].to_string(),
        after => format!("{} {after}", codes[0]),
    }
}

/// The table of the documentation: rows of a command and five cells.
fn table() -> Vec<(String, Vec<String>)> {
    let text = include_str!("../src/command_order.rs");
    let table = text.split("```").nth(1).unwrap().strip_prefix("text\n").unwrap();
    let mut lines =
        table.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| !line.is_empty());
    let head = lines.next().unwrap();
    let columns: Vec<usize> = STATES.iter().map(|state| head.find(state).unwrap()).collect();
    lines
        .map(|line| {
            let cell = |number: usize| {
                let end = columns.get(number + 1).map_or(line.len(), |&end| end.min(line.len()));
                line[columns[number]..end].trim().to_owned()
            };
            (line[..columns[0]].trim().to_owned(), (0..STATES.len()).map(cell).collect())
        })
        .collect()
}

fn check_cell(row: &str, state: &'static str, dialect: Dialect, offered: &[Extension], expected: &str) {
    let config = || config().dialect(dialect);
    let offered = offered.iter().fold(config().extensions, |set, extension| set.with(*extension));
    // Commands that need authentication have no cell on cleartext.
    let needs_tls = row.starts_with("AUTH") || (row.starts_with("BURL") && offered.contains(Extension::Burl));
    if !needs_tls {
        let session = Session::new(offered, |tx| Server::<Cleartext>::new(config(), tx));
        assert_eq!(try_cell(session, row, state, dialect), expected, "{row} in {state}, on cleartext");
    }
    if !row.starts_with("STARTTLS") {
        let secure = Secure::trusted_local();
        let session = Session::new(offered, |tx| Server::<Secure>::new(config(), secure, tx));
        assert_eq!(try_cell(session, row, state, dialect), expected, "{row} in {state}, under TLS");
    }
}

#[test]
fn checks_every_command_in_every_phase() {
    let table = table();
    assert_eq!(table.len(), 41, "{table:?}");
    for (row, cells) in &table {
        for (state, expected) in STATES.into_iter().zip(cells) {
            check_cell(row, state, Dialect::Smtp, &EXTRA, expected);
        }
    }
}

#[test]
fn checks_every_command_in_every_phase_of_lmtp() {
    for (row, cells) in &table() {
        for (state, expected) in STATES.into_iter().zip(cells) {
            let (row, expected) = match row.split_once(' ').unwrap_or((row, "")) {
                ("EHLO", "") => ("LHLO", &**expected),
                ("EHLO", "no") => ("LHLO no", &**expected),
                ("LHLO", _) => ("EHLO", "500"),
                ("HELO", _) => ("HELO", "500"),
                _ => (&**row, &**expected),
            };
            check_cell(row, state, Dialect::Lmtp, &EXTRA, expected);
        }
    }
}

#[test]
fn rejects_commands_that_are_not_offered() {
    for row in ["EXPN", "ETRN", "BURL", "BURL bad", "XCLIENT", "XFORWARD"] {
        for state in STATES {
            for dialect in [Dialect::Smtp, Dialect::Lmtp] {
                check_cell(row, state, dialect, &[], "502");
            }
        }
    }
}

#[test]
fn never_offers_proxy_commands_by_settings() {
    let extensions = config().extensions.with(Extension::XClient).with(Extension::XForward);
    let mut tx = SendBuffer::new();
    let mut server = Server::<Cleartext>::new(config().extensions(extensions), &mut tx);
    let mut rx = RecvBuffer::new();
    let _ = tx.take();
    rx.extend(b"EHLO c\r\nXCLIENT NAME=a\r\nXFORWARD NAME=a\r\n");
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        assert!(matches!(event, Event::Hello(..) | Event::Refused(..)), "{event:?}");
    }
    let output = String::from_utf8(tx.take()).unwrap();
    assert!(!output.contains("-X") && !output.contains(" X"), "{output}");
    assert_eq!(output.matches("\r\n502 ").count(), 2, "{output}");
}

#[test]
fn rejects_burl_before_authentication() {
    for (state, after) in [("Ready", ""), ("Mail", ""), ("Rcpt", " Ready"), ("Chunk", " Ready")] {
        let offered = config().extensions.with(Extension::Burl);
        let mut session =
            Session::new(offered, |tx| Server::<Secure>::new(config(), Secure::trusted_local(), tx));
        let _ = session.say(&road("", state, Dialect::Smtp));
        assert_eq!(session.say("BURL imap://h/a LAST\r\n"), [530]);
        let now = session.state();
        assert_eq!(if now == state { String::new() } else { format!(" {now}") }, after, "{state}");
    }
}
