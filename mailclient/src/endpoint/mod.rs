//! An endpoint: everything needed to connect to one server and log in, without I/O.

mod credentials;
mod trust;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use io_common::{Deadlines, Proxy, Security, Target, TlsClientConfig, Trace};
use proto_mail::Mechanism;
use proto_smtp::types::Domain;

use crate::error::{Error, ErrorKind, Hint};

pub use credentials::CredentialSource;
pub use trust::Trust;
#[cfg(feature = "accounts")]
pub(crate) use url::default_port;
pub use url::{Protocol, TlsMode, Url, UrlError};

/// Whether to send the program's name and version to an IMAP server after the login (ID, RFC 2971).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientId {
    /// Sends this name and version, if the server offers ID or refuses to open a mailbox without it.
    Send {
        /// The program's name.
        name: String,
        /// Its version.
        version: String,
    },
    /// Sends nothing.
    Omit,
}

/// Whether TLS protects the session. Everything but [`Required`](Self::Required) is dangerous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Encryption {
    /// TLS, as the URL says: from the first byte or by STARTTLS.
    #[default]
    Required,
    /// No TLS, and no login. An attacker on the network can read and change everything.
    DangerCleartext,
    /// No TLS. An attacker on the network can also read the password.
    DangerCleartextLogin,
}

/// Makes the trace of each connection.
pub(crate) type Tracer = dyn Fn() -> Box<dyn Trace> + Send + Sync;

/// How long IDLE lasts before the client checks all folders.
const IDLE_TIME: Duration = Duration::from_secs(2 * 60);

/// One server, and how to connect to it and log in. Cheap to clone.
///
/// ```
/// use mailclient::endpoint::{Endpoint, Trust, Url};
///
/// let url: Url = "imaps://ann@imap.example.com".parse()?;
/// let endpoint = Endpoint::new(url, Trust::System.tls_config()?);
/// assert_eq!(endpoint.url().port, 993);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Endpoint {
    url: Url,
    tls: TlsClientConfig,
    encryption: Encryption,
    mechanisms: Vec<Mechanism>,
    timeout: Option<Duration>,
    helo: Option<Domain<'static>>,
    client_id: ClientId,
    hidden_capabilities: Vec<String>,
    proxy: Option<Proxy>,
    tracer: Option<Arc<Tracer>>,
}

impl Endpoint {
    /// An endpoint with these certificates to trust. See [`Trust`].
    #[must_use]
    pub fn new(url: Url, tls: TlsClientConfig) -> Self {
        Self {
            url,
            tls,
            encryption: Encryption::default(),
            mechanisms: Mechanism::ALL.into(),
            timeout: None,
            helo: None,
            client_id: ClientId::Omit,
            hidden_capabilities: Vec::new(),
            proxy: None,
            tracer: None,
        }
    }

    /// Sets whether TLS protects the session.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the URL says that TLS begins with the first byte, but TLS is turned off.
    pub fn encryption(mut self, encryption: Encryption) -> Result<Self, Error> {
        if encryption != Encryption::Required && self.url.tls == TlsMode::Implicit {
            return Err(Error::new(ErrorKind::Usage, "cleartext cannot be used with implicit TLS")
                .with_hint(Hint::UseStartTlsScheme));
        }
        self.encryption = encryption;
        Ok(self)
    }

    /// Sets the allowed mechanisms, best first. Default: all.
    #[must_use]
    pub fn mechanisms(mut self, mechanisms: impl Into<Vec<Mechanism>>) -> Self {
        self.mechanisms = mechanisms.into();
        self
    }

    /// Sets how long the server may be silent. Default: the [`Deadlines`] of the drivers.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the name in EHLO or LHLO. Default: the client's IP address.
    #[must_use]
    pub fn helo(mut self, name: Domain<'static>) -> Self {
        self.helo = Some(name);
        self
    }

    /// Sets what to say about the program. Default: nothing.
    #[must_use]
    pub fn client_id(mut self, client_id: ClientId) -> Self {
        self.client_id = client_id;
        self
    }

    /// Ignores these capabilities of an IMAP server, for example because its implementation is known to be wrong. Default:
    /// none. See [`Config::hide_capabilities`](proto_imap::Config::hide_capabilities).
    #[must_use]
    pub fn hide_capabilities<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.hidden_capabilities.extend(names.into_iter().map(Into::into));
        self
    }

    /// Connects through a proxy.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Makes a trace of each connection.
    #[must_use]
    pub fn trace(mut self, tracer: impl Fn() -> Box<dyn Trace> + Send + Sync + 'static) -> Self {
        self.tracer = Some(Arc::new(tracer));
        self
    }

    /// Returns the configuration of the IMAP machine.
    #[must_use]
    pub fn imap_config(&self) -> proto_imap::Config {
        let mut config =
            proto_imap::Config::default().hide_capabilities(self.hidden_capabilities.iter().cloned());
        // A session that waits for useful data ends later.
        config.waits.idle = self.timeout.map_or(IDLE_TIME, |limit| limit.min(IDLE_TIME));
        config
    }

    /// Returns the URL.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the host, the port and the TLS mode.
    #[must_use]
    pub fn target(&self) -> Target {
        let security = match self.url.tls {
            TlsMode::Implicit => Security::ImplicitTls,
            TlsMode::StartTls => Security::StartTls,
        };
        Target::new(&self.url.host, self.url.port, security)
    }

    /// Returns the TLS configuration.
    #[must_use]
    pub const fn tls_config(&self) -> &TlsClientConfig {
        &self.tls
    }

    /// Returns whether TLS protects the session.
    #[must_use]
    pub const fn encryption_mode(&self) -> Encryption {
        self.encryption
    }

    /// Returns the allowed mechanisms, best first.
    #[must_use]
    pub fn allowed_mechanisms(&self) -> &[Mechanism] {
        &self.mechanisms
    }

    /// Returns what to say about the program.
    #[must_use]
    pub const fn program(&self) -> &ClientId {
        &self.client_id
    }

    /// Returns how long the server may be silent, if that was set.
    #[must_use]
    pub const fn silence_limit(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns the time limits for a driver.
    #[must_use]
    pub fn deadlines(&self) -> Deadlines {
        self.timeout.map_or_else(Deadlines::default, Deadlines::uniform)
    }

    /// Returns the SMTP configuration, with the name for EHLO if one was set.
    #[must_use]
    pub fn smtp_config(&self) -> proto_smtp::Config {
        let config = proto_smtp::Config::default();
        match &self.helo {
            Some(name) => config.name(name.clone()),
            None => config,
        }
    }

    #[cfg(any(feature = "mio", feature = "tokio"))]
    pub(crate) const fn proxy_setting(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    #[cfg(any(feature = "mio", feature = "tokio"))]
    pub(crate) const fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.as_ref()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}
