//! The upload of a message, without I/O: which bytes are queued, and when the journal is written.

use std::io;

use bytes::Bytes;
use io_common::Error;
use proto_mail::{Channel, SendBuffer};
use proto_smtp::client::Client;

/// The maximum number of bytes of a message in the send buffer.
const MAX_QUEUED: usize = 256 * 1024;
/// How many bytes of a message are read at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// The upload of a message.
pub(super) struct Upload {
    /// How many bytes may still be read.
    remaining: u64,
    state: State,
    /// The chunk to queue, and the one after it. The second is read ahead, because the last bytes and the end of a chunk
    /// (BDAT) are one step: a server that has all bytes has the message.
    chunks: [Bytes; 2],
    /// How many bytes were queued since [`take_queued`](Self::take_queued).
    queued: u64,
    /// Why the upload was aborted: the source cannot be read, or the journal cannot be written.
    pub(super) error: Option<Error>,
}

/// What the upload does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server does not wait for the message, or has all of it.
    Off,
    /// More bytes may be read.
    Reading,
    /// The source is at its end.
    ReadToEnd,
    /// The journal names the recipients: the last bytes may be queued.
    Journalled,
}

/// What an upload needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadStep {
    /// Nothing, until there is room for output.
    Wait,
    /// Up to this many bytes of the source.
    Read(usize),
    /// The journal, before the last bytes.
    Journal,
}

impl Upload {
    pub(super) const fn new(bytes: u64) -> Self {
        let chunks = [Bytes::new(), Bytes::new()];
        Self { remaining: bytes, state: State::Off, chunks, queued: 0, error: None }
    }

    /// The server waits for the message.
    pub(super) const fn start(&mut self) {
        self.state = State::Reading;
    }

    /// Queues as much as may wait.
    pub(super) fn advance<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<UploadStep, Error> {
        while self.state != State::Off && tx.len() < MAX_QUEUED {
            if self.state == State::Reading && self.chunks.iter().any(Bytes::is_empty) {
                let most = self.remaining.min(CHUNK as u64);
                if most > 0 {
                    return Ok(UploadStep::Read(usize::try_from(most).unwrap_or(CHUNK)));
                }
                self.state = State::ReadToEnd;
            }
            let [chunk, next] = &mut self.chunks;
            let is_last = next.is_empty();
            if is_last && self.state == State::ReadToEnd {
                return Ok(UploadStep::Journal);
            }
            let chunk = std::mem::replace(chunk, std::mem::take(next));
            if !chunk.is_empty() {
                client.data_writer()?.write_payload(&chunk, tx)?;
                self.queued += chunk.len() as u64;
            }
            if is_last {
                client.data_writer()?.finish(tx)?;
                self.state = State::Off;
            }
        }
        Ok(UploadStep::Wait)
    }

    /// Continues with the bytes of [`UploadStep::Read`]. If there are fewer than it asked for, the source is at its end.
    pub(super) fn chunk(&mut self, bytes: Bytes) {
        let asked = self.remaining.min(CHUNK as u64);
        let read = bytes.len() as u64;
        self.remaining = self.remaining.saturating_sub(read);
        if read < asked && self.state == State::Reading {
            self.state = State::ReadToEnd;
        }
        if let Some(free) = self.chunks.iter_mut().find(|chunk| chunk.is_empty()) {
            *free = bytes;
        }
    }

    /// Continues after [`UploadStep::Journal`].
    pub(super) fn journalled(&mut self) {
        if self.state == State::ReadToEnd {
            self.state = State::Journalled;
        }
    }

    /// Returns how many bytes were queued since the last call.
    pub(super) const fn take_queued(&mut self) -> u64 {
        std::mem::replace(&mut self.queued, 0)
    }

    /// Aborts the upload. Returns the error with which the connection must end: the message must not seem to end here.
    pub(super) fn abort(&mut self, error: Error) -> Error {
        self.state = State::Off;
        let text = io::Error::other(error.to_string());
        self.error = Some(error);
        Error::Io { doing: "sending the message", source: text }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto_mail::{Cleartext, RecvBuffer};
    use proto_smtp::{
        Config,
        types::{Address, ChunkEnd, ForwardPath, Mail, Rcpt, ReversePath},
    };

    use super::*;

    /// A client that has announced a chunk of this size.
    fn client(bytes: u64, tx: &mut SendBuffer) -> Client<Cleartext> {
        let mut client = Client::<Cleartext>::new(Config::default().danger_cleartext());
        let mut rx = RecvBuffer::new();
        let to = Address::parse("a@x.example").unwrap().into_owned();
        for (number, reply) in ["220 x", "250-x\r\n250 CHUNKING", "250 ok", "250 ok"].into_iter().enumerate()
        {
            match number {
                2 => client.mail(&Mail::new(ReversePath::Null), tx).unwrap(),
                3 => drop(client.rcpt(&Rcpt::new(ForwardPath::from(to.clone())), tx).unwrap()),
                _ => {}
            }
            tx.sent(tx.len());
            rx.extend(format!("{reply}\r\n").as_bytes());
            while client.next_event(&mut rx, tx).unwrap().is_some() {}
        }
        client.bdat(bytes, ChunkEnd::Last, tx).unwrap();
        tx.sent(tx.len());
        client
    }

    /// Uploads a message of this size. Returns the steps but the ones that wait, with how much was sent before each.
    fn upload(size: usize, declared: u64) -> Vec<(usize, UploadStep)> {
        let mut tx = SendBuffer::new();
        let mut client = client(size as u64, &mut tx);
        let mut source = vec![b'x'; size];
        let mut upload = Upload::new(declared);
        assert_eq!(upload.advance(&mut client, &mut tx).unwrap(), UploadStep::Wait);
        upload.start();
        let (mut sent, mut steps) = (0, Vec::new());
        while upload.state != State::Off {
            let step = upload.advance(&mut client, &mut tx).unwrap();
            match step {
                UploadStep::Read(most) => {
                    let rest = source.split_off(most.min(source.len()));
                    upload.chunk(std::mem::replace(&mut source, rest).into());
                }
                UploadStep::Journal => upload.journalled(),
                UploadStep::Wait => {
                    sent += tx.len();
                    tx.sent(tx.len());
                    assert_eq!(client.is_message_sent(&tx), sent == size, "{sent} of {size}");
                    continue;
                }
            }
            steps.push((sent + tx.len(), step));
        }
        assert_eq!((sent, upload.take_queued()), (size, size as u64));
        steps
    }

    #[test]
    fn queues_the_last_bytes_of_a_chunk_with_its_end() {
        for size in [10, CHUNK, MAX_QUEUED - 1, MAX_QUEUED, MAX_QUEUED + 1, 3 * MAX_QUEUED] {
            let steps = upload(size, size as u64);
            let (sent, last) = *steps.last().unwrap();
            // The journal comes before the last chunk, once.
            assert_eq!(
                (last, steps.iter().filter(|(_, step)| *step == last).count()),
                (UploadStep::Journal, 1)
            );
            assert_eq!(sent, (size - 1) / CHUNK * CHUNK);
        }
    }

    #[test]
    fn reads_a_source_of_unknown_size_to_its_end() {
        let read =
            |steps: Vec<(usize, UploadStep)>| steps.into_iter().map(|(_, step)| step).collect::<Vec<_>>();
        let (full, journal) = (UploadStep::Read(CHUNK), UploadStep::Journal);
        assert_eq!(read(upload(10, u64::MAX)), [full, journal]);
        assert_eq!(read(upload(CHUNK, u64::MAX)), [full, full, journal]);
        // A source of known size is not read beyond it.
        assert_eq!(read(upload(CHUNK, CHUNK as u64)), [full, journal]);
        assert_eq!(read(upload(CHUNK + 1, CHUNK as u64 + 1)), [full, UploadStep::Read(1), journal]);
    }
}
