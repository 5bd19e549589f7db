//! What a SEARCH looks for, and what a FETCH asks for (RFC 9051 §9 `search-key`, `fetch-att`).

use super::argument::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::parse::fetch_attribute::is_requestable;
use crate::types::search_key::EntryKind;
use crate::types::view::LazyValue;
use crate::types::{
    Date, FetchAttribute, IString, Partial, Peek, SearchKey, Section, SectionItem, SectionText,
};

impl<S: CommandSink> Writer<'_, S> {
    /// `search-key`. `depth` is how many more levels may follow.
    pub(super) fn search_key(&mut self, key: SearchKey<'_>, depth: u8) -> Written {
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

    /// The keys with numbers, sets or other keys.
    fn other_key(&mut self, key: SearchKey<'_>, depth: u8) -> Written {
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
            // The others are written where this function is called.
            _ => Ok(()),
        }
    }

    fn nested(&mut self, before: &[u8], key: LazyValue<'_, SearchKey<'_>>, depth: u8) -> Written {
        self.put(before);
        match key.view() {
            Some(key) => self.search_key(key, deeper(depth)?),
            None => fault("search key", ArgumentFault::Empty),
        }
    }

    fn named(&mut self, before: &[u8], text: IString<'_>) -> Written {
        self.put(before);
        self.astring("search text", text)
    }

    fn named_atom(&mut self, before: &[u8], argument: &'static str, atom: &[u8]) -> Written {
        self.put(before);
        self.atom(argument, atom)
    }

    fn dated(&mut self, before: &[u8], date: Date) -> Written {
        self.put(before);
        self.date(date);
        Ok(())
    }

    /// `entry-name`: a quoted string, and nothing else.
    fn entry_name(&mut self, name: IString<'_>) -> Written {
        let octets = name.as_bytes();
        if octets.len() > 1024 || octets.iter().any(|octet| !matches!(octet, b' '..=b'~')) {
            return fault("entry name", ArgumentFault::ForbiddenByte);
        }
        self.string("entry name", name)
    }

    /// `header-fld-name`: printable ASCII without a colon (RFC 5322 §3.6.8).
    fn header_name(&mut self, name: IString<'_>) -> Written {
        if name.is_empty() {
            return fault("header field name", ArgumentFault::Empty);
        }
        if name.iter().any(|octet| !matches!(octet, b'!'..=b'~') || octet == b':') {
            return fault("header field name", ArgumentFault::ForbiddenByte);
        }
        self.astring("header field name", name)
    }

    /// `fetch-att`
    pub(super) fn fetch_attribute(&mut self, attribute: FetchAttribute<'_>) -> Written {
        let word: &[u8] = match attribute {
            FetchAttribute::Flags => b"FLAGS",
            FetchAttribute::Uid => b"UID",
            FetchAttribute::Size => b"RFC822.SIZE",
            FetchAttribute::InternalDate => b"INTERNALDATE",
            FetchAttribute::Envelope => b"ENVELOPE",
            FetchAttribute::Body => b"BODY",
            FetchAttribute::BodyStructure => b"BODYSTRUCTURE",
            FetchAttribute::ModSeq => b"MODSEQ",
            FetchAttribute::EmailId => b"EMAILID",
            FetchAttribute::ThreadId => b"THREADID",
            FetchAttribute::Preview => b"PREVIEW",
            FetchAttribute::PreviewLazy => b"PREVIEW (LAZY)",
            FetchAttribute::SaveDate => b"SAVEDATE",
            FetchAttribute::GmailMessageId => b"X-GM-MSGID",
            FetchAttribute::GmailThreadId => b"X-GM-THRID",
            FetchAttribute::GmailLabels => b"X-GM-LABELS",
            FetchAttribute::BinarySize(section) => {
                self.put(b"BINARY.SIZE");
                return self.section(section);
            }
            FetchAttribute::Section { section, partial, peek } => {
                return self.contents(section, partial, peek);
            }
        };
        self.put(word);
        Ok(())
    }

    /// The contents of a section.
    fn contents(&mut self, section: Section<'_>, partial: Option<Partial>, peek: Peek) -> Written {
        let old: &[u8] = match section.item() {
            SectionItem::Rfc822 => b"RFC822",
            SectionItem::Rfc822Header => b"RFC822.HEADER",
            SectionItem::Rfc822Text => b"RFC822.TEXT",
            item => {
                self.put(match (item, peek) {
                    (SectionItem::Binary, Peek::Yes) => b"BINARY.PEEK",
                    (SectionItem::Binary, Peek::No) => b"BINARY",
                    (_, Peek::Yes) => b"BODY.PEEK",
                    (_, Peek::No) => b"BODY",
                });
                self.section(section)?;
                return self.partial(partial);
            }
        };
        // These have neither a choice nor pieces: what is asked for would not be what is fetched.
        if peek == Peek::Yes || partial.is_some() {
            return fault("section", ArgumentFault::Contradiction);
        }
        self.put(old);
        Ok(())
    }

    fn partial(&mut self, partial: Option<Partial>) -> Written {
        let Some(Partial { offset, length }) = partial else { return Ok(()) };
        self.put(b"<");
        self.number64("offset of the piece", offset)?;
        self.put(b".");
        self.nz_number64("length of the piece", length)?;
        self.put(b">");
        Ok(())
    }

    /// `section = "[" [section-spec] "]"`, put together anew from its parts.
    fn section(&mut self, section: Section<'_>) -> Written {
        if !is_requestable(section.spec()) {
            return fault("section", ArgumentFault::Contradiction);
        }
        self.put(b"[");
        let mut numbered = false;
        for number in section.part() {
            if numbered {
                self.put(b".");
            }
            self.number(u64::from(number));
            numbered = true;
        }
        let text = section.text();
        if numbered && text != SectionText::Full {
            self.put(b".");
        }
        match text {
            SectionText::Full => {}
            _ if section.item() == SectionItem::Binary => {
                return fault("section", ArgumentFault::Contradiction);
            }
            SectionText::Header => self.put(b"HEADER"),
            SectionText::Text => self.put(b"TEXT"),
            SectionText::Mime => self.put(b"MIME"),
            SectionText::HeaderFields(fields) => {
                self.put(b"HEADER.FIELDS ");
                self.one_or_more("list of header fields", fields, Self::header_name)?;
            }
            SectionText::HeaderFieldsNot(fields) => {
                self.put(b"HEADER.FIELDS.NOT ");
                self.one_or_more("list of header fields", fields, Self::header_name)?;
            }
            SectionText::Other(_) => return fault("section", ArgumentFault::Contradiction),
        }
        self.put(b"]");
        Ok(())
    }
}

fn deeper(depth: u8) -> Result<u8, super::argument::InvalidArgument> {
    depth
        .checked_sub(1)
        .ok_or(super::argument::InvalidArgument { argument: "search key", fault: ArgumentFault::TooDeep })
}
