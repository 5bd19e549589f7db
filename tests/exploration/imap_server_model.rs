//! An independent model of an IMAP server: which response answers which command. It uses only the bytes of the
//! conversation.
//!
//! It follows RFC 9051, 2177, 4959 and 7888 and shares no code with the server. It knows where a command ends, which
//! line of the server answers it, in which state it can succeed, and what the server may offer there.

/// What a client and a server sent to each other on one channel.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    heard: Vec<u8>,
    said: Vec<u8>,
    secure: bool,
}

/// The result of a checked conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) state: Standing,
    /// The number of lines of the server that were checked.
    pub(crate) lines: usize,
}

/// The session's state (RFC 9051 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Standing {
    NotAuthenticated,
    Authenticated,
    Selected,
    Over,
}

/// How much of a command has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// A part of what the client sends without a request.
    Begun,
    /// Everything up to a literal of this size, which waits for its continuation request.
    Waits(usize),
    /// The server has requested that literal.
    Literal(usize),
    /// The whole command.
    Whole,
    /// The server has requested a line: of an exchange, or DONE.
    Asked,
}

/// A command that is being read.
#[derive(Debug)]
struct Unit {
    tag: String,
    verb: String,
    stage: Stage,
}

impl Conversation {
    /// Creates a model of a channel with or without TLS.
    pub(crate) const fn new(secure: bool) -> Self {
        Self { heard: Vec::new(), said: Vec::new(), secure }
    }

    /// The client sent more.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
    }

    /// The server sent more.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
    }

    /// Checks that every line of the server answers the command before it. If the server is `at_rest`, every command
    /// must have its reply.
    ///
    /// # Errors
    /// The first contradiction.
    pub(crate) fn check(&self, at_rest: bool) -> Result<Outcome, String> {
        let text = std::str::from_utf8(&self.said).map_err(|error| error.to_string())?;
        let mut reader =
            Reader { rest: &self.heard, unit: None, state: Standing::NotAuthenticated, secure: self.secure };
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
            reader.line(line).map_err(|why| format!("{why}: {line:?} in {text:?} to {}", self.shown()))?;
        }
        if at_rest {
            reader.rests().map_err(|why| format!("{why}: {text:?} to {}", self.shown()))?;
        }
        Ok(Outcome { state: reader.state, lines })
    }

    fn shown(&self) -> String {
        self.heard.escape_ascii().to_string()
    }
}

struct Reader<'h> {
    rest: &'h [u8],
    unit: Option<Unit>,
    state: Standing,
    secure: bool,
}

impl Reader<'_> {
    /// Checks a line of the server.
    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split(' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let leaves = self.unit.as_ref().is_some_and(|unit| unit.verb == "LOGOUT");
        if self.state == Standing::Over && !(leaves && second == "OK") {
            return Err("something is said behind BYE".to_owned());
        }
        match (first, second) {
            ("*", "BYE") => {
                self.read();
                self.state = Standing::Over;
                Ok(())
            }
            ("+", _) => self.goes_on(),
            // The server answers a command without a tag with `* BAD`.
            ("*", "BAD") => self.answered("*", second),
            ("*", _) => self.offers(line),
            _ => {
                self.answered(first, second)?;
                self.offers(line)
            }
        }
    }

    /// Reads the next command as far as it has arrived.
    fn read(&mut self) {
        // An empty line between commands is no command: the server ignores it.
        while self.unit.is_none()
            && let Some(rest) = self.rest.strip_prefix(b"\r\n")
        {
            self.rest = rest;
        }
        if self.unit.is_none() {
            let line: Vec<u8> =
                self.rest.iter().copied().take_while(|byte| !b"\r\n".contains(byte)).collect();
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split(' ').map(str::to_owned);
            let tag = words.next().unwrap_or_default();
            let verb = words.next().unwrap_or_default().to_uppercase();
            let is_tag = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(&byte);
            let tag = if !tag.is_empty() && tag.bytes().all(is_tag) { tag } else { "*".to_owned() };
            self.unit = Some(Unit { tag, verb, stage: Stage::Begun });
        }
        if let Some(unit) = &mut self.unit
            && let Stage::Literal(size) = unit.stage
            && let Some(rest) = self.rest.get(size..)
        {
            self.rest = rest;
            unit.stage = Stage::Begun;
        }
        while let Some(unit) = &mut self.unit
            && unit.stage == Stage::Begun
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
                    unit.stage = Stage::Waits(size);
                }
                None => {
                    self.rest = rest;
                    unit.stage = Stage::Whole;
                }
            }
        }
    }

    /// Reads the requested line.
    fn read_asked(&mut self) {
        let asked = self.unit.as_mut().filter(|unit| unit.stage == Stage::Asked);
        if let Some(unit) = asked
            && let Some(end) = self.rest.windows(2).position(|two| two == b"\r\n")
        {
            if unit.verb == "IDLE" && !self.rest[..end].eq_ignore_ascii_case(b"DONE") {
                // No reply can follow.
                return;
            }
            self.rest = &self.rest[end + 2..];
            unit.stage = Stage::Whole;
        }
    }

    /// Handles a continuation request.
    fn goes_on(&mut self) -> Result<(), String> {
        self.read();
        self.read_asked();
        let Some(unit) = &mut self.unit else { return Err("nothing can go on".to_owned()) };
        if !may(&unit.verb, self.state, self.secure) {
            return Err(format!("{} goes on in {:?}", unit.verb, self.state));
        }
        match (unit.verb.as_str(), &unit.stage) {
            (_, Stage::Waits(size)) => unit.stage = Stage::Literal(*size),
            ("AUTHENTICATE" | "IDLE", Stage::Whole) => unit.stage = Stage::Asked,
            _ => return Err("no command waits for a continuation".to_owned()),
        }
        Ok(())
    }

    /// Handles a tagged line.
    fn answered(&mut self, tag: &str, condition: &str) -> Result<(), String> {
        self.read();
        self.read_asked();
        let unit = self.unit.take().ok_or("an answer to nothing")?;
        if unit.tag != tag {
            return Err(format!("an answer to {tag}, and {} is open", unit.tag));
        }
        let refused = matches!(unit.stage, Stage::Waits(_)) && ["NO", "BAD"].contains(&condition);
        if unit.stage != Stage::Whole && !refused {
            return Err(format!("an answer to what is {:?}", unit.stage));
        }
        match condition {
            "OK" if !may(&unit.verb, self.state, self.secure) => {
                return Err(format!("{} succeeds in {:?}", unit.verb, self.state));
            }
            "OK" | "NO" | "BAD" => {}
            _ => return Err("neither OK nor NO nor BAD".to_owned()),
        }
        self.state = match (unit.verb.as_str(), condition) {
            ("LOGIN" | "AUTHENTICATE", "OK") => Standing::Authenticated,
            ("SELECT" | "EXAMINE", "OK") => Standing::Selected,
            ("SELECT" | "EXAMINE", "NO") if self.state == Standing::Selected => Standing::Authenticated,
            ("CLOSE" | "UNSELECT", "OK") => Standing::Authenticated,
            ("LOGOUT", "OK") if self.state != Standing::Over => return Err("LOGOUT without BYE".to_owned()),
            _ => self.state,
        };
        Ok(())
    }

    /// Checks that the server offers only what it supports in this state.
    fn offers(&self, line: &str) -> Result<(), String> {
        let list = line.split_once("[CAPABILITY ").or_else(|| line.split_once("* CAPABILITY "));
        let Some((_, list)) = list else { return Ok(()) };
        let list = list.split(']').next().unwrap_or_default();
        let has = |name: &str| list.split(' ').any(|word| word.starts_with(name));
        let fresh = self.state == Standing::NotAuthenticated;
        let proofs = has("AUTH=") || has("SASL-IR");
        let (wants_tls, forbids) = (has("STARTTLS"), has("LOGINDISABLED"));
        if proofs != (fresh && self.secure) {
            return Err(
                "ways to authenticate are offered where there are none, or not where there are".to_owned()
            );
        }
        if wants_tls != (fresh && !self.secure) || forbids != wants_tls {
            return Err("STARTTLS and LOGINDISABLED belong to cleartext".to_owned());
        }
        Ok(())
    }

    /// Checks that no command lacks a reply.
    fn rests(&mut self) -> Result<(), String> {
        self.read();
        self.read_asked();
        let unit = self.unit.as_ref();
        match unit.map(|unit| &unit.stage) {
            Some(Stage::Begun) if self.rest.is_empty() => Ok(()),
            Some(Stage::Asked) if self.rest.is_empty() && unit.is_some_and(|unit| unit.verb == "IDLE") => {
                Ok(())
            }
            _ if self.state == Standing::Over => Ok(()),
            _ => Err(format!("no answer to {unit:?}")),
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
fn may(verb: &str, state: Standing, secure: bool) -> bool {
    match verb {
        "CAPABILITY" | "NOOP" | "ID" | "LOGOUT" => true,
        "STARTTLS" => state == Standing::NotAuthenticated && !secure,
        "LOGIN" | "AUTHENTICATE" => state == Standing::NotAuthenticated && secure,
        "SELECT" | "EXAMINE" | "LIST" | "ENABLE" | "APPEND" | "IDLE" => {
            [Standing::Authenticated, Standing::Selected].contains(&state)
        }
        "FETCH" | "EXPUNGE" | "CLOSE" | "UNSELECT" => state == Standing::Selected,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(heard: &str, said: &str) -> Result<Standing, String> {
        let mut conversation = Conversation::new(true);
        conversation.hear(heard.as_bytes());
        conversation.say(said.as_bytes());
        conversation.check(true).map(|outcome| outcome.state)
    }

    #[track_caller]
    fn refused(heard: &str, said: &str, why: &str) {
        let found = check(heard, said).unwrap_err();
        assert!(found.contains(why), "{found}");
    }

    const LOGIN: &str = "a LOGIN x x\r\n";

    #[test]
    fn an_answer_stands_behind_its_command() {
        assert_eq!(check(LOGIN, "a OK [CAPABILITY IMAP4rev1] x\r\n"), Ok(Standing::Authenticated));
        assert_eq!(check("a NOOP\r\nb NOOP\r\n", "a OK x\r\nb OK x\r\n"), Ok(Standing::NotAuthenticated));
        refused("a NOOP\r\nb NOOP\r\n", "b OK x\r\na OK x\r\n", "a is open");
        refused("a NOOP\r\n", "a OK x\r\na OK x\r\n", "open");
        refused("a NOOP\r\n", "", "no answer");
        assert_eq!(check("\r\n\r\na NOOP\r\n\r\n", "a OK x\r\n"), Ok(Standing::NotAuthenticated));
        refused("\r\n", "* BAD x\r\n", "what is Begun");
        refused("a NOOP", "a OK x\r\n", "what is Begun");
        refused("a SELECT x\r\n", "a OK x\r\n", "SELECT succeeds in NotAuthenticated");
        refused("a LOGOUT\r\n", "a OK x\r\n", "without BYE");
        refused("a NOOP\r\n", "* BYE x\r\na OK x\r\n", "behind BYE");
        refused("a CAPABILITY\r\n", "* CAPABILITY STARTTLS LOGINDISABLED\r\na OK x\r\n", "ways to");
    }

    #[test]
    fn what_waits_is_asked_for_once() {
        let said = "+ x\r\n+ x\r\na OK x\r\n";
        assert_eq!(check("a LOGIN {1}\r\nx {1}\r\nx\r\n", said), Ok(Standing::Authenticated));
        refused("a LOGIN {1}\r\n", "a OK x\r\n", "what is Waits");
        assert_eq!(check("a LOGIN {1}\r\n", "a NO x\r\n"), Ok(Standing::NotAuthenticated));
        refused("a LOGIN {1+}\r\nx x\r\n", "+ x\r\na OK x\r\n", "no command waits");
        refused("a LOGIN {1+}\r\nx x\r\n", "", "no answer");
        let sasl = "a AUTHENTICATE PLAIN\r\nAHgAeA==\r\n";
        assert_eq!(check(sasl, "+ \r\na OK x\r\n"), Ok(Standing::Authenticated));
        refused(sasl, "+ \r\n+ \r\na OK x\r\n", "what is Asked");
        let idle = [LOGIN, "b IDLE\r\nDONE\r\n"].concat();
        assert_eq!(check(&idle, "a OK x\r\n+ x\r\nb OK x\r\n"), Ok(Standing::Authenticated));
        let idle = [LOGIN, "b IDLE\r\nNOOP\r\n"].concat();
        refused(&idle, "a OK x\r\n+ x\r\nb OK x\r\n", "what is Asked");
    }
}
