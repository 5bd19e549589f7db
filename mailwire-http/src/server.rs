//! The listener: connections, TLS and time limits.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use io_common::TlsServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connections::{Admission, Connections};
use crate::router::{Sources, router};

/// How long the server waits after it could not accept a connection, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long open requests may take when the server stops.
const GRACE: Duration = Duration::from_millis(500);

/// How long a check that hangs may keep the thread when the server stops.
const THREADS: Duration = Duration::from_millis(200);

/// The limits of an [`HttpServer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// The most open connections. A further one closes the oldest. Default: 512.
    pub connections: usize,
    /// How long a TLS handshake may take. Default: 10 s.
    pub handshake: Duration,
    /// How long the headers of a request may take, counted from the end of the previous request. Default: 10 s.
    pub headers: Duration,
    /// The most bytes of a request's headers, at least 8 KiB. Default: 16 KiB.
    pub header_bytes: usize,
    /// How long a connection lasts. Default: 5 min.
    pub connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            connection: Duration::from_secs(300),
        }
    }
}

/// A running HTTP server, on a thread of its own. Dropping it stops it.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    handle: HttpServerHandle,
    thread: Option<JoinHandle<()>>,
}

/// A handle on an HTTP server, for other threads.
#[derive(Debug, Clone)]
pub struct HttpServerHandle {
    tls: Option<Arc<RwLock<TlsServerConfig>>>,
    stop: watch::Sender<bool>,
}

impl HttpServerHandle {
    /// Replaces the certificate for new connections. Does nothing without TLS.
    pub fn set_tls(&self, tls: &TlsServerConfig) {
        if let Some(current) = &self.tls {
            *current.write().unwrap_or_else(PoisonError::into_inner) = tls.clone();
        }
    }

    /// Stops the server: no further connection is accepted, and open requests have half a second. Returns at once.
    pub fn shut_down(&self) {
        self.stop.send_replace(true);
    }
}

impl HttpServer {
    /// Serves on this listener, with TLS if there is a certificate.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is not loopback without TLS; or the operating system provides no thread.
    pub fn start(
        listener: TcpListener,
        tls: Option<TlsServerConfig>,
        limits: Limits,
        sources: Sources,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        if tls.is_none() && !address.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "without TLS, only a loopback address is allowed",
            ));
        }
        listener.set_nonblocking(true)?;
        let (stop, stopped) = watch::channel(false);
        let tls = tls.map(|tls| Arc::new(RwLock::new(tls)));
        let listening = Listening { tls: tls.clone(), limits, router: router(sources) };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
        let run = move || {
            runtime.block_on(listening.accept(listener, stopped));
            runtime.shutdown_timeout(THREADS);
        };
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(run)?;
        Ok(Self { address, handle: HttpServerHandle { tls, stop }, thread: Some(thread) })
    }

    /// Returns the address that the server listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a handle for other threads.
    #[must_use]
    pub fn handle(&self) -> HttpServerHandle {
        self.handle.clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.handle.shut_down();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Listening {
    tls: Option<Arc<RwLock<TlsServerConfig>>>,
    limits: Limits,
    router: Router,
}

impl Listening {
    /// Accepts connections until the server stops.
    async fn accept(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "http cannot listen"),
        };
        let connections = Connections::new(self.limits.connections);
        let of_connections = stopped.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let serve =
                            self.clone().serve(stream, connections.admit(), of_connections.clone());
                        tokio::spawn(serve);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "http cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                _ = stopped.wait_for(|stopped| *stopped) => break,
            }
        }
        drop(listener);
        sleep(GRACE).await;
        connections.close_all();
    }

    /// Serves one connection until it ends, its time is over, or it has to give way to another.
    async fn serve(self, stream: TcpStream, mut admission: Admission, stopped: watch::Receiver<bool>) {
        let lifetime = self.limits.connection;
        tokio::select! {
            () = self.secure(stream, stopped) => {}
            () = sleep(lifetime) => {}
            () = admission.evicted() => {}
        }
    }

    async fn secure(self, stream: TcpStream, stopped: watch::Receiver<bool>) {
        let _ = stream.set_nodelay(true);
        let config = self.tls.as_ref().map(|tls| {
            let tls = tls.read().unwrap_or_else(PoisonError::into_inner).clone();
            tls.application_protocols(&["http/1.1"]).rustls()
        });
        let Some(config) = config else { return self.requests(stream, stopped).await };
        let accepted = timeout(self.limits.handshake, TlsAcceptor::from(config).accept(stream)).await;
        if let Ok(Ok(stream)) = accepted {
            self.requests(stream, stopped).await;
        }
    }

    async fn requests(self, stream: impl AsyncRead + AsyncWrite + Unpin, mut stopped: watch::Receiver<bool>) {
        let service = TowerToHyperService::new(self.router);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.headers)
            .max_buf_size(self.limits.header_bytes.max(8192))
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        // Errors are those of the client: it closed, or sent something else than HTTP.
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}
