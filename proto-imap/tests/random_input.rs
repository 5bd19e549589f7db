//! Arbitrary bytes in arbitrary chunks: no machine panics, and the server does the same in every split.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{ServerSide, Side, client, config, converse, ok};
use proptest::prelude::*;
use proto_imap::client::LoginMethod;
use proto_imap::server::{Event, Reply, Server};
use proto_imap::types::SelectCommand;
use proto_imap::types::{Command, MailboxName};
use proto_mail::{AuthVerdict, Credentials, Secure, SendBuffer};

/// Generates lines and parts of lines that reach far into both machines.
fn piece(of: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::sample::select(of).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

const RESPONSES: &[&str] = &[
    "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
    "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n",
    "M1 OK [CAPABILITY IMAP4rev1] in\r\n",
    "M1 NO x\r\n",
    "M2 OK [READ-ONLY] selected\r\n",
    "M2 OK done\r\n",
    "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n",
    "* 1 FETCH (FLAGS (\\Seen) BODY[] {4}\r\n",
    "* 1 FETCH (BODY[] \"a\\\"b\" ENVELOPE (NIL {2}\r\n",
    "abcd",
    " UID 7)\r\n",
    ")\r\n",
    "\r\n",
    "* 3 EXISTS\r\n",
    "* LIST () \"/\" {5}\r\nINBOX\r\n",
    "+ go\r\n",
    "* BYE\r\n",
    "* SEARCH 1 2 3\r\n",
    "{9}\r\n",
    "*",
    " ",
    "(",
];

const COMMANDS: &[&str] = &[
    "a LOGIN alice secret\r\n",
    "a LOGIN {5+}\r\nalice {6}\r\n",
    "secret\r\n",
    "a AUTHENTICATE PLAIN\r\n",
    "AGFsaWNlAHNlY3JldA==\r\n",
    "*\r\n",
    "a SELECT INBOX\r\n",
    "a SELECT {5}\r\nINBOX\r\n",
    "a FETCH 1:* (FLAGS BODY[])\r\n",
    "a APPEND INBOX {4}\r\n",
    "a APPEND INBOX (\\Seen) {4+}\r\n",
    "abcd",
    "\r\n",
    "a IDLE\r\n",
    "DONE\r\n",
    "a ENABLE IMAP4rev2\r\n",
    "a XYZZY {9+}\r\n",
    "a SEARCH NOT NOT ALL\r\n",
    "a CLOSE\r\n",
    "a LOGOUT\r\n",
    "a NOOP\nb NOOP\r\n",
    "{5+}\r\n",
    "a",
    " ",
];

fn client_that_logs_in() -> Box<dyn Side> {
    let mut said = 0;
    client(config(), move |client, tx, _| {
        let credentials = Credentials::password("u", &b"p"[..]);
        if said == 0 && client.authenticate(LoginMethod::Strongest, &credentials, tx).is_ok() {
            said = 1;
        } else if said == 1
            && client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), tx).is_ok()
        {
            said = 2;
        } else if said == 2 && client.idle(tx).is_ok() {
            said = 3;
        }
    })
}

fn server_that_accepts_everything() -> Box<dyn Side> {
    let mut idle: Option<Reply> = None;
    let mut greeting = SendBuffer::new();
    let server = Server::<Secure>::new(config(), Secure::trusted_local(), &mut greeting);
    Box::new(ServerSide {
        server,
        greeting,
        answer: Box::new(move |event, server, tx| match event {
            Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
            Event::Command(_, reply) | Event::AppendEnd(reply) => {
                server.reply(reply, &ok("done"), tx).unwrap()
            }
            Event::Append { offer, .. } => server.accept_literal(offer, tx).unwrap(),
            Event::Idle(reply) => idle = Some(reply),
            Event::Done => server.reply(idle.take().unwrap(), &ok("idled"), tx).unwrap(),
            _ => {}
        }),
    })
}

/// Cuts `input` at `cuts`.
fn cut<'i>(input: &'i [u8], cuts: &[prop::sample::Index]) -> Vec<&'i [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for place in places {
        pieces.push(&input[from..place]);
        from = place;
    }
    pieces.push(&input[from..]);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_server_does_the_same_however_its_input_is_cut(
        parts in prop::collection::vec(piece(COMMANDS), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        end in any::<bool>(),
    ) {
        let input = parts.concat();
        let whole = converse(server_that_accepts_everything().as_mut(), [&input[..]], end);
        prop_assert_eq!(&converse(server_that_accepts_everything().as_mut(), cut(&input, &cuts), end), &whole);
        prop_assert_eq!(&converse(server_that_accepts_everything().as_mut(), input.chunks(1), end), &whole);
        for line in whole.output.lines() {
            let mut words = line.split(' ');
            let (tag, condition) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let known = tag == "*" || tag == "+" || ["OK", "NO", "BAD"].contains(&condition);
            prop_assert!(known && !line.contains(['\r', '\0']), "{:?}", line);
        }
    }

    #[test]
    fn a_client_never_panics_and_never_speaks_after_its_end(
        parts in prop::collection::vec(piece(RESPONSES), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        end in any::<bool>(),
    ) {
        // The splits matter here, because they decide what was sent before an answer arrived.
        let input = parts.concat();
        let _ = converse(client_that_logs_in().as_mut(), cut(&input, &cuts), end);
        let _ = converse(client_that_logs_in().as_mut(), input.chunks(1), end);
    }

    #[test]
    fn random_bytes_never_make_a_machine_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = converse(client_that_logs_in().as_mut(), [&input[..]], true);
        let _ = converse(server_that_accepts_everything().as_mut(), [&input[..]], true);
    }
}
