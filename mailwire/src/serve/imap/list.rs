//! LIST, LSUB and NAMESPACE (RFC 9051 §6.3.9, §6.3.10, RFC 3501 §6.3.9, RFC 5258, RFC 5819, RFC 6154).
//!
//! This file knows which mailboxes a LIST selects and what it tells of each. The answer is made page by page, in the
//! order of the names, as the client takes it: a session holds one page, and the place where the next one starts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use io_mio::{Next, Slice, Step};
use mailstore::{AccountId, Mailbox as Stored, Status, Store};
use proto_imap::server::Reply;
use proto_imap::types::arguments::{List as ListOf, ListReturn, ListSelection, Lsub, StatusAttribute};
use proto_imap::types::{
    Attribute, ExtendedItem, IString, List, ListedMailbox, Mailbox, Namespace, Namespaces, Untagged,
};

use super::pattern::{DELIMITER, Pattern, above};
use super::{Session, Turn, Work, bad, encoding, go_on, mailbox, name, no_name, refuse_for, too_much};

/// The most patterns of one LIST, and the most bytes of them together.
const PATTERN_LIMIT: usize = 100;
const PATTERN_BYTES_LIMIT: usize = 8 * 1024;

/// A page ends once its names have this many bytes, or there are this many of them.
const PAGE_BYTES: usize = 64 * 1024;
const PAGE: usize = 500;

/// How many mailboxes are read at a time.
const CHUNK: usize = 128;

/// What a LIST asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Question {
    patterns: Vec<Pattern>,
    subscribed: bool,
    special_use: bool,
    recursive: bool,
    /// Which figures to tell too.
    status: Vec<StatusAttribute>,
    /// Whether it is an LSUB.
    lsub: bool,
}

/// A LIST on its way.
pub(super) struct Listing {
    account: AccountId,
    reply: Reply,
    question: Arc<Question>,
    /// The last name that was looked at.
    after: Option<String>,
}

/// Some of what a LIST answers.
struct Page {
    answers: Vec<Answer>,
    /// The last name that was looked at, if there are more.
    last: Option<String>,
}

/// What a LIST tells of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    name: String,
    attributes: Vec<Attribute<'static>>,
    /// A mailbox below it was selected (`CHILDINFO`).
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
            return too_much(reply, "too many or too long patterns", turn);
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
            let listed = listed(&[Attribute::NoSelect], IString::EMPTY, &[]);
            return match turn.machine.data(&Untagged::List(listed), turn.tx) {
                Ok(()) => self.finish(reply, "done", turn),
                Err(error) => go_on(Err(error)),
            };
        }
        question.patterns = patterns.iter().map(|pattern| Pattern::new(&reference, pattern)).collect();
        self.list_on(Listing { account, reply, question: Arc::new(question), after: None }, turn)
    }

    pub(super) fn lsub(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: Lsub<'_>,
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
        self.list_on(Listing { account, reply, question: Arc::new(question), after: None }, turn)
    }

    /// The client took a page: the next one, please.
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
        let Listing { account, reply, question, mut after } = listing;
        let asked = Arc::clone(&question);
        self.ask_in_slices(
            turn,
            move |store, slice| Step::Done(page(store, account, &asked, after.take(), slice)),
            move |session, found, turn| match found {
                Ok(page) => {
                    let limit = session.site.limits().message;
                    let put = page.answers.iter().try_for_each(|answer| put(answer, &question, limit, turn));
                    match (put, page.last) {
                        (Err(error), _) => go_on(Err(error)),
                        (Ok(()), None) => session.finish(reply, "done", turn),
                        (Ok(()), after) => {
                            session.work = Work::List(Box::new(Listing { account, reply, question, after }));
                            Next::More
                        }
                    }
                }
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }
}

/// NAMESPACE: all mailboxes are the user's own.
pub(super) fn namespace(reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
    let personal =
        [Namespace { prefix: IString::EMPTY, delimiter: Some(DELIMITER), extensions: IString::EMPTY }];
    let data = Namespaces { personal: List::new(&personal), other_users: List::EMPTY, shared: List::EMPTY };
    match turn.machine.data(&Untagged::Namespace(data), turn.tx) {
        Ok(()) => super::done(reply, "done", turn),
        Err(error) => go_on(Err(error)),
    }
}

/// The answers behind a name, as many as fit a page and a slice; at least one name is looked at.
fn page(
    store: &dyn Store,
    account: AccountId,
    question: &Question,
    after: Option<String>,
    slice: &Slice,
) -> mailstore::Result<Page> {
    let mut after = after.unwrap_or_default();
    let (mut answers, mut bytes) = (Vec::new(), 0);
    loop {
        // Subscriptions and levels above a match need to be seen together.
        let by_page = !question.subscribed && !question.recursive && !question.lsub;
        let mailboxes = match by_page {
            true => store.list_page(account, &after, CHUNK)?,
            false => store.list(account)?,
        };
        let is_last = !by_page || mailboxes.len() < CHUNK;
        let subscriptions = if question.subscribed { store.subscriptions(account)? } else { Vec::new() };
        let candidates = Candidates::new(&mailboxes, &subscriptions, question);
        for name in candidates.behind(&after) {
            if let Some(mut answer) = candidates.answer(name, question) {
                let mailbox = candidates.known.get(name).filter(|mailbox| !mailbox.no_select);
                if !question.status.is_empty() {
                    // A mailbox that went meanwhile has no figures.
                    answer.status = mailbox.and_then(|mailbox| store.status(mailbox.id).ok());
                }
                bytes += name.len();
                answers.push(answer);
            }
            if bytes >= PAGE_BYTES || answers.len() >= PAGE || slice.is_over() {
                return Ok(Page { answers, last: Some(name.to_owned()) });
            }
        }
        match mailboxes.last() {
            Some(last) if !is_last => after.clone_from(&last.name),
            _ => return Ok(Page { answers, last: None }),
        }
    }
}

/// The names that a LIST may answer.
struct Candidates<'s> {
    known: BTreeMap<&'s str, &'s Stored>,
    /// Those that the selection options select, whatever the patterns are.
    selected: BTreeSet<&'s str>,
    /// Levels above those, if they may match by themselves.
    levels: BTreeSet<&'s str>,
}

impl<'s> Candidates<'s> {
    fn new(mailboxes: &'s [Stored], subscriptions: &'s [String], question: &Question) -> Self {
        let known: BTreeMap<&str, &Stored> =
            mailboxes.iter().map(|mailbox| (mailbox.name.as_str(), mailbox)).collect();
        let subscribed: BTreeSet<&str> = subscriptions.iter().map(String::as_str).collect();
        let special = |name: &str| known.get(name).is_some_and(|mailbox| mailbox.special_use.is_some());
        let selected: BTreeSet<&str> = known
            .keys()
            .copied()
            .chain(subscribed.iter().copied())
            .filter(|name| !question.subscribed || subscribed.contains(name))
            .filter(|name| !question.special_use || special(name))
            .collect();
        let levels =
            question.recursive || question.lsub && question.patterns.iter().any(Pattern::ends_with_level);
        let levels = match levels {
            true => selected.iter().copied().flat_map(above).collect(),
            false => BTreeSet::new(),
        };
        Self { known, selected, levels }
    }

    /// The names behind `after`, in order.
    fn behind(&self, after: &str) -> impl Iterator<Item = &'s str> {
        let bound = Bound::Excluded(after);
        let mut selected = self.selected.range::<str, _>((bound, Bound::Unbounded)).copied().peekable();
        let mut levels = self.levels.range::<str, _>((bound, Bound::Unbounded)).copied().peekable();
        std::iter::from_fn(move || {
            let next = match (selected.peek(), levels.peek()) {
                (Some(one), Some(other)) => one.min(other),
                (one, other) => one.or(other)?,
            };
            let next = *next;
            selected.next_if_eq(&next);
            levels.next_if_eq(&next);
            Some(next)
        })
    }

    /// What is answered of a name; `None` where it does not match.
    fn answer(&self, name: &str, question: &Question) -> Option<Answer> {
        if !question.patterns.iter().any(|pattern| pattern.matches(name)) {
            return None;
        }
        let own = self.selected.contains(name);
        let mut attributes = attributes(self.known.get(name).copied(), question.subscribed && own, question);
        if question.lsub && !own {
            attributes = vec![Attribute::NoSelect];
        }
        let for_child = question.recursive && self.levels.contains(name);
        Some(Answer { name: name.to_owned(), attributes, for_child, status: None })
    }
}

fn attributes(mailbox: Option<&Stored>, subscribed: bool, question: &Question) -> Vec<Attribute<'static>> {
    let mut attributes = Vec::new();
    match mailbox {
        None if question.lsub => attributes.push(Attribute::NoSelect),
        None => attributes.push(Attribute::NonExistent),
        Some(mailbox) => {
            if mailbox.no_select {
                attributes.push(Attribute::NoSelect);
            }
            if !question.lsub {
                attributes.push(if mailbox.has_children {
                    Attribute::HasChildren
                } else {
                    Attribute::HasNoChildren
                });
                attributes.extend(mailbox.special_use.map(special_use));
            }
        }
    }
    if !question.lsub && (subscribed || mailbox.is_some_and(|mailbox| mailbox.subscribed)) {
        attributes.push(Attribute::Subscribed);
    }
    attributes
}

const fn special_use(special_use: mailstore::SpecialUse) -> Attribute<'static> {
    use mailstore::SpecialUse;
    match special_use {
        SpecialUse::Archive => Attribute::Archive,
        SpecialUse::Drafts => Attribute::Drafts,
        SpecialUse::Junk => Attribute::Junk,
        SpecialUse::Sent => Attribute::Sent,
        SpecialUse::Trash => Attribute::Trash,
    }
}

pub(super) fn listed<'a>(
    attributes: &'a [Attribute<'static>],
    mailbox: IString<'a>,
    extended: &'a [ExtendedItem<'a>],
) -> ListedMailbox<'a> {
    ListedMailbox {
        attributes: List::new(attributes),
        delimiter: Some(DELIMITER),
        mailbox,
        extended: List::new(extended),
    }
}

fn put(
    answer: &Answer,
    question: &Question,
    append_limit: u64,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_core::Error> {
    let octets = Mailbox::new(&answer.name).octets(encoding(turn.machine));
    let selected_by = if question.subscribed { &b"(\"SUBSCRIBED\")"[..] } else { b"(\"SPECIAL-USE\")" };
    let child_info = [ExtendedItem { name: IString::new(b"CHILDINFO"), value: IString::new(selected_by) }];
    let extended = if answer.for_child { &child_info[..] } else { &[] };
    let listed = listed(&answer.attributes, IString::new(&octets), extended);
    let data = if question.lsub { Untagged::Lsub(listed) } else { Untagged::List(listed) };
    turn.machine.data(&data, turn.tx)?;
    match &answer.status {
        Some(status) => mailbox::put_status(&answer.name, status, &question.status, append_limit, turn),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use mailstore::{MailboxId, SpecialUse};

    use super::*;

    fn stored(name: &str) -> Stored {
        Stored {
            id: MailboxId(1),
            name: name.to_owned(),
            special_use: (name == "Sent").then_some(SpecialUse::Sent),
            no_select: name == "a",
            has_children: name == "a",
            subscribed: name == "a/b",
        }
    }

    fn answers(question: Question) -> Vec<(String, Vec<Attribute<'static>>)> {
        let mailboxes: Vec<_> = ["INBOX", "Sent", "a", "a/b"].into_iter().map(stored).collect();
        let subscriptions = ["a/b".to_owned(), "gone/x".to_owned()];
        let subscriptions = if question.subscribed { &subscriptions[..] } else { &[] };
        let candidates = Candidates::new(&mailboxes, subscriptions, &question);
        let answers = candidates.behind("").filter_map(|name| candidates.answer(name, &question));
        answers.map(|answer| (answer.name, answer.attributes)).collect()
    }

    fn question(pattern: &str) -> Question {
        Question { patterns: vec![Pattern::new("", pattern)], ..Question::default() }
    }

    fn names(question: Question) -> Vec<String> {
        answers(question).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_matches_is_told_with_its_attributes() {
        assert_eq!(names(question("*")), ["INBOX", "Sent", "a", "a/b"]);
        assert_eq!(names(question("%")), ["INBOX", "Sent", "a"]);
        let found = answers(question("%"));
        assert_eq!(found[1].1, [Attribute::HasNoChildren, Attribute::Sent]);
        assert_eq!(found[2].1, [Attribute::NoSelect, Attribute::HasChildren]);
        assert_eq!(names(Question { special_use: true, ..question("*") }), ["Sent"]);
    }

    #[test]
    fn pages_of_any_length_join_to_the_same_answer() {
        let directory = tempfile::tempdir().unwrap();
        let store = mailstore::SqliteStore::open(directory.path()).unwrap();
        let account = store.create_account("ann", b"a password").unwrap().id;
        for number in 0..150 {
            store.create_mailbox(account, &format!("box {number}/inner"), None).unwrap();
        }
        store.subscribe(account, "box 7/inner").unwrap();
        let names = |question: &Question, slice: &Slice| {
            let (mut names, mut after) = (Vec::new(), None);
            loop {
                let page = page(&store, account, question, after, slice).unwrap();
                names.extend(page.answers.into_iter().map(|answer| answer.name));
                match page.last {
                    None => return names,
                    last => after = last,
                }
            }
        };
        for (question, count) in [
            (question("*"), 306),
            (question("%"), 156),
            (Question { status: vec![StatusAttribute::Messages], ..question("box 1%/%") }, 61),
            (Question { subscribed: true, recursive: true, ..question("*") }, 8),
            (Question { subscribed: true, lsub: true, ..question("%") }, 7),
        ] {
            let long = names(&question, &Slice::lasting(std::time::Duration::from_secs(60)));
            let short = names(&question, &Slice::lasting(std::time::Duration::ZERO));
            assert_eq!(short, long);
            assert_eq!(long.len(), count, "{question:?} {long:?}");
        }
    }

    #[test]
    fn subscriptions_need_no_mailbox() {
        let found = answers(Question { subscribed: true, ..question("*") });
        assert_eq!(found[0], ("a/b".to_owned(), vec![Attribute::HasNoChildren, Attribute::Subscribed]));
        assert_eq!(found[1], ("gone/x".to_owned(), vec![Attribute::NonExistent, Attribute::Subscribed]));
        let recursive = Question { subscribed: true, recursive: true, ..question("%") };
        assert_eq!(names(recursive), ["a", "gone"]);
    }

    #[test]
    fn lsub_tells_levels_above_what_is_subscribed() {
        let lsub = |pattern| Question { subscribed: true, lsub: true, ..question(pattern) };
        assert_eq!(
            answers(lsub("%")),
            [("a".to_owned(), vec![Attribute::NoSelect]), ("gone".to_owned(), vec![Attribute::NoSelect])]
        );
        assert_eq!(names(lsub("*")), ["a/b", "gone/x"]);
    }
}
