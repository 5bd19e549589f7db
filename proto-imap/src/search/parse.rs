//! Parses the arguments of SEARCH, and the SEARCH, SORT and ESEARCH responses.

use crate::grammar::lazy_list::{Element, LazyList, known_word, list_of, one_or_more};
use crate::grammar::number::{mod_sequence_value, number, number64, nz_number};
use crate::grammar::primitive::{atom, close, nil, open, sp, spaces_before_close, taken, word};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::astring;
use crate::grammar::value::value;
use crate::grammar::{Context, Parsed, expected};
use crate::numbers::Numbers;
use crate::numbers::parse::{known_sequence_set, numbers};
use crate::partial_range::partial_range;
use crate::search::{
    ContextChange, EsearchResponse, NumberKind, RelevancyScore, SearchCommand, SearchResponse,
    SearchReturnData, SearchReturnOption,
};
use crate::search_key::parse::search_program;

/// `"SEARCH" *(SP nz-number) [SP search-sort-mod-seq]`, without the word
pub(crate) fn search<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SearchResponse<'i>> {
    let (rest, numbers) = numbers(i, cx)?;
    let [b' ', behind @ ..] = rest else { return Ok((rest, SearchResponse { numbers, mod_sequence: None })) };
    if behind.first() != Some(&b'(') {
        return Ok((rest, SearchResponse { numbers, mod_sequence: None }));
    }
    let (rest, ()) = open(behind, cx)?;
    let (rest, ()) = word(rest, b"MODSEQ", "MODSEQ")?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, value) = mod_sequence_value(rest, cx)?;
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, SearchResponse { numbers, mod_sequence: Some(value) }))
}

/// `esearch-response = "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data)`, without the word
pub(crate) fn esearch_response<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, EsearchResponse<'i>> {
    let (results, mut esearch) = esearch_head(i, cx)?;
    let mut rest = results;
    while rest.first() == Some(&b' ') && !rest.trim_ascii_start().is_empty() {
        let (behind, ()) = sp(rest, cx)?;
        (rest, _) = search_return_data(behind, cx)?;
    }
    esearch.results = LazyList::wire(taken(results, rest), cx.attempt());
    Ok((rest, esearch))
}

/// `[search-correlator] [SP "UID"]`
pub(crate) fn esearch_head<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, EsearchResponse<'i>> {
    let mut esearch = EsearchResponse {
        tag: None,
        mailbox: None,
        uid_validity: None,
        number_kind: NumberKind::SequenceNumbers,
        results: LazyList::EMPTY,
    };
    let mut rest = i;
    if rest.first() == Some(&b' ') && rest.trim_ascii_start().first() == Some(&b'(') {
        rest = search_correlator(sp(rest, cx)?.0, &mut esearch, cx)?.0;
    }
    if let Ok((behind, ())) = sp(rest, cx).and_then(|(behind, ())| word(behind, b"UID", "UID")) {
        esearch.number_kind = NumberKind::Uids;
        rest = behind;
    }
    Ok((rest, esearch))
}

/// `"(" one-correlator *(SP one-correlator) ")"`, where `one-correlator = ("TAG" SP tag-string) / ("MAILBOX" SP
/// astring) / ("UIDVALIDITY" SP nz-number)` in any order, each at most once (RFC 7377).
fn search_correlator<'i>(i: &'i [u8], esearch: &mut EsearchResponse<'i>, cx: &Context) -> Parsed<'i, ()> {
    let (mut rest, ()) = open(i, cx)?;
    loop {
        let (behind, name) = atom(rest)?;
        let (behind, ()) = sp(behind, cx)?;
        let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
        if is(b"TAG") && esearch.tag.is_none() {
            let (behind, tag) = astring(behind, cx)?;
            (rest, esearch.tag) = (behind, Some(tag));
        } else if is(b"MAILBOX") && esearch.mailbox.is_none() {
            let (behind, mailbox) = astring(behind, cx)?;
            (rest, esearch.mailbox) = (behind, Some(mailbox));
        } else if is(b"UIDVALIDITY") && esearch.uid_validity.is_none() {
            let (behind, value) = nz_number(behind, cx)?;
            (rest, esearch.uid_validity) = (behind, Some(value));
        } else {
            return expected(rest, "TAG, MAILBOX or UIDVALIDITY");
        }
        rest = spaces_before_close(rest, cx);
        if rest.first() == Some(&b')') {
            return close(rest, cx);
        }
        (rest, ()) = sp(rest, cx)?;
    }
}

/// `search-return-data`; an unknown result takes one value.
pub(crate) fn search_return_data<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SearchReturnData<'i>> {
    let (rest, name) = atom(i)?;
    let (rest, ()) = sp(rest, cx)?;
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    if is(b"MIN") {
        nz_number(rest, cx).map(|(rest, number)| (rest, SearchReturnData::Min(number)))
    } else if is(b"MAX") {
        nz_number(rest, cx).map(|(rest, number)| (rest, SearchReturnData::Max(number)))
    } else if is(b"COUNT") {
        number(rest, cx).map(|(rest, number)| (rest, SearchReturnData::Count(number)))
    } else if is(b"ALL") {
        known_sequence_set(rest, cx).map(|(rest, numbers)| (rest, SearchReturnData::All(numbers)))
    } else if is(b"MODSEQ") {
        number64(rest, cx).map(|(rest, value)| (rest, SearchReturnData::ModSeq(value)))
    } else if is(b"PARTIAL") {
        partial(rest, cx)
    } else if is(b"ADDTO") {
        one_or_more(rest, cx, context_change).map(|(rest, changes)| (rest, SearchReturnData::AddTo(changes)))
    } else if is(b"REMOVEFROM") {
        one_or_more(rest, cx, context_change)
            .map(|(rest, changes)| (rest, SearchReturnData::RemoveFrom(changes)))
    } else if is(b"RELEVANCY") {
        list_of(rest, cx, score).map(|(rest, scores)| (rest, SearchReturnData::Relevancy(scores)))
    } else {
        value(rest, cx).map(|(rest, value)| {
            (rest, SearchReturnData::Other { name: IString::new(name), value: IString::new(value) })
        })
    }
}

/// `"PARTIAL" SP "(" partial-range SP partial-results ")"` (RFC 9394), without the word
fn partial<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SearchReturnData<'i>> {
    let (rest, ()) = open(i, cx)?;
    let (rest, page) = partial_range(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, numbers) = match nil(rest) {
        Ok((rest, ())) => (rest, Numbers::EMPTY),
        Err(_) => known_sequence_set(rest, cx)?,
    };
    let (rest, ()) = close(spaces_before_close(rest, cx), cx)?;
    Ok((rest, SearchReturnData::Partial { page, numbers }))
}

/// `context-position SP sequence-set` (RFC 5267)
fn context_change<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ContextChange<'i>> {
    let (rest, position) = number(i, cx)?;
    let (rest, numbers) = known_sequence_set(sp(rest, cx)?.0, cx)?;
    Ok((rest, ContextChange { position, numbers }))
}

/// `score = 1*3DIGIT`, from 1 to 100 (RFC 6203). *Tolerant*: other numbers, which are clamped.
pub(crate) fn score<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, RelevancyScore> {
    let (rest, value) = number(i, cx)?;
    let score = u8::try_from(value).ok().and_then(RelevancyScore::new);
    match score {
        Some(score) => Ok((rest, score)),
        None if cx.repair(if value == 0 { Repair::ZeroNumber } else { Repair::NumberTooLarge }) => {
            Ok((rest, RelevancyScore(value.clamp(1, 100) as u8)))
        }
        None => expected(i, "a score from 1 to 100"),
    }
}

impl<'i> Element<'i> for ContextChange<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        context_change(i, cx).ok()
    }
}

impl<'i> Element<'i> for RelevancyScore {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        score(i, cx).ok()
    }
}

impl<'i> Element<'i> for SearchReturnData<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        search_return_data(i, cx).ok()
    }
}

/// `search = "SEARCH" [search-return-opts] SP search-program`
pub(crate) fn search_command<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SearchCommand<'i>> {
    let (mut rest, returns) = search_return_opts(i, cx)?;
    let mut charset = None;
    if let Ok((behind, ())) = word(rest, b"CHARSET", "") {
        let (behind, name) = astring(sp(behind, cx)?.0, cx)?;
        charset = Some(name);
        (rest, ()) = sp(behind, cx)?;
    }
    let (rest, keys) = search_program(rest, cx)?;
    Ok((rest, SearchCommand { returns, charset, keys }))
}

/// `["RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" SP]`
pub(crate) fn search_return_opts<'i>(
    i: &'i [u8],
    cx: &Context,
) -> Parsed<'i, Option<LazyList<'i, SearchReturnOption>>> {
    let Ok((rest, ())) = word(i, b"RETURN", "") else { return Ok((i, None)) };
    let (rest, options) = list_of(sp(rest, cx)?.0, cx, search_return_opt)?;
    let (rest, ()) = sp(rest, cx)?;
    Ok((rest, Some(options)))
}

/// `search-return-opt = "MIN" / "MAX" / "ALL" / "COUNT" / "SAVE" / …`
fn search_return_opt<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SearchReturnOption> {
    if let Ok((rest, ())) = word(i, b"PARTIAL", "") {
        let (rest, page) = partial_range(sp(rest, cx)?.0, cx)?;
        return Ok((rest, SearchReturnOption::Partial(page)));
    }
    known_word(i, SearchReturnOption::from_wire, "a return option of SEARCH")
}

impl<'i> Element<'i> for SearchReturnOption {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        search_return_opt(i, cx).ok()
    }
}
