//! `mailwire sendmail`, and the program called by the name `sendmail`: the options that programs which send mail have
//! always used, read as sendmail reads them, and turned into those of `mailwire send`.
//!
//! What says nothing about one message here (`-oem`, `-B8BITMIME`) is ignored. What asks for another program than one
//! that sends a message (a queue, a daemon, a test mode) is refused.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};

use clap::{Args, Parser};

use crate::cli::{Cli, Command};
use crate::failure::{Failure, Kind};

/// The arguments of `mailwire sendmail`, as they are.
#[derive(Debug, Args)]
pub(crate) struct SendmailArgs {
    /// sendmail's options: -t -i -oi -f ADDRESS -F NAME -N DSN -R RET -V ENVID and others, and recipients.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION|ADDRESS")]
    pub(crate) arguments: Vec<OsString>,
}

/// The arguments of the program: where it was called by the name `sendmail`, those of `mailwire sendmail`.
pub(crate) fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.into_iter().collect();
    let is_sendmail = arguments
        .first()
        .and_then(|program| std::path::Path::new(program).file_name())
        .is_some_and(|name| name == "sendmail");
    if is_sendmail {
        // "--" keeps every option for sendmail.
        arguments.splice(1..1, ["sendmail".into(), "--".into()]);
    } else if arguments.get(1).is_some_and(|word| word == "sendmail") {
        arguments.insert(2, "--".into());
    }
    arguments
}

/// Sends a message as sendmail does.
pub(crate) fn run(given: &[OsString]) -> Result<(), Failure> {
    let words = translate(given)?;
    let usage = |error: &clap::Error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        Failure::new(Kind::Usage, line.trim_start_matches("error: ").to_owned())
    };
    match Cli::try_parse_from(words).map_err(|error| usage(&error))?.command {
        Command::Send(arguments) => super::run(&arguments),
        _ => Err(Failure::new(Kind::Usage, "expected options of sendmail")),
    }
}

/// What an option of one letter means.
enum Meaning {
    /// It stands alone: an option of `send`, or nothing.
    Alone(Option<&'static str>),
    /// A value follows: for an option of `send`, or for nothing.
    Value(Option<&'static str>),
    /// It asks for something else.
    Refused(&'static str),
}

fn meaning(letter: char) -> Option<Meaning> {
    use Meaning::{Alone, Refused, Value};
    Some(match letter {
        't' => Alone(Some("-t")),
        'i' => Alone(Some("-i")),
        // Aliases, verbose output, "me too", submission modes of sendmail.
        'n' | 'v' | 'm' | 'U' | 'G' | 'w' | 'c' | 'e' => Alone(None),
        'f' | 'r' => Value(Some("--from")),
        'F' => Value(Some("--full-name")),
        'N' => Value(Some("--notify")),
        'R' => Value(Some("--ret")),
        'V' => Value(Some("--envid")),
        'o' => Value(Some("-o")),
        'B' | 'O' | 'X' | 'h' | 'L' | 'p' | 'A' | 'M' | 'd' | 'x' => Value(None),
        'C' => Value(Some("--config")),
        'b' => Value(Some("-b")),
        'q' => Refused("-q works off a queue: there is none, each message is sent at once"),
        'D' | 'I' | 'Q' | 'S' => Refused("this option of sendmail is not supported"),
        _ => return None,
    })
}

fn translate(given: &[OsString]) -> Result<Vec<OsString>, Failure> {
    let mut words: Vec<OsString> = ["mailwire", "send", "--as-sendmail"].map(OsString::from).into();
    let mut rest = given.iter();
    while let Some(word) = rest.next() {
        match word.to_str() {
            Some("--") => break,
            Some(text) if text.starts_with('-') && text.len() > 1 => {
                translate_cluster(text.get(1..).unwrap_or_default(), &mut rest, &mut words)?;
            }
            _ => recipient(word, &mut words),
        }
    }
    rest.for_each(|word| recipient(word, &mut words));
    Ok(words)
}

/// Options of one letter behind one dash; the last may have its value in the next word.
fn translate_cluster<'w>(
    cluster: &str,
    rest: &mut impl Iterator<Item = &'w OsString>,
    words: &mut Vec<OsString>,
) -> Result<(), Failure> {
    if cluster.starts_with('-') {
        return Err(Failure::new(Kind::Usage, format!("-{cluster} is no option of sendmail"))
            .advise("mailwire send --help for the options of mailwire"));
    }
    for (at, letter) in cluster.char_indices() {
        let behind = cluster.get(at + letter.len_utf8()..).unwrap_or_default();
        match meaning(letter) {
            Some(Meaning::Alone(option)) => words.extend(option.map(OsString::from)),
            Some(Meaning::Value(option)) => {
                // These two need no value.
                let is_whole = !behind.is_empty() || letter == 'd';
                let value =
                    if is_whole { Some(OsStr::new(behind)) } else { rest.next().map(OsString::as_os_str) };
                let value =
                    value.ok_or_else(|| Failure::new(Kind::Usage, format!("-{letter} needs a value")))?;
                return with_value(option, value, words);
            }
            Some(Meaning::Refused(why)) => {
                return Err(Failure::new(Kind::Usage, format!("-{letter}: {why}")));
            }
            None => return Err(Failure::new(Kind::Usage, format!("-{letter} is no option of sendmail"))),
        }
    }
    Ok(())
}

fn with_value(option: Option<&str>, value: &OsStr, words: &mut Vec<OsString>) -> Result<(), Failure> {
    match (option, value.to_str()) {
        (Some("-b"), Some("m")) | (None, _) => {}
        (Some("-b"), mode) => {
            return Err(Failure::new(
                Kind::Usage,
                format!(
                    "-b{} is not supported: this program sends one message from standard input",
                    mode.unwrap_or("…")
                ),
            ));
        }
        (Some("-o"), Some("i" | "ignoredots")) => words.push("-i".into()),
        (Some("-o"), _) => {}
        // sendmail takes an empty address for the empty sender.
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

/// A recipient, or several with commas between them.
fn recipient(word: &OsStr, words: &mut Vec<OsString>) {
    match word.to_str() {
        Some(text) => {
            let addresses = crate::compose::addresses_in(text);
            words.extend(addresses.iter().map(|address| OsString::from(format!("--to={address}"))));
        }
        None => {
            let mut recipient = OsString::from("--to=");
            recipient.push(word);
            words.push(recipient);
        }
    }
}

/// Ends behind a line with a single dot, and leaves that line out.
pub(super) struct UntilDot<R> {
    source: BufReader<R>,
    line: Vec<u8>,
    at: usize,
    /// The next part begins a line.
    is_fresh: bool,
    is_over: bool,
}

impl<R: Read> UntilDot<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source: BufReader::new(source), line: Vec::new(), at: 0, is_fresh: true, is_over: false }
    }

    fn next_line(&mut self) -> io::Result<()> {
        self.line.clear();
        self.at = 0;
        let most = 64 * 1024;
        self.source.by_ref().take(most).read_until(b'\n', &mut self.line)?;
        if self.is_fresh && matches!(self.line.as_slice(), b".\n" | b".\r\n" | b".") {
            self.is_over = true;
            self.line.clear();
        }
        self.is_fresh = self.line.last() == Some(&b'\n');
        Ok(())
    }
}

impl<R: Read> Read for UntilDot<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.line.len() && !self.is_over {
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
        Ok(translated.into_iter().skip(3).map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn options_of_sendmail_become_options_of_send() {
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
    fn a_program_called_sendmail_is_sendmail() {
        let given = |words: &[&str]| arguments(words.iter().map(OsString::from));
        assert_eq!(given(&["/usr/sbin/sendmail", "-t"]), ["/usr/sbin/sendmail", "sendmail", "--", "-t"]);
        assert_eq!(given(&["mailwire", "sendmail", "-t"]), ["mailwire", "sendmail", "--", "-t"]);
        assert_eq!(given(&["mailwire", "send", "-t"]), ["mailwire", "send", "-t"]);
    }

    #[test]
    fn a_line_with_a_dot_ends_the_input() {
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
