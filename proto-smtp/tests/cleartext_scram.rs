//! A client on cleartext that has a seed for nonces can use SCRAM instead of PLAIN.
#![allow(clippy::unwrap_used)]

use proto_mail::{Cleartext, Credentials, Mechanism, Misuse, RecvBuffer, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{Client, Event};

fn password() -> Credentials {
    Credentials::password("alice", &b"secret"[..])
}

/// Connects to a server that offers SCRAM and PLAIN on cleartext.
fn connect(client: Client<Cleartext>) -> (Client<Cleartext>, SendBuffer) {
    let (mut client, mut rx, mut tx) = (client, RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"220 mx\r\n");
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    assert!(tx.take().starts_with(b"EHLO "));
    rx.extend(b"250-mx\r\n250 AUTH PLAIN SCRAM-SHA-256\r\n");
    assert!(matches!(client.next_event(&mut rx, &mut tx).unwrap(), Some(Event::Capabilities(_))));
    (client, tx)
}

#[test]
fn uses_scram_with_a_seed() {
    let client = Client::<Cleartext>::new(Config::default().danger_cleartext()).with_seed([7; 32]);
    let (mut client, mut tx) = connect(client);
    let chosen = client.choose_mechanism(&Mechanism::ALL, &password()).into_result().unwrap();
    assert_eq!(chosen, Mechanism::ScramSha256);
    client.danger_cleartext_authenticate(chosen, password(), &mut tx).unwrap();
    let sent = String::from_utf8(tx.take()).unwrap();
    assert!(sent.starts_with("AUTH SCRAM-SHA-256 "), "{sent}");
}

#[test]
fn has_no_scram_without_a_seed() {
    let (mut client, mut tx) = connect(Client::<Cleartext>::new(Config::default().danger_cleartext()));
    let chosen = client.choose_mechanism(&Mechanism::ALL, &password()).into_result().unwrap();
    assert_eq!(chosen, Mechanism::Plain);
    let refused = client.danger_cleartext_authenticate(Mechanism::ScramSha256, password(), &mut tx);
    assert_eq!(refused, Err(Misuse::WrongMechanism.into()));
    assert!(tx.is_empty());
}
