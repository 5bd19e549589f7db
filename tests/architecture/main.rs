//! The arrows of the architecture: which crate may name which, and no import circle between the files of a crate.

#![allow(clippy::panic, reason = "a test harness")]

mod archives;
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use modules::{Crate, circles};

/// A crate: its folder, its name in paths, and the crates of this workspace that it may name.
struct Allowed {
    folder: &'static str,
    name: &'static str,
    crates: &'static [&'static str],
}

/// Arrows between crates point down only.
const CRATES: &[Allowed] = &[
    Allowed { folder: "proto-mail", name: "proto_mail", crates: &[] },
    Allowed { folder: "mailmime", name: "mailmime", crates: &[] },
    Allowed { folder: "proto-imap", name: "proto_imap", crates: &["proto_mail"] },
    Allowed { folder: "proto-smtp", name: "proto_smtp", crates: &["proto_mail"] },
    Allowed { folder: "mailstore", name: "mailstore", crates: &["proto_mail", "mailmime"] },
    Allowed { folder: "io-common", name: "io_common", crates: &["proto_mail", "proto_imap", "proto_smtp"] },
    Allowed {
        folder: "io-mio",
        name: "io_mio",
        crates: &["proto_mail", "proto_imap", "proto_smtp", "io_common"],
    },
    Allowed {
        folder: "mailclient",
        name: "mailclient",
        crates: &[
            "proto_mail",
            "proto_imap",
            "proto_smtp",
            "mailmime",
            "mailstore",
            "io_common",
            "io_mio",
            "io_tokio",
        ],
    },
    Allowed {
        folder: "mailserver",
        name: "mailserver",
        crates: &[
            "proto_mail",
            "proto_imap",
            "proto_smtp",
            "mailmime",
            "mailstore",
            "io_common",
            "io_mio",
            "io_tokio",
        ],
    },
    Allowed {
        folder: "mailtest",
        name: "mailtest",
        crates: &["proto_mail", "mailmime", "mailstore", "io_common", "mailserver"],
    },
    Allowed {
        folder: "io-tokio",
        name: "io_tokio",
        crates: &["proto_mail", "proto_imap", "proto_smtp", "io_common"],
    },
    Allowed { folder: "mailwire-http", name: "mailwire_http", crates: &["io_common", "mailserver"] },
    Allowed {
        folder: "mailwire",
        name: "mailwire",
        crates: &[
            "mailwire_http",
            "mailclient",
            "mailserver",
            "proto_mail",
            "proto_imap",
            "proto_smtp",
            "mailmime",
            "mailstore",
            "io_common",
            "io_mio",
        ],
    },
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(folder: &str) -> Crate {
    let source = workspace().join(folder).join("src");
    let root = ["lib.rs", "main.rs"].into_iter().find(|root| source.join(root).is_file());
    let root = root.unwrap_or_else(|| panic!("{folder} has no root file"));
    Crate::read(Path::new(root), &|file| std::fs::read_to_string(source.join(file)).ok())
}

#[test]
fn crates_name_only_crates_below_them() {
    let all: BTreeSet<_> = CRATES.iter().map(|one| one.name).collect();
    for one in CRATES {
        for segment in read(one.folder).first_segments() {
            let is_allowed = segment == one.name || one.crates.contains(&&*segment);
            assert!(!all.contains(&*segment) || is_allowed, "{} must not name {segment}", one.folder);
        }
    }
}

#[test]
fn files_have_no_import_circle() {
    let mut found = Vec::new();
    for one in CRATES {
        let circles = circles(&read(one.folder).graph());
        found.extend(circles.into_iter().map(|circle| (one.folder, circle)));
    }
    assert!(found.is_empty(), "files that import each other: {found:?}");
}

/// Reads a crate whose files are given as text.
fn given(files: &[(&'static str, &'static str)]) -> Crate {
    let files: BTreeMap<_, _> = files.iter().map(|(file, text)| (Path::new(*file), *text)).collect();
    Crate::read(Path::new("lib.rs"), &|file| files.get(file).map(|text| (*text).to_owned()))
}

#[test]
fn finds_a_circle() {
    let found = circles(
        &given(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; struct A;"),
            ("b/mod.rs", "mod inner; struct B(inner::Inner);"),
            ("b/inner.rs", "fn f() -> crate::c::C { todo() }"),
            ("c.rs", "pub struct C; mod inline { use super::super::a::{self as other, A}; }"),
        ])
        .graph(),
    );
    assert_eq!(found, [["a.rs", "b/inner.rs", "b/mod.rs", "c.rs"].map(PathBuf::from)]);
}

#[test]
fn follows_imports_to_the_defining_file() {
    let found = circles(
        &given(&[
            ("lib.rs", "mod a; mod b; pub use a::A as Renamed;"),
            ("a.rs", "pub struct A;"),
            ("b.rs", "use crate::Renamed;"),
        ])
        .graph(),
    );
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn ignores_tests_and_declarations() {
    let found = circles(
        &given(&[
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
            ("a.rs", "use crate::b::B; #[cfg(test)] mod tests { use super::*; }"),
            ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a; }"),
        ])
        .graph(),
    );
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn sees_the_crates_that_are_named() {
    let named = given(&[("lib.rs", "mod a;"), ("a.rs", "fn f() { other::g(); } use third::{h, i::j};")]);
    let named = named.first_segments();
    assert!(named.contains("other") && named.contains("third"));
}
