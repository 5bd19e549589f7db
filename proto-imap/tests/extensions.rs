//! The tables of IMAP's extensions in docs/extensions.md are those of the machines: which commands and arguments need
//! which capability.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::talk::Talk;
use common::{ServerSide, in_every_split, ok};
use proto_imap::Config;
use proto_imap::client::CommandId;
use proto_imap::parse::{self, Context};
use proto_imap::server::{Event, Server};
use proto_imap::types::{
    AppendData, AppendMessage, CatenatePart, Command, CommandName, MailboxName, ReplaceCommand,
    ReplacedMessage, SelectCommand,
};
use proto_mail::{AuthVerdict, Error, Misuse, Secure, SendBuffer};

/// Capabilities that are sufficient only together.
type Together = Vec<String>;

/// The rows of the table that begins with this cell, each as its cells.
fn table(first_cell: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/extensions.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, imap) = text.split_once("# IMAP's extensions").unwrap();
    let lines = imap.lines().skip_while(|line| !line.starts_with(&format!("| {first_cell} |")));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The words of a cell that are capabilities.
fn capabilities(cell: &str) -> Vec<String> {
    let words = cell.split([' ', ',', ';']).filter(|word| word.len() > 1);
    let is_name = |word: &&str| {
        word.chars().all(|one| one.is_ascii_uppercase() || one.is_ascii_digit() || "=-+".contains(one))
    };
    words.filter(|word| is_name(word) || *word == "IMAP4rev2").map(str::to_owned).collect()
}

/// Sample arguments for each command of an extension.
const ARGUMENTS: &[(&str, &str)] = &[
    ("CANCELUPDATE", " \"M1\""),
    ("COMPARATOR", ""),
    ("COMPRESS", " DEFLATE"),
    ("DELETEACL", " x y"),
    ("ENABLE", " X"),
    ("ESEARCH", " IN (personal) ALL"),
    ("GENURLAUTH", " x INTERNAL"),
    ("GETACL", " x"),
    ("GETJMAPACCESS", ""),
    ("GETMETADATA", " \"\" /shared/x"),
    ("GETQUOTA", " x"),
    ("GETQUOTAROOT", " x"),
    ("ID", " NIL"),
    ("IDLE", ""),
    ("LANGUAGE", " de"),
    ("LISTRIGHTS", " x y"),
    ("MOVE", " 1 x"),
    ("MYRIGHTS", " x"),
    ("NAMESPACE", ""),
    ("NOTIFY", " NONE"),
    ("REPLACE", " 1 x {1+}\r\ny"),
    ("RESETKEY", ""),
    ("RLIST", " \"\" *"),
    ("RLSUB", " \"\" *"),
    ("SETACL", " x y lr"),
    ("SETMETADATA", " \"\" (/shared/x NIL)"),
    ("SETQUOTA", " x ()"),
    ("SORT", " (DATE) UTF-8 ALL"),
    ("THREAD", " REFS UTF-8 ALL"),
    ("UIDBATCHES", " 500 1:3"),
    ("UID EXPUNGE", " 1"),
    ("UID MOVE", " 1 x"),
    ("UID REPLACE", " 1 x {1+}\r\ny"),
    ("UID SORT", " (DATE) UTF-8 ALL"),
    ("UID THREAD", " REFS UTF-8 ALL"),
    ("UNAUTHENTICATE", ""),
    ("UNSELECT", ""),
    ("URLFETCH", " x"),
];

/// The rows of the table of arguments: the first cell, a sample, and the capabilities that the sample needs beside those
/// of the second cell.
const SAMPLES: &[(&str, &str, &str)] = &[
    ("LIST with several patterns, with selection or return options", "LIST (SUBSCRIBED) \"\" *", ""),
    ("LIST with the option SPECIAL-USE", "LIST (SPECIAL-USE) \"\" *", "LIST-EXTENDED"),
    ("LIST `RETURN (STATUS ...)`", "LIST \"\" * RETURN (STATUS (MESSAGES))", ""),
    ("LIST `RETURN (MYRIGHTS)`", "LIST \"\" * RETURN (MYRIGHTS)", ""),
    ("LIST `RETURN (METADATA ...)`", "LIST \"\" * RETURN (METADATA (/shared/x))", ""),
    ("GETMETADATA and SETMETADATA of a mailbox", "GETMETADATA x /shared/x", "METADATA-SERVER"),
    ("CREATE `USE`", "CREATE x (USE (\\Sent))", ""),
    (
        "SELECT and EXAMINE `CONDSTORE`, FETCH `MODSEQ` and `CHANGEDSINCE`, STORE `UNCHANGEDSINCE`, SEARCH `MODSEQ`, STATUS `HIGHESTMODSEQ`",
        "SELECT x (CONDSTORE)",
        "",
    ),
    ("SELECT and EXAMINE `QRESYNC`, FETCH `VANISHED`", "SELECT x (QRESYNC (1 1))", ""),
    ("STATUS `SIZE`", "STATUS x (SIZE)", ""),
    ("SEARCH `RETURN`", "SEARCH RETURN () ALL", ""),
    ("SEARCH `RETURN (SAVE)`, and `$` in place of message numbers", "FETCH $ FLAGS", ""),
    ("SEARCH and ESEARCH `RETURN (PARTIAL 1:500)`", "UID SEARCH RETURN (PARTIAL 1:500) ALL", "ESEARCH"),
    ("SORT `RETURN`", "SORT RETURN () (DATE) UTF-8 ALL", "SORT"),
    ("SORT `RETURN (PARTIAL 1:500)`", "SORT RETURN (PARTIAL 1:500) (DATE) UTF-8 ALL", "SORT ESORT"),
    (
        "SEARCH, ESEARCH and SORT `RETURN (PARTIAL -1:-500)`",
        "ESEARCH RETURN (PARTIAL -1:-500) ALL",
        "MULTISEARCH",
    ),
    ("SEARCH and ESEARCH `RETURN (UPDATE)` and `RETURN (CONTEXT)`", "SEARCH RETURN (UPDATE) ALL", "ESEARCH"),
    ("SORT `RETURN (UPDATE)` and `RETURN (CONTEXT)`", "SORT RETURN (CONTEXT) (DATE) UTF-8 ALL", "SORT ESORT"),
    ("SORT by DISPLAYFROM and DISPLAYTO", "SORT (DISPLAYTO) UTF-8 ALL", "SORT"),
    ("search key `FUZZY`, `RETURN (RELEVANCY)`, SORT by RELEVANCY", "SEARCH FUZZY ALL", ""),
    ("search key `FILTER`", "SEARCH FILTER x", ""),
    ("search keys `OLDER` and `YOUNGER`", "SEARCH OLDER 1", ""),
    (
        "SEARCH `SAVEDBEFORE`, `SAVEDON`, `SAVEDSINCE`, `SAVEDATESUPPORTED`, FETCH `SAVEDATE`",
        "SEARCH SAVEDATESUPPORTED",
        "",
    ),
    (
        "FETCH `EMAILID` and `THREADID`, the search keys of those names, STATUS `MAILBOXID`",
        "FETCH 1 EMAILID",
        "",
    ),
    ("FETCH `BINARY` and `BINARY.SIZE`", "FETCH 1 BINARY[1]", ""),
    ("URLFETCH with parameters", "URLFETCH (x BINARY)", "URLAUTH"),
    ("FETCH `PARTIAL`", "UID FETCH 1 FLAGS (PARTIAL 1:2)", ""),
    ("FETCH `PREVIEW`", "FETCH 1 PREVIEW", ""),
    ("FETCH `ANNOTATION`, SELECT and EXAMINE `ANNOTATE`", "FETCH 1 (ANNOTATION (/comment value))", ""),
    ("FETCH and SEARCH items whose names begin with `X-GM-`", "SEARCH X-GM-MSGID 1", ""),
    ("STATUS `APPENDLIMIT`", "STATUS x (APPENDLIMIT)", ""),
    ("STATUS `DELETED`", "STATUS x (DELETED)", ""),
    ("STATUS `DELETED-STORAGE`", "STATUS x (DELETED-STORAGE)", ""),
];

/// Returns whether a client with a selected mailbox sends the command where the server lists these capabilities.
fn client_sends(line: &str, listed: &str) -> bool {
    let mut talk = selected(listed);
    let (client, tx) = (&mut talk.client, &mut talk.tx);
    let message = AppendMessage::new(AppendData::Literal(1));
    let replace = |replaced| ReplaceCommand { replaced, mailbox: MailboxName::INBOX, message };
    let sent = match line.split(' ').next() {
        Some("COMPRESS") => client.compress(tx),
        Some("REPLACE") => client.replace(&replace(ReplacedMessage::Sequence(1)), tx),
        Some("UID") if line.starts_with("UID REPLACE") => {
            client.replace(&replace(ReplacedMessage::Uid(1)), tx)
        }
        _ => {
            let frame = format!("A {line}\r\n");
            let (_, command) = parse::command(frame.as_bytes(), &Context::strict())
                .unwrap_or_else(|error| panic!("{line}: {error}"));
            client.send(&command, tx)
        }
    };
    is_offered(line, sent)
}

/// A client with a selected mailbox, whose server lists these capabilities.
fn selected(listed: &str) -> Talk {
    let mut talk = Talk::greeted("PREAUTH", &format!("X {listed}"));
    talk.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)));
    talk.said();
    talk.hear("M1 OK [READ-WRITE] selected\r\n").unwrap();
    talk
}

fn is_offered(line: &str, sent: Result<CommandId, Error>) -> bool {
    match sent {
        Ok(_) => true,
        Err(Error::Misuse(Misuse::NotOffered)) => false,
        Err(other) => panic!("{line}: {other:?}"),
    }
}

/// Returns whether a server with these extensions knows the command.
fn server_knows(line: &str, extensions: &[String]) -> bool {
    let (enableable, extensions): (Vec<_>, Vec<_>) =
        extensions.iter().cloned().partition(|name| name == "IMAP4rev2");
    let config = Arc::new(Config::default().extensions(extensions).enableable(enableable));
    let script = format!("l LOGIN alice secret\r\ns SELECT INBOX\r\na {line}\r\n");
    let record = in_every_split(script, false, || {
        let mut greeting = SendBuffer::new();
        let server = Server::<Secure>::new(Arc::clone(&config), Secure::trusted_local(), &mut greeting);
        Box::new(ServerSide {
            server,
            greeting,
            answer: Box::new(move |event, server, tx| match event {
                Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
                Event::Command(_, reply) => server.reply(reply, &ok("known"), tx).unwrap(),
                _ => {}
            }),
        })
    });
    !record.output.contains("a BAD unknown command")
}

/// The capabilities of a row: each alternative is sufficient.
fn alternatives(command: &str, cell: &str) -> Vec<Together> {
    let one = |name: String| match name.as_str() {
        // With the sample's algorithm.
        "THREAD=" => vec![String::from("THREAD=REFS")],
        "QUOTA=" => vec![String::from("QUOTA=RES-STORAGE")],
        // ENABLE also needs the capability that it names.
        _ if command == "ENABLE" => vec![name, String::from("X")],
        _ => vec![name],
    };
    capabilities(cell).into_iter().map(one).collect()
}

#[test]
fn commands_need_the_capabilities_of_the_table() {
    let mut named = BTreeSet::new();
    for row in table("command") {
        let [commands, capability, document, client, server] = &row[..] else { panic!("{row:?}") };
        assert!(![document, client, server].iter().any(|cell| cell.is_empty()), "{row:?}");
        for command in commands.split(", ") {
            assert!(named.insert(command.to_owned()), "{command} has two rows");
            let sample = ARGUMENTS.iter().find(|(name, _)| *name == command);
            let (_, arguments) = sample.unwrap_or_else(|| panic!("{command} needs sample arguments"));
            let line = format!("{command}{arguments}");
            let alternatives = alternatives(command, capability);
            assert!(!alternatives.is_empty(), "{row:?}");
            for together in &alternatives {
                assert!(client_sends(&line, &together.join(" ")), "{line} with {together:?}");
                assert!(server_knows(&line, together), "{line} with {together:?}");
            }
            let by_default = ["ENABLE", "IDLE"].contains(&command);
            assert_eq!(server_knows(&line, &[]), by_default, "{line}");
            assert!(!client_sends(&line, ""), "{line}");
        }
    }
    // Every other command that the machines know needs none.
    let known = CommandName::ALL.iter().map(|name| name.as_str());
    for name in known.filter(|name| !named.contains(*name)) {
        assert!(server_knows(&format!("{name} ?"), &[]), "{name} needs a capability and has no row");
    }
}

#[test]
fn arguments_need_the_capabilities_of_the_table() {
    let mut left: BTreeSet<&str> = SAMPLES.iter().map(|(argument, ..)| *argument).collect();
    for row in table("argument") {
        let [argument, capability] = &row[..] else { panic!("{row:?}") };
        // These rows are about names, which `not_offered.rs` checks.
        if argument == "ENABLE" || argument.starts_with("CREATE and RENAME") {
            continue;
        }
        let sample = SAMPLES.iter().find(|(name, ..)| name == argument);
        let (_, sample, base) = sample.unwrap_or_else(|| panic!("{argument} needs a sample"));
        left.remove(argument.as_str());
        let needed = capabilities(capability);
        assert!(!needed.is_empty(), "{argument}");
        for name in &needed {
            assert!(
                client_sends(sample, &format!("{base} {name}")),
                "{argument}: {sample} with {base} {name}"
            );
        }
        assert!(!client_sends(sample, base), "{argument}: {sample} with {base}");
    }
    assert!(left.is_empty(), "samples without a row: {left:?}");
}

#[test]
fn forms_of_messages_need_the_capabilities_of_the_table() {
    let url = [CatenatePart::Url("/x".into())];
    let one = AppendMessage::new(AppendData::Literal(1));
    let samples = [
        ("several messages in one APPEND", vec![one, one]),
        ("`~{n}`, a literal8", vec![AppendMessage::new(AppendData::Literal8(1))]),
        ("`UTF8 (~{n})`", vec![AppendMessage::new(AppendData::Utf8(1))]),
        ("`CATENATE (...)`", vec![AppendMessage::new(AppendData::Catenate(&url))]),
    ];
    let mut checked = 0;
    for row in table("form") {
        let [form, capability, ..] = &row[..] else { panic!("{row:?}") };
        // `rejected_literals.rs` and `attacks.rs` check how literals are announced.
        let Some((_, messages)) = samples.iter().find(|(name, _)| name == form) else {
            assert!(form.starts_with("literals"), "{form} needs a sample");
            continue;
        };
        let needed = capabilities(capability);
        for (listed, expected) in needed.iter().map(|name| (name.as_str(), true)).chain([("", false)]) {
            let mut talk = selected(listed);
            talk.hear("* ENABLED UTF8=ACCEPT\r\n").unwrap();
            let sent = talk.client.append_messages(MailboxName::INBOX, messages, &mut talk.tx);
            assert_eq!(is_offered(form, sent), expected, "{form} with {listed:?}");
        }
        checked += 1;
    }
    assert_eq!(checked, samples.len());
    let mut talk = selected("UTF8=ACCEPT");
    let early = talk.client.append_messages(MailboxName::INBOX, &samples[2].1, &mut talk.tx);
    assert!(!is_offered("UTF8 that is not enabled", early));
}
