//! Reads the JSON in which earlier versions stored envelopes and structures.

use mailmime::{Address, ByteRange, Disposition, Envelope, Part, Structure};
use serde::Deserialize;

/// Reads an envelope; `None` for damaged JSON.
pub(super) fn envelope(json: &str) -> Option<Envelope> {
    serde_json::from_str::<JsonEnvelope>(json).ok().map(JsonEnvelope::into_envelope)
}

/// Reads a tree of parts; `None` for damaged JSON.
pub(super) fn part(json: &str) -> Option<Part> {
    serde_json::from_str::<JsonPart>(json).ok().map(JsonPart::into_part)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JsonEnvelope {
    d: Option<String>,
    s: Option<String>,
    f: Vec<JsonAddress>,
    n: Vec<JsonAddress>,
    r: Vec<JsonAddress>,
    t: Vec<JsonAddress>,
    c: Vec<JsonAddress>,
    b: Vec<JsonAddress>,
    i: Option<String>,
    m: Option<String>,
    z: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JsonAddress {
    n: Option<String>,
    a: Option<String>,
    m: Option<String>,
    h: Option<String>,
}

#[derive(Deserialize)]
struct JsonPart {
    t: String,
    s: String,
    #[serde(default)]
    p: Vec<(String, String)>,
    i: Option<String>,
    d: Option<String>,
    e: String,
    #[serde(rename = "5")]
    md5: Option<String>,
    o: Option<JsonDisposition>,
    #[serde(default)]
    g: Vec<String>,
    l: Option<String>,
    n: u64,
    h: (u64, u64),
    b: (u64, u64),
    #[serde(default)]
    c: Vec<Self>,
    m: Option<Box<JsonStructure>>,
    #[serde(default)]
    z: bool,
}

#[derive(Deserialize)]
struct JsonDisposition {
    k: String,
    #[serde(default)]
    p: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct JsonStructure {
    e: JsonEnvelope,
    r: JsonPart,
}

impl JsonEnvelope {
    fn into_envelope(self) -> Envelope {
        let list = |list: Vec<JsonAddress>| list.into_iter().map(JsonAddress::into_address).collect();
        let mut envelope = Envelope::default();
        (envelope.date, envelope.subject) = (self.d, self.s);
        (envelope.in_reply_to, envelope.message_id) = (self.i, self.m);
        (envelope.from, envelope.sender, envelope.reply_to) = (list(self.f), list(self.n), list(self.r));
        (envelope.to, envelope.cc, envelope.bcc) = (list(self.t), list(self.c), list(self.b));
        envelope.truncated = self.z;
        envelope
    }
}

impl JsonAddress {
    fn into_address(self) -> Address {
        let mut address = Address::default();
        (address.name, address.adl, address.mailbox, address.host) = (self.n, self.a, self.m, self.h);
        address
    }
}

impl JsonPart {
    fn into_part(self) -> Part {
        let range = |(start, end): (u64, u64)| ByteRange { start, end: end.max(start) };
        let mut part = Part::default();
        (part.media_type, part.media_subtype, part.parameters) = (self.t, self.s, self.p);
        (part.id, part.description, part.encoding) = (self.i, self.d, self.e);
        (part.md5, part.location, part.languages) = (self.md5, self.l, self.g);
        part.disposition = self.o.map(|from| {
            let mut disposition = Disposition::default();
            (disposition.kind, disposition.parameters) = (from.k, from.p);
            disposition
        });
        (part.lines, part.header, part.body) = (self.n, range(self.h), range(self.b));
        part.children = self.c.into_iter().map(Self::into_part).collect();
        part.message = self.m.map(|from| {
            let mut message = Structure::default();
            (message.envelope, message.root) = (from.e.into_envelope(), from.r.into_part());
            Box::new(message)
        });
        part.truncated = self.z;
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_field() {
        let address = r#"{"n":"Ann","a":"@r","m":"a","h":"b"}"#;
        let envelope = envelope(&format!(
            r#"{{"d":"date","s":"subject","f":[{address}],"n":[{{}}],"r":[{{"m":"r"}}],"t":[],"i":"<i>","m":"<m>","z":true}}"#
        ))
        .unwrap();
        assert_eq!((envelope.date.as_deref(), envelope.subject.as_deref()), (Some("date"), Some("subject")));
        assert_eq!(
            (envelope.in_reply_to.as_deref(), envelope.message_id.as_deref()),
            (Some("<i>"), Some("<m>"))
        );
        let ann = &envelope.from[0];
        assert_eq!((ann.name.as_deref(), ann.adl.as_deref()), (Some("Ann"), Some("@r")));
        assert_eq!((ann.mailbox.as_deref(), ann.host.as_deref()), (Some("a"), Some("b")));
        assert_eq!(
            (&envelope.sender[0], envelope.reply_to[0].mailbox.as_deref()),
            (&Address::default(), Some("r"))
        );
        assert!(envelope.truncated && envelope.to.is_empty());

        let text = r#"{"t":"text","s":"plain","e":"7bit","n":1,"h":[9,20],"b":[20,30]}"#;
        let root = part(&format!(
            r#"{{"t":"message","s":"rfc822","p":[["a","b"]],"i":"<i>","d":"d","e":"8bit","5":"md5","o":{{"k":"inline","p":[["c","d"]]}},"g":["de"],"l":"l","n":3,"h":[0,9],"b":[9,5],"c":[{text}],"m":{{"e":{{"s":"inner"}},"r":{text}}},"z":true}}"#
        ))
        .unwrap();
        assert_eq!(
            (root.media_type.as_str(), root.media_subtype.as_str(), root.encoding.as_str()),
            ("message", "rfc822", "8bit")
        );
        assert_eq!((root.parameter("a"), root.languages[0].as_str(), root.lines), (Some("b"), "de", 3));
        let texts =
            [&root.id, &root.description, &root.md5, &root.location].map(|text| text.as_deref().unwrap());
        assert_eq!(texts, ["<i>", "d", "md5", "l"]);
        let disposition = root.disposition.unwrap();
        assert_eq!((disposition.kind.as_str(), disposition.parameters[0].1.as_str()), ("inline", "d"));
        assert_eq!(
            (root.header, root.body),
            (ByteRange { start: 0, end: 9 }, ByteRange { start: 9, end: 9 })
        );
        let inner = root.message.unwrap();
        assert_eq!((inner.envelope.subject.as_deref(), &inner.root), (Some("inner"), &root.children[0]));
        assert!(root.truncated && !inner.root.truncated);
        assert_eq!(part("{}"), None);
    }
}
