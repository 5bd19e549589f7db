//! `VANISHED` responses: the UIDs of expunged messages (RFC 7162 §3.2.10).

use crate::grammar::owned::plain;
use crate::grammar::primitive::{close, open, sp, word};
use crate::grammar::repair::Repair;
use crate::grammar::sink::Sink;
use crate::grammar::{Context, Parsed};
use crate::numbers::Numbers;
use crate::numbers::encode::sequence_set;
use crate::numbers::parse::known_sequence_set;

/// When messages were expunged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VanishedWhen {
    /// Just now: the sequence numbers of later messages change.
    Now,
    /// `(EARLIER)`: before the mailbox was selected.
    Earlier,
}

/// `"VANISHED" [SP "(EARLIER)"] SP known-uids` (RFC 7162), without the word
pub(crate) fn vanished<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, (VanishedWhen, Numbers<'i>)> {
    let (rest, when) = vanished_head(i, cx)?;
    if matches!(rest.trim_ascii_start(), []) && cx.repair(Repair::NilForValue) {
        return Ok((rest, (when, Numbers::EMPTY)));
    }
    let (rest, uids) = known_sequence_set(rest, cx)?;
    Ok((rest, (when, uids)))
}

/// `[SP "(EARLIER)"] SP`
pub(crate) fn vanished_head<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, VanishedWhen> {
    let (mut rest, ()) = sp(i, cx)?;
    let mut when = VanishedWhen::Now;
    if rest.first() == Some(&b'(') {
        let (behind, ()) = open(rest, cx)?;
        let (behind, ()) = word(behind, b"EARLIER", "EARLIER")?;
        let (behind, ()) = close(behind, cx)?;
        (rest, ()) = sp(behind, cx)?;
        when = VanishedWhen::Earlier;
    }
    Ok((rest, when))
}

/// `"VANISHED" [SP "(EARLIER)"] SP known-uids`
pub(crate) fn write_vanished(when: VanishedWhen, uids: Numbers<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(match when {
        VanishedWhen::Now => b"VANISHED ".as_slice(),
        VanishedWhen::Earlier => b"VANISHED (EARLIER) ",
    });
    sequence_set(uids, out);
}

plain!(VanishedWhen);
