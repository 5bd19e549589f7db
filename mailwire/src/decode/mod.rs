//! `decode`: parses raw protocol bytes and prints one JSON line per event. It continues after input that it cannot parse.
//!
//! A line shows what was parsed and the repairs that this needed. Of credentials it shows only the length.

mod arguments;
mod imap_append;
mod imap_command;
mod imap_frame;
mod imap_response;
mod imap_response_code;
mod imap_values;
mod lines;
mod smtp;

use std::io::Read;

use serde_json::Value;

pub(crate) use arguments::DecodeArgs;

use arguments::Grammar;

use crate::command_error::{CommandError, ExitCode};
use crate::options::OutputOptions;
use crate::output::Output;

/// The most bytes to read.
const MAX_INPUT_BYTES: u64 = 256 << 20;

/// Runs the command.
pub(crate) fn run(arguments: &DecodeArgs) -> Result<(), CommandError> {
    let mut input = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_INPUT_BYTES)
        .read_to_end(&mut input)
        .map_err(|error| CommandError::new(ExitCode::Data, format!("standard input: {error}")))?;
    let output = Output::from(OutputOptions { json: true, quiet: false });
    let mut show = |event: Value| output.json_always(&event);
    let strictness = arguments.strictness();
    match arguments.grammar {
        Grammar::ImapResponse => imap_response::responses(&input, strictness, &mut show),
        Grammar::ImapCommand => imap_command::commands(&input, strictness, &mut show),
        Grammar::SmtpReply => smtp::replies(&input, strictness, &mut show),
        Grammar::SmtpCommand => smtp::commands(&input, strictness, &mut show),
    }
    Ok(())
}
