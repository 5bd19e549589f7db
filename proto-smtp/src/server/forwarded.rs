//! The attributes of XFORWARD, and the extensions that only trusted proxies are offered.

use alloc::boxed::Box;

use crate::attributes::Attributes;
use crate::extension::{Extension, ExtensionSet};

/// The attributes of XFORWARD for the transaction that comes next.
#[derive(Debug, Default)]
pub(super) struct ForwardedAttributes {
    /// Those that the application is asked about.
    pub(super) pending: Option<Box<Attributes<'static>>>,
    pub(super) accepted: Option<Box<Attributes<'static>>>,
}

impl ForwardedAttributes {
    /// Returns the attributes for a transaction that begins now.
    pub(super) const fn take(&mut self) -> Option<Box<Attributes<'static>>> {
        self.accepted.take()
    }

    pub(super) fn clear(&mut self) {
        self.accepted = None;
    }

    /// XFORWARD was rejected.
    pub(super) fn reject(&mut self) {
        self.pending = None;
    }

    /// XFORWARD was accepted: its attributes are added to those of earlier commands.
    pub(super) fn accept(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        match &mut self.accepted {
            Some(accepted) => accepted.overwrite(*pending),
            accepted => *accepted = Some(pending),
        }
    }
}

/// The extensions that are offered before the application has named trusted proxies.
pub(super) const fn without_proxy_commands(set: ExtensionSet) -> ExtensionSet {
    set.without(Extension::XClient).without(Extension::XForward)
}
