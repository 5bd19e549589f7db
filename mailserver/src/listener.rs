//! Listeners of the services, for any driver.

use std::fmt;
use std::sync::Arc;

use io_common::server::SessionFactory;
use io_common::stream::Stream;
use io_common::trace::Tracer;
use io_common::{
    Deadlines, ImapServer, ListenerSettings, ListenerTls, Peer, ServerProtocol, SmtpServer, TlsServerConfig,
    TrustedProxies,
};
use proto_smtp::Dialect as SmtpDialect;

use crate::dialect::Dialect;
use crate::measured::Measured;
use crate::server_context::ServerContext;
use crate::service::Service;
use crate::settings::Settings;
use crate::smtp::LoginPolicy;
use crate::{imap, smtp};

/// Whether the services of a server use TLS.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Encryption {
    /// TLS with this certificate: STARTTLS or implicit TLS, as the service says. LMTP has no TLS: it is for programs on
    /// this machine.
    Tls(TlsServerConfig),
    /// No TLS where the service begins on cleartext, and SMTP without login. Only connections from this machine are
    /// accepted there. The other services use the certificate. For catching mail in development.
    DangerCleartext(TlsServerConfig),
}

impl Encryption {
    const fn tls(&self) -> &TlsServerConfig {
        match self {
            Self::Tls(tls) | Self::DangerCleartext(tls) => tls,
        }
    }
}

/// The options of a listener: service, encryption, proxies, traces.
#[derive(Clone)]
#[non_exhaustive]
pub struct ListenerOptions {
    /// The service.
    pub service: Service,
    /// How its clients are protected.
    pub encryption: Encryption,
    /// The proxies that announce clients with the PROXY protocol. Ignored for LMTP.
    pub proxies: Option<TrustedProxies>,
    /// Makes a trace for each session.
    pub tracer: Option<Arc<Tracer>>,
}

impl ListenerOptions {
    /// A listener without proxies and traces.
    #[must_use]
    pub const fn new(service: Service, encryption: Encryption) -> Self {
        Self { service, encryption, proxies: None, tracer: None }
    }
}

impl fmt::Debug for ListenerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerOptions").field("service", &self.service).finish_non_exhaustive()
    }
}

/// A listener of one service: starts the sessions of connections that a driver accepts.
#[derive(Debug)]
pub struct Listener<S> {
    /// Starts sessions.
    pub sessions: SessionFactory<S>,
    /// Replaces the settings of new sessions.
    pub settings: ListenerReload,
}

/// Replaces the settings of a listener's new sessions.
pub struct ListenerReload(Box<Reload>);

type Reload = dyn Fn(&Settings, &TlsServerConfig) + Send + Sync;

impl ListenerReload {
    /// Applies new settings and a new certificate.
    pub fn apply(&self, settings: &Settings, tls: &TlsServerConfig) {
        (self.0)(settings, tls);
    }
}

impl fmt::Debug for ListenerReload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListenerReload")
    }
}

impl ServerContext {
    /// Makes a listener of a service.
    pub fn listener<S: Stream>(
        self: &Arc<Self>,
        settings: &Settings,
        options: ListenerOptions,
    ) -> Listener<S> {
        let ListenerOptions { service, encryption, proxies, tracer } = options;
        // LMTP connections come from this machine, without a proxy.
        let proxies = proxies.filter(|proxies| service != Service::Lmtp && !proxies.is_empty());
        let is_cleartext = matches!(encryption, Encryption::DangerCleartext(_));
        let context = Arc::clone(self);
        let sessions_of = Arc::clone(self);
        match service {
            Service::Smtp | Service::Smtps | Service::Lmtp => {
                let dialect = if service == Service::Lmtp { SmtpDialect::Lmtp } else { SmtpDialect::Smtp };
                let login = match service {
                    Service::Lmtp => LoginPolicy::Optional,
                    Service::Smtp if is_cleartext => LoginPolicy::Optional,
                    _ => LoginPolicy::Required,
                };
                let configure = move |settings: &Settings, tls: &TlsServerConfig| {
                    let config = smtp::config(&context, &settings.limits, dialect, login);
                    (config, listener_tls(service, tls, is_cleartext), settings.deadlines.clone())
                };
                let (shared, settings) = shared::<SmtpServer>(settings, encryption.tls(), configure);
                let handler = move |_: &Peer| {
                    let session = smtp::Session::new(Arc::clone(&sessions_of), dialect);
                    Measured::new(session, Arc::clone(&sessions_of), service)
                };
                Listener { sessions: SessionFactory::new(shared, proxies, tracer, handler), settings }
            }
            Service::Imap | Service::Imaps => {
                let configure = move |settings: &Settings, tls: &TlsServerConfig| {
                    let config = imap::config(&context, settings);
                    (config, listener_tls(service, tls, is_cleartext), settings.deadlines.clone())
                };
                let (shared, settings) = shared::<ImapServer>(settings, encryption.tls(), configure);
                let shared = shared.output_filter(self.dialect.map(Dialect::output_filter));
                let handler = move |_: &Peer| {
                    let session = imap::Session::new(Arc::clone(&sessions_of));
                    Measured::new(session, Arc::clone(&sessions_of), service)
                };
                Listener { sessions: SessionFactory::new(shared, proxies, tracer, handler), settings }
            }
        }
    }
}

/// Returns the settings that the sessions of a listener share, and what replaces them.
fn shared<P: ServerProtocol>(
    settings: &Settings,
    tls: &TlsServerConfig,
    configure: impl Fn(&Settings, &TlsServerConfig) -> (P::Config, ListenerTls, Deadlines) + Send + Sync + 'static,
) -> (ListenerSettings<P>, ListenerReload) {
    let (config, listener_tls, deadlines) = configure(settings, tls);
    let shared = ListenerSettings::<P>::new(config, listener_tls, deadlines);
    let replaced = shared.clone();
    let reload = move |settings: &Settings, tls: &TlsServerConfig| {
        let (config, listener_tls, deadlines) = configure(settings, tls);
        replaced.replace(config, listener_tls, deadlines);
    };
    (shared, ListenerReload(Box::new(reload)))
}

fn listener_tls(service: Service, tls: &TlsServerConfig, is_cleartext: bool) -> ListenerTls {
    // ALPN rejects a client that negotiates another protocol, whose data must not be read as mail (ALPACA).
    let tls = |name: &str| tls.clone().application_protocols(&[name]);
    match service {
        Service::Lmtp => ListenerTls::TrustedLocal,
        Service::Smtp | Service::Imap if is_cleartext => ListenerTls::TrustedLocal,
        Service::Smtp => ListenerTls::StartTls(tls("smtp")),
        Service::Imap => ListenerTls::StartTls(tls("imap")),
        Service::Smtps => ListenerTls::Implicit(tls("smtp")),
        Service::Imaps => ListenerTls::Implicit(tls("imap")),
    }
}
