//! A server stays usable while clients guess passwords, send commands that it refuses, or do nothing at all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{Conversation, RunningServer};
use crate::tls_client::Tls;

/// The initial response of AUTH PLAIN.
fn plain(user: &str, password: &str) -> String {
    let whole = proto_mail::sasl::encode_base64(format!("\0{user}\0{password}").as_bytes());
    format!("AUTH PLAIN {}\r\n", std::str::from_utf8(whole.expose()).unwrap())
}

/// An SMTP session under TLS, before login.
fn smtp(served: &RunningServer) -> Tls {
    let mut talk = served.tls("smtps");
    assert!(talk.answer().starts_with("220 "));
    assert!(talk.ask("EHLO c.example\r\n").contains("AUTH"));
    talk
}

/// An IMAP session under TLS, before login.
fn imap(served: &RunningServer) -> Tls {
    let mut talk = served.tls("imaps");
    assert!(talk.answer().starts_with("* OK "));
    talk
}

fn logged_in(served: &RunningServer) -> Tls {
    let mut talk = smtp(served);
    assert!(talk.ask(&plain(served.user, served.password)).starts_with("235 "));
    talk
}

#[test]
fn the_owner_logs_in_while_others_guess_the_password() {
    let served = RunningServer::start(&[]);
    logged_in(&served);
    let mut guessing = Vec::new();
    for number in 0..60 {
        let mut talk = if number % 2 == 0 { smtp(&served) } else { imap(&served) };
        let guess = format!("guess-{number}");
        talk.say(&if number % 2 == 0 {
            plain(served.user, &guess)
        } else {
            format!("a LOGIN {} {guess}\r\n", served.user)
        });
        guessing.push(talk);
    }
    for round in 0..4 {
        let mut talk = if round % 2 == 0 { smtp(&served) } else { imap(&served) };
        let begun = Instant::now();
        let answer = if round % 2 == 0 {
            talk.ask(&plain(served.user, served.password))
        } else {
            talk.ask(&format!("a LOGIN {} {}\r\n", served.user, served.password))
        };
        let took = begun.elapsed();
        assert!(answer.starts_with("235 ") || answer.starts_with("a OK "), "{answer}");
        assert!(took < Duration::from_secs(2), "round {round} took {took:?}");
    }
}

#[test]
fn delays_wrong_passwords_increasingly_across_sessions_and_protocols() {
    let served = RunningServer::with_limits("failed-logins = 2\nlogin-delay = 3", &[]);
    let mut guessing = Vec::new();
    for number in 0..10 {
        let mut talk = if number % 2 == 0 { smtp(&served) } else { imap(&served) };
        talk.say(&if number % 2 == 0 {
            plain(served.user, "wrong")
        } else {
            format!("a LOGIN {} wrong\r\n", served.user)
        });
        guessing.push((talk, Instant::now()));
    }
    let took: Vec<Duration> = guessing
        .into_iter()
        .map(|(mut talk, begun)| {
            let answer = talk.answer();
            assert!(answer.starts_with("535 ") || answer.starts_with("a NO "), "{answer}");
            begun.elapsed()
        })
        .collect();
    assert!(took.iter().any(|took| *took >= Duration::from_millis(4900)), "{took:?}");
    logged_in(&served);
}

#[test]
fn disconnects_a_client_that_does_not_log_in() {
    let served = RunningServer::with_limits("login-timeout = 2", &["--lmtp", "127.0.0.1:0"]);
    let mut lmtp = served.connect("lmtp");
    let mut logged_in = logged_in(&served);
    let begun = Instant::now();
    let (mut clear_smtp, mut clear_imap) = (served.connect("smtp"), served.connect("imap"));
    let (mut smtp, mut imap) = (smtp(&served), imap(&served));
    // Commands do not extend the time, and a handshake that never starts has no more time either.
    assert!(smtp.ask("NOOP\r\n").starts_with("250 "));
    let mut silent = TcpStream::connect(served.address("imaps")).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for answer in [smtp.answer(), clear_smtp.answer()] {
        assert!(answer.starts_with("421 4.4.2 "), "{answer:?}");
    }
    for answer in [imap.answer(), clear_imap.answer()] {
        assert!(answer.starts_with("* BYE "), "{answer:?}");
    }
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(logged_in.ask("NOOP\r\n").starts_with("250 "), "a client that has logged in stays");
    assert!(lmtp.ask("NOOP\r\n").starts_with("250 "), "LMTP has no login");
}

#[test]
fn disconnects_after_too_many_refused_commands() {
    let served = RunningServer::start(&["--lmtp", "127.0.0.1:0"]);
    let mut talk = logged_in(&served);
    assert!(talk.ask("MAIL FROM:<a@x.example>\r\n").starts_with("250 "));
    let answers: Vec<String> = (0..3000)
        .map(|number| format!("RCPT TO:<missing-{number}@localhost>\r\n"))
        .map_while(|line| {
            let answer = talk.ask(&line);
            (!answer.is_empty()).then_some(answer)
        })
        .take(40)
        .collect();
    assert_eq!(answers.len(), 20, "{answers:?}");
    assert!(answers[18].starts_with("550 5.1.1 ") && answers[19].starts_with("421 4.7.0 "), "{answers:?}");

    // A message to a list with some unknown recipients: an accepted message resets the count.
    let mut talk = logged_in(&served);
    for message in 0..3 {
        assert!(talk.ask("MAIL FROM:<a@x.example>\r\n").starts_with("250 "));
        for number in 0..15 {
            assert!(talk.ask(&format!("RCPT TO:<missing-{number}@localhost>\r\n")).starts_with("550 "));
        }
        assert!(talk.ask(&format!("RCPT TO:<{}>\r\n", served.mailbox())).starts_with("250 "));
        assert!(talk.ask("DATA\r\n").starts_with("354 "));
        assert!(talk.ask("x\r\n.\r\n").starts_with("250 "), "message {message}");
    }

    // An LMTP client delivers mail from many senders: it may fail more often, but not without limit.
    let mut talk = served.connect("lmtp");
    assert!(talk.ask("LHLO x.example\r\n").ends_with("\r\n"));
    assert!(talk.ask("MAIL FROM:<a@x.example>\r\n").starts_with("250 "));
    let mut answers = (0..3000).map(|number| talk.ask(&format!("RCPT TO:<missing-{number}@localhost>\r\n")));
    let refused = answers.by_ref().take_while(|answer| answer.starts_with("550 ")).count();
    assert_eq!(refused, 999);

    let mut talk = imap(&served);
    assert!(talk.ask(&format!("a LOGIN {} {}\r\n", served.user, served.password)).starts_with("a OK "));
    // A client asks for a few mailboxes that do not exist, and continues.
    for number in 0..90 {
        assert!(talk.ask(&format!("b{number} STATUS none-{number} (MESSAGES)\r\n")).contains(" NO "));
    }
    assert!(talk.ask("c NOOP\r\n").starts_with("c OK "));
    let last =
        (0..300).map(|_| talk.ask("d STATUS none (MESSAGES)\r\n")).find(|answer| !answer.contains(" NO "));
    assert!(last.is_some_and(|answer| answer.starts_with("* BYE ")));
}

#[test]
fn limits_count_the_address_announced_by_a_proxy() {
    let served = RunningServer::with_limits("sessions-per-address = 2", &["--proxy-from", "127.0.0.0/8"]);
    let connect = |client: &str| {
        let mut stream = TcpStream::connect(served.address("smtp")).unwrap();
        write!(stream, "PROXY TCP4 {client} 198.51.100.2 40000 25\r\n").unwrap();
        let mut talk = Conversation::new(stream);
        let answer = talk.answer();
        (talk, answer)
    };
    let first = [connect("192.0.2.1"), connect("192.0.2.1")];
    assert!(first.iter().all(|(_, answer)| answer.starts_with("220 ")));
    let (_third, answer) = connect("192.0.2.1");
    assert!(answer.starts_with("421 4.3.2 "), "{answer}");
    let others: Vec<_> = (2..6).map(|number| connect(&format!("192.0.2.{number}"))).collect();
    assert!(others.iter().all(|(_, answer)| answer.starts_with("220 ")));
    drop(first);
    let begun = Instant::now();
    while !connect("192.0.2.1").1.starts_with("220 ") {
        assert!(begun.elapsed() < Duration::from_secs(10), "the session's slot is not released");
    }
}

#[test]
fn reserves_sessions_for_clients_that_log_in() {
    let served = RunningServer::with_limits("sessions = 6\nsessions-before-login = 3", &[]);
    let kept = [logged_in(&served), logged_in(&served)];
    let waiting: Vec<_> = (0..3).map(|_| served.connect("smtp")).collect();
    let mut turned_away = Conversation::new(TcpStream::connect(served.address("smtp")).unwrap());
    assert!(turned_away.answer().starts_with("421 4.3.2 "));
    drop(waiting);
    for mut talk in kept {
        assert!(talk.ask("NOOP\r\n").starts_with("250 "));
    }
}

#[test]
fn reserves_file_descriptors_for_the_store() {
    let limits = "sessions = 4000";
    // The limit of this test's own process is not changed.
    let served = RunningServer::under_limit(64, limits);
    let mut connections = Vec::new();
    let mut refused = 0;
    for _ in 0..60 {
        let mut talk = Conversation::new(TcpStream::connect(served.address("smtp")).unwrap());
        match talk.answer() {
            answer if answer.starts_with("220 ") => connections.push(talk),
            answer => {
                assert!(answer.starts_with("421 "), "{answer}");
                refused += 1;
            }
        }
    }
    assert!(connections.len() >= 16 && refused > 0, "{} and {refused}", connections.len());
    connections.truncate(connections.len() - 4);
    let (url, mailbox) = (served.url("smtps"), served.mailbox());
    let send = ["send", &url, "--from", &mailbox, "--to", &mailbox, "--subject", "x", "--text", "y"];
    served.run(&send, b"").expect(0);
    let into = crate::harness::folder();
    let imap = served.url("imaps");
    served.run(&["sync", &imap, "--into", into.path().to_str().unwrap()], b"").expect(0);
}

#[test]
fn rejects_an_unknown_alpn_protocol() {
    let served = RunningServer::start(&[]);
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    for (service, offered, taken) in [
        ("imaps", &["h2"][..], false),
        ("imaps", &["http/1.1", "smtp"], false),
        ("imaps", &["h2", "imap"], true),
        ("imaps", &[], true),
        ("smtps", &["imap"], false),
        ("smtps", &["smtp"], true),
    ] {
        for version in versions {
            let socket = TcpStream::connect(served.address(service)).unwrap();
            let greeting = crate::tls_client::open(&served.ca, socket, &[version], offered).answer();
            assert_eq!(!greeting.is_empty(), taken, "{service} {offered:?}");
        }
    }
}

#[test]
fn returns_memory_when_sessions_end() {
    let served = RunningServer::start(&[]);
    let round = || {
        let login = format!("a LOGIN {} {}\r\n", served.user, served.password);
        let mut sessions: Vec<_> = (0..300).map(|_| imap(&served)).collect();
        assert!(sessions[0].ask(&login).starts_with("a OK "));
        let most = served.memory();
        sessions.clear();
        most
    };
    // Allows for one-time allocations and for the password hash's memory, which is freed some time after the last
    // login.
    round();
    std::thread::sleep(Duration::from_secs(7));
    let before = served.memory();
    let most = round();
    let begun = Instant::now();
    while served.memory() > before + (most - before) / 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{before} {most} {} KiB", served.memory());
        std::thread::sleep(Duration::from_millis(100));
    }
}
