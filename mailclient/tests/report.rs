//! The delivery report: invalid recipients, replies and their times, and whether a retry makes sense.

#![allow(clippy::unwrap_used, clippy::panic)]

mod mail;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    num::NonZeroU32,
    ops::ControlFlow,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use mail::{Running, Still, TEXT, Text, message, open, with_text};
use mailclient::delivery::{
    Chunking, DeliveryReport, DeliveryRequest, DeliveryStage, DeliveryStatus, Dispatcher, Message,
    MessageLimits, MessagePart, Pool, PoolLimits, ProblemKind, RetryPolicy, Route,
};
use proto_mail::Cleartext;
use proto_smtp::{
    client::Content,
    types::{BodyType, Extension, ExtensionParameters, ExtensionSet, Mail, ServerLimits},
};

/// Delivers a message with one transaction per session. Returns the report.
fn deliver(route: &Route<Cleartext>, message: &mut Message<Text>, policy: &RetryPolicy) -> DeliveryReport {
    let pool = Pool::new(PoolLimits { messages: 1, ..PoolLimits::default() });
    pool.deliver(route, message, policy, &mut Still::default()).unwrap()
}

fn statuses(report: &DeliveryReport) -> Vec<DeliveryStatus> {
    report.recipients.iter().map(|recipient| recipient.status).collect()
}

#[test]
fn reports_invalid_recipients_and_delivers_to_the_others() {
    let server = Running::start();
    let long = format!("{}@x.example", "l".repeat(65));
    let names =
        ["a@x.example", "no at sign", "B@x.example", "\"a\"@X.EXAMPLE", &long, "a@x.example\r\nDATA", ""];
    let mut message = message(names);
    let found: Vec<_> = message
        .check(&MessageLimits::default())
        .unwrap()
        .iter()
        .map(|problem| (problem.field, problem.index.unwrap(), problem.problem))
        .collect();
    assert_eq!(
        found,
        [
            (MessagePart::Recipient, 1, ProblemKind::Syntax),
            (MessagePart::Recipient, 3, ProblemKind::Duplicate),
            (MessagePart::Recipient, 4, ProblemKind::TooLong),
            (MessagePart::Recipient, 5, ProblemKind::Syntax),
            (MessagePart::Recipient, 6, ProblemKind::Syntax),
        ]
    );
    let report = deliver(&server.route(), &mut message, &RetryPolicy::default());
    let valid: Vec<_> = report.recipients.iter().map(|one| one.status == DeliveryStatus::Success).collect();
    assert_eq!(valid, [true, false, true, false, false, false, false]);
    let answer = report.recipients[3].diagnostic.as_ref().unwrap();
    assert_eq!((report.recipients[3].status, answer.stage), (DeliveryStatus::Invalid, DeliveryStage::Check));
    assert_eq!(answer.text, "recipient 4: the same as recipient 1");
    assert_eq!((report.status, report.recipients[1].attempts), (DeliveryStatus::Invalid, 0));
    assert_eq!(server.book.messages()[0].recipients, ["a@x.example", "B@x.example"]);
}

#[test]
fn does_not_send_to_invalid_addresses_without_a_check() {
    let server = Running::start();
    let report = deliver(&server.route(), &mut message(["a@x.example", "<>"]), &RetryPolicy::default());
    assert_eq!(statuses(&report), [DeliveryStatus::Success, DeliveryStatus::Invalid]);
    let text = std::io::Cursor::new(TEXT.as_bytes().to_vec());
    let mut spoofed = Message::from_text("a@x.example> SIZE=1\r\n", text).recipient_text("a@x.example");
    let report = deliver(&server.route(), &mut spoofed, &RetryPolicy::default());
    assert_eq!((statuses(&report), report.status), (vec![DeliveryStatus::Invalid], DeliveryStatus::Invalid));
    assert_eq!(server.book.messages().len(), 1);
}

#[test]
fn does_not_send_an_invalid_message() {
    let server = Running::start();
    let pool = Pool::new(PoolLimits::default());
    let texts = ["Subject: x\r\n\r\nx\r\n", &TEXT.replace("body", "bo\0dy"), TEXT, &TEXT.repeat(3000)];
    let orders = (0..).zip(texts).map(|(id, text)| DeliveryRequest {
        id,
        message: with_text(text, ["a@x.example", "b@x.example"]),
        route: server.route(),
    });
    let limits = MessageLimits { message_bytes: 200_000, ..MessageLimits::default() };
    let mut valid = Vec::new();
    Dispatcher::new(&pool, Still::default()).check(limits).run(orders, |done| {
        if done.report.status == DeliveryStatus::Success {
            valid.push(done.id);
        } else {
            assert_eq!(statuses(&done.report), [DeliveryStatus::Invalid; 2], "{}", done.id);
            assert_eq!(done.report.recipients[0].diagnostic.as_ref().unwrap().stage, DeliveryStage::Check);
        }
        ControlFlow::Continue(())
    });
    assert_eq!((valid, server.book.messages().len(), server.book.sessions().2), (vec![2], 1, 1));
}

#[test]
fn does_not_send_bare_line_ends_without_a_check() {
    let server = Running::start();
    let mut bad = with_text(&TEXT.replace("body", "bo\0dy"), ["a@x.example"]);
    let report = deliver(&server.route(), &mut bad, &RetryPolicy::default());
    assert_eq!((statuses(&report), report.retry_count), (vec![DeliveryStatus::Invalid], 0));
    assert_eq!(server.book.messages().len(), 0);
}

#[test]
fn a_recipient_that_needs_smtputf8_does_not_block_the_others() {
    let server = Running::set(|config| {
        let extensions = config.extensions.without(Extension::SmtpUtf8);
        config.extensions(extensions)
    });
    let names = ["a@x.example", "jürgen@x.example"];
    let report = deliver(&server.route(), &mut message(names), &RetryPolicy::default());
    assert_eq!(statuses(&report), [DeliveryStatus::Success, DeliveryStatus::Failed]);
    let other = Running::start();
    let report = deliver(&other.route(), &mut message(names), &RetryPolicy::default());
    assert_eq!(statuses(&report), [DeliveryStatus::Success; 2]);
    let limits = MessageLimits {
        addresses: mailclient::delivery::AddressPolicy::AsciiOnly,
        ..MessageLimits::default()
    };
    let mut message = message(names);
    let problems = message.check(&limits).unwrap();
    assert_eq!((problems[0].index, problems[0].problem), (Some(1), ProblemKind::NeedsSmtpUtf8));
}

#[test]
fn sends_a_message_that_needs_less_than_declared() {
    let poor = || {
        Running::set(|config| {
            let lacking = [Extension::SmtpUtf8, Extension::EightBitMime, Extension::BinaryMime];
            let extensions = lacking.into_iter().fold(config.extensions, ExtensionSet::without);
            config.extensions(extensions)
        })
    };
    let asks = |mut mail: Mail<'static>, body| {
        (mail.body, mail.utf8) = (body, true);
        mail
    };
    let ascii = "From: a@x.example\r\nDate: x\r\n\r\nhello\r\n";
    // Whether a message with this body and header may be sent without the extension that it requested.
    let bodies = [
        (ascii.to_owned(), true),
        (ascii.replace("hello", "caf\u{e9}"), false),
        (ascii.replace("a@x", "\u{e9}@x"), false),
    ];
    for body in [BodyType::EightBitMime, BodyType::BinaryMime] {
        for (text, goes) in &bodies {
            let asked = || {
                let message = mail::with_text(text, ["b@x.example"]);
                message.with_mail(|mail| asks(mail, Some(body)))
            };
            let content = Content::of(text.as_bytes());
            let mut checked = asked();
            checked.check(&MessageLimits::default()).unwrap();
            for (mut message, is_known) in
                [(asked(), false), (asked().with_content(content), true), (checked, true)]
            {
                let server = poor();
                let report = deliver(&server.route(), &mut message, &RetryPolicy::default());
                let wanted = if *goes && is_known { DeliveryStatus::Success } else { DeliveryStatus::Failed };
                // No address is invalid here.
                assert_eq!(statuses(&report), [wanted], "{body:?} {is_known} {text}");
                let taken = server.book.messages();
                assert_eq!(taken.len(), usize::from(wanted == DeliveryStatus::Success));
                assert!(taken.iter().all(|taken| taken.bytes == text.as_bytes()));
            }
        }
    }
    // A recipient that needs SMTPUTF8 does not prevent delivery to the others.
    let names = ["a@x.example", "j\u{fc}rgen@x.example"];
    let message = mail::with_text(ascii, names).with_mail(|mail| asks(mail, None));
    let mut message = message.with_content(Content::of(ascii.as_bytes()));
    let report = deliver(&poor().route(), &mut message, &RetryPolicy::default());
    assert_eq!(statuses(&report), [DeliveryStatus::Success, DeliveryStatus::Failed]);
}

#[test]
fn recipients_beyond_the_servers_limit_follow_at_once() {
    let limit = |recipients, mails| {
        let mut limits = ServerLimits::NONE;
        limits.recipients = NonZeroU32::new(recipients);
        limits.mails = NonZeroU32::new(mails);
        Running::set(|config| {
            let extensions = config.extensions.with(Extension::Limits);
            config.extensions(extensions).extension_parameters(ExtensionParameters::default().limits(limits))
        })
    };
    // The number of sessions and transactions for 10 recipients, one of which is retried.
    for (server, sessions, transactions) in
        [(limit(4, 100), 1, 4), (limit(4, 2), 2, 4), (limit(1, 1), 11, 10)]
    {
        let pool = Pool::new(PoolLimits::default());
        let mut names: Vec<_> = (1..10).map(|number| format!("{number}@x.example")).collect();
        names.insert(0, "later@x.example".into());
        let mut clock = Still::default();
        let report =
            pool.deliver(&server.route(), &mut message(&names), &RetryPolicy::default(), &mut clock).unwrap();
        assert_eq!(statuses(&report), [DeliveryStatus::Success; 10], "{report:?}");
        // A further transaction because of a server's limit is not a retry and has no delay.
        assert_eq!((report.retry_count, report.duration_ms), (1, 1007));
        let mut got: Vec<_> = server.book.messages().into_iter().flat_map(|taken| taken.recipients).collect();
        assert_eq!((server.book.sessions().2, server.book.messages().len()), (sessions, transactions));
        got.sort();
        names.sort();
        assert_eq!(got, names);
    }
}

#[test]
fn respects_an_unannounced_recipient_limit_after_452() {
    let server = Running::start();
    let names = (0..8).map(|number| format!("admission{number}@x.example"));
    let report = deliver_kept(&server, &mut message(names));
    assert_eq!((statuses(&report), report.retry_count), (vec![DeliveryStatus::Success; 8], 0));
    let sizes: Vec<_> = server.book.messages().iter().map(|taken| taken.recipients.len()).collect();
    assert_eq!((sizes, server.book.sessions().2), (vec![3, 3, 2], 1));
}

fn deliver_kept(server: &Running, message: &mut Message<Text>) -> DeliveryReport {
    let pool = Pool::new(PoolLimits::default());
    pool.deliver(&server.route(), message, &RetryPolicy::default(), &mut Still::default()).unwrap()
}

#[test]
fn keeps_an_earlier_reply_beside_a_later_connection_failure() {
    let server = Running::start();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (first, later, opened) = (open(server.address), open(unused), AtomicUsize::new(0));
    let route = Route::new("127.0.0.1", server.address.port(), move || {
        if opened.fetch_add(1, Ordering::SeqCst) == 0 { first() } else { later() }
    });
    let mut message = message(["a@x.example", "busy@x.example"]);
    let report = deliver(&route, &mut message, &RetryPolicy { attempts: 2, ..RetryPolicy::default() });
    assert_eq!(statuses(&report), [DeliveryStatus::Success, DeliveryStatus::TempFailed]);
    let [good, busy] = &report.recipients[..] else { panic!("{report:?}") };
    let answer = busy.diagnostic.as_ref().unwrap();
    assert_eq!((answer.stage, answer.code), (DeliveryStage::Connect, None));
    let earlier = busy.earlier.as_ref().unwrap();
    assert_eq!(
        (earlier.stage, earlier.code, earlier.text.as_str()),
        (DeliveryStage::Rcpt, Some(450), "not now")
    );
    assert_eq!((busy.attempts, busy.is_retryable, good.attempts, good.is_retryable), (2, true, 1, false));
    // The clock advances only by the delay.
    assert_eq!((good.decided_ms, busy.decided_ms, busy.took_ms), (0, 1007, 0));
}

#[test]
fn the_deadline_ends_the_attempts() {
    let server = Running::start();
    let policy =
        RetryPolicy { attempts: 100, deadline: Some(Duration::from_secs(8)), ..RetryPolicy::default() };
    let report = deliver(&server.route(), &mut message(["busy@x.example"]), &policy);
    // After 1.007 s, 2.007 s and 4.007 s. The next attempt would be after the deadline.
    assert_eq!(
        (report.status, report.retry_count, report.duration_ms),
        (DeliveryStatus::TempFailed, 3, 7021)
    );
    assert_eq!((report.recipients[0].attempts, report.is_retryable), (4, true));
}

#[test]
fn sends_one_chunk_if_requested_and_offered() {
    let plain = Running::set(|config| {
        let extensions = config.extensions.without(Extension::Chunking);
        config.extensions(extensions)
    });
    // DATA adds a line end to a message without one. BDAT sends the message unchanged.
    let text = TEXT.trim_end();
    for (server, chunking, expected) in [
        (Running::start(), Chunking::WhereOffered, text),
        (Running::start(), Chunking::WhereNeeded, TEXT),
        (plain, Chunking::WhereOffered, TEXT),
    ] {
        let mut message = with_text(text, ["no@x.example", "a@x.example"]).chunking(chunking);
        let report = deliver(&server.route(), &mut message, &RetryPolicy::default());
        assert_eq!(statuses(&report), [DeliveryStatus::Rejected, DeliveryStatus::Success]);
        assert_eq!(String::from_utf8(server.book.messages()[0].bytes.clone()).unwrap(), expected);
    }
}

#[test]
fn a_whole_chunk_without_a_reply_is_uncertain() {
    // The limit of queued bytes, the size of a read, and less: the sizes at which an end of a message could be missed.
    for bytes in [256 * 1024, 64 * 1024, 10] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut input = BufReader::new(socket);
            input.get_mut().write_all(b"220 x\r\n").unwrap();
            let mut line = String::new();
            loop {
                line.clear();
                input.read_line(&mut line).unwrap();
                if line.starts_with("BDAT") {
                    return input.read_exact(&mut vec![0; bytes]).is_ok();
                }
                let reply = if line.starts_with("EHLO") { "250-x\r\n250 CHUNKING\r\n" } else { "250 ok\r\n" };
                input.get_mut().write_all(reply.as_bytes()).unwrap();
            }
        });
        let mut message = with_text(&"x".repeat(bytes), ["a@x.example"]).chunking(Chunking::WhereOffered);
        let report = deliver(&mail::route(address), &mut message, &RetryPolicy::default());
        assert_eq!((report.status, report.retry_count), (DeliveryStatus::Uncertain, 0), "{bytes}");
        assert!(server.join().unwrap());
    }
}
