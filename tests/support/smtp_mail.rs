//! What an SMTP client's application sends: envelopes with every parameter, messages of every kind, and arguments of
//! extension commands.
//!
//! This module knows no session. An application picks by number; `0` is always the plain one.

use proto_smtp::client::{Content, ContentScan, Transaction};
use proto_smtp::types::{Attribute, Attributes, Command, EtrnNode, Mail, Rcpt};

use crate::play::Choices;

/// MAIL commands, with and without extension parameters.
const MAILS: [&str; 14] = [
    "<x@example.com>",
    "<x@example.com> SIZE=61",
    "<x@example.com> SIZE=18446744073709551615",
    "<x@example.com> BODY=8BITMIME",
    "<x@example.com> BODY=BINARYMIME",
    "<é@example.com> SMTPUTF8",
    "<x@example.com> SMTPUTF8",
    "<x@example.com> BY=30;R",
    "<x@example.com> BY=-30;NT",
    "<x@example.com> HOLDFOR=60",
    "<x@example.com> REQUIRETLS",
    "<x@example.com> SOLICIT=org.example:ADV",
    "<> RET=HDRS ENVID=x AUTH=<> MT-PRIORITY=3 CONPERM PRDR",
    "<x@example.com> PRDR",
];

/// RCPT commands, likewise.
const RCPTS: [&str; 6] = [
    "<x@example.com>",
    "<x@Example.COM> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@x CONNEG",
    "<x@example.org> RRVS=2026-01-01T00:00:00Z",
    "<x@example.net> RRVS=2026-01-01T00:00:00Z;C",
    "<é@example.com>",
    "<postmaster>",
];

/// Messages without a line that looks like a command.
const MESSAGES: [&[u8]; 10] = [
    b"x\r\n..\r\n.x\r\n",
    b"x\r\n\r\n\xc3\xa9\r\n",
    b"\xc3\xa9x\r\n\r\nx",
    b"x\nx\r.x\r\n",
    b"x\0x\r\n",
    b"",
    b"x\r",
    b".x\r\n\nx\r\n.\n",
    b"\r\n.\r\n",
    b"x\r\n\r\nx\r\n.x\r\n\xc3\xa9\r\n",
];

/// A header that announces more parts.
const MULTIPART: &[u8] = b"Content-Type: MULTIPART/mixed\r\n\r\n\xc3\xa9\r\n";

const LONG: &str = "++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++";

/// A URL that grants access by itself.
pub const URL: &str = "imap://x@x/x;urlauth=submit+x:internal:4711";

/// A message and its envelope, which NO-SOLICITING, LIMITS and others may refuse.
pub struct Letter {
    /// The envelope.
    pub transaction: Transaction,
    /// The message.
    pub message: &'static [u8],
    /// The number of recipients.
    pub recipients: u8,
}

/// A message to up to three recipients; the choices select everything.
pub fn letter(choices: &mut Choices) -> Option<Letter> {
    let mut transaction = Transaction::new(mail(MAILS[index(choices, MAILS.len())])?);
    let recipients = choices.pick(4);
    for _ in 0..recipients {
        transaction = transaction.recipient(rcpt(RCPTS[index(choices, RCPTS.len())])?);
    }
    let message = MESSAGES[index(choices, MESSAGES.len())];
    transaction = match choices.pick(5) {
        0 => transaction,
        1 => transaction.in_one_chunk(message.len() as u64),
        2 => transaction.with_content(scan(message)),
        3 => transaction.with_content(scan(message)).in_one_chunk(message.len() as u64),
        _ => transaction.with_content(Content::of(MULTIPART)),
    };
    Some(Letter { transaction, message, recipients })
}

/// Scans a message line by line. The result is the same as for the whole message.
///
/// # Panics
/// If it is not.
fn scan(message: &[u8]) -> Content {
    let mut scan = ContentScan::default();
    message.split_inclusive(|&byte| byte == b'\n').for_each(|line| scan.push(line));
    let content = scan.finish();
    assert_eq!(content, Content::of(message), "scanned line by line: {}", message.escape_ascii());
    assert_eq!(content.size(), message.len() as u64);
    content
}

/// The MAIL command with this number.
#[must_use]
pub fn mail_of(number: u8) -> Option<Mail<'static>> {
    mail(MAILS[usize::from(number) % MAILS.len()])
}

/// The RCPT command with this number.
#[must_use]
pub fn rcpt_of(number: u8) -> Option<Rcpt<'static>> {
    rcpt(RCPTS[usize::from(number) % RCPTS.len()])
}

/// Arguments of XCLIENT and XFORWARD: some, more, none, and one that no line can hold.
#[must_use]
pub fn attributes(none: Attributes<'static>, number: u8) -> Option<Attributes<'static>> {
    match number {
        0 => none.with(Attribute::Name, "x.example"),
        1 => none.with(Attribute::Addr, "192.0.2.1").and_then(|some| some.with(Attribute::Port, 25)),
        2 => Ok(none),
        _ => none.with(Attribute::Name, LONG).and_then(|some| some.with(Attribute::Helo, LONG)),
    }
    .ok()
}

/// The argument of ETRN.
#[must_use]
pub fn node() -> Option<EtrnNode<'static>> {
    EtrnNode::parse("@x.example").ok()
}

fn mail(text: &str) -> Option<Mail<'static>> {
    match Command::parse(format!("MAIL FROM:{text}").as_bytes()) {
        Ok(Command::Mail(mail)) => Some(mail.into_owned()),
        _ => None,
    }
}

fn rcpt(text: &str) -> Option<Rcpt<'static>> {
    match Command::parse(format!("RCPT TO:{text}").as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => Some(rcpt.into_owned()),
        _ => None,
    }
}

fn index(choices: &mut Choices, of: usize) -> usize {
    usize::from(choices.pick(u8::try_from(of).unwrap_or(u8::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_parses() {
        assert!((0..MAILS.len() as u8).all(|number| mail_of(number).is_some()));
        assert!((0..RCPTS.len() as u8).all(|number| rcpt_of(number).is_some()));
        assert!(node().is_some());
        let some = |number| attributes(Attributes::xclient(), number).is_some();
        assert!((0..4).all(some), "{:?}", (0..4).map(some).collect::<Vec<_>>());
    }
}
