//! `SELECT` and `EXAMINE`, with CONDSTORE and QRESYNC (RFC 9051 §6.3.2, RFC 7162).

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{Element, one_or_more};
use crate::grammar::number::{mod_sequence_value, nz_number};
use crate::grammar::owned::{owned_enum, owned_struct};
use crate::grammar::primitive::{close, open, sp, word};
use crate::grammar::{Context, Parsed, expected};
use crate::mailbox_name::MailboxName;
use crate::mailbox_name::parse::mailbox;
use crate::sequence_set::{SequenceNumber, SequenceSet, sequence_set};
use core::num::NonZeroU32;

/// `SELECT` and `EXAMINE` (RFC 9051 §6.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectCommand<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// The parameters.
    pub parameters: LazyList<'i, SelectParameter<'i>>,
}

/// A parameter of SELECT (RFC 4466 `select-param`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectParameter<'i> {
    /// `CONDSTORE`: report mod-sequences from now on (RFC 7162 §3.1.8).
    CondStore,
    /// `QRESYNC`: report the changes since an earlier session (RFC 7162 §3.2.5).
    QResync(QResync<'i>),
    /// `ANNOTATE`: report changed annotations (RFC 5257 §4.2).
    Annotate,
}

/// The state of a mailbox that a client knows from an earlier session (RFC 7162 §3.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QResync<'i> {
    /// UIDVALIDITY.
    pub uid_validity: NonZeroU32,
    /// The highest mod-sequence. Not 0, below 2⁶³.
    pub mod_sequence: u64,
    /// The UIDs that the client knows, without `*`; `None` means all possible UIDs.
    pub known_uids: Option<SequenceSet<'i>>,
    /// Some sequence numbers and their UIDs, without `*`.
    pub known_pairs: Option<(SequenceSet<'i>, SequenceSet<'i>)>,
}

impl<'i> SelectCommand<'i> {
    /// Creates a SELECT without parameters.
    #[must_use]
    pub const fn new(mailbox: MailboxName<'i>) -> Self {
        Self { mailbox, parameters: LazyList::EMPTY }
    }
}

impl Sealed for SelectParameter<'_> {}

/// `select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]`
pub(crate) fn select<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SelectCommand<'i>> {
    let (rest, mailbox) = mailbox(i, cx)?;
    if !rest.starts_with(b" (") {
        return Ok((rest, SelectCommand::new(mailbox)));
    }
    let (rest, parameters) = one_or_more(sp(rest, cx)?.0, cx, select_parameter)?;
    Ok((rest, SelectCommand { mailbox, parameters }))
}

/// `select-param = "CONDSTORE" / "ANNOTATE" / "QRESYNC" SP "(" … ")"`
fn select_parameter<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SelectParameter<'i>> {
    if let Ok((rest, ())) = word(i, b"CONDSTORE", "") {
        return Ok((rest, SelectParameter::CondStore));
    }
    if let Ok((rest, ())) = word(i, b"ANNOTATE", "") {
        return Ok((rest, SelectParameter::Annotate));
    }
    let (rest, ()) = word(i, b"QRESYNC", "CONDSTORE, QRESYNC or ANNOTATE")?;
    let (rest, ()) = open(sp(rest, cx)?.0, cx)?;
    let (rest, uid_validity) = nz_number(rest, cx)?;
    let Some(uid_validity) = NonZeroU32::new(uid_validity) else { return expected(rest, "a UIDVALIDITY") };
    let (rest, mod_sequence) = mod_sequence_value(sp(rest, cx)?.0, cx)?;
    let mut known = QResync { uid_validity, mod_sequence, known_uids: None, known_pairs: None };
    let mut rest = rest;
    if matches!(rest, [b' ', byte, ..] if byte.is_ascii_digit()) {
        let (behind, uids) = known_uid_set(sp(rest, cx)?.0)?;
        (rest, known.known_uids) = (behind, Some(uids));
    }
    if rest.starts_with(b" (") {
        let (behind, ()) = open(sp(rest, cx)?.0, cx)?;
        let (behind, numbers) = known_uid_set(behind)?;
        let (behind, uids) = known_uid_set(sp(behind, cx)?.0)?;
        let (behind, ()) = close(behind, cx)?;
        (rest, known.known_pairs) = (behind, Some((numbers, uids)));
    }
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, SelectParameter::QResync(known)))
}

/// `known-uids = sequence-set`, without `*` and `$`.
fn known_uid_set(i: &[u8]) -> Parsed<'_, crate::types::SequenceSet<'_>> {
    let (rest, set) = sequence_set(i)?;
    let largest = |end| end == SequenceNumber::Largest;
    if set.is_saved() || set.ranges().any(|range| largest(range.first) || largest(range.last)) {
        return expected(i, "a set of numbers without *");
    }
    Ok((rest, set))
}

impl<S: CommandSink> Writer<'_, S> {
    pub(crate) fn select(&mut self, select: &SelectCommand<'_>) -> Written {
        self.mailbox(select.mailbox)?;
        if select.parameters.is_empty() {
            return Ok(());
        }
        self.put(b" ");
        self.parenthesised(select.parameters, |writer, parameter| match parameter {
            SelectParameter::CondStore => {
                writer.put(b"CONDSTORE");
                Ok(())
            }
            SelectParameter::QResync(known) => writer.qresync(&known),
            SelectParameter::Annotate => {
                writer.put(b"ANNOTATE");
                Ok(())
            }
        })
    }

    pub(crate) fn qresync(&mut self, known: &QResync<'_>) -> Written {
        self.put(b"QRESYNC (");
        self.number(u64::from(known.uid_validity.get()));
        self.put(b" ");
        self.nz_number64("mod-sequence", known.mod_sequence)?;
        if let Some(uids) = known.known_uids {
            self.put(b" ");
            self.known_set(uids)?;
        }
        if let Some((numbers, uids)) = known.known_pairs {
            self.put(b" (");
            self.known_set(numbers)?;
            self.put(b" ");
            self.known_set(uids)?;
            self.put(b")");
        }
        self.put(b")");
        Ok(())
    }

    /// Writes a `sequence-set` without `*` and `$`.
    pub(crate) fn known_set(&mut self, set: SequenceSet<'_>) -> Written {
        let largest = |end| end == SequenceNumber::Largest;
        if set.is_saved() || set.ranges().any(|range| largest(range.first) || largest(range.last)) {
            return fault("set of known messages", ArgumentFault::OutOfRange);
        }
        self.set(set)
    }
}

impl<'i> Element<'i> for SelectParameter<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        select_parameter(i, cx).ok()
    }
}

owned_struct!(SelectCommand { mailbox, parameters });

owned_enum!(SelectParameter { CondStore, QResync(a), Annotate });

owned_struct!(QResync { uid_validity, mod_sequence, known_uids, known_pairs });
