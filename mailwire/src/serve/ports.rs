//! The server's ports: bound before anything is created.

use std::net::SocketAddr;

use io_mio::BoundPort;
use mailserver::{ServerBuilder, Service};

use super::arguments::ServeArgs;
use crate::command_error::{CommandError, ExitCode};

/// The bound ports and their services.
pub(super) struct BoundPorts(Vec<(Service, BoundPort)>);

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
        let bind = |(service, address): (Service, SocketAddr)| match BoundPort::bind(address) {
            Ok(port) => Ok((service, port)),
            Err(error) => Err(not_bound(service.name(), address, &error)),
        };
        Ok(Self(wanted.into_iter().map(bind).collect::<Result<_, _>>()?))
    }

    /// Listens on all ports.
    pub(super) fn listen(self, builder: ServerBuilder) -> ServerBuilder {
        self.0.into_iter().fold(builder, |builder, (service, port)| builder.listen_on(service, port))
    }
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

fn not_bound(name: &str, address: SocketAddr, error: &io_mio::Error) -> CommandError {
    let kind = match error {
        io_mio::Error::Io { source, .. } => source.kind(),
        _ => std::io::ErrorKind::Other,
    };
    not_bound_because(name, address, kind, error)
}

/// Explains why a port could not be bound.
pub(super) fn not_bound_because(
    name: &str,
    address: SocketAddr,
    kind: std::io::ErrorKind,
    error: &dyn std::fmt::Display,
) -> CommandError {
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
