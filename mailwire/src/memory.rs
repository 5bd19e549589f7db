//! Allocator settings for a server: return free memory at once, and not at the next allocation, which an idle server may
//! never make.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The allocator's settings, which it reads from the environment before `main`.
const SETTINGS: [(&str, &str); 2] = [
    // Milliseconds until a free page is returned to the system.
    ("MIMALLOC_PURGE_DELAY", "0"),
    // No huge pages: a page of 2 MiB is resident as a whole, even if little of it is in use.
    ("MIMALLOC_ALLOW_THP", "0"),
];

/// Makes the allocator return free pages at once and use small pages.
///
/// The settings must be in the environment when the process starts, so the process executes itself again. Does nothing if
/// all settings are present or the program cannot be executed.
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
    // Returns only on failure. The server then runs without the settings.
    let _ = command.args(arguments).envs(missing).exec();
}
