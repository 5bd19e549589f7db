//! Mail URLs: protocol, TLS mode, user, host and port. A URL never holds a password.

use std::fmt;
use std::str::FromStr;

/// The protocol of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// IMAP.
    Imap,
    /// SMTP or submission.
    Smtp,
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS, required.
    StartTls,
}

/// Why a text is not a mail URL. It never quotes the user, nor what may be a password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// The text has a path, which the URL of a server must not have.
    Path(String),
    /// The text has a password, which a URL must not hold.
    Password,
    /// Anything else.
    Syntax(&'static str),
}

impl UrlError {
    /// Returns false: the same text is never a URL.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(
                f,
                "a URL must not have a path: remove \"/{path}\" (write a slash in a user name as %2F)"
            ),
            Self::Password => {
                f.write_str("a URL must not contain a password (write a colon in a user name as %3A)")
            }
            Self::Syntax(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for UrlError {}

impl From<&'static str> for UrlError {
    fn from(what: &'static str) -> Self {
        Self::Syntax(what)
    }
}

/// A mail URL such as `imaps://user@host[:993]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// The protocol.
    pub protocol: Protocol,
    /// How TLS begins.
    pub tls: TlsMode,
    /// The user who logs in. Personal data: must not be logged.
    pub user: Option<String>,
    /// A host name or an IP address without brackets.
    pub host: String,
    /// The port; the protocol's usual one if the URL names none.
    pub port: u16,
}

impl Url {
    /// Returns the scheme.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        match (self.protocol, self.tls) {
            (Protocol::Imap, TlsMode::Implicit) => "imaps",
            (Protocol::Imap, TlsMode::StartTls) => "imap",
            (Protocol::Smtp, TlsMode::Implicit) => "smtps",
            (Protocol::Smtp, TlsMode::StartTls) => "smtp",
        }
    }

    /// Returns `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Returns the usual port.
pub(crate) const fn default_port(protocol: Protocol, tls: TlsMode) -> u16 {
    match (protocol, tls) {
        (Protocol::Imap, TlsMode::Implicit) => 993,
        (Protocol::Imap, TlsMode::StartTls) => 143,
        (Protocol::Smtp, TlsMode::Implicit) => 465,
        (Protocol::Smtp, TlsMode::StartTls) => 587,
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        parse(text)
    }
}

fn parse(text: &str) -> Result<Url, UrlError> {
    let (scheme, rest) =
        text.split_once("://").ok_or("expected imaps://user@host, imap://, smtps:// or smtp://")?;
    let (protocol, tls) = match scheme.to_ascii_lowercase().as_str() {
        "imaps" => (Protocol::Imap, TlsMode::Implicit),
        "imap" => (Protocol::Imap, TlsMode::StartTls),
        "smtps" => (Protocol::Smtp, TlsMode::Implicit),
        "smtp" => (Protocol::Smtp, TlsMode::StartTls),
        _ => return Err("the scheme must be imaps, imap, smtps or smtp".into()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    check_path(rest)?;
    // A user name is often an address, so the last "@" ends it.
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let user = user.filter(|user| !user.is_empty()).map(decode_user).transpose()?;
    let (host, port) = split_port(host)?;
    if host.is_empty() || host.contains(['/', '?', '#', ' ', '@']) || host.chars().any(char::is_control) {
        return Err("the host is missing or has an invalid character".into());
    }
    Ok(Url {
        protocol,
        tls,
        user,
        host: host.to_owned(),
        port: port.unwrap_or_else(|| default_port(protocol, tls)),
    })
}

/// Rejects a path: a URL names a server and a user, but no mailbox.
fn check_path(rest: &str) -> Result<(), UrlError> {
    let Some((authority, path)) = rest.split_once('/') else { return Ok(()) };
    // A slash before the only "@" is part of the user name.
    if !authority.contains('@') && path.contains('@') {
        return Ok(());
    }
    Err(UrlError::Path(path.to_owned()))
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(text: &str) -> Result<(&str, Option<u16>), UrlError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket around the address is not closed")?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or("expected :PORT")?) })
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port
        .map(|port| {
            port.parse().ok().filter(|port| *port != 0).ok_or("the port must be a number from 1 to 65535")
        })
        .transpose()?;
    Ok((host, port))
}

/// Decodes a percent-encoded user name. Rejects a colon, which would begin a password.
fn decode_user(text: &str) -> Result<String, UrlError> {
    if text.contains(':') {
        return Err(UrlError::Password);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("a % in the user name must be followed by two hexadecimal digits")?);
        rest = tail.get(2..).unwrap_or_default();
    }
    let user = String::from_utf8(bytes).map_err(|_| "the user name is not UTF-8")?;
    if user.chars().any(char::is_control) {
        return Err("the user name contains a control character".into());
    }
    Ok(user)
}

impl fmt::Display for Url {
    /// Formats the URL without the user, so that it may be printed and stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides_tls_mode_and_port() {
        for (text, tls, port) in [
            ("imaps://h", TlsMode::Implicit, 993),
            ("imap://h", TlsMode::StartTls, 143),
            ("SMTPS://h/", TlsMode::Implicit, 465),
            ("smtp://h", TlsMode::StartTls, 587),
            ("imap://u@h:1143", TlsMode::StartTls, 1143),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.tls, url.port, url.host.as_str()), (tls, port, "h"), "{text}");
        }
    }

    #[test]
    fn parses_users_and_hosts() {
        let url: Url = "imaps://alice@example.com@mail.example.com".parse().unwrap();
        assert_eq!(url.user.as_deref(), Some("alice@example.com"));
        assert_eq!(url.host, "mail.example.com");
        let url: Url = "imaps://a%40b%3Ac@[::1]:9993".parse().unwrap();
        assert_eq!((url.user.as_deref(), url.host.as_str(), url.port), (Some("a@b:c"), "::1", 9993));
        assert_eq!(url.authority(), "[::1]:9993");
        assert!(!format!("{url} {url:?}").contains("a@b"));
    }

    #[test]
    fn rejects_a_path_as_such() {
        for text in ["imaps://h:1993/INBOX", "imaps://u@h/INBOX", "imaps://u@h:1/a@b", "smtp://h/x/y"] {
            let why = text.parse::<Url>().unwrap_err().to_string();
            assert!(why.contains("path") && !why.contains("port must"), "{text}: {why}");
        }
        assert_eq!("imaps://d/u@h".parse::<Url>().unwrap().user.as_deref(), Some("d/u"));
        assert!("imaps://u@h:1993/".parse::<Url>().is_ok());
    }

    #[test]
    fn rejects_invalid_urls() {
        for bad in [
            "host",
            "http://h",
            "imaps://",
            "imaps://u@",
            "imaps://h:0",
            "imaps://h:99999",
            "imaps://[::1",
            "imaps://u:p@h",
            "imaps://%zz@h",
            "imaps://%0a@h",
            "imaps://h/INBOX",
            "imaps://h h",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
