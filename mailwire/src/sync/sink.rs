//! Takes the answers to FETCH and makes messages of them.
//!
//! A server is believed as little as can be: only a message that was asked for is kept, and that once.

use std::collections::{BTreeSet, VecDeque};

use indicatif::ProgressBar;
use mailstore::{
    Flags, Import, InternalDate, RemoteMailboxId, RemoteMessage, SqliteStore, Store, UidSet, Upload,
};
use proto_imap::client::{CommandId, Event};
use proto_imap::types::{Condition, FetchItem, FlagList, Section, StatusResponse};

use super::limits::{Excess, Limits};
use super::opened::{gone, same_validity};
use super::plan::Plan;
use super::report::FolderReport;
use crate::classify;
use crate::failure::{Failure, Kind};

/// A batch is committed at this size, in bytes, or this count, whichever comes first.
const COMMIT_BYTES: u64 = 8 << 20;
const COMMIT_COUNT: usize = 200;
/// How many messages may come beyond those that were asked for, and how many bytes of them: some arrive at any time.
pub(super) const ARRIVALS: usize = 1000;
const UNASKED_BYTES: u64 = 64 << 20;
/// So many refusals in a row, without one message, and the rest of what was refused is left.
const REFUSALS: u32 = 64;
/// So many that say "not now", and the folder is left: more would only add to the load.
const THROTTLED: u32 = 24;
/// So often in a row, and the rest of the folder is left.
const REGIONS: u32 = 3;

/// A FETCH on its way.
pub(super) struct OpenFetch {
    pub(super) id: CommandId,
    /// The messages that are still to come.
    pub(super) awaited: BTreeSet<u32>,
    /// How many it asked for.
    asked: usize,
}

pub(super) struct Sink<'a> {
    store: &'a SqliteStore,
    remote: RemoteMailboxId,
    report: &'a mut FolderReport,
    pub(super) bar: ProgressBar,
    limits: &'a mut Limits,
    uid_validity: u32,
    /// The commands on their way, oldest first.
    pub(super) open: VecDeque<OpenFetch>,
    /// Messages that the server said it sent, and did not, or not so that they could be read.
    absent: BTreeSet<u32>,
    /// Messages that could not be read.
    unread: u64,
    /// How many went away meanwhile.
    gone: u64,
    unasked: usize,
    unasked_bytes: u64,
    current: Option<Pending>,
    batch: Vec<RemoteMessage>,
    bytes: u64,
    refusals: u32,
    throttled: u32,
    regions: u32,
    /// Messages that came since this was last taken.
    pub(super) progress: u64,
    /// Messages that could not be fetched.
    pub(super) unfetched: BTreeSet<u32>,
    /// What ends the whole run.
    pub(super) fatal: Option<Failure>,
    /// Whether no other session would get on with the folder: the server says what cannot be.
    pub(super) ends_folder: bool,
}

/// A message on its way. Its UID may come behind its body.
#[derive(Default)]
struct Pending {
    uid: Option<u32>,
    flags: Flags,
    date: Option<InternalDate>,
    upload: Option<Upload>,
    /// Why it is not taken.
    excess: Option<String>,
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
            unread: 0,
            gone: 0,
            unasked: 0,
            unasked_bytes: 0,
            current: None,
            batch: Vec::new(),
            bytes: 0,
            refusals: 0,
            throttled: 0,
            regions: 0,
            progress: 0,
            unfetched: BTreeSet::new(),
            fatal: None,
            ends_folder: false,
        }
    }

    /// These were asked for.
    pub(super) fn asked(&mut self, id: CommandId, piece: Vec<u32>) {
        let asked = piece.len();
        self.open.push_back(OpenFetch { id, awaited: piece.into_iter().collect(), asked });
    }

    /// Takes an event of a FETCH. True: it was of use.
    pub(super) fn event(&mut self, event: Event<'_>) -> Result<bool, Failure> {
        same_validity(&event, self.uid_validity).inspect_err(|_| self.ends_folder = true)?;
        self.gone += gone(&event);
        match event {
            Event::FetchStart { .. } => self.current = Some(Pending::default()),
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
            Event::Unparsed(_) => self.unread += 1,
            _ => {}
        }
        Ok(false)
    }

    fn begin(&mut self, size: u64) -> Result<(), Failure> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let is_unasked = |uid: u32| !self.open.iter().any(|open| open.awaited.contains(&uid));
        if current.uid.is_some_and(is_unasked) {
            return Ok(());
        }
        match self.limits.announce(size) {
            Ok(()) => {}
            Err(Excess::Message(why)) => {
                current.excess = Some(why.clone());
                return Err(Failure::new(Kind::Unavailable, why).remote());
            }
            Err(Excess::Run(failure)) => return Err(self.end_run(failure)),
        }
        match self.store.upload() {
            Ok(upload) => current.upload = Some(upload),
            Err(error) => return Err(self.end_run(error.into())),
        }
        Ok(())
    }

    fn chunk(&mut self, chunk: &[u8]) -> Result<bool, Failure> {
        let Some(upload) = self.current.as_mut().and_then(|current| current.upload.as_mut()) else {
            self.unasked_bytes += chunk.len() as u64;
            return if self.unasked_bytes > UNASKED_BYTES { Err(self.unasked()) } else { Ok(false) };
        };
        if let Err(error) = upload.write(chunk) {
            return Err(self.end_run(error.into()));
        }
        match self.limits.take(chunk.len()) {
            Ok(()) => Ok(true),
            Err(Excess::Message(why)) => Err(Failure::new(Kind::Unavailable, why).remote()),
            Err(Excess::Run(failure)) => Err(self.end_run(failure)),
        }
    }

    fn unasked(&mut self) -> Failure {
        self.ends_folder = true;
        Failure::new(Kind::Protocol, "the server sends messages that were not requested").remote()
    }

    fn end_run(&mut self, failure: Failure) -> Failure {
        self.fatal = Some(failure.clone());
        failure
    }

    fn complete(&mut self) -> Result<bool, Failure> {
        let Some(pending) = self.current.take() else { return Ok(false) };
        let was_asked = pending.uid.is_some_and(|uid| {
            pending.upload.is_some() && self.open.iter_mut().any(|open| open.awaited.remove(&uid))
        });
        // Without a body it is a change of flags, told on the way.
        let Pending { uid, flags, date, upload, .. } = pending;
        let (Some(uid), Some(upload), true) = (uid, upload, was_asked) else {
            self.unasked += 1;
            return if self.unasked > ARRIVALS { Err(self.unasked()) } else { Ok(false) };
        };
        self.bytes += upload.size();
        self.batch.push(RemoteMessage { uid, upload, flags, internal_date: date.unwrap_or_default() });
        self.bar.inc(1);
        (self.progress, self.refusals, self.regions, self.throttled) = (self.progress + 1, 0, 0, 0);
        if self.bytes >= COMMIT_BYTES || self.batch.len() >= COMMIT_COUNT {
            self.commit()?;
        }
        Ok(true)
    }

    /// A FETCH has ended. What was refused is tried again in smaller pieces.
    pub(super) fn completed(&mut self, id: CommandId, status: &StatusResponse<'_>, plan: &mut Plan) {
        let Some(at) = self.open.iter().position(|open| open.id == id) else { return };
        let Some(open) = self.open.remove(at) else { return };
        if status.condition == Condition::Ok {
            self.absent.extend(open.awaited);
            return;
        }
        if open.awaited.is_empty() {
            return;
        }
        let failure = classify::imap_command(status, "the server refused UID FETCH");
        self.refusals += 1;
        self.throttled = if failure.kind == Kind::TryAgain { self.throttled + 1 } else { 0 };
        if let Some(uid) = plan.refused(open.awaited.into_iter().collect()) {
            self.blame(uid, &failure);
        }
        if self.throttled >= THROTTLED {
            self.report.count_failed(plan.give_up(), failure.kind, "the server serves nothing now");
            self.report.refuse(&failure);
            return;
        }
        if self.refusals < REFUSALS {
            return;
        }
        // Nothing of this part of the folder comes: it is left, and what is behind it is tried.
        (self.refusals, self.regions) = (0, self.regions + 1);
        for uid in plan.give_up_retries() {
            self.blame(uid, &failure);
        }
        if self.regions >= REGIONS {
            self.report.count_failed(
                plan.give_up(),
                failure.kind,
                "the server refuses the rest of the folder",
            );
            self.report.refuse(&failure);
        }
    }

    /// So many are not asked for any more.
    pub(super) fn leave_rest(&mut self, count: u64) {
        self.report.count_failed(count, Kind::TryAgain, "the rest of the folder was left");
    }

    /// These failed in an earlier run, and are not tried in this one.
    pub(super) fn leave(&mut self, uids: &UidSet) {
        let failure = Failure::new(Kind::TryAgain, "an earlier run could not fetch it");
        for uid in uids.ranges().iter().cloned().flatten() {
            self.blame(uid, &failure);
        }
    }

    /// The connection was lost. What was on its way is planned anew; the message that is to blame is reported once it
    /// stands alone.
    pub(super) fn lost(&mut self, failure: &Failure, plan: &mut Plan) {
        let current = self.current.take();
        let mut open = std::mem::take(&mut self.open);
        let excess = current.as_ref().and_then(|pending| pending.excess.clone());
        let uid = current.as_ref().and_then(|pending| pending.uid);
        // The server may answer a later command first.
        let at = uid.and_then(|uid| open.iter().position(|open| open.awaited.contains(&uid))).unwrap_or(0);
        let Some(mut suspect) = open.remove(at) else { return };
        let behind = open.into_iter().map(|open| open.awaited.into_iter().collect()).collect();
        if let (Some(uid), Some(why)) = (uid, excess)
            && suspect.awaited.remove(&uid)
        {
            self.blame(uid, &Failure::new(Kind::Unavailable, why));
            if !suspect.awaited.is_empty() {
                let _ = plan.lost(
                    Vec::new(),
                    [vec![suspect.awaited.into_iter().collect()], behind].concat(),
                    None,
                );
            } else {
                let _ = plan.lost(Vec::new(), behind, None);
            }
            return;
        }
        let some_came = suspect.awaited.len() < suspect.asked;
        let first = suspect.awaited.first().copied().filter(|_| some_came);
        let broken_at = uid.or(first);
        if let Some(uid) = plan.lost(suspect.awaited.into_iter().collect(), behind, broken_at) {
            // A connection that is closed is temporary, whatever it was closed for.
            self.blame(uid, &failure.clone().adding(" (whenever this message is asked for)"));
        }
    }

    fn blame(&mut self, uid: u32, failure: &Failure) {
        self.unfetched.insert(uid);
        self.report.blame(uid, failure);
    }

    /// Stores what has come.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let imports = match self.store.record_imports(self.remote, std::mem::take(&mut self.batch)) {
            Ok(imports) => imports,
            Err(error) => return Err(self.end_run(error.into())),
        };
        for import in imports {
            match import {
                Import::Imported(_) => self.report.imported += 1,
                Import::Duplicate(_) => self.report.duplicates += 1,
                Import::Known(_) => self.report.known += 1,
            }
        }
        Ok(())
    }

    /// Stores what has come and what could not be fetched. `remembered` could not be fetched by an earlier run.
    pub(super) fn finish(&mut self, remembered: &UidSet) -> Result<(), Failure> {
        self.commit()?;
        self.bar.finish_and_clear();
        self.report.miss(&self.absent, self.unread, self.gone);
        let unfetched: UidSet = self.unfetched.iter().copied().collect();
        let kept = self
            .store
            .forget_unfetched(self.remote, &super::plan::difference(remembered, &unfetched))
            .and_then(|()| self.store.record_unfetched(self.remote, &unfetched));
        kept.map_err(|error| self.end_run(error.into()))
    }

    /// How many went away meanwhile.
    pub(super) const fn gone(&self) -> u64 {
        self.gone
    }
}

impl Pending {
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

/// The flags that the store can hold; one that it cannot costs only itself.
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
