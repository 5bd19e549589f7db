//! Decodes a text part piece by piece: transfer encoding and charset.
//!
//! Made for searching large parts: memory depends on the length of a piece, not of the part. Bytes that can't be
//! decoded are kept, with replacement characters for those that are not UTF-8.

use crate::charset::CharsetDecoder;
use crate::transfer_decoder::TransferDecoder;

/// A decoder of one text part. The text does not depend on how the body is divided into pieces.
///
/// ```
/// let mut decoder = mailmime::TextDecoder::new("quoted-printable", Some("iso-8859-1"));
/// let mut text = String::new();
/// for piece in [&b"caf=E"[..], b"9"] {
///     decoder.push(piece, &mut text); // search the text, clear it, and continue
/// }
/// decoder.finish(&mut text);
/// assert_eq!(text, "caf\u{e9}");
/// ```
pub struct TextDecoder {
    /// `None` after a violation of the encoding: the rest is taken as it is.
    transfer: Option<TransferDecoder>,
    charset: CharsetDecoder,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for TextDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextDecoder").field("transfer", &self.transfer).finish_non_exhaustive()
    }
}

impl TextDecoder {
    /// Returns a decoder for a part with this Content-Transfer-Encoding and charset; without a charset, UTF-8.
    pub fn new(encoding: &str, charset: Option<&str>) -> Self {
        let charset = CharsetDecoder::new(charset.unwrap_or("utf-8"));
        Self { transfer: TransferDecoder::new(encoding), charset, bytes: Vec::new() }
    }

    /// Decodes the next piece and appends the text to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut String) {
        self.bytes.clear();
        match &mut self.transfer {
            Some(transfer) if !transfer.is_identity() => {
                if let Err(error) = transfer.push(piece, &mut self.bytes) {
                    transfer.finish(&mut self.bytes);
                    self.transfer = None;
                    self.bytes.extend_from_slice(piece.get(error.at..).unwrap_or_default());
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
        assert_eq!(
            decode("base64", None, b"aGVsbG8-rest", 3),
            "hello-rest",
            "also bytes of an incomplete group"
        );
        assert_eq!(decode("base64", None, b"aGVsbG8h\n-- \nfooter", 5), "hello!-- \nfooter");
        assert_eq!(decode("x-odd", None, b"as it is", 3), "as it is");
    }
}
