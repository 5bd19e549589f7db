//! The table of `state.rs`, cell by cell: every command in every state has the reply and leads to the state that
//! stand there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_core::token::AuthVerdict;
use proto_core::{Channel, Cleartext, Limits, RecvBuffer, Secure, SendBuffer};
use proto_smtp::server::{Event, Server};
use proto_smtp::types::{Code, Response};
use proto_smtp::{Config, Waits};

const STATES: [&str; 5] = ["Start", "Ready", "Mail", "Rcpt", "Chunk"];

/// What leads there.
fn road(state: &str) -> &'static str {
    match state {
        "Start" => "",
        "Ready" => "EHLO c\r\n",
        "Mail" => "EHLO c\r\nMAIL FROM:<a@b>\r\n",
        "Rcpt" => "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
        "Chunk" => "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2\r\nab",
        other => panic!("no such state: {other}"),
    }
}

/// What a client sends for a row; a message only where it is asked for.
fn octets(row: &str, state: &str) -> String {
    let word = row.split(' ').next().unwrap();
    match word {
        "EHLO" | "HELO" => format!("{word} d\r\n"),
        "AUTH" => "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n".into(),
        "MAIL" => "MAIL FROM:<e@f>\r\n".into(),
        "RCPT" => "RCPT TO:<g@h>\r\n".into(),
        "DATA" if state == "Rcpt" && row != "DATA no" => "DATA\r\nx\r\n.\r\n".into(),
        "BDAT" if row == "BDAT large" => format!("BDAT 200\r\n{}", "Q".repeat(200)),
        "BDAT" => "BDAT 6\r\nQUIT\r\n".into(),
        "LAST" => "BDAT 6 LAST\r\nQUIT\r\n".into(),
        "VRFY" | "EXPN" => format!("{word} someone\r\n"),
        word => format!("{word}\r\n"),
    }
}

struct Session<C: Channel> {
    server: Option<Server<C>>,
    rx: RecvBuffer,
    tx: SendBuffer,
    /// The command that the application refuses, and whether it does so only behind the message.
    refuses: &'static str,
    /// TLS was agreed on.
    upgraded: bool,
}

trait Gate: Channel {
    /// Answers what exists on one channel only.
    fn gate(session: &mut Session<Self>, event: Asked<Self>)
    where
        Self: Sized;
}

enum Asked<C: Channel> {
    Auth(C::Auth<proto_core::AuthRequest>),
    StartTls(C::StartTls<proto_core::StartTlsRequest>),
}

impl Gate for Cleartext {
    fn gate(session: &mut Session<Self>, event: Asked<Self>) {
        let Asked::StartTls(request) = event;
        if session.refuses == "STARTTLS" {
            session.server.as_mut().unwrap().refuse(request, &mut session.tx).unwrap();
        } else {
            let _ = session.server.take().unwrap().accept(request, &mut session.tx).unwrap();
            session.upgraded = true;
        }
    }
}

impl Gate for Secure {
    fn gate(session: &mut Session<Self>, event: Asked<Self>) {
        let Asked::Auth(request) = event;
        let verdict = if session.refuses == "AUTH" { AuthVerdict::Reject } else { AuthVerdict::Accept };
        session.server.as_mut().unwrap().verdict(request, verdict, &mut session.tx).unwrap();
    }
}

fn config() -> Config {
    let (mut waits, mut limits) = (Waits::default(), Limits::default());
    waits.delay = std::time::Duration::ZERO;
    limits.message = 100;
    Config::default().waits(waits).limits(limits)
}

impl<C: Gate> Session<C> {
    fn new(open: impl FnOnce(&mut SendBuffer) -> Server<C>) -> Self {
        let mut tx = SendBuffer::new();
        let server = Some(open(&mut tx));
        let mut session = Self { server, rx: RecvBuffer::new(), tx, refuses: "", upgraded: false };
        let _ = session.say("");
        session
    }

    /// The codes of what is answered.
    fn say(&mut self, octets: &str) -> Vec<u16> {
        self.rx.extend(octets.as_bytes());
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

    /// Where it stands, as DATA and its refusal tell; it is used up by that.
    fn state(mut self) -> &'static str {
        let Some(server) = &self.server else {
            assert!(self.upgraded);
            return "TLS";
        };
        if server.is_closed() {
            return "End";
        }
        self.refuses = "";
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

fn try_cell<C: Gate>(mut session: Session<C>, row: &str, state: &'static str) -> String {
    let _ = session.say(road(state));
    session.refuses = match row.rsplit_once(' ') {
        Some(("BDAT", "no")) => "DATA",
        Some(("DATA end" | "LAST end", "no")) => "end",
        Some(("EHLO", "no")) => "EHLO",
        Some(("MAIL", "no")) => "MAIL",
        Some(("RCPT", "no")) => "RCPT",
        Some(("DATA", "no")) => "DATA",
        Some(("AUTH", "no")) => "AUTH",
        Some(("STARTTLS", "no")) => "STARTTLS",
        _ => "",
    };
    let codes = session.say(&octets(row, state));
    let code = match codes[..] {
        [354, code] if row.starts_with("DATA") => code,
        [code] => code,
        _ => panic!("{row} in {state}: {codes:?}"),
    };
    match session.state() {
        after if after == state => code.to_string(),
        after => format!("{code} {after}"),
    }
}

/// The table as it stands in the documentation: rows of a command and five cells.
fn table() -> Vec<(String, Vec<String>)> {
    let text = include_str!("../src/state.rs");
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

#[test]
fn every_command_in_every_state() {
    let table = table();
    assert_eq!(table.len(), 26, "{table:?}");
    for (row, cells) in &table {
        for (state, expected) in STATES.into_iter().zip(cells) {
            if !row.starts_with("AUTH") {
                let session = Session::new(|tx| Server::<Cleartext>::new(config(), tx));
                assert_eq!(try_cell(session, row, state), *expected, "{row} in {state}, on cleartext");
            }
            if !row.starts_with("STARTTLS") {
                let session = Session::new(|tx| Server::<Secure>::new(config(), Secure::trusted_local(), tx));
                assert_eq!(try_cell(session, row, state), *expected, "{row} in {state}, under TLS");
            }
        }
    }
}
