//! A trace as JSON lines.

use serde_json::{Value, json};

use super::{
    line::{LineContext, LinePart, Note, Side},
    record::{Role, TraceChannel},
};

/// Returns the JSON line of a protocol line.
pub(super) fn line(context: LineContext, side: Side, parts: &[LinePart]) -> String {
    let from = if side == Side::Client { "client" } else { "server" };
    let line: Vec<Value> = parts.iter().map(part).collect();
    object(context, json!({ "from": from, "tls": context.channel == TraceChannel::Tls, "line": line }))
}

/// Returns the JSON line of a note.
pub(super) fn note(context: LineContext, note: &Note<'_>) -> String {
    let what = match note {
        Note::Connected(Some(peer)) => json!({ "event": "connected", "peer": peer.to_string() }),
        Note::Connected(None) => json!({ "event": "connected" }),
        Note::TlsStarted => json!({ "event": "tls" }),
        Note::Closed => json!({ "event": "closed" }),
        Note::Text(text) => json!({ "note": text }),
    };
    object(context, what)
}

fn part(part: &LinePart) -> Value {
    match part {
        LinePart::Text(text) => String::from_utf8_lossy(text).into(),
        LinePart::Count(what, count) => json!({ *what: count }),
    }
}

fn object(context: LineContext, what: Value) -> String {
    let role = if context.role == Role::Client { "client" } else { "server" };
    let mut object = json!({
        "at": (context.at * 1000.0).round() / 1000.0,
        "connection": context.connection,
        "protocol": context.protocol,
        "role": role,
    });
    if let (Value::Object(object), Value::Object(what)) = (&mut object, what) {
        object.extend(what);
    }
    object.to_string()
}
