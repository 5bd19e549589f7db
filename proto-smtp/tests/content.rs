//! What a client requests from a server that offers less than the message needs, if the content is known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_mail::{RecvBuffer, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{Client, Content, NotSent, Outcome, Progress, Transaction};
use proto_smtp::data::LineEndings;
use proto_smtp::types::{Address, BodyType, Extension, Mail, Rcpt};

const ASCII: &[u8] = b"Subject: x\r\n\r\ny\r\n";
const LATIN: &[u8] = b"Subject: x\r\n\r\n\xe9\r\n";
const BINARY: &[u8] = b"Subject: x\r\n\r\n\0\xff\n";
const UTF8_HEADER: &[u8] = "Subject: é\r\n\r\ny\r\n".as_bytes();
const UTF8_PART: &[u8] = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nSubject: é\r\n".as_bytes();

/// The parameters of MAIL, or why the message is not sent.
fn asked(
    mail: Mail<'static>,
    content: Option<&[u8]>,
    chunk: Option<u64>,
    offered: &[&str],
) -> Result<String, NotSent> {
    with(Config::default(), "c@d.example", mail, content, chunk, offered)
}

fn with(
    config: Config,
    to: &str,
    mail: Mail<'static>,
    content: Option<&[u8]>,
    chunk: Option<u64>,
    offered: &[&str],
) -> Result<String, NotSent> {
    let mut transaction =
        Transaction::new(mail).recipient(Rcpt::new(to.parse::<Address<'static>>().unwrap()));
    if let Some(content) = content {
        transaction = transaction.with_content(Content::of(content));
    }
    if let Some(bytes) = chunk {
        transaction = transaction.in_one_chunk(bytes);
    }
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut client = Client::<Secure>::new(config, Secure::trusted_local());
    let lines: String = offered.iter().map(|line| format!("250-{line}\r\n")).collect();
    for reply in ["220 mx\r\n".to_owned(), format!("250-mx\r\n{lines}250 HELP\r\n")] {
        rx.extend(reply.as_bytes());
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        let _ = tx.take();
    }
    let progress = transaction.start(&mut client, &mut tx).unwrap();
    let sent = String::from_utf8(tx.take()).unwrap();
    match (progress, transaction.recipients()[0].outcome()) {
        (Progress::Done, Outcome::NotSent(why)) => {
            assert_eq!(sent, "", "nothing is begun");
            Err(*why)
        }
        (Progress::Continue, Outcome::Pending) => {
            Ok(sent.strip_prefix("MAIL FROM:<a@b.example>").unwrap().trim().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

fn mail() -> Mail<'static> {
    Mail::new("a@b.example".parse::<Address<'static>>().unwrap())
}

fn no(extension: Extension) -> Result<String, NotSent> {
    Err(NotSent::NotOffered(extension))
}

fn yes(parameters: &str) -> Result<String, NotSent> {
    Ok(parameters.to_owned())
}

#[test]
fn sends_us_ascii_as_7bit() {
    let eight = || mail().with_body(BodyType::EightBitMime);
    assert_eq!(asked(eight(), None, None, &[]), no(Extension::EightBitMime), "nothing is known");
    assert_eq!(asked(eight(), Some(ASCII), None, &[]), yes(""));
    assert_eq!(
        asked(eight(), Some(ASCII), None, &["8BITMIME"]),
        yes("BODY=8BITMIME"),
        "nothing is changed for nothing"
    );
    assert_eq!(asked(eight(), Some(LATIN), None, &[]), no(Extension::EightBitMime));
    // Lines that are too long, and bytes that are not allowed in lines.
    let long = [ASCII, &b"a".repeat(999), b"\r\n"].concat();
    for content in [&long[..], b"a\0b\r\n", b"a\rb\r\n", b"a\nb\r\n"] {
        assert_eq!(
            asked(eight(), Some(content), None, &[]),
            no(Extension::EightBitMime),
            "{}",
            content.escape_ascii()
        );
    }
    // If the client normalizes line ends, the written message counts; a chunk is sent unchanged.
    let config = || Config::default().line_endings(LineEndings::Normalize);
    let to = "c@d.example";
    assert_eq!(with(config(), to, eight(), Some(b"a\nb\n"), None, &[]), yes(""));
    let chunked = with(config(), to, eight(), Some(b"a\nb\n"), Some(4), &["CHUNKING"]);
    assert_eq!(chunked, no(Extension::EightBitMime));
}

#[test]
fn trusts_the_scanned_content_over_mail() {
    for body in [None, Some(BodyType::SevenBit)] {
        let said = || body.map_or_else(mail, |body| mail().with_body(body));
        assert_eq!(asked(said(), Some(LATIN), None, &["8BITMIME"]), yes("BODY=8BITMIME"));
        assert_eq!(asked(said(), Some(LATIN), None, &[]), no(Extension::EightBitMime));
        assert_eq!(asked(said(), Some(ASCII), None, &[]), yes(""));
    }
    assert_eq!(asked(mail(), None, None, &[]), yes(""), "and nothing is known of others");
}

#[test]
fn sends_binary_made_of_lines_without_binarymime() {
    let binary = || mail().with_body(BodyType::BinaryMime);
    let all = &["CHUNKING", "BINARYMIME", "8BITMIME"];
    let size = Some(17);
    assert_eq!(asked(binary(), Some(ASCII), size, all), yes("BODY=BINARYMIME"));
    assert_eq!(asked(binary(), None, size, &["CHUNKING"]), no(Extension::BinaryMime));
    assert_eq!(asked(binary(), Some(BINARY), size, &["CHUNKING", "8BITMIME"]), no(Extension::BinaryMime));
    assert_eq!(asked(binary(), Some(ASCII), size, &["CHUNKING"]), yes(""));
    assert_eq!(asked(binary(), Some(ASCII), size, &[]), yes(""), "by DATA");
    assert_eq!(asked(binary(), Some(ASCII), size, &["8BITMIME"]), yes("BODY=7BIT"));
    assert_eq!(asked(binary(), Some(LATIN), size, &["8BITMIME"]), yes("BODY=8BITMIME"));
    assert_eq!(asked(binary(), Some(LATIN), size, &["CHUNKING"]), no(Extension::EightBitMime));
    // DATA would add a line end.
    assert_eq!(asked(binary(), Some(b"a: b\r\n\r\nc"), size, &["8BITMIME"]), no(Extension::BinaryMime));
    // Without a size it cannot be sent as a chunk.
    assert_eq!(asked(binary(), Some(BINARY), None, all), no(Extension::Chunking));
    assert_eq!(asked(binary(), Some(LATIN), None, all), yes("BODY=8BITMIME"));
}

#[test]
fn requests_smtputf8_only_where_needed() {
    let utf8 = || mail().with_utf8();
    assert_eq!(asked(utf8(), None, None, &[]), no(Extension::SmtpUtf8));
    assert_eq!(asked(utf8(), Some(ASCII), None, &[]), yes(""));
    assert_eq!(asked(utf8(), Some(ASCII), None, &["SMTPUTF8", "8BITMIME"]), yes("SMTPUTF8"));
    assert_eq!(asked(utf8(), Some(LATIN), None, &["8BITMIME"]), yes("BODY=8BITMIME"), "a body is no header");
    for content in [UTF8_HEADER, UTF8_PART] {
        assert_eq!(asked(utf8(), Some(content), None, &["8BITMIME"]), no(Extension::SmtpUtf8));
    }
    let to = "é@d.example";
    assert_eq!(with(Config::default(), to, utf8(), Some(ASCII), None, &[]), no(Extension::SmtpUtf8));
    assert_eq!(with(Config::default(), to, mail(), Some(ASCII), None, &["SMTPUTF8"]), yes("SMTPUTF8"));
}
