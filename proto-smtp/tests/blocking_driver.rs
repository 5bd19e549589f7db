//! The loop of a blocking driver, as the documentation of `proto_mail::Driver` shows it, on a stream in memory.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{self, Read, Write};
use std::time::Duration;

use proto_mail::{Cleartext, Driver, Limits, RecvBuffer, SendBuffer};
use proto_smtp::Config;
use proto_smtp::server::Server;

/// A client that sends all its commands at once, and then waits for every reply before it closes.
struct PipeliningClient {
    commands: Vec<u8>,
    /// The number of replies that the client waits for.
    replies: usize,
    received: Vec<u8>,
}

impl Read for PipeliningClient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.commands.len().min(buffer.len());
        if count == 0 {
            let received = self.received.windows(2).filter(|window| window == b"\r\n").count();
            assert_eq!(received, self.replies, "the driver reads, and the client waits for replies");
            return Ok(0);
        }
        buffer[..count].copy_from_slice(&self.commands[..count]);
        self.commands.drain(..count);
        Ok(count)
    }
}

impl Write for PipeliningClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.received.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn answers_pipelined_commands_beyond_the_output_limit() {
    let mut limits = Limits::default();
    limits.output_high_water = 100;
    let mut tx = SendBuffer::new();
    let server = Server::<Cleartext>::new(Config::mail_exchanger().limits(limits), &mut tx);
    let mut driver = Driver::<_, Duration>::with_buffers(server, RecvBuffer::new(), tx);
    let mut client = PipeliningClient { commands: b"NOOP\r\n".repeat(20), replies: 21, received: Vec::new() };
    let outcome = loop {
        driver.handle_events(|_, _, _| {});
        if driver.wants_write() {
            driver.write_to(&mut client).unwrap();
            continue;
        }
        if let Some(outcome) = driver.outcome() {
            break outcome;
        }
        assert!(driver.wants_read(), "nothing delays this session");
        driver.read_from(&mut client).unwrap();
    };
    assert_eq!(outcome, Ok(()));
    assert!(client.commands.is_empty());
}
