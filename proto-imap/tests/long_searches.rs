//! Responses to searches that are longer than `Limits::line`: they arrive in pieces, in bounded memory and linear time, and
//! the pieces are what the whole response says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "long_searches/server.rs"]
mod server;

use std::fmt::Write as _;

use cpu_time::ThreadTime;
use proptest::prelude::*;
use proto_imap::client::{Client, Event, OwnedEvent, SearchCollector, ThreadCollector, TooManyResults};
use proto_imap::parse::{self, Context};
use proto_imap::types::*;
use proto_imap::{Config, encode};
use proto_mail::{Error, Limits, RecvBuffer, Secure, SendBuffer};

/// A client with a selected mailbox.
struct Session {
    client: Client<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
    /// The most bytes that the client has held.
    held: usize,
}

impl Session {
    fn selected(line: usize) -> Self {
        let mut session = Self::authenticated(line);
        session
            .client
            .send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), &mut session.tx)
            .unwrap();
        let _ = session.tx.take();
        session.hear(b"M1 OK [READ-WRITE] selected\r\n", 1000, |_| {}).unwrap();
        session
    }

    fn authenticated(line: usize) -> Self {
        let mut limits = Limits::default();
        limits.line = line;
        let client = Client::<Secure>::new(Config::default().limits(limits), Secure::trusted_local());
        let mut session = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new(), held: 0 };
        session.hear(b"* PREAUTH [CAPABILITY IMAP4rev1 SORT]\r\n", 1000, |_| {}).unwrap();
        session
    }

    /// Receives these bytes in chunks of this size.
    fn hear(&mut self, bytes: &[u8], chunk: usize, mut take: impl FnMut(&Event<'_>)) -> Result<(), Error> {
        for piece in bytes.chunks(chunk) {
            self.rx.extend(piece);
            loop {
                self.held = self.held.max(self.rx.len());
                let Some(event) = self.client.next_event(&mut self.rx, &mut self.tx)? else { break };
                take(&event);
            }
        }
        Ok(())
    }

    fn events(&mut self, bytes: &[u8], chunk: usize) -> Result<Vec<OwnedEvent>, Error> {
        let mut events = Vec::new();
        self.hear(bytes, chunk, |event| events.push(event.clone().into_owned()))?;
        Ok(events)
    }
}

const COUNT: u32 = 2_000_000;
const LINE: usize = 64 * 1024;
const CHUNK: usize = 16 * 1024;

/// Every second number, which no range shortens.
fn expected() -> impl Iterator<Item = u32> {
    (1..=COUNT).map(|index| index * 2)
}

fn listed(before: &str, separator: &str, after: &str) -> String {
    let mut line = String::from(before);
    for (index, number) in expected().enumerate() {
        let separator = if index == 0 { "" } else { separator };
        write!(line, "{separator}{number}").unwrap();
    }
    line + after
}

#[test]
fn two_million_numbers_are_read_in_bounded_memory() {
    for (line, mod_sequence) in [
        (listed("* SEARCH ", " ", " (MODSEQ 7)\r\n"), Some(7)),
        (listed("* sort ", " ", "\r\n"), None),
        (listed("* ESEARCH (TAG \"M2\") UID MIN 2 ALL ", ",", " COUNT 2000000 MODSEQ 7\r\n"), Some(7)),
        (listed("* ESEARCH (TAG \"M2\") UID PARTIAL (1:2000000 ", ",", ")\r\n"), None),
    ] {
        let mut session = Session::selected(LINE);
        let mut found = SearchCollector::new(COUNT as usize);
        session
            .hear(line.as_bytes(), CHUNK, |event| assert!(found.take(event).unwrap(), "{event:?}"))
            .unwrap();
        assert!(session.held <= LINE + CHUNK, "{} bytes held", session.held);
        assert!(found.numbers().iter().eq(expected()), "{}", &line[..40]);
        assert_eq!(found.mod_sequence(), mod_sequence);
        session.hear(b"* 5 EXISTS\r\n", CHUNK, |event| assert!(!found.take(event).unwrap())).unwrap();
        // A lower limit keeps what fits.
        let mut some = SearchCollector::new(1000);
        let mut result = Ok(true);
        Session::selected(LINE)
            .hear(line.as_bytes(), CHUNK, |event| result = some.take(event).and(result))
            .unwrap();
        assert_eq!(result, Err(TooManyResults { limit: 1000 }));
        assert!(some.numbers().iter().eq(expected().take(1000)));
    }
}

#[test]
fn two_million_vanished_messages_are_several_responses() {
    let line = listed("* VANISHED (EARLIER) ", ",", "\r\n");
    let mut session = Session::selected(LINE);
    let mut uids = Vec::new();
    let take = |event: &Event<'_>| match event {
        Event::Data(Untagged::Vanished { when: VanishedWhen::Earlier, uids: some }) => {
            uids.extend(some.iter())
        }
        other => panic!("{other:?}"),
    };
    session.hear(line.as_bytes(), CHUNK, take).unwrap();
    assert!(session.held <= LINE + CHUNK);
    assert!(uids.into_iter().eq(expected()));
}

#[test]
fn two_million_messages_in_threads_are_read_in_bounded_memory() {
    let mut line = String::from("* THREAD (1");
    for number in 2..COUNT {
        // One long thread, many short ones, and branches.
        match number {
            2..=699_999 => write!(line, " {number}"),
            700_000 => write!(line, ")({number})"),
            700_001..=1_399_999 => write!(line, "({number})"),
            1_400_000 => write!(line, "({number} "),
            _ => write!(line, "({number})"),
        }
        .unwrap();
    }
    line.push_str(")\r\n");
    let whole = parse::response(line.as_bytes(), &Context::strict());
    let Response::Untagged(Untagged::Thread(whole)) = whole else { panic!("{whole:?}") };
    let mut session = Session::selected(LINE);
    let mut found = ThreadCollector::new(4 * COUNT as usize);
    session.hear(line.as_bytes(), CHUNK, |event| assert!(found.take(event).unwrap())).unwrap();
    assert!(session.held <= LINE + CHUNK, "{} bytes held", session.held);
    assert_eq!(found.threads(), whole.threads);
    assert_eq!(found.threads().messages().count(), COUNT as usize - 1);
    let mut some = ThreadCollector::new(10);
    let mut result = Ok(true);
    Session::selected(LINE)
        .hear(line.as_bytes(), CHUNK, |event| result = some.take(event).and(result))
        .unwrap();
    assert_eq!((result, some.threads().items().count()), (Err(TooManyResults { limit: 10 }), 10));
}

/// The time that this takes with `count` numbers, at a fixed line limit.
fn time(count: u32, chunk: usize) -> std::time::Duration {
    let line = (0..count).fold(String::from("* SEARCH"), |mut line, number| {
        write!(line, " {}", 10_000_000 + number).unwrap();
        line
    }) + "\r\n";
    let mut session = Session::selected(1000);
    let mut found = 0;
    let before = ThreadTime::now();
    let take = |event: &Event<'_>| {
        if let Event::SearchPiece(SearchPiece::Result(SearchReturnData::All(numbers))) = event {
            found += numbers.iter().count();
        }
    };
    session.hear(line.as_bytes(), chunk, take).unwrap();
    let time = before.elapsed();
    assert_eq!(found, count as usize);
    time
}

#[test]
fn long_responses_take_linear_time_in_any_chunks() {
    for chunk in [1, 1500, usize::MAX] {
        let shortest = |count| (0..3).map(|_| time(count, chunk)).min().unwrap();
        let (small, large) = (shortest(20_000), shortest(80_000));
        // Four times the numbers; sixteen times the time would be quadratic.
        assert!(large < small * 8, "{chunk}: {small:?} {large:?}");
    }
}

/// What a response says, in a form that does not depend on pieces: each range with its result, and positions counted on.
fn said(result: &SearchReturnData<'_>, all: &mut Vec<String>) {
    match result {
        SearchReturnData::All(numbers) => all.extend(numbers.ranges().map(|range| format!("all {range:?}"))),
        SearchReturnData::Partial { page, numbers } => {
            if numbers.is_empty() {
                all.push(format!("partial {page:?} NIL"));
            }
            all.extend(numbers.ranges().map(|range| format!("partial {page:?} {range:?}")));
        }
        SearchReturnData::AddTo(changes) => changes.iter().for_each(|change| said_change("add", change, all)),
        SearchReturnData::RemoveFrom(changes) => {
            changes.iter().for_each(|change| said_change("remove", change, all));
        }
        SearchReturnData::Relevancy(scores) => {
            if scores.is_empty() {
                all.push(String::from("no scores"));
            }
            all.extend(scores.iter().map(|score| format!("{score:?}")));
        }
        other => all.push(format!("{other:?}")),
    }
}

fn said_change(what: &str, change: ContextChange<'_>, all: &mut Vec<String>) {
    let mut position = change.position;
    for range in change.numbers.ranges() {
        all.push(format!("{what} {position} {range:?}"));
        if what == "add" && position > 0 {
            position = position.saturating_add(range.last() - range.first() + 1);
        }
    }
}

/// What the events of a response say. Other events are errors.
fn said_by(events: &[OwnedEvent]) -> (Option<String>, Vec<String>) {
    let (mut head, mut all, mut ends) = (None, Vec::new(), 0);
    for event in events {
        match event.view() {
            Event::SearchStart(start) => assert_eq!(head.replace(format!("{start:?}")), None),
            Event::SearchPiece(SearchPiece::Result(result)) => said(&result, &mut all),
            Event::SearchPiece(SearchPiece::AddTo(change)) => said_change("add", change, &mut all),
            Event::SearchPiece(SearchPiece::RemoveFrom(change)) => said_change("remove", change, &mut all),
            Event::SearchPiece(SearchPiece::Threads(threads)) => {
                all.extend(threads.items().map(|item| format!("{item:?}")));
            }
            Event::SearchEnd => ends += 1,
            Event::Data(Untagged::Vanished { uids, .. }) => said(&SearchReturnData::All(uids), &mut all),
            Event::Data(data) => return (Some(format!("{data:?}")), vec![]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ends, usize::from(head.is_some()));
    (head, all)
}

/// What the whole response says.
fn said_by_whole(response: &Untagged<'_>) -> (Option<String>, Vec<String>) {
    let mut all = Vec::new();
    let head = match response {
        Untagged::Search(found) | Untagged::Sort(found) => {
            said(&SearchReturnData::All(found.numbers), &mut all);
            found.mod_sequence.iter().for_each(|value| said(&SearchReturnData::ModSeq(*value), &mut all));
            let is_search = matches!(response, Untagged::Search(_));
            Some(format!("{:?}", if is_search { SearchHead::Search } else { SearchHead::Sort }))
        }
        Untagged::Thread(found) => {
            all.extend(found.threads.items().map(|item| format!("{item:?}")));
            Some(format!("{:?}", SearchHead::Thread))
        }
        Untagged::Esearch(found) => {
            found.results.iter().for_each(|result| said(&result, &mut all));
            Some(format!("{:?}", SearchHead::Esearch(EsearchResponse { results: LazyList::EMPTY, ..*found })))
        }
        Untagged::Vanished { uids, .. } => {
            said(&SearchReturnData::All(*uids), &mut all);
            None
        }
        other => panic!("{other:?}"),
    };
    (head, all)
}

fn kept<T>(values: Vec<T>) -> &'static [T] {
    Vec::leak(values)
}

fn numbers() -> impl Strategy<Value = Numbers<'static>> {
    let range =
        (1_u32.., 0_u32..50).prop_map(|(first, more)| NumberRange::new(first, first.saturating_add(more)));
    prop::collection::vec(range, 1..40).prop_map(|ranges| Numbers::new(kept(ranges)))
}

fn changes() -> impl Strategy<Value = LazyList<'static, ContextChange<'static>>> {
    let change = (0_u32..1000, numbers()).prop_map(|(position, numbers)| ContextChange { position, numbers });
    prop::collection::vec(change, 1..4).prop_map(|changes| LazyList::new(kept(changes)))
}

fn result() -> impl Strategy<Value = SearchReturnData<'static>> {
    use SearchReturnData as D;
    prop_oneof![
        (1_u32..).prop_map(D::Min),
        any::<u32>().prop_map(D::Count),
        numbers().prop_map(D::All),
        (1..i64::MAX as u64).prop_map(D::ModSeq),
        (1_u32..1000, numbers()).prop_map(|(first, numbers)| D::Partial {
            page: PartialRange::FromLast(NumberRange::new(first, first + 9)),
            numbers
        }),
        Just(D::Partial { page: PartialRange::FromFirst(NumberRange::new(1, 9)), numbers: Numbers::EMPTY }),
        changes().prop_map(D::AddTo),
        changes().prop_map(D::RemoveFrom),
        prop::collection::vec((1_u8..=100).prop_map(|score| RelevancyScore::new(score).unwrap()), 0..50)
            .prop_map(|scores| D::Relevancy(LazyList::new(kept(scores)))),
        prop::sample::select(vec!["7", "(a \"b\" (1:2))", "{3}\r\na b", "{12}\r\nab\r\n{5}\r\nxyz"])
            .prop_map(|value| D::Other { name: IString::from("X-NEW"), value: IString::from(value) }),
    ]
}

fn response() -> impl Strategy<Value = Untagged<'static>> {
    let singles = || {
        let numbers = prop::collection::vec((1_u32..).prop_map(NumberRange::from), 0..80);
        (numbers, prop::option::of(1..i64::MAX as u64)).prop_map(|(numbers, mod_sequence)| SearchResponse {
            numbers: Numbers::new(kept(numbers)),
            mod_sequence,
        })
    };
    let string =
        || prop::option::of(prop::sample::select(vec!["a1", "a b", "x\r\ny"]).prop_map(IString::from));
    let esearch =
        (string(), string(), prop::collection::vec(result(), 0..6)).prop_map(|(tag, mailbox, results)| {
            Untagged::Esearch(EsearchResponse {
                tag,
                mailbox,
                uid_validity: Some(7),
                number_kind: NumberKind::Uids,
                results: LazyList::new(kept(results)),
            })
        });
    let list =
        |inner: Vec<ThreadItem>| [vec![ThreadItem::ListStart], inner, vec![ThreadItem::ListEnd]].concat();
    let messages = |least: usize| prop::collection::vec((1_u32..).prop_map(ThreadItem::Message), least..6);
    let thread = messages(1).prop_map(list).prop_recursive(5, 40, 4, move |branch| {
        let branches = prop::collection::vec(branch, 2..4).prop_map(|all| all.concat());
        (messages(0), branches).prop_map(move |(messages, branches)| list([messages, branches].concat()))
    });
    let threads = prop::collection::vec(thread, 1..4)
        .prop_map(|all| Untagged::Thread(ThreadResponse { threads: Threads::new(kept(all.concat())) }));
    prop_oneof![
        1 => singles().prop_map(Untagged::Search),
        1 => singles().prop_map(Untagged::Sort),
        4 => esearch,
        2 => threads,
        1 => numbers().prop_map(|uids| Untagged::Vanished { when: VanishedWhen::Now, uids }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_say_what_the_whole_response_says(given in response(), line in 90_usize..300) {
        let mut wire = Vec::new();
        encode::response(&Response::Untagged(given), &mut wire);
        let longest = wire.split(|byte| *byte == b'\n').map(|line| line.len() + 1).max().unwrap();
        wire.extend_from_slice(b"* 9 EXISTS\r\n");
        let mut first: Option<Vec<OwnedEvent>> = None;
        for chunk in [1, 7, 64, usize::MAX] {
            let mut events = Session::selected(line).events(&wire, chunk).unwrap();
            prop_assert!(matches!(events.pop(), Some(OwnedEvent::Data(data)) if data.view() == Untagged::Exists(9)));
            // The events do not depend on the chunks.
            let same = first.get_or_insert_with(|| events.clone());
            prop_assert_eq!(&*same, &events);
            if events[..] == [OwnedEvent::Data(given.into_owned())] {
                // A line after a literal begins behind the literal's last bytes.
                prop_assert!(longest <= line + 5);
            } else {
                prop_assert!(longest > line);
                prop_assert_eq!(said_by(&events), said_by_whole(&given));
            }
        }
    }

    #[test]
    fn changed_bytes_cost_only_the_response(
        given in response(), at in any::<prop::sample::Index>(), byte in any::<u8>(), line in 90_usize..300,
    ) {
        let mut wire = Vec::new();
        encode::response(&Response::Untagged(given), &mut wire);
        prop_assume!(!wire.contains(&b'{') && !matches!(byte, b'\r' | b'\n' | b'{'));
        let at = at.index(wire.len() - 2);
        wire[at] = byte;
        wire.extend_from_slice(b"* 9 EXISTS\r\n");
        let events = Session::selected(line).events(&wire, usize::MAX).unwrap();
        prop_assert!(matches!(events.last(), Some(OwnedEvent::Data(data)) if data.view() == Untagged::Exists(9)));
        for chunk in [1, 50] {
            prop_assert_eq!(&Session::selected(line).events(&wire, chunk).unwrap(), &events);
        }
    }
}

#[test]
fn a_broken_long_response_costs_only_itself() {
    let many = "1,".repeat(300);
    for (line, why) in [
        (format!("* ESEARCH ALL {many}x{many}1\r\n"), "a shorter element of the response"),
        (format!("* ESEARCH ALL {}\r\n", "9".repeat(500)), "a shorter element of the response"),
        (format!("* ESEARCH X-NEW \"{}\"\r\n", "a".repeat(500)), "a closing quote"),
        (format!("* ESEARCH (TAG \"{}\") ALL 1\r\n", "a".repeat(500)), "a closing quote"),
        (
            format!("* SEARCH 1{} x{}\r\n", " 2".repeat(300), " 2".repeat(300)),
            "a shorter element of the response",
        ),
        (format!("* THREAD (1{}\r\n", " 2".repeat(300)), "a closing parenthesis"),
        (format!("* THREAD {}\r\n", "(".repeat(1000)), "fewer nested threads"),
        (format!("* VANISHED {many}x{many}1\r\n"), "a shorter element of the response"),
    ] {
        let mut session = Session::selected(100);
        let events = session.events(format!("{line}* 9 EXISTS\r\n").as_bytes(), 10).unwrap();
        let shown: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
        let unparsed: Vec<_> = shown.iter().filter(|event| event.starts_with("Unparsed")).collect();
        assert_eq!(unparsed.len(), 1, "{line}: {shown:?}");
        assert!(unparsed[0].contains(why), "{why}: {unparsed:?}");
        assert_eq!(shown.last().unwrap(), "Data(Exists(9))");
        let starts = shown.iter().filter(|event| event.starts_with("SearchStart")).count();
        assert_eq!(shown.iter().filter(|event| *event == "SearchEnd").count(), starts);
    }
}

#[test]
fn a_long_response_is_hidden_where_a_short_one_is() {
    let numbers = " 1".repeat(300);
    for (line, is_seen) in [
        (format!("* SEARCH{numbers}\r\n"), false),
        (format!("* SORT{numbers}\r\n"), false),
        (format!("* THREAD {}\r\n", "(1)".repeat(300)), false),
        (format!("* VANISHED {}1\r\n", "1,".repeat(300)), false),
        (format!("* ESEARCH (TAG \"a\" MAILBOX x UIDVALIDITY 1) UID ALL {}1\r\n", "1,".repeat(300)), true),
    ] {
        for limit in [100, 64 * 1024] {
            let mut session = Session::authenticated(limit);
            let events = session.events(format!("{line}* OK x\r\n").as_bytes(), 10).unwrap();
            assert_eq!(events.len() > 1, is_seen, "{line} {events:?}");
        }
    }
}

#[test]
fn a_response_at_the_limit_is_whole() {
    let line = format!("* SEARCH{}\r\n", " 1".repeat(50));
    for (limit, pieces) in [(line.len(), false), (line.len() - 1, true)] {
        let events = Session::selected(limit).events(line.as_bytes(), 1).unwrap();
        assert_eq!(events.iter().any(|event| matches!(event, OwnedEvent::SearchStart(_))), pieces, "{limit}");
    }
}

#[test]
fn waits_for_the_rest_of_a_long_response() {
    let mut session = Session::selected(100);
    let events = session.events(format!("* SEARCH{}", " 1".repeat(300)).as_bytes(), 10).unwrap();
    assert!(matches!(events.first(), Some(OwnedEvent::SearchStart(_))));
    let wait = session.client.wait();
    assert_eq!(wait.awaited, proto_mail::WaitFor::Remainder);
    session.rx.close();
    assert!(session.events(b" 1", 2).is_err(), "the connection ended in the middle");
}
