//! The messages that are to be sent: which is next, which waits for another round, and what became of each.
//!
//! It knows rounds and fates. It knows no connection.

use std::collections::VecDeque;
use std::time::Instant;

use indicatif::ProgressBar;
use io_mio::delivery::{Answer, DeliveryReport, Message, Stage, Status};

use super::envelope::Envelope;
use super::journal::Key;
use super::ledger::{Ledger, Octets};
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
    /// What results are shown beside.
    bar: ProgressBar,
    ledger: Option<Ledger>,
    sources: Option<Sources>,
    /// The next one, if it was looked at already.
    ready: Option<(Job, Message<Octets>)>,
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
    /// What the journal calls it, for each recipient; empty without one.
    keys: Vec<Key>,
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
    pub(super) fn alone(
        envelope: &'a Envelope,
        spool: Spool,
        ledger: Option<Ledger>,
        output: Output,
    ) -> Result<Self, Failure> {
        let mut queue = Self::new(envelope, None, ledger, output);
        let report = envelope.around(&spool, std::io::empty())?.report();
        let job = queue.job(spool.digest, report, Origin::Kept(spool));
        queue.take_up(job);
        Ok(queue)
    }

    /// Every message from there.
    pub(super) fn of(
        envelope: &'a Envelope,
        sources: Sources,
        ledger: Option<Ledger>,
        output: Output,
    ) -> Self {
        Self::new(envelope, Some(sources), ledger, output)
    }

    fn new(envelope: &'a Envelope, sources: Option<Sources>, ledger: Option<Ledger>, output: Output) -> Self {
        let (again, waiting) = (VecDeque::new(), VecDeque::new());
        Self {
            envelope,
            output,
            bar: ProgressBar::hidden(),
            ledger,
            sources,
            ready: None,
            again,
            waiting,
            has_answer: false,
            tally: Tally::default(),
        }
    }

    /// Results are shown beside this bar.
    pub(super) fn show_beside(&mut self, bar: &ProgressBar) {
        self.bar = bar.clone();
    }

    /// The envelope of every message.
    pub(super) const fn envelope(&self) -> &'a Envelope {
        self.envelope
    }

    /// The next message of this round.
    pub(super) fn next(&mut self) -> Option<(Job, Message<Octets>)> {
        if self.ready.is_some() {
            return self.ready.take();
        }
        loop {
            if let Some(job) = self.again.pop_front() {
                match self.open(&job) {
                    Ok(message) => return Some((job, message)),
                    Err(failure) => self.invalid(job, &failure),
                }
                continue;
            }
            let (place, read) = self.sources.as_mut()?.next()?;
            match read.and_then(|spool| Ok((self.envelope.around(&spool, std::io::empty())?.report(), spool)))
            {
                Ok((report, spool)) => {
                    let job = self.job(spool.digest, report, Origin::Found(place));
                    if job.report.pending().is_empty() {
                        self.conclude(job);
                        continue;
                    }
                    match self.message(&job, &spool) {
                        Ok(message) => return Some((job, message)),
                        Err(failure) => self.invalid(job, &failure),
                    }
                }
                Err(failure) => {
                    let report = DeliveryReport::new(None, self.envelope.recipients.iter().cloned());
                    let (origin, begun) = (Origin::Found(place), Instant::now());
                    self.invalid(Job { origin, digest: [0; 32], keys: Vec::new(), begun, report }, &failure);
                }
            }
        }
    }

    /// A message of which nothing is known but what an earlier run has come to.
    fn job(&mut self, digest: [u8; 32], mut report: DeliveryReport, origin: Origin) -> Job {
        let mut keys = Vec::new();
        if let Some(ledger) = &mut self.ledger {
            keys = ledger.keys(self.envelope, digest);
            ledger.recall(&keys, &mut report);
        }
        Job { origin, digest, keys, begun: Instant::now(), report }
    }

    /// Puts a message into this round, unless nothing is open of it.
    fn take_up(&mut self, job: Job) {
        if job.report.pending().is_empty() {
            self.conclude(job);
        } else {
            self.again.push_back(job);
        }
    }

    /// Gives back a message that was not begun: it is the next again.
    pub(super) fn give_back(&mut self, job: Job) {
        self.note(&job);
        self.again.push_front(job);
    }

    /// Takes a message back that was tried.
    pub(super) fn settle(&mut self, job: Job) {
        self.has_answer = true;
        self.note(&job);
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
        self.note(&job);
        self.conclude(job);
    }

    /// Whether there is another message in this round.
    pub(super) fn has_more(&mut self) -> bool {
        self.ready = self.next();
        self.ready.is_some()
    }

    /// Why nothing may be sent any more: the journal cannot be written to.
    pub(super) fn halt(&self) -> Option<Failure> {
        self.ledger.as_ref().and_then(Ledger::halt)
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
        self.again.extend(self.ready.take().map(|(job, _)| job));
        self.again.append(&mut self.waiting);
        while let Some(mut job) = self.again.pop_front() {
            if let Some(failure) = &why {
                job.report.postpone(&failure.what);
            }
            self.conclude(job);
        }
        self.tally.obstacle = why;
    }

    /// The fate of all. A journal that nobody asked for is gone when everything was taken.
    pub(super) fn finish(self) -> Tally {
        if let Some(ledger) = self.ledger
            && self.tally.is_success()
        {
            ledger.complete();
        }
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
    fn open(&self, job: &Job) -> Result<Message<Octets>, Failure> {
        match &job.origin {
            Origin::Kept(spool) => self.message(job, spool),
            Origin::Found(place) => {
                let spool = place.read()?;
                if spool.digest != job.digest {
                    return Err(Failure::new(Kind::Data, "the message has changed since it was tried first"));
                }
                self.message(job, &spool)
            }
        }
    }

    /// What is to be sent: to those that wait.
    fn message(&self, job: &Job, spool: &Spool) -> Result<Message<Octets>, Failure> {
        let file = spool.file.try_clone().map_err(|error| {
            Failure::new(Kind::Unavailable, format!("the message cannot be opened: {error}"))
        })?;
        let octets = match &self.ledger {
            Some(ledger) => {
                let pending = job.report.pending();
                let keys = pending.iter().filter_map(|number| job.keys.get(*number).copied()).collect();
                ledger.seal(file, spool.octets, keys)
            }
            None => Octets::unrecorded(file, spool.octets),
        };
        self.envelope.around(spool, octets)
    }

    fn note(&mut self, job: &Job) {
        if let Some(ledger) = &mut self.ledger {
            ledger.note(&job.keys, &job.report);
        }
    }

    fn conclude(&mut self, mut job: Job) {
        job.report.duration_ms = u64::try_from(job.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        job.report.conclude();
        self.tally.count(&job.report);
        self.bar.suspend(|| match &job.origin {
            Origin::Kept(_) => show::alone(&job.report, self.output),
            Origin::Found(place) => show::one_of_many(&place.to_string(), &job.report, self.output),
        });
    }
}
