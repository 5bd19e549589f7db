//! How a machine's input is split into reads.
//!
//! This module only knows lengths.

use crate::script::{Row, Step};

/// The number of random splits for each row.
const RANDOM: u32 = 20;
/// The number for rows with a flood, which take long.
const RANDOM_FLOODS: u32 = 3;

/// One way to split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// Each text in one read.
    Whole,
    /// Each byte in its own read.
    Bytes,
    /// The text with this number in two reads, split at this offset.
    At(usize, usize),
    /// At random, from this seed.
    Random(u32),
}

/// The ways to split a client's row, given the length of each text that is sent unasked.
pub(crate) fn ways(row: &Row, texts: &[usize]) -> Vec<Split> {
    let flooded = row.steps.iter().any(|step| matches!(step, Step::Repeat { .. }));
    let mut ways = vec![Split::Bytes];
    if flooded {
        ways.extend((0..RANDOM_FLOODS).map(Split::Random));
    } else {
        let each = texts.iter().enumerate();
        ways.extend(each.flat_map(|(text, &len)| (1..len).map(move |at| Split::At(text, at))));
        ways.extend((0..RANDOM).map(Split::Random));
    }
    ways
}

impl Split {
    /// The pieces of the text with this number.
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

    /// The pieces of an answer.
    pub(crate) fn answer(self, text: &[u8]) -> Vec<Vec<u8>> {
        match self {
            Self::Bytes => text.chunks(1).map(<[u8]>::to_vec).collect(),
            Self::Random(seed) => random(seed, text),
            Self::Whole | Self::At(..) if text.is_empty() => Vec::new(),
            Self::Whole | Self::At(..) => vec![text.to_vec()],
        }
    }

    /// How much of a flood comes at once, after so much of it has come.
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
