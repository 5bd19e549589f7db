//! The client: replies in, commands out.

mod auth;
mod content;
mod core;
mod data_writer;
mod event;
mod extension_commands;
mod machine;
mod offered_parameters;
mod outcome_text;
mod reply_matching;
mod starttls;
mod transaction;

pub use crate::reply_framer::{Repair, Repairs};
pub use content::{Content, ContentScan};
pub use data_writer::DataWriter;
pub use event::{AuthOutcome, Event, OwnedEvent, Step};
pub use machine::Client;
pub use starttls::{StartTls, Upgrade};
pub use transaction::{NotSent, Outcome, Progress, Recipient, Transaction};
