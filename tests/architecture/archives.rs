//! What is published builds from its archive: a file names only files of its own crate, and files that need
//! `mailwire-fixtures`, which is not published, are not in the archive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Every Rust file of a crate, by its path in the crate.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(root, &path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                found.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), text);
            }
        }
    }
    let mut found = BTreeMap::new();
    for part in ["src", "tests", "examples", "benches"] {
        collect(folder, &folder.join(part), &mut found);
    }
    found
}

/// The files that this text includes, by their paths from the crate's root. `None` if one is outside.
fn included(file: &Path, text: &str) -> Vec<Option<PathBuf>> {
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let mut found = Vec::new();
    for start in ["#[path = \"", "include_str!(\"", "include_bytes!(\"", "include!(\""] {
        for rest in text.split(start).skip(1) {
            let named = rest.split('"').next().unwrap_or_default();
            found.push(inside(&folder.join(named)));
        }
    }
    for line in text.lines().map(|line| line.trim_start_matches("pub ").trim()) {
        let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) else { continue };
        found.extend([format!("{name}.rs"), format!("{name}/mod.rs")].map(|one| inside(&folder.join(one))));
    }
    found
}

/// Resolves `..`. Returns `None` for a path that leaves the crate.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !resolved.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            part => resolved.push(part),
        }
    }
    Some(resolved)
}

/// The `exclude` list of a manifest.
fn excluded(manifest: &str) -> Vec<PathBuf> {
    let list = manifest.lines().find_map(|line| line.strip_prefix("exclude = [")).unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(|path| PathBuf::from(path.trim_start_matches('/'))).collect()
}

/// The faults of a crate's archive.
fn faults(manifest: &str, files: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let excluded = excluded(manifest);
    let is_excluded = |path: &Path| excluded.iter().any(|one| path.starts_with(one));
    let mut faults = Vec::new();
    for (file, text) in files.iter().filter(|(file, _)| !is_excluded(file)) {
        if text.contains("mailwire_fixtures::") {
            faults.push(format!("{} uses mailwire-fixtures", file.display()));
        }
        for named in included(file, text) {
            match named {
                None => faults.push(format!("{} includes a file of another crate", file.display())),
                Some(named) if is_excluded(&named) && files.contains_key(&named) => {
                    faults.push(format!("{} includes {}", file.display(), named.display()));
                }
                Some(_) => {}
            }
        }
    }
    faults
}

#[test]
fn archives_contain_what_their_files_need() {
    for one in super::CRATES {
        let folder = super::workspace().join(one.folder);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        let files = files(&folder);
        assert!(files.len() > 3, "{} has files", one.folder);
        let faults = faults(&manifest, &files);
        assert!(faults.is_empty(), "{}: {faults:#?}", one.folder);
    }
}

#[test]
fn finds_what_an_archive_lacks() {
    let files = [
        ("src/lib.rs", "#![doc = include_str!(\"../README.md\")]\nmod a;"),
        ("tests/outside.rs", "#[path = \"../../other/tests/x.rs\"]\nmod x;"),
        ("tests/fixtures.rs", "use mailwire_fixtures::scripts;"),
        ("tests/left_out.rs", "use mailwire_fixtures::scripts; mod common;"),
        ("tests/common/mod.rs", ""),
        ("tests/needs_common.rs", "mod common;"),
    ];
    let files = files.map(|(file, text)| (PathBuf::from(file), text.to_owned())).into();
    let manifest = "[package]\nexclude = [\"/tests/left_out.rs\", \"/tests/common\"]\n";
    let found = faults(manifest, &files);
    assert_eq!(
        found,
        [
            "tests/fixtures.rs uses mailwire-fixtures",
            "tests/needs_common.rs includes tests/common/mod.rs",
            "tests/outside.rs includes a file of another crate",
        ]
    );
}
