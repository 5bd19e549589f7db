//! Decodes a text part piece by piece: transfer encoding and charset.
//!
//! Made for searching large parts: memory depends on the length of a piece, not of the part. Bytes that can't be
//! decoded are kept, with replacement characters for those that are not UTF-8.

use encoding_rs::Decoder;

use crate::decode::{charset_text, streaming_encoding};
use crate::transfer::TransferDecoder;

/// The longest line, in bytes, that is decoded in one piece for a charset without a streaming decoder.
const LINE_LIMIT: usize = 64 * 1024;

/// A decoder of one text part.
pub struct TextDecoder {
    /// `None` after a violation of the encoding: the rest is taken as it is.
    transfer: Option<TransferDecoder>,
    charset: Charset,
    bytes: Vec<u8>,
}

enum Charset {
    Streaming(Box<Decoder>),
    /// Decoded line by line, because no shift state crosses a line.
    Lines {
        name: String,
        rest: Vec<u8>,
    },
}

impl std::fmt::Debug for TextDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextDecoder").field("transfer", &self.transfer).finish_non_exhaustive()
    }
}

impl TextDecoder {
    /// Returns a decoder for a part with this Content-Transfer-Encoding and charset; without a charset, UTF-8.
    pub fn new(encoding: &str, charset: Option<&str>) -> Self {
        Self { transfer: TransferDecoder::new(encoding), charset: Charset::of(charset), bytes: Vec::new() }
    }

    /// Decodes the next piece and appends the text to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut String) {
        self.bytes.clear();
        match &mut self.transfer {
            Some(transfer) if !transfer.is_identity() => {
                if let Err(broken) = transfer.push(piece, &mut self.bytes) {
                    self.transfer = None;
                    self.bytes.extend_from_slice(piece.get(broken.at..).unwrap_or_default());
                }
                self.charset.push(&self.bytes, out);
            }
            _ => self.charset.push(piece, out),
        }
    }

    /// Ends the part and appends the remaining text to `out`.
    pub fn finish(mut self, out: &mut String) {
        self.bytes.clear();
        if let Some(transfer) = &mut self.transfer {
            transfer.finish(&mut self.bytes);
        }
        self.charset.push(&self.bytes, out);
        self.charset.finish(out);
    }
}

impl Charset {
    fn of(name: Option<&str>) -> Self {
        let name = name.unwrap_or("utf-8");
        match streaming_encoding(name) {
            Some(encoding) => Self::Streaming(Box::new(encoding.new_decoder())),
            None => Self::Lines { name: name.to_owned(), rest: Vec::new() },
        }
    }

    fn push(&mut self, bytes: &[u8], out: &mut String) {
        match self {
            Self::Streaming(decoder) => stream(decoder, bytes, out, false),
            Self::Lines { name, rest } => {
                rest.extend_from_slice(bytes);
                let line_end = memchr::memrchr(b'\n', rest).map(|at| at + 1);
                let end = line_end.or_else(|| (rest.len() > LINE_LIMIT).then_some(rest.len()));
                let lines: Vec<u8> = rest.drain(..end.unwrap_or(0)).collect();
                out.push_str(&charset_text(name, lines));
            }
        }
    }

    fn finish(&mut self, out: &mut String) {
        match self {
            Self::Streaming(decoder) => stream(decoder, &[], out, true),
            Self::Lines { name, rest } => out.push_str(&charset_text(name, std::mem::take(rest))),
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

    fn decode(encoding: &str, charset: Option<&str>, body: &[u8], length: usize) -> String {
        let mut decoder = TextDecoder::new(encoding, charset);
        let mut out = String::new();
        body.chunks(length).for_each(|piece| decoder.push(piece, &mut out));
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn decodes_charsets_in_pieces_of_any_length() {
        for length in 1..5 {
            assert_eq!(decode("7bit", None, "grün".as_bytes(), length), "grün");
            assert_eq!(decode("base64", Some("utf-8"), b"R3LDvMOfZQ==", length), "Grüße");
            assert_eq!(decode("quoted-printable", Some("iso-8859-1"), b"caf=E9", length), "café");
            assert_eq!(decode("8bit", Some("iso-2022-jp"), b"\x1b$B$3$s\x1b(B.", length), "こん.");
            assert_eq!(decode("8bit", Some("gb2312"), b"\xc4\xe3\xba\xc3", length), "你好");
            assert_eq!(decode("8bit", Some("us-ascii"), "é".as_bytes(), length), "é");
            assert_eq!(decode("7bit", Some("utf-7"), b"a +AOk- b\nc +AOk-", length), "a é b\nc é");
            assert_eq!(decode("7bit", Some("unknown"), b"text", length), "text");
        }
    }

    #[test]
    fn keeps_text_after_an_encoding_error() {
        assert_eq!(decode("base64", None, b"aGVsbG8h\n-- \nfooter", 5), "hello!-- \nfooter");
        assert_eq!(decode("x-odd", None, b"as it is", 3), "as it is");
    }
}
