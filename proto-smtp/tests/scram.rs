//! SCRAM with many iterations over SMTP: the client computes its answer in slices.

#![allow(clippy::unwrap_used, clippy::panic)]

use proto_mail::wait::{COMPUTATION_PAUSE, WaitFor};
use proto_mail::{ChannelBinding, Credentials, Mechanism, RecvBuffer, Secure, SendBuffer, sasl};
use proto_smtp::Config;
use proto_smtp::client::Client;

/// Creates a client that has sent client-first. Also returns its nonce.
fn begun() -> (Client<Secure>, RecvBuffer, SendBuffer, String) {
    let secure = Secure::tls(ChannelBinding::TlsExporter([1; 32])).with_seed([2; 32]);
    let mut client = Client::<Secure>::new(Config::default(), secure);
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    for text in ["220 mx ready\r\n", "250-mx\r\n250 AUTH SCRAM-SHA-256\r\n"] {
        rx.extend(text.as_bytes());
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        let _ = tx.take();
    }
    let credentials = Credentials::password("alice", &b"hunter2"[..]);
    client.authenticate(Mechanism::ScramSha256, credentials, &mut tx).unwrap();
    let said = String::from_utf8(tx.take()).unwrap();
    let message = said.trim_end().rsplit(' ').next().unwrap();
    let first = String::from_utf8(sasl::decode_base64(message.as_bytes()).unwrap().expose().clone()).unwrap();
    (client, rx, tx, first.split_once("r=").unwrap().1.to_owned())
}

fn challenge(message: &str) -> Vec<u8> {
    [b"334 ", sasl::encode_base64(message.as_bytes()).expose().as_slice(), b"\r\n"].concat()
}

#[test]
fn many_iterations_are_computed_in_slices() {
    for (behind, is_over) in [("", false), ("235 welcome\r\n", true)] {
        let (mut client, mut rx, mut tx, nonce) = begun();
        rx.extend(&challenge(&format!("r={nonce}more,s=c2FsdA==,i=50000")));
        rx.extend(behind.as_bytes());
        for slice in 1..=5 {
            assert!(tx.is_empty(), "before slice {slice}");
            if slice > 1 {
                assert_eq!(client.wait().awaited, WaitFor::Delay);
                assert!(!client.wants_read(&tx) && client.wait().after == Some(COMPUTATION_PAUSE));
                client.timed_out(&mut tx).unwrap();
            }
            let event = client.next_event(&mut rx, &mut tx);
            // What came meanwhile is processed after the last slice: a success without the server's signature is not
            // believed.
            assert_eq!(event.is_err(), is_over && slice == 5, "{slice}");
        }
        assert!(!tx.is_empty() && (is_over || client.wants_read(&tx)));
    }
}

#[test]
fn few_iterations_are_answered_at_once() {
    let (mut client, mut rx, mut tx, nonce) = begun();
    rx.extend(&challenge(&format!("r={nonce}more,s=c2FsdA==,i=10000")));
    assert!(client.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert!(!tx.is_empty() && client.wants_read(&tx));
    assert_eq!(client.wait().awaited, WaitFor::Reply);
}

#[test]
fn the_end_of_the_connection_ends_a_computation_in_slices() {
    let (mut client, mut rx, mut tx, nonce) = begun();
    rx.extend(&challenge(&format!("r={nonce}more,s=c2FsdA==,i=30000")));
    rx.close();
    let mut ended = std::iter::repeat_with(|| client.next_event(&mut rx, &mut tx).map(drop)).take(5);
    assert!(ended.any(|result| result.is_err()));
}
