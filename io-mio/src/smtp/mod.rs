//! The SMTP client: [`SmtpClient`], envelopes and reports.

mod client;
mod send;

pub use client::SmtpClient;
pub use io_common::client::{Envelope, Report, Undelivered};
pub use send::{EnvelopeOutcome, MessageWriter};
