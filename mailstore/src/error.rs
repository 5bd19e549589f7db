//! What can go wrong in a store. Texts name things, never people: no address, folder name or message text is in them.

use std::fmt;

/// Why a store did not do what it was asked to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no such thing (named in the singular: "mailbox").
    NotFound(&'static str),
    /// There is such a thing already.
    Exists(&'static str),
    /// A name that can't be one; the text says what is wrong with it.
    InvalidName(&'static str),
    /// The thing is there and does not allow that (deleting INBOX, say).
    Refused(&'static str),
    /// A mailbox that only holds other mailboxes (`\Noselect`).
    NoSelect,
    /// A limit that the text names.
    Limit(&'static str),
    /// The account may not have more of this; the text names it.
    OverQuota {
        /// Which quota.
        what: &'static str,
        /// It would not fit into an empty account either: trying again, or deleting something, does not help.
        permanent: bool,
    },
    /// The disk is full: free some space and try again.
    Full,
    /// Another process holds the store for longer than the store waits: try again.
    Busy,
    /// The data on disk is damaged; the text says which. Restore from a backup.
    Corrupt(&'static str),
    /// The data directory was written by a newer version: use that one.
    NewerSchema {
        /// The version found.
        found: i64,
        /// The newest version that is understood here.
        supported: i64,
    },
    /// There are no file descriptors or no memory left for a file now: try again.
    Unavailable(std::io::Error),
    /// A file could not be read or written.
    Io(std::io::Error),
    /// The database refused, for a reason that is a defect here; the extended result code of SQLite.
    Database(i32),
    /// No random numbers, or no memory to derive a key.
    Crypto,
}

/// A result of the store.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the same call may succeed later.
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
            Self::Limit(what) => write!(f, "over the limit: {what}"),
            Self::OverQuota { what, .. } => write!(f, "over quota: {what}"),
            Self::Unavailable(error) => {
                write!(f, "a file of the store can't be opened now: {error}: try again")
            }
            Self::Full => f.write_str("the disk is full: free some space and try again"),
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

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
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

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
                ErrorCode::DiskFull => Self::Full,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt("the database"),
                // It was open before: what is lacking now is a descriptor.
                ErrorCode::CannotOpen | ErrorCode::OutOfMemory => {
                    Self::Unavailable(std::io::Error::other("the database can't be opened"))
                }
                ErrorCode::SystemIoFailure | ErrorCode::ReadOnly => {
                    Self::Io(std::io::Error::other("the database file can't be read or written"))
                }
                _ => Self::Database(failure.extended_code),
            },
            rusqlite::Error::QueryReturnedNoRows => Self::NotFound("row"),
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Corrupt("the database"),
            _ => Self::Database(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_try() {
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
