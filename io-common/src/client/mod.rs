//! The driver-neutral half of the typed clients: everything but waiting.
//!
//! A typed client has a method for each command. A driver implements it in two steps: it gives the command with a method
//! of the session's state ([`ImapState`], [`SmtpState`]), and passes the machine's events to another until that returns a
//! result. The driver only moves bytes and waits, by blocking or by awaiting.
//!
//! The state remembers what was begun and not finished. The next command first calls [`SessionState::settle`], so that a
//! dropped future, body or writer never mixes the responses of two commands.

mod answer;
mod append;
mod connection_event;
mod envelope;
mod error;
mod fetch;
mod imap_login;
mod imap_state;
mod message;
#[cfg(feature = "resync")]
mod resync;
mod session_state;
mod smtp_login;
mod smtp_state;
mod updates;

pub use answer::{Answer, AnswerCollector, AnswerPart, ListedMailbox, SelectedMailbox};
pub use append::{AppendProgress, AppendedUid};
pub use connection_event::ConnectionEvent;
pub use envelope::Envelope;
pub use error::{ClientError, Undelivered};
pub use fetch::{BodyInfo, BodyReader, FetchFilter, FetchStep};
pub use imap_login::ImapLogin;
pub use imap_state::ImapState;
pub use message::{MessageTransfer, Report};
pub use session_state::{PIECE, SessionState};
pub use smtp_login::SmtpLogin;
pub use smtp_state::SmtpState;
pub use updates::Updates;
