//! The SMTP client.

mod client;
mod envelope;
mod send;

pub use client::SmtpClient;
pub use envelope::Envelope;
pub use send::{Begun, MessageWriter, Report};
