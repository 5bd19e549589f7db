//! A row of the catalogue of attacks: what the system under test is fed, step by step, and what must come of it.
//!
//! This file knows the form of the rows (`*.jsonl`) and the words in it, and refuses any that it does not know. It runs
//! nothing. Strings that hold bytes are ISO 8859-1: one character is one byte.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::bytes::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// One attack.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// Who is attacked: `imap-client`, `smtp-server` and so on.
    pub(crate) role: String,
    pub(crate) title: String,
    /// `must`: an RFC's, or a known way to harm. `should`: more than that.
    pub(crate) level: String,
    pub(crate) config: Config,
    /// What a server must have or be set to for the row to mean anything.
    pub(crate) requires: Vec<String>,
    pub(crate) steps: Vec<Step>,
    /// What a second connection would be played.
    pub(crate) reconnect: Option<Vec<Step>>,
    /// Each must hold; of those in one list, one.
    pub(crate) must: Vec<Vec<Predicate>>,
    pub(crate) must_not: Vec<Predicate>,
    /// Why we do otherwise than a row of level `should` asks; `must` and `must_not` then say what we do.
    pub(crate) differs: Option<String>,
}

/// How the system under test is set up. Strings that are not given have the values of [`Config::of`].
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) security: Security,
    /// The only mechanism that a client may take.
    pub(crate) auth: Option<String>,
    pub(crate) password: String,
    pub(crate) from: String,
    pub(crate) rcpt: String,
    pub(crate) mailbox: String,
    pub(crate) ehlo: String,
    pub(crate) body: Vec<u8>,
}

/// The name of whoever logs in, in every row.
pub(crate) const USER: &str = "alice";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    StartTlsRequired,
    ImplicitTls,
    Plaintext,
}

/// What happens next to the system under test.
#[derive(Debug)]
pub(crate) enum Step {
    /// It receives these bytes. They may hold `{tag}` and the like: see [`filled`].
    Receive(String),
    /// It receives these bytes on the TCP stream, whatever runs over that.
    Raw(String),
    /// It receives these bytes so many times; one by one if `drip`.
    Repeat {
        bytes: String,
        count: usize,
        drip: bool,
    },
    /// It should say something that matches.
    Expect {
        pattern: Regex,
        need: Need,
    },
    /// What it says is collected for so many seconds.
    Sleep(f64),
    /// What it says from here on has this name.
    Mark {
        name: String,
        with_pending: bool,
    },
    /// The peer begins the TLS handshake.
    Tls(Tls),
    /// To a client: its commands are answered.
    Serve(Serve),
    /// To a server: the usual way to here.
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

/// What it means if what is expected does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The row is not about that: the test is wrong.
    SetUp,
    /// The script ends.
    Expected,
    /// Nothing.
    Optional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Without a word from TLS.
    Closed,
    /// By close_notify.
    TlsClosed,
}

/// The peer's side of a handshake.
#[derive(Debug)]
pub(crate) struct Tls {
    /// Which certificate it shows; `None`: a good one.
    pub(crate) certificate: Option<String>,
    /// The only version that it speaks.
    pub(crate) version: Option<String>,
    /// Whether the handshake is what the row is about; else it only leads there.
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
    /// Says this as soon as the message begins.
    pub(crate) data_early: Option<String>,
    /// Says this behind the message.
    pub(crate) data_final: Option<String>,
    /// Says nothing at all.
    pub(crate) silent: bool,
}

/// Another answer to a command.
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

/// What a server makes of an authentication.
#[derive(Debug, Default)]
pub(crate) struct Sasl {
    /// Challenges; `None` is an empty one, and none at all where the client spoke first.
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
    /// Stands before the nonce.
    pub(crate) extension: String,
}

/// Something that holds of a run, or does not.
#[derive(Debug)]
pub(crate) enum Predicate {
    /// The password is in this output, as it is or inside base64.
    Secret(&'static str),
    /// A command that logs in was said in cleartext.
    AuthPlain,
    /// One of these commands is in this output.
    Command(&'static str, Vec<String>),
    /// This output matches.
    Matches(String, Regex),
    /// So many matches; for `Less` at most, for `Greater` at least.
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
    /// The script came to this mark.
    Reached(String),
    ClientOk,
    ClientFails,
    /// What the client's program shows matches.
    Shows(Regex),
    ShowsNot(Regex),
    /// Another listener was contacted.
    SecondListener,
    /// The server serves others as before.
    Alive,
    /// In seconds.
    Elapsed(f64),
    /// In MiB.
    Memory(u64),
    /// Somebody must look, or a test of its own.
    Note(String),
}

/// The rows of a file.
///
/// # Panics
/// If a word in it is not known.
pub(crate) fn rows(file: &str) -> Vec<Row> {
    file.lines().map(|line| Row::of(&serde_json::from_str(line).unwrap())).collect()
}

/// A pattern over bytes, where `^` is at each line.
pub(crate) fn pattern(source: &str) -> Regex {
    // A character of the source that is no ASCII stands for a byte.
    let source: String = source.chars().map(|c| if c.is_ascii() { c.to_string() } else { byte(c) }).collect();
    RegexBuilder::new(&source).multi_line(true).unicode(false).build().unwrap()
}

fn byte(character: char) -> String {
    format!("\\x{:02x}", u32::from(character))
}

/// The bytes that a string stands for.
///
/// # Panics
/// If a character is no byte.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

/// A template with its values.
pub(crate) fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(name, value);
    }
    text
}

/// A template with the values of a row for a client, whose last tag this is.
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
        // Nobody listens there.
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
        assert!(may, "{id}: what an RFC demands is not up to us");
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
            // How a row wants to be cut does not matter: it is cut in every way.
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
        // `for` is how long a player with sockets waits.
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
            _ => panic!("{id}: nobody knows what `{source}` means"),
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

/// Demands that nothing but these is said.
fn only(fields: &Map<String, Value>, known: &[&str], id: &str) {
    let unknown = fields.keys().find(|name| !known.contains(&name.as_str()));
    assert_eq!(unknown, None, "{id}: nobody knows what that means");
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).iter().map(text).collect()
}
