//! A peer that does not read is not read from, and nothing piles up for it.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test that cannot continue must fail")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::Identity;
use io_tokio::{
    ConnectionLimits, Connector, Deadlines, Error, ImapClient, ImapServer, ListenerSettings, ListenerTls,
    Server, Socket, io_common, server::SecureSession,
};
use proto_imap::{
    server::OwnedEvent,
    types::{AppendCommand, Condition, FetchAttribute, MailboxName, Section, StatusResponse, Text},
};
use proto_mail::Cleartext;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{sleep, timeout},
};

/// What may wait in all buffers together, in bytes.
const BOUND: usize = 1 << 20;
/// Long enough for everything that can happen, on a paused clock.
const LATER: Duration = Duration::from_secs(5);

async fn imap(stream: DuplexStream) -> ImapClient<Cleartext> {
    let connector = Connector::new(Identity::localhost().trust());
    let config = Arc::new(proto_imap::Config::default().danger_cleartext());
    let connection = connector
        .danger_connect_cleartext_over::<io_common::ImapClientProtocol>(Socket::new(stream), &config);
    ImapClient::over(connection.unwrap()).await.unwrap()
}

/// Reads a line and returns its tag.
async fn tag(server: &mut DuplexStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(server.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap().split(' ').next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_read_stops_the_server() {
    const SIZE: usize = 64 << 20;
    let (client, mut server) = duplex(16 * 1024);
    server.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n").await.unwrap();
    let mut imap = imap(client).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let serving = tokio::spawn(async move {
        let select = tag(&mut server).await;
        server.write_all(format!("{select} OK open\r\n").as_bytes()).await.unwrap();
        let fetch = tag(&mut server).await;
        server.write_all(format!("* 1 FETCH (BODY[] {{{SIZE}}}\r\n").as_bytes()).await.unwrap();
        let piece = vec![b'x'; 16 * 1024];
        while counter.load(Ordering::Relaxed) < SIZE {
            server.write_all(&piece).await.unwrap();
            counter.fetch_add(piece.len(), Ordering::Relaxed);
        }
        server.write_all(format!(")\r\n{fetch} OK done\r\n").as_bytes()).await.unwrap();
        server
    });
    imap.select("INBOX").await.unwrap();
    let mut fetch = imap.fetch(1, &[FetchAttribute::peek(Section::FULL)]).await.unwrap();
    let mut body = fetch.next_body().await.unwrap().unwrap();
    let mut first = [0; 10];
    body.read_exact(&mut first).await.unwrap();
    sleep(LATER).await;
    assert!(sent.load(Ordering::Relaxed) < BOUND, "{}", sent.load(Ordering::Relaxed));
    let rest = tokio::io::copy(&mut body, &mut tokio::io::sink()).await.unwrap();
    assert_eq!(rest as usize, SIZE - first.len());
    assert!(fetch.next_body().await.unwrap().is_none());
    drop(serving.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_upload_waits_for_a_server_that_does_not_read() {
    const SIZE: usize = 64 << 20;
    let (client, mut server) = duplex(16 * 1024);
    server.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n").await.unwrap();
    let mut imap = imap(client).await;
    let serving = tokio::spawn(async move {
        let append = tag(&mut server).await;
        server.write_all(b"+ go\r\n").await.unwrap();
        sleep(2 * LATER).await;
        let mut left = SIZE + 2;
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            left -= server.read(&mut buffer).await.unwrap();
        }
        server.write_all(format!("{append} OK stored\r\n").as_bytes()).await.unwrap();
        server
    });
    let append = AppendCommand::new(MailboxName::new("INBOX"));
    let mut writer = imap.append_stream(append, SIZE as u64).await.unwrap();
    let (piece, mut written) = (vec![b'x'; 64 * 1024], 0);
    let unread = timeout(LATER, async {
        loop {
            written += writer.write(&piece).await.unwrap();
        }
    });
    assert!(unread.await.is_err());
    assert!(written < BOUND, "{written}");
    while written < SIZE {
        let length = piece.len().min(SIZE - written);
        written += writer.write(&piece[..length]).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), None);
    drop(serving.await.unwrap());
}

async fn answer_all(mut session: SecureSession<ImapServer>) -> Result<(), Error> {
    while let Some(event) = session.next_event().await? {
        match event {
            OwnedEvent::Auth(request) => session.answer_password(request, |_, _| true)?,
            OwnedEvent::Command(_, token) => {
                let text = "x".repeat(1000);
                session.reply(token, &StatusResponse::new(Condition::Ok, Text::first_line(&text)))?;
            }
            _ => {}
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_replies_is_not_read_from() {
    let server = Server::new(ConnectionLimits::default());
    let (mut client, socket) = duplex(16 * 1024);
    let settings = ListenerSettings::new(Default::default(), ListenerTls::TrustedLocal, Deadlines::default());
    server.serve_over::<ImapServer>(common::local(socket), &settings, answer_all).await;
    client.write_all(b"a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n").await.unwrap();
    let mut written = 0;
    let flood = timeout(LATER, async {
        loop {
            written += client.write(b"a CREATE x\r\n").await.unwrap();
        }
    });
    assert!(flood.await.is_err(), "the server reads without end");
    assert!(written < BOUND, "{written}");
    // It goes on when the client reads.
    let mut said = vec![0; 200_000];
    client.read_exact(&mut said).await.unwrap();
    client.write_all(&Bytes::from_static(b"a NOOP\r\n")).await.unwrap();
}
