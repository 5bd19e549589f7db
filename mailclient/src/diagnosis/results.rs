//! The results of a diagnosis: which stages have passed, what was found, and why one failed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use io_common::{Certificate, ConnectStage};
use serde::Serialize;

use crate::endpoint::{Encryption, Endpoint, Protocol, TlsMode, Url};
use crate::error::Error;
use crate::login::LoggedIn;
use crate::server_reply::ServerReply;

use super::session::SessionStage;
use super::stage::Stage;

/// The result of a stage. Serialises with the keys `stage`, `ok`, `ms`, `detail`, `try` and `server`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StageResult {
    /// The stage.
    pub stage: Stage,
    /// Whether it passed.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// What was found, or why the stage failed.
    pub detail: String,
    /// What to try, if it failed.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The reply with which the server refused the stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerReply>,
}

/// A diagnosis: which stages have passed, and which are still to come.
#[derive(Debug)]
pub struct Diagnosis {
    url: Url,
    /// The stages still to come, in order.
    pending: Vec<Stage>,
    /// The last stage to run.
    last: Stage,
    results: Vec<StageResult>,
    /// Why each other mechanism was not used.
    not_used: BTreeMap<&'static str, String>,
    /// The server's certificate, accepted or not.
    certificate: Option<String>,
    /// How long the handshake took before the certificate was verified.
    handshake: Duration,
    error: Option<Error>,
}

impl Diagnosis {
    /// Starts a diagnosis. `last` is the last stage to run; SMTP ends with the login.
    #[must_use]
    pub fn new(endpoint: &Endpoint, last: Stage) -> Self {
        let url = endpoint.url();
        let mut pending = match (endpoint.encryption_mode(), url.tls) {
            (Encryption::Required, TlsMode::StartTls) => {
                vec![Stage::Name, Stage::Tcp, Stage::Greeting, Stage::Tls, Stage::Certificate]
            }
            (Encryption::Required, TlsMode::Implicit) => {
                vec![Stage::Name, Stage::Tcp, Stage::Tls, Stage::Certificate, Stage::Greeting]
            }
            _ => vec![Stage::Name, Stage::Tcp, Stage::Greeting],
        };
        pending.extend([Stage::Capabilities, Stage::Login]);
        if url.protocol == Protocol::Imap {
            pending.push(Stage::Folders);
        }
        // SMTP has no folders.
        let last = if pending.contains(&last) { last } else { Stage::Login };
        Self {
            url: url.clone(),
            pending,
            last,
            results: Vec::new(),
            not_used: BTreeMap::new(),
            certificate: None,
            handshake: Duration::ZERO,
            error: None,
        }
    }

    /// Records a stage of the connection. Returns how many results this added.
    pub fn observe(&mut self, stage: &ConnectStage, took: Duration) -> usize {
        let before = self.results.len();
        match stage {
            ConnectStage::Resolved(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                self.pass(Stage::Name, took, addresses.join(", "));
            }
            ConnectStage::Connected(address) => self.pass(Stage::Tcp, took, address.to_string()),
            ConnectStage::Greeted => self.pass(Stage::Greeting, took, "ready for STARTTLS".to_owned()),
            ConnectStage::TlsDone(info) => {
                self.pass(Stage::Tls, self.handshake + took, format!("{} {}", info.version, info.cipher));
                if let Some(certificate) = &info.certificate {
                    self.pass(Stage::Certificate, took, describe(certificate));
                }
            }
            ConnectStage::Certificate(certificate) => {
                self.certificate = Some(describe(certificate));
                self.handshake = took;
            }
            _ => {}
        }
        self.results.len() - before
    }

    /// Records a stage of the session. A greeting that the connection has reported already is ignored. Breaks if it was
    /// the last stage to run.
    pub fn passed(&mut self, passed: SessionStage<'_>, took: Duration) -> ControlFlow<()> {
        let (stage, detail) = match passed {
            SessionStage::Greeting(_) if !self.is_pending(Stage::Greeting) => {
                return ControlFlow::Continue(());
            }
            SessionStage::Greeting(text) => (Stage::Greeting, text.to_owned()),
            SessionStage::Capabilities(text) => (Stage::Capabilities, text),
            SessionStage::Login(logged_in) => {
                self.explain_choice(logged_in);
                (Stage::Login, logged_in.describe())
            }
            SessionStage::Folders(folders) => (Stage::Folders, format!("{} folders", folders.len())),
        };
        self.pass(stage, took, detail);
        if stage == self.last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Records why the next stage failed, or the certificate if the TLS handshake failed after it came. Ends the diagnosis.
    pub fn failed(&mut self, error: Error, took: Duration) {
        let error = error.at(&self.url);
        let next = self.pending.first().copied().unwrap_or(Stage::Folders);
        let (stage, detail) = match &self.certificate {
            Some(certificate) if next == Stage::Tls => {
                (Stage::Certificate, format!("{} (it is {certificate})", error.message()))
            }
            _ => (next, error.message().to_owned()),
        };
        let hint = error.hint().map(ToString::to_string);
        let server = error.reply().cloned();
        self.results.push(StageResult { stage, ok: false, ms: milliseconds(took), detail, hint, server });
        self.error = Some(error);
    }

    /// Returns whether this stage is still to come.
    #[must_use]
    pub fn is_pending(&self, stage: Stage) -> bool {
        self.pending.contains(&stage)
    }

    /// Returns whether the last stage to run has passed.
    #[must_use]
    pub fn has_passed_last(&self) -> bool {
        !self.is_pending(self.last)
    }

    /// Returns the last stage to run.
    #[must_use]
    pub const fn last(&self) -> Stage {
        self.last
    }

    /// Returns the results so far, in order.
    #[must_use]
    pub fn results(&self) -> &[StageResult] {
        &self.results
    }

    /// Returns why the last result is a failure.
    #[must_use]
    pub const fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Returns why each mechanism other than the one used was not used, by its name. Empty before the login.
    #[must_use]
    pub const fn mechanisms_not_used(&self) -> &BTreeMap<&'static str, String> {
        &self.not_used
    }

    fn pass(&mut self, stage: Stage, took: Duration, detail: String) {
        self.pending.retain(|other| *other != stage);
        let ms = milliseconds(took);
        self.results.push(StageResult { stage, ok: true, ms, detail, hint: None, server: None });
    }

    fn explain_choice(&mut self, login: &LoggedIn) {
        self.not_used.extend(login.not_used().into_iter().map(|(mechanism, why)| (mechanism.name(), why)));
    }
}

/// Rounds to two decimals.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e5).round() / 100.0
}

/// Describes a certificate on one line.
fn describe(certificate: &Certificate) -> String {
    let names =
        if certificate.names.is_empty() { certificate.subject.clone() } else { certificate.names.join(", ") };
    format!("for {names}; until {}; {}", certificate.not_after_day(), certificate.fingerprint)
}
