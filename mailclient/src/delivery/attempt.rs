//! One delivery attempt: its transactions, the upload, and what the outcomes mean.

use std::{
    io::{Read, Seek},
    time::Duration,
};

use proto_mail::{Channel, SendBuffer};
use proto_smtp::{
    client::{Client, Event, NotSent, Outcome, Progress, Recipient, Step, Transaction},
    types::{Address, Extension},
};

use super::{
    clock::Clock,
    diagnostic::{DeliveryStage, Diagnostic},
    journal::UploadObserver,
    message::Message,
    report::{DeliveryReport, TransactionContext},
    retry::RetryCodes,
    status::DeliveryStatus,
    upload::Upload,
};
use io_mio::{Connection, ConnectionEvent, Error};

/// How many transactions a session has had, and how many it may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionUsage {
    transactions: u32,
    limit: u32,
}

impl SessionUsage {
    /// An unused session with this limit; 0 counts as 1.
    pub(super) const fn with_limit(limit: u32) -> Self {
        Self { transactions: 0, limit: if limit == 0 { 1 } else { limit } }
    }

    /// Whether the limit is reached.
    pub(super) const fn is_used_up(self) -> bool {
        self.transactions >= self.limit
    }

    /// Whether the session was used before, so that the server may have closed it while idle.
    const fn is_used(self) -> bool {
        self.transactions > 0
    }

    /// Whether it had only one transaction.
    pub(super) const fn is_first(self) -> bool {
        self.transactions == 1
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptEnd {
    /// Every recipient has a reply. The session can be used again.
    Completed,
    /// The session is lost.
    Lost,
    /// A used session had been closed before any recipient was accepted: the attempt continues in another session.
    Stale,
    /// The session accepts no more transactions: the attempt continues in another one.
    LimitReached,
}

/// An attempt and its waiting recipients. It may continue in another session.
#[derive(Debug)]
pub(super) struct DeliveryAttempt {
    codes: RetryCodes,
    /// When the delivery started, by the clock.
    started: Duration,
    pending: Vec<usize>,
}

impl DeliveryAttempt {
    /// An attempt for all waiting recipients.
    pub(super) fn new(report: &mut DeliveryReport, codes: RetryCodes, started: Duration) -> Self {
        report.count_attempt();
        Self { codes, started, pending: report.pending() }
    }

    /// Runs or continues the attempt on a ready connection.
    pub(super) fn run<C: Channel, S: Read + Seek>(
        &mut self,
        connection: &mut Connection<Client<C>>,
        usage: &mut SessionUsage,
        message: &mut Message<S>,
        report: &mut DeliveryReport,
        clock: &mut impl Clock,
        observer: &dyn UploadObserver,
    ) -> Result<AttemptEnd, Error> {
        report.tls = connection.tls_info().map(|info| info.version.to_owned());
        let mut session = self.on_session(connection.machine(), usage, message, report, clock, observer);
        let mut step = connection.with(|client, tx| session.begin(client, tx))?;
        loop {
            if let AttemptStep::End(end) = step {
                return Ok(end);
            }
            let driven = connection.drive(|turn, client, tx| {
                let event = if let ConnectionEvent::Machine(event) = &turn { Some(event) } else { None };
                session.turn(event, client, tx)
            });
            step = connection.with(|client, tx| session.end_transaction(driven.err(), client, tx))?;
        }
    }

    /// Runs or continues the attempt in a session, without I/O.
    fn on_session<'a, C: Channel, S: Read + Seek, K: Clock>(
        &'a mut self,
        client: &Client<C>,
        usage: &'a mut SessionUsage,
        message: &'a mut Message<S>,
        report: &'a mut DeliveryReport,
        clock: &'a mut K,
        observer: &'a dyn UploadObserver,
    ) -> SessionAttempt<'a, S, K> {
        exclude_internationalized(client, message, report, &mut self.pending);
        SessionAttempt { attempt: self, usage, message, report, clock, observer, current: None }
    }

    fn decide(
        &self,
        transaction: &Transaction,
        lost: Option<&Error>,
        started: Duration,
        report: &mut DeliveryReport,
        clock: &mut impl Clock,
    ) {
        let elapsed = clock.elapsed();
        let why = lost.map(ToString::to_string);
        let context = TransactionContext {
            codes: self.codes,
            lost: why.as_deref(),
            now: clock.now(),
            took: elapsed.saturating_sub(started),
            elapsed: elapsed.saturating_sub(self.started),
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

/// What an attempt in a session needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttemptStep {
    /// The events of the session: [`SessionAttempt::turn`] until it returns a value or fails, and then
    /// [`SessionAttempt::end_transaction`].
    Drive,
    /// Nothing.
    End(AttemptEnd),
}

/// A transaction and its upload.
struct Current {
    transaction: Transaction,
    upload: Upload,
    /// When it started, by the clock.
    started: Duration,
}

/// An attempt in one session as a state machine over the client machine, without I/O.
struct SessionAttempt<'a, S, K> {
    attempt: &'a mut DeliveryAttempt,
    usage: &'a mut SessionUsage,
    message: &'a mut Message<S>,
    report: &'a mut DeliveryReport,
    clock: &'a mut K,
    observer: &'a dyn UploadObserver,
    current: Option<Current>,
}

impl<S: Read + Seek, K: Clock> SessionAttempt<'_, S, K> {
    /// Begins the next transaction.
    fn begin<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<AttemptStep, Error> {
        while !self.attempt.pending.is_empty() {
            if self.usage.is_used_up() {
                return Ok(AttemptStep::End(AttemptEnd::LimitReached));
            }
            let started = self.clock.elapsed();
            let (mut transaction, bytes) = self.message.transaction(&self.attempt.pending)?;
            let progress = transaction.start(client, tx)?;
            self.current = Some(Current { transaction, upload: Upload::new(bytes), started });
            if progress != Progress::Done {
                return Ok(AttemptStep::Drive);
            }
            if let Some(end) = self.decide(None, client)? {
                return Ok(AttemptStep::End(end));
            }
        }
        Ok(AttemptStep::End(AttemptEnd::Completed))
    }

    /// Handles an event, and queues as much of the message as may wait. Returns a value when the transaction is over.
    fn turn<C: Channel>(
        &mut self,
        event: Option<&Event<'_>>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Option<()>, Error> {
        let Some(Current { transaction, upload, .. }) = &mut self.current else { return Ok(Some(())) };
        if let Some(event) = event {
            match transaction.event(event, client, tx)? {
                Progress::Done => return Ok(Some(())),
                Progress::SendData => upload.is_started = true,
                Progress::Continue => {}
            }
        }
        let observed = ObservedTransaction { observer: self.observer, numbers: &self.attempt.pending };
        upload.fill(self.message.source(), client, tx, self.observer, || {
            observed.before_final_bytes(transaction.recipients())
        })?;
        Ok(None)
    }

    /// Decides about the recipients of a transaction that is over, and begins the next one. `lost` is why the connection
    /// was lost, if it was.
    fn end_transaction<C: Channel>(
        &mut self,
        lost: Option<Error>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<AttemptStep, Error> {
        if let (Some(_), Some(current)) = (&lost, &mut self.current) {
            let _ = current.transaction.lost(client, tx);
        }
        match self.decide(lost, client)? {
            Some(end) => Ok(AttemptStep::End(end)),
            None => self.begin(client, tx),
        }
    }

    /// Decides about the recipients. Returns how the attempt ended in this session, if it did.
    fn decide<C: Channel>(
        &mut self,
        lost: Option<Error>,
        client: &Client<C>,
    ) -> Result<Option<AttemptEnd>, Error> {
        let Some(Current { transaction, upload, started }) = self.current.take() else {
            return Ok(Some(AttemptEnd::Lost));
        };
        let aborted = upload.error;
        let closed = lost.is_some() || client.is_closed();
        let used = self.usage.is_used();
        self.usage.transactions = self.usage.transactions.saturating_add(1);
        if used && let Some(end) = end_of_used_session(closed, lost.as_ref(), transaction.recipients()) {
            return Ok(Some(end));
        }
        let why = aborted.as_ref().or(lost.as_ref());
        self.attempt.decide(&transaction, why, started, self.report, self.clock);
        if let Some(error) = aborted {
            return Err(error);
        }
        self.attempt.pending = left_over(&self.attempt.pending, transaction.recipients());
        // After a refusal in the middle of a message, the session cannot be used.
        Ok((closed || !client.is_idle()).then_some(AttemptEnd::Lost))
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
fn exclude_internationalized<C: Channel, S: Read + Seek>(
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

/// A transaction with its observer and its recipients' numbers.
struct ObservedTransaction<'a> {
    observer: &'a dyn UploadObserver,
    numbers: &'a [usize],
}

impl ObservedTransaction<'_> {
    /// Reports that the last bytes are about to be sent for the accepted recipients.
    fn before_final_bytes(&self, recipients: &[Recipient]) -> Result<(), Error> {
        let accepted = self.numbers.iter().zip(recipients).filter(|(_, one)| one.is_accepted());
        self.observer.before_final_bytes(&accepted.map(|(number, _)| *number).collect::<Vec<_>>())
    }
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

    /// Records the recipients for whom the last bytes were about to be sent.
    #[derive(Default)]
    struct Announced(std::cell::RefCell<Vec<Vec<usize>>>);

    impl UploadObserver for Announced {
        fn before_final_bytes(&self, recipients: &[usize]) -> Result<(), Error> {
            self.0.borrow_mut().push(recipients.to_vec());
            Ok(())
        }

        fn bytes_queued(&self, _: u64) {}
    }

    /// A clock that stands still.
    struct Still;

    impl Clock for Still {
        fn now(&mut self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }

        fn elapsed(&mut self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&mut self, _: Duration) {}

        fn random(&mut self) -> u64 {
            0
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
        let mut delivery = DeliveryAttempt::new(&mut report, RetryCodes::default(), Duration::ZERO);
        let (announced, mut clock, mut counts) = (Announced::default(), Still, Vec::new());
        let mut session =
            delivery.on_session(&client, &mut usage, &mut message, &mut report, &mut clock, &announced);
        let mut step = session.begin(&mut client, &mut tx).unwrap();
        for act in acts {
            session.turn(None, &mut client, &mut tx).unwrap();
            counts.push(announced.0.borrow().len());
            tx.sent(tx.len());
            match act {
                Act::Say(reply) => rx.extend(format!("{reply}\r\n").as_bytes()),
                Act::Close => rx.close(),
            }
            let over = loop {
                match client.next_event(&mut rx, &mut tx) {
                    Ok(Some(event)) => match session.turn(Some(&event), &mut client, &mut tx) {
                        Ok(Some(())) => break Some(None),
                        Ok(None) => {}
                        Err(error) => break Some(Some(error)),
                    },
                    Ok(None) => break None,
                    Err(error) => break Some(Some(error.into())),
                }
            };
            if let Some(lost) = over {
                step = session.end_transaction(lost, &mut client, &mut tx).unwrap();
            }
        }
        let AttemptStep::End(end) = step else { panic!("the attempt goes on") };
        let statuses = report.recipients.iter().map(|recipient| recipient.status).collect();
        (end, statuses, announced.0.into_inner(), counts, usage)
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
        let used = SessionUsage { transactions: 1, limit: 5 };
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
