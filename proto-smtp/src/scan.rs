//! A search for the bytes of a message that need a closer look: a CR and a LF that do not belong together, NUL, and a dot
//! after a LF.
//!
//! It examines 64 bytes at once with the widest vectors of the processor. They are detected at run time with the feature
//! `std`; without it the search uses what the target guarantees.

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u8x64};

/// Whether a byte may not follow another: a LF without CR, anything but LF after CR, or NUL.
pub(crate) const fn is_forbidden(before: u8, byte: u8) -> bool {
    ((before == b'\r') != (byte == b'\n')) | (byte == 0)
}

/// Whether a byte needs a closer look: it is forbidden, or is a dot that may begin a line.
#[inline]
const fn is_suspicious(before: u8, byte: u8) -> bool {
    match before {
        b'\r' => byte != b'\n',
        b'\n' => matches!(byte, b'.' | b'\n' | 0),
        _ => matches!(byte, b'\n' | 0),
    }
}

/// The number of bytes that are examined together.
const BLOCK: usize = 64;
/// The number of bytes that are examined one by one before the blocks begin, which keeps dense dots cheap.
const HEAD: usize = 8;

/// Returns the first offset from `at` on that needs a closer look. `at` is not 0.
#[inline]
pub(crate) fn find_suspicious(input: &[u8], at: usize) -> Option<usize> {
    let head = (at + HEAD).min(input.len());
    if let found @ Some(_) = one_by_one(input, at, head) {
        return found;
    }
    if head == input.len() { None } else { find_in_blocks(level(), input, head) }
}

#[inline]
fn one_by_one(input: &[u8], from: usize, to: usize) -> Option<usize> {
    let mut before = *input.get(from.checked_sub(1)?)?;
    for (n, &byte) in input.get(from..to)?.iter().enumerate() {
        if is_suspicious(before, byte) {
            return Some(from + n);
        }
        before = byte;
    }
    None
}

#[inline]
fn level() -> Level {
    Level::try_detect().unwrap_or_else(Level::baseline)
}

fn find_in_blocks(level: Level, input: &[u8], at: usize) -> Option<usize> {
    dispatch!(level, simd => blocks(simd, input, at))
}

/// Compiled once for each kind of vector.
#[inline(always)]
fn blocks<S: Simd>(simd: S, input: &[u8], from: usize) -> Option<usize> {
    let (before, _) = input.get(from - 1..input.len() - 1)?.as_chunks::<BLOCK>();
    let (bytes, _) = input.get(from..)?.as_chunks::<BLOCK>();
    let mut at = from;
    for (before, bytes) in before.iter().zip(bytes) {
        if let Some(found) = in_block(simd, before, bytes) {
            return Some(at + found);
        }
        at += BLOCK;
    }
    // The last block overlaps the previous one, in which nothing was found.
    if let Some((tail, bytes)) = input.split_last_chunk::<BLOCK>()
        && tail.len() >= from
        && let Some(before) = input.get(tail.len() - 1..).and_then(|input| input.first_chunk())
    {
        return in_block(simd, before, bytes).map(|found| tail.len() + found);
    }
    one_by_one(input, at, input.len())
}

/// Returns the first offset in a block that needs a closer look. `before` holds the predecessor of each byte.
#[inline(always)]
fn in_block<S: Simd>(simd: S, before: &[u8; BLOCK], bytes: &[u8; BLOCK]) -> Option<usize> {
    let before = u8x64::from_slice(simd, before);
    let bytes = u8x64::from_slice(simd, bytes);
    let suspicious = (before.simd_eq(b'\r') ^ bytes.simd_eq(b'\n'))
        | bytes.simd_eq(0)
        | (before.simd_eq(b'\n') & bytes.simd_eq(b'.'));
    suspicious.any_true().then(|| suspicious.to_bitmask().trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Every level that this processor supports.
    fn levels() -> Vec<Level> {
        let mut levels = vec![level(), Level::baseline()];
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(level().as_sse2().map(Level::Sse2));
            levels.extend(level().as_sse4_2().map(Level::Sse4_2));
            levels.extend(level().as_avx2().map(Level::Avx2));
        }
        levels
    }

    #[test]
    fn finds_the_same_pairs_in_blocks_and_one_by_one() {
        for before in [0, 1, 9, b'\n', 11, 12, b'\r', 14, b' ', b'-', b'.', b'/', b'x', 0x8a, 0x8d, 0xff] {
            for byte in 0..=255 {
                let mut input = [b'x'; 2 + 2 * BLOCK];
                (input[30], input[31]) = (before, byte);
                let expected = one_by_one(&input, 1, input.len());
                for level in levels() {
                    assert_eq!(find_in_blocks(level, &input, 1), expected, "{before} {byte} {level:?}");
                }
                if is_suspicious(b'x', before) {
                    assert_eq!(expected, Some(30));
                } else {
                    let judged = is_forbidden(before, byte) || (before == b'\n' && byte == b'.');
                    assert_eq!(expected == Some(31), judged, "{before} {byte}");
                }
            }
        }
    }

    #[test]
    fn finds_a_byte_at_every_offset() {
        let mut input = vec![b'x'; 3 * BLOCK + 5];
        for at in 1..input.len() {
            input[at] = 0;
            for from in [1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1] {
                let expected = (from <= at).then_some(at);
                assert_eq!(find_suspicious(&input, from), expected, "{at} from {from}");
                for level in levels() {
                    assert_eq!(find_in_blocks(level, &input, from), expected, "{at} from {from} {level:?}");
                }
            }
            input[at] = b'x';
        }
    }
}
