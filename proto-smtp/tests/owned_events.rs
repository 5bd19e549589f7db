//! Owned events: the same as the borrowed ones, for each machine and each variant; through a callback and through an
//! async adapter.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/driving.rs"]
mod driving;

use driving::{with_callback, with_owned_events};
use proto_mail::{
    AuthVerdict, Channel, Cleartext, Credentials, Driver, Error, Mechanism, PeerError, RecvBuffer, Secure,
    SendBuffer,
};
use proto_smtp::client::{AuthOutcome, Client, Event as ClientEvent, OwnedEvent as OwnedClientEvent, Step};
use proto_smtp::server::{Event, OwnedEvent, Server};
use proto_smtp::types::{Address, Extension, ExtensionSet, Mail, Rcpt, Response};
use proto_smtp::{Config, Waits};

fn config() -> Config {
    let mut waits = Waits::default();
    waits.delay = std::time::Duration::ZERO;
    Config::default().waits(waits).optional_authentication()
}

/// Logs in on the third attempt, is refused one recipient, and sends one message.
fn deliver() -> impl FnMut(&ClientEvent<'_>, &mut Client<Secure>, &mut SendBuffer) {
    let authenticate = |client: &mut Client<Secure>, tx: &mut SendBuffer| {
        client.authenticate(Mechanism::Plain, Credentials::password("u", &b"p"[..]), tx).unwrap();
    };
    move |event, client, tx| match event {
        ClientEvent::Capabilities(_) if client.capabilities().is_some() => authenticate(client, tx),
        ClientEvent::Auth(AuthOutcome::Rejected(_) | AuthOutcome::Cancelled(_)) => authenticate(client, tx),
        ClientEvent::Auth(AuthOutcome::Accepted(_)) => {
            client.mail(&Mail::new(Address::parse("a@example.com").unwrap()), tx).unwrap();
        }
        ClientEvent::Accepted(Step::Mail, _) => {
            client.rcpt(&Rcpt::new(Address::parse("no@example.org").unwrap()), tx).unwrap();
        }
        ClientEvent::Rejected(Step::Rcpt(0), _) => {
            client.rcpt(&Rcpt::new(Address::parse("b@example.org").unwrap()), tx).unwrap();
        }
        ClientEvent::Accepted(Step::Rcpt(1), _) => client.data(tx).unwrap(),
        ClientEvent::SendData(_) => {
            client.data_writer().unwrap().write(b"hello\r\n", tx).unwrap();
            client.data_writer().unwrap().finish(tx).unwrap();
        }
        ClientEvent::Delivered(..) => client.quit(tx).unwrap(),
        _ => {}
    }
}

const DELIVERY: &[&str] = &[
    "220 mx ready\r\n",
    "250-mx\r\n250-AUTH PLAIN\r\n250 ENHANCEDSTATUSCODES\r\n",
    "535 5.7.8 wrong password\r\n",
    "334 bm9uc2Vuc2U=\r\n",
    "501 5.5.2 cancelled\r\n",
    "235 2.7.0 welcome\r\n",
    "250 2.1.0 ok\r\n",
    "550-5.1.1 no such\r\n550 5.1.1 mailbox\r\n",
    "250 2.1.5 ok\r\n",
    "354 go on\r\n",
    "250 2.0.0 queued as 1\r\n",
    "221 2.0.0 bye\r\n",
];

#[test]
fn owned_events_of_a_client_equal_borrowed_ones() {
    let client = || Driver::new(Client::<Secure>::new(config(), Secure::trusted_local()));
    let mut act = deliver();
    let borrowed = with_callback(&mut client(), DELIVERY, |event, client, tx| act(&event, client, tx));
    borrowed.assert_has(&[
        "Greeting",
        "Capabilities",
        "Accepted",
        "Rejected",
        "SendData",
        "Delivered",
        "Auth(Accepted",
        "Auth(Rejected",
        "Auth(Cancelled",
        "Closed",
    ]);
    assert_eq!(borrowed.result, Ok(()));

    let (mut act, mut kept) = (deliver(), Vec::<OwnedClientEvent>::new());
    let owned = with_owned_events(&mut client(), DELIVERY, |event, client, tx| {
        act(&event, client, tx);
        kept.push(event);
    });
    assert_eq!(owned, borrowed);
    let shown: Vec<String> = kept.iter().map(|event| format!("{event:?}")).collect();
    assert_eq!(shown, borrowed.events, "the session is over, the events are not");
}

#[test]
fn owned_events_of_a_client_equal_borrowed_ones_on_cleartext() {
    fn act(event: &ClientEvent<'_>, client: &mut Client<Cleartext>, tx: &mut SendBuffer) {
        if matches!(event, ClientEvent::Capabilities(_)) {
            client.quit(tx).unwrap();
        }
    }
    let client = || Driver::new(Client::<Cleartext>::new(config()));
    let reads = ["220 mx ready\r\n", "250 mx\r\n", "221 2.0.0 bye\r\n"];
    let borrowed = with_callback(&mut client(), &reads, |event, client, tx| act(&event, client, tx));
    borrowed.assert_has(&["Greeting", "Capabilities", "Closed"]);
    assert_eq!(
        with_owned_events(&mut client(), &reads, |event, client, tx| act(&event, client, tx)),
        borrowed
    );
}

#[test]
fn an_async_client_returns_the_error_that_ends_the_session() {
    let mut driver = Driver::new(Client::<Secure>::new(config(), Secure::trusted_local()));
    let ended = with_owned_events(&mut driver, &["220 mx ready\r\n"], |_, _, _| {});
    assert_eq!(ended.result, Err(Error::from(PeerError::UnexpectedEnd)));
    ended.assert_has(&["Greeting"]);
}

/// Accepts everything.
fn serve(event: Event<'_, Secure>, server: &mut Server<Secure>, tx: &mut SendBuffer) {
    match event {
        Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
        Event::Data(reply) => server.reply(reply, &Response::start_data(), tx).unwrap(),
        Event::Mail(_, reply)
        | Event::Rcpt(_, reply)
        | Event::DataEnd(reply)
        | Event::Vrfy(_, reply)
        | Event::Expn(_, reply)
        | Event::Help(_, reply)
        | Event::Etrn(_, reply)
        | Event::Burl(_, _, reply)
        | Event::XClient(_, reply)
        | Event::XForward(_, reply) => server.reply(reply, &Response::ok(), tx).unwrap(),
        _ => {}
    }
}

fn server<C: Channel>(start: impl FnOnce(&mut SendBuffer) -> Server<C>) -> Driver<Server<C>> {
    let mut tx = SendBuffer::new();
    let server = start(&mut tx);
    Driver::with_buffers(server, RecvBuffer::new(), tx)
}

fn secure_server() -> Driver<Server<Secure>> {
    server(|tx| {
        let extensions = [
            Extension::Burl,
            Extension::Etrn,
            Extension::Expn,
            Extension::Vrfy,
            Extension::XClient,
            Extension::XForward,
        ];
        let config = config();
        let offered = extensions.into_iter().fold(config.extensions, ExtensionSet::with);
        let mut server = Server::<Secure>::new(config.extensions(offered), Secure::trusted_local(), tx);
        server.offer(offered);
        server
    })
}

const SERVED: &[&str] = &[
    "EHLO client.example\r\n",
    "AUTH PLAIN AHUAcA==\r\n",
    "VRFY alice\r\nEXPN staff\r\nHELP DATA\r\nETRN @a.example\r\n",
    "XFORWARD NAME=a.example ADDR=192.0.2.1\r\n",
    "MAIL FROM:<a@example.com> SIZE=7\r\nRCPT TO:<b@example.org>\r\nDATA\r\n",
    "hello\r\n..dot\r\n.\r\n",
    "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nBURL imap://h.example/a LAST\r\n",
    "MAIL FROM:<a@example.com>\r\nRSET\r\nRCPT TO:<b@example.org>\r\n",
    "QUIT\r\n",
];

/// A session of a proxy.
const PROXIED: &[&str] = &["EHLO proxy.example\r\n", "XCLIENT NAME=a.example ADDR=192.0.2.1\r\n", "QUIT\r\n"];

#[test]
fn owned_events_of_a_server_equal_borrowed_ones() {
    let mut seen = Vec::new();
    for reads in [SERVED, PROXIED] {
        let borrowed = with_callback(&mut secure_server(), reads, serve);
        assert_eq!(borrowed.result, Ok(()));
        assert_eq!(with_owned_events(&mut secure_server(), reads, serve), borrowed);
        seen.push(borrowed);
    }
    seen[0].assert_has(&[
        "Hello",
        "Auth",
        "Mail",
        "Rcpt",
        "Data",
        "DataChunk",
        "DataEnd",
        "Vrfy",
        "Expn",
        "Help",
        "Etrn",
        "Burl",
        "XForward",
        "Reset",
        "Refused",
        "Closed",
    ]);
    seen[1].assert_has(&["XClient"]);
}

#[test]
fn owned_events_of_a_server_equal_borrowed_ones_on_cleartext() {
    fn act(event: Event<'_, Cleartext>, server: &mut Server<Cleartext>, tx: &mut SendBuffer) {
        if let Event::StartTls(request) = event {
            server.refuse_starttls(request, tx).unwrap();
        }
    }
    let start = || server(|tx| Server::<Cleartext>::new(config(), tx));
    let reads = ["EHLO client.example\r\n", "STARTTLS\r\n", "AUTH PLAIN AHUAcA==\r\n", "QUIT\r\n"];
    let borrowed = with_callback(&mut start(), &reads, act);
    borrowed.assert_has(&["Hello", "StartTls", "Refused", "Closed"]);
    assert_eq!(with_owned_events(&mut start(), &reads, act), borrowed);
}

/// Reads `line` and drops each owned event. Returns the replies.
fn drop_events<C: Channel>(driver: &mut Driver<Server<C>>, line: &str) -> String {
    driver.rx.extend(line.as_bytes());
    while let Some(event) = driver.next_owned() {
        drop(event);
    }
    let replies = String::from_utf8(driver.tx.take()).unwrap();
    assert!(driver.wants_read(), "the session hangs after {line:?}");
    replies
}

#[test]
fn a_dropped_owned_event_answers_with_a_temporary_failure() {
    let mut driver = secure_server();
    drop_events(&mut driver, "");
    drop_events(&mut driver, "EHLO client.example\r\n");
    assert!(drop_events(&mut driver, "AUTH PLAIN AHUAcA==\r\n").starts_with("454 4.7.0 "));
    assert!(drop_events(&mut driver, "MAIL FROM:<a@example.com>\r\n").starts_with("451 4.3.0 "));
    driver.rx.extend(b"MAIL FROM:<a@example.com>\r\n");
    let Some(OwnedEvent::Mail(mail, reply)) = driver.next_owned() else { panic!("no MAIL") };
    assert_eq!(mail.from.to_string(), "<a@example.com>");
    driver.machine.reply(reply, &Response::ok(), &mut driver.tx).unwrap();
    assert!(drop_events(&mut driver, "RCPT TO:<b@example.org>\r\n").contains("451 4.3.0 "));

    let mut driver = server(|tx| Server::<Cleartext>::new(config(), tx));
    drop_events(&mut driver, "");
    drop_events(&mut driver, "EHLO client.example\r\n");
    assert!(drop_events(&mut driver, "STARTTLS\r\n").starts_with("454 4.7.0 "));
}
