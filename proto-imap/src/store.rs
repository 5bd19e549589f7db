//! `STORE` and `UID STORE` (RFC 9051 §6.4.6, RFC 7162).

use crate::flags::FlagList;
use crate::flags::parse::{bare_flags, settable_flags};
use crate::grammar::command_writer::{CommandSink, Writer, Written};
use crate::grammar::number::number64;
use crate::grammar::owned::{owned_struct, plain};
use crate::grammar::primitive::{close, open, sp, word};
use crate::grammar::{Context, Parsed};
use crate::sequence_set::{SequenceSet, sequence_set};

/// `STORE` and `UID STORE` (RFC 9051 §6.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreCommand<'i> {
    /// The messages.
    pub messages: SequenceSet<'i>,
    /// The condition: only messages whose mod-sequence is not greater are changed (RFC 7162 §3.1.3). Below 2⁶³.
    pub unchanged_since: Option<u64>,
    /// How the flags are changed.
    pub action: StoreAction,
    /// Whether the server reports the new flags.
    pub answer: StoreResponse,
    /// The flags.
    pub flags: FlagList<'i>,
}

/// How STORE changes a message's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreAction {
    /// `FLAGS`: replaces them by the given flags.
    Replace,
    /// `+FLAGS`: adds the given flags.
    Add,
    /// `-FLAGS`: removes the given flags.
    Remove,
}

/// Whether the server reports the flags after a STORE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreResponse {
    /// The server reports the flags.
    Flags,
    /// `.SILENT`: the server does not report the flags.
    Silent,
}

impl<'i> StoreCommand<'i> {
    /// Creates a STORE without a condition. The server reports the new flags.
    #[must_use]
    pub const fn new(messages: SequenceSet<'i>, action: StoreAction, flags: FlagList<'i>) -> Self {
        Self { messages, unchanged_since: None, action, answer: StoreResponse::Flags, flags }
    }
}

/// `store = "STORE" SP sequence-set SP [store-modifiers SP] store-att-flags`
pub(crate) fn store<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, StoreCommand<'i>> {
    let (rest, messages) = sequence_set(i)?;
    let (mut rest, ()) = sp(rest, cx)?;
    let mut unchanged_since = None;
    if rest.first() == Some(&b'(') {
        let (behind, ()) = open(rest, cx)?;
        let (behind, ()) = word(behind, b"UNCHANGEDSINCE", "UNCHANGEDSINCE")?;
        let (behind, mod_sequence) = number64(sp(behind, cx)?.0, cx)?;
        (rest, ()) = sp(close(behind, cx)?.0, cx)?;
        unchanged_since = Some(mod_sequence);
    }
    let (rest, action) = match rest {
        [b'+', rest @ ..] => (rest, StoreAction::Add),
        [b'-', rest @ ..] => (rest, StoreAction::Remove),
        _ => (rest, StoreAction::Replace),
    };
    let (rest, answer) = if let Ok((rest, ())) = word(rest, b"FLAGS.SILENT", "") {
        (rest, StoreResponse::Silent)
    } else {
        (word(rest, b"FLAGS", "FLAGS, +FLAGS or -FLAGS")?.0, StoreResponse::Flags)
    };
    let (rest, ()) = sp(rest, cx)?;
    let (rest, flags) =
        if rest.first() == Some(&b'(') { settable_flags(rest, cx)? } else { bare_flags(rest, cx)? };
    Ok((rest, StoreCommand { messages, unchanged_since, action, answer, flags }))
}

impl<S: CommandSink> Writer<'_, S> {
    pub(crate) fn store(&mut self, store: &StoreCommand<'_>) -> Written {
        self.set(store.messages)?;
        if let Some(mod_sequence) = store.unchanged_since {
            self.put(b" (UNCHANGEDSINCE ");
            self.number64("mod-sequence", mod_sequence)?;
            self.put(b")");
        }
        self.put(match store.action {
            StoreAction::Replace => b" ",
            StoreAction::Add => b" +",
            StoreAction::Remove => b" -",
        });
        self.put(match store.answer {
            StoreResponse::Flags => b"FLAGS ",
            StoreResponse::Silent => b"FLAGS.SILENT ",
        });
        self.flags(store.flags)
    }
}

plain!(StoreAction, StoreResponse);

owned_struct!(StoreCommand { messages, unchanged_since, action, answer, flags });
