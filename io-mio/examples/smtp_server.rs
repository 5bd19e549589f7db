//! A submission server with STARTTLS and AUTH that prints each mail with its envelope. One thread runs all sessions, and
//! another one takes their mail.

use io_mio::{ConnectionLimits, Error, IncomingMail, ListenerTls, MailPolicy, Reactor, TlsServerConfig};

/// A real server compares hashes.
fn is_correct(user: &str, password: &[u8]) -> bool {
    user == "alice" && password == b"secret"
}

/// Listens on any free port of loopback.
pub(crate) fn listen(reactor: &mut Reactor, tls: ListenerTls) -> Result<IncomingMail, Error> {
    let policy = MailPolicy::submission(is_correct).max_message(10 << 20);
    reactor.receive_mail(([127, 0, 0, 1], 0).into(), tls, policy)
}

fn main() -> Result<(), Error> {
    let tls = ListenerTls::StartTls(TlsServerConfig::from_files("chain.pem", "key.pem")?);
    let mut reactor = Reactor::new(ConnectionLimits::default())?;
    let incoming = listen(&mut reactor, tls)?;
    println!("listening on {}", incoming.address());
    std::thread::spawn(move || {
        for mail in incoming {
            let recipients: Vec<_> = mail.recipient_addresses().collect();
            println!("{:?} -> {recipients:?}\n{}", mail.sender(), mail.message.escape_ascii());
            mail.accept(); // Once it is stored safely.
        }
    });
    reactor.run()
}
