//! Maildirs: one directory with `cur`, `new` and `tmp` for each folder, and those of its children in it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use mailstore::{Columns, Flags, Message, UidSet};

use super::keyword_letters::KeywordLetters;
use super::output_file::{OutputFile, create_levels};
use super::source::{Exported, Source};
use crate::command_error::CommandError;
use crate::local::mailbox_reader::{for_each_message, for_each_piece};

/// Exports a folder. A message that is there gets the name of its present flags.
pub(super) fn export(source: &Source<'_>, root: &Path, levels: &[String]) -> Result<Exported, CommandError> {
    let directory = create_levels(root, levels)?;
    for name in ["cur", "new", "tmp"] {
        create_levels(&directory, &[name.to_owned()])?;
    }
    let current = directory.join("cur");
    let present = present(&current)?;
    let mut keywords = KeywordLetters::load(&directory);
    let mut exported = Exported::default();
    for_each_message(source.store, source.mailbox, &UidSet::all(), Columns::summary(), |message| {
        let unique = unique_name(source.validity, &message);
        let name = format!("{unique}:2,{}{}", flag_letters(&message), keywords.letters(&message.flags)?);
        let path = current.join(&name);
        if let Some(old) = present.get(&unique) {
            if *old != name {
                let old = current.join(old);
                fs::rename(&old, &path).map_err(|error| CommandError::file(&old, &error))?;
            }
            exported.present += 1;
            return Ok(());
        }
        let Some(body) = source.open(&message)? else {
            exported.failed += 1;
            return Ok(());
        };
        let mut file = OutputFile::create(directory.join("tmp").join(&unique))?;
        for_each_piece(&body, (0, body.size()), |piece| file.write(piece))?;
        file.keep(&path)?;
        exported.written += 1;
        Ok(())
    })?;
    Ok(exported)
}

/// Returns the names of the files in `cur`, by their unique parts.
fn present(current: &Path) -> Result<HashMap<String, String>, CommandError> {
    let failed = |error| CommandError::file(current, &error);
    let mut present = HashMap::new();
    for entry in fs::read_dir(current).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name.to_str() {
            let unique = name.split_once(':').map_or(name, |(unique, _)| unique);
            present.insert(unique.to_owned(), name.to_owned());
        }
    }
    Ok(present)
}

/// Returns the part of the name that no other message has and that never changes.
fn unique_name(validity: u32, message: &Message) -> String {
    format!("{}.{validity}_{}.mailwire,S={}", message.internal_date.seconds, message.uid, message.size)
}

/// Returns the letters of the flags, in ASCII order.
fn flag_letters(message: &Message) -> String {
    let letters = [
        (Flags::DRAFT, 'D'),
        (Flags::FLAGGED, 'F'),
        (Flags::ANSWERED, 'R'),
        (Flags::SEEN, 'S'),
        (Flags::DELETED, 'T'),
    ];
    letters.into_iter().filter(|(flag, _)| message.flags.contains(*flag)).map(|(_, letter)| letter).collect()
}
