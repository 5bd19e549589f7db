//! The examples, run against servers on this machine.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test that cannot continue must fail")]

mod common;
#[path = "../examples/imap_client.rs"]
#[allow(dead_code, reason = "main is not called")]
mod imap_client;
#[path = "common/mailbox.rs"]
mod mailbox;
#[path = "../examples/smtp_client.rs"]
#[allow(dead_code, reason = "main is not called")]
mod smtp_client;
#[path = "../examples/smtp_server.rs"]
#[allow(dead_code, reason = "main is not called")]
mod smtp_server;

use std::time::Duration;

use common::Identity;
use io_tokio::{ConnectionLimits, ListenerTls, Security, Server, Target};

#[tokio::test]
async fn a_message_goes_from_the_smtp_client_to_the_smtp_server() {
    let identity = Identity::localhost();
    let mut server = Server::new(ConnectionLimits::default());
    let tls = ListenerTls::StartTls(identity.server());
    let mut incoming = smtp_server::listen(&mut server, tls).await.unwrap();
    let target = Target::new("localhost", incoming.address().port(), Security::StartTls);
    let send = smtp_client::send(identity.trust(), target.clone(), "secret".into());
    let (sent, message) = tokio::join!(send, async {
        let mail = incoming.next().await.unwrap();
        let message = mail.message.clone();
        mail.accept();
        message
    });
    sent.unwrap();
    let refused = smtp_client::send(identity.trust(), target, "wrong".into()).await.unwrap_err();
    assert!(refused.to_string().contains("535"), "{refused}");
    assert_eq!(message, b"From: alice@example.com\r\nSubject: Hello\r\n\r\nHello Bob\r\n");
    server.shut_down(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_imap_client_streams_the_newest_message_to_a_file() {
    let identity = Identity::localhost();
    let folder = common::Folder::new();
    let message: Vec<u8> = (0..3_000_000_u32).map(|number| b'a' + (number % 26) as u8).collect();
    let mut server = Server::new(ConnectionLimits::default());
    let messages = vec![b"old".to_vec(), message.clone()];
    let port = mailbox::listen(&mut server, identity.server(), messages).await;
    let target = Target::new("localhost", port, Security::ImplicitTls);
    let file = folder.0.join("newest.eml");
    let size = imap_client::fetch(identity.trust(), target, &file).await.unwrap();
    assert_eq!(size, message.len() as u64);
    assert!(std::fs::read(file).unwrap() == message);
    server.shut_down(Duration::from_secs(5)).await;
}
