//! Autoconfig files, as Thunderbird and others read them: `config-v1.1.xml` of a domain.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::suggestion::{SUGGESTION_LIMIT, Source, Suggestion};
use crate::account::address::{check_host, check_user};
use crate::account::settings::{AuthMode, ServerSettings};
use crate::endpoint::{Protocol, TlsMode};

/// The most bytes of an autoconfig file.
pub const AUTOCONFIG_LIMIT: usize = 256 * 1024;

/// The most levels of elements.
const DEPTH_LIMIT: usize = 16;

/// The most bytes of the text of an element that is read.
const TEXT_LIMIT: usize = 1024;

/// Returns the HTTPS URLs of the autoconfig files of an address, and each of them as it may be shown: without the address.
#[must_use]
pub fn autoconfig_urls(address: &str) -> Vec<(String, String)> {
    let Some((_, domain)) = address.rsplit_once('@') else { return Vec::new() };
    let domain = domain.to_ascii_lowercase();
    let own = format!("https://autoconfig.{domain}/mail/config-v1.1.xml");
    let well_known = format!("https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml");
    vec![(format!("{own}?emailaddress={}", percent_encode(address)), own), (well_known.clone(), well_known)]
}

/// Encodes everything but the unreserved characters of RFC 3986 §2.3.
fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Parses an autoconfig file for an address. `url` is where it comes from. Drops servers of other protocols, without TLS, or
/// with an invalid host or port.
///
/// # Errors
/// Why it is not such a file. The text does not quote the file.
pub fn parse_autoconfig(xml: &[u8], address: &str, url: &str) -> Result<Vec<Suggestion>, String> {
    if xml.len() > AUTOCONFIG_LIMIT {
        return Err(format!("the file has more than {AUTOCONFIG_LIMIT} bytes"));
    }
    let text = std::str::from_utf8(xml).map_err(|_| "the file is not UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut parser =
        Parser { address, url, path: Vec::new(), text: String::new(), server: None, found: Vec::new() };
    loop {
        let event = reader.read_event().map_err(|_| "the file is not well-formed XML".to_owned())?;
        match event {
            Event::Start(start) => parser.start(&start)?,
            Event::Text(text) => parser.push(&text.xml10_content()),
            Event::CData(text) => parser.push(&text.xml10_content()),
            Event::GeneralRef(reference) => parser.push(&resolve(&reference)?),
            Event::End(_) => parser.end(),
            Event::DocType(_) => return Err("the file has a document type declaration".to_owned()),
            Event::Eof if parser.path.is_empty() => break,
            Event::Eof => return Err(NOT_XML.to_owned()),
            _ => {}
        }
    }
    if !text.contains("clientConfig") {
        return Err("the file is no autoconfig file".to_owned());
    }
    Ok(parser.found)
}

const NOT_XML: &str = "the file is not well-formed XML";

/// Returns the text of a character reference or a predefined entity. There are no others without a document type.
fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    if let Ok(Some(char)) = reference.resolve_char_ref() {
        return Ok(char.to_string());
    }
    let name = reference.xml10_content();
    let text = quick_xml::escape::resolve_predefined_entity(&name);
    text.map(str::to_owned).ok_or_else(|| "the file uses an unknown entity".to_owned())
}

/// A server whose element is being read.
#[derive(Default)]
struct PartialServer {
    protocol: Option<Protocol>,
    host: String,
    port: String,
    security: Option<TlsMode>,
    user: Option<String>,
    auth_modes: Vec<AuthMode>,
}

impl PartialServer {
    /// Adds the mode of an authentication scheme. That of OAuth 2.0 depends on the provider, which the file does not name.
    fn accept(&mut self, scheme: &str) {
        let is_password = matches!(scheme, "password-cleartext" | "password-encrypted" | "plain" | "secure");
        if is_password && self.auth_modes.is_empty() {
            self.auth_modes.push(AuthMode::Password);
        }
    }
}

struct Parser<'a> {
    address: &'a str,
    url: &'a str,
    /// The names of the open elements.
    path: Vec<String>,
    /// The text of the innermost element.
    text: String,
    server: Option<PartialServer>,
    found: Vec<Suggestion>,
}

impl Parser<'_> {
    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        if self.path.len() >= DEPTH_LIMIT {
            return Err("the file has too many levels".to_owned());
        }
        let name = element.local_name().into_inner().to_owned();
        let kind = element.try_get_attribute("type").map_err(|_| NOT_XML.to_owned())?;
        let kind = kind.map(|kind| kind.value.to_ascii_lowercase());
        if self.parent_is("emailProvider") {
            let protocol = match (name.as_str(), kind.as_deref()) {
                ("incomingServer", Some("imap")) => Some(Protocol::Imap),
                ("outgoingServer", Some("smtp")) => Some(Protocol::Smtp),
                _ => None,
            };
            self.server = protocol
                .map(|protocol| PartialServer { protocol: Some(protocol), ..PartialServer::default() });
        }
        self.path.push(name);
        self.text.clear();
        Ok(())
    }

    fn parent_is(&self, name: &str) -> bool {
        self.path.last().is_some_and(|last| last == name)
    }

    fn push(&mut self, text: &str) {
        if self.text.len() + text.len() <= TEXT_LIMIT {
            self.text.push_str(text);
        }
    }

    fn end(&mut self) {
        let Some(name) = self.path.pop() else { return };
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        if matches!(name.as_str(), "incomingServer" | "outgoingServer") && self.parent_is("emailProvider") {
            let server = self.server.take();
            let suggestion = server.and_then(|server| self.suggestion(server));
            if self.found.len() < SUGGESTION_LIMIT {
                self.found.extend(suggestion);
            }
            return;
        }
        let is_in_server = self.parent_is("incomingServer") || self.parent_is("outgoingServer");
        let (true, Some(server)) = (is_in_server, &mut self.server) else { return };
        match name.as_str() {
            "hostname" => server.host = replace(text, self.address),
            "port" => text.clone_into(&mut server.port),
            "username" => server.user = Some(replace(text, self.address)),
            "socketType" => {
                server.security = match text {
                    "SSL" => Some(TlsMode::Implicit),
                    "STARTTLS" => Some(TlsMode::StartTls),
                    _ => None,
                }
            }
            "authentication" => server.accept(text),
            _ => {}
        }
    }

    /// Returns the suggestion of a complete server with TLS.
    fn suggestion(&self, server: PartialServer) -> Option<Suggestion> {
        let host = server.host.to_ascii_lowercase();
        let user = server.user.filter(|user| !user.is_empty()).unwrap_or_else(|| self.address.to_owned());
        check_host(&host).ok()?;
        check_user(&user).ok()?;
        let port = server.port.parse().ok().filter(|port| *port != 0)?;
        Some(Suggestion {
            protocol: server.protocol?,
            server: ServerSettings { host, port, tls: server.security?, user },
            auth_modes: server.auth_modes,
            source: Source::Autoconfig(self.url.to_owned()),
            is_authenticated: true,
        })
    }
}

/// Replaces the placeholders for the address and its parts.
fn replace(text: &str, address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    // In one pass, so that a part of the address is not taken for a placeholder.
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, tail) = rest.split_at(at);
        replaced.push_str(before);
        let known = [("%EMAILADDRESS%", address), ("%EMAILLOCALPART%", local), ("%EMAILDOMAIN%", domain)];
        let found = known.iter().find_map(|(name, value)| Some((tail.strip_prefix(name)?, *value)));
        let (after, value) = found.unwrap_or_else(|| (tail.get(1..).unwrap_or_default(), "%"));
        replaced.push_str(value);
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://autoconfig.example.org/mail/config-v1.1.xml";

    fn parse(xml: &str) -> Result<Vec<Suggestion>, String> {
        parse_autoconfig(xml.as_bytes(), "ann.lee@example.org", URL)
    }

    fn shown(found: &[Suggestion]) -> Vec<String> {
        found.iter().map(|one| format!("{} {}", one.server.url(one.protocol), one.server.user)).collect()
    }

    fn server(kind: &str, inner: &str) -> String {
        let element = if kind == "smtp" { "outgoingServer" } else { "incomingServer" };
        format!(
            "<?xml version='1.0'?><clientConfig version='1.1'><emailProvider id='x'><{element} type='{kind}'>{inner}\
             </{element}></emailProvider></clientConfig>"
        )
    }

    #[test]
    fn reads_servers_with_tls() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
            <clientConfig version="1.1"><emailProvider id="example.org"><domain>example.org</domain>
            <displayName>A &amp; B</displayName>
            <incomingServer type="pop3"><hostname>pop.example.org</hostname><port>995</port><socketType>SSL</socketType></incomingServer>
            <incomingServer type="imap"><hostname> imap.%EMAILDOMAIN% </hostname><port>993</port><socketType>SSL</socketType>
              <username>%EMAILLOCALPART%</username><authentication>OAuth2</authentication><authentication>password-cleartext</authentication></incomingServer>
            <incomingServer type="imap"><hostname>imap.example.org</hostname><port>143</port><socketType>plain</socketType></incomingServer>
            <outgoingServer type="smtp"><hostname>smtp.example.org</hostname><port>587</port><socketType>STARTTLS</socketType>
              <username>%EMAILADDRESS%</username></outgoingServer>
            <!-- a comment --></emailProvider></clientConfig>"#;
        let found = parse(xml).unwrap();
        let expected =
            ["imaps://imap.example.org:993 ann.lee", "smtp://smtp.example.org:587 ann.lee@example.org"];
        assert_eq!(shown(&found), expected);
        assert_eq!(found[0].auth_modes, [AuthMode::Password]);
        assert_eq!(found[0].source.to_string(), URL);
    }

    #[test]
    fn drops_servers_that_are_cleartext_or_invalid() {
        let good = "<hostname>h.example</hostname><port>993</port><socketType>SSL</socketType>";
        assert_eq!(parse(&server("imap", good)).unwrap().len(), 1);
        for inner in [
            "<hostname>h.example</hostname><port>143</port><socketType>plain</socketType>",
            "<hostname>h.example</hostname><port>143</port>",
            "<hostname>h.example</hostname><port>143</port><socketType>none</socketType>",
            "<hostname>h.example</hostname><port>0</port><socketType>SSL</socketType>",
            "<hostname>h.example</hostname><port>70000</port><socketType>SSL</socketType>",
            "<hostname></hostname><port>993</port><socketType>SSL</socketType>",
            "<hostname>h/../x</hostname><port>993</port><socketType>SSL</socketType>",
            "<hostname>h.example&#13;&#10;x</hostname><port>993</port><socketType>SSL</socketType>",
            "<hostname>h.example</hostname><port>993</port><socketType>SSL</socketType><username>a&#0;b</username>",
            "<x><hostname>h.example</hostname></x><port>993</port><socketType>SSL</socketType>",
        ] {
            assert!(parse(&server("imap", inner)).map_or(true, |found| found.is_empty()), "{inner}");
        }
        assert!(parse(&server("nntp", good)).unwrap().is_empty());
    }

    #[test]
    fn rejects_hostile_files() {
        let deep = format!("<clientConfig>{}", "<a>".repeat(100_000));
        let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><clientConfig>&b;</clientConfig>";
        let entity = "<clientConfig><emailProvider>&xxe;</emailProvider></clientConfig>";
        let large = format!("<clientConfig>{}</clientConfig>", " ".repeat(AUTOCONFIG_LIMIT));
        let html = "<html><body><p>not found</p></body></html>";
        for xml in [
            &deep,
            bomb,
            entity,
            &large,
            html,
            "",
            "<clientConfig>",
            "<clientConfig></x>",
            "<clientConfig",
            "&",
        ] {
            let error = parse(xml).map(|found| shown(&found)).unwrap_err();
            assert!(error.len() < 80, "{error}");
        }
        assert!(parse_autoconfig(&[0xff, 0xfe, b'<'], "a@b", URL).is_err());
        let many = server("imap", "").replace(
            "<incomingServer type='imap'></incomingServer>",
            &"<incomingServer type='imap'><hostname>h.example</hostname><port>1</port><socketType>SSL</socketType></incomingServer>"
                .repeat(500),
        );
        assert_eq!(parse(&many).unwrap().len(), SUGGESTION_LIMIT);
    }

    #[test]
    fn a_part_of_the_address_is_no_placeholder() {
        assert_eq!(
            replace("%EMAILLOCALPART%@%EMAILDOMAIN%", "%EMAILDOMAIN%@x.example"),
            "%EMAILDOMAIN%@x.example"
        );
        assert_eq!(replace("100%%EMAILADDRESS%%X%", "a@b"), "100%a@b%X%");
    }

    #[test]
    fn the_address_is_encoded_in_the_url() {
        let urls = autoconfig_urls("a+b&c=d@Example.org");
        assert_eq!(
            urls[0].0,
            "https://autoconfig.example.org/mail/config-v1.1.xml?emailaddress=a%2Bb%26c%3Dd%40Example.org"
        );
        assert_eq!(urls[1].1, "https://example.org/.well-known/autoconfig/mail/config-v1.1.xml");
    }
}
