//! Writing a [`SendBuffer`] to `std::io` (feature `std`).

use std::io::{Error, ErrorKind, IoSlice, Result, Write};

use super::SendBuffer;

/// The most slices of one vectored write.
const SLICES: usize = 64;

impl SendBuffer {
    /// Returns the bytes that wait, in order, as slices for a vectored write. Report with [`sent`](Self::sent) how many
    /// bytes were written.
    pub fn io_slices(&self) -> impl Iterator<Item = IoSlice<'_>> {
        self.chunks().map(|chunk| IoSlice::new(chunk.bytes))
    }

    /// Writes what waits, with vectored writes, until the buffer is empty or the writer returns an error. Returns how
    /// many bytes were written. The buffer keeps what was not.
    ///
    /// A partial write is continued, and `Interrupted` is retried. If the writer returns `WouldBlock` after it has
    /// taken something, this returns `Ok` with the number of bytes that were written.
    ///
    /// # Errors
    /// `WriteZero` if the writer takes nothing; otherwise the writer's error. What was written before the error counts
    /// as [sent](Self::sent_total).
    pub fn write_to(&mut self, writer: &mut (impl Write + ?Sized)) -> Result<usize> {
        let mut written = 0;
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slot, slice) in slices.iter_mut().zip(self.io_slices()) {
                *slot = slice;
                count += 1;
            }
            match writer.write_vectored(slices.get(..count).unwrap_or_default()) {
                Ok(0) => return Err(Error::from(ErrorKind::WriteZero)),
                Ok(count) => {
                    self.sent(count);
                    written += count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && written > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}
