//! Runs the conformance suite over the stores of this crate.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mailstore::*;
use std::sync::Arc;

fn memory() -> MemoryStore {
    MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap()
}

#[test]
fn memory_store_conforms() {
    conformance::run_all(|| Arc::new(memory())).assert_passed();
    conformance::run_sync(|| Arc::new(memory())).assert_passed();
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_store_conforms() {
    let directories = std::cell::RefCell::new(Vec::new());
    let open = || {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
        directories.borrow_mut().push(directory);
        store
    };
    conformance::run_all(|| open()).assert_passed();
    conformance::run_sync(|| open()).assert_passed();
}
