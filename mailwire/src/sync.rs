//! `sync`: fetches every message of an account once into a local store.
//!
//! Each batch of messages is committed together with where they came from, so that a run that is cut short goes on
//! behind the last batch. Bodies go straight to the store: a message may be larger than memory.
//!
//! A server is believed as little as can be: only a message that was asked for is kept, and that once; a message that it
//! says it has and does not send is a failure.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use indicatif::ProgressBar;
use io_mio::{Report, Turn};
use mailstore::{
    AccountId, Flags, Import, InternalDate, RemoteAccountId, RemoteMailboxId, RemoteMessage, SpecialUse,
    SqliteStore, Store, UidSet, Upload,
};
use proto_core::{Channel, Credentials};
use proto_imap::client::{Client, CommandId, Event};
use proto_imap::types::{
    Code, Command, FetchAttribute, FetchItem, FlagList, List, Mailbox, Section, SequenceSet, Untagged,
    arguments,
};
use serde::Serialize;

use crate::cli::SyncArgs;
use crate::connect::Way;
use crate::failure::{Failure, Kind, store_failure};
use crate::folders::{imap_only, no_user};
use crate::imap::{Authenticate, Folder, Reach, Session, Task, accepted, with_session};
use crate::local;
use crate::output::Output;

/// How many messages one FETCH asks for.
const BATCH: usize = 200;
/// How many FETCH commands are on their way at once: while one is answered, the next is already there.
const AHEAD: usize = 2;
/// A batch is committed at this size, in octets, or this count, whichever comes first.
const COMMIT_OCTETS: u64 = 8 << 20;
const COMMIT_COUNT: usize = 200;
/// How many messages may come beyond those that a folder had, or that were asked for: some arrive at any time.
const ARRIVALS: usize = 1000;

/// Runs the command.
pub(crate) fn run(arguments: &SyncArgs) -> Result<(), Failure> {
    imap_only(&arguments.url)?;
    let output = Output::from(arguments.output);
    let way = Way::new(&arguments.url, &arguments.connection)?;
    let credentials = way.credentials()?.ok_or_else(no_user)?;
    let store = SqliteStore::open(&arguments.into).map_err(|error| store_failure(&arguments.into, &error))?;
    let account = local::account(&store, &way.url)?;
    let remote = store.remote_account(account, &local::key(&way.url))?.id;
    let task =
        Sync { way: &way, credentials, store: &store, account, remote, only: &arguments.folder, output };
    let done = with_session(&way, &way.connector(|_: &Report| {}), task);
    let now = jiff::Timestamp::now();
    let (status, error) = match &done {
        Ok(folders) if folders.iter().all(|folder| folder.error.is_none()) => ("success", None),
        Ok(folders) => ("partial", folders.iter().find_map(|folder| folder.error.clone())),
        Err(failure) => ("failed", Some(failure.to_keep())),
    };
    store.record_sync(remote, now.as_second(), status, error.as_deref())?;
    let folders = done?;
    let report = SyncReport::new(&way, now, status, error, folders);
    report.show(output);
    if status == "success" {
        return Ok(());
    }
    Err(Failure::new(Kind::Unavailable, "some folders or messages could not be fetched")
        .advise("run it again: nothing is fetched twice"))
}

/// How a run ended.
#[derive(Debug, Serialize)]
struct SyncReport {
    url: String,
    last_sync_at: String,
    status: &'static str,
    error: Option<String>,
    imported: u64,
    duplicates: u64,
    known: u64,
    failed: u64,
    folders: Vec<FolderReport>,
}

/// How it ended for one folder.
#[derive(Debug, Default, Serialize)]
struct FolderReport {
    name: String,
    /// Messages that are new here.
    imported: u64,
    /// Messages whose very octets were here already.
    duplicates: u64,
    /// Messages that an earlier run has fetched.
    known: u64,
    /// Messages that could not be read.
    failed: u64,
    error: Option<String>,
}

impl SyncReport {
    fn new(
        way: &Way,
        at: jiff::Timestamp,
        status: &'static str,
        error: Option<String>,
        folders: Vec<FolderReport>,
    ) -> Self {
        let sum = |count: fn(&FolderReport) -> u64| folders.iter().map(count).sum();
        Self {
            url: way.url.to_string(),
            last_sync_at: at.to_string(),
            status,
            error,
            imported: sum(|folder| folder.imported),
            duplicates: sum(|folder| folder.duplicates),
            known: sum(|folder| folder.known),
            failed: sum(|folder| folder.failed),
            folders,
        }
    }

    fn show(&self, output: Output) {
        output.json(self);
        for folder in &self.folders {
            output.line(format!(
                "{}: {} new, {} known{}",
                folder.name,
                folder.imported,
                folder.known + folder.duplicates,
                folder.error.as_ref().map(|error| format!("; {error}")).unwrap_or_default(),
            ));
        }
        output.line(format!(
            "{}: {} new messages in {} folders",
            self.status,
            self.imported,
            self.folders.len()
        ));
    }
}

struct Sync<'a> {
    way: &'a Way,
    credentials: Credentials,
    store: &'a SqliteStore,
    account: AccountId,
    remote: RemoteAccountId,
    only: &'a [String],
    output: Output,
}

impl Task for Sync<'_> {
    type Output = Vec<FolderReport>;
    type Error = Failure;

    fn run<C: Reach>(self, mut session: Session<C>) -> Result<Vec<FolderReport>, Failure>
    where
        Client<C>: Authenticate,
    {
        let done = self.walk(&mut session);
        session.log_out();
        done
    }
}

impl Sync<'_> {
    fn walk<C: Reach>(self, session: &mut Session<C>) -> Result<Vec<FolderReport>, Failure>
    where
        Client<C>: Authenticate,
    {
        session.log_in(self.way, &self.credentials)?;
        let folders = session.folders()?;
        for wanted in self.only {
            if !folders.iter().any(|folder| is_named(folder, wanted)) {
                return Err(Failure::new(Kind::Data, format!("there is no folder {wanted}"))
                    .advise("mailwire folders shows their names"));
            }
        }
        let wanted = |folder: &&Folder| {
            folder.selectable && (self.only.is_empty() || self.only.iter().any(|name| is_named(folder, name)))
        };
        let mut reports = Vec::new();
        for folder in folders.iter().filter(wanted) {
            let mut report = FolderReport { name: folder.name.clone(), ..FolderReport::default() };
            let place =
                Place { store: self.store, account: self.account, remote: self.remote, output: self.output };
            if let Err(failure) = place.fetch_folder(session, folder, &mut report) {
                // A folder that the server refuses costs only itself; a connection that broke costs the run.
                if session.connection.with(|client, _| client.is_closed())
                    || failure.kind != Kind::Unavailable
                {
                    return Err(failure);
                }
                report.error = Some(failure.what);
            }
            reports.push(report);
        }
        Ok(reports)
    }
}

fn is_named(folder: &Folder, name: &str) -> bool {
    folder.name == name || (name.eq_ignore_ascii_case("INBOX") && folder.name.eq_ignore_ascii_case("INBOX"))
}

/// Where messages go.
struct Place<'a> {
    store: &'a SqliteStore,
    account: AccountId,
    remote: RemoteAccountId,
    output: Output,
}

impl Place<'_> {
    fn fetch_folder<C: Channel>(
        &self,
        session: &mut Session<C>,
        folder: &Folder,
        report: &mut FolderReport,
    ) -> Result<(), Failure>
    where
        Client<C>: Authenticate,
    {
        folder.check_name()?;
        let (uid_validity, exists) = examine(session, &folder.name)?;
        let special_use = folder.special_use.as_deref().and_then(SpecialUse::from_attribute);
        let mailbox = local::mailbox(self.store, self.account, &local::name(folder), special_use)?;
        let remote = self.store.remote_mailbox(self.remote, &folder.name, mailbox, uid_validity)?.id;
        let known = self.store.known_uids(remote)?;
        let listed = if exists == 0 { Listed::default() } else { all_uids(session, uid_validity, exists)? };
        let missing: Vec<u32> = listed.uids.iter().copied().filter(|uid| !known.contains(*uid)).collect();
        report.known = (listed.uids.len() - missing.len()) as u64;
        let bar = self.output.progress(missing.len() as u64, &folder.name);
        let mut sink = Sink::new(self.store, remote, report, bar, &missing, uid_validity);
        let fetched = fetch(session, &missing, &mut sink);
        sink.commit()?;
        sink.bar.finish_and_clear();
        // Whoever else uses the mailbox may have removed some meanwhile, and the server then said so.
        let withheld = (sink.awaited.len() as u64).saturating_sub(sink.gone + sink.report.failed);
        let unnamed = u64::from(exists).saturating_sub(listed.gone + listed.uids.len() as u64);
        fetched?;
        report.error = match (report.failed, withheld + unnamed) {
            (0, 0) => None,
            (failed, 0) => Some(format!("{failed} messages could not be read")),
            (0, absent) => {
                Some(format!("{absent} messages are there by the server's count and did not come"))
            }
            (failed, absent) => {
                Some(format!("{failed} messages could not be read, and {absent} did not come at all"))
            }
        };
        report.failed += withheld + unnamed;
        Ok(())
    }
}

/// Opens a folder for reading: its UIDVALIDITY and how many messages it has.
fn examine<C: Channel>(session: &mut Session<C>, name: &str) -> Result<(u32, u32), Failure>
where
    Client<C>: Authenticate,
{
    let (mut uid_validity, mut exists) = (None, 0);
    session.ask(&Command::Examine(arguments::Select::new(Mailbox::new(name))), |event| {
        match event {
            Event::Status(status) => {
                if let Some(Code::UidValidity(value)) = status.code {
                    uid_validity = Some(value);
                }
            }
            Event::Data(Untagged::Exists(count)) => exists = count,
            _ => {}
        }
        Ok(false)
    })?;
    let uid_validity = uid_validity.ok_or_else(|| {
        Failure::new(Kind::Unavailable, "the server gives no UIDVALIDITY: messages cannot be told apart")
    })?;
    Ok((uid_validity, exists))
}

/// The messages of the open folder.
#[derive(Default)]
struct Listed {
    /// Their UIDs, in order.
    uids: Vec<u32>,
    /// How many went away meanwhile.
    gone: u64,
}

/// Asks for every UID. A server that names more than it says it has, and than can have arrived meanwhile, has no end.
fn all_uids<C: Channel>(session: &mut Session<C>, uid_validity: u32, exists: u32) -> Result<Listed, Failure>
where
    Client<C>: Authenticate,
{
    let mut listed = Listed::default();
    let most = (exists as usize).saturating_mul(2).saturating_add(ARRIVALS);
    let attributes = [FetchAttribute::Uid];
    session.ask(
        &Command::UidFetch(arguments::Fetch::new(SequenceSet::ALL, List::new(&attributes))),
        |event| {
            same_validity(&event, uid_validity)?;
            listed.gone += gone(&event);
            let Event::FetchItem(FetchItem::Uid(uid)) = event else { return Ok(false) };
            if listed.uids.len() == most {
                return Err(Failure::new(
                    Kind::Protocol,
                    format!("the server said that it has {exists} messages, and names more than {most}"),
                ));
            }
            // 0 is nobody's.
            if uid != 0 {
                listed.uids.push(uid);
            }
            Ok(true)
        },
    )?;
    listed.uids.sort_unstable();
    listed.uids.dedup();
    Ok(listed)
}

/// UIDs mean what they meant when the folder was opened.
fn same_validity(event: &Event<'_>, uid_validity: u32) -> Result<(), Failure> {
    match event {
        Event::Status(status) if matches!(status.code, Some(Code::UidValidity(now)) if now != uid_validity) => {
            Err(Failure::new(
                Kind::Unavailable,
                "the server numbered the messages anew meanwhile (UIDVALIDITY)",
            ))
        }
        _ => Ok(()),
    }
}

/// How many messages are said to have gone.
fn gone(event: &Event<'_>) -> u64 {
    match event {
        Event::Data(Untagged::Expunge(_)) => 1,
        _ => 0,
    }
}

/// Fetches these messages, some commands ahead.
fn fetch<C: Channel>(session: &mut Session<C>, missing: &[u32], sink: &mut Sink<'_>) -> Result<(), Failure>
where
    Client<C>: Authenticate,
{
    let mut batches = missing.chunks(BATCH);
    let mut open: VecDeque<CommandId> = VecDeque::new();
    let mut refused = None;
    session.drive(|turn, client, tx, useful| {
        match turn {
            Turn::Event(Event::Completed { id, status }) => {
                open.retain(|other| *other != id);
                if let Err(failure) = accepted(&status, "the server refused UID FETCH") {
                    refused.get_or_insert(failure);
                }
            }
            Turn::Event(event) => {
                if sink.event(event)? {
                    *useful = Instant::now();
                }
            }
            Turn::Writable => {}
        }
        while refused.is_none() && open.len() < AHEAD {
            let Some(batch) = batches.next() else { break };
            let ranges = ranges(batch);
            let set = SequenceSet::from_text(&ranges)
                .map_err(|_| Failure::new(Kind::Protocol, "the server's UIDs are no set"))?;
            let attributes = [
                FetchAttribute::Uid,
                FetchAttribute::Flags,
                FetchAttribute::InternalDate,
                FetchAttribute::peek(Section::FULL),
            ];
            open.push_back(
                client.send(&Command::UidFetch(arguments::Fetch::new(set, List::new(&attributes))), tx)?,
            );
        }
        Ok(open.is_empty().then_some(()))
    })?;
    refused.map_or(Ok(()), Err)
}

/// `1:3,5` for 1, 2, 3 and 5.
fn ranges(uids: &[u32]) -> String {
    let set: UidSet = uids.iter().copied().collect();
    let parts: Vec<String> = set
        .ranges()
        .iter()
        .map(|range| {
            if range.start() == range.end() {
                range.start().to_string()
            } else {
                format!("{}:{}", range.start(), range.end())
            }
        })
        .collect();
    parts.join(",")
}

/// Takes the events of FETCH and makes messages of them.
struct Sink<'a> {
    store: &'a SqliteStore,
    remote: RemoteMailboxId,
    report: &'a mut FolderReport,
    bar: ProgressBar,
    uid_validity: u32,
    /// The messages that are still to come. One that is not among them was not asked for.
    awaited: BTreeSet<u32>,
    /// How many went away meanwhile.
    gone: u64,
    /// How many came that nobody had asked for, with their contents.
    unasked: usize,
    current: Option<Pending>,
    batch: Vec<RemoteMessage>,
    octets: u64,
}

/// A message on its way. Its UID may come behind its body.
#[derive(Default)]
struct Pending {
    uid: Option<u32>,
    flags: Flags,
    date: Option<InternalDate>,
    upload: Option<Upload>,
}

impl<'a> Sink<'a> {
    fn new(
        store: &'a SqliteStore,
        remote: RemoteMailboxId,
        report: &'a mut FolderReport,
        bar: ProgressBar,
        asked: &[u32],
        uid_validity: u32,
    ) -> Self {
        let awaited = asked.iter().copied().collect();
        let (current, batch) = (None, Vec::new());
        Self {
            store,
            remote,
            report,
            bar,
            uid_validity,
            awaited,
            gone: 0,
            unasked: 0,
            current,
            batch,
            octets: 0,
        }
    }

    /// True: it was of use.
    fn event(&mut self, event: Event<'_>) -> Result<bool, Failure> {
        same_validity(&event, self.uid_validity)?;
        self.gone += gone(&event);
        match event {
            Event::FetchStart { .. } => self.current = Some(Pending::default()),
            Event::FetchItem(item) => {
                if let Some(current) = &mut self.current {
                    current.item(&item);
                }
            }
            Event::BodyStart { section, size: Some(_), origin: None } if section == Section::FULL => {
                let upload = self.store.upload()?;
                if let Some(current) = &mut self.current {
                    current.upload = Some(upload);
                }
            }
            Event::BodyChunk(chunk) => {
                if let Some(upload) = self.current.as_mut().and_then(|current| current.upload.as_mut()) {
                    upload.write(chunk)?;
                    return Ok(true);
                }
            }
            Event::FetchEnd => return self.complete(),
            Event::Unparsed(_) => self.report.failed += 1,
            _ => {}
        }
        Ok(false)
    }

    fn complete(&mut self) -> Result<bool, Failure> {
        // Without a body it is somebody's change of flags, told on the way.
        let Some(Pending { uid, flags, date, upload: Some(upload) }) = self.current.take() else {
            return Ok(false);
        };
        let Some(uid) = uid.filter(|uid| self.awaited.remove(uid)) else {
            self.unasked += 1;
            if self.unasked > ARRIVALS {
                return Err(Failure::new(Kind::Protocol, "the server sends messages that nobody asked for"));
            }
            return Ok(false);
        };
        self.octets += upload.size();
        self.batch.push(RemoteMessage { uid, upload, flags, internal_date: date.unwrap_or_default() });
        self.bar.inc(1);
        if self.octets >= COMMIT_OCTETS || self.batch.len() >= COMMIT_COUNT {
            self.commit()?;
        }
        Ok(true)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.octets = 0;
        for import in self.store.record_imports(self.remote, std::mem::take(&mut self.batch))? {
            match import {
                Import::Imported(_) => self.report.imported += 1,
                Import::Duplicate(_) => self.report.duplicates += 1,
                Import::Known(_) => self.report.known += 1,
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_asked_for_in_ranges() {
        assert_eq!(ranges(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(ranges(&[4]), "4");
    }
}
