//! `mailwire`: check, sync, send and serve mail. Each subcommand is a page over the library.
#![forbid(unsafe_code)]

mod check;
mod classify;
mod cli;
mod compose;
mod config;
mod connect;
mod credentials;
mod data;
mod decode;
mod failure;
mod folder;
mod folders;
mod imap;
mod interrupt;
mod line_writer;
mod local;
mod login;
mod memory;
mod output;
mod private;
mod send;
mod serve;
mod smtp;
mod sync;
mod trace;
mod url;

use std::process::ExitCode;

/// Gives memory back to the system when sessions end; see [`memory`]. The allocator of glibc keeps it: one small block at
/// the end of a heap holds everything before it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::{Failure, Kind};
use crate::output::{ClosedOutput, Output};

fn main() -> ExitCode {
    let command = match Cli::try_parse_from(send::sendmail::arguments(std::env::args_os())) {
        Ok(cli) => cli.command,
        Err(error) => {
            let _ = error.print();
            // --help and --version are no errors.
            return if error.use_stderr() { ExitCode::from(Kind::Usage.code()) } else { ExitCode::SUCCESS };
        }
    };
    if matches!(command, Command::Serve(_)) {
        memory::return_at_once();
    }
    let output = Output::from(command.output());
    output::on_closed_output(closed_output(&command));
    match run(&command) {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.kind.code())
        }
    }
}

/// Whether a command has anything left to do when its standard output is closed. What is sent, fetched or served does
/// not depend on who reads the report.
const fn closed_output(command: &Command) -> ClosedOutput {
    match command {
        Command::Check(_) | Command::Folders(_) | Command::Decode(_) => ClosedOutput::End,
        Command::Serve(_) | Command::Sync(_) | Command::Send(_) | Command::Sendmail(_) => ClosedOutput::GoOn,
    }
}

fn run(command: &Command) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Serve(arguments) => serve::run(arguments, Output::from(arguments.output)),
        Command::Check(arguments) => {
            let failed = check::run(arguments)?;
            output::check_written()?;
            return Ok(failed.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.code())));
        }
        Command::Folders(arguments) => folders::run(arguments)
            .map_err(|failure| failure.at(&arguments.url))
            .and_then(|()| output::check_written()),
        Command::Sync(arguments) => sync::run(arguments).map_err(|failure| failure.at(&arguments.url)),
        Command::Send(arguments) => send::run(arguments),
        Command::Sendmail(arguments) => send::sendmail::run(&arguments.arguments),
        Command::Decode(arguments) => decode::run(arguments).and_then(|()| output::check_written()),
    };
    done.map(|()| ExitCode::SUCCESS)
}
