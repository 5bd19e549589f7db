//! `serve --http`: health and metrics.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{RunningServer, run};
use crate::tls_client;

/// Sends a request and returns the whole answer.
fn ask(served: &RunningServer, request: &str) -> String {
    let mut socket = TcpStream::connect(served.address("http")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn get(served: &RunningServer, path: &str) -> String {
    ask(served, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// The value of a sample.
fn sample(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

#[test]
fn reports_health_and_figures_without_names() {
    let served = RunningServer::start(&["--http", "127.0.0.1:0"]);
    let live = get(&served, "/health/live");
    assert!(live.starts_with("HTTP/1.1 200 ") && live.ends_with(r#"{"status":"live"}"#), "{live}");
    let ready = get(&served, "/health/ready");
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    let body: serde_json::Value = serde_json::from_str(ready.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&body["status"], &body["store"]), (&"ready".into(), &"ok".into()));
    assert_eq!(body["listeners"].as_array().unwrap().len(), 4);
    assert!(body["certificate_days_left"].as_i64().unwrap() > 30, "{body}");

    let message = b"Subject: hello\r\n\r\nbody\r\n";
    let (url, to) = (served.url("smtps"), served.mailbox());
    served.run(&["send", &url, "--from", &to, "--to", &to], message).expect(0);
    served.run(&["send", &url, "--from", &to, "--to", "eve@elsewhere.example"], message).expect(69);
    let idle = served.connect("imap");
    run(&["check", &served.url("imaps"), "--ca", &served.ca], "wrong").expect(77);

    let page = get(&served, "/metrics");
    assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    assert_eq!(sample(&page, "mailwire_messages_total{origin=\"submission\"}"), 1.0);
    assert_eq!(sample(&page, "mailwire_sessions_open{service=\"imap\"}"), 1.0);
    assert_eq!(sample(&page, "mailwire_logins_total{outcome=\"rejected\"}"), 1.0);
    assert!(sample(&page, "mailwire_logins_total{outcome=\"accepted\"}") >= 2.0);
    assert!(sample(&page, "mailwire_refusals_total{service=\"smtps\"}") >= 1.0);
    assert!(sample(&page, "mailwire_tls_handshakes_total{service=\"smtps\",version=\"1.3\"}") >= 2.0);
    assert!(sample(&page, "mailwire_job_slice_seconds_count") >= 1.0);
    assert!(sample(&page, "mailwire_certificate_days_left") > 30.0);
    for word in [served.user, served.password, "example", "hello", "127.0.0.1"] {
        let body = page.split("\r\n\r\n").nth(1).unwrap();
        assert!(!body.contains(word), "{word} in {body}");
    }
    drop(idle);
}

#[test]
fn refuses_what_is_not_a_request_for_this_server() {
    let served = RunningServer::start(&["--http", "127.0.0.1:0", "--name", "mail.example.org"]);
    let with_host =
        |host: &str| ask(&served, &format!("GET /metrics HTTP/1.1\r\n{host}Connection: close\r\n\r\n"));
    for own in
        ["Host: localhost:80\r\n", "Host: 127.0.0.1\r\n", "Host: [::1]:8\r\n", "Host: MAIL.example.org\r\n"]
    {
        assert!(with_host(own).starts_with("HTTP/1.1 200 "), "{own}");
    }
    // A web page may point a name of its own at this machine, and read what it then gets.
    for other in [
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: \r\n",
        "",
        "Host: localhost\r\nHost: localhost\r\n",
    ] {
        let answer = with_host(other);
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.contains("mailwire_"), "{other:?}: {answer}");
    }
    let answers = [
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "404"),
        ("GET /health/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "404"),
        (
            "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "405",
        ),
        ("EHLO client.example\r\n\r\n", "400"),
    ];
    for (request, status) in answers {
        let answer = ask(&served, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    let large = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let mut socket = TcpStream::connect(served.address("http")).unwrap();
    let _ = socket.write_all(large.as_bytes());
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("mailwire_"));
}

#[test]
fn idle_connections_do_not_keep_others_out() {
    let mut served = RunningServer::start(&["--http", "127.0.0.1:0"]);
    let address = served.address("http");
    let mut idle: Vec<TcpStream> = (0..600).map(|_| TcpStream::connect(address).unwrap()).collect();
    for socket in &mut idle {
        // The server has closed the oldest.
        let _ = socket.write_all(b"GET /metrics HT");
    }
    assert!(get(&served, "/health/live").starts_with("HTTP/1.1 200 "));
    let begun = Instant::now();
    served.signal(Signal::TERM);
    assert_eq!(served.ends(Duration::from_secs(10)), 0);
    assert!(begun.elapsed() < Duration::from_secs(9), "idle connections delayed the end");
}

#[test]
fn uses_tls_on_addresses_that_others_can_reach() {
    let served = RunningServer::start(&["--http", "0.0.0.0:0"]);
    let port = served.address("https").port();
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut secure = tls_client::open(&served.ca, connect(), &[&rustls::version::TLS13], &["http/1.1"]);
    secure.say(request);
    assert!(secure.rest().ends_with(r#"{"status":"live"}"#));
    let mut plain = connect();
    plain.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("live"), "answered without TLS");
}

#[test]
fn says_why_it_cannot_listen() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, folder) = (taken.local_addr().unwrap().to_string(), crate::harness::folder());
    let directory = folder.path().join("new");
    let others = ["--smtp", "127.0.0.1:0", "--smtps", "off", "--imap", "off", "--imaps", "off"];
    let serve = [&["serve", "--dir", directory.to_str().unwrap(), "--http", &port], &others[..]].concat();
    run(&serve, "x").expect(69).shows(&["http cannot listen on", "another program has that port"]);
    assert!(!directory.exists());
}
