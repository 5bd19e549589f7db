//! How what a machine receives is cut into reads.
//!
//! This file knows lengths and nothing else.

use crate::script::{Row, Step};

/// How many ways at random each row is cut in.
const RANDOM: u32 = 20;
/// With a flood in it, so many: they are long.
const RANDOM_FLOODS: u32 = 3;

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Each text in one read.
    Whole,
    /// Each byte in a read of its own.
    Bytes,
    /// The text of this number in two, at this place.
    At(usize, usize),
    /// From this seed.
    Random(u32),
}

/// The ways for a client's row whose texts, said unasked, are so long.
pub(crate) fn ways(row: &Row, texts: &[usize]) -> Vec<Cut> {
    let flooded = row.steps.iter().any(|step| matches!(step, Step::Repeat { .. }));
    let mut ways = vec![Cut::Bytes];
    if flooded {
        ways.extend((0..RANDOM_FLOODS).map(Cut::Random));
    } else {
        let each = texts.iter().enumerate();
        ways.extend(each.flat_map(|(text, &len)| (1..len).map(move |at| Cut::At(text, at))));
        ways.extend((0..RANDOM).map(Cut::Random));
    }
    ways
}

impl Cut {
    /// The text of this number in its pieces.
    pub(crate) fn pieces(self, number: usize, text: &[u8]) -> Vec<Vec<u8>> {
        match self {
            Self::At(text_cut, at) if text_cut == number => {
                let (first, second) = text.split_at(at.min(text.len()));
                [first, second].into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect()
            }
            Self::Random(seed) => random(seed.wrapping_add(number as u32), text),
            other => other.answer(text),
        }
    }

    /// An answer in its pieces.
    pub(crate) fn answer(self, text: &[u8]) -> Vec<Vec<u8>> {
        match self {
            Self::Bytes => text.chunks(1).map(<[u8]>::to_vec).collect(),
            Self::Random(seed) => random(seed, text),
            Self::Whole | Self::At(..) if text.is_empty() => Vec::new(),
            Self::Whole | Self::At(..) => vec![text.to_vec()],
        }
    }

    /// How much of a flood comes at once, when so much of it has come.
    pub(crate) fn repeated(self, sent: usize) -> usize {
        match self {
            Self::Bytes if sent < 4096 => 1,
            Self::Bytes => 509,
            Self::Random(seed) => 1 + (seed as usize * 7919 + sent) % 6007,
            Self::Whole | Self::At(..) => 8192,
        }
    }
}

fn random(seed: u32, text: &[u8]) -> Vec<Vec<u8>> {
    let mut state = seed;
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let (piece, behind) = rest.split_at(((state >> 16) as usize % 23 + 1).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = behind;
    }
    pieces
}
