//! Time limits of a session: silence, and data that was not asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use io_common::TlsClientConfig;
use mailclient::blocking::connector;
use mailclient::endpoint::Encryption;
use mailclient::imap::{self, AwaitCapabilities, ImapChannel};
use mailclient::{Endpoint, Error, ErrorKind, Folder};
use proto_mail::Cleartext;

use crate::{endpoint, on_tokio};

/// Starts a server that reads a command and then sends `answer` every 20 ms, as long as the client is there and for ten
/// seconds at most.
fn chatty(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            std::thread::spawn(move || answer_one(client, answer));
        }
    });
    address
}

fn answer_one(mut client: TcpStream, answer: &str) {
    client.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n").unwrap();
    let mut command = String::new();
    BufReader::new(client.try_clone().unwrap()).read_line(&mut command).unwrap();
    for _ in 0..500 {
        if client.write_all(answer.as_bytes()).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn cleartext(address: SocketAddr) -> Endpoint {
    let tls = TlsClientConfig::danger_accept_any_certificate().unwrap();
    let endpoint = endpoint("imap", address, tls).encryption(Encryption::DangerCleartextLogin).unwrap();
    endpoint.timeout(Duration::from_millis(200))
}

fn list_blocking(endpoint: &Endpoint) -> Result<Vec<Folder>, Error> {
    let mut session = Cleartext::open(endpoint, &connector(endpoint, |_| ()))?;
    session.run_task(&mut AwaitCapabilities::new())?;
    session.folders()
}

async fn list_tokio(endpoint: &Endpoint) -> Result<Vec<Folder>, Error> {
    let connector = mailclient::tokio::connector(endpoint, |_| ());
    let mut session = <Cleartext as imap::tokio::ImapChannel>::open(endpoint, &connector).await?;
    session.run_task(&mut AwaitCapabilities::new()).await?;
    session.folders().await
}

#[test]
fn a_session_ends_if_the_server_sends_only_useless_data_or_nothing() {
    // The limit for useless data is four times that for silence.
    for (answer, at_least) in [("* OK still here\r\n", 800), ("", 200)] {
        let endpoint = cleartext(chatty(answer));
        let errors =
            [list_blocking as fn(&Endpoint) -> _, |endpoint| on_tokio(list_tokio(endpoint))].map(|list| {
                let started = Instant::now();
                let error = list(&endpoint).unwrap_err();
                let took = started.elapsed();
                assert!(took >= Duration::from_millis(at_least), "{took:?}: {error}");
                assert!(took < Duration::from_millis(at_least + 4000), "{took:?}: {error}");
                error
            });
        assert_eq!(errors[0], errors[1]);
        assert_eq!(errors[1].kind(), ErrorKind::Temporary, "{}", errors[1]);
    }
}

#[test]
fn useful_data_keeps_a_session_open() {
    // Each response is a folder: the session goes on until the limit of folder names, not until the limit of time.
    let endpoint = cleartext(chatty("* LIST () \"/\" one\r\n"));
    on_tokio(async {
        let listed = tokio::time::timeout(Duration::from_secs(2), list_tokio(&endpoint)).await;
        assert!(listed.is_err(), "{listed:?}");
    });
}
