//! Writes capability lists.

use crate::capability::{Capability, CapabilityList};
use crate::grammar::characters::is_atom_char;
use crate::grammar::sink::{Sink, separated};

/// `capability *(SP capability)`; a capability that is not an atom is left out.
pub(crate) fn capabilities(list: CapabilityList<'_>, out: &mut (impl Sink + ?Sized)) {
    separated(list.iter().filter(is_atom), out, |capability, out| out.put(capability.as_bytes()));
}

/// Returns whether [`capabilities`] writes any of them.
pub(crate) fn can_write_any(list: CapabilityList<'_>) -> bool {
    list.iter().any(|capability| is_atom(&capability))
}

fn is_atom(capability: &Capability<'_>) -> bool {
    !capability.as_bytes().is_empty() && capability.as_bytes().iter().copied().all(is_atom_char)
}
