//! Decodes Content-Transfer-Encoding piece by piece (RFC 2045 §6).
//!
//! A [`TransferDecoder`] needs a few bytes of memory for a part of any size. A clone is a checkpoint from which
//! decoding can continue later. The result is that of [`transfer_encoding`](crate::decode::transfer_encoding).

/// The most white space, in bytes, that is held at the end of a quoted-printable line until the line ends. RFC 2045
/// allows lines of 76 characters; longer white space is kept as it is.
const BLANKS_LIMIT: usize = 1_000;

/// A decoder of one Content-Transfer-Encoding.
#[derive(Debug, Clone)]
pub struct TransferDecoder(Encoding);

#[derive(Debug, Clone)]
enum Encoding {
    Identity,
    Base64 { bits: u32, count: u8 },
    QuotedPrintable(QuotedPrintable),
}

/// The bytes violate their Content-Transfer-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodingError {
    /// The index of the first invalid byte in the piece.
    pub at: usize,
}

impl std::fmt::Display for EncodingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "byte {} of this piece violates the Content-Transfer-Encoding", self.at)
    }
}

impl std::error::Error for EncodingError {}

#[derive(Debug, Clone, Default)]
struct QuotedPrintable {
    state: Escape,
    /// White space that is discarded if a line end follows.
    blanks: Vec<u8>,
    /// Whether a CR was read: lines end with CR LF.
    crlf: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum Escape {
    #[default]
    None,
    /// After `=`.
    Begun,
    /// After `=` and this digit.
    Digit(u8),
}

impl TransferDecoder {
    /// Creates a decoder for this encoding, in any case. Returns `None` for an unknown one.
    pub fn new(encoding: &str) -> Option<Self> {
        let is = |name| encoding.eq_ignore_ascii_case(name);
        Some(Self(if is("7bit") || is("8bit") || is("binary") {
            Encoding::Identity
        } else if is("base64") {
            Encoding::Base64 { bits: 0, count: 0 }
        } else if is("quoted-printable") {
            Encoding::QuotedPrintable(QuotedPrintable::default())
        } else {
            return None;
        }))
    }

    /// Returns whether decoding changes nothing.
    pub fn is_identity(&self) -> bool {
        matches!(self.0, Encoding::Identity)
    }

    /// Decodes the next piece and appends the result to `out`.
    ///
    /// # Errors
    /// The piece violates the encoding. The bytes before the invalid one were decoded.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), EncodingError> {
        match &mut self.0 {
            Encoding::Identity => {
                out.extend_from_slice(piece);
                Ok(())
            }
            Encoding::Base64 { bits, count } => base64(piece, bits, count, out),
            Encoding::QuotedPrintable(decoder) => decoder.push(piece, out),
        }
    }

    /// Ends the part and appends the remaining bytes to `out`.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match &mut self.0 {
            Encoding::Identity => {}
            Encoding::Base64 { bits, count } => flush_base64(*bits, count, out),
            Encoding::QuotedPrintable(decoder) => out.append(&mut decoder.blanks),
        }
    }
}

fn base64(piece: &[u8], bits: &mut u32, count: &mut u8, out: &mut Vec<u8>) -> Result<(), EncodingError> {
    for (at, byte) in piece.iter().enumerate() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                flush_base64(*bits, count, out);
                continue;
            }
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            _ => return Err(EncodingError { at }),
        };
        *bits = *bits << 6 | u32::from(value);
        *count = (*count + 1) & 3;
        if *count == 0 {
            let [_, group @ ..] = bits.to_be_bytes();
            out.extend_from_slice(&group);
        }
    }
    Ok(())
}

fn flush_base64(bits: u32, count: &mut u8, out: &mut Vec<u8>) {
    match *count {
        2 => out.push((bits >> 4 & 0xff) as u8),
        3 => out.extend_from_slice(&[(bits >> 10 & 0xff) as u8, (bits >> 2 & 0xff) as u8]),
        _ => {}
    }
    *count = 0;
}

impl QuotedPrintable {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), EncodingError> {
        for (at, &byte) in piece.iter().enumerate() {
            match (byte, self.state) {
                (b'=', Escape::None) => {
                    out.append(&mut self.blanks);
                    self.state = Escape::Begun;
                }
                (b'=', _) => return Err(EncodingError { at }),
                (b'\n', Escape::Begun) => self.state = Escape::None,
                (b'\n', _) => {
                    self.blanks.clear();
                    out.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
                }
                (b'\r', _) => self.crlf = true,
                (byte, Escape::None) if byte.is_ascii_whitespace() => {
                    if self.blanks.len() >= BLANKS_LIMIT {
                        out.append(&mut self.blanks);
                    }
                    self.blanks.push(byte);
                }
                (byte, Escape::None) => {
                    if !self.blanks.is_empty() {
                        out.append(&mut self.blanks);
                    }
                    out.push(byte);
                }
                (byte, Escape::Begun) => match digit(byte) {
                    Some(digit) => self.state = Escape::Digit(digit),
                    None if byte.is_ascii_whitespace() => {}
                    None => return Err(EncodingError { at }),
                },
                (byte, Escape::Digit(high)) => {
                    let low = digit(byte).ok_or(EncodingError { at })?;
                    self.state = Escape::None;
                    out.push(high << 4 | low);
                }
            }
        }
        Ok(())
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::transfer_encoding;

    /// Decodes in pieces of this length.
    fn decode(encoding: &str, body: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut decoder = TransferDecoder::new(encoding)?;
        let mut out = Vec::new();
        for piece in body.chunks(length.max(1)) {
            decoder.push(piece, &mut out).ok()?;
        }
        decoder.finish(&mut out);
        Some(out)
    }

    #[test]
    fn decodes_each_encoding_in_pieces_of_any_length() {
        for length in 1..8 {
            let of = |encoding, body: &str| decode(encoding, body.as_bytes(), length);
            assert_eq!(of("BASE64", "aGVs\r\nbG8=\r\n").unwrap(), b"hello");
            assert_eq!(of("base64", "aGU=bGxv").unwrap(), b"hello");
            assert_eq!(of("quoted-printable", "a=3D b =\r\nc \t\r\nd=20\r\n").unwrap(), b"a= b c\r\nd \r\n");
            assert_eq!(of("8bit", "as it is").unwrap(), b"as it is");
            assert_eq!(of("base64", "aGVs*"), None);
            assert_eq!(of("quoted-printable", "a=zz"), None);
            assert_eq!(of("x-odd", "a"), None);
        }
    }

    #[test]
    fn reports_index_of_invalid_byte() {
        let mut out = Vec::new();
        let error = TransferDecoder::new("base64").unwrap().push(b"aGVsbG8h-rest", &mut out);
        assert_eq!((error, out.as_slice()), (Err(EncodingError { at: 8 }), &b"hello!"[..]));
    }

    /// Returns whether a line ends within an escape, which is invalid and which decoders treat differently.
    fn cuts_an_escape(text: &str) -> bool {
        text.split('=').skip(1).any(|escaped| {
            // Blanks after a `=` are skipped, also before digits.
            let escaped = escaped.trim_start_matches([' ', '\t']);
            let digits = escaped.bytes().take_while(u8::is_ascii_hexdigit).count();
            match escaped.as_bytes().get(digits) {
                Some(b'\r') => digits < 2,
                Some(b'\n') => digits == 1,
                _ => false,
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn agrees_with_decoding_in_one_piece(
            text in "[a-fA-F0-9=+/ \t\r\n]{0,60}",
            length in 1_usize..9,
        ) {
            for encoding in ["base64", "quoted-printable"] {
                let whole = transfer_encoding(encoding, text.as_bytes());
                if let (Some(whole), Some(pieces)) = (whole, decode(encoding, text.as_bytes(), length))
                    && !cuts_an_escape(&text) {
                    prop_assert_eq!(whole, pieces, "{}", encoding);
                }
            }
        }
    }
}
