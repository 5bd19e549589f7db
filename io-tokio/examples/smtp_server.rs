//! A submission server with STARTTLS and AUTH that collects mail in memory.

use std::{net::SocketAddr, sync::Arc};

use io_tokio::{ConnectionLimits, Deadlines, Error, ListenerTls, Server, SmtpServer, TlsServerConfig};
use io_tokio::server::SecureSession;
use proto_smtp::{Config, server::Event, types::Response};
use tokio::sync::Mutex;

pub(crate) type Inbox = Arc<Mutex<Vec<Vec<u8>>>>;

async fn serve(mut session: SecureSession<SmtpServer>, inbox: Inbox) -> Result<(), Error> {
    while let Some(event) = session.next_event().await? {
        match event {
            Event::Auth(request) => session.answer_password(request, is_correct)?,
            Event::Mail(_, token) | Event::Rcpt(_, token) => session.reply(token, &Response::ok())?,
            Event::Data(token) => {
                if let Some((message, token)) = session.receive(token, 10 << 20).await? {
                    inbox.lock().await.push(message);
                    session.reply(token, &Response::ok())?;
                }
            }
            _ => {} // Whatever needs an answer is answered with a temporary failure.
        }
    }
    Ok(())
}

// A real server compares hashes.
fn is_correct(user: &str, password: &[u8]) -> bool {
    user == "alice" && password == b"secret"
}

pub(crate) async fn start(tls: TlsServerConfig, inbox: Inbox) -> Result<(Server, SocketAddr), Error> {
    let mut server = Server::new(ConnectionLimits::default());
    let (address, tls) = (([127, 0, 0, 1], 0).into(), ListenerTls::StartTls(tls));
    let (config, deadlines) = (Config::default().require_authentication(), Deadlines::default());
    let service = move |session| serve(session, inbox.clone());
    let bound = server.serve::<SmtpServer>(address, tls, config.into(), deadlines, service).await?;
    Ok((server, bound))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let tls = TlsServerConfig::from_files("chain.pem".as_ref(), "key.pem".as_ref())?;
    let (_server, address) = start(tls, Inbox::default()).await?;
    println!("listening on {address}");
    std::future::pending().await
}
