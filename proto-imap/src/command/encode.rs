//! The table of command encoders: it maps each command to the function that writes its arguments.

use crate::command::Command;
use crate::command::raw::RawPiece;
use crate::copy::CopyCommand;
use crate::fetch_command::FetchModifier;
use crate::grammar::command_writer::{
    ArgumentFault, CommandSink, InvalidArgument, NullSink, Options, Writer, Written, fault,
};
use crate::rename::RenameCommand;
use crate::tag::Tag;

/// Writes `command = tag SP (…) CRLF`.
///
/// ```
/// use proto_imap::encode::{self, LiteralMode, Options, CommandBuffer};
/// use proto_imap::types::{Command, MailboxName, Tag};
///
/// let mut line = CommandBuffer::default();
/// let (tag, delete) = (Tag::new(b"A1").unwrap(), Command::Delete(MailboxName::new("Entwürfe")));
/// encode::command(tag, &delete, Options::default(), &mut line).unwrap();
/// assert_eq!(line.bytes, b"A1 DELETE \"Entw&APw-rfe\"\r\n");
/// ```
///
/// # Errors
/// [`InvalidArgument`] names the argument that cannot be written; then nothing was written.
pub fn command<S: CommandSink>(
    tag: Tag<'_>,
    command: &Command<'_>,
    options: Options,
    out: &mut S,
) -> Result<(), InvalidArgument> {
    Writer::new(&mut NullSink, options).command(command)?;
    out.put(tag.as_bytes());
    out.put(b" ");
    Writer::new(out, options).command(command)?;
    out.put(b"\r\n");
    Ok(())
}

impl<S: CommandSink> Writer<'_, S> {
    pub(crate) fn command(&mut self, command: &Command<'_>) -> Written {
        let name = command.name();
        if let Command::Raw(raw) = command {
            self.atom("command", raw.raw_name())?;
            let mut pieces = raw.pieces();
            for RawPiece { text, literal } in pieces.by_ref() {
                self.put(text);
                if let Some(literal) = literal {
                    self.literal(literal);
                }
            }
            return match pieces.fault {
                Some(_) => fault("raw command", ArgumentFault::ForbiddenByte),
                None => Ok(()),
            };
        }
        self.put(name.as_str().as_bytes());
        match command {
            Command::Capability
            | Command::Noop
            | Command::Logout
            | Command::Namespace
            | Command::Idle
            | Command::Close
            | Command::Unauthenticate
            | Command::Unselect
            | Command::Check
            | Command::GetJmapAccess
            | Command::Expunge
            | Command::Raw(_) => return Ok(()),
            Command::Language(none) | Command::Comparator(none) if none.is_empty() => return Ok(()),
            Command::ResetKey(reset) if reset.mailbox.is_none() => return self.reset_key(reset),
            _ => self.put(b" "),
        }
        match command {
            Command::Id(fields) => self.id(*fields),
            Command::Enable(capabilities) => {
                let count =
                    self.separated(*capabilities, |writer, name| writer.atom("capability", name.as_bytes()))?;
                if count == 0 { fault("list of capabilities", ArgumentFault::Empty) } else { Ok(()) }
            }
            Command::Select(select) | Command::Examine(select) => self.select(select),
            Command::Create(create) => self.create(create),
            Command::Delete(mailbox)
            | Command::Subscribe(mailbox)
            | Command::Unsubscribe(mailbox)
            | Command::GetQuotaRoot(mailbox)
            | Command::GetAcl(mailbox)
            | Command::MyRights(mailbox) => self.mailbox(*mailbox),
            Command::Language(ranges) => self.strings("language", *ranges),
            Command::Comparator(order) => self.strings("comparator", *order),
            Command::Notify(notify) => self.notify(notify),
            Command::GenUrlAuth(requests) => self.gen_url_auth(*requests),
            Command::ResetKey(reset) => self.reset_key(reset),
            Command::UrlFetch(items) => self.url_fetch(*items),
            Command::GetQuota(root) => self.astring("quota root", *root),
            Command::SetQuota(quota) => self.set_quota(quota),
            Command::GetMetadata(get) => self.get_metadata(get),
            Command::SetMetadata(set) => self.set_metadata(set),
            Command::SetAcl(set) => self.set_acl(set),
            Command::DeleteAcl(arguments) | Command::ListRights(arguments) => {
                self.mailbox_identifier(arguments)
            }
            Command::Rename(RenameCommand { from, to }) => {
                self.mailbox(*from)?;
                self.put(b" ");
                self.mailbox(*to)
            }
            Command::List(list) => self.list(list),
            Command::Lsub(lsub) | Command::Rlist(lsub) | Command::Rlsub(lsub) => {
                self.reference(lsub.reference)?;
                self.put(b" ");
                self.pattern(lsub.pattern)
            }
            Command::Status(status) => {
                self.mailbox(status.mailbox)?;
                self.put(b" ");
                self.status_attributes(status.attributes)
            }
            Command::UidExpunge(messages) => self.set(*messages),
            Command::Search(search) | Command::UidSearch(search) => self.search(search),
            Command::Esearch(search) => self.multi_search(search),
            Command::Sort(sort) | Command::UidSort(sort) => self.sort(sort),
            Command::Thread(thread) | Command::UidThread(thread) => self.thread(thread),
            Command::UidBatches(batches) => self.uid_batches(batches),
            Command::CancelUpdate(cancel) => self.cancel_update(cancel),
            Command::Fetch(fetch) => {
                if fetch.modifiers.iter().any(|modifier| modifier == FetchModifier::Vanished) {
                    return fault("VANISHED modifier", ArgumentFault::Contradiction);
                }
                self.fetch(fetch)
            }
            Command::UidFetch(fetch) => self.fetch(fetch),
            Command::Store(store) | Command::UidStore(store) => self.store(store),
            Command::Copy(CopyCommand { messages, mailbox })
            | Command::UidCopy(CopyCommand { messages, mailbox })
            | Command::Move(CopyCommand { messages, mailbox })
            | Command::UidMove(CopyCommand { messages, mailbox }) => {
                self.set(*messages)?;
                self.put(b" ");
                self.mailbox(*mailbox)
            }
            // Commands without arguments were written above.
            _ => Ok(()),
        }
    }
}
