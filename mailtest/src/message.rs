//! Messages that a server received, decoded for assertions.

use std::fmt;

use mailmime::{HeaderFields, Part, Structure, decode};

/// A message that the server received.
#[derive(Clone)]
pub struct Message {
    sender: String,
    recipients: Vec<String>,
    bytes: Vec<u8>,
    structure: Structure,
}

/// An attachment of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// The file name, decoded (RFC 2231); `None` if it has none.
    pub file_name: Option<String>,
    /// The type, for example `application/pdf`, in lower case.
    pub media_type: String,
    /// The content, with its transfer encoding decoded.
    pub content: Vec<u8>,
}

impl Message {
    pub(crate) fn new(sender: String, recipients: Vec<String>, bytes: Vec<u8>) -> Self {
        let structure = Structure::parse(&bytes);
        Self { sender, recipients, bytes, structure }
    }

    /// Returns the sender that MAIL named; empty for the null reverse-path of a bounce.
    #[must_use]
    pub fn sender(&self) -> &str {
        &self.sender
    }

    /// Returns the recipients that RCPT named and the server accepted.
    #[must_use]
    pub fn recipients(&self) -> &[String] {
        &self.recipients
    }

    /// Returns the message as it was sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the decoded subject.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.structure.envelope.decoded_subject()
    }

    /// Returns the decoded value of the first header field with this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers(name).into_iter().next()
    }

    /// Returns the decoded values of all header fields with this name, in any case.
    #[must_use]
    pub fn headers(&self, name: &str) -> Vec<String> {
        let header = self.structure.root.header.slice(&self.bytes);
        HeaderFields::new(header)
            .filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| field.text())
            .collect()
    }

    /// Returns the first plain text part, decoded. Attached texts do not count.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.first_text("plain")
    }

    /// Returns the first HTML part, decoded. Attached texts do not count.
    #[must_use]
    pub fn html(&self) -> Option<String> {
        self.first_text("html")
    }

    /// Returns the attachments: the parts that are named or said to be attached, and those that are neither text nor
    /// multipart.
    #[must_use]
    pub fn attachments(&self) -> Vec<Attachment> {
        let parts = self.structure.numbered_parts().map(|(_, part)| part);
        parts.filter(|part| is_attachment(part)).map(|part| self.attachment(part)).collect()
    }

    /// Returns the structure of the message: every part with its place, its fields, and the envelope of its header.
    #[must_use]
    pub const fn structure(&self) -> &Structure {
        &self.structure
    }

    fn first_text(&self, subtype: &str) -> Option<String> {
        let mut parts = self.structure.numbered_parts().map(|(_, part)| part);
        let is_text = |part: &&Part| part.media_type == "text" && part.media_subtype == subtype;
        let part = parts.find(|part| is_text(part) && !is_attachment(part))?;
        Some(part.decode_text(part.body.slice(&self.bytes)))
    }

    fn attachment(&self, part: &Part) -> Attachment {
        let body = part.body.slice(&self.bytes);
        let content = decode::transfer_encoding(&part.encoding, body).unwrap_or_else(|| body.to_vec());
        let media_type = format!("{}/{}", part.media_type, part.media_subtype);
        Attachment { file_name: part.file_name(), media_type, content }
    }
}

fn is_attachment(part: &Part) -> bool {
    let is_attached = part.disposition.as_ref().is_some_and(|disposition| disposition.kind == "attachment");
    let is_other = !matches!(&*part.media_type, "text" | "multipart" | "message");
    !part.is_multipart() && (is_attached || is_other || part.file_name().is_some())
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("sender", &self.sender)
            .field("recipients", &self.recipients)
            .field("bytes", &String::from_utf8_lossy(&self.bytes))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &[u8] = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nReceived: one\r\nreceived: two\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n\
        --b\r\nContent-Type: text/html\r\n\r\n<p>hi</p>\r\n\
        --b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''%C3%A4.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n";

    #[test]
    fn decodes_fields_texts_and_attachments() {
        let message = Message::new("a@example.com".into(), vec!["b@example.com".into()], MIXED.to_vec());
        assert_eq!(message.subject().as_deref(), Some("Grüße"));
        assert_eq!(message.headers("RECEIVED"), ["one", "two"]);
        assert_eq!(message.header("x-missing"), None);
        assert_eq!(message.text().as_deref(), Some("café"));
        assert_eq!(message.html().as_deref(), Some("<p>hi</p>"));
        let attachments = message.attachments();
        assert_eq!(attachments.len(), 1, "{attachments:?}");
        assert_eq!(attachments[0].file_name.as_deref(), Some("ä.pdf"));
        assert_eq!(
            (&*attachments[0].media_type, &*attachments[0].content),
            ("application/pdf", &[0, 1, 2][..])
        );
    }

    #[test]
    fn a_message_without_mime_is_one_text() {
        let message = Message::new(String::new(), Vec::new(), b"Subject: x\r\n\r\nbody\r\n".to_vec());
        assert_eq!(message.text().as_deref(), Some("body\r\n"));
        assert!(message.attachments().is_empty() && message.html().is_none());
    }
}
