//! Commands in every order: a client that has not authenticated can run nothing that requires it, and no client
//! authenticates twice.
//!
//! This module compares the servers to a few lines that say when a command may be accepted.

use super::Service;
use super::connection::Connection;
use super::imap::Store;
use super::smtp::Exchange;
use crate::splits::Split;

/// Calls `with` for every sequence of three commands.
fn orders(commands: &[&'static str], mut with: impl FnMut([&'static str; 3])) {
    for first in commands {
        for second in commands {
            for third in commands {
                with([first, second, third]);
            }
        }
    }
}

/// The right password.
const GOOD: &str = "AUTH PLAIN AGFsaWNlAFMzY3IzdC1wdy03Zjkh\r\n";

#[test]
fn smtp_server_requires_authentication_first() {
    let commands = [
        GOOD,
        "AUTH PLAIN AGFsaWNlAG5vcGU=\r\n",
        "AUTH PLAIN\r\n*\r\n",
        "EHLO again.example.test\r\n",
        "STARTTLS\r\n",
        "MAIL FROM:<alice@example.test>\r\n",
        "RCPT TO:<bob@example.test>\r\n",
        "DATA\r\n.\r\n",
        "BDAT 2 LAST\r\n\r\n",
        "RSET\r\n",
    ];
    let mut cases = 0;
    orders(&commands, |order| {
        for (place, service) in [("tls", Service::Submission), ("tls", Service::Exchange)] {
            cases += 1;
            let mut server = Connection::<Exchange>::at(place, service);
            let (mut known, mut open, mut recipients) = (false, false, false);
            let said: Vec<String> = order
                .iter()
                .map(|text| String::from_utf8_lossy(&server.say(text.as_bytes(), Split::Whole)).into_owned())
                .collect();
            let shown = format!("{service:?} {order:?}: {said:?}");
            for (text, said) in order.iter().zip(&said) {
                let may_mail = known || service == Service::Exchange;
                let yes = match &text[..4] {
                    "AUTH" => !known && !open && *text == GOOD,
                    "STAR" => false,
                    "MAIL" => may_mail && !open,
                    "RCPT" => open,
                    "DATA" | "BDAT" => open && recipients,
                    _ => true,
                };
                let answer = said.lines().last().unwrap_or_default();
                assert_eq!(answer.starts_with('2'), yes, "{text:?} in {shown}");
                match &text[..4] {
                    "AUTH" => known |= yes,
                    "MAIL" => open |= yes,
                    "RCPT" => recipients |= yes,
                    "DATA" | "BDAT" if yes => (open, recipients) = (false, false),
                    "EHLO" | "RSET" => (open, recipients) = (false, false),
                    _ => {}
                }
            }
            let log = &server.application.log;
            assert_eq!(log.identities, if known { &b"alice\n"[..] } else { b"" }, "{shown}");
            let mails = String::from_utf8_lossy(&log.asked).contains("MAIL");
            assert!(!mails || known || service == Service::Exchange, "{shown}");
        }
    });
    assert_eq!(cases, 2000);
}

#[test]
fn imap_server_requires_authentication_first() {
    let good = ["LOGIN alice S3cr3t-pw-7f9!\r\n", "AUTHENTICATE PLAIN AGFsaWNlAFMzY3IzdC1wdy03Zjkh\r\n"];
    let commands = [
        good[0],
        good[1],
        "LOGIN alice nope\r\n",
        "AUTHENTICATE PLAIN\r\n*\r\n",
        "STARTTLS\r\n",
        "SELECT INBOX\r\n",
        "FETCH 1 FLAGS\r\n",
        "LIST \"\" *\r\n",
        "UNSELECT\r\n",
        "APPEND INBOX {2+}\r\n\r\n\r\n",
    ];
    let mut cases = 0;
    orders(&commands, |order| {
        cases += 1;
        let mut server = Connection::<Store>::at("tls", Service::Exchange);
        let (mut known, mut selected) = (false, false);
        let said: Vec<String> = order
            .iter()
            .map(|text| {
                String::from_utf8_lossy(&server.say(format!("a {text}").as_bytes(), Split::Whole))
                    .into_owned()
            })
            .collect();
        let shown = format!("{order:?}: {said:?}");
        for (text, said) in order.iter().zip(&said) {
            let yes = match &text[..4] {
                "LOGI" | "AUTH" => !known && good.contains(text),
                "STAR" => false,
                "FETC" | "UNSE" => selected,
                _ => known,
            };
            let answer = said.lines().last().unwrap_or_default();
            assert_eq!(answer.starts_with("a OK"), yes, "{text:?} in {shown}");
            match &text[..4] {
                "LOGI" | "AUTH" => known |= yes,
                "SELE" => selected |= yes,
                "UNSE" => selected = false,
                _ => {}
            }
        }
        let log = &server.application.log;
        assert_eq!(log.identities, if known { &b"alice\n"[..] } else { b"" }, "{shown}");
        assert!(known || log.deliveries.is_empty(), "{shown}");
    });
    assert_eq!(cases, 1000);
}

/// In cleartext no order of commands authenticates a client, or asks for a password.
#[test]
fn no_client_authenticates_in_cleartext() {
    let smtp = [
        "EHLO x\r\n",
        GOOD,
        "AUTH PLAIN\r\n",
        "AUTH LOGIN\r\n",
        "AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==\r\n",
    ];
    let imap = [
        "a LOGIN alice S3cr3t-pw-7f9!\r\n",
        "a LOGIN {5}\r\n",
        "a LOGIN alice {14}\r\n",
        "a AUTHENTICATE PLAIN\r\n",
        "a AUTHENTICATE PLAIN AGFsaWNlAFMzY3IzdC1wdy03Zjkh\r\n",
        "a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==\r\n",
        "a SELECT INBOX\r\n",
    ];
    orders(&smtp, |order| {
        let mut server = Connection::<Exchange>::at("cleartext", Service::Exchange);
        let said = server.say(order.concat().as_bytes(), Split::Bytes);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(
            !said.lines().any(|line| line.starts_with("235") || line.starts_with("334")),
            "{order:?}: {said}"
        );
        assert!(!String::from_utf8_lossy(&server.application.log.asked).contains("AUTH"), "{order:?}");
    });
    orders(&imap, |order| {
        let mut server = Connection::<Store>::at("cleartext", Service::Exchange);
        let said = server.say(order.concat().as_bytes(), Split::Bytes);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(
            !said.lines().any(|line| line.starts_with("a OK") || line.starts_with('+')),
            "{order:?}: {said}"
        );
        assert_eq!(server.application.log.asked, b"", "{order:?}");
    });
}
