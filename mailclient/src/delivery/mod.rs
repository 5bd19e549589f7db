//! Delivering messages to many recipients, with retries and a result for each recipient.
//!
//! An attempt is one or more transactions on one session. Recipients that a server refuses temporarily are retried
//! after growing delays. Recipients that the server accepted or refused permanently are not retried. Neither are
//! recipients whose reply was lost, so that no recipient gets a message twice.
//!
//! * [`Dispatcher`] delivers many messages on the sessions of a [`Pool`], with limits for each host, and reports each step
//!   to a [`Journal`] before the next one.
//! * [`Pool::deliver`] delivers one message on a session of a pool. A [`Route`] says how sessions are opened.
//! * [`deliver()`] delivers one message without a pool.
//!
//! All of them block. A program on a [`Reactor`](io_mio::Reactor) calls them in [`Workers`](io_mio::Workers).
//!
//! Each step has a time limit: that of RFC 5321 §4.5.3.2, or a shorter one in [`Deadlines`](io_mio::Deadlines).

mod attempt;
mod clock;
mod deliver;
mod diagnostic;
mod dispatcher;
mod journal;
mod message;
mod pool;
mod queue;
mod report;
mod request;
mod retry;
mod route;
mod smtp_session;
mod status;
mod upload;
mod validation;

pub use clock::{Clock, SystemClock};
pub use deliver::deliver;
pub use diagnostic::{DIAGNOSTIC_TEXT_LIMIT, DeliveryStage, Diagnostic, Retryable};
pub use dispatcher::Dispatcher;
pub use journal::Journal;
pub use message::{Chunking, Message};
pub use pool::{Pool, PoolLimits, Session};
pub use report::{DeliveryReport, RecipientReport};
pub use request::{DeliveryRequest, DeliveryResult, StopSignal};
pub use retry::{RetryCodes, RetryPolicy};
pub use route::Route;
pub use smtp_session::{log_in, wait_until_ready};
pub use status::DeliveryStatus;
pub use validation::{AddressPolicy, MessageLimits, MessagePart, Problem, ProblemKind};
