//! `check`: tests a connection stage by stage and prints a line for each. For the stage that fails, the line says why and
//! what to try.

mod arguments;
mod imap;
mod progress;
mod smtp;

pub(crate) use arguments::CheckArgs;

use arguments::Stage;
use progress::{End, Progress, Verbosity};

use crate::command_error::{CommandError, ExitCode};
use crate::endpoint::Endpoint;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::url::Protocol;

/// Runs the command. Returns the exit code if a stage failed; its line, with reason and advice, is printed
/// already.
///
/// # Errors
/// The check could not begin: the options, the configuration or the credentials are invalid.
pub(crate) fn run(arguments: &CheckArgs) -> Result<Option<ExitCode>, CommandError> {
    let output = Output::from(arguments.output);
    let endpoint = Endpoint::new(&arguments.url, &arguments.connection)?;
    let last = arguments.stop_after.unwrap_or(Stage::Folders);
    let verbosity = if arguments.verbose { Verbosity::Reasons } else { Verbosity::Result };
    let progress = Progress::new(&endpoint, output, last, verbosity)?;
    // A prompt during the check would distort the times, so the password is read first.
    let credentials = if last >= Stage::Login { endpoint.credentials()? } else { None };
    // There is nothing to finish: the first signal ends the command.
    Interrupt::install()?;
    let observer = progress.clone();
    let connector = endpoint.connector(move |report| observer.observe(report));
    let result = match endpoint.url.protocol {
        Protocol::Imap => imap::check(&endpoint, &connector, credentials, &progress),
        Protocol::Smtp => smtp::check(&endpoint, &connector, credentials, &progress),
    };
    match result {
        Ok(()) | Err(End::Done) => {
            progress.finish(None);
            Ok(None)
        }
        Err(End::Failed(failure)) => {
            let failure = failure.at(&endpoint.url);
            progress.finish(Some(&failure));
            Ok(Some(failure.exit_code))
        }
    }
}
