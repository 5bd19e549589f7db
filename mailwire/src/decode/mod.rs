//! `decode`: parses raw protocol bytes and prints one JSON line per event. It continues after input that it cannot parse.
//!
//! A line shows what was parsed and the repairs that this needed. Of credentials it shows only the length.

mod arguments;
mod imap;
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
    match arguments.grammar {
        Grammar::ImapResponse => imap::responses(&input, arguments.strict, &mut show),
        Grammar::ImapCommand => imap::commands(&input, arguments.strict, &mut show),
        Grammar::SmtpReply => smtp::replies(&input, arguments.strict, &mut show),
        Grammar::SmtpCommand => smtp::commands(&input, arguments.strict, &mut show),
    }
    Ok(())
}
