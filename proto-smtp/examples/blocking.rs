//! A blocking SMTP server on `std::net`, and a client that talks to it on the loopback interface.
//!
//! Run it with `cargo run -p proto-smtp --example blocking`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use proto_mail::{Cleartext, Driver, Machine, RecvBuffer, SendBuffer};
use proto_smtp::Config;
use proto_smtp::server::Server;

/// Runs a session of any machine until it ends.
fn run<M: Machine>(
    driver: &mut Driver<M, Instant>,
    stream: &mut TcpStream,
    mut handle: impl FnMut(M::Event<'_>, &mut M, &mut SendBuffer),
) -> io::Result<()> {
    loop {
        driver.handle_events(&mut handle);
        if driver.wants_write() {
            driver.write_to(stream)?;
            continue; // events may have waited for room in the output
        }
        if let Some(outcome) = driver.outcome() {
            return outcome.map_err(io::Error::other);
        }
        let now = Instant::now();
        if driver.handle_timeout(now) {
            continue;
        }
        let left = driver.deadline(now).map(|at| (at - now).max(Duration::from_millis(1)));
        if !driver.wants_read() {
            // The machine delays its reply: only time continues the session.
            thread::sleep(left.ok_or_else(|| io::Error::other("the application owes an answer"))?);
            continue;
        }
        stream.set_read_timeout(left)?;
        match driver.read_from(stream) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut tx = SendBuffer::new();
    let server = Server::<Cleartext>::new(Config::default(), &mut tx);
    let mut driver = Driver::with_buffers(server, RecvBuffer::new(), tx);
    // A server that takes no mail: it drops each token, and so each command gets a temporary failure.
    run(&mut driver, &mut stream, |event, _, _| println!("event: {event:?}"))
}

pub(crate) fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || serve(listener.accept()?.0));
    let mut client = TcpStream::connect(address)?;
    let mut replies = String::new();
    for command in ["EHLO client.example\r\n", "MAIL FROM:<ann@client.example>\r\n", "QUIT\r\n"] {
        replies.push_str(&reply(&mut client)?);
        client.write_all(command.as_bytes())?;
    }
    client.read_to_string(&mut replies)?;
    print!("{replies}");
    server.join().map_err(|_| io::Error::other("the server panicked"))?
}

/// Reads one reply, whose last line has a space after the code.
fn reply(stream: &mut TcpStream) -> io::Result<String> {
    let (mut reply, mut byte) = (Vec::new(), [0]);
    loop {
        stream.read_exact(&mut byte)?;
        reply.push(byte[0]);
        let last = reply.rsplit(|byte| *byte == b'\n').nth(1).unwrap_or_default();
        if byte == *b"\n" && last.get(3) == Some(&b' ') {
            return Ok(String::from_utf8_lossy(&reply).into_owned());
        }
    }
}
