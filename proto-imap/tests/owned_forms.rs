//! Owned forms: the result of `into_owned` outlives the message and is equal to the original view.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

use proto_imap::parse::{self, Context};
use proto_imap::types::{
    Address, Command, Envelope, FetchAttribute, FetchCommand, FetchItem, Flag, FlagList, IString, LazyList,
    LazyValue, MailboxName, Response, SearchCommand, SearchKey, Section, SequenceRange, SequenceSet,
    StoreAction, StoreCommand,
};
use serde_json::Value;

const QUIRKS: &str = include_str!("data/quirks.jsonl");

/// Returns the messages of deployed servers, including those that need repairs.
fn messages() -> impl Iterator<Item = Vec<u8>> {
    let rows = QUIRKS.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
    rows.map(|row| {
        let text = row["bytes"].as_str().unwrap().to_owned();
        text.replace("\\r", "\r").replace("\\n", "\n").replace("\\\\", "\\").into_bytes()
    })
}

#[test]
fn a_response_outlives_its_message() {
    let cx = Context::tolerant();
    let mut count = 0;
    for message in messages() {
        let response = parse::response(&message, &cx);
        let shown = format!("{response:?}");
        let owned = response.into_owned();
        assert_eq!(owned.view(), response);
        drop(message);
        assert_eq!(format!("{:?}", owned.view()), shown);
        assert_eq!(format!("{:?}", owned.clone()), shown);
        assert_eq!(owned.view().into_owned(), owned);
        count += 1;
    }
    assert!(count > 100, "{count}");
}

#[test]
fn a_search_result_outlives_its_message() {
    for message in [
        "* THREAD (2)(3 6 (4 23)(44 7 96))((1)(5))\r\n",
        "* SORT 5 3 4 1 2 (MODSEQ 17)\r\n",
        "* ESEARCH (TAG \"B01\") UID ADDTO (1 2733 0 2731:2732) REMOVEFROM (3 7) RELEVANCY (4 99 42) X-NEW (a \"b\")\r\n",
        "* ESEARCH (TAG \"tag1\" MAILBOX \"folder 1\" UIDVALIDITY 7) UID ALL 4001,4003\r\n",
        "* NO [NOUPDATE \"B02\"] Too many contexts\r\n",
        "* NO [UNDEFINED-FILTER on-the-road] unknown\r\n",
    ] {
        let response = parse::response(message.as_bytes(), &Context::strict());
        assert!(matches!(response, Response::Untagged(_)), "{response:?}");
        let owned = response.into_owned();
        assert_eq!(owned.view(), response);
        assert_eq!(format!("{owned:?}"), format!("{response:?}"));
        let mut written = Vec::new();
        proto_imap::encode::response(&owned.view(), &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), message);
    }
}

#[test]
fn a_command_outlives_its_frame() {
    let frames = [
        "a FETCH 1:3,7 (FLAGS BODY.PEEK[HEADER.FIELDS (From \"x y\")]<0.7>) (CHANGEDSINCE 7)\r\n",
        "a UID SEARCH RETURN (MIN PARTIAL 1:9) CHARSET UTF-8 OR (NOT SEEN TEXT {3}\r\nabc) UID 1:*\r\n",
        "a LIST (SUBSCRIBED) \"\" (\"a\" b%) RETURN (STATUS (MESSAGES UIDNEXT))\r\n",
        "a SELECT \"Entw&APw-rfe\" (QRESYNC (67890007 90060115194045000 41:211,214:541 (1:3 4:6)))\r\n",
        "a ID (\"name\" \"x\" \"version\" NIL)\r\n",
        "a SORT RETURN (PARTIAL 1:9) (REVERSE DATE TO) UTF-8 FILTER x FUZZY TEXT {3}\r\nabc\r\n",
        "a UID THREAD X-NEW UTF-8 OR SEEN (TEXT a)\r\n",
        "a ESEARCH IN (subtree (\"a b\" {1}\r\nc) personal (X-A (1 2))) RETURN (MIN) SUBJECT \"x\"\r\n",
        "a CANCELUPDATE \"a\" \"b\"\r\n",
        "a XNEW {3}\r\n() more\r\n",
    ];
    for frame in frames {
        let frame = frame.as_bytes().to_vec();
        let (tag, command) = parse::command(&frame, &Context::strict()).unwrap();
        let (shown, name) = (format!("{command:?}"), command.name());
        let (tag, owned) = (tag.into_owned(), command.into_owned());
        assert_eq!(owned.view(), command);
        drop(frame);
        assert_eq!(format!("{:?}", owned.view()), shown);
        assert_eq!(owned.view().name(), name);
        assert_eq!(tag.view().as_str(), "a");
    }
}

#[test]
fn values_of_the_application_are_kept_exactly() {
    let store = {
        let (keyword, ranges) =
            (String::from("$Junk"), [SequenceRange::new(2, 4), SequenceRange::from_number_on(9)]);
        let flags = [Flag::Seen, Flag::new(&keyword).unwrap()];
        Command::Store(StoreCommand::new(SequenceSet::new(&ranges), StoreAction::Add, FlagList::new(&flags)))
            .into_owned()
    };
    let Command::Store(view) = store.view() else { panic!("{store:?}") };
    assert_eq!(view.messages.to_string(), "2:4,9:*");
    assert_eq!(format!("{:?}", view.flags), "[\\Seen, $Junk]");

    // A list without elements cannot be written. Its owned form must not become a list that can.
    let search = Command::Search(SearchCommand::new(&[SearchKey::not(&SearchKey::and(&[]))])).into_owned();
    assert_eq!(
        format!("{search:?}"),
        "Search(SearchCommand { returns: None, charset: None, keys: [Not(Some(And([])))] })"
    );

    let name = MailboxName::new("Entwürfe").into_owned();
    assert_eq!(name.view(), MailboxName::from_bytes(b"Entw&APw-rfe"));

    let fetch = [FetchAttribute::peek(Section::body("1.MIME").unwrap())];
    let fetch = Command::Fetch(FetchCommand::new(SequenceSet::from(7), LazyList::new(&fetch))).into_owned();
    assert_eq!(fetch.view().into_owned(), fetch);

    let from = [Address { name: Some(IString::from("A")), ..Address::default() }];
    let envelope = Envelope { from: LazyList::new(&from), ..Envelope::default() };
    let item = FetchItem::Envelope(LazyValue::new(&envelope)).into_owned();
    assert_eq!(item.view(), FetchItem::Envelope(LazyValue::new(&envelope)));
}

#[test]
fn owned_forms_can_be_sent_to_other_threads() {
    fn is_sendable<T: Send + Sync + Clone + 'static>(_: &T) {}
    let message = b"* 1 FETCH (FLAGS (\\Seen) ENVELOPE NIL)\r\n".to_vec();
    let response: Response<'_> = parse::response(&message, &Context::tolerant());
    let owned = response.into_owned();
    is_sendable(&owned);
    let shown = std::thread::spawn(move || format!("{owned:?}")).join().unwrap();
    assert_eq!(shown, format!("{response:?}"));
}
