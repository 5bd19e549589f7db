//! Decoded values of envelopes and parts, for display: addresses, file names, text.

use crate::decode;
use crate::structure::{Address, Disposition, Envelope, Part};
use crate::text_decoder::TextDecoder;

impl Envelope {
    /// Returns the text of Subject with encoded words decoded (RFC 2047).
    pub fn decoded_subject(&self) -> Option<String> {
        self.subject.as_deref().map(|subject| decode::encoded_words(subject.as_bytes()))
    }
}

impl Address {
    /// Returns the display name with encoded words decoded (RFC 2047).
    pub fn decoded_name(&self) -> Option<String> {
        self.name.as_deref().map(|name| decode::encoded_words(name.as_bytes()))
    }
}

impl Disposition {
    /// Returns the decoded value of a parameter (RFC 2231); `name` is in lower case. See [`decode::parameter`].
    pub fn decoded_parameter(&self, name: &str) -> Option<String> {
        decode::parameter(&self.parameters, name)
    }
}

impl Part {
    /// Returns the decoded value of a Content-Type parameter (RFC 2231); `name` is in lower case. See
    /// [`decode::parameter`].
    pub fn decoded_parameter(&self, name: &str) -> Option<String> {
        decode::parameter(&self.parameters, name)
    }

    /// Returns the decoded file name: `filename` of Content-Disposition (RFC 2183), or else `name` of Content-Type.
    ///
    /// It is the sender's text and may contain `/` or any other character: never use it as a path.
    pub fn file_name(&self) -> Option<String> {
        let stated =
            self.disposition.as_ref().and_then(|disposition| disposition.decoded_parameter("filename"));
        stated.or_else(|| self.decoded_parameter("name"))
    }

    /// Returns the text of this part's encoded body, with transfer encoding and charset decoded. A body that violates
    /// its encoding is taken as it is.
    pub fn decode_text(&self, body: &[u8]) -> String {
        let bytes = decode::transfer_encoding(&self.encoding, body).unwrap_or_else(|| body.to_vec());
        decode::text(self.parameter("charset").unwrap_or("utf-8"), bytes)
    }

    /// Returns a decoder for the encoded body of this part, which is read in pieces.
    pub fn text_decoder(&self) -> TextDecoder {
        TextDecoder::new(&self.encoding, self.parameter("charset"))
    }
}

#[cfg(test)]
mod tests {
    use crate::structure::Structure;

    #[test]
    fn decodes_subjects_names_and_file_names() {
        let message = "From: =?utf-8?q?J=C3=B6rg?= <j@d.example>\r\nSubject: =?iso-8859-1?q?caf=E9?=\r\n\
            Content-Type: text/plain; charset=iso-8859-1; name=other.txt\r\nContent-Transfer-Encoding: quoted-printable\r\n\
            Content-Disposition: attachment; filename*0*=utf-8''gr%C3%BC; filename*1=n.txt\r\n\r\ngr=FCn";
        let Structure { envelope, root } = Structure::parse(message.as_bytes());
        assert_eq!(envelope.decoded_subject().as_deref(), Some("café"));
        assert_eq!(envelope.from[0].decoded_name().as_deref(), Some("Jörg"));
        assert_eq!(root.file_name().as_deref(), Some("grün.txt"));
        assert_eq!(root.decoded_parameter("name").as_deref(), Some("other.txt"));
        let body = root.body.slice(message.as_bytes());
        assert_eq!(root.decode_text(body), "grün");
        let (mut decoder, mut text) = (root.text_decoder(), String::new());
        decoder.push(body, &mut text);
        decoder.finish(&mut text);
        assert_eq!(text, "grün");
    }
}
