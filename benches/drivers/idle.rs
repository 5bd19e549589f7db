//! Memory of idle sessions: how much a server grows with each IMAP session under TLS that waits for its client.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::{ClientConnection, StreamOwned};

use super::client::ServerProcess;
use super::{Driver, Port, Usage};

/// Prints the memory of one idle session on each driver: logged in to IMAP under TLS, with INBOX selected.
///
/// # Errors
/// A session could not be opened: often there are too few file descriptors (`ulimit -n`).
pub(crate) fn idle(sessions: usize) -> Result<(), String> {
    println!(
        "| driver | sessions | resident KiB/session | allocated KiB/session | resident before and after, MiB |"
    );
    println!("|---|---|---|---|---|");
    for driver in Driver::ALL {
        let (before, after) = measure(driver, sessions)?;
        let per_session =
            |before: u64, after: u64| after.saturating_sub(before) as f64 / sessions.max(1) as f64;
        println!(
            "| {} | {sessions} | {:.1} | {:.1} | {:.1}, {:.1} |",
            driver.name(),
            per_session(before.resident, after.resident),
            per_session(before.allocated, after.allocated) / 1024.0,
            before.resident as f64 / 1024.0,
            after.resident as f64 / 1024.0,
        );
    }
    Ok(())
}

fn measure(driver: Driver, sessions: usize) -> Result<(Usage, Usage), String> {
    let mut server = ServerProcess::start(driver, Port::Imaps, sessions + 16)?;
    // What is allocated once belongs to no session.
    let _first = Idle::open(&server)?;
    let before = server.usage()?;
    let mut clients = Vec::with_capacity(sessions);
    for index in 0..sessions {
        clients.push(Idle::open(&server).map_err(|error| format!("session {index}: {error}"))?);
    }
    let after = server.usage()?;
    // All sessions must still be there.
    for client in &mut clients {
        client.command("a3 NOOP\r\n", "a3 OK")?;
    }
    Ok((before, after))
}

/// A session that has selected INBOX.
struct Idle(StreamOwned<ClientConnection, TcpStream>);

impl Idle {
    fn open(server: &ServerProcess) -> Result<Self, String> {
        let mut session = Self(server.connect_tls()?);
        session.expect("* OK")?;
        session.command("a1 LOGIN ann \"a password\"\r\n", "a1 OK")?;
        session.command("a2 SELECT INBOX\r\n", "a2 OK")?;
        Ok(session)
    }

    fn command(&mut self, command: &str, end: &str) -> Result<(), String> {
        self.0.write_all(command.as_bytes()).map_err(|error| format!("sending a command: {error}"))?;
        self.expect(end)
    }

    /// Reads until a line that begins with `start`.
    fn expect(&mut self, start: &str) -> Result<(), String> {
        let mut received = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let count = self.0.read(&mut buffer).map_err(|error| format!("reading a response: {error}"))?;
            received.extend(buffer.get(..count).unwrap_or_default());
            let text = String::from_utf8_lossy(&received);
            if text.ends_with("\r\n") && text.lines().any(|line| line.starts_with(start)) {
                return Ok(());
            }
            if count == 0 || received.len() > 1 << 20 {
                return Err(format!("no {start:?} in {text:?}"));
            }
        }
    }
}
