//! Errors of a store. Their texts contain no personal data: no address, mailbox name or message text.

use std::fmt;

/// An error of a store.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The item does not exist; the text is its kind ("mailbox").
    NotFound(&'static str),
    /// The item already exists; the text is its kind.
    Exists(&'static str),
    /// The name is not valid; the text gives the reason.
    InvalidName(&'static str),
    /// The item does not allow this operation (deleting INBOX, for example); the text gives the reason.
    Refused(&'static str),
    /// The mailbox has only children and no messages (`\Noselect`).
    NoSelect,
    /// The account lacks the right to do this with a mailbox of another account (RFC 4314). Stores do not check rights: a
    /// server does.
    NoRight,
    /// A limit was exceeded; the text names it.
    Limit(&'static str),
    /// The account's quota is exhausted.
    OverQuota {
        /// The exhausted quota.
        what: &'static str,
        /// It would not even fit into an empty account, so neither a retry nor deleting messages helps.
        permanent: bool,
    },
    /// The mailbox, or the account, has as many metadata entries as it may (RFC 5464).
    TooManyMetadata,
    /// The disk, or the memory that the store may use, is full. Free some space and retry.
    Full,
    /// Another process held the database for longer than the timeout of 15 seconds. Retry.
    Busy,
    /// The data on disk is damaged; the text says which. Restore it from a backup.
    Corrupt(&'static str),
    /// A newer version of the program wrote the data directory. Use that version.
    NewerSchema {
        /// The version found.
        found: i64,
        /// The newest version that this program supports.
        supported: i64,
    },
    /// No file descriptor or no memory is available to open a file. Retry.
    Unavailable(std::io::Error),
    /// A file could not be read or written.
    Io(std::io::Error),
    /// SQLite failed for an unexpected reason, which is a defect of this crate. The value is SQLite's extended result
    /// code.
    Database(i32),
    /// The random number generator failed, or there is no memory to derive a key.
    Crypto,
}

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns whether a retry of the same call may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy | Self::Full | Self::Unavailable(_) => true,
            Self::OverQuota { permanent, .. } => !permanent,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(what) => write!(f, "there is no such {what}"),
            Self::Exists(what) => write!(f, "such a {what} exists already"),
            Self::InvalidName(why) => write!(f, "not a valid name: {why}"),
            Self::Refused(why) => f.write_str(why),
            Self::NoSelect => f.write_str("the mailbox only holds other mailboxes and can't be selected"),
            Self::NoRight => f.write_str("you do not have the right to do this"),
            Self::Limit(what) => write!(f, "over the limit: {what}"),
            Self::OverQuota { what, .. } => write!(f, "over quota: {what}"),
            Self::TooManyMetadata => f.write_str("too many metadata entries: remove some first"),
            Self::Unavailable(error) => {
                write!(f, "a file of the store can't be opened now: {error}: try again")
            }
            Self::Full => f.write_str("the store is full: free some space and try again"),
            Self::Busy => f.write_str("another process is using the store: try again"),
            Self::Corrupt(what) => write!(f, "{what} is damaged: restore it from a backup"),
            Self::NewerSchema { found, supported } => write!(
                f,
                "the store has schema version {found} and this program understands up to {supported}: \
                 use the newer program"
            ),
            Self::Io(error) => write!(f, "a file of the store can't be used: {error}"),
            Self::Database(code) => write!(f, "the database refused the operation (SQLite code {code})"),
            Self::Crypto => f.write_str("no random numbers or no memory to derive a key"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) | Self::Unavailable(error) => Some(error),
            _ => None,
        }
    }
}

/// The system's file table is full. All systems with `std::os::unix` have this number.
const ENFILE: i32 = 23;

/// The process has no file descriptor left.
const EMFILE: i32 = 24;

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::WouldBlock => Self::Unavailable(error),
            _ if is_out_of_descriptors(&error) => Self::Unavailable(error),
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_say_whether_to_retry() {
        assert!(Error::Busy.to_string().contains("try again") && Error::Busy.is_retryable());
        let newer = Error::NewerSchema { found: 9, supported: 1 }.to_string();
        assert!(newer.contains('9') && newer.contains("newer program"));
        let full = Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert!(matches!(full, Error::Full));
        for code in [23, 24] {
            let error = Error::from(std::io::Error::from_raw_os_error(code));
            assert!(matches!(error, Error::Unavailable(_)) && error.is_retryable(), "{code}");
        }
        let denied = Error::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        assert!(matches!(denied, Error::Io(_)) && !denied.is_retryable());
    }
}
