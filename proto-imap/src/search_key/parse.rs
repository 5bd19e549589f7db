//! Parses search keys.

use crate::date_time::Date;
use crate::date_time::parse::date;
use crate::flags::Keyword;
use crate::grammar::characters::is_atom_char;
use crate::grammar::lazy_list::{Element, LazyList, LazyValue};
use crate::grammar::number::{number64, nz_number};
use crate::grammar::primitive::{atom, close, open, sp, taken};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::astring;
use crate::grammar::string::parse::quoted;
use crate::grammar::{Attempt, Context, MAX_DEPTH, Parsed, expected};
use crate::search_key::{EntryKind, InvalidSearchKeys, ModSeqEntry, SearchKey};
use crate::sequence_set::{SequenceSet, sequence_set};

impl<'i> SearchKey<'i> {
    /// Parses search keys from text, as in a SEARCH command: `UNSEEN FROM ann SUBJECT "two words"`.
    ///
    /// # Errors
    /// [`InvalidSearchKeys`] if the text is not a list of search keys.
    pub fn parse_list(text: &'i str) -> Result<LazyList<'i, Self>, InvalidSearchKeys> {
        let at = |rest: &[u8]| InvalidSearchKeys { offset: text.len().saturating_sub(rest.len()) };
        match search_program(text.as_bytes(), &Context::strict()) {
            Ok(([], keys)) => Ok(keys),
            Ok((rest, _)) => Err(at(rest)),
            Err(nom::Err::Error(error) | nom::Err::Failure(error)) => Err(at(error.rest)),
            Err(nom::Err::Incomplete(_)) => Err(at(b"")),
        }
    }
}

/// `search-key *(SP search-key)`, up to the line end. The keys are nested at most [`MAX_DEPTH`] deep.
pub(crate) fn search_program<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, SearchKey<'i>>> {
    keys(i, cx, 0)
}

/// `search-key *(SP search-key)`
fn keys<'i>(i: &'i [u8], cx: &Context, depth: u8) -> Parsed<'i, LazyList<'i, SearchKey<'i>>> {
    let mut rest = i;
    loop {
        (rest, _) = search_key(rest, cx, depth)?;
        if rest.first() != Some(&b' ') {
            return Ok((rest, LazyList::wire(taken(i, rest), Attempt::First)));
        }
        let (behind, ()) = sp(rest, cx)?;
        if matches!(behind.first(), Some(b')' | b'\r' | b'\n')) && cx.repair(Repair::ExtraSpace) {
            return Ok((behind, LazyList::wire(taken(i, rest), Attempt::First)));
        }
        rest = behind;
    }
}

/// The expected element in the error for search keys that are nested too deeply. It reports a limit, not a syntax
/// error.
pub(crate) const TOO_DEEP: &str = "fewer nested search keys";

/// The length of the longest known name.
const LONGEST: usize = 17;

/// `search-key`. `depth` is the nesting depth so far.
fn search_key<'i>(i: &'i [u8], cx: &Context, depth: u8) -> Parsed<'i, SearchKey<'i>> {
    const WHAT: &str = "a search key";
    if depth > MAX_DEPTH {
        return expected(i, TOO_DEEP);
    }
    match i.first() {
        Some(b'(') => {
            let (rest, ()) = open(i, cx)?;
            let (rest, all) = keys(rest, cx, depth + 1)?;
            let (rest, ()) = close(rest, cx)?;
            return Ok((rest, SearchKey::And(all)));
        }
        Some(b'0'..=b'9' | b'*' | b'$') => {
            return sequence_set(i).map(|(rest, set)| (rest, SearchKey::Sequence(set)));
        }
        _ => {}
    }
    let end = i.iter().position(|byte| !is_atom_char(*byte)).unwrap_or(i.len());
    let (name, rest) = i.split_at(end);
    let mut upper = [0; LONGEST];
    let Some(upper) = upper.get_mut(..name.len()) else { return expected(i, WHAT) };
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    if let Some(key) = plain(upper) {
        return Ok((rest, key));
    }
    if let Some(make) = with_text(upper) {
        let (rest, text) = astring(sp(rest, cx)?.0, cx)?;
        return Ok((rest, make(text)));
    }
    if let Some(make) = with_date(upper) {
        let (rest, day) = date(sp(rest, cx)?.0)?;
        return Ok((rest, make(day)));
    }
    match &*upper {
        b"FUZZY" | b"NOT" | b"OR" => combined(upper, sp(rest, cx)?.0, cx, depth + 1),
        b"FILTER" | b"HEADER" | b"KEYWORD" | b"LARGER" | b"MODSEQ" | b"OLDER" | b"SMALLER" | b"UID"
        | b"UNKEYWORD" | b"X-GM-MSGID" | b"X-GM-THRID" | b"YOUNGER" => other(upper, sp(rest, cx)?.0, cx),
        _ => expected(i, WHAT),
    }
}

/// Returns the keys that are a single word.
fn plain(name: &[u8]) -> Option<SearchKey<'static>> {
    Some(match name {
        b"ALL" => SearchKey::All,
        b"ANSWERED" => SearchKey::Answered,
        b"DELETED" => SearchKey::Deleted,
        b"DRAFT" => SearchKey::Draft,
        b"FLAGGED" => SearchKey::Flagged,
        b"NEW" => SearchKey::New,
        b"OLD" => SearchKey::Old,
        b"RECENT" => SearchKey::Recent,
        b"SAVEDATESUPPORTED" => SearchKey::SaveDateSupported,
        b"SEEN" => SearchKey::Seen,
        b"UNANSWERED" => SearchKey::Unanswered,
        b"UNDELETED" => SearchKey::Undeleted,
        b"UNDRAFT" => SearchKey::Undraft,
        b"UNFLAGGED" => SearchKey::Unflagged,
        b"UNSEEN" => SearchKey::Unseen,
        _ => return None,
    })
}

/// Returns the constructor of the keys that are followed by an `astring`.
fn with_text<'i>(name: &[u8]) -> Option<fn(IString<'i>) -> SearchKey<'i>> {
    Some(match name {
        b"BCC" => SearchKey::Bcc,
        b"BODY" => SearchKey::Body,
        b"CC" => SearchKey::Cc,
        b"EMAILID" => SearchKey::EmailId,
        b"FROM" => SearchKey::From,
        b"SUBJECT" => SearchKey::Subject,
        b"TEXT" => SearchKey::Text,
        b"THREADID" => SearchKey::ThreadId,
        b"TO" => SearchKey::To,
        b"X-GM-LABELS" => SearchKey::GmailLabel,
        b"X-GM-RAW" => SearchKey::GmailRaw,
        _ => return None,
    })
}

/// Returns the constructor of the keys that are followed by a `date`.
fn with_date<'i>(name: &[u8]) -> Option<fn(Date) -> SearchKey<'i>> {
    Some(match name {
        b"BEFORE" => SearchKey::Before,
        b"ON" => SearchKey::On,
        b"SAVEDBEFORE" => SearchKey::SavedBefore,
        b"SAVEDON" => SearchKey::SavedOn,
        b"SAVEDSINCE" => SearchKey::SavedSince,
        b"SENTBEFORE" => SearchKey::SentBefore,
        b"SENTON" => SearchKey::SentOn,
        b"SENTSINCE" => SearchKey::SentSince,
        b"SINCE" => SearchKey::Since,
        _ => return None,
    })
}

/// Parses the keys that contain keys, after their name and the space.
fn combined<'i>(name: &[u8], i: &'i [u8], cx: &Context, depth: u8) -> Parsed<'i, SearchKey<'i>> {
    let nested = |i: &'i [u8]| -> Parsed<'i, LazyValue<'i, SearchKey<'i>>> {
        let (rest, _) = search_key(i, cx, depth)?;
        Ok((rest, LazyValue::wire(taken(i, rest), Attempt::First)))
    };
    let (rest, one) = nested(i)?;
    Ok(match name {
        b"OR" => {
            let (rest, other) = nested(sp(rest, cx)?.0)?;
            (rest, SearchKey::Or(one, other))
        }
        b"NOT" => (rest, SearchKey::Not(one)),
        _ => (rest, SearchKey::Fuzzy(one)),
    })
}

/// Parses the other keys, after their name and the space.
fn other<'i>(name: &[u8], i: &'i [u8], cx: &Context) -> Parsed<'i, SearchKey<'i>> {
    Ok(match name {
        b"HEADER" => {
            let (rest, name) = astring(i, cx)?;
            let (rest, text) = astring(sp(rest, cx)?.0, cx)?;
            (rest, SearchKey::Header { name, text })
        }
        b"KEYWORD" => atom(i).map(|(rest, name)| (rest, SearchKey::Keyword(Keyword::checked(name))))?,
        b"UNKEYWORD" => atom(i).map(|(rest, name)| (rest, SearchKey::Unkeyword(Keyword::checked(name))))?,
        b"FILTER" => filter_name(i).map(|(rest, name)| (rest, SearchKey::Filter(name)))?,
        b"LARGER" => number64(i, cx).map(|(rest, size)| (rest, SearchKey::Larger(size)))?,
        b"SMALLER" => number64(i, cx).map(|(rest, size)| (rest, SearchKey::Smaller(size)))?,
        b"OLDER" => nz_number(i, cx).map(|(rest, seconds)| (rest, SearchKey::Older(seconds)))?,
        b"YOUNGER" => nz_number(i, cx).map(|(rest, seconds)| (rest, SearchKey::Younger(seconds)))?,
        b"X-GM-MSGID" => u64_number(i).map(|(rest, id)| (rest, SearchKey::GmailMessageId(id)))?,
        b"X-GM-THRID" => u64_number(i).map(|(rest, id)| (rest, SearchKey::GmailThreadId(id)))?,
        b"UID" => {
            let (rest, set): (_, SequenceSet<'i>) = sequence_set(i)?;
            (rest, SearchKey::Uid(set))
        }
        _ => return mod_seq(i, cx),
    })
}

/// `search-modsequence = "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer`, after the name
fn mod_seq<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SearchKey<'i>> {
    let (mut rest, mut entry) = (i, None);
    if i.first() == Some(&b'"') {
        let (behind, name) = quoted(i, cx)?;
        let (behind, ()) = sp(behind, cx)?;
        let (after, word) = atom(behind)?;
        let kind = match () {
            () if word.eq_ignore_ascii_case(b"priv") => EntryKind::Private,
            () if word.eq_ignore_ascii_case(b"shared") => EntryKind::Shared,
            () if word.eq_ignore_ascii_case(b"all") => EntryKind::All,
            () => return expected(behind, "priv, shared or all"),
        };
        entry = Some(ModSeqEntry { name, kind });
        (rest, ()) = sp(after, cx)?;
    }
    let (rest, mod_sequence) = number64(rest, cx)?;
    Ok((rest, SearchKey::ModSeq { entry, mod_sequence }))
}

/// `filter-name = 1*<any ATOM-CHAR except "/">` (RFC 5466)
pub(crate) fn filter_name(i: &[u8]) -> Parsed<'_, IString<'_>> {
    match atom(i) {
        Ok((rest, name)) if !name.contains(&b'/') => Ok((rest, IString::atom(name))),
        _ => expected(i, "the name of a filter"),
    }
}

/// Parses an unsigned number of 64 bits.
fn u64_number(i: &[u8]) -> Parsed<'_, u64> {
    let end = i.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(i.len());
    let (digits, rest) = i.split_at(end);
    let number = core::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.map_or_else(|| expected(i, "a number below 2^64"), |number| Ok((rest, number)))
}

impl<'i> Element<'i> for SearchKey<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        search_key(i, cx, 0).ok()
    }
}
