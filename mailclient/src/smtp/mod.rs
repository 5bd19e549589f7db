//! The steps of an SMTP session before its transactions, without I/O: greeting, EHLO, login.

#[cfg(feature = "mio")]
mod blocking;
mod login;
#[cfg(any(feature = "mio", feature = "tokio"))]
mod session_end;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(feature = "mio")]
pub use blocking::{Session, SessionTask, SmtpChannel, with_session};
pub use login::{AwaitReady, LogIn, extensions};
#[cfg(any(feature = "mio", feature = "tokio"))]
pub use session_end::SessionEnd;
