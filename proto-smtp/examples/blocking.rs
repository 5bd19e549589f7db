//! An SMTP server and a client in two threads with blocking calls on `std::net`. Both ends are in this process, so that they need
//! no TLS; `blocking_client.rs` has it.
//!
//! Run it with `cargo run -p proto-smtp --example blocking`.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use proto_mail::{Driver, RecvBuffer, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{Client, Event, Progress, Transaction};
use proto_smtp::server::{self, Server};
use proto_smtp::types::Response;

/// Serves one session and returns the messages that arrived.
fn serve(mut stream: TcpStream) -> io::Result<Vec<Vec<u8>>> {
    let mut tx = SendBuffer::new();
    let config = Config::mail_exchanger().max_message(1 << 20);
    let server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
    let mut driver = Driver::with_buffers(server, RecvBuffer::new(), tx);
    let (mut messages, mut message) = (Vec::new(), Vec::new());
    driver.run(&mut stream, Instant::now, TcpStream::set_read_timeout, |event, server, tx| {
        // A token that is stale or dropped is answered by the machine, so that errors need no care here.
        let _ = match event {
            server::Event::Mail(_, token) | server::Event::Rcpt(_, token) => {
                server.reply(token, &Response::ok(), tx)
            }
            server::Event::Data(token) => server.reply(token, &Response::start_data(), tx),
            server::Event::DataChunk(bytes) => {
                message.extend_from_slice(&bytes);
                Ok(())
            }
            server::Event::DataEnd(token) => {
                messages.push(std::mem::take(&mut message));
                server.reply(token, &Response::ok(), tx)
            }
            _ => Ok(()),
        };
        Ok::<_, io::Error>(None::<()>)
    })?;
    Ok(messages)
}

/// Sends a message and returns the outcome for each recipient.
fn send(mut stream: TcpStream, message: &[u8]) -> io::Result<Transaction> {
    let mut mail = Transaction::from_addresses("ann@client.example", ["bob@server.example"])
        .map_err(io::Error::other)?;
    let mut driver = Driver::new(Client::<Secure>::new(Config::default(), Secure::trusted_local()));
    driver.run(&mut stream, Instant::now, TcpStream::set_read_timeout, |event, client, tx| {
        let progress = match &event {
            Event::Capabilities(_) => mail.start(client, tx),
            event => mail.event(event, client, tx),
        };
        match progress.map_err(io::Error::other)? {
            Progress::SendData => {
                let written = client.data_writer().and_then(|mut writer| writer.write(message, tx));
                written.and_then(|()| client.data_writer()?.finish(tx)).map_err(io::Error::other)?;
            }
            Progress::Done if client.is_idle() && !client.is_closed() => {
                client.quit(tx).map_err(io::Error::other)?;
            }
            _ => {}
        }
        Ok::<_, io::Error>(None::<()>)
    })?;
    Ok(mail)
}

pub(crate) fn main() -> io::Result<()> {
    let message = b"Subject: hello\r\n\r\nworld\r\n";
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || serve(listener.accept()?.0));
    let mail = send(TcpStream::connect(address)?, message)?;
    for recipient in mail.recipients() {
        println!("{recipient}");
    }
    let messages = server.join().map_err(|_| io::Error::other("the server panicked"))??;
    if messages == [message] { Ok(()) } else { Err(io::Error::other("another message arrived")) }
}
