//! A stream whose other end is a server in the same task. It passes one byte at a time and waits after each, so that a
//! future that uses it can be dropped between any two bytes.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use mailwire_fixtures::scripts::Script;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct Scripted<S> {
    script: S,
    received: Vec<u8>,
    output: VecDeque<u8>,
    /// Whether the last call has passed a byte: the next one waits.
    passed: bool,
    is_closed: bool,
}

impl<S: Script> Scripted<S> {
    pub fn new(mut script: S) -> Self {
        let output = script.greeting().into();
        Self { script, received: Vec::new(), output, passed: false, is_closed: false }
    }

    /// Whether this call has to wait.
    fn waits(&mut self, cx: &Context<'_>) -> bool {
        self.passed = !self.passed;
        if !self.passed {
            cx.waker().wake_by_ref();
        }
        !self.passed
    }
}

impl<S: Script + Unpin> AsyncRead for Scripted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.output.is_empty() && this.is_closed {
            return Poll::Ready(Ok(()));
        }
        if this.output.is_empty() {
            return Poll::Pending;
        }
        if this.waits(cx) {
            return Poll::Pending;
        }
        buffer.put_slice(&[this.output.pop_front().unwrap_or_default()]);
        Poll::Ready(Ok(()))
    }
}

impl<S: Script + Unpin> AsyncWrite for Scripted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.waits(cx) {
            return Poll::Pending;
        }
        this.received.extend(bytes.first());
        let answer = this.script.answer(&mut this.received);
        this.output.extend(answer);
        Poll::Ready(Ok(1))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().is_closed = true;
        Poll::Ready(Ok(()))
    }
}
