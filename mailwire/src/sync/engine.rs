//! The run over all folders: sessions, what is done when one is lost, and when to give up.
//!
//! What a server refuses costs the item that was asked for. A lost connection costs a new session, and the message or
//! folder that causes it is found and left out. How often is limited: per folder, in a row without a message, and in all.

use std::time::Duration;

use io_mio::{ConnectionEvent, Connector};
use mailstore::{AccountId, RemoteAccountId, SpecialUse, SqliteStore, Store, UidSet};
use proto_imap::client::{Client, Event};
use proto_imap::types::{Command, FetchAttribute, FetchCommand, LazyList, Section, SequenceSet};
use proto_mail::Credentials;

use super::limits::Limits;
use super::opened::{self, Listed, Opened, Windows};
use super::plan::{Plan, count, difference, ranges};
use super::report::FolderReport;
use super::sink::Sink;
use crate::connect::Way;
use crate::failure::{Failure, Kind};
use crate::folder::Listing;
use crate::imap::{Authenticate, Folder, Reach, Session};
use crate::interrupt::Interrupt;
use crate::local;
use crate::output::Output;

/// The most lost connections of one folder, of a run, and in a row without a message that came.
const FOLDER_LOSSES: u32 = 40;
const RUN_LOSSES: u32 = 200;
const BARREN_LOSSES: u32 = 10;

/// How often a new session is tried before the run ends.
const CONNECTS: u32 = 3;

/// How many messages that an earlier run could not fetch are tried again, each of which may cost a session.
const REMEMBERED: usize = 5;

/// Where fetched mail goes, and on whose behalf.
pub(super) struct Place<'a> {
    pub(super) way: &'a Way,
    pub(super) connector: &'a Connector,
    pub(super) credentials: Credentials,
    pub(super) store: &'a SqliteStore,
    pub(super) account: AccountId,
    pub(super) remote: RemoteAccountId,
    pub(super) only: &'a [String],
    pub(super) output: Output,
    pub(super) interrupt: Interrupt,
}

/// A run.
pub(super) struct Engine<'a, C: Reach> {
    place: Place<'a>,
    limits: Limits,
    session: Option<Session<C>>,
    is_new: bool,
    losses: u32,
    barren: u32,
}

/// Why something could not be fetched.
#[derive(Debug)]
enum Trouble {
    /// It costs what was asked for; the session goes on.
    Item(Failure),
    /// It costs the session.
    Lost(Failure),
    /// It costs the run.
    Run(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let is_refusal = |reply: &crate::classify::ServerReply| matches!(reply.condition, Some("NO" | "BAD"));
        match failure.kind {
            Kind::Interrupted | Kind::Terminated => Self::Run(failure),
            _ if failure.server.as_deref().is_some_and(is_refusal) => Self::Item(failure),
            // Another party may be in between.
            Kind::Refused => Self::Run(failure),
            _ => Self::Lost(failure),
        }
    }
}

impl From<mailstore::Error> for Trouble {
    fn from(error: mailstore::Error) -> Self {
        Self::Run(error.into())
    }
}

impl<'a, C: Reach> Engine<'a, C>
where
    Client<C>: Authenticate,
{
    pub(super) fn new(place: Place<'a>, limits: Limits, session: Session<C>) -> Self {
        Self { place, limits, session: Some(session), is_new: true, losses: 0, barren: 0 }
    }

    /// Fetches every folder. Returns what was done, and what ended the run before its end.
    pub(super) fn run(mut self) -> (Vec<FolderReport>, Option<Failure>) {
        let mut reports = Vec::new();
        let stopped = self.folders(&mut reports).err();
        // A run that was stopped cuts the connection off: what is on its way would have to be read first.
        if let (Some(session), None) = (self.session.take(), &stopped) {
            session.log_out();
        }
        (reports, stopped)
    }

    fn folders(&mut self, reports: &mut Vec<FolderReport>) -> Result<(), Failure> {
        let mut listing = Listing::default();
        let listed = self.session()?.list(&mut listing);
        let folders = listing.sorted();
        if let Err(failure) = listed {
            match Trouble::from(failure) {
                // More folders than any account has: those that came are fetched.
                Trouble::Lost(failure) if failure.kind == Kind::Protocol && !folders.is_empty() => {
                    let mut report = FolderReport::of("(the list of folders)");
                    report.refuse(&failure);
                    reports.push(report);
                    self.lost(&failure)?;
                }
                Trouble::Item(failure) | Trouble::Lost(failure) | Trouble::Run(failure) => {
                    return Err(failure);
                }
            }
        }
        for wanted in self.place.only {
            if !folders.iter().any(|folder| folder.is_named(wanted)) {
                return Err(Failure::new(Kind::Data, format!("there is no folder {wanted}"))
                    .advise("mailwire folders shows their names"));
            }
        }
        let mut good = Vec::new();
        for folder in folders.into_iter().filter(|folder| folder.selectable && self.is_wanted(folder)) {
            match folder.check_name() {
                Ok(()) => good.push(folder),
                Err(failure) => {
                    let mut report = FolderReport::of(&folder.name);
                    report.refuse(&failure);
                    reports.push(report);
                }
            }
        }
        let names = local::names(self.place.store, self.place.account, self.place.remote, &good)?;
        for (folder, name) in good.iter().zip(&names) {
            let mut report = FolderReport::of(&folder.name);
            let done = self.folder(folder, name, &mut report);
            report.conclude();
            let stopped = match done {
                Ok(()) => Ok(()),
                Err(Trouble::Item(failure)) => {
                    report.refuse(&failure);
                    Ok(())
                }
                Err(Trouble::Lost(failure)) => {
                    report.refuse(&failure);
                    self.lost(&failure)
                }
                Err(Trouble::Run(failure)) => {
                    report.refuse(&failure);
                    Err(failure)
                }
            };
            reports.push(report);
            stopped?;
        }
        Ok(())
    }

    fn is_wanted(&self, folder: &Folder) -> bool {
        self.place.only.is_empty() || self.place.only.iter().any(|name| folder.is_named(name))
    }

    /// The session, opened and logged in if there is none.
    fn session(&mut self) -> Result<&mut Session<C>, Failure> {
        if self.session.is_none() {
            self.session = Some(self.connect()?);
            self.is_new = true;
        }
        let Some(session) = &mut self.session else {
            return Err(Failure::new(Kind::Unavailable, "there is no session"));
        };
        if std::mem::replace(&mut self.is_new, false) {
            session.interrupt = Some(self.place.interrupt.clone());
            session.log_in(self.place.way, &self.place.credentials)?;
        }
        Ok(session)
    }

    fn connect(&self) -> Result<Session<C>, Failure> {
        let mut tried = 0;
        loop {
            self.place.interrupt.check()?;
            tried += 1;
            match C::open(self.place.way, self.place.connector) {
                Err(failure)
                    if tried < CONNECTS && matches!(failure.kind, Kind::TryAgain | Kind::Unavailable) =>
                {
                    self.place.interrupt.sleep(Duration::from_millis(500) * tried);
                }
                // It was there before.
                Err(failure) if self.losses > 0 && failure.kind == Kind::Unavailable => {
                    return Err(failure.with_kind(Kind::TryAgain));
                }
                outcome => return outcome,
            }
        }
    }

    /// The session is gone. Fails once it has gone too often: then the server serves nothing now.
    fn lost(&mut self, failure: &Failure) -> Result<(), Failure> {
        self.session = None;
        self.losses += 1;
        self.barren += 1;
        if self.losses > RUN_LOSSES || self.barren > BARREN_LOSSES {
            return Err(failure
                .clone()
                .with_kind(Kind::TryAgain)
                .adding(" (the server does so again and again)")
                .advise("try again later"));
        }
        // The first ones cost no time: a server that breaks on one message is no server that is overloaded.
        let pause = match self.barren {
            0..=2 => 0,
            3..=4 => 200,
            more => 500 * u64::from(more - 4),
        };
        self.place.interrupt.sleep(Duration::from_millis(pause));
        self.place.interrupt.check()
    }

    fn folder(&mut self, folder: &Folder, name: &str, report: &mut FolderReport) -> Result<(), Trouble> {
        let opened = self.examine(folder)?;
        let special_use = folder.special_use.as_deref().and_then(SpecialUse::from_attribute);
        let place = &self.place;
        let mailbox = match local::mailbox(place.store, place.account, name, special_use) {
            Ok(mailbox) => mailbox,
            Err(error @ (mailstore::Error::Limit(_) | mailstore::Error::InvalidName(_))) => {
                return Err(Trouble::Item(error.into()));
            }
            Err(error) => return Err(error.into()),
        };
        let remote =
            place.store.remote_mailbox(place.remote, &folder.key(), mailbox, opened.uid_validity)?.id;
        let known = place.store.known_uids(remote)?;
        let remembered = place.store.unfetched(remote)?;
        let listed = self.list(folder, opened)?;
        let (named, gone) = (listed.uids.count as u64, listed.gone);
        let uids = listed.uids.into_set();
        let missing = difference(&uids, &known);
        report.known = count(&uids) - count(&missing);
        let fresh = difference(&missing, &remembered);
        let again = difference(&missing, &fresh);
        let bar = self.place.output.progress(count(&missing), &folder.name);
        let store = self.place.store;
        // The limits go along with the sink, which is beside the session.
        let mut limits = std::mem::replace(&mut self.limits, Limits::none());
        let mut sink = Sink::new(store, (remote, opened.uid_validity), report, bar, &mut limits);
        let fetched = self.fetch(folder, opened, (&fresh, &again), &mut sink);
        let finished = sink.finish(&remembered).map_err(Trouble::Run);
        let (fatal, gone) = (sink.fatal.take(), gone + sink.gone());
        self.limits = limits;
        // More may have been named than were there, if some came twice.
        let unnamed = u64::from(opened.exists).saturating_sub(gone + named);
        let why = format!("{unnamed} messages are there by the server's count and did not come");
        report.count_failed(unnamed, Kind::Unavailable, &why);
        if let Some(fatal) = fatal {
            return Err(Trouble::Run(fatal));
        }
        fetched.and(finished)
    }

    /// Opens the folder. A server that wants to know who we are first is told, and a connection that was closed is opened
    /// anew, once each.
    fn examine(&mut self, folder: &Folder) -> Result<Opened, Trouble> {
        let mut is_second = false;
        loop {
            let session = self.session().map_err(Trouble::Run)?;
            let trouble = match opened::examine(session, folder) {
                Ok(opened) => return Ok(opened),
                Err(failure) => Trouble::from(failure),
            };
            match trouble {
                Trouble::Item(failure) if !self.place.way.options.no_id => {
                    let session = self.session().map_err(Trouble::Run)?;
                    if !session.identify().map_err(Trouble::from)? {
                        return Err(Trouble::Item(failure));
                    }
                }
                Trouble::Lost(failure) if failure.is_closed_connection() && !is_second => {
                    is_second = true;
                    self.lost(&failure).map_err(Trouble::Run)?;
                }
                trouble => return Err(trouble),
            }
        }
    }

    /// Lists the messages of the open folder. A server that refuses FETCH for all of them, or breaks on it, is asked with
    /// SEARCH, and if that does not name them all, in ranges.
    fn list(&mut self, folder: &Folder, opened: Opened) -> Result<Listed, Trouble> {
        let mut listed = Listed::default();
        if opened.exists == 0 {
            return Ok(listed);
        }
        let most = self.limits.folder;
        if u64::from(opened.exists) > most {
            return Err(Trouble::Item(
                Failure::new(
                    Kind::Unavailable,
                    format!(
                        "the server said that it has {} messages: {most} are the limit (--max-messages)",
                        opened.exists
                    ),
                )
                .remote(),
            ));
        }
        let session = self.session().map_err(Trouble::Run)?;
        match opened::fetch_uids(session, None, (opened, most), &mut listed).map_err(Trouble::from) {
            Ok(()) => return Ok(listed),
            Err(Trouble::Item(_)) => {}
            Err(Trouble::Lost(failure)) if failure.kind == Kind::TryAgain => {
                self.lost(&failure).map_err(Trouble::Run)?;
                self.reopen(folder, opened)?;
            }
            Err(trouble) => return Err(trouble),
        }
        let mut searched = Listed { gone: listed.gone, ..Listed::default() };
        let session = self.session().map_err(Trouble::Run)?;
        match opened::search_uids(session, opened, most, &mut searched).map_err(Trouble::from) {
            Ok(()) if searched.is_complete(opened) => return Ok(searched),
            Ok(()) | Err(Trouble::Item(_)) => {}
            Err(Trouble::Lost(failure)) if failure.kind == Kind::TryAgain => {
                self.lost(&failure).map_err(Trouble::Run)?;
                self.reopen(folder, opened)?;
            }
            Err(trouble) => return Err(trouble),
        }
        self.list_in_windows(folder, opened, searched.gone)
    }

    /// Lists the messages in ranges of UIDs, divided where the server refuses one or breaks on it. A UID that it refuses
    /// alone counts as there: whether it comes is seen when it is fetched.
    fn list_in_windows(&mut self, folder: &Folder, opened: Opened, gone: u64) -> Result<Listed, Trouble> {
        let most = self.limits.folder;
        let mut listed = Listed { gone, ..Listed::default() };
        let mut windows = Windows::new(opened);
        while let Some(range) = windows.next() {
            let session = self.session().map_err(Trouble::Run)?;
            let blamed = match opened::fetch_uids(session, Some(range), (opened, most), &mut listed)
                .map_err(Trouble::from)
            {
                Ok(()) => None,
                Err(Trouble::Item(_)) => windows.refused(range),
                Err(Trouble::Lost(failure)) if failure.kind == Kind::TryAgain => {
                    let Some(blamed) = windows.lost(range) else { return Err(Trouble::Lost(failure)) };
                    self.lost(&failure).map_err(Trouble::Run)?;
                    self.reopen(folder, opened)?;
                    blamed
                }
                Err(trouble) => return Err(trouble),
            };
            if let Some(uid) = blamed {
                listed.uids.add(uid);
            }
            self.barren = 0;
        }
        Ok(listed)
    }

    /// Opens the folder in a new session: it must have the same numbering.
    fn reopen(&mut self, folder: &Folder, opened: Opened) -> Result<(), Trouble> {
        let again = self.examine(folder)?;
        if again.uid_validity == opened.uid_validity {
            return Ok(());
        }
        Err(Trouble::Item(opened::renumbered()))
    }

    /// Fetches what is missing, in as many sessions as it takes.
    fn fetch(
        &mut self,
        folder: &Folder,
        opened: Opened,
        (fresh, again): (&UidSet, &UidSet),
        sink: &mut Sink<'_>,
    ) -> Result<(), Trouble> {
        // Of those that failed before, a few are tried again; the others stay remembered and are said to be missing.
        let tried: UidSet = again.ranges().iter().cloned().flatten().take(REMEMBERED).collect();
        sink.leave(&difference(again, &tried));
        let mut plan = Plan::new(fresh, &tried);
        let mut losses = 0;
        while !plan.is_done() {
            let session = self.session().map_err(Trouble::Run)?;
            let failure = match drive(session, &mut plan, sink) {
                Ok(()) => return Ok(()),
                Err(_) if sink.fatal.is_some() => return Ok(()),
                Err(failure) => match Trouble::from(failure) {
                    Trouble::Item(failure) | Trouble::Lost(failure) => failure,
                    Trouble::Run(failure) => return Err(Trouble::Run(failure)),
                },
            };
            if std::mem::take(&mut sink.progress) > 0 {
                self.barren = 0;
            }
            sink.commit().map_err(Trouble::Run)?;
            if sink.ends_folder {
                return Err(Trouble::Lost(failure));
            }
            sink.lost(&failure, &mut plan);
            losses += 1;
            if losses > FOLDER_LOSSES {
                sink.leave_rest(plan.give_up());
                return Err(Trouble::Lost(failure));
            }
            self.lost(&failure).map_err(Trouble::Run)?;
            if !plan.is_done() {
                self.reopen(folder, opened)?;
            }
        }
        Ok(())
    }
}

/// Asks for what the plan says, some commands ahead, until nothing is left of it or the session ends.
fn drive<C: Reach>(session: &mut Session<C>, plan: &mut Plan, sink: &mut Sink<'_>) -> Result<(), Failure>
where
    Client<C>: Authenticate,
{
    session.drive(|turn, client, tx, useful| {
        match turn {
            ConnectionEvent::Machine(Event::Completed { id, status }) => {
                sink.completed(id, &status, plan);
                *useful = std::time::Instant::now();
            }
            ConnectionEvent::Machine(event) => {
                if sink.event(event)? {
                    *useful = std::time::Instant::now();
                }
            }
            ConnectionEvent::Writable => {}
        }
        while sink.open.len() < plan.ahead() {
            let Some(piece) = plan.next() else { break };
            let text = ranges(&piece);
            let set = SequenceSet::from_text(&text)
                .map_err(|_| Failure::new(Kind::Protocol, "the server's UIDs are no set"))?;
            let attributes = [
                FetchAttribute::Uid,
                FetchAttribute::Flags,
                FetchAttribute::InternalDate,
                FetchAttribute::peek(Section::FULL),
            ];
            let fetch = FetchCommand::new(set, LazyList::new(&attributes));
            sink.asked(client.send(&Command::UidFetch(fetch), tx)?, piece);
        }
        Ok(sink.open.is_empty().then_some(()))
    })
}
