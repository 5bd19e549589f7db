//! Delivery on tokio: many messages at the same time in one task. The names are those of the blocking runner.
//!
//! * **One task drives all sessions.** [`Dispatcher::run`] is a future; nothing is spawned while it is awaited.
//! * **Sources are read on worker threads**, because a [`Message`](super::Message) has a source that may block
//!   (`Read + Seek`). A small message needs one job for each attempt. [`Dispatcher::jobs`] limits how many run at a time.
//! * **Dropping the future of a run** ends it at once: no byte more is sent, and connections in the middle of a message are
//!   cut, so that the server discards the message. [`AsyncJournal`] is then called for each message whose transaction was
//!   in progress. The messages have no result. Idle sessions stay in the [`Pool`].

pub use super::{
    tokio_dispatcher::Dispatcher,
    tokio_pool::Pool,
    tokio_route::{Route, log_in, wait_until_ready},
    tokio_traits::{AsyncClock, AsyncJournal, FromIter, RequestSource},
};
