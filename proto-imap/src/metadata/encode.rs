//! Writes the commands and the response of METADATA.

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::LazyList;
use crate::grammar::sink::{Sink, parenthesised};
use crate::grammar::string::IString;
use crate::grammar::string::encode::{astring, nstring8};
use crate::metadata::{
    GetMetadataCommand, MetadataDepth, MetadataEntries, MetadataEntry, MetadataResponse, SetMetadataCommand,
    is_entry_name,
};

impl<S: CommandSink> Writer<'_, S> {
    /// `[getmetadata-options SP] mailbox SP entries`
    pub(crate) fn get_metadata(&mut self, command: &GetMetadataCommand<'_>) -> Written {
        let depth: Option<&[u8]> = match command.depth {
            MetadataDepth::Zero => None,
            MetadataDepth::One => Some(b"DEPTH 1"),
            MetadataDepth::Infinity => Some(b"DEPTH infinity"),
        };
        if let Some(size) = command.max_size {
            self.put(b"(MAXSIZE ");
            self.number(size.into());
            if let Some(depth) = depth {
                self.put(b" ");
                self.put(depth);
            }
            self.put(b") ");
        } else if let Some(depth) = depth {
            self.put(b"(");
            self.put(depth);
            self.put(b") ");
        }
        self.mailbox(command.mailbox)?;
        self.put(b" ");
        let mut entries = command.entries.iter();
        match (entries.next(), entries.next()) {
            (Some(only), None) => self.entry(only),
            _ => self.entry_list(command.entries),
        }
    }

    /// `"(" entry *(SP entry) ")"`
    pub(crate) fn entry_list(&mut self, entries: LazyList<'_, IString<'_>>) -> Written {
        self.one_or_more("list of entries", entries, Self::entry)
    }

    fn entry(&mut self, name: IString<'_>) -> Written {
        if !is_entry_name(name) {
            return fault("name of an entry", ArgumentFault::ForbiddenByte);
        }
        self.astring("name of an entry", name)
    }

    /// `mailbox SP entry-values`
    pub(crate) fn set_metadata(&mut self, command: &SetMetadataCommand<'_>) -> Written {
        self.mailbox(command.mailbox)?;
        self.put(b" ");
        self.one_or_more("list of entries", command.entries, |writer, entry| {
            writer.entry(entry.name)?;
            writer.put(b" ");
            match entry.value {
                None => {
                    writer.put(b"NIL");
                    Ok(())
                }
                Some(value) if value.iter().any(|byte| byte == 0) => {
                    writer.literal8(&value.as_bytes());
                    Ok(())
                }
                Some(value) => writer.string("value", value),
            }
        })
    }

    /// `"~{" number64 ["+"] "}" CRLF` and the bytes
    fn literal8(&mut self, bytes: &[u8]) {
        self.put(b"~");
        self.literal(bytes);
    }
}

/// Returns whether a response has something to say.
pub(crate) fn can_be_written(response: &MetadataResponse<'_>) -> bool {
    match response.entries {
        MetadataEntries::Values(values) => values.iter().any(|entry| is_entry_name(entry.name)),
        MetadataEntries::Changed(names) => names.iter().any(is_entry_name),
    }
}

/// `mailbox SP (entry-values / entry-list)`
pub(crate) fn metadata(response: &MetadataResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    astring(response.mailbox, out);
    match response.entries {
        MetadataEntries::Values(values) => {
            out.put(b" ");
            let named = values.iter().filter(|entry| is_entry_name(entry.name));
            parenthesised(named, out, |entry: MetadataEntry<'_>, out| {
                astring(entry.name, out);
                out.put(b" ");
                nstring8(entry.value, out);
            });
        }
        MetadataEntries::Changed(names) => {
            for name in names.iter().filter(|name| is_entry_name(*name)) {
                out.put(b" ");
                astring(name, out);
            }
        }
    }
}
