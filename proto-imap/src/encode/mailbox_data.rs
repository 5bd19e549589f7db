//! LIST, STATUS, NAMESPACE, QUOTA (RFC 9051 §9 `mailbox-data`, RFC 9208).

use super::Sink;
use super::primitive::{astring, is_atom, number, parenthesised, separated, string, value};
use crate::types::{
    IString, LazyList, ListResponse, MailboxAttribute, MailboxStatus, Namespace, Namespaces, Quota, QuotaRoot,
};
use crate::types::{QuotaResource, StatusItem};

/// `mailbox-list`
pub fn mailbox_list(listed: &ListResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    parenthesised(listed.attributes.distinct().filter(can_be_written), out, |attribute, out| {
        out.put(b"\\");
        out.put(attribute.name());
    });
    out.put(b" ");
    delimiter(listed.delimiter, out);
    out.put(b" ");
    astring(listed.mailbox, out);
    if !listed.extended.is_empty() {
        out.put(b" ");
        parenthesised(listed.extended, out, |item, out| {
            astring(item.name, out);
            out.put(b" ");
            value(item.value, out);
        });
    }
}

fn can_be_written(attribute: &MailboxAttribute<'_>) -> bool {
    !matches!(attribute, MailboxAttribute::Other(name) if !name.is_atom())
}

/// `DQUOTE QUOTED-CHAR DQUOTE / nil`: a delimiter that is not ASCII, or a control character, is not written.
fn delimiter(delimiter: Option<char>, out: &mut (impl Sink + ?Sized)) {
    match delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()) {
        Some(octet @ (b'"' | b'\\')) => out.put(&[b'"', b'\\', octet, b'"']),
        Some(octet @ b' '..=b'~') => out.put(&[b'"', octet, b'"']),
        _ => out.put(b"NIL"),
    }
}

/// `mailbox SP "(" [status-att-list] ")"`. Items that the grammar has no words for (a `UIDNEXT` of 0) are left out.
pub fn mailbox_status(status: &MailboxStatus<'_>, out: &mut (impl Sink + ?Sized)) {
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
            value(raw, out);
        }
    }
}

/// `namespace SP namespace SP namespace`
pub(crate) fn namespaces(namespaces: &Namespaces<'_>, out: &mut (impl Sink + ?Sized)) {
    let Namespaces { personal, other_users, shared } = *namespaces;
    separated([personal, other_users, shared], out, namespace);
}

fn namespace<S: Sink + ?Sized>(list: LazyList<'_, Namespace<'_>>, out: &mut S) {
    if list.is_empty() {
        out.put(b"NIL");
        return;
    }
    out.put(b"(");
    for one in list {
        out.put(b"(");
        string(one.prefix, out);
        out.put(b" ");
        delimiter(one.delimiter, out);
        extensions(one.extensions, out);
        out.put(b")");
    }
    out.put(b")");
}

/// `*(SP value)`: written only if all of it follows the grammar.
fn extensions(raw: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    if !raw.is_empty() && super::body::are_values(raw.raw()) {
        out.put(b" ");
        out.put(raw.raw());
    }
}

/// `astring SP "(" [quota-resource *(SP quota-resource)] ")"`
pub(crate) fn quota(quota: &Quota<'_>, out: &mut (impl Sink + ?Sized)) {
    astring(quota.root, out);
    out.put(b" ");
    let can_be_written = |resource: &QuotaResource<'_>| is_atom(resource.name);
    parenthesised(quota.resources.iter().filter(can_be_written), out, |resource, out| {
        out.put(resource.name.raw());
        out.put(b" ");
        number(resource.usage, out);
        out.put(b" ");
        number(resource.limit, out);
    });
}

/// `astring *(SP astring)`
pub(crate) fn quota_root(root: &QuotaRoot<'_>, out: &mut (impl Sink + ?Sized)) {
    astring(root.mailbox, out);
    for one in root.roots {
        out.put(b" ");
        astring(one, out);
    }
}
