//! Tests whether a server offers TLS, and whether an attacker on the way has removed it: `cargo run --example probe HOST`.
//!
//! It can't be downgraded: it demands TLS, sends no credentials, and says what it found instead.

use std::fmt;

use io_tokio::{Connector, Error, ImapClient, Security, SmtpClient, Target, TlsClientConfig, io_common};
use proto_mail::PeerError;

/// The protocol to probe.
#[derive(Debug, Clone, Copy)]
pub enum Service {
    /// Submission.
    Smtp,
    /// IMAP.
    Imap,
}

/// What a probe found.
#[derive(Debug)]
pub enum Finding {
    /// TLS with a valid certificate: this version.
    Secure(&'static str),
    /// The server does not offer STARTTLS, or an attacker has removed it: from here the two look alike. A server that
    /// offered it before, or from elsewhere, or on the port for implicit TLS, was not the one that changed.
    NotOffered,
    /// The server, or an attacker, refuses STARTTLS with this reply.
    Refused(String),
    /// Bytes followed the reply to STARTTLS in cleartext: an attacker has injected them, or the server is broken.
    Injected,
    /// There is TLS, but not with the server: the certificate is not valid for its name, or not signed by a trusted authority.
    NotTheServer(io_common::TlsError),
    /// Nothing can be said: no connection, for example.
    Unknown(Error),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secure(version) => write!(f, "{version} with a valid certificate"),
            Self::NotOffered => f.write_str("STARTTLS is not offered, or was removed on the way"),
            Self::Refused(reply) => write!(f, "STARTTLS is refused: {reply}"),
            Self::Injected => f.write_str("cleartext bytes followed the reply to STARTTLS"),
            Self::NotTheServer(error) => write!(f, "TLS, but not with this server: {error}"),
            Self::Unknown(error) => error.fmt(f),
        }
    }
}

/// Connects with TLS and reports what was found.
pub async fn probe(connector: &Connector, service: Service, target: &Target) -> Finding {
    let connected = match service {
        Service::Smtp => SmtpClient::connect(connector, target).await.map(|smtp| version(smtp.tls_info())),
        Service::Imap => ImapClient::connect(connector, target).await.map(|imap| version(imap.tls_info())),
    };
    let error = match connected {
        Ok(version) => return Finding::Secure(version),
        Err(Error::Session(error)) => error,
        Err(error) => return Finding::Unknown(error),
    };
    match error {
        io_common::Error::StartTlsRefused { reply, .. } => Finding::Refused(reply),
        io_common::Error::Tls(error) => Finding::NotTheServer(*error),
        io_common::Error::Protocol(proto_mail::Error::Peer(PeerError::StartTlsNotOffered)) => {
            Finding::NotOffered
        }
        io_common::Error::Protocol(proto_mail::Error::Peer(PeerError::PlaintextAfterStartTls)) => {
            Finding::Injected
        }
        error => Finding::Unknown(error.into()),
    }
}

fn version(tls: Option<&io_common::TlsInfo>) -> &'static str {
    tls.map_or("no TLS", |tls| tls.version)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = std::env::args().nth(1).ok_or("name a host")?;
    let connector = Connector::new(TlsClientConfig::platform()?);
    for (service, security, port) in [
        (Service::Smtp, Security::StartTls, 587),
        (Service::Smtp, Security::ImplicitTls, 465),
        (Service::Imap, Security::StartTls, 143),
        (Service::Imap, Security::ImplicitTls, 993),
    ] {
        let finding = probe(&connector, service, &Target::new(&host, port, security)).await;
        println!("{service:?} port {port}: {finding}");
    }
    Ok(())
}
