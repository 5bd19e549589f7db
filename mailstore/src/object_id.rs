//! Object identifiers (RFC 8474) that reveal nothing about the store.
//!
//! A row number would show how many messages all accounts have together. So an identifier is the account and the row
//! number, encrypted with a key of the store: a Feistel network of four rounds over 128 bits, with HMAC-SHA-256 as the
//! round function. A message of an account always has the same identifier, accounts share none, and an identifier is
//! decoded to its row without a search.

use sha2::{Digest, Sha256};

const ROUNDS: u8 = 4;

/// The block size of SHA-256, to which HMAC pads its key.
const BLOCK: usize = 64;

/// The characters of an identifier: those of base64url, in the order of their values (RFC 4648 §5).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The number of characters for 128 bits, six bits each.
const LENGTH: usize = 22;

/// Encodes and decodes the identifiers of one kind of object.
#[derive(Clone)]
pub(crate) struct ObjectIds {
    inner: Sha256,
    outer: Sha256,
}

impl std::fmt::Debug for ObjectIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ObjectIds")
    }
}

impl ObjectIds {
    /// Creates the codec for identifiers of `kind` under the store's secret.
    pub(crate) fn new(secret: &[u8], kind: &str) -> Self {
        let key = Sha256::new().chain_update(secret).chain_update(kind.as_bytes()).finalize();
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key.iter()).for_each(|(to, from)| *to ^= from);
            Sha256::new().chain_update(block)
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// Returns the identifier of a row of an account.
    pub(crate) fn encode(&self, account: i64, row: i64) -> String {
        let (mut left, mut right) = (to_bits(account), to_bits(row));
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        let mut bits = (u128::from(left) << 64) | u128::from(right);
        let mut text = [b'A'; LENGTH];
        for place in text.iter_mut().rev() {
            let value = usize::try_from(bits & 63).unwrap_or_default();
            *place = ALPHABET.get(value).copied().unwrap_or(b'A');
            bits >>= 6;
        }
        text.iter().map(|&byte| char::from(byte)).collect()
    }

    /// Returns the row of an identifier, or `None` if it is not an identifier of this account.
    pub(crate) fn decode(&self, account: i64, id: &str) -> Option<i64> {
        if id.len() != LENGTH {
            return None;
        }
        let mut bits = 0_u128;
        for byte in id.bytes() {
            let value = ALPHABET.iter().position(|one| *one == byte)?;
            // 22 characters have 132 bits: the first one has only two.
            bits = bits.checked_mul(64)?.checked_add(u128::try_from(value).ok()?)?;
        }
        let (mut left, mut right) =
            (u64::try_from(bits >> 64).ok()?, u64::try_from(bits & u128::from(u64::MAX)).ok()?);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        (left == to_bits(account)).then_some(i64::from_be_bytes(right.to_be_bytes()))
    }

    fn round(&self, round: u8, half: u64) -> u64 {
        let inner = self.inner.clone().chain_update([round]).chain_update(half.to_be_bytes()).finalize();
        let outer = self.outer.clone().chain_update(inner).finalize();
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(outer.iter()).for_each(|(to, from)| *to = *from);
        u64::from_be_bytes(bytes)
    }
}

fn to_bits(number: i64) -> u64 {
    u64::from_be_bytes(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_decode_only_for_their_account() {
        let ids = ObjectIds::new(b"secret", "email");
        let mut seen = std::collections::BTreeSet::new();
        for account in 1..20 {
            for row in (0..50).chain([i64::MAX]) {
                let id = ids.encode(account, row);
                assert!(id.len() == LENGTH && id.bytes().all(|byte| ALPHABET.contains(&byte)), "{id}");
                assert_eq!(ids.decode(account, &id), Some(row));
                assert_eq!(ids.decode(account + 1, &id), None, "another account's");
                assert!(seen.insert(id));
            }
        }
        let id = ids.encode(1, 1);
        assert_eq!(ids.encode(1, 1), id);
        assert_ne!(ObjectIds::new(b"other", "email").encode(1, 1), id);
        assert_ne!(ObjectIds::new(b"secret", "mailbox").encode(1, 1), id);
        for bad in [
            "",
            "1",
            "!aaaaaaaaaaaaaaaaaaaaa",
            "AAAAAAAAAAAAAAAAAAAAAA",
            "_____________________-",
            "éaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(ids.decode(1, bad), None, "{bad}");
        }
    }
}
