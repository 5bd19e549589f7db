//! `show`: one message of a local store: its header fields and its text, its bytes, or one of its parts.

use std::io::IsTerminal;

use clap::Args;
use mailmime::{ByteRange, HeaderFields, HtmlText, Part, TransferDecoder};
use mailstore::{Body, Columns, Message, Store, UidSet};
use proto_mail::printable_char;

use super::mailbox_reader::for_each_piece;
use super::message_line::MessageLine;
use super::store_options::StoreOptions;
use crate::command_error::{CommandError, ExitCode};
use crate::options::OutputOptions;
use crate::output::{Output, write_stdout};

/// The most bytes of a header that are shown.
const HEADER_BYTES: usize = 128 * 1024;

/// The most bytes of each text that JSON holds.
const JSON_TEXT_BYTES: usize = 1 << 20;

/// The header fields that are shown for people.
const SHOWN_FIELDS: [&str; 7] = ["Date", "From", "To", "Cc", "Reply-To", "Subject", "Message-ID"];

/// The arguments of `mailwire show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The folder of the message.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: String,
    /// The message's UID in the local store, as `mailwire list` shows it.
    #[arg(value_name = "UID")]
    pub(crate) uid: u32,
    /// Write the message's bytes. On a terminal, control characters are replaced.
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Write the decoded bytes of one part, by its number: 2, or 1.2 for the second part of the first one. On a terminal,
    /// control characters are replaced.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["json", "raw"])]
    pub(crate) part: Option<String>,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// Runs the command.
pub(crate) fn run(arguments: &ShowArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let local = arguments.store.open()?;
    let folder = local.folder(&arguments.folder)?;
    let columns = Columns::summary().with_envelope().with_structure();
    let page = local.store.fetch_page(folder.id, &UidSet::one(arguments.uid), columns, 1)?;
    let message = page.messages.into_iter().next().ok_or_else(|| {
        let what = format!("{} has no message with UID {}", folder.name, arguments.uid);
        CommandError::new(ExitCode::Data, what).advise("list the messages with mailwire list")
    })?;
    let body = local.store.open_content(message.content)?;
    if arguments.raw {
        return show_raw(&body);
    }
    if let Some(number) = &arguments.part {
        return show_part(&message, &body, number);
    }
    let header = header(&message, &body)?;
    let texts = shown_parts(&message);
    if output.is_json() {
        return show_json(output, &folder.name, &message, &body, &header, &texts);
    }
    for field in HeaderFields::new(&header) {
        let name = String::from_utf8_lossy(field.name).into_owned();
        if SHOWN_FIELDS.iter().any(|shown| shown.eq_ignore_ascii_case(&name)) {
            output.line(format!("{name}: {}", field.text()));
        }
    }
    for part in &texts {
        output.line("");
        if part.media_type != "text" || is_attachment(part) {
            output.line(describe(&message, part));
            continue;
        }
        show_text(&body, part)?;
    }
    Ok(())
}

/// Writes a text part, and the text of HTML.
fn show_text(body: &Body, part: &Part) -> Result<(), CommandError> {
    let mut decoder = part.text_decoder();
    let mut html = (part.media_subtype == "html").then(HtmlText::default);
    let (mut decoded, mut text) = (String::new(), String::new());
    for_each_piece(body, (part.body.start, part.body.end), |piece| {
        decoder.push(piece, &mut decoded);
        match &mut html {
            Some(html) => html.push(&std::mem::take(&mut decoded), &mut text),
            None => text.push_str(&std::mem::take(&mut decoded)),
        }
        write_stdout(printable_lines(&std::mem::take(&mut text)).as_bytes());
        Ok(())
    })?;
    decoder.finish(&mut decoded);
    match html {
        Some(mut html) => {
            html.push(&decoded, &mut text);
            html.finish(&mut text);
        }
        None => text.push_str(&decoded),
    }
    write_stdout(printable_lines(&text).as_bytes());
    Ok(())
}

/// Writes the decoded bytes of the part with this number. Without a known encoding they are written as they are.
fn show_part(message: &Message, body: &Body, number: &str) -> Result<(), CommandError> {
    let root = message.structure.as_ref();
    let found = root.and_then(|root| root.numbered_parts().find(|(path, _)| is_numbered(path, number)));
    let Some((_, part)) = found else {
        let what = format!("the message has no part {number}");
        return Err(CommandError::new(ExitCode::Data, what).advise("show the message without --part first"));
    };
    let is_terminal = std::io::stdout().is_terminal();
    let mut decoder = TransferDecoder::new(&part.encoding);
    let mut decoded = Vec::new();
    let write = |bytes: &[u8]| match is_terminal {
        true => write_stdout(printable_lines(&String::from_utf8_lossy(bytes)).as_bytes()),
        false => write_stdout(bytes),
    };
    for_each_piece(body, (part.body.start, part.body.end), |piece| {
        match &mut decoder {
            Some(decoder) => decoder.push(piece, &mut decoded).map_err(|_| {
                let what = format!("part {number} is not valid {}", part.encoding);
                CommandError::new(ExitCode::Data, what).advise("show the message with --raw")
            })?,
            None => decoded.extend_from_slice(piece),
        }
        write(&std::mem::take(&mut decoded));
        Ok(())
    })?;
    if let Some(decoder) = &mut decoder {
        decoder.finish(&mut decoded);
    }
    write(&decoded);
    Ok(())
}

/// Returns whether this is the number of a part as text.
fn is_numbered(path: &[u32], number: &str) -> bool {
    path.iter().map(u32::to_string).eq(number.split('.'))
}

/// Writes the message's bytes. On a terminal, control characters are replaced, so that the message can't control it.
fn show_raw(body: &Body) -> Result<(), CommandError> {
    let is_terminal = std::io::stdout().is_terminal();
    for_each_piece(body, (0, body.size()), |piece| {
        if is_terminal {
            write_stdout(printable_lines(&String::from_utf8_lossy(piece)).as_bytes());
        } else {
            write_stdout(piece);
        }
        Ok(())
    })
}

fn show_json(
    output: Output,
    folder: &str,
    message: &Message,
    body: &Body,
    header: &[u8],
    parts: &[&Part],
) -> Result<(), CommandError> {
    let fields: Vec<serde_json::Value> = HeaderFields::new(header)
        .map(
            |field| serde_json::json!({ "name": String::from_utf8_lossy(field.name), "value": field.text() }),
        )
        .collect();
    let mut shown = Vec::new();
    for part in parts {
        let mut value = serde_json::json!({
            "type": format!("{}/{}", part.media_type, part.media_subtype),
            "name": part.file_name(),
            "size": part.body_size(),
        });
        if part.media_type == "text" && !is_attachment(part) {
            let mut decoder = part.text_decoder();
            let mut text = String::new();
            let mut is_cut = false;
            for_each_piece(body, (part.body.start, part.body.end), |piece| {
                is_cut |= text.len() >= JSON_TEXT_BYTES;
                if !is_cut {
                    decoder.push(piece, &mut text);
                }
                Ok(())
            })?;
            decoder.finish(&mut text);
            if let Some(object) = value.as_object_mut() {
                object.insert("text".to_owned(), text.into());
                object.insert("truncated".to_owned(), is_cut.into());
            }
        }
        shown.push(value);
    }
    let line = MessageLine::new(folder, message);
    output.json(&serde_json::json!({ "message": line, "header": fields, "parts": shown }));
    Ok(())
}

/// Returns the message's header, up to a limit.
fn header(message: &Message, body: &Body) -> Result<Vec<u8>, CommandError> {
    let range = message.structure.as_ref().map_or(ByteRange::default(), |root| root.header);
    let length = usize::try_from(range.len()).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
    Ok(body.read(range.start, length)?)
}

/// Returns the leaf parts in order, without an HTML text that follows its plain version.
fn shown_parts(message: &Message) -> Vec<&Part> {
    let mut shown = Vec::new();
    let mut left: Vec<&Part> = message.structure.iter().collect();
    while let Some(part) = left.pop() {
        if !part.is_multipart() {
            shown.push(part);
            continue;
        }
        let is_plain = |part: &&Part| part.media_type == "text" && part.media_subtype == "plain";
        let has_plain =
            part.media_subtype == "alternative" && part.children.iter().any(|child| is_plain(&child));
        let children = part.children.iter().rev();
        left.extend(children.filter(|child| !has_plain || is_plain(child)));
    }
    shown
}

fn is_attachment(part: &Part) -> bool {
    part.disposition.as_ref().is_some_and(|disposition| disposition.kind.eq_ignore_ascii_case("attachment"))
}

/// Describes a part that is not shown, with its number.
fn describe(message: &Message, part: &Part) -> String {
    let name = part.file_name().map(|name| format!(" {name}")).unwrap_or_default();
    let mut numbered = message.structure.iter().flat_map(Part::numbered_parts);
    let number = numbered.find(|(_, one)| std::ptr::eq(*one, part)).map(|(path, _)| path).unwrap_or_default();
    let number: Vec<String> = number.iter().map(u32::to_string).collect();
    let (number, size) = (number.join("."), part.body_size());
    format!("[part {number}: {}/{}{name}, {size} bytes]", part.media_type, part.media_subtype)
}

/// Makes text safe for a terminal, and keeps its lines and tabs.
fn printable_lines(text: &str) -> String {
    let safe = |char: char| match char {
        '\n' | '\t' => Some(char),
        '\r' => None,
        char => Some(printable_char(char)),
    };
    text.chars().filter_map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_control_the_terminal() {
        let shown = printable_lines("a\x1b[2J\r\nb\tc\u{9b}31m\u{202e}d\r\n");
        assert_eq!(shown, "a\u{fffd}[2J\nb\tc\u{fffd}31m\u{fffd}d\n");
    }
}
