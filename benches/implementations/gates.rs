//! Mailwire where each item passes a check: a completion must belong to a command that was sent, a command must be
//! allowed on this channel and in this state, an answer must fit its request. The cost of the checks is the
//! difference to the same machines without them: see `benches/gates`.

use std::hint::black_box;

use proto_imap::server::{Event, Server};
use proto_imap::types::{Command, Condition, StatusResponse, Text};
use proto_mail::{AuthVerdict, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::Client;

use super::ours::{Session, WRONG, receive};

/// The number of commands of an IMAP client in progress at once.
const PIPELINED: usize = 64;

/// Completions through an IMAP client, each of a NOOP that it sent; returns their number.
pub(crate) fn imap_client(input: &[u8]) -> u64 {
    completions(input).unwrap_or(WRONG)
}

fn completions(input: &[u8]) -> Option<u64> {
    let mut session = Session::selected()?;
    let mut found = 0;
    let mut lines = input.split_inclusive(|byte| *byte == b'\n').peekable();
    let mut chunk = Vec::new();
    while lines.peek().is_some() {
        chunk.clear();
        for line in lines.by_ref().take(PIPELINED) {
            session.client.send(&Command::Noop, &mut session.tx).ok()?;
            chunk.extend_from_slice(line);
        }
        session.tx.sent(session.tx.len());
        session.take(&chunk, |event| {
            if let proto_imap::client::Event::Completed { id, .. } = event {
                black_box(id);
                found += 1;
            }
        })?;
    }
    Some(found)
}

/// Commands through an IMAP server in chunks, each answered; returns their number.
pub(crate) fn imap_server(input: &[u8], chunk: usize) -> u64 {
    commands(input, chunk).unwrap_or(WRONG)
}

fn commands(input: &[u8], chunk: usize) -> Option<u64> {
    let mut tx = SendBuffer::new();
    let server = Server::<Secure>::new(proto_imap::Config::default(), Secure::trusted_local(), &mut tx);
    let mut serving = Serving { server, rx: RecvBuffer::new(), tx };
    serving.take(b"a LOGIN u p\r\n")?;
    serving.take(b"b SELECT INBOX\r\n")?;
    let mut found = 0;
    for chunk in input.chunks(chunk) {
        found += serving.take(chunk)?;
    }
    Some(found)
}

struct Serving {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Serving {
    /// Accepts everything; returns the number of commands.
    fn take(&mut self, chunk: &[u8]) -> Option<u64> {
        receive(&mut self.rx, chunk);
        let done = StatusResponse::new(Condition::Ok, Text::first_line("done"));
        let mut found = 0;
        while let Some(event) = self.server.next_event(&mut self.rx, &mut self.tx).ok()? {
            match event {
                Event::Command(command, reply) => {
                    black_box(&command);
                    self.server.reply(reply, &done, &mut self.tx).ok()?;
                    found += 1;
                }
                Event::Auth(request) => {
                    self.server.answer_auth(request, AuthVerdict::Accept, &mut self.tx).ok()?;
                }
                _ => {}
            }
            // Otherwise the machine would wait for the output to be sent.
            self.tx.sent(self.tx.len());
        }
        Some(found)
    }
}

/// Replies through an SMTP client, each to a NOOP that it sent; returns their number.
pub(crate) fn smtp_client(input: &[u8]) -> u64 {
    replies(input).unwrap_or(WRONG)
}

fn replies(input: &[u8]) -> Option<u64> {
    let mut client = Client::<Secure>::new(proto_smtp::Config::default(), Secure::trusted_local());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut take = |client: &mut Client<Secure>, tx: &mut SendBuffer, line: &[u8]| {
        receive(&mut rx, line);
        let mut found = 0;
        while let Some(event) = client.next_event(&mut rx, tx).ok()? {
            black_box(&event);
            found += 1;
        }
        tx.sent(tx.len());
        Some(found)
    };
    take(&mut client, &mut tx, b"220 mail.example ESMTP\r\n")?;
    take(&mut client, &mut tx, b"250 mail.example\r\n")?;
    let mut found = 0;
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        client.noop(&mut tx).ok()?;
        tx.sent(tx.len());
        found += take(&mut client, &mut tx, line)?;
    }
    Some(found)
}
