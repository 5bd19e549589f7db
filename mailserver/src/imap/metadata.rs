//! GETMETADATA and SETMETADATA (RFC 5464).
//!
//! The response is written page by page, as the client reads it. The entries of the server below `/private` belong to the
//! account; there are none below `/shared`.

use std::sync::Arc;

use io_common::{JobStep, Next, Slice};
use mailstore::{
    AccountId, Annotated, METADATA_ENTRY_LIMIT, METADATA_VALUE_LIMIT, MailboxId, MetadataChange,
    MetadataEntry, Store,
};
use proto_imap::server::Reply;
use proto_imap::types::{
    GetMetadataCommand, IString, LazyList, MailboxName, MetadataDepth, MetadataEntries, MetadataResponse,
    PlainCode, ResponseCode, SetMetadataCommand, Untagged,
};

use super::{
    InProgress, Session, Turn, decode_name, encoding, next_or_close, reply_invalid_name, reply_limit,
    reply_no, reply_no_with_code, reply_ok_with_code, reply_store_error,
};

/// The maximum number of entries that one command names.
const ENTRIES_PER_COMMAND: usize = METADATA_ENTRY_LIMIT as usize;

/// A page is complete at this many bytes of names and values.
const PAGE_BYTES: usize = 64 * 1024;

/// What a GETMETADATA requests.
pub(super) struct MetadataQuery {
    account: AccountId,
    /// The mailbox; empty for the server.
    mailbox: String,
    /// The names of the entries, in lower case.
    entries: Vec<String>,
    depth: MetadataDepth,
    max_size: u64,
}

/// A GETMETADATA whose response is being written.
pub(super) struct MetadataInProgress {
    reply: Reply,
    query: Arc<MetadataQuery>,
    position: MetadataPosition,
}

/// The position at which the next page starts.
#[derive(Debug, Clone, Default)]
struct MetadataPosition {
    /// The index of the named entry that is read next.
    entry: usize,
    /// The name at which to continue below that entry. `None`: with the entry itself.
    below: Option<String>,
    /// Whether something was found for that entry.
    found: bool,
    /// The length of the longest value that was left out, in bytes.
    longest: u64,
}

/// One page of the response.
struct Page {
    entries: Vec<(String, Option<Vec<u8>>)>,
    position: MetadataPosition,
}

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
                let Page { entries, position } = match found {
                    Ok(page) => page,
                    Err(error) => return reply_store_error(reply, &error, turn),
                };
                if let Err(error) = write_metadata(&query.mailbox, &entries, turn) {
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
            changes.push(MetadataChange { name: entry_name(entry.name), value });
        }
        let is_shared = |change: &MetadataChange| change.name.starts_with("/shared/");
        if mailbox.is_empty() && changes.iter().any(is_shared) {
            let text = "shared entries of the server can't be changed";
            return reply_no(reply, PlainCode::NoPerm, text, turn);
        }
        self.run_job(
            turn,
            move |store| store.set_metadata(account, annotated(store, account, &mailbox)?, &changes),
            move |session, set, turn| match set {
                Ok(()) => session.finish_with_updates(reply, "completed", turn),
                Err(mailstore::Error::TooManyMetadata) => {
                    let text = mailstore::Error::TooManyMetadata.to_string();
                    reply_no_with_code(reply, ResponseCode::MetadataTooMany, &text, turn)
                }
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }
}

impl MetadataQuery {
    /// Reads the entries after a position, as many as fit in a page and a slice. Reads at least one.
    fn page(
        &self,
        store: &dyn Store,
        mut position: MetadataPosition,
        slice: &Slice,
    ) -> mailstore::Result<Page> {
        let of = annotated(store, self.account, &self.mailbox)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(name) = self.entries.get(position.entry) {
            let (start, end) = match &position.below {
                None => (name.clone(), format!("{name}\0")),
                Some(start) => (start.clone(), format!("{}0", name)),
            };
            let read = store.metadata_page(self.account, of, &*start..&*end, self.max_size)?;
            for entry in read.entries.into_iter().filter(|entry| self.is_selected(name, &entry.name)) {
                position.found = true;
                let MetadataEntry { name, size, value, .. } = entry;
                match value {
                    Some(value) => {
                        bytes += name.len() + value.len();
                        entries.push((name, Some(value)));
                    }
                    None => position.longest = position.longest.max(size),
                }
            }
            self.advance(&mut position, read.next, &mut entries);
            if bytes >= PAGE_BYTES || entries.len() >= ENTRIES_PER_COMMAND || slice.is_over() {
                break;
            }
        }
        Ok(Page { entries, position })
    }

    /// Returns whether an entry that was read for the entry `named` is close enough to it.
    fn is_selected(&self, named: &str, found: &str) -> bool {
        let below = found.strip_prefix(named).unwrap_or_default();
        self.depth != MetadataDepth::One || below.matches('/').count() <= 1
    }

    /// Moves to what is read next. Reports a named entry for which nothing was found as `NIL`.
    fn advance(
        &self,
        position: &mut MetadataPosition,
        next: Option<String>,
        entries: &mut Vec<(String, Option<Vec<u8>>)>,
    ) {
        let Some(name) = self.entries.get(position.entry) else { return };
        let first_below = || format!("{}/", name);
        let is_at_entry = position.below.is_none();
        match next {
            Some(next) => position.below = Some(next),
            None if is_at_entry && self.depth != MetadataDepth::Zero => position.below = Some(first_below()),
            None => {
                if !position.found {
                    entries.push((name.clone(), None));
                }
                position.entry += 1;
                (position.below, position.found) = (None, false);
            }
        }
    }
}

/// Returns the name of an entry in lower case.
pub(super) fn entry_name(name: IString<'_>) -> String {
    name.to_str_lossy().to_ascii_lowercase()
}

/// Returns what the entries of a mailbox belong to; those of the server for an empty name.
fn annotated(store: &dyn Store, account: AccountId, mailbox: &str) -> mailstore::Result<Annotated> {
    match mailbox {
        "" => Ok(Annotated::Server),
        name => Ok(Annotated::Mailbox(store.mailbox(account, name)?.id)),
    }
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
