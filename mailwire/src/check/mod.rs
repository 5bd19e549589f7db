//! `check`: tests a connection stage by stage and prints a line for each. For the stage that fails, the line says why and
//! what to try. The stages are those of [`mailclient::diagnosis`].

mod arguments;

pub(crate) use arguments::CheckArgs;

use mailclient::diagnosis::{Diagnosis, DiagnosisEvent, Stage, StageResult, diagnose};
use mailclient::endpoint::CredentialSource;
use proto_mail::Credentials;

use crate::account_access::endpoint_of;
use crate::command_error::{CommandError, ExitCode};
use crate::endpoint::Endpoint;
use crate::interrupt::Interrupt;
use crate::output::{self, Mark, Output};

/// How much to print about the choice of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// The mechanism used.
    Result,
    /// The mechanism used, and why each other one was not.
    Reasons,
}

/// Runs the command. Returns the exit code if a stage failed; its line, with reason and advice, is printed
/// already.
///
/// # Errors
/// The check could not begin: the options, the configuration or the credentials are invalid.
pub(crate) fn run(arguments: &CheckArgs) -> Result<Option<ExitCode>, CommandError> {
    let output = Output::from(arguments.output);
    let protocol = arguments.protocol.into();
    let endpoint = endpoint_of(arguments.url.as_ref(), &arguments.account, protocol, &arguments.connection)?;
    let last = arguments.stop_after.map_or(Stage::Folders, Stage::from);
    let verbosity = if arguments.verbose { Verbosity::Reasons } else { Verbosity::Result };
    endpoint.is_cleartext()?;
    // A prompt during the check would distort the times, so the password is read first.
    let credentials = if last >= Stage::Login { endpoint.credentials()? } else { None };
    // There is nothing to finish: the first signal ends the command.
    Interrupt::install()?;
    let diagnosis = diagnose_and_show(&endpoint, credentials.as_ref(), last, verbosity, output);
    let failure = diagnosis.error().cloned().map(CommandError::from);
    show_json(output, verbosity, &endpoint, &diagnosis, failure.as_ref());
    Ok(failure.map(|failure| failure.exit_code))
}

/// Runs the stages until `last` or the first failure, and prints a line for each.
pub(crate) fn diagnose_and_show(
    endpoint: &Endpoint,
    credentials: Option<&Credentials>,
    last: Stage,
    verbosity: Verbosity,
    output: Output,
) -> Diagnosis {
    let source = credentials.map(|given| endpoint.source(given));
    let source = source.as_ref().map(|source| source as &dyn CredentialSource);
    diagnose(&endpoint.inner, source, last, move |event| show(output, verbosity, &event))
}

/// Prints what happens, for people.
fn show(output: Output, verbosity: Verbosity, event: &DiagnosisEvent<'_>) {
    match event {
        DiagnosisEvent::Stage(result, error) => {
            let mark = if result.ok { Mark::Ok } else { Mark::Fail };
            let name = result.stage.name();
            output.marked(mark, format!("{name:13}{:>9.1} ms  {}", result.ms, result.detail));
            let failure = error.filter(|_| !result.ok).cloned().map(CommandError::from);
            if let Some(advice) = failure.and_then(|failure| failure.advice) {
                output.line(format!("     try: {advice}"));
            }
        }
        DiagnosisEvent::LoggedIn(logged_in) if verbosity == Verbosity::Reasons => {
            for (mechanism, why) in logged_in.not_used() {
                output.line(format!("     {mechanism} {why}"));
            }
        }
        DiagnosisEvent::NoCredentials => {
            output.hint("the URL names no user: the login and later stages were not tried");
        }
        _ => {}
    }
}

/// Prints the whole result, for programs.
fn show_json(
    output: Output,
    verbosity: Verbosity,
    endpoint: &Endpoint,
    diagnosis: &Diagnosis,
    failure: Option<&CommandError>,
) {
    let mut value = serde_json::json!({
        "url": endpoint.url.to_string(),
        "ok": failure.is_none(),
        "stages": stages(diagnosis, failure),
    });
    if let Some(object) = value.as_object_mut() {
        if let Some(failure) = failure {
            object.insert("error".to_owned(), output::describe(failure));
        }
        if verbosity == Verbosity::Reasons {
            object
                .insert("mechanisms_not_used".to_owned(), serde_json::json!(diagnosis.mechanisms_not_used()));
        }
    }
    output.json(&value);
}

/// Returns the results of the stages, for programs. The advice of the last one names the command's options.
pub(crate) fn stages(diagnosis: &Diagnosis, failure: Option<&CommandError>) -> Vec<StageResult> {
    let mut stages: Vec<StageResult> = diagnosis.results().to_vec();
    if let (Some(failure), Some(result)) = (failure, stages.last_mut()) {
        result.hint.clone_from(&failure.advice);
    }
    stages
}
