//! COMPRESS over sockets, with a client that uses DEFLATE by itself: the usual conversation, bombs, limits and a half-close.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use mailserver::{Service, Settings};
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, deflate::stream::deflate};

use super::{on_mio_with, on_tokio_with};

/// A client that compresses.
struct Client {
    socket: TcpStream,
    inflate: Box<InflateState>,
    deflate: Box<CompressorOxide>,
    /// What was received and not yet decompressed.
    received: Vec<u8>,
}

impl Client {
    /// Logs in, without compression.
    fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let flags = create_comp_flags_from_zip_params(6, -15, 0);
        let (inflate, deflate) =
            (InflateState::new_boxed(DataFormat::Raw), Box::new(CompressorOxide::new(flags)));
        let mut client = Self { socket, inflate, deflate, received: Vec::new() };
        client.socket.write_all(b"a LOGIN ann \"a password\"\r\n").unwrap();
        client.plain("a OK");
        client
    }

    /// Reads lines that are not compressed, up to the one that begins like this. Returns it.
    fn plain(&mut self, end: &str) -> String {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            self.socket.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
            if line.ends_with(b"\n") {
                let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
                if text.starts_with(end) {
                    return text;
                }
            }
        }
    }

    fn compress(&mut self) -> String {
        self.socket.write_all(b"c COMPRESS DEFLATE\r\n").unwrap();
        self.plain("c ")
    }

    fn deflated(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let (mut out, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let step = deflate(&mut self.deflate, bytes, &mut piece, MZFlush::Sync);
            bytes = &bytes[step.bytes_consumed..];
            out.extend_from_slice(&piece[..step.bytes_written]);
            if bytes.is_empty() && step.bytes_written < piece.len() {
                return out;
            }
        }
    }

    /// Reads compressed bytes until the text ends with a line that begins with `end`.
    fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        loop {
            let mut piece = vec![0; 64 * 1024];
            let step = inflate(&mut self.inflate, &self.received, &mut piece, MZFlush::None);
            self.received.drain(..step.bytes_consumed);
            text.extend_from_slice(&piece[..step.bytes_written]);
            let is_last = |line: &[u8]| line.starts_with(end.as_bytes());
            if text.ends_with(b"\r\n")
                && text[..text.len() - 2].split(|byte| *byte == b'\n').next_back().is_some_and(is_last)
            {
                return String::from_utf8(text).unwrap();
            }
            if step.bytes_written == 0 {
                let count = self.socket.read(&mut piece).unwrap();
                assert!(count > 0, "closed before {end}: {}", String::from_utf8_lossy(&text));
                self.received.extend_from_slice(&piece[..count]);
            }
        }
    }

    fn run(&mut self, command: &str, end: &str) -> String {
        let bytes = self.deflated(command.as_bytes());
        self.socket.write_all(&bytes).unwrap();
        self.read_until(end)
    }

    /// Waits until the server closes the connection. Returns the number of bytes that it sent.
    fn closed(mut self) -> usize {
        let mut rest = Vec::new();
        // The server may reset a connection on which it has not read everything.
        let _ = self.socket.read_to_end(&mut rest);
        rest.len()
    }
}

fn noise(length: u32) -> String {
    (0..length).map(|at| char::from(b'!' + (at.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect()
}

fn conversation(address: SocketAddr) {
    let mut client = Client::new(address);
    assert!(client.compress().starts_with("c OK"));
    assert!(client.run("d SELECT INBOX\r\n", "d ").contains("* 0 EXISTS\r\n"));
    for (number, body) in [noise(300_000), "x".repeat(1_000_000)].iter().enumerate() {
        let message = format!("Subject: large\r\n\r\n{body}");
        let command = format!("e APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len());
        assert!(client.run(&command, "e ").contains("e OK [APPENDUID "));
        let answer = client.run(&format!("f FETCH {} BODY.PEEK[]\r\n", number + 1), "f ");
        assert!(answer.contains(&message), "{} bytes", answer.len());
    }
    assert!(client.run("g COMPRESS DEFLATE\r\n", "g ").starts_with("g BAD"));
    assert!(client.run("h UNAUTHENTICATE\r\n", "h ").starts_with("h BAD"));
    // Everything that was sent before the end of the client's direction is answered.
    let bytes = client.deflated(b"i NOOP\r\nj FETCH 1:2 BODY.PEEK[]\r\nk NOOP\r\n");
    client.socket.write_all(&bytes).unwrap();
    client.socket.shutdown(Shutdown::Write).unwrap();
    assert!(client.read_until("k ").len() > 1_300_000);
    assert_eq!(client.closed(), 0);
}

#[test]
fn a_compressed_session_is_the_same_on_every_driver() {
    on_mio_with(&Settings::default(), Service::Imap, conversation);
    on_tokio_with(&Settings::default(), Service::Imap, conversation);
}

fn bombs(address: SocketAddr) {
    let mut client = Client::new(address);
    client.compress();
    // 64 MiB in some 64 KiB: as a message, and as a line.
    let message = client.deflated(format!("e APPEND INBOX {{{}+}}\r\n", 64 << 20).as_bytes());
    let bomb = client.deflated(&vec![b'x'; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let mut line = Client::new(address);
    line.compress();
    let line_bomb = line.deflated(&vec![b'x'; 64 << 20]);
    client.socket.write_all(&[message, bomb].concat()).unwrap();
    line.socket.write_all(&line_bomb).unwrap();
    // Another session is served meanwhile.
    let mut other = Client::new(address);
    other.compress();
    assert!(other.run("d SELECT INBOX\r\n", "d ").contains("* 0 EXISTS\r\n"));
    assert!(client.closed() < 10_000 && line.closed() < 10_000);
    assert!(other.run("e NOOP\r\n", "e ").starts_with("e OK"), "nothing was stored");
    // What is no DEFLATE ends the session.
    let mut plain = Client::new(address);
    plain.compress();
    plain.socket.write_all(b"d NOOP\r\ne NOOP\r\n").unwrap();
    plain.closed();
}

#[test]
fn bombs_end_their_session_only() {
    on_mio_with(&Settings::default(), Service::Imap, bombs);
    on_tokio_with(&Settings::default(), Service::Imap, bombs);
}

#[test]
fn compresses_a_limited_number_of_sessions() {
    let mut settings = Settings::default();
    settings.compressed_sessions = 3;
    on_mio_with(&settings, Service::Imap, |address| {
        let mut sessions: Vec<Client> = (0..30).map(|_| Client::new(address)).collect();
        let answers: Vec<String> = sessions.iter_mut().map(Client::compress).collect();
        assert!(answers[..3].iter().all(|answer| answer.starts_with("c OK")));
        assert!(answers[3..].iter().all(|answer| answer.starts_with("c NO [UNAVAILABLE]")), "{answers:?}");
        sessions[0].run("d LOGOUT\r\n", "d ");
        sessions.remove(0).closed();
        // The session is counted until the server has closed it.
        let compressed = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            sessions[20].compress().starts_with("c OK")
        });
        assert!(compressed);
    });
    settings.compressed_sessions = 0;
    on_mio_with(&settings, Service::Imap, |address| {
        let answer = Client::new(address).compress();
        assert!(answer.starts_with("c BAD"), "{answer}");
    });
}
