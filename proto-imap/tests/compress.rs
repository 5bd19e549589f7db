//! COMPRESS (RFC 4978): where compression begins in each direction, and who may ask for it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use proto_imap::Config;
use proto_imap::client::{self, Client, LoginMethod};
use proto_imap::server::{self, Server};
use proto_imap::types::{Command, Condition, RawCommand, StatusResponse, Text};
use proto_mail::{
    AuthVerdict, Cleartext, Credentials, Error, Misuse, PeerError, RecvBuffer, Secure, SendBuffer,
};

fn status(condition: Condition) -> StatusResponse<'static> {
    StatusResponse::new(condition, Text::first_line("done"))
}

fn offering() -> Config {
    Config::default().extensions(["COMPRESS=DEFLATE", "UNAUTHENTICATE"])
}

/// Stands in for compression: a byte that was not transformed is visible at once.
fn transform(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 0x80).collect()
}

/// What a driver does with one side's buffers.
#[derive(Default)]
struct Layer {
    receives_compressed: bool,
    sends_compressed: bool,
}

impl Layer {
    fn receive(&mut self, rx: &mut RecvBuffer, bytes: &[u8]) {
        self.start(rx);
        if self.receives_compressed { rx.extend(&transform(bytes)) } else { rx.extend(bytes) }
    }

    fn start(&mut self, rx: &mut RecvBuffer) -> bool {
        let Some(compressed) = rx.take_compressed() else { return false };
        self.receives_compressed = true;
        rx.extend(&transform(&compressed));
        true
    }

    fn transmit(&mut self, tx: &mut SendBuffer) -> Vec<u8> {
        let mut wire = Vec::new();
        if let Some(plain) = tx.uncompressed_len() {
            assert!(!self.sends_compressed);
            let bytes: Vec<u8> = tx.chunks().flat_map(|chunk| chunk.bytes.to_vec()).take(plain).collect();
            wire.extend_from_slice(&bytes);
            tx.sent(plain);
            tx.compression_started();
            self.sends_compressed = true;
        }
        let rest = tx.take();
        wire.extend(if self.sends_compressed { transform(&rest) } else { rest });
        wire
    }
}

/// A client that has logged in, and its buffers.
struct Talk {
    client: Client<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
    layer: Layer,
}

impl Talk {
    fn new(capabilities: &str) -> Self {
        let client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
        let mut talk = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new(), layer: Layer::default() };
        talk.hear(format!("* PREAUTH [CAPABILITY IMAP4rev1 {capabilities}] hi\r\n").as_bytes()).unwrap();
        talk
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<Vec<String>, Error> {
        self.layer.receive(&mut self.rx, bytes);
        let mut events = Vec::new();
        loop {
            let event = self.client.next_event(&mut self.rx, &mut self.tx)?.map(|event| format!("{event:?}"));
            match event {
                Some(event) => events.push(event),
                None if self.layer.start(&mut self.rx) => {}
                None => return Ok(events),
            }
        }
    }

    fn said(&mut self) -> Vec<u8> {
        self.layer.transmit(&mut self.tx)
    }
}

#[test]
fn a_client_passes_the_gate_in_both_directions_at_the_reply() {
    let plain = b"* 3 EXISTS\r\nM1 OK DEFLATE active\r\n".to_vec();
    let wire = [plain.clone(), transform(b"* OK hello\r\nM2 OK done\r\n")].concat();
    for cut in 0..=wire.len() {
        let mut talk = Talk::new("COMPRESS=DEFLATE");
        talk.client.compress(&mut talk.tx).unwrap();
        talk.client.send(&Command::Noop, &mut talk.tx).unwrap();
        assert_eq!(talk.said(), b"M1 COMPRESS DEFLATE\r\n", "the NOOP waits");
        assert!(!talk.client.is_compressed());
        let mut events = talk.hear(&wire[..cut.min(plain.len())]).unwrap();
        let early = talk.said();
        events.extend(talk.hear(&wire[cut.min(plain.len())..plain.len()]).unwrap());
        let noop = [early, talk.said()].concat();
        assert_eq!(noop, transform(b"M2 NOOP\r\n"), "the NOOP is compressed");
        assert!(talk.client.is_compressed());
        let rest = cut.max(plain.len());
        events.extend(talk.hear(&wire[plain.len()..rest]).unwrap());
        events.extend(talk.hear(&wire[rest..]).unwrap());
        assert_eq!(events.len(), 3, "{events:?}");
        assert!(events[0].contains("M1") || events[0].starts_with("Completed"), "{events:?}");
        assert!(events[1].contains("hello") && events[2].starts_with("Completed"));
    }
}

/// What arrives with the reply is compressed, however the driver reads it.
#[test]
fn a_client_never_parses_what_follows_the_reply() {
    let mut talk = Talk::new("COMPRESS=DEFLATE");
    talk.client.compress(&mut talk.tx).unwrap();
    talk.said();
    talk.rx.extend(b"M1 OK DEFLATE active\r\n* BYE injected\r\nM2 OK injected\r\n");
    let event = talk.client.next_event(&mut talk.rx, &mut talk.tx).unwrap().unwrap();
    assert!(format!("{event:?}").starts_with("Completed"));
    for _ in 0..3 {
        assert_eq!(talk.client.next_event(&mut talk.rx, &mut talk.tx), Ok(None), "the driver must act");
    }
    talk.rx.extend(b"more");
    assert_eq!(talk.rx.take_compressed().unwrap(), b"* BYE injected\r\nM2 OK injected\r\nmore");
    assert_eq!(talk.client.next_event(&mut talk.rx, &mut talk.tx), Ok(None));
    assert!(talk.client.is_compressed());
}

#[test]
fn a_client_asks_only_for_what_it_may() {
    let mut talk = Talk::new("");
    assert_eq!(talk.client.compress(&mut talk.tx), Err(Misuse::NotOffered.into()));
    let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"* OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE AUTH=PLAIN] hi\r\n");
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    assert_eq!(client.compress(&mut tx), Err(Misuse::WrongState.into()), "before the login");
    client.authenticate(LoginMethod::Strongest, &Credentials::password("u", &b"p"[..]), &mut tx).unwrap();
    assert_eq!(client.compress(&mut tx), Err(Misuse::WrongState.into()), "before the login has succeeded");
    assert!(RawCommand::new("COMPRESS DEFLATE").is_err());
    for answer in ["NO [COMPRESSIONACTIVE] TLS compresses", "BAD no"] {
        let mut talk = Talk::new("COMPRESS=DEFLATE UNAUTHENTICATE");
        talk.client.compress(&mut talk.tx).unwrap();
        assert_eq!(talk.client.compress(&mut talk.tx), Err(Misuse::WrongState.into()), "twice");
        let unauthenticate = talk.client.send(&Command::Unauthenticate, &mut talk.tx);
        assert_eq!(unauthenticate, Err(Misuse::WrongState.into()));
        talk.client.send(&Command::Noop, &mut talk.tx).unwrap();
        talk.said();
        talk.hear(format!("M1 {answer}\r\n").as_bytes()).unwrap();
        assert_eq!(talk.said(), b"M2 NOOP\r\n", "{answer}: uncompressed");
        talk.client.compress(&mut talk.tx).unwrap();
        talk.said();
        assert_eq!(talk.hear(b"+ go on\r\n"), Err(PeerError::UnexpectedContinuation.into()));
    }
}

/// A server whose application accepts every login and command, and decides about compression.
struct Peer {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
    layer: Layer,
    accept: Accept,
    commands: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Accept {
    Yes,
    No,
    Drop,
}

impl Peer {
    fn new(config: Config, accept: Accept) -> Self {
        let mut tx = SendBuffer::new();
        let server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        Self { server, rx: RecvBuffer::new(), tx, layer: Layer::default(), accept, commands: Vec::new() }
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        self.layer.receive(&mut self.rx, bytes);
        let mut wire = Vec::new();
        loop {
            let (server, tx) = (&mut self.server, &mut self.tx);
            match server.next_event(&mut self.rx, tx)? {
                None => {
                    wire.extend(self.layer.transmit(tx));
                    if !self.layer.start(&mut self.rx) {
                        return Ok(wire);
                    }
                }
                Some(server::Event::Auth(request)) => {
                    server.answer_auth(request, AuthVerdict::Accept, tx).unwrap()
                }
                Some(server::Event::Command(command, reply)) => {
                    self.commands.push(command.name().to_string());
                    server.reply(reply, &status(Condition::Ok), tx).unwrap();
                }
                Some(server::Event::Compress(request)) => match self.accept {
                    Accept::Yes => server.accept_compression(request, tx).unwrap(),
                    Accept::No => server.refuse_compression(request, &status(Condition::No), tx).unwrap(),
                    Accept::Drop => drop(request),
                },
                Some(event) => panic!("{event:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A client and a server pass the gate at the same byte, however the bytes are split.
    #[test]
    fn both_sides_pass_the_gate_at_the_same_byte(chunk in 1_usize..30, before in 0_usize..3, behind in 0_usize..4) {
        let client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
        let mut talk = Talk { client, rx: RecvBuffer::new(), tx: SendBuffer::new(), layer: Layer::default() };
        let mut peer = Peer::new(offering(), Accept::Yes);
        let mut step = 0;
        let mut completed = 0;
        for _ in 0..200 {
            let wire = talk.said();
            let mut answers = Vec::new();
            for piece in wire.chunks(chunk).chain([&b""[..]]) {
                answers.extend(peer.hear(piece).unwrap());
            }
            for piece in answers.chunks(chunk).chain([&b""[..]]) {
                completed += talk.hear(piece).unwrap().iter().filter(|event| event.starts_with("Completed")).count();
            }
            let authenticated = talk.client.state().is_some_and(|state| state.is_authenticated());
            if step == 0 && talk.client.capabilities().is_some() && !authenticated {
                let credentials = Credentials::password("u", &b"p"[..]);
                talk.client.authenticate(LoginMethod::Strongest, &credentials, &mut talk.tx).unwrap();
                step = 1;
            } else if step == 1 && authenticated && talk.client.capabilities().is_some() {
                for _ in 0..before {
                    talk.client.send(&Command::Noop, &mut talk.tx).unwrap();
                }
                step = 2;
            } else if step == 2 && completed == before {
                talk.client.compress(&mut talk.tx).unwrap();
                for _ in 0..behind {
                    talk.client.send(&Command::Noop, &mut talk.tx).unwrap();
                }
                step = 3;
            }
        }
        prop_assert!(talk.client.is_compressed());
        prop_assert_eq!(completed, before + 1 + behind);
        prop_assert_eq!(peer.commands.len(), before + behind);
        prop_assert!(peer.layer.receives_compressed && peer.layer.sends_compressed);
    }
}

#[test]
fn a_server_ends_the_session_at_bytes_behind_compress() {
    for behind in [&b"\0"[..], b"b NOOP\r\n", b"\r\n"] {
        let mut peer = Peer::new(offering(), Accept::Yes);
        peer.hear(b"l LOGIN u p\r\n").unwrap();
        let input = [&b"c COMPRESS DEFLATE\r\n"[..], behind].concat();
        assert_eq!(peer.hear(&input), Err(PeerError::DataAfterCompress.into()));
        assert!(String::from_utf8(peer.tx.take()).unwrap().starts_with("* BYE"));
    }
}

#[test]
fn a_server_compresses_only_after_the_login_and_once() {
    let answer = |peer: &mut Peer, input: &[u8]| String::from_utf8(peer.hear(input).unwrap()).unwrap();
    let mut plain = Peer::new(Config::default(), Accept::Yes);
    assert!(!answer(&mut plain, b"").contains("COMPRESS"));
    plain.hear(b"l LOGIN u p\r\n").unwrap();
    assert_eq!(answer(&mut plain, b"c COMPRESS DEFLATE\r\n"), "c BAD unknown command\r\n");
    let mut peer = Peer::new(offering(), Accept::Yes);
    let greeting = answer(&mut peer, b"c COMPRESS DEFLATE\r\n");
    assert!(
        !greeting.contains("COMPRESS=") && greeting.ends_with("c BAD authenticate first\r\n"),
        "{greeting}"
    );
    let login = answer(&mut peer, b"l LOGIN u p\r\n");
    assert!(login.contains("COMPRESS=DEFLATE"), "{login}");
    for bad in ["", " GZIP", " DEFLATE x", " \"DEFLATE\""] {
        let wrong = answer(&mut peer, format!("c COMPRESS{bad}\r\n").as_bytes());
        assert_eq!(wrong, "c BAD the only mechanism of COMPRESS is DEFLATE\r\n");
    }
    assert_eq!(answer(&mut peer, b"c compress deflate\r\n"), "c OK DEFLATE active\r\n");
    let hear = |peer: &mut Peer, input: &[u8]| {
        String::from_utf8(transform(&peer.hear(&transform(input)).unwrap())).unwrap()
    };
    assert_eq!(hear(&mut peer, b"d COMPRESS DEFLATE\r\n"), "d BAD the session is compressed already\r\n");
    assert_eq!(hear(&mut peer, b"e UNAUTHENTICATE\r\n"), "e BAD the session is compressed\r\n");
    assert_eq!(hear(&mut peer, b"f LOGIN u p\r\n"), "f BAD already authenticated\r\n");
    assert_eq!(hear(&mut peer, b"g AUTHENTICATE PLAIN\r\n"), "g BAD already authenticated\r\n");
    assert_eq!(hear(&mut peer, b"h STARTTLS\r\n"), "h BAD TLS is already active\r\n");
    assert_eq!(hear(&mut peer, b"i NOOP\r\n"), "i OK done\r\n");
}

#[test]
fn a_server_goes_on_uncompressed_after_a_refusal() {
    for (accept, expected) in [
        (Accept::No, "c NO done\r\n"),
        (Accept::Drop, "c NO [UNAVAILABLE] compression is not available now\r\n"),
    ] {
        let mut peer = Peer::new(offering(), accept);
        peer.hear(b"l LOGIN u p\r\n").unwrap();
        assert_eq!(String::from_utf8(peer.hear(b"c COMPRESS DEFLATE\r\n").unwrap()).unwrap(), expected);
        assert_eq!(peer.hear(b"b NOOP\r\n").unwrap(), b"b OK done\r\n");
        assert!(!peer.layer.receives_compressed);
    }
}

#[test]
fn no_cleartext_session_is_compressed() {
    let mut tx = SendBuffer::new();
    let mut server = Server::<Cleartext>::new(offering(), &mut tx);
    let mut rx = RecvBuffer::new();
    rx.extend(b"c COMPRESS DEFLATE\r\n");
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    let output = String::from_utf8(tx.take()).unwrap();
    assert!(!output.contains("COMPRESS=") && output.ends_with("c BAD authenticate first\r\n"), "{output}");
    let _: fn(&mut Client<Secure>, &mut SendBuffer) -> Result<client::CommandId, Error> =
        Client::<Secure>::compress;
}
