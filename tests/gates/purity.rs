//! The protocol crates use no I/O, clock or thread, and only one place in the workspace creates `Secure`.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a file, without its comments and its tests.
fn program(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The code that is compiled without the feature `std`, and the names of the modules that need it.
fn without_std_feature(program: &str) -> (String, Vec<String>) {
    let (mut kept, mut modules) = (String::new(), Vec::new());
    let mut lines = program.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(feature = \"std\")]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let mut depth = 0;
        for line in lines.by_ref() {
            let words: Vec<&str> = line.split([' ', ';']).filter(|word| !word.is_empty()).collect();
            if let [.., "mod", name] = words[..] {
                modules.push(name.to_owned());
            }
            depth += line.matches('{').count();
            depth -= line.matches('}').count();
            if depth == 0 && line.trim_end().ends_with([';', '}', ',']) {
                break;
            }
        }
    }
    (kept, modules)
}

#[test]
fn protocol_crates_use_no_std_no_unsafe_and_no_io() {
    for name in ["proto-mail", "proto-imap", "proto-smtp"] {
        let lib = fs::read_to_string(root().join(name).join("src/lib.rs")).unwrap();
        for line in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            assert!(lib.contains(line), "{name} lacks {line}");
        }
        let files: Vec<_> = sources(&root().join(name).join("src"))
            .into_iter()
            .map(|path| {
                let (program, modules) = without_std_feature(&program(&path));
                (path, program, modules)
            })
            .collect();
        let needs_std = |path: &Path| {
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            files.iter().any(|(_, _, modules)| modules.iter().any(|module| module == name))
        };
        for (path, program, _) in files.iter().filter(|(path, ..)| !needs_std(path)) {
            let program = program.replace("#![forbid(unsafe_code)]", "");
            for word in
                ["extern crate std", "std::", "unsafe", "Instant", "SystemTime", "TcpStream", "thread_local"]
            {
                let found = program.match_indices(word).any(|(at, _)| {
                    !program[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_')
                });
                assert!(!found, "{} says {word}", path.display());
            }
        }
    }
}

/// The crates of the workspace, by layer. A crate depends on crates of lower layers only.
const LAYERS: [&[&str]; 7] = [
    &["proto-mail", "mailmime"],
    &["proto-imap", "proto-smtp", "mailstore"],
    &["io-common"],
    &["io-mio", "io-tokio"],
    &["mailserver", "mailclient"],
    &["mailtest", "mailwire-http"],
    &["mailwire"],
];

/// Returns the folders of the crates that exist.
fn crates() -> impl Iterator<Item = &'static str> {
    LAYERS.into_iter().flatten().copied().filter(|name| root().join(name).join("Cargo.toml").is_file())
}

#[test]
fn every_crate_has_a_layer() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).unwrap();
    for member in members.trim_end_matches(']').split(", ").map(|name| name.trim_matches('"')) {
        assert!(
            matches!(member, "tests" | "tests/fixtures" | "benches") || crates().any(|name| name == member),
            "{member}"
        );
    }
}

#[test]
fn only_one_place_creates_secure() {
    let mut places = Vec::new();
    for name in crates() {
        for path in sources(&root().join(name).join("src")) {
            let count = program(&path).matches("Secure::tls(").count();
            places.extend(std::iter::repeat_n(path, count));
        }
    }
    assert_eq!(places.len(), 1, "{places:?}");
    assert!(places[0].ends_with("io-common/src/transport/tls_gate.rs"), "{places:?}");
}

/// The driver treats a channel without TLS as secure only if the listener is configured so and the peer is on this
/// machine.
#[test]
fn only_one_place_trusts_local_channels() {
    let mut places = Vec::new();
    for name in crates().filter(|name| !matches!(*name, "proto-mail" | "proto-imap" | "proto-smtp")) {
        for path in sources(&root().join(name).join("src")) {
            let text = program(&path);
            for (at, _) in text.match_indices("trusted_local(") {
                let arm = text[..at].rsplit_once("=>").map_or("", |(before, _)| before);
                let condition = arm.rsplit_once('}').map_or("", |(_, condition)| condition);
                assert!(
                    condition.contains("TrustedLocal") && condition.contains("is_local()"),
                    "{condition}"
                );
                places.push(path.clone());
            }
        }
    }
    assert_eq!(places.len(), 1, "{places:?}");
    assert!(places[0].ends_with("io-common/src/server/listener_settings.rs"), "{places:?}");
}

#[test]
fn crates_depend_only_on_lower_layers() {
    for (number, layer) in LAYERS.iter().enumerate() {
        for name in layer.iter().filter(|name| crates().any(|exists| exists == **name)) {
            let mut forbidden: Vec<_> = LAYERS[number..].iter().copied().flatten().copied().collect();
            forbidden.extend(match *name {
                "proto-mail" | "mailmime" | "proto-imap" | "proto-smtp" => {
                    &["mio", "tokio", "rustls", "rusqlite"][..]
                }
                "mailstore" => &["mio", "tokio", "rustls"],
                "io-mio" => &["tokio", "rusqlite", "mailstore", "mailmime"],
                "io-tokio" => &["mio", "rusqlite", "mailstore", "mailmime"],
                "io-common" => &["mio", "tokio", "rusqlite", "mailstore", "mailmime"],
                _ => &[],
            });
            let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
            let (dependencies, _) = manifest.split_once("[dev-dependencies]").unwrap_or((&manifest, ""));
            for line in dependencies.lines() {
                let key = line.split(['.', '=', ' ']).next().unwrap_or_default();
                let own = key == "name" || key.starts_with('"');
                assert!(own || !forbidden.contains(&key), "{name} depends on {key}");
            }
        }
    }
}
