//! Writes STATUS commands and responses.

use crate::grammar::command_writer::{CommandSink, Writer, Written};
use crate::grammar::lazy_list::LazyList;
use crate::grammar::sink::{Sink, number, parenthesised};
use crate::grammar::string::encode::{astring, is_atom};
use crate::grammar::value::write_value;
use crate::status::{MailboxStatus, StatusAttribute, StatusItem};

/// `mailbox SP "(" [status-att-list] ")"`. Items that the grammar cannot express (a `UIDNEXT` of 0) are left out.
pub(crate) fn mailbox_status(status: &MailboxStatus<'_>, out: &mut (impl Sink + ?Sized)) {
    astring(status.mailbox, out);
    out.put(b" ");
    let can_be_written = |item: &StatusItem<'_>| match item {
        StatusItem::UidNext(uid) => uid.is_some(),
        StatusItem::UidValidity(value) => *value > 0,
        StatusItem::MailboxId(id) => is_atom(*id),
        StatusItem::Other { name, .. } => is_atom(*name),
        _ => true,
    };
    parenthesised(status.items.iter().filter(can_be_written), out, status_att_val);
}

fn status_att_val<S: Sink + ?Sized>(item: StatusItem<'_>, out: &mut S) {
    let with_number = |name: &[u8], value: u64, out: &mut S| {
        out.put(name);
        number(value, out);
    };
    match item {
        StatusItem::Messages(value) => with_number(b"MESSAGES ", value.into(), out),
        StatusItem::Recent(value) => with_number(b"RECENT ", value.into(), out),
        StatusItem::UidNext(uid) => with_number(b"UIDNEXT ", uid.map_or(1, |uid| uid.get().into()), out),
        StatusItem::UidValidity(value) => with_number(b"UIDVALIDITY ", value.into(), out),
        StatusItem::Unseen(value) => with_number(b"UNSEEN ", value.into(), out),
        StatusItem::Deleted(value) => with_number(b"DELETED ", value.into(), out),
        StatusItem::Size(value) => with_number(b"SIZE ", value, out),
        StatusItem::HighestModSeq(value) => with_number(b"HIGHESTMODSEQ ", value, out),
        StatusItem::AppendLimit(Some(value)) => with_number(b"APPENDLIMIT ", value, out),
        StatusItem::AppendLimit(None) => out.put(b"APPENDLIMIT NIL"),
        StatusItem::DeletedStorage(value) => with_number(b"DELETED-STORAGE ", value, out),
        StatusItem::MailboxId(id) => {
            out.put(b"MAILBOXID (");
            out.put(id.raw());
            out.put(b")");
        }
        StatusItem::Other { name, value: raw } => {
            out.put(name.raw());
            out.put(b" ");
            write_value(raw, out);
        }
    }
}

impl<S: CommandSink> Writer<'_, S> {
    pub(crate) fn status_attributes(&mut self, attributes: LazyList<'_, StatusAttribute>) -> Written {
        self.one_or_more("list of STATUS attributes", attributes, |writer, attribute| {
            writer.put(attribute.as_str().as_bytes());
            Ok(())
        })
    }
}
