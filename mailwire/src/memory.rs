//! How a server gives memory back: at once, and not when the allocator is asked for more, which an idle server never does.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The allocator's setting, which it reads before `main`: milliseconds until a free page goes back to the system.
const DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Has the allocator return free pages at once. The setting can only be in the environment when the process starts, so
/// that the process starts itself again, as the same process. Where it is set already, or that fails, nothing changes.
pub(crate) fn return_at_once() {
    if std::env::var_os(DELAY).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only where it fails, and the server does without.
    let _ = command.args(arguments).env(DELAY, "0").exec();
}
