//! `search`: finds messages in a local store, by words or by the keys of an IMAP SEARCH.

use clap::Args;
use mailserver::search::{SearchError, find_messages};
use mailstore::{Columns, InternalDate};
use proto_imap::types::{IString, LazyList, SearchKey};

use super::mailbox_reader::for_each_message;
use super::message_line::MessageLine;
use super::store_options::StoreOptions;
use crate::command_error::{CommandError, ExitCode};
use crate::options::OutputOptions;
use crate::output::Output;

/// The arguments of `mailwire search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Find messages whose header or text has all of these words, in any case.
    #[arg(value_name = "WORD", required_unless_present = "keys")]
    pub(crate) words: Vec<String>,
    /// Find messages that match these keys of an IMAP SEARCH (RFC 9051, section 6.4.4), for example 'UNSEEN FROM ann
    /// SINCE 1-Jan-2026'.
    #[arg(long, value_name = "KEYS")]
    pub(crate) keys: Option<String>,
    /// Search only this folder. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) folder: Vec<String>,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// Runs the command.
pub(crate) fn run(arguments: &SearchArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let local = arguments.store.open()?;
    let mut keys: Vec<SearchKey<'_>> =
        arguments.words.iter().map(|word| SearchKey::Text(IString::new(word.as_bytes()))).collect();
    if let Some(text) = &arguments.keys {
        let parsed = SearchKey::parse_list(text).map_err(|error| {
            CommandError::new(ExitCode::Usage, format!("--keys: {error}"))
                .advise("write them as in IMAP, for example UNSEEN FROM ann SUBJECT \"two words\"")
        })?;
        keys.extend(parsed);
    }
    let now = InternalDate::now().seconds;
    for folder in local.named_folders(&arguments.folder)? {
        let place = (local.account.id, folder.id);
        let found =
            find_messages(&local.store, place, LazyList::new(&keys), now).map_err(|error| match error {
                SearchError::Store(error) => error.into(),
                error => CommandError::new(ExitCode::Usage, error.to_string()),
            })?;
        let columns = Columns::summary().with_envelope();
        for_each_message(&local.store, folder.id, &found.uids, columns, |message| {
            let line = MessageLine::new(&folder.name, &message);
            output.json(&line);
            output.line(format!("{}  {}", folder.name, line.text()));
            Ok(())
        })?;
        if found.unread > 0 {
            output.hint(format!("{}: {} messages could not be read", folder.name, found.unread));
        }
    }
    Ok(())
}
