//! What a server sends, as JSON.

use proto_imap::parse;
use proto_imap::types::{
    Address, BodyStructure, Code, Content, DateTime, Envelope, Extension, FetchItem, IString, ListedMailbox,
    Mailbox, MailboxStatus, NameEncoding, Numbers, NumbersAre, Parameters, Response, SearchResult, Status,
    StatusItem, Untagged, Vanished,
};
use serde_json::{Map, Value, json};

use super::super::{text, unparsed};
use super::{context, repairs, split_message, with_repairs};

/// Reads response after response.
pub(in super::super) fn responses(mut input: &[u8], strict: bool, show: &mut impl FnMut(Value)) {
    let cx = context(strict);
    while !input.is_empty() {
        let (frame, rest) = split_message(input, |line| !is_text(line));
        input = rest;
        cx.repairs.begin();
        let event = match parse::response(frame, &cx) {
            Response::Unparsed(bad) => unparsed(bad.at, bad.why, bad.raw),
            Response::Continue(request) => json!({
                "event": "continue",
                "code": request.code.as_ref().map(code),
                "text": request.text.to_str_lossy(),
            }),
            Response::Tagged { tag, status } => status_event(&status, Some(tag.as_str())),
            Response::Untagged(untagged) => describe(&untagged),
            other => json!({ "event": "other", "raw": format!("{other:?}") }),
        };
        show(with_repairs(event, repairs(&cx)));
    }
}

/// A status is text up to its line's end: a brace there announces nothing.
fn is_text(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"*") else { return true };
    let word = rest.trim_ascii_start().split(|octet| octet.is_ascii_whitespace()).next().unwrap_or_default();
    [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|status| word.eq_ignore_ascii_case(status))
}

fn status_event(status: &Status<'_>, tag: Option<&str>) -> Value {
    json!({
        "event": status.condition.as_str().to_ascii_lowercase(),
        "tag": tag,
        "code": status.code.as_ref().map(code),
        "text": status.text.to_str_lossy(),
    })
}

fn describe(untagged: &Untagged<'_>) -> Value {
    match untagged {
        Untagged::Status(status) => status_event(status, None),
        Untagged::Capability(list) => json!({ "event": "capability", "capabilities": strings(list.iter()) }),
        Untagged::Enabled(list) => json!({ "event": "enabled", "capabilities": strings(list.iter()) }),
        Untagged::Id(fields) => {
            let fields: Map<String, Value> =
                fields.iter().map(|field| (string(&field.name), optional(field.value.as_ref()))).collect();
            json!({ "event": "id", "fields": fields })
        }
        Untagged::Namespace(namespaces) => {
            let list = |list: &proto_imap::types::List<'_, proto_imap::types::Namespace<'_>>| {
                list.iter()
                    .map(|one| json!({ "prefix": mailbox(&one.prefix), "delimiter": one.delimiter }))
                    .collect::<Vec<_>>()
            };
            json!({
                "event": "namespace",
                "personal": list(&namespaces.personal),
                "other_users": list(&namespaces.other_users),
                "shared": list(&namespaces.shared),
            })
        }
        Untagged::List(listed) => list_event("list", listed),
        Untagged::Lsub(listed) => list_event("lsub", listed),
        Untagged::Xlist(listed) => list_event("xlist", listed),
        Untagged::MailboxStatus(status) => status_of(status),
        Untagged::Flags(flags) => json!({ "event": "flags", "flags": strings(flags.iter()) }),
        Untagged::Search(search) => json!({
            "event": "search", "numbers": numbers(&search.numbers), "modseq": search.mod_sequence,
        }),
        Untagged::Sort(search) => json!({
            "event": "sort", "numbers": numbers(&search.numbers), "modseq": search.mod_sequence,
        }),
        Untagged::Esearch(found) => {
            let results: Map<String, Value> =
                found.results.iter().map(|result| search_result(&result)).collect();
            json!({
                "event": "esearch",
                "tag": found.tag.as_ref().map(string),
                "uid": found.numbers_are == NumbersAre::Uids,
                "results": results,
            })
        }
        Untagged::Exists(count) => json!({ "event": "exists", "count": count }),
        Untagged::Recent(count) => json!({ "event": "recent", "count": count }),
        Untagged::Expunge(sequence) => json!({ "event": "expunge", "sequence": sequence }),
        Untagged::Vanished { when, uids } => json!({
            "event": "vanished", "earlier": *when == Vanished::Earlier, "uids": ranges(uids),
        }),
        Untagged::Fetch(fetch) => {
            let items: Map<String, Value> = fetch.items.iter().map(|item| fetch_item(&item)).collect();
            json!({ "event": "fetch", "sequence": fetch.sequence, "items": items })
        }
        Untagged::Quota(quota) => {
            let resources: Vec<_> = quota
                .resources
                .iter()
                .map(|one| json!({ "name": string(&one.name), "usage": one.usage, "limit": one.limit }))
                .collect();
            json!({ "event": "quota", "root": string(&quota.root), "resources": resources })
        }
        Untagged::QuotaRoot(quota) => json!({
            "event": "quotaroot",
            "mailbox": mailbox(&quota.mailbox),
            "roots": quota.roots.iter().map(|root| string(&root)).collect::<Vec<_>>(),
        }),
        Untagged::Other { name, rest } => {
            json!({ "event": "other", "name": string(name), "rest": string(rest) })
        }
        other => json!({ "event": "other", "raw": format!("{other:?}") }),
    }
}

fn list_event(event: &str, listed: &ListedMailbox<'_>) -> Value {
    json!({
        "event": event,
        "attributes": listed.attributes.iter().map(|one| format!("\\{}", text(one.name()))).collect::<Vec<_>>(),
        "delimiter": listed.delimiter,
        "mailbox": mailbox(&listed.mailbox),
    })
}

fn status_of(status: &MailboxStatus<'_>) -> Value {
    let items: Map<String, Value> = status.items.iter().map(|item| status_item(&item)).collect();
    json!({ "event": "status", "mailbox": mailbox(&status.mailbox), "items": items })
}

fn status_item(item: &StatusItem<'_>) -> (String, Value) {
    let name = |name: &str| name.to_owned();
    match item {
        StatusItem::Messages(value) => (name("messages"), json!(value)),
        StatusItem::Recent(value) => (name("recent"), json!(value)),
        StatusItem::UidNext(value) => (name("uidnext"), json!(value)),
        StatusItem::UidValidity(value) => (name("uidvalidity"), json!(value)),
        StatusItem::Unseen(value) => (name("unseen"), json!(value)),
        StatusItem::Deleted(value) => (name("deleted"), json!(value)),
        StatusItem::Size(value) => (name("size"), json!(value)),
        StatusItem::HighestModSeq(value) => (name("highestmodseq"), json!(value)),
        StatusItem::Other { name, value } => (string(name).to_ascii_lowercase(), json!(string(value))),
        other => (format!("{other:?}"), Value::Null),
    }
}

fn search_result(result: &SearchResult<'_>) -> (String, Value) {
    let (name, value) = match result {
        SearchResult::Min(value) => ("min", json!(value)),
        SearchResult::Max(value) => ("max", json!(value)),
        SearchResult::Count(value) => ("count", json!(value)),
        SearchResult::ModSeq(value) => ("modseq", json!(value)),
        SearchResult::All(found) => ("all", json!(ranges(found))),
        SearchResult::Partial { numbers, .. } => ("partial", json!(ranges(numbers))),
        SearchResult::Other { name, value } => {
            return (string(name).to_ascii_lowercase(), json!(string(value)));
        }
        other => ("other", json!(format!("{other:?}"))),
    };
    (name.to_owned(), value)
}

fn fetch_item(item: &FetchItem<'_>) -> (String, Value) {
    let (name, value) = match item {
        FetchItem::Flags(flags) => ("flags", json!(strings(flags.iter()))),
        FetchItem::Uid(uid) => ("uid", json!(uid)),
        FetchItem::Size(size) => ("rfc822.size", json!(size)),
        FetchItem::InternalDate { date: known, raw } => {
            ("internaldate", known.as_ref().map_or_else(|| json!(string(raw)), date))
        }
        FetchItem::Envelope(value) => ("envelope", envelope(value)),
        FetchItem::Body(structure) => ("body", body(structure)),
        FetchItem::BodyStructure(structure) => ("bodystructure", body(structure)),
        FetchItem::ModSeq(value) => ("modseq", json!(value)),
        FetchItem::EmailId(value) => ("emailid", json!(string(value))),
        FetchItem::ThreadId(value) => ("threadid", optional(value.as_ref())),
        FetchItem::Preview(value) => ("preview", optional(value.as_ref())),
        FetchItem::SaveDate(value) => ("savedate", value.as_ref().map_or(Value::Null, date)),
        FetchItem::GmailMessageId(value) => ("x-gm-msgid", json!(value)),
        FetchItem::GmailThreadId(value) => ("x-gm-thrid", json!(value)),
        FetchItem::GmailLabels(labels) => {
            ("x-gm-labels", json!(labels.iter().map(|label| string(&label)).collect::<Vec<_>>()))
        }
        FetchItem::Section { section, origin, value } => {
            return (section_name(&format!("{section:?}"), *origin), optional(value.as_ref()));
        }
        FetchItem::SectionLiteral { section, origin, size } => {
            return (section_name(&format!("{section:?}"), *origin), json!({ "octets": size }));
        }
        FetchItem::BinarySize { section, size } => {
            return (format!("{section:?}.size").to_lowercase(), json!(size));
        }
        FetchItem::Other { name, value } => return (string(name).to_lowercase(), json!(string(value))),
        FetchItem::Unparsed { name, unparsed: bad } => {
            return (string(name).to_lowercase(), unparsed(bad.at, bad.why, bad.raw));
        }
        other => ("other", json!(format!("{other:?}"))),
    };
    (name.to_owned(), value)
}

fn section_name(section: &str, origin: Option<u64>) -> String {
    let section = section.to_lowercase();
    origin.map_or(section.clone(), |origin| format!("{section}<{origin}>"))
}

fn date(date: &DateTime) -> Value {
    json!({ "timestamp": date.timestamp(), "zone": date.zone() })
}

fn envelope(envelope: &Envelope<'_>) -> Value {
    let addresses =
        |list: &proto_imap::types::AddressList<'_>| list.iter().map(|one| address(&one)).collect::<Vec<_>>();
    json!({
        "date": optional(envelope.date.as_ref()),
        "subject": optional(envelope.subject.as_ref()),
        "from": addresses(&envelope.from),
        "sender": addresses(&envelope.sender),
        "reply_to": addresses(&envelope.reply_to),
        "to": addresses(&envelope.to),
        "cc": addresses(&envelope.cc),
        "bcc": addresses(&envelope.bcc),
        "in_reply_to": optional(envelope.in_reply_to.as_ref()),
        "message_id": optional(envelope.message_id.as_ref()),
    })
}

fn address(address: &Address<'_>) -> Value {
    json!({
        "name": optional(address.name.as_ref()),
        "adl": optional(address.adl.as_ref()),
        "mailbox": optional(address.mailbox.as_ref()),
        "host": optional(address.host.as_ref()),
    })
}

fn body(structure: &BodyStructure<'_>) -> Value {
    match structure {
        BodyStructure::Multipart(multipart) => json!({
            "type": "multipart",
            "subtype": string(&multipart.subtype),
            "parameters": parameters(&multipart.parameters),
            "parts": multipart.parts.iter().map(|part| body(&part)).collect::<Vec<_>>(),
            "extension": extension(&multipart.extension),
        }),
        BodyStructure::Part(part) => {
            let content = match &part.content {
                Content::Basic => Value::Null,
                Content::Text { lines } => json!({ "lines": lines }),
                Content::Message { envelope: inner, body: nested, lines } => json!({
                    "lines": lines,
                    "envelope": inner.view().as_ref().map(envelope),
                    "body": nested.view().as_ref().map(body),
                }),
            };
            json!({
                "type": string(&part.media_type),
                "subtype": string(&part.subtype),
                "parameters": parameters(&part.parameters),
                "id": optional(part.id.as_ref()),
                "description": optional(part.description.as_ref()),
                "encoding": string(&part.encoding),
                "octets": part.octets,
                "content": content,
                "md5": optional(part.md5.as_ref()),
                "extension": extension(&part.extension),
            })
        }
    }
}

fn extension(extension: &Extension<'_>) -> Value {
    json!({
        "disposition": extension.disposition.as_ref().map(|disposition| {
            json!({ "kind": string(&disposition.kind), "parameters": parameters(&disposition.parameters) })
        }),
        "language": extension.language.iter().map(|language| string(&language)).collect::<Vec<_>>(),
        "location": optional(extension.location.as_ref()),
    })
}

fn parameters(parameters: &Parameters<'_>) -> Map<String, Value> {
    parameters.iter().map(|parameter| (string(&parameter.name), json!(string(&parameter.value)))).collect()
}

fn code(code: &Code<'_>) -> Value {
    match code {
        Code::Plain(plain) => json!({ "name": plain.as_str() }),
        Code::AppendUid { uid_validity, uids } => {
            json!({ "name": "APPENDUID", "uidvalidity": uid_validity, "uids": ranges(uids) })
        }
        Code::BadCharset(charsets) => {
            json!({ "name": "BADCHARSET", "charsets": charsets.iter().map(|one| string(&one)).collect::<Vec<_>>() })
        }
        Code::Capability(list) => json!({ "name": "CAPABILITY", "capabilities": strings(list.iter()) }),
        Code::CopyUid { uid_validity, source, target } => json!({
            "name": "COPYUID", "uidvalidity": uid_validity, "source": ranges(source), "target": ranges(target),
        }),
        Code::HighestModSeq(value) => json!({ "name": "HIGHESTMODSEQ", "value": value }),
        Code::MailboxId(id) => json!({ "name": "MAILBOXID", "value": string(id) }),
        Code::MetadataLongEntries(value) => json!({ "name": "METADATA LONGENTRIES", "value": value }),
        Code::MetadataMaxSize(value) => json!({ "name": "METADATA MAXSIZE", "value": value }),
        Code::Modified(set) => json!({ "name": "MODIFIED", "set": ranges(set) }),
        Code::PermanentFlags(flags) => json!({ "name": "PERMANENTFLAGS", "flags": strings(flags.iter()) }),
        Code::Referral(url) => json!({ "name": "REFERRAL", "value": string(url) }),
        Code::UidNext(value) => {
            json!({ "name": "UIDNEXT", "value": value.map_or(0, std::num::NonZero::get) })
        }
        Code::UidValidity(value) => json!({ "name": "UIDVALIDITY", "value": value }),
        Code::Unseen(value) => json!({ "name": "UNSEEN", "value": value.map_or(0, std::num::NonZero::get) }),
        Code::BadUrl(url) => json!({ "name": "BADURL", "value": string(url) }),
        Code::Other { name, argument } => {
            json!({ "name": string(name), "value": optional(argument.as_ref()) })
        }
        other => json!({ "name": format!("{other:?}") }),
    }
}

fn string(value: &IString<'_>) -> String {
    value.to_str_lossy().into_owned()
}

fn optional(value: Option<&IString<'_>>) -> Value {
    value.map_or(Value::Null, |value| json!(string(value)))
}

fn mailbox(name: &IString<'_>) -> String {
    Mailbox::from_octets(&name.as_bytes()).to_str_lossy(NameEncoding::ModifiedUtf7).into_owned()
}

fn strings<T: std::fmt::Display>(values: impl Iterator<Item = T>) -> Vec<String> {
    values.map(|value| value.to_string()).collect()
}

/// Ranges as they stand: a set of four thousand million numbers is one of them.
fn ranges(numbers: &Numbers<'_>) -> Vec<Value> {
    numbers.ranges().map(|range| json!([range.first(), range.last()])).collect()
}

/// The numbers of a search, which come one by one.
fn numbers(numbers: &Numbers<'_>) -> Vec<u32> {
    numbers.iter().take(10_000_000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8], strict: bool) -> Vec<Value> {
        let mut events = Vec::new();
        responses(input, strict, &mut |event| events.push(event));
        events
    }

    #[test]
    fn a_bad_response_costs_only_itself() {
        let events =
            decoded(b"* 1 EXISTS\r\n* LIST (\r\n* SEARCH 1 2 3\r\na1 OK [READ-WRITE] done\r\n", true);
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["exists", "unparsed", "search", "ok"]);
        assert_eq!(events[3]["code"]["name"], "READ-WRITE");
    }

    #[test]
    fn repairs_are_named() {
        let events = decoded(b"* SEARCH 7456 \r\n", false);
        assert_eq!(events[0]["numbers"], json!([7456]));
        assert_eq!(events[0]["repairs"].as_array().map(Vec::len), Some(1));
        assert_eq!(decoded(b"* SEARCH 7456 \r\n", true)[0]["event"], "unparsed");
    }

    #[test]
    fn a_literal_belongs_to_its_response() {
        let events = decoded(b"* 1 FETCH (UID 9 BODY[] {5}\r\n* BYE FLAGS ())\r\n* 2 EXISTS\r\n", false);
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(events[0]["items"]["uid"], 9);
    }
}
