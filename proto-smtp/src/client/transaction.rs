//! Sending one message, from MAIL to its last reply, with the outcome for every recipient.

use alloc::vec::Vec;

use proto_mail::{Channel, Error, Misuse, SendBuffer};

use super::content::Content;
use super::event::{Event, Step};
use super::machine::Client;
use crate::address::Address;
use crate::capabilities::Capabilities;
use crate::chunking::ChunkEnd;
use crate::config::Pipelining;
use crate::extension::Extension;
use crate::future_release::FutureRelease;
use crate::mail::Mail;
use crate::path::ReversePath;
use crate::rcpt::Rcpt;
use crate::response::Response;
use crate::server_limits::ServerLimits;
use crate::syntax::SyntaxError;

/// Sends one message and tracks the outcome for each recipient.
///
/// Pass it every event of the client after [`start`](Self::start), and report the loss of the connection with
/// [`lost`](Self::lost).
#[derive(Debug)]
pub struct Transaction {
    pub(super) mail: Mail<'static>,
    pub(super) recipients: Vec<Recipient>,
    stage: Stage,
    /// The recipients whose RCPT was given, in the order of the commands.
    given: Vec<usize>,
    /// The next recipient to name.
    next: usize,
    /// The number of replies to RCPT.
    answered: usize,
    /// DATA was given, pipelined or not.
    data_given: bool,
    sender_refused: bool,
    /// The size of the message in bytes, if it may be sent as one chunk.
    chunk: Option<u64>,
    /// What is known about the content.
    pub(super) content: Option<Content>,
}

/// A recipient and its outcome.
#[derive(Debug, Clone)]
pub struct Recipient {
    pub(super) rcpt: Rcpt<'static>,
    pub(super) outcome: Outcome,
    accepted: bool,
}

/// The outcome for a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// There is no outcome yet.
    Pending,
    /// The server has accepted the message for this recipient.
    Delivered(Response<'static>),
    /// The server has rejected it, at this step. A number in the step is that of the recipient in the transaction.
    ///
    /// A rejection in the middle of the message applies to all recipients, with the step [`Data`](Step::Data). The rest is
    /// not sent, and the session is closed.
    ///
    /// A server that closes the session sends 421 once, for all recipients. The step is then the one that the recipient
    /// had reached: [`Rcpt`](Step::Rcpt) before the reply to its command, [`Data`](Step::Data) if it was accepted and the
    /// message was not sent completely, [`Message`](Step::Message) if it was. After a message in LMTP, 421 is the reply for
    /// one recipient; the later ones are [`Uncertain`](Self::Uncertain).
    Refused(Step, Response<'static>),
    /// The complete message was sent and no reply was received: the server may have accepted it. Sending it again may
    /// deliver it twice.
    Uncertain,
    /// The message was not sent completely: the server cannot have accepted it.
    NotSent(NotSent),
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotSent {
    /// The message is larger than the limit of the server, in bytes.
    TooLarge(u64),
    /// The server does not offer an extension that the message needs.
    NotOffered(Extension),
    /// The requested delivery time is below the minimum of the server, in seconds (DELIVERBY, RFC 2852).
    TimeTooShort(u32),
    /// The server does not hold messages that long (FUTURERELEASE, RFC 4865).
    HeldTooLong(FutureRelease),
    /// The server rejects messages with one of the solicitation keywords (NO-SOLICITING, RFC 3865).
    Unwanted,
    /// The recipient exceeds the limits of one transaction (LIMITS, RFC 9422). [`Transaction::rest`] sends the message to
    /// it.
    LeftOver,
    /// The server accepts no more messages in this session (LIMITS, RFC 9422). Use another session.
    SessionUsedUp,
    /// The message holds a NUL, or a CR or LF that is not part of a CRLF (RFC 5321 §2.3.8).
    InvalidMessage,
    /// The connection was lost first.
    Lost,
}

/// What the application should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Continue with the next event.
    Continue,
    /// Write the message with [`Client::data_writer`], and finish it.
    SendData,
    /// Every recipient has its outcome.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Envelope,
    /// DATA was given, or the message is being written.
    Message,
    /// No recipient was accepted, but the server expects a message: an empty one ends it (RFC 2920 §3.1).
    Abandoned,
    Done,
}

impl Transaction {
    /// A message with this MAIL. Add recipients with [`recipient`](Self::recipient).
    #[must_use]
    pub const fn new(mail: Mail<'static>) -> Self {
        Self {
            mail,
            recipients: Vec::new(),
            stage: Stage::New,
            given: Vec::new(),
            next: 0,
            answered: 0,
            data_given: false,
            sender_refused: false,
            chunk: None,
            content: None,
        }
    }

    /// A message from `from` to the recipients `to`, without parameters. An empty `from` is the null reverse-path, `<>`.
    ///
    /// # Errors
    /// A text is no address.
    ///
    /// ```
    /// use proto_smtp::client::Transaction;
    ///
    /// let mail = Transaction::from_addresses("ann@example.com", ["bob@example.org", "eve@example.org"])?;
    /// assert_eq!(mail.recipients().len(), 2);
    /// # Ok::<(), proto_smtp::types::SyntaxError>(())
    /// ```
    pub fn from_addresses<'a>(
        from: &str,
        to: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, SyntaxError> {
        let from = match from {
            "" => ReversePath::Null,
            from => Address::parse(from)?.into_owned().into(),
        };
        to.into_iter().try_fold(Self::new(Mail::new(from)), |mail, to| {
            Ok(mail.recipient(Rcpt::new(Address::parse(to)?.into_owned())))
        })
    }

    /// Allows the message, which has exactly `bytes` bytes, to be sent as one chunk by BDAT (RFC 3030) if the server offers
    /// CHUNKING. It is sent unchanged then, without added dots. Otherwise it is sent by DATA, except a message of
    /// [`BinaryMime`](crate::types::BodyType::BinaryMime), which is sent by BDAT only.
    #[must_use]
    pub const fn in_one_chunk(mut self, bytes: u64) -> Self {
        self.chunk = Some(bytes);
        self
    }

    /// Sets what is known about the content. If the message needs less than its MAIL requests, and the server offers less,
    /// the request is reduced: a message of `BODY=8BITMIME` that is US-ASCII in lines is sent without 8BITMIME, one of
    /// [`BinaryMime`](crate::types::BodyType::BinaryMime) that is made of lines without BINARYMIME, one of SMTPUTF8 whose
    /// envelope and headers are US-ASCII without SMTPUTF8. Bytes above 127 are sent as 8BITMIME whatever MAIL says, or not
    /// at all. The content itself is never changed.
    #[must_use]
    pub const fn with_content(mut self, content: Content) -> Self {
        self.content = Some(content);
        self
    }

    /// Adds a recipient. They keep their order.
    #[must_use]
    pub fn recipient(mut self, rcpt: Rcpt<'static>) -> Self {
        self.recipients.push(Recipient { rcpt, outcome: Outcome::Pending, accepted: false });
        self
    }

    /// Returns the recipients, in their order.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Returns a transaction with the same message for the recipients that were [left over](NotSent::LeftOver). `None` if
    /// there are none. It may be started in the same session once this one is done.
    #[must_use]
    pub fn rest(&self) -> Option<Self> {
        let left = |one: &&Recipient| one.outcome == Outcome::NotSent(NotSent::LeftOver);
        let recipients: Vec<_> = self.recipients.iter().filter(left).map(|one| one.rcpt.clone()).collect();
        if recipients.is_empty() {
            return None;
        }
        let rest = Self { chunk: self.chunk, content: self.content, ..Self::new(self.mail.clone()) };
        Some(recipients.into_iter().fold(rest, Self::recipient))
    }

    /// Whether every recipient has its outcome.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Gives MAIL, and the commands that may be pipelined after it.
    ///
    /// A message that the server cannot accept (too large, or in need of an extension that is not offered) is not sent: its
    /// outcome is [`NotSent`]. Optional parameters of extensions that are not offered are left out.
    ///
    /// # Errors
    /// [`Misuse::InvalidMessage`] if the [content](Self::with_content) cannot be sent, and then nothing was sent; those of
    /// [`Client::mail`].
    pub fn start<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Progress, Error> {
        if self.stage != Stage::New {
            return Ok(self.progress());
        }
        if let Some(reason) = self.reason_not_to_send(client) {
            return Ok(self.conclude(&Outcome::NotSent(reason)));
        }
        if self.recipients.is_empty() {
            return Ok(self.conclude(&Outcome::Pending));
        }
        let endings = client.core.config.line_endings;
        if self.chunk_for(client).is_none()
            && self.content.is_some_and(|content| !content.is_writable_by_data(endings))
        {
            let _ = self.conclude(&Outcome::NotSent(NotSent::InvalidMessage));
            return Err(Misuse::InvalidMessage.into());
        }
        self.adapt(client);
        self.apply_limits(client.core.capabilities().map_or(ServerLimits::NONE, Capabilities::limits));
        if self.recipients.iter().all(|recipient| recipient.outcome != Outcome::Pending) {
            return Ok(self.finish());
        }
        if client.core.transactions.is_open {
            // An earlier transaction was left open, and must not affect this one.
            client.reset(tx)?;
            if !client.core.can_pipeline() {
                // MAIL follows the reply to RSET.
                self.stage = Stage::Envelope;
                return Ok(Progress::Continue);
            }
        }
        self.stage = Stage::Envelope;
        self.begin(client, tx)
    }

    /// Gives MAIL and the commands that are pipelined after it.
    fn begin<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<Progress, Error> {
        client.mail(&self.mail, tx)?;
        if client.core.can_pipeline() {
            while self.give_next(client, tx)? {}
            // A chunk is not pipelined: it would be sent in vain if every recipient is rejected.
            if client.core.config.pipelining == Pipelining::WithData && self.chunk_for(client).is_none() {
                client.data(tx)?;
                self.data_given = true;
            }
        }
        Ok(Progress::Continue)
    }

    /// Gives RCPT for the next recipient, if there is one.
    fn give_next<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<bool, Error> {
        while let Some(recipient) = self.recipients.get(self.next) {
            if recipient.outcome == Outcome::Pending {
                client.rcpt(&recipient.rcpt, tx)?;
                self.given.push(self.next);
                self.next += 1;
                return Ok(true);
            }
            self.next += 1;
        }
        Ok(false)
    }

    /// Processes an event of the client. Events of other commands are ignored.
    ///
    /// # Errors
    /// Those of [`Client::data`].
    pub fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Progress, Error> {
        if matches!(self.stage, Stage::New | Stage::Done) {
            return Ok(self.progress());
        }
        match event {
            Event::Accepted(Step::Reset, _) if self.given.is_empty() && client.is_idle() => {
                self.begin(client, tx)
            }
            Event::Accepted(Step::Mail, _) => self.envelope(client, tx),
            Event::Rejected(Step::Reset, response) => {
                // The earlier transaction may still be open.
                self.sender_refused = true;
                self.refuse_pending(Step::Reset, response);
                if self.given.is_empty() { Ok(self.finish()) } else { Ok(Progress::Continue) }
            }
            Event::Rejected(Step::Mail, response) => {
                self.sender_refused = true;
                self.refuse_pending(Step::Mail, response);
                self.envelope(client, tx)
            }
            Event::Accepted(Step::Rcpt(number), _) => {
                let number = self.named(*number);
                if let Some(recipient) = number.and_then(|number| self.recipients.get_mut(number)) {
                    recipient.accepted = recipient.outcome == Outcome::Pending;
                }
                self.answered += 1;
                self.envelope(client, tx)
            }
            Event::Rejected(Step::Rcpt(number), response) => {
                if let Some(number) = self.named(*number) {
                    self.refuse(number, Step::Rcpt(number), response);
                }
                self.answered += 1;
                self.envelope(client, tx)
            }
            Event::Rejected(Step::Verdict(number), response) => {
                if let Some(number) = self.named(*number) {
                    self.refuse(number, Step::Message(Some(number)), response);
                }
                Ok(Progress::Continue)
            }
            Event::SendData(_) => self.send_data(client, tx),
            Event::Rejected(step @ Step::Data, response) => {
                self.refuse_pending(*step, response);
                Ok(self.finish())
            }
            Event::Delivered(number, response) => {
                Ok(self.answer(*number, client, |_| Outcome::Delivered(response.clone().into_owned())))
            }
            Event::Rejected(Step::Message(number), response) => Ok(self.answer(*number, client, |number| {
                Outcome::Refused(Step::Message(number), response.clone().into_owned())
            })),
            Event::Closed(response) => Ok(self.closed(response.as_ref(), client, tx)),
            _ => Ok(Progress::Continue),
        }
    }

    /// Reports that the connection is lost. Recipients without an outcome get one.
    pub fn lost<C: Channel>(&mut self, client: &Client<C>, tx: &SendBuffer) -> Progress {
        let outcome = if client.is_message_sent(tx) {
            Outcome::Uncertain
        } else if client.core.failed_with(&Misuse::InvalidMessage.into()) {
            // The client ended the session, so that the server discards what it has received of the message.
            Outcome::NotSent(NotSent::InvalidMessage)
        } else {
            Outcome::NotSent(NotSent::Lost)
        };
        self.conclude(&outcome)
    }

    /// Continues with the envelope after a reply to one of its commands.
    fn envelope<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Progress, Error> {
        if self.answered < self.given.len() {
            return Ok(Progress::Continue);
        }
        if !self.sender_refused && self.give_next(client, tx)? {
            return Ok(Progress::Continue);
        }
        if self.data_given {
            // The reply to DATA is pending.
            self.stage = Stage::Message;
            return Ok(Progress::Continue);
        }
        if self.accepted() == 0 {
            return Ok(self.finish());
        }
        self.stage = Stage::Message;
        if let Some(size) = self.chunk_for(client) {
            client.bdat(size, ChunkEnd::Last, tx)?;
            return Ok(Progress::SendData);
        }
        client.data(tx)?;
        self.data_given = true;
        Ok(Progress::Continue)
    }

    /// Returns the size of the chunk, if the message is sent as one.
    pub(super) fn chunk_for<C: Channel>(&self, client: &Client<C>) -> Option<u64> {
        self.chunk.filter(|_| client.core.offers(Extension::Chunking))
    }

    fn send_data<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Progress, Error> {
        if self.accepted() > 0 {
            self.stage = Stage::Message;
            return Ok(Progress::SendData);
        }
        self.stage = Stage::Abandoned;
        client.data_writer()?.finish(tx)?;
        // LMTP has no reply if no recipient was accepted.
        if client.is_idle() { Ok(self.finish()) } else { Ok(Progress::Continue) }
    }

    /// Processes a reply to the message: for one recipient, or for all that were accepted.
    fn answer<C: Channel>(
        &mut self,
        number: Option<usize>,
        client: &Client<C>,
        outcome: impl Fn(Option<usize>) -> Outcome,
    ) -> Progress {
        if self.stage == Stage::Message {
            match number.map(|number| self.named(number)) {
                Some(Some(number)) => self.decide(number, || outcome(Some(number))),
                Some(None) => {}
                None => (0..self.recipients.len()).for_each(|number| self.decide(number, || outcome(None))),
            }
        }
        let more = matches!(client.core.replies.first(), Some(Step::Message(Some(_))));
        if more { Progress::Continue } else { self.finish() }
    }

    /// The server has closed the session, with a reply or without one.
    fn closed<C: Channel>(
        &mut self,
        response: Option<&Response<'_>>,
        client: &Client<C>,
        tx: &SendBuffer,
    ) -> Progress {
        let Some(response) = response else { return self.lost(client, tx) };
        let sent = client.is_message_sent(tx);
        // In LMTP the reply is for one recipient; the message may have been accepted for the next one.
        let one = match client.core.replies.first() {
            Some(Step::Message(Some(number))) if sent => self.named(number),
            _ => None,
        };
        if let Some(number) = one {
            self.refuse(number, Step::Message(one), response);
            return self.lost(client, tx);
        }
        for number in 0..self.recipients.len() {
            let accepted = self.recipients.get(number).is_some_and(|recipient| recipient.accepted);
            let step = match (accepted, sent) {
                (false, _) => Step::Rcpt(number),
                (true, true) => Step::Message(None),
                (true, false) => Step::Data,
            };
            self.refuse(number, step, response);
        }
        self.finish()
    }

    /// Returns the recipient that an event names by the number of its RCPT.
    fn named(&self, number: usize) -> Option<usize> {
        self.given.get(number).copied()
    }

    fn accepted(&self) -> usize {
        self.recipients.iter().filter(|recipient| recipient.accepted).count()
    }

    fn decide(&mut self, number: usize, outcome: impl Fn() -> Outcome) {
        if let Some(recipient) = self.recipients.get_mut(number)
            && recipient.outcome == Outcome::Pending
        {
            recipient.outcome = outcome();
        }
    }

    fn refuse(&mut self, number: usize, step: Step, response: &Response<'_>) {
        self.decide(number, || Outcome::Refused(step, response.clone().into_owned()));
    }

    fn refuse_pending(&mut self, step: Step, response: &Response<'_>) {
        (0..self.recipients.len()).for_each(|number| self.refuse(number, step, response));
    }

    /// Gives this outcome to every recipient that has none.
    fn conclude(&mut self, outcome: &Outcome) -> Progress {
        for number in 0..self.recipients.len() {
            self.decide(number, || outcome.clone());
        }
        self.finish()
    }

    fn finish(&mut self) -> Progress {
        self.stage = Stage::Done;
        Progress::Done
    }

    fn progress(&self) -> Progress {
        if self.stage == Stage::Done { Progress::Done } else { Progress::Continue }
    }
}

impl Recipient {
    /// Returns the recipient.
    #[must_use]
    pub const fn rcpt(&self) -> &Rcpt<'static> {
        &self.rcpt
    }

    /// Whether the server has accepted the RCPT. The message may still be rejected.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Returns the outcome.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

impl Outcome {
    /// Whether a later attempt may succeed. False for [`Uncertain`](Self::Uncertain): the message may have been delivered.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(_, response) => response.is_transient(),
            Self::NotSent(NotSent::Lost | NotSent::LeftOver | NotSent::SessionUsedUp) => true,
            Self::Pending | Self::Delivered(_) | Self::Uncertain | Self::NotSent(_) => false,
        }
    }
}
