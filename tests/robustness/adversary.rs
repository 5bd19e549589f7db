//! Clients against a malicious server that knows its protocol: it follows the client's commands, answers correctly
//! for a while, and then refuses, lies, answers twice, early, in another order or in part, injects and disconnects.
//!
//! Each of its replies names the command that it belongs to and the channel on which it was sent. This shows whether
//! a client takes a reply for the answer to another command, or for one of another channel.

use std::collections::BTreeSet;
use std::sync::Arc;

use mailwire_tests::invariants::{self, Side, Terms};
use mailwire_tests::play::{Choices, Delivery, Ending, Entry, FirstChannel, Player, Record, Trace, converse};
use mailwire_tests::{imap_client, smtp_client};
use proptest::prelude::*;
use proto_mail::Limits;
use proto_smtp::Dialect;

use crate::imap_peer::ImapPeer;
use crate::smtp_peer::SmtpPeer;

/// A server that follows a conversation.
pub(crate) trait Peer {
    /// The client has sent more.
    fn hear(&mut self, bytes: &[u8]);
    /// TLS is in place: the earlier conversation is discarded.
    fn secured(&mut self);
    /// The next correct reply; `None` if none is due.
    fn right(&mut self) -> Option<Vec<u8>>;
    /// An incorrect reply, one of many.
    fn wrong(&mut self, how: Wrong, which: usize) -> Vec<u8>;
}

/// The kinds of incorrect replies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wrong {
    /// A different answer.
    Answer,
    /// Not an answer.
    Nonsense,
    /// The answer to another command first.
    Order,
}

/// What the server does in one turn.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Move {
    Right,
    Wrong(Wrong, usize),
    /// The correct reply, and an incorrect one in the same segment.
    Glued(Wrong, usize),
    /// A part of the correct reply; the rest comes in the next turn.
    Halved(usize),
    /// The server disconnects.
    Away,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let wrong = || prop::sample::select(vec![Wrong::Answer, Wrong::Nonsense, Wrong::Order]);
    let one = prop_oneof![
        24 => Just(Move::Right),
        3 => (wrong(), 0..100usize).prop_map(|(how, which)| Move::Wrong(how, which)),
        1 => (wrong(), 0..100usize).prop_map(|(how, which)| Move::Glued(how, which)),
        3 => (0..100usize).prop_map(Move::Halved),
        1 => Just(Move::Away),
    ];
    proptest::collection::vec(one, 0..40)
}

/// The application's choices: `1` to `?`, so that it nearly always does something.
fn choices() -> impl Strategy<Value = Vec<u8>> {
    // STARTTLS and authentication come first half of the time, since most states are behind them.
    let first = || prop_oneof![Just(b'2'), Just(b'1'), b'1'..b'@'];
    (first(), first(), proptest::collection::vec(b'0'..b'@', 0..24))
        .prop_map(|(first, second, rest)| [&[first, second], rest.as_slice()].concat())
}

/// Plays the client against the server.
fn conversation(mut player: impl Player, mut peer: impl Peer, moves: &[Move], by_byte: bool) -> Record {
    let mut moves = moves.iter();
    // The rest of a reply in parts, and of a segment that is sent byte by byte.
    let (mut rest, mut segment) = (Vec::new(), Vec::new().into_iter());
    let mut turns = 0;
    let next = |new: &[Entry]| {
        for entry in new {
            match entry {
                Entry::Sent(bytes, _) => peer.hear(bytes),
                Entry::TlsEstablished => {
                    peer.secured();
                    rest.clear();
                    segment = Vec::new().into_iter();
                }
                _ => {}
            }
        }
        if let Some(byte) = segment.next() {
            return Some(vec![byte]);
        }
        turns += 1;
        let mut bytes = std::mem::take(&mut rest);
        let mut awaits = true;
        while bytes.is_empty() && awaits && turns < 300 {
            let step = moves.next();
            awaits = step.is_some();
            match step.copied().unwrap_or(Move::Right) {
                Move::Right => bytes.extend(peer.right().unwrap_or_default()),
                Move::Wrong(how, which) => bytes.extend(peer.wrong(how, which)),
                Move::Glued(how, which) => {
                    bytes.extend(peer.right().unwrap_or_default());
                    bytes.extend(peer.wrong(how, which));
                }
                Move::Halved(at) => {
                    bytes.extend(peer.right().unwrap_or_default());
                    rest = bytes.split_off(at.min(bytes.len()));
                }
                Move::Away => return None,
            }
            awaits |= !bytes.is_empty() || !rest.is_empty();
            if bytes.is_empty() && !rest.is_empty() {
                bytes = std::mem::take(&mut rest);
            }
        }
        if by_byte {
            segment = bytes.into_iter();
            return segment.next().map(|byte| vec![byte]);
        }
        (!bytes.is_empty()).then_some(bytes)
    };
    player.deliver(if by_byte { Delivery::Owned } else { Delivery::Borrowed });
    converse(player, next, Ending::Closed, if by_byte { Trace::None } else { Trace::Taken })
}

/// No event after TLS stems from bytes before it.
fn nothing_of_the_first_channel(record: &Record) -> Result<(), String> {
    let of_it = |entry: &&Entry| matches!(entry, Entry::Event(text) if text.contains("on-first"));
    record.under_tls().entries.iter().find(of_it).map_or(Ok(()), |entry| Err(format!("under TLS: {entry:?}")))
}

/// The word after `mark`.
fn word<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    let (_, behind) = text.split_once(mark)?;
    behind.split(|char: char| !char.is_ascii_alphanumeric()).next()
}

/// The commands that an event of an SMTP client can answer; `None`: any.
fn answered(event: &str) -> Option<&'static [&'static str]> {
    const STEPS: [(&str, &[&str]); 16] = [
        ("Greeting", &["GREETING"]),
        ("Hello", &["EHLO", "HELO"]),
        ("StartTls", &["STARTTLS"]),
        ("Auth", &["AUTH"]),
        ("Mail", &["MAIL"]),
        ("Rcpt", &["RCPT"]),
        ("Data", &["DATA", "MESSAGE", "BDAT"]),
        ("Chunk", &["BDAT"]),
        ("Message", &["MESSAGE", "BDAT"]),
        ("Reset", &["RSET"]),
        ("Noop", &["NOOP"]),
        ("Vrfy", &["VRFY"]),
        ("Help", &["HELP"]),
        ("Quit", &["QUIT"]),
        ("SendData", &["DATA"]),
        ("Delivered", &["MESSAGE", "BDAT"]),
    ];
    let name =
        word(event, "Accepted(").or_else(|| word(event, "Rejected(")).filter(|name| *name != "Response");
    let name = name.or_else(|| event.split('(').next())?;
    STEPS.iter().find(|(step, _)| *step == name).map(|(_, commands)| *commands)
}

/// An SMTP client takes each reply for the answer to its own command.
fn each_reply_answers_its_command(record: &Record) -> Result<(), String> {
    for entry in &record.entries {
        let Entry::Event(event) = entry else { continue };
        let (Some(to), Some(commands)) = (word(event, "to-"), answered(event)) else { continue };
        if !commands.contains(&to) {
            return Err(format!("a reply to {to} was taken for one to {commands:?}: {event}"));
        }
    }
    Ok(())
}

/// Every completion in an IMAP client belongs to a command that it started, occurs once, and has its tag.
fn each_end_has_its_command(record: &Record) -> Result<(), String> {
    let (mut said, mut ended): (Vec<u8>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
    for entry in &record.entries {
        match entry {
            Entry::Sent(bytes, _) => said.extend_from_slice(bytes),
            Entry::TlsEstablished => {
                said.clear();
                ended.clear();
            }
            Entry::Event(event) => {
                let Some(id) = word(event, "id: CommandId(") else { continue };
                let tag = word(event, "to-");
                if tag.is_some_and(|tag| tag != id) {
                    return Err(format!("a response to another command: {event}"));
                }
                let line = format!("{id} ");
                let begun = said.split(|&byte| byte == b'\n').any(|said| said.starts_with(line.as_bytes()));
                if !begun || !ended.insert(id.to_owned()) {
                    return Err(format!("the command was not given, or has already completed: {event}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn terms(side: Side, first: FirstChannel, danger: bool) -> Terms {
    let limits = Limits::default();
    let secure = first == FirstChannel::Secure;
    Terms { side, secure, danger, may_hold: limits.line.max(limits.frame) + 2, may_put_out: 8 * 1024 }
}

fn holds(record: &Record, statements: &[Result<(), String>]) {
    for statement in statements {
        assert_eq!(*statement, Ok(()), "{record:#?}");
    }
}

/// How often a client completed STARTTLS and authenticated after it.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    upgrades: usize,
    proofs: usize,
    failures: usize,
}

impl Reached {
    fn count(&mut self, record: &Record) {
        self.upgrades += usize::from(record.secured_at.is_some());
        self.proofs += usize::from(record.entries.contains(&Entry::Authenticated));
        self.failures += usize::from(record.entries.iter().any(|entry| matches!(entry, Entry::Failed(_))));
    }
}

/// Plays this many conversations, and returns how far they came.
fn campaign(play: impl Fn(&[Move], &[u8], bool) -> Record) -> Reached {
    let reached = std::cell::RefCell::new(Reached::default());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) };
    let mut runner = prop::test_runner::TestRunner::new(config);
    let outcome = runner.run(&(moves(), choices(), any::<bool>()), |(moves, choices, by_byte)| {
        reached.borrow_mut().count(&play(&moves, &choices, by_byte));
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    reached.into_inner()
}

fn smtp(dialect: Dialect, first: FirstChannel, danger: bool) -> Reached {
    campaign(|moves, choices, by_byte| {
        let config = proto_smtp::Config::default().dialect(dialect);
        let config = Arc::new(if danger { config.danger_cleartext() } else { config });
        let choices_after_tls = Choices::new(choices.get(1..).unwrap_or_default());
        let client = smtp_client::TestClient::new(config, first, Choices::new(choices), choices_after_tls);
        let record = conversation(client, SmtpPeer::new(dialect), moves, by_byte);
        let invariant = invariants::check(&record, &terms(Side::SmtpClient, first, danger));
        holds(&record, &[invariant, nothing_of_the_first_channel(&record)]);
        if !by_byte {
            // Otherwise an incorrect reply may come after the next command and be its answer.
            holds(&record, &[each_reply_answers_its_command(&record)]);
        }
        record
    })
}

fn imap(first: FirstChannel, danger: bool) -> Reached {
    campaign(|moves, choices, by_byte| {
        let config = proto_imap::Config::default();
        let config = Arc::new(if danger { config.danger_cleartext() } else { config });
        let choices_after_tls = Choices::new(choices.get(1..).unwrap_or_default());
        let client = imap_client::TestClient::new(config, first, Choices::new(choices), choices_after_tls);
        let record = conversation(client, ImapPeer::new(), moves, by_byte);
        let invariant = invariants::check(&record, &terms(Side::ImapClient, first, danger));
        holds(
            &record,
            &[invariant, nothing_of_the_first_channel(&record), each_end_has_its_command(&record)],
        );
        record
    })
}

#[test]
fn smtp_client_matches_replies_of_a_malicious_server() {
    for dialect in [Dialect::Smtp, Dialect::Lmtp] {
        let clear = smtp(dialect, FirstChannel::Cleartext, false);
        assert!(clear.upgrades > 40 && clear.proofs > 3 && clear.failures > 60, "{clear:?}");
        let under_tls = smtp(dialect, FirstChannel::Secure, false);
        assert!(under_tls.proofs > 10 && under_tls.failures > 60, "{under_tls:?}");
        let danger = smtp(dialect, FirstChannel::Cleartext, true);
        assert!(danger.upgrades > 40 && danger.proofs > 10, "{danger:?}");
    }
}

#[test]
fn imap_client_matches_replies_of_a_malicious_server() {
    let clear = imap(FirstChannel::Cleartext, false);
    assert!(clear.upgrades > 40 && clear.proofs > 3 && clear.failures > 60, "{clear:?}");
    let under_tls = imap(FirstChannel::Secure, false);
    assert!(under_tls.proofs > 10 && under_tls.failures > 60, "{under_tls:?}");
    let danger = imap(FirstChannel::Cleartext, true);
    assert!(danger.upgrades > 40 && danger.proofs > 10, "{danger:?}");
}
