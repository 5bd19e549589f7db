//! Single files: a directory for each folder, and an .eml file for each message, with its bytes unchanged.

use std::fs;
use std::path::Path;

use mailstore::{Columns, UidSet};

use super::output_file::{OutputFile, create_levels};
use super::source::{Exported, Source};
use crate::command_error::CommandError;
use crate::local::mailbox_reader::{for_each_message, for_each_piece};

/// Exports a folder.
pub(super) fn export(source: &Source<'_>, root: &Path, levels: &[String]) -> Result<Exported, CommandError> {
    let directory = create_levels(root, levels)?;
    let mut exported = Exported::default();
    for_each_message(source.store, source.mailbox, &UidSet::all(), Columns::summary(), |message| {
        let name = format!("{}_{:010}", source.validity, message.uid);
        let path = directory.join(format!("{name}.eml"));
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == message.size) {
            exported.present += 1;
            return Ok(());
        }
        let Some(body) = source.open(&message)? else {
            exported.failed += 1;
            return Ok(());
        };
        let mut file = OutputFile::create(directory.join(format!(".{name}.part")))?;
        for_each_piece(&body, (0, body.size()), |piece| file.write(piece))?;
        file.keep(&path)?;
        exported.written += 1;
        Ok(())
    })?;
    Ok(exported)
}
