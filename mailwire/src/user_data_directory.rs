//! The default directory for data.

use std::path::PathBuf;

/// Returns `mailwire` in the user's data directory (XDG Base Directory Specification), or `None` if the environment names
/// no such directory.
pub(crate) fn user_data_directory() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("mailwire"))
}
