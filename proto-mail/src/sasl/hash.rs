//! The hash functions of SCRAM, with HMAC and `Hi` (RFC 5802 §2.2). Every result is a [`Secret`].

use alloc::vec::Vec;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::Secret;

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScramHash {
    /// SCRAM-SHA-1 (RFC 5802).
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
}

impl ScramHash {
    /// Returns the length of the output, in bytes.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// `H(str)`
    pub(super) fn digest(self, bytes: &[u8]) -> Secret<Vec<u8>> {
        #[cfg(test)]
        work::done(("digest", bytes.len()));
        Secret::new(match self {
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
        })
    }

    /// `HMAC(key, str)`, where `str` is the concatenation of the pieces.
    pub(super) fn hmac(self, key: &[u8], pieces: &[&[u8]]) -> Secret<Vec<u8>> {
        #[cfg(test)]
        work::done(("hmac", pieces.iter().map(|piece| piece.len()).sum()));
        match self {
            Self::Sha1 => {
                let key = self.block(key);
                mac(Hmac::<Sha1>::new(key.expose().into()), pieces)
            }
            Self::Sha256 => {
                let key = self.block(key);
                mac(Hmac::<Sha256>::new(key.expose().into()), pieces)
            }
        }
    }

    /// `Hi(str, salt, i)`
    pub(super) fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Secret<Vec<u8>> {
        #[cfg(test)]
        work::done(("iterations", iterations as usize));
        let mut salted = alloc::vec![0; self.output_len()];
        match self {
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut salted),
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted),
        }
        Secret::new(salted)
    }

    /// A key as HMAC uses it (RFC 2104 §2): one block, padded with zeros. `Hmac` accepts every key of that length.
    pub(super) fn block(self, key: &[u8]) -> Secret<[u8; 64]> {
        let mut block = [0; 64];
        let hashed = (key.len() > block.len()).then(|| self.digest(key));
        let key = hashed.as_ref().map_or(key, |hashed| hashed.expose());
        for (place, byte) in block.iter_mut().zip(key) {
            *place = *byte;
        }
        let kept = Secret::new(block);
        block.zeroize();
        kept
    }
}

/// Compares two secrets in a time that depends on their lengths only.
pub(super) fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// `one XOR other`, of equal lengths.
pub(super) fn xor(one: &[u8], other: &[u8]) -> Secret<Vec<u8>> {
    Secret::new(one.iter().zip(other).map(|(one, other)| one ^ other).collect())
}

fn mac<M: Mac>(mut mac: M, pieces: &[&[u8]]) -> Secret<Vec<u8>> {
    for piece in pieces {
        mac.update(piece);
    }
    Secret::new(mac.finalize().into_bytes().to_vec())
}

/// Records what was computed and on how many bytes. A test can compare that, unlike time.
#[cfg(test)]
pub(super) mod work {
    extern crate std;

    use alloc::vec::Vec;
    use core::cell::RefCell;

    type Work = (&'static str, usize);

    std::thread_local! {
        static DONE: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
    }

    pub(in crate::sasl) fn done(work: Work) {
        DONE.with_borrow_mut(|all| all.push(work));
    }

    /// Returns what this thread has computed since the last call.
    pub(in crate::sasl) fn take() -> Vec<Work> {
        DONE.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &Secret<Vec<u8>>) -> alloc::string::String {
        bytes.expose().iter().map(|byte| alloc::format!("{byte:02x}")).collect()
    }

    #[test]
    fn computes_hmac_of_rfc_2202_and_rfc_4231() {
        let data: &[&[u8]] = &[b"what do ya want ", b"for nothing?"];
        assert_eq!(hex(&ScramHash::Sha1.hmac(b"Jefe", data)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(
            hex(&ScramHash::Sha256.hmac(b"Jefe", data)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let long: &[&[u8]] = &[b"Test Using Larger Than Block-Size Key - Hash Key First"];
        assert_eq!(
            hex(&ScramHash::Sha256.hmac(&[0xaa; 131], long)),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn hashes_only_keys_longer_than_a_block() {
        let of = |len: usize| hex(&ScramHash::Sha256.hmac(&alloc::vec![0xaa; len], &[b"one block"]));
        assert_eq!(of(64), "19213583a49be8ad5dc330ed9811806a44ab783a9947612ff7404f2904565461");
        assert_eq!(of(65), "f8094d88745fc11f69788d7696bb9c95e724761471e063c3a29ce7b838cf1e1c");
    }

    #[test]
    fn computes_pbkdf2_of_rfc_6070() {
        let salted = ScramHash::Sha1.salted(b"password", b"salt", 4096);
        assert_eq!(hex(&salted), "4b007901b765489abead49d926f721d065a429c1");
    }

    #[test]
    fn values_of_different_lengths_are_not_equal() {
        assert!(constant_time_eq(b"abc", b"abc"));
        for other in [&b""[..], b"ab", b"abd", b"abcd"] {
            assert!(!constant_time_eq(b"abc", other));
        }
    }
}
