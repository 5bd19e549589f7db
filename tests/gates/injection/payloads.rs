//! What is injected, where, and the required result.
//!
//! This module holds bytes and expectations. It knows no machine.

use proto_mail::PeerError;

/// The required result of a case, for every split.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expected {
    /// The session fails with one of these errors.
    Dies(&'static [PeerError]),
    /// The session fails because the server ends it.
    Closed,
    /// TLS begins, and the injection has no effect.
    Forgotten,
    /// TLS does not begin.
    NoTls,
}

/// A conversation with an injection.
pub(super) struct Case {
    pub(super) name: String,
    /// What comes before TLS: a turn starts after the machine has answered the one before.
    pub(super) turns: Vec<Vec<u8>>,
    pub(super) expected: Expected,
}

pub(super) const INJECTION: Expected = Expected::Dies(&[PeerError::PlaintextAfterStartTls]);

/// An answer before its command: fatal, whether it comes before STARTTLS was sent, or after it and followed by the
/// real one.
const TOO_EARLY: Expected =
    Expected::Dies(&[PeerError::UnexpectedReply, PeerError::UnknownTag, PeerError::PlaintextAfterStartTls]);

/// The beginning of a TLS record with a ClientHello, and with a ServerHello.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\xee\x01\x00\x00\xea\x03\x03";
const SERVER_HELLO: &[u8] = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03";

pub(super) const IMAP_COMMANDS: [&str; 1] = ["a1 STARTTLS\r\n"];
pub(super) const IMAP_RESPONSES: [&str; 2] =
    ["* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n", "M1 OK begin TLS\r\n"];
pub(super) const SMTP_REPLIES: [&str; 3] =
    ["220 mx.example\r\n", "250-mx.example\r\n250 STARTTLS\r\n", "220 2.0.0 go ahead\r\n"];

/// What may follow STARTTLS or its reply in any protocol: fragments that are no complete line.
fn fragments() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        [&b"\r\n"[..], b"\n", b"\r", b"\0", b" ", b"\r\n\r\n"].map(<[u8]>::to_vec).into();
    all.extend([CLIENT_HELLO.to_vec(), SERVER_HELLO.to_vec()]);
    all
}

/// The turns with `payload` before or after one of them.
fn inject(turns: &[&str], at: usize, place: Place, payload: &[u8]) -> Vec<Vec<u8>> {
    let mut turns: Vec<Vec<u8>> = turns.iter().map(|turn| turn.as_bytes().to_vec()).collect();
    match place {
        Place::Before => turns[at].splice(..0, payload.iter().copied()).for_each(drop),
        Place::Behind => turns[at].extend(payload),
        Place::Instead => turns[at] = payload.to_vec(),
    }
    turns
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Before,
    Behind,
    Instead,
}

/// Collects cases for one conversation.
struct Matrix<'t> {
    turns: &'t [&'t str],
    cases: Vec<Case>,
}

impl Matrix<'_> {
    fn add(&mut self, at: usize, place: Place, payload: &[u8], expected: Expected) {
        let name = format!("{place:?} turn {at}: {}", payload.escape_ascii());
        self.cases.push(Case { name, turns: inject(self.turns, at, place, payload), expected });
    }

    /// Everything after the last turn is an injection: alone, in front of a TLS record, and as a fragment.
    fn behind(&mut self, payloads: &[&str], hello: &[u8]) {
        let last = self.turns.len() - 1;
        for payload in payloads.iter().map(|payload| payload.as_bytes()) {
            self.add(last, Place::Behind, payload, INJECTION);
            self.add(last, Place::Behind, &[payload, hello].concat(), INJECTION);
            self.add(last, Place::Behind, &[hello, payload].concat(), INJECTION);
            self.add(last, Place::Behind, &payload[..payload.len() / 2], INJECTION);
        }
        for fragment in fragments() {
            self.add(last, Place::Behind, &fragment, INJECTION);
        }
    }
}

/// Against an IMAP server.
pub(super) fn imap_server() -> Vec<Case> {
    let mut matrix = Matrix { turns: &IMAP_COMMANDS, cases: Vec::new() };
    matrix.behind(
        &[
            "a2 NOOP\r\n",
            "a2 CAPABILITY\r\n",
            "a2 LOGIN eve hunter2\r\n",
            "a2 LOGIN {3+}\r\neve {7+}\r\nhunter2\r\n",
            "a2 LOGIN {3}\r\n",
            "a2 AUTHENTICATE PLAIN AGV2ZQBodW50ZXIy\r\n",
            "a2 AUTHENTICATE LOGIN\r\nZXZl\r\n",
            "a2 SELECT INBOX\r\n",
            "a2 ENABLE IMAP4rev2\r\n",
            "a2 APPEND INBOX {5+}\r\nhello\r\n",
            "a2 STARTTLS\r\n",
            "a2 LOGOUT\r\n",
            "DONE\r\n",
        ],
        CLIENT_HELLO,
    );
    // STARTTLS twice in one segment: the first one counts, the second one is the injection.
    matrix.add(0, Place::Before, b"a0 STARTTLS\r\n", INJECTION);
    for forgotten in [
        "a0 NOOP\r\n",
        "a0 LOGIN eve hunter2\r\n",
        "a0 LOGIN {3+}\r\neve {7+}\r\nhunter2\r\n",
        "a0 AUTHENTICATE PLAIN AGV2ZQBodW50ZXIy\r\n",
        "a0 AUTHENTICATE PLAIN\r\n",
        "a0 ENABLE IMAP4rev2\r\n",
        "a0 SELECT INBOX\r\n",
        "a0 ID (\"name\" \"evil\")\r\n",
        "a0 BOGUS {4+}\r\nevil\r\n",
        "\r\n",
    ] {
        matrix.add(0, Place::Before, forgotten.as_bytes(), Expected::Forgotten);
    }
    // The genuine STARTTLS becomes an argument of the attacker's command, so TLS does not begin.
    for swallowing in ["a0 NOOP ", "a0 LOGIN {13+}\r\n", "a0 ID (\"name\" {13+}\r\n", "a0 LOGIN eve \""] {
        matrix.add(0, Place::Before, swallowing.as_bytes(), Expected::NoTls);
    }
    matrix.cases
}

/// Against an IMAP client.
pub(super) fn imap_client() -> Vec<Case> {
    let mut matrix = Matrix { turns: &IMAP_RESPONSES, cases: Vec::new() };
    matrix.behind(
        &[
            "* CAPABILITY IMAP4rev1 AUTH=PLAIN X-EVIL\r\n",
            "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n",
            "* PREAUTH welcome\r\n",
            "* BYE\r\n",
            "* 5 EXISTS\r\n",
            "* LIST () \"/\" {4}\r\nevil\r\n",
            "* 1 FETCH (BODY[] {4}\r\nevil)\r\n",
            "+ \r\n",
            "M1 OK again\r\n",
            "M2 OK [CAPABILITY IMAP4rev1] in\r\n",
            "M1 NO\r\n",
        ],
        SERVER_HELLO,
    );
    // The client reads what comes before the reply, and discards it.
    for forgotten in [
        "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LITERAL+ X-EVIL\r\n",
        "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n",
        "* OK [ALERT] evil\r\n",
        "* 5 EXISTS\r\n* FLAGS (\\Evil)\r\n",
        "* LIST () \"/\" {4}\r\nevil\r\n",
        "* ENABLED IMAP4rev2 UTF8=ACCEPT\r\n",
        "* 1 FETCH (BODY[] {13}\r\nM1 OK evil\r\n\n)\r\n",
        "* OK begin TLS\r\n",
    ] {
        matrix.add(1, Place::Before, forgotten.as_bytes(), Expected::Forgotten);
    }
    matrix.add(1, Place::Instead, b"M1 OK [CAPABILITY IMAP4rev1 SASL-IR] go\r\n", Expected::Forgotten);
    let greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR LITERAL+ X-EVIL] ready\r\n";
    matrix.add(0, Place::Instead, greeting.as_bytes(), Expected::Forgotten);
    // Answers to commands that were not sent, or not yet.
    matrix.add(0, Place::Behind, b"M1 OK begin TLS\r\n", TOO_EARLY);
    matrix.add(1, Place::Before, b"M1 OK begin TLS\r\n", INJECTION);
    for (unasked, error) in [
        ("M9 OK begin TLS\r\n", PeerError::UnknownTag),
        ("m1 OK begin TLS\r\n", PeerError::UnknownTag),
        ("+ go\r\n", PeerError::UnexpectedContinuation),
    ] {
        let expected = match error {
            PeerError::UnknownTag => Expected::Dies(&[PeerError::UnknownTag]),
            _ => Expected::Dies(&[PeerError::UnexpectedContinuation]),
        };
        matrix.add(1, Place::Before, unasked.as_bytes(), expected);
    }
    let preauth = Expected::Dies(&[PeerError::PreauthOnCleartext]);
    matrix.add(0, Place::Instead, b"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome\r\n", preauth);
    matrix.add(0, Place::Instead, b"* PREAUTH welcome\r\n", preauth);
    let missing = Expected::Dies(&[PeerError::StartTlsNotOffered]);
    matrix.add(0, Place::Instead, b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n", missing);
    matrix.add(0, Place::Instead, SERVER_HELLO, Expected::Dies(&[PeerError::TlsInCleartext]));
    // The genuine reply becomes part of the attacker's response, or the attacker refuses.
    for swallowing in ["* LIST () \"/\" {17}\r\n", "* OK ", "M1 NO not now\r\n", "M1 BAD what\r\n"] {
        matrix.add(1, Place::Before, swallowing.as_bytes(), Expected::NoTls);
    }
    matrix.cases
}

/// Against an SMTP or LMTP server.
pub(super) fn smtp_server(hello: &str) -> Vec<Case> {
    let greeting = format!("{hello} client.example\r\n");
    let turns = [greeting.as_str(), "STARTTLS\r\n"];
    let mut matrix = Matrix { turns: &turns, cases: Vec::new() };
    let again = format!("{hello} evil.example\r\n");
    let whole = format!(
        "{hello} evil\r\nMAIL FROM:<eve@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nx\r\n.\r\n"
    );
    matrix.behind(
        &[
            "NOOP\r\n",
            &again,
            &whole,
            "MAIL FROM:<eve@example.test>\r\n",
            "RCPT TO:<bob@example.test>\r\n",
            "AUTH PLAIN AGV2ZQBodW50ZXIy\r\n",
            "AUTH LOGIN\r\nZXZl\r\n",
            "BDAT 5 LAST\r\nhello",
            "DATA\r\n",
            "STARTTLS\r\n",
            "RSET\r\n",
            "QUIT\r\n",
        ],
        CLIENT_HELLO,
    );
    matrix.add(1, Place::Before, b"STARTTLS\r\n", INJECTION);
    for forgotten in [
        "NOOP\r\n",
        &again,
        "AUTH PLAIN AGV2ZQBodW50ZXIy\r\n",
        "AUTH LOGIN\r\nZXZl\r\naHVudGVyMg==\r\n",
        "RSET\r\n",
        "BOGUS\r\n",
        "RCPT TO:<bob@example.test>\r\n",
        "MAIL FROM:<eve@example.test> SIZE=bogus\r\n",
    ] {
        matrix.add(1, Place::Before, forgotten.as_bytes(), Expected::Forgotten);
    }
    let envelope = "MAIL FROM:<eve@example.test>\r\nRCPT TO:<bob@example.test>\r\n";
    // Not within a transaction, and not as an argument or a message.
    for swallowing in [envelope, "NOOP ", "BDAT 10\r\n", &format!("{envelope}DATA\r\n")] {
        matrix.add(1, Place::Before, swallowing.as_bytes(), Expected::NoTls);
    }
    matrix.cases
}

/// Against an SMTP or LMTP client.
pub(super) fn smtp_client() -> Vec<Case> {
    let mut matrix = Matrix { turns: &SMTP_REPLIES, cases: Vec::new() };
    matrix.behind(
        &[
            "250 ok\r\n",
            "250-evil.example\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n",
            "235 2.7.0 welcome\r\n",
            "220 again\r\n",
            "250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n",
            "334 \r\n",
            "421 good-bye\r\n",
            "454 no\r\n",
        ],
        SERVER_HELLO,
    );
    let offer =
        "250-evil.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-AUTH LOGIN X-EVIL\r\n250 STARTTLS\r\n";
    matrix.add(1, Place::Instead, offer.as_bytes(), Expected::Forgotten);
    matrix.add(0, Place::Instead, b"220-evil\r\n220 ESMTP AUTH PLAIN\r\n", Expected::Forgotten);
    matrix.add(2, Place::Instead, b"220-AUTH PLAIN\r\n220 go\r\n", Expected::Forgotten);
    // Answers to commands that were not sent, or not yet.
    matrix.add(0, Place::Behind, offer.as_bytes(), TOO_EARLY);
    matrix.add(1, Place::Behind, b"220 go ahead\r\n", TOO_EARLY);
    matrix.add(2, Place::Before, b"220 go ahead\r\n", INJECTION);
    for unasked in ["250 ok\r\n", "235 2.7.0 welcome\r\n", "334 \r\n", "354 go\r\n"] {
        matrix.add(2, Place::Before, unasked.as_bytes(), Expected::Dies(&[PeerError::UnexpectedReply]));
    }
    matrix.add(2, Place::Before, b"421 good-bye\r\n", Expected::Closed);
    let missing = Expected::Dies(&[PeerError::StartTlsNotOffered]);
    matrix.add(1, Place::Instead, b"250-mx.example\r\n250 AUTH PLAIN\r\n", missing);
    matrix.add(0, Place::Instead, SERVER_HELLO, Expected::Dies(&[PeerError::TlsInCleartext]));
    for refusal in ["454 4.7.0 not now\r\n", "502 what\r\n"] {
        matrix.add(2, Place::Before, refusal.as_bytes(), Expected::NoTls);
    }
    matrix.cases
}
