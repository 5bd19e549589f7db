//! Writes a trace, as text or as JSON: a line for each line that passed.
//!
//! This file knows how records look. It gathers the parts of a line until it is complete and writes it in one piece, so
//! that many connections can share a file.

use std::{fmt, io::Write, mem};

use proto_mail::trace::{self, Event};
use serde_json::{Value, json};

use super::{RecordItem, Role, Trace, TraceRecord};

/// How a trace looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TraceFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object in each line.
    Json,
}

/// Whether names and addresses are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NameVisibility {
    /// They are.
    #[default]
    Shown,
    /// Of each line only its first words are: the tag and the command or the response, the verb or the code. No address
    /// of mail or of the network, no name of a user or of a mailbox is written.
    Hidden,
}

/// Writes a trace: a line for each line that passed.
///
/// ```text
///    0.004 #1 S: * OK ready
///    0.005 #1 C: a1 STARTTLS
///    0.031 #1 -- TLSv1.3 TLS_AES_256_GCM_SHA384
///    0.032 #1 C= a2 LOGIN [18 octets redacted]
/// ```
///
/// First comes the time in seconds since the connection was begun, then the number of the connection. `C:` and `S:` pass
/// in cleartext, `C=` and `S=` under TLS. Octets that are not printable are shown as `\xNN`. A line that was sent is
/// written when it has left, one that was received when the machine has read it. What was read and not understood stands
/// as its length.
///
/// As JSON each line is an object: `at` (seconds), `connection`, `protocol`, `role`, and one of `from` (`client` or
/// `server`) with `tls` and `line`, `peer`, `event` (`tls`, `closed`) or `note`. `line` is a list: strings were said as
/// they stand, an object counts octets that are not shown (`secret`, `message`, `literal`, `elided`, `unknown`,
/// `hidden`).
pub struct TraceWriter<W: Write + Send> {
    out: W,
    format: TraceFormat,
    names: NameVisibility,
    line_limit: usize,
    client: Vec<Part>,
    server: Vec<Part>,
    /// What is known of the connection, for what is written at its end.
    last: Option<Known>,
}

#[derive(Clone, Copy)]
struct Known {
    connection: u64,
    protocol: &'static str,
    role: Role,
    at: f64,
    secured: bool,
}

/// A part of a line.
enum Part {
    Text(Vec<u8>),
    Count(&'static str, u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl<W: Write + Send> TraceWriter<W> {
    /// Writes to `out`, each line in one call. Errors of `out` are ignored: a trace must not end a session.
    pub const fn new(out: W) -> Self {
        Self {
            out,
            format: TraceFormat::Text,
            names: NameVisibility::Shown,
            line_limit: 1024,
            client: Vec::new(),
            server: Vec::new(),
            last: None,
        }
    }

    /// How the trace looks; [`TraceFormat::Text`] unless something else is asked for.
    #[must_use]
    pub const fn format(mut self, format: TraceFormat) -> Self {
        self.format = format;
        self
    }

    /// Whether names and addresses are shown; they are unless this says otherwise.
    #[must_use]
    pub const fn names(mut self, names: NameVisibility) -> Self {
        self.names = names;
        self
    }

    /// How many octets of a line, or of a literal, are shown: 1024 unless something else is asked for.
    #[must_use]
    pub const fn line_limit(mut self, bytes: usize) -> Self {
        self.line_limit = bytes;
        self
    }

    fn passed(&mut self, known: Known, side: Side, what: &trace::TraceSpan) {
        let count = match what {
            trace::TraceSpan::Text(text) => {
                for piece in text.split_inclusive(|octet| *octet == b'\n') {
                    self.parts(side).push(Part::Text(piece.to_vec()));
                    if piece.ends_with(b"\n") {
                        self.end_line(known, side);
                    }
                }
                return;
            }
            trace::TraceSpan::Elided(count) => ("elided", *count),
            trace::TraceSpan::Literal(count) => ("literal", *count),
            trace::TraceSpan::Secret(count) => ("secret", *count),
            trace::TraceSpan::Data(count) => ("message", *count),
            // What is not known is not shown.
            what => ("unknown", what.byte_count()),
        };
        match self.parts(side).last_mut() {
            Some(Part::Count(what, sum)) if *what == count.0 && *what != "literal" => {
                *sum = sum.saturating_add(count.1);
            }
            _ => self.parts(side).push(Part::Count(count.0, count.1)),
        }
    }

    const fn parts(&mut self, side: Side) -> &mut Vec<Part> {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Writes what there is of a line.
    fn end_line(&mut self, known: Known, side: Side) {
        let mut parts = join(mem::take(self.parts(side)));
        if parts.is_empty() {
            return;
        }
        if self.names == NameVisibility::Hidden {
            parts = hide(parts, known.protocol);
        }
        match self.format {
            TraceFormat::Text => {
                let side = if side == Side::Client { 'C' } else { 'S' };
                let mark = if known.secured { '=' } else { ':' };
                let line: String = parts.iter().map(Part::to_text).collect();
                self.put(&format!("{:>8.3} #{} {side}{mark} {line}", known.at, known.connection));
            }
            TraceFormat::Json => {
                let from = if side == Side::Client { "client" } else { "server" };
                let line: Vec<Value> = parts.iter().map(Part::to_json).collect();
                self.object(known, json!({ "from": from, "tls": known.secured, "line": line }));
            }
        }
    }

    fn note(&mut self, known: Known, text: &str, json: Value) {
        match self.format {
            TraceFormat::Text => {
                self.put(&format!("{:>8.3} #{} -- {}", known.at, known.connection, text.escape_debug()));
            }
            TraceFormat::Json => self.object(known, json),
        }
    }

    fn object(&mut self, known: Known, what: Value) {
        let role = if known.role == Role::Client { "client" } else { "server" };
        let mut object = json!({
            "at": (known.at * 1000.0).round() / 1000.0,
            "connection": known.connection,
            "protocol": known.protocol,
            "role": role,
        });
        if let (Value::Object(object), Value::Object(what)) = (&mut object, what) {
            object.extend(what);
        }
        self.put(&object.to_string());
    }

    fn put(&mut self, line: &str) {
        // A trace must not end a session.
        let _ = self.out.write_all(format!("{line}\n").as_bytes());
    }

    /// Writes what is left of lines that never ended.
    fn end(&mut self) {
        if let Some(known) = self.last {
            self.end_line(known, Side::Client);
            self.end_line(known, Side::Server);
        }
    }
}

impl<W: Write + Send> Trace for TraceWriter<W> {
    fn record(&mut self, record: &TraceRecord<'_>) {
        let TraceRecord { connection, protocol, role, secured, .. } = *record;
        let known = Known { connection, protocol, role, at: record.at.as_secs_f64(), secured };
        let (here, there) = match role {
            Role::Client => (Side::Client, Side::Server),
            Role::Server => (Side::Server, Side::Client),
        };
        self.last = Some(known);
        match record.item {
            RecordItem::Connected(_) if self.names == NameVisibility::Hidden => {
                self.note(known, "connected", json!({ "event": "connected" }));
            }
            RecordItem::Connected(peer) => {
                self.note(
                    known,
                    &format!("connected: {peer}"),
                    json!({ "event": "connected", "peer": peer }),
                );
            }
            RecordItem::Event(Event::Received(what)) => self.passed(known, there, what),
            RecordItem::Event(Event::Sent(what)) => self.passed(known, here, what),
            RecordItem::Event(Event::TlsStarted) => self.note(known, "TLS", json!({ "event": "tls" })),
            RecordItem::Event(Event::Closed) => {
                self.end();
                self.note(known, "closed", json!({ "event": "closed" }));
            }
            RecordItem::Event(_) => {}
            RecordItem::Note(_) if self.names == NameVisibility::Hidden => {}
            RecordItem::Note(note) => self.note(known, note, json!({ "note": note })),
        }
    }

    fn line_limit(&self) -> usize {
        self.line_limit
    }
}

impl Part {
    fn to_text(&self) -> String {
        let (what, count) = match self {
            Self::Text(text) => return text.escape_ascii().to_string(),
            Self::Count(what, count) => (*what, count),
        };
        match what {
            "secret" => format!("[{count} octets redacted]"),
            "message" => format!("[{count} octets of a message]"),
            "literal" => format!("[a literal of {count} octets]"),
            "elided" => format!("[{count} octets elided]"),
            "hidden" => format!("[{count} octets hidden]"),
            _ => format!("[{count} octets not understood]"),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => String::from_utf8_lossy(text).into(),
            Self::Count(what, count) => json!({ *what: count }),
        }
    }

    const fn octets(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Count(_, count) => *count,
        }
    }
}

/// The parts of one line without its end, texts that touch joined.
fn join(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(Part::Text(text)), Part::Text(more)) => text.extend(more),
            (_, part) => joined.push(part),
        }
    }
    if let Some(Part::Text(text)) = joined.last_mut() {
        let end = [&b"\r\n"[..], b"\n"].into_iter().find(|end| text.ends_with(end)).map_or(0, <[u8]>::len);
        text.truncate(text.len() - end);
        if text.is_empty() && joined.len() > 1 {
            joined.pop();
        }
    }
    joined
}

/// Leaves of a line its first words.
fn hide(parts: Vec<Part>, protocol: &str) -> Vec<Part> {
    let mut rest = parts.into_iter();
    let Some(first) = rest.next() else { return Vec::new() };
    let (head, mut hidden) = match first {
        Part::Text(mut text) => {
            let head = head(&text, protocol).min(text.len());
            let hidden = text.len() - head;
            text.truncate(head);
            (Part::Text(text), hidden as u64)
        }
        Part::Count(..) => (first, 0),
    };
    let mut left = vec![head];
    for part in rest {
        match part {
            Part::Text(_) => hidden = hidden.saturating_add(part.octets()),
            part => left.push(part),
        }
    }
    if hidden > 0 {
        left.push(Part::Count("hidden", hidden));
    }
    left
}

/// How many octets the words have that say what a line is, and of nobody whom it is about.
fn head(line: &[u8], protocol: &str) -> usize {
    let word = |from: usize| {
        let rest = line.get(from..).unwrap_or_default();
        let word = |octet: &&u8| octet.is_ascii_alphanumeric() || matches!(octet, b'*' | b'+' | b'.');
        from + rest.iter().take_while(word).count()
    };
    let ends = |end: usize| matches!(line.get(end), None | Some(b' ' | b'-'));
    let first = word(0);
    if !ends(first) || first > 32 {
        return 0;
    }
    if protocol != "imap" || line.starts_with(b"+") {
        return first;
    }
    let second = word(first + 1).min(line.len());
    if !ends(second) || second > 64 {
        return first;
    }
    let name = line.get(first + 1..second).unwrap_or_default();
    // A number says little without the word behind it.
    if !name.iter().all(u8::is_ascii_digit) && !name.eq_ignore_ascii_case(b"UID") {
        return second;
    }
    let third = word(second + 1).min(line.len());
    if ends(third) { third } else { second }
}

impl<W: Write + Send> Drop for TraceWriter<W> {
    fn drop(&mut self) {
        self.end();
        let _ = self.out.flush();
    }
}

impl<W: Write + Send> fmt::Debug for TraceWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceWriter")
            .field("format", &self.format)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn written(format: TraceFormat, names: NameVisibility) -> String {
        let mut out = Vec::new();
        let mut trace = TraceWriter::new(&mut out).format(format).names(names);
        let mut at = 0;
        let mut record = |secured, what: RecordItem<'_>| {
            at += 1;
            let at = Duration::from_millis(at);
            let (connection, protocol, role) = (7, "imap", Role::Client);
            trace.record(&TraceRecord { connection, protocol, role, at, secured, item: what });
        };
        let sent = |what| Event::Sent(what);
        let received = |text: &[u8]| Event::Received(trace::TraceSpan::Text(text.to_vec()));
        record(false, RecordItem::Connected("127.0.0.1:143".parse().unwrap()));
        record(false, RecordItem::Event(&received(b"* OK re")));
        record(false, RecordItem::Event(&received(b"ady\r\n")));
        record(true, RecordItem::Event(&Event::TlsStarted));
        record(true, RecordItem::Note("TLSv1.3"));
        record(true, RecordItem::Event(&sent(trace::TraceSpan::Text(b"a2 LOGIN ".to_vec()))));
        record(true, RecordItem::Event(&sent(trace::TraceSpan::Secret(7))));
        record(true, RecordItem::Event(&received(b"* LIST () \"/\" \"\x1b]0;bob\"\r\n* 3 EXISTS\r\n")));
        record(true, RecordItem::Event(&sent(trace::TraceSpan::Secret(2))));
        record(true, RecordItem::Event(&sent(trace::TraceSpan::Text(b"\r\n".to_vec()))));
        record(true, RecordItem::Event(&Event::Received(trace::TraceSpan::Unknown(4))));
        record(true, RecordItem::Event(&Event::Closed));
        drop(trace);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_readable_and_holds_no_secret() {
        let expected = [
            "   0.001 #7 -- connected: 127.0.0.1:143",
            "   0.003 #7 S: * OK ready",
            "   0.004 #7 -- TLS",
            "   0.005 #7 -- TLSv1.3",
            "   0.008 #7 S= * LIST () \\\"/\\\" \\\"\\x1b]0;bob\\\"",
            "   0.008 #7 S= * 3 EXISTS",
            "   0.010 #7 C= a2 LOGIN [9 octets redacted]",
            "   0.012 #7 S= [4 octets not understood]",
            "   0.012 #7 -- closed",
        ];
        assert_eq!(written(TraceFormat::Text, NameVisibility::Shown).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn names_are_hidden_if_they_shall_be() {
        for format in [TraceFormat::Text, TraceFormat::Json] {
            let text = written(format, NameVisibility::Hidden);
            assert!(!text.contains("bob") && !text.contains("127.0.0.1"), "{text}");
        }
        let text = written(TraceFormat::Text, NameVisibility::Hidden);
        for line in
            ["S: * OK[6 octets hidden]", "S= * LIST[", "S= * 3 EXISTS\n", "C= a2 LOGIN[9 octets redacted]"]
        {
            assert!(text.contains(line), "{line}: {text}");
        }
        for (line, protocol, shown) in [
            (&b"MAIL FROM:<bob@example.org>"[..], "smtp", 4),
            (b"250-mx.example.org hello", "smtp", 3),
            (b"bob@example.org", "smtp", 0),
            (b"a1 SELECT bob", "imap", 9),
            (b"* 12 FETCH (ENVELOPE", "imap", 10),
            (b"a1 UID FETCH 1:*", "imap", 12),
            (b"a1 UID", "imap", 6),
            (b"+ bob", "imap", 1),
            (b"a1 bob@example.org", "imap", 2),
            (b"", "imap", 0),
        ] {
            assert_eq!(head(line, protocol), shown, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn json_is_an_object_in_each_line() {
        let objects: Vec<Value> = written(TraceFormat::Json, NameVisibility::Shown)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let login = objects.iter().find(|object| object["from"] == "client").unwrap();
        assert_eq!(login["line"], json!(["a2 LOGIN ", { "secret": 9 }]));
        assert_eq!((&login["tls"], &login["connection"]), (&json!(true), &json!(7)));
        assert_eq!(
            (&login["protocol"], &login["role"], &login["at"]),
            (&json!("imap"), &json!("client"), &json!(0.01))
        );
        assert_eq!(objects[0]["peer"], "127.0.0.1:143");
        assert_eq!(objects.last().unwrap()["event"], "closed");
    }
}
