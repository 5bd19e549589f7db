//! The MAIL command: who a message is from, and what is asked for it (RFC 5321 §4.1.1.2).
//!
//! This file knows which parameters there are and to which extension each belongs. Their values stand in rooms of their
//! own; parameters that nobody here knows are kept in [`Mail::extra`].

use super::{
    DeliverBy, EnvelopeId, Extension, ExtensionSet, Extra, Hold, Priority, Return, ReversePath, Solicitation,
    Submitter,
};

/// `MAIL FROM:<reverse-path> [parameters]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mail<'i> {
    /// Where reports go.
    pub from: ReversePath<'i>,
    /// `SIZE=`: how many octets the message has, as the client thinks (RFC 1870 §6).
    pub size: Option<u64>,
    /// `BODY=`: which octets the message is made of (RFC 6152, RFC 3030).
    pub body: Option<BodyType>,
    /// `SMTPUTF8`: the envelope or the header holds UTF-8 (RFC 6531 §3.4).
    pub utf8: bool,
    /// `AUTH=`: who handed the message in first (RFC 4954 §5).
    pub auth: Option<Submitter<'i>>,
    /// `RET=`: how much of the message a report should hold (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// `ENVID=`: a name for this sending that reports repeat (RFC 3461 §4.4).
    pub envid: Option<EnvelopeId<'i>>,
    /// `BY=`: within which time it is to be delivered (RFC 2852).
    pub by: Option<DeliverBy>,
    /// `MT-PRIORITY=`: how urgent it is (RFC 6710).
    pub priority: Option<Priority>,
    /// `HOLDFOR=` or `HOLDUNTIL=`: how long it is to be held (RFC 4865).
    pub hold: Option<Hold>,
    /// `REQUIRETLS`: it may travel under verified TLS only, here and further on (RFC 8689). Exists under TLS only.
    pub require_tls: bool,
    /// `SOLICIT=`: what it advertises (RFC 3865).
    pub solicit: Option<Solicitation<'i>>,
    /// `CONPERM`: its content may be converted on the way (RFC 4141).
    pub conperm: bool,
    /// `PRDR`: the client wants to know behind DATA what becomes of each recipient.
    pub prdr: bool,
    /// The parameters that have no field here.
    pub extra: Extra<'i>,
}

/// The values of `BODY=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyType {
    /// `7BIT`: US-ASCII in lines of at most 998 octets.
    SevenBit,
    /// `8BITMIME`: any octets in such lines.
    EightBitMime,
    /// `BINARYMIME`: any octets at all; BDAT only.
    BinaryMime,
}

/// Every keyword that has a field in [`Mail`].
pub(crate) const KNOWN: &[&str] = &[
    "SIZE",
    "BODY",
    "SMTPUTF8",
    "AUTH",
    "RET",
    "ENVID",
    "BY",
    "MT-PRIORITY",
    "HOLDFOR",
    "HOLDUNTIL",
    "REQUIRETLS",
    "SOLICIT",
    "CONPERM",
    "PRDR",
];

impl<'i> Mail<'i> {
    /// A message from there, with nothing asked for it.
    #[must_use]
    pub fn new(from: impl Into<ReversePath<'i>>) -> Self {
        Self {
            from: from.into(),
            size: None,
            body: None,
            utf8: false,
            auth: None,
            ret: None,
            envid: None,
            by: None,
            priority: None,
            hold: None,
            require_tls: false,
            solicit: None,
            conperm: false,
            prdr: false,
            extra: Extra::none(KNOWN),
        }
    }

    /// Announces how many octets the message has.
    #[must_use]
    pub const fn with_size(mut self, octets: u64) -> Self {
        self.size = Some(octets);
        self
    }

    /// Says which octets the message is made of.
    #[must_use]
    pub const fn with_body(mut self, body: BodyType) -> Self {
        self.body = Some(body);
        self
    }

    /// Asks for SMTPUTF8.
    #[must_use]
    pub const fn with_utf8(mut self) -> Self {
        self.utf8 = true;
        self
    }

    /// Says who handed the message in first.
    #[must_use]
    pub fn with_auth(mut self, submitter: Submitter<'i>) -> Self {
        self.auth = Some(submitter);
        self
    }

    /// Says how much of the message a report should hold.
    #[must_use]
    pub const fn with_ret(mut self, ret: Return) -> Self {
        self.ret = Some(ret);
        self
    }

    /// Gives a name that reports repeat.
    #[must_use]
    pub fn with_envid(mut self, envid: EnvelopeId<'i>) -> Self {
        self.envid = Some(envid);
        self
    }

    /// Says within which time it is to be delivered.
    #[must_use]
    pub const fn with_by(mut self, by: DeliverBy) -> Self {
        self.by = Some(by);
        self
    }

    /// Says how urgent it is.
    #[must_use]
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Says how long it is to be held.
    #[must_use]
    pub const fn with_hold(mut self, hold: Hold) -> Self {
        self.hold = Some(hold);
        self
    }

    /// Requires verified TLS, here and further on.
    #[must_use]
    pub const fn with_require_tls(mut self) -> Self {
        self.require_tls = true;
        self
    }

    /// Says what it advertises.
    #[must_use]
    pub fn with_solicit(mut self, solicit: Solicitation<'i>) -> Self {
        self.solicit = Some(solicit);
        self
    }

    /// Permits to convert its content.
    #[must_use]
    pub const fn with_conperm(mut self) -> Self {
        self.conperm = true;
        self
    }

    /// Asks for a reply for each recipient behind DATA.
    #[must_use]
    pub const fn with_prdr(mut self) -> Self {
        self.prdr = true;
        self
    }

    /// The extensions that its parameters belong to: a server must have offered them. Those of [`extra`](Self::extra)
    /// are not known.
    #[must_use]
    pub fn extensions(&self) -> ExtensionSet {
        let body = match self.body {
            Some(BodyType::BinaryMime) => Some(Extension::BinaryMime),
            Some(BodyType::SevenBit | BodyType::EightBitMime) => Some(Extension::EightBitMime),
            None => None,
        };
        let with = |set: bool, extension| set.then_some(extension);
        [
            with(self.size.is_some(), Extension::Size),
            body,
            with(self.utf8, Extension::SmtpUtf8),
            with(self.auth.is_some(), Extension::Auth),
            with(self.ret.is_some() || self.envid.is_some(), Extension::Dsn),
            with(self.by.is_some(), Extension::DeliverBy),
            with(self.priority.is_some(), Extension::MtPriority),
            with(self.hold.is_some(), Extension::FutureRelease),
            with(self.require_tls, Extension::RequireTls),
            with(self.solicit.is_some(), Extension::NoSoliciting),
            with(self.conperm, Extension::ConPerm),
            with(self.prdr, Extension::Prdr),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Mail<'static> {
        Mail {
            from: self.from.into_owned(),
            size: self.size,
            body: self.body,
            utf8: self.utf8,
            auth: self.auth.map(Submitter::into_owned),
            ret: self.ret,
            envid: self.envid.map(EnvelopeId::into_owned),
            by: self.by,
            priority: self.priority,
            hold: self.hold,
            require_tls: self.require_tls,
            solicit: self.solicit.map(Solicitation::into_owned),
            conperm: self.conperm,
            prdr: self.prdr,
            extra: self.extra.into_owned(),
        }
    }
}

impl BodyType {
    /// The value as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }
}
