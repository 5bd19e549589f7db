//! What a user sees: lines or JSON on standard output, progress and hints on standard error.
//!
//! What a server said goes through here, too. It can neither steer a terminal, nor forge a line of ours, nor fill the
//! screen; this file knows how that is prevented, and not what is said.
//!
//! A line that cannot be written never ends the program by itself. [`on_closed_output`] decides what a closed standard
//! output means for the command that runs; [`check_written`] reports any other failure at the end.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::classify::ServerReply;
use crate::cli;
use crate::failure::{Failure, Kind};

/// What a command does when its reader has closed standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClosedOutput {
    /// Ends at once with exit code 0: its output is all that it is for.
    End,
    /// Does its work to the end and prints nothing more.
    GoOn,
}

/// What the running command does; [`ClosedOutput::GoOn`] unless it was set.
static ON_CLOSED: AtomicBool = AtomicBool::new(false);

/// The first error of standard output that is not a closed reader.
static FAILED: OnceLock<ErrorKind> = OnceLock::new();

/// Sets what the command that runs does when standard output is closed.
pub(crate) fn on_closed_output(then: ClosedOutput) {
    ON_CLOSED.store(then == ClosedOutput::End, Ordering::Relaxed);
}

/// Notes whether a write to standard output failed.
fn written(result: std::io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            if ON_CLOSED.load(Ordering::Relaxed) {
                std::process::exit(0);
            }
        }
        Err(error) => {
            let _ = FAILED.set(error.kind());
        }
    }
}

/// Reports whether everything that was printed was written.
///
/// # Errors
/// Standard output took something less, for a reason other than a closed reader (a full disk, for instance).
pub(crate) fn check_written() -> Result<(), Failure> {
    match FAILED.get() {
        None => Ok(()),
        Some(kind) => {
            Err(Failure::new(Kind::Output, format!("standard output could not be written: {kind}")))
        }
    }
}

/// A line on standard error. It is lost where standard error cannot be written.
fn error_line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    colour: bool,
    /// Nothing is printed but what went wrong, on standard error.
    only_failures: bool,
}

impl From<cli::Output> for Output {
    fn from(arguments: cli::Output) -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::io::stdout().is_terminal();
        Self { json: arguments.json, quiet: arguments.quiet, colour, only_failures: false }
    }
}

impl Output {
    /// The same, for a program that expects no output unless something goes wrong.
    pub(crate) const fn only_failures(self) -> Self {
        Self { quiet: true, colour: false, only_failures: true, ..self }
    }

    /// Whether JSON was asked for.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// A line for people; nothing in JSON. A reader that went away is no error.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        if !self.json && !self.only_failures {
            let mut stdout = std::io::stdout().lock();
            written(writeln!(stdout, "{}", printable(text.as_ref())).and_then(|()| stdout.flush()));
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
        let mut line = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, Escaping);
        if value.serialize(&mut serializer).is_ok() {
            line.push(b'\n');
            written(stdout.write_all(&line).and_then(|()| stdout.flush()));
        }
    }

    /// A hint on standard error, unless quiet.
    pub(crate) fn hint(self, text: impl AsRef<str>) {
        if !self.quiet {
            error_line(&printable(text.as_ref()));
        }
    }

    /// A line for people behind a mark, good or bad, coloured where colour can be shown.
    pub(crate) fn marked(self, good: bool, text: impl AsRef<str>) {
        if self.only_failures {
            if !good {
                let _ = writeln!(std::io::stderr(), "mailwire: {}", printable(text.as_ref()));
            }
            return;
        }
        if !self.json {
            let mut stdout = std::io::stdout().lock();
            let line = writeln!(stdout, "{} {}", self.mark(good), printable(text.as_ref()));
            written(line.and_then(|()| stdout.flush()));
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
            self.json_always(&serde_json::json!({ "error": describe(failure) }));
        }
        error_line(&format!("mailwire: {}", printable(&failure.what)));
        if let Some(advice) = &failure.advice {
            error_line(&format!("  try: {}", printable(advice)));
        }
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

/// A failure as JSON. `code` is the exit code; `server` is what the server said, if it said anything.
pub(crate) fn describe(failure: &Failure) -> serde_json::Value {
    let mut error = serde_json::json!({
        "kind": failure.kind.word(),
        "code": failure.kind.code(),
        "what": shortened(&failure.what),
        "try": failure.advice.as_deref().map(shortened),
    });
    if let Some(object) = error.as_object_mut() {
        if let Some(server) = &failure.server {
            let server = ServerReply { text: shortened(&server.text), ..ServerReply::clone(server) };
            object.insert("server".to_owned(), serde_json::json!(server));
        }
        if let Some(place) = &failure.place {
            object.insert("host".to_owned(), place.0.clone().into());
            object.insert("port".to_owned(), place.1.into());
        }
    }
    error
}

/// The longest line that is shown, in characters: what a server says in addition is left out.
const LONGEST: usize = 2000;

/// The first [`LONGEST`] characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What a server said may hold escape sequences, ends of lines that make a line of their own of what follows, and marks
/// that turn the direction of writing. None of these reaches a terminal.
fn printable(text: &str) -> String {
    shortened(text.trim_end()).chars().map(harmless).collect()
}

fn harmless(char: char) -> char {
    match char {
        '\n' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        _ if char.is_control() || turns(char) => char::REPLACEMENT_CHARACTER,
        _ => char,
    }
}

/// Whether this is a control of the direction of writing (Unicode's `Bidi_Control`), with which text shows another order
/// than it has.
const fn turns(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON with every character escaped that a terminal could take for more than a character.
struct Escaping;

impl serde_json::ser::Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        let mut plain = 0;
        for (at, char) in fragment.char_indices() {
            if harmless(char) != char {
                writer.write_all(fragment.get(plain..at).unwrap_or_default().as_bytes())?;
                // None of them is beyond the Basic Multilingual Plane.
                write!(writer, "\\u{:04x}", u32::from(char))?;
                plain = at + char.len_utf8();
            }
        }
        writer.write_all(fragment.get(plain..).unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server may say to harm who reads it.
    const EVIL: &str = "no\u{1b}[2J\u{9b}31m\r\nok   all is well\tx\u{2028}y\u{202e}txt.exe\u{7f}";

    #[test]
    fn what_a_server_says_neither_steers_a_terminal_nor_makes_lines() {
        let shown = printable(EVIL);
        assert!(!shown.chars().any(|char| char.is_control() || turns(char)), "{shown:?}");
        assert_eq!(shown, "no\u{fffd}[2J\u{fffd}31m\u{fffd} ok   all is well x y\u{fffd}txt.exe\u{fffd}");
        assert_eq!(printable("Grüße, 世界 🎉"), "Grüße, 世界 🎉");
        assert_eq!(printable(&"x".repeat(1_000_000)).chars().count(), LONGEST + 1);
        assert_eq!(printable(&"x".repeat(LONGEST)).chars().count(), LONGEST);
    }

    #[test]
    fn json_is_the_same_value_without_what_steers_a_terminal() {
        let mut text = Vec::new();
        let value = serde_json::json!({ EVIL: [EVIL, "Grüße"] });
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Escaping)).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.chars().any(|char| char.is_control() || turns(char)), "{text:?}");
        assert!(text.contains("Grüße"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
