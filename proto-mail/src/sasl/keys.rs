//! What a server keeps of a password for SCRAM (RFC 5802 §3): salt, iterations, StoredKey, ServerKey.
//!
//! With these keys nobody can log in, and a password can only be guessed at the price of the iterations. A file of
//! keys still has to be guarded: who has ServerKey can pose as the server.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::hash::ScramHash;
use subtle::ConstantTimeEq;

use super::{SaslError, decode_base64, encode_base64};
use crate::Secret;

/// The fewest iterations that are made, kept or obeyed (RFC 7677 §4).
pub const MIN_ITERATIONS: u32 = 4096;
/// The most iterations that are made, kept or obeyed: about a second of computing. A server that asks for more would
/// have its client stand still. A fuzzer, which would ask for that all the time, gets a hundredth.
pub const MAX_ITERATIONS: u32 = if cfg!(fuzzing) { 10_000 } else { 1_000_000 };

/// The longest password, name or salt, in octets.
pub(super) const MAX_LEN: usize = 1024;

/// The shortest and longest salt that a server may keep, in octets.
const SALT: core::ops::RangeInclusive<usize> = 1..=64;

/// What is kept of a password: enough to check it and not enough to use it.
pub struct ScramKeys {
    pub(super) hash: ScramHash,
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Secret<Vec<u8>>,
    pub(super) server_key: Secret<Vec<u8>>,
    /// Nobody has these keys: no proof is good.
    pub(super) decoy: bool,
}

impl ScramKeys {
    /// Makes the keys of a password. Takes about a microsecond per iteration.
    ///
    /// # Errors
    /// [`SaslError::UnencodableCredentials`] if SASLprep refuses the password (RFC 4013) or it is empty or longer than 1024 octets;
    /// [`SaslError::IterationCount`] outside of [`MIN_ITERATIONS`]`..=`[`MAX_ITERATIONS`]; [`SaslError::Malformed`] for a
    /// salt of no octets or more than 64. Take 16 random ones.
    pub fn derive(hash: ScramHash, password: &str, salt: &[u8], iterations: u32) -> Result<Self, SaslError> {
        check(iterations, salt)?;
        let password = prepare(password)?;
        let salted = hash.salted(password.expose().as_bytes(), salt, iterations);
        let client_key = hash.hmac(salted.expose(), &[b"Client Key"]);
        Ok(Self {
            hash,
            iterations,
            salt: salt.into(),
            stored_key: hash.digest(client_key.expose()),
            server_key: hash.hmac(salted.expose(), &[b"Server Key"]),
            decoy: false,
        })
    }

    /// Keys for a user that does not exist: always the same salt for the same name, so that asking twice tells nothing,
    /// and no password is right. `secret` is the server's own, random and kept as long as its accounts are; `iterations`
    /// are what its other users have, and `salt` has as many octets (at most 20) as theirs.
    #[must_use]
    pub fn decoy(
        hash: ScramHash,
        secret: &Secret<Vec<u8>>,
        username: &str,
        iterations: u32,
        salt_len: usize,
    ) -> Self {
        let name = username.as_bytes();
        let mut salt = hash.hmac(secret.expose(), &[b"salt", name]).expose().clone();
        salt.truncate(salt_len.max(1));
        Self {
            hash,
            iterations: iterations.clamp(MIN_ITERATIONS, MAX_ITERATIONS),
            salt,
            stored_key: hash.hmac(secret.expose(), &[b"stored", name]),
            server_key: hash.hmac(secret.expose(), &[b"server", name]),
            decoy: true,
        }
    }

    /// Whether these are the keys of this password. Costs what [`derive`](Self::derive) costs, whatever the outcome, and
    /// compares in constant time. Never for a [`decoy`](Self::decoy).
    ///
    /// # Errors
    /// As for [`derive`](Self::derive).
    pub fn verify_password(&self, password: &str) -> Result<bool, SaslError> {
        let derived = Self::derive(self.hash, password, &self.salt, self.iterations)?;
        let same = derived.stored_key.expose().ct_eq(self.stored_key.expose());
        Ok(bool::from(same) && !self.decoy)
    }

    /// Which hash they are of.
    #[must_use]
    pub const fn hash(&self) -> ScramHash {
        self.hash
    }

    /// Writes them down: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, the last three in base64, as other
    /// servers keep them.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        let base64 = |bytes: &[u8]| {
            let line = encode_base64(bytes);
            Secret::new(String::from_utf8_lossy(line.expose()).into_owned())
        };
        Secret::new(alloc::format!(
            "{}${}:{}${}:{}",
            scheme(self.hash),
            self.iterations,
            base64(&self.salt).expose(),
            base64(self.stored_key.expose()).expose(),
            base64(self.server_key.expose()).expose()
        ))
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    /// [`SaslError::Malformed`] if it is not of that form, [`SaslError::IterationCount`] as in [`derive`](Self::derive).
    pub fn from_text(text: &str) -> Result<Self, SaslError> {
        let mut parts = text.split('$');
        let (Some(name), Some(how), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SaslError::Malformed);
        };
        let hash = [ScramHash::Sha1, ScramHash::Sha256]
            .into_iter()
            .find(|hash| scheme(*hash) == name)
            .ok_or(SaslError::Malformed)?;
        let (iterations, salt) = how.split_once(':').ok_or(SaslError::Malformed)?;
        let (stored, server) = keys.split_once(':').ok_or(SaslError::Malformed)?;
        let iterations = number(iterations)?;
        let salt = decode_base64(salt.as_bytes())?.expose().clone();
        check(iterations, &salt)?;
        let (stored_key, server_key) = (decode_base64(stored.as_bytes())?, decode_base64(server.as_bytes())?);
        if [&stored_key, &server_key].iter().any(|key| key.expose().len() != hash.output_len()) {
            return Err(SaslError::Malformed);
        }
        Ok(Self { hash, iterations, salt, stored_key, server_key, decoy: false })
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// `posit-number`
pub(super) fn number(text: &str) -> Result<u32, SaslError> {
    if text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) || text.is_empty() {
        return Err(SaslError::Malformed);
    }
    // What does not fit is too much.
    text.parse().map_err(|_| SaslError::IterationCount)
}

/// A name or password by SASLprep (RFC 4013). The result is wiped when it is dropped. Where it differs from ASCII, the
/// tables' crate makes it in memory that grows: pieces of up to half of it may stay behind, where nobody can wipe them.
pub(super) fn prepare(text: &str) -> Result<Secret<String>, SaslError> {
    if text.len() > MAX_LEN {
        return Err(SaslError::UnencodableCredentials);
    }
    match saslprep(text)? {
        prepared if prepared.is_empty() => Err(SaslError::UnencodableCredentials),
        prepared => Ok(Secret::new(prepared.into_owned())),
    }
}

#[cfg(feature = "saslprep")]
fn saslprep(text: &str) -> Result<Cow<'_, str>, SaslError> {
    stringprep::saslprep(text).map_err(|_| SaslError::UnencodableCredentials)
}

/// Without the tables: ASCII as it is, and nothing else. What is refused here would be another password for a server that
/// has them, and be it only by chance the same.
#[cfg(not(feature = "saslprep"))]
fn saslprep(text: &str) -> Result<Cow<'_, str>, SaslError> {
    let good = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    if good { Ok(Cow::Borrowed(text)) } else { Err(SaslError::UnencodableCredentials) }
}

const fn scheme(hash: ScramHash) -> &'static str {
    match hash {
        ScramHash::Sha1 => "SCRAM-SHA-1",
        ScramHash::Sha256 => "SCRAM-SHA-256",
    }
}

fn check(iterations: u32, salt: &[u8]) -> Result<(), SaslError> {
    if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
        return Err(SaslError::IterationCount);
    }
    if SALT.contains(&salt.len()) { Ok(()) } else { Err(SaslError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of RFC 7677's example as other servers keep them.
    const KEPT: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn keys_are_what_other_servers_keep() {
        let salt = decode_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::derive(ScramHash::Sha256, "pencil", salt.expose(), 4096).unwrap();
        assert_eq!(keys.to_text().expose(), KEPT);
        assert_eq!(ScramKeys::from_text(KEPT).unwrap().to_text().expose(), KEPT);
        assert!(!alloc::format!("{keys:?}").contains("WG5d"));
    }

    #[test]
    fn what_was_not_written_by_us_is_not_read() {
        let bad = [
            KEPT.replace("SHA-256", "SHA-512"),
            KEPT.replace("4096", "0"),
            KEPT.replace("4096", "+4096"),
            KEPT.replace("4096", "4095"),
            KEPT.replace("4096", "1000001"),
            KEPT.replace("4096", "99999999999"),
            KEPT.replace("SHA-256", "SHA-1"),
            KEPT.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            KEPT.replace("2dU=", ""),
            alloc::format!("{KEPT}$"),
            String::new(),
        ];
        for text in bad {
            assert!(ScramKeys::from_text(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_decoy_is_steady_and_looks_like_the_rest() {
        let secret = Secret::new(alloc::vec![7; 32]);
        let decoy = |name: &str| ScramKeys::decoy(ScramHash::Sha256, &secret, name, 4096, 16);
        assert_eq!(decoy("bob").salt, decoy("bob").salt);
        assert_ne!(decoy("bob").salt, decoy("eve").salt);
        assert_eq!((decoy("bob").salt.len(), decoy("bob").iterations), (16, 4096));
    }

    #[test]
    #[cfg(not(feature = "saslprep"))]
    fn without_the_tables_only_ascii_is_taken() {
        for good in ["user", "USER", " ~", "p ncil"] {
            assert_eq!(prepare(good).unwrap().expose(), good);
        }
        for bad in ["\u{ad}x", "j\u{fc}rgen", "\u{2168}", "\u{7f}", "\u{7}", "", "a\0"] {
            assert_eq!(prepare(bad).err(), Some(SaslError::UnencodableCredentials), "{bad:?}");
            let keys = ScramKeys::derive(ScramHash::Sha256, bad, b"salt", MIN_ITERATIONS);
            assert_eq!(keys.err(), Some(SaslError::UnencodableCredentials), "{bad:?}");
        }
    }

    #[test]
    #[cfg(feature = "saslprep")]
    fn the_examples_of_rfc_4013() {
        let prepared = |text| prepare(text).map(|text| text.expose().clone());
        assert_eq!(prepared("I\u{ad}X").unwrap(), "IX");
        assert_eq!(prepared("user").unwrap(), "user");
        assert_eq!(prepared("USER").unwrap(), "USER");
        assert_eq!(prepared("\u{aa}").unwrap(), "a");
        assert_eq!(prepared("\u{2168}").unwrap(), "IX");
        for bad in ["\u{7}", "\u{627}1", "", "\u{ad}"] {
            assert_eq!(prepared(bad), Err(SaslError::UnencodableCredentials), "{bad:?}");
        }
    }
}
