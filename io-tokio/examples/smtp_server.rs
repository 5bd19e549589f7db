//! A submission server with STARTTLS and AUTH that prints each mail with its envelope.

use io_tokio::{ConnectionLimits, Error, IncomingMail, ListenerTls, MailPolicy, Server, TlsServerConfig};

/// A real server compares hashes.
fn is_correct(user: &str, password: &[u8]) -> bool {
    user == "alice" && password == b"secret"
}

/// Listens on any free port of loopback.
pub async fn listen(server: &mut Server, tls: ListenerTls) -> Result<IncomingMail, Error> {
    let policy = MailPolicy::submission(is_correct).max_message(10 << 20);
    server.receive_mail(([127, 0, 0, 1], 0).into(), tls, policy).await
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let tls = ListenerTls::StartTls(TlsServerConfig::from_files("chain.pem", "key.pem")?);
    let mut server = Server::new(ConnectionLimits::default());
    let mut incoming = listen(&mut server, tls).await?;
    println!("listening on {}", incoming.address());
    while let Some(mail) = incoming.next().await {
        let recipients: Vec<_> = mail.recipient_addresses().collect();
        println!("{:?} -> {recipients:?}\n{}", mail.sender(), mail.message.escape_ascii());
        mail.accept(); // Once it is stored safely.
    }
    Ok(())
}
