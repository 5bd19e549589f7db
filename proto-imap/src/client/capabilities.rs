//! The server's capabilities as the client knows them. They are discarded when the channel changes.

use alloc::vec::Vec;
use core::fmt;

use proto_mail::{Mechanism, Mechanisms};

use crate::state::Outcome;
use crate::types::CapabilityList;

/// How much the machine knows of the capabilities.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KnownCapabilities {
    /// Nothing: the machine asks for them next.
    Unknown,
    /// The machine has asked; these capabilities were listed so far.
    Asked(Option<Capabilities>),
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
            Self::Asked(listed) => listed.as_ref(),
            Self::Known(listed) | Self::BeforeLogin(listed) => Some(listed),
        }
    }

    pub(super) const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    pub(super) const fn is_asked(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    /// Stores the capabilities that the server has listed.
    pub(super) fn learn(&mut self, listed: Capabilities) {
        *self = Self::Known(listed);
    }

    /// Returns the capabilities that the answer to the machine's request has listed so far.
    pub(super) fn collect(&mut self) -> &mut Capabilities {
        match self {
            Self::Asked(listed) => listed.get_or_insert_default(),
            Self::Known(listed) | Self::BeforeLogin(listed) => listed,
            Self::Unknown => {
                *self = Self::Asked(None);
                self.collect()
            }
        }
    }

    /// Ends the machine's request for capabilities, and returns whether one was in progress. A server that has listed
    /// nothing offers nothing.
    pub(super) fn finish_collecting(&mut self) -> bool {
        let Self::Asked(listed) = self else { return false };
        *self = Self::Known(listed.take().unwrap_or_default());
        true
    }

    /// Records that a login has begun (RFC 9051 §6.2).
    pub(super) fn login_begun(&mut self) {
        *self = match core::mem::replace(self, Self::Unknown) {
            Self::Known(listed) => Self::BeforeLogin(listed),
            other => other,
        };
    }

    /// Records how a login has ended. A login can change the server's capabilities, so success discards those
    /// listed before it (RFC 9051 §6.2).
    pub(super) fn login_ended(&mut self, outcome: Outcome) {
        *self = match core::mem::replace(self, Self::Unknown) {
            Self::BeforeLogin(_) if outcome == Outcome::Success => Self::Unknown,
            Self::BeforeLogin(listed) => Self::Known(listed),
            other => other,
        };
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
    pub(super) fn of(list: &CapabilityList<'_>) -> Self {
        let mut all = Self::default();
        all.add(list);
        all
    }

    /// Returns their size in bytes.
    pub(super) const fn len(&self) -> usize {
        self.names.len()
    }

    /// Adds the capabilities of another line.
    pub(super) fn add(&mut self, list: &CapabilityList<'_>) {
        for capability in list.iter() {
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

    /// Returns whether the server offers the SASL mechanism of this name, even if this crate does not support it.
    /// Case is ignored.
    #[must_use]
    pub fn offers(&self, mechanism: &str) -> bool {
        self.iter().any(|name| {
            name.split_at_checked("AUTH=".len()).is_some_and(|(auth, name)| {
                auth.eq_ignore_ascii_case(b"AUTH=") && name.eq_ignore_ascii_case(mechanism.as_bytes())
            })
        })
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
