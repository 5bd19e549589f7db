//! Replaces the compression layer in a build without the feature `compression`: a session that begins to compress ends.

use std::io;

use proto_mail::{RecvBuffer, SendBuffer};

use crate::error::Error;

/// A layer that compresses nothing.
pub(super) struct Compression {
    pub(super) received: RecvBuffer,
    pub(super) output: SendBuffer,
    pub(super) is_pending: bool,
}

/// How much compressed output may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputLimit {
    Usual,
    None,
}

impl Compression {
    pub(super) fn new() -> Self {
        Self { received: RecvBuffer::new(), output: SendBuffer::new(), is_pending: false }
    }

    /// Returns true, so that nothing that is received reaches the machine.
    pub(super) const fn decompresses(&self) -> bool {
        true
    }

    pub(super) const fn start_input(&mut self, _: &mut RecvBuffer) {
        self.is_pending = true;
    }

    /// # Errors
    /// Always.
    pub(super) fn decompress(&mut self, _: &mut RecvBuffer) -> Result<(), Error> {
        Err(unsupported())
    }

    /// # Errors
    /// Always. The machine's output stays in `tx`.
    pub(super) fn compress(&mut self, _: &mut SendBuffer, _: OutputLimit) -> Result<(), Error> {
        Err(unsupported())
    }
}

fn unsupported() -> Error {
    let text = "this program was built without the feature compression of io-common";
    Error::io("compression")(io::Error::new(io::ErrorKind::Unsupported, text))
}
