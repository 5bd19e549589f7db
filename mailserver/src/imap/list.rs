//! LIST, LSUB and NAMESPACE (RFC 9051 §6.3.9, §6.3.10, RFC 3501 §6.3.9, RFC 5258, RFC 5819, RFC 6154, RFC 8440, RFC 9590).
//!
//! The response is written page by page, as the client reads it. See [`list_query`](super::list_query) for which names
//! are listed.

use std::sync::Arc;

use io_common::{JobStep, Next};
use mailstore::{AccountId, NAME_LIMIT};
use proto_imap::list_matcher::{ListLimits, ListMatcher, TooManyPatterns};
use proto_imap::server::Reply;
use proto_imap::types::{
    ExtendedItem, IString, LazyList, MailboxAttribute, MailboxName, Namespace, Namespaces, Untagged,
};
use proto_imap::types::{ListCommand, ListReturn, ListSelection, LsubCommand};

use super::acl::write_my_rights;
use super::command_state::ListInProgress;
use super::list_query::{ListEntry, ListPosition, ListQuery, list_response, page};
use super::mailbox_access::{DELIMITER, OTHER_USERS};
use super::metadata::{entry_name, write_metadata};
use super::{
    InProgress, Session, Turn, decode_name, mailbox, next_or_close, reply_bad, reply_limit, reply_ok,
    reply_store_error,
};

/// The maximum number of entries of metadata that a LIST returns for each mailbox.
const METADATA_LIMIT: usize = 16;

impl Session {
    pub(super) fn list(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: ListCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        // A reference or pattern that decodes to no text matches no name.
        let (reference, patterns): (_, Vec<_>) = match decode_name(arguments.reference, turn) {
            Some(reference) => (
                reference,
                arguments.patterns.iter().filter_map(|one| decode_name(one.as_mailbox(), turn)).collect(),
            ),
            None => (String::new(), Vec::new()),
        };
        let Ok(matcher) = matcher(&reference, &patterns) else {
            return reply_limit(reply, "too many patterns, or they are too long", turn);
        };
        let mut query = ListQuery { patterns: matcher, ..ListQuery::default() };
        for selection in arguments.selection.iter() {
            match selection {
                ListSelection::Subscribed => query.subscribed = true,
                ListSelection::SpecialUse => query.special_use = true,
                ListSelection::RecursiveMatch => query.recursive = true,
                _ => {}
            }
        }
        if query.recursive && !query.subscribed && !query.special_use {
            return reply_bad(reply, "RECURSIVEMATCH needs another selection", turn);
        }
        for wanted in arguments.returns.iter() {
            match wanted {
                ListReturn::MyRights => query.my_rights = true,
                ListReturn::Status(attributes) => query.status = attributes.iter().collect(),
                ListReturn::Metadata(entries) => {
                    query.metadata = entries.iter().take(METADATA_LIMIT + 1).map(entry_name).collect();
                }
                _ => {}
            }
        }
        if query.metadata.len() > METADATA_LIMIT {
            return reply_limit(reply, "too many entries of metadata", turn);
        }
        let is_delimiter_asked =
            patterns == [""] && arguments.selection.is_empty() && arguments.returns.is_empty();
        if is_delimiter_asked {
            let listed = list_response(&[MailboxAttribute::NoSelect], IString::EMPTY, &[]);
            return match turn.machine.data(&Untagged::List(listed), turn.tx) {
                Ok(()) => self.finish_with_updates(reply, "completed", turn),
                Err(error) => next_or_close(Err(error)),
            };
        }
        self.run_list(
            ListInProgress { account, reply, query: Arc::new(query), position: ListPosition::default() },
            turn,
        )
    }

    pub(super) fn lsub(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: LsubCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let decoded =
            (decode_name(arguments.reference, turn), decode_name(arguments.pattern.as_mailbox(), turn));
        let (reference, patterns) = match decoded {
            (Some(reference), Some(pattern)) => (reference, vec![pattern]),
            _ => (String::new(), Vec::new()),
        };
        let Ok(patterns) = matcher(&reference, &patterns) else {
            return reply_limit(reply, "the pattern is too long", turn);
        };
        let query = ListQuery { patterns, subscribed: true, lsub: true, ..ListQuery::default() };
        self.run_list(
            ListInProgress { account, reply, query: Arc::new(query), position: ListPosition::default() },
            turn,
        )
    }

    /// Continues with the next page, because the client has read the previous one.
    pub(super) fn continue_list(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::List(progress) => self.run_list(*progress, turn),
            other => {
                self.in_progress = other;
                self.next_while_waiting()
            }
        }
    }

    fn run_list(&mut self, progress: ListInProgress, turn: &mut Turn<'_, '_>) -> Next {
        let ListInProgress { account, reply, query, mut position } = progress;
        let asked = Arc::clone(&query);
        self.run_in_slices(
            turn,
            move |store, slice| {
                JobStep::Done(page(store, account, &asked, std::mem::take(&mut position), slice))
            },
            move |session, found, turn| match found {
                Ok(page) => {
                    let limit = session.context.limits().message;
                    let put =
                        page.entries.iter().try_for_each(|entry| write_entry(entry, &query, limit, turn));
                    match (put, page.next) {
                        (Err(error), _) => next_or_close(Err(error)),
                        (Ok(()), None) => session.finish_with_updates(reply, "completed", turn),
                        (Ok(()), Some(position)) => {
                            session.in_progress = InProgress::List(Box::new(ListInProgress {
                                account,
                                reply,
                                query,
                                position,
                            }));
                            Next::More
                        }
                    }
                }
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    /// Answers NAMESPACE: the account's own mailboxes have no prefix, and those of other accounts have one.
    pub(super) fn namespace(&self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let personal =
            [Namespace { prefix: IString::EMPTY, delimiter: Some(DELIMITER), extensions: IString::EMPTY }];
        let prefix = format!("{OTHER_USERS}{DELIMITER}");
        let prefix = IString::new(prefix.as_bytes());
        let others = [Namespace { prefix, delimiter: Some(DELIMITER), extensions: IString::EMPTY }];
        let data = Namespaces {
            personal: LazyList::new(&personal),
            other_users: LazyList::new(&others),
            shared: LazyList::EMPTY,
        };
        match turn.machine.data(&Untagged::Namespace(data), turn.tx) {
            Ok(()) => reply_ok(reply, "completed", turn),
            Err(error) => next_or_close(Err(error)),
        }
    }
}

fn matcher(reference: &str, patterns: &[String]) -> Result<ListMatcher, TooManyPatterns> {
    let limits = ListLimits::default().name(NAME_LIMIT);
    ListMatcher::new(reference, patterns.iter().map(String::as_str), Some(DELIMITER), &limits)
}

fn write_entry(
    entry: &ListEntry,
    query: &ListQuery,
    append_limit: u64,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_mail::Error> {
    let bytes = MailboxName::new(&entry.name).to_bytes(turn.machine.name_encoding());
    let selected_by = if query.subscribed { &b"(\"SUBSCRIBED\")"[..] } else { b"(\"SPECIAL-USE\")" };
    let child_info = [ExtendedItem { name: IString::new(b"CHILDINFO"), value: IString::new(selected_by) }];
    let extended = if entry.for_child { &child_info[..] } else { &[] };
    let listed = list_response(&entry.attributes, IString::new(&bytes), extended);
    let data = if query.lsub { Untagged::Lsub(listed) } else { Untagged::List(listed) };
    turn.machine.data(&data, turn.tx)?;
    if let (true, Some(rights)) = (query.my_rights, entry.rights) {
        write_my_rights(&entry.name, rights, turn)?;
    }
    if let Some(status) = &entry.status {
        mailbox::write_status(&entry.name, status, &query.status, append_limit, turn)?;
    }
    write_metadata(&entry.name, &entry.metadata, turn)
}
