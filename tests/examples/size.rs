//! The size of the programs that a newcomer writes first: lines as rustfmt without settings writes them, without blank lines,
//! comments and imports.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::Result;

/// The programs, with the most lines that each may have.
const PROGRAMS: &[(&str, usize)] = &[
    ("io-tokio/examples/smtp_client.rs", 20),
    ("io-tokio/examples/smtp_server.rs", 30),
    ("io-mio/examples/smtp_server.rs", 30),
    ("io-tokio/examples/imap_client.rs", 35),
    ("io-mio/examples/smtp_client.rs", 24),
    ("io-mio/examples/imap_client.rs", 30),
    ("mailserver/examples/on_tokio.rs", 22),
    ("mailserver/examples/own_storage.rs", 120),
];
/// The most lines in the body of a first test with `mailtest`.
const FIRST_TEST: usize = 6;
/// The first tests.
const FIRST_TESTS: [&str; 2] = ["welcomes_new_users", "sends_news_to_all_users"];

fn formatted(file: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let rustfmt = std::env::var_os("RUSTFMT").unwrap_or_else(|| "rustfmt".into());
    // The settings of this workspace must not make the lines longer.
    let settings = tempfile::tempdir()?;
    std::fs::write(settings.path().join("rustfmt.toml"), "")?;
    let output = Command::new(rustfmt)
        .args(["--edition", "2024", "--config-path"])
        .arg(settings.path())
        .stdin(File::open(path)?)
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The lines that count.
fn count(program: &str) -> usize {
    let mut in_import = false;
    let is_counted = |line: &&str| {
        let line = line.trim();
        in_import |= line.starts_with("use ") || line.starts_with("pub use ");
        let is_import = in_import;
        in_import &= !line.ends_with(';');
        !(is_import || line.is_empty() || line.starts_with("//"))
    };
    program.lines().filter(is_counted).count()
}

#[test]
fn first_programs_are_short() -> Result {
    for (file, limit) in PROGRAMS {
        let count = count(&formatted(file)?);
        println!("{file}: {count} of {limit} lines");
        assert!(count <= *limit, "{file} has {count} lines, and may have {limit}");
    }
    let tests = formatted("tests/examples/first_test.rs")?;
    for name in FIRST_TESTS {
        let (_, body) = tests.split_once(&format!("async fn {name}() -> Result {{\n")).ok_or("no test")?;
        let (body, _) = body.split_once("\n}\n").ok_or("no end")?;
        let count = count(body);
        println!("{name}: {count} of {FIRST_TEST} lines");
        assert!((1..=FIRST_TEST).contains(&count), "{name} has {count} lines");
    }
    Ok(())
}

#[test]
fn imports_comments_and_blank_lines_do_not_count() {
    assert_eq!(count("//! x\n\nuse a::{\n    b,\n};\n\nfn main() {\n    // y\n    b();\n}\n"), 3);
}
