//! Receives the responses to FETCH and stores the messages.
//!
//! It trusts the server as little as possible: it stores only requested messages, and each of them once.

use std::collections::{BTreeSet, VecDeque};

use indicatif::ProgressBar;
use mailclient::imap_command_error;
use mailstore::{
    Flags, ImportOutcome, InternalDate, RemoteMailboxId, RemoteMessage, SqliteStore, Store, SyncStore,
    UidSet, Upload,
};
use proto_imap::client::{CommandId, Event};
use proto_imap::types::{Condition, FetchItem, FlagList, Section, StatusResponse};

use super::limits::{Exceeded, Limits, MAX_UNREQUESTED};
use super::plan::{Plan, difference};
use super::remote_folder::{check_uid_validity, expunged};
use super::report::FolderReport;
use crate::command_error::{CommandError, ExitCode};

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

/// Receives and stores the messages of one folder.
pub(super) struct Sink<'a> {
    store: &'a SqliteStore,
    remote: RemoteMailboxId,
    report: &'a mut FolderReport,
    pub(super) bar: ProgressBar,
    limits: &'a mut Limits,
    uid_validity: u32,
    /// The commands that are not complete, oldest first.
    pub(super) open: VecDeque<OpenFetch>,
    /// Requested messages that did not come in readable form, although the server answered OK.
    absent: BTreeSet<u32>,
    /// How many responses could not be parsed.
    unparsed: u64,
    /// How many messages were removed during the run.
    expunged: u64,
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
    pub(super) fatal: Option<CommandError>,
    /// Whether the server broke the protocol, so that a new session would not help with this folder.
    pub(super) ends_folder: bool,
}

/// A message being received. Its UID may come after its body.
#[derive(Default)]
struct Incoming {
    uid: Option<u32>,
    flags: Flags,
    date: Option<InternalDate>,
    upload: Option<Upload>,
    /// Why the message is not stored.
    exceeded: Option<String>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        store: &'a SqliteStore,
        (remote, uid_validity): (RemoteMailboxId, u32),
        report: &'a mut FolderReport,
        bar: ProgressBar,
        limits: &'a mut Limits,
    ) -> Self {
        Self {
            store,
            remote,
            report,
            bar,
            limits,
            uid_validity,
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
            ends_folder: false,
        }
    }

    /// Records that a FETCH for these messages was sent.
    pub(super) fn requested(&mut self, id: CommandId, batch: Vec<u32>) {
        let requested = batch.len();
        self.open.push_back(OpenFetch { id, missing: batch.into_iter().collect(), requested });
    }

    /// Handles an event of a FETCH. Returns whether it was useful.
    pub(super) fn event(&mut self, event: Event<'_>) -> Result<bool, CommandError> {
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
                self.begin(size)?;
            }
            Event::BodyChunk(chunk) => return self.chunk(chunk),
            Event::FetchEnd => return self.complete(),
            Event::Unparsed(_) => self.unparsed += 1,
            _ => {}
        }
        Ok(false)
    }

    fn begin(&mut self, size: u64) -> Result<(), CommandError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let is_unrequested = |uid: u32| !self.open.iter().any(|open| open.missing.contains(&uid));
        if current.uid.is_some_and(is_unrequested) {
            return Ok(());
        }
        match self.limits.check_message(size) {
            Ok(()) => {}
            Err(Exceeded::Message(why)) => {
                current.exceeded = Some(why.clone());
                return Err(CommandError::new(ExitCode::Unavailable, why).remote());
            }
            Err(Exceeded::Run(failure)) => return Err(self.end_run(failure)),
        }
        match self.store.upload() {
            Ok(upload) => current.upload = Some(upload),
            Err(error) => return Err(self.end_run(error.into())),
        }
        Ok(())
    }

    fn chunk(&mut self, chunk: &[u8]) -> Result<bool, CommandError> {
        let Some(upload) = self.current.as_mut().and_then(|current| current.upload.as_mut()) else {
            self.unrequested_bytes += chunk.len() as u64;
            return if self.unrequested_bytes > MAX_UNREQUESTED_BYTES {
                Err(self.too_many_unrequested())
            } else {
                Ok(false)
            };
        };
        if let Err(error) = upload.write(chunk) {
            return Err(self.end_run(error.into()));
        }
        match self.limits.count(chunk.len()) {
            Ok(()) => Ok(true),
            Err(Exceeded::Message(why)) => Err(CommandError::new(ExitCode::Unavailable, why).remote()),
            Err(Exceeded::Run(failure)) => Err(self.end_run(failure)),
        }
    }

    fn too_many_unrequested(&mut self) -> CommandError {
        self.ends_folder = true;
        CommandError::new(ExitCode::Protocol, "the server sends messages that the client did not request")
            .remote()
    }

    fn end_run(&mut self, failure: CommandError) -> CommandError {
        self.fatal = Some(failure.clone());
        failure
    }

    fn complete(&mut self) -> Result<bool, CommandError> {
        let Some(incoming) = self.current.take() else { return Ok(false) };
        let was_requested = incoming.uid.is_some_and(|uid| {
            incoming.upload.is_some() && self.open.iter_mut().any(|open| open.missing.remove(&uid))
        });
        // A response without a body reports a change of flags.
        let Incoming { uid, flags, date, upload, .. } = incoming;
        let (Some(uid), Some(upload), true) = (uid, upload, was_requested) else {
            self.unrequested += 1;
            return if self.unrequested > MAX_UNREQUESTED {
                Err(self.too_many_unrequested())
            } else {
                Ok(false)
            };
        };
        self.batch_bytes += upload.size();
        self.batch.push(RemoteMessage { uid, upload, flags, internal_date: date.unwrap_or_default() });
        self.bar.inc(1);
        (self.progress, self.refusals, self.abandoned_regions, self.throttled) = (self.progress + 1, 0, 0, 0);
        if self.batch_bytes >= COMMIT_BYTES || self.batch.len() >= COMMIT_COUNT {
            self.commit()?;
        }
        Ok(true)
    }

    /// Handles the completion of a FETCH. Messages that the server refused are requested again in smaller batches.
    pub(super) fn completed(&mut self, id: CommandId, status: &StatusResponse<'_>, plan: &mut Plan) {
        let Some(at) = self.open.iter().position(|open| open.id == id) else { return };
        let Some(open) = self.open.remove(at) else { return };
        if status.condition == Condition::Ok {
            self.absent.extend(open.missing);
            return;
        }
        if open.missing.is_empty() {
            return;
        }
        let failure = CommandError::from(imap_command_error(status, "the server refused UID FETCH"));
        self.refusals += 1;
        self.throttled = if failure.exit_code == ExitCode::TryAgain { self.throttled + 1 } else { 0 };
        if let Some(uid) = plan.refused(open.missing.into_iter().collect()) {
            self.report_failed(uid, &failure);
        }
        if self.throttled >= MAX_THROTTLED {
            self.report.count_failed(
                plan.abandon(),
                failure.exit_code,
                "the server serves nothing at the moment",
            );
            self.report.folder_failed(&failure);
            return;
        }
        if self.refusals < MAX_REFUSALS {
            return;
        }
        // No message of this region comes, so it is abandoned and the next region is tried.
        (self.refusals, self.abandoned_regions) = (0, self.abandoned_regions + 1);
        for uid in plan.abandon_retries() {
            self.report_failed(uid, &failure);
        }
        if self.abandoned_regions >= MAX_ABANDONED_REGIONS {
            self.report.count_failed(
                plan.abandon(),
                failure.exit_code,
                "the server refuses the rest of the folder",
            );
            self.report.folder_failed(&failure);
        }
    }

    /// Records how many messages are no longer requested.
    pub(super) fn abandoned(&mut self, count: u64) {
        self.report.count_failed(count, ExitCode::TryAgain, "the rest of the folder was abandoned");
    }

    /// Records messages that failed in an earlier run and are not requested in this one.
    pub(super) fn skipped(&mut self, uids: &UidSet) {
        let failure = CommandError::new(ExitCode::TryAgain, "an earlier run could not fetch it");
        for uid in uids.ranges().iter().cloned().flatten() {
            self.report_failed(uid, &failure);
        }
    }

    /// Handles a lost connection. Plans the missing messages again, and reports the bad message once it is isolated.
    pub(super) fn lost(&mut self, failure: &CommandError, plan: &mut Plan) {
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
            self.report_failed(uid, &CommandError::new(ExitCode::Unavailable, why));
            if !suspect.missing.is_empty() {
                let _ = plan.lost(
                    Vec::new(),
                    [vec![suspect.missing.into_iter().collect()], later].concat(),
                    None,
                );
            } else {
                let _ = plan.lost(Vec::new(), later, None);
            }
            return;
        }
        let some_came = suspect.missing.len() < suspect.requested;
        let first = suspect.missing.first().copied().filter(|_| some_came);
        let broken_at = uid.or(first);
        if let Some(uid) = plan.lost(suspect.missing.into_iter().collect(), later, broken_at) {
            self.report_failed(uid, &failure.clone().append(" (whenever the client requests this message)"));
        }
    }

    fn report_failed(&mut self, uid: u32, failure: &CommandError) {
        self.unfetched.insert(uid);
        self.report.message_failed(uid, failure);
    }

    /// Commits the messages received.
    pub(super) fn commit(&mut self) -> Result<(), CommandError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch_bytes = 0;
        let imports = match self.store.record_imports(self.remote, std::mem::take(&mut self.batch)) {
            Ok(imports) => imports,
            Err(error) => return Err(self.end_run(error.into())),
        };
        for import in imports {
            match import {
                ImportOutcome::Imported(_) => self.report.imported += 1,
                ImportOutcome::Duplicate(_) => self.report.duplicates += 1,
                ImportOutcome::Known(_) => self.report.known += 1,
            }
        }
        Ok(())
    }

    /// Commits the messages received, and stores which ones could not be fetched. `remembered` are those that an earlier
    /// run could not fetch.
    pub(super) fn finish(&mut self, remembered: &UidSet) -> Result<(), CommandError> {
        self.commit()?;
        self.bar.finish_and_clear();
        self.report.messages_absent(&self.absent, self.unparsed, self.expunged);
        let unfetched: UidSet = self.unfetched.iter().copied().collect();
        let stored = self
            .store
            .forget_unfetched(self.remote, &difference(remembered, &unfetched))
            .and_then(|()| self.store.record_unfetched(self.remote, &unfetched));
        stored.map_err(|error| self.end_run(error.into()))
    }

    /// Returns how many messages were removed during the run.
    pub(super) const fn expunged(&self) -> u64 {
        self.expunged
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

/// Returns the flags that the store supports, and drops the others.
fn local_flags(list: &FlagList<'_>) -> Flags {
    let mut flags = Flags::new();
    for flag in list.iter() {
        let name = String::from_utf8_lossy(flag.name()).into_owned();
        let name = if flag.has_backslash() { format!("\\{name}") } else { name };
        if !name.eq_ignore_ascii_case("\\Recent") {
            let _ = flags.insert(&name);
        }
    }
    flags
}
