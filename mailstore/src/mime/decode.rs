//! Decoding for those who search or show: header text, bodies, dates. All of it is `mail-parser`'s work.
//!
//! Knows nothing of structure: it takes raw octets that a section yielded. Never fails: what can't be decoded comes
//! back as it is, with replacement characters where it is not UTF-8.

use super::Part;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;

/// The text of a header field (what stands behind the colon) with encoded words decoded (RFC 2047).
pub fn header_text(value: &[u8]) -> String {
    let mut line = super::unfold(value).into_bytes();
    line.push(b'\n');
    match MessageStream::new(&line).parse_unstructured().as_text() {
        Some(text) => text.to_owned(),
        None => String::new(),
    }
}

/// The octets of a part with its Content-Transfer-Encoding undone; `None` for an encoding that is unknown or broken.
pub fn transfer_decoded(encoding: &str, body: &[u8]) -> Option<Vec<u8>> {
    match encoding.to_ascii_lowercase().as_str() {
        "7bit" | "8bit" | "binary" => Some(body.to_vec()),
        "base64" => base64_decode(body),
        "quoted-printable" => quoted_printable_decode(body),
        _ => None,
    }
}

/// The text of a text part: transfer encoding and charset undone.
pub fn text(part: &Part, body: &[u8]) -> String {
    let octets = transfer_decoded(&part.encoding, body).unwrap_or_else(|| body.to_vec());
    let charset = part.parameter("charset").unwrap_or("utf-8");
    if charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii") {
        return String::from_utf8_lossy(&octets).into_owned();
    }
    match charset_decoder(charset.as_bytes()) {
        Some(decode) => decode(&octets),
        None => String::from_utf8_lossy(&octets).into_owned(),
    }
}

/// The time that a Date field names, in seconds since 1970; `None` for one that is no date.
pub fn date(value: &str) -> Option<i64> {
    let line = format!("{value}\n");
    let date = MessageStream::new(line.as_bytes()).parse_date().into_datetime()?;
    date.is_valid().then(|| date.to_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_bodies_and_dates() {
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
