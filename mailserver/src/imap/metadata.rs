//! GETMETADATA and SETMETADATA (RFC 5464).
//!
//! The response is written page by page, as the client reads it. The entries of the server below `/private` belong to the
//! account; there are none below `/shared`.

use std::sync::Arc;

use io_common::{JobStep, Next};
use mailstore::{
    AccountId, Annotated, METADATA_VALUE_LIMIT, MailboxId, MetadataChange, MetadataEntry, Rights, Store,
};
use proto_imap::server::Reply;
use proto_imap::types::{
    GetMetadataCommand, IString, LazyList, MailboxName, MetadataEntries, MetadataResponse, PlainCode,
    ResponseCode, SetMetadataCommand, Untagged,
};

use super::filters::{FILTER_LIMIT, FilterFault, check_filter};
use super::mailbox_access::is_shared_entry;
use super::metadata_query::{
    ENTRIES_PER_COMMAND, Metadata, MetadataInProgress, MetadataPage, MetadataPosition, MetadataQuery,
};
use super::{
    InProgress, Session, Turn, decode_name, encoding, next_or_close, reply_invalid_name, reply_limit,
    reply_no, reply_no_with_code, reply_ok_with_code, reply_store_error,
};

impl Session {
    pub(super) fn get_metadata(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: GetMetadataCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(mailbox) = decode_name(arguments.mailbox, turn) else {
            return reply_invalid_name(reply, turn);
        };
        let entries: Vec<String> =
            arguments.entries.iter().take(ENTRIES_PER_COMMAND + 1).map(entry_name).collect();
        if entries.len() > ENTRIES_PER_COMMAND {
            return reply_limit(reply, "too many entries in one command", turn);
        }
        let max_size = arguments.max_size.map_or(u64::MAX, u64::from);
        let query = MetadataQuery { account, mailbox, entries, depth: arguments.depth, max_size };
        let position = MetadataPosition::default();
        self.run_get_metadata(MetadataInProgress { reply, query: Arc::new(query), position }, turn)
    }

    /// Continues with the next page, because the client has read the previous one.
    pub(super) fn continue_metadata(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::Metadata(progress) => self.run_get_metadata(*progress, turn),
            other => {
                self.in_progress = other;
                self.next_while_waiting()
            }
        }
    }

    fn run_get_metadata(&mut self, progress: MetadataInProgress, turn: &mut Turn<'_, '_>) -> Next {
        let MetadataInProgress { reply, query, position } = progress;
        let asked = Arc::clone(&query);
        self.run_in_slices(
            turn,
            move |store, slice| JobStep::Done(asked.page(store, position.clone(), slice)),
            move |session, found, turn| {
                let MetadataPage { mailbox, entries, position } = match found {
                    Ok(page) => page,
                    Err(error) => return reply_store_error(reply, &error, turn),
                };
                if let Err(error) = write_metadata(&mailbox, &entries, turn) {
                    return next_or_close(Err(error));
                }
                if position.entry < query.entries.len() {
                    let progress = MetadataInProgress { reply, query, position };
                    session.in_progress = InProgress::Metadata(Box::new(progress));
                    return Next::More;
                }
                session.send_updates_then(turn, move |_, turn| end_metadata(reply, position.longest, turn))
            },
        )
    }

    pub(super) fn set_metadata(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: SetMetadataCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(mailbox) = decode_name(arguments.mailbox, turn) else {
            return reply_invalid_name(reply, turn);
        };
        let mut changes = Vec::new();
        for entry in arguments.entries.iter() {
            if changes.len() >= ENTRIES_PER_COMMAND {
                return reply_no_with_code(reply, ResponseCode::MetadataTooMany, "too many entries", turn);
            }
            let value = entry.value.map(|value| value.as_bytes().into_owned());
            if value.as_ref().is_some_and(|value| value.len() > METADATA_VALUE_LIMIT) {
                let code = ResponseCode::MetadataMaxSize(METADATA_VALUE_LIMIT as u32);
                return reply_no_with_code(reply, code, "the value is too long", turn);
            }
            let name = entry_name(entry.name);
            if let Some(value) = value.as_ref().filter(|_| mailbox.is_empty()) {
                match check_filter(&name, value) {
                    Err(FilterFault::TooLong) => {
                        let code = ResponseCode::MetadataMaxSize(FILTER_LIMIT as u32);
                        return reply_no_with_code(reply, code, "the filter is too long", turn);
                    }
                    Err(FilterFault::Invalid(reason)) => {
                        return reply_no(reply, PlainCode::Cannot, reason, turn);
                    }
                    Ok(()) => {}
                }
            }
            changes.push(MetadataChange { name, value });
        }
        let is_shared = |change: &MetadataChange| change.name.starts_with("/shared/");
        if mailbox.is_empty() && changes.iter().any(is_shared) {
            let text = "shared entries of the server can't be changed";
            return reply_no(reply, PlainCode::NoPerm, text, turn);
        }
        self.run_job(
            turn,
            move |store| {
                // RFC 5464 does not say which right is needed. It is that of flags, which all users see, too.
                let found = Metadata::find(store, account, &mailbox, Rights::READ.or(Rights::WRITE))?;
                let is_shared = changes.iter().all(|change| is_shared_entry(&change.name));
                if found.owner != account && !is_shared {
                    return Ok(false);
                }
                store.set_metadata(found.owner, found.of, &changes).map(|()| true)
            },
            move |session, set, turn| match set {
                Ok(true) => session.finish_with_updates(reply, "completed", turn),
                Ok(false) => {
                    let text = "a mailbox of another account has no private entries here";
                    reply_no_with_code(reply, ResponseCode::MetadataNoPrivate, text, turn)
                }
                Err(mailstore::Error::TooManyMetadata) => {
                    let text = mailstore::Error::TooManyMetadata.to_string();
                    reply_no_with_code(reply, ResponseCode::MetadataTooMany, &text, turn)
                }
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }
}

/// Returns the name of an entry in lower case.
pub(super) fn entry_name(name: IString<'_>) -> String {
    name.to_str_lossy().to_ascii_lowercase()
}

/// Copies the entries of INBOX to the mailbox that takes its messages (RFC 5464 §4.1).
pub(super) fn copy_metadata(
    store: &dyn Store,
    account: AccountId,
    from: MailboxId,
    to: MailboxId,
) -> mailstore::Result<()> {
    let mut start = Some("/".to_owned());
    while let Some(name) = start {
        let page = store.metadata_page(account, Annotated::Mailbox(from), &*name.."0", u64::MAX)?;
        let copy = |entry: MetadataEntry| MetadataChange { name: entry.name, value: entry.value };
        let copies: Vec<_> = page.entries.into_iter().map(copy).collect();
        if !copies.is_empty() {
            store.set_metadata(account, Annotated::Mailbox(to), &copies)?;
        }
        start = page.next;
    }
    Ok(())
}

/// Writes a METADATA response, if there is an entry to report.
pub(super) fn write_metadata(
    mailbox: &str,
    entries: &[(String, Option<Vec<u8>>)],
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_mail::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let bytes = MailboxName::new(mailbox).to_bytes(encoding(turn.machine));
    let values: Vec<_> = entries
        .iter()
        .map(|(name, value)| proto_imap::types::MetadataEntry {
            name: IString::new(name.as_bytes()),
            value: value.as_deref().map(IString::new),
        })
        .collect();
    let entries = MetadataEntries::Values(LazyList::new(&values));
    turn.machine
        .data(&Untagged::Metadata(MetadataResponse { mailbox: IString::new(&bytes), entries }), turn.tx)
}

/// Answers OK, and says how long the longest value is that was left out.
fn end_metadata(reply: Reply, longest: u64, turn: &mut Turn<'_, '_>) -> Next {
    match u32::try_from(longest) {
        Ok(0) | Err(_) => super::reply_ok(reply, "completed", turn),
        Ok(longest) => {
            reply_ok_with_code(reply, ResponseCode::MetadataLongEntries(longest), "completed", turn)
        }
    }
}
