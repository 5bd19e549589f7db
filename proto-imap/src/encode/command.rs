//! Commands (RFC 9051 §6, §9): always strict, whatever the server is known to bear.
//!
//! A command is written as a whole or not at all. Where a literal has to be asked for, the sink is told to
//! [`pause`](CommandSink::pause). This file knows how each command is put together; its pieces are in the files beside
//! it.

use super::argument::{
    ArgumentFault, CommandSink, EightBit, InvalidArgument, NullSink, Options, Writer, Written, fault,
};
use super::primitive;
use crate::frame::{Binary, LiteralHeader};
use crate::parse::MAX_DEPTH;
use crate::types::arguments::{
    AppendCommand, CopyCommand, CreateCommand, FetchCommand, FetchModifier, ListCommand, ListReturn,
    ListSelection, QResync, RenameCommand, SearchCommand, SelectCommand, SelectParameter, StatusAttribute,
    StoreAction, StoreCommand, StoreResponse,
};
use crate::types::body::IdFields;
use crate::types::mailbox::NameEncoding;
use crate::types::search_key::SearchReturnOption;
use crate::types::view;
use crate::types::{Command, IString, MailboxName, SequenceNumber, SequenceSet, Tag};

/// `command = tag SP (…) CRLF`
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
/// [`InvalidArgument`] names the argument that cannot be written; nothing was put then.
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

/// `append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal`, up to and with the announcement of the
/// message. The caller sends the message, waiting to be asked for it if `announced` says so, and a line end.
///
/// # Errors
/// [`InvalidArgument`] names the argument that cannot be written; nothing was put then.
pub fn append_prefix<S: CommandSink>(
    tag: Tag<'_>,
    append: &AppendCommand<'_>,
    announced: LiteralHeader,
    options: Options,
    out: &mut S,
) -> Result<(), InvalidArgument> {
    Writer::new(&mut NullSink, options).append(append, announced)?;
    out.put(tag.as_bytes());
    out.put(b" ");
    Writer::new(out, options).append(append, announced)
}

impl<S: CommandSink> Writer<'_, S> {
    fn command(&mut self, command: &Command<'_>) -> Written {
        let name = command.name();
        if let Command::Raw(raw) = command {
            self.atom("command", raw.raw_name())?;
            if memchr::memchr3(b'\r', b'\n', 0, raw.arguments()).is_some() {
                return fault("raw command", ArgumentFault::ForbiddenByte);
            }
            self.put(raw.arguments());
            return Ok(());
        }
        self.put(name.as_str().as_bytes());
        match command {
            Command::Capability
            | Command::Noop
            | Command::Logout
            | Command::Namespace
            | Command::Idle
            | Command::Close
            | Command::Unselect
            | Command::Check
            | Command::Expunge
            | Command::Raw(_) => return Ok(()),
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
            Command::Delete(mailbox) | Command::Subscribe(mailbox) | Command::Unsubscribe(mailbox) => {
                self.mailbox(*mailbox)
            }
            Command::Rename(RenameCommand { from, to }) => {
                self.mailbox(*from)?;
                self.put(b" ");
                self.mailbox(*to)
            }
            Command::List(list) => self.list(list),
            Command::Lsub(lsub) => {
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
            // Those without arguments were written above.
            _ => Ok(()),
        }
    }

    /// `id-params-list`: at most 30 fields, names of 30 octets, values of 1024 (RFC 2971 §3.3). Without any `NIL`: some
    /// servers do not understand `()`.
    fn id(&mut self, fields: IdFields<'_>) -> Written {
        if fields.is_empty() {
            self.put(b"NIL");
            return Ok(());
        }
        if fields.iter().count() > 30 {
            return fault("list of ID fields", ArgumentFault::OutOfRange);
        }
        self.parenthesised(fields, |writer, field| {
            let long = |string: IString<'_>, limit| string.iter().count() > limit;
            if long(field.name, 30) || field.value.is_some_and(|value| long(value, 1024)) {
                return fault("ID field", ArgumentFault::OutOfRange);
            }
            writer.string("ID field", field.name)?;
            writer.put(b" ");
            match field.value {
                Some(value) => writer.string("ID field", value),
                None => {
                    writer.put(b"NIL");
                    Ok(())
                }
            }
        })
    }

    fn select(&mut self, select: &SelectCommand<'_>) -> Written {
        self.mailbox(select.mailbox)?;
        if select.parameters.is_empty() {
            return Ok(());
        }
        self.put(b" ");
        self.parenthesised(select.parameters, |writer, parameter| match parameter {
            SelectParameter::CondStore => {
                writer.put(b"CONDSTORE");
                Ok(())
            }
            SelectParameter::QResync(known) => writer.qresync(&known),
        })
    }

    fn qresync(&mut self, known: &QResync<'_>) -> Written {
        self.put(b"QRESYNC (");
        self.number(u64::from(known.uid_validity.get()));
        self.put(b" ");
        self.nz_number64("mod-sequence", known.mod_sequence)?;
        if let Some(uids) = known.known_uids {
            self.put(b" ");
            self.known_set(uids)?;
        }
        if let Some((numbers, uids)) = known.known_pairs {
            self.put(b" (");
            self.known_set(numbers)?;
            self.put(b" ");
            self.known_set(uids)?;
            self.put(b")");
        }
        self.put(b")");
        Ok(())
    }

    /// A `sequence-set` without `*` and `$`.
    fn known_set(&mut self, set: SequenceSet<'_>) -> Written {
        let largest = |end| end == SequenceNumber::Largest;
        if set.is_saved() || set.ranges().any(|range| largest(range.first) || largest(range.last)) {
            return fault("set of known messages", ArgumentFault::OutOfRange);
        }
        self.set(set)
    }

    fn create(&mut self, create: &CreateCommand<'_>) -> Written {
        self.mailbox(create.mailbox)?;
        if create.special_use.is_empty() {
            return Ok(());
        }
        self.put(b" (USE ");
        self.parenthesised(create.special_use, |writer, attribute| {
            writer.put(b"\\");
            writer.atom("special use", attribute.name())
        })?;
        self.put(b")");
        Ok(())
    }

    /// A reference name: quoted if it is empty, as it mostly is.
    fn reference(&mut self, reference: MailboxName<'_>) -> Written {
        self.pattern(reference.into())
    }

    fn list(&mut self, list: &ListCommand<'_>) -> Written {
        if !list.selection.is_empty() {
            let has = |option| list.selection.iter().any(|one| one == option);
            let base = has(ListSelection::Subscribed) || has(ListSelection::SpecialUse);
            if has(ListSelection::RecursiveMatch) && !base {
                return fault("RECURSIVEMATCH option", ArgumentFault::Contradiction);
            }
            self.parenthesised(list.selection, |writer, option| {
                writer.put(option.as_str().as_bytes());
                Ok(())
            })?;
            self.put(b" ");
        }
        self.reference(list.reference)?;
        self.put(b" ");
        let mut patterns = list.patterns.iter();
        match (patterns.next(), patterns.next()) {
            (None, _) => return fault("list of patterns", ArgumentFault::Empty),
            (Some(pattern), None) => self.pattern(pattern)?,
            _ => self.parenthesised(list.patterns, Self::pattern)?,
        }
        if list.returns.is_empty() {
            return Ok(());
        }
        self.put(b" RETURN ");
        self.parenthesised(list.returns, Self::list_return)
    }

    fn list_return(&mut self, option: ListReturn<'_>) -> Written {
        self.put(match option {
            ListReturn::Subscribed => b"SUBSCRIBED",
            ListReturn::Children => b"CHILDREN",
            ListReturn::SpecialUse => b"SPECIAL-USE",
            ListReturn::MyRights => b"MYRIGHTS",
            ListReturn::Status(attributes) => {
                self.put(b"STATUS ");
                return self.status_attributes(attributes);
            }
        });
        Ok(())
    }

    fn status_attributes(&mut self, attributes: view::LazyList<'_, StatusAttribute>) -> Written {
        self.one_or_more("list of STATUS attributes", attributes, |writer, attribute| {
            writer.put(attribute.as_str().as_bytes());
            Ok(())
        })
    }

    fn append(&mut self, append: &AppendCommand<'_>, announced: LiteralHeader) -> Written {
        self.put(b"APPEND ");
        self.mailbox(append.mailbox)?;
        self.put(b" ");
        if !append.flags.is_empty() {
            self.flags(append.flags)?;
            self.put(b" ");
        }
        if let Some(date) = append.date {
            primitive::date_time(date, self.out);
            self.put(b" ");
        }
        if i64::try_from(announced.size).is_err() {
            return fault("size of the message", ArgumentFault::OutOfRange);
        }
        if announced.binary == Binary::Yes {
            self.put(b"~");
        }
        self.literal_header(announced.size, announced.sync);
        Ok(())
    }

    /// `"SEARCH" [search-return-opts] SP search-program`, behind the word and the space.
    fn search(&mut self, search: &SearchCommand<'_>) -> Written {
        if let Some(returns) = search.returns {
            self.put(b"RETURN ");
            self.parenthesised(returns, |writer, option| {
                writer.put(option.as_str().as_bytes());
                match option {
                    SearchReturnOption::Partial(page) => {
                        writer.put(b" ");
                        writer.page(page)
                    }
                    _ => Ok(()),
                }
            })?;
            self.put(b" ");
        }
        self.charset(search)?;
        if self.separated(search.keys, |writer, key| writer.search_key(key, MAX_DEPTH))? == 0 {
            return fault("list of search keys", ArgumentFault::Empty);
        }
        Ok(())
    }

    /// `["CHARSET" SP charset SP]`. Where UTF-8 is enabled it goes without saying, and RFC 6855 §3 forbids to say it;
    /// where it is not, it must be said if there is need.
    fn charset(&mut self, search: &SearchCommand<'_>) -> Written {
        let mut nowhere = NullSink;
        let mut dry = Writer::new(&mut nowhere, self.options);
        let utf8_enabled = self.options.names == NameEncoding::Utf8;
        let charset = match search.charset {
            Some(charset) if utf8_enabled && charset.eq_ignore_ascii_case(b"UTF-8") => None,
            Some(charset) => Some(charset),
            None => {
                dry.separated(search.keys, |writer, key| writer.search_key(key, MAX_DEPTH))?;
                match dry.eight_bit {
                    Some(EightBit::Other) => return fault("search text", ArgumentFault::NotUtf8),
                    Some(EightBit::Utf8) if !utf8_enabled => Some(IString::new(b"UTF-8")),
                    _ => None,
                }
            }
        };
        let Some(charset) = charset else { return Ok(()) };
        self.put(b"CHARSET ");
        let name = charset.as_bytes();
        if !name.is_ascii() || name.iter().any(|octet| octet.is_ascii_control()) {
            return fault("charset", ArgumentFault::NotAnAtom);
        }
        self.astring("charset", charset)?;
        self.put(b" ");
        Ok(())
    }

    fn fetch(&mut self, fetch: &FetchCommand<'_>) -> Written {
        self.set(fetch.messages)?;
        self.put(b" ");
        self.one_or_more("list of FETCH attributes", fetch.attributes, Self::fetch_attribute)?;
        if fetch.modifiers.is_empty() {
            return Ok(());
        }
        let has = |what: fn(FetchModifier) -> bool| fetch.modifiers.iter().any(what);
        if has(|one| one == FetchModifier::Vanished)
            && !has(|one| matches!(one, FetchModifier::ChangedSince(_)))
        {
            return fault("VANISHED modifier", ArgumentFault::Contradiction);
        }
        self.put(b" ");
        self.parenthesised(fetch.modifiers, |writer, modifier| match modifier {
            FetchModifier::ChangedSince(mod_sequence) => {
                writer.put(b"CHANGEDSINCE ");
                writer.nz_number64("mod-sequence", mod_sequence)
            }
            FetchModifier::Vanished => {
                writer.put(b"VANISHED");
                Ok(())
            }
            FetchModifier::Partial(page) => {
                writer.put(b"PARTIAL ");
                writer.page(page)
            }
        })
    }

    fn store(&mut self, store: &StoreCommand<'_>) -> Written {
        self.set(store.messages)?;
        if let Some(mod_sequence) = store.unchanged_since {
            self.put(b" (UNCHANGEDSINCE ");
            self.number64("mod-sequence", mod_sequence)?;
            self.put(b")");
        }
        self.put(match store.action {
            StoreAction::Replace => b" ",
            StoreAction::Add => b" +",
            StoreAction::Remove => b" -",
        });
        self.put(match store.answer {
            StoreResponse::Flags => b"FLAGS ",
            StoreResponse::Silent => b"FLAGS.SILENT ",
        });
        self.flags(store.flags)
    }
}
