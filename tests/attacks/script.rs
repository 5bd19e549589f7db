//! A row of the catalogue of attacks: the input of the system under test, step by step, and the required result.
//!
//! This module knows the format of the rows (`*.jsonl`) and rejects unknown words in it. It runs nothing. Strings
//! that hold bytes are ISO 8859-1: one character is one byte.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::bytes::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// One attack.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// The attacked role: `imap-client`, `smtp-server` and so on.
    pub(crate) role: String,
    pub(crate) title: String,
    /// `must`: required by an RFC, or a known way to do harm. `should`: everything else.
    pub(crate) level: String,
    pub(crate) config: Config,
    /// The settings that a server needs for the row to mean anything.
    pub(crate) requires: Vec<String>,
    pub(crate) steps: Vec<Step>,
    /// The steps on a second connection.
    pub(crate) reconnect: Option<Vec<Step>>,
    /// Each list must hold; of one list, one predicate must hold.
    pub(crate) must: Vec<Vec<Predicate>>,
    pub(crate) must_not: Vec<Predicate>,
    /// Why Mailwire does not follow a row of level `should`; `must` and `must_not` then describe its behaviour.
    pub(crate) differs: Option<String>,
}

/// The configuration of the system under test. Absent strings have the values of [`Config::of`].
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) security: Security,
    /// The only mechanism that a client may use.
    pub(crate) auth: Option<String>,
    pub(crate) password: String,
    pub(crate) from: String,
    pub(crate) rcpt: String,
    pub(crate) mailbox: String,
    pub(crate) ehlo: String,
    pub(crate) body: Vec<u8>,
}

/// The user name in every row.
pub(crate) const USER: &str = "alice";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    StartTlsRequired,
    ImplicitTls,
    Plaintext,
}

/// The next step for the system under test.
#[derive(Debug)]
pub(crate) enum Step {
    /// It receives these bytes. They may contain `{tag}` and similar: see [`filled`].
    Receive(String),
    /// It receives these bytes on the TCP stream, below any TLS.
    Raw(String),
    /// It receives these bytes this many times; one by one if `drip`.
    Repeat {
        bytes: String,
        count: usize,
        drip: bool,
    },
    /// It should send something that matches.
    Expect {
        pattern: Regex,
        need: Need,
    },
    /// Its output is collected for this many seconds.
    Sleep(f64),
    /// Its output from here on has this name.
    Mark {
        name: String,
        with_pending: bool,
    },
    /// The peer starts the TLS handshake.
    Tls(Tls),
    /// Answers a client's commands.
    Serve(Serve),
    /// Brings a server to this state in the usual way.
    Prepare(String),
    Loop {
        times: usize,
        steps: Vec<Self>,
    },
    /// The peer closes.
    End(Ending),
    /// A call on the library.
    Act {
        name: String,
        args: Map<String, Value>,
    },
}

/// The consequence if the expected output does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The row cannot be tested: the test is wrong.
    SetUp,
    /// The script ends.
    Expected,
    /// Nothing.
    Optional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Without a TLS alert.
    Closed,
    /// By close_notify.
    TlsClosed,
}

/// The peer's side of a handshake.
#[derive(Debug)]
pub(crate) struct Tls {
    /// Which certificate it presents; `None`: a valid one.
    pub(crate) certificate: Option<String>,
    /// The only version that it speaks.
    pub(crate) version: Option<String>,
    /// Whether the row tests the handshake; otherwise it is only a preparation.
    pub(crate) needed: bool,
}

/// How a server answers a client.
#[derive(Debug, Default)]
pub(crate) struct Serve {
    pub(crate) capabilities: Vec<String>,
    /// Stops before this command is answered.
    pub(crate) until: Option<String>,
    pub(crate) overrides: BTreeMap<String, Override>,
    pub(crate) sasl: Option<Sasl>,
    /// Sends this as soon as the message begins.
    pub(crate) data_early: Option<String>,
    /// Sends this after the message.
    pub(crate) data_final: Option<String>,
    /// Sends nothing at all.
    pub(crate) silent: bool,
}

/// A different answer to a command.
#[derive(Debug, Clone)]
pub(crate) struct Override {
    pub(crate) send: String,
    pub(crate) then: Then,
    pub(crate) once: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Continue,
    /// The serving step ends.
    Stop,
}

/// How a server conducts an authentication.
#[derive(Debug, Default)]
pub(crate) struct Sasl {
    /// Challenges; `None` is an empty one, and no challenge at all if the client sent first.
    pub(crate) script: Option<Vec<Option<String>>>,
    pub(crate) end: Option<String>,
    pub(crate) scram: Option<Scram>,
}

/// How a SCRAM server misbehaves.
#[derive(Debug)]
pub(crate) struct Scram {
    /// `bad`: not the client's; `same`: the client's and nothing more.
    pub(crate) nonce: Option<String>,
    /// `none`: no signature; `wrong`: a wrong one.
    pub(crate) signature: Option<String>,
    pub(crate) iterations: u64,
    /// Precedes the nonce.
    pub(crate) extension: String,
}

/// A condition that a run must or must not satisfy.
#[derive(Debug)]
pub(crate) enum Predicate {
    /// The password is in this output, as is or inside base64.
    Secret(&'static str),
    /// A command that logs in was sent in cleartext.
    AuthPlain,
    /// One of these commands is in this output.
    Command(&'static str, Vec<String>),
    /// This output matches.
    Matches(String, Regex),
    /// The number of matches; at most for `Less`, at least for `Greater`.
    Count {
        set: String,
        than: Ordering,
        number: usize,
        pattern: Regex,
    },
    /// The system under test closed the connection.
    Closed,
    TlsOk,
    TlsFailed,
    /// The script reached this mark.
    Reached(String),
    ClientOk,
    ClientFails,
    /// What the client's program shows matches.
    Shows(Regex),
    ShowsNot(Regex),
    /// The client contacted another listener.
    SecondListener,
    /// The server still serves other clients.
    Alive,
    /// In seconds.
    Elapsed(f64),
    /// In MiB.
    Memory(u64),
    /// Checked by its own test.
    Note(String),
}

/// The rows of a file.
///
/// # Panics
/// If a word in it is unknown.
pub(crate) fn rows(file: &str) -> Vec<Row> {
    file.lines().map(|line| Row::of(&serde_json::from_str(line).unwrap())).collect()
}

/// A pattern over bytes, where `^` matches at each line.
pub(crate) fn pattern(source: &str) -> Regex {
    // A non-ASCII character of the source stands for a byte.
    let source: String = source.chars().map(|c| if c.is_ascii() { c.to_string() } else { byte(c) }).collect();
    RegexBuilder::new(&source).multi_line(true).unicode(false).build().unwrap()
}

fn byte(character: char) -> String {
    format!("\\x{:02x}", u32::from(character))
}

/// The bytes that a string stands for.
///
/// # Panics
/// If a character is not a byte.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

/// A template with its values filled in.
pub(crate) fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(name, value);
    }
    text
}

/// A template with the values of a client's row, given the client's last tag.
pub(crate) fn filled_for(row: &Row, tag: &str, template: &str) -> Vec<u8> {
    let config = &row.config;
    let number: u32 = tag.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_default();
    let letters = tag.trim_end_matches(|c: char| c.is_ascii_digit());
    let later = (1..=9).map(|more| (format!("{{tag+{more}}}"), format!("{letters}{}", number + more)));
    let later: Vec<_> = later.collect();
    let mut values = vec![
        ("{tag}", tag),
        ("{user}", USER),
        ("{from}", &config.from),
        ("{rcpt}", &config.rcpt),
        ("{mailbox}", &config.mailbox),
        // A port without a listener.
        ("{port2}", "9"),
    ];
    values.extend(later.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    bytes(&filled(template, &values))
}

impl Row {
    fn of(value: &Value) -> Self {
        let fields = fields(value, "row");
        let id = text(&fields["id"]);
        let known = [
            "id",
            "role",
            "title",
            "refs",
            "level",
            "config",
            "chunking",
            "requires",
            "steps",
            "reconnect_steps",
            "must",
            "must_not",
            "require",
            "differs",
        ];
        only(fields, &known, &id);
        let differs = fields.get("differs").map(text);
        let may = fields["level"] == "should" || differs.is_none();
        assert!(may, "{id}: a row of level must cannot differ");
        Self {
            role: text(&fields["role"]),
            title: text(&fields["title"]),
            level: text(&fields["level"]),
            config: Config::of(&fields["config"], &id),
            requires: fields.get("requires").map_or_else(Vec::new, texts),
            steps: steps(&fields["steps"], &id),
            reconnect: fields.get("reconnect_steps").map(|value| steps(value, &id)),
            must: list(&fields["must"]).iter().map(|value| alternatives(value, &id)).collect(),
            must_not: list(&fields["must_not"])
                .iter()
                .map(|value| Predicate::of(&text(value), &id))
                .collect(),
            differs,
            id,
        }
    }
}

impl Config {
    fn of(value: &Value, id: &str) -> Self {
        let fields = fields(value, id);
        let known =
            ["security", "auth", "password", "from", "rcpt", "mailbox", "ehlo", "body", "may_not_connect"];
        only(fields, &known, id);
        let or = |name: &str, default: &str| fields.get(name).map_or_else(|| default.to_owned(), text);
        Self {
            security: match or("security", "starttls-required").as_str() {
                "starttls-required" => Security::StartTlsRequired,
                "implicit-tls" => Security::ImplicitTls,
                "plaintext" => Security::Plaintext,
                other => panic!("{id}: security {other}"),
            },
            auth: fields.get("auth").map(text),
            password: or("password", "S3cr3t-pw-7f9!"),
            from: or("from", "alice@example.test"),
            rcpt: or("rcpt", "bob@example.test"),
            mailbox: or("mailbox", "INBOX"),
            ehlo: or("ehlo", "client.example.test"),
            body: bytes(&or("body", "From: alice@example.test\r\nSubject: x\r\n\r\nhello\r\n")),
        }
    }
}

impl Step {
    fn of(value: &Value, id: &str) -> Self {
        let fields = fields(value, id);
        let first =
            ["act", "repeat", "drip", "recv", "recv_plain_raw", "expect", "sleep", "mark", "tls", "serve"];
        let others = ["prep", "loop", "eof", "tls_close"];
        let kinds = first.iter().chain(&others);
        let kind = *kinds.into_iter().find(|kind| fields.contains_key(**kind)).unwrap();
        let besides: &[&str] = match kind {
            // The row's own chunking is ignored: every row runs with every split.
            "recv" => &["recv", "chunk"],
            "expect" => &["expect", "within", "optional", "setup"],
            "mark" => &["mark", "with_pending"],
            "tls" => &["tls", "need"],
            "act" => &["act", "args"],
            other => &[other],
        };
        only(fields, besides, id);
        let flag = |name: &str| fields.get(name).is_some_and(|value| *value == true);
        let value = &fields[kind];
        match kind {
            "recv" => Self::Receive(text(value)),
            "recv_plain_raw" => Self::Raw(text(value)),
            "repeat" | "drip" => Self::Repeat {
                bytes: text(&value["s"]),
                count: usize::try_from(value["n"].as_u64().unwrap()).unwrap(),
                drip: kind == "drip",
            },
            "expect" => Self::Expect {
                pattern: pattern(&text(value)),
                need: if flag("setup") {
                    Need::SetUp
                } else if flag("optional") {
                    Need::Optional
                } else {
                    Need::Expected
                },
            },
            "sleep" => Self::Sleep(value.as_f64().unwrap()),
            "mark" => Self::Mark { name: text(value), with_pending: flag("with_pending") },
            "tls" => Self::Tls(Tls::of(value, !fields.contains_key("need"), id)),
            "serve" => Self::Serve(Serve::of(value, id)),
            "prep" => Self::Prepare(text(value)),
            "loop" => Self::Loop {
                times: usize::try_from(value["n"].as_u64().unwrap()).unwrap(),
                steps: steps(&value["steps"], id),
            },
            "eof" => Self::End(Ending::Closed),
            "tls_close" => Self::End(Ending::TlsClosed),
            _ => Self::Act { name: text(value), args: fields["args"].as_object().unwrap().clone() },
        }
    }
}

impl Tls {
    fn of(value: &Value, needed: bool, id: &str) -> Self {
        if *value == true {
            return Self { certificate: None, version: None, needed };
        }
        let fields = fields(value, id);
        only(fields, &["cert", "version"], id);
        Self { certificate: fields.get("cert").map(text), version: fields.get("version").map(text), needed }
    }
}

impl Serve {
    fn of(value: &Value, id: &str) -> Self {
        let fields = fields(value, id);
        // `for` is the time that a player with sockets waits.
        let known = ["caps", "until", "override", "sasl", "data_early", "data_final", "silent", "for"];
        only(fields, &known, id);
        let overrides = fields.get("override").map(|value| {
            let each = value.as_object().unwrap().iter();
            each.map(|(verb, value)| (verb.clone(), Override::of(value, id))).collect()
        });
        Self {
            capabilities: match fields.get("caps") {
                Some(Value::String(text)) => text.split(' ').map(str::to_owned).collect(),
                Some(value) => texts(value),
                None => Vec::new(),
            },
            until: fields.get("until").map(text),
            overrides: overrides.unwrap_or_default(),
            sasl: fields.get("sasl").map(|value| Sasl::of(value, id)),
            data_early: fields.get("data_early").map(text),
            data_final: fields.get("data_final").map(text),
            silent: fields.contains_key("silent"),
        }
    }
}

impl Override {
    fn of(value: &Value, id: &str) -> Self {
        if value.is_string() {
            return Self { send: text(value), then: Then::Continue, once: false };
        }
        let fields = fields(value, id);
        only(fields, &["send", "then", "once"], id);
        Self {
            send: fields.get("send").map_or_else(String::new, text),
            then: match fields.get("then").map(text).as_deref() {
                None | Some("continue") => Then::Continue,
                Some("stop") => Then::Stop,
                Some(other) => panic!("{id}: then {other}"),
            },
            once: fields.contains_key("once"),
        }
    }
}

impl Sasl {
    fn of(value: &Value, id: &str) -> Self {
        let fields = fields(value, id);
        only(fields, &["script", "end", "scram"], id);
        let challenge = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            script: fields.get("script").map(|value| list(value).iter().map(challenge).collect()),
            end: fields.get("end").map(text),
            scram: fields.get("scram").map(|value| Scram::of(value, id)),
        }
    }
}

impl Scram {
    fn of(value: &Value, id: &str) -> Self {
        let fields = fields(value, id);
        only(fields, &["nonce", "final", "iter", "ext"], id);
        Self {
            nonce: fields.get("nonce").map(text),
            signature: fields.get("final").map(text),
            iterations: fields.get("iter").map_or(4096, |value| value.as_u64().unwrap()),
            extension: fields.get("ext").map_or_else(String::new, text),
        }
    }
}

impl Predicate {
    fn of(source: &str, id: &str) -> Self {
        let (word, rest) = source.split_once(' ').unwrap_or((source, ""));
        let verbs = || rest.split('|').map(str::to_owned).collect();
        match word {
            "secret" => Self::Secret("any"),
            "secret_plain" => Self::Secret("plain"),
            "secret_tls" => Self::Secret("tls"),
            "auth_plain" => Self::AuthPlain,
            "cmd_plain" => Self::Command("plain", verbs()),
            "cmd_tls" => Self::Command("tls", verbs()),
            "seg" => {
                let (set, regex) = rest.split_once(" ~ ").unwrap();
                Self::Matches(set.to_owned(), pattern(regex))
            }
            "count" => {
                let mut words = rest.splitn(4, ' ');
                let mut next = || words.next().unwrap();
                let (set, sign, number, regex) = (next().to_owned(), next(), next(), next());
                let than = match sign {
                    "<=" => Ordering::Less,
                    ">=" => Ordering::Greater,
                    "==" => Ordering::Equal,
                    _ => panic!("{id}: {source}"),
                };
                let number = number.parse().unwrap();
                Self::Count { set, than, number, pattern: pattern(regex) }
            }
            "closed" => Self::Closed,
            "tls_ok" => Self::TlsOk,
            "tls_failed" => Self::TlsFailed,
            "reached" => Self::Reached(rest.to_owned()),
            "client_ok" => Self::ClientOk,
            "client_fails" => Self::ClientFails,
            "out" => match rest.split_once(' ').unwrap() {
                ("~", regex) => Self::Shows(pattern(regex)),
                ("!~", regex) => Self::ShowsNot(pattern(regex)),
                _ => panic!("{id}: {source}"),
            },
            "port2" => Self::SecondListener,
            "alive" => Self::Alive,
            "elapsed" => Self::Elapsed(rest.strip_prefix("<= ").unwrap().parse().unwrap()),
            "rss" => Self::Memory(rest.strip_prefix("<= ").unwrap().parse().unwrap()),
            "note:" => Self::Note(rest.to_owned()),
            _ => panic!("{id}: unknown predicate `{source}`"),
        }
    }
}

fn alternatives(value: &Value, id: &str) -> Vec<Predicate> {
    match value {
        Value::Array(values) => values.iter().map(|value| Predicate::of(&text(value), id)).collect(),
        value => vec![Predicate::of(&text(value), id)],
    }
}

fn steps(value: &Value, id: &str) -> Vec<Step> {
    list(value).iter().map(|value| Step::of(value, id)).collect()
}

fn fields<'v>(value: &'v Value, id: &str) -> &'v Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{id}: {value} has no fields"))
}

/// Rejects fields that are not listed.
fn only(fields: &Map<String, Value>, known: &[&str], id: &str) {
    let unknown = fields.keys().find(|name| !known.contains(&name.as_str()));
    assert_eq!(unknown, None, "{id}: unknown field");
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text")).to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).iter().map(text).collect()
}
