//! The server process: one listener of `mailserver` on one driver, over a store in memory.
//!
//! It prints its port and the certificate of its authority, then answers each line of its input with its [`Usage`], and
//! exits at the end of the input.

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

use cpu_time::ProcessTime;
use io_mio::Reactor;
use mailserver::certificate::Authority;
use mailserver::{Encryption, ListenerOptions, Options, ServerContext, Service, Settings};
use mailstore::{AccountId, Accounts, MemoryStore, Store};
use mailwire_benches::held;

use super::{Driver, Port, Usage};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The name of the driver's threads.
const DRIVER_THREAD: &str = "driver";

/// Serves until the input ends.
///
/// # Errors
/// An unknown driver or port, or the server could not start.
pub(crate) fn serve(driver: &str, port: &str, connections: &str) -> std::result::Result<(), String> {
    let (driver, port) = (Driver::parse(driver)?, Port::parse(port)?);
    let connections = connections.parse().map_err(|_| "the number of connections is not a number")?;
    serve_until_closed(driver, port, connections).map_err(|error| format!("the server process: {error}"))
}

fn serve_until_closed(driver: Driver, port: Port, connections: usize) -> Result<()> {
    let store = Arc::new(MemoryStore::new()?);
    let account = store.create_account("ann", b"a password")?.id;
    let mut settings = Settings::default();
    settings.connections.connections = connections;
    settings.connections.connections_before_login = Some(connections);
    settings.connections.connections_per_address = connections;
    let mut options = Options::default();
    options.any_login = Some(account);
    let context = ServerContext::new(Arc::clone(&store) as Arc<dyn Store>, &settings, options)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() as i64;
    let authority = Authority::generate(&[], now)?;
    let tls = authority.issue(&[], now)?.tls()?;
    let listener = match port {
        Port::Smtp => ListenerOptions::new(Service::Smtp, Encryption::DangerCleartext(tls)),
        Port::Smtps => ListenerOptions::new(Service::Smtps, Encryption::Tls(tls)),
        Port::Imaps => ListenerOptions::new(Service::Imaps, Encryption::Tls(tls)),
    };
    let address = match driver {
        Driver::Mio => on_mio(&context, &settings, listener)?,
        Driver::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            on_tokio(runtime, context, settings, listener)?
        }
        Driver::TokioThreads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).thread_name(DRIVER_THREAD).enable_all().build()?;
            on_tokio(runtime, context, settings, listener)?
        }
    };
    println!("{}", address.port());
    println!("{}", authority.certificate_pem());
    answer(&store, account)
}

/// Answers each line of the input with the figures of this process.
fn answer(store: &MemoryStore, account: AccountId) -> Result<()> {
    for line in stdin().lock().lines() {
        line?;
        let messages = store.usage(account)?.messages;
        let usage = Usage {
            cpu: ProcessTime::try_now()?.as_duration().as_nanos() as u64,
            driver_cpu: driver_cpu().unwrap_or(0),
            messages,
            resident: resident().unwrap_or(0),
            allocated: held() as u64,
        };
        println!("{usage}");
        stdout().flush()?;
    }
    Ok(())
}

fn on_mio(context: &Arc<ServerContext>, settings: &Settings, options: ListenerOptions) -> Result<SocketAddr> {
    let mut reactor = Reactor::new(settings.connections.clone())?;
    let port = io_mio::BoundPort::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = port.address().as_socket_addr().ok_or("no address")?;
    reactor.listen_with(port, context.listener(settings, options).sessions)?;
    std::thread::Builder::new().name(DRIVER_THREAD.into()).spawn(move || reactor.run())?;
    Ok(address)
}

fn on_tokio(
    runtime: tokio::runtime::Runtime,
    context: Arc<ServerContext>,
    settings: Settings,
    options: ListenerOptions,
) -> Result<SocketAddr> {
    let (bound, address) = mpsc::channel();
    let listen = async move {
        let port = io_tokio::server::BoundPort::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let address = port.address().as_socket_addr();
        let mut server = io_tokio::Server::new(settings.connections.clone());
        server.listen_with(port, context.listener(&settings, options).sessions)?;
        Ok::<_, io_tokio::Error>((server, address))
    };
    let run = move || {
        runtime.block_on(async {
            // The server listens until it is dropped.
            let (_server, address) = match listen.await {
                Ok((server, address)) => (Ok(server), Ok(address)),
                Err(error) => (Err(()), Err(error)),
            };
            if bound.send(address).is_ok() {
                std::future::pending::<()>().await;
            }
        });
    };
    std::thread::Builder::new().name(DRIVER_THREAD.into()).spawn(run)?;
    Ok(address.recv()??.ok_or("no address")?)
}

/// Returns the CPU time of the driver's threads in nanoseconds.
fn driver_cpu() -> Option<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        let read = |file: &str| std::fs::read_to_string(thread.path().join(file)).ok();
        if read("comm").is_some_and(|name| name.trim_end() == DRIVER_THREAD) {
            sum += read("schedstat")?.split(' ').next()?.parse::<u64>().ok()?;
        }
    }
    Some(sum)
}

/// Returns the resident memory of this process in KiB.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpu, driver_cpu, messages, resident, allocated } = self;
        write!(f, "{cpu} {driver_cpu} {messages} {resident} {allocated}")
    }
}
