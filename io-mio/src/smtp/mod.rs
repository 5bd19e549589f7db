//! The SMTP client: [`SmtpClient`], envelopes and reports.

mod client;
mod send;

pub use client::SmtpClient;
pub use io_common::client::{Envelope, Report};
pub use send::{EnvelopeOutcome, MessageWriter};
