//! The default directories for data and for configuration.

use std::path::PathBuf;

/// Returns `mailwire` in the user's data directory (XDG Base Directory Specification), or `None` if the environment names
/// no such directory.
pub(crate) fn user_data_directory() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("mailwire"))
}

/// Returns `mailwire` in the user's configuration directory, or `None` if the environment names no such directory.
pub(crate) fn user_configuration_directory() -> Option<PathBuf> {
    let directory = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(directory.join("mailwire"))
}
