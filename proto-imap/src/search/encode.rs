//! Writes the arguments of SEARCH, and the SEARCH, SORT and ESEARCH responses.

use crate::grammar::MAX_DEPTH;
use crate::grammar::command_writer::{
    ArgumentFault, CommandSink, EightBit, NameEncoding, NullSink, Writer, Written, fault,
};
use crate::grammar::lazy_list::LazyList;
use crate::grammar::sink::{Sink, number, parenthesised, separated};
use crate::grammar::string::IString;
use crate::grammar::string::encode::is_atom;
use crate::grammar::value::write_value;
use crate::numbers::encode::sequence_set;
use crate::partial_range::write_partial_range;
use crate::search::{
    ContextChange, EsearchResponse, NumberKind, SearchCommand, SearchResponse, SearchReturnData,
    SearchReturnOption,
};

/// `*(SP nz-number) [SP search-sort-mod-seq]`. Each number is written separately, because only ESEARCH allows ranges.
pub(crate) fn search(search: &SearchResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    for one in search.numbers.iter().filter(|one| *one > 0) {
        out.put(b" ");
        number(one.into(), out);
    }
    if let Some(value) = search.mod_sequence.filter(|value| *value > 0) {
        out.put(b" (MODSEQ ");
        number(value, out);
        out.put(b")");
    }
}

/// `esearch-response`, without the asterisk and the line end. Results with an empty list of numbers are left out.
pub(crate) fn esearch_response(esearch: &EsearchResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b"ESEARCH");
    search_correlator(esearch, out);
    if esearch.number_kind == NumberKind::Uids {
        out.put(b" UID");
    }
    for result in esearch.results {
        search_return_data(&result, out);
    }
}

/// `[SP "(" one-correlator *(SP one-correlator) ")"]` (RFC 7377). A UIDVALIDITY of 0 is left out.
fn search_correlator(esearch: &EsearchResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    let mut before: &[u8] = b" (";
    if let Some(tag) = esearch.tag {
        out.put(before);
        out.put(b"TAG ");
        // Written as a string, because some clients expect the quotes.
        crate::grammar::string::encode::string(tag, out);
        before = b" ";
    }
    if let Some(mailbox) = esearch.mailbox {
        out.put(before);
        out.put(b"MAILBOX ");
        crate::grammar::string::encode::astring(mailbox, out);
        before = b" ";
    }
    if let Some(uid_validity) = esearch.uid_validity.filter(|value| *value > 0) {
        out.put(before);
        out.put(b"UIDVALIDITY ");
        number(uid_validity.into(), out);
        before = b" ";
    }
    if before == b" " {
        out.put(b")");
    }
}

pub(crate) fn search_return_data<S: Sink + ?Sized>(result: &SearchReturnData<'_>, out: &mut S) {
    let with_number = |name: &[u8], value: u64, out: &mut S| {
        out.put(name);
        number(value, out);
    };
    match *result {
        SearchReturnData::Min(0) | SearchReturnData::Max(0) => {}
        SearchReturnData::Min(value) => with_number(b" MIN ", value.into(), out),
        SearchReturnData::Max(value) => with_number(b" MAX ", value.into(), out),
        SearchReturnData::All(numbers) if numbers.is_empty() => {}
        SearchReturnData::All(numbers) => {
            out.put(b" ALL ");
            sequence_set(numbers, out);
        }
        SearchReturnData::Count(value) => with_number(b" COUNT ", value.into(), out),
        SearchReturnData::ModSeq(value) => with_number(b" MODSEQ ", value, out),
        SearchReturnData::Partial { page, numbers } => {
            out.put(b" PARTIAL (");
            write_partial_range(page, out);
            out.put(b" ");
            if numbers.is_empty() {
                out.put(b"NIL")
            } else {
                sequence_set(numbers, out)
            }
            out.put(b")");
        }
        SearchReturnData::AddTo(changes) => context_changes(b" ADDTO (", changes, out),
        SearchReturnData::RemoveFrom(changes) => context_changes(b" REMOVEFROM (", changes, out),
        SearchReturnData::Relevancy(scores) => {
            out.put(b" RELEVANCY ");
            parenthesised(scores, out, |score, out| number(score.value().into(), out));
        }
        SearchReturnData::Other { name, value: raw } if is_atom(name) => {
            out.put(b" ");
            out.put(name.raw());
            out.put(b" ");
            write_value(raw, out);
        }
        SearchReturnData::Other { .. } => {}
    }
}

/// `name "(" context-position SP sequence-set *(SP context-position SP sequence-set) ")"` (RFC 5267). Changes without
/// numbers are left out, and without any change nothing is written.
fn context_changes(name: &[u8], changes: LazyList<'_, ContextChange<'_>>, out: &mut (impl Sink + ?Sized)) {
    let changes = || changes.iter().filter(|change| change.numbers.ranges().any(|range| range.last() > 0));
    if changes().next().is_none() {
        return;
    }
    out.put(name);
    separated(changes(), out, |change, out| {
        number(change.position.into(), out);
        out.put(b" ");
        sequence_set(change.numbers, out);
    });
    out.put(b")");
}

impl<S: CommandSink> Writer<'_, S> {
    /// `"SEARCH" [search-return-opts] SP search-program`, after the word and the space
    pub(crate) fn search(&mut self, search: &SearchCommand<'_>) -> Written {
        self.search_return_opts(search.returns)?;
        self.charset(search)?;
        if self.separated(search.keys, |writer, key| writer.search_key(key, MAX_DEPTH))? == 0 {
            return fault("list of search keys", ArgumentFault::Empty);
        }
        Ok(())
    }

    /// `["RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" SP]`
    pub(crate) fn search_return_opts(
        &mut self,
        returns: Option<LazyList<'_, SearchReturnOption>>,
    ) -> Written {
        let Some(returns) = returns else { return Ok(()) };
        self.put(b"RETURN ");
        self.parenthesised(returns, |writer, option| {
            writer.put(option.as_str().as_bytes());
            match option {
                SearchReturnOption::Partial(page) => {
                    writer.put(b" ");
                    writer.page(page)
                }
                _ => Ok(()),
            }
        })?;
        self.put(b" ");
        Ok(())
    }

    /// `["CHARSET" SP charset SP]`. If UTF-8 is enabled, it is the default and RFC 6855 §3 forbids to name it.
    /// Otherwise it is written if the texts need it.
    pub(crate) fn charset(&mut self, search: &SearchCommand<'_>) -> Written {
        let mut nowhere = NullSink;
        let mut dry = Writer::new(&mut nowhere, self.options);
        let utf8_enabled = self.options.names == NameEncoding::Utf8;
        let charset = match search.charset {
            Some(charset) if utf8_enabled && charset.eq_ignore_ascii_case(b"UTF-8") => None,
            Some(charset) => Some(charset),
            None => {
                dry.separated(search.keys, |writer, key| writer.search_key(key, MAX_DEPTH))?;
                match dry.eight_bit {
                    Some(EightBit::Other) => return fault("search text", ArgumentFault::NotUtf8),
                    Some(EightBit::Utf8) if !utf8_enabled => Some(IString::new(b"UTF-8")),
                    _ => None,
                }
            }
        };
        let Some(charset) = charset else { return Ok(()) };
        self.put(b"CHARSET ");
        self.charset_name(charset)?;
        self.put(b" ");
        Ok(())
    }

    /// `charset`: ASCII without control characters.
    pub(crate) fn charset_name(&mut self, charset: IString<'_>) -> Written {
        let name = charset.as_bytes();
        if !name.is_ascii() || name.iter().any(|byte| byte.is_ascii_control()) {
            return fault("charset", ArgumentFault::NotAnAtom);
        }
        self.astring("charset", charset)
    }
}
