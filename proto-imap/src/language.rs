//! `LANGUAGE` and `COMPARATOR`: the language of a server's texts, and how it compares strings (RFC 5255).

use crate::grammar::command_writer::{CommandSink, Writer, Written};
use crate::grammar::lazy_list::{LazyList, one_or_more};
use crate::grammar::owned::owned_struct;
use crate::grammar::primitive::taken;
use crate::grammar::sink::{Sink, parenthesised};
use crate::grammar::string::IString;
use crate::grammar::string::encode::astring as write_astring;
use crate::grammar::string::parse::astring;
use crate::grammar::{Context, Parsed};

/// `COMPARATOR`: how the server compares strings in SEARCH, SORT and THREAD (RFC 5255 §4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComparatorResponse<'i> {
    /// The active comparator: `i;unicode-casemap`.
    pub active: IString<'i>,
    /// The comparators that match the arguments of the command; empty if it had none.
    pub matching: LazyList<'i, IString<'i>>,
}

/// `*(SP astring)`, up to the line end
pub(crate) fn arguments<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, IString<'i>>> {
    let mut rest = i;
    while let [b' ', behind @ ..] = rest
        && !matches!(behind, [b'\r' | b'\n', ..])
    {
        (rest, _) = astring(behind, cx)?;
    }
    Ok((rest, LazyList::wire(taken(i, rest), cx.attempt())))
}

/// `"(" astring *(SP astring) ")"`
pub(crate) fn language_data<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, IString<'i>>> {
    one_or_more(i, cx, astring)
}

/// `astring [SP "(" astring *(SP astring) ")"]` (`comparator-data`)
pub(crate) fn comparator_data<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ComparatorResponse<'i>> {
    let (rest, active) = astring(i, cx)?;
    let (rest, matching) = match rest {
        [b' ', list @ ..] if list.first() == Some(&b'(') => one_or_more(list, cx, astring)?,
        _ => (rest, LazyList::EMPTY),
    };
    Ok((rest, ComparatorResponse { active, matching }))
}

impl<S: CommandSink> Writer<'_, S> {
    /// `astring *(SP astring)`
    pub(crate) fn strings(&mut self, argument: &'static str, strings: LazyList<'_, IString<'_>>) -> Written {
        self.separated(strings, |writer, string| writer.astring(argument, string)).map(|_| ())
    }
}

/// `"(" astring *(SP astring) ")"`
pub(crate) fn write_language(tags: LazyList<'_, IString<'_>>, out: &mut (impl Sink + ?Sized)) {
    parenthesised(tags, out, |tag, out| write_astring(tag, out));
}

/// `astring [SP "(" astring *(SP astring) ")"]`
pub(crate) fn write_comparator(response: &ComparatorResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    write_astring(response.active, out);
    if !response.matching.is_empty() {
        out.put(b" ");
        write_language(response.matching, out);
    }
}

owned_struct!(ComparatorResponse { active, matching });
