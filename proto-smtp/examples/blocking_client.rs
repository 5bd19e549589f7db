//! Sends a message with STARTTLS in a program that blocks, with nothing but `std::net` and rustls: what a driver does at the
//! TLS gate. [io-mio](../../io-mio) and [io-tokio](../../io-tokio) do it for you.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto_mail::machine::Negotiation;
use proto_mail::{ChannelBinding, Cleartext, Credentials, Driver, Mechanism, RecvBuffer, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{AuthOutcome, Client, Event, Progress, Transaction, Upgrade};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};

const MESSAGE: &[u8] = b"From: alice@example.com\r\nSubject: Hello\r\n\r\nHello Bob\r\n";
/// How long the handshake waits for the server.
const HANDSHAKE: Duration = Duration::from_secs(30);

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Sends the message and returns the outcome for each recipient. `name` is the server's, in its certificate.
pub(crate) fn send(
    mut socket: TcpStream,
    name: &str,
    tls: Arc<ClientConfig>,
    password: String,
) -> Result<Transaction> {
    let mut driver = Driver::new(Client::<Cleartext>::new(Config::default()));
    let ready = driver.run(&mut socket, Instant::now, TcpStream::set_read_timeout, |event, _, _| {
        Ok::<_, io::Error>(matches!(event, Event::Capabilities(_)).then_some(()))
    });
    ready?.ok_or("the server refuses to serve")?;
    let (client, mut rx, tx) = driver.into_parts();
    let upgrade = negotiate(client, &mut socket, &mut rx, tx)?;

    socket.set_read_timeout(Some(HANDSHAKE))?;
    let mut connection = ClientConnection::new(Arc::clone(&tls), ServerName::try_from(name.to_owned())?)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    // The gate: the client of the cleartext session is gone, and nothing that it received may be left.
    let client = upgrade.complete(evidence(&connection, &tls)?, &mut rx)?;
    let mut driver = Driver::with_buffers(client, rx, SendBuffer::new());
    let mut stream = StreamOwned::new(connection, socket);

    let credentials = Credentials::password("alice", password);
    let mut mail = Transaction::from_addresses("alice@example.com", ["bob@example.org"])?;
    let limit = |stream: &StreamOwned<_, TcpStream>, left| stream.sock.set_read_timeout(left);
    driver.run(&mut stream, Instant::now, limit, |event, client, tx| {
        let progress = match &event {
            Event::Capabilities(_) => {
                let mechanism = client.choose_mechanism(&Mechanism::ALL, &credentials).into_result();
                let mechanism = mechanism.map_err(|reasons| reasons.to_string())?;
                client.authenticate(mechanism, credentials.duplicate(), tx)?;
                Progress::Continue
            }
            Event::Auth(AuthOutcome::Accepted(_)) => mail.start(client, tx)?,
            Event::Auth(AuthOutcome::Rejected(reply)) => return Err(reply.to_string().into()),
            event => mail.event(event, client, tx)?,
        };
        match progress {
            Progress::SendData => {
                client.data_writer()?.write(MESSAGE, tx)?;
                client.data_writer()?.finish(tx)?;
            }
            Progress::Done if client.is_idle() && !client.is_closed() => client.quit(tx)?,
            _ => {}
        }
        Ok::<_, Box<dyn std::error::Error>>(None::<()>)
    })?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(mail)
}

/// Gives STARTTLS and waits for the server's reply. The client is consumed.
fn negotiate(
    client: Client<Cleartext>,
    socket: &mut TcpStream,
    rx: &mut RecvBuffer,
    mut tx: SendBuffer,
) -> Result<Upgrade> {
    let mut negotiation = client.starttls(&mut tx)?;
    loop {
        tx.write_to(socket)?;
        match negotiation.advance(rx, &mut tx)? {
            Negotiation::Ready(upgrade) => return Ok(upgrade),
            Negotiation::Refused(_) => return Err("the server refuses STARTTLS".into()),
            Negotiation::Pending(pending) => negotiation = pending,
        }
        socket.set_read_timeout(negotiation.wait().after)?;
        match socket.read(rx.spare_mut(4096))? {
            0 => rx.close(),
            count => rx.filled(count),
        }
    }
}

/// Vouches for TLS that rustls has put in place: binds logins to it, and gives the client randomness for SCRAM.
fn evidence(connection: &ClientConnection, tls: &ClientConfig) -> Result<Secure> {
    let label = b"EXPORTER-Channel-Binding";
    let binding = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => {
            ChannelBinding::TlsExporter(connection.export_keying_material([0; 32], label, Some(b""))?)
        }
        _ => ChannelBinding::None,
    };
    let mut seed = [0; 32];
    tls.crypto_provider().secure_random.fill(&mut seed).map_err(|_| "there is no randomness")?;
    Ok(Secure::tls(binding).with_seed(seed))
}

fn main() -> Result<()> {
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter("/etc/ssl/certs/ca-certificates.crt")? {
        authorities.add(certificate?)?;
    }
    let tls = ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth();
    let socket = TcpStream::connect(("mail.example.com", 587))?;
    let mail = send(socket, "mail.example.com", Arc::new(tls), std::env::var("PASSWORD")?)?;
    for recipient in mail.recipients() {
        println!("{recipient}");
    }
    Ok(())
}
