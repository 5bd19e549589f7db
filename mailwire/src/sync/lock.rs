//! The directory of a store: not one that `serve` keeps, and one run for an account at a time.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use mailstore::AccountId;
use rustix::fs::{FlockOperation, flock};

use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// How long a run waits for another one.
const WAIT: Duration = Duration::from_secs(10 * 60);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// Refuses a directory that `mailwire serve` keeps its accounts in: fetched mail would go among them.
pub(crate) fn not_served(directory: &Path) -> Result<(), Failure> {
    if !directory.join("serve.lock").exists() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Configuration,
        format!("{} is the directory of a mailwire serve, and holds its accounts", directory.display()),
    )
    .advise("give --into a directory of its own; the served one is left as it is"))
}

/// Holds the account for this run. Another run for the same account and store is waited for.
///
/// # Errors
/// [`Kind::TryAgain`] after ten minutes, and a clean stop that was asked for.
pub(super) fn account(
    directory: &Path,
    account: AccountId,
    interrupt: &Interrupt,
    output: Output,
) -> Result<File, Failure> {
    let path = directory.join(format!("sync-{}.lock", account.0));
    let failed = |error: &std::io::Error| Failure::file(&path, error);
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(|error| failed(&error))?;
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed(&error.into())),
        }
        if !std::mem::replace(&mut is_told, true) {
            output.hint("another sync of this account is running: waiting for it");
        }
        if begun.elapsed() >= WAIT {
            return Err(Failure::new(Kind::TryAgain, "another sync of this account is still running")
                .advise("try again when it has ended"));
        }
        interrupt.sleep(LOOK);
        interrupt.check()?;
    }
}
