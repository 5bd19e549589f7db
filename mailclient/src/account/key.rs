//! The key that encrypts the secrets of accounts, and where it comes from.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proto_mail::Secret;

use super::error::{AccountError, KeyProblem};
use super::secret::{KEY_BYTES, KEY_VARIABLE};

/// The most bytes of a key file.
const KEY_FILE_LIMIT: u64 = 1024;

/// A key that encrypts the secrets of accounts. `Debug` does not show it, and it is wiped on drop.
pub struct EncryptionKey(Secret<[u8; KEY_BYTES]>);

impl EncryptionKey {
    /// Makes a random key.
    ///
    /// # Errors
    /// `Random` if the random number generator fails.
    pub fn generate() -> Result<Self, AccountError> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| AccountError::Random)?;
        Ok(Self(Secret::new(bytes)))
    }

    /// Parses a key of [`KEY_BYTES`] bytes in base64 (RFC 4648 §4, with padding). Ignores white space around it.
    ///
    /// # Errors
    /// `KeyInvalid` with the problem, which never quotes the text.
    pub fn from_base64(text: &str) -> Result<Self, AccountError> {
        let bytes = STANDARD.decode(text.trim()).map(Secret::new);
        let bytes = bytes.map_err(|_| AccountError::KeyInvalid(KeyProblem::Alphabet))?;
        let key: [u8; KEY_BYTES] = bytes
            .expose()
            .as_slice()
            .try_into()
            .map_err(|_| AccountError::KeyInvalid(KeyProblem::Length(bytes.expose().len())))?;
        Ok(Self(Secret::new(key)))
    }

    /// Reads the key from [`KEY_VARIABLE`]. Returns `None` if it is not set, or empty.
    ///
    /// # Errors
    /// `KeyInvalid` with the problem.
    pub fn from_environment() -> Result<Option<Self>, AccountError> {
        let Some(value) = std::env::var_os(KEY_VARIABLE) else { return Ok(None) };
        let value = Secret::new(value.into_encoded_bytes());
        match std::str::from_utf8(value.expose()) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Self::from_base64(text).map(Some),
            Err(_) => Err(AccountError::KeyInvalid(KeyProblem::Alphabet)),
        }
    }

    /// Reads the key from a file, in base64. Returns `None` if there is no such file.
    ///
    /// # Errors
    /// `KeyInvalid` with the problem; on Unix also if the group or other users can read or change the file.
    pub fn from_file(path: &Path) -> Result<Option<Self>, AccountError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error(path, &error)),
        };
        check_permissions(&file, path)?;
        let text = read_limited(file).map_err(|error| file_error(path, &error))?;
        Self::from_base64(text.expose()).map(Some)
    }

    /// Writes the key to a new file, in base64, readable and writable by this user only. Does not follow a symbolic link.
    ///
    /// # Errors
    /// `KeyInvalid` if the file exists or cannot be written.
    pub fn create_file(&self, path: &Path) -> Result<(), AccountError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let text = self.to_base64();
        let written = options.open(path).and_then(|mut file| {
            file.write_all(text.expose().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
        written.map_err(|error| file_error(path, &error))
    }

    /// Returns the key in base64.
    #[must_use]
    pub fn to_base64(&self) -> Secret<String> {
        Secret::new(STANDARD.encode(self.0.expose()))
    }

    /// Returns the bytes of the key.
    pub(super) const fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose()
    }
}

impl std::fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EncryptionKey([redacted])")
    }
}

fn file_error(path: &Path, error: &std::io::Error) -> AccountError {
    AccountError::KeyInvalid(KeyProblem::File(path.display().to_string(), error.to_string()))
}

/// Reads at most [`KEY_FILE_LIMIT`] bytes.
fn read_limited(file: File) -> std::io::Result<Secret<String>> {
    let mut read = String::with_capacity(usize::try_from(KEY_FILE_LIMIT).unwrap_or_default());
    let outcome = file.take(KEY_FILE_LIMIT).read_to_string(&mut read);
    let read = Secret::new(read);
    outcome.map(|_| read)
}

#[cfg(unix)]
fn check_permissions(file: &File, path: &Path) -> Result<(), AccountError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata().map_err(|error| file_error(path, &error))?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(AccountError::KeyInvalid(KeyProblem::Permissions(path.display().to_string(), mode)))
}

#[cfg(not(unix))]
fn check_permissions(_: &File, _: &Path) -> Result<(), AccountError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn parses_32_bytes_in_base64() {
        let key = EncryptionKey::from_base64(&format!(" {TEXT}\n")).unwrap();
        assert_eq!(key.expose()[..3], [0, 1, 2]);
        assert_eq!(key.to_base64().expose(), TEXT);
        assert_eq!(format!("{key:?}"), "EncryptionKey([redacted])");
        let others = [EncryptionKey::generate().unwrap(), EncryptionKey::generate().unwrap()];
        assert_ne!(others[0].expose(), others[1].expose());
    }

    #[test]
    fn rejects_other_lengths_and_alphabets_without_quoting_them() {
        for (text, expected) in [
            ("hunter2hunter2-_", KeyProblem::Alphabet),
            ("aHVudGVyMg==", KeyProblem::Length(7)),
            ("", KeyProblem::Length(0)),
            (&TEXT[..43], KeyProblem::Alphabet),
        ] {
            let error = EncryptionKey::from_base64(text).unwrap_err();
            assert!(matches!(&error, AccountError::KeyInvalid(problem) if *problem == expected), "{error:?}");
            assert!(text.is_empty() || !format!("{error} {error:?}").contains(text), "{error}");
            assert_eq!(error.code(), "email_encryption_key_invalid");
        }
        let long = STANDARD.encode([7; 33]);
        assert!(EncryptionKey::from_base64(&long).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn reads_a_key_file_that_no_other_user_can_read() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let directory = std::env::temp_dir().join(format!("mailclient-key-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("key");
        let _ = std::fs::remove_file(&path);
        assert!(EncryptionKey::from_file(&path).unwrap().is_none());
        let key = EncryptionKey::generate().unwrap();
        key.create_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(EncryptionKey::from_file(&path).unwrap().unwrap().expose(), key.expose());
        assert!(key.create_file(&path).is_err(), "it exists");
        for mode in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = EncryptionKey::from_file(&path).unwrap_err();
            let is_right = matches!(&error, AccountError::KeyInvalid(KeyProblem::Permissions(_, found)) if *found == mode);
            assert!(is_right, "{error:?}");
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
