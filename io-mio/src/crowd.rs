//! How many connections there are, and whether there may be one more.
//!
//! This file counts. What becomes of a connection it does not know.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

/// The limits of a reactor.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReactorLimits {
    /// The most connections at a time. One too many is told so and closed.
    pub connections: usize,
    /// So many of those that are too many are told so as the protocol wants it, under TLS where that comes first, at a
    /// time. The others are cut off. 32 unless set: a handshake costs more than a word.
    pub turned_away: usize,
    /// The most connections at a time from one address (IPv6: one /64 network).
    pub connections_per_address: usize,
}

impl Default for ReactorLimits {
    fn default() -> Self {
        Self { connections: 10_000, turned_away: 32, connections_per_address: 1_000 }
    }
}

/// Whether a connection may become a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Admission {
    #[default]
    Welcome,
    /// There are too many. It is told so as its protocol wants it, and closed.
    TurnedAway,
}

/// Everybody who is there.
#[derive(Debug)]
pub(crate) struct Crowd {
    limits: ReactorLimits,
    welcome: usize,
    turned_away: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Crowd {
    /// Nobody, and at most so many connections in all, whatever the limits say.
    pub(crate) fn new(mut limits: ReactorLimits, most: usize) -> Self {
        limits.turned_away = limits.turned_away.min(most / 2);
        limits.connections = limits.connections.min(most - limits.turned_away);
        Self { limits, welcome: 0, turned_away: 0, by_address: HashMap::new() }
    }

    /// What becomes of one from this address; none: it is cut off. Where an address says nothing of who comes
    /// (`counts`), it has no limit of its own.
    pub(crate) fn admits(&self, address: IpAddr, counts: bool) -> Option<Admission> {
        let here = self.by_address.get(&network(address)).copied().unwrap_or(0);
        let room = self.welcome < self.limits.connections;
        if room && (!counts || here < self.limits.connections_per_address) {
            Some(Admission::Welcome)
        } else {
            (self.turned_away < self.limits.turned_away).then_some(Admission::TurnedAway)
        }
    }

    pub(crate) fn enter(&mut self, address: IpAddr, admission: Admission) {
        match admission {
            Admission::Welcome => {
                *self.by_address.entry(network(address)).or_default() += 1;
                self.welcome += 1;
            }
            Admission::TurnedAway => self.turned_away += 1,
        }
    }

    pub(crate) fn leave(&mut self, address: IpAddr, admission: Admission) {
        if admission == Admission::TurnedAway {
            self.turned_away -= 1;
            return;
        }
        let network = network(address);
        if let Some(count) = self.by_address.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&network);
            }
        }
        self.welcome -= 1;
    }

    /// How many may stay.
    pub(crate) const fn sessions(&self) -> usize {
        self.welcome
    }
}

/// What counts as one address: in IPv6 a subscriber has a /64 network at least.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_network_counts_as_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn those_who_are_turned_away_take_nobodys_place() {
        let limits = ReactorLimits { connections: 2, turned_away: 1, connections_per_address: 1 };
        let mut crowd = Crowd::new(limits, 100);
        let (here, there): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        crowd.enter(here, Admission::Welcome);
        assert_eq!(crowd.admits(here, true), Some(Admission::TurnedAway));
        assert_eq!(crowd.admits(here, false), Some(Admission::Welcome));
        crowd.enter(here, Admission::TurnedAway);
        assert_eq!((crowd.admits(here, true), crowd.sessions()), (None, 1));
        assert_eq!(crowd.admits(there, true), Some(Admission::Welcome));
        crowd.leave(here, Admission::TurnedAway);
        assert_eq!((crowd.admits(here, true), crowd.sessions()), (Some(Admission::TurnedAway), 1));
        crowd.leave(here, Admission::Welcome);
        assert_eq!((crowd.admits(here, true), crowd.sessions()), (Some(Admission::Welcome), 0));
    }
}
