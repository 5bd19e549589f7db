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
    pub refused_connections: usize,
    /// The most connections at a time from one address (IPv6: one /64 network). Behind a proxy, this is the address that
    /// the proxy announces.
    pub connections_per_address: usize,
    /// The most connections at a time whose clients have still to log in. The others are kept for those who have. As many
    /// as all of them unless set.
    pub connections_before_login: usize,
}

impl Default for ReactorLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            refused_connections: 32,
            connections_per_address: 1_000,
            connections_before_login: usize::MAX,
        }
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

/// As what a connection counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry {
    pub(crate) admission: Admission,
    /// The client's address, as soon as it is known.
    pub(crate) address: Option<IpAddr>,
    /// Whether the client has still to log in.
    pub(crate) awaits_login: bool,
}

/// Everybody who is there.
#[derive(Debug)]
pub(crate) struct AdmissionControl {
    limits: ReactorLimits,
    /// The most connections that are possible at all.
    most: usize,
    welcome: usize,
    /// Those of them that have still to log in.
    before_login: usize,
    refused_connections: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl AdmissionControl {
    /// Nobody, and at most so many connections in all, whatever the limits say.
    pub(crate) fn new(limits: ReactorLimits, most: usize) -> Self {
        let mut this = Self {
            limits,
            most,
            welcome: 0,
            before_login: 0,
            refused_connections: 0,
            by_address: HashMap::new(),
        };
        this.set_limits(this.limits.clone());
        this
    }

    /// Other limits from now on. Connections that are there stay.
    pub(crate) fn set_limits(&mut self, mut limits: ReactorLimits) {
        limits.refused_connections = limits.refused_connections.min(self.most / 2);
        limits.connections = limits.connections.min(self.most - limits.refused_connections);
        self.limits = limits;
    }

    /// What becomes of one from this address; none: it is cut off. Without an address, since a proxy has still to
    /// announce it, only the limits of all count.
    pub(crate) fn admits(&self, address: Option<IpAddr>) -> Option<Admission> {
        let room = self.welcome < self.limits.connections
            && self.before_login < self.limits.connections_before_login;
        if room && address.is_none_or(|address| self.has_room(address)) {
            Some(Admission::Welcome)
        } else {
            self.may_turn_away().then_some(Admission::TurnedAway)
        }
    }

    /// Whether one from this address lacks only a place, and one whose client has still to log in holds a place.
    pub(crate) fn lacks_place(&self, address: Option<IpAddr>) -> bool {
        let full = self.welcome >= self.limits.connections
            || self.before_login >= self.limits.connections_before_login;
        full && self.before_login > 0 && address.is_none_or(|address| self.has_room(address))
    }

    fn has_room(&self, address: IpAddr) -> bool {
        let here = self.by_address.get(&network(address)).copied().unwrap_or(0);
        here < self.limits.connections_per_address
    }

    const fn may_turn_away(&self) -> bool {
        self.refused_connections < self.limits.refused_connections
    }

    pub(crate) fn enter(&mut self, entry: Entry) {
        match entry.admission {
            Admission::Welcome => {
                self.welcome += 1;
                self.before_login += usize::from(entry.awaits_login);
                self.count(entry.address);
            }
            Admission::TurnedAway => self.refused_connections += 1,
        }
    }

    fn count(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address {
            *self.by_address.entry(network(address)).or_default() += 1;
        }
    }

    /// A proxy has announced for whom a connection is. None: it is cut off, and nothing has changed.
    pub(crate) fn announce(&mut self, entry: &mut Entry, address: IpAddr) -> Option<Admission> {
        if entry.admission == Admission::Welcome {
            if self.has_room(address) {
                entry.address = Some(address);
                self.count(entry.address);
            } else if self.may_turn_away() {
                self.leave(*entry);
                entry.admission = Admission::TurnedAway;
                self.enter(*entry);
            } else {
                return None;
            }
        }
        Some(entry.admission)
    }

    /// The client of a connection has logged in.
    pub(crate) fn logged_in(&mut self, entry: &mut Entry) {
        if std::mem::take(&mut entry.awaits_login) && entry.admission == Admission::Welcome {
            self.before_login -= 1;
        }
    }

    pub(crate) fn leave(&mut self, entry: Entry) {
        if entry.admission == Admission::TurnedAway {
            self.refused_connections -= 1;
            return;
        }
        if let Some(network) = entry.address.map(network)
            && let Some(count) = self.by_address.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&network);
            }
        }
        self.before_login -= usize::from(entry.awaits_login);
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

    fn entry(address: Option<IpAddr>, admission: Admission) -> Entry {
        Entry { admission, address, awaits_login: false }
    }

    #[test]
    fn those_who_are_turned_away_take_nobodys_place() {
        let limits = ReactorLimits {
            connections: 2,
            refused_connections: 1,
            connections_per_address: 1,
            ..Default::default()
        };
        let mut admission = AdmissionControl::new(limits, 100);
        let (here, there): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        admission.enter(entry(Some(here), Admission::Welcome));
        assert_eq!(admission.admits(Some(here)), Some(Admission::TurnedAway));
        assert_eq!(admission.admits(None), Some(Admission::Welcome));
        admission.enter(entry(Some(here), Admission::TurnedAway));
        assert_eq!((admission.admits(Some(here)), admission.sessions()), (None, 1));
        assert_eq!(admission.admits(Some(there)), Some(Admission::Welcome));
        admission.leave(entry(Some(here), Admission::TurnedAway));
        assert_eq!((admission.admits(Some(here)), admission.sessions()), (Some(Admission::TurnedAway), 1));
        admission.leave(entry(Some(here), Admission::Welcome));
        assert_eq!((admission.admits(Some(here)), admission.sessions()), (Some(Admission::Welcome), 0));
    }

    #[test]
    fn an_announced_address_has_its_own_limit() {
        let limits =
            ReactorLimits { refused_connections: 1, connections_per_address: 1, ..Default::default() };
        let mut admission = AdmissionControl::new(limits, 100);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let mut entries = [entry(None, Admission::Welcome); 3];
        entries.iter().for_each(|entry| admission.enter(*entry));
        let announced = entries.each_mut().map(|entry| admission.announce(entry, client));
        assert_eq!(announced, [Some(Admission::Welcome), Some(Admission::TurnedAway), None]);
        assert_eq!(admission.sessions(), 2);
        entries.into_iter().for_each(|entry| admission.leave(entry));
        assert_eq!((admission.sessions(), admission.admits(Some(client))), (0, Some(Admission::Welcome)));
    }

    #[test]
    fn places_are_kept_for_those_who_have_logged_in() {
        let limits = ReactorLimits { connections: 3, connections_before_login: 2, ..Default::default() };
        let mut admission = AdmissionControl::new(limits, 100);
        let waiting = Entry { awaits_login: true, ..Entry::default() };
        let mut first = waiting;
        admission.enter(first);
        admission.enter(waiting);
        assert_eq!(admission.admits(None), Some(Admission::TurnedAway));
        admission.logged_in(&mut first);
        admission.logged_in(&mut first);
        assert_eq!(admission.admits(None), Some(Admission::Welcome));
        admission.leave(first);
        admission.leave(waiting);
        assert_eq!((admission.sessions(), admission.before_login), (0, 0));
    }
}
