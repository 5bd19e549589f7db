//! IDLE from the client's side (RFC 2177, RFC 9051 §6.3.13).
//!
//! This file knows that DONE may be said only when the server has agreed to idle, and that nothing may be said before.

use alloc::vec::Vec;

use proto_mail::{Error, Misuse, SendBuffer};

use super::core::Core;
use super::queue::{CommandId, Floor, Job, Outgoing, Privacy};
use crate::state::{Allowed, State};

impl Core {
    /// Asks the server to tell what changes.
    pub(super) fn idle(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        let hoped = self.queue.hoped(self.state().unwrap_or(State::Logout));
        if !Allowed::Authenticated.holds_in(hoped) || self.is_withheld() {
            return Err(Misuse::WrongState.into());
        }
        self.done(tx)?;
        let id = self.queue.next_id();
        let bytes = alloc::format!("{id} IDLE\r\n").into_bytes();
        let (pauses, privacy) = (Vec::new(), Privacy::Public);
        self.say(Outgoing { id, job: Job::Idle, bytes, pauses, privacy, payload: None }, tx);
        Ok(id)
    }

    /// Ends idling, now or as soon as the server has agreed to it; without effect when nobody idles.
    pub(super) fn done(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.queue.floor {
            Floor::Idle(id) => {
                tx.put(b"DONE\r\n");
                self.queue.said(id, tx);
                self.queue.release(tx);
                self.stepped();
            }
            Floor::IdleRequested(id) => self.queue.floor = Floor::IdleUnwanted(id),
            _ => {}
        }
        Ok(())
    }
}
