//! Parses APPEND and REPLACE element by element: the mailbox, then each message, part and URL, as their lines arrive
//! (RFC 3502, 4469, 6855 and 8508).
//!
//! The messages are not in the lines: a line ends where a message begins, and the next line begins behind it.

use crate::append::parse::{announcement, options};
use crate::append::{AppendForm, CatenatePart, ReplacedMessage};
use crate::command_name::{CommandName, UnparsedCommand, command_name};
use crate::date_time::DateTime;
use crate::flags::FlagList;
use crate::frame::{self, Binary, LineEnd, LiteralHeader};
use crate::grammar::number::nz_number;
use crate::grammar::primitive::{byte, crlf, sp, word};
use crate::grammar::string::parse::{astring, literal_size};
use crate::grammar::{Context, Expected, Parsed, expected};
use crate::mailbox_name::MailboxName;
use crate::mailbox_name::parse::mailbox;
use crate::tag::Tag;

/// The place of the next element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first message.
    FirstMessage,
    /// Behind a message: another one, or the end of the command.
    BehindMessage,
    /// Behind the literal of `UTF8 (...)`.
    InUtf8Message,
    /// Behind the opening parenthesis of `CATENATE (...)`.
    FirstPart,
    /// Behind a part: another one, or the closing parenthesis.
    BehindPart,
    /// Behind the literal of a part `UTF8 (...)`.
    InUtf8Part,
}

impl Place {
    /// Returns whether a URL can be next.
    pub(crate) const fn allows_url(self) -> bool {
        matches!(self, Self::FirstPart | Self::BehindPart | Self::InUtf8Part)
    }
}

/// One element. If it announces a literal, the line ends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendElement<'i> {
    /// A message begins.
    Message {
        /// Its flags.
        flags: FlagList<'i>,
        /// Its internal date; `None` means now.
        date: Option<DateTime>,
        /// How it is sent.
        form: AppendForm,
    },
    /// A part of the message begins.
    Part(CatenatePart<'i>),
    /// The command ends.
    End,
}

/// An element, the literal that it announces, and the place of the next element.
pub(crate) type Element<'i> = (AppendElement<'i>, Option<LiteralHeader>, Place);

/// The arguments of APPEND or REPLACE before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppendHead<'i> {
    pub(crate) replaced: Option<ReplacedMessage>,
    pub(crate) mailbox: MailboxName<'i>,
}

/// Parses the command up to its mailbox. Returns the offset behind it.
///
/// # Errors
/// [`UnparsedCommand`] if the frame is neither APPEND nor REPLACE.
pub(crate) fn append_head<'i>(
    frame: &'i [u8],
    cx: &Context,
) -> Result<(AppendHead<'i>, usize), UnparsedCommand<'i>> {
    let (tag, name, rest) = command_name(frame)?;
    match head(rest, name, cx) {
        Ok((rest, head)) => Ok((head, frame.len() - rest.len())),
        Err(error) => Err(UnparsedCommand::new(frame, Some(tag), error)),
    }
}

/// The start of APPEND or REPLACE: everything up to the contents of the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendStart<'i> {
    /// The message that the new one replaces; `None` for APPEND.
    pub replaced: Option<ReplacedMessage>,
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// The first message's flags.
    pub flags: FlagList<'i>,
    /// Its internal date; `None` means now.
    pub date: Option<DateTime>,
    /// How it is sent.
    pub form: AppendForm,
    /// Its literal; `None` for [`AppendForm::Catenate`].
    pub announced: Option<LiteralHeader>,
    /// How many bytes of the frame this is. The parts of [`AppendForm::Catenate`] follow.
    pub len: usize,
}

/// Parses the start of APPEND (RFC 9051, 3502, 3516, 4469, 6855) or REPLACE (RFC 8508) from the command's first line.
///
/// # Errors
/// [`UnparsedCommand`] if the frame is neither, or its first message is not valid.
pub fn append_start<'i>(
    frame: &'i [u8],
    cx: &Context,
) -> Result<(Tag<'i>, AppendStart<'i>), UnparsedCommand<'i>> {
    let (tag, _, _) = command_name(frame)?;
    let (AppendHead { replaced, mailbox }, at) = append_head(frame, cx)?;
    let found = element(frame.get(at..).unwrap_or_default(), Place::FirstMessage, cx)
        .map_err(|error| UnparsedCommand::new(frame, Some(tag), error))?;
    let (rest, (AppendElement::Message { flags, date, form }, announced, _)) = found else {
        return Err(UnparsedCommand::new(
            frame,
            Some(tag),
            nom::Err::Error(Expected { rest: b"", what: "a message" }),
        ));
    };
    let len = frame.len() - rest.len();
    Ok((tag, AppendStart { replaced, mailbox, flags, date, form, announced, len }))
}

/// Returns whether the literal announced at the end of `frame` is the message of an APPEND or REPLACE, and not its
/// mailbox name or another command's string. `frame` is the command so far, up to and including the line end.
///
/// The grammar decides this, not the size: everything before the literal must be what the command can have there.
///
/// If a frame announces several literals, calling this for each costs time linear in the frame's length in total.
#[must_use]
pub fn is_append_payload(frame: &[u8]) -> bool {
    is_in_place(frame) == Some(true)
        && append_start(frame, &Context::strict()).is_ok_and(|(_, start)| start.announced.is_some())
}

/// Returns whether the last line is the first one, or follows a mailbox name that is a literal. Only the bytes back
/// to the previous line end are searched, so that earlier lines are not parsed again for each literal.
fn is_in_place(frame: &[u8]) -> Option<bool> {
    let (_, name, rest) = command_name(frame).ok()?;
    let arguments = rest.strip_prefix(b" ")?;
    let mailbox = match name {
        CommandName::Append => arguments,
        CommandName::Replace | CommandName::UidReplace => {
            let digits = arguments.iter().take_while(|byte| byte.is_ascii_digit()).count();
            arguments.get(digits..)?.strip_prefix(b" ")?
        }
        _ => return Some(false),
    };
    let last = if mailbox.first() == Some(&b'{') {
        let (behind, size) = literal_size(mailbox, &Context::strict()).ok()?;
        behind.get(usize::try_from(size).ok()?..)?
    } else {
        mailbox
    };
    let line = last.strip_suffix(b"\r\n")?;
    Some(memchr::memrchr(b'\n', line).is_none())
}

fn head<'i>(i: &'i [u8], name: CommandName, cx: &Context) -> Parsed<'i, AppendHead<'i>> {
    let (rest, ()) = sp(i, cx)?;
    let (rest, replaced) = match name {
        CommandName::Append => (rest, None),
        CommandName::Replace | CommandName::UidReplace => {
            let (rest, number) = nz_number(rest, cx)?;
            let uid = name == CommandName::UidReplace;
            let replaced = if uid { ReplacedMessage::Uid(number) } else { ReplacedMessage::Sequence(number) };
            (sp(rest, cx)?.0, Some(replaced))
        }
        _ => return expected(i, "APPEND or REPLACE"),
    };
    let (rest, mailbox) = mailbox(rest, cx)?;
    Ok((rest, AppendHead { replaced, mailbox }))
}

/// Returns whether the literal that ends the first line of APPEND or REPLACE is the mailbox's name.
pub(crate) fn announces_mailbox(line: &[u8]) -> bool {
    let Ok((_, name, rest)) = command_name(line) else { return false };
    let Some(rest) = rest.strip_prefix(b" ") else { return false };
    let name_at = match name {
        CommandName::Append => rest,
        CommandName::Replace | CommandName::UidReplace => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest.get(digits..).and_then(|rest| rest.strip_prefix(b" ")).unwrap_or_default()
        }
        _ => return false,
    };
    name_at.first() == Some(&b'{') && memchr::memchr(b'\n', line).is_some_and(|end| end + 1 == line.len())
}

/// Returns whether the literal that this line announces is a URL in CATENATE.
pub(crate) fn announces_url(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    if frame::ending(line) == LineEnd::Plain {
        return false;
    }
    let before = memchr::memrchr(b'{', line).and_then(|at| line.get(..at)).unwrap_or_default();
    before.last_chunk::<4>().is_some_and(|end| end.eq_ignore_ascii_case(b"URL "))
}

/// Parses the next element of a frame that ends with a line end.
pub(crate) fn element<'i>(i: &'i [u8], place: Place, cx: &Context) -> Parsed<'i, Element<'i>> {
    let (mut rest, mut place) = (i, place);
    loop {
        match place {
            Place::InUtf8Message => {
                (rest, ()) = byte(rest, b')', "a closing parenthesis")?;
                place = Place::BehindMessage;
            }
            Place::InUtf8Part => {
                (rest, ()) = byte(rest, b')', "a closing parenthesis")?;
                place = Place::BehindPart;
            }
            Place::BehindPart if rest.first() == Some(&b')') => {
                rest = rest.get(1..).unwrap_or_default();
                place = Place::BehindMessage;
            }
            Place::FirstPart => return part(rest, cx),
            Place::BehindPart => return part(sp(rest, cx)?.0, cx),
            Place::BehindMessage if rest.first() != Some(&b' ') => {
                let (rest, ()) = crlf(rest, cx)?;
                if !rest.is_empty() {
                    return expected(rest, "no bytes after the line end");
                }
                return Ok((rest, (AppendElement::End, None, place)));
            }
            Place::FirstMessage | Place::BehindMessage => return message(sp(rest, cx)?.0, cx),
        }
    }
}

/// `append-opts SP append-data`, up to the first literal or part
fn message<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Element<'i>> {
    let (rest, (flags, date)) = options(i, cx)?;
    let (rest, form, announced, place) = if let Ok((behind, ())) = word(rest, b"UTF8", "UTF8") {
        let (rest, announced) = utf8_literal(behind, cx)?;
        (rest, AppendForm::Utf8, Some(announced), Place::InUtf8Message)
    } else if let Ok((behind, ())) = word(rest, b"CATENATE", "CATENATE") {
        let (rest, ()) = byte(sp(behind, cx)?.0, b'(', "an opening parenthesis")?;
        (rest, AppendForm::Catenate, None, Place::FirstPart)
    } else {
        let (rest, announced) = announcement(rest)?;
        let form = match announced.binary {
            Binary::No => AppendForm::Literal,
            Binary::Yes => AppendForm::Literal8,
        };
        (rest, form, Some(announced), Place::BehindMessage)
    };
    Ok((rest, (AppendElement::Message { flags, date, form }, announced, place)))
}

/// `cat-part = text-literal / url / utf8-literal`
fn part<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Element<'i>> {
    if let Ok((behind, ())) = word(i, b"TEXT", "TEXT") {
        let (rest, announced) = announcement(sp(behind, cx)?.0)?;
        if announced.binary == Binary::Yes {
            return expected(i, "a literal that is no literal8");
        }
        let part = AppendElement::Part(CatenatePart::Text(announced.size));
        return Ok((rest, (part, Some(announced), Place::BehindPart)));
    }
    if let Ok((behind, ())) = word(i, b"UTF8", "UTF8") {
        let (rest, announced) = utf8_literal(behind, cx)?;
        let part = AppendElement::Part(CatenatePart::Utf8(announced.size));
        return Ok((rest, (part, Some(announced), Place::InUtf8Part)));
    }
    let (rest, ()) = word(i, b"URL", "TEXT, URL or UTF8")?;
    let (rest, url) = astring(sp(rest, cx)?.0, cx)?;
    Ok((rest, (AppendElement::Part(CatenatePart::Url(url)), None, Place::BehindPart)))
}

/// `SP "(" literal8`: the closing parenthesis is behind the literal.
fn utf8_literal<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LiteralHeader> {
    let (rest, ()) = byte(sp(i, cx)?.0, b'(', "an opening parenthesis")?;
    if rest.first() != Some(&b'~') {
        return expected(rest, "a literal8");
    }
    announcement(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Sync;
    use alloc::format;
    use alloc::string::String;

    fn parsed(i: &[u8], place: Place) -> Option<(String, Option<u64>, Place, usize)> {
        let (rest, (element, announced, next)) = element(i, place, &Context::strict()).ok()?;
        Some((format!("{element:?}"), announced.map(|announced| announced.size), next, rest.len()))
    }

    #[test]
    fn elements() {
        use Place::{BehindMessage, BehindPart, FirstMessage, FirstPart, InUtf8Message, InUtf8Part};
        let message = |form: &str| format!("Message {{ flags: [], date: None, form: {form} }}");
        for (input, place, expected, size, next, rest) in [
            (&b" {5}\r\n"[..], FirstMessage, message("Literal"), Some(5), BehindMessage, 0),
            (b" ~{5+}\r\n", FirstMessage, message("Literal8"), Some(5), BehindMessage, 0),
            (b" UTF8 (~{5}\r\n", FirstMessage, message("Utf8"), Some(5), InUtf8Message, 0),
            (b" catenate (URL a)\r\n", BehindMessage, message("Catenate"), None, FirstPart, 8),
            (b")\r\n", InUtf8Message, "End".into(), None, BehindMessage, 0),
            (b"\r\n", BehindMessage, "End".into(), None, BehindMessage, 0),
            (b"URL \"a b\" TEXT {3}\r\n", FirstPart, "Part(Url(\"a b\"))".into(), None, BehindPart, 11),
            (b" TEXT {3}\r\n", BehindPart, "Part(Text(3))".into(), Some(3), BehindPart, 0),
            (b" UTF8 (~{3}\r\n", BehindPart, "Part(Utf8(3))".into(), Some(3), InUtf8Part, 0),
            (b") URL x)\r\n", InUtf8Part, "Part(Url(\"x\"))".into(), None, BehindPart, 3),
            (b")\r\n", BehindPart, "End".into(), None, BehindMessage, 0),
            (b")) {3}\r\n", InUtf8Part, message("Literal"), Some(3), BehindMessage, 0),
        ] {
            assert_eq!(parsed(input, place), Some((expected, size, next, rest)), "{}", input.escape_ascii());
        }
        for (input, place) in [
            (&b"\r\n"[..], FirstMessage),
            (b" \r\n", BehindMessage),
            (b" {5}\r\nx", FirstMessage),
            (b" UTF8 ({5}\r\n", FirstMessage),
            (b" UTF8 ~{5}\r\n", FirstMessage),
            (b" CATENATE\r\n", FirstMessage),
            (b" CATENATE URL x\r\n", FirstMessage),
            (b" TEXT {5}\r\n", BehindMessage),
            (b")\r\n", FirstPart),
            (b"\r\n", BehindPart),
            (b"TEXT ~{5}\r\n", FirstPart),
            (b"TEXT \"x\")\r\n", FirstPart),
            (b"URL ()\r\n", FirstPart),
            (b"\r\nx", BehindMessage),
        ] {
            assert_eq!(parsed(input, place), None, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn tells_names_and_urls_from_messages() {
        for (line, expected) in [
            (&b"a APPEND {5}\r\n"[..], true),
            (b"a REPLACE 3 {5}\r\n", true),
            (b"a UID REPLACE 3 {5+}\r\n", true),
            (b"a APPEND x {5}\r\n", false),
            (b"a REPLACE 3 x {5}\r\n", false),
            (b"a APPEND {1}\r\nx {5}\r\n", false),
            (b"a CREATE {5}\r\n", false),
        ] {
            assert_eq!(announces_mailbox(line), expected, "{}", line.escape_ascii());
        }
        assert!(announces_url(b" url {3}\r\n") && announces_url(b"(URL {3+}\r\n"));
        assert!(!announces_url(b" URL \"{3}\"\r\n") && !announces_url(b" TEXT {3}\r\n"));
    }

    #[test]
    fn parses_the_arguments_before_the_first_message() {
        for (frame, replaced, at) in [
            (&b"a APPEND x {5}\r\n"[..], None, 10),
            (b"a REPLACE 3 x {5}\r\n", Some(ReplacedMessage::Sequence(3)), 13),
            (b"a UID REPLACE 3 \"x\" {5}\r\n", Some(ReplacedMessage::Uid(3)), 19),
        ] {
            let (head, found) = append_head(frame, &Context::strict()).unwrap();
            assert_eq!((head.replaced, found), (replaced, at));
            assert_eq!(head.mailbox, MailboxName::new("x"));
        }
        for frame in [&b"a REPLACE 0 x {5}\r\n"[..], b"a REPLACE * x {5}\r\n", b"a NOOP\r\n", b"a APPEND\r\n"]
        {
            assert!(append_head(frame, &Context::strict()).is_err());
        }
        let (_, (_, announced, _)) = element(b" {5+}\r\n", Place::FirstMessage, &Context::strict()).unwrap();
        assert_eq!(announced.map(|announced| announced.sync), Some(Sync::NonSynchronising));
    }
}
