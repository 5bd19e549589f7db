//! Reads the responses to searches piece by piece: SEARCH, SORT, THREAD, ESEARCH and VANISHED, which can be longer than a
//! client wants to hold.
//!
//! A cursor remembers the position in the grammar. It parses as much of a response as has arrived, and never needs a part
//! again that it has used.

use crate::grammar::lazy_list::{LazyList, more};
use crate::grammar::number::{mod_sequence_value, number};
use crate::grammar::owned::owned_enum;
use crate::grammar::primitive::{atom, close, crlf, nil, open, sp, spaces, spaces_before_close, word};
use crate::grammar::repair::Repair;
use crate::grammar::{Context, Expected, Parsed, expected, into_expected};
use crate::numbers::Numbers;
use crate::numbers::parse::{known_sequence_set, numbers};
use crate::partial_range::{PartialRange, partial_range};
use crate::response::Untagged;
use crate::search::parse::{esearch_head, score, search_return_data};
use crate::search::{ContextChange, EsearchResponse, SearchResponse, SearchReturnData};
use crate::thread::parse::ThreadScan;
use crate::thread::{ThreadResponse, Threads};
use crate::vanished::{VanishedWhen, vanished_head};

/// The beginning of a response to a search that arrives in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchHead<'i> {
    /// `SEARCH`: the numbers follow as pieces of ALL, perhaps MODSEQ after them.
    Search,
    /// `SORT`: the numbers follow as pieces of ALL, in the order of the result.
    Sort,
    /// `THREAD`
    Thread,
    /// `ESEARCH`, without its results: they follow.
    Esearch(EsearchResponse<'i>),
}

/// A piece of a response to a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchPiece<'i> {
    /// A result, or the next part of it: ALL, PARTIAL and RELEVANCY can come in several parts, one after the other.
    Result(SearchReturnData<'i>),
    /// A change of ADDTO, or a part of one, with its own position.
    AddTo(ContextChange<'i>),
    /// A change of REMOVEFROM, or a part of one, with its own position.
    RemoveFrom(ContextChange<'i>),
    /// The next items of the threads. A list can begin in one piece and end in another.
    Threads(Threads<'i>),
}

impl SearchHead<'_> {
    /// Calls `f` with a response of this kind that has only this piece. All pieces of a response, one after the other, give
    /// responses that together say the same, for a program that treats long and short responses alike. A list of a THREAD
    /// response can then begin in one of them and end in another.
    pub fn with_piece<T>(&self, piece: SearchPiece<'_>, f: impl FnOnce(Untagged<'_>) -> T) -> T {
        let change;
        let result = match piece {
            SearchPiece::Threads(threads) => return f(Untagged::Thread(ThreadResponse { threads })),
            SearchPiece::Result(result) => result,
            SearchPiece::AddTo(one) => {
                change = [one];
                SearchReturnData::AddTo(LazyList::new(&change))
            }
            SearchPiece::RemoveFrom(one) => {
                change = [one];
                SearchReturnData::RemoveFrom(LazyList::new(&change))
            }
        };
        let numbers = match result {
            SearchReturnData::All(numbers) => numbers,
            _ => Numbers::EMPTY,
        };
        let mod_sequence = match result {
            SearchReturnData::ModSeq(value) => Some(value),
            _ => None,
        };
        let results = [result];
        f(match self {
            Self::Search => Untagged::Search(SearchResponse { numbers, mod_sequence }),
            Self::Sort => Untagged::Sort(SearchResponse { numbers, mod_sequence }),
            Self::Thread => Untagged::Thread(ThreadResponse { threads: Threads::EMPTY }),
            Self::Esearch(head) => {
                Untagged::Esearch(EsearchResponse { results: LazyList::new(&results), ..*head })
            }
        })
    }
}

/// How much of a response is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its end is included.
    Last,
    /// More follows.
    More,
}

/// The position in a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SearchCursor(Place);

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Before a number of SEARCH or SORT, and its space.
    Numbers,
    /// Before a result of ESEARCH, and its space.
    Results,
    /// In a set.
    Set(SetOf),
    /// Behind a set.
    BehindSet(SetOf),
    /// In the list of RELEVANCY.
    Scores,
    Threads(ThreadScan),
    /// Only the line end is left.
    End,
}

/// The result that a set belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetOf {
    All,
    Partial(PartialRange),
    /// At this position.
    AddTo(u32),
    RemoveFrom(u32),
    Vanished(VanishedWhen),
}

/// A piece that was found: a part of the text, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    Set(SetOf),
    Scores,
    Threads,
    /// A result with its name.
    Result,
    ModSeq(u64),
}

/// What comes next in a response. Offsets are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SearchStep {
    /// More of the response is needed; this much of it was used.
    More(usize),
    /// A piece between these offsets; the response was used up to the third.
    Piece(PieceKind, usize, usize, usize),
    /// Everything was parsed.
    End,
}

/// Returns whether a response can be read in pieces, judged by its first word.
pub(crate) fn has_pieces(bytes: &[u8]) -> bool {
    let Some([b'*', b' ', first, ..]) = bytes.get(..9) else { return false };
    // Most responses begin with a number.
    let word: &[u8] = match first {
        b'S' | b's' => match bytes.get(3) {
            Some(b'E' | b'e') => b"SEARCH ",
            _ => b"SORT ",
        },
        b'E' | b'e' => b"ESEARCH ",
        b'T' | b't' => b"THREAD ",
        b'V' | b'v' => b"VANISHED ",
        _ => return false,
    };
    bytes.get(2..2 + word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// The beginning of a response: what it is, except for VANISHED, its length in bytes, and the cursor behind it.
pub(crate) type Start<'i> = (Option<SearchHead<'i>>, usize, SearchCursor);

/// Parses the beginning of a response that [has pieces](has_pieces).
///
/// # Errors
/// It does not follow the grammar.
pub(crate) fn start<'i>(i: &'i [u8], cx: &Context) -> Result<Start<'i>, Failure> {
    match head(i, cx) {
        Ok((rest, (head, cursor))) => Ok((head, i.len() - rest.len(), cursor)),
        Err(error) => {
            let Expected { rest: at, what } = into_expected(error);
            Err(Failure { offset: i.len().saturating_sub(at.len()), expected: what })
        }
    }
}

fn head<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, (Option<SearchHead<'i>>, SearchCursor)> {
    let (rest, name) = atom(i.get(2..).unwrap_or_default())?;
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    let (rest, head, place) = if is(b"SEARCH") {
        (rest, Some(SearchHead::Search), Place::Numbers)
    } else if is(b"SORT") {
        (rest, Some(SearchHead::Sort), Place::Numbers)
    } else if is(b"THREAD") {
        let (rest, ()) = sp(rest, cx)?;
        (rest, Some(SearchHead::Thread), Place::Threads(ThreadScan::new(cx.thread_nesting())))
    } else if is(b"ESEARCH") {
        let (rest, head) = esearch_head(rest, cx)?;
        (rest, Some(SearchHead::Esearch(head)), Place::Results)
    } else {
        let (rest, when) = vanished_head(rest, cx)?;
        (rest, None, Place::Set(SetOf::Vanished(when)))
    };
    Ok((rest, (head, SearchCursor(place))))
}

impl SearchCursor {
    /// Parses the next piece. After [`SearchStep::More`], the next call begins where the text was used up to.
    ///
    /// # Errors
    /// The response does not follow the grammar, or only a longer part of it can tell.
    pub(crate) fn next(&mut self, i: &[u8], part: Part, cx: &Context) -> Result<SearchStep, Failure> {
        let mut rest = i;
        loop {
            let before = (part == Part::More && cx.is_tolerant()).then(|| cx.repairs.clone());
            let offset = i.len() - rest.len();
            let step = match self.0 {
                Place::Numbers => self.numbers(rest, part, cx),
                Place::Results => self.result(rest, part, cx),
                Place::Set(of) => self.set(of, rest, part, cx),
                Place::BehindSet(of) => self.behind_set(of, rest, cx),
                Place::Scores => self.scores(rest, part, cx),
                Place::Threads(scan) => self.threads(scan, rest, part, cx),
                Place::End => end(rest, part, cx),
            };
            match step {
                Ok((_, Next::More)) => return Ok(SearchStep::More(offset)),
                Ok((_, Next::End)) => return Ok(SearchStep::End),
                Ok((behind, Next::Place)) => rest = behind,
                Ok((behind, Next::Piece(kind, from, to))) => {
                    return Ok(SearchStep::Piece(kind, offset + from, offset + to, i.len() - behind.len()));
                }
                Err(error) => {
                    if let Some(before) = before {
                        cx.repairs.restore(&before);
                    }
                    if part == Part::More && offset > 0 {
                        // The rest may make sense of it.
                        return Ok(SearchStep::More(offset));
                    }
                    let Expected { rest: at, what } = into_expected(error);
                    return Err(Failure { offset: i.len().saturating_sub(at.len()), expected: what });
                }
            }
        }
    }

    /// `*(SP nz-number) [SP "(" "MODSEQ" SP mod-sequence-value ")"]`
    fn numbers<'i>(&mut self, i: &'i [u8], part: Part, cx: &Context) -> Parsed<'i, Next> {
        let end = match part {
            Part::Last => i.len(),
            // The last number may go on.
            Part::More => memchr::memrchr(b' ', i).unwrap_or(0),
        };
        let text = i.get(..end).unwrap_or_default();
        let (behind, found) = numbers(text, cx)?;
        let used = text.len() - behind.len();
        if !found.is_empty() {
            return Ok((i.get(used..).unwrap_or_default(), Next::Piece(PieceKind::Set(SetOf::All), 0, used)));
        }
        let rest = i.get(used..).unwrap_or_default();
        if let [b' ', modseq @ ..] = rest
            && spaces(modseq, &Context::tolerant()).first() == Some(&b'(')
        {
            let (rest, ()) = open(sp(rest, cx)?.0, cx)?;
            let (rest, ()) = word(rest, b"MODSEQ", "MODSEQ")?;
            let (rest, value) = mod_sequence_value(sp(rest, cx)?.0, cx)?;
            let (rest, ()) = close(rest, cx)?;
            self.0 = Place::End;
            return Ok((rest, Next::Piece(PieceKind::ModSeq(value), 0, 0)));
        }
        end_or_more(rest, part, cx)
    }

    /// `SP search-return-data`, or nothing
    fn result<'i>(&mut self, i: &'i [u8], part: Part, cx: &Context) -> Parsed<'i, Next> {
        if i.first() != Some(&b' ') || matches!(i.trim_ascii_start(), [] | [b'\r' | b'\n', ..]) {
            return end_or_more(i, part, cx);
        }
        let (begin, ()) = sp(i, cx)?;
        let (rest, name) = atom(begin)?;
        let (rest, ()) = sp(rest, cx)?;
        let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
        let (rest, place) = if is(b"ALL") {
            (rest, Place::Set(SetOf::All))
        } else if is(b"PARTIAL") {
            let (rest, ()) = open(rest, cx)?;
            let (rest, page) = partial_range(rest, cx)?;
            let (rest, ()) = sp(rest, cx)?;
            if let Ok((rest, ())) = nil(rest) {
                let (rest, ()) = close(spaces_before_close(rest, cx), cx)?;
                return Ok((rest, Next::Piece(PieceKind::Set(SetOf::Partial(page)), 0, 0)));
            }
            (rest, Place::Set(SetOf::Partial(page)))
        } else if is(b"ADDTO") || is(b"REMOVEFROM") {
            let (rest, ()) = open(rest, cx)?;
            let (rest, position) = number(rest, cx)?;
            let of = if is(b"ADDTO") { SetOf::AddTo(position) } else { SetOf::RemoveFrom(position) };
            (sp(rest, cx)?.0, Place::Set(of))
        } else if is(b"RELEVANCY") {
            (open(rest, cx)?.0, Place::Scores)
        } else {
            let (behind, _) = search_return_data(begin, cx)?;
            if part == Part::More && behind.is_empty() {
                // An atom may go on.
                return expected(i, "the end of the result");
            }
            let from = i.len() - begin.len();
            return Ok((behind, Next::Piece(PieceKind::Result, from, i.len() - behind.len())));
        };
        if rest.is_empty() {
            return expected(rest, "a result of a search");
        }
        self.0 = place;
        Ok((rest, Next::Place))
    }

    /// `sequence-set`, as far as it is there
    fn set<'i>(&mut self, of: SetOf, i: &'i [u8], part: Part, cx: &Context) -> Parsed<'i, Next> {
        let begin = spaces(i, cx);
        let from = i.len() - begin.len();
        let is_set = |byte: &u8| matches!(byte, b'0'..=b'9' | b':' | b',');
        let length = begin.iter().position(|byte| !is_set(byte));
        let (text, skipped, is_complete) = match length {
            // The last range may go on.
            None if part == Part::More => {
                let Some(comma) = memchr::memrchr(b',', begin) else { return Ok((i, Next::More)) };
                (begin.get(..comma).unwrap_or_default(), 1, false)
            }
            length => {
                let end = length.unwrap_or(begin.len());
                let behind = begin.get(end..).unwrap_or_default();
                match begin.get(..end).unwrap_or_default() {
                    // A space after a comma is repaired, if more than spaces follows.
                    [text @ .., b','] if cx.is_tolerant() => {
                        let next = behind.iter().find(|byte| **byte != b' ');
                        match next {
                            None if part == Part::More => return Ok((i, Next::More)),
                            Some(b'0'..=b'9') => (text, 1, false),
                            _ => {
                                cx.repair(Repair::ExtraSpace);
                                (text, 1, true)
                            }
                        }
                    }
                    text => (text, 0, true),
                }
            }
        };
        let (unparsed, found) = known_sequence_set(text, cx)?;
        if !unparsed.is_empty() {
            return expected(unparsed, "a set of numbers");
        }
        self.0 = match of {
            _ if is_complete => Place::BehindSet(of),
            SetOf::AddTo(position @ 1..) => {
                let count = u32::try_from(found.count()).unwrap_or(u32::MAX);
                Place::Set(SetOf::AddTo(position.saturating_add(count)))
            }
            of => Place::Set(of),
        };
        let to = from + text.len();
        Ok((i.get(to + skipped..).unwrap_or_default(), Next::Piece(PieceKind::Set(of), from, to)))
    }

    /// What follows a set: another change, or the end of the result.
    fn behind_set<'i>(&mut self, of: SetOf, i: &'i [u8], cx: &Context) -> Parsed<'i, Next> {
        let (rest, place) = match of {
            SetOf::All => (i, Place::Results),
            SetOf::Vanished(_) => (i, Place::End),
            SetOf::Partial(_) => (close(spaces_before_close(i, cx), cx)?.0, Place::Results),
            SetOf::AddTo(_) | SetOf::RemoveFrom(_) => match more(i, cx)? {
                None => (close(spaces_before_close(i, cx), cx)?.0, Place::Results),
                Some(behind) => {
                    let (rest, position) = number(behind, cx)?;
                    let of = if matches!(of, SetOf::AddTo(_)) {
                        SetOf::AddTo(position)
                    } else {
                        SetOf::RemoveFrom(position)
                    };
                    (sp(rest, cx)?.0, Place::Set(of))
                }
            },
        };
        self.0 = place;
        Ok((rest, Next::Place))
    }

    /// `[score *(SP score)] ")"`, as far as it is there
    fn scores<'i>(&mut self, i: &'i [u8], part: Part, cx: &Context) -> Parsed<'i, Next> {
        let closed = memchr::memchr(b')', i);
        let end = match (closed, part) {
            (Some(end), _) => end,
            // The last score may go on.
            (None, Part::More) => match memchr::memrchr(b' ', i) {
                Some(end) if end > 0 => end,
                _ => return Ok((i, Next::More)),
            },
            (None, Part::Last) => return expected(i, "a closing parenthesis"),
        };
        let mut rest = i.get(..end).unwrap_or_default();
        while !rest.is_empty() {
            rest = spaces(rest, cx);
            if rest.is_empty() {
                break;
            }
            (rest, _) = score(rest, cx)?;
            if !rest.is_empty() {
                (rest, ()) = sp(rest, cx)?;
            }
        }
        if closed.is_some() {
            self.0 = Place::Results;
        }
        Ok((i.get(end + 1..).unwrap_or_default(), Next::Piece(PieceKind::Scores, 0, end)))
    }

    /// `1*thread-list`, as far as they are there
    fn threads<'i>(
        &mut self,
        mut scan: ThreadScan,
        i: &'i [u8],
        part: Part,
        cx: &Context,
    ) -> Parsed<'i, Next> {
        let end = match part {
            Part::Last => i.len(),
            // The last number may go on.
            Part::More => i.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1),
        };
        let text = i.get(..end).unwrap_or_default();
        let (behind, found) = scan.threads(text, cx)?;
        let used = text.len() - behind.len();
        self.0 = Place::Threads(scan);
        if !found.is_empty() {
            return Ok((i.get(used..).unwrap_or_default(), Next::Piece(PieceKind::Threads, 0, used)));
        }
        let rest = i.get(used..).unwrap_or_default();
        if part == Part::Last && !scan.is_between_threads() {
            return expected(rest, "a closing parenthesis");
        }
        end_or_more(rest, part, cx)
    }
}

/// Why a response cannot be parsed, and the offset in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) offset: usize,
    pub(crate) expected: &'static str,
}

/// What a step has found.
enum Next {
    /// More bytes are needed.
    More,
    /// Nothing that is reported.
    Place,
    /// A piece between these offsets.
    Piece(PieceKind, usize, usize),
    /// The end.
    End,
}

fn end_or_more<'i>(i: &'i [u8], part: Part, cx: &Context) -> Parsed<'i, Next> {
    match part {
        Part::More if i.iter().all(|byte| *byte == b' ') => Ok((i, Next::More)),
        _ => end(i, part, cx),
    }
}

/// `CRLF`. *Tolerant*: anything before it.
fn end<'i>(i: &'i [u8], part: Part, cx: &Context) -> Parsed<'i, Next> {
    match part {
        Part::More => Ok((i, Next::More)),
        Part::Last => match crlf(i, cx) {
            Ok((b"", ())) => Ok((i, Next::End)),
            _ if !i.is_empty() && cx.repair(Repair::TrailingData) => Ok((i, Next::End)),
            _ => expected(i, "the end of the response"),
        },
    }
}

impl PieceKind {
    /// Returns the piece. `text` is what lies between its offsets.
    pub(crate) fn view<'i>(self, text: &'i [u8], cx: &Context) -> SearchPiece<'i> {
        let numbers = Numbers::wire(text);
        let result = match self {
            Self::Set(SetOf::AddTo(position)) => {
                return SearchPiece::AddTo(ContextChange { position, numbers });
            }
            Self::Set(SetOf::RemoveFrom(position)) => {
                return SearchPiece::RemoveFrom(ContextChange { position, numbers });
            }
            Self::Threads => return SearchPiece::Threads(Threads::wire(text)),
            Self::Set(SetOf::Partial(page)) => SearchReturnData::Partial { page, numbers },
            Self::Set(SetOf::All | SetOf::Vanished(_)) => SearchReturnData::All(numbers),
            Self::Scores => SearchReturnData::Relevancy(LazyList::wire(text, cx.attempt())),
            Self::ModSeq(value) => SearchReturnData::ModSeq(value),
            // It was parsed before.
            Self::Result => match search_return_data(text, &Context::again(cx.attempt())) {
                Ok((_, result)) => result,
                Err(_) => SearchReturnData::All(Numbers::EMPTY),
            },
        };
        SearchPiece::Result(result)
    }
}

owned_enum!(SearchHead { Search, Sort, Thread, Esearch(a) });

owned_enum!(SearchPiece { Result(a), AddTo(a), RemoveFrom(a), Threads(a) });
