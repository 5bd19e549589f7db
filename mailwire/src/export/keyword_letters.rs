//! The letters of keywords in the file names of a Maildir, as Dovecot has them: `dovecot-keywords` has a line with the number
//! and the name of each, and number 0 is `a`.

use std::fs;
use std::path::{Path, PathBuf};

use mailstore::Flags;

use super::output_file::OutputFile;
use crate::command_error::CommandError;

/// The most keywords: one for each letter. Others are not exported.
const MAX_KEYWORDS: usize = 26;

/// The most bytes of the file that are read.
const MAX_FILE: u64 = 64 * 1024;

/// The keywords of a Maildir, each at its number. A number keeps its keyword in later exports.
pub(super) struct KeywordLetters {
    directory: PathBuf,
    names: Vec<Option<String>>,
}

impl KeywordLetters {
    /// Loads the keywords of an earlier export.
    pub(super) fn load(directory: &Path) -> Self {
        let path = directory.join("dovecot-keywords");
        let is_file = |found: &fs::Metadata| found.is_file() && found.len() <= MAX_FILE;
        let text = match fs::symlink_metadata(&path).is_ok_and(|found| is_file(&found)) {
            true => fs::read_to_string(&path).unwrap_or_default(),
            false => String::new(),
        };
        let mut names = vec![None; MAX_KEYWORDS];
        for line in text.lines() {
            let Some((number, name)) = line.split_once(' ') else { continue };
            if let Some(slot) = number.parse().ok().and_then(|number: usize| names.get_mut(number)) {
                *slot = Some(name.to_owned());
            }
        }
        Self { directory: directory.to_owned(), names }
    }

    /// Returns the letters of a message's keywords, in order. A new keyword is recorded first, so that no file name has a
    /// letter without a meaning.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn letters(&mut self, flags: &Flags) -> Result<String, CommandError> {
        let mut letters = Vec::new();
        for keyword in flags.keywords() {
            let is_same =
                |name: &Option<String>| name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(keyword));
            let number = match self.names.iter().position(is_same) {
                Some(number) => Some(number),
                None => self.add(keyword)?,
            };
            letters.extend(number.and_then(|number| (b'a'..=b'z').nth(number)));
        }
        letters.sort_unstable();
        Ok(letters.into_iter().map(char::from).collect())
    }

    fn add(&mut self, keyword: &str) -> Result<Option<usize>, CommandError> {
        let Some(number) = self.names.iter().position(Option::is_none) else { return Ok(None) };
        if let Some(slot) = self.names.get_mut(number) {
            *slot = Some(keyword.to_owned());
        }
        let mut file = OutputFile::create(self.directory.join("tmp").join("dovecot-keywords"))?;
        for (number, name) in self.names.iter().enumerate() {
            if let Some(name) = name {
                file.write(format!("{number} {name}\n").as_bytes())?;
            }
        }
        file.keep(&self.directory.join("dovecot-keywords"))?;
        Ok(Some(number))
    }
}
