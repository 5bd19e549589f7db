//! Logs in, lists the mailboxes, and streams the newest message of INBOX to a file, in a program that blocks, with nothing but
//! `std::net` and rustls.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto_imap::Config;
use proto_imap::client::{AuthOutcome, Client, Event, LoginMethod};
use proto_imap::types::{
    Command, Condition, FetchAttribute, FetchCommand, LazyList, ListCommand, ListPattern, MailboxName,
    Section, SelectCommand, Untagged,
};
use proto_mail::{ChannelBinding, Credentials, Driver, Secure};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};

/// How long the handshake waits for the server.
const HANDSHAKE: Duration = Duration::from_secs(30);

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The command whose completion is awaited.
enum Step {
    LogIn,
    List,
    Select,
    Fetch,
    LogOut,
}

/// Returns the size of the message in bytes. `name` is the server's, in its certificate.
pub(crate) fn fetch(mut socket: TcpStream, name: &str, tls: Arc<ClientConfig>, file: &Path) -> Result<u64> {
    socket.set_read_timeout(Some(HANDSHAKE))?;
    let mut connection = ClientConnection::new(Arc::clone(&tls), ServerName::try_from(name.to_owned())?)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    let client = Client::<Secure>::new(Config::default(), evidence(&connection, &tls)?);
    let mut driver = Driver::new(client);
    let mut stream = StreamOwned::new(connection, socket);

    let credentials = Credentials::password("alice", "secret");
    let (mut file, mut size, mut newest, mut step) = (File::create(file)?, 0, 0, Step::LogIn);
    let limit = |stream: &StreamOwned<_, TcpStream>, left| stream.sock.set_read_timeout(left);
    driver.run(&mut stream, Instant::now, limit, |event, client, tx| {
        match event {
            Event::Capabilities if matches!(step, Step::LogIn) => {
                client.authenticate(LoginMethod::Strongest, &credentials, tx)?;
            }
            Event::Auth(AuthOutcome::Accepted { .. }) => {
                step = Step::List;
                client.send(&Command::List(ListCommand::new(&[ListPattern::ALL])), tx)?;
            }
            Event::Auth(outcome) => return Err(outcome.status().text.to_string().into()),
            Event::Data(Untagged::List(mailbox)) => println!("{}", mailbox.mailbox),
            Event::Data(Untagged::Exists(count)) => newest = count,
            Event::BodyChunk(bytes) => {
                file.write_all(bytes)?;
                size += bytes.len() as u64;
            }
            Event::Completed { status, .. } if status.condition != Condition::Ok => {
                return Err(status.text.to_string().into());
            }
            Event::Completed { .. } => match step {
                Step::List => {
                    step = Step::Select;
                    client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), tx)?;
                }
                Step::Select => {
                    step = Step::Fetch;
                    let whole = [FetchAttribute::peek(Section::FULL)];
                    let command = FetchCommand::new(newest.into(), LazyList::new(&whole));
                    client.send(&Command::Fetch(command), tx)?;
                }
                Step::Fetch => {
                    step = Step::LogOut;
                    client.logout(tx)?;
                }
                Step::LogIn | Step::LogOut => {}
            },
            _ => {}
        }
        Ok::<_, Box<dyn std::error::Error>>(None::<()>)
    })?;
    file.sync_all()?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(size)
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
    let socket = TcpStream::connect(("imap.example.com", 993))?;
    println!("{} bytes", fetch(socket, "imap.example.com", Arc::new(tls), "newest.eml".as_ref())?);
    Ok(())
}
