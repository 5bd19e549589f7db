//! The server's ports: bound before anything is created, then listened on. Their settings can be replaced while the
//! server runs.

use std::net::SocketAddr;
use std::sync::Arc;

use io_mio::{
    BoundPort, Deadlines, Handler, ImapServer, ListenerSettings, ListenerTls, Peer, Reactor, ServerProtocol,
    SmtpServer, TlsServerConfig, TrustedProxies,
};
use proto_smtp::Dialect;

use super::arguments::ServeArgs;
use super::server_context::ServerContext;
use super::service::Service;
use super::settings::Settings;
use super::smtp::LoginPolicy;
use super::{imap, smtp};
use crate::command_error::{CommandError, ExitCode};

/// The bound ports and their services.
pub(super) struct BoundPorts(Vec<(Service, BoundPort)>);

/// The listening services, and the functions that replace their settings.
pub(super) struct Listeners {
    pub(super) addresses: Vec<(Service, SocketAddr)>,
    pub(super) replace: Vec<ReplaceSettings>,
}

/// Replaces the settings of one listener.
pub(super) type ReplaceSettings = Box<dyn Fn(&Settings, &TlsServerConfig) + Send>;

impl BoundPorts {
    /// Binds all configured ports.
    ///
    /// # Errors
    /// A port is not available, an address must be on this machine but is not, or every service is off.
    pub(super) fn bind(arguments: &ServeArgs) -> Result<Self, CommandError> {
        let wanted = Service::ALL.into_iter().filter_map(|service| {
            let listen = match service {
                Service::Smtp => arguments.smtp,
                Service::Smtps => arguments.smtps,
                Service::Lmtp => arguments.lmtp,
                Service::Imap => arguments.imap,
                Service::Imaps => arguments.imaps,
            };
            listen.0.map(|address| (service, address))
        });
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            return Err(CommandError::new(ExitCode::Usage, "nothing to listen on: every service is off")
                .advise("an address for one of them, such as --imaps 127.0.0.1:1993"));
        }
        for &(service, address) in &wanted {
            if service == Service::Lmtp {
                check_lmtp_address(address)?;
            }
            if let Some(option) = arguments.weakening_option()
                && !address.ip().is_loopback()
            {
                let what =
                    format!("{option} is allowed on loopback only, and --{} is {address}", service.name());
                return Err(CommandError::new(ExitCode::Usage, what).advise(format!(
                    "--{} 127.0.0.1:{}",
                    service.name(),
                    address.port()
                )));
            }
        }
        let bind = |(service, address)| match BoundPort::bind(address) {
            Ok(port) => Ok((service, port)),
            Err(error) => Err(not_bound(service, address, &error)),
        };
        Ok(Self(wanted.into_iter().map(bind).collect::<Result<_, _>>()?))
    }

    /// Listens on all ports.
    ///
    /// # Errors
    /// The operating system cannot create a poll.
    pub(super) fn listen(
        self,
        reactor: &mut Reactor,
        context: &Arc<ServerContext>,
        settings: &Settings,
        tls: &TlsServerConfig,
        arguments: &ServeArgs,
    ) -> Result<Listeners, CommandError> {
        let mut proxies = TrustedProxies::default();
        arguments.proxy_from.iter().for_each(|network| proxies.add(network));
        let (mut listening, mut replace) = (Vec::new(), Vec::new());
        for (service, port) in self.0 {
            // LMTP connections come from this machine, without a proxy.
            let proxies = (service != Service::Lmtp && !proxies.is_empty()).then(|| proxies.clone());
            let cleartext = arguments.danger_cleartext;
            let made_for = Arc::clone(context);
            let (address, replaced) = match service {
                Service::Smtp | Service::Smtps | Service::Lmtp => {
                    let dialect = if service == Service::Lmtp { Dialect::Lmtp } else { Dialect::Smtp };
                    let login = match service {
                        Service::Lmtp => LoginPolicy::Optional,
                        Service::Smtp if cleartext => LoginPolicy::Optional,
                        _ => LoginPolicy::Required,
                    };
                    let configured = Arc::clone(context);
                    let make_settings = move |settings: &Settings, tls: &TlsServerConfig| {
                        let config = smtp::config(&configured, &settings.limits, dialect, login);
                        (config, listener_tls(service, tls, cleartext), deadlines(settings, login))
                    };
                    let make = move |_: &Peer| smtp::Session::new(Arc::clone(&made_for), dialect);
                    start::<SmtpServer, _>(reactor, port, proxies, (settings, tls), make_settings, make)?
                }
                Service::Imap | Service::Imaps => {
                    let configured = Arc::clone(context);
                    let make_settings = move |settings: &Settings, tls: &TlsServerConfig| {
                        let config = imap::config(&configured, &settings.limits);
                        (
                            config,
                            listener_tls(service, tls, cleartext),
                            deadlines(settings, LoginPolicy::Required),
                        )
                    };
                    let make = move |_: &Peer| imap::Session::new(Arc::clone(&made_for));
                    start::<ImapServer, _>(reactor, port, proxies, (settings, tls), make_settings, make)?
                }
            };
            listening.push((service, address));
            replace.push(replaced);
        }
        Ok(Listeners { addresses: listening, replace })
    }
}

/// Listens on one port. `make_settings` creates its settings, now and at each reload.
fn start<P: ServerProtocol, H: Handler<P>>(
    reactor: &mut Reactor,
    port: BoundPort,
    proxies: Option<TrustedProxies>,
    (settings, tls): (&Settings, &TlsServerConfig),
    make_settings: impl Fn(&Settings, &TlsServerConfig) -> (P::Config, ListenerTls, Deadlines) + Send + 'static,
    make: impl Fn(&Peer) -> H + Send + Sync + 'static,
) -> Result<(SocketAddr, ReplaceSettings), CommandError> {
    let (config, listener_tls, deadlines) = make_settings(settings, tls);
    let shared = ListenerSettings::<P>::new(config, listener_tls, deadlines);
    let address = port.address().as_socket_addr();
    reactor.listen_on::<P, H>(port, proxies, &shared, make)?;
    let replace = move |settings: &Settings, tls: &TlsServerConfig| {
        let (config, listener_tls, deadlines) = make_settings(settings, tls);
        shared.replace(config, listener_tls, deadlines);
    };
    let address =
        address.ok_or_else(|| CommandError::new(ExitCode::Configuration, "the port has no IP address"))?;
    Ok((address, Box::new(replace)))
}

fn listener_tls(service: Service, tls: &TlsServerConfig, cleartext: bool) -> ListenerTls {
    // ALPN rejects a client that negotiates another protocol, whose data must not be read as mail (ALPACA).
    let tls = |name: &str| tls.clone().application_protocols(&[name]);
    match service {
        Service::Lmtp => ListenerTls::TrustedLocal,
        Service::Smtp | Service::Imap if cleartext => ListenerTls::TrustedLocal,
        Service::Smtp => ListenerTls::StartTls(tls("smtp")),
        Service::Imap => ListenerTls::StartTls(tls("imap")),
        Service::Smtps => ListenerTls::Implicit(tls("smtp")),
        Service::Imaps => ListenerTls::Implicit(tls("imap")),
    }
}

/// Returns the time limits of a listener. Login is limited only where it is required.
fn deadlines(settings: &Settings, login: LoginPolicy) -> Deadlines {
    let mut deadlines = settings.deadlines.clone();
    if login == LoginPolicy::Optional {
        deadlines.login = std::time::Duration::MAX;
    }
    deadlines
}

/// Checks the address for LMTP. LMTP has no TLS and no login here, so that only this machine may connect, and not on
/// SMTP's port (RFC 2033 §3).
fn check_lmtp_address(address: SocketAddr) -> Result<(), CommandError> {
    let failure = |why: &str| CommandError::new(ExitCode::Usage, format!("--lmtp {address}: {why}"));
    if !address.ip().is_loopback() {
        return Err(failure("LMTP is allowed on this machine only").advise("--lmtp 127.0.0.1:1024"));
    }
    if address.port() == 25 {
        return Err(failure("port 25 is reserved for SMTP").advise("--lmtp 127.0.0.1:1024"));
    }
    Ok(())
}

fn not_bound(service: Service, address: SocketAddr, error: &io_mio::Error) -> CommandError {
    let name = service.name();
    let kind = match error {
        io_mio::Error::Io { source, .. } => source.kind(),
        _ => std::io::ErrorKind::Other,
    };
    let (why, advice) = match kind {
        std::io::ErrorKind::AddrInUse => (
            "another program has that port".to_owned(),
            format!("--{name} {}:0 for any free port, or --{name} off", address.ip()),
        ),
        std::io::ErrorKind::PermissionDenied => (
            "ports below 1024 require privileges".to_owned(),
            format!("--{name} {}:{}", address.ip(), u32::from(address.port()) + 1000),
        ),
        std::io::ErrorKind::AddrNotAvailable => {
            ("this machine has no such address".to_owned(), format!("--{name} 127.0.0.1:{}", address.port()))
        }
        _ => (error.to_string(), format!("another address with --{name} ADDR")),
    };
    CommandError::new(ExitCode::Unavailable, format!("{name} cannot listen on {address}: {why}"))
        .advise(advice)
}
