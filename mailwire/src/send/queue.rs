//! The messages that are to be sent: which is next, which waits for another round, and what became of each.
//!
//! It knows rounds and fates. It knows no connection.

use std::collections::VecDeque;
use std::fs::File;
use std::time::Instant;

use io_mio::delivery::{Answer, DeliveryReport, Message, Stage, Status};

use super::envelope::Envelope;
use super::show::{self, Tally};
use super::source::{Place, Sources};
use super::spool::Spool;
use crate::failure::{Failure, Kind};
use crate::output::Output;

/// The messages of one run of the command.
#[derive(Debug)]
pub(super) struct Queue<'a> {
    envelope: &'a Envelope,
    output: Output,
    sources: Option<Sources>,
    /// Those to be tried in this round, before what the sources still have.
    again: VecDeque<Job>,
    /// Those that are to be tried in the next round.
    waiting: VecDeque<Job>,
    /// Whether anything is known of any message.
    has_answer: bool,
    tally: Tally,
}

/// A message of which something is still open.
#[derive(Debug)]
pub(super) struct Job {
    origin: Origin,
    digest: [u8; 32],
    begun: Instant,
    /// What is known by now.
    pub(super) report: DeliveryReport,
}

/// Where the octets are.
#[derive(Debug)]
enum Origin {
    /// Here: they came from where they cannot be read twice, or were made here.
    Kept(Spool),
    /// There: so that of many messages that wait only this is in memory.
    Found(Place),
}

impl<'a> Queue<'a> {
    /// One message.
    pub(super) fn alone(envelope: &'a Envelope, spool: Spool, output: Output) -> Result<Self, Failure> {
        let mut queue = Self::new(envelope, None, output);
        let report = envelope.around(&spool, std::io::empty())?.report();
        let (digest, begun) = (spool.digest, Instant::now());
        queue.again.push_back(Job { origin: Origin::Kept(spool), digest, begun, report });
        Ok(queue)
    }

    /// Every message from there.
    pub(super) fn of(envelope: &'a Envelope, sources: Sources, output: Output) -> Self {
        Self::new(envelope, Some(sources), output)
    }

    fn new(envelope: &'a Envelope, sources: Option<Sources>, output: Output) -> Self {
        let (again, waiting) = (VecDeque::new(), VecDeque::new());
        Self { envelope, output, sources, again, waiting, has_answer: false, tally: Tally::default() }
    }

    /// The next message of this round.
    pub(super) fn next(&mut self) -> Option<(Job, Message<File>)> {
        loop {
            if let Some(job) = self.again.pop_front() {
                match self.open(&job) {
                    Ok(message) => return Some((job, message)),
                    Err(failure) => self.invalid(job, &failure),
                }
                continue;
            }
            let (place, read) = self.sources.as_mut()?.next()?;
            let begun = Instant::now();
            let opened = read.and_then(|spool| {
                let digest = spool.digest;
                Ok((digest, self.envelope.around(&spool, copy(&spool)?)?))
            });
            match opened {
                Ok((digest, message)) => {
                    let report = message.report();
                    return Some((Job { origin: Origin::Found(place), digest, begun, report }, message));
                }
                Err(failure) => {
                    let report = DeliveryReport::new(None, self.envelope.recipients.iter().cloned());
                    self.invalid(
                        Job { origin: Origin::Found(place), digest: [0; 32], begun, report },
                        &failure,
                    );
                }
            }
        }
    }

    /// Gives back a message that was not begun: it is the next again.
    pub(super) fn give_back(&mut self, job: Job) {
        self.again.push_front(job);
    }

    /// Takes a message back that was tried.
    pub(super) fn settle(&mut self, job: Job) {
        self.has_answer = true;
        if job.report.pending().is_empty() {
            self.conclude(job);
        } else {
            self.waiting.push_back(job);
        }
    }

    /// The message cannot be sent, now or later.
    pub(super) fn invalid(&mut self, mut job: Job, why: &Failure) {
        self.has_answer = true;
        for recipient in job.report.recipients.iter_mut().filter(|one| one.status == Status::Retry) {
            recipient.status = Status::Invalid;
            recipient.answer =
                Some(Answer { stage: Stage::Connect, code: None, enhanced: None, text: why.what.clone() });
        }
        self.conclude(job);
    }

    /// Whether there is, or may be, another message in this round.
    pub(super) fn has_more(&self) -> bool {
        !self.again.is_empty() || self.sources.as_ref().is_some_and(|sources| !sources.is_done())
    }

    /// Whether a message waits for another round.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What waits is tried again.
    pub(super) fn begin_round(&mut self) {
        self.again.append(&mut self.waiting);
        for job in &mut self.again {
            job.report.retry_count = job.report.retry_count.saturating_add(1);
        }
    }

    /// Whether anything is known of any message.
    pub(super) const fn has_answer(&self) -> bool {
        self.has_answer
    }

    /// Nothing is tried any more: what waits has failed for now. Messages that nobody has looked at stay so, and the
    /// sum says that there are some.
    pub(super) fn give_up(&mut self, why: Option<Failure>) {
        self.tally.incomplete = self.sources.as_ref().is_some_and(|sources| !sources.is_done());
        self.again.append(&mut self.waiting);
        while let Some(mut job) = self.again.pop_front() {
            if let Some(failure) = &why {
                job.report.postpone(&failure.what);
            }
            self.conclude(job);
        }
        self.tally.obstacle = why;
    }

    /// The fate of all.
    pub(super) fn finish(self) -> Tally {
        self.tally
    }

    /// How many octets there are to be sent.
    pub(super) fn octets(&self) -> u64 {
        match (&self.sources, self.again.front()) {
            (Some(sources), _) => sources.octets,
            (None, Some(Job { origin: Origin::Kept(spool), .. })) => spool.octets,
            (None, _) => 0,
        }
    }

    /// The message again.
    fn open(&self, job: &Job) -> Result<Message<File>, Failure> {
        let again;
        let spool = match &job.origin {
            Origin::Kept(spool) => spool,
            Origin::Found(place) => {
                again = place.read()?;
                if again.digest != job.digest {
                    return Err(Failure::new(Kind::Data, "the message has changed since it was tried first"));
                }
                &again
            }
        };
        self.envelope.around(spool, copy(spool)?)
    }

    fn conclude(&mut self, mut job: Job) {
        job.report.duration_ms = u64::try_from(job.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        job.report.conclude();
        self.tally.count(&job.report);
        match &job.origin {
            Origin::Kept(_) => show::alone(&job.report, self.output),
            Origin::Found(place) => show::one_of_many(&place.to_string(), &job.report, self.output),
        }
    }
}

/// The spool's file once more. What is left of the position does not matter: a message is read from its beginning.
fn copy(spool: &Spool) -> Result<File, Failure> {
    spool
        .file
        .try_clone()
        .map_err(|error| Failure::new(Kind::Unavailable, format!("the message cannot be opened: {error}")))
}
