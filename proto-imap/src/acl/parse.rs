//! Parses the commands and responses of access control lists.

use crate::acl::{
    AclEntry, AclResponse, ListRightsResponse, MailboxIdentifier, MyRightsResponse, Rights, RightsChange,
    SetAclCommand,
};
use crate::grammar::lazy_list::{Element, LazyList};
use crate::grammar::primitive::{sp, taken};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::astring;
use crate::grammar::{Context, Parsed, expected};
use crate::mailbox_name::parse::mailbox;

/// `setacl = "SETACL" SP mailbox SP identifier SP mod-rights`, after the word and the first space
pub(crate) fn set_acl<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SetAclCommand<'i>> {
    let (rest, MailboxIdentifier { mailbox, identifier }) = mailbox_identifier(i, cx)?;
    let (mod_rights, ()) = sp(rest, cx)?;
    let (rest, string) = astring(mod_rights, cx)?;
    let change = match string.raw().first() {
        Some(b'+') => RightsChange::Add,
        Some(b'-') => RightsChange::Remove,
        _ => RightsChange::Replace,
    };
    let sign = usize::from(change != RightsChange::Replace);
    let rights = string.trimmed(|raw| raw.get(sign..).unwrap_or_default());
    let rights = checked(mod_rights, rights, cx)?;
    Ok((rest, SetAclCommand { mailbox, identifier, change, rights }))
}

/// `mailbox SP identifier`
pub(crate) fn mailbox_identifier<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MailboxIdentifier<'i>> {
    let (rest, mailbox) = mailbox(i, cx)?;
    let (rest, identifier) = astring(sp(rest, cx)?.0, cx)?;
    Ok((rest, MailboxIdentifier { mailbox, identifier }))
}

/// `rights = astring`, of lowercase letters and digits. *Tolerant*: any characters.
fn rights<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Rights<'i>> {
    let (rest, string) = astring(i, cx)?;
    Ok((rest, checked(i, string, cx)?))
}

fn checked<'i>(
    i: &'i [u8],
    string: IString<'i>,
    cx: &Context,
) -> Result<Rights<'i>, nom::Err<crate::grammar::Expected<'i>>> {
    let rights = Rights::wire(string);
    if rights.is_valid() || cx.repair(Repair::StringForm) {
        return Ok(rights);
    }
    expected(i, "rights, which are lowercase letters and digits").map(|(_, rights)| rights)
}

/// `mailbox *(SP identifier SP rights)` (`acl-data`)
pub(crate) fn acl<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, AclResponse<'i>> {
    let (entries, mailbox) = astring(i, cx)?;
    let (rest, entries) = spaced(entries, cx, acl_entry)?;
    Ok((rest, AclResponse { mailbox, entries }))
}

/// `identifier SP rights`
fn acl_entry<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, AclEntry<'i>> {
    let (rest, identifier) = astring(i, cx)?;
    let (rest, rights) = rights(sp(rest, cx)?.0, cx)?;
    Ok((rest, AclEntry { identifier, rights }))
}

/// `mailbox SP identifier SP rights *(SP rights)` (`listrights-data`)
pub(crate) fn list_rights<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ListRightsResponse<'i>> {
    let (rest, mailbox) = astring(i, cx)?;
    let (rest, identifier) = astring(sp(rest, cx)?.0, cx)?;
    let (rest, required) = rights(sp(rest, cx)?.0, cx)?;
    let (rest, optional) = spaced(rest, cx, rights)?;
    Ok((rest, ListRightsResponse { mailbox, identifier, required, optional }))
}

/// `mailbox SP rights` (`myrights-data`)
pub(crate) fn my_rights<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MyRightsResponse<'i>> {
    let (rest, mailbox) = astring(i, cx)?;
    let (rest, rights) = rights(sp(rest, cx)?.0, cx)?;
    Ok((rest, MyRightsResponse { mailbox, rights }))
}

/// `*(SP item)`, up to the line end
fn spaced<'i, T: Element<'i> + 'i>(
    i: &'i [u8],
    cx: &Context,
    item: impl Fn(&'i [u8], &Context) -> Parsed<'i, T>,
) -> Parsed<'i, LazyList<'i, T>> {
    let mut rest = i;
    // Only the tolerant parser accepts spaces before the line end.
    while let [b' ', behind @ ..] = rest
        && !matches!(behind, [b' ' | b'\r' | b'\n', ..] | [])
    {
        (rest, _) = item(behind, cx)?;
    }
    Ok((rest, LazyList::wire(taken(i, rest), cx.attempt())))
}

impl<'i> Element<'i> for AclEntry<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        acl_entry(i, cx).ok()
    }
}

impl<'i> Element<'i> for Rights<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        rights(i, cx).ok()
    }
}
