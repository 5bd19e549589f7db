//! The application of an IMAP server under attack: it keeps mailboxes of any name, and messages in them.
//!
//! This module knows events and answers; when an answer is given is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use io_mio::{ImapServer, MachineMut};
use proto_imap::server::{Event, LiteralOffer, Reply, Server};
use proto_imap::types::{
    Command, Condition, FetchItem, IString, LazyList, ListResponse, NameEncoding, Numbers, SearchResponse,
    Section, StatusResponse, Text, Untagged,
};
use proto_imap::{Config, Waits};
use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Mechanisms, Secure, SendBuffer, StartTlsRequest,
};

use super::{Application, Clock, LARGEST, Log, Service, verdict};

/// The application.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) log: Log,
    owed: Option<Owed>,
    /// The answer to IDLE, due when the client sends DONE.
    idle: Option<Reply>,
    /// The messages of each mailbox, whose name is bytes.
    mailboxes: BTreeMap<Vec<u8>, Vec<Bytes>>,
    /// The mailbox of the message that is being received.
    destination: Vec<u8>,
}

#[derive(Debug)]
enum Owed {
    Verdict(AuthRequest, AuthVerdict),
    Offer(LiteralOffer),
    Reply(Reply, Vec<Data>),
}

/// The untagged responses to a command.
#[derive(Debug)]
enum Data {
    Exists(u32),
    Listed(Vec<u8>),
    Found,
    Message(u32, Bytes),
}

impl Default for Store {
    fn default() -> Self {
        let message = Bytes::from(format!("Subject: x\r\n\r\n{}", "hello\r\n".repeat(500)));
        Self {
            log: Log::default(),
            owed: None,
            idle: None,
            mailboxes: BTreeMap::from([(b"INBOX".to_vec(), vec![message])]),
            destination: Vec::new(),
        }
    }
}

impl Application for Store {
    type Protocol = ImapServer;

    fn config(_: Service, clock: Clock) -> Arc<Config> {
        let mut config = Config::default()
            .server_name("mail.example.test")
            .offered_mechanisms(Mechanisms::all())
            .extensions(["CHILDREN", "ID", "MOVE", "NAMESPACE", "SPECIAL-USE", "UIDPLUS", "UNSELECT"])
            .enableable(["IMAP4rev2"]);
        config.limits.message = LARGEST;
        config.limits.literal = 64 * 1024;
        if clock == Clock::Short {
            let mut waits = Waits::default();
            let short = Duration::from_secs(30);
            (waits.command, waits.authentication, waits.rest, waits.data) = (short, short, short, short);
            config = config.waits(waits);
            config.limits.commands_before_auth = 30;
        }
        Arc::new(config)
    }

    fn preparation(_: Service, place: &str) -> Vec<(&'static str, &'static str)> {
        let way = [
            ("", "* OK"),
            ("p1 STARTTLS\r\n", "p1 OK"),
            ("TLS", ""),
            ("p2 LOGIN {user} \"{pass}\"\r\n", "p2 OK"),
            ("p3 SELECT {mailbox}\r\n", "p3 OK"),
        ];
        match place {
            "cleartext" => way[..1].to_vec(),
            "tls" => way[..3].to_vec(),
            "auth" => way[..4].to_vec(),
            "select" => way.to_vec(),
            other => panic!("unknown state {other}"),
        }
    }

    fn sign_of_life() -> [(&'static str, &'static str); 2] {
        [("", "* OK"), ("l1 NOOP\r\n", "l1 OK")]
    }

    fn cleartext(&mut self, event: Event<'_, Cleartext>) -> Option<StartTlsRequest> {
        match event {
            Event::StartTls(request) => return Some(request),
            event => self.event(event),
        }
        None
    }

    fn secure(&mut self, event: Event<'_, Secure>) {
        match event {
            Event::Auth(request) => {
                let verdict = verdict(&request, &mut self.log);
                self.owed = Some(Owed::Verdict(request, verdict));
            }
            event => self.event(event),
        }
    }

    fn answer(&mut self, machine: MachineMut<'_, ImapServer>, tx: &mut SendBuffer) -> bool {
        let Some(owed) = self.owed.take() else { return false };
        match (owed, machine) {
            (Owed::Verdict(request, verdict), MachineMut::Secure(server)) => {
                server.answer_auth(request, verdict, tx).unwrap();
            }
            (Owed::Verdict(..), MachineMut::Cleartext(_)) => panic!("a verdict on cleartext"),
            (owed, MachineMut::Secure(server)) => give(owed, server, tx),
            (owed, MachineMut::Cleartext(server)) => give(owed, server, tx),
        }
        true
    }

    fn log(&mut self) -> &mut Log {
        &mut self.log
    }
}

fn give<C: Channel>(owed: Owed, server: &mut Server<C>, tx: &mut SendBuffer) {
    match owed {
        Owed::Offer(offer) => server.accept_literal(offer, tx).unwrap(),
        Owed::Reply(reply, data) => {
            for data in data {
                put(&data, server, tx);
            }
            server.reply(reply, &StatusResponse::new(Condition::Ok, Text::first_line("done")), tx).unwrap();
        }
        Owed::Verdict(..) => {}
    }
}

fn put<C: Channel>(data: &Data, server: &mut Server<C>, tx: &mut SendBuffer) {
    match data {
        Data::Exists(count) => server.data(&Untagged::Exists(*count), tx).unwrap(),
        Data::Found => {
            let found = SearchResponse { numbers: Numbers::new(&[]), mod_sequence: None };
            server.data(&Untagged::Search(found), tx).unwrap();
        }
        Data::Listed(name) => {
            let listed = ListResponse {
                attributes: LazyList::EMPTY,
                delimiter: Some('/'),
                mailbox: IString::new(name),
                extended: LazyList::EMPTY,
            };
            // A name that cannot be encoded is left out.
            let _ = server.data(&Untagged::List(listed), tx);
        }
        Data::Message(number, bytes) => {
            let mut writer = server.fetch(*number, tx).unwrap();
            writer.item(&FetchItem::Uid(*number)).body(Section::FULL, None, bytes.clone());
            writer.finish().unwrap();
        }
    }
}

impl Store {
    fn event<C: Channel>(&mut self, event: Event<'_, C>) {
        match event {
            Event::Command(command, reply) => {
                self.log.ask(command.name().as_str());
                let data = self.carry_out(&command);
                self.owed = Some(Owed::Reply(reply, data));
            }
            Event::Append { offer, mailbox, .. } => {
                self.destination = mailbox.to_bytes(NameEncoding::ModifiedUtf7).into_owned();
                self.log.ask("APPEND");
                self.owed = Some(Owed::Offer(offer));
            }
            Event::AppendChunk(bytes) => self.log.coming.extend(bytes),
            Event::AppendEnd(reply) => {
                let bytes = Bytes::from(std::mem::take(&mut self.log.coming));
                let line = format!("APPEND {}\n", self.destination.escape_ascii());
                self.log.deliveries.extend(line.into_bytes());
                self.log.deliveries.extend(&bytes);
                self.mailboxes.entry(self.destination.clone()).or_default().push(bytes);
                self.owed = Some(Owed::Reply(reply, Vec::new()));
            }
            Event::AppendAborted => self.log.coming.clear(),
            Event::Idle(reply) => {
                self.log.ask("IDLE");
                self.idle = Some(reply);
            }
            Event::Done => self.owed = self.idle.take().map(|reply| Owed::Reply(reply, Vec::new())),
            _ => {}
        }
    }

    fn carry_out(&mut self, command: &Command<'_>) -> Vec<Data> {
        let inbox = &self.mailboxes[&b"INBOX"[..]];
        match command {
            Command::Select(_) | Command::Examine(_) => vec![Data::Exists(inbox.len() as u32)],
            Command::Fetch(_) | Command::UidFetch(_) => {
                (1..).zip(inbox).map(|(number, bytes)| Data::Message(number, bytes.clone())).collect()
            }
            Command::Search(_) | Command::UidSearch(_) => vec![Data::Found],
            // A careless application accepts every name.
            Command::Create(create) => {
                let name = create.mailbox.to_bytes(NameEncoding::ModifiedUtf7).into_owned();
                self.mailboxes.entry(name).or_default();
                Vec::new()
            }
            Command::List(_) => self.mailboxes.keys().cloned().map(Data::Listed).collect(),
            _ => Vec::new(),
        }
    }
}
