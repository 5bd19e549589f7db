//! Single files: a directory for each folder, and an .eml file for each message. Its flags are header fields before the
//! message's own; a message without flags is exported unchanged.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use mailstore::{Columns, Flags, Message, UidSet};

use super::output_file::{OutputFile, create_levels};
use super::source::{Exported, Source};
use super::status_fields::status_fields;
use crate::command_error::CommandError;
use crate::local::mailbox_reader::{for_each_message, for_each_piece};

/// Exports a folder. A file whose flags have changed is written anew.
pub(super) fn export(source: &Source<'_>, root: &Path, levels: &[String]) -> Result<Exported, CommandError> {
    let directory = create_levels(root, levels)?;
    let mut exported = Exported::default();
    for_each_message(source.store, source.mailbox, &UidSet::all(), Columns::summary(), |message| {
        let name = format!("{}_{:010}", source.validity, message.uid);
        let path = directory.join(format!("{name}.eml"));
        let fields = fields(&message);
        if is_present(&path, &fields, message.size) {
            exported.present += 1;
            return Ok(());
        }
        let Some(body) = source.open(&message)? else {
            exported.failed += 1;
            return Ok(());
        };
        let mut file = OutputFile::create(directory.join(format!(".{name}.part")))?;
        file.write(fields.as_bytes())?;
        for_each_piece(&body, (0, body.size()), |piece| file.write(piece))?;
        file.keep(&path)?;
        exported.written += 1;
        Ok(())
    })?;
    Ok(exported)
}

fn fields(message: &Message) -> String {
    let status = if message.flags.contains(Flags::SEEN) { "Status: RO\r\n" } else { "" };
    format!("{status}{}", status_fields(&message.flags, "\r\n"))
}

/// Returns whether the file of a message is there, with these header fields.
fn is_present(path: &Path, fields: &str, size: u64) -> bool {
    let is_file = |found: &fs::Metadata| found.is_file() && found.len() == fields.len() as u64 + size;
    if !fs::symlink_metadata(path).is_ok_and(|found| is_file(&found)) {
        return false;
    }
    let mut start = vec![0; fields.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == fields.as_bytes()
}
