//! A submission server with STARTTLS and AUTH that collects mail in memory.

use std::{net::SocketAddr, sync::Arc};

use io_tokio::server::SecureSession;
use io_tokio::{ConnectionLimits, Deadlines, Error, ListenerTls, Server, SmtpServer, TlsServerConfig};
use proto_smtp::{Config, server::Event, types::Response};
use tokio::sync::Mutex;

/// The messages that arrived.
pub type Inbox = Arc<Mutex<Vec<Vec<u8>>>>;
type Result<T> = std::result::Result<T, Error>;

async fn serve(mut session: SecureSession<SmtpServer>, inbox: Inbox) -> Result<()> {
    let ok = Response::ok();
    while let Some(event) = session.next_event().await? {
        match event {
            Event::Auth(request) => session.answer_password(request, is_correct)?,
            Event::Mail(_, token) | Event::Rcpt(_, token) => session.reply(token, &ok)?,
            Event::Data(token) => {
                if let Some((message, token)) = session.receive(token, 10 << 20).await? {
                    inbox.lock().await.push(message);
                    session.reply(token, &ok)?;
                }
            }
            _ => {} // Whatever needs an answer is answered with a temporary failure.
        }
    }
    Ok(())
}

/// A real server compares hashes.
fn is_correct(user: &str, password: &[u8]) -> bool {
    user == "alice" && password == b"secret"
}

/// Listens on any free port of loopback and returns the address.
pub async fn listen(server: &mut Server, tls: ListenerTls, inbox: Inbox) -> Result<SocketAddr> {
    let config = Config::default().require_authentication().into();
    let (address, deadlines) = (([127, 0, 0, 1], 0).into(), Deadlines::default());
    let service = move |session| serve(session, inbox.clone());
    server.serve::<SmtpServer>(address, tls, config, deadlines, service).await
}

#[tokio::main]
async fn main() -> Result<()> {
    let tls = TlsServerConfig::from_files("chain.pem", "key.pem")?;
    let mut server = Server::new(ConnectionLimits::default());
    listen(&mut server, ListenerTls::StartTls(tls), Inbox::default()).await?;
    std::future::pending().await
}
