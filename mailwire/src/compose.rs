//! Builds a message: checks the fields against their limits, writes the header, and uses `mail-builder` for the MIME body.

mod encoded_word;
mod field;
mod mailbox;
mod structured;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use mail_builder::MessageBuilder;

pub(crate) use self::mailbox::{Mailbox, addresses_in};
use crate::command_error::{CommandError, ExitCode};

/// The limits of a built message.
#[derive(Debug, Clone)]
pub(crate) struct ComposeLimits {
    /// The longest subject, in characters (RFC 5322 §2.1.1).
    pub(crate) subject: usize,
    /// The largest text or HTML body, in bytes.
    pub(crate) body: usize,
    /// The largest attachment, in bytes.
    pub(crate) attachment: usize,
    /// The largest total of all attachments, in bytes.
    pub(crate) attachments: usize,
    /// The most recipients in To, Cc and Bcc together.
    pub(crate) recipients: usize,
}

impl Default for ComposeLimits {
    fn default() -> Self {
        Self { subject: 998, body: 100 << 20, attachment: 25 << 20, attachments: 100 << 20, recipients: 100 }
    }
}

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// The option of the field.
    pub(crate) field: &'static str,
    pub(crate) why: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// A message to build.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) from: Option<Mailbox>,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) cc: Vec<Mailbox>,
    pub(crate) subject: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) html: Option<String>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) headers: Vec<(String, String)>,
    /// Whether to keep the addresses of To and Cc in ASCII. An address with a non-ASCII local part becomes the name of an
    /// empty group (RFC 6857 §3.1), so that a server without SMTPUTF8 delivers the message to the other recipients.
    pub(crate) ascii_recipients: bool,
}

/// A file to attach.
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) media_type: Cow<'static, str>,
    pub(crate) content: Vec<u8>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("type", &self.media_type)
            .field("len", &self.content.len())
            .finish_non_exhaustive()
    }
}

impl Attachment {
    /// Reads a file, given as its path, or as its path and media type: `report.bin;type=application/x-report`.
    ///
    /// # Errors
    /// The file cannot be read or is larger than the limit, or the media type is invalid.
    pub(crate) fn read(given: &OsStr, limits: &ComposeLimits) -> Result<Self, CommandError> {
        let (path, given_type) = split_media_type(given);
        if let Some(given_type) = given_type
            && !is_media_type(given_type)
        {
            let what = format!("attach: {given_type:?} is not a media type such as application/pdf");
            return Err(CommandError::new(ExitCode::Data, what));
        }
        let size = std::fs::metadata(path).map_err(|error| CommandError::file(path, &error))?.len();
        if size > limits.attachment as u64 {
            return Err(CommandError::new(
                ExitCode::Data,
                format!(
                    "attach: {}: {size} bytes, and the limit for one attachment is {}",
                    path.display(),
                    limits.attachment
                ),
            ));
        }
        let name =
            path.file_name().map_or_else(|| "attachment".into(), |name| name.to_string_lossy().into_owned());
        let content = std::fs::read(path).map_err(|error| CommandError::file(path, &error))?;
        let media_type = given_type.map_or(Cow::Borrowed(media_type(&name)), |given| given.to_owned().into());
        Ok(Self { media_type, name, content })
    }
}

/// Splits `FILE;type=TYPE`. A file whose name has that form needs a type of its own.
fn split_media_type(given: &OsStr) -> (&Path, Option<&str>) {
    match given.to_str().and_then(|text| text.rsplit_once(";type=")) {
        Some((path, media_type)) => (Path::new(path), Some(media_type)),
        None => (Path::new(given), None),
    }
}

/// Returns whether a text is a media type without parameters (RFC 6838 §4.2), of one part.
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        (1..=127).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| {
        is_name(kind) && is_name(subtype) && !kind.eq_ignore_ascii_case("multipart")
    })
}

/// Returns the media type for a file name extension.
fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "txt" | "log" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "ics" => "text/calendar",
        "pdf" => "application/pdf",
        "json" => "application/json",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "odt" => "application/vnd.oasis.opendocument.text",
        _ => "application/octet-stream",
    }
}

/// The fields that the builder or the server writes, which the user cannot add.
const RESERVED: [&str; 13] = [
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "return-path",
    "received",
    "content-disposition",
];

impl Draft {
    /// Returns all invalid fields.
    pub(crate) fn check(&self, limits: &ComposeLimits) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut invalid = |field, why: String| errors.push(FieldError { field, why });
        if let Some(subject) = &self.subject {
            if subject.chars().count() > limits.subject {
                invalid("subject", format!("longer than {} characters", limits.subject));
            }
            if subject.chars().any(char::is_control) {
                invalid("subject", "contains a control character or a line end".to_owned());
            }
        }
        for (field, body) in [("text", &self.text), ("html", &self.html)] {
            if body.as_ref().is_some_and(|body| body.len() > limits.body) {
                invalid(field, format!("longer than {} bytes", limits.body));
            }
        }
        if self.attachments.iter().map(|attachment| attachment.content.len()).sum::<usize>()
            > limits.attachments
        {
            invalid("attach", format!("more than {} bytes in total", limits.attachments));
        }
        for (name, value) in &self.headers {
            if let Err(why) = check_field(name, value).and_then(|()| field::write(name, value)) {
                invalid("header", why);
            }
        }
        errors
    }

    /// Builds the message with CRLF line ends. Also returns its Message-ID without brackets.
    pub(crate) fn build(&self, now: &jiff::Zoned) -> Result<(Vec<u8>, String), CommandError> {
        let from = self.from.as_ref().ok_or_else(|| {
            CommandError::new(ExitCode::Usage, "a built message needs an address in --from")
        })?;
        let domain = from.address.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let message_id = format!("{}@{}", unique(now), ascii_domain(domain));
        let date = jiff::fmt::rfc2822::to_string(now).map_err(|error| {
            CommandError::new(ExitCode::Data, format!("the date cannot be written: {error}"))
        })?;
        let written = |mailbox: &Mailbox| {
            let is_kept = mailbox.address.is_ascii() || !self.ascii_recipients;
            if is_kept { mailbox.header() } else { mailbox.as_empty_group() }
        };
        let list = |mailboxes: &[Mailbox]| mailboxes.iter().map(written).collect::<Vec<_>>().join(", ");
        let mut header = String::new();
        let mut add = |name: &str, value: &str| {
            header
                .push_str(&field::write(name, value).map_err(|why| CommandError::new(ExitCode::Data, why))?);
            Ok::<_, CommandError>(())
        };
        add("Message-ID", &format!("<{message_id}>"))?;
        add("Date", &date)?;
        add("From", &from.header())?;
        for (name, mailboxes) in [("To", &self.to), ("Cc", &self.cc)] {
            if !mailboxes.is_empty() {
                add(name, &list(mailboxes))?;
            }
        }
        if let Some(subject) = &self.subject {
            add("Subject", subject)?;
        }
        for (name, value) in &self.headers {
            add(name, value)?;
        }
        header.push_str("MIME-Version: 1.0\r\n");
        let mut message = MessageBuilder::new();
        if let Some(html) = &self.html {
            message = message.html_body(html.as_str());
        }
        if self.text.is_some() || self.html.is_none() {
            message = message.text_body(self.text.as_deref().unwrap_or_default());
        }
        for attachment in &self.attachments {
            message = message.attachment(
                attachment.media_type.as_ref(),
                attachment.name.as_str(),
                attachment.content.as_slice(),
            );
        }
        let mut bytes = header.into_bytes();
        message.write_body(&mut bytes).map_err(|error| {
            CommandError::new(ExitCode::Data, format!("the message cannot be built: {error}"))
        })?;
        Ok((bytes, message_id))
    }
}

/// The fields to add to a message that lacks them (RFC 6409 §8).
pub(crate) struct MissingFields<'a> {
    /// From, with this sender.
    pub(crate) from: Option<&'a Mailbox>,
    pub(crate) date: bool,
    pub(crate) message_id: bool,
}

/// Returns the missing fields, each with its line end.
pub(crate) fn added_fields(missing: &MissingFields<'_>, now: &jiff::Zoned) -> String {
    let mut fields = Vec::new();
    let from = missing.from;
    if let Some(from) = from {
        fields.push(field::write("From", &from.header()));
    }
    if missing.date {
        fields.extend(jiff::fmt::rfc2822::to_string(now).ok().map(|date| field::write("Date", &date)));
    }
    if missing.message_id {
        let domain = from
            .and_then(|from| from.address.rsplit_once('@'))
            .map_or("mailwire.invalid", |(_, domain)| domain);
        fields.push(field::write("Message-ID", &format!("<{}@{}>", unique(now), ascii_domain(domain))));
    }
    fields.into_iter().flatten().collect()
}

/// Parses `Name: value`.
pub(crate) fn parse_field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
    check_field(&name, &value)?;
    Ok((name, value))
}

/// Checks that a field name is printable ASCII without a colon (RFC 5322 §2.2), and that the value cannot begin a new line.
fn check_field(name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Err(format!("{name:?} is not a field name"));
    }
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return Err(format!("{name} is set by other options"));
    }
    if value.chars().any(|char| char.is_control() && char != '\t') {
        return Err(format!("the value of {name} contains a control character or a line end"));
    }
    if value.len() > 8192 {
        return Err(format!("the value of {name} is longer than 8192 bytes"));
    }
    Ok(())
}

/// Returns a unique left part of a Message-ID, which reveals nothing about the machine.
fn unique(now: &jiff::Zoned) -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:x}.{:016x}{:016x}", now.timestamp().as_microsecond(), random(), random())
}

/// Returns a domain for a Message-ID, which must be ASCII.
fn ascii_domain(domain: &str) -> &str {
    if domain.is_ascii() { domain } else { "mailwire.invalid" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            from: Some(Mailbox::parse("Alice <alice@example.com>").unwrap()),
            to: vec![
                Mailbox::parse("bob@example.com").unwrap(),
                Mailbox::parse("\"Ü, C\" <c@example.com>").unwrap(),
            ],
            subject: Some("Grüße".to_owned()),
            text: Some("one\n.two\n".to_owned()),
            ..Draft::default()
        }
    }

    fn now() -> jiff::Zoned {
        "2026-11-21T12:00:00+01:00[+01:00]".parse().unwrap()
    }

    #[test]
    fn a_message_contains_all_given_parts() {
        let mut draft = draft();
        draft.html = Some("<p>one</p>".to_owned());
        draft.attachments.push(Attachment {
            name: "a.pdf".into(),
            media_type: "application/pdf".into(),
            content: b"%PDF".to_vec(),
        });
        draft.headers.push(("X-Ticket".into(), "42".into()));
        let (bytes, id) = draft.build(&now()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        for part in [
            "From: \"Alice\" <alice@example.com>\r\n",
            "Date: Sat, 21 Nov 2026 12:00:00 +0100\r\n",
            "X-Ticket: 42\r\n",
            "multipart/mixed",
            "text/html",
            "a.pdf",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(text.contains(&format!("Message-ID: <{id}>\r\n")) && id.ends_with("@example.com"), "{text}");
        assert!(!text.to_ascii_lowercase().contains("\r\nbcc:"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 998));
    }

    #[test]
    fn takes_the_media_type_from_the_option_or_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.pdf");
        std::fs::write(&path, "x").unwrap();
        let limits = ComposeLimits::default();
        let read = |more: &str| Attachment::read(format!("{}{more}", path.display()).as_ref(), &limits);
        assert_eq!(read("").unwrap().media_type, "application/pdf");
        let given = read(";type=application/x-report").unwrap();
        assert_eq!((&*given.media_type, &*given.name), ("application/x-report", "report.pdf"));
        for bad in
            ["", "pdf", "a/b/c", "multipart/mixed", "text/plain\r\nX: y", "text/plain; charset=x", "/x"]
        {
            let refused = read(&format!(";type={bad}")).unwrap_err();
            assert_eq!(refused.exit_code, ExitCode::Data, "{bad:?}");
        }
    }

    #[test]
    fn rejects_values_that_add_header_lines() {
        for bad in ["X: a\r\nBcc: x@y", "X: a\nb", "X y: a", ": a", "no colon", "Bcc: a@b", "X: a\0b"] {
            assert!(parse_field(bad).is_err(), "{bad:?}");
        }
        let mut draft = draft();
        draft.subject = Some("a\r\nBcc: x@y".to_owned());
        assert_eq!(draft.check(&ComposeLimits::default()).len(), 1);
        assert!(Mailbox::parse("A\r\nBcc: <x@example.com>").is_err());
    }

    #[test]
    fn reports_every_invalid_field() {
        let limits = ComposeLimits { subject: 3, body: 4, attachments: 1, ..ComposeLimits::default() };
        let mut draft = draft();
        draft.attachments.push(Attachment {
            name: "a".into(),
            media_type: "text/plain".into(),
            content: vec![0; 2],
        });
        let fields: Vec<_> = draft.check(&limits).into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["subject", "text", "attach"]);
    }

    #[test]
    fn checks_addresses() {
        for good in [
            "user@example.com",
            "test.user@example.co.uk",
            "user+tag@sub.example.com",
            "alice@localhost",
            "jürgen@example.com",
        ] {
            assert!(Mailbox::parse(good).is_ok(), "{good}");
        }
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}.com", "a.".repeat(150));
        for bad in [
            "user",
            "@example.com",
            "user@@example.com",
            "user@",
            "a b@example.com",
            "a@b\r\n",
            &long_local,
            &long,
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad}");
        }
    }
}
