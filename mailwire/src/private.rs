//! Files and directories that only the user who runs the command may change or read.
//!
//! A file or directory whose owner or mode lets other users in is refused with advice: the program does not change what
//! the user made, but for a trace file, which it writes anew.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::failure::{Failure, Kind};

/// The mode bits that let other users write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The mode bits that let other users do anything.
const OPEN_TO_OTHERS: u32 = 0o077;

/// Whether a file belongs to the user who runs the command.
fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}

/// Checks that no other user can change what is in a directory. Other users may be able to list it.
///
/// # Errors
/// It belongs to another user, or its group or others may write to it, or it is no directory.
pub(crate) fn check_directory(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| Failure::file(path, &error))?;
    let refused = |why: String| Failure::new(Kind::Configuration, format!("{}: {why}", path.display()));
    if !metadata.is_dir() {
        return Err(refused("is not a directory".to_owned()).advise("another directory with --dir DIR"));
    }
    if !is_own(&metadata) {
        let why = format!("the directory belongs to another user (uid {})", metadata.uid());
        let advice = format!("run as that user, or chown -R {} {}", own_uid(), path.display());
        return Err(refused(why).advise(advice));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        let why = format!("other users can write to the directory (mode {mode:04o})");
        return Err(refused(why).advise(format!("chmod 700 {}", path.display())));
    }
    Ok(())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens a private key. A key of another owner may be readable by a group that this user is in, as keys below
/// `/etc/ssl/private` are; a key of this user must be readable by this user only.
///
/// # Errors
/// The file cannot be read, or other users can read or change it.
pub(crate) fn open_key(path: &Path) -> Result<File, Failure> {
    let file = File::open(path).map_err(|error| Failure::reading(path, &error))?;
    let metadata = file.metadata().map_err(|error| Failure::reading(path, &error))?;
    let mode = metadata.mode() & 0o777;
    let forbidden = if is_own(&metadata) { OPEN_TO_OTHERS } else { 0o027 };
    if metadata.is_file() && mode & forbidden != 0 {
        let what = format!("{}: other users can read the key (mode {mode:04o})", path.display());
        let advice =
            format!("chmod 600 {}; if others have used this machine, make a new key", path.display());
        return Err(Failure::new(Kind::Configuration, what).advise(advice));
    }
    Ok(file)
}

/// Opens a file for writing anew, readable and writable by this user only. Symbolic links are not followed.
///
/// An existing file of this user is made private and emptied. A terminal or `/dev/null` is taken as it is.
///
/// # Errors
/// The file is a symbolic link, has other links, belongs to another user, is a pipe or a socket, or cannot be written.
pub(crate) fn create_file(path: &Path) -> Result<File, Failure> {
    let file = open(path, OpenOptions::new().write(true))?;
    if file.metadata().map_err(|error| failed(path, &error))?.is_file() {
        file.set_len(0).map_err(|error| failed(path, &error))?;
    }
    Ok(file)
}

/// Opens a file for reading and writing, and creates it if it is not there; readable and writable by this user only.
/// Symbolic links are not followed.
///
/// # Errors
/// As [`create_file`].
pub(crate) fn open_file(path: &Path) -> Result<File, Failure> {
    open(path, OpenOptions::new().read(true).write(true))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Configuration, format!("{}: {error}", path.display()))
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File, Failure> {
    let refused = |why: &str| {
        Failure::new(Kind::Configuration, format!("{}: {why}", path.display()))
            .advise("the name of a new file")
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
            Some(rustix::io::Errno::LOOP) => refused("is a symbolic link, which is not followed"),
            Some(rustix::io::Errno::NXIO) => refused("is a pipe or a socket, not a file"),
            _ => failed(error),
        })?;
    let metadata = file.metadata().map_err(failed)?;
    let kind = metadata.file_type();
    if kind.is_char_device() {
        return Ok(file);
    }
    if !kind.is_file() {
        return Err(refused("is a pipe or a socket, not a file"));
    }
    if !is_own(&metadata) {
        return Err(refused("the file belongs to another user"));
    }
    if metadata.nlink() > 1 {
        return Err(refused("the file has another name, too (a hard link)"));
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
    fn a_directory_that_others_can_write_to_is_refused_with_advice() {
        let directory = tempfile::tempdir().unwrap();
        for (bits, taken) in [(0o700, true), (0o755, true), (0o777, false), (0o775, false), (0o1777, false)] {
            set_mode(directory.path(), bits);
            let checked = check_directory(directory.path());
            assert_eq!(checked.is_ok(), taken, "{bits:o}");
            if let Err(failure) = checked {
                assert!(failure.advice.unwrap().starts_with("chmod 700 "), "{}", failure.what);
            }
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_advice() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key.pem");
        std::fs::write(&key, "key").unwrap();
        for (bits, taken) in [(0o600, true), (0o400, true), (0o640, false), (0o644, false), (0o602, false)] {
            set_mode(&key, bits);
            let opened = open_key(&key);
            assert_eq!(opened.is_ok(), taken, "{bits:o}");
            if let Err(failure) = opened {
                assert!(failure.advice.unwrap().starts_with("chmod 600 "), "{}", failure.what);
            }
        }
    }

    #[test]
    fn a_file_that_exists_is_made_private_and_a_link_is_not_followed() {
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
