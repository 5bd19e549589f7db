//! Connects a client and a server: each receives exactly what the other sends.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::VecDeque;

use bytes::Bytes;
use common::{config, describe_client, note, ok};
use proto_imap::client::{Client, LoginMethod};
use proto_imap::server::{self, Reply, Server};
use proto_imap::types::{AppendCommand, FetchCommand, ListCommand, SelectCommand, StoreAction, StoreCommand};
use proto_imap::types::{
    Command, FetchAttribute, FetchItem, Flag, FlagList, IString, LazyList, ListPattern, ListResponse,
    MailboxAttribute, MailboxName, Repair, ResponseCode, Section, SequenceSet, Untagged,
};
use proto_imap::{Access, State};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{AuthVerdict, Cleartext, Credentials, RecvBuffer, Secure, SendBuffer, Upgrade};

/// A client and a server, connected by a wire that splits its bytes into chunks of `size`.
struct Pair {
    client: Client<Secure>,
    server: Server<Secure>,
    client_rx: RecvBuffer,
    client_tx: SendBuffer,
    server_rx: RecvBuffer,
    server_tx: SendBuffer,
    size: usize,
    seen: Vec<String>,
    store: Shelf,
}

/// The data of the server's application: one mailbox with messages.
#[derive(Default)]
struct Shelf {
    messages: Vec<Vec<u8>>,
    arriving: Vec<u8>,
    idle: Option<Reply>,
    log: Vec<String>,
}

impl Shelf {
    fn event(&mut self, event: server::Event<'_, Secure>, server: &mut Server<Secure>, tx: &mut SendBuffer) {
        match event {
            server::Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
            server::Event::Command(command, reply) => self.command(reply, command, server, tx),
            server::Event::Append { offer, mailbox, flags, size, .. } => {
                self.log.push(format!("append {mailbox:?} {flags:?} {size}"));
                server.accept_literal(offer, tx).unwrap();
            }
            server::Event::AppendChunk(chunk) => self.arriving.extend_from_slice(chunk),
            server::Event::AppendEnd(reply) => {
                self.messages.push(std::mem::take(&mut self.arriving));
                if server.state().is_selected() {
                    server.data(&Untagged::Exists(self.messages.len() as u32), tx).unwrap();
                }
                server.reply(reply, &ok("appended"), tx).unwrap();
            }
            server::Event::Idle(reply) => {
                server.data(&Untagged::Exists(self.messages.len() as u32), tx).unwrap();
                self.idle = Some(reply);
            }
            server::Event::Done => server.reply(self.idle.take().unwrap(), &ok("idled"), tx).unwrap(),
            other => self.log.push(format!("{other:?}")),
        }
    }

    fn command(
        &mut self,
        reply: Reply,
        command: Command<'_>,
        server: &mut Server<Secure>,
        tx: &mut SendBuffer,
    ) {
        self.log.push(format!("{command:?}"));
        match command {
            Command::List(_) => {
                let mailbox = ListResponse {
                    attributes: LazyList::new(&[MailboxAttribute::HasNoChildren]),
                    delimiter: Some('/'),
                    mailbox: IString::new(b"INBOX"),
                    extended: LazyList::EMPTY,
                };
                server.data(&Untagged::List(mailbox), tx).unwrap();
            }
            Command::Select(_) => {
                server.data(&Untagged::Exists(self.messages.len() as u32), tx).unwrap();
                let status = ok("selected").with_code(ResponseCode::UidValidity(7));
                server.reply(reply, &status, tx).unwrap();
                return;
            }
            Command::Fetch(_) => {
                for (index, message) in self.messages.iter().enumerate() {
                    let mut writer = server.fetch(index as u32 + 1, tx).unwrap();
                    writer.item(&FetchItem::Uid(index as u32 + 1));
                    writer.stream_body(Section::FULL, None, message.len() as u64);
                    for chunk in message.chunks(1000) {
                        server.write_body(Bytes::copy_from_slice(chunk), tx).unwrap();
                    }
                    let mut writer = server.resume_fetch(tx).unwrap();
                    writer.item(&FetchItem::Flags(FlagList::new(&[Flag::Seen])));
                    writer.finish().unwrap();
                }
            }
            Command::Expunge => server.data(&Untagged::Expunge(1), tx).unwrap(),
            _ => {}
        }
        server.reply(reply, &ok("done"), tx).unwrap();
    }
}

impl Pair {
    fn new(size: usize) -> Self {
        let secure = Secure::trusted_local;
        let mut server_tx = SendBuffer::new();
        Self {
            client: Client::<Secure>::new(config(), secure()),
            server: Server::<Secure>::new(config(), secure(), &mut server_tx),
            client_rx: RecvBuffer::new(),
            client_tx: SendBuffer::new(),
            server_rx: RecvBuffer::new(),
            server_tx,
            size,
            seen: Vec::new(),
            store: Shelf::default(),
        }
    }

    /// Transfers bytes until both sides are idle. Returns the client's events.
    fn run(&mut self) -> Vec<String> {
        let (mut to_client, mut to_server) = (VecDeque::new(), VecDeque::new());
        loop {
            while let Some(event) = self.server.next_event(&mut self.server_rx, &mut self.server_tx).unwrap()
            {
                self.store.event(event, &mut self.server, &mut self.server_tx);
            }
            while let Some(event) = self.client.next_event(&mut self.client_rx, &mut self.client_tx).unwrap()
            {
                note(&mut self.seen, describe_client(event));
            }
            to_client.extend(self.server_tx.take());
            to_server.extend(self.client_tx.take());
            if to_client.is_empty() && to_server.is_empty() {
                return std::mem::take(&mut self.seen);
            }
            let take = |wire: &mut VecDeque<u8>| wire.drain(..wire.len().min(self.size)).collect::<Vec<u8>>();
            self.client_rx.extend(&take(&mut to_client));
            self.server_rx.extend(&take(&mut to_server));
        }
    }

    fn send(&mut self, command: &Command<'_>) {
        self.client.send(command, &mut self.client_tx).unwrap();
    }
}

fn whole_session(size: usize) -> (Vec<String>, Vec<String>) {
    let mut pair = Pair::new(size);
    let mut seen = pair.run();
    let credentials = Credentials::password("alice", &b"secret"[..]);
    pair.client.authenticate(LoginMethod::Strongest, &credentials, &mut pair.client_tx).unwrap();
    seen.extend(pair.run());
    // Pipelined: the client sends SELECT before the server has answered LIST.
    pair.send(&Command::List(ListCommand::new(&[ListPattern::ALL])));
    pair.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)));
    seen.extend(pair.run());
    assert_eq!(pair.client.state(), Some(State::Selected(Access::ReadWrite)));
    assert_eq!(pair.server.state(), State::Selected(Access::ReadWrite));
    let message = b"Subject: x\r\n\r\na1 LOGOUT\r\n".repeat(99);
    let flags = [Flag::Seen];
    let append = AppendCommand {
        flags: FlagList::new(&flags),
        ..AppendCommand::new(MailboxName::new("Entwürfe {5}"))
    };
    let id = pair.client.append(&append, message.len() as u64, &mut pair.client_tx).unwrap();
    // This command waits until the message was sent.
    pair.send(&Command::Noop);
    let ready = pair.run();
    assert!(ready.contains(&format!("AppendReady({id:?})")), "{ready:?}");
    seen.extend(ready);
    let left =
        pair.client.write_payload(Bytes::copy_from_slice(&message[..1000]), &mut pair.client_tx).unwrap();
    assert_eq!(left, message.len() as u64 - 1000);
    seen.extend(pair.run());
    assert_eq!(
        pair.client.write_payload(Bytes::copy_from_slice(&message[1000..]), &mut pair.client_tx),
        Ok(0)
    );
    seen.extend(pair.run());
    assert_eq!(pair.store.messages, [message]);
    let attributes = [FetchAttribute::Uid, FetchAttribute::peek(Section::FULL), FetchAttribute::Flags];
    pair.send(&Command::Fetch(FetchCommand::new(SequenceSet::ALL, LazyList::new(&attributes))));
    pair.send(&Command::Store(StoreCommand::new(
        SequenceSet::ALL,
        StoreAction::Add,
        FlagList::new(&[Flag::Deleted]),
    )));
    pair.send(&Command::Expunge);
    seen.extend(pair.run());
    pair.client.idle(&mut pair.client_tx).unwrap();
    seen.extend(pair.run());
    pair.send(&Command::Close);
    seen.extend(pair.run());
    assert_eq!(
        pair.server.state(),
        State::Authenticated,
        "{seen:#?} {:#?} {:?} {:?}",
        pair.store.log,
        pair.client,
        pair.server
    );
    pair.client.logout(&mut pair.client_tx).unwrap();
    seen.extend(pair.run());
    assert!(pair.client.is_closed() && pair.server.is_closed());
    let repaired: Vec<_> =
        Repair::ALL.iter().filter(|repair| pair.client.repairs().count(**repair) > 0).collect();
    assert!(repaired.is_empty(), "what the server writes, the client reads without a repair: {repaired:?}");
    (seen, pair.store.log)
}

#[test]
fn completes_a_session_under_any_chunking() {
    let (seen, log) = whole_session(usize::MAX);
    for expected in [
        "Data(List(ListResponse { attributes: [\\HasNoChildren], delimiter: Some('/'), mailbox: \"INBOX\"",
        "Data(Exists(0))",
        "AppendReady",
        "FetchStart { sequence: 1 }",
        "FetchItem(Uid(1))",
        "BodyStart { section: BODY[], origin: None, size: Some(2475) }",
        "FetchItem(Flags([\\Seen]))",
        "FetchEnd",
        "Data(Expunge(1))",
        "Idling",
        "Data(Exists(1))",
        "Bye",
        "Closed",
    ] {
        assert!(seen.iter().any(|event| event.starts_with(expected)), "{expected}: {seen:#?}");
    }
    assert_eq!(seen.iter().filter(|event| event.starts_with("Completed")).count(), 10, "{seen:#?}");
    assert!(log.iter().any(|line| line.contains("Entw") && line.ends_with("[\\Seen] 2475")), "{log:#?}");
    for size in [1, 2, 3, 7, 64, 1000] {
        assert_eq!(whole_session(size), (seen.clone(), log.clone()), "pieces of {size}");
    }
}

#[test]
fn both_sides_forget_cleartext_after_starttls() {
    let mut client = Client::<Cleartext>::new(config());
    let (mut client_rx, mut client_tx) = (RecvBuffer::new(), SendBuffer::new());
    let (mut server_rx, mut server_tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config(), &mut server_tx);
    assert!(server.next_event(&mut server_rx, &mut server_tx).unwrap().is_none());
    client_rx.extend(&server_tx.take());
    while client.next_event(&mut client_rx, &mut client_tx).unwrap().is_some() {}
    let negotiation = client.starttls(&mut client_tx).unwrap();
    server_rx.extend(&client_tx.take());
    let Some(server::Event::StartTls(request)) = server.next_event(&mut server_rx, &mut server_tx).unwrap()
    else {
        panic!("no STARTTLS");
    };
    let server = server.accept_starttls(request, &mut server_tx).unwrap();
    client_rx.extend(&server_tx.take());
    let Negotiation::Ready(client) = negotiation.advance(&mut client_rx, &mut client_tx).unwrap() else {
        panic!("not agreed");
    };
    let client = client.complete(Secure::trusted_local(), &mut client_rx).unwrap();
    let server = server.complete(Secure::trusted_local(), &mut server_rx).unwrap();
    assert!(client.capabilities().is_none());
    assert_eq!(server.state(), State::NotAuthenticated);
    let mut pair = Pair { client, server, server_tx: SendBuffer::new(), ..Pair::new(16) };
    let seen = pair.run();
    assert_eq!(seen, ["Capabilities"], "no greeting comes under TLS, and the client asks");
    assert!(!pair.client.capabilities().unwrap().has("STARTTLS"));
    let credentials = Credentials::password("alice", &b"secret"[..]);
    pair.client.authenticate(LoginMethod::Strongest, &credentials, &mut pair.client_tx).unwrap();
    let seen = pair.run();
    assert!(seen.iter().any(|event| event.starts_with("Auth(Accepted")), "{seen:?}");
}
