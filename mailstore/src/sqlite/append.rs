//! Appending: group commit of what many threads bring at the same time.
//!
//! A thread puts its messages in the queue. If nobody leads it becomes the leader and commits everything that is queued
//! by then; if somebody does it waits, and finds its work done or leads the next commit. So the disk is synced once for
//! all that came during the sync before. Large bodies are synced earlier, by the thread that brings them.

use super::{Aftermath, MailboxRow, SqliteStore, lock, quota, transact};
use crate::content::{Sealed, sync_directory};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::mime::decode;
use crate::types::{AccountId, Appended, ContentId, Delivery, InternalDate, MailboxId, Quota, Target, Usage};
use rusqlite::Connection;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What one call appends.
type Work = Vec<(Sealed, Vec<Target>)>;
type Outcome = Result<Vec<Result<Vec<Appended>>>>;

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    committed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: Vec<Arc<Job>>,
    led: bool,
}

/// Ends the lead when it goes, be it by a panic.
struct Lead<'a>(&'a Queue);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).led = false;
        self.0.committed.notify_all();
    }
}

impl Queue {
    /// The lead, or none once `job` is done by another.
    fn enter(&self, job: &Arc<Job>) -> Option<Lead<'_>> {
        let mut state = lock(&self.state);
        state.jobs.push(Arc::clone(job));
        loop {
            // Done, or (without a leader) lost to a panic of the one who led.
            if job.is_done() || (!state.led && !job.is_waiting()) {
                return None;
            }
            if !state.led {
                state.led = true;
                return Some(Lead(self));
            }
            state = self.committed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Job {
    state: Mutex<JobState>,
}

enum JobState {
    Waiting(Work),
    Done(Outcome),
    Taken,
}

impl SqliteStore {
    pub(super) fn append_grouped(&self, deliveries: Vec<Delivery>) -> Outcome {
        let work: Work = deliveries
            .into_iter()
            .map(|delivery| Ok((delivery.upload.seal()?, delivery.targets)))
            .collect::<Result<_>>()?;
        if work.iter().any(|(sealed, _)| sealed.file_name().is_some()) {
            sync_directory(&self.messages)?;
        }
        let job = Arc::new(Job { state: Mutex::new(JobState::Waiting(work)) });
        let mut aftermath = Aftermath::default();
        if let Some(lead) = self.queue.enter(&job) {
            let mut writer = self.writer.lock();
            // What came while the writer was busy goes along.
            let jobs = std::mem::take(&mut lock(&self.queue.state).jobs);
            commit_jobs(&mut writer, &mut aftermath, &self.quota(), &jobs);
            drop(writer);
            drop(lead);
        }
        self.conclude(aftermath);
        match std::mem::replace(&mut *lock(&job.state), JobState::Taken) {
            JobState::Done(outcome) => outcome,
            JobState::Waiting(_) | JobState::Taken => Err(Error::Busy),
        }
    }
}

/// Commits all jobs at once; where that fails, one by one, so that each gets its own error.
fn commit_jobs(writer: &mut Connection, aftermath: &mut Aftermath, quota: &Quota, jobs: &[Arc<Job>]) {
    let mut works: Vec<Work> = jobs.iter().map(|job| job.take_work()).collect();
    let mut together = Aftermath::default();
    let mut outcomes: Vec<Outcome> = match append_all(writer, &mut together, quota, &works) {
        Ok(outcomes) => {
            aftermath.changed.extend(together.changed);
            outcomes.into_iter().map(Ok).collect()
        }
        Err(error) if works.len() == 1 => vec![Err(error)],
        Err(_) => works
            .iter()
            .map(|work| {
                let mut alone = Aftermath::default();
                let mut outcome = append_all(writer, &mut alone, quota, std::slice::from_ref(work))?;
                aftermath.changed.extend(alone.changed);
                outcome.pop().ok_or(Error::Busy)
            })
            .collect(),
    };
    for ((job, work), outcome) in jobs.iter().zip(&mut works).zip(outcomes.drain(..)) {
        if let Ok(results) = &outcome {
            for ((sealed, _), result) in work.iter_mut().zip(results) {
                if result.as_ref().is_ok_and(|appended| !appended.is_empty()) {
                    sealed.keep();
                }
            }
        }
        *lock(&job.state) = JobState::Done(outcome);
    }
}

impl Job {
    fn is_done(&self) -> bool {
        matches!(*lock(&self.state), JobState::Done(_))
    }

    fn is_waiting(&self) -> bool {
        matches!(*lock(&self.state), JobState::Waiting(_))
    }

    fn take_work(&self) -> Work {
        match std::mem::replace(&mut *lock(&self.state), JobState::Taken) {
            JobState::Waiting(work) => work,
            JobState::Done(_) | JobState::Taken => Vec::new(),
        }
    }
}

type Results = Vec<Vec<Result<Vec<Appended>>>>;

fn append_all(
    writer: &mut Connection,
    aftermath: &mut Aftermath,
    quota: &Quota,
    works: &[Work],
) -> Result<Results> {
    transact(writer, aftermath, |tx, aftermath| {
        let mut batch = Batch { quota, mailboxes: BTreeMap::new(), usages: BTreeMap::new() };
        let results = works
            .iter()
            .map(|work| work.iter().map(|(sealed, targets)| batch.deliver(tx, sealed, targets)).collect())
            .collect::<Result<Results>>()?;
        let touched: BTreeSet<MailboxId> =
            results.iter().flatten().flatten().flatten().map(|appended| appended.mailbox).collect();
        for mailbox in batch.mailboxes.values().filter(|mailbox: &&MailboxRow| touched.contains(&mailbox.id))
        {
            mailbox.save(tx, aftermath)?;
        }
        Ok(results)
    })
}

/// What the deliveries of one transaction share.
struct Batch<'q> {
    quota: &'q Quota,
    mailboxes: BTreeMap<MailboxId, MailboxRow>,
    /// What each account has, those of this transaction included.
    usages: BTreeMap<AccountId, Usage>,
}

impl Batch<'_> {
    /// One delivery. The inner error is its own; the outer one spoils the transaction.
    fn deliver(
        &mut self,
        tx: &Connection,
        sealed: &Sealed,
        targets: &[Target],
    ) -> Result<Result<Vec<Appended>>> {
        match self.admit(tx, sealed, targets) {
            Ok(()) => {}
            Err(
                error @ (Error::NotFound(_) | Error::NoSelect | Error::Limit(_) | Error::OverQuota { .. }),
            ) => {
                return Ok(Err(error));
            }
            Err(error) => return Err(error),
        }
        if targets.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let content = insert_content(tx, sealed)?;
        let mut appended = Vec::with_capacity(targets.len());
        for target in targets {
            let Some(mailbox) = self.mailboxes.get_mut(&target.mailbox) else { continue };
            mailbox.modseq += 1;
            let uid = mailbox.take_uid()?;
            let message = NewMessage {
                uid,
                flags: &target.flags,
                internal_date: target.internal_date,
                sent: sealed.sent_date(),
                size: sealed.size,
                content,
            };
            message.insert(tx, mailbox)?;
            appended.push(Appended { mailbox: mailbox.id, uid_validity: mailbox.uid_validity, uid, content });
        }
        Ok(Ok(appended))
    }

    /// Whether the mailboxes are there and may have the message; if so, it counts.
    fn admit(&mut self, tx: &Connection, sealed: &Sealed, targets: &[Target]) -> Result<()> {
        let mut usages = BTreeMap::new();
        for target in targets {
            let account = match self.mailboxes.entry(target.mailbox) {
                Entry::Occupied(known) => known.get().account,
                Entry::Vacant(vacant) => vacant.insert(MailboxRow::load(tx, target.mailbox)?).account,
            };
            let usage = match usages.entry(account) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(match self.usages.get(&account) {
                    Some(known) => *known,
                    None => quota::usage(tx, account)?,
                }),
            };
            quota::check_messages(self.quota, usage, 1, sealed.size)?;
            usage.messages += 1;
            usage.bytes += sealed.size;
        }
        for target in targets {
            if let Some(mailbox) = self.mailboxes.get_mut(&target.mailbox) {
                mailbox.keywords.check(tx, target.mailbox, &target.flags, self.quota.keywords)?;
            }
        }
        self.usages.append(&mut usages);
        Ok(())
    }
}

/// A row of the table of messages.
pub(super) struct NewMessage<'a> {
    pub(super) uid: u32,
    pub(super) flags: &'a Flags,
    pub(super) internal_date: InternalDate,
    pub(super) sent: Option<i64>,
    pub(super) size: u64,
    pub(super) content: ContentId,
}

impl NewMessage<'_> {
    /// Inserts it at the mod-sequence of `mailbox`.
    pub(super) fn insert(&self, tx: &Connection, mailbox: &mut MailboxRow) -> Result<()> {
        let bits = mailbox.keywords.bits(tx, mailbox.id, self.flags)?;
        tx.prepare_cached(
            "INSERT INTO messages (mailbox, uid, modseq, created, flags, keyword_bits, seconds, offset_minutes,
                sent, size, content) VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            mailbox.id.0,
            self.uid,
            mailbox.modseq,
            self.flags.system_bits(),
            bits.column(),
            self.internal_date.seconds,
            self.internal_date.offset_minutes,
            self.sent,
            self.size,
            self.content.0,
        ))?;
        Ok(())
    }
}

impl Sealed {
    pub(super) fn sent_date(&self) -> Option<i64> {
        self.summary.date.as_deref().and_then(decode::date)
    }
}

/// The row of the octets, with the envelope and the tree of parts read already.
pub(super) fn insert_content(tx: &Connection, sealed: &Sealed) -> Result<ContentId> {
    let (envelope, structure) = (&sealed.summary.envelope, &sealed.summary.structure);
    tx.prepare_cached(
        "INSERT INTO contents (size, file, envelope, structure, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((sealed.size, sealed.file_name(), envelope, structure, sealed.inline()))?;
    Ok(ContentId(tx.last_insert_rowid()))
}
