//! Converts SQLite's errors.

use crate::error::Error;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
                ErrorCode::DiskFull => Self::Full,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt("the database"),
                // It was opened before, so the process is out of file descriptors.
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
