#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
mod deadlines;
#[cfg(feature = "delivery")]
pub mod delivery;
mod dial;
pub mod error;
mod network;
pub mod protocol;
pub mod server;
mod session_timer;
pub mod socket;
mod timer_queue;
pub mod tls;
pub mod trace;
mod transport;
pub mod workers;

pub use client::{ConnectStage, Connection, ConnectionEvent, Connector, Security, StageReport, Target};
pub use deadlines::{Deadlines, MinimumRate};
pub use dial::{Proxy, ProxyError};
pub use error::{Error, ErrorKind, TimeoutStage};
pub use protocol::{
    ClientProtocol, ImapClient, ImapServer, MachineMut, Protocol, ServerProtocol, SmtpClient, SmtpServer,
    StartTlsReadiness,
};
pub use server::{
    BoundPort, CloseReason, Context, Handler, ListenerSettings, ListenerTls, Next, Peer, Reactor,
    ReactorHandle, ReactorLimits, SessionHandle, TrustedProxies,
};
pub use socket::{Address, ConnectedSocket};
pub use tls::{
    Certificate, ClientCertificates, Fingerprint, TlsClientConfig, TlsError, TlsErrorKind, TlsInfo,
    TlsServerConfig, TlsVersions,
};
pub use trace::{Trace, TraceFormat, TraceWriter};
pub use workers::{JobGroup, JobHandle, JobStep, Slice, WorkerLimits, Workers};
