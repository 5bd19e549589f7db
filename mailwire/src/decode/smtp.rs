//! SMTP: commands with their messages, and replies.

use proto_smtp::types::{
    Address, BodyType, ByMode, ChunkEnd, Command, EnhancedCode, Hold, Mail, Notify, Parameters, Priority,
    Rcpt, RelayAction, Response, Return,
};
use serde_json::{Map, Value, json};

use super::arguments::Strictness;
use super::lines::{split_line, text, unparsed};

/// Decodes what a client sends.
pub(super) fn commands(mut input: &[u8], strictness: Strictness, show: &mut impl FnMut(Value)) {
    while let Some((line, rest, crlf)) = split_line(input) {
        input = rest;
        if strictness == Strictness::Strict && !crlf {
            show(unparsed(line.len(), "a line ends with CRLF (RFC 5321 section 2.3.8)", line));
            continue;
        }
        let repairs = if crlf { json!([]) } else { json!(["bare-line-feed"]) };
        match Command::parse(line) {
            Ok(command) => {
                let mut event = describe(&command);
                event.insert("repairs".to_owned(), repairs);
                show(Value::Object(event));
                input = skip_payload(&command, input, show);
            }
            Err(error) => show(unparsed(error.offset(), error.fault().text(), line)),
        }
    }
}

/// Decodes what a server sends.
pub(super) fn replies(mut input: &[u8], strictness: Strictness, show: &mut impl FnMut(Value)) {
    while !input.is_empty() {
        let (len, crlf) = reply_len(input, strictness);
        let (raw, rest) = input.split_at(len);
        input = rest;
        if strictness == Strictness::Strict && !crlf {
            show(unparsed(len, "a line ends with CRLF (RFC 5321 section 2.3.8)", raw));
            continue;
        }
        match Response::parse(raw) {
            Ok(response) => show(reply(&response, crlf)),
            Err(error) => {
                let repaired = match strictness {
                    Strictness::Strict => None,
                    Strictness::Tolerant => repaired_reply(raw, crlf),
                };
                show(repaired.unwrap_or_else(|| unparsed(error.offset(), error.fault().text(), raw)));
            }
        }
    }
}

/// Decodes a reply that deviates from the grammar, as a tolerant client would. The last line decides its code.
///
/// Lines with different codes form one reply if the last one is a refusal. A line without a code between others is text.
/// The space after the last code may be missing, and the last line may have a hyphen.
fn repaired_reply(raw: &[u8], crlf: bool) -> Option<Value> {
    let mut lines = Vec::new();
    let (mut codes, mut repairs): (Vec<u16>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut input = raw;
    let mut head = None;
    while let Some((line, rest, _)) = split_line(input) {
        input = rest;
        head = ReplyLine::parse(line);
        match head {
            Some(read) => {
                codes.push(read.code);
                lines.push(text(read.text));
                if read.is_joined {
                    repairs.push("missing-space");
                }
            }
            // Text is allowed only after the first code and before the last line.
            None if codes.is_empty() => return None,
            None => {
                repairs.push("missing-code");
                lines.push(text(line));
            }
        }
    }
    let code = *codes.last()?;
    if head.is_none_or(|last| last.is_continued) {
        repairs.push("missing-last-line");
    }
    if codes.iter().any(|one| *one != code) {
        if code < 400 {
            return None;
        }
        repairs.push("mixed-codes");
    }
    if !crlf {
        repairs.push("bare-line-feed");
    }
    repairs.sort_unstable();
    repairs.dedup();
    let enhanced = lines.iter().rev().find_map(|line| enhanced_code(code, line));
    Some(json!({ "event": "reply", "code": code, "enhanced": enhanced, "lines": lines, "repairs": repairs }))
}

/// Returns the enhanced code at the start of a text, if its class matches the reply code.
fn enhanced_code(code: u16, text: &str) -> Option<String> {
    let word = text.split(' ').next()?;
    let enhanced: EnhancedCode = word.parse().ok()?;
    (u16::from(enhanced.class()) == code / 100).then(|| enhanced.to_string())
}

/// A reply line that starts with a code.
#[derive(Clone, Copy)]
struct ReplyLine<'i> {
    code: u16,
    text: &'i [u8],
    /// A hyphen follows the code.
    is_continued: bool,
    /// The text follows the code without a space.
    is_joined: bool,
}

impl<'i> ReplyLine<'i> {
    fn parse(line: &'i [u8]) -> Option<Self> {
        let (digits, rest) = line.split_first_chunk::<3>()?;
        if !matches!(digits, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
            return None;
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        let (text, is_continued, is_joined) = match rest {
            [] => (rest, false, false),
            [b' ', text @ ..] => (text, false, false),
            [b'-', text @ ..] => (text, true, false),
            [b'0'..=b'9', ..] => return None,
            text => (text, false, true),
        };
        Some(Self { code, text, is_continued, is_joined })
    }
}

fn reply(response: &Response<'_>, crlf: bool) -> Value {
    let lines: Vec<String> = response.lines().map(text).collect();
    json!({
        "event": "reply",
        "code": response.code().get(),
        "enhanced": response.enhanced().map(|enhanced| enhanced.to_string()),
        "lines": lines,
        "repairs": if crlf { json!([]) } else { json!(["bare-line-feed"]) },
    })
}

/// Returns the length of the first reply: its lines up to the first one without a hyphen, and whether all end with CRLF.
///
/// In tolerant mode, a line without a code belongs to the reply if a line with a code follows soon.
fn reply_len(input: &[u8], strictness: Strictness) -> (usize, bool) {
    let (mut at, mut all_crlf) = (0, true);
    let mut is_begun = false;
    while let Some((line, rest, crlf)) = split_line(&input[at..]) {
        let continued = line.get(3) == Some(&b'-') && line.iter().take(3).all(u8::is_ascii_digit);
        let is_text = strictness == Strictness::Tolerant
            && is_begun
            && ReplyLine::parse(line).is_none()
            && has_code_soon(rest);
        at = input.len() - rest.len();
        all_crlf &= crlf;
        if !continued && !is_text {
            break;
        }
        is_begun = true;
    }
    (at, all_crlf)
}

/// Returns whether one of the next lines has a code.
fn has_code_soon(mut input: &[u8]) -> bool {
    /// How many lines to look at.
    const LINES: usize = 16;
    for _ in 0..LINES {
        let Some((line, rest, _)) = split_line(input) else { return false };
        if ReplyLine::parse(line).is_some() {
            return true;
        }
        input = rest;
    }
    false
}

fn describe(command: &Command<'_>) -> Map<String, Value> {
    let value = match command {
        Command::Ehlo(name) => json!({ "event": "ehlo", "name": name.as_str() }),
        Command::Helo(name) => json!({ "event": "helo", "name": name.as_str() }),
        Command::Lhlo(name) => json!({ "event": "lhlo", "name": name.as_str() }),
        Command::StartTls => json!({ "event": "starttls" }),
        Command::Auth { mechanism, initial } => json!({
            "event": "auth",
            "mechanism": mechanism.to_ascii_uppercase(),
            "initial_response": initial.as_ref().map(|initial| format!("[{} octets redacted]", initial.expose().len())),
        }),
        Command::Mail(command) => mail(command),
        Command::Rcpt(command) => rcpt(command),
        Command::Data => json!({ "event": "data" }),
        Command::Bdat { size, end } => {
            json!({ "event": "bdat", "size": size, "last": *end == ChunkEnd::Last })
        }
        Command::Rset => json!({ "event": "rset" }),
        Command::Noop => json!({ "event": "noop" }),
        Command::Vrfy(argument) => json!({ "event": "vrfy", "argument": argument }),
        Command::Expn(argument) => json!({ "event": "expn", "argument": argument }),
        Command::Help(topic) => json!({ "event": "help", "argument": topic }),
        Command::Quit => json!({ "event": "quit" }),
        Command::Other { verb, argument } => json!({ "event": "other", "verb": verb, "argument": argument }),
        _ => json!({ "event": "other", "verb": Value::Null }),
    };
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn mail(mail: &Mail<'_>) -> Value {
    json!({
        "event": "mail",
        "from": mail.from.address().map(|address| address.as_str().to_owned()),
        "size": mail.size,
        "body": mail.body.map(body),
        "smtputf8": mail.utf8,
        "auth": mail.auth().map(|auth| auth.address().map_or("<>", Address::as_str).to_owned()),
        "ret": mail.ret.map(|ret| if ret == Return::Full { "FULL" } else { "HDRS" }),
        "envid": mail.envid().map(|envid| text(&envid.decode())),
        "by": mail.by.map(|by| json!({
            "seconds": by.seconds(),
            "late": if by.mode() == ByMode::Return { "return" } else { "notify" },
            "trace": by.is_traced(),
        })),
        "mt_priority": mail.priority.map(Priority::value),
        "hold_for": mail.hold().and_then(|hold| match hold {
            Hold::For(interval) => Some(interval.seconds()),
            Hold::Until(_) => None,
        }),
        "hold_until": mail.hold().and_then(|hold| match hold {
            Hold::For(_) => None,
            Hold::Until(time) => Some(time.to_string()),
        }),
        "requiretls": mail.require_tls,
        "solicit": mail.solicit().map(|solicit| solicit.keywords().map(str::to_owned).collect::<Vec<_>>()),
        "conperm": mail.conperm,
        "prdr": mail.prdr,
        "parameters": unknown(&mail.parameters),
    })
}

fn rcpt(rcpt: &Rcpt<'_>) -> Value {
    json!({
        "event": "rcpt",
        "to": rcpt.to.to_string(),
        "notify": rcpt.notify.map(notify),
        "orcpt": rcpt.original().map(|original| json!({
            "type": original.kind(),
            "address": text(&original.decode()),
        })),
        "rrvs": rcpt.valid_since.map(|valid_since| json!({
            "since": valid_since.since.to_string(),
            "relay": valid_since.relay.map(|action| match action {
                RelayAction::Continue => "continue",
                RelayAction::Reject => "reject",
            }),
        })),
        "conneg": rcpt.conneg,
        "parameters": unknown(&rcpt.parameters),
    })
}

fn body(body: BodyType) -> &'static str {
    match body {
        BodyType::SevenBit => "7BIT",
        BodyType::EightBitMime => "8BITMIME",
        BodyType::BinaryMime => "BINARYMIME",
        _ => "other",
    }
}

fn notify(notify: Notify) -> Vec<&'static str> {
    let all = [(Notify::SUCCESS, "SUCCESS"), (Notify::FAILURE, "FAILURE"), (Notify::DELAY, "DELAY")];
    if notify.contains(Notify::NEVER) {
        return vec!["NEVER"];
    }
    all.into_iter().filter(|(reason, _)| notify.contains(*reason)).map(|(_, word)| word).collect()
}

fn unknown(parameters: &Parameters<'_>) -> Map<String, Value> {
    parameters.unknown().map(|parameter| (parameter.keyword.to_owned(), json!(parameter.value))).collect()
}

/// Skips the message after DATA or the chunk after BDAT, and shows its size.
fn skip_payload<'i>(command: &Command<'_>, input: &'i [u8], show: &mut impl FnMut(Value)) -> &'i [u8] {
    let (size, rest) = match command {
        Command::Data => {
            let end = if input.starts_with(b".\r\n") {
                Some((0, 3))
            } else {
                input.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| (at + 2, at + 5))
            };
            match end {
                Some((size, next)) => (size, &input[next..]),
                None if input.is_empty() => return input,
                None => (input.len(), &input[input.len()..]),
            }
        }
        Command::Bdat { size, .. } => {
            let size = usize::try_from(*size).unwrap_or(usize::MAX).min(input.len());
            (size, &input[size..])
        }
        _ => return input,
    };
    show(json!({ "event": "message", "octets": size, "repairs": [] }));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(run: impl FnOnce(&mut dyn FnMut(Value))) -> Vec<Value> {
        let mut events = Vec::new();
        run(&mut |event| events.push(event));
        events
    }

    #[test]
    fn continues_after_a_bad_command() {
        let input =
            b"EHLO a.example\r\nMAIL FROM:<a@b\r\nRCPT TO:<c@d.example>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n";
        let events = decoded(|show| commands(input, Strictness::Strict, &mut |event| show(event)));
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["ehlo", "unparsed", "rcpt", "data", "message", "quit"]);
        assert_eq!(events[4]["octets"], 4);
    }

    #[test]
    fn shows_decoded_parameters() {
        let input =
            b"MAIL FROM:<> AUTH=a+2Bb@c BY=60;RT MT-PRIORITY=-2 HOLDFOR=9 REQUIRETLS SOLICIT=a:b,c\r\n\
            RCPT TO:<a@b> ORCPT=utf-8;\\x{43F}@b RRVS=2014-04-03T23:01:00Z;C\r\n";
        let events = decoded(|show| commands(input, Strictness::Strict, &mut |event| show(event)));
        assert_eq!(events[0]["auth"], "a+b@c");
        assert_eq!(events[0]["by"], json!({ "seconds": 60, "late": "return", "trace": true }));
        assert_eq!((&events[0]["mt_priority"], &events[0]["hold_for"]), (&json!(-2), &json!(9)));
        assert_eq!((&events[0]["requiretls"], &events[0]["hold_until"]), (&json!(true), &Value::Null));
        assert_eq!(events[0]["solicit"], json!(["a:b", "c"]));
        assert_eq!(events[1]["orcpt"], json!({ "type": "utf-8", "address": "п@b" }));
        assert_eq!(events[1]["rrvs"], json!({ "since": "2014-04-03T23:01:00Z", "relay": "continue" }));
    }

    #[test]
    fn never_shows_credentials() {
        let events = decoded(|show| {
            commands(b"AUTH PLAIN AGFsaWNlAGh1bnRlcjI=\r\n", Strictness::Strict, &mut |event| show(event))
        });
        assert!(!events[0].to_string().contains("AGFsaWNl"), "{events:?}");
    }

    #[test]
    fn repairs_each_deviation_from_the_reply_grammar() {
        for (input, code, lines, repair) in [
            (
                "220-someserver.example ESMTP\r\n521 5.7.1 Service unavailable; blocked using bl.example\r\n",
                521,
                vec!["someserver.example ESMTP", "5.7.1 Service unavailable; blocked using bl.example"],
                "mixed-codes",
            ),
            (
                "220-a\r\nwelcome to this server\r\n220 b\r\n",
                220,
                vec!["a", "welcome to this server", "b"],
                "missing-code",
            ),
            ("250-a\r\n250-SIZE\r\n", 250, vec!["a", "SIZE"], "missing-last-line"),
            ("250OK\r\n", 250, vec!["OK"], "missing-space"),
            ("354\tgo on\r\n", 354, vec!["\tgo on"], "missing-space"),
            ("250-a\n250 b\n", 250, vec!["a", "b"], "bare-line-feed"),
        ] {
            let events =
                decoded(|show| replies(input.as_bytes(), Strictness::Tolerant, &mut |event| show(event)));
            assert_eq!(events.len(), 1, "{events:?}");
            let event = &events[0];
            assert_eq!((&event["code"], &event["lines"]), (&json!(code), &json!(lines)), "{event}");
            assert_eq!(event["repairs"], json!([repair]), "{event}");
            let strict =
                decoded(|show| replies(input.as_bytes(), Strictness::Strict, &mut |event| show(event)));
            assert_eq!(strict[0]["event"], "unparsed", "{strict:?}");
        }
        let blocked = decoded(|show| {
            replies(b"220-a\r\n521 5.7.1 no\r\n", Strictness::Tolerant, &mut |event| show(event))
        });
        assert_eq!(blocked[0]["enhanced"], "5.7.1");
    }

    #[test]
    fn does_not_repair_input_that_is_not_a_reply() {
        for input in
            ["hello\r\n", "2x0 a\r\n", "* OK\r\n", "\r\n", "-250 a\r\n", "2500 a\r\n", "550-a\r\n250 b\r\n"]
        {
            let events =
                decoded(|show| replies(input.as_bytes(), Strictness::Tolerant, &mut |event| show(event)));
            assert!(events.iter().all(|event| event["event"] == "unparsed"), "{input:?}: {events:?}");
        }
        let events =
            decoded(|show| replies(b"250 a\r\n250 b\r\n", Strictness::Tolerant, &mut |event| show(event)));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn keeps_the_lines_of_a_reply() {
        let input =
            b"250-a.example\r\n250-SIZE 10\r\n250 HELP\r\n250-x\r\n550 y\r\n550 5.1.1 no such user\r\n";
        let events = decoded(|show| replies(input, Strictness::Strict, &mut |event| show(event)));
        assert_eq!(events[0]["lines"].as_array().unwrap().len(), 3);
        assert_eq!(events[1]["event"], "unparsed");
        assert_eq!(events[2]["enhanced"], "5.1.1");
    }
}
