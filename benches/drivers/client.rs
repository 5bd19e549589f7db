//! The clients: a server process and its control pipe, an SMTP client that delivers messages, and TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Driver, MESSAGE, Port, REPLY_TIMEOUT, Usage};

/// Returns an error text for an operation that failed.
fn failed<E: std::fmt::Display>(operation: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{operation}: {error}")
}

/// A running server. Dropping it ends its process.
pub(super) struct ServerProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    port: u16,
    tls: Arc<ClientConfig>,
}

impl ServerProcess {
    /// Starts a server and waits until it listens.
    pub(super) fn start(driver: Driver, port: Port, connections: usize) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(failed("finding this program"))?;
        let mut command = Command::new(program);
        command.args(["serve", driver.name(), port.name(), &connections.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed("starting the server process"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the server process has no pipes".into());
        };
        let mut output = BufReader::new(output);
        let port = read_line(&mut output)?.parse().map_err(failed("reading the server's port"))?;
        let mut pem = String::new();
        while !pem.contains("-----END CERTIFICATE-----") {
            pem.push_str(&read_line(&mut output)?);
            pem.push('\n');
        }
        // The PEM ends with an empty line.
        read_line(&mut output)?;
        Ok(Self { child, input: Some(input), output, port, tls: client_tls(&pem)? })
    }

    /// Asks the server for its figures.
    pub(super) fn usage(&mut self) -> Result<Usage, String> {
        let input = self.input.as_mut().ok_or("the server process has no input")?;
        writeln!(input, "usage").map_err(failed("writing to the server process"))?;
        let line = read_line(&mut self.output)?;
        let numbers: Vec<u64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
        let [cpu, driver_cpu, messages, resident, allocated] = numbers[..] else {
            return Err(format!("the server process answered {line:?}"));
        };
        Ok(Usage { cpu, driver_cpu, messages, resident, allocated })
    }

    /// Connects without TLS.
    pub(super) fn connect(&self) -> Result<TcpStream, String> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(failed("connecting"))?;
        socket.set_nodelay(true).map_err(failed("setting TCP_NODELAY"))?;
        socket.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(failed("setting a timeout"))?;
        Ok(socket)
    }

    /// Connects under TLS. The handshake follows with the first read.
    pub(super) fn connect_tls(&self) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
        let name = ServerName::try_from("localhost").map_err(failed("naming the server"))?;
        let tls = ClientConnection::new(Arc::clone(&self.tls), name).map_err(failed("starting TLS"))?;
        Ok(StreamOwned::new(tls, self.connect()?))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // The server exits at the end of its input.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn read_line(output: &mut BufReader<ChildStdout>) -> Result<String, String> {
    let mut line = String::new();
    match output.read_line(&mut line).map_err(failed("reading from the server process"))? {
        0 => Err("the server process has ended".into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn client_tls(authority: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let certificate =
        CertificateDer::from_pem_slice(authority.as_bytes()).map_err(failed("the certificate"))?;
    roots.add(certificate).map_err(failed("the certificate"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(failed("configuring TLS"))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// An SMTP client in one session.
pub(super) struct SmtpClient {
    stream: BufReader<Box<dyn Stream>>,
    message: Vec<u8>,
}

impl SmtpClient {
    /// Connects and logs in, if the server is one for submission.
    pub(super) fn connect(server: &ServerProcess, port: Port) -> Result<Self, String> {
        let stream: Box<dyn Stream> = match port {
            Port::Smtp => Box::new(server.connect()?),
            Port::Smtps | Port::Imaps => Box::new(server.connect_tls()?),
        };
        let mut client = Self { stream: BufReader::new(stream), message: message() };
        client.expect("220")?;
        client.send(b"EHLO client.test\r\n")?;
        client.expect("250")?;
        if port == Port::Smtps {
            // NUL, "ann", NUL, "a password".
            client.send(b"AUTH PLAIN AGFubgBhIHBhc3N3b3Jk\r\n")?;
            client.expect("235")?;
        }
        Ok(client)
    }

    /// Delivers the message this many times. Each one takes two round trips: the pipelined envelope, and the message.
    pub(super) fn deliver(&mut self, count: u64) -> Result<(), String> {
        let message = std::mem::take(&mut self.message);
        for _ in 0..count {
            self.send(b"MAIL FROM:<ann@localhost>\r\nRCPT TO:<ann@localhost>\r\nDATA\r\n")?;
            for expected in ["250", "250", "354"] {
                self.expect(expected)?;
            }
            self.send(&message)?;
            self.expect("250")?;
        }
        self.message = message;
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush()).map_err(failed("sending to the server"))
    }

    /// Reads one reply, which must have this code.
    fn expect(&mut self, code: &str) -> Result<(), String> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).map_err(failed("reading a reply"))?;
            if !line.starts_with(code) {
                return Err(format!("the server replied {line:?}, not {code}"));
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return Ok(());
            }
        }
    }
}

/// A message of [`MESSAGE`] bytes, with the dot that ends it.
fn message() -> Vec<u8> {
    let mut message = b"From: <ann@localhost>\r\nTo: <ann@localhost>\r\nSubject: bench\r\n\r\n".to_vec();
    while message.len() < MESSAGE {
        let line = (MESSAGE - message.len()).clamp(2, 72);
        message.extend(std::iter::repeat_n(b'a', line - 2));
        message.extend(b"\r\n");
    }
    message.extend(b".\r\n");
    message
}
