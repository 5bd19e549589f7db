//! One delivery attempt: its transactions, the upload, and what the outcomes mean.

use std::{
    io::{self, Read, Seek},
    time::Duration,
};

use bytes::Bytes;
use proto_mail::{Channel, SendBuffer};
use proto_smtp::{
    client::{Client, NotSent, Outcome, Progress, Recipient, Step, Transaction},
    types::{Address, Extension},
};

use super::{
    clock::Clock,
    diagnostic::{DeliveryStage, Diagnostic},
    journal::UploadObserver,
    message::{Message, unreadable},
    report::{DeliveryReport, TransactionContext},
    retry::RetryCodes,
    status::DeliveryStatus,
};
use io_mio::{Connection, ConnectionEvent, Error};

/// The maximum number of bytes of a message in the send buffer.
const MAX_QUEUED: usize = 256 * 1024;
/// How many bytes of a message are read at once.
const CHUNK: usize = 64 * 1024;

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
        exclude_internationalized(connection.machine(), message, report, &mut self.pending);
        while !self.pending.is_empty() {
            if usage.is_used_up() {
                return Ok(AttemptEnd::LimitReached);
            }
            let transaction_started = clock.elapsed();
            let (mut transaction, bytes) = message.transaction(&self.pending)?;
            let mut upload = Upload::new(message.source(), bytes);
            let observed = ObservedTransaction { observer, numbers: &self.pending };
            let lost = transact(connection, &mut transaction, &mut upload, &observed)?;
            let aborted = upload.error;
            let closed = lost.is_some() || connection.machine().is_closed();
            let used = usage.is_used();
            usage.transactions = usage.transactions.saturating_add(1);
            if used && let Some(end) = end_of_used_session(closed, lost.as_ref(), transaction.recipients()) {
                return Ok(end);
            }
            self.decide(&transaction, aborted.as_ref().or(lost.as_ref()), transaction_started, report, clock);
            if let Some(error) = aborted {
                return Err(error);
            }
            self.pending = left_over(&self.pending, transaction.recipients());
            // After a refusal in the middle of a message, the session cannot be used.
            if closed || !connection.machine().is_idle() {
                return Ok(AttemptEnd::Lost);
            }
        }
        Ok(AttemptEnd::Completed)
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

/// Runs one transaction. Returns why the connection was lost, if it was.
fn transact<C: Channel, S: Read>(
    connection: &mut Connection<Client<C>>,
    transaction: &mut Transaction,
    upload: &mut Upload<'_, S>,
    observed: &ObservedTransaction<'_>,
) -> Result<Option<Error>, Error> {
    if connection.with(|client, tx| transaction.start(client, tx))? == Progress::Done {
        return Ok(None);
    }
    let lost = run(connection, transaction, upload, observed).err();
    if lost.is_some() {
        let _ = connection.with(|client, tx| transaction.lost(client, tx));
    }
    Ok(lost)
}

fn run<C: Channel, S: Read>(
    connection: &mut Connection<Client<C>>,
    transaction: &mut Transaction,
    upload: &mut Upload<'_, S>,
    observed: &ObservedTransaction<'_>,
) -> Result<(), Error> {
    connection.drive(|turn, client, tx| {
        if let ConnectionEvent::Machine(event) = turn {
            match transaction.event(&event, client, tx)? {
                Progress::Done => return Ok(Some(())),
                Progress::SendData => upload.is_started = true,
                Progress::Continue => {}
            }
        }
        upload
            .fill(client, tx, observed.observer, || observed.before_final_bytes(transaction.recipients()))?;
        Ok::<_, Error>(None)
    })
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

/// The upload of a message.
struct Upload<'a, S> {
    source: &'a mut S,
    /// How many bytes may still be read.
    remaining: u64,
    is_started: bool,
    /// The next piece. It is read ahead, because the last bytes and the end of a chunk are one step: a server that has
    /// all bytes has the message.
    next: Option<Bytes>,
    /// Why the upload was aborted: the source cannot be read, or the journal cannot be written.
    error: Option<Error>,
}

impl<'a, S: Read> Upload<'a, S> {
    const fn new(source: &'a mut S, bytes: u64) -> Self {
        Self { source, remaining: bytes, is_started: false, next: None, error: None }
    }

    /// Queues as much as may wait. Calls `before_final_bytes` before the last bytes are queued.
    fn fill<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        observer: &dyn UploadObserver,
        before_final_bytes: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        while self.is_started && tx.len() < MAX_QUEUED {
            let chunk = match self.next.take() {
                Some(chunk) => chunk,
                None => self.read()?,
            };
            let next = self.read()?;
            if next.is_empty() {
                before_final_bytes().or_else(|error| self.abort(error))?;
            }
            if !chunk.is_empty() {
                client.data_writer()?.write_payload(&chunk, tx)?;
                observer.bytes_queued(chunk.len() as u64);
            }
            if next.is_empty() {
                client.data_writer()?.finish(tx)?;
                self.is_started = false;
            }
            self.next = Some(next);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Bytes, Error> {
        let most = self.remaining.min(CHUNK as u64);
        let mut chunk = Vec::with_capacity(usize::try_from(most).unwrap_or(CHUNK));
        if let Err(error) = self.source.by_ref().take(most).read_to_end(&mut chunk) {
            self.abort(unreadable(error))?;
        }
        self.remaining -= chunk.len() as u64;
        Ok(Bytes::from(chunk))
    }

    /// Aborts the upload with the connection: the message must not seem to end here.
    fn abort(&mut self, error: Error) -> Result<(), Error> {
        self.is_started = false;
        let text = io::Error::other(error.to_string());
        self.error = Some(error);
        Err(Error::Io { doing: "sending the message", source: text })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto_mail::{Cleartext, RecvBuffer};
    use proto_smtp::{
        Config,
        types::{ChunkEnd, ForwardPath, Mail, Rcpt, ReversePath},
    };

    use super::*;

    /// A client that has announced a chunk of this size.
    fn client(bytes: u64, tx: &mut SendBuffer) -> Client<Cleartext> {
        let mut client = Client::<Cleartext>::new(Config::default().danger_cleartext());
        let mut rx = RecvBuffer::new();
        let to = Address::parse("a@x.example").unwrap().into_owned();
        for (number, reply) in ["220 x", "250-x\r\n250 CHUNKING", "250 ok", "250 ok"].into_iter().enumerate()
        {
            match number {
                2 => client.mail(&Mail::new(ReversePath::Null), tx).unwrap(),
                3 => drop(client.rcpt(&Rcpt::new(ForwardPath::from(to.clone())), tx).unwrap()),
                _ => {}
            }
            tx.sent(tx.len());
            rx.extend(format!("{reply}\r\n").as_bytes());
            while client.next_event(&mut rx, tx).unwrap().is_some() {}
        }
        client.bdat(bytes, ChunkEnd::Last, tx).unwrap();
        tx.sent(tx.len());
        client
    }

    #[test]
    fn queues_the_last_bytes_of_a_chunk_with_its_end() {
        for size in [10, CHUNK, MAX_QUEUED - 1, MAX_QUEUED, MAX_QUEUED + 1, 3 * MAX_QUEUED] {
            let mut tx = SendBuffer::new();
            let mut client = client(size as u64, &mut tx);
            let mut source = io::Cursor::new(vec![b'x'; size]);
            let mut upload = Upload::new(&mut source, size as u64);
            upload.is_started = true;
            let mut sent = 0;
            while upload.is_started {
                upload.fill(&mut client, &mut tx, &(), || Ok(())).unwrap();
                sent += tx.len();
                tx.sent(tx.len());
                assert_eq!(client.is_message_sent(&tx), sent == size, "{sent} of {size}");
            }
            assert_eq!(sent, size);
        }
    }
}
