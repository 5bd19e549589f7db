//! The two drivers side by side: the same sessions of `mailserver` on `io-mio` and on `io-tokio`.
//!
//! The server runs in a process of its own, so its CPU time and its memory do not include the client's.

mod client;
mod idle;
mod server;

use std::time::Duration;

use client::{ServerProcess, SmtpClient};
pub(crate) use idle::idle;
pub(crate) use server::serve;

/// The size of a message in bytes.
const MESSAGE: usize = 4096;

/// What accepts the connections and runs the sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// `io_mio::Reactor`, one thread.
    Mio,
    /// `io_tokio::Server` on a runtime with one thread, as the reactor has.
    Tokio,
    /// `io_tokio::Server` on a multi-threaded runtime with two workers.
    TokioThreads,
}

impl Driver {
    const ALL: [Self; 3] = [Self::Mio, Self::Tokio, Self::TokioThreads];

    const fn name(self) -> &'static str {
        match self {
            Self::Mio => "mio",
            Self::Tokio => "tokio",
            Self::TokioThreads => "tokio-threads",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|driver| driver.name() == name)
            .ok_or_else(|| format!("no driver {name:?}"))
    }
}

/// The listener of a server process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// SMTP in cleartext, for this machine only.
    Smtp,
    /// Submission under TLS, with login.
    Smtps,
    /// IMAP under TLS.
    Imaps,
}

impl Port {
    const ALL: [Self; 3] = [Self::Smtp, Self::Smtps, Self::Imaps];

    const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Smtps => "smtps",
            Self::Imaps => "imaps",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|port| port.name() == name).ok_or_else(|| format!("no port {name:?}"))
    }
}

/// What a server process says about itself.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    /// The CPU time of all its threads, in nanoseconds.
    cpu: u64,
    /// The CPU time of the driver's threads, in nanoseconds. Zero if the operating system does not say.
    driver_cpu: u64,
    /// The messages in the store.
    messages: u64,
    /// The resident memory in KiB. Zero if the operating system does not say.
    resident: u64,
    /// The allocated memory in bytes.
    allocated: u64,
}

/// The CPU time of one pass, in nanoseconds per message.
#[derive(Debug, Clone, Copy)]
struct Sample {
    server: f64,
    driver: f64,
}

/// Delivers `messages` messages in one session on each driver, in cleartext and under TLS, and checks the store. Returns
/// the number of passes.
///
/// # Errors
/// A reply is not the expected one, or a message is missing from the store.
pub(crate) fn check(messages: u64) -> Result<usize, String> {
    let mut passes = 0;
    for port in [Port::Smtp, Port::Smtps] {
        for driver in Driver::ALL {
            deliver(driver, port, messages)?;
            passes += 1;
        }
    }
    Ok(passes)
}

/// Prints the CPU time per message of each driver over `rounds` rounds, in which the drivers run in turn: the median and
/// the range. A ratio is the median of the ratios within a round, so that a change of the machine's load matters less.
///
/// # Errors
/// As [`check`].
pub(crate) fn compare(rounds: usize, messages: u64) -> Result<(), String> {
    println!(
        "| row | driver | server, µs/message | range | ratio to mio | driver's threads, µs/message | ratio to mio |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (row, port) in [("D1-deliver-cleartext", Port::Smtp), ("D2-deliver-tls", Port::Smtps)] {
        let mut samples = Driver::ALL.map(|_| Vec::new());
        for _ in 0..rounds.max(1) {
            for (driver, samples) in Driver::ALL.into_iter().zip(&mut samples) {
                samples.push(deliver(driver, port, messages)?);
            }
        }
        let [mio, ..] = &samples;
        for (driver, samples) in Driver::ALL.into_iter().zip(&samples) {
            let server = sorted(samples.iter().map(|sample| sample.server / 1000.0));
            let threads = sorted(samples.iter().map(|sample| sample.driver / 1000.0));
            let pairs = || samples.iter().zip(mio);
            let server_ratio = sorted(pairs().map(|(sample, mio)| sample.server / mio.server));
            let threads_ratio = sorted(pairs().map(|(sample, mio)| sample.driver / mio.driver));
            println!(
                "| {row} | {} | {:.1} | {:.1} to {:.1} | {:.2} | {:.1} | {:.2} |",
                driver.name(),
                median(&server),
                server.first().copied().unwrap_or_default(),
                server.last().copied().unwrap_or_default(),
                median(&server_ratio),
                median(&threads),
                median(&threads_ratio),
            );
        }
    }
    Ok(())
}

/// Starts a server, delivers messages to it in one session, and returns the CPU time. The connection, the handshake and
/// the login are not part of it.
fn deliver(driver: Driver, port: Port, messages: u64) -> Result<Sample, String> {
    let mut server = ServerProcess::start(driver, port, 10)?;
    let mut client = SmtpClient::connect(&server, port)?;
    // The first messages allocate the buffers and fill the caches.
    let warmup = (messages / 10).max(1);
    client.deliver(warmup)?;
    let before = server.usage()?;
    client.deliver(messages)?;
    let after = server.usage()?;
    let found = (before.messages, after.messages);
    if found != (warmup, warmup + messages) {
        let (driver, port) = (driver.name(), port.name());
        return Err(format!(
            "{driver}, {port}: {found:?} messages in the store after {warmup} and {messages} more"
        ));
    }
    let per_message = |before: u64, after: u64| after.saturating_sub(before) as f64 / messages.max(1) as f64;
    Ok(Sample {
        server: per_message(before.cpu, after.cpu),
        driver: per_message(before.driver_cpu, after.driver_cpu),
    })
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Returns the middle one of sorted values.
fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// How long a client waits for a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
