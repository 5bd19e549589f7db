//! The server: the order of commands, limits, rejections, and the same result in every split.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use proto_mail::{
    Cleartext, Error, Limit, Limits, Mechanism, Misuse, PeerError, RecvBuffer, Secure, SendBuffer, WaitFor,
};
use proto_smtp::data::BareNewline;
use proto_smtp::server::{Event, Server};
use proto_smtp::types::{Code, Extension, Response};
use proto_smtp::{Config, Dialect, EarlyTalker, UnknownParameters, Waits};
use support::{Record, config, every_split, pump, serve_cleartext, serve_secure};

/// A session on cleartext in every split.
fn clear(input: &str) -> Record {
    every_split(input.as_bytes(), |pieces| serve_cleartext(&config(), pieces))
}

/// A session under TLS in every split.
fn secure(input: &str) -> Record {
    every_split(input.as_bytes(), |pieces| serve_secure(&config(), pieces))
}

fn limited(change: impl Fn(&mut Limits)) -> Config {
    let mut limits = Limits::default();
    change(&mut limits);
    config().limits(limits)
}

const ENVELOPE: &str = "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

#[test]
fn serves_a_pipelined_session() {
    let record = clear(
        "EHLO c.example\r\nMAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<no@d.example>\r\n\
         DATA\r\nSubject: x\r\n\r\n..dot\r\n...\r\n.\r\nNOOP\r\nMAIL FROM:<>\r\nRSET\r\nHELP\r\nVRFY x\r\nQUIT\r\n",
    );
    assert_eq!(
        record.events,
        [
            "Ehlo c.example",
            "mail <a@b.example> Some(100) Some(EightBitMime)",
            "rcpt <c@d.example>",
            "rcpt <no@d.example>",
            "data",
            "chunk Subject: x\\r\\n\\r\\n.dot\\r\\n..\\r\\n",
            "end",
            "mail <> None None",
            "reset",
            "closed",
        ]
    );
    assert_eq!(record.codes(), [220, 250, 250, 250, 550, 354, 250, 250, 250, 250, 214, 252, 221]);
    assert_eq!(record.error, None);
}

#[test]
fn offers_extensions_by_channel_and_settings() {
    let offer = |record: Record| record.output.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let on_cleartext = offer(clear("EHLO c\r\n"));
    assert!(
        on_cleartext.contains(&"250-STARTTLS".into())
            && !on_cleartext.iter().any(|line| line.contains("AUTH"))
    );
    let under_tls = offer(secure("EHLO c\r\n"));
    assert!(!under_tls.iter().any(|line| line.contains("STARTTLS")));
    assert!(under_tls.contains(&"250-AUTH PLAIN LOGIN".into()), "{under_tls:?}");
    assert!(under_tls.contains(&"250-SIZE 67108864".into()));
    let bare = config().extensions(proto_smtp::types::ExtensionSet::NONE);
    assert_eq!(offer(serve_cleartext(&bare, &[b"EHLO c\r\n"])), ["250 localhost"]);
    assert_eq!(offer(clear("HELO c\r\n")), ["250 localhost"]);
}

#[test]
fn rejects_commands_out_of_order_before_parsing_arguments() {
    for (input, codes) in [
        ("MAIL FROM:<a@b>\r\n", vec![503]),
        ("MAIL nonsense\r\n", vec![503]),
        ("AUTH PLAIN\r\n", vec![530]),
        ("STARTTLS\r\n", vec![503]),
        ("RCPT TO:<a@b>\r\nDATA\r\n", vec![503, 503]),
        ("EHLO c\r\nDATA\r\n", vec![250, 503]),
        (
            "EHLO c\r\nMAIL FROM:<a@b>\r\nDATA\r\nMAIL FROM:<a@b>\r\nSTARTTLS\r\n",
            vec![250, 250, 503, 503, 503],
        ),
        ("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<>\r\nDATA\r\n", vec![250, 250, 501, 503]),
        ("LHLO c\r\nXYZZY\r\n\r\n STARTTLS\r\n", vec![500, 500, 500, 500]),
        ("EHLO c\r\nSTARTTLS now\r\nEXPN list\r\n", vec![250, 501, 502]),
    ] {
        assert_eq!(clear(input).codes()[1..], codes, "{input:?}");
    }
}

#[test]
fn ehlo_resets_an_open_transaction() {
    let record = clear("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nEHLO d\r\nDATA\r\n");
    assert_eq!(record.codes()[1..], [250, 250, 250, 250, 503]);
    assert_eq!(record.events[3..5], ["Ehlo d", "reset"]);
}

#[test]
fn rejects_bytes_after_starttls() {
    for behind in ["EHLO injected\r\n", "NOOP", "RSET\r\nQUIT\r\n", "\0"] {
        for starttls in ["STARTTLS\r\n", "STARTTLS \r\n", "starttls\r\n"] {
            let input = format!("EHLO c\r\n{starttls}{behind}");
            let record = serve_cleartext(&config(), &[input.as_bytes()]);
            assert_eq!(record.error, Some(PeerError::PlaintextAfterStartTls.into()), "{input:?}");
            assert!(!record.has("starttls") && record.codes() == [220, 250, 554]);
        }
    }
    // One parser: a malformed STARTTLS is an error, and what follows is an ordinary command.
    let record = serve_cleartext(&config(), &[b"EHLO c\r\nSTARTTLS\nEHLO i\r\nNOOP\r\n"]);
    assert_eq!(record.codes(), [220, 250, 500, 250]);
}

fn ask_for_tls() -> (Server<Cleartext>, RecvBuffer, SendBuffer, proto_mail::StartTlsRequest) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    let _ = tx.take();
    rx.extend(b"EHLO c\r\nSTARTTLS\r\n");
    let request = loop {
        match server.next_event(&mut rx, &mut tx).unwrap().unwrap() {
            Event::StartTls(request) => break request,
            Event::Hello(..) => {}
            other => panic!("{other:?}"),
        }
    };
    let _ = tx.take();
    (server, rx, tx, request)
}

#[test]
fn keeps_nothing_across_starttls() {
    for late in [&b"NOOP\r\n"[..], b"N", b"\r\n"] {
        let (mut server, mut rx, mut tx, request) = ask_for_tls();
        assert!(!server.wants_read(&tx));
        rx.extend(late);
        assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none(), "nothing before the answer");
        let upgrade = server.accept_starttls(request, &mut tx).unwrap();
        assert_eq!(tx.take(), b"220 2.0.0 Ready to start TLS\r\n");
        let error = upgrade.complete(Secure::trusted_local(), &mut rx).unwrap_err();
        assert_eq!(error, PeerError::PlaintextAfterStartTls.into());
    }
    let (server, mut rx, mut tx, request) = ask_for_tls();
    let upgrade = server.accept_starttls(request, &mut tx).unwrap();
    let _ = tx.take();
    let mut server = upgrade.complete(Secure::trusted_local(), &mut rx).unwrap();
    let mut record = Record::default();
    rx.extend(b"MAIL FROM:<a@b>\r\nSTARTTLS\r\nEHLO c\r\n");
    pump(&mut server, &mut rx, &mut tx, &mut record);
    assert_eq!(record.codes(), [503, 503, 250], "no greeting, no EHLO from before, no second STARTTLS");
}

#[test]
fn rejects_tokens_of_other_questions() {
    let (mut server, _, mut tx, request) = ask_for_tls();
    server.refuse_starttls(request, &mut tx).unwrap();
    let (mut other, mut rx, mut other_tx, request) = ask_for_tls();
    assert_eq!(server.refuse_starttls(request, &mut tx).unwrap_err(), Misuse::StaleToken.into());
    assert!(other.next_event(&mut rx, &mut other_tx).unwrap().is_none());
    assert_eq!(tx.take(), b"454 4.7.0 TLS is not available now\r\n");
}

#[test]
fn pauses_until_another_thread_answers() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    let _ = tx.take();
    rx.extend(b"EHLO c\r\nMAIL FROM:<a@b>\r\nNOOP\r\nQUIT\r\n");
    let _ = server.next_event(&mut rx, &mut tx).unwrap();
    let reply = match server.next_event(&mut rx, &mut tx).unwrap() {
        Some(Event::Mail(_, reply)) => reply,
        other => panic!("{other:?}"),
    };
    let _ = tx.take();
    for _ in 0..3 {
        assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
        assert!(!server.wants_read(&tx) && tx.is_empty());
        assert_eq!(server.wait().awaited, WaitFor::Application);
    }
    let (reply, response) = std::thread::spawn(move || (reply, Response::no_such_mailbox())).join().unwrap();
    server.reply(reply, &response, &mut tx).unwrap();
    assert!(matches!(server.next_event(&mut rx, &mut tx), Ok(Some(Event::Closed))));
    let sent = String::from_utf8(tx.take()).unwrap();
    assert_eq!(sent, "550 5.1.1 There is no such mailbox here\r\n250 2.0.0 OK\r\n221 2.0.0 Good-bye\r\n");
}

#[test]
fn authenticates_by_every_mechanism() {
    for (input, codes, event) in [
        ("AUTH PLAIN AHUAc2VjcmV0\r\n", vec![235], "auth PLAIN u true"),
        ("AUTH PLAIN\r\nAHUAc2VjcmV0\r\n", vec![334, 235], "auth PLAIN u true"),
        ("auth login\r\ndQ==\r\nc2VjcmV0\r\n", vec![334, 334, 235], "auth LOGIN u true"),
        ("AUTH LOGIN dQ==\r\nc2VjcmV0\r\n", vec![334, 235], "auth LOGIN u true"),
        ("AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHRva2VuAQE=\r\n", vec![235], "auth XOAUTH2 u true"),
        ("AUTH XOAUTH2\r\ndXNlcj11AWF1dGg9QmVhcmVyIHRva2VuAQE=\r\n", vec![334, 235], "auth XOAUTH2 u true"),
        ("AUTH OAUTHBEARER bixhPXUsAWF1dGg9QmVhcmVyIHRva2VuAQE=\r\n", vec![235], "auth OAUTHBEARER u true"),
        ("AUTH PLAIN AHUAd3Jvbmc=\r\n", vec![535], "auth PLAIN u false"),
        ("AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHdyb25nAQE=\r\n\r\n", vec![334, 535], "auth XOAUTH2 u false"),
    ] {
        let input_bytes = format!("EHLO c\r\n{input}NOOP\r\n");
        let with_tokens = config().offered_mechanisms(proto_mail::Mechanisms::passing_credentials());
        let record = every_split(input_bytes.as_bytes(), |pieces| serve_secure(&with_tokens, pieces));
        assert_eq!(record.codes()[2..record.codes().len() - 1], codes, "{input:?}");
        assert!(record.has(event), "{input:?} {:?}", record.events);
        assert_eq!(record.codes().last(), Some(&250), "commands go on");
    }
}

#[test]
fn rejects_malformed_authentication_without_an_event() {
    for (input, codes) in [
        ("AUTH PLAIN\r\n%%%%\r\n", vec![334, 501]),
        ("AUTH PLAIN\r\n*\r\n", vec![334, 501]),
        ("AUTH PLAIN YWxpY2UAeA==\r\n", vec![501]),
        ("AUTH PLAIN AAB4\r\n", vec![501]),
        ("AUTH PLAIN AAA=\r\n", vec![501]),
        ("AUTH PLAIN =\r\n", vec![501]),
        ("AUTH PLAIN AP/+AP/+\r\n", vec![501]),
        ("AUTH SCRAM-SHA-256\r\n", vec![504]),
        ("AUTH\r\n", vec![501]),
        ("AUTH PLAIN AHUAc2VjcmV0 x\r\n", vec![501]),
    ] {
        let record = secure(&format!("EHLO c\r\n{input}NOOP\r\n"));
        assert_eq!(record.codes()[2..record.codes().len() - 1], codes, "{input:?}");
        assert!(!record.has("auth"), "{input:?}");
    }
    let twice = secure("EHLO c\r\nAUTH PLAIN AHUAc2VjcmV0\r\nAUTH PLAIN AHUAc2VjcmV0\r\n");
    assert_eq!(twice.codes()[2..], [235, 503]);
    let inside = secure("EHLO c\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN AHUAc2VjcmV0\r\n");
    assert_eq!(inside.codes()[2..], [250, 503]);
}

#[test]
fn yields_no_event_for_credentials_on_cleartext() {
    let record = clear("EHLO c\r\nAUTH PLAIN AHUAc2VjcmV0\r\nMAIL FROM:<a@b>\r\n");
    assert_eq!(record.codes()[2..], [530, 250]);
    assert!(record.output.contains("530 5.7.0 Use STARTTLS first"));
}

#[test]
fn enforces_required_tls_and_authentication() {
    let tls = config().require_tls();
    let record = serve_cleartext(&tls, &[b"EHLO c\r\nMAIL FROM:<a@b>\r\nNOOP\r\nVRFY x\r\nQUIT\r\n"]);
    assert_eq!(record.codes()[1..], [250, 530, 250, 530, 221]);
    let submission = config().require_authentication();
    let input = b"EHLO c\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN AHUAd3Jvbmc=\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN AHUAc2VjcmV0\r\nMAIL FROM:<a@b>\r\n";
    assert_eq!(serve_secure(&submission, &[input]).codes()[1..], [250, 530, 535, 530, 235, 250]);
    assert_eq!(serve_cleartext(&submission, &[b"EHLO c\r\nMAIL FROM:<a@b>\r\n"]).codes()[1..], [250, 530]);
}

#[test]
fn ends_data_by_crlf_dot_crlf_only() {
    for fake in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n\0.\r\n",
        "\r\r\n.\r\r\n",
        "\r\n.\r\r\n",
        "\n\r.\r\n",
    ] {
        let input = format!(
            "{ENVELOPE}DATA\r\nline{fake}MAIL FROM:<evil@evil.test>\r\nRCPT TO:<x@y>\r\nDATA\r\n\r\n.\r\nNOOP\r\n"
        );
        let record = clear(&input);
        assert_eq!(record.codes()[1..], [250, 250, 250, 354, 554, 250], "{fake:?}");
        assert!(record.has("reset") && !record.has("end") && !record.has("mail <evil"), "{fake:?}");
        let lenient = config().bare_newline(BareNewline::Accept);
        let record = every_split(input.as_bytes(), |pieces| serve_cleartext(&lenient, pieces));
        assert_eq!(record.codes()[1..], [250, 250, 250, 354, 250, 250], "{fake:?}");
        assert!(record.has("end") && !record.has("mail <evil"), "{fake:?}");
    }
    for harmless in ["\r\n. \r\n", "\r\n..\r\n", "\r\n.\u{b}\r\n"] {
        let record = clear(&format!("{ENVELOPE}DATA\r\nline{harmless}MAIL FROM:<evil@e>\r\n.\r\nNOOP\r\n"));
        assert_eq!(record.codes()[1..], [250, 250, 250, 354, 250, 250], "{harmless:?}");
    }
}

#[test]
fn never_parses_the_rest_of_a_long_line() {
    for len in [510, 512, 998, 1000, 1001, 2048, 4096, 16_384] {
        let line = "A".repeat(len);
        let input = format!("{ENVELOPE}DATA\r\n{line}.\r\nMAIL FROM:<evil@e>\r\n.\r\nNOOP\r\n");
        let record = serve_cleartext(&config(), &[input.as_bytes()]);
        assert_eq!(record.codes()[1..], [250, 250, 250, 354, 250, 250], "{len}");
    }
    for len in [507, 512, 1000, 2043, 2048, 4096, 65_536] {
        let input = format!("EHLO c\r\nXNOPE {}RSET\r\nNOOP\r\n", "A".repeat(len));
        let record = serve_cleartext(&config(), &[input.as_bytes()]);
        assert_eq!(record.codes()[1..], [250, 500, 250], "{len}");
    }
}

#[test]
fn ends_the_session_for_a_line_without_end() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    let _ = tx.take();
    for _ in 0..2000 {
        rx.extend(&[b'A'; 1024]);
        if let Err(error) = server.next_event(&mut rx, &mut tx) {
            assert_eq!(error, Limit::Line.into());
            assert!(tx.take().starts_with(b"500 5.5.2 "));
            return;
        }
        assert!(rx.len() <= 2048);
    }
    panic!("it has no end");
}

#[test]
fn rejects_bad_lines_and_continues() {
    let record = every_split(b"EHLO c\r\nNO\0OP\r\nNOOP\0\r\nNOOP\nNOOP\nNOOP\r\n\xff\xfb\x01\r\nVRFY a\rb\r\nEHLO a\x01b\r\nNOOP\r\n", |pieces| {
        serve_cleartext(&config(), pieces)
    });
    assert_eq!(record.codes()[1..], [250, 500, 500, 500, 500, 500, 501, 250]);
    assert!(record.output.bytes().all(|byte| byte == b'\r' || byte == b'\n' || (32..127).contains(&byte)));
}

#[test]
fn enforces_declared_and_actual_size() {
    let config = limited(|limits| limits.message = 20);
    let run = |input: &str| every_split(input.as_bytes(), |pieces| serve_cleartext(&config, pieces));
    assert_eq!(
        run("EHLO c\r\nMAIL FROM:<a@b> SIZE=21\r\nMAIL FROM:<a@b> SIZE=20\r\n").codes()[2..],
        [552, 250]
    );
    let record = run(&format!("{ENVELOPE}DATA\r\n0123456789\r\n01234567\r\nRSET\r\n.\r\nNOOP\r\n"));
    assert_eq!(record.codes()[1..], [250, 250, 250, 354, 552, 250]);
    assert_eq!(
        record.events[4..],
        [
            "chunk 0123456789\\r\\n01234567",
            "reset",
            "refused Data 552 5.3.4 The message is larger than the limit",
            "closed",
        ]
    );
    let exactly = run(&format!("{ENVELOPE}DATA\r\n..123456789\r\n012345\r\n.\r\nNOOP\r\n"));
    assert_eq!(exactly.codes()[1..], [250, 250, 250, 354, 250, 250]);
}

#[test]
fn limits_recipients_errors_and_commands() {
    let config_of = limited(|limits| limits.recipients = 2);
    let input =
        format!("{ENVELOPE}RCPT TO:<no@x>\r\nRCPT TO:<2@x>\r\nRCPT TO:<3@x>\r\nRCPT TO:<4@x>\r\nRSET\r\n");
    assert_eq!(serve_cleartext(&config_of, &[input.as_bytes()]).codes()[4..], [550, 250, 452, 452, 250]);
    let record = serve_cleartext(&config(), &[&b"XYZZY\r\n".repeat(2000)]);
    assert_eq!(record.error, Some(Limit::Errors.into()));
    assert_eq!((record.codes().len(), record.codes().last()), (22, Some(&421)));
    let busy = limited(|limits| limits.commands_before_auth = 10).require_authentication();
    let record = serve_secure(&busy, &[&b"NOOP\r\n".repeat(20)]);
    assert_eq!(record.error, Some(Limit::CommandsBeforeAuth.into()));
}

#[test]
fn stops_reading_while_output_waits() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(
        config().early_talker(EarlyTalker::Accept).max_idle_commands(u32::MAX),
        &mut tx,
    );
    rx.extend(&b"NOOP\r\n".repeat(1_000_000));
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert!(!server.wants_read(&tx) && tx.len() < 300 * 1024);
    let mut replies = 0;
    while !rx.is_empty() {
        replies += tx.take().split(|&byte| byte == b'\n').count() - 1;
        let _ = server.next_event(&mut rx, &mut tx).unwrap();
    }
    replies += tx.take().split(|&byte| byte == b'\n').count() - 1;
    assert_eq!(replies, 1_000_001);
}

#[test]
fn rejects_early_talkers_and_other_protocols() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    rx.extend(b"EHLO c\r\n");
    assert_eq!(server.next_event(&mut rx, &mut tx).unwrap_err(), PeerError::EarlyTalker.into());
    assert!(tx.take().ends_with(b"554 5.5.1 A command was sent before the greeting\r\n"));
    let mut waits = Waits::default();
    waits.greeting_delay = Duration::from_secs(5);
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config().waits(waits), &mut tx);
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none() && tx.is_empty());
    assert_eq!((server.wait().awaited, server.wants_read(&tx)), (WaitFor::Delay, true));
    server.timed_out(&mut tx).unwrap();
    assert!(tx.take().starts_with(b"220 localhost ESMTP "));
    for (input, error) in [
        (&b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n"[..], PeerError::Malformed),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n", PeerError::TlsInCleartext),
    ] {
        let record = every_split(&input[..input.len().min(40)], |pieces| serve_cleartext(&config(), pieces));
        assert_eq!(record.error, Some(error.into()));
        assert_eq!(record.codes(), [220, 554]);
    }
}

#[test]
fn discards_a_message_that_is_cut_off() {
    for input in ["Subject: half\r\n\r\nx", "Subject: half\r\n\r\nx\r\n", "x\r\n.", "x\r\n.\r"] {
        let record = clear(&format!("{ENVELOPE}DATA\r\n{input}"));
        assert_eq!(record.error, Some(PeerError::UnexpectedEnd.into()), "{input:?}");
        assert!(!record.has("end"));
    }
    assert_eq!(clear("EHLO c\r\nNOO").error, Some(PeerError::UnexpectedEnd.into()));
    assert_eq!(clear("EHLO c\r\n").events.last().map(String::as_str), Some("closed"));
}

#[test]
fn counts_chunks_and_never_parses_them() {
    let chunked = format!("{ENVELOPE}BDAT 12\r\nSubject: x\r\nBDAT 7 LAST\r\n\r\n.\r\n\r\nNOOP\r\n");
    let record = clear(&chunked);
    assert_eq!(record.codes()[4..], [250, 250, 250]);
    assert_eq!(record.events[3..6], ["data", "chunk Subject: x\\r\\n\\r\\n.\\r\\n\\r\\n", "end"]);
    for (input, codes) in [
        ("EHLO c\r\nBDAT 28 LAST\r\nMAIL FROM:<evil@evil.test>\r\nNOOP\r\n".to_owned(), vec![503, 250]),
        (format!("{ENVELOPE}BDAT 0 LAST\r\nBDAT 6 LAST\r\nNOOP\r\nHELP\r\n"), vec![250, 250, 250, 503, 214]),
        (
            format!("{ENVELOPE}BDAT 6\r\nNOOP\r\nDATA\r\nRCPT TO:<x@y>\r\nRSET\r\n"),
            vec![250, 250, 250, 503, 503, 250],
        ),
    ] {
        assert_eq!(clear(&input).codes()[2..], codes, "{input:?}");
    }
    for bad in ["BDAT -1", "BDAT +5", "BDAT ", "BDAT 5 LAST EXTRA", "BDAT 99999999999999999999"] {
        let record = clear(&format!("{ENVELOPE}{bad}\r\nNOOP\r\n"));
        assert_eq!(record.error, Some(PeerError::Malformed.into()), "{bad}");
        assert_eq!(record.codes()[4..], [501], "{bad}");
    }
    let small = limited(|limits| limits.message = 10);
    let input =
        format!("{ENVELOPE}BDAT 6\r\nNOOP\r\nBDAT 6\r\nRSET\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\nNOOP\r\n");
    let record = every_split(input.as_bytes(), |pieces| serve_cleartext(&small, pieces));
    assert_eq!(record.codes()[4..], [250, 552, 503, 250, 250]);
}

#[test]
fn replies_once_to_a_rejected_chunk() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let settings = config().early_talker(EarlyTalker::Accept);
    let mut server = Server::<Cleartext>::new(settings, &mut tx);
    rx.extend(format!("{ENVELOPE}BDAT 3\r\nabcBDAT 3 LAST\r\nabcNOOP\r\n").as_bytes());
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        match event {
            Event::Mail(_, reply) | Event::Rcpt(_, reply) => server.reply(reply, &Response::ok(), &mut tx),
            Event::Data(reply) => server.reply(reply, &Response::try_again(), &mut tx),
            _ => Ok(()),
        }
        .unwrap();
    }
    let output = String::from_utf8(tx.take()).unwrap();
    let codes: Vec<&str> =
        output.lines().filter(|line| line.get(3..4) == Some(" ")).map(|line| &line[..3]).collect();
    assert_eq!(codes[4..], ["451", "503", "250"], "{output}");
}

#[test]
fn lmtp_replies_for_each_recipient() {
    let lmtp = config().dialect(Dialect::Lmtp);
    let input = "EHLO c\r\nLHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<1@x>\r\nRCPT TO:<no@x>\r\nRCPT TO:<3@x>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n";
    let record = every_split(input.as_bytes(), |pieces| serve_cleartext(&lmtp, pieces));
    assert_eq!(record.codes()[1..], [500, 250, 250, 250, 550, 250, 354, 250, 250, 250]);
    let refused = input.replace("x\r\n.\r\n", "x\n\r\n.\r\n");
    assert_eq!(serve_cleartext(&lmtp, &[refused.as_bytes()]).codes()[7..], [354, 554, 554, 250]);
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(lmtp.early_talker(EarlyTalker::Accept), &mut tx);
    rx.extend(input.as_bytes());
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        match event {
            Event::DataEnd(reply) => {
                let gone = Response::new(Code::UNAVAILABLE, "gone");
                let answers = [gone, Response::new(Code::TOO_LARGE, "full")];
                server.reply_each(reply, &answers, &mut tx).unwrap();
            }
            Event::Rcpt(rcpt, reply) if rcpt.to.as_str() == "no@x" => {
                server.reply(reply, &Response::no_such_mailbox(), &mut tx).unwrap();
            }
            Event::Mail(_, reply) | Event::Rcpt(_, reply) | Event::Data(reply) => {
                server.reply(reply, &Response::ok(), &mut tx).unwrap();
            }
            _ => {}
        }
    }
    assert!(
        String::from_utf8(tx.take())
            .unwrap()
            .ends_with("354 End data with <CR><LF>.<CR><LF>\r\n451 gone\r\n552 full\r\n250 2.0.0 OK\r\n"),
        "421 for one recipient does not end the session"
    );
}

#[test]
fn rejects_parameters_that_are_not_offered() {
    for (input, code) in [
        ("MAIL FROM:<a@b> X-FOO=1", 555),
        ("MAIL FROM:<a@b> RET=FULL", 555),
        ("MAIL FROM:<é@b>", 553),
        ("MAIL FROM:<é@b> SMTPUTF8", 250),
        ("MAIL FROM:<a@b> SIZE=1 SIZE=2", 501),
        ("MAIL FROM:<\"\">", 501),
    ] {
        assert_eq!(clear(&format!("EHLO c\r\n{input}\r\n")).codes()[2..], [code], "{input}");
    }
    let lenient = config().unknown_parameters(UnknownParameters::Accept);
    assert_eq!(
        serve_cleartext(&lenient, &[b"EHLO c\r\nMAIL FROM:<a@b> X=1 RET=FULL\r\n"]).codes()[2..],
        [250]
    );
    assert_eq!(
        clear("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<é@x>\r\nRCPT TO:<a@b> NOTIFY=NEVER\r\n").codes()[3..],
        [553, 555]
    );
    let dsn = config().extensions(config().extensions.with(Extension::Dsn).with(Extension::Vrfy));
    let record = serve_cleartext(
        &dsn,
        &[b"EHLO c\r\nMAIL FROM:<a@b> RET=HDRS\r\nRCPT TO:<a@b> NOTIFY=NEVER\r\nVRFY x\r\n"],
    );
    assert!(record.codes()[2..] == [250, 250, 250] && record.has("vrfy x"));
    let utf8 = clear("EHLO c\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    assert_eq!(utf8.codes()[2..], [250, 250, 503]);
}

#[test]
fn times_out_with_421_although_bytes_drip() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    let _ = tx.take();
    let wait = server.wait();
    assert_eq!((wait.awaited, wait.after), (WaitFor::Command, Some(Duration::from_secs(300))));
    for byte in b"NOO" {
        rx.extend(&[*byte]);
        assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
        assert_eq!(server.wait(), wait);
    }
    assert_eq!(server.timed_out(&mut tx).unwrap_err(), Error::Limit(Limit::Timeout(WaitFor::Command)));
    assert!(tx.take().starts_with(b"421 4.4.2 "));
    assert!(server.next_event(&mut rx, &mut tx).is_err() && !server.wants_read(&tx));
}

#[test]
fn ends_the_session_with_421_of_the_application() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    let _ = tx.take();
    rx.extend(b"EHLO c\r\nMAIL FROM:<a@b>\r\nNOOP\r\n");
    let mut closed = false;
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        match event {
            Event::Mail(_, reply) => {
                server.reply(reply, &"421 4.3.2 busy".parse().unwrap(), &mut tx).unwrap();
            }
            Event::Closed => closed = true,
            _ => {}
        }
    }
    assert!(closed && server.is_closed() && tx.take().ends_with(b"421 4.3.2 busy\r\n"));
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    let _ = tx.take();
    server.shutdown("The server is going down", &mut tx);
    assert_eq!(tx.take(), b"421 4.3.2 The server is going down\r\n");
    assert!(matches!(server.next_event(&mut rx, &mut tx), Ok(Some(Event::Closed))));
}

#[test]
fn hides_secrets_in_debug_output() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(config(), Secure::trusted_local(), &mut tx);
    let _ = tx.take();
    let mut shown = String::new();
    rx.extend(b"EHLO c\r\nAUTH LOGIN\r\ndXNlcm5hbWU=\r\nc2VjcmV0\r\nc2VjcmV0\r\nAUTH PLAIN AHVzZXJuYW1lAHNlY3JldA==\r\n");
    loop {
        shown += &format!("{server:?} {rx:?} {tx:?}");
        match server.next_event(&mut rx, &mut tx).unwrap() {
            Some(Event::Auth(request)) => {
                shown += &format!("{request:?}");
                assert!(request.mechanism() == Mechanism::Login || request.mechanism() == Mechanism::Plain);
                let verdict = proto_mail::AuthVerdict::Reject;
                server.answer_auth(request, verdict, &mut tx).unwrap();
            }
            Some(event) => shown += &format!("{event:?}"),
            None => break,
        }
    }
    for secret in ["secret", "c2VjcmV0", "username", "dXNlcm5", "AHVz"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
