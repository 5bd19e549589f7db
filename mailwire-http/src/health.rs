//! Whether the server can take mail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a check may take.
const CHECK: Duration = Duration::from_secs(2);

/// How long the result of a check is used.
const FRESH: Duration = Duration::from_secs(1);

/// The state of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the store answers.
    pub store: bool,
    /// The listening services.
    pub listeners: Vec<Listening>,
    /// The whole days until the server's certificate expires; negative once it has. `None` without a certificate.
    pub certificate_days_left: Option<i64>,
}

/// A listening service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listening {
    /// The service's name: `imap`, `smtps`.
    pub service: &'static str,
    /// Its address.
    pub address: SocketAddr,
}

impl Listening {
    /// A service at this address.
    #[must_use]
    pub const fn new(service: &'static str, address: SocketAddr) -> Self {
        Self { service, address }
    }
}

impl Readiness {
    /// Returns whether the store answers, a service listens, and the certificate has not expired.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.store
            && !self.listeners.is_empty()
            && self.certificate_days_left.is_none_or(|days_left| days_left >= 0)
    }

    /// The state of a server whose check failed or takes too long.
    const fn unknown() -> Self {
        Self { store: false, listeners: Vec::new(), certificate_days_left: None }
    }

    pub(crate) fn json(&self) -> String {
        serde_json::json!({
            "status": if self.is_ready() { "ready" } else { "not ready" },
            "store": if self.store { "ok" } else { "unavailable" },
            "listeners": self.listeners,
            "certificate_days_left": self.certificate_days_left,
        })
        .to_string()
    }
}

/// Checks the server's state, which may block: one check at a time, on a thread of its own.
pub(crate) struct Checker {
    check: Arc<dyn Fn() -> Readiness + Send + Sync>,
    state: Mutex<CheckState>,
}

#[derive(Default)]
struct CheckState {
    running: Option<JoinHandle<Readiness>>,
    last: Option<(Instant, Readiness)>,
}

impl Checker {
    pub(crate) fn new(check: Arc<dyn Fn() -> Readiness + Send + Sync>) -> Self {
        Self { check, state: Mutex::default() }
    }

    /// Returns the state, which may be a second old. A check that hangs is not started again.
    pub(crate) async fn readiness(&self) -> Readiness {
        let mut state = self.state.lock().await;
        let CheckState { running, last } = &mut *state;
        if let Some((_, readiness)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return readiness.clone();
        }
        let check = Arc::clone(&self.check);
        let job = running.get_or_insert_with(|| tokio::task::spawn_blocking(move || check()));
        let readiness = match timeout(CHECK, job).await {
            Ok(done) => {
                *running = None;
                done.unwrap_or_else(|_| Readiness::unknown())
            }
            Err(_) => Readiness::unknown(),
        };
        *last = Some((Instant::now(), readiness.clone()));
        readiness
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_with_a_store_a_listener_and_a_valid_certificate() {
        let listeners = vec![Listening::new("imap", "127.0.0.1:143".parse().unwrap())];
        let ready = Readiness { store: true, listeners, certificate_days_left: Some(0) };
        assert!(ready.is_ready());
        assert!(!Readiness { store: false, ..ready.clone() }.is_ready());
        assert!(!Readiness { listeners: Vec::new(), ..ready.clone() }.is_ready());
        assert!(!Readiness { certificate_days_left: Some(-1), ..ready.clone() }.is_ready());
        assert_eq!(
            ready.json(),
            r#"{"certificate_days_left":0,"listeners":[{"address":"127.0.0.1:143","service":"imap"}],"status":"ready","store":"ok"}"#
        );
    }

    #[test]
    fn a_check_that_hangs_or_panics_is_not_ready_and_runs_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let runs = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let checker = Checker::new(Arc::new(move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(20));
            Readiness { store: true, ..Readiness::unknown() }
        }));
        runtime.block_on(async {
            assert!(!checker.readiness().await.store);
            tokio::time::sleep(FRESH).await;
            assert!(!checker.readiness().await.store);
            assert_eq!(runs.load(std::sync::atomic::Ordering::SeqCst), 1);
            release.send(()).unwrap();
            tokio::time::sleep(FRESH).await;
            assert!(checker.readiness().await.store);
            let panics = Checker::new(Arc::new(|| panic!("a check that panics")));
            assert!(!panics.readiness().await.store);
        });
    }
}
