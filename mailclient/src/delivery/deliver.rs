//! Delivering one message with retries, and one attempt in a session. Both block.

use std::io::{Read, Seek};

use proto_mail::{Channel, SendBuffer};
use proto_smtp::client::{Client, Event};

use super::{
    attempt::{Attempt, AttemptEnd, AttemptStep, TransactionStep},
    clock::Clock,
    diagnostic::Retryable,
    journal::Journal,
    message::Message,
    message_attempts::{AfterAttempt, MessageAttempts},
    report::DeliveryReport,
    retry::RetryPolicy,
    session_usage::SessionUsage,
    smtp_session::quit,
};
use io_mio::{Connection, ConnectionEvent, Error};

/// Delivers a message: connects, sends it, and retries for recipients that the server refused temporarily.
///
/// `connect` opens a connection for each attempt, [waits until it is ready](super::wait_until_ready), and logs in if
/// needed. If a server accepts fewer transactions per session (LIMITS, RFC 9422), the rest follows in another session at
/// once.
///
/// # Errors
/// No attempt reached a recipient, and there is no further one. A server's reply about a recipient is not an error: it is
/// in the report.
pub fn deliver<C: Channel, S: Read + Seek, E: Retryable + From<Error>>(
    message: &mut Message<S>,
    policy: &RetryPolicy,
    clock: &mut impl Clock,
    mut connect: impl FnMut() -> Result<Connection<Client<C>>, E>,
) -> Result<DeliveryReport, E> {
    let report = message.report();
    retry(policy, clock, report, |clock, mut attempt, report| {
        loop {
            let mut connection = connect()?;
            let mut usage = SessionUsage::with_limit(u32::MAX);
            let mut run = AttemptRun { message, report, clock, journal: &(), id: &() };
            let end = run.in_session(&mut attempt, &mut connection, &mut usage)?;
            // The replies count even if QUIT fails.
            quit(connection);
            if !matches!(end, AttemptEnd::Stale | AttemptEnd::LimitReached) {
                return Ok(());
            }
        }
    })
}

/// Makes attempts until no recipient waits or there is no further attempt.
///
/// # Errors
/// The last attempt failed, and no recipient has a diagnostic.
pub(super) fn retry<K: Clock, E: Retryable>(
    policy: &RetryPolicy,
    clock: &mut K,
    report: DeliveryReport,
    mut run: impl FnMut(&mut K, Attempt, &mut DeliveryReport) -> Result<(), E>,
) -> Result<DeliveryReport, E> {
    let mut attempts = MessageAttempts::new(report);
    loop {
        let attempt = attempts.start(policy.codes, clock.elapsed());
        let error = run(clock, attempt, attempts.report_mut()).err();
        let (now, random) = (clock.elapsed(), clock.random());
        match attempts.finish(error, policy, now, random) {
            AfterAttempt::Retry(delay) => clock.sleep(delay),
            AfterAttempt::Over => return Ok(attempts.conclude(clock.elapsed())),
            AfterAttempt::Failed(error) => return Err(error),
        }
    }
}

/// What an attempt works with, whatever its session.
pub(super) struct AttemptRun<'a, T, S, K, J: ?Sized> {
    pub(super) message: &'a mut Message<S>,
    pub(super) report: &'a mut DeliveryReport,
    pub(super) clock: &'a mut K,
    pub(super) journal: &'a J,
    pub(super) id: &'a T,
}

impl<T, S: Read + Seek, K: Clock, J: Journal<T> + ?Sized> AttemptRun<'_, T, S, K, J> {
    /// Runs or continues an attempt on a ready connection.
    pub(super) fn in_session<C: Channel>(
        &mut self,
        attempt: &mut Attempt,
        connection: &mut Connection<Client<C>>,
        usage: &mut SessionUsage,
    ) -> Result<AttemptEnd, Error> {
        attempt.enter(connection.machine(), connection.tls_info(), self.message, self.report);
        let mut step = attempt.next_transaction(usage);
        loop {
            let lost = match step {
                AttemptStep::End(end) => return Ok(end),
                AttemptStep::Rewind => {
                    let size = self.message.rewind()?;
                    let now = self.clock.elapsed();
                    let start =
                        |client: &mut _, tx: &mut _| attempt.start(self.message, size, client, tx, now);
                    step = connection.with(start)?;
                    continue;
                }
                AttemptStep::Drive => {
                    let driven = connection.drive(|turn, client, tx| {
                        let event =
                            if let ConnectionEvent::Machine(event) = &turn { Some(event) } else { None };
                        self.advance(attempt, event, client, tx)
                    });
                    driven.err()
                }
                AttemptStep::EndTransaction => None,
            };
            let now = self.clock.moment();
            let report = &mut *self.report;
            step = connection
                .with(|client, tx| attempt.end_transaction(lost, client, tx, usage, report, now))?;
        }
    }

    /// Advances a transaction, and reads the message and writes the journal as it asks. Returns a value when it is over.
    fn advance<C: Channel>(
        &mut self,
        attempt: &mut Attempt,
        mut event: Option<&Event<'_>>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Option<()>, Error> {
        loop {
            let step = attempt.advance(event.take(), client, tx)?;
            let queued = attempt.take_queued();
            if queued > 0 {
                self.journal.bytes_queued(self.id, queued);
            }
            match step {
                TransactionStep::Wait => return Ok(None),
                TransactionStep::Over => return Ok(Some(())),
                TransactionStep::Read(most) => match self.message.read(most) {
                    Ok(bytes) => attempt.chunk(bytes),
                    Err(error) => return Err(attempt.abort(error)),
                },
                TransactionStep::BeforeFinalBytes(recipients) => {
                    match self.journal.before_final_bytes(self.id, &recipients) {
                        Ok(()) => attempt.journalled(),
                        Err(error) => return Err(attempt.abort(Error::io("writing the journal")(error))),
                    }
                }
            }
        }
    }
}
