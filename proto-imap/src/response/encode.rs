//! The table of response encoders: it maps each response to the function that writes it.

use crate::acl::encode::{acl, list_rights, my_rights};
use crate::capability::encode::{can_write_any, capabilities};
use crate::fetch::encode::FetchWriter;
use crate::flags::encode::flag_list;
use crate::grammar::sink::{Sink, number};
use crate::grammar::string::IString;
use crate::grammar::string::encode::{is_atom, string};
use crate::grammar::value::are_values;
use crate::id::encode::id;
use crate::language::{write_comparator, write_language};
use crate::list::encode::mailbox_list;
use crate::metadata::encode::metadata;
use crate::namespace::encode::namespaces;
use crate::quota::encode::{quota, quota_root};
use crate::response::{ContinuationRequest, Response, Untagged};
use crate::search::encode::{esearch_response, search};
use crate::status::encode::mailbox_status;
use crate::status_response::encode::{resp_cond, resp_text};
use crate::status_response::{Condition, StatusResponse};
use crate::tag::Tag;
use crate::thread::encode::thread_response;
use crate::uid_batches::write_uid_batches;
use crate::url_auth::encode::{gen_url_auth_data, url_fetch_data};
use crate::vanished::write_vanished;

/// Writes a response. Writes nothing if the grammar cannot express it: a response that could not be parsed, or an
/// `EXPUNGE` of message 0.
pub fn response(response: &Response<'_>, out: &mut (impl Sink + ?Sized)) {
    match response {
        Response::Continue(request) => continue_request(request, out),
        Response::Untagged(data) => untagged(data, out),
        Response::Tagged { tag, status } => tagged(*tag, status, out),
        Response::Unparsed(_) => {}
    }
}

/// `continue-req`
pub(crate) fn continue_request(request: &ContinuationRequest<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b"+ ");
    if request.code.is_some() || !request.text.is_empty() {
        resp_text(request.code.as_ref(), request.text, out);
    }
    out.put(b"\r\n");
}

/// `response-tagged`. `BYE` and `PREAUTH` cannot be tagged, and are written as `NO`.
pub(crate) fn tagged(tag: Tag<'_>, status: &StatusResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(tag.as_bytes());
    out.put(b" ");
    let condition = match status.condition {
        Condition::Bye | Condition::PreAuth => Condition::No,
        condition => condition,
    };
    resp_cond(&StatusResponse { condition, ..*status }, out);
    out.put(b"\r\n");
}

/// `response-data`
pub(crate) fn untagged(data: &Untagged<'_>, out: &mut (impl Sink + ?Sized)) {
    if !can_be_written(data) {
        return;
    }
    if let Untagged::Fetch(fetch) = data {
        let mut writer = FetchWriter::start(fetch.sequence, out);
        for item in fetch.items {
            writer.item(&item);
        }
        writer.end();
        return;
    }
    if let Untagged::UidFetch { uid, items } = data {
        let mut writer = FetchWriter::start_uid(*uid, out);
        for item in *items {
            writer.item(&item);
        }
        writer.end();
        return;
    }
    out.put(b"* ");
    response_data(data, out);
    out.put(b"\r\n");
}

/// The maximum length of a URL in bytes, which is a quoted string.
const MAX_URL: usize = 1024;

fn can_be_written(data: &Untagged<'_>) -> bool {
    match data {
        Untagged::Expunge(sequence) => *sequence > 0,
        Untagged::Vanished { uids, .. } => uids.ranges().any(|range| range.last() > 0),
        Untagged::Other { name, .. } => is_name(name.raw()),
        Untagged::Capability(list) => can_write_any(*list),
        Untagged::Fetch(fetch) => {
            fetch.sequence > 0 && fetch.items.iter().any(|item| crate::fetch::encode::can_be_written(&item))
        }
        Untagged::UidFetch { uid, items } => {
            *uid > 0 && items.iter().any(|item| crate::fetch::encode::can_be_written(&item))
        }
        Untagged::Metadata(metadata) => crate::metadata::encode::can_be_written(metadata),
        Untagged::Language(tags) => !tags.is_empty(),
        Untagged::GenUrlAuth(urls) => !urls.is_empty(),
        Untagged::UrlFetch(data) => !data.is_empty(),
        Untagged::JmapAccess(url) => {
            url.raw().len() <= MAX_URL && url.iter().all(|byte| matches!(byte, b'!'..=b'~'))
        }
        Untagged::ListRights(response) => response.required.is_valid(),
        Untagged::MyRights(response) => response.rights.is_valid(),
        _ => true,
    }
}

fn response_data<S: Sink + ?Sized>(data: &Untagged<'_>, out: &mut S) {
    let counted = |value: u32, name: &[u8], out: &mut S| {
        number(value.into(), out);
        out.put(name);
    };
    match data {
        Untagged::Status(status) => resp_cond(status, out),
        Untagged::Capability(list) => {
            out.put(b"CAPABILITY ");
            capabilities(*list, out);
        }
        Untagged::Enabled(list) => {
            out.put(if can_write_any(*list) { b"ENABLED ".as_slice() } else { b"ENABLED" });
            capabilities(*list, out);
        }
        Untagged::Id(fields) => id(*fields, out),
        Untagged::Namespace(names) => {
            out.put(b"NAMESPACE ");
            namespaces(names, out);
        }
        Untagged::List(listed) | Untagged::Xlist(listed) => {
            out.put(b"LIST ");
            mailbox_list(listed, out);
        }
        Untagged::Lsub(listed) => {
            out.put(b"LSUB ");
            mailbox_list(listed, out);
        }
        Untagged::MailboxStatus(status) => {
            out.put(b"STATUS ");
            mailbox_status(status, out);
        }
        Untagged::Flags(flags) => {
            out.put(b"FLAGS ");
            flag_list(*flags, out);
        }
        Untagged::Search(found) => {
            out.put(b"SEARCH");
            search(found, out);
        }
        Untagged::Sort(found) => {
            out.put(b"SORT");
            search(found, out);
        }
        Untagged::Thread(threads) => {
            out.put(b"THREAD");
            thread_response(threads, out);
        }
        Untagged::Esearch(found) => esearch_response(found, out),
        Untagged::UidBatches(batches) => {
            out.put(b"UIDBATCHES");
            write_uid_batches(batches, out);
        }
        Untagged::Exists(value) => counted(*value, b" EXISTS", out),
        Untagged::Recent(value) => counted(*value, b" RECENT", out),
        Untagged::Expunge(value) => counted(*value, b" EXPUNGE", out),
        Untagged::Vanished { when, uids } => write_vanished(*when, *uids, out),
        Untagged::Quota(value) => {
            out.put(b"QUOTA ");
            quota(value, out);
        }
        Untagged::QuotaRoot(value) => {
            out.put(b"QUOTAROOT ");
            quota_root(value, out);
        }
        Untagged::Language(tags) => {
            out.put(b"LANGUAGE ");
            write_language(*tags, out);
        }
        Untagged::GenUrlAuth(urls) => {
            out.put(b"GENURLAUTH ");
            gen_url_auth_data(*urls, out);
        }
        Untagged::UrlFetch(data) => {
            out.put(b"URLFETCH ");
            url_fetch_data(*data, out);
        }
        Untagged::Comparator(value) => {
            out.put(b"COMPARATOR ");
            write_comparator(value, out);
        }
        Untagged::JmapAccess(url) => {
            out.put(b"JMAPACCESS ");
            string(*url, out);
        }
        Untagged::Metadata(value) => {
            out.put(b"METADATA ");
            metadata(value, out);
        }
        Untagged::Acl(value) => {
            out.put(b"ACL ");
            acl(value, out);
        }
        Untagged::ListRights(value) => {
            out.put(b"LISTRIGHTS ");
            list_rights(value, out);
        }
        Untagged::MyRights(value) => {
            out.put(b"MYRIGHTS ");
            my_rights(value, out);
        }
        Untagged::Other { name, rest } => other(*name, *rest, out),
        Untagged::Fetch(_) | Untagged::UidFetch { .. } => {}
    }
}

/// `[number SP] atom`, where the atom starts with no digit if there is no number
fn is_name(name: &[u8]) -> bool {
    let digits = name.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(name.len());
    let word = match name.split_at_checked(digits) {
        Some(([], word)) => word,
        Some((number, [b' ', word @ ..])) if number.len() < 10 => word,
        _ => return false,
    };
    is_atom(IString::new(word))
}

/// Writes a response of an extension. The data after its name are written only if they are values, parsed strictly.
fn other(name: IString<'_>, rest: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(name.raw());
    if !rest.is_empty() && are_values(rest.raw()) {
        out.put(b" ");
        out.put(rest.raw());
    }
}
