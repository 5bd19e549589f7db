//! The built `mailwire serve` under a memory limit, and the kernel's figures about it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::fixtures::{ACCOUNTS, PASSWORD};
use crate::wire::Endpoints;

/// The most memory that the server may use, in bytes.
pub(crate) const MEMORY: u64 = 768 << 20;

/// The longest that a server takes to start.
const START: Duration = Duration::from_secs(30);

/// Where the server keeps its mail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// A SQLite database in the data directory.
    Sqlite,
    /// Memory (`serve --in-memory`).
    Memory,
}

impl StoreKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Memory => "memory",
        }
    }

    /// How much memory messages of `bytes` bytes may take in the store. On their way in, a quarter of each may be reserved
    /// and not used.
    pub(crate) const fn memory_of(self, bytes: u64) -> u64 {
        match self {
            Self::Sqlite => 0,
            Self::Memory => bytes + bytes / 4,
        }
    }
}

/// A running server.
pub(crate) struct RunningServer {
    child: Child,
    pub(crate) endpoints: Endpoints,
    log: PathBuf,
}

impl RunningServer {
    /// Starts a server over a directory, with this `[serve]` section. It has all accounts.
    pub(crate) fn start(directory: &Path, store: StoreKind, settings: &str) -> Self {
        let (config, log) = (directory.with_extension("toml"), directory.with_extension("log"));
        std::fs::write(&config, format!("[serve]\n{settings}")).unwrap();
        // The limit holds from the first allocation on, since the allocator adapts to it.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "ulimit -d \"$1\"; shift; exec \"$@\"", "sh", &(MEMORY >> 10).to_string()])
            .arg(env!("CARGO_BIN_EXE_mailwire"))
            .args(["serve", "--smtp", "off", "--smtps", "127.0.0.1:0", "--imap", "127.0.0.1:0"])
            .args(["--imaps", "127.0.0.1:0", "--lmtp", "127.0.0.1:0", "--quiet", "--dir"])
            .arg(directory)
            .arg("--config")
            .arg(&config)
            .args(ACCOUNTS.into_iter().flat_map(|name| ["--user", name]))
            .args((store == StoreKind::Memory).then_some("--in-memory"))
            .env("MAILWIRE_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let endpoints = endpoints(&mut child, &log);
        Self { child, endpoints, log }
    }

    /// The server's exit status, if it has exited.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    /// Waits for the server to exit.
    pub(crate) fn wait(&mut self, longest: Duration) -> Option<(ExitStatus, Duration)> {
        let begun = Instant::now();
        while begun.elapsed() < longest {
            if let Some(status) = self.ended() {
                return Some((status, begun.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// The last lines of the log.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Reads the server's addresses, up to the line `ready`.
fn endpoints(child: &mut Child, log: &Path) -> Endpoints {
    let (mut addresses, mut ca, begun) = (Vec::new(), None, Instant::now());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let is_ready = lines.by_ref().any(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["listening", service, address] => {
                addresses.push(((*service).to_owned(), address.parse::<SocketAddr>().unwrap()));
            }
            ["ca", path] => ca = Some((*path).to_owned()),
            _ => {}
        }
        line == "ready"
    });
    assert!(
        is_ready && begun.elapsed() < START,
        "the server did not start: {}",
        std::fs::read_to_string(log).unwrap_or_default()
    );
    let address = |service: &str| addresses.iter().find(|(name, _)| name == service).unwrap().1;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca.unwrap()).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Endpoints {
        imap: address("imap"),
        imaps: address("imaps"),
        smtps: address("smtps"),
        lmtp: address("lmtp"),
        tls: Arc::new(tls),
    }
}

/// Figures of a process from `/proc`.
#[derive(Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    /// The memory in use, in bytes. Zero if the process has exited.
    pub(crate) fn resident(self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory in use since [`forget_peak`](Self::forget_peak), in bytes.
    pub(crate) fn peak(self) -> u64 {
        self.status("VmHWM:")
    }

    pub(crate) fn forget_peak(self) {
        // The process may have exited.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    /// Samples the memory until the watch is dropped.
    pub(crate) fn watch(self) -> Watch {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !seen.over.load(Ordering::Relaxed) {
                seen.peak.fetch_max(self.resident(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Watch { process: self, shared, thread: Some(thread) }
    }

    fn status(self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes =
            line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|text| text.parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1024
    }

    /// The CPU time of the process.
    pub(crate) fn cpu(self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks =
            after_name.split(' ').skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum::<u64>();
        // The kernel counts in hundredths of a second for /proc, whatever its own clock.
        Duration::from_millis(ticks * 10)
    }
}

/// Samples the memory of a process fifty times per second.
pub(crate) struct Watch {
    process: Process,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    peak: AtomicU64,
    over: AtomicBool,
}

impl Watch {
    /// The most memory in any sample, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.shared.peak.load(Ordering::Relaxed).max(self.process.peak())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
