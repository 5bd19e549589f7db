//! The meaning of actions in IMAP. A client's: `login USER PASSWORD` (by the strongest mechanism), `authenticate
//! MECHANISM USER SECRET`, `append MAILBOX SIZE`, `message` (the following lines), `idle`, `done`, `logout`, or any
//! command as written. A server's: `accept`, `reject`, `unavailable`, a status to reply with, or an untagged response
//! with its asterisk.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use io_mio::{ImapClientProtocol, ImapServer};
use proto_imap::client::{self, Client, LoginMethod};
use proto_imap::parse::{self, Context};
use proto_imap::server::{self, LiteralOffer, Reply, Server};
use proto_imap::types::AppendCommand;
use proto_imap::types::{MailboxName, Response, StatusResponse, Untagged};
use proto_imap::{Config, SaslIr, Waits};
use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer,
    StartTlsRequest,
};

use crate::role::{Asked, ClientMachine, ClientRole, Role, Seen, ServerMachine, ServerRole};
use crate::{Driver, Settings, Side, clients, servers};

/// The machine with bare buffers.
pub(crate) fn start(settings: &Settings, side: Side) -> Box<dyn Role> {
    let config = configuration(settings);
    match side {
        Side::Client => Box::new(ClientRole::<ImapClientProtocol>::new(&config, settings.cleartext)),
        Side::Server => Box::new(ServerRole::<ImapServer>::new(&config, settings.cleartext)),
    }
}

/// The machine on a driver.
pub(crate) fn start_on(driver: Driver, settings: &Settings, side: Side) -> Box<dyn Role> {
    let config = configuration(settings);
    match side {
        Side::Client => clients::start::<ImapClientProtocol>(driver, config, settings.cleartext),
        Side::Server => servers::start::<ImapServer>(driver, config, settings.cleartext),
    }
}

fn configuration(settings: &Settings) -> Arc<Config> {
    let mut waits = Waits::default();
    waits.delay = Duration::ZERO;
    let mut config = Config::default()
        .waits(waits)
        .offered_mechanisms(proto_mail::Mechanisms::passing_credentials())
        .mechanisms(settings.mechanisms())
        .extensions(["CHILDREN", "ID", "MOVE", "NAMESPACE", "SPECIAL-USE", "UIDPLUS", "UNSELECT"])
        .enableable(["IMAP4rev2"]);
    if settings.no_initial_response {
        config = config.sasl_ir(SaslIr::Never);
    }
    if settings.danger {
        config = config.danger_cleartext();
    }
    Arc::new(config)
}

fn said(error: Error) -> String {
    format!("{error:?}")
}

impl ClientMachine for Client<Cleartext> {
    fn look(event: client::Event<'_>) -> Seen {
        look(event)
    }

    fn act(&mut self, action: &str, more: &[&str], tx: &mut SendBuffer) -> Result<(), String> {
        act(self, action, more, tx)
    }
}

impl ClientMachine for Client<Secure> {
    fn look(event: client::Event<'_>) -> Seen {
        look(event)
    }

    fn act(&mut self, action: &str, more: &[&str], tx: &mut SendBuffer) -> Result<(), String> {
        let words: Vec<&str> = action.splitn(4, ' ').collect();
        let (choice, credentials) = match words.as_slice() {
            ["login", user, password @ ..] => {
                let password = password.join(" ");
                (LoginMethod::Strongest, Credentials::password(*user, password.into_bytes()))
            }
            ["authenticate", mechanism, user, secret] => {
                let mechanism = Mechanism::from_name(mechanism.as_bytes()).ok_or("unknown mechanism")?;
                let credentials = match mechanism {
                    Mechanism::XOAuth2 | Mechanism::OAuthBearer => Credentials::bearer(*user, *secret),
                    _ => Credentials::password(*user, secret.as_bytes()),
                };
                (LoginMethod::Mechanism(mechanism), credentials)
            }
            _ => return act(self, action, more, tx),
        };
        self.authenticate(choice, &credentials, tx).map(drop).map_err(said)
    }
}

fn look(event: client::Event<'_>) -> Seen {
    match event {
        client::Event::BodyChunk(bytes) => Seen::Payload(bytes.to_vec()),
        event => Seen::Event(format!("{event:?}")),
    }
}

fn act<C: Channel>(
    client: &mut Client<C>,
    action: &str,
    more: &[&str],
    tx: &mut SendBuffer,
) -> Result<(), String> {
    let done = match action.split(' ').collect::<Vec<_>>().as_slice() {
        ["idle"] => client.idle(tx).map(drop),
        ["done"] => client.done(tx),
        ["logout"] => client.logout(tx).map(drop),
        ["append", mailbox, size] => {
            let append = AppendCommand::new(MailboxName::new(mailbox));
            client.append(&append, size.parse().map_err(|_| "the size is no number")?, tx).map(drop)
        }
        ["message"] => {
            let message: String = more.iter().flat_map(|line| [line, "\r\n"]).collect();
            client.write_payload(Bytes::from(message), tx).map(drop)
        }
        _ => {
            let frame = format!("t {action}\r\n");
            let context = Context::strict();
            let (_, command) = parse::command(frame.as_bytes(), &context).map_err(|why| why.to_string())?;
            client.send(&command, tx).map(drop)
        }
    };
    done.map_err(said)
}

/// What an IMAP server's application must answer.
pub(crate) enum Token {
    Reply(Reply),
    Literal(LiteralOffer),
    Auth(AuthRequest),
}

impl ServerMachine for Server<Cleartext> {
    type Token = Token;

    fn look(event: server::Event<'_, Cleartext>) -> (Seen, Option<Asked<Token>>) {
        match event {
            server::Event::StartTls(request) => {
                (Seen::Event("StartTls".into()), Some(Asked::StartTls(request)))
            }
            event => look_at(event),
        }
    }

    fn answer(
        &mut self,
        token: Option<Token>,
        action: &str,
        more: &[&str],
        tx: &mut SendBuffer,
    ) -> Result<Option<Token>, String> {
        answer(self, token, action, more, tx)
    }

    fn refuse(&mut self, request: StartTlsRequest, tx: &mut SendBuffer) -> Result<(), String> {
        Self::refuse_starttls(self, request, tx).map_err(said)
    }
}

impl ServerMachine for Server<Secure> {
    type Token = Token;

    fn look(event: server::Event<'_, Secure>) -> (Seen, Option<Asked<Token>>) {
        match event {
            server::Event::Auth(request) => {
                let seen = format!("Auth {}", request.mechanism());
                (Seen::Event(seen), Some(Asked::Other(Token::Auth(request))))
            }
            event => look_at(event),
        }
    }

    fn answer(
        &mut self,
        token: Option<Token>,
        action: &str,
        more: &[&str],
        tx: &mut SendBuffer,
    ) -> Result<Option<Token>, String> {
        match (token, verdict(action)) {
            (Some(Token::Auth(request)), Some(verdict)) => {
                self.answer_auth(request, verdict, tx).map(|()| None).map_err(said)
            }
            (token, _) => answer(self, token, action, more, tx),
        }
    }
}

fn look_at<C: Channel>(event: server::Event<'_, C>) -> (Seen, Option<Asked<Token>>) {
    use server::Event;
    let seen = match &event {
        Event::AppendChunk(bytes) => return (Seen::Payload(bytes.to_vec()), None),
        Event::Command(command, _) => format!("{command:?}"),
        Event::AppendEnd(_) => "AppendEnd".into(),
        Event::Idle(_) => "Idle".into(),
        event => format!("{event:?}"),
    };
    let token = match event {
        Event::Command(_, reply) | Event::AppendEnd(reply) | Event::Idle(reply) => Some(Token::Reply(reply)),
        Event::Append { offer, .. } => Some(Token::Literal(offer)),
        _ => None,
    };
    (Seen::Event(seen), token.map(Asked::Other))
}

fn answer<C: Channel>(
    server: &mut Server<C>,
    token: Option<Token>,
    action: &str,
    more: &[&str],
    tx: &mut SendBuffer,
) -> Result<Option<Token>, String> {
    match (token, action) {
        (Some(Token::Literal(offer)), "accept") => {
            server.accept_literal(offer, tx).map(|()| None).map_err(said)
        }
        (token, _) => speak(server, token, action, more, tx),
    }
}

fn verdict(action: &str) -> Option<AuthVerdict> {
    match action {
        "accept" => Some(AuthVerdict::Accept),
        "reject" => Some(AuthVerdict::Reject),
        "unavailable" => Some(AuthVerdict::Unavailable),
        _ => None,
    }
}

/// An untagged response, or the status that completes a command.
fn speak<C: Channel>(
    server: &mut Server<C>,
    token: Option<Token>,
    action: &str,
    more: &[&str],
    tx: &mut SendBuffer,
) -> Result<Option<Token>, String> {
    let mut text = action.strip_prefix("* ").unwrap_or(action).to_owned();
    for line in more {
        text.push_str("\r\n");
        text.push_str(line);
    }
    let frame = format!("* {text}\r\n");
    let context = Context::strict();
    let response = parse::response(frame.as_bytes(), &context);
    let Response::Untagged(data) = response else { return Err(format!("{response:?}")) };
    if action.starts_with("* ") {
        return server.data(&data, tx).map(|()| token).map_err(said);
    }
    let Untagged::Status(status) = data else { return Err(format!("no status: {data:?}")) };
    reply(server, token, &status, tx).map(|()| None)
}

fn reply<C: Channel>(
    server: &mut Server<C>,
    token: Option<Token>,
    status: &StatusResponse<'_>,
    tx: &mut SendBuffer,
) -> Result<(), String> {
    match token {
        Some(Token::Reply(reply)) => server.reply(reply, status, tx).map_err(said),
        Some(Token::Literal(offer)) => server.reject_literal(offer, status, tx).map_err(said),
        Some(Token::Auth(_)) => Err("a verdict is due".into()),
        None => Err("nothing is to be answered".into()),
    }
}
