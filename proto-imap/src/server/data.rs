//! Sends untagged data: which data are allowed in which state (RFC 9051 §7).
//!
//! The machine counts the messages that it has announced to the client. It rejects data about an unannounced message,
//! or about messages while no mailbox is selected, as a mistake of the application.

use alloc::vec::Vec;

use proto_mail::trace::TraceKind;
use proto_mail::{Error, Misuse, SendBuffer};

use super::commands::{QRESYNC, UID_ONLY};
use super::expunges::Expunges;
use super::session::{Session, Turn};
use crate::encode;
use crate::fetch::encode::can_be_written;
use crate::redaction;
use crate::state::Effect;
use crate::types::{Condition, EsearchResponse, PlainCode, Response, ResponseCode, Untagged, VanishedWhen};

impl Session {
    /// Writes untagged data.
    pub(super) fn data(&mut self, data: &Untagged<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.may_write()?;
        self.check_data(data)?;
        if let Untagged::Status(status) = data {
            self.notify.sent(status);
            if self.is_selecting() && status.code == Some(ResponseCode::Plain(PlainCode::NoModSeq)) {
                self.messages.selecting_without_modseq = true;
            }
        }
        if matches!(data, Untagged::GenUrlAuth(_) | Untagged::UrlFetch(_)) {
            put_secret_response(data, tx);
        } else {
            encode::response(&Response::Untagged(*data), tx);
        }
        Ok(())
    }

    /// Checks that these data may be sent now, and counts messages.
    fn check_data(&mut self, data: &Untagged<'_>) -> Result<(), Error> {
        let authenticated = self.state.is_authenticated();
        match data {
            Untagged::Fetch(_) if self.is_enabled(UID_ONLY) => return Err(Misuse::WrongState.into()),
            Untagged::Expunge(_) if self.reports_vanished() => return Err(Misuse::WrongState.into()),
            Untagged::Vanished { when: VanishedWhen::Now, .. } if !self.reports_vanished() => {
                return Err(Misuse::WrongState.into());
            }
            Untagged::Vanished { when: VanishedWhen::Earlier, .. } if !self.is_enabled(QRESYNC) => {
                return Err(Misuse::WrongState.into());
            }
            Untagged::UidFetch { uid, items } => {
                self.check_uid(*uid)?;
                if !items.iter().any(|item| can_be_written(&item)) {
                    return Err(Misuse::InvalidArgument.into());
                }
            }
            Untagged::Exists(count) => {
                let known = self.messages().ok_or(Misuse::WrongState)?;
                if *count < *known {
                    return Err(Misuse::InvalidArgument.into());
                }
                *known = *count;
            }
            Untagged::Expunge(sequence) => {
                self.check_expunge()?;
                self.check_sequence(*sequence)?;
                self.forget_messages(1)?;
            }
            Untagged::Vanished { when: VanishedWhen::Now, uids } => {
                self.check_expunge()?;
                if uids.is_empty() {
                    return Err(Misuse::InvalidArgument.into());
                }
                self.forget_messages(u32::try_from(uids.count()).unwrap_or(u32::MAX))?;
            }
            Untagged::Vanished { when: VanishedWhen::Earlier, .. } => self.check_expunge()?,
            Untagged::Fetch(fetch) => {
                self.check_sequence(fetch.sequence)?;
                if !fetch.items.iter().any(|item| can_be_written(&item)) {
                    return Err(Misuse::InvalidArgument.into());
                }
            }
            Untagged::Recent(_) | Untagged::Flags(_) => {
                self.messages().ok_or(Misuse::WrongState)?;
            }
            Untagged::Search(_) | Untagged::Sort(_) | Untagged::Thread(_) | Untagged::UidBatches(_)
                if !self.state.is_selected() =>
            {
                return Err(Misuse::WrongState.into());
            }
            Untagged::Esearch(found) => self.check_esearch(found)?,
            Untagged::Status(status) if matches!(status.condition, Condition::Bye | Condition::PreAuth) => {
                return Err(Misuse::WrongState.into());
            }
            Untagged::Search(_)
            | Untagged::Sort(_)
            | Untagged::Thread(_)
            | Untagged::Status(_)
            | Untagged::Capability(_)
            | Untagged::Id(_)
            | Untagged::Other { .. } => {}
            _ if !authenticated => return Err(Misuse::WrongState.into()),
            _ => {}
        }
        Ok(())
    }

    /// Returns whether messages that are gone are reported with VANISHED instead of EXPUNGE (RFC 7162 §3.2.10, RFC 9586).
    fn reports_vanished(&self) -> bool {
        let without_modseq = match self.is_selecting() {
            true => self.messages.selecting_without_modseq,
            false => self.messages.selected_without_modseq,
        };
        self.is_enabled(UID_ONLY) || self.is_enabled(QRESYNC) && !without_modseq
    }

    const fn is_selecting(&self) -> bool {
        matches!(self.turn, Turn::Reply { effect: Effect::Select(_), .. })
    }

    /// Checks an ESEARCH response. One that names its mailbox needs none selected (RFC 7377 §2.1).
    pub(super) const fn check_esearch(&self, found: &EsearchResponse<'_>) -> Result<(), Error> {
        let allowed = match found.mailbox {
            Some(_) => self.state.is_authenticated(),
            None => self.state.is_selected(),
        };
        if allowed { Ok(()) } else { Err(Error::Misuse(Misuse::WrongState)) }
    }

    /// Returns the number of messages that the client knows of in the mailbox that is selected, or is being selected.
    const fn messages(&mut self) -> Option<&mut u32> {
        if self.is_selecting() {
            return Some(&mut self.messages.selecting);
        }
        if self.state.is_selected() { Some(&mut self.messages.selected) } else { None }
    }

    /// Checks that the client knows the message with this sequence number.
    pub(super) fn check_sequence(&mut self, sequence: u32) -> Result<(), Error> {
        let known = *self.messages().ok_or(Misuse::WrongState)?;
        if sequence == 0 || sequence > known { Err(Misuse::InvalidArgument.into()) } else { Ok(()) }
    }

    /// Checks that a UIDFETCH response may name the message with this UID: only after ENABLE UIDONLY (RFC 9586).
    pub(super) fn check_uid(&mut self, uid: u32) -> Result<(), Error> {
        if !self.is_enabled(UID_ONLY) || self.messages().is_none() {
            return Err(Misuse::WrongState.into());
        }
        if uid == 0 { Err(Misuse::InvalidArgument.into()) } else { Ok(()) }
    }

    fn forget_messages(&mut self, gone: u32) -> Result<(), Error> {
        let known = self.messages().ok_or(Misuse::WrongState)?;
        *known = known.checked_sub(gone).ok_or(Misuse::InvalidArgument)?;
        Ok(())
    }

    /// Checks that sequence numbers may change now.
    fn check_expunge(&mut self) -> Result<(), Error> {
        let allowed = self.expunges() == Expunges::Allowed;
        if allowed && self.messages().is_some() { Ok(()) } else { Err(Misuse::WrongState.into()) }
    }

    /// Returns whether sequence numbers may change now: only while a command is in progress that does not use them (RFC
    /// 9051 §7.5.1).
    pub(super) const fn expunges(&self) -> Expunges {
        match self.turn {
            Turn::Reply { expunges, .. } => expunges,
            Turn::Idling | Turn::IdleReply => Expunges::Allowed,
            Turn::Command => self.notify.between_commands(),
            _ => Expunges::HeldBack,
        }
    }
}

/// Writes a response whose arguments a trace must not show.
fn put_secret_response(data: &Untagged<'_>, tx: &mut SendBuffer) {
    let mut bytes = Vec::new();
    encode::response(&Response::Untagged(*data), &mut bytes);
    let (shown, hidden) = bytes.split_at(redaction::visible_response(&bytes).min(bytes.len()));
    tx.put(shown);
    tx.put_as(hidden, TraceKind::Secret);
}
