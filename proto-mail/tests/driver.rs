//! The driver's part without I/O, with a machine that echoes lines.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proto_mail::{
    Driver, Error, Limit, Line, Machine, OwnedEvents, PeerError, RecvBuffer, SendBuffer, Wait, WaitFor,
};

const SECOND: Duration = Duration::from_secs(1);

/// Reports each line. After `QUIT` it closes; after `BAD` it fails with a farewell.
#[derive(Debug, Default)]
struct Echo {
    shown: usize,
    lines: u32,
    closed: bool,
    failed: Option<Error>,
}

impl Machine for Echo {
    type Event<'i> = &'i [u8];

    fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<&'i [u8]>, Error> {
        rx.consume(std::mem::take(&mut self.shown));
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Line::Complete(len) = rx.find_line(100) else {
            if rx.is_closed() && !self.closed {
                self.failed = Some(PeerError::UnexpectedEnd.into());
                return Err(PeerError::UnexpectedEnd.into());
            }
            return Ok(None);
        };
        self.lines += 1;
        self.shown = len;
        match &rx.bytes()[..len] {
            b"QUIT\r\n" => self.closed = true,
            b"BAD\r\n" => {
                tx.put(b"BYE\r\n");
                self.failed = Some(PeerError::Malformed.into());
                return Err(PeerError::Malformed.into());
            }
            _ => {}
        }
        Ok(Some(&rx.bytes()[..len]))
    }

    fn wants_read(&self, tx: &SendBuffer) -> bool {
        tx.len() < 1000
    }

    fn wait(&self) -> Wait {
        Wait::new(WaitFor::Command, 10 * SECOND, self.lines)
    }

    fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if self.lines == 0 {
            return Ok(());
        }
        tx.put(b"LATE\r\n");
        self.failed = Some(Limit::Timeout(WaitFor::Command).into());
        Err(Limit::Timeout(WaitFor::Command).into())
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

impl OwnedEvents for Echo {
    type OwnedEvent = Vec<u8>;

    fn into_owned(event: &[u8]) -> Vec<u8> {
        event.to_vec()
    }
}

fn driver(input: &[u8]) -> Driver<Echo> {
    let mut driver = Driver::new(Echo::default());
    driver.rx.extend(input);
    driver
}

fn echo(line: &[u8], _: &mut Echo, tx: &mut SendBuffer) {
    tx.put(line);
}

#[test]
fn answers_events_and_ends_when_everything_was_sent() {
    let mut driver = driver(b"one\r\ntwo\r\nQUIT\r\n");
    assert!(driver.outcome().is_none() && driver.wants_read() && !driver.wants_write());
    driver.handle_events(echo);
    assert!(driver.wants_write() && !driver.wants_read());
    assert_eq!(driver.outcome(), None, "output waits");
    assert_eq!(driver.tx.take(), b"one\r\ntwo\r\nQUIT\r\n");
    assert_eq!(driver.outcome(), Some(Ok(())));
}

#[test]
fn sends_the_farewell_before_it_reports_an_error() {
    let mut driver = driver(b"one\r\nBAD\r\nQUIT\r\n");
    driver.handle_events(echo);
    assert!(driver.next_event().is_none() && !driver.wants_read());
    assert_eq!(driver.outcome(), None);
    assert_eq!(driver.tx.take(), b"one\r\nBYE\r\n");
    assert_eq!(driver.outcome(), Some(Err(PeerError::Malformed.into())));
}

#[test]
fn reports_the_end_of_the_stream_once() {
    let mut driver = driver(b"one");
    assert!(driver.next_owned().is_none() && driver.wants_read());
    driver.received(0);
    assert!(!driver.wants_read());
    assert!(driver.next_owned().is_none());
    assert_eq!(driver.outcome(), Some(Err(PeerError::UnexpectedEnd.into())));
}

#[test]
fn arms_each_wait_once_and_tells_the_machine_when_it_is_over() {
    let mut driver = driver(b"");
    assert_eq!(driver.deadline(SECOND), Some(11 * SECOND));
    assert_eq!(driver.deadline(5 * SECOND), Some(11 * SECOND), "nothing has come");
    assert!(!driver.handle_timeout(10 * SECOND));
    assert!(driver.handle_timeout(11 * SECOND));
    assert_eq!(driver.outcome(), None, "the machine continues");
    assert_eq!(driver.deadline(12 * SECOND), Some(22 * SECOND), "the wait is counted anew");
    driver.rx.extend(b"one\r\n");
    driver.handle_events(echo);
    let _ = driver.tx.take();
    assert_eq!(driver.deadline(20 * SECOND), Some(30 * SECOND));
    assert!(driver.handle_timeout(30 * SECOND) && !driver.handle_timeout(60 * SECOND));
    assert_eq!(driver.tx.take(), b"LATE\r\n");
    assert_eq!(driver.outcome(), Some(Err(Limit::Timeout(WaitFor::Command).into())));
}

#[test]
fn gives_its_parts_back() {
    let (machine, rx, tx) = driver(b"one").into_parts();
    let driver: Driver<Echo> = Driver::with_buffers(machine, rx, tx);
    assert_eq!(driver.rx.bytes(), b"one");
}

/// An async stream that is pending before each read.
struct Stream {
    input: Vec<Vec<u8>>,
    output: Vec<u8>,
}

impl Stream {
    async fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut pending = true;
        std::future::poll_fn(|_| if std::mem::take(&mut pending) { Poll::Pending } else { Poll::Ready(()) })
            .await;
        if self.input.is_empty() {
            return 0;
        }
        let chunk = self.input.remove(0);
        buffer[..chunk.len()].copy_from_slice(&chunk);
        chunk.len()
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }
}

/// The signature that async programs want: it must compile for every machine with owned events.
async fn next<M: OwnedEvents>(
    driver: &mut Driver<M>,
    stream: &mut Stream,
) -> Result<Option<M::OwnedEvent>, Error> {
    loop {
        if let Some(event) = driver.next_owned() {
            return Ok(Some(event));
        }
        let output = driver.tx.take();
        stream.write(&output).await;
        if let Some(outcome) = driver.outcome() {
            return outcome.map(|()| None);
        }
        let count = stream.read(driver.rx.spare_mut(100)).await;
        driver.received(count);
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[test]
fn an_async_driver_returns_owned_events() {
    let mut driver = Driver::new(Echo::default());
    let input = [&b"on"[..], b"e\r\nQU", b"IT\r\n"].map(<[u8]>::to_vec).to_vec();
    let mut stream = Stream { input, output: Vec::new() };
    let mut seen = Vec::new();
    let outcome = block_on(async {
        while let Some(event) = next(&mut driver, &mut stream).await? {
            driver.tx.put(&event);
            seen.push(event);
        }
        Ok::<_, Error>(())
    });
    assert_eq!(outcome, Ok(()));
    assert_eq!(seen, [b"one\r\n".to_vec(), b"QUIT\r\n".to_vec()]);
    assert_eq!(stream.output, b"one\r\nQUIT\r\n");
}

#[cfg(feature = "std")]
mod io {
    use std::io::{self, ErrorKind, IoSlice, Read, Write};

    use super::*;

    /// Takes `most` bytes of each write, then fails as `script` says.
    struct Slow {
        most: usize,
        script: Vec<ErrorKind>,
        taken: Vec<u8>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(kind) = self.script.pop() {
                return Err(kind.into());
            }
            let count = bytes.len().min(self.most);
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.write(&slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn filled() -> SendBuffer {
        let mut tx = SendBuffer::new();
        for _ in 0..100 {
            tx.put(b"a");
            tx.put_secret(b"b");
        }
        tx
    }

    #[test]
    fn write_to_continues_partial_writes_and_retries_interrupted() {
        let mut tx = filled();
        let mut writer = Slow { most: 7, script: vec![ErrorKind::Interrupted; 3], taken: Vec::new() };
        assert_eq!(tx.write_to(&mut writer).unwrap(), 200);
        assert!(tx.is_empty());
        assert_eq!(writer.taken, b"ab".repeat(100));
        assert_eq!(tx.write_to(&mut writer).unwrap(), 0);
    }

    #[test]
    fn write_to_keeps_what_the_writer_does_not_take() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let count = bytes.len().min(self.0);
                self.0 -= count;
                Ok(count)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut tx = filled();
        assert_eq!(tx.write_to(&mut Full(5)).unwrap(), 5);
        assert_eq!((tx.len(), tx.sent_total()), (195, 5));
        assert_eq!(tx.write_to(&mut Full(0)).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut none = Slow { most: 0, script: Vec::new(), taken: Vec::new() };
        assert_eq!(tx.write_to(&mut none).unwrap_err().kind(), ErrorKind::WriteZero);
        let mut broken = Slow { most: 1, script: vec![ErrorKind::BrokenPipe], taken: Vec::new() };
        assert_eq!(tx.write_to(&mut broken).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(tx.len(), 195);
        let slices: Vec<u8> = tx.io_slices().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(slices, tx.take());
    }

    #[test]
    fn reads_and_writes_a_stream() {
        let mut driver = driver(b"");
        let mut input: &[u8] = b"one\r\nQUIT\r\n";
        let mut output = Vec::new();
        while driver.outcome().is_none() {
            driver.read_from(&mut input).unwrap();
            driver.handle_events(echo);
            driver.write_to(&mut output).unwrap();
        }
        assert_eq!(output, b"one\r\nQUIT\r\n");
        assert_eq!(driver.read_from(&mut &b"more"[..]).unwrap(), 0, "the session is over");

        struct Interrupted(bool);
        impl Read for Interrupted {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::take(&mut self.0) {
                    return Err(ErrorKind::Interrupted.into());
                }
                buffer[0] = b'x';
                Ok(1)
            }
        }
        let mut driver = super::driver(b"");
        assert_eq!(driver.read_from(&mut Interrupted(true)).unwrap(), 1);
        assert_eq!(driver.rx.bytes(), b"x");
    }
}
