//! `check`: one stage after the other, a line each, and for the one that fails why and what to try.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use io_mio::ConnectStage;
use io_mio::{Certificate, StageReport};
use proto_mail::Mechanism;
use proto_mail::sasl::MechanismChoice;
use serde::Serialize;

use crate::classify::ServerReply;
use crate::cli::{CheckArgs, Stage};
use crate::connect::Way;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::url::{Protocol, TlsMode, Url};
use crate::{imap, smtp};

/// Runs the command. The kind is that of the stage that failed: its line has been shown, reason and advice included.
pub(crate) fn run(arguments: &CheckArgs) -> Result<Option<Kind>, Failure> {
    let output = Output::from(arguments.output);
    let way = Way::new(&arguments.url, &arguments.connection)?;
    let last = arguments.stop_after.unwrap_or(Stage::Folders);
    let telling = if arguments.verbose { Telling::Reasons } else { Telling::Result };
    let progress = Progress::new(&way, output, (last, telling))?;
    // A prompt in the middle would spoil the times: the password is asked for before anything begins.
    let credentials = if last >= Stage::Login { way.credentials()? } else { None };
    // Nothing has to be finished: the first signal ends the command.
    crate::interrupt::Interrupt::install()?;
    let observer = progress.clone();
    let connector = way.connector(move |report| observer.observe(report));
    let result = match way.url.protocol {
        Protocol::Imap => imap::check(&way, &connector, credentials, &progress),
        Protocol::Smtp => smtp::check(&way, &connector, credentials, &progress),
    };
    match result {
        Ok(()) | Err(Stop::Here) => {
            progress.finish(None);
            Ok(None)
        }
        Err(Stop::Failed(failure)) => {
            let failure = failure.at(&way.url);
            progress.finish(Some(&failure));
            Ok(Some(failure.kind))
        }
    }
}

/// Why a check ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The last stage that was asked for is done.
    Here,
    /// A stage failed.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io_mio::Error> for Stop {
    fn from(error: io_mio::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// What has been passed, and where it is shown.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<Inner>>);

struct Inner {
    output: Output,
    url: Url,
    /// The stages still to come, in the order in which this way passes them.
    to_come: Vec<Stage>,
    last: Stage,
    telling: Telling,
    lines: Vec<Line>,
    /// Why no other mechanism than the one that was used.
    not_used: BTreeMap<&'static str, String>,
    /// The certificate that came, accepted or not.
    certificate: Option<String>,
    /// How long the handshake took until then.
    handshake: Duration,
    since: Instant,
}

/// How much is told of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    Result,
    Reasons,
}

/// How the user logged in.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    /// The mechanism's name, or what was used in place of one.
    pub(crate) by: &'static str,
    /// Why not by another one.
    pub(crate) weighed: MechanismChoice,
    /// The mechanism that the server refused before, and what it said.
    pub(crate) refused: Option<(Mechanism, ServerReply)>,
}

impl LoggedIn {
    /// How, and what was refused before.
    pub(crate) fn describe(&self) -> String {
        match &self.refused {
            None => self.by.to_owned(),
            Some((mechanism, reply)) => {
                let unbound = if mechanism.uses_channel_binding() && !self.by.ends_with("-PLUS") {
                    ", so that the log-in is not bound to the TLS channel"
                } else {
                    ""
                };
                format!("{} (the server refused {mechanism}{unbound}: {reply})", self.by)
            }
        }
    }
}

#[derive(Serialize)]
struct Line {
    stage: &'static str,
    ok: bool,
    ms: f64,
    detail: String,
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// What the server said when it refused this stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Box<ServerReply>>,
}

impl Progress {
    fn new(way: &Way, output: Output, (last, telling): (Stage, Telling)) -> Result<Self, Failure> {
        let mut to_come = match (way.is_cleartext()?, way.url.tls) {
            (true, _) => vec![Stage::Name, Stage::Tcp, Stage::Greeting],
            (false, TlsMode::StartTls) => {
                vec![Stage::Name, Stage::Tcp, Stage::Greeting, Stage::Tls, Stage::Certificate]
            }
            (false, TlsMode::Implicit) => {
                vec![Stage::Name, Stage::Tcp, Stage::Tls, Stage::Certificate, Stage::Greeting]
            }
        };
        to_come.extend([Stage::Capabilities, Stage::Login]);
        if way.url.protocol == Protocol::Imap {
            to_come.push(Stage::Folders);
        }
        // SMTP has no folders.
        let last = if to_come.contains(&last) { last } else { Stage::Login };
        let (url, since) = (way.url.clone(), Instant::now());
        let inner = Inner {
            output,
            url,
            to_come,
            last,
            telling,
            lines: Vec::new(),
            not_used: BTreeMap::new(),
            certificate: None,
            handshake: Duration::ZERO,
            since,
        };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// A stage of the connection was passed.
    fn observe(&self, report: &StageReport) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &report.stage {
            ConnectStage::Resolved(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                inner.pass(Stage::Name, report.took, addresses.join(", "));
            }
            ConnectStage::Connected(address) => inner.pass(Stage::Tcp, report.took, address.to_string()),
            ConnectStage::Greeted => {
                inner.pass(Stage::Greeting, report.took, "ready for STARTTLS".to_owned())
            }
            ConnectStage::TlsDone(info) => {
                let took = inner.handshake + report.took;
                inner.pass(Stage::Tls, took, format!("{} {}", info.version, info.cipher));
                if let Some(certificate) = &info.certificate {
                    inner.pass(Stage::Certificate, report.took, describe(certificate));
                }
            }
            ConnectStage::Certificate(certificate) => {
                inner.certificate = Some(describe(certificate));
                inner.handshake = report.took;
            }
            _ => {}
        }
        inner.since = Instant::now();
    }

    /// A stage of the session was passed. Ends the check if it was the last one asked for.
    pub(crate) fn pass(&self, stage: Stage, detail: impl Into<String>) -> Result<(), Stop> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let took = inner.since.elapsed();
        inner.pass(stage, took, detail.into());
        inner.since = Instant::now();
        if stage == inner.last { Err(Stop::Here) } else { Ok(()) }
    }

    /// The user is logged in: by which mechanism, and for whoever wants to know why by no other.
    pub(crate) fn logged_in(&self, how: &LoggedIn) -> Result<(), Stop> {
        let passed = self.pass(Stage::Login, how.describe());
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((mechanism, reply)) = &how.refused {
            let why = format!("was refused by the server: {reply}");
            if inner.telling == Telling::Reasons {
                inner.output.line(format!("     {mechanism} {why}"));
            }
            inner.not_used.insert(mechanism.name(), why);
        }
        let refused = how.refused.as_ref().map(|(mechanism, _)| *mechanism);
        for (mechanism, why) in how.weighed.rejections().filter(|(mechanism, _)| Some(*mechanism) != refused)
        {
            if inner.telling == Telling::Reasons {
                inner.output.line(format!("     {mechanism} {why}"));
            }
            inner.not_used.insert(mechanism.name(), why.to_string());
        }
        passed
    }

    /// Ends the check if what the connection has passed by itself was all that was asked for.
    pub(crate) fn connected(&self) -> Result<(), Stop> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.to_come.contains(&inner.last) { Ok(()) } else { Err(Stop::Here) }
    }

    /// Whether this stage is still to come.
    pub(crate) fn awaits(&self, stage: Stage) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).to_come.contains(&stage)
    }

    /// Something that is worth saying.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).output.hint(text);
    }

    fn finish(&self, failure: Option<&Failure>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = failure {
            inner.fail(failure);
        }
        let mut value = serde_json::json!({
            "url": inner.url.to_string(),
            "ok": failure.is_none(),
            "stages": inner.lines,
        });
        if let (Some(failure), Some(object)) = (failure, value.as_object_mut()) {
            object.insert("error".to_owned(), crate::output::describe(failure));
        }
        if inner.telling == Telling::Reasons
            && let Some(object) = value.as_object_mut()
        {
            object.insert("mechanisms_not_used".to_owned(), serde_json::json!(inner.not_used));
        }
        inner.output.json(&value);
    }
}

impl Inner {
    fn pass(&mut self, stage: Stage, took: Duration, detail: String) {
        self.to_come.retain(|other| *other != stage);
        self.show(stage, took, detail, None);
    }

    /// The next stage failed. A certificate that came and was refused is a stage of its own.
    fn fail(&mut self, failure: &Failure) {
        let next = self.to_come.first().copied().unwrap_or(Stage::Folders);
        let took = self.since.elapsed();
        let (stage, detail) = match &self.certificate {
            Some(certificate) if next == Stage::Tls => {
                (Stage::Certificate, format!("{} (it is {certificate})", failure.what))
            }
            _ => (next, failure.what.clone()),
        };
        self.show(stage, took, detail, Some(failure));
    }

    fn show(&mut self, stage: Stage, took: Duration, detail: String, failure: Option<&Failure>) {
        let line = Line {
            stage: word(stage),
            ok: failure.is_none(),
            ms: (took.as_secs_f64() * 1e5).round() / 100.0,
            detail,
            advice: failure.and_then(|failure| failure.advice.clone()),
            server: failure.and_then(|failure| failure.server.clone()),
        };
        let ok = line.ok;
        self.output.marked(ok, format!("{:13}{:>9.1} ms  {}", line.stage, line.ms, line.detail));
        if let Some(advice) = &line.advice {
            self.output.line(format!("     try: {advice}"));
        }
        self.lines.push(line);
    }
}

const fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Name => "name",
        Stage::Tcp => "tcp",
        Stage::Greeting => "greeting",
        Stage::Tls => "tls",
        Stage::Certificate => "certificate",
        Stage::Capabilities => "capabilities",
        Stage::Login => "login",
        Stage::Folders => "folders",
    }
}

/// A certificate on one line.
fn describe(certificate: &Certificate) -> String {
    let names =
        if certificate.names.is_empty() { certificate.subject.clone() } else { certificate.names.join(", ") };
    format!("for {names}; until {}; {}", certificate.not_after_day(), certificate.fingerprint)
}

/// A check that names no user ends behind the capabilities.
pub(crate) fn no_user() -> String {
    "no user in the URL: login and what follows were not tried".to_owned()
}
