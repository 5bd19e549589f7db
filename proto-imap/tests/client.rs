//! Runs the client against scripts of a server, split in every way.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{cleartext_client, client, config, in_every_split};
use proto_imap::client::LoginMethod;
use proto_imap::types::SelectCommand;
use proto_imap::types::{Command, MailboxName};
use proto_mail::{
    Credentials, Error, ErrorCode, ErrorDetails, Mechanism, PeerError, Rejection, RejectionKind,
};

const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR IDLE LITERAL+] ready\r\n";

/// Runs a client that logs in, selects INBOX and sends NOOP, each after the previous command has completed.
fn in_selected(script: &str) -> common::Record {
    let input = format!(
        "{GREETING}§M1 OK [CAPABILITY IMAP4rev1 IDLE LITERAL+] in\r\n§* 3 EXISTS\r\nM2 OK [READ-WRITE] selected\r\n§{script}"
    );
    in_every_split(input, false, || {
        let mut said = 0;
        client(config(), move |client, tx, events| {
            let seen = |name: &str| events.iter().filter(|event| event.starts_with(name)).count();
            if said == 0 && seen("Capabilities") == 1 {
                said = 1;
                let credentials = Credentials::password("u", &b"p"[..]);
                client.authenticate(LoginMethod::Strongest, &credentials, tx).unwrap();
            } else if said == 1 && seen("Auth(Accepted") == 1 {
                said = 2;
                client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), tx).unwrap();
            } else if said == 2 && seen("Completed") == 1 {
                said = 3;
                client.send(&Command::Noop, tx).unwrap();
            }
        })
    })
}

#[test]
fn a_session_in_order() {
    let record = in_selected("* 4 EXISTS\r\n* 2 EXPUNGE\r\nM3 OK done\r\n");
    assert_eq!(record.error, None);
    assert!(record.output.contains("M1 AUTHENTICATE PLAIN AHUAcA==\r\nM2 SELECT"), "{}", record.output);
    for event in [
        "Greeting",
        "Capabilities",
        "Auth(Accepted",
        "Data(Exists(3))",
        "Data(Exists(4))",
        "Data(Expunge(2))",
    ] {
        assert!(record.has(event), "{event}: {:#?}", record.events);
    }
}

#[test]
fn reports_fetch_items_and_body_chunks() {
    let record = in_selected(
        "* 1 FETCH (FLAGS (\\Seen) UID 7 BODY[] {12}\r\na\r\n)\r\n b {9} RFC822.SIZE 11)\r\n\
         * 2 FETCH (BODY[HEADER] \"x\\\"y\\\\z\" BODY[2] NIL BODY[1] {0}\r\n)\r\nM3 OK done\r\n",
    );
    let from = record.events.iter().position(|event| event.starts_with("FetchStart")).unwrap();
    let shown: Vec<&str> = record.events[from..].iter().map(String::as_str).collect();
    assert_eq!(
        shown,
        [
            "FetchStart { sequence: 1 }",
            "FetchItem(Flags([\\Seen]))",
            "FetchItem(Uid(7))",
            "BodyStart { section: BODY[], origin: None, size: Some(12) }",
            "Chunk a\r\n)\r\n b {9}",
            "BodyEnd",
            "FetchItem(Size(11))",
            "FetchEnd",
            "FetchStart { sequence: 2 }",
            "BodyStart { section: BODY[HEADER], origin: None, size: Some(5) }",
            "Chunk x\"y\\z",
            "BodyEnd",
            "BodyStart { section: BODY[2], origin: None, size: None }",
            "BodyEnd",
            "BodyStart { section: BODY[1], origin: None, size: Some(0) }",
            "BodyEnd",
            "FetchEnd",
            "Completed { id: CommandId(M3), status: StatusResponse { condition: Ok, code: None, text: \"done\" } }",
        ]
    );
}

#[test]
fn reports_no_events_for_pieces_of_a_broken_response() {
    let record = in_selected(
        "* 1 FETCH (UID 7\r\n)\r\n)\r\n\r\n* )\r\n  NAME=\"a\"\" NIL) UID 9)\r\n* 4 EXISTS\r\nM3 OK done\r\n",
    );
    assert_eq!(record.error, None, "{:#?}", record.events);
    let unparsed = record.events.iter().filter(|event| event.starts_with("Unparsed")).count();
    assert_eq!(unparsed, 4, "{:#?}", record.events);
    assert!(!record.has("Bad") && !record.has("Other"), "{:#?}", record.events);
    assert!(record.has("Data(Exists(4))") && record.has("Completed"), "{:#?}", record.events);
}

#[test]
fn skips_a_second_value_after_an_item() {
    let record = in_selected(
        "* 1 FETCH (UID 7 BODYSTRUCTURE (\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1) (\"a\" \"b\") BODY[] {2}\r\nhi)\r\n\
         M3 OK done\r\n",
    );
    assert_eq!(record.error, None, "{:#?}", record.events);
    for event in ["BodyStructure", "Chunk hi", "FetchEnd", "Completed"] {
        assert!(record.has(event), "{event}: {:#?}", record.events);
    }
    assert!(!record.has("Unparsed"), "{:#?}", record.events);
}

#[test]
fn reports_the_reason_of_a_rejected_login() {
    let input = "* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hi\r\n§+ \r\n§+ eyJzdGF0dXMiOiI0MDAifQ==\r\n§M1 NO [AUTHENTICATIONFAILED] token\r\n";
    let record = in_every_split(input, false, || {
        let mut said = false;
        client(config(), move |client, tx, events| {
            if !said && events.iter().any(|event| event == "Capabilities") {
                said = true;
                let credentials = Credentials::bearer("u", "ya29.token");
                let choice = LoginMethod::Mechanism(Mechanism::XOAuth2);
                client.authenticate(choice, &credentials, tx).unwrap();
            }
        })
    });
    assert_eq!(record.error, None);
    assert!(record.has("reason: Some(\"{\\\"status\\\":\\\"400\\\"}\")"), "{:#?}", record.events);
    assert!(record.output.ends_with("\r\n\r\n"), "an empty answer to the error: {:?}", record.output);
}

#[test]
fn hides_server_text_in_cleartext() {
    let input = "* OK [ALERT] CANARY call us\r\n§* LIST () \"/\" CANARY\r\n* 1 FETCH (BODY[] {8}\r\nCANARY!!)\r\n\
                 * OK [REFERRAL imap://CANARY/] x\r\n* CAPABILITY IMAP4rev1 STARTTLS\r\nM1 OK [ALERT] CANARY\r\n";
    let record = in_every_split(input, false, || cleartext_client(config(), |_, _, _| {}));
    assert_eq!(record.error, None);
    assert!(!record.has("CANARY"), "{:#?}", record.events);
    assert_eq!(record.events.len(), 2);
    assert_eq!(record.output, "M1 CAPABILITY\r\n");
}

#[test]
fn rejects_invalid_greetings() {
    for (greeting, error) in [
        ("XYZ OK hi\r\n", PeerError::InvalidGreeting),
        ("* PREAUTH hi\r\n", PeerError::PreauthOnCleartext),
        ("* preauth hi\r\n", PeerError::PreauthOnCleartext),
        ("* NO hi\r\n", PeerError::InvalidGreeting),
        ("+ hi\r\n", PeerError::InvalidGreeting),
        ("\x16\x03\x01", PeerError::TlsInCleartext),
        ("* OK hi\r\n§+ your password\r\n", PeerError::UnexpectedContinuation),
        ("* OK hi\r\n§ZZ OK begin\r\n", PeerError::UnknownTag),
        ("* OK hi\r\n§M1 OK x\r\n§M2 OK begin\r\n", PeerError::UnknownTag),
    ] {
        let record = in_every_split(greeting, false, || cleartext_client(config(), |_, _, _| {}));
        assert_eq!(record.error, Some(Error::Peer(error)), "{greeting:?}");
    }
}

#[test]
fn an_error_has_the_code_and_text_of_the_bye_that_caused_it() {
    use RejectionKind::{Connection, Session};
    let code = |name| Some(ErrorCode::Imap(name));
    let long = "x".repeat(1000);
    for (input, kind, code, text) in [
        ("* BYE [UNAVAILABLE] too many users\r\n", Connection, code("UNAVAILABLE"), "too many users"),
        ("* BYE go away\r\n", Connection, None, "go away"),
        ("* OK hi\r\n§* BYE [X-Why 5 minutes] idle\r\n", Session, code("X-Why"), "idle"),
        (&format!("* OK hi\r\n§* BYE {long}\r\n"), Session, None, &long),
        ("* OK hi\r\n§* BYE [UIDNEXT 5] \r\n", Session, code("UIDNEXT"), ""),
    ] {
        let record = in_every_split(input, false, || client(config(), |_, _, _| {}));
        assert_eq!(record.error, Some(Rejection::new(kind, code, None, text).into()), "{input:?}");
        let error = record.error.unwrap();
        assert_eq!((error.code(), error.enhanced_code()), (code, None));
        let text = text.get(..512).unwrap_or(text);
        assert_eq!(error.server_text().unwrap_or_default(), text);
    }
}

#[test]
fn an_error_has_no_words_that_arrived_in_cleartext() {
    let input = "* BYE [UNAVAILABLE] CANARY\r\n";
    let record = in_every_split(input, false, || cleartext_client(config(), |_, _, _| {}));
    assert_eq!(record.error, Some(Rejection::new(RejectionKind::Connection, None, None, "").into()));
    assert!(!record.has("CANARY"), "{:#?}", record.events);
}
