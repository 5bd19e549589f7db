//! What the client remembers of the server's capabilities. Forgotten by construction when the channel changes.

use alloc::vec::Vec;
use core::fmt;

use proto_mail::{Mechanism, Mechanisms};

use crate::types::capability::CapabilityList;

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

    /// How many octets they take.
    pub(super) const fn len(&self) -> usize {
        self.names.len()
    }

    /// Adds what another line lists.
    pub(super) fn add(&mut self, list: &CapabilityList<'_>) {
        for capability in list.iter() {
            self.names.extend_from_slice(capability.as_bytes());
            self.names.push(b' ');
            if let Some(mechanism) = capability.value("AUTH").and_then(Mechanism::from_name) {
                self.mechanisms.insert(mechanism);
            }
        }
    }

    /// Whether the server lists `name`, in any case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|listed| listed.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The names as the server wrote them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.names.split(|octet| *octet == b' ').filter(|name| !name.is_empty())
    }

    /// Whether the server offers the SASL mechanism of this name, in any case, be it spoken here or not.
    #[must_use]
    pub fn offers(&self, mechanism: &str) -> bool {
        self.iter().any(|name| {
            name.split_at_checked("AUTH=".len()).is_some_and(|(auth, name)| {
                auth.eq_ignore_ascii_case(b"AUTH=") && name.eq_ignore_ascii_case(mechanism.as_bytes())
            })
        })
    }

    /// The SASL mechanisms that the server offers and this crate speaks.
    #[must_use]
    pub const fn mechanisms(&self) -> Mechanisms {
        self.mechanisms
    }

    /// Whether the server forbids the LOGIN command (RFC 9051 §6.2.3).
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
