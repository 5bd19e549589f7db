//! Large volumes: memory stays bounded, and twice as much costs twice as much. The tests measure calls and bytes, not
//! time. `MAILWIRE_VOLUME` sets how many bytes of DATA are sent (`10G` is ten gibibytes); by default few.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use cpu_time::ThreadTime;
use proto_mail::{Error, Limit, Limits, RecvBuffer, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{Client, Event as ClientEvent};
use proto_smtp::server::{Event, Server};
use proto_smtp::types::Response;

/// A server under TLS, with its buffers.
struct Session {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
    /// The bytes sent, and the most that waited.
    sent: u64,
    most_waiting: usize,
    replies: u64,
    content: u64,
    ends: u64,
    /// The number of calls of the machine.
    calls: u64,
}

impl Session {
    fn new(limits: Limits) -> Self {
        let mut tx = SendBuffer::new();
        let server = Server::<Secure>::new(
            Config::mail_exchanger().limits(limits).max_idle_commands(u32::MAX),
            Secure::trusted_local(),
            &mut tx,
        );
        let rx = RecvBuffer::new();
        let mut session =
            Self { server, rx, tx, sent: 0, most_waiting: 0, replies: 0, content: 0, ends: 0, calls: 0 };
        session.send();
        session
    }

    /// Takes the output, as a socket would, and counts the replies.
    fn send(&mut self) -> bool {
        self.most_waiting = self.most_waiting.max(self.tx.len());
        let bytes = self.tx.take();
        self.sent += bytes.len() as u64;
        self.replies += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        !bytes.is_empty()
    }

    /// Processes all input, and sends whenever the machine stops.
    fn pump(&mut self) {
        loop {
            self.calls += 1;
            let Some(event) = self.server.next_event(&mut self.rx, &mut self.tx).unwrap() else {
                if self.send() {
                    continue;
                }
                return;
            };
            match event {
                Event::Mail(_, reply) | Event::Rcpt(_, reply) | Event::Data(reply) => {
                    self.server.reply(reply, &Response::ok(), &mut self.tx).unwrap();
                }
                Event::DataChunk(bytes) => self.content += bytes.len() as u64,
                Event::DataEnd(reply) => {
                    self.ends += 1;
                    self.server.reply(reply, &Response::ok(), &mut self.tx).unwrap();
                }
                _ => {}
            }
        }
    }
}

/// The processor time; the shortest of three runs, so that other load matters less.
fn shortest(mut work: impl FnMut()) -> Duration {
    let mut once = || {
        let start = ThreadTime::now();
        work();
        start.elapsed()
    };
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn serves_a_million_commands_in_one_write() {
    const COMMANDS: usize = 1_000_000;
    let limits = Limits::default();
    let high_water = limits.output_high_water;
    let mut session = Session::new(limits);
    session.rx.extend(b"EHLO c\r\n");
    session.pump();
    let before = (session.replies, session.calls);
    session.rx.extend(&b"NOOP\r\n".repeat(COMMANDS));
    session.pump();
    assert_eq!(session.replies - before.0, COMMANDS as u64);
    // The server stops for a client that does not read; at most one reply above the limit waits.
    assert!(session.most_waiting <= high_water + 512, "{} bytes waited", session.most_waiting);
    let stops = session.sent / high_water as u64 + 2;
    assert!(session.calls - before.1 <= 2 * stops, "{} calls", session.calls - before.1);
}

#[test]
fn does_not_read_from_a_client_that_does_not_read() {
    let mut session = Session::new(Limits::default());
    session.rx.extend(&b"NOOP\r\n".repeat(100_000));
    for _ in 0..1000 {
        assert!(session.server.next_event(&mut session.rx, &mut session.tx).unwrap().is_none());
    }
    assert!(!session.server.wants_read(&session.tx) && session.rx.len() > 400_000);
    session.send();
    assert!(session.server.wants_read(&session.tx));
}

#[test]
fn pipelined_commands_cost_linear_time() {
    let of = |commands: usize| {
        let input = b"NOOP\r\n".repeat(commands);
        shortest(|| {
            let mut session = Session::new(Limits::default());
            session.rx.extend(&input);
            session.pump();
            assert_eq!(session.replies as usize, commands + 1);
        })
    };
    let (few, many) = (of(10_000), of(80_000));
    assert!(many < few * 8 * 4, "eight times as many: {few:?}, then {many:?}");
}

/// The number of DATA bytes to send.
fn volume() -> u64 {
    let Ok(text) = std::env::var("MAILWIRE_VOLUME") else { return 16 << 20 };
    let (number, shift) = match text.strip_suffix(['G', 'g']) {
        Some(number) => (number, 30),
        None => (text.as_str(), 0),
    };
    number.parse::<u64>().expect("MAILWIRE_VOLUME is a number of bytes, or of gibibytes with G") << shift
}

#[test]
fn receives_endless_data_in_bounded_memory() {
    const PIECE: usize = 64 * 1024;
    let mut limits = Limits::default();
    limits.message = u64::MAX;
    // Lines of 80 bytes, of which one in ten begins with a dot.
    let mut lines = Vec::new();
    while lines.len() < PIECE {
        let first = if lines.len() / 80 % 10 == 0 { b'.' } else { b'x' };
        lines.extend(std::iter::repeat_n(first, 1).chain(std::iter::repeat_n(b'x', 77)).chain(*b"\r\n"));
    }
    let dots = lines.chunks(80).filter(|line| line.starts_with(b".")).count() as u64;
    let mut session = Session::new(limits);
    session.rx.extend(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    session.pump();
    let (pieces, before) = (volume() / lines.len() as u64, session.calls);
    let mut most_held = 0;
    for _ in 0..pieces {
        session.rx.extend(&lines);
        session.pump();
        most_held = most_held.max(session.rx.len());
    }
    session.rx.extend(b".\r\n");
    session.pump();
    assert_eq!(session.content, pieces * (lines.len() as u64 - dots));
    assert_eq!(session.ends, 1);
    // At most a CR waits for the next byte, and no event has less than a kilobyte.
    assert!(most_held <= 1, "{most_held} bytes were held");
    let calls = session.calls - before;
    assert!(calls <= pieces * (PIECE as u64 / 1024 + 4) + 8, "{calls} calls for {pieces} pieces");
}

fn reply_of(lines: usize) -> Vec<u8> {
    let mut reply = b"214-some help\r\n".repeat(lines - 1);
    reply.extend(b"214 and no more\r\n");
    reply
}

/// A client that has given HELP, with its buffers.
fn asks_for_help(limits: Limits) -> (Client<Secure>, RecvBuffer, SendBuffer) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut client = Client::<Secure>::new(Config::default().limits(limits), Secure::trusted_local());
    for reply in [b"220 mx\r\n", b"250 mx\r\n"] {
        rx.extend(reply);
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        let _ = tx.take();
    }
    client.help("", &mut tx).unwrap();
    let _ = tx.take();
    (client, rx, tx)
}

#[test]
fn long_replies_cost_linear_time() {
    let mut limits = Limits::default();
    limits.reply_lines = 200_000;
    let of = |lines: usize, piece: usize| {
        let reply = reply_of(lines);
        shortest(|| {
            let (mut client, mut rx, mut tx) = asks_for_help(limits.clone());
            for bytes in reply.chunks(piece) {
                assert!(client.next_event(&mut rx, &mut tx).unwrap().is_none());
                rx.extend(bytes);
            }
            let Some(ClientEvent::Accepted(_, response)) = client.next_event(&mut rx, &mut tx).unwrap()
            else {
                panic!("accepted")
            };
            assert_eq!(response.text().lines().count(), lines);
        })
    };
    // Pieces that split every line show a machine that rescans its input.
    let (few, many) = (of(6_250, 13), of(50_000, 13));
    assert!(many < few * 8 * 4, "eight times as many: {few:?}, then {many:?}");
    let _ = of(100_000, 4096);
}

#[test]
fn ends_the_session_for_an_endless_reply() {
    let limits = Limits::default();
    let most = limits.reply_lines;
    let (mut client, mut rx, mut tx) = asks_for_help(limits);
    let mut held = 0;
    let error = loop {
        rx.extend(b"214-some help\r\n");
        match client.next_event(&mut rx, &mut tx) {
            Ok(event) => assert!(event.is_none()),
            Err(error) => break error,
        }
        held = rx.len();
        assert!(held <= (most + 2) * 15, "{held} bytes are held");
    };
    assert!(matches!(error, Error::Limit(Limit::ReplyLines)), "{error:?}");
    assert!(held >= (most - 1) * 15, "only {held} bytes were allowed");
}
