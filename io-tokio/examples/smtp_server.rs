//! A submission server with STARTTLS and AUTH that collects mail in memory.

use std::{path::Path, sync::Arc};

use io_tokio::{ConnectionLimits, Deadlines, Error, ListenerTls, Server, SmtpServer, TlsServerConfig};
use proto_smtp::{Config, server::Event, types::Response};
use tokio::sync::Mutex;

pub(crate) type Inbox = Arc<Mutex<Vec<Vec<u8>>>>;

async fn serve(mut session: io_tokio::server::SecureSession<SmtpServer>, inbox: Inbox) -> Result<(), Error> {
    while let Some(event) = session.next_event().await? {
        match event {
            Event::Auth(request) => session.answer_password(request, |user, password| {
                user == "alice" && password == b"secret" // A real server compares hashes.
            })?,
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

pub(crate) async fn listen(server: &mut Server, pem: [&Path; 2], inbox: Inbox) -> Result<u16, Error> {
    let tls = ListenerTls::StartTls(TlsServerConfig::from_files(pem[0], pem[1])?);
    let config = Config::default().require_authentication().into();
    let service = move |session| serve(session, inbox.clone());
    let address = ([127, 0, 0, 1], 0).into();
    Ok(server.serve::<SmtpServer>(address, tls, config, Deadlines::default(), service).await?.port())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut server = Server::new(ConnectionLimits::default());
    listen(&mut server, ["chain.pem".as_ref(), "key.pem".as_ref()], Inbox::default()).await?;
    std::future::pending().await
}
