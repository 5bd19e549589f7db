//! A client and a server of the forms of APPEND, joined in memory, and what the server's application receives.

use bytes::Bytes;
use proto_imap::Config;
use proto_imap::client::{self, Client};
use proto_imap::server::{self, LiteralOffer, Server};
use proto_imap::types::{
    AppendData, AppendForm, AppendMessage, CatenatePart, Command, Condition, DateTime, Flag, FlagList,
    MailboxName, NameEncoding, ReplaceCommand, ReplacedMessage, ResponseCode, SelectCommand, StatusResponse,
    Text, Untagged,
};
use proto_mail::{AuthVerdict, Error, RecvBuffer, Secure, SendBuffer};

pub const ALL: [&str; 6] = ["MULTIAPPEND", "BINARY", "CATENATE", "REPLACE", "UTF8=ACCEPT", "UIDPLUS"];

pub fn ok() -> StatusResponse<'static> {
    StatusResponse::new(Condition::Ok, Text::first_line("done"))
}

pub fn offering(extensions: &[&str]) -> Config {
    Config::default().extensions(extensions.iter().copied()).enableable(["UTF8=ACCEPT"])
}

/// A part of a message, with its contents.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Text(Vec<u8>),
    Utf8(Vec<u8>),
    Url(String),
}

/// A message with its contents.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub seen: bool,
    pub date: Option<i64>,
    pub form: AppendForm,
    pub parts: Vec<Part>,
}

impl Message {
    pub fn bytes(&self) -> Vec<&[u8]> {
        fn bytes(part: &Part) -> Option<&[u8]> {
            match part {
                Part::Text(bytes) | Part::Utf8(bytes) => Some(bytes),
                Part::Url(_) => None,
            }
        }
        self.parts.iter().filter_map(bytes).collect()
    }
}

/// What the server's application has received.
#[derive(Debug, Default, PartialEq)]
pub struct Received {
    pub mailbox: String,
    pub replaced: Option<ReplacedMessage>,
    pub messages: Vec<Message>,
    pub ends: usize,
    pub aborts: usize,
}

impl Received {
    pub fn message(&mut self, flags: FlagList<'_>, date: Option<DateTime>, form: AppendForm) {
        let parts = match form {
            AppendForm::Catenate => Vec::new(),
            _ => vec![Part::Text(Vec::new())],
        };
        let (seen, date) = (!flags.is_empty(), date.map(|date| date.timestamp()));
        self.messages.push(Message { seen, date, form, parts });
    }

    /// Takes an event. Returns the offer that it makes.
    pub fn take(&mut self, event: server::Event<'_, Secure>) -> Option<LiteralOffer> {
        match event {
            server::Event::Append { mailbox, replaced, flags, date, form, size: _, offer } => {
                *self = Self { ends: self.ends, aborts: self.aborts, ..Self::default() };
                (self.mailbox, self.replaced) =
                    (mailbox.to_str_lossy(NameEncoding::Utf8).into_owned(), replaced);
                self.message(flags, date, form);
                return Some(offer);
            }
            server::Event::AppendNext { flags, date, form, size: _, offer } => {
                self.message(flags, date, form);
                return Some(offer);
            }
            server::Event::AppendPart { part, offer } => {
                let part = match part {
                    CatenatePart::Text(_) => Part::Text(Vec::new()),
                    CatenatePart::Utf8(_) => Part::Utf8(Vec::new()),
                    CatenatePart::Url(url) => Part::Url(url.to_str_lossy().into_owned()),
                    other => panic!("{other:?}"),
                };
                self.messages.last_mut().unwrap().parts.push(part);
                return Some(offer);
            }
            server::Event::AppendChunk(chunk) => {
                match self.messages.last_mut().unwrap().parts.last_mut().unwrap() {
                    Part::Text(bytes) | Part::Utf8(bytes) => bytes.extend_from_slice(chunk),
                    Part::Url(url) => panic!("bytes behind {url}"),
                }
            }
            server::Event::AppendAborted => self.aborts += 1,
            event => panic!("{event:?}"),
        }
        None
    }
}

/// A server whose application accepts everything.
pub struct Peer {
    pub server: Server<Secure>,
    pub rx: RecvBuffer,
    pub tx: SendBuffer,
    pub received: Received,
    pub commands: Vec<String>,
    /// Which offer is rejected, counted from 0.
    pub reject: Option<usize>,
    pub offers: usize,
}

impl Peer {
    pub fn new(config: Config) -> Self {
        let mut tx = SendBuffer::new();
        let server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        Self {
            server,
            rx: RecvBuffer::new(),
            tx,
            received: Received::default(),
            commands: Vec::new(),
            reject: None,
            offers: 0,
        }
    }

    pub fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rx.extend(bytes);
        loop {
            let (server, rx, tx) = (&mut self.server, &mut self.rx, &mut self.tx);
            let Some(event) = server.next_event(rx, tx).unwrap() else { return tx.take() };
            match event {
                server::Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
                server::Event::Command(command, reply) => {
                    self.commands.push(command.name().to_string());
                    if matches!(command, Command::Select(_)) {
                        server.data(&Untagged::Exists(9), tx).unwrap();
                    }
                    server.reply(reply, &ok(), tx).unwrap();
                }
                server::Event::AppendEnd(reply) => {
                    self.received.ends += 1;
                    server.reply(reply, &ok(), tx).unwrap();
                }
                server::Event::Unparsed(_) => self.commands.push("Unparsed".to_owned()),
                event => {
                    if let Some(offer) = self.received.take(event) {
                        let number = self.offers;
                        self.offers += 1;
                        if self.reject == Some(number) {
                            let code = ResponseCode::BadUrl("/x".into());
                            let no =
                                StatusResponse::new(Condition::No, Text::first_line("no")).with_code(code);
                            server.reject_literal(offer, &no, tx).unwrap();
                        } else {
                            server.accept_literal(offer, tx).unwrap();
                        }
                    }
                }
            }
        }
    }

    /// Logs in and selects a mailbox.
    pub fn selected(config: Config) -> Self {
        let mut peer = Self::new(config);
        peer.hear(b"l LOGIN u p\r\ne ENABLE UTF8=ACCEPT\r\ns SELECT INBOX\r\n");
        peer.commands.clear();
        peer
    }
}

/// A client, joined to a server.
pub struct Pair {
    pub client: Client<Secure>,
    pub rx: RecvBuffer,
    pub tx: SendBuffer,
    pub peer: Peer,
    /// The bytes that the client's application still has to write.
    pub payloads: Vec<Vec<u8>>,
    pub completions: Vec<String>,
    /// How many bytes pass at once.
    pub chunk: usize,
    pub wire: Vec<u8>,
}

impl Pair {
    /// Logs in, enables UTF-8 and selects a mailbox.
    pub fn new(server: Config, client: Config, chunk: usize) -> Self {
        let client = Client::<Secure>::new(client, Secure::trusted_local());
        let (rx, tx, peer) = (RecvBuffer::new(), SendBuffer::new(), Peer::new(server));
        let (payloads, completions, wire) = (Vec::new(), Vec::new(), Vec::new());
        let mut pair = Self { client, rx, tx, peer, payloads, completions, chunk, wire };
        pair.run();
        let credentials = proto_mail::Credentials::password("u", &b"p"[..]);
        pair.client.authenticate(client::LoginMethod::Strongest, &credentials, &mut pair.tx).unwrap();
        pair.run();
        let utf8 = [proto_imap::types::Capability::new("UTF8=ACCEPT")];
        pair.client.send(&Command::Enable(proto_imap::types::LazyList::new(&utf8)), &mut pair.tx).unwrap();
        pair.run();
        pair.client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), &mut pair.tx).unwrap();
        pair.run();
        pair.completions.clear();
        pair.wire.clear();
        pair
    }

    /// Passes bytes until both sides are quiet.
    pub fn run(&mut self) {
        let mut quiet = 0;
        while quiet < 2 {
            quiet += 1;
            while let Some(event) = self.client.next_event(&mut self.rx, &mut self.tx).unwrap() {
                match event {
                    client::Event::AppendReady(_) => {
                        let payload = self.payloads.remove(0);
                        let (one, other) = payload.split_at(payload.len() / 2);
                        for half in [one, other] {
                            if !payload.is_empty() {
                                let half = Bytes::copy_from_slice(half);
                                self.client.write_payload(half, &mut self.tx).unwrap();
                            }
                        }
                    }
                    client::Event::Completed { status, .. } => self.completions.push(format!("{status:?}")),
                    _ => {}
                }
            }
            let output = self.tx.take();
            self.wire.extend_from_slice(&output);
            let mut answer = Vec::new();
            for piece in output.chunks(self.chunk).chain([&b""[..]]) {
                answer.extend(self.peer.hear(piece));
            }
            if !output.is_empty() || !answer.is_empty() {
                quiet = 0;
            }
            self.rx.extend(&answer);
        }
    }

    pub fn append(
        &mut self,
        replaced: Option<ReplacedMessage>,
        mailbox: &str,
        messages: &[Message],
    ) -> Result<(), Error> {
        let parts: Vec<Vec<CatenatePart<'_>>> = messages
            .iter()
            .map(|message| {
                fn part(part: &Part) -> CatenatePart<'_> {
                    match part {
                        Part::Text(bytes) => CatenatePart::Text(bytes.len() as u64),
                        Part::Utf8(bytes) => CatenatePart::Utf8(bytes.len() as u64),
                        Part::Url(url) => CatenatePart::Url(url.as_str().into()),
                    }
                }
                message.parts.iter().map(part).collect()
            })
            .collect();
        let flags = [Flag::Seen];
        let sent: Vec<AppendMessage<'_>> = messages
            .iter()
            .zip(&parts)
            .map(|(message, parts)| {
                let size = || message.bytes()[0].len() as u64;
                AppendMessage {
                    flags: if message.seen { FlagList::new(&flags) } else { FlagList::EMPTY },
                    date: message.date.map(|at| DateTime::from_timestamp(at, 0).unwrap()),
                    data: match message.form {
                        AppendForm::Literal => AppendData::Literal(size()),
                        AppendForm::Literal8 => AppendData::Literal8(size()),
                        AppendForm::Utf8 => AppendData::Utf8(size()),
                        _ => AppendData::Catenate(parts),
                    },
                }
            })
            .collect();
        let mailbox = MailboxName::new(mailbox);
        match replaced {
            None => self.client.append_messages(mailbox, &sent, &mut self.tx)?,
            Some(replaced) => {
                let replace = ReplaceCommand { replaced, mailbox, message: sent[0] };
                self.client.replace(&replace, &mut self.tx)?
            }
        };
        self.payloads = messages.iter().flat_map(Message::bytes).map(<[u8]>::to_vec).collect();
        Ok(())
    }
}
