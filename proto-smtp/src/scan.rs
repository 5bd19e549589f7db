//! Where in a message an octet needs a closer look: most do not.
//!
//! This file knows pairs of neighbours: a CR and a LF that do not belong together, NUL, and a dot behind a LF. It looks
//! at 64 octets at once with the widest vectors that the processor has; what they are is found at run time with the
//! feature `std`, and is what the target promises without it.

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch, u8x64};

/// Whether an octet may not follow another: a LF without its CR, anything but LF behind a CR, or NUL.
pub(crate) const fn is_forbidden(before: u8, octet: u8) -> bool {
    ((before == b'\r') != (octet == b'\n')) | (octet == 0)
}

/// Whether an octet needs a closer look: it is forbidden there, or is a dot that may begin a line.
#[inline]
const fn is_suspicious(before: u8, octet: u8) -> bool {
    match before {
        b'\r' => octet != b'\n',
        b'\n' => matches!(octet, b'.' | b'\n' | 0),
        _ => matches!(octet, b'\n' | 0),
    }
}

/// The octets that are looked at together.
const BLOCK: usize = 64;
/// The octets that are looked at one by one before the blocks begin: dense dots cost little then.
const HEAD: usize = 8;

/// The first place from `at` on, which is not 0, that needs a closer look.
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
    for (n, &octet) in input.get(from..to)?.iter().enumerate() {
        if is_suspicious(before, octet) {
            return Some(from + n);
        }
        before = octet;
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

/// It is compiled once for each kind of vector.
#[inline(always)]
fn blocks<S: Simd>(simd: S, input: &[u8], from: usize) -> Option<usize> {
    let (before, _) = input.get(from - 1..input.len() - 1)?.as_chunks::<BLOCK>();
    let (octets, _) = input.get(from..)?.as_chunks::<BLOCK>();
    let mut at = from;
    for (before, octets) in before.iter().zip(octets) {
        if let Some(found) = in_block(simd, before, octets) {
            return Some(at + found);
        }
        at += BLOCK;
    }
    // The last block overlaps the one before it, in which nothing was found.
    if let Some((behind, octets)) = input.split_last_chunk::<BLOCK>()
        && behind.len() >= from
        && let Some(before) = input.get(behind.len() - 1..).and_then(|input| input.first_chunk())
    {
        return in_block(simd, before, octets).map(|found| behind.len() + found);
    }
    one_by_one(input, at, input.len())
}

/// The first place in a block that needs a closer look; `before` holds what stands one octet before each.
#[inline(always)]
fn in_block<S: Simd>(simd: S, before: &[u8; BLOCK], octets: &[u8; BLOCK]) -> Option<usize> {
    let before = u8x64::from_slice(simd, before);
    let octets = u8x64::from_slice(simd, octets);
    let suspicious = (before.simd_eq(b'\r') ^ octets.simd_eq(b'\n'))
        | octets.simd_eq(0)
        | (before.simd_eq(b'\n') & octets.simd_eq(b'.'));
    suspicious.any_true().then(|| suspicious.to_bitmask().trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Every level that this processor has.
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
    fn every_pair_is_judged_alike_in_a_block_and_alone() {
        for before in [0, 1, 9, b'\n', 11, 12, b'\r', 14, b' ', b'-', b'.', b'/', b'x', 0x8a, 0x8d, 0xff] {
            for octet in 0..=255 {
                let mut input = [b'x'; 2 + 2 * BLOCK];
                (input[30], input[31]) = (before, octet);
                let expected = one_by_one(&input, 1, input.len());
                for level in levels() {
                    assert_eq!(find_in_blocks(level, &input, 1), expected, "{before} {octet} {level:?}");
                }
                if is_suspicious(b'x', before) {
                    assert_eq!(expected, Some(30));
                } else {
                    let judged = is_forbidden(before, octet) || (before == b'\n' && octet == b'.');
                    assert_eq!(expected == Some(31), judged, "{before} {octet}");
                }
            }
        }
    }

    #[test]
    fn a_place_is_found_wherever_it_stands() {
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
