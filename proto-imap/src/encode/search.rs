//! Results of searches, and number lists (RFC 9051 §9 `esearch-response`, `sequence-set`).

use super::Sink;
use super::primitive::{is_atom, number, value};
use crate::types::{
    EsearchResponse, NumberKind, NumberRange, Numbers, PartialRange, SearchResponse, SearchReturnData,
    VanishedWhen,
};

/// `sequence-set` without `*`. Zeros are left out; of no numbers at all nothing is written.
pub fn sequence_set(numbers: Numbers<'_>, out: &mut (impl Sink + ?Sized)) {
    let mut first = true;
    for range in numbers.ranges().filter(|range| range.last() > 0) {
        if !first {
            out.put(b",");
        }
        first = false;
        seq_range(NumberRange::new(range.first().max(1), range.last()), out);
    }
}

fn seq_range(range: NumberRange, out: &mut (impl Sink + ?Sized)) {
    number(range.first().into(), out);
    if range.last() != range.first() {
        out.put(b":");
        number(range.last().into(), out);
    }
}

/// `*(SP nz-number) [SP search-sort-mod-seq]`: each number by itself, ranges being for ESEARCH only.
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

/// `esearch-response`, without the asterisk and the line end. Results without any number are left out.
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
        // A string: some clients look for the quotes.
        super::primitive::string(tag, out);
        before = b" ";
    }
    if let Some(mailbox) = esearch.mailbox {
        out.put(before);
        out.put(b"MAILBOX ");
        super::primitive::astring(mailbox, out);
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
            partial_range(page, out);
            out.put(b" ");
            if numbers.is_empty() {
                out.put(b"NIL")
            } else {
                sequence_set(numbers, out)
            }
            out.put(b")");
        }
        SearchReturnData::Other { name, value: raw } if is_atom(name) => {
            out.put(b" ");
            out.put(name.raw());
            out.put(b" ");
            value(raw, out);
        }
        SearchReturnData::Other { .. } => {}
    }
}

fn partial_range(page: PartialRange, out: &mut (impl Sink + ?Sized)) {
    let (sign, range): (&[u8], _) = match page {
        PartialRange::FromFirst(range) => (b"", range),
        PartialRange::FromLast(range) => (b"-", range),
    };
    out.put(sign);
    number(range.first().max(1).into(), out);
    out.put(b":");
    out.put(sign);
    number(range.last().max(1).into(), out);
}

/// `"VANISHED" [SP "(EARLIER)"] SP known-uids`
pub(crate) fn vanished(when: VanishedWhen, uids: Numbers<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(match when {
        VanishedWhen::Now => b"VANISHED ".as_slice(),
        VanishedWhen::Earlier => b"VANISHED (EARLIER) ",
    });
    sequence_set(uids, out);
}
