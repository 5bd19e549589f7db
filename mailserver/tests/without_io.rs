//! Sessions without sockets and event loop: bytes in, bytes out, and jobs whose results wake the session.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use io_common::server::{Admission, SessionTask, TurnOutcome, WakeReason, WakeSessions};
use io_common::stream::{Readiness, Stream};
use io_common::transport::{ReadBuffer, read_buffer};
use io_common::{Address, Peer, SessionHandle};
use mailserver::certificate::Authority;
use mailserver::{Encryption, ListenerOptions, Options, ServerContext, Service, Settings};
use mailstore::{SqliteStore, Store};

/// A stream whose other end is the test.
#[derive(Clone, Default)]
struct Pipe {
    to_server: Arc<Mutex<VecDeque<u8>>>,
    from_server: Arc<Mutex<Vec<u8>>>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut waiting = self.to_server.lock().unwrap();
        if waiting.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        waiting.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from_server.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn loopback() -> Address {
    Address::Ip(([127, 0, 0, 1], 143).into())
}

impl Stream for Pipe {
    fn set_nodelay(&self) {}

    fn local_address(&self) -> io::Result<Address> {
        Ok(loopback())
    }

    fn peek(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shutdown_write(&mut self) {}
}

/// A driver with one session.
struct Wakes(Mutex<Sender<()>>);

impl WakeSessions for Wakes {
    fn wake(&self, _: u64) {
        let _ = self.0.lock().unwrap().send(());
    }

    fn sessions(&self) -> usize {
        1
    }
}

/// A session, and the test's end of its connection.
struct Session {
    task: Box<dyn SessionTask<Pipe>>,
    pipe: Pipe,
    wakes: Receiver<()>,
    buffer: ReadBuffer,
}

impl Session {
    fn start(context: &Arc<ServerContext>, service: Service) -> Self {
        let certificate = Authority::generate(&[], 1_800_000_000).unwrap().issue(&[], 1_800_000_000).unwrap();
        let encryption = Encryption::DangerCleartext(certificate.tls().unwrap());
        let options = ListenerOptions::new(service, encryption);
        let listener = context.listener::<Pipe>(&Settings::default(), options);
        let (send, wakes) = channel();
        let handle = SessionHandle::new(1, Arc::new(Wakes(Mutex::new(send))));
        let (pipe, peer) = (Pipe::default(), Peer::new(loopback(), loopback()));
        let task =
            listener.sessions.start(pipe.clone(), peer, handle, Admission::Admitted, Instant::now()).unwrap();
        Self { task, pipe, wakes, buffer: read_buffer() }
    }

    /// Gives the session one turn. Returns whether it is over.
    fn turn(&mut self, woken: bool) -> bool {
        loop {
            let reason = WakeReason { woken, ..WakeReason::default() };
            match self.task.turn(reason, Instant::now(), &mut self.buffer) {
                TurnOutcome::Again => {}
                TurnOutcome::Finished => return true,
                _ => return false,
            }
        }
    }

    /// Sends bytes and returns what the server answers, until it has sent `end`.
    fn exchange(&mut self, bytes: &str, end: &str) -> String {
        self.pipe.to_server.lock().unwrap().extend(bytes.as_bytes());
        self.task.ready(Readiness { readable: true, writable: true, ..Readiness::default() });
        let mut over = self.turn(false);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = String::from_utf8(self.pipe.from_server.lock().unwrap().clone()).unwrap();
            if answer.contains(end) {
                self.pipe.from_server.lock().unwrap().clear();
                return answer;
            }
            assert!(!over, "the session ended: {answer}");
            let left = until.saturating_duration_since(Instant::now());
            self.wakes.recv_timeout(left).unwrap_or_else(|_| panic!("no {end} in {answer}"));
            over = self.turn(true);
        }
    }
}

fn context(directory: &std::path::Path) -> Arc<ServerContext> {
    let store = SqliteStore::open(directory).unwrap();
    store.create_account("ann", b"a password").unwrap();
    ServerContext::new(Arc::new(store), &Settings::default(), Options::default()).unwrap()
}

#[test]
fn imap_and_lmtp_sessions_run_without_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());

    let mut imap = Session::start(&context, Service::Imap);
    assert!(imap.exchange("", "\r\n").starts_with("* OK"));
    imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    assert!(imap.exchange("b SELECT INBOX\r\n", "b OK").contains("* 0 EXISTS\r\n"));
    imap.exchange("c IDLE\r\n", "+ ");

    let mut lmtp = Session::start(&context, Service::Lmtp);
    lmtp.exchange("", "220 ");
    lmtp.exchange("LHLO client.test\r\n", "250 ");
    lmtp.exchange("MAIL FROM:<bob@client.test>\r\n", "250 ");
    lmtp.exchange("RCPT TO:<ann@localhost>\r\n", "250 ");
    lmtp.exchange("DATA\r\n", "354 ");
    lmtp.exchange("Subject: hello\r\n\r\nbody\r\n.\r\n", "250 ");

    assert!(imap.exchange("", " EXISTS\r\n").contains("* 1 EXISTS\r\n"));
    imap.exchange("DONE\r\n", "c OK");
    let fetched = imap.exchange("d FETCH 1 (ENVELOPE BODY[TEXT])\r\n", "d OK");
    assert!(fetched.contains("\"hello\"") && fetched.contains("body\r\n"), "{fetched}");
    imap.exchange("e LOGOUT\r\n", "e OK");
}

#[test]
fn every_split_of_a_conversation_has_the_same_answers() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let command = "b SELECT INBOX\r\n";
    let mut answers = Vec::new();
    for split in 1..command.len() {
        let mut imap = Session::start(&context, Service::Imap);
        imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
        let (first, rest) = command.split_at(split);
        imap.pipe.to_server.lock().unwrap().extend(first.as_bytes());
        imap.task.ready(Readiness { readable: true, ..Readiness::default() });
        imap.turn(false);
        answers.push(imap.exchange(rest, "b OK"));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}
