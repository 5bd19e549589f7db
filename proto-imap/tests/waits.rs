//! What an IMAP client and server wait for, when a session ends, and how they treat unexpected answers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::talk::Talk;
use proto_imap::Config;
use proto_imap::client::{Client, LoginMethod};
use proto_imap::server::{Event as Heard, Server};
use proto_imap::types::{AppendCommand, SelectCommand};
use proto_imap::types::{Command, Condition, MailboxName, StatusResponse, Text};
use proto_mail::{
    AuthVerdict, Cleartext, Credentials, Error, Limit, Misuse, PeerError, RecvBuffer, Secure, SendBuffer,
    WaitFor,
};

/// The capabilities that the server lists in these tests.
const OFFERED: &str = "IDLE AUTH=PLAIN SASL-IR";

#[test]
fn each_wait_has_its_name_and_its_end() {
    let mut talk = Talk::silent();
    assert_eq!(talk.waits_for(), WaitFor::Greeting);
    assert_eq!(talk.client.timed_out(&mut talk.tx), Err(Limit::Timeout(WaitFor::Greeting).into()));
    assert_eq!(
        talk.client.timed_out(&mut talk.tx),
        Err(Limit::Timeout(WaitFor::Greeting).into()),
        "and again"
    );
    assert_eq!(talk.waits_for(), WaitFor::Nothing);

    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    assert_eq!(talk.waits_for(), WaitFor::Application, "no answer is owed");
    assert_eq!(talk.client.timed_out(&mut talk.tx), Ok(()));
    talk.send(&Command::Examine(SelectCommand::new(MailboxName::INBOX)));
    talk.said();
    assert_eq!(talk.waits_for(), WaitFor::Reply);
    // A line that arrives slowly is one wait.
    let reply = talk.client.wait().generation;
    talk.hear("* 3 EX").unwrap();
    let rest = talk.client.wait();
    assert_eq!(rest.awaited, WaitFor::Remainder);
    assert_ne!(rest.generation, reply);
    talk.hear("IS").unwrap();
    assert_eq!(talk.client.wait(), rest, "a byte is no step");
    talk.hear("TS\r\n").unwrap();
    assert_eq!(talk.waits_for(), WaitFor::Reply);
    assert_ne!(talk.client.wait().generation, rest.generation);
    talk.hear("M1 OK [READ-ONLY] open\r\n").unwrap();
    // Each part of a body is one wait; the text around it counts as the rest of a response.
    talk.hear("* 1 FETCH (BODY[] {5}\r\nab").unwrap();
    assert_eq!(talk.waits_for(), WaitFor::Data);
    talk.hear("cde").unwrap();
    assert_eq!(talk.waits_for(), WaitFor::Remainder);
    talk.hear(")\r\n").unwrap();
    assert_eq!(talk.waits_for(), WaitFor::Application);
    talk.send(&Command::Noop);
    let error = talk.client.timed_out(&mut talk.tx).unwrap_err();
    assert_eq!(error, Limit::Timeout(WaitFor::Reply).into());
    assert_eq!(talk.hear("M2 OK done\r\n"), Err(error));
}

#[test]
fn an_idling_client_wakes_up_in_time() {
    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    talk.send(&Command::Idle);
    assert_eq!(talk.said(), "M1 IDLE\r\n");
    assert_eq!(talk.waits_for(), WaitFor::Reply, "it is not granted yet");
    talk.hear("+ idling\r\n").unwrap();
    assert_eq!(talk.waits_for(), WaitFor::Idle);
    assert_eq!(talk.client.timed_out(&mut talk.tx), Ok(()));
    assert_eq!(talk.said(), "DONE\r\n");
    assert_eq!(talk.waits_for(), WaitFor::Reply);
    assert!(talk.hear("M1 OK done\r\n").unwrap()[0].starts_with("Completed"));
}

#[test]
fn an_application_may_take_its_time_with_a_message() {
    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    talk.client.append(&AppendCommand::new(MailboxName::INBOX), 3, &mut talk.tx).unwrap();
    assert_eq!(talk.said(), "M1 APPEND INBOX {3}\r\n");
    assert_eq!(talk.waits_for(), WaitFor::Reply);
    assert_eq!(
        talk.client.write_payload(b"abc".as_slice().into(), &mut talk.tx),
        Err(Misuse::WrongState.into())
    );
    assert!(talk.hear("+ go on\r\n").unwrap()[0].starts_with("AppendReady"));
    assert_eq!(talk.waits_for(), WaitFor::Application);
    assert_eq!(
        talk.client.write_payload(b"abcd".as_slice().into(), &mut talk.tx),
        Err(Misuse::WrongLength.into())
    );
    assert_eq!(talk.client.write_payload(b"ab".as_slice().into(), &mut talk.tx), Ok(1));
    assert_eq!(talk.client.write_payload(b"c".as_slice().into(), &mut talk.tx), Ok(0));
    assert_eq!(talk.said(), "abc\r\n");
    assert_eq!(talk.waits_for(), WaitFor::Reply);
}

/// The peer may close the connection while no command is in progress, or after LOGOUT.
#[test]
fn the_end_of_a_connection_is_in_order_where_nothing_is_owed() {
    let cut = Error::from(PeerError::UnexpectedEnd);
    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    assert!(!talk.client.is_closed());
    assert_eq!(talk.close().unwrap(), ["Closed"]);
    assert!(talk.client.is_closed());
    assert_eq!(talk.hear("").unwrap(), [""; 0]);
    assert_eq!(talk.waits_for(), WaitFor::Nothing);

    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    talk.send(&Command::Noop);
    assert_eq!(talk.close(), Err(cut.clone()), "an answer is owed");

    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    talk.send(&Command::Logout);
    talk.said();
    assert_eq!(talk.close().unwrap(), ["Closed"], "some servers just go");

    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    talk.send(&Command::Logout);
    talk.said();
    talk.hear("* BY").unwrap();
    assert_eq!(talk.close(), Err(cut.clone()), "in the middle of a response");

    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    talk.hear("* BY").unwrap();
    assert_eq!(talk.close(), Err(cut.clone()));
    assert_eq!(Talk::silent().close(), Err(cut), "no greeting came");
}

/// Capabilities listed before the login are not valid after it.
#[test]
fn asks_for_capabilities_again_after_authentication() {
    let begun = || {
        let mut talk = Talk::greeted("OK", OFFERED);
        talk.client
            .authenticate(LoginMethod::Strongest, &Credentials::password("u", &b"p"[..]), &mut talk.tx)
            .unwrap();
        assert_eq!(talk.said(), "M1 AUTHENTICATE PLAIN AHUAcA==\r\n");
        talk
    };
    let mut talk = begun();
    talk.hear("M1 OK in\r\n").unwrap();
    assert_eq!(talk.said(), "M2 CAPABILITY\r\n");
    talk.hear("* CAPABILITY IMAP4rev1\r\n* CAPABILITY MOVE\r\nM2 OK done\r\n").unwrap();
    assert_eq!(talk.said(), "");
    let mut talk = begun();
    talk.hear("M1 OK [CAPABILITY IMAP4rev1] in\r\n").unwrap();
    assert_eq!(talk.said(), "", "it was told");
    let mut talk = begun();
    talk.hear("M1 NO no\r\n").unwrap();
    assert_eq!(talk.said(), "", "nothing has changed");
}

/// Many servers list their capabilities before the tagged answer. They are valid afterwards, and the client does not
/// ask again.
#[test]
fn capabilities_told_on_the_way_are_those_that_hold() {
    let mut talk = Talk::greeted("OK", OFFERED);
    talk.authenticate(Credentials::password("u", &b"p"[..]), LoginMethod::Strongest).unwrap();
    talk.said();
    let told = talk.hear("* CAPABILITY IMAP4rev1 MOVE\r\nM1 OK in\r\n").unwrap();
    assert_eq!(told.iter().filter(|event| *event == "Capabilities").count(), 1, "{told:?}");
    assert_eq!(talk.said(), "", "it was told");
    assert!(talk.client.capabilities().is_some_and(|known| known.has("MOVE") && !known.has("AUTH=PLAIN")));
}

/// An answer to another command does not answer the client's request for capabilities.
#[test]
fn capabilities_are_known_by_their_own_answer() {
    let mut talk = Talk::silent();
    talk.hear("* PREAUTH ready\r\n").unwrap();
    assert_eq!(talk.said(), "M1 CAPABILITY\r\n");
    talk.send(&Command::Noop);
    talk.said();
    assert!(!talk.hear("M2 OK done\r\n").unwrap().contains(&"Capabilities".to_owned()));
    assert!(talk.client.capabilities().is_none());
    let told = talk.hear("* CAPABILITY IMAP4rev1 MOVE\r\nM1 OK done\r\n").unwrap();
    assert_eq!(told, ["Capabilities"]);
    assert!(talk.client.capabilities().is_some_and(|known| known.has("MOVE")));

    // If the capabilities were listed while the request was open, the answer adds nothing new.
    let mut talk = Talk::silent();
    talk.hear("* PREAUTH ready\r\n").unwrap();
    talk.said();
    let told = talk.hear("* OK [CAPABILITY IMAP4rev1 MOVE] by the way\r\nM1 OK done\r\n").unwrap();
    assert_eq!(told.iter().filter(|event| *event == "Capabilities").count(), 1, "{told:?}");
}

/// An answer that was received before its command was sent does not count, even if the command is sent before the
/// answer is parsed.
#[test]
fn an_answer_comes_behind_the_question() {
    for (early, late) in [("", "M1 OK done\r\n"), ("M1 OK done\r\n", ""), ("M1 OK do", "ne\r\n")] {
        let mut talk = Talk::greeted("PREAUTH", OFFERED);
        talk.rx.extend(format!("* OK by the way\r\n{early}").as_bytes());
        assert!(talk.client.next_event(&mut talk.rx, &mut talk.tx).unwrap().is_some());
        talk.send(&Command::Noop);
        assert_eq!(talk.said(), "M1 NOOP\r\n", "it has left");
        let heard = talk.hear(late);
        assert_eq!(heard.is_ok(), early.is_empty(), "{early} {late}: {heard:?}");
    }
}

/// Creates a client in cleartext with this greeting.
fn cleartext(greeting: &str) -> (Client<Cleartext>, RecvBuffer, SendBuffer) {
    let mut client = Client::<Cleartext>::new(Arc::new(Config::default()));
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(greeting.as_bytes());
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    (client, rx, tx)
}

#[test]
fn starttls_waits_until_everything_is_answered() {
    let (client, _, mut tx) = cleartext("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n");
    assert!(client.starttls(&mut tx).is_ok());
    assert_eq!(tx.take(), b"M1 STARTTLS\r\n");
    let (mut client, _, mut tx) = cleartext("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n");
    client.send(&Command::Noop, &mut tx).unwrap();
    let _ = tx.take();
    assert!(client.starttls(&mut tx).is_err_and(|error| error == Misuse::WrongState.into()));
    assert!(tx.is_empty());
    let (client, _, mut tx) = cleartext("* OK ready\r\n");
    assert_eq!(tx.take(), b"M1 CAPABILITY\r\n");
    assert!(
        client.starttls(&mut tx).is_err_and(|error| error == Misuse::WrongState.into()),
        "nothing is known"
    );
    let (client, _, mut tx) = cleartext("* OK [CAPABILITY IMAP4rev1] ready\r\n");
    assert!(client.starttls(&mut tx).is_err_and(|error| error == PeerError::StartTlsNotOffered.into()));
    assert!(tx.is_empty());
}

#[test]
fn tags_are_those_that_were_given() {
    for tag in ["M0", "M01", "M2", "M", "M4294967297", "M10000000001", "m1", "A1", "M1x", "M 1"] {
        let mut talk = Talk::greeted("PREAUTH", OFFERED);
        talk.send(&Command::Noop);
        talk.said();
        let heard = talk.hear(&format!("{tag} OK done\r\n"));
        assert!(
            heard.as_ref().map_or(true, |events| events.iter().all(|event| !event.starts_with("Completed"))),
            "{tag}: {heard:?}"
        );
    }
}

#[test]
fn an_unexpected_continuation_is_fatal() {
    for state in ["OK", "PREAUTH"] {
        let mut talk = Talk::greeted(state, OFFERED);
        assert_eq!(talk.hear("+ go on\r\n"), Err(PeerError::UnexpectedContinuation.into()));
    }
    let (mut client, mut rx, mut tx) = cleartext("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n");
    rx.extend(b"+ go on\r\n");
    let heard = client.next_event(&mut rx, &mut tx).map(|event| event.is_none());
    assert_eq!(heard, Err(PeerError::UnexpectedContinuation.into()));
}

/// A line of text contains no literal, even if it looks like an announcement. Any other response that announces one
/// has one.
#[test]
fn text_that_looks_like_a_literal_is_text() {
    for line in ["* OK at {3}", "* NO at {3}", "* BAD at {99999999999999999999999}"] {
        let mut talk = Talk::greeted("PREAUTH", OFFERED);
        let heard = talk.hear(&format!("{line}\r\n")).unwrap();
        assert_eq!(heard.len(), 1, "{line}: {heard:?}");
    }
    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    talk.send(&Command::Noop);
    talk.said();
    assert!(talk.hear("M1 OK {3}\r\n").unwrap()[0].starts_with("Completed"));
    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    assert_eq!(talk.hear("* LIST () \"/\" {3}\r\n").unwrap(), [""; 0]);
    assert_eq!(talk.hear("a b\r\n").unwrap().len(), 1);
    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    assert_eq!(
        talk.hear("* LIST () \"/\" {3+}\r\n"),
        Err(PeerError::Malformed.into()),
        "no server sends one"
    );
}

/// Debug output shows the state of a session and none of its data.
#[test]
fn debug_shows_no_word_of_the_session() {
    let mut talk = Talk::greeted("OK", OFFERED);
    talk.client
        .authenticate(LoginMethod::Strongest, &Credentials::password("alice", &b"hunter2"[..]), &mut talk.tx)
        .unwrap();
    let shown = format!("{:?}", talk.client);
    for part in ["phase: Open(NotAuthenticated)", "kind: Authenticate", "active: Authenticate"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(!shown.contains("alice") && !shown.contains("hunter2"));
    // Queued output is not shown either, and neither is its length.
    let mut talk = Talk::greeted("OK", "");
    talk.authenticate(Credentials::password("alice", "hünter2".as_bytes()), LoginMethod::Strongest).unwrap();
    assert!(talk.said().ends_with("{8}\r\n"), "the rest waits");
    let shown = format!("{:?}", talk.client);
    assert!(shown.contains("kind: Login") && shown.contains("privacy: Secret"), "{shown}");
    assert!(!shown.contains("alice") && !shown.contains("nter2"), "{shown}");
}

/// The access to a mailbox is the last one that the server has sent, in the answer or in an untagged response.
#[test]
fn a_mailbox_is_as_open_as_the_server_says() {
    use proto_imap::{Access, State};
    for (command, code, access) in [
        ("SELECT", "[READ-ONLY] ", Access::ReadOnly),
        ("SELECT", "[READ-WRITE] ", Access::ReadWrite),
        ("SELECT", "", Access::ReadWrite),
        ("EXAMINE", "", Access::ReadOnly),
        ("EXAMINE", "[READ-WRITE] ", Access::ReadWrite),
    ] {
        let mut talk = Talk::greeted("PREAUTH", OFFERED);
        let select = SelectCommand::new(MailboxName::INBOX);
        talk.send(&if command == "SELECT" { Command::Select(select) } else { Command::Examine(select) });
        talk.said();
        talk.hear(&format!("M1 OK {code}open\r\n")).unwrap();
        assert_eq!(talk.client.state(), Some(State::Selected(access)), "{command} {code}");
        talk.hear("* OK [READ-ONLY] closed for writing\r\n").unwrap();
        assert_eq!(talk.client.state(), Some(State::Selected(Access::ReadOnly)));
        talk.hear("* OK [READ-WRITE] open again\r\n").unwrap();
        assert_eq!(talk.client.state(), Some(State::Selected(Access::ReadWrite)));
        talk.send(&Command::Noop);
        talk.said();
        talk.hear("M2 OK [READ-ONLY] done\r\n").unwrap();
        assert_eq!(
            talk.client.state(),
            Some(State::Selected(Access::ReadWrite)),
            "of another command it says nothing"
        );
    }
}

/// Data about mailboxes are ignored before the login, and data about messages are ignored until a mailbox is
/// selected.
#[test]
fn what_makes_no_sense_yet_is_not_heard() {
    for (greeting, line, heard) in [
        ("OK", "* LIST () NIL INBOX", false),
        ("OK", "* 3 EXISTS", false),
        ("OK", "* OK hello", true),
        ("OK", "* ID NIL", true),
        ("PREAUTH", "* LIST () NIL INBOX", true),
        ("PREAUTH", "* 3 EXISTS", false),
        ("PREAUTH", "* 3 EXPUNGE", false),
        ("PREAUTH", "* OK hello", true),
    ] {
        let mut talk = Talk::greeted(greeting, OFFERED);
        assert_eq!(talk.hear(&format!("{line}\r\n")).unwrap().len(), usize::from(heard), "{greeting} {line}");
    }
}

/// Bytes of a message that the driver writes itself come after all queued bytes, because their position is unknown
/// otherwise.
#[test]
fn what_passes_by_waits_for_what_is_written() {
    let mut talk = Talk::greeted("PREAUTH", OFFERED);
    talk.client.append(&AppendCommand::new(MailboxName::INBOX), 5, &mut talk.tx).unwrap();
    talk.said();
    talk.hear("+ go on\r\n").unwrap();
    assert_eq!(talk.client.write_payload(b"a".as_slice().into(), &mut talk.tx), Ok(4));
    assert_eq!(
        talk.client.written_externally(4, &mut talk.tx),
        Err(Misuse::WrongState.into()),
        "one byte has not left"
    );
    assert_eq!(talk.said(), "a");
    assert_eq!(talk.client.written_externally(5, &mut talk.tx), Err(Misuse::WrongLength.into()));
    assert_eq!(talk.client.written_externally(3, &mut talk.tx), Ok(1));
    assert_eq!(talk.client.written_externally(1, &mut talk.tx), Ok(0));
    assert_eq!(talk.said(), "\r\n");
}

/// A client can send STARTTLS only before the login, and only after the capabilities are known.
#[test]
fn starttls_is_refused_after_authentication() {
    let mut client = Client::<Cleartext>::new(Arc::new(Config::default().danger_cleartext()));
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n");
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    assert!(client.starttls(&mut tx).is_err_and(|error| error == Misuse::WrongState.into()));
    assert!(tx.is_empty());
}

/// Lines and responses are limited to the byte. Before the login a response is limited to a line's length.
#[test]
fn responses_are_limited_in_bytes() {
    let mut config = Config::default();
    (config.limits.line, config.limits.frame) = (200, 300);
    let told = |greeting: &str, len: usize, drip: bool| {
        let client = Client::<Secure>::new(Arc::new(config.clone()), Secure::trusted_local());
        let mut talk = Talk { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
        talk.hear(&format!("* {greeting} [CAPABILITY IMAP4rev1] ready\r\n")).unwrap();
        let line = format!("* OK {}\r\n", "x".repeat(len - 7));
        if !drip {
            return talk.hear(&line).map(|_| ());
        }
        line.chars().try_for_each(|byte| talk.hear(&byte.to_string()).map(|_| ()))
    };
    for drip in [false, true] {
        assert_eq!(told("OK", 200, drip), Ok(()));
        assert_eq!(told("OK", 201, drip), Err(Limit::Line.into()));
        assert_eq!(told("PREAUTH", 300, drip), Ok(()));
        assert_eq!(told("PREAUTH", 301, drip), Err(Limit::Line.into()));
        // The lines of a response count together with their literals.
        let list = |text: usize| {
            let client = Client::<Secure>::new(Arc::new(config.clone()), Secure::trusted_local());
            let mut talk = Talk { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
            talk.hear("* PREAUTH [CAPABILITY IMAP4rev1] ready\r\n").unwrap();
            talk.hear(&format!("* LIST () NIL {{200}}\r\n{} {}\r\n", "x".repeat(200), "x".repeat(text)))
                .map(|events| events.len())
        };
        assert_eq!((list(300 - 224), list(300 - 223)), (Ok(1), Err(Limit::Frame.into())));
    }
}

/// In cleartext a BYE can come from anyone: it is counted but its text is not shown.
#[test]
fn a_farewell_on_cleartext_has_no_words() {
    let mut client = Client::<Cleartext>::new(Arc::new(Config::default()));
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(
        b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n* BYE [CAPABILITY IMAP4rev1] send it to me\r\n",
    );
    let mut events = Vec::new();
    while let Ok(Some(event)) = client.next_event(&mut rx, &mut tx) {
        events.push(format!("{event:?}"));
    }
    assert!(events.iter().any(|event| event.starts_with("Bye")), "{events:?}");
    assert!(!events.concat().contains("send it"), "{events:?}");
}

/// Creates a server under TLS that has sent its greeting.
fn serving() -> (Server<Secure>, RecvBuffer, SendBuffer) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(Arc::new(Config::default()), Secure::trusted_local(), &mut tx);
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    let _ = tx.take();
    (server, rx, tx)
}

#[test]
fn each_wait_of_a_server_has_its_name_and_its_end() {
    let waits = Config::default().waits;
    let (mut server, mut rx, mut tx) = serving();
    let wait = server.wait();
    assert_eq!((wait.awaited, wait.after), (WaitFor::Command, Some(waits.authentication)));
    rx.extend(b"a NO");
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    let rest = server.wait();
    assert_eq!((rest.awaited, rest.after), (WaitFor::Remainder, Some(waits.rest)));
    assert_ne!(rest.generation, wait.generation);
    rx.extend(b"O");
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert_eq!(server.wait(), rest, "a byte is no step");
    rx.extend(b"P\r\n");
    let Some(Heard::Command(_, reply)) = server.next_event(&mut rx, &mut tx).unwrap() else { panic!() };
    assert_eq!(server.wait().awaited, WaitFor::Application);
    assert_eq!(server.timed_out(&mut tx), Ok(()));
    server.reply(reply, &StatusResponse::new(Condition::Ok, Text::first_line("done")), &mut tx).unwrap();
    let next = server.wait();
    assert_eq!(next.awaited, WaitFor::Command);
    assert_ne!(next.generation, wait.generation, "each command is awaited anew");
    rx.extend(b"b AUTHENTICATE PLAIN\r\n");
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert_eq!(server.wait().awaited, WaitFor::Remainder, "the client's message");
    rx.extend(b"AHUAcA==\r\n");
    let Some(Heard::Auth(request)) = server.next_event(&mut rx, &mut tx).unwrap() else { panic!() };
    server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap();
    let wait = server.wait();
    assert_eq!(
        (wait.awaited, wait.after),
        (WaitFor::Command, Some(waits.command)),
        "a client that has logged in may take longer"
    );
    rx.extend(b"c IDLE\r\n");
    let Some(Heard::Idle(_)) = server.next_event(&mut rx, &mut tx).unwrap() else { panic!() };
    assert_eq!((server.wait().awaited, server.wait().after), (WaitFor::Command, Some(waits.command)));
    let error = server.timed_out(&mut tx).unwrap_err();
    assert_eq!(error, Limit::Timeout(WaitFor::Command).into());
    assert_eq!((server.timed_out(&mut tx), server.wait().awaited), (Err(error), WaitFor::Nothing));
}

/// Creates a server whose client has logged in.
fn known() -> (Server<Secure>, RecvBuffer, SendBuffer) {
    let (mut server, mut rx, mut tx) = serving();
    rx.extend(b"l LOGIN u p\r\n");
    let Some(Heard::Auth(request)) = server.next_event(&mut rx, &mut tx).unwrap() else { panic!() };
    server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap();
    let _ = tx.take();
    (server, rx, tx)
}

/// Each part of a message or of a rejected literal is one wait; the line after a message counts as the rest of its
/// command.
#[test]
fn a_message_is_awaited_part_by_part() {
    let waits = Config::default().waits;
    let waiting = |server: &Server<Secure>| (server.wait().awaited, server.wait().after);
    let (mut server, mut rx, mut tx) = known();
    rx.extend(b"a APPEND x {3}\r\n");
    let Some(Heard::Append { offer, .. }) = server.next_event(&mut rx, &mut tx).unwrap() else { panic!() };
    assert_eq!(server.wait().awaited, WaitFor::Application);
    server.accept_literal(offer, &mut tx).unwrap();
    assert_eq!(waiting(&server), (WaitFor::Data, Some(waits.data)));
    let begun = server.wait();
    rx.extend(b"m");
    let Some(Heard::AppendChunk(b"m")) = server.next_event(&mut rx, &mut tx).unwrap() else { panic!() };
    assert_eq!(waiting(&server), (WaitFor::Data, Some(waits.data)));
    assert_ne!(server.wait().generation, begun.generation, "a part has come");
    rx.extend(b"mm");
    assert!(matches!(server.next_event(&mut rx, &mut tx).unwrap(), Some(Heard::AppendChunk(b"mm"))));
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert_eq!(waiting(&server), (WaitFor::Remainder, Some(waits.rest)), "only the line end is missing");

    let (mut server, mut rx, mut tx) = known();
    rx.extend(b"a APPEND x {0}\r\n");
    let Some(Heard::Append { offer, .. }) = server.next_event(&mut rx, &mut tx).unwrap() else { panic!() };
    server.accept_literal(offer, &mut tx).unwrap();
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert_eq!(waiting(&server), (WaitFor::Remainder, Some(waits.rest)), "a message of no bytes has come");

    let (mut server, mut rx, mut tx) = known();
    rx.extend(b"a FETCH {3+}\r\nx");
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert_eq!(
        waiting(&server),
        (WaitFor::Data, Some(waits.data)),
        "what is refused is awaited all the same"
    );
    assert_eq!(server.timed_out(&mut tx), Err(Limit::Timeout(WaitFor::Data).into()));
}

/// Debug output shows the state of a session and none of its data.
#[test]
fn debug_of_a_server_shows_no_word_of_the_session() {
    let (mut server, mut rx, mut tx) = serving();
    rx.extend(b"hunter2 LOGIN alice hunter3\r\n");
    let event = server.next_event(&mut rx, &mut tx).unwrap();
    assert!(matches!(event, Some(Heard::Auth(_))));
    let shown = format!("{server:?}");
    for part in ["state: NotAuthenticated", "turn: Verdict", "commands_before_login: 1", "tag_len: 7"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(!shown.contains("alice") && !shown.contains("hunter"), "{shown}");
}
