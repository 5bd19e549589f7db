#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod authorization;
mod certificates;
mod error;
mod fake_server;
mod message;
mod script;
mod server;

pub use authorization::{
    AuthorizationCounts, AuthorizationServer, AuthorizationServerBuilder, DeviceDecision, Misbehaviour, Page,
    Rotation,
};
pub use error::Error;
pub use fake_server::FakeServer;
pub use io_common::{Security, Target, TlsClientConfig};
pub use mailserver::Dialect;
pub use message::{Attachment, Message};
pub use proto_mail::Credentials;
pub use script::ScriptError;
pub use server::{Server, ServerBuilder};
