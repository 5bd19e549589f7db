//! A submission server with STARTTLS and AUTH on one thread, which collects mail in memory.

use std::sync::{Arc, Mutex};

use io_mio::{
    ConnectionLimits, Context, Deadlines, Error, Handler, ListenerTls, Next, Reactor, SmtpServer,
    TlsServerConfig,
};
use proto_mail::{AuthVerdict, Cleartext, Secure, SendBuffer};
use proto_smtp::server::{Event, Server};
use proto_smtp::{Config, types::Response};

/// The largest message, in bytes. The machine announces it and rejects what is larger.
const MAX_SIZE: u64 = 10 << 20;

pub(crate) type Inbox = Arc<Mutex<Vec<Vec<u8>>>>;

/// One session. Another one takes its place after STARTTLS, so that it never knows what was sent on cleartext.
pub(crate) struct Session {
    inbox: Inbox,
    message: Vec<u8>,
}

impl Handler<SmtpServer> for Session {
    fn cleartext(
        &mut self,
        event: Event<'_, Cleartext>,
        _server: &mut Server<Cleartext>,
        _tx: &mut SendBuffer,
        _cx: &mut Context<'_>,
    ) -> Next {
        match event {
            Event::StartTls(request) => Next::StartTls(request),
            Event::Closed => Next::Close,
            _ => Next::Continue, // Whatever needs an answer is answered with a temporary failure.
        }
    }

    fn secure(
        &mut self,
        event: Event<'_, Secure>,
        server: &mut Server<Secure>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        match self.answer(event, server, tx, cx) {
            Ok(next) => next,
            Err(_) => Next::Close,
        }
    }
}

impl Session {
    fn answer(
        &mut self,
        event: Event<'_, Secure>,
        server: &mut Server<Secure>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Result<Next, proto_mail::Error> {
        match event {
            Event::Auth(request) => {
                // A real server compares hashes.
                let verdict =
                    request.check_password(|user, password| user == "alice" && password == b"secret");
                if matches!(verdict, AuthVerdict::Accept) {
                    cx.logged_in();
                }
                server.answer_auth(request, verdict, tx)?;
            }
            Event::Mail(_, token) | Event::Rcpt(_, token) => server.reply(token, &Response::ok(), tx)?,
            Event::Data(token) => server.reply(token, &Response::start_data(), tx)?,
            Event::DataChunk(bytes) => self.message.extend_from_slice(&bytes),
            Event::DataEnd(token) => {
                let message = std::mem::take(&mut self.message);
                let Ok(mut inbox) = self.inbox.lock() else { return Ok(Next::Close) };
                inbox.push(message);
                server.reply(token, &Response::ok(), tx)?;
            }
            Event::Reset => self.message.clear(),
            Event::Closed => return Ok(Next::Close),
            _ => {}
        }
        Ok(Next::Continue)
    }
}

/// Listens on any free port and returns it.
pub(crate) fn listen(reactor: &mut Reactor, tls: ListenerTls, inbox: Inbox) -> Result<u16, Error> {
    let mut config = Config::default().require_authentication();
    config.limits.message = MAX_SIZE;
    let factory = move |_: &_| Session { inbox: inbox.clone(), message: Vec::new() };
    let (address, deadlines) = (([127, 0, 0, 1], 0).into(), Deadlines::default());
    Ok(reactor.listen::<SmtpServer, _>(address, tls, config.into(), deadlines, factory)?.port())
}

fn main() -> Result<(), Error> {
    let tls = ListenerTls::StartTls(TlsServerConfig::from_files("chain.pem", "key.pem")?);
    let mut reactor = Reactor::new(ConnectionLimits::default())?;
    println!("listening on port {}", listen(&mut reactor, tls, Inbox::default())?);
    reactor.run()
}
