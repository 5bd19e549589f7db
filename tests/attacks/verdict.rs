//! Decides whether the result of a run is what the row requires.
//!
//! This module knows the meaning of each predicate in terms of observations. A predicate that cannot be observed in a
//! role fails the test.

use std::fmt;

use proto_mail::sasl;

use crate::script::{Predicate, Row};

/// The observations of a run.
#[derive(Default)]
pub(crate) struct Observed {
    /// Everything that the system under test output, in order.
    pub(crate) output: Vec<Piece>,
    /// The marks, and the number of bytes output before each.
    pub(crate) marks: Vec<(String, usize)>,
    /// The command lines as the peer parsed them: without literals and messages.
    pub(crate) commands: Vec<u8>,
    /// The message as the peer read it.
    pub(crate) message: Vec<u8>,
    /// The requests to a server's application, one per line.
    pub(crate) asked: Vec<u8>,
    /// The identities proved to a server, one per line.
    pub(crate) identities: Vec<u8>,
    /// The messages that a server accepted, each after a line with its recipients.
    pub(crate) deliveries: Vec<u8>,
    /// The system under test closed, or stayed silent.
    pub(crate) closed: bool,
    /// `None`: there was no handshake.
    pub(crate) tls: Option<bool>,
    /// Whether a client did its task.
    pub(crate) client: Option<bool>,
    /// Everything that a client's program might show.
    pub(crate) shown: Vec<u8>,
    /// Whether a second connection was requested.
    pub(crate) second_listener: Option<bool>,
    /// Whether a server served another client afterwards.
    pub(crate) alive: Option<bool>,
    pub(crate) seconds: f64,
    /// The most bytes from the peer that were held at once.
    pub(crate) held: usize,
    /// Whether the row's own test found its notes to be true.
    pub(crate) notes: Option<bool>,
}

/// One piece of output.
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    pub(crate) under_tls: bool,
}

/// Readable, for the report of a failed row.
impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.output {
            writeln!(
                f,
                "{} {}",
                if piece.under_tls { "tls  " } else { "plain" },
                piece.bytes.escape_ascii()
            )?;
        }
        writeln!(f, "marks {:?}, closed {}, TLS {:?}", self.marks, self.closed, self.tls)?;
        writeln!(f, "client {:?}, alive {:?}, held {}", self.client, self.alive, self.held)?;
        write!(f, "shown:\n{}", String::from_utf8_lossy(&self.shown))
    }
}

/// Checks a run against the row.
///
/// # Errors
/// The predicate that does not hold.
pub(crate) fn judge(row: &Row, seen: &Observed) -> Result<(), String> {
    for alternatives in &row.must {
        if !alternatives.iter().any(|predicate| seen.holds(predicate, row)) {
            return Err(format!("none of these holds: {alternatives:?}"));
        }
    }
    match row
        .must_not
        .iter()
        .find(|predicate| !matches!(predicate, Predicate::Note(_)) && seen.holds(predicate, row))
    {
        Some(predicate) => Err(format!("holds: {predicate:?}")),
        None => Ok(()),
    }
}

impl Observed {
    /// The output with this name.
    ///
    /// # Panics
    /// If no mark has this name.
    pub(crate) fn data(&self, set: &str) -> Vec<u8> {
        let of = |wanted: fn(&Piece) -> bool| {
            let pieces = self.output.iter().filter(|piece| wanted(piece));
            pieces.map(|piece| piece.bytes.as_slice()).collect::<Vec<_>>().concat()
        };
        match set {
            "plain" => of(|piece| !piece.under_tls),
            "tls" => of(|piece| piece.under_tls),
            "any" => of(|_| true),
            "@commands" => self.commands.clone(),
            "@message" => self.message.clone(),
            "@asked" => self.asked.clone(),
            "@identities" => self.identities.clone(),
            "@deliveries" => self.deliveries.clone(),
            name => {
                // Up to the next mark; empty if the script ended before this mark.
                let Some(at) = self.marks.iter().position(|(mark, _)| mark == name) else {
                    return Vec::new();
                };
                let all = of(|_| true);
                let end = self.marks.get(at + 1).map_or(all.len(), |(_, end)| *end);
                all[self.marks[at].1.min(end)..end].to_vec()
            }
        }
    }

    fn holds(&self, predicate: &Predicate, row: &Row) -> bool {
        match predicate {
            Predicate::Secret(set) => holds_secret(&self.data(set), &row.config.password),
            Predicate::AuthPlain => has_command(&self.data("plain"), &["LOGIN", "AUTHENTICATE", "AUTH"]),
            Predicate::Command(set, verbs) => has_command(&self.data(set), verbs),
            Predicate::Matches(set, pattern) => pattern.is_match(&self.data(set)),
            Predicate::Count { set, than, number, pattern } => {
                let count = pattern.find_iter(&self.data(set)).count();
                let found = count.cmp(number);
                found == *than || found.is_eq()
            }
            Predicate::Closed => self.closed,
            Predicate::TlsOk => self.tls == Some(true),
            Predicate::TlsFailed => self.tls == Some(false),
            Predicate::Reached(mark) => self.marks.iter().any(|(name, _)| name == mark),
            Predicate::ClientOk => self.client.unwrap(),
            Predicate::ClientFails => !self.client.unwrap(),
            Predicate::Shows(pattern) => pattern.is_match(&self.shown),
            Predicate::ShowsNot(pattern) => !pattern.is_match(&self.shown),
            Predicate::SecondListener => self.second_listener.unwrap(),
            Predicate::Alive => self.alive.unwrap(),
            Predicate::Elapsed(seconds) => self.seconds <= *seconds,
            Predicate::Memory(mebibytes) => (self.held as u64) <= mebibytes << 20,
            Predicate::Note(note) => {
                self.notes.unwrap_or_else(|| panic!("{}: no test checks the note {note}", row.id))
            }
        }
    }
}

/// Whether a line begins with one of these commands, with or without a tag.
fn has_command(output: &[u8], verbs: &[impl AsRef<str>]) -> bool {
    output.split(|&byte| byte == b'\n').any(|line| {
        let line = String::from_utf8_lossy(line).to_ascii_uppercase();
        let mut words = line.split_ascii_whitespace().take(2);
        words.any(|word| verbs.iter().any(|verb| verb.as_ref() == word))
    })
}

/// Whether a secret is in the output: as is, or inside base64 at any alignment.
pub(crate) fn holds_secret(output: &[u8], secret: &str) -> bool {
    let contains = |needle: &[u8]| output.windows(needle.len()).any(|window| window == needle);
    contains(secret.as_bytes())
        || (0..3).any(|before| {
            // The first and last characters depend on the neighbouring bytes.
            let encoded = base64(&[&vec![0; before][..], secret.as_bytes()].concat());
            let (first, behind) =
                (before.div_ceil(3) * 4, if (before + secret.len()).is_multiple_of(3) { 0 } else { 4 });
            let inner = encoded.get(first..encoded.len() - behind).unwrap_or_default();
            inner.len() > 7 && contains(inner.as_bytes())
        })
}

/// Encodes base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    String::from_utf8(sasl::encode_base64(bytes).expose().clone()).unwrap()
}

#[test]
fn finds_a_secret_at_every_alignment() {
    for before in ["", "x", "xy", "xyz", "\0alice\0", "user=alice\u{1}auth=Bearer "] {
        let hidden = base64(format!("{before}S3cr3t-pw-7f9!\u{1}").as_bytes());
        assert!(holds_secret(format!("a AUTH {hidden}\r\n").as_bytes(), "S3cr3t-pw-7f9!"), "{before}");
    }
    assert!(holds_secret(b"a LOGIN alice S3cr3t-pw-7f9!\r\n", "S3cr3t-pw-7f9!"));
    assert!(!holds_secret(b"a LOGIN alice {14}\r\n", "S3cr3t-pw-7f9!"));
}
