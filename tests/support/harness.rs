//! What a fuzz target and a test do with any octets: play the peer with them, in two ways of cutting them, and demand
//! the same.
//!
//! The first octet says how the rest is cut. Whatever the octets are: nothing panics, the events and the output do not
//! depend on the cuts, and nothing is said after a fatal error.

use std::sync::Arc;

use proto_core::{AuthVerdict, Channel, Cleartext, Machine, Secure, SendBuffer, StartTlsRequest};
use proto_imap::server as imap;
use proto_imap::types::{Command, Condition, Mailbox, Status, Text, arguments};
use proto_smtp::client::{Progress, Transaction};
use proto_smtp::server as smtp;
use proto_smtp::types::{Address, Mail, Rcpt, Response, ReversePath};

use crate::chunk::{Application, Record, Seen, converse};

/// Plays the client to an IMAP server, under TLS and in cleartext.
pub fn imap_server(data: &[u8]) {
    use proto_imap::server::Server;
    let config = Arc::new(proto_imap::Config::default());
    let secure = || Server::<Secure>::new(Arc::clone(&config), Secure::trusted_local());
    check(data, || (secure(), ImapServing::default()), Compare::Exactly);
    check(
        data,
        || (Server::<Cleartext>::new(Arc::clone(&config)), ImapServing::default()),
        Compare::UnlessUpgraded,
    );
}

/// Plays the server to an IMAP client, under TLS and in cleartext.
pub fn imap_client(data: &[u8]) {
    use proto_imap::client::Client;
    let config = Arc::new(proto_imap::Config::default());
    let secure = || Client::<Secure>::new(Arc::clone(&config), Secure::trusted_local());
    check(data, || (secure(), ImapAsking::default()), Compare::LineByLine);
    check(
        data,
        || (Client::<Cleartext>::new(Arc::clone(&config)), ImapAsking::default()),
        Compare::LineByLine,
    );
}

/// Plays the client to an SMTP server, under TLS and in cleartext.
pub fn smtp_server(data: &[u8]) {
    use proto_smtp::server::Server;
    let config = Arc::new(proto_smtp::Config::default().early_talker(proto_smtp::EarlyTalker::Accept));
    let start = || {
        let mut tx = SendBuffer::new();
        Server::<Secure>::new(Arc::clone(&config), Secure::trusted_local(), &mut tx)
    };
    check(data, || (start(), SmtpServing), Compare::Exactly);
    let start = || Server::<Cleartext>::new(Arc::clone(&config), &mut SendBuffer::new());
    check(data, || (start(), SmtpServing), Compare::UnlessUpgraded);
}

/// Plays the server to an SMTP client, under TLS and in cleartext.
pub fn smtp_client(data: &[u8]) {
    use proto_smtp::client::Client;
    let config = Arc::new(proto_smtp::Config::default());
    let secure = || Client::<Secure>::new(Arc::clone(&config), Secure::trusted_local());
    check(data, || (secure(), SmtpAsking::default()), Compare::LineByLine);
    check(
        data,
        || (Client::<Cleartext>::new(Arc::clone(&config)), SmtpAsking::default()),
        Compare::LineByLine,
    );
}

/// How alike two ways of cutting must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Exactly,
    /// What stands behind STARTTLS is fatal if it is there when the answer is given, and a read may bring it later.
    UnlessUpgraded,
    /// A server that answers before it was asked is fatal, and a read may bring its answer later: lines at a time.
    LineByLine,
}

/// Runs one conversation in two ways of cutting it.
///
/// # Panics
/// If a promise is broken.
fn check<M: Machine, A: Application<M>>(data: &[u8], mut start: impl FnMut() -> (M, A), compare: Compare) {
    let Some((&seed, octets)) = data.split_first() else { return };
    let size = usize::from(seed % 61) + 1;
    let run = |(machine, mut application): (M, A), pieces: &mut dyn Iterator<Item = &[u8]>| {
        converse(machine, &mut application, pieces, true)
    };
    let cut = match compare {
        Compare::LineByLine => run(start(), &mut octets.split_inclusive(|&octet| octet == b'\n')),
        _ => run(start(), &mut octets.chunks(size)),
    };
    let octet_by_octet = run(start(), &mut octets.chunks(1));
    let upgraded = |record: &Record| {
        record.events.iter().any(|seen| matches!(seen, Seen::Event(text) if text.starts_with("StartTls")))
    };
    if compare == Compare::UnlessUpgraded && (upgraded(&cut) || upgraded(&octet_by_octet)) {
        return;
    }
    assert_eq!(cut, octet_by_octet, "pieces of {size} (or lines) and of 1");
}

/// An IMAP application that says yes to everything.
#[derive(Default)]
struct ImapServing {
    /// The answer owed for IDLE, once the client is done.
    idle: Option<imap::Reply>,
}

impl ImapServing {
    fn common<C: Channel>(
        &mut self,
        event: imap::Event<'_, C>,
        server: &mut imap::Server<C>,
        tx: &mut SendBuffer,
    ) -> Option<Seen> {
        let seen = described(&event);
        let ok = Status::new(Condition::Ok, Text::first_line("done"));
        let answered = match event {
            imap::Event::Command(reply, _) | imap::Event::AppendEnd(reply) => server.reply(reply, &ok, tx),
            imap::Event::Append { offer, .. } => server.accept_literal(offer, tx),
            imap::Event::Idle(reply) => {
                self.idle = Some(reply);
                Ok(())
            }
            imap::Event::Done => self.idle.take().map_or(Ok(()), |reply| server.reply(reply, &ok, tx)),
            imap::Event::AppendChunk(chunk) => return Some(Seen::Piece(chunk.to_vec())),
            _ => Ok(()),
        };
        note(seen, answered)
    }
}

impl Application<imap::Server<Secure>> for ImapServing {
    fn event(
        &mut self,
        event: imap::Event<'_, Secure>,
        server: &mut imap::Server<Secure>,
        tx: &mut SendBuffer,
    ) -> Option<Seen> {
        match event {
            imap::Event::Auth(request) => {
                let seen = described(&request);
                note(seen, server.verdict(request, AuthVerdict::Accept, tx))
            }
            other => self.common(other, server, tx),
        }
    }
}

impl Application<imap::Server<Cleartext>> for ImapServing {
    fn event(
        &mut self,
        event: imap::Event<'_, Cleartext>,
        server: &mut imap::Server<Cleartext>,
        tx: &mut SendBuffer,
    ) -> Option<Seen> {
        match event {
            imap::Event::StartTls(request) => refused(request, |request| server.refuse(request, tx)),
            other => self.common(other, server, tx),
        }
    }
}

/// An SMTP application that says yes to everything.
struct SmtpServing;

impl SmtpServing {
    fn common<C: Channel>(
        event: smtp::Event<'_, C>,
        server: &mut smtp::Server<C>,
        tx: &mut SendBuffer,
    ) -> Option<Seen> {
        let seen = described(&event);
        let answered = match event {
            smtp::Event::Mail(_, reply)
            | smtp::Event::Rcpt(_, reply)
            | smtp::Event::DataEnd(reply)
            | smtp::Event::Vrfy(_, reply)
            | smtp::Event::Expn(_, reply) => server.reply(reply, &Response::ok(), tx),
            smtp::Event::Data(reply) => server.reply(reply, &Response::start_data(), tx),
            smtp::Event::DataChunk(chunk) => return Some(Seen::Piece(chunk.to_vec())),
            _ => Ok(()),
        };
        note(seen, answered)
    }
}

impl Application<smtp::Server<Secure>> for SmtpServing {
    fn event(
        &mut self,
        event: smtp::Event<'_, Secure>,
        server: &mut smtp::Server<Secure>,
        tx: &mut SendBuffer,
    ) -> Option<Seen> {
        match event {
            smtp::Event::Auth(request) => {
                let seen = described(&request);
                note(seen, server.verdict(request, AuthVerdict::Accept, tx))
            }
            other => Self::common(other, server, tx),
        }
    }
}

impl Application<smtp::Server<Cleartext>> for SmtpServing {
    fn event(
        &mut self,
        event: smtp::Event<'_, Cleartext>,
        server: &mut smtp::Server<Cleartext>,
        tx: &mut SendBuffer,
    ) -> Option<Seen> {
        match event {
            smtp::Event::StartTls(request) => refused(request, |request| server.refuse(request, tx)),
            other => Self::common(other, server, tx),
        }
    }
}

/// An IMAP client that opens a mailbox and fetches, as soon as it may.
#[derive(Default)]
struct ImapAsking {
    asked: bool,
}

impl<C: Channel> Application<proto_imap::client::Client<C>> for ImapAsking {
    fn event(
        &mut self,
        event: proto_imap::client::Event<'_>,
        client: &mut proto_imap::client::Client<C>,
        tx: &mut SendBuffer,
    ) -> Option<Seen> {
        use proto_imap::client::Event;
        match event {
            Event::BodyChunk(chunk) => Some(Seen::Piece(chunk.to_vec())),
            Event::Capability if !self.asked => {
                self.asked = true;
                let examine = Command::Examine(arguments::Select::new(Mailbox::INBOX));
                // Whether it may be given now depends on the state, which is what is tested.
                let given = client.send(&examine, tx).map(|_| ());
                note(Seen::Event("Capability".to_owned()), given)
            }
            other => Some(described(&other)),
        }
    }
}

/// An SMTP client that sends one short message, as soon as it may.
#[derive(Default)]
struct SmtpAsking {
    transaction: Option<Transaction>,
}

impl<C: Channel> Application<proto_smtp::client::Client<C>> for SmtpAsking {
    fn event(
        &mut self,
        event: proto_smtp::client::Event<'_>,
        client: &mut proto_smtp::client::Client<C>,
        tx: &mut SendBuffer,
    ) -> Option<Seen> {
        let seen = described(&event);
        let progress = match &mut self.transaction {
            Some(transaction) => transaction.event(&event, client, tx),
            None if matches!(event, proto_smtp::client::Event::Extensions(_)) => {
                self.transaction.insert(letter()?).start(client, tx)
            }
            None => return Some(seen),
        };
        let done = match progress {
            Ok(Progress::SendData) => client.data_writer().and_then(|mut writer| {
                writer.write(b".short\r\n", tx)?;
                writer.finish(tx)
            }),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        note(seen, done)
    }
}

/// A transaction with one recipient.
fn letter() -> Option<Transaction> {
    let address = || Address::parse("a@example.com").ok().map(Address::into_owned);
    let mail = Mail::new(ReversePath::from(address()?));
    Some(Transaction::new(mail).recipient(Rcpt::new(address()?)))
}

fn described(what: &impl std::fmt::Debug) -> Seen {
    Seen::Event(format!("{what:?}"))
}

/// What was seen, and what came of the answer.
fn note(seen: Seen, answered: Result<(), proto_core::Error>) -> Option<Seen> {
    match (seen, answered) {
        (Seen::Event(text), Err(error)) => Some(Seen::Event(format!("{text}, then {error:?}"))),
        (seen, _) => Some(seen),
    }
}

fn refused(
    request: StartTlsRequest,
    refuse: impl FnOnce(StartTlsRequest) -> Result<(), proto_core::Error>,
) -> Option<Seen> {
    note(Seen::Event("StartTls".to_owned()), refuse(request))
}
