//! One submission session (RFC 6409): who may send, to whom, and where the message goes.
//!
//! A message is spooled as it comes and acknowledged when it is durable. Its octets stay as they were sent; with
//! `--trace-fields`, Return-Path and Received are put in front of them (RFC 5321 §4.4).

use std::collections::BTreeSet;
use std::sync::Arc;

use io_mio::{Closed, Context, Handler, MachineMut, Next, SmtpServer};
use mailstore::{Delivery, Flags, InternalDate, MailboxId, Target};
use proto_core::{AuthRequest, AuthVerdict, Cleartext, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::server::{Event, Reply, Server};
use proto_smtp::types::{Code, Domain, EnhancedCode, ForwardPath, Mail, Rcpt, Response};

use super::Site;
use super::accounts::Recipient;
use super::imap::verification;
use super::spool::{Room, Spool, Writer};
use super::task::{self, Task};

type Machine = Server<Secure>;
type Turn<'t, 'c> = task::Turn<'t, 'c, Machine>;

/// A session of the server.
pub(super) struct Session {
    site: Arc<Site>,
    number: u64,
    /// What the client calls itself, if that is a name.
    client: Option<String>,
    transaction: Transaction,
    task: Option<Task<Self, Machine>>,
}

/// A message and where it goes.
#[derive(Default)]
struct Transaction {
    sender: String,
    inboxes: BTreeSet<MailboxId>,
    spool: Option<Spool>,
    room: Option<Room>,
    /// All octets came, and a worker is still writing.
    end: Option<Reply>,
}

/// The settings of the machine.
pub(super) fn config(site: &Site) -> Arc<Config> {
    let config =
        Config::default().limits(site.limits()).mechanisms(super::mechanisms()).require_authentication();
    Arc::new(match Domain::parse(&site.name) {
        Ok(name) => config.name(name.into_owned()),
        Err(_) => config,
    })
}

impl Session {
    pub(super) fn new(site: Arc<Site>) -> Self {
        let number = site.number();
        Self { site, number, client: None, transaction: Transaction::default(), task: None }
    }

    fn authenticate(&mut self, request: AuthRequest, turn: &mut Turn<'_, '_>) -> Next {
        let Some(job) = verification(Arc::clone(&self.site.store), &request) else {
            return go_on(turn.machine.verdict(request, AuthVerdict::Reject, turn.tx));
        };
        match self.site.gatekeepers.run(turn.cx.remote(), job) {
            Err(_) => go_on(turn.machine.verdict(request, AuthVerdict::Unavailable, turn.tx)),
            Ok(later) => {
                self.task =
                    Some(Task::job(later, |session: &mut Self, verified, turn: &mut Turn<'_, '_>| {
                        let verdict = match verified {
                            Ok(Some(_)) => AuthVerdict::Accept,
                            Ok(None) => AuthVerdict::Reject,
                            Err(_) => AuthVerdict::Unavailable,
                        };
                        tracing::info!(session = session.number, ?verdict, "smtp login");
                        go_on(turn.machine.verdict(request, verdict, turn.tx))
                    }));
                Next::Continue
            }
        }
    }

    fn mail(&mut self, mail: &Mail<'_>, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        self.transaction = Transaction { sender: mail.from.as_str().to_owned(), ..Transaction::default() };
        answer(reply, &Response::ok(), turn)
    }

    fn rcpt(&mut self, rcpt: &Rcpt<'_>, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let recipient = match &rcpt.to {
            ForwardPath::Postmaster => self.site.accounts.postmaster(),
            ForwardPath::Address(address) => {
                let local_part = address.unquoted_local_part();
                match self.site.accounts.recipient(&local_part, address.domain().as_str()) {
                    Recipient::Unknown if local_part.eq_ignore_ascii_case("postmaster") => {
                        self.site.accounts.postmaster()
                    }
                    recipient => recipient,
                }
            }
        };
        match recipient {
            Recipient::Inbox(inbox) => {
                self.transaction.inboxes.insert(inbox);
                answer(reply, &Response::ok(), turn)
            }
            Recipient::Unknown => answer(reply, &Response::no_such_mailbox(), turn),
            Recipient::Elsewhere => {
                let text = "This server keeps mail for its own accounts and relays none";
                answer(reply, &response(Code::MAILBOX_UNAVAILABLE, (5, 7, 1), text), turn)
            }
        }
    }

    fn data(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let mut spool = Spool::new();
        if self.site.trace_fields {
            let fields = self.trace_fields(turn.cx);
            spool.push(fields.as_bytes(), &self.writer(turn.cx));
        }
        self.transaction.spool = Some(spool);
        answer(reply, &Response::start_data(), turn)
    }

    fn chunk(&mut self, octets: &[u8], turn: &mut Turn<'_, '_>) -> Next {
        let writer =
            Writer { store: &self.site.store, workers: &self.site.workers, remote: turn.cx.remote() };
        let Some(spool) = &mut self.transaction.spool else { return Next::Close };
        self.transaction.room = Some(spool.push(octets, &writer));
        self.resting()
    }

    fn end(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let Some(spool) = &mut self.transaction.spool else {
            return answer(reply, &Response::try_again(), turn);
        };
        let size = spool.size();
        let Some(finish) = spool.finish() else {
            self.transaction.end = Some(reply);
            return Next::Continue;
        };
        let transaction = std::mem::take(&mut self.transaction);
        let internal_date = now();
        let targets: Vec<_> = transaction
            .inboxes
            .into_iter()
            .map(|mailbox| Target { mailbox, flags: Flags::new(), internal_date })
            .collect();
        let store = Arc::clone(&self.site.store);
        let Ok(later) = self.site.workers.run(turn.cx.remote(), move || finish(&*store)) else {
            return answer(reply, &Response::try_again(), turn);
        };
        self.task = Some(Task::job(later, move |session: &mut Self, upload, turn: &mut Turn<'_, '_>| {
            let upload = match upload {
                Ok(upload) => upload,
                Err(error) => return answer(reply, &refusal(&error), turn),
            };
            let recipients = targets.len();
            let delivery = Delivery { upload, targets };
            let Some(promise) = session.site.committer.commit(delivery, turn.cx.remote()) else {
                return answer(reply, &Response::try_again(), turn);
            };
            session.task =
                Some(Task::commit(promise, move |session: &mut Self, outcome, turn: &mut Turn<'_, '_>| {
                    match outcome {
                        Ok(_) => {
                            tracing::info!(session = session.number, size, recipients, "message taken");
                            answer(reply, &Response::ok(), turn)
                        }
                        Err(error) => answer(reply, &refusal(&error), turn),
                    }
                }));
            Next::Continue
        }));
        Next::Continue
    }

    fn writer(&self, cx: &Context<'_>) -> Writer<'_> {
        Writer { store: &self.site.store, workers: &self.site.workers, remote: cx.remote() }
    }

    /// What the driver should do while nothing new can be said.
    const fn resting(&self) -> Next {
        match (self.transaction.room, &self.transaction.end) {
            (Some(Room::Wait), None) => Next::Pause,
            _ => Next::Continue,
        }
    }

    /// `Return-Path` and `Received` (RFC 5321 §4.4, RFC 3848).
    fn trace_fields(&self, cx: &Context<'_>) -> String {
        let client = self.client.as_deref().unwrap_or("unknown");
        let address = match cx.peer().address.ip() {
            std::net::IpAddr::V4(address) => format!("[{address}]"),
            std::net::IpAddr::V6(address) => format!("[IPv6:{address}]"),
        };
        let date = jiff::Zoned::now().strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
        format!(
            "Return-Path: <{}>\r\nReceived: from {client} ({address})\r\n\tby {} (Mailwire) with ESMTPSA id {};\r\n\t{date}\r\n",
            self.transaction.sender, self.site.name, self.number
        )
    }
}

impl Handler<SmtpServer> for Session {
    fn cleartext(
        &mut self,
        event: Event<'_, Cleartext>,
        machine: &mut Server<Cleartext>,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match event {
            Event::StartTls(request) => Next::StartTls(request),
            Event::Closed => Next::Close,
            // The machine refuses mail on cleartext by itself.
            Event::Mail(_, reply)
            | Event::Rcpt(_, reply)
            | Event::Data(reply)
            | Event::DataEnd(reply)
            | Event::Vrfy(_, reply)
            | Event::Expn(_, reply) => {
                let response = response(Code::REQUIRED, (5, 7, 0), "Begin TLS first: STARTTLS");
                go_on(machine.reply(reply, &response, tx))
            }
            Event::Hello(..) | Event::DataChunk(_) | Event::Reset | Event::Refused(..) => Next::Continue,
        }
    }

    fn secure(
        &mut self,
        event: Event<'_, Secure>,
        machine: &mut Machine,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        let turn = &mut Turn { machine, tx, cx };
        match event {
            Event::Hello(_, name) => {
                self.client = name.domain().map(|domain| domain.as_str().to_owned());
                Next::Continue
            }
            Event::Auth(request) => self.authenticate(request, turn),
            Event::Mail(mail, reply) => self.mail(&mail, reply, turn),
            Event::Rcpt(rcpt, reply) => self.rcpt(&rcpt, reply, turn),
            Event::Data(reply) => self.data(reply, turn),
            Event::DataChunk(octets) => self.chunk(octets, turn),
            Event::DataEnd(reply) => self.end(reply, turn),
            // Whether an address is good is told to nobody who does not send to it.
            Event::Vrfy(_, reply) => {
                let text = "Cannot tell, but will take a message and try";
                answer(reply, &response(Code::CANNOT_VERIFY, (2, 5, 2), text), turn)
            }
            Event::Expn(_, reply) => {
                answer(reply, &response(Code::NOT_IMPLEMENTED, (5, 5, 1), "There are no lists here"), turn)
            }
            Event::Reset => {
                self.transaction = Transaction::default();
                Next::Continue
            }
            Event::Refused(..) => Next::Continue,
            Event::Closed => Next::Close,
        }
    }

    fn woken(
        &mut self,
        machine: MachineMut<'_, SmtpServer>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        let MachineMut::Secure(machine) = machine else { return Next::Continue };
        let turn = &mut Turn { machine, tx, cx };
        if let Some(task) = &mut self.task {
            let Some(then) = task.poll() else { return self.resting() };
            self.task = None;
            return then(self, turn);
        }
        let writer =
            Writer { store: &self.site.store, workers: &self.site.workers, remote: turn.cx.remote() };
        if let Some(spool) = &mut self.transaction.spool {
            self.transaction.room = Some(spool.woken(&writer));
        }
        match self.transaction.end.take() {
            Some(reply) => self.end(reply, turn),
            None => self.resting(),
        }
    }

    fn closed(&mut self, why: &Closed) {
        match why {
            Closed::Failed(error) => tracing::info!(session = self.number, %error, "smtp session failed"),
            _ => tracing::debug!(session = self.number, "smtp session over"),
        }
    }
}

fn answer(reply: Reply, response: &Response<'_>, turn: &mut Turn<'_, '_>) -> Next {
    go_on(turn.machine.reply(reply, response, turn.tx))
}

/// A machine refuses only what this file should not have asked for: the session is over then.
fn go_on(result: Result<(), proto_core::Error>) -> Next {
    match result {
        Ok(()) => Next::Continue,
        Err(error) => {
            tracing::warn!(%error, "an answer could not be given");
            Next::Close
        }
    }
}

fn response(code: Code, (class, subject, detail): (u8, u16, u16), text: &'static str) -> Response<'static> {
    let response = Response::new(code, text);
    match EnhancedCode::new(class, subject, detail) {
        Some(enhanced) => response.with_enhanced(enhanced),
        None => response,
    }
}

/// What a sender is told when the store did not take the message: try again, unless that can never help.
fn refusal(error: &mailstore::Error) -> Response<'static> {
    tracing::error!(%error, "a message was not taken");
    match error {
        mailstore::Error::Full => response(
            Code::INSUFFICIENT_STORAGE,
            (4, 3, 1),
            "There is no room for the message: try again later",
        ),
        mailstore::Error::NotFound(_) | mailstore::Error::NoSelect => Response::no_such_mailbox(),
        _ => Response::try_again(),
    }
}

fn now() -> InternalDate {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    InternalDate { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), offset_minutes: 0 }
}
