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

use std::{sync::Arc, time::Duration};

use common::Identity;
use io_tokio::Server;

#[tokio::test]
async fn a_message_goes_from_the_smtp_client_to_the_smtp_server() {
    let identity = Identity::localhost();
    let (_folder, [authority, chain, key]) = identity.files();
    let inbox = smtp_server::Inbox::default();
    let mut server = Server::new(Default::default());
    let port = smtp_server::listen(&mut server, [&chain, &key], Arc::clone(&inbox)).await.unwrap();
    let authority = authority.to_str().unwrap();
    smtp_client::send("localhost", port, authority, "secret").await.unwrap();
    let refused = smtp_client::send("localhost", port, authority, "wrong").await.unwrap_err();
    assert!(refused.to_string().contains("535"), "{refused}");
    assert_eq!(*inbox.lock().await, [b"Subject: Hello\r\n\r\nHello Bob\r\n"]);
    server.shut_down(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_imap_client_streams_the_newest_message_to_a_file() {
    let identity = Identity::localhost();
    let (folder, [authority, ..]) = identity.files();
    let message: Vec<u8> = (0..3_000_000_u32).map(|number| b'a' + (number % 26) as u8).collect();
    let mut server = Server::new(Default::default());
    let messages = vec![b"old".to_vec(), message.clone()];
    let port = mailbox::listen(&mut server, identity.server(), messages).await;
    let file = folder.0.join("newest.eml");
    let (authority, path) = (authority.to_str().unwrap(), file.to_str().unwrap());
    let size = imap_client::fetch("localhost", port, authority, path).await.unwrap();
    assert_eq!(size, message.len() as u64);
    assert!(std::fs::read(file).unwrap() == message);
    server.shut_down(Duration::from_secs(5)).await;
}
