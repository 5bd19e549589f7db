//! Messages to many recipients each, and the truth about each of them.
//!
//! A try is one transaction or several on one session. Recipients that a server refuses for now are tried again, with a
//! growing pause; those that it took or refused for good are not, and neither are those of whom the answer was lost, so
//! that nobody gets a message twice. This room knows tries and outcomes; how a connection is made and who logs in, the
//! caller knows.
//!
//! * [`Dispatcher`] works off many messages on the sessions of a [`Pool`], so many at once for each host, and tells a
//!   [`Journal`] of each step before it takes the next.
//! * [`Pool::deliver`] delivers one message on a session of a pool; a [`Route`] says how sessions are opened.
//! * [`deliver`] delivers one message and needs no pool.
//!
//! All of them block. A program on a [`Reactor`](crate::Reactor) gives the call to a thread of
//! [`Workers`](crate::Workers).
//!
//! Each phase has its deadline: those of RFC 5321 §4.5.3.2, or less by the connector's [`Deadlines`](crate::Deadlines).

mod attempt;
mod diagnostic;
mod dispatcher;
mod journal;
mod message;
mod pool;
mod queue;
mod report;
mod retry;
mod route;
mod validation;

use std::io::{Read, Seek};
use std::time::Duration;

use proto_mail::Channel;
use proto_smtp::client::{Client, Event};

use crate::{Connection, ConnectionEvent, Error, smtp::unwilling};

use attempt::{End, SessionUsage, Try};

pub use diagnostic::{DIAGNOSTIC_TEXT_LIMIT, DeliveryStage, Diagnostic, Retryable};
pub use dispatcher::{DeliveryRequest, DeliveryResult, Dispatcher, StopSignal};
pub use journal::Journal;
pub use message::{Chunking, Message};
pub use pool::{Pool, PoolLimits, Session};
pub use report::{DeliveryReport, DeliveryStatus, RecipientReport};
pub use retry::{Clock, RetryCodes, RetryPolicy, SystemClock};
pub use route::{Route, log_in};
pub use validation::{AddressPolicy, MessageLimits, MessagePart, Problem, ProblemKind};

/// Delivers a message: connects, sends it, and tries again for those that the server refuses for now.
///
/// `connect` makes a connection for each try, and logs in if need be; [`wait_until_ready`] waits for what the server offers. A
/// server that takes fewer messages in a session (LIMITS, RFC 9422) gets the rest in another one, at once.
///
/// # Errors
/// No try came as far as a recipient, and another would make no sense or none is left. Whatever a server says of a
/// recipient is no error: it stands in the report.
pub fn deliver<C: Channel, S: Read + Seek, E: Retryable + From<Error>>(
    message: &mut Message<S>,
    policy: &RetryPolicy,
    clock: &mut impl Clock,
    mut connect: impl FnMut() -> Result<Connection<Client<C>>, E>,
) -> Result<DeliveryReport, E> {
    let mut report = message.report();
    retry(policy, clock, &mut report, |clock, report| {
        let mut one_try = Try::new(report, policy.codes, Duration::ZERO);
        loop {
            let mut connection = connect()?;
            let mut spent = SessionUsage::of(u32::MAX);
            let end = one_try.run(&mut connection, &mut spent, message, report, clock, &())?;
            // What was answered stands, whether or not the server hears the good-bye.
            quit(connection);
            if !matches!(end, End::Stale | End::UsedUp) {
                return Ok::<_, E>(());
            }
        }
    })?;
    Ok(report)
}

/// Waits until a server has greeted and said what it offers.
///
/// # Errors
/// The connection is lost or its deadline passes; [`Error::ServiceRefused`] if the server does not want to serve.
pub fn wait_until_ready<C: Channel>(connection: &mut Connection<Client<C>>) -> Result<(), Error> {
    connection.drive(|turn, _, _| match turn {
        ConnectionEvent::Machine(Event::Capabilities(_)) => Ok(Some(())),
        ConnectionEvent::Machine(Event::Rejected(_, response) | Event::Closed(Some(response))) => {
            Err(unwilling(&response))
        }
        ConnectionEvent::Machine(Event::Closed(None)) => Err(Error::Closed),
        _ => Ok(None),
    })
}

/// Tries until nobody waits or the tries are used up, and concludes the report.
///
/// # Errors
/// A try failed before anything was known of anybody, and another would make no sense or none is left.
fn retry<K: Clock, E: Retryable>(
    policy: &RetryPolicy,
    clock: &mut K,
    report: &mut DeliveryReport,
    mut attempt: impl FnMut(&mut K, &mut DeliveryReport) -> Result<(), E>,
) -> Result<(), E> {
    for number in 1.. {
        let obstacle = attempt(clock, report).err();
        let known = report.has_answer();
        let why = obstacle.as_ref().map(|obstacle| obstacle as &dyn Retryable);
        let (elapsed, chance) = (clock.elapsed(), clock.random());
        match (policy.after(number, why, report, elapsed, chance), obstacle) {
            (Some(pause), _) => clock.sleep(pause),
            (None, Some(obstacle)) if !known => return Err(obstacle),
            (None, _) => break,
        }
    }
    report.conclude_after(clock.elapsed());
    Ok(())
}

/// Says good-bye and closes. That the server may be gone already is no failure.
fn quit<C: Channel>(mut connection: Connection<Client<C>>) {
    if connection.with(|client, tx| client.quit(tx)).is_ok() {
        let _ = connection.flush();
    }
    let _ = connection.close();
}
