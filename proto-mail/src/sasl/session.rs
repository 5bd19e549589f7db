//! What the exchanges of one session share: what they can be bound to, and where their nonces come from.
//!
//! This file makes nonces out of a seed that the driver gave with [`Secure`]; it knows no source of randomness itself.
//! A session without a seed speaks no mechanism that needs a nonce.

use alloc::string::String;

use super::hash::ScramHash;
use super::{Mechanism, Mechanisms, encode};
use crate::{ChannelBinding, Secret, Secure};

/// How many octets of a nonce are random.
const NONCE: usize = 24;

/// What the exchanges of one session share.
#[derive(Debug, Default)]
pub struct Session {
    binding: ChannelBinding,
    seed: Option<Secret<[u8; 32]>>,
    count: u64,
}

impl Session {
    /// A session with nothing to be bound to and no nonces: what there is on cleartext.
    #[must_use]
    pub fn cleartext() -> Self {
        Self::default()
    }

    /// A session over this channel.
    #[must_use]
    pub fn of(secure: &Secure) -> Self {
        let seed = secure.seed().map(|seed| Secret::new(*seed.expose()));
        Self { binding: secure.binding().clone(), seed, count: 0 }
    }

    /// The mechanisms that can be spoken here: SCRAM needs a nonce, `-PLUS` something to be bound to.
    #[must_use]
    pub fn usable(&self) -> Mechanisms {
        let usable = |mechanism: &Mechanism| {
            (mechanism.hash().is_none() || self.seed.is_some())
                && (!mechanism.binds() || self.binding != ChannelBinding::None)
        };
        Mechanism::ALL.into_iter().filter(usable).collect()
    }

    /// What there is to be bound to.
    #[must_use]
    pub const fn binding(&self) -> &ChannelBinding {
        &self.binding
    }

    /// A nonce that was not there before: 32 printable characters, no comma among them. `None` without a seed.
    #[must_use]
    pub fn nonce(&mut self) -> Option<String> {
        let seed = self.seed.as_ref()?;
        self.count = self.count.checked_add(1)?;
        let octets = ScramHash::Sha256.hmac(seed.expose(), &[b"nonce", &self.count.to_be_bytes()]);
        let nonce = encode(octets.expose().get(..NONCE)?);
        core::str::from_utf8(nonce.expose()).map(String::from).ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A session that can speak everything.
    pub(in crate::sasl) fn bound(seed: u8) -> Session {
        Session::of(&Secure::tls(ChannelBinding::TlsExporter([9; 32])).with_seed([seed; 32]))
    }

    #[test]
    fn nonces_differ_and_need_a_seed() {
        let mut one = Session::of(&Secure::trusted_local().with_seed([1; 32]));
        let mut other = Session::of(&Secure::trusted_local().with_seed([2; 32]));
        let nonces = [one.nonce(), one.nonce(), other.nonce()].map(Option::unwrap);
        assert!(nonces.iter().all(|nonce| nonce.len() == 32 && !nonce.contains(',')), "{nonces:?}");
        assert!(nonces[0] != nonces[1] && nonces[0] != nonces[2]);
        assert_eq!(Session::cleartext().nonce(), None);
        assert_eq!(Session::of(&Secure::trusted_local()).nonce(), None);
    }

    #[test]
    fn what_cannot_be_spoken_is_not_usable() {
        let bound = Secure::tls(ChannelBinding::TlsExporter([7; 32])).with_seed([1; 32]);
        assert_eq!(Session::of(&bound).usable(), Mechanisms::all());
        let unbound = Session::of(&Secure::trusted_local().with_seed([1; 32])).usable();
        assert!(unbound.contains(Mechanism::ScramSha256) && !unbound.contains(Mechanism::ScramSha256Plus));
        let none = Session::cleartext().usable();
        assert!(none.contains(Mechanism::Plain) && !none.contains(Mechanism::ScramSha256));
    }
}
