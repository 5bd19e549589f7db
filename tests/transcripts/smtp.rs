//! The meaning of actions in SMTP and LMTP. A client's: `authenticate MECHANISM USER SECRET`, `message` (the
//! following lines), or any command as written. A server's: `accept`, `reject`, `unavailable`, a reply, or `each`
//! with a reply for each recipient in the following lines.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use io_mio::{SmtpClientProtocol, SmtpServer};
use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer,
    StartTlsRequest,
};
use proto_smtp::client::{self, Client};
use proto_smtp::server::{self, Reply, Server};
use proto_smtp::types::{
    Command, DateTime, Domain, Extension, ExtensionParameters, ExtensionSet, FutureRelease, Interval,
    PriorityProfile, Response, ServerLimits, Solicitation,
};
use proto_smtp::{Config, Dialect, InitialResponse, Waits};

use crate::role::{Asked, ClientMachine, ClientRole, Role, Seen, ServerMachine, ServerRole};
use crate::{Driver, Settings, Side, clients, servers};

/// The machine with bare buffers.
pub(crate) fn start(settings: &Settings, side: Side) -> Box<dyn Role> {
    let config = configuration(settings, side);
    match side {
        Side::Client => Box::new(ClientRole::<SmtpClientProtocol>::new(&config, settings.cleartext)),
        Side::Server => Box::new(ServerRole::<SmtpServer>::new(&config, settings.cleartext)),
    }
}

/// The machine on a driver.
pub(crate) fn start_on(driver: Driver, settings: &Settings, side: Side) -> Box<dyn Role> {
    let config = configuration(settings, side);
    match side {
        Side::Client => clients::start::<SmtpClientProtocol>(driver, config, settings.cleartext),
        Side::Server => servers::start::<SmtpServer>(driver, config, settings.cleartext),
    }
}

fn configuration(settings: &Settings, side: Side) -> Arc<Config> {
    let mut waits = Waits::default();
    waits.delay = Duration::ZERO;
    let name = match side {
        Side::Client => "client.example",
        Side::Server => "mx.example",
    };
    let mut config = Config::default()
        .waits(waits)
        .offered_mechanisms(proto_mail::Mechanisms::passing_credentials())
        .mechanisms(settings.mechanisms())
        .name(Domain::parse(name).unwrap().into_owned());
    if settings.lmtp {
        config = config.dialect(Dialect::Lmtp);
    }
    if !settings.require_authentication {
        config = config.optional_authentication();
    }
    if settings.no_initial_response {
        config = config.initial_response(InitialResponse::Never);
    }
    if settings.danger {
        config = config.danger_cleartext();
    }
    if let Some(names) = &settings.extensions {
        let extensions = names.iter().map(|name| Extension::from_keyword(name.as_bytes()).unwrap()).collect();
        config = config.extensions(extensions).extension_parameters(offers(extensions));
    }
    Arc::new(config)
}

/// What a server offers.
fn offers(extensions: ExtensionSet) -> ExtensionParameters {
    // The server also follows these if it does not offer them.
    let limits = match NonZeroU32::new(2) {
        Some(two) if extensions.contains(Extension::Limits) => {
            ServerLimits::NONE.with_mails(two).with_recipient_domains(two)
        }
        _ => ServerLimits::NONE,
    };
    ExtensionParameters::default()
        .limits(limits)
        .min_by_time(60)
        .future_release(FutureRelease {
            interval: Interval::new(86_400).unwrap(),
            until: DateTime::parse("2030-01-01T00:00:00Z").unwrap(),
        })
        .priority_profile(PriorityProfile::parse("MIXER").unwrap())
        .no_soliciting(Solicitation::parse("org.example:ADV").unwrap())
}

fn said(error: Error) -> String {
    format!("{error:?}")
}

impl ClientMachine for Client<Cleartext> {
    fn look(event: client::Event<'_>) -> Seen {
        Seen::Event(format!("{event:?}"))
    }

    fn act(&mut self, action: &str, more: &[&str], tx: &mut SendBuffer) -> Result<(), String> {
        act(self, action, more, tx)
    }
}

impl ClientMachine for Client<Secure> {
    fn look(event: client::Event<'_>) -> Seen {
        Seen::Event(format!("{event:?}"))
    }

    fn act(&mut self, action: &str, more: &[&str], tx: &mut SendBuffer) -> Result<(), String> {
        let words: Vec<&str> = action.splitn(4, ' ').collect();
        let ["authenticate", mechanism, user, secret] = words.as_slice() else {
            return act(self, action, more, tx);
        };
        let mechanism = Mechanism::from_name(mechanism.as_bytes()).ok_or("unknown mechanism")?;
        let credentials = match mechanism {
            Mechanism::XOAuth2 | Mechanism::OAuthBearer => Credentials::bearer(*user, *secret),
            _ => Credentials::password(*user, secret.as_bytes()),
        };
        self.authenticate(mechanism, credentials, tx).map_err(said)
    }
}

fn act<C: Channel>(
    client: &mut Client<C>,
    action: &str,
    more: &[&str],
    tx: &mut SendBuffer,
) -> Result<(), String> {
    if action == "message" {
        for line in more.iter().flat_map(|line| [line, "\r\n"]) {
            client.data_writer().and_then(|mut writer| writer.write(line.as_bytes(), tx)).map_err(said)?;
        }
        return client.data_writer().and_then(|writer| writer.finish(tx)).map_err(said);
    }
    let command = Command::parse(action.as_bytes()).map_err(|why| why.to_string())?;
    let done = match &command {
        Command::Mail(mail) => client.mail(mail, tx),
        Command::Rcpt(rcpt) => client.rcpt(rcpt, tx).map(drop),
        Command::Data => client.data(tx),
        Command::Bdat { size, end } => client.bdat(*size, *end, tx),
        Command::Rset => client.reset(tx),
        Command::Noop => client.noop(tx),
        Command::Help(topic) => client.help(topic, tx),
        Command::Vrfy(text) => client.vrfy(text, tx),
        Command::Expn(text) => client.expn(text, tx),
        Command::Quit => client.quit(tx),
        _ => return Err("the client says that by itself".into()),
    };
    done.map_err(said)
}

/// What an SMTP server's application must answer.
pub(crate) enum Token {
    Reply(Reply),
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
        reply(self, token, action, more, tx).map(|()| None)
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
        let verdict = match action {
            "accept" => AuthVerdict::Accept,
            "reject" => AuthVerdict::Reject,
            "unavailable" => AuthVerdict::Unavailable,
            _ => return reply(self, token, action, more, tx).map(|()| None),
        };
        let Some(Token::Auth(request)) = token else {
            return Err("no authentication request is pending".into());
        };
        self.answer_auth(request, verdict, tx).map(|()| None).map_err(said)
    }
}

fn look_at<C: Channel>(event: server::Event<'_, C>) -> (Seen, Option<Asked<Token>>) {
    use server::Event;
    let seen = match &event {
        Event::DataChunk(bytes) => return (Seen::Payload(bytes.to_vec()), None),
        Event::Mail(mail, _) => format!("Mail {}", mail.from),
        Event::Rcpt(rcpt, _) => format!("Rcpt {}", rcpt.to),
        Event::Data(_) => "Data".into(),
        Event::DataEnd(_) => "DataEnd".into(),
        event => format!("{event:?}"),
    };
    let token = match event {
        Event::Mail(_, reply)
        | Event::Rcpt(_, reply)
        | Event::Data(reply)
        | Event::DataEnd(reply)
        | Event::Vrfy(_, reply)
        | Event::Expn(_, reply)
        | Event::Help(_, reply)
        | Event::Etrn(_, reply)
        | Event::Burl(_, _, reply)
        | Event::XClient(_, reply)
        | Event::XForward(_, reply) => Some(Token::Reply(reply)),
        _ => None,
    };
    (Seen::Event(seen), token.map(Asked::Other))
}

fn reply<C: Channel>(
    server: &mut Server<C>,
    token: Option<Token>,
    action: &str,
    more: &[&str],
    tx: &mut SendBuffer,
) -> Result<(), String> {
    let Some(Token::Reply(reply)) = token else { return Err("no reply is due".into()) };
    if action == "each" {
        let lines: Vec<String> = more.iter().map(|line| format!("{line}\r\n")).collect();
        let each: Result<Vec<Response<'_>>, _> =
            lines.iter().map(|line| Response::parse(line.as_bytes())).collect();
        return server.reply_each(reply, &each.map_err(|why| why.to_string())?, tx).map_err(said);
    }
    let text: String = std::iter::once(&action).chain(more).flat_map(|line| [line, "\r\n"]).collect();
    let response = Response::parse(text.as_bytes()).map_err(|why| why.to_string())?;
    server.reply(reply, &response, tx).map_err(said)
}
