//! IMAP: responses and commands, one complete message at a time.

mod command;
mod frame;
mod response;

pub(super) use command::commands;
pub(super) use response::responses;
