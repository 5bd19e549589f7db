//! The messages of a run, one after the other as they are to be delivered: where each comes from, and what an earlier
//! run has come to.
//!
//! It knows how a message becomes an order. When that goes and what becomes of it, `run` knows.

use io_mio::delivery::{DeliveryReport, DeliveryRequest, Route};
use proto_mail::Channel;

use super::envelope::Envelope;
use super::journal::Key;
use super::octets::{Copy, Octets};
use super::run::Run;
use super::source::Sources;
use super::spool::{Facts, Spool};
use super::stopping::Unanswered;
use crate::failure::Failure;

/// A message, as the user and the journal call it.
#[derive(Debug)]
pub(super) struct Job {
    /// Where it was found; none if it was sent alone.
    pub(super) source: Option<String>,
    /// What the journal calls it, for each recipient; empty without one.
    pub(super) keys: Vec<Key>,
    /// What is closed between two tries.
    pub(super) copy: Copy,
    /// Whether it was sent to its end, and nothing is known of it yet.
    pub(super) unanswered: Unanswered,
}

/// What there is to send.
#[derive(Debug)]
pub(super) enum Messages {
    /// One message, which is taken out when its turn comes.
    Alone(Option<Spool>),
    /// Every message from there.
    Found(Sources),
}

impl Messages {
    /// How many octets there are to be sent, as far as that is known.
    pub(super) fn octets(&self) -> u64 {
        match self {
            Self::Alone(spool) => spool.as_ref().map_or(0, |spool| spool.facts.octets),
            Self::Found(sources) => sources.octets,
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Alone(spool) => spool.is_none(),
            Self::Found(sources) => sources.is_done(),
        }
    }
}

/// Every message, each in the same envelope. What cannot be sent is told at once, and costs nothing but itself.
pub(super) struct Orders<'a, C: Channel> {
    envelope: &'a Envelope,
    messages: Messages,
    run: &'a Run,
    route: Route<C, Failure>,
}

impl<'a, C: Channel> Orders<'a, C> {
    pub(super) const fn new(
        envelope: &'a Envelope,
        messages: Messages,
        run: &'a Run,
        route: Route<C, Failure>,
    ) -> Self {
        Self { envelope, messages, run, route }
    }

    /// Whether every message was looked at.
    pub(super) fn is_done(&self) -> bool {
        self.messages.is_done()
    }

    fn order(
        &self,
        source: Option<String>,
        facts: &Facts,
        octets: Octets,
    ) -> Result<DeliveryRequest<Job, Octets, C, Failure>, Failure> {
        let copy = octets.copy();
        let recipients = self.envelope.recipients_of(&facts.headers)?;
        let mut message = self.envelope.around(facts, &recipients, octets)?;
        let mut keys = Vec::new();
        if let Some(ledger) = self.run.ledger() {
            keys = ledger.keys(self.envelope.sender(), &recipients, facts.digest);
            for (number, status, answer) in ledger.recall(&keys) {
                message = message.already_decided(number, status, answer);
            }
        }
        Ok(DeliveryRequest {
            id: Job { source, keys, copy, unanswered: Unanswered::default() },
            message,
            route: self.route.clone(),
        })
    }
}

impl<C: Channel> Iterator for Orders<'_, C> {
    type Item = DeliveryRequest<Job, Octets, C, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (source, order) = match &mut self.messages {
                Messages::Alone(spool) => {
                    let spool = spool.take()?;
                    let facts = spool.facts.clone();
                    (None, self.order(None, &facts, Octets::kept(spool)))
                }
                Messages::Found(sources) => {
                    let (place, read) = sources.next()?;
                    let source = Some(place.to_string());
                    let order = read.and_then(|spool| {
                        let facts = spool.facts.clone();
                        self.order(source.clone(), &facts, Octets::found(place, spool))
                    });
                    (source, order)
                }
            };
            match order {
                Ok(order) => return Some(order),
                Err(failure) => {
                    let report = DeliveryReport::new(None, self.envelope.recipients.iter().cloned());
                    let (keys, copy) = (Vec::new(), Copy::default());
                    let job = Job { source, keys, copy, unanswered: Unanswered::default() };
                    self.run.invalid(&job, report, &failure);
                }
            }
        }
    }
}
