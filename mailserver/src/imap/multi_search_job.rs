//! The search of several mailboxes, one after the other, on a worker (RFC 7377).

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use io_common::Slice;
use mailstore::{AccountId, Mailbox, MailboxId, Rights, Store, UidSet};
use proto_imap::mailbox_view::{MailboxView, UidBitmap};
use proto_imap::search_query::{SearchFilters, SearchOptions, SearchQuery, UnusedNumbers};
use proto_imap::sort_order::Collation;
use proto_imap::types::{LazyList, MailboxFilter, NameEncoding, Owned, SearchCommand, SearchKey};

use super::mailbox_access::{DELIMITER, MailboxAccess, SharedMailbox};
use super::search::{Collector, Results, Search};
use super::search_returns::{Returns, SavesResult};
use super::stored_message::EmailIds;
use super::translate::uid_set;
use crate::search_memory::SearchMemory;

/// The mailboxes that are read at a time.
const MAILBOX_PAGE: usize = 128;

/// The UIDs that are read at a time.
pub(super) const UID_PAGE: usize = 5_000;

/// A search in several mailboxes.
pub(super) struct MultiSearch {
    pub(super) account: AccountId,
    pub(super) memory: Arc<SearchMemory>,
    pub(super) command: Owned<SearchCommand<'static>>,
    pub(super) comparator: Collation,
    pub(super) filters: SearchFilters,
    pub(super) returns: Returns,
    pub(super) tag: Vec<u8>,
    pub(super) saves: SavesResult,
    pub(super) sources: Sources,
    pub(super) selected: Option<(MailboxId, MailboxView)>,
    /// The current time, in seconds since 1970.
    pub(super) now: i64,
    pub(super) needs_view: bool,
    /// The name of the last mailbox that was read.
    pub(super) after: String,
    pub(super) are_all_read: bool,
    /// The account whose shared mailboxes are read next; `None` before the account's own are all read.
    pub(super) shared_after: Option<AccountId>,
    pub(super) mailboxes: VecDeque<OwnedMailbox>,
    pub(super) current: Option<Current>,
}

impl fmt::Debug for MultiSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiSearch").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// A mailbox and its owner.
pub(super) struct OwnedMailbox {
    mailbox: Mailbox,
    owner: AccountId,
}

/// The mailbox that is being searched.
pub(super) struct Current {
    mailbox: Mailbox,
    owner: AccountId,
    uid_validity: u32,
    step: Step,
}

enum Step {
    /// Reads the UIDs of a mailbox that is not selected, from `next` on.
    Uids {
        uids: UidBitmap,
        next: u32,
        below: u32,
    },
    Search {
        search: Box<Search>,
        query: Arc<SearchQuery>,
        email_ids: EmailIds,
    },
}

/// A mailbox with matches.
pub(super) struct Found {
    pub(super) mailbox: Mailbox,
    pub(super) uid_validity: u32,
    pub(super) results: Results,
    pub(super) query: Arc<SearchQuery>,
    pub(super) email_ids: EmailIds,
}

/// The mailboxes to search.
#[derive(Debug, Default)]
pub(super) struct Sources {
    selected: bool,
    inbox: bool,
    personal: bool,
    subscribed: bool,
    mailboxes: BTreeSet<String>,
    subtrees: BTreeSet<String>,
    one_level: BTreeSet<String>,
}

impl Sources {
    /// Returns the sources of a command; `None` if a name is invalid.
    pub(super) fn new(filters: LazyList<'_, MailboxFilter<'_>>, encoding: NameEncoding) -> Option<Self> {
        let mut sources = Self { selected: filters.is_empty(), ..Self::default() };
        for filter in filters.iter() {
            let (set, names) = match filter {
                MailboxFilter::Selected | MailboxFilter::SelectedDelayed => {
                    sources.selected = true;
                    continue;
                }
                MailboxFilter::Inboxes => {
                    sources.inbox = true;
                    continue;
                }
                MailboxFilter::Personal => {
                    sources.personal = true;
                    continue;
                }
                MailboxFilter::Subscribed => {
                    sources.subscribed = true;
                    continue;
                }
                MailboxFilter::Subtree(names) => (&mut sources.subtrees, names),
                MailboxFilter::SubtreeOne(names) => (&mut sources.one_level, names),
                MailboxFilter::Mailboxes(names) => (&mut sources.mailboxes, names),
                _ => continue,
            };
            for name in names.iter() {
                set.insert(canonical(&name.decode(encoding).ok()?));
            }
        }
        Some(sources)
    }

    /// Returns whether only the selected mailbox is searched.
    fn is_selected_only(&self) -> bool {
        self.selected
            && !(self.inbox || self.personal || self.subscribed)
            && [&self.mailboxes, &self.subtrees, &self.one_level].iter().all(|names| names.is_empty())
    }

    fn contains(&self, mailbox: &Mailbox, selected: Option<MailboxId>) -> bool {
        self.personal || self.contains_shared(mailbox, selected)
    }

    /// Returns whether a mailbox is searched that is in no personal namespace.
    fn contains_shared(&self, mailbox: &Mailbox, selected: Option<MailboxId>) -> bool {
        let name = &*mailbox.name;
        let parent = name.rsplit_once(DELIMITER).map_or("", |(parent, _)| parent);
        (self.selected && selected == Some(mailbox.id))
            || (self.inbox && name == "INBOX")
            || (self.subscribed && mailbox.subscribed)
            || self.mailboxes.contains(name)
            || self.one_level.contains(name)
            || self.one_level.contains(parent)
            || (!self.subtrees.is_empty() && self.is_in_subtree(name))
    }

    fn is_in_subtree(&self, name: &str) -> bool {
        let ends = name.match_indices(DELIMITER).map(|(at, _)| at).chain([0, name.len()]);
        ends.filter_map(|end| name.get(..end)).any(|above| self.subtrees.contains(above))
    }
}

/// Returns a name as the store has it: INBOX is written in upper case.
fn canonical(name: &str) -> String {
    let name = name.strip_suffix(DELIMITER).unwrap_or(name);
    let (first, rest) = name.split_at_checked(5).unwrap_or((name, ""));
    let is_inbox = first.eq_ignore_ascii_case("INBOX") && (rest.is_empty() || rest.starts_with(DELIMITER));
    if is_inbox { format!("INBOX{rest}") } else { name.to_owned() }
}

/// Returns whether the keys depend on which messages a mailbox has: the numbers in them are relative to it. The parser
/// limits how deep keys are nested.
pub(super) fn needs_view(keys: LazyList<'_, SearchKey<'_>>) -> bool {
    fn is_relative(key: &SearchKey<'_>) -> bool {
        match key {
            SearchKey::Sequence(_) | SearchKey::Uid(_) | SearchKey::Filter(_) => true,
            SearchKey::Not(key) | SearchKey::Fuzzy(key) => key.view().is_some_and(|key| is_relative(&key)),
            SearchKey::Or(one, other) => {
                [one, other].iter().any(|key| key.view().is_some_and(|key| is_relative(&key)))
            }
            SearchKey::And(keys) => needs_view(*keys),
            _ => false,
        }
    }
    keys.iter().any(|key| is_relative(&key))
}

/// Returns the options of a search.
pub(super) fn search_options(comparator: Collation, filters: &SearchFilters) -> SearchOptions<'_> {
    SearchOptions::default().collation(comparator).unused_numbers(UnusedNumbers::Ignore).filters(filters)
}

/// How far a search in several mailboxes has come.
pub(super) enum Progress {
    /// The slice is over.
    More,
    /// This mailbox was searched.
    Found(Box<Found>),
    /// All mailboxes were searched.
    Complete,
}

impl MultiSearch {
    /// Searches until a mailbox has matches, or the slice is over.
    pub(super) fn run(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<Progress> {
        loop {
            match self.step(store, slice) {
                Ok(Some(progress)) => return Ok(progress),
                Ok(None) => {}
                // The mailbox was deleted in the meantime.
                Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) if self.current.is_some() => {
                    self.current = None;
                }
                Err(error) => return Err(error),
            }
            if slice.is_over() {
                return Ok(Progress::More);
            }
        }
    }

    fn step(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<Option<Progress>> {
        let Some(mut current) = self.current.take() else {
            if let Some(mailbox) = self.mailboxes.pop_front() {
                self.begin(store, mailbox)?;
                return Ok(None);
            }
            return Ok(if self.read_mailboxes(store)? { None } else { Some(Progress::Complete) });
        };
        match &mut current.step {
            Step::Uids { uids, next, below } => {
                let page = match store.uid_page(current.mailbox.id, *next, *below, UID_PAGE) {
                    Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => return Ok(None),
                    page => page?,
                };
                uids.extend(page.uids);
                match page.next {
                    Some(from) => *next = from,
                    None => {
                        let view = MailboxView::new(std::mem::take(uids));
                        current.step =
                            self.search(store, (current.mailbox.id, current.owner), &view, &UidSet::all())?;
                    }
                }
                self.current = Some(current);
                Ok(None)
            }
            Step::Search { search, .. } => match search.run(store, slice) {
                Ok(false) => {
                    self.current = Some(current);
                    Ok(Some(Progress::More))
                }
                Ok(true) => Ok(self.found(current)),
                Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Returns the results of a mailbox, if the session has to do something with them.
    fn found(&self, current: Current) -> Option<Progress> {
        let Current { mailbox, uid_validity, step, .. } = current;
        let Step::Search { search, query, email_ids } = step else { return None };
        let results = search.into_results();
        let is_selected = self.selected.as_ref().is_some_and(|(selected, _)| *selected == mailbox.id);
        let is_needed = !results.matches.uids().is_empty() || results.unread.count > 0 || is_selected;
        let found = Found { mailbox, uid_validity, results, query, email_ids };
        is_needed.then(|| Progress::Found(Box::new(found)))
    }

    /// Reads the next mailboxes. Returns false if there are none.
    fn read_mailboxes(&mut self, store: &dyn Store) -> mailstore::Result<bool> {
        if self.are_all_read {
            return self.read_shared(store);
        }
        let selected = self.selected.as_ref().map(|(selected, _)| *selected);
        let page = MailboxAccess::new(self.account).own_page(store, &self.after, MAILBOX_PAGE)?;
        self.are_all_read = page.len() < MAILBOX_PAGE;
        if let Some(last) = page.last() {
            self.after.clone_from(&last.name);
        }
        let wanted =
            page.into_iter().filter(|mailbox| !mailbox.no_select && self.sources.contains(mailbox, selected));
        let owner = self.account;
        self.mailboxes = wanted.map(|mailbox| OwnedMailbox { mailbox, owner }).collect();
        if self.sources.is_selected_only() && !self.mailboxes.is_empty() {
            self.are_all_read = true;
            self.shared_after = Some(AccountId(i64::MAX));
        }
        Ok(true)
    }

    /// Reads the mailboxes that the next other account shares. Returns false if there are none.
    fn read_shared(&mut self, store: &dyn Store) -> mailstore::Result<bool> {
        let after = self.shared_after.unwrap_or(AccountId(0));
        let access = MailboxAccess::new(self.account);
        let Some((account, shared)) = access.next_shared(store, after, Rights::READ)? else {
            return Ok(false);
        };
        self.shared_after = Some(account.id);
        let selected = self.selected.as_ref().map(|(selected, _)| *selected);
        for SharedMailbox { mailbox, rights } in shared {
            let is_known = rights.contains(Rights::LOOKUP) || selected == Some(mailbox.id);
            if is_known && !mailbox.no_select && self.sources.contains_shared(&mailbox, selected) {
                self.mailboxes.push_back(OwnedMailbox { mailbox, owner: account.id });
            }
        }
        Ok(true)
    }

    /// Starts to search a mailbox.
    fn begin(&mut self, store: &dyn Store, next: OwnedMailbox) -> mailstore::Result<()> {
        let OwnedMailbox { mailbox, owner } = next;
        let status = match store.status(mailbox.id) {
            Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => return Ok(()),
            status => status?,
        };
        let selected = self.selected.as_ref().filter(|(selected, _)| *selected == mailbox.id);
        let step = match selected {
            // The client searches what it knows of the mailbox.
            Some((_, view)) => self.search(store, (mailbox.id, owner), view, &uid_set(view.uid_range()))?,
            None if self.needs_view => Step::Uids { uids: UidBitmap::new(), next: 1, below: status.uid_next },
            None => self.search(store, (mailbox.id, owner), &MailboxView::default(), &UidSet::all())?,
        };
        self.current = Some(Current { mailbox, owner, uid_validity: status.uid_validity, step });
        Ok(())
    }

    fn options(&self) -> SearchOptions<'_> {
        search_options(self.comparator, &self.filters)
    }

    fn search(
        &self,
        store: &dyn Store,
        (mailbox, owner): (MailboxId, AccountId),
        view: &MailboxView,
        among: &UidSet,
    ) -> mailstore::Result<Step> {
        let query = SearchQuery::with_options(self.command.view().keys, view, self.now, &self.options());
        let query = query.map_err(|_| mailstore::Error::Limit("the search keys are too large"))?;
        let scores = self.returns.scores();
        let query = Arc::new(scores.prepare(query).map_err(mailstore::Error::Limit)?);
        let find = |id: &str| store.find_email_id(owner, id);
        let email_ids: EmailIds = query.email_ids().into_iter().map(|id| (id.to_owned(), find(id))).collect();
        let needed = self.returns.needed();
        let collector = Collector::for_search(scores, || self.memory.reserve(self.account));
        let search = Search::new(mailbox, among, Arc::clone(&query), email_ids.clone(), needed, collector);
        Ok(Step::Search { search: Box::new(search), query, email_ids })
    }
}

#[cfg(test)]
mod tests {
    use proto_imap::types::MailboxName;

    use super::*;

    fn mailbox(name: &str) -> Mailbox {
        Mailbox {
            id: MailboxId(1),
            name: name.to_owned(),
            special_use: None,
            no_select: false,
            has_children: false,
            subscribed: false,
        }
    }

    #[test]
    fn sources_name_mailboxes_and_trees() {
        let names = ["inbox", "Work/"].map(MailboxName::new);
        let names = LazyList::new(&names);
        let of = |filter| Sources::new(LazyList::new(&[filter]), NameEncoding::Utf8).unwrap();
        for (filter, found) in [
            (MailboxFilter::Mailboxes(names), &["INBOX", "Work"][..]),
            (MailboxFilter::SubtreeOne(names), &["INBOX", "INBOX/a", "Work", "Work/a"]),
            (MailboxFilter::Subtree(names), &["INBOX", "INBOX/a", "INBOX/a/b", "Work", "Work/a"]),
            (MailboxFilter::Inboxes, &["INBOX"]),
            (MailboxFilter::Selected, &[]),
        ] {
            let sources = of(filter);
            let all = ["INBOX", "INBOX/a", "INBOX/a/b", "Inboxes", "Work", "Work/a", "Workshop", "a/Work"];
            let contained: Vec<_> =
                all.into_iter().filter(|name| sources.contains(&mailbox(name), None)).collect();
            assert_eq!(contained, found, "{filter:?}");
        }
    }
}
