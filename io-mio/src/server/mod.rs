//! Servers: a [`Reactor`] accepts connections and calls a [`Handler`] for each session.

pub(crate) mod admission;
pub(crate) mod handler;
pub(crate) mod listener;
pub(crate) mod listener_settings;
pub(crate) mod proxy_protocol;
pub(crate) mod reactor;
pub(crate) mod session;
pub(crate) mod session_handle;
pub(crate) mod session_task;

pub use admission::ReactorLimits;
pub use handler::{CloseReason, Context, Handler, Next, Peer};
pub use listener::BoundPort;
pub use listener_settings::{ListenerSettings, ListenerTls};
pub use proxy_protocol::TrustedProxies;
pub use reactor::{Reactor, ReactorHandle};
pub use session_handle::SessionHandle;
