//! SCRAM over IMAP: success counts only after the server has proved its identity.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use proto_imap::Config;
use proto_imap::client::{AuthOutcome, Client, Event, LoginMethod};
use proto_mail::wait::{COMPUTATION_PAUSE, WaitFor};
use proto_mail::{
    ChannelBinding, Cleartext, Credentials, Error, PeerError, RecvBuffer, Secure, SendBuffer, sasl,
};

/// Creates a client that has sent client-first. Also returns its nonce and the command's tag.
fn begun() -> (Client<Secure>, RecvBuffer, SendBuffer, [String; 2]) {
    let secure = Secure::tls(ChannelBinding::TlsExporter([1; 32])).with_seed([2; 32]);
    let mut client = Client::<Secure>::new(Arc::new(Config::default()), secure);
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=SCRAM-SHA-256] ready\r\n");
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    let credentials = Credentials::password("alice", &b"hunter2"[..]);
    client.authenticate(LoginMethod::Strongest, &credentials, &mut tx).unwrap();
    let said = take(&mut tx);
    let message = said.trim_end().rsplit(' ').next().unwrap();
    let first = String::from_utf8(sasl::decode_base64(message.as_bytes()).unwrap().expose().clone()).unwrap();
    assert!(said.contains("AUTHENTICATE SCRAM-SHA-256 ") && first.starts_with("y,,n=alice,r="), "{said}");
    let tag = said.split(' ').next().unwrap().to_owned();
    (client, rx, tx, [first.split_once("r=").unwrap().1.to_owned(), tag])
}

fn take(tx: &mut SendBuffer) -> String {
    String::from_utf8(tx.take()).unwrap()
}

fn challenge(message: &str) -> Vec<u8> {
    [b"+ ", sasl::encode_base64(message.as_bytes()).expose().as_slice(), b"\r\n"].concat()
}

#[test]
fn success_before_the_servers_signature_is_not_believed() {
    let (mut client, mut rx, mut tx, [nonce, tag]) = begun();
    rx.extend(&challenge(&format!("r={nonce}more,s=c2FsdA==,i=4096")));
    assert!(client.next_event(&mut rx, &mut tx).unwrap().is_none());
    let proof = take(&mut tx);
    assert!(!proof.contains("aHVudGVyM") && !proof.contains("hunter2") && proof.ends_with("\r\n"));
    rx.extend(format!("{tag} OK welcome\r\n").as_bytes());
    let error = client.next_event(&mut rx, &mut tx).unwrap_err();
    assert_eq!(error, Error::Peer(PeerError::AuthenticationNotFinished));
}

#[test]
fn a_foreign_nonce_is_cancelled_and_the_reason_told() {
    let (mut client, mut rx, mut tx, [_, tag]) = begun();
    rx.extend(&challenge("r=another-nonce,s=c2FsdA==,i=4096"));
    assert!(client.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert_eq!(take(&mut tx), "*\r\n");
    rx.extend(format!("{tag} NO cancelled\r\n").as_bytes());
    let event = client.next_event(&mut rx, &mut tx).unwrap();
    let Some(Event::Auth(AuthOutcome::Cancelled { reason: Some(reason), .. })) = event else {
        panic!("{event:?}")
    };
    assert!(reason.contains("nonce"), "{reason}");
}

/// Returns the first message of a client in cleartext, with or without a seed.
fn first_in_cleartext(seed: Option<[u8; 32]>) -> String {
    let mut client = Client::<Cleartext>::new(Config::default().danger_cleartext());
    if let Some(seed) = seed {
        client = client.with_seed(seed);
    }
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(
        b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS] ready\r\n",
    );
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    let credentials = Credentials::password("alice", &b"hunter2"[..]);
    client.danger_cleartext_authenticate(LoginMethod::Strongest, &credentials, &mut tx).unwrap();
    take(&mut tx)
}

#[test]
fn speaks_scram_in_cleartext_with_a_seed() {
    let sent = first_in_cleartext(Some([3; 32]));
    assert!(sent.contains(" AUTHENTICATE SCRAM-SHA-256 "), "without -PLUS: {sent}");
    let sent = first_in_cleartext(None);
    assert!(sent.contains(" AUTHENTICATE PLAIN "), "no nonce can be made: {sent}");
}

/// The answer to a demand of many iterations is computed in slices, one for each call, and nothing is read meanwhile.
#[test]
fn many_iterations_are_computed_in_slices() {
    for (behind, is_over) in [("", false), ("* OK wait\r\n", false), ("TAG OK welcome\r\n", true)] {
        let (mut client, mut rx, mut tx, [nonce, tag]) = begun();
        rx.extend(&challenge(&format!("r={nonce}more,s=c2FsdA==,i=50000")));
        rx.extend(behind.replace("TAG", &tag).as_bytes());
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
            assert_eq!(event.is_err(), is_over && slice == 5, "{slice} {behind}");
        }
        assert!(!tx.is_empty() && (is_over || client.wants_read(&tx)));
    }
}

#[test]
fn the_end_of_the_connection_ends_a_computation_in_slices() {
    let (mut client, mut rx, mut tx, [nonce, _]) = begun();
    rx.extend(&challenge(&format!("r={nonce}more,s=c2FsdA==,i=30000")));
    rx.close();
    let mut ended = std::iter::repeat_with(|| client.next_event(&mut rx, &mut tx).map(drop)).take(5);
    assert!(ended.any(|result| result.is_err()));
}
