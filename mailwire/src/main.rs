//! `mailwire`: checks, syncs, sends and serves mail.
//!
//! Parses the command line and runs the subcommand. Each subcommand module defines its own arguments and `run`.
#![forbid(unsafe_code)]

mod account;
mod account_access;
mod account_login;
mod check;
mod command_error;
mod compose;
mod config;
mod credentials;
mod decode;
mod endpoint;
mod export;
mod folders;
mod imap_url;
mod interrupt;
mod line_writer;
mod local;
mod memory;
mod options;
mod output;
mod private_files;
mod send;
mod serve;
mod store_directory;
mod sync;
mod trace;
mod user_directories;

use std::process;

use clap::{Parser, Subcommand};

use crate::account::AccountArgs;
use crate::check::CheckArgs;
use crate::command_error::CommandError;
use crate::decode::DecodeArgs;
use crate::export::ExportArgs;
use crate::folders::FoldersArgs;
use crate::local::list::ListArgs;
use crate::local::search::SearchArgs;
use crate::local::show::ShowArgs;
use crate::options::OutputOptions;
use crate::output::{ClosedOutput, Output};
use crate::send::{SendArgs, SendmailArgs};
use crate::serve::ServeArgs;
use crate::sync::SyncArgs;

/// Returns memory to the system when sessions end; see [`memory`]. glibc's allocator keeps a whole heap while one small
/// block at its end is in use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// IMAP and SMTP that cannot leak a password: check, sync, send and serve mail.
#[derive(Debug, Parser)]
#[command(name = "mailwire", version, about, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
URLs:
  imaps://user@host[:993]  smtps://user@host[:465]   implicit TLS
  imap://user@host[:143]   smtp://user@host[:587]    STARTTLS, required
Mailwire never falls back to cleartext.

The password comes from --password-command, MAILWIRE_PASSWORD or a prompt; never from an argument. mailwire account add
keeps it, encrypted, so that --account NAME can be used instead of a URL.

Exit codes (sysexits.h): 0 done, 64 usage, 65 data, 68 no host, 69 unavailable, 70 uncertain (a message may have been
sent: do not repeat the command blindly), 74 output, 75 try again, 76 protocol, 77 refused (authentication or security
policy), 78 configuration, 130 and 143 stopped by Ctrl-C or SIGTERM.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve submission and IMAP; by default on loopback, with a generated certificate.
    ///
    /// An account receives the mail for its name, with or without a +tag, at any domain. The server refuses mail for
    /// other names and relays nothing. A logged-in user may send with any sender address. The server acknowledges a
    /// message only when it is on disk.
    Serve(Box<ServeArgs>),
    /// Set up accounts, so that other commands need neither a URL nor a password.
    Account(Box<AccountArgs>),
    /// Test a connection stage by stage, and say what is wrong and what to try.
    Check(CheckArgs),
    /// List the folders of an account. With --into, create them in a local store, too.
    Folders(FoldersArgs),
    /// Fetch an account into a local store, and follow its changes.
    Sync(Box<SyncArgs>),
    /// List the folders of a local store, or the messages of a folder.
    List(ListArgs),
    /// Show one message of a local store.
    Show(ShowArgs),
    /// Find messages in a local store.
    Search(SearchArgs),
    /// Write the messages of a local store as Maildirs, mbox files or single files.
    Export(ExportArgs),
    /// Send a message built from options or read from standard input, or many messages from files.
    Send(Box<SendArgs>),
    /// Replace sendmail: accept its options, read a message from standard input, send it to the configured server.
    #[command(disable_help_flag = true)]
    Sendmail(SendmailArgs),
    /// Parse raw protocol bytes from standard input, and print one JSON line per event.
    Decode(DecodeArgs),
}

impl Command {
    /// Returns the output options of the command.
    fn output(&self) -> OutputOptions {
        match self {
            Self::Serve(arguments) => arguments.output,
            Self::Account(arguments) => arguments.output(),
            Self::Check(arguments) => arguments.output,
            Self::Folders(arguments) => arguments.output,
            Self::Sync(arguments) => arguments.output,
            Self::List(arguments) => arguments.output,
            Self::Show(arguments) => arguments.output,
            Self::Search(arguments) => arguments.output,
            Self::Export(arguments) => arguments.output,
            Self::Send(arguments) => arguments.output,
            Self::Sendmail(_) | Self::Decode(_) => OutputOptions::default(),
        }
    }

    /// Returns what the command does when its standard output is closed. Sending, fetching and
    /// serving don't depend on a reader of the report.
    const fn on_closed_output(&self) -> ClosedOutput {
        match self {
            Self::Check(_)
            | Self::Folders(_)
            | Self::List(_)
            | Self::Show(_)
            | Self::Search(_)
            | Self::Decode(_) => ClosedOutput::Exit,
            Self::Account(_)
            | Self::Serve(_)
            | Self::Sync(_)
            | Self::Export(_)
            | Self::Send(_)
            | Self::Sendmail(_) => ClosedOutput::Continue,
        }
    }

    fn run(&self) -> Result<process::ExitCode, CommandError> {
        let result = match self {
            Self::Serve(arguments) => serve::run(arguments, Output::from(arguments.output)),
            Self::Check(arguments) => {
                let failed = check::run(arguments)?;
                output::check_written()?;
                return Ok(failed.map_or(process::ExitCode::SUCCESS, |exit_code| {
                    process::ExitCode::from(exit_code.number())
                }));
            }
            Self::Account(arguments) => account::run(arguments).and_then(|()| output::check_written()),
            Self::Folders(arguments) => folders::run(arguments).and_then(|()| output::check_written()),
            Self::Sync(arguments) => sync::run(arguments),
            Self::List(arguments) => local::list::run(arguments).and_then(|()| output::check_written()),
            Self::Show(arguments) => local::show::run(arguments).and_then(|()| output::check_written()),
            Self::Search(arguments) => local::search::run(arguments).and_then(|()| output::check_written()),
            Self::Export(arguments) => export::run(arguments),
            Self::Send(arguments) => send::run(arguments),
            Self::Sendmail(arguments) => send::run_sendmail(arguments),
            Self::Decode(arguments) => decode::run(arguments).and_then(|()| output::check_written()),
        };
        result.map(|()| process::ExitCode::SUCCESS)
    }
}

fn main() -> process::ExitCode {
    let command = match Cli::try_parse_from(send::sendmail::program_arguments(std::env::args_os())) {
        Ok(cli) => cli.command,
        Err(error) => {
            let _ = error.print();
            // clap reports --help and --version as errors, too.
            return if error.use_stderr() {
                process::ExitCode::from(command_error::ExitCode::Usage.number())
            } else {
                process::ExitCode::SUCCESS
            };
        }
    };
    if matches!(command, Command::Serve(_)) {
        memory::return_at_once();
    }
    let output = Output::from(command.output());
    output::set_on_closed_output(command.on_closed_output());
    match command.run() {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            process::ExitCode::from(failure.exit_code.number())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn rejects_a_password_argument() {
        for arguments in [
            &["mailwire", "check", "imaps://u@h", "--password", "x"][..],
            &["mailwire", "check", "imaps://u:secret@h"],
        ] {
            assert!(Cli::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn cleartext_login_needs_both_danger_options() {
        let with =
            |more: &[&str]| Cli::try_parse_from([&["mailwire", "check", "imap://u@h"][..], more].concat());
        assert!(with(&["--danger-cleartext-login"]).is_err());
        assert!(with(&["--danger-cleartext-login", "--danger-cleartext"]).is_ok());
    }
}
