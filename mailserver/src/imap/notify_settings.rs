//! What a client has asked for with NOTIFY (RFC 5465): which events of which mailboxes; and how far a session has
//! reported them.

use std::sync::Arc;
use std::time::Instant;

use mailstore::{AccountId, NAME_LIMIT};
use proto_imap::server::Reply;
use proto_imap::types::{EventGroup, MailboxFilter, MailboxName, NameEncoding, NotifyCommand, NotifyEvent};

use super::fetch_items::{FetchRequest, RejectedFetch};
use crate::account_notifier::{AccountWatch, Interests};

/// The maximum number of names of mailboxes, and of groups, in one NOTIFY.
const NAME_COUNT_LIMIT: usize = 500;

/// The maximum number of bytes of these names.
const NAME_BYTES_LIMIT: usize = 32 * NAME_LIMIT;

/// The events that the server supports, as `BADEVENT` lists them.
pub(super) const SUPPORTED_EVENTS: [&str; 7] = [
    "MessageNew",
    "MessageExpunge",
    "FlagChange",
    "MailboxName",
    "SubscriptionChange",
    "MailboxMetadataChange",
    "ServerMetadataChange",
];

/// Why a NOTIFY is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RejectedNotify {
    /// An event is not supported.
    BadEvent,
    /// It names too many mailboxes.
    TooMuch,
    /// The attributes for new messages can't be returned.
    Attributes(RejectedFetch),
    /// A name of a mailbox is invalid.
    InvalidName,
}

/// The events that a client wants.
#[derive(Debug, Default)]
pub(super) struct NotifySettings {
    groups: Vec<Group>,
    pub(super) selected: SelectedEvents,
}

/// The events of the selected mailbox that a client wants.
#[derive(Debug, Clone, Default)]
pub(super) struct SelectedEvents {
    /// New and expunged messages.
    pub(super) messages: bool,
    pub(super) flags: bool,
    /// What is returned of each new message.
    pub(super) attributes: Option<Arc<FetchRequest>>,
}

/// What a session reports of its account outside the selected mailbox, and when.
#[derive(Debug)]
pub(super) struct AccountReports {
    pub(super) watch: AccountWatch,
    /// What the client wants since its last NOTIFY; `None` before the first one.
    pub(super) settings: Option<Arc<NotifySettings>>,
    /// Metadata that is reported because of ENABLE.
    pub(super) metadata: Interests,
    /// The earliest time of the next report between commands.
    pub(super) next: Option<Instant>,
    /// Changes of the selected mailbox wait for a command.
    pub(super) held_back: bool,
}

/// A NOTIFY whose STATUS responses are being written.
pub(super) struct NotifyInProgress {
    pub(super) account: AccountId,
    pub(super) reply: Reply,
    pub(super) settings: Arc<NotifySettings>,
    /// The last mailbox that was read.
    pub(super) after: String,
}

impl AccountReports {
    pub(super) fn update_interests(&self) {
        let wanted = self.settings.as_ref().map(|settings| settings.interests()).unwrap_or_default();
        self.watch.set_interests(wanted.or(self.metadata));
    }
}

#[derive(Debug)]
struct Group {
    mailboxes: Filter,
    events: Interests,
}

#[derive(Debug)]
enum Filter {
    Inboxes,
    Personal,
    Subscribed,
    /// These mailboxes, and those below them as many levels as the number says.
    Named(Vec<String>, usize),
}

impl NotifySettings {
    pub(super) fn new(command: &NotifyCommand<'_>, encoding: NameEncoding) -> Result<Self, RejectedNotify> {
        let mut settings = Self::default();
        let mut names = NameBudget { count: NAME_COUNT_LIMIT, bytes: NAME_BYTES_LIMIT };
        for group in command.groups().iter() {
            names.take("")?;
            let events = events(&group)?;
            let named = |list, levels, names: &mut NameBudget| {
                names.decode(list, encoding).map(|list| Filter::Named(list, levels))
            };
            let mailboxes = match group.mailboxes {
                MailboxFilter::Selected | MailboxFilter::SelectedDelayed => {
                    settings.selected = selected(&group, events)?;
                    continue;
                }
                MailboxFilter::Inboxes => Filter::Inboxes,
                MailboxFilter::Personal => Filter::Personal,
                MailboxFilter::Subscribed => Filter::Subscribed,
                MailboxFilter::Subtree(list) => named(list, usize::MAX, &mut names)?,
                MailboxFilter::SubtreeOne(list) => named(list, 1, &mut names)?,
                MailboxFilter::Mailboxes(list) => named(list, 0, &mut names)?,
                _ => return Err(RejectedNotify::TooMuch),
            };
            settings.groups.push(Group { mailboxes, events });
        }
        Ok(settings)
    }

    /// Returns the events of all mailboxes together, apart from those of the selected one.
    pub(super) fn interests(&self) -> Interests {
        self.groups.iter().fold(Interests::default(), |all, group| all.or(group.events))
    }

    /// Returns the events of one mailbox. Several groups may contain it (RFC 5465 §6).
    pub(super) fn of(&self, mailbox: &str, is_subscribed: bool) -> Interests {
        let groups = self.groups.iter().filter(|group| group.mailboxes.contains(mailbox, is_subscribed));
        groups.fold(Interests::default(), |all, group| all.or(group.events))
    }
}

impl Filter {
    fn contains(&self, mailbox: &str, is_subscribed: bool) -> bool {
        match self {
            Self::Inboxes => mailbox == "INBOX",
            Self::Personal => true,
            Self::Subscribed => is_subscribed,
            Self::Named(names, levels) => names.iter().any(|name| match mailbox.strip_prefix(&**name) {
                Some("") => true,
                Some(below) => below.starts_with('/') && below.matches('/').count() <= *levels,
                None => false,
            }),
        }
    }
}

/// How many more names, and bytes of names, a NOTIFY may have.
struct NameBudget {
    count: usize,
    bytes: usize,
}

impl NameBudget {
    fn take(&mut self, name: &str) -> Result<(), RejectedNotify> {
        self.count = self.count.checked_sub(1).ok_or(RejectedNotify::TooMuch)?;
        self.bytes = self.bytes.checked_sub(name.len()).ok_or(RejectedNotify::TooMuch)?;
        Ok(())
    }

    fn decode<'i>(
        &mut self,
        names: impl IntoIterator<Item = MailboxName<'i>>,
        encoding: NameEncoding,
    ) -> Result<Vec<String>, RejectedNotify> {
        let decode = |name: MailboxName<'i>| {
            let name = name.decode(encoding).map_err(|_| RejectedNotify::InvalidName)?.into_owned();
            self.take(&name)?;
            Ok(stored_name(name))
        };
        names.into_iter().map(decode).collect()
    }
}

/// Returns the spelling under which the store has a mailbox.
fn stored_name(name: String) -> String {
    match name.split_at_checked(5) {
        Some((inbox, rest))
            if inbox.eq_ignore_ascii_case("INBOX") && (rest.is_empty() || rest.starts_with('/')) =>
        {
            format!("INBOX{rest}")
        }
        _ => name,
    }
}

fn events(group: &EventGroup<'_>) -> Result<Interests, RejectedNotify> {
    let mut events = Interests::default();
    for event in group.events.iter() {
        match event {
            NotifyEvent::MessageNew(_) | NotifyEvent::MessageExpunge => events.messages = true,
            NotifyEvent::FlagChange => events.flags = true,
            NotifyEvent::MailboxName => events.names = true,
            NotifyEvent::SubscriptionChange => events.subscriptions = true,
            NotifyEvent::MailboxMetadataChange => events.mailbox_metadata = true,
            NotifyEvent::ServerMetadataChange => events.server_metadata = true,
            _ => return Err(RejectedNotify::BadEvent),
        }
    }
    Ok(events)
}

fn selected(group: &EventGroup<'_>, events: Interests) -> Result<SelectedEvents, RejectedNotify> {
    let mut selected = SelectedEvents { messages: events.messages, flags: events.flags, attributes: None };
    for event in group.events.iter() {
        if let NotifyEvent::MessageNew(attributes) = event
            && !attributes.is_empty()
        {
            let mut request = FetchRequest::new(attributes.iter()).map_err(RejectedNotify::Attributes)?;
            // What the client did not ask to read stays unread.
            request.sets_seen = false;
            selected.attributes = Some(Arc::new(request));
        }
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_contain_the_mailboxes_that_they_name() {
        let names = || vec!["INBOX".to_owned(), "a/b".to_owned()];
        let (only, one, all) =
            (Filter::Named(names(), 0), Filter::Named(names(), 1), Filter::Named(names(), usize::MAX));
        for (mailbox, expected) in [
            ("INBOX", [true, true, true]),
            ("a/b", [true, true, true]),
            ("a/b/c", [false, true, true]),
            ("a/b/c/d", [false, false, true]),
            ("a/bc", [false, false, false]),
            ("a", [false, false, false]),
        ] {
            assert_eq!(
                [&only, &one, &all].map(|filter| filter.contains(mailbox, false)),
                expected,
                "{mailbox}"
            );
        }
        assert!(Filter::Inboxes.contains("INBOX", false) && !Filter::Inboxes.contains("INBOX/a", true));
        assert!(Filter::Subscribed.contains("x", true) && !Filter::Subscribed.contains("x", false));
        assert_eq!(
            ["inbox", "Inbox/x", "inboxes", "é"].map(|name| stored_name(name.into())),
            ["INBOX", "INBOX/x", "inboxes", "é"]
        );
    }
}
