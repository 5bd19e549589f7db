//! Nothing that a server echoes can be misread: every byte, at every place of a command.
//!
//! This module knows what a server's lines may consist of, and which commands make a server echo its client.

use super::Service;
use super::connection::Connection;
use super::imap::Store;
use super::smtp::Exchange;
use crate::splits::Split;

#[test]
fn smtp_server_echoes_no_control_characters() {
    let templates = [
        "EHLO a{}b\r\n",
        "HELO {}\r\n",
        "VRFY a{}b\r\n",
        "EXPN {}a\r\n",
        "HELP {}\r\n",
        "NOOP a{}\r\n",
        "{}NOPE\r\n",
        "NO{}PE x\r\n",
        "MAIL FROM:<a{}b@example.test>\r\n",
        "MAIL FROM:<a@example.test> X={}\r\n",
        "AUTH {}\r\n",
        "RCPT TO:<{}@example.test>\r\n",
    ];
    for template in templates {
        for byte in 0..=255u8 {
            let mut server = Connection::<Exchange>::at("tls", Service::Exchange);
            let said = server.say(&with(template, byte), Split::Whole);
            let shown = format!("{template:?} with {byte:#x}: {}", said.escape_ascii());
            for line in lines(&said, &shown) {
                assert!(line.len() >= 4 && line[..3].iter().all(u8::is_ascii_digit), "{shown}");
                assert!(matches!(line[3], b' ' | b'-'), "{shown}");
            }
        }
    }
}

#[test]
fn imap_server_echoes_no_control_characters() {
    let templates = [
        "{} NOOP\r\n",
        "a{}b NOOP\r\n",
        "{}a XYZZY\r\n",
        "a N{}P\r\n",
        "a XYZZY {}\r\n",
        "a CREATE a{}b\r\n",
        "a CREATE \"a{}b\"\r\n",
        "a LIST \"\" {}\r\n",
        "a STATUS {} (X)\r\n",
        "a FETCH {} X\r\n",
        "a SEARCH {}\r\n",
        "a ENABLE {}\r\n",
    ];
    for template in templates {
        for byte in 0..=255u8 {
            let mut server = Connection::<Store>::at("auth", Service::Exchange);
            let mut said = server.say(&with(template, byte), Split::Whole);
            let shown = format!("{template:?} with {byte:#x}: {}", said.escape_ascii());
            if said.starts_with(b"+ ") {
                assert_eq!(byte, b'{', "{shown}");
                continue;
            }
            if !server.closed {
                said.extend(server.say(b"z LIST \"\" *\r\n", Split::Whole));
            }
            for line in lines(&said, &shown) {
                let (tag, _) =
                    line.split_at(line.iter().position(|&byte| byte == b' ').unwrap_or(line.len()));
                let (sent, _) = template.split_once(' ').unwrap();
                // A tag, or the part of it before a byte that no tag may contain.
                let known =
                    tag == b"*" || tag == b"z" || !tag.is_empty() && with(sent, byte).starts_with(tag);
                assert!(known && tag != b"+", "{shown}");
                let untagged = [
                    &b"* BAD"[..],
                    b"* LIST",
                    b"* BYE",
                    b"* CAPABILITY",
                    b"* STATUS",
                    b"* SEARCH",
                    b"* ENABLED",
                ];
                let data = tag != b"*" || untagged.iter().any(|known| line.starts_with(known));
                assert!(data || line.starts_with(b"* 1 FETCH") || line.starts_with(b"* ESEARCH"), "{shown}");
            }
        }
    }
}

fn with(template: &str, byte: u8) -> Vec<u8> {
    let parts: Vec<&[u8]> = template.split("{}").map(str::as_bytes).collect();
    parts.join(&byte)
}

/// The lines of the output: CRLF ends each, and none contains a control character. In names that the application has
/// accepted, control characters may be echoed inside a quoted string, except the three that no line may contain.
fn lines<'s>(said: &'s [u8], shown: &str) -> Vec<&'s [u8]> {
    let lines: Vec<&[u8]> = said.split_inclusive(|&byte| byte == b'\n').collect();
    let text = |line: &'s [u8]| line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("{shown}"));
    let lines: Vec<&[u8]> = lines.into_iter().map(text).collect();
    let mut bytes =
        lines.iter().flat_map(|line| line.iter().map(move |byte| (line.starts_with(b"* LIST "), byte)));
    let control = bytes.find(|(listed, byte)| match byte {
        0 | b'\r' | b'\n' => true,
        byte => !listed && byte.is_ascii_control(),
    });
    assert_eq!(control, None, "{shown}");
    lines
}
