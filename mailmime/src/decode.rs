//! Decodes header text, bodies and dates, for search and display.
//!
//! All functions take raw bytes, for example of a section, and never fail. Bytes that can't be decoded are kept, with
//! replacement characters for those that are not UTF-8. No result is longer than four times its input, and every
//! function is linear.

use crate::header::unfold;
use crate::structure::Part;
use encoding_rs::Encoding;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;

/// The longest charset name, in bytes, including its language (RFC 2231 §5).
const CHARSET_NAME_LIMIT: usize = 64;

/// Charset names that mail uses and the libraries lack.
const ALIASES: [(&str, &str); 21] = [
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
    ("euc-cn", "gbk"),
    ("eucgb2312_cn", "gbk"),
    ("iso-2022-jp-1", "iso-2022-jp"),
    ("iso-2022-jp-2", "iso-2022-jp"),
    ("iso-2022-jp-ms", "iso-2022-jp"),
    ("ms949", "euc-kr"),
    ("uhc", "euc-kr"),
];

/// Returns the text of a header field's value with encoded words decoded (RFC 2047).
///
/// The bytes of adjacent words of one charset are joined before they are decoded, because some senders split a word in
/// the middle of a character.
pub fn header_text(value: &[u8]) -> String {
    let text = unfold(value);
    let mut out = String::with_capacity(text.len());
    // The charset and bytes of the words that will be decoded together.
    let mut pending: Option<(&str, Vec<u8>)> = None;
    let mut rest = text.as_str();
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let Some(word) = encoded_word(from) else {
            // This only looks like the start of a word.
            let (literal, more) = from.split_at(2);
            flush(&mut pending, &mut out);
            out.push_str(before);
            out.push_str(literal);
            rest = more;
            continue;
        };
        let adjacent = pending.is_some() && before.trim_ascii().is_empty();
        match &mut pending {
            Some((charset, bytes)) if adjacent && charset.eq_ignore_ascii_case(word.charset) => {
                bytes.extend_from_slice(&word.bytes);
            }
            _ => {
                flush(&mut pending, &mut out);
                if !adjacent {
                    out.push_str(before);
                }
                pending = Some((word.charset, word.bytes));
            }
        }
        rest = word.rest;
    }
    flush(&mut pending, &mut out);
    out.push_str(rest);
    out
}

fn flush(pending: &mut Option<(&str, Vec<u8>)>, out: &mut String) {
    if let Some((charset, bytes)) = pending.take() {
        out.push_str(&charset_text(charset, bytes));
    }
}

struct EncodedWord<'t> {
    charset: &'t str,
    bytes: Vec<u8>,
    rest: &'t str,
}

/// Parses `=?charset?encoding?text?=` at the start of a text.
fn encoded_word(text: &str) -> Option<EncodedWord<'_>> {
    let inner = text.strip_prefix("=?")?;
    let end = inner.bytes().take(CHARSET_NAME_LIMIT + 1).position(|byte| byte == b'?')?;
    let (charset, inner) = inner.split_at_checked(end)?;
    if charset.is_empty() || charset.bytes().any(|byte| byte.is_ascii_whitespace()) {
        return None;
    }
    let charset = charset.split_once('*').map_or(charset, |(charset, _)| charset);
    let (base64, inner) = match inner.as_bytes().get(..3)? {
        b"?B?" | b"?b?" => (true, inner.get(3..)?),
        b"?Q?" | b"?q?" => (false, inner.get(3..)?),
        _ => return None,
    };
    // The text contains no `?`, so the search for its end never reads the next words again.
    let end = inner.find('?').filter(|end| inner.as_bytes().get(end + 1) == Some(&b'='))?;
    let encoded = inner.get(..end)?;
    let bytes = if base64 { base64_decode(encoded.as_bytes())? } else { decode_q(encoded.as_bytes()) };
    Some(EncodedWord { charset, bytes, rest: inner.get(end + 2..)? })
}

/// Decodes the Q encoding (RFC 2047 §4.2). A `=` without two hexadecimal digits is kept.
fn decode_q(encoded: &[u8]) -> Vec<u8> {
    let digit = |at: usize| encoded.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while let Some(&byte) = encoded.get(at) {
        at += 1;
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => match (digit(at), digit(at + 1)) {
                (Some(high), Some(low)) => {
                    at += 2;
                    u8::try_from(high * 16 + low).unwrap_or(byte)
                }
                _ => byte,
            },
            byte => byte,
        });
    }
    bytes
}

/// Decodes a Content-Transfer-Encoding (RFC 2045 §6). Returns `None` if the encoding is unknown or violated.
pub fn transfer_decoded(encoding: &str, body: &[u8]) -> Option<Vec<u8>> {
    match encoding.to_ascii_lowercase().as_str() {
        "7bit" | "8bit" | "binary" => Some(body.to_vec()),
        "base64" => base64_decode(body),
        "quoted-printable" => quoted_printable_decode(body),
        _ => None,
    }
}

/// Returns the text of a text part, with transfer encoding and charset decoded.
pub fn text(part: &Part, body: &[u8]) -> String {
    let bytes = transfer_decoded(&part.encoding, body).unwrap_or_else(|| body.to_vec());
    charset_text(part.parameter("charset").unwrap_or("utf-8"), bytes)
}

/// Converts text of a charset to UTF-8. The charset may have any name that `mail-parser` or `encoding_rs` knows. For
/// an unknown charset, valid UTF-8 is kept and other bytes are replaced.
pub fn charset_text(charset: &str, bytes: Vec<u8>) -> String {
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
pub(crate) fn streaming_encoding(charset: &str) -> Option<&'static Encoding> {
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

/// Returns the time of a Date field in seconds since 1970, or `None` if it is not a date.
pub fn date(value: &str) -> Option<i64> {
    let line = format!("{value}\n");
    let date = MessageStream::new(line.as_bytes()).parse_date().into_datetime()?;
    date.is_valid().then(|| date.to_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A charset, a text, and the text in that charset, in base64.
    const SAMPLES: [(&str, &str, &str); 45] = [
        ("gb2312", "新年快乐祝福", "0MLE6r/swNbXo7ij"),
        ("gb18030", "新年快乐㐀", "0MLE6r/swNaBOe45"),
        ("gbk", "繁體漢字", "t7Hzd51o19Y="),
        ("big5", "訂單確認通知", "rXGz5r1Uu3uzcaq+"),
        ("shift_jis", "ご注文の確認", "grKSjZW2gsyKbZRG"),
        ("iso-2022-jp", "ご注文の確認", "GyRCJDRDbUo4JE4zTkcnGyhC"),
        ("euc-kr", "주문 확인", "wda5riDIrsDO"),
        ("euc-jp", "ご注文の確認", "pLTD7cq4pM6zzsen"),
        ("windows-874", "ใบสั่งซื้อ", "47rK0einq9fpzQ=="),
        ("koi8-r", "Привет, мир", "8NLJ18XULCDNydI="),
        ("koi8-u", "Привіт", "8NLJ16bU"),
        ("windows-1250", "žluťoučký", "nmx1nW916Gv9"),
        ("windows-1251", "Привет", "z/Do4uXy"),
        ("windows-1252", "naïve €", "bmHvdmUggA=="),
        ("windows-1253", "Καλημέρα", "yuHr5+zd8eE="),
        ("windows-1254", "ığdır", "/fBk/XI="),
        ("windows-1255", "שלום", "+ezl7Q=="),
        ("windows-1256", "مرحبا", "49HNyMc="),
        ("windows-1257", "ąžuolas", "4P51b2xhcw=="),
        ("windows-1258", "Đăng", "0ONuZw=="),
        ("iso-8859-1", "café", "Y2Fm6Q=="),
        ("iso-8859-2", "žluťoučký", "vmx1u2916Gv9"),
        ("iso-8859-3", "ĝardeno", "+GFyZGVubw=="),
        ("iso-8859-4", "ąžuols", "sb51b2xz"),
        ("iso-8859-5", "Привет", "v+DY0tXi"),
        ("iso-8859-6", "مرحبا", "5dHNyMc="),
        ("iso-8859-7", "Καλημερα", "yuHr5+zl8eE="),
        ("iso-8859-8", "שלום", "+ezl7Q=="),
        ("iso-8859-9", "ığdır", "/fBk/XI="),
        ("iso-8859-10", "ąžuols", "sbx1b2xz"),
        ("iso-8859-11", "ใบสั่งซื้อ", "47rK0einq9fpzQ=="),
        ("iso-8859-13", "ąžuolas", "4P51b2xhcw=="),
        ("iso-8859-14", "ŵythnos", "8Hl0aG5vcw=="),
        ("iso-8859-15", "œuvre €", "vXV2cmUgpA=="),
        ("iso-8859-16", "știință", "unRpaW7+4w=="),
        ("utf-16", "héllo 日本", "//5oAOkAbABsAG8AIADlZSxn"),
        ("utf-16le", "héllo 日本", "aADpAGwAbABvACAA5WUsZw=="),
        ("utf-16be", "héllo 日本", "AGgA6QBsAGwAbwAgZeVnLA=="),
        ("utf-7", "héllo 日本", "aCtBT2stbGxvICtaZVZuTEEt"),
        ("tis-620", "ใบสั่งซื้อ", "47rK0einq9fpzQ=="),
        ("ibm866", "Привет", "j+CooqXi"),
        ("cp850", "naïve", "bmGLdmU="),
        ("macintosh", "naïve", "bmGVdmU="),
        ("cp949", "주문 확인", "wda5riDIrsDO"),
        ("cp932", "ご注文の確認", "grKSjZW2gsyKbZRG"),
    ];

    #[test]
    fn decodes_subjects_and_bodies_of_every_charset() {
        for (charset, expected, base64) in SAMPLES {
            let subject = format!(" =?{charset}?B?{base64}?=");
            assert_eq!(header_text(subject.as_bytes()), expected, "{charset}");
            let bytes = base64_decode(base64.as_bytes()).unwrap();
            let quoted: String = bytes.iter().map(|byte| format!("={byte:02X}")).collect();
            let subject = format!("=?{}*xx?q?{quoted}?=", charset.to_uppercase());
            assert_eq!(header_text(subject.as_bytes()), expected, "{charset}");
            for (encoding, body) in [("base64", base64.as_bytes()), ("quoted-printable", quoted.as_bytes())] {
                let parameters = vec![("charset".to_owned(), charset.to_owned())];
                let part = Part { encoding: encoding.to_owned(), parameters, ..Part::default() };
                assert_eq!(text(&part, body), expected, "{charset} in {encoding}");
            }
        }
        assert_eq!(charset_text("x-unknown", b"caf\xc3\xa9 \xff".to_vec()), "café \u{fffd}");
        assert_eq!(charset_text("iso-2022-kr", b"abc".to_vec()), "abc");
    }

    #[test]
    fn joins_encoded_words_that_split_a_character() {
        let split = b"=?iso-2022-jp?B?GyRCJDRDbUo4?=\r\n =?ISO-2022-JP?B?JE4zTkcnJEckORsoQg==?= x";
        assert_eq!(header_text(split), "ご注文の確認です x");
        assert_eq!(header_text(b"=?utf-8?q?=E3=81?= =?utf-8?q?=82?="), "あ");
        assert_eq!(header_text(b"=?utf-8?q?a?= =?iso-8859-1?q?=E9?= =?utf-8?q?b?="), "aéb");
    }

    #[test]
    fn keeps_text_that_is_not_an_encoded_word() {
        for text in ["=?", "=?=", "a =?utf-8?x?y?= b", "=?utf-8?q?open", "=?utf-8?b?*?=", "=??q?x?=", "?= =?"]
        {
            assert_eq!(header_text(text.as_bytes()), text);
        }
        assert_eq!(header_text(b"=?utf-8?q?a=_=4?= b"), "a= =4 b");
    }

    #[test]
    fn decoded_text_is_at_most_four_times_longer() {
        let names =
            ALIASES.iter().map(|(alias, _)| *alias).chain(SAMPLES.iter().map(|(charset, ..)| *charset));
        for charset in names {
            for byte in [0x00, 0x1b, b'+', b'A', 0x80, 0xa1, 0xfe, 0xff] {
                let bytes = vec![byte; 3_000];
                assert!(charset_text(charset, bytes).len() <= 12_000, "{charset} {byte:x}");
            }
        }
    }

    #[test]
    fn decodes_encoded_words_bodies_and_dates() {
        assert_eq!(
            header_text(b" =?utf-8?q?J=C3=B6rg?= and\r\n =?iso-8859-1?q?caf=E9?=\r\n"),
            "Jörg and café"
        );
        assert_eq!(transfer_decoded("BASE64", b"aGVs\r\nbG8=\r\n").unwrap(), b"hello");
        assert_eq!(transfer_decoded("x-odd", b"a"), None);
        let part = Part {
            encoding: "quoted-printable".into(),
            parameters: vec![("charset".into(), "iso-8859-1".into())],
            ..Part::default()
        };
        assert_eq!(text(&part, b"caf=E9"), "café");
        assert_eq!(date("Thu, 1 Jan 1970 01:00:00 +0100"), Some(0));
        assert_eq!(date("yesterday"), None);
    }
}
