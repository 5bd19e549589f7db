//! The upload of a message: which bytes are queued, and what is reported before the last ones.

use std::io::{self, Read};

use bytes::Bytes;
use io_mio::Error;
use proto_mail::{Channel, SendBuffer};
use proto_smtp::client::Client;

use super::journal::UploadObserver;
use super::message::unreadable;

/// The maximum number of bytes of a message in the send buffer.
const MAX_QUEUED: usize = 256 * 1024;
/// How many bytes of a message are read at once.
const CHUNK: usize = 64 * 1024;

/// The upload of a message.
pub(super) struct Upload {
    /// How many bytes may still be read.
    remaining: u64,
    pub(super) is_started: bool,
    /// The next piece. It is read ahead, because the last bytes and the end of a chunk are one step: a server that has
    /// all bytes has the message.
    next: Option<Bytes>,
    /// Why the upload was aborted: the source cannot be read, or the journal cannot be written.
    pub(super) error: Option<Error>,
}

impl Upload {
    pub(super) const fn new(bytes: u64) -> Self {
        Self { remaining: bytes, is_started: false, next: None, error: None }
    }

    /// Queues as much as may wait. Calls `before_final_bytes` before the last bytes are queued.
    pub(super) fn fill<C: Channel, S: Read>(
        &mut self,
        source: &mut S,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        observer: &dyn UploadObserver,
        before_final_bytes: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        while self.is_started && tx.len() < MAX_QUEUED {
            let chunk = match self.next.take() {
                Some(chunk) => chunk,
                None => self.read(source)?,
            };
            let next = self.read(source)?;
            if next.is_empty() {
                before_final_bytes().or_else(|error| self.abort(error))?;
            }
            if !chunk.is_empty() {
                client.data_writer()?.write_payload(&chunk, tx)?;
                observer.bytes_queued(chunk.len() as u64);
            }
            if next.is_empty() {
                client.data_writer()?.finish(tx)?;
                self.is_started = false;
            }
            self.next = Some(next);
        }
        Ok(())
    }

    fn read(&mut self, source: &mut impl Read) -> Result<Bytes, Error> {
        let most = self.remaining.min(CHUNK as u64);
        let mut chunk = Vec::with_capacity(usize::try_from(most).unwrap_or(CHUNK));
        if let Err(error) = source.take(most).read_to_end(&mut chunk) {
            self.abort(unreadable(error))?;
        }
        self.remaining -= chunk.len() as u64;
        Ok(Bytes::from(chunk))
    }

    /// Aborts the upload with the connection: the message must not seem to end here.
    fn abort(&mut self, error: Error) -> Result<(), Error> {
        self.is_started = false;
        let text = io::Error::other(error.to_string());
        self.error = Some(error);
        Err(Error::Io { doing: "sending the message", source: text })
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

    #[test]
    fn queues_the_last_bytes_of_a_chunk_with_its_end() {
        for size in [10, CHUNK, MAX_QUEUED - 1, MAX_QUEUED, MAX_QUEUED + 1, 3 * MAX_QUEUED] {
            let mut tx = SendBuffer::new();
            let mut client = client(size as u64, &mut tx);
            let mut source = io::Cursor::new(vec![b'x'; size]);
            let mut upload = Upload::new(size as u64);
            upload.is_started = true;
            let mut sent = 0;
            while upload.is_started {
                upload.fill(&mut source, &mut client, &mut tx, &(), || Ok(())).unwrap();
                sent += tx.len();
                tx.sent(tx.len());
                assert_eq!(client.is_message_sent(&tx), sent == size, "{sent} of {size}");
            }
            assert_eq!(sent, size);
        }
    }
}
