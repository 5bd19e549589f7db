//! One delivery attempt without I/O: its transactions, the upload, and what the outcomes mean.

use std::{fmt, time::Duration};

use bytes::Bytes;
use io_common::{Error, TlsInfo};
use proto_mail::{Channel, SendBuffer};
use proto_smtp::{
    client::{Client, Event, NotSent, Outcome, Progress, Recipient, Step, Transaction},
    types::{Address, Extension},
};

use super::{
    clock::Moment,
    diagnostic::{DeliveryStage, Diagnostic},
    message::Message,
    report::{DeliveryReport, TransactionContext},
    retry::RetryCodes,
    session_usage::SessionUsage,
    status::DeliveryStatus,
    upload::{Upload, UploadStep},
};

/// How an attempt ended in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Every recipient has a reply. The session can be used again.
    Completed,
    /// The session is lost.
    Lost,
    /// A used session had been closed before any recipient was accepted: the attempt continues in another session.
    Stale,
    /// The session accepts no more transactions: the attempt continues in another one.
    LimitReached,
}

/// What an attempt in a session needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptStep {
    /// The source of the message from its beginning: [`Message::rewind`], then [`Attempt::start`].
    Rewind,
    /// The events of the session: [`Attempt::advance`] with each of them, and whenever there is room for output, until it
    /// returns [`TransactionStep::Over`] or fails. Then [`Attempt::end_transaction`].
    Drive,
    /// [`Attempt::end_transaction`]: nothing was sent.
    EndTransaction,
    /// Nothing: the attempt has ended in this session.
    End(AttemptEnd),
}

/// What a transaction needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionStep {
    /// The next event, or room for output.
    Wait,
    /// Up to this many bytes of the message: call [`Attempt::chunk`] with them. Fewer bytes end the message.
    Read(usize),
    /// The journal: the last bytes are about to be sent for these recipients. Call [`Attempt::journalled`] once it is
    /// written.
    BeforeFinalBytes(Vec<usize>),
    /// Nothing: it is over.
    Over,
}

/// An attempt and its waiting recipients, as a state machine over the client machine. It may continue in another session.
///
/// In each session, the driver calls [`enter`](Self::enter) and [`next_transaction`](Self::next_transaction), and then does
/// what each step says.
pub struct Attempt {
    codes: RetryCodes,
    /// When the delivery started, by the clock.
    started: Duration,
    pending: Vec<usize>,
    current: Option<Current>,
}

/// A transaction and its upload.
struct Current {
    transaction: Transaction,
    upload: Upload,
    /// When it started, by the clock.
    started: Duration,
}

impl Attempt {
    /// An attempt for all waiting recipients of this report. `started` is when the delivery started, by the clock.
    #[must_use]
    pub fn new(report: &mut DeliveryReport, codes: RetryCodes, started: Duration) -> Self {
        report.count_attempt();
        Self { codes, started, pending: report.pending(), current: None }
    }

    /// An attempt for no recipient.
    pub(super) const fn none() -> Self {
        Self { codes: RetryCodes::Usual, started: Duration::ZERO, pending: Vec::new(), current: None }
    }

    /// Begins or continues in a session that is ready. Recipients that this server cannot serve are excluded.
    pub fn enter<C: Channel, S>(
        &mut self,
        client: &Client<C>,
        tls: Option<&TlsInfo>,
        message: &Message<S>,
        report: &mut DeliveryReport,
    ) {
        report.tls = tls.map(|info| info.version.to_owned());
        exclude_internationalized(client, message, report, &mut self.pending);
    }

    /// Returns the first step in a session with this usage.
    #[must_use]
    pub fn next_transaction(&self, usage: &SessionUsage) -> AttemptStep {
        match (self.pending.is_empty(), usage.is_used_up()) {
            (true, _) => AttemptStep::End(AttemptEnd::Completed),
            (false, true) => AttemptStep::End(AttemptEnd::LimitReached),
            (false, false) => AttemptStep::Rewind,
        }
    }

    /// Starts a transaction. `size` is what [`Message::rewind`] returned, and `now` is the time by the clock.
    ///
    /// # Errors
    /// The message cannot be sent in any session.
    pub fn start<C: Channel, S>(
        &mut self,
        message: &Message<S>,
        size: Option<u64>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        now: Duration,
    ) -> Result<AttemptStep, Error> {
        let mut transaction = message.transaction(&self.pending, size);
        let progress = transaction.start(client, tx)?;
        let upload = Upload::new(size.unwrap_or(u64::MAX));
        self.current = Some(Current { transaction, upload, started: now });
        Ok(if progress == Progress::Done { AttemptStep::EndTransaction } else { AttemptStep::Drive })
    }

    /// Handles an event, if there is one, and queues as much of the message as may wait.
    ///
    /// # Errors
    /// The session cannot go on: [`end_transaction`](Self::end_transaction) follows.
    pub fn advance<C: Channel>(
        &mut self,
        event: Option<&Event<'_>>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TransactionStep, Error> {
        let Some(Current { transaction, upload, .. }) = &mut self.current else {
            return Ok(TransactionStep::Over);
        };
        if let Some(event) = event {
            match transaction.event(event, client, tx)? {
                Progress::Done => return Ok(TransactionStep::Over),
                Progress::SendData => upload.start(),
                Progress::Continue => {}
            }
        }
        Ok(match upload.advance(client, tx)? {
            UploadStep::Wait => TransactionStep::Wait,
            UploadStep::Read(most) => TransactionStep::Read(most),
            UploadStep::Journal => {
                let recipients = self.pending.iter().zip(transaction.recipients());
                let accepted = recipients.filter(|(_, one)| one.is_accepted());
                TransactionStep::BeforeFinalBytes(accepted.map(|(number, _)| *number).collect())
            }
        })
    }

    /// Takes the bytes of [`TransactionStep::Read`]. [`advance`](Self::advance) follows.
    pub fn chunk(&mut self, bytes: Bytes) {
        if let Some(current) = &mut self.current {
            current.upload.chunk(bytes);
        }
    }

    /// Allows the last bytes, after [`TransactionStep::BeforeFinalBytes`]. [`advance`](Self::advance) follows.
    pub fn journalled(&mut self) {
        if let Some(current) = &mut self.current {
            current.upload.journalled();
        }
    }

    /// Aborts the transaction, because the source cannot be read or the journal cannot be written. Returns the error with
    /// which the session must end at once, so that the server does not take a part of the message for the whole.
    pub fn abort(&mut self, error: Error) -> Error {
        match &mut self.current {
            Some(current) => current.upload.abort(error),
            None => error,
        }
    }

    /// Returns whether a transaction has started and is not over.
    #[must_use]
    pub const fn is_in_transaction(&self) -> bool {
        self.current.is_some()
    }

    /// Returns how many bytes of the message were queued since the last call.
    pub fn take_queued(&mut self) -> u64 {
        self.current.as_mut().map_or(0, |current| current.upload.take_queued())
    }

    /// Decides about the recipients of a transaction that is over. `lost` is why the session was lost, if it was.
    ///
    /// # Errors
    /// The message cannot be sent in any session.
    pub fn end_transaction<C: Channel>(
        &mut self,
        lost: Option<Error>,
        client: &Client<C>,
        tx: &SendBuffer,
        usage: &mut SessionUsage,
        report: &mut DeliveryReport,
        now: Moment,
    ) -> Result<AttemptStep, Error> {
        let Some(Current { mut transaction, upload, started }) = self.current.take() else {
            return Ok(AttemptStep::End(AttemptEnd::Lost));
        };
        if lost.is_some() {
            let _ = transaction.lost(client, tx);
        }
        let aborted = upload.error;
        let closed = lost.is_some() || client.is_closed();
        let used = usage.is_used();
        usage.count();
        if used && let Some(end) = end_of_used_session(closed, lost.as_ref(), transaction.recipients()) {
            return Ok(AttemptStep::End(end));
        }
        let why = aborted.as_ref().or(lost.as_ref());
        self.decide(&transaction, why, started, report, now);
        if let Some(error) = aborted {
            return Err(error);
        }
        self.pending = left_over(&self.pending, transaction.recipients());
        // After a refusal in the middle of a message, the session cannot be used.
        if closed || !client.is_idle() {
            return Ok(AttemptStep::End(AttemptEnd::Lost));
        }
        Ok(self.next_transaction(usage))
    }

    fn decide(
        &self,
        transaction: &Transaction,
        lost: Option<&Error>,
        started: Duration,
        report: &mut DeliveryReport,
        now: Moment,
    ) {
        let why = lost.map(ToString::to_string);
        let context = TransactionContext {
            codes: self.codes,
            lost: why.as_deref(),
            now: now.time,
            took: now.elapsed.saturating_sub(started),
            elapsed: now.elapsed.saturating_sub(self.started),
        };
        for (number, recipient) in self.pending.iter().zip(transaction.recipients()) {
            report.decide(*number, recipient.outcome(), &context);
        }
        if let Some(Error::Protocol(proto_mail::Error::Misuse(_))) = lost {
            // A message that cannot be encoded now cannot be encoded later either.
            for number in report.pending() {
                report.exclude(
                    number,
                    DeliveryStatus::Invalid,
                    Diagnostic::without_reply(DeliveryStage::Message, why.clone().unwrap_or_default()),
                );
            }
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// Returns how the attempt ended on a used session, if another session can continue it.
fn end_of_used_session(closed: bool, lost: Option<&Error>, recipients: &[Recipient]) -> Option<AttemptEnd> {
    let used_up = Outcome::NotSent(NotSent::SessionUsedUp);
    if closed && ended_while_idle(lost, recipients) {
        Some(AttemptEnd::Stale)
    } else {
        recipients.iter().all(|one| *one.outcome() == used_up).then_some(AttemptEnd::LimitReached)
    }
}

/// Excludes recipients that need SMTPUTF8, if the server does not offer it and the message itself does not need it.
fn exclude_internationalized<C: Channel, S>(
    client: &Client<C>,
    message: &Message<S>,
    report: &mut DeliveryReport,
    pending: &mut Vec<usize>,
) {
    let only_ascii = !client.capabilities().is_some_and(|offered| offered.contains(Extension::SmtpUtf8))
        && message.is_ascii_without_recipients();
    pending.retain(|number| {
        // Invalid recipients do not wait, unless the report is of another message.
        let Some(rcpt) = message.rcpt(*number) else { return false };
        let good = !only_ascii || rcpt.to.address().is_none_or(Address::is_ascii);
        if !good {
            let text = "the address needs SMTPUTF8, which the server does not offer";
            report.exclude(
                *number,
                DeliveryStatus::Failed,
                Diagnostic::without_reply(DeliveryStage::Rcpt, text),
            );
        }
        good
    });
}

/// Returns whether a used session ended like an idle one: the server closed it, or replied 421, before it accepted any
/// recipient. No byte of the message was sent then.
fn ended_while_idle(lost: Option<&Error>, recipients: &[Recipient]) -> bool {
    let untouched = |one: &Recipient| {
        let is_lost = match one.outcome() {
            Outcome::NotSent(NotSent::Lost) => true,
            Outcome::Refused(Step::Rcpt(_), response) => response.code().get() == 421,
            _ => false,
        };
        is_lost && !one.is_accepted()
    };
    lost.is_none_or(Error::is_retryable) && recipients.iter().all(untouched)
}

/// Returns the recipients for the next transaction: those beyond the server's announced limit, and those beyond an
/// unannounced one (452 after accepted recipients, RFC 5321 §4.5.3.1.10).
fn left_over(pending: &[usize], recipients: &[Recipient]) -> Vec<usize> {
    let taken = recipients.iter().any(|one| matches!(one.outcome(), Outcome::Delivered(_)));
    let left = |one: &Recipient| match one.outcome() {
        Outcome::NotSent(NotSent::LeftOver) => true,
        Outcome::Refused(Step::Rcpt(_), response) => {
            let answer = Diagnostic::from_response(DeliveryStage::Rcpt, response);
            let too_many = match answer.code {
                Some(452) => answer.subject().is_none_or(|subject| subject == "5.3"),
                Some(400..=499) => answer.subject() == Some("5.3"),
                _ => false,
            };
            taken && too_many
        }
        _ => false,
    };
    pending.iter().zip(recipients).filter(|(_, one)| left(one)).map(|(number, _)| *number).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::io;

    use proto_mail::{Cleartext, RecvBuffer};
    use proto_smtp::Config;

    use super::*;

    const EPOCH: Moment = Moment { elapsed: Duration::ZERO, time: jiff::Timestamp::UNIX_EPOCH };

    /// Advances a transaction until it waits or is over: reads the message, and announces the recipients.
    fn advance(
        attempt: &mut Attempt,
        event: Option<&Event<'_>>,
        message: &mut Message<io::Cursor<Vec<u8>>>,
        client: &mut Client<Cleartext>,
        tx: &mut SendBuffer,
        announced: &mut Vec<Vec<usize>>,
    ) -> Result<TransactionStep, Error> {
        let mut step = attempt.advance(event, client, tx)?;
        loop {
            match step {
                TransactionStep::Read(most) => attempt.chunk(message.read(most).unwrap()),
                TransactionStep::BeforeFinalBytes(recipients) => {
                    announced.push(recipients);
                    attempt.journalled();
                }
                TransactionStep::Wait | TransactionStep::Over => return Ok(step),
            }
            step = attempt.advance(None, client, tx)?;
        }
    }

    /// What a server does after the client's next command.
    enum Act {
        Say(&'static str),
        Close,
    }

    /// Attempts to deliver to two recipients in a session with this usage. Returns how the attempt ended, the statuses,
    /// how often each transaction was announced after each act, and the usage.
    fn attempt(
        mut usage: SessionUsage,
        acts: &[Act],
    ) -> (AttemptEnd, Vec<DeliveryStatus>, Vec<Vec<usize>>, Vec<usize>, SessionUsage) {
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        let mut client = Client::<Cleartext>::new(Config::default().danger_cleartext());
        for greeting in ["220 x\r\n", "250-x\r\n250 8BITMIME\r\n"] {
            rx.extend(greeting.as_bytes());
            while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
            tx.sent(tx.len());
        }
        let mut message =
            Message::from_text("me@x.example", io::Cursor::new(b"Subject: x\r\n\r\nx\r\n".to_vec()))
                .recipient_text("a@x.example")
                .recipient_text("b@x.example");
        let mut report = message.report();
        let mut attempt = Attempt::new(&mut report, RetryCodes::default(), Duration::ZERO);
        let (mut announced, mut counts) = (Vec::new(), Vec::new());
        attempt.enter(&client, None, &message, &mut report);
        assert_eq!(attempt.next_transaction(&usage), AttemptStep::Rewind);
        let size = message.rewind().unwrap();
        let mut step = attempt.start(&message, size, &mut client, &mut tx, Duration::ZERO).unwrap();
        for act in acts {
            let turn = advance(&mut attempt, None, &mut message, &mut client, &mut tx, &mut announced);
            assert_eq!(turn.unwrap(), TransactionStep::Wait);
            counts.push(announced.len());
            tx.sent(tx.len());
            match act {
                Act::Say(reply) => rx.extend(format!("{reply}\r\n").as_bytes()),
                Act::Close => rx.close(),
            }
            let over = loop {
                match client.next_event(&mut rx, &mut tx) {
                    Ok(Some(event)) => {
                        let event = Some(&event);
                        let turn =
                            advance(&mut attempt, event, &mut message, &mut client, &mut tx, &mut announced);
                        match turn {
                            Ok(TransactionStep::Over) => break Some(None),
                            Ok(_) => {}
                            Err(error) => break Some(Some(error)),
                        }
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(Some(error.into())),
                }
            };
            if let Some(lost) = over {
                step = attempt.end_transaction(lost, &client, &tx, &mut usage, &mut report, EPOCH).unwrap();
            }
        }
        let AttemptStep::End(end) = step else { panic!("the attempt goes on") };
        let statuses = report.recipients.iter().map(|recipient| recipient.status).collect();
        (end, statuses, announced, counts, usage)
    }

    #[test]
    fn announces_the_accepted_recipients_before_the_last_bytes() {
        use Act::Say;
        let acts = [Say("250 ok"), Say("250 ok"), Say("451 4.2.0 later"), Say("354 go"), Say("250 taken")];
        let (end, statuses, announced, counts, usage) = attempt(SessionUsage::with_limit(5), &acts);
        assert_eq!(end, AttemptEnd::Completed);
        assert_eq!(statuses, [DeliveryStatus::Success, DeliveryStatus::Retry]);
        // The announcement follows the reply to DATA and precedes the end of the message.
        assert_eq!((announced, counts), (vec![vec![0]], vec![0, 0, 0, 0, 1]));
        assert!(usage.is_first());
    }

    #[test]
    fn a_used_session_that_closes_before_any_recipient_is_stale() {
        let mut used = SessionUsage::with_limit(5);
        used.count();
        let (end, statuses, announced, ..) = attempt(used, &[Act::Close]);
        assert_eq!((end, announced.len()), (AttemptEnd::Stale, 0));
        assert_eq!(statuses, [DeliveryStatus::Retry, DeliveryStatus::Retry]);
        let (end, ..) = attempt(SessionUsage::with_limit(5), &[Act::Close]);
        assert_eq!(end, AttemptEnd::Lost);
    }

    #[test]
    fn a_reply_that_is_lost_after_the_message_is_uncertain() {
        use Act::{Close, Say};
        let acts = [Say("250 ok"), Say("250 ok"), Say("550 no"), Say("354 go"), Close];
        let (end, statuses, announced, ..) = attempt(SessionUsage::with_limit(5), &acts);
        assert_eq!((end, announced), (AttemptEnd::Lost, vec![vec![0]]));
        assert_eq!(statuses[0], DeliveryStatus::Uncertain);
        assert_ne!(statuses[1], DeliveryStatus::Uncertain);
    }
}
