//! Fault injection, for testing mail clients: rejections, delays and dropped connections.
//!
//! This module parses the options and draws the faults; see `smtp` and `imap` for their effect. Random numbers depend only
//! on the seed and the session's number, so that a failed test can be repeated.

use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use proto_imap::types::CommandName;
use proto_smtp::types::{Code, Severity};

/// The maximum delay: no mail client waits longer.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// The point in a session at which a fault is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In place of the greeting.
    Connect,
    /// At EHLO, HELO and LHLO.
    Ehlo,
    /// At STARTTLS.
    StartTls,
    /// At AUTH.
    Auth,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Rcpt,
    /// At DATA or the first BDAT.
    Data,
    /// At the end of the message.
    Dot,
    /// At a command of IMAP, also in its form with UIDs. [`CommandName::Login`] includes AUTHENTICATE.
    Imap(CommandName),
}

impl Stage {
    const ALL: [Self; 8] = [
        Self::Connect,
        Self::Ehlo,
        Self::StartTls,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Dot,
    ];

    fn name(self) -> String {
        let name = match self {
            Self::Imap(command) => return command.as_str().to_ascii_lowercase(),
            Self::Connect => "connect",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Dot => "dot",
        };
        name.to_owned()
    }

    /// Returns the codes that a session can send at this stage; `None` if it can send all of them.
    const fn codes(self) -> Option<&'static [u16]> {
        match self {
            Self::StartTls => Some(&[454]),
            Self::Auth => Some(&[454, 535]),
            _ => None,
        }
    }

    /// Returns whether a session notices the stage. The state machine answers the other commands of IMAP by itself.
    const fn is_possible(self) -> bool {
        use CommandName::{Capability, Compress, Enable, Logout, StartTls};
        !matches!(self, Self::Imap(Capability | Compress | Enable | Logout | StartTls))
    }

    /// Returns the stage that includes this one.
    const fn canonical(self) -> Self {
        Self::Imap(match self {
            Self::Imap(command) => plain_command(command),
            other => return other,
        })
    }

    const fn has_recipients(self) -> bool {
        matches!(self, Self::Rcpt | Self::Data | Self::Dot)
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_named = |stage: &Self| stage.name().eq_ignore_ascii_case(text);
        if let Some(stage) = Self::ALL.into_iter().find(is_named) {
            return Ok(stage);
        }
        let mut commands = CommandName::ALL.iter().map(|command| Self::Imap(*command));
        let imap = commands.find(is_named).filter(|stage| stage.is_possible()).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown stage {text:?}; expected one of {names}, or a command of IMAP such as fetch")
        });
        imap.map(Self::canonical)
    }
}

/// Returns the command without UID; LOGIN for AUTHENTICATE.
const fn plain_command(command: CommandName) -> CommandName {
    match command {
        CommandName::Authenticate => CommandName::Login,
        CommandName::UidCopy => CommandName::Copy,
        CommandName::UidExpunge => CommandName::Expunge,
        CommandName::UidFetch => CommandName::Fetch,
        CommandName::UidMove => CommandName::Move,
        CommandName::UidReplace => CommandName::Replace,
        CommandName::UidSearch => CommandName::Search,
        CommandName::UidSort => CommandName::Sort,
        CommandName::UidStore => CommandName::Store,
        CommandName::UidThread => CommandName::Thread,
        other => other,
    }
}

/// A rejection. Parsed from `STAGE=CODE[:PROBABILITY][,RECIPIENT-PATTERN]`. For a command of IMAP the code is `NO`, `BAD` or
/// `BYE`; the first two can have a response code: `fetch=NO[UNAVAILABLE]:0.1`.
#[derive(Debug, Clone, PartialEq)]
pub struct FailRule {
    stage: Stage,
    failure: Failure,
    probability: f64,
    /// A pattern of recipients, with `*` and `?`; all recipients if `None`.
    recipients: Option<String>,
}

/// How a stage fails.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    Smtp(Code),
    Imap(ImapFault),
}

/// A status of IMAP that a fault causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImapStatus {
    /// BAD; otherwise NO.
    pub(super) is_bad: bool,
    /// The name of the response code.
    pub(super) code: Option<String>,
}

impl ImapStatus {
    pub(super) fn is_unavailable(&self) -> bool {
        self.code.as_deref() == Some("UNAVAILABLE")
    }
}

/// A drawn fault of IMAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImapFault {
    /// Close the connection without a response.
    Drop,
    /// Answer with a status.
    Status(ImapStatus),
    /// Say BYE and close the connection.
    Bye,
}

impl FromStr for ImapFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "for example fetch=NO[UNAVAILABLE]:0.1";
        let (condition, code) = match text.split_once('[') {
            None => (text, None),
            Some((condition, code)) => {
                let code = code.strip_suffix(']').unwrap_or_default();
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                if code.is_empty() || !code.bytes().all(is_name) {
                    return Err(format!("expected a response code in brackets, {example}"));
                }
                (condition, Some(code.to_ascii_uppercase()))
            }
        };
        match (condition.to_ascii_uppercase().as_str(), code) {
            ("NO", code) => Ok(Self::Status(ImapStatus { is_bad: false, code })),
            ("BAD", code) => Ok(Self::Status(ImapStatus { is_bad: true, code })),
            ("BYE", None) => Ok(Self::Bye),
            _ => Err(format!("expected NO, BAD or BYE, {example}")),
        }
    }
}

/// A delay. Parsed from `STAGE=DURATION[:PROBABILITY]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DelayRule {
    stage: Stage,
    duration: Duration,
    probability: f64,
}

/// A closed connection. Parsed from `STAGE[:PROBABILITY]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DropRule {
    stage: Stage,
    probability: f64,
}

impl FromStr for FailRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "for example rcpt=450:0.3,*@example.test";
        let (stage, rest) = text.split_once('=').ok_or(format!("expected STAGE=CODE, {example}"))?;
        let stage: Stage = stage.parse()?;
        if let Stage::Imap(command) = stage {
            return Self::imap(command, rest);
        }
        let (rest, recipients) = match rest.split_once(',') {
            Some((_, pattern)) if !stage.has_recipients() || pattern.is_empty() => {
                return Err(format!("a pattern is possible with rcpt, data and dot only, {example}"));
            }
            Some((rest, pattern)) => (rest, Some(pattern.to_owned())),
            None => (rest, None),
        };
        let (code, probability) = split_probability(rest)?;
        let refuses = |code: &Code| matches!(code.severity(), Severity::Transient | Severity::Permanent);
        let code = code.parse().ok().and_then(Code::new).filter(refuses);
        let code = code.ok_or(format!("expected a code between 400 and 599, {example}"))?;
        match stage.codes() {
            Some(codes) if !codes.contains(&code.get()) => {
                let codes: Vec<_> = codes.iter().map(u16::to_string).collect();
                Err(format!("{} can fail with {} only", stage.name(), codes.join(" or ")))
            }
            _ => Ok(Self { stage, failure: Failure::Smtp(code), probability, recipients }),
        }
    }
}

impl FailRule {
    /// Parses the rest of a rule for a command of IMAP.
    fn imap(command: CommandName, rest: &str) -> Result<Self, String> {
        if command == CommandName::Idle {
            return Err("idle can be delayed and dropped only".to_owned());
        }
        let (fault, probability) = split_probability(rest)?;
        let failure = Failure::Imap(fault.parse()?);
        Ok(Self { stage: Stage::Imap(command), failure, probability, recipients: None })
    }
}

impl FromStr for DelayRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "for example data=2s or rcpt=250ms:0.5";
        let (stage, rest) = text.split_once('=').ok_or(format!("expected STAGE=DURATION, {example}"))?;
        let stage: Stage = stage.parse()?;
        let (duration, probability) = split_probability(rest)?;
        let duration: SignedDuration = duration.parse().map_err(|error| format!("{error}; {example}"))?;
        let duration =
            Duration::try_from(duration).map_err(|_| format!("a delay must not be negative, {example}"))?;
        if duration > LONGEST_DELAY {
            return Err(format!("a delay must be at most an hour, {example}"));
        }
        if stage == Stage::Connect && probability < 1.0 {
            return Err("the delay of connect applies to every session: it has no probability".to_owned());
        }
        Ok(Self { stage, duration, probability })
    }
}

impl FromStr for DropRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (stage, probability) = split_probability(text)?;
        Ok(Self { stage: stage.parse()?, probability })
    }
}

/// Parses `TEXT[:PROBABILITY]`.
fn split_probability(text: &str) -> Result<(&str, f64), String> {
    let Some((text, probability)) = text.split_once(':') else { return Ok((text, 1.0)) };
    match probability.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok((text, number)),
        _ => Err(format!(
            "invalid probability {probability:?}: expected a number from 0 to 1, for example 0.25"
        )),
    }
}

/// All configured faults.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Rejections.
    pub fail: Vec<FailRule>,
    /// Delays.
    pub delay: Vec<DelayRule>,
    /// Closed connections.
    pub drop: Vec<DropRule>,
    /// The seed of the random numbers: the same sessions get the same faults again.
    pub seed: u64,
}

/// A drawn fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Close the connection without a reply.
    Drop,
    /// Reply with this code.
    Fail(Code),
}

/// Draws the faults of one session.
#[derive(Debug)]
pub(super) struct FaultSampler<'f> {
    faults: &'f Faults,
    random: fastrand::Rng,
}

impl Faults {
    pub(super) const fn is_empty(&self) -> bool {
        self.fail.is_empty() && self.delay.is_empty() && self.drop.is_empty()
    }

    /// Returns whether a fault concerns IMAP.
    pub(super) fn has_imap_rules(&self) -> bool {
        let stages = self.fail.iter().map(|fail| fail.stage);
        let stages = stages.chain(self.delay.iter().map(|delay| delay.stage));
        let mut stages = stages.chain(self.drop.iter().map(|drop| drop.stage));
        stages.any(|stage| matches!(stage, Stage::Imap(_)))
    }

    /// Returns the delay of every greeting. It is not zero if a fault is configured in place of the greeting.
    pub(super) fn greeting_delay(&self) -> Option<Duration> {
        let at_connect = |stage: Stage| stage == Stage::Connect;
        let faulty = self.fail.iter().any(|fail| at_connect(fail.stage))
            || self.drop.iter().any(|drop| at_connect(drop.stage));
        let delay = self.delay.iter().find(|delay| at_connect(delay.stage)).map(|delay| delay.duration);
        delay.or_else(|| faulty.then_some(Duration::from_millis(1)))
    }

    fn draws_drop(&self, stage: Stage, random: &mut fastrand::Rng) -> bool {
        self.drop.iter().filter(|drop| drop.stage == stage).any(|drop| random.f64() < drop.probability)
    }

    /// Returns the random numbers of a session.
    pub(super) fn session_rng(&self, number: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(super) const fn sampler(&self, random: fastrand::Rng) -> FaultSampler<'_> {
        FaultSampler { faults: self, random }
    }
}

impl FaultSampler<'_> {
    /// Returns the state of the random numbers.
    pub(super) fn into_random(self) -> fastrand::Rng {
        self.random
    }

    /// Draws the delay of a stage.
    pub(super) fn delay(&mut self, stage: Stage) -> Option<Duration> {
        let Self { faults, random } = self;
        faults
            .delay
            .iter()
            .filter(|delay| delay.stage == stage && stage != Stage::Connect)
            .find(|delay| random.f64() < delay.probability)
            .map(|delay| delay.duration)
    }

    /// Draws the fault of a stage, for any of these recipients.
    pub(super) fn fault(&mut self, stage: Stage, recipients: &[&str]) -> Option<Fault> {
        let Self { faults, random } = self;
        if faults.draws_drop(stage, random) {
            return Some(Fault::Drop);
        }
        let concerns = |fail: &FailRule| {
            let matches =
                |pattern: &String| recipients.iter().any(|recipient| matches_pattern(pattern, recipient));
            fail.stage == stage && fail.recipients.as_ref().is_none_or(matches)
        };
        let failed =
            faults.fail.iter().filter(|fail| concerns(fail)).find(|fail| random.f64() < fail.probability);
        match failed?.failure {
            Failure::Smtp(code) => Some(Fault::Fail(code)),
            Failure::Imap(_) => None,
        }
    }

    /// Draws the delay of a command of IMAP.
    pub(super) fn imap_delay(&mut self, command: CommandName) -> Option<Duration> {
        self.delay(Stage::Imap(plain_command(command)))
    }

    /// Draws the fault of a command of IMAP.
    pub(super) fn imap_fault(&mut self, command: CommandName) -> Option<ImapFault> {
        let stage = Stage::Imap(plain_command(command));
        let Self { faults, random } = self;
        if faults.draws_drop(stage, random) {
            return Some(ImapFault::Drop);
        }
        let mut rules = faults.fail.iter().filter(|fail| fail.stage == stage);
        match &rules.find(|fail| random.f64() < fail.probability)?.failure {
            Failure::Imap(fault) => Some(fault.clone()),
            Failure::Smtp(_) => None,
        }
    }
}

/// Returns whether `text` matches `pattern`, in which `*` stands for anything and `?` for one character. Ignores case.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.to_lowercase().chars().collect(), text.to_lowercase().chars().collect());
    let (mut at, mut in_text) = (0, 0);
    // The position to return to: after the last star, and one character further in the text.
    let mut back = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                back = Some((at + 1, in_text + 1));
                at += 1;
            }
            Some(&character) if character == '?' || Some(&character) == text.get(in_text) => {
                at += 1;
                in_text += 1;
            }
            _ => {
                let Some((behind, next)) = back else { return false };
                (at, in_text) = (behind, next);
                back = Some((behind, next + 1));
            }
        }
    }
    pattern.iter().skip(at).all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(options: &[&str]) -> Faults {
        Faults { fail: options.iter().map(|option| option.parse().unwrap()).collect(), ..Faults::default() }
    }

    #[test]
    fn parses_options() {
        let fail: FailRule = "rcpt=450:0.3,*@example.test".parse().unwrap();
        let code = Code::new(450).map(Failure::Smtp).unwrap();
        assert_eq!((fail.stage, &fail.failure, fail.probability), (Stage::Rcpt, &code, 0.3));
        assert_eq!(fail.recipients.as_deref(), Some("*@example.test"));
        let delay: DelayRule = "dot=1s500ms".parse().unwrap();
        assert_eq!((delay.stage, delay.duration), (Stage::Dot, Duration::from_millis(1500)));
        assert_eq!(
            "mail:0.5".parse::<DropRule>().unwrap(),
            DropRule { stage: Stage::Mail, probability: 0.5 }
        );
    }

    #[test]
    fn parses_faults_of_imap_commands() {
        let fault = |text: &str| text.parse::<FailRule>().map(|rule| (rule.stage, rule.failure));
        let status = |is_bad, code: Option<&str>| {
            let code = code.map(str::to_owned);
            Failure::Imap(ImapFault::Status(ImapStatus { is_bad, code }))
        };
        let fetch = Stage::Imap(CommandName::Fetch);
        assert_eq!(fault("fetch=NO[UNAVAILABLE]:0.1"), Ok((fetch, status(false, Some("UNAVAILABLE")))));
        assert_eq!(fault("uid fetch=bad"), Ok((fetch, status(true, None))));
        let login = Stage::Imap(CommandName::Login);
        assert_eq!(fault("authenticate=BYE"), Ok((login, Failure::Imap(ImapFault::Bye))));
        for (option, said) in [
            ("fetch=450", "NO, BAD or BYE"),
            ("fetch=NO[]", "in brackets"),
            ("fetch=NO[A B]", "in brackets"),
            ("fetch=BYE[X]", "NO, BAD or BYE"),
            ("fetch=NO,*@x", "NO, BAD or BYE"),
            ("idle=NO", "dropped only"),
            ("capability=NO", "unknown stage"),
        ] {
            assert!(option.parse::<FailRule>().unwrap_err().contains(said), "{option}");
        }
        assert_eq!("idle".parse::<DropRule>().unwrap().stage, Stage::Imap(CommandName::Idle));
        assert_eq!("search=2s".parse::<DelayRule>().unwrap().stage, Stage::Imap(CommandName::Search));
    }

    #[test]
    fn faults_of_imap_concern_their_command_only() {
        let mut faults = fails(&["fetch=NO[LIMIT]", "rcpt=550"]);
        faults.drop.push("select".parse().unwrap());
        assert!(faults.has_imap_rules() && !fails(&["rcpt=550"]).has_imap_rules());
        let mut sampler = faults.sampler(faults.session_rng(1));
        assert!(matches!(sampler.imap_fault(CommandName::UidFetch), Some(ImapFault::Status(_))));
        assert_eq!(sampler.imap_fault(CommandName::Select), Some(ImapFault::Drop));
        assert_eq!(sampler.imap_fault(CommandName::Store), None);
        assert_eq!(sampler.imap_delay(CommandName::Fetch), None);
    }

    #[test]
    fn explains_invalid_options() {
        for (option, said) in [
            ("rcpt", "STAGE=CODE"),
            ("rcp=450", "expected one of connect, ehlo"),
            ("rcpt=250", "between 400 and 599"),
            ("rcpt=abc", "between 400 and 599"),
            ("rcpt=450:2", "from 0 to 1"),
            ("mail=450,*@x", "rcpt, data and dot only"),
            ("starttls=550", "454 only"),
            ("auth=550", "454 or 535 only"),
        ] {
            assert!(option.parse::<FailRule>().unwrap_err().contains(said), "{option}");
        }
        assert!("data=soon".parse::<DelayRule>().unwrap_err().contains("data=2s"));
        assert!("data=-1s".parse::<DelayRule>().unwrap_err().contains("negative"));
        assert!("connect=1s:0.5".parse::<DelayRule>().is_err());
        assert!("data=1h".parse::<DelayRule>().is_ok());
        for long in ["data=1h1ms", "data=9223372036854775807s"] {
            assert!(long.parse::<DelayRule>().unwrap_err().contains("an hour"), "{long}");
        }
        assert!("data:x".parse::<DropRule>().is_err());
    }

    #[test]
    fn matches_patterns_like_a_shell() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*@example.test", "Ann@Example.TEST", true),
            ("*@example.test", "ann@example.tests", false),
            ("a*n?@*", "annoying-n1@x", true),
            ("?", "", false),
            ("**a**", "bab", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn only_matching_recipients_fail() {
        let faults = fails(&["rcpt=550,bad*", "dot=451,*@late"]);
        let mut sampler = faults.sampler(faults.session_rng(1));
        assert_eq!(sampler.fault(Stage::Rcpt, &["good@x"]), None);
        assert_eq!(sampler.fault(Stage::Rcpt, &["bad@x"]), Some(Fault::Fail(Code::MAILBOX_UNAVAILABLE)));
        assert_eq!(sampler.fault(Stage::Dot, &["a@x", "b@late"]), Code::new(451).map(Fault::Fail));
        assert_eq!(sampler.fault(Stage::Mail, &[]), None);
    }

    #[test]
    fn draws_have_the_configured_probability_and_are_reproducible() {
        let mut faults = fails(&["rcpt=450:0.3"]);
        faults.seed = 7;
        let drawn = |faults: &Faults| {
            let mut sampler = faults.sampler(faults.session_rng(3));
            (0..10_000).map(|_| sampler.fault(Stage::Rcpt, &["a@b"]).is_some()).collect::<Vec<_>>()
        };
        let first = drawn(&faults);
        let times = first.iter().filter(|failed| **failed).count();
        assert!((2_700..3_300).contains(&times), "{times}");
        assert_eq!(first, drawn(&faults));
        faults.seed = 8;
        assert_ne!(first, drawn(&faults));
    }
}
