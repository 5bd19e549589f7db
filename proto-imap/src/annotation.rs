//! Annotations of messages (RFC 5257, ANNOTATE-EXPERIMENT-1): reading them by FETCH.
//!
//! A message has entries (`/comment`, `/1.2/flags/seen`), and an entry has attributes (`value.priv`, `size.shared`). Their
//! names are ASCII, their case counts, and they contain neither `*` nor `%`. To store, search or sort annotations, send a
//! [`RawCommand`](crate::types::RawCommand).

use crate::grammar::characters::is_list_char;
use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{Element, LazyList, one_or_more};
use crate::grammar::number::nz_number;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::primitive::{close, open, sp, taken, word};
use crate::grammar::repair::Repair;
use crate::grammar::sink::{Sink, number, parenthesised};
use crate::grammar::string::IString;
use crate::grammar::string::encode::{astring as put_astring, nstring8 as put_nstring8};
use crate::grammar::string::parse::{astring, nstring8};
use crate::grammar::{Attempt, Context, Parsed, expected};
use core::num::NonZeroU32;

/// The entries of a message that a FETCH asks for, by name (RFC 5257 §5 `entry-match`). `*` matches any characters, `%` any
/// but the slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnotationPattern<'i>(pub IString<'i>);

/// An entry with its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnotationEntry<'i> {
    /// The name of the entry: `/comment`.
    pub name: IString<'i>,
    /// Its attributes, at least one.
    pub attributes: LazyList<'i, AnnotationAttribute<'i>>,
}

/// An attribute of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnotationAttribute<'i> {
    /// The name of the attribute: `value.shared`.
    pub name: IString<'i>,
    /// Its value, which may contain any bytes; `None` is `NIL`: the entry does not exist.
    pub value: Option<IString<'i>>,
}

/// The annotations in a FETCH response (RFC 5257 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnnotationEntries<'i> {
    /// Entries and their attributes: the answer to a FETCH.
    Values(LazyList<'i, AnnotationEntry<'i>>),
    /// The names of entries that have changed. A server sends them at any time after a SELECT with ANNOTATE.
    Changed(LazyList<'i, IString<'i>>),
}

/// The argument of the response code `ANNOTATIONS` (RFC 5257 §5 `ann-size`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnotationSupport {
    /// Whether annotations can be stored.
    pub access: AnnotationAccess,
    /// `NOPRIVATE`: the mailbox has no private annotations.
    pub no_private: bool,
}

/// Whether a client can read and store annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotationAccess {
    /// `NONE`: there are no annotations.
    None,
    /// `READ-ONLY`: a client can only read them.
    ReadOnly,
    /// A client can store values up to this size in bytes.
    MaxSize(NonZeroU32),
}

/// Returns whether this can be the name of an entry (RFC 5257 §3.2), or a pattern for such names.
fn is_pattern(name: IString<'_>) -> bool {
    let mut before = 0;
    let is_valid = name.iter().all(|byte| {
        let is_valid = matches!(byte, b' '..=b'~') && (before, byte) != (b'/', b'/');
        before = byte;
        is_valid
    });
    is_valid && matches!(name.iter().next(), Some(b'/' | b'*' | b'%')) && before != b'/'
}

fn is_entry_name(name: IString<'_>) -> bool {
    is_pattern(name) && !name.iter().any(|byte| matches!(byte, b'*' | b'%'))
}

/// Returns whether this can be the name of an attribute: not empty, no empty component, no wildcard.
fn is_attribute_name(name: IString<'_>) -> bool {
    let mut before = b'.';
    let is_valid = name.iter().all(|byte| {
        let is_valid =
            matches!(byte, b'!'..=b'~') && !matches!(byte, b'*' | b'%') && (before, byte) != (b'.', b'.');
        before = byte;
        is_valid
    });
    is_valid && before != b'.'
}

/// The entries and attributes that a FETCH asks for.
pub(crate) type Requested<'i> = (LazyList<'i, AnnotationPattern<'i>>, LazyList<'i, IString<'i>>);

/// `SP "(" entries SP attribs ")"`, after the word `ANNOTATION` of a FETCH command
pub(crate) fn requested<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Requested<'i>> {
    let (rest, ()) = open(sp(i, cx)?.0, cx)?;
    let (rest, entries) = one_or_list(rest, cx, pattern)?;
    let (rest, attributes) = one_or_list(sp(rest, cx)?.0, cx, attribute_name)?;
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, (entries, attributes)))
}

/// `element / "(" element *(SP element) ")"`
fn one_or_list<'i, T: Element<'i> + 'i>(
    i: &'i [u8],
    cx: &Context,
    element: impl Fn(&'i [u8], &Context) -> Parsed<'i, T>,
) -> Parsed<'i, LazyList<'i, T>> {
    if i.first() == Some(&b'(') {
        return one_or_more(i, cx, element);
    }
    let (rest, _) = element(i, cx)?;
    Ok((rest, LazyList::wire(taken(i, rest), Attempt::First)))
}

/// `entry-match = list-mailbox`, which is `1*list-char / string`
fn pattern<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, AnnotationPattern<'i>> {
    let end = i.iter().position(|byte| !is_list_char(*byte)).unwrap_or(i.len());
    let (rest, name) = match i.split_at_checked(end) {
        Some((name @ [_, ..], rest)) => (rest, IString::atom(name)),
        _ => astring(i, cx)?,
    };
    if is_pattern(name) { Ok((rest, AnnotationPattern(name))) } else { expected(i, "the name of an entry") }
}

/// `entry = astring`. *Tolerant*: any name.
fn entry_name<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    let (rest, name) = astring(i, cx)?;
    if is_entry_name(name) || cx.repair(Repair::StringForm) {
        Ok((rest, name))
    } else {
        expected(i, "the name of an entry, which begins with a slash")
    }
}

/// `attrib = astring`. *Tolerant*: any name.
fn attribute_name<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    let (rest, name) = astring(i, cx)?;
    if is_attribute_name(name) || cx.repair(Repair::StringForm) {
        Ok((rest, name))
    } else {
        expected(i, "the name of an attribute")
    }
}

/// `"(" entry-att *(SP entry-att) ")" / "(" entry *(SP entry) ")"`, the value of the FETCH item `ANNOTATION`
pub(crate) fn entries<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, AnnotationEntries<'i>> {
    let (inner, ()) = open(i, cx)?;
    let (behind, _) = entry_name(inner, cx)?;
    if matches!(behind, [b' ', b'(', ..]) {
        let (rest, entries) = one_or_more(i, cx, entry)?;
        return Ok((rest, AnnotationEntries::Values(entries)));
    }
    let (rest, names) = one_or_more(i, cx, entry_name)?;
    Ok((rest, AnnotationEntries::Changed(names)))
}

/// `entry-att = entry SP "(" att-value *(SP att-value) ")"`
fn entry<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, AnnotationEntry<'i>> {
    let (rest, name) = entry_name(i, cx)?;
    let (rest, attributes) = one_or_more(sp(rest, cx)?.0, cx, attribute)?;
    Ok((rest, AnnotationEntry { name, attributes }))
}

/// `att-value = attrib SP (nstring / literal8)`
fn attribute<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, AnnotationAttribute<'i>> {
    let (rest, name) = attribute_name(i, cx)?;
    let (rest, value) = nstring8(sp(rest, cx)?.0, cx)?;
    Ok((rest, AnnotationAttribute { name, value }))
}

/// `"NONE" / (("READ-ONLY" / nz-number) [SP "NOPRIVATE"])`
pub(crate) fn support<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, AnnotationSupport> {
    if let Ok((rest, ())) = word(i, b"NONE", "") {
        return Ok((rest, AnnotationSupport { access: AnnotationAccess::None, no_private: false }));
    }
    let (rest, access) = match word(i, b"READ-ONLY", "") {
        Ok((rest, ())) => (rest, AnnotationAccess::ReadOnly),
        Err(_) => {
            let (rest, size) = nz_number(i, cx)?;
            let Some(size) = NonZeroU32::new(size) else { return expected(i, "NONE, READ-ONLY or a size") };
            (rest, AnnotationAccess::MaxSize(size))
        }
    };
    match rest.strip_prefix(b" ").map(|behind| word(behind, b"NOPRIVATE", "NOPRIVATE")) {
        Some(parsed) => parsed.map(|(rest, ())| (rest, AnnotationSupport { access, no_private: true })),
        None => Ok((rest, AnnotationSupport { access, no_private: false })),
    }
}

/// Writes the argument of the response code `ANNOTATIONS`.
pub(crate) fn put_support<S: Sink + ?Sized>(support: AnnotationSupport, out: &mut S) {
    match support.access {
        AnnotationAccess::None => return out.put(b"NONE"),
        AnnotationAccess::ReadOnly => out.put(b"READ-ONLY"),
        AnnotationAccess::MaxSize(size) => number(size.get().into(), out),
    }
    if support.no_private {
        out.put(b" NOPRIVATE");
    }
}

impl<S: CommandSink> Writer<'_, S> {
    /// `"ANNOTATION" SP "(" entries SP attribs ")"`
    pub(crate) fn annotation(
        &mut self,
        entries: LazyList<'_, AnnotationPattern<'_>>,
        attributes: LazyList<'_, IString<'_>>,
    ) -> Written {
        self.put(b"ANNOTATION (");
        self.one_or_more("list of entries", entries, |writer, AnnotationPattern(name)| {
            if !is_pattern(name) {
                return fault("name of an entry", ArgumentFault::ForbiddenByte);
            }
            writer.string("name of an entry", name)
        })?;
        self.put(b" ");
        self.one_or_more("list of attributes", attributes, |writer, name| {
            if !is_attribute_name(name) {
                return fault("name of an attribute", ArgumentFault::ForbiddenByte);
            }
            writer.astring("name of an attribute", name)
        })?;
        self.put(b")");
        Ok(())
    }
}

fn can_entry_be_written(entry: &AnnotationEntry<'_>) -> bool {
    is_entry_name(entry.name) && entry.attributes.iter().any(|attribute| is_attribute_name(attribute.name))
}

/// Returns whether an item has something to say.
pub(crate) fn can_be_written(entries: &AnnotationEntries<'_>) -> bool {
    match entries {
        AnnotationEntries::Values(entries) => entries.iter().any(|entry| can_entry_be_written(&entry)),
        AnnotationEntries::Changed(names) => names.iter().any(is_entry_name),
    }
}

/// Writes the value of the FETCH item `ANNOTATION`.
pub(crate) fn put_entries<S: Sink + ?Sized>(entries: &AnnotationEntries<'_>, out: &mut S) {
    match entries {
        AnnotationEntries::Values(entries) => {
            let named = entries.iter().filter(can_entry_be_written);
            parenthesised(named, out, |entry: AnnotationEntry<'_>, out: &mut S| {
                put_astring(entry.name, out);
                out.put(b" ");
                let named = entry.attributes.iter().filter(|attribute| is_attribute_name(attribute.name));
                parenthesised(named, out, |attribute: AnnotationAttribute<'_>, out: &mut S| {
                    put_astring(attribute.name, out);
                    out.put(b" ");
                    put_nstring8(attribute.value, out);
                });
            });
        }
        AnnotationEntries::Changed(names) => {
            let named = names.iter().filter(|name| is_entry_name(*name));
            parenthesised(named, out, |name, out: &mut S| put_astring(name, out));
        }
    }
}

impl Sealed for AnnotationPattern<'_> {}
impl Sealed for AnnotationEntry<'_> {}
impl Sealed for AnnotationAttribute<'_> {}

impl<'i> Element<'i> for AnnotationPattern<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        pattern(i, cx).ok()
    }
}

impl<'i> Element<'i> for AnnotationEntry<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        entry(i, cx).ok()
    }
}

impl<'i> Element<'i> for AnnotationAttribute<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        attribute(i, cx).ok()
    }
}

plain!(AnnotationSupport);

owned_struct!(AnnotationPattern { 0 });

owned_struct!(AnnotationEntry { name, attributes });

owned_struct!(AnnotationAttribute { name, value });

owned_enum!(AnnotationEntries { Values(a), Changed(a) });
