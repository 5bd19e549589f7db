//! LIST, LSUB and NAMESPACE (RFC 9051 §6.3.9, §6.3.10, RFC 3501 §6.3.9, RFC 5258, RFC 5819, RFC 6154).
//!
//! The response is produced page by page, in the order of the names, as the client reads it. A session holds one page
//! and the position at which the next one starts. A parent of selected names is listed before the first of them.

use std::ops::Range;
use std::sync::Arc;

use io_mio::{JobStep, Next, Slice};
use mailstore::{AccountId, Mailbox as Stored, NameSelection, Status, Store, Subscription};
use proto_imap::server::Reply;
use proto_imap::types::{
    ExtendedItem, IString, LazyList, ListResponse, MailboxAttribute, MailboxName, Namespace, Namespaces,
    Untagged,
};
use proto_imap::types::{ListCommand as ListOf, ListReturn, ListSelection, LsubCommand, StatusAttribute};

use super::pattern::{DELIMITER, Pattern, above};
use super::{Session, Turn, Work, bad, encoding, go_on, mailbox, name, no_name, refuse_for, too_much};

/// The maximum number of patterns in one LIST, and their maximum total length in bytes.
const PATTERN_LIMIT: usize = 100;
const PATTERN_BYTES_LIMIT: usize = 8 * 1024;

/// A page is complete at this many bytes of names, or this many names.
const PAGE_BYTES: usize = 64 * 1024;
const PAGE: usize = 500;

/// The number of mailboxes read at a time.
const CHUNK: usize = 128;

/// What a LIST or LSUB requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Question {
    patterns: Vec<Pattern>,
    subscribed: bool,
    special_use: bool,
    recursive: bool,
    /// The items of STATUS to return for each mailbox.
    status: Vec<StatusAttribute>,
    /// Whether the command is LSUB.
    lsub: bool,
}

/// A LIST whose response is being written.
pub(super) struct Listing {
    account: AccountId,
    reply: Reply,
    question: Arc<Question>,
    place: Place,
}

/// The position at which the next page starts.
#[derive(Debug, Default)]
struct Place {
    /// The last name that was read.
    after: String,
    /// The last name that was selected.
    selected: String,
}

/// One page of the response.
struct Page {
    answers: Vec<Answer>,
    /// The start of the next page; `None` on the last page.
    next: Option<Place>,
}

/// The response for one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    name: String,
    attributes: Vec<MailboxAttribute<'static>>,
    /// Whether a mailbox below this one was selected (`CHILDINFO`).
    for_child: bool,
    status: Option<Status>,
}

impl Session {
    pub(super) fn list(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: ListOf<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(reference) = name(arguments.reference, turn) else { return no_name(reply, turn) };
        let patterns: Option<Vec<_>> =
            arguments.patterns.iter().map(|pattern| name(pattern.as_mailbox(), turn)).collect();
        let Some(patterns) = patterns else { return no_name(reply, turn) };
        let bytes: usize = patterns.iter().map(|pattern| reference.len() + pattern.len()).sum();
        if patterns.len() > PATTERN_LIMIT || bytes > PATTERN_BYTES_LIMIT {
            return too_much(reply, "too many patterns, or they are too long", turn);
        }
        let mut question = Question::default();
        for selection in arguments.selection.iter() {
            match selection {
                ListSelection::Subscribed => question.subscribed = true,
                ListSelection::SpecialUse => question.special_use = true,
                ListSelection::RecursiveMatch => question.recursive = true,
                _ => {}
            }
        }
        if question.recursive && !question.subscribed && !question.special_use {
            return bad(reply, "RECURSIVEMATCH needs another selection", turn);
        }
        for wanted in arguments.returns.iter() {
            if let ListReturn::Status(attributes) = wanted {
                question.status = attributes.iter().collect();
            }
        }
        let is_delimiter_asked =
            patterns == [""] && arguments.selection.is_empty() && arguments.returns.is_empty();
        if is_delimiter_asked {
            let listed = listed(&[MailboxAttribute::NoSelect], IString::EMPTY, &[]);
            return match turn.machine.data(&Untagged::List(listed), turn.tx) {
                Ok(()) => self.finish(reply, "completed", turn),
                Err(error) => go_on(Err(error)),
            };
        }
        question.patterns = patterns.iter().map(|pattern| Pattern::new(&reference, pattern)).collect();
        self.list_on(Listing { account, reply, question: Arc::new(question), place: Place::default() }, turn)
    }

    pub(super) fn lsub(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: LsubCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let (Some(reference), Some(pattern)) =
            (name(arguments.reference, turn), name(arguments.pattern.as_mailbox(), turn))
        else {
            return no_name(reply, turn);
        };
        if reference.len() + pattern.len() > PATTERN_BYTES_LIMIT {
            return too_much(reply, "the pattern is too long", turn);
        }
        let patterns = vec![Pattern::new(&reference, &pattern)];
        let question = Question { patterns, subscribed: true, lsub: true, ..Question::default() };
        self.list_on(Listing { account, reply, question: Arc::new(question), place: Place::default() }, turn)
    }

    /// Continues with the next page, because the client has read the previous one.
    pub(super) fn list_drained(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        match std::mem::replace(&mut self.work, Work::None) {
            Work::List(listing) => self.list_on(*listing, turn),
            other => {
                self.work = other;
                self.resting()
            }
        }
    }

    fn list_on(&mut self, listing: Listing, turn: &mut Turn<'_, '_>) -> Next {
        let Listing { account, reply, question, mut place } = listing;
        let asked = Arc::clone(&question);
        self.ask_in_slices(
            turn,
            move |store, slice| {
                JobStep::Done(page(store, account, &asked, std::mem::take(&mut place), slice))
            },
            move |session, found, turn| match found {
                Ok(page) => {
                    let limit = session.site.limits().message;
                    let put = page.answers.iter().try_for_each(|answer| put(answer, &question, limit, turn));
                    match (put, page.next) {
                        (Err(error), _) => go_on(Err(error)),
                        (Ok(()), None) => session.finish(reply, "completed", turn),
                        (Ok(()), Some(place)) => {
                            session.work = Work::List(Box::new(Listing { account, reply, question, place }));
                            Next::More
                        }
                    }
                }
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }
}

/// Answers NAMESPACE: all mailboxes belong to the user.
pub(super) fn namespace(reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
    let personal =
        [Namespace { prefix: IString::EMPTY, delimiter: Some(DELIMITER), extensions: IString::EMPTY }];
    let data = Namespaces {
        personal: LazyList::new(&personal),
        other_users: LazyList::EMPTY,
        shared: LazyList::EMPTY,
    };
    match turn.machine.data(&Untagged::Namespace(data), turn.tx) {
        Ok(()) => super::done(reply, "completed", turn),
        Err(error) => go_on(Err(error)),
    }
}

/// Produces the responses after a position, as many as fit in a page and a slice. Reads at least one name.
fn page(
    store: &dyn Store,
    account: AccountId,
    question: &Question,
    mut place: Place,
    slice: &Slice,
) -> mailstore::Result<Page> {
    let mut answers = Answers { store, account, question, found: Vec::new(), bytes: 0 };
    loop {
        let names = question.read(store, account, &place.after)?;
        let is_last = names.len() < CHUNK;
        for name in names {
            if question.is_selected(&name) {
                answers.add_levels(&name.name, &place.selected)?;
                answers.add_selected(&name)?;
                place.selected.clone_from(&name.name);
            }
            place.after = name.name;
            if answers.is_full() || slice.is_over() {
                return Ok(Page { answers: answers.found, next: Some(place) });
            }
        }
        if is_last {
            return Ok(Page { answers: answers.found, next: None });
        }
    }
}

impl Question {
    /// Reads the next names that may be selected, with their mailboxes. Fewer than [`CHUNK`] means that these are the
    /// last.
    fn read(
        &self,
        store: &dyn Store,
        account: AccountId,
        after: &str,
    ) -> mailstore::Result<Vec<Subscription>> {
        if self.subscribed {
            return store.subscriptions_page(account, after, CHUNK);
        }
        let mailboxes = store.list_page(account, after, CHUNK)?;
        let with_name = |mailbox: Stored| Subscription { name: mailbox.name.clone(), mailbox: Some(mailbox) };
        Ok(mailboxes.into_iter().map(with_name).collect())
    }

    /// Returns whether the selection options select a name that [`read`](Self::read) returned. Ignores the patterns.
    fn is_selected(&self, name: &Subscription) -> bool {
        !self.special_use || name.mailbox.as_ref().is_some_and(|mailbox| mailbox.special_use.is_some())
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
    fn asks_for_levels(&self) -> bool {
        self.recursive || self.lsub && self.patterns.iter().any(Pattern::ends_with_level)
    }

    fn matches(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

/// A page under construction.
struct Answers<'s> {
    store: &'s dyn Store,
    account: AccountId,
    question: &'s Question,
    found: Vec<Answer>,
    /// The total length of the names in bytes.
    bytes: usize,
}

impl Answers<'_> {
    /// Adds the responses for the parents of a selected name.
    ///
    /// Names below one parent are adjacent, so the first of them is the one whose predecessor is not below that
    /// parent.
    fn add_levels(&mut self, name: &str, selected_before: &str) -> mailstore::Result<()> {
        if !self.question.asks_for_levels() {
            return Ok(());
        }
        let mut levels: Vec<&str> = above(name)
            .take_while(|level| !is_below(selected_before, level))
            .filter(|level| self.question.matches(level))
            .collect();
        levels.reverse();
        for level in levels {
            // A parent that is itself selected is listed at its own position.
            if self.selects(level..&format!("{level}\0"))? {
                continue;
            }
            let mailbox = match self.store.mailbox(self.account, level) {
                Ok(mailbox) => Some(mailbox),
                Err(mailstore::Error::NotFound(_)) => None,
                Err(error) => return Err(error),
            };
            let attributes = match self.question.lsub {
                true => vec![MailboxAttribute::NoSelect],
                false => attributes(mailbox.as_ref(), false, self.question),
            };
            self.add(level, mailbox.as_ref(), attributes, self.question.recursive);
        }
        Ok(())
    }

    /// Adds the response for a selected name, if it matches.
    fn add_selected(&mut self, name: &Subscription) -> mailstore::Result<()> {
        let Subscription { name, mailbox } = name;
        if !self.question.matches(name) {
            return Ok(());
        }
        let for_child =
            self.question.recursive && self.selects(&*format!("{name}/")..&*format!("{name}0"))?;
        let attributes = attributes(mailbox.as_ref(), self.question.subscribed, self.question);
        self.add(name, mailbox.as_ref(), attributes, for_child);
        Ok(())
    }

    fn add(
        &mut self,
        name: &str,
        mailbox: Option<&Stored>,
        attributes: Vec<MailboxAttribute<'static>>,
        for_child: bool,
    ) {
        let selectable = mailbox.filter(|mailbox| !mailbox.no_select && !self.question.status.is_empty());
        // A mailbox that was deleted in the meantime has no status.
        let status = selectable.and_then(|mailbox| self.store.status(mailbox.id).ok());
        self.bytes += name.len();
        self.found.push(Answer { name: name.to_owned(), attributes, for_child, status });
    }

    fn selects(&self, names: Range<&str>) -> mailstore::Result<bool> {
        match self.question.selection() {
            Some(selection) => self.store.selects(self.account, selection, names),
            None => Ok(false),
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= PAGE_BYTES || self.found.len() >= PAGE
    }
}

/// Returns whether a name is below a level.
fn is_below(name: &str, level: &str) -> bool {
    name.strip_prefix(level).is_some_and(|rest| rest.starts_with(DELIMITER))
}

fn attributes(
    mailbox: Option<&Stored>,
    subscribed: bool,
    question: &Question,
) -> Vec<MailboxAttribute<'static>> {
    let mut attributes = Vec::new();
    match mailbox {
        None if question.lsub => attributes.push(MailboxAttribute::NoSelect),
        None => attributes.push(MailboxAttribute::NonExistent),
        Some(mailbox) => {
            if mailbox.no_select {
                attributes.push(MailboxAttribute::NoSelect);
            }
            if !question.lsub {
                attributes.push(if mailbox.has_children {
                    MailboxAttribute::HasChildren
                } else {
                    MailboxAttribute::HasNoChildren
                });
                attributes.extend(mailbox.special_use.map(special_use));
            }
        }
    }
    if !question.lsub && (subscribed || mailbox.is_some_and(|mailbox| mailbox.subscribed)) {
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

pub(super) fn listed<'a>(
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

fn put(
    answer: &Answer,
    question: &Question,
    append_limit: u64,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_mail::Error> {
    let bytes = MailboxName::new(&answer.name).to_bytes(encoding(turn.machine));
    let selected_by = if question.subscribed { &b"(\"SUBSCRIBED\")"[..] } else { b"(\"SPECIAL-USE\")" };
    let child_info = [ExtendedItem { name: IString::new(b"CHILDINFO"), value: IString::new(selected_by) }];
    let extended = if answer.for_child { &child_info[..] } else { &[] };
    let listed = listed(&answer.attributes, IString::new(&bytes), extended);
    let data = if question.lsub { Untagged::Lsub(listed) } else { Untagged::List(listed) };
    turn.machine.data(&data, turn.tx)?;
    match &answer.status {
        Some(status) => mailbox::put_status(&answer.name, status, &question.status, append_limit, turn),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

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
        question: &Question,
        slice: &Slice,
    ) -> Vec<Answer> {
        let (mut answers, mut next) = (Vec::new(), Some(Place::default()));
        while let Some(place) = next {
            let page = page(store, account, question, place, slice).unwrap();
            answers.extend(page.answers);
            next = page.next;
        }
        answers
    }

    /// Returns the response for the mailboxes INBOX, Sent, a (`\Noselect`) and a/b, and the subscriptions a/b and
    /// gone/x.
    fn answers(question: Question) -> Vec<(String, Vec<MailboxAttribute<'static>>)> {
        let (_directory, store, account) = store();
        for mailbox in store.list(account).unwrap() {
            store.unsubscribe(account, &mailbox.name).unwrap();
            if !["INBOX", "Sent"].contains(&mailbox.name.as_str()) {
                store.delete_mailbox(account, &mailbox.name).unwrap();
            }
        }
        store.create_mailbox(account, "a/b", None).unwrap();
        store.delete_mailbox(account, "a").unwrap();
        store.subscribe(account, "a/b").unwrap();
        store.subscribe(account, "gone/x").unwrap();
        let answers = pages(&store, account, &question, &Slice::lasting(Duration::from_secs(60)));
        answers.into_iter().map(|answer| (answer.name, answer.attributes)).collect()
    }

    fn question(pattern: &str) -> Question {
        Question { patterns: vec![Pattern::new("", pattern)], ..Question::default() }
    }

    fn names(question: Question) -> Vec<String> {
        answers(question).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn lists_matches_with_their_attributes() {
        assert_eq!(names(question("*")), ["INBOX", "Sent", "a", "a/b"]);
        assert_eq!(names(question("%")), ["INBOX", "Sent", "a"]);
        let found = answers(question("%"));
        assert_eq!(found[1].1, [MailboxAttribute::HasNoChildren, MailboxAttribute::Sent]);
        assert_eq!(found[2].1, [MailboxAttribute::NoSelect, MailboxAttribute::HasChildren]);
        assert_eq!(names(Question { special_use: true, ..question("*") }), ["Sent"]);
    }

    #[test]
    fn pages_of_any_length_join_to_the_same_response() {
        let (_directory, store, account) = store();
        for number in 0..150 {
            store.create_mailbox(account, &format!("box {number}/inner"), None).unwrap();
        }
        store.subscribe(account, "box 7/inner").unwrap();
        let names = |question: &Question, slice: &Slice| -> Vec<String> {
            let answers = pages(&store, account, question, slice);
            answers.into_iter().map(|answer| answer.name).collect()
        };
        for (question, count) in [
            (question("*"), 306),
            (question("%"), 156),
            (Question { status: vec![StatusAttribute::Messages], ..question("box 1%/%") }, 61),
            (Question { subscribed: true, recursive: true, ..question("*") }, 8),
            (Question { subscribed: true, lsub: true, ..question("%") }, 7),
        ] {
            let long = names(&question, &Slice::lasting(Duration::from_secs(60)));
            let short = names(&question, &Slice::lasting(Duration::ZERO));
            assert_eq!(short, long);
            assert_eq!(long.len(), count, "{question:?} {long:?}");
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
            |pattern| Question { subscribed: true, recursive: true, ..question(&format!("{pattern}*")) };
        let long = Slice::lasting(Duration::from_secs(60));
        let found = |question: Question| -> Vec<(String, bool)> {
            let short = pages(&store, account, &question, &Slice::lasting(Duration::ZERO));
            assert_eq!(pages(&store, account, &question, &long), short);
            let mut found: Vec<_> = short.into_iter().map(|answer| (answer.name, answer.for_child)).collect();
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
        for question in [
            Question { subscribed: true, recursive: true, ..question("%") },
            Question { subscribed: true, lsub: true, ..question("%") },
        ] {
            let answers = pages(&store, account, &question, &Slice::lasting(Duration::ZERO));
            assert_eq!(answers.len(), 3_006);
        }
        // Takes about a second without optimization, even with one page per name.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }

    #[test]
    fn lists_subscriptions_without_a_mailbox() {
        let found = answers(Question { subscribed: true, ..question("*") });
        assert_eq!(
            found[0],
            ("a/b".to_owned(), vec![MailboxAttribute::HasNoChildren, MailboxAttribute::Subscribed])
        );
        assert_eq!(
            found[1],
            ("gone/x".to_owned(), vec![MailboxAttribute::NonExistent, MailboxAttribute::Subscribed])
        );
        let recursive = Question { subscribed: true, recursive: true, ..question("%") };
        assert_eq!(names(recursive), ["a", "gone"]);
    }

    #[test]
    fn lsub_lists_parents_of_subscribed_names() {
        let lsub = |pattern| Question { subscribed: true, lsub: true, ..question(pattern) };
        assert_eq!(
            answers(lsub("%")),
            [
                ("a".to_owned(), vec![MailboxAttribute::NoSelect]),
                ("gone".to_owned(), vec![MailboxAttribute::NoSelect])
            ]
        );
        assert_eq!(names(lsub("*")), ["a/b", "gone/x"]);
    }
}
