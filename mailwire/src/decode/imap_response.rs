//! IMAP responses as JSON events.

use proto_imap::parse;
use proto_imap::types::{
    Address, AnnotationAttribute, AnnotationEntries, AnnotationEntry, BodyExtension, BodyStructure,
    ContextChange, DateTime, Envelope, FetchItem, LazyList, ListResponse, MailboxStatus, MetadataEntries,
    NumberKind, Parameters, PartContent, Response, SearchReturnData, Section, SectionItem, StatusItem,
    StatusResponse, ThreadMessage, Untagged, VanishedWhen,
};
use serde_json::{Map, Value, json};

use super::arguments::Strictness;
use super::imap_frame::{Quotes, context, repairs, split_message, with_repairs};
use super::imap_response_code::code;
use super::imap_values::{mailbox, numbers, optional, ranges, string, strings};
use super::lines::{text, unparsed};

/// Decodes responses.
pub(super) fn responses(mut input: &[u8], strictness: Strictness, show: &mut impl FnMut(Value)) {
    let cx = context(strictness);
    while !input.is_empty() {
        let (frame, rest) = split_message(input, |line| !is_text(line), Quotes::Span);
        input = rest;
        cx.repairs.begin();
        let event = match parse::response(frame, &cx) {
            Response::Unparsed(bad) => unparsed(bad.offset, bad.expected, bad.raw),
            Response::Continue(request) => json!({
                "event": "continue",
                "code": request.code.as_ref().map(code),
                "text": request.text.to_str_lossy(),
            }),
            Response::Tagged { tag, status } => status_event(&status, Some(tag.as_str())),
            Response::Untagged(untagged) => describe(&untagged),
            _ => json!({ "event": "other", "raw": text(frame) }),
        };
        show(with_repairs(event, repairs(&cx)));
    }
}

/// Returns whether the line is a status response. Its text runs to the end of the line, so a brace in it announces no
/// literal.
fn is_text(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"*") else { return true };
    let word = rest.trim_ascii_start().split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|status| word.eq_ignore_ascii_case(status))
}

fn status_event(status: &StatusResponse<'_>, tag: Option<&str>) -> Value {
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
            let list = |list: &proto_imap::types::LazyList<'_, proto_imap::types::Namespace<'_>>| {
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
        Untagged::Thread(found) => {
            let message = |one: ThreadMessage| json!({ "number": one.number, "depth": one.depth, "parent": one.parent });
            json!({ "event": "thread", "messages": found.threads.messages().map(message).collect::<Vec<_>>() })
        }
        Untagged::Esearch(found) => {
            let results: Map<String, Value> =
                found.results.iter().map(|result| search_result(&result)).collect();
            json!({
                "event": "esearch",
                "tag": found.tag.as_ref().map(string),
                "mailbox": found.mailbox.as_ref().map(mailbox),
                "uidvalidity": found.uid_validity,
                "uid": found.number_kind == NumberKind::Uids,
                "results": results,
            })
        }
        Untagged::UidBatches(found) => json!({
            "event": "uidbatches", "tag": string(&found.tag), "uids": ranges(&found.batches),
        }),
        Untagged::Exists(count) => json!({ "event": "exists", "count": count }),
        Untagged::Recent(count) => json!({ "event": "recent", "count": count }),
        Untagged::Expunge(sequence) => json!({ "event": "expunge", "sequence": sequence }),
        Untagged::Vanished { when, uids } => json!({
            "event": "vanished", "earlier": *when == VanishedWhen::Earlier, "uids": ranges(uids),
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
        Untagged::UidFetch { uid, items } => {
            let items: Map<String, Value> = items.iter().map(|item| fetch_item(&item)).collect();
            json!({ "event": "uidfetch", "uid": uid, "items": items })
        }
        Untagged::Metadata(metadata) => json!({
            "event": "metadata",
            "mailbox": mailbox(&metadata.mailbox),
            "entries": metadata_entries(&metadata.entries),
        }),
        Untagged::Acl(acl) => {
            let entries: Vec<_> = acl
                .entries
                .iter()
                .map(|one| json!({ "identifier": string(&one.identifier), "rights": string(&one.rights.as_string()) }))
                .collect();
            json!({ "event": "acl", "mailbox": mailbox(&acl.mailbox), "entries": entries })
        }
        Untagged::ListRights(listed) => json!({
            "event": "listrights",
            "mailbox": mailbox(&listed.mailbox),
            "identifier": string(&listed.identifier),
            "required": string(&listed.required.as_string()),
            "optional": listed.optional.iter().map(|one| string(&one.as_string())).collect::<Vec<_>>(),
        }),
        Untagged::MyRights(mine) => json!({
            "event": "myrights", "mailbox": mailbox(&mine.mailbox), "rights": string(&mine.rights.as_string()),
        }),
        Untagged::Language(tags) => {
            json!({ "event": "language", "languages": tags.iter().map(|tag| string(&tag)).collect::<Vec<_>>() })
        }
        Untagged::Comparator(found) => json!({
            "event": "comparator",
            "active": string(&found.active),
            "matching": found.matching.iter().map(|one| string(&one)).collect::<Vec<_>>(),
        }),
        Untagged::JmapAccess(url) => json!({ "event": "jmapaccess", "url": string(url) }),
        Untagged::Other { name, rest } => {
            json!({ "event": "other", "name": string(name), "rest": string(rest) })
        }
        _ => json!({ "event": "other" }),
    }
}

fn metadata_entries(entries: &MetadataEntries<'_>) -> Value {
    match entries {
        MetadataEntries::Values(values) => values
            .iter()
            .map(|entry| json!({ "name": string(&entry.name), "value": optional(entry.value.as_ref()) }))
            .collect(),
        MetadataEntries::Changed(names) => {
            names.iter().map(|name| json!({ "name": string(&name) })).collect()
        }
        _ => Value::Null,
    }
}

fn list_event(event: &str, listed: &ListResponse<'_>) -> Value {
    json!({
        "event": event,
        "attributes": listed.attributes.iter().map(|one| format!("\\{}", text(one.name()))).collect::<Vec<_>>(),
        "delimiter": listed.delimiter,
        "mailbox": mailbox(&listed.mailbox),
        "extended": listed.extended.iter().map(|item| (string(&item.name), json!(string(&item.value)))).collect::<Map<_, _>>(),
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
        StatusItem::AppendLimit(value) => (name("appendlimit"), json!(value)),
        StatusItem::DeletedStorage(value) => (name("deleted-storage"), json!(value)),
        StatusItem::MailboxId(value) => (name("mailboxid"), json!(string(value))),
        _ => (name("other"), Value::Null),
    }
}

fn search_result(result: &SearchReturnData<'_>) -> (String, Value) {
    let (name, value) = match result {
        SearchReturnData::Min(value) => ("min", json!(value)),
        SearchReturnData::Max(value) => ("max", json!(value)),
        SearchReturnData::Count(value) => ("count", json!(value)),
        SearchReturnData::ModSeq(value) => ("modseq", json!(value)),
        SearchReturnData::All(found) => ("all", json!(ranges(found))),
        SearchReturnData::Partial { numbers, .. } => ("partial", json!(ranges(numbers))),
        SearchReturnData::AddTo(changes) => ("addto", context_changes(changes)),
        SearchReturnData::RemoveFrom(changes) => ("removefrom", context_changes(changes)),
        SearchReturnData::Relevancy(scores) => {
            ("relevancy", json!(scores.iter().map(|score| score.value()).collect::<Vec<_>>()))
        }
        SearchReturnData::Other { name, value } => {
            return (string(name).to_ascii_lowercase(), json!(string(value)));
        }
        _ => ("other", Value::Null),
    };
    (name.to_owned(), value)
}

fn context_changes(changes: &LazyList<'_, ContextChange<'_>>) -> Value {
    let change =
        |one: ContextChange<'_>| json!({ "position": one.position, "numbers": ranges(&one.numbers) });
    json!(changes.iter().map(change).collect::<Vec<_>>())
}

fn fetch_item(item: &FetchItem<'_>) -> (String, Value) {
    let (name, value) = match item {
        FetchItem::Flags(flags) => ("flags", json!(strings(flags.iter()))),
        FetchItem::Uid(uid) => ("uid", json!(uid)),
        FetchItem::Size(size) => ("rfc822.size", json!(size)),
        FetchItem::InternalDate { date: known, raw } => {
            ("internaldate", known.as_ref().map_or_else(|| json!(string(raw)), date))
        }
        FetchItem::Envelope(value) => {
            ("envelope", value.view().map_or(Value::Null, |value| envelope(&value)))
        }
        FetchItem::Body(structure) => {
            ("body", structure.view().map_or(Value::Null, |structure| body(&structure)))
        }
        FetchItem::BodyStructure(structure) => {
            ("bodystructure", structure.view().map_or(Value::Null, |structure| body(&structure)))
        }
        FetchItem::ModSeq(value) => ("modseq", json!(value)),
        FetchItem::EmailId(value) => ("emailid", json!(string(value))),
        FetchItem::ThreadId(value) => ("threadid", optional(value.as_ref())),
        FetchItem::Preview(value) => ("preview", optional(value.as_ref())),
        FetchItem::SaveDate(value) => ("savedate", value.as_ref().map_or(Value::Null, date)),
        FetchItem::Annotation(entries) => ("annotation", annotations(entries)),
        FetchItem::GmailMessageId(value) => ("x-gm-msgid", json!(value)),
        FetchItem::GmailThreadId(value) => ("x-gm-thrid", json!(value)),
        FetchItem::GmailLabels(labels) => {
            ("x-gm-labels", json!(labels.iter().map(|label| string(&label)).collect::<Vec<_>>()))
        }
        FetchItem::Section { section, origin, value } => {
            return (section_name(section, *origin), optional(value.as_ref()));
        }
        FetchItem::SectionLiteral { section, origin, size } => {
            return (section_name(section, *origin), json!({ "octets": size }));
        }
        FetchItem::BinarySize { section, size } => {
            return (format!("binary.size[{}]", text(section.spec()).to_lowercase()), json!(size));
        }
        FetchItem::Other { name, value } => return (string(name).to_lowercase(), json!(string(value))),
        FetchItem::Unparsed { name, unparsed: bad } => {
            return (string(name).to_lowercase(), unparsed(bad.offset, bad.expected, bad.raw));
        }
        _ => ("other", Value::Null),
    };
    (name.to_owned(), value)
}

fn annotations(entries: &AnnotationEntries<'_>) -> Value {
    match entries {
        AnnotationEntries::Values(entries) => {
            let attributes = |entry: AnnotationEntry<'_>| -> Vec<_> {
                let attribute = |one: AnnotationAttribute<'_>| json!({ "name": string(&one.name), "value": optional(one.value.as_ref()) });
                entry.attributes.iter().map(attribute).collect()
            };
            let entry = |one: AnnotationEntry<'_>| json!({ "entry": string(&one.name), "attributes": attributes(one) });
            json!(entries.iter().map(entry).collect::<Vec<_>>())
        }
        AnnotationEntries::Changed(names) => {
            json!({ "changed": names.iter().map(|name| string(&name)).collect::<Vec<_>>() })
        }
        _ => Value::Null,
    }
}

/// Formats a section as in a FETCH response, in lower case.
fn section_name(section: &Section<'_>, origin: Option<u64>) -> String {
    let spec = text(section.spec()).to_lowercase();
    let section = match section.item() {
        SectionItem::Body => format!("body[{spec}]"),
        SectionItem::Binary => format!("binary[{spec}]"),
        SectionItem::Rfc822 => "rfc822".to_owned(),
        SectionItem::Rfc822Header => "rfc822.header".to_owned(),
        SectionItem::Rfc822Text => "rfc822.text".to_owned(),
    };
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
                PartContent::Basic => Value::Null,
                PartContent::Text { lines } => json!({ "lines": lines }),
                PartContent::Message { envelope: inner, body: nested, lines } => json!({
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
                "octets": part.size,
                "content": content,
                "md5": optional(part.md5.as_ref()),
                "extension": extension(&part.extension),
            })
        }
    }
}

fn extension(extension: &BodyExtension<'_>) -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8], strictness: Strictness) -> Vec<Value> {
        let mut events = Vec::new();
        responses(input, strictness, &mut |event| events.push(event));
        events
    }

    #[test]
    fn continues_after_a_bad_response() {
        let events = decoded(
            b"* 1 EXISTS\r\n* LIST (\r\n* SEARCH 1 2 3\r\na1 OK [READ-WRITE] done\r\n",
            Strictness::Strict,
        );
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["exists", "unparsed", "search", "ok"]);
        assert_eq!(events[3]["code"]["name"], "READ-WRITE");
    }

    /// One response of each kind, with every item, result and code.
    const EVERY_KIND: &str = concat!(
        "* OK [ALERT] a\r\n* OK [APPENDUID 1 2:3] a\r\n* NO [BADCHARSET (UTF-8)] a\r\n* OK [CAPABILITY IMAP4rev2] a\r\n",
        "* OK [COPYUID 1 2 3] a\r\n* OK [HIGHESTMODSEQ 7] a\r\n* OK [MAILBOXID (M1)] a\r\n",
        "* OK [METADATA LONGENTRIES 9] a\r\n* NO [METADATA MAXSIZE 9] a\r\n* OK [MODIFIED 7] a\r\n",
        "* OK [PERMANENTFLAGS (\\Seen \\*)] a\r\n* OK [REFERRAL imap://h/] a\r\n* OK [UIDNEXT 7] a\r\n",
        "* NO [ANNOTATE TOOMANY] a\r\n* OK [ANNOTATIONS READ-ONLY] a\r\n* NO [METADATA TOOMANY] a\r\n* NO [BADEVENT (FlagChange)] a\r\n* OK [INPROGRESS (\"t\" 1 2)] a\r\n",
        "* OK [MESSAGELIMIT 9 7] a\r\n* METADATA a (/shared/c NIL)\r\n* METADATA a /shared/c\r\n* ACL a b lr\r\n",
        "* LISTRIGHTS a b l r\r\n* MYRIGHTS a lr\r\n* LANGUAGE (DE)\r\n* COMPARATOR i;basic (x)\r\n",
        "* JMAPACCESS \"u\"\r\n* 7 UIDFETCH (UID 7)\r\n",
        "* OK [UIDVALIDITY 7] a\r\n* OK [UNSEEN 7] a\r\n* NO [BADURL u] a\r\n* NO [X-NEW b] a\r\n",
        "* CAPABILITY IMAP4rev2\r\n* ENABLED CONDSTORE\r\n* ID (\"name\" \"x\" \"os\" NIL)\r\n",
        "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n",
        "* LIST (\\Sent) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n* LSUB () NIL a\r\n* XLIST (\\Inbox) \"/\" a\r\n",
        "* STATUS a (MESSAGES 1 RECENT 2 UIDNEXT 3 UIDVALIDITY 4 UNSEEN 5 DELETED 6 SIZE 7 HIGHESTMODSEQ 8 ",
        "APPENDLIMIT 9 DELETED-STORAGE 10 MAILBOXID (M1) X-NEW 11)\r\n* STATUS b (APPENDLIMIT NIL)\r\n",
        "* FLAGS (\\Seen a)\r\n* SEARCH 1 2 (MODSEQ 3)\r\n* SORT 2 1\r\n* THREAD (1 2)\r\n",
        "* ESEARCH (TAG \"t\" MAILBOX \"INBOX\" UIDVALIDITY 1) UID MIN 1 MAX 3 COUNT 2 ALL 1:3 MODSEQ 4 ",
        "PARTIAL (1:2 1:3) ADDTO (1 2) REMOVEFROM (0 3) RELEVANCY (4 99) X-NEW 1\r\n",
        "* NO [NOUPDATE \"t\"] a\r\n* NO [UNDEFINED-FILTER f] a\r\n",
        "* 1 EXISTS\r\n* 1 RECENT\r\n* 1 EXPUNGE\r\n* VANISHED (EARLIER) 1:3\r\n",
        "* QUOTA \"\" (STORAGE 1 2)\r\n* QUOTAROOT a \"\"\r\n* X-NEW a\r\n+ go on\r\na1 OK [READ-WRITE] b\r\n",
        "* 1 FETCH (UID 1 FLAGS (\\Seen) RFC822.SIZE 2 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" ",
        "ENVELOPE (NIL \"s\" ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL NIL NIL) MODSEQ (3) EMAILID (M1) THREADID NIL ",
        "PREVIEW \"p\" SAVEDATE NIL ANNOTATION (/comment (value.priv NIL)) X-GM-MSGID 1 X-GM-THRID 2 X-GM-LABELS (a) BODY[HEADER] \"h\" BODY[1.MIME]<0> \"m\" ",
        "BINARY[1] \"b\" BINARY.SIZE[1] 5 RFC822 \"r\" RFC822.HEADER \"r\" RFC822.TEXT \"r\" X-NEW (1 2) UID x ",
        "BODY (\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1) BODYSTRUCTURE ((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 9 ",
        "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1) 3) \"mixed\"))\r\n",
    );

    /// Collects the keys of an object at any depth.
    fn keys(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                into.push(key.clone());
                keys(value, into);
            }),
            Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
            _ => {}
        }
    }

    #[test]
    fn json_keys_are_field_names() {
        let events = decoded(EVERY_KIND.as_bytes(), Strictness::Tolerant);
        assert_eq!(events.len(), EVERY_KIND.matches("\r\n").count(), "each line is an event");
        for event in &events {
            assert_ne!(event["event"], "unparsed", "{event}");
            let mut names = Vec::new();
            keys(event, &mut names);
            let is_name = |name: &String| {
                name.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.[]<>".contains(&byte)
                })
            };
            // Names of extended items and of the server's own items are kept unchanged.
            let given = ["CHILDINFO"];
            let wrong: Vec<_> =
                names.iter().filter(|name| !is_name(name) && !given.contains(&name.as_str())).collect();
            assert!(wrong.is_empty(), "{wrong:?} in {event}");
            for debug in ["Some(", "None", "Ok(", " { "] {
                assert!(!event.to_string().contains(debug), "{debug:?} in {event}");
            }
        }
        let status = events.iter().find(|event| event["event"] == "status").unwrap();
        for name in ["messages", "highestmodseq", "appendlimit", "deleted-storage", "mailboxid", "x-new"] {
            assert!(!status["items"][name].is_null(), "{name} in {status}");
        }
        let esearch = events.iter().find(|event| event["event"] == "esearch").unwrap();
        assert_eq!((&esearch["mailbox"], &esearch["uidvalidity"]), (&json!("INBOX"), &json!(1)));
        assert_eq!(esearch["results"]["all"], json!([[1, 3]]));
    }

    #[test]
    fn bare_lf_in_quotes_does_not_end_a_response() {
        let input = b"* 825 FETCH (UID 7 BODYSTRUCTURE (\"APPLICATION\" \"PDF\n    NAME=\"ATT1.PDF\"\" NIL NIL NIL \"base64\" 25))\r\n\
            * 2 EXISTS\r\n";
        let events = decoded(input, Strictness::Tolerant);
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(events[0]["items"]["bodystructure"]["subtype"], "PDF\n    NAME=\"ATT1.PDF\"");
        assert_eq!(decoded(input, Strictness::Strict)[0]["event"], "unparsed");
        // If every line ends with a bare LF, an open quote does not join two lines.
        let events = decoded(b"* LIST () \"\\\" a\n* LIST () \"/\" b\n* 1 EXISTS\n", Strictness::Tolerant);
        assert_eq!(events.len(), 3, "{events:?}");
    }

    #[test]
    fn parts_of_a_broken_response_are_not_events() {
        let input = b"* 1 FETCH (UID 1\r\n)\r\n\r\n FLAGS ())\r\nENVELOPE NIL)\r\n* )\r\n* 1 EXISTS\r\n";
        let events = decoded(input, Strictness::Tolerant);
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names[1..6], ["unparsed"; 5], "{events:?}");
        assert_eq!(names[6], "exists");
    }

    #[test]
    fn names_the_repairs() {
        let events = decoded(b"* SEARCH 7456 \r\n", Strictness::Tolerant);
        assert_eq!(events[0]["numbers"], json!([7456]));
        assert_eq!(events[0]["repairs"].as_array().map(Vec::len), Some(1));
        assert_eq!(decoded(b"* SEARCH 7456 \r\n", Strictness::Strict)[0]["event"], "unparsed");
    }

    #[test]
    fn a_response_includes_its_literal() {
        let events = decoded(
            b"* 1 FETCH (UID 9 BODY[] {5}\r\n* BYE FLAGS ())\r\n* 2 EXISTS\r\n",
            Strictness::Tolerant,
        );
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(events[0]["items"]["uid"], 9);
    }
}
