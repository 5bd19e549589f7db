//! Quotas, access control lists and annotations in both roles (RFC 4314, 5464, 9208, 9590): known answers, round trips,
//! hostile input, and what each machine sends and accepts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod common;

use std::sync::Arc;

use common::talk::Talk;
use common::{ServerSide, in_every_split, ok};
use proptest::prelude::*;
use proptest::sample::select;
use proto_imap::Config;
use proto_imap::encode::{self, CommandBuffer, LiteralMode, Options};
use proto_imap::parse::{self, Context};
use proto_imap::server::{Event, Server};
use proto_imap::types::{
    AclEntry, AclResponse, Command, GetMetadataCommand, IString, LazyList, ListCommand, ListPattern,
    ListReturn, ListRightsResponse, MailboxIdentifier, MailboxName, MetadataDepth, MetadataEntries,
    MetadataEntry, MetadataResponse, MyRightsResponse, NameEncoding, Quota, QuotaLimit, QuotaResource,
    QuotaRoot, Response, Rights, RightsChange, SetAclCommand, SetMetadataCommand, SetQuotaCommand, Tag,
    Untagged,
};
use proto_mail::{AuthVerdict, Error, Misuse, Secure, SendBuffer};

/// Leaks a generated value, because views borrow.
fn keep<T>(values: Vec<T>) -> &'static [T] {
    Vec::leak(values)
}

fn string() -> impl Strategy<Value = IString<'static>> {
    prop_oneof![
        "[ -~]{0,12}".prop_map(String::into_bytes),
        "[a-z]{1,8}".prop_map(String::into_bytes),
        select(vec!["", "NIL", "\"\\", "a\r\nb", "{5}", "a)", "собака"]).prop_map(|text| text.into()),
        prop::collection::vec(Just(b'x'), 1020..1030),
    ]
    .prop_map(|bytes| IString::new(keep(bytes)))
}

fn atom() -> impl Strategy<Value = IString<'static>> {
    "[A-Z][A-Z-]{0,9}".prop_map(|name| IString::from(&*name.leak()))
}

fn mailbox() -> impl Strategy<Value = MailboxName<'static>> {
    prop_oneof!["[a-zA-Z/.]{0,8}", "[ -~]{0,12}", "\\PC{0,8}"]
        .prop_map(|name| MailboxName::new(String::leak(name)))
}

fn rights() -> impl Strategy<Value = Rights<'static>> {
    prop_oneof!["[a-z0-9]{0,12}", Just(String::from("nil"))]
        .prop_map(|text| Rights::new(text.leak()).unwrap())
}

fn entry_name() -> impl Strategy<Value = IString<'static>> {
    "(/[ !-$&-),-.0-~]{1,6}){1,3}".prop_map(|name| IString::from(&*name.leak()))
}

fn names() -> impl Strategy<Value = LazyList<'static, IString<'static>>> {
    prop::collection::vec(entry_name(), 1..4).prop_map(|names| LazyList::new(keep(names)))
}

fn entries() -> impl Strategy<Value = LazyList<'static, MetadataEntry<'static>>> {
    let binary = prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| IString::new(keep(bytes)));
    let value = prop::option::of(prop_oneof![string(), binary]);
    let entry = (entry_name(), value).prop_map(|(name, value)| MetadataEntry { name, value });
    prop::collection::vec(entry, 1..4).prop_map(|all| LazyList::new(keep(all)))
}

fn command() -> impl Strategy<Value = Command<'static>> {
    use Command as C;
    let limit = (atom(), 0..=i64::MAX as u64).prop_map(|(name, limit)| QuotaLimit { name, limit });
    let depth = select(vec![MetadataDepth::Zero, MetadataDepth::One, MetadataDepth::Infinity]);
    let change = select(vec![RightsChange::Replace, RightsChange::Add, RightsChange::Remove]);
    let identifier =
        || (mailbox(), string()).prop_map(|(mailbox, identifier)| MailboxIdentifier { mailbox, identifier });
    prop_oneof![
        string().prop_map(C::GetQuota),
        (mailbox(), 0_u8..3).prop_map(|(mailbox, kind)| match kind {
            0 => C::GetQuotaRoot(mailbox),
            1 => C::GetAcl(mailbox),
            _ => C::MyRights(mailbox),
        }),
        (string(), prop::collection::vec(limit, 0..4)).prop_map(|(root, limits)| C::SetQuota(
            SetQuotaCommand { root, limits: LazyList::new(keep(limits)) }
        )),
        (mailbox(), names(), prop::option::of(any::<u32>()), depth).prop_map(
            |(mailbox, entries, max_size, depth)| C::GetMetadata(GetMetadataCommand {
                mailbox,
                entries,
                max_size,
                depth
            })
        ),
        (mailbox(), entries())
            .prop_map(|(mailbox, entries)| C::SetMetadata(SetMetadataCommand { mailbox, entries })),
        (identifier(), change, rights()).prop_map(
            |(MailboxIdentifier { mailbox, identifier }, change, rights)| {
                C::SetAcl(SetAclCommand { mailbox, identifier, change, rights })
            }
        ),
        (identifier(), any::<bool>()).prop_map(|(it, delete)| if delete {
            C::DeleteAcl(it)
        } else {
            C::ListRights(it)
        }),
        names().prop_map(|names| {
            let returns = LazyList::new(keep(vec![ListReturn::Metadata(names), ListReturn::MyRights]));
            C::List(ListCommand { returns, ..ListCommand::new(keep(vec![ListPattern::ALL])) })
        }),
    ]
}

fn untagged() -> impl Strategy<Value = Untagged<'static>> {
    let resource = (atom(), 0..=i64::MAX as u64, 0..=i64::MAX as u64)
        .prop_map(|(name, usage, limit)| QuotaResource { name, usage, limit });
    let acl_entry = (string(), rights()).prop_map(|(identifier, rights)| AclEntry { identifier, rights });
    let no_nil = || string().prop_filter("not NIL", |text| *text != "NIL");
    prop_oneof![
        (string(), prop::collection::vec(resource, 0..4)).prop_map(|(root, resources)| Untagged::Quota(
            Quota { root, resources: LazyList::new(keep(resources)) }
        )),
        (string(), prop::collection::vec(no_nil(), 0..4)).prop_map(|(mailbox, roots)| Untagged::QuotaRoot(
            QuotaRoot { mailbox, roots: LazyList::new(keep(roots)) }
        )),
        (string(), entries()).prop_map(|(mailbox, entries)| Untagged::Metadata(MetadataResponse {
            mailbox,
            entries: MetadataEntries::Values(entries)
        })),
        (string(), names()).prop_map(|(mailbox, names)| Untagged::Metadata(MetadataResponse {
            mailbox,
            entries: MetadataEntries::Changed(names)
        })),
        (string(), prop::collection::vec(acl_entry, 0..4)).prop_map(|(mailbox, entries)| Untagged::Acl(
            AclResponse { mailbox, entries: LazyList::new(keep(entries)) }
        )),
        (string(), string(), rights(), prop::collection::vec(rights(), 0..4)).prop_map(
            |(mailbox, identifier, required, optional)| Untagged::ListRights(ListRightsResponse {
                mailbox,
                identifier,
                required,
                optional: LazyList::new(keep(optional))
            })
        ),
        (string(), rights())
            .prop_map(|(mailbox, rights)| Untagged::MyRights(MyRightsResponse { mailbox, rights })),
    ]
}

fn written(command: &Command<'_>, options: Options) -> CommandBuffer {
    let mut line = CommandBuffer::default();
    encode::command(Tag::new(b"A1").unwrap(), command, options, &mut line).unwrap();
    line
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_written_command_is_parsed_as_the_same(
        command in command(),
        literals in select(vec![LiteralMode::Synchronising, LiteralMode::Minus, LiteralMode::Plus]),
    ) {
        let options = Options { literals, names: NameEncoding::ModifiedUtf7 };
        let line = written(&command, options);
        for cx in [Context::strict(), Context::tolerant()] {
            let (_, read) = parse::command(&line.bytes, &cx).unwrap();
            prop_assert_eq!(&read, &command);
            prop_assert_eq!(read.name(), command.name());
            prop_assert_eq!(&written(&read, options), &line);
            let owned = read.into_owned();
            prop_assert_eq!(owned.view(), command);
        }
        for cut in 0..line.bytes.len() {
            prop_assert!(parse::command(&line.bytes[..cut], &Context::tolerant()).is_err());
        }
    }

    #[test]
    fn a_written_response_is_parsed_as_the_same(data in untagged()) {
        let given = Response::Untagged(data);
        let mut out = Vec::new();
        encode::response(&given, &mut out);
        for cx in [Context::strict(), Context::tolerant()] {
            let read = parse::response(&out, &cx);
            prop_assert_eq!(&read, &given, "{}", out.escape_ascii());
            prop_assert_eq!(cx.repairs.total(), 0);
            let owned = read.into_owned();
            prop_assert_eq!(owned.view(), given);
        }
    }
}

/// Commands with their meaning: examples of the RFCs among them.
#[rustfmt::skip]
const COMMANDS: &[(&str, &str)] = &[
    (r#"A003 GETQUOTA """#, r#"GetQuota("")"#),
    ("A003 GETQUOTAROOT INBOX", r#"GetQuotaRoot("INBOX")"#),
    (r#"A001 SETQUOTA "" (STORAGE 512)"#, r#"SetQuota(SetQuotaCommand { root: "", limits: [QuotaLimit { name: "STORAGE", limit: 512 }] })"#),
    ("a SETQUOTA x ()", r#"SetQuota(SetQuotaCommand { root: "x", limits: [] })"#),
    (r#"a GETMETADATA "" /shared/comment"#, r#"GetMetadata(GetMetadataCommand { mailbox: "", entries: ["/shared/comment"], max_size: None, depth: Zero })"#),
    (r#"a GETMETADATA "INBOX" (MAXSIZE 1024) (/shared/comment /private/comment)"#, r#"GetMetadata(GetMetadataCommand { mailbox: "INBOX", entries: ["/shared/comment", "/private/comment"], max_size: Some(1024), depth: Zero })"#),
    (r#"a GETMETADATA (DEPTH 1 MAXSIZE 9) "INBOX" (/private/filters/values)"#, r#"GetMetadata(GetMetadataCommand { mailbox: "INBOX", entries: ["/private/filters/values"], max_size: Some(9), depth: One })"#),
    ("a getmetadata (depth INFINITY) INBOX /private/x", r#"GetMetadata(GetMetadataCommand { mailbox: "INBOX", entries: ["/private/x"], max_size: None, depth: Infinity })"#),
    ("a SETMETADATA INBOX (/private/comment {33}\r\nMy new comment across\r\ntwo lines.)", "SetMetadata(SetMetadataCommand { mailbox: \"INBOX\", entries: [MetadataEntry { name: \"/private/comment\", value: Some(\"My new comment across\\r\\ntwo lines.\") }] })"),
    ("a SETMETADATA INBOX (/private/comment NIL /shared/x ~{2}\r\n\0))", r#"SetMetadata(SetMetadataCommand { mailbox: "INBOX", entries: [MetadataEntry { name: "/private/comment", value: None }, MetadataEntry { name: "/shared/x", value: Some("\0)") }] })"#),
    ("A035 SETACL INBOX/Drafts John lrQswicda", ""),
    ("A035 SETACL INBOX/Drafts John lrswicda", r#"SetAcl(SetAclCommand { mailbox: "INBOX/Drafts", identifier: "John", change: Replace, rights: "lrswicda" })"#),
    (r#"A2 SETACL a "-fred" +k"#, r#"SetAcl(SetAclCommand { mailbox: "a", identifier: "-fred", change: Add, rights: "k" })"#),
    (r#"A2 SETACL a anyone "-""#, r#"SetAcl(SetAclCommand { mailbox: "a", identifier: "anyone", change: Remove, rights: "" })"#),
    ("B001 DELETEACL INBOX Fred", r#"DeleteAcl(MailboxIdentifier { mailbox: "INBOX", identifier: "Fred" })"#),
    ("A002 GETACL INBOX", r#"GetAcl("INBOX")"#),
    ("a001 LISTRIGHTS ~/Mail/saved smith", r#"ListRights(MailboxIdentifier { mailbox: "~/Mail/saved", identifier: "smith" })"#),
    ("A003 MYRIGHTS INBOX", r#"MyRights("INBOX")"#),
    (r#"a LIST "" % RETURN (METADATA ("/shared/color" /private/x) CHILDREN)"#, r#"List(ListCommand { selection: [], reference: "", patterns: ["%"], returns: [Metadata(["/shared/color", "/private/x"]), Children] })"#),
    ("a GETMETADATA INBOX comment", ""),
    ("a GETMETADATA INBOX /shared/*", ""),
    ("a GETMETADATA INBOX ()", ""),
    ("a GETMETADATA (X 1) INBOX /a", ""),
    ("a GETMETADATA (DEPTH 2) INBOX /a", ""),
    ("a GETMETADATA (MAXSIZE 1) INBOX (DEPTH 1) /a", ""),
    ("a SETMETADATA INBOX ()", ""),
    ("a SETMETADATA INBOX (/a b)", ""),
    ("a SETMETADATA INBOX /a NIL", ""),
    ("a SETQUOTA x (STORAGE)", ""),
    ("a SETQUOTA x (STORAGE 9223372036854775808)", ""),
    ("a LIST \"\" % RETURN (METADATA ())", ""),
    ("a LIST \"\" % RETURN (METADATA)", ""),
];

#[test]
fn parses_commands_of_the_rfcs() {
    for (line, expected) in COMMANDS {
        let frame = format!("{line}\r\n");
        match parse::command(frame.as_bytes(), &Context::strict()) {
            Ok((_, command)) => assert_eq!(format!("{command:?}"), *expected, "{line}"),
            Err(error) => assert_eq!(*expected, "", "{line}: {error}"),
        }
    }
}

#[test]
fn parses_responses_of_the_rfcs() {
    #[rustfmt::skip]
    let rows = [
        (r#"QUOTAROOT INBOX "" "b c""#, r#"QuotaRoot(QuotaRoot { mailbox: "INBOX", roots: ["", "b c"] })"#),
        ("METADATA \"\" (/shared/comment ~{3}\r\n\0\r\n)", r#"Metadata(MetadataResponse { mailbox: "", entries: Values([MetadataEntry { name: "/shared/comment", value: Some("\0\r\n") }]) })"#),
        (r#"METADATA "INBOX" (/private/a "x" /private/b NIL)"#, r#"Metadata(MetadataResponse { mailbox: "INBOX", entries: Values([MetadataEntry { name: "/private/a", value: Some("x") }, MetadataEntry { name: "/private/b", value: None }]) })"#),
        ("METADATA INBOX /shared/comment /private/comment", r#"Metadata(MetadataResponse { mailbox: "INBOX", entries: Changed(["/shared/comment", "/private/comment"]) })"#),
        ("ACL INBOX Fred rwipslxetad -Fred wetd $team w", r#"Acl(AclResponse { mailbox: "INBOX", entries: [AclEntry { identifier: "Fred", rights: "rwipslxetad" }, AclEntry { identifier: "-Fred", rights: "wetd" }, AclEntry { identifier: "$team", rights: "w" }] })"#),
        (r#"ACL "Drafts""#, r#"Acl(AclResponse { mailbox: "Drafts", entries: [] })"#),
        ("LISTRIGHTS ~/Mail/saved smith la r swicdkxte", r#"ListRights(ListRightsResponse { mailbox: "~/Mail/saved", identifier: "smith", required: "la", optional: ["r", "swicdkxte"] })"#),
        (r#"LISTRIGHTS archive anyone "" l r"#, r#"ListRights(ListRightsResponse { mailbox: "archive", identifier: "anyone", required: "", optional: ["l", "r"] })"#),
        ("MYRIGHTS INBOX rwiptsldaex", r#"MyRights(MyRightsResponse { mailbox: "INBOX", rights: "rwiptsldaex" })"#),
        ("NO [METADATA TOOMANY] x", r#"Status(StatusResponse { condition: No, code: Some(MetadataTooMany), text: "x" })"#),
        ("NO [METADATA NOPRIVATE] x", r#"Status(StatusResponse { condition: No, code: Some(MetadataNoPrivate), text: "x" })"#),
        ("OK [METADATA LONGENTRIES 2199] x", r#"Status(StatusResponse { condition: Ok, code: Some(MetadataLongEntries(2199)), text: "x" })"#),
    ];
    for (line, expected) in rows {
        let frame = format!("* {line}\r\n");
        let response = parse::response(frame.as_bytes(), &Context::strict());
        assert_eq!(format!("{response:?}"), format!("Untagged({expected})"));
        let mut out = Vec::new();
        encode::response(&response, &mut out);
        assert_eq!(parse::response(&out, &Context::strict()), response, "{}", out.escape_ascii());
    }
    // Only the tolerant parser accepts other rights and names.
    for line in ["* MYRIGHTS INBOX LR\r\n", "* METADATA INBOX comment\r\n", "* ACL INBOX a l \r\n"] {
        assert!(
            matches!(parse::response(line.as_bytes(), &Context::strict()), Response::Unparsed(_)),
            "{line}"
        );
        let cx = Context::tolerant();
        assert!(matches!(parse::response(line.as_bytes(), &cx), Response::Untagged(_)), "{line}");
        assert!(cx.repairs.total() > 0, "{line}");
    }
}

/// Neither parentheses nor long lists take time beyond their length, nor do they break a parser.
#[test]
fn hostile_lists_are_bounded() {
    let deep = "(".repeat(1000);
    for line in [
        format!("* METADATA x {deep}"),
        format!("* METADATA x (/a {deep}"),
        format!("* QUOTA x {deep}"),
        format!("* ACL {deep}"),
        format!("* LISTRIGHTS a b {deep}"),
    ] {
        let frame = format!("{line}\r\n");
        assert!(
            matches!(parse::response(frame.as_bytes(), &Context::strict()), Response::Unparsed(_)),
            "{line:.40}"
        );
        let response = parse::response(frame.as_bytes(), &Context::tolerant());
        assert!(!format!("{response:?}").is_empty());
    }
    for line in
        [format!("a GETMETADATA {deep}"), format!("a SETMETADATA x {deep}"), format!("a SETQUOTA x {deep}")]
    {
        assert!(parse::command(format!("{line}\r\n").as_bytes(), &Context::strict()).is_err(), "{line:.40}");
    }
    let begun = std::time::Instant::now();
    let many = 200_000;
    let frame = format!("* METADATA x{}\r\n", " /a".repeat(many));
    let Response::Untagged(Untagged::Metadata(read)) = parse::response(frame.as_bytes(), &Context::strict())
    else {
        panic!("not parsed")
    };
    let MetadataEntries::Changed(names) = read.entries else { panic!("{:?}", read.mailbox) };
    assert_eq!(names.iter().count(), many);
    let frame = format!("* ACL x{}\r\n", " u lr".repeat(many));
    let Response::Untagged(Untagged::Acl(read)) = parse::response(frame.as_bytes(), &Context::strict())
    else {
        panic!("not parsed")
    };
    assert_eq!(read.entries.iter().count(), many);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn the_client_sends_what_the_server_offers() {
    let mut talk = Talk::greeted("PREAUTH", "METADATA-SERVER ACL QUOTA=RES-STORAGE");
    let comment = [IString::from("/shared/comment")];
    let value = [MetadataEntry { name: comment[0], value: Some(IString::new(b"a\0b")) }];
    let set = |mailbox| Command::SetMetadata(SetMetadataCommand { mailbox, entries: LazyList::new(&value) });
    talk.send(&Command::GetQuotaRoot(MailboxName::INBOX));
    assert_eq!(talk.said(), "M1 GETQUOTAROOT INBOX\r\n");
    let events =
        talk.hear("* QUOTAROOT INBOX \"\"\r\n* QUOTA \"\" (STORAGE 10 512)\r\nM1 OK done\r\n").unwrap();
    assert!(events[0].contains("QuotaRoot") && events[1].contains("usage: 10, limit: 512"), "{events:?}");
    talk.send(&Command::GetMetadata(GetMetadataCommand::new(MailboxName::new(""), &comment)));
    assert_eq!(talk.said(), "M2 GETMETADATA \"\" /shared/comment\r\n");
    talk.hear("M2 OK [METADATA LONGENTRIES 9] done\r\n").unwrap();
    // The value has a NUL, so it is a literal8, for which the client waits.
    talk.send(&set(MailboxName::new("")));
    assert_eq!(talk.said(), "M3 SETMETADATA \"\" (/shared/comment ~{3}\r\n");
    talk.hear("+ go on\r\n").unwrap();
    assert_eq!(talk.said(), "a\0b)\r\n");
    let events = talk.hear("M3 NO [METADATA TOOMANY] no\r\n* METADATA \"\" /shared/comment\r\n").unwrap();
    assert!(events.iter().any(|event| event.contains("MetadataTooMany")), "{events:?}");
    assert!(events.iter().any(|event| event.contains("Changed")), "{events:?}");
    let bad = Rights::new("lr").unwrap();
    talk.send(&Command::SetAcl(SetAclCommand {
        mailbox: MailboxName::INBOX,
        identifier: IString::from("fred"),
        change: RightsChange::Remove,
        rights: bad,
    }));
    assert_eq!(talk.said(), "M4 SETACL INBOX fred -lr\r\n");
    for command in [
        set(MailboxName::INBOX),
        Command::GetMetadata(GetMetadataCommand::new(MailboxName::INBOX, &comment)),
        Command::SetQuota(SetQuotaCommand { root: IString::EMPTY, limits: LazyList::EMPTY }),
    ] {
        let sent = talk.client.send(&command, &mut talk.tx);
        assert_eq!(sent, Err(Error::Misuse(Misuse::NotOffered)), "{command:?}");
    }
    let nameless = [IString::from("comment")];
    let get = Command::GetMetadata(GetMetadataCommand::new(MailboxName::new(""), &nameless));
    assert!(matches!(talk.client.send(&get, &mut talk.tx), Err(Error::Misuse(_))));
    assert_eq!(talk.said(), "");
}

#[test]
fn the_server_accepts_what_it_offers() {
    let script = "e GETQUOTA \"\"\r\nl LOGIN alice secret\r\na SETQUOTA \"\" (STORAGE 9)\r\n\
                  b SETMETADATA INBOX (/private/a ~{3+}\r\n\0\r\n /private/b {2}\r\nxy)\r\nc SETACL INBOX fred LR\r\n\
                  d MYRIGHTS INBOX\r\n";
    let run = |extensions: &[&str]| {
        let mut waits = proto_imap::Waits::default();
        waits.delay = std::time::Duration::ZERO;
        let config = Arc::new(Config::default().waits(waits).extensions(extensions.iter().copied()));
        in_every_split(script, false, || {
            let mut greeting = SendBuffer::new();
            let server = Server::<Secure>::new(Arc::clone(&config), Secure::trusted_local(), &mut greeting);
            Box::new(ServerSide {
                server,
                greeting,
                answer: Box::new(move |event, server, tx| match event {
                    Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
                    Event::Command(command, reply) => {
                        if let Command::SetMetadata(set) = command {
                            let values: Vec<_> = set.entries.iter().map(|entry| entry.value).collect();
                            let expected = [&b"\0\r\n"[..], b"xy"].map(|value| Some(IString::new(value)));
                            assert_eq!(values, expected);
                            let response = MetadataResponse {
                                mailbox: IString::from("INBOX"),
                                entries: MetadataEntries::Values(set.entries),
                            };
                            server.data(&Untagged::Metadata(response), tx).unwrap();
                        }
                        server.reply(reply, &ok("done"), tx).unwrap();
                    }
                    _ => {}
                }),
            })
        })
        .output
    };
    let output = run(&["QUOTASET", "QUOTA=RES-STORAGE", "METADATA", "ACL"]);
    for line in [
        "e BAD authenticate first\r\n",
        "a OK done\r\n",
        "+ go on\r\n* METADATA INBOX (/private/a ~{3}\r\n\0\r\n /private/b \"xy\")\r\nb OK done\r\n",
        "c BAD Expected rights, which are lowercase letters and digits",
        "d OK done\r\n",
    ] {
        assert!(output.contains(line), "{line:?} in {output}");
    }
    let output = run(&[]);
    for tag in ["e", "a", "b", "c", "d"] {
        assert!(output.contains(&format!("{tag} BAD unknown command\r\n")), "{tag} in {output}");
    }
    assert!(run(&["QUOTA=RES-STORAGE"]).contains("a BAD unknown command"), "SETQUOTA needs QUOTASET");
}
