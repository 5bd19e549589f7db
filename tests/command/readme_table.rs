//! Checks the table in `tests/README.md`: each test that it names exists, and each test of the listed files is in it.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every `file::name` between backticks.
fn named() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("tests/README.md")).unwrap();
    let pieces = text.split('`').skip(1).step_by(2);
    pieces
        .filter_map(|piece| piece.split_once("::"))
        .map(|(file, name)| (file.to_owned(), name.to_owned()))
        .collect()
}

/// The tests of a file: functions under `#[test]` or `#[tokio::test]`, or the names of cases in a file of interop cases.
fn tests(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|is| is == "py") {
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split_once("\", "));
        return names.map(|(name, _)| name.to_owned()).collect();
    }
    let text = text.replace("#[tokio::test", "#[test]");
    let behind = text.split("#[test]").skip(1).filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
    behind.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_test_named_in_the_table_exists() {
    let named = named();
    assert!(named.len() > 60, "only {} tests are named", named.len());
    for (file, name) in named {
        assert!(tests(&root().join(&file)).contains(&name), "{file} has no test {name}");
    }
}

#[test]
fn every_test_is_in_the_table() {
    let named = named();
    let mut missing = Vec::new();
    let mut files: Vec<String> = fs::read_dir(root().join("tests/command"))
        .unwrap()
        .map(|entry| format!("tests/command/{}", entry.unwrap().file_name().into_string().unwrap()))
        .filter(|file| !file.ends_with("readme_table.rs"))
        .collect();
    files.sort();
    for file in files {
        for test in tests(&root().join(&file)) {
            if !named.contains(&(file.clone(), test.clone())) {
                missing.push(format!("{file}::{test}"));
            }
        }
    }
    for file in ["clients", "serve", "serve_hardening"].map(|file| format!("tests/interop/cases/{file}.py")) {
        for test in tests(&root().join(&file)) {
            let is_listed =
                ["import.", "send.", "setup.", "submission."].iter().any(|area| test.starts_with(area));
            if is_listed && !named.contains(&(file.clone(), test.clone())) {
                missing.push(format!("{file}::{test}"));
            }
        }
    }
    assert!(missing.is_empty(), "not in tests/README.md: {missing:#?}");
}
