//! Checks the vocabulary of the whole tree: comments, documentation, texts and scripts name the actor (the client, the
//! server, the driver, the caller, the peer) and count bytes.
//!
//! Words of the list are allowed only in the lines of [`ALLOWED`], which quote an RFC or show a user name.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the tree must fail")]

use std::fs;
use std::path::{Path, PathBuf};

/// Words that leave the actor open, and a unit that only RFCs use here.
const WORDS: [&str; 5] = ["somebody", "nobody", "whoever", "octet", "octets"];

/// Files that are data: inputs of fuzz targets, lock files, and patches of other files.
const DATA: [&str; 4] = ["tests/corpus/", "fuzz/corpus/", "Cargo.lock", ".patch"];

/// A line that may hold a word of the list: the end of the file's path, a part of the line, and the reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("tests/vocabulary/main.rs", "", "the list itself"),
    ("", "octet-stream", "the media type application/octet-stream"),
    ("", "i;octet", "a comparator of RFC 4790"),
    ("", "sub-octet", "the name of a TLS alert or an ASN.1 type"),
    ("", ".octets()", "the standard library's name for the bytes of an IP address"),
    ("mailwire/src/decode/imap_append.rs", "\"octets\"", "a stable key of the decode command"),
    ("mailwire/src/decode/imap_command.rs", "\"octets\"", "a stable key of the decode command"),
    ("mailwire/src/decode/imap_response.rs", "\"octets\"", "a stable key of the decode command"),
    ("mailwire/src/decode/smtp.rs", "octets", "a stable key and text of the decode command"),
    ("", "i;octet", "a collation of RFC 4790"),
    ("mailserver/src/imap/language.rs", "*octet*", "a pattern for the collation i;octet"),
    ("proto-imap/src/sort_order/collation.rs", "Octet", "the collation i;octet"),
    ("proto-imap/src/search_query/terms.rs", "Collation::Octet", "the collation i;octet"),
    ("mailmime/src/structure.rs", "body-fld-octets", "the grammar of RFC 9051"),
    ("mailstore/src/sqlite/messages.rs", "octet_length", "a function of SQLite"),
    ("proto-imap/src/grammar/string/parse.rs", "*OCTET", "the grammar of RFC 9051"),
    ("proto-imap/tests/data/quirks.jsonl", "OCTET-STREAM", "the media type application/octet-stream"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file below a folder, by its path from the root.
fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || ["target", "node_modules", "__pycache__"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            found.push(path);
        }
    }
}

/// The words of the list in a line. Parts of identifiers count as words.
fn words(line: &str) -> impl Iterator<Item = &'static str> {
    let line = line.to_ascii_lowercase();
    WORDS.into_iter().filter(move |word| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            ![before, after].into_iter().flatten().any(|char| char.is_ascii_alphabetic())
        })
    })
}

fn is_allowed(path: &str, line: &str) -> bool {
    ALLOWED.iter().any(|(file, part, _)| path.ends_with(file) && line.contains(part))
}

#[test]
fn the_tree_names_actors_and_counts_bytes() {
    let mut paths = Vec::new();
    files(&root(), &mut paths);
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if DATA.iter().any(|part| path.contains(part)) {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in words(line).filter(|_| !is_allowed(&path, line)) {
                found.push(format!("{path}:{}: {word}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{} lines, such as {:#?}", found.len(), &found[..found.len().min(40)]);
}

#[test]
fn finds_words_and_parts_of_identifiers() {
    let found = |line| words(line).collect::<Vec<_>>();
    assert_eq!(found("Nobody's reply"), ["nobody"]);
    assert_eq!(found("fn an_octet_is_lost()"), ["octet"]);
    assert_eq!(found("busybody octettes"), [""; 0]);
}
