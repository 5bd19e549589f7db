//! Choosing a mechanism: the first of the caller's order that the server offers, the configuration allows, the channel
//! supports and the credentials fit; and for every other mechanism, why it was rejected.

use core::fmt;

use super::{Mechanism, Mechanisms, SaslContext};
use crate::Credentials;

/// The reason why a mechanism was not chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectedMechanism {
    /// It needs another kind of credentials.
    NeedsOtherCredentials,
    /// The server does not offer it.
    NotOffered,
    /// The configuration or the caller's order does not include it.
    NotAllowed,
    /// It needs a channel binding: TLS is not in place, or has none.
    NoChannelBinding,
    /// It needs a nonce, and the driver gave no seed with [`Secure`](crate::Secure).
    NoNonce,
    /// It can be used, but a preferred mechanism was chosen.
    LowerPreference,
}

/// The error that no mechanism can be used, with the reasons.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoMechanism {
    offered: Mechanisms,
    allowed: Mechanisms,
    usable: Mechanisms,
    fitting: Mechanisms,
}

impl NoMechanism {
    /// Returns why this mechanism cannot be used; `None` if it can.
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

    /// Returns every mechanism with the reason, strongest first.
    pub fn rejections(self) -> impl Iterator<Item = (Mechanism, RejectedMechanism)> {
        Mechanism::ALL.into_iter().filter_map(move |mechanism| Some((mechanism, self.rejection(mechanism)?)))
    }

    /// Returns true if the configuration or order names this mechanism and excludes others.
    fn is_named(&self, mechanism: Mechanism) -> bool {
        self.allowed != Mechanisms::all() && self.allowed.contains(mechanism)
    }

    /// Returns the mechanisms that the server offers.
    #[must_use]
    pub const fn offered(&self) -> Mechanisms {
        self.offered
    }
}

/// The chosen mechanism, and why every other one was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MechanismChoice {
    rejected: NoMechanism,
    chosen: Option<Mechanism>,
}

impl MechanismChoice {
    /// Returns the chosen mechanism; `None` if none can be used.
    #[must_use]
    pub const fn chosen(&self) -> Option<Mechanism> {
        self.chosen
    }

    /// Returns the chosen mechanism.
    ///
    /// # Errors
    /// No mechanism can be used; the error has the reasons.
    pub const fn into_result(self) -> Result<Mechanism, NoMechanism> {
        match self.chosen {
            Some(mechanism) => Ok(mechanism),
            None => Err(self.rejected),
        }
    }

    /// Returns every other mechanism with the reason, strongest first.
    pub fn rejections(self) -> impl Iterator<Item = (Mechanism, RejectedMechanism)> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.chosen != Some(*mechanism)).map(
            move |mechanism| {
                (mechanism, self.rejected.rejection(mechanism).unwrap_or(RejectedMechanism::LowerPreference))
            },
        )
    }
}

/// Chooses the first mechanism of `order` that the server offers and that can be used. [`Mechanism::ALL`] is the order
/// from the strongest to the weakest.
#[must_use]
pub fn choose_mechanism(
    order: &[Mechanism],
    offered: Mechanisms,
    allowed: Mechanisms,
    context: &SaslContext,
    credentials: &Credentials,
) -> MechanismChoice {
    let fitting = Mechanism::ALL.into_iter().filter(|mechanism| mechanism.accepts(credentials)).collect();
    let wanted = order.iter().copied().collect();
    let rejected = NoMechanism {
        offered,
        allowed: allowed.intersection(wanted),
        usable: context.usable_mechanisms(),
        fitting,
    };
    let is_good = |mechanism: &Mechanism| rejected.rejection(*mechanism).is_none();
    MechanismChoice { rejected, chosen: order.iter().copied().find(is_good) }
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
            Self::LowerPreference => "is less preferred",
        })
    }
}

impl core::error::Error for NoMechanism {}

impl fmt::Display for NoMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no mechanism can be used")?;
        // That a mechanism needs other credentials is of interest only if the caller named it.
        let reasons = self.rejections().filter(|(mechanism, why)| {
            *why != RejectedMechanism::NeedsOtherCredentials || self.is_named(*mechanism)
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
    fn each_rejected_mechanism_has_its_reason() {
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
    fn chooses_the_strongest_mechanism_or_follows_the_order() {
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
        let choice = choose_mechanism(&order, all, all, &session, &credentials);
        assert_eq!(choice.chosen(), Some(Mechanism::Login));
        let why = |mechanism| choice.rejections().find(|(other, _)| *other == mechanism).map(|(_, why)| why);
        assert_eq!(why(Mechanism::Login), None);
        assert_eq!(why(Mechanism::Plain), Some(RejectedMechanism::LowerPreference));
        assert_eq!(why(Mechanism::ScramSha256), Some(RejectedMechanism::NotAllowed));
        assert_eq!(why(Mechanism::XOAuth2), Some(RejectedMechanism::NeedsOtherCredentials));
        assert_eq!(choice.rejections().count(), Mechanism::ALL.len() - 1);
    }
}
