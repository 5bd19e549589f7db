//! Lists an account: its folders with their subscriptions and, if the server has LIST-STATUS, their states.
//!
//! One LIST with return options tells everything. If the server does not have them, or refuses them, a plain LIST and
//! LSUB follow. Without LSUB the subscriptions stay unknown.

use std::collections::{HashMap, HashSet};

use proto_imap::client::{Client, CommandId, Event};
use proto_imap::types::{
    Command, Condition, LazyList, ListCommand, ListPattern, ListReturn, LsubCommand, MailboxAttribute,
    MailboxName, MailboxStatus, StatusAttribute, StatusCommand, StatusItem, StatusResponse, Untagged,
};
use proto_mail::{Channel, SendBuffer};

use crate::error::Error;
use crate::folder::{Folder, Listing};
use crate::imap::Request;
use crate::refusal_error::imap_command_error;
use crate::task::{Task, TaskStep};

/// The most subscriptions that are kept, and the most bytes of one name.
const MAX_SUBSCRIPTIONS: usize = 100_000;
const MAX_NAME_BYTES: usize = 1_000;

/// The state of a folder as STATUS tells it. A value of 0 is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FolderStatus {
    pub(super) uid_validity: u32,
    pub(super) uid_next: u32,
    pub(super) messages: u32,
    pub(super) highest_mod_seq: u64,
    /// MAILBOXID (RFC 8474).
    pub(super) object_id: Option<String>,
}

impl FolderStatus {
    pub(super) fn new(status: &MailboxStatus<'_>) -> Self {
        let mut known = Self::default();
        for item in status.items {
            match item {
                StatusItem::Messages(count) => known.messages = count,
                StatusItem::UidNext(next) => known.uid_next = next.map_or(0, std::num::NonZeroU32::get),
                StatusItem::UidValidity(value) => known.uid_validity = value,
                StatusItem::HighestModSeq(value) => known.highest_mod_seq = value,
                StatusItem::MailboxId(id) => {
                    let text = String::from_utf8_lossy(&id.as_bytes()).into_owned();
                    known.object_id = Some(text).filter(|text| text.len() <= MAX_NAME_BYTES);
                }
                _ => {}
            }
        }
        known
    }

    /// Returns whether the folder has changed between two states. A value that is not known does not count.
    pub(super) fn differs(&self, now: &Self) -> bool {
        let uid_next = self.uid_next != now.uid_next && self.uid_next != 0 && now.uid_next != 0;
        let mod_seq = self.highest_mod_seq != now.highest_mod_seq
            && self.highest_mod_seq != 0
            && now.highest_mod_seq != 0;
        uid_next || mod_seq || self.messages != now.messages
    }
}

/// A folder of the account.
#[derive(Debug, Clone)]
pub(super) struct ListedFolder {
    pub(super) folder: Folder,
    /// Whether it is subscribed; `None` if that is not known.
    pub(super) subscribed: Option<bool>,
    /// Its state, if the server told it.
    pub(super) status: Option<FolderStatus>,
}

/// The folders of an account.
#[derive(Debug, Default)]
pub(super) struct AccountListing {
    /// Ordered by name.
    pub(super) folders: Vec<ListedFolder>,
    /// Whether the server lists all folders. Otherwise one that is not listed may exist.
    pub(super) is_complete: bool,
    /// Whether the server says which folders have a special use.
    pub(super) has_special_use: bool,
}

/// What LIST asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Extended {
        with_status: bool,
    },
    Plain,
    /// LSUB, after a plain LIST.
    Subscriptions,
}

/// What of LIST and STATUS the server offers.
#[derive(Debug, Clone, Copy, Default)]
struct Offers {
    list_extended: bool,
    list_status: bool,
    special_use: bool,
    mod_sequences: bool,
    object_ids: bool,
}

impl Offers {
    fn of<C: Channel>(client: &Client<C>) -> Self {
        let has = |name: &str| client.capabilities().is_some_and(|known| known.has(name));
        Self {
            list_extended: has("LIST-EXTENDED") || has("IMAP4rev2"),
            list_status: has("LIST-STATUS") || has("IMAP4rev2"),
            special_use: has("SPECIAL-USE"),
            mod_sequences: has("CONDSTORE") || has("QRESYNC"),
            object_ids: has("OBJECTID"),
        }
    }

    fn status_attributes(self) -> Vec<StatusAttribute> {
        let mut wanted =
            vec![StatusAttribute::Messages, StatusAttribute::UidNext, StatusAttribute::UidValidity];
        if self.mod_sequences {
            wanted.push(StatusAttribute::HighestModSeq);
        }
        if self.object_ids {
            wanted.push(StatusAttribute::MailboxId);
        }
        wanted
    }
}

/// The task that lists an account.
#[derive(Debug, Default)]
pub(super) struct ListAccount {
    offers: Offers,
    form: Option<Form>,
    sent: Option<CommandId>,
    listing: Listing,
    statuses: HashMap<Vec<u8>, FolderStatus>,
    subscribed: HashSet<Vec<u8>>,
    knows_subscriptions: bool,
    is_complete: bool,
}

impl ListAccount {
    /// Returns what came, also after a failure.
    pub(super) fn into_listing(self) -> AccountListing {
        let Self { listing, mut statuses, subscribed, knows_subscriptions, is_complete, offers, .. } = self;
        let mut has_special_use = offers.special_use;
        let folders = listing.sorted().into_iter().map(|folder| {
            let name = canonical(&folder.wire_name);
            has_special_use |= folder.special_use.is_some();
            ListedFolder {
                subscribed: knows_subscriptions.then(|| subscribed.contains(&name)),
                status: statuses.remove(&name),
                folder,
            }
        });
        let folders: Vec<ListedFolder> = folders.collect();
        // Each account has an INBOX: a server that does not list it lists not everything.
        let is_complete = is_complete && folders.iter().any(|listed| listed.folder.is_inbox());
        AccountListing { folders, is_complete, has_special_use }
    }

    fn take(&mut self, event: Event<'_>) -> Result<bool, Error> {
        match event {
            Event::Data(Untagged::List(listed)) => {
                if listed.attributes.contains(MailboxAttribute::Subscribed) {
                    self.add_subscription(&listed.mailbox.as_bytes());
                }
                self.listing.add(&listed)?;
            }
            Event::Data(Untagged::Lsub(listed)) => self.add_subscription(&listed.mailbox.as_bytes()),
            Event::Data(Untagged::MailboxStatus(status)) => {
                let name = canonical(&status.mailbox.as_bytes());
                // LIST limits the number of folders; STATUS may come first.
                if name.len() <= MAX_NAME_BYTES && self.statuses.len() < MAX_SUBSCRIPTIONS {
                    self.statuses.insert(name, FolderStatus::new(&status));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn add_subscription(&mut self, name: &[u8]) {
        if name.len() <= MAX_NAME_BYTES && self.subscribed.len() < MAX_SUBSCRIPTIONS {
            self.subscribed.insert(canonical(name));
        }
    }

    /// Decides what follows a completion.
    fn completed(&mut self, status: &StatusResponse<'_>) -> Result<TaskStep<()>, Error> {
        let accepted = status.condition == Condition::Ok;
        self.sent = None;
        self.form = match self.form {
            Some(Form::Extended { .. }) if accepted => {
                (self.knows_subscriptions, self.is_complete) = (true, true);
                return Ok(TaskStep::Done(()));
            }
            Some(Form::Plain) if accepted => {
                self.is_complete = true;
                Some(Form::Subscriptions)
            }
            Some(Form::Extended { with_status: true }) => Some(Form::Extended { with_status: false }),
            Some(Form::Extended { with_status: false }) => Some(Form::Plain),
            Some(Form::Subscriptions) => {
                self.knows_subscriptions = accepted;
                return Ok(TaskStep::Done(()));
            }
            Some(Form::Plain) | None => {
                return Err(imap_command_error(status, "the server refused LIST"));
            }
        };
        Ok(TaskStep::Useful)
    }
}

impl<C: Channel> Task<Client<C>> for ListAccount {
    type Output = ();

    fn ready(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<TaskStep<()>, Error> {
        if self.sent.is_some() {
            return Ok(TaskStep::Waiting);
        }
        self.offers = Offers::of(client);
        let offers = self.offers;
        let first = if offers.list_extended {
            Form::Extended { with_status: offers.list_status }
        } else {
            Form::Plain
        };
        let form = *self.form.get_or_insert(first);
        let patterns = [ListPattern::ALL];
        let attributes = offers.status_attributes();
        let mut returns = vec![ListReturn::Subscribed];
        if offers.special_use {
            returns.push(ListReturn::SpecialUse);
        }
        let mut list = ListCommand::new(&patterns);
        match form {
            Form::Subscriptions => {
                let lsub = LsubCommand { reference: MailboxName::new(""), pattern: ListPattern::ALL };
                self.sent = Some(client.send(&Command::Lsub(lsub), tx)?);
                return Ok(TaskStep::Waiting);
            }
            Form::Extended { with_status } => {
                if with_status {
                    returns.push(ListReturn::Status(LazyList::new(&attributes)));
                }
                list.returns = LazyList::new(&returns);
            }
            Form::Plain => {}
        }
        self.sent = Some(client.send(&Command::List(list), tx)?);
        Ok(TaskStep::Waiting)
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<()>, Error> {
        match event {
            Event::Completed { id, status } if self.sent == Some(id) => match self.completed(&status)? {
                TaskStep::Done(()) => Ok(TaskStep::Done(())),
                _ => self.ready(client, tx).map(|_| TaskStep::Useful),
            },
            event => Ok(if self.take(event)? { TaskStep::Useful } else { TaskStep::Waiting }),
        }
    }
}

/// INBOX is case-insensitive.
pub(super) fn canonical(name: &[u8]) -> Vec<u8> {
    if name.eq_ignore_ascii_case(b"INBOX") { b"INBOX".to_vec() } else { name.to_vec() }
}

/// Requests the state of one folder.
#[derive(Debug)]
pub(super) struct RequestStatus {
    folder: Folder,
    attributes: Vec<StatusAttribute>,
    found: Option<FolderStatus>,
}

impl RequestStatus {
    /// Requests what identifies the folder.
    pub(super) fn new(folder: Folder) -> Self {
        let attributes = Offers::default().status_attributes();
        Self { folder, attributes, found: None }
    }
}

impl Request for RequestStatus {
    type Output = Option<FolderStatus>;

    fn with_command<T>(&self, send: impl FnOnce(&Command<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let attributes = LazyList::new(&self.attributes);
        send(&Command::Status(StatusCommand { mailbox: self.folder.mailbox(), attributes }))
    }

    fn data(&mut self, event: Event<'_>) -> Result<bool, Error> {
        let Event::Data(Untagged::MailboxStatus(status)) = event else { return Ok(false) };
        if canonical(&status.mailbox.as_bytes()) == canonical(&self.folder.wire_name) {
            self.found = Some(FolderStatus::new(&status));
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<Option<FolderStatus>, Error> {
        Ok(self.found.take())
    }
}
