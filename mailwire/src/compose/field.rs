//! One header field of a built message: its syntax, its encoded words and where it is folded.
//!
//! RFC 2047 §5 allows an encoded word in unstructured text, in a phrase and in a comment, and nowhere else. An address,
//! a message id, a URL or a token is therefore never encoded: it is written as it is, or refused. Fields are folded at
//! white space that is there already (RFC 5322 §2.2.3), so that unfolding restores the value.

use super::encoded_word;
use super::mailbox::ascii_address;

/// The length of a line that is aimed for, in bytes without CRLF (RFC 5322 §2.1.1).
const AIM: usize = 78;
/// The same for a line with an encoded word in it (RFC 2047 §2).
const ENCODED_AIM: usize = 76;
/// The longest line, in bytes without CRLF (RFC 5322 §2.1.1).
const LONGEST: usize = 998;

/// What the value of a field is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// Unstructured text: any word may be encoded.
    Text,
    /// Mailboxes and groups with commas between them: phrases and comments may be encoded.
    Addresses,
    /// Phrases with commas between them.
    Phrases,
    /// Message ids.
    Ids,
    /// An optional phrase in front of an identifier in angle brackets (RFC 2919).
    PhraseAndId,
    /// Tokens, URLs, numbers or dates: only comments may be encoded.
    Tokens,
}

/// The structured fields that a message may be given. Every other field is unstructured (RFC 5322 §3.6.8).
const STRUCTURED: &[(Syntax, &[&str])] = &[
    (
        Syntax::Addresses,
        &[
            "From",
            "Sender",
            "Reply-To",
            "To",
            "Cc",
            "Bcc",
            "Resent-From",
            "Resent-Sender",
            "Resent-Reply-To",
            "Resent-To",
            "Resent-Cc",
            "Resent-Bcc",
            "Disposition-Notification-To",
            "Return-Receipt-To",
            "Mail-Followup-To",
            "Mail-Reply-To",
            "Errors-To",
            "Apparently-To",
            "Delivered-To",
            "X-Original-To",
            "X-Envelope-To",
            "X-Envelope-From",
            "X-Sender",
            "X-Confirm-Reading-To",
            "Abuse-Reports-To",
            "X-Report-Abuse-To",
            "Approved",
        ],
    ),
    (Syntax::Phrases, &["Keywords"]),
    (
        Syntax::Ids,
        &[
            "Message-ID",
            "In-Reply-To",
            "References",
            "Resent-Message-ID",
            "Original-Message-ID",
            "Content-ID",
            "Supersedes",
            "Obsoletes",
            "X-Gm-Message-State",
        ],
    ),
    (Syntax::PhraseAndId, &["List-ID"]),
    (
        Syntax::Tokens,
        &[
            "Date",
            "Resent-Date",
            "Expires",
            "Expiry-Date",
            "Deferred-Delivery",
            "Delivery-Date",
            "Reply-By",
            "List-Help",
            "List-Subscribe",
            "List-Unsubscribe",
            "List-Unsubscribe-Post",
            "List-Post",
            "List-Owner",
            "List-Archive",
            "Archived-At",
            "Original-Recipient",
            "Original-From",
            "Auto-Submitted",
            "X-Auto-Response-Suppress",
            "Authentication-Results",
            "ARC-Authentication-Results",
            "ARC-Message-Signature",
            "ARC-Seal",
            "DKIM-Signature",
            "DomainKey-Signature",
            "Received",
            "Received-SPF",
            "Return-Path",
            "Autocrypt",
            "Autocrypt-Gossip",
            "Feedback-ID",
            "Importance",
            "Priority",
            "Precedence",
            "Sensitivity",
            "Solicitation",
            "X-Priority",
            "MT-Priority",
            "Require-Recipient-Valid-Since",
            "TLS-Required",
            "Accept-Language",
            "Content-Language",
            "Content-Base",
            "Content-Location",
            "Content-Type",
            "Content-Disposition",
            "Content-Transfer-Encoding",
            "Content-Duration",
            "Content-Features",
            "Content-MD5",
            "MIME-Version",
            "Disposition-Notification-Options",
            "Jabber-ID",
            "Encrypted",
            "Conversion",
            "Conversion-With-Loss",
            "Newsgroups",
            "Followup-To",
            "Distribution",
            "Path",
            "Lines",
        ],
    ),
];

/// Writes the field `name: value` with its line ends.
///
/// # Errors
/// The value cannot be written: a structured field has characters beyond ASCII where no encoded word may be, or a word
/// is longer than a line.
pub(super) fn write(name: &str, value: &str) -> Result<String, String> {
    let value = value.trim_matches([' ', '\t']);
    let failed = |why: String| format!("the value of {name} {why}");
    // The first line has the name in front.
    let column = name.len() + 2;
    let (value, aim) = match syntax(name) {
        Syntax::Ids => (ids(value).map_err(failed)?, AIM),
        _ if value.is_ascii() => (value.to_owned(), AIM),
        Syntax::Text => (text(value, column), ENCODED_AIM),
        Syntax::Addresses => (addresses(value, column).map_err(failed)?, ENCODED_AIM),
        Syntax::Phrases => {
            (split(value, b",").into_iter().map(phrase_of).collect::<Vec<_>>().join(", "), ENCODED_AIM)
        }
        Syntax::PhraseAndId => (phrase_and_id(value).map_err(failed)?, ENCODED_AIM),
        Syntax::Tokens => (tokens(value).map_err(failed)?, ENCODED_AIM),
    };
    fold(name, &value, aim)
}

fn syntax(name: &str) -> Syntax {
    let listed = |(_, names): &&(Syntax, &[&str])| names.iter().any(|one| one.eq_ignore_ascii_case(name));
    STRUCTURED.iter().find(listed).map_or(Syntax::Text, |(syntax, _)| *syntax)
}

/// Breaks lines at white space so that they have at most `aim` bytes where the words allow it.
fn fold(name: &str, value: &str, aim: usize) -> Result<String, String> {
    let mut field = format!("{name}:");
    let mut column = field.len();
    let mut rest = value;
    while !rest.is_empty() {
        let after = rest.trim_start_matches([' ', '\t']);
        let space = rest.get(..rest.len() - after.len()).unwrap_or_default();
        let end = after.find([' ', '\t']).unwrap_or(after.len());
        let (word, next) = after.split_at(end);
        rest = next;
        if word.is_empty() {
            break;
        }
        if word.len() >= LONGEST {
            return Err(format!(
                "the value of {name} holds a word of {} bytes: a line has at most {LONGEST}, and a field is folded at \
                 white space only",
                word.len()
            ));
        }
        let is_first = column == name.len() + 1;
        let space = if is_first || space.len() + word.len() > LONGEST { " " } else { space };
        let length = space.len() + word.len();
        // A line break right behind the colon is avoided: some programs then take the field for an empty one.
        let most = if is_first { LONGEST } else { aim };
        if column + length > most {
            field.push_str("\r\n");
            column = 0;
        }
        field.push_str(space);
        field.push_str(word);
        column += length;
    }
    field.push_str("\r\n");
    Ok(field)
}

/// Unstructured text: each run of words beyond ASCII is encoded, and the other words stay as they are.
fn text(value: &str, column: usize) -> String {
    let mut written = String::new();
    let mut run: Option<(usize, usize)> = None;
    let encode = |run: Option<(usize, usize)>, written: &mut String| {
        let Some((from, to)) = run else { return };
        let room = if written.is_empty() { column } else { 1 };
        written.push_str(&encoded_word::encode(value.get(from..to).unwrap_or_default(), room).join(" "));
    };
    let mut at = 0;
    let mut space = "";
    for word in value.split_inclusive([' ', '\t']) {
        let bare = word.trim_end_matches([' ', '\t']);
        let (from, to) = (at, at + bare.len());
        at += word.len();
        if bare.is_empty() {
            space = value.get(from - space.len()..at).unwrap_or(" ");
            continue;
        }
        if bare.is_ascii() {
            encode(run.take(), &mut written);
            written.push_str(space);
            written.push_str(bare);
        } else {
            match &mut run {
                // White space between two encoded words is ignored: it is encoded with them.
                Some((_, end)) => *end = to,
                None => {
                    written.push_str(space);
                    run = Some((from, to));
                }
            }
        }
        space = value.get(to..at).unwrap_or_default();
    }
    encode(run, &mut written);
    written
}

/// A list of mailboxes and groups. What is ASCII in it stays as it is.
fn addresses(value: &str, column: usize) -> Result<String, String> {
    let mut written: Vec<String> = Vec::new();
    for part in split(value, b",") {
        let room = if written.is_empty() { column } else { 1 };
        written.push(address(part, room)?);
    }
    Ok(written.join(", "))
}

/// A mailbox, or the beginning, a member or the end of a group.
fn address(part: &str, room: usize) -> Result<String, String> {
    if part.is_ascii() {
        return Ok(part.to_owned());
    }
    // `name: first` and `last;` of a group.
    if let Some((name, first)) = top_level(part, b':') {
        let first = first.trim();
        let first = if first.is_empty() { String::new() } else { format!(" {}", address(first, 1)?) };
        return Ok(format!("{}:{first}", phrase(name.trim(), room)));
    }
    if let Some(last) = part.strip_suffix(';') {
        return Ok(format!("{};", address(last.trim_end(), room)?));
    }
    let (part, comment) = trailing_comment(part);
    let comment = comment.map(|comment| format!(" {}", encoded_comment(comment))).unwrap_or_default();
    if let Some((name, rest)) = top_level(part, b'<') {
        let address = rest.trim_end().strip_suffix('>').ok_or("has an angle bracket that is not closed")?;
        let address = ascii_address(address.trim())?;
        let name = name.trim();
        let name = if name.is_empty() { String::new() } else { format!("{} ", phrase(name, room)) };
        return Ok(format!("{name}<{address}>{comment}"));
    }
    let bare = part.trim();
    if bare.contains([' ', '\t']) || !bare.contains('@') {
        return Err(format!("is no list of addresses: {bare:?} (expected Name <local@domain>)"));
    }
    Ok(format!("{}{comment}", ascii_address(bare)?))
}

fn phrase_of(text: &str) -> String {
    phrase(text, 1)
}

/// A phrase: as it is where it is ASCII, and encoded as a whole where it is not.
fn phrase(text: &str, room: usize) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    encoded_word::encode(&unquoted(text), room).join(" ")
}

/// The text of a quoted string, without quotes and backslashes; any other text as it is.
fn unquoted(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut quoted, mut chars) = (false, text.chars());
    while let Some(char) = chars.next() {
        match char {
            '"' => quoted = !quoted,
            '\\' if quoted => plain.extend(chars.next()),
            char => plain.push(char),
        }
    }
    plain
}

/// Message ids with white space between them.
fn ids(value: &str) -> Result<String, String> {
    if !value.is_ascii() {
        return Err("holds characters beyond ASCII: a message id has none".to_owned());
    }
    Ok(value.replace("><", "> <"))
}

fn phrase_and_id(value: &str) -> Result<String, String> {
    let Some((name, id)) = top_level(value, b'<') else {
        return Err("holds characters beyond ASCII outside of a phrase in front of <…>".to_owned());
    };
    if !id.is_ascii() {
        return Err("holds characters beyond ASCII in its identifier".to_owned());
    }
    Ok(format!("{} <{id}", phrase(name.trim(), 1)))
}

/// Tokens and URLs, which are ASCII, and comments, which need not be.
fn tokens(value: &str) -> Result<String, String> {
    let mut written = String::new();
    let mut rest = value;
    while let Some((before, comment)) = top_level(rest, b'(') {
        if !before.is_ascii() {
            break;
        }
        let end = comment_end(comment).ok_or("has a comment that is not closed")?;
        let (comment, after) = comment.split_at(end);
        written.push_str(before);
        written.push_str(&encoded_comment(comment));
        rest = after.get(1..).unwrap_or_default();
    }
    if !rest.is_ascii() {
        return Err(
            "holds characters beyond ASCII where none may be: write a URL with %XX, a domain as xn--…"
                .to_owned(),
        );
    }
    written.push_str(rest);
    Ok(written)
}

/// A comment with its parentheses; the text between them is encoded where it is not ASCII.
fn encoded_comment(text: &str) -> String {
    if text.is_ascii() {
        return format!("({text})");
    }
    let plain: String = text.chars().filter(|char| !matches!(char, '\\')).collect();
    format!("({})", encoded_word::encode(&plain, 2).join(" "))
}

/// Splits a comment off that ends a mailbox.
fn trailing_comment(part: &str) -> (&str, Option<&str>) {
    let found = part.trim_end().strip_suffix(')').and_then(|inner| {
        let (before, comment) = top_level(inner, b'(')?;
        (comment_end(comment).is_none() && !before.trim().is_empty()).then_some((before, comment))
    });
    match found {
        Some((before, comment)) => (before, Some(comment)),
        None => (part, None),
    }
}

/// Where a comment ends that begins before this text.
fn comment_end(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth == 0 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The text around the first such byte that is in no quoted string, comment or angle brackets.
fn top_level(text: &str, wanted: u8) -> Option<(&str, &str)> {
    let at = TopLevel::of(text).find(|(_, byte)| *byte == wanted)?.0;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The parts of a text between such bytes, trimmed; empty ones are left out.
fn split<'t>(text: &'t str, at: &[u8]) -> Vec<&'t str> {
    split_at(text, at).into_iter().map(|(part, _)| part).filter(|part| !part.is_empty()).collect()
}

/// The parts of a text between such bytes, trimmed, each with the byte that ends it.
pub(super) fn split_at<'t>(text: &'t str, at: &[u8]) -> Vec<(&'t str, Option<u8>)> {
    let part = |from, to| text.get(from..to).unwrap_or_default().trim_matches([' ', '\t']);
    let (mut parts, mut begin) = (Vec::new(), 0);
    for (end, byte) in TopLevel::of(text).filter(|(_, byte)| at.contains(byte)) {
        parts.push((part(begin, end), Some(byte)));
        begin = end + 1;
    }
    parts.push((part(begin, text.len()), None));
    parts
}

/// A text without its comments.
pub(super) fn without_comments(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, comment)) = top_level(rest, b'(') {
        plain.push_str(before);
        rest = comment_end(comment).and_then(|end| comment.get(end + 1..)).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

/// The bytes of a text that are in no quoted string, comment or angle brackets, with their offsets. What opens one of
/// these is among them.
struct TopLevel<'t> {
    bytes: std::iter::Enumerate<std::str::Bytes<'t>>,
    quoted: bool,
    comments: usize,
    angle: bool,
}

impl<'t> TopLevel<'t> {
    fn of(text: &'t str) -> Self {
        Self { bytes: text.bytes().enumerate(), quoted: false, comments: 0, angle: false }
    }
}

impl Iterator for TopLevel<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<(usize, u8)> {
        loop {
            let (at, byte) = self.bytes.next()?;
            let inside = self.quoted || self.comments > 0 || self.angle;
            match byte {
                b'\\' if self.quoted || self.comments > 0 => {
                    self.bytes.next();
                }
                b'"' if self.comments == 0 => self.quoted = !self.quoted,
                _ if self.quoted => {}
                b'(' => self.comments += 1,
                b')' if self.comments > 0 => self.comments -= 1,
                _ if self.comments > 0 => {}
                b'<' => self.angle = true,
                b'>' => self.angle = false,
                _ => {}
            }
            if !inside {
                return Some((at, byte));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, value: &str) -> String {
        write(name, value).unwrap()
    }

    fn unfolded(field: &str) -> String {
        field.replace("\r\n", "")
    }

    #[test]
    fn encodes_only_phrases_and_comments_of_addresses() {
        for (value, expected) in [
            ("Jörg Müller <j@x.example>", "=?utf-8?Q?J=C3=B6rg_M=C3=BCller?= <j@x.example>"),
            (
                "\"Müller, Jörg\" <j@x.example>, b@y.example",
                "=?utf-8?Q?M=C3=BCller=2C_J=C3=B6rg?= <j@x.example>, b@y.example",
            ),
            ("a@x.example (Büro)", "a@x.example (=?utf-8?Q?B=C3=BCro?=)"),
            (
                "Team Köln: Jörg <j@x.example>, b@y.example;",
                "=?utf-8?Q?Team_K=C3=B6ln?=: =?utf-8?Q?J=C3=B6rg?= <j@x.example>, b@y.example;",
            ),
            ("Jo <jo@bücher.example>", "Jo <jo@xn--bcher-kva.example>"),
            ("\"J. Doe\" <j@x.example>", "\"J. Doe\" <j@x.example>"),
        ] {
            for name in ["Reply-To", "sender", "Resent-To", "Disposition-Notification-To", "Mail-Followup-To"]
            {
                let field = written(name, value);
                assert_eq!(unfolded(&field), format!("{name}: {expected}"), "{field:?}");
            }
        }
        assert!(write("Reply-To", "Jörg Müller").is_err());
        assert!(write("Reply-To", "Jörg <j@x.example").is_err());
    }

    #[test]
    fn message_ids_are_folded_between_ids_and_never_encoded() {
        let ids: Vec<String> =
            (0..12).map(|number| format!("<{number:02}{}@mail.example.org>", "a".repeat(25))).collect();
        for name in ["References", "In-Reply-To"] {
            let field = written(name, &ids.join(" "));
            assert!(field.lines().count() > 6 && field.lines().all(|line| line.len() <= AIM), "{field}");
            assert_eq!(unfolded(&field), format!("{name}: {}", ids.join(" ")));
        }
        assert_eq!(written("References", "<a@x><b@y>"), "References: <a@x> <b@y>\r\n");
        assert!(write("References", "<ä@x>").is_err());
    }

    #[test]
    fn urls_and_tokens_are_sent_bare_and_folded_at_white_space_only() {
        let url = format!("<https://example.org/{}>", "u".repeat(90));
        let field = written("List-Unsubscribe", &format!("{url}, <mailto:leave@example.org?subject=x>"));
        assert_eq!(field, format!("List-Unsubscribe: {url},\r\n <mailto:leave@example.org?subject=x>\r\n"));
        let results = format!("mx.example; {}", "dkim=pass header.d=example.org; ".repeat(8));
        let field = written("Authentication-Results", &results);
        assert!(field.lines().count() > 2 && !field.contains("=?"), "{field}");
        assert_eq!(
            written("Auto-Submitted", "auto-replied (für Jörg)"),
            "Auto-Submitted: auto-replied (=?utf-8?Q?f=C3=BCr_J=C3=B6rg?=)\r\n"
        );
        for (name, value) in
            [("List-Post", "<mailto:bücher@example.org>"), ("Auto-Submitted", "jö"), ("X-Priority", "größte")]
        {
            assert!(write(name, value).is_err(), "{name}");
        }
        assert_eq!(
            written("List-Id", "Bücher <b.example.org>"),
            "List-Id: =?utf-8?Q?B=C3=BCcher?= <b.example.org>\r\n"
        );
        assert!(write("List-Id", "<bücher.example.org>").is_err());
    }

    #[test]
    fn text_is_encoded_word_by_word_and_unknown_fields_are_text() {
        assert_eq!(
            written("Comments", "Grüße aus Köln"),
            "Comments: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus =?utf-8?Q?K=C3=B6ln?=\r\n"
        );
        assert_eq!(
            written("X-Note", "see <a@x.example> für mehr"),
            "X-Note: see <a@x.example> =?utf-8?Q?f=C3=BCr?= mehr\r\n"
        );
        assert_eq!(
            written("X-Note", "größe  größe"),
            "X-Note: =?utf-8?Q?gr=C3=B6=C3=9Fe__gr=C3=B6=C3=9Fe?=\r\n"
        );
        assert_eq!(
            written("Keywords", "Köln, plain, \"a b\""),
            "Keywords: =?utf-8?Q?K=C3=B6ln?=, plain, \"a b\"\r\n"
        );
        let long = written("X-Long", &"日本語のテキスト".repeat(40));
        assert!(long.lines().all(|line| line.len() <= ENCODED_AIM), "{long}");
        let plain = written("X-Long", &"word ".repeat(60));
        assert!(plain.lines().all(|line| line.len() <= AIM) && !plain.contains("=?"), "{plain}");
        assert_eq!(unfolded(&plain), format!("X-Long: {}", "word ".repeat(60).trim_end()));
    }

    #[test]
    fn a_word_longer_than_a_line_is_refused() {
        for name in ["X-Token", "References", "List-Unsubscribe"] {
            let why = write(name, &format!("a {}", "t".repeat(998))).unwrap_err();
            assert!(why.contains(name) && why.contains("998"), "{why}");
            let field = written(name, &format!("a {}", "t".repeat(997)));
            assert!(field.lines().all(|line| line.len() <= LONGEST), "{name}");
        }
    }
}
