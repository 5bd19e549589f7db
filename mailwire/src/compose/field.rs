//! Writes one header field of a built message: syntax, encoded words and folding.
//!
//! RFC 2047 §5 allows encoded words only in unstructured text, phrases and comments. Addresses, message IDs, URLs and
//! tokens are therefore never encoded: they are written unchanged or rejected. Fields are folded only at existing white
//! space (RFC 5322 §2.2.3), so that unfolding restores the value.

use super::encoded_word;
use super::mailbox::ascii_address;
use super::structured::{comment_end, split, top_level};

/// The preferred maximum length of a line, in bytes without CRLF (RFC 5322 §2.1.1).
const PREFERRED_LINE: usize = 78;
/// The same for a line with an encoded word in it (RFC 2047 §2).
const PREFERRED_ENCODED_LINE: usize = 76;
/// The longest line, in bytes without CRLF (RFC 5322 §2.1.1).
const MAX_LINE_BYTES: usize = 998;

/// The syntax of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// Unstructured text: any word may be encoded.
    Text,
    /// Mailboxes and groups separated by commas: phrases and comments may be encoded.
    Addresses,
    /// Phrases separated by commas.
    Phrases,
    /// Message IDs.
    Ids,
    /// An optional phrase before an identifier in angle brackets (RFC 2919).
    PhraseAndId,
    /// Tokens, URLs, numbers or dates: only comments may be encoded.
    Tokens,
}

/// The known structured fields. Every other field is unstructured (RFC 5322 §3.6.8).
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
/// A structured field has non-ASCII characters where no encoded word is allowed, or a word is longer than a line.
pub(super) fn write(name: &str, value: &str) -> Result<String, String> {
    let value = value.trim_matches([' ', '\t']);
    let failed = |why: String| format!("the value of {name} {why}");
    // The name comes first in the first line.
    let column = name.len() + 2;
    let (value, preferred) = match syntax(name) {
        Syntax::Ids => (ids(value).map_err(failed)?, PREFERRED_LINE),
        _ if value.is_ascii() => (value.to_owned(), PREFERRED_LINE),
        Syntax::Text => (text(value, column), PREFERRED_ENCODED_LINE),
        Syntax::Addresses => (addresses(value, column).map_err(failed)?, PREFERRED_ENCODED_LINE),
        Syntax::Phrases => (
            split(value, b",").into_iter().map(phrase_of).collect::<Vec<_>>().join(", "),
            PREFERRED_ENCODED_LINE,
        ),
        Syntax::PhraseAndId => (phrase_and_id(value).map_err(failed)?, PREFERRED_ENCODED_LINE),
        Syntax::Tokens => (tokens(value).map_err(failed)?, PREFERRED_ENCODED_LINE),
    };
    fold(name, &value, preferred)
}

fn syntax(name: &str) -> Syntax {
    let listed = |(_, names): &&(Syntax, &[&str])| names.iter().any(|one| one.eq_ignore_ascii_case(name));
    STRUCTURED.iter().find(listed).map_or(Syntax::Text, |(syntax, _)| *syntax)
}

/// Folds a field at white space, so that lines have at most `preferred` bytes if possible.
fn fold(name: &str, value: &str, preferred: usize) -> Result<String, String> {
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
        if word.len() >= MAX_LINE_BYTES {
            return Err(format!(
                "the value of {name} contains a word of {} bytes; a line has at most {MAX_LINE_BYTES} and can be folded only \
                 at white space",
                word.len()
            ));
        }
        let is_first = column == name.len() + 1;
        let space = if is_first || space.len() + word.len() > MAX_LINE_BYTES { " " } else { space };
        let length = space.len() + word.len();
        // Avoid a line break right after the colon: some programs then treat the field as empty.
        let max = if is_first { MAX_LINE_BYTES } else { preferred };
        if column + length > max {
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

/// Encodes each run of non-ASCII words in unstructured text, and leaves other words unchanged.
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
                // Readers ignore white space between encoded words, so it is encoded with them.
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

/// Encodes a list of mailboxes and groups. ASCII parts stay unchanged.
fn addresses(value: &str, column: usize) -> Result<String, String> {
    let mut written: Vec<String> = Vec::new();
    for part in split(value, b",") {
        let room = if written.is_empty() { column } else { 1 };
        written.push(address(part, room)?);
    }
    Ok(written.join(", "))
}

/// Encodes a mailbox, or the beginning, a member or the end of a group.
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
        let address = rest.trim_end().strip_suffix('>').ok_or("has an unclosed angle bracket")?;
        let address = ascii_address(address.trim())?;
        let name = name.trim();
        let name = if name.is_empty() { String::new() } else { format!("{} ", phrase(name, room)) };
        return Ok(format!("{name}<{address}>{comment}"));
    }
    let bare = part.trim();
    if bare.contains([' ', '\t']) || !bare.contains('@') {
        return Err(format!("is not a list of addresses: {bare:?} (expected Name <local@domain>)"));
    }
    Ok(format!("{}{comment}", ascii_address(bare)?))
}

fn phrase_of(text: &str) -> String {
    phrase(text, 1)
}

/// Encodes a phrase as a whole, unless it is ASCII.
fn phrase(text: &str, room: usize) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    encoded_word::encode(&unquoted(text), room).join(" ")
}

/// Removes the quotes and backslashes of quoted strings.
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

/// Separates message IDs with white space.
fn ids(value: &str) -> Result<String, String> {
    if !value.is_ascii() {
        return Err("contains non-ASCII characters, which a message ID cannot have".to_owned());
    }
    Ok(value.replace("><", "> <"))
}

fn phrase_and_id(value: &str) -> Result<String, String> {
    let Some((name, id)) = top_level(value, b'<') else {
        return Err("contains non-ASCII characters outside the phrase before <…>".to_owned());
    };
    if !id.is_ascii() {
        return Err("contains non-ASCII characters in its identifier".to_owned());
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
            "contains non-ASCII characters where none are allowed: write a URL with %XX and a domain as xn--…"
                .to_owned(),
        );
    }
    written.push_str(rest);
    Ok(written)
}

/// Encodes a comment, and adds its parentheses.
fn encoded_comment(text: &str) -> String {
    if text.is_ascii() {
        return format!("({text})");
    }
    let plain: String = text.chars().filter(|char| !matches!(char, '\\')).collect();
    format!("({})", encoded_word::encode(&plain, 2).join(" "))
}

/// Splits off a comment at the end of a mailbox.
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
    fn folds_between_message_ids_and_never_encodes_them() {
        let ids: Vec<String> =
            (0..12).map(|number| format!("<{number:02}{}@mail.example.org>", "a".repeat(25))).collect();
        for name in ["References", "In-Reply-To"] {
            let field = written(name, &ids.join(" "));
            assert!(
                field.lines().count() > 6 && field.lines().all(|line| line.len() <= PREFERRED_LINE),
                "{field}"
            );
            assert_eq!(unfolded(&field), format!("{name}: {}", ids.join(" ")));
        }
        assert_eq!(written("References", "<a@x><b@y>"), "References: <a@x> <b@y>\r\n");
        assert!(write("References", "<ä@x>").is_err());
    }

    #[test]
    fn writes_urls_and_tokens_unencoded_and_folds_at_white_space() {
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
    fn encodes_text_word_by_word_and_treats_unknown_fields_as_text() {
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
        assert!(long.lines().all(|line| line.len() <= PREFERRED_ENCODED_LINE), "{long}");
        let plain = written("X-Long", &"word ".repeat(60));
        assert!(plain.lines().all(|line| line.len() <= PREFERRED_LINE) && !plain.contains("=?"), "{plain}");
        assert_eq!(unfolded(&plain), format!("X-Long: {}", "word ".repeat(60).trim_end()));
    }

    #[test]
    fn rejects_a_word_longer_than_a_line() {
        for name in ["X-Token", "References", "List-Unsubscribe"] {
            let why = write(name, &format!("a {}", "t".repeat(998))).unwrap_err();
            assert!(why.contains(name) && why.contains("998"), "{why}");
            let field = written(name, &format!("a {}", "t".repeat(997)));
            assert!(field.lines().all(|line| line.len() <= MAX_LINE_BYTES), "{name}");
        }
    }
}
