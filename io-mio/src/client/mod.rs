//! Clients: [`Connector`] opens a [`Connection`] and reports each stage.

pub(crate) mod blocking;
pub(crate) mod connection;
pub(crate) mod connector;
pub(crate) mod target;

pub use connection::{Connection, ConnectionEvent};
pub use connector::{ConnectStage, Connector, StageReport};
pub use target::{Security, Target};
