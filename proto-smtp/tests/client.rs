//! The client: how it begins, what each reply means, and what a hostile server can do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proto_mail::{
    Cleartext, Credentials, Limit, Mechanism, Misuse, PeerError, RecvBuffer, Secure, SendBuffer, WaitFor,
};
use proto_smtp::client::{AuthOutcome, Client, Event, Step};
use proto_smtp::data::LineEndings;
use proto_smtp::types::{Address, ChunkEnd, Extension, Mail, Rcpt};
use proto_smtp::{Config, Dialect, InitialResponse, Pipelining};
use support::{Record, every_split, run_client};

const HELLO: &[&[u8]] = &[
    b"220 mx ESMTP\r\n",
    b"250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n",
];

fn secure(config: Config) -> Client<Secure> {
    Client::<Secure>::new(config, Secure::trusted_local())
}

fn mail() -> Mail<'static> {
    Mail::new("a@b.example".parse::<Address<'static>>().unwrap())
}

fn rcpt(text: &str) -> Rcpt<'static> {
    Rcpt::new(text.parse::<Address<'static>>().unwrap())
}

/// The replies of the beginning, then these.
fn after_hello<'s>(more: &[&'s [u8]]) -> Vec<&'s [u8]> {
    HELLO.iter().chain(more).copied().collect()
}

#[test]
fn sends_ehlo_and_learns_capabilities() {
    let record = run_client(secure(Config::default()), HELLO, |_, _, _| {});
    assert_eq!(record.output, "EHLO localhost\r\n");
    assert_eq!(
        record.events,
        ["greeting 220 mx ESMTP", "extensions {Pipelining, StartTls, Auth}", "closed None"]
    );
    let multi = run_client(
        secure(Config::default()),
        &[b"220-mx\r\n220-one\r\n220 two\r\n", b"250-mx\r\n250-starttls\r\n250 size 10\r\n"],
        |event, client, _| {
            if matches!(event, Event::Capabilities(_)) {
                assert_eq!(client.capabilities().unwrap().size_limit(), Some(10));
            }
        },
    );
    assert!(multi.has("extensions {Size, StartTls}"));
    let lmtp = run_client(secure(Config::default().dialect(Dialect::Lmtp)), HELLO, |_, _, _| {});
    assert_eq!(lmtp.output, "LHLO localhost\r\n");
    let named = Config::default().name("my_host.example".parse().unwrap());
    assert_eq!(run_client(secure(named), HELLO, |_, _, _| {}).output, "EHLO my-host.example\r\n");
}

#[test]
fn falls_back_to_helo_only_where_tls_is_not_required() {
    let script: &[&[u8]] = &[b"220 mx\r\n", b"502 5.5.1 no\r\n", b"250-mx\r\n250 STARTTLS\r\n"];
    let record = run_client(secure(Config::default()), script, |_, client, _| {
        assert!(
            client.capabilities().is_none_or(|offered| !offered.contains(Extension::StartTls)),
            "HELO offers nothing"
        );
    });
    assert_eq!(record.output, "EHLO localhost\r\nHELO localhost\r\n");
    assert!(record.has("extensions {}"));
    let strict = run_client(Client::<Cleartext>::new(Config::default()), script, |_, _, _| {});
    assert_eq!(strict.output, "EHLO localhost\r\n", "no fallback where TLS is required");
    assert!(strict.has("rejected Hello 502"));
    let cleartext = Client::<Cleartext>::new(Config::default().danger_cleartext());
    assert_eq!(run_client(cleartext, script, |_, _, _| {}).output, "EHLO localhost\r\nHELO localhost\r\n");
}

#[test]
fn sends_cleartext_credentials_only_if_allowed() {
    let script: &[&[u8]] = &[b"220 mx\r\n", b"250-mx\r\n250 AUTH PLAIN\r\n", b"235 in\r\n"];
    let said = |config| {
        let client = Client::<Cleartext>::new(config);
        let record = run_client(client, script, |event, client, tx| {
            if matches!(event, Event::Capabilities(_)) {
                let credentials = Credentials::password("u", &b"p"[..]);
                let _ = client.danger_cleartext_authenticate(Mechanism::Plain, credentials, tx);
            }
        });
        record.output
    };
    assert_eq!(said(Config::default()), "EHLO localhost\r\n");
    assert_eq!(said(Config::default().danger_cleartext()), "EHLO localhost\r\nAUTH PLAIN AHUAcA==\r\n");
}

#[test]
fn distinguishes_invalid_greetings() {
    for (greeting, error) in [
        (&b"* OK IMAP\r\n"[..], PeerError::InvalidGreeting),
        (b"2x0 mx\r\n", PeerError::InvalidGreeting),
        (b"250 mx\r\n", PeerError::InvalidGreeting),
        (b"\x15\x03\x01\x00\x02\x02\x0a\n", PeerError::TlsInCleartext),
        (b"220 mx\n", PeerError::ForbiddenByte),
        (b"220-mx\r\n250 mx\r\n", PeerError::MixedReplyCodes),
        (b"220-mx\r\n", PeerError::UnexpectedEnd),
        (b"", PeerError::UnexpectedEnd),
    ] {
        let record = run_client(secure(Config::default()), &[greeting], |_, _, _| {});
        assert_eq!(record.error, Some(error.into()), "{greeting:?}");
        assert_eq!(record.output, "", "nothing is said");
    }
    let blocked =
        run_client(secure(Config::default()), &[b"220-mx\r\n521 5.7.1 blocked\r\n"], |_, client, _| {
            assert_eq!(client.repairs().count(), 1);
        });
    assert_eq!(blocked.events, ["rejected Greeting 521 5.7.1 mx\nblocked"]);
}

#[test]
fn rejects_replies_without_a_command() {
    for script in [
        &[&b"220 mx\r\n250-evil\r\n250 STARTTLS\r\n"[..]][..],
        &[b"220 mx\r\n", b"250 mx\r\n220 go ahead\r\n"],
        &[b"220 mx\r\n", b"354 go\r\n"],
        &[b"220 mx\r\n", b"250 mx\r\n250 again\r\n"],
        // Replies that belong to other commands: a greeting instead of the reply to EHLO comes from another session.
        &[b"220 mx\r\n", b"220 mx\r\n"],
        &[b"220 mx\r\n", b"221 bye\r\n"],
        &[b"220 mx\r\n", b"235 in\r\n"],
    ] {
        let record = run_client(secure(Config::default()), script, |_, _, _| {});
        assert_eq!(record.error, Some(PeerError::UnexpectedReply.into()), "{script:?}");
    }
    // The command is written but not sent.
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut client = secure(Config::default());
    rx.extend(b"220 mx\r\n");
    assert!(matches!(client.next_event(&mut rx, &mut tx), Ok(Some(Event::Greeting(_)))));
    assert!(client.next_event(&mut rx, &mut tx).unwrap().is_none());
    tx.sent(tx.len() - 1);
    rx.extend(b"250 mx\r\n");
    assert_eq!(client.next_event(&mut rx, &mut tx).unwrap_err(), PeerError::UnexpectedReply.into());
}

#[test]
fn closes_on_421_at_any_time() {
    for script in [
        &[&b"421 later\r\n"[..]][..],
        &[b"220 mx\r\n", b"421 4.3.2 later\r\n"],
        &[b"220 mx\r\n", b"250 mx\r\n421 bye\r\n"],
    ] {
        let record = run_client(secure(Config::default()), script, |_, _, _| {});
        assert!(record.error.is_none() && record.has("closed Some"), "{script:?} {record:?}");
    }
}

#[test]
fn processes_replies_alike_in_every_split() {
    let replies = b"250 2.1.0 ok\r\n250-2.1.5 a\r\n250 2.1.5 b\r\n550 5.1.1 no\r\n354 go\r\n";
    let record = every_split(replies, |pieces| {
        let mut script = HELLO.to_vec();
        script.extend(pieces);
        run_client(secure(Config::default()), &script, |event, client, tx| {
            if matches!(event, Event::Capabilities(_)) {
                client.mail(&mail(), tx).unwrap();
                assert_eq!(client.rcpt(&rcpt("a@x"), tx).unwrap(), 0);
                assert_eq!(client.rcpt(&rcpt("b@x"), tx).unwrap(), 1);
                client.data(tx).unwrap();
                assert_eq!(
                    client.noop(tx).unwrap_err(),
                    Misuse::WrongState.into(),
                    "DATA is the last of its group"
                );
            }
        })
    });
    assert_eq!(
        record.events[2..],
        [
            "accepted Mail 250 2.1.0 ok",
            "accepted Rcpt(0) 250 2.1.5 a\nb",
            "rejected Rcpt(1) 550 5.1.1 no",
            "send 354 go"
        ]
    );
    assert_eq!(
        record.output,
        "EHLO localhost\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
    );
}

#[test]
fn pipelines_only_if_offered() {
    for (config, hello) in [
        (Config::default(), &b"250 mx\r\n"[..]),
        (Config::default().pipelining(Pipelining::Off), b"250-mx\r\n250 PIPELINING\r\n"),
    ] {
        run_client(secure(config), &[b"220 mx\r\n", hello], |event, client, tx| {
            if matches!(event, Event::Capabilities(_)) {
                client.mail(&mail(), tx).unwrap();
                assert_eq!(client.rcpt(&rcpt("a@x"), tx).unwrap_err(), Misuse::WrongState.into());
                assert_eq!(client.data(tx).unwrap_err(), Misuse::WrongState.into());
            }
        });
    }
}

fn send(config: Config, script: &[&[u8]], message: &'static [u8]) -> Record {
    run_client(secure(config), script, |event, client, tx| match event {
        Event::Capabilities(_) => {
            client.mail(&mail(), tx).unwrap();
            client.rcpt(&rcpt("a@x"), tx).unwrap();
            client.data(tx).unwrap();
        }
        Event::SendData(_) => {
            for piece in message.chunks(3) {
                if client.data_writer().unwrap().write(piece, tx).is_err() {
                    assert!(client.data_writer().is_err());
                    return;
                }
            }
            let _ = client.data_writer().unwrap().finish(tx);
        }
        _ => {}
    })
}

#[test]
fn sends_the_message_only_after_354() {
    let script = |reply: &'static [u8]| after_hello(&[b"250 ok\r\n250 ok\r\n", reply]);
    for bad in [&b"250 ok, thanks\r\n"[..], b"334 go\r\n", b"355 go\r\n"] {
        let record = send(Config::default(), &script(bad), b"CANARY");
        assert_eq!(record.error, Some(PeerError::UnexpectedReply.into()), "{bad:?}");
        assert!(!record.output.contains("CANARY"));
    }
    let record = send(Config::default(), &script(b"554 no\r\n"), b"CANARY");
    assert!(record.has("rejected Data 554") && !record.output.contains("CANARY"));
}

#[test]
fn adds_dots_to_the_message() {
    let script = after_hello(&[b"250 ok\r\n250 ok\r\n", b"354 go\r\n", b"250 queued\r\n"]);
    let record = send(Config::default(), &script, b".a\r\n.\r\n..b\r\nend");
    assert!(record.output.ends_with("DATA\r\n..a\r\n..\r\n...b\r\nend\r\n.\r\n"), "{}", record.output);
    assert!(record.has("delivered None 250 queued"));
    for bad in [&b"a\nb\r\n"[..], b"a\rb", b"a\0b", b"a\n.\nMAIL FROM:<e@e>\r\n"] {
        let record = send(Config::default(), &script, bad);
        assert_eq!(record.error, Some(Misuse::InvalidMessage.into()), "{bad:?}");
        assert!(!record.output.ends_with(".\r\n") && !record.has("delivered"));
    }
    let lenient = Config::default().line_endings(LineEndings::Normalize);
    let record = send(lenient, &script, b"a\n.\nMAIL FROM:<e@e>\n");
    assert!(record.output.ends_with("DATA\r\na\r\n..\r\nMAIL FROM:<e@e>\r\n.\r\n"));
}

#[test]
fn sends_a_large_payload_without_copying() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut client = secure(Config::default());
    for reply in ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"] {
        rx.extend(reply.as_bytes());
        while let Some(event) = client.next_event(&mut rx, &mut tx).unwrap() {
            if matches!(event, Event::Capabilities(_)) {
                client.mail(&mail(), &mut tx).unwrap();
                client.rcpt(&rcpt("a@x"), &mut tx).unwrap();
                client.data(&mut tx).unwrap();
            }
        }
        let _ = tx.take();
    }
    let payload =
        bytes::Bytes::from([&b"x".repeat(9998)[..], b"\r\n.", &b"y".repeat(9997), b"\r\n"].concat());
    client.data_writer().unwrap().write_payload(&payload, &mut tx).unwrap();
    let own = payload.as_ptr_range();
    let uncopied: usize =
        tx.chunks().filter(|chunk| own.contains(&chunk.bytes.as_ptr())).map(|chunk| chunk.bytes.len()).sum();
    assert_eq!(uncopied, payload.len());
    assert_eq!(tx.len(), payload.len() + 1);
}

#[test]
fn does_not_accept_a_final_reply_before_the_end() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut client = secure(Config::default());
    for reply in ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"] {
        rx.extend(reply.as_bytes());
        while let Some(event) = client.next_event(&mut rx, &mut tx).unwrap() {
            if matches!(event, Event::Capabilities(_)) {
                client.mail(&mail(), &mut tx).unwrap();
                client.rcpt(&rcpt("a@x"), &mut tx).unwrap();
                client.data(&mut tx).unwrap();
            }
        }
        let _ = tx.take();
    }
    client.data_writer().unwrap().write(b"x\r\n", &mut tx).unwrap();
    client.data_writer().unwrap().finish(&mut tx).unwrap();
    tx.sent(tx.len() - 1);
    assert!(!client.is_message_sent(&tx));
    rx.extend(b"250 queued\r\n");
    assert_eq!(client.next_event(&mut rx, &mut tx).unwrap_err(), PeerError::UnexpectedReply.into());
}

#[test]
fn enforces_the_announced_chunk_size() {
    let hello: &[u8] = b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n";
    let script: &[&[u8]] = &[b"220 mx\r\n", hello, b"250 ok\r\n250 ok\r\n250 ok\r\n250 queued\r\n"];
    let record = run_client(secure(Config::default()), script, |event, client, tx| {
        if matches!(event, Event::Capabilities(_)) {
            client.mail(&mail(), tx).unwrap();
            client.rcpt(&rcpt("a@x"), tx).unwrap();
            client.bdat(6, ChunkEnd::More, tx).unwrap();
            assert_eq!(
                client.data_writer().unwrap().write(b"1234567", tx).unwrap_err(),
                Misuse::WrongLength.into()
            );
            client.data_writer().unwrap().write(b".\r\n", tx).unwrap();
            assert_eq!(client.data_writer().unwrap().finish(tx).unwrap_err(), Misuse::WrongLength.into());
            assert!(
                client.data_writer().unwrap().written_externally(3, tx).is_err(),
                "something waits before it"
            );
            client.data_writer().unwrap().write_payload(&bytes::Bytes::from_static(b"\r\n."), tx).unwrap();
            client.data_writer().unwrap().finish(tx).unwrap();
            client.bdat(0, ChunkEnd::Last, tx).unwrap();
            client.data_writer().unwrap().finish(tx).unwrap();
        }
    });
    assert!(
        record.output.ends_with("RCPT TO:<a@x>\r\nBDAT 6\r\n.\r\n\r\n.BDAT 0 LAST\r\n"),
        "{}",
        record.output
    );
    assert!(record.has("accepted Chunk") && record.has("delivered None 250 queued"));
}

#[test]
fn lmtp_client_gets_a_reply_for_each_accepted_recipient() {
    let script: &[&[u8]] = &[
        b"220 mx\r\n",
        b"250-mx\r\n250 PIPELINING\r\n",
        b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n",
        b"250 2.1.5 first\r\n552 5.2.2 third\r\n",
    ];
    let client = secure(Config::default().dialect(Dialect::Lmtp));
    let record = run_client(client, script, |event, client, tx| match event {
        Event::Capabilities(_) => {
            client.mail(&mail(), tx).unwrap();
            for number in ["1@x", "2@x", "3@x"] {
                client.rcpt(&rcpt(number), tx).unwrap();
            }
            client.data(tx).unwrap();
        }
        Event::SendData(_) => client.data_writer().unwrap().finish(tx).unwrap(),
        _ => {}
    });
    assert_eq!(
        record.events[7..9],
        ["delivered Some(0) 250 2.1.5 first", "rejected Message(Some(2)) 552 5.2.2 third"]
    );
    assert_eq!(record.error, None);
}

fn authenticate(config: Config, mechanism: Mechanism, replies: &[&[u8]]) -> Record {
    let script = after_hello(replies);
    run_client(secure(config), &script, |event, client, tx| {
        if matches!(event, Event::Capabilities(_)) {
            let credentials = match mechanism {
                Mechanism::Plain | Mechanism::Login => Credentials::password("u", &b"secret"[..]),
                _ => Credentials::bearer("u", "token"),
            };
            client.authenticate(mechanism, credentials, tx).unwrap();
            assert!(tx.chunks().all(|chunk| !chunk.secret || !chunk.bytes.starts_with(b"AUTH")));
        }
        if let Event::Auth(outcome) = event {
            let told = mechanism == Mechanism::XOAuth2 || matches!(outcome, AuthOutcome::Cancelled(_));
            assert_eq!(client.authentication_failure().is_some(), told);
        }
    })
}

#[test]
fn authenticates_with_and_without_initial_response() {
    let never = || Config::default().initial_response(InitialResponse::Never);
    for (config, mechanism, replies, output) in [
        (Config::default(), Mechanism::Plain, &[&b"235 2.7.0 ok\r\n"[..]][..], "AUTH PLAIN AHUAc2VjcmV0\r\n"),
        (never(), Mechanism::Plain, &[b"334 \r\n", b"235 ok\r\n"], "AUTH PLAIN\r\nAHUAc2VjcmV0\r\n"),
        (never(), Mechanism::Plain, &[b"334\r\n", b"235 ok\r\n"], "AUTH PLAIN\r\nAHUAc2VjcmV0\r\n"),
        (
            Config::default(),
            Mechanism::Login,
            &[b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 ok\r\n"],
            "AUTH LOGIN\r\ndQ==\r\nc2VjcmV0\r\n",
        ),
        (
            never(),
            Mechanism::OAuthBearer,
            &[b"334 \r\n", b"235 ok\r\n"],
            "AUTH OAUTHBEARER\r\nbixhPXUsAWF1dGg9QmVhcmVyIHRva2VuAQE=\r\n",
        ),
    ] {
        let record = authenticate(config, mechanism, replies);
        assert_eq!(record.output, format!("EHLO localhost\r\n{output}"));
        assert!(record.has("Accepted(Response(\"235"), "{record:?}");
    }
}

#[test]
fn reports_failed_authentication_as_an_outcome() {
    let refused = authenticate(Config::default(), Mechanism::Login, &[b"535 5.7.8 no\r\n"]);
    assert!(refused.has("Rejected(Response(\"535 5.7.8 no"), "{refused:?}");
    let token = authenticate(
        Config::default(),
        Mechanism::XOAuth2,
        &[b"334 eyJzdGF0dXMiOiI0MDAifQ==\r\n", b"535 5.7.8 no\r\n"],
    );
    assert!(token.output.ends_with("\r\n\r\n") && token.has("Rejected"), "{token:?}");
    assert_eq!(token.output.matches("dXNlcj11").count(), 1, "the token goes out once");
    let prompts: &[&[u8]] =
        &[b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"501 cancelled\r\n"];
    let endless = authenticate(Config::default(), Mechanism::Login, prompts);
    assert!(endless.output.ends_with("c2VjcmV0\r\n*\r\n") && endless.has("Cancelled"), "{endless:?}");
    let garbled = authenticate(Config::default(), Mechanism::Login, &[b"334 *** no\r\n", b"235 ok\r\n"]);
    assert_eq!(garbled.error, Some(PeerError::AuthenticationNotFinished.into()));
    assert!(garbled.output.ends_with("AUTH LOGIN\r\n*\r\n"));
}

#[test]
fn rejects_success_before_the_exchange_ends() {
    for replies in
        [&[&b"235 2.7.0 welcome\r\n"[..]][..], &[b"334 VXNlcm5hbWU6\r\n", b"235 ok\r\n"], &[b"250 ok\r\n"]]
    {
        let record = authenticate(Config::default(), Mechanism::Login, replies);
        assert_eq!(record.error, Some(PeerError::AuthenticationNotFinished.into()), "{replies:?}");
    }
}

#[test]
fn rejects_invalid_arguments_before_writing() {
    run_client(secure(Config::default()), HELLO, |event, client, tx| {
        if !matches!(event, Event::Capabilities(_)) {
            return;
        }
        for text in ["x\r\nRSET", "", "\u{10d}\u{10a}", "x\0"] {
            assert_eq!(client.vrfy(text, tx).unwrap_err(), Misuse::InvalidArgument.into());
        }
        let utf8 = Mail::new("é@b".parse::<Address<'static>>().unwrap());
        assert_eq!(client.mail(&utf8, tx).unwrap_err(), Misuse::InvalidArgument.into());
        let nul = Credentials::password("u\0v", &b"p"[..]);
        assert_eq!(
            client.authenticate(Mechanism::Plain, nul, tx).unwrap_err(),
            Misuse::UnencodableCredentials.into()
        );
        let wrong = Credentials::bearer("u", "t");
        assert_eq!(
            client.authenticate(Mechanism::Plain, wrong, tx).unwrap_err(),
            Misuse::WrongMechanism.into()
        );
        assert!(tx.is_empty());
    });
}

#[test]
fn handles_quit_and_timeouts() {
    let record =
        run_client(secure(Config::default()), &after_hello(&[b"221 2.0.0 bye\r\n"]), |event, client, tx| {
            if matches!(event, Event::Capabilities(_)) {
                assert_eq!(client.wait().awaited, WaitFor::Application);
                client.timed_out(tx).unwrap();
                client.quit(tx).unwrap();
                assert_eq!(client.wait().awaited, WaitFor::Reply);
            }
        });
    assert!(record.has("closed Some") && record.output.ends_with("QUIT\r\n"));
    let mut client = secure(Config::default());
    let mut tx = SendBuffer::new();
    assert_eq!(client.wait().awaited, WaitFor::Greeting);
    assert_eq!(client.timed_out(&mut tx).unwrap_err(), Limit::Timeout(WaitFor::Greeting).into());
    assert!(client.quit(&mut tx).is_err());
    let _ = Step::Quit;
}

#[test]
fn waits_as_long_as_the_rfc_says() {
    let (mut seen, mut rcpt_given) = (Vec::new(), false);
    let replies = after_hello(&[b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n"]);
    run_client(secure(Config::default()), &replies, |event, client, tx| {
        match event {
            Event::Capabilities(_) => client.mail(&mail(), tx).unwrap(),
            Event::Accepted(Step::Mail, _) if !rcpt_given => {
                rcpt_given = true;
                let _ = client.rcpt(&rcpt("a@x.example"), tx).unwrap();
            }
            Event::Accepted(Step::Rcpt(_), _) => client.data(tx).unwrap(),
            Event::SendData(_) => client.data_writer().unwrap().finish(tx).unwrap(),
            _ => return,
        }
        seen.push((client.wait().awaited, client.wait().after.unwrap().as_secs() / 60));
    });
    let (reply, end) = (WaitFor::Reply, WaitFor::DataReply);
    assert_eq!(seen, [(reply, 5), (reply, 5), (reply, 2), (end, 10)]);
}

#[test]
fn hides_secrets_in_debug_output() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut client = secure(Config::default().initial_response(InitialResponse::Never));
    let mut shown = String::new();
    for reply in after_hello(&[b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"]) {
        rx.extend(reply);
        while let Some(event) = client.next_event(&mut rx, &mut tx).unwrap() {
            shown += &format!("{event:?}");
            if matches!(event, Event::Capabilities(_)) {
                let credentials = Credentials::password("username", &b"secret"[..]);
                client.authenticate(Mechanism::Login, credentials, &mut tx).unwrap();
            }
        }
        shown += &format!("{client:?} {rx:?} {tx:?}");
        assert!(tx.chunks().all(|chunk| chunk.secret || !chunk.bytes.starts_with(b"c2Vj")));
        tx.sent(usize::MAX);
    }
    for secret in ["secret", "c2VjcmV0", "username", "dXNlcm5"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
