//! Parses capability lists and the arguments of ENABLE.

use crate::capability::{Capability, CapabilityList};
use crate::grammar::characters::is_atom_char;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::primitive::{atom, sp, spaces, taken, taken_len};
use crate::grammar::repair::Repair;
use crate::grammar::{Context, Parsed, expected};

/// `*(SP capability)`, where `capability = ("AUTH=" auth-type) / atom`; up to a closing bracket or the line end.
///
/// *Tolerant*: spaces at the end; any characters except parentheses and brackets.
pub(crate) fn capabilities<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, CapabilityList<'i>> {
    let mut rest = i;
    while rest.first() == Some(&b' ') {
        let behind = rest.trim_ascii_start();
        if cx.is_tolerant() && matches!(behind.first(), Some(b']') | None) || behind.is_empty() {
            let list = LazyList::wire(taken(i, rest), cx.attempt());
            return Ok((spaces(rest, cx), list));
        }
        let (behind, ()) = sp(rest, cx)?;
        if matches!(behind.first(), Some(b'\r' | b'\n')) && cx.is_tolerant() {
            return Ok((behind, LazyList::wire(taken(i, rest), cx.attempt())));
        }
        let end = behind
            .iter()
            .position(|byte| matches!(byte, 0..=b' ' | 0x7f | b'(' | b')' | b']'))
            .unwrap_or(behind.len());
        let name = taken_len(behind, end);
        if name.is_empty() || !(name.iter().copied().all(is_atom_char) || cx.repair(Repair::FlagCharacter)) {
            return expected(behind, "a capability");
        }
        rest = behind.get(end..).unwrap_or_default();
    }
    Ok((rest, LazyList::wire(taken(i, rest), cx.attempt())))
}

/// Returns the capabilities of a stored text.
#[must_use]
pub(crate) fn capability_list(text: &[u8]) -> CapabilityList<'_> {
    LazyList::<Capability<'_>>::wire(text, crate::grammar::Attempt::First)
}

/// `enable = "ENABLE" 1*(SP capability)`
pub(crate) fn enable<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, CapabilityList<'i>> {
    let (mut rest, _) = atom(i)?;
    while rest.first() == Some(&b' ') {
        let (behind, ()) = sp(rest, cx)?;
        if matches!(behind.first(), Some(b'\r' | b'\n')) && cx.repair(Repair::ExtraSpace) {
            break;
        }
        (rest, _) = atom(behind)?;
    }
    Ok((rest, capability_list(taken(i, rest))))
}
