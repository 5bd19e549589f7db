//! The invariants of every conversation, whatever the peer sends and the application wants.
//!
//! This module reads records and knows just enough of each protocol to count lines. Tests show that each invariant
//! catches a record that breaks it.

use std::collections::BTreeMap;

use proto_mail::{Limits, sasl};

use crate::play::{Entry, Record};

/// The password of clients under test. It occurs nowhere else.
pub const PASSWORD: &str = "hunter2-correct-horse";
/// Their OAuth token.
pub const TOKEN: &str = "ya29-battery-staple";

/// A machine's protocol and role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are self-explanatory")]
pub enum Side {
    ImapClient,
    ImapServer,
    SmtpClient,
    SmtpServer,
}

/// What is known of a session before it begins.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The machine's protocol and role.
    pub side: Side,
    /// Whether it begins under TLS.
    pub secure: bool,
    /// Whether the application has allowed credentials on cleartext.
    pub danger: bool,
    /// The most bytes from the peer that may be held unread.
    pub may_hold: usize,
    /// The most bytes that one step may output.
    pub may_put_out: usize,
}

/// The number of invariants for each side.
pub const INVARIANTS: usize = 8;

/// Checks a record against every invariant.
///
/// # Errors
/// The broken invariant, and what broke it.
pub fn check(record: &Record, terms: &Terms) -> Result<(), String> {
    contracts_are_kept(record)?;
    silent_after_failure(record)?;
    nothing_crosses(record)?;
    kept_in_bounds(record, terms)?;
    no_secret_in_clear(record, terms)?;
    nothing_before_proof(record, terms)?;
    guesses_are_counted(record)?;
    match terms.side {
        Side::ImapClient | Side::SmtpClient => told_what_was_given(record, terms.side),
        Side::ImapServer | Side::SmtpServer => answered_what_was_asked(record, terms.side),
    }
}

/// Each call does what its documentation says: a refused call outputs nothing, a copy of an event equals the event.
fn contracts_are_kept(record: &Record) -> Result<(), String> {
    let broken = record.entries.iter().find(|entry| matches!(entry, Entry::Broken(_)));
    broken.map_or(Ok(()), |entry| Err(format!("{entry:?}")))
}

/// After a fatal error the machine sends nothing, does nothing and keeps its error.
fn silent_after_failure(record: &Record) -> Result<(), String> {
    let failed = record.entries.iter().position(|entry| matches!(entry, Entry::Failed(_)));
    let after = failed.map(|at| record.entries.iter().skip(at + 1)).into_iter().flatten().next();
    after.map_or(Ok(()), |entry| Err(format!("after a failure: {entry:?}")))
}

/// Between the upgrade and the first byte received under TLS there is no event.
fn nothing_crosses(record: &Record) -> Result<(), String> {
    let under_tls = record.under_tls();
    let mut before_hearing =
        under_tls.entries.iter().take_while(|entry| !matches!(entry, Entry::Received(_)));
    let early = before_hearing
        .find(|entry| matches!(entry, Entry::Event(_) | Entry::Piece(_) | Entry::CrossedIntoTls(_)));
    early.map_or(Ok(()), |entry| Err(format!("received across the TLS boundary: {entry:?}")))
}

/// Buffers stay within the limits, and a machine that owes no answer reads on.
fn kept_in_bounds(record: &Record, terms: &Terms) -> Result<(), String> {
    if record.held > terms.may_hold {
        return Err(format!("{} bytes are unread, more than the limit of {}", record.held, terms.may_hold));
    }
    if record.put_out > terms.may_put_out {
        return Err(format!(
            "{} bytes were output at once, more than the limit of {}",
            record.put_out, terms.may_put_out
        ));
    }
    if record.stuck {
        return Err("neither closed nor wants to read, and no answer is owed".to_owned());
    }
    Ok(())
}

/// Whether a peer sends one of the secrets, in any form. The peer cannot know them, and if it guesses one, the result
/// is meaningless. Its bytes are shown without control characters, which may separate the letters of a secret.
#[must_use]
pub fn is_known(bytes: &[u8]) -> bool {
    let mut plain = String::from_utf8_lossy(bytes).into_owned();
    plain.retain(|character| !character.is_control());
    forms(PASSWORD)
        .chain(forms(TOKEN))
        .any(|form| contains(bytes, &form) || contains(plain.as_bytes(), &form))
}

/// No byte derived from a client's secret leaves in cleartext, and none is ever shown.
fn no_secret_in_clear(record: &Record, terms: &Terms) -> Result<(), String> {
    if matches!(terms.side, Side::ImapServer | Side::SmtpServer) {
        // A server's secrets are its clients'. It may do nothing with them before TLS: see `RequiresAuth`.
        return Ok(());
    }
    let shown = |entry: &&Entry| matches!(entry, Entry::Event(text) | Entry::DebugOutput(text) if text.contains(PASSWORD) || text.contains(TOKEN));
    if let Some(entry) = record.entries.iter().find(shown) {
        return Err(format!("a secret is shown: {entry:?}"));
    }
    if [PASSWORD, TOKEN].iter().any(|secret| record.shown.contains(secret)) {
        return Err(format!("a secret is shown: {}", record.shown));
    }
    if let Some(form) = forms(PASSWORD).chain(forms(TOKEN)).find(|form| contains(&record.traced, form)) {
        return Err(format!("a secret is traced: {}", String::from_utf8_lossy(&form)));
    }
    if terms.secure || terms.danger {
        return Ok(());
    }
    let mut clear = Vec::new();
    for entry in record.entries.iter().take_while(|entry| **entry != Entry::TlsEstablished) {
        match entry {
            Entry::Sent(_, true) => return Err("what the machine calls secret left in cleartext".to_owned()),
            Entry::Sent(bytes, false) => clear.extend_from_slice(bytes),
            Entry::RequiresTls(what) => return Err(format!("{what} on cleartext")),
            _ => {}
        }
    }
    let found = forms(PASSWORD).chain(forms(TOKEN)).find(|form| contains(&clear, form));
    found.map_or(Ok(()), |form| Err(format!("left in cleartext: {}", String::from_utf8_lossy(&form))))
}

/// How a secret looks in plain text and in base64, at each alignment.
fn forms(secret: &str) -> impl Iterator<Item = Vec<u8>> {
    let encoded = (0..3).map(move |before| {
        let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
        let text = sasl::encode_base64(&bytes).expose().clone();
        // The first and last groups depend on the neighbouring bytes.
        text.get(4..text.len().saturating_sub(4)).unwrap_or_default().to_vec()
    });
    std::iter::once(secret.as_bytes().to_vec()).chain(encoded)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

/// What needs an identity happens only after one was proved on this channel, by an offered mechanism.
fn nothing_before_proof(record: &Record, terms: &Terms) -> Result<(), String> {
    let (mut proved, mut offered) = (false, 0);
    for entry in &record.entries {
        match entry {
            Entry::TlsEstablished => (proved, offered) = (false, 0),
            Entry::IdentityReset => proved = false,
            Entry::CommandGiven("AUTHENTICATE", times) => offered += times,
            Entry::Authenticated if matches!(terms.side, Side::ImapClient | Side::SmtpClient) => {
                offered = offered.checked_sub(1).ok_or("an identity was accepted that was not offered")?;
            }
            Entry::Authenticated => proved = true,
            Entry::RequiresAuth(what) if !proved => return Err(format!("{what} before authentication")),
            _ => {}
        }
    }
    Ok(())
}

/// A server rejects at most as many credentials as its limit allows, however the exchanges ended.
fn guesses_are_counted(record: &Record) -> Result<(), String> {
    let may = Limits::default().auth_attempts as usize;
    let channels = record.entries.split(|entry| *entry == Entry::TlsEstablished);
    let refused =
        channels.map(|entries| entries.iter().filter(|entry| **entry == Entry::AuthRejected).count()).max();
    match refused {
        Some(times) if times > may => Err(format!("{times} guesses, and {may} are allowed")),
        _ => Ok(()),
    }
}

/// At any time a server has given at most as many answers as it received commands.
fn answered_what_was_asked(record: &Record, side: Side) -> Result<(), String> {
    // SMTP servers send the greeting and 421 unasked.
    let unasked = if side == Side::SmtpServer { 2 } else { 0 };
    let (mut heard, mut said, mut line) = (unasked, 0, Vec::new());
    for entry in &record.entries {
        match entry {
            Entry::Received(more) | Entry::OwesReplies(more) => heard += more,
            Entry::Sent(bytes, _) => line.extend_from_slice(bytes),
            _ => {}
        }
        while let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            let rest = line.split_off(end + 1);
            said += usize::from(is_final(&line, side));
            line = rest;
        }
        if said > heard {
            return Err(format!("{said} answers to {heard} lines"));
        }
    }
    Ok(())
}

fn is_final(line: &[u8], side: Side) -> bool {
    match side {
        Side::SmtpServer => line.get(3) == Some(&b' '),
        _ => !line.starts_with(b"* ") && !line.starts_with(b"+ ") && line.contains(&b' '),
    }
}

/// A client sends only commands that its application gave, and the few that the machine sends itself.
fn told_what_was_given(record: &Record, side: Side) -> Result<(), String> {
    let mut allowed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sessions = 1;
    for entry in &record.entries {
        match entry {
            Entry::CommandGiven(verb, lines) => {
                *allowed.entry(verb).or_default() += lines;
                // After it the client sends a greeting, or asks for the capabilities, again.
                sessions += if ["UNAUTHENTICATE", "XCLIENT"].contains(verb) { *lines } else { 0 };
            }
            Entry::TlsEstablished => sessions += 1,
            // Capabilities may change after authentication.
            Entry::Authenticated if side == Side::ImapClient => {
                *allowed.entry("CAPABILITY").or_default() += 1
            }
            _ => {}
        }
    }
    for own in ["CAPABILITY", "EHLO", "HELO", "LHLO"] {
        *allowed.entry(own).or_default() += sessions;
    }
    let output = record.output();
    let (mut said, mut others): (BTreeMap<&str, usize>, usize) = (BTreeMap::new(), 0);
    let mut rest = output.as_slice();
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at(end);
        // A chunk is preceded by its size, and may end anywhere.
        let chunk = chunk_size(line, side).unwrap_or_default();
        rest = behind.get(chunk..).unwrap_or_default();
        match verb(line, side) {
            Some(verb) => *said.entry(verb).or_default() += 1,
            None if is_contents(line) || is_rest_of_login(line) => {}
            None if is_exchange(line) => others += 1,
            None => return Err(format!("no command was given for {:?}", String::from_utf8_lossy(line))),
        }
    }
    let heard =
        record.entries.iter().map(|entry| if let Entry::Received(lines) = entry { *lines } else { 0 });
    if others > heard.sum() {
        return Err(format!("{others} answers to fewer challenges"));
    }
    let more = said.into_iter().find(|(verb, times)| *times > allowed.get(verb).copied().unwrap_or_default());
    more.map_or(Ok(()), |(verb, times)| Err(format!("{verb} was sent {times} times, more often than given")))
}

/// The number of bytes that follow a BDAT command.
fn chunk_size(line: &[u8], side: Side) -> Option<usize> {
    let size = line.strip_prefix(b"BDAT ").filter(|_| side == Side::SmtpClient)?;
    let digits = size.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The commands that a client can send.
#[rustfmt::skip]
const VERBS: [&str; 44] = [
    "APPEND", "AUTH", "AUTHENTICATE", "BDAT", "BURL", "CAPABILITY", "CLOSE", "COPY", "CREATE", "DATA", "DONE", "EHLO",
    "ENABLE", "ETRN", "EXAMINE", "EXPN", "EXPUNGE", "FETCH", "HELO", "HELP", "ID", "IDLE", "LHLO", "LIST", "LOGIN",
    "LOGOUT", "MAIL", "MOVE", "NAMESPACE", "NOOP", "QUIT", "RCPT", "RSET", "SEARCH", "SELECT", "STARTTLS", "STATUS",
    "STORE", "UID", "UNAUTHENTICATE", "UNSELECT", "VRFY", "XCLIENT", "XFORWARD",
];

/// The command that a line begins with; all ways to authenticate count as one.
fn verb(line: &[u8], side: Side) -> Option<&'static str> {
    let mut words = line.split(|byte| b" \r\n".contains(byte));
    let mut word = words.next()?;
    let tag = word.strip_prefix(b"M").filter(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit));
    if side == Side::ImapClient && tag.is_some() {
        word = words.next()?;
    } else if side == Side::ImapClient && word != b"DONE" {
        return None;
    }
    let verb = VERBS.into_iter().find(|verb| verb.as_bytes() == word)?;
    Some(if ["AUTH", "LOGIN"].contains(&verb) { "AUTHENTICATE" } else { verb })
}

/// Whether a line belongs to the messages that the applications under test send: `x`, `é`, dots, NUL, and line ends.
fn is_contents(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.iter().all(|byte| b"x.\0\r\xc3\xa9".contains(byte))
}

/// Whether a line continues LOGIN after a literal's announcement.
fn is_rest_of_login(line: &[u8]) -> bool {
    let password = format!(" \"{PASSWORD}\"\r\n");
    line.strip_suffix(password.as_bytes()).is_some_and(is_contents)
}

/// Whether a line can be a client's part of a SASL exchange.
fn is_exchange(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    line == b"*" || line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
}

#[cfg(test)]
mod tests {
    use proto_mail::{Error, PeerError, SendBuffer};

    use super::*;

    const TERMS: Terms =
        Terms { side: Side::ImapClient, secure: false, danger: false, may_hold: 10, may_put_out: 100 };

    fn told(bytes: &[u8]) -> Entry {
        Entry::Sent(bytes.to_vec(), false)
    }

    fn event() -> Entry {
        Entry::Event("something".to_owned())
    }

    /// The invariant that these entries break.
    fn broken(entries: &[Entry], side: Side) -> String {
        let record = Record { entries: entries.to_vec(), ..Record::default() };
        check(&record, &Terms { side, ..TERMS }).unwrap_err()
    }

    #[track_caller]
    fn keeps(entries: &[Entry], side: Side) {
        let record = Record { entries: entries.to_vec(), ..Record::default() };
        check(&record, &Terms { side, ..TERMS }).unwrap();
    }

    #[test]
    fn refused_calls_output_nothing() {
        let misuse = || Err::<(), _>(Error::from(proto_mail::Misuse::WrongState));
        let (mut record, mut tx) = (Record::default(), SendBuffer::new());
        record.tried("x", &mut tx, |_| misuse());
        check(&record, &TERMS).unwrap();
        record.tried("x", &mut tx, |tx| {
            tx.put(b"* OK");
            misuse()
        });
        assert!(check(&record, &TERMS).unwrap_err().contains("x was refused and changed the output"));
    }

    #[test]
    fn owned_events_equal_borrowed_events() {
        let mut record = Record::default();
        record.copied("\"Done\"", &"Done");
        check(&record, &TERMS).unwrap();
        record.copied("\"Done\"", &"Idle");
        assert!(check(&record, &TERMS).unwrap_err().contains("the copy of \"Done\" is \"Idle\""));
    }

    #[test]
    fn a_failed_machine_stays_silent() {
        let failed = Entry::Failed(Error::from(PeerError::UnexpectedReply));
        keeps(&[told(b"* BYE\r\n"), failed.clone()], Side::ImapServer);
        assert!(broken(&[failed.clone(), told(b"* OK\r\n")], Side::ImapServer).contains("after a failure"));
        assert!(broken(&[failed, event()], Side::ImapServer).contains("after a failure"));
    }

    #[test]
    fn no_input_crosses_into_tls() {
        keeps(
            &[Entry::TlsEstablished, told(b"M1 CAPABILITY\r\n"), Entry::Received(1), event()],
            Side::ImapClient,
        );
        assert!(
            broken(&[Entry::TlsEstablished, event(), Entry::Received(1)], Side::ImapClient)
                .contains("across the TLS boundary")
        );
    }

    #[test]
    fn buffers_are_bounded() {
        let record = |held, put_out, stuck| Record { held, put_out, stuck, ..Record::default() };
        check(&record(10, 100, false), &TERMS).unwrap();
        assert!(check(&record(11, 0, false), &TERMS).unwrap_err().contains("unread"));
        assert!(check(&record(0, 101, false), &TERMS).unwrap_err().contains("output at once"));
        assert!(check(&record(0, 0, true), &TERMS).unwrap_err().contains("wants to read"));
    }

    #[test]
    fn no_secret_is_sent_on_cleartext() {
        let login = told(format!("M1 LOGIN x {PASSWORD}\r\n").as_bytes());
        let given = Entry::CommandGiven("AUTHENTICATE", 1);
        keeps(&[Entry::TlsEstablished, given.clone(), login.clone()], Side::ImapClient);
        assert!(broken(&[given.clone(), login], Side::ImapClient).contains("left in cleartext"));
        for before in ["", "\0", "\0a", "\0ab"] {
            let message = sasl::encode_base64(format!("{before}\0{PASSWORD}").as_bytes());
            let message = [message.expose().as_slice(), b"\r\n"].concat();
            let found = broken(&[Entry::Received(1), given.clone(), told(&message)], Side::ImapClient);
            assert!(found.contains("left in cleartext"), "{found}");
        }
        let secret = Entry::Sent(b"x\r\n".to_vec(), true);
        assert!(broken(&[given, secret], Side::ImapClient).contains("calls secret"));
        assert!(broken(&[Entry::RequiresTls("MAIL")], Side::SmtpClient).contains("on cleartext"));
        let shown = Entry::Event(format!("Credentials {{ password: {PASSWORD} }}"));
        assert!(
            broken(&[Entry::TlsEstablished, Entry::Received(1), shown], Side::ImapClient)
                .contains("is shown")
        );
        let record = Record { shown: format!("Client {{ token: {TOKEN} }}"), ..Record::default() };
        assert!(check(&record, &TERMS).unwrap_err().contains("is shown"));
        let message = sasl::encode_base64(format!("\0a\0{PASSWORD}").as_bytes()).expose().clone();
        let record =
            Record { traced: [b"M1 AUTHENTICATE PLAIN ", message.as_slice()].concat(), ..Record::default() };
        assert!(check(&record, &TERMS).unwrap_err().contains("is traced"));
    }

    #[test]
    fn requires_authentication_first() {
        let select = Entry::RequiresAuth("SELECT");
        keeps(&[Entry::Authenticated, select.clone()], Side::ImapServer);
        assert!(broken(std::slice::from_ref(&select), Side::ImapServer).contains("before authentication"));
        assert!(
            broken(&[Entry::Authenticated, Entry::TlsEstablished, select], Side::ImapServer)
                .contains("before")
        );
        keeps(&[Entry::CommandGiven("AUTHENTICATE", 1), Entry::Authenticated], Side::ImapClient);
        assert!(broken(&[Entry::Authenticated], Side::ImapClient).contains("not offered"));
    }

    #[test]
    fn limits_failed_logins() {
        let guesses = |times| vec![Entry::AuthRejected; times];
        keeps(&guesses(3), Side::ImapServer);
        keeps(&[guesses(3), vec![Entry::TlsEstablished], guesses(3)].concat(), Side::SmtpServer);
        assert!(broken(&guesses(4), Side::SmtpServer).contains("4 guesses"));
    }

    #[test]
    fn a_client_sends_only_given_commands() {
        let given = Entry::CommandGiven("NOOP", 1);
        keeps(&[given.clone(), told(b"M1 CAPABILITY\r\nM2 NOOP\r\n")], Side::ImapClient);
        assert!(
            broken(&[given.clone(), told(b"M2 NOOP\r\nM3 NOOP\r\n")], Side::ImapClient)
                .contains("more often")
        );
        assert!(broken(&[given, told(b"NOOP\r\nQUIT\r\n")], Side::SmtpClient).contains("QUIT"));
        assert!(broken(&[told(b"M1 X-EVIL\r\n")], Side::ImapClient).contains("no command was given"));
        assert!(broken(&[told(b"AQID\r\n")], Side::SmtpClient).contains("challenges"));
    }

    #[test]
    fn a_server_answers_each_command_once() {
        keeps(&[Entry::Received(1), told(b"* OK hi\r\na OK done\r\n")], Side::ImapServer);
        assert!(
            broken(&[Entry::Received(1), told(b"a OK\r\nb OK\r\n")], Side::ImapServer).contains("answers")
        );
        keeps(
            &[told(b"220 hi\r\n"), Entry::Received(1), told(b"250-x\r\n250 y\r\n421 bye\r\n")],
            Side::SmtpServer,
        );
        let twice = [told(b"220 hi\r\n"), Entry::Received(1), told(b"250 x\r\n250 y\r\n250 z\r\n")];
        assert!(broken(&twice, Side::SmtpServer).contains("answers"));
    }
}
