//! The stages of opening a client's connection, for observers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    address::Address,
    tls::{Certificate, TlsInfo},
};

/// A completed stage of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub struct StageReport {
    /// The stage.
    pub stage: ConnectStage,
    /// How long it took.
    pub took: Duration,
}

impl StageReport {
    /// Reports that this stage is complete.
    #[must_use]
    pub const fn new(stage: ConnectStage, took: Duration) -> Self {
        Self { stage, took }
    }
}

/// The stages of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectStage {
    /// The name has these addresses.
    Resolved(Vec<SocketAddr>),
    /// This address accepted the connection. With a proxy, it is the proxy's.
    Connected(Address),
    /// The proxy opened a tunnel to the server.
    Tunnelled,
    /// The server is ready for STARTTLS (greeting; EHLO in SMTP).
    Greeted,
    /// The server agreed to STARTTLS, or implicit TLS starts.
    TlsStarted,
    /// The server's certificate, accepted or not.
    Certificate(Arc<Certificate>),
    /// TLS is in place.
    TlsDone(Arc<TlsInfo>),
}
