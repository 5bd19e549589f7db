//! File names for the levels of a folder's name.
//!
//! A folder's name comes from a server. A name here never leaves its directory, never hides a file, has no character that a
//! file system or shell treats specially, and differs for folders that differ.

use sha2::{Digest, Sha256};

/// The longest file name, in bytes. File systems allow 255, and a format adds a few.
const MAX_BYTES: usize = 200;

/// How many bytes of a longer name are kept before its digest.
const KEPT_BYTES: usize = 120;

/// The directories of a Maildir, which no folder may be named.
const RESERVED: [&str; 3] = ["cur", "new", "tmp"];

/// Returns the file names of the levels of a folder's name.
pub(super) fn levels(name: &str) -> Vec<String> {
    name.split('/').map(level).collect()
}

/// Returns the file name of one level: letters and digits of any script, spaces and some punctuation stay, and `%` and
/// two hexadecimal digits replace every other byte.
fn level(name: &str) -> String {
    let is_reserved = RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name));
    let mut escaped = String::new();
    for (at, char) in name.chars().enumerate() {
        let is_plain =
            char.is_alphanumeric() || matches!(char, '-' | '_' | '+' | '@' | ',' | '(' | ')' | '=');
        let is_inner = matches!(char, '.' | ' ') && at > 0 && at + 1 < name.chars().count();
        if (is_plain || is_inner) && !(at == 0 && is_reserved) {
            escaped.push(char);
        } else {
            let mut bytes = [0; 4];
            for byte in char.encode_utf8(&mut bytes).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    if escaped.is_empty() {
        return "%".to_owned();
    }
    if escaped.len() <= MAX_BYTES {
        return escaped;
    }
    let mut end = KEPT_BYTES;
    while !escaped.is_char_boundary(end) {
        end -= 1;
    }
    let digest = Sha256::digest(name.as_bytes());
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}%~{digest}", escaped.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_folder_name_leaves_the_directory_or_hides_a_file() {
        for (name, file) in [
            ("INBOX", "INBOX"),
            ("..", "%2E%2E"),
            (".", "%2E"),
            (".hidden", "%2Ehidden"),
            ("a.b c", "a.b c"),
            ("end.", "end%2E"),
            ("", "%"),
            ("a\\b", "a%5Cb"),
            ("c:", "c%3A"),
            ("%41", "%2541"),
            ("Cur", "%43ur"),
            ("Entwürfe 2026", "Entwürfe 2026"),
            ("a\u{202e}b\x1b", "a%E2%80%AEb%1B"),
            ("-rf", "-rf"),
        ] {
            assert_eq!(level(name), file, "{name:?}");
        }
        assert_eq!(levels("../../etc/passwd"), ["%2E%2E", "%2E%2E", "etc", "passwd"]);
        assert_eq!(levels("/a//b"), ["%", "a", "%", "b"]);
    }

    #[test]
    fn long_names_stay_short_and_different() {
        let names: Vec<String> =
            ["x", "ü", "\u{1f600}"].iter().flat_map(|char| [char.repeat(900), char.repeat(901)]).collect();
        let files: BTreeSet<String> = names.iter().map(|name| level(name)).collect();
        assert_eq!(files.len(), names.len());
        assert!(files.iter().all(|file| file.len() <= MAX_BYTES));
    }
}
