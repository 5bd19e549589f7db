//! A login in either protocol, between both machines or against scripted lines: what was sent, what was marked as
//! secret, and the result.
//!
//! This module knows the order of calls to the machines, and no mechanism.

use std::sync::Arc;

use proto_mail::sasl::{ClientExchange, ServerMechanism};
use proto_mail::token::AuthQuestion;
use proto_mail::{
    AuthVerdict, ChannelBinding, Cleartext, Credentials, Error, Mechanism, Mechanisms, RecvBuffer, Secure,
    SendBuffer, WaitFor,
};

/// The protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Imap,
    Smtp,
}

pub(crate) const BOTH: [Protocol; 2] = [Protocol::Imap, Protocol::Smtp];

/// How the client authenticates.
pub(crate) enum How {
    Own(Box<dyn ClientExchange>),
    Known(Mechanism, Credentials),
}

/// The result as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Accepted,
    /// Rejected, with the mechanism's reason, if it has one.
    Refused(Option<String>),
    /// The session is over.
    Failed(Error),
    /// The client sent nothing.
    NotBegun(Error),
}

/// The record of a login.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    /// The client's lines from AUTH or AUTHENTICATE on.
    pub(crate) client: Vec<String>,
    /// Everything that was not marked as secret, of both sides.
    pub(crate) shown: Vec<u8>,
    /// How often the server delayed an answer.
    pub(crate) delays: usize,
    pub(crate) end: Option<End>,
    /// The error of the server's machine.
    pub(crate) server_error: Option<Error>,
}

/// Takes the pending output, and appends to `shown` what is not secret.
fn take(tx: &mut SendBuffer, shown: &mut Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in tx.chunks() {
        bytes.extend_from_slice(chunk.bytes);
        if !chunk.secret {
            shown.extend_from_slice(chunk.bytes);
        }
    }
    tx.sent(bytes.len());
    bytes
}

fn secure(seed: u8) -> Secure {
    Secure::tls(ChannelBinding::TlsExporter([9; 32])).with_seed([seed; 32])
}

/// What the server sends before the client authenticates.
fn greeting(protocol: Protocol, offered: &str) -> Vec<String> {
    match protocol {
        Protocol::Imap => {
            let mechanisms: String = offered.split(' ').map(|name| format!(" AUTH={name}")).collect();
            vec![format!("* OK [CAPABILITY IMAP4rev1 SASL-IR LOGINDISABLED{mechanisms}] hello\r\n")]
        }
        Protocol::Smtp => vec!["220 hello\r\n".into(), format!("250-hello\r\n250 AUTH {offered}\r\n")],
    }
}

/// A client over TLS against these lines: each is sent after the client has sent something. `offered` are names of
/// mechanisms. In IMAP a line may begin with `TAG`, which stands for the tag.
pub(crate) fn scripted(protocol: Protocol, offered: &str, how: How, lines: &[&str]) -> Conversation {
    let said = greeting(protocol, offered);
    let lines = said.into_iter().chain(lines.iter().map(|line| (*line).to_owned()));
    client_against(&mut *secure_client(protocol), how, lines)
}

/// The same with this channel binding.
pub(crate) fn scripted_over(
    protocol: Protocol,
    binding: ChannelBinding,
    offered: &str,
    how: How,
) -> Conversation {
    let secure = Secure::tls(binding).with_seed([1; 32]);
    client_against(&mut *client_over(protocol, secure), how, greeting(protocol, offered).into_iter())
}

/// The same by PLAIN, and a second time if the server refused the initial response.
pub(crate) fn again(protocol: Protocol, how: impl Fn() -> How, lines: &[&str]) -> Conversation {
    let said = greeting(protocol, "PLAIN");
    let lines = said.into_iter().chain(lines.iter().map(|line| (*line).to_owned()));
    let mut client = secure_client(protocol);
    let mut client = Again { client: &mut *client, how: &how, more: true };
    client_against(&mut client, how(), lines)
}

/// A program that retries where that may help.
struct Again<'c, H> {
    client: &'c mut dyn TestClient,
    how: H,
    more: bool,
}

impl<H: Fn() -> How> TestClient for Again<'_, H> {
    fn turn(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Turn, Error> {
        let turn = self.client.turn(rx, tx)?;
        if matches!(turn, Turn::Ended(End::Refused(_)))
            && self.client.has_refused_initial_response()
            && std::mem::replace(&mut self.more, false)
        {
            self.client.begin((self.how)(), tx)?;
            return Ok(Turn::Waits);
        }
        Ok(turn)
    }

    fn begin(&mut self, how: How, tx: &mut SendBuffer) -> Result<(), Error> {
        self.client.begin(how, tx)
    }

    fn has_refused_initial_response(&self) -> bool {
        self.client.has_refused_initial_response()
    }
}

/// A client over TLS.
fn secure_client(protocol: Protocol) -> Box<dyn TestClient> {
    client_over(protocol, secure(1))
}

fn client_over(protocol: Protocol, secure: Secure) -> Box<dyn TestClient> {
    match protocol {
        Protocol::Imap => {
            let config = Arc::new(proto_imap::Config::default());
            let client = proto_imap::client::Client::<Secure>::new(config, secure);
            Box::new(Imap(client, |client, how, tx| match how {
                How::Own(exchange) => client.authenticate_with(exchange, tx).map(drop),
                How::Known(mechanism, credentials) => {
                    let method = proto_imap::client::LoginMethod::Mechanism(mechanism);
                    client.authenticate(method, &credentials, tx).map(drop)
                }
            }))
        }
        Protocol::Smtp => {
            let config = Arc::new(proto_smtp::Config::default());
            let client = proto_smtp::client::Client::<Secure>::new(config, secure);
            Box::new(Smtp(client, |client, how, tx| match how {
                How::Own(exchange) => client.authenticate_with(exchange, tx),
                How::Known(mechanism, credentials) => client.authenticate(mechanism, credentials, tx),
            }))
        }
    }
}

/// The same in cleartext, if the application has allowed it.
pub(crate) fn scripted_in_cleartext(
    protocol: Protocol,
    offered: &str,
    exchange: Box<dyn ClientExchange>,
    lines: &[&str],
) -> Conversation {
    let said = greeting(protocol, offered);
    let lines = said.into_iter().chain(lines.iter().map(|line| (*line).to_owned()));
    match protocol {
        Protocol::Imap => {
            let config = Arc::new(proto_imap::Config::default().danger_cleartext());
            let client = proto_imap::client::Client::<Cleartext>::new(config);
            client_against(
                &mut Imap(client, |client, how, tx| match how {
                    How::Own(exchange) => client.danger_cleartext_authenticate_with(exchange, tx).map(drop),
                    How::Known(..) => unreachable!("not asked for"),
                }),
                How::Own(exchange),
                lines,
            )
        }
        Protocol::Smtp => {
            let config = Arc::new(proto_smtp::Config::default().danger_cleartext());
            let client = proto_smtp::client::Client::<Cleartext>::new(config);
            client_against(
                &mut Smtp(client, |client, how, tx| match how {
                    How::Own(exchange) => client.danger_cleartext_authenticate_with(exchange, tx),
                    How::Known(..) => unreachable!("not asked for"),
                }),
                How::Own(exchange),
                lines,
            )
        }
    }
}

/// Both sides: a client over TLS, and a server with these mechanisms beside all built-in ones. `answer` is the
/// server's application.
pub(crate) fn joined(
    protocol: Protocol,
    how: How,
    others: &[Arc<dyn ServerMechanism>],
    answer: &dyn Fn(&AuthQuestion) -> AuthVerdict,
) -> Conversation {
    match protocol {
        Protocol::Imap => {
            let mut config = proto_imap::Config::default().offered_mechanisms(Mechanisms::all());
            for other in others {
                config = config.with_mechanism(Arc::clone(other));
            }
            let mut greeting = SendBuffer::new();
            let mut server =
                proto_imap::server::Server::<Secure>::new(Arc::new(config), secure(2), &mut greeting);
            let turn = |rx: &mut RecvBuffer, tx: &mut SendBuffer| {
                tx.put(&greeting.take());
                let mut delays = 0;
                loop {
                    while let Some(event) = server.next_event(rx, tx)? {
                        if let proto_imap::server::Event::Auth(request) = event {
                            let verdict = answer(request.question());
                            server.answer_auth(request, verdict, tx)?;
                        }
                    }
                    if server.wait().awaited != WaitFor::Delay {
                        return Ok(delays);
                    }
                    delays += 1;
                    server.timed_out(tx)?;
                }
            };
            client_with(&mut *secure_client(protocol), how, turn)
        }
        Protocol::Smtp => {
            let mut config = proto_smtp::Config::default().offered_mechanisms(Mechanisms::all());
            for other in others {
                config = config.with_mechanism(Arc::clone(other));
            }
            let mut server = None;
            let turn = |rx: &mut RecvBuffer, tx: &mut SendBuffer| {
                let mut delays = 0;
                let server = server.get_or_insert_with(|| {
                    proto_smtp::server::Server::<Secure>::new(config.clone(), secure(2), tx)
                });
                loop {
                    while let Some(event) = server.next_event(rx, tx)? {
                        if let proto_smtp::server::Event::Auth(request) = event {
                            let verdict = answer(request.question());
                            server.answer_auth(request, verdict, tx)?;
                        }
                    }
                    if server.wait().awaited != WaitFor::Delay {
                        return Ok(delays);
                    }
                    delays += 1;
                    server.timed_out(tx)?;
                }
            };
            client_with(&mut *secure_client(protocol), how, turn)
        }
    }
}

/// A client of either protocol, as far as it logs in.
trait TestClient {
    /// Whether a second attempt may help.
    fn has_refused_initial_response(&self) -> bool;
    /// Handles all pending events: whether the client may authenticate now, or how that ended.
    fn turn(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Turn, Error>;
    fn begin(&mut self, how: How, tx: &mut SendBuffer) -> Result<(), Error>;
}

enum Turn {
    Waits,
    Ready,
    Ended(End),
}

struct Imap<C: proto_mail::Channel>(
    proto_imap::client::Client<C>,
    fn(&mut proto_imap::client::Client<C>, How, &mut SendBuffer) -> Result<(), Error>,
);

impl<C: proto_mail::Channel> TestClient for Imap<C> {
    fn has_refused_initial_response(&self) -> bool {
        self.0.has_refused_initial_response()
    }

    fn turn(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Turn, Error> {
        use proto_imap::client::{AuthOutcome, Event};
        let mut turn = Turn::Waits;
        while let Some(event) = self.0.next_event(rx, tx)? {
            turn = match event {
                Event::Capabilities if matches!(turn, Turn::Waits) => Turn::Ready,
                Event::Auth(AuthOutcome::Accepted { .. }) => Turn::Ended(End::Accepted),
                Event::Auth(outcome) => Turn::Ended(End::Refused(outcome.reason().map(str::to_owned))),
                _ => turn,
            };
        }
        Ok(turn)
    }

    fn begin(&mut self, how: How, tx: &mut SendBuffer) -> Result<(), Error> {
        (self.1)(&mut self.0, how, tx)
    }
}

struct Smtp<C: proto_mail::Channel>(
    proto_smtp::client::Client<C>,
    fn(&mut proto_smtp::client::Client<C>, How, &mut SendBuffer) -> Result<(), Error>,
);

impl<C: proto_mail::Channel> TestClient for Smtp<C> {
    fn has_refused_initial_response(&self) -> bool {
        self.0.has_refused_initial_response()
    }

    fn turn(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Turn, Error> {
        use proto_smtp::client::{AuthOutcome, Event};
        let mut turn = Turn::Waits;
        while let Some(event) = self.0.next_event(rx, tx)? {
            turn = match event {
                Event::Capabilities(_) => Turn::Ready,
                Event::Auth(AuthOutcome::Accepted(_)) => Turn::Ended(End::Accepted),
                Event::Auth(AuthOutcome::Rejected(_) | AuthOutcome::Cancelled(_)) => {
                    Turn::Ended(End::Refused(None))
                }
                _ => turn,
            };
        }
        if let Turn::Ended(End::Refused(_)) = turn {
            turn = Turn::Ended(End::Refused(self.0.authentication_failure().map(str::to_owned)));
        }
        Ok(turn)
    }

    fn begin(&mut self, how: How, tx: &mut SendBuffer) -> Result<(), Error> {
        (self.1)(&mut self.0, how, tx)
    }
}

fn client_against(
    client: &mut dyn TestClient,
    how: How,
    lines: impl Iterator<Item = String>,
) -> Conversation {
    let mut lines = lines.peekable();
    let mut tag = String::from("M1");
    let turn = |rx: &mut RecvBuffer, tx: &mut SendBuffer| {
        let said = String::from_utf8_lossy(rx.bytes()).into_owned();
        rx.consume(said.len());
        if said.starts_with('M') {
            tag = said.split(' ').next().unwrap().to_owned();
        }
        if let Some(line) = lines.next() {
            tx.put(line.replace("TAG", &tag).as_bytes());
        }
        Ok(0)
    };
    client_with(client, how, turn)
}

fn client_with(
    client: &mut dyn TestClient,
    how: How,
    mut server: impl FnMut(&mut RecvBuffer, &mut SendBuffer) -> Result<usize, Error>,
) -> Conversation {
    let mut conversation = Conversation::default();
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let (mut server_rx, mut server_tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut how = Some(how);
    for _ in 0..400 {
        if conversation.server_error.is_none() {
            match server(&mut server_rx, &mut server_tx) {
                Ok(delays) => conversation.delays += delays,
                Err(error) => conversation.server_error = Some(error),
            }
        }
        rx.extend(&take(&mut server_tx, &mut conversation.shown));
        match client.turn(&mut rx, &mut tx) {
            Ok(Turn::Waits) => {}
            Ok(Turn::Ready) => {
                if let Some(how) = how.take()
                    && let Err(error) = client.begin(how, &mut tx)
                {
                    assert!(tx.is_empty(), "bytes were sent without an exchange");
                    conversation.end = Some(End::NotBegun(error));
                }
            }
            Ok(Turn::Ended(end)) => conversation.end = Some(end),
            Err(error) => conversation.end = Some(End::Failed(error)),
        }
        let said = take(&mut tx, &mut conversation.shown);
        let idle = said.is_empty() && rx.is_empty();
        if how.is_none() && !said.is_empty() {
            conversation.client.extend(String::from_utf8_lossy(&said).lines().map(str::to_owned));
        }
        server_rx.extend(&said);
        if conversation.end.is_some() || (idle && conversation.server_error.is_some()) {
            break;
        }
    }
    conversation
}
