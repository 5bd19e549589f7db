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
    /// The maximum number of connections whose clients have to log in and have not yet. The rest is reserved for clients that
    /// have. Clients have to log in on listeners with a [time limit](crate::Deadlines::login) for it. `None`, the default:
    /// three quarters of [`connections`](Self::connections).
    pub connections_before_login: Option<usize>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            refused_connections: 32,
            connections_per_address: 1_000,
            connections_before_login: None,
        }
    }
}

impl ConnectionLimits {
    /// Returns the maximum number of connections whose clients have to log in and have not yet.
    #[must_use]
    pub fn before_login(&self) -> usize {
        self.connections_before_login.unwrap_or((self.connections - self.connections / 4).max(1))
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

/// How a connection is counted, from [`AdmissionControl::admit`] to [`AdmissionControl::remove`]. It cannot be copied, so
/// that no connection is counted twice or removed twice.
#[derive(Debug)]
#[must_use = "the connection counts until the entry is removed"]
pub struct Entry {
    admission: Admission,
    address: Option<IpAddr>,
    awaits_login: bool,
}

impl Entry {
    /// Returns what was decided about the connection.
    #[must_use]
    pub const fn admission(&self) -> Admission {
        self.admission
    }

    /// Returns the client's address, once it is known.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Returns whether the client has not logged in yet.
    #[must_use]
    pub const fn awaits_login(&self) -> bool {
        self.awaits_login
    }
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

    /// Decides about a connection from this address, and counts it. `None`: it is cut off. Without an address, which a proxy
    /// has still to announce, only the global limits count.
    pub fn admit(&mut self, address: Option<IpAddr>) -> Option<Entry> {
        let entry = Entry { admission: self.decide(address)?, address, awaits_login: true };
        self.add(&entry);
        Some(entry)
    }

    fn decide(&self, address: Option<IpAddr>) -> Option<Admission> {
        let room = self.admitted < self.limits.connections && self.before_login < self.limits.before_login();
        if room && address.is_none_or(|address| self.has_room(address)) {
            Some(Admission::Admitted)
        } else {
            self.may_refuse().then_some(Admission::Refused)
        }
    }

    /// Whether a connection from this address is refused only because the global limits are reached, and a connection
    /// whose client has not logged in could make room for it.
    pub fn lacks_room(&self, address: Option<IpAddr>) -> bool {
        let full =
            self.admitted >= self.limits.connections || self.before_login >= self.limits.before_login();
        full && self.before_login > 0 && address.is_none_or(|address| self.has_room(address))
    }

    /// Returns which connection the driver closes when a new one [lacks room](Self::lacks_room). Its client has not logged in,
    /// and was accepted at least a second ago; of these, it is the oldest of the address with the most connections. Silent
    /// connections and connections that guess passwords therefore keep no new client out, and an address with many
    /// connections mostly closes its own.
    ///
    /// `connections` are all connections: the driver's key, how each is counted, and when it was accepted.
    pub fn gives_way<'e, K: Ord>(
        &self,
        connections: impl IntoIterator<Item = (K, &'e Entry, Instant)>,
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

    fn add(&mut self, entry: &Entry) {
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
                self.subtract(entry);
                entry.admission = Admission::Refused;
                self.add(entry);
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
        self.subtract(&entry);
    }

    fn subtract(&mut self, entry: &Entry) {
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

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn admissions<const N: usize>(entries: &[Option<Entry>; N]) -> [Option<Admission>; N] {
        entries.each_ref().map(|entry| entry.as_ref().map(Entry::admission))
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
        let entries =
            [Some(HERE), Some(HERE), Some(HERE), Some(THERE)].map(|address| admission.admit(address));
        let [admitted, refused] = [Some(Admission::Admitted), Some(Admission::Refused)];
        assert_eq!(admissions(&entries), [admitted, refused, None, admitted]);
        assert_eq!(admission.sessions(), 2);
        let [first, second, _, other] = entries;
        admission.remove(second.unwrap());
        let third = admission.admit(Some(HERE));
        assert_eq!((admissions(&[third]), admission.sessions()), ([refused], 2));
        admission.remove(first.unwrap());
        assert_eq!(admissions(&[admission.admit(Some(HERE))]), [admitted]);
        admission.remove(other.unwrap());
        assert_eq!(admission.sessions(), 1);
    }

    #[test]
    fn an_announced_address_has_its_own_limit() {
        let limits =
            ConnectionLimits { refused_connections: 1, connections_per_address: 1, ..Default::default() };
        let mut admission = AdmissionControl::new(limits, 100);
        let mut entries = [None, None, None].map(|address| admission.admit(address).unwrap());
        let announced = entries.each_mut().map(|entry| admission.set_client_address(entry, HERE));
        assert_eq!(announced, [Some(Admission::Admitted), Some(Admission::Refused), None]);
        assert_eq!(admission.sessions(), 2);
        entries.into_iter().for_each(|entry| admission.remove(entry));
        assert_eq!((admission.sessions(), admission.decide(Some(HERE))), (0, Some(Admission::Admitted)));
    }

    #[test]
    fn reserves_connections_for_clients_that_have_logged_in() {
        let limits =
            ConnectionLimits { connections: 3, connections_before_login: Some(2), ..Default::default() };
        let mut admission = AdmissionControl::new(limits, 100);
        let [mut first, second] = [None, None].map(|address| admission.admit(address).unwrap());
        assert_eq!(admission.decide(None), Some(Admission::Refused));
        admission.logged_in(&mut first);
        admission.logged_in(&mut first);
        assert_eq!(admission.decide(None), Some(Admission::Admitted));
        admission.remove(first);
        admission.remove(second);
        assert_eq!((admission.sessions(), admission.before_login), (0, 0));
    }

    /// Admits a connection from each address, at a number of seconds.
    fn admit_all<const N: usize>(
        admission: &mut AdmissionControl,
        begun: Instant,
        connections: [(u32, Option<IpAddr>, u64); N],
    ) -> Vec<(u32, Entry, Instant)> {
        let admit = |(key, address, seconds)| {
            (key, admission.admit(address).unwrap(), begun + Duration::from_secs(seconds))
        };
        connections.into_iter().map(admit).collect()
    }

    fn gives_way(
        admission: &AdmissionControl,
        connections: &[(u32, Entry, Instant)],
        now: Instant,
    ) -> Option<u32> {
        admission.gives_way(connections.iter().map(|(key, entry, at)| (*key, entry, *at)), now)
    }

    #[test]
    fn the_oldest_waiting_client_of_the_busiest_address_gives_way() {
        let limits = ConnectionLimits {
            connections: 5,
            connections_per_address: 4,
            connections_before_login: Some(5),
            ..ConnectionLimits::default()
        };
        let mut admission = AdmissionControl::new(limits, 100);
        let (begun, busy, quiet) = (Instant::now(), Some(HERE), Some(THERE));
        let connections =
            [(1, quiet, 0), (2, busy, 0), (3, busy, 2), (4, busy, 1), (5, busy, 9), (6, quiet, 0)];
        let mut connections = admit_all(&mut admission, begun, connections);
        assert_eq!(connections[5].1.admission(), Admission::Refused);
        admission.logged_in(&mut connections[1].1);
        let mut gone = Vec::new();
        let now = begun + Duration::from_millis(9_999);
        while let Some(key) = gives_way(&admission, &connections, now) {
            let at = connections.iter().position(|(one, ..)| *one == key).unwrap();
            admission.remove(connections.remove(at).1);
            gone.push(key);
        }
        assert_eq!(gone, [4, 3, 1], "clients that have logged in, are new or are refused stay");
        assert_eq!(gives_way(&admission, &connections, begun + Duration::from_secs(10)), Some(5));
    }

    #[test]
    fn a_quarter_of_the_connections_is_reserved_by_default() {
        for (connections, expected) in [(0, 1), (1, 1), (4, 3), (10_000, 7_500)] {
            let limits = ConnectionLimits { connections, ..ConnectionLimits::default() };
            assert_eq!(limits.before_login(), expected);
        }
    }

    #[test]
    fn connections_without_an_address_give_way_last() {
        let mut admission = AdmissionControl::new(ConnectionLimits::default(), 100);
        let begun = Instant::now();
        let known = Some("2001:db8::1".parse().unwrap());
        let connections = admit_all(&mut admission, begun, [(1, None, 0), (2, known, 1)]);
        assert_eq!(gives_way(&admission, &connections, begun), None);
        assert_eq!(gives_way(&admission, &connections, begun + LOGIN_GRACE), Some(1), "the other one is new");
        assert_eq!(gives_way(&admission, &connections, begun + LOGIN_GRACE * 2), Some(2));
    }
}
