//! One attempt on tokio: drives the sessions, reads the message on worker threads and writes the journal.

use std::io::{self, Read, Seek};

use io_common::Error;
use io_tokio::ConnectionEvent;
use proto_mail::Channel;

use super::{
    clock::Clock,
    diagnostic::Retryable,
    engine::{AttemptEnd, AttemptOutcome, AttemptStep, Delivery, DeliveryParts, TransactionStep},
    lent_source::LentSource,
    tokio_pool::{Lease, OpenError, Session},
    tokio_route::Route,
    tokio_traits::AsyncJournal,
};
use crate::tokio::BlockingJobs;

pub(super) type Held<T, S, C, E> = Box<Delivery<T, LentSource<S>, Route<C, E>, E>>;

/// An attempt that has ended in this session, if there is one.
pub(super) struct EndedAttempt<'f, T, S, C: Channel + Send, E> {
    pub(super) delivery: Held<T, S, C, E>,
    pub(super) outcome: AttemptOutcome<E>,
    pub(super) session: Option<Session<'f, C>>,
}

/// An attempt and its session. Dropping it before its end records in the journal what is known of it.
pub(super) struct Flight<'f, T: Sync, S, C: Channel + Send, E, K: Clock, J: AsyncJournal<T>> {
    /// `None` once the attempt has ended.
    delivery: Option<Held<T, S, C, E>>,
    session: Option<Session<'f, C>>,
    clock: K,
    journal: &'f J,
    jobs: &'f BlockingJobs,
    /// Whether the journal was told that last bytes are about to be sent.
    is_announced: bool,
}

impl<'f, T, S, C, E, K, J> Flight<'f, T, S, C, E, K, J>
where
    T: Send + Sync,
    S: Read + Seek + Send + 'static,
    C: Channel + Send,
    E: Retryable + From<Error>,
    K: Clock,
    J: AsyncJournal<T>,
{
    pub(super) const fn new(
        delivery: Held<T, S, C, E>,
        clock: K,
        journal: &'f J,
        jobs: &'f BlockingJobs,
    ) -> Self {
        Self { delivery: Some(delivery), session: None, clock, journal, jobs, is_announced: false }
    }

    /// Runs or continues the attempt in the leased session, and in further ones if needed.
    pub(super) async fn run(mut self, lease: Lease<'f, C>) -> Option<Box<EndedAttempt<'f, T, S, C, E>>> {
        let outcome = self.attempt(lease).await;
        let session = self.session.take();
        Some(Box::new(EndedAttempt { delivery: self.delivery.take()?, outcome, session }))
    }

    async fn attempt(&mut self, lease: Lease<'f, C>) -> AttemptOutcome<E> {
        let not_opened = |unopened: OpenError<E>| AttemptOutcome::NotOpened(unopened.error, unopened.others);
        let closed = || AttemptOutcome::from(Error::Closed);
        let Some(route) = self.delivery.as_ref().map(|delivery| delivery.route().clone()) else {
            return closed();
        };
        let mut opened = lease.open(&route).await;
        loop {
            match opened {
                Ok(session) => self.session = Some(session),
                Err(unopened) => return not_opened(unopened),
            }
            let end = match self.in_session().await {
                Ok(end) => end,
                Err(error) => return AttemptOutcome::from(error),
            };
            let Some(session) = self.session.take() else { return closed() };
            let outcome =
                session.held.as_ref().map_or(Some(closed()), |held| AttemptOutcome::of(end, &held.usage));
            if let Some(outcome) = outcome {
                self.session = Some(session);
                return outcome;
            }
            opened = session.replaced(&route).await;
        }
    }

    /// Runs or continues the attempt in the session.
    async fn in_session(&mut self) -> Result<AttemptEnd, Error> {
        let mut step = None;
        loop {
            let (parts, held) = Self::parts(&mut self.delivery, &mut self.session)?;
            let DeliveryParts { message, report, attempt, .. } = parts;
            let next = match step {
                Some(step) => step,
                None => {
                    attempt.enter(held.connection.machine(), held.connection.tls_info(), message, report);
                    attempt.next_transaction(&held.usage)
                }
            };
            let lost = match next {
                AttemptStep::End(end) => return Ok(end),
                AttemptStep::Rewind => {
                    let size = message.rewind_lent(self.jobs).await?;
                    let now = self.clock.elapsed();
                    let start = |client: &mut _, tx: &mut _| attempt.start(message, size, client, tx, now);
                    step = Some(held.connection.with(start)?);
                    continue;
                }
                AttemptStep::Drive => self.drive().await.err().map(session_error),
                AttemptStep::EndTransaction => None,
            };
            step = Some(self.end_transaction(lost)?);
        }
    }

    /// Drives a transaction until it is over.
    async fn drive(&mut self) -> Result<(), io_tokio::Error> {
        loop {
            let (DeliveryParts { id, message, attempt, .. }, held) =
                Self::parts(&mut self.delivery, &mut self.session)?;
            let mut step = held.connection.with(|client, tx| attempt.advance(None, client, tx))?;
            if step == TransactionStep::Wait {
                self.journal.bytes_queued(id, attempt.take_queued());
                let driven = held.connection.drive(|turn, client, tx| {
                    let event = if let ConnectionEvent::Machine(event) = &turn { Some(event) } else { None };
                    let step = attempt.advance(event, client, tx)?;
                    Ok::<_, io_tokio::Error>((step != TransactionStep::Wait).then_some(step))
                });
                step = driven.await?;
            }
            let queued = attempt.take_queued();
            if queued > 0 {
                self.journal.bytes_queued(id, queued);
            }
            match step {
                TransactionStep::Wait => {}
                TransactionStep::Over => return Ok(()),
                TransactionStep::Read(most) => match message.read_lent(most, self.jobs).await {
                    Ok(bytes) => attempt.chunk(bytes),
                    Err(error) => return Err(attempt.abort(error).into()),
                },
                TransactionStep::BeforeFinalBytes(recipients) => {
                    self.is_announced = true;
                    match self.journal.write_before_final_bytes(id, &recipients).await {
                        Ok(()) => attempt.journalled(),
                        Err(error) => {
                            return Err(attempt.abort(Error::io("writing the journal")(error)).into());
                        }
                    }
                }
            }
        }
    }
}

type Parts<'d, 'f, T, S, C, E> =
    (DeliveryParts<'d, T, LentSource<S>, Route<C, E>>, &'d mut super::tokio_pool::HeldSession<C>);

impl<'f, T: Sync, S, C: Channel + Send, E, K: Clock, J: AsyncJournal<T>> Flight<'f, T, S, C, E, K, J> {
    /// Returns what the attempt works with in its session.
    fn parts<'d>(
        delivery: &'d mut Option<Held<T, S, C, E>>,
        session: &'d mut Option<Session<'f, C>>,
    ) -> Result<Parts<'d, 'f, T, S, C, E>, Error> {
        let held = session.as_mut().and_then(|session| session.held.as_mut());
        match (delivery, held) {
            (Some(delivery), Some(held)) => Ok((delivery.parts_mut(), held)),
            _ => Err(Error::Closed),
        }
    }

    /// Decides about the recipients of the transaction.
    fn end_transaction(&mut self, lost: Option<Error>) -> Result<AttemptStep, Error> {
        let now = self.clock.moment();
        let (DeliveryParts { report, attempt, .. }, held) =
            Self::parts(&mut self.delivery, &mut self.session)?;
        let usage = &mut held.usage;
        held.connection.with(|client, tx| attempt.end_transaction(lost, client, tx, usage, report, now))
    }
}

impl<T: Sync, S, C: Channel + Send, E, K: Clock, J: AsyncJournal<T>> Drop for Flight<'_, T, S, C, E, K, J> {
    fn drop(&mut self) {
        let Some(delivery) = &mut self.delivery else { return };
        let is_in_transaction = delivery.parts_mut().attempt.is_in_transaction();
        // After a panic, a message without a result in the journal is uncertain.
        if std::thread::panicking() || !(is_in_transaction || self.is_announced) {
            return;
        }
        let cancelled = io::Error::other("the caller cancelled it");
        let _ = self.end_transaction(Some(Error::io("delivering the message")(cancelled)));
        if let Some(delivery) = &mut self.delivery {
            let DeliveryParts { id, report, .. } = delivery.parts_mut();
            self.journal.attempt_finished(id, report, None);
        }
    }
}

/// Returns the session's own error.
fn session_error(error: io_tokio::Error) -> Error {
    match error {
        io_tokio::Error::Session(error) => error,
        other => Error::Io { doing: "driving the session", source: io::Error::other(other.to_string()) },
    }
}
