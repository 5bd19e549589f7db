//! IMAP, both sides joined: the client must receive what the server's application answered to its commands.

use std::sync::Arc;

use bytes::Bytes;
use proto_imap::Config;
use proto_imap::client::{AuthOutcome, Client, Event, LoginMethod};
use proto_imap::server::{Event as Asked, Reply, Server};
use proto_imap::types::{
    AppendCommand, Command, Condition, FetchAttribute, FetchCommand, LazyList, MailboxName, Section,
    SelectCommand, SequenceSet, StatusResponse, Text,
};
use proto_mail::{AuthVerdict, Credentials, RecvBuffer, Secure, SendBuffer};

use crate::joined::{Fault, Wire};
use crate::play::{Choices, channel};

/// More steps than both sides ever need.
const STEPS: usize = 20_000;

/// How many commands a client gives.
const COMMANDS: u8 = 6;

/// The prefix of the application's answers.
const ANSWER: &str = "answer ";

/// The body of the message in the mailbox.
const BODY: &[u8] = b"x\r\n) OK \"{5}\r\n\0\xff";

/// Plays the conversation to its end.
///
/// # Panics
/// If the client receives what was not sent, or misses what was.
pub fn run(client: Choices, server: Choices, mut wire: Wire) {
    let config = Arc::new(Config::default());
    let (mut to_client, mut to_server) = (RecvBuffer::new(), RecvBuffer::new());
    let (mut from_client, mut from_server) = (SendBuffer::new(), SendBuffer::new());
    let mut serving =
        TestServer::new(Server::<Secure>::new(Arc::clone(&config), channel(), &mut from_server), server);
    let mut asking = TestClient::new(Client::<Secure>::new(config, channel()), client);
    for step in 0.. {
        assert!(step < STEPS, "neither side finishes");
        let mut moved = serving.step(&mut to_server, &mut from_server);
        moved |= asking.step(&mut to_client, &mut from_client);
        moved |= wire.carry(&mut from_client, &mut to_server);
        moved |= wire.carry(&mut from_server, &mut to_client);
        if !moved {
            break;
        }
    }
    let said = &serving.said;
    // The server itself answers LOGIN and LOGOUT.
    let heard: Vec<_> = asking.heard.iter().filter(|(_, text)| text.starts_with(ANSWER)).cloned().collect();
    match wire.fault() {
        Fault::None => {
            assert_eq!(*said, heard, "the client received the server's answers");
            assert_eq!(asking.given, asking.heard.len(), "each command has its answer");
            assert_eq!(asking.appended.len(), serving.appended.len(), "every APPEND has a result");
            for (sent, arrived) in asking.appended.iter().zip(&serving.appended) {
                assert!(arrived.as_ref().is_none_or(|arrived| arrived == sent), "{sent:?} is {arrived:?}");
            }
            assert!(asking.over && serving.over, "the session ends in order");
        }
        Fault::Cut => {
            assert!(said.starts_with(&heard), "{heard:?} was heard, and {said:?} said");
            for (sent, arrived) in asking.appended.iter().zip(&serving.appended) {
                let arrived = arrived.as_deref().unwrap_or_default();
                assert!(sent.starts_with(arrived), "{sent:?} is {arrived:?}");
            }
        }
        Fault::Flip | Fault::Drop | Fault::Repeat => return,
    }
    let bodies = asking.bodies.chunks(BODY.len());
    bodies.for_each(|body| assert!(BODY.starts_with(body), "{}", body.escape_ascii()));
}

struct TestClient {
    client: Client<Secure>,
    choices: Choices,
    given: usize,
    /// The condition and the text of each answer.
    heard: Vec<(bool, String)>,
    bodies: Vec<u8>,
    /// The messages that the client appended.
    appended: Vec<Vec<u8>>,
    size: u64,
    left: u8,
    over: bool,
}

impl TestClient {
    fn new(client: Client<Secure>, choices: Choices) -> Self {
        let (heard, bodies, appended) = (Vec::new(), Vec::new(), Vec::new());
        Self { client, choices, given: 0, heard, bodies, appended, size: 0, left: COMMANDS, over: false }
    }

    fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> bool {
        let go_on = match self.client.next_event(rx, tx) {
            Ok(None) => return false,
            Err(_) => {
                let ended = !self.over;
                self.over = true;
                return ended;
            }
            Ok(Some(Event::Capabilities)) => {
                let credentials = Credentials::password("x", b"x".to_vec());
                let given = self.client.authenticate(LoginMethod::Strongest, &credentials, tx);
                self.given += usize::from(given.is_ok());
                return true;
            }
            Ok(Some(
                Event::Completed { status, .. }
                | Event::Auth(
                    AuthOutcome::Accepted { status, .. }
                    | AuthOutcome::Rejected { status, .. }
                    | AuthOutcome::Cancelled { status, .. },
                ),
            )) => {
                self.heard.push((status.condition == Condition::Ok, status.text.to_string()));
                true
            }
            Ok(Some(Event::BodyChunk(bytes))) => {
                self.bodies.extend_from_slice(bytes);
                false
            }
            Ok(Some(Event::AppendReady(_))) => {
                let bytes = vec![b'a' + self.left; usize::try_from(self.size).unwrap_or_default()];
                if let Some(message) = self.appended.last_mut() {
                    message.extend_from_slice(&bytes);
                }
                let _ = self.client.write_payload(Bytes::from(bytes), tx);
                false
            }
            Ok(Some(Event::Closed)) => {
                self.over = true;
                false
            }
            Ok(Some(_)) => false,
        };
        if go_on && self.heard.len() == self.given {
            self.next(tx);
        }
        true
    }

    /// Gives one command, or two of them at once; the last one is LOGOUT.
    fn next(&mut self, tx: &mut SendBuffer) {
        for _ in 0..=self.choices.pick(2) {
            let all = SequenceSet::from(1..=9);
            let attributes = [FetchAttribute::peek(Section::FULL)];
            let fetch = FetchCommand::new(all, LazyList::new(&attributes));
            self.left = self.left.saturating_sub(1);
            let choice = if self.left == 0 { 0 } else { self.choices.pick(5) + 1 };
            let given = match choice {
                0 => self.client.logout(tx),
                1 => self.client.send(&Command::Noop, tx),
                2 => self.client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), tx),
                3 => self.client.send(&Command::Fetch(fetch), tx),
                4 => {
                    self.size = u64::from(self.choices.pick(8)) * 7;
                    let append = AppendCommand::new(MailboxName::INBOX);
                    self.appended.push(Vec::new());
                    self.client.append(&append, self.size, tx).inspect_err(|_| drop(self.appended.pop()))
                }
                _ => self.client.send(&Command::Close, tx),
            };
            self.given += usize::from(given.is_ok());
            if choice == 4 || choice == 0 {
                break;
            }
        }
        if self.heard.len() == self.given && self.left > 0 {
            // No command could be given now.
            self.next(tx);
        }
    }
}

struct TestServer {
    server: Server<Secure>,
    choices: Choices,
    said: Vec<(bool, String)>,
    /// The messages that arrived; `None` for those that were refused before.
    appended: Vec<Option<Vec<u8>>>,
    over: bool,
}

impl TestServer {
    const fn new(server: Server<Secure>, choices: Choices) -> Self {
        Self { server, choices, said: Vec::new(), appended: Vec::new(), over: false }
    }

    fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> bool {
        match self.server.next_event(rx, tx) {
            Ok(None) => return false,
            Err(_) => {
                let ended = !self.over;
                self.over = true;
                return ended;
            }
            Ok(Some(event)) => match event {
                Asked::Auth(request) => {
                    let _ = self.server.answer_auth(request, AuthVerdict::Accept, tx);
                }
                Asked::Command(command, reply) => {
                    let fetch = matches!(command, Command::Fetch(_));
                    self.reply(reply, fetch, tx);
                }
                Asked::AppendEnd(reply) => self.reply(reply, false, tx),
                Asked::Append { offer, .. } => {
                    let refused = self.choices.pick(3) == 1;
                    self.appended.push((!refused).then(Vec::new));
                    if refused {
                        let status = self.status(false);
                        let text = Text::new(&status).unwrap_or_else(|_| Text::first_line("no"));
                        let _ =
                            self.server.reject_literal(offer, &StatusResponse::new(Condition::No, text), tx);
                    } else {
                        let _ = self.server.accept_literal(offer, tx);
                    }
                }
                Asked::AppendChunk(bytes) => {
                    if let Some(Some(message)) = self.appended.last_mut() {
                        message.extend_from_slice(bytes);
                    }
                }
                Asked::Closed => self.over = true,
                _ => {}
            },
        }
        true
    }

    /// Makes and records the answer to the next command.
    fn status(&mut self, yes: bool) -> String {
        let text = format!("{ANSWER}{}", self.said.len());
        self.said.push((yes, text.clone()));
        text
    }

    fn reply(&mut self, reply: Reply, fetch: bool, tx: &mut SendBuffer) {
        if fetch && let Ok(mut writer) = self.server.fetch(1, tx) {
            writer.body(Section::FULL, None, Bytes::from_static(BODY));
            let _ = writer.finish();
        }
        let yes = self.choices.pick(4) != 1;
        let text = self.status(yes);
        let condition = if yes { Condition::Ok } else { Condition::No };
        let text = Text::new(&text).unwrap_or_else(|_| Text::first_line("said"));
        let _ = self.server.reply(reply, &StatusResponse::new(condition, text), tx);
    }
}
