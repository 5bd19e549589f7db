//! APPEND and REPLACE as JSON events: one `append` for each message, and the length of each literal.
//!
//! A message that the server joins from parts has no size. Its parts follow as `part`: with their length, or with the URL
//! but not with its token.

use proto_imap::parse::{self, AppendElement, AppendElements, AppendStart, Context};
use proto_imap::types::{
    AppendForm, CatenatePart, CommandName, DateTime, FlagList, IString, ReplacedMessage, Tag,
};
use serde_json::{Value, json};

use super::imap_frame::{Quotes, repairs, split_message, unparsed_command, with_repairs};
use super::imap_values::mailbox_name;

/// A command whose messages are being decoded.
struct Append<'i> {
    tag: Tag<'i>,
    name: CommandName,
    start: AppendStart<'i>,
}

/// Decodes an APPEND or REPLACE at the start of the input: `frame`, its messages, and its end. Returns the rest of the input.
pub(super) fn append<'i>(
    input: &'i [u8],
    frame: &'i [u8],
    name: CommandName,
    cx: &Context,
    show: &mut impl FnMut(Value),
) -> &'i [u8] {
    cx.repairs.begin();
    let (tag, start) = match parse::append_start(frame, cx) {
        Ok(parsed) => parsed,
        Err(error) => {
            show(with_repairs(unparsed_command(error), repairs(cx)));
            return input.get(frame.len()..).unwrap_or_default();
        }
    };
    let size = start.announced.map(|announced| announced.size);
    let append = Append { tag, name, start };
    show(with_repairs(append.message(start.flags, start.date, size), repairs(cx)));
    let rest = input.get(start.len..).unwrap_or_default();
    append.elements(contents("message", size, rest, show), cx, show)
}

impl Append<'_> {
    fn message(&self, flags: FlagList<'_>, date: Option<DateTime>, size: Option<u64>) -> Value {
        let mut value = json!({
            "event": self.name.as_str().to_ascii_lowercase(),
            "tag": self.tag.as_str(),
            "mailbox": mailbox_name(&self.start.mailbox),
            "flags": flags.iter().map(|flag| flag.to_string()).collect::<Vec<_>>(),
            "date": date.map(|date| date.timestamp()),
            "size": size,
        });
        if let (Some(replaced), Some(object)) = (self.start.replaced, value.as_object_mut()) {
            let (ReplacedMessage::Sequence(number) | ReplacedMessage::Uid(number)) = replaced;
            object.insert("message".to_owned(), number.into());
        }
        value
    }

    /// Decodes the parts and messages behind the first literal. Returns the input behind the command.
    fn elements<'i>(&self, mut input: &'i [u8], cx: &Context, show: &mut impl FnMut(Value)) -> &'i [u8] {
        let mut elements = AppendElements::after(&self.start);
        let mut is_between_messages = matches!(self.start.form, AppendForm::Literal | AppendForm::Literal8);
        let mut line = AppendElements::line(input);
        while !line.is_empty() {
            cx.repairs.begin();
            let (element, announced, length) = match elements.next(line, cx) {
                Ok(parsed) => parsed,
                // The command has no line end, or a bare line feed.
                Err(_) if is_between_messages && !line.starts_with(b" ") => {
                    return input.strip_prefix(b"\n").unwrap_or(input);
                }
                Err(error) => {
                    show(with_repairs(unparsed_command(error), repairs(cx)));
                    return split_message(input, |_| true, Quotes::End).1;
                }
            };
            let size = announced.map(|announced| announced.size);
            (input, line) = (input.get(length..).unwrap_or_default(), line.get(length..).unwrap_or_default());
            let kind = match element {
                AppendElement::Message { flags, date, form } => {
                    show(with_repairs(self.message(flags, date, size), repairs(cx)));
                    is_between_messages = matches!(form, AppendForm::Literal | AppendForm::Literal8);
                    "message"
                }
                AppendElement::Part(CatenatePart::Url(url)) => {
                    show(with_repairs(json!({ "event": "part", "url": without_token(url) }), repairs(cx)));
                    continue;
                }
                AppendElement::Part(_) => "part",
                _ => return input,
            };
            if size.is_some() {
                input = contents(kind, size, input, show);
                line = AppendElements::line(input);
            }
        }
        input
    }
}

/// Shows how many bytes of a literal the input has. Returns the input behind them.
fn contents<'i>(kind: &str, size: Option<u64>, input: &'i [u8], show: &mut impl FnMut(Value)) -> &'i [u8] {
    let Some(size) = size else { return input };
    let (taken, rest) = input.split_at(usize::try_from(size).unwrap_or(usize::MAX).min(input.len()));
    show(json!({ "event": kind, "octets": taken.len(), "repairs": [] }));
    rest
}

/// Returns a URL up to its token (RFC 4467), which is a credential.
fn without_token(url: IString<'_>) -> String {
    let mut url = url.to_str_lossy().into_owned();
    if let Some(access) = url.to_ascii_uppercase().find(";URLAUTH=")
        && let Some(token) = url.get(access..).and_then(|rest| rest.find(':'))
    {
        url.truncate(access + token);
    }
    url
}
