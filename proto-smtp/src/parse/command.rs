//! Commands (RFC 5321 §4.1.1, RFC 3207, RFC 4954, RFC 3030, RFC 2033).
//!
//! The verb is looked at alone, so that a machine can refuse what its state forbids before it looks at arguments.

use super::{Fault, SyntaxError, Why, finish, parameter, path};
use crate::ascii;
use crate::types::{Attributes, ChunkEnd, ClientName, Command, Mail, Node, Proxied, Rcpt, Verb};

/// Reads one command: a line without its CRLF.
///
/// # Errors
/// The arguments are not those of the verb. A verb that is not known is no error but [`Command::Other`].
pub fn command(line: &[u8]) -> Result<Command<'_>, SyntaxError> {
    let (verb, rest) = split_verb(line);
    arguments(verb, line, rest)
}

/// The verb of a line, and what follows it.
pub(crate) fn split_verb(line: &[u8]) -> (Verb, &[u8]) {
    // Behind the verb stands a space or nothing, or it is another word.
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

/// Reads what follows a verb. `line` is the whole, for places; `rest` is what [`split_verb`] left.
pub(crate) fn arguments<'i>(verb: Verb, line: &'i [u8], rest: &'i [u8]) -> Result<Command<'i>, SyntaxError> {
    match verb {
        Verb::Mail => mail(line, rest),
        Verb::Rcpt => rcpt(line, rest),
        Verb::Ehlo => client_name(line, rest).map(Command::Ehlo),
        Verb::Helo => client_name(line, rest).map(Command::Helo),
        Verb::Lhlo => client_name(line, rest).map(Command::Lhlo),
        Verb::StartTls => nothing(line, rest, Command::StartTls),
        Verb::Data => nothing(line, rest, Command::Data),
        Verb::Rset => nothing(line, rest, Command::Rset),
        Verb::Quit => nothing(line, rest, Command::Quit),
        Verb::Noop => text(line, rest).map(|_| Command::Noop),
        Verb::Help => text(line, rest).map(Command::Help),
        Verb::Vrfy => needed(line, rest).map(Command::Vrfy),
        Verb::Expn => needed(line, rest).map(Command::Expn),
        Verb::Auth => auth(line, rest),
        Verb::Bdat => bdat(line, rest),
        Verb::Burl => burl(line, rest),
        Verb::Etrn => etrn(line, rest),
        Verb::XClient => attributes(Proxied::XClient, line, rest).map(Command::XClient),
        Verb::XForward => attributes(Proxied::XForward, line, rest).map(Command::XForward),
        Verb::Other => other(line),
    }
}

const fn fault(line: &[u8], rest: &[u8], why: Why) -> SyntaxError {
    Fault { rest, why }.in_input(line)
}

/// `"MAIL FROM:" Reverse-path [SP Mail-parameters]`
fn mail<'i>(line: &'i [u8], rest: &'i [u8]) -> Result<Command<'i>, SyntaxError> {
    let rest = behind_colon(line, rest, b"FROM:")?;
    let (rest, from) = finish(line, path::reverse_path(rest))?;
    let mut mail = Mail::new(from);
    if !rest.is_empty() {
        finish(line, parameter::mail_parameters(rest, &mut mail))?;
    }
    if !mail.utf8 && mail.from.address().is_some_and(|address| !address.is_ascii()) {
        return Err(fault(line, rest, Why::NotAscii));
    }
    Ok(Command::Mail(mail))
}

/// `"RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]`
fn rcpt<'i>(line: &'i [u8], rest: &'i [u8]) -> Result<Command<'i>, SyntaxError> {
    let rest = behind_colon(line, rest, b"TO:")?;
    let (rest, to) = finish(line, path::forward_path(rest))?;
    let mut rcpt = Rcpt::new(to);
    if !rest.is_empty() {
        finish(line, parameter::rcpt_parameters(rest, &mut rcpt))?;
    }
    Ok(Command::Rcpt(rcpt))
}

/// `FROM:` or `TO:`. Spaces around it, which many clients send, are passed over.
fn behind_colon<'i>(line: &[u8], rest: &'i [u8], word: &[u8]) -> Result<&'i [u8], SyntaxError> {
    let start = without_spaces(rest);
    match start.split_at_checked(word.len()) {
        Some((head, behind)) if head.eq_ignore_ascii_case(word) => Ok(without_spaces(behind)),
        _ => Err(fault(line, start, Why::Colon)),
    }
}

/// A name; spaces around it are passed over.
fn client_name<'i>(line: &'i [u8], rest: &'i [u8]) -> Result<ClientName<'i>, SyntaxError> {
    let word = trim(rest);
    let text = core::str::from_utf8(word).map_err(|_| fault(line, word, Why::Encoding))?;
    ClientName::parse(text).map_err(|error| SyntaxError { at: line.len() - rest.len() + error.at, ..error })
}

/// A verb that stands alone. Trailing spaces are to be tolerated (RFC 5321 §4.1.1).
fn nothing<'i>(line: &[u8], rest: &[u8], command: Command<'i>) -> Result<Command<'i>, SyntaxError> {
    match without_spaces(rest) {
        [] => Ok(command),
        surplus => Err(fault(line, surplus, Why::SurplusArgument)),
    }
}

/// Any printable text, or none.
fn text<'i>(line: &[u8], rest: &'i [u8]) -> Result<&'i str, SyntaxError> {
    let word = trim(rest);
    ascii::printable(word).ok_or_else(|| fault(line, word, Why::Control))
}

/// Printable text.
fn needed<'i>(line: &[u8], rest: &'i [u8]) -> Result<&'i str, SyntaxError> {
    match text(line, rest)? {
        "" => Err(fault(line, b"", Why::MissingArgument)),
        text => Ok(text),
    }
}

/// `"AUTH" SP sasl-mech [SP initial-response]` (RFC 4954 §4, §8)
fn auth<'i>(line: &'i [u8], rest: &'i [u8]) -> Result<Command<'i>, SyntaxError> {
    let mut words = trim(rest).splitn(2, |&octet| octet == b' ');
    let name = words.next().unwrap_or_default();
    if name.is_empty() {
        return Err(fault(line, b"", Why::MissingArgument));
    }
    // sasl-mech: 1*20( ALPHA / DIGIT / "-" / "_" ) (RFC 4422 §3.1)
    let good = name.len() <= 20
        && name.iter().all(|&octet| ascii::is(octet, ascii::ALNUM) || b"-_".contains(&octet));
    match core::str::from_utf8(name) {
        Ok(mechanism) if good => Ok(Command::Auth { mechanism, initial: words.next() }),
        _ => Err(fault(line, rest, Why::Mechanism)),
    }
}

/// `"BDAT" SP chunk-size [ SP "LAST" ]` (RFC 3030 §2)
fn bdat<'i>(line: &'i [u8], rest: &'i [u8]) -> Result<Command<'i>, SyntaxError> {
    let mut words = trim(rest).splitn(2, |&octet| octet == b' ');
    let size = words.next().and_then(ascii::number).ok_or_else(|| fault(line, rest, Why::Number))?;
    Ok(Command::Bdat { size, end: chunk_end(line, words.next())? })
}

/// `"BURL" SP absolute-URI [ SP "LAST" ]` (RFC 4468 §4)
fn burl<'i>(line: &'i [u8], rest: &'i [u8]) -> Result<Command<'i>, SyntaxError> {
    let mut words = trim(rest).splitn(2, |&octet| octet == b' ');
    let url = words.next().and_then(absolute_uri).ok_or_else(|| fault(line, rest, Why::Url))?;
    Ok(Command::Burl { url, end: chunk_end(line, words.next())? })
}

/// A scheme, a colon and what is printable US-ASCII behind it (RFC 3986 §4.3). What it means is left to others.
pub(crate) fn absolute_uri(text: &[u8]) -> Option<&str> {
    let colon = text.iter().position(|&octet| octet == b':')?;
    let (scheme, rest) = text.split_at_checked(colon)?;
    let scheme = scheme.first()?.is_ascii_alphabetic()
        && scheme.iter().all(|&octet| ascii::is(octet, ascii::ALNUM) || b"+-.".contains(&octet));
    let good = scheme && rest.len() > 1 && rest.iter().all(u8::is_ascii_graphic);
    if good { core::str::from_utf8(text).ok() } else { None }
}

fn chunk_end(line: &[u8], word: Option<&[u8]>) -> Result<ChunkEnd, SyntaxError> {
    match word {
        None => Ok(ChunkEnd::More),
        Some(last) if last.eq_ignore_ascii_case(b"LAST") => Ok(ChunkEnd::Last),
        Some(surplus) => Err(fault(line, surplus, Why::SurplusArgument)),
    }
}

/// `"ETRN" SP [option character] node-name` (RFC 1985 §5)
fn etrn<'i>(line: &'i [u8], rest: &'i [u8]) -> Result<Command<'i>, SyntaxError> {
    let word = trim(rest);
    let text = core::str::from_utf8(word).map_err(|_| fault(line, word, Why::Encoding))?;
    Node::parse(text).map(Command::Etrn).map_err(|error| fault(line, word, error.why))
}

/// `1*( SP attribute-name "=" attribute-value )`, as Postfix documents it
fn attributes<'i>(command: Proxied, line: &'i [u8], rest: &'i [u8]) -> Result<Attributes<'i>, SyntaxError> {
    let text = ascii::printable(rest).ok_or_else(|| fault(line, rest, Why::Control))?;
    Attributes::read(command, text).map_err(|why| fault(line, rest, why))
}

fn other(line: &[u8]) -> Result<Command<'_>, SyntaxError> {
    match ascii::printable(line) {
        Some(text) => {
            let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
            Ok(Command::Other { verb, argument })
        }
        None => {
            let why = if core::str::from_utf8(line).is_ok() { Why::Control } else { Why::Encoding };
            Err(SyntaxError { at: 0, why })
        }
    }
}

fn without_spaces(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b" ") {
        text = rest;
    }
    text
}

fn trim(text: &[u8]) -> &[u8] {
    let mut text = without_spaces(text);
    while let Some(rest) = text.strip_suffix(b" ") {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BodyType, Notify, Return, ReversePath};
    use alloc::string::String;
    use alloc::vec::Vec;

    fn read_mail(line: &str) -> Mail<'_> {
        match command(line.as_bytes()) {
            Ok(Command::Mail(mail)) => mail,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn read_rcpt(line: &str) -> Rcpt<'_> {
        match command(line.as_bytes()) {
            Ok(Command::Rcpt(rcpt)) => rcpt,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn why(line: &[u8]) -> Why {
        command(line).unwrap_err().why
    }

    #[test]
    fn mail_is_read_with_all_its_parameters() {
        let mail = read_mail(
            "mail from:<\"a b\"@example.com> size=12345 body=8bitmime smtputf8 AUTH=e+3Dmc2@example.com RET=FULL ENVID=QQ+2B X-A=1 X-B",
        );
        assert_eq!(mail.from.as_str(), "\"a b\"@example.com");
        assert_eq!((mail.size, mail.body, mail.utf8), (Some(12345), Some(BodyType::EightBitMime), true));
        assert_eq!(mail.auth.as_ref().unwrap().address().unwrap().as_str(), "e=mc2@example.com");
        assert_eq!((mail.ret, mail.envid.as_ref().unwrap().as_str()), (Some(Return::Full), "QQ+2B"));
        let extra: Vec<_> = mail.extra.iter().map(|p| (p.keyword, p.value)).collect();
        assert_eq!(extra, [("X-A", Some("1")), ("X-B", None)]);
        assert_eq!(mail.clone().into_owned(), mail);
    }

    #[test]
    fn rcpt_is_read_with_all_its_parameters() {
        let rcpt = read_rcpt(
            "RCPT TO:<b@example.com> NOTIFY=success,Failure ORCPT=rfc822;b+2Bx@example.com RRVS=2014-04-03T23:01:00Z;C X=x",
        );
        assert_eq!(rcpt.to.as_str(), "b@example.com");
        assert_eq!(rcpt.notify, Some(Notify::SUCCESS.with(Notify::FAILURE)));
        assert_eq!(rcpt.original.as_ref().unwrap().decode(), b"b+x@example.com");
        assert_eq!(rcpt.valid_since.unwrap().since.unix_seconds(), 1_396_566_060);
        assert_eq!((rcpt.extra.find("x"), rcpt.extra.find("rrvs")), (Some(Some("x")), None));
        assert_eq!(read_rcpt("RCPT TO:<postMASTER>").to, crate::types::ForwardPath::Postmaster);
        assert_eq!(read_rcpt("RCPT TO:<@a.example,@b.example:c@d.example>").to.as_str(), "c@d.example");
        assert_eq!(read_rcpt("RCPT TO:<postmaster@example.com>").to.as_str(), "postmaster@example.com");
    }

    #[test]
    fn spaces_that_clients_send_are_passed_over() {
        assert_eq!(read_mail("MAIL FROM: <>  ").from, ReversePath::Null);
        assert_eq!(read_mail("MAIL  FROM:<a@b>   SIZE=1 ").size, Some(1));
        assert_eq!(command(b"QUIT  "), Ok(Command::Quit));
        assert_eq!(command(b"STARTTLS "), Ok(Command::StartTls));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            (&b"MAIL FROM:<\"\">"[..], Why::MissingDomain),
            (b"MAIL FROM:<a>", Why::MissingDomain),
            (b"MAIL FROM:a@b", Why::Path),
            (b"MAIL FROM:<a@b>garbage", Why::SurplusArgument),
            (b"MAIL FROM:<a@b>,<c@d>", Why::SurplusArgument),
            (b"MAIL FROM:<a@b", Why::Path),
            (b"MAIL FROM:<a@b\rRSET>", Why::Path),
            (b"MAIL FROM:<a\0b@c>", Why::LocalPart),
            (b"MAIL FROM:<\xff\xfe@example.test>", Why::Encoding),
            (b"MAIL FROM:<\xc3\xa9@example.test>", Why::NotAscii),
            (b"MAIL FROM:<a@b> SIZE=-1", Why::Number),
            (b"MAIL FROM:<a@b> SIZE=", Why::Value),
            (b"MAIL FROM:<a@b> SIZE", Why::Value),
            (b"MAIL FROM:<a@b> SIZE=99999999999999999999999", Why::Number),
            (b"MAIL FROM:<a@b> SIZE=1 SIZE=1", Why::ParameterTwice),
            (b"MAIL FROM:<a@b> BODY=9BIT", Why::Value),
            (b"MAIL FROM:<a@b> SMTPUTF8=1", Why::Value),
            (b"MAIL FROM:<a@b> AUTH=a+0D+0ARSET", Why::Value),
            (b"MAIL FROM:<a@b> AUTH=nobody", Why::MissingDomain),
            (b"MAIL FROM:<a@b> BY=0;R", Why::Number),
            (b"MAIL FROM:<a@b> BY=5", Why::Value),
            (b"MAIL FROM:<a@b> MT-PRIORITY=10", Why::Number),
            (b"MAIL FROM:<a@b> HOLDFOR=0", Why::Number),
            (b"MAIL FROM:<a@b> HOLDUNTIL=tomorrow", Why::Value),
            (b"MAIL FROM:<a@b> HOLDFOR=5 HOLDFOR=5", Why::ParameterTwice),
            (b"MAIL FROM:<a@b> HOLDFOR=5 HOLDUNTIL=2030-01-01T00:00:00Z", Why::ParametersExclude),
            (b"MAIL FROM:<a@b> REQUIRETLS=yes", Why::Value),
            (b"MAIL FROM:<a@b> REQUIRETLS REQUIRETLS", Why::ParameterTwice),
            (b"MAIL FROM:<a@b> SOLICIT=1", Why::Value),
            (b"MAIL FROM:<a@b> CONPERM=1", Why::Value),
            (b"MAIL FROM:<a@b> PRDR=1", Why::Value),
            (b"RCPT TO:<a@b> RRVS=x", Why::Value),
            (b"RCPT TO:<a@b> CONNEG=1", Why::Value),
            (b"MAIL FROM:<a@b> =1", Why::Parameter),
            (b"MAIL FROM:<a@b> X=a=b", Why::SurplusArgument),
            (b"MAIL TO:<a@b>", Why::Colon),
            (b"MAIL", Why::Colon),
            (b"RCPT TO:<>", Why::NullRecipient),
            (b"RCPT TO:<@a@b>", Why::Path),
            (b"RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS", Why::Value),
            (b"RCPT TO:<a@b> ORCPT=a@b", Why::Value),
            (b"EHLO", Why::MissingArgument),
            (b"EHLO a b", Why::Domain),
            (b"EHLO a\x01b", Why::Domain),
            (b"STARTTLS now", Why::SurplusArgument),
            (b"DATA x", Why::SurplusArgument),
            (b"VRFY", Why::MissingArgument),
            (b"VRFY a\rb", Why::Control),
            (b"AUTH", Why::MissingArgument),
            (b"AUTH PL:AIN x", Why::Mechanism),
            (b"BDAT", Why::Number),
            (b"BDAT -1", Why::Number),
            (b"BDAT +5", Why::Number),
            (b"BDAT 5 LAST EXTRA", Why::SurplusArgument),
            (b"BDAT 18446744073709551616", Why::Number),
            (b"BURL", Why::Url),
            (b"BURL x", Why::Url),
            (b"BURL imap:", Why::Url),
            (b"BURL 1:x", Why::Url),
            (b"BURL :x", Why::Url),
            (b"BURL imap://h/\xc3\xa9 LAST", Why::Url),
            (b"BURL imap://h/\x01", Why::Url),
            (b"BURL imap://h/a first", Why::SurplusArgument),
            (b"BURL imap://h/a LAST x", Why::SurplusArgument),
            (b"ETRN", Why::MissingArgument),
            (b"ETRN a b", Why::Domain),
            (b"ETRN [192.0.2.1]", Why::Domain),
            (b"ETRN @", Why::Domain),
            (b"ETRN #", Why::Value),
            (b"ETRN #a\x7f", Why::Value),
            (b"ETRN \xff", Why::Encoding),
            (b"XCLIENT", Why::MissingArgument),
            (b"XCLIENT NAME", Why::Parameter),
            (b"XCLIENT NAME=a\0", Why::Control),
            (b"XFORWARD LOGIN=x", Why::Parameter),
            (b"HELP a\rb", Why::Control),
            (b"NO\0OP", Why::Control),
            (b"NOOP\0", Why::Control),
            (b"\xff\xfb\x01\xff\xf4", Why::Encoding),
        ] {
            assert_eq!(why(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn the_place_of_an_error_is_told() {
        let at = |line: &str| command(line.as_bytes()).unwrap_err().at;
        assert_eq!(at("MAIL FROM:<a@b> SIZE=x"), 15);
        assert_eq!(at("MAIL FROM:a@b"), 10);
        assert_eq!(at("RCPT TO:<a@b..c>"), 13);
    }

    #[test]
    fn what_is_not_known_is_kept() {
        assert_eq!(command(b"XUSR NAME=x y"), Ok(Command::Other { verb: "XUSR", argument: "NAME=x y" }));
        assert_eq!(command(b"MAILFROM:<a@b>"), Ok(Command::Other { verb: "MAILFROM:<a@b>", argument: "" }));
        assert_eq!(command(b""), Ok(Command::Other { verb: "", argument: "" }));
        assert_eq!(command(b" STARTTLS"), Ok(Command::Other { verb: "", argument: "STARTTLS" }));
        assert_eq!(split_verb(b"STARTTLS\t").0, Verb::Other);
    }

    #[test]
    fn extra_commands_are_read() {
        let domain = |text| crate::types::Domain::parse(text).unwrap();
        assert_eq!(command(b"etrn a.example "), Ok(Command::Etrn(Node::Host(domain("a.example")))));
        assert_eq!(command(b"ETRN @b.example"), Ok(Command::Etrn(Node::Subdomains(domain("b.example")))));
        assert_eq!(command(b"ETRN #uucp"), Ok(Command::Etrn(Node::Queue("uucp".into()))));
        let url = "imap://h/a;urlauth=submit+x:internal:00";
        let burl = |end| Ok(Command::Burl { url, end });
        assert_eq!(command(alloc::format!("BURL {url}").as_bytes()), burl(ChunkEnd::More));
        assert_eq!(command(alloc::format!("burl {url} last ").as_bytes()), burl(ChunkEnd::Last));
        assert_eq!(
            (command(b"HELP"), command(b"HELP  MAIL ")),
            (Ok(Command::Help("")), Ok(Command::Help("MAIL")))
        );
        assert!(matches!(command(b"xclient name=a"), Ok(Command::XClient(_))));
        assert!(matches!(command(b"XForward name=a IDENT=b"), Ok(Command::XForward(_))));
        assert_eq!(split_verb(b"XCLIENTS a").0, Verb::Other);
    }

    #[test]
    fn no_secret_shows() {
        let shown = alloc::format!("{:?}", command(b"BURL imap://h/a;urlauth=submit+x:internal:4711 LAST"));
        assert!(shown.contains("Last") && !shown.contains("4711"), "{shown}");
        let shown = alloc::format!("{:?}", command(b"AUTH PLAIN AHUAc2VjcmV0"));
        assert!(shown.contains("PLAIN") && !shown.contains("AHUA"), "{shown}");
    }

    #[test]
    fn utf8_needs_its_extension() {
        assert!(read_mail("MAIL FROM:<почта@пример.рф> SMTPUTF8").utf8);
        assert_eq!(read_rcpt("RCPT TO:<почта@пример.рф>").to.as_str(), "почта@пример.рф");
    }
}
