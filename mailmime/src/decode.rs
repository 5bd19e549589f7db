//! Decodes header text, parameters, bodies and dates, for search and display.
//!
//! All functions take values as they are in the message, for example a section, and never fail. Bytes that can't be
//! decoded are kept, with replacement characters for those that are not UTF-8. No text is longer than four times its
//! input, and every function is linear.

use std::collections::BTreeMap;

use crate::unfold::unfold;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;

pub use crate::charset::text;

/// The longest charset name, in bytes, including its language (RFC 2231 §5).
const CHARSET_NAME_LIMIT: usize = 64;

/// Returns the text of a header field's value with encoded words decoded (RFC 2047).
///
/// The bytes of adjacent words of one charset are joined before they are decoded, because some senders split a word in
/// the middle of a character.
pub fn encoded_words(value: &[u8]) -> String {
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
    if let Some((name, bytes)) = pending.take() {
        out.push_str(&text(name, bytes));
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
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while let Some(&byte) = encoded.get(at) {
        at += 1;
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => {
                let escaped = hex_byte(encoded, at);
                at += if escaped.is_some() { 2 } else { 0 };
                escaped.unwrap_or(byte)
            }
            byte => byte,
        });
    }
    bytes
}

/// Decodes a Content-Transfer-Encoding (RFC 2045 §6). Returns `None` if the encoding is unknown or violated.
pub fn transfer_encoding(encoding: &str, body: &[u8]) -> Option<Vec<u8>> {
    match encoding.to_ascii_lowercase().as_str() {
        "7bit" | "8bit" | "binary" => Some(body.to_vec()),
        "base64" => base64_decode(body),
        "quoted-printable" => quoted_printable_decode(body),
        _ => None,
    }
}

/// Returns the decoded value of a parameter, by its name in lower case. `parameters` are those of a
/// [`Part`](crate::Part) or [`Disposition`](crate::Disposition).
///
/// Decodes percent-encoded values with a charset (`name*`) and joins continuations (`name*0`, `name*1*`), as RFC 2231
/// requires; these are preferred to a plain `name`. Encoded words are decoded as well, since many senders use them in
/// plain values. Returns `None` if there is no such parameter.
pub fn parameter(parameters: &[(String, String)], name: &str) -> Option<String> {
    let mut plain = None;
    let mut sections = BTreeMap::new();
    for (full, value) in parameters {
        let Some(rest) = full.strip_prefix(name) else { continue };
        if rest.is_empty() {
            plain.get_or_insert(value);
        } else if let Some(section) = parse_section(rest) {
            sections.entry(section.number).or_insert((section.form, value));
        }
    }
    // A value in one piece (`name*`) is complete; numbered sections follow each other from 0.
    if let Some((form, value)) = sections.remove(&None) {
        return Some(join_sections([(form, value.as_str())].into_iter()));
    }
    let numbered = (0_u32..)
        .map_while(|number| sections.get(&Some(number)).map(|(form, value)| (*form, value.as_str())));
    if sections.contains_key(&Some(0)) {
        return Some(join_sections(numbered));
    }
    plain.map(|value| encoded_words(value.as_bytes()))
}

/// What follows the name of a parameter: `*`, `*0` or `*0*`.
struct ParameterSection {
    number: Option<u32>,
    form: ValueForm,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueForm {
    AsIs,
    PercentEncoded,
}

fn parse_section(rest: &str) -> Option<ParameterSection> {
    let rest = rest.strip_prefix('*')?;
    if rest.is_empty() {
        return Some(ParameterSection { number: None, form: ValueForm::PercentEncoded });
    }
    let (digits, form) = match rest.strip_suffix('*') {
        Some(digits) => (digits, ValueForm::PercentEncoded),
        None => (rest, ValueForm::AsIs),
    };
    let is_number =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    let number = is_number.then(|| digits.parse().ok()).flatten()?;
    Some(ParameterSection { number: Some(number), form })
}

/// Joins the sections of a value (RFC 2231 §3, §4). The first one names the charset, if it is percent-encoded.
fn join_sections<'v>(sections: impl Iterator<Item = (ValueForm, &'v str)>) -> String {
    let mut charset_name = None;
    let mut bytes = Vec::new();
    for (index, (form, value)) in sections.enumerate() {
        let mut value = value;
        if index == 0 && form == ValueForm::PercentEncoded {
            let mut pieces = value.splitn(3, '\'');
            if let (Some(name), Some(_language), Some(text)) = (pieces.next(), pieces.next(), pieces.next()) {
                charset_name = Some(name);
                value = text;
            }
        }
        match form {
            ValueForm::AsIs => bytes.extend_from_slice(value.as_bytes()),
            ValueForm::PercentEncoded => percent_decode(value.as_bytes(), &mut bytes),
        }
    }
    match charset_name.filter(|name| !name.is_empty()) {
        Some(name) => text(name, bytes),
        // Sections without a charset may hold encoded words, as plain values do.
        None => encoded_words(text("utf-8", bytes).as_bytes()),
    }
}

/// Decodes `%` and two hexadecimal digits. Another `%` is kept.
fn percent_decode(value: &[u8], bytes: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        at += 1;
        let escaped = if byte == b'%' { hex_byte(value, at) } else { None };
        at += if escaped.is_some() { 2 } else { 0 };
        bytes.push(escaped.unwrap_or(byte));
    }
}

/// Returns the byte that two hexadecimal digits name.
fn hex_byte(text: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(text.get(at).copied()?).to_digit(16);
    u8::try_from(digit(at)? * 16 + digit(at + 1)?).ok()
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
    use crate::charset::ALIASES;
    use crate::structure::Part;

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
            assert_eq!(encoded_words(subject.as_bytes()), expected, "{charset}");
            let bytes = base64_decode(base64.as_bytes()).unwrap();
            let quoted: String = bytes.iter().map(|byte| format!("={byte:02X}")).collect();
            let subject = format!("=?{}*xx?q?{quoted}?=", charset.to_uppercase());
            assert_eq!(encoded_words(subject.as_bytes()), expected, "{charset}");
            for (encoding, body) in [("base64", base64.as_bytes()), ("quoted-printable", quoted.as_bytes())] {
                let parameters = vec![("charset".to_owned(), charset.to_owned())];
                let part = Part { encoding: encoding.to_owned(), parameters, ..Part::default() };
                assert_eq!(part.decode_text(body), expected, "{charset} in {encoding}");
            }
        }
        assert_eq!(text("x-unknown", b"caf\xc3\xa9 \xff".to_vec()), "café \u{fffd}");
        assert_eq!(text("iso-2022-kr", b"abc".to_vec()), "abc");
    }

    #[test]
    fn decodes_parameters_of_rfc_2231() {
        let of = |parameters: &[(&str, &str)]| {
            let list: Vec<_> = parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            parameter(&list, "filename")
        };
        assert_eq!(of(&[("filename", "a b.txt")]).unwrap(), "a b.txt");
        assert_eq!(of(&[("filename*", "utf-8''Gr%C3%BC%c3%9Fe.txt")]).unwrap(), "Grüße.txt");
        assert_eq!(of(&[("filename*", "iso-8859-1'de'caf%E9"), ("filename", "cafe")]).unwrap(), "café");
        assert_eq!(of(&[("filename*", "%41%zz%4")]).unwrap(), "A%zz%4", "without a charset");
        // The sections may come in any order and form; they end at the first one that is missing.
        let sections = [
            ("filename*1", " %20b"),
            ("filename*0*", "utf-8'en'%C3"),
            ("filename*3", "d"),
            ("filename*2*", "%41"),
        ];
        assert_eq!(of(&sections).unwrap(), "\u{fffd} %20bA\u{64}");
        let split = [("filename*0*", "utf-8''%C3"), ("filename*1*", "%A9.pdf"), ("filename*3", "lost")];
        assert_eq!(of(&split).unwrap(), "é.pdf");
        assert_eq!(of(&[("filename*0", "a"), ("filename*1", "b"), ("filename*1", "c")]).unwrap(), "ab");
        assert_eq!(of(&[("filename", "=?utf-8?q?caf=C3=A9?=")]).unwrap(), "café", "not allowed, and common");
        assert_eq!(
            of(&[("filename*1", "b"), ("filename", "plain")]).unwrap(),
            "plain",
            "section 0 is missing"
        );
        assert_eq!(of(&[("filename*00", "a"), ("filename*x", "b"), ("filenames", "c")]), None);
    }

    #[test]
    fn joins_encoded_words_that_split_a_character() {
        let split = b"=?iso-2022-jp?B?GyRCJDRDbUo4?=\r\n =?ISO-2022-JP?B?JE4zTkcnJEckORsoQg==?= x";
        assert_eq!(encoded_words(split), "ご注文の確認です x");
        assert_eq!(encoded_words(b"=?utf-8?q?=E3=81?= =?utf-8?q?=82?="), "あ");
        assert_eq!(encoded_words(b"=?utf-8?q?a?= =?iso-8859-1?q?=E9?= =?utf-8?q?b?="), "aéb");
    }

    #[test]
    fn keeps_text_that_is_not_an_encoded_word() {
        for text in ["=?", "=?=", "a =?utf-8?x?y?= b", "=?utf-8?q?open", "=?utf-8?b?*?=", "=??q?x?=", "?= =?"]
        {
            assert_eq!(encoded_words(text.as_bytes()), text);
        }
        assert_eq!(encoded_words(b"=?utf-8?q?a=_=4?= b"), "a= =4 b");
    }

    #[test]
    fn decoded_text_is_at_most_four_times_longer() {
        let names =
            ALIASES.iter().map(|(alias, _)| *alias).chain(SAMPLES.iter().map(|(charset, ..)| *charset));
        for charset in names {
            for byte in [0x00, 0x1b, b'+', b'A', 0x80, 0xa1, 0xfe, 0xff] {
                let bytes = vec![byte; 3_000];
                assert!(text(charset, bytes).len() <= 12_000, "{charset} {byte:x}");
            }
        }
    }

    #[test]
    fn decodes_encoded_words_bodies_and_dates() {
        assert_eq!(
            encoded_words(b" =?utf-8?q?J=C3=B6rg?= and\r\n =?iso-8859-1?q?caf=E9?=\r\n"),
            "Jörg and café"
        );
        assert_eq!(transfer_encoding("BASE64", b"aGVs\r\nbG8=\r\n").unwrap(), b"hello");
        assert_eq!(transfer_encoding("x-odd", b"a"), None);
        let part = Part {
            encoding: "quoted-printable".into(),
            parameters: vec![("charset".into(), "iso-8859-1".into())],
            ..Part::default()
        };
        assert_eq!(part.decode_text(b"caf=E9"), "café");
        assert_eq!(date("Thu, 1 Jan 1970 01:00:00 +0100"), Some(0));
        assert_eq!(date("yesterday"), None);
    }
}
