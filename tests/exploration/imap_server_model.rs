//! An independent model of an IMAP server: which response answers which command. It uses only the bytes of the
//! conversation.
//!
//! It follows RFC 9051, 2177, 4959 and 7888 and shares no code with the server. It knows where a command ends, which
//! line of the server answers it, in which state it can succeed, and what the server may offer there.

/// What a client and a server sent to each other on one channel.
#[derive(Debug, Clone)]
pub(crate) struct ServerModel {
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    secure: bool,
}

/// The result of a checked conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) state: SessionState,
    /// The number of lines of the server that were checked.
    pub(crate) lines: usize,
}

/// The session's state (RFC 9051 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum SessionState {
    NotAuthenticated,
    Authenticated,
    Selected,
    Over,
}

/// How much of a command has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CommandStage {
    /// A part of what the client sends without a request.
    Partial,
    /// Everything up to a literal of this size, which waits for its continuation request.
    AwaitsContinuation(usize),
    /// The server has requested that literal.
    Literal(usize),
    /// The whole command.
    Whole,
    /// The server has requested a line: of an exchange, or DONE.
    LineRequested,
}

/// A command that is being read.
#[derive(Debug)]
struct CommandInProgress {
    tag: String,
    verb: String,
    stage: CommandStage,
}

impl ServerModel {
    /// Creates a model of a channel with or without TLS.
    pub(crate) const fn new(secure: bool) -> Self {
        Self { from_client: Vec::new(), from_server: Vec::new(), secure }
    }

    /// The client sent more.
    pub(crate) fn client_sent(&mut self, bytes: &[u8]) {
        self.from_client.extend_from_slice(bytes);
    }

    /// The server sent more.
    pub(crate) fn server_sent(&mut self, bytes: &[u8]) {
        self.from_server.extend_from_slice(bytes);
    }

    /// Checks that every line of the server answers the command before it. If the server is `at_rest`, every command
    /// must have its reply.
    ///
    /// # Errors
    /// The first contradiction.
    pub(crate) fn check(&self, at_rest: bool) -> Result<Outcome, String> {
        let text = std::str::from_utf8(&self.from_server).map_err(|error| error.to_string())?;
        let mut reader = Reader {
            rest: &self.from_client,
            command: None,
            state: SessionState::NotAuthenticated,
            secure: self.secure,
        };
        let (mut lines, mut body) = (0, false);
        for line in text.split_inclusive("\r\n") {
            // A message is streamed: its only byte, and the end of the response.
            if std::mem::replace(&mut body, line.starts_with("* 1 FETCH")) && line != "x)\r\n" {
                return Err(format!("in the middle of a message: {line:?}"));
            }
            if body || line == "x)\r\n" {
                continue;
            }
            lines += 1;
            let line = line.strip_suffix("\r\n").ok_or_else(|| format!("not a line: {line:?}"))?;
            reader
                .line(line)
                .map_err(|fault| format!("{fault}: {line:?} in {text:?} to {}", self.shown()))?;
        }
        if at_rest {
            reader
                .check_nothing_is_owed()
                .map_err(|fault| format!("{fault}: {text:?} to {}", self.shown()))?;
        }
        Ok(Outcome { state: reader.state, lines })
    }

    fn shown(&self) -> String {
        self.from_client.escape_ascii().to_string()
    }
}

struct Reader<'h> {
    rest: &'h [u8],
    command: Option<CommandInProgress>,
    state: SessionState,
    secure: bool,
}

impl Reader<'_> {
    /// Checks a line of the server.
    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split(' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let leaves = self.command.as_ref().is_some_and(|command| command.verb == "LOGOUT");
        if self.state == SessionState::Over && !(leaves && second == "OK") {
            return Err("a response after BYE".to_owned());
        }
        match (first, second) {
            ("*", "BYE") => {
                self.read();
                self.state = SessionState::Over;
                Ok(())
            }
            ("+", _) => self.continuation(),
            // The server answers a command without a tag with `* BAD`.
            ("*", "BAD") => self.tagged_response("*", second),
            ("*", _) => self.check_capabilities(line),
            _ => {
                self.tagged_response(first, second)?;
                self.check_capabilities(line)
            }
        }
    }

    /// Reads the next command as far as it has arrived.
    fn read(&mut self) {
        // An empty line between commands is no command: the server ignores it.
        while self.command.is_none()
            && let Some(rest) = self.rest.strip_prefix(b"\r\n")
        {
            self.rest = rest;
        }
        if self.command.is_none() {
            let line: Vec<u8> =
                self.rest.iter().copied().take_while(|byte| !b"\r\n".contains(byte)).collect();
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split(' ').map(str::to_owned);
            let tag = words.next().unwrap_or_default();
            let verb = words.next().unwrap_or_default().to_uppercase();
            let is_tag = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(&byte);
            let tag = if !tag.is_empty() && tag.bytes().all(is_tag) { tag } else { "*".to_owned() };
            self.command = Some(CommandInProgress { tag, verb, stage: CommandStage::Partial });
        }
        if let Some(command) = &mut self.command
            && let CommandStage::Literal(size) = command.stage
            && let Some(rest) = self.rest.get(size..)
        {
            self.rest = rest;
            command.stage = CommandStage::Partial;
        }
        while let Some(command) = &mut self.command
            && command.stage == CommandStage::Partial
            && let Some(end) = self.rest.windows(2).position(|two| two == b"\r\n")
        {
            let (line, rest) = (&self.rest[..end], &self.rest[end + 2..]);
            match announced(line) {
                Some((size, true)) => match rest.get(size..) {
                    Some(rest) => self.rest = rest,
                    None => return,
                },
                Some((size, false)) => {
                    self.rest = rest;
                    command.stage = CommandStage::AwaitsContinuation(size);
                }
                None => {
                    self.rest = rest;
                    command.stage = CommandStage::Whole;
                }
            }
        }
    }

    /// Reads the requested line.
    fn read_asked(&mut self) {
        let asked = self.command.as_mut().filter(|command| command.stage == CommandStage::LineRequested);
        if let Some(command) = asked
            && let Some(end) = self.rest.windows(2).position(|two| two == b"\r\n")
        {
            if command.verb == "IDLE" && !self.rest[..end].eq_ignore_ascii_case(b"DONE") {
                // No reply can follow.
                return;
            }
            self.rest = &self.rest[end + 2..];
            command.stage = CommandStage::Whole;
        }
    }

    /// Handles a continuation request.
    fn continuation(&mut self) -> Result<(), String> {
        self.read();
        self.read_asked();
        let Some(command) = &mut self.command else {
            return Err("a continuation request without a command".to_owned());
        };
        if !may_succeed(&command.verb, self.state, self.secure) {
            return Err(format!("{} is continued in {:?}", command.verb, self.state));
        }
        match (command.verb.as_str(), &command.stage) {
            (_, CommandStage::AwaitsContinuation(size)) => command.stage = CommandStage::Literal(*size),
            ("AUTHENTICATE" | "IDLE", CommandStage::Whole) => command.stage = CommandStage::LineRequested,
            _ => return Err("no command waits for a continuation".to_owned()),
        }
        Ok(())
    }

    /// Handles a tagged line.
    fn tagged_response(&mut self, tag: &str, condition: &str) -> Result<(), String> {
        self.read();
        self.read_asked();
        let command = self.command.take().ok_or("a response without a command")?;
        if command.tag != tag {
            return Err(format!("a response to {tag}, and {} is in progress", command.tag));
        }
        let refused = matches!(command.stage, CommandStage::AwaitsContinuation(_))
            && ["NO", "BAD"].contains(&condition);
        if command.stage != CommandStage::Whole && !refused {
            return Err(format!("a response to a command that is {:?}", command.stage));
        }
        match condition {
            "OK" if !may_succeed(&command.verb, self.state, self.secure) => {
                return Err(format!("{} succeeds in {:?}", command.verb, self.state));
            }
            "OK" | "NO" | "BAD" => {}
            _ => return Err("neither OK nor NO nor BAD".to_owned()),
        }
        self.state = match (command.verb.as_str(), condition) {
            ("LOGIN" | "AUTHENTICATE", "OK") => SessionState::Authenticated,
            ("SELECT" | "EXAMINE", "OK") => SessionState::Selected,
            ("SELECT" | "EXAMINE", "NO") if self.state == SessionState::Selected => {
                SessionState::Authenticated
            }
            ("CLOSE" | "UNSELECT", "OK") => SessionState::Authenticated,
            ("LOGOUT", "OK") if self.state != SessionState::Over => {
                return Err("LOGOUT without BYE".to_owned());
            }
            _ => self.state,
        };
        Ok(())
    }

    /// Checks that the server offers only what it supports in this state.
    fn check_capabilities(&self, line: &str) -> Result<(), String> {
        let list = line.split_once("[CAPABILITY ").or_else(|| line.split_once("* CAPABILITY "));
        let Some((_, list)) = list else { return Ok(()) };
        let list = list.split(']').next().unwrap_or_default();
        let has = |name: &str| list.split(' ').any(|word| word.starts_with(name));
        let before_login = self.state == SessionState::NotAuthenticated;
        let offers_login = has("AUTH=") || has("SASL-IR");
        let (offers_starttls, disables_login) = (has("STARTTLS"), has("LOGINDISABLED"));
        if offers_login != (before_login && self.secure) {
            return Err("mechanisms must be offered under TLS before the login, and only there".to_owned());
        }
        if offers_starttls != (before_login && !self.secure) || disables_login != offers_starttls {
            return Err("STARTTLS and LOGINDISABLED must be offered in cleartext, and only there".to_owned());
        }
        Ok(())
    }

    /// Checks that no command lacks a reply.
    fn check_nothing_is_owed(&mut self) -> Result<(), String> {
        self.read();
        self.read_asked();
        let command = self.command.as_ref();
        match command.map(|command| &command.stage) {
            Some(CommandStage::Partial) if self.rest.is_empty() => Ok(()),
            Some(CommandStage::LineRequested)
                if self.rest.is_empty() && command.is_some_and(|command| command.verb == "IDLE") =>
            {
                Ok(())
            }
            _ if self.state == SessionState::Over => Ok(()),
            _ => Err(format!("no response to {command:?}")),
        }
    }
}

/// Returns the literal that the end of a line announces: its size, and whether it is non-synchronizing.
pub(crate) fn announced(line: &[u8]) -> Option<(usize, bool)> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('}')?;
    let (text, unasked) = text.strip_suffix('+').map_or((text, false), |text| (text, true));
    let (_, digits) = text.rsplit_once('{')?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().unwrap_or(usize::MAX), unasked))
}

/// Returns whether a command can succeed.
fn may_succeed(verb: &str, state: SessionState, secure: bool) -> bool {
    match verb {
        "CAPABILITY" | "NOOP" | "ID" | "LOGOUT" => true,
        "STARTTLS" => state == SessionState::NotAuthenticated && !secure,
        "LOGIN" | "AUTHENTICATE" => state == SessionState::NotAuthenticated && secure,
        "SELECT" | "EXAMINE" | "LIST" | "ENABLE" | "APPEND" | "IDLE" => {
            [SessionState::Authenticated, SessionState::Selected].contains(&state)
        }
        "FETCH" | "EXPUNGE" | "CLOSE" | "UNSELECT" => state == SessionState::Selected,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from_client: &str, from_server: &str) -> Result<SessionState, String> {
        let mut model = ServerModel::new(true);
        model.client_sent(from_client.as_bytes());
        model.server_sent(from_server.as_bytes());
        model.check(true).map(|outcome| outcome.state)
    }

    #[track_caller]
    fn refused(from_client: &str, from_server: &str, fault: &str) {
        let found = check(from_client, from_server).unwrap_err();
        assert!(found.contains(fault), "{found}");
    }

    const LOGIN: &str = "a LOGIN x x\r\n";

    #[test]
    fn each_response_answers_its_command() {
        assert_eq!(check(LOGIN, "a OK [CAPABILITY IMAP4rev1] x\r\n"), Ok(SessionState::Authenticated));
        assert_eq!(check("a NOOP\r\nb NOOP\r\n", "a OK x\r\nb OK x\r\n"), Ok(SessionState::NotAuthenticated));
        refused("a NOOP\r\nb NOOP\r\n", "b OK x\r\na OK x\r\n", "a is in progress");
        refused("a NOOP\r\n", "a OK x\r\na OK x\r\n", "a response to");
        refused("a NOOP\r\n", "", "no response");
        assert_eq!(check("\r\n\r\na NOOP\r\n\r\n", "a OK x\r\n"), Ok(SessionState::NotAuthenticated));
        refused("\r\n", "* BAD x\r\n", "that is Partial");
        refused("a NOOP", "a OK x\r\n", "that is Partial");
        refused("a SELECT x\r\n", "a OK x\r\n", "SELECT succeeds in NotAuthenticated");
        refused("a LOGOUT\r\n", "a OK x\r\n", "without BYE");
        refused("a NOOP\r\n", "* BYE x\r\na OK x\r\n", "after BYE");
        refused("a CAPABILITY\r\n", "* CAPABILITY STARTTLS LOGINDISABLED\r\na OK x\r\n", "mechanisms must");
    }

    #[test]
    fn requests_each_literal_and_line_once() {
        let from_server = "+ x\r\n+ x\r\na OK x\r\n";
        assert_eq!(check("a LOGIN {1}\r\nx {1}\r\nx\r\n", from_server), Ok(SessionState::Authenticated));
        refused("a LOGIN {1}\r\n", "a OK x\r\n", "that is AwaitsContinuation");
        assert_eq!(check("a LOGIN {1}\r\n", "a NO x\r\n"), Ok(SessionState::NotAuthenticated));
        refused("a LOGIN {1+}\r\nx x\r\n", "+ x\r\na OK x\r\n", "no command waits");
        refused("a LOGIN {1+}\r\nx x\r\n", "", "no response");
        let sasl = "a AUTHENTICATE PLAIN\r\nAHgAeA==\r\n";
        assert_eq!(check(sasl, "+ \r\na OK x\r\n"), Ok(SessionState::Authenticated));
        refused(sasl, "+ \r\n+ \r\na OK x\r\n", "that is LineRequested");
        let idle = [LOGIN, "b IDLE\r\nDONE\r\n"].concat();
        assert_eq!(check(&idle, "a OK x\r\n+ x\r\nb OK x\r\n"), Ok(SessionState::Authenticated));
        let idle = [LOGIN, "b IDLE\r\nNOOP\r\n"].concat();
        refused(&idle, "a OK x\r\n+ x\r\nb OK x\r\n", "that is LineRequested");
    }
}
