//! APPEND with several messages, with parts and URLs, with literal8 and UTF-8, and REPLACE, in both roles (RFC 3502, 3516,
//! 4469, 6855, 7889, 8508).

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[allow(unreachable_pub, reason = "the items of a test's module")]
#[path = "append_family/pair.rs"]
mod pair;

use std::fmt::Write as _;

use bytes::Bytes;
use pair::{ALL, Message, Pair, Part, Peer, Received, offering};
use proptest::prelude::*;
use proto_imap::Config;
use proto_imap::client::{self, Client};
use proto_imap::types::{
    AppendCommand, AppendData, AppendForm, AppendMessage, CatenatePart, Command, MAX_APPEND_PARTS,
    MailboxName, ReplaceCommand, ReplacedMessage,
};
use proto_mail::{Error, Misuse, RecvBuffer, Secure, SendBuffer};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        Just(b")\r\nx LOGOUT\r\n".to_vec()),
        Just(b" URL {9}\r\n".to_vec()),
        Just(b"}\r\n {5+}\r\n".to_vec()),
    ]
}

fn url() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{1,30}",
        Just("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER".to_owned()),
        // Longer than a quoted string: a literal.
        Just("/x".repeat(600)),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let part =
        prop_oneof![bytes().prop_map(Part::Text), bytes().prop_map(Part::Utf8), url().prop_map(Part::Url),];
    let contents = prop_oneof![
        bytes().prop_map(|bytes| (AppendForm::Literal, vec![Part::Text(bytes)])),
        bytes().prop_map(|bytes| (AppendForm::Literal8, vec![Part::Text(bytes)])),
        bytes().prop_map(|bytes| (AppendForm::Utf8, vec![Part::Text(bytes)])),
        prop::collection::vec(part, 1..6).prop_map(|parts| (AppendForm::Catenate, parts)),
    ];
    (any::<bool>(), prop::option::of(0_i64..2_000_000_000), contents)
        .prop_map(|(seen, date, (form, parts))| Message { seen, date, form, parts })
}

fn replaced() -> impl Strategy<Value = Option<ReplacedMessage>> {
    prop_oneof![
        3 => Just(None),
        1 => (1_u32..9).prop_map(|number| Some(ReplacedMessage::Sequence(number))),
        1 => (1_u32..).prop_map(|uid| Some(ReplacedMessage::Uid(uid))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The server receives what the client sends, whatever the forms, the literals and the pieces.
    #[test]
    fn a_server_receives_what_a_client_appends(
        mut messages in prop::collection::vec(message(), 1..5),
        mailbox in prop_oneof!["[a-z]{1,8}", Just("Grüße".to_owned()), Just("long".repeat(300))],
        replaced in replaced(),
        waits in any::<bool>(),
        chunk in prop_oneof![Just(1_usize), 1_usize..50, Just(usize::MAX)],
    ) {
        let literals = if waits { proto_imap::NonSyncLiterals::Never } else { proto_imap::NonSyncLiterals::Auto };
        let mut pair = Pair::new(offering(&ALL), Config::default().literals(literals), chunk);
        if replaced.is_some() {
            messages.truncate(1);
        }
        pair.append(replaced, &mailbox, &messages).unwrap();
        pair.client.send(&Command::Noop, &mut pair.tx).unwrap();
        pair.run();
        prop_assert!(pair.payloads.is_empty());
        prop_assert_eq!(pair.completions.len(), 2, "{}", pair.wire.escape_ascii());
        prop_assert!(pair.completions.iter().all(|status| status.contains("Ok")), "{:?}", pair.completions);
        let received = &pair.peer.received;
        prop_assert_eq!((received.ends, received.aborts, received.replaced), (1, 0, replaced));
        prop_assert_eq!(&received.mailbox, &mailbox);
        prop_assert_eq!(&received.messages, &messages);
        prop_assert_eq!(&pair.peer.commands.last().unwrap()[..], "NOOP");
    }

    /// Whichever message, part or URL the application rejects, the command fails once and the next command works.
    #[test]
    fn a_rejected_part_ends_the_command_and_nothing_else(
        mut messages in prop::collection::vec(message(), 1..4),
        reject in 0_usize..12,
        waits in any::<bool>(),
        chunk in prop_oneof![Just(1_usize), 1_usize..50, Just(usize::MAX)],
    ) {
        let literals = if waits { proto_imap::NonSyncLiterals::Never } else { proto_imap::NonSyncLiterals::Auto };
        let mut pair = Pair::new(offering(&ALL), Config::default().literals(literals), chunk);
        messages.truncate(3);
        pair.peer.reject = Some(reject);
        pair.append(None, "x", &messages).unwrap();
        pair.client.send(&Command::Noop, &mut pair.tx).unwrap();
        pair.run();
        let rejected = pair.peer.offers > reject;
        prop_assert_eq!(pair.completions.len(), 2, "{}", pair.wire.escape_ascii());
        prop_assert_eq!(pair.completions[0].contains("BadUrl"), rejected, "{:?}", pair.completions);
        prop_assert!(pair.completions[1].contains("Ok"));
        prop_assert_eq!(pair.peer.commands.len(), 2, "{:?}", pair.peer.commands);
        prop_assert_eq!(pair.peer.received.ends, usize::from(!rejected));
        prop_assert_eq!(pair.peer.received.aborts, 0);
        let waiting = pair.client.wait();
        prop_assert_eq!(waiting.awaited, proto_mail::WaitFor::Application);
    }

    /// Whatever follows a message, the server answers and stays in step, in whatever pieces it arrives.
    #[test]
    fn a_server_survives_anything_behind_a_message(
        lines in prop::collection::vec(
            prop_oneof![
                Just(" {3+}\r\nabc".to_owned()), Just(" (\\Seen) ~{2+}\r\nab".to_owned()),
                Just(" CATENATE (".to_owned()), Just("URL x".to_owned()), Just(" URL {2+}\r\nab".to_owned()),
                Just(" TEXT {1+}\r\na".to_owned()), Just(")".to_owned()), Just(" UTF8 (~{2+}\r\nab".to_owned()),
                Just(" ".to_owned()), Just(" {0+}\r\n".to_owned()), "[ -~]{0,6}",
            ],
            0..8,
        ),
        chunk in 1_usize..40,
    ) {
        let input = format!("a APPEND x {{2+}}\r\nab{}\r\nz NOOP\r\n", lines.concat());
        let mut peer = Peer::selected(offering(&ALL));
        let mut output = Vec::new();
        for piece in input.as_bytes().chunks(chunk) {
            output.extend(peer.hear(piece));
        }
        let output = String::from_utf8(output).unwrap();
        prop_assert!(!output.contains("BYE"), "{output}");
        let answers = output.lines().filter(|line| line.starts_with("a ")).count();
        // The random bytes can announce a literal that takes in the last command.
        prop_assert!(answers == 1 || answers == 0 && !output.contains("z OK"), "{input}: {output}");
        let (received, whole) = (peer.received, Peer::selected(offering(&ALL)).replay(&input));
        prop_assert_eq!((received, output), whole, "{}", input);
    }
}

impl Peer {
    /// Receives everything at once. Returns what the application has received, and the output.
    fn replay(mut self, input: &str) -> (Received, String) {
        let output = String::from_utf8(self.hear(input.as_bytes())).unwrap();
        (self.received, output)
    }
}

/// Runs a server over this input, byte by byte. Returns its output.
fn answers(config: Config, input: &str) -> (String, Peer) {
    let mut peer = Peer::selected(config);
    let mut output = String::new();
    for byte in input.as_bytes() {
        write!(output, "{}", String::from_utf8(peer.hear(&[*byte])).unwrap()).unwrap();
    }
    (output, peer)
}

#[test]
fn follows_the_examples_of_the_documents() {
    // RFC 3502 §6.3.11 and RFC 4469 appendix A, with short messages.
    let (output, peer) = answers(
        offering(&ALL),
        "A003 APPEND saved-messages (\\Seen) {3}\r\none (\\Seen) \" 7-Feb-1994 22:43:04 -0800\" {3}\r\ntwo\r\n\
         A004 APPEND Drafts (\\Seen \\Draft $MDNSent) CATENATE (URL \"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER\" \
         TEXT {2}\r\n-- URL \"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME\" \
         URL \"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1\" TEXT {4}\r\n----)\r\n",
    );
    assert_eq!(output, "+ go on\r\n+ go on\r\nA003 OK done\r\n+ go on\r\n+ go on\r\nA004 OK done\r\n");
    let parts = &peer.received.messages[0].parts;
    assert_eq!(parts.len(), 5);
    assert_eq!(parts[4], Part::Text(b"----".to_vec()));
    // RFC 8508 §4.2
    let (output, peer) = answers(
        offering(&ALL),
        "A011 UID REPLACE 3002 Drafts CATENATE (TEXT {2}\r\nab URL \"/Drafts/;UID=3002\")\r\n",
    );
    assert_eq!(output, "+ go on\r\nA011 OK done\r\n");
    assert_eq!(peer.received.replaced, Some(ReplacedMessage::Uid(3002)));
}

#[test]
fn a_server_rejects_what_it_does_not_offer_and_what_is_too_large() {
    let mut small = offering(&ALL);
    small.limits.message = 10;
    let announced = offering(&[&ALL[..], &["APPENDLIMIT=8"]].concat());
    let plain = || offering(&[]);
    let all = || offering(&ALL);
    for (config, command, expected, aborted) in [
        (plain(), "APPEND x {1+}\r\na {1+}\r\na", "BAD only a line end may follow the message", 1),
        (
            plain(),
            "APPEND x ~{1+}\r\na",
            "BAD a literal8 requires the BINARY extension, which is not offered",
            1,
        ),
        (plain(), "APPEND x CATENATE (URL y)", "BAD CATENATE is not offered", 1),
        (plain(), "REPLACE 1 x {1+}\r\na", "BAD unknown command", 0),
        (plain(), "APPEND x {0+}\r\n", "OK done", 0),
        (all(), "APPEND x {0+}\r\n", "NO the append was cancelled by an empty message", 1),
        (all(), "APPEND x {1+}\r\na {0+}\r\n", "NO the append was cancelled by an empty message", 1),
        (all(), "REPLACE 1 x {1+}\r\na {1+}\r\na", "BAD only a line end may follow the message", 1),
        (all(), "APPEND x {1+}\r\na y", "BAD the bytes behind the message are not valid", 1),
        (small.clone(), "APPEND x {11+}\r\n01234567890", "NO [TOOBIG] the message is too large", 1),
        (small.clone(), "APPEND x {9+}\r\n012345678 {9+}\r\n012345678", "OK done", 0),
        (
            small.clone(),
            "APPEND x CATENATE (TEXT {9+}\r\n012345678 TEXT {2+}\r\nab)",
            "NO [TOOBIG] the message is too large",
            1,
        ),
        (announced, "APPEND x {9+}\r\n012345678", "NO [TOOBIG] the message is too large", 1),
        (all(), "APPEND x CATENATE (URL y TEXT {1+}\r\na URL {2+}\r\nzz)", "OK done", 0),
    ] {
        let (output, peer) = answers(config, &format!("a {command}\r\nb NOOP\r\n"));
        assert_eq!(output, format!("a {expected}\r\nb OK done\r\n"), "{command}");
        assert_eq!(peer.received.aborts, aborted, "{command}");
    }
    let mut peer = Peer::new(offering(&ALL));
    let output =
        peer.hear(b"l LOGIN u p\r\na APPEND x UTF8 (~{1+}\r\na)\r\nb REPLACE 1 x {1+}\r\na\r\nc NOOP\r\n");
    let output = String::from_utf8(output).unwrap();
    assert!(
        output.contains("a NO [CANNOT] enable UTF8=ACCEPT first\r\nb BAD select a mailbox first\r\nc OK"),
        "{output}"
    );
}

#[test]
fn a_server_limits_the_parts_of_a_command() {
    for (extra, expected) in [(0, "a OK done\r\n"), (1, "a NO [LIMIT] too many messages and parts\r\n")] {
        let urls = vec!["URL x"; MAX_APPEND_PARTS as usize - 1 + extra].join(" ");
        let (output, _) =
            Peer::selected(offering(&ALL)).replay_output(&format!("a APPEND x CATENATE ({urls})\r\n"));
        assert_eq!(output, expected);
    }
}

impl Peer {
    fn replay_output(self, input: &str) -> (String, usize) {
        let (received, output) = self.replay(input);
        (output, received.aborts)
    }
}

#[test]
fn a_client_sends_no_form_that_is_not_offered() {
    let client = |capabilities: &str| {
        let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        rx.extend(format!("* PREAUTH [CAPABILITY IMAP4rev1 {capabilities}] hi\r\n").as_bytes());
        rx.extend(b"* ENABLED UTF8=ACCEPT\r\n");
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        (client, tx)
    };
    let url = [CatenatePart::Url("/x".into())];
    let utf8_part = [CatenatePart::Utf8(1)];
    let (one, binary) =
        (AppendMessage::new(AppendData::Literal(1)), AppendMessage::new(AppendData::Literal8(1)));
    let (catenate, utf8) =
        (AppendMessage::new(AppendData::Catenate(&url)), AppendMessage::new(AppendData::Utf8(1)));
    let parts = AppendMessage::new(AppendData::Catenate(&utf8_part));
    for (messages, capability) in [
        (&[one, one][..], "MULTIAPPEND"),
        (&[binary], "BINARY"),
        (&[catenate], "CATENATE"),
        (&[utf8], "UTF8=ONLY"),
        (&[parts], "CATENATE UTF8=ACCEPT"),
    ] {
        for offered in ["", "CATENATE", capability] {
            let (mut client, mut tx) = client(offered);
            let result = client.append_messages(MailboxName::INBOX, messages, &mut tx);
            let expected = if offered == capability { None } else { Some(Error::Misuse(Misuse::NotOffered)) };
            assert_eq!(result.err(), expected, "{capability} {offered}");
            assert_eq!(tx.is_empty(), offered != capability);
        }
    }
    let (mut client, mut tx) = client("MULTIAPPEND CATENATE REPLACE APPENDLIMIT=10");
    assert_eq!(client.capabilities().unwrap().append_limit(), Some(10));
    let large = AppendMessage::new(AppendData::Literal(11));
    let sum = [CatenatePart::Text(9), CatenatePart::Text(2)];
    for messages in [&[large][..], &[one, large], &[AppendMessage::new(AppendData::Catenate(&sum))]] {
        let result = client.append_messages(MailboxName::INBOX, messages, &mut tx);
        assert_eq!(result.unwrap_err(), Misuse::TooLarge.into());
    }
    assert_eq!(client.append(&AppendCommand::from("x"), 11, &mut tx).unwrap_err(), Misuse::TooLarge.into());
    for messages in [&[][..], &[AppendMessage::new(AppendData::Catenate(&[]))]] {
        let result = client.append_messages(MailboxName::INBOX, messages, &mut tx);
        assert_eq!(result.unwrap_err(), Misuse::InvalidArgument.into());
    }
    let replaced = ReplacedMessage::Uid(1);
    let replace = ReplaceCommand { replaced, mailbox: MailboxName::INBOX, message: one };
    assert_eq!(
        client.replace(&replace, &mut tx).unwrap_err(),
        Misuse::WrongState.into(),
        "nothing is selected"
    );
    assert!(tx.is_empty());
    client.append(&AppendCommand::from("x"), 10, &mut tx).unwrap();
}

/// After a rejection in the middle of a command, the client finishes only the literal that it has begun.
#[test]
fn a_client_skips_the_messages_behind_a_rejected_one() {
    let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"* PREAUTH [CAPABILITY IMAP4rev1 MULTIAPPEND LITERAL+] hi\r\n");
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    let messages = [AppendMessage::new(AppendData::Literal(4)), AppendMessage::new(AppendData::Literal(6))];
    client.append_messages(MailboxName::INBOX, &messages, &mut tx).unwrap();
    client.send(&Command::Noop, &mut tx).unwrap();
    assert!(matches!(client.next_event(&mut rx, &mut tx), Ok(Some(client::Event::AppendReady(_)))));
    assert_eq!(client.write_payload(Bytes::from_static(b"ab"), &mut tx), Ok(2));
    assert_eq!(tx.take(), b"M1 APPEND INBOX {4+}\r\nab");
    rx.extend(b"M1 NO [OVERQUOTA] full\r\n");
    assert!(matches!(client.next_event(&mut rx, &mut tx), Ok(Some(client::Event::Completed { .. }))));
    assert_eq!(client.write_payload(Bytes::from_static(b"cd"), &mut tx), Ok(0));
    assert_eq!(tx.take(), b"cd\r\nM2 NOOP\r\n", "no second message");
    assert_eq!(client.write_payload(Bytes::new(), &mut tx), Err(Misuse::WrongState.into()));
    rx.extend(b"M2 OK done\r\n");
    assert!(matches!(client.next_event(&mut rx, &mut tx), Ok(Some(client::Event::Completed { .. }))));
}
