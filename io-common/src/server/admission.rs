//! Admission control: how many connections there are, and whether there may be one more.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::address::address_block;

/// A client that has not logged in after this time makes room for a new one, if there is no other slot.
const LOGIN_GRACE: Duration = Duration::from_secs(1);

/// The limits on the connections of a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// The maximum number of connections. Further ones are refused and closed. Default: 10,000.
    pub connections: usize,
    /// How many connections are refused at a time with the protocol's reply, under TLS if that comes first. The others are
    /// cut off, because a handshake is expensive. Default: 32.
    pub refused_connections: usize,
    /// The maximum number of connections from one address (IPv6: one /64 network). Behind a proxy, this is the address
    /// that the proxy announces. Default: 1,000.
    pub connections_per_address: usize,
    /// The maximum number of connections whose clients have not logged in yet. The rest is reserved for clients that
    /// have. Default: no limit of its own.
    pub connections_before_login: usize,
}

impl Default for ConnectionLimits {
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
pub enum Admission {
    /// It becomes a session.
    #[default]
    Admitted,
    /// There are too many connections: refuse it with the protocol's reply, and close it.
    Refused,
}

/// How a connection is counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry {
    /// What was decided about it.
    pub admission: Admission,
    /// The client's address, once it is known.
    pub address: Option<IpAddr>,
    /// Whether the client has not logged in yet.
    pub awaits_login: bool,
}

/// Counts connections and decides about new ones.
#[derive(Debug)]
pub struct AdmissionControl {
    limits: ConnectionLimits,
    /// The maximum number of connections that the driver supports.
    capacity: usize,
    admitted: usize,
    /// How many of them have not logged in yet.
    before_login: usize,
    refused_connections: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl AdmissionControl {
    /// No connections, and never more than `capacity`, whatever the limits allow.
    pub fn new(limits: ConnectionLimits, capacity: usize) -> Self {
        let mut this = Self {
            limits,
            capacity,
            admitted: 0,
            before_login: 0,
            refused_connections: 0,
            by_address: HashMap::new(),
        };
        this.set_limits(this.limits.clone());
        this
    }

    /// Replaces the limits. Existing connections stay.
    pub fn set_limits(&mut self, mut limits: ConnectionLimits) {
        limits.refused_connections = limits.refused_connections.min(self.capacity / 2);
        limits.connections = limits.connections.min(self.capacity - limits.refused_connections);
        self.limits = limits;
    }

    /// Decides about a connection from this address. `None`: it is cut off. Without an address, which a proxy has still to
    /// announce, only the global limits count.
    pub fn decide(&self, address: Option<IpAddr>) -> Option<Admission> {
        let room = self.admitted < self.limits.connections
            && self.before_login < self.limits.connections_before_login;
        if room && address.is_none_or(|address| self.has_room(address)) {
            Some(Admission::Admitted)
        } else {
            self.may_refuse().then_some(Admission::Refused)
        }
    }

    /// Whether a connection from this address is refused only because the global limits are reached, and a connection
    /// whose client has not logged in could make room for it.
    pub fn lacks_room(&self, address: Option<IpAddr>) -> bool {
        let full = self.admitted >= self.limits.connections
            || self.before_login >= self.limits.connections_before_login;
        full && self.before_login > 0 && address.is_none_or(|address| self.has_room(address))
    }

    /// Returns which connection the driver closes when a new one [lacks room](Self::lacks_room). Its client has not logged in,
    /// and was accepted at least a second ago; of these, it is the oldest of the address with the most connections. Silent
    /// connections and connections that guess passwords therefore keep no new client out, and an address with many
    /// connections mostly closes its own.
    ///
    /// `connections` are all connections: the driver's key, how each is counted, and when it was accepted.
    pub fn gives_way<K: Ord>(
        &self,
        connections: impl IntoIterator<Item = (K, Entry, Instant)>,
        now: Instant,
    ) -> Option<K> {
        let candidates = connections.into_iter().filter(|(_, entry, accepted_at)| {
            entry.awaits_login
                && entry.admission == Admission::Admitted
                && now.saturating_duration_since(*accepted_at) >= LOGIN_GRACE
        });
        let ranked = candidates.map(|(key, entry, accepted_at)| {
            (Reverse(self.connections_from(entry.address)), accepted_at, key)
        });
        ranked.min().map(|(_, _, key)| key)
    }

    fn has_room(&self, address: IpAddr) -> bool {
        self.connections_from(Some(address)) < self.limits.connections_per_address
    }

    /// Returns how many connections come from this address (IPv6: from its /64 network). Without an address: 0.
    fn connections_from(&self, address: Option<IpAddr>) -> usize {
        address.and_then(|address| self.by_address.get(&address_block(address))).copied().unwrap_or(0)
    }

    const fn may_refuse(&self) -> bool {
        self.refused_connections < self.limits.refused_connections
    }

    /// Adds a connection.
    pub fn add(&mut self, entry: Entry) {
        match entry.admission {
            Admission::Admitted => {
                self.admitted += 1;
                self.before_login += usize::from(entry.awaits_login);
                self.count(entry.address);
            }
            Admission::Refused => self.refused_connections += 1,
        }
    }

    fn count(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address {
            *self.by_address.entry(address_block(address)).or_default() += 1;
        }
    }

    /// Sets the client's address that a proxy announced. `None`: the connection is cut off, and nothing has changed.
    pub fn set_client_address(&mut self, entry: &mut Entry, address: IpAddr) -> Option<Admission> {
        if entry.admission == Admission::Admitted {
            if self.has_room(address) {
                entry.address = Some(address);
                self.count(entry.address);
            } else if self.may_refuse() {
                self.remove(*entry);
                entry.admission = Admission::Refused;
                self.add(*entry);
            } else {
                return None;
            }
        }
        Some(entry.admission)
    }

    /// The client of a connection has logged in.
    pub fn logged_in(&mut self, entry: &mut Entry) {
        if std::mem::take(&mut entry.awaits_login) && entry.admission == Admission::Admitted {
            self.before_login -= 1;
        }
    }

    /// Removes a connection.
    pub fn remove(&mut self, entry: Entry) {
        if entry.admission == Admission::Refused {
            self.refused_connections -= 1;
            return;
        }
        if let Some(network) = entry.address.map(address_block)
            && let Some(count) = self.by_address.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&network);
            }
        }
        self.before_login -= usize::from(entry.awaits_login);
        self.admitted -= 1;
    }

    /// Returns how many connections are admitted.
    pub const fn sessions(&self) -> usize {
        self.admitted
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(address: Option<IpAddr>, admission: Admission) -> Entry {
        Entry { admission, address, awaits_login: false }
    }

    #[test]
    fn refused_connections_do_not_count_as_admitted() {
        let limits = ConnectionLimits {
            connections: 2,
            refused_connections: 1,
            connections_per_address: 1,
            ..Default::default()
        };
        let mut admission = AdmissionControl::new(limits, 100);
        let (here, there): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        admission.add(entry(Some(here), Admission::Admitted));
        assert_eq!(admission.decide(Some(here)), Some(Admission::Refused));
        assert_eq!(admission.decide(None), Some(Admission::Admitted));
        admission.add(entry(Some(here), Admission::Refused));
        assert_eq!((admission.decide(Some(here)), admission.sessions()), (None, 1));
        assert_eq!(admission.decide(Some(there)), Some(Admission::Admitted));
        admission.remove(entry(Some(here), Admission::Refused));
        assert_eq!((admission.decide(Some(here)), admission.sessions()), (Some(Admission::Refused), 1));
        admission.remove(entry(Some(here), Admission::Admitted));
        assert_eq!((admission.decide(Some(here)), admission.sessions()), (Some(Admission::Admitted), 0));
    }

    #[test]
    fn an_announced_address_has_its_own_limit() {
        let limits =
            ConnectionLimits { refused_connections: 1, connections_per_address: 1, ..Default::default() };
        let mut admission = AdmissionControl::new(limits, 100);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let mut entries = [entry(None, Admission::Admitted); 3];
        entries.iter().for_each(|entry| admission.add(*entry));
        let announced = entries.each_mut().map(|entry| admission.set_client_address(entry, client));
        assert_eq!(announced, [Some(Admission::Admitted), Some(Admission::Refused), None]);
        assert_eq!(admission.sessions(), 2);
        entries.into_iter().for_each(|entry| admission.remove(entry));
        assert_eq!((admission.sessions(), admission.decide(Some(client))), (0, Some(Admission::Admitted)));
    }

    #[test]
    fn reserves_connections_for_clients_that_have_logged_in() {
        let limits = ConnectionLimits { connections: 3, connections_before_login: 2, ..Default::default() };
        let mut admission = AdmissionControl::new(limits, 100);
        let waiting = Entry { awaits_login: true, ..Entry::default() };
        let mut first = waiting;
        admission.add(first);
        admission.add(waiting);
        assert_eq!(admission.decide(None), Some(Admission::Refused));
        admission.logged_in(&mut first);
        admission.logged_in(&mut first);
        assert_eq!(admission.decide(None), Some(Admission::Admitted));
        admission.remove(first);
        admission.remove(waiting);
        assert_eq!((admission.sessions(), admission.before_login), (0, 0));
    }

    #[test]
    fn the_oldest_waiting_client_of_the_busiest_address_gives_way() {
        let mut admission = AdmissionControl::new(ConnectionLimits::default(), 100);
        let (busy, quiet): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let begun = Instant::now();
        let connection = |key, address, awaits_login, seconds| {
            let entry = Entry { address: Some(address), awaits_login, ..Entry::default() };
            (key, entry, begun + Duration::from_secs(seconds))
        };
        let mut connections = vec![
            connection(1, quiet, true, 0),
            connection(2, busy, false, 0),
            connection(3, busy, true, 2),
            connection(4, busy, true, 1),
            connection(5, busy, true, 9),
        ];
        let refused = Entry { admission: Admission::Refused, awaits_login: true, ..Entry::default() };
        connections.push((6, refused, begun));
        connections.iter().for_each(|(_, entry, _)| admission.add(*entry));
        let mut gone = Vec::new();
        let now = begun + Duration::from_millis(9_999);
        while let Some(key) = admission.gives_way(connections.iter().copied(), now) {
            let at = connections.iter().position(|(one, ..)| *one == key).unwrap();
            admission.remove(connections.remove(at).1);
            gone.push(key);
        }
        assert_eq!(gone, [4, 3, 1], "clients that have logged in, are new or are refused stay");
        assert_eq!(admission.gives_way(connections, begun + Duration::from_secs(10)), Some(5));
    }

    #[test]
    fn connections_without_an_address_give_way_last() {
        let mut admission = AdmissionControl::new(ConnectionLimits::default(), 100);
        let begun = Instant::now();
        let waiting = Entry { awaits_login: true, ..Entry::default() };
        let known = Entry { address: Some("2001:db8::1".parse().unwrap()), ..waiting };
        let connections = [(1, waiting, begun), (2, known, begun + LOGIN_GRACE)];
        connections.iter().for_each(|(_, entry, _)| admission.add(*entry));
        assert_eq!(admission.gives_way(connections, begun), None);
        assert_eq!(admission.gives_way(connections, begun + LOGIN_GRACE), Some(1), "the other one is new");
        assert_eq!(admission.gives_way(connections, begun + LOGIN_GRACE * 2), Some(2));
    }
}
