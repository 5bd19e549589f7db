//! One try on one session: the transactions that it takes, and what became of everybody in them.
//!
//! It knows transactions and the octets of a message on their way. Where sessions come from, and what follows a try,
//! it does not know.

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
    Clock, DeliveryReport, DeliveryStage, DeliveryStatus, Diagnostic, Message, RetryCodes, journal::Watch,
    message::unreadable, report::Transacted,
};
use crate::{Connection, ConnectionEvent, Error};

/// How much of a message waits to be sent at most, in octets.
const AHEAD: usize = 256 * 1024;
/// How much of a message is read at once, in octets.
const CHUNK: usize = 64 * 1024;

/// How many transactions a session has behind it, and how many it may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionUsage {
    transactions: u32,
    most: u32,
}

impl SessionUsage {
    /// Nothing yet, of so many; 0 counts as 1.
    pub(super) const fn of(most: u32) -> Self {
        Self { transactions: 0, most: if most == 0 { 1 } else { most } }
    }

    /// Whether no more may follow.
    pub(super) const fn is_over(self) -> bool {
        self.transactions >= self.most
    }

    /// Whether the session may have died since it was used, without anybody's fault.
    const fn is_used(self) -> bool {
        self.transactions > 0
    }

    /// Whether it had this one transaction and no other.
    pub(super) const fn is_first(self) -> bool {
        self.transactions == 1
    }
}

/// What a try came to, for its session and for those that still wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Everybody was answered. The session can be used again.
    Over,
    /// The session is lost.
    Lost,
    /// The session had died before this transaction began for anybody: another one does what this could not.
    Stale,
    /// The server takes no more messages in this session: another one goes on.
    UsedUp,
}

/// A try: who still waits in it. It may go on in another session.
#[derive(Debug)]
pub(super) struct Try {
    codes: RetryCodes,
    /// When the delivery began, by the clock.
    began: Duration,
    pending: Vec<usize>,
}

impl Try {
    /// A try for all that wait.
    pub(super) fn new(report: &mut DeliveryReport, codes: RetryCodes, began: Duration) -> Self {
        report.count_try();
        Self { codes, began, pending: report.pending() }
    }

    /// Makes it on a connection that is ready, or goes on with it there.
    pub(super) fn run<C: Channel, S: Read + Seek>(
        &mut self,
        connection: &mut Connection<Client<C>>,
        spent: &mut SessionUsage,
        message: &mut Message<S>,
        report: &mut DeliveryReport,
        clock: &mut impl Clock,
        watch: &dyn Watch,
    ) -> Result<End, Error> {
        report.tls = connection.tls_info().map(|info| info.version.to_owned());
        leave_out(connection.machine(), message, report, &mut self.pending);
        while !self.pending.is_empty() {
            if spent.is_over() {
                return Ok(End::UsedUp);
            }
            let started = clock.elapsed();
            let (mut transaction, octets) = message.transaction(&self.pending)?;
            let mut upload = Upload::new(message.source(), octets);
            let told = Told { watch, numbers: &self.pending };
            let lost = transact(connection, &mut transaction, &mut upload, &told)?;
            let given_up = upload.failed;
            let closed = lost.is_some() || connection.machine().is_closed();
            let used = spent.is_used();
            spent.transactions = spent.transactions.saturating_add(1);
            if used && let Some(end) = of_used_session(closed, lost.as_ref(), transaction.recipients()) {
                return Ok(end);
            }
            self.decide(&transaction, given_up.as_ref().or(lost.as_ref()), started, report, clock);
            if let Some(error) = given_up {
                return Err(error);
            }
            self.pending = left_over(&self.pending, transaction.recipients());
            // A message that was refused in its middle leaves a session in which nothing more can be said.
            if closed || !connection.machine().is_idle() {
                return Ok(End::Lost);
            }
        }
        Ok(End::Over)
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
        let of = Transacted {
            codes: self.codes,
            lost: why.as_deref(),
            now: clock.now(),
            took: elapsed.saturating_sub(started),
            elapsed: elapsed.saturating_sub(self.began),
        };
        for (number, recipient) in self.pending.iter().zip(transaction.recipients()) {
            report.decide(*number, recipient.outcome(), &of);
        }
        if let Some(Error::Protocol(proto_mail::Error::Misuse(_))) = lost {
            // What cannot be sent as it is will not be sent another time either.
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

/// What a used session could not do and another one can.
fn of_used_session(closed: bool, lost: Option<&Error>, recipients: &[Recipient]) -> Option<End> {
    let used_up = Outcome::NotSent(NotSent::SessionUsedUp);
    if closed && is_nobodys_fault(lost, recipients) {
        Some(End::Stale)
    } else {
        recipients.iter().all(|one| *one.outcome() == used_up).then_some(End::UsedUp)
    }
}

/// Those that need SMTPUTF8 are not tried where it is not offered, if the others can do without it.
fn leave_out<C: Channel, S: Read + Seek>(
    client: &Client<C>,
    message: &Message<S>,
    report: &mut DeliveryReport,
    pending: &mut Vec<usize>,
) {
    let only_ascii = !client.capabilities().is_some_and(|offered| offered.contains(Extension::SmtpUtf8))
        && message.is_ascii_without_recipients();
    pending.retain(|number| {
        // Whoever cannot be read is in no report as waiting, unless the report is of another message.
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

/// Who is told of a transaction, and which recipients of the message are in it.
struct Told<'a> {
    watch: &'a dyn Watch,
    numbers: &'a [usize],
}

impl Told<'_> {
    /// The last octets are about to leave, for those that the server has accepted.
    fn before_final_bytes(&self, recipients: &[Recipient]) -> Result<(), Error> {
        let accepted = self.numbers.iter().zip(recipients).filter(|(_, one)| one.is_accepted());
        self.watch.before_final_bytes(&accepted.map(|(number, _)| *number).collect::<Vec<_>>())
    }
}

/// One transaction. Returns why the connection was lost, if it was.
fn transact<C: Channel, S: Read>(
    connection: &mut Connection<Client<C>>,
    transaction: &mut Transaction,
    upload: &mut Upload<'_, S>,
    told: &Told<'_>,
) -> Result<Option<Error>, Error> {
    if connection.with(|client, tx| transaction.start(client, tx))? == Progress::Done {
        return Ok(None);
    }
    let lost = run(connection, transaction, upload, told).err();
    if lost.is_some() {
        let _ = connection.with(|client, tx| transaction.lost(client, tx));
    }
    Ok(lost)
}

fn run<C: Channel, S: Read>(
    connection: &mut Connection<Client<C>>,
    transaction: &mut Transaction,
    upload: &mut Upload<'_, S>,
    told: &Told<'_>,
) -> Result<(), Error> {
    connection.drive(|turn, client, tx| {
        if let ConnectionEvent::Machine(event) = turn {
            match transaction.event(&event, client, tx)? {
                Progress::Done => return Ok(Some(())),
                Progress::SendData => upload.sending = true,
                Progress::Continue => {}
            }
        }
        upload.fill(client, tx, told.watch, || told.before_final_bytes(transaction.recipients()))?;
        Ok::<_, Error>(None)
    })
}

/// Whether a used session ended as idle ones do: it was cut off, or said 421, before anybody was accepted. No octet
/// of the message had left then.
fn is_nobodys_fault(lost: Option<&Error>, recipients: &[Recipient]) -> bool {
    let untouched = |one: &Recipient| {
        let so = match one.outcome() {
            Outcome::NotSent(NotSent::Lost) => true,
            Outcome::Refused(Step::Rcpt(_), response) => response.code().get() == 421,
            _ => false,
        };
        so && !one.is_accepted()
    };
    lost.is_none_or(Error::is_retryable) && recipients.iter().all(untouched)
}

/// Who follows in the next transaction of the session: those beyond the server's announced limit, and those beyond the
/// one that it keeps to itself (452 behind others that it took, RFC 5321 §4.5.3.1.10).
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

/// The octets of a message on their way.
struct Upload<'a, S> {
    source: &'a mut S,
    /// How many octets may still be read.
    left: u64,
    sending: bool,
    /// What goes next. It is known whether anything follows before it goes: the last octets of a chunk and its end
    /// are one step, since a server that has them all has the message.
    next: Option<Bytes>,
    /// Why the message is not sent to its end: the source cannot be read, or the journal not be written.
    failed: Option<Error>,
}

impl<'a, S: Read> Upload<'a, S> {
    const fn new(source: &'a mut S, octets: u64) -> Self {
        Self { source, left: octets, sending: false, next: None, failed: None }
    }

    /// Queues as much as may wait. `ending` is told before the last octets are queued.
    fn fill<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        watch: &dyn Watch,
        ending: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        while self.sending && tx.len() < AHEAD {
            let chunk = match self.next.take() {
                Some(chunk) => chunk,
                None => self.read()?,
            };
            let next = self.read()?;
            if next.is_empty() {
                ending().or_else(|error| self.give_up(error))?;
            }
            if !chunk.is_empty() {
                client.data_writer()?.write_payload(&chunk, tx)?;
                watch.bytes_queued(chunk.len() as u64);
            }
            if next.is_empty() {
                client.data_writer()?.finish(tx)?;
                self.sending = false;
            }
            self.next = Some(next);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Bytes, Error> {
        let most = self.left.min(CHUNK as u64);
        let mut chunk = Vec::with_capacity(usize::try_from(most).unwrap_or(CHUNK));
        if let Err(error) = self.source.by_ref().take(most).read_to_end(&mut chunk) {
            self.give_up(unreadable(error))?;
        }
        self.left -= chunk.len() as u64;
        Ok(Bytes::from(chunk))
    }

    /// The message must not seem to end here: the connection is given up in the middle of it.
    fn give_up(&mut self, error: Error) -> Result<(), Error> {
        self.sending = false;
        let text = io::Error::other(error.to_string());
        self.failed = Some(error);
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

    /// A client that has announced a chunk of so many octets.
    fn client(octets: u64, tx: &mut SendBuffer) -> Client<Cleartext> {
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
        client.bdat(octets, ChunkEnd::Last, tx).unwrap();
        tx.sent(tx.len());
        client
    }

    #[test]
    fn the_last_octets_of_a_chunk_and_its_end_are_one_step() {
        for octets in [10, CHUNK, AHEAD - 1, AHEAD, AHEAD + 1, 3 * AHEAD] {
            let mut tx = SendBuffer::new();
            let mut client = client(octets as u64, &mut tx);
            let mut source = io::Cursor::new(vec![b'x'; octets]);
            let mut upload = Upload::new(&mut source, octets as u64);
            upload.sending = true;
            let mut gone = 0;
            while upload.sending {
                upload.fill(&mut client, &mut tx, &(), || Ok(())).unwrap();
                gone += tx.len();
                tx.sent(tx.len());
                assert_eq!(client.is_message_sent(&tx), gone == octets, "{gone} of {octets}");
            }
            assert_eq!(gone, octets);
        }
    }
}
