//! Output: lines or JSON on standard output, progress and hints on standard error.
//!
//! Text from a server is made harmless here: it cannot control the terminal, forge a line of the program, or fill the
//! screen.
//!
//! A failed write never ends the program by itself. [`set_on_closed_output`] decides what the command does when standard
//! output is closed; [`check_written`] reports any other failure at the end.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::command_error::{CommandError, ExitCode};
use crate::options::OutputOptions;
use mailclient::ServerReply;
use proto_mail::printable_char;

/// What a command does when the reader of standard output has closed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClosedOutput {
    /// Exits at once with code 0, because the output is the command's only purpose.
    Exit,
    /// Completes its work without printing anything more.
    Continue,
}

/// Whether a closed standard output ends the command.
static EXIT_ON_CLOSED: AtomicBool = AtomicBool::new(false);

/// The first error of standard output other than a closed reader.
static WRITE_ERROR: OnceLock<ErrorKind> = OnceLock::new();

/// Sets what the command does when standard output is closed. The default is [`ClosedOutput::Continue`].
pub(crate) fn set_on_closed_output(then: ClosedOutput) {
    EXIT_ON_CLOSED.store(then == ClosedOutput::Exit, Ordering::Relaxed);
}

/// Records the result of a write to standard output.
fn record_write(result: std::io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            if EXIT_ON_CLOSED.load(Ordering::Relaxed) {
                std::process::exit(0);
            }
        }
        Err(error) => {
            let _ = WRITE_ERROR.set(error.kind());
        }
    }
}

/// Checks that all output was written.
///
/// # Errors
/// A write failed for a reason other than a closed reader, such as a full disk.
pub(crate) fn check_written() -> Result<(), CommandError> {
    match WRITE_ERROR.get() {
        None => Ok(()),
        Some(kind) => {
            Err(CommandError::new(ExitCode::Output, format!("writing to standard output failed: {kind}")))
        }
    }
}

/// Writes bytes to standard output as they are. The caller has made them safe for a terminal.
pub(crate) fn write_stdout(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    record_write(stdout.write_all(bytes).and_then(|()| stdout.flush()));
}

/// Writes a line to standard error, and ignores failures.
fn write_error_line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The mark before a line for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `ok`
    Ok,
    /// `FAIL`
    Fail,
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    colour: bool,
    /// Whether to print only failures, on standard error.
    only_failures: bool,
}

impl From<OutputOptions> for Output {
    fn from(options: OutputOptions) -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::io::stdout().is_terminal();
        Self { json: options.json, quiet: options.quiet, colour, only_failures: false }
    }
}

impl Output {
    /// Prints only failures, for programs that expect no other output.
    pub(crate) const fn only_failures(self) -> Self {
        Self { quiet: true, colour: false, only_failures: true, ..self }
    }

    /// Returns whether to print JSON.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a line for people; nothing in JSON mode.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        if !self.json && !self.only_failures {
            let mut stdout = std::io::stdout().lock();
            record_write(writeln!(stdout, "{}", printable(text.as_ref())).and_then(|()| stdout.flush()));
        }
    }

    /// Prints a value for programs on one line, in JSON mode only.
    pub(crate) fn json(self, value: &impl Serialize) {
        if self.json {
            self.json_always(value);
        }
    }

    /// Prints a value for programs on one line, in any mode.
    pub(crate) fn json_always(self, value: &impl Serialize) {
        let mut stdout = std::io::stdout().lock();
        let mut line = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, EscapingFormatter);
        if value.serialize(&mut serializer).is_ok() {
            line.push(b'\n');
            record_write(stdout.write_all(&line).and_then(|()| stdout.flush()));
        }
    }

    /// Prints a hint on standard error, unless quiet.
    pub(crate) fn hint(self, text: impl AsRef<str>) {
        if !self.quiet {
            write_error_line(&printable(text.as_ref()));
        }
    }

    /// Prints a line for people after a mark, in colour if possible.
    pub(crate) fn marked(self, mark: Mark, text: impl AsRef<str>) {
        if self.only_failures {
            if mark == Mark::Fail {
                let _ = writeln!(std::io::stderr(), "mailwire: {}", printable(text.as_ref()));
            }
            return;
        }
        if !self.json {
            let mut stdout = std::io::stdout().lock();
            let line = writeln!(stdout, "{} {}", self.mark_text(mark), printable(text.as_ref()));
            record_write(line.and_then(|()| stdout.flush()));
        }
    }

    const fn mark_text(self, mark: Mark) -> &'static str {
        match (mark, self.colour) {
            (Mark::Ok, true) => "\x1b[32mok\x1b[0m  ",
            (Mark::Ok, false) => "ok  ",
            (Mark::Fail, true) => "\x1b[31mFAIL\x1b[0m",
            (Mark::Fail, false) => "FAIL",
        }
    }

    /// Prints a failure on standard error, and in JSON mode also as an object on standard output.
    pub(crate) fn failure(self, failure: &CommandError) {
        if self.json {
            self.json_always(&serde_json::json!({ "error": describe(failure) }));
        }
        write_error_line(&format!("mailwire: {}", printable(&failure.what)));
        if let Some(advice) = &failure.advice {
            write_error_line(&format!("  try: {}", printable(advice)));
        }
    }

    /// Returns a progress bar over `total` steps, on standard error. It is hidden if quiet or not on a terminal.
    pub(crate) fn progress(self, total: u64, label: &str) -> ProgressBar {
        let target = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) = ProgressStyle::with_template("{msg:24!} {bar:30} {pos}/{len} {per_sec} {eta}") {
            bar.set_style(style);
        }
        bar.set_message(printable(label));
        bar
    }
}

/// Returns a failure as JSON. `code` is the exit code; `reason` is a code that says more, if there is one; `fields` are the invalid
/// fields of an account; `server` is the server's reply, if there is one.
pub(crate) fn describe(failure: &CommandError) -> serde_json::Value {
    let mut error = serde_json::json!({
        "kind": failure.exit_code.name(),
        "code": failure.exit_code.number(),
        "what": truncate(&failure.what),
        "try": failure.advice.as_deref().map(truncate),
    });
    if let Some(object) = error.as_object_mut() {
        if let Some(reason) = failure.reason_code() {
            object.insert("reason".to_owned(), reason.into());
        }
        if let Some(fields) = &failure.fields {
            object.insert("fields".to_owned(), serde_json::json!(fields));
        }
        if let Some(server) = &failure.server {
            let server = ServerReply { text: truncate(&server.text), ..ServerReply::clone(server) };
            object.insert("server".to_owned(), serde_json::json!(server));
        }
        if let Some(host_port) = &failure.host_port {
            object.insert("host".to_owned(), host_port.0.clone().into());
            object.insert("port".to_owned(), host_port.1.into());
        }
    }
    error
}

/// The longest text to print, in characters.
const MAX_CHARS: usize = 2000;

/// Cuts a text to [`MAX_CHARS`] characters.
fn truncate(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Makes text safe for a terminal: replaces escape sequences, line ends and controls of the writing direction.
fn printable(text: &str) -> String {
    proto_mail::printable(&truncate(text.trim_end()))
}

/// A JSON formatter that escapes every character that is unsafe for a terminal.
struct EscapingFormatter;

impl serde_json::ser::Formatter for EscapingFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        let mut plain = 0;
        for (at, char) in fragment.char_indices() {
            if printable_char(char) != char {
                writer.write_all(fragment.get(plain..at).unwrap_or_default().as_bytes())?;
                // All of these are in the Basic Multilingual Plane.
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

    /// Hostile text from a server.
    const HOSTILE: &str = "no\u{1b}[2J\u{9b}31m\r\nok   all is well\tx\u{2028}y\u{202e}txt.exe\u{7f}";

    #[test]
    fn server_text_cannot_control_the_terminal_or_add_lines() {
        let shown = printable(HOSTILE);
        assert!(shown.chars().all(|char| printable_char(char) == char), "{shown:?}");
        assert_eq!(shown, "no\u{fffd}[2J\u{fffd}31m\u{fffd} ok   all is well x y\u{fffd}txt.exe\u{fffd}");
        assert_eq!(printable("Grüße, 世界 🎉"), "Grüße, 世界 🎉");
        assert_eq!(printable(&"x".repeat(1_000_000)).chars().count(), MAX_CHARS + 1);
        assert_eq!(printable(&"x".repeat(MAX_CHARS)).chars().count(), MAX_CHARS);
    }

    #[test]
    fn json_keeps_its_value_and_cannot_control_the_terminal() {
        let mut text = Vec::new();
        let value = serde_json::json!({ HOSTILE: [HOSTILE, "Grüße"] });
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, EscapingFormatter)).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.chars().all(|char| printable_char(char) == char), "{text:?}");
        assert!(text.contains("Grüße"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
