//! What the compression layer of a session costs, measured: `docs/limits.md` has the figure. A test of its own, because it
//! looks at the memory of the process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use io_common::protocol::ProtocolPorts;
use io_common::stream::{Readiness, Stream};
use io_common::transport::{Received, Transport, read_buffer};
use io_common::{Address, ImapServer};

/// Reads these bytes, and keeps or discards what is written.
struct End {
    input: io::Cursor<Arc<[u8]>>,
    output: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(output) = &self.output {
            output.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for End {
    fn set_nodelay(&self) {}

    fn local_address(&self) -> io::Result<Address> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn peek(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shutdown_write(&mut self) {}
}

/// A compressed session that has sent `batch` and received `input`, and is idle.
fn session(batch: &[u8], input: &Arc<[u8]>, output: Option<Arc<Mutex<Vec<u8>>>>) -> Transport<End> {
    let end = End { input: io::Cursor::new(Arc::clone(input)), output };
    let mut transport = Transport::new(end, ProtocolPorts::of::<ImapServer>());
    transport.rx.begin_compression();
    transport.tx.begin_compression();
    transport.tx.put(batch);
    transport.transmit().unwrap();
    assert!(!transport.has_output());
    transport.ready(Readiness { readable: true, writable: true, read_closed: false, hung_up: false });
    let mut buffer = read_buffer();
    while transport.receive(&mut buffer).unwrap() == Received::Bytes {
        let len = transport.rx.len();
        transport.rx.consume(len);
    }
    transport.release();
    transport
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn an_idle_compressed_session_holds_a_bounded_amount_of_memory() {
    const SESSIONS: usize = 300;
    let batch: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let written = Arc::new(Mutex::new(Vec::new()));
    drop(session(&batch, &Arc::from([]), Some(Arc::clone(&written))));
    let input: Arc<[u8]> = written.lock().unwrap().clone().into();
    let before = resident();
    let sessions: Vec<Transport<End>> = (0..SESSIONS).map(|_| session(&batch, &input, None)).collect();
    let each = resident().saturating_sub(before) / sessions.len();
    println!("{each} bytes for each session");
    assert!(sessions.iter().all(Transport::is_compressed));
    assert!((100 * 1024..400 * 1024).contains(&each), "{each}");
}
