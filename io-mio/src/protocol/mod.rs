//! The protocols that the drivers know: IMAP and SMTP, each as a client and as a server.

pub(crate) mod imap;
pub(crate) mod smtp;
pub(crate) mod traits;

pub use imap::{ImapClient, ImapServer};
pub use smtp::{SmtpClient, SmtpServer};
pub use traits::{ClientProtocol, MachineMut, Protocol, ServerProtocol, StartTlsReadiness};
