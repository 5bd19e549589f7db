//! Answers commands, for the machine and for the application (RFC 9051 §7.1).

use alloc::vec::Vec;

use proto_mail::token::Token;
use proto_mail::trace::TraceKind;
use proto_mail::{AuthVerdict, Error, Limit, Misuse, SendBuffer};

use super::event::Reply;
use super::notify::Notify;
use super::refusal::Refusal;
use super::session::{Session, Turn, Verdict};
use super::unfinished::Unfinished;
use crate::encode;
use crate::state::{Effect, Outcome, State};
use crate::types::{Condition, Response, StatusResponse, Untagged};

impl Session {
    /// Greets the client.
    pub(super) fn greet(&self, tx: &mut SendBuffer) {
        tx.put(b"* OK [CAPABILITY");
        super::capability::put(self.state, self.mechanisms(), self.trust, &self.config, tx);
        tx.put(b"] ");
        let name = self.config.server_name.bytes().filter(|byte| matches!(byte, 0x20..=0x7e));
        tx.put(&name.collect::<Vec<u8>>());
        tx.put(b" ready\r\n");
    }

    /// Rejects the client instead of greeting it.
    pub(super) fn refuse(&mut self, status: &StatusResponse<'_>, tx: &mut SendBuffer) {
        let status = StatusResponse { condition: Condition::Bye, ..*status };
        encode::response(&Response::Untagged(Untagged::Status(status)), tx);
        self.state = State::Logout;
    }

    pub(super) fn put_refusal(&mut self, refusal: &Refusal, tx: &mut SendBuffer) -> Result<(), Error> {
        self.put_tagged(refusal.condition, refusal.text, tx);
        self.count_error(refusal, tx)
    }

    /// Rejects an invalid command.
    pub(super) fn put_bad(&mut self, why: &dyn core::fmt::Display, tx: &mut SendBuffer) -> Result<(), Error> {
        // The text shows an atom of the command, so it contains no CR, LF or NUL.
        self.tag.put(tx);
        tx.put(b" BAD ");
        tx.put_as(alloc::format!("{why}").as_bytes(), TraceKind::Unknown);
        tx.put(b"\r\n");
        self.count_error(&Refusal::bad(""), tx)
    }

    pub(super) fn count_error(&mut self, refusal: &Refusal, tx: &mut SendBuffer) -> Result<(), Error> {
        self.counters.refusals.total = self.counters.refusals.total.saturating_add(1);
        if matches!(refusal.condition, "BAD" | "BAD [LIMIT]") {
            self.counters.errors = self.counters.errors.saturating_add(1);
            if self.counters.errors >= self.config.limits.errors {
                return Err(self.fail(Limit::Errors.into(), "too many errors", tx));
            }
        }
        Ok(())
    }

    /// Returns a tagged line of the machine's own.
    pub(super) fn line(&self, condition: &str, text: &str) -> Vec<u8> {
        let mut line = self.tag.shown().to_vec();
        for part in [" ", condition, " ", text, "\r\n"] {
            line.extend_from_slice(part.as_bytes());
        }
        line
    }

    pub(super) fn put_tagged(&self, condition: &str, text: &str, tx: &mut SendBuffer) {
        self.tag.put(tx);
        for part in [" ", condition, " ", text, "\r\n"] {
            tx.put(part.as_bytes());
        }
    }

    /// Answers a command with the application's status.
    pub(super) fn reply(
        &mut self,
        reply: &Reply,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.check_token(&reply.token)?;
        let outcome = outcome(status)?;
        let effect = match self.turn {
            Turn::Reply { effect, .. } => effect,
            Turn::IdleReply => Effect::None,
            Turn::Idling => return Err(Misuse::WrongState.into()),
            _ => return Err(Misuse::StaleToken.into()),
        };
        self.put_status(status, tx)?;
        self.counters.refusals.count(outcome);
        self.notify.end(outcome);
        self.change_state(effect, outcome);
        self.turn = Turn::Command;
        self.command_ended();
        Ok(())
    }

    /// Answers with a temporary failure if the application has dropped the token that it must use now. Returns false
    /// if no token is open.
    ///
    /// # Errors
    /// [`Misuse::StaleToken`] if a response is unfinished, so that no answer can be written: the session is over.
    pub(super) fn token_dropped(&mut self, tx: &mut SendBuffer) -> Result<bool, Error> {
        if !self.turn.needs_token() {
            return Ok(false);
        }
        if self.unfinished != Unfinished::Nothing {
            return Err(Misuse::StaleToken.into());
        }
        let refusal = Refusal::no("NO [SERVERBUG]", "the server could not answer: try again later");
        match core::mem::replace(&mut self.turn, Turn::Command) {
            Turn::Verdict(Verdict { exchange, .. }) => {
                self.conclude(exchange, AuthVerdict::Unavailable, tx)?;
                return Ok(true);
            }
            Turn::Compress => self.put_tagged("NO [UNAVAILABLE]", "compression is not available now", tx),
            Turn::StartTls => self.put_tagged("NO [UNAVAILABLE]", "TLS is not available now", tx),
            Turn::Offer(offered) => self.offer_dropped(&offered, &refusal, tx),
            Turn::Reply { effect, .. } => {
                self.put_tagged(refusal.condition, refusal.text, tx);
                self.notify.end(Outcome::Failure);
                self.change_state(effect, Outcome::Failure);
            }
            _ => self.put_tagged(refusal.condition, refusal.text, tx),
        }
        self.command_ended();
        Ok(true)
    }

    /// Changes the state after a command, following the table in [`State::after`].
    fn change_state(&mut self, effect: Effect, outcome: Outcome) {
        let next = self.state.after(effect, outcome);
        if self.state.is_authenticated() && next == State::NotAuthenticated {
            self.notify = Notify::default();
            self.enabled.clear();
            self.counters.commands_before_login = 0;
        }
        self.state = next;
        if matches!((effect, outcome), (Effect::Select(_), Outcome::Success)) {
            self.messages.select();
        }
    }

    /// Writes the answer under the tag of the command in progress.
    pub(super) fn put_status(
        &mut self,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        if self.unfinished != Unfinished::Nothing {
            return Err(Misuse::WrongLength.into());
        }
        let tag = self.tag.get().ok_or(Misuse::WrongState)?;
        let response = Response::Tagged { tag, status: *status };
        if self.tag.kind() == TraceKind::Text {
            encode::response(&response, tx);
            return Ok(());
        }
        let mut line = SendBuffer::new();
        encode::response(&response, &mut line);
        self.tag.put_line(&line.take(), tx);
        Ok(())
    }

    /// Checks that this token is the open one.
    pub(super) fn check_token(&self, token: &Token) -> Result<(), Error> {
        if self.state != State::Logout && self.tokens.is_newest(token) {
            Ok(())
        } else {
            Err(Misuse::StaleToken.into())
        }
    }
}

/// Returns the outcome of a command with this status. Only OK, NO and BAD complete a command.
pub(super) fn outcome(status: &StatusResponse<'_>) -> Result<Outcome, Error> {
    match status.condition {
        Condition::Ok => Ok(Outcome::Success),
        Condition::No => Ok(Outcome::Failure),
        Condition::Bad => Ok(Outcome::Refused),
        Condition::PreAuth | Condition::Bye => Err(Misuse::WrongState.into()),
    }
}
