//! Faults on demand, for people who test what sends to this server: refusals, delays and lost connections.
//!
//! This file knows the options' grammar and draws; what a fault does to a session is done in `smtp.rs`. Draws are made
//! of a seed and the session's number, so that a test that failed can be repeated.

use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use proto_smtp::types::{Code, Severity};

/// The longest delay: no client of mail waits longer.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// Where in a session something can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In place of the greeting.
    Connect,
    /// At EHLO, HELO and LHLO.
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    /// At DATA or the first BDAT.
    Data,
    /// When the message is complete.
    Dot,
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

    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Dot => "dot",
        }
    }

    /// The only codes that a session can say there, if not every one that refuses.
    const fn codes(self) -> Option<&'static [u16]> {
        match self {
            Self::StartTls => Some(&[454]),
            Self::Auth => Some(&[454, 535]),
            _ => None,
        }
    }

    const fn has_recipients(self) -> bool {
        matches!(self, Self::Rcpt | Self::Data | Self::Dot)
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|stage| stage.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no stage {text:?}; there are {names}")
        })
    }
}

/// `STAGE=CODE[:PROBABILITY][,RECIPIENT-PATTERN]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fail {
    stage: Stage,
    code: Code,
    probability: f64,
    /// For whom, with `*` and `?`; everybody if there is none.
    recipients: Option<String>,
}

/// `STAGE=DURATION[:PROBABILITY]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delay {
    stage: Stage,
    duration: Duration,
    probability: f64,
}

/// `STAGE[:PROBABILITY]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drop {
    stage: Stage,
    probability: f64,
}

impl FromStr for Fail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "for example rcpt=450:0.3,*@example.test";
        let (stage, rest) = text.split_once('=').ok_or(format!("STAGE=CODE is expected, {example}"))?;
        let stage: Stage = stage.parse()?;
        let (rest, recipients) = match rest.split_once(',') {
            Some((_, pattern)) if !stage.has_recipients() || pattern.is_empty() => {
                return Err(format!("a pattern goes with rcpt, data and dot only, {example}"));
            }
            Some((rest, pattern)) => (rest, Some(pattern.to_owned())),
            None => (rest, None),
        };
        let (code, probability) = with_probability(rest)?;
        let refuses = |code: &Code| matches!(code.severity(), Severity::Transient | Severity::Permanent);
        let code = code.parse().ok().and_then(Code::new).filter(refuses);
        let code = code.ok_or(format!("a code between 400 and 599 is expected, {example}"))?;
        match stage.codes() {
            Some(codes) if !codes.contains(&code.get()) => {
                let codes: Vec<_> = codes.iter().map(u16::to_string).collect();
                Err(format!("{} can fail with {} only", stage.name(), codes.join(" or ")))
            }
            _ => Ok(Self { stage, code, probability, recipients }),
        }
    }
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "for example data=2s or rcpt=250ms:0.5";
        let (stage, rest) = text.split_once('=').ok_or(format!("STAGE=DURATION is expected, {example}"))?;
        let stage: Stage = stage.parse()?;
        let (duration, probability) = with_probability(rest)?;
        let duration: SignedDuration = duration.parse().map_err(|error| format!("{error}; {example}"))?;
        let duration = Duration::try_from(duration).map_err(|_| format!("no time is negative, {example}"))?;
        if duration > LONGEST_DELAY {
            return Err(format!("nobody waits longer than an hour, {example}"));
        }
        if stage == Stage::Connect && probability < 1.0 {
            return Err(
                "the delay of connect is that of every session: no probability goes with it".to_owned()
            );
        }
        Ok(Self { stage, duration, probability })
    }
}

impl FromStr for Drop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (stage, probability) = with_probability(text)?;
        Ok(Self { stage: stage.parse()?, probability })
    }
}

/// `TEXT[:PROBABILITY]`
fn with_probability(text: &str) -> Result<(&str, f64), String> {
    let Some((text, probability)) = text.split_once(':') else { return Ok((text, 1.0)) };
    match probability.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok((text, number)),
        _ => Err(format!(
            "{probability:?} is no probability: a number from 0 to 1 is expected, for example 0.25"
        )),
    }
}

/// Everything that is to go wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) fail: Vec<Fail>,
    pub(crate) delay: Vec<Delay>,
    pub(crate) drop: Vec<Drop>,
    pub(crate) seed: u64,
}

/// What goes wrong now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is closed without an answer.
    Drop,
    /// This is answered.
    Fail(Code),
}

/// One session's draws.
#[derive(Debug)]
pub(super) struct Draws<'f> {
    faults: &'f Faults,
    random: fastrand::Rng,
}

impl Faults {
    pub(super) const fn is_empty(&self) -> bool {
        self.fail.is_empty() && self.delay.is_empty() && self.drop.is_empty()
    }

    /// How long every greeting is held back, if something is to happen in its place.
    pub(super) fn greeting_delay(&self) -> Option<Duration> {
        let at_connect = |stage: Stage| stage == Stage::Connect;
        let faulty = self.fail.iter().any(|fail| at_connect(fail.stage))
            || self.drop.iter().any(|drop| at_connect(drop.stage));
        let delay = self.delay.iter().find(|delay| at_connect(delay.stage)).map(|delay| delay.duration);
        delay.or_else(|| faulty.then_some(Duration::from_millis(1)))
    }

    /// The draws of a session.
    pub(super) fn of_session(&self, number: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(super) const fn draws(&self, random: fastrand::Rng) -> Draws<'_> {
        Draws { faults: self, random }
    }
}

impl Draws<'_> {
    /// Where the draws have come to.
    pub(super) fn into_random(self) -> fastrand::Rng {
        self.random
    }

    /// How much later the answer comes.
    pub(super) fn delay(&mut self, stage: Stage) -> Option<Duration> {
        let Self { faults, random } = self;
        faults
            .delay
            .iter()
            .filter(|delay| delay.stage == stage && stage != Stage::Connect)
            .find(|delay| random.f64() < delay.probability)
            .map(|delay| delay.duration)
    }

    /// What goes wrong at this stage, for any of these recipients.
    pub(super) fn fault(&mut self, stage: Stage, recipients: &[&str]) -> Option<Fault> {
        let Self { faults, random } = self;
        let dropped =
            faults.drop.iter().filter(|drop| drop.stage == stage).any(|drop| random.f64() < drop.probability);
        if dropped {
            return Some(Fault::Drop);
        }
        let concerns = |fail: &Fail| {
            let matches = |pattern: &String| recipients.iter().any(|recipient| like(pattern, recipient));
            fail.stage == stage && fail.recipients.as_ref().is_none_or(matches)
        };
        let failed =
            faults.fail.iter().filter(|fail| concerns(fail)).find(|fail| random.f64() < fail.probability);
        failed.map(|fail| Fault::Fail(fail.code))
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for anything and `?` for one character; in any case.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.to_lowercase().chars().collect(), text.to_lowercase().chars().collect());
    let (mut at, mut in_text) = (0, 0);
    // Where to go back to: behind the last star, and one character further in the text.
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
    fn options_are_read() {
        let fail: Fail = "rcpt=450:0.3,*@example.test".parse().unwrap();
        assert_eq!((fail.stage, fail.code.get(), fail.probability), (Stage::Rcpt, 450, 0.3));
        assert_eq!(fail.recipients.as_deref(), Some("*@example.test"));
        let delay: Delay = "dot=1s500ms".parse().unwrap();
        assert_eq!((delay.stage, delay.duration), (Stage::Dot, Duration::from_millis(1500)));
        assert_eq!("mail:0.5".parse::<Drop>().unwrap(), Drop { stage: Stage::Mail, probability: 0.5 });
    }

    #[test]
    fn what_is_wrong_with_an_option_is_said() {
        for (option, said) in [
            ("rcpt", "STAGE=CODE"),
            ("rcp=450", "there are connect, ehlo"),
            ("rcpt=250", "between 400 and 599"),
            ("rcpt=abc", "between 400 and 599"),
            ("rcpt=450:2", "from 0 to 1"),
            ("mail=450,*@x", "rcpt, data and dot only"),
            ("starttls=550", "454 only"),
            ("auth=550", "454 or 535 only"),
        ] {
            assert!(option.parse::<Fail>().unwrap_err().contains(said), "{option}");
        }
        assert!("data=soon".parse::<Delay>().unwrap_err().contains("data=2s"));
        assert!("data=-1s".parse::<Delay>().unwrap_err().contains("negative"));
        assert!("connect=1s:0.5".parse::<Delay>().is_err());
        assert!("data=1h".parse::<Delay>().is_ok());
        for long in ["data=1h1ms", "data=9223372036854775807s"] {
            assert!(long.parse::<Delay>().unwrap_err().contains("an hour"), "{long}");
        }
        assert!("data:x".parse::<Drop>().is_err());
    }

    #[test]
    fn patterns_are_like_those_of_a_shell() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*@example.test", "Ann@Example.TEST", true),
            ("*@example.test", "ann@example.tests", false),
            ("a*n?@*", "annoying-n1@x", true),
            ("?", "", false),
            ("**a**", "bab", true),
            ("a", "ab", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn only_the_recipients_that_are_meant_fail() {
        let faults = fails(&["rcpt=550,bad*", "dot=451,*@late"]);
        let mut draws = faults.draws(faults.of_session(1));
        assert_eq!(draws.fault(Stage::Rcpt, &["good@x"]), None);
        assert_eq!(draws.fault(Stage::Rcpt, &["bad@x"]), Some(Fault::Fail(Code::MAILBOX_UNAVAILABLE)));
        assert_eq!(draws.fault(Stage::Dot, &["a@x", "b@late"]), Code::new(451).map(Fault::Fail));
        assert_eq!(draws.fault(Stage::Mail, &[]), None);
    }

    #[test]
    fn draws_are_as_likely_as_they_should_be_and_the_same_again() {
        let mut faults = fails(&["rcpt=450:0.3"]);
        faults.seed = 7;
        let drawn = |faults: &Faults| {
            let mut draws = faults.draws(faults.of_session(3));
            (0..10_000).map(|_| draws.fault(Stage::Rcpt, &["a@b"]).is_some()).collect::<Vec<_>>()
        };
        let first = drawn(&faults);
        let times = first.iter().filter(|failed| **failed).count();
        assert!((2_700..3_300).contains(&times), "{times}");
        assert_eq!(first, drawn(&faults));
        faults.seed = 8;
        assert_ne!(first, drawn(&faults));
    }
}
