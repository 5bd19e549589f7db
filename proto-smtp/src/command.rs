//! The commands (RFC 5321 §4.1.1 and its extensions): the table that dispatches by verb.
//!
//! To add a command, write a module with its arguments and add it here: to [`Command`], [`Verb`], [`split_verb`] and the
//! functions of [`Command`].

use alloc::borrow::Cow;
use alloc::string::ToString;
use core::fmt;

use proto_mail::SendBuffer;

use crate::ascii;
use crate::attributes::{Attributes, ProxyCommand, encode_attributes, parse_attributes};
use crate::auth::{encode_auth, parse_auth};
use crate::burl::{encode_burl, parse_burl};
use crate::chunking::{ChunkEnd, encode_bdat, parse_bdat};
use crate::encode;
use crate::etrn::{EtrnNode, parse_etrn};
use crate::hello::{ClientName, parse_client_name};
use crate::mail::Mail;
use crate::rcpt::Rcpt;
use crate::secret_bytes::SecretBytes;
use crate::syntax::{SyntaxError, SyntaxFault, no_argument, optional_text, required_text};

/// A command with its arguments.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'i> {
    /// `EHLO name`: the client gives its name and asks for the capabilities of the server.
    Ehlo(ClientName<'i>),
    /// `HELO name`: EHLO of a client that knows no extensions.
    Helo(ClientName<'i>),
    /// `LHLO name`: EHLO in LMTP (RFC 2033 §4.1).
    Lhlo(ClientName<'i>),
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `AUTH mechanism [initial-response]` (RFC 4954 §4).
    Auth {
        /// The name of the mechanism, in any letter case.
        mechanism: Cow<'i, str>,
        /// The initial response in base64, or `=` if it is empty.
        initial: Option<SecretBytes<'i>>,
    },
    /// `MAIL FROM:`.
    Mail(Mail<'i>),
    /// `RCPT TO:`.
    Rcpt(Rcpt<'i>),
    /// `DATA`.
    Data,
    /// `BDAT size [LAST]` (RFC 3030 §2).
    Bdat {
        /// The size of the chunk in bytes.
        size: u64,
        /// Whether the chunk is the last.
        end: ChunkEnd,
    },
    /// `BURL url [LAST]` (RFC 4468 §3): the server fetches a part of the message. The URL authorizes its reader, and so is
    /// a secret.
    Burl {
        /// An absolute URL.
        url: SecretBytes<'i>,
        /// Whether the part is the last.
        end: ChunkEnd,
    },
    /// `RSET`.
    Rset,
    /// `NOOP [text]`.
    Noop,
    /// `VRFY text`.
    Vrfy(Cow<'i, str>),
    /// `EXPN text`.
    Expn(Cow<'i, str>),
    /// `HELP [topic]`. Without a topic the text is empty.
    Help(Cow<'i, str>),
    /// `ETRN [@ or #]node` (RFC 1985): deliver the mail that waits for the node.
    Etrn(EtrnNode<'i>),
    /// `XCLIENT attributes`: the proxy acts for another client.
    XClient(Attributes<'i>),
    /// `XFORWARD attributes`: the origin of the next message.
    XForward(Attributes<'i>),
    /// `QUIT`.
    Quit,
    /// A command with an unknown verb.
    Other {
        /// The verb, in any letter case.
        verb: Cow<'i, str>,
        /// The rest of the line.
        argument: Cow<'i, str>,
    },
}

/// The verb of a command: its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Verb {
    Ehlo,
    Helo,
    Lhlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Burl,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Etrn,
    XClient,
    XForward,
    Quit,
    /// Any other word, or an empty line.
    Other,
}

/// Splits a line into its verb and the rest, which begins with a space or is empty. An unknown verb is not split off.
pub(crate) fn split_verb(line: &[u8]) -> (Verb, &[u8]) {
    // A space or the end of the line follows the verb.
    let split = |len| match line.split_at_checked(len) {
        Some((word, rest @ ([] | [b' ', ..]))) => Some((ascii::word(word), rest)),
        _ => None,
    };
    if let Some((word, rest)) = split(4) {
        let verb = match word {
            MAIL => Verb::Mail,
            RCPT => Verb::Rcpt,
            DATA => Verb::Data,
            BDAT => Verb::Bdat,
            RSET => Verb::Rset,
            NOOP => Verb::Noop,
            QUIT => Verb::Quit,
            EHLO => Verb::Ehlo,
            HELO => Verb::Helo,
            LHLO => Verb::Lhlo,
            AUTH => Verb::Auth,
            VRFY => Verb::Vrfy,
            EXPN => Verb::Expn,
            HELP => Verb::Help,
            BURL => Verb::Burl,
            ETRN => Verb::Etrn,
            _ => return (Verb::Other, line),
        };
        return (verb, rest);
    }
    match (split(8), split(7)) {
        (Some((STARTTLS, rest)), _) => (Verb::StartTls, rest),
        (Some((XFORWARD, rest)), _) => (Verb::XForward, rest),
        (_, Some((XCLIENT, rest))) => (Verb::XClient, rest),
        _ => (Verb::Other, line),
    }
}

const MAIL: u64 = ascii::word(b"MAIL");
const RCPT: u64 = ascii::word(b"RCPT");
const DATA: u64 = ascii::word(b"DATA");
const BDAT: u64 = ascii::word(b"BDAT");
const RSET: u64 = ascii::word(b"RSET");
const NOOP: u64 = ascii::word(b"NOOP");
const QUIT: u64 = ascii::word(b"QUIT");
const EHLO: u64 = ascii::word(b"EHLO");
const HELO: u64 = ascii::word(b"HELO");
const LHLO: u64 = ascii::word(b"LHLO");
const AUTH: u64 = ascii::word(b"AUTH");
const VRFY: u64 = ascii::word(b"VRFY");
const EXPN: u64 = ascii::word(b"EXPN");
const HELP: u64 = ascii::word(b"HELP");
const BURL: u64 = ascii::word(b"BURL");
const ETRN: u64 = ascii::word(b"ETRN");
const XCLIENT: u64 = ascii::word(b"XCLIENT");
const XFORWARD: u64 = ascii::word(b"XFORWARD");
const STARTTLS: u64 = ascii::word(b"STARTTLS");

impl<'i> Command<'i> {
    /// Parses one command: a line without its CRLF.
    ///
    /// # Errors
    /// The arguments are not those of the verb. An unknown verb is no error: see [`Command::Other`].
    pub fn parse(line: &'i [u8]) -> Result<Self, SyntaxError> {
        let (verb, rest) = split_verb(line);
        Self::parse_arguments(verb, line, rest)
    }

    /// Parses the arguments of a verb: the part of the line that [`split_verb`] has left.
    pub(crate) fn parse_arguments(verb: Verb, line: &'i [u8], rest: &'i [u8]) -> Result<Self, SyntaxError> {
        match verb {
            Verb::Mail => Mail::parse(line, rest).map(Self::Mail),
            Verb::Rcpt => Rcpt::parse(line, rest).map(Self::Rcpt),
            Verb::Ehlo => parse_client_name(line, rest).map(Self::Ehlo),
            Verb::Helo => parse_client_name(line, rest).map(Self::Helo),
            Verb::Lhlo => parse_client_name(line, rest).map(Self::Lhlo),
            Verb::StartTls => no_argument(line, rest).map(|()| Self::StartTls),
            Verb::Data => no_argument(line, rest).map(|()| Self::Data),
            Verb::Rset => no_argument(line, rest).map(|()| Self::Rset),
            Verb::Quit => no_argument(line, rest).map(|()| Self::Quit),
            Verb::Noop => optional_text(line, rest).map(|_| Self::Noop).map_err(SyntaxError::redacted),
            Verb::Help => {
                optional_text(line, rest).map(|text| Self::Help(text.into())).map_err(SyntaxError::redacted)
            }
            Verb::Vrfy => required_text(line, rest).map(|text| Self::Vrfy(text.into())),
            Verb::Expn => required_text(line, rest).map(|text| Self::Expn(text.into())),
            Verb::Auth => parse_auth(line, rest)
                .map(|(mechanism, initial)| Self::Auth { mechanism, initial })
                .map_err(SyntaxError::redacted),
            Verb::Bdat => parse_bdat(line, rest).map(|(size, end)| Self::Bdat { size, end }),
            Verb::Burl => parse_burl(line, rest)
                .map(|(url, end)| Self::Burl { url, end })
                .map_err(SyntaxError::redacted),
            Verb::Etrn => parse_etrn(line, rest).map(Self::Etrn),
            Verb::XClient => parse_attributes(ProxyCommand::XClient, line, rest).map(Self::XClient),
            Verb::XForward => parse_attributes(ProxyCommand::XForward, line, rest).map(Self::XForward),
            Verb::Other => parse_unknown(line).map_err(SyntaxError::redacted),
        }
    }

    /// Writes the command. A secret in it is queued apart from the other bytes and wiped once it is sent.
    ///
    /// Text of the caller that is not printable US-ASCII is replaced by `?`, so that it cannot become a line of its own.
    pub fn encode(&self, tx: &mut SendBuffer) {
        match self {
            Self::Ehlo(name) => encode::line("EHLO ", name.as_str(), tx),
            Self::Helo(name) => encode::line("HELO ", name.as_str(), tx),
            Self::Lhlo(name) => encode::line("LHLO ", name.as_str(), tx),
            Self::StartTls => tx.put(b"STARTTLS\r\n"),
            Self::Auth { mechanism, initial } => encode_auth(mechanism, initial.as_ref(), tx),
            Self::Mail(mail) => mail.encode(tx),
            Self::Rcpt(rcpt) => rcpt.encode(tx),
            Self::Data => tx.put(b"DATA\r\n"),
            Self::Bdat { size, end } => encode_bdat(*size, *end, tx),
            Self::Burl { url, end } => encode_burl(url, *end, tx),
            Self::Rset => tx.put(b"RSET\r\n"),
            Self::Noop => tx.put(b"NOOP\r\n"),
            Self::Vrfy(text) => encode::line("VRFY ", text, tx),
            Self::Expn(text) => encode::line("EXPN ", text, tx),
            Self::Help(text) if text.is_empty() => tx.put(b"HELP\r\n"),
            Self::Help(text) => encode::line("HELP ", text, tx),
            Self::Etrn(node) => encode::line("ETRN ", &node.to_string(), tx),
            Self::XClient(attributes) | Self::XForward(attributes) => encode_attributes(attributes, tx),
            Self::Quit => tx.put(b"QUIT\r\n"),
            Self::Other { verb, argument } if argument.is_empty() => encode::line(verb, "", tx),
            Self::Other { verb, argument } => {
                encode::clean(verb.as_bytes(), tx);
                encode::line(" ", argument, tx);
            }
        }
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Command<'static> {
        let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Ehlo(name) => Command::Ehlo(name.into_owned()),
            Self::Helo(name) => Command::Helo(name.into_owned()),
            Self::Lhlo(name) => Command::Lhlo(name.into_owned()),
            Self::StartTls => Command::StartTls,
            Self::Auth { mechanism, initial } => {
                Command::Auth { mechanism: text(mechanism), initial: initial.map(SecretBytes::into_owned) }
            }
            Self::Mail(mail) => Command::Mail(mail.into_owned()),
            Self::Rcpt(rcpt) => Command::Rcpt(rcpt.into_owned()),
            Self::Data => Command::Data,
            Self::Bdat { size, end } => Command::Bdat { size, end },
            Self::Burl { url, end } => Command::Burl { url: url.into_owned(), end },
            Self::Rset => Command::Rset,
            Self::Noop => Command::Noop,
            Self::Vrfy(name) => Command::Vrfy(text(name)),
            Self::Expn(name) => Command::Expn(text(name)),
            Self::Help(topic) => Command::Help(text(topic)),
            Self::Etrn(node) => Command::Etrn(node.into_owned()),
            Self::XClient(attributes) => Command::XClient(attributes.into_owned()),
            Self::XForward(attributes) => Command::XForward(attributes.into_owned()),
            Self::Quit => Command::Quit,
            Self::Other { verb, argument } => Command::Other { verb: text(verb), argument: text(argument) },
        }
    }

    /// Returns the verb.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Ehlo(_) => Verb::Ehlo,
            Self::Helo(_) => Verb::Helo,
            Self::Lhlo(_) => Verb::Lhlo,
            Self::StartTls => Verb::StartTls,
            Self::Auth { .. } => Verb::Auth,
            Self::Mail(_) => Verb::Mail,
            Self::Rcpt(_) => Verb::Rcpt,
            Self::Data => Verb::Data,
            Self::Bdat { .. } => Verb::Bdat,
            Self::Burl { .. } => Verb::Burl,
            Self::Rset => Verb::Rset,
            Self::Noop => Verb::Noop,
            Self::Vrfy(_) => Verb::Vrfy,
            Self::Expn(_) => Verb::Expn,
            Self::Help(_) => Verb::Help,
            Self::Etrn(_) => Verb::Etrn,
            Self::XClient(_) => Verb::XClient,
            Self::XForward(_) => Verb::XForward,
            Self::Quit => Verb::Quit,
            Self::Other { .. } => Verb::Other,
        }
    }
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ehlo(name) => f.debug_tuple("Ehlo").field(name).finish(),
            Self::Helo(name) => f.debug_tuple("Helo").field(name).finish(),
            Self::Lhlo(name) => f.debug_tuple("Lhlo").field(name).finish(),
            Self::Auth { mechanism, initial } => {
                f.debug_struct("Auth").field("mechanism", mechanism).field("initial", initial).finish()
            }
            Self::Mail(mail) => mail.fmt(f),
            Self::Rcpt(rcpt) => rcpt.fmt(f),
            Self::Bdat { size, end } => f.debug_struct("Bdat").field("size", size).field("end", end).finish(),
            Self::Burl { end, .. } => {
                f.debug_struct("Burl").field("url", &"[redacted]").field("end", end).finish()
            }
            Self::Vrfy(text) => f.debug_tuple("Vrfy").field(text).finish(),
            Self::Expn(text) => f.debug_tuple("Expn").field(text).finish(),
            Self::Help(text) => f.debug_tuple("Help").field(text).finish(),
            Self::Etrn(node) => f.debug_tuple("Etrn").field(node).finish(),
            Self::XClient(attributes) => f.debug_tuple("XClient").field(attributes).finish(),
            Self::XForward(attributes) => f.debug_tuple("XForward").field(attributes).finish(),
            // An unknown line may hold a password that was sent by mistake: only the length of the argument is shown.
            Self::Other { verb, argument } => {
                f.debug_struct("Other").field("verb", verb).field("argument_len", &argument.len()).finish()
            }
            Self::StartTls | Self::Data | Self::Rset | Self::Noop | Self::Quit => self.verb().fmt(f),
        }
    }
}

/// Parses a line whose verb is not known.
fn parse_unknown(line: &[u8]) -> Result<Command<'_>, SyntaxError> {
    match ascii::printable(line) {
        Some(text) => {
            let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
            Ok(Command::Other { verb: verb.into(), argument: argument.into() })
        }
        None => {
            let is_utf8 = core::str::from_utf8(line).is_ok();
            Err(SyntaxError::new(0, if is_utf8 { SyntaxFault::Control } else { SyntaxFault::Encoding }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;
    use alloc::string::String;
    use proto_mail::SyntaxLocation;

    fn fault_of(line: &[u8]) -> SyntaxFault {
        Command::parse(line).unwrap_err().fault()
    }

    #[test]
    fn tolerates_spaces_that_clients_send() {
        assert_eq!(Command::parse(b"QUIT  "), Ok(Command::Quit));
        assert_eq!(Command::parse(b"STARTTLS "), Ok(Command::StartTls));
    }

    #[test]
    fn reports_the_fault_of_malformed_commands() {
        for (line, expected) in [
            (&b"EHLO"[..], SyntaxFault::MissingArgument),
            (b"EHLO a b", SyntaxFault::Domain),
            (b"EHLO a\x01b", SyntaxFault::Domain),
            (b"STARTTLS now", SyntaxFault::SurplusArgument),
            (b"DATA x", SyntaxFault::SurplusArgument),
            (b"VRFY", SyntaxFault::MissingArgument),
            (b"VRFY a\rb", SyntaxFault::Control),
            (b"AUTH", SyntaxFault::MissingArgument),
            (b"AUTH PL:AIN x", SyntaxFault::Mechanism),
            (b"BDAT", SyntaxFault::Number),
            (b"BDAT -1", SyntaxFault::Number),
            (b"BDAT +5", SyntaxFault::Number),
            (b"BDAT 5 LAST EXTRA", SyntaxFault::SurplusArgument),
            (b"BDAT 18446744073709551616", SyntaxFault::Number),
            (b"ETRN", SyntaxFault::MissingArgument),
            (b"ETRN a b", SyntaxFault::Domain),
            (b"ETRN [192.0.2.1]", SyntaxFault::Domain),
            (b"ETRN @", SyntaxFault::Domain),
            (b"ETRN #", SyntaxFault::Value),
            (b"ETRN #a\x7f", SyntaxFault::Value),
            (b"ETRN \xff", SyntaxFault::Encoding),
            (b"XCLIENT", SyntaxFault::MissingArgument),
            (b"XCLIENT NAME", SyntaxFault::Parameter),
            (b"XCLIENT NAME=a\0", SyntaxFault::Control),
            (b"XFORWARD LOGIN=x", SyntaxFault::Parameter),
            (b"HELP a\rb", SyntaxFault::Control),
            (b"NO\0OP", SyntaxFault::Control),
            (b"NOOP\0", SyntaxFault::Control),
            (b"\xff\xfb\x01\xff\xf4", SyntaxFault::Encoding),
        ] {
            assert_eq!(fault_of(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn reports_the_offset_of_faults() {
        let at = |line: &str| Command::parse(line.as_bytes()).unwrap_err().offset();
        assert_eq!(at("MAIL FROM:<a@b> SIZE=x"), 15);
        assert_eq!(at("MAIL FROM:a@b"), 10);
        assert_eq!(at("RCPT TO:<a@b..c>"), 13);
    }

    #[test]
    fn locates_faults_without_showing_secrets() {
        let at = |line: &str| Command::parse(line.as_bytes()).unwrap_err().location();
        for (line, offset) in
            [("MAIL FROM:a@b", 10), ("RCPT TO:<a@b..c>", 13), ("EHLO a b", 5), ("VRFY", 4), ("DATA x", 5)]
        {
            assert_eq!(at(line), SyntaxLocation::new(line.as_bytes(), offset), "{line}");
        }
        for line in
            ["AUTH PL:AIN c2VjcmV0", "BURL secret", "NOOP secret\x01", "HELP secret\x01", "secret\x01"]
        {
            assert_eq!(at(line).excerpt(), None, "{line}");
        }
    }

    #[test]
    fn keeps_unknown_commands() {
        let other = |verb: &'static str, argument: &'static str| Command::Other {
            verb: verb.into(),
            argument: argument.into(),
        };
        assert_eq!(Command::parse(b"XUSR NAME=x y"), Ok(other("XUSR", "NAME=x y")));
        assert_eq!(Command::parse(b"MAILFROM:<a@b>"), Ok(other("MAILFROM:<a@b>", "")));
        assert_eq!(Command::parse(b""), Ok(other("", "")));
        assert_eq!(Command::parse(b" STARTTLS"), Ok(other("", "STARTTLS")));
        assert_eq!(split_verb(b"STARTTLS\t").0, Verb::Other);
    }

    #[test]
    fn parses_commands_of_extensions() {
        let domain = |text| Domain::parse(text).unwrap();
        assert_eq!(
            Command::parse(b"etrn a.example "),
            Ok(Command::Etrn(EtrnNode::Host(domain("a.example"))))
        );
        assert_eq!(
            Command::parse(b"ETRN @b.example"),
            Ok(Command::Etrn(EtrnNode::Subdomains(domain("b.example"))))
        );
        assert_eq!(Command::parse(b"ETRN #uucp"), Ok(Command::Etrn(EtrnNode::Queue("uucp".into()))));
        assert_eq!(
            (Command::parse(b"HELP"), Command::parse(b"HELP  MAIL ")),
            (Ok(Command::Help("".into())), Ok(Command::Help("MAIL".into())))
        );
        assert!(matches!(Command::parse(b"xclient name=a"), Ok(Command::XClient(_))));
        assert!(matches!(Command::parse(b"XForward name=a IDENT=b"), Ok(Command::XForward(_))));
        assert_eq!(split_verb(b"XCLIENTS a").0, Verb::Other);
    }

    #[test]
    fn hides_secrets_in_debug_output() {
        let shown = alloc::format!("{:?}", Command::parse(b"AUTH PLAIN AHUAc2VjcmV0"));
        assert!(shown.contains("PLAIN") && !shown.contains("AHUA"), "{shown}");
    }

    fn auth(mechanism: &'static str, initial: &'static [u8]) -> Command<'static> {
        Command::Auth { mechanism: mechanism.into(), initial: Some(SecretBytes::new(initial)) }
    }

    #[test]
    fn parses_and_writes_commands() {
        for line in [
            "EHLO client.example.com",
            "HELO [192.0.2.1]",
            "LHLO localhost",
            "STARTTLS",
            "AUTH PLAIN",
            "AUTH PLAIN AGFsaWNlAHNlY3JldA==",
            "MAIL FROM:<>",
            "MAIL FROM:<a@example.com> SIZE=1000 BODY=8BITMIME SMTPUTF8 AUTH=<> RET=HDRS ENVID=QQ314159",
            "MAIL FROM:<a@example.com> BY=-5;NT MT-PRIORITY=-9 HOLDFOR=86400 REQUIRETLS SOLICIT=org.example:ADV CONPERM PRDR X-FOO=bar",
            "MAIL FROM:<a@example.com> AUTH=e+3Dmc2@example.com BY=120;R HOLDUNTIL=2030-01-01T00:00:00Z",
            "RCPT TO:<Postmaster>",
            "RCPT TO:<\"a b\"@[IPv6:::1]> NOTIFY=NEVER",
            "RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Carol+20@Ivory.EDU RRVS=2014-04-03T23:01:00Z;R CONNEG X-A",
            "RCPT TO:<b@example.com> ORCPT=utf-8;\\x{43F}@example.com",
            "DATA",
            "BDAT 0 LAST",
            "BDAT 18446744073709551615",
            "RSET",
            "NOOP",
            "VRFY Jones",
            "EXPN Staff Members",
            "HELP",
            "QUIT",
            "HELP MAIL",
            "BURL imap://h/a;urlauth=submit+x:internal:00",
            "BURL imap://h/a LAST",
            "ETRN a.example",
            "ETRN @a.example",
            "ETRN #uucp",
            "XCLIENT NAME=[TEMPUNAVAIL] ADDR=IPV6:2001:db8::1 PORT=25 PROTO=ESMTP LOGIN=a+20b",
            "XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.1 IDENT=4711 SOURCE=LOCAL",
            "XUSR NAME=x ADDR=192.0.2.1",
            "XYZZY",
        ] {
            let parsed = Command::parse(line.as_bytes()).unwrap();
            let mut tx = SendBuffer::new();
            parsed.encode(&mut tx);
            assert_eq!(String::from_utf8(tx.take()).unwrap(), alloc::format!("{line}\r\n"));
        }
    }

    #[test]
    fn queues_secrets_apart() {
        let mut tx = SendBuffer::new();
        auth("PLAIN", b"c2VjcmV0").encode(&mut tx);
        assert!(tx.chunks().all(|chunk| chunk.secret == (chunk.bytes == b"c2VjcmV0")));
    }

    #[test]
    fn cleans_arguments_that_hold_line_ends() {
        let mut tx = SendBuffer::new();
        Command::Vrfy("x\r\nRSET".into()).encode(&mut tx);
        Command::Other { verb: "A\r\nQUIT".into(), argument: "b\0\n".into() }.encode(&mut tx);
        auth("X\r\n", b"a\r\nRSET").encode(&mut tx);
        assert_eq!(tx.take(), b"VRFY x??RSET\r\nA??QUIT b??\r\nAUTH X?? *\r\n");
    }
}
