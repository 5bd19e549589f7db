//! The client's STARTTLS: when it is sent, which reply starts TLS, and what is forgotten.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_mail::machine::Negotiation;
use proto_mail::{
    Cleartext, Credentials, Error, ErrorCode, ErrorDetails, Mechanism, Misuse, PeerError, RecvBuffer, Secure,
    SendBuffer,
};
use proto_smtp::Config;
use proto_smtp::client::{Client, Event};
use proto_smtp::types::{Address, Mail};

const HELLO: &[&[u8]] = &[
    b"220 mx ESMTP\r\n",
    b"250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n",
];

/// Sends STARTTLS and receives these replies.
fn starttls_with(replies: &[&[u8]]) -> Result<Client<Secure>, Error> {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut client = Client::<Cleartext>::new(Config::default());
    for reply in HELLO {
        rx.extend(reply);
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        let _ = tx.take();
    }
    let mut negotiation = client.starttls(&mut tx)?;
    assert_eq!(tx.take(), b"STARTTLS\r\n");
    for reply in replies {
        rx.extend(reply);
        negotiation = match negotiation.advance(&mut rx, &mut tx)? {
            Negotiation::Pending(more) => more,
            Negotiation::Refused(_) => {
                return Err(PeerError::StartTlsRefused.into());
            }
            Negotiation::Ready(upgrade) => {
                return upgrade.complete(Secure::trusted_local(), &mut rx);
            }
        };
    }
    panic!("no answer")
}

#[test]
fn starts_tls_after_220_only() {
    assert!(starttls_with(&[b"220-go\r\n", b"220 ahead\r\n"]).is_ok());
    for (replies, error) in [
        (&[&b"220 go\r\n250 evil\r\n"[..]][..], PeerError::PlaintextAfterStartTls),
        (&[b"220 go\r\n2"], PeerError::PlaintextAfterStartTls),
        (&[b"221 bye\r\n"], PeerError::UnexpectedReply),
        (&[b"250 ok\r\n"], PeerError::UnexpectedReply),
        (&[b"334 \r\n"], PeerError::UnexpectedReply),
        (&[b"2x0 bye\r\n"], PeerError::Malformed),
    ] {
        assert_eq!(starttls_with(replies).unwrap_err(), error.into(), "{replies:?}");
    }
    let error = starttls_with(&[b"421-4.3.2 not\r\n421 4.3.2 now\r\n"]).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Smtp(421)));
    assert_eq!(error.enhanced_code().map(|code| code.to_string()).as_deref(), Some("4.3.2"));
    assert_eq!((error.server_text(), error.is_retryable()), (Some("not\nnow"), true));
    for refusal in [&b"454 later\r\n"[..], b"501 syntax\r\n", b"502 no\r\n"] {
        assert_eq!(starttls_with(&[refusal]).unwrap_err(), PeerError::StartTlsRefused.into());
    }
}

#[test]
fn forgets_capabilities_after_starttls() {
    let mut client = starttls_with(&[b"220 go\r\n"]).unwrap();
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    assert!(client.capabilities().is_none());
    assert!(client.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert_eq!(tx.take(), b"EHLO localhost\r\n");
    rx.extend(b"250-mx\r\n250 SIZE 1000000\r\n");
    assert!(matches!(client.next_event(&mut rx, &mut tx), Ok(Some(Event::Capabilities(_)))));
    let credentials = Credentials::password("u", &b"secret"[..]);
    let error = client.authenticate(Mechanism::Plain, credentials, &mut tx).unwrap_err();
    assert_eq!(error, Misuse::WrongMechanism.into());
    assert!(tx.is_empty());
}

#[test]
fn does_not_send_starttls_that_is_not_offered() {
    for offer in ["250 mx\r\n", "250-mx\r\n250 XSTARTTLS\r\n", "250-mx\r\n250 SIZE STARTTLS\r\n"] {
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        let mut client = Client::<Cleartext>::new(Config::default());
        for reply in ["220 mx\r\n", offer] {
            rx.extend(reply.as_bytes());
            while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
            let _ = tx.take();
        }
        let mail = Mail::new("a@b.example".parse::<Address<'static>>().unwrap());
        assert_eq!(client.mail(&mail, &mut tx).unwrap_err(), Misuse::WrongState.into(), "no mail before TLS");
        assert_eq!(client.starttls(&mut tx).unwrap_err(), PeerError::StartTlsNotOffered.into());
        assert!(tx.is_empty());
    }
}
