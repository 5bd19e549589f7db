//! Mailwire: the state machines as a driver uses them, and the parsers alone.

use std::hint::black_box;
use std::sync::Arc;

use proto_imap::client::{Client, Event};
use proto_imap::parse::{self, Context};
use proto_imap::types::{BodyStructure, Command, FetchItem, MailboxName, Response, SelectCommand, Untagged};
use proto_mail::{RecvBuffer, Secure, SendBuffer};
use proto_smtp::server;

/// The result of a pass that failed, which no bench expects.
pub(super) const WRONG: u64 = u64::MAX;

/// Copies a chunk to where a driver would read it.
pub(super) fn receive(rx: &mut RecvBuffer, chunk: &[u8]) {
    rx.spare_mut(chunk.len())[..chunk.len()].copy_from_slice(chunk);
    rx.filled(chunk.len());
}

/// A session with a selected mailbox.
pub(super) struct Session {
    pub(super) client: Client<Secure>,
    rx: RecvBuffer,
    pub(super) tx: SendBuffer,
}

impl Session {
    pub(super) fn selected() -> Option<Self> {
        let client = Client::<Secure>::new(Arc::new(proto_imap::Config::default()), Secure::trusted_local());
        let mut session = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
        session.take(b"* PREAUTH [CAPABILITY IMAP4rev1] ready\r\n", |_| {})?;
        let examine = Command::Examine(SelectCommand::new(MailboxName::INBOX));
        session.client.send(&examine, &mut session.tx).ok()?;
        let sent = session.tx.take();
        let tag = sent.split(|&byte| byte == b' ').next()?.to_vec();
        let answer = [b"* 100000 EXISTS\r\n", tag.as_slice(), b" OK [READ-ONLY] open\r\n"].concat();
        session.take(&answer, |_| {})?;
        Some(session)
    }

    pub(super) fn take(&mut self, chunk: &[u8], mut each: impl FnMut(&Event<'_>)) -> Option<()> {
        receive(&mut self.rx, chunk);
        while let Some(event) = self.client.next_event(&mut self.rx, &mut self.tx).ok()? {
            each(&event);
        }
        self.tx.sent(self.tx.len());
        Some(())
    }
}

/// FETCH responses through the client in chunks, with every value accessed; returns their number.
pub(crate) fn imap_session(input: &[u8], chunk: usize) -> u64 {
    let Some(mut session) = Session::selected() else { return WRONG };
    let mut found = 0;
    for chunk in input.chunks(chunk) {
        let taken = session.take(chunk, |event| match event {
            Event::FetchItem(FetchItem::Flags(flags)) => {
                for flag in flags.iter() {
                    black_box(&flag);
                }
            }
            Event::FetchItem(FetchItem::Envelope(envelope)) => {
                let envelope = envelope.view().unwrap_or_default();
                for address in envelope.from.iter().chain(envelope.to.iter()).chain(envelope.cc.iter()) {
                    black_box(&address);
                }
            }
            Event::FetchItem(item) => {
                black_box(item);
            }
            Event::FetchEnd => found += 1,
            _ => {}
        });
        if taken.is_none() {
            return WRONG;
        }
    }
    found
}

/// A body through the client in chunks, handed on piece by piece; returns its bytes.
pub(crate) fn imap_body(input: &[u8], chunk: usize) -> u64 {
    let Some(mut session) = Session::selected() else { return WRONG };
    let mut bytes = 0;
    for chunk in input.chunks(chunk) {
        let taken = session.take(chunk, |event| {
            if let Event::BodyChunk(piece) = event {
                bytes += black_box(piece).len() as u64;
            }
        });
        if taken.is_none() {
            return WRONG;
        }
    }
    bytes
}

/// Every response of one contiguous input, parsed only.
pub(crate) fn imap_parse(mut input: &[u8]) -> u64 {
    let cx = Context::tolerant();
    let mut found = 0;
    while let Some(end) = memchr::memchr(b'\n', input) {
        let (frame, rest) = input.split_at(end + 1);
        input = rest;
        if matches!(black_box(parse::response(frame, &cx)), Response::Untagged(Untagged::Fetch(_))) {
            found += 1;
        }
    }
    found
}

/// The same, with every part of every structure accessed, which parses it a second time.
pub(crate) fn imap_access_all(mut input: &[u8]) -> u64 {
    let cx = Context::tolerant();
    let mut found = 0;
    while let Some(end) = memchr::memchr(b'\n', input) {
        let (frame, rest) = input.split_at(end + 1);
        input = rest;
        let Response::Untagged(Untagged::Fetch(fetch)) = parse::response(frame, &cx) else { continue };
        for item in fetch.items.iter() {
            if let FetchItem::BodyStructure(structure) = item
                && let Some(structure) = structure.view()
            {
                black_box(parts(&structure));
            }
        }
        found += 1;
    }
    found
}

fn parts(structure: &BodyStructure<'_>) -> usize {
    1 + structure.parts().iter().map(|part| parts(&part)).sum::<usize>()
}

/// Every SMTP command of one contiguous input, parsed only.
pub(crate) fn smtp_parse(mut input: &[u8]) -> u64 {
    let mut found = 0;
    while let Some(end) = memchr::memchr(b'\n', input) {
        let (line, rest) = input.split_at(end + 1);
        input = rest;
        let Some(line) = line.strip_suffix(b"\r\n") else { continue };
        // Accessed in place, like the peer's.
        if let Ok(command) = &proto_smtp::types::Command::parse(line) {
            black_box(command);
            found += 1;
        }
    }
    found
}

/// A mail server under TLS in the middle of a session.
struct Serving {
    server: server::Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Serving {
    fn greeted() -> Option<Self> {
        let config = proto_smtp::Config::mail_exchanger();
        let extensions = config.extensions.with(proto_smtp::types::Extension::Dsn);
        let config = config.extensions(extensions);
        let mut tx = SendBuffer::new();
        let server = server::Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        tx.sent(tx.len());
        let mut serving = Self { server, rx: RecvBuffer::new(), tx };
        serving.take(b"EHLO client.example\r\n", |_| {})?;
        Some(serving)
    }

    /// Receives a chunk, accepts everything, and hands on each piece of a message. Whenever the output fills its
    /// buffer, the machine waits until it was sent.
    fn take(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8])) -> Option<u64> {
        receive(&mut self.rx, chunk);
        let mut events = 0;
        loop {
            let before = events;
            events += self.answer(&mut each)?;
            // As a socket does: the server reads on after its answers were sent.
            let sent = self.tx.len();
            self.tx.sent(sent);
            if sent == 0 || events == before {
                return Some(events);
            }
        }
    }

    /// Answers until nothing is left to answer.
    fn answer(&mut self, each: &mut impl FnMut(&[u8])) -> Option<u64> {
        use server::Event;
        let mut events = 0;
        while let Some(event) = self.server.next_event(&mut self.rx, &mut self.tx).ok()? {
            // The number of pieces of a message does not count.
            events += u64::from(!matches!(event, Event::DataChunk(_)));
            let (reply, response) = match event {
                Event::DataChunk(piece) => {
                    each(&piece);
                    continue;
                }
                Event::Mail(mail, reply) => {
                    black_box(&mail);
                    (reply, proto_smtp::types::Response::ok())
                }
                Event::Rcpt(rcpt, reply) => {
                    black_box(&rcpt);
                    (reply, proto_smtp::types::Response::ok())
                }
                Event::Data(reply) => (reply, proto_smtp::types::Response::start_data()),
                Event::DataEnd(reply) => (reply, proto_smtp::types::Response::ok()),
                _ => continue,
            };
            self.server.reply(reply, &response, &mut self.tx).ok()?;
        }
        Some(events)
    }
}

/// SMTP commands through the server in chunks, each answered; returns their number.
pub(crate) fn smtp_session(input: &[u8], chunk: usize) -> u64 {
    let Some(mut serving) = Serving::greeted() else { return WRONG };
    let mut found = 0;
    for chunk in input.chunks(chunk) {
        match serving.take(chunk, |_| {}) {
            Some(events) => found += events,
            None => return WRONG,
        }
    }
    found
}

/// One message through the server in chunks, copied into one vector as the peer does; returns its bytes.
pub(crate) fn smtp_data_copied(input: &[u8], chunk: usize) -> u64 {
    let mut message = Vec::with_capacity(input.len());
    match smtp_data(input, chunk, |piece| message.extend_from_slice(piece)) {
        Some(()) => {
            black_box(&message);
            message.len() as u64
        }
        None => WRONG,
    }
}

/// The same, each piece handed on without a copy.
pub(crate) fn smtp_data_streamed(input: &[u8], chunk: usize) -> u64 {
    let mut bytes = 0;
    match smtp_data(input, chunk, |piece| bytes += black_box(piece).len() as u64) {
        Some(()) => bytes,
        None => WRONG,
    }
}

fn smtp_data(input: &[u8], chunk: usize, mut each: impl FnMut(&[u8])) -> Option<()> {
    let mut serving = Serving::greeted()?;
    serving.take(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n", |_| {})?;
    for chunk in input.chunks(chunk) {
        serving.take(chunk, &mut each)?;
    }
    Some(())
}
