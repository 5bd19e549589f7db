//! The sessions of a server that receives whole messages.

use std::{
    fmt,
    sync::{Arc, PoisonError},
};

use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, Secure, SendBuffer, token::AuthQuestion,
};
use proto_smtp::{
    server::{Event, Reply, Server},
    types::{Code, EnhancedCode, Mail, Rcpt, Response},
};

use super::{
    memory_budget::{MemoryBudget, Reservation},
    policy::MailPolicy,
    received_mail::{PendingReply, ReceivedMail, ReplySlot},
};
use crate::{
    protocol::{MachineMut, SmtpServer},
    server::{Context, Handler, Next},
    workers::{JobGroup, JobHandle, WorkerLimits, Workers},
};

/// Runs the sessions of a server that receives whole messages, on any driver.
#[derive(Clone)]
pub struct MailReceiver {
    shared: Arc<Shared>,
}

struct Shared {
    policy: MailPolicy,
    /// The threads that check passwords, if there are any to check.
    workers: Option<Workers>,
    memory: Arc<MemoryBudget>,
    deliver: Box<dyn Fn(ReceivedMail) + Send + Sync>,
}

impl MailReceiver {
    /// Creates a receiver that passes each complete message to `deliver`. `deliver` runs on the thread of the sessions, so it
    /// must not block: it puts the message into a queue, for example. A session has one message in it at most, so the queue
    /// needs no limit of its own.
    ///
    /// # Errors
    /// The operating system provides no thread to check passwords.
    pub fn new(
        policy: MailPolicy,
        deliver: impl Fn(ReceivedMail) + Send + Sync + 'static,
    ) -> Result<Self, crate::Error> {
        let workers = policy.password.as_ref().map(|_| Workers::new(WorkerLimits::default())).transpose()?;
        let memory = MemoryBudget::new(policy.memory);
        Ok(Self { shared: Arc::new(Shared { policy, workers, memory, deliver: Box::new(deliver) }) })
    }

    /// Makes the handler of a session.
    #[must_use]
    pub fn handler(&self) -> MailHandler {
        let memory = Reservation::empty(self.shared.memory.clone());
        MailHandler {
            shared: self.shared.clone(),
            user: None,
            envelope: None,
            message: Vec::new(),
            memory,
            is_full: false,
            pending: None,
        }
    }
}

impl fmt::Debug for MailReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailReceiver").field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}

/// One session of a [`MailReceiver`].
pub struct MailHandler {
    shared: Arc<Shared>,
    user: Option<String>,
    envelope: Option<(Mail<'static>, Vec<Rcpt<'static>>)>,
    message: Vec<u8>,
    memory: Reservation,
    /// Whether the message did not fit into the memory.
    is_full: bool,
    pending: Option<Pending>,
}

/// What the session waits for.
enum Pending {
    Login(JobHandle<(AuthRequest, AuthVerdict)>),
    Message(Reply, ReplySlot),
}

impl MailHandler {
    fn event<C: Channel>(
        &mut self,
        event: Event<'_, C>,
        server: &mut Server<C>,
        tx: &mut SendBuffer,
        cx: &Context<'_>,
    ) -> Result<Next, Error> {
        match event {
            Event::Mail(mail, token) => {
                let response = self.begin(mail.into_owned());
                server.reply(token, &response, tx)?;
            }
            Event::Rcpt(rcpt, token) => {
                let response = self.add_recipient(rcpt.into_owned());
                server.reply(token, &response, tx)?;
            }
            Event::Data(token) => server.reply(token, &Response::start_data(), tx)?,
            Event::DataChunk(bytes) => self.add(&bytes),
            Event::DataEnd(token) if self.is_full => {
                self.reset();
                server.reply(token, &out_of_memory(), tx)?;
            }
            Event::DataEnd(token) => return Ok(self.deliver(token, cx)),
            Event::Help(_, token) => server.reply(token, &Response::help(), tx)?,
            Event::Hello(..) | Event::Reset => self.reset(),
            Event::Closed => return Ok(Next::Close),
            // Nothing else is offered; what needs an answer is answered with a temporary failure.
            _ => {}
        }
        Ok(Next::Continue)
    }

    fn reset(&mut self) {
        (self.envelope, self.message, self.is_full) = (None, Vec::new(), false);
        self.memory.clear();
    }

    fn begin(&mut self, mail: Mail<'static>) -> Response<'static> {
        self.reset();
        let is_allowed = &self.shared.policy.sender;
        if is_allowed.as_ref().is_some_and(|is_allowed| !is_allowed(self.user.as_deref(), mail.from.as_str()))
        {
            return Response::new(Code::MAILBOX_NAME, "You may not send mail from this address");
        }
        self.envelope = Some((mail, Vec::new()));
        Response::ok()
    }

    fn add_recipient(&mut self, rcpt: Rcpt<'static>) -> Response<'static> {
        let is_known = &self.shared.policy.recipient;
        if is_known.as_ref().is_some_and(|is_known| !is_known(rcpt.to.as_str())) {
            return Response::no_such_mailbox();
        }
        let Some((_, recipients)) = &mut self.envelope else { return Response::try_again() };
        recipients.push(rcpt);
        Response::ok()
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.is_full || !self.memory.grow(bytes.len()) {
            (self.message, self.is_full) = (Vec::new(), true);
            self.memory.clear();
            return;
        }
        self.message.extend_from_slice(bytes);
    }

    /// Passes the complete message to the program, and waits for its answer.
    fn deliver(&mut self, token: Reply, cx: &Context<'_>) -> Next {
        // A dropped token is answered with a temporary failure.
        let Some(envelope) = self.envelope.take() else { return Next::Continue };
        let empty = Reservation::empty(self.shared.memory.clone());
        let memory = std::mem::replace(&mut self.memory, empty);
        let (reply, slot) = PendingReply::new(cx.session_handle(), memory);
        let origin = (self.user.clone(), cx.peer().clone());
        let mail = ReceivedMail::new(origin, envelope, std::mem::take(&mut self.message), reply);
        self.pending = Some(Pending::Message(token, slot));
        (self.shared.deliver)(mail);
        Next::Pause
    }

    /// Has a worker check the password.
    fn log_in(&mut self, request: AuthRequest, cx: &Context<'_>) -> Next {
        // A dropped request is answered with a temporary failure.
        let (Some(is_correct), Some(workers)) = (self.shared.policy.password.clone(), &self.shared.workers)
        else {
            return Next::Continue;
        };
        let group = JobGroup::address(cx.peer().address.ip());
        let check = move || {
            let verdict = request.check_password(|user, password| is_correct(user, password));
            (request, verdict)
        };
        match workers.run(group, cx.session_handle(), check) {
            Ok(job) => {
                self.pending = Some(Pending::Login(job));
                Next::Pause
            }
            Err(_) => Next::Continue,
        }
    }

    /// Gives the answer that the session has waited for, if it is there.
    fn answer(
        &mut self,
        machine: MachineMut<'_, SmtpServer>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Result<Next, Error> {
        match (self.pending.take(), machine) {
            (None, _) => {}
            (Some(Pending::Message(token, slot)), machine) => {
                let Some(response) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() else {
                    self.pending = Some(Pending::Message(token, slot));
                    return Ok(Next::Pause);
                };
                match machine {
                    MachineMut::Cleartext(server) => server.reply(token, &response, tx)?,
                    MachineMut::Secure(server) => server.reply(token, &response, tx)?,
                }
            }
            (Some(Pending::Login(mut job)), MachineMut::Secure(server)) => match job.take() {
                None => {
                    self.pending = Some(Pending::Login(job));
                    return Ok(Next::Pause);
                }
                Some(Ok((request, verdict))) => {
                    if let (AuthVerdict::Accept, AuthQuestion::Verify(credentials)) =
                        (&verdict, request.question())
                    {
                        self.user = Some(credentials.username().to_owned());
                        cx.logged_in();
                    }
                    server.answer_auth(request, verdict, tx)?;
                }
                // The check panicked, and its request was answered with a temporary failure.
                Some(Err(_)) => {}
            },
            (Some(Pending::Login(_)), MachineMut::Cleartext(_)) => {}
        }
        Ok(Next::Continue)
    }
}

impl Handler<SmtpServer> for MailHandler {
    fn cleartext(
        &mut self,
        event: Event<'_, Cleartext>,
        server: &mut Server<Cleartext>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        match event {
            Event::StartTls(request) => Next::StartTls(request),
            event => self.event(event, server, tx, cx).unwrap_or(Next::Close),
        }
    }

    fn secure(
        &mut self,
        event: Event<'_, Secure>,
        server: &mut Server<Secure>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        match event {
            Event::Auth(request) => self.log_in(request, cx),
            event => self.event(event, server, tx, cx).unwrap_or(Next::Close),
        }
    }

    fn woken(
        &mut self,
        machine: MachineMut<'_, SmtpServer>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        self.answer(machine, tx, cx).unwrap_or(Next::Close)
    }
}

impl fmt::Debug for MailHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailHandler").field("is_full", &self.is_full).finish_non_exhaustive()
    }
}

fn out_of_memory() -> Response<'static> {
    let response = Response::new(Code::INSUFFICIENT_STORAGE, "Too much mail is waiting, try again later");
    match EnhancedCode::new(4, 3, 1) {
        Some(code) => response.with_enhanced(code),
        None => response,
    }
}
