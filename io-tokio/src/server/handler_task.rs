//! The task of one session with a [`Handler`](io_common::Handler).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use io_common::server::{SessionTask, TurnOutcome, WakeReason};

use super::{session_signals::Signal, session_table::SessionSlot};
use crate::{
    socket::{Socket, with_buffer},
    timer::{POLL_TIME, Timer, let_others_run, now},
};

/// How often a session that does not read looks whether its peer has left.
const PEER_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How soon a session looks again at input that it has only peeked at.
pub(super) const PEEK_INTERVAL: Duration = Duration::from_millis(20);

/// Runs a session to its end.
pub(crate) struct HandlerTask {
    session: Box<dyn SessionTask<Socket>>,
    slot: SessionSlot,
    timer: Timer,
    /// When the session wants its turn at the latest.
    deadline: Option<Instant>,
}

impl HandlerTask {
    pub(crate) fn new(session: Box<dyn SessionTask<Socket>>, slot: SessionSlot) -> Self {
        Self { session, slot, timer: Timer::default(), deadline: None }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> TurnOutcome {
        let now = now();
        let signal = self.slot.signals.take(cx.waker());
        if signal.contains(Signal::MAKE_ROOM) {
            self.session.make_room(now);
            return TurnOutcome::Finished;
        }
        if signal.contains(Signal::ABORT) {
            self.session.abort(now);
            return TurnOutcome::Finished;
        }
        let reason = WakeReason {
            woken: signal.contains(Signal::WAKE),
            timer: self.deadline.is_some_and(|at| at <= now),
            drain: signal.contains(Signal::DRAIN),
        };
        if let Some(socket) = self.session.socket() {
            socket.begin_turn(cx);
            let readiness = socket.readiness();
            self.session.ready(readiness);
        }
        let outcome = with_buffer(|buffer| self.session.turn(reason, now, buffer));
        if let Some(socket) = self.session.socket() {
            socket.pass_on(cx);
        }
        if !self.session.awaits_login() {
            self.slot.logged_in();
        }
        outcome
    }

    /// Waits for the socket, until `at` at the latest. Ready means that the session gets another turn.
    fn poll_wait(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline = at;
        let Some(socket) = self.session.socket() else { return Poll::Ready(()) };
        let turn = socket.turn();
        if turn.has_read && !turn.awaits_input {
            // There may be more to read, and nothing would wake the task.
            return Poll::Ready(());
        }
        let look = match (turn.awaits_input || socket.await_input(cx), socket.has_peeked()) {
            (true, _) => None,
            (false, true) => Some(PEEK_INTERVAL),
            (false, false) => Some(PEER_CHECK_INTERVAL),
        };
        let look = look.map(|after| now() + after);
        self.timer.poll_at(at.into_iter().chain(look).min(), cx)
    }
}

impl Future for HandlerTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Not tokio's clock, which tests can pause.
        let begun = Instant::now();
        loop {
            if begun.elapsed() >= POLL_TIME {
                return let_others_run(cx);
            }
            match this.turn(cx) {
                TurnOutcome::Waiting(at) => ready!(this.poll_wait(at, cx)),
                TurnOutcome::Again => return let_others_run(cx),
                TurnOutcome::ClientAnnounced(client) => match this.slot.announced(client) {
                    Some(admission) => this.session.admit(admission, now()),
                    None => return Poll::Ready(()),
                },
                TurnOutcome::Finished => return Poll::Ready(()),
            }
        }
    }
}
