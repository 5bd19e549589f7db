//! One IMAP session: what is asked for by the client, and the store's answers to it.
//!
//! | file | what is in it |
//! |---|---|
//! | [`mailbox`] | SELECT and its kin; CREATE, DELETE, RENAME, SUBSCRIBE, STATUS |
//! | [`list`], [`pattern`] | LIST, LSUB, NAMESPACE |
//! | [`fetch`], [`content`], [`produce`], [`stream`] | FETCH: pieces from a worker, written as the client takes them |
//! | [`change`], [`transfer`] | STORE, EXPUNGE; COPY, MOVE |
//! | [`find`], [`search`], [`needles`] | SEARCH |
//! | [`paging`] | sets of UIDs, window by window |
//! | [`append`] | APPEND |
//! | [`update`] | what other sessions did: NOOP, IDLE, and before each answer that allows it |
//! | [`view`] | sequence numbers |
//! | [`translate`] | from the store's words to the protocol's |
//!
//! This file knows how a session gives work away and gets it back. The handler never blocks: it asks a worker, and goes
//! on in a closure when it is woken.

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

/// The machine under TLS: the only one that anything but TLS is asked of.
type Machine = Server<Secure>;
type Turn<'t, 'c> = task::Turn<'t, 'c, Machine>;

/// So many times the errors of a session, in refused commands without one that is carried out between them, end it.
const REFUSED_IN_A_ROW: u32 = 5;

/// A session of the server. What few sessions have, or only for a while, is boxed: thousands of them idle.
pub(super) struct Session {
    site: Arc<Site>,
    number: u64,
    account: Option<AccountId>,
    selected: Option<Box<Selected>>,
    task: Option<Task<Self, Machine>>,
    work: Work,
    /// Changes on their way to the client.
    telling: Option<Box<update::Telling>>,
    /// The client wants to hear of mod-sequences (RFC 7162 §3.1).
    modseqs: bool,
    /// The log-in that is going on.
    attempt: Option<Attempt>,
}

/// What takes more than one step.
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
    /// Up to where this session was told everything.
    cursor: ChangeCursor,
    /// The messages that are recent here.
    recent: RoaringBitmap,
    own: update::OwnChanges,
    /// `$` (RFC 5182).
    saved: RoaringBitmap,
    /// Up to which number the client was told the mailbox's keywords.
    keywords: u32,
}

impl Selected {
    /// The UIDs that a set names, `$` being the result of the last search that was saved.
    fn resolve(
        &self,
        set: SequenceSet<'_>,
        numbering: view::Numbering,
    ) -> Result<UidSet, view::NoSuchMessage> {
        if set.is_saved() { Ok(view::uid_set(&self.saved)) } else { self.view.resolve(set, numbering) }
    }
}

/// The settings of the machine.
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

    /// Has a worker do something with the store that takes a few milliseconds, and goes on with `then`.
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

    /// The same for a job that may take longer. It returns [`JobStep::More`] when its slice is over, and is called again
    /// when other accounts and sessions had their turn. It is dropped when the session ends.
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
                // The machine holds back until it is answered.
                Next::Continue
            }
            // Only this command fails.
            Err(Error::GroupQueueFull) => {
                then(self, Err(mailstore::Error::Limit("too many commands of this account wait")), turn)
            }
            // One change wakes all that idle, perhaps more than may wait: they ask again a little later.
            Err(_) if matches!(self.work, Work::Idle(_)) => then(self, Err(mailstore::Error::Busy), turn),
            Err(_) => {
                turn.machine.shutdown("the server is too busy: try later", turn.tx);
                Next::Close
            }
        }
    }

    fn command(&mut self, reply: Reply, command: Command<'_>, turn: &mut Turn<'_, '_>) -> Next {
        // These are for everybody (RFC 9051 §6.1, RFC 2971).
        match command {
            Command::Noop => return self.finish(reply, "done", turn),
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
            Command::Check => self.finish(reply, "done", turn),
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
            _ => bad(reply, "there is no such command here", turn),
        }
    }

    /// The client wants to hear of mod-sequences from now on. Where that is new and a mailbox is selected, it is told
    /// the highest one (RFC 7162 §3.1).
    fn enable_condstore(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), proto_mail::Error> {
        if std::mem::replace(&mut self.modseqs, true) {
            return Ok(());
        }
        let Some(selected) = &self.selected else { return Ok(()) };
        let highest = selected.watch.highest_modseq(selected.cursor.flags.0);
        let code = ResponseCode::HighestModSeq(highest);
        let status = ok("mod-sequences are told from now on").with_code(code);
        turn.machine.data(&Untagged::Status(status), turn.tx)
    }

    /// Somebody says who they are: a worker of its own computes whether it is so.
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

    /// Whether this server has refused too many commands of a session: as many with BAD as a session may have errors, or
    /// [`REFUSED_IN_A_ROW`] times as many in a row with NO. A client that looks for mailboxes that are not there gets NO
    /// again and again, and does something else in between.
    fn is_refused_too_often(&self, machine: &Machine) -> bool {
        let refusals = machine.refusals();
        let errors = self.site.limits().errors;
        refusals.bad >= errors || refusals.in_a_row >= errors.saturating_mul(REFUSED_IN_A_ROW)
    }

    /// What the driver should do while nothing new can be said.
    fn resting(&self) -> Next {
        if self.telling.is_some() {
            return Next::More;
        }
        match &self.work {
            Work::Append(append) => append.resting(),
            Work::Fetch(fetching) => fetching.resting(),
            // A piece was written, and the client takes it.
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
            Event::Command(Command::Noop, reply) => go_on(machine.reply(reply, &ok("done"), tx)),
            Event::Command(Command::Id(_), reply) => {
                go_on(machine.data(&identity(), tx).and_then(|()| machine.reply(reply, &ok("done"), tx)))
            }
            Event::Command(_, reply) => go_on(machine.reply(
                reply,
                &StatusResponse::new(Condition::Bad, Text::first_line("begin TLS first")),
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
                turn.machine.shutdown("too many refused commands", turn.tx);
                Next::Close
            }
            Event::Command(command, reply) => self.command(reply, command, turn),
            Event::Auth(request) => self.authenticate(request, turn),
            Event::Append { offer, mailbox, flags, date, size } => {
                self.begin_append(offer, mailbox, flags, date, size, turn)
            }
            Event::AppendChunk(octets) => self.append_chunk(octets, turn),
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
            _ => tracing::debug!(session = self.number, "imap session over"),
        }
    }
}

/// A machine refuses only what this file should not have asked for: the session is over then.
fn go_on(result: Result<(), proto_mail::Error>) -> Next {
    match result {
        Ok(()) => Next::Continue,
        Err(error) => {
            tracing::warn!(%error, "an answer could not be given");
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

/// Answers BAD to what is over a limit.
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

/// Answers NO for what the store would not do.
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
            tracing::error!(%error, "the store failed");
            PlainCode::ServerBug
        }
    }
}

/// The same where the mailbox is one that a message should go to (RFC 9051 §6.3.12, §6.4.7).
fn target_code_of(error: &mailstore::Error) -> PlainCode {
    match error {
        mailstore::Error::NotFound(_) => PlainCode::TryCreate,
        error => code_of(error),
    }
}

/// How this session writes mailbox names.
fn encoding(machine: &Machine) -> NameEncoding {
    if machine.is_enabled("IMAP4rev2") { NameEncoding::Utf8 } else { NameEncoding::ModifiedUtf7 }
}

/// The name of a mailbox as text.
fn name(mailbox: MailboxName<'_>, turn: &Turn<'_, '_>) -> Option<String> {
    mailbox.decode(encoding(turn.machine)).ok().map(std::borrow::Cow::into_owned)
}

/// Answers a command whose mailbox name is none.
fn no_name(reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
    refuse(reply, PlainCode::Cannot, "that is no mailbox name", turn)
}

fn identify(reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
    match turn.machine.data(&identity(), turn.tx) {
        Ok(()) => done(reply, "done", turn),
        Err(error) => go_on(Err(error)),
    }
}

/// What the server says of itself (RFC 2971): nothing that would help an attacker choose.
fn identity() -> Untagged<'static> {
    const NAME: IString<'static> = IString::new(b"name");
    const MAILWIRE: IString<'static> = IString::new(b"Mailwire");
    const FIELDS: &[IdField<'static>] = &[IdField { name: NAME, value: Some(MAILWIRE) }];
    Untagged::Id(LazyList::new(FIELDS))
}
