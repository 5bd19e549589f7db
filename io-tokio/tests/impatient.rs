//! Both sides drop their futures all the time, under TLS and over a stream that passes few bytes at a time.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod common;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use common::Identity;
use io_tokio::{
    ConnectionLimits, Connector, Deadlines, Error, ListenerSettings, ListenerTls, Security, Server,
    SmtpClient, SmtpServer, Socket, Target,
    server::SecureSession,
    smtp::{Envelope, EnvelopeOutcome},
};
use proto_smtp::{server::Event, types::Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::yield_now,
};

type Inbox = Arc<Mutex<Vec<String>>>;

/// Polls a future this often and drops it. Returns its result, if there was one.
async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|cx| {
        let Some(rest) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = rest;
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && left == 0 {
            return Poll::Ready(None);
        }
        polled
    })
    .await
}

/// Serves with futures that are polled once.
async fn serve(mut session: SecureSession<SmtpServer>, inbox: Inbox) -> Result<(), Error> {
    loop {
        let Some(event) = drop_after(1, session.next_event()).await else {
            yield_now().await;
            continue;
        };
        match event? {
            None => return Ok(()),
            Some(Event::Mail(_, token) | Event::Rcpt(_, token)) => session.reply(token, &Response::ok())?,
            Some(Event::Data(token)) => {
                session.reply(token, &Response::start_data())?;
                let (mut message, mut body, mut piece) = (Vec::new(), session.message(), [0; 7]);
                loop {
                    match drop_after(1, body.read(&mut piece)).await {
                        None => yield_now().await,
                        Some(count) => match count? {
                            0 => break,
                            count => message.extend_from_slice(&piece[..count]),
                        },
                    }
                }
                if let Some(token) = body.end() {
                    inbox.lock().unwrap().push(String::from_utf8(message).unwrap());
                    session.reply(token, &Response::ok())?;
                }
            }
            Some(_) => {}
        }
    }
}

fn envelope() -> Envelope {
    Envelope::new("a@example.com", ["b@example.org"]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_whole_or_not_at_all_under_tls() {
    let identity = Identity::localhost();
    let server = Server::new(ConnectionLimits::default());
    let settings = ListenerSettings::new(
        proto_smtp::Config::mail_exchanger().into(),
        ListenerTls::StartTls(identity.server()),
        Deadlines::default(),
    );
    let inbox = Inbox::default();
    let connector = Connector::new(identity.trust());
    let target = Target::new("localhost", 587, Security::StartTls);
    let [first, last] =
        ["first", "last"].map(|text| format!("Subject: {text}\r\n\r\n{}\r\n", text.repeat(60_000)));
    let (mut interrupted, mut delivered) = (0, 0);
    for polls in (0..900).step_by(23) {
        let (client, socket) = duplex(500);
        let shared = inbox.clone();
        let service = move |session| serve(session, shared.clone());
        server.serve_over::<SmtpServer>(Socket::new(socket), &settings, service).await;
        let config = proto_smtp::Config::default();
        let mut smtp =
            SmtpClient::connect_over(&connector, Socket::new(client), &target, config).await.unwrap();
        // Half of them write the message in pieces.
        let report = if polls % 2 == 0 {
            drop_after(polls, smtp.send(envelope(), first.clone())).await.map(Result::unwrap)
        } else {
            let written = drop_after(polls, async {
                let EnvelopeOutcome::Accepted(mut writer) = smtp.send_stream(envelope()).await.unwrap()
                else {
                    panic!()
                };
                for piece in first.as_bytes().chunks(100) {
                    writer.write_all(piece).await.unwrap();
                }
                writer.finish().await
            });
            written.await
        };
        match smtp.noop().await {
            Ok(()) => {
                delivered += usize::from(report.is_some());
                assert!(smtp.send(envelope(), last.clone()).await.unwrap().is_delivered());
                smtp.quit().await.unwrap();
                assert_eq!(inbox.lock().unwrap().pop().as_ref(), Some(&last));
                let is_there = inbox.lock().unwrap().pop();
                assert!(is_there.is_none_or(|message| message == first), "after {polls} polls");
            }
            Err(Error::Interrupted) => interrupted += 1,
            Err(error) => panic!("after {polls} polls: {error}"),
        }
        assert!(inbox.lock().unwrap().is_empty(), "after {polls} polls");
    }
    assert!(interrupted > 3 && delivered > 3, "{interrupted} {delivered}");
}
