#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
mod dial;
pub mod server;
pub mod socket;
mod timer_queue;

pub use client::{ConnectStage, Connection, ConnectionEvent, Connector, StageReport};
pub use io_common::{
    Address, Certificate, ClientCertificates, ClientProtocol, CloseReason, ConnectionLimits, Context,
    Deadlines, Error, ErrorKind, Fingerprint, Handler, ImapClient, ImapServer, JobGroup, JobHandle, JobStep,
    ListenerSettings, ListenerTls, MachineMut, MinimumRate, Next, Peer, Protocol, Proxy, ProxyError,
    Security, ServerProtocol, SessionHandle, Slice, SmtpClient, SmtpServer, StartTlsReadiness, Target,
    TimeoutStage, TlsClientConfig, TlsError, TlsErrorKind, TlsInfo, TlsServerConfig, TlsVersions, Trace,
    TraceFormat, TraceWriter, TrustedProxies, WorkerLimits, Workers, error, protocol, tls, trace, workers,
};
pub use server::{BoundPort, Reactor, ReactorHandle};
pub use socket::{ConnectedSocket, Socket};
