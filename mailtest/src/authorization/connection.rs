//! One HTTP connection: reads a request, answers it and ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::answer::render;
use super::endpoints::answer;
use super::request::{Request, parse};
use super::shared::Shared;

/// How long a request may take, and the longest pause of a misbehaviour.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest request, in bytes.
const MAX_REQUEST: usize = 64 * 1024;
/// How often a pause looks whether the server is dropped.
const INTERVAL: Duration = Duration::from_millis(5);

pub(super) fn serve(mut stream: TcpStream, shared: &Shared) {
    let Some(request) = read(&mut stream) else { return };
    let answer = answer(&request, shared);
    let until = Instant::now() + answer.pause.min(TIMEOUT);
    while Instant::now() < until && !shared.stopped.load(Ordering::Relaxed) {
        std::thread::sleep(INTERVAL.min(until.saturating_duration_since(Instant::now())));
    }
    if let Some(text) = render(&answer) {
        let _ = stream.write_all(text.as_bytes());
    }
}

/// Reads a request. `None`: it is not valid, too long, or the client is gone.
fn read(stream: &mut TcpStream) -> Option<Request> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(request) = parse(&bytes) {
            return Some(request);
        }
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(buffer.get(..count)?);
        if bytes.len() > MAX_REQUEST {
            return None;
        }
    }
}
