//! Writes capability lists.

use crate::capability::{Capability, CapabilityList};
use crate::grammar::characters::is_atom_char;
use crate::grammar::sink::{Sink, separated};

/// `capability *(SP capability)`; a capability that is not an atom is left out.
pub(crate) fn capabilities(list: CapabilityList<'_>, out: &mut (impl Sink + ?Sized)) {
    let is_atom = |capability: &Capability<'_>| {
        !capability.as_bytes().is_empty() && capability.as_bytes().iter().copied().all(is_atom_char)
    };
    separated(list.iter().filter(is_atom), out, |capability, out| out.put(capability.as_bytes()));
}
