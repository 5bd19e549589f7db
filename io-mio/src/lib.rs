//! A thin event loop for the Mailwire machines: mio for sockets, rustls for TLS.
//!
//! This crate is the only one that performs I/O for the machines. It knows sockets, TLS, threads and the clock; of
//! IMAP and SMTP it knows four lists of types ([`Protocol`]) and nothing else. One loop drives all four machines.
//!
//! * A server is a [`Reactor`] with listeners; the application is a [`Handler`] for each session, and blocking work
//!   goes to [`Workers`].
//! * A client is a [`Connector`], which makes a [`Connection`]: name, address, TLS, certificate, one stage at a time,
//!   each with its time-out, each reported. Nothing ever falls back to less than what was asked for.
//! * [`delivery`] sends one message to many recipients, tries again, and tells the truth about each.
//! * [`TlsClientConfig`] and [`TlsServerConfig`] say whom to trust and what to show.
#![forbid(unsafe_code)]

mod admission;
pub mod connection;
pub mod connector;
pub mod delivery;
pub mod error;
pub mod handler;
mod imap;
pub mod listener;
mod lookup;
pub mod protocol;
mod proxy_protocol;
pub mod reactor;
mod session;
mod session_handle;
mod session_task;
mod smtp;
pub mod timers;
pub mod tls;
pub mod trace;
mod transport;
pub mod workers;

pub use connection::{Connection, ConnectionEvent};
pub use connector::{ConnectStage, Connector, Security, StageReport, Target};
pub use error::{Error, ErrorKind, TimeoutStage};
pub use handler::{CloseReason, Context, Handler, Next, Peer};
pub use imap::{ImapClient, ImapServer};
pub use listener::{BoundPort, ListenerSettings, ListenerTls};
pub use protocol::{ClientProtocol, MachineMut, Protocol, ServerProtocol, StartTlsReadiness};
pub use proxy_protocol::TrustedProxies;
pub use reactor::{Reactor, ReactorHandle, ReactorLimits, SessionHandle};
pub use smtp::{SmtpClient, SmtpServer};
pub use timers::{Deadlines, MinimumRate};
pub use tls::{
    Certificate, Fingerprint, TlsClientConfig, TlsError, TlsErrorKind, TlsInfo, TlsServerConfig, TlsVersions,
};
pub use trace::{Trace, TraceFormat, TraceWriter};
pub use workers::{JobGroup, JobHandle, JobStep, Slice, WorkerLimits, Workers};
