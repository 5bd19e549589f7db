//! The settings of a session: one value for both roles, shared by all sessions as `Arc<Config>`.
//!
//! This module defines the settings, their units and their defaults. The machines apply them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use proto_mail::sasl::{CustomMechanisms, ServerMechanism};
use proto_mail::{Limits, Mechanisms};

use crate::types::Strictness;

/// The settings of a session, client or server. Start with [`Config::default`] and chain the setters.
///
/// ```
/// use proto_imap::{Config, SaslIr};
/// let config = Config::default().sasl_ir(SaslIr::Never).server_name("mail.example.test");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The limits on what a peer can make this side store, count or wait for.
    pub limits: Limits,
    /// The time limits.
    pub waits: Waits,
    /// The mechanisms that this side uses. All other mechanisms of the peer are ignored.
    pub mechanisms: Mechanisms,
    /// Server: the mechanisms that the application can verify. The default is [`Mechanisms::passing_passwords`], PLAIN and
    /// LOGIN. An application that verifies tokens adds OAUTHBEARER and XOAUTH2, and one that stores
    /// [`ScramKeys`](proto_mail::sasl::ScramKeys) adds SCRAM; it adds EXTERNAL and ANONYMOUS if it supports them. The
    /// server offers the mechanisms that are in both sets and that the channel permits.
    pub offered_mechanisms: Mechanisms,
    /// Server: the application's custom mechanisms. They are offered under TLS only.
    pub custom_mechanisms: CustomMechanisms,
    /// Client: how strictly the server's responses are parsed. A server always parses strictly.
    pub reading: Strictness,
    /// Client: whether the first SASL message is sent with the command.
    pub sasl_ir: SaslIr,
    /// Client: whether literals are sent without waiting for the server's request.
    pub literals: NonSyncLiterals,
    /// Client: the server's capabilities that the machine ignores, as if the server did not list them. A name that ends
    /// with `=` stands for the capability with any value. Case is ignored. LOGINDISABLED is never ignored. Default: none.
    pub hidden_capabilities: Vec<String>,
    /// Server: its name in the greeting.
    pub server_name: String,
    /// Server: the extensions that the application implements, as capability names, such as `MOVE` or `UIDPLUS`.
    /// Their commands are accepted only if they are listed here. Default: none.
    ///
    /// The machine adds the extensions that it implements itself: IMAP4rev1, STARTTLS, LOGINDISABLED, AUTH=, SASL-IR,
    /// LITERAL- (LITERAL+ after the login), ENABLE and IDLE. Every other extension changes how the application must
    /// handle commands.
    pub extensions: Vec<String>,
    /// Server: the capabilities that a client may enable with ENABLE. Default: none.
    ///
    /// `IMAP4rev2` in this list also announces it, and accepts the commands that it includes: MOVE, NAMESPACE, UID
    /// EXPUNGE and UNSELECT (RFC 9051 Appendix E). The application answers them.
    pub enableable: Vec<String>,
    cleartext: Cleartext,
}

/// Whether everything is allowed without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleartext {
    OnlyWhatLeadsToTls,
    Danger,
}

/// Whether the first SASL message is sent with the AUTHENTICATE command (RFC 4959).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SaslIr {
    /// If the server offers SASL-IR.
    #[default]
    Auto,
    /// Never. Some servers offer SASL-IR but reject it.
    Never,
}

/// Whether a client sends non-synchronizing literals (RFC 7888).
///
/// A server that rejects such a literal must read its bytes and discard them (RFC 7888 §3). If a server lists LITERAL+
/// and doesn't, it takes these bytes for commands: the sender of a message then chooses them. A client that does not
/// trust its server in this respect uses [`Never`](Self::Never), which costs one round trip for each literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonSyncLiterals {
    /// If the server offers LITERAL+, or LITERAL- and the literal is small.
    #[default]
    Auto,
    /// Never. The server has to ask for each literal.
    Never,
}

/// The time limit of each wait. See [`WaitFor`](proto_mail::WaitFor).
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
    /// The rest of a message that has begun, and the answer to a request of this side: a SASL response, or a
    /// literal's continuation.
    pub rest: Duration,
    /// The next part of a streamed literal.
    pub data: Duration,
    /// Client: how long IDLE lasts. Then the client sends DONE, and the application begins it again (RFC 2177: within
    /// 29 minutes).
    pub idle: Duration,
    /// Server: the delay of the answer to a failed login.
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
            offered_mechanisms: Mechanisms::passing_passwords(),
            custom_mechanisms: CustomMechanisms::new(),
            reading: Strictness::Tolerant,
            sasl_ir: SaslIr::default(),
            literals: NonSyncLiterals::default(),
            hidden_capabilities: Vec::new(),
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

    /// Sets the time limits.
    #[must_use]
    pub const fn waits(mut self, waits: Waits) -> Self {
        self.waits = waits;
        self
    }

    /// Server: sets the mechanisms that the application can verify.
    #[must_use]
    pub const fn offered_mechanisms(mut self, mechanisms: Mechanisms) -> Self {
        self.offered_mechanisms = mechanisms;
        self
    }

    /// Server: adds a custom mechanism of the application, unless there is one with this name.
    #[must_use]
    pub fn with_mechanism(mut self, mechanism: Arc<dyn ServerMechanism>) -> Self {
        self.custom_mechanisms.add(mechanism);
        self
    }

    /// Sets the mechanisms that this side uses.
    #[must_use]
    pub const fn mechanisms(mut self, mechanisms: Mechanisms) -> Self {
        self.mechanisms = mechanisms;
        self
    }

    /// Client: sets how strictly responses are parsed.
    #[must_use]
    pub const fn reading(mut self, reading: Strictness) -> Self {
        self.reading = reading;
        self
    }

    /// Client: sets whether the first SASL message is sent with the command.
    #[must_use]
    pub const fn sasl_ir(mut self, sasl_ir: SaslIr) -> Self {
        self.sasl_ir = sasl_ir;
        self
    }

    /// Client: sets whether literals are sent without waiting for the server's request.
    #[must_use]
    pub const fn literals(mut self, literals: NonSyncLiterals) -> Self {
        self.literals = literals;
        self
    }

    /// Server: sets the name in the greeting.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = name.into();
        self
    }

    /// Client: sets the capabilities that the machine ignores, for servers whose extension does not work.
    ///
    /// ```
    /// use proto_imap::Config;
    /// let config = Config::default().hide_capabilities(["MOVE", "AUTH="]);
    /// ```
    #[must_use]
    pub fn hide_capabilities<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.hidden_capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// Server: sets the extensions that the application implements.
    #[must_use]
    pub fn extensions<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.extensions = names.into_iter().map(Into::into).collect();
        self
    }

    /// Server: sets the capabilities that a client may enable.
    #[must_use]
    pub fn enableable<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.enableable = names.into_iter().map(Into::into).collect();
        self
    }

    /// Client: allows everything without TLS, so that anyone on the network path can read and change it. Logging in
    /// still requires [`danger_cleartext_authenticate`](crate::client::Client::danger_cleartext_authenticate).
    #[must_use]
    pub const fn danger_cleartext(mut self) -> Self {
        self.cleartext = Cleartext::Danger;
        self
    }

    /// Returns whether a client ignores this capability of the server.
    pub(crate) fn hides(&self, capability: &[u8]) -> bool {
        let is_hidden = |name: &String| {
            let start = if name.ends_with('=') { capability.get(..name.len()) } else { Some(capability) };
            start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        };
        !capability.eq_ignore_ascii_case(b"LOGINDISABLED") && self.hidden_capabilities.iter().any(is_hidden)
    }

    /// Returns whether a server offers this capability to a client that has logged in.
    pub(crate) fn offers(&self, capability: &str) -> bool {
        let lists = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(capability));
        match capability {
            "ENABLE" | "IDLE" => true,
            "IMAP4rev2" => lists(&self.enableable),
            // The capability with any value.
            name if name.ends_with('=') => self
                .extensions
                .iter()
                .any(|listed| listed.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))),
            _ => lists(&self.extensions),
        }
    }

    /// Returns the size in bytes of the largest message that a server accepts: [`Limits::message`], or the value of
    /// `APPENDLIMIT=` in the extensions if that is smaller (RFC 7889).
    pub(crate) fn append_limit(&self) -> u64 {
        let announced = self.extensions.iter().filter_map(|name| {
            let (key, value) = name.split_once('=')?;
            if key.eq_ignore_ascii_case("APPENDLIMIT") { value.parse::<u64>().ok() } else { None }
        });
        announced.fold(self.limits.message, u64::min)
    }

    pub(crate) const fn allows_cleartext(&self) -> bool {
        matches!(self.cleartext, Cleartext::Danger)
    }
}
