//! What a session does on purpose so that a client can be tested: injected faults, and the behaviour of an imitated server.

use std::time::Duration;

use io_common::Next;
use proto_imap::server::{LiteralOffer, Reply};
use proto_imap::types::{
    Command, CommandName, Condition, IString, PlainCode, ResponseCode, SequenceNumber, SequenceSet,
    StatusResponse, Text,
};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthRequest, AuthVerdict};

use super::test_state::Held;
use super::{Session, Turn, next_or_close, reply_bad, reply_no};
use crate::faults::{ImapFault, ImapStatus};
use crate::login::LoginSession;

impl Session {
    /// Draws the delay and the fault of a command.
    fn draw(&mut self, command: CommandName) -> (Option<ImapFault>, Option<Duration>) {
        let Some(controls) = &mut self.controls else { return (None, None) };
        let mut sampler = self.context.faults.sampler(controls.random.clone());
        let (fault, delay) = (sampler.imap_fault(command), sampler.imap_delay(command));
        controls.random = sampler.into_random();
        if fault.is_some() {
            tracing::info!(session = self.number, %command, ?fault, "injected fault");
        }
        (fault, delay)
    }

    fn hold(&mut self, delay: Duration, held: Held, turn: &mut Turn<'_, '_>) -> Next {
        if let Some(controls) = &mut self.controls {
            controls.held = Some((turn.cx.now() + delay, held));
            turn.cx.wake_after(delay);
        }
        Next::Continue
    }

    /// Continues what was delayed, if it is due. Returns `None` if nothing is delayed.
    pub(super) fn continue_held(&mut self, turn: &mut Turn<'_, '_>) -> Option<Next> {
        let controls = self.controls.as_mut()?;
        let (at, held) = controls.held.take()?;
        let now = turn.cx.now();
        if now < at {
            controls.held = Some((at, held));
            turn.cx.wake_after(at - now);
            return Some(Next::Continue);
        }
        Some(match held {
            Held::Command(command, reply) => self.command(reply, command.view(), turn),
            Held::Idle(reply) => self.begin_idle(reply, turn),
            Held::Login(request) => self.start_login(request, turn),
            Held::Append(reply) => self.end_append(reply, turn),
        })
    }

    /// Executes a command, unless a fault or the imitated server prevents it.
    pub(super) fn tested_command(
        &mut self,
        reply: Reply,
        command: Command<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let (fault, delay) = self.draw(command.name());
        let reply = match fault {
            None => reply,
            Some(fault) => return inject(reply, &fault, turn),
        };
        if let Some(dialect) = self.context.dialect {
            if let Some(controls) = &mut self.controls {
                controls.identified |= matches!(command, Command::Id(_));
                let selects = matches!(command, Command::Select(_) | Command::Examine(_));
                if selects && !controls.identified && dialect.requires_id() {
                    return reply_no(reply, PlainCode::Cannot, "SELECT Unsafe Login. Send ID first", turn);
                }
            }
            if dialect.rejects_descending_sets() && messages(&command).is_some_and(is_descending) {
                return reply_bad(reply, "Sequence set is invalid", turn);
            }
        }
        match delay {
            None => self.command(reply, command, turn),
            Some(delay) => self.hold(delay, Held::Command(command.into_owned(), reply), turn),
        }
    }

    /// Begins IDLE, unless a fault prevents it.
    pub(super) fn tested_idle(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        match self.draw(CommandName::Idle) {
            // The client is idling already, so that only the connection can fail.
            (Some(_), _) => Next::Close,
            (None, Some(delay)) => self.hold(delay, Held::Idle(reply), turn),
            (None, None) => self.begin_idle(reply, turn),
        }
    }

    /// Starts a login, unless a fault prevents it.
    pub(super) fn tested_login(&mut self, request: AuthRequest, turn: &mut Turn<'_, '_>) -> Next {
        // A mechanism with two questions draws a fault only once, at the first.
        if matches!(request.question(), AuthQuestion::Authorize { .. }) {
            return self.start_login(request, turn);
        }
        let verdict = match self.draw(CommandName::Login) {
            (None, None) => return self.start_login(request, turn),
            (None, Some(delay)) => return self.hold(delay, Held::Login(request), turn),
            (Some(ImapFault::Status(status)), _) if status.is_unavailable() => AuthVerdict::Unavailable,
            (Some(ImapFault::Status(_)), _) => AuthVerdict::Reject,
            (Some(ImapFault::Bye), _) => return bye(turn),
            (Some(ImapFault::Drop), _) => return Next::Close,
        };
        next_or_close(turn.machine.answer_auth(request, verdict, turn.tx))
    }

    /// Draws the fault of APPEND. Returns the offer if APPEND does not fail.
    pub(super) fn tested_append(
        &mut self,
        offer: LiteralOffer,
        turn: &mut Turn<'_, '_>,
    ) -> Result<LiteralOffer, Next> {
        match self.draw(CommandName::Append).0 {
            None => Ok(offer),
            Some(ImapFault::Drop) => Err(Next::Close),
            Some(ImapFault::Bye) => Err(bye(turn)),
            Some(ImapFault::Status(status)) => {
                Err(next_or_close(turn.machine.reject_literal(offer, &response(&status), turn.tx)))
            }
        }
    }

    /// Ends an APPEND, after its delay.
    pub(super) fn tested_append_end(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        match self.draw(CommandName::Append).1 {
            None => self.end_append(reply, turn),
            Some(delay) => self.hold(delay, Held::Append(reply), turn),
        }
    }
}

fn inject(reply: Reply, fault: &ImapFault, turn: &mut Turn<'_, '_>) -> Next {
    match fault {
        ImapFault::Drop => Next::Close,
        ImapFault::Bye => bye(turn),
        ImapFault::Status(status) => next_or_close(turn.machine.reply(reply, &response(status), turn.tx)),
    }
}

fn bye(turn: &mut Turn<'_, '_>) -> Next {
    turn.machine.shutdown("injected fault", turn.tx);
    Next::Close
}

fn response(status: &ImapStatus) -> StatusResponse<'_> {
    let condition = if status.is_bad { Condition::Bad } else { Condition::No };
    let response = StatusResponse::new(condition, Text::first_line("injected fault"));
    match &status.code {
        Some(code) => {
            response.with_code(ResponseCode::Other { name: IString::from(code.as_str()), argument: None })
        }
        None => response,
    }
}

/// Returns the messages that a command names.
fn messages<'c>(command: &Command<'c>) -> Option<SequenceSet<'c>> {
    match command {
        Command::Fetch(arguments) | Command::UidFetch(arguments) => Some(arguments.messages),
        Command::Store(arguments) | Command::UidStore(arguments) => Some(arguments.messages),
        Command::Copy(arguments)
        | Command::UidCopy(arguments)
        | Command::Move(arguments)
        | Command::UidMove(arguments) => Some(arguments.messages),
        Command::UidExpunge(messages) => Some(*messages),
        _ => None,
    }
}

/// Returns whether the first number of a range is the larger one.
fn is_descending(set: SequenceSet<'_>) -> bool {
    set.ranges().any(|range| match (range.first, range.last) {
        (SequenceNumber::Number(first), SequenceNumber::Number(last)) => first > last,
        _ => false,
    })
}
