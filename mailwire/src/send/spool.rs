//! The message to send, in a file without a name: it may be larger than memory, and may have to be sent twice.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};

use proto_smtp::client::{Content, ContentScan};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Kind};

/// A message with CRLF line ends.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) file: File,
    pub(crate) facts: Facts,
}

/// What there is to know of a message without reading it again.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) octets: u64,
    /// Whether an octet beyond ASCII is in it (RFC 6152).
    pub(crate) eight_bit: bool,
    /// Whether such an octet is in its header, which only SMTPUTF8 carries (RFC 6531).
    pub(crate) header_eight_bit: bool,
    /// The longest line without its end, in octets (RFC 5321 §4.5.3.1.6: 998 at most).
    pub(crate) longest_line: u64,
    pub(crate) message_id: Option<String>,
    /// What tells its octets apart from all others: SHA-256.
    pub(crate) digest: [u8; 32],
    /// What it needs of a server.
    pub(crate) content: Content,
}

impl Spool {
    /// Takes a whole message in. Bare LF, as files on this system have it, becomes CRLF; a CR elsewhere is refused,
    /// since servers must refuse it (RFC 5321 §2.3.8).
    pub(crate) fn read(source: impl Read) -> Result<Self, Failure> {
        let mut writer = SpoolWriter::new()?;
        let mut source = BufReader::with_capacity(64 * 1024, source);
        loop {
            let chunk = source.fill_buf().map_err(|error| unreadable(&error))?;
            if chunk.is_empty() {
                break;
            }
            let taken = chunk.len();
            writer.push(chunk)?;
            source.consume(taken);
        }
        writer.finish()
    }
}

fn temporary() -> Result<File, Failure> {
    tempfile::tempfile().map_err(|error| spooling(&error))
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Data, format!("the message cannot be read: {error}"))
}

fn spooling(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Unavailable, format!("the message cannot be kept: {error}"))
        .advise("make room in the directory for temporary files, or set TMPDIR")
}

/// How much of a header is looked at for the Message-ID, in octets.
const HEADER: usize = 64 * 1024;

/// Takes a message in part by part, wherever it is cut.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    out: BufWriter<File>,
    octets: u64,
    line: u64,
    longest_line: u64,
    after_cr: bool,
    in_header: bool,
    eight_bit: bool,
    header_eight_bit: bool,
    header: Vec<u8>,
    digest: Sha256,
    content: ContentScan,
}

impl SpoolWriter {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            out: BufWriter::with_capacity(64 * 1024, temporary()?),
            octets: 0,
            line: 0,
            longest_line: 0,
            after_cr: false,
            in_header: true,
            eight_bit: false,
            header_eight_bit: false,
            header: Vec::new(),
            digest: Sha256::new(),
            content: ContentScan::new(),
        })
    }

    /// Takes the next part.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) -> Result<(), Failure> {
        while !chunk.is_empty() {
            if self.after_cr {
                if chunk.first() != Some(&b'\n') {
                    return Err(Failure::new(Kind::Data, "the message holds a CR that ends no line")
                        .advise("convert its line ends to CRLF or LF"));
                }
                self.after_cr = false;
                chunk = &chunk[1..];
                self.end_line()?;
                continue;
            }
            let end = chunk.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)).unwrap_or(chunk.len());
            let (text, rest) = chunk.split_at(end);
            self.text(text)?;
            chunk = match rest.split_first() {
                None => rest,
                Some((b'\n', rest)) => {
                    self.end_line()?;
                    rest
                }
                Some((b'\r', rest)) => {
                    self.after_cr = true;
                    rest
                }
                Some(_) => {
                    return Err(Failure::new(Kind::Data, "the message holds a NUL, which SMTP cannot carry"));
                }
            };
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.line += text.len() as u64;
        self.longest_line = self.longest_line.max(self.line);
        if !text.is_ascii() {
            self.eight_bit = true;
            self.header_eight_bit |= self.in_header;
        }
        if self.in_header && self.header.len() < HEADER {
            self.header.extend_from_slice(text);
        }
        self.put(text)
    }

    fn end_line(&mut self) -> Result<(), Failure> {
        if self.line == 0 {
            self.in_header = false;
        } else if self.in_header {
            self.header.push(b'\n');
        }
        self.line = 0;
        self.put(b"\r\n")
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.octets += bytes.len() as u64;
        self.digest.update(bytes);
        self.content.push(bytes);
        self.out.write_all(bytes).map_err(|error| spooling(&error))
    }

    /// The message is whole.
    pub(crate) fn finish(mut self) -> Result<Spool, Failure> {
        if self.after_cr {
            return Err(Failure::new(Kind::Data, "the message holds a CR that ends no line"));
        }
        if self.line > 0 {
            self.end_line()?;
        }
        let mut file = self.out.into_inner().map_err(|error| spooling(error.error()))?;
        file.rewind().map_err(|error| spooling(&error))?;
        let facts = Facts {
            octets: self.octets,
            eight_bit: self.eight_bit,
            header_eight_bit: self.header_eight_bit,
            longest_line: self.longest_line,
            message_id: message_id(&self.header),
            digest: self.digest.finalize().into(),
            content: self.content.finish(),
        };
        Ok(Spool { file, facts })
    }
}

/// The Message-ID without its brackets.
fn message_id(header: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"message-id:";
    let mut lines = header.split(|&byte| byte == b'\n');
    let line =
        lines.find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    let value = std::str::from_utf8(&line[NAME.len()..]).ok()?.trim();
    Some(value.trim_start_matches('<').trim_end_matches('>').to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spool: &mut Spool) -> Vec<u8> {
        spool.file.rewind().unwrap();
        let mut octets = Vec::new();
        spool.file.read_to_end(&mut octets).unwrap();
        octets
    }

    /// Gives one octet at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn line_ends_become_crlf_whatever_the_chunks() {
        let text = "Subject: x\nMessage-ID: <1@example.com>\r\n\nGr\u{fc}\u{df}e\nlast";
        let expected = "Subject: x\r\nMessage-ID: <1@example.com>\r\n\r\nGr\u{fc}\u{df}e\r\nlast\r\n";
        for mut spool in [Spool::read(text.as_bytes()).unwrap(), Spool::read(Drip(text.as_bytes())).unwrap()]
        {
            assert_eq!(all(&mut spool), expected.as_bytes());
            let facts = spool.facts;
            assert_eq!(facts.octets, expected.len() as u64);
            assert_eq!(facts.message_id.as_deref(), Some("1@example.com"));
            assert!(facts.eight_bit && !facts.header_eight_bit);
            assert_eq!(facts.longest_line, 27);
        }
    }

    #[test]
    fn what_smtp_cannot_carry_is_refused() {
        for bad in [&b"a\rb\n"[..], b"a\r", b"a\0b\n"] {
            assert!(Spool::read(bad).is_err(), "{bad:?}");
            assert!(Spool::read(Drip(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_empty_message_is_one() {
        let mut spool = Spool::read(&b""[..]).unwrap();
        assert_eq!((spool.facts.octets, all(&mut spool)), (0, Vec::new()));
    }
}
