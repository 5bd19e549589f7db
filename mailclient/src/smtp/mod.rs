//! The steps of an SMTP session before its transactions, without I/O: greeting, EHLO, login.

#[cfg(feature = "mio")]
mod blocking;
mod login;

#[cfg(feature = "mio")]
pub use blocking::{Session, SessionEnd, SessionTask, SmtpChannel, with_session};
pub use login::{AwaitReady, LogIn, extensions};
