#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connection;
mod connector;
mod dial;
pub mod error;
pub mod imap;
pub mod server;
pub mod smtp;
mod socket;
mod timed_transport;
mod timer;
mod tunnel;
mod typed_session;

pub use connection::{Connection, ConnectionEvent};
pub use connector::Connector;
pub use error::Error;
pub use imap::ImapClient;
pub use io_common::{
    self, Address, CloseReason, ConnectStage, ConnectionLimits, Context, Deadlines, ErrorKind, Handler,
    ImapServer, ListenerSettings, ListenerTls, MachineMut, MailPolicy, Next, Peer, Proxy, ProxyError,
    ReceivedMail, Security, SessionHandle, SmtpServer, StageReport, Target, TlsClientConfig, TlsInfo,
    TlsServerConfig, TlsVersions, TrustedProxies,
};
pub use proto_mail::Credentials;
pub use server::{IncomingMail, Server};
pub use smtp::SmtpClient;
pub use socket::Socket;
pub use {proto_imap, proto_mail, proto_smtp};
