//! IMAP commands as JSON events.

use proto_imap::encode::{self, CommandBuffer, LiteralMode, Options};
use proto_imap::parse;
use proto_imap::parse::Authentication;
use proto_imap::types::{
    Command, CommandName, FetchAttribute, LazyList, RawCommand, SearchKey, SequenceSet, Tag,
};
use proto_imap::types::{FetchCommand, ListCommand, ListReturn, SearchCommand, StoreAction};
use serde_json::{Value, json};

use super::arguments::Strictness;
use super::imap_append::append;
use super::imap_frame::{Quotes, context, repairs, split_message, unparsed_command, with_repairs};
use super::imap_values::mailbox_name;
use super::lines::text;

/// Decodes commands.
pub(super) fn commands(mut input: &[u8], strictness: Strictness, show: &mut impl FnMut(Value)) {
    let cx = context(strictness);
    while !input.is_empty() {
        let (frame, rest) = split_message(input, |line| !parse::is_append_payload(line), Quotes::End);
        if let Ok((_, name, _)) = parse::command_name(frame)
            && matches!(name, CommandName::Append | CommandName::Replace | CommandName::UidReplace)
        {
            input = append(input, frame, name, &cx, show);
            continue;
        }
        input = rest;
        cx.repairs.begin();
        let event = decode(frame, &cx);
        show(with_repairs(event, repairs(&cx)));
    }
}

fn decode(frame: &[u8], cx: &parse::Context) -> Value {
    if matches!(frame.trim_ascii(), done if done.eq_ignore_ascii_case(b"DONE")) {
        return json!({ "event": "done" });
    }
    let (tag, name, _) = match parse::command_name(frame) {
        Ok(named) => named,
        Err(error) => return unparsed_command(error),
    };
    match name {
        // The arguments are secret.
        CommandName::Login | CommandName::Authenticate => match parse::authentication(frame, cx) {
            Ok((_, authentication)) => json!({
                "event": name.as_str().to_ascii_lowercase(),
                "tag": tag.as_str(),
                "mechanism": match &authentication {
                    Authentication::Authenticate { mechanism, .. } => Some(text(mechanism)),
                    _ => None,
                },
            }),
            Err(error) => unparsed_command(error),
        },
        CommandName::StartTls => match parse::no_arguments(frame, cx) {
            Ok(_) => json!({ "event": "starttls", "tag": tag.as_str() }),
            Err(error) => unparsed_command(error),
        },
        _ => match parse::command(frame, cx) {
            Ok((_, command)) => describe(tag.as_str(), &command),
            Err(error) => unparsed_command(error),
        },
    }
}

fn describe(tag: &str, command: &Command<'_>) -> Value {
    let event = command.name().as_str().to_ascii_lowercase();
    let mut value = match command {
        Command::Select(select) | Command::Examine(select) => {
            json!({ "mailbox": mailbox_name(&select.mailbox) })
        }
        Command::Create(create) => json!({ "mailbox": mailbox_name(&create.mailbox) }),
        Command::Delete(name) | Command::Subscribe(name) | Command::Unsubscribe(name) => {
            json!({ "mailbox": mailbox_name(name) })
        }
        Command::Rename(rename) => {
            json!({ "from": mailbox_name(&rename.from), "to": mailbox_name(&rename.to) })
        }
        Command::List(list) => list_fields(list),
        Command::Lsub(lsub) => json!({
            "reference": mailbox_name(&lsub.reference), "pattern": mailbox_name(&lsub.pattern.as_mailbox()),
        }),
        Command::Status(status) => json!({
            "mailbox": mailbox_name(&status.mailbox),
            "attributes": status.attributes.iter().map(|one| one.as_str().to_ascii_lowercase()).collect::<Vec<_>>(),
        }),
        Command::Fetch(fetch) | Command::UidFetch(fetch) => json!({
            "messages": set(&fetch.messages),
            "attributes": fetch.attributes.iter().map(|one| attribute(&one)).collect::<Vec<_>>(),
        }),
        Command::Store(store) | Command::UidStore(store) => json!({
            "messages": set(&store.messages),
            "action": match store.action {
                StoreAction::Add => "add",
                StoreAction::Remove => "remove",
                StoreAction::Replace => "replace",
            },
            "flags": store.flags.iter().map(|flag| flag.to_string()).collect::<Vec<_>>(),
        }),
        Command::Copy(copy) | Command::UidCopy(copy) | Command::Move(copy) | Command::UidMove(copy) => {
            json!({ "messages": set(&copy.messages), "mailbox": mailbox_name(&copy.mailbox) })
        }
        Command::UidBatches(batches) => json!({
            "size": batches.size, "batches": batches.batches.map(|range| [range.first(), range.last()]),
        }),
        Command::UidExpunge(messages) => json!({ "messages": set(messages) }),
        Command::Search(search) | Command::UidSearch(search) => json!({
            "charset": search.charset.as_ref().map(|charset| charset.to_str_lossy().into_owned()),
            "keys": search.keys.iter().map(search_key).collect::<Vec<_>>(),
        }),
        Command::Enable(names) => json!({
            "capabilities": names.iter().map(|name| name.to_string()).collect::<Vec<_>>(),
        }),
        Command::Raw(raw) => raw_fields(raw),
        _ => json!({}),
    };
    if let Value::Object(fields) = &mut value {
        fields.insert("event".to_owned(), json!(if event.is_empty() { "other" } else { &event }));
        fields.insert("tag".to_owned(), json!(tag));
    }
    value
}

fn list_fields(list: &ListCommand<'_>) -> Value {
    json!({
        "reference": mailbox_name(&list.reference),
        "patterns": list.patterns.iter().map(|pattern| mailbox_name(&pattern.as_mailbox())).collect::<Vec<_>>(),
        "selection": list.selection.iter().map(|one| one.as_str().to_ascii_lowercase()).collect::<Vec<_>>(),
        "returns": list.returns.iter().map(|one| list_return(&one)).collect::<Vec<_>>(),
    })
}

fn list_return(one: &ListReturn<'_>) -> String {
    match one {
        ListReturn::Subscribed => "subscribed".to_owned(),
        ListReturn::Children => "children".to_owned(),
        ListReturn::SpecialUse => "special-use".to_owned(),
        ListReturn::Status(attributes) => {
            let names: Vec<_> = attributes.iter().map(|one| one.as_str().to_ascii_lowercase()).collect();
            format!("status ({})", names.join(" "))
        }
        ListReturn::MyRights => "myrights".to_owned(),
        _ => "other".to_owned(),
    }
}

/// Returns the name and the length of the arguments of an unknown command. The arguments are not shown, because a
/// mistyped LOGIN holds a password.
fn raw_fields(raw: &RawCommand<'_>) -> Value {
    json!({ "name": text(raw.raw_name()), "octets": raw.arguments().len() })
}

/// Formats an attribute as in a FETCH command.
fn attribute(one: &FetchAttribute<'_>) -> String {
    let one = [*one];
    let fetch = FetchCommand::new(SequenceSet::ALL, LazyList::new(&one));
    let encoded = encoded_after(&Command::Fetch(fetch), "FETCH 1:* ");
    encoded.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(&encoded).to_owned()
}

/// Formats a key as in a SEARCH command. A key that cannot be written without its charset becomes `other`.
fn search_key(key: SearchKey<'_>) -> String {
    encoded_after(&Command::Search(SearchCommand::new(&[key])), "SEARCH ")
}

/// Encodes a command and returns what follows `prefix`.
fn encoded_after(command: &Command<'_>, prefix: &str) -> String {
    let mut line = CommandBuffer::default();
    let is_encoded = Tag::new(b"x").is_ok_and(|tag| {
        let options = Options { literals: LiteralMode::Plus, ..Options::default() };
        encode::command(tag, command, options, &mut line).is_ok()
    });
    let line = text(&line.bytes);
    let arguments = line.strip_prefix("x ").and_then(|line| line.strip_prefix(prefix));
    match arguments.and_then(|line| line.strip_suffix("\r\n")) {
        Some(arguments) if is_encoded => arguments.to_owned(),
        _ => "other".to_owned(),
    }
}

fn set(messages: &SequenceSet<'_>) -> String {
    messages.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Vec<Value> {
        let mut events = Vec::new();
        commands(input, Strictness::Strict, &mut |event| events.push(event));
        events
    }

    #[test]
    fn continues_after_a_bad_command_and_skips_messages() {
        let events = decoded(
            b"a1 SELECT INBOX\r\na2 FETCH x FLAGS\r\na3 APPEND INBOX (\\Seen) {12+}\r\nb1 LOGOUT\r\n!\r\na4 UID FETCH 1:* (FLAGS)\r\n",
        );
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names[..4], ["select", "unparsed", "append", "message"], "{events:?}");
        assert_eq!(events[3]["octets"], 12);
    }

    #[test]
    fn shows_arguments_as_the_client_sends_them() {
        let events = decoded(
            b"a UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (FROM)]<0.9> BINARY.SIZE[1] RFC822.SIZE PREVIEW (LAZY))\r\n\
              b SEARCH OR FROM x NOT SEEN SINCE 1-Feb-2024 HEADER X-A \"b c\" MODSEQ 7\r\n\
              c LIST (SUBSCRIBED) \"\" (% a*) RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES UNSEEN))\r\n\
              d XNEW secret words\r\n",
        );
        let attributes = [
            "FLAGS",
            "BODY.PEEK[HEADER.FIELDS (FROM)]<0.9>",
            "BINARY.SIZE[1]",
            "RFC822.SIZE",
            "PREVIEW (LAZY)",
        ];
        assert_eq!(events[0]["attributes"], json!(attributes));
        let keys = ["OR FROM x NOT SEEN", "SINCE 1-Feb-2024", "HEADER X-A \"b c\"", "MODSEQ 7"];
        assert_eq!(events[1]["keys"], json!(keys));
        assert_eq!(events[2]["returns"], json!(["children", "special-use", "status (messages unseen)"]));
        assert_eq!((&events[3]["name"], &events[3]["octets"]), (&json!("XNEW"), &json!(13)));
    }

    #[test]
    fn never_shows_a_password() {
        for line in [
            &b"a LOGIN alice hunter2\r\n"[..],
            b"a LOGIN \"alice\" {7+}\r\nhunter2\r\n",
            b"a AUTHENTICATE PLAIN aHVudGVyMg==\r\n",
            b"a LOGIN alice hunter2 more\r\n",
        ] {
            let shown = format!("{:?}", decoded(line));
            assert!(
                !shown.contains("hunter2") && !shown.contains("aHVudGVy") && !shown.contains("alice"),
                "{shown}"
            );
        }
    }

    /// The name of each event, and its size, length, URL or tag.
    fn outline(input: &[u8]) -> Vec<String> {
        let events = decoded(input);
        let shown = events.iter().map(|event| {
            let keys = ["size", "octets", "url", "tag"].iter().map(|key| &event[*key]);
            let value = keys.into_iter().find(|value| !value.is_null()).unwrap_or(&Value::Null);
            format!("{} {value}", event["event"].as_str().unwrap())
        });
        shown.collect()
    }

    #[test]
    fn shows_every_message_of_a_multiappend() {
        let input = b"a APPEND x (\\Seen) {5}\r\nhello (\\Flagged) \" 7-Feb-1994 21:52:25 -0800\" {7+}\r\n\
            b NOOP\r ~{2}\r\n\0\0 UTF8 (~{1}\r\n.)\r\nc NOOP\r\n";
        let expected = [
            "append 5",
            "message 5",
            "append 7",
            "message 7",
            "append 2",
            "message 2",
            "append 1",
            "message 1",
            "noop \"c\"",
        ];
        assert_eq!(outline(input), expected);
        let events = decoded(input);
        assert_eq!((&events[0]["flags"], &events[2]["flags"]), (&json!(["\\Seen"]), &json!(["\\Flagged"])));
        assert_eq!((&events[2]["mailbox"], &events[2]["date"]), (&json!("x"), &json!(760_686_745)));
        for event in &events {
            assert_eq!(event["repairs"], json!([]));
        }
    }

    #[test]
    fn shows_the_parts_of_catenate() {
        let input = b"a APPEND x CATENATE (URL \"/a/;UID=1\" TEXT {8}\r\nb NOOP\r\n URL {5}\r\n/y/z~ UTF8 (~{3}\r\nabc))\
            (\\Seen) CATENATE (TEXT {1}\r\n.)\r\nc REPLACE 4 x CATENATE (URL u)\r\nd NOOP\r\n";
        // A space is missing before the second message.
        assert_eq!(outline(input)[5..7], ["unparsed null", "replace \"c\""]);
        let input = String::from_utf8(input.to_vec()).unwrap().replace("))(", ")) (");
        let expected = [
            "append \"a\"",
            "part \"/a/;UID=1\"",
            "part 8",
            "part \"/y/z~\"",
            "part 3",
            "append \"a\"",
            "part 1",
            "replace \"c\"",
            "part \"u\"",
            "noop \"d\"",
        ];
        assert_eq!(outline(input.as_bytes()), expected);
    }

    #[test]
    fn never_shows_the_token_of_a_url() {
        let shown =
            decoded(b"a APPEND x CATENATE (URL imap://h/a/;UID=1;urlauth=user+b:INTERNAL:5ec2e7)\r\n");
        assert_eq!(shown[1]["url"], "imap://h/a/;UID=1;urlauth=user+b");
    }

    #[test]
    fn continues_after_a_broken_or_truncated_message() {
        let expected = ["append 2", "message 2", "unparsed null", "noop \"b\""];
        assert_eq!(outline(b"a APPEND x {2}\r\nhi (\\Seen {3}\r\nxyz\r\nb NOOP\r\n"), expected);
        assert_eq!(outline(b"a APPEND x {2}\r\nhi junk {3}\r\nxyz\r\nb NOOP\r\n"), expected);
        assert_eq!(outline(b"a APPEND x {9}\r\nhi"), ["append 9", "message 2"]);
        assert_eq!(outline(b"a APPEND x {2}\r\nhi\nb NOOP\r\n")[2..], ["noop \"b\""]);
        assert_eq!(outline(b"a APPEND x {2}\r\nhib NOOP\r\n")[2..], ["noop \"b\""]);
        assert_eq!(outline(b"a APPEND x CATENATE (URL\r\nb NOOP\r\n")[1..], ["unparsed null", "noop \"b\""]);
    }
}
