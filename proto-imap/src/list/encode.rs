//! Writes LIST and LSUB commands and responses.

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::delimiter::write_delimiter;
use crate::grammar::sink::{Sink, parenthesised};
use crate::grammar::string::encode::astring;
use crate::grammar::value::write_value;
use crate::list::pattern::ListPattern;
use crate::list::{ListCommand, ListResponse, ListReturn, ListSelection, MailboxAttribute};
use crate::mailbox_name::MailboxName;

impl<S: CommandSink> Writer<'_, S> {
    /// `list-mailbox`, always as a string.
    pub(crate) fn pattern(&mut self, pattern: ListPattern<'_>) -> Written {
        let bytes = self.name_bytes("pattern", pattern.as_mailbox())?;
        self.bytes("pattern", &bytes)
    }

    /// Writes a reference name. It is quoted if it is empty, which is the common case.
    pub(crate) fn reference(&mut self, reference: MailboxName<'_>) -> Written {
        self.pattern(reference.into())
    }

    pub(crate) fn list(&mut self, list: &ListCommand<'_>) -> Written {
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

    pub(crate) fn list_return(&mut self, option: ListReturn<'_>) -> Written {
        self.put(match option {
            ListReturn::Subscribed => b"SUBSCRIBED",
            ListReturn::Children => b"CHILDREN",
            ListReturn::SpecialUse => b"SPECIAL-USE",
            ListReturn::MyRights => b"MYRIGHTS",
            ListReturn::Metadata(entries) => {
                self.put(b"METADATA ");
                return self.entry_list(entries);
            }
            ListReturn::Status(attributes) => {
                self.put(b"STATUS ");
                return self.status_attributes(attributes);
            }
        });
        Ok(())
    }
}

/// `mailbox-list`
pub(crate) fn mailbox_list(listed: &ListResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    parenthesised(listed.attributes.distinct().filter(can_be_written), out, |attribute, out| {
        out.put(b"\\");
        out.put(attribute.name());
    });
    out.put(b" ");
    write_delimiter(listed.delimiter, out);
    out.put(b" ");
    astring(listed.mailbox, out);
    if !listed.extended.is_empty() {
        out.put(b" ");
        parenthesised(listed.extended, out, |item, out| {
            astring(item.name, out);
            out.put(b" ");
            write_value(item.value, out);
        });
    }
}

pub(crate) fn can_be_written(attribute: &MailboxAttribute<'_>) -> bool {
    !matches!(attribute, MailboxAttribute::Other(name) if !name.is_atom())
}
