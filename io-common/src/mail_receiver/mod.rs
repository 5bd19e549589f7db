//! Receives whole messages with their envelopes, for programs that need no other command of SMTP.
//!
//! A [`MailPolicy`] says who may send mail and to whom. A [`MailReceiver`] runs the sessions, on any driver, and passes each
//! complete message as a [`ReceivedMail`]. The client waits until the program accepts or rejects it, so that a slow program
//! slows its clients down. `io-tokio` and `io-mio` have a method `receive_mail` of their server, which returns a queue of them.

mod handler;
mod memory_budget;
mod policy;
mod received_mail;

pub use handler::{MailHandler, MailReceiver};
pub use policy::MailPolicy;
pub use received_mail::ReceivedMail;
