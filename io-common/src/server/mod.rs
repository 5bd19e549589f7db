#![doc = include_str!("driver.md")]

pub(crate) mod admission;
mod half_closed;
pub(crate) mod handler;
pub(crate) mod listener_settings;
pub(crate) mod output_filter;
pub(crate) mod proxy_protocol;
pub(crate) mod session;
pub(crate) mod session_factory;
pub(crate) mod session_handle;
pub(crate) mod session_task;

pub use admission::{Admission, AdmissionControl, ConnectionLimits, Entry};
pub use handler::{CloseReason, Context, Handler, Next, Peer};
pub use listener_settings::{ListenerSettings, ListenerTls, SessionSettings};
pub use output_filter::{OutputFilter, OutputFilterFactory};
pub use proxy_protocol::{Announcement, HEADER_TIMEOUT, TrustedProxies};
pub use session_factory::SessionFactory;
pub use session_handle::{SessionHandle, WakeSessions};
pub use session_task::{SessionTask, TurnOutcome, WakeReason};
