//! The progress of a check: which stages have passed and how long each took, and their output.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use io_mio::{Certificate, ConnectStage, StageReport};
use serde::Serialize;

use super::arguments::Stage;
use crate::command_error::CommandError;
use crate::endpoint::Endpoint;
use crate::login::LoggedIn;
use crate::output::{self, Mark, Output};
use crate::server_reply::ServerReply;
use crate::url::{Protocol, TlsMode, Url};

/// Why a check ends before the last stage of the protocol.
#[derive(Debug)]
pub(super) enum End {
    /// The last requested stage has passed.
    Done,
    /// A stage failed.
    Failed(CommandError),
}

impl From<CommandError> for End {
    fn from(failure: CommandError) -> Self {
        Self::Failed(failure)
    }
}

impl From<io_mio::Error> for End {
    fn from(error: io_mio::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The progress of a check. Cheap to clone.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<Inner>>);

struct Inner {
    output: Output,
    url: Url,
    /// The stages still to come, in order.
    pending: Vec<Stage>,
    /// The last stage to run.
    last: Stage,
    verbosity: Verbosity,
    lines: Vec<Line>,
    /// Why each other mechanism was not used.
    not_used: BTreeMap<&'static str, String>,
    /// The server's certificate, accepted or not.
    certificate: Option<String>,
    /// How long the handshake took before the certificate was verified.
    handshake: Duration,
    /// When the current stage began.
    since: Instant,
}

/// How much to print about the choice of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verbosity {
    /// The mechanism used.
    Result,
    /// The mechanism used, and why each other one was not.
    Reasons,
}

/// The line of a stage.
#[derive(Serialize)]
struct Line {
    stage: &'static str,
    ok: bool,
    ms: f64,
    detail: String,
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// The reply with which the server refused this stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Box<ServerReply>>,
}

impl Progress {
    /// Starts the check. `last` is the last stage to run; SMTP ends with the login.
    pub(super) fn new(
        endpoint: &Endpoint,
        output: Output,
        last: Stage,
        verbosity: Verbosity,
    ) -> Result<Self, CommandError> {
        let mut pending = match (endpoint.is_cleartext()?, endpoint.url.tls) {
            (true, _) => vec![Stage::Name, Stage::Tcp, Stage::Greeting],
            (false, TlsMode::StartTls) => {
                vec![Stage::Name, Stage::Tcp, Stage::Greeting, Stage::Tls, Stage::Certificate]
            }
            (false, TlsMode::Implicit) => {
                vec![Stage::Name, Stage::Tcp, Stage::Tls, Stage::Certificate, Stage::Greeting]
            }
        };
        pending.extend([Stage::Capabilities, Stage::Login]);
        if endpoint.url.protocol == Protocol::Imap {
            pending.push(Stage::Folders);
        }
        // SMTP has no folders.
        let last = if pending.contains(&last) { last } else { Stage::Login };
        let (url, since) = (endpoint.url.clone(), Instant::now());
        let inner = Inner {
            output,
            url,
            pending,
            last,
            verbosity,
            lines: Vec::new(),
            not_used: BTreeMap::new(),
            certificate: None,
            handshake: Duration::ZERO,
            since,
        };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Records a stage of the connection.
    pub(super) fn observe(&self, report: &StageReport) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &report.stage {
            ConnectStage::Resolved(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                inner.passed(Stage::Name, report.took, addresses.join(", "));
            }
            ConnectStage::Connected(address) => inner.passed(Stage::Tcp, report.took, address.to_string()),
            ConnectStage::Greeted => {
                inner.passed(Stage::Greeting, report.took, "ready for STARTTLS".to_owned())
            }
            ConnectStage::TlsDone(info) => {
                let took = inner.handshake + report.took;
                inner.passed(Stage::Tls, took, format!("{} {}", info.version, info.cipher));
                if let Some(certificate) = &info.certificate {
                    inner.passed(Stage::Certificate, report.took, describe(certificate));
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

    /// Records a stage of the session. Ends the check if it was the last requested one.
    pub(super) fn passed(&self, stage: Stage, detail: impl Into<String>) -> Result<(), End> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let took = inner.since.elapsed();
        inner.passed(stage, took, detail.into());
        inner.since = Instant::now();
        if stage == inner.last { Err(End::Done) } else { Ok(()) }
    }

    /// Records the login, and why each other mechanism was not used.
    pub(super) fn logged_in(&self, login: &LoggedIn) -> Result<(), End> {
        let result = self.passed(Stage::Login, login.describe());
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((mechanism, reply)) = &login.refused {
            let why = format!("was refused by the server: {reply}");
            if inner.verbosity == Verbosity::Reasons {
                inner.output.line(format!("     {mechanism} {why}"));
            }
            inner.not_used.insert(mechanism.name(), why);
        }
        let refused = login.refused.as_ref().map(|(mechanism, _)| *mechanism);
        for (mechanism, why) in login.choice.rejections().filter(|(mechanism, _)| Some(*mechanism) != refused)
        {
            if inner.verbosity == Verbosity::Reasons {
                inner.output.line(format!("     {mechanism} {why}"));
            }
            inner.not_used.insert(mechanism.name(), why.to_string());
        }
        result
    }

    /// Ends the check if the connection has passed the last requested stage.
    pub(super) fn connected(&self) -> Result<(), End> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.pending.contains(&inner.last) { Ok(()) } else { Err(End::Done) }
    }

    /// Returns whether this stage is still to come.
    pub(super) fn is_pending(&self, stage: Stage) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pending.contains(&stage)
    }

    /// Ends a check whose URL names no user, with a hint that the login was not tried.
    pub(super) fn end_without_user(&self) -> End {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.output.hint("the URL names no user: the login and later stages were not tried");
        End::Done
    }

    /// Prints the failed stage, and in JSON the whole result.
    pub(super) fn finish(&self, failure: Option<&CommandError>) {
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
            object.insert("error".to_owned(), output::describe(failure));
        }
        if inner.verbosity == Verbosity::Reasons
            && let Some(object) = value.as_object_mut()
        {
            object.insert("mechanisms_not_used".to_owned(), serde_json::json!(inner.not_used));
        }
        inner.output.json(&value);
    }
}

impl Inner {
    fn passed(&mut self, stage: Stage, took: Duration, detail: String) {
        self.pending.retain(|other| *other != stage);
        self.show(stage, took, detail, None);
    }

    /// Prints the failed stage: the next one, or the certificate if the TLS handshake failed after it came.
    fn fail(&mut self, failure: &CommandError) {
        let next = self.pending.first().copied().unwrap_or(Stage::Folders);
        let took = self.since.elapsed();
        let (stage, detail) = match &self.certificate {
            Some(certificate) if next == Stage::Tls => {
                (Stage::Certificate, format!("{} (it is {certificate})", failure.what))
            }
            _ => (next, failure.what.clone()),
        };
        self.show(stage, took, detail, Some(failure));
    }

    fn show(&mut self, stage: Stage, took: Duration, detail: String, failure: Option<&CommandError>) {
        let line = Line {
            stage: stage.name(),
            ok: failure.is_none(),
            ms: (took.as_secs_f64() * 1e5).round() / 100.0,
            detail,
            advice: failure.and_then(|failure| failure.advice.clone()),
            server: failure.and_then(|failure| failure.server.clone()),
        };
        let mark = if line.ok { Mark::Ok } else { Mark::Fail };
        self.output.marked(mark, format!("{:13}{:>9.1} ms  {}", line.stage, line.ms, line.detail));
        if let Some(advice) = &line.advice {
            self.output.line(format!("     try: {advice}"));
        }
        self.lines.push(line);
    }
}

/// Describes a certificate on one line.
fn describe(certificate: &Certificate) -> String {
    let names =
        if certificate.names.is_empty() { certificate.subject.clone() } else { certificate.names.join(", ") };
    format!("for {names}; until {}; {}", certificate.not_after_day(), certificate.fingerprint)
}
