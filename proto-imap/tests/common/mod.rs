//! Feeds machines in every way that a network can, and records what they do.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub mod talk;

use std::sync::Arc;

use proto_imap::client::{self, Client};
use proto_imap::server::{self, Server};
use proto_imap::types::{Condition, StatusResponse, Text};
use proto_imap::{Config, Waits};
use proto_mail::{Channel, Cleartext, Error, RecvBuffer, Secure, SendBuffer};

/// The record of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The application's events. Chunks of one body are joined.
    pub events: Vec<String>,
    /// Every byte that was sent.
    pub output: String,
    pub error: Option<Error>,
}

impl Record {
    pub fn has(&self, event: &str) -> bool {
        self.events.iter().any(|seen| seen.contains(event))
    }
}

/// One side of a conversation: a machine with its application.
pub trait Side {
    /// Takes the next event; `false` when there is none.
    fn pull(
        &mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
        events: &mut Vec<String>,
    ) -> Result<bool, Error>;
    /// Called when no more events can happen, so that the application can give a command.
    fn quiet(&mut self, _tx: &mut SendBuffer, _events: &[String]) {}
}

/// Feeds `pieces`, one per read. Then the peer closes the connection, if `end` is set.
pub fn converse<'p>(side: &mut dyn Side, pieces: impl IntoIterator<Item = &'p [u8]>, end: bool) -> Record {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut record = Record::default();
    let mut output = Vec::new();
    pump(side, &mut rx, &mut tx, &mut record, &mut output);
    for piece in pieces {
        rx.extend(piece);
        pump(side, &mut rx, &mut tx, &mut record, &mut output);
    }
    if end {
        rx.close();
        pump(side, &mut rx, &mut tx, &mut record, &mut output);
    }
    record.output = text(&output);
    record
}

fn pump(
    side: &mut dyn Side,
    rx: &mut RecvBuffer,
    tx: &mut SendBuffer,
    record: &mut Record,
    output: &mut Vec<u8>,
) {
    loop {
        match side.pull(rx, tx, &mut record.events) {
            Ok(true) => {}
            Ok(false) => {
                side.quiet(tx, &record.events);
                let sent = tx.take();
                if sent.is_empty() {
                    return;
                }
                output.extend(sent);
            }
            Err(error) => {
                if let Some(first) = &record.error {
                    assert_eq!(first, &error, "an error is final");
                }
                record.error = Some(error);
                output.extend(tx.take());
                return;
            }
        }
    }
}

/// Splits the input in many ways: whole, byte by byte, in two at every place, and in chunks of odd sizes. A `§` marks
/// where the peer waits for this side's output; no chunk extends over it.
pub fn every_split(input: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut turns: Vec<&[u8]> = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(2).position(|pair| pair == "§".as_bytes()) {
        turns.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    turns.push(rest);
    let chunks = |size: usize| turns.iter().flat_map(|turn| turn.chunks(size)).collect::<Vec<_>>();
    let mut splits: Vec<Vec<&[u8]>> = [usize::MAX, 1, 2, 3, 7, 16, 61].into_iter().map(chunks).collect();
    let step = (input.len() / 400).max(1);
    for (index, turn) in turns.iter().enumerate() {
        splits.extend((1..turn.len()).step_by(step).map(|at| {
            let mut pieces = turns.clone();
            pieces.splice(index..=index, [&turn[..at], &turn[at..]]);
            pieces
        }));
    }
    splits
}

/// Runs the conversation in every split and checks that the records are equal.
pub fn in_every_split(input: impl AsRef<[u8]>, end: bool, start: impl Fn() -> Box<dyn Side>) -> Record {
    let input = input.as_ref();
    let mut first: Option<Record> = None;
    for pieces in every_split(input) {
        let cuts: Vec<usize> = pieces.iter().map(|piece| piece.len()).take(6).collect();
        let record = converse(start().as_mut(), pieces, end);
        match &first {
            None => first = Some(record),
            Some(whole) => assert_eq!(&record, whole, "cut into {cuts:?}…"),
        }
    }
    first.unwrap()
}

/// Converts each byte to the character with that number, so that chunks of text stay chunks of text.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Adds an event; joins the chunks of one body into one event.
pub fn note(events: &mut Vec<String>, event: String) {
    if let (Some(piece), Some(last)) = (event.strip_prefix("Chunk "), events.last_mut())
        && last.starts_with("Chunk ")
    {
        last.push_str(piece);
        return;
    }
    events.push(event);
}

pub fn ok(text: &str) -> StatusResponse<'_> {
    StatusResponse::new(Condition::Ok, Text::first_line(text))
}

pub fn no(text: &str) -> StatusResponse<'_> {
    StatusResponse::new(Condition::No, Text::first_line(text))
}

/// A configuration without delays.
pub fn config() -> Arc<Config> {
    let mut waits = Waits::default();
    waits.delay = std::time::Duration::ZERO;
    Arc::new(Config::default().waits(waits))
}

pub fn describe_client(event: client::Event<'_>) -> String {
    match event {
        client::Event::BodyChunk(chunk) => format!("Chunk {}", text(chunk)),
        other => format!("{other:?}"),
    }
}

type ClientCommands<C> = Box<dyn FnMut(&mut Client<C>, &mut SendBuffer, &[String])>;

/// A client, and the commands that its application gives when no more events happen.
pub struct ClientSide<C: Channel> {
    pub client: Client<C>,
    pub commands: ClientCommands<C>,
}

impl<C: Channel> Side for ClientSide<C> {
    fn pull(
        &mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
        events: &mut Vec<String>,
    ) -> Result<bool, Error> {
        match self.client.next_event(rx, tx)? {
            Some(event) => note(events, describe_client(event)),
            None => return Ok(false),
        }
        Ok(true)
    }

    fn quiet(&mut self, tx: &mut SendBuffer, events: &[String]) {
        (self.commands)(&mut self.client, tx, events);
    }
}

/// Creates a client under TLS. It calls `commands` when no more events can happen.
pub fn client(
    config: Arc<Config>,
    mut commands: impl FnMut(&mut Client<Secure>, &mut SendBuffer, &[String]) + 'static,
) -> Box<dyn Side> {
    let client = Client::<Secure>::new(config, Secure::trusted_local());
    Box::new(ClientSide {
        client,
        commands: Box::new(move |client, tx, events| commands(client, tx, events)),
    })
}

pub fn cleartext_client(
    config: Arc<Config>,
    mut commands: impl FnMut(&mut Client<Cleartext>, &mut SendBuffer, &[String]) + 'static,
) -> Box<dyn Side> {
    let client = Client::<Cleartext>::new(config);
    Box::new(ClientSide {
        client,
        commands: Box::new(move |client, tx, events| commands(client, tx, events)),
    })
}

type Answers<C> = Box<dyn for<'i> FnMut(server::Event<'i, C>, &mut Server<C>, &mut SendBuffer)>;

/// A server, and its application's answers.
pub struct ServerSide<C: Channel> {
    pub server: Server<C>,
    /// The bytes that it has sent before the first event.
    pub greeting: SendBuffer,
    pub answer: Answers<C>,
}

impl<C: Channel> Side for ServerSide<C> {
    fn pull(
        &mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
        events: &mut Vec<String>,
    ) -> Result<bool, Error> {
        tx.put(&self.greeting.take());
        let Some(event) = self.server.next_event(rx, tx)? else { return Ok(false) };
        note(
            events,
            match &event {
                server::Event::AppendChunk(chunk) => format!("Chunk {}", text(chunk)),
                server::Event::Command(command, _) => format!("Command {command:?}"),
                server::Event::AppendEnd(_) => "AppendEnd".into(),
                server::Event::Idle(_) => "Idle".into(),
                server::Event::Auth(_) => "Auth".into(),
                server::Event::StartTls(_) => "StartTls".into(),
                other => format!("{other:?}"),
            },
        );
        (self.answer)(event, &mut self.server, tx);
        Ok(true)
    }
}
