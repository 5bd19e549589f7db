//! Writing: commands and replies, strictly.
//!
//! This file knows how what [`types`](crate::types) holds is written. Its arguments were checked when they were
//! made; the text of a reply is cleaned here, whatever it was made of.

use core::fmt::{self, Write as _};

use alloc::string::ToString;

use proto_mail::SendBuffer;

use crate::ascii;
use crate::types::{Attributes, ChunkEnd, Code, Command, EnhancedCode, Extra, Hold, Mail, Rcpt, Response};

/// The longest text of one line of a reply: a line has at most 512 octets with code and CRLF (RFC 5321 §4.5.3.1.5).
const TEXT: usize = 480;

/// Writes a command. A secret in it is kept apart in the buffer, and wiped.
pub fn command(command: &Command<'_>, tx: &mut SendBuffer) {
    match command {
        Command::Ehlo(name) => word("EHLO ", name.as_str(), tx),
        Command::Helo(name) => word("HELO ", name.as_str(), tx),
        Command::Lhlo(name) => word("LHLO ", name.as_str(), tx),
        Command::StartTls => tx.put(b"STARTTLS\r\n"),
        Command::Auth { mechanism, initial } => {
            tx.put(b"AUTH ");
            clean(mechanism.as_bytes(), tx);
            if let Some(initial) = initial {
                tx.put(b" ");
                // Base64 is printable. What is not cancels the exchange at once.
                let good = initial.iter().all(u8::is_ascii_graphic);
                tx.put_secret(if good { initial } else { b"*" });
            }
            tx.put(b"\r\n");
        }
        Command::Mail(command) => mail(command, tx),
        Command::Rcpt(command) => rcpt(command, tx),
        Command::Data => tx.put(b"DATA\r\n"),
        Command::Bdat { size, end } => {
            tx.put(b"BDAT ");
            number(*size, tx);
            chunk_end(*end, tx);
        }
        Command::Burl { url, end } => {
            tx.put(b"BURL ");
            // What is not printable is no URL; it must not become a line.
            let good = url.bytes().all(|octet| octet.is_ascii_graphic());
            tx.put_secret(if good { url.as_bytes() } else { b"?" });
            chunk_end(*end, tx);
        }
        Command::Rset => tx.put(b"RSET\r\n"),
        Command::Noop => tx.put(b"NOOP\r\n"),
        Command::Vrfy(text) => word("VRFY ", text, tx),
        Command::Expn(text) => word("EXPN ", text, tx),
        Command::Help("") => tx.put(b"HELP\r\n"),
        Command::Help(text) => word("HELP ", text, tx),
        Command::Etrn(node) => word("ETRN ", &node.to_string(), tx),
        Command::XClient(said) => attributes("XCLIENT", said, tx),
        Command::XForward(said) => attributes("XFORWARD", said, tx),
        Command::Quit => tx.put(b"QUIT\r\n"),
        Command::Other { verb, argument: "" } => word(verb, "", tx),
        Command::Other { verb, argument } => {
            clean(verb.as_bytes(), tx);
            word(" ", argument, tx);
        }
    }
}

fn chunk_end(end: ChunkEnd, tx: &mut SendBuffer) {
    tx.put(match end {
        ChunkEnd::More => b"\r\n",
        ChunkEnd::Last => b" LAST\r\n",
    });
}

fn attributes(verb: &str, said: &Attributes<'_>, tx: &mut SendBuffer) {
    tx.put(verb.as_bytes());
    for (attribute, value) in said.iter() {
        tx.put(b" ");
        tx.put(attribute.name().as_bytes());
        tx.put(b"=");
        tx.put(value.wire().as_bytes());
    }
    tx.put(b"\r\n");
}

/// A verb, its argument and the end of the line. The argument is printable when it was read or made by this crate;
/// where a caller made it, it is cleaned.
fn word(verb: &str, argument: &str, tx: &mut SendBuffer) {
    clean(verb.as_bytes(), tx);
    clean(argument.as_bytes(), tx);
    tx.put(b"\r\n");
}

fn number(value: u64, tx: &mut SendBuffer) {
    tx.put(ascii::digits(value, &mut [0; 20]));
}

pub(crate) fn mail(mail: &Mail<'_>, tx: &mut SendBuffer) {
    tx.put(b"MAIL FROM:<");
    tx.put(mail.from.as_str().as_bytes());
    tx.put(b">");
    if let Some(size) = mail.size {
        tx.put(b" SIZE=");
        number(size, tx);
    }
    if let Some(body) = mail.body {
        tx.put(b" BODY=");
        tx.put(body.as_str().as_bytes());
    }
    flag("SMTPUTF8", mail.utf8, tx);
    value("AUTH", mail.auth.as_ref(), tx);
    if let Some(ret) = mail.ret {
        tx.put(b" RET=");
        tx.put(ret.as_str().as_bytes());
    }
    value("ENVID", mail.envid.as_ref(), tx);
    value("BY", mail.by.as_ref(), tx);
    value("MT-PRIORITY", mail.priority.as_ref(), tx);
    value(mail.hold.as_ref().map_or("", Hold::keyword), mail.hold.as_ref(), tx);
    flag("REQUIRETLS", mail.require_tls, tx);
    value("SOLICIT", mail.solicit.as_ref(), tx);
    flag("CONPERM", mail.conperm, tx);
    flag("PRDR", mail.prdr, tx);
    extra(&mail.extra, tx);
    tx.put(b"\r\n");
}

pub(crate) fn rcpt(rcpt: &Rcpt<'_>, tx: &mut SendBuffer) {
    tx.put(b"RCPT TO:<");
    tx.put(rcpt.to.as_str().as_bytes());
    tx.put(b">");
    value("NOTIFY", rcpt.notify.as_ref(), tx);
    value("ORCPT", rcpt.original.as_ref(), tx);
    value("RRVS", rcpt.valid_since.as_ref(), tx);
    flag("CONNEG", rcpt.conneg, tx);
    extra(&rcpt.extra, tx);
    tx.put(b"\r\n");
}

/// A parameter whose value writes itself: no type of these can be made with an octet that ends a word or a line.
fn value(keyword: &str, value: Option<&impl fmt::Display>, tx: &mut SendBuffer) {
    let Some(value) = value else { return };
    for part in [" ", keyword, "="] {
        tx.put(part.as_bytes());
    }
    display(value, tx);
}

/// Something that writes itself.
pub(crate) fn display(value: impl fmt::Display, tx: &mut SendBuffer) {
    // A buffer takes everything.
    let _ = write!(Text(tx), "{value}");
}

/// A parameter without a value.
fn flag(keyword: &str, set: bool, tx: &mut SendBuffer) {
    if set {
        tx.put(b" ");
        tx.put(keyword.as_bytes());
    }
}

/// A buffer that text is written into.
struct Text<'t>(&'t mut SendBuffer);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.put(text.as_bytes());
        Ok(())
    }
}

fn extra(extra: &Extra<'_>, tx: &mut SendBuffer) {
    if extra.is_empty() {
        return;
    }
    for parameter in extra.iter() {
        tx.put(b" ");
        tx.put(parameter.keyword.as_bytes());
        if let Some(value) = parameter.value {
            tx.put(b"=");
            tx.put(value.as_bytes());
        }
    }
}

/// Writes a reply: each line of its text with the code, `-` on all but the last.
pub fn response(response: &Response<'_>, tx: &mut SendBuffer) {
    let mut lines = response.lines();
    let mut line = lines.next().unwrap_or_default();
    loop {
        let (piece, rest) = line.split_at_checked(TEXT).unwrap_or((line, b""));
        let next = if rest.is_empty() { lines.next() } else { Some(rest) };
        let separator = if next.is_some() { b'-' } else { b' ' };
        reply_line(response.code(), separator, response.enhanced(), piece, tx);
        match next {
            Some(next) => line = next,
            None => return,
        }
    }
}

/// One line of a reply, of a text that fits.
pub(crate) fn reply_line(
    code: Code,
    separator: u8,
    enhanced: Option<EnhancedCode>,
    text: &[u8],
    tx: &mut SendBuffer,
) {
    let mut line = LineBuffer { octets: [0; 512], len: 0 };
    line.put(&code.digits());
    line.put(&[separator]);
    if let Some(enhanced) = enhanced {
        line.number(u16::from(enhanced.class()));
        for part in [enhanced.subject(), enhanced.detail()] {
            line.put(b".");
            line.number(part);
        }
        if !text.is_empty() {
            line.put(b" ");
        }
    }
    let start = line.len;
    line.put(text);
    line.clean(start);
    line.put(b"\r\n");
    tx.put(line.octets.get(..line.len).unwrap_or_default());
}

/// A line that is put together before it is queued.
struct LineBuffer {
    octets: [u8; 512],
    len: usize,
}

impl LineBuffer {
    /// Appends what fits: with [`TEXT`] and the longest codes everything does.
    fn put(&mut self, octets: &[u8]) {
        if let Some(room) = self.octets.get_mut(self.len..self.len + octets.len()) {
            room.copy_from_slice(octets);
            self.len += octets.len();
        }
    }

    /// Appends a number below 1000.
    fn number(&mut self, number: u16) {
        let digits = [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8);
        let skip = usize::from(number < 100) + usize::from(number < 10);
        self.put(digits.get(skip..).unwrap_or_default());
    }

    /// Replaces everything from `start` on that is not printable US-ASCII.
    fn clean(&mut self, start: usize) {
        for octet in self.octets.get_mut(start..self.len).unwrap_or_default() {
            if !(b' '..=b'~').contains(octet) {
                *octet = b'?';
            }
        }
    }
}

/// Text, with everything that is not printable US-ASCII replaced.
fn clean(text: &[u8], tx: &mut SendBuffer) {
    let good = |octet: u8| (b' '..=b'~').contains(&octet);
    for run in text.split_inclusive(|&octet| !good(octet)) {
        match run.split_last() {
            Some((&last, head)) if !good(last) => {
                tx.put(head);
                tx.put(b"?");
            }
            _ => tx.put(run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use alloc::string::String;

    fn written(what: &Response<'_>) -> String {
        let mut tx = SendBuffer::new();
        response(what, &mut tx);
        String::from_utf8(tx.take()).unwrap()
    }

    #[test]
    fn commands_go_there_and_back() {
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
            let read = parse::command(line.as_bytes()).unwrap();
            let mut tx = SendBuffer::new();
            command(&read, &mut tx);
            assert_eq!(String::from_utf8(tx.take()).unwrap(), alloc::format!("{line}\r\n"));
        }
    }

    #[test]
    fn a_secret_lies_apart() {
        let mut tx = SendBuffer::new();
        command(&Command::Auth { mechanism: "PLAIN", initial: Some(b"c2VjcmV0") }, &mut tx);
        assert!(tx.chunks().all(|chunk| chunk.secret == (chunk.bytes == b"c2VjcmV0")));
    }

    #[test]
    fn a_made_up_argument_cannot_become_a_line() {
        let mut tx = SendBuffer::new();
        command(&Command::Vrfy("x\r\nRSET"), &mut tx);
        command(&Command::Other { verb: "A\r\nQUIT", argument: "b\0\n" }, &mut tx);
        command(&Command::Auth { mechanism: "X\r\n", initial: Some(b"a\r\nRSET") }, &mut tx);
        assert_eq!(tx.take(), b"VRFY x??RSET\r\nA??QUIT b??\r\nAUTH X?? *\r\n");
    }

    #[test]
    fn whatever_the_text_it_stays_one_reply() {
        let all: String = (0..=0x1ff_u32).filter_map(char::from_u32).collect();
        for text in ["", "\n", "a\nb", "a\r\n250 b\r\n", "x\0y", &all, &"long ".repeat(500)] {
            let reply =
                written(&Response::new(Code::FAILED, text).with_enhanced(EnhancedCode::fixed(5, 0, 0)));
            let read = parse::reply(reply.as_bytes()).unwrap();
            assert_eq!(read.code(), Code::FAILED);
            assert!(reply.split("\r\n").all(|line| line.len() <= 510 && !line.contains(['\r', '\n', '\0'])));
        }
        assert_eq!(written(&Response::new(Code::OK, "a\r\n550 b")), "250-a\r\n250 550 b\r\n");
        assert_eq!(written(&Response::start_data()), "354 End data with <CR><LF>.<CR><LF>\r\n");
        assert_eq!(written(&Response::ok()), "250 2.0.0 OK\r\n");
    }

    #[test]
    fn a_reply_goes_there_and_back() {
        for octets in [
            &b"250 2.0.0 OK\r\n"[..],
            b"550-5.1.1 No such\r\n550-5.1.1 user\r\n550 5.1.1 here\r\n",
            b"334 \r\n",
            b"500 5.5.2\r\n",
        ] {
            let mut tx = SendBuffer::new();
            response(&parse::reply(octets).unwrap(), &mut tx);
            assert_eq!(tx.take(), octets);
        }
        assert_eq!(written(&"550 5.7.509 Access denied".parse().unwrap()), "550 5.7.509 Access denied\r\n");
    }
}
