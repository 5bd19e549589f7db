//! What a user sees: lines or JSON on standard output, progress and hints on standard error.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli;
use crate::failure::Failure;

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    colour: bool,
}

impl From<cli::Output> for Output {
    fn from(arguments: cli::Output) -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::io::stdout().is_terminal();
        Self { json: arguments.json, quiet: arguments.quiet, colour }
    }
}

impl Output {
    /// Whether JSON was asked for.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// A line for people; nothing in JSON. A reader that went away is no error.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        if !self.json {
            let mut stdout = std::io::stdout().lock();
            let _ = writeln!(stdout, "{}", printable(text.as_ref()));
            let _ = stdout.flush();
        }
    }

    /// A value for programs, on one line; nothing where JSON was not asked for.
    pub(crate) fn json(self, value: &impl Serialize) {
        if self.json {
            self.json_always(value);
        }
    }

    /// A value for programs, whatever was asked for.
    pub(crate) fn json_always(self, value: &impl Serialize) {
        let mut stdout = std::io::stdout().lock();
        if serde_json::to_writer(&mut stdout, value).is_ok() {
            let _ = stdout.write_all(b"\n");
            let _ = stdout.flush();
        }
    }

    /// A hint on standard error, unless quiet.
    pub(crate) fn hint(self, text: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", printable(text.as_ref()));
        }
    }

    /// A line for people behind a mark, good or bad, coloured where colour can be shown.
    pub(crate) fn marked(self, good: bool, text: impl AsRef<str>) {
        if !self.json {
            let mut stdout = std::io::stdout().lock();
            let _ = writeln!(stdout, "{} {}", self.mark(good), printable(text.as_ref()));
            let _ = stdout.flush();
        }
    }

    const fn mark(self, good: bool) -> &'static str {
        match (good, self.colour) {
            (true, true) => "\x1b[32mok\x1b[0m  ",
            (true, false) => "ok  ",
            (false, true) => "\x1b[31mFAIL\x1b[0m",
            (false, false) => "FAIL",
        }
    }

    /// A failure: on standard error for people, and as an object for programs.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            self.json_always(&serde_json::json!({
                "error": {
                    "kind": failure.kind.word(),
                    "code": failure.kind.code(),
                    "what": failure.what,
                    "try": failure.advice,
                }
            }));
        }
        eprintln!("mailwire: {}", printable(&failure.to_string()));
    }

    /// A progress bar over `total` steps, on standard error; invisible when quiet or not on a terminal.
    pub(crate) fn progress(self, total: u64, what: &str) -> ProgressBar {
        let target = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) = ProgressStyle::with_template("{msg:24!} {bar:30} {pos}/{len} {per_sec} {eta}") {
            bar.set_style(style);
        }
        bar.set_message(printable(what));
        bar
    }
}

/// What a server said may hold escape sequences: no control character but line ends and tabs reaches a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() && !matches!(char, '\n' | '\t') { '\u{fffd}' } else { char })
        .collect()
}
