//! Why a test server could not be started, or did not get what the test waits for.

use std::time::Duration;
use std::{fmt, io};

/// Why a test server could not be started, or did not get what the test waits for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The server could not be started.
    Server(mailserver::Error),
    /// The store failed.
    Store(mailstore::Error),
    /// No certificate could be generated.
    Certificate(mailserver::certificate::CertificateError),
    /// An operation of the operating system failed.
    Io(io::Error),
    /// A fault rule is not valid: what is wrong with it.
    InvalidFault(String),
    /// Fewer messages than expected arrived in time.
    TooFewMessages {
        /// How many were expected.
        expected: usize,
        /// How many arrived.
        arrived: usize,
        /// How long the test waited.
        waited: Duration,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Certificate(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::InvalidFault(why) => f.write_str(why),
            Self::TooFewMessages { expected, arrived, waited } => {
                write!(f, "{arrived} of {expected} messages arrived within {waited:?}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Server(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Certificate(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::InvalidFault(_) | Self::TooFewMessages { .. } => None,
        }
    }
}

impl From<mailserver::Error> for Error {
    fn from(error: mailserver::Error) -> Self {
        Self::Server(error)
    }
}

impl From<mailstore::Error> for Error {
    fn from(error: mailstore::Error) -> Self {
        Self::Store(error)
    }
}

impl From<mailserver::certificate::CertificateError> for Error {
    fn from(error: mailserver::certificate::CertificateError) -> Self {
        Self::Certificate(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
