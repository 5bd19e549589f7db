//! One IMAP session of the server: executes the client's commands on the store.
//!
//! | file | content |
//! |---|---|
//! | [`mailbox`] | SELECT, EXAMINE, CLOSE, UNSELECT, CREATE, DELETE, RENAME, SUBSCRIBE, STATUS |
//! | [`mailbox_access`] | the mailbox of a name, and the rights of the account to it |
//! | [`selected_mailbox`] | the messages of the selected mailbox that a command names |
//! | [`selected_rights`], [`flag_rights`] | the rights to the selected mailbox, and to flags |
//! | [`list`], [`list_query`] | LIST, LSUB, NAMESPACE |
//! | [`fetch`], [`fetch_items`], [`fetch_producer`], [`section_reader`], [`previews`] | FETCH: a worker produces pieces, the session writes them |
//! | [`changed_since`], [`changed_messages`] | the changes since a mod-sequence: CHANGEDSINCE, VANISHED, QRESYNC |
//! | [`store`], [`expunge`] | STORE; EXPUNGE |
//! | [`copy_move`], [`transfer_copies`] | COPY and MOVE; between accounts |
//! | [`search_command`], [`search_returns`], [`search_response`], [`search_progress`] | SEARCH, SORT, THREAD: the commands and their responses |
//! | [`search`], [`stored_message`], [`scores`], [`sort_collector`], [`thread_collector`] | the search of one mailbox, on a worker |
//! | [`search_contexts`], [`kept_results`], [`context_update`] | UPDATE and CANCELUPDATE |
//! | [`multi_search`], [`multi_search_job`] | ESEARCH |
//! | [`uid_windows`] | sets of UIDs, processed window by window |
//! | [`quota`] | GETQUOTA, GETQUOTAROOT |
//! | [`metadata`], [`metadata_query`] | GETMETADATA, SETMETADATA |
//! | [`acl`] | GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS |
//! | [`append`], [`append_state`], [`complete_messages`], [`catenate`] | APPEND and REPLACE: messages, those that wait for others, parts |
//! | [`message_url`] | the messages and parts that URLs name |
//! | [`session_commands`] | UNAUTHENTICATE, COMPRESS, and what enables mod-sequences |
//! | [`url_fetch`], [`url_reader`], [`url_token`] | GENURLAUTH, RESETKEY, URLFETCH |
//! | [`notify`], [`notify_settings`] | NOTIFY: changes of other mailboxes, and of the selected one between commands |
//! | [`language`], [`comparator`], [`filters`] | LANGUAGE; COMPARATOR; FILTER |
//! | [`given_flags`], [`keywords`] | flags that a client sends; keywords that it must be told about |
//! | [`updates`] | changes by other sessions: NOOP, IDLE, and before most tagged responses |
//! | [`output_limits`] | how much a session writes before it waits |
//! | [`replies`] | responses that many commands share |
//! | [`jobs`] | work on the store, on the threads of workers |
//! | [`config`] | the capabilities that the server offers |
//! | [`command_state`] | the state of commands in progress |
//! | [`test_controls`], [`test_state`] | injected faults, and the behaviour of imitated servers |
//! | [`translate`] | conversion between the store's types and the protocol's |
//!
//! A handler never blocks. It hands a job to a worker together with a closure, and the closure runs when the result is
//! available.

// Rights are checked where names become mailboxes: see `clippy.toml`.
#![deny(clippy::disallowed_methods)]

mod acl;
mod append;
mod append_state;
mod binary_encoder;
mod catenate;
mod changed_messages;
mod changed_since;
mod command_state;
mod comparator;
mod complete_messages;
mod config;
mod context_update;
mod copy_move;
mod expunge;
mod fetch;
mod fetch_items;
mod fetch_producer;
mod filters;
mod flag_rights;
mod given_flags;
mod jobs;
mod kept_results;
mod keywords;
mod language;
mod list;
mod list_query;
pub(crate) mod local_search;
mod mailbox;
mod mailbox_access;
mod message_url;
mod metadata;
mod metadata_query;
mod multi_search;
mod multi_search_job;
mod notify;
mod notify_settings;
mod output_limits;
mod previews;
mod quota;
mod rejected_search;
mod replies;
mod scores;
mod search;
mod search_command;
mod search_contexts;
mod search_progress;
mod search_response;
mod search_returns;
mod section_reader;
mod selected_mailbox;
mod selected_rights;
mod session_commands;
mod sort_collector;
mod store;
mod stored_message;
mod test_controls;
mod test_state;
mod thread_collector;
mod transfer_copies;
mod translate;
mod uid_batches;
mod uid_windows;
mod updates;
mod url_fetch;
mod url_reader;
mod url_token;

use std::sync::Arc;

use io_common::{CloseReason, Context, Handler, ImapServer, MachineMut, Next};
use mailstore::{AccountId, ChangeCursor, Changes, KeywordsInUse, MailboxId, Rights};
use proto_imap::Access;
use proto_imap::mailbox_view::{ExpungeForm, MailboxView};
use proto_imap::server::{Event, Reply, Server};
use proto_imap::sort_order::Collation;
use proto_imap::types::{Command, Condition, NumberKind, PlainCode, StatusResponse, Text};
use proto_mail::{AuthRequest, Cleartext, Secure, SendBuffer};

use self::append_state::{AppendInProgress, MessageArguments};
use self::changed_messages::VanishedInProgress;
use self::command_state::{
    CopyUidInProgress, FetchInProgress, IdleInProgress, ListInProgress, StoreInProgress, Subscription,
    Transfer, UrlFetchInProgress,
};
use self::kept_results::{ContextChanges, Contexts};
use self::mailbox_access::MailboxAccess;
use self::search_progress::{SearchInProgress, ThreadInProgress};
use super::change_notifier::Watch;
use super::compressed_sessions::CompressedSession;
use super::failed_logins::LoginAttempt;
use super::login::{LoginSession, SessionLabel};
use super::login_queue::LoginAnswer;
use super::pending_result::{self, PendingResult};
use super::server_context::ServerContext;
pub(super) use config::config;
use language::answer_language;
use metadata_query::MetadataInProgress;
use notify_settings::{AccountReports, NotifyInProgress};
use replies::{
    decode_name, encoding, identify, identity, next_or_close, no_status, ok_status, reply_bad,
    reply_invalid_name, reply_limit, reply_no, reply_no_with_code, reply_ok, reply_ok_with_code,
    reply_store_error, reply_unresolved, target_code_of,
};
pub(super) use stored_message::text_signatures;
use test_state::TestControls;

/// The state machine under TLS. Every command that needs an account runs on this one.
type Machine = Server<Secure>;
type Turn<'t, 'c> = pending_result::Turn<'t, 'c, Machine>;

/// The maximum number of ranges that a command's messages may have. Only `$` can have so many.
const SET_RANGES: usize = 1 << 20;

/// This many times the error limit, in consecutive commands answered with NO, ends a session.
const REFUSED_IN_A_ROW: u32 = 5;

/// An IMAP session. Rarely used state is boxed, because thousands of sessions may be idle.
pub(super) struct Session {
    context: Arc<ServerContext>,
    number: u64,
    account: Option<AccountId>,
    selected: Option<Box<Selected>>,
    pending: Option<PendingResult<Self, Machine>>,
    in_progress: InProgress,
    /// Changes that are being sent to the client.
    updates: Option<Box<PendingUpdates>>,
    /// Whether the client has enabled mod-sequences (CONDSTORE, RFC 7162 §3.1).
    condstore: bool,
    /// How SEARCH, SORT and THREAD compare texts (RFC 5255 §4.7).
    comparator: Collation,
    /// How the client is told that messages are gone: VANISHED with QRESYNC or UIDONLY.
    expunge_form: ExpungeForm,
    /// The authentication in progress.
    attempt: Option<LoginAttempt>,
    /// Counts this session as a compressed one.
    compressed: Option<CompressedSession>,
    /// Only if the server injects faults or imitates another one.
    controls: Option<Box<TestControls>>,
    /// What follows the FETCH responses for new messages (NOTIFY).
    after_fetch: Option<Box<AfterFetch>>,
    /// What is reported of the account, once the client has asked for it.
    account_reports: Option<Box<AccountReports>>,
}

/// A command that takes more than one step.
enum InProgress {
    None,
    Append(Box<AppendInProgress>),
    Idle(Box<IdleInProgress>),
    Fetch(Box<FetchInProgress>),
    Store(Box<StoreInProgress>),
    CopyUid(Box<CopyUidInProgress>),
    List(Box<ListInProgress>),
    Search(Box<SearchInProgress>),
    UrlFetch(Box<UrlFetchInProgress>),
    Metadata(Box<MetadataInProgress>),
    Thread(Box<ThreadInProgress>),
    NotifyStatus(Box<NotifyInProgress>),
    /// Changes are being reported between commands.
    Notifying,
    Vanished(Box<VanishedInProgress>),
}

/// What to do once all changes are written.
type Continuation = Box<dyn FnOnce(&mut Session, &mut Turn<'_, '_>) -> Next + Send>;

/// What was in progress when new messages were fetched for NOTIFY, and how to continue.
struct AfterFetch {
    before: InProgress,
    then: Continuation,
}

/// A page of changes that is being written.
struct PendingUpdates {
    keywords: Option<KeywordsInUse>,
    /// Shared by the sessions at the same position.
    changes: Arc<Changes>,
    /// How many of the removed messages, and of those with changed flags, were reported.
    vanished: usize,
    changed: usize,
    new_reported: bool,
    /// New messages from this UID on are recent; `None` if this session has no recent messages.
    recent_from: Option<u32>,
    /// Whether the mailbox was deleted, so that it has no messages any more.
    deleted: bool,
    /// The changes of search results that this page causes.
    contexts: ContextChanges,
    then: Continuation,
}

/// The selected mailbox.
struct Selected {
    mailbox: MailboxId,
    owner: AccountId,
    /// What the account may do with the mailbox. Everything if it is its own.
    rights: Rights,
    /// The access that SELECT or EXAMINE has asked for, and the one that the rights allow.
    asked: Access,
    access: Access,
    view: MailboxView,
    watch: Watch,
    /// The changes up to here were reported to the client.
    cursor: ChangeCursor,
    /// The newest keyword that the client was told about.
    keywords: u32,
    /// The search results that are kept up to date, if there are any.
    contexts: Option<Box<Contexts>>,
    /// How responses name messages: by their UIDs with UIDONLY (RFC 9586).
    named_by: NumberKind,
}

/// Returns how responses name messages.
fn named_by(machine: &Machine) -> NumberKind {
    if machine.is_enabled("UIDONLY") { NumberKind::Uids } else { NumberKind::SequenceNumbers }
}

impl Session {
    pub(super) fn new(context: Arc<ServerContext>) -> Self {
        let number = context.number();
        Self {
            controls: TestControls::new(&context, number),
            context,
            number,
            account: None,
            selected: None,
            pending: None,
            in_progress: InProgress::None,
            updates: None,
            condstore: false,
            comparator: Collation::default(),
            expunge_form: ExpungeForm::default(),
            attempt: None,
            compressed: None,
            after_fetch: None,
            account_reports: None,
        }
    }

    fn command(&mut self, reply: Reply, command: Command<'_>, turn: &mut Turn<'_, '_>) -> Next {
        self.begin_command(turn);
        match (self.account, &self.selected) {
            (Some(account), Some(selected)) if selected.owner != account => {
                self.command_with_rights(MailboxAccess::new(account), reply, command, turn)
            }
            _ => self.execute(reply, command, turn),
        }
    }

    fn execute(&mut self, reply: Reply, command: Command<'_>, turn: &mut Turn<'_, '_>) -> Next {
        // These commands need no authentication (RFC 9051 §6.1, RFC 2971).
        match command {
            Command::Noop => return self.finish_with_updates(reply, "completed", turn),
            Command::Id(_) => return identify(reply, turn),
            Command::Language(ranges) => return answer_language(reply, ranges, turn.machine, turn.tx),
            _ => {}
        }
        let Some(account) = self.account else {
            return reply_no(reply, PlainCode::ClientBug, "log in first", turn);
        };
        if turn.machine.is_enabled("CONDSTORE")
            && let Err(error) = self.enable_condstore(turn)
        {
            return next_or_close(Err(error));
        }
        match command {
            Command::Check => self.finish_with_updates(reply, "completed", turn),
            Command::Namespace => self.namespace(reply, turn),
            Command::List(arguments) => self.list(account, reply, arguments, turn),
            Command::Lsub(arguments) => self.lsub(account, reply, arguments, turn),
            Command::Select(arguments) => self.select(account, reply, arguments, Access::ReadWrite, turn),
            Command::Examine(arguments) => self.select(account, reply, arguments, Access::ReadOnly, turn),
            Command::Create(arguments) => self.create(account, reply, arguments, turn),
            Command::Delete(name) => self.delete(account, reply, name, turn),
            Command::Rename(arguments) => self.rename(account, reply, arguments, turn),
            Command::Subscribe(name) => self.subscribe(account, reply, name, Subscription::Add, turn),
            Command::Unsubscribe(name) => self.subscribe(account, reply, name, Subscription::Remove, turn),
            Command::Status(arguments) => self.status(account, reply, arguments, turn),
            Command::Notify(arguments) => self.notify(account, reply, &arguments, turn),
            Command::GetAcl(name) => self.get_acl(account, reply, name, turn),
            Command::MyRights(name) => self.my_rights(account, reply, name, turn),
            Command::ListRights(arguments) => self.list_rights(account, reply, arguments, turn),
            Command::SetAcl(arguments) => self.set_acl(account, reply, arguments, turn),
            Command::DeleteAcl(arguments) => self.delete_acl(account, reply, arguments, turn),
            Command::GetQuota(root) => self.get_quota(account, reply, root, turn),
            Command::GetQuotaRoot(name) => self.get_quota_root(account, reply, name, turn),
            Command::GetMetadata(arguments) => self.get_metadata(account, reply, arguments, turn),
            Command::SetMetadata(arguments) => self.set_metadata(account, reply, arguments, turn),
            Command::Comparator(patterns) => self.comparator(reply, patterns, turn),
            Command::Close => self.close(reply, turn),
            Command::Unselect => self.unselect(reply, turn),
            Command::Expunge => self.expunge(reply, None, turn),
            Command::UidExpunge(uids) => self.expunge(reply, Some(uids), turn),
            Command::Search(_)
            | Command::UidSearch(_)
            | Command::Sort(_)
            | Command::UidSort(_)
            | Command::Thread(_)
            | Command::UidThread(_)
            | Command::Esearch(_)
            | Command::CancelUpdate(_) => self.searching_command(account, reply, command, turn),
            Command::Fetch(arguments) => self.fetch(reply, arguments, NumberKind::SequenceNumbers, turn),
            Command::UidFetch(arguments) => self.fetch(reply, arguments, NumberKind::Uids, turn),
            Command::UidBatches(arguments) => self.uid_batches(reply, arguments, turn),
            Command::Store(arguments) => self.store(reply, arguments, NumberKind::SequenceNumbers, turn),
            Command::UidStore(arguments) => self.store(reply, arguments, NumberKind::Uids, turn),
            Command::Copy(arguments) => {
                self.copy(account, reply, arguments, NumberKind::SequenceNumbers, Transfer::Copy, turn)
            }
            Command::UidCopy(arguments) => {
                self.copy(account, reply, arguments, NumberKind::Uids, Transfer::Copy, turn)
            }
            Command::Move(arguments) => {
                self.copy(account, reply, arguments, NumberKind::SequenceNumbers, Transfer::Move, turn)
            }
            Command::UidMove(arguments) => {
                self.copy(account, reply, arguments, NumberKind::Uids, Transfer::Move, turn)
            }
            Command::GenUrlAuth(requests) => self.gen_url_auth(account, reply, requests, turn),
            Command::ResetKey(arguments) => self.reset_key(account, reply, arguments, turn),
            Command::UrlFetch(items) => self.url_fetch(reply, items, turn),
            Command::Unauthenticate => self.unauthenticate(reply, turn),
            _ => reply_bad(reply, "unsupported command", turn),
        }
    }

    /// Notes which extensions the client has enabled that change how messages are reported.
    fn note_enabled(&mut self, machine: &Machine) {
        let by_uid = machine.is_enabled("UIDONLY");
        self.expunge_form = match by_uid || machine.is_enabled("QRESYNC") {
            true => ExpungeForm::Vanished,
            false => ExpungeForm::Expunge,
        };
        if let Some(selected) = &mut self.selected {
            selected.view.set_expunge_form(self.expunge_form);
            selected.named_by = named_by(machine);
        }
    }

    /// Returns whether the server has rejected too many commands of this session: as many with BAD as the error limit,
    /// or [`REFUSED_IN_A_ROW`] times as many consecutive ones with NO. A client that looks for mailboxes that do not
    /// exist gets many NO responses, with successful commands in between.
    fn is_refused_too_often(&self, machine: &Machine) -> bool {
        let refusals = machine.refusals();
        let errors = self.context.limits().errors;
        refusals.bad >= errors || refusals.in_a_row >= errors.saturating_mul(REFUSED_IN_A_ROW)
    }

    /// Continues after a wake-up: a result is available, or something has changed.
    fn continue_woken(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        if let Some(next) = self.continue_held(turn) {
            return next;
        }
        if let Some(pending) = &mut self.pending {
            let Some(then) = pending.poll() else { return self.next_while_waiting() };
            self.pending = None;
            return then(self, turn);
        }
        match &mut self.in_progress {
            InProgress::Append(_) => self.append_woken(turn),
            InProgress::Idle(_) => self.update_idle(turn),
            InProgress::None if self.updates.is_none() => self.notify_between_commands(turn),
            _ => self.next_while_waiting(),
        }
    }

    /// Returns what the driver should do while the session is waiting.
    fn next_while_waiting(&self) -> Next {
        if self.updates.is_some() {
            return Next::More;
        }
        match &self.in_progress {
            InProgress::Append(append) => append.next_while_waiting(),
            InProgress::Fetch(fetch) => fetch.next_while_waiting(),
            // A piece was written. Continue once the client has read it.
            InProgress::Store(_)
            | InProgress::CopyUid(_)
            | InProgress::List(_)
            | InProgress::Search(_)
            | InProgress::Metadata(_)
            | InProgress::Thread(_)
            | InProgress::NotifyStatus(_)
            | InProgress::Vanished(_) => Next::More,
            InProgress::UrlFetch(_) if self.pending.is_none() => Next::More,
            InProgress::Notifying => Next::Pause,
            InProgress::None | InProgress::Idle(_) | InProgress::UrlFetch(_) => Next::Continue,
        }
    }
}

impl LoginSession for Session {
    type Machine = Machine;

    fn attempt(&mut self) -> (&ServerContext, &mut Option<LoginAttempt>) {
        (&self.context, &mut self.attempt)
    }

    fn label(&self) -> SessionLabel {
        SessionLabel { protocol: "imap", session: self.number }
    }

    fn wait_for_login(&mut self, pending: PendingResult<Self, Machine>) {
        self.pending = Some(pending);
    }

    fn answer_login(&mut self, request: AuthRequest, answer: LoginAnswer, turn: &mut Turn<'_, '_>) -> Next {
        let LoginAnswer { verdict, account } = answer;
        self.account = account;
        next_or_close(turn.machine.answer_auth(request, verdict, turn.tx))
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
            Event::Command(Command::Noop, reply) => {
                next_or_close(machine.reply(reply, &ok_status("completed"), tx))
            }
            Event::Command(Command::Id(_), reply) => next_or_close(
                machine
                    .data(&identity(), tx)
                    .and_then(|()| machine.reply(reply, &ok_status("completed"), tx)),
            ),
            Event::Command(Command::Language(ranges), reply) => answer_language(reply, ranges, machine, tx),
            Event::Command(_, reply) => next_or_close(machine.reply(
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
        if !matches!(event, Event::AppendChunk(_)) {
            self.note_enabled(turn.machine);
        }
        match event {
            Event::Command(..) if self.is_refused_too_often(turn.machine) => {
                turn.machine.shutdown("too many rejected commands", turn.tx);
                Next::Close
            }
            Event::Command(command, reply) if self.controls.is_some() => {
                self.tested_command(reply, command, turn)
            }
            Event::Command(command, reply) => self.command(reply, command, turn),
            Event::Auth(request) => self.tested_login(request, turn),
            Event::Append { mailbox, replaced, flags, date, form, size, offer } => {
                let arguments = MessageArguments { flags, date, form, size };
                match self.tested_append(offer, turn) {
                    Ok(offer) => self.begin_append(offer, mailbox, replaced, &arguments, turn),
                    Err(next) => next,
                }
            }
            Event::AppendNext { flags, date, form, size, offer } => {
                self.next_message(offer, &MessageArguments { flags, date, form, size }, turn)
            }
            Event::AppendPart { part, offer } => self.append_part(part, offer, turn),
            Event::AppendChunk(bytes) => self.append_chunk(bytes, turn),
            Event::AppendEnd(reply) => self.tested_append_end(reply, turn),
            Event::AppendAborted => {
                self.in_progress = InProgress::None;
                Next::Continue
            }
            Event::Compress(request) => self.compress(request, turn),
            Event::Idle(reply) => self.tested_idle(reply, turn),
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
        let next = self.continue_woken(turn);
        self.schedule_notifications(turn);
        next
    }

    fn drained(
        &mut self,
        machine: MachineMut<'_, ImapServer>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        let MachineMut::Secure(machine) = machine else { return Next::Continue };
        let turn = &mut Turn { machine, tx, cx };
        if self.updates.is_some() {
            return self.write_updates(turn);
        }
        match &self.in_progress {
            InProgress::Fetch(_) => self.write_fetch(turn),
            InProgress::Store(_) => self.write_store(turn),
            InProgress::CopyUid(_) => self.write_copy_uid(turn),
            InProgress::List(_) => self.continue_list(turn),
            InProgress::Search(_) => self.write_search(turn),
            InProgress::UrlFetch(_) => self.continue_url_fetch(turn),
            InProgress::Metadata(_) => self.continue_metadata(turn),
            InProgress::Thread(_) => self.write_threads(turn),
            InProgress::NotifyStatus(_) => self.continue_notify(turn),
            InProgress::Vanished(_) => self.write_vanished(turn),
            _ => self.next_while_waiting(),
        }
    }

    fn closed(&mut self, why: &CloseReason) {
        let label = self.label();
        self.context.abandon_login(&mut self.attempt, label);
        match why {
            CloseReason::Failed(error) => {
                tracing::info!(session = self.number, %error, "imap session failed")
            }
            _ => tracing::debug!(session = self.number, "imap session ended"),
        }
    }
}
