//! `mailwire`: check, sync, send and serve mail. Each subcommand is a page over the library.
#![forbid(unsafe_code)]

mod check;
mod cli;
mod compose;
mod config;
mod connect;
mod credentials;
mod data;
mod decode;
mod failure;
mod folders;
mod imap;
mod interrupt;
mod local;
mod output;
mod send;
mod serve;
mod smtp;
mod sync;
mod trace;
mod url;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::{Failure, Kind};
use crate::output::Output;

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            let _ = error.print();
            // --help and --version are no errors.
            return if error.use_stderr() { ExitCode::from(Kind::Usage.code()) } else { ExitCode::SUCCESS };
        }
    };
    let output = Output::from(command.output());
    match run(&command) {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.kind.code())
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Serve(arguments) => serve::run(arguments, Output::from(arguments.output)),
        Command::Check(arguments) => {
            let failed = check::run(arguments)?;
            return Ok(failed.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.code())));
        }
        Command::Folders(arguments) => folders::run(arguments),
        Command::Sync(arguments) => sync::run(arguments),
        Command::Send(arguments) => send::run(arguments),
        Command::Decode(arguments) => decode::run(arguments),
    };
    done.map(|()| ExitCode::SUCCESS)
}
