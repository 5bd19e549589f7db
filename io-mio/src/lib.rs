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
//! * [`TlsClient`] and [`TlsServer`] say whom to trust and what to show.
#![forbid(unsafe_code)]

pub mod connection;
pub mod connector;
mod crowd;
pub mod delivery;
mod drive;
pub mod error;
pub mod handler;
mod imap;
mod link;
pub mod listener;
mod lookup;
pub mod protocol;
mod proxied;
pub mod reactor;
mod remote;
mod session;
mod smtp;
pub mod timer;
pub mod tls;
pub mod trace;
pub mod workers;

pub use connection::{Connection, Turn};
pub use connector::{Connector, Report, Security, Target};
pub use error::{Error, Kind, Stage};
pub use handler::{Closed, Context, Handler, Next, Peer};
pub use imap::{ImapClient, ImapServer};
pub use listener::{ListenerSettings, ListenerTls, Port};
pub use protocol::{Approach, ClientProtocol, MachineMut, Protocol, ServerProtocol};
pub use proxied::TrustedProxies;
pub use reactor::{Reactor, ReactorHandle, ReactorLimits, Remote};
pub use smtp::{SmtpClient, SmtpServer};
pub use timer::{LeastRate, Patience};
pub use tls::{Certificate, Fingerprint, TlsCause, TlsClient, TlsError, TlsInfo, TlsServer, TlsVersions};
pub use trace::{Trace, TraceFormat, TraceWriter};
pub use workers::{JobGroup, Later, Slice, Step, WorkerLimits, Workers};
