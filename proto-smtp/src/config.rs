//! What can be set for a session: one value for both roles, shared by all sessions as `Arc<Config>`.
//!
//! This file knows the settings, their units and their defaults. It does not know how they are applied.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use core::time::Duration;

use proto_mail::sasl::{CustomMechanisms, ServerMechanism};
use proto_mail::{Limits, Mechanisms};

use crate::data::{BareNewline, LineEndings};
use crate::types::{Domain, Extension, ExtensionSet, Offers};

/// The settings of a session, client or server. Make one with [`Config::default`] and the chaining setters.
///
/// ```
/// use proto_smtp::{Config, types::Domain};
/// let name = Domain::parse("mail.example.test")?.into_owned();
/// let config = Config::default().name(name).require_authentication();
/// # Ok::<(), proto_smtp::parse::SyntaxError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// How much a peer can make us hold, count or wait for.
    pub limits: Limits,
    /// How long each thing may take.
    pub waits: Waits,
    /// SMTP or LMTP.
    pub dialect: Dialect,
    /// The mechanisms that this side takes part in. What the peer offers or asks beyond them does not exist.
    pub mechanisms: Mechanisms,
    /// A server: the mechanisms whose questions its application answers. Passwords and tokens are verified by any
    /// ([`Mechanisms::passing_credentials`], the default); whoever keeps [`ScramKeys`](proto_mail::sasl::ScramKeys) adds SCRAM, and
    /// EXTERNAL and ANONYMOUS are added by whoever means them. What is offered is in both sets, and can be spoken over
    /// the channel.
    pub served: Mechanisms,
    /// A server: the mechanisms that its application has brought along. They are offered under TLS only.
    pub others: CustomMechanisms,
    /// What this side calls itself: a client in EHLO, a server in its greeting. A client without a name of its own
    /// should use its address literal (RFC 5321 §4.1.4).
    pub name: Domain<'static>,
    /// Bare CR, bare LF and NUL in what is received.
    pub bare_newline: BareNewline,
    /// Client: line ends in the messages that are sent.
    pub line_endings: LineEndings,
    /// Client: whether the first SASL message goes with the command.
    pub initial_response: InitialResponse,
    /// Client: what is sent without waiting, where the server allows it.
    pub pipelining: Pipelining,
    /// Client: what to do with a reply whose lines bear different codes.
    pub mixed_codes: MixedCodes,
    /// Server: the extensions that are offered, but for XCLIENT and XFORWARD, which only
    /// [`offer`](crate::server::Server::offer) offers. STARTTLS is offered on cleartext only, AUTH under TLS only and with
    /// [`mechanisms`](Self::mechanisms), whatever stands here.
    pub extensions: ExtensionSet,
    /// Server: what is said of them beyond their names, and kept to.
    pub offers: Offers,
    /// Server: what stands behind the name in the greeting.
    pub greeting: Cow<'static, str>,
    /// Server: what to do with a client that speaks before it was greeted.
    pub early_talker: EarlyTalker,
    /// Server: what to do with parameters of MAIL and RCPT that are not known, or whose extension is not offered.
    pub unknown_parameters: UnknownParameters,
    /// Server: the longest command line in octets, CRLF included (RFC 5321 §4.5.3.1.4: at least 512, more with
    /// extensions).
    pub command_line: usize,
    /// Server: the longest line of AUTH in octets (RFC 4954 §4.5: at least 12288).
    pub authentication_line: usize,
    require: Require,
    cleartext: Cleartext,
    has_own_name: bool,
}

/// Which of the two protocols is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// SMTP (RFC 5321), submission (RFC 6409) included.
    #[default]
    Smtp,
    /// LMTP (RFC 2033): LHLO in place of EHLO, and one reply for each recipient behind the message.
    Lmtp,
}

/// Whether the first SASL message goes with the AUTH command (RFC 4954 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum InitialResponse {
    /// Where the line stays within 512 octets, as the RFC asks.
    #[default]
    Short,
    /// Never: some servers refuse it.
    Never,
}

/// What a client sends without waiting for replies, where PIPELINING is offered (RFC 2920).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pipelining {
    /// MAIL, every RCPT and DATA.
    #[default]
    WithData,
    /// MAIL and every RCPT; a few servers stumble over DATA behind them.
    Envelope,
    /// Nothing: one command at a time.
    Off,
}

/// What a client makes of a reply whose lines bear different codes (RFC 5321 §4.2.1 forbids it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MixedCodes {
    /// The last code counts if it says no; otherwise the reply is an error. A mixture never reads as success.
    #[default]
    LastRefusal,
    /// An error.
    Refuse,
}

/// What a server does with a client that speaks before it was greeted (RFC 5321 §4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EarlyTalker {
    /// Sends it away with 554.
    #[default]
    Reject,
    /// Serves it all the same.
    Accept,
}

/// What a server does with parameters that it does not know or does not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UnknownParameters {
    /// Refuses the command with 555 (RFC 5321 §4.1.1.11).
    #[default]
    Reject,
    /// Leaves them to the application.
    Accept,
}

/// How long each wait may take. See [`WaitFor`](proto_mail::WaitFor).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// Client: the greeting (RFC 5321 §4.5.3.2.1: 5 minutes).
    pub greeting: Duration,
    /// Client: the answer to a command (§4.5.3.2.2, §4.5.3.2.3: 5 minutes).
    pub reply: Duration,
    /// Client: the answer to DATA (§4.5.3.2.4: 2 minutes).
    pub data_start: Duration,
    /// Client: the answer to the end of a message (§4.5.3.2.6: 10 minutes).
    pub data_end: Duration,
    /// Server: the next command (§4.5.3.2.7: at least 5 minutes).
    pub command: Duration,
    /// Server: the next part of a message (§4.5.3.2.5: 3 minutes).
    pub data: Duration,
    /// Server: how long the greeting is held back, to see whether the client waits for it. Zero: not at all.
    pub greeting_delay: Duration,
    /// Server: how long the answer to a failed authentication is held back. Zero: not at all.
    pub delay: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Require {
    Nothing,
    Tls,
    Authentication,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleartext {
    OnlyWhatLeadsToTls,
    Danger,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(5 * 60),
            reply: Duration::from_secs(5 * 60),
            data_start: Duration::from_secs(2 * 60),
            data_end: Duration::from_secs(10 * 60),
            command: Duration::from_secs(5 * 60),
            data: Duration::from_secs(3 * 60),
            greeting_delay: Duration::ZERO,
            delay: Duration::from_secs(2),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            waits: Waits::default(),
            dialect: Dialect::default(),
            mechanisms: Mechanisms::all(),
            served: Mechanisms::passing_credentials(),
            others: CustomMechanisms::new(),
            name: Domain::checked("localhost"),
            has_own_name: false,
            bare_newline: BareNewline::default(),
            line_endings: LineEndings::default(),
            initial_response: InitialResponse::default(),
            pipelining: Pipelining::default(),
            mixed_codes: MixedCodes::default(),
            extensions: [
                Extension::Pipelining,
                Extension::Size,
                Extension::StartTls,
                Extension::Auth,
                Extension::EnhancedStatusCodes,
                Extension::EightBitMime,
                Extension::SmtpUtf8,
                Extension::Chunking,
                Extension::BinaryMime,
                Extension::Help,
            ]
            .into_iter()
            .collect(),
            offers: Offers::default(),
            greeting: Cow::Borrowed("Mailwire ready"),
            early_talker: EarlyTalker::default(),
            unknown_parameters: UnknownParameters::default(),
            command_line: 2048,
            authentication_line: 12_288,
            require: Require::Nothing,
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

    /// Sets which protocol is spoken.
    #[must_use]
    pub const fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Sets the mechanisms whose questions a server's application answers.
    #[must_use]
    pub const fn served(mut self, mechanisms: Mechanisms) -> Self {
        self.served = mechanisms;
        self
    }

    /// Server: adds a mechanism that the application has brought along, unless there is one of that name.
    #[must_use]
    pub fn with_mechanism(mut self, mechanism: Arc<dyn ServerMechanism>) -> Self {
        self.others.add(mechanism);
        self
    }

    /// Sets the mechanisms that this side takes part in.
    #[must_use]
    pub const fn mechanisms(mut self, mechanisms: Mechanisms) -> Self {
        self.mechanisms = mechanisms;
        self
    }

    /// Sets what this side calls itself.
    #[must_use]
    pub fn name(mut self, name: Domain<'static>) -> Self {
        self.name = name;
        self.has_own_name = true;
        self
    }

    /// Whether [`name`](Self::name) was set. A client without a name of its own should use its address literal
    /// (RFC 5321 §4.1.4), which only its driver knows.
    #[must_use]
    pub const fn has_own_name(&self) -> bool {
        self.has_own_name
    }

    /// Sets what is done with bare CR, bare LF and NUL in what is received.
    #[must_use]
    pub const fn bare_newline(mut self, bare_newline: BareNewline) -> Self {
        self.bare_newline = bare_newline;
        self
    }

    /// Client: sets what is done with line ends that are not CRLF in the messages that are sent.
    #[must_use]
    pub const fn line_endings(mut self, line_endings: LineEndings) -> Self {
        self.line_endings = line_endings;
        self
    }

    /// Client: sets whether the first SASL message goes with the command.
    #[must_use]
    pub const fn initial_response(mut self, initial_response: InitialResponse) -> Self {
        self.initial_response = initial_response;
        self
    }

    /// Client: sets what is sent without waiting.
    #[must_use]
    pub const fn pipelining(mut self, pipelining: Pipelining) -> Self {
        self.pipelining = pipelining;
        self
    }

    /// Client: sets what is made of a reply whose lines bear different codes.
    #[must_use]
    pub const fn mixed_codes(mut self, mixed_codes: MixedCodes) -> Self {
        self.mixed_codes = mixed_codes;
        self
    }

    /// Server: sets the extensions that are offered.
    #[must_use]
    pub const fn extensions(mut self, extensions: ExtensionSet) -> Self {
        self.extensions = extensions;
        self
    }

    /// Server: sets what is said of the extensions beyond their names.
    #[must_use]
    pub fn offers(mut self, offers: Offers) -> Self {
        self.offers = offers;
        self
    }

    /// Server: sets what stands behind the name in the greeting.
    #[must_use]
    pub fn greeting(mut self, greeting: impl Into<Cow<'static, str>>) -> Self {
        self.greeting = greeting.into();
        self
    }

    /// Server: sets what is done with a client that speaks before it was greeted.
    #[must_use]
    pub const fn early_talker(mut self, early_talker: EarlyTalker) -> Self {
        self.early_talker = early_talker;
        self
    }

    /// Server: sets what is done with parameters that are not known.
    #[must_use]
    pub const fn unknown_parameters(mut self, unknown_parameters: UnknownParameters) -> Self {
        self.unknown_parameters = unknown_parameters;
        self
    }

    /// Server: takes no mail before TLS is in place (530).
    #[must_use]
    pub const fn require_tls(mut self) -> Self {
        if matches!(self.require, Require::Nothing) {
            self.require = Require::Tls;
        }
        self
    }

    /// Server: takes no mail before the client has authenticated (530), and so none before TLS, as submission wants
    /// it (RFC 6409 §4.3).
    #[must_use]
    pub const fn require_authentication(mut self) -> Self {
        self.require = Require::Authentication;
        self
    }

    /// Client: mail may be sent without TLS, where anyone on the way can read and change it. Credentials still need
    /// [`danger_cleartext_authenticate`](crate::client::Client::danger_cleartext_authenticate).
    #[must_use]
    pub const fn danger_cleartext(mut self) -> Self {
        self.cleartext = Cleartext::Danger;
        self
    }

    pub(crate) const fn allows_cleartext(&self) -> bool {
        matches!(self.cleartext, Cleartext::Danger)
    }

    pub(crate) const fn requires_tls(&self) -> bool {
        matches!(self.require, Require::Tls | Require::Authentication)
    }

    pub(crate) const fn requires_authentication(&self) -> bool {
        matches!(self.require, Require::Authentication)
    }
}
