//! What is known of a message before it is sent, and what may therefore be asked of a server that offers less than the
//! message was said to need.
//!
//! This file looks at octets. It changes none: what would have to be written in another way is not sent.

use proto_core::Channel;

use super::Client;
use super::transaction::Transaction;
use crate::data::LineEndings;
use crate::types::{Address, BodyType, Extension};

/// The longest line without its CRLF (RFC 5321 §4.5.3.1.6).
const LINE: usize = 998;

/// What there is to know of a message's content: of which octets and lines it is made.
///
/// ```
/// use proto_smtp::client::Content;
/// use proto_smtp::types::BodyType;
///
/// let content = Content::of("Subject: x\r\n\r\ncafé\r\n".as_bytes());
/// assert!(content.fits(BodyType::EightBitMime) && !content.fits(BodyType::SevenBit));
/// assert!(!content.needs_utf8());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    octets: u64,
    /// An octet above 127.
    eight_bit: bool,
    nul: bool,
    /// A CR or LF that is no part of a CRLF.
    bare_newline: bool,
    /// A line of more than 998 octets, whatever ends it.
    long_line: bool,
    /// Something behind the last line end.
    open_end: bool,
    /// See [`Content::needs_utf8`].
    utf8: bool,
}

impl Content {
    /// Looks at a whole message, once and in order.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        let mut content = Self {
            octets: message.len() as u64,
            eight_bit: !message.is_ascii(),
            nul: memchr::memchr(0, message).is_some(),
            bare_newline: false,
            long_line: false,
            open_end: !message.is_empty() && !message.ends_with(b"\r\n"),
            utf8: false,
        };
        let mut header = None;
        let mut at = 0;
        for line in message.split_inclusive(|&octet| octet == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let (text, whole) = match text.strip_suffix(b"\r") {
                Some(text) if text.len() + 2 == line.len() => (text, true),
                _ => (text, text.len() == line.len()),
            };
            let bare_cr = memchr::memchr(b'\r', text).is_some();
            content.bare_newline |= bare_cr || !whole;
            content.long_line |= text.split(|&octet| octet == b'\r').any(|part| part.len() > LINE);
            if text.is_empty() && header.is_none() {
                header = Some(at);
            }
            at += line.len();
        }
        content.utf8 = content.eight_bit && {
            let header = message.get(..header.unwrap_or(message.len())).unwrap_or_default();
            !header.is_ascii() || has_parts(header)
        };
        content
    }

    /// How many octets it has.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether it may be sent as that type as it is: US-ASCII in lines of at most 998 octets that end with CRLF, any
    /// octets but NUL in such lines, or any octets.
    #[must_use]
    pub const fn fits(&self, body: BodyType) -> bool {
        let lines = !self.nul && !self.bare_newline && !self.long_line && !self.open_end;
        match body {
            BodyType::SevenBit => lines && !self.eight_bit,
            BodyType::EightBitMime => lines,
            BodyType::BinaryMime => true,
        }
    }

    /// Whether there may be octets outside US-ASCII in its header, or in that of a part of it: a message that has parts
    /// and such octets is not looked into.
    #[must_use]
    pub const fn needs_utf8(&self) -> bool {
        self.utf8
    }

    /// Whether it has become US-ASCII in lines once DATA has written it.
    const fn is_seven_bit_in_data(&self, endings: LineEndings) -> bool {
        let lines = !self.bare_newline || matches!(endings, LineEndings::Normalize);
        !self.eight_bit && !self.nul && !self.long_line && lines
    }
}

/// Whether a header may be that of a message with parts, which have headers of their own.
fn has_parts(header: &[u8]) -> bool {
    [&b"multipart"[..], b"message"]
        .iter()
        .any(|kind| header.windows(kind.len()).any(|window| window.eq_ignore_ascii_case(kind)))
}

/// What MAIL asks for, of what depends on the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) body: Option<BodyType>,
    pub(super) utf8: bool,
}

impl Transaction {
    /// What is asked of this server; or what it does not offer and the message needs.
    pub(super) fn asks<C: Channel>(&self, client: &Client<C>) -> Result<Asked, Extension> {
        let offers = |extension| client.core.offers(extension);
        let missing = |extension| if offers(extension) { Ok(()) } else { Err(extension) };
        let utf8 = !self.has_ascii_envelope()
            || (self.mail.utf8
                && (offers(Extension::SmtpUtf8) || self.content.is_none_or(|content| content.needs_utf8())));
        if utf8 {
            missing(Extension::SmtpUtf8)?;
        }
        let body = match self.mail.body {
            Some(BodyType::BinaryMime) => match self.binary(client) {
                Ok(()) => Some(BodyType::BinaryMime),
                Err(extension) => Some(self.lines_of_binary().ok_or(extension)?),
            },
            body => body,
        };
        let body = match (body, self.content) {
            (Some(BodyType::BinaryMime), _) => return Ok(Asked { body, utf8 }),
            // What is known counts, whatever was said of it.
            (_, Some(content)) if content.eight_bit => Some(BodyType::EightBitMime),
            (Some(BodyType::EightBitMime), Some(content)) if !offers(Extension::EightBitMime) => {
                let seven_bit = match self.chunk_for(client) {
                    Some(_) => content.fits(BodyType::SevenBit),
                    None => content.is_seven_bit_in_data(client.core.config.line_endings),
                };
                if seven_bit { Some(BodyType::SevenBit) } else { body }
            }
            (body, _) => body,
        };
        if body == Some(BodyType::EightBitMime) {
            missing(Extension::EightBitMime)?;
        }
        Ok(Asked { body, utf8 })
    }

    /// Whether the message may go as a binary one: by BDAT and no other way (RFC 3030 §3), and a chunk says first how
    /// large it is.
    fn binary<C: Channel>(&self, client: &Client<C>) -> Result<(), Extension> {
        if !client.core.offers(Extension::BinaryMime) {
            Err(Extension::BinaryMime)
        } else if self.chunk_for(client).is_none() {
            Err(Extension::Chunking)
        } else {
            Ok(())
        }
    }

    /// What a message that was said to be binary is, if it is known to be made of lines all the same.
    fn lines_of_binary(&self) -> Option<BodyType> {
        let content = self.content?;
        [BodyType::SevenBit, BodyType::EightBitMime].into_iter().find(|body| content.fits(*body))
    }

    fn has_ascii_envelope(&self) -> bool {
        let ascii = |address: Option<&Address<'_>>| address.is_none_or(Address::is_ascii);
        ascii(self.mail.from.address())
            && self.recipients.iter().all(|recipient| ascii(recipient.rcpt.to.address()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_is_made_of() {
        let long = [&b"x: "[..], &b"a".repeat(996), b"\r\n"].concat();
        for (message, seven_bit, eight_bit, utf8) in [
            (&b""[..], true, true, false),
            (b"a: b\r\n\r\nc\r\n", true, true, false),
            (b"a: b\r\n\r\nc", false, false, false),
            (b"a: b\r\n\r\nc\r", false, false, false),
            (b"a: b\n\nc\r\n", false, false, false),
            (b"a: b\r\n\r\nc\rd\r\n", false, false, false),
            (b"a: b\r\n\r\nc\r\r\n", false, false, false),
            (b"a: b\r\n\r\n\0\r\n", false, false, false),
            (&long, false, false, false),
            (long.get(1..).unwrap_or_default(), true, true, false),
            (b"a: b\r\n\r\n\xe9\r\n", false, true, false),
            (b"a: \xe9\r\n\r\nb\r\n", false, true, true),
            (b"a: \xe9", false, false, true),
            (b"Content-Type: Multi\r\n\r\n\xe9\r\n", false, true, false),
            (b"Content-Type:\r\n MultiPart/mixed\r\n\r\n\xe9\r\n", false, true, true),
            (b"Content-Type: message/rfc822\r\n\r\n\xe9\r\n", false, true, true),
            (b"Content-Type: message/rfc822\r\n\r\ne\r\n", true, true, false),
        ] {
            let content = Content::of(message);
            let fits = (content.fits(BodyType::SevenBit), content.fits(BodyType::EightBitMime));
            assert_eq!(
                (fits, content.needs_utf8()),
                ((seven_bit, eight_bit), utf8),
                "{}",
                message.escape_ascii()
            );
            assert!(content.fits(BodyType::BinaryMime) && content.octets() == message.len() as u64);
        }
    }
}
