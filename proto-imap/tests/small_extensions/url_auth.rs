//! GENURLAUTH, URLFETCH and RESETKEY in both roles (RFC 4467, RFC 5524).

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use proto_imap::Config;
use proto_imap::encode;
use proto_imap::parse::{self, Context};
use proto_imap::server::{Event, Server};
use proto_imap::types::{
    Command, IString, LazyList, MailboxName, ResetKeyCommand, Response, Untagged, UrlContents, UrlData,
    UrlFetchItem, UrlMetadata, UrlParameter, UrlRequest,
};
use proto_mail::trace::TraceSpan;
use proto_mail::{AuthVerdict, Misuse, RecvBuffer, Secure, SendBuffer};

use super::common::ok;
use super::common::talk::Talk;
use super::{keep, written};

const URL: &str = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred";

fn text(pattern: &'static str) -> impl Strategy<Value = IString<'static>> {
    pattern.prop_map(|text| IString::from(&*text.leak()))
}

fn contents() -> impl Strategy<Value = Option<IString<'static>>> {
    prop_oneof![Just(None), text("[ -~]{0,20}").prop_map(Some), Just(Some(IString::from("a\r\n)(b {3}\r\n")))]
}

fn command() -> impl Strategy<Value = Command<'static>> {
    let request = (text("[!-~]{0,30}"), text("[A-Z.-]{1,8}"))
        .prop_map(|(url, mechanism)| UrlRequest { url, mechanism });
    let parameter = select(vec![UrlParameter::Body, UrlParameter::Binary, UrlParameter::BodyPartStructure]);
    let parameters =
        prop::option::of(prop::collection::vec(parameter, 0..4).prop_map(|all| LazyList::new(keep(all))));
    let item =
        (text("[!-~]{0,30}"), parameters).prop_map(|(url, parameters)| UrlFetchItem { url, parameters });
    let mechanisms = prop::collection::vec(text("[A-Z]{1,8}"), 0..3);
    prop_oneof![
        prop::collection::vec(request, 1..4).prop_map(|all| Command::GenUrlAuth(LazyList::new(keep(all)))),
        prop::collection::vec(item, 1..4).prop_map(|all| Command::UrlFetch(LazyList::new(keep(all)))),
        ("[ -~]{1,9}", mechanisms).prop_map(|(name, all)| Command::ResetKey(ResetKeyCommand {
            mailbox: Some(MailboxName::new(name.leak())),
            mechanisms: LazyList::new(keep(all)),
        })),
        Just(Command::ResetKey(ResetKeyCommand { mailbox: None, mechanisms: LazyList::EMPTY })),
    ]
}

fn untagged() -> impl Strategy<Value = Untagged<'static>> {
    let metadata = prop_oneof![
        contents().prop_map(UrlMetadata::Body),
        contents().prop_map(UrlMetadata::Binary),
        Just(UrlMetadata::Binary(Some(IString::from("a\0b")))),
    ];
    let data = prop_oneof![
        contents().prop_map(UrlContents::Simple),
        prop::collection::vec(metadata, 1..4).prop_map(|all| UrlContents::Extended(LazyList::new(keep(all)))),
    ];
    let data = (text("[!-~]{0,30}"), data).prop_map(|(url, contents)| UrlData { url, contents });
    prop_oneof![
        prop::collection::vec(text("[!-~]{0,30}"), 1..4)
            .prop_map(|all| Untagged::GenUrlAuth(LazyList::new(keep(all)))),
        prop::collection::vec(data, 1..4).prop_map(|all| Untagged::UrlFetch(LazyList::new(keep(all)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_written_command_is_parsed_as_the_same(command in command()) {
        let line = written(&command);
        for cx in [Context::strict(), Context::tolerant()] {
            let (_, read) = parse::command(&line, &cx).unwrap();
            prop_assert_eq!(read, command);
            let owned = read.into_owned();
            prop_assert_eq!(owned.view(), command);
        }
    }

    #[test]
    fn a_written_response_is_parsed_as_the_same(data in untagged()) {
        let given = Response::Untagged(data);
        let mut out = Vec::new();
        encode::response(&given, &mut out);
        for cx in [Context::strict(), Context::tolerant()] {
            let read = parse::response(&out, &cx);
            prop_assert_eq!(&read, &given, "{}", out.escape_ascii());
            prop_assert_eq!(cx.repairs.total(), 0);
            let owned = read.into_owned();
            prop_assert_eq!(owned.view(), given);
        }
    }
}

#[test]
fn parses_the_forms_of_the_grammar() {
    for (line, expected) in [
        ("a RESETKEY", "ResetKey(ResetKeyCommand { mailbox: None, mechanisms: [] })"),
        (
            "a RESETKEY INBOX XSAMPLE",
            "ResetKey(ResetKeyCommand { mailbox: Some(\"INBOX\"), mechanisms: [\"XSAMPLE\"] })",
        ),
        ("a GENURLAUTH \"x\" INTERNAL", "GenUrlAuth([UrlRequest { url: \"x\", mechanism: \"INTERNAL\" }])"),
        ("a URLFETCH x", "UrlFetch([UrlFetchItem { url: \"x\", parameters: None }])"),
        ("a urlfetch (x binary)", "UrlFetch([UrlFetchItem { url: \"x\", parameters: Some([Binary]) }])"),
        ("a URLFETCH (x)", "UrlFetch([UrlFetchItem { url: \"x\", parameters: Some([]) }])"),
        ("a GENURLAUTH x", ""),
        ("a GENURLAUTH", ""),
        ("a URLFETCH", ""),
        ("a URLFETCH (x PREVIEW)", ""),
        ("a URLFETCH (x BODY", ""),
        ("a RESETKEY ", ""),
    ] {
        let frame = format!("{line}\r\n");
        let read = parse::command(frame.as_bytes(), &Context::strict());
        assert_eq!(read.map_or(String::new(), |(_, command)| format!("{command:?}")), expected, "{line}");
    }
}

#[test]
fn the_client_sends_what_the_server_offers() {
    let mut talk = Talk::greeted("PREAUTH", "URLAUTH");
    let requests = [UrlRequest::internal(IString::from(URL))];
    talk.send(&Command::GenUrlAuth(LazyList::new(&requests)));
    talk.send(&Command::ResetKey(ResetKeyCommand { mailbox: None, mechanisms: LazyList::EMPTY }));
    let items = [UrlFetchItem::contents(IString::from("x"))];
    talk.send(&Command::UrlFetch(LazyList::new(&items)));
    let said = talk.said();
    assert_eq!(said, format!("M1 GENURLAUTH \"{URL}\" INTERNAL\r\nM2 RESETKEY\r\nM3 URLFETCH x\r\n"));
    let events = talk
        .hear("* GENURLAUTH x:internal:y\r\nM1 OK x\r\nM2 OK [URLMECH INTERNAL] x\r\n* URLFETCH x {4}\r\na\r\nb\r\nM3 OK x\r\n")
        .unwrap();
    for shown in ["GenUrlAuth([\"x:internal:y\"])", "URLMECH", "Simple(Some(\"a\\r\\nb\"))"] {
        assert!(events.iter().any(|event| event.contains(shown)), "{shown} in {events:?}");
    }
}

#[test]
fn the_server_writes_contents_piece_by_piece() {
    let mut tx = SendBuffer::new();
    let config = Config::default().extensions(["URLAUTH"]);
    let mut server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
    let mut rx = RecvBuffer::new();
    let url = IString::from("x");
    assert_eq!(server.begin_url_data(url, 3, &mut tx).unwrap_err(), Misuse::WrongState.into());
    rx.extend(b"a LOGIN u p\r\nb URLFETCH x\r\n");
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        match event {
            Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap(),
            Event::Command(Command::UrlFetch(_), reply) => {
                let _ = tx.take();
                assert_eq!(server.finish_url_data(&mut tx).unwrap_err(), Misuse::WrongState.into());
                server.begin_url_data(url, 5, &mut tx).unwrap();
                assert_eq!(server.write_body(Bytes::from_static(b"ab\0"), &mut tx).unwrap(), 2);
                assert_eq!(server.finish_url_data(&mut tx).unwrap_err(), Misuse::WrongLength.into());
                assert_eq!(server.begin_url_data(url, 1, &mut tx).unwrap_err(), Misuse::WrongLength.into());
                let more = server.write_body(Bytes::from_static(b"cde"), &mut tx);
                assert_eq!(more.unwrap_err(), Misuse::WrongLength.into());
                assert_eq!(server.write_body(Bytes::from_static(b"cd"), &mut tx).unwrap(), 0);
                server.finish_url_data(&mut tx).unwrap();
                server.reply(reply, &ok("done"), &mut tx).unwrap();
            }
            event => panic!("{event:?}"),
        }
    }
    let sent = tx.take();
    assert!(sent.starts_with(b"* URLFETCH x {5}\r\nab\0cd\r\nb OK "), "{}", sent.escape_ascii());
}

/// Formats a trace: secrets as `?`.
fn shown(trace: Vec<TraceSpan>) -> String {
    let shown = |span| match span {
        TraceSpan::Text(text) => String::from_utf8(text).unwrap(),
        TraceSpan::Secret(_) => "?".to_owned(),
        other => format!("{other:?}"),
    };
    trace.into_iter().map(shown).collect()
}

#[test]
fn traces_hide_urls_with_tokens() {
    let mut talk = Talk::greeted("PREAUTH", "URLAUTH");
    talk.rx.trace(1000);
    talk.tx.trace(1000);
    for url in ["x;URLAUTH=a:internal:91", "x \"y\";URLAUTH=a:internal:91", "x\r\n;URLAUTH=a:internal:91"] {
        talk.send(&Command::UrlFetch(LazyList::new(&[UrlFetchItem::contents(IString::from(url))])));
        let mut sent = talk.said();
        if sent.ends_with("}\r\n") {
            talk.hear("+ go\r\n").unwrap();
            sent += &talk.said();
        }
        let traced = shown(talk.tx.take_trace());
        assert!(sent.contains("internal:91") && !traced.contains("internal"), "{traced}");
        assert!(traced.contains(" URLFETCH?"), "{traced}");
        let _ = talk.rx.take_trace();
        talk.hear(
            "* URLFETCH x;URLAUTH=a:internal:91 {2}\r\nab\r\n* genurlauth y:internal:91\r\n* 3 EXISTS\r\n",
        )
        .unwrap();
        assert_eq!(shown(talk.rx.take_trace()), "* URLFETCH ?\r\n* genurlauth ?\r\n* 3 EXISTS\r\n");
        let id = traced.split(' ').next().unwrap().to_owned();
        talk.hear(&format!("{id} OK done\r\n")).unwrap();
        let _ = talk.rx.take_trace();
    }

    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let config = Config::default().extensions(["URLAUTH"]);
    let mut server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
    rx.trace(1000);
    tx.trace(1000);
    rx.extend(b"a LOGIN u p\r\nb URLFETCH {25+}\r\nx;URLAUTH=a:internal:9191\r\n");
    let urls = [IString::from("x;URLAUTH=a:internal:91")];
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        match event {
            Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap(),
            Event::Command(_, reply) => {
                server.begin_url_data(urls[0], 1, &mut tx).unwrap();
                server.write_body(Bytes::from_static(b"c"), &mut tx).unwrap();
                server.finish_url_data(&mut tx).unwrap();
                server.data(&Untagged::GenUrlAuth(LazyList::new(&urls)), &mut tx).unwrap();
                server.reply(reply, &ok("done"), &mut tx).unwrap();
            }
            event => panic!("{event:?}"),
        }
    }
    let sent = tx.take();
    assert!(sent.windows(11).any(|part| part == b"internal:91"));
    let heard = shown(rx.take_trace());
    assert!(heard.ends_with("b URLFETCH?\r\n") && !heard.contains("internal"), "{heard}");
    let said = shown(tx.take_trace());
    assert!(
        said.contains("* URLFETCH ?") && said.contains("* GENURLAUTH ?") && !said.contains("internal"),
        "{said}"
    );
}

#[test]
fn the_server_writes_the_contents_of_an_extended_urlfetch_piece_by_piece() {
    let mut tx = SendBuffer::new();
    let config = Config::default().extensions(["URLAUTH", "URLAUTH=BINARY"]);
    let mut server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
    let mut rx = RecvBuffer::new();
    tx.trace(1000);
    let (url, none) = (IString::from("x"), LazyList::EMPTY);
    let early = server.begin_url_metadata(url, none, UrlParameter::Body, 3, &mut tx);
    assert_eq!(early.unwrap_err(), Misuse::WrongState.into());
    rx.extend(b"a LOGIN u p\r\nb URLFETCH (x BINARY BODYPARTSTRUCTURE) (x BODY)\r\n");
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        match event {
            Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap(),
            Event::Command(Command::UrlFetch(_), reply) => {
                let _ = tx.take();
                assert_eq!(server.finish_url_metadata(&mut tx).unwrap_err(), Misuse::WrongState.into());
                let wrong = server.begin_url_metadata(url, none, UrlParameter::BodyPartStructure, 3, &mut tx);
                assert_eq!(wrong.unwrap_err(), Misuse::InvalidArgument.into());
                let before = [UrlMetadata::Body(None)];
                let before = LazyList::new(&before);
                server.begin_url_metadata(url, before, UrlParameter::Binary, 2, &mut tx).unwrap();
                assert_eq!(server.write_body(Bytes::from_static(b"\0"), &mut tx).unwrap(), 1);
                assert_eq!(server.finish_url_metadata(&mut tx).unwrap_err(), Misuse::WrongLength.into());
                assert_eq!(server.finish_url_data(&mut tx).unwrap_err(), Misuse::WrongState.into());
                assert_eq!(server.write_body(Bytes::from_static(b"\n"), &mut tx).unwrap(), 0);
                server.finish_url_metadata(&mut tx).unwrap();
                server.begin_url_metadata(url, none, UrlParameter::Body, 0, &mut tx).unwrap();
                server.finish_url_metadata(&mut tx).unwrap();
                server.reply(reply, &ok("done"), &mut tx).unwrap();
            }
            event => panic!("{event:?}"),
        }
    }
    let sent = tx.take();
    let expected = b"* URLFETCH x (BODY NIL) (BINARY ~{2}\r\n\0\n)\r\n* URLFETCH x (BODY {0}\r\n)\r\nb OK ";
    assert!(sent.starts_with(expected), "{}", sent.escape_ascii());
    let said = shown(tx.take_trace());
    assert!(said.contains("* URLFETCH ? (BODY NIL) (BINARY ~{2}\r\n"), "{said}");
}
