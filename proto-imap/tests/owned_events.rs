//! Owned events equal the borrowed ones, for each machine and each variant, through a callback and through an async
//! adapter.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/driving.rs"]
mod driving;

use bytes::Bytes;
use driving::{with_callback, with_owned_events};
use proto_imap::client::{AuthOutcome, Client, Event as ClientEvent, LoginMethod};
use proto_imap::server::{Event, OwnedEvent, Reply, Server};
use proto_imap::types::{
    AppendCommand, Command, Condition, MailboxName, SelectCommand, StatusResponse, Text,
};
use proto_imap::{Config, Waits};
use proto_mail::{
    AuthVerdict, Channel, Cleartext, Credentials, Driver, Error, PeerError, RecvBuffer, Secure, SendBuffer,
};

fn config() -> Config {
    let mut waits = Waits::default();
    waits.delay = std::time::Duration::ZERO;
    Config::default().waits(waits)
}

fn ok() -> StatusResponse<'static> {
    StatusResponse::new(Condition::Ok, Text::first_line("done"))
}

/// Logs in on the third attempt, then gives one command after another, and finally logs out.
fn use_mailbox() -> impl FnMut(&ClientEvent<'_>, &mut Client<Secure>, &mut SendBuffer) {
    let (mut attempts, mut completed) = (0, 0);
    move |event, client, tx| match event {
        ClientEvent::Capabilities
        | ClientEvent::Auth(AuthOutcome::Rejected { .. } | AuthOutcome::Cancelled { .. })
            if client.state().is_some_and(|state| !state.is_authenticated()) =>
        {
            attempts += 1;
            assert!(attempts <= 3);
            client.authenticate(LoginMethod::Strongest, &Credentials::password("u", &b"p"[..]), tx).unwrap();
        }
        ClientEvent::Auth(AuthOutcome::Accepted { .. }) => {
            client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), tx).unwrap();
        }
        ClientEvent::AppendReady(_) => {
            client.write_payload(Bytes::from_static(b"abc"), tx).unwrap();
        }
        ClientEvent::Idling(_) => client.done(tx).unwrap(),
        ClientEvent::Completed { .. } => {
            completed += 1;
            match completed {
                1 => client.send(&Command::Noop, tx).map(|_| ()).unwrap(),
                2 => client.append(&AppendCommand::new(MailboxName::INBOX), 3, tx).map(|_| ()).unwrap(),
                3 => client.idle(tx).map(|_| ()).unwrap(),
                4 => client.logout(tx).map(|_| ()).unwrap(),
                _ => {}
            }
        }
        _ => {}
    }
}

const MAILBOX: &[&str] = &[
    "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR IDLE] ready\r\n",
    "M1 NO [AUTHENTICATIONFAILED] wrong password\r\n",
    "+ bm9uc2Vuc2U=\r\n",
    "M2 BAD cancelled\r\n",
    "M3 OK [CAPABILITY IMAP4rev1 IDLE] welcome\r\n",
    "* 3 EXISTS\r\n* FLAGS (\\Seen $Junk)\r\nM4 OK [READ-WRITE] selected\r\n",
    "* OK [ALERT] maintenance\r\n* LIST (\\HasNoChildren) \"/\" \"Entw&APw-rfe\"\r\n* 1 FETCH (FLAGS (\\Seen) ENVELOPE \
     (\"d\" \"s\" ((\"A\" NIL \"a\" \"b\")) NIL NIL NIL NIL NIL NIL \"<i>\") BODY[1]<0> {5}\r\nhello BODY[2] NIL \
     BODYSTRUCTURE (\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1))\r\n* )\r\nM5 OK done\r\n",
    "+ go\r\n",
    "M6 OK [APPENDUID 1 2] appended\r\n",
    "+ idling\r\n",
    "M7 OK idled\r\n",
    "* BYE bye\r\nM8 OK logged out\r\n",
];

#[test]
fn owned_events_of_a_client_equal_borrowed_ones() {
    let client = || Client::<Secure>::new(config(), Secure::trusted_local());
    let mut act = use_mailbox();
    let borrowed =
        with_callback(&mut Driver::new(client()), MAILBOX, |event, client, tx| act(&event, client, tx));
    borrowed.assert_has(&[
        "Greeting",
        "Capabilities",
        "Status",
        "Data",
        "FetchStart",
        "FetchItem",
        "BodyStart",
        "BodyChunk",
        "BodyEnd",
        "FetchEnd",
        "AppendReady",
        "Idling",
        "Completed",
        "Auth(Accepted",
        "Auth(Rejected",
        "Auth(Cancelled",
        "Unparsed",
        "Bye",
        "Closed",
    ]);
    assert_eq!(borrowed.result, Ok(()));

    let (mut act, mut kept) = (use_mailbox(), Vec::new());
    let owned = with_owned_events(&mut Driver::new(client()), MAILBOX, |event, client, tx| {
        act(&event.view(), client, tx);
        kept.push(event);
    });
    assert_eq!(owned, borrowed);
    let views: Vec<String> = kept.iter().map(|event| format!("{:?}", event.view())).collect();
    assert_eq!(views, borrowed.events, "the session is over, the events are not");
    for event in kept {
        assert_eq!(event.view().into_owned(), event);
        assert_eq!(event.clone().view(), event.view());
    }
}

#[test]
fn owned_events_of_a_client_equal_borrowed_ones_on_cleartext() {
    fn act(event: &ClientEvent<'_>, client: &mut Client<Cleartext>, tx: &mut SendBuffer) {
        if *event == ClientEvent::Capabilities {
            client.logout(tx).unwrap();
        }
    }
    let client = || Driver::new(Client::<Cleartext>::new(config()));
    let reads = ["* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", "* BYE bye\r\nM1 OK logged out\r\n"];
    let borrowed = with_callback(&mut client(), &reads, |event, client, tx| act(&event, client, tx));
    borrowed.assert_has(&["Greeting", "Capabilities", "Completed", "Closed"]);
    assert_eq!(
        with_owned_events(&mut client(), &reads, |event, client, tx| act(&event.view(), client, tx)),
        borrowed
    );
}

#[test]
fn an_async_client_returns_the_error_that_ends_the_session() {
    let mut driver = Driver::new(Client::<Secure>::new(config(), Secure::trusted_local()));
    let ended = with_owned_events(&mut driver, &["* OK ready\r\n"], |_, _, _| {});
    assert_eq!(ended.result, Err(Error::from(PeerError::UnexpectedEnd)));
    ended.assert_has(&["Greeting"]);
}

/// Accepts everything.
fn serve() -> impl FnMut(Event<'_, Secure>, &mut Server<Secure>, &mut SendBuffer) {
    let mut idle: Option<Reply> = None;
    move |event, server, tx| match event {
        Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
        Event::Command(_, reply) | Event::AppendEnd(reply) => server.reply(reply, &ok(), tx).unwrap(),
        Event::Append { offer, .. } => server.accept_literal(offer, tx).unwrap(),
        Event::Idle(reply) => idle = Some(reply),
        Event::Done => server.reply(idle.take().unwrap(), &ok(), tx).unwrap(),
        _ => {}
    }
}

fn server<C: Channel>(start: impl FnOnce(&mut SendBuffer) -> Server<C>) -> Driver<Server<C>> {
    let mut tx = SendBuffer::new();
    let server = start(&mut tx);
    Driver::with_buffers(server, RecvBuffer::new(), tx)
}

fn secure_server() -> Driver<Server<Secure>> {
    server(|tx| Server::<Secure>::new(config(), Secure::trusted_local(), tx))
}

const SERVED: &[&str] = &[
    "a LOGIN alice secret\r\n",
    "b SELECT \"Entw&APw-rfe\"\r\n",
    "c UID SEARCH OR (NOT SEEN TEXT {3+}\r\nabc) UID 1:*\r\n",
    "d APPEND INBOX (\\Seen $Junk) \"17-Jul-1996 02:44:25 -0700\" {5}\r\n",
    "hello\r\n",
    "e APPEND INBOX {3+}\r\nabc junk\r\n",
    "f IDLE\r\n",
    "DONE\r\n",
    "g FETCH 1 (((\r\nFETCH\r\n",
    "h LOGOUT\r\n",
];

#[test]
fn owned_events_of_a_server_equal_borrowed_ones() {
    let borrowed = with_callback(&mut secure_server(), SERVED, serve());
    borrowed.assert_has(&[
        "Auth",
        "Command",
        "Append",
        "AppendChunk",
        "AppendEnd",
        "AppendAborted",
        "Idle",
        "Done",
        "Unparsed",
        "Closed",
    ]);
    assert_eq!(borrowed.result, Ok(()));
    let mut act = serve();
    let owned = with_owned_events(&mut secure_server(), SERVED, |event, server, tx| {
        let again = event.with_event(|event| event.into_owned());
        again.with_event(|event| act(event, server, tx));
    });
    assert_eq!(owned, borrowed);
}

#[test]
fn owned_events_of_a_server_equal_borrowed_ones_on_cleartext() {
    let start = || server(|tx| Server::<Cleartext>::new(config(), tx));
    let reads = ["a STARTTLS\r\n", "b LOGIN alice secret\r\n", "c XNEW\r\n", "d LOGOUT\r\n"];
    let borrowed = with_callback(&mut start(), &reads, |event, server, tx| {
        if let Event::StartTls(request) = event {
            server.refuse_starttls(request, tx).unwrap();
        }
    });
    borrowed.assert_has(&["StartTls", "Closed"]);
    let owned = with_owned_events(&mut start(), &reads, |event, server, tx| {
        if let OwnedEvent::StartTls(request) = event {
            server.refuse_starttls(request, tx).unwrap();
        }
    });
    assert_eq!(owned, borrowed);
}

/// Reads `line` and drops each owned event. Returns the responses.
fn drop_events<C: Channel>(driver: &mut Driver<Server<C>>, line: &str) -> String {
    driver.rx.extend(line.as_bytes());
    while let Some(event) = driver.next_owned() {
        drop(event);
    }
    let responses = String::from_utf8(driver.tx.take()).unwrap();
    assert!(driver.wants_read(), "the session hangs after {line:?}");
    responses
}

#[test]
fn a_dropped_owned_event_answers_with_a_temporary_failure() {
    let mut driver = secure_server();
    drop_events(&mut driver, "");
    assert!(drop_events(&mut driver, "a LOGIN alice secret\r\n").starts_with("a NO [UNAVAILABLE] "));
    driver.rx.extend(b"b LOGIN alice secret\r\n");
    let Some(OwnedEvent::Auth(request)) = driver.next_owned() else { panic!("no request") };
    driver.machine.answer_auth(request, AuthVerdict::Accept, &mut driver.tx).unwrap();
    assert!(drop_events(&mut driver, "").starts_with("b OK "));
    assert!(drop_events(&mut driver, "c SELECT INBOX\r\n").starts_with("c NO [SERVERBUG] "));
    assert!(drop_events(&mut driver, "d APPEND INBOX {3}\r\n").starts_with("d NO [SERVERBUG] "));
    driver.rx.extend(b"e APPEND INBOX {3}\r\n");
    let Some(OwnedEvent::Append { mailbox, offer, size: 3, .. }) = driver.next_owned() else {
        panic!("no APPEND")
    };
    assert_eq!(mailbox.view(), MailboxName::INBOX);
    driver.machine.accept_literal(offer, &mut driver.tx).unwrap();
    assert!(drop_events(&mut driver, "abc\r\n").contains("e NO [SERVERBUG] "));
    drop_events(&mut driver, "f IDLE\r\n");
    assert!(drop_events(&mut driver, "DONE\r\n").starts_with("f NO [SERVERBUG] "));

    let mut driver = server(|tx| Server::<Cleartext>::new(config(), tx));
    drop_events(&mut driver, "");
    assert!(drop_events(&mut driver, "a STARTTLS\r\n").starts_with("a NO [UNAVAILABLE] "));
}
