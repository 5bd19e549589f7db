//! Attacks through an application's arguments: they hold line ends, quotes, or another command.
//!
//! This module calls the library as such an application would, and checks that the argument is refused before a byte
//! is output, or sent as a literal of its exact length. It plays no conversation.

use std::sync::Arc;

use proto_imap::client::{Client, LoginMethod};
use proto_imap::types::{
    AppendCommand, Capability, Command, Date, DateTime, Flag, IString, IdField, Keyword, LazyList,
    MailboxName, SequenceSet,
};
use proto_mail::{Credentials, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer};
use proto_smtp::data::{BareNewline, DotStuffer, DotUnstuffer, LineEndings, Stop};
use proto_smtp::types::{Address, EnvelopeId, OriginalRecipient, Submitter};
use serde_json::{Map, Value};

use super::channel;

/// Whether the call does what the row's note requires.
///
/// # Panics
/// If the call is unknown.
pub(crate) fn act(role: &str, name: &str, args: &Map<String, Value>) -> bool {
    let of = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default();
    match (role, name) {
        ("imap-client", "fetch") => SequenceSet::from_text(of("set")).is_err(),
        ("imap-client", "store") => Keyword::new(of("flag")).is_err() && Flag::new(of("flag")).is_err(),
        ("imap-client", "id") => id(of("name")),
        ("imap-client", "enable") => enable(of("cap")),
        ("imap-client", "append") if args.contains_key("date") => append_date(of("date")),
        ("imap-client", "append") => append_literal(of("caps"), args["size"].as_u64().unwrap()),
        ("imap-client", "authenticate") if args.contains_key("token") => bearer(of("user"), of("token")),
        ("imap-client", "authenticate") => scram(of("user")),
        ("smtp-client", "send") if args.contains_key("rcpt") => Address::parse(of("rcpt")).is_err(),
        ("smtp-client", "send") => parameters(of("envid"), of("auth"), of("orcpt")),
        ("smtp-client", "custom") => custom(of("line")),
        // Only the command writes header fields; its own test covers them.
        ("smtp-client", "header") => include_str!("../../../mailwire/src/compose.rs")
            .contains("fn rejects_values_that_add_header_lines()"),
        ("smtp-client", "data") => messages_survive_their_dots(),
        _ => panic!("unknown act {name} of {role}"),
    }
}

/// A client that is ready to log in, and its buffers.
fn greeted(capabilities: &str) -> (Client<Secure>, RecvBuffer, SendBuffer) {
    let mut client = Client::<Secure>::new(Arc::new(proto_imap::Config::default()), channel());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(format!("* OK [CAPABILITY IMAP4rev1 {capabilities}] ready\r\n").as_bytes());
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    (client, rx, tx)
}

/// A client that has logged in.
fn logged_in(capabilities: &str) -> (Client<Secure>, RecvBuffer, SendBuffer) {
    let (mut client, mut rx, mut tx) = greeted(&format!("SASL-IR AUTH=PLAIN {capabilities}"));
    client.authenticate(LoginMethod::Strongest, &Credentials::password("alice", &b"x"[..]), &mut tx).unwrap();
    drop(tx.take());
    rx.extend(format!("M1 OK [CAPABILITY IMAP4rev1 {capabilities}] in\r\n").as_bytes());
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    assert!(client.state().unwrap().is_authenticated() && tx.is_empty());
    (client, rx, tx)
}

/// What the client sends when the server asks for a literal.
fn after_continuation(client: &mut Client<Secure>, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Vec<u8> {
    rx.extend(b"+ go on\r\n");
    while client.next_event(rx, tx).unwrap().is_some() {}
    tx.take()
}

fn id(name: &str) -> bool {
    let (mut client, mut rx, mut tx) = logged_in("ID");
    let fields = [IdField { name: IString::from("name"), value: Some(IString::from(name)) }];
    let Ok(_) = client.send(&Command::Id(LazyList::new(&fields)), &mut tx) else { return tx.is_empty() };
    let announced = format!("M2 ID (\"name\" {{{}}}\r\n", name.len());
    tx.take() == announced.as_bytes()
        && after_continuation(&mut client, &mut rx, &mut tx) == format!("{name})\r\n").as_bytes()
}

fn enable(capability: &str) -> bool {
    let (mut client, _, mut tx) = logged_in("ENABLE");
    let names = [Capability::new(capability)];
    // The argument is rejected, whether the server offers it or not.
    let sent = client.send(&Command::Enable(LazyList::new(&names)), &mut tx);
    matches!(sent, Err(Error::Misuse(Misuse::ForbiddenByte | Misuse::InvalidArgument))) && tx.is_empty()
}

/// A date is built from numbers only, so no text can be injected. Flags are the other argument.
fn append_date(text: &str) -> bool {
    let wrong =
        [Date::new(10_000, 1, 1), Date::new(2024, 13, 1), Date::new(2024, 2, 30), Date::new(2024, 1, 0)];
    let date = Date::new(2024, 2, 29).unwrap();
    let times = [
        DateTime::new(date, 24, 0, 0, 0),
        DateTime::new(date, 0, 60, 0, 0),
        DateTime::new(date, 0, 0, 0, 6001),
    ];
    wrong.iter().all(Option::is_none) && times.iter().all(Option::is_none) && Keyword::new(text).is_err()
}

/// Above 4096 bytes LITERAL- has no non-synchronising literals (RFC 7888 §5).
fn append_literal(capabilities: &str, size: u64) -> bool {
    let announced = |size: u64| {
        let (mut client, _, mut tx) = logged_in(capabilities);
        client.append(&AppendCommand::new(MailboxName::INBOX), size, &mut tx).unwrap();
        String::from_utf8(tx.take()).unwrap()
    };
    announced(size).ends_with(&format!(" {{{size}}}\r\n")) && announced(4096).ends_with(" {4096+}\r\n")
}

fn bearer(user: &str, token: &str) -> bool {
    [Mechanism::OAuthBearer, Mechanism::XOAuth2].into_iter().all(|mechanism| {
        [(user, "token"), ("alice", token), (user, token)].into_iter().all(|(user, token)| {
            let (mut client, _, mut tx) = greeted(&format!("SASL-IR AUTH={}", mechanism.name()));
            let credentials = Credentials::bearer(user, token.to_owned());
            client.authenticate(LoginMethod::Mechanism(mechanism), &credentials, &mut tx).is_err()
                && tx.is_empty()
        })
    })
}

/// SCRAM's separators are escaped in a name.
fn scram(user: &str) -> bool {
    let (mut client, _, mut tx) = greeted("SASL-IR AUTH=SCRAM-SHA-256");
    let credentials = Credentials::password(user, &b"x"[..]);
    let choice = LoginMethod::Mechanism(Mechanism::ScramSha256);
    client.authenticate(choice, &credentials, &mut tx).unwrap();
    let line = String::from_utf8(tx.take()).unwrap();
    let first =
        proto_mail::sasl::decode_base64(line.trim_end().rsplit(' ').next().unwrap().as_bytes()).unwrap();
    let first = String::from_utf8(first.expose().clone()).unwrap();
    let escaped = user.replace('=', "=3D").replace(',', "=2C");
    first.starts_with(&format!("y,,n={escaped},r="))
        && first.split(',').filter(|part| part.starts_with("r=")).count() == 1
}

fn parameters(envelope_id: &str, submitter: &str, original: &str) -> bool {
    let encoded = EnvelopeId::encode(envelope_id).is_ok_and(|id| !id.as_str().contains(['\r', '\n', '\0']));
    EnvelopeId::parse(envelope_id).is_err()
        && (encoded || EnvelopeId::encode(envelope_id).is_err())
        && Submitter::parse(submitter).is_err()
        && OriginalRecipient::parse(original).is_err()
}

/// Custom commands go through one type; what it cannot hold cannot be sent.
fn custom(line: &str) -> bool {
    let (_, argument) = line.split_once(' ').unwrap();
    let config = Arc::new(proto_smtp::Config::default());
    let mut client = proto_smtp::client::Client::<Secure>::new(config, channel());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    for reply in ["220 mx.example.test\r\n", "250 mx.example.test\r\n"] {
        rx.extend(reply.as_bytes());
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        drop(tx.take());
    }
    assert!(client.is_idle());
    client.vrfy(argument, &mut tx).is_err() && client.expn(argument, &mut tx).is_err() && tx.is_empty()
}

/// DotStuffer and its inverse, split at every offset on both sides.
fn messages_survive_their_dots() -> bool {
    let lines: [&[u8]; 8] = [b"", b".", b"..", b".x", b"x.", b"x", b"...", b". "];
    let mut state = 1_u32;
    let messages = (0..40).map(|len| {
        let mut message = Vec::new();
        for _ in 0..len % 7 {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            message.extend_from_slice(lines[(state >> 16) as usize % lines.len()]);
            message.extend_from_slice(b"\r\n");
        }
        message
    });
    messages.collect::<Vec<_>>().iter().all(|message| {
        (0..=message.len()).all(|at| {
            let stuffed = stuffed(message, at);
            (0..=stuffed.len()).all(|at| unstuffed(&stuffed, at).as_ref() == Some(message))
        })
    })
}

fn stuffed(message: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut stuffing = DotStuffer::new(LineEndings::Require);
    for part in [&message[..at], &message[at..]] {
        stuffing.write(part, |piece| bytes.extend_from_slice(piece)).unwrap();
    }
    stuffing.finish(|piece| bytes.extend_from_slice(piece)).unwrap();
    bytes
}

/// `None`: the end was not found, or not at the end.
fn unstuffed(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let (mut input, mut message) = (bytes[..at].to_vec(), Vec::new());
    let mut unstuffing = DotUnstuffer::new(BareNewline::Reject);
    let mut more = Some(&bytes[at..]);
    loop {
        let taken = unstuffing.unstuff(&mut input);
        message.extend_from_slice(&input[taken.content.clone()]);
        input.drain(..taken.consumed);
        match taken.stop {
            Stop::End => return (input.is_empty() && more.is_none_or(<[u8]>::is_empty)).then_some(message),
            Stop::Forbidden => return None,
            Stop::More if taken.consumed == 0 => input.extend_from_slice(more.take()?),
            Stop::More => {}
        }
    }
}
