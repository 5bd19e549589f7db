//! Files and directories that only the user who runs the command may change or read.
//!
//! A file or directory that other users may access is rejected with advice. The program does not change permissions of
//! the user's files, except those of a file that it overwrites.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::command_error::{CommandError, ExitCode};

/// The mode bits that let other users write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The mode bits that give other users any access.
const OPEN_TO_OTHERS: u32 = 0o077;

/// Returns whether a file belongs to the user who runs the command.
fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}

/// Checks that no other user can change the contents of a directory. Other users may be able to list it.
///
/// # Errors
/// The path is not a directory, belongs to another user, or is writable by its group or others.
pub(crate) fn check_directory(path: &Path) -> Result<(), CommandError> {
    let metadata = std::fs::metadata(path).map_err(|error| CommandError::file(path, &error))?;
    let rejected =
        |why: String| CommandError::new(ExitCode::Configuration, format!("{}: {why}", path.display()));
    if !metadata.is_dir() {
        return Err(rejected("is not a directory".to_owned()).advise("use another directory with --dir DIR"));
    }
    if !is_own(&metadata) {
        let why = format!("the directory belongs to another user (uid {})", metadata.uid());
        let advice = format!("run as that user, or chown -R {} {}", own_uid(), path.display());
        return Err(rejected(why).advise(advice));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        let why = format!("other users can write to the directory (mode {mode:04o})");
        return Err(rejected(why).advise(format!("chmod 700 {}", path.display())));
    }
    Ok(())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens a private key. A key of this user must be readable by this user only. A key of another user may be readable by a
/// group, as keys in `/etc/ssl/private` are.
///
/// # Errors
/// The file cannot be read, or other users can read or change it.
pub(crate) fn open_key(path: &Path) -> Result<File, CommandError> {
    let file = File::open(path).map_err(|error| CommandError::reading(path, &error))?;
    let metadata = file.metadata().map_err(|error| CommandError::reading(path, &error))?;
    let mode = metadata.mode() & 0o777;
    let forbidden = if is_own(&metadata) { OPEN_TO_OTHERS } else { 0o027 };
    if metadata.is_file() && mode & forbidden != 0 {
        let what = format!("{}: other users can read the key (mode {mode:04o})", path.display());
        let advice = format!(
            "chmod 600 {}; if other users have had access to this machine, create a new key",
            path.display()
        );
        return Err(CommandError::new(ExitCode::Configuration, what).advise(advice));
    }
    Ok(file)
}

/// Creates or truncates a file, readable and writable by this user only. Does not follow symbolic links.
///
/// Makes an existing file of this user private. Opens a terminal or `/dev/null` unchanged.
///
/// # Errors
/// The file is a symbolic link, has other hard links, belongs to another user, is a pipe or a socket, or cannot be written.
pub(crate) fn create_file(path: &Path) -> Result<File, CommandError> {
    let file = open(path, OpenOptions::new().write(true))?;
    if file.metadata().map_err(|error| failed(path, &error))?.is_file() {
        file.set_len(0).map_err(|error| failed(path, &error))?;
    }
    Ok(file)
}

/// Opens or creates a file for reading and writing, readable and writable by this user only. Does not follow symbolic
/// links.
///
/// # Errors
/// As [`create_file`].
pub(crate) fn open_file(path: &Path) -> Result<File, CommandError> {
    open(path, OpenOptions::new().read(true).write(true))
}

fn failed(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::new(ExitCode::Configuration, format!("{}: {error}", path.display()))
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File, CommandError> {
    let rejected = |why: &str| {
        CommandError::new(ExitCode::Configuration, format!("{}: {why}", path.display()))
            .advise("use the name of a new file")
    };
    let failed = |error: std::io::Error| failed(path, &error);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = options
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)
        .map_err(|error| match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::LOOP) => rejected("is a symbolic link, which mailwire does not follow"),
            Some(rustix::io::Errno::NXIO) => rejected("is a pipe or a socket, not a file"),
            _ => failed(error),
        })?;
    let metadata = file.metadata().map_err(failed)?;
    let kind = metadata.file_type();
    if kind.is_char_device() {
        return Ok(file);
    }
    if !kind.is_file() {
        return Err(rejected("is a pipe or a socket, not a file"));
    }
    if !is_own(&metadata) {
        return Err(rejected("the file belongs to another user"));
    }
    if metadata.nlink() > 1 {
        return Err(rejected("the file has another name (a hard link)"));
    }
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn rejects_a_directory_that_others_can_write_to() {
        let directory = tempfile::tempdir().unwrap();
        for (bits, is_accepted) in
            [(0o700, true), (0o755, true), (0o777, false), (0o775, false), (0o1777, false)]
        {
            set_mode(directory.path(), bits);
            let checked = check_directory(directory.path());
            assert_eq!(checked.is_ok(), is_accepted, "{bits:o}");
            if let Err(failure) = checked {
                assert!(failure.advice.unwrap().starts_with("chmod 700 "), "{}", failure.what);
            }
        }
    }

    #[test]
    fn rejects_a_key_that_others_can_read() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key.pem");
        std::fs::write(&key, "key").unwrap();
        for (bits, is_accepted) in
            [(0o600, true), (0o400, true), (0o640, false), (0o644, false), (0o602, false)]
        {
            set_mode(&key, bits);
            let opened = open_key(&key);
            assert_eq!(opened.is_ok(), is_accepted, "{bits:o}");
            if let Err(failure) = opened {
                assert!(failure.advice.unwrap().starts_with("chmod 600 "), "{}", failure.what);
            }
        }
    }

    #[test]
    fn makes_existing_files_private_and_rejects_links() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("old"), "old").unwrap();
        set_mode(&path("old"), 0o666);
        create_file(&path("old")).unwrap().write_all(b"new").unwrap();
        assert_eq!((mode(&path("old")), std::fs::read(path("old")).unwrap()), (0o600, b"new".to_vec()));

        std::os::unix::fs::symlink(path("old"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nothing"), path("dangling")).unwrap();
        std::fs::hard_link(path("old"), path("hard")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        for name in ["link", "dangling", "hard", "pipe"] {
            let failure = create_file(&path(name)).unwrap_err();
            assert!(failure.what.contains(name) && failure.advice.is_some(), "{}", failure.what);
        }
        assert_eq!(std::fs::read(path("old")).unwrap(), b"new");
        assert!(!path("nothing").exists());
        create_file(Path::new("/dev/null")).unwrap().write_all(b"x").unwrap();
    }
}
