//! The settings of a session.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use core::time::Duration;

use proto_mail::sasl::{CustomMechanisms, ServerMechanism};
use proto_mail::{Limits, Mechanisms};

use crate::data::{BareNewline, LineEndings};
use crate::domain::Domain;
use crate::extension::{Extension, ExtensionSet};
use crate::extension_parameters::ExtensionParameters;

/// The settings of a session, client or server. Choose the role by name, add the chaining setters, and share the value
/// between sessions as `Arc<Config>`.
///
/// | role | made with | takes mail | offers AUTH |
/// |---|---|---|---|
/// | client | [`Config::default`] | | |
/// | submission server (RFC 6409) | [`Config::submission`] | under TLS, from clients that have logged in | under TLS |
/// | mail exchanger, the server that an MX record names | [`Config::mail_exchanger`] | from everyone, also on cleartext | never |
/// | LMTP server (RFC 2033) | [`Config::lmtp`] | from every program that can connect | never |
///
/// ```
/// use proto_smtp::{Config, types::Domain};
/// let name = Domain::parse("mail.example.test")?.into_owned();
/// let config = Config::submission().name(name);
/// # Ok::<(), proto_smtp::types::SyntaxError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The limits on what a peer can make a session store, count or wait for.
    pub limits: Limits,
    /// How long each wait may take.
    pub waits: Waits,
    /// The protocol. Default: [`Dialect::Smtp`].
    pub dialect: Dialect,
    /// The SASL mechanisms that this side uses. Others are neither offered nor chosen. Default: all.
    pub mechanisms: Mechanisms,
    /// Server: the SASL mechanisms that are offered, if they are also in [`mechanisms`](Self::mechanisms) and the channel
    /// supports them. Default: [`Mechanisms::passing_passwords`], PLAIN and LOGIN, which send a password for the application
    /// to verify. Add OAUTHBEARER and XOAUTH2 if the application verifies tokens, and SCRAM if the application stores [`ScramKeys`](proto_mail::sasl::ScramKeys). EXTERNAL and ANONYMOUS are
    /// never offered unless they are added.
    pub offered_mechanisms: Mechanisms,
    /// Server: the mechanisms that the application implements. They are offered under TLS only. Default: none.
    pub custom_mechanisms: CustomMechanisms,
    /// The host name that a client sends in EHLO and a server in its greeting. A client without a host name should use its
    /// address literal (RFC 5321 §4.1.4). Default: `localhost`.
    pub name: Domain<'static>,
    /// What to do with bare CR, bare LF and NUL in received bytes. Default: [`BareNewline::Reject`].
    pub bare_newline: BareNewline,
    /// Client: what to do with line ends that are not CRLF in the messages that are sent. Default:
    /// [`LineEndings::Require`].
    pub line_endings: LineEndings,
    /// Client: whether AUTH carries the first SASL message. Default: [`InitialResponse::Short`].
    pub initial_response: InitialResponse,
    /// Client: which commands are pipelined if the server offers it. Default: [`Pipelining::WithData`].
    pub pipelining: Pipelining,
    /// Client: what to do with a reply whose lines have different codes. Default: [`MixedCodes::LastRefusal`].
    pub mixed_codes: MixedCodes,
    /// Server: the extensions that are offered. STARTTLS is offered on cleartext only, AUTH under TLS only, and XCLIENT and
    /// XFORWARD only by [`Server::offer`](crate::server::Server::offer). Default: those that need nothing of the
    /// application beyond storing the message: PIPELINING, SIZE, STARTTLS, AUTH, ENHANCEDSTATUSCODES, 8BITMIME, SMTPUTF8,
    /// CHUNKING, BINARYMIME and HELP.
    pub extensions: ExtensionSet,
    /// Server: the parameters of the extensions, announced and enforced. Default: none.
    pub extension_parameters: ExtensionParameters,
    /// Server: the text after the host name in the greeting. Default: `Mailwire ready`.
    pub greeting: Cow<'static, str>,
    /// Server: what to do with a client that sends before the greeting. Default: [`EarlyTalker::Reject`].
    pub early_talker: EarlyTalker,
    /// Server: what to do with parameters of MAIL and RCPT that are unknown, or whose extension is not offered. Default:
    /// [`UnknownParameters::Reject`].
    pub unknown_parameters: UnknownParameters,
    /// Server: the longest command line in bytes, with CRLF (RFC 5321 §4.5.3.1.4: at least 512, more with extensions).
    /// Default: 2048.
    pub max_command_line: usize,
    /// Server: the longest line of AUTH and of its exchange in bytes (RFC 4954 §4.5: at least 12 288). Default: 12 288.
    pub max_auth_line: usize,
    /// Server: the most commands in a row that make no progress. Progress is an accepted MAIL, RCPT, message part or
    /// authentication. At the limit the server replies 421 and ends the session. This bounds floods of NOOP, RSET, VRFY and
    /// HELP, which no other limit ends once the client has authenticated. Default: 1000.
    pub max_idle_commands: u32,
    require: Require,
    cleartext: Cleartext,
    has_own_name: bool,
}

/// The protocol of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// SMTP (RFC 5321), submission (RFC 6409) included.
    #[default]
    Smtp,
    /// LMTP (RFC 2033): LHLO instead of EHLO, and one reply for each recipient after the message.
    Lmtp,
}

/// Whether the AUTH command carries the first SASL message (RFC 4954 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum InitialResponse {
    /// If the line is at most 512 bytes long, as the RFC requires.
    #[default]
    Short,
    /// Never: some servers reject it.
    Never,
}

/// Which commands a client sends without waiting for replies, if the server offers PIPELINING (RFC 2920).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Pipelining {
    /// MAIL, every RCPT and DATA.
    #[default]
    WithData,
    /// MAIL and every RCPT: a few servers do not accept a pipelined DATA.
    Envelope,
    /// None: one command at a time.
    Off,
}

/// What a client does with a reply whose lines have different codes (RFC 5321 §4.2.1 forbids it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MixedCodes {
    /// The last code counts if it is a rejection; otherwise the reply is an error. Mixed codes never mean success.
    #[default]
    LastRefusal,
    /// The reply is an error.
    Refuse,
}

/// What a server does with a client that sends before the greeting (RFC 5321 §4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum EarlyTalker {
    /// It replies 554 and ends the session.
    #[default]
    Reject,
    /// It ignores the fault.
    Accept,
}

/// What a server does with parameters that it does not know, or whose extension it does not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum UnknownParameters {
    /// It rejects the command with 555 (RFC 5321 §4.1.1.11).
    #[default]
    Reject,
    /// It passes them to the application.
    Accept,
}

/// How long each wait may take. See [`WaitFor`](proto_mail::WaitFor).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// Client: for the greeting. Default: 5 minutes (RFC 5321 §4.5.3.2.1).
    pub greeting: Duration,
    /// Client: for the reply to a command. Default: 5 minutes (§4.5.3.2.2, §4.5.3.2.3).
    pub reply: Duration,
    /// Client: for the reply to DATA. Default: 2 minutes (§4.5.3.2.4).
    pub data_start: Duration,
    /// Client: for the reply to the end of a message. Default: 10 minutes (§4.5.3.2.6).
    pub data_end: Duration,
    /// Server: for the next command. Default: 5 minutes (§4.5.3.2.7).
    pub command: Duration,
    /// Server: for the next part of a message. Default: 3 minutes (§4.5.3.2.5).
    pub data: Duration,
    /// Server: the delay of the greeting, to detect clients that do not wait for it. Default: zero, no delay.
    pub greeting_delay: Duration,
    /// Server: the delay of the reply to a failed authentication. Default: 2 seconds.
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
    StartTlsOnly,
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
    /// Returns the settings of a client, and of a [submission server](Config::submission): as a server, they reject mail
    /// before TLS and before the client has logged in.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            waits: Waits::default(),
            dialect: Dialect::default(),
            mechanisms: Mechanisms::all(),
            offered_mechanisms: Mechanisms::passing_passwords(),
            custom_mechanisms: CustomMechanisms::new(),
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
            extension_parameters: ExtensionParameters::default(),
            greeting: Cow::Borrowed("Mailwire ready"),
            early_talker: EarlyTalker::default(),
            unknown_parameters: UnknownParameters::default(),
            max_command_line: 2048,
            max_auth_line: 12_288,
            max_idle_commands: 1000,
            require: Require::Authentication,
            cleartext: Cleartext::StartTlsOnly,
        }
    }
}

impl Config {
    /// Returns the settings of a submission server (RFC 6409): it takes mail only under TLS, and only from clients that have
    /// logged in. These are also the settings of [`Config::default`].
    #[must_use]
    pub fn submission() -> Self {
        Self::default()
    }

    /// Returns the settings of a mail exchanger, the server that the MX record of a domain names: it takes mail from everyone,
    /// also on cleartext, and does not offer AUTH. The application must accept only recipients that it delivers to itself;
    /// otherwise the server is an open relay. With [`require_tls`](Self::require_tls) it takes mail under TLS only.
    #[must_use]
    pub fn mail_exchanger() -> Self {
        let config = Self::default();
        let extensions = config.extensions.without(Extension::Auth);
        config.extensions(extensions).optional_authentication()
    }

    /// Returns the settings of an LMTP server (RFC 2033), to which another program on this machine delivers: it takes mail
    /// from every client that can connect, and does not offer AUTH.
    #[must_use]
    pub fn lmtp() -> Self {
        Self::mail_exchanger().dialect(Dialect::Lmtp)
    }

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

    /// Sets the protocol.
    #[must_use]
    pub const fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Server: sets the SASL mechanisms that are offered.
    #[must_use]
    pub const fn offered_mechanisms(mut self, mechanisms: Mechanisms) -> Self {
        self.offered_mechanisms = mechanisms;
        self
    }

    /// Server: adds a mechanism that the application implements, unless one of the same name was added before.
    #[must_use]
    pub fn with_mechanism(mut self, mechanism: Arc<dyn ServerMechanism>) -> Self {
        self.custom_mechanisms.add(mechanism);
        self
    }

    /// Sets the SASL mechanisms that this side uses.
    #[must_use]
    pub const fn mechanisms(mut self, mechanisms: Mechanisms) -> Self {
        self.mechanisms = mechanisms;
        self
    }

    /// Sets the host name.
    #[must_use]
    pub fn name(mut self, name: Domain<'static>) -> Self {
        self.name = name;
        self.has_own_name = true;
        self
    }

    /// Whether [`name`](Self::name) was set. A client without a host name should use its address literal
    /// (RFC 5321 §4.1.4), which only its driver knows.
    #[must_use]
    pub const fn has_own_name(&self) -> bool {
        self.has_own_name
    }

    /// Sets what to do with bare CR, bare LF and NUL in received bytes.
    #[must_use]
    pub const fn bare_newline(mut self, bare_newline: BareNewline) -> Self {
        self.bare_newline = bare_newline;
        self
    }

    /// Client: sets what to do with line ends that are not CRLF in the messages that are sent.
    #[must_use]
    pub const fn line_endings(mut self, line_endings: LineEndings) -> Self {
        self.line_endings = line_endings;
        self
    }

    /// Client: sets whether AUTH carries the first SASL message.
    #[must_use]
    pub const fn initial_response(mut self, initial_response: InitialResponse) -> Self {
        self.initial_response = initial_response;
        self
    }

    /// Client: sets which commands are pipelined.
    #[must_use]
    pub const fn pipelining(mut self, pipelining: Pipelining) -> Self {
        self.pipelining = pipelining;
        self
    }

    /// Client: sets what to do with a reply whose lines have different codes.
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

    /// Server: sets the parameters of the extensions.
    #[must_use]
    pub fn extension_parameters(mut self, parameters: ExtensionParameters) -> Self {
        self.extension_parameters = parameters;
        self
    }

    /// Server: sets the text after the host name in the greeting.
    #[must_use]
    pub fn greeting(mut self, greeting: impl Into<Cow<'static, str>>) -> Self {
        self.greeting = greeting.into();
        self
    }

    /// Server: sets what to do with a client that sends before the greeting.
    #[must_use]
    pub const fn early_talker(mut self, early_talker: EarlyTalker) -> Self {
        self.early_talker = early_talker;
        self
    }

    /// Server: sets what to do with unknown parameters.
    #[must_use]
    pub const fn unknown_parameters(mut self, unknown_parameters: UnknownParameters) -> Self {
        self.unknown_parameters = unknown_parameters;
        self
    }

    /// Server: sets the most commands in a row that make no progress.
    #[must_use]
    pub const fn max_idle_commands(mut self, commands: u32) -> Self {
        self.max_idle_commands = commands;
        self
    }

    /// Server: sets the largest message, in bytes: [`Limits::message`]. EHLO announces it (SIZE, RFC 1870). A message that
    /// is announced as larger is rejected at MAIL, and one that turns out to be larger after it was sent (552). Default: 64 MiB.
    #[must_use]
    pub const fn max_message(mut self, bytes: u64) -> Self {
        self.limits.message = bytes;
        self
    }

    /// Server: rejects mail without TLS (530).
    #[must_use]
    pub const fn require_tls(mut self) -> Self {
        if matches!(self.require, Require::Nothing) {
            self.require = Require::Tls;
        }
        self
    }

    /// Server: rejects mail before the client has authenticated (530), and so without TLS, as submission requires
    /// (RFC 6409 §4.3). This is the default.
    #[must_use]
    pub const fn require_authentication(mut self) -> Self {
        self.require = Require::Authentication;
        self
    }

    /// Server: takes mail from clients that have not logged in, also on cleartext. The application decides with
    /// [`Server::is_authenticated`](crate::server::Server::is_authenticated) what such a client may do: a client
    /// without a login may usually send to recipients of this server only.
    #[must_use]
    pub const fn optional_authentication(mut self) -> Self {
        self.require = Require::Nothing;
        self
    }

    /// Server: returns whether clients must log in before they send mail.
    #[must_use]
    pub const fn requires_authentication(&self) -> bool {
        matches!(self.require, Require::Authentication)
    }

    /// Client: allows mail without TLS, where anyone on the path can read and change it. Credentials still need
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
}
