//! The steps of an IMAP session, without I/O: capabilities, login, commands, folders.

#[cfg(feature = "mio")]
mod blocking;
mod login;
mod request;
mod session_state;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(feature = "mio")]
pub use blocking::{ImapChannel, Session, SessionTask, with_session};
pub use login::{AwaitCapabilities, Identify, ImapLogin, LogIn};
pub use request::{ListFolders, Request, Requesting};
pub use session_state::SessionState;
