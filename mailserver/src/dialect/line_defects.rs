//! The defects of responses of one line: status, CAPABILITY, LIST, STATUS, SEARCH and others.

use super::profile::{Defect, Greeting, Profile};

/// The keyword that some accounts of Gmail list.
const KEYWORD: &[u8] = b"OIB-Seen-[Gmail]/All";

/// Returns the name of an untagged response: the word after `*`, or after `*` and a number. Empty for other lines.
pub(super) fn response_name(line: &[u8]) -> &[u8] {
    let Some(rest) = line.strip_prefix(b"* ") else { return &[] };
    let mut words = rest.split(|byte| matches!(byte, b' ' | b'\r'));
    let first = words.next().unwrap_or_default();
    if !first.is_empty() && first.iter().all(u8::is_ascii_digit) {
        return words.next().unwrap_or_default();
    }
    first
}

/// Changes the greeting.
pub(super) fn greeting(line: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    if !line.starts_with(b"* OK ") {
        return out.extend_from_slice(line);
    }
    out.extend_from_slice(b"* OK ");
    let text = match profile.greeting {
        Greeting::Text(text) => text,
        Greeting::WithCapabilities(text) => {
            if let Some(code) = code_of(line) {
                put_code(code, profile, out);
                out.push(b' ');
            }
            text
        }
    };
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Changes a line, which ends with a line end.
pub(super) fn line(line: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    let text = line.strip_suffix(b"\r\n").unwrap_or(line);
    let name = response_name(line).to_ascii_uppercase();
    match name.as_slice() {
        b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH" => status(text, profile, out),
        b"CAPABILITY" => {
            put_capabilities(text.get(2..).unwrap_or_default(), profile, out, b"* ");
        }
        b"FLAGS" => flags(text, profile, out),
        b"LIST" | b"LSUB" => list(text, profile, out),
        b"STATUS" => mailbox_status(text, profile, out),
        b"ID" if !profile.id.is_empty() => identity(profile, out),
        b"EXISTS" | b"RECENT" => count(text, &name, profile, out),
        b"" if text.starts_with(b"+ ") => continuation(text, profile, out),
        b"" => status(text, profile, out),
        _ => out.extend_from_slice(text),
    }
    end_of_line(&name, b"\r\n", profile, out);
}

/// Writes the end of a response, after its other text.
pub(super) fn end_of_line(name: &[u8], line: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    let text = line.strip_suffix(b"\r\n").unwrap_or(line);
    out.extend_from_slice(text);
    let spaced = match name {
        b"STATUS" => Defect::SpaceAfterStatus,
        b"SEARCH" => Defect::SpaceAfterSearch,
        b"CAPABILITY" => Defect::SpaceAfterCapabilities,
        _ => return out.extend_from_slice(b"\r\n"),
    };
    if profile.has(spaced) {
        out.push(b' ');
    }
    out.extend_from_slice(b"\r\n");
}

/// Returns the response code of a status, with its brackets.
fn code_of(text: &[u8]) -> Option<&[u8]> {
    let start = text.windows(2).position(|pair| pair == b" [")? + 1;
    // The code follows the tag or `*`, and the condition.
    if text.get(..start)?.iter().filter(|byte| **byte == b' ').count() != 2 {
        return None;
    }
    let mut depth = 0_usize;
    let end = text.get(start..)?.iter().position(|byte| {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })?;
    text.get(start..=start + end)
}

fn put_code(code: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    let inner = code.strip_prefix(b"[").and_then(|code| code.strip_suffix(b"]")).unwrap_or_default();
    if inner.starts_with(b"CAPABILITY ") {
        put_capabilities(inner, profile, out, b"[");
        out.push(b']');
    } else if let Some(list) = inner.strip_suffix(b")")
        && inner.starts_with(b"PERMANENTFLAGS ")
        && profile.has(Defect::SpaceInPermanentFlags)
    {
        out.push(b'[');
        out.extend_from_slice(list);
        out.extend_from_slice(b" )]");
    } else {
        out.extend_from_slice(code);
    }
}

/// Writes the capabilities of the list that the server has.
fn put_capabilities(list: &[u8], profile: &Profile, out: &mut Vec<u8>, start: &[u8]) {
    out.extend_from_slice(start);
    for (index, word) in list.split(|byte| *byte == b' ').enumerate() {
        let is_listed = std::str::from_utf8(word).is_ok_and(|name| profile.has_capability(name));
        if index == 0 {
            out.extend_from_slice(word);
        } else if is_listed {
            out.push(b' ');
            out.extend_from_slice(word);
        }
    }
}

/// A status response, tagged or not.
fn status(text: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    let Some(code) = code_of(text) else { return out.extend_from_slice(text) };
    let is_untagged = text.starts_with(b"* ");
    if is_untagged && code.starts_with(b"[COPYUID ") && profile.has(Defect::BareCopyUid) {
        return out.extend_from_slice(code);
    }
    let head = text.iter().position(|byte| *byte == b'[').unwrap_or(text.len());
    out.extend_from_slice(text.get(..head).unwrap_or_default());
    put_code(code, profile, out);
    if !(is_untagged && profile.has(Defect::NoTextAfterCode)) {
        out.extend_from_slice(text.get(head + code.len()..).unwrap_or_default());
    }
}

fn flags(text: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    let Some(list) = text.strip_suffix(b")") else { return out.extend_from_slice(text) };
    out.extend_from_slice(list);
    if profile.has(Defect::KeywordWithBrackets) {
        out.push(b' ');
        out.extend_from_slice(KEYWORD);
    }
    if profile.has(Defect::AnyFlagInFlags) {
        out.extend_from_slice(b" \\*");
    }
    out.push(b')');
}

/// Repeats the special use of a mailbox.
fn list(text: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    const USES: [&[u8]; 6] = [b"\\Archive", b"\\Drafts", b"\\Flagged", b"\\Junk", b"\\Sent", b"\\Trash"];
    let end = text.iter().position(|byte| *byte == b')').unwrap_or(text.len());
    let (attributes, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    out.extend_from_slice(attributes);
    let mut words = attributes.split(|byte| matches!(byte, b' ' | b'('));
    let used = words.find(|word| USES.iter().any(|one| one.eq_ignore_ascii_case(word)));
    if let Some(used) = used
        && profile.has(Defect::RepeatedSpecialUse)
    {
        out.push(b' ');
        out.extend_from_slice(used);
    }
    out.extend_from_slice(rest);
}

fn mailbox_status(text: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    let is_inbox = text.starts_with(b"* STATUS INBOX (") || text.starts_with(b"* STATUS \"INBOX\" (");
    match is_inbox && profile.has(Defect::EmptyInboxStatus) {
        true => out.extend_from_slice(b"* STATUS \"INBOX\" ()"),
        false => out.extend_from_slice(text),
    }
}

fn identity(profile: &Profile, out: &mut Vec<u8>) {
    let fields: Vec<_> = profile.id.iter().map(|(field, value)| format!("\"{field}\" \"{value}\"")).collect();
    out.extend_from_slice(format!("* ID ({})", fields.join(" ")).as_bytes());
}

fn count(text: &[u8], name: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    let number = text.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    out.extend_from_slice(b"* ");
    if name == b"EXISTS" && profile.has(Defect::TwoSpacesBeforeCount) {
        out.push(b' ');
    }
    out.extend_from_slice(number);
    out.push(b' ');
    let start = out.len();
    out.extend_from_slice(name);
    if profile.has(Defect::CapitalizedCount)
        && let Some(lower) = out.get_mut(start + 1..)
    {
        lower.make_ascii_lowercase();
    }
}

/// A continuation request. Challenges of SASL are not changed.
fn continuation(text: &[u8], profile: &Profile, out: &mut Vec<u8>) {
    let is_for_people = matches!(text, b"+ " | b"+ go on" | b"+ idling");
    match profile.has(Defect::BareContinuation) && is_for_people {
        true => out.push(b'+'),
        false => out.extend_from_slice(text),
    }
}
