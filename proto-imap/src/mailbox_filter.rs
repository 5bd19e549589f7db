//! Sets of mailboxes, as NOTIFY and a search over several mailboxes name them (RFC 5465 §6 `filter-mailboxes`, RFC 7377 §2.2).

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{Element, LazyList, one_or_more};
use crate::grammar::owned::owned_enum;
use crate::grammar::primitive::{sp, taken};
use crate::grammar::{Attempt, Context, Parsed, expected};
use crate::mailbox_name::MailboxName;
use crate::mailbox_name::parse::mailbox;

/// A set of mailboxes (RFC 5465 `filter-mailboxes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailboxFilter<'i> {
    /// `selected`: the selected mailbox.
    Selected,
    /// `selected-delayed`: the selected mailbox, whose expunged messages are reported only during commands that do not use
    /// sequence numbers. In NOTIFY only.
    SelectedDelayed,
    /// `inboxes`: every mailbox into which messages may be delivered.
    Inboxes,
    /// `personal`: every mailbox of the user's own.
    Personal,
    /// `subscribed`: every mailbox to which the user has subscribed.
    Subscribed,
    /// `subtree`: these mailboxes and all mailboxes below them.
    Subtree(LazyList<'i, MailboxName<'i>>),
    /// `subtree-one`: these mailboxes and the mailboxes one level below them (RFC 7377 §2.2).
    SubtreeOne(LazyList<'i, MailboxName<'i>>),
    /// `mailboxes`: these mailboxes. There are no wildcards.
    Mailboxes(LazyList<'i, MailboxName<'i>>),
}

/// `filter-mailboxes = "selected" / "inboxes" / "personal" / "subscribed" / ("subtree" / "subtree-one" / "mailboxes")
/// SP one-or-more-mailbox`
pub(crate) fn filter_mailboxes<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MailboxFilter<'i>> {
    let end = i.iter().position(|byte| !(byte.is_ascii_alphabetic() || *byte == b'-')).unwrap_or(i.len());
    let (name, rest) = i.split_at(end);
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    let plain = match () {
        () if is(b"selected") => MailboxFilter::Selected,
        () if is(b"selected-delayed") => MailboxFilter::SelectedDelayed,
        () if is(b"inboxes") => MailboxFilter::Inboxes,
        () if is(b"personal") => MailboxFilter::Personal,
        () if is(b"subscribed") => MailboxFilter::Subscribed,
        () => {
            let make = match () {
                () if is(b"subtree") => MailboxFilter::Subtree,
                () if is(b"subtree-one") => MailboxFilter::SubtreeOne,
                () if is(b"mailboxes") => MailboxFilter::Mailboxes,
                () => return expected(i, "a set of mailboxes"),
            };
            let (rest, names) = one_or_more_mailbox(sp(rest, cx)?.0, cx)?;
            return Ok((rest, make(names)));
        }
    };
    Ok((rest, plain))
}

/// `one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"`
fn one_or_more_mailbox<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, MailboxName<'i>>> {
    if i.first() == Some(&b'(') {
        return one_or_more(i, cx, mailbox);
    }
    let (rest, _) = mailbox(i, cx)?;
    Ok((rest, LazyList::wire(taken(i, rest), Attempt::First)))
}

impl Sealed for MailboxFilter<'_> {}

impl<'i> Element<'i> for MailboxFilter<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        filter_mailboxes(i, cx).ok()
    }
}

impl Sealed for MailboxName<'_> {}

impl<'i> Element<'i> for MailboxName<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        mailbox(i, cx).ok()
    }
}

impl<S: CommandSink> Writer<'_, S> {
    /// `filter-mailboxes`
    pub(crate) fn mailbox_filter(&mut self, filter: MailboxFilter<'_>) -> Written {
        let (word, names): (&[u8], _) = match filter {
            MailboxFilter::Selected => (b"selected", None),
            MailboxFilter::SelectedDelayed => (b"selected-delayed", None),
            MailboxFilter::Inboxes => (b"inboxes", None),
            MailboxFilter::Personal => (b"personal", None),
            MailboxFilter::Subscribed => (b"subscribed", None),
            MailboxFilter::Subtree(names) => (b"subtree", Some(names)),
            MailboxFilter::SubtreeOne(names) => (b"subtree-one", Some(names)),
            MailboxFilter::Mailboxes(names) => (b"mailboxes", Some(names)),
        };
        self.put(word);
        let Some(names) = names else { return Ok(()) };
        self.put(b" ");
        match (names.iter().next(), names.iter().nth(1)) {
            (None, _) => fault("list of mailboxes", ArgumentFault::Empty),
            (Some(name), None) => self.mailbox(name),
            _ => self.parenthesised(names, Self::mailbox),
        }
    }
}

owned_enum!(MailboxFilter { Selected, SelectedDelayed, Inboxes, Personal, Subscribed, Subtree(a), SubtreeOne(a), Mailboxes(a) });
