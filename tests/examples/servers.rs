//! The servers, with the client on tokio.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use io_tokio::{Connector, ImapClient, ListenerTls, TlsClientConfig};
use mailserver::Service;
use mailstore::{Accounts, MemoryStore};
use proto_imap::types::Untagged;
use proto_mail::Credentials;

use crate::example::{
    mio_smtp_server, on_threads, on_tokio, own_storage, std_smtp_server, tokio_imap_client,
    tokio_smtp_client, tokio_smtp_server,
};
use crate::{MESSAGE, Result, SOON, certificate, implicit_tls, starttls};

#[tokio::test]
async fn the_smtp_server_on_tokio_collects_mail() -> Result {
    let (tls, trust) = certificate()?;
    let mut server = io_tokio::Server::new(Default::default());
    let mut incoming = tokio_smtp_server::listen(&mut server, ListenerTls::StartTls(tls)).await?;
    let target = starttls(incoming.address());
    let send = tokio_smtp_client::send(trust.clone(), target.clone(), "secret".into());
    let (sent, received) = tokio::join!(send, async {
        let mail = incoming.next().await?;
        let message = (mail.sender().to_owned(), mail.message.clone());
        mail.accept();
        Some(message)
    });
    sent?;
    assert_eq!(received, Some(("alice@example.com".to_owned(), MESSAGE.to_vec())));
    assert!(tokio_smtp_client::send(trust, target, "wrong".into()).await.is_err());
    server.shut_down(SOON).await;
    assert!(incoming.next().await.is_none());
    Ok(())
}

#[tokio::test]
async fn the_smtp_server_on_mio_collects_mail() -> Result {
    let (tls, trust) = certificate()?;
    let mut reactor = io_mio::Reactor::new(Default::default())?;
    let incoming = mio_smtp_server::listen(&mut reactor, ListenerTls::StartTls(tls))?;
    let (handle, target) = (reactor.handle(), starttls(incoming.address()));
    let reactor = std::thread::spawn(move || reactor.run());
    let collector = std::thread::spawn(move || {
        let accept = |mail: io_mio::ReceivedMail| {
            let message = mail.message.clone();
            mail.accept();
            message
        };
        incoming.map(accept).collect::<Vec<_>>()
    });
    tokio_smtp_client::send(trust.clone(), target.clone(), "secret".into()).await?;
    assert!(tokio_smtp_client::send(trust, target, "wrong".into()).await.is_err());
    handle.shut_down(Duration::ZERO);
    reactor.join().unwrap()?;
    assert_eq!(collector.join().unwrap(), [MESSAGE]);
    Ok(())
}

#[test]
fn the_blocking_smtp_server_answers_its_client() -> Result {
    Ok(std_smtp_server::main()?)
}

/// Two sessions in one mailbox: one idles and learns of what the other does.
async fn serves_two_sessions(address: SocketAddr, trust: &TlsClientConfig, exists: u32) -> Result {
    let target = implicit_tls(address);
    let (connector, credentials) = (Connector::new(trust.clone()), Credentials::password("alice", "secret"));
    let mut watching = ImapClient::connect(&connector, &target).await?;
    watching.login(&credentials).await?;
    for capability in ["IMAP4rev1", "IMAP4rev2", "IDLE", "CONDSTORE"] {
        assert!(watching.capabilities().is_some_and(|offered| offered.has(capability)), "{capability}");
    }
    assert_eq!(watching.select("INBOX").await?.exists, exists);
    let mut idle = watching.idle().await?;

    let mut writing = ImapClient::connect(&connector, &target).await?;
    writing.login(&credentials).await?;
    assert_eq!(writing.select("INBOX").await?.exists, exists);
    writing.append("INBOX", MESSAGE).await?;
    let change = tokio::time::timeout(SOON, idle.next()).await??;
    assert_eq!(change.view(), Untagged::Exists(exists + 1));
    idle.done().await?;
    writing.logout().await?;
    watching.logout().await?;

    let file = tempfile::NamedTempFile::new()?;
    tokio_imap_client::fetch(trust.clone(), target, file.path()).await?;
    assert_eq!(std::fs::read(file)?, MESSAGE);
    Ok(())
}

fn store() -> Result<Arc<MemoryStore>> {
    let store = MemoryStore::new()?;
    store.create_account("alice", b"secret")?;
    Ok(Arc::new(store))
}

#[tokio::test]
async fn the_mail_server_over_an_own_storage_serves_two_sessions() -> Result {
    let (tls, trust) = certificate()?;
    let mail = vec![b"Subject: kept\r\n\r\n".to_vec()];
    let server = own_storage::start(own_storage::Messages::new("alice", mail), "secret", tls)?;
    serves_two_sessions(server.address(Service::Imaps).ok_or("not listening")?, &trust, 1).await?;
    server.shut_down(SOON)?;
    Ok(())
}

#[tokio::test]
async fn the_mail_server_runs_on_threads() -> Result {
    let (tls, trust) = certificate()?;
    serves_two_sessions(on_threads::listen(store()?, tls)?, &trust, 0).await
}

#[tokio::test]
async fn the_mail_server_runs_on_tokio() -> Result {
    let (tls, trust) = certificate()?;
    let server = on_tokio::start(store()?, tls).await?;
    let address = |service| server.address(service).ok_or("not listening");
    serves_two_sessions(address(Service::Imaps)?, &trust, 0).await?;
    // Submission works as well; the recipient is not of this server.
    let sent = tokio_smtp_client::send(trust, implicit_tls(address(Service::Smtps)?), "secret".into()).await;
    let error = sent.unwrap_err();
    let error = error.downcast_ref::<io_tokio::Error>().ok_or("another error")?;
    assert!(matches!(error, io_tokio::Error::NotDelivered(_)), "{error}");
    server.shut_down(SOON).await;
    Ok(())
}
