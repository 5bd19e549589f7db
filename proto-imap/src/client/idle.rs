//! The client's side of IDLE (RFC 2177, RFC 9051 §6.3.13).
//!
//! The client sends DONE only after the server has accepted IDLE, and no other command before DONE. After
//! [`Waits::idle`](crate::Waits::idle) without data it sends DONE by itself, and the application renews IDLE.

use proto_mail::{Error, Misuse, SendBuffer};

use super::command_id::CommandId;
use super::outgoing::{ActiveCommand, OutgoingCommand, OutgoingLine};
use super::session::Session;
use crate::required_capabilities::is_command_offered;
use crate::state::{Allowed, State};
use crate::types::CommandName;

impl Session {
    /// Sends IDLE, so that the server reports changes as they happen.
    pub(super) fn idle(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        let expected = self.commands.expected_state(self.state().unwrap_or(State::Logout));
        if !Allowed::Authenticated.holds_in(expected) || self.hides_untrusted_data() {
            return Err(Misuse::WrongState.into());
        }
        if !is_command_offered(CommandName::Idle, |capability| self.offers(capability)) {
            return Err(Misuse::NotOffered.into());
        }
        self.done(tx)?;
        let id = self.commands.next_id();
        let line = OutgoingLine::simple(alloc::format!("{id} IDLE\r\n").into_bytes());
        self.submit(id, OutgoingCommand::Idle, line, tx);
        Ok(id)
    }

    /// Ends IDLE, now or as soon as the server has accepted it. Does nothing if the client is not idling.
    pub(super) fn done(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.commands.active {
            ActiveCommand::Idle(id) => {
                tx.put(b"DONE\r\n");
                self.commands.line_queued(id, tx);
                self.commands.release(tx);
                self.step_done();
            }
            ActiveCommand::IdleRequested(id) => self.commands.active = ActiveCommand::IdleCancelled(id),
            _ => {}
        }
        Ok(())
    }
}
