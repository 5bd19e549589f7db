//! How a server gives memory back: at once, and not when the allocator is asked for more, which an idle server never does.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The allocator's settings, which it reads before `main`.
const SETTINGS: [(&str, &str); 2] = [
    // Milliseconds until a free page goes back to the system.
    ("MIMALLOC_PURGE_DELAY", "0"),
    // No huge pages: a page of 2 MiB is in memory as a whole, however little of it is in use.
    ("MIMALLOC_ALLOW_THP", "0"),
];

/// Has the allocator return free pages at once and use small pages. The settings can only be in the environment when the
/// process starts, so that the process starts itself again, as the same process. Where all are set already, or that
/// fails, nothing changes.
pub(crate) fn return_at_once() {
    let missing = SETTINGS.iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let missing: Vec<_> = missing.copied().collect();
    if missing.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only where it fails, and the server does without.
    let _ = command.args(arguments).envs(missing).exec();
}
