//! Encoded words (RFC 2047): non-ASCII text in an ASCII header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest encoded word, in bytes (RFC 2047 §2).
const MAX_WORD_BYTES: usize = 75;
/// The longest line with an encoded word in it, in bytes (RFC 2047 §2).
const MAX_LINE_BYTES: usize = 76;
const PREFIX: &str = "=?utf-8?Q?";
const SUFFIX: &str = "?=";
/// The length of the parts around the text of an encoded word, in bytes.
const AFFIX_BYTES: usize = PREFIX.len() + SUFFIX.len();

/// Encodes a text as encoded words, which the caller joins with white space. The first one fits into a line with `column`
/// bytes before it, if there is enough space. Uses "Q" if most characters are ASCII, and "B" otherwise (RFC 2047 §4).
///
/// "Q" leaves only the characters unchanged that a phrase allows (RFC 2047 §5 rule 3), so that the words can be used in
/// text, comments and phrases.
pub(super) fn encode(text: &str, column: usize) -> Vec<String> {
    let is_base64 = text.chars().filter(|char| !char.is_ascii()).count() * 2 > text.chars().count();
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let max = if words.is_empty() {
            MAX_LINE_BYTES.saturating_sub(column).min(MAX_WORD_BYTES)
        } else {
            MAX_WORD_BYTES
        };
        // Too little space for a useful word: it begins the next line.
        let max = if max < AFFIX_BYTES + 12 { MAX_WORD_BYTES } else { max } - AFFIX_BYTES;
        let end = end_of_word(rest, max, is_base64);
        let (part, after) = rest.split_at(end);
        words.push(if is_base64 {
            format!("=?utf-8?B?{}{SUFFIX}", STANDARD.encode(part))
        } else {
            format!("{PREFIX}{}{SUFFIX}", part.bytes().map(quote).collect::<String>())
        });
        rest = after;
    }
    words
}

/// Returns the length of the longest prefix that fits into `max` bytes: whole characters, and at least one.
fn end_of_word(text: &str, max: usize, is_base64: bool) -> usize {
    let (mut end, mut length) = (0, 0);
    for (at, char) in text.char_indices() {
        let next = at + char.len_utf8();
        length = if is_base64 {
            next.div_ceil(3) * 4
        } else {
            length + text.get(at..next).unwrap_or_default().bytes().map(quoted_length).sum::<usize>()
        };
        if length > max && end > 0 {
            break;
        }
        end = next;
    }
    end
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'*' | b'+' | b'-' | b'/')
}

const fn quoted_length(byte: u8) -> usize {
    if is_plain(byte) || byte == b' ' { 1 } else { 3 }
}

fn quote(byte: u8) -> String {
    match byte {
        b' ' => "_".to_owned(),
        _ if is_plain(byte) => char::from(byte).to_string(),
        _ => format!("={byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_short_and_contain_whole_characters() {
        for text in ["Grüße", "日本語のテキスト", "a=b?c_d (x) <y@z>, \"ü\"", "🎉🎉🎉"] {
            let text = text.repeat(20);
            for column in [1, 10, 60, 70, 200] {
                let words = encode(&text, column);
                assert!(
                    words.iter().all(|word| word.len() <= MAX_WORD_BYTES && word.is_ascii()),
                    "{words:?}"
                );
                let message = format!("Subject: {}\r\n\r\n", words.join("\r\n "));
                let read = mail_parser::MessageParser::new().parse(message.as_bytes()).unwrap();
                assert_eq!(read.subject(), Some(text.as_str()));
            }
        }
        assert_eq!(encode("Jörg Müller", 10), ["=?utf-8?Q?J=C3=B6rg_M=C3=BCller?="]);
    }
}
