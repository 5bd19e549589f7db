//! One message to many recipients, and the truth about each of them.
//!
//! A try is one connection. Recipients that a server refuses for now are tried again, with a growing pause; those that
//! it took or refused for good are not, and neither are those of whom the answer was lost, so that nobody gets a
//! message twice. This room knows tries and outcomes; how a connection is made and who logs in, the caller knows.
//!
//! [`deliver`] is the whole of it in one call that blocks. [`retry`] and [`transact`] are its halves, for a program
//! whose tries are more than a connection. A program on a [`Reactor`](crate::Reactor) gives the call to a thread of
//! [`Workers`](crate::Workers).
//!
//! Each phase has its deadline: those of RFC 5321 §4.5.3.2, or less by the connector's [`Patience`](crate::Patience).

mod policy;
mod report;

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use proto_core::{Channel, SendBuffer};
use proto_smtp::{
    client::{Client, Event, NotSent, Outcome, Progress, Transaction},
    types::{Mail, Rcpt, Response},
};

use crate::{Connection, Error, Turn};

pub use policy::{Clock, RetryPolicy, SystemClock};
pub use report::{Answer, DeliveryReport, RecipientReport, Stage, Status};

/// How much of a message waits to be sent at most, in octets.
const AHEAD: usize = 256 * 1024;
/// How much of a message is read at once, in octets.
const CHUNK: usize = 64 * 1024;

/// A message to deliver: its envelope, and its octets, which are read again for each try.
///
/// The octets have CRLF line ends. They go from where the source begins to where it ends; about 320 KiB of them
/// are in memory at most.
#[derive(Debug)]
pub struct Message<S> {
    mail: Mail<'static>,
    recipients: Vec<Rcpt<'static>>,
    message_id: Option<String>,
    source: S,
}

impl<S: Read + Seek> Message<S> {
    /// A message from there, to nobody yet. `mail` says what the octets need (SIZE, 8BITMIME, SMTPUTF8): a server that
    /// does not offer it is not sent the message.
    pub const fn new(mail: Mail<'static>, source: S) -> Self {
        Self { mail, recipients: Vec::new(), message_id: None, source }
    }

    /// Adds a recipient. They keep their order.
    #[must_use]
    pub fn recipient(mut self, rcpt: Rcpt<'static>) -> Self {
        self.recipients.push(rcpt);
        self
    }

    /// The identifier that the report is to show.
    #[must_use]
    pub fn message_id(mut self, message_id: Option<String>) -> Self {
        self.message_id = message_id;
        self
    }

    /// How many octets it has, if that was said (SIZE).
    #[must_use]
    pub const fn octets(&self) -> Option<u64> {
        self.mail.size
    }

    /// A report of this message before it is tried: every recipient waits.
    #[must_use]
    pub fn report(&self) -> DeliveryReport {
        let address =
            |rcpt: &Rcpt<'_>| rcpt.to.address().map_or_else(|| "Postmaster".to_owned(), ToString::to_string);
        DeliveryReport::new(self.message_id.clone(), self.recipients.iter().map(address))
    }
}

/// Why a try came to nothing, as far as trying again depends on it.
pub trait Obstacle {
    /// Whether the same may well succeed later.
    fn is_transient(&self) -> bool;
    /// What happened, in a line. No secret is in it.
    fn what(&self) -> String;
}

impl Obstacle for Error {
    fn is_transient(&self) -> bool {
        self.is_retryable()
    }

    fn what(&self) -> String {
        self.to_string()
    }
}

/// Delivers a message: connects, sends it, and tries again for those that the server refuses for now.
///
/// `connect` makes a connection for each try, and logs in if need be; [`ready`] waits for what the server offers.
///
/// # Errors
/// No try came as far as a recipient, and another would make no sense or none is left. Whatever a server says of a
/// recipient is no error: it stands in the report.
pub fn deliver<C: Channel, S: Read + Seek, E: Obstacle + From<Error>>(
    message: &mut Message<S>,
    policy: &RetryPolicy,
    clock: &mut impl Clock,
    mut connect: impl FnMut() -> Result<Connection<Client<C>>, E>,
) -> Result<DeliveryReport, E> {
    let mut report = message.report();
    retry(policy, clock, &mut report, |clock, report| {
        let mut connection = connect()?;
        transact(&mut connection, message, report, clock, |_| ()).map_err(E::from)?;
        // What was answered stands, whether or not the server hears the good-bye.
        if connection.with(|client, tx| client.quit(tx)).is_ok() {
            let _ = connection.flush();
        }
        let _ = connection.close();
        Ok::<_, E>(())
    })?;
    Ok(report)
}

/// Waits until a server has greeted and said what it offers.
///
/// # Errors
/// The connection is lost or its deadline passes; [`Error::Unwilling`] if the server does not want to serve.
pub fn ready<C: Channel>(connection: &mut Connection<Client<C>>) -> Result<(), Error> {
    connection.drive(|turn, _, _| match turn {
        Turn::Event(Event::Extensions(_)) => Ok(Some(())),
        Turn::Event(Event::Rejected(_, response) | Event::Closed(Some(response))) => {
            Err(unwilling(&response))
        }
        Turn::Event(Event::Closed(None)) => Err(Error::Closed),
        _ => Ok(None),
    })
}

/// Tries until nobody waits or the tries are used up, and concludes the report.
///
/// # Errors
/// A try failed before anything was known of anybody, and another would make no sense or none is left.
pub fn retry<K: Clock, E: Obstacle>(
    policy: &RetryPolicy,
    clock: &mut K,
    report: &mut DeliveryReport,
    mut attempt: impl FnMut(&mut K, &mut DeliveryReport) -> Result<(), E>,
) -> Result<(), E> {
    let tries = policy.tries.max(1);
    for number in 1..=tries {
        let last = number == tries;
        let mut hopeless = false;
        if let Err(obstacle) = attempt(clock, report) {
            hopeless = !obstacle.is_transient();
            if (hopeless || last) && !report.has_answer() {
                return Err(obstacle);
            }
            report.postpone(&obstacle.what());
        }
        if hopeless || last || report.pending().is_empty() {
            break;
        }
        report.retry_count = number;
        let pause = policy.pause_after(number, clock.chance());
        clock.pause(pause);
    }
    report.duration_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.conclude();
    Ok(())
}

/// One try on a connection that is [`ready`]: the message for those that wait, and what became of each.
///
/// A server that takes fewer recipients at once (LIMITS, RFC 9422) gets the others in further transactions of the same
/// session. `sent` is told how many octets of the message were given to the connection since it was told last.
///
/// # Errors
/// The message cannot be read, or the machine cannot begin. That the connection is lost is no error: it stands in the
/// report.
pub fn transact<C: Channel, S: Read + Seek>(
    connection: &mut Connection<Client<C>>,
    message: &mut Message<S>,
    report: &mut DeliveryReport,
    clock: &mut impl Clock,
    mut sent: impl FnMut(u64),
) -> Result<(), Error> {
    report.tls = connection.tls_info().map(|info| info.version.to_owned());
    let mut pending = report.pending();
    while !pending.is_empty() {
        message.source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut transaction = begin(message, &pending);
        let mut upload = Upload { source: &mut message.source, sending: false, failed: None };
        let started = connection.with(|client, tx| transaction.start(client, tx))?;
        let lost = match started {
            Progress::Done => None,
            _ => run(connection, &mut transaction, &mut upload, &mut sent).err(),
        };
        if lost.is_some() {
            let _ = connection.with(|client, tx| transaction.lost(client, tx));
        }
        let why = lost.as_ref().map(ToString::to_string);
        let mut left = Vec::new();
        for (number, recipient) in pending.iter().zip(transaction.recipients()) {
            report.decide(*number, recipient.outcome(), why.as_deref(), clock.now());
            if *recipient.outcome() == Outcome::NotSent(NotSent::LeftOver) {
                left.push(*number);
            }
        }
        if let Some(error) = upload.failed {
            return Err(unreadable(error));
        }
        if lost.is_some() || left.len() == pending.len() {
            break;
        }
        pending = left;
    }
    Ok(())
}

fn begin<S>(message: &Message<S>, pending: &[usize]) -> Transaction {
    let recipients = pending.iter().filter_map(|number| message.recipients.get(*number));
    recipients
        .fold(Transaction::new(message.mail.clone()), |transaction, rcpt| transaction.recipient(rcpt.clone()))
}

fn run<C: Channel, S: Read>(
    connection: &mut Connection<Client<C>>,
    transaction: &mut Transaction,
    upload: &mut Upload<'_, S>,
    sent: &mut impl FnMut(u64),
) -> Result<(), Error> {
    connection.drive(|turn, client, tx| {
        if let Turn::Event(event) = turn {
            match transaction.event(&event, client, tx)? {
                Progress::Done => return Ok(Some(())),
                Progress::SendData => upload.sending = true,
                Progress::Continue => {}
            }
        }
        upload.fill(client, tx, sent)?;
        Ok::<_, Error>(None)
    })
}

/// The octets of a message on their way.
struct Upload<'a, S> {
    source: &'a mut S,
    sending: bool,
    /// Why the source cannot be read.
    failed: Option<io::Error>,
}

impl<S: Read> Upload<'_, S> {
    /// Queues as much as may wait.
    fn fill<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        sent: &mut impl FnMut(u64),
    ) -> Result<(), Error> {
        while self.sending && tx.len() < AHEAD {
            let mut chunk = Vec::with_capacity(CHUNK);
            if let Err(error) = self.source.by_ref().take(CHUNK as u64).read_to_end(&mut chunk) {
                // The message must not seem to end here: the connection is given up in the middle of it.
                self.sending = false;
                let told = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                return Err(unreadable(told));
            }
            let mut writer = client.data_writer()?;
            if chunk.is_empty() {
                writer.finish(tx)?;
                self.sending = false;
            } else {
                sent(chunk.len() as u64);
                writer.write_payload(&Bytes::from(chunk), tx)?;
            }
        }
        Ok(())
    }
}

fn unwilling(response: &Response<'_>) -> Error {
    Error::Unwilling { code: response.code().get(), reply: response.to_string() }
}

const fn unreadable(source: io::Error) -> Error {
    Error::Io { doing: "reading the message", source }
}
