//! Reaching a server: name lookup, the race of its addresses, and tunnels through proxies.

pub(crate) mod race;
pub(crate) mod resolve;
pub(crate) mod tunnel;
