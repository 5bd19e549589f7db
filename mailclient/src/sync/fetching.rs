//! The requests for a folder's messages, without I/O: takes the responses to FETCH, and asks the store to keep the messages.
//!
//! It trusts the server as little as possible: only requested messages are stored, and each of them once.

use std::collections::{BTreeSet, VecDeque};

use mailstore::{
    AccountId, Flags, ImportOutcome, InternalDate, MailboxId, RemoteMailboxId, RemoteMessage, UidSet, Upload,
};
use proto_imap::client::{CommandId, Event};
use proto_imap::types::{Condition, FetchItem, Section, StatusResponse};

use super::event::SyncEvent;
use super::examine::{check_uid_validity, expunged};
use super::flag_changes::local_flags;
use super::job::Job;
use super::limits::{Exceeded, Limits, MAX_UNREQUESTED};
use super::plan::{Plan, difference};
use crate::error::{Error, ErrorKind};
use crate::refusal_error::imap_command_error;

/// The bytes of a message that are passed to the store at a time.
const WRITE_BYTES: usize = 256 * 1024;
/// A batch is committed when it reaches this size in bytes, or this many messages.
const COMMIT_BYTES: u64 = 8 << 20;
const COMMIT_COUNT: usize = 200;
/// The most bytes of unrequested messages.
const MAX_UNREQUESTED_BYTES: u64 = 64 << 20;
/// After this many refusals without a message between them, the rest of the refused messages is abandoned.
const MAX_REFUSALS: u32 = 64;
/// After this many temporary refusals in a row, the folder is abandoned: more requests would only add load.
const MAX_THROTTLED: u32 = 24;
/// After this many abandoned regions in a row, the rest of the folder is abandoned.
const MAX_ABANDONED_REGIONS: u32 = 3;

/// A FETCH that is not complete.
pub(super) struct OpenFetch {
    pub(super) id: CommandId,
    /// The messages that have not come.
    pub(super) missing: BTreeSet<u32>,
    /// How many messages it requested.
    requested: usize,
}

/// The requests for the messages of one folder.
pub(super) struct Fetching {
    /// The remote and the local mailbox.
    place: (RemoteMailboxId, MailboxId),
    /// The account whose mailbox of removed messages must not keep those that are fetched.
    pub(super) trash: Option<AccountId>,
    uid_validity: u32,
    pub(super) plan: Plan,
    /// The commands that are not complete, oldest first.
    pub(super) open: VecDeque<OpenFetch>,
    /// Requested messages that did not arrive in readable form, although the server answered OK.
    absent: BTreeSet<u32>,
    /// How many responses could not be parsed.
    unparsed: u64,
    /// How many messages were removed during the run.
    pub(super) expunged: u64,
    unrequested: usize,
    unrequested_bytes: u64,
    current: Option<Incoming>,
    batch: Vec<RemoteMessage>,
    batch_bytes: u64,
    /// Refusals since the last message.
    refusals: u32,
    /// Temporary refusals in a row.
    throttled: u32,
    /// Abandoned regions since the last message.
    abandoned_regions: u32,
    /// Messages received since the caller last reset this.
    pub(super) progress: u64,
    /// Messages that could not be fetched.
    pub(super) unfetched: BTreeSet<u32>,
    /// The failure that ends the whole run.
    pub(super) fatal: Option<Error>,
    /// Whether all requested messages have come, so far.
    pub(super) is_complete: bool,
    /// Whether the server broke the protocol, so that a new session would not help with this folder.
    pub(super) ends_folder: bool,
    /// Work for the store that must be done before the next event.
    job: Option<Job>,
    /// What to report.
    pub(super) events: VecDeque<SyncEvent>,
}

/// A message being received. Its UID may come after its body.
#[derive(Default)]
struct Incoming {
    uid: Option<u32>,
    flags: Flags,
    date: Option<InternalDate>,
    body: Option<Body>,
    /// Whether the response is complete.
    is_complete: bool,
    /// Why the message is not stored.
    exceeded: Option<Error>,
}

/// The body of a message being received.
#[derive(Default)]
struct Body {
    /// What the store has. `None` before the first bytes, and while a job has it.
    upload: Option<Box<Upload>>,
    /// Bytes that the store has not got yet.
    pending: Vec<u8>,
}

impl Fetching {
    pub(super) fn new(place: (RemoteMailboxId, MailboxId), uid_validity: u32, plan: Plan) -> Self {
        Self {
            place,
            trash: None,
            uid_validity,
            plan,
            open: VecDeque::new(),
            absent: BTreeSet::new(),
            unparsed: 0,
            expunged: 0,
            unrequested: 0,
            unrequested_bytes: 0,
            current: None,
            batch: Vec::new(),
            batch_bytes: 0,
            refusals: 0,
            throttled: 0,
            abandoned_regions: 0,
            progress: 0,
            unfetched: BTreeSet::new(),
            fatal: None,
            is_complete: true,
            ends_folder: false,
            job: None,
            events: VecDeque::new(),
        }
    }

    /// Returns the work for the store that must be done before the next event.
    pub(super) fn take_job(&mut self) -> Option<Job> {
        self.job.take()
    }

    /// Returns whether the store must do something before the next event.
    pub(super) const fn has_job(&self) -> bool {
        self.job.is_some()
    }

    /// Records that a FETCH for these messages was sent.
    pub(super) fn requested(&mut self, id: CommandId, batch: Vec<u32>) {
        let requested = batch.len();
        self.open.push_back(OpenFetch { id, missing: batch.into_iter().collect(), requested });
    }

    /// Handles an event of a FETCH. Returns whether it was useful.
    pub(super) fn event(&mut self, event: Event<'_>, limits: &mut Limits) -> Result<bool, Error> {
        check_uid_validity(&event, self.uid_validity).inspect_err(|_| self.ends_folder = true)?;
        self.expunged += expunged(&event);
        match event {
            Event::FetchStart { .. } => self.current = Some(Incoming::default()),
            Event::FetchItem(item) => {
                if let Some(current) = &mut self.current {
                    current.item(&item);
                }
            }
            Event::BodyStart { section, size: Some(size), origin: None } if section == Section::FULL => {
                self.begin(size, limits)?;
            }
            Event::BodyChunk(chunk) => return self.chunk(chunk, limits),
            Event::FetchEnd => return self.complete(),
            Event::Unparsed(_) => self.unparsed += 1,
            _ => {}
        }
        Ok(false)
    }

    fn begin(&mut self, size: u64, limits: &Limits) -> Result<(), Error> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let is_unrequested = |uid: u32| !self.open.iter().any(|open| open.missing.contains(&uid));
        if current.uid.is_some_and(is_unrequested) {
            return Ok(());
        }
        match limits.check_message(size) {
            Ok(()) => {
                current.body = Some(Body::default());
                Ok(())
            }
            Err(Exceeded::Message(why)) => {
                current.exceeded = Some(why.clone());
                Err(why.remote())
            }
            Err(Exceeded::Run(failure)) => Err(self.end_run(failure)),
        }
    }

    fn chunk(&mut self, chunk: &[u8], limits: &mut Limits) -> Result<bool, Error> {
        let Some(body) = self.current.as_mut().and_then(|current| current.body.as_mut()) else {
            self.unrequested_bytes += chunk.len() as u64;
            return if self.unrequested_bytes > MAX_UNREQUESTED_BYTES {
                Err(self.too_many_unrequested())
            } else {
                Ok(false)
            };
        };
        body.pending.extend_from_slice(chunk);
        if body.pending.len() >= WRITE_BYTES {
            self.job = Some(body.write());
        }
        match limits.count(chunk.len()) {
            Ok(()) => Ok(true),
            Err(Exceeded::Message(why)) => Err(why.remote()),
            Err(Exceeded::Run(failure)) => Err(self.end_run(failure)),
        }
    }

    /// Takes the upload back from the store.
    pub(super) fn written(&mut self, upload: Result<Box<Upload>, Error>) -> Result<(), Error> {
        let upload = upload.map_err(|error| self.end_run(error))?;
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Some(body) = &mut current.body {
            body.upload = Some(upload);
        }
        if current.is_complete { self.store_current() } else { Ok(()) }
    }

    fn too_many_unrequested(&mut self) -> Error {
        self.ends_folder = true;
        Error::new(ErrorKind::Protocol, "the server sends messages that the client did not request").remote()
    }

    fn end_run(&mut self, failure: Error) -> Error {
        self.fatal = Some(failure.clone());
        failure
    }

    /// Handles the end of a response. A response without a body reports a change of flags.
    fn complete(&mut self) -> Result<bool, Error> {
        let Some(current) = &mut self.current else { return Ok(false) };
        let open = &mut self.open;
        let was_requested = current.uid.is_some_and(|uid| {
            current.body.is_some() && open.iter_mut().any(|open| open.missing.remove(&uid))
        });
        let (true, Some(body)) = (was_requested, &mut current.body) else {
            self.current = None;
            self.unrequested += 1;
            return if self.unrequested > MAX_UNREQUESTED {
                Err(self.too_many_unrequested())
            } else {
                Ok(false)
            };
        };
        current.is_complete = true;
        // The rest of the message, or an empty one.
        self.job = Some(body.write());
        self.events.push_back(SyncEvent::Received);
        (self.progress, self.refusals, self.abandoned_regions, self.throttled) = (self.progress + 1, 0, 0, 0);
        Ok(true)
    }

    /// Adds the complete message to the batch.
    fn store_current(&mut self) -> Result<(), Error> {
        let Some(Incoming {
            uid: Some(uid), flags, date, body: Some(Body { upload: Some(upload), .. }), ..
        }) = self.current.take()
        else {
            return Ok(());
        };
        self.batch_bytes += upload.size();
        let internal_date = date.unwrap_or_default();
        self.batch.push(RemoteMessage { uid, upload: *upload, flags, internal_date });
        if self.batch_bytes >= COMMIT_BYTES || self.batch.len() >= COMMIT_COUNT {
            self.job = self.commit();
        }
        Ok(())
    }

    /// Handles the completion of a FETCH. Messages that the server refused are requested again in smaller batches.
    pub(super) fn completed(&mut self, id: CommandId, status: &StatusResponse<'_>) {
        let Some(at) = self.open.iter().position(|open| open.id == id) else { return };
        let Some(open) = self.open.remove(at) else { return };
        if status.condition == Condition::Ok {
            self.absent.extend(open.missing);
            return;
        }
        if open.missing.is_empty() {
            return;
        }
        let failure = imap_command_error(status, "the server refused UID FETCH");
        self.refusals += 1;
        self.throttled = if failure.kind() == ErrorKind::Temporary { self.throttled + 1 } else { 0 };
        if let Some(uid) = self.plan.refused(open.missing.into_iter().collect()) {
            self.report_failed(uid, &failure);
        }
        if self.throttled >= MAX_THROTTLED {
            let count = self.plan.abandon();
            self.count_failed(count, failure.kind(), "the server temporarily refuses every request");
            self.events.push_back(SyncEvent::FolderFailed(failure));
            return;
        }
        if self.refusals < MAX_REFUSALS {
            return;
        }
        // No message of this region comes, so it is abandoned and the next region is tried.
        (self.refusals, self.abandoned_regions) = (0, self.abandoned_regions + 1);
        for uid in self.plan.abandon_retries() {
            self.report_failed(uid, &failure);
        }
        if self.abandoned_regions >= MAX_ABANDONED_REGIONS {
            let count = self.plan.abandon();
            self.count_failed(count, failure.kind(), "the server refuses to send the rest of the folder");
            self.events.push_back(SyncEvent::FolderFailed(failure));
        }
    }

    /// Records how many messages are no longer requested.
    pub(super) fn abandoned(&mut self, count: u64) {
        self.count_failed(count, ErrorKind::Temporary, "the rest of the folder was abandoned");
    }

    /// Records messages that failed in an earlier run and are not requested in this one.
    pub(super) fn skipped(&mut self, uids: &UidSet) {
        let failure = Error::new(ErrorKind::Temporary, "an earlier run could not fetch it");
        for uid in uids.ranges().iter().cloned().flatten() {
            self.report_failed(uid, &failure);
        }
    }

    /// Handles a lost connection. Plans the missing messages again, and reports the bad message once it is isolated.
    pub(super) fn lost(&mut self, failure: &Error) {
        let current = self.current.take();
        let mut open = std::mem::take(&mut self.open);
        let exceeded = current.as_ref().and_then(|incoming| incoming.exceeded.clone());
        let uid = current.as_ref().and_then(|incoming| incoming.uid);
        // The server may respond to a later command first.
        let at = uid.and_then(|uid| open.iter().position(|open| open.missing.contains(&uid))).unwrap_or(0);
        let Some(mut suspect) = open.remove(at) else { return };
        let later = open.into_iter().map(|open| open.missing.into_iter().collect()).collect();
        if let (Some(uid), Some(why)) = (uid, exceeded)
            && suspect.missing.remove(&uid)
        {
            self.report_failed(uid, &why);
            if !suspect.missing.is_empty() {
                let _ = self.plan.lost(
                    Vec::new(),
                    [vec![suspect.missing.into_iter().collect()], later].concat(),
                    None,
                );
            } else {
                let _ = self.plan.lost(Vec::new(), later, None);
            }
            return;
        }
        let some_came = suspect.missing.len() < suspect.requested;
        let first = suspect.missing.first().copied().filter(|_| some_came);
        let broken_at = uid.or(first);
        if let Some(uid) = self.plan.lost(suspect.missing.into_iter().collect(), later, broken_at) {
            self.report_failed(uid, &failure.clone().append(" (whenever the client requests this message)"));
        }
    }

    fn report_failed(&mut self, uid: u32, failure: &Error) {
        self.unfetched.insert(uid);
        self.is_complete = false;
        self.events.push_back(SyncEvent::MessageFailed { uid, error: failure.clone() });
    }

    /// Reports that a number of messages failed.
    pub(super) fn count_failed(&mut self, count: u64, kind: ErrorKind, why: &str) {
        if count > 0 {
            self.is_complete = false;
            self.events.push_back(SyncEvent::MessagesFailed { count, kind, why: why.to_owned() });
        }
    }

    /// Returns the job that commits the messages received, if there are any.
    pub(super) fn commit(&mut self) -> Option<Job> {
        if self.batch.is_empty() {
            return None;
        }
        self.batch_bytes = 0;
        let (remote, mailbox) = self.place;
        let (messages, trash) = (std::mem::take(&mut self.batch), self.trash);
        Some(Job::Import { remote, mailbox, messages, trash })
    }

    /// Reports what the store did with a batch.
    pub(super) fn imported(&mut self, imports: Result<Vec<ImportOutcome>, Error>) -> Result<(), Error> {
        let imports = imports.map_err(|error| self.end_run(error))?;
        let (mut imported, mut duplicates, mut known) = (0, 0, 0);
        for import in imports {
            match import {
                ImportOutcome::Imported(_) => imported += 1,
                ImportOutcome::Duplicate(_) => duplicates += 1,
                ImportOutcome::Known(_) => known += 1,
            }
        }
        self.events.push_back(SyncEvent::Stored { imported, duplicates, known });
        Ok(())
    }

    /// Reports what did not arrive. Returns the job that records which messages could not be fetched. `remembered` are
    /// those that an earlier run could not fetch.
    pub(super) fn finish(&mut self, remembered: &UidSet) -> Job {
        self.is_complete &= self.absent.is_empty();
        self.events.push_back(SyncEvent::Absent {
            uids: std::mem::take(&mut self.absent),
            unparsed: self.unparsed,
            expunged: self.expunged,
        });
        let record: UidSet = self.unfetched.iter().copied().collect();
        Job::Unfetched { remote: self.place.0, forget: difference(remembered, &record), record }
    }
}

impl Body {
    /// Returns the job that passes the pending bytes to the store.
    fn write(&mut self) -> Job {
        Job::Write { upload: self.upload.take(), bytes: std::mem::take(&mut self.pending) }
    }
}

impl Incoming {
    fn item(&mut self, item: &FetchItem<'_>) {
        match item {
            FetchItem::Uid(uid) => self.uid = Some(*uid),
            FetchItem::Flags(flags) => self.flags = local_flags(flags),
            FetchItem::InternalDate { date: Some(date), .. } => {
                self.date = Some(InternalDate { seconds: date.timestamp(), offset_minutes: date.zone() });
            }
            _ => {}
        }
    }
}
