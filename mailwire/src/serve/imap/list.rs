//! LIST, LSUB and NAMESPACE (RFC 9051 §6.3.9, §6.3.10, RFC 3501 §6.3.9, RFC 5258, RFC 5819, RFC 6154).
//!
//! This file knows which mailboxes a LIST selects and what it tells of each. The mailboxes themselves come from the
//! store, all of an account at once: an account has few.

use std::collections::{BTreeMap, BTreeSet};

use io_mio::Next;
use mailstore::{AccountId, Mailbox as Stored, Status, Store};
use proto_imap::server::Reply;
use proto_imap::types::arguments::{List as ListOf, ListReturn, ListSelection, Lsub, StatusAttribute};
use proto_imap::types::{
    Attribute, ExtendedItem, IString, List, ListedMailbox, Mailbox, Namespace, Namespaces, Untagged,
};

use super::pattern::{DELIMITER, Pattern, above};
use super::{Session, Turn, bad, encoding, go_on, mailbox, name, no_name, refuse_for};

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
        self.answer_list(account, reply, question, turn)
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
        let patterns = vec![Pattern::new(&reference, &pattern)];
        let question = Question { patterns, subscribed: true, lsub: true, ..Question::default() };
        self.answer_list(account, reply, question, turn)
    }

    fn answer_list(
        &mut self,
        account: AccountId,
        reply: Reply,
        question: Question,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        self.ask(
            turn,
            move |store| look_up(store, account, &question).map(|answers| (answers, question)),
            move |session, found, turn| match found {
                Ok((answers, question)) => {
                    let limit = session.site.limits().message;
                    let put = answers.iter().try_for_each(|answer| put(answer, &question, limit, turn));
                    match put {
                        Ok(()) => session.finish(reply, "done", turn),
                        Err(error) => go_on(Err(error)),
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

fn look_up(store: &dyn Store, account: AccountId, question: &Question) -> mailstore::Result<Vec<Answer>> {
    let mailboxes = store.list(account)?;
    let subscriptions = if question.subscribed { store.subscriptions(account)? } else { Vec::new() };
    let mut answers = select(&mailboxes, &subscriptions, question);
    if !question.status.is_empty() {
        for answer in &mut answers {
            let found = mailboxes.iter().find(|mailbox| mailbox.name == answer.name && !mailbox.no_select);
            if let Some(mailbox) = found {
                // A mailbox that went meanwhile has no figures.
                answer.status = store.status(mailbox.id).ok();
            }
        }
    }
    Ok(answers)
}

/// Which mailboxes are answered, by name.
fn select(mailboxes: &[Stored], subscriptions: &[String], question: &Question) -> Vec<Answer> {
    let matches = |name: &str| question.patterns.iter().any(|pattern| pattern.matches(name));
    let known: BTreeMap<&str, &Stored> =
        mailboxes.iter().map(|mailbox| (mailbox.name.as_str(), mailbox)).collect();
    let selected: BTreeSet<&str> = known
        .keys()
        .copied()
        .chain(subscriptions.iter().map(String::as_str))
        .filter(|name| !question.subscribed || subscriptions.iter().any(|one| one == name))
        .filter(|name| {
            !question.special_use || known.get(name).is_some_and(|mailbox| mailbox.special_use.is_some())
        })
        .collect();
    // Levels above what was selected that match by themselves.
    let levels =
        question.recursive || question.lsub && question.patterns.iter().any(Pattern::ends_with_level);
    let parents: BTreeSet<&str> = match levels {
        true => selected.iter().copied().flat_map(above).filter(|name| matches(name)).collect(),
        false => BTreeSet::new(),
    };
    let mut names: BTreeSet<&str> = selected.iter().copied().filter(|name| matches(name)).collect();
    let own = names.clone();
    names.extend(&parents);
    names
        .into_iter()
        .map(|name| {
            let mailbox = known.get(name).copied();
            let subscribed = question.subscribed && own.contains(name);
            let mut attributes = attributes(mailbox, subscribed, question);
            if question.lsub && !own.contains(name) {
                attributes = vec![Attribute::NoSelect];
            }
            let for_child = question.recursive && parents.contains(name);
            Answer { name: name.to_owned(), attributes, for_child, status: None }
        })
        .collect()
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
        let found = select(&mailboxes, subscriptions, &question);
        found.into_iter().map(|answer| (answer.name, answer.attributes)).collect()
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
