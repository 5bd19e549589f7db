//! Writes lines on a separate thread, so that a full disk or a pipe that is never read cannot block or end the program.
//!
//! Lines wait in a bounded queue. When the queue is full, new lines are discarded and counted. The count is written as a
//! line as soon as the output accepts lines again. Write errors are ignored.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most lines in the queue.
const MAX_QUEUED_LINES: usize = 4096;

/// The longest line in bytes. The rest of a longer line is discarded.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// A handle to the writing thread. Cheap to clone. The thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct LineWriter {
    queue: SyncSender<Request>,
    dropped: Arc<AtomicU64>,
}

enum Request {
    Line(Vec<u8>),
    /// Report when all earlier lines are written.
    Flush(SyncSender<()>),
}

impl LineWriter {
    /// Starts a thread that writes to `output`.
    ///
    /// # Errors
    /// The operating system cannot start a thread.
    pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_capacity(output, MAX_QUEUED_LINES)
    }

    /// Starts a thread that writes to standard error. It uses a separate descriptor, so that a blocked write does not hold
    /// the lock of [`io::stderr`].
    ///
    /// # Errors
    /// The operating system cannot start a thread or duplicate the descriptor.
    pub(crate) fn standard_error() -> io::Result<Self> {
        Self::start(File::from(io::stderr().as_fd().try_clone_to_owned()?))
    }

    fn with_capacity(output: impl Write + Send + 'static, lines: usize) -> io::Result<Self> {
        let (queue, requests) = sync_channel(lines);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        let work = move || write_lines(output, &requests, &counted);
        std::thread::Builder::new().name("lines".to_owned()).spawn(work)?;
        Ok(Self { queue, dropped })
    }

    /// Queues a line that ends with LF. Never blocks.
    pub(crate) fn line(&self, bytes: &[u8]) {
        let mut line = bytes.get(..MAX_LINE_BYTES).unwrap_or(bytes).to_vec();
        if line.len() < bytes.len() {
            line.push(b'\n');
        }
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Request::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all queued lines are written, or until the timeout. Returns at once if the queue is full, since the
    /// output blocks then.
    pub(crate) fn wait_until_written(&self, timeout: Duration) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Request::Flush(done)).is_ok() {
            let _ = written.recv_timeout(timeout);
        }
    }
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn write_lines(mut output: impl Write, requests: &Receiver<Request>, dropped: &AtomicU64) {
    while let Ok(request) = requests.recv() {
        match request {
            Request::Line(line) => {
                let _ = output.write_all(&line);
            }
            Request::Flush(done) => {
                let _ = output.flush();
                let _ = done.try_send(());
            }
        }
        let count = dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = writeln!(output, "{count} lines were dropped: they could not be written in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// An output that reports each write and then waits until it is released.
    struct BlockingOutput {
        started: Sender<()>,
        release: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for BlockingOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.started.send(());
            let _ = self.release.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn drops_lines_instead_of_blocking() {
        let (started, starts) = channel();
        let (release, released) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let blocking = BlockingOutput { started, release: released, written: Arc::clone(&written) };
        let writer = LineWriter::with_capacity(blocking, 2).unwrap();
        writer.line(b"one\n");
        starts.recv().unwrap();
        for line in [&b"two\n"[..], b"three\n", b"four\n", b"five\n"] {
            writer.line(line);
        }
        writer.wait_until_written(Duration::from_millis(1));
        drop(release);
        while starts.recv_timeout(Duration::from_millis(500)).is_ok() {}
        writer.wait_until_written(Duration::from_secs(5));
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("one\n2 lines were dropped"), "{text}");
        assert!(text.contains("two\nthree\n") && !text.contains("four"), "{text}");
    }

    #[test]
    fn ignores_write_errors() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let writer = LineWriter::start(full).unwrap();
        writer.line(b"one\n");
        writer.wait_until_written(Duration::from_secs(5));
        writer.line(b"two\n");
        writer.wait_until_written(Duration::from_secs(5));
    }
}
