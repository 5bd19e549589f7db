//! The lock of a store: one sync run per account at a time.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use mailstore::AccountId;
use rustix::fs::{FlockOperation, flock};

use crate::command_error::{CommandError, ExitCode};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// How long to wait for another run.
const MAX_WAIT: Duration = Duration::from_secs(10 * 60);

/// The time between two attempts to take the lock.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Locks the account for this run, which holds the lock until the file is dropped. Waits while another run holds it.
///
/// # Errors
/// [`ExitCode::TryAgain`] after [`MAX_WAIT`], or the user interrupted the command.
pub(super) fn lock_account(
    directory: &Path,
    account: AccountId,
    interrupt: &Interrupt,
    output: Output,
) -> Result<File, CommandError> {
    let path = directory.join(format!("sync-{}.lock", account.0));
    let failed = |error: &std::io::Error| CommandError::file(&path, error);
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(|error| failed(&error))?;
    let started = Instant::now();
    let mut is_announced = false;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed(&error.into())),
        }
        if !std::mem::replace(&mut is_announced, true) {
            output.hint("waiting for another sync of this account to end");
        }
        if started.elapsed() >= MAX_WAIT {
            return Err(CommandError::new(
                ExitCode::TryAgain,
                "another sync of this account is still running",
            )
            .advise("try again when it has ended"));
        }
        interrupt.sleep(RETRY_INTERVAL);
        interrupt.check()?;
    }
}
