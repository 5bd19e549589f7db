//! A relay: takes mail by submission, checks it, and forwards it to the next server while the client waits. It keeps no
//! message: what the next server says of each recipient is what the client is told.
//!
//! A client that requests PRDR gets a reply for each recipient. Any other client gets one reply for the message, so it may
//! name one recipient at a time; 452 has it send the message again for the rest (RFC 5321 §4.5.3.1.10).

use std::{net::SocketAddr, sync::Arc};

use io_tokio::{
    ConnectionLimits, Connector, Deadlines, Error, ListenerTls, Security, Server, SmtpClient, SmtpServer,
    Target, TlsClientConfig, TlsServerConfig, server::SecureSession, smtp::Envelope, smtp::Report,
};
use proto_mail::Credentials;
use proto_smtp::{Config, client::Outcome, server::Event, types::Code, types::Extension, types::Response};

/// The largest message, in bytes.
const MAX_SIZE: u64 = 25 << 20;

/// Where mail goes, and how the relay logs in there.
pub struct NextServer {
    /// Opens the connections.
    pub connector: Connector,
    /// The server. Without TLS and a valid certificate nothing is forwarded.
    pub target: Target,
    /// The relay's own login there.
    pub credentials: Credentials,
}

impl NextServer {
    /// Forwards a message, with a trace field (RFC 5321 §4.4).
    async fn forward(&self, mut envelope: Envelope, message: &[u8]) -> Result<Report, Error> {
        let date = jiff::Zoned::now().strftime("%a, %d %b %Y %H:%M:%S %z");
        let field = format!("Received: by relay.example.com with ESMTPSA; {date}\r\n");
        let message = [field.as_bytes(), message].concat();
        envelope.mail.size = Some(message.len() as u64);
        let mut smtp = SmtpClient::connect(&self.connector, &self.target).await?;
        smtp.login(&self.credentials).await?;
        let report = smtp.send(envelope, message).await?;
        // The message was answered; a QUIT that fails changes nothing.
        let _ = smtp.quit().await;
        Ok(report)
    }
}

async fn serve(mut session: SecureSession<SmtpServer>, next: Arc<NextServer>) -> Result<(), Error> {
    let mut sender = String::new();
    let mut envelope = None;
    while let Some(event) = session.next_event().await? {
        match event {
            Event::Auth(request) => session.answer_password(request, |user, password| {
                let is_correct = user == "alice" && password == b"secret"; // A real server compares hashes.
                if is_correct {
                    sender = format!("{user}@example.com");
                }
                is_correct
            })?,
            Event::Mail(mail, token) if mail.from.as_str() == sender => {
                envelope = Some(Envelope { mail, recipients: Vec::new() });
                session.reply(token, &Response::ok())?;
            }
            Event::Mail(_, token) => {
                session.reply(token, &Response::new(Code::MAILBOX_NAME, "this is not your address"))?;
            }
            Event::Rcpt(rcpt, token) => {
                let response = match &mut envelope {
                    Some(Envelope { mail, recipients }) if mail.prdr || recipients.is_empty() => {
                        recipients.push(rcpt);
                        Response::ok()
                    }
                    _ => Response::new(Code::INSUFFICIENT_STORAGE, "one recipient at a time, or PRDR"),
                };
                session.reply(token, &response)?;
            }
            Event::Data(token) => {
                let Some(envelope) = envelope.take() else { continue };
                let (is_prdr, count) = (envelope.mail.prdr, envelope.recipients.len());
                let Some((message, token)) = session.receive(token).await? else { continue };
                let replies = match check(&message) {
                    Ok(()) => replies(&next.forward(envelope, &message).await, count),
                    Err(rejection) => vec![rejection; count],
                };
                session.with(|server, tx| match &*replies {
                    [reply] if !is_prdr => server.reply(token, reply, tx),
                    replies => server.reply_each(token, replies, tx),
                })?;
            }
            Event::Reset => envelope = None,
            _ => {} // Whatever needs an answer is answered with a temporary failure.
        }
    }
    Ok(())
}

/// Rejects messages that must not leave.
fn check(message: &[u8]) -> Result<(), Response<'static>> {
    let header = message.split(|byte| *byte == b'\n').take_while(|line| !matches!(line, [] | [b'\r']));
    let has = |line: &[u8], name: &[u8]| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    let (mut authors, mut hops) = (0, 0);
    for line in header {
        authors += usize::from(has(line, b"From:"));
        hops += usize::from(has(line, b"Received:"));
    }
    match (authors, hops) {
        (1, 0..50) => Ok(()),
        (1, _) => Err(Response::new(Code::FAILED, "the message goes in circles")),
        _ => Err(Response::new(Code::FAILED, "the message needs exactly one From field")),
    }
}

/// Returns the reply for each recipient.
fn replies(forwarded: &Result<Report, Error>, count: usize) -> Vec<Response<'static>> {
    match forwarded {
        Ok(report) => report.recipients().iter().map(|recipient| reply(recipient.outcome())).collect(),
        Err(error) if error.is_retryable() => vec![Response::try_again(); count],
        // The user can do nothing about the next server's login or certificate; its text is for this server's log.
        Err(_) => vec![Response::new(Code::LOCAL_ERROR, "mail cannot be forwarded now"); count],
    }
}

fn reply(outcome: &Outcome) -> Response<'static> {
    match outcome {
        Outcome::Delivered(reply) | Outcome::Refused(_, reply) => reply.clone(),
        Outcome::NotSent(reason) if !outcome.is_retryable() => {
            Response::new(Code::FAILED, reason.to_string())
        }
        // The next server may have the message, or not: a copy too many is better than none.
        _ => Response::try_again(),
    }
}

/// Listens on any free port of loopback and returns the address.
pub async fn listen(
    server: &mut Server,
    tls: TlsServerConfig,
    next: NextServer,
) -> Result<SocketAddr, Error> {
    let mut config = Config::submission().max_message(MAX_SIZE);
    config.extensions = config.extensions.with(Extension::Prdr);
    let next = Arc::new(next);
    let service = move |session| serve(session, next.clone());
    let (address, tls) = (([127, 0, 0, 1], 0).into(), ListenerTls::StartTls(tls));
    server.serve::<SmtpServer>(address, tls, config.into(), Deadlines::default(), service).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut server = Server::new(ConnectionLimits::default());
    let next = NextServer {
        connector: Connector::new(TlsClientConfig::platform()?),
        target: Target::new("mail.example.net", 465, Security::ImplicitTls),
        credentials: Credentials::password("relay", std::env::var("PASSWORD")?),
    };
    let tls = TlsServerConfig::from_files("chain.pem", "key.pem")?;
    println!("listening on {}", listen(&mut server, tls, next).await?);
    std::future::pending().await
}
