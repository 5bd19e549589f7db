//! Clients: [`Connector`] opens a [`Connection`] and reports each stage.

pub(crate) mod blocking;
pub(crate) mod connection;
pub(crate) mod connector;

pub use connection::{Connection, ConnectionEvent};
pub use connector::Connector;
pub use io_common::{ConnectStage, StageReport};
