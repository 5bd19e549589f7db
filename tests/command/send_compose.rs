//! Messages that `send` builds itself or takes whole: what it sends follows the RFCs, whatever input it was given.

use crate::harness::{CommandOutput, ScriptedServer, folder, run_with, smtp_server};

const MESSAGE: &[u8] = b"Subject: s\r\n\r\nx\r\n";

/// A server that accepts everything and offers these extensions.
fn offers(keywords: &'static [&'static str]) -> ScriptedServer {
    smtp_server(move |verb, _| match verb {
        "EHLO" | "LHLO" => {
            let lines: String = keywords.iter().map(|keyword| format!("250-{keyword}\r\n")).collect();
            format!("250-s.example\r\n{lines}250 HELP\r\n")
        }
        "QUIT" => "221 2.0.0 bye\r\n".to_owned(),
        _ => "250 2.0.0 ok\r\n".to_owned(),
    })
}

fn send(port: u16, more: &[&str], input: &[u8]) -> CommandOutput {
    let url = format!("smtp://localhost:{port}");
    let arguments = ["send", &url, "--danger-cleartext", "--from", "a@x.example", "--attempts", "1"];
    run_with(&[&arguments, more].concat(), "", input)
}

/// What a server receives when `send` builds a message from these options.
fn built(more: &[&str]) -> String {
    let server = offers(&["8BITMIME"]);
    send(server.port, &[&["--to", "b@x.example", "--subject", "s", "--text", "t"], more].concat(), b"")
        .expect(0);
    server.seen().received
}

/// What a server receives when `send` is given a whole message.
fn sent(more: &[&str], input: &[u8]) -> String {
    let server = offers(&["8BITMIME"]);
    send(server.port, &[&["--to", "b@x.example"], more].concat(), input).expect(0);
    server.seen().received
}

#[test]
fn encodes_only_the_phrases_of_address_fields() {
    let received = built(&[
        "--header",
        "Reply-To: Jörg Müller <j@x.example>",
        "--header",
        "Sender: \"Ö, A\" <o@x.example>",
    ]);
    for line in [
        "\r\nReply-To: =?utf-8?Q?J=C3=B6rg_M=C3=BCller?= <j@x.example>\r\n",
        "\r\nSender: =?utf-8?Q?=C3=96=2C_A?= <o@x.example>\r\n",
    ] {
        assert!(received.contains(line), "{line}: {received}");
    }
    let received = built(&["--cc", "Jürgen Groß <jg@x.example>"]);
    assert!(received.contains("\r\nCc: =?utf-8?Q?J=C3=BCrgen_Gro=C3=9F?= <jg@x.example>\r\n"), "{received}");
}

#[test]
fn folds_between_message_ids_and_sends_urls_unencoded() {
    let ids: Vec<String> =
        (0..12).map(|number| format!("<{number:02}{}@mail.example.org>", "z".repeat(25))).collect();
    let url = format!("<https://example.org/{}>", "u".repeat(90));
    let (references, unsubscribe) =
        (format!("References: {}", ids.join(" ")), format!("List-Unsubscribe: {url}"));
    let received = built(&["--header", &references, "--header", &unsubscribe]);
    assert!(!received.contains("=?"), "{received}");
    assert!(
        received.contains(&format!("{}\r\n", ids[11]))
            && received.contains(&format!("List-Unsubscribe: {url}\r\n")),
        "{received}"
    );
    assert!(received.replace("\r\n ", " ").contains(&references), "{received}");
    let long = format!("X-Long: {}", "l".repeat(1200));
    let server = offers(&[]);
    drop(std::net::TcpStream::connect(("127.0.0.1", server.port)));
    send(server.port, &["--to", "b@x.example", "--text", "t", "--header", &long], b"")
        .expect(65)
        .shows(&["X-Long", "998"]);
    send(
        server.port,
        &["--to", "b@x.example", "--text", "t", "--header", "List-Post: <mailto:ü@x.example>"],
        b"",
    )
    .expect(65)
    .shows(&["List-Post"]);
}

#[test]
fn ehlo_uses_the_address_literal_unless_a_name_is_given() {
    assert!(sent(&[], MESSAGE).contains("EHLO [127.0.0.1]\r\n"));
    assert!(sent(&["--helo", "client.example"], MESSAGE).contains("EHLO client.example\r\n"));
    let server = offers(&[]);
    send(server.port, &["--lmtp", "--to", "b@x.example"], MESSAGE).expect(0);
    assert!(server.seen().received.contains("LHLO [127.0.0.1]\r\n"));
    let server = offers(&[]);
    let url = format!("smtp://localhost:{}", server.port);
    run_with(&["check", &url, "--danger-cleartext"], "", b"").expect(0);
    let received = server.seen().received;
    assert!(received.contains("EHLO [127.0.0.1]\r\n") && !received.contains("EHLO localhost"), "{received}");
    let kept = folder();
    let config = kept.path().join("config.toml");
    std::fs::write(&config, "helo = \"from.config.example\"\n").unwrap();
    let received = sent(&["--config", config.to_str().unwrap()], MESSAGE);
    assert!(received.contains("EHLO from.config.example\r\n"), "{received}");
    let server = offers(&[]);
    drop(std::net::TcpStream::connect(("127.0.0.1", server.port)));
    send(server.port, &["--helo", "a b", "--to", "b@x.example"], MESSAGE).expect(64);
}

#[test]
fn removes_bcc_and_sends_to_its_addresses_on_request() {
    let message = b"From: a@x.example\nTo: to@x.example, group: g1@x.example, g2@x.example;\nBCC :\n hidden@x.example,\n\tother@x.example\n\
        Subject: s\nResent-Bcc: \n\nBcc: body\n";
    let received = sent(&[], message);
    assert!(!received.contains("hidden@") && !received.contains("other@"), "{received}");
    assert!(received.contains("\r\nSubject: s\r\n\r\nBcc: body\r\n"), "{received}");
    assert_eq!(received.matches("RCPT TO").count(), 1, "{received}");
    for flag in ["-t", "--recipients-from-header"] {
        let received = sent(&[flag], message);
        for address in ["b", "to", "g1", "g2", "hidden", "other"] {
            assert_eq!(received.matches(&format!("RCPT TO:<{address}@x.example>")).count(), 1, "{received}");
        }
        assert!(!received.contains("hidden@x.example,"), "{received}");
    }
    let kept = folder();
    let path = kept.path().join("m.eml");
    std::fs::write(&path, message).unwrap();
    let server = offers(&[]);
    send(server.port, &["-t", "--no-journal", "--messages", path.to_str().unwrap()], b"").expect(0);
    let received = server.seen().received;
    assert_eq!(received.matches("RCPT TO").count(), 5, "{received}");
    assert!(!received.contains("BCC"), "{received}");
}

#[test]
fn drops_lines_before_the_header() {
    for before in ["From 0123456789abcdef Mon Sep 17 00:00:00 2001\n", "\n\r\n", "\u{feff}", ">From x\n"] {
        let received = sent(&[], format!("{before}Subject: s\r\nX-Mixed: y\n\nbody\r\n").as_bytes());
        assert!(
            received.contains("DATA\r\nSubject: s\r\nX-Mixed: y\r\n\r\nbody\r\n.\r\n"),
            "{before:?}: {received}"
        );
    }
    let server = offers(&[]);
    drop(std::net::TcpStream::connect(("127.0.0.1", server.port)));
    for empty in [&b""[..], b"\n\n", b" \r\n", b"From x\n"] {
        send(server.port, &["--to", "b@x.example"], empty).expect(65).shows(&["the message is empty"]);
    }
    assert!(!server.seen().received.contains("EHLO"));
}

#[test]
fn sends_non_ascii_domains_as_a_labels() {
    let received = sent(&["--to", "joe@bücher.example"], MESSAGE);
    assert!(received.contains("RCPT TO:<joe@xn--bcher-kva.example>"), "{received}");
    let received = built(&["--cc", "Joe <joe@bücher.example>", "--header", "Reply-To: <r@bücher.example>"]);
    assert!(received.contains("\r\nCc: \"Joe\" <joe@xn--bcher-kva.example>\r\n"), "{received}");
    assert!(received.contains("\r\nReply-To: <r@xn--bcher-kva.example>\r\n"), "{received}");
    let server = offers(&[]);
    let url = format!("smtp://localhost:{}", server.port);
    let arguments = ["send", &url, "--danger-cleartext", "--from", "me@straße.example"];
    run_with(&[&arguments[..], &["--to", "b@x.example"]].concat(), "", MESSAGE).expect(0);
    let received = server.seen().received;
    assert!(received.contains("MAIL FROM:<me@xn--strae-oqa.example>"), "{received}");
    let refused = run_with(&[&arguments[..], &["--to", "b@-ü.example"]].concat(), "", MESSAGE);
    refused.expect(65).shows(&["--to", "IDNA"]);
    // The local part is not ASCII: only this recipient fails.
    let server = offers(&["8BITMIME"]);
    let to = ["--to", "jörg@x.example", "--to", "b@x.example", "--json"];
    let report = send(server.port, &to, MESSAGE).expect(69).json();
    assert_eq!(
        (&report["recipients"][0]["status"], &report["recipients"][1]["status"]),
        (&"failed".into(), &"success".into())
    );
    assert!(report["recipients"][0]["text"].as_str().unwrap().contains("SMTPUTF8"), "{report}");
}

#[test]
fn an_address_that_needs_smtputf8_fails_alone() {
    let server = offers(&["8BITMIME"]);
    let more = ["--to", "jörg@x.example", "--to", "b@x.example", "--subject", "s", "--text", "t", "--json"];
    let report = send(server.port, &more, b"").expect(69).json();
    let statuses = [0, 1].map(|number| report["recipients"][number]["status"].clone());
    assert_eq!(statuses, ["failed", "success"], "{report}");
    let received = server.seen().received;
    assert!(
        received.contains("\r\nTo: =?utf-8?Q?j=C3=B6rg=40x=2Eexample?=: ;, <b@x.example>\r\n"),
        "{received}"
    );
    let server = offers(&["8BITMIME", "SMTPUTF8"]);
    send(server.port, &["--to", "jörg@x.example", "--text", "t"], b"").expect(0);
    let received = server.seen().received;
    assert!(received.contains("\r\nTo: <jörg@x.example>\r\n") && received.contains("SMTPUTF8"), "{received}");
}

#[test]
fn never_announces_smtputf8_for_a_header_that_is_not_utf8() {
    let latin1 = b"Subject: caf\xe9\r\n\r\nx\r\n";
    let server = offers(&["SMTPUTF8", "8BITMIME"]);
    send(server.port, &["--to", "b@x.example", "--smtputf8"], latin1).expect(0);
    let received = server.seen().received;
    assert!(received.contains("BODY=8BITMIME") && !received.contains("SMTPUTF8\r\n"), "{received}");
    let server = offers(&["SMTPUTF8"]);
    let done =
        send(server.port, &["--to", "b@x.example"], latin1).expect(69).shows(&["8BITMIME", "RFC 2047"]);
    assert!(!server.seen().received.contains("MAIL"), "{}", done.shown);
    let server = offers(&["SMTPUTF8", "8BITMIME"]);
    send(server.port, &["--to", "b@x.example"], "Subject: café\r\n\r\nx\r\n".as_bytes()).expect(0);
    assert!(server.seen().received.contains("SMTPUTF8"));
}

#[test]
fn splits_mbox_files_at_separators_or_refuses_them() {
    let date = "Sat Jan  3 01:05:34 1996";
    let subjects = |text: &str, code: i32| {
        let (kept, server) = (folder(), offers(&[]));
        let path = kept.path().join("some.mbox");
        std::fs::write(&path, text).unwrap();
        drop(std::net::TcpStream::connect(("127.0.0.1", server.port)));
        let done = send(
            server.port,
            &["--to", "b@x.example", "--no-journal", "--messages", path.to_str().unwrap()],
            b"",
        );
        let done = done.expect(code);
        (server.seen().received.matches("MAIL FROM").count(), done.shown)
    };
    let prose =
        format!("From a@x {date}\nSubject: 1\n\nx\n\nFrom my (non technical end) some queries;\n\nFrom: y\n");
    assert_eq!(subjects(&prose, 0).0, 1);
    let no_empty_line = format!("From a@x {date}\nSubject: 1\n\nx\nFrom b@x {date}\nSubject: 2\n\ny\n");
    assert_eq!(subjects(&no_empty_line, 0).0, 2);
    assert_eq!(
        subjects("From \nSubject: 1\n\nx\n\nFrom \nSubject: 2\n\ny\nFrom \nSubject: 3\n\nz\n", 0).0,
        3
    );
    let ambiguous = format!("From a@x {date}\nSubject: 1\n\nx\nFrom \nSubject: 2\n\ny\n");
    let (count, shown) = subjects(&ambiguous, 65);
    assert!(count == 0 && shown.contains("line 5"), "{shown}");
}
