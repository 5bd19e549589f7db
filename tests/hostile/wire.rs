//! Blocking connections to the server, as a client or an attacker uses them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// The longest that a client waits for the server to send or to receive anything.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The receive buffer of an attacker, in bytes: further output stays in the server.
const SMALL_WINDOW: usize = 4096;

/// The most of an untagged line that an [`Answer`] keeps, in characters; and the most lines.
const KEPT: usize = 512;

/// The services of the server under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Imap,
    Imaps,
    Smtps,
    Lmtp,
}

/// Where the services are, and how to reach them.
#[derive(Clone)]
pub(crate) struct Endpoints {
    pub(crate) imap: SocketAddr,
    pub(crate) imaps: SocketAddr,
    pub(crate) smtps: SocketAddr,
    pub(crate) lmtp: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// One connection, read by lines.
pub(crate) struct Wire {
    stream: BufReader<Box<dyn Duplex>>,
}

impl Endpoints {
    fn address(&self, service: Service) -> SocketAddr {
        match service {
            Service::Imap => self.imap,
            Service::Imaps => self.imaps,
            Service::Smtps => self.smtps,
            Service::Lmtp => self.lmtp,
        }
    }

    /// Connects from 127.0.0.`host`. `window` limits the receive buffer, in bytes.
    fn socket(&self, service: Service, host: u8, window: Option<usize>) -> io::Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        if let Some(window) = window {
            sockopt::set_socket_recv_buffer_size(&socket, window)?;
        }
        bind(&socket, &SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0))?;
        connect(&socket, &self.address(service))?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn wire(&self, service: Service, host: u8, window: Option<usize>) -> io::Result<Wire> {
        let socket = self.socket(service, host, window)?;
        let stream: Box<dyn Duplex> = match service {
            Service::Imap | Service::Lmtp => Box::new(socket),
            Service::Imaps | Service::Smtps => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let tls = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(tls, socket))
            }
        };
        Ok(Wire { stream: BufReader::with_capacity(4096, stream) })
    }

    /// A connection that has read the greeting.
    pub(crate) fn greeted(&self, service: Service, host: u8) -> io::Result<Wire> {
        let mut wire = self.wire(service, host, None)?;
        wire.line()?;
        Ok(wire)
    }

    /// An IMAP session of `user`.
    pub(crate) fn imap(&self, host: u8, user: &str, password: &str) -> io::Result<Imap> {
        self.imap_with(host, user, password, None)
    }

    /// Like [`imap`](Self::imap), with a small receive buffer.
    pub(crate) fn slow_imap(&self, host: u8, user: &str, password: &str) -> io::Result<Imap> {
        self.imap_with(host, user, password, Some(SMALL_WINDOW))
    }

    fn imap_with(&self, host: u8, user: &str, password: &str, window: Option<usize>) -> io::Result<Imap> {
        let mut wire = self.wire(Service::Imaps, host, window)?;
        wire.line()?;
        let mut imap = Imap { wire };
        imap.ask(&format!("LOGIN {user} {password}"))?.ok()?;
        Ok(imap)
    }

    /// A submission session of `user`.
    pub(crate) fn smtp(&self, host: u8, user: &str, password: &str) -> io::Result<Smtp> {
        let mut smtp = Smtp { wire: self.wire(Service::Smtps, host, None)? };
        smtp.answer(220)?;
        smtp.ask("EHLO client.example", 250)?;
        let response = STANDARD.encode(format!("\0{user}\0{password}"));
        smtp.ask(&format!("AUTH PLAIN {response}"), 235)?;
        Ok(smtp)
    }

    /// An LMTP session.
    pub(crate) fn lmtp(&self, host: u8) -> io::Result<Smtp> {
        let mut smtp = Smtp { wire: self.wire(Service::Lmtp, host, None)? };
        smtp.answer(220)?;
        smtp.ask("LHLO client.example", 250)?;
        Ok(smtp)
    }
}

impl Wire {
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// The next line with its end. The end of the stream is an error.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Reads and discards at most `count` bytes; returns how many there were.
    pub(crate) fn discard(&mut self, count: usize) -> io::Result<usize> {
        let got = self.stream.fill_buf()?.len().min(count);
        self.stream.consume(got);
        Ok(got)
    }
}

/// An IMAP session.
pub(crate) struct Imap {
    pub(crate) wire: Wire,
}

/// A server's answer to a command.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The tagged response, without the tag.
    pub(crate) status: String,
    /// The untagged lines, truncated to [`KEPT`] characters each; literals are left out.
    pub(crate) untagged: Vec<String>,
    /// The length of the longest untagged response with its literals, in bytes.
    pub(crate) longest: usize,
}

impl Answer {
    /// The answer, if it is OK.
    pub(crate) fn ok(self) -> io::Result<Self> {
        if self.status.starts_with("OK") { Ok(self) } else { Err(io::Error::other(self.status)) }
    }
}

impl Imap {
    /// Sends a command and reads its answer.
    pub(crate) fn ask(&mut self, command: &str) -> io::Result<Answer> {
        self.begin(command)?;
        self.answer()
    }

    /// Sends a command.
    pub(crate) fn begin(&mut self, command: &str) -> io::Result<()> {
        self.wire.send(format!("x {command}\r\n").as_bytes())
    }

    /// Appends a message to a mailbox, once the server asks for it.
    pub(crate) fn append_to(&mut self, mailbox: &str, message: &[u8]) -> io::Result<Answer> {
        self.begin(&format!("APPEND {mailbox} {{{}}}", message.len()))?;
        loop {
            let line = self.wire.line()?;
            if let Some(status) = line.strip_prefix("x ") {
                return Ok(Answer { status: status.trim_end().to_owned(), ..Answer::default() });
            }
            if line.starts_with('+') {
                self.wire.send(message)?;
                self.wire.send(b"\r\n")?;
            }
        }
    }

    /// Reads up to the tagged response.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let mut line = self.wire.line()?;
            if let Some(status) = line.strip_prefix("x ") {
                answer.status = status.trim_end().to_owned();
                return Ok(answer);
            }
            let mut length = line.len();
            while let Some(mut size) = literal(&line) {
                length += size;
                while size > 0 {
                    match self.wire.discard(size)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        got => size -= got,
                    }
                }
                line = self.wire.line()?;
                length += line.len();
            }
            answer.longest = answer.longest.max(length);
            if answer.untagged.len() < KEPT {
                answer.untagged.push(line.chars().take(KEPT).collect());
            }
        }
    }
}

/// The size that a line announces at its end.
fn literal(line: &str) -> Option<usize> {
    let inner = line.trim_end_matches(['\r', '\n']).strip_suffix('}')?;
    inner.rsplit_once('{')?.1.parse().ok()
}

/// A session of SMTP or LMTP.
pub(crate) struct Smtp {
    pub(crate) wire: Wire,
}

impl Smtp {
    /// Sends a command; its reply must have this code.
    pub(crate) fn ask(&mut self, command: &str, code: u16) -> io::Result<String> {
        self.wire.send(format!("{command}\r\n").as_bytes())?;
        self.answer(code)
    }

    pub(crate) fn answer(&mut self, code: u16) -> io::Result<String> {
        let reply = self.reply()?;
        if reply.starts_with(&code.to_string()) { Ok(reply) } else { Err(io::Error::other(reply)) }
    }

    /// The last line of the next reply.
    pub(crate) fn reply(&mut self) -> io::Result<String> {
        loop {
            let line = self.wire.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// Begins a message to `user`, up to the 354 reply.
    pub(crate) fn begin(&mut self, user: &str) -> io::Result<()> {
        self.ask("MAIL FROM:<sender@client.example>", 250)?;
        self.ask(&format!("RCPT TO:<{user}@localhost>"), 250)?;
        self.ask("DATA", 354).map(drop)
    }

    /// Ends a message.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.ask("\r\n.", 250).map(drop)
    }

    /// Delivers a small message.
    pub(crate) fn deliver(&mut self, user: &str) -> io::Result<()> {
        self.begin(user)?;
        self.wire.send(b"From: sender@client.example\r\nSubject: hello\r\n\r\nA few words.")?;
        self.end()
    }
}
