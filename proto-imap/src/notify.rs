//! `NOTIFY`: what a server reports without being asked (RFC 5465).
//!
//! A server reports changes of the selected mailbox as EXISTS, FETCH, EXPUNGE and VANISHED, those of other mailboxes as
//! STATUS, LIST and METADATA. They can arrive at any time.

use crate::fetch_command::FetchAttribute;
use crate::fetch_command::parse::fetch_att;
use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{Element, LazyList, one_or_more};
use crate::grammar::owned::owned_enum;
use crate::grammar::owned::owned_struct;
use crate::grammar::primitive::{atom, close, open, sp, taken, word};
use crate::grammar::string::IString;
use crate::grammar::{Context, Parsed, expected};
use crate::mailbox_filter::{MailboxFilter, filter_mailboxes};

/// `NOTIFY` (RFC 5465 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyCommand<'i> {
    /// `NONE`: the server reports nothing without being asked.
    None,
    /// `SET`: the server reports these events, and no others. At least one group is required.
    Set(LazyList<'i, EventGroup<'i>>),
    /// `SET STATUS`: the same. In addition, the server sends a STATUS response for each of the mailboxes first.
    SetStatus(LazyList<'i, EventGroup<'i>>),
}

/// The events of some mailboxes (RFC 5465 `event-group`).
///
/// A mailbox that belongs to several groups belongs to the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventGroup<'i> {
    /// The mailboxes.
    pub mailboxes: MailboxFilter<'i>,
    /// The events to report. An empty list is written as `NONE`.
    ///
    /// `MessageNew` and `MessageExpunge` are valid only together, and `FlagChange` and `AnnotationChange` only beside them.
    pub events: LazyList<'i, NotifyEvent<'i>>,
}

/// An event (RFC 5465 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyEvent<'i> {
    /// `MessageNew`: a new message. For the selected mailbox, with the attributes to return in a FETCH response.
    MessageNew(LazyList<'i, FetchAttribute<'i>>),
    /// `MessageExpunge`: a message was expunged.
    MessageExpunge,
    /// `FlagChange`: the flags of a message have changed.
    FlagChange,
    /// `AnnotationChange`: the annotations of a message have changed.
    AnnotationChange,
    /// `MailboxName`: a mailbox was created, deleted or renamed.
    MailboxName,
    /// `SubscriptionChange`: a mailbox was subscribed or unsubscribed.
    SubscriptionChange,
    /// `MailboxMetadataChange`: an entry of a mailbox has changed (RFC 5464).
    MailboxMetadataChange,
    /// `ServerMetadataChange`: an entry of the server has changed (RFC 5464).
    ServerMetadataChange,
    /// Any other event. A server that does not support it answers `NO [BADEVENT (...)]`.
    Other(IString<'i>),
}

impl<'i> NotifyEvent<'i> {
    /// Returns the event's name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'i [u8] {
        match self {
            Self::MessageNew(_) => b"MessageNew",
            Self::MessageExpunge => b"MessageExpunge",
            Self::FlagChange => b"FlagChange",
            Self::AnnotationChange => b"AnnotationChange",
            Self::MailboxName => b"MailboxName",
            Self::SubscriptionChange => b"SubscriptionChange",
            Self::MailboxMetadataChange => b"MailboxMetadataChange",
            Self::ServerMetadataChange => b"ServerMetadataChange",
            Self::Other(name) => name.raw(),
        }
    }

    fn from_name(name: &'i [u8]) -> Self {
        let known = [
            Self::MessageNew(LazyList::EMPTY),
            Self::MessageExpunge,
            Self::FlagChange,
            Self::AnnotationChange,
            Self::MailboxName,
            Self::SubscriptionChange,
            Self::MailboxMetadataChange,
            Self::ServerMetadataChange,
        ];
        known
            .into_iter()
            .find(|event| event.name().eq_ignore_ascii_case(name))
            .unwrap_or(Self::Other(IString::atom(name)))
    }

    const fn is_message_event(&self) -> bool {
        matches!(self, Self::MessageNew(_) | Self::MessageExpunge | Self::FlagChange | Self::AnnotationChange)
    }
}

impl<'i> NotifyCommand<'i> {
    /// Returns the groups; none of `NONE`.
    #[must_use]
    pub const fn groups(&self) -> LazyList<'i, EventGroup<'i>> {
        match self {
            Self::None => LazyList::EMPTY,
            Self::Set(groups) | Self::SetStatus(groups) => *groups,
        }
    }

    /// Returns whether the server may report at any time that messages of the selected mailbox are gone (RFC 5465 §5.3).
    pub(crate) fn reports_expunges(&self) -> bool {
        self.groups().iter().any(|group| {
            group.mailboxes == MailboxFilter::Selected
                && group.events.iter().any(|event| event == NotifyEvent::MessageExpunge)
        })
    }

    /// Returns the rule that the command breaks (RFC 5465 §5, §6.1, §8).
    fn contradiction(&self) -> Option<&'static str> {
        if self.groups().iter().filter(EventGroup::is_of_selected).nth(1).is_some() {
            return Some("the selected mailbox only once");
        }
        self.groups().iter().find_map(|group| group.contradiction())
    }
}

impl EventGroup<'_> {
    fn is_of_selected(&self) -> bool {
        matches!(self.mailboxes, MailboxFilter::Selected | MailboxFilter::SelectedDelayed)
    }

    fn contradiction(&self) -> Option<&'static str> {
        let (mut new, mut expunge, mut change) = (false, false, false);
        for event in self.events {
            match event {
                NotifyEvent::MessageNew(attributes) => {
                    new = true;
                    if !attributes.is_empty() && !self.is_of_selected() {
                        return Some("attributes of messages only for the selected mailbox");
                    }
                }
                NotifyEvent::MessageExpunge => expunge = true,
                NotifyEvent::FlagChange | NotifyEvent::AnnotationChange => change = true,
                _ => {}
            }
            let is_known = !matches!(event, NotifyEvent::Other(_));
            if self.is_of_selected() && is_known && !event.is_message_event() {
                return Some("only events of messages for the selected mailbox");
            }
        }
        if new != expunge || (change && !new) {
            return Some("MessageNew and MessageExpunge together");
        }
        None
    }
}

/// `"NONE" / "SET" [SP "STATUS"] SP event-group *(SP event-group)`
pub(crate) fn notify<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, NotifyCommand<'i>> {
    if let Ok((rest, ())) = word(i, b"NONE", "") {
        return Ok((rest, NotifyCommand::None));
    }
    let (rest, ()) = word(i, b"SET", "SET or NONE")?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, with_status) = match word(rest, b"STATUS", "") {
        Ok((behind, ())) => (sp(behind, cx)?.0, true),
        Err(_) => (rest, false),
    };
    let groups = rest;
    let (mut rest, _) = event_group(groups, cx)?;
    while let [b' ', behind @ ..] = rest
        && behind.starts_with(b"(")
    {
        (rest, _) = event_group(behind, cx)?;
    }
    let list = LazyList::wire(taken(groups, rest), cx.attempt());
    let command = if with_status { NotifyCommand::SetStatus(list) } else { NotifyCommand::Set(list) };
    match command.contradiction() {
        Some(rule) => expected(groups, rule),
        None => Ok((rest, command)),
    }
}

/// `"(" filter-mailboxes SP (events / "NONE") ")"`
fn event_group<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, EventGroup<'i>> {
    let (rest, ()) = open(i, cx)?;
    let (rest, mailboxes) = filter_mailboxes(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, events) = match word(rest, b"NONE", "") {
        Ok((rest, ())) => (rest, LazyList::EMPTY),
        Err(_) => one_or_more(rest, cx, event)?,
    };
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, EventGroup { mailboxes, events }))
}

/// `event`
fn event<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, NotifyEvent<'i>> {
    let (rest, name) = atom(i)?;
    match NotifyEvent::from_name(name) {
        NotifyEvent::MessageNew(_) if rest.starts_with(b" (") => {
            let (rest, attributes) = one_or_more(sp(rest, cx)?.0, cx, fetch_att)?;
            Ok((rest, NotifyEvent::MessageNew(attributes)))
        }
        event => Ok((rest, event)),
    }
}

impl Sealed for EventGroup<'_> {}

impl<'i> Element<'i> for EventGroup<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        event_group(i, cx).ok()
    }
}

impl Sealed for NotifyEvent<'_> {}

impl<'i> Element<'i> for NotifyEvent<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        event(i, cx).ok()
    }
}

impl<S: CommandSink> Writer<'_, S> {
    /// `notify-set / notify-none`
    pub(crate) fn notify(&mut self, command: &NotifyCommand<'_>) -> Written {
        let groups = match command {
            NotifyCommand::None => {
                self.put(b"NONE");
                return Ok(());
            }
            NotifyCommand::Set(groups) => {
                self.put(b"SET ");
                groups
            }
            NotifyCommand::SetStatus(groups) => {
                self.put(b"SET STATUS ");
                groups
            }
        };
        if command.contradiction().is_some() {
            return fault("list of events", ArgumentFault::Contradiction);
        }
        if self.separated(*groups, Self::event_group)? == 0 {
            return fault("list of mailboxes", ArgumentFault::Empty);
        }
        Ok(())
    }

    fn event_group(&mut self, group: EventGroup<'_>) -> Written {
        self.put(b"(");
        self.mailbox_filter(group.mailboxes)?;
        self.put(b" ");
        if group.events.is_empty() {
            self.put(b"NONE");
        } else {
            self.parenthesised(group.events, Self::event)?;
        }
        self.put(b")");
        Ok(())
    }

    fn event(&mut self, event: NotifyEvent<'_>) -> Written {
        self.atom("event", event.name())?;
        match event {
            NotifyEvent::MessageNew(attributes) if !attributes.is_empty() => {
                self.put(b" ");
                self.parenthesised(attributes, Self::fetch_attribute)
            }
            _ => Ok(()),
        }
    }
}

owned_enum!(NotifyCommand { None, Set(a), SetStatus(a) });

owned_struct!(EventGroup { mailboxes, events });

owned_enum!(NotifyEvent { MessageNew(a), MessageExpunge, FlagChange, AnnotationChange, MailboxName, SubscriptionChange, MailboxMetadataChange, ServerMetadataChange, Other(a) });
