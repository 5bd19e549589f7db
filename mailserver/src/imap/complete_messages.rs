//! The messages of an APPEND that are complete and wait for the others (MULTIAPPEND, RFC 3502).
//!
//! They take little memory and no file descriptor: beyond a limit, a worker moves them to closed files.

use mailstore::{Delivery, Error, Result, Target, Upload};

/// The most bytes of memory of complete messages, before the bytes of further ones go to files.
const MEMORY: usize = 256 * 1024;

/// The most bytes of memory of complete messages, together with what was derived from them.
const DERIVED: usize = 4 * 1024 * 1024;

/// Messages that are complete and not yet stored.
#[derive(Debug, Default)]
pub(super) struct CompleteMessages {
    deliveries: Vec<Delivery>,
    memory: usize,
    bytes: u64,
}

impl CompleteMessages {
    /// Adds a message, on a worker.
    ///
    /// # Errors
    /// `Limit` if the structures of the messages take too much memory; those of [`Upload::park`].
    pub(super) fn add(&mut self, mut upload: Upload, target: Target) -> Result<()> {
        let mut memory = upload.complete();
        if self.memory + memory > MEMORY {
            upload.park()?;
            memory = upload.complete();
        }
        self.memory += memory;
        if self.memory > DERIVED {
            return Err(Error::Limit("the headers of the command's messages are too large together"));
        }
        self.bytes = self.bytes.saturating_add(upload.size());
        self.deliveries.push(Delivery { upload, targets: vec![target] });
        Ok(())
    }

    /// Returns the bytes of all messages.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Returns the messages, in their order.
    pub(super) fn into_deliveries(self) -> Vec<Delivery> {
        self.deliveries
    }
}
