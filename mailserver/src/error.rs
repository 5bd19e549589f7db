//! Why a server could not be started.

use std::{fmt, io};

/// Why a server could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    Store(mailstore::Error),
    /// A port, TLS or the event loop failed.
    Driver(io_common::Error),
    /// The operating system provides no thread.
    Thread(io::Error),
}

impl Error {
    /// Returns whether starting it again may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Driver(error) => error.is_retryable(),
            Self::Thread(_) => true,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Driver(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Driver(error) => Some(error),
            Self::Thread(error) => Some(error),
        }
    }
}

impl From<mailstore::Error> for Error {
    fn from(error: mailstore::Error) -> Self {
        Self::Store(error)
    }
}

#[cfg(feature = "tokio")]
impl From<io_tokio::Error> for Error {
    fn from(error: io_tokio::Error) -> Self {
        Self::Driver(match error {
            io_tokio::Error::Session(error) => error,
            other => io_common::Error::Config(other.to_string()),
        })
    }
}

impl From<io_common::Error> for Error {
    fn from(error: io_common::Error) -> Self {
        Self::Driver(error)
    }
}
