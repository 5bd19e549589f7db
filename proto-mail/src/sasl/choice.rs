//! Which mechanism: the first of an order that the server offers, the settings allow, the session can speak and the
//! credentials fit; and for every other one why not.

use core::fmt;

use super::{Mechanism, Mechanisms, SaslContext};
use crate::Credentials;

/// Why a mechanism was not chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectedMechanism {
    /// It proves something else than what the credentials hold.
    NeedsOtherCredentials,
    /// The server does not offer it.
    NotOffered,
    /// The settings, or the caller's order, leave it out.
    NotAllowed,
    /// There is nothing to bind it to: TLS is not in place, or gives no channel binding.
    NoChannelBinding,
    /// It needs a nonce, and the driver gave no randomness with [`Secure`](crate::Secure).
    NoNonce,
    /// It could be used, and another one that comes first was.
    LowerPreference,
}

/// No mechanism can be used, with the reasons.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoMechanism {
    offered: Mechanisms,
    allowed: Mechanisms,
    usable: Mechanisms,
    fitting: Mechanisms,
}

impl NoMechanism {
    /// Why this mechanism cannot be used; `None` if it can.
    #[must_use]
    pub const fn rejection(&self, mechanism: Mechanism) -> Option<RejectedMechanism> {
        if !self.fitting.contains(mechanism) {
            Some(RejectedMechanism::NeedsOtherCredentials)
        } else if !self.offered.contains(mechanism) {
            Some(RejectedMechanism::NotOffered)
        } else if !self.allowed.contains(mechanism) {
            Some(RejectedMechanism::NotAllowed)
        } else if self.usable.contains(mechanism) {
            None
        } else if mechanism.uses_channel_binding() {
            Some(RejectedMechanism::NoChannelBinding)
        } else {
            Some(RejectedMechanism::NoNonce)
        }
    }

    /// Every mechanism with its reason, strongest first.
    pub fn rejections(self) -> impl Iterator<Item = (Mechanism, RejectedMechanism)> {
        Mechanism::ALL.into_iter().filter_map(move |mechanism| Some((mechanism, self.rejection(mechanism)?)))
    }

    /// Whether the order has it, and some others not.
    fn was_named(&self, mechanism: Mechanism) -> bool {
        self.allowed != Mechanisms::all() && self.allowed.contains(mechanism)
    }

    /// What the server offers.
    #[must_use]
    pub const fn offered(&self) -> Mechanisms {
        self.offered
    }
}

/// Which mechanism was chosen, and of every other one why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MechanismChoice {
    facts: NoMechanism,
    chosen: Option<Mechanism>,
}

impl MechanismChoice {
    /// The mechanism; `None` if none can be used.
    #[must_use]
    pub const fn chosen(&self) -> Option<Mechanism> {
        self.chosen
    }

    /// The mechanism.
    ///
    /// # Errors
    /// There is none; the error knows the reasons.
    pub const fn into_result(self) -> Result<Mechanism, NoMechanism> {
        match self.chosen {
            Some(mechanism) => Ok(mechanism),
            None => Err(self.facts),
        }
    }

    /// Every other mechanism with its reason, strongest first.
    pub fn rejections(self) -> impl Iterator<Item = (Mechanism, RejectedMechanism)> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.chosen != Some(*mechanism)).map(
            move |mechanism| {
                (mechanism, self.facts.rejection(mechanism).unwrap_or(RejectedMechanism::LowerPreference))
            },
        )
    }
}

/// Weighs every mechanism: the first of `order` that the server offers and everybody can use is chosen.
#[must_use]
pub fn choose_mechanism(
    order: &[Mechanism],
    offered: Mechanisms,
    allowed: Mechanisms,
    session: &SaslContext,
    credentials: &Credentials,
) -> MechanismChoice {
    let fitting = Mechanism::ALL.into_iter().filter(|mechanism| mechanism.accepts(credentials)).collect();
    let wanted = order.iter().copied().collect();
    let facts = NoMechanism {
        offered,
        allowed: allowed.intersection(wanted),
        usable: session.usable_mechanisms(),
        fitting,
    };
    let is_good = |mechanism: &Mechanism| facts.rejection(*mechanism).is_none();
    MechanismChoice { facts, chosen: order.iter().copied().find(is_good) }
}

impl fmt::Debug for NoMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.rejections()).finish()
    }
}

impl fmt::Display for RejectedMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeedsOtherCredentials => "needs other credentials",
            Self::NotOffered => "is not offered",
            Self::NotAllowed => "is not allowed by the settings",
            Self::NoChannelBinding => "has no TLS channel to be bound to",
            Self::NoNonce => "needs randomness from the driver",
            Self::LowerPreference => "comes later",
        })
    }
}

impl fmt::Display for NoMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no mechanism can be used")?;
        // What needs other credentials is no news to whoever gave these, unless they asked for it.
        let reasons = self.rejections().filter(|(mechanism, why)| {
            *why != RejectedMechanism::NeedsOtherCredentials || self.was_named(*mechanism)
        });
        for (at, (mechanism, why)) in reasons.enumerate() {
            write!(f, "{}{mechanism} {why}", if at == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelBinding, Secure};

    #[test]
    fn every_mechanism_has_its_reason() {
        let session = SaslContext::secure(&Secure::trusted_local());
        let offered =
            [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain].into_iter().collect();
        let allowed: Mechanisms =
            Mechanism::ALL.into_iter().filter(|mechanism| *mechanism != Mechanism::Plain).collect();
        let credentials = Credentials::password("u", &b"p"[..]);
        let none = choose_mechanism(&Mechanism::ALL, offered, allowed, &session, &credentials)
            .into_result()
            .unwrap_err();
        for (mechanism, why) in [
            (Mechanism::ScramSha256Plus, RejectedMechanism::NoChannelBinding),
            (Mechanism::ScramSha256, RejectedMechanism::NoNonce),
            (Mechanism::Plain, RejectedMechanism::NotAllowed),
            (Mechanism::Login, RejectedMechanism::NotOffered),
            (Mechanism::XOAuth2, RejectedMechanism::NeedsOtherCredentials),
        ] {
            assert_eq!(none.rejection(mechanism), Some(why), "{mechanism}");
        }
        assert_eq!(none.rejections().count(), Mechanism::ALL.len());
        assert!(alloc::format!("{none}").contains("PLAIN is not allowed by the settings"), "{none}");
    }

    #[test]
    fn the_strongest_is_first_and_an_order_is_obeyed() {
        let session =
            SaslContext::secure(&Secure::tls(ChannelBinding::TlsExporter([1; 32])).with_seed([1; 32]));
        let credentials = Credentials::password("u", &b"p"[..]);
        let mut offered = Mechanisms::all();
        let mut chosen = alloc::vec::Vec::new();
        while let Ok(next) =
            choose_mechanism(&Mechanism::ALL, offered, Mechanisms::all(), &session, &credentials)
                .into_result()
        {
            chosen.push(next.name());
            offered = offered.iter().filter(|mechanism| *mechanism != next).collect();
        }
        let expected =
            ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN"];
        assert_eq!(chosen, expected);
        let order = [Mechanism::Login, Mechanism::Plain];
        let all = Mechanisms::all();
        assert_eq!(
            choose_mechanism(&order, all, all, &session, &credentials).into_result(),
            Ok(Mechanism::Login)
        );
        let weighed = choose_mechanism(&order, all, all, &session, &credentials);
        assert_eq!(weighed.chosen(), Some(Mechanism::Login));
        let why = |mechanism| weighed.rejections().find(|(other, _)| *other == mechanism).map(|(_, why)| why);
        assert_eq!(why(Mechanism::Login), None);
        assert_eq!(why(Mechanism::Plain), Some(RejectedMechanism::LowerPreference));
        assert_eq!(why(Mechanism::ScramSha256), Some(RejectedMechanism::NotAllowed));
        assert_eq!(why(Mechanism::XOAuth2), Some(RejectedMechanism::NeedsOtherCredentials));
        assert_eq!(weighed.rejections().count(), Mechanism::ALL.len() - 1);
    }
}
