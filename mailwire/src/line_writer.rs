//! Writes whole lines from a thread of its own, so that a full disk or a pipe that is never read cannot block or end
//! the program.
//!
//! Lines wait in a bounded queue. A line that finds the queue full is discarded and counted; the count is written as a
//! line of its own as soon as the output takes lines again. Errors of the output are ignored.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most lines that wait to be written.
const WAITING: usize = 4096;

/// The longest line in bytes; the rest of a longer one is discarded.
const LONGEST: usize = 16 * 1024;

/// A handle on the thread that writes. Cheap to clone. The thread ends with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct LineWriter {
    queue: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

enum Order {
    Line(Vec<u8>),
    /// Report when everything before it was written.
    Flush(SyncSender<()>),
}

impl LineWriter {
    /// Writes to `output`.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_room(output, WAITING)
    }

    /// Writes to standard error. It has a descriptor of its own: a write that blocks does not hold the lock of
    /// [`io::stderr`].
    ///
    /// # Errors
    /// The operating system gives no thread or no descriptor.
    pub(crate) fn standard_error() -> io::Result<Self> {
        Self::start(File::from(io::stderr().as_fd().try_clone_to_owned()?))
    }

    fn with_room(output: impl Write + Send + 'static, lines: usize) -> io::Result<Self> {
        let (queue, orders) = sync_channel(lines);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        let work = move || write_lines(output, &orders, &counted);
        std::thread::Builder::new().name("lines".to_owned()).spawn(work)?;
        Ok(Self { queue, dropped })
    }

    /// Queues a line, which ends with its LF. Never blocks.
    pub(crate) fn line(&self, bytes: &[u8]) {
        let mut line = bytes.get(..LONGEST).unwrap_or(bytes).to_vec();
        if line.len() < bytes.len() {
            line.push(b'\n');
        }
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Order::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything that was queued is written, `patience` at most.
    pub(crate) fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Order::Flush(done)).is_ok() {
            let _ = written.recv_timeout(patience);
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

fn write_lines(mut output: impl Write, orders: &Receiver<Order>, dropped: &AtomicU64) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Line(line) => {
                let _ = output.write_all(&line);
            }
            Order::Flush(done) => {
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

    /// An output that reports each write and then waits to be released.
    struct Gate {
        begun: Sender<()>,
        release: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.begun.send(());
            let _ = self.release.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_blocks_costs_lines_and_no_time() {
        let (begun, begins) = channel();
        let (release, released) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate { begun, release: released, written: Arc::clone(&written) };
        let writer = LineWriter::with_room(gate, 2).unwrap();
        writer.line(b"one\n");
        begins.recv().unwrap();
        for line in [&b"two\n"[..], b"three\n", b"four\n", b"five\n"] {
            writer.line(line);
        }
        writer.flush(Duration::from_millis(1));
        drop(release);
        while begins.recv_timeout(Duration::from_millis(500)).is_ok() {}
        writer.flush(Duration::from_secs(5));
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("one\n2 lines were dropped"), "{text}");
        assert!(text.contains("two\nthree\n") && !text.contains("four"), "{text}");
    }

    #[test]
    fn an_output_that_fails_is_ignored() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let writer = LineWriter::start(full).unwrap();
        writer.line(b"one\n");
        writer.flush(Duration::from_secs(5));
        writer.line(b"two\n");
        writer.flush(Duration::from_secs(5));
    }
}
