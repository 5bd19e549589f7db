//! The files of the store: messages that are too large for the database, and the directory that holds everything.

use crate::content::{Body, Spool, Upload};
use crate::error::{Error, Result};
use mailmime::StructureRecord;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Syncs the bytes of an upload and returns what the store writes to its tables. The caller syncs the directory once
/// after sealing a batch of uploads.
pub(super) fn seal(upload: Upload) -> Result<SealedUpload> {
    let (size, record, mut spool) = upload.into_parts();
    if let Spool::File(spool) = &mut spool {
        spool.sync()?;
    }
    Ok(SealedUpload { size, record, spool })
}

/// An upload that is complete, scanned and synced, but not yet named by a row.
pub(super) struct SealedUpload {
    pub(super) size: u64,
    pub(super) record: StructureRecord,
    spool: Spool,
}

impl SealedUpload {
    /// The bytes of a message that the database holds.
    pub(super) fn inline(&self) -> Option<&[u8]> {
        match &self.spool {
            Spool::Memory(bytes) => Some(bytes),
            Spool::Budgeted(bytes) => Some(bytes.as_ref()),
            Spool::File(_) => None,
        }
    }

    /// The file name of a large message.
    pub(super) fn file_name(&self) -> Option<&str> {
        match &self.spool {
            Spool::Memory(_) | Spool::Budgeted(_) => None,
            Spool::File(spool) => spool.path.file_name().and_then(|name| name.to_str()),
        }
    }

    /// Keeps the file on drop, because a committed row names it now.
    pub(super) fn keep(&mut self) {
        if let Spool::File(spool) = &mut self.spool {
            spool.kept = true;
        }
    }
}

/// Opens the file of a message.
pub(super) fn open_body(path: &Path, size: u64) -> Result<Body> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NotFound("message content"));
        }
        other => other?,
    };
    if file.metadata()?.len() != size {
        return Err(Error::Corrupt("the file of a message"));
    }
    Ok(Body::from_file(file, size))
}

/// Creates a directory that only its owner can enter, and its missing parents.
pub(super) fn create_private_directory(path: &Path) -> Result<()> {
    Ok(std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?)
}

/// Opens a file that only its owner can read or write, and creates it if it is missing.
pub(super) fn open_private_file(path: &Path) -> Result<File> {
    Ok(OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?)
}

/// Syncs a directory, so that the names of new files in it are durable.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    Ok(File::open(path)?.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_uploads_stay_in_memory_and_large_ones_become_private_files() {
        let directory = tempfile::tempdir().unwrap();
        let mut small = Upload::new(directory.path());
        small.write(b"Subject: x\r\n\r\n").unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(seal(small).unwrap().inline(), Some(&b"Subject: x\r\n\r\n"[..]));

        let mut large = Upload::new(directory.path());
        for _ in 0..20 {
            large.write(&[b'x'; 10_000]).unwrap();
        }
        let mut length = 0;
        large.for_each_chunk(|chunk| length += chunk.len()).unwrap();
        assert_eq!((length, large.size()), (200_000, 200_000));
        let sealed = seal(large).unwrap();
        let path = directory.path().join(sealed.file_name().unwrap());
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let body = open_body(&path, 200_000).unwrap();
        assert_eq!(body.read(199_990, 100).unwrap(), [b'x'; 10]);
        assert_eq!(body.read(300_000, 100).unwrap(), b"");
        drop(sealed);
        assert!(!path.exists(), "deletes a file that was not committed");
    }

    #[test]
    fn reports_truncated_and_missing_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m");
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(open_body(&path, 6), Err(Error::Corrupt(_))));
        assert!(matches!(open_body(&directory.path().join("no"), 6), Err(Error::NotFound(_))));
    }
}
