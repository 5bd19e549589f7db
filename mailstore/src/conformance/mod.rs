//! The tests that every store must pass, for authors of a [`Store`].
//!
//! Each case gets a new, empty store. A case that fails is reported by its name, and the others still run.
//!
//! ```
//! use mailstore::{MemoryStore, PasswordCost, conformance};
//! use std::sync::Arc;
//!
//! let open = || Arc::new(MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap()) as _;
//! conformance::run_all(open).assert_passed();
//! ```
//!
//! A store that leaves some methods to their defaults names the [`Feature`]s that it has in [`run`]. A store that only
//! some mail goes to, or whose accounts exist already, must have an account `ann@example.org` with the password `right`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a case fails by panicking")]

mod accounts;
mod acl;
mod case;
mod changes;
mod client_accounts;
mod copies;
mod fixture;
mod flags;
mod mailboxes;
mod messages;
mod metadata;
mod objects;
mod quotas;
mod sync;
mod threads;

pub use case::Feature;

use crate::client_accounts::ClientAccountStore;
use crate::store::Store;
use crate::sync_store::SyncStore;
use case::Case;
use fixture::Fixture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Report {
    /// The names of the cases that passed.
    pub passed: Vec<&'static str>,
    /// The cases that failed.
    pub failed: Vec<Failure>,
}

/// A case that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// Its name.
    pub case: &'static str,
    /// What was expected and what was found.
    pub message: String,
}

impl Report {
    /// Panics with the failed cases, if there are any.
    #[track_caller]
    pub fn assert_passed(&self) {
        let failed: Vec<String> =
            self.failed.iter().map(|failure| format!("{}: {}", failure.case, failure.message)).collect();
        assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
    }
}

/// Runs all cases. `open` is called once for each of them, and returns a new store without messages.
pub fn run_all(open: impl Fn() -> Arc<dyn Store>) -> Report {
    run(&Feature::ALL, open)
}

/// Runs the cases that need no other than these features.
pub fn run(features: &[Feature], open: impl Fn() -> Arc<dyn Store>) -> Report {
    let cases = [
        accounts::CASES,
        mailboxes::CASES,
        messages::CASES,
        objects::CASES,
        flags::CASES,
        changes::CASES,
        copies::CASES,
        quotas::CASES,
        metadata::CASES,
        acl::CASES,
        threads::CASES,
    ];
    run_cases(cases.into_iter().flatten(), features, open)
}

/// Runs the cases about messages that were fetched from other servers.
pub fn run_sync(open: impl Fn() -> Arc<dyn SyncStore>) -> Report {
    run_cases(sync::CASES, &Feature::ALL, open)
}

/// Runs the cases about the accounts of a mail client.
pub fn run_client_accounts<S: Store + ClientAccountStore + 'static>(open: impl Fn() -> Arc<S>) -> Report {
    run_cases(&client_accounts::cases::<S>(), &Feature::ALL, open)
}

fn run_cases<'c, S: Store + ?Sized + 'static>(
    cases: impl IntoIterator<Item = &'c Case<S>>,
    features: &[Feature],
    open: impl Fn() -> Arc<S>,
) -> Report {
    let mut report = Report { passed: Vec::new(), failed: Vec::new() };
    for case in cases.into_iter().filter(|case| case.needs.iter().all(|need| features.contains(need))) {
        let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&Fixture::new(open()))));
        match outcome {
            Ok(()) => report.passed.push(case.name),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let message = text.unwrap_or_else(|| "it panicked".to_owned());
                report.failed.push(Failure { case: case.name, message });
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, PasswordCost};

    #[test]
    fn reports_the_case_that_failed_and_runs_the_others() {
        const CASES: &[Case<dyn Store>] = &[
            Case { name: "passes", needs: &[], run: |_| () },
            Case { name: "fails", needs: &[], run: |_| panic!("found {}", 1) },
            Case { name: "needs quotas", needs: &[Feature::Quotas], run: |_| panic!("not run") },
            Case { name: "passes too", needs: &[Feature::Recent], run: |_| () },
        ];
        let open = || -> Arc<dyn Store> {
            let store = MemoryStore::new().unwrap();
            Arc::new(store.with_password_cost(PasswordCost::Minimal).unwrap())
        };
        let report = run_cases(CASES, &[Feature::Recent], open);
        assert_eq!(report.passed, ["passes", "passes too"]);
        assert_eq!(report.failed, [Failure { case: "fails", message: "found 1".to_owned() }]);
        let shown = catch_unwind(|| report.assert_passed()).unwrap_err();
        assert_eq!(shown.downcast_ref::<String>().unwrap(), "1 cases failed:\nfails: found 1");
    }
}
