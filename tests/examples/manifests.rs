//! The `[dependencies]` of each chapter of docs/guide.md: they exist, and suffice for the chapter's examples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::Result;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// One dependency: its version and its features.
#[derive(Debug, PartialEq)]
struct Dependency {
    version: String,
    features: Vec<String>,
}

/// A chapter of the guide.
#[derive(Debug, Default)]
struct Chapter {
    title: String,
    dependencies: BTreeMap<String, Dependency>,
    /// The crates that its examples name.
    used: BTreeSet<String>,
}

/// The part of `line` between the first and the last of these characters.
fn between(line: &str, start: char, end: char) -> Option<&str> {
    let (_, rest) = line.split_once(start)?;
    Some(rest.rsplit_once(end)?.0)
}

fn dependency(line: &str) -> Option<(String, Dependency)> {
    let (name, value) = line.split_once(" = ")?;
    let version = value.split('"').nth(1)?.to_owned();
    let features = between(value, '[', ']').unwrap_or_default();
    let features = features.split(", ").filter_map(|one| between(one, '"', '"')).map(str::to_owned).collect();
    Some((name.to_owned(), Dependency { version, features }))
}

/// The crate that a line of Rust names first in `use` or in a path at its start.
fn used_crate(line: &str) -> Option<&str> {
    let name = line.strip_prefix("use ")?.split([':', ';', ' ']).next()?;
    (!["std", "core", "crate", "super"].contains(&name)).then_some(name)
}

fn chapters(guide: &str) -> Vec<Chapter> {
    let mut chapters = Vec::new();
    let (mut language, mut is_dependencies) = (None, false);
    for line in guide.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            chapters.push(Chapter { title: title.to_owned(), ..Chapter::default() });
        }
        let Some(chapter) = chapters.last_mut() else { continue };
        match (line.strip_prefix("```"), language) {
            (Some(info), None) => (language, is_dependencies) = (Some(info), false),
            (Some(_), Some(_)) => language = None,
            (None, Some("toml")) if line.starts_with('[') => {
                is_dependencies = ["[dependencies]", "[dev-dependencies]"].contains(&line);
            }
            (None, Some("toml")) if is_dependencies => chapter.dependencies.extend(dependency(line)),
            (None, Some(info)) if info.starts_with("rust") => {
                chapter.used.extend(used_crate(line).map(str::to_owned));
            }
            _ => {}
        }
    }
    chapters
}

/// Returns the version and the features of a crate of the workspace. `None`: it is another project's.
fn own_crate(name: &str) -> Option<(String, Vec<String>)> {
    let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).ok()?;
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).ok()?;
    let version =
        workspace.lines().find_map(|line| line.strip_prefix("version = "))?.trim_matches('"').to_owned();
    let (_, features) = manifest.split_once("[features]\n").unwrap_or_default();
    let features = features.lines().take_while(|line| !line.starts_with('['));
    let named = features.filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())).collect();
    Some((version, named))
}

#[test]
fn the_dependencies_of_each_chapter_exist_and_suffice() -> Result {
    let chapters = chapters(&std::fs::read_to_string(root().join("docs/guide.md"))?);
    let with_examples: Vec<_> = chapters.iter().filter(|chapter| !chapter.used.is_empty()).collect();
    assert!(with_examples.len() >= 4, "{chapters:?}");
    let mut seen = BTreeSet::new();
    for chapter in with_examples {
        for (name, dependency) in &chapter.dependencies {
            seen.insert(name.replace('-', "_"));
            let Some((version, features)) = own_crate(name) else { continue };
            assert!(version.starts_with(&dependency.version), "{}: {name} {version}", chapter.title);
            for feature in &dependency.features {
                assert!(features.contains(feature), "{}: {name} has no feature {feature}", chapter.title);
            }
        }
        // A chapter without dependencies of its own shows parts of programs from the chapters before it.
        let own: BTreeSet<_> = chapter.dependencies.keys().map(|name| name.replace('-', "_")).collect();
        let allowed = if own.is_empty() { &seen } else { &own };
        for name in &chapter.used {
            assert!(allowed.contains(name), "{}: {name} is not among its dependencies", chapter.title);
        }
    }
    Ok(())
}

#[test]
fn reads_dependencies_and_uses() {
    let guide = "## A\n```toml\n[dependencies]\n# x\na-b = { version = \"1\", features = [\"x\", \"y\"] }\nc = \"0.1\"\n\n[profile.dev]\nd = \"1\"\n```\n\
                 ```rust,no_run\nuse a_b::C;\nuse std::io;\nuse e;\n```\n";
    let chapters = chapters(guide);
    let [chapter] = chapters.as_slice() else { panic!("{chapters:?}") };
    let names: Vec<_> = chapter.dependencies.keys().map(String::as_str).collect();
    assert_eq!(names, ["a-b", "c"]);
    assert_eq!(chapter.dependencies["a-b"].features, ["x", "y"]);
    assert_eq!(chapter.used.iter().map(String::as_str).collect::<Vec<_>>(), ["a_b", "e"]);
}
