//! `mailwire sendmail`, which also runs when the program is called `sendmail`. Translates sendmail's options into those
//! of `mailwire send`.
//!
//! Options that have no effect on a single message (`-oem`, `-B8BITMIME`) are ignored. Options for another mode (queue,
//! daemon, test) are rejected.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};

use clap::{Args, Parser};

use super::arguments::SendArgs;
use crate::command_error::{CommandError, ExitCode};
use crate::compose::addresses_in;

/// The arguments of `mailwire sendmail`, unparsed.
#[derive(Debug, Args)]
pub(crate) struct SendmailArgs {
    /// The options of sendmail (-t -i -oi -f ADDRESS -F NAME -N DSN -R RET -V ENVID and others) and recipients.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION|ADDRESS")]
    pub(crate) arguments: Vec<OsString>,
}

/// Returns the program's arguments. If the program is called `sendmail`, inserts the subcommand and prevents clap from
/// parsing sendmail's options.
pub(crate) fn program_arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.into_iter().collect();
    let is_sendmail = arguments
        .first()
        .and_then(|program| std::path::Path::new(program).file_name())
        .is_some_and(|name| name == "sendmail");
    if is_sendmail {
        // clap does not parse what follows "--".
        arguments.splice(1..1, ["sendmail".into(), "--".into()]);
    } else if arguments.get(1).is_some_and(|word| word == "sendmail") {
        arguments.insert(2, "--".into());
    }
    arguments
}

/// Parses the arguments of `mailwire sendmail` into those of `mailwire send`.
pub(super) fn parse(given: &[OsString]) -> Result<SendArgs, CommandError> {
    #[derive(Parser)]
    struct SendCommand {
        #[command(flatten)]
        arguments: SendArgs,
    }
    match SendCommand::try_parse_from(translate(given)?) {
        Ok(command) => Ok(command.arguments),
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Err(CommandError::new(ExitCode::Usage, line.trim_start_matches("error: ").to_owned()))
        }
    }
}

/// The translation of a one-letter option.
enum Translation {
    /// A flag: the option of `send` for it, or `None` to ignore it.
    Flag(Option<&'static str>),
    /// An option with a value: the option of `send` for it, or `None` to ignore it.
    Value(Option<&'static str>),
    /// An unsupported option, and the reason.
    Rejected(&'static str),
}

fn translation(letter: char) -> Option<Translation> {
    use Translation::{Flag, Rejected, Value};
    Some(match letter {
        't' => Flag(Some("-t")),
        'i' => Flag(Some("-i")),
        // Aliases, verbose output, "me too", submission modes of sendmail.
        'n' | 'v' | 'm' | 'U' | 'G' | 'w' | 'c' | 'e' => Flag(None),
        'f' | 'r' => Value(Some("--from")),
        'F' => Value(Some("--full-name")),
        'N' => Value(Some("--notify")),
        'R' => Value(Some("--ret")),
        'V' => Value(Some("--envid")),
        'o' => Value(Some("-o")),
        'B' | 'O' | 'X' | 'h' | 'L' | 'p' | 'A' | 'M' | 'd' | 'x' => Value(None),
        'C' => Value(Some("--config")),
        'b' => Value(Some("-b")),
        'q' => Rejected("there is no queue to process: each message is sent at once"),
        'D' | 'I' | 'Q' | 'S' => Rejected("this option of sendmail is not supported"),
        _ => return None,
    })
}

fn translate(given: &[OsString]) -> Result<Vec<OsString>, CommandError> {
    let mut words: Vec<OsString> = ["mailwire send", "--as-sendmail"].map(OsString::from).into();
    let mut rest = given.iter();
    while let Some(word) = rest.next() {
        match word.to_str() {
            Some("--") => break,
            Some(text) if text.starts_with('-') && text.len() > 1 => {
                translate_cluster(text.get(1..).unwrap_or_default(), &mut rest, &mut words)?;
            }
            _ => push_recipients(word, &mut words),
        }
    }
    rest.for_each(|word| push_recipients(word, &mut words));
    Ok(words)
}

/// Translates one-letter options after one dash. The last one may take its value from the next word.
fn translate_cluster<'w>(
    cluster: &str,
    rest: &mut impl Iterator<Item = &'w OsString>,
    words: &mut Vec<OsString>,
) -> Result<(), CommandError> {
    if cluster.starts_with('-') {
        return Err(CommandError::new(ExitCode::Usage, format!("sendmail has no option -{cluster}"))
            .advise("run mailwire send --help for the options of mailwire"));
    }
    for (at, letter) in cluster.char_indices() {
        let attached = cluster.get(at + letter.len_utf8()..).unwrap_or_default();
        match translation(letter) {
            Some(Translation::Flag(option)) => words.extend(option.map(OsString::from)),
            Some(Translation::Value(option)) => {
                // -d needs no value.
                let is_complete = !attached.is_empty() || letter == 'd';
                let value = if is_complete {
                    Some(OsStr::new(attached))
                } else {
                    rest.next().map(OsString::as_os_str)
                };
                let value = value
                    .ok_or_else(|| CommandError::new(ExitCode::Usage, format!("-{letter} needs a value")))?;
                return push_option(option, value, words);
            }
            Some(Translation::Rejected(why)) => {
                return Err(CommandError::new(ExitCode::Usage, format!("-{letter}: {why}")));
            }
            None => {
                return Err(CommandError::new(ExitCode::Usage, format!("sendmail has no option -{letter}")));
            }
        }
    }
    Ok(())
}

fn push_option(option: Option<&str>, value: &OsStr, words: &mut Vec<OsString>) -> Result<(), CommandError> {
    match (option, value.to_str()) {
        (Some("-b"), Some("m")) | (None, _) => {}
        (Some("-b"), mode) => {
            return Err(CommandError::new(
                ExitCode::Usage,
                format!(
                    "-b{} is not supported: mailwire sends one message from standard input",
                    mode.unwrap_or("…")
                ),
            ));
        }
        (Some("-o"), Some("i" | "ignoredots")) => words.push("-i".into()),
        (Some("-o"), _) => {}
        // For sendmail, an empty address is the null sender.
        (Some("--from"), Some("")) => words.extend(["--from", "<>"].map(OsString::from)),
        (Some(option), _) => {
            let mut word = OsString::from(option);
            word.push("=");
            word.push(value);
            words.push(word);
        }
    }
    Ok(())
}

/// Adds a recipient, or several separated by commas.
fn push_recipients(word: &OsStr, words: &mut Vec<OsString>) {
    match word.to_str() {
        Some(text) => {
            let addresses = addresses_in(text);
            words.extend(addresses.iter().map(|address| OsString::from(format!("--to={address}"))));
        }
        None => {
            let mut recipient = OsString::from("--to=");
            recipient.push(word);
            words.push(recipient);
        }
    }
}

/// The maximum number of bytes of a line to buffer.
const MAX_LINE_PART: u64 = 64 * 1024;

/// A reader that ends at a line with a single dot, which it omits.
pub(super) struct UntilDot<R> {
    source: BufReader<R>,
    /// The current line, or a part of a long line.
    line: Vec<u8>,
    /// How many bytes of `line` were returned.
    at: usize,
    /// Whether the next part begins a line.
    is_line_start: bool,
    is_at_end: bool,
}

impl<R: Read> UntilDot<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source: BufReader::new(source),
            line: Vec::new(),
            at: 0,
            is_line_start: true,
            is_at_end: false,
        }
    }

    fn next_line(&mut self) -> io::Result<()> {
        self.line.clear();
        self.at = 0;
        self.source.by_ref().take(MAX_LINE_PART).read_until(b'\n', &mut self.line)?;
        if self.is_line_start && matches!(self.line.as_slice(), b".\n" | b".\r\n" | b".") {
            self.is_at_end = true;
            self.line.clear();
        }
        self.is_line_start = self.line.last() == Some(&b'\n');
        Ok(())
    }
}

impl<R: Read> Read for UntilDot<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.line.len() && !self.is_at_end {
            self.next_line()?;
        }
        let mut rest = self.line.get(self.at..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(words: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let translated = translate(&words).map_err(|failure| failure.what)?;
        Ok(translated.into_iter().skip(2).map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn translates_sendmail_options() {
        for (words, expected) in [
            (&["-t", "-oi", "-f", "a@x"][..], &["-t", "-i", "--from=a@x"][..]),
            (
                &["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-B8BITMIME"],
                &["--full-name=CronDaemon", "-i", "-i", "-t"],
            ),
            (
                &["-ti", "-fa@x", "b@y", "c@z,d@z"],
                &["-t", "-i", "--from=a@x", "--to=b@y", "--to=c@z", "--to=d@z"],
            ),
            (
                &["-oem", "-oi", "-f", "a@x", "--", "-b@y", "c@z"],
                &["-i", "--from=a@x", "--to=-b@y", "--to=c@z"],
            ),
            (
                &["-bm", "-r", "a@x", "-N", "never", "-R", "hdrs", "root"],
                &["--from=a@x", "--notify=never", "--ret=hdrs", "--to=root"],
            ),
            (&["-f", "", "b@y"], &["--from", "<>", "--to=b@y"]),
        ] {
            assert_eq!(translated(words).unwrap(), expected, "{words:?}");
        }
        for words in
            [&["-bs"][..], &["-bp"], &["-bd"], &["-q"], &["-q15m"], &["-f"], &["-Z"], &["--subject", "x"]]
        {
            assert!(translated(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn inserts_the_subcommand_if_called_sendmail() {
        let given = |words: &[&str]| program_arguments(words.iter().map(OsString::from));
        assert_eq!(given(&["/usr/sbin/sendmail", "-t"]), ["/usr/sbin/sendmail", "sendmail", "--", "-t"]);
        assert_eq!(given(&["mailwire", "sendmail", "-t"]), ["mailwire", "sendmail", "--", "-t"]);
        assert_eq!(given(&["mailwire", "send", "-t"]), ["mailwire", "send", "-t"]);
    }

    #[test]
    fn a_line_with_a_single_dot_ends_the_input() {
        let read = |text: &str| {
            let mut read = String::new();
            UntilDot::new(text.as_bytes()).read_to_string(&mut read).unwrap();
            read
        };
        assert_eq!(read("a\n..\n. \n.\nb\n"), "a\n..\n. \n");
        assert_eq!(read("a\r\n.\r\nb"), "a\r\n");
        assert_eq!(read("a\nb"), "a\nb");
        let long = format!("{}.\nb\n", "x".repeat(64 * 1024));
        assert_eq!(read(&long), long);
    }
}
