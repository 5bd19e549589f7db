//! What the SASL exchanges of one session share: the channel binding, and the source of nonces.
//!
//! Nonces are derived from a seed that the driver gives with [`Secure`]. Without a seed, mechanisms that need a nonce
//! cannot be used.

use alloc::string::String;

use super::hash::ScramHash;
use super::{Mechanism, Mechanisms, encode_base64};
use crate::{ChannelBinding, Secret, Secure};

/// The random bytes of a nonce.
const NONCE: usize = 24;

/// What the SASL exchanges of one session share.
#[derive(Debug, Default)]
pub struct SaslContext {
    binding: ChannelBinding,
    seed: Option<Secret<[u8; 32]>>,
    count: u64,
}

impl SaslContext {
    /// Creates the context of a cleartext session: no channel binding, no nonces.
    #[must_use]
    pub fn cleartext() -> Self {
        Self::default()
    }

    /// Gives the exchanges 32 bytes of the session's own randomness, of which nonces are made.
    #[must_use]
    pub fn with_seed(mut self, seed: impl Into<Secret<[u8; 32]>>) -> Self {
        self.seed = Some(seed.into());
        self
    }

    /// Creates the context of a session on a secure channel.
    #[must_use]
    pub fn secure(secure: &Secure) -> Self {
        let seed = secure.seed().map(|seed| Secret::new(*seed.expose()));
        Self { binding: secure.binding().clone(), seed, count: 0 }
    }

    /// Returns the mechanisms that can be used: SCRAM needs a nonce, and its `-PLUS` forms a channel binding.
    #[must_use]
    pub fn usable_mechanisms(&self) -> Mechanisms {
        let usable = |mechanism: &Mechanism| {
            (mechanism.hash().is_none() || self.seed.is_some())
                && (!mechanism.uses_channel_binding() || self.binding != ChannelBinding::None)
        };
        Mechanism::ALL.into_iter().filter(usable).collect()
    }

    /// Returns the channel binding.
    #[must_use]
    pub const fn binding(&self) -> &ChannelBinding {
        &self.binding
    }

    /// Returns a new nonce: 32 printable characters without a comma. `None` without a seed.
    #[must_use]
    pub fn next_nonce(&mut self) -> Option<String> {
        let seed = self.seed.as_ref()?;
        self.count = self.count.checked_add(1)?;
        let bytes = ScramHash::Sha256.hmac(seed.expose(), &[b"nonce", &self.count.to_be_bytes()]);
        let nonce = encode_base64(bytes.expose().get(..NONCE)?);
        core::str::from_utf8(nonce.expose()).map(String::from).ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A context in which every mechanism can be used.
    pub(in crate::sasl) fn bound(seed: u8) -> SaslContext {
        SaslContext::secure(&Secure::tls(ChannelBinding::TlsExporter([9; 32])).with_seed([seed; 32]))
    }

    #[test]
    fn nonces_differ_and_need_a_seed() {
        let mut one = SaslContext::secure(&Secure::trusted_local().with_seed([1; 32]));
        let mut other = SaslContext::secure(&Secure::trusted_local().with_seed([2; 32]));
        let nonces = [one.next_nonce(), one.next_nonce(), other.next_nonce()].map(Option::unwrap);
        assert!(nonces.iter().all(|nonce| nonce.len() == 32 && !nonce.contains(',')), "{nonces:?}");
        assert!(nonces[0] != nonces[1] && nonces[0] != nonces[2]);
        assert_eq!(SaslContext::cleartext().next_nonce(), None);
        assert_eq!(SaslContext::secure(&Secure::trusted_local()).next_nonce(), None);
    }

    #[test]
    fn excludes_mechanisms_without_a_binding_or_nonce() {
        let bound = Secure::tls(ChannelBinding::TlsExporter([7; 32])).with_seed([1; 32]);
        assert_eq!(SaslContext::secure(&bound).usable_mechanisms(), Mechanisms::all());
        let unbound = SaslContext::secure(&Secure::trusted_local().with_seed([1; 32])).usable_mechanisms();
        assert!(unbound.contains(Mechanism::ScramSha256) && !unbound.contains(Mechanism::ScramSha256Plus));
        let none = SaslContext::cleartext().usable_mechanisms();
        assert!(none.contains(Mechanism::Plain) && !none.contains(Mechanism::ScramSha256));
    }
}
