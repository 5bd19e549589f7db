#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod address;
pub mod client;
mod connect_stage;
mod deadlines;
pub mod error;
pub mod lookup;
pub mod mail_receiver;
pub mod protocol;
pub mod proxy;
pub mod server;
pub mod session_timer;
pub mod stream;
mod target;
pub mod tls;
pub mod trace;
pub mod transport;
pub mod workers;

pub use address::Address;
pub use client::ClientError;
pub use connect_stage::{ConnectStage, StageObserver, StageReport, StageReporter};
pub use deadlines::{Deadlines, MinimumRate};
pub use error::{Error, ErrorKind, TimeoutStage};
pub use mail_receiver::{MailPolicy, MailReceiver, ReceivedMail};
pub use protocol::{
    ClientProtocol, ImapClientProtocol, ImapServer, MachineMut, Protocol, ServerProtocol, SmtpClientProtocol,
    SmtpServer, StartTlsReadiness,
};
pub use proxy::{Proxy, ProxyError};
pub use server::{
    CloseReason, ConnectionLimits, Context, Handler, ListenerSettings, ListenerTls, Next, Peer,
    SessionHandle, TrustedProxies,
};
pub use target::{Security, Target};
pub use tls::{
    Certificate, ClientCertificates, Fingerprint, TlsClientConfig, TlsError, TlsErrorKind, TlsInfo,
    TlsServerConfig, TlsVersions,
};
pub use trace::{Trace, TraceFormat, TraceWriter};
pub use workers::{JobGroup, JobHandle, JobStep, Slice, WorkerLimits, WorkerStatistics, Workers};
