//! A future that is dropped, at any of its waits, never corrupts a session: the next command gets its own responses, or the
//! session is over with a clear error.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

#[path = "common/scripted.rs"]
#[allow(dead_code, reason = "shared by several tests")]
mod scripted;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use io_tokio::{
    Connector, Error, ImapClient, SmtpClient, Socket, TlsClientConfig, smtp::Envelope, smtp::EnvelopeOutcome,
};
use mailwire_fixtures::scripts::{ImapScript, Log, SmtpScript};
use proto_imap::types::{AppendCommand, FetchAttribute, MailboxName, SearchKey, Section, StatusAttribute};
use proto_mail::{Cleartext, Credentials, Mechanism};
use scripted::Scripted;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Imap = ImapClient<Cleartext>;
type Smtp = SmtpClient<Cleartext>;
type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

fn connector() -> Connector {
    // Not used: the tests are about cleartext.
    Connector::new(TlsClientConfig::danger_accept_any_certificate().unwrap())
}

async fn imap(log: &Log) -> Imap {
    let socket = Socket::new(Scripted::new(ImapScript::new(log)));
    let config = Arc::new(proto_imap::Config::default().danger_cleartext());
    let connection =
        connector().danger_connect_cleartext_over::<io_tokio::io_common::ImapClientProtocol>(socket, &config);
    let mut imap = ImapClient::over(connection.unwrap()).await.unwrap();
    imap.danger_cleartext_login(Mechanism::Plain, &Credentials::password("u", &b"p"[..])).await.unwrap();
    imap.select("box3").await.unwrap();
    log.lock().unwrap().clear();
    imap
}

async fn smtp(log: &Log) -> Smtp {
    let socket = Socket::new(Scripted::new(SmtpScript::new(log)));
    let config = Arc::new(proto_smtp::Config::default().danger_cleartext());
    let connection =
        connector().danger_connect_cleartext_over::<io_tokio::io_common::SmtpClientProtocol>(socket, &config);
    let smtp = SmtpClient::over(connection.unwrap()).await.unwrap();
    log.lock().unwrap().clear();
    smtp
}

/// Polls the future this often and drops it. Returns whether it was complete.
async fn drop_after(polls: usize, mut work: Work<'_>) -> bool {
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match work.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

/// Drops the work at each of its waits, and does it again. `own` is the log of the complete work. Returns how many sessions
/// were interrupted.
async fn drop_imap_work(own: &[&str], work: impl for<'a> Fn(&'a mut Imap) -> Work<'a>) -> usize {
    let mut interrupted = 0;
    for polls in 0.. {
        assert!(polls < 5000, "the work never ends");
        let log = Log::default();
        let mut client = imap(&log).await;
        let is_complete = drop_after(polls, work(&mut client)).await;
        // The same again: it checks that it gets its own responses only.
        let again = if own[0].starts_with("APPEND") { &[][..] } else { own };
        if !again.is_empty() {
            work(&mut client).await;
        }
        match client.select("box7").await {
            Ok(mailbox) => {
                assert_eq!((mailbox.exists, mailbox.uid_validity), (7, Some(7)), "after {polls} polls");
                assert_eq!(client.uid_search(&[SearchKey::All]).await.unwrap(), [3, 4]);
                assert_eq!(client.list("*").await.unwrap().len(), 2);
                client.logout().await.unwrap();
                let log = log.lock().unwrap();
                let next = log.iter().position(|line| line == "SELECT box7").unwrap();
                let (before, after) = log.split_at(next);
                let Some(before) =
                    before.strip_suffix(&again.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
                else {
                    panic!("{before:?}")
                };
                let is_prefix = before.iter().zip(own).all(|(line, own)| line == own);
                assert!(is_prefix && before.len() <= own.len(), "{before:?}");
                assert_eq!(after, ["SELECT box7", "UID SEARCH ALL", "LIST \"\" \"*\"", "LOGOUT"]);
            }
            Err(Error::Interrupted) => {
                interrupted += 1;
                assert!(matches!(client.noop().await, Err(Error::Interrupted)), "it stays so");
                assert!(!log.lock().unwrap().iter().any(|line| line.starts_with("SELECT")));
            }
            Err(error) => panic!("after {polls} polls: {error}"),
        }
        if is_complete {
            assert!(polls > 1, "the work waits at least once");
            return interrupted;
        }
    }
    unreachable!()
}

#[tokio::test(start_paused = true)]
async fn a_dropped_imap_command_does_not_mix_its_responses_with_the_next() {
    for (own, work) in [
        (&["NOOP"][..], (|imap| Box::pin(async { imap.noop().await.unwrap() })) as fn(&mut Imap) -> Work<'_>),
        (&["SELECT box5"], |imap| {
            Box::pin(async { assert_eq!(imap.select("box5").await.unwrap().exists, 5) })
        }),
        (&["LIST \"\" \"*\""], |imap| Box::pin(async { assert_eq!(imap.list("*").await.unwrap().len(), 2) })),
        (&["STATUS one (MESSAGES)"], |imap| {
            Box::pin(async {
                assert!(imap.status("one", &[StatusAttribute::Messages]).await.unwrap().is_some())
            })
        }),
        (&["UID SEARCH ALL"], |imap| {
            Box::pin(async { assert_eq!(imap.uid_search(&[SearchKey::All]).await.unwrap(), [3, 4]) })
        }),
        (&["DELETE none"], |imap| {
            Box::pin(async { assert!(matches!(imap.delete("none").await, Err(Error::Imap(_)))) })
        }),
    ] {
        assert_eq!(drop_imap_work(own, work).await, 0, "{own:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_fetch_is_skipped() {
    let attributes = [FetchAttribute::Uid, FetchAttribute::peek(Section::FULL)];
    let interrupted = drop_imap_work(&["FETCH 1:2 (UID BODY.PEEK[])"], move |imap| {
        Box::pin(async move {
            let mut bodies = Vec::new();
            let mut fetch = imap.fetch(1..=2, &attributes).await.unwrap();
            while let Some(mut body) = fetch.next_body().await.unwrap() {
                let mut text = String::new();
                body.read_to_string(&mut text).await.unwrap();
                assert_eq!(body.size(), Some(text.len() as u64));
                bodies.push(text);
            }
            assert_eq!(bodies, ["hello\r\nyou\r\n"[..11].to_owned(), "a \"b\" c".to_owned()]);
        })
    });
    assert_eq!(interrupted.await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_read_in_part_is_skipped() {
    let log = Log::default();
    let mut client = imap(&log).await;
    let mut fetch = client.fetch(1..=2, &[FetchAttribute::peek(Section::FULL)]).await.unwrap();
    let mut first = [0; 3];
    fetch.next_body().await.unwrap().unwrap().read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"hel");
    let mut second = String::new();
    fetch.next_body().await.unwrap().unwrap().read_to_string(&mut second).await.unwrap();
    assert_eq!(second, "a \"b\" c");
    assert!(fetch.next_body().await.unwrap().is_none());
    client.logout().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_idle_ends_before_the_next_command() {
    let interrupted = drop_imap_work(&["IDLE", "DONE"], |imap| {
        Box::pin(async {
            let mut idle = imap.idle().await.unwrap();
            for count in [5, 6] {
                let change = idle.next().await.unwrap();
                assert_eq!(format!("{:?}", change.view()), format!("Exists({count})"));
            }
            idle.done().await.unwrap();
        })
    });
    assert_eq!(interrupted.await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_append_ends_the_session_unless_the_message_is_complete() {
    let own = ["APPEND INBOX {5}", "message \"hello\\r\\n\""];
    let interrupted = drop_imap_work(&own, |imap| {
        Box::pin(async {
            let append = AppendCommand::new(MailboxName::new("INBOX"));
            let uid = imap.append(append, "hello").await.unwrap().unwrap();
            assert_eq!((uid.uid_validity, uid.uid), (1, 9));
        })
    });
    let interrupted = interrupted.await;
    assert!(interrupted > 3, "{interrupted}");
    let interrupted = drop_imap_work(&own, |imap| {
        Box::pin(async {
            let append = AppendCommand::new(MailboxName::new("INBOX"));
            let mut writer = imap.append_stream(append, 5).await.unwrap();
            writer.write_all(b"hel").await.unwrap();
            tokio::task::yield_now().await;
            writer.write_all(b"lo").await.unwrap();
            assert!(writer.write_all(b"!").await.is_err(), "there is room for five bytes only");
            assert_eq!(writer.finish().await.unwrap().unwrap().uid, 9);
        })
    });
    let interrupted = interrupted.await;
    assert!(interrupted > 3, "{interrupted}");
}

const MESSAGE: &str = "Subject: x\r\n\r\n.dot\r\n";
const STORED: &str = "message \"Subject: x\\r\\n\\r\\n..dot\\r\\n.\\r\\n\"";

fn envelope(to: &str) -> Envelope {
    Envelope::new("a@example.com", [to]).unwrap()
}

/// As [`drop_imap_work`], for SMTP.
async fn drop_smtp_work(own: &[&str], work: impl for<'a> Fn(&'a mut Smtp) -> Work<'a>) -> usize {
    let mut interrupted = 0;
    for polls in 0.. {
        assert!(polls < 5000, "the work never ends");
        let log = Log::default();
        let mut client = smtp(&log).await;
        let is_complete = drop_after(polls, work(&mut client)).await;
        match client.verify("somewhere").await {
            Ok(reply) => {
                assert_eq!(reply.text(), "VRFY somewhere", "after {polls} polls");
                let report = client.send(envelope("last@example.org"), MESSAGE).await.unwrap();
                assert!(report.is_delivered(), "{report:?}");
                client.quit().await.unwrap();
                let log = log.lock().unwrap();
                let next = log.iter().position(|line| line.starts_with("VRFY")).unwrap();
                let (before, after) = log.split_at(next);
                let [before, after] = [before, after]
                    .map(|lines| lines.iter().filter(|line| *line != "RSET").collect::<Vec<_>>());
                let is_prefix = before.iter().zip(own).all(|(line, own)| *line == own);
                assert!(is_prefix && before.len() <= own.len(), "{before:?}");
                let [mail, last] = ["MAIL FROM:<a@example.com>", "RCPT TO:<last@example.org>"];
                assert_eq!(after, ["VRFY somewhere", mail, last, "DATA", STORED, "QUIT"]);
            }
            Err(Error::Interrupted) => {
                interrupted += 1;
                assert!(matches!(client.noop().await, Err(Error::Interrupted)), "it stays so");
                let log = log.lock().unwrap();
                assert!(!log.iter().any(|line| line.starts_with("message")), "{log:?}");
            }
            Err(error) => panic!("after {polls} polls: {error}"),
        }
        if is_complete {
            assert!(polls > 1, "the work waits at least once");
            return interrupted;
        }
    }
    unreachable!()
}

#[tokio::test(start_paused = true)]
async fn a_dropped_smtp_command_does_not_pass_its_reply_to_the_next() {
    let interrupted = drop_smtp_work(&["NOOP"], |smtp| Box::pin(async { smtp.noop().await.unwrap() }));
    assert_eq!(interrupted.await, 0);
    let interrupted = drop_smtp_work(&["AUTH PLAIN AHUAcA=="], |smtp| {
        Box::pin(async {
            let credentials = Credentials::password("u", &b"p"[..]);
            smtp.danger_cleartext_login(&[Mechanism::Plain], &credentials).await.unwrap();
        })
    });
    assert_eq!(interrupted.await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_message_is_delivered_completely_or_not_at_all() {
    let own = ["MAIL FROM:<a@example.com>", "RCPT TO:<first@example.org>", "DATA", STORED];
    let interrupted = drop_smtp_work(&own, |smtp| {
        Box::pin(async {
            let report = smtp.send(envelope("first@example.org"), MESSAGE).await.unwrap();
            assert!(report.is_delivered(), "{report:?}");
        })
    });
    let interrupted = interrupted.await;
    assert!(interrupted > 3, "{interrupted}");
    let interrupted = drop_smtp_work(&own, |smtp| {
        Box::pin(async {
            let EnvelopeOutcome::Accepted(mut writer) =
                smtp.send_stream(envelope("first@example.org")).await.unwrap()
            else {
                panic!("the recipient is accepted");
            };
            let (first, last) = MESSAGE.split_at(9);
            writer.write_all(first.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            writer.write_all(last.as_bytes()).await.unwrap();
            assert!(writer.finish().await.is_delivered());
        })
    });
    let interrupted = interrupted.await;
    assert!(interrupted > 3, "{interrupted}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_transaction_without_recipients_is_reset() {
    let own = ["MAIL FROM:<a@example.com>", "RCPT TO:<unknown@example.org>", "DATA"];
    drop_smtp_work(&own, |smtp| {
        Box::pin(async {
            let report = smtp.send(envelope("unknown@example.org"), MESSAGE).await.unwrap();
            assert!(!report.is_delivered() && report.error().is_none(), "{report:?}");
        })
    })
    .await;
}
