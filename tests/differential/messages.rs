//! Our structure of messages against that of `mail-parser`, on the messages in `tests/corpus/message`.
//!
//! `mail-parser` reads a whole message in memory, with a parser of its own. Both give the same fields of [`Facts`]; each
//! field of a message in which they differ is listed with the reason.

use std::collections::BTreeSet;
use std::fs;

use mail_parser::{Address, HeaderName, HeaderValue, Message, MessageParser, MimeHeaders, PartType};
use mailmime::{Part, Structure};
use mailwire_tests::corpus;

/// What both say about a message, by the name of the field.
type Facts = Vec<(&'static str, String)>;

#[test]
fn structure_of_messages_is_that_of_mail_parser() {
    let mut paths: Vec<_> =
        fs::read_dir(corpus::folder().join("message")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    paths.sort();
    let mut differences = BTreeSet::new();
    let mut unexplained = Vec::new();
    let mut agreed = 0;
    for path in &paths {
        let bytes = fs::read(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        for ((field, value), (_, other)) in ours(&bytes).into_iter().zip(theirs(&bytes)) {
            if value == other {
                agreed += 1;
            } else if KNOWN.iter().any(|(known, fields, _)| *known == name && fields.contains(&field)) {
                differences.insert((name.to_owned(), field));
            } else {
                unexplained.push(format!("{name} {field}\n  ours   {value:?}\n  theirs {other:?}"));
            }
        }
    }
    assert!(unexplained.is_empty(), "{} differences:\n{}", unexplained.len(), unexplained.join("\n"));
    for (name, fields, reason) in KNOWN {
        for field in *fields {
            assert!(
                differences.contains(&((*name).to_owned(), *field)),
                "no difference in {field} of {name}: {reason}"
            );
        }
    }
    assert!(agreed > 9 * differences.len(), "{agreed} fields agree, {} differ", differences.len());
}

/// The message, the fields that differ, and the reason why ours is right or both are.
const KNOWN: &[(&str, &[&str], &str)] = &[
    ("addresses", &["to"], "the other parser loses a quoted local part, and the blank after a quoted word"),
    ("boundary-lookalikes", &["texts"], "`--bx` is no delimiter line of the boundary `b` (RFC 2046 §5.1.1)"),
    (
        "content-types",
        &["types"],
        "the type ends at a blank or a quote, so that it can be written in BODYSTRUCTURE",
    ),
    ("cut-in-part-header", &["types", "file names"], "a part that ends in its header is a part"),
    ("deep-messages", &["types", "file names", "texts"], "a part beyond the limit of levels is opaque"),
    ("deep-multiparts", &["types", "texts"], "a part beyond the limit of levels is opaque"),
    ("duplicate-fields", &["subject", "message-id", "types"], "the first of several fields counts"),
    (
        "empty-parts",
        &["types", "file names", "texts"],
        "a delimiter line that follows another one ends an empty part",
    ),
    (
        "enclosed-header-at-boundary",
        &["types", "file names", "texts"],
        "a part that ends in its header is a part",
    ),
    (
        "enclosed-base64",
        &["texts"],
        "IMAP sees the bytes of an enclosed message as they are (RFC 2046 §5.2.1)",
    ),
    (
        "enclosed-empty",
        &["types", "file names", "texts"],
        "an enclosed message without text has an empty part",
    ),
    ("folded-fields", &["subject"], "unfolding removes line ends and no blanks (RFC 5322 §2.2.3)"),
    ("header-only-cut", &["message-id"], "a field may end with the message"),
    ("latin1-header", &["cc"], "bytes that are not UTF-8 are read as ISO 8859-1 instead of being replaced"),
    ("long-header", &["subject"], "a field beyond its limit is cut"),
    (
        "missing-inner-end-boundary",
        &["types", "file names", "texts"],
        "the boundary of an outer multipart ends an inner one",
    ),
    ("multipart-without-boundary", &["types"], "a multipart without parts has an empty one in BODYSTRUCTURE"),
    (
        "multipart-without-parts",
        &["types", "texts"],
        "a multipart without parts has an empty one in BODYSTRUCTURE",
    ),
    ("nul-bytes", &["subject"], "IMAP can't express NUL in a header value"),
    (
        "odd-addresses",
        &["from", "to", "cc"],
        "a local part without a domain, and a source route, are no domain or name",
    ),
];

fn ours(bytes: &[u8]) -> Facts {
    let structure = Structure::parse(bytes);
    let envelope = &structure.envelope;
    let list = |list: &[mailmime::Address]| {
        let entries = list.iter().filter(|one| one.host.is_some()).map(|one| {
            let host = one.host.as_deref().filter(|host| !host.is_empty());
            let host = host.map(|host| format!("@{host}")).unwrap_or_default();
            let mailbox = one.mailbox.as_deref().unwrap_or_default();
            format!("{} <{mailbox}{host}>", one.decoded_name().unwrap_or_default())
        });
        entries.collect::<Vec<_>>().join(", ")
    };
    let mut leaves = Vec::new();
    our_leaves(&structure.root, bytes, &mut leaves);
    facts(
        envelope.decoded_subject(),
        envelope.message_id.as_deref().map(|id| id.trim_matches(['<', '>']).to_owned()),
        [&envelope.from, &envelope.to, &envelope.cc, &envelope.bcc].map(|one| list(one)),
        &leaves,
    )
}

/// A part that is not a multipart.
struct Leaf {
    media_type: String,
    file_name: String,
    /// The decoded text of a text part.
    text: String,
}

fn our_leaves(part: &Part, bytes: &[u8], leaves: &mut Vec<Leaf>) {
    if part.is_multipart() {
        return part.children.iter().for_each(|child| our_leaves(child, bytes, leaves));
    }
    let is_text = part.media_type == "text";
    leaves.push(Leaf {
        media_type: format!("{}/{}", part.media_type, part.media_subtype),
        file_name: part.file_name().unwrap_or_default(),
        text: if is_text { part.decode_text(part.body.slice(bytes)) } else { String::new() },
    });
    if let Some(message) = &part.message {
        our_leaves(&message.root, bytes, leaves);
    }
}

fn theirs(bytes: &[u8]) -> Facts {
    let message = MessageParser::default().parse(bytes).unwrap_or_default();
    let list = |name: HeaderName<'static>| {
        let lists = message.header_values(name).filter_map(HeaderValue::as_address);
        let entries = lists
            .flat_map(Address::iter)
            .map(|one| format!("{} <{}>", one.name().unwrap_or_default(), one.address().unwrap_or_default()));
        entries.collect::<Vec<_>>().join(", ")
    };
    let mut leaves = Vec::new();
    their_leaves(&message, 0, &mut leaves);
    facts(
        message.subject().map(str::to_owned),
        message.message_id().map(str::to_owned),
        [HeaderName::From, HeaderName::To, HeaderName::Cc, HeaderName::Bcc].map(list),
        &leaves,
    )
}

fn their_leaves(message: &Message<'_>, part: u32, leaves: &mut Vec<Leaf>) {
    let Some(part) = message.part(part) else { return };
    if let PartType::Multipart(children) = &part.body {
        return children.iter().for_each(|child| their_leaves(message, *child, leaves));
    }
    let full = part.content_type().and_then(|one| Some(format!("{}/{}", one.ctype(), one.subtype()?)));
    let default = if matches!(part.body, PartType::Message(_)) { "message/rfc822" } else { "text/plain" };
    leaves.push(Leaf {
        media_type: full.unwrap_or_else(|| default.to_owned()).to_ascii_lowercase(),
        file_name: part.attachment_name().unwrap_or_default().to_owned(),
        text: match &part.body {
            PartType::Text(text) | PartType::Html(text) => text.clone().into_owned(),
            _ => String::new(),
        },
    });
    if let PartType::Message(inner) = &part.body {
        their_leaves(inner, 0, leaves);
    }
}

fn facts(subject: Option<String>, message_id: Option<String>, lists: [String; 4], leaves: &[Leaf]) -> Facts {
    let [from, to, cc, bcc] = lists;
    let of = |field: fn(&Leaf) -> &str| leaves.iter().map(field).collect::<Vec<_>>().join(" | ");
    vec![
        ("subject", subject.unwrap_or_default()),
        ("message-id", message_id.unwrap_or_default()),
        ("from", from),
        ("to", to),
        ("cc", cc),
        ("bcc", bcc),
        ("types", of(|leaf| &leaf.media_type)),
        ("file names", of(|leaf| &leaf.file_name)),
        ("texts", of(|leaf| &leaf.text)),
    ]
}
