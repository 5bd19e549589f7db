//! One message from MAIL to its last reply, with the truth about every recipient.
//!
//! This file knows the order of a transaction, what may be sent without waiting, and what each reply means for whom.
//! It does not know what the message says: the program writes it when it is told to.

use alloc::vec::Vec;

use proto_mail::{Channel, Error, SendBuffer};

use super::{Client, Content, Event, Step};
use crate::chunking::ChunkEnd;
use crate::config::Pipelining;
use crate::extension::Extension;
use crate::future_release::FutureRelease;
use crate::mail::Mail;
use crate::rcpt::Rcpt;
use crate::response::Response;

/// A message on its way.
///
/// Give it every event of the client after [`start`](Self::start), and the loss of the connection with
/// [`lost`](Self::lost).
#[derive(Debug)]
pub struct Transaction {
    pub(super) mail: Mail<'static>,
    pub(super) recipients: Vec<Recipient>,
    stage: Stage,
    /// Whose commands were given, in the order of the commands.
    given: Vec<usize>,
    /// Whose command is the next.
    next: usize,
    /// How many of them were answered.
    answered: usize,
    /// DATA was given, with or without waiting.
    data_given: bool,
    sender_refused: bool,
    /// How many bytes the message has, where it may go as one chunk.
    chunk: Option<u64>,
    /// What is known of it.
    pub(super) content: Option<Content>,
}

/// A recipient, and what became of it.
#[derive(Debug)]
pub struct Recipient {
    pub(super) rcpt: Rcpt<'static>,
    pub(super) outcome: Outcome,
    accepted: bool,
}

/// What became of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing yet.
    Pending,
    /// The server has taken responsibility. With PRDR it has said so for this recipient, and then for the message.
    Delivered(Response<'static>),
    /// The server has refused, at this step. A number in it is that of the recipient among all of the transaction.
    ///
    /// A reply that comes in the middle of the message is one for everybody, with the step [`Data`](Step::Data): nothing
    /// more is sent, and the session is closed.
    ///
    /// A server that goes away says 421 once, to everybody. The step is then the one that this recipient had come to:
    /// [`Rcpt`](Step::Rcpt) if its own command was not answered, [`Data`](Step::Data) if it was accepted and the
    /// message was not sent as a whole, [`Message`](Step::Message) if it was. Behind the message in LMTP 421 is one
    /// recipient's reply as any other: those behind it are [`Uncertain`](Self::Uncertain).
    Refused(Step, Response<'static>),
    /// The whole message was sent and no reply came: it may or may not have been taken. Sending it again may deliver
    /// it twice.
    Uncertain,
    /// The message was not sent as a whole: the server cannot have taken it.
    NotSent(NotSent),
}

/// SyntaxFault a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotSent {
    /// The server takes no message as large as this: at most so many bytes.
    TooLarge(u64),
    /// The server does not offer what the message needs.
    NotOffered(Extension),
    /// The server cannot promise to deliver or return it so soon: so many seconds at least (DELIVERBY, RFC 2852).
    TimeTooShort(u32),
    /// The server does not hold a message so long (FUTURERELEASE, RFC 4865).
    HeldTooLong(FutureRelease),
    /// The server wants no message of what this one says to be (NO-SOLICITING, RFC 3865).
    Unwanted,
    /// The server takes fewer recipients, or recipients of fewer domains, in one transaction (LIMITS, RFC 9422). The
    /// others went ahead; [`Transaction::rest`] is for these.
    LeftOver,
    /// The server takes no more messages in this session (LIMITS, RFC 9422): send this one in another.
    SessionUsedUp,
    /// The connection was lost first.
    Lost,
}

/// What the program is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Go on with the next event.
    Continue,
    /// Write the message with [`Client::data_writer`] and finish it.
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
    /// Nobody was accepted and the server wants the message all the same: an empty one ends it (RFC 2920 §3.1).
    Abandoned,
    Done,
}

impl Transaction {
    /// A message from there. Recipients are added with [`recipient`](Self::recipient).
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

    /// The message has exactly so many bytes and may go as one chunk, by BDAT (RFC 3030), where CHUNKING is offered:
    /// then it goes byte by byte as it is written, and no dots are looked for. Elsewhere it goes by DATA, unless it
    /// is of [`BinaryMime`](crate::body_type::BodyType::BinaryMime): that goes by BDAT or not at all.
    #[must_use]
    pub const fn in_one_chunk(mut self, bytes: u64) -> Self {
        self.chunk = Some(bytes);
        self
    }

    /// The message is known to be like this. Where it has less to it than its MAIL says, and the server offers less than
    /// that, it is asked for less: a message of `BODY=8BITMIME` that is US-ASCII in lines goes to a server without
    /// 8BITMIME, one of [`BinaryMime`](crate::body_type::BodyType::BinaryMime) that is made of lines goes without BINARYMIME, one of
    /// SMTPUTF8 whose envelope and headers are US-ASCII goes without SMTPUTF8. Bytes above 127 are sent as 8BITMIME
    /// whatever MAIL says, or not at all. Nothing is written in another way for that.
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

    /// The recipients, in their order.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// The same message for the recipients that were [left over](NotSent::LeftOver); `None` if nobody was. It may be
    /// started on the same session once this one is done.
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

    /// Gives MAIL, and behind it what may be given without waiting.
    ///
    /// A message that the server cannot take (too large, or in need of an extension that is not offered) is not begun:
    /// its outcome is [`NotSent`]. Parameters that ask for a mere service that is not offered are left out.
    ///
    /// # Errors
    /// Those of [`Client::mail`].
    pub fn start<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Progress, Error> {
        if self.stage != Stage::New {
            return Ok(self.progress());
        }
        if let Some(obstacle) = self.obstacle(client) {
            return Ok(self.conclude(&Outcome::NotSent(obstacle)));
        }
        if self.recipients.is_empty() {
            return Ok(self.conclude(&Outcome::Pending));
        }
        self.fit(client);
        self.keep_within(client.capabilities().limits());
        if self.recipients.iter().all(|recipient| recipient.outcome != Outcome::Pending) {
            return Ok(self.finish());
        }
        if client.core.open {
            // An earlier transaction was left open: nothing of it may come into this one.
            client.reset(tx)?;
            if !client.core.pipelines() {
                // MAIL follows when RSET is answered.
                self.stage = Stage::Envelope;
                return Ok(Progress::Continue);
            }
        }
        self.stage = Stage::Envelope;
        self.begin(client, tx)
    }

    /// MAIL, and what goes with it.
    fn begin<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<Progress, Error> {
        client.mail(&self.mail, tx)?;
        if client.core.pipelines() {
            while self.give_next(client, tx)? {}
            // A chunk is not sent ahead: it would cross the wire for nobody if every recipient is refused.
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

    /// Takes an event of the client; events of other commands change nothing.
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
                // What the earlier transaction has left may still be there.
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

    /// The connection is lost: decides what is still open. Whatever was answered stays as it was.
    pub fn lost<C: Channel>(&mut self, client: &Client<C>, tx: &SendBuffer) -> Progress {
        let outcome =
            if client.is_message_sent(tx) { Outcome::Uncertain } else { Outcome::NotSent(NotSent::Lost) };
        self.conclude(&outcome)
    }

    /// Goes on with the envelope after a reply to one of its commands.
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
            // Its reply is still to come.
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

    /// How large the chunk is, if the message goes as one.
    pub(super) fn chunk_for<C: Channel>(&self, client: &Client<C>) -> Option<u64> {
        self.chunk.filter(|_| client.capabilities().contains(Extension::Chunking))
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
        // In LMTP nobody answers for nobody.
        if client.is_idle() { Ok(self.finish()) } else { Ok(Progress::Continue) }
    }

    /// A reply to the message: for one recipient, or for all that were accepted.
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
        let more = matches!(client.core.next_step(), Some(Step::Message(Some(_))));
        if more { Progress::Continue } else { self.finish() }
    }

    /// The session has ended with a reply of its own, or without one.
    fn closed<C: Channel>(
        &mut self,
        response: Option<&Response<'_>>,
        client: &Client<C>,
        tx: &SendBuffer,
    ) -> Progress {
        let Some(response) = response else { return self.lost(client, tx) };
        let sent = client.is_message_sent(tx);
        // In LMTP it answers for one; the next may have been told yes, had the reply come.
        let one = match client.core.next_step() {
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

    /// Which recipient an event names: it counts the commands.
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

    /// Every recipient that is still pending has this outcome.
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
    /// The recipient as it was given.
    #[must_use]
    pub const fn rcpt(&self) -> &Rcpt<'static> {
        &self.rcpt
    }

    /// Whether the server has accepted its RCPT; that is no promise for the message.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// What became of it.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

impl Outcome {
    /// Whether the same may well succeed later. [`Uncertain`](Self::Uncertain) is not among them: it may have
    /// succeeded already.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(_, response) => response.is_transient(),
            Self::NotSent(NotSent::Lost | NotSent::LeftOver | NotSent::SessionUsedUp) => true,
            Self::Pending | Self::Delivered(_) | Self::Uncertain | Self::NotSent(_) => false,
        }
    }
}
