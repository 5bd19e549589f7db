//! Every sequence of the bytes that matter for the end of the data, through both machines. They follow a definition
//! of five states (RFC 5321 §4.5.2), however the sequence is split.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_mail::{Limits, RecvBuffer, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::Client;
use proto_smtp::data::{BareNewline, LineEndings};
use proto_smtp::server::{Event, Server};
use proto_smtp::types::Response;

const ALPHABET: [u8; 4] = [b'.', b'\r', b'\n', b'x'];
const END: &[u8] = b"\r\n.\r\n";
const LONGEST: usize = 9;

/// Calls `check` with every sequence of this length.
fn every_sequence(len: usize, mut with: impl FnMut(&[u8])) {
    let mut sequence = vec![0; len];
    for number in 0..4usize.pow(len as u32) {
        for (place, byte) in sequence.iter_mut().enumerate() {
            *byte = ALPHABET[(number >> (2 * place)) & 3];
        }
        with(&sequence);
    }
}

/// The five states of a reader.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Start,
    Text,
    Cr,
    Dot,
    DotCr,
}

/// The result of reading: the message, the number of bytes to its end, and whether all were allowed.
#[derive(Debug, PartialEq, Eq, Default)]
struct Read {
    content: Vec<u8>,
    end: Option<usize>,
    clean: bool,
}

/// The definition: five states, byte by byte, from the start of a line.
fn reference(bytes: &[u8]) -> Read {
    let mut read = Read { clean: true, ..Read::default() };
    let mut at = At::Start;
    for (number, &byte) in bytes.iter().enumerate() {
        read.clean &= matches!(at, At::Cr | At::DotCr) == (byte == b'\n');
        let next = match (at, byte) {
            (At::DotCr, b'\n') => {
                read.end = Some(number + 1);
                return read;
            }
            (At::Start, b'.') => At::Dot,
            (At::Dot, b'\r') => At::DotCr,
            (At::Cr, b'\n') => At::Start,
            (_, b'\r') => At::Cr,
            _ => At::Text,
        };
        if at == At::DotCr {
            // It was not the end: the CR after the dot belongs to the message.
            read.content.push(b'\r');
        }
        if !matches!(next, At::Dot | At::DotCr) {
            read.content.push(byte);
        }
        at = next;
    }
    read
}

/// A server that accepts every message.
struct Reader {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
    /// Whether a message is open, at the start of a line, and not rejected.
    open: bool,
}

impl Reader {
    fn new(bare: BareNewline) -> Self {
        let mut limits = Limits::default();
        (limits.errors, limits.message) = (u32::MAX, u64::MAX);
        let (rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        let config = Config::mail_exchanger().bare_newline(bare).limits(limits);
        let server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        let mut reader = Self { server, rx, tx, open: false };
        let _ = reader.tx.take();
        reader.rx.extend(b"EHLO c\r\n");
        reader.pump(&mut Vec::new());
        reader
    }

    /// Returns the result for bytes in pieces. Begins a message if none is open.
    fn read(&mut self, bytes: &[u8], piece: usize) -> Read {
        let mut read = Read::default();
        if !self.open {
            self.rx.extend(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
            assert_eq!(self.pump(&mut read.content), None);
            self.open = true;
        }
        let mut sent = 0;
        for bytes in bytes.chunks(piece) {
            self.rx.extend(bytes);
            sent += bytes.len();
            if let Some(clean) = self.pump(&mut read.content) {
                self.open = false;
                let end = Some(sent - self.rx.len());
                self.rx.consume(self.rx.len());
                return Read { clean, end, ..read };
            }
        }
        Read { clean: true, ..read }
    }

    /// Processes events up to the end of a message. Returns whether it was accepted.
    fn pump(&mut self, content: &mut Vec<u8>) -> Option<bool> {
        let mut end = None;
        while end.is_none() {
            let Some(event) = self.server.next_event(&mut self.rx, &mut self.tx).unwrap() else { break };
            let tx = &mut self.tx;
            match event {
                Event::Mail(_, reply) | Event::Rcpt(_, reply) | Event::Data(reply) => {
                    self.server.reply(reply, &Response::ok(), tx).unwrap();
                }
                Event::DataChunk(bytes) => content.extend_from_slice(&bytes),
                Event::DataEnd(reply) => {
                    self.server.reply(reply, &Response::ok(), tx).unwrap();
                    end = Some(true);
                }
                Event::Refused(..) => end = Some(false),
                Event::Hello(..) | Event::Reset => {}
                event => panic!("{event:?}"),
            }
        }
        let sent = self.tx.len();
        self.tx.sent(sent);
        end
    }
}

fn shown(sequence: &[u8], piece: usize) -> String {
    format!("{:?} in pieces of {piece}", sequence.escape_ascii().to_string())
}

#[test]
fn finds_the_end_of_every_sequence_while_accepting_bare_newlines() {
    let mut reader = Reader::new(BareNewline::Accept);
    for len in 0..=LONGEST {
        let pieces: &[usize] = if len < 8 { &[LONGEST + 2, 1, 2, 3] } else { &[LONGEST + 2] };
        every_sequence(len, |sequence| {
            // The last two bytes lead from every state except one to the start of a line, for the next sequence; from
            // that one they end the data.
            let bytes = [sequence, b"\r\n"].concat();
            let expected = Read { clean: true, ..reference(&bytes) };
            for &piece in pieces {
                assert_eq!(reader.read(&bytes, piece), expected, "{}", shown(sequence, piece));
            }
        });
    }
}

#[test]
fn finds_the_same_end_while_rejecting_bare_newlines() {
    let mut reader = Reader::new(BareNewline::Reject);
    for len in 0..=LONGEST {
        let pieces: &[usize] = if len < 7 { &[LONGEST + 5, 1, 3] } else { &[LONGEST + 5] };
        every_sequence(len, |sequence| {
            let expected = reference(&[sequence, END].concat());
            if len == LONGEST && !expected.clean {
                // A rejected message for each would take seconds; after the rejection the reader is the one above.
                return;
            }
            for &piece in pieces {
                let read = reader.read(&[sequence, END].concat(), piece);
                assert_eq!(
                    (read.end, read.clean),
                    (expected.end, expected.clean),
                    "{}",
                    shown(sequence, piece)
                );
                // Of rejected data no more is yielded than of accepted data.
                assert!(expected.content.starts_with(&read.content), "{}", shown(sequence, piece));
                assert!(!expected.clean || expected.content == read.content, "{}", shown(sequence, piece));
            }
        });
    }
}

/// A client with an open message.
struct Writer {
    client: Client<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Writer {
    fn new(endings: LineEndings) -> Self {
        let config = Config::default().line_endings(endings);
        let client = Client::<Secure>::new(config, Secure::trusted_local());
        let mut writer = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
        writer.hear(b"220 mx\r\n");
        writer.hear(b"250 mx\r\n");
        writer
    }

    fn hear(&mut self, bytes: &[u8]) {
        let sent = self.tx.len();
        self.tx.sent(sent);
        self.rx.extend(bytes);
        while self.client.next_event(&mut self.rx, &mut self.tx).unwrap().is_some() {}
        let sent = self.tx.len();
        self.tx.sent(sent);
    }

    /// Returns what is sent for a message in pieces; `None` if it may not be sent.
    fn write(&mut self, message: &[u8], piece: usize) -> Option<Vec<u8>> {
        self.client.data(&mut self.tx).unwrap();
        self.hear(b"354 go\r\n");
        for bytes in message.chunks(piece) {
            self.client.data_writer().unwrap().write(bytes, &mut self.tx).ok()?;
        }
        self.client.data_writer().unwrap().finish(&mut self.tx).ok()?;
        let written = self.tx.take();
        self.hear(b"250 ok\r\n");
        Some(written)
    }
}

/// The message with CRLF for each bare CR and LF, and at its end.
fn normalized(message: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (at, &byte) in message.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && message[at - 1] == b'\r' => {}
            b'\r' | b'\n' => lines.extend(b"\r\n"),
            _ => lines.push(byte),
        }
    }
    if !lines.is_empty() && !lines.ends_with(b"\r\n") {
        lines.extend(b"\r\n");
    }
    lines
}

#[test]
fn reads_every_written_message_unchanged() {
    let mut writer = Writer::new(LineEndings::Normalize);
    for len in 0..=LONGEST {
        let pieces: &[usize] = if len < 7 { &[LONGEST, 1, 2] } else { &[LONGEST] };
        every_sequence(len, |sequence| {
            let expected = normalized(sequence);
            for &piece in pieces {
                let written = writer.write(sequence, piece).unwrap();
                let read = reference(&written);
                assert_eq!((read.end, read.clean), (Some(written.len()), true), "{}", shown(sequence, piece));
                assert_eq!(read.content, expected, "{}", shown(sequence, piece));
            }
        });
    }
}

#[test]
fn writes_messages_unchanged_or_not_at_all() {
    let mut writer = Writer::new(LineEndings::Require);
    for len in 0..=6 {
        every_sequence(len, |sequence| {
            let text = String::from_utf8(sequence.to_vec()).unwrap().replace("\r\n", "");
            let clean = !text.contains(['\r', '\n']);
            for piece in [LONGEST, 1, 2] {
                match writer.write(sequence, piece) {
                    Some(written) => {
                        let read = reference(&written);
                        assert!(clean && read.clean && read.end == Some(written.len()));
                        assert_eq!(read.content, normalized(sequence), "{}", shown(sequence, piece));
                    }
                    None => {
                        assert!(!clean, "{}", shown(sequence, piece));
                        writer = Writer::new(LineEndings::Require);
                    }
                }
            }
        });
    }
}
