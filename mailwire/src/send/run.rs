//! A run: sends messages over a pool of sessions until all are done or the run is stopped.

use std::sync::Arc;
use std::time::Duration;

use io_mio::StageReport;
use mailclient::delivery::{Dispatcher, Pool, PoolLimits, RetryPolicy, Route, SystemClock};
use mailclient::smtp::SmtpChannel;
use proto_mail::{Cleartext, Credentials, Secure};
use proto_smtp::client::Client;

use super::envelope::Envelope;
use super::journal;
use super::report::Counters;
use super::requests::{Messages, Requests};
use super::run_journal::RunJournal;
use super::run_state::{RunEnd, RunSize, RunState};
use crate::command_error::CommandError;
use crate::endpoint::Endpoint;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The maximum number of recipients of all messages held at once.
const MAX_HELD_RECIPIENTS: usize = 50_000;
/// The maximum number of messages held at once.
const MAX_HELD_MESSAGES: usize = 2_000;

/// How to deliver the messages.
pub(super) struct DeliveryPlan {
    pub(super) endpoint: Endpoint,
    pub(super) credentials: Option<Credentials>,
    pub(super) envelope: Envelope,
    pub(super) policy: RetryPolicy,
    /// The number of sessions to use at once.
    pub(super) concurrency: usize,
}

/// Sends the messages.
///
/// # Errors
/// The run failed before the result of any message was known. Later failures are in the reports.
pub(super) fn deliver(
    plan: DeliveryPlan,
    messages: Messages,
    journal: Option<RunJournal>,
    output: Output,
) -> Result<Counters, CommandError> {
    let bar = output.progress(messages.total_bytes(), "sending");
    let size = if matches!(messages, Messages::Single(_)) { RunSize::Single } else { RunSize::Many };
    let state = RunState::new(output, bar, journal, size);
    let plan = Arc::new(plan);
    let interrupt = Interrupt::install()?;
    let _graceful = interrupt.graceful();
    if plan.endpoint.is_cleartext()? {
        dispatch::<Cleartext>(state, &plan, messages, &interrupt)
    } else {
        dispatch::<Secure>(state, &plan, messages, &interrupt)
    }
}

fn dispatch<C: SmtpChannel + Send + 'static>(
    state: RunState,
    plan: &Arc<DeliveryPlan>,
    messages: Messages,
    interrupt: &Interrupt,
) -> Result<Counters, CommandError>
where
    Client<C>: Send,
{
    let limits = PoolLimits {
        sessions: plan.concurrency,
        sessions_per_host: plan.concurrency,
        lifetime: Duration::MAX,
        messages: u32::MAX,
        ..PoolLimits::default()
    };
    let pool = Pool::new(limits);
    let (route, clock) = (route::<C>(plan, &state), SystemClock::start());
    let recipients = plan.envelope.recipients.len().max(1);
    let held = (MAX_HELD_RECIPIENTS / recipients).clamp(2 * plan.concurrency, MAX_HELD_MESSAGES);
    let dispatcher = Dispatcher::new(&pool, clock)
        .policy(plan.policy.clone())
        .hold_at_most(held)
        .look_ahead(plan.concurrency.max(2 * journal::MAX_AHEAD))
        .stop_with(&state.stop);
    let mut requests = Requests::new(&plan.envelope, messages, &state, route);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Some(unanswered) = state.stop_control.watch(interrupt, &state.stop) {
                state.exit(interrupt, unanswered);
            }
        });
        // The watching thread must end, also after a panic.
        let _end = OnDrop(|| state.stop_control.run_ended());
        dispatcher.run_with(&state, &mut requests, |result| state.delivered(result));
    });
    let end = if requests.is_done() { RunEnd::Complete } else { RunEnd::Stopped };
    state.finish(end, interrupt)
}

/// Calls a function on drop.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Returns the route to the server, which opens sessions and logs in if the URL names a user.
fn route<C: SmtpChannel + 'static>(plan: &Arc<DeliveryPlan>, state: &RunState) -> Route<C, CommandError> {
    let (plan, output, bar) = (Arc::clone(plan), state.output(), state.bar().clone());
    let url = plan.endpoint.url.clone();
    Route::new(&url.host, url.port, move || {
        let connector = plan.endpoint.connector(|_: &StageReport| {});
        let config = plan.endpoint.smtp_config().dialect(plan.envelope.dialect());
        let mut session = C::open(&plan.endpoint.inner, &connector, config)?;
        session.ready(|_| Ok::<_, CommandError>(()))?;
        if let Some(credentials) = &plan.credentials {
            session.log_in(&plan.endpoint.inner, &plan.endpoint.source(credentials))?;
        }
        let offered = session.offered();
        plan.envelope.check_chunking(offered)?;
        if let Some(hint) = plan.envelope.missing_extensions_hint(offered) {
            bar.suspend(|| output.hint(hint));
        }
        Ok(session.connection)
    })
}
