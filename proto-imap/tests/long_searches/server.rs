//! A server that writes the results of searches in pieces.

use proto_imap::parse::Context;
use proto_imap::server::{self, Reply, SearchForm, Server};
use proto_imap::types::*;
use proto_imap::{Config, parse};
use proto_mail::{AuthVerdict, Error, Misuse, RecvBuffer, Secure, SendBuffer};

use crate::common;

/// A server with a selected mailbox, and the token of a command in progress.
fn serving(command: &str) -> (Server<Secure>, SendBuffer, Reply) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let config = Config::default().extensions(["SORT", "THREAD=REFS", "MULTISEARCH", "SEARCH=FUZZY"]);
    let mut server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
    rx.extend(format!("a LOGIN alice secret\r\nb SELECT INBOX\r\n{command}\r\n").as_bytes());
    loop {
        match server.next_event(&mut rx, &mut tx).unwrap() {
            Some(server::Event::Auth(request)) => {
                server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap()
            }
            Some(server::Event::Command(Command::Select(_), reply)) => {
                server.data(&Untagged::Exists(9), &mut tx).unwrap();
                server.reply(reply, &common::ok("selected"), &mut tx).unwrap();
            }
            Some(server::Event::Command(_, reply)) => {
                let _ = tx.take();
                return (server, tx, reply);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_writes_sorted_numbers_and_threads_in_pieces() {
    let (mut server, mut tx, reply) = serving("c SORT (SIZE) UTF-8 ALL");
    server.begin_search(&SearchForm::Sort, &mut tx).unwrap();
    server.search_numbers(Numbers::new(&[NumberRange::new(7, 7), NumberRange::new(2, 3)]), &mut tx).unwrap();
    server.search_numbers(Numbers::new(&[NumberRange::new(1, 1)]), &mut tx).unwrap();
    server.finish_search(&[SearchReturnData::ModSeq(5)], &mut tx).unwrap();
    assert_eq!(tx.take(), b"* SORT 7 2 3 1 (MODSEQ 5)\r\n");
    server.reply(reply, &common::ok("sorted"), &mut tx).unwrap();

    let (mut server, mut tx, reply) = serving("c THREAD REFS UTF-8 ALL");
    let text = "(2)(3 6 (4 23)(44 7 96))((1)(5))";
    let wire = format!("* THREAD {text}\r\n");
    let Response::Untagged(Untagged::Thread(found)) = parse::response(wire.as_bytes(), &Context::strict())
    else {
        panic!("{wire}")
    };
    let items: Vec<ThreadItem> = found.threads.items().collect();
    let misuse = |misuse: Misuse| Err(Error::Misuse(misuse));
    assert_eq!(server.thread_items(found.threads, &mut tx), misuse(Misuse::WrongState), "nothing was begun");
    server.begin_thread(&mut tx).unwrap();
    for (index, piece) in items.chunks(3).enumerate() {
        server.thread_items(Threads::new(piece), &mut tx).unwrap();
        // A list is open after each piece but the last.
        if (index + 1) * 3 < items.len() {
            assert!(server.data(&Untagged::Exists(9), &mut tx).is_err(), "the response is not finished");
        }
    }
    for wrong in [
        &[ThreadItem::ListEnd][..],
        &[ThreadItem::Message(1)],
        &[ThreadItem::ListStart, ThreadItem::ListEnd],
        &[ThreadItem::ListStart, ThreadItem::Message(0)],
    ] {
        assert_eq!(
            server.thread_items(Threads::new(wrong), &mut tx),
            misuse(Misuse::InvalidArgument),
            "{wrong:?}"
        );
    }
    server.thread_items(Threads::new(&[ThreadItem::ListStart, ThreadItem::Message(8)]), &mut tx).unwrap();
    assert_eq!(server.finish_thread(&mut tx), misuse(Misuse::InvalidArgument), "a list is open");
    server.thread_items(Threads::new(&[ThreadItem::ListEnd]), &mut tx).unwrap();
    server.finish_thread(&mut tx).unwrap();
    assert_eq!(server.finish_thread(&mut tx), misuse(Misuse::WrongState));
    assert_eq!(String::from_utf8(tx.take()).unwrap(), format!("* THREAD {text}(8)\r\n"));
    server.reply(reply, &common::ok("threaded"), &mut tx).unwrap();
}

#[test]
fn a_server_answers_for_other_mailboxes_without_a_selected_one() {
    let head = |mailbox| EsearchResponse {
        tag: Some(IString::from("c")),
        mailbox,
        uid_validity: Some(7),
        number_kind: NumberKind::Uids,
        results: LazyList::EMPTY,
    };
    let (mut server, mut tx, reply) = serving("c CLOSE");
    server.reply(reply, &common::ok("closed"), &mut tx).unwrap();
    let _ = tx.take();
    for form in [SearchForm::Search, SearchForm::Sort, SearchForm::Esearch(head(None))] {
        assert_eq!(server.begin_search(&form, &mut tx), Err(Error::Misuse(Misuse::WrongState)), "{form:?}");
    }
    assert_eq!(server.begin_thread(&mut tx), Err(Error::Misuse(Misuse::WrongState)));
    let data = server.data(&Untagged::Esearch(head(None)), &mut tx);
    assert_eq!(data, Err(Error::Misuse(Misuse::WrongState)));
    assert!(tx.is_empty());
    let named = SearchForm::Esearch(head(Some(IString::from("folder1"))));
    server.begin_search(&named, &mut tx).unwrap();
    server.search_numbers(Numbers::new(&[NumberRange::new(3, 5)]), &mut tx).unwrap();
    server.finish_search(&[], &mut tx).unwrap();
    let line = "* ESEARCH (TAG \"c\" MAILBOX folder1 UIDVALIDITY 7) UID ALL 3:5\r\n";
    assert_eq!(String::from_utf8(tx.take()).unwrap(), line);
}

#[test]
fn a_server_writes_a_page_of_a_result_in_pieces() {
    let page = PartialRange::FromLast(NumberRange::new(1, 100));
    let results = [SearchReturnData::Min(2)];
    let head = EsearchResponse {
        tag: Some(IString::from("c")),
        mailbox: None,
        uid_validity: None,
        number_kind: NumberKind::Uids,
        results: LazyList::new(&results),
    };
    for (pieces, numbers) in [(&[][..], "NIL"), (&[3..=5, 9..=9][..], "3:5,9"), (&[2..=2][..], "2")] {
        let (mut server, mut tx, _reply) = serving("c UID SEARCH RETURN (PARTIAL -1:-100) ALL");
        server.begin_search(&SearchForm::EsearchPage(head, page), &mut tx).unwrap();
        for piece in pieces {
            server.search_numbers(Numbers::new(&[piece.clone().into()]), &mut tx).unwrap();
        }
        server.finish_search(&[SearchReturnData::Count(4)], &mut tx).unwrap();
        let line = format!("* ESEARCH (TAG \"c\") UID MIN 2 PARTIAL (-1:-100 {numbers}) COUNT 4\r\n");
        assert_eq!(String::from_utf8(tx.take()).unwrap(), line);
    }
}

#[test]
fn a_server_writes_scores_in_pieces() {
    let scores =
        |scores: &[u8]| scores.iter().map(|score| RelevancyScore::new(*score).unwrap()).collect::<Vec<_>>();
    let head = EsearchResponse {
        tag: Some(IString::from("c")),
        mailbox: None,
        uid_validity: None,
        number_kind: NumberKind::Uids,
        results: LazyList::EMPTY,
    };
    let page = PartialRange::FromFirst(NumberRange::new(1, 9));
    for (form, numbers, written) in [
        (SearchForm::Esearch(head), &[3..=4, 9..=9][..], " ALL 3:4,9 RELEVANCY (1 100 42)"),
        (SearchForm::EsearchPage(head, page), &[3..=5], " PARTIAL (1:9 3:5) RELEVANCY (1 100 42)"),
        (SearchForm::EsearchPage(head, page), &[], " PARTIAL (1:9 NIL)"),
        (SearchForm::Esearch(head), &[], ""),
    ] {
        let (mut server, mut tx, _reply) = serving("c UID SEARCH RETURN (RELEVANCY ALL) FUZZY TEXT helo");
        assert_eq!(server.search_scores(&scores(&[1]), &mut tx), Err(Error::Misuse(Misuse::WrongState)));
        server.begin_search(&form, &mut tx).unwrap();
        for piece in numbers {
            server.search_numbers(Numbers::new(&[piece.clone().into()]), &mut tx).unwrap();
        }
        if !numbers.is_empty() {
            server.search_scores(&scores(&[1]), &mut tx).unwrap();
            server.search_scores(&scores(&[100, 42]), &mut tx).unwrap();
            let late = server.search_numbers(Numbers::new(&[NumberRange::new(11, 11)]), &mut tx);
            assert_eq!(late, Err(Error::Misuse(Misuse::WrongState)), "the numbers are complete");
        }
        server.search_scores(&[], &mut tx).unwrap();
        server.finish_search(&[SearchReturnData::Count(3)], &mut tx).unwrap();
        let line = format!("* ESEARCH (TAG \"c\") UID{written} COUNT 3\r\n");
        assert_eq!(String::from_utf8(tx.take()).unwrap(), line);
    }
}
