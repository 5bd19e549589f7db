//! SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 4731, RFC 5182): translates a client's search keys for [`search`], and
//! writes the result as a SEARCH or ESEARCH response.
//!
//! [`search`]: super::search

use std::cell::Cell;
use std::time::{Duration, Instant};

use io_mio::{JobStep, Next};
use mailstore::{AccountId, Store, UidSet};
use proto_imap::mailbox_view::UidBitmap;
use proto_imap::server::{Reply, SearchForm};
use proto_imap::types::SearchCommand;
use proto_imap::types::{
    Condition, Date, EsearchResponse, IString, LazyList, NumberKind, NumberRange, Numbers, PlainCode,
    ResponseCode, SearchKey, SearchReturnData, SearchReturnOption, StatusResponse, Text, Untagged,
};
use proto_mail::Error;

use super::command_state::{NumberForm, SearchInProgress};
use super::search::{Need, Results, Search, Unread};
use super::search_key::{AddressField, Days, Key, flag_bit};
use super::translate::uid_set;
use super::{
    InProgress, Selected, Session, Turn, next_or_close, no_status, reply_bad, reply_limit, reply_ok,
    reply_store_error, translate,
};

/// The maximum number of keys in one search, and the maximum nesting depth.
const KEY_LIMIT: usize = 1_000;
const DEPTH_LIMIT: usize = 32;

/// The maximum length of one search text, and of all texts of one search together, in bytes.
const TEXT_LIMIT: usize = 4 * 1024;
const TEXTS_LIMIT: usize = 16 * 1024;

/// The maximum number of numbers or ranges written at a time.
const NUMBERS_PER_PIECE: usize = 2_048;

/// Once this many bytes of output are pending, no more numbers are written until the client reads.
const HIGH_WATER: usize = 128 * 1024;

/// How long one session writes before it yields to the others.
const WRITE_TIME: Duration = Duration::from_millis(4);

/// The form of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ResponseForm {
    numbering: NumberKind,
    /// The requested results; `None` for a SEARCH response.
    returns: Option<Vec<SearchReturnOption>>,
    tag: Option<Vec<u8>>,
    modseq: bool,
}

/// Why a search key was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RejectedKey {
    NoSuchMessage,
    TooLarge,
    Unsupported,
}

impl Session {
    pub(super) fn search(
        &mut self,
        reply: Reply,
        arguments: SearchCommand<'_>,
        numbering: NumberKind,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return reply_bad(reply, "select a mailbox first", turn) };
        let known = |charset: IString<'_>| {
            [&b"UTF-8"[..], b"US-ASCII"].iter().any(|one| charset.eq_ignore_ascii_case(one))
        };
        if arguments.charset.is_some_and(|charset| !known(charset)) {
            let charsets = [IString::new(b"UTF-8"), IString::new(b"US-ASCII")];
            let status = StatusResponse::new(Condition::No, Text::first_line("unsupported charset"))
                .with_code(ResponseCode::BadCharset(LazyList::new(&charsets)));
            return next_or_close(turn.machine.reply(reply, &status, turn.tx));
        }
        let translator = KeyTranslator {
            selected,
            now: translate::now().seconds,
            store: &*self.context.store,
            account: self.account,
            keys: Cell::new(0),
            text_bytes: Cell::new(0),
        };
        let keys: Result<Vec<_>, _> = arguments.keys.iter().map(|key| translator.key(key, 0)).collect();
        let key = match keys {
            Ok(keys) => Key::All(keys),
            Err(RejectedKey::NoSuchMessage) => return reply_bad(reply, "no message has that number", turn),
            Err(RejectedKey::TooLarge) => {
                return reply_limit(reply, "too many search keys, or their text is too long", turn);
            }
            Err(RejectedKey::Unsupported) => return reply_bad(reply, "unsupported search key", turn),
        };
        let returns: Option<Vec<_>> = arguments.returns.map(|returns| returns.iter().collect());
        let unknown = returns.iter().flatten().any(|wanted| {
            !matches!(
                wanted,
                SearchReturnOption::Min
                    | SearchReturnOption::Max
                    | SearchReturnOption::All
                    | SearchReturnOption::Count
                    | SearchReturnOption::Save
            )
        });
        if unknown {
            return reply_bad(reply, "unsupported result option", turn);
        }
        // IMAP4rev2 replaces the SEARCH response by ESEARCH (RFC 9051 Appendix E).
        let returns = returns.or_else(|| turn.machine.is_enabled("IMAP4rev2").then(Vec::new));
        let modseq = key.has_modseq();
        let form = ResponseForm {
            numbering,
            returns,
            tag: turn.machine.tag().map(|tag| tag.as_bytes().to_vec()),
            modseq,
        };
        let among: UidSet = uid_set(selected.view.uid_range());
        let Ok(search) = Search::new(selected.mailbox, &among, key, need(form.returns.as_deref())) else {
            return reply_limit(reply, "too many search keys, or their text is too long", turn);
        };
        if modseq && let Err(error) = self.enable_condstore(turn) {
            return next_or_close(Err(error));
        }
        self.run_search(reply, search, form, turn)
    }

    fn run_search(
        &mut self,
        reply: Reply,
        search: Search,
        form: ResponseForm,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let mut search = Some(search);
        self.run_in_slices(
            turn,
            move |store, slice| {
                let Some(mut running) = search.take() else { return JobStep::More };
                match running.run(store, slice) {
                    Ok(true) => JobStep::Done(Ok(running.into_results())),
                    Ok(false) => {
                        search = Some(running);
                        JobStep::More
                    }
                    Err(error) => JobStep::Done(Err(error)),
                }
            },
            move |session, searched, turn| match searched {
                Ok(found) => session.start_search_response(reply, found, &form, turn),
                Err(mailstore::Error::NotFound(_)) => reply_ok(reply, "the mailbox was deleted", turn),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    fn start_search_response(
        &mut self,
        reply: Reply,
        found: Results,
        form: &ResponseForm,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &mut self.selected else { return reply_ok(reply, "search completed", turn) };
        if let Err(error) = warn_unread(found.unread, turn) {
            return next_or_close(Err(error));
        }
        let asked = |wanted| form.returns.as_ref().is_some_and(|returns| returns.contains(&wanted));
        if asked(SearchReturnOption::Save) {
            selected.view.save(saved(&found, need(form.returns.as_deref())));
        }
        let first = found.uids.first();
        let mod_sequence = form.modseq.then(|| mod_sequence(&found, need(form.returns.as_deref()))).flatten();
        let mod_sequence = mod_sequence.map(SearchReturnData::ModSeq);
        let mut progress = SearchInProgress {
            reply,
            numbering: form.numbering,
            form: NumberForm::Singles,
            found,
            next: first,
            open_range: None,
            tail: mod_sequence.into_iter().collect(),
        };
        let begun = match &form.returns {
            None => turn.machine.begin_search(&SearchForm::Search, turn.tx),
            Some(returns) if returns[..] == [SearchReturnOption::Save] => {
                return self.finish_search(progress.reply, form.numbering, turn);
            }
            Some(returns) => {
                progress.form = NumberForm::Ranges;
                if !asked(SearchReturnOption::All) && !returns.is_empty() {
                    progress.next = None;
                }
                if asked(SearchReturnOption::Count) {
                    let count = progress.found.uids.len();
                    progress.tail.insert(0, SearchReturnData::Count(count));
                }
                let number = |found: Option<super::search::Match>| {
                    let uid = found?.uid;
                    if form.numbering == NumberKind::Uids {
                        Some(uid)
                    } else {
                        selected.view.sequence_number(uid)
                    }
                };
                let min = number(progress.found.first).filter(|_| asked(SearchReturnOption::Min));
                let max = number(progress.found.last).filter(|_| asked(SearchReturnOption::Max));
                let head: Vec<_> = min
                    .map(SearchReturnData::Min)
                    .into_iter()
                    .chain(max.map(SearchReturnData::Max))
                    .collect();
                begin_esearch(form, &head, turn)
            }
        };
        match begun {
            Ok(()) => {
                self.in_progress = InProgress::Search(Box::new(progress));
                self.write_search(turn)
            }
            Err(error) => next_or_close(Err(error)),
        }
    }

    /// Writes as many numbers as the client accepts.
    pub(super) fn write_search(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let (InProgress::Search(progress), Some(selected)) = (&mut self.in_progress, &self.selected) else {
            return Next::Close;
        };
        let start = Instant::now();
        while progress.next.is_some() {
            if turn.tx.len() >= HIGH_WATER || start.elapsed() >= WRITE_TIME {
                return Next::More;
            }
            let piece = progress.piece(selected);
            if let Err(error) = turn.machine.search_numbers(Numbers::new(&piece), turn.tx) {
                return next_or_close(Err(error));
            }
        }
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::Search(progress) => match turn.machine.finish_search(&progress.tail, turn.tx) {
                Ok(()) => self.finish_search(progress.reply, progress.numbering, turn),
                Err(error) => next_or_close(Err(error)),
            },
            _ => Next::Close,
        }
    }

    fn finish_search(&mut self, reply: Reply, numbering: NumberKind, turn: &mut Turn<'_, '_>) -> Next {
        match numbering {
            NumberKind::Uids => self.finish_with_updates(reply, "search completed", turn),
            // An EXPUNGE would renumber the messages that this SEARCH reported (RFC 9051 §7.5.1).
            NumberKind::SequenceNumbers => reply_ok(reply, "search completed", turn),
        }
    }
}

impl SearchInProgress {
    /// Returns the next numbers, as ranges if the form allows them. Messages that this session has not been told about
    /// are left out.
    fn piece(&mut self, selected: &Selected) -> Vec<NumberRange> {
        let mut piece: Vec<NumberRange> = self.open_range.take().into_iter().collect();
        let Some(from) = self.next.take() else { return piece };
        for (count, uid) in self.found.uids.iter_range(from..=u32::MAX).enumerate() {
            if count >= NUMBERS_PER_PIECE {
                self.next = Some(uid);
                // The next UID may extend this range.
                self.open_range = piece.pop();
                break;
            }
            let number = match self.numbering {
                NumberKind::Uids => uid,
                NumberKind::SequenceNumbers => match selected.view.sequence_number(uid) {
                    Some(number) => number,
                    None => continue,
                },
            };
            match piece.last_mut() {
                Some(last)
                    if self.form == NumberForm::Ranges && last.last().checked_add(1) == Some(number) =>
                {
                    *last = NumberRange::new(last.first(), number);
                }
                _ => piece.push(number.into()),
            }
        }
        piece
    }
}

/// Returns which matches the requested results depend on (RFC 4731 §3.1).
fn need(returns: Option<&[SearchReturnOption]>) -> Need {
    let has = |wanted| returns.is_some_and(|returns| returns.contains(&wanted));
    if has(SearchReturnOption::All) || has(SearchReturnOption::Count) {
        return Need::All;
    }
    match (has(SearchReturnOption::Min), has(SearchReturnOption::Max)) {
        (true, true) => Need::FirstAndLast,
        (true, false) => Need::First,
        (false, true) => Need::Last,
        (false, false) => Need::All,
    }
}

/// Returns the value of MODSEQ (RFC 4731 §3.2): with MIN or MAX, the highest mod-sequence of the messages they return;
/// otherwise that of all matches.
fn mod_sequence(found: &Results, need: Need) -> Option<u64> {
    let (first, last) = (found.first?.modseq, found.last?.modseq);
    Some(match need {
        Need::All => found.highest_modseq,
        Need::First => first,
        Need::Last => last,
        Need::FirstAndLast => first.max(last),
    })
}

/// Returns the messages that `$` stands for after this search (RFC 5182 §2.1): with MIN or MAX alone, only those.
fn saved(found: &Results, need: Need) -> UidBitmap {
    let uid = |found: Option<super::search::Match>| found.map(|found| found.uid);
    match need {
        Need::All => found.uids.clone(),
        Need::First => uid(found.first).into_iter().collect(),
        Need::Last => uid(found.last).into_iter().collect(),
        Need::FirstAndLast => uid(found.first).into_iter().chain(uid(found.last)).collect(),
    }
}

/// Reports messages that could not be read. An untagged NO is a warning: the command continues without them (RFC 9051
/// §7.1.2).
fn warn_unread(unread: Unread, turn: &mut Turn<'_, '_>) -> Result<(), Error> {
    if unread.count == 0 {
        return Ok(());
    }
    let text = match unread.count {
        1 => "1 message could not be read and was not searched".to_owned(),
        count => format!("{count} messages could not be read and were not searched"),
    };
    turn.machine.data(&Untagged::Status(no_status(PlainCode::ServerBug, &text)), turn.tx)
}

fn begin_esearch(
    form: &ResponseForm,
    head: &[SearchReturnData<'_>],
    turn: &mut Turn<'_, '_>,
) -> Result<(), Error> {
    let tag = form.tag.as_deref().map(IString::new);
    let esearch = EsearchResponse {
        tag,
        mailbox: None,
        uid_validity: None,
        number_kind: form.numbering,
        results: LazyList::new(head),
    };
    turn.machine.begin_search(&SearchForm::Esearch(esearch), turn.tx)
}

struct KeyTranslator<'s> {
    store: &'s dyn Store,
    account: Option<AccountId>,
    selected: &'s Selected,
    /// The current time, in seconds since 1970.
    now: i64,
    /// The number of keys so far, and the bytes of text in them.
    keys: Cell<usize>,
    text_bytes: Cell<usize>,
}

impl KeyTranslator<'_> {
    fn key(&self, key: SearchKey<'_>, depth: usize) -> Result<Key, RejectedKey> {
        self.keys.set(self.keys.get() + 1);
        if depth > DEPTH_LIMIT || self.keys.get() > KEY_LIMIT {
            return Err(RejectedKey::TooLarge);
        }
        let not = |key| Key::Not(Box::new(key));
        let flag = |name| flag_bit(name).map_or(Key::Never, Key::Flag);
        let recent = || Key::Uids(uid_set(self.selected.view.recent().ranges()));
        let inner = |key: Option<SearchKey<'_>>| self.key(key.ok_or(RejectedKey::Unsupported)?, depth + 1);
        Ok(match key {
            SearchKey::All => Key::All(Vec::new()),
            SearchKey::Answered => flag("\\Answered"),
            SearchKey::Deleted => flag("\\Deleted"),
            SearchKey::Draft => flag("\\Draft"),
            SearchKey::Flagged => flag("\\Flagged"),
            SearchKey::Seen => flag("\\Seen"),
            SearchKey::Unanswered => not(flag("\\Answered")),
            SearchKey::Undeleted => not(flag("\\Deleted")),
            SearchKey::Undraft => not(flag("\\Draft")),
            SearchKey::Unflagged => not(flag("\\Flagged")),
            SearchKey::Unseen => not(flag("\\Seen")),
            SearchKey::Recent => recent(),
            SearchKey::New => Key::All(vec![recent(), not(flag("\\Seen"))]),
            SearchKey::Old => not(recent()),
            SearchKey::Keyword(keyword) => Key::Keyword(keyword.to_string()),
            SearchKey::Unkeyword(keyword) => not(Key::Keyword(keyword.to_string())),
            SearchKey::Larger(size) => Key::Larger(size),
            SearchKey::Smaller(size) => Key::Smaller(size),
            SearchKey::ModSeq { mod_sequence, .. } => Key::ModSeq(mod_sequence),
            SearchKey::EmailId(id) => {
                let find = |account| self.store.find_email_id(account, &id.to_str_lossy());
                self.account.and_then(find).map_or(Key::Never, |content| Key::EmailId(content.0))
            }
            SearchKey::ThreadId(_) => Key::Never,
            SearchKey::Younger(seconds) => Key::InternalSince(self.now - i64::from(seconds)),
            SearchKey::Older(seconds) => not(Key::InternalSince(self.now - i64::from(seconds) + 1)),
            SearchKey::Sequence(set) => Key::Uids(self.uids(set, NumberKind::SequenceNumbers)?),
            SearchKey::Uid(set) => Key::Uids(self.uids(set, NumberKind::Uids)?),
            SearchKey::Not(key) => not(inner(key.view())?),
            SearchKey::Or(one, other) => Key::Or(Box::new((inner(one.view())?, inner(other.view())?))),
            SearchKey::Fuzzy(key) => inner(key.view())?,
            SearchKey::And(keys) => {
                let keys: Result<_, _> = keys.iter().map(|key| self.key(key, depth + 1)).collect();
                Key::All(keys?)
            }
            other => return date_key(other).map_or_else(|| self.text_key(other), Ok),
        })
    }

    fn text_key(&self, key: SearchKey<'_>) -> Result<Key, RejectedKey> {
        let text = |text: IString<'_>| {
            let text = text.to_str_lossy();
            self.text_bytes.set(self.text_bytes.get() + text.len());
            if text.len() > TEXT_LIMIT || self.text_bytes.get() > TEXTS_LIMIT {
                return Err(RejectedKey::TooLarge);
            }
            Ok(text.into_owned())
        };
        Ok(match key {
            SearchKey::From(needle) => Key::Address(AddressField::From, text(needle)?),
            SearchKey::To(needle) => Key::Address(AddressField::To, text(needle)?),
            SearchKey::Cc(needle) => Key::Address(AddressField::Cc, text(needle)?),
            SearchKey::Bcc(needle) => Key::Address(AddressField::Bcc, text(needle)?),
            SearchKey::Subject(needle) => Key::Subject(text(needle)?),
            SearchKey::Header { name, text: needle } => Key::Header(text(name)?, text(needle)?),
            SearchKey::Body(needle) => Key::Body(text(needle)?),
            SearchKey::Text(needle) => Key::Text(text(needle)?),
            _ => return Err(RejectedKey::Unsupported),
        })
    }

    fn uids(
        &self,
        set: proto_imap::types::SequenceSet<'_>,
        numbering: NumberKind,
    ) -> Result<UidSet, RejectedKey> {
        self.selected.resolve(set, numbering).map_err(|_| RejectedKey::NoSuchMessage)
    }
}

fn date_key(key: SearchKey<'_>) -> Option<Key> {
    let day = Date::days_since_epoch;
    Some(match key {
        SearchKey::Before(date) => Key::Internal(Days::Before(day(date))),
        SearchKey::On(date) => Key::Internal(Days::On(day(date))),
        SearchKey::Since(date) => Key::Internal(Days::Since(day(date))),
        SearchKey::SentBefore(date) => Key::Sent(Days::Before(day(date))),
        SearchKey::SentOn(date) => Key::Sent(Days::On(day(date))),
        SearchKey::SentSince(date) => Key::Sent(Days::Since(day(date))),
        _ => return None,
    })
}
