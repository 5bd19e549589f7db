//! `list`: the folders of a local store, or the messages of one folder.

use clap::Args;
use mailstore::{Columns, Store, UidSet};

use super::mailbox_reader::for_each_message;
use super::message_line::MessageLine;
use super::store_options::StoreOptions;
use crate::command_error::CommandError;
use crate::options::OutputOptions;
use crate::output::Output;

/// The arguments of `mailwire list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// List the messages of this folder. Without it, the folders are listed.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: Option<String>,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// Runs the command.
pub(crate) fn run(arguments: &ListArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let local = arguments.store.open()?;
    if let Some(name) = &arguments.folder {
        let folder = local.folder(name)?;
        let columns = Columns::summary().with_envelope();
        return for_each_message(&local.store, folder.id, &UidSet::all(), columns, |message| {
            let line = MessageLine::new(&folder.name, &message);
            output.json(&line);
            output.line(line.text());
            Ok(())
        });
    }
    for folder in local.folders()? {
        let status = local.store.status(folder.id)?;
        let special_use = folder.special_use.map(mailstore::SpecialUse::attribute);
        output.json(&serde_json::json!({
            "account": local.account.name,
            "folder": folder.name,
            "special_use": special_use,
            "subscribed": folder.subscribed,
            "messages": status.messages,
            "unseen": status.unseen,
            "size": status.size,
        }));
        let remark = special_use.map(|special_use| format!("  ({special_use})")).unwrap_or_default();
        let (messages, unseen) = (status.messages, status.unseen);
        output.line(format!("{}: {messages} messages, {unseen} unseen{remark}", folder.name));
    }
    Ok(())
}
