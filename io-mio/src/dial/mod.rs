//! Reaching a server: name lookup, the race of its addresses, and tunnels through proxies.

pub(crate) mod http_connect;
pub(crate) mod proxy;
pub(crate) mod race;
pub(crate) mod resolve;
pub(crate) mod socks5;
pub(crate) mod tunnel;

pub use proxy::{Proxy, ProxyError};
