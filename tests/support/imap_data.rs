//! The untagged responses of an IMAP server's application: data of every kind, whole and in parts, and data that the
//! machine must refuse.
//!
//! This module knows no session: it sends what a number selects, whatever the command is.

use bytes::Bytes;
use proto_imap::server::{SearchForm, Server};
use proto_imap::types::{
    Condition, EncodedBodyStructure, EncodedEnvelope, EsearchResponse, FetchItem, FetchResponse, Flag,
    IString, LazyList, NameEncoding, NumberKind, NumberRange, Numbers, SearchResponse, SearchReturnData,
    Section, StatusResponse, Text, Untagged, VanishedWhen,
};
use proto_mail::{Channel, SendBuffer};

use crate::play::{Entry, Record};

/// The number of choices of [`send`].
pub const KINDS: u8 = 13;

const ENVELOPE: &[u8] = br#"(NIL "x" NIL NIL NIL NIL NIL NIL NIL NIL)"#;
const BODY: &[u8] = br#"("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1)"#;

/// Sends the data of this kind; 0 sends none.
pub fn send<C: Channel>(kind: u8, server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    match kind {
        1 => data(&Untagged::Exists(1), server, tx, record),
        2 => data(&Untagged::Expunge(1), server, tx, record),
        3 => body(server, tx, record),
        4 => body_in_parts(server, tx, record),
        5 => items(server, tx, record),
        6 => search(server, tx, record),
        7 => esearch(server, tx, record),
        8 => more(server, tx, record),
        9 => illegal(server, tx, record),
        10 => look(server, record),
        11 => unfinished(server, tx, record),
        12 => growing(server, tx, record),
        _ => {}
    }
}

/// Sends one response; the machine may refuse it.
pub fn data<C: Channel>(
    untagged: &Untagged<'_>,
    server: &mut Server<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    record.tried("data", tx, |tx| server.data(untagged, tx));
}

/// A FETCH response whose body is in memory.
fn body<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    record.tried("FETCH", tx, |tx| {
        let mut writer = server.fetch(1, tx)?;
        writer.item(&FetchItem::Uid(7)).body(Section::FULL, None, Bytes::from_static(b"hello"));
        writer.finish()
    });
}

/// A FETCH response whose body is written in two parts, with mistakes in between.
fn body_in_parts<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    let begun = record.tried("FETCH", tx, |tx| {
        server.fetch(1, tx)?.stream_body(Section::TEXT, Some(3), 5);
        Ok(())
    });
    if begun.is_none() {
        return;
    }
    let part = |part: &'static [u8], server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record| {
        record.tried("body", tx, |tx| server.write_body(Bytes::from_static(part), tx))
    };
    let early = record.tried("too early", tx, |tx| server.resume_fetch(tx).map(drop));
    record.requires(early.is_none(), || "a response went on before its body was complete".to_owned());
    let left = [part(b"he", server, tx, record), part(b"llo", server, tx, record)];
    record.requires(left == [Some(3), Some(0)], || format!("{left:?} bytes are left of 3 and 0"));
    let more = part(b"x", server, tx, record);
    record.requires(more.is_none(), || "a body is longer than announced".to_owned());
    record.tried("end", tx, |tx| server.resume_fetch(tx)?.finish());
}

/// A FETCH response with values that are encoded already, and one that is a value.
fn items<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    let (Ok(envelope), Ok(body)) =
        (EncodedEnvelope::from_wire(ENVELOPE), EncodedBodyStructure::from_wire(BODY))
    else {
        return record.requires(false, || "the constants do not parse".to_owned());
    };
    record.tried("FETCH", tx, |tx| {
        let mut writer = server.fetch(1, tx)?;
        writer.envelope(&envelope).body_structure(&body);
        writer.finish()
    });
    let items = [FetchItem::Uid(7), FetchItem::Flags(LazyList::new(&[Flag::Seen]))];
    let fetch = FetchResponse { sequence: 1, items: LazyList::new(&items) };
    data(&Untagged::Fetch(fetch), server, tx, record);
}

/// A SEARCH response in parts.
fn search<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    let early = record.tried("too early", tx, |tx| server.finish_search(&[], tx));
    record.requires(early.is_none(), || "a response ended that was not begun".to_owned());
    list(&SearchForm::Search, SearchReturnData::ModSeq(9), server, tx, record);
}

/// An ESEARCH response in parts.
fn esearch<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    let tag = server.tag().map(|tag| tag.as_bytes().to_vec());
    let results = [SearchReturnData::Min(1)];
    let head = EsearchResponse {
        tag: tag.as_deref().map(IString::from),
        mailbox: None,
        uid_validity: None,
        number_kind: NumberKind::Uids,
        results: LazyList::new(&results),
    };
    list(&SearchForm::Esearch(head), SearchReturnData::Count(4), server, tx, record);
}

fn list<C: Channel>(
    form: &SearchForm<'_>,
    last: SearchReturnData<'_>,
    server: &mut Server<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    if record.tried("SEARCH", tx, |tx| server.begin_search(form, tx)).is_none() {
        return;
    }
    for ranges in [&[NumberRange::new(1, 3)][..], &[], &[NumberRange::new(7, 7)]] {
        record.tried("numbers", tx, |tx| server.search_numbers(Numbers::new(ranges), tx));
    }
    let inside = record.tried("inside", tx, |tx| server.data(&Untagged::Search(no_numbers()), tx));
    record.requires(inside.is_none(), || "a response begins inside another one".to_owned());
    record.tried("end", tx, |tx| server.finish_search(&[last], tx));
}

const fn no_numbers() -> SearchResponse<'static> {
    SearchResponse { numbers: Numbers::new(&[]), mod_sequence: None }
}

/// Data that most states allow.
fn more<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    let ranges = [NumberRange::new(7, 7)];
    let uids = Numbers::new(&ranges);
    for untagged in [
        Untagged::Status(StatusResponse::new(Condition::No, Text::first_line("a warning"))),
        Untagged::Flags(LazyList::new(&[Flag::Seen])),
        Untagged::Recent(0),
        Untagged::Search(no_numbers()),
        Untagged::Vanished { when: VanishedWhen::Earlier, uids },
        Untagged::Vanished { when: VanishedWhen::Now, uids },
        Untagged::Id(LazyList::default()),
        Untagged::Enabled(LazyList::default()),
    ] {
        data(&untagged, server, tx, record);
    }
}

/// Data that the machine refuses in every state.
fn illegal<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    let status = |condition| Untagged::Status(StatusResponse::new(condition, Text::first_line("no")));
    let nothing = FetchResponse { sequence: 1, items: LazyList::default() };
    let unwritable = FetchResponse { sequence: 1, items: LazyList::new(&[FetchItem::Uid(0)]) };
    let items = LazyList::new(&[FetchItem::Uid(7)]);
    for untagged in [
        status(Condition::Bye),
        status(Condition::PreAuth),
        Untagged::Expunge(0),
        Untagged::Expunge(u32::MAX),
        Untagged::Fetch(nothing),
        Untagged::Fetch(unwritable),
        Untagged::Fetch(FetchResponse { sequence: 0, items }),
        Untagged::Fetch(FetchResponse { sequence: u32::MAX, items }),
        Untagged::Vanished { when: VanishedWhen::Now, uids: Numbers::new(&[]) },
    ] {
        let sent = record.tried("illegal data", tx, |tx| server.data(&untagged, tx));
        record.requires(sent.is_none(), || format!("{untagged:?} was sent"));
    }
    let sent = record.tried("no message", tx, |tx| server.fetch(0, tx).map(drop));
    record.requires(sent.is_none(), || "a FETCH response to message 0 was begun".to_owned());
    let sent = record.tried("an empty response", tx, |tx| server.fetch(1, tx)?.finish());
    record.requires(sent.is_none(), || "a FETCH response without items was sent".to_owned());
    let sent = record.tried("no body", tx, |tx| server.write_body(Bytes::from_static(b"x"), tx));
    record.requires(sent.is_none(), || "bytes of no body were sent".to_owned());
}

/// Reads every accessor, and checks that they agree.
fn look<C: Channel>(server: &Server<C>, record: &mut Record) {
    let (state, refusals) = (server.state(), server.refusals());
    record.event(&(state, refusals, server.tag(), server.wait().awaited));
    let utf8 = server.is_enabled("IMAP4rev2") || server.is_enabled("UTF8=ACCEPT");
    let is_utf8 = server.name_encoding() == NameEncoding::Utf8;
    record.requires(utf8 == is_utf8, || "the encoding of names differs from what is enabled".to_owned());
    record.requires(!utf8 || state.is_authenticated(), || "enabled without a login".to_owned());
    let is_secure = server.channel().secure().is_some();
    record.requires(C::SECURE == is_secure, || "the channel is of the other kind".to_owned());
    record.entries.push(Entry::DebugOutput(format!("{server:?}")));
}

/// A response that the application forgets to finish, so that the command cannot be answered.
fn unfinished<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    let begun = record.tried("FETCH", tx, |tx| {
        server.fetch(1, tx)?.item(&FetchItem::Uid(7));
        Ok(())
    });
    let inside = record.tried("inside", tx, |tx| server.data(&Untagged::Exists(9), tx));
    record.requires(begun.is_none() || inside.is_none(), || "a response is inside another one".to_owned());
}

/// More messages, which no later response may take back.
fn growing<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
    let grown = record.tried("data", tx, |tx| server.data(&Untagged::Exists(5), tx));
    let shrunk = record.tried("data", tx, |tx| server.data(&Untagged::Exists(4), tx));
    record.requires(grown.is_none() || shrunk.is_none(), || "EXISTS goes down".to_owned());
}
