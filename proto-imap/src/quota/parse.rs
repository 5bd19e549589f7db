//! Parses SETQUOTA commands, and QUOTA and QUOTAROOT responses.

use crate::grammar::lazy_list::{Element, LazyList, list_of};
use crate::grammar::number::number64;
use crate::grammar::primitive::{atom, lenient_atom, sp, taken};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::astring;
use crate::grammar::{Context, Parsed};
use crate::quota::{Quota, QuotaLimit, QuotaResource, QuotaRoot, SetQuotaCommand};

/// `astring SP "(" [quota-resource *(SP quota-resource)] ")"` (RFC 9208 `quota-response`)
pub(crate) fn quota<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Quota<'i>> {
    let (rest, root) = astring(i, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, resources) = list_of(rest, cx, quota_resource)?;
    Ok((rest, Quota { root, resources }))
}

/// `setquota = "SETQUOTA" SP quota-root-name SP "(" [setquota-resource *(SP setquota-resource)] ")"`, after the word and
/// the first space
pub(crate) fn set_quota<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SetQuotaCommand<'i>> {
    let (rest, root) = astring(i, cx)?;
    let (rest, limits) = list_of(sp(rest, cx)?.0, cx, setquota_resource)?;
    Ok((rest, SetQuotaCommand { root, limits }))
}

/// `setquota-resource = resource-name SP resource-limit`
fn setquota_resource<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, QuotaLimit<'i>> {
    let (rest, name) = atom(i)?;
    let (rest, limit) = number64(sp(rest, cx)?.0, cx)?;
    Ok((rest, QuotaLimit { name: IString::atom(name), limit }))
}

/// `quota-resource = resource-name SP resource-usage SP resource-limit`
fn quota_resource<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, QuotaResource<'i>> {
    let (rest, name) = match atom(i) {
        Err(_) => lenient_atom(i, cx, Repair::StringForm)?,
        name => name?,
    };
    let (rest, ()) = sp(rest, cx)?;
    let (rest, usage) = number64(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, limit) = number64(rest, cx)?;
    Ok((rest, QuotaResource { name: IString::atom(name), usage, limit }))
}

/// `astring *(SP astring)` (RFC 9208 `quotaroot-response`)
pub(crate) fn quota_root<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, QuotaRoot<'i>> {
    let (roots, mailbox) = astring(i, cx)?;
    let mut rest = roots;
    while rest.first() == Some(&b' ') && !matches!(rest.trim_ascii_start(), []) {
        let (behind, ()) = sp(rest, cx)?;
        (rest, _) = astring(behind, cx)?;
    }
    Ok((rest, QuotaRoot { mailbox, roots: LazyList::wire(taken(roots, rest), cx.attempt()) }))
}

impl<'i> Element<'i> for QuotaResource<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        quota_resource(i, cx).ok()
    }
}

impl<'i> Element<'i> for QuotaLimit<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        setquota_resource(i, cx).ok()
    }
}
