//! Memory that held a secret is wiped once it was processed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proto_mail::{AuthVerdict, Cleartext, RecvBuffer, Secure, SendBuffer};
use proto_smtp::server::{Event, Server};

/// The memory of the buffer once it is empty.
fn memory(rx: &mut RecvBuffer) -> String {
    assert!(rx.is_empty());
    String::from_utf8_lossy(rx.spare_mut(1)).into_owned()
}

#[test]
fn wipes_credentials_from_the_receive_buffer() {
    for lines in [
        &["AUTH PLAIN AHUAc2VjcmV0\r\n"][..],
        &["AUTH PLAIN\r\n", "AHUAc2VjcmV0\r\n"],
        &["AUTH LOGIN\r\n", "dQ==\r\n", "c2VjcmV0\r\n"],
        // Also rejected and cancelled ones.
        &["AUTH SCRAM-SHA-256 c2VjcmV0\r\n"],
        &["AUTH PLAIN\r\n", "c2VjcmV0\nc2VjcmV0\r\n"],
    ] {
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        let mut server = Server::<Secure>::new(support::config(), Secure::trusted_local(), &mut tx);
        tx.sent(usize::MAX);
        for line in ["EHLO c\r\n"].iter().chain(lines) {
            rx.extend(line.as_bytes());
            while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
                if let Event::Auth(request) = event {
                    server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap();
                }
            }
        }
        let left = memory(&mut rx);
        assert!(!left.contains("c2Vj") && !left.contains("AHUA"), "{lines:?}: {left:?}");
    }
}

#[test]
fn wipes_unexpected_credentials_from_the_receive_buffer() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(support::config(), &mut tx);
    tx.sent(usize::MAX);
    rx.extend(b"EHLO c\r\nAUTH PLAIN AHUAc2VjcmV0\r\nAHUAc2VjcmV0\r\n");
    while server.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    assert!(!memory(&mut rx).contains("AHUA"));
}
