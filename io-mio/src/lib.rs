#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
mod dial;
pub mod imap;
pub mod server;
pub mod smtp;
pub mod socket;
mod timer_queue;
mod typed_session;

pub use client::{ConnectStage, Connection, ConnectionEvent, Connector, StageReport};
pub use imap::ImapClient;
pub use io_common::{
    Address, Certificate, ClientCertificates, ClientError, ClientProtocol, CloseReason, ConnectionLimits,
    Context, Deadlines, Error, ErrorKind, Fingerprint, Handler, ImapClientProtocol, ImapServer, JobGroup,
    JobHandle, JobStep, ListenerSettings, ListenerTls, MachineMut, MailPolicy, MinimumRate, Next, Peer,
    Protocol, Proxy, ProxyError, ReceivedMail, Security, ServerProtocol, SessionHandle, Slice,
    SmtpClientProtocol, SmtpServer, StartTlsReadiness, Target, TimeoutStage, TlsClientConfig, TlsError,
    TlsErrorKind, TlsInfo, TlsServerConfig, TlsVersions, Trace, TraceFormat, TraceWriter, TrustedProxies,
    WorkerLimits, Workers, error, protocol, tls, trace, workers,
};
pub use proto_mail::Credentials;
pub use server::{BoundPort, IncomingMail, Reactor, ReactorHandle};
pub use smtp::SmtpClient;
pub use socket::{ConnectedSocket, Socket};
pub use {io_common, proto_imap, proto_mail, proto_smtp};
