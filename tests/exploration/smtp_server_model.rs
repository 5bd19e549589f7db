//! An independent model of an SMTP server: which reply answers which command. It uses only the bytes of the
//! conversation.
//!
//! It follows RFC 5321, 2033, 3030 and 4954 and shares no code with the machines. It knows which replies a command may
//! have, and how many.

use proto_smtp::Dialect;

/// The end of a message, including the end of its last line.
const END: &[u8] = b"\r\n.\r\n";

/// What a client and a server sent to each other on one channel.
#[derive(Debug, Clone)]
pub(crate) struct ServerModel {
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    dialect: Dialect,
    greeted: bool,
}

/// What the client sends next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Command,
    Exchange,
    Message,
}

impl ServerModel {
    /// Creates a conversation that begins with a greeting.
    pub(crate) const fn greeted(dialect: Dialect) -> Self {
        Self { from_client: Vec::new(), from_server: Vec::new(), dialect, greeted: true }
    }

    /// Creates a conversation after STARTTLS.
    pub(crate) const fn under_tls(dialect: Dialect) -> Self {
        Self { from_client: Vec::new(), from_server: Vec::new(), dialect, greeted: false }
    }

    /// The client sent more.
    pub(crate) fn client_sent(&mut self, bytes: &[u8]) {
        self.from_client.extend_from_slice(bytes);
    }

    /// The server sent more.
    pub(crate) fn server_sent(&mut self, bytes: &[u8]) {
        self.from_server.extend_from_slice(bytes);
    }

    /// Checks that every reply answers the command before it. If the server is `at_rest`, every command must have its
    /// reply. Returns the number of replies.
    ///
    /// # Errors
    /// The first contradiction.
    pub(crate) fn check(&self, at_rest: bool) -> Result<usize, String> {
        self.read(at_rest).map(|(at, _)| at)
    }

    /// Describes everything that can influence what may be sent next.
    pub(crate) fn reading(&self) -> String {
        let Ok((_, reader)) = self.read(false) else { return String::new() };
        let Reader { rest, mode, accepted, .. } = reader;
        if mode == Mode::Message {
            return format!("{mode:?} {accepted:?} {}", end_marker_progress(rest));
        }
        let line = rest.strip_suffix(b"\r").unwrap_or(rest);
        // A line with a bare CR or LF stays invalid however it continues. No verb, also with the size of a chunk, is
        // longer than 16 bytes.
        let line = if is_broken(line) { b"\n" } else { line.get(..16).unwrap_or(line) };
        format!("{mode:?} {accepted:?} {} {}", line.escape_ascii(), rest.ends_with(b"\r"))
    }

    fn read(&self, at_rest: bool) -> Result<(usize, Reader<'_>), String> {
        let codes = codes(&self.from_server)?;
        let mut reader =
            Reader { rest: &self.from_client, mode: Mode::Command, accepted: None, dialect: self.dialect };
        let mut at = usize::from(self.greeted);
        while at < codes.len() {
            let (command, replies) = match reader.next() {
                Some(command) => command,
                // The server may send 421 without a command, as its last reply. It may also reject a begun line before
                // its end.
                None if at + 1 == codes.len() && codes[at] == 421 => return Ok((at, reader)),
                None if at + 1 == codes.len() && codes[at] >= 500 && !reader.rest.is_empty() => {
                    return Ok((at, reader));
                }
                None => return Err(format!("{} answers nothing: {codes:?} to {}", codes[at], self.shown())),
            };
            for _ in 0..replies {
                let Some(&code) = codes.get(at) else { break };
                if !may_answer(&command, code) {
                    return Err(format!("{code} to {command}: {codes:?} to {}", self.shown()));
                }
                reader.answered(&command, code);
                at += 1;
            }
        }
        // In LMTP, the last chunk of a message without recipients has no reply.
        while at_rest && let Some((command, replies)) = reader.next() {
            if replies > 0 {
                return Err(format!("no reply to {command}: {codes:?} to {}", self.shown()));
            }
        }
        Ok((at, reader))
    }

    fn shown(&self) -> String {
        self.from_client.escape_ascii().to_string()
    }
}

/// Returns the code of each reply, once per reply.
fn codes(from_server: &[u8]) -> Result<Vec<u16>, String> {
    let text = std::str::from_utf8(from_server).map_err(|error| error.to_string())?;
    let mut codes = Vec::new();
    for line in text.split_inclusive("\r\n") {
        let code = line.get(..3).and_then(|code| code.parse().ok());
        match (code, line.as_bytes().get(3)) {
            (Some(code), Some(b' ')) if line.ends_with("\r\n") => codes.push(code),
            (Some(_), Some(b'-')) if line.ends_with("\r\n") => {}
            _ => return Err(format!("not a line of a reply: {line:?}")),
        }
    }
    Ok(codes)
}

struct Reader<'h> {
    rest: &'h [u8],
    mode: Mode,
    /// The number of accepted recipients; `None` outside a transaction.
    accepted: Option<usize>,
    dialect: Dialect,
}

impl Reader<'_> {
    /// Returns the next command, SASL message or message, and its number of replies.
    fn next(&mut self) -> Option<(String, usize)> {
        let lmtp = self.dialect == Dialect::Lmtp;
        if self.mode == Mode::Message {
            let len = if self.rest.starts_with(b".\r\n") { 3 } else { end_of(self.rest, END)? };
            self.rest = &self.rest[len..];
            self.mode = Mode::Command;
            return Some(("message".to_owned(), if lmtp { self.accepted.unwrap_or(0) } else { 1 }));
        }
        let len = end_of(self.rest, b"\r\n")?;
        let (line, rest) = self.rest.split_at(len);
        let line = String::from_utf8_lossy(line).to_uppercase();
        let mut words = line.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default();
        if self.mode == Mode::Exchange {
            self.rest = rest;
            self.mode = Mode::Command;
            return Some(("exchange".to_owned(), 1));
        }
        let size = words.next().and_then(|size| size.parse::<usize>().ok());
        let broken = is_broken(line.trim_end_matches("\r\n").as_bytes());
        match (verb, size) {
            ("BDAT", Some(size)) if !broken => {
                self.rest = rest.get(size..)?;
                let last = words.next() == Some("LAST");
                let replies = if lmtp && last { self.accepted.unwrap_or(1) } else { 1 };
                Some((if last { "LAST" } else { "BDAT" }.to_owned(), replies))
            }
            _ => {
                self.rest = rest;
                Some((if broken { "" } else { verb }.to_owned(), 1))
            }
        }
    }

    /// Applies a reply to the state.
    fn answered(&mut self, command: &str, code: u16) {
        let yes = (200..300).contains(&code);
        match command {
            _ if code == 354 => self.mode = Mode::Message,
            _ if code == 334 => self.mode = Mode::Exchange,
            // A command that is unknown or out of order changes nothing.
            _ if [502, 503].contains(&code) => {}
            "MAIL" if yes => self.accepted = Some(0),
            "RCPT" if yes => self.accepted = self.accepted.map(|accepted| accepted + 1),
            "EHLO" | "HELO" | "LHLO" | "RSET" if yes => self.accepted = None,
            "message" | "LAST" if self.accepted.is_some_and(|accepted| accepted > 0) => self.accepted = None,
            "BDAT" | "DATA" if !yes => self.accepted = None,
            _ => {}
        }
    }
}

/// Returns whether a reply with this code can answer this command.
fn may_answer(command: &str, code: u16) -> bool {
    match code {
        400..600 => true,
        220 => command == "STARTTLS",
        221 => command == "QUIT",
        235 | 334 => ["AUTH", "exchange"].contains(&command),
        252 => command == "VRFY",
        354 => command == "DATA",
        250 => !["", "STARTTLS", "AUTH", "exchange", "DATA", "QUIT", "XYZZY", "X", "GET", "*", "."]
            .contains(&command),
        _ => false,
    }
}

/// Returns how many bytes of the end marker have arrived. A message begins at the start of a line.
fn end_marker_progress(message: &[u8]) -> usize {
    let lines = [b"\r\n", message].concat();
    (0..END.len()).rev().find(|&len| lines.ends_with(&END[..len])).unwrap_or_default()
}

/// Returns whether a line contains a bare CR or LF and is therefore no command.
fn is_broken(line: &[u8]) -> bool {
    line.contains(&b'\r') || line.contains(&b'\n')
}

/// Returns the length up to the end of the first occurrence of `part`.
fn end_of(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part).map(|at| at + part.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from_client: &str, from_server: &str) -> Result<usize, String> {
        let mut model = ServerModel::under_tls(Dialect::Smtp);
        model.client_sent(from_client.as_bytes());
        model.server_sent(from_server.as_bytes());
        model.check(true)
    }

    #[test]
    fn each_reply_answers_its_command() {
        assert_eq!(check("EHLO x\r\nDATA\r\nx\r\n.\r\n", "250-x\r\n250 x\r\n354 x\r\n250 x\r\n"), Ok(3));
        assert!(check("DATA\r\n", "250 x\r\n").unwrap_err().contains("250 to DATA"));
        assert!(check("NOOP\r\n", "250 x\r\n250 x\r\n").unwrap_err().contains("answers nothing"));
        assert!(check("NOOP\r\nNOOP\r\n", "250 x\r\n").unwrap_err().contains("no reply to NOOP"));
        assert!(check("DATA\r\nx\n.\n.\r\n", "354 x\r\n250 x\r\n250 x\r\n").unwrap_err().contains("nothing"));
        assert!(check("NOOP\nNOOP\r\n", "500 x\r\n500 x\r\n").unwrap_err().contains("answers nothing"));
    }
}
