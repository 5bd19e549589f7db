//! The server's capabilities as the client knows them. They are discarded when the channel changes.

use alloc::vec::Vec;
use core::fmt;

use proto_mail::{Mechanism, Mechanisms};

use crate::config::Config;
use crate::state::Outcome;
use crate::types::CapabilityList;

/// How much the machine knows of the capabilities.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KnownCapabilities {
    /// Nothing: the machine asks for them next.
    Unknown,
    /// The machine has sent CAPABILITY; these capabilities were listed so far.
    Requested(Option<Capabilities>),
    /// The capabilities that the server listed last.
    Known(Capabilities),
    /// The capabilities that the server had listed when the login in progress began. They are valid until it
    /// succeeds.
    BeforeLogin(Capabilities),
}

impl KnownCapabilities {
    pub(super) const fn get(&self) -> Option<&Capabilities> {
        match self {
            Self::Unknown => None,
            Self::Requested(listed) => listed.as_ref(),
            Self::Known(listed) | Self::BeforeLogin(listed) => Some(listed),
        }
    }

    pub(super) const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    pub(super) const fn is_requested(&self) -> bool {
        matches!(self, Self::Requested(_))
    }

    /// Stores the capabilities that the server has listed, in place of earlier ones.
    pub(super) fn set(&mut self, listed: Capabilities) {
        *self = Self::Known(listed);
    }

    /// Returns the capabilities that the answer to the machine's request has listed so far.
    pub(super) fn requested_mut(&mut self) -> &mut Capabilities {
        match self {
            Self::Requested(listed) => listed.get_or_insert_default(),
            Self::Known(listed) | Self::BeforeLogin(listed) => listed,
            Self::Unknown => {
                *self = Self::Requested(None);
                self.requested_mut()
            }
        }
    }

    /// Ends the machine's request for capabilities, and returns whether one was in progress. A server that has listed
    /// nothing offers nothing.
    pub(super) fn finish_request(&mut self) -> bool {
        let Self::Requested(listed) = self else { return false };
        *self = Self::Known(listed.take().unwrap_or_default());
        true
    }

    /// Records that a login has begun (RFC 9051 §6.2).
    pub(super) fn begin_login(&mut self) {
        *self = match core::mem::replace(self, Self::Unknown) {
            Self::Known(listed) => Self::BeforeLogin(listed),
            other => other,
        };
    }

    /// Records how a login has ended. A login can change the server's capabilities, so success discards those
    /// listed before it (RFC 9051 §6.2).
    pub(super) fn end_login(&mut self, outcome: Outcome) {
        *self = match core::mem::replace(self, Self::Unknown) {
            Self::BeforeLogin(_) if outcome == Outcome::Success => Self::Unknown,
            Self::BeforeLogin(listed) => Self::Known(listed),
            other => other,
        };
    }
}

/// The capabilities that the server has enabled at the client's request (RFC 5161).
#[derive(Debug, Default)]
pub(super) struct EnabledCapabilities {
    /// The names, each followed by a space.
    names: Vec<u8>,
}

impl EnabledCapabilities {
    /// The maximum length of all names in bytes. Further names are ignored.
    const LIMIT: usize = 1024;

    pub(super) fn add(&mut self, list: &CapabilityList<'_>) {
        for capability in list.iter() {
            let name = capability.as_bytes();
            if !self.contains(name) && self.names.len() + name.len() < Self::LIMIT {
                self.names.extend_from_slice(name);
                self.names.push(b' ');
            }
        }
    }

    /// Returns whether a capability is enabled. Case is ignored.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        let mut names = self.names.split(|byte| *byte == b' ');
        !name.is_empty() && names.any(|enabled| enabled.eq_ignore_ascii_case(name))
    }
}

/// The capabilities that the server listed last, on this channel and in this state.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The names, each followed by a space.
    names: Vec<u8>,
    mechanisms: Mechanisms,
}

impl Capabilities {
    /// Creates the list without the capabilities that the configuration hides.
    pub(super) fn from_list(list: &CapabilityList<'_>, config: &Config) -> Self {
        let mut all = Self::default();
        all.add(list, config);
        all
    }

    /// Returns the size of the list in bytes.
    pub(super) const fn byte_len(&self) -> usize {
        self.names.len()
    }

    /// Returns the size in bytes of the largest message that the server accepts in any mailbox: the value of
    /// `APPENDLIMIT=` (RFC 7889). `None` if it lists none. Without a value, each mailbox has its own limit: see
    /// [`StatusAttribute::AppendLimit`](crate::types::StatusAttribute::AppendLimit).
    #[must_use]
    pub fn append_limit(&self) -> Option<u64> {
        self.number("APPENDLIMIT")
    }

    /// Returns how many messages the server processes in one command: the value of `MESSAGELIMIT=` (RFC 9738).
    #[must_use]
    pub fn message_limit(&self) -> Option<u64> {
        self.number("MESSAGELIMIT")
    }

    /// Returns how many messages the server copies or appends in one command: the value of `SAVELIMIT=` (RFC 9738).
    #[must_use]
    pub fn save_limit(&self) -> Option<u64> {
        self.number("SAVELIMIT")
    }

    fn number(&self, name: &str) -> Option<u64> {
        let value = self.values(name).next()?;
        core::str::from_utf8(value).ok()?.parse().ok()
    }

    /// Adds the capabilities of another line.
    pub(super) fn add(&mut self, list: &CapabilityList<'_>, config: &Config) {
        for capability in list.iter().filter(|capability| !config.hides(capability.as_bytes())) {
            self.names.extend_from_slice(capability.as_bytes());
            self.names.push(b' ');
            if let Some(mechanism) = capability.value("AUTH").and_then(Mechanism::from_name) {
                self.mechanisms.insert(mechanism);
            }
        }
    }

    /// Returns whether the server lists `name`. Case is ignored.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|listed| listed.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Returns the names as the server wrote them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.names.split(|byte| *byte == b' ').filter(|name| !name.is_empty())
    }

    /// Returns the values of a capability: what follows `name=`. Case is ignored.
    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter_map(move |listed| {
            let (start, rest) = listed.split_at_checked(name.len())?;
            if start.eq_ignore_ascii_case(name.as_bytes()) { rest.strip_prefix(b"=") } else { None }
        })
    }

    /// Returns whether the server lists the capability with a value: `name=value`. Case is ignored.
    pub(super) fn has_value(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Returns whether the server offers the SASL mechanism of this name, even if this crate does not support it.
    /// Case is ignored.
    #[must_use]
    pub fn offers_mechanism(&self, mechanism: &str) -> bool {
        self.values("AUTH").any(|offered| offered.eq_ignore_ascii_case(mechanism.as_bytes()))
    }

    /// Returns the SASL mechanisms that the server offers and this crate supports.
    #[must_use]
    pub const fn mechanisms(&self) -> Mechanisms {
        self.mechanisms
    }

    /// Returns whether the server forbids the LOGIN command (RFC 9051 §6.2.3).
    #[must_use]
    pub fn login_disabled(&self) -> bool {
        self.has("LOGINDISABLED")
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(alloc::string::String::from_utf8_lossy)).finish()
    }
}
