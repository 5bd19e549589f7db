//! What a client sends, as JSON.

use proto_imap::parse;
use proto_imap::parse::Authentication;
use proto_imap::types::arguments::{List, ListReturn, StoreAction};
use proto_imap::types::{Command, CommandName, Mailbox, NameEncoding, SequenceSet};
use serde_json::{Value, json};

use super::super::{text, unparsed};
use super::{announced, context, repairs, split_message, with_repairs};

/// Reads command after command, the messages of APPEND among them.
pub(in super::super) fn commands(mut input: &[u8], strict: bool, show: &mut impl FnMut(Value)) {
    let cx = context(strict);
    while !input.is_empty() {
        let (frame, rest) = split_message(input, |line| !parse::is_append_payload(line));
        input = rest;
        cx.repairs.begin();
        let event = read(frame, &cx);
        let is_append = event["event"] == "append";
        show(with_repairs(event, repairs(&cx)));
        if let Some(size) = announced(frame).filter(|_| is_append) {
            let taken = size.min(input.len());
            show(json!({ "event": "message", "octets": taken, "repairs": [] }));
            // The line end that closes the command.
            input = &input[taken..];
            input = input.strip_prefix(b"\r\n").or_else(|| input.strip_prefix(b"\n")).unwrap_or(input);
        }
    }
}

fn read(frame: &[u8], cx: &parse::Context) -> Value {
    if matches!(frame.trim_ascii(), done if done.eq_ignore_ascii_case(b"DONE")) {
        return json!({ "event": "done" });
    }
    let bad = |error: parse::UnparsedCommand<'_>| {
        let mut event = unparsed(error.at, error.why, error.found);
        if let Value::Object(fields) = &mut event {
            fields.insert("tag".to_owned(), json!(error.tag.map(|tag| tag.as_str().to_owned())));
        }
        event
    };
    let (tag, name, _) = match parse::command_name(frame) {
        Ok(named) => named,
        Err(error) => return bad(error),
    };
    match name {
        // Their arguments are secret.
        CommandName::Login | CommandName::Authenticate => match parse::authentication(frame, cx) {
            Ok((_, authentication)) => json!({
                "event": name.as_str().to_ascii_lowercase(),
                "tag": tag.as_str(),
                "mechanism": match &authentication {
                    Authentication::Authenticate { mechanism, .. } => Some(text(mechanism)),
                    _ => None,
                },
            }),
            Err(error) => bad(error),
        },
        CommandName::StartTls => match parse::no_arguments(frame, cx) {
            Ok(_) => json!({ "event": "starttls", "tag": tag.as_str() }),
            Err(error) => bad(error),
        },
        CommandName::Append => match parse::append_prefix(frame, cx) {
            Ok((_, append, announced)) => json!({
                "event": "append",
                "tag": tag.as_str(),
                "mailbox": mailbox(&append.mailbox),
                "flags": append.flags.iter().map(|flag| flag.to_string()).collect::<Vec<_>>(),
                "date": append.date.map(|date| date.timestamp()),
                "size": announced.size,
            }),
            Err(error) => bad(error),
        },
        _ => match parse::command(frame, cx) {
            Ok((_, command)) => describe(tag.as_str(), &command),
            Err(error) => bad(error),
        },
    }
}

fn describe(tag: &str, command: &Command<'_>) -> Value {
    let event = command.name().as_str().to_ascii_lowercase();
    let mut value = match command {
        Command::Select(select) | Command::Examine(select) => json!({ "mailbox": mailbox(&select.mailbox) }),
        Command::Create(create) => json!({ "mailbox": mailbox(&create.mailbox) }),
        Command::Delete(name) | Command::Subscribe(name) | Command::Unsubscribe(name) => {
            json!({ "mailbox": mailbox(name) })
        }
        Command::Rename(rename) => json!({ "from": mailbox(&rename.from), "to": mailbox(&rename.to) }),
        Command::List(list) => list_fields(list),
        Command::Lsub(lsub) => json!({
            "reference": mailbox(&lsub.reference), "pattern": mailbox(&lsub.pattern.as_mailbox()),
        }),
        Command::Status(status) => json!({
            "mailbox": mailbox(&status.mailbox),
            "attributes": status.attributes.iter().map(|one| one.as_str().to_ascii_lowercase()).collect::<Vec<_>>(),
        }),
        Command::Fetch(fetch) | Command::UidFetch(fetch) => json!({
            "messages": set(&fetch.messages),
            "attributes": fetch.attributes.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>(),
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
            json!({ "messages": set(&copy.messages), "mailbox": mailbox(&copy.mailbox) })
        }
        Command::UidExpunge(messages) => json!({ "messages": set(messages) }),
        Command::Search(search) | Command::UidSearch(search) => json!({
            "charset": search.charset.as_ref().map(|charset| charset.to_str_lossy().into_owned()),
            "keys": search.keys.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>(),
        }),
        Command::Enable(names) => json!({
            "capabilities": names.iter().map(|name| name.to_string()).collect::<Vec<_>>(),
        }),
        Command::Raw(raw) => json!({ "raw": format!("{raw:?}") }),
        _ => json!({}),
    };
    if let Value::Object(fields) = &mut value {
        fields.insert("event".to_owned(), json!(if event.is_empty() { "other" } else { &event }));
        fields.insert("tag".to_owned(), json!(tag));
    }
    value
}

fn list_fields(list: &List<'_>) -> Value {
    json!({
        "reference": mailbox(&list.reference),
        "patterns": list.patterns.iter().map(|pattern| mailbox(&pattern.as_mailbox())).collect::<Vec<_>>(),
        "selection": list.selection.iter().map(|one| one.as_str().to_ascii_lowercase()).collect::<Vec<_>>(),
        "returns": list.returns.iter().map(|one| list_return(&one)).collect::<Vec<_>>(),
    })
}

fn list_return(one: &ListReturn<'_>) -> String {
    format!("{one:?}").to_ascii_lowercase()
}

fn mailbox(name: &Mailbox<'_>) -> String {
    name.to_str_lossy(NameEncoding::ModifiedUtf7).into_owned()
}

fn set(messages: &SequenceSet<'_>) -> String {
    messages.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Vec<Value> {
        let mut events = Vec::new();
        commands(input, true, &mut |event| events.push(event));
        events
    }

    #[test]
    fn a_bad_command_costs_only_itself_and_a_message_is_no_command() {
        let events = decoded(
            b"a1 SELECT INBOX\r\na2 FETCH x FLAGS\r\na3 APPEND INBOX (\\Seen) {12+}\r\nb1 LOGOUT\r\n!\r\na4 UID FETCH 1:* (FLAGS)\r\n",
        );
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names[..4], ["select", "unparsed", "append", "message"], "{events:?}");
        assert_eq!(events[3]["octets"], 12);
    }

    #[test]
    fn a_password_is_not_shown() {
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
}
