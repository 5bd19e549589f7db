//! Delivering one message, with retries.

use std::{
    io::{Read, Seek},
    time::Duration,
};

use proto_mail::Channel;
use proto_smtp::client::Client;

use super::{
    attempt::{AttemptEnd, DeliveryAttempt, SessionUsage},
    clock::Clock,
    diagnostic::Retryable,
    message::Message,
    report::DeliveryReport,
    retry::{RetryDecision, RetryPolicy},
    smtp_session::quit,
};
use io_mio::{Connection, Error};

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
    let mut report = message.report();
    retry(policy, clock, &mut report, |clock, report| {
        let mut current = DeliveryAttempt::new(report, policy.codes, Duration::ZERO);
        loop {
            let mut connection = connect()?;
            let mut usage = SessionUsage::with_limit(u32::MAX);
            let end = current.run(&mut connection, &mut usage, message, report, clock, &())?;
            // The replies count even if QUIT fails.
            quit(connection);
            if !matches!(end, AttemptEnd::Stale | AttemptEnd::LimitReached) {
                return Ok::<_, E>(());
            }
        }
    })?;
    Ok(report)
}

/// Makes attempts until no recipient waits or there is no further attempt, and concludes the report.
///
/// # Errors
/// The last attempt failed, and no recipient has a diagnostic.
pub(super) fn retry<K: Clock, E: Retryable>(
    policy: &RetryPolicy,
    clock: &mut K,
    report: &mut DeliveryReport,
    mut attempt: impl FnMut(&mut K, &mut DeliveryReport) -> Result<(), E>,
) -> Result<(), E> {
    for number in 1.. {
        let error = attempt(clock, report).err();
        let has_diagnostic = report.has_diagnostic();
        let (elapsed, random) = (clock.elapsed(), clock.random());
        let decision = report.record_error(error.as_ref().map(|error| error as &dyn Retryable), elapsed);
        let has_pending = decision == RetryDecision::Retry && !report.pending().is_empty();
        match (policy.next_delay(number, has_pending, elapsed, random), error) {
            (Some(delay), _) => clock.sleep(delay),
            (None, Some(error)) if !has_diagnostic => return Err(error),
            (None, _) => break,
        }
    }
    report.conclude_after(clock.elapsed());
    Ok(())
}
