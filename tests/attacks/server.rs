//! Servers under attack: each row is played to the real machine with a small application, with many splits. So are
//! the families of attacks of which the rows are examples.
//!
//! This module knows the ways to run a row, and the users of the applications. There is no network: a handshake
//! succeeds unless cleartext bytes arrive in its place.

mod command_order;
mod connection;
mod echoes;
mod end_of_data;
mod failed_logins;
mod imap;
mod play;
mod refused_data;
mod smtp;

use std::sync::LazyLock;

use io_mio::{MachineMut, Protocol, ServerProtocol};
use mailwire_tests::test_user::{SALT, rejected};
use play::play;
use proto_mail::sasl::{MIN_ITERATIONS, ScramHash, ScramKeys};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthRequest, AuthVerdict, Credentials, Machine, Secret, SendBuffer, StartTlsRequest};

use crate::script::{Predicate, Row, Step, USER};
use crate::splits::Split;
use crate::verdict::judge;

/// Runs a row against its server, in every way.
///
/// # Panics
/// If the result is not what the row requires.
pub(crate) fn run(row: &Row) {
    match row.role.as_str() {
        "smtp-server" => withstand::<smtp::Exchange>(row),
        "imap-server" => withstand::<imap::Store>(row),
        role => panic!("{}: {role} is not a server", row.id),
    }
}

fn withstand<A: Application>(row: &Row) {
    let looked_over = row.must_not.iter().find(|predicate| matches!(predicate, Predicate::Note(_)));
    assert!(looked_over.is_none(), "{}: unchecked: {looked_over:?}", row.id);
    let whole = Way { split: Split::Whole, pace: Pace::AtOnce, service: Service::Submission };
    let (_, texts) = play::<A>(row, whole);
    for way in ways(row, &texts) {
        let (seen, _) = play::<A>(row, way);
        if let Err(why) = judge(row, &seen) {
            let said = seen.data("any").escape_ascii().to_string();
            let asked = String::from_utf8_lossy(&seen.asked);
            panic!("{} {}: {why}\n  {way:?}\n  said {said}\n  asked {asked:?}", row.id, row.title);
        }
    }
}

/// A server's application: well-behaved, with its users and its mail in memory.
pub(crate) trait Application: Default {
    type Protocol: ServerProtocol;

    /// The machine's configuration.
    fn config(service: Service, clock: Clock) -> <Self::Protocol as Protocol>::Config;

    /// The commands that lead to the start of a row, and the code or tag of each answer.
    fn preparation(service: Service, place: &str) -> Vec<(&'static str, &'static str)>;

    /// Shows that a server works: a command after the greeting, and its answer.
    fn sign_of_life() -> [(&'static str, &'static str); 2];

    /// Handles an event on cleartext and remembers its answer. STARTTLS requests are handled elsewhere.
    fn cleartext(
        &mut self,
        event: EventOf<'_, <Self::Protocol as Protocol>::Cleartext>,
    ) -> Option<StartTlsRequest>;

    /// Handles an event under TLS.
    fn secure(&mut self, event: EventOf<'_, <Self::Protocol as Protocol>::Secure>);

    /// Gives the answer that is owed. Returns false if there is none.
    fn answer(&mut self, machine: MachineMut<'_, Self::Protocol>, tx: &mut SendBuffer) -> bool;

    fn log(&mut self) -> &mut Log;
}

pub(crate) type EventOf<'e, M> = <M as Machine>::Event<'e>;

/// What an application received.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The requests, one per line.
    pub(crate) asked: Vec<u8>,
    /// The proved identities, one per line.
    pub(crate) identities: Vec<u8>,
    /// The accepted messages: a line with the recipients, then the bytes.
    pub(crate) deliveries: Vec<u8>,
    /// The bytes of the message that is being received.
    pub(crate) coming: Vec<u8>,
}

impl Log {
    pub(crate) fn ask(&mut self, what: &str) {
        self.asked.extend(what.as_bytes());
        self.asked.push(b'\n');
    }
}

/// The largest message that a server accepts here, in bytes.
const LARGEST: u64 = 1 << 18;

/// The password of the only user.
const PASSWORD: &str = "S3cr3t-pw-7f9!";

/// The application's decision about credentials. Accepted identities are recorded.
fn verdict(request: &AuthRequest, log: &mut Log) -> AuthVerdict {
    let (authorization, username, right) = match request.question() {
        AuthQuestion::Verify(Credentials::Password { authorization, username, password }) => {
            (authorization, username, password.expose() == PASSWORD.as_bytes())
        }
        AuthQuestion::Keys { hash: ScramHash::Sha256, username } if is_user(username) => {
            log.ask("KEYS");
            let keys = ScramKeys::from_text(KEYS.expose()).unwrap();
            return AuthVerdict::Keys(Box::new(keys));
        }
        AuthQuestion::Authorize { authorization, username } => (authorization, username, true),
        AuthQuestion::Keys { .. } => {
            log.ask("KEYS");
            return rejected(request);
        }
        _ => {
            log.ask("AUTH");
            return AuthVerdict::Reject;
        }
    };
    log.ask("AUTH");
    let own_rights = authorization.is_empty() || authorization == username;
    if !(right && own_rights && is_user(username)) {
        return AuthVerdict::Reject;
    }
    log.identities.extend(format!("{username}\n").into_bytes());
    AuthVerdict::Accept
}

/// Derived once, since that takes longer than a whole conversation.
static KEYS: LazyLock<Secret<String>> =
    LazyLock::new(|| ScramKeys::derive(ScramHash::Sha256, PASSWORD, SALT, MIN_ITERATIONS).unwrap().to_text());

/// The user, by either name.
fn is_user(name: &str) -> bool {
    name == USER || name.strip_suffix("@example.test") == Some(USER)
}

/// A server's purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Receives mail from every client.
    Exchange,
    /// Receives mail from authenticated users.
    Submission,
}

/// How long a server waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// As the RFCs require.
    Usual,
    /// 30 seconds for everything.
    Short,
}

/// When an application answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    AtOnce,
    /// After the next input, or when no more comes.
    Late,
}

/// One way of running a row.
#[derive(Debug, Clone, Copy)]
struct Way {
    split: Split,
    pace: Pace,
    service: Service,
}

/// The ways in which a row is run: whole, byte by byte, split in two at every offset, and at random; with immediate
/// and late answers; on servers that require authentication and on those that do not.
fn ways(row: &Row, texts: &[usize]) -> Vec<Way> {
    let (first, second) = if row.requires.iter().any(|what| what == "submission") {
        (Service::Submission, None)
    } else {
        (Service::Exchange, Some(Service::Submission))
    };
    let gate = row.steps.iter().any(|step| matches!(step, Step::Tls(_)));
    let flood: usize = row.steps.iter().map(flood).sum();
    let longest = texts.iter().copied().max().unwrap_or_default();
    let mut ways = Vec::new();
    for service in [Some(first), second].into_iter().flatten() {
        for pace in [Pace::AtOnce, Pace::Late] {
            let way = |split| Way { split, pace, service };
            ways.push(way(Split::Whole));
            if flood > 1 << 20 || flood == ENDLESS || longest > 8192 {
                ways.push(way(Split::Random(7)));
                continue;
            }
            ways.push(way(Split::Bytes));
            if flood > 0 {
                ways.extend((0..3).map(|seed| way(Split::Random(seed))));
                continue;
            }
            ways.extend((0..10).map(|seed| way(Split::Random(seed))));
            // A late answer matters most where bytes may arrive before it that must not be read under TLS.
            if service != first || pace == Pace::Late && !gate {
                continue;
            }
            for (text, &len) in texts.iter().enumerate() {
                ways.extend(places(len).map(|at| way(Split::At(text, at))));
            }
        }
    }
    ways
}

/// Every offset; in a long text, those near its ends and some between.
fn places(len: usize) -> impl Iterator<Item = usize> {
    (1..len).filter(move |&at| len < 400 || at < 24 || len - at < 140 || at % (len / 16) == 0)
}

/// A flood that ends when the server closes.
const ENDLESS: usize = 1;

/// How many bytes a step floods with.
fn flood(step: &Step) -> usize {
    match step {
        Step::Repeat { bytes, count, .. } => bytes.len() * count,
        Step::Loop { times, steps } => times * steps.iter().map(flood).sum::<usize>(),
        Step::Act { .. } => ENDLESS,
        _ => 0,
    }
}
