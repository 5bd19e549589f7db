//! Charsets: converts text to UTF-8, whole or piece by piece.

use encoding_rs::{Decoder, Encoding};
use mail_parser::decoders::charsets::map::charset_decoder;
use memchr::memchr;

/// Charset names that mail uses and the libraries lack.
pub(crate) const ALIASES: [(&str, &str); 30] = [
    ("ansi_x3.110-1983", "windows-1252"),
    ("cp-850", "ibm850"),
    ("cp20866", "koi8-r"),
    ("cp21866", "koi8-u"),
    ("cp50220", "iso-2022-jp"),
    ("cp50221", "iso-2022-jp"),
    ("cp50222", "iso-2022-jp"),
    ("cp51932", "euc-jp"),
    ("cp54936", "gb18030"),
    ("cp65001", "utf-8"),
    ("cp874", "windows-874"),
    ("cp932", "shift_jis"),
    ("cp949", "euc-kr"),
    ("cp950", "big5"),
    ("csutf16", "utf-16"),
    ("csutf16be", "utf-16be"),
    ("csutf16le", "utf-16le"),
    ("euc-cn", "gbk"),
    ("eucgb2312_cn", "gbk"),
    ("iso-2022-jp-1", "iso-2022-jp"),
    ("iso-2022-jp-2", "iso-2022-jp"),
    ("iso-2022-jp-ms", "iso-2022-jp"),
    ("iso_10646_ucs_2", "utf-16"),
    ("ms949", "euc-kr"),
    ("ucs_2", "utf-16"),
    ("uhc", "euc-kr"),
    ("utf_16", "utf-16"),
    ("utf_16be", "utf-16be"),
    ("utf_16le", "utf-16le"),
    ("utf_7", "utf-7"),
];

/// Converts text of a charset to UTF-8. The charset may have any name of the WHATWG Encoding Standard or any other
/// common name in mail. For an unknown charset, valid UTF-8 is kept and other bytes are replaced.
pub fn text(charset: &str, bytes: Vec<u8>) -> String {
    let name = charset.trim().to_ascii_lowercase();
    let name = canonical(&name);
    let bytes = match (name, String::from_utf8(bytes)) {
        // Mail that states ASCII, or no charset, is often UTF-8.
        ("us-ascii" | "ascii" | "utf-8" | "utf8", Ok(text)) => return text,
        (_, Ok(text)) => text.into_bytes(),
        (_, Err(error)) => error.into_bytes(),
    };
    if matches!(name, "utf-7" | "unicode-1-1-utf-7" | "csutf7" | "x-unicode-2-0-utf-7") {
        return decode_utf7(&bytes);
    }
    if let Some(encoding) = Encoding::for_label_no_replacement(name.as_bytes()) {
        return encoding.decode(&bytes).0.into_owned();
    }
    let replaces = Encoding::for_label(name.as_bytes()).is_some();
    match charset_decoder(name.as_bytes()).filter(|_| !replaces) {
        Some(decode) => decode(&bytes),
        None => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, charset)| charset)
}

/// Returns the encoding of a charset that can be decoded piece by piece.
fn streaming_encoding(charset: &str) -> Option<&'static Encoding> {
    let name = charset.trim().to_ascii_lowercase();
    match canonical(&name) {
        // Mail that states ASCII, or no charset, is often UTF-8.
        "us-ascii" | "ascii" | "utf-8" | "utf8" => Some(encoding_rs::UTF_8),
        name => Encoding::for_label_no_replacement(name.as_bytes()),
    }
}

/// Decodes UTF-7 (RFC 2152) tolerantly.
fn decode_utf7(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        if byte != b'+' {
            out.push(char::from(byte));
            continue;
        }
        if let Some(more) = rest.strip_prefix(b"-") {
            out.push('+');
            rest = more;
            continue;
        }
        let (mut bits, mut count) = (0_u32, 0);
        let mut units = Vec::new();
        while let Some((value, more)) =
            rest.split_first().and_then(|(byte, more)| Some((base64_value(*byte)?, more)))
        {
            rest = more;
            bits = (bits << 6) | value;
            count += 6;
            if count >= 16 {
                count -= 16;
                units.push(u16::try_from((bits >> count) & 0xffff).unwrap_or(0xfffd));
                bits &= (1 << count) - 1;
            }
        }
        out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
        rest = rest.strip_prefix(b"-").unwrap_or(rest);
    }
    out
}

fn base64_value(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// The longest line, in bytes, that is decoded in one piece for a charset without a streaming decoder.
const LINE_LIMIT: usize = 64 * 1024;

/// Decodes text of one charset piece by piece. The text does not depend on how the bytes are divided into pieces.
pub(crate) enum CharsetDecoder {
    Streaming(Box<Decoder>),
    /// Decoded line by line, because no shift state crosses a line.
    Lines {
        name: String,
        /// The bytes of the last line, which is not complete.
        rest: Vec<u8>,
        /// How many of them were searched for a line end.
        searched: usize,
    },
}

impl CharsetDecoder {
    pub(crate) fn new(name: &str) -> Self {
        match streaming_encoding(name) {
            Some(encoding) => Self::Streaming(Box::new(encoding.new_decoder())),
            None => Self::Lines { name: name.to_owned(), rest: Vec::new(), searched: 0 },
        }
    }

    /// Decodes the next piece and appends the text to `out`.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut String) {
        match self {
            Self::Streaming(decoder) => stream(decoder, bytes, out, false),
            Self::Lines { name, rest, searched } => {
                rest.extend_from_slice(bytes);
                let (mut decoded, mut line) = (0, 0);
                loop {
                    let from = line.max(*searched);
                    let most = rest.len().min(line + LINE_LIMIT);
                    match memchr(b'\n', rest.get(from..most).unwrap_or_default()) {
                        Some(at) => line = from + at + 1,
                        None if most == line + LINE_LIMIT => {
                            out.push_str(&text(name, rest.get(decoded..most).unwrap_or_default().to_vec()));
                            (decoded, line) = (most, most);
                        }
                        None => break,
                    }
                }
                out.push_str(&text(name, rest.get(decoded..line).unwrap_or_default().to_vec()));
                rest.drain(..line);
                *searched = rest.len();
            }
        }
    }

    /// Appends the text of the remaining bytes to `out`.
    pub(crate) fn finish(&mut self, out: &mut String) {
        match self {
            Self::Streaming(decoder) => stream(decoder, &[], out, true),
            Self::Lines { name, rest, .. } => out.push_str(&text(name, std::mem::take(rest))),
        }
    }
}

fn stream(decoder: &mut Decoder, bytes: &[u8], out: &mut String, last: bool) {
    let Some(most) = decoder.max_utf8_buffer_length(bytes.len()) else { return };
    out.reserve(most);
    // The reserved capacity is enough for all of it.
    let _ = decoder.decode_to_string(bytes, out, last);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_longer_than_the_limit_are_cut_at_the_same_place_in_any_pieces() {
        // A UTF-7 sequence across the limit shows where the line was cut.
        let text = format!("{}+AOkA6QDpAOk-\n+AOk-", "x".repeat(LINE_LIMIT - 3)).into_bytes();
        let mut results = [1_usize, 7, 4_096, LINE_LIMIT - 1, LINE_LIMIT, text.len()].map(|length| {
            let (mut decoder, mut out) = (CharsetDecoder::new("utf-7"), String::new());
            text.chunks(length).for_each(|piece| decoder.push(piece, &mut out));
            decoder.finish(&mut out);
            out
        });
        assert!(results[0].ends_with("\né"));
        let first = results[0].clone();
        assert!(results.iter_mut().all(|result| *result == first));
    }
}
