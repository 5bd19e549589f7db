//! A session of submission (RFC 6409) or LMTP (RFC 2033): checks senders and recipients, and stores messages.
//!
//! A message is spooled as it arrives, and acknowledged when it is durable. Its bytes are stored unchanged; with
//! `--trace-fields`, Return-Path and Received are prepended (RFC 5321 §4.4).

mod message;
mod replies;
mod transaction;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use io_common::{CloseReason, Context, Handler, MachineMut, Next, SmtpServer};
use mailstore::{AccountId, MailboxId};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthRequest, AuthVerdict, Cleartext, Limits, Secure, SendBuffer, StartTlsRequest};
use proto_smtp::server::{Event, Reply, Server};
use proto_smtp::types::{Code, Domain, ForwardPath, Mail, Rcpt, Response, Severity};
use proto_smtp::{Config, Dialect};

use super::failed_logins::LoginAttempt;
use super::faults::{Fault, FaultSampler, Stage};
use super::login::{self, LoginSession, SessionLabel};
use super::login_queue::LoginAnswer;
use super::pending_result::{self, PendingResult};
use super::recipients::{POSTMASTER, Recipient};
use super::server_context::ServerContext;
use replies::{injected, response, store_error};
use transaction::{AcceptedRecipient, Transaction, writer};

type Machine = Server<Secure>;
type Turn<'t, 'c> = pending_result::Turn<'t, 'c, Machine>;

/// The minimum error limit of an LMTP session: rejected commands since its last message.
const LMTP_ERRORS: u32 = 1_000;

/// An SMTP or LMTP session.
pub(super) struct Session {
    context: Arc<ServerContext>,
    number: u64,
    /// The authenticated account.
    account: Option<AccountId>,
    /// The client's name in EHLO, if it is a domain name.
    client: Option<String>,
    dialect: Dialect,
    transaction: Transaction,
    pending: Option<PendingResult<Self, Machine>>,
    /// The authentication in progress.
    attempt: Option<LoginAttempt>,
    /// The number of rejected commands since the last message.
    rejected: u32,
    /// The number of refused commands, and of refused recipients of a message, in the whole session.
    refusals: u32,
    /// The random numbers for this session's faults.
    random: fastrand::Rng,
    /// The injected delay of the next reply.
    delay: Option<Duration>,
    held: Option<(Instant, HeldReply)>,
}

/// Whether clients must log in before they send mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginPolicy {
    Required,
    Optional,
}

/// A delayed reply.
enum HeldReply {
    Reply(Reply, Response<'static>),
    /// LMTP's final replies: one for each recipient.
    Replies(Reply, Vec<Response<'static>>),
    Verdict(AuthRequest, AuthVerdict),
    StartTls(StartTlsRequest),
    /// The reply to EHLO, which the state machine sends by itself.
    Nothing,
}

impl HeldReply {
    /// Returns how many of its replies refuse something.
    fn refusals(&self) -> u32 {
        let refuses = |response: &&Response<'_>| {
            matches!(response.code().severity(), Severity::Transient | Severity::Permanent)
        };
        let refusals = match self {
            Self::Reply(_, response) => [response].into_iter().filter(|response| refuses(response)).count(),
            Self::Replies(_, responses) => responses.iter().filter(refuses).count(),
            Self::Verdict(_, AuthVerdict::Accept | AuthVerdict::Keys(_)) => 0,
            Self::Verdict(..) => 1,
            Self::StartTls(_) | Self::Nothing => 0,
        };
        u32::try_from(refusals).unwrap_or(u32::MAX)
    }
}

/// Returns the configuration of the state machine. LMTP clients are programs on this machine, and need not log in.
pub(super) fn config(
    context: &ServerContext,
    limits: &Limits,
    dialect: Dialect,
    login: LoginPolicy,
) -> Arc<Config> {
    let mechanisms = login::mechanisms(context);
    let mut config = Config::default().limits(limits.clone()).offered_mechanisms(mechanisms).dialect(dialect);
    if login == LoginPolicy::Optional {
        config = config.optional_authentication();
    }
    if let Some(delay) = context.faults.greeting_delay() {
        config.waits.greeting_delay = delay;
    }
    Arc::new(match Domain::parse(&context.name) {
        Ok(name) => config.name(name.into_owned()),
        Err(_) => config,
    })
}

impl Session {
    pub(super) fn new(context: Arc<ServerContext>, dialect: Dialect) -> Self {
        let number = context.number();
        Self {
            random: context.faults.session_rng(number),
            context,
            number,
            client: None,
            account: None,
            dialect,
            transaction: Transaction::default(),
            pending: None,
            attempt: None,
            rejected: 0,
            refusals: 0,
            delay: None,
            held: None,
        }
    }

    /// Draws the fault and the delay of a stage.
    fn fault(&mut self, stage: Stage, recipients: &[&str]) -> Option<Fault> {
        if self.context.faults.is_empty() {
            return None;
        }
        let (fault, delay) = self.draw(|sampler| (sampler.fault(stage, recipients), sampler.delay(stage)));
        self.delay = delay;
        if fault.is_some() {
            tracing::info!(session = self.number, ?stage, ?fault, "injected fault");
        }
        fault
    }

    fn draw<T>(&mut self, how: impl FnOnce(&mut FaultSampler<'_>) -> T) -> T {
        let mut sampler = self.context.faults.sampler(self.random.clone());
        let drawn = how(&mut sampler);
        self.random = sampler.into_random();
        drawn
    }

    /// Holds a reply if it is delayed; otherwise returns it.
    fn hold(&mut self, reply_to_send: HeldReply, cx: &mut Context<'_>) -> Option<HeldReply> {
        let Some(delay) = self.delay.take() else { return Some(reply_to_send) };
        self.held = Some((cx.now() + delay, reply_to_send));
        cx.wake_after(delay);
        None
    }

    /// Returns the number of refused commands, and of refused recipients of a message.
    pub(super) const fn refusals(&self) -> u32 {
        self.refusals
    }

    /// Sends a reply, now or after its delay.
    fn send_or_hold(&mut self, reply_to_send: HeldReply, turn: &mut Turn<'_, '_>) -> Next {
        self.refusals = self.refusals.saturating_add(reply_to_send.refusals());
        match self.hold(reply_to_send, turn.cx) {
            None => Next::Continue,
            Some(reply_to_send) => send_now(reply_to_send, turn),
        }
    }

    /// Sends a reply, or closes the session if too many commands were rejected.
    fn send(&mut self, reply: Reply, response: Response<'static>, turn: &mut Turn<'_, '_>) -> Next {
        let response = if response.code().severity() == Severity::Permanent && self.exceeds_error_limit() {
            too_many_rejected()
        } else {
            response
        };
        self.send_or_hold(HeldReply::Reply(reply, response), turn)
    }

    /// Counts a rejected command. An LMTP client sends mail of many senders, so that its limit is higher.
    fn exceeds_error_limit(&mut self) -> bool {
        self.rejected = self.rejected.saturating_add(1);
        let errors = self.context.limits().errors;
        self.rejected >= if self.dialect == Dialect::Lmtp { errors.max(LMTP_ERRORS) } else { errors }
    }

    fn verdict(&mut self, request: AuthRequest, verdict: AuthVerdict, turn: &mut Turn<'_, '_>) -> Next {
        self.send_or_hold(HeldReply::Verdict(request, verdict), turn)
    }

    /// Sends the reply of an injected fault. Returns the reply token if there is no fault.
    fn inject_fault(
        &mut self,
        stage: Stage,
        recipients: &[&str],
        reply: Reply,
        turn: &mut Turn<'_, '_>,
    ) -> Result<Next, Reply> {
        match self.fault(stage, recipients) {
            None => Err(reply),
            Some(Fault::Drop) => Ok(Next::Close),
            Some(Fault::Fail(code)) => Ok(self.send_or_hold(HeldReply::Reply(reply, injected(code)), turn)),
        }
    }

    fn authenticate(&mut self, request: AuthRequest, turn: &mut Turn<'_, '_>) -> Next {
        // A mechanism with two questions draws a fault only once, at the first.
        let is_first = !matches!(request.question(), AuthQuestion::Authorize { .. });
        match is_first.then(|| self.fault(Stage::Auth, &[])).flatten() {
            None => {}
            Some(Fault::Drop) => return Next::Close,
            Some(Fault::Fail(Code::CREDENTIALS)) => return self.verdict(request, AuthVerdict::Reject, turn),
            Some(Fault::Fail(_)) => return self.verdict(request, AuthVerdict::Unavailable, turn),
        }
        self.start_login(request, turn)
    }

    fn mail(&mut self, mail: &Mail<'_>, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let reply = match self.inject_fault(Stage::Mail, &[], reply, turn) {
            Ok(next) => return next,
            Err(reply) => reply,
        };
        let announced = mail.size.unwrap_or_default();
        self.transaction =
            Transaction { sender: mail.from.as_str().to_owned(), announced, ..Transaction::default() };
        self.send(reply, Response::ok(), turn)
    }

    fn rcpt(&mut self, rcpt: &Rcpt<'_>, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let address = rcpt.to.as_str();
        let reply = match self.inject_fault(Stage::Rcpt, &[address], reply, turn) {
            Ok(next) => return next,
            Err(reply) => reply,
        };
        let (local_part, domain) = match &rcpt.to {
            ForwardPath::Postmaster => (POSTMASTER.to_owned(), self.context.name.clone()),
            ForwardPath::Address(to) => {
                (to.unquoted_local_part().into_owned(), to.domain().as_str().to_owned())
            }
        };
        let address = address.to_owned();
        let known = self.context.recipients.recipient(&local_part, &domain);
        if matches!(known, Recipient::Inbox(_)) {
            return self.recipient(known, address, reply, turn);
        }
        let context = Arc::clone(&self.context);
        let job = move || context.recipients.look_up(&*context.store, &local_part, &domain);
        let group = pending_result::group(self.account, turn.cx);
        let Ok(later) = self.context.workers.run(group, turn.cx.session_handle(), job) else {
            return self.send(reply, Response::try_again(), turn);
        };
        self.pending = Some(PendingResult::job(
            later,
            |session: &mut Self, found, turn: &mut Turn<'_, '_>| match found {
                Ok(recipient) => session.recipient(recipient, address, reply, turn),
                Err(error) => {
                    tracing::error!(%error, "cannot look up a recipient");
                    session.send(reply, Response::try_again(), turn)
                }
            },
        ));
        Next::Continue
    }

    fn recipient(
        &mut self,
        recipient: Recipient,
        address: String,
        reply: Reply,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        match recipient {
            Recipient::Inbox(inbox) if self.context.checks_quota.load(Ordering::Relaxed) => {
                let (store, size) = (Arc::clone(&self.context.store), self.transaction.announced);
                let job = move || store.check_quota(inbox, size);
                let group = pending_result::group(self.account, turn.cx);
                let Ok(later) = self.context.workers.run(group, turn.cx.session_handle(), job) else {
                    return self.send(reply, Response::try_again(), turn);
                };
                self.pending = Some(PendingResult::job(
                    later,
                    move |session: &mut Self, checked, turn: &mut Turn<'_, '_>| match checked {
                        Ok(()) => session.accept(inbox, address, reply, turn),
                        Err(error) => session.send(reply, store_error(&error), turn),
                    },
                ));
                Next::Continue
            }
            Recipient::Inbox(inbox) => self.accept(inbox, address, reply, turn),
            Recipient::Unknown => self.send(reply, Response::no_such_mailbox(), turn),
            Recipient::NotLocal => {
                let text = "This server accepts mail for its own accounts only and does not relay";
                self.send(reply, response(Code::MAILBOX_UNAVAILABLE, (5, 7, 1), text), turn)
            }
        }
    }

    fn accept(&mut self, inbox: MailboxId, address: String, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        self.transaction.recipients.push(AcceptedRecipient { inbox, address });
        self.send(reply, Response::ok(), turn)
    }
}

impl LoginSession for Session {
    type Machine = Machine;

    fn attempt(&mut self) -> (&ServerContext, &mut Option<LoginAttempt>) {
        (&self.context, &mut self.attempt)
    }

    fn label(&self) -> SessionLabel {
        SessionLabel { protocol: "smtp", session: self.number }
    }

    fn wait_for_login(&mut self, pending: PendingResult<Self, Machine>) {
        self.pending = Some(pending);
    }

    fn answer_login(&mut self, request: AuthRequest, answer: LoginAnswer, turn: &mut Turn<'_, '_>) -> Next {
        let LoginAnswer { verdict, account } = answer;
        self.account = account;
        self.verdict(request, verdict, turn)
    }
}

impl Handler<SmtpServer> for Session {
    fn opened(
        &mut self,
        machine: MachineMut<'_, SmtpServer>,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match self.fault(Stage::Connect, &[]) {
            None => Next::Continue,
            Some(Fault::Drop) => Next::Close,
            Some(Fault::Fail(code)) => next_or_close(match machine {
                MachineMut::Cleartext(machine) => machine.reject_connection(&injected(code), tx),
                MachineMut::Secure(machine) => machine.reject_connection(&injected(code), tx),
            }),
        }
    }

    fn cleartext(
        &mut self,
        event: Event<'_, Cleartext>,
        machine: &mut Server<Cleartext>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        match event {
            Event::StartTls(request) => match self.fault(Stage::StartTls, &[]) {
                Some(Fault::Drop) => Next::Close,
                Some(Fault::Fail(_)) => next_or_close(machine.refuse_starttls(request, tx)),
                None => match self.hold(HeldReply::StartTls(request), cx) {
                    Some(HeldReply::StartTls(request)) => Next::StartTls(request),
                    _ => Next::Continue,
                },
            },
            Event::Hello(..) => match self.fault(Stage::Ehlo, &[]) {
                Some(Fault::Drop) => Next::Close,
                Some(Fault::Fail(code)) => next_or_close(machine.refuse_hello(&injected(code), tx)),
                None if self.hold(HeldReply::Nothing, cx).is_none() => Next::Pause,
                None => Next::Continue,
            },
            Event::Closed => Next::Close,
            // The state machine itself rejects mail before TLS.
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
            | Event::XForward(_, reply) => {
                let response = response(Code::REQUIRED, (5, 7, 0), "Must issue a STARTTLS command first");
                next_or_close(machine.reply(reply, &response, tx))
            }
            Event::DataChunk(_) | Event::Reset | Event::Refused(..) => Next::Continue,
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
                match self.fault(Stage::Ehlo, &[]) {
                    Some(Fault::Drop) => Next::Close,
                    Some(Fault::Fail(code)) => {
                        next_or_close(turn.machine.refuse_hello(&injected(code), turn.tx))
                    }
                    None if self.hold(HeldReply::Nothing, turn.cx).is_none() => Next::Pause,
                    None => Next::Continue,
                }
            }
            Event::Auth(request) => self.authenticate(request, turn),
            Event::Mail(mail, reply) => self.mail(&mail, reply, turn),
            Event::Rcpt(rcpt, reply) => self.rcpt(&rcpt, reply, turn),
            Event::Data(reply) => self.data(reply, turn),
            Event::DataChunk(bytes) => self.chunk(&bytes, turn),
            Event::DataEnd(reply) => self.end(reply, turn),
            // VRFY does not reveal which addresses exist.
            Event::Vrfy(_, reply) => {
                let text = "Cannot verify the address, but will accept a message and attempt delivery";
                self.send(reply, response(Code::CANNOT_VERIFY, (2, 5, 2), text), turn)
            }
            Event::Expn(_, reply) => self.send(
                reply,
                response(Code::NOT_IMPLEMENTED, (5, 5, 1), "This server has no mailing lists"),
                turn,
            ),
            Event::Help(_, reply) => self.send(reply, Response::help(), turn),
            // None of these extensions is offered.
            Event::Etrn(_, reply)
            | Event::Burl(_, _, reply)
            | Event::XClient(_, reply)
            | Event::XForward(_, reply) => self.send(reply, Response::not_implemented(), turn),
            Event::Reset => {
                self.transaction = Transaction::default();
                Next::Continue
            }
            Event::Refused(..) => {
                self.refusals = self.refusals.saturating_add(1);
                Next::Continue
            }
            Event::Closed => Next::Close,
        }
    }

    fn woken(
        &mut self,
        machine: MachineMut<'_, SmtpServer>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        if let Some((until, reply_to_send)) = self.held.take() {
            if cx.now() < until {
                self.held = Some((until, reply_to_send));
                return if matches!(self.held, Some((_, HeldReply::Nothing))) {
                    Next::Pause
                } else {
                    Next::Continue
                };
            }
            return match (reply_to_send, machine) {
                (HeldReply::Nothing, _) => Next::Continue,
                (HeldReply::StartTls(request), _) => Next::StartTls(request),
                (reply_to_send, MachineMut::Secure(machine)) => {
                    send_now(reply_to_send, &mut Turn { machine, tx, cx })
                }
                _ => Next::Close,
            };
        }
        let MachineMut::Secure(machine) = machine else { return Next::Continue };
        let turn = &mut Turn { machine, tx, cx };
        if let Some(pending) = &mut self.pending {
            let Some(then) = pending.poll() else { return self.next_while_waiting() };
            self.pending = None;
            return then(self, turn);
        }
        let writer = writer(&self.context, self.account, turn.cx);
        if let Some(spool) = &mut self.transaction.spool {
            self.transaction.readiness = Some(spool.resume(&writer));
        }
        match self.transaction.end.take() {
            Some(reply) => self.end(reply, turn),
            None => self.next_while_waiting(),
        }
    }

    fn closed(&mut self, why: &CloseReason) {
        let label = self.label();
        self.context.abandon_login(&mut self.attempt, label);
        match why {
            CloseReason::Failed(error) => {
                tracing::info!(session = self.number, %error, "smtp session failed")
            }
            _ => tracing::debug!(session = self.number, "smtp session ended"),
        }
    }
}

fn too_many_rejected() -> Response<'static> {
    response(Code::UNAVAILABLE, (4, 7, 0), "Too many rejected commands; closing the connection")
}

/// Sends a reply now.
fn send_now(reply_to_send: HeldReply, turn: &mut Turn<'_, '_>) -> Next {
    next_or_close(match reply_to_send {
        HeldReply::Reply(reply, response) => turn.machine.reply(reply, &response, turn.tx),
        HeldReply::Replies(reply, responses) => turn.machine.reply_each(reply, &responses, turn.tx),
        HeldReply::Verdict(request, verdict) => turn.machine.answer_auth(request, verdict, turn.tx),
        HeldReply::StartTls(_) | HeldReply::Nothing => Ok(()),
    })
}

/// Continues, or closes the session if the state machine rejected the call, which is a bug in this module.
fn next_or_close(result: Result<(), proto_mail::Error>) -> Next {
    match result {
        Ok(()) => Next::Continue,
        Err(error) => {
            tracing::warn!(%error, "cannot send a response");
            Next::Close
        }
    }
}
