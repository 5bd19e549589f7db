//! Conversations as text, replayed against both roles: the client receives the server's lines and must send the client's
//! lines, and the other way round; once with each turn in one piece and once byte by byte. The machines run with bare
//! buffers, on `io-mio`, on `io-tokio`, and in a thread with blocking calls.
//!
//! A transcript is a file of lines, each with a prefix:
//!
//! ```text
//! #         a comment                        @         a setting, see `Settings`
//! C: S:     what client or server sends      --        TLS begins, or a side closes: `TLS`, `C closes`, `S closes`
//! c- s-     what its application does        c| s|     more lines of that: a message, a literal, further replies
//! c? s?     what its application receives: the next event that begins so
//! c< s<     a line of a body or message that its application receives
//! ```
//!
//! `C:*60 text` stands for sixty such lines, and `␠` for a space that an editor would remove. This file knows lines;
//! `imap` and `smtp` know the meaning of actions, and `role` how to drive a machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue must fail")]

mod clients;
mod imap;
mod peer;
mod role;
mod servers;
mod smtp;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use proto_mail::Mechanism;
use role::{Notes, Role};

/// One line of a transcript.
struct Line {
    number: usize,
    kind: String,
    text: String,
}

/// A transcript.
struct Transcript {
    path: PathBuf,
    settings: Settings,
    lines: Vec<Line>,
}

/// The settings of a conversation: `@` lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// `cleartext`: the connection begins without TLS.
    cleartext: bool,
    /// `danger`: the client may do everything without TLS.
    danger: bool,
    /// `lmtp`
    lmtp: bool,
    /// `require-authentication`
    require_authentication: bool,
    /// `no-initial-response`: the client does not send one.
    no_initial_response: bool,
    /// `mechanisms PLAIN …`, of both sides; `mechanisms` alone: none. By default, those without random values.
    mechanisms: Option<Vec<String>>,
    /// `extensions DSN …`: exactly those of an SMTP server. `smtp` knows their parameters.
    extensions: Option<Vec<String>>,
    /// `client only`, `server only`: our other role would not send this.
    only: Option<Side>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// What moves the bytes of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// `io-mio`
    Mio,
    /// `io-tokio`
    Tokio,
    /// A thread with blocking calls and `proto_mail::Driver`. It has no TLS: the upgrade happens without a handshake.
    Thread,
}

/// How the peer's bytes are split.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Whole,
    Bytes,
}

impl Side {
    /// The prefixes of this side's own lines: it sends, does, does further, receives an event, receives a line.
    const fn kinds(self) -> [&'static str; 5] {
        match self {
            Self::Client => ["C:", "c-", "c|", "c?", "c<"],
            Self::Server => ["S:", "s-", "s|", "s?", "s<"],
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl Transcript {
    fn read(path: &Path) -> Self {
        let mut transcript =
            Self { path: path.to_path_buf(), settings: Settings::default(), lines: Vec::new() };
        for (index, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
            let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
            let number = index + 1;
            match kind {
                "" | "#" => {}
                "@" => transcript.settings.set(text).unwrap_or_else(|()| {
                    panic!("{}:{number}: unknown setting {text:?}", path.display());
                }),
                _ => transcript.add(number, kind, text),
            }
        }
        transcript
    }

    fn add(&mut self, number: usize, kind: &str, text: &str) {
        let (kind, times) = kind.split_once('*').unwrap_or((kind, "1"));
        let known = [Side::Client, Side::Server].iter().any(|side| side.kinds().contains(&kind));
        assert!(known || kind == "--", "{}:{number}: unknown kind of line {kind:?}", self.path.display());
        for _ in 0..times.parse().unwrap() {
            self.lines.push(Line { number, kind: kind.into(), text: text.replace('␠', " ") });
        }
    }

    /// The action of the line's application, with all the lines that belong to it, each ended by CRLF except the
    /// last.
    fn action(&self, index: usize, more: &str) -> (String, Vec<&str>) {
        let behind = self.lines[index + 1..].iter().take_while(|line| line.kind == more);
        (self.lines[index].text.clone(), behind.map(|line| line.text.as_str()).collect())
    }

    /// Returns whether the client goes on in cleartext after a refused STARTTLS. Drivers close the connection instead.
    fn continues_in_cleartext(&self) -> bool {
        self.lines.iter().any(|line| line.text == "StartTls refused")
    }

    /// Replays the transcript against a machine that plays `side`.
    fn replay(&self, side: Side, cut: Cut, role: &mut dyn Role) -> Result<(), String> {
        let [says, does, more, sees, given] = side.kinds();
        let [heard, ..] = side.other().kinds();
        role.start();
        for (index, line) in self.lines.iter().enumerate() {
            let at =
                |why: String| format!("{}:{}: {side:?}, {cut:?}: {why}", self.path.display(), line.number);
            let kind = line.kind.as_str();
            if kind == heard {
                // Everything that the machine sent must be in the transcript before the other side continues.
                eventually(role, |notes| notes.all_said()).map_err(at)?;
                let bytes = [line.text.as_bytes(), b"\r\n"].concat();
                let goes_on = self.lines.get(index + 1).is_some_and(|next| next.kind == heard);
                role.hear(&bytes, cut, goes_on);
            } else if kind == says {
                eventually(role, |notes| notes.says(&line.text)).map_err(at)?;
            } else if kind == does {
                let (action, more) = self.action(index, more);
                role.act(&action, &more).map_err(|why| at(format!("{action:?} cannot be done: {why}")))?;
            } else if kind == sees {
                eventually(role, |notes| notes.sees(&line.text)).map_err(at)?;
            } else if kind == given {
                eventually(role, |notes| notes.given(&line.text)).map_err(at)?;
            } else if kind == "--" {
                eventually(role, |notes| notes.all_said()).map_err(at)?;
                match (line.text.as_str(), side) {
                    ("TLS", _) => role.upgrade().map_err(at)?,
                    ("C closes", Side::Server) | ("S closes", Side::Client) => role.closed(),
                    _ => {}
                }
            }
        }
        eventually(role, |notes| notes.end())
            .map_err(|why| format!("{}: {side:?}, {cut:?}: at the end: {why}", self.path.display()))
    }
}

/// Checks what has happened, until it is so or cannot become so any more.
fn eventually(role: &mut dyn Role, check: impl Fn(&mut Notes) -> Result<(), String>) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        match check(role.notes()) {
            Err(_) if role.may_change(begin.elapsed()) => {}
            result => return result,
        }
    }
}

impl Settings {
    fn set(&mut self, text: &str) -> Result<(), ()> {
        match text {
            "cleartext" => self.cleartext = true,
            "danger" => self.danger = true,
            "lmtp" => self.lmtp = true,
            "require-authentication" => self.require_authentication = true,
            "no-initial-response" => self.no_initial_response = true,
            "client only" => self.only = Some(Side::Client),
            "server only" => self.only = Some(Side::Server),
            _ => {
                let (setting, names) = match text.strip_prefix("extensions") {
                    Some(names) => (&mut self.extensions, names),
                    None => (&mut self.mechanisms, text.strip_prefix("mechanisms").ok_or(())?),
                };
                *setting = Some(names.split_whitespace().map(String::from).collect());
            }
        }
        Ok(())
    }

    /// The mechanisms of both sides.
    fn mechanisms(&self) -> proto_mail::Mechanisms {
        match &self.mechanisms {
            None => [Mechanism::OAuthBearer, Mechanism::XOAuth2, Mechanism::Plain, Mechanism::Login]
                .into_iter()
                .collect(),
            Some(names) => names.iter().map(|name| Mechanism::from_name(name.as_bytes()).unwrap()).collect(),
        }
    }
}

/// Every transcript of a protocol, in the order of their names.
fn transcripts(protocol: &str) -> Vec<Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(protocol);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Transcript::read(path)).collect()
}

/// Replays all of them against both roles and reports the first difference of each.
fn replay_all(protocol: &str, start: impl Fn(&Settings, Side) -> Box<dyn Role>) {
    let transcripts = transcripts(protocol);
    assert!(transcripts.len() >= 8, "there were more");
    let mut differences = Vec::new();
    for transcript in &transcripts {
        for side in [Side::Client, Side::Server] {
            if transcript.settings.only.is_some_and(|only| only != side) {
                continue;
            }
            for cut in [Cut::Whole, Cut::Bytes] {
                let mut role = start(&transcript.settings, side);
                differences.extend(transcript.replay(side, cut, role.as_mut()).err());
            }
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn replays_imap_transcripts() {
    replay_all("imap", imap::start);
}

#[test]
fn replays_smtp_transcripts() {
    replay_all("smtp", smtp::start);
}

/// The same conversations on every driver, over a socket: the same bytes, whatever drives the machine.
#[test]
fn replays_transcripts_on_every_driver() {
    let mut differences = Vec::new();
    for (protocol, start) in
        [("imap", imap::start_on as fn(Driver, &Settings, Side) -> Box<dyn Role>), ("smtp", smtp::start_on)]
    {
        for transcript in &transcripts(protocol) {
            for side in [Side::Client, Side::Server] {
                if transcript.settings.only.is_some_and(|only| only != side)
                    || side == Side::Client && transcript.continues_in_cleartext()
                {
                    continue;
                }
                for driver in [Driver::Mio, Driver::Tokio, Driver::Thread] {
                    for cut in [Cut::Whole, Cut::Bytes] {
                        let mut role = start(driver, &transcript.settings, side);
                        let result = transcript.replay(side, cut, role.as_mut());
                        differences.extend(result.err().map(|why| format!("{driver:?}: {why}")));
                    }
                }
            }
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

/// A wrong line is detected on a driver, too.
#[test]
fn locates_a_difference_on_a_driver() {
    let mut changed = transcripts("smtp").swap_remove(0);
    let at = changed.lines.iter().position(|line| line.kind == "C:").unwrap();
    changed.lines[at].text.push('!');
    let mut role = smtp::start_on(Driver::Tokio, &changed.settings, Side::Client);
    let difference = changed.replay(Side::Client, Cut::Whole, role.as_mut()).unwrap_err();
    assert!(difference.contains("should say"), "{difference}");
}

/// A wrong line in a transcript is detected, and so is its place.
#[test]
fn locates_a_difference() {
    for path in transcripts("imap").into_iter().map(|transcript| transcript.path) {
        let text = Transcript::read(&path);
        for (side, start) in [(Side::Client, "C:"), (Side::Server, "S:")] {
            if text.settings.only.is_some_and(|only| only != side) {
                continue;
            }
            let said: Vec<usize> = (0..text.lines.len()).filter(|at| text.lines[*at].kind == start).collect();
            for at in [said[0], said[said.len() / 2], said[said.len() - 1]] {
                let mut changed = Transcript::read(&path);
                changed.lines[at].text.push('!');
                let mut role = imap::start(&changed.settings, side);
                let difference = changed.replay(side, Cut::Whole, role.as_mut()).unwrap_err();
                let place = format!("{}:{}: ", path.display(), changed.lines[at].number);
                assert!(difference.starts_with(&place), "{place}{difference}");
            }
        }
    }
}
