//! `export`: writes the messages of a local store as Maildirs, mbox files or single files.
//!
//! Every name is derived from the folder and the UID, and each file is written under a temporary name first. The command
//! can therefore be repeated or killed at any time: it writes what is missing, and nothing twice. Messages are copied in
//! pieces. The names of folders come from a server: see [`file_names`].

mod eml;
mod file_names;
mod keyword_letters;
mod maildir;
mod mbox;
mod output_file;
mod source;
mod status_fields;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mailstore::Store;

use crate::command_error::{CommandError, ExitCode};
use crate::interrupt::Interrupt;
use crate::local::store_options::StoreOptions;
use crate::options::OutputOptions;
use crate::output::Output;
use source::{Exported, Source};

/// The arguments of `mailwire export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The format.
    #[arg(value_enum, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// The directory to write to. It is created if needed.
    #[arg(value_name = "DIR")]
    pub(crate) into: PathBuf,
    /// Export only this folder. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) folder: Vec<String>,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// A format to export to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A Maildir for each folder. The flags are in the file names, and the names of keywords in dovecot-keywords.
    Maildir,
    /// An mbox file for each folder (mboxrd: `>From ` is quoted). The flags are in Status and X-Status.
    Mbox,
    /// A directory for each folder, with an .eml file for each message. Flags are in Status, X-Status and X-Keywords.
    Eml,
}

/// Runs the command.
pub(crate) fn run(arguments: &ExportArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let local = arguments.store.open()?;
    let interrupt = Interrupt::install()?;
    let _graceful = interrupt.graceful();
    output_file::create_directory(&arguments.into)?;
    let mut failed = 0;
    for folder in local.named_folders(&arguments.folder)? {
        let levels = file_names::levels(&folder.name);
        let validity = local.store.status(folder.id)?.uid_validity;
        let source = Source { store: &local.store, mailbox: folder.id, validity, interrupt: &interrupt };
        let exported = match arguments.format {
            Format::Maildir => maildir::export(&source, &arguments.into, &levels)?,
            Format::Mbox => mbox::export(&source, &arguments.into, &levels)?,
            Format::Eml => eml::export(&source, &arguments.into, &levels)?,
        };
        let Exported { written, present, failed: unread } = exported;
        failed += unread;
        output.json(&serde_json::json!({
            "folder": folder.name, "written": written, "present": present, "failed": unread,
        }));
        output.line(format!("{}: {written} written, {present} already there", folder.name));
    }
    if failed > 0 {
        let what = format!("{failed} messages could not be read from the store");
        return Err(CommandError::new(ExitCode::Data, what).advise("sync the account again"));
    }
    Ok(())
}
