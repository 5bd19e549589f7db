//! IMAP URLs (RFC 5092), as CATENATE (RFC 4469) and URLAUTH (RFC 4467) use them: the server, the mailbox, and the message
//! or the part of one.
//!
//! A URL with an authorization token lets its bearer read the message, so `Debug` hides the token.

use alloc::string::String;
use core::fmt;

use proto_mail::error::ErrorDetails;

/// An IMAP URL, absolute or relative to a server or a mailbox. Its texts are decoded.
///
/// ```
/// use proto_imap::types::ImapUrl;
/// let url = ImapUrl::parse("/Sent%20Items;UIDVALIDITY=385759045/;UID=20/;SECTION=1.2").unwrap();
/// assert_eq!((url.mailbox.as_str(), url.uid, url.section.as_deref()), ("Sent Items", Some(20), Some("1.2")));
/// assert!(url.server.is_none(), "it is relative to the server of the session");
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ImapUrl {
    /// The server; `None` for a relative URL.
    pub server: Option<ImapUrlServer>,
    /// The mailbox's name; empty if the URL is relative to the selected mailbox.
    pub mailbox: String,
    /// `;UIDVALIDITY=`
    pub uid_validity: Option<u32>,
    /// `/;UID=`: the message.
    pub uid: Option<u32>,
    /// `/;SECTION=`: the part of the message, such as `1.2` or `HEADER`; `None` for all of it.
    pub section: Option<String>,
    /// `/;PARTIAL=`: the offset in bytes, and the number of bytes; `None` for all bytes from the offset.
    pub partial: Option<(u64, Option<u64>)>,
    /// `;EXPIRE=` and `;URLAUTH=` (RFC 4467).
    pub authorization: Option<UrlAuthorization>,
}

/// The server of an IMAP URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ImapUrlServer {
    /// The user.
    pub user: Option<String>,
    /// `;AUTH=`: the mechanism; `*` for any.
    pub mechanism: Option<String>,
    /// The host, with the brackets of an IPv6 address.
    pub host: String,
    /// The port; `None` for 143.
    pub port: Option<u16>,
}

/// Who may use a URL without a login (RFC 4467).
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct UrlAuthorization {
    /// When the URL expires, as a date of RFC 3339; `None` for never.
    pub expires: Option<String>,
    /// `anonymous`, `authuser`, `user+NAME` or `submit+NAME`.
    pub access: String,
    /// The mechanism and the token, which is secret. `None` before GENURLAUTH.
    pub token: Option<(String, String)>,
}

/// The text is no IMAP URL, or one for a list of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidImapUrl;

impl fmt::Display for InvalidImapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an IMAP URL of a mailbox, a message or a part of one")
    }
}

impl core::error::Error for InvalidImapUrl {}

impl ErrorDetails for InvalidImapUrl {}

impl ImapUrl {
    /// Parses a URL. URLs with a search (`?`) are rejected.
    ///
    /// # Errors
    /// [`InvalidImapUrl`] if the text does not follow the grammar, or an encoded text is not UTF-8 or has a control
    /// character.
    pub fn parse(text: &str) -> Result<Self, InvalidImapUrl> {
        let mut url = Self::default();
        let path = match text.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("imap://") => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                url.server = Some(ImapUrlServer::parse(authority)?);
                path
            }
            _ if text.starts_with("//") => return Err(InvalidImapUrl),
            // The scheme of another protocol (RFC 3986 §4.2).
            _ if text.split(['/', ';']).next().is_some_and(|first| first.contains(':')) => {
                return Err(InvalidImapUrl);
            }
            _ => text,
        };
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut pieces = path.split(';');
        let first = pieces.next().unwrap_or_default();
        let mut slash = first.is_empty() || first.ends_with('/');
        url.mailbox = decode(first.strip_suffix('/').unwrap_or(first))?;
        let mut last = 0;
        for piece in pieces {
            let (key, value) = piece.split_once('=').ok_or(InvalidImapUrl)?;
            let (value, ends_with_slash) = match value.strip_suffix('/') {
                Some(value) => (value, true),
                None => (value, false),
            };
            let order = url.parameter(key, value)?;
            // UID, SECTION and PARTIAL are segments of the path; the others belong to the segment before.
            if order <= last || matches!(order, 2..=4) != slash {
                return Err(InvalidImapUrl);
            }
            (last, slash) = (order, ends_with_slash);
        }
        if slash && last > 0 || url.mailbox.is_empty() && url.uid_validity.is_some() {
            return Err(InvalidImapUrl);
        }
        Ok(url)
    }

    /// Stores a parameter. Returns its place in the order of the grammar.
    fn parameter(&mut self, key: &str, value: &str) -> Result<u8, InvalidImapUrl> {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        if is("UIDVALIDITY") {
            self.uid_validity = Some(number(value)?);
            Ok(1)
        } else if is("UID") {
            self.uid = Some(number(value)?);
            Ok(2)
        } else if is("SECTION") && !value.is_empty() {
            self.section = Some(decode(value)?);
            Ok(3)
        } else if is("PARTIAL") {
            let (offset, count) = match value.split_once('.') {
                Some((offset, count)) => (offset, Some(count)),
                None => (value, None),
            };
            let count = count.map(digits).transpose()?;
            if count == Some(0) {
                return Err(InvalidImapUrl);
            }
            self.partial = Some((digits(offset)?, count));
            Ok(4)
        } else if is("EXPIRE") && !value.is_empty() {
            self.authorization.get_or_insert_default().expires = Some(decode(value)?);
            Ok(5)
        } else if is("URLAUTH") {
            let mut parts = value.splitn(3, ':');
            let authorization = self.authorization.get_or_insert_default();
            authorization.access = decode(parts.next().unwrap_or_default())?;
            if authorization.access.is_empty() {
                return Err(InvalidImapUrl);
            }
            authorization.token = match (parts.next(), parts.next()) {
                (None, _) => None,
                (Some(mechanism), Some(token)) if is_token(token) && is_mechanism(mechanism) => {
                    Some((mechanism.into(), token.into()))
                }
                _ => return Err(InvalidImapUrl),
            };
            Ok(6)
        } else {
            Err(InvalidImapUrl)
        }
    }
}

impl ImapUrlServer {
    fn parse(authority: &str) -> Result<Self, InvalidImapUrl> {
        let mut server = Self::default();
        let host = match authority.rsplit_once('@') {
            None => authority,
            Some((user, host)) => {
                let (user, parameter) = match user.split_once(';') {
                    Some((user, parameter)) => (user, Some(parameter)),
                    None => (user, None),
                };
                if let Some(parameter) = parameter {
                    let (key, mechanism) = parameter.split_once('=').ok_or(InvalidImapUrl)?;
                    if !key.eq_ignore_ascii_case("AUTH") || mechanism.is_empty() {
                        return Err(InvalidImapUrl);
                    }
                    server.mechanism = Some(decode(mechanism)?);
                }
                if !user.is_empty() {
                    server.user = Some(decode(user)?);
                }
                host
            }
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => {
                (name, Some(port.parse().map_err(|_| InvalidImapUrl)?))
            }
            _ => (host, None),
        };
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~[]:%".contains(&byte);
        if host.is_empty() || !host.bytes().all(valid) {
            return Err(InvalidImapUrl);
        }
        (server.host, server.port) = (host.into(), port);
        Ok(server)
    }
}

/// Writes the URL, with the token if it has one.
impl fmt::Display for ImapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(server) = &self.server {
            f.write_str("imap://")?;
            if let Some(user) = &server.user {
                encode(user, "", f)?;
            }
            if let Some(mechanism) = &server.mechanism {
                f.write_str(";AUTH=")?;
                encode(mechanism, "", f)?;
            }
            if server.user.is_some() || server.mechanism.is_some() {
                f.write_str("@")?;
            }
            f.write_str(&server.host)?;
            if let Some(port) = server.port {
                write!(f, ":{port}")?;
            }
        }
        f.write_str("/")?;
        // A slash at either end would be taken for one between segments.
        let inside = self.mailbox.trim_matches('/');
        let start = self.mailbox.len() - self.mailbox.trim_start_matches('/').len();
        let (before, rest) = self.mailbox.split_at(start);
        encode(before, "", f)?;
        encode(inside, "/:@", f)?;
        encode(rest.get(inside.len()..).unwrap_or_default(), "", f)?;
        if let Some(validity) = self.uid_validity {
            write!(f, ";UIDVALIDITY={validity}")?;
        }
        // The first segment of the path follows the one that is written before a mailbox.
        let slash = |f: &mut fmt::Formatter<'_>, is_first: bool| {
            f.write_str(if is_first && self.mailbox.is_empty() { "" } else { "/" })
        };
        if let Some(uid) = self.uid {
            slash(f, true)?;
            write!(f, ";UID={uid}")?;
        }
        if let Some(section) = &self.section {
            slash(f, self.uid.is_none())?;
            f.write_str(";SECTION=")?;
            encode(section, ":@", f)?;
        }
        if let Some((offset, count)) = self.partial {
            slash(f, self.uid.is_none() && self.section.is_none())?;
            write!(f, ";PARTIAL={offset}")?;
            if let Some(count) = count {
                write!(f, ".{count}")?;
            }
        }
        if let Some(authorization) = &self.authorization {
            if let Some(expires) = &authorization.expires {
                f.write_str(";EXPIRE=")?;
                encode(expires, ":", f)?;
            }
            f.write_str(";URLAUTH=")?;
            encode(&authorization.access, "", f)?;
            if let Some((mechanism, token)) = &authorization.token {
                write!(f, ":{mechanism}:{token}")?;
            }
        }
        Ok(())
    }
}

/// Writes the URL without its token.
impl fmt::Debug for ImapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.clone();
        if let Some((_, token)) = shown.authorization.as_mut().and_then(|found| found.token.as_mut()) {
            *token = "[redacted]".into();
        }
        write!(f, "ImapUrl({shown})")
    }
}

/// Hides the token.
impl fmt::Debug for UrlAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlAuthorization")
            .field("expires", &self.expires)
            .field("access", &self.access)
            .field("has_token", &self.token.is_some())
            .finish()
    }
}

fn number(text: &str) -> Result<u32, InvalidImapUrl> {
    u32::try_from(digits(text)?).ok().filter(|number| *number > 0).ok_or(InvalidImapUrl)
}

fn digits(text: &str) -> Result<u64, InvalidImapUrl> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidImapUrl);
    }
    text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok()).ok_or(InvalidImapUrl)
}

/// `enc-urlauth = 32*HEXDIG`
fn is_token(token: &str) -> bool {
    token.len() >= 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_mechanism(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

/// Returns whether the byte needs no encoding anywhere: `unreserved` and most of `sub-delims` (RFC 3986). `+`, `&` and
/// `=` are among them.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'&' | b'='
        )
}

fn encode(text: &str, more: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in text.bytes() {
        if is_plain(byte) || more.as_bytes().contains(&byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, InvalidImapUrl> {
    let mut bytes = alloc::vec::Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digit = |byte: Option<u8>| {
                    char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
                };
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                high.ok_or(InvalidImapUrl)? * 16 + low.ok_or(InvalidImapUrl)?
            }
            byte if is_plain(byte) || b":@/".contains(&byte) => byte,
            _ => return Err(InvalidImapUrl),
        };
        bytes.push(byte);
    }
    let text = String::from_utf8(bytes).map_err(|_| InvalidImapUrl)?;
    if text.contains(char::is_control) { Err(InvalidImapUrl) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::format;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn parses_the_urls_of_the_documents() {
        let token = "91354a473744909de610943775f92038";
        for text in [
            "/Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=HEADER".to_owned(),
            "/INBOX;UIDVALIDITY=785799047/;UID=113330/;SECTION=1.5.9".to_owned(),
            "imap://minbari.example.org/gray-council;UIDVALIDITY=385759045/;UID=20/;PARTIAL=0.1024"
                .to_owned(),
            "imap://michael;AUTH=*@example.org:1143/%E5%8F%B0%E5%8C%97".to_owned(),
            "imap://joe@example.com/INBOX/;UID=20/;SECTION=1.2;URLAUTH=submit+fred".to_owned(),
            format!(
                "imap://joe@example.com/INBOX/;UID=20;EXPIRE=2027-01-01T00:00:00Z;URLAUTH=anonymous:internal:{token}"
            ),
            "/;UID=20/;SECTION=TEXT".to_owned(),
            "imap://[2001:db8::1]:143/x".to_owned(),
        ] {
            let url = ImapUrl::parse(&text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(url.to_string(), text);
            assert!(!format!("{url:?} {:?}", url.authorization).contains(token));
        }
        let relative = ImapUrl::parse("/Drafts/;UID=3002/;section=1").unwrap();
        assert_eq!((relative.mailbox.as_str(), relative.uid), ("Drafts", Some(3002)));
        assert_eq!(ImapUrl::parse(";UID=7").unwrap().uid, Some(7));
    }

    #[test]
    fn rejects_what_is_no_such_url() {
        for text in [
            "//example.org/x",
            "http://example.org/x",
            "imap:///x",
            "imap://a b/x",
            "imap://example.org:99999/x",
            "imap://;AUTH=@h/x",
            "/x;UID=1",
            "/x/;UIDVALIDITY=1",
            "/x/;UID=0",
            "/x/;UID=+1",
            "/x/;UID=4294967296",
            "/x/;UID=1/;UID=2",
            "/x/;SECTION=1/;UID=1",
            "/x/;UID=1/",
            "/x/;PARTIAL=1.0",
            "/x/;PARTIAL=1.",
            "/x/;UID=1;URLAUTH=",
            "/x/;UID=1;URLAUTH=anonymous:internal",
            "/x/;UID=1;URLAUTH=anonymous:internal:12345",
            "/x/;FOO=1",
            "/x;;",
            "/x%0D%0A",
            "/x%",
            "/x%FF",
            "/x y",
            "/x\r\n",
            "/x?SUBJECT",
            ";UIDVALIDITY=1",
        ] {
            assert_eq!(ImapUrl::parse(text), Err(InvalidImapUrl), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn writes_what_it_parses(
            mailbox in "[^\\x00-\\x1f\\x7f-\\u{9f}]{1,12}", user in prop::option::of("[ -~]{1,8}"),
            server in any::<bool>(), validity in prop::option::of(1_u32..), uid in prop::option::of(1_u32..),
            section in prop::option::of("[ -~]{1,8}"), partial in prop::option::of((0_u64..1 << 40, prop::option::of(1_u64..99))),
        ) {
            let server = server.then(|| ImapUrlServer { user, mechanism: None, host: "h".into(), port: Some(1) });
            let url = ImapUrl { server, mailbox, uid_validity: validity, uid, section, partial, authorization: None };
            prop_assert_eq!(ImapUrl::parse(&url.to_string()), Ok(url.clone()), "{}", url);
        }

        #[test]
        fn never_panics(text in "(imap://)?[ -~%;/=.:@é]{0,40}") {
            if let Ok(url) = ImapUrl::parse(&text) {
                prop_assert_eq!(ImapUrl::parse(&url.to_string()), Ok(url));
            }
        }
    }
}
