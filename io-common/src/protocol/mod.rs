//! The protocols that the drivers know: IMAP and SMTP, each as a client and as a server.

pub(crate) mod imap;
pub(crate) mod ports;
pub(crate) mod smtp;
pub(crate) mod traits;

pub use imap::{ImapClientProtocol, ImapServer};
pub use ports::ProtocolPorts;
pub use smtp::{SmtpClientProtocol, SmtpServer, service_refused, session_ready};
pub use traits::{ClientProtocol, MachineMut, Protocol, ServerProtocol, StartTlsReadiness};
