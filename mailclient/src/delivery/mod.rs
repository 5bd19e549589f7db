//! Delivering messages to many recipients, with retries and a result for each recipient.
//!
//! An attempt is one or more transactions on one session. Recipients that a server refuses temporarily are retried
//! after growing delays. Recipients that the server accepted or refused permanently are not retried. Neither are
//! recipients whose reply was lost, so that no recipient gets a message twice.
//!
//! * [`engine`] decides everything without I/O: which message is tried next, which session is used, what follows an
//!   attempt, and what is written to a [`Journal`] before the next step. The runners do what it says.
//! * The runner for blocking threads (feature `mio`): a [`Dispatcher`] delivers many messages on the sessions of a
//!   [`Pool`], with limits for each host. [`Pool::deliver`] delivers one message on a session of a pool, and [`deliver()`]
//!   without a pool. A [`Route`] says how sessions are opened. A program on a [`Reactor`](io_mio::Reactor) calls them in
//!   [`Workers`](io_mio::Workers).
//! * The runner for tokio (feature `tokio`): the same names in the module `tokio`.
//!
//! Each step has a time limit: that of RFC 5321 §4.5.3.2, or a shorter one in [`Deadlines`](io_common::Deadlines).

mod attempt;
mod clock;
#[cfg(feature = "mio")]
mod deliver;
mod diagnostic;
#[cfg(feature = "mio")]
mod dispatcher;
pub mod engine;
#[cfg(test)]
mod engine_tests;
#[cfg(feature = "tokio")]
mod flights;
mod held_delivery;
mod journal;
#[cfg(feature = "tokio")]
mod lent_source;
mod message;
mod message_attempts;
#[cfg(feature = "mio")]
mod pool;
mod report;
mod request;
mod retry;
#[cfg(feature = "mio")]
mod route;
mod route_key;
#[cfg(any(feature = "mio", feature = "tokio"))]
mod session_login;
mod session_pool;
mod session_usage;
#[cfg(feature = "mio")]
mod smtp_session;
mod status;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "tokio")]
mod tokio_attempt;
#[cfg(feature = "tokio")]
mod tokio_dispatcher;
#[cfg(feature = "tokio")]
mod tokio_pool;
#[cfg(feature = "tokio")]
mod tokio_route;
#[cfg(feature = "tokio")]
mod tokio_traits;
mod upload;
mod validation;

pub use clock::{Clock, SystemClock};
#[cfg(feature = "mio")]
pub use deliver::deliver;
pub use diagnostic::{DIAGNOSTIC_TEXT_LIMIT, DeliveryStage, Diagnostic, Retryable};
#[cfg(feature = "mio")]
pub use dispatcher::Dispatcher;
pub use journal::Journal;
pub use message::{Chunking, Message};
#[cfg(feature = "mio")]
pub use pool::{Pool, Session};
pub use report::{DeliveryReport, RecipientReport};
pub use request::{DeliveryRequest, DeliveryResult, StopSignal};
pub use retry::{RetryCodes, RetryPolicy};
#[cfg(feature = "mio")]
pub use route::Route;
pub use session_pool::PoolLimits;
#[cfg(feature = "mio")]
pub use smtp_session::{log_in, wait_until_ready};
pub use status::DeliveryStatus;
pub use validation::{AddressPolicy, MessageLimits, MessagePart, Problem, ProblemKind};
