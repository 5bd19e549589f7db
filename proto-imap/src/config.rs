//! What can be set for a session: one value for both roles, shared by all sessions as `Arc<Config>`.
//!
//! This file knows the settings, their units and their defaults. It does not know how they are applied.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use proto_mail::sasl::{CustomMechanisms, ServerMechanism};
use proto_mail::{Limits, Mechanisms};

use crate::types::Strictness;

/// The settings of a session, client or server. Make one with [`Config::default`] and the chaining setters.
///
/// ```
/// use proto_imap::{Config, SaslIr};
/// let config = Config::default().sasl_ir(SaslIr::Never).server_name("mail.example.test");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// How much a peer can make us hold, count or wait for.
    pub limits: Limits,
    /// How long each thing may take.
    pub waits: Waits,
    /// The mechanisms that this side takes part in. What the peer offers or asks beyond them does not exist.
    pub mechanisms: Mechanisms,
    /// A server: the mechanisms whose questions its application answers. Passwords and tokens are verified by any
    /// ([`Mechanisms::passing_credentials`], the default); an application that stores [`ScramKeys`](proto_mail::sasl::ScramKeys) adds SCRAM, and
    /// an application adds EXTERNAL and ANONYMOUS if it supports them. What is offered is in both sets, and can be spoken over
    /// the channel.
    pub offered_mechanisms: Mechanisms,
    /// A server: the mechanisms that its application has brought along. They are offered under TLS only.
    pub custom_mechanisms: CustomMechanisms,
    /// Client: how strictly the server's responses are read. A server always reads strictly.
    pub reading: Strictness,
    /// Client: whether the first SASL message goes with the command.
    pub sasl_ir: SaslIr,
    /// Server: the name that it gives itself in its greeting.
    pub server_name: String,
    /// Server: the extensions that the application implements, as capability names, such as `MOVE` or `UIDPLUS`. Their commands
    /// are known only if they are listed here. Default: none.
    ///
    /// The machine adds what it implements without the application: IMAP4rev1, STARTTLS, LOGINDISABLED, AUTH=, SASL-IR,
    /// LITERAL- (LITERAL+ after the log-in), ENABLE and IDLE. Every other extension changes what commands do or answer,
    /// which only the application can provide.
    pub extensions: Vec<String>,
    /// Server: the capabilities that a client may switch on with ENABLE. `IMAP4rev2` here also announces it, and makes the
    /// commands known that it includes: MOVE, NAMESPACE, UID EXPUNGE and UNSELECT (RFC 9051 Appendix E), which the
    /// application answers. Default: none.
    pub enableable: Vec<String>,
    cleartext: Cleartext,
}

/// What may be done without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleartext {
    OnlyWhatLeadsToTls,
    Danger,
}

/// Whether the first SASL message goes with the AUTHENTICATE command (RFC 4959).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SaslIr {
    /// Where the server offers SASL-IR.
    #[default]
    Auto,
    /// Never: some servers offer it and refuse it.
    Never,
}

/// How long each wait may take. See [`WaitFor`](proto_mail::WaitFor).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// Client: the greeting.
    pub greeting: Duration,
    /// Server: the next command (RFC 9051 §5.4: at least 30 minutes).
    pub command: Duration,
    /// Server: the next command of a client that has not authenticated.
    pub authentication: Duration,
    /// Client: the answer to a command.
    pub reply: Duration,
    /// The rest of a message that has begun, and the answer to what this side asked the peer for (a SASL response,
    /// a literal's continuation).
    pub rest: Duration,
    /// The next part of a streamed literal.
    pub data: Duration,
    /// Client: anything at all while idle; then the client renews (RFC 2177: within 29 minutes).
    pub idle: Duration,
    /// Server: how long the answer to a failed authentication is held back.
    pub delay: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(60),
            command: Duration::from_secs(30 * 60),
            authentication: Duration::from_secs(60),
            reply: Duration::from_secs(5 * 60),
            rest: Duration::from_secs(60),
            data: Duration::from_secs(3 * 60),
            idle: Duration::from_secs(29 * 60),
            delay: Duration::from_secs(2),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            waits: Waits::default(),
            mechanisms: Mechanisms::all(),
            offered_mechanisms: Mechanisms::passing_credentials(),
            custom_mechanisms: CustomMechanisms::new(),
            reading: Strictness::Tolerant,
            sasl_ir: SaslIr::default(),
            server_name: String::from("Mailwire"),
            extensions: Vec::new(),
            enableable: Vec::new(),
            cleartext: Cleartext::OnlyWhatLeadsToTls,
        }
    }
}

impl Config {
    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how long each thing may take.
    #[must_use]
    pub const fn waits(mut self, waits: Waits) -> Self {
        self.waits = waits;
        self
    }

    /// Sets the mechanisms whose questions a server's application answers.
    #[must_use]
    pub const fn offered_mechanisms(mut self, mechanisms: Mechanisms) -> Self {
        self.offered_mechanisms = mechanisms;
        self
    }

    /// Server: adds a mechanism that the application has brought along, unless there is one of that name.
    #[must_use]
    pub fn with_mechanism(mut self, mechanism: Arc<dyn ServerMechanism>) -> Self {
        self.custom_mechanisms.add(mechanism);
        self
    }

    /// Sets the mechanisms that this side takes part in.
    #[must_use]
    pub const fn mechanisms(mut self, mechanisms: Mechanisms) -> Self {
        self.mechanisms = mechanisms;
        self
    }

    /// Client: sets how strictly responses are read.
    #[must_use]
    pub const fn reading(mut self, reading: Strictness) -> Self {
        self.reading = reading;
        self
    }

    /// Client: sets whether the first SASL message goes with the command.
    #[must_use]
    pub const fn sasl_ir(mut self, sasl_ir: SaslIr) -> Self {
        self.sasl_ir = sasl_ir;
        self
    }

    /// Server: sets the name in the greeting.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = name.into();
        self
    }

    /// Server: sets the extensions that the application implements.
    #[must_use]
    pub fn extensions<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.extensions = names.into_iter().map(Into::into).collect();
        self
    }

    /// Server: sets what a client may ENABLE.
    #[must_use]
    pub fn enableable<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.enableable = names.into_iter().map(Into::into).collect();
        self
    }

    /// Client: everything may be done without TLS: anyone on the way can read and change it. Credentials still need
    /// [`danger_cleartext_authenticate`](crate::client::Client::danger_cleartext_authenticate).
    #[must_use]
    pub const fn danger_cleartext(mut self) -> Self {
        self.cleartext = Cleartext::Danger;
        self
    }

    /// Whether a server offers this capability to a client that has logged in.
    pub(crate) fn offers(&self, capability: &str) -> bool {
        let lists = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(capability));
        match capability {
            "ENABLE" | "IDLE" => true,
            "IMAP4rev2" => lists(&self.enableable),
            _ => lists(&self.extensions),
        }
    }

    pub(crate) const fn allows_cleartext(&self) -> bool {
        matches!(self.cleartext, Cleartext::Danger)
    }
}
