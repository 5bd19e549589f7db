//! One IMAP session of the server: executes the client's commands on the store.
//!
//! | file | content |
//! |---|---|
//! | [`mailbox`] | SELECT, EXAMINE, CLOSE, UNSELECT, CREATE, DELETE, RENAME, SUBSCRIBE, STATUS |
//! | [`list`], [`pattern`] | LIST, LSUB, NAMESPACE |
//! | [`fetch`], [`content`], [`produce`], [`stream`] | FETCH: a worker produces pieces, the session writes them |
//! | [`change`], [`transfer`] | STORE, EXPUNGE; COPY, MOVE |
//! | [`find`], [`search`], [`candidate`], [`needles`] | SEARCH |
//! | [`paging`] | sets of UIDs, processed window by window |
//! | [`append`] | APPEND |
//! | [`update`] | changes by other sessions: NOOP, IDLE, and before most tagged responses |
//! | [`view`] | sequence numbers |
//! | [`translate`] | conversion between the store's types and the protocol's |
//!
//! A handler never blocks. It hands a job to a worker together with a closure, and the closure runs when the result is
//! available.

mod append;
mod candidate;
mod change;
mod content;
mod fetch;
mod find;
mod list;
mod mailbox;
mod needles;
mod paging;
mod pattern;
mod produce;
mod search;
mod stream;
mod transfer;
mod translate;
mod update;
mod view;

use std::sync::Arc;

use io_mio::{CloseReason, Context, Error, Handler, ImapServer, JobHandle, JobStep, MachineMut, Next, Slice};
use mailstore::{AccountId, ChangeCursor, MailboxId, Store, UidSet};
use proto_imap::server::{Event, Reply, Server};
use proto_imap::types::{
    Command, Condition, IString, IdField, LazyList, MailboxName, NameEncoding, PlainCode, ResponseCode,
    SequenceSet, StatusResponse, Text, Untagged,
};
use proto_imap::{Access, Config};
use proto_mail::{AuthRequest, AuthVerdict, Cleartext, Limits, Secure, SendBuffer};
use roaring::RoaringBitmap;

use super::Site;
use super::guesses::Attempt;
use super::hub::Watch;
use super::login::{self, Answer};
use super::task::{self, Task};

/// The state machine under TLS. Every command that needs an account runs on this one.
type Machine = Server<Secure>;
type Turn<'t, 'c> = task::Turn<'t, 'c, Machine>;

/// This many times the error limit, in consecutive commands answered with NO, ends a session.
const REFUSED_IN_A_ROW: u32 = 5;

/// An IMAP session. Rarely used state is boxed, because thousands of sessions may be idle.
pub(super) struct Session {
    site: Arc<Site>,
    number: u64,
    account: Option<AccountId>,
    selected: Option<Box<Selected>>,
    task: Option<Task<Self, Machine>>,
    work: Work,
    /// Changes that are being sent to the client.
    telling: Option<Box<update::Telling>>,
    /// Whether the client has enabled mod-sequences (CONDSTORE, RFC 7162 §3.1).
    modseqs: bool,
    /// The authentication in progress.
    attempt: Option<Attempt>,
}

/// A command that takes more than one step.
enum Work {
    None,
    Append(Box<append::Append>),
    Idle(Box<update::Idling>),
    Fetch(Box<fetch::Fetching>),
    Store(Box<change::Storing>),
    CopyUid(Box<transfer::CopyUid>),
    List(Box<list::Listing>),
    Search(Box<find::Answering>),
}

/// The selected mailbox.
struct Selected {
    mailbox: MailboxId,
    access: Access,
    view: view::View,
    watch: Watch,
    /// The changes up to here were reported to the client.
    cursor: ChangeCursor,
    /// The messages that are recent in this session.
    recent: RoaringBitmap,
    own: update::OwnChanges,
    /// The saved search result `$` (RFC 5182).
    saved: RoaringBitmap,
    /// The newest keyword that the client was told about.
    keywords: u32,
}

impl Selected {
    /// Returns the UIDs that a set names. `$` is the saved result of a search.
    fn resolve(
        &self,
        set: SequenceSet<'_>,
        numbering: view::Numbering,
    ) -> Result<UidSet, view::NoSuchMessage> {
        if set.is_saved() { Ok(view::uid_set(&self.saved)) } else { self.view.resolve(set, numbering) }
    }
}

/// Returns the configuration of the state machine.
pub(super) fn config(site: &Site, limits: &Limits) -> Arc<Config> {
    let extensions = [
        "CHILDREN",
        "CONDSTORE",
        "ESEARCH",
        "ID",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "MOVE",
        "NAMESPACE",
        "SEARCHRES",
        "SPECIAL-USE",
        "STATUS=SIZE",
        "UIDPLUS",
        "UNSELECT",
        "WITHIN",
    ];
    Arc::new(
        Config::default()
            .limits(limits.clone())
            .offered_mechanisms(login::mechanisms(site.any_login.is_some()))
            .server_name(format!("{} Mailwire", site.name))
            .extensions(extensions)
            .enableable(["IMAP4rev2", "CONDSTORE"]),
    )
}

impl Session {
    pub(super) fn new(site: Arc<Site>) -> Self {
        let number = site.number();
        Self {
            site,
            number,
            account: None,
            selected: None,
            task: None,
            work: Work::None,
            telling: None,
            modseqs: false,
            attempt: None,
        }
    }

    /// Runs a job of a few milliseconds on a worker, then calls `then` with its result.
    fn ask<T: Send + 'static>(
        &mut self,
        turn: &mut Turn<'_, '_>,
        job: impl FnOnce(&dyn Store) -> mailstore::Result<T> + Send + 'static,
        then: impl FnOnce(&mut Self, mailstore::Result<T>, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        let store = Arc::clone(&self.site.store);
        let group = task::group(self.account, turn.cx);
        let later = self.site.workers.run(group, turn.cx.session_handle(), move || job(&*store));
        self.wait_for(later, then, turn)
    }

    /// Runs a longer job on a worker in slices, then calls `then` with its result. The job returns [`JobStep::More`]
    /// when its slice is over and is called again after the jobs of other accounts and sessions. It is dropped when
    /// the session ends.
    fn ask_in_slices<T: Send + 'static>(
        &mut self,
        turn: &mut Turn<'_, '_>,
        mut job: impl FnMut(&dyn Store, &Slice) -> JobStep<mailstore::Result<T>> + Send + 'static,
        then: impl FnOnce(&mut Self, mailstore::Result<T>, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        let store = Arc::clone(&self.site.store);
        let group = task::group(self.account, turn.cx);
        let job = move |slice: &Slice| job(&*store, slice);
        let later = self.site.workers.run_in_slices(group, turn.cx.session_handle(), job);
        self.wait_for(later, then, turn)
    }

    fn wait_for<T: Send + 'static>(
        &mut self,
        later: Result<JobHandle<mailstore::Result<T>>, Error>,
        then: impl FnOnce(&mut Self, mailstore::Result<T>, &mut Turn<'_, '_>) -> Next + Send + 'static,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        match later {
            Ok(later) => {
                self.task = Some(Task::job(later, then));
                // The state machine yields no further command until this one is answered.
                Next::Continue
            }
            // Only this command fails.
            Err(Error::GroupQueueFull) => then(
                self,
                Err(mailstore::Error::Limit("too many commands of this account are waiting")),
                turn,
            ),
            // One change wakes all idle sessions, perhaps more than the queue can hold: they retry a little later.
            Err(_) if matches!(self.work, Work::Idle(_)) => then(self, Err(mailstore::Error::Busy), turn),
            Err(_) => {
                turn.machine.shutdown("the server is too busy: try again later", turn.tx);
                Next::Close
            }
        }
    }

    fn command(&mut self, reply: Reply, command: Command<'_>, turn: &mut Turn<'_, '_>) -> Next {
        // These commands need no authentication (RFC 9051 §6.1, RFC 2971).
        match command {
            Command::Noop => return self.finish(reply, "completed", turn),
            Command::Id(_) => return identify(reply, turn),
            _ => {}
        }
        let Some(account) = self.account else {
            return refuse(reply, PlainCode::ClientBug, "log in first", turn);
        };
        if turn.machine.is_enabled("CONDSTORE")
            && let Err(error) = self.enable_condstore(turn)
        {
            return go_on(Err(error));
        }
        match command {
            Command::Check => self.finish(reply, "completed", turn),
            Command::Namespace => list::namespace(reply, turn),
            Command::List(arguments) => self.list(account, reply, arguments, turn),
            Command::Lsub(arguments) => self.lsub(account, reply, arguments, turn),
            Command::Select(arguments) => self.select(account, reply, arguments, Access::ReadWrite, turn),
            Command::Examine(arguments) => self.select(account, reply, arguments, Access::ReadOnly, turn),
            Command::Create(arguments) => self.create(account, reply, arguments, turn),
            Command::Delete(name) => self.delete(account, reply, name, turn),
            Command::Rename(arguments) => self.rename(account, reply, arguments, turn),
            Command::Subscribe(name) => {
                self.subscribe(account, reply, name, mailbox::Subscription::Add, turn)
            }
            Command::Unsubscribe(name) => {
                self.subscribe(account, reply, name, mailbox::Subscription::Remove, turn)
            }
            Command::Status(arguments) => self.status(account, reply, arguments, turn),
            Command::Close => self.close(reply, turn),
            Command::Unselect => self.unselect(reply, turn),
            Command::Expunge => self.expunge(reply, None, turn),
            Command::UidExpunge(uids) => self.expunge(reply, Some(uids), turn),
            Command::Search(arguments) => self.search(reply, arguments, view::Numbering::Sequence, turn),
            Command::UidSearch(arguments) => self.search(reply, arguments, view::Numbering::Uid, turn),
            Command::Fetch(arguments) => self.fetch(reply, arguments, view::Numbering::Sequence, turn),
            Command::UidFetch(arguments) => self.fetch(reply, arguments, view::Numbering::Uid, turn),
            Command::Store(arguments) => self.store(reply, arguments, view::Numbering::Sequence, turn),
            Command::UidStore(arguments) => self.store(reply, arguments, view::Numbering::Uid, turn),
            Command::Copy(arguments) => self.copy(
                account,
                reply,
                arguments,
                view::Numbering::Sequence,
                transfer::Transfer::Copy,
                turn,
            ),
            Command::UidCopy(arguments) => {
                self.copy(account, reply, arguments, view::Numbering::Uid, transfer::Transfer::Copy, turn)
            }
            Command::Move(arguments) => self.copy(
                account,
                reply,
                arguments,
                view::Numbering::Sequence,
                transfer::Transfer::Move,
                turn,
            ),
            Command::UidMove(arguments) => {
                self.copy(account, reply, arguments, view::Numbering::Uid, transfer::Transfer::Move, turn)
            }
            _ => bad(reply, "unsupported command", turn),
        }
    }

    /// Enables mod-sequences. If they were not enabled before and a mailbox is selected, reports the highest
    /// mod-sequence (RFC 7162 §3.1).
    fn enable_condstore(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), proto_mail::Error> {
        if std::mem::replace(&mut self.modseqs, true) {
            return Ok(());
        }
        let Some(selected) = &self.selected else { return Ok(()) };
        let highest = selected.watch.highest_modseq(selected.cursor.flags.0);
        let code = ResponseCode::HighestModSeq(highest);
        let status = ok("mod-sequences enabled").with_code(code);
        turn.machine.data(&Untagged::Status(status), turn.tx)
    }

    /// Starts to check credentials on a worker.
    fn authenticate(&mut self, request: AuthRequest, turn: &mut Turn<'_, '_>) -> Next {
        match self.site.begin_login(&request, &mut self.attempt, turn.cx) {
            Err(answer) => self.log_in(request, answer, turn),
            Ok(ticket) => {
                self.task =
                    Some(Task::login(ticket, |session: &mut Self, answer, turn: &mut Turn<'_, '_>| {
                        session.log_in(request, answer, turn)
                    }));
                Next::Continue
            }
        }
    }

    fn log_in(&mut self, request: AuthRequest, answer: Answer, turn: &mut Turn<'_, '_>) -> Next {
        let Answer { verdict, account } = answer;
        self.site.end_login(&verdict, &mut self.attempt, turn.cx);
        self.account = account;
        if !matches!(verdict, AuthVerdict::Keys(_)) {
            tracing::info!(session = self.number, ?verdict, "imap login");
        }
        go_on(turn.machine.answer_auth(request, verdict, turn.tx))
    }

    /// Returns whether the server has rejected too many commands of this session: as many with BAD as the error limit,
    /// or [`REFUSED_IN_A_ROW`] times as many consecutive ones with NO. A client that looks for mailboxes that do not
    /// exist gets many NO responses, with successful commands in between.
    fn is_refused_too_often(&self, machine: &Machine) -> bool {
        let refusals = machine.refusals();
        let errors = self.site.limits().errors;
        refusals.bad >= errors || refusals.in_a_row >= errors.saturating_mul(REFUSED_IN_A_ROW)
    }

    /// Returns what the driver should do while the session is waiting.
    fn resting(&self) -> Next {
        if self.telling.is_some() {
            return Next::More;
        }
        match &self.work {
            Work::Append(append) => append.resting(),
            Work::Fetch(fetching) => fetching.resting(),
            // A piece was written. Continue once the client has read it.
            Work::Store(_) | Work::CopyUid(_) | Work::List(_) | Work::Search(_) => Next::More,
            Work::None | Work::Idle(_) => Next::Continue,
        }
    }
}

impl Handler<ImapServer> for Session {
    fn cleartext(
        &mut self,
        event: Event<'_, Cleartext>,
        machine: &mut Server<Cleartext>,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match event {
            Event::StartTls(request) => Next::StartTls(request),
            Event::Closed => Next::Close,
            Event::Command(Command::Noop, reply) => go_on(machine.reply(reply, &ok("completed"), tx)),
            Event::Command(Command::Id(_), reply) => {
                go_on(machine.data(&identity(), tx).and_then(|()| machine.reply(reply, &ok("completed"), tx)))
            }
            Event::Command(_, reply) => go_on(machine.reply(
                reply,
                &StatusResponse::new(Condition::Bad, Text::first_line("start TLS first")),
                tx,
            )),
            _ => Next::Continue,
        }
    }

    fn secure(
        &mut self,
        event: Event<'_, Secure>,
        machine: &mut Machine,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        let turn = &mut Turn { machine, tx, cx };
        match event {
            Event::Command(..) if self.is_refused_too_often(turn.machine) => {
                turn.machine.shutdown("too many rejected commands", turn.tx);
                Next::Close
            }
            Event::Command(command, reply) => self.command(reply, command, turn),
            Event::Auth(request) => self.authenticate(request, turn),
            Event::Append { offer, mailbox, flags, date, size } => {
                self.begin_append(offer, mailbox, flags, date, size, turn)
            }
            Event::AppendChunk(bytes) => self.append_chunk(bytes, turn),
            Event::AppendEnd(reply) => self.end_append(reply, turn),
            Event::AppendAborted => {
                self.work = Work::None;
                Next::Continue
            }
            Event::Idle(reply) => self.begin_idle(reply, turn),
            Event::Done => self.end_idle(turn),
            Event::Closed => Next::Close,
            _ => Next::Continue,
        }
    }

    fn woken(
        &mut self,
        machine: MachineMut<'_, ImapServer>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        let MachineMut::Secure(machine) = machine else { return Next::Continue };
        let turn = &mut Turn { machine, tx, cx };
        if let Some(task) = &mut self.task {
            let Some(then) = task.poll() else { return self.resting() };
            self.task = None;
            return then(self, turn);
        }
        match &mut self.work {
            Work::Append(_) => self.append_woken(turn),
            Work::Idle(_) => self.tell_idle(turn),
            Work::None
            | Work::Fetch(_)
            | Work::Store(_)
            | Work::CopyUid(_)
            | Work::List(_)
            | Work::Search(_) => self.resting(),
        }
    }

    fn drained(
        &mut self,
        machine: MachineMut<'_, ImapServer>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        let MachineMut::Secure(machine) = machine else { return Next::Continue };
        let turn = &mut Turn { machine, tx, cx };
        if self.telling.is_some() {
            return self.write_telling(turn);
        }
        match &self.work {
            Work::Fetch(_) => self.write_fetch(turn),
            Work::Store(_) => self.write_store(turn),
            Work::CopyUid(_) => self.write_copy_uid(turn),
            Work::List(_) => self.list_drained(turn),
            Work::Search(_) => self.write_found(turn),
            _ => self.resting(),
        }
    }

    fn closed(&mut self, why: &CloseReason) {
        match why {
            CloseReason::Failed(error) => {
                tracing::info!(session = self.number, %error, "imap session failed")
            }
            _ => tracing::debug!(session = self.number, "imap session ended"),
        }
    }
}

/// Continues, or closes the session if the state machine rejected the call, which is a bug in this module.
fn go_on(result: Result<(), proto_mail::Error>) -> Next {
    match result {
        Ok(()) => Next::Continue,
        Err(error) => {
            tracing::warn!(%error, "cannot send a response");
            Next::Close
        }
    }
}

fn ok(text: &str) -> StatusResponse<'_> {
    StatusResponse::new(Condition::Ok, Text::first_line(text))
}

/// Answers OK.
fn done(reply: Reply, text: &str, turn: &mut Turn<'_, '_>) -> Next {
    go_on(turn.machine.reply(reply, &ok(text), turn.tx))
}

/// Answers OK with a code.
fn done_with(reply: Reply, code: ResponseCode<'_>, text: &str, turn: &mut Turn<'_, '_>) -> Next {
    go_on(turn.machine.reply(reply, &ok(text).with_code(code), turn.tx))
}

/// Answers BAD.
fn bad(reply: Reply, text: &str, turn: &mut Turn<'_, '_>) -> Next {
    go_on(turn.machine.reply(reply, &StatusResponse::new(Condition::Bad, Text::first_line(text)), turn.tx))
}

/// Answers BAD with LIMIT.
fn too_much(reply: Reply, text: &str, turn: &mut Turn<'_, '_>) -> Next {
    let status = StatusResponse::new(Condition::Bad, Text::first_line(text))
        .with_code(ResponseCode::Plain(PlainCode::Limit));
    go_on(turn.machine.reply(reply, &status, turn.tx))
}

/// Answers NO.
fn refuse(reply: Reply, code: PlainCode, text: &str, turn: &mut Turn<'_, '_>) -> Next {
    go_on(turn.machine.reply(reply, &no(code, text), turn.tx))
}

fn no(code: PlainCode, text: &str) -> StatusResponse<'_> {
    StatusResponse::new(Condition::No, Text::first_line(text)).with_code(ResponseCode::Plain(code))
}

/// Answers NO for an error of the store.
fn refuse_for(reply: Reply, error: &mailstore::Error, turn: &mut Turn<'_, '_>) -> Next {
    refuse(reply, code_of(error), &error.to_string(), turn)
}

fn code_of(error: &mailstore::Error) -> PlainCode {
    use mailstore::Error;
    match error {
        Error::NotFound(_) => PlainCode::NonExistent,
        Error::Exists(_) => PlainCode::AlreadyExists,
        Error::InvalidName(_) | Error::Refused(_) | Error::NoSelect => PlainCode::Cannot,
        Error::Limit(_) => PlainCode::Limit,
        Error::OverQuota { .. } => PlainCode::OverQuota,
        Error::Full | Error::Busy | Error::Unavailable(_) => PlainCode::Unavailable,
        Error::Corrupt(_) => PlainCode::Corruption,
        error => {
            tracing::error!(%error, "store error");
            PlainCode::ServerBug
        }
    }
}

/// Like [`code_of`], for the destination mailbox of a message (RFC 9051 §6.3.12, §6.4.7).
fn target_code_of(error: &mailstore::Error) -> PlainCode {
    match error {
        mailstore::Error::NotFound(_) => PlainCode::TryCreate,
        error => code_of(error),
    }
}

/// Returns the encoding of mailbox names in this session.
fn encoding(machine: &Machine) -> NameEncoding {
    if machine.is_enabled("IMAP4rev2") { NameEncoding::Utf8 } else { NameEncoding::ModifiedUtf7 }
}

/// Decodes a mailbox name. Returns `None` if it is invalid.
fn name(mailbox: MailboxName<'_>, turn: &Turn<'_, '_>) -> Option<String> {
    mailbox.decode(encoding(turn.machine)).ok().map(std::borrow::Cow::into_owned)
}

/// Answers a command whose mailbox name is invalid.
fn no_name(reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
    refuse(reply, PlainCode::Cannot, "invalid mailbox name", turn)
}

fn identify(reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
    match turn.machine.data(&identity(), turn.tx) {
        Ok(()) => done(reply, "completed", turn),
        Err(error) => go_on(Err(error)),
    }
}

/// The server's answer to ID (RFC 2971). It contains no version, which would help an attacker.
fn identity() -> Untagged<'static> {
    const NAME: IString<'static> = IString::new(b"name");
    const MAILWIRE: IString<'static> = IString::new(b"Mailwire");
    const FIELDS: &[IdField<'static>] = &[IdField { name: NAME, value: Some(MAILWIRE) }];
    Untagged::Id(LazyList::new(FIELDS))
}
