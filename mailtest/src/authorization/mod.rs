//! An OAuth 2.0 authorization server for the tests of clients.

mod answer;
mod browser;
mod connection;
mod device;
mod endpoints;
mod form;
mod grants;
mod misbehaviour;
mod request;
mod shared;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::Error;
use connection::serve;
use shared::{CLIENT_ID, CLIENT_SECRET, SCOPE, Settings, Shared};

pub use browser::Page;
pub use device::DeviceDecision;
pub use grants::AuthorizationCounts;
pub use misbehaviour::{Misbehaviour, Rotation};

/// The most connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// How often the server looks whether it is dropped.
const INTERVAL: Duration = Duration::from_millis(5);

/// Configures an [`AuthorizationServer`].
#[derive(Debug, Clone)]
pub struct AuthorizationServerBuilder(Settings);

impl AuthorizationServerBuilder {
    /// Registers a redirect address, which must match exactly. Without any, every port of `http://127.0.0.1` and
    /// `http://localhost` is accepted (RFC 8252 §7.3).
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.0.redirect_uris.push(uri.into());
        self
    }

    /// Sets how long access tokens are valid. Default: one hour.
    #[must_use]
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.0.lifetime = lifetime;
        self
    }

    /// Sets what a refresh does to the refresh token. Default: [`Rotation::Strict`].
    #[must_use]
    pub const fn rotation(mut self, rotation: Rotation) -> Self {
        self.0.rotation = rotation;
        self
    }

    /// Sets the interval between polls of the flow for devices, in whole seconds, and for how long its codes are valid.
    /// Default: 1 second and 10 minutes.
    #[must_use]
    pub const fn device_times(mut self, interval: Duration, lifetime: Duration) -> Self {
        (self.0.device_interval, self.0.device_lifetime) = (interval, lifetime);
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// The operating system has no port or thread.
    pub fn start(self) -> Result<AuthorizationServer, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(address, self.0));
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("authorization-server".to_owned())
            .spawn(move || accept(&listener, &for_thread))?;
        Ok(AuthorizationServer { shared, thread: Some(thread) })
    }
}

/// An OAuth 2.0 authorization server on a free port of loopback, without TLS. Dropping it ends it.
///
/// It has one client and one scope, and checks every parameter: the client and its secret, the redirect address, PKCE with
/// S256 (RFC 7636), codes that are valid once, and the flow for devices (RFC 8628). Its user consents at once: a browser that opens
/// the authorization URL is redirected with a code. [`browse`](Self::browse) is a browser that does so.
///
/// Access and refresh tokens are random. Refresh tokens are rotated: one that was used before revokes the whole consent.
/// [`misbehave`](Self::misbehave) makes the next answers wrong. A mail server accepts the tokens with
/// [`ServerBuilder::accept_tokens_of`](crate::ServerBuilder::accept_tokens_of).
///
/// ```
/// let server = mailtest::AuthorizationServer::start()?;
/// let page = server.browse(&format!("{}?response_type=code", server.authorization_endpoint()))?;
/// assert_eq!((page.status, page.body.as_str()), (400, "client_id: unknown"));
/// # Ok::<(), mailtest::Error>(())
/// ```
pub struct AuthorizationServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl AuthorizationServer {
    /// Starts a server with the defaults.
    ///
    /// # Errors
    /// The operating system has no port or thread.
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Configures a server.
    #[must_use]
    pub const fn builder() -> AuthorizationServerBuilder {
        AuthorizationServerBuilder(Settings {
            redirect_uris: Vec::new(),
            lifetime: Duration::from_secs(3600),
            rotation: Rotation::Strict,
            device_interval: Duration::from_secs(1),
            device_lifetime: Duration::from_secs(600),
        })
    }

    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Returns the URL where the user consents.
    #[must_use]
    pub fn authorization_endpoint(&self) -> String {
        format!("http://{}/authorize", self.shared.address)
    }

    /// Returns the URL of the token endpoint.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("http://{}/token", self.shared.address)
    }

    /// Returns the URL where the flow for devices begins.
    #[must_use]
    pub fn device_endpoint(&self) -> String {
        format!("http://{}/device", self.shared.address)
    }

    /// Returns the ID of the client.
    #[must_use]
    pub const fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    /// Returns the secret of the client.
    #[must_use]
    pub const fn client_secret(&self) -> &'static str {
        CLIENT_SECRET
    }

    /// Returns the scope.
    #[must_use]
    pub const fn scope(&self) -> &'static str {
        SCOPE
    }

    /// Makes the next request go wrong to which this applies: one for each call, in this order.
    pub fn misbehave(&self, misbehaviour: Misbehaviour) {
        self.shared.grants().misbehaviours.push_back(misbehaviour);
    }

    /// Returns whether an access token is valid.
    #[must_use]
    pub fn accepts(&self, access_token: &str) -> bool {
        self.shared.grants().accepts(access_token, Instant::now())
    }

    /// Returns a check of access tokens that can be moved to another thread.
    pub fn token_check(&self) -> impl Fn(&str) -> bool + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move |token| shared.grants().accepts(token, Instant::now())
    }

    /// Ends the validity of all access tokens. Refresh tokens stay valid.
    pub fn expire_access_tokens(&self) {
        self.shared.grants().expire_access_tokens();
    }

    /// Withdraws all consents: every token becomes invalid.
    pub fn revoke_all(&self) {
        self.shared.grants().revoke_all();
    }

    /// Decides about a consent on another device. Returns whether there is one with this user code.
    pub fn decide(&self, user_code: &str, decision: DeviceDecision) -> bool {
        self.shared.grants().decide(user_code, decision)
    }

    /// Returns how often the endpoints were used.
    #[must_use]
    pub fn counts(&self) -> AuthorizationCounts {
        self.shared.grants().counts
    }

    /// Returns every token, code and code verifier that was issued or received so far, for a test that searches for leaks.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.shared.grants().secrets.clone()
    }

    /// Plays the browser of a user who consents: opens the URL, and follows up to five redirects on loopback. Returns the last
    /// page.
    ///
    /// # Errors
    /// A URL is not one of loopback, or a server does not answer within ten seconds.
    pub fn browse(&self, url: &str) -> Result<Page, Error> {
        browser::browse(url, 5)
    }

    /// Opens the URL without following a redirect. [`Page::location`] is where it leads.
    ///
    /// # Errors
    /// As [`browse`](Self::browse).
    pub fn open(&self, url: &str) -> Result<Page, Error> {
        browser::browse(url, 0)
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

/// Accepts connections until the server is dropped. Each has a thread of its own.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stopped.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(INTERVAL);
            continue;
        };
        if shared.connections.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            shared.connections.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let for_thread = Arc::clone(shared);
        let serve = move || {
            serve(stream, &for_thread);
            for_thread.connections.fetch_sub(1, Ordering::SeqCst);
        };
        if std::thread::Builder::new().name("authorization".to_owned()).spawn(serve).is_err() {
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
