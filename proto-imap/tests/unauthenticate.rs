//! UNAUTHENTICATE (RFC 8437) in both roles.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod common;

use std::sync::Arc;

use common::talk::Talk;
use common::{ServerSide, in_every_split, no, ok};
use proto_imap::State;
use proto_imap::client::LoginMethod;
use proto_imap::server::{Event, Server};
use proto_imap::types::{Capability, CapabilityList, Command, MailboxName, SelectCommand};
use proto_mail::{AuthVerdict, Credentials, Error, Misuse, Secure, SendBuffer};

/// Creates a client that has selected a mailbox and enabled UTF-8 names. Its server lists these capabilities.
fn selected(capabilities: &str) -> Talk {
    let mut talk = Talk::greeted("PREAUTH", &format!("IMAP4rev2 ENABLE {capabilities}"));
    talk.send(&Command::Enable(CapabilityList::new(&[Capability::new("IMAP4rev2")])));
    talk.said();
    talk.hear("* ENABLED IMAP4rev2\r\nM1 OK\r\n").unwrap();
    talk.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)));
    talk.said();
    talk.hear("M2 OK [READ-WRITE] selected\r\n").unwrap();
    talk
}

#[test]
fn the_client_forgets_what_the_login_brought() {
    let mut talk = selected("UNAUTHENTICATE IDLE");
    talk.send(&Command::Unauthenticate);
    assert_eq!(talk.said(), "M3 UNAUTHENTICATE\r\n");
    talk.hear("M3 OK bye\r\n").unwrap();
    assert_eq!(talk.client.state(), Some(State::NotAuthenticated));
    assert!(talk.client.capabilities().is_none());
    // The machine asks for the capabilities of the new state.
    assert_eq!(talk.said(), "M4 CAPABILITY\r\n");
    talk.hear("* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\nM4 OK\r\n").unwrap();
    talk.authenticate(Credentials::password("bob", &b"pw"[..]), LoginMethod::Strongest).unwrap();
    assert!(talk.said().starts_with("M5 AUTHENTICATE PLAIN "));
    talk.hear("M5 OK [CAPABILITY IMAP4rev1] in\r\n").unwrap();
    // Nothing is enabled any more: names are in modified UTF-7 again.
    talk.send(&Command::Delete(MailboxName::new("Entwürfe")));
    assert_eq!(talk.said(), "M6 DELETE \"Entw&APw-rfe\"\r\n");
}

#[test]
fn a_refused_command_changes_nothing_at_the_client() {
    let mut talk = selected("UNAUTHENTICATE");
    talk.send(&Command::Unauthenticate);
    talk.said();
    talk.hear("M3 NO not now\r\n").unwrap();
    assert!(talk.client.state().unwrap().is_selected());
    assert!(talk.client.capabilities().unwrap().has("UNAUTHENTICATE"));
}

#[test]
fn the_client_does_not_send_it_where_it_is_not_offered() {
    let mut talk = selected("IDLE");
    let error = talk.client.send(&Command::Unauthenticate, &mut talk.tx).map(|_| ());
    assert_eq!(error, Err(Error::Misuse(Misuse::NotOffered)));
    assert_eq!(talk.said(), "");

    let mut talk = Talk::greeted("OK", "UNAUTHENTICATE AUTH=PLAIN");
    let error = talk.client.send(&Command::Unauthenticate, &mut talk.tx).map(|_| ());
    assert_eq!(error, Err(Error::Misuse(Misuse::WrongState)));
}

/// Returns the server's answers to a script after a login.
fn answers(extensions: &[&str], refuses: bool, script: &str) -> String {
    let record = in_every_split(format!("l LOGIN alice secret\r\n{script}"), false, || {
        let mut config = (*common::config()).clone();
        config.enableable = vec!["IMAP4rev2".into()];
        config.extensions = extensions.iter().map(|&name| name.into()).collect();
        let mut greeting = SendBuffer::new();
        let server = Server::<Secure>::new(Arc::new(config), Secure::trusted_local(), &mut greeting);
        Box::new(ServerSide {
            server,
            greeting,
            answer: Box::new(move |event, server, tx| match event {
                Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
                Event::Command(Command::Unauthenticate, reply) if refuses => {
                    server.reply(reply, &no("not now"), tx).unwrap();
                }
                Event::Command(command, reply) => {
                    let enabled = server.is_enabled("IMAP4rev2");
                    let text = format!("{} {enabled}", command.name());
                    server.reply(reply, &ok(&text), tx).unwrap();
                }
                _ => {}
            }),
        })
    });
    assert_eq!(record.error, None, "{record:#?}");
    let (_, rest) = record.output.split_once("welcome\r\n").unwrap();
    rest.to_owned()
}

#[test]
fn the_server_returns_to_not_authenticated_and_disables_what_was_enabled() {
    let script = "a ENABLE IMAP4rev2\r\nb SELECT INBOX\r\nc UNAUTHENTICATE\r\nd SELECT INBOX\r\n\
                  e LOGIN bob pw\r\nf SELECT INBOX\r\n";
    let output = answers(&["UNAUTHENTICATE"], false, script);
    let answers: Vec<&str> = output.lines().filter(|line| !line.starts_with('*')).collect();
    assert_eq!(answers.len(), 6, "{output}");
    assert_eq!(
        answers[..4],
        ["a OK ENABLE completed", "b OK SELECT true", "c OK UNAUTHENTICATE true", "d BAD authenticate first"]
    );
    assert!(answers[4].starts_with("e OK [CAPABILITY "), "{output}");
    assert_eq!(answers[5], "f OK SELECT false");
}

#[test]
fn the_server_counts_commands_before_login_anew() {
    let limit = common::config().limits.commands_before_auth;
    let before =
        |name: &str| -> String { (1..limit).map(|number| format!("{name}{number} NOOP\r\n")).collect() };
    // `answers` logs in with one command.
    let script = format!("u UNAUTHENTICATE\r\n{}r LOGIN bob pw\r\nz NOOP\r\n", before("n"));
    let output = answers(&["UNAUTHENTICATE"], false, &script);
    assert!(output.ends_with("z OK NOOP false\r\n"), "{output}");
}

#[test]
fn a_refusal_of_the_server_changes_nothing() {
    let output =
        answers(&["UNAUTHENTICATE"], true, "a ENABLE IMAP4rev2\r\nb UNAUTHENTICATE\r\nc SELECT INBOX\r\n");
    assert!(output.ends_with("b NO not now\r\nc OK SELECT true\r\n"), "{output}");
}

#[test]
fn a_server_that_does_not_offer_it_does_not_know_it() {
    let output = answers(&[], false, "a UNAUTHENTICATE\r\nb SELECT INBOX\r\n");
    assert!(output.starts_with("a BAD unknown command\r\nb OK SELECT"), "{output}");
}
