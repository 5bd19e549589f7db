//! A session without sockets: the test is the driver.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use io_common::server::{Admission, SessionTask, TurnOutcome, WakeReason, WakeSessions};
use io_common::stream::{Readiness, Stream};
use io_common::transport::{ReadBuffer, read_buffer};
use io_common::{Address, Peer, SessionHandle};
use mailserver::{ListenerOptions, ServerContext, Settings};

/// A stream whose other end is the test.
#[derive(Clone, Default)]
pub struct Pipe {
    pub to_server: Arc<Mutex<VecDeque<u8>>>,
    pub from_server: Arc<Mutex<Vec<u8>>>,
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
pub struct Session {
    pub task: Box<dyn SessionTask<Pipe>>,
    pub pipe: Pipe,
    wakes: Receiver<()>,
    buffer: ReadBuffer,
}

impl Session {
    pub fn start(context: &Arc<ServerContext>, options: ListenerOptions) -> Self {
        let listener = context.listener::<Pipe>(&Settings::default(), options);
        let (send, wakes) = channel();
        let handle = SessionHandle::new(1, Arc::new(Wakes(Mutex::new(send))));
        let (pipe, peer) = (Pipe::default(), Peer::new(loopback(), loopback()));
        let task =
            listener.sessions.start(pipe.clone(), peer, handle, Admission::Admitted, Instant::now()).unwrap();
        Self { task, pipe, wakes, buffer: read_buffer() }
    }

    /// Gives the session a turn. Returns when it wants the next one.
    pub fn turn(&mut self, reason: WakeReason) -> Turn {
        loop {
            match self.task.turn(reason, Instant::now(), &mut self.buffer) {
                TurnOutcome::Again => {}
                TurnOutcome::Waiting(until) => return Turn::Waiting(until),
                _ => return Turn::Over,
            }
        }
    }

    /// Sends bytes, and gives the session turns until it waits for more.
    pub fn feed(&mut self, bytes: &str) {
        self.pipe.to_server.lock().unwrap().extend(bytes.as_bytes());
        self.task.ready(Readiness { readable: true, writable: true, ..Readiness::default() });
        self.turn(WakeReason::default());
        while self.wakes.recv_timeout(Duration::from_millis(2)).is_ok() {
            self.turn(WakeReason { woken: true, ..WakeReason::default() });
        }
    }

    /// Sends bytes and returns what the server answers, until it has sent `end`.
    pub fn exchange(&mut self, bytes: &str, end: &str) -> String {
        self.exchange_until(bytes, |answer| answer.contains(end))
    }

    /// Sends bytes and returns what the server answers, once it is complete.
    pub fn exchange_until(&mut self, bytes: &str, is_complete: impl Fn(&str) -> bool) -> String {
        let answer = self.answer(bytes.as_bytes(), |answer| is_complete(&String::from_utf8_lossy(answer)));
        String::from_utf8(answer).unwrap()
    }

    /// Like [`exchange_until`](Self::exchange_until), for bytes that need not be text.
    pub fn answer(&mut self, bytes: &[u8], is_complete: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        self.pipe.to_server.lock().unwrap().extend(bytes);
        self.task.ready(Readiness { readable: true, writable: true, ..Readiness::default() });
        let mut turn = self.turn(WakeReason::default());
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if is_complete(&self.pipe.from_server.lock().unwrap()) {
                return std::mem::take(&mut *self.pipe.from_server.lock().unwrap());
            }
            let answer = || String::from_utf8_lossy(&self.pipe.from_server.lock().unwrap()).into_owned();
            let Turn::Waiting(next) = turn else { panic!("the session ended: {}", answer()) };
            assert!(Instant::now() < until, "not complete: {}", answer());
            let wait = next.unwrap_or(until).min(until).saturating_duration_since(Instant::now());
            let woken = self.wakes.recv_timeout(wait).is_ok();
            turn = self.turn(WakeReason { woken, timer: !woken, ..WakeReason::default() });
        }
    }
}

/// What a session wants after a turn.
pub enum Turn {
    /// The next turn when it is woken, and at this time at the latest.
    Waiting(Option<Instant>),
    /// Nothing more.
    Over,
}
