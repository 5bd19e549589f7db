//! Which mailbox names a LIST or LSUB returns.
//!
//! The names are read page by page, in their order. A parent of selected names is listed before the first of them.

use std::ops::Range;

use io_common::Slice;
use mailstore::{AccountId, Annotated, Mailbox, NameSelection, Rights, Store, Subscription};
use proto_imap::list_matcher::{ListMatcher, parents};
use proto_imap::types::{ExtendedItem, IString, LazyList, ListResponse, MailboxAttribute, StatusAttribute};

use super::mailbox_access::{
    DELIMITER, FoundMailbox, MailboxAccess, SharedMailbox, is_in_other_users, is_shared_entry,
};

/// A page is complete at this many bytes of names, or this many names.
const PAGE_BYTES: usize = 64 * 1024;
const PAGE: usize = 500;

/// The number of mailboxes read at a time.
const CHUNK: usize = 128;

/// What a LIST or LSUB requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ListQuery {
    pub(super) patterns: ListMatcher,
    pub(super) subscribed: bool,
    pub(super) special_use: bool,
    pub(super) recursive: bool,
    /// The items of STATUS to return for each mailbox.
    pub(super) status: Vec<StatusAttribute>,
    /// The entries of metadata to return for each mailbox, in lower case.
    pub(super) metadata: Vec<String>,
    /// Whether the rights to each mailbox are returned.
    pub(super) my_rights: bool,
    /// Whether the command is LSUB.
    pub(super) lsub: bool,
}

/// The position at which the next page starts.
#[derive(Debug, Default)]
pub(super) struct ListPosition {
    /// The last name that was read.
    pub(super) after: String,
    /// The last name that was selected.
    pub(super) selected: String,
    /// The account whose shared mailboxes are being listed; `None` while the account's own names are.
    shared: Option<AccountId>,
}

/// One page of the response.
pub(super) struct ListPage {
    pub(super) entries: Vec<ListEntry>,
    /// The start of the next page; `None` on the last page.
    pub(super) next: Option<ListPosition>,
}

/// What STATUS shows of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MailboxCounters {
    pub(super) status: mailstore::Status,
    pub(super) mailbox_id: String,
}

/// The response for one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListEntry {
    pub(super) name: String,
    pub(super) attributes: Vec<MailboxAttribute<'static>>,
    /// Whether a mailbox below this one was selected (`CHILDINFO`).
    pub(super) for_child: bool,
    pub(super) status: Option<MailboxCounters>,
    /// The requested entries of metadata and their values.
    pub(super) metadata: Vec<(String, Option<Vec<u8>>)>,
    /// The rights of the account to the mailbox. `None` if there is no mailbox.
    pub(super) rights: Option<Rights>,
}

/// A name that may be listed.
struct ListedName {
    name: String,
    mailbox: Option<ListedMailbox>,
}

/// The mailbox of a name, its owner, and the rights of the account to it.
struct ListedMailbox {
    mailbox: Mailbox,
    owner: AccountId,
    rights: Rights,
}

/// Produces the responses after a position, as many as fit in a page and a slice. Reads at least one name.
pub(super) fn page(
    store: &dyn Store,
    account: AccountId,
    query: &ListQuery,
    mut position: ListPosition,
    slice: &Slice,
) -> mailstore::Result<ListPage> {
    let mut entries = PageBuilder { store, account, query, found: Vec::new(), bytes: 0 };
    while position.shared.is_none() {
        let names = query.read(store, account, &position.after)?;
        let is_last = names.len() < CHUNK;
        for name in names {
            if query.is_selected(&name) {
                entries.add_parents(&name.name, &position.selected)?;
                entries.add_selected(&name)?;
                position.selected.clone_from(&name.name);
            }
            position.after = name.name;
            if entries.is_full() || slice.is_over() {
                return Ok(ListPage { entries: entries.found, next: Some(position) });
            }
        }
        if is_last {
            position.shared = Some(AccountId(0));
            position.after.clear();
        }
    }
    // Other accounts' mailboxes have no special use here, and those that are subscribed were listed with the other names.
    let has_more = !query.subscribed && !query.special_use && entries.add_shared(&mut position, slice)?;
    Ok(ListPage { entries: entries.found, next: has_more.then_some(position) })
}

impl ListQuery {
    /// Reads the next names that may be selected, with their mailboxes. Fewer than [`CHUNK`] means that these are the
    /// last.
    fn read(&self, store: &dyn Store, account: AccountId, after: &str) -> mailstore::Result<Vec<ListedName>> {
        let access = MailboxAccess::new(account);
        let own = |mailbox| ListedMailbox { mailbox, owner: account, rights: Rights::ALL };
        if !self.subscribed {
            let mailboxes = access.own_page(store, after, CHUNK)?.into_iter();
            let with_name =
                |mailbox: Mailbox| ListedName { name: mailbox.name.clone(), mailbox: Some(own(mailbox)) };
            return Ok(mailboxes.map(with_name).collect());
        }
        let named = |Subscription { name, mailbox }| {
            let mailbox = match mailbox {
                Some(mailbox) => Some(own(mailbox)),
                None if is_in_other_users(&name) => visible(store, access, &name)?,
                None => None,
            };
            Ok(ListedName { name, mailbox })
        };
        store.subscriptions_page(account, after, CHUNK)?.into_iter().map(named).collect()
    }

    /// Returns whether the selection options select a name that [`read`](Self::read) returned. Ignores the patterns.
    fn is_selected(&self, name: &ListedName) -> bool {
        let has_use = |listed: &ListedMailbox| listed.mailbox.special_use.is_some();
        !self.special_use || name.mailbox.as_ref().is_some_and(has_use)
    }

    /// Returns the selection options in the store's form; `None` if all mailboxes are selected.
    fn selection(&self) -> Option<NameSelection> {
        match (self.subscribed, self.special_use) {
            (true, true) => Some(NameSelection::SubscribedSpecialUse),
            (true, false) => Some(NameSelection::Subscribed),
            (false, true) => Some(NameSelection::SpecialUse),
            (false, false) => None,
        }
    }

    /// Returns whether parents of a selected name may match too.
    fn includes_parents(&self) -> bool {
        self.recursive || self.lsub && self.patterns.ends_with_percent()
    }

    fn matches(&self, name: &str) -> bool {
        self.patterns.matches(name)
    }
}

/// A page under construction.
struct PageBuilder<'s> {
    store: &'s dyn Store,
    account: AccountId,
    query: &'s ListQuery,
    found: Vec<ListEntry>,
    /// The total length of the names in bytes.
    bytes: usize,
}

impl PageBuilder<'_> {
    /// Adds the responses for the parents of a selected name.
    ///
    /// Names below one parent are adjacent, so the first of them is the one whose predecessor is not below that
    /// parent.
    fn add_parents(&mut self, name: &str, selected_before: &str) -> mailstore::Result<()> {
        if !self.query.includes_parents() {
            return Ok(());
        }
        let mut levels: Vec<&str> = parents(name, DELIMITER)
            .take_while(|level| !is_below(selected_before, level))
            .filter(|level| self.query.matches(level))
            .collect();
        levels.reverse();
        for level in levels {
            // A parent that is itself selected is listed at its own position.
            if self.selects(level..&format!("{level}\0"))? {
                continue;
            }
            let mailbox = visible(self.store, MailboxAccess::new(self.account), level)?;
            let attributes = match self.query.lsub {
                true => vec![MailboxAttribute::NoSelect],
                false => self.attributes(mailbox.as_ref(), false),
            };
            self.add(level, mailbox.as_ref(), attributes, self.query.recursive);
        }
        Ok(())
    }

    /// Adds the response for a selected name, if it matches.
    fn add_selected(&mut self, name: &ListedName) -> mailstore::Result<()> {
        let ListedName { name, mailbox } = name;
        if !self.query.matches(name) {
            return Ok(());
        }
        let for_child = self.query.recursive && self.selects(&*format!("{name}/")..&*format!("{name}0"))?;
        let attributes = self.attributes(mailbox.as_ref(), self.query.subscribed);
        self.add(name, mailbox.as_ref(), attributes, for_child);
        Ok(())
    }

    /// Adds the mailboxes of other accounts that the account may look up. Returns whether there are more of them.
    fn add_shared(&mut self, position: &mut ListPosition, slice: &Slice) -> mailstore::Result<bool> {
        let access = MailboxAccess::new(self.account);
        let mut owner = position.shared.unwrap_or(AccountId(0));
        while let Some((account, mailboxes)) = access.next_shared(self.store, owner, Rights::LOOKUP)? {
            for SharedMailbox { mailbox, rights } in mailboxes {
                // An own mailbox of this name was listed before.
                if mailbox.name <= position.after || access.find_own(self.store, &mailbox.name).is_ok() {
                    continue;
                }
                self.add_levels(&mailbox.name, &position.selected);
                position.selected.clone_from(&mailbox.name);
                position.after.clone_from(&mailbox.name);
                if self.query.matches(&mailbox.name) {
                    let attributes = attributes(Some(&mailbox), false, self.query);
                    let listed = ListedMailbox { mailbox, owner: account.id, rights };
                    self.add(&position.after, Some(&listed), attributes, false);
                }
                if self.is_full() || slice.is_over() {
                    position.shared = Some(owner);
                    return Ok(true);
                }
            }
            owner = account.id;
            position.after.clear();
            if slice.is_over() {
                position.shared = Some(owner);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds the levels above a shared mailbox that a pattern with `%` at its end matches (RFC 9051 §6.3.9.3), unless they were
    /// added for the name before. They are no mailboxes, or none that the account may look up.
    fn add_levels(&mut self, name: &str, before: &str) {
        if !self.query.patterns.ends_with_percent() {
            return;
        }
        let is_new = |level: &&str| !is_below(before, level) && before != *level && self.query.matches(level);
        let mut levels: Vec<&str> = parents(name, DELIMITER).filter(is_new).collect();
        levels.reverse();
        for level in levels {
            let attributes = vec![MailboxAttribute::NoSelect, MailboxAttribute::HasChildren];
            self.add(level, None, attributes, false);
        }
    }

    /// Returns the attributes of a name. Whether a subscribed mailbox of another account has children is left open.
    fn attributes(&self, listed: Option<&ListedMailbox>, subscribed: bool) -> Vec<MailboxAttribute<'static>> {
        let mut attributes = attributes(listed.map(|listed| &listed.mailbox), subscribed, self.query);
        if listed.is_some_and(|listed| listed.owner != self.account) {
            attributes.retain(|attribute| *attribute != MailboxAttribute::HasNoChildren);
        }
        attributes
    }

    fn add(
        &mut self,
        name: &str,
        listed: Option<&ListedMailbox>,
        attributes: Vec<MailboxAttribute<'static>>,
        for_child: bool,
    ) {
        let readable = listed.filter(|listed| listed.rights.contains(Rights::READ));
        let selectable = readable.filter(|one| !one.mailbox.no_select && !self.query.status.is_empty());
        // A mailbox that was deleted in the meantime has no status.
        let status = selectable.and_then(|ListedMailbox { mailbox, owner, .. }| {
            let mailbox_id = self.store.mailbox_id(*owner, mailbox.id);
            Some(MailboxCounters { status: self.store.status(mailbox.id).ok()?, mailbox_id })
        });
        let metadata = readable.map(|listed| self.metadata(listed)).unwrap_or_default();
        let values = metadata.iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len));
        self.bytes += name.len() + values.sum::<usize>();
        let (name, rights) = (name.to_owned(), listed.map(|listed| listed.rights));
        self.found.push(ListEntry { name, attributes, for_child, status, metadata, rights });
    }

    /// Reads the requested entries of a mailbox. A mailbox that was deleted in the meantime has none.
    fn metadata(&self, listed: &ListedMailbox) -> Vec<(String, Option<Vec<u8>>)> {
        let of = Annotated::Mailbox(listed.mailbox.id);
        let is_own = listed.owner == self.account;
        let read = |name: &String| {
            // Private entries of another account's mailbox are those of its owner.
            if !is_own && !is_shared_entry(name) {
                return Some((name.clone(), None));
            }
            let names = &**name..&*format!("{name}\0");
            let page = self.store.metadata_page(listed.owner, of, names, u64::MAX).ok()?;
            Some((name.clone(), page.entries.into_iter().next().and_then(|entry| entry.value)))
        };
        self.query.metadata.iter().filter_map(read).collect()
    }

    fn selects(&self, names: Range<&str>) -> mailstore::Result<bool> {
        match self.query.selection() {
            Some(selection) => self.store.has_selected_name(self.account, selection, names),
            None => Ok(false),
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= PAGE_BYTES || self.found.len() >= PAGE
    }
}

/// Returns the mailbox of a name if the account may look it up.
fn visible(store: &dyn Store, access: MailboxAccess, name: &str) -> mailstore::Result<Option<ListedMailbox>> {
    match access.find(store, name, Rights::LOOKUP) {
        Ok(FoundMailbox { mailbox, owner, rights, .. }) => Ok(Some(ListedMailbox { mailbox, owner, rights })),
        Err(mailstore::Error::NotFound(_) | mailstore::Error::NoRight) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether a name is below a level.
fn is_below(name: &str, level: &str) -> bool {
    name.strip_prefix(level).is_some_and(|rest| rest.starts_with(DELIMITER))
}

pub(super) fn attributes(
    mailbox: Option<&Mailbox>,
    subscribed: bool,
    query: &ListQuery,
) -> Vec<MailboxAttribute<'static>> {
    let mut attributes = Vec::new();
    match mailbox {
        None if query.lsub => attributes.push(MailboxAttribute::NoSelect),
        None => attributes.push(MailboxAttribute::NonExistent),
        Some(mailbox) => {
            if mailbox.no_select {
                attributes.push(MailboxAttribute::NoSelect);
            }
            if !query.lsub {
                attributes.push(if mailbox.has_children {
                    MailboxAttribute::HasChildren
                } else {
                    MailboxAttribute::HasNoChildren
                });
                attributes.extend(mailbox.special_use.map(special_use));
            }
        }
    }
    if !query.lsub && (subscribed || mailbox.is_some_and(|mailbox| mailbox.subscribed)) {
        attributes.push(MailboxAttribute::Subscribed);
    }
    attributes
}

const fn special_use(special_use: mailstore::SpecialUse) -> MailboxAttribute<'static> {
    use mailstore::SpecialUse;
    match special_use {
        SpecialUse::Archive => MailboxAttribute::Archive,
        SpecialUse::Drafts => MailboxAttribute::Drafts,
        SpecialUse::Junk => MailboxAttribute::Junk,
        SpecialUse::Sent => MailboxAttribute::Sent,
        SpecialUse::Trash => MailboxAttribute::Trash,
    }
}

pub(super) fn list_response<'a>(
    attributes: &'a [MailboxAttribute<'static>],
    mailbox: IString<'a>,
    extended: &'a [ExtendedItem<'a>],
) -> ListResponse<'a> {
    ListResponse {
        attributes: LazyList::new(attributes),
        delimiter: Some(DELIMITER),
        mailbox,
        extended: LazyList::new(extended),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests prepare the store")]
mod tests {
    use std::time::{Duration, Instant};

    use mailstore::Accounts;
    use proto_imap::list_matcher::ListLimits;

    use super::*;

    fn store() -> (tempfile::TempDir, mailstore::SqliteStore, AccountId) {
        let directory = tempfile::tempdir().unwrap();
        let store = mailstore::SqliteStore::open(directory.path()).unwrap();
        let account = store.create_account("ann", b"a password").unwrap().id;
        (directory, store, account)
    }

    /// Returns all pages of a response joined.
    fn pages(
        store: &mailstore::SqliteStore,
        account: AccountId,
        query: &ListQuery,
        slice: &Slice,
    ) -> Vec<ListEntry> {
        let (mut entries, mut next) = (Vec::new(), Some(ListPosition::default()));
        while let Some(position) = next {
            let page = page(store, account, query, position, slice).unwrap();
            entries.extend(page.entries);
            next = page.next;
        }
        entries
    }

    /// Returns the response for the mailboxes INBOX, Sent, a (`\Noselect`) and a/b, and the subscriptions a/b and
    /// gone/x.
    fn entries(query: ListQuery) -> Vec<(String, Vec<MailboxAttribute<'static>>)> {
        let (_directory, store, account) = store();
        for mailbox in store.list(account).unwrap() {
            store.unsubscribe(account, &mailbox.name).unwrap();
            if !["INBOX", "Sent"].contains(&mailbox.name.as_str()) {
                store.delete_mailbox(account, &mailbox.name).unwrap();
            }
        }
        store.create_mailbox(account, "a/b", None).unwrap();
        store.subscribe(account, "a/b").unwrap();
        store.subscribe(account, "gone/x").unwrap();
        let entries = pages(&store, account, &query, &Slice::lasting(Duration::from_secs(60)));
        entries.into_iter().map(|entry| (entry.name, entry.attributes)).collect()
    }

    fn query(pattern: &str) -> ListQuery {
        let limits = ListLimits::default();
        let patterns = ListMatcher::new("", [pattern], Some(DELIMITER), &limits).unwrap();
        ListQuery { patterns, ..ListQuery::default() }
    }

    fn names(query: ListQuery) -> Vec<String> {
        entries(query).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn lists_matches_with_their_attributes() {
        assert_eq!(names(query("*")), ["INBOX", "Sent", "a", "a/b"]);
        assert_eq!(names(query("%")), ["INBOX", "Sent", "a"]);
        let found = entries(query("%"));
        assert_eq!(found[1].1, [MailboxAttribute::HasNoChildren, MailboxAttribute::Sent]);
        assert_eq!(found[2].1, [MailboxAttribute::NoSelect, MailboxAttribute::HasChildren]);
        assert_eq!(names(ListQuery { special_use: true, ..query("*") }), ["Sent"]);
    }

    #[test]
    fn pages_of_any_length_join_to_the_same_response() {
        let (_directory, store, account) = store();
        for number in 0..150 {
            store.create_mailbox(account, &format!("box {number}/inner"), None).unwrap();
        }
        store.subscribe(account, "box 7/inner").unwrap();
        let names = |query: &ListQuery, slice: &Slice| -> Vec<String> {
            let entries = pages(&store, account, query, slice);
            entries.into_iter().map(|entry| entry.name).collect()
        };
        for (query, count) in [
            (query("*"), 306),
            (query("%"), 156),
            (ListQuery { status: vec![StatusAttribute::Messages], ..query("box 1%/%") }, 61),
            (ListQuery { subscribed: true, recursive: true, ..query("*") }, 8),
            (ListQuery { subscribed: true, lsub: true, ..query("%") }, 7),
        ] {
            let long = names(&query, &Slice::lasting(Duration::from_secs(60)));
            let short = names(&query, &Slice::lasting(Duration::ZERO));
            assert_eq!(short, long);
            assert_eq!(long.len(), count, "{query:?} {long:?}");
        }
    }

    #[test]
    fn lists_each_parent_once_in_any_sort_order() {
        let (_directory, store, account) = store();
        for name in ["a", "a!", "a!/x", "a/b/c", "a/b/d", "a0/x", "z/y", "z!"] {
            store.subscribe(account, name).unwrap();
        }
        store.create_mailbox(account, "a!/x", None).unwrap();
        let recursive =
            |pattern| ListQuery { subscribed: true, recursive: true, ..query(&format!("{pattern}*")) };
        let long = Slice::lasting(Duration::from_secs(60));
        let found = |query: ListQuery| -> Vec<(String, bool)> {
            let short = pages(&store, account, &query, &Slice::lasting(Duration::ZERO));
            assert_eq!(pages(&store, account, &query, &long), short);
            let mut found: Vec<_> = short.into_iter().map(|entry| (entry.name, entry.for_child)).collect();
            found.sort();
            found
        };
        let expected = |names: &[(&str, bool)]| -> Vec<(String, bool)> {
            names.iter().map(|(name, for_child)| ((*name).to_owned(), *for_child)).collect()
        };
        assert_eq!(
            found(recursive("a")),
            expected(&[
                ("a", true),
                ("a!", true),
                ("a!/x", false),
                ("a/b", true),
                ("a/b/c", false),
                ("a/b/d", false),
                ("a0", true),
                ("a0/x", false),
            ])
        );
        assert_eq!(found(recursive("z")), expected(&[("z", true), ("z!", false), ("z/y", false)]));
    }

    #[test]
    fn lists_many_subscriptions_in_linear_time() {
        let (_directory, store, account) = store();
        for number in 0..3_000 {
            store.subscribe(account, &format!("list {number:04}/inner")).unwrap();
        }
        let start = Instant::now();
        for query in [
            ListQuery { subscribed: true, recursive: true, ..query("%") },
            ListQuery { subscribed: true, lsub: true, ..query("%") },
        ] {
            let entries = pages(&store, account, &query, &Slice::lasting(Duration::ZERO));
            assert_eq!(entries.len(), 3_006);
        }
        // Takes about a second without optimization, even with one page per name.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }

    #[test]
    fn lists_subscriptions_without_a_mailbox() {
        let found = entries(ListQuery { subscribed: true, ..query("*") });
        assert_eq!(
            found[0],
            ("a/b".to_owned(), vec![MailboxAttribute::HasNoChildren, MailboxAttribute::Subscribed])
        );
        assert_eq!(
            found[1],
            ("gone/x".to_owned(), vec![MailboxAttribute::NonExistent, MailboxAttribute::Subscribed])
        );
        let recursive = ListQuery { subscribed: true, recursive: true, ..query("%") };
        assert_eq!(names(recursive), ["a", "gone"]);
    }

    #[test]
    fn lsub_lists_parents_of_subscribed_names() {
        let lsub = |pattern| ListQuery { subscribed: true, lsub: true, ..query(pattern) };
        assert_eq!(
            entries(lsub("%")),
            [
                ("a".to_owned(), vec![MailboxAttribute::NoSelect]),
                ("gone".to_owned(), vec![MailboxAttribute::NoSelect])
            ]
        );
        assert_eq!(names(lsub("*")), ["a/b", "gone/x"]);
    }
}
