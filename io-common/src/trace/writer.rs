//! Formatting a trace as text or JSON.
//!
//! The parts of a line are collected until it is complete and written in one call, so that many connections can share a
//! file.

use std::{fmt, io::Write, mem};

use proto_mail::trace::{self, Event};

use super::{
    line::{LineContext, LinePart, Note, Side},
    record::{RecordItem, Role, Trace, TraceChannel, TraceRecord},
};

/// The format of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TraceFormat {
    /// Text for people.
    #[default]
    Text,
    /// A JSON object per line.
    #[cfg(feature = "trace-json")]
    Json,
}

/// Whether a trace shows names and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NameVisibility {
    /// Names and addresses are shown.
    #[default]
    Shown,
    /// Only the first words of each line are shown: tag and command or response, verb or code. No mail or network address
    /// and no name of a user or mailbox is written.
    Hidden,
}

/// Writes a trace, one line per protocol line.
///
/// ```text
///    0.004 #1 S: * OK ready
///    0.005 #1 C: a1 STARTTLS
///    0.031 #1 -- TLSv1.3 TLS_AES_256_GCM_SHA384
///    0.032 #1 C= a2 LOGIN [18 bytes redacted]
/// ```
///
/// A line begins with the time in seconds since the connection was opened and the number of the connection. `C:` and `S:`
/// were sent in cleartext, `C=` and `S=` under TLS. Bytes that are not printable are shown as `\xNN`. A sent line is
/// written when it has been sent, a received line when the machine has parsed it. Of input that the machine could not
/// parse only the length is written.
///
/// With the feature `trace-json`, `TraceFormat::Json` writes an object per line: `at` (seconds), `connection`, `protocol`,
/// `role`, and one of `from` (`client` or `server`) with `tls` and `line`, `peer`, `event` (`connected`, `tls`, `closed`)
/// or `note`. `line` is a list: strings are shown text, an object counts bytes that are not shown (`secret`, `message`,
/// `literal`, `elided`, `unknown`, `hidden`).
pub struct TraceWriter<W: Write + Send> {
    out: W,
    format: TraceFormat,
    names: NameVisibility,
    line_limit: usize,
    client: Vec<LinePart>,
    server: Vec<LinePart>,
    /// The context of the last record, for what is written at the end.
    last: Option<LineContext>,
}

impl<W: Write + Send> TraceWriter<W> {
    /// Writes text to `out`, each line in one call. Errors of `out` are ignored: a trace must not end a session.
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

    /// Sets the format. Default: [`TraceFormat::Text`].
    #[must_use]
    pub const fn format(mut self, format: TraceFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets whether names and addresses are shown. Default: they are.
    #[must_use]
    pub const fn names(mut self, names: NameVisibility) -> Self {
        self.names = names;
        self
    }

    /// Sets how many bytes of a line or literal are shown. Default: 1024.
    #[must_use]
    pub const fn line_limit(mut self, bytes: usize) -> Self {
        self.line_limit = bytes;
        self
    }

    fn passed(&mut self, context: LineContext, side: Side, what: &trace::TraceSpan) {
        let count = match what {
            trace::TraceSpan::Text(text) => {
                for piece in text.split_inclusive(|byte| *byte == b'\n') {
                    self.parts(side).push(LinePart::Text(piece.to_vec()));
                    if piece.ends_with(b"\n") {
                        self.end_line(context, side);
                    }
                }
                return;
            }
            trace::TraceSpan::Elided(count) => ("elided", *count),
            trace::TraceSpan::Literal(count) => ("literal", *count),
            trace::TraceSpan::Secret(count) => ("secret", *count),
            trace::TraceSpan::Data(count) => ("message", *count),
            // What is not context is not shown.
            what => ("unknown", what.byte_count()),
        };
        match self.parts(side).last_mut() {
            Some(LinePart::Count(what, sum)) if *what == count.0 && *what != "literal" => {
                *sum = sum.saturating_add(count.1);
            }
            _ => self.parts(side).push(LinePart::Count(count.0, count.1)),
        }
    }

    const fn parts(&mut self, side: Side) -> &mut Vec<LinePart> {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Writes a line, complete or not.
    fn end_line(&mut self, context: LineContext, side: Side) {
        let mut parts = join(mem::take(self.parts(side)));
        if parts.is_empty() {
            return;
        }
        if self.names == NameVisibility::Hidden {
            parts = hide(parts, context.protocol);
        }
        match self.format {
            TraceFormat::Text => {
                let side = if side == Side::Client { 'C' } else { 'S' };
                let mark = if context.channel == TraceChannel::Tls { '=' } else { ':' };
                let line: String = parts.iter().map(LinePart::to_text).collect();
                self.put(&format!("{:>8.3} #{} {side}{mark} {line}", context.at, context.connection));
            }
            #[cfg(feature = "trace-json")]
            TraceFormat::Json => self.put(&super::json::line(context, side, &parts)),
        }
    }

    fn note(&mut self, context: LineContext, note: Note<'_>) {
        match self.format {
            TraceFormat::Text => {
                let text = note.to_text();
                self.put(&format!("{:>8.3} #{} -- {}", context.at, context.connection, text.escape_debug()));
            }
            #[cfg(feature = "trace-json")]
            TraceFormat::Json => self.put(&super::json::note(context, &note)),
        }
    }

    fn put(&mut self, line: &str) {
        // A trace must not end a session.
        let _ = self.out.write_all(format!("{line}\n").as_bytes());
    }

    /// Writes the lines that never ended.
    fn end(&mut self) {
        if let Some(context) = self.last {
            self.end_line(context, Side::Client);
            self.end_line(context, Side::Server);
        }
    }
}

impl<W: Write + Send> Trace for TraceWriter<W> {
    fn record(&mut self, record: &TraceRecord<'_>) {
        let TraceRecord { connection, protocol, role, channel, .. } = *record;
        let context = LineContext { connection, protocol, role, at: record.at.as_secs_f64(), channel };
        let (here, there) = match role {
            Role::Client => (Side::Client, Side::Server),
            Role::Server => (Side::Server, Side::Client),
        };
        self.last = Some(context);
        match record.item {
            RecordItem::Connected(peer) => {
                let peer = (self.names == NameVisibility::Shown).then_some(peer);
                self.note(context, Note::Connected(peer));
            }
            RecordItem::Event(Event::Received(what)) => self.passed(context, there, what),
            RecordItem::Event(Event::Sent(what)) => self.passed(context, here, what),
            RecordItem::Event(Event::TlsStarted) => self.note(context, Note::TlsStarted),
            RecordItem::Event(Event::Closed) => {
                self.end();
                self.note(context, Note::Closed);
            }
            RecordItem::Event(_) => {}
            RecordItem::Note(_) if self.names == NameVisibility::Hidden => {}
            RecordItem::Note(note) => self.note(context, Note::Text(note)),
        }
    }

    fn line_limit(&self) -> usize {
        self.line_limit
    }
}

/// Joins adjacent texts of a line and removes its line end.
fn join(parts: Vec<LinePart>) -> Vec<LinePart> {
    let mut joined: Vec<LinePart> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(LinePart::Text(text)), LinePart::Text(more)) => text.extend(more),
            (_, part) => joined.push(part),
        }
    }
    if let Some(LinePart::Text(text)) = joined.last_mut() {
        let end = [&b"\r\n"[..], b"\n"].into_iter().find(|end| text.ends_with(end)).map_or(0, <[u8]>::len);
        text.truncate(text.len() - end);
        if text.is_empty() && joined.len() > 1 {
            joined.pop();
        }
    }
    joined
}

/// Keeps only the first words of a line.
fn hide(parts: Vec<LinePart>, protocol: &str) -> Vec<LinePart> {
    let mut rest = parts.into_iter();
    let Some(first) = rest.next() else { return Vec::new() };
    let (head, mut hidden) = match first {
        LinePart::Text(mut text) => {
            let head = head(&text, protocol).min(text.len());
            let hidden = text.len() - head;
            text.truncate(head);
            (LinePart::Text(text), hidden as u64)
        }
        LinePart::Count(..) => (first, 0),
    };
    let mut left = vec![head];
    for part in rest {
        match part {
            LinePart::Text(_) => hidden = hidden.saturating_add(part.byte_count()),
            part => left.push(part),
        }
    }
    if hidden > 0 {
        left.push(LinePart::Count("hidden", hidden));
    }
    left
}

/// Returns the length of the first words, which say what a line is and name no user, mailbox or address.
fn head(line: &[u8], protocol: &str) -> usize {
    let word = |from: usize| {
        let rest = line.get(from..).unwrap_or_default();
        let word = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'+' | b'.');
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
    // A number or UID says little without the next word.
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

    use super::{TraceChannel::*, *};
    use crate::address::Address;

    fn written(format: TraceFormat, names: NameVisibility) -> String {
        let mut out = Vec::new();
        let mut trace = TraceWriter::new(&mut out).format(format).names(names);
        let mut at = 0;
        let mut record = |channel, what: RecordItem<'_>| {
            at += 1;
            let at = Duration::from_millis(at);
            let (connection, protocol, role) = (7, "imap", Role::Client);
            trace.record(&TraceRecord { connection, protocol, role, at, channel, item: what });
        };
        let sent = |what| Event::Sent(what);
        let received = |text: &[u8]| Event::Received(trace::TraceSpan::Text(text.to_vec()));
        let peer = Address::Ip("127.0.0.1:143".parse().unwrap());
        record(Cleartext, RecordItem::Connected(&peer));
        record(Cleartext, RecordItem::Event(&received(b"* OK re")));
        record(Cleartext, RecordItem::Event(&received(b"ady\r\n")));
        record(Tls, RecordItem::Event(&Event::TlsStarted));
        record(Tls, RecordItem::Note("TLSv1.3"));
        record(Tls, RecordItem::Event(&sent(trace::TraceSpan::Text(b"a2 LOGIN ".to_vec()))));
        record(Tls, RecordItem::Event(&sent(trace::TraceSpan::Secret(7))));
        record(Tls, RecordItem::Event(&received(b"* LIST () \"/\" \"\x1b]0;bob\"\r\n* 3 EXISTS\r\n")));
        record(Tls, RecordItem::Event(&sent(trace::TraceSpan::Secret(2))));
        record(Tls, RecordItem::Event(&sent(trace::TraceSpan::Text(b"\r\n".to_vec()))));
        record(Tls, RecordItem::Event(&Event::Received(trace::TraceSpan::Unknown(4))));
        record(Tls, RecordItem::Event(&Event::Closed));
        drop(trace);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_readable_and_contains_no_secret() {
        let expected = [
            "   0.001 #7 -- connected: 127.0.0.1:143",
            "   0.003 #7 S: * OK ready",
            "   0.004 #7 -- TLS",
            "   0.005 #7 -- TLSv1.3",
            "   0.008 #7 S= * LIST () \\\"/\\\" \\\"\\x1b]0;bob\\\"",
            "   0.008 #7 S= * 3 EXISTS",
            "   0.010 #7 C= a2 LOGIN [9 bytes redacted]",
            "   0.012 #7 S= [4 bytes not understood]",
            "   0.012 #7 -- closed",
        ];
        assert_eq!(written(TraceFormat::Text, NameVisibility::Shown).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn hides_names() {
        let formats = [
            TraceFormat::Text,
            #[cfg(feature = "trace-json")]
            TraceFormat::Json,
        ];
        for format in formats {
            let text = written(format, NameVisibility::Hidden);
            assert!(!text.contains("bob") && !text.contains("127.0.0.1"), "{text}");
        }
        let text = written(TraceFormat::Text, NameVisibility::Hidden);
        for line in
            ["S: * OK[6 bytes hidden]", "S= * LIST[", "S= * 3 EXISTS\n", "C= a2 LOGIN[9 bytes redacted]"]
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

    #[cfg(feature = "trace-json")]
    #[test]
    fn json_is_an_object_per_line() {
        use serde_json::{Value, json};
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
