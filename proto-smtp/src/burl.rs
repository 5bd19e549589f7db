//! BURL: message data that the server fetches from an IMAP server (RFC 4468).

use alloc::borrow::Cow;
use core::fmt;

use proto_mail::SendBuffer;

use crate::ascii;
use crate::chunking::ChunkEnd;
use crate::secret_bytes::SecretBytes;
use crate::syntax::{SyntaxError, SyntaxFault, trim_spaces};

/// The longest authority in bytes.
const MAX_AUTHORITY: usize = 255;

/// A source that a server fetches from: `burl-param` (RFC 4468 §3.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BurlSource<'i> {
    /// `imap`: any IMAP server, by URLs that authorize their reader.
    Any,
    /// `imap://authority`: an IMAP server that trusts this one.
    Server(Authority<'i>),
}

/// The `authority` of a URL (RFC 3986 §3.2): a host with an optional port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority<'i>(Cow<'i, str>);

impl<'i> BurlSource<'i> {
    /// Parses `"imap" / ("imap://" authority)`.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if text.eq_ignore_ascii_case("imap") {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_at_checked(7).unwrap_or_default();
        if scheme.eq_ignore_ascii_case("imap://") {
            Authority::parse(authority).map(Self::Server)
        } else {
            Err(SyntaxError::in_text(text, 0, SyntaxFault::Value))
        }
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> BurlSource<'static> {
        match self {
            Self::Any => BurlSource::Any,
            Self::Server(authority) => BurlSource::Server(authority.into_owned()),
        }
    }
}

impl<'i> Authority<'i> {
    /// Parses an authority: graphic US-ASCII without `/`, `?` and `#`.
    ///
    /// # Errors
    /// The text is not an authority, or is longer than 255 bytes.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        let good = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#".contains(&byte));
        if good && (1..=MAX_AUTHORITY).contains(&text.len()) {
            Ok(Self(Cow::Borrowed(text)))
        } else {
            Err(SyntaxError::in_text(text, 0, SyntaxFault::Value))
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Authority<'static> {
        Authority(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for BurlSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("imap"),
            Self::Server(authority) => write!(f, "imap://{}", authority.as_str()),
        }
    }
}

/// Parses the arguments of BURL: `SP absolute-URI [ SP "LAST" ]`.
pub(crate) fn parse_burl<'i>(
    line: &'i [u8],
    rest: &'i [u8],
) -> Result<(SecretBytes<'i>, ChunkEnd), SyntaxError> {
    let mut words = trim_spaces(rest).splitn(2, |&byte| byte == b' ');
    let url = words
        .next()
        .filter(|url| is_absolute_url(url))
        .ok_or_else(|| SyntaxError::at(line, rest, SyntaxFault::Url))?;
    Ok((SecretBytes::new(url), ChunkEnd::parse(line, words.next())?))
}

/// Writes BURL. The URL is queued as a secret.
pub(crate) fn encode_burl(url: &SecretBytes<'_>, end: ChunkEnd, tx: &mut SendBuffer) {
    tx.put(b"BURL ");
    // A URL that is not printable is replaced: it must not become a line of its own.
    let is_clean = url.expose().iter().all(u8::is_ascii_graphic);
    tx.put_secret(if is_clean { url.expose() } else { b"?" });
    end.encode(tx);
}

/// Whether the text is a scheme, a colon and printable US-ASCII (RFC 3986 §4.3). The rest of the URL is not checked.
pub(crate) fn is_absolute_url(text: &[u8]) -> bool {
    let Some((scheme, rest)) =
        text.iter().position(|&byte| byte == b':').and_then(|at| text.split_at_checked(at))
    else {
        return false;
    };
    let has_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|&byte| ascii::is(byte, ascii::ALNUM) || b"+-.".contains(&byte));
    has_scheme && rest.len() > 1 && rest.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    #[test]
    fn parses_a_url_and_whether_it_is_the_last_part() {
        let url = "imap://h/a;urlauth=submit+x:internal:00";
        let burl = |end| Ok(Command::Burl { url: SecretBytes::new(url.as_bytes()), end });
        assert_eq!(Command::parse(alloc::format!("BURL {url}").as_bytes()), burl(ChunkEnd::More));
        assert_eq!(Command::parse(alloc::format!("burl {url} last ").as_bytes()), burl(ChunkEnd::Last));
    }

    #[test]
    fn hides_the_url_in_debug_output() {
        let shown =
            alloc::format!("{:?}", Command::parse(b"BURL imap://h/a;urlauth=submit+x:internal:4711 LAST"));
        assert!(shown.contains("Last") && !shown.contains("4711"), "{shown}");
    }

    #[test]
    fn reports_the_fault_of_malformed_commands() {
        for (line, expected) in [
            (&b"BURL"[..], SyntaxFault::Url),
            (b"BURL x", SyntaxFault::Url),
            (b"BURL imap:", SyntaxFault::Url),
            (b"BURL 1:x", SyntaxFault::Url),
            (b"BURL :x", SyntaxFault::Url),
            (b"BURL imap://h/\xc3\xa9 LAST", SyntaxFault::Url),
            (b"BURL imap://h/\x01", SyntaxFault::Url),
            (b"BURL imap://h/a first", SyntaxFault::SurplusArgument),
            (b"BURL imap://h/a LAST x", SyntaxFault::SurplusArgument),
        ] {
            let error = Command::parse(line).unwrap_err();
            assert_eq!(error.fault(), expected, "{}", line.escape_ascii());
        }
    }
}
