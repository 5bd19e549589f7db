//! What a fuzz target and a test do with arbitrary bytes: play them as the peer of a machine, split them in several
//! ways, and check the result against the invariants.
//!
//! The first line is the application's: its first byte chooses the configuration, the second how the input is split,
//! and the others what the application does (`0` is the first choice). The rest is the peer's side of the wire.
//!
//! Whatever the bytes are, nothing panics, every invariant of [`invariants`](crate::invariants) holds, and neither
//! events nor output depend on the split, nor on whether the application receives events or owned copies of them. Where the peer must not send before it was asked (to a client, and around
//! STARTTLS), the splits that are compared end each line; the others are checked against the invariants only. What
//! follows TLS is the same as if the client had sent only STARTTLS before.
//!
//! The input is also given to a machine whose application answers nothing: see [`unattended`](crate::unattended).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proto_imap::SaslIr;
use proto_imap::types::Strictness;
use proto_mail::{Limits, Mechanisms};
use proto_smtp::data::{BareNewline, LineEndings};
use proto_smtp::types::{
    BurlSource, DateTime, Extension, ExtensionParameters, ExtensionSet, FutureRelease, Interval, Solicitation,
};
use proto_smtp::{Dialect, EarlyTalker, InitialResponse, MixedCodes, Pipelining, UnknownParameters};

use crate::invariants::{Side, Terms, check, is_known};
use crate::play::{Choices, Delivery, Ending, Entry, FirstChannel, Player, Record, Trace, play};
use crate::smtp_server::Proof;
use crate::unattended::DrivenBy;
use crate::{careless_mechanism, imap_client, imap_server, smtp_client, smtp_server};

/// Plays the server of an IMAP client, under TLS and in cleartext.
pub fn imap_client(data: &[u8]) -> Reached {
    let Some(input) = Input::new(data) else { return Reached::Anonymous };
    let mut config = proto_imap::Config::default().limits(input.limits());
    if input.other {
        config = config.danger_cleartext();
    }
    match input.variant {
        Variant::Standard | Variant::Lenient => {}
        Variant::Strict => config = config.sasl_ir(SaslIr::Never),
        Variant::Other => config = config.reading(Strictness::Strict),
    }
    let config = Arc::new(config);
    let prelude = Prelude { choices: b"2", bytes: b"* OK [CAPABILITY STARTTLS] x\r\nM1 OK x\r\n" };
    run(&input, Side::ImapClient, input.other, &prelude, |first, choices, choices_after_tls| {
        imap_client::TestClient::new(Arc::clone(&config), first, choices, choices_after_tls)
    })
}

/// Plays the client of an IMAP server, under TLS and in cleartext.
pub fn imap_server(data: &[u8]) -> Reached {
    let Some(input) = Input::new(data) else { return Reached::Anonymous };
    let config = proto_imap::Config::default()
        .limits(input.limits())
        .offered_mechanisms(Mechanisms::all())
        .extensions([
            "CHILDREN",
            "ID",
            "MOVE",
            "NAMESPACE",
            "SPECIAL-USE",
            "UIDPLUS",
            "UNAUTHENTICATE",
            "UNSELECT",
        ])
        .enableable(["IMAP4rev2"]);
    let mut config = config.with_mechanism(careless_mechanism::mechanism());
    match input.variant {
        Variant::Standard | Variant::Other => {}
        // Every command of an extension is rejected.
        Variant::Strict => (config.extensions, config.enableable) = Default::default(),
        Variant::Lenient => {
            config = config.enableable(["IMAP4rev2", "UTF8=ACCEPT", "CONDSTORE", "QRESYNC"]);
            let more = [
                "BINARY",
                "CATENATE",
                "COMPRESS=DEFLATE",
                "CONDSTORE",
                "MULTIAPPEND",
                "QRESYNC",
                "QUOTA",
                "REPLACE",
                "X-y",
            ];
            config.extensions.extend(more.map(String::from));
        }
    }
    let config = Arc::new(config);
    let prelude = Prelude { choices: b"", bytes: b"t STARTTLS\r\n" };
    run(&input, Side::ImapServer, false, &prelude, |first, choices, choices_after_tls| {
        let variant = input.variant;
        imap_server::TestServer::new(Arc::clone(&config), first, variant, choices, choices_after_tls)
    })
}

/// Plays the server of an SMTP or LMTP client, under TLS and in cleartext.
pub fn smtp_client(data: &[u8]) -> Reached {
    let Some(input) = Input::new(data) else { return Reached::Anonymous };
    let mut config = proto_smtp::Config::default().limits(input.limits()).dialect(input.dialect());
    if input.other {
        config = config.danger_cleartext();
    }
    match input.variant {
        Variant::Standard => {}
        Variant::Strict => {
            config = config.pipelining(Pipelining::Off).initial_response(InitialResponse::Never);
        }
        Variant::Lenient => {
            config = config.bare_newline(BareNewline::Accept).line_endings(LineEndings::Normalize);
        }
        Variant::Other => config = config.pipelining(Pipelining::Envelope).mixed_codes(MixedCodes::Refuse),
    }
    let config = Arc::new(config);
    let prelude = Prelude { choices: b"2", bytes: b"220 x\r\n250-x\r\n250 STARTTLS\r\n220 x\r\n" };
    run(&input, Side::SmtpClient, input.other, &prelude, |first, choices, choices_after_tls| {
        smtp_client::TestClient::new(Arc::clone(&config), first, choices, choices_after_tls)
    })
}

/// The extensions that only add parameters.
const PARAMETERS: [Extension; 9] = [
    Extension::Dsn,
    Extension::DeliverBy,
    Extension::FutureRelease,
    Extension::MtPriority,
    Extension::RequireTls,
    Extension::NoSoliciting,
    Extension::Rrvs,
    Extension::ConPerm,
    Extension::Conneg,
];

/// What an SMTP server offers, with low limits if `tight`.
fn extension_parameters(tight: bool) -> ExtensionParameters {
    let low = NonZeroU32::new(2).filter(|_| tight);
    let mut offers = ExtensionParameters::default().min_by_time(60);
    (offers.limits.mails, offers.limits.recipient_domains) = (low, low);
    offers.no_soliciting = Solicitation::parse("org.example:ADV").ok();
    offers.future_release = Interval::new(3600)
        .ok()
        .zip(DateTime::from_unix_seconds(1_900_000_000))
        .map(|(interval, until)| FutureRelease { interval, until });
    offers
}

/// Plays the client of an SMTP or LMTP server, under TLS and in cleartext.
pub fn smtp_server(data: &[u8]) -> Reached {
    let Some(input) = Input::new(data) else { return Reached::Anonymous };
    let (limits, dialect) = (input.limits(), input.dialect());
    let early = if input.variant == Variant::Other { EarlyTalker::Reject } else { EarlyTalker::Accept };
    let mut config = proto_smtp::Config::default()
        .early_talker(early)
        .dialect(dialect)
        .offered_mechanisms(Mechanisms::all());
    if input.tight {
        (config.max_command_line, config.max_auth_line) = (limits.line, limits.frame);
    }
    let mut config = config
        .limits(limits)
        .extension_parameters(extension_parameters(input.tight))
        .with_mechanism(careless_mechanism::mechanism());
    config.extensions = config.extensions.with(Extension::Limits);
    config.extensions = PARAMETERS.into_iter().fold(config.extensions, ExtensionSet::with);
    match input.variant {
        Variant::Standard => {}
        Variant::Strict => config.waits.greeting_delay = Duration::from_secs(1),
        Variant::Lenient => {
            config.extensions = Extension::ALL.into_iter().collect();
            config = config.bare_newline(BareNewline::Accept).unknown_parameters(UnknownParameters::Accept);
            config.extension_parameters.burl.extend(BurlSource::parse("imap://x"));
        }
        Variant::Other => config.waits.greeting_delay = Duration::from_secs(1),
    }
    let proof = if input.other { Proof::Needed } else { Proof::NotNeeded };
    if proof == Proof::NotNeeded {
        config = config.optional_authentication();
    }
    let config = Arc::new(config);
    let bytes: &[u8] = match dialect {
        Dialect::Lmtp => b"LHLO x\r\nSTARTTLS\r\n",
        _ => b"EHLO x\r\nSTARTTLS\r\n",
    };
    run(
        &input,
        Side::SmtpServer,
        false,
        &Prelude { choices: b"", bytes },
        |first, choices, choices_after_tls| {
            let variant = input.variant;
            let terms = smtp_server::Terms { proof, dialect, variant };
            smtp_server::TestServer::new(Arc::clone(&config), first, terms, choices, choices_after_tls)
        },
    )
}

/// Runs a parser: see [`parsers`](crate::parsers).
pub fn parsers(data: &[u8]) -> Reached {
    crate::parsers::parsers(data);
    Reached::Anonymous
}

/// Plays a SASL exchange: see [`sasl`](crate::sasl).
pub fn sasl(data: &[u8]) -> Reached {
    crate::sasl::exchange(data);
    Reached::Anonymous
}

/// Parses PROXY protocol headers: see [`proxy`](crate::proxy).
pub fn proxy(data: &[u8]) -> Reached {
    crate::proxy::proxy(data);
    Reached::Anonymous
}

/// Scans a message: see [`message`](crate::message).
pub fn message(data: &[u8]) -> Reached {
    crate::message::message(data);
    Reached::Anonymous
}

/// Joins a client and a server: see [`joined`](crate::joined).
pub fn differential(data: &[u8]) -> Reached {
    crate::joined::differential(data);
    Reached::Anonymous
}

/// How far a conversation came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// No identity was proved.
    Anonymous,
    /// An identity was proved under TLS.
    Authenticated,
}

/// A set of settings. Each machine interprets it in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The defaults.
    Standard,
    /// The strictest settings.
    Strict,
    /// The most lenient settings.
    Lenient,
    /// Other settings.
    Other,
}

/// A parsed input.
struct Input<'d> {
    /// Whether limits are low.
    tight: bool,
    /// One more configuration flag, with its own meaning for each machine.
    other: bool,
    /// Whether to speak LMTP, if the machine can.
    lmtp: bool,
    variant: Variant,
    ending: Ending,
    /// Seeds the splits.
    seed: u8,
    choices: &'d [u8],
    bytes: &'d [u8],
}

impl<'d> Input<'d> {
    fn new(data: &'d [u8]) -> Option<Self> {
        let end = data.iter().position(|&byte| byte == b'\n')?;
        let (line, bytes) = (&data[..end], &data[end + 1..]);
        let first = line.first().copied().unwrap_or(b'0').wrapping_sub(b'0');
        let seed = line.get(1).copied().unwrap_or_default();
        let [tight, other, lmtp] = [1, 2, 4].map(|bit| first & bit != 0);
        let ending = match first & 24 {
            8 => Ending::TimedOut,
            16 => Ending::GoingDown,
            _ => Ending::Closed,
        };
        let variant = match first & 96 {
            32 => Variant::Strict,
            64 => Variant::Lenient,
            96 => Variant::Other,
            _ => Variant::Standard,
        };
        Some(Self {
            tight,
            other,
            lmtp,
            variant,
            ending,
            seed,
            choices: line.get(2..).unwrap_or_default(),
            bytes,
        })
    }

    const fn dialect(&self) -> Dialect {
        if self.lmtp { Dialect::Lmtp } else { Dialect::Smtp }
    }

    /// Default limits, or limits so low that a short input reaches them.
    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if self.tight {
            (limits.line, limits.literal, limits.frame) = (200, 100, 400);
            (limits.message, limits.nesting, limits.recipients) = (60, 4, 2);
            (limits.reply_lines, limits.errors, limits.auth_attempts) = (8, 3, 2);
            (limits.commands_before_auth, limits.output_high_water) = (6, 100);
        }
        limits
    }
}

/// The shortest conversation up to TLS.
struct Prelude {
    choices: &'static [u8],
    bytes: &'static [u8],
}

/// Plays the input under TLS and in cleartext.
///
/// # Panics
/// If an invariant is broken, or two splits differ.
fn run<P: Player>(
    input: &Input<'_>,
    side: Side,
    danger: bool,
    prelude: &Prelude,
    start: impl Fn(FirstChannel, Choices, Choices) -> P,
) -> Reached {
    let mut reached = Reached::Anonymous;
    if is_known(input.bytes) {
        return reached;
    }
    let choices = || Choices::new(input.choices);
    let played = |player: P, pieces: Vec<&[u8]>, trace| play(player, pieces, input.ending, trace);
    for first_channel in [FirstChannel::Secure, FirstChannel::Cleartext] {
        let secure = first_channel == FirstChannel::Secure;
        let terms = terms(input, side, secure, danger);
        let player = || start(first_channel, choices(), choices());
        let whole = judged(played(player(), vec![input.bytes], Trace::Taken), &terms);
        let by_line = matches!(side, Side::ImapClient | Side::SmtpClient) || !secure;
        let first = if by_line {
            // Bytes that follow a line in the same read may be too early, which is fatal by design.
            judged(played(player(), cuts(input.bytes, input.seed, false), Trace::Taken), &terms);
            judged(played(player(), lines(input.bytes).collect(), Trace::Taken), &terms)
        } else {
            whole
        };
        let mut owning = player();
        owning.deliver(Delivery::Owned);
        let bytes = input.bytes.chunks(1).collect();
        same(&first, &judged(played(owning, bytes, Trace::None), &terms), "byte by byte, as owned events");
        let random = cuts(input.bytes, input.seed, by_line);
        same(&first, &judged(played(player(), random.clone(), Trace::Taken), &terms), "cut at random");
        let [driven, by_hand] = [DrivenBy::Driver, DrivenBy::Hand]
            .map(|by| judged(player().unattended(by, &random, input.ending), &terms));
        same(&by_hand, &driven, "without an application, by a driver");
        if let Some(at) = first.secured_at {
            let rest = input.bytes.get(at..).unwrap_or_default();
            let player = start(first_channel, Choices::new(prelude.choices), choices());
            let other = judged(
                played(player, lines(prelude.bytes).chain(lines(rest)).collect(), Trace::None),
                &terms,
            );
            assert!(other.secured_at.is_some(), "the prelude does not lead to TLS: {other:#?}");
            same(&first.under_tls(), &other.under_tls(), "whose cleartext said nothing else");
        }
        if secure && first.entries.contains(&Entry::Authenticated) {
            reached = Reached::Authenticated;
        }
    }
    reached
}

/// The rules by which a session is checked.
fn terms(input: &Input<'_>, side: Side, secure: bool, danger: bool) -> Terms {
    let limits = input.limits();
    let may_hold = limits.line.max(limits.frame) + 2;
    let may_put_out = match side {
        // A server stops answering at the high-water mark; the last answer may exceed it.
        Side::ImapServer | Side::SmtpServer => limits.output_high_water + 1024,
        // A client's own APPEND.
        Side::ImapClient | Side::SmtpClient => 8 * 1024,
    };
    Terms { side, secure, danger, may_hold, may_put_out }
}

fn judged(record: Record, terms: &Terms) -> Record {
    let broken = check(&record, terms).err();
    assert!(broken.is_none(), "{broken:?}: {terms:?}\n{record:#?}");
    record
}

/// Asserts that two splits have the same result.
///
/// # Panics
/// If they do not.
fn same(first: &Record, other: &Record, how: &str) {
    let differ = first.seen().into_iter().zip(other.seen()).find(|(one, two)| one != two);
    assert_eq!(differ, None, "{how}: the events differ");
    let counts = (first.seen().len(), other.seen().len());
    assert_eq!(counts.0, counts.1, "{how}: more events, or fewer");
    let (one, two) = (first.output(), other.output());
    assert_eq!(String::from_utf8_lossy(&one), String::from_utf8_lossy(&two), "{how}: the output differs");
    assert_eq!(one, two, "{how}");
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n')
}

/// Pieces of 1 to 40 bytes; if `by_line`, none of them crosses the end of a line.
fn cuts(bytes: &[u8], seed: u8, by_line: bool) -> Vec<&[u8]> {
    let mut state = u32::from(seed);
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let mut len = ((state >> 16) as usize % 40 + 1).min(rest.len());
        if by_line && let Some(end) = rest[..len].iter().position(|&byte| byte == b'\n') {
            len = end + 1;
        }
        let (piece, behind) = rest.split_at(len);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}
