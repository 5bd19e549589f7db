//! Writes search keys.

use crate::date_time::Date;
use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::LazyValue;
use crate::grammar::string::IString;
use crate::search_key::{EntryKind, SearchKey};

impl<S: CommandSink> Writer<'_, S> {
    /// `search-key`. `depth` is the number of further nesting levels allowed.
    pub(crate) fn search_key(&mut self, key: SearchKey<'_>, depth: u8) -> Written {
        let word: &[u8] = match key {
            SearchKey::All => b"ALL",
            SearchKey::Answered => b"ANSWERED",
            SearchKey::Deleted => b"DELETED",
            SearchKey::Draft => b"DRAFT",
            SearchKey::Flagged => b"FLAGGED",
            SearchKey::Seen => b"SEEN",
            SearchKey::Recent => b"RECENT",
            SearchKey::Unanswered => b"UNANSWERED",
            SearchKey::Undeleted => b"UNDELETED",
            SearchKey::Undraft => b"UNDRAFT",
            SearchKey::Unflagged => b"UNFLAGGED",
            SearchKey::Unseen => b"UNSEEN",
            SearchKey::New => b"NEW",
            SearchKey::Old => b"OLD",
            SearchKey::SaveDateSupported => b"SAVEDATESUPPORTED",
            SearchKey::Keyword(name) => return self.named_atom(b"KEYWORD ", "keyword", name.as_bytes()),
            SearchKey::Unkeyword(name) => return self.named_atom(b"UNKEYWORD ", "keyword", name.as_bytes()),
            SearchKey::Bcc(text) => return self.named(b"BCC ", text),
            SearchKey::Cc(text) => return self.named(b"CC ", text),
            SearchKey::From(text) => return self.named(b"FROM ", text),
            SearchKey::To(text) => return self.named(b"TO ", text),
            SearchKey::Subject(text) => return self.named(b"SUBJECT ", text),
            SearchKey::Body(text) => return self.named(b"BODY ", text),
            SearchKey::Text(text) => return self.named(b"TEXT ", text),
            SearchKey::GmailRaw(text) => return self.named(b"X-GM-RAW ", text),
            SearchKey::GmailLabel(text) => return self.named(b"X-GM-LABELS ", text),
            SearchKey::EmailId(id) => return self.named_atom(b"EMAILID ", "object id", &id.as_bytes()),
            SearchKey::ThreadId(id) => return self.named_atom(b"THREADID ", "object id", &id.as_bytes()),
            SearchKey::Filter(name) => {
                if name.iter().any(|byte| byte == b'/') {
                    return fault("name of a filter", ArgumentFault::NotAnAtom);
                }
                return self.named_atom(b"FILTER ", "name of a filter", &name.as_bytes());
            }
            SearchKey::Header { name, text } => {
                self.put(b"HEADER ");
                self.header_name(name)?;
                return self.named(b" ", text);
            }
            SearchKey::Before(date) => return self.dated(b"BEFORE ", date),
            SearchKey::On(date) => return self.dated(b"ON ", date),
            SearchKey::Since(date) => return self.dated(b"SINCE ", date),
            SearchKey::SentBefore(date) => return self.dated(b"SENTBEFORE ", date),
            SearchKey::SentOn(date) => return self.dated(b"SENTON ", date),
            SearchKey::SentSince(date) => return self.dated(b"SENTSINCE ", date),
            SearchKey::SavedBefore(date) => return self.dated(b"SAVEDBEFORE ", date),
            SearchKey::SavedOn(date) => return self.dated(b"SAVEDON ", date),
            SearchKey::SavedSince(date) => return self.dated(b"SAVEDSINCE ", date),
            _ => return self.other_key(key, depth),
        };
        self.put(word);
        Ok(())
    }

    /// Writes the keys with numbers, sets or other keys.
    pub(crate) fn other_key(&mut self, key: SearchKey<'_>, depth: u8) -> Written {
        match key {
            SearchKey::Older(seconds) | SearchKey::Younger(seconds) => {
                self.put(if matches!(key, SearchKey::Older(_)) { b"OLDER " } else { b"YOUNGER " });
                self.nz_number64("number of seconds", u64::from(seconds))
            }
            SearchKey::Larger(size) | SearchKey::Smaller(size) => {
                self.put(if matches!(key, SearchKey::Larger(_)) { b"LARGER " } else { b"SMALLER " });
                self.number64("size", size)
            }
            SearchKey::GmailMessageId(id) | SearchKey::GmailThreadId(id) => {
                let message = matches!(key, SearchKey::GmailMessageId(_));
                self.put(if message { b"X-GM-MSGID " } else { b"X-GM-THRID " });
                self.number(id);
                Ok(())
            }
            SearchKey::ModSeq { entry, mod_sequence } => {
                self.put(b"MODSEQ ");
                if let Some(entry) = entry {
                    self.entry_name(entry.name)?;
                    self.put(match entry.kind {
                        EntryKind::Private => b" priv ",
                        EntryKind::Shared => b" shared ",
                        EntryKind::All => b" all ",
                    });
                }
                self.number64("mod-sequence", mod_sequence)
            }
            SearchKey::Sequence(set) => self.set(set),
            SearchKey::Uid(set) => {
                self.put(b"UID ");
                self.set(set)
            }
            SearchKey::Not(key) => self.nested(b"NOT ", key, depth),
            SearchKey::Fuzzy(key) => self.nested(b"FUZZY ", key, depth),
            SearchKey::Or(one, other) => {
                self.nested(b"OR ", one, depth)?;
                self.nested(b" ", other, depth)
            }
            SearchKey::And(keys) => {
                let depth = deeper(depth)?;
                self.one_or_more("list of search keys", keys, |writer, key| writer.search_key(key, depth))
            }
            // The caller writes the other keys.
            _ => Ok(()),
        }
    }

    pub(crate) fn nested(&mut self, before: &[u8], key: LazyValue<'_, SearchKey<'_>>, depth: u8) -> Written {
        self.put(before);
        match key.view() {
            Some(key) => self.search_key(key, deeper(depth)?),
            None => fault("search key", ArgumentFault::Empty),
        }
    }

    pub(crate) fn named(&mut self, before: &[u8], text: IString<'_>) -> Written {
        self.put(before);
        self.astring("search text", text)
    }

    pub(crate) fn named_atom(&mut self, before: &[u8], argument: &'static str, atom: &[u8]) -> Written {
        self.put(before);
        self.atom(argument, atom)
    }

    pub(crate) fn dated(&mut self, before: &[u8], date: Date) -> Written {
        self.put(before);
        self.date(date);
        Ok(())
    }

    /// `entry-name`: always a quoted string.
    pub(crate) fn entry_name(&mut self, name: IString<'_>) -> Written {
        let bytes = name.as_bytes();
        if bytes.len() > 1024 || bytes.iter().any(|byte| !matches!(byte, b' '..=b'~')) {
            return fault("entry name", ArgumentFault::ForbiddenByte);
        }
        self.string("entry name", name)
    }

    /// `header-fld-name`: printable ASCII without a colon (RFC 5322 §3.6.8).
    pub(crate) fn header_name(&mut self, name: IString<'_>) -> Written {
        if name.is_empty() {
            return fault("header field name", ArgumentFault::Empty);
        }
        if name.iter().any(|byte| !matches!(byte, b'!'..=b'~') || byte == b':') {
            return fault("header field name", ArgumentFault::ForbiddenByte);
        }
        self.astring("header field name", name)
    }
}

fn deeper(depth: u8) -> Result<u8, crate::grammar::command_writer::InvalidArgument> {
    depth.checked_sub(1).ok_or(crate::grammar::command_writer::InvalidArgument {
        argument: "search key",
        fault: ArgumentFault::TooDeep,
    })
}
