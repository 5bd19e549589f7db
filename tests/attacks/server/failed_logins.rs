//! Malformed logins: whatever is wrong with an attempt, the session ends after the limit, and no identity is
//! accepted.
//!
//! This module knows messages that are invalid in every mechanism, and repeats them.

use proto_mail::Limits;

use super::Service;
use super::connection::Connection;
use super::imap::Store;
use super::smtp::Exchange;
use crate::splits::Split;
use crate::verdict::base64;

const MECHANISMS: [&str; 9] = [
    "PLAIN",
    "LOGIN",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "XOAUTH2",
    "OAUTHBEARER",
    "EXTERNAL",
];

/// First messages that no mechanism accepts, in base64 or not.
fn messages() -> Vec<String> {
    let texts = [
        "x",
        "\0",
        "\0\0",
        "\0\0\0",
        "alice",
        "alice\0x",
        "\0alice\0",
        "\0\0S3cr3t-pw-7f9!",
        "\0alice\0nope",
        "\0alice\0x\0y",
        "root\0alice\0S3cr3t-pw-7f9!",
        "n,,n=alice",
        "n,,r=abc",
        "n,,n=,r=abc",
        "n,,n=al=ice,r=abc",
        "n,,n=alice,r=",
        "n,,n=alice,r=a\0b",
        "y,,n=alice",
        "p=tls-unique,,n=alice,r=abc",
        "p=,,n=alice,r=abc",
        "n,a=root,n=alice,r=a,b",
        "m=1,n,,n=alice,r=abc",
        "n,,m=1,n=alice,r=abc",
        "user=alice\u{1}auth=Bearer \u{1}\u{1}",
        "user=alice\u{1}auth=Bearer nope\u{1}\u{1}",
        "n,a=alice,\u{1}auth=Bearer nope\u{1}\u{1}",
        "n,,\u{1}auth=Basic x\u{1}\u{1}",
        "root",
        "\u{feff}alice",
    ];
    let mut messages: Vec<String> = texts.iter().map(|text| base64(text.as_bytes())).collect();
    messages.extend(
        ["%%%%", "A", "====", "YQ", "YQ=", "YQ===", "Y Q==", "YQ==YQ==", "/w==", "gICA"].map(str::to_owned),
    );
    messages
}

/// The client's further messages, until the exchange ends.
const FURTHER: [&str; 3] = ["eA==", "%%%%", ""];

#[test]
fn smtp_server_limits_failed_logins() {
    let mut attempts = 0;
    for mechanism in MECHANISMS {
        for message in messages() {
            for initial in [true, false] {
                attempts += 1;
                let mut server = Connection::<Exchange>::at("tls", Service::Submission);
                let mut said = String::new();
                let mut given = 0;
                while !server.closed && given < 40 {
                    given += 1;
                    let line = if initial {
                        format!("AUTH {mechanism} {message}\r\n")
                    } else {
                        format!("AUTH {mechanism}\r\n")
                    };
                    let mut heard = hear(&mut server, &line);
                    if !initial && heard.starts_with("334") {
                        heard = hear(&mut server, &format!("{message}\r\n"));
                    }
                    let further = FURTHER.iter().cycle().skip(given).take(4);
                    for further in further {
                        if heard.starts_with("334") {
                            heard = hear(&mut server, &format!("{further}\r\n"));
                        }
                    }
                    said += &heard;
                }
                let shown = format!("{mechanism} {message} {initial}: {said}");
                end(server.closed, &server.application.log.identities, given, &shown);
                assert!(!said.contains("\n235") && !said.starts_with("235"), "{shown}");
            }
        }
    }
    assert!(attempts > 700, "{attempts}");
}

#[test]
fn imap_server_limits_failed_logins() {
    let mut attempts = 0;
    for mechanism in MECHANISMS {
        for message in messages() {
            for initial in [true, false] {
                attempts += 1;
                let mut server = Connection::<Store>::at("tls", Service::Exchange);
                let mut said = String::new();
                let mut given = 0;
                while !server.closed && given < 40 {
                    given += 1;
                    let line = if initial {
                        format!("a AUTHENTICATE {mechanism} {message}\r\n")
                    } else {
                        format!("a AUTHENTICATE {mechanism}\r\n")
                    };
                    let mut heard = hear(&mut server, &line);
                    if !initial && heard.starts_with("+ ") {
                        heard = hear(&mut server, &format!("{message}\r\n"));
                    }
                    let further = FURTHER.iter().cycle().skip(given).take(4);
                    for further in further {
                        if heard.starts_with("+ ") {
                            heard = hear(&mut server, &format!("{further}\r\n"));
                        }
                    }
                    said += &heard;
                }
                let shown = format!("{mechanism} {message} {initial}: {said}");
                end(server.closed, &server.application.log.identities, given, &shown);
                assert!(!said.contains("a OK"), "{shown}");
            }
        }
    }
    assert!(attempts > 700, "{attempts}");
}

fn hear<A: super::Application>(server: &mut Connection<A>, line: &str) -> String {
    String::from_utf8_lossy(&server.say(line.as_bytes(), Split::Whole)).into_owned()
}

/// The session is over, by the limit of attempts, or by that of errors if no mechanism was reached.
fn end(closed: bool, identities: &[u8], given: usize, shown: &str) {
    let limits = Limits::default();
    assert!(closed, "{shown}");
    assert_eq!(identities, b"", "{shown}");
    let reached = shown.contains("makes no sense")
        || shown.contains("NO [AUTHENTICATIONFAILED]")
        || shown.contains("535 ");
    let most = if reached { limits.auth_attempts } else { limits.errors };
    assert!(given <= most as usize, "{given} attempts: {shown}");
}
