//! Gathering output for one system call.

use std::io::IoSlice;

use proto_mail::SendBuffer;

/// How many slices go into one system call.
const SLICES: usize = 64;

/// Returns the first slices of the output, and how many there are.
pub(super) fn io_slices(tx: &SendBuffer) -> ([IoSlice<'_>; SLICES], usize) {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut count = 0;
    for (slice, chunk) in slices.iter_mut().zip(tx.chunks()) {
        *slice = IoSlice::new(chunk.bytes);
        count += 1;
    }
    (slices, count)
}
