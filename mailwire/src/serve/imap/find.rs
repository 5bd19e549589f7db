//! SEARCH and UID SEARCH on the wire (RFC 9051 §6.4.4, RFC 4731, RFC 5182): from the client's words to [`search`]'s,
//! and back to SEARCH or ESEARCH.
//!
//! [`search`]: super::search

use io_mio::{Next, Step};
use mailstore::{AccountId, Store, UidSet};
use proto_core::Error;
use proto_imap::server::Reply;
use proto_imap::types::arguments::Search as SearchFor;
use proto_imap::types::{
    Code, Condition, Date, Esearch, IString, List, Numbers, NumbersAre, PlainCode, Search as Found,
    SearchKey, SearchResult, SearchReturn, Status, Text, Untagged,
};

use super::change::ranges;
use super::search::{AddressField, Days, Key, Search, flag_bit};
use super::view::{self, Numbering};
use super::{Selected, Session, Turn, bad, done, go_on, refuse, refuse_for, translate};

/// The deepest nesting of keys, and the longest text, that is looked for.
const DEPTH_LIMIT: usize = 32;
const TEXT_LIMIT: usize = 4096;

/// How the answer looks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Form {
    numbering: Numbering,
    /// What to return; `None`: a SEARCH response.
    returns: Option<Vec<SearchReturn>>,
    tag: Option<Vec<u8>>,
    modseq: bool,
}

/// Why keys cannot be searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    NoSuchMessage,
    TooDeep,
    TooLong,
    Unsupported,
}

impl Session {
    pub(super) fn search(
        &mut self,
        reply: Reply,
        arguments: SearchFor<'_>,
        numbering: Numbering,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return bad(reply, "select a mailbox first", turn) };
        let known = |charset: IString<'_>| {
            [&b"UTF-8"[..], b"US-ASCII"].iter().any(|one| charset.eq_ignore_ascii_case(one))
        };
        if arguments.charset.is_some_and(|charset| !known(charset)) {
            let charsets = [IString::new(b"UTF-8"), IString::new(b"US-ASCII")];
            let status = Status::new(Condition::No, Text::first_line("that charset is not known here"))
                .with_code(Code::BadCharset(List::new(&charsets)));
            return go_on(turn.machine.reply(reply, &status, turn.tx));
        }
        let translation = Translation {
            selected,
            now: translate::now().seconds,
            store: &*self.site.store,
            account: self.account,
        };
        let keys: Result<Vec<_>, _> = arguments.keys.iter().map(|key| translation.key(key, 0)).collect();
        let key = match keys {
            Ok(keys) => Key::All(keys),
            Err(Refusal::NoSuchMessage) => return bad(reply, "there is no message with that number", turn),
            Err(Refusal::TooDeep | Refusal::TooLong) => {
                return refuse(reply, PlainCode::Limit, "the search is too large", turn);
            }
            Err(Refusal::Unsupported) => return bad(reply, "that cannot be searched for here", turn),
        };
        let returns: Option<Vec<_>> = arguments.returns.map(|returns| returns.iter().collect());
        let unknown = returns.iter().flatten().any(|wanted| {
            !matches!(
                wanted,
                SearchReturn::Min
                    | SearchReturn::Max
                    | SearchReturn::All
                    | SearchReturn::Count
                    | SearchReturn::Save
            )
        });
        if unknown {
            return bad(reply, "that cannot be returned here", turn);
        }
        // After ENABLE IMAP4rev2 there is no SEARCH response any more (RFC 9051 Appendix E).
        let returns = returns.or_else(|| turn.machine.is_enabled("IMAP4rev2").then(Vec::new));
        let modseq = key.has_modseq();
        let form =
            Form { numbering, returns, tag: turn.machine.tag().map(|tag| tag.as_bytes().to_vec()), modseq };
        let among: UidSet = selected.view.bounds().into_iter().collect();
        let search = Search::new(selected.mailbox, among, key);
        if modseq && let Err(error) = self.enable_condstore(turn) {
            return go_on(Err(error));
        }
        self.search_on(reply, search, form, turn)
    }

    fn search_on(&mut self, reply: Reply, search: Search, form: Form, turn: &mut Turn<'_, '_>) -> Next {
        let mut search = Some(search);
        self.ask_in_slices(
            turn,
            move |store, slice| {
                let Some(mut going) = search.take() else { return Step::More };
                while !slice.is_over() {
                    match going.step(store) {
                        Ok(true) => {}
                        Ok(false) => return Step::Done(Ok(going)),
                        Err(error) => return Step::Done(Err(error)),
                    }
                }
                search = Some(going);
                Step::More
            },
            move |session, searched, turn| match searched {
                Ok(search) => session.found(reply, &search, &form, turn),
                Err(mailstore::Error::NotFound(_)) => done(reply, "the mailbox was deleted", turn),
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }

    fn found(&mut self, reply: Reply, search: &Search, form: &Form, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = &mut self.selected else { return done(reply, "searched", turn) };
        // What came meanwhile does not exist here.
        let known: Vec<(u32, u32)> = search
            .found
            .iter()
            .filter_map(|found| Some((found.uid, selected.view.sequence(found.uid)?)))
            .collect();
        let numbers: Vec<u32> = known
            .iter()
            .map(|(uid, sequence)| if form.numbering == Numbering::Uid { *uid } else { *sequence })
            .collect();
        let mod_sequence = form.modseq.then(|| search.found.iter().map(|found| found.modseq).max()).flatten();
        if let Some(returns) = &form.returns
            && returns.contains(&SearchReturn::Save)
        {
            selected.saved = view::bitmap(&saved(&known, returns));
        }
        match put(&numbers, mod_sequence, form, turn) {
            Ok(()) if form.numbering == Numbering::Uid => self.finish(reply, "searched", turn),
            Ok(()) => done(reply, "searched", turn),
            Err(error) => go_on(Err(error)),
        }
    }
}

/// What `$` becomes (RFC 5182 §2.1): with MIN or MAX alone, only those.
fn saved(known: &[(u32, u32)], returns: &[SearchReturn]) -> UidSet {
    let has = |wanted| returns.contains(&wanted);
    let (min, max) = (has(SearchReturn::Min), has(SearchReturn::Max));
    if (min || max) && !has(SearchReturn::All) && !has(SearchReturn::Count) {
        let first = known.first().filter(|_| min);
        let last = known.last().filter(|_| max);
        return first.into_iter().chain(last).map(|(uid, _)| *uid).collect();
    }
    known.iter().map(|(uid, _)| *uid).collect()
}

fn put(
    numbers: &[u32],
    mod_sequence: Option<u64>,
    form: &Form,
    turn: &mut Turn<'_, '_>,
) -> Result<(), Error> {
    let Some(returns) = &form.returns else {
        // A SEARCH response lists numbers one by one.
        let singles: Vec<_> = numbers.iter().map(|number| (*number).into()).collect();
        let found = Found { numbers: Numbers::new(&singles), mod_sequence };
        return turn.machine.data(&Untagged::Search(found), turn.tx);
    };
    let all = ranges(numbers.iter().copied());
    let asked = |wanted| returns.contains(&wanted);
    let only_save = returns[..] == [SearchReturn::Save];
    if only_save {
        return Ok(());
    }
    let mut results = Vec::new();
    if let (Some(min), Some(max)) = (numbers.first(), numbers.last()) {
        if asked(SearchReturn::Min) {
            results.push(SearchResult::Min(*min));
        }
        if asked(SearchReturn::Max) {
            results.push(SearchResult::Max(*max));
        }
        if asked(SearchReturn::All) || returns.is_empty() {
            results.push(SearchResult::All(Numbers::new(&all)));
        }
    }
    if asked(SearchReturn::Count) {
        results.push(SearchResult::Count(u32::try_from(numbers.len()).unwrap_or(u32::MAX)));
    }
    results.extend(mod_sequence.map(SearchResult::ModSeq));
    let numbers_are = match form.numbering {
        Numbering::Uid => NumbersAre::Uids,
        Numbering::Sequence => NumbersAre::SequenceNumbers,
    };
    let tag = form.tag.as_deref().map(IString::new);
    let found = Esearch { tag, mailbox: None, uid_validity: None, numbers_are, results: List::new(&results) };
    turn.machine.data(&Untagged::Esearch(found), turn.tx)
}

struct Translation<'s> {
    store: &'s dyn Store,
    account: Option<AccountId>,
    selected: &'s Selected,
    /// In seconds since 1970.
    now: i64,
}

impl Translation<'_> {
    fn key(&self, key: SearchKey<'_>, depth: usize) -> Result<Key, Refusal> {
        if depth > DEPTH_LIMIT {
            return Err(Refusal::TooDeep);
        }
        let not = |key| Key::Not(Box::new(key));
        let flag = |name| flag_bit(name).map_or(Key::Never, Key::Flag);
        let recent = || Key::Uids(view::uid_set(&self.selected.recent));
        let inner = |key: Option<SearchKey<'_>>| self.key(key.ok_or(Refusal::Unsupported)?, depth + 1);
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
            SearchKey::Sequence(set) => Key::Uids(self.uids(set, Numbering::Sequence)?),
            SearchKey::Uid(set) => Key::Uids(self.uids(set, Numbering::Uid)?),
            SearchKey::Not(key) => not(inner(key.view())?),
            SearchKey::Or(one, other) => Key::Or(Box::new((inner(one.view())?, inner(other.view())?))),
            SearchKey::Fuzzy(key) => inner(key.view())?,
            SearchKey::And(keys) => {
                let keys: Result<_, _> = keys.iter().map(|key| self.key(key, depth + 1)).collect();
                Key::All(keys?)
            }
            other => return date_key(other).map_or_else(|| text_key(other), Ok),
        })
    }

    fn uids(&self, set: proto_imap::types::SequenceSet<'_>, numbering: Numbering) -> Result<UidSet, Refusal> {
        self.selected.resolve(set, numbering).map_err(|_| Refusal::NoSuchMessage)
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

fn text_key(key: SearchKey<'_>) -> Result<Key, Refusal> {
    let text = |text: IString<'_>| match text.to_str_lossy() {
        text if text.len() > TEXT_LIMIT => Err(Refusal::TooLong),
        text => Ok(text.to_lowercase()),
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
        _ => return Err(Refusal::Unsupported),
    })
}
