//! `Hi(str, salt, i)` of SCRAM (RFC 5802 §2.2), computed in slices, so that a server that demands many iterations does not
//! hold the thread of an event loop.

use alloc::vec::Vec;
use core::fmt;

use hmac::Hmac;
use hmac::Mac;
use hmac::digest::KeyInit;
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroize;

use super::hash::ScramHash;
use crate::Secret;

/// How many iterations a slice computes: a few milliseconds. Most servers demand fewer, so that one slice is enough.
pub(super) const SLICE: u32 = 10_240;

/// A derivation in progress.
pub(super) struct Derivation {
    keyed: Keyed,
    /// `U1 XOR U2 XOR …`
    sum: Secret<Vec<u8>>,
    /// The last `Ui`.
    last: Secret<Vec<u8>>,
    /// The iterations that are left.
    left: u32,
}

/// HMAC with the password as its key.
enum Keyed {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
}

impl Derivation {
    /// Computes the first iteration. `iterations` is at least one.
    pub(super) fn start(hash: ScramHash, password: &[u8], salt: &[u8], iterations: u32) -> Self {
        #[cfg(test)]
        super::hash::work::done(("iterations", iterations as usize));
        let key = hash.block(password);
        let keyed = match hash {
            ScramHash::Sha1 => Keyed::Sha1(Hmac::new(key.expose().into())),
            ScramHash::Sha256 => Keyed::Sha256(Hmac::new(key.expose().into())),
        };
        let last = match &keyed {
            Keyed::Sha1(mac) => first(mac, salt),
            Keyed::Sha256(mac) => first(mac, salt),
        };
        let sum = Secret::new(last.expose().clone());
        Self { keyed, sum, last, left: iterations.saturating_sub(1) }
    }

    /// Computes one slice. Returns the derived bytes once all iterations are done.
    pub(super) fn advance(&mut self) -> Option<Secret<Vec<u8>>> {
        let count = self.left.min(SLICE);
        match &self.keyed {
            Keyed::Sha1(mac) => iterate(mac, count, &mut self.sum, &mut self.last),
            Keyed::Sha256(mac) => iterate(mac, count, &mut self.sum, &mut self.last),
        }
        self.left -= count;
        (self.left == 0).then(|| core::mem::replace(&mut self.sum, Secret::new(Vec::new())))
    }
}

/// `U1 = HMAC(password, salt + INT(1))`
fn first<M: Mac + Clone>(keyed: &M, salt: &[u8]) -> Secret<Vec<u8>> {
    let mut mac = keyed.clone();
    mac.update(salt);
    mac.update(&1_u32.to_be_bytes());
    Secret::new(mac.finalize().into_bytes().to_vec())
}

/// `Ui = HMAC(password, Ui-1)`, and adds each to the sum.
fn iterate<M: Mac + Clone>(keyed: &M, count: u32, sum: &mut Secret<Vec<u8>>, last: &mut Secret<Vec<u8>>) {
    let (mut total, mut block) = (sum.expose().clone(), last.expose().clone());
    for _ in 0..count {
        let mut mac = keyed.clone();
        mac.update(&block);
        block.copy_from_slice(&mac.finalize().into_bytes());
        for (sum, byte) in total.iter_mut().zip(&block) {
            *sum ^= byte;
        }
    }
    (*sum, *last) = (Secret::new(core::mem::take(&mut total)), Secret::new(core::mem::take(&mut block)));
    total.zeroize();
    block.zeroize();
}

impl fmt::Debug for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derivation").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_give_what_one_computation_gives() {
        for hash in [ScramHash::Sha1, ScramHash::Sha256] {
            for iterations in [1, 2, SLICE, SLICE + 1, SLICE + 2, 3 * SLICE] {
                for password in [&b"pencil"[..], &[0x55; 64], &[0xaa; 65]] {
                    let mut derivation = Derivation::start(hash, password, b"salt", iterations);
                    let (mut slices, mut derived) = (1, derivation.advance());
                    while derived.is_none() {
                        (slices, derived) = (slices + 1, derivation.advance());
                    }
                    assert_eq!(slices, (iterations - 1).div_ceil(SLICE).max(1), "{iterations}");
                    let whole = hash.salted(password, b"salt", iterations);
                    assert_eq!(derived.unwrap().expose(), whole.expose(), "{hash:?} {iterations}");
                }
            }
        }
    }
}
